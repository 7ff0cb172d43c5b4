/*
 * test/engine/test_order.c
 *	  The fixed order of an evaluation: which step answers first.
 */
#include "world.h"

/* A flag where every step would serve something of its own to user u. Members may be added. */
#define EVERYTHING(more)                                                                           \
	"{'key': 'f', 'type': 'string', 'default_value': 'nothing',"                                   \
	" 'variants': {'o': 'overridden', 'r': 'ruled', 's': 'split', 'p': 'rolled'},"                 \
	" 'overrides': [{'variant': 'o', 'users': ['u']}],"                                            \
	" 'rules': [{'id': 'first', 'if': {'attr': 'rule', 'op': 'equals', 'value': 1}, 'serve': "     \
	"'r'},"                                                                                        \
	"  {'id': 'second', 'if': {'attr': 'rule', 'op': 'greater_or_equal', 'value': 1},"             \
	"   'serve': [{'variant': 's', 'weight': 100}]}],"                                             \
	" 'rollout': [{'variant': 'p', 'weight': 100}]" more "}"

static world *
world_with(const char *flag)
{
	world *w = world_new();

	put_flag(w, flag);
	return w;
}

static void
steps_in_their_order(void **state)
{
	world *w = world_with(EVERYTHING(""));

	(void) state;
	expect(w, "f", "{'user_id': 'u', 'rule': 1}", FFE_USER_OVERRIDE, "o", NULL);
	expect(w, "f", "{'user_id': 'u', 'rule': 2}", FFE_USER_OVERRIDE, "o", NULL);
	expect(w, "f", "{'user_id': 'v', 'rule': 1}", FFE_RULE_MATCH, "r", "first");
	expect(w, "f", "{'user_id': 'v', 'rule': 2}", FFE_RULE_MATCH, "s", "second");
	expect(w, "f", "{'user_id': 'v', 'rule': 0}", FFE_ROLLOUT, "p", NULL);
	expect(w, "f", "{'rule': 1}", FFE_RULE_MATCH, "r", "first");
	expect(w, "f", "{'rule': 2}", FFE_DEFAULT, NULL, NULL);
	expect(w, "f", "{}", FFE_DEFAULT, NULL, NULL);
	expect(w, "f", NULL, FFE_DEFAULT, NULL, NULL);
	expect(w, "f", "null", FFE_DEFAULT, NULL, NULL);
	world_free(w);
}

static void
kill_switch_answers_before_all(void **state)
{
	world *w = world_with(EVERYTHING(", 'enabled': false, 'requires':"
									 " [{'flag': 'gone', 'variant': 'on'}]"));

	(void) state;
	expect(w, "f", "{'user_id': 'u', 'rule': 1}", FFE_KILL_SWITCH, NULL, NULL);
	expect(w, "f", "{'user_id': 'v', 'rule': 1}", FFE_KILL_SWITCH, NULL, NULL);
	expect(w, "f", "{}", FFE_KILL_SWITCH, NULL, NULL);
	world_free(w);
}

static void
prerequisites_answer_before_overrides(void **state)
{
	world *w = world_with(EVERYTHING(", 'requires': [{'flag': 'base', 'variant': 'on'}]"));

	(void) state;
	put_flag(w, "{'key': 'base', 'type': 'boolean', 'default_value': false}");
	expect(w, "f", "{'user_id': 'u', 'rule': 1}", FFE_PREREQUISITE_FAILED, NULL, NULL);
	put_flag(w, "{'key': 'base', 'type': 'boolean', 'default_value': true}");
	expect(w, "f", "{'user_id': 'u', 'rule': 1}", FFE_USER_OVERRIDE, "o", NULL);
	world_free(w);
}

static void
archived_answers_before_the_kill_switch(void **state)
{
	world *w = world_with(EVERYTHING(", 'enabled': false, 'state': 'archived'"));
	ffe_value value;

	(void) state;
	expect_error(w, "f", "{'user_id': 'u'}", FFE_FLAG_ARCHIVED, "f");
	ffe_result_value(&w->result, &value);
	assert_int_equal(value.kind, FFE_STRING);
	assert_memory_equal(value.str, "nothing", 7);
	assert_int_equal(ffe_doc_status(w->result.doc), FFE_FLAG_ARCHIVED);
	world_free(w);
}

