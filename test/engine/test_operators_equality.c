/*
 * test/engine/test_operators_equality.c
 *	  equals, not_equals, in_list, not_in_list, exists, not_exists.
 */
#include "world.h"

static void
equals(void **state)
{
	static const op_row rows[] = {
		{"equals", "'DE'", "'DE'", true},
		{"equals", "'DE'", "'de'", false},
		{"equals", "'DE'", "'DEU'", false},
		{"equals", "'DE'", "'D'", false},
		{"equals", "''", "''", true},
		{"equals", "''", "' '", false},
		{"equals", "'5'", "5", false},
		{"equals", "5", "'5'", false},
		{"equals", "5", "5", true},
		{"equals", "5", "5.0", true},
		{"equals", "5.0", "5", true},
		{"equals", "5", "5.000001", false},
		{"equals", "0", "-0.0", true},
		{"equals", "-0.0", "0", true},
		{"equals", "1e300", "1e300", true},
		{"equals", "0.1", "0.1", true},
		{"equals", "0.3", "0.30000000000000004", false},
		{"equals", "true", "true", true},
		{"equals", "true", "false", false},
		{"equals", "false", "false", true},
		{"equals", "true", "1", false},
		{"equals", "1", "true", false},
		{"equals", "'true'", "true", false},
		{"equals", "true", "'true'", false},
		{"equals", "0", "null", false},
		{"equals", "false", "null", false},
		{"equals", "''", "null", false},
		{"equals", "''", NULL, false},
		{"equals", "false", NULL, false},
		{"equals", "'x'", "{'x': 'x'}", false},
		{"equals", "'ü'", "'ü'", true},
		{"equals", "'ü'", "'u\\u0308'", false}, /* bytes compare: no normalization */
	};

	(void) state;
	check_op_rows(rows);
}

static void
not_equals(void **state)
{
	static const op_row rows[] = {
		{"not_equals", "'DE'", "'AT'", true},  {"not_equals", "'DE'", "'DE'", false},
		{"not_equals", "'DE'", "'de'", true},  {"not_equals", "5", "6", true},
		{"not_equals", "5", "5.0", false},     {"not_equals", "0", "-0.0", false},
		{"not_equals", "true", "false", true}, {"not_equals", "true", "true", false},
		{"not_equals", "'DE'", NULL, false},   {"not_equals", "'DE'", "null", false},
		{"not_equals", "'5'", "5", false},     {"not_equals", "5", "'6'", false},
		{"not_equals", "true", "0", false},    {"not_equals", "true", "'false'", false},
		{"not_equals", "'DE'", "{}", false},
	};

	(void) state;
	check_op_rows(rows);
}

static void
equals_on_arrays(void **state)
{
	static const op_row rows[] = {
		{"equals", "'b'", "['a', 'b']", true},
		{"equals", "'c'", "['a', 'b']", false},
		{"equals", "'a'", "[]", false},
		{"equals", "2", "['2', 2]", true},
		{"equals", "2", "['2', null, true]", false},
		{"equals", "true", "[false, true]", true},
		{"equals", "'a'", "[['a']]", false},
		{"equals", "'a'", "[{'a': 'a'}, 'a']", true},
		{"not_equals", "'a'", "['a', 'b']", true},
		{"not_equals", "'a'", "['a', 'a']", false},
		{"not_equals", "'a'", "[]", false},
		{"not_equals", "'a'", "[1, null, true, {}]", false},
		{"not_equals", "1", "[1, 2]", true},
		{"not_equals", "false", "[false]", false},
	};

	(void) state;
	check_op_rows(rows);
}

static void
in_list(void **state)
{
	static const op_row rows[] = {
		{"in_list", "['DE', 'AT']", "'DE'", true},
		{"in_list", "['DE', 'AT']", "'AT'", true},
		{"in_list", "['DE', 'AT']", "'CH'", false},
		{"in_list", "['DE', 'AT']", "'at'", false},
		{"in_list", "['DE']", "'DE'", true},
		{"in_list", "['DE', 5, true]", "5", true},
		{"in_list", "['DE', 5, true]", "5.0", true},
		{"in_list", "['DE', 5, true]", "'5'", false},
		{"in_list", "['DE', 5, true]", "true", true},
		{"in_list", "['DE', 5, true]", "false", false},
		{"in_list", "['true', 1]", "true", false},
		{"in_list", "[0]", "-0.0", true},
		{"in_list", "[-0.0]", "0", true},
		{"in_list", "['']", "''", true},
		{"in_list", "['', 0, false]", "null", false},
		{"in_list", "['', 0, false]", NULL, false},
		{"in_list", "['a']", "{'a': 1}", false},
		{"in_list", "['a', 'a']", "'a'", true},
		{"in_list", "['a', 'b']", "['x', 'b']", true},
		{"in_list", "['a', 'b']", "['x', 'y']", false},
		{"in_list", "['a', 'b']", "[]", false},
		{"in_list", "['a', 'b']", "[['a']]", false},
		{"in_list", "[1, 2]", "['1', 2]", true},
	};

	(void) state;
	check_op_rows(rows);
}

