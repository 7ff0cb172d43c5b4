/*
 * src/engine/json/ffe_jansson.c
 *	  Lets the engine read documents that jansson (2.14 or later) has parsed.
 *
 * The rule here: nothing writes to a document, not even a reference count, because many threads
 * may read the same one. Where jansson wants a pointer to something non-const for a function that
 * only reads, readable() is the one place that casts.
 */
#include "ffe_jansson.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_FLAGS (JSON_ENCODE_ANY | JSON_COMPACT | JSON_SORT_KEYS)

/* The iterating functions of jansson take a json_t that is not const, though they only read. */
static json_t *
readable(const void *host)
{
	return (json_t *) host;
}

static ffe_node
string_node(const char *str, size_t len)
{
	ffe_node node = {.kind = FFE_STRING, .len = (uint32_t) len};

	node.u.str = str;
	return node;
}

/* A node whose host pointer is the json_t itself. */
static ffe_node
host_node(ffe_kind kind, size_t len, const json_t *json)
{
	ffe_node node = {.kind = kind, .len = (uint32_t) len};

	node.u.host = json;
	return node;
}

ffe_node
ffe_jansson_node(const json_t *json)
{
	ffe_node node = {.kind = FFE_MISSING};

	if (json == NULL)
		return node;
	switch (json_typeof(json))
	{
		case JSON_OBJECT:
			return host_node(FFE_OBJECT, json_object_size(json), json);
		case JSON_ARRAY:
			return host_node(FFE_ARRAY, json_array_size(json), json);
		case JSON_STRING:
			return string_node(json_string_value(json), json_string_length(json));
		case JSON_INTEGER:
		case JSON_REAL:
			return host_node(FFE_NUMBER, 0, json);
		case JSON_TRUE:
		case JSON_FALSE:
			node.kind = FFE_BOOL;
			node.u.boolean = json_is_true(json);
			break;
		case JSON_NULL:
			node.kind = FFE_NULL;
			break;
	}
	return node;
}

static bool
member(const ffe_node *object, const char *name, size_t len, ffe_node *out)
{
	*out = ffe_jansson_node(json_object_getn(object->u.host, name, len));
	return out->kind != FFE_MISSING;
}

static void
element(const ffe_node *array, uint32_t i, ffe_node *out)
{
	*out = ffe_jansson_node(json_array_get(array->u.host, i));
}

/* iter->index counts what was handed out, which tells the start from the end: both have no host. */
static bool
next(const ffe_node *object, ffe_iter *iter, ffe_node *name, ffe_node *value)
{
	json_t *json = readable(object->u.host);
	void *place;

	if (iter->index == 0)
		place = json_object_iter(json);
	else if (iter->host != NULL)
		place = json_object_iter_next(json, (void *) iter->host);
	else
		place = NULL;

	iter->host = place;
	iter->index++;
	if (place == NULL)
		return false;

	*name = string_node(json_object_iter_key(place), json_object_iter_key_len(place));
	*value = ffe_jansson_node(json_object_iter_value(place));
	return true;
}

/* An integer of 64 bits always has a nearest double; a real is one already. */
static bool
number(const ffe_node *node, double *out)
{
	const json_t *json = node->u.host;
	double value;

	if (json_is_integer(json))
		value = (double) json_integer_value(json);
	else
		value = json_real_value(json);
	if (!isfinite(value))
		return false;
	*out = value;
	return true;
}

/*
 * An integer is exact. A real is what is left of the text: the decimals that are meant are those
 * that lead to the same double.
 */
static bool
integer(const ffe_node *node, int decimals, int64_t *out)
{
	static const int64_t powers[] = {1, 10, 100, 1000};
	const int64_t exact = INT64_C(1) << 53;
	const json_t *json = node->u.host;
	double value, scaled;

	if (json_is_integer(json))
	{
		if (json_integer_value(json) < -exact || json_integer_value(json) > exact)
			return false;
		*out = json_integer_value(json) * powers[decimals];
		return true;
	}
	value = json_real_value(json);
	if (!(fabs(value) <= (double) exact))
		return false;
	scaled = round(value * (double) powers[decimals]);
	*out = (int64_t) scaled;
	return scaled / (double) powers[decimals] == value;
}

/* Whether json is the same when it is written with so many digits and read again. */
static bool
survives(const json_t *json, size_t digits)
{
	char *text = json_dumps(json, TEXT_FLAGS | JSON_REAL_PRECISION(digits));
	json_t *again = text == NULL ? NULL : json_loads(text, JSON_DECODE_ANY, NULL);
	bool is_same = again != NULL && json_equal(readable(json), again);

	free(text);
	json_decref(again);
	return is_same;
}

/*
 * How many digits numbers are written with: 17 are enough for every double, but turn 0.1 into
 * 0.10000000000000001, so it is the least from 15 on that loses nothing.
 */
static size_t
digits_for(const json_t *json)
{
	size_t digits = 15;

	while (digits < 17 && !survives(json, digits))
		digits++;
	return digits;
}

/*
 * Writes the text of json, or only measures it where there is no room: json_dumpb alone would
 * leave a part of the text behind.
 */
static size_t
write_text(const json_t *json, void *dst, size_t size)
{
	size_t flags = TEXT_FLAGS | JSON_REAL_PRECISION(digits_for(json));
	size_t needed = json_dumpb(json, NULL, 0, flags);

	if (needed > 0 && needed <= size)
		needed = json_dumpb(json, dst, size, flags);
	return needed;
}

/* A string node has lost its json_t, so that jansson is given a new one to escape. */
static size_t
write_string(const ffe_node *node, void *dst, size_t size)
{
	json_t *json = json_stringn_nocheck(node->u.str, node->len);
	size_t needed;

	if (json == NULL)
		return 0;
	needed = write_text(json, dst, size);
	json_decref(json);
	return needed;
}

static size_t
copy(const ffe_node *node, void *dst, size_t size)
{
	switch (node->kind)
	{
		case FFE_MISSING:
			return 0;
		case FFE_NULL:
			return write_text(json_null(), dst, size);
		case FFE_BOOL:
			return write_text(json_boolean(node->u.boolean), dst, size);
		case FFE_STRING:
			return write_string(node, dst, size);
		case FFE_NUMBER:
		case FFE_ARRAY:
		case FFE_OBJECT:
			return write_text(node->u.host, dst, size);
	}
	return 0;
}

const ffe_reader ffe_jansson_reader = {
	.member = member,
	.element = element,
	.next = next,
	.number = number,
	.integer = integer,
	.copy = copy,
};
