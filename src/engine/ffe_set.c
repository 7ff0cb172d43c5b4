/*
 * src/engine/ffe_set.c
 *	  Sets of flags and segments: interned names and the documents under them.
 *
 * The rule: a name gets a small number once and keeps it for the life of the set, so that a
 * compiled document can hold numbers, an evaluation needs no look-up by name, and replacing one
 * document leaves all that refer to it as they are.
 */
#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "ffe_internal.h"

static void *
malloc_block(void *arg, size_t size)
{
	(void) arg;
	return malloc(size);
}

static void
free_block(void *arg, void *block)
{
	(void) arg;
	free(block);
}

const ffe_alloc ffe_malloc = {malloc_block, free_block, NULL};

static void
release(const ffe_alloc *alloc, void *block)
{
	if (block != NULL)
		alloc->free(alloc->arg, block);
}

/* Moves an array to a larger block; false, with the old one in place, without memory. */
static bool
grow(const ffe_alloc *alloc, void **block, size_t old_size, size_t new_size)
{
	void *larger = alloc->alloc(alloc->arg, new_size);

	if (larger == NULL)
		return false;
	if (old_size > 0)
		memcpy(larger, *block, old_size);
	memset((char *) larger + old_size, 0, new_size - old_size);
	release(alloc, *block);
	*block = larger;
	return true;
}

/* ---------- symbols ---------- */

static uint32_t
symbol_hash(const char *name, size_t len, uint8_t tag)
{
	return (uint32_t) XXH3_64bits_withSeed(name, len, tag);
}

static uint32_t
symbol_find(const ffe_symbols *symbols, const char *name, size_t len, uint8_t tag)
{
	uint32_t hash = symbol_hash(name, len, tag);
	uint32_t mask = symbols->nslots - 1;

	if (symbols->nslots == 0)
		return FFE_NO_ID;
	for (uint32_t i = hash & mask; symbols->slots[i] != 0; i = (i + 1) & mask)
	{
		const ffe_symbol *symbol = &symbols->items[symbols->slots[i] - 1];

		if (symbol->hash == hash && symbol->tag == tag && symbol->len == len &&
			memcmp(symbol->name, name, len) == 0)
			return symbols->slots[i] - 1;
	}
	return FFE_NO_ID;
}

static void
slot_fill(ffe_symbols *symbols, uint32_t item)
{
	uint32_t mask = symbols->nslots - 1;
	uint32_t i = symbols->items[item].hash & mask;

	while (symbols->slots[i] != 0)
		i = (i + 1) & mask;
	symbols->slots[i] = item + 1;
}

/* Makes room for one more symbol, with at most half of the slots used. */
static bool
symbols_reserve(const ffe_alloc *alloc, ffe_symbols *symbols)
{
	uint32_t capacity = symbols->capacity == 0 ? 16 : symbols->capacity * 2;
	uint32_t *slots;

	if (symbols->count < symbols->capacity)
		return true;
	if (capacity > UINT32_MAX / 8)
		return false;
	slots = alloc->alloc(alloc->arg, sizeof(uint32_t) * 2 * capacity);
	if (slots == NULL)
		return false;
	if (!grow(alloc, (void **) &symbols->items, sizeof(ffe_symbol) * symbols->count,
			  sizeof(ffe_symbol) * capacity))
	{
		release(alloc, slots);
		return false;
	}
	release(alloc, symbols->slots);
	memset(slots, 0, sizeof(uint32_t) * 2 * capacity);
	symbols->slots = slots;
	symbols->nslots = 2 * capacity;
	symbols->capacity = capacity;
	for (uint32_t i = 0; i < symbols->count; i++)
		slot_fill(symbols, i);
	return true;
}

