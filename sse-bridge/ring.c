/*
 * sse-bridge/ring.c
 *	  The ring of events; what it promises is in ring.h.
 *
 * Bytes lie together from event to event, up to the end of the block, so that a reader that is
 *behind by many has them sent at once. What doesn't fit before that end goes to its start, and
 *leaves a gap.
 */
#include "ring.h"

#include <stdlib.h>
#include <string.h>

typedef struct entry
{
	uint64_t id;
	uint64_t at; /* counted from the first byte ever put, gaps included */
	uint32_t len;
	bool is_flag;
	char *key;
} entry;

struct ring
{
	char *bytes;
	size_t size;
	uint64_t head; /* where the next byte goes, if there is room before the end of the block */
	uint64_t gap;  /* the last place from which on the block was left empty */
	entry *entries;
	uint64_t room; /* of entries: a power of two */
	uint64_t start;
	uint64_t end;
	uint64_t covers_after;
};

static entry *
entry_at(const ring *ring, uint64_t place)
{
	return &ring->entries[place & (ring->room - 1)];
}

ring *
ring_new(size_t size, uint64_t covers_after)
{
	ring *new = calloc(1, sizeof(*new));

	if (new == NULL)
		return NULL;
	new->size = size;
	new->covers_after = covers_after;
	new->gap = UINT64_MAX;
	for (new->room = 64; new->room < size / RING_BYTES_PER_ENTRY; new->room *= 2)
		;
	new->bytes = malloc(size);
	new->entries = calloc(new->room, sizeof(entry));
	if (new->bytes == NULL || new->entries == NULL)
	{
		ring_free(new);
		return NULL;
	}
	return new;
}

void
ring_free(ring *ring)
{
	if (ring == NULL)
		return;
	for (uint64_t i = 0; ring->entries != NULL && i < ring->room; i++)
		free(ring->entries[i].key);
	free(ring->entries);
	free(ring->bytes);
	free(ring);
}

static void
push_out(ring *ring)
{
	entry *oldest = entry_at(ring, ring->start++);

	ring->covers_after = oldest->id;
	free(oldest->key);
	oldest->key = NULL;
}

/* Makes room for so many bytes that lie together, and one entry. */
static void
make_room(ring *ring, size_t len)
{
	size_t used = ring->head % ring->size;

	if (used + len > ring->size)
	{
		ring->gap = ring->head;
		ring->head += ring->size - used;
	}
	while (ring->start < ring->end &&
		   (ring->end - ring->start == ring->room ||
			entry_at(ring, ring->start)->at + ring->size < ring->head + len))
		push_out(ring);
}

bool
ring_put(ring *ring, const ring_event *event)
{
	char *key = event->len > ring->size ? NULL : strdup(event->key);
	entry *fresh;

	/* who is behind can't have it from here */
	if (key == NULL)
	{
		while (ring->start < ring->end)
			push_out(ring);
		ring->covers_after = event->id;
		return false;
	}
	make_room(ring, event->len);
	fresh = entry_at(ring, ring->end++);
	*fresh = (entry){.id = event->id,
					 .at = ring->head,
					 .len = (uint32_t) event->len,
					 .is_flag = event->is_flag,
					 .key = key};
	memcpy(ring->bytes + ring->head % ring->size, event->bytes, event->len);
	ring->head += event->len;
	return true;
}

uint64_t
ring_end(const ring *ring)
{
	return ring->end;
}

uint64_t
ring_start(const ring *ring)
{
	return ring->start;
}

bool
ring_covers(const ring *ring, uint64_t id)
{
	return id >= ring->covers_after;
}

uint64_t
ring_after(const ring *ring, uint64_t id)
{
	uint64_t low = ring->start;
	uint64_t high = ring->end;

	while (low < high)
	{
		uint64_t middle = low + (high - low) / 2;

		if (entry_at(ring, middle)->id <= id)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

void
ring_at(const ring *ring, uint64_t place, ring_event *event)
{
	const entry *one = entry_at(ring, place);

	*event = (ring_event){.id = one->id,
						  .key = one->key,
						  .is_flag = one->is_flag,
						  .bytes = ring->bytes + one->at % ring->size,
						  .len = one->len};
}

size_t
ring_span(const ring *ring, uint64_t place, size_t offset, const char **bytes)
{
	uint64_t from, until;

	if (place >= ring->end)
		return 0;
	from = entry_at(ring, place)->at + offset;
	*bytes = ring->bytes + from % ring->size;

	/* up to where the block ends, or was left empty, or is not written yet */
	until = from - from % ring->size + ring->size;
	if (ring->gap != UINT64_MAX && from < ring->gap && ring->gap < until)
		until = ring->gap;
	if (ring->head < until)
		until = ring->head;
	return (size_t) (until - from);
}

void
ring_advance(const ring *ring, uint64_t *place, size_t *offset, size_t count)
{
	*offset += count;
	while (*place < ring->end && *offset >= entry_at(ring, *place)->len)
	{
		*offset -= entry_at(ring, *place)->len;
		(*place)++;
	}
}

uint64_t
ring_lag(const ring *ring, uint64_t place, size_t offset)
{
	if (place >= ring->end)
		return 0;
	return ring->head - entry_at(ring, place)->at - offset;
}
