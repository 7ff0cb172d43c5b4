/*
 * src/ff_jsonb.c
 *	  jsonb for the engine: reading it in place, and keeping values of flags as jsonb.
 *
 * The rule: reading allocates nothing and throws nothing. The layout of a jsonb container and of a
 * numeric is that of the server's on-disk format (utils/jsonb.h, utils/adt/numeric.c), which
 * pg_upgrade keeps.
 */
#include "ff.h"

#include <math.h>

#include "utils/builtins.h"
#include "utils/numeric.h"

/* Objects up to this size are searched in one pass; beyond, the server's binary search is better.
 */
#define LINEAR_LIMIT 40

/* ---------- nodes ---------- */

static uint32
container_count(const JsonbContainer *container)
{
	return container->header & JB_CMASK;
}

/* The value of an entry that begins at offset and ends at end in the container's data. */
static inline void
set_node(const char *data, JEntry entry, uint32 offset, uint32 end, ffe_node *out)
{
	const JsonbContainer *inside;

	if (JBE_ISSTRING(entry))
	{
		out->kind = FFE_STRING;
		out->len = end - offset;
		out->u.str = data + offset;
	}
	else if (JBE_ISNUMERIC(entry))
	{
		out->kind = FFE_NUMBER;
		out->u.host = data + INTALIGN(offset);
	}
	else if (JBE_ISBOOL(entry))
	{
		out->kind = FFE_BOOL;
		out->u.boolean = JBE_ISBOOL_TRUE(entry);
	}
	else if (JBE_ISNULL(entry))
		out->kind = FFE_NULL;
	else
	{
		inside = (const JsonbContainer *) (data + INTALIGN(offset));
		out->kind = JsonContainerIsObject(inside) ? FFE_OBJECT : FFE_ARRAY;
		out->len = container_count(inside);
		out->u.host = inside;
	}
}

/* Child number i of a container, counting the keys of an object first, then its values. */
static void
child(const JsonbContainer *container, uint32 i, ffe_node *out)
{
	uint32 count = container_count(container);
	uint32 children = JsonContainerIsObject(container) ? 2 * count : count;
	uint32 offset = getJsonbOffset(container, i);

	set_node((const char *) &container->children[children], container->children[i], offset,
			 offset + getJsonbLength(container, i), out);
}

ffe_node
ff_jsonb_node(Jsonb *jsonb)
{
	ffe_node node = {.kind = FFE_NULL};

	if (JB_ROOT_IS_SCALAR(jsonb))
		child(&jsonb->root, 0, &node);
	else
	{
		node.kind = JB_ROOT_IS_OBJECT(jsonb) ? FFE_OBJECT : FFE_ARRAY;
		node.len = JB_ROOT_COUNT(jsonb);
		node.u.host = &jsonb->root;
	}
	return node;
}

/* ---------- members ---------- */

/* Where an entry ends, given where it begins. */
static inline uint32
entry_end(JEntry entry, uint32 offset)
{
	return JBE_HAS_OFF(entry) ? JBE_OFFLENFLD(entry) : offset + JBE_OFFLENFLD(entry);
}

static bool
large_member(const JsonbContainer *container, const char *name, size_t len, ffe_node *out)
{
	JsonbValue value;

	if (getKeyJsonValueFromContainer((JsonbContainer *) container, name, (int) len, &value) == NULL)
	{
		out->kind = FFE_MISSING;
		return false;
	}
	switch (value.type)
	{
		case jbvString:
			out->kind = FFE_STRING;
			out->len = (uint32) value.val.string.len;
			out->u.str = value.val.string.val;
			break;
		case jbvNumeric:
			out->kind = FFE_NUMBER;
			out->u.host = value.val.numeric;
			break;
		case jbvBool:
			out->kind = FFE_BOOL;
			out->u.boolean = value.val.boolean;
			break;
		case jbvBinary:
			out->kind = JsonContainerIsObject(value.val.binary.data) ? FFE_OBJECT : FFE_ARRAY;
			out->len = container_count(value.val.binary.data);
			out->u.host = value.val.binary.data;
			break;
		default:
			out->kind = FFE_NULL;
			break;
	}
	return true;
}