static uint32_t
symbol_intern(const ffe_alloc *alloc, ffe_symbols *symbols, const char *name, size_t len,
			  uint8_t tag)
{
	uint32_t id = symbol_find(symbols, name, len, tag);
	ffe_symbol *symbol;

	if (id != FFE_NO_ID)
		return id;
	if (!symbols_reserve(alloc, symbols))
		return FFE_NO_ID;
	symbol = &symbols->items[symbols->count];
	symbol->name = alloc->alloc(alloc->arg, len + 1);
	if (symbol->name == NULL)
		return FFE_NO_ID;
	memcpy(symbol->name, name, len);
	symbol->name[len] = '\0';
	symbol->len = (uint32_t) len;
	symbol->hash = symbol_hash(name, len, tag);
	symbol->tag = tag;
	symbol->dotted = memchr(name, '.', len) != NULL;
	slot_fill(symbols, symbols->count);
	symbols->bytes += len + 1;
	return symbols->count++;
}

static void
symbols_free(const ffe_alloc *alloc, ffe_symbols *symbols)
{
	for (uint32_t i = 0; i < symbols->count; i++)
		release(alloc, symbols->items[i].name);
	release(alloc, symbols->items);
	release(alloc, symbols->slots);
}

static size_t
symbols_size(const ffe_symbols *symbols)
{
	return symbols->bytes + symbols->capacity * sizeof(ffe_symbol) +
		   symbols->nslots * sizeof(uint32_t);
}

/* ---------- sets ---------- */

ffe_set *
ffe_set_new(const ffe_alloc *alloc)
{
	static const char *const common[] = {"user_id", "targetingKey", "current_time"};
	ffe_set *set = alloc->alloc(alloc->arg, sizeof(ffe_set));

	if (set == NULL)
		return NULL;
	memset(set, 0, sizeof(ffe_set));
	set->alloc = *alloc;
	for (uint32_t i = 0; i < FFE_ATTR_FIRST_FREE; i++)
	{
		if (ffe_set_attribute(set, common[i], strlen(common[i])) != i)
		{
			ffe_set_free(set);
			return NULL;
		}
	}
	return set;
}

void
ffe_set_free(ffe_set *set)
{
	ffe_alloc alloc;

	if (set == NULL)
		return;
	alloc = set->alloc;
	for (uint32_t i = 0; i < set->objects.count && i < set->docs_capacity; i++)
		ffe_doc_free(set, set->docs[i]);
	release(&alloc, set->docs);
	symbols_free(&alloc, &set->attrs);
	symbols_free(&alloc, &set->objects);
	release(&alloc, set);
}

/* The id of an attribute path; FFE_NO_ID without memory. */
uint32_t
ffe_set_attribute(ffe_set *set, const char *path, size_t len)
{
	return symbol_intern(&set->alloc, &set->attrs, path, len, 0);
}

uint32_t
ffe_set_intern(ffe_set *set, ffe_object object, const char *key, size_t len)
{
	uint32_t id = symbol_intern(&set->alloc, &set->objects, key, len, (uint8_t) object);

	/* a symbol without a place for its document would be met again: make the place first */
	if (id != FFE_NO_ID && id >= set->docs_capacity)
	{
		uint32_t capacity = set->objects.capacity;

		if (!grow(&set->alloc, (void **) &set->docs, sizeof(ffe_doc *) * set->docs_capacity,
				  sizeof(ffe_doc *) * capacity))
			return FFE_NO_ID;
		set->docs_capacity = capacity;
	}
	return id;
}

uint32_t
ffe_set_find(const ffe_set *set, ffe_object object, const char *key, size_t len)
{
	uint32_t id = symbol_find(&set->objects, key, len, (uint8_t) object);

	return id < set->docs_capacity ? id : FFE_NO_ID;
}

uint32_t
ffe_set_count(const ffe_set *set)
{
	return set->objects.count;
}

ffe_object
ffe_set_object(const ffe_set *set, uint32_t id)
{
	return (ffe_object) set->objects.items[id].tag;
}

const char *
ffe_set_key(const ffe_set *set, uint32_t id, size_t *len)
{
	if (len != NULL)
		*len = set->objects.items[id].len;
	return set->objects.items[id].name;
}

