/*
 * test/engine/test_bounds.c
 *	  Every bound of ffe_limits.h: the largest definition that is taken, the smallest refused.
 */
#include "world.h"

#define FLAG_WITH "{'key': 'f', 'type': 'boolean', 'default_value': false, %s}"
#define SEGMENT_IF "{'key': 's', 'if': %s}"

/* A flag with a member that is too large by one: refused as such, with the bound in the message. */
#define expect_too_large(object, json, path, limit)                                                \
	expect_refused(object, json, FFE_LIMIT_EXCEEDED, path, text("%d", (int) (limit)))

/* ---------- lengths ---------- */

static void
keys_and_salts(void **state)
{
	const char *longest = repeat('k', FFE_MAX_KEY);
	const char *longer = repeat('k', FFE_MAX_KEY + 1);

	(void) state;
	expect_taken(FFE_FLAG,
				 text("{'key': '%1$s', 'type': 'string', 'default_value': '',"
					  " 'variants': {'%1$s': ''}, 'bucketing': {'salt': '%1$s'},"
					  " 'requires': [{'flag': '%1$s', 'variant': '%1$s'}],"
					  " 'rules': [{'id': '%1$s', 'if': {'segment': '%1$s'}, 'serve': '%1$s'}],"
					  " 'tags': ['%1$s']}",
					  longest));
	/* a key that is too long is no key */
	expect_refused(FFE_FLAG,
				   text("{'key': '%s', 'type': 'boolean', 'default_value': true}", longer),
				   FFE_PARSE_ERROR, "key", "254");
	expect_refused(FFE_SEGMENT, text("{'key': '%s', 'included': ['u']}", longer), FFE_PARSE_ERROR,
				   "key", "254");
	expect_refused(FFE_SEGMENT, text(SEGMENT_IF, text("{'segment': '%s'}", longer)),
				   FFE_PARSE_ERROR, "if.segment", "254");
	expect_refused(FFE_FLAG,
				   text(FLAG_WITH, text("'requires': [{'flag': 'g', 'variant': '%s'}]", longer)),
				   FFE_PARSE_ERROR, "requires[0].variant", "254");
	expect_too_large(FFE_FLAG, text(FLAG_WITH, text("'bucketing': {'salt': '%s'}", longer)),
					 "bucketing.salt", FFE_MAX_KEY);
	expect_too_large(FFE_SEGMENT, text(SEGMENT_IF, text("{'percentage': 1, 'salt': '%s'}", longer)),
					 "if.salt", FFE_MAX_KEY);
}

static void
strings(void **state)
{
	static const char *const ops[] = {"equals", "not_equals", "contains", "starts_with",
									  "ends_with"};
	const char *longest = repeat('x', FFE_MAX_STRING);
	const char *longer = repeat('x', FFE_MAX_STRING + 1);

	(void) state;
	for (size_t i = 0; i < LENGTH(ops); i++)
	{
		const char *format = "{'key': 's', 'if': {'attr': 'a', 'op': '%s', 'value': '%s'%s}}";

		expect_taken(FFE_SEGMENT, text(format, ops[i], longest, ""));
		expect_taken(FFE_SEGMENT, text(format, ops[i], longest, ", 'ignore_case': true"));
		expect_too_large(FFE_SEGMENT, text(format, ops[i], longer, ""), "if.value", FFE_MAX_STRING);
	}
	expect_too_large(FFE_SEGMENT,
					 text("{'key': 's', 'if': {'attr': 'a', 'op': 'in_list', 'value': ['', '%s']}}",
						  longer),
					 "if.value[1]", FFE_MAX_STRING);
	expect_taken(FFE_SEGMENT, text("{'key': 's', 'included': ['%s']}", longest));
	expect_too_large(FFE_SEGMENT, text("{'key': 's', 'included': ['%s']}", longer), "included[0]",
					 FFE_MAX_STRING);
	expect_too_large(FFE_FLAG,
					 text(FLAG_WITH,
						  text("'overrides': [{'variant': 'on', 'users': ['u', '%s']}]", longer)),
					 "overrides[0].users[1]", FFE_MAX_STRING);
}

