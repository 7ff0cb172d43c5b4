/*
 * src/engine/ffe_values.c
 *	  Compiling values and variants.
 *
 * The rule: variants stand in the order of their names, because readers give the members of an
 * object in whatever order they like, and the same document must mean the same to all of them.
 */
#include "ffe_build.h"

/* Checks a value inside: numbers finite, nesting bounded. */
static bool
check_json(ffe_builder *b, const ffe_node *node, uint32_t depth)
{
	ffe_iter iter = {NULL, 0};
	ffe_node name, inside;
	size_t mark;
	double number;

	if (node->kind == FFE_NUMBER && !b->reader->number(node, &number))
		return ffe_refuse_kind(b, "a finite double", node);
	if (node->kind < FFE_ARRAY)
		return true;
	if (depth == FFE_MAX_VALUE_DEPTH)
		return ffe_refuse_limit(b, "nesting of a value", depth + 1, FFE_MAX_VALUE_DEPTH);
	for (uint32_t i = 0; node->kind == FFE_ARRAY && i < node->len; i++)
	{
		b->reader->element(node, i, &inside);
		mark = ffe_enter_element(b, i);
		if (!check_json(b, &inside, depth + 1))
			return false;
		ffe_leave(b, mark);
	}
	while (node->kind == FFE_OBJECT && b->reader->next(node, &iter, &name, &inside))
	{
		mark = ffe_enter_member(b, name.u.str, name.len);
		if (!check_json(b, &inside, depth + 1))
			return false;
		ffe_leave(b, mark);
	}
	return true;
}

/* Whether two checked values are equal: numbers as doubles, objects whatever their order. */
static bool
equal_json(const ffe_reader *reader, const ffe_node *a, const ffe_node *b)
{
	ffe_iter iter = {NULL, 0};
	ffe_node name, x, y;
	double m = 0, n = 0;

	if (a->kind != b->kind || (a->kind >= FFE_STRING && a->len != b->len))
		return false;
	switch (a->kind)
	{
		case FFE_BOOL:
			return a->u.boolean == b->u.boolean;
		case FFE_NUMBER:
			return reader->number(a, &m) && reader->number(b, &n) && m == n;
		case FFE_STRING:
			return memcmp(a->u.str, b->u.str, a->len) == 0;
		case FFE_ARRAY:
			for (uint32_t i = 0; i < a->len; i++)
			{
				reader->element(a, i, &x);
				reader->element(b, i, &y);
				if (!equal_json(reader, &x, &y))
					return false;
			}
			return true;
		case FFE_OBJECT:
			while (reader->next(a, &iter, &name, &x))
			{
				if (!reader->member(b, name.u.str, name.len, &y) || !equal_json(reader, &x, &y))
					return false;
			}
			return true;
		default:
			return true;
	}
}

static const char *const type_names[] = {"boolean", "string", "number", "json"};

/* Checks a value against the flag's type and stores it; what it is goes to *out. */
bool
ffe_read_value(ffe_builder *b, ffe_type type, const ffe_node *node, ffe_variant *out)
{
	static const ffe_kind kinds[] = {FFE_BOOL, FFE_STRING, FFE_NUMBER};
	static const char *const expected[] = {"a boolean", "a string", "a number"};
	size_t size;

	if (type != FFE_TYPE_JSON && node->kind != kinds[type])
		return ffe_refuse_kind(b, expected[type], node);
	if (node->kind == FFE_NULL || node->kind == FFE_MISSING)
		return ffe_refuse_kind(b, "a value other than null", node);
	if (!check_json(b, node, 0))
		return false;
	out->value.kind = type == FFE_TYPE_JSON ? FFE_OBJECT : (uint8_t) node->kind;
	out->value.boolean = node->kind == FFE_BOOL && node->u.boolean;
	if (node->kind == FFE_NUMBER)
		(void) b->reader->number(node, &out->value.number);
	if (out->value.kind == FFE_STRING &&
		!ffe_block_string(b, node->u.str, node->len, &out->value.str))
		return false;
	size = b->reader->copy(node, NULL, 0);
	if (!ffe_block_reserve(b, size, &out->copy.off))
		return false;
	out->copy.len = (uint32_t) size;
	(void) b->reader->copy(node, b->block.data + out->copy.off, size);
	return true;
}

int
ffe_compare_names(const ffe_doc *doc, ffe_ref a, const char *b, size_t b_len)
{
	int c = memcmp(ffe_str(doc, a), b, a.len < b_len ? a.len : b_len);

	return c != 0 ? c : (a.len > b_len) - (a.len < b_len);
}

/* The number of a variant, or -1. There are few: no search is faster. */
static int32_t
find_variant(const ffe_doc *doc, const char *name, size_t len)
{
	const ffe_variant *variants = FFE_AT(doc, doc->variants, ffe_variant);

	for (uint32_t i = 0; i < doc->variants.len; i++)
	{
		if (ffe_compare_names(doc, variants[i].name, name, len) == 0)
			return (int32_t) i;
	}
	return -1;
}

/* Takes the member that names a variant; it must exist. */
bool
ffe_take_variant(ffe_builder *b, const ffe_node *object, const char *member, int32_t *out)
{
	ffe_node name;

	if (!ffe_take(b, object, member, FFE_IS(FFE_STRING), true, &name))
		return false;
	*out = find_variant(ffe_header(b), name.u.str, name.len);
	if (*out >= 0)
		return true;
	ffe_enter_member(b, member, strlen(member));
	return ffe_refuse(b, "Name one of the flag's variants, or add it to \"variants\".",
					  "no variant \"%.*s\"", ffe_cut(name.u.str, name.len, 60), name.u.str);
}