/*
 * Keys are sorted by length, then by bytes, and lie before the values. One pass adds up lengths to
 * find the key, and goes on adding until it is at the value.
 */
static bool
member(const ffe_node *object, const char *name, size_t len, ffe_node *out)
{
	const JsonbContainer *container = object->u.host;
	const JEntry *entries = container->children;
	uint32 count = object->len;
	const char *data = (const char *) &entries[2 * count];
	uint32 offset = 0;
	uint32 end = 0;
	uint32 i;

	if (unlikely(count > LINEAR_LIMIT))
		return large_member(container, name, len, out);
	for (i = 0; i < count; i++, offset = end)
	{
		end = entry_end(entries[i], offset);
		if (end - offset < len)
			continue;
		if (end - offset > len)
			break;
		if (memcmp(data + offset, name, len) == 0)
		{
			uint32 value = i + count;

			for (i++; i <= value; i++)
			{
				offset = end;
				end = entry_end(entries[i], offset);
			}
			set_node(data, entries[value], offset, end, out);
			return true;
		}
	}
	out->kind = FFE_MISSING;
	return false;
}

ffe_node
ff_jsonb_member(const ffe_node *object, const char *name)
{
	ffe_node found = {.kind = FFE_MISSING};

	if (object->kind == FFE_OBJECT)
		(void) member(object, name, strlen(name), &found);
	return found;
}

static void
element(const ffe_node *array, uint32_t i, ffe_node *out)
{
	child(array->u.host, i, out);
}

static bool
next(const ffe_node *object, ffe_iter *iter, ffe_node *name, ffe_node *value)
{
	if (iter->index >= object->len)
		return false;
	child(object->u.host, iter->index, name);
	child(object->u.host, iter->index + object->len, value);
	iter->index++;
	return true;
}

/* ---------- numbers ---------- */

#define NUMERIC_NEGATIVE 0x4000
#define NUMERIC_SHORT_FORM 0x8000
#define NUMERIC_SPECIAL_FORM 0xC000
#define NUMERIC_FORM_MASK 0xC000

/*
 * A numeric of few digits as a double: whole digits and a power of ten that doubles hold exactly,
 * so that the one multiplication or division rounds to the nearest, as reading its text would.
 */
static bool
small_number(const char *numeric, double *out)
{
	static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
									1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
									1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
	uint16 header;
	int weight, ndigits, exponent;
	const int16 *digits;
	bool negative;
	uint64 whole = 0;

	memcpy(&header, numeric + VARHDRSZ, sizeof(header));
	if ((header & NUMERIC_FORM_MASK) != NUMERIC_SHORT_FORM)
		return false;
	negative = (header & 0x2000) != 0;
	weight = (header & 0x003F) | ((header & 0x0040) ? ~0x003F : 0);
	digits = (const int16 *) (numeric + VARHDRSZ + sizeof(header));
	ndigits = (int) ((VARSIZE(numeric) - VARHDRSZ - sizeof(header)) / sizeof(int16));
	if (ndigits > 4)
		return false;
	for (int i = 0; i < ndigits; i++)
		whole = whole * 10000 + (uint64) digits[i];
	exponent = ndigits == 0 ? 0 : 4 * (weight - ndigits + 1);
	if (whole > (UINT64CONST(1) << 53) || exponent > 22 || exponent < -22)
		return false;
	*out = exponent >= 0 ? (double) whole * powers[exponent] : (double) whole / powers[-exponent];
	if (negative)
		*out = -*out;
	return true;
}

static bool
number(const ffe_node *node, double *out)
{
	if (likely(small_number(node->u.host, out)))
		return true;
	*out = DatumGetFloat8(
		DirectFunctionCall1(numeric_float8_no_overflow, PointerGetDatum(node->u.host)));
	return isfinite(*out);
}

/* A numeric's digits, each worth 10000^weight, the next ones less. */
typedef struct FfDigits
{
	const int16 *digits;
	int ndigits;
	int weight;
	bool negative;
} FfDigits;

