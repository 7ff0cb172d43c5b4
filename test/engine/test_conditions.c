/*
 * test/engine/test_conditions.c
 *	  all, any, not; attribute paths; percentages; conditions on flags.
 */
#include "world.h"

/* ---------- all, any, not ---------- */

/* A formula over the attributes a, b, c, which are true or false, and what C makes of it. */
typedef bool (*formula)(bool a, bool b, bool c);

#define A "{'attr': 'a', 'op': 'equals', 'value': true}"
#define B "{'attr': 'b', 'op': 'equals', 'value': true}"
#define C "{'attr': 'c', 'op': 'equals', 'value': true}"

/* Up to four conditions with commas between. */
#define LIST1(a) a
#define LIST2(a, b) a ", " b
#define LIST3(a, b, c) a ", " b ", " c
#define LIST4(a, b, c, d) a ", " b ", " c ", " d
#define FIFTH(a, b, c, d, e, ...) e
#define LIST(...) FIFTH(__VA_ARGS__, LIST4, LIST3, LIST2, LIST1, 0)(__VA_ARGS__)

#define ALL(...) "{'all': [" LIST(__VA_ARGS__) "]}"
#define ANY(...) "{'any': [" LIST(__VA_ARGS__) "]}"
#define NOT(c) "{'not': " c "}"

#define FORMULA(name, expression)                                                                  \
	static bool name(bool a, bool b, bool c)                                                       \
	{                                                                                              \
		(void) a, (void) b, (void) c;                                                              \
		return expression;                                                                         \
	}

FORMULA(and2, (a && b))
FORMULA(or2, a || b)
FORMULA(and3, (a && b && c))
FORMULA(or3, a || b || c)
FORMULA(not_a, !a)
FORMULA(just_a, a)
FORMULA(nand, !(a && b && c))
FORMULA(nor, !(a || b || c))
FORMULA(or_and, a || (b && c))
FORMULA(and_or, a && (b || c))
FORMULA(or_and_left, (a && b) || c)
FORMULA(and_or_left, (a || b) && c)
FORMULA(xor2, a != b)
FORMULA(xor3, (a != b) != c)
FORMULA(majority, (a && b) || (b && c) || (a && c))
FORMULA(implies, !a || (b && !c))
FORMULA(deep, !(a || !(b && !(c || a))))

static const struct
{
	const char *condition;
	formula truth;
} formulas[] = {
	{ALL(A, B), and2},
	{ANY(A, B), or2},
	{ALL(A, B, C), and3},
	{ANY(A, B, C), or3},
	{NOT(A), not_a},
	{NOT(NOT(A)), just_a},
	{NOT(NOT(NOT(A))), not_a},
	{ALL(A), just_a},
	{ANY(A), just_a},
	{ALL(ANY(ALL(A))), just_a},
	{NOT(ALL(NOT(A))), just_a},
	{NOT(ALL(A, B, C)), nand},
	{ANY(NOT(A), NOT(B), NOT(C)), nand},
	{NOT(ANY(A, B, C)), nor},
	{ALL(NOT(A), NOT(B), NOT(C)), nor},
	{ANY(A, ALL(B, C)), or_and},
	{ALL(ANY(A, B), ANY(A, C)), or_and},
	{ALL(A, ANY(B, C)), and_or},
	{ANY(ALL(A, B), C), or_and_left},
	{ALL(ANY(A, B), C), and_or_left},
	{ANY(ALL(A, NOT(B)), ALL(NOT(A), B)), xor2},
	{NOT(ANY(ALL(A, B), NOT(ANY(A, B)))), xor2},
	{ANY(ALL(A, NOT(B), NOT(C)), ALL(NOT(A), B, NOT(C)), ALL(NOT(A), NOT(B), C), ALL(A, B, C)),
	 xor3},
	{ANY(ALL(A, B), ALL(B, C), ALL(A, C)), majority},
	{ANY(NOT(A), ALL(B, NOT(C))), implies},
	{NOT(ANY(A, NOT(ALL(B, NOT(ANY(C, A)))))), deep},
};

static void
have_their_truth_tables(void **state)
{
	static const char *const word[] = {"false", "true"};

	(void) state;
	for (size_t i = 0; i < LENGTH(formulas); i++)
	{
		for (unsigned bits = 0; bits < 8; bits++)
		{
			bool a = bits & 1, b = bits & 2, c = bits & 4;
			row rows[] = {{formulas[i].condition,
						   text("{'a': %s, 'b': %s, 'c': %s}", word[a], word[b], word[c]),
						   formulas[i].truth(a, b, c)}};

			check_rows(rows);
		}
	}
}

