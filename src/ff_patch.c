/*
 * src/ff_patch.c
 *	  Documents put together and held against each other: JSON Merge Patch (RFC 7396), differences.
 */
#include "ff_write.h"

#include "catalog/pg_type_d.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"

/* The next member of an object; nested values come as they lie in their container. */
static bool
next_member(JsonbIterator **it, JsonbValue *name, JsonbValue *value)
{
	JsonbIteratorToken token = JsonbIteratorNext(it, name, true);

	if (token == WJB_BEGIN_OBJECT)
		token = JsonbIteratorNext(it, name, true);
	if (token != WJB_KEY)
		return false;
	(void) JsonbIteratorNext(it, value, true);
	return true;
}

static bool
find_member(JsonbContainer *object, const JsonbValue *name, JsonbValue *out)
{
	return object != NULL && getKeyJsonValueFromContainer(object, name->val.string.val,
														  name->val.string.len, out) != NULL;
}

/* An object inside a value, or NULL. */
static JsonbContainer *
inner_object(const JsonbValue *value)
{
	return value->type == jbvBinary && JsonContainerIsObject(value->val.binary.data)
			   ? value->val.binary.data
			   : NULL;
}

static JsonbValue *merge(JsonbParseState **state, JsonbContainer *target, JsonbContainer *patch);

/* One member of the result: the patch's value over the target's (NULL: it has none). */
static void
push_patched(JsonbParseState **state, JsonbValue *name, const JsonbValue *old, JsonbValue *new)
{
	JsonbContainer *object = inner_object(new);

	if (new->type == jbvNull)
		return;
	pushJsonbValue(state, WJB_KEY, name);
	if (object != NULL)
		(void) merge(state, old == NULL ? NULL : inner_object(old), object);
	else
		pushJsonbValue(state, WJB_VALUE, new);
}

/* What the RFC calls MergePatch, for a patch that is an object; a target of another kind is empty.
 */
static JsonbValue *
merge(JsonbParseState **state, JsonbContainer *target, JsonbContainer *patch)
{
	JsonbValue name, value, other;
	JsonbIterator *it;

	check_stack_depth();
	pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	it = target == NULL ? NULL : JsonbIteratorInit(target);
	while (it != NULL && next_member(&it, &name, &value))
	{
		if (find_member(patch, &name, &other))
			push_patched(state, &name, &value, &other);
		else
		{
			pushJsonbValue(state, WJB_KEY, &name);
			pushJsonbValue(state, WJB_VALUE, &value);
		}
	}
	it = JsonbIteratorInit(patch);
	while (next_member(&it, &name, &value))
	{
		if (!find_member(target, &name, &other))
			push_patched(state, &name, NULL, &value);
	}
	return pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

Jsonb *
ff_merge_patch(Jsonb *target, Jsonb *patch)
{
	JsonbParseState *state = NULL;

	return JsonbValueToJsonb(merge(&state, &target->root, &patch->root));
}

/* ---------- differences ---------- */

static bool
same_value(JsonbValue *a, JsonbValue *b)
{
	return compareJsonbContainers(&JsonbValueToJsonb(a)->root, &JsonbValueToJsonb(b)->root) == 0;
}

static bool
is_name(const JsonbValue *name, const char *string)
{
	return (size_t) name->val.string.len == strlen(string) &&
		   memcmp(name->val.string.val, string, strlen(string)) == 0;
}

/* Adds the members of a document that another one has not, or (where asked) has otherwise. */
static ArrayBuildState *
add_differences(ArrayBuildState *list, Jsonb *document, Jsonb *other, bool compare)
{
	JsonbIterator *it = document == NULL ? NULL : JsonbIteratorInit(&document->root);
	JsonbValue name, value, found;

	while (it != NULL && next_member(&it, &name, &value))
	{
		bool has = find_member(other == NULL ? NULL : &other->root, &name, &found);

		if (is_name(&name, "version") || is_name(&name, "created_at") ||
			is_name(&name, "updated_at") || (has && (!compare || same_value(&value, &found))))
			continue;
		list = accumArrayResult(list,
								PointerGetDatum(cstring_to_text_with_len(name.val.string.val,
																		 name.val.string.len)),
								false, TEXTOID, CurrentMemoryContext);
	}
	return list;
}

Datum
ff_changed_members(Jsonb *old, Jsonb *new)
{
	ArrayBuildState *list = add_differences(NULL, old, new, true);

	list = add_differences(list, new, old, false);
	if (list == NULL)
		return PointerGetDatum(construct_empty_array(TEXTOID));
	return makeArrayResult(list, CurrentMemoryContext);
}
