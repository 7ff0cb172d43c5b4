/*
 * src/engine/ffe_build.c
 *	  The builder under ffe_compile; see ffe_build.h.
 */
#include <stdarg.h>
#include <stdio.h>

#include "ffe_build.h"

/* ---------- text ---------- */

int
ffe_cut(const char *s, size_t len, size_t limit)
{
	if (len <= limit)
		return (int) len;
	while (limit > 0 && ((unsigned char) s[limit] & 0xC0) == 0x80)
		limit--;
	return (int) limit;
}

void
ffe_format_list(char *out, size_t size, const char *format, va_list args)
{
	int n = vsnprintf(out, size, format, args);

	if (n < 0)
		out[0] = '\0';
	else if ((size_t) n >= size)
	{
		/* the last character may have been halved: cut it off */
		size_t len = strlen(out);
		size_t start = len;

		while (start > 0 && ((unsigned char) out[start - 1] & 0xC0) == 0x80)
			start--;
		if (start > 0 && (unsigned char) out[start - 1] >= 0xC0)
			out[start - 1] = '\0';
	}
}

void
ffe_format(char *out, size_t size, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	ffe_format_list(out, size, format, args);
	va_end(args);
}

/* What a node is, in words. */
static void
describe(ffe_builder *b, const ffe_node *node, char *out, size_t size)
{
	double number;
	int len;

	switch (node->kind)
	{
		case FFE_MISSING:
			ffe_format(out, size, "nothing");
			break;
		case FFE_NULL:
			ffe_format(out, size, "null");
			break;
		case FFE_BOOL:
			ffe_format(out, size, node->u.boolean ? "true" : "false");
			break;
		case FFE_NUMBER:
			if (b->reader->number(node, &number))
				ffe_format(out, size, "number %.17g", number);
			else
				ffe_format(out, size, "a number that is no finite double");
			break;
		case FFE_STRING:
			len = ffe_cut(node->u.str, node->len, 40);
			ffe_format(out, size, "string \"%.*s\"%s", len, node->u.str,
					   (uint32_t) len < node->len ? "..." : "");
			break;
		case FFE_ARRAY:
			ffe_format(out, size, node->len == 0 ? "an empty array" : "an array");
			break;
		case FFE_OBJECT:
			ffe_format(out, size, node->len == 0 ? "an empty object" : "an object");
			break;
	}
}

/* ---------- refusing ---------- */

static void
set_error(ffe_builder *b, ffe_status status, const char *hint)
{
	b->error->status = status;
	ffe_format(b->error->path, sizeof(b->error->path), "%s", b->path);
	ffe_format(b->error->hint, sizeof(b->error->hint), "%s", hint == NULL ? "" : hint);
}

bool
ffe_refuse(ffe_builder *b, const char *hint, const char *format, ...)
{
	va_list args;

	set_error(b, FFE_PARSE_ERROR, hint);
	va_start(args, format);
	ffe_format_list(b->error->message, sizeof(b->error->message), format, args);
	va_end(args);
	return false;
}

bool
ffe_refuse_limit(ffe_builder *b, const char *what, size_t found, size_t limit)
{
	set_error(b, FFE_LIMIT_EXCEEDED, NULL);
	ffe_format(b->error->message, sizeof(b->error->message), "%s: %zu, the limit is %zu", what,
			   found, limit);
	return false;
}

bool
ffe_refuse_kind(ffe_builder *b, const char *expected, const ffe_node *found)
{
	char text[256];

	describe(b, found, text, sizeof(text));
	return ffe_refuse(b, NULL, "expected %s, found %s", expected, text);
}

bool
ffe_no_memory(ffe_builder *b)
{
	set_error(b, FFE_NO_MEMORY, NULL);
	ffe_format(b->error->message, sizeof(b->error->message), "out of memory");
	return false;
}

/* ---------- growing arrays and the block ---------- */

static bool
vec_reserve(ffe_builder *b, ffe_vec *vec, size_t more)
{
	const ffe_alloc *alloc = &b->set->alloc;
	size_t wanted = (size_t) vec->count + more;
	size_t capacity = vec->capacity < 16 ? 16 : vec->capacity;
	void *larger;

	if (wanted <= vec->capacity)
		return true;
	if (wanted * vec->width > FFE_MAX_COMPILED)
		return ffe_refuse_limit(b, "bytes of the compiled definition", wanted * vec->width,
								FFE_MAX_COMPILED);
	while (capacity < wanted)
		capacity *= 2;
	larger = alloc->alloc(alloc->arg, capacity * vec->width);
	if (larger == NULL)
		return ffe_no_memory(b);
	if (vec->data != NULL)
	{
		memcpy(larger, vec->data, (size_t) vec->count * vec->width);
		alloc->free(alloc->arg, vec->data);
	}
	vec->data = larger;
	vec->capacity = (uint32_t) capacity;
	return true;
}