/* What is missing makes one condition false; the groups around it know no third truth value. */
static void
missing_is_false_then_as_usual(void **state)
{
	static const row rows[] = {
		{ALL(A, B), "{'a': true}", false},
		{ANY(A, B), "{'b': true}", true},
		{NOT(ALL(A, B)), "{'a': true}", true},
		{NOT(A), "{}", true},
		{NOT(NOT(A)), "{}", false},
		{NOT(ANY(A, B)), "{}", true},
		{ALL(NOT(A), NOT(B)), "{'a': null, 'b': 1}", true},
	};

	(void) state;
	check_rows(rows);
}

/* ---------- attributes ---------- */

#define AT(path) "{'attr': '" path "', 'op': 'equals', 'value': 'Graz'}"

static void
dots_walk_into_objects(void **state)
{
	static const row rows[] = {
		{AT("city"), "{'city': 'Graz'}", true},
		{AT("city"), "{'City': 'Graz'}", false},
		{AT("address.city"), "{'address': {'city': 'Graz'}}", true},
		{AT("address.city"), "{'address': {'city': 'Wien'}}", false},
		{AT("address.city"), "{'address.city': 'Graz'}", false},
		{AT("address.city"), "{'city': 'Graz'}", false},
		{AT("address.city"), "{'address': 'Graz'}", false},
		{AT("address.city"), "{'address': null}", false},
		{AT("address.city"), "{'address': {}}", false},
		{AT("address.city"), "{'address': {'city': null}}", false},
		{AT("address.city"), "{'address': [{'city': 'Graz'}]}", false},
		{AT("address.city"), "{'address': {'city': ['Wien', 'Graz']}}", true},
		{AT("a.b.c.d.e.f.g.h"), "{'a': {'b': {'c': {'d': {'e': {'f': {'g': {'h': 'Graz'}}}}}}}}",
		 true},
		{AT("a.b.c.d.e.f.g.h"), "{'a': {'b': {'c': {'d': {'e': {'f': {'g': {'i': 'Graz'}}}}}}}}",
		 false},
		{AT("größe"), "{'größe': 'Graz'}", true},
		{AT("a b-c/d"), "{'a b-c/d': 'Graz'}", true},
		{ALL(AT("x.a"), AT("x.b"), AT("x.c.d")),
		 "{'x': {'a': 'Graz', 'b': 'Graz', 'c': {'d': 'Graz'}}}", true},
		{"{'attr': 'x', 'op': 'exists'}", "{'x': {'a': 1}}", true},
		{"{'attr': 'x.b', 'op': 'not_exists'}", "{'x': {'a': 1}}", true},
		{"{'attr': 'x.a.b', 'op': 'exists'}", "{'x': {'a': 1}}", false},
	};

	(void) state;
	check_rows(rows);
}

/* The same attribute, asked for by many conditions and by several flags over one context. */
static void
attributes_are_those_of_the_context(void **state)
{
	world *w = world_new();

	(void) state;
	for (unsigned i = 0; i < 100; i++)
		put_flag(w, text("{'key': 'f%u', 'type': 'boolean', 'default_value': false, 'rules': ["
						 "{'serve': 'on', 'if': {'attr': 'a%u', 'op': 'equals', 'value': %u}}]}",
						 i, i % 10, i));
	for (unsigned value = 0; value < 100; value += 7)
	{
		world_begin(w, text("{'a%u': %u}", value % 10, value));
		for (unsigned i = 0; i < 100; i++)
			assert_int_equal(world_ask(w, text("f%u", i))->reason,
							 i == value ? FFE_RULE_MATCH : FFE_DEFAULT);
	}
	world_free(w);
}

/* ---------- percentages ---------- */

static void
percentage_is_of_the_bucket_with_its_salt(void **state)
{
	/* buckets of the frozen vectors: checkout:user-1 62556, new-pricing:user-1 41801 */
	static const row rows[] = {
		{"{'percentage': 62.557, 'salt': 'checkout'}", "{'user_id': 'user-1'}", true},
		{"{'percentage': 62.556, 'salt': 'checkout'}", "{'user_id': 'user-1'}", false},
		{"{'percentage': 41.802, 'salt': 'new-pricing'}", "{'user_id': 'user-1'}", true},
		{"{'percentage': 41.801, 'salt': 'new-pricing'}", "{'user_id': 'user-1'}", false},
		{"{'percentage': 62.557, 'salt': 'checkout'}", "{'targetingKey': 'user-1'}", true},
		{"{'percentage': 62.556, 'salt': 'checkout'}", "{'targetingKey': 'user-1'}", false},
		{"{'percentage': 62.557, 'salt': 'checkout', 'by': 'org.id'}",
		 "{'org': {'id': 'user-1'}, 'user_id': 'user-2'}", true},
		{"{'percentage': 62.556, 'salt': 'checkout', 'by': 'org.id'}",
		 "{'org': {'id': 'user-1'}, 'user_id': 'user-2'}", false},
		{"{'percentage': 39.277, 'salt': 'checkout'}", "{'user_id': 42}", true},
		{"{'percentage': 39.276, 'salt': 'checkout'}", "{'user_id': 42}", false},
		{"{'percentage': 0, 'salt': 's'}", "{'user_id': 'user-1'}", false},
		{"{'percentage': 100, 'salt': 's'}", "{'user_id': 'user-1'}", true},
		/* nobody is in no bucket */
		{"{'percentage': 100, 'salt': 's'}", "{}", false},
		{"{'percentage': 100, 'salt': 's'}", "{'user_id': ''}", false},
		{"{'percentage': 100, 'salt': 's', 'by': 'org'}", "{'user_id': 'user-1'}", false},
		{"{'percentage': 100, 'salt': 's', 'by': 'org'}", "{'org': ['x']}", false},
		{"{'percentage': 100, 'salt': 's', 'by': 'org'}", "{'org': 'x'}", true},
	};

	(void) state;
	check_rows(rows);
}

