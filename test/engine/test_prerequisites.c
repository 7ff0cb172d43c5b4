/*
 * test/engine/test_prerequisites.c
 *	  requires: flags that must serve a variant before another may.
 */
#include "world.h"

#define WANTS(key, flag, variant)                                                                  \
	"{'key': '" key "', 'type': 'boolean', 'default_value': false,"                                \
	" 'requires': [{'flag': '" flag "', 'variant': '" variant "'}],"                               \
	" 'rollout': [{'variant': 'on', 'weight': 100}]}"

static world *
world_with(const char *base)
{
	world *w = world_new();

	put_flag(w, WANTS("f", "base", "on"));
	put_flag(w, base);
	return w;
}

#define USER "{'user_id': 'u'}"

static void
the_wanted_variant(void **state)
{
	world *w = world_with("{'key': 'base', 'type': 'boolean', 'default_value': false,"
						  " 'overrides': [{'variant': 'on', 'users': ['u']}]}");

	(void) state;
	expect(w, "f", USER, FFE_ROLLOUT, "on", NULL);
	expect(w, "f", "{'user_id': 'v'}", FFE_PREREQUISITE_FAILED, "off", NULL);
	expect(w, "f", "{}", FFE_PREREQUISITE_FAILED, "off", NULL);
	put_flag(w, WANTS("f", "base", "off"));
	expect(w, "f", USER, FFE_PREREQUISITE_FAILED, "off", NULL);
	expect(w, "f", "{'user_id': 'v'}", FFE_ROLLOUT, "on", NULL);
	world_free(w);
}

static void
every_one_of_them(void **state)
{
	world *w = world_new();

	(void) state;
	put_flag(w, "{'key': 'f', 'type': 'boolean', 'default_value': false, 'requires': ["
				"{'flag': 'a', 'variant': 'on'}, {'flag': 'b', 'variant': 'red'}],"
				" 'rollout': [{'variant': 'on', 'weight': 100}]}");
	put_flag(w, "{'key': 'a', 'type': 'boolean', 'default_value': false,"
				" 'rules': [{'if': {'attr': 'a', 'op': 'exists'}, 'serve': 'on'}]}");
	put_flag(w, "{'key': 'b', 'type': 'string', 'default_value': 'no', 'variants': {'red': 'r'},"
				" 'rules': [{'if': {'attr': 'b', 'op': 'exists'}, 'serve': 'red'}]}");
	expect(w, "f", "{'user_id': 'u', 'a': 1, 'b': 1}", FFE_ROLLOUT, "on", NULL);
	expect(w, "f", "{'user_id': 'u', 'a': 1}", FFE_PREREQUISITE_FAILED, "off", NULL);
	expect(w, "f", "{'user_id': 'u', 'b': 1}", FFE_PREREQUISITE_FAILED, "off", NULL);
	expect(w, "f", "{'user_id': 'u'}", FFE_PREREQUISITE_FAILED, "off", NULL);
	world_free(w);
}

/* A killed flag serves its default, and with it the variant that its default is. */
static void
a_killed_one_serves_what_its_default_is(void **state)
{
	world *w = world_with("{'key': 'base', 'type': 'boolean', 'default_value': false,"
						  " 'enabled': false, 'overrides': [{'variant': 'on', 'users': ['u']}]}");

	(void) state;
	expect(w, "base", USER, FFE_KILL_SWITCH, "off", NULL);
	expect(w, "f", USER, FFE_PREREQUISITE_FAILED, "off", NULL);
	put_flag(w, "{'key': 'base', 'type': 'boolean', 'default_value': true, 'enabled': false}");
	expect(w, "base", USER, FFE_KILL_SWITCH, "on", NULL);
	expect(w, "f", USER, FFE_ROLLOUT, "on", NULL);
	put_flag(w, WANTS("f", "base", "off"));
	expect(w, "f", USER, FFE_PREREQUISITE_FAILED, "off", NULL);
	world_free(w);
}