/* The variants that a boolean flag has when it names none. */
static bool
implicit_variants(ffe_builder *b, ffe_vec *variants)
{
	static const char *const names[] = {"off", "on"};

	for (int i = 0; i < 2; i++)
	{
		ffe_variant *variant = ffe_append(b, variants);

		if (variant == NULL || !ffe_block_string(b, names[i], strlen(names[i]), &variant->name))
			return false;
		variant->value.kind = FFE_BOOL;
		variant->value.boolean = i == 1;
	}
	return true;
}

/* Adds one variant at its place in the order of names, which no reader can change. */
static bool
add_variant(ffe_builder *b, ffe_vec *variants, ffe_type type, const ffe_node *name,
			const ffe_node *value)
{
	ffe_variant added;
	ffe_variant *all;
	uint32_t i;

	memset(&added, 0, sizeof(added));
	if (!ffe_valid_key(name->u.str, name->len))
		return ffe_refuse(b,
						  "A variant's name begins with a letter or digit and has letters, digits, "
						  "dots, hyphens and underscores, at most 255 in all.",
						  "not a variant's name");
	if (!ffe_block_string(b, name->u.str, name->len, &added.name) ||
		!ffe_read_value(b, type, value, &added) || ffe_append(b, variants) == NULL)
		return false;
	all = FFE_VEC_AT(*variants, ffe_variant, 0);
	for (i = variants->count - 1;
		 i > 0 && ffe_compare_names(ffe_header(b), all[i - 1].name, name->u.str, name->len) > 0;
		 i--)
		all[i] = all[i - 1];
	all[i] = added;
	return true;
}

static bool
read_variants(ffe_builder *b, ffe_type type, const ffe_node *root, ffe_vec *variants)
{
	ffe_node object, name, value;
	ffe_iter iter = {NULL, 0};
	size_t mark = ffe_enter_member(b, "variants", 8);

	ffe_leave(b, mark);
	if (!ffe_take(b, root, "variants", FFE_IS(FFE_OBJECT), false, &object))
		return false;
	if (object.kind == FFE_MISSING)
		return type != FFE_TYPE_BOOLEAN || implicit_variants(b, variants);
	ffe_enter_member(b, "variants", 8);
	if (object.len == 0)
		return ffe_refuse_kind(b, "at least one variant", &object);
	if (object.len > FFE_MAX_VARIANTS)
		return ffe_refuse_limit(b, "variants", object.len, FFE_MAX_VARIANTS);
	while (b->reader->next(&object, &iter, &name, &value))
	{
		size_t inner = ffe_enter_member(b, name.u.str, name.len);

		if (!add_variant(b, variants, type, &name, &value))
			return false;
		ffe_leave(b, inner);
	}
	ffe_leave(b, mark);
	return true;
}

/* The first variant whose value is the default, or -1. */
static int32_t
default_variant(ffe_builder *b, const ffe_node *root, const ffe_node *wanted)
{
	const ffe_doc *doc = ffe_header(b);
	const ffe_variant *variants = FFE_AT(doc, doc->variants, ffe_variant);
	ffe_node object, value;

	b->reader->member(root, "variants", 8, &object);
	for (uint32_t i = 0; i < doc->variants.len; i++)
	{
		ffe_ref name = variants[i].name;

		if (object.kind == FFE_OBJECT)
			b->reader->member(&object, ffe_str(doc, name), name.len, &value);
		else
			value = (ffe_node){.kind = FFE_BOOL, .u.boolean = variants[i].value.boolean};
		if (equal_json(b->reader, &value, wanted))
			return (int32_t) i;
	}
	return -1;
}

bool
ffe_read_type(ffe_builder *b, const ffe_node *root, ffe_type *type)
{
	ffe_node node;

	if (!ffe_take(b, root, "type", FFE_IS(FFE_STRING), true, &node))
		return false;
	for (int i = FFE_TYPE_BOOLEAN; i <= FFE_TYPE_JSON; i++)
	{
		if (ffe_node_is(&node, type_names[i]))
		{
			*type = (ffe_type) i;
			ffe_header(b)->type = (uint8_t) i;
			return true;
		}
	}
	ffe_enter_member(b, "type", 4);
	return ffe_refuse_kind(b, "\"boolean\", \"string\", \"number\" or \"json\"", &node);
}

/* Type, variants and default value. */
bool
ffe_compile_values(ffe_builder *b, const ffe_node *root)
{
	ffe_vec variants = {NULL, 0, 0, sizeof(ffe_variant)};
	ffe_variant fallback;
	ffe_node value;
	ffe_type type = FFE_TYPE_BOOLEAN;
	ffe_ref ref;
	size_t mark;
	bool done;

	memset(&fallback, 0, sizeof(fallback));
	if (!ffe_read_type(b, root, &type))
		return false;
	b->reader->member(root, "default_value", 13, &value);
	mark = ffe_enter_member(b, "default_value", 13);
	if (!ffe_read_value(b, type, &value, &fallback))
		return false;
	ffe_leave(b, mark);
	ffe_header(b)->fallback = fallback;
	ffe_header(b)->has_default = true;
	done = read_variants(b, type, root, &variants) && ffe_block_vec(b, &variants, &ref);
	if (variants.data != NULL)
		b->set->alloc.free(b->set->alloc.arg, variants.data);
	if (!done)
		return false;
	ffe_header(b)->variants = ref;
	ffe_header(b)->default_variant = default_variant(b, root, &value);
	return true;
}