static void
texts(void **state)
{
	const char *longest = repeat('x', FFE_MAX_TEXT);
	const char *longer = repeat('x', FFE_MAX_TEXT + 1);

	(void) state;
	expect_taken(FFE_FLAG,
				 text(FLAG_WITH, text("'description': '%1$s', 'owner': '%1$s'", longest)));
	expect_taken(FFE_SEGMENT,
				 text("{'key': 's', 'included': ['u'], 'description': '%s'}", longest));
	expect_too_large(FFE_FLAG, text(FLAG_WITH, text("'description': '%s'", longer)), "description",
					 FFE_MAX_TEXT);
	expect_too_large(FFE_FLAG, text(FLAG_WITH, text("'owner': '%s'", longer)), "owner",
					 FFE_MAX_TEXT);
	expect_taken(FFE_FLAG, text(FLAG_WITH, text("'experiment': {'hypothesis': '%s'}", longest)));
	expect_too_large(FFE_FLAG, text(FLAG_WITH, text("'experiment': {'hypothesis': '%s'}", longer)),
					 "experiment.hypothesis", FFE_MAX_TEXT);
	expect_too_large(FFE_SEGMENT,
					 text("{'key': 's', 'included': ['u'], 'description': '%s'}", longer),
					 "description", FFE_MAX_TEXT);
}

static void
attributes(void **state)
{
	(void) state;
	expect_taken(FFE_SEGMENT, text(SEGMENT_IF, text("{'attr': '%s', 'op': 'exists'}",
													repeat('a', FFE_MAX_ATTRIBUTE))));
	expect_too_large(FFE_SEGMENT,
					 text(SEGMENT_IF, text("{'attr': '%s', 'op': 'exists'}",
										   repeat('a', FFE_MAX_ATTRIBUTE + 1))),
					 "if.attr", FFE_MAX_ATTRIBUTE);
	expect_too_large(FFE_SEGMENT, text(SEGMENT_IF, "{'attr': 'a.b.c.d.e.f.g.h.i', 'op': 'exists'}"),
					 "if.attr", FFE_MAX_PATH_PARTS);
	expect_too_large(FFE_FLAG, text(FLAG_WITH, "'bucketing': {'by': 'a.b.c.d.e.f.g.h.i'}"),
					 "bucketing.by", FFE_MAX_PATH_PARTS);
}

/* ---------- counts ---------- */

static void
variants(void **state)
{
	const char *format = "{'key': 'f', 'type': 'number', 'default_value': 0, 'variants': {%s}}";

	(void) state;
	expect_taken(FFE_FLAG, text(format, series("'v%1$u': %1$u", FFE_MAX_VARIANTS)));
	expect_too_large(FFE_FLAG, text(format, series("'v%1$u': %1$u", FFE_MAX_VARIANTS + 1)),
					 "variants", FFE_MAX_VARIANTS);
}

static void
rules(void **state)
{
	const char *rule = "{'id': 'r%u', 'if': {'segment': 's'}, 'serve': 'on'}";

	(void) state;
	expect_taken(FFE_FLAG, text(FLAG_WITH, text("'rules': [%s]", series(rule, FFE_MAX_RULES))));
	expect_too_large(FFE_FLAG,
					 text(FLAG_WITH, text("'rules': [%s]", series(rule, FFE_MAX_RULES + 1))),
					 "rules", FFE_MAX_RULES);
}

static void
requires_and_tags(void **state)
{
	const char *require = "{'flag': 'f%u', 'variant': 'on'}";

	(void) state;
	expect_taken(FFE_FLAG,
				 text(FLAG_WITH, text("'requires': [%s]", series(require, FFE_MAX_REQUIRES))));
	expect_too_large(FFE_FLAG,
					 text(FLAG_WITH,
						  text("'requires': [%s]", series(require, FFE_MAX_REQUIRES + 1))),
					 "requires", FFE_MAX_REQUIRES);
	expect_taken(FFE_FLAG, text(FLAG_WITH, text("'tags': [%s]", series("'t%u'", FFE_MAX_TAGS))));
	expect_too_large(FFE_FLAG,
					 text(FLAG_WITH, text("'tags': [%s]", series("'t%u'", FFE_MAX_TAGS + 1))),
					 "tags", FFE_MAX_TAGS);
}

/* Conditions are counted over all rules together. */
static void
conditions(void **state)
{
	const char *one = "{'attr': 'a', 'op': 'equals', 'value': %u}";
	const char *half = series(one, FFE_MAX_CONDITIONS / 2);
	const char *format = "'rules': [{'if': {'any': [%s]}, 'serve': 'on'},"
						 " {'if': {'all': [%s]}, 'serve': 'on'}]";

	(void) state;
	expect_taken(FFE_FLAG, text(FLAG_WITH, text(format, half, half)));
	expect_too_large(FFE_FLAG,
					 text(FLAG_WITH, text(format, half, series(one, FFE_MAX_CONDITIONS / 2 + 1))),
					 text("rules[1].if.all[%d]", FFE_MAX_CONDITIONS / 2), FFE_MAX_CONDITIONS);
	expect_too_large(FFE_SEGMENT,
					 text(SEGMENT_IF, text("{'any': [%s]}", series(one, FFE_MAX_CONDITIONS + 1))),
					 "if.any", FFE_MAX_CONDITIONS);
}

