/*
 * test/engine/test_messages.c
 *	  What people read: the names of statuses, reasons and stages, and messages of any alphabet.
 */
#include "world.h"

static void
names(void **state)
{
	static const char *const statuses[] = {NULL,
										   "FLAG_NOT_FOUND",
										   "FLAG_ARCHIVED",
										   "PARSE_ERROR",
										   "TYPE_MISMATCH",
										   "INVALID_CONTEXT",
										   "LIMIT_EXCEEDED",
										   "PERMISSION_DENIED",
										   "PROVIDER_NOT_READY",
										   "NO_MEMORY"};
	static const char *const reasons[] = {"ERROR_FALLBACK", "KILL_SWITCH", "PREREQUISITE_FAILED",
										  "USER_OVERRIDE",  "RULE_MATCH",  "ROLLOUT",
										  "DEFAULT"};
	static const char *const stages[] = {"flag",    "kill switch", "prerequisite", "override",
										 "traffic", "rule",        "condition",    "segment",
										 "split",   "rollout",     "default"};

	(void) state;
	for (int i = FFE_FLAG_NOT_FOUND; i <= FFE_NO_MEMORY; i++)
		assert_string_equal(ffe_status_name((ffe_status) i), statuses[i]);
	assert_non_null(ffe_status_name(FFE_OK));
	assert_int_equal(LENGTH(reasons), FFE_REASON_COUNT);
	for (int i = 0; i < FFE_REASON_COUNT; i++)
		assert_string_equal(ffe_reason_name((ffe_reason) i), reasons[i]);
	for (int i = FFE_STAGE_FLAG; i <= FFE_STAGE_DEFAULT; i++)
		assert_string_equal(ffe_stage_name((ffe_stage) i), stages[i]);
}

/* The message of a result, written where size bytes are, and one more that must stay. */
static const char *
message_of(world *w, size_t size)
{
	static char buffer[600];

	assert_in_range(size, 1, sizeof(buffer) - 1);
	memset(buffer, '#', sizeof(buffer));
	ffe_result_message(w->set, &w->result, buffer, size);
	assert_int_equal(buffer[size], '#');
	assert_non_null(memchr(buffer, '\0', size));
	assert_true(is_utf8(buffer));
	return buffer;
}

static void
messages_name_what_failed(void **state)
{
	world *w = world_new();

	(void) state;
	put_flag(w, "{'key': 'the-flag', 'type': 'boolean', 'default_value': false,"
				" 'rules': [{'if': {'segment': 'the-segment'}, 'serve': 'on'}]}");
	world_evaluate(w, "the-flag", "{}");
	assert_non_null(strstr(message_of(w, 500), "segment \"the-segment\""));
	world_evaluate(w, "no-flag", "{}");
	assert_non_null(strstr(message_of(w, 500), "flag \"no-flag\""));
	world_evaluate(w, "the-flag", "[]");
	assert_non_null(strstr(message_of(w, 500), "context"));
	put_segment(w, "{'key': 'the-segment', 'included': ['u'], 'state': 'archived'}");
	world_evaluate(w, "the-flag", "{}");
	assert_non_null(strstr(message_of(w, 500), "segment \"the-segment\""));
	assert_non_null(strstr(message_of(w, 500), "archived"));
	put_segment(w, "{'key': 'the-segment', 'included': ['u']}");
	world_evaluate(w, "the-flag", "{}");
	assert_string_equal(message_of(w, 500), "");
	world_free(w);
}

static void
messages_are_cut_to_size(void **state)
{
	json_t *definition = json_from("null");
	ffe_node root = ffe_jansson_node(definition);
	world *w = world_new();
	ffe_doc *doc;

	(void) state;
	doc = ffe_compile_broken(w->set, &ffe_jansson_reader, &root, FFE_PARSE_ERROR,
							 "日本語の長いメッセージ、größer als der Puffer 😀😀😀😀");
	assert_non_null(doc);
	ffe_set_put(w->set, world_id(w, FFE_FLAG, "f"), doc);
	world_evaluate(w, "f", "{}");
	assert_true(strlen(message_of(w, 500)) > 60);
	for (size_t size = 1; size < 150; size++)
		assert_true(strlen(message_of(w, size)) < size);
	world_free(w);
	json_decref(definition);
}

/* ---------- refusals that quote what was written ---------- */

/*
 * Everything that a message or a path may quote, with %1$s for some text. expect_refused looks
 * that all three are UTF-8.
 */
