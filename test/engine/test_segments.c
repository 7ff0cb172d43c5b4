/*
 * test/engine/test_segments.c
 *	  Segments: lists, conditions, and segments in segments.
 */
#include "world.h"

/* A world with one flag that is on in segment s. */
static world *
world_with(const char *segment)
{
	world *w = world_new();

	put_segment(w, segment);
	put_flag(w, "{'key': 'f', 'type': 'boolean', 'default_value': false,"
				" 'rules': [{'id': 'r', 'if': {'segment': 's'}, 'serve': 'on'}]}");
	return w;
}

#define expect_in(w, context) expect(w, "f", context, FFE_RULE_MATCH, "on", "r")
#define expect_out(w, context) expect(w, "f", context, FFE_DEFAULT, "off", NULL)

static void
lists_win_over_the_condition(void **state)
{
	world *w = world_with("{'key': 's', 'included': ['in', '7'], 'excluded': ['out', '8'],"
						  " 'if': {'attr': 'staff', 'op': 'equals', 'value': true}}");

	(void) state;
	expect_in(w, "{'user_id': 'in'}");
	expect_in(w, "{'user_id': 'in', 'staff': false}");
	expect_in(w, "{'targetingKey': 'in'}");
	expect_in(w, "{'user_id': 7}");
	expect_out(w, "{'user_id': 'out'}");
	expect_out(w, "{'user_id': 'out', 'staff': true}");
	expect_out(w, "{'user_id': 8, 'staff': true}");
	expect_out(w, "{'targetingKey': 'out', 'staff': true}");
	expect_in(w, "{'user_id': 'other', 'staff': true}");
	expect_out(w, "{'user_id': 'other', 'staff': false}");
	expect_out(w, "{'user_id': 'other'}");
	/* the user id comes before the targeting key */
	expect_out(w, "{'user_id': 'other', 'targetingKey': 'in'}");
	expect_in(w, "{'user_id': 'other', 'targetingKey': 'out', 'staff': true}");
	/* without a user no list matches, and the condition decides */
	expect_in(w, "{'staff': true}");
	expect_in(w, "{'user_id': '', 'staff': true}");
	expect_out(w, "{}");
	expect_out(w, "{'user_id': 'IN'}");
	world_free(w);
}

static void
a_list_alone_is_enough(void **state)
{
	world *w = world_with("{'key': 's', 'included': ['in'], 'excluded': ['out']}");

	(void) state;
	expect_in(w, "{'user_id': 'in'}");
	expect_out(w, "{'user_id': 'out'}");
	expect_out(w, "{'user_id': 'other'}");
	expect_out(w, "{}");
	world_free(w);
}

static void
all_but_those_excluded(void **state)
{
	world *w = world_with("{'key': 's', 'excluded': ['out'],"
						  " 'if': {'not': {'attr': 'no', 'op': 'exists'}}}");

	(void) state;
	expect_in(w, "{}");
	expect_in(w, "{'user_id': 'other'}");
	expect_out(w, "{'user_id': 'out'}");
	expect_out(w, "{'no': 1}");
	world_free(w);
}

static void
refer_to_segments(void **state)
{
	world *w = world_with("{'key': 's', 'if': {'all': [{'segment': 'eu'},"
						  " {'not': {'segment': 'blocked'}}]}}");

	(void) state;
	put_segment(w, "{'key': 'eu', 'included': ['always'],"
				   " 'if': {'attr': 'country', 'op': 'in_list', 'value': ['AT', 'DE']}}");
	put_segment(w, "{'key': 'blocked', 'included': ['bad', 'always']}");
	expect_in(w, "{'country': 'AT'}");
	expect_in(w, "{'country': 'AT', 'user_id': 'x'}");
	expect_out(w, "{'country': 'US'}");
	expect_out(w, "{'country': 'AT', 'user_id': 'bad'}");
	expect_out(w, "{'user_id': 'always'}");
	/* a change is seen */
	put_segment(w, "{'key': 'blocked', 'included': ['bad']}");
	expect_in(w, "{'user_id': 'always'}");
	world_free(w);
}

