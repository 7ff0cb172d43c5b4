/*
 * test/engine/test_refused_flag.c
 *	  Values of a flag's members that are of the right type and still wrong.
 */
#include "world.h"

/* A flag with the members that a row gives it. */
#define BOOLEAN_WITH "{'key': 'f', 'type': 'boolean', 'default_value': false, %s}"
#define STRING_WITH                                                                                \
	"{'key': 'f', 'type': 'string', 'default_value': 'x', 'variants': {'a': 'A', 'b': 'B'}, %s}"

static void
keys(void **state)
{
	static const char *const bad[] = {"",    "-a",   ".a",  "_a",    "a b", "ä",    "a/b",
									  "a:b", "a\\n", "a@b", "a\\\\", "a,b", "日本", " a"};

	(void) state;
	for (size_t i = 0; i < LENGTH(bad); i++)
	{
		const char *key = bad[i];

		expect_refused(FFE_FLAG,
					   text("{'key': '%s', 'type': 'boolean', 'default_value': true}", key),
					   FFE_PARSE_ERROR, "key", "");
		expect_refused(FFE_SEGMENT, text("{'key': '%s', 'included': ['u']}", key), FFE_PARSE_ERROR,
					   "key", "");
		expect_refused(FFE_SEGMENT, text("{'key': 's', 'if': {'segment': '%s'}}", key),
					   FFE_PARSE_ERROR, "if.segment", "");
		expect_refused(FFE_SEGMENT, text("{'key': 's', 'if': {'flag': '%s', 'variant': 'v'}}", key),
					   FFE_PARSE_ERROR, "if.flag", "");
		expect_refused(FFE_SEGMENT, text("{'key': 's', 'if': {'flag': 'f', 'variant': '%s'}}", key),
					   FFE_PARSE_ERROR, "if.variant", "");
		expect_refused(FFE_FLAG,
					   text("{'key': 'f', 'type': 'boolean', 'default_value': true, 'rules': ["
							"{'id': '%s', 'if': {'segment': 's'}, 'serve': 'on'}]}",
							key),
					   FFE_PARSE_ERROR, "rules[0].id", "");
		expect_refused(FFE_FLAG,
					   text("{'key': 'f', 'type': 'boolean', 'default_value': true,"
							" 'requires': [{'flag': '%s', 'variant': 'on'}]}",
							key),
					   FFE_PARSE_ERROR, "requires[0].flag", "");
	}
}

static void
good_keys(void **state)
{
	static const char *const good[] = {"a", "A", "0", "a.b-c_d", "9-", "a..", "on"};

	(void) state;
	for (size_t i = 0; i < LENGTH(good); i++)
	{
		expect_taken(
			FFE_FLAG,
			text("{'key': '%s', 'type': 'number', 'default_value': 1, 'variants': {'%s': 2},"
				 " 'rules': [{'id': '%s', 'if': {'segment': '%s'}, 'serve': '%s'}]}",
				 good[i], good[i], good[i], good[i], good[i]));
		expect_taken(FFE_SEGMENT, text("{'key': '%s', 'included': ['u']}", good[i]));
	}
	expect_taken(FFE_FLAG,
				 text("{'key': '%s', 'type': 'boolean', 'default_value': true}", repeat('k', 255)));
}

