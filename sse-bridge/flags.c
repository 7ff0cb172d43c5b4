/*
 * sse-bridge/flags.c
 *	  The flags that the bridge serves; what is promised is in flags.h.
 */
#include "flags.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <uthash.h>

#include "../src/engine/json/ffe_jansson.h"
#include "log.h"
#include "text.h"

/* By the engine's id of the object. */
typedef struct stored
{
	char *definition; /* NULL: there is none */
	size_t len;
	int64_t version;
	json_t *parsed; /* NULL: it can't be read */
} stored;

/* Keys of one kind of object in order, made when they are asked for. */
typedef struct key_order
{
	uint32_t *ids;
	uint32_t count;
	bool is_made;
} key_order;

struct flag_space
{
	char *name;
	ffe_set *set;
	ffe_state *state;
	ffe_node context;
	stored *stored;
	uint32_t room; /* of stored */
	key_order orders[2];
	unsigned counts[2];
	UT_hash_handle hh;
};

struct flags
{
	flag_space *spaces;
};

/* ---------- namespaces ---------- */

flags *
flags_new(void)
{
	return calloc(1, sizeof(flags));
}

static void
free_space(flag_space *space)
{
	for (uint32_t i = 0; i < space->room; i++)
	{
		free(space->stored[i].definition);
		json_decref(space->stored[i].parsed);
	}
	free(space->stored);
	free(space->orders[0].ids);
	free(space->orders[1].ids);
	ffe_state_free(space->state);
	ffe_set_free(space->set);
	free(space->name);
	free(space);
}

void
flags_free(flags *all)
{
	flag_space *space, *next;

	if (all == NULL)
		return;
	HASH_ITER(hh, all->spaces, space, next)
	{
		HASH_DEL(all->spaces, space);
		free_space(space);
	}
	free(all);
}

flag_space *
flags_space(const flags *all, const char *name)
{
	flag_space *space;

	HASH_FIND_STR(all->spaces, name, space);
	return space;
}

flag_space *
flags_make_space(flags *all, const char *name)
{
	flag_space *space = flags_space(all, name);

	if (space != NULL)
		return space;
	space = calloc(1, sizeof(*space));
	if (space == NULL)
		return NULL;
	space->name = strdup(name);
	space->set = ffe_set_new(&ffe_malloc);
	space->state = ffe_state_new(&ffe_malloc);
	if (space->name == NULL || space->set == NULL || space->state == NULL)
	{
		free_space(space);
		return NULL;
	}
	HASH_ADD_KEYPTR(hh, all->spaces, space->name, strlen(space->name), space);
	return space;
}

void
flags_each_space(const flags *all, void (*f)(void *arg, flag_space *space), void *arg)
{
	flag_space *space, *next;

	HASH_ITER(hh, all->spaces, space, next)
	{
		f(arg, space);
	}
}

const char *
flags_space_name(const flag_space *space)
{
	return space->name;
}

/* ---------- definitions ---------- */

/* Makes room for the objects of all ids. */
static bool
reserve(flag_space *space)
{
	uint32_t room = space->room == 0 ? 64 : space->room;
	stored *grown;

	if (ffe_set_count(space->set) <= space->room)
		return true;
	while (room < ffe_set_count(space->set))
		room *= 2;
	grown = realloc(space->stored, sizeof(stored) * room);
	if (grown == NULL)
		return false;
	memset(grown + space->room, 0, sizeof(stored) * (room - space->room));
	space->stored = grown;
	space->room = room;
	return true;
}

/* Whole numbers that are too large for 64 bits become doubles, as they do in evaluation. */
static json_t *
parse(const char *definition)
{
	json_t *parsed = json_loads(definition, JSON_REJECT_DUPLICATES, NULL);

	return parsed != NULL
			   ? parsed
			   : json_loads(definition, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, NULL);
}

