/*
 * test/engine/test_trace.c
 *	  Explanations: every step of an evaluation, in order, with its path.
 */
#include "world.h"

#define MOST 200

/* The steps of the last evaluation, each as "stage path yes|no @depth". */
static char steps[MOST][256];
static char details[MOST][1100];
static unsigned nsteps;

static void
note(void *arg, const ffe_step *step)
{
	world *w = arg;

	assert_in_range(nsteps, 0, MOST - 1);
	assert_true(is_utf8(step->path));
	assert_true(is_utf8(step->detail));
	assert_true(step->detail[0] != '\0');
	snprintf(steps[nsteps], sizeof(steps[0]), "%s: %s %s %s",
			 ffe_set_key(w->set, step->object, NULL), ffe_stage_name(step->stage), step->path,
			 step->matched ? "yes" : "no");
	snprintf(details[nsteps], sizeof(details[0]), "%u %s", step->depth, step->detail);
	nsteps++;
}

static const ffe_result *
explain(world *w, const char *flag, const char *context)
{
	world_id(w, FFE_FLAG, flag);
	world_begin(w, context);
	nsteps = 0;
	ffe_state_trace(w->state, note, w);
	ffe_evaluate(w->state, w->set, world_id(w, FFE_FLAG, flag), &w->result);
	ffe_state_trace(w->state, NULL, NULL);
	return &w->result;
}

/* The number of the first step that begins so, from a step on; fails without one. */
static unsigned
find_step(const char *wanted, unsigned from)
{
	for (unsigned i = from; i < nsteps; i++)
	{
		if (strncmp(steps[i], wanted, strlen(wanted)) == 0)
			return i;
	}
	for (unsigned i = 0; i < nsteps; i++)
		print_error("%s (%s)\n", steps[i], details[i]);
	fail_msg("no step \"%s\" from %u on", wanted, from);
	return 0;
}

/* The steps there must be, in this order; others may come between. */
static void
expect_steps(const char *const *wanted, size_t count)
{
	unsigned at = 0;

	for (size_t i = 0; i < count; i++)
		at = find_step(wanted[i], at) + 1;
}

static void
expect_no_step(const char *unwanted)
{
	for (unsigned i = 0; i < nsteps; i++)
		assert_null(strstr(steps[i], unwanted));
}

/* A flag with every step, on a prerequisite and a segment. */
static world *
world_with_everything(void)
{
	world *w = world_new();

	put_flag(w, "{'key': 'f', 'type': 'boolean', 'default_value': false,"
				" 'requires': [{'flag': 'base', 'variant': 'on'}],"
				" 'overrides': [{'variant': 'on', 'users': ['o']}],"
				" 'experiment': {'active': true, 'traffic': 99.999},"
				" 'rules': [{'id': 'first', 'serve': 'on', 'if': {'all': ["
				"   {'attr': 'plan', 'op': 'equals', 'value': 'pro'},"
				"   {'not': {'segment': 'staff'}}]}},"
				"  {'id': 'second', 'if': {'attr': 'age', 'op': 'greater_than', 'value': 17.5},"
				"   'serve': [{'variant': 'off', 'weight': 0}, {'variant': 'on', 'weight': 100}]}],"
				" 'rollout': [{'variant': 'on', 'weight': 100}]}");
	put_flag(w, "{'key': 'base', 'type': 'boolean', 'default_value': true}");
	put_segment(w, "{'key': 'staff', 'included': ['i'], 'excluded': ['e'],"
				   " 'if': {'attr': 'email', 'op': 'ends_with', 'value': '@example.com'}}");
	return w;
}

static void
the_steps_of_a_rule(void **state)
{
	static const char *const wanted[] = {
		"f: kill switch enabled no",
		"base: kill switch enabled no",
		"base: default default_value yes",
		"f: prerequisite requires[0] yes",
		"f: override overrides no",
		"f: traffic experiment.traffic yes",
		"f: condition rules[0].if.all[0] yes",
		"staff: condition if no",
		"f: condition rules[0].if.all[1].not no",
		"f: rule rules[0] yes",
	};
	world *w = world_with_everything();

	(void) state;
	assert_int_equal(explain(w, "f", "{'user_id': 'u', 'plan': 'pro', 'email': 'x'}")->reason,
					 FFE_RULE_MATCH);
	expect_steps(wanted, LENGTH(wanted));
	expect_no_step("rules[1]");
	expect_no_step("rollout");
	world_free(w);
}

static void
the_steps_of_a_split(void **state)
{
	static const char *const wanted[] = {
		"f: condition rules[0].if.all[0] no", "f: rule rules[0] no",
		"f: condition rules[1].if yes",       "f: split rules[1].serve[0] no",
		"f: split rules[1].serve[1] yes",     "f: rule rules[1] yes",
	};
	world *w = world_with_everything();

	(void) state;
	assert_int_equal(explain(w, "f", "{'user_id': 'u', 'age': 18}")->reason, FFE_RULE_MATCH);
	expect_steps(wanted, LENGTH(wanted));
	expect_no_step("all[1]"); /* the first of all was enough */
	world_free(w);
}