void *
ffe_append(ffe_builder *b, ffe_vec *vec)
{
	char *item;

	if (!vec_reserve(b, vec, 1))
		return NULL;
	item = vec->data + (size_t) vec->count++ * vec->width;
	memset(item, 0, vec->width);
	return item;
}

bool
ffe_block_reserve(ffe_builder *b, size_t size, uint32_t *off)
{
	size_t padding = -(size_t) b->block.count & 7;

	if (!vec_reserve(b, &b->block, padding + size))
		return false;
	memset(b->block.data + b->block.count, 0, padding + size);
	*off = b->block.count + (uint32_t) padding;
	b->block.count += (uint32_t) (padding + size);
	return true;
}

/* Strings need no alignment. */
bool
ffe_block_string(ffe_builder *b, const char *s, size_t len, ffe_ref *out)
{
	if (!vec_reserve(b, &b->block, len))
		return false;
	out->off = b->block.count;
	out->len = (uint32_t) len;
	memcpy(b->block.data + out->off, s, len);
	b->block.count += (uint32_t) len;
	return true;
}

bool
ffe_block_folded(ffe_builder *b, const char *s, size_t len, ffe_ref *out)
{
	/* a folded character is at most half as long again */
	size_t room = len + len / 2 + 4;

	if (!vec_reserve(b, &b->block, room))
		return false;
	out->off = b->block.count;
	out->len = (uint32_t) ffe_fold(s, len, b->block.data + out->off, room);
	b->block.count += out->len;
	return true;
}

bool
ffe_block_vec(ffe_builder *b, const ffe_vec *vec, ffe_ref *out)
{
	size_t size = (size_t) vec->count * vec->width;

	if (!ffe_block_reserve(b, size, &out->off))
		return false;
	if (size > 0)
		memcpy(b->block.data + out->off, vec->data, size);
	out->len = vec->count;
	return true;
}

/* ---------- paths ---------- */

static void
path_append(ffe_builder *b, const char *text)
{
	size_t room = sizeof(b->path) - b->path_len;

	ffe_format(b->path + b->path_len, room, "%s", text);
	b->path_len += strlen(b->path + b->path_len);
}

static bool
plain_name(const char *name, size_t len)
{
	for (size_t i = 0; i < len; i++)
	{
		if (name[i] != '_' && name[i] != '-' && !ffe_valid_key(name + i, 1))
			return false;
	}
	return len > 0;
}

size_t
ffe_enter_member(ffe_builder *b, const char *name, size_t len)
{
	size_t mark = b->path_len;
	int cut = ffe_cut(name, len, 60);
	char text[80];

	if (plain_name(name, len))
		ffe_format(text, sizeof(text), "%s%.*s", mark == 0 ? "" : ".", cut, name);
	else
		ffe_format(text, sizeof(text), "[\"%.*s\"]", cut, name);
	path_append(b, text);
	return mark;
}

size_t
ffe_enter_element(ffe_builder *b, uint32_t i)
{
	size_t mark = b->path_len;
	char text[16];

	ffe_format(text, sizeof(text), "[%u]", i);
	path_append(b, text);
	return mark;
}

void
ffe_leave(ffe_builder *b, size_t mark)
{
	b->path_len = mark;
	b->path[mark] = '\0';
}

/* ---------- members ---------- */

bool
ffe_node_is(const ffe_node *node, const char *word)
{
	return node->kind == FFE_STRING && node->len == strlen(word) &&
		   memcmp(node->u.str, word, node->len) == 0;
}

/* "a boolean, a number or a string" for a set of kinds. */
static void
name_kinds(unsigned kinds, char *out, size_t size)
{
	static const char *const names[] = {"",         "null",     "a boolean", "a number",
										"a string", "an array", "an object"};
	size_t len = 0;

	out[0] = '\0';
	for (unsigned kind = FFE_NULL; kind <= FFE_OBJECT; kind++)
	{
		if (!(kinds & FFE_IS(kind)))
			continue;
		ffe_format(out + len, size - len, "%s%s", len == 0 ? "" : " or ", names[kind]);
		len += strlen(out + len);
	}
}

bool
ffe_take(ffe_builder *b, const ffe_node *object, const char *name, unsigned kinds, bool required,
		 ffe_node *out)
{
	size_t mark = ffe_enter_member(b, name, strlen(name));
	char expected[128];

	b->reader->member(object, name, strlen(name), out);
	if (out->kind == FFE_NULL && !required && !(kinds & FFE_IS(FFE_NULL)))
		out->kind = FFE_MISSING;
	if (!(kinds & FFE_IS(out->kind)) && (required || out->kind != FFE_MISSING))
	{
		name_kinds(kinds, expected, sizeof(expected));
		return ffe_refuse_kind(b, expected, out);
	}
	ffe_leave(b, mark);
	return true;
}