/* Compiles; what can't be is served as an error. NULL only when there is no memory. */
static ffe_doc *
compile(flag_space *space, ffe_object object, const char *key, const json_t *parsed)
{
	ffe_node root = ffe_jansson_node(parsed);
	ffe_error error;
	ffe_doc *doc;
	ffe_status status = ffe_compile(space->set, object, &ffe_jansson_reader, &root, &doc, &error);

	if (status == FFE_OK || status == FFE_NO_MEMORY)
		return doc;
	log_warning("a definition can't be compiled", "namespace", space->name, "key", key, "path",
				error.path, "problem", error.message);
	return ffe_compile_broken(space->set, &ffe_jansson_reader, &root, status, error.message);
}

bool
flags_put(flag_space *space, ffe_object object, const char *key, int64_t version,
		  const char *definition)
{
	uint32_t id = ffe_set_intern(space->set, object, key, strlen(key));
	stored fresh = {.version = version};
	ffe_doc *doc = NULL;
	stored *place;

	if (id == FFE_NO_ID)
		return false;
	if (definition != NULL)
	{
		fresh.definition = strdup(definition);
		fresh.len = strlen(definition);
		fresh.parsed = parse(definition);
		doc = compile(space, object, key, fresh.parsed);
	}
	if ((definition != NULL && (fresh.definition == NULL || doc == NULL)) || !reserve(space))
	{
		free(fresh.definition);
		json_decref(fresh.parsed);
		ffe_doc_free(space->set, doc);
		return false;
	}
	ffe_set_put(space->set, id, doc);
	place = &space->stored[id];
	if ((place->definition == NULL) != (definition == NULL))
	{
		space->orders[object].is_made = false;
		space->counts[object] += definition == NULL ? -1U : 1U;
	}
	free(place->definition);
	json_decref(place->parsed);
	*place = fresh;
	return true;
}

/* A member that is a string; NULL without one. */
static const char *
member(const stored *one, const char *name)
{
	return json_string_value(json_object_get(one->parsed, name));
}

/* Whether a member is this string. */
static bool
is_member(const stored *one, const char *name, const char *wanted)
{
	const char *value = member(one, name);

	return value != NULL && strcmp(value, wanted) == 0;
}

static flag_entry
entry_of(const flag_space *space, uint32_t id)
{
	const stored *one = &space->stored[id];

	return (flag_entry){.key = ffe_set_key(space->set, id, NULL),
						.version = one->version,
						.definition = one->definition,
						.len = one->len,
						.is_archived = is_member(one, "state", "archived")};
}

bool
flags_get(const flag_space *space, ffe_object object, const char *key, flag_entry *entry)
{
	uint32_t id = ffe_set_find(space->set, object, key, strlen(key));

	if (id == FFE_NO_ID || id >= space->room || space->stored[id].definition == NULL)
		return false;
	*entry = entry_of(space, id);
	return true;
}

unsigned
flags_count(const flag_space *space, ffe_object object)
{
	return space->counts[object];
}

/* ---------- lists ---------- */

/* The set whose keys are sorted: qsort hands nothing down to its comparison. */
static const ffe_set *sorted_set;

static int
compare_keys(const void *a, const void *b)
{
	return strcmp(ffe_set_key(sorted_set, *(const uint32_t *) a, NULL),
				  ffe_set_key(sorted_set, *(const uint32_t *) b, NULL));
}

static const key_order *
order_of(flag_space *space, ffe_object object)
{
	key_order *order = &space->orders[object];
	uint32_t *ids;

	if (order->is_made)
		return order;
	ids = realloc(order->ids, sizeof(uint32_t) * (space->counts[object] + 1));
	if (ids == NULL)
		return NULL;
	order->ids = ids;
	order->count = 0;
	for (uint32_t id = 0; id < space->room && id < ffe_set_count(space->set); id++)
	{
		if (space->stored[id].definition != NULL && ffe_set_object(space->set, id) == object)
			order->ids[order->count++] = id;
	}
	sorted_set = space->set;
	qsort(order->ids, order->count, sizeof(uint32_t), compare_keys);
	order->is_made = true;
	return order;
}

static bool
has_tag(const stored *one, const char *tag)
{
	size_t i;
	json_t *element;

	json_array_foreach(json_object_get(one->parsed, "tags"), i, element)
	{
		if (json_is_string(element) && strcmp(json_string_value(element), tag) == 0)
			return true;
	}
	return false;
}

