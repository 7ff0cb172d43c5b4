/*
 * src/engine/ffe_state.c
 *	  The working memory of evaluation; see ffe_state.h.
 */
#include <stdio.h>

#include "ffe_state.h"

/* Matching may use this much stack beyond the machine's before it counts as a limit. */
#define JIT_STACK_START (32 * 1024)
#define JIT_STACK_MAX (512 * 1024)

/* ---------- making and growing ---------- */

ffe_state *
ffe_state_new(const ffe_alloc *alloc)
{
	ffe_state *st = alloc->alloc(alloc->arg, sizeof(ffe_state));

	if (st == NULL)
		return NULL;
	memset(st, 0, sizeof(*st));
	st->alloc = *alloc;
	st->match_data = pcre2_match_data_create(1, NULL);
	st->match_context = pcre2_match_context_create(NULL);
	st->jit_stack = pcre2_jit_stack_create(JIT_STACK_START, JIT_STACK_MAX, NULL);
	if (st->match_data == NULL || st->match_context == NULL)
	{
		ffe_state_free(st);
		return NULL;
	}
	pcre2_set_match_limit(st->match_context, FFE_REGEX_MATCH_LIMIT);
	pcre2_set_depth_limit(st->match_context, FFE_REGEX_DEPTH_LIMIT);
	pcre2_set_heap_limit(st->match_context, FFE_REGEX_HEAP_LIMIT_KB);

	/* without one (no JIT on this machine) PCRE2 goes by the machine's stack */
	if (st->jit_stack != NULL)
		pcre2_jit_stack_assign(st->match_context, NULL, st->jit_stack);
	return st;
}

void
ffe_state_free(ffe_state *st)
{
	if (st == NULL)
		return;
	pcre2_match_data_free(st->match_data);
	pcre2_match_context_free(st->match_context);
	pcre2_jit_stack_free(st->jit_stack);
	if (st->slots != NULL)
		st->alloc.free(st->alloc.arg, st->slots);
	if (st->memos != NULL)
		st->alloc.free(st->alloc.arg, st->memos);
	st->alloc.free(st->alloc.arg, st);
}

size_t
ffe_state_size(const ffe_state *st)
{
	return sizeof(*st) + st->nslots * sizeof(ffe_slot) + st->nmemos * sizeof(ffe_memo);
}

/* A zeroed array for at least `wanted` elements in place of *array, whose content is dropped. */
static bool
renew(ffe_state *st, void **array, uint32_t *count, uint32_t wanted, size_t width)
{
	uint32_t capacity = *count == 0 ? 32 : *count;
	void *larger;

	while (capacity < wanted)
		capacity *= 2;
	larger = st->alloc.alloc(st->alloc.arg, capacity * width);
	if (larger == NULL)
		return false;
	memset(larger, 0, capacity * width);
	if (*array != NULL)
		st->alloc.free(st->alloc.arg, *array);
	*array = larger;
	*count = capacity;
	return true;
}

bool
ffe_state_reserve(ffe_state *st, const ffe_set *set)
{
	if (st->nslots < set->attrs.count &&
		!renew(st, (void **) &st->slots, &st->nslots, set->attrs.count, sizeof(ffe_slot)))
		return false;
	return st->nmemos >= set->objects.count ||
		   renew(st, (void **) &st->memos, &st->nmemos, set->objects.count, sizeof(ffe_memo));
}

void
ffe_state_forget(ffe_state *st)
{
	if (++st->epoch != 0)
		return;
	/* the count began again: what is remembered could look new */
	if (st->slots != NULL)
		memset(st->slots, 0, st->nslots * sizeof(ffe_slot));
	if (st->memos != NULL)
		memset(st->memos, 0, st->nmemos * sizeof(ffe_memo));
	st->epoch = 1;
}

void
ffe_state_begin(ffe_state *st, const ffe_reader *reader, const ffe_node *context, int64_t now)
{
	st->reader = reader;
	st->context = *context;
	st->now = now;
	st->failure = FFE_OK;
	st->depth = 0;
	ffe_state_forget(st);
}

void
ffe_state_trace(ffe_state *st, void (*trace)(void *arg, const ffe_step *step), void *arg)
{
	st->trace = trace;
	st->trace_arg = arg;
}

/* ---------- attributes ---------- */

/* Walks a dotted path. */
static void
find_path(const ffe_reader *reader, const ffe_node *context, const ffe_symbol *symbol,
		  ffe_node *out)
{
	const char *part = symbol->name;
	const char *end = part + symbol->len;
	ffe_node node = *context;

	for (;;)
	{
		const char *dot = memchr(part, '.', (size_t) (end - part));
		size_t len = (size_t) ((dot == NULL ? end : dot) - part);

		if (node.kind != FFE_OBJECT || !reader->member(&node, part, len, out))
		{
			out->kind = FFE_MISSING;
			return;
		}
		if (dot == NULL)
			return;
		node = *out;
		part = dot + 1;
	}
}

