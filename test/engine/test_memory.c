/*
 * test/engine/test_memory.c
 *	  Memory that runs out at any call, memory given back, and evaluation that takes none.
 */
#include "world.h"

/* ---------- documents that need all kinds of memory ---------- */

#define RULE                                                                                       \
	"{'id': 'r%1$u', 'if': {'any': [{'attr': 'a%1$u', 'op': 'in_list', 'value': ['x', 5, true]},"  \
	" {'attr': 'b%1$u.c', 'op': 'regex', 'value': ['^a+$', 'b']},"                                 \
	" {'not': {'segment': 's%1$u'}}, {'flag': 'g%1$u', 'variant': 'on'}]},"                        \
	" 'serve': [{'variant': 'v1', 'weight': 10}, {'variant': 'v2', 'weight': 20}]}"

static const char *
large_flag(void)
{
	return text("{'key': 'f', 'type': 'json', 'default_value': {'a': [1, 2, {'b': null}]},"
				" 'variants': {%s}, 'overrides': [{'variant': 'v3', 'users': [%s]}],"
				" 'rules': [%s], 'rollout': [{'variant': 'v4', 'weight': 50}],"
				" 'requires': [{'flag': 'q', 'variant': 'on'}], 'bucketing': {'by': 'org'},"
				" 'tags': ['t'], 'description': 'd'}",
				series("'v%u': ['a value']", 40), series("'user-%u'", 60), series(RULE, 20));
}

static const char small_segment[] =
	"{'key': 's', 'included': ['u'], 'excluded': ['v'], 'if': {'all': ["
	"{'attr': 'email', 'op': 'regex', 'value': '@x$'}, {'percentage': 5, 'salt': 's'}]}}";

/* ---------- running out ---------- */

/* Everything a host does, one step after the other. False as soon as one has no memory. */
typedef struct life
{
	ffe_set *set;
	ffe_state *state;
} life;

static bool
life_compile(life *life, ffe_object object, const char *key, json_t *json)
{
	ffe_node root = ffe_jansson_node(json);
	ffe_doc *doc;
	ffe_error error;
	ffe_status status;
	uint32_t id = ffe_set_intern(life->set, object, key, strlen(key));

	if (id == FFE_NO_ID)
		return false;
	status = ffe_compile(life->set, object, &ffe_jansson_reader, &root, &doc, &error);
	assert_true(status == FFE_OK || status == FFE_NO_MEMORY);
	assert_true((doc != NULL) == (status == FFE_OK));
	if (status != FFE_OK)
	{
		assert_int_equal(error.status, FFE_NO_MEMORY);
		assert_true(error.message[0] != '\0');
		return false;
	}
	ffe_set_put(life->set, id, doc);
	return true;
}

static bool
life_broken(life *life, json_t *json)
{
	ffe_node root = ffe_jansson_node(json);
	uint32_t id = ffe_set_intern(life->set, FFE_FLAG, "broken", 6);
	ffe_doc *doc;

	if (id == FFE_NO_ID)
		return false;
	doc = ffe_compile_broken(life->set, &ffe_jansson_reader, &root, FFE_PARSE_ERROR, "it is");
	if (doc == NULL)
		return false;
	assert_int_equal(ffe_doc_status(doc), FFE_PARSE_ERROR);
	ffe_set_put(life->set, id, doc);
	return true;
}

static bool
life_run(life *life, const ffe_alloc *alloc, json_t *flag, json_t *segment)
{
	ffe_node context = {.kind = FFE_MISSING};
	ffe_result result;

	if (life->set == NULL && (life->set = ffe_set_new(alloc)) == NULL)
		return false;
	if (!life_compile(life, FFE_FLAG, "f", flag) ||
		!life_compile(life, FFE_SEGMENT, "s", segment) || !life_broken(life, flag))
		return false;
	if (life->state == NULL && (life->state = ffe_state_new(alloc)) == NULL)
		return false;
	if (!ffe_state_reserve(life->state, life->set))
		return false;
	ffe_state_begin(life->state, &ffe_jansson_reader, &context, 0);
	ffe_evaluate(life->state, life->set, ffe_set_find(life->set, FFE_FLAG, "f", 1), &result);
	assert_int_equal(result.status, FFE_FLAG_NOT_FOUND); /* q, which it requires */
	return true;
}

static void
life_end(life *life)
{
	ffe_state_free(life->state);
	ffe_set_free(life->set);
	life->state = NULL;
	life->set = NULL;
}

