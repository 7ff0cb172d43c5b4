/*
 * test/engine/test_documents.c
 *	  Sets and documents: ids, what a document refers to, what it says of itself, broken ones.
 */
#include "world.h"

static const ffe_doc *
doc_of(world *w, ffe_object object, const char *key)
{
	return ffe_set_doc(w->set, world_id(w, object, key));
}

/* ---------- sets ---------- */

static void
ids_stay(void **state)
{
	static uint32_t flags[2000];
	world *w = world_new();
	size_t len;

	(void) state;
	assert_int_equal(ffe_set_count(w->set), 0);
	assert_int_equal(ffe_set_find(w->set, FFE_FLAG, "f0", 2), FFE_NO_ID);
	for (unsigned i = 0; i < LENGTH(flags); i++)
		flags[i] = world_id(w, i % 2 ? FFE_SEGMENT : FFE_FLAG, text("f%u", i / 2));
	assert_int_equal(ffe_set_count(w->set), LENGTH(flags));
	for (unsigned i = 0; i < LENGTH(flags); i++)
	{
		const char *key = text("f%u", i / 2);
		ffe_object object = i % 2 ? FFE_SEGMENT : FFE_FLAG;

		assert_in_range(flags[i], 0, LENGTH(flags) - 1);
		assert_int_equal(world_id(w, object, key), flags[i]);
		assert_int_equal(ffe_set_find(w->set, object, key, strlen(key)), flags[i]);
		assert_int_equal(ffe_set_object(w->set, flags[i]), object);
		assert_string_equal(ffe_set_key(w->set, flags[i], &len), key);
		assert_int_equal(len, strlen(key));
		assert_null(ffe_set_doc(w->set, flags[i]));
	}
	assert_int_equal(ffe_set_count(w->set), LENGTH(flags));
	assert_int_equal(ffe_set_find(w->set, FFE_FLAG, "f0x", 3), FFE_NO_ID);
	/* a key is as long as it is said to be */
	assert_int_equal(ffe_set_find(w->set, FFE_FLAG, "f1xyz", 2), flags[2]);
	world_free(w);
}

/* ---------- what a document refers to ---------- */

static const char many_references[] =
	"{'key': 'f', 'type': 'boolean', 'default_value': false,"
	" 'requires': [{'flag': 'a', 'variant': 'on'}, {'flag': 'b', 'variant': 'red'}],"
	" 'rules': [{'if': {'any': [{'flag': 'a', 'variant': 'off'}, {'segment': 's'},"
	"   {'not': {'flag': 'c', 'variant': 'x'}}, {'segment': 's'}, {'attr': 'a', 'op': 'exists'}]},"
	"  'serve': 'on'},"
	"  {'if': {'segment': 'a'}, 'serve': 'on'}]}";

static void
dependencies(void **state)
{
	world *w = world_new();
	const ffe_doc *doc;
	unsigned seen = 0, count = 0;
	uint32_t id;

	(void) state;
	put_flag(w, many_references);
	doc = doc_of(w, FFE_FLAG, "f");
	for (uint32_t i = 0; (id = ffe_doc_dependency(doc, i)) != FFE_NO_ID; i++)
	{
		const char *key = ffe_set_key(w->set, id, NULL);
		bool segment = ffe_set_object(w->set, id) == FFE_SEGMENT;

		seen |= strcmp(key, "a") == 0 && !segment   ? 1
				: strcmp(key, "b") == 0 && !segment ? 2
				: strcmp(key, "c") == 0 && !segment ? 4
				: strcmp(key, "s") == 0 && segment  ? 8
				: strcmp(key, "a") == 0 && segment  ? 16
													: 1024;
		count++;
	}
	assert_int_equal(seen, 31);
	assert_int_equal(count, 5); /* each once */
	assert_int_equal(ffe_doc_dependency(doc, count + 100), FFE_NO_ID);
	put_flag(w, "{'key': 'f', 'type': 'boolean', 'default_value': false}");
	assert_int_equal(ffe_doc_dependency(doc_of(w, FFE_FLAG, "f"), 0), FFE_NO_ID);
	put_segment(w,
				"{'key': 's', 'if': {'all': [{'segment': 't'}, {'flag': 'f', 'variant': 'v'}]}}");
	assert_int_equal(ffe_doc_dependency(doc_of(w, FFE_SEGMENT, "s"), 0),
					 world_id(w, FFE_SEGMENT, "t"));
	assert_int_equal(ffe_doc_dependency(doc_of(w, FFE_SEGMENT, "s"), 1),
					 world_id(w, FFE_FLAG, "f"));
	world_free(w);
}