bool
ffe_check_members(ffe_builder *b, const ffe_node *object, const char *const *names)
{
	ffe_iter iter = {NULL, 0};
	ffe_node name, value;

	while (b->reader->next(object, &iter, &name, &value))
	{
		char expected[512] = "Members are: ";
		size_t len = strlen(expected);
		bool known = false;

		for (size_t i = 0; names[i] != NULL && !known; i++)
		{
			known = ffe_node_is(&name, names[i]);
			ffe_format(expected + len, sizeof(expected) - len, "%s%s", i == 0 ? "" : ", ",
					   names[i]);
			len += strlen(expected + len);
		}
		if (!known)
		{
			ffe_enter_member(b, name.u.str, name.len);
			ffe_format(expected + len, sizeof(expected) - len, ".");
			return ffe_refuse(b, expected, "unknown member");
		}
	}
	return true;
}

bool
ffe_take_key(ffe_builder *b, const ffe_node *object, const char *name, bool required, ffe_node *out)
{
	if (!ffe_take(b, object, name, FFE_IS(FFE_STRING), required, out))
		return false;
	if (out->kind == FFE_STRING && !ffe_valid_key(out->u.str, out->len))
	{
		ffe_enter_member(b, name, strlen(name));
		return ffe_refuse_kind(b,
							   "a letter or digit and at most 254 letters, digits, dots, hyphens "
							   "or underscores",
							   out);
	}
	return true;
}

/* Checks an optional text that is not evaluated. */
bool
ffe_take_text(ffe_builder *b, const ffe_node *object, const char *name, size_t limit)
{
	ffe_node node;

	if (!ffe_take(b, object, name, FFE_IS(FFE_STRING), false, &node))
		return false;
	if (node.kind == FFE_STRING && node.len > limit)
	{
		ffe_enter_member(b, name, strlen(name));
		return ffe_refuse_limit(b, "bytes", node.len, limit);
	}
	return true;
}

bool
ffe_take_time(ffe_builder *b, const ffe_node *object, const char *name, int64_t *out)
{
	ffe_node node;

	*out = FFE_NO_TIME;
	if (!ffe_take(b, object, name, FFE_IS(FFE_STRING), false, &node))
		return false;
	if (node.kind == FFE_MISSING || ffe_parse_time(node.u.str, node.len, out))
		return true;
	ffe_enter_member(b, name, strlen(name));
	return ffe_refuse_kind(b, "an RFC 3339 time such as \"2026-01-31T12:00:00Z\"", &node);
}

/* ---------- percentages, attributes, salts ---------- */

bool
ffe_read_weight(ffe_builder *b, const ffe_node *node, uint32_t *out)
{
	int64_t thousandths;
	double weight;

	if (!b->reader->number(node, &weight) || weight < 0 || weight > 100)
		return ffe_refuse_kind(b, "a percentage from 0 to 100", node);

	if (!b->reader->integer(node, 3, &thousandths))
		return ffe_refuse_kind(b, "a percentage with at most three decimals", node);
	*out = (uint32_t) thousandths;
	return true;
}

bool
ffe_read_attribute(ffe_builder *b, const ffe_node *node, uint32_t *out)
{
	uint32_t parts = 1;
	bool empty_part = node->len == 0 || node->u.str[node->len - 1] == '.';
	char last = '.';

	if (node->len > FFE_MAX_ATTRIBUTE)
		return ffe_refuse_limit(b, "bytes of an attribute path", node->len, FFE_MAX_ATTRIBUTE);
	for (uint32_t i = 0; i < node->len; last = node->u.str[i++])
	{
		empty_part = empty_part || (node->u.str[i] == '.' && last == '.');
		parts += node->u.str[i] == '.';
	}
	if (empty_part)
		return ffe_refuse_kind(b, "names of members with dots between them", node);
	if (parts > FFE_MAX_PATH_PARTS)
		return ffe_refuse_limit(b, "parts of an attribute path", parts, FFE_MAX_PATH_PARTS);
	*out = ffe_set_attribute(b->set, node->u.str, node->len);
	return *out != FFE_NO_ID || ffe_no_memory(b);
}

