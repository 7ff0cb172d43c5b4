/*
 * test/fuzz/fuzz_context.c
 *	  Any bytes as a context, for flags that use every operator, a segment and a prerequisite.
 */
#include "fuzz.h"

/* One rule for each condition; %s. */
static const char *const conditions[] = {
	"{\"attr\": \"a\", \"op\": \"equals\", \"value\": \"x\"}",
	"{\"attr\": \"a\", \"op\": \"not_equals\", \"value\": 1}",
	"{\"attr\": \"a\", \"op\": \"equals\", \"value\": \"STRASSE\", \"ignore_case\": true}",
	"{\"attr\": \"a\", \"op\": \"in_list\", \"value\": [\"x\", \"y\", 1, true, 2.5]}",
	"{\"attr\": \"a\", \"op\": \"not_in_list\", \"value\": [\"X\", \"\\u00c4\"], \"ignore_case\": "
	"true}",
	"{\"attr\": \"a\", \"op\": \"contains\", \"value\": [\"ab\", \"bc\", 3]}",
	"{\"attr\": \"a\", \"op\": \"not_contains\", \"value\": \"\\u00df\", \"ignore_case\": true}",
	"{\"attr\": \"a\", \"op\": \"starts_with\", \"value\": [\"ab\", \"K\"], \"ignore_case\": true}",
	"{\"attr\": \"a\", \"op\": \"ends_with\", \"value\": \"z\"}",
	"{\"attr\": \"a\", \"op\": \"ends_with\", \"value\": \"Z\", \"ignore_case\": true}",
	"{\"attr\": \"a\", \"op\": \"regex\", \"value\": [\"^a+b\", \"(x|y)*z$\"]}",
	"{\"attr\": \"a\", \"op\": \"regex\", \"value\": \"(a+)+$\", \"ignore_case\": true}",
	"{\"attr\": \"b.c.d\", \"op\": \"exists\"}",
	"{\"attr\": \"b\", \"op\": \"not_exists\"}",
	"{\"attr\": \"n\", \"op\": \"greater_than\", \"value\": 1e300}",
	"{\"attr\": \"n\", \"op\": \"less_or_equal\", \"value\": -0.5}",
	"{\"attr\": \"t\", \"op\": \"before\", \"value\": \"2026-01-31T12:00:00+02:00\"}",
	"{\"attr\": \"current_time\", \"op\": \"after\", \"value\": \"2026-01-31T12:00:00Z\"}",
	"{\"attr\": \"v\", \"op\": \"semver_greater\", \"value\": \"1.2.3-rc.1+b\"}",
	"{\"attr\": \"v\", \"op\": \"semver_equals\", \"value\": \"1.2.3\"}",
	"{\"attr\": \"ip\", \"op\": \"in_cidr\", \"value\": [\"10.0.0.0/8\", \"2001:db8::/32\"]}",
	"{\"percentage\": 50, \"salt\": \"s\", \"by\": \"n\"}",
	"{\"segment\": \"s\"}",
	"{\"not\": {\"any\": [{\"flag\": \"p\", \"variant\": \"on\"}, {\"attr\": \"a\", \"op\": "
	"\"exists\"}]}}",
};

static ffe_set *set;
static ffe_state *state;

static void
put(ffe_object object, const char *key, const char *text)
{
	json_t *json = parse((const uint8_t *) text, strlen(text));
	ffe_node root = ffe_jansson_node(json);
	ffe_error error;
	ffe_doc *doc;

	if (ffe_compile(set, object, &ffe_jansson_reader, &root, &doc, &error) != FFE_OK)
	{
		fprintf(stderr, "%s: %s: %s\n", text, error.path, error.message);
		abort();
	}
	ffe_set_put(set, ffe_set_intern(set, object, key, strlen(key)), doc);
	json_decref(json);
}

static void
set_up(void)
{
	char key[16], text[1024];

	set = ffe_set_new(&ffe_malloc);
	state = ffe_state_new(&ffe_malloc);
	put(FFE_SEGMENT, "s",
		"{\"key\": \"s\", \"included\": [\"u\", \"42\"], \"excluded\": [\"v\"], \"if\": {\"attr\": "
		"\"a\", "
		"\"op\": \"exists\"}}");
	put(FFE_FLAG, "p",
		"{\"key\": \"p\", \"type\": \"boolean\", \"default_value\": false, \"rollout\": "
		"[{\"variant\": \"on\", "
		"\"weight\": 50}], \"experiment\": {\"active\": true, \"traffic\": 50}}");
	for (size_t i = 0; i < sizeof(conditions) / sizeof(conditions[0]); i++)
	{
		snprintf(key, sizeof(key), "f%zu", i);
		snprintf(
			text, sizeof(text),
			"{\"key\": \"%s\", \"type\": \"boolean\", \"default_value\": false, \"overrides\": "
			"[{\"variant\": \"on\", \"users\": [\"o\"]}], \"rules\": [{\"if\": %s, \"serve\": "
			"\"on\"}], "
			"\"rollout\": [{\"variant\": \"on\", \"weight\": 12.5}], \"bucketing\": {\"by\": "
			"\"n\"}}",
			key, conditions[i]);
		put(FFE_FLAG, key, text);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_t *json = parse(data, size);
	ffe_node context = ffe_jansson_node(json);

	if (json == NULL)
		return -1;
	if (set == NULL)
		set_up();
	for (uint32_t id = 0; id < ffe_set_count(set); id++)
	{
		if (ffe_set_object(set, id) == FFE_FLAG)
			evaluate_both(state, set, id, &context);
	}
	json_decref(json);
	return 0;
}