static void
types_and_values(void **state)
{
	static const refusal rows[] = {
		{"'type': 'bool', 'default_value': true", "type", "\"bool\""},
		{"'type': 'Boolean', 'default_value': true", "type", "boolean"},
		{"'type': 'integer', 'default_value': 1", "type", "number"},
		{"'type': '', 'default_value': 1", "type", "json"},
		{"'type': 'boolean', 'default_value': 'true'", "default_value", "boolean"},
		{"'type': 'boolean', 'default_value': 1", "default_value", "boolean"},
		{"'type': 'boolean', 'default_value': null", "default_value", "null"},
		{"'type': 'boolean', 'default_value': []", "default_value", "array"},
		{"'type': 'string', 'default_value': 1", "default_value", "string"},
		{"'type': 'string', 'default_value': true", "default_value", "string"},
		{"'type': 'string', 'default_value': null", "default_value", "null"},
		{"'type': 'string', 'default_value': {}", "default_value", "object"},
		{"'type': 'number', 'default_value': '1'", "default_value", "number"},
		{"'type': 'number', 'default_value': true", "default_value", "number"},
		{"'type': 'number', 'default_value': null", "default_value", "null"},
		{"'type': 'json', 'default_value': null", "default_value", "null"},
		{"'type': 'boolean', 'default_value': true, 'variants': {'on': true, 'x': 1}", "variants.x",
		 "boolean"},
		{"'type': 'string', 'default_value': '', 'variants': {'x': true}", "variants.x", "string"},
		{"'type': 'number', 'default_value': 1, 'variants': {'x': '1'}", "variants.x", "number"},
		{"'type': 'json', 'default_value': 1, 'variants': {'x': null}", "variants.x", "null"},
		{"'type': 'string', 'default_value': '', 'variants': {'x': null}", "variants.x", "null"},
		{"'type': 'json', 'default_value': []", NULL, NULL},
		{"'type': 'json', 'default_value': {}", NULL, NULL},
		{"'type': 'json', 'default_value': [null, {'a': null}]", NULL, NULL},
		{"'type': 'json', 'default_value': 'x', 'variants': {'x': 1, 'y': [true]}", NULL, NULL},
		{"'type': 'string', 'default_value': ''", NULL, NULL},
		{"'type': 'number', 'default_value': -1.5e300", NULL, NULL},
		/* names of variants look like keys */
		{"'type': 'number', 'default_value': 1, 'variants': {'a b': 1}", "variants[\"a b\"]", ""},
		{"'type': 'number', 'default_value': 1, 'variants': {'': 1}", "variants[\"\"]", ""},
		{"'type': 'number', 'default_value': 1, 'variants': {'-a': 1}", "variants.-a", ""},
		{"'type': 'number', 'default_value': 1, 'variants': {'ä': 1}", "variants[\"ä\"]", ""},
		{"'type': 'boolean', 'default_value': true, 'state': 'deleted'", "state", "deleted"},
		{"'type': 'boolean', 'default_value': true, 'state': ''", "state", "archived"},
		{"'type': 'boolean', 'default_value': true, 'state': 'Active'", "state", "active"},
	};

	(void) state;
	check_refusals(FFE_FLAG, "{'key': 'f', %s}", FFE_PARSE_ERROR, rows);
}

/* A variant named in a place must be one of the flag's. */
static void
unknown_variants(void **state)
{
	static const refusal in_strings[] = {
		{"'overrides': [{'variant': 'c', 'users': ['u']}]", "overrides[0].variant", "\"c\""},
		{"'rules': [{'if': {'segment': 's'}, 'serve': 'c'}]", "rules[0].serve", "\"c\""},
		{"'rules': [{'if': {'segment': 's'}, 'serve': [{'variant': 'a', 'weight': 1},"
		 " {'variant': 'c', 'weight': 1}]}]",
		 "rules[0].serve[1].variant", "\"c\""},
		{"'rollout': [{'variant': 'c', 'weight': 1}]", "rollout[0].variant", "\"c\""},
		{"'rollout': [{'variant': 'A', 'weight': 1}]", "rollout[0].variant", "\"A\""},
		{"'rollout': [{'variant': '', 'weight': 1}]", "rollout[0].variant", "\"\""},
		{"'rollout': [{'variant': 'on', 'weight': 1}]", "rollout[0].variant", "\"on\""},
	};
	static const refusal in_booleans[] = {
		{"'rollout': [{'variant': 'true', 'weight': 1}]", "rollout[0].variant", "\"true\""},
		{"'rollout': [{'variant': 'on', 'weight': 1}]", NULL, NULL},
		{"'rollout': [{'variant': 'off', 'weight': 1}]", NULL, NULL},
		/* on and off are there only where variants is not */
		{"'variants': {'yes': true}, 'rollout': [{'variant': 'on', 'weight': 1}]",
		 "rollout[0].variant", "\"on\""},
		{"'variants': {'yes': true}, 'rollout': [{'variant': 'yes', 'weight': 1}]", NULL, NULL},
	};

	(void) state;
	check_refusals(FFE_FLAG, STRING_WITH, FFE_PARSE_ERROR, in_strings);
	check_refusals(FFE_FLAG, BOOLEAN_WITH, FFE_PARSE_ERROR, in_booleans);
	expect_refused(FFE_FLAG,
				   "{'key': 'f', 'type': 'number', 'default_value': 1,"
				   " 'rollout': [{'variant': 'on', 'weight': 1}]}",
				   FFE_PARSE_ERROR, "rollout[0].variant", "\"on\"");
}