/* Fails the n-th call for every n, until there is no n-th call. The number of calls there are. */
static long
fail_at_every_call(bool and_all_after, bool try_again)
{
	json_t *flag = json_from(large_flag());
	json_t *segment = json_from(small_segment);
	bool done = false;
	long n = 0;

	while (!done)
	{
		counter memory = {.fail_at = ++n, .fail_after = and_all_after};
		ffe_alloc alloc = counter_alloc(&memory);
		life life = {NULL, NULL};

		done = life_run(&life, &alloc, flag, segment);
		assert_true(done == (memory.calls < n));
		if (!done && try_again)
		{
			/* what failed has left everything as it should be */
			memory.fail_at = 0;
			assert_true(life_run(&life, &alloc, flag, segment));
		}
		life_end(&life);
		assert_int_equal(memory.live, 0);
		assert_true(n < 100000);
	}
	json_decref(flag);
	json_decref(segment);
	return n - 1;
}

static void
one_call_fails(void **state)
{
	(void) state;
	assert_true(fail_at_every_call(false, false) > 50);
}

static void
all_calls_fail_from_then_on(void **state)
{
	(void) state;
	assert_true(fail_at_every_call(true, false) > 50);
}

static void
one_call_fails_and_then_all_is_well(void **state)
{
	(void) state;
	assert_true(fail_at_every_call(false, true) > 50);
}

/* A definition that is refused leaves nothing behind, wherever in it that happens. */
static void
refusals_give_memory_back(void **state)
{
	static const char *const places[] = {"rules[19].serve[1].weight",
										 "rules[19].if.any[1].value",
										 "variants.v7",
										 "overrides[0].users[59]",
										 "requires[0]",
										 "rollout[0].variant"};

	(void) state;
	for (size_t i = 0; i < LENGTH(places); i++)
	{
		world *w = world_new();
		json_t *flag = json_from(changed(large_flag(), places[i], "null"));
		ffe_node root = ffe_jansson_node(flag);
		ffe_error error;
		ffe_doc *doc;

		assert_int_equal(ffe_compile(w->set, FFE_FLAG, &ffe_jansson_reader, &root, &doc, &error),
						 FFE_PARSE_ERROR);
		assert_null(doc);
		json_decref(flag);
		world_free(w);
	}
}

static void
nothing_is_freed_happily(void **state)
{
	world *w = world_new();

	(void) state;
	ffe_set_free(NULL);
	ffe_state_free(NULL);
	ffe_doc_free(w->set, NULL);
	ffe_set_put(w->set, world_id(w, FFE_FLAG, "f"), NULL);
	assert_null(ffe_set_doc(w->set, world_id(w, FFE_FLAG, "f")));
	world_free(w);
}

/* A thousand changes of a flag take the memory of one. */
static void
replacing_gives_memory_back(void **state)
{
	world *w = world_new();
	long live;

	(void) state;
	put_flag(w, large_flag());
	live = w->memory.live;
	for (unsigned i = 0; i < 200; i++)
		put_flag(w, large_flag());
	assert_int_equal(w->memory.live, live);
	world_remove(w, FFE_FLAG, "f");
	assert_int_equal(w->memory.live, live - 1);
	world_free(w);
}

/* ---------- evaluating takes none ---------- */

#ifndef __SANITIZE_ADDRESS__

/* Calls of the C library's allocator by anybody, PCRE2 included. The sanitizers have their own. */
static long library_calls;

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *block, size_t size);

void *
malloc(size_t size)
{
	library_calls++;
	return __libc_malloc(size);
}

void *
calloc(size_t count, size_t size)
{
	library_calls++;
	return __libc_calloc(count, size);
}

void *
realloc(void *block, size_t size)
{
	library_calls++;
	return __libc_realloc(block, size);
}

#else
static const long library_calls = 0;
#endif

/* The counting itself: what is below would pass for ever if nothing were counted. */
static void
calls_are_counted(void **state)
{
	world *w = world_new();
	long ours = w->memory.calls;
	long theirs = library_calls;

	(void) state;
	put_segment(w, small_segment);
	assert_true(w->memory.calls > ours);
#ifndef __SANITIZE_ADDRESS__
	assert_true(library_calls > theirs);
#else
	(void) theirs;
	print_message("under the sanitizers, calls past our own allocator are not counted\n");
#endif
	world_free(w);
}

