/*
 * test/bridge/test_ring.c
 *	  The ring of events, against a list that forgets nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ring.h"

#define SIZE 4096
#define EVENTS 20000

typedef struct put_event
{
	uint64_t id;
	char key[16];
	char bytes[600];
	size_t len;
} put_event;

static put_event history[EVENTS];

/* An event of a random length, whose bytes tell which it is. */
static void
make_event(int i, uint64_t id)
{
	put_event *one = &history[i];

	one->id = id;
	one->len = 1 + (size_t) random() % (i % 10 == 0 ? sizeof(one->bytes) : 60);
	snprintf(one->key, sizeof(one->key), "key-%d", i % 7);
	for (size_t at = 0; at < one->len; at++)
		one->bytes[at] = (char) (i * 31 + (int) at * 7);
}

static ring_event
as_ring_event(const put_event *one)
{
	return (ring_event){
		.id = one->id, .key = one->key, .is_flag = true, .bytes = one->bytes, .len = one->len};
}

/* Everything that is in the ring is as it was put, and so much as fits is there. */
static void
check_content(const ring *ring, int put)
{
	size_t held = 0;

	assert_int_equal(ring_end(ring), put);
	for (uint64_t place = ring_start(ring); place < ring_end(ring); place++)
	{
		ring_event event;

		ring_at(ring, place, &event);
		assert_int_equal(event.id, history[place].id);
		assert_string_equal(event.key, history[place].key);
		assert_int_equal(event.len, history[place].len);
		assert_memory_equal(event.bytes, history[place].bytes, event.len);
		held += event.len;
	}
	assert_true(held <= SIZE);
	/* what doesn't fit before the end of the block leaves a gap, smaller than an event */
	assert_true(ring_start(ring) == 0 || ring_end(ring) - ring_start(ring) == 64 ||
				held + 2 * sizeof(history[0].bytes) > SIZE);
}

static void
it_keeps_the_latest(void **state)
{
	ring *ring = ring_new(SIZE, 0);
	uint64_t id = 0;

	(void) state;
	for (int i = 0; i < EVENTS; i++)
	{
		ring_event event;

		make_event(i, id += 1 + (uint64_t) random() % 3);
		event = as_ring_event(&history[i]);
		assert_true(ring_put(ring, &event));
		if (i % 97 == 0)
			check_content(ring, i + 1);
	}
	ring_free(ring);
}

/* A reader gets every byte once and in order, however it is fed, as long as it isn't pushed out. */
static void
readers_get_every_byte(void **state)
{
	ring *ring = ring_new(SIZE, 0);
	uint64_t place = 0, expected = 0;
	size_t offset = 0, expected_offset = 0;

	(void) state;
	for (int i = 0; i < EVENTS; i++)
	{
		ring_event event;
		const char *bytes;
		size_t len;

		make_event(i, (uint64_t) i + 1);
		event = as_ring_event(&history[i]);
		assert_true(ring_put(ring, &event));
		while (ring_lag(ring, place, offset) > 1000)
		{
			assert_true(place >= ring_start(ring));
			len = ring_span(ring, place, offset, &bytes);
			assert_true(len > 0);
			len = len > 700 ? 1 + (size_t) random() % 700 : len;
			ring_advance(ring, &place, &offset, len);
			for (size_t at = 0; at < len; at++)
			{
				if (expected_offset == history[expected].len)
				{
					expected++;
					expected_offset = 0;
				}
				assert_int_equal(bytes[at], history[expected].bytes[expected_offset++]);
			}
			assert_true(place >= expected && place <= expected + 1);
		}
	}
	ring_free(ring);
}

static void
it_knows_what_it_covers(void **state)
{
	ring *ring = ring_new(SIZE, 41);

	(void) state;
	assert_false(ring_covers(ring, 40));
	assert_true(ring_covers(ring, 41));
	for (int i = 0; i < 3000; i++)
	{
		ring_event event;

		make_event(i, 50 + 2 * (uint64_t) i);
		event = as_ring_event(&history[i]);
		assert_true(ring_put(ring, &event));
	}
	for (uint64_t id = 41; id < 50 + 2 * 3000; id++)
	{
		uint64_t first = id < 50 ? 0 : (id - 50) / 2 + 1; /* the first event after it */

		assert_int_equal(ring_covers(ring, id), first >= ring_start(ring));
		if (ring_covers(ring, id))
			assert_int_equal(ring_after(ring, id), first);
	}
	ring_free(ring);
}

static void
what_is_too_large_empties_it(void **state)
{
	static char large[SIZE + 1];
	ring *ring = ring_new(SIZE, 0);
	ring_event event = {.id = 1, .key = "a", .bytes = large, .len = SIZE};

	(void) state;
	assert_true(ring_put(ring, &event));
	event = (ring_event){.id = 2, .key = "b", .bytes = large, .len = SIZE + 1};
	assert_false(ring_put(ring, &event));
	assert_int_equal(ring_start(ring), ring_end(ring));
	assert_false(ring_covers(ring, 1));
	assert_true(ring_covers(ring, 2));
	event = (ring_event){.id = 3, .key = "c", .bytes = large, .len = 10};
	assert_true(ring_put(ring, &event));
	assert_int_equal(ring_after(ring, 2), ring_start(ring));
	ring_free(ring);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_keeps_the_latest),
		cmocka_unit_test(readers_get_every_byte),
		cmocka_unit_test(it_knows_what_it_covers),
		cmocka_unit_test(what_is_too_large_empties_it),
	};

	srandom(7);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