/* ---------- flags in conditions ---------- */

static world *
world_with_other(void)
{
	world *w = world_new();

	put_flag(w, "{'key': 'other', 'type': 'string', 'default_value': 'grey',"
				" 'variants': {'r': 'red', 'b': 'blue', 'g': 'grey'}, 'rules': ["
				"{'if': {'attr': 'colour', 'op': 'equals', 'value': 'red'}, 'serve': 'r'},"
				"{'if': {'attr': 'colour', 'op': 'equals', 'value': 'blue'}, 'serve': 'b'}]}");
	put_flag(w, "{'key': 'f', 'type': 'boolean', 'default_value': false, 'rules': ["
				"{'id': 'r', 'if': {'flag': 'other', 'variant': 'r'}, 'serve': 'on'},"
				"{'id': 'g', 'if': {'flag': 'other', 'variant': 'g'}, 'serve': 'on'}]}");
	return w;
}

static void
a_flag_is_asked_for_its_variant(void **state)
{
	world *w = world_with_other();

	(void) state;
	expect(w, "f", "{'colour': 'red'}", FFE_RULE_MATCH, "on", "r");
	expect(w, "f", "{'colour': 'blue'}", FFE_DEFAULT, "off", NULL);
	/* its default is the value of a variant, so that variant is what it serves */
	expect(w, "f", "{}", FFE_RULE_MATCH, "on", "g");
	world_free(w);
}

static void
a_flag_that_is_missing_is_an_error(void **state)
{
	world *w = world_with_other();

	(void) state;
	world_remove(w, FFE_FLAG, "other");
	expect_error(w, "f", "{'colour': 'red'}", FFE_FLAG_NOT_FOUND, "other");
	put_flag(w, "{'key': 'other', 'type': 'boolean', 'default_value': true, 'state': 'archived'}");
	expect_error(w, "f", "{'colour': 'red'}", FFE_FLAG_ARCHIVED, "other");
	world_free(w);
}

/* An error is one only where it is reached: all and any stop at the first that decides. */
static void
errors_where_they_are_asked_for(void **state)
{
	static const struct
	{
		const char *condition;
		ffe_reason reason;
	} cases[] = {
		{ANY("{'attr': 'a', 'op': 'exists'}", "{'segment': 'gone'}"), FFE_RULE_MATCH},
		{ANY("{'segment': 'gone'}", "{'attr': 'a', 'op': 'exists'}"), FFE_ERROR_FALLBACK},
		{ALL("{'attr': 'b', 'op': 'exists'}", "{'segment': 'gone'}"), FFE_DEFAULT},
		{ALL("{'segment': 'gone'}", "{'attr': 'b', 'op': 'exists'}"), FFE_ERROR_FALLBACK},
		{NOT("{'segment': 'gone'}"), FFE_ERROR_FALLBACK},
		{NOT(ALL("{'attr': 'a', 'op': 'exists'}", "{'segment': 'gone'}")), FFE_ERROR_FALLBACK},
	};

	(void) state;
	for (size_t i = 0; i < LENGTH(cases); i++)
	{
		world *w = world_new();

		put_flag(w, text("{'key': 'f', 'type': 'boolean', 'default_value': false,"
						 " 'rules': [{'if': %s, 'serve': 'on'}]}",
						 cases[i].condition));
		assert_int_equal(world_evaluate(w, "f", "{'a': 1}")->reason, cases[i].reason);
		world_free(w);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(have_their_truth_tables),
		cmocka_unit_test(missing_is_false_then_as_usual),
		cmocka_unit_test(dots_walk_into_objects),
		cmocka_unit_test(attributes_are_those_of_the_context),
		cmocka_unit_test(percentage_is_of_the_bucket_with_its_salt),
		cmocka_unit_test(a_flag_is_asked_for_its_variant),
		cmocka_unit_test(a_flag_that_is_missing_is_an_error),
		cmocka_unit_test(errors_where_they_are_asked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