static void
the_steps_of_a_rollout(void **state)
{
	static const char *const wanted[] = {
		"f: rule rules[0] no",
		"f: rule rules[1] no",
		"f: rollout rollout[0] yes",
	};
	world *w = world_with_everything();
	uint32_t bucket = ffe_bucket("f", 1, "u", 1, NULL);
	unsigned at;

	(void) state;
	assert_int_equal(explain(w, "f", "{'user_id': 'u'}")->reason, FFE_ROLLOUT);
	expect_steps(wanted, LENGTH(wanted));
	/* the bucket is named, and what it is the bucket of */
	at = find_step("f: rollout", 0);
	assert_non_null(strstr(details[at], text("%u", bucket)));
	assert_non_null(strstr(details[at], "f:u"));
	world_free(w);
}

static void
the_steps_of_other_answers(void **state)
{
	world *w = world_with_everything();

	(void) state;
	explain(w, "f", "{'user_id': 'o'}");
	find_step("f: override overrides yes", 0);
	expect_no_step("rule");

	/* nobody to hash */
	explain(w, "f", "{}");
	find_step("f: traffic experiment.traffic no", 0);
	find_step("f: default default_value yes", 0);

	put_flag(w, "{'key': 'base', 'type': 'boolean', 'default_value': false}");
	assert_int_equal(explain(w, "f", "{'user_id': 'u'}")->reason, FFE_PREREQUISITE_FAILED);
	find_step("f: prerequisite requires[0] no", 0);
	find_step("f: default default_value yes", 0);
	expect_no_step("override");

	put_flag(w, "{'key': 'f', 'type': 'boolean', 'default_value': false, 'enabled': false,"
				" 'requires': [{'flag': 'base', 'variant': 'on'}]}");
	explain(w, "f", "{}");
	find_step("f: kill switch enabled yes", 0);
	find_step("f: default default_value yes", 0);
	expect_no_step("prerequisite");
	world_free(w);
}

static void
the_steps_of_segments(void **state)
{
	world *w = world_with_everything();

	(void) state;
	explain(w, "f", "{'user_id': 'i', 'plan': 'pro'}");
	find_step("staff: segment included yes", 0);
	find_step("f: condition rules[0].if.all[1].not yes", 0);
	explain(w, "f", "{'user_id': 'e', 'plan': 'pro', 'email': 'e@example.com'}");
	find_step("staff: segment excluded no", 0);
	explain(w, "f", "{'user_id': 'u', 'plan': 'pro', 'email': 'u@example.com'}");
	find_step("staff: condition if yes", 0);
	world_free(w);
}

static void
the_steps_of_errors(void **state)
{
	static const char *const wanted[] = {"f: flag", "asks: flag"};
	world *w = world_with_everything();

	(void) state;
	explain(w, "nosuch", "{}");
	find_step("nosuch: flag", 0);
	assert_non_null(strstr(details[0], "FLAG_NOT_FOUND"));
	explain(w, "f", "[]");
	find_step("f: flag", 0);
	assert_non_null(strstr(details[0], "INVALID_CONTEXT"));
	put_flag(w, "{'key': 'f', 'type': 'boolean', 'default_value': false, 'state': 'archived'}");
	put_flag(w, "{'key': 'asks', 'type': 'boolean', 'default_value': false,"
				" 'requires': [{'flag': 'f', 'variant': 'on'}]}");
	assert_int_equal(explain(w, "asks", "{}")->status, FFE_FLAG_ARCHIVED);
	expect_steps(wanted, LENGTH(wanted));
	world_free(w);
}

/* 0 for the flag asked for, one more for what it asks in turn. */
static void
depth_counts_dependencies(void **state)
{
	world *w = world_with_everything();

	(void) state;
	put_flag(w, "{'key': 'base', 'type': 'boolean', 'default_value': false,"
				" 'rules': [{'if': {'flag': 'root', 'variant': 'on'}, 'serve': 'on'}]}");
	put_flag(w, "{'key': 'root', 'type': 'boolean', 'default_value': true}");
	explain(w, "f", "{'user_id': 'u', 'plan': 'pro'}");
	assert_int_equal(details[find_step("f: kill", 0)][0], '0');
	assert_int_equal(details[find_step("base: kill", 0)][0], '1');
	assert_int_equal(details[find_step("root: kill", 0)][0], '2');
	assert_int_equal(details[find_step("f: prerequisite", 0)][0], '0');
	assert_int_equal(details[find_step("staff: condition", 0)][0], '1');
	assert_int_equal(details[find_step("f: rule", 0)][0], '0');
	world_free(w);
}