static void
wanted_variants(void **state)
{
	static const char *const wanted[] = {"requires[0]: a on", "requires[1]: b red",
										 "rules[0].if.any[0]: a off",
										 "rules[0].if.any[2].not: c x"};
	world *w = world_new();
	char path[64];
	uint32_t flag, i;
	const char *variant;
	size_t len;

	(void) state;
	put_flag(w, many_references);
	for (i = 0; ffe_doc_wanted_variant(w->set, doc_of(w, FFE_FLAG, "f"), i, &flag, &variant, &len,
									   path, sizeof(path));
		 i++)
	{
		assert_in_range(i, 0, LENGTH(wanted) - 1);
		assert_int_equal(ffe_set_object(w->set, flag), FFE_FLAG);
		assert_string_equal(text("%s: %s %.*s", path, ffe_set_key(w->set, flag, NULL), (int) len,
								 variant),
							wanted[i]);
	}
	assert_int_equal(i, LENGTH(wanted));
	/* a path is cut to the room there is */
	memset(path, 'x', sizeof(path));
	assert_true(ffe_doc_wanted_variant(w->set, doc_of(w, FFE_FLAG, "f"), 0, &flag, &variant, &len,
									   path, 5));
	assert_string_equal(path, "requ");
	assert_int_equal(path[5], 'x');
	put_segment(w, "{'key': 's', 'if': {'flag': 'f', 'variant': 'v'}}");
	assert_true(ffe_doc_wanted_variant(w->set, doc_of(w, FFE_SEGMENT, "s"), 0, &flag, &variant,
									   &len, path, sizeof(path)));
	assert_string_equal(path, "if");
	assert_int_equal(flag, world_id(w, FFE_FLAG, "f"));
	world_free(w);
}

static void
variants_of_a_flag(void **state)
{
	world *w = world_new();
	const ffe_doc *doc;

	(void) state;
	put_flag(w,
			 "{'key': 'f', 'type': 'number', 'default_value': 1, 'variants': {'a': 1, 'bc': 2}}");
	doc = doc_of(w, FFE_FLAG, "f");
	assert_true(ffe_doc_has_variant(doc, "a", 1));
	assert_true(ffe_doc_has_variant(doc, "bc", 2));
	assert_true(ffe_doc_has_variant(doc, "bcd", 2));
	assert_false(ffe_doc_has_variant(doc, "b", 1));
	assert_false(ffe_doc_has_variant(doc, "A", 1));
	assert_false(ffe_doc_has_variant(doc, "on", 2));
	put_flag(w, "{'key': 'f', 'type': 'boolean', 'default_value': true}");
	doc = doc_of(w, FFE_FLAG, "f");
	assert_true(ffe_doc_has_variant(doc, "on", 2));
	assert_true(ffe_doc_has_variant(doc, "off", 3));
	assert_false(ffe_doc_has_variant(doc, "true", 4));
	world_free(w);
}

static void
whether_it_reads_the_context(void **state)
{
	static const struct
	{
		const char *members;
		bool reads;
	} cases[] = {
		{"'tags': ['t']", false},
		{"'rules': [], 'rollout': [], 'overrides': []", false},
		{"'requires': [{'flag': 'g', 'variant': 'on'}]", false},
		{"'rules': [{'if': {'segment': 's'}, 'serve': 'on'}]", false},
		{"'rules': [{'if': {'flag': 'g', 'variant': 'on'}, 'serve': 'on'}]", false},
		{"'experiment': {'active': true}", false},
		{"'experiment': {'traffic': 5}", false},
		{"'experiment': {'active': true, 'traffic': 5}", true},
		{"'rules': [{'if': {'attr': 'a', 'op': 'exists'}, 'serve': 'on'}]", true},
		{"'rules': [{'if': {'attr': 'current_time', 'op': 'exists'}, 'serve': 'on'}]", true},
		{"'rules': [{'if': {'not': {'percentage': 5, 'salt': 's'}}, 'serve': 'on'}]", true},
		{"'rules': [{'if': {'segment': 's'}, 'serve': [{'variant': 'on', 'weight': 5}]}]", true},
		{"'rollout': [{'variant': 'on', 'weight': 5}]", true},
		{"'overrides': [{'variant': 'on', 'users': ['u']}]", true},
	};
	world *w = world_new();

	(void) state;
	for (size_t i = 0; i < LENGTH(cases); i++)
	{
		put_flag(w, text("{'key': 'f', 'type': 'boolean', 'default_value': true, %s}",
						 cases[i].members));
		if (ffe_doc_reads_context(doc_of(w, FFE_FLAG, "f")) != cases[i].reads)
			fail_msg("%s", cases[i].members);
	}
	put_segment(w, "{'key': 's', 'included': ['u']}");
	assert_true(ffe_doc_reads_context(doc_of(w, FFE_SEGMENT, "s")));
	put_segment(w, "{'key': 's', 'if': {'segment': 't'}}");
	assert_false(ffe_doc_reads_context(doc_of(w, FFE_SEGMENT, "s")));
	world_free(w);
}

