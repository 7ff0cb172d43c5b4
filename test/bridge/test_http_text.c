/*
 * test/bridge/test_http_text.c
 *	  Percent-encoding and UTF-8.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "http_text.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

static void
what_decodes(void **state)
{
	static const struct
	{
		const char *text;
		bool plus;
		const char *decoded; /* NULL: refused */
	} cases[] = {
		{"", false, ""},
		{"abc", false, "abc"},
		{"a+b", false, "a+b"},
		{"a+b", true, "a b"},
		{"%41%2f%2F", false, "A//"},
		{"%c3%a4", false, "\xC3\xA4"},
		{"%25", false, "%"},
		{"%2541", false, "%41"},
		{"%", false, NULL},
		{"%4", false, NULL},
		{"a%4", false, NULL},
		{"%4g", false, NULL},
		{"%g4", false, NULL},
		{"%%41", false, NULL},
		{"%+1", true, NULL},
		{"%00", false, NULL},
		{"a%00b", false, NULL},
		{"%ff", false, NULL},
		{"%c3", false, NULL},
		{"%c0%af", false, NULL},    /* an overlong "/" */
		{"%e0%80%af", false, NULL}, /* and a longer one */
		{"%ed%a0%80", false, NULL}, /* a surrogate */
		{"%f4%8f%bf%bf", false, "\xF4\x8F\xBF\xBF"},
		{"%f4%90%80%80", false, NULL}, /* beyond Unicode */
		{"%f0%9f%98%80", false, "\xF0\x9F\x98\x80"},
		{"%80", false, NULL},
		{"\xC3\xA4", false, "\xC3\xA4"},
		{"\xFF", false, NULL},
	};

	(void) state;
	for (size_t i = 0; i < LENGTH(cases); i++)
	{
		char out[32];
		bool decoded = http_decode(cases[i].text, strlen(cases[i].text), cases[i].plus, out);

		if (decoded != (cases[i].decoded != NULL))
			fail_msg("%s was %s", cases[i].text, decoded ? "decoded" : "refused");
		if (decoded)
			assert_string_equal(out, cases[i].decoded);
	}
}

/* Only len bytes count, whatever follows. */
static void
no_byte_behind_the_end(void **state)
{
	char out[8];

	(void) state;
	assert_false(http_decode("%41", 2, false, out));
	assert_false(http_decode("%41", 1, false, out));
	assert_true(http_decode("ab%41", 2, false, out));
	assert_string_equal(out, "ab");
	assert_false(http_is_utf8("\xC3\xA4", 1));
	assert_true(http_is_utf8("\xC3\xA4", 2));
	assert_true(http_is_utf8("", 0));
}

static void
tokens(void **state)
{
	static const char token[] = "!#$%&'*+-.^_`|~0123456789"
								"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

	(void) state;
	for (int c = 0; c < 256; c++)
		assert_int_equal(http_is_token((char) c), c != 0 && strchr(token, c) != NULL);
}

static void
reasons(void **state)
{
	(void) state;
	assert_string_equal(http_reason(200), "OK");
	assert_string_equal(http_reason(505), "HTTP Version Not Supported");
	assert_string_equal(http_reason(299), "Unknown");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_decodes),
		cmocka_unit_test(no_byte_behind_the_end),
		cmocka_unit_test(tokens),
		cmocka_unit_test(reasons),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
