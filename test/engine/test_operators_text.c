/*
 * test/engine/test_operators_text.c
 *	  contains, not_contains, starts_with, ends_with, regex.
 */
#include "world.h"

static void
contains_in_strings(void **state)
{
	static const op_row rows[] = {
		{"contains", "'dm'", "'admin'", true},
		{"contains", "'admin'", "'admin'", true},
		{"contains", "'ad'", "'admin'", true},
		{"contains", "'in'", "'admin'", true},
		{"contains", "'DM'", "'admin'", false},
		{"contains", "'adminx'", "'admin'", false},
		{"contains", "'aab'", "'aaaab'", true},
		{"contains", "['x', 'dm']", "'admin'", true},
		{"contains", "['x', 'y']", "'admin'", false},
		{"contains", "'5'", "5", false},
		{"contains", "5", "'5'", false},
		{"contains", "true", "'true'", false},
		{"contains", "'x'", "true", false},
		{"contains", "'x'", "{'x': 1}", false},
		{"contains", "'x'", "null", false},
		{"contains", "'x'", NULL, false},
		{"not_contains", "'dm'", "'admin'", false},
		{"not_contains", "'dx'", "'admin'", true},
		{"not_contains", "['x', 'dm']", "'admin'", false},
		{"not_contains", "['x', 'y']", "'admin'", true},
		{"not_contains", "'5'", "5", false},
		{"not_contains", "5", "'abc'", false},
		{"not_contains", "'x'", "{'y': 1}", false},
		{"not_contains", "'x'", "null", false},
		{"not_contains", "'x'", NULL, false},
	};

	(void) state;
	check_op_rows(rows);
}

/* Arrays are asked for an element, never for a part of one. */
static void
contains_in_arrays(void **state)
{
	static const op_row rows[] = {
		{"contains", "'admin'", "['staff', 'admin']", true},
		{"contains", "'dm'", "['staff', 'admin']", false},
		{"contains", "'Admin'", "['staff', 'admin']", false},
		{"contains", "['x', 'staff']", "['staff', 'admin']", true},
		{"contains", "['x', 'y']", "['staff', 'admin']", false},
		{"contains", "'x'", "[]", false},
		{"contains", "5", "[4, 5]", true},
		{"contains", "5", "[4, '5']", false},
		{"contains", "5.0", "[5]", true},
		{"contains", "true", "[true]", true},
		{"contains", "true", "[false, 'true', 1]", false},
		{"contains", "['x', 5, false]", "['y', false]", true},
		{"contains", "'x'", "[['x']]", false},
		{"contains", "'x'", "[null, {'x': 'x'}]", false},
		{"not_contains", "'admin'", "['staff', 'admin']", false},
		{"not_contains", "'dm'", "['staff', 'admin']", true},
		{"not_contains", "['x', 'staff']", "['staff', 'admin']", false},
		{"not_contains", "['x', 'y']", "['staff', 'admin']", true},
		{"not_contains", "'x'", "[]", true},
		{"not_contains", "'x'", "[null, 5, ['x']]", true},
		{"not_contains", "5", "[4, 5]", false},
		{"not_contains", "5", "[4, '5']", true},
		{"not_contains", "true", "[true]", false},
	};

	(void) state;
	check_op_rows(rows);
}

static void
starts_and_ends(void **state)
{
	static const op_row rows[] = {
		{"starts_with", "'adm'", "'admin'", true},
		{"starts_with", "'admin'", "'admin'", true},
		{"starts_with", "'admins'", "'admin'", false},
		{"starts_with", "'dm'", "'admin'", false},
		{"starts_with", "'ADM'", "'admin'", false},
		{"starts_with", "['x', 'ad']", "'admin'", true},
		{"starts_with", "['x', 'y']", "'admin'", false},
		{"starts_with", "'a'", "['x', 'admin']", true},
		{"starts_with", "'a'", "['x', 5, null]", false},
		{"starts_with", "'a'", "[]", false},
		{"starts_with", "'5'", "55", false},
		{"starts_with", "'t'", "true", false},
		{"starts_with", "'a'", "{'a': 1}", false},
		{"starts_with", "'a'", "null", false},
		{"starts_with", "'a'", NULL, false},
		{"ends_with", "'min'", "'admin'", true},
		{"ends_with", "'admin'", "'admin'", true},
		{"ends_with", "'xadmin'", "'admin'", false},
		{"ends_with", "'mi'", "'admin'", false},
		{"ends_with", "'MIN'", "'admin'", false},
		{"ends_with", "['@a.example', '@b.example']", "'me@b.example'", true},
		{"ends_with", "['@a.example', '@b.example']", "'me@c.example'", false},
		{"ends_with", "'n'", "['x', 'admin']", true},
		{"ends_with", "'n'", "['x', 5]", false},
		{"ends_with", "'5'", "5", false},
		{"ends_with", "'e'", "true", false},
		{"ends_with", "'a'", "{'a': 'a'}", false},
		{"ends_with", "'n'", "null", false},
		{"ends_with", "'n'", NULL, false},
	};

	(void) state;
	check_op_rows(rows);
}