static const struct
{
	ffe_object object;
	const char *json;
} quoting[] = {
	{FFE_SEGMENT, "{'key': '%1$s', 'included': ['u']}"},
	{FFE_SEGMENT, "{'key': 's', 'included': ['u'], '%1$s': 1}"},
	{FFE_SEGMENT, "{'key': 's', 'included': ['u'], 'state': '%1$s'}"},
	{FFE_SEGMENT, "{'key': 's', 'included': ['u'], 'created_at': '%1$s'}"},
	{FFE_SEGMENT, "{'key': 's', 'included': ['%1$s'], 'excluded': ['%1$s']}"},
	{FFE_SEGMENT, "{'key': 's', 'if': {'segment': '%1$s'}}"},
	{FFE_SEGMENT, "{'key': 's', 'if': {'attr': '%1$s..', 'op': 'exists'}}"},
	{FFE_SEGMENT, "{'key': 's', 'if': {'attr': 'a', 'op': '%1$s', 'value': 1}}"},
	{FFE_SEGMENT, "{'key': 's', 'if': {'attr': 'a', 'op': 'before', 'value': '%1$s'}}"},
	{FFE_SEGMENT, "{'key': 's', 'if': {'attr': 'a', 'op': 'semver_less', 'value': '%1$s'}}"},
	{FFE_SEGMENT, "{'key': 's', 'if': {'attr': 'a', 'op': 'in_cidr', 'value': ['%1$s']}}"},
	{FFE_SEGMENT, "{'key': 's', 'if': {'attr': 'a', 'op': 'regex', 'value': '%1$s('}}"},
	{FFE_SEGMENT, "{'key': 's', 'if': {'attr': 'a', 'op': 'regex', 'value': '(?<%1$s'}}"},
	{FFE_FLAG, "{'key': 'f', 'type': '%1$s', 'default_value': 1}"},
	{FFE_FLAG, "{'key': 'f', 'type': 'number', 'default_value': '%1$s'}"},
	{FFE_FLAG, "{'key': 'f', 'type': 'number', 'default_value': 1, 'variants': {'%1$s': 1}}"},
	{FFE_FLAG, "{'key': 'f', 'type': 'boolean', 'default_value': true,"
			   " 'rollout': [{'variant': '%1$s', 'weight': 1}]}"},
	{FFE_FLAG, "{'key': 'f', 'type': 'boolean', 'default_value': true,"
			   " 'rollout': [{'variant': 'on', 'weight': 1, '%1$s': '%1$s'}]}"},
	{FFE_FLAG, "{'key': 'f', 'type': 'boolean', 'default_value': true, 'overrides': ["
			   "{'variant': 'on', 'users': ['%1$s']}, {'variant': 'off', 'users': ['%1$s']}]}"},
};

/* Counts a definition that is taken, or refused with something that is not UTF-8. */
static unsigned
try_quoting(size_t i, const char *quoted)
{
	json_t *definition = json_from(text(quoting[i].json, quoted));
	ffe_node root = ffe_jansson_node(definition);
	world *w = world_new();
	ffe_error error;
	ffe_doc *doc;
	ffe_status status;
	bool wrong;

	status = ffe_compile(w->set, quoting[i].object, &ffe_jansson_reader, &root, &doc, &error);
	wrong = status == FFE_OK || !is_utf8(error.path) || !is_utf8(error.message) ||
			!is_utf8(error.hint) || error.message[0] == '\0';
	if (wrong)
		print_error("%s\n  got %s \"%s\" \"%s\"\n", text(quoting[i].json, quoted),
					ffe_status_name(status), error.path, error.message);
	ffe_doc_free(w->set, doc);
	json_decref(definition);
	world_free(w);
	return wrong;
}

static void
refusals_stay_utf8(void **state)
{
	static const char *const characters[] = {"ü", "日", "😀"};
	unsigned wrong = 0;

	(void) state;
	for (size_t i = 0; i < LENGTH(quoting); i++)
	{
		for (size_t c = 0; c < LENGTH(characters); c++)
		{
			for (size_t shift = 0; shift < 4; shift++)
			{
				const char *quoted = repeat('a', shift);

				for (unsigned n = 0; n < 250 / strlen(characters[c]); n++)
					quoted = text("%s%s", quoted, characters[c]);
				wrong += try_quoting(i, quoted);
			}
		}
	}
	assert_int_equal(wrong, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names),
		cmocka_unit_test(messages_name_what_failed),
		cmocka_unit_test(messages_are_cut_to_size),
		cmocka_unit_test(refusals_stay_utf8),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
