/*
 * test/bridge/test_event_ref.c
 *	  Places in the log as text: what is written is read, and nothing else is.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "event_ref.h"

static void
what_is_written_is_read(void **state)
{
	(void) state;
	for (int i = 0; i < 100000; i++)
	{
		event_ref ref = {.id = ((uint64_t) random() << 31 | (uint64_t) random()) >> (i % 62),
						 .hash = (uint32_t) random() << 1};
		event_ref read;
		char buffer[EVENT_REF_SIZE];

		assert_true(event_ref_parse(event_ref_text(ref, buffer), &read));
		assert_true(ref.id == read.id && ref.hash == read.hash);
	}
}

static void
anything_else_is_none(void **state)
{
	static const char *const none[] = {
		"",
		"1",
		"-",
		"1-",
		"-12345678",
		"1-1234567",
		"1-123456789",
		"1-1234567g",
		"1-1234567A",
		" 1-12345678",
		"1-12345678 ",
		"+1-12345678",
		"1--1234567",
		"1-+1234567",
		"1-0x123456",
		"0x1-12345678",
		"1.0-12345678",
		"99999999999999999999-12345678",
		"9223372036854775808-12345678",
		"00000000000000000000-12345678",
		"1-12345678\n",
		"snapshot",
	};
	event_ref ref;

	(void) state;
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		assert_false(event_ref_parse(none[i], &ref));
}

/* Changed at random, it is none, or the text of what it was read as; leading zeros are not looked
 * at. */
static void
changed_at_random(void **state)
{
	(void) state;
	for (int i = 0; i < 200000; i++)
	{
		char text[] = "4711-9f86d081", again[EVENT_REF_SIZE];
		event_ref ref;

		for (int n = (int) (random() % 3); n >= 0; n--)
			text[random() % (long) (sizeof(text) - 1)] = (char) (random() % 256);
		if (event_ref_parse(text, &ref) && text[0] != '0')
			assert_string_equal(event_ref_text(ref, again), text);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read),
		cmocka_unit_test(anything_else_is_none),
		cmocka_unit_test(changed_at_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