static void
a_default_that_no_variant_is(void **state)
{
	world *w = world_new();

	(void) state;
	put_flag(w, "{'key': 'base', 'type': 'number', 'default_value': 3,"
				" 'variants': {'one': 1, 'two': 2}}");
	put_flag(w, WANTS("f", "base", "one"));
	put_flag(w, WANTS("g", "base", "two"));
	expect(w, "base", USER, FFE_DEFAULT, NULL, NULL);
	expect(w, "f", USER, FFE_PREREQUISITE_FAILED, "off", NULL);
	expect(w, "g", USER, FFE_PREREQUISITE_FAILED, "off", NULL);
	world_free(w);
}

static void
one_that_fails_itself(void **state)
{
	world *w = world_with(WANTS("base", "root", "on"));

	(void) state;
	put_flag(w, "{'key': 'root', 'type': 'boolean', 'default_value': false}");
	expect(w, "base", USER, FFE_PREREQUISITE_FAILED, "off", NULL);
	expect(w, "f", USER, FFE_PREREQUISITE_FAILED, "off", NULL);
	put_flag(w, WANTS("f", "base", "off"));
	expect(w, "f", USER, FFE_ROLLOUT, "on", NULL);
	world_free(w);
}

static void
one_that_cannot_be_evaluated(void **state)
{
	world *w = world_new();

	(void) state;
	put_flag(w, WANTS("f", "base", "on"));
	expect_error(w, "f", USER, FFE_FLAG_NOT_FOUND, "base");
	put_flag(w, WANTS("base", "root", "on"));
	expect_error(w, "f", USER, FFE_FLAG_NOT_FOUND, "root");
	put_flag(w, "{'key': 'root', 'type': 'boolean', 'default_value': true, 'state': 'archived'}");
	expect_error(w, "f", USER, FFE_FLAG_ARCHIVED, "root");
	put_flag(w, "{'key': 'root', 'type': 'boolean', 'default_value': true,"
				" 'rules': [{'if': {'segment': 'gone'}, 'serve': 'on'}]}");
	expect_error(w, "f", USER, FFE_FLAG_NOT_FOUND, "gone");
	world_free(w);
}

/* Only where it is asked: a prerequisite that fails earlier, or the kill switch, answers before. */
static void
only_where_it_is_asked(void **state)
{
	world *w = world_new();

	(void) state;
	put_flag(w, "{'key': 'f', 'type': 'boolean', 'default_value': false, 'requires': ["
				"{'flag': 'a', 'variant': 'on'}, {'flag': 'gone', 'variant': 'on'}]}");
	put_flag(w, "{'key': 'a', 'type': 'boolean', 'default_value': false}");
	expect(w, "f", USER, FFE_PREREQUISITE_FAILED, "off", NULL);
	put_flag(w, "{'key': 'a', 'type': 'boolean', 'default_value': true}");
	expect_error(w, "f", USER, FFE_FLAG_NOT_FOUND, "gone");
	put_flag(w, "{'key': 'f', 'type': 'boolean', 'default_value': false, 'enabled': false,"
				" 'requires': [{'flag': 'gone', 'variant': 'on'}]}");
	expect(w, "f", USER, FFE_KILL_SWITCH, "off", NULL);
	world_free(w);
}

/* The rule that named in base's result is base's, never the one of the flag that asked. */
static void
its_rule_is_not_ours(void **state)
{
	world *w = world_with("{'key': 'base', 'type': 'boolean', 'default_value': false, 'rules': ["
						  "{'id': 'theirs', 'if': {'attr': 'a', 'op': 'exists'}, 'serve': 'on'}]}");

	(void) state;
	expect(w, "base", "{'a': 1, 'user_id': 'u'}", FFE_RULE_MATCH, "on", "theirs");
	expect(w, "f", "{'a': 1, 'user_id': 'u'}", FFE_ROLLOUT, "on", NULL);
	expect(w, "f", "{'user_id': 'u'}", FFE_PREREQUISITE_FAILED, "off", NULL);
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_wanted_variant),
		cmocka_unit_test(every_one_of_them),
		cmocka_unit_test(a_killed_one_serves_what_its_default_is),
		cmocka_unit_test(a_default_that_no_variant_is),
		cmocka_unit_test(one_that_fails_itself),
		cmocka_unit_test(one_that_cannot_be_evaluated),
		cmocka_unit_test(only_where_it_is_asked),
		cmocka_unit_test(its_rule_is_not_ours),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
