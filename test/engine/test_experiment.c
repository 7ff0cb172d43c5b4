/*
 * test/engine/test_experiment.c
 *	  Experiments: who takes part, and what is an exposure.
 */
#include "world.h"

#define UNITS 20000

/* GO Feature Flag: one hash for two decisions, so those who take part all get one variant. */
static void
traffic_is_independent_of_the_rollout(void **state)
{
	unsigned in = 0, in_and_on = 0, on = 0;
	world *w = world_new();

	(void) state;
	put_flag(w, "{'key': 'f', 'type': 'boolean', 'default_value': false,"
				" 'experiment': {'active': true, 'traffic': 30},"
				" 'rollout': [{'variant': 'on', 'weight': 50}, {'variant': 'off', 'weight': 50}]}");
	for (unsigned i = 0; i < UNITS; i++)
	{
		const char *unit = text("user-%u", i);
		bool takes_part = ffe_bucket("f:traffic", 9, unit, strlen(unit), NULL) < 30000;
		bool rolled_out = ffe_bucket("f", 1, unit, strlen(unit), NULL) < 50000;
		const ffe_result *result = world_evaluate(w, "f", text("{'user_id': '%s'}", unit));

		assert_int_equal(result->reason, takes_part ? FFE_ROLLOUT : FFE_DEFAULT);
		assert_string_equal(variant_of(result), takes_part && rolled_out ? "on" : "off");
		assert_int_equal(result->exposed, takes_part);
		in += takes_part;
		on += rolled_out;
		in_and_on += takes_part && rolled_out;
	}
	/* 30 %, 50 % and their product, with four standard deviations either side */
	assert_in_range(in, 5741, 6259);
	assert_in_range(on, 9717, 10283);
	assert_in_range(in_and_on, 2798, 3202);
	world_free(w);
}

/* Inside by a thousandth of a percent, or outside by one. */
static void
traffic_ends_where_it_says(void **state)
{
	world *w = world_new();

	(void) state;
	for (unsigned i = 0; i < 50; i++)
	{
		const char *unit = text("user-%u", i);
		uint32_t bucket = ffe_bucket("f:traffic", 9, unit, strlen(unit), NULL);

		for (uint32_t more = 0; more <= 1; more++)
		{
			put_flag(w, text("{'key': 'f', 'type': 'boolean', 'default_value': false,"
							 " 'experiment': {'active': true, 'traffic': %u.%03u},"
							 " 'rollout': [{'variant': 'on', 'weight': 100}]}",
							 (bucket + more) / 1000, (bucket + more) % 1000));
			expect(w, "f", text("{'user_id': '%s'}", unit), more ? FFE_ROLLOUT : FFE_DEFAULT,
				   more ? "on" : "off", NULL);
		}
	}
	world_free(w);
}

static void
traffic_comes_after_overrides_and_before_rules(void **state)
{
	world *w = world_new();

	(void) state;
	put_flag(w, "{'key': 'f', 'type': 'boolean', 'default_value': false,"
				" 'experiment': {'active': true, 'traffic': 0},"
				" 'overrides': [{'variant': 'on', 'users': ['u']}],"
				" 'rules': [{'if': {'attr': 'a', 'op': 'exists'}, 'serve': 'on'}],"
				" 'rollout': [{'variant': 'on', 'weight': 100}]}");
	expect(w, "f", "{'user_id': 'u'}", FFE_USER_OVERRIDE, "on", NULL);
	expect(w, "f", "{'user_id': 'v', 'a': 1}", FFE_DEFAULT, "off", NULL);
	assert_false(w->result.exposed);
	expect(w, "f", "{'user_id': 'v'}", FFE_DEFAULT, "off", NULL);
	assert_false(w->result.exposed);
	world_free(w);
}

