/*
 * test/engine/test_values.c
 *	  What a result serves: values of each type, in the host's own form, and the default's variant.
 */
#include "world.h"

/* The value of flag f for a context: kind, and what of it is set. */
static ffe_value
value_of(world *w, const char *context)
{
	ffe_value value;

	memset(&value, 0x5a, sizeof(value));
	ffe_result_value(world_evaluate(w, "f", context), &value);
	return value;
}

/* The text that the reader's copy function made of it. */
static const char *
copy_of(const ffe_value *value)
{
	return text("%.*s", (int) value->copy_len, (const char *) value->copy);
}

/* A flag whose default is first, and whose variant v, served where a is there, is second. */
static void
put_values(world *w, const char *type, const char *first, const char *second)
{
	put_flag(w, text("{'key': 'f', 'type': '%s', 'default_value': %s, 'variants': {'v': %s},"
					 " 'rules': [{'if': {'attr': 'a', 'op': 'exists'}, 'serve': 'v'}]}",
					 type, first, second));
}

static void
booleans(void **state)
{
	world *w = world_new();
	ffe_value value;

	(void) state;
	put_values(w, "boolean", "true", "false");
	value = value_of(w, "{}");
	assert_int_equal(value.kind, FFE_BOOL);
	assert_true(value.boolean);
	assert_string_equal(copy_of(&value), "true");
	value = value_of(w, "{'a': 1}");
	assert_int_equal(value.kind, FFE_BOOL);
	assert_false(value.boolean);
	assert_string_equal(copy_of(&value), "false");
	world_free(w);
}

/* on and off, which nobody wrote, have no copy. */
static void
implicit_booleans(void **state)
{
	world *w = world_new();
	ffe_value value;

	(void) state;
	put_flag(w, "{'key': 'f', 'type': 'boolean', 'default_value': false,"
				" 'rules': [{'if': {'attr': 'a', 'op': 'exists'}, 'serve': 'on'}]}");
	value = value_of(w, "{'a': 1}");
	assert_int_equal(value.kind, FFE_BOOL);
	assert_true(value.boolean);
	assert_null(value.copy);
	value = value_of(w, "{}");
	assert_int_equal(value.kind, FFE_BOOL);
	assert_false(value.boolean);
	assert_string_equal(variant_of(&w->result), "off");
	world_free(w);
}

static void
strings(void **state)
{
	static const char *const values[] = {"", "x", "größe", "a\\\"b\\\\c", "tab\\tend", "日本語"};
	static const char *const decoded[] = {"", "x", "größe", "a\"b\\c", "tab\tend", "日本語"};
	world *w = world_new();

	(void) state;
	for (size_t i = 0; i < LENGTH(values); i++)
	{
		json_t *written;
		ffe_value value;

		put_values(w, "string", text("'%s'", values[i]), "'other'");
		value = value_of(w, "{}");
		assert_int_equal(value.kind, FFE_STRING);
		assert_int_equal(value.str_len, strlen(decoded[i]));
		assert_memory_equal(value.str, decoded[i], value.str_len);
		written = json_loadb(value.copy, value.copy_len, JSON_DECODE_ANY, NULL);
		assert_non_null(written);
		assert_string_equal(json_string_value(written), decoded[i]);
		json_decref(written);
		value = value_of(w, "{'a': 1}");
		assert_int_equal(value.str_len, 5);
		assert_memory_equal(value.str, "other", 5);
	}
	world_free(w);
}

static void
numbers(void **state)
{
	static const struct
	{
		const char *json;
		double number;
	} cases[] = {{"0", 0},         {"-1", -1},         {"2.5", 2.5},
				 {"1e300", 1e300}, {"1e-300", 1e-300}, {"9007199254740993", 9007199254740992.0},
				 {"0.1", 0.1}};
	world *w = world_new();

	(void) state;
	for (size_t i = 0; i < LENGTH(cases); i++)
	{
		ffe_value value;

		put_values(w, "number", cases[i].json, "7");
		value = value_of(w, "{}");
		assert_int_equal(value.kind, FFE_NUMBER);
		assert_true(value.number == cases[i].number);
		assert_true(strtod(copy_of(&value), NULL) == cases[i].number);
		value = value_of(w, "{'a': 1}");
		assert_true(value.number == 7);
		assert_string_equal(copy_of(&value), "7");
	}
	world_free(w);
}

