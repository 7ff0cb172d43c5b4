/*
 * test/engine/test_semver.c
 *	  semver_equals and its like: semver.org 2.0.0, in full.
 *
 * Beside our own cases: node-semver's fixtures, where the shared suites are at hand.
 */
#include "world.h"

/* Sorted by precedence; those with the same rank are equal. */
static const struct
{
	int rank;
	const char *version;
} ladder[] = {
	{0, "0.0.0-0"},
	{1, "0.0.0"},
	{2, "0.0.1"},
	{3, "0.9.0"},
	{4, "0.10.0"},
	/* the example of semver.org, section 11 */
	{5, "1.0.0-alpha"},
	{6, "1.0.0-alpha.1"},
	{7, "1.0.0-alpha.beta"},
	{8, "1.0.0-beta"},
	{9, "1.0.0-beta.2"},
	{10, "1.0.0-beta.11"},
	{11, "1.0.0-rc.1"},
	{11, "1.0.0-rc.1+build.7"},
	{12, "1.0.0"},
	{12, "1.0.0+build"},
	{12, "1.0.0+001"},
	{12, "1.0.0+-"},
	{13, "1.2.3-0"},
	{14, "1.2.3-9"},
	{15, "1.2.3-10"}, /* numbers below words, even those of hyphens */
	{16, "1.2.3--"},
	{17, "1.2.3--1"}, /* a word, for its hyphen */
	{18, "1.2.3-1a"},
	{19, "1.2.3-A"},
	{20, "1.2.3-a"},
	{21, "1.2.3-a.0"},
	{22, "1.2.3-a.0.0"},
	{23, "1.2.3-a-b"},
	{24, "1.2.3-aa"},
	{25, "1.2.3"},
	{26, "1.10.0"},
	{27, "2.0.0"},
	/* numbers of any length */
	{28, "9007199254740993.0.0"},
	{29, "9007199254740994.0.0"},
	{30, "99999999999999999999999.999999999999999999999999.0"},
	{31, "99999999999999999999999.999999999999999999999999.99999999999999999999999999"},
	{32, "100000000000000000000000.0.0-99999999999999999999999"},
	{33, "100000000000000000000000.0.0-100000000000000000000000"},
	{34, "100000000000000000000000.0.0"},
};

/* One comparison of an attribute with a definition's version, by all five operators. */
static void
check_comparison(const char *attribute, const char *version, int order)
{
	const char *a = text("'%s'", attribute);
	const char *v = text("'%s'", version);
	op_row rows[] = {
		{"semver_equals", v, a, order == 0},           {"semver_greater", v, a, order > 0},
		{"semver_greater_or_equal", v, a, order >= 0}, {"semver_less", v, a, order < 0},
		{"semver_less_or_equal", v, a, order <= 0},
	};

	check_op_rows(rows);
}

static void
has_the_precedence_of_semver_org(void **state)
{
	(void) state;
	for (size_t i = 0; i < LENGTH(ladder); i++)
	{
		for (size_t j = 0; j < LENGTH(ladder); j++)
			check_comparison(ladder[i].version, ladder[j].version, ladder[i].rank - ladder[j].rank);
	}
}

static void
takes_strings_only(void **state)
{
	static const char *const ops[] = {"semver_equals", "semver_greater", "semver_greater_or_equal",
									  "semver_less", "semver_less_or_equal"};

	(void) state;
	for (size_t i = 0; i < LENGTH(ops); i++)
	{
		op_row rows[] = {
			{ops[i], "'1.0.0'", NULL, false},  {ops[i], "'1.0.0'", "null", false},
			{ops[i], "'1.0.0'", "1", false},   {ops[i], "'1.0.0'", "true", false},
			{ops[i], "'1.0.0'", "{}", false},  {ops[i], "'1.0.0'", "[]", false},
			{ops[i], "'1.0.0'", "[1]", false}, {ops[i], "'1.0.0'", "['x', null]", false},
		};

		check_op_rows(rows);
	}
}

static void
any_element(void **state)
{
	static const op_row rows[] = {
		{"semver_greater", "'1.0.0'", "['0.9.0', '1.0.1']", true},
		{"semver_greater", "'1.0.0'", "['0.9.0', 'x', 2]", false},
		{"semver_less", "'1.0.0'", "['x', '0.9.0']", true},
		{"semver_equals", "'1.0.0'", "['0.9.0', '1.0.0+x']", true},
	};

	(void) state;
	check_op_rows(rows);
}