static bool
get_digits(const char *numeric, FfDigits *out)
{
	const char *start = numeric + VARHDRSZ;
	uint16 header;
	int16 weight;

	memcpy(&header, start, sizeof(header));
	start += sizeof(header);
	if ((header & NUMERIC_FORM_MASK) == NUMERIC_SPECIAL_FORM)
		return false;
	if ((header & NUMERIC_FORM_MASK) == NUMERIC_SHORT_FORM)
	{
		out->negative = (header & 0x2000) != 0;
		out->weight = (header & 0x003F) | ((header & 0x0040) ? ~0x003F : 0);
	}
	else
	{
		memcpy(&weight, start, sizeof(weight));
		start += sizeof(weight);
		out->negative = (header & NUMERIC_FORM_MASK) == NUMERIC_NEGATIVE;
		out->weight = weight;
	}
	out->digits = (const int16 *) start;
	out->ndigits = (int) ((numeric + VARSIZE(numeric) - start) / (int) sizeof(int16));
	return true;
}

/* The digit worth 10000^weight; 0 where none is written. */
static int64
digit_of(const FfDigits *number, int weight)
{
	int i = number->weight - weight;

	return i >= 0 && i < number->ndigits ? number->digits[i] : 0;
}

/* Digit by digit, as it is written: a double may have lost the ones that make it no integer. */
static bool
integer(const ffe_node *node, int decimals, int64_t *out)
{
	static const int64 powers[] = {1, 10, 100, 1000};
	const int64 exact = INT64CONST(1) << 53;
	const int64 step = 10000 / powers[decimals];
	FfDigits number;
	int64 whole = 0;
	int64 fraction;

	if (!get_digits(node->u.host, &number) || number.weight > 3)
		return false;
	for (int weight = 3; weight >= 0; weight--)
		whole = whole * 10000 + digit_of(&number, weight);
	fraction = digit_of(&number, -1);

	/* no digit is written behind the last that is not zero */
	if (whole > exact || fraction % step != 0 || number.ndigits - number.weight > 2)
		return false;
	whole = whole * powers[decimals] + fraction / step;
	*out = number.negative ? -whole : whole;
	return whole <= exact * powers[decimals];
}

/* ---------- values ---------- */

/* Bytes of a container, header and all. */
static uint32
container_size(const JsonbContainer *container)
{
	uint32 count = container_count(container);
	uint32 children = JsonContainerIsObject(container) ? 2 * count : count;
	uint32 size = offsetof(JsonbContainer, children) + children * sizeof(JEntry);

	if (children > 0)
		size += getJsonbOffset(container, (int) children - 1) +
				getJsonbLength(container, (int) children - 1);
	return size;
}

static Jsonb *
scalar_jsonb(const ffe_node *node)
{
	JsonbValue value;

	switch (node->kind)
	{
		case FFE_STRING:
			value.type = jbvString;
			value.val.string.val = unconstify(char *, node->u.str);
			value.val.string.len = (int) node->len;
			break;
		case FFE_NUMBER:
			value.type = jbvNumeric;
			value.val.numeric = unconstify(void *, node->u.host);
			break;
		case FFE_BOOL:
			value.type = jbvBool;
			value.val.boolean = node->u.boolean;
			break;
		default:
			value.type = jbvNull;
			break;
	}
	return JsonbValueToJsonb(&value);
}

/* A value as a jsonb of its own. */
static size_t
copy(const ffe_node *node, void *dst, size_t size)
{
	Jsonb *scalar;
	size_t needed;

	if (node->kind == FFE_OBJECT || node->kind == FFE_ARRAY)
	{
		needed = VARHDRSZ + container_size(node->u.host);
		if (needed <= size)
		{
			SET_VARSIZE(dst, needed);
			memcpy(VARDATA(dst), node->u.host, needed - VARHDRSZ);
		}
		return needed;
	}
	scalar = scalar_jsonb(node);
	needed = VARSIZE(scalar);
	if (needed <= size)
		memcpy(dst, scalar, needed);
	pfree(scalar);
	return needed;
}

const ffe_reader ff_jsonb_reader = {member, element, next, number, integer, copy};