void
ffe_set_put(ffe_set *set, uint32_t id, ffe_doc *doc)
{
	ffe_doc_free(set, set->docs[id]);
	set->docs[id] = doc;
}

const ffe_doc *
ffe_set_doc(const ffe_set *set, uint32_t id)
{
	return id < set->docs_capacity ? set->docs[id] : NULL;
}

size_t
ffe_set_size(const ffe_set *set)
{
	return sizeof(ffe_set) + symbols_size(&set->attrs) + symbols_size(&set->objects) +
		   set->docs_capacity * sizeof(ffe_doc *);
}

/* ---------- hashing ---------- */

uint32_t
ffe_hash_string(const char *s, size_t len)
{
	return (uint32_t) XXH3_64bits(s, len);
}

/* Hashes a number by its value: 0 and -0 are equal, so they hash alike. */
uint32_t
ffe_hash_number(double d)
{
	if (d == 0)
		d = 0;
	return (uint32_t) XXH3_64bits(&d, sizeof(d));
}

uint64_t
ffe_hash_unit(const char *salt_colon, size_t salt_len, const char *unit, size_t unit_len)
{
	char buffer[512];
	XXH3_state_t state;

	if (ffe_likely(salt_len + unit_len <= sizeof(buffer)))
	{
		memcpy(buffer, salt_colon, salt_len);
		memcpy(buffer + salt_len, unit, unit_len);
		return XXH3_64bits(buffer, salt_len + unit_len);
	}
	XXH3_64bits_reset(&state);
	XXH3_64bits_update(&state, salt_colon, salt_len);
	XXH3_64bits_update(&state, unit, unit_len);
	return XXH3_64bits_digest(&state);
}

uint32_t
ffe_bucket(const char *salt, size_t salt_len, const char *unit, size_t unit_len, uint64_t *hash)
{
	XXH3_state_t state;
	uint64_t h;

	XXH3_64bits_reset(&state);
	XXH3_64bits_update(&state, salt, salt_len);
	XXH3_64bits_update(&state, ":", 1);
	XXH3_64bits_update(&state, unit, unit_len);
	h = XXH3_64bits_digest(&state);
	if (hash != NULL)
		*hash = h;
	return ffe_bucket_of_hash(h);
}

/* ---------- tables ---------- */

static bool
entry_equals(const ffe_entry *entry, const ffe_entry *wanted)
{
	if (entry->hash != wanted->hash || entry->kind != wanted->kind)
		return false;
	if (entry->kind == FFE_NUMBER)
		return entry->u.number == wanted->u.number;
	return entry->u.boolean == wanted->u.boolean;
}

const ffe_entry *
ffe_table_scalar(const ffe_doc *doc, const ffe_table *table, const ffe_entry *wanted)
{
	const uint32_t *slots = FFE_AT(doc, table->slots, uint32_t);
	const ffe_entry *entries = FFE_AT(doc, table->entries, ffe_entry);
	uint32_t mask = table->slots.len - 1;

	if (table->slots.len == 0)
		return NULL;
	for (uint32_t i = wanted->hash & mask; slots[i] != 0; i = (i + 1) & mask)
	{
		if (entry_equals(&entries[slots[i] - 1], wanted))
			return &entries[slots[i] - 1];
	}
	return NULL;
}

const ffe_entry *
ffe_table_string(const ffe_doc *doc, const ffe_table *table, const char *s, size_t len,
				 uint32_t hash)
{
	const uint32_t *slots = FFE_AT(doc, table->slots, uint32_t);
	const ffe_entry *entries = FFE_AT(doc, table->entries, ffe_entry);
	uint32_t mask = table->slots.len - 1;

	if (table->slots.len == 0)
		return NULL;
	for (uint32_t i = hash & mask; slots[i] != 0; i = (i + 1) & mask)
	{
		const ffe_entry *entry = &entries[slots[i] - 1];

		if (entry->hash == hash && entry->kind == FFE_STRING && entry->u.str.len == len &&
			memcmp(ffe_str(doc, entry->u.str), s, len) == 0)
			return entry;
	}
	return NULL;
}