static void
what_it_says_of_itself(void **state)
{
	static const char *const types[] = {"boolean", "string", "number", "json"};
	static const char *const values[] = {"true", "''", "1", "[]"};
	world *w = world_new();

	(void) state;
	for (int i = FFE_TYPE_BOOLEAN; i <= FFE_TYPE_JSON; i++)
	{
		put_flag(w, text("{'key': 'f', 'type': '%s', 'default_value': %s, 'version': %d}", types[i],
						 values[i], i * 1000));
		assert_int_equal(ffe_doc_type(doc_of(w, FFE_FLAG, "f")), i);
		assert_int_equal(ffe_doc_version(doc_of(w, FFE_FLAG, "f")), i * 1000);
		assert_int_equal(ffe_doc_status(doc_of(w, FFE_FLAG, "f")), FFE_OK);
	}
	put_segment(w, "{'key': 's', 'included': ['u'], 'version': 9007199254740992}");
	assert_true(ffe_doc_version(doc_of(w, FFE_SEGMENT, "s")) == INT64_C(9007199254740992));
	put_segment(w, "{'key': 's', 'included': ['u'], 'state': 'archived'}");
	assert_int_equal(ffe_doc_status(doc_of(w, FFE_SEGMENT, "s")), FFE_FLAG_ARCHIVED);
	world_free(w);
}

/* ---------- broken documents ---------- */

static void
put_broken(world *w, const char *json, ffe_status status, const char *message)
{
	json_t *definition = json_from(json);
	ffe_node root = ffe_jansson_node(definition);
	ffe_doc *doc = ffe_compile_broken(w->set, &ffe_jansson_reader, &root, status, message);

	assert_non_null(doc);
	json_decref(definition);
	ffe_set_put(w->set, world_id(w, FFE_FLAG, "f"), doc);
}

static void
a_broken_flag_serves_its_default(void **state)
{
	world *w = world_new();
	char message[256];
	ffe_value value;

	(void) state;
	put_broken(w,
			   "{'key': 'f', 'type': 'string', 'default_value': 'safe', 'version': 7,"
			   " 'rules': 'garbage', 'variants': {'a': 5}}",
			   FFE_PARSE_ERROR, "rules: garbage");
	expect_error(w, "f", "{}", FFE_PARSE_ERROR, "f");
	ffe_result_value(&w->result, &value);
	assert_int_equal(value.kind, FFE_STRING);
	assert_int_equal(value.str_len, 4);
	assert_memory_equal(value.str, "safe", 4);
	assert_memory_equal(value.copy, "\"safe\"", value.copy_len);
	assert_null(variant_of(&w->result));
	ffe_result_message(w->set, &w->result, message, sizeof(message));
	assert_non_null(strstr(message, "rules: garbage"));
	assert_non_null(strstr(message, "\"f\""));
	assert_int_equal(ffe_doc_status(w->result.doc), FFE_PARSE_ERROR);
	assert_int_equal(ffe_doc_type(w->result.doc), FFE_TYPE_STRING);
	assert_int_equal(ffe_doc_version(w->result.doc), 7);
	assert_int_equal(ffe_doc_dependency(w->result.doc, 0), FFE_NO_ID);
	/* what depends on it fails with it */
	put_flag(w, "{'key': 'g', 'type': 'boolean', 'default_value': false,"
				" 'requires': [{'flag': 'f', 'variant': 'a'}]}");
	expect_error(w, "g", "{}", FFE_PARSE_ERROR, "f");
	world_free(w);
}

/* Where even the default can't be read there is no value, and no crash. */
static void
a_flag_broken_beyond_reading(void **state)
{
	static const char *const roots[] = {
		"null",
		"[]",
		"'x'",
		"5",
		"{}",
		"{'default_value': true}",
		"{'type': 'boolean'}",
		"{'type': 'boolean', 'default_value': 5}",
		"{'type': 'bool', 'default_value': true}",
		"{'type': 5, 'default_value': true}",
		"{'type': 'json', 'default_value': null}",
		"{'type': 'string', 'default_value': null, 'version': 'x', 'state': 5}",
	};
	world *w = world_new();
	ffe_value value;

	(void) state;
	for (size_t i = 0; i < LENGTH(roots); i++)
	{
		put_broken(w, roots[i], FFE_LIMIT_EXCEEDED, "too large");
		expect_error(w, "f", "{'a': 1}", FFE_LIMIT_EXCEEDED, "f");
		ffe_result_value(&w->result, &value);
		assert_int_equal(value.kind, FFE_MISSING);
		assert_null(value.copy);
	}
	/* and one with hardly anything but its default */
	put_broken(w, "{'type': 'boolean', 'default_value': true, 'key': 5, 'version': []}",
			   FFE_PARSE_ERROR, "");
	expect_error(w, "f", "{}", FFE_PARSE_ERROR, "f");
	ffe_result_value(&w->result, &value);
	assert_int_equal(value.kind, FFE_BOOL);
	assert_true(value.boolean);
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ids_stay),
		cmocka_unit_test(dependencies),
		cmocka_unit_test(wanted_variants),
		cmocka_unit_test(variants_of_a_flag),
		cmocka_unit_test(whether_it_reads_the_context),
		cmocka_unit_test(what_it_says_of_itself),
		cmocka_unit_test(a_broken_flag_serves_its_default),
		cmocka_unit_test(a_flag_broken_beyond_reading),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