static void
lists(void **state)
{
	const char *in_list = "{'key': 's', 'if': {'attr': 'a', 'op': 'in_list', 'value': [%s]}}";
	const char *most = series("%u", FFE_MAX_LIST);
	const char *users = series("'%u'", FFE_MAX_LIST);
	const char *too_many = series("'%u'", FFE_MAX_LIST + 1);

	(void) state;
	expect_taken(FFE_SEGMENT, text(in_list, most));
	expect_too_large(FFE_SEGMENT, text(in_list, series("%u", FFE_MAX_LIST + 1)), "if.value",
					 FFE_MAX_LIST);
	expect_taken(FFE_SEGMENT, text("{'key': 's', 'included': [%s]}", users));
	expect_too_large(FFE_SEGMENT, text("{'key': 's', 'included': [%s]}", too_many), "included",
					 FFE_MAX_LIST);
	expect_too_large(FFE_SEGMENT,
					 text("{'key': 's', 'included': ['x'], 'excluded': [%s]}", too_many),
					 "excluded", FFE_MAX_LIST);
	expect_taken(FFE_FLAG,
				 text(FLAG_WITH, text("'overrides': [{'variant': 'on', 'users': [%s]}]", users)));
	/* the users of all lists of a flag count together */
	expect_too_large(FFE_FLAG,
					 text(FLAG_WITH, text("'overrides': [{'variant': 'on', 'users': [%s]},"
										  " {'variant': 'off', 'users': ['x']}]",
										  users)),
					 "overrides", FFE_MAX_LIST);
}

static void
alternatives(void **state)
{
	static const struct
	{
		const char *op;
		const char *value;
	} ops[] = {
		{"contains", "'x%u'"},  {"not_contains", "'x%u'"}, {"starts_with", "'x%u'"},
		{"ends_with", "'x%u'"}, {"regex", "'x%u'"},        {"in_cidr", "'10.0.0.%u'"},
	};

	(void) state;
	for (size_t i = 0; i < LENGTH(ops); i++)
	{
		const char *format = "{'key': 's', 'if': {'attr': 'a', 'op': '%s', 'value': [%s]}}";

		expect_taken(FFE_SEGMENT, text(format, ops[i].op, series(ops[i].value, FFE_MAX_ANY_OF)));
		expect_too_large(FFE_SEGMENT,
						 text(format, ops[i].op, series(ops[i].value, FFE_MAX_ANY_OF + 1)),
						 "if.value", FFE_MAX_ANY_OF);
	}
}

static void
patterns(void **state)
{
	const char *ten =
		text("{'attr': 'a', 'op': 'regex', 'value': [%s]}", series("'x%u'", FFE_MAX_ANY_OF));
	char *all = strdup(ten);

	(void) state;
	for (int i = 1; i < FFE_MAX_PATTERNS / FFE_MAX_ANY_OF; i++)
	{
		const char *more = text("%s, %s", all, ten);

		free(all);
		all = strdup(more);
	}
	expect_taken(FFE_SEGMENT, text(SEGMENT_IF, text("{'any': [%s]}", all)));
	expect_too_large(FFE_SEGMENT,
					 text(SEGMENT_IF,
						  text("{'any': [%s, {'attr': 'a', 'op': 'regex', 'value': 'y'}]}", all)),
					 text("if.any[%d].value", FFE_MAX_PATTERNS / FFE_MAX_ANY_OF), FFE_MAX_PATTERNS);
	free(all);

	expect_taken(FFE_SEGMENT, text(SEGMENT_IF, text("{'attr': 'a', 'op': 'regex', 'value': '%s'}",
													repeat('x', FFE_MAX_PATTERN))));
	expect_too_large(FFE_SEGMENT,
					 text(SEGMENT_IF, text("{'attr': 'a', 'op': 'regex', 'value': '%s'}",
										   repeat('x', FFE_MAX_PATTERN + 1))),
					 "if.value", FFE_MAX_PATTERN);
	expect_refused(FFE_SEGMENT,
				   text(SEGMENT_IF, text("{'attr': 'a', 'op': 'regex', 'value': '%sx%s'}",
										 repeat('(', FFE_REGEX_PARENS_LIMIT + 1),
										 repeat(')', FFE_REGEX_PARENS_LIMIT + 1))),
				   FFE_PARSE_ERROR, "if.value", "parenthes");
}

/* ---------- nesting ---------- */

/* A condition or value inside so many others. */
static const char *
nested(const char *open, unsigned depth, const char *inside, const char *close)
{
	const char *all = inside;

	for (unsigned i = 0; i < depth; i++)
		all = text("%s%s%s", open, all, close);
	return all;
}

