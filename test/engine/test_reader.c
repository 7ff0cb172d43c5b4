/*
 * test/engine/test_reader.c
 *	  The reader of jansson documents, by the contract of ffe_reader.
 */
#include "world.h"

#define READER (&ffe_jansson_reader)

static void
kinds_and_lengths(void **state)
{
	static const struct
	{
		const char *json;
		ffe_kind kind;
		uint32_t len;
	} cases[] = {
		{"null", FFE_NULL, 0},
		{"true", FFE_BOOL, 0},
		{"false", FFE_BOOL, 0},
		{"5", FFE_NUMBER, 0},
		{"5.5", FFE_NUMBER, 0},
		{"'größe'", FFE_STRING, 7},
		{"''", FFE_STRING, 0},
		{"[]", FFE_ARRAY, 0},
		{"[1, 2]", FFE_ARRAY, 2},
		{"{}", FFE_OBJECT, 0},
		{"{'a': {'b': 1}}", FFE_OBJECT, 1},
	};

	(void) state;
	for (size_t i = 0; i < LENGTH(cases); i++)
	{
		json_t *json = json_from(cases[i].json);
		ffe_node node = ffe_jansson_node(json);

		assert_int_equal(node.kind, cases[i].kind);
		if (node.kind >= FFE_STRING)
			assert_int_equal(node.len, cases[i].len);
		if (node.kind == FFE_BOOL)
			assert_int_equal(node.u.boolean, json_is_true(json));
		if (node.kind == FFE_STRING)
			assert_ptr_equal(node.u.str, json_string_value(json));
		if (node.kind == FFE_NUMBER || node.kind > FFE_STRING)
			assert_ptr_equal(node.u.host, json);
		assert_int_equal(json->refcount == (size_t) -1 ? 1 : json->refcount, 1);
		json_decref(json);
	}
	assert_int_equal(ffe_jansson_node(NULL).kind, FFE_MISSING);
}

static void
members(void **state)
{
	json_t *json = json_from("{'a': 1, 'ab': null, '': true, 'größe': 'x'}");
	ffe_node object = ffe_jansson_node(json);
	ffe_node out;

	(void) state;
	assert_true(READER->member(&object, "a", 1, &out));
	assert_int_equal(out.kind, FFE_NUMBER);
	/* a name is as long as it is said to be */
	assert_true(READER->member(&object, "abc", 2, &out));
	assert_int_equal(out.kind, FFE_NULL);
	assert_true(READER->member(&object, "", 0, &out));
	assert_int_equal(out.kind, FFE_BOOL);
	assert_true(READER->member(&object, "größe", 7, &out));
	assert_int_equal(out.kind, FFE_STRING);
	assert_false(READER->member(&object, "abc", 3, &out));
	assert_int_equal(out.kind, FFE_MISSING);
	assert_false(READER->member(&object, "A", 1, &out));
	json_decref(json);
}

static void
elements(void **state)
{
	json_t *json = json_from("[null, 5, 'x', [6]]");
	ffe_node array = ffe_jansson_node(json);
	static const ffe_kind kinds[] = {FFE_NULL, FFE_NUMBER, FFE_STRING, FFE_ARRAY};

	(void) state;
	assert_int_equal(array.len, LENGTH(kinds));
	for (uint32_t i = 0; i < array.len; i++)
	{
		ffe_node out;

		READER->element(&array, i, &out);
		assert_int_equal(out.kind, kinds[i]);
	}
	json_decref(json);
}

/* Every member once, and the end stays the end. */
static void
iteration(void **state)
{
	(void) state;
	for (unsigned count = 0; count < 300; count = count * 2 + 1)
	{
		json_t *json = json_from(text("{%s}", series("'m%1$u': %1$u", count)));
		ffe_node object = ffe_jansson_node(json);
		ffe_iter iter = {NULL, 0};
		ffe_node name, value;
		bool seen[300] = {false};
		unsigned members = 0;

		while (READER->next(&object, &iter, &name, &value))
		{
			unsigned n;

			assert_int_equal(name.kind, FFE_STRING);
			assert_int_equal(name.u.str[0], 'm');
			n = (unsigned) strtoul(name.u.str + 1, NULL, 10);
			assert_in_range(n, 0, count - 1);
			assert_int_equal(name.len, strlen(text("m%u", n)));
			assert_false(seen[n]);
			seen[n] = true;
			assert_int_equal(json_integer_value(value.u.host), n);
			members++;
		}
		assert_int_equal(members, count);
		assert_false(READER->next(&object, &iter, &name, &value));
		assert_false(READER->next(&object, &iter, &name, &value));
		json_decref(json);
	}
}