static void
not_in_list(void **state)
{
	static const op_row rows[] = {
		{"not_in_list", "['DE', 'AT']", "'CH'", true},
		{"not_in_list", "['DE', 'AT']", "'DE'", false},
		{"not_in_list", "['DE', 'AT']", NULL, false},
		{"not_in_list", "['DE', 'AT']", "null", false},
		{"not_in_list", "['DE', 'AT']", "{}", false},
		{"not_in_list", "[1, 2]", "3", true},
		{"not_in_list", "[1, 2]", "2.0", false},
		{"not_in_list", "[true]", "false", true},
		{"not_in_list", "[true]", "true", false},
		/* a list of strings takes strings */
		{"not_in_list", "['DE', 'AT']", "5", false},
		{"not_in_list", "['DE', 5]", "6", true},
		{"not_in_list", "['DE', 5]", "true", false},
		/* any element that is not listed, and "none of them" is not of in_list */
		{"not_in_list", "['a', 'b']", "['a', 'x']", true},
		{"not_in_list", "['a', 'b']", "['a', 'b']", false},
		{"not_in_list", "['a', 'b']", "[]", false},
		{"not_in_list", "['a', 'b']", "[null, {}, 5]", false},
	};

	(void) state;
	check_op_rows(rows);
}

static void
none_of_them(void **state)
{
	static const row rows[] = {
		{"{'not': {'attr': 'a', 'op': 'in_list', 'value': ['x', 'y']}}", "{'a': ['x', 'b']}",
		 false},
		{"{'not': {'attr': 'a', 'op': 'in_list', 'value': ['x', 'y']}}", "{'a': ['a', 'b']}", true},
		{"{'not': {'attr': 'a', 'op': 'in_list', 'value': ['x', 'y']}}", "{}", true},
		{"{'not': {'attr': 'a', 'op': 'equals', 'value': 'x'}}", "{}", true},
		{"{'not': {'attr': 'a', 'op': 'not_equals', 'value': 'x'}}", "{}", true},
	};

	(void) state;
	check_rows(rows);
}

static void
exists(void **state)
{
	static const op_row rows[] = {
		{"exists", NULL, "'x'", true},        {"exists", NULL, "''", true},
		{"exists", NULL, "0", true},          {"exists", NULL, "false", true},
		{"exists", NULL, "[]", true},         {"exists", NULL, "[null]", true},
		{"exists", NULL, "{}", true},         {"exists", NULL, "null", false},
		{"exists", NULL, NULL, false},        {"not_exists", NULL, NULL, true},
		{"not_exists", NULL, "null", true},   {"not_exists", NULL, "'x'", false},
		{"not_exists", NULL, "''", false},    {"not_exists", NULL, "0", false},
		{"not_exists", NULL, "false", false}, {"not_exists", NULL, "[]", false},
		{"not_exists", NULL, "{}", false},
	};

	(void) state;
	check_op_rows(rows);
}

static void
ignore_case(void **state)
{
	static const op_row rows[] = {
		{"equals", "'Graz'", "'GRAZ'", true},
		{"equals", "'Graz'", "'graz'", true},
		{"equals", "'Graz'", "'grad'", false},
		{"equals", "'Graz'", "null", false},
		{"not_equals", "'Graz'", "'GRAZ'", false},
		{"not_equals", "'Graz'", "'Wien'", true},
		{"not_equals", "'Graz'", NULL, false},
		{"not_equals", "'Graz'", "['GRAZ', 'gRAZ']", false},
		{"in_list", "['Graz', 'Wien']", "'wIEN'", true},
		{"in_list", "['Graz', 'Wien']", "'Linz'", false},
		{"in_list", "['Graz', 5]", "5", true},
		{"in_list", "['Graz', 'Wien']", "['x', 'GRAZ']", true},
		{"not_in_list", "['Graz', 'Wien']", "'wIEN'", false},
		{"not_in_list", "['Graz', 'Wien']", "'Linz'", true},
	};

	(void) state;
	check_op_rows_ignoring_case(rows);
}

/* The value is in the list, whichever place of a list of any length it has. */
static void
long_lists(void **state)
{
	static const unsigned lengths[] = {1, 2, 3, 7, 8, 9, 63, 64, 65, 1000};

	(void) state;
	for (size_t i = 0; i < LENGTH(lengths); i++)
	{
		unsigned last = lengths[i] - 1;
		world *w = world_new();
		const char *list = series("'item-%u', %1$u", lengths[i]);

		put_flag(w, text("{'key': 'f', 'type': 'boolean', 'default_value': false, 'rules': [{"
						 "'serve': 'on', 'if': {'attr': 'a', 'op': 'in_list', 'value': [%s]}}]}",
						 list));
		expect(w, "f", "{'a': 'item-0'}", FFE_RULE_MATCH, "on", NULL);
		expect(w, "f", "{'a': 0}", FFE_RULE_MATCH, "on", NULL);
		expect(w, "f", text("{'a': 'item-%u'}", last), FFE_RULE_MATCH, "on", NULL);
		expect(w, "f", text("{'a': %u}", last), FFE_RULE_MATCH, "on", NULL);
		expect(w, "f", text("{'a': 'item-%u'}", last + 1), FFE_DEFAULT, "off", NULL);
		expect(w, "f", text("{'a': %u}", last + 1), FFE_DEFAULT, "off", NULL);
		world_free(w);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(equals),           cmocka_unit_test(not_equals),
		cmocka_unit_test(equals_on_arrays), cmocka_unit_test(in_list),
		cmocka_unit_test(not_in_list),      cmocka_unit_test(none_of_them),
		cmocka_unit_test(exists),           cmocka_unit_test(ignore_case),
		cmocka_unit_test(long_lists),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