static void
weights(void **state)
{
	static const refusal rows[] = {
		{"'rollout': [{'variant': 'a', 'weight': -0.001}]", "rollout[0].weight", "0 to 100"},
		{"'rollout': [{'variant': 'a', 'weight': 100.001}]", "rollout[0].weight", "0 to 100"},
		{"'rollout': [{'variant': 'a', 'weight': 101}]", "rollout[0].weight", "0 to 100"},
		{"'rollout': [{'variant': 'a', 'weight': 1e300}]", "rollout[0].weight", "0 to 100"},
		{"'rollout': [{'variant': 'a', 'weight': 0.0001}]", "rollout[0].weight", "three decimals"},
		{"'rollout': [{'variant': 'a', 'weight': 12.3456}]", "rollout[0].weight", "three decimals"},
		{"'rollout': [{'variant': 'a', 'weight': 33.33333333333333}]", "rollout[0].weight",
		 "three decimals"},
		{"'rollout': [{'variant': 'a', 'weight': 1e-9}]", "rollout[0].weight", "three decimals"},
		{"'rollout': [{'variant': 'a', 'weight': 60}, {'variant': 'b', 'weight': 40.001}]",
		 "rollout[1].weight", "100.001"},
		{"'rollout': [{'variant': 'a', 'weight': 100}, {'variant': 'b', 'weight': 100}]",
		 "rollout[1].weight", "100"},
		{"'rollout': [{'variant': 'a', 'weight': 60}, {'variant': 'b', 'weight': 40}]", NULL, NULL},
		{"'rollout': [{'variant': 'a', 'weight': 33.333}, {'variant': 'b', 'weight': 66.667}]",
		 NULL, NULL},
		{"'rollout': [{'variant': 'a', 'weight': 0}, {'variant': 'b', 'weight': 0.001}]", NULL,
		 NULL},
		{"'rollout': [{'variant': 'a', 'weight': 10}, {'variant': 'a', 'weight': 10}]", NULL, NULL},
		{"'rules': [{'if': {'segment': 's'}, 'serve': [{'variant': 'a', 'weight': 0.1234}]}]",
		 "rules[0].serve[0].weight", "three decimals"},
		{"'rules': [{'if': {'segment': 's'}, 'serve': [{'variant': 'a', 'weight': 99},"
		 " {'variant': 'b', 'weight': 2}]}]",
		 "rules[0].serve[1].weight", "101"},
		{"'experiment': {'traffic': 100.5}", "experiment.traffic", "0 to 100"},
		{"'experiment': {'traffic': -1}", "experiment.traffic", "0 to 100"},
		{"'experiment': {'traffic': 0.0005}", "experiment.traffic", "three decimals"},
		{"'experiment': {'traffic': 0.005}", NULL, NULL},
	};

	(void) state;
	check_refusals(FFE_FLAG, STRING_WITH, FFE_PARSE_ERROR, rows);
}

/* Nothing empty ever means everybody. */
static void
empty_lists(void **state)
{
	static const refusal rows[] = {
		{"'overrides': [{'variant': 'a', 'users': []}]", "overrides[0].users", "empty"},
		{"'rules': [{'if': {'segment': 's'}, 'serve': []}]", "rules[0].serve", "empty"},
		{"'rules': [{'if': {'all': []}, 'serve': 'a'}]", "rules[0].if.all", "empty"},
		{"'rules': [{'if': {'any': []}, 'serve': 'a'}]", "rules[0].if.any", "empty"},
		{"'rules': [{'if': {'not': {}}, 'serve': 'a'}]", "rules[0].if.not", ""},
		{"'rules': [{'if': {}, 'serve': 'a'}]", "rules[0].if", ""},
		{"'requires': []", "requires", "empty"},
		{"'overrides': []", NULL, NULL},
		{"'rules': []", NULL, NULL},
		{"'rollout': []", NULL, NULL},
		{"'tags': []", NULL, NULL},
		{"'bucketing': {}", NULL, NULL},
		{"'experiment': {}", NULL, NULL},
	};

	(void) state;
	check_refusals(FFE_FLAG, STRING_WITH, FFE_PARSE_ERROR, rows);
}

