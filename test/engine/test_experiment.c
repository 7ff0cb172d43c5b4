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

static int64_t
start_of(world *w, const char *experiment)
{
	put_flag(w, text("{'key': 'f', 'type': 'boolean', 'default_value': false, 'experiment': %s}",
					 experiment));
	return ffe_doc_experiment_start(ffe_set_doc(w->set, world_id(w, FFE_FLAG, "f")));
}

static void
the_start_is_kept(void **state)
{
	world *w = world_new();
	ffe_doc *broken;
	ffe_node nothing = {.kind = FFE_MISSING};

	(void) state;
	assert_int_equal(start_of(w, "{'started_at': '1970-01-01T00:00:01.5Z'}"), 1500000);
	assert_int_equal(start_of(w, "{'active': true, 'started_at': '1969-12-31T23:59:59Z'}"),
					 -1000000);
	assert_int_equal(start_of(w, "{'started_at': '1970-01-01T01:00:00+01:00'}"), 0);
	assert_int_equal(start_of(w, "{'started_at': null}"), INT64_MIN);
	assert_int_equal(start_of(w, "{'active': true, 'ended_at': '1970-01-01T00:00:00Z'}"),
					 INT64_MIN);
	assert_int_equal(start_of(w, "null"), INT64_MIN);
	broken = ffe_compile_broken(w->set, &ffe_jansson_reader, &nothing, FFE_PARSE_ERROR, "broken");
	assert_int_equal(ffe_doc_experiment_start(broken), INT64_MIN);
	ffe_doc_free(w->set, broken);
	world_free(w);
}

/* Only `active` starts and ends an experiment. */
static void
times_start_and_end_nothing(void **state)
{
	static const char *const periods[] = {
		"'started_at': '2999-01-01T00:00:00Z'",
		"'started_at': '2001-01-01T00:00:00Z', 'ended_at': '2001-01-02T00:00:00Z'",
		"'started_at': '2001-01-01T00:00:00Z', 'ended_at': null, 'hypothesis': 'it sells'",
	};
	world *w = world_new();

	(void) state;
	for (size_t i = 0; i < LENGTH(periods); i++)
	{
		for (int active = 0; active <= 1; active++)
		{
			put_flag(w, text("{'key': 'f', 'type': 'boolean', 'default_value': false,"
							 " 'experiment': {'active': %s, 'traffic': 0, %s},"
							 " 'rollout': [{'variant': 'on', 'weight': 100}]}",
							 active ? "true" : "false", periods[i]));
			expect(w, "f", "{'user_id': 'u'}", active ? FFE_DEFAULT : FFE_ROLLOUT,
				   active ? "off" : "on", NULL);
		}
	}
	world_free(w);
}

/* The unit of the last evaluation, NULL for none. */
static const char *
unit_of(world *w)
{
	size_t len = 99;
	uint64_t hash = 99;
	const char *unit = ffe_result_unit(w->state, w->set, &w->result, &len, &hash);

	assert_true(unit == NULL ? len == 0 && hash == 0 : len > 0);
	return unit == NULL ? NULL : text("%.*s", (int) len, unit);
}

static void
the_unit_of_a_result(void **state)
{
	static const struct
	{
		const char *bucketing;
		const char *context;
		const char *unit;
	} cases[] = {
		{"null", "{'user_id': 'u', 'targetingKey': 't'}", "u"},
		{"null", "{'targetingKey': 't'}", "t"},
		{"null", "{'user_id': 42}", "42"},
		{"null", "{'user_id': ''}", NULL},
		{"null", "{'user_id': true}", NULL},
		{"null", "{}", NULL},
		{"null", NULL, NULL},
		{"{'by': 'user_id'}", "{'targetingKey': 't'}", "t"},
		{"{'by': 'org.id'}", "{'user_id': 'u', 'org': {'id': 'o'}}", "o"},
		{"{'by': 'org.id'}", "{'user_id': 'u', 'org': {'id': -7}}", "-7"},
		{"{'by': 'org.id'}", "{'user_id': 'u', 'org': {'id': 7.5}}", NULL},
		{"{'by': 'org.id'}", "{'user_id': 'u'}", NULL},
	};
	/* what needs the unit to answer, and what doesn't look at the context */
	static const char *const members[] = {
		"'rollout': [{'variant': 'on', 'weight': 50}]",
		"'tags': ['t']",
		"'enabled': false",
		"'state': 'archived'",
	};
	world *w = world_new();

	(void) state;
	for (size_t i = 0; i < LENGTH(cases); i++)
	{
		for (size_t j = 0; j < LENGTH(members); j++)
		{
			const char *unit;

			put_flag(w, text("{'key': 'f', 'type': 'boolean', 'default_value': false,"
							 " 'experiment': {'active': true}, 'bucketing': %s, %s}",
							 cases[i].bucketing, members[j]));
			world_evaluate(w, "f", cases[i].context);
			unit = unit_of(w);
			if (cases[i].unit == NULL)
				assert_null(unit);
			else
				assert_string_equal(unit, cases[i].unit);
		}
	}
	world_free(w);
}

/* Each flag's own, over one context; and none where there is nothing to go by. */
static void
units_of_several_flags(void **state)
{
	world *w = world_new();
	ffe_node nothing = {.kind = FFE_MISSING};

	(void) state;
	put_flag(w, "{'key': 'f', 'type': 'boolean', 'default_value': false}");
	put_flag(w, "{'key': 'g', 'type': 'boolean', 'default_value': false,"
				" 'bucketing': {'by': 'org'}}");
	ffe_set_put(w->set, world_id(w, FFE_FLAG, "broken"),
				ffe_compile_broken(w->set, &ffe_jansson_reader, &nothing, FFE_PARSE_ERROR, "b"));
	world_evaluate(w, "f", "{'user_id': 1, 'org': 2}");
	assert_string_equal(unit_of(w), "1");
	world_ask(w, "g");
	assert_string_equal(unit_of(w), "2");
	world_ask(w, "f");
	assert_string_equal(unit_of(w), "1");
	world_ask(w, "broken");
	assert_null(unit_of(w));
	world_ask(w, "missing");
	assert_null(unit_of(w));
	world_evaluate(w, "f", "['user_id']");
	assert_null(unit_of(w));
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
		cmocka_unit_test(the_start_is_kept),
		cmocka_unit_test(times_start_and_end_nothing),
		cmocka_unit_test(the_unit_of_a_result),
		cmocka_unit_test(units_of_several_flags),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