bool
ffe_take_by(ffe_builder *b, const ffe_node *object, uint32_t *out)
{
	ffe_node by;
	size_t mark;

	*out = FFE_BY_USER;
	if (!ffe_take(b, object, "by", FFE_IS(FFE_STRING), false, &by))
		return false;
	/* user_id is the user id, targetingKey and all, not the bare attribute */
	if (by.kind == FFE_MISSING || ffe_node_is(&by, "user_id"))
		return true;
	mark = ffe_enter_member(b, "by", 2);
	if (!ffe_read_attribute(b, &by, out))
		return false;
	ffe_leave(b, mark);
	return true;
}

bool
ffe_block_salt(ffe_builder *b, const ffe_node *salt, const char *suffix, ffe_ref *out)
{
	char text[FFE_MAX_KEY + 16];

	if (salt->len == 0)
		return ffe_refuse_kind(b, "a salt of at least one character", salt);
	if (salt->len > FFE_MAX_KEY)
		return ffe_refuse_limit(b, "bytes of a salt", salt->len, FFE_MAX_KEY);
	memcpy(text, salt->u.str, salt->len);
	strcpy(text + salt->len, suffix);
	strcat(text, ":");
	return ffe_block_string(b, text, strlen(text), out);
}

bool
ffe_depend(ffe_builder *b, ffe_object object, const ffe_node *key, uint32_t *out)
{
	uint32_t *dep;

	*out = ffe_set_intern(b->set, object, key->u.str, key->len);
	if (*out == FFE_NO_ID)
		return ffe_no_memory(b);
	for (uint32_t i = 0; i < b->deps.count; i++)
	{
		if (*FFE_VEC_AT(b->deps, uint32_t, i) == *out)
			return true;
	}
	dep = ffe_append(b, &b->deps);
	if (dep == NULL)
		return false;
	*dep = *out;
	return true;
}

/* ---------- tables ---------- */

bool
ffe_table_make(ffe_builder *b, uint32_t count, ffe_table *table)
{
	uint32_t nslots = 4;

	memset(table, 0, sizeof(*table));
	if (count > FFE_MAX_LIST)
		return ffe_refuse_limit(b, "entries", count, FFE_MAX_LIST);
	while (nslots < 2 * count)
		nslots *= 2;
	table->slots.len = nslots;
	return ffe_block_reserve(b, sizeof(ffe_entry) * count, &table->entries.off) &&
		   ffe_block_reserve(b, sizeof(uint32_t) * nslots, &table->slots.off);
}

/* Fills in an entry from a node; strings go to the block. */
static bool
read_entry(ffe_builder *b, const ffe_node *node, bool ignore_case, ffe_entry *entry)
{
	ffe_ref str;

	memset(entry, 0, sizeof(*entry));
	entry->kind = node->kind;
	if (node->kind == FFE_BOOL)
	{
		entry->u.boolean = node->u.boolean;
		entry->hash = node->u.boolean;
		return true;
	}
	if (node->kind == FFE_NUMBER)
	{
		if (!b->reader->number(node, &entry->u.number))
			return ffe_refuse_kind(b, "a finite number", node);
		entry->hash = ffe_hash_number(entry->u.number);
		return true;
	}
	if (node->kind != FFE_STRING)
		return ffe_refuse_kind(b, "a string, a number or a boolean", node);
	if (node->len > FFE_MAX_STRING)
		return ffe_refuse_limit(b, "bytes of a string", node->len, FFE_MAX_STRING);
	if (!(ignore_case ? ffe_block_folded : ffe_block_string)(b, node->u.str, node->len, &str))
		return false;
	entry->u.str = str;
	entry->hash = ffe_hash_string(b->block.data + str.off, str.len);
	return true;
}

bool
ffe_table_add(ffe_builder *b, ffe_table *table, const ffe_node *node, bool ignore_case, int32_t tag,
			  int32_t *found)
{
	ffe_entry entry;
	const ffe_entry *same;
	uint32_t *slots;
	uint32_t i;

	if (!read_entry(b, node, ignore_case, &entry))
		return false;
	same = entry.kind == FFE_STRING
			   ? ffe_table_string(ffe_header(b), table, b->block.data + entry.u.str.off,
								  entry.u.str.len, entry.hash)
			   : ffe_table_scalar(ffe_header(b), table, &entry);
	*found = same == NULL ? tag : same->tag;
	if (same != NULL)
		return true;
	entry.tag = tag;
	slots = (uint32_t *) (void *) (b->block.data + table->slots.off);
	for (i = entry.hash & (table->slots.len - 1); slots[i] != 0;)
		i = (i + 1) & (table->slots.len - 1);
	memcpy(b->block.data + table->entries.off + sizeof(entry) * table->entries.len, &entry,
		   sizeof(entry));
	slots[i] = ++table->entries.len;
	table->kinds |= FFE_IS(entry.kind);
	return true;
}