static void
a_flag_that_is_not_there(void **state)
{
	world *w = world_with(EVERYTHING(""));
	ffe_value value;

	(void) state;
	expect_error(w, "nosuch", "{}", FFE_FLAG_NOT_FOUND, "nosuch");
	assert_null(w->result.doc);
	ffe_result_value(&w->result, &value);
	assert_int_equal(value.kind, FFE_MISSING);
	world_remove(w, FFE_FLAG, "f");
	expect_error(w, "f", "{}", FFE_FLAG_NOT_FOUND, "f");
	put_flag(w, EVERYTHING(""));
	expect(w, "f", "{}", FFE_DEFAULT, NULL, NULL);
	world_free(w);
}

static void
a_context_is_an_object(void **state)
{
	static const char *const contexts[] = {"[]", "[{}]", "'u'", "5", "true", "false", "''"};
	world *w = world_with("{'key': 'f', 'type': 'boolean', 'default_value': true,"
						  " 'rules': [{'if': {'attr': 'a', 'op': 'exists'}, 'serve': 'off'}]}");

	(void) state;
	put_flag(w, "{'key': 'plain', 'type': 'boolean', 'default_value': true}");
	for (size_t i = 0; i < LENGTH(contexts); i++)
	{
		const ffe_result *result = world_evaluate(w, "f", contexts[i]);

		assert_int_equal(result->reason, FFE_ERROR_FALLBACK);
		assert_int_equal(result->status, FFE_INVALID_CONTEXT);
		result = world_evaluate(w, "plain", contexts[i]);
		assert_int_equal(result->reason, FFE_ERROR_FALLBACK);
		assert_int_equal(result->status, FFE_INVALID_CONTEXT);
	}
	expect(w, "f", "{}", FFE_DEFAULT, "on", NULL);
	world_free(w);
}

static void
rules_in_array_order(void **state)
{
	const char *rules =
		series("{'id': 'r%1$u', 'if': {'attr': 'n', 'op': 'greater_or_equal', 'value': %1$u},"
			   " 'serve': 'v%1$u'}",
			   100);
	const char *variants = series("'v%1$u': %1$u", 100);
	world *w = world_with(text("{'key': 'f', 'type': 'number', 'default_value': -1,"
							   " 'variants': {%s}, 'rules': [%s]}",
							   variants, rules));

	(void) state;
	/* all rules up to n hold, and the first wins */
	expect(w, "f", "{'n': 99}", FFE_RULE_MATCH, "v0", "r0");
	expect(w, "f", "{'n': -1}", FFE_DEFAULT, NULL, NULL);
	world_free(w);

	w = world_with(text("{'key': 'f', 'type': 'number', 'default_value': -1, 'variants': {%s},"
						" 'rules': [%s]}",
						variants,
						series("{'id': 'r%1$u', 'if': {'attr': 'n', 'op': 'equals',"
							   " 'value': %1$u}, 'serve': 'v%1$u'}",
							   100)));
	for (unsigned i = 0; i < 100; i += 9)
		expect(w, "f", text("{'n': %u}", i), FFE_RULE_MATCH, text("v%u", i), text("r%u", i));
	world_free(w);
}

static void
a_rule_without_an_id_has_its_number(void **state)
{
	world *w = world_with("{'key': 'f', 'type': 'boolean', 'default_value': false, 'rules': ["
						  "{'if': {'attr': 'a', 'op': 'exists'}, 'serve': 'on'},"
						  "{'if': {'attr': 'b', 'op': 'exists'}, 'serve': 'on'}]}");

	(void) state;
	expect(w, "f", "{'b': 1}", FFE_RULE_MATCH, "on", NULL);
	assert_int_equal(w->result.rule, 1);
	expect(w, "f", "{'a': 1, 'b': 1}", FFE_RULE_MATCH, "on", NULL);
	assert_int_equal(w->result.rule, 0);
	expect(w, "f", "{}", FFE_DEFAULT, "off", NULL);
	assert_int_equal(w->result.rule, -1);
	world_free(w);
}