static void
no_unit_takes_no_part(void **state)
{
	world *w = world_new();

	(void) state;
	put_flag(w, "{'key': 'f', 'type': 'boolean', 'default_value': false,"
				" 'experiment': {'active': true, 'traffic': 99.999},"
				" 'rules': [{'id': 'r', 'if': {'attr': 'a', 'op': 'exists'}, 'serve': 'on'}]}");
	expect(w, "f", "{'a': 1}", FFE_DEFAULT, "off", NULL);
	expect(w, "f", "{'a': 1, 'user_id': ''}", FFE_DEFAULT, "off", NULL);
	assert_false(w->result.exposed);
	put_flag(w, "{'key': 'f', 'type': 'boolean', 'default_value': false,"
				" 'experiment': {'active': true, 'traffic': 100},"
				" 'rules': [{'id': 'r', 'if': {'attr': 'a', 'op': 'exists'}, 'serve': 'on'}]}");
	expect(w, "f", "{'a': 1}", FFE_RULE_MATCH, "on", "r");
	expect(w, "f", "{'a': 1, 'user_id': ''}", FFE_RULE_MATCH, "on", "r");
	world_free(w);
}

/* Traffic counts only while the experiment is active. */
static void
inactive_experiments_stop_nobody(void **state)
{
	static const char *const experiments[] = {"{'active': false, 'traffic': 0}",
											  "{'traffic': 0}",
											  "{'active': null, 'traffic': 0}",
											  "{'active': false}",
											  "{}",
											  "null"};
	world *w = world_new();

	(void) state;
	for (size_t i = 0; i < LENGTH(experiments); i++)
	{
		put_flag(w, text("{'key': 'f', 'type': 'boolean', 'default_value': false,"
						 " 'experiment': %s, 'rollout': [{'variant': 'on', 'weight': 100}]}",
						 experiments[i]));
		expect(w, "f", "{'user_id': 'u'}", FFE_ROLLOUT, "on", NULL);
		assert_false(w->result.exposed);
	}
	world_free(w);
}

static void
what_is_an_exposure(void **state)
{
	world *w = world_new();

	(void) state;
	put_flag(w, "{'key': 'f', 'type': 'boolean', 'default_value': false,"
				" 'experiment': {'active': true},"
				" 'rules': [{'id': 'r', 'if': {'attr': 'a', 'op': 'exists'}, 'serve': 'on'},"
				"  {'id': 'e', 'if': {'attr': 'e', 'op': 'regex', 'value': '(a+)+$'},"
				"   'serve': 'on'}],"
				" 'rollout': [{'variant': 'on', 'weight': 100}]}");
	expect(w, "f", "{'user_id': 'u', 'a': 1}", FFE_RULE_MATCH, "on", "r");
	assert_true(w->result.exposed);
	expect(w, "f", "{'user_id': 'u'}", FFE_ROLLOUT, "on", NULL);
	assert_true(w->result.exposed);
	expect_error(w, "f", text("{'user_id': 'u', 'e': '%s!'}", repeat('a', 64)), FFE_LIMIT_EXCEEDED,
				 "f");
	assert_false(w->result.exposed);
	world_free(w);
}

/* The traffic of an own attribute, with an own salt. */
static void
traffic_goes_by_the_bucketing(void **state)
{
	world *w = world_new();

	(void) state;
	put_flag(w, "{'key': 'f', 'type': 'boolean', 'default_value': false,"
				" 'bucketing': {'by': 'org', 'salt': 'x'},"
				" 'experiment': {'active': true, 'traffic': 50},"
				" 'rules': [{'if': {'attr': 'org', 'op': 'exists'}, 'serve': 'on'}]}");
	for (unsigned i = 0; i < 1000; i++)
	{
		const char *unit = text("%u", i);
		bool takes_part = ffe_bucket("x:traffic", 9, unit, strlen(unit), NULL) < 50000;

		expect(w, "f", text("{'org': %u, 'user_id': 'u'}", i),
			   takes_part ? FFE_RULE_MATCH : FFE_DEFAULT, takes_part ? "on" : "off", NULL);
	}
	expect(w, "f", "{'user_id': 'u'}", FFE_DEFAULT, "off", NULL);
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(traffic_is_independent_of_the_rollout),
		cmocka_unit_test(traffic_ends_where_it_says),
		cmocka_unit_test(traffic_comes_after_overrides_and_before_rules),
		cmocka_unit_test(no_unit_takes_no_part),
		cmocka_unit_test(inactive_experiments_stop_nobody),
		cmocka_unit_test(what_is_an_exposure),
		cmocka_unit_test(traffic_goes_by_the_bucketing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