static void
said_twice(void **state)
{
	static const refusal rows[] = {
		{"'rules': [{'id': 'r', 'if': {'segment': 's'}, 'serve': 'a'},"
		 " {'id': 'q', 'if': {'segment': 's'}, 'serve': 'a'},"
		 " {'id': 'r', 'if': {'segment': 's'}, 'serve': 'b'}]",
		 "rules[2].id", "rules[0]"},
		{"'rules': [{'if': {'segment': 's'}, 'serve': 'a'},"
		 " {'if': {'segment': 's'}, 'serve': 'b'}]",
		 NULL, NULL},
		{"'overrides': [{'variant': 'a', 'users': ['u', 'v']},"
		 " {'variant': 'b', 'users': ['w', 'v']}]",
		 "overrides[1].users[1]", "\"v\""},
		{"'overrides': [{'variant': 'a', 'users': ['u']}, {'variant': 'b', 'users': ['v']},"
		 " {'variant': 'b', 'users': ['u']}]",
		 "overrides[2].users[0]", "\"u\""},
		{"'overrides': [{'variant': 'a', 'users': ['u']}, {'variant': 'b', 'users': ['U']}]", NULL,
		 NULL},
		{"'overrides': [{'variant': 'a', 'users': ['']}]", "overrides[0].users[0]", "empty"},
	};

	(void) state;
	check_refusals(FFE_FLAG, STRING_WITH, FFE_PARSE_ERROR, rows);
}

static void
periods_of_experiments(void **state)
{
	static const refusal rows[] = {
		{"'experiment': {'started_at': '2026-01-01'}", "experiment.started_at", "RFC 3339"},
		{"'experiment': {'ended_at': 'soon'}", "experiment.ended_at", "RFC 3339"},
		{"'experiment': {'started_at': '2026-01-02T00:00:00Z', 'ended_at': '2026-01-01T23:59:59Z'}",
		 "experiment.ended_at", "before started_at"},
		{"'experiment': {'started_at': '2026-01-02T00:00:00Z',"
		 " 'ended_at': '2026-01-01T23:59:59.999999Z'}",
		 "experiment.ended_at", "when it starts, or later"},
		{"'experiment': {'started_at': '2026-01-02T00:00:00Z',"
		 " 'ended_at': '2026-01-02T00:30:00+01:00'}",
		 "experiment.ended_at", "before started_at"},
		{"'experiment': {'started_at': '2026-01-02T00:00:00Z', 'ended_at': '2026-01-02T00:00:00Z'}",
		 NULL, NULL},
		{"'experiment': {'started_at': '2026-01-02T00:00:00Z',"
		 " 'ended_at': '2026-01-01T23:30:00-01:00'}",
		 NULL, NULL},
		{"'experiment': {'ended_at': '1826-01-01T00:00:00Z'}", NULL, NULL},
		{"'experiment': {'hypothesis': ''}", NULL, NULL},
	};

	(void) state;
	check_refusals(FFE_FLAG, STRING_WITH, FFE_PARSE_ERROR, rows);
}

static void
the_rest(void **state)
{
	static const refusal rows[] = {
		{"'expires_at': '2026-01-01'", "expires_at", "2026-01-01"},
		{"'expires_at': ''", "expires_at", "RFC 3339"},
		{"'created_at': 'yesterday'", "created_at", "yesterday"},
		{"'updated_at': '2026-02-30T00:00:00Z'", "updated_at", "RFC 3339"},
		{"'version': 1.5", "version", "1.5"},
		{"'version': -1", "version", "-1"},
		{"'version': 1e300", "version", "1e+300"},
		{"'version': 9007199254740992", NULL, NULL},
		{"'bucketing': {'by': ''}", "bucketing.by", ""},
		{"'bucketing': {'by': 'a..b'}", "bucketing.by", "a..b"},
		{"'bucketing': {'by': 'org.id', 'salt': 'a b:ü'}", NULL, NULL},
		{"'bucketing': {'salt': ''}", "bucketing.salt", ""},
	};

	(void) state;
	check_refusals(FFE_FLAG, STRING_WITH, FFE_PARSE_ERROR, rows);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys),
		cmocka_unit_test(good_keys),
		cmocka_unit_test(types_and_values),
		cmocka_unit_test(unknown_variants),
		cmocka_unit_test(weights),
		cmocka_unit_test(empty_lists),
		cmocka_unit_test(said_twice),
		cmocka_unit_test(periods_of_experiments),
		cmocka_unit_test(the_rest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