/* current_time, where the context brings none of its own. */
static void
fill_clock(ffe_state *st, ffe_slot *slot)
{
	if (st->text_time != st->now || st->now_text[0] == '\0')
	{
		ffe_format_time(st->now, st->now_text);
		st->text_time = st->now;
	}
	slot->node.kind = FFE_STRING;
	slot->node.len = (uint32_t) strlen(st->now_text);
	slot->node.u.str = st->now_text;
	slot->time = st->now;
	slot->tried = slot->have = FFE_HAS_TIME;
}

void
ffe_state_fill(ffe_state *st, const ffe_set *set, uint32_t attr, ffe_slot *slot)
{
	const ffe_symbol *symbol = &set->attrs.items[attr];

	slot->epoch = st->epoch;
	slot->tried = slot->have = 0;
	if (symbol->dotted)
		find_path(st->reader, &st->context, symbol, &slot->node);
	else if (st->context.kind != FFE_OBJECT ||
			 !st->reader->member(&st->context, symbol->name, symbol->len, &slot->node))
		slot->node.kind = FFE_MISSING;
	if (attr == FFE_ATTR_CURRENT_TIME && slot->node.kind <= FFE_NULL)
		fill_clock(st, slot);
}

uint32_t
ffe_slot_hash(ffe_slot *slot)
{
	if (!(slot->tried & FFE_HAS_HASH))
	{
		slot->tried |= FFE_HAS_HASH;
		slot->hash = ffe_hash_string(slot->node.u.str, slot->node.len);
	}
	return slot->hash;
}

bool
ffe_slot_number(ffe_state *st, ffe_slot *slot)
{
	if (!(slot->tried & FFE_HAS_NUMBER))
	{
		slot->tried |= FFE_HAS_NUMBER;
		if (st->reader->number(&slot->node, &slot->number))
			slot->have |= FFE_HAS_NUMBER;
	}
	return slot->have & FFE_HAS_NUMBER;
}

/* ---------- units ---------- */

/*
 * A number as a unit: its digits, where it is whole and a double holds it exactly. The number as it
 * is written has to be: two of which a double is the same are two users.
 */
static bool
number_unit(ffe_state *st, ffe_slot *slot)
{
	int64_t whole;

	if (!st->reader->integer(&slot->node, 0, &whole))
		return false;
	slot->unit_len =
		(uint32_t) snprintf(slot->digits, sizeof(slot->digits), "%lld", (long long) whole);
	return true;
}

/* The slot's value as a unit, or NULL. */
static const char *
slot_unit(ffe_state *st, ffe_slot *slot, uint32_t *len)
{
	if (slot->node.kind == FFE_STRING)
	{
		/* whoever asks is going to hash it */
		if (ffe_unlikely(slot->node.len > FFE_MAX_STRING))
			(void) ffe_spend(st, slot->node.len / 256);
		*len = slot->node.len;
		return slot->node.u.str;
	}
	if (slot->node.kind != FFE_NUMBER)
		return NULL;
	if (!(slot->tried & FFE_HAS_UNIT))
	{
		slot->tried |= FFE_HAS_UNIT;
		if (number_unit(st, slot))
			slot->have |= FFE_HAS_UNIT;
	}
	*len = slot->unit_len;
	return slot->have & FFE_HAS_UNIT ? slot->digits : NULL;
}

const char *
ffe_state_unit(ffe_state *st, const ffe_set *set, uint32_t by, uint32_t *len)
{
	const char *unit;

	if (by != FFE_BY_USER)
		return slot_unit(st, ffe_state_slot(st, set, by), len);
	unit = slot_unit(st, ffe_state_slot(st, set, FFE_ATTR_USER_ID), len);
	if (unit == NULL)
		unit = slot_unit(st, ffe_state_slot(st, set, FFE_ATTR_TARGETING_KEY), len);
	return unit;
}

const char *
ffe_result_unit(ffe_state *st, const ffe_set *set, const ffe_result *result, size_t *len,
				uint64_t *hash)
{
	const ffe_doc *doc = result->doc;
	uint32_t n = 0;
	const char *unit = NULL;

	if (ffe_likely(result->unit != NULL))
	{
		*len = result->unit_len;
		*hash = result->unit_hash;
		return result->unit;
	}

	/* what was never compiled has no salt, and tells nothing of its bucketing */
	if (doc != NULL && doc->salt.len > 0)
		unit = ffe_state_unit(st, set, doc->by, &n);
	if (n == 0)
		unit = NULL;
	*len = unit == NULL ? 0 : n;
	*hash = unit == NULL ? 0 : ffe_hash_unit(ffe_str(doc, doc->salt), doc->salt.len, unit, n);
	return unit;
}

const char *
ffe_state_user(ffe_state *st, const ffe_set *set, size_t *len)
{
	uint32_t n = 0;
	const char *user = ffe_state_unit(st, set, FFE_BY_USER, &n);

	*len = n;
	return user;
}
