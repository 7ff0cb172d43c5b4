/*
 * test/bridge/test_text.c
 *	  Text that grows, and what it makes of bytes that come from elsewhere.
 */
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "text.h"

static void
expect_json(const char *bytes, size_t len, const char *json)
{
	text one = {0};

	text_add_json(&one, bytes, len);
	assert_false(one.has_failed);
	assert_string_equal(one.bytes, json);
	text_free(&one);
}

static void
json_strings(void **state)
{
	(void) state;
	expect_json("", 0, "\"\"");
	expect_json("plain", 5, "\"plain\"");
	expect_json("a\"b\\c", 5, "\"a\\\"b\\\\c\"");
	expect_json("\n\t\x1f", 3, "\"\\u000a\\u0009\\u001f\"");
	expect_json("\0x", 2, "\"\\u0000x\"");
	expect_json("gr\xc3\xbc\xc3\x9f", 6, "\"gr\xc3\xbc\xc3\x9f\"");
	expect_json("\xf0\x9f\x98\x80", 4, "\"\xf0\x9f\x98\x80\"");
}

/* Cut off, overlong, surrogates, beyond Unicode: each byte that begins nothing is U+FFFD. */
static void
what_is_no_utf8(void **state)
{
	(void) state;
	expect_json("\xc3", 1, "\"\\ufffd\"");
	expect_json("\xc3x", 2, "\"\\ufffdx\"");
	expect_json("\xc0\xaf", 2, "\"\\ufffd\\ufffd\"");
	expect_json("\xe0\x80\xaf", 3, "\"\\ufffd\\ufffd\\ufffd\"");
	expect_json("\xed\xa0\x80", 3, "\"\\ufffd\\ufffd\\ufffd\"");
	expect_json("\xf4\x90\x80\x80", 4, "\"\\ufffd\\ufffd\\ufffd\\ufffd\"");
	expect_json("\xf0\x9f\x98", 3, "\"\\ufffd\\ufffd\\ufffd\"");
}

static void
it_grows(void **state)
{
	text one = {0};

	(void) state;
	for (int i = 0; i < 10000; i++)
		text_addf(&one, "%d,", i % 10);
	assert_int_equal(one.len, 20000);
	assert_int_equal(strlen(one.bytes), 20000);
	assert_memory_equal(one.bytes + 19990, "5,6,7,8,9,", 10);
	text_free(&one);
	assert_null(one.bytes);
}

static void
looking_in_any_case(void **state)
{
	(void) state;
	assert_true(text_has("New-Search", NULL, "search"));
	assert_true(text_has("k",
						 "The GR\xc3\x9c\xc3\x9f"
						 "E page",
						 "gr\xc3\xbc\xc3\x9f"));
	assert_true(text_has("abc", "def", "C D"));
	assert_true(text_has("abc", "", "abc "));
	assert_false(text_has("abc", NULL, "abc "));
	assert_false(text_has("abc", "def", "cd"));
	assert_true(text_has("abc", "def", ""));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(json_strings),
		cmocka_unit_test(what_is_no_utf8),
		cmocka_unit_test(it_grows),
		cmocka_unit_test(looking_in_any_case),
	};

	setlocale(LC_CTYPE, "C.UTF-8");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
