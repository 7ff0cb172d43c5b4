/*
 * sse-bridge/ring.h
 *	  The latest events of a namespace, rendered once, in one block of memory.
 *
 * Events have places, numbered from 0 on as they are put; a reader is a place and an offset in the
 * event there. New events push out the oldest. Not thread-safe.
 */
#ifndef RING_H
#define RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct ring ring;

/* There is an entry for so many bytes: events are seldom smaller, and push others out early. */
#define RING_BYTES_PER_ENTRY 256

/* An event in the ring; pointers are good until the next ring_put. */
typedef struct ring_event
{
	uint64_t id;
	const char *key; /* null-terminated */
	bool is_flag;    /* else a segment */
	const char *bytes;
	size_t len;
} ring_event;

/* A ring of so many bytes, which covers what comes after an event. NULL when there is no memory. */
extern ring *ring_new(size_t size, uint64_t covers_after);
extern void ring_free(ring *ring);

/*
 * Puts an event, whose id is above those before. False for one that is too large (or there is no
 * memory): the ring is empty then, and covers what comes after it.
 */
extern bool ring_put(ring *ring, const ring_event *event);

/* The place after the newest event, and the place of the oldest. */
extern uint64_t ring_end(const ring *ring);
extern uint64_t ring_start(const ring *ring);

/* Whether all events after one are in the ring; then ring_after is the place of the first of them.
 */
extern bool ring_covers(const ring *ring, uint64_t id);
extern uint64_t ring_after(const ring *ring, uint64_t id);

/* The event at a place, which must be from ring_start to before ring_end. */
extern void ring_at(const ring *ring, uint64_t place, ring_event *event);

/*
 * The bytes that lie together from an offset in an event on: of that event and those after it, as
 * far as the block goes. 0 at the end.
 */
extern size_t ring_span(const ring *ring, uint64_t place, size_t offset, const char **bytes);

/* Moves a reader on by so many bytes of its span. */
extern void ring_advance(const ring *ring, uint64_t *place, size_t *offset, size_t count);

/* How many bytes a reader is behind. */
extern uint64_t ring_lag(const ring *ring, uint64_t place, size_t offset);

#endif /* RING_H */