/* A json value has its copy alone, whatever it is. */
static void
json_values(void **state)
{
	static const char *const values[] = {
		"{}", "[]", "true", "'x'", "5", "[1,null,{'a':'b'}]", "{'a':1,'b':{'c':[]}}"};
	world *w = world_new();

	(void) state;
	for (size_t i = 0; i < LENGTH(values); i++)
	{
		json_t *written, *wanted = json_from(values[i]);
		ffe_value value;

		put_values(w, "json", "'default'", values[i]);
		value = value_of(w, "{'a': 1}");
		assert_int_equal(value.kind, FFE_OBJECT);
		written = json_loadb(value.copy, value.copy_len, JSON_DECODE_ANY, NULL);
		assert_true(json_equal(written, wanted));
		assert_int_equal((uintptr_t) value.copy % 8, 0);
		json_decref(written);
		json_decref(wanted);
		value = value_of(w, "{}");
		assert_string_equal(copy_of(&value), "\"default\"");
	}
	world_free(w);
}

/* ---------- the default's variant ---------- */

static void
the_default_is_a_variant_of_that_value(void **state)
{
	static const struct
	{
		const char *type;
		const char *value;
		const char *variants;
		const char *variant;
	} cases[] = {
		{"boolean", "true", "{'yes': true, 'no': false}", "yes"},
		{"boolean", "false", "{'yes': true, 'no': false}", "no"},
		{"boolean", "false", "{'yes': true}", NULL},
		{"string", "'x'", "{'a': 'X', 'b': 'x', 'c': 'x'}", "b"},
		{"string", "'x'", "{'c': 'x', 'b': 'x'}", "b"}, /* the first by name */
		{"string", "'x'", "{'B': 'x', 'a': 'x', 'b': 'x'}", "B"},
		{"string", "'x'", "{'a': 'y'}", NULL},
		{"string", "'x'", "{'aa': 'x', 'a': 'x', 'a.b': 'x'}", "a"},
		{"number", "1", "{'a': 1.0}", "a"},
		{"number", "0", "{'a': -0.0}", "a"},
		{"number", "1", "{'a': 1.0000001}", NULL},
		{"json", "{'a': 1, 'b': [2]}", "{'x': {'b': [2], 'a': 1}}", "x"},
		{"json", "{'a': 1, 'b': [2]}", "{'x': {'b': [2.0], 'a': 1}}", "x"},
		{"json", "{'a': 1}", "{'x': {'a': 1, 'b': 1}, 'y': {'a': '1'}, 'z': [1]}", NULL},
		{"json", "[1, 2]", "{'x': [2, 1], 'y': [1], 'z': [1, 2]}", "z"},
		{"json", "{'a': null}", "{'x': {}, 'y': {'b': null}, 'z': {'a': null}}", "z"},
		{"json", "false", "{'x': 0, 'y': '', 'z': false}", "z"},
	};
	world *w = world_new();

	(void) state;
	for (size_t i = 0; i < LENGTH(cases); i++)
	{
		put_flag(w, text("{'key': 'f', 'type': '%s', 'default_value': %s, 'variants': %s}",
						 cases[i].type, cases[i].value, cases[i].variants));
		expect(w, "f", "{}", FFE_DEFAULT, cases[i].variant, NULL);
		put_flag(w, text("{'key': 'f', 'type': '%s', 'default_value': %s, 'variants': %s,"
						 " 'enabled': false}",
						 cases[i].type, cases[i].value, cases[i].variants));
		expect(w, "f", "{}", FFE_KILL_SWITCH, cases[i].variant, NULL);
	}
	world_free(w);
}

/* On an error the default is served, where there is one. */
static void
errors_have_the_default(void **state)
{
	world *w = world_new();
	ffe_value value;

	(void) state;
	put_values(w, "number", "1.5", "2");
	assert_int_equal(world_evaluate(w, "f", "[]")->status, FFE_INVALID_CONTEXT);
	value = value_of(w, "[]");
	assert_int_equal(value.kind, FFE_NUMBER);
	assert_true(value.number == 1.5);
	world_remove(w, FFE_FLAG, "f");
	value = value_of(w, "{}");
	assert_int_equal(value.kind, FFE_MISSING);
	assert_null(value.copy);
	assert_null(value.str);
	world_free(w);
}

/* A result points into its document, not into what came after it. */
static void
values_outlive_the_evaluation(void **state)
{
	world *w = world_new();
	ffe_value value;

	(void) state;
	put_values(w, "string", "'the default'", "'another'");
	value = value_of(w, "{}");
	for (unsigned i = 0; i < 10; i++)
		world_evaluate(w, "f", "{'a': 1}");
	world_begin(w, NULL);
	assert_memory_equal(value.str, "the default", value.str_len);
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(booleans),
		cmocka_unit_test(implicit_booleans),
		cmocka_unit_test(strings),
		cmocka_unit_test(numbers),
		cmocka_unit_test(json_values),
		cmocka_unit_test(the_default_is_a_variant_of_that_value),
		cmocka_unit_test(errors_have_the_default),
		cmocka_unit_test(values_outlive_the_evaluation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