static void
regex(void **state)
{
	static const op_row rows[] = {
		{"regex", "'^[a-z]+@example\\\\.com$'", "'me@example.com'", true},
		{"regex", "'^[a-z]+@example\\\\.com$'", "'me@example.org'", false},
		{"regex", "'dm'", "'admin'", true}, /* anywhere */
		{"regex", "'^dm'", "'admin'", false},
		{"regex", "'dm$'", "'admin'", false},
		{"regex", "'DM'", "'admin'", false},
		{"regex", "'^ÜBER$'", "'über'", false},
		{"regex", "['^x', 'min$']", "'admin'", true},
		{"regex", "['^x', '^y']", "'admin'", false},
		{"regex", "'^a'", "['x', 'admin']", true},
		{"regex", "'^a'", "['x', 5, null]", false},
		{"regex", "'^a'", "[]", false},
		{"regex", "'5'", "5", false},
		{"regex", "'true'", "true", false},
		{"regex", "'.*'", "{}", false},
		{"regex", "'.*'", "null", false},
		{"regex", "'.*'", NULL, false},
		{"regex", "'^$'", "''", true},
		{"regex", "'^(a|b)\\\\1$'", "'aa'", true},
		{"regex", "'^(a|b)\\\\1$'", "'ab'", false},
		{"regex", "'^(?!x)'", "'y'", true},
		{"regex", "'(?<=a)b'", "'ab'", true},
	};

	(void) state;
	check_op_rows(rows);
}

static void
regex_dialect(void **state)
{
	static const op_row rows[] = {
		/* $ is the very end: not before a last line feed */
		{"regex", "'a$'", "'a'", true},
		{"regex", "'a$'", "'a\\n'", false},
		/* UTF-8: one . is one character */
		{"regex", "'^.$'", "'ü'", true},
		{"regex", "'^..$'", "'ü'", false},
		{"regex", "'^.$'", "'😀'", true},
		{"regex", "'^[à-ü]$'", "'é'", true},
		/* classes are ASCII, whatever the character */
		{"regex", "'^\\\\d$'", "'5'", true},
		{"regex", "'^\\\\d$'", "'\\u0665'", false},
		{"regex", "'^\\\\w$'", "'u'", true},
		{"regex", "'^\\\\w$'", "'ü'", false},
		{"regex", "'^\\\\s$'", "' '", true},
		{"regex", "'^\\\\s$'", "'\\u2003'", false},
	};

	(void) state;
	check_op_rows(rows);
}

static void
ignore_case(void **state)
{
	static const op_row rows[] = {
		{"contains", "'DM'", "'admin'", true},
		{"contains", "'dm'", "'ADMIN'", true},
		{"contains", "['x', 'Dm']", "'admin'", true},
		{"contains", "'dx'", "'ADMIN'", false},
		{"contains", "'ADMIN'", "['staff', 'admin']", true},
		{"contains", "'DM'", "['staff', 'admin']", false},
		{"not_contains", "'DM'", "'admin'", false},
		{"not_contains", "'DX'", "'admin'", true},
		{"not_contains", "'ADMIN'", "['staff', 'admin']", false},
		{"not_contains", "'x'", NULL, false},
		{"starts_with", "'AD'", "'admin'", true},
		{"starts_with", "'ad'", "'ADMIN'", true},
		{"starts_with", "['x', 'aD']", "'Admin'", true},
		{"starts_with", "'dm'", "'ADMIN'", false},
		{"ends_with", "'IN'", "'admin'", true},
		{"ends_with", "['x', 'iN']", "'ADMIN'", true},
		{"ends_with", "'mi'", "'ADMIN'", false},
		{"ends_with", "'.COM'", "['me@example.com']", true},
		{"regex", "'^ADMIN$'", "'admin'", true},
		{"regex", "['^x', '^[A-Z]+$']", "'admin'", true},
		{"regex", "'^ADMIN$'", "'admins'", false},
		{"regex", "'^ÜBER$'", "'über'", true},
	};

	(void) state;
	check_op_rows_ignoring_case(rows);
}

/* Needles and hay of every small length, against memmem. */
static void
contains_like_memmem(void **state)
{
	static const char *const hay[] = {"",           "a", "ab", "aab", "abab", "bbbbbbbbbbbbbbba",
									  "aaaaaaaaaab"};
	static const char *const needles[] = {"a", "b", "ab", "ba", "aab", "bb", "aaaaaaaaaab"};

	(void) state;
	for (size_t n = 0; n < LENGTH(needles); n++)
	{
		const char *value = text("'%s'", needles[n]);

		for (size_t h = 0; h < LENGTH(hay); h++)
		{
			bool found = strstr(hay[h], needles[n]) != NULL;
			op_row rows[] = {
				{"contains", value, text("'%s'", hay[h]), found},
				{"not_contains", value, text("'%s'", hay[h]), !found},
			};

			check_op_rows(rows);
			check_op_rows_ignoring_case(rows);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(contains_in_strings),  cmocka_unit_test(contains_in_arrays),
		cmocka_unit_test(starts_and_ends),      cmocka_unit_test(regex),
		cmocka_unit_test(regex_dialect),        cmocka_unit_test(ignore_case),
		cmocka_unit_test(contains_like_memmem),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