static void
refer_to_flags(void **state)
{
	world *w = world_with("{'key': 's', 'if': {'flag': 'beta', 'variant': 'on'}}");

	(void) state;
	put_flag(w, "{'key': 'beta', 'type': 'boolean', 'default_value': false,"
				" 'overrides': [{'variant': 'on', 'users': ['u']}]}");
	expect_in(w, "{'user_id': 'u'}");
	expect_out(w, "{'user_id': 'v'}");
	world_free(w);
}

static void
missing_or_archived_is_an_error(void **state)
{
	world *w = world_with("{'key': 's', 'if': {'segment': 'deeper'}}");

	(void) state;
	expect_error(w, "f", "{}", FFE_FLAG_NOT_FOUND, "deeper");
	put_segment(w, "{'key': 'deeper', 'included': ['u'], 'state': 'archived'}");
	expect_error(w, "f", "{}", FFE_FLAG_ARCHIVED, "deeper");
	put_segment(w, "{'key': 'deeper', 'included': ['u'], 'state': 'active'}");
	expect_in(w, "{'user_id': 'u'}");
	world_remove(w, FFE_SEGMENT, "s");
	expect_error(w, "f", "{'user_id': 'u'}", FFE_FLAG_NOT_FOUND, "s");
	world_free(w);
}

/* Flags and segments are two worlds of names. */
static void
a_flag_of_that_name_is_another_thing(void **state)
{
	world *w = world_new();

	(void) state;
	put_flag(w, "{'key': 's', 'type': 'boolean', 'default_value': true}");
	put_flag(w, "{'key': 'f', 'type': 'boolean', 'default_value': false,"
				" 'rules': [{'id': 'r', 'if': {'segment': 's'}, 'serve': 'on'}]}");
	expect_error(w, "f", "{}", FFE_FLAG_NOT_FOUND, "s");
	put_segment(w, "{'key': 's', 'included': ['u']}");
	expect_in(w, "{'user_id': 'u'}");
	expect_out(w, "{'user_id': 'v'}");
	expect(w, "s", "{}", FFE_DEFAULT, "on", NULL);
	world_free(w);
}

/* A segment asked for many times over one context answers the same each time. */
static void
are_remembered_for_one_context_only(void **state)
{
	world *w = world_with("{'key': 's', 'if': {'attr': 'a', 'op': 'equals', 'value': 1}}");

	(void) state;
	for (unsigned i = 0; i < 20; i++)
		put_flag(w, text("{'key': 'f%u', 'type': 'boolean', 'default_value': false, 'rules': ["
						 "{'if': {'not': {'segment': 's'}}, 'serve': 'on'}]}",
						 i));
	for (unsigned round = 0; round < 10; round++)
	{
		world_begin(w, text("{'a': %u}", round % 2));
		for (unsigned i = 0; i < 20; i++)
			assert_int_equal(world_ask(w, text("f%u", i))->reason,
							 round % 2 == 1 ? FFE_DEFAULT : FFE_RULE_MATCH);
		assert_int_equal(world_ask(w, "f")->reason, round % 2 == 1 ? FFE_RULE_MATCH : FFE_DEFAULT);
	}
	world_free(w);
}

static void
ten_thousand_users(void **state)
{
	const char *in = series("'in-%u'", 10000);
	const char *out = series("'out-%u'", 10000);
	world *w = world_with(text("{'key': 's', 'included': [%s], 'excluded': [%s],"
							   " 'if': {'attr': 'a', 'op': 'exists'}}",
							   in, out));

	(void) state;
	for (unsigned i = 0; i < 10000; i += 1111)
	{
		expect_in(w, text("{'user_id': 'in-%u'}", i));
		expect_out(w, text("{'user_id': 'out-%u', 'a': 1}", i));
	}
	expect_out(w, "{'user_id': 'in-10000'}");
	expect_in(w, "{'user_id': 'out-10000', 'a': 1}");
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lists_win_over_the_condition),
		cmocka_unit_test(a_list_alone_is_enough),
		cmocka_unit_test(all_but_those_excluded),
		cmocka_unit_test(refer_to_segments),
		cmocka_unit_test(refer_to_flags),
		cmocka_unit_test(missing_or_archived_is_an_error),
		cmocka_unit_test(a_flag_of_that_name_is_another_thing),
		cmocka_unit_test(are_remembered_for_one_context_only),
		cmocka_unit_test(ten_thousand_users),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