static bool
matches(const flag_space *space, uint32_t id, const flag_filter *filter)
{
	const stored *one = &space->stored[id];

	if (filter->state != NULL && !is_member(one, "state", filter->state))
		return false;
	if (filter->owner != NULL && !is_member(one, "owner", filter->owner))
		return false;
	if (filter->tag != NULL && !has_tag(one, filter->tag))
		return false;
	return filter->search == NULL ||
		   text_has(ffe_set_key(space->set, id, NULL), member(one, "description"), filter->search);
}

/* The first place in an order whose key comes after one. */
static uint32_t
place_after(const flag_space *space, const key_order *order, const char *after)
{
	uint32_t low = 0;
	uint32_t high = order->count;

	while (after != NULL && low < high)
	{
		uint32_t middle = low + (high - low) / 2;

		if (strcmp(ffe_set_key(space->set, order->ids[middle], NULL), after) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

bool
flags_list(flag_space *space, ffe_object object, const flag_filter *filter,
		   void (*f)(void *arg, const flag_entry *entry), void *arg)
{
	const key_order *order = order_of(space, object);
	unsigned listed = 0;

	if (order == NULL)
		return false;
	for (uint32_t i = place_after(space, order, filter->after); i < order->count; i++)
	{
		flag_entry entry;

		if (!matches(space, order->ids[i], filter))
			continue;
		if (listed++ == filter->limit)
			return true;
		entry = entry_of(space, order->ids[i]);
		f(arg, &entry);
	}
	return false;
}

/* ---------- evaluating ---------- */

static int64_t
now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_REALTIME, &time);
	return (int64_t) time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

bool
flags_begin(flag_space *space, const json_t *context)
{
	if (!ffe_state_reserve(space->state, space->set))
		return false;
	space->context = ffe_jansson_node(context);
	ffe_state_begin(space->state, &ffe_jansson_reader, &space->context, now());
	return true;
}

/* A default that stands in after an error is no variant, as ff_evaluate has it. */
static void
fill(flag_answer *answer)
{
	bool is_served = answer->result.status == FFE_OK;

	ffe_result_value(&answer->result, &answer->value);
	answer->variant = is_served ? ffe_result_variant(&answer->result, &answer->variant_len) : NULL;
	answer->rule = ffe_result_rule(&answer->result, &answer->rule_len);
	answer->message[0] = '\0';
	if (!is_served)
		ffe_result_outline(&answer->result, answer->key, strlen(answer->key), answer->message,
						   sizeof(answer->message));
}

void
flags_evaluate(flag_space *space, const char *key, flag_answer *answer)
{
	uint32_t id = ffe_set_find(space->set, FFE_FLAG, key, strlen(key));

	memset(answer, 0, sizeof(*answer));
	answer->key = key;
	answer->result = (ffe_result){.reason = FFE_ERROR_FALLBACK,
								  .status = FFE_FLAG_NOT_FOUND,
								  .culprit = FFE_NO_ID,
								  .variant = -1,
								  .rule = -1};
	if (id != FFE_NO_ID)
		ffe_evaluate(space->state, space->set, id, &answer->result);
	fill(answer);
}

void
flags_evaluate_all(flag_space *space, void (*f)(void *arg, const flag_answer *answer), void *arg)
{
	const key_order *order = order_of(space, FFE_FLAG);

	for (uint32_t i = 0; order != NULL && i < order->count; i++)
	{
		flag_answer answer;

		if (ffe_doc_status(ffe_set_doc(space->set, order->ids[i])) == FFE_FLAG_ARCHIVED)
			continue;
		answer.key = ffe_set_key(space->set, order->ids[i], NULL);
		ffe_evaluate(space->state, space->set, order->ids[i], &answer.result);
		fill(&answer);
		f(arg, &answer);
	}
}

const char *
flags_unit(flag_space *space, const flag_answer *answer, size_t *len, uint64_t *hash)
{
	return ffe_result_unit(space->state, space->set, &answer->result, len, hash);
}