static void
put_operators(world *w)
{
	static const char *const conditions[] = {
		"{'attr': 's', 'op': 'equals', 'value': 'GRÖSSE', 'ignore_case': true}",
		"{'attr': 's', 'op': 'in_list', 'value': ['x', 'größe'], 'ignore_case': true}",
		"{'attr': 's', 'op': 'contains', 'value': ['Ö'], 'ignore_case': true}",
		"{'attr': 's', 'op': 'regex', 'value': ['^x', '(ö|ss)e$'], 'ignore_case': true}",
		"{'attr': 's', 'op': 'regex', 'value': '(a+)+$'}",
		"{'attr': 'n', 'op': 'greater_than', 'value': 1}",
		"{'attr': 't', 'op': 'before', 'value': '2026-01-01T00:00:00Z'}",
		"{'attr': 'v', 'op': 'semver_less', 'value': '1.0.0'}",
		"{'attr': 'ip', 'op': 'in_cidr', 'value': ['10.0.0.0/8', '::1']}",
		"{'attr': 'list', 'op': 'contains', 'value': 'x'}",
		"{'attr': 'current_time', 'op': 'before', 'value': '2026-01-01T00:00:00Z'}",
		"{'percentage': 50, 'salt': 'w', 'by': 'n'}",
		"{'segment': 's'}",
		"{'flag': 'other', 'variant': 'on'}",
	};

	for (size_t i = 0; i < LENGTH(conditions); i++)
		put_flag(w, text("{'key': 'f%zu', 'type': 'string', 'default_value': 'd',"
						 " 'variants': {'a': 'A'}, 'overrides': [{'variant': 'a', 'users': ['o']}],"
						 " 'rules': [{'if': %s, 'serve': [{'variant': 'a', 'weight': 50}]}],"
						 " 'experiment': {'active': true, 'traffic': 99},"
						 " 'rollout': [{'variant': 'a', 'weight': 20}]}",
						 i, conditions[i]));
	put_segment(w, small_segment);
	put_flag(w, "{'key': 'other', 'type': 'boolean', 'default_value': true}");
}

static void
evaluating_takes_none(void **state)
{
	static const char *const contexts[] = {
		"{}",
		"{'user_id': 'u', 's': 'größe', 'n': 5, 't': '2025-01-01T00:00:00Z', 'v': '0.9.0-rc.1',"
		" 'ip': '10.1.1.1', 'list': ['x', 1], 'email': 'a@x'}",
		"{'user_id': 123456789, 's': 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!',"
		" 'n': '5', 't': '', 'v': [1], 'ip': '::1', 'list': [], 'email': 5}",
	};
	world *w = world_new();

	(void) state;
	put_operators(w);
	for (size_t c = 0; c < LENGTH(contexts); c++)
	{
		world_begin(w, contexts[c]);
		for (uint32_t id = 0; id < ffe_set_count(w->set); id++)
		{
			long ours = w->memory.calls, theirs;
			ffe_result result;
			ffe_value value;

			if (ffe_set_object(w->set, id) != FFE_FLAG)
				continue;
			theirs = library_calls;
			ffe_evaluate(w->state, w->set, id, &result);
			ffe_result_value(&result, &value);
			theirs = library_calls - theirs;
			assert_int_equal(w->memory.calls, ours);
			assert_int_equal(theirs, 0);
		}
	}
	world_free(w);
}

/* Without anything new, making ready for evaluation takes none either. */
static void
reserving_again_takes_none(void **state)
{
	world *w = world_new();
	size_t size;
	long calls;

	(void) state;
	put_operators(w);
	world_begin(w, "{}");
	calls = w->memory.calls;
	size = ffe_state_size(w->state);
	assert_true(size > 0);
	for (unsigned i = 0; i < 1000; i++)
		world_begin(w, "{}");
	assert_int_equal(w->memory.calls, calls);
	assert_int_equal(ffe_state_size(w->state), size);
	world_free(w);
}

/* The engine's own allocator, which hosts may use. */
static void
over_malloc(void **state)
{
	ffe_set *set = ffe_set_new(&ffe_malloc);
	ffe_state *st = ffe_state_new(&ffe_malloc);
	json_t *json = json_from(large_flag());
	ffe_node root = ffe_jansson_node(json);
	ffe_error error;
	ffe_doc *doc;

	(void) state;
	assert_non_null(set);
	assert_non_null(st);
	assert_int_equal(ffe_compile(set, FFE_FLAG, &ffe_jansson_reader, &root, &doc, &error), FFE_OK);
	ffe_set_put(set, ffe_set_intern(set, FFE_FLAG, "f", 1), doc);
	assert_true(ffe_state_reserve(st, set));
	ffe_state_free(st);
	ffe_set_free(set);
	json_decref(json);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_call_fails),
		cmocka_unit_test(all_calls_fail_from_then_on),
		cmocka_unit_test(one_call_fails_and_then_all_is_well),
		cmocka_unit_test(refusals_give_memory_back),
		cmocka_unit_test(nothing_is_freed_happily),
		cmocka_unit_test(replacing_gives_memory_back),
		cmocka_unit_test(calls_are_counted),
		cmocka_unit_test(evaluating_takes_none),
		cmocka_unit_test(reserving_again_takes_none),
		cmocka_unit_test(over_malloc),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
