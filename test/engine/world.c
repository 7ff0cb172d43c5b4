/*
 * test/engine/world.c
 *	  A set of flags for tests: memory, putting in and asking.
 *
 * The rule: this file knows the engine's API and nothing of what the answers should be; that is
 * in world_check.c and the tests.
 */
#include "world.h"

#include <unistd.h>

/* ---------- memory that is counted, and can run out ---------- */

static void *
counted_alloc(void *arg, size_t size)
{
	counter *counter = arg;
	void *block;

	counter->calls++;
	if (counter->fail_at > 0 && (counter->calls == counter->fail_at ||
								 (counter->fail_after && counter->calls > counter->fail_at)))
		return NULL;
	block = malloc(size);
	assert_non_null(block);
	memset(block, 0xa5, size); /* nothing may count on zeroes */
	counter->live++;
	return block;
}

static void
counted_free(void *arg, void *block)
{
	counter *counter = arg;

	assert_non_null(block);
	counter->live--;
	free(block);
}

ffe_alloc
counter_alloc(counter *counter)
{
	return (ffe_alloc){.alloc = counted_alloc, .free = counted_free, .arg = counter};
}

/* ---------- text ---------- */

/* A string, in a list that lives as long as the program: tests hold on to them at will. */
typedef struct kept
{
	struct kept *next;
	char *string;
} kept;

static const char *
keep(char *string)
{
	static kept *all;
	kept *one = malloc(sizeof(*one));

	assert_non_null(string);
	assert_non_null(one);
	*one = (kept){.next = all, .string = string};
	all = one;
	return string;
}

const char *
text(const char *format, ...)
{
	va_list args;
	char *string;
	int len;

	va_start(args, format);
	len = vasprintf(&string, format, args);
	va_end(args);
	assert_true(len >= 0);
	return keep(string);
}

const char *
repeat(char c, size_t length)
{
	char *string = malloc(length + 1);

	assert_non_null(string);
	memset(string, c, length);
	string[length] = '\0';
	return keep(string);
}

const char *
series(const char *format, unsigned count)
{
	char *string = NULL;
	size_t len;
	FILE *out = open_memstream(&string, &len);

	assert_non_null(out);
	for (unsigned i = 0; i < count; i++)
	{
		if (i > 0)
			fputc(',', out);
		fprintf(out, format, i);
	}
	assert_int_equal(fclose(out), 0);
	return keep(string);
}

json_t *
json_from(const char *json)
{
	char *copy = strdup(json);
	json_error_t error;
	json_t *parsed;

	assert_non_null(copy);
	for (char *c = copy; *c != '\0'; c++)
	{
		if (*c == '\'')
			*c = '"';
	}
	parsed = json_loads(copy, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &error);
	if (parsed == NULL)
		fail_msg("a test's JSON is none: %s at %d of %.200s", error.text, error.position, json);
	free(copy);
	return parsed;
}

/* ---------- a set of flags ---------- */

world *
world_new(void)
{
	world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->alloc = counter_alloc(&w->memory);
	w->set = ffe_set_new(&w->alloc);
	assert_non_null(w->set);
	w->state = ffe_state_new(&w->alloc);
	assert_non_null(w->state);
	w->now = INT64_C(1795219200000000); /* 2026-11-21 00:00 UTC */
	return w;
}

void
world_free(world *w)
{
	long live;

	ffe_state_free(w->state);
	ffe_set_free(w->set);
	json_decref(w->context);
	live = w->memory.live;
	free(w);
	assert_int_equal(live, 0);
}

uint32_t
world_id(world *w, ffe_object object, const char *key)
{
	uint32_t id = ffe_set_intern(w->set, object, key, strlen(key));

	assert_int_not_equal(id, FFE_NO_ID);
	return id;
}

void
world_put(world *w, ffe_object object, const char *json)
{
	json_t *definition = json_from(json);
	ffe_node root = ffe_jansson_node(definition);
	const char *key = json_string_value(json_object_get(definition, "key"));
	ffe_doc *doc;
	ffe_error error;
	uint32_t id;

	assert_non_null(key);
	id = world_id(w, object, key);
	if (ffe_compile(w->set, object, &ffe_jansson_reader, &root, &doc, &error) != FFE_OK)
		fail_msg("%.300s is refused: %s: %s (%s)", json, error.path, error.message, error.hint);
	assert_non_null(doc);
	/* freed before it is put: a document must not point into what it was compiled from */
	json_decref(definition);
	ffe_set_put(w->set, id, doc);
}

void
world_remove(world *w, ffe_object object, const char *key)
{
	ffe_set_put(w->set, world_id(w, object, key), NULL);
}

void
world_begin(world *w, const char *context)
{
	ffe_node node;

	json_decref(w->context);
	w->context = context == NULL ? NULL : json_from(context);
	node = ffe_jansson_node(w->context);
	assert_true(ffe_state_reserve(w->state, w->set));
	ffe_state_begin(w->state, &ffe_jansson_reader, &node, w->now);
}

static void
count_step(void *arg, const ffe_step *step)
{
	world *w = arg;

	assert_true(is_utf8(step->path));
	assert_true(is_utf8(step->detail));
	w->steps++;
}

static void
assert_same_result(const ffe_result *a, const ffe_result *b)
{
	assert_ptr_equal(a->doc, b->doc);
	assert_int_equal(a->reason, b->reason);
	assert_int_equal(a->status, b->status);
	assert_int_equal(a->culprit, b->culprit);
	assert_int_equal(a->variant, b->variant);
	assert_int_equal(a->rule, b->rule);
	assert_int_equal(a->exposed, b->exposed);
}

const ffe_result *
world_ask(world *w, const char *flag)
{
	uint32_t id = world_id(w, FFE_FLAG, flag);
	long calls = w->memory.calls;
	ffe_result again;

	ffe_evaluate(w->state, w->set, id, &w->result);
	w->steps = 0;
	ffe_state_trace(w->state, count_step, w);
	ffe_evaluate(w->state, w->set, id, &again);
	ffe_state_trace(w->state, NULL, NULL);

	assert_int_equal(w->memory.calls, calls);
	assert_true(w->steps > 0);
	assert_same_result(&w->result, &again);
	return &w->result;
}

const ffe_result *
world_evaluate(world *w, const char *flag, const char *context)
{
	/* twice, so that tracing is tried on a fresh context too */
	ffe_result first;

	world_id(w, FFE_FLAG, flag);
	world_begin(w, context);
	first = *world_ask(w, flag);
	world_begin(w, context);
	ffe_state_trace(w->state, count_step, w);
	ffe_evaluate(w->state, w->set, world_id(w, FFE_FLAG, flag), &w->result);
	ffe_state_trace(w->state, NULL, NULL);
	assert_same_result(&first, &w->result);
	return &w->result;
}

/* ---------- files ---------- */

static json_t *
load(const char *path)
{
	json_error_t error;
	json_t *json;

	if (access(path, R_OK) != 0)
		return NULL;
	json = json_load_file(path, 0, &error);
	if (json == NULL)
		fail_msg("%s: %s", path, error.text);
	return json;
}

/* The Makefile runs the tests in their folder. */
json_t *
test_file(const char *name)
{
	return load(name);
}

json_t *
shared_file(const char *name)
{
	const char *folder = getenv("FF_SHARED");

	return load(text("%s/%s", folder != NULL ? folder : "../../../shared", name));
}