/* null and [] are as good as nothing, where the format says so. */
static void
left_out_null_and_empty_are_one(void **state)
{
	world *w = world_with(
		"{'key': 'f', 'type': 'boolean', 'default_value': true, 'state': null, 'enabled': null,"
		" 'variants': null, 'overrides': null, 'rules': null, 'rollout': null, 'requires': null,"
		" 'bucketing': null, 'experiment': null, 'tags': null, 'description': null, 'owner': null,"
		" 'expires_at': null, 'version': null, 'created_at': null, 'updated_at': null}");

	(void) state;
	expect(w, "f", "{'user_id': 'u'}", FFE_DEFAULT, "on", NULL);
	assert_false(w->result.exposed);
	put_flag(w, "{'key': 'f', 'type': 'boolean', 'default_value': true, 'overrides': [],"
				" 'rules': [], 'rollout': [], 'tags': [], 'bucketing': {}, 'experiment': {}}");
	expect(w, "f", "{'user_id': 'u'}", FFE_DEFAULT, "on", NULL);
	assert_false(w->result.exposed);
	world_free(w);
}

/* The first flag of doc/flag-format.md, whole. */
static void
the_example_of_the_page(void **state)
{
	world *w = world_with(
		"{'key': 'checkout-redesign', 'type': 'boolean', 'description': 'One-page checkout',"
		" 'state': 'active', 'enabled': true, 'default_value': false,"
		" 'variants': {'on': true, 'off': false},"
		" 'overrides': [{'variant': 'on', 'users': ['user-17', 'user-23']}],"
		" 'rules': [{'id': 'staff', 'if': {'segment': 'staff'}, 'serve': 'on'},"
		"  {'id': 'eu-pros', 'if': {'all': [{'attr': 'country', 'op': 'in_list',"
		"   'value': ['DE', 'AT']}, {'attr': 'plan', 'op': 'equals', 'value': 'pro'}]},"
		"   'serve': [{'variant': 'on', 'weight': 50}, {'variant': 'off', 'weight': 50}]}],"
		" 'rollout': [{'variant': 'on', 'weight': 12.5}],"
		" 'requires': [{'flag': 'payments-v2', 'variant': 'on'}],"
		" 'bucketing': {'by': 'user_id', 'salt': 'checkout-redesign'},"
		" 'experiment': {'active': true, 'traffic': 100, 'hypothesis': 'One page sells more',"
		"  'started_at': '2026-11-20T00:00:00Z', 'ended_at': null}, 'tags': ['checkout'],"
		" 'owner': 'team-payments', 'expires_at': null, 'version': 7,"
		" 'created_at': '2026-11-01T09:00:00Z', 'updated_at': '2026-11-22T12:30:00Z'}");

	(void) state;
	put_flag(w, "{'key': 'payments-v2', 'type': 'boolean', 'default_value': true}");
	put_segment(w, "{'key': 'staff', 'description': 'People of ours', 'included': ['user-1'],"
				   " 'excluded': ['user-99'], 'if': {'attr': 'email', 'op': 'ends_with',"
				   " 'value': '@example.com'}, 'version': 3}");
	expect(w, "checkout-redesign", "{'user_id': 'user-17'}", FFE_USER_OVERRIDE, "on", NULL);
	expect(w, "checkout-redesign", "{'user_id': 'user-1'}", FFE_RULE_MATCH, "on", "staff");
	expect(w, "checkout-redesign", "{'user_id': 'x', 'email': 'x@example.com'}", FFE_RULE_MATCH,
		   "on", "staff");
	world_evaluate(w, "checkout-redesign", "{'user_id': 'x', 'country': 'AT', 'plan': 'pro'}");
	assert_int_equal(w->result.reason, FFE_RULE_MATCH);
	assert_string_equal(rule_of(&w->result), "eu-pros");
	assert_int_equal(ffe_doc_version(w->result.doc), 7);
	assert_true(w->result.exposed);
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(steps_in_their_order),
		cmocka_unit_test(kill_switch_answers_before_all),
		cmocka_unit_test(prerequisites_answer_before_overrides),
		cmocka_unit_test(archived_answers_before_the_kill_switch),
		cmocka_unit_test(a_flag_that_is_not_there),
		cmocka_unit_test(a_context_is_an_object),
		cmocka_unit_test(rules_in_array_order),
		cmocka_unit_test(a_rule_without_an_id_has_its_number),
		cmocka_unit_test(left_out_null_and_empty_are_one),
		cmocka_unit_test(the_example_of_the_page),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