/* As an attribute it matches nothing, as a value it is refused. */
static void
check_is_none(const char *version)
{
	const char *a = text("'%s'", version);
	op_row rows[] = {
		{"semver_equals", "'1.2.3'", a, false},
		{"semver_greater_or_equal", "'0.0.0-0'", a, false},
		{"semver_less_or_equal", "'9999999.0.0'", a, false},
	};

	check_op_rows(rows);
	expect_refused(FFE_SEGMENT,
				   text("{'key': 's', 'if': {'attr': 'a', 'op': 'semver_equals', 'value': %s}}", a),
				   FFE_PARSE_ERROR, "if.value", version);
}

static void
takes_whole_versions_only(void **state)
{
	static const char *const none[] = {
		"1",        "1.2",       "1.2.3.4",   "v1.2.3",     "V1.2.3",     "=1.2.3",
		" 1.2.3",   "1.2.3 ",    "1.2.3-",    "1.2.3+",     "1.2.3-+b",   "1.2.3-a..b",
		"1.2.3-.a", "1.2.3-a.",  "1.2.3-01",  "1.2.3-a.01", "01.2.3",     "1.02.3",
		"1.2.03",   "1.2.x",     "1.2.*",     "-1.2.3",     "+1.2.3",     "1.-2.3",
		"1.2.3-ä",  "1.2.3-a_b", "1.2.3+a_b", "1.2.3+a+b",  "1.2.3+a..b", "1..3",
		".1.2.3",   "1.2.3-a b", "1,2,3",     "alpha",      "1.2-3",      "1.2.3+.b",
	};

	(void) state;
	for (size_t i = 0; i < LENGTH(none); i++)
		check_is_none(none[i]);
}

/* ---------- node-semver's fixtures ---------- */

/* A third element that is true, or {"loose": true}, means a row for loose parsing. */
static bool
is_loose(const json_t *row)
{
	const json_t *options = json_array_get(row, 2);

	return json_is_true(options) || json_is_true(json_object_get(options, "loose"));
}

/* Whether both versions are such that 2.0.0's own grammar takes them: no v, no spaces. */
static bool
is_strict(const json_t *row)
{
	for (size_t i = 0; i < 2; i++)
	{
		const char *version = json_string_value(json_array_get(row, i));

		if (version == NULL || version[0] < '0' || version[0] > '9')
			return false;
	}
	return !is_loose(row);
}

static unsigned
check_fixture(const json_t *rows, int order)
{
	unsigned applied = 0;
	const json_t *row;
	size_t i;

	json_array_foreach(rows, i, row)
	{
		const char *a = json_string_value(json_array_get(row, 0));
		const char *b = json_string_value(json_array_get(row, 1));

		if (!is_strict(row))
			continue;
		check_comparison(a, b, order);
		check_comparison(b, a, -order);
		applied++;
	}
	print_message("%u of %zu rows apply, the others are for loose parsing\n", applied,
				  json_array_size(rows));
	return applied;
}

static void
agrees_with_node_semver(void **state)
{
	json_t *fixtures = shared_file("suites/semver-vectors/node-semver-fixtures.json");

	(void) state;
	if (fixtures == NULL)
	{
		print_message("ABSENT: node-semver's fixtures are not here, nothing was compared\n");
		skip();
	}
	assert_true(check_fixture(json_object_get(fixtures, "comparisons"), 1) >= 19);
	assert_true(check_fixture(json_object_get(fixtures, "equality"), 0) >= 2);
	json_decref(fixtures);
}

/* node-semver reads valid-versions loosely, and bounds numbers, which semver.org does not. */
static void
agrees_on_what_is_a_version(void **state)
{
	json_t *fixtures = shared_file("suites/semver-vectors/node-semver-fixtures.json");
	unsigned applied = 0;
	const json_t *row;
	size_t i;

	(void) state;
	if (fixtures == NULL)
	{
		print_message("ABSENT: node-semver's fixtures are not here, nothing was compared\n");
		skip();
	}
	json_array_foreach(json_object_get(fixtures, "valid-versions"), i, row)
	{
		const char *version = json_string_value(json_array_get(row, 0));

		if (version[0] == 'v')
			continue;
		check_comparison(version, version, 0);
		applied++;
	}
	json_array_foreach(json_object_get(fixtures, "invalid-versions"), i, row)
	{
		const char *version = json_string_value(json_array_get(row, 0));
		const char *why = json_string_value(json_array_get(row, 1));

		if (version == NULL || strncmp(why, "too ", 4) == 0)
			continue;
		check_is_none(version);
		applied++;
	}
	print_message("%u rows of valid-versions and invalid-versions apply\n", applied);
	assert_true(applied >= 21 + 5);
	json_decref(fixtures);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(has_the_precedence_of_semver_org),
		cmocka_unit_test(takes_strings_only),
		cmocka_unit_test(any_element),
		cmocka_unit_test(takes_whole_versions_only),
		cmocka_unit_test(agrees_with_node_semver),
		cmocka_unit_test(agrees_on_what_is_a_version),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
