/*
 * test/engine/world_check.c
 *	  The assertions of the engine's unit tests.
 *
 * The rule: a table of cases is checked to its end, and every case that is wrong is printed with
 * what was written, expected and found, before the test fails.
 */
#include "world.h"

/* ---------- results ---------- */

bool
is_utf8(const char *string)
{
	json_t *json = string == NULL ? NULL : json_string(string);

	json_decref(json);
	return json != NULL;
}

const char *
variant_of(const ffe_result *result)
{
	size_t len;
	const char *variant = ffe_result_variant(result, &len);

	return variant == NULL ? NULL : text("%.*s", (int) len, variant);
}

const char *
rule_of(const ffe_result *result)
{
	size_t len;
	const char *rule = ffe_result_rule(result, &len);

	return rule == NULL ? NULL : text("%.*s", (int) len, rule);
}

static bool
same(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static const char *
or_none(const char *string)
{
	return string == NULL ? "(none)" : string;
}

/* What came out, for people. */
static const char *
describe(world *w, const ffe_result *result)
{
	char message[512];

	ffe_result_message(w->set, result, message, sizeof(message));
	return text("%s, variant %s, rule %s, %s \"%s\"", ffe_reason_name(result->reason),
				or_none(variant_of(result)), or_none(rule_of(result)),
				ffe_status_name(result->status), message);
}

void
expect_at(world *w, const char *flag, const char *context, ffe_reason reason, const char *variant,
		  const char *rule, const char *file, int line)
{
	const ffe_result *result = world_evaluate(w, flag, context);

	if (result->reason == reason && result->status == FFE_OK && same(variant_of(result), variant) &&
		same(rule_of(result), rule))
		return;
	print_error("%s for %s\n  expected %s, variant %s, rule %s\n  got %s\n", flag, or_none(context),
				ffe_reason_name(reason), or_none(variant), or_none(rule), describe(w, result));
	_fail(file, line);
}

void
expect_error_at(world *w, const char *flag, const char *context, ffe_status status,
				const char *culprit, const char *file, int line)
{
	const ffe_result *result = world_evaluate(w, flag, context);
	const char *named = NULL;
	char message[512];

	ffe_result_message(w->set, result, message, sizeof(message));
	if (result->culprit != FFE_NO_ID)
		named = ffe_set_key(w->set, result->culprit, NULL);
	if (result->reason == FFE_ERROR_FALLBACK && result->status == status && !result->exposed &&
		same(named, culprit) && message[0] != '\0' && is_utf8(message))
		return;
	print_error("%s for %s\n  expected %s by %s\n  got %s by %s\n", flag, or_none(context),
				ffe_status_name(status), or_none(culprit), describe(w, result), or_none(named));
	_fail(file, line);
}

/* ---------- definitions ---------- */

/* Compiles a definition in a world of its own, where nothing must be left behind. */
static ffe_status
try_definition(ffe_object object, const char *json, ffe_error *error)
{
	world *w = world_new();
	json_t *definition = json_from(json);
	ffe_node root = ffe_jansson_node(definition);
	ffe_doc *doc = (ffe_doc *) w; /* to see that it is set */
	ffe_status status;

	memset(error, 0x5a, sizeof(*error));
	status = ffe_compile(w->set, object, &ffe_jansson_reader, &root, &doc, error);
	assert_true((status == FFE_OK) == (doc != NULL));
	ffe_doc_free(w->set, doc);
	json_decref(definition);
	world_free(w);
	return status;
}

/* Whether it was refused so; prints how it was not. */
static bool
is_refused(ffe_object object, const char *json, ffe_status wanted, const char *path,
		   const char *part)
{
	ffe_error error;
	ffe_status status = try_definition(object, json, &error);

	if (status == FFE_OK)
	{
		print_error("%.300s\n  expected %s at \"%s\"\n  but it is taken\n", json,
					ffe_status_name(wanted), path);
		return false;
	}
	if (status == wanted && error.status == wanted && strcmp(error.path, path) == 0 &&
		error.message[0] != '\0' && (strstr(error.message, part) || strstr(error.hint, part)) &&
		is_utf8(error.path) && is_utf8(error.message) && is_utf8(error.hint))
		return true;
	print_error("%.300s\n  expected %s at \"%s\", \"%s\"\n  got %s at \"%s\", \"%s\" (%s)\n", json,
				ffe_status_name(wanted), path, part, ffe_status_name(status), error.path,
				error.message, error.hint);
	return false;
}

/* Whether it was taken; prints what it was refused for. */
static bool
is_taken(ffe_object object, const char *json)
{
	ffe_error error;
	ffe_status status = try_definition(object, json, &error);

	if (status == FFE_OK)
		return true;
	print_error("%.300s\n  is good, but refused: %s at \"%s\", \"%s\" (%s)\n", json,
				ffe_status_name(status), error.path, error.message, error.hint);
	return false;
}

void
expect_refused_at(ffe_object object, const char *json, ffe_status status, const char *path,
				  const char *part, const char *file, int line)
{
	if (!is_refused(object, json, status, path, part))
		_fail(file, line);
}

void
expect_taken_at(ffe_object object, const char *json, const char *file, int line)
{
	if (!is_taken(object, json))
		_fail(file, line);
}

/* The format's %s replaced by json. Not printf: JSON may hold a %. */
static char *
fill_in(const char *format, const char *json)
{
	const char *place = format == NULL ? NULL : strstr(format, "%s");
	char *filled;

	if (place == NULL)
		filled = strdup(json);
	else if (asprintf(&filled, "%.*s%s%s", (int) (place - format), format, json, place + 2) < 0)
		filled = NULL;
	assert_non_null(filled);
	return filled;
}

void
check_refusals_at(ffe_object object, const char *format, ffe_status status, const refusal *rows,
				  size_t count, const char *file, int line)
{
	size_t wrong = 0;

	for (const refusal *row = rows; row < rows + count; row++)
	{
		char *json = fill_in(format, row->json);

		if (row->path == NULL)
			wrong += !is_taken(object, json);
		else
			wrong += !is_refused(object, json, status, row->path, row->part);
		free(json);
	}
	if (wrong == 0)
		return;
	print_error("%zu of %zu definitions are judged wrong\n", wrong, count);
	_fail(file, line);
}

/* ---------- changing a definition ---------- */

/* The value that path goes through next; *path moves behind it. key is empty for an element. */
static json_t *
step_into(json_t *json, const char **path, char key[64], size_t *index)
{
	int len = 0;

	key[0] = '\0';
	if (sscanf(*path, "[%zu]%n", index, &len) == 1 && len > 0)
		*path += len;
	else if (sscanf(*path, ".%63[^.[]%n", key, &len) == 1 ||
			 sscanf(*path, "%63[^.[]%n", key, &len) == 1)
		*path += len;
	else
		fail_msg("no path: %s", *path);
	return key[0] == '\0' ? json_array_get(json, *index) : json_object_get(json, key);
}

static void
change(json_t *json, const char *path, json_t *value)
{
	size_t index = 0;
	char key[64];
	json_t *inside = step_into(json, &path, key, &index);

	if (path[0] != '\0')
	{
		assert_non_null(inside);
		change(inside, path, value);
	}
	else if (value == NULL)
		assert_int_equal(json_object_del(json, key), 0);
	else if (key[0] != '\0')
		assert_int_equal(json_object_set_new(json, key, value), 0);
	else
		assert_int_equal(json_array_set_new(json, index, value), 0);
}

const char *
changed(const char *json, const char *path, const char *value)
{
	json_t *parsed = json_from(json);
	const char *copy;
	char *dumped;

	change(parsed, path, value == NULL ? NULL : json_from(value));
	dumped = json_dumps(parsed, JSON_COMPACT);
	assert_non_null(dumped);
	copy = text("%s", dumped);
	free(dumped);
	json_decref(parsed);
	return copy;
}

/* ---------- conditions ---------- */

/* The flags a condition is tried with: each shape is a condition made of it. */
static const struct
{
	const char *key;
	const char *before;
	const char *after;
	bool negated;
} shapes[] = {
	{"plain", "", "", false},
	{"not", "{'not': ", "}", true},
	{"all", "{'all': [", ", {'not': {'attr': 'no_such', 'op': 'exists'}}]}", false},
	{"any", "{'any': [{'attr': 'no_such', 'op': 'exists'}, ", "]}", false},
};

static void
put_condition(world *w, const char *condition)
{
	for (size_t i = 0; i < LENGTH(shapes); i++)
		put_flag(w, text("{'key': '%s', 'type': 'boolean', 'default_value': false, "
						 "'rules': [{'id': 'r', 'serve': 'on', 'if': %s%s%s}]}",
						 shapes[i].key, shapes[i].before, condition, shapes[i].after));
	put_segment(w, text("{'key': 's', 'if': %s}", condition));
	put_flag(w, "{'key': 'segment', 'type': 'boolean', 'default_value': false, "
				"'rules': [{'id': 'r', 'serve': 'on', 'if': {'segment': 's'}}]}");
}

/* Whether flag says whether, by its rule or by its default; prints where it doesn't. */
static bool
says(world *w, const char *flag, const char *condition, const char *context, bool whether)
{
	const ffe_result *result = world_evaluate(w, flag, context);
	ffe_reason reason = whether ? FFE_RULE_MATCH : FFE_DEFAULT;

	if (result->status == FFE_OK && result->reason == reason)
		return true;
	print_error("%s\n  for %s, as \"%s\"\n  expected %s\n  got %s\n", condition, context, flag,
				ffe_reason_name(reason), describe(w, result));
	return false;
}

static bool
row_is_right(const row *row)
{
	world *w = world_new();
	bool right = true;

	put_condition(w, row->condition);
	for (size_t i = 0; i < LENGTH(shapes) && right; i++)
		right =
			says(w, shapes[i].key, row->condition, row->context, row->holds != shapes[i].negated);
	right = right && says(w, "segment", row->condition, row->context, row->holds);
	world_free(w);
	return right;
}

void
check_rows_at(const row *rows, size_t count, const char *file, int line)
{
	size_t wrong = 0;

	for (size_t i = 0; i < count; i++)
		wrong += !row_is_right(&rows[i]);
	if (wrong == 0)
		return;
	print_error("%zu of %zu conditions are wrong\n", wrong, count);
	_fail(file, line);
}

/* The condition and the context of an operator's row. */
static bool
op_row_is_right(const op_row *op, bool ignore_case)
{
	char *value = op->value == NULL ? NULL : fill_in(", 'value': %s", op->value);
	char *context = op->attribute == NULL ? NULL : fill_in("{'a': %s}", op->attribute);
	char *condition;
	int len = asprintf(&condition, "{'attr': 'a', 'op': '%s'%s%s}", op->op,
					   value == NULL ? "" : value, ignore_case ? ", 'ignore_case': true" : "");
	bool right;

	assert_true(len > 0);
	right = row_is_right(&(row){condition, context == NULL ? "{}" : context, op->holds});
	free(value);
	free(context);
	free(condition);
	return right;
}

void
check_op_rows_at(const op_row *rows, size_t count, bool ignore_case, const char *file, int line)
{
	size_t wrong = 0;

	for (size_t i = 0; i < count; i++)
		wrong += !op_row_is_right(&rows[i], ignore_case);
	if (wrong == 0)
		return;
	print_error("%zu of %zu operators are wrong\n", wrong, count);
	_fail(file, line);
}