static const char *
repeat_text(const char *string, unsigned times)
{
	return nested("", times, "", string);
}

static void
nesting(void **state)
{
	static const char *const opens[] = {"{'not': ", "{'all': [", "{'any': ["};
	static const char *const closes[] = {"}", "]}", "]}"};
	const char *leaf = "{'attr': 'a', 'op': 'exists'}";
	const char *json = "{'key': 'f', 'type': 'json', 'default_value': %s}";

	(void) state;
	for (size_t i = 0; i < LENGTH(opens); i++)
	{
		const char *deepest = nested(opens[i], FFE_MAX_CONDITION_DEPTH, leaf, closes[i]);

		expect_taken(FFE_SEGMENT, text(SEGMENT_IF, deepest));
		expect_too_large(FFE_SEGMENT,
						 text(SEGMENT_IF, text("%s%s%s", opens[i], deepest, closes[i])),
						 text("if%s", repeat_text(i == 0   ? ".not"
												  : i == 1 ? ".all[0]"
														   : ".any[0]",
												  FFE_MAX_CONDITION_DEPTH)),
						 FFE_MAX_CONDITION_DEPTH);
	}
	expect_taken(FFE_FLAG, text(json, nested("[", FFE_MAX_VALUE_DEPTH, "1", "]")));
	expect_too_large(FFE_FLAG, text(json, nested("[", FFE_MAX_VALUE_DEPTH + 1, "1", "]")),
					 text("default_value%s", repeat_text("[0]", FFE_MAX_VALUE_DEPTH)),
					 FFE_MAX_VALUE_DEPTH);
	expect_taken(FFE_FLAG, text(json, nested("{'a': ", FFE_MAX_VALUE_DEPTH, "1", "}")));
}

/* ---------- the whole ---------- */

/* Nothing of it is too large by itself, but the whole is: it ends at one of the last users. */
static void
compiled_size(void **state)
{
	const char *users = series(text("'%s%%u'", repeat('u', 190)), 90000);
	json_t *json = json_from(text("{'key': 's', 'included': [%s]}", users));
	ffe_node root = ffe_jansson_node(json);
	ffe_set *set = ffe_set_new(&ffe_malloc);
	ffe_error error;
	ffe_doc *doc;
	unsigned at = 0;

	(void) state;
	assert_int_equal(ffe_compile(set, FFE_SEGMENT, &ffe_jansson_reader, &root, &doc, &error),
					 FFE_LIMIT_EXCEEDED);
	assert_null(doc);
	assert_int_equal(sscanf(error.path, "included[%u]", &at), 1);
	assert_in_range(at, 50000, 89999);
	assert_non_null(strstr(error.message, text("%u", FFE_MAX_COMPILED)));
	ffe_set_free(set);
	json_decref(json);
}

/* A document says what it takes, and that is within the bound. */
static void
reported_size(void **state)
{
	world *w = world_new();
	size_t small, large, set_size;
	const ffe_doc *doc;

	(void) state;
	set_size = ffe_set_size(w->set);
	assert_true(set_size > 0);
	put_segment(w, "{'key': 's', 'included': ['u']}");
	doc = ffe_set_doc(w->set, world_id(w, FFE_SEGMENT, "s"));
	small = ffe_doc_size(doc);
	assert_true(small > 0 && small < 4096);
	put_segment(w, text("{'key': 's', 'included': [%s]}", series("'user-%u'", 10000)));
	doc = ffe_set_doc(w->set, world_id(w, FFE_SEGMENT, "s"));
	large = ffe_doc_size(doc);
	assert_in_range(large, 10000 * 10, FFE_MAX_COMPILED);
	put_segment(w, "{'key': 's', 'if': {'attr': 'a', 'op': 'regex', 'value': 'x+'}}");
	doc = ffe_set_doc(w->set, world_id(w, FFE_SEGMENT, "s"));
	assert_true(ffe_doc_size(doc) > small);
	for (unsigned i = 0; i < 1000; i++)
		world_id(w, FFE_FLAG, text("flag-%u", i));
	assert_true(ffe_set_size(w->set) > set_size + 1000 * 8);
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_and_salts),
		cmocka_unit_test(strings),
		cmocka_unit_test(texts),
		cmocka_unit_test(attributes),
		cmocka_unit_test(variants),
		cmocka_unit_test(rules),
		cmocka_unit_test(requires_and_tags),
		cmocka_unit_test(conditions),
		cmocka_unit_test(lists),
		cmocka_unit_test(alternatives),
		cmocka_unit_test(patterns),
		cmocka_unit_test(nesting),
		cmocka_unit_test(compiled_size),
		cmocka_unit_test(reported_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