static void
numbers(void **state)
{
	static const struct
	{
		const char *json;
		double number;
	} cases[] = {
		{"0", 0},
		{"-5", -5},
		{"2.5", 2.5},
		{"1.7976931348623157e308", 1.7976931348623157e308},
		{"9007199254740993", 9007199254740992.0},
		{"9223372036854775807", 9223372036854775808.0},
		{"-9223372036854775808", -9223372036854775808.0},
	};

	(void) state;
	for (size_t i = 0; i < LENGTH(cases); i++)
	{
		json_t *json = json_from(cases[i].json);
		ffe_node node = ffe_jansson_node(json);
		double number = -1;

		assert_true(READER->number(&node, &number));
		assert_true(number == cases[i].number);
		json_decref(json);
	}
}

/* Integers to the digit, reals as the decimals that lead to them. */
static void
integers(void **state)
{
	static const struct
	{
		const char *json;
		int decimals;
		bool is_one;
		int64_t integer;
	} cases[] = {
		{"0", 0, true, 0},
		{"-5", 3, true, -5000},
		{"12.345", 3, true, 12345},
		{"-0.001", 3, true, -1},
		{"12.3455", 3, false, 0},
		{"12.5", 0, false, 0},
		{"5.0", 0, true, 5},
		{"9007199254740992", 0, true, INT64_C(9007199254740992)},
		{"9007199254740992", 3, true, INT64_C(9007199254740992000)},
		{"9007199254740993", 0, false, 0},
		{"-9223372036854775808", 0, false, 0},
		{"1e300", 0, false, 0},
	};

	(void) state;
	for (size_t i = 0; i < LENGTH(cases); i++)
	{
		json_t *json = json_from(cases[i].json);
		ffe_node node = ffe_jansson_node(json);
		int64_t integer = 0;

		assert_int_equal(READER->integer(&node, cases[i].decimals, &integer), cases[i].is_one);
		if (cases[i].is_one)
			assert_true(integer == cases[i].integer);
		json_decref(json);
	}
}

/* ---------- copies ---------- */

/* A node's copy as a string: measured first, then written into just as many bytes. */
static void
check_copy(const char *json, const char *wanted)
{
	json_t *parsed = json_from(json);
	ffe_node node = ffe_jansson_node(parsed);
	size_t size = READER->copy(&node, NULL, 0);
	char *bytes = malloc(size + 1);

	assert_int_equal(size, strlen(wanted));
	assert_non_null(bytes);
	memset(bytes, '#', size + 1);
	/* with too little room nothing is written at all */
	assert_int_equal(READER->copy(&node, bytes, size - 1), size);
	assert_int_equal(bytes[0], '#');
	assert_int_equal(READER->copy(&node, bytes, size), size);
	assert_int_equal(bytes[size], '#');
	assert_memory_equal(bytes, wanted, size);
	free(bytes);
	json_decref(parsed);
}

static void
copies(void **state)
{
	(void) state;
	check_copy("null", "null");
	check_copy("true", "true");
	check_copy("false", "false");
	check_copy("5", "5");
	check_copy("0.1", "0.1");
	check_copy("0.30000000000000004", "0.30000000000000004");
	check_copy("[1.1, 3.14e100, 5e-324]", "[1.1,3.14e100,4.94065645841247e-324]");
	check_copy("-9223372036854775808", "-9223372036854775808");
	check_copy("12.5", "12.5");
	check_copy("'größe'", "\"größe\"");
	check_copy("''", "\"\"");
	check_copy("'a\\\"b\\\\c\\n\\u0001'", "\"a\\\"b\\\\c\\n\\u0001\"");
	check_copy("[ ]", "[]");
	check_copy("{ 'b' : [1, {'d': null, 'c': 'x'}], 'a' : true }",
			   "{\"a\":true,\"b\":[1,{\"c\":\"x\",\"d\":null}]}");
}

/* Members come sorted, so that equal documents have equal copies. */
static void
copies_are_sorted(void **state)
{
	(void) state;
	check_copy("{'z': 1, 'a': 2, 'm': 3}", "{\"a\":2,\"m\":3,\"z\":1}");
	check_copy("{'m': 3, 'z': 1, 'a': 2}", "{\"a\":2,\"m\":3,\"z\":1}");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kinds_and_lengths),
		cmocka_unit_test(members),
		cmocka_unit_test(elements),
		cmocka_unit_test(iteration),
		cmocka_unit_test(numbers),
		cmocka_unit_test(integers),
		cmocka_unit_test(copies),
		cmocka_unit_test(copies_are_sorted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