/* What was found and what was wanted are both said, for every operator. */
static void
details_say_both_sides(void **state)
{
	static const struct
	{
		const char *op;
		const char *value;
		const char *attribute;
		const char *found;
		const char *wanted;
	} cases[] = {
		{"equals", "'wanted'", "'found'", "\"found\"", "\"wanted\""},
		{"not_equals", "5", "6.5", "6.5", "5"},
		{"in_list", "['wanted', 'x']", "'found'", "\"found\"", "\"wanted\""},
		{"contains", "'wanted'", "['found', 'y']", "array", "\"wanted\""},
		{"starts_with", "'wanted'", "'found'", "\"found\"", "\"wanted\""},
		{"ends_with", "['wanted', 'x']", "'found'", "\"found\"", "\"wanted\""},
		{"regex", "'wanted'", "'found'", "\"found\"", "regex"},
		{"exists", NULL, NULL, "missing", "exists"},
		{"less_than", "17", "18", "18", "17"},
		{"before", "'2026-01-01T00:00:00Z'", "'found'", "\"found\"", "2026-01-01T00:00:00"},
		{"semver_less", "'1.2.3'", "'1.2.4'", "\"1.2.4\"", "1.2.3"},
		{"in_cidr", "'10.0.0.0/8'", "'11.0.0.1'", "11.0.0.1", "network"},
		{"equals", "true", "false", "false", "true"},
		{"equals", "'wanted'", "null", "missing", "\"wanted\""},
		{"equals", "'wanted'", "{}", "object", "\"wanted\""},
	};

	(void) state;
	for (size_t i = 0; i < LENGTH(cases); i++)
	{
		world *w = world_new();
		const char *value = cases[i].value == NULL ? "" : text(", 'value': %s", cases[i].value);
		const char *detail;

		put_flag(w, text("{'key': 'f', 'type': 'boolean', 'default_value': false, 'rules': [{"
						 "'if': {'attr': 'attribute', 'op': '%s'%s}, 'serve': 'on'}]}",
						 cases[i].op, value));
		explain(w, "f",
				cases[i].attribute == NULL ? "{}" : text("{'attribute': %s}", cases[i].attribute));
		detail = details[find_step("f: condition rules[0].if", 0)];
		if (strstr(detail, "attribute") == NULL || strstr(detail, cases[i].op) == NULL ||
			strstr(detail, cases[i].found) == NULL || strstr(detail, cases[i].wanted) == NULL)
			fail_msg("%s: %s", cases[i].op, detail);
		world_free(w);
	}
}

/* Long text of any alphabet is cut between characters: note() looks that it is UTF-8. */
static void
details_are_utf8(void **state)
{
	world *w = world_new();

	(void) state;
	for (unsigned shift = 0; shift < 4; shift++)
	{
		const char *start = repeat('a', shift);
		char *many = strdup(start);
		const char *user;

		for (unsigned i = 0; i < 400; i++)
		{
			const char *more = text("%s日", many);

			free(many);
			many = strdup(more);
		}
		user = text("{'user_id': '%1$s', 'a': '%1$s'}", many);
		put_flag(w,
				 text("{'key': 'f', 'type': 'boolean', 'default_value': false,"
					  " 'bucketing': {'salt': '%2$s日日'},"
					  " 'overrides': [{'variant': 'on', 'users': ['x']}],"
					  " 'experiment': {'active': true, 'traffic': 99.999}, 'rules': ["
					  " {'if': {'attr': 'a', 'op': 'equals', 'value': '%1$s日'}, 'serve': 'on'},"
					  " {'if': {'attr': 'a', 'op': 'in_list', 'value': ['%1$s日', 'x']},"
					  "  'serve': 'on'},"
					  " {'if': {'attr': 'a', 'op': 'ends_with', 'value': '%1$sx'}, 'serve': 'on'},"
					  " {'if': {'percentage': 0, 'salt': 's'}, 'serve': 'on'},"
					  " {'if': {'segment': 's'}, 'serve': [{'variant': 'on', 'weight': 0}]}],"
					  " 'rollout': [{'variant': 'on', 'weight': 0}]}",
					  many, start));
		put_segment(w, text("{'key': 's', 'included': ['%s']}", many));
		explain(w, "f", user);
		assert_true(nsteps > 8);
		put_segment(w, text("{'key': 's', 'included': ['x'], 'excluded': ['%s']}", many));
		explain(w, "f", user);
		assert_true(nsteps > 8);
		free(many);
	}
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_steps_of_a_rule),       cmocka_unit_test(the_steps_of_a_split),
		cmocka_unit_test(the_steps_of_a_rollout),    cmocka_unit_test(the_steps_of_other_answers),
		cmocka_unit_test(the_steps_of_segments),     cmocka_unit_test(the_steps_of_errors),
		cmocka_unit_test(depth_counts_dependencies), cmocka_unit_test(details_say_both_sides),
		cmocka_unit_test(details_are_utf8),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
