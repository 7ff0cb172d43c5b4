/*
 * sse-bridge/catchup.c
 *	  Missed events from the log, one query for all streams that miss the same.
 */
#include "catchup.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "eventlog.h"
#include "pool.h"

#define EVENTS_AT_ONCE 1000

typedef struct waiter
{
	catchup_handler handler;
	void *arg; /* NULL: it has left */
} waiter;

struct catchup
{
	view *view;
	event_ref after;
	waiter *waiters;
	unsigned count;
	unsigned room;
	catchup *next;
};

/* Those that are being asked for: few, since all who miss the same share one. */
static catchup *asked = NULL;

static bool
add_waiter(catchup *one, catchup_handler handler, void *arg)
{
	if (one->count == one->room)
	{
		unsigned room = one->room == 0 ? 4 : one->room * 2;
		waiter *grown = realloc(one->waiters, sizeof(waiter) * room);

		if (grown == NULL)
			return false;
		one->waiters = grown;
		one->room = room;
	}
	one->waiters[one->count++] = (waiter){handler, arg};
	return true;
}

void
catchup_leave(catchup *one, void *arg)
{
	for (unsigned i = 0; i < one->count; i++)
	{
		if (one->waiters[i].arg == arg)
			one->waiters[i].arg = NULL;
	}
}

static void
forget(catchup *one)
{
	catchup **link = &asked;

	while (*link != one)
		link = &(*link)->next;
	*link = one->next;
}

static void
tell_all(catchup *one, const catchup_part *part)
{
	/* nobody joins any more, so that the list stays as it is */
	forget(one);
	for (unsigned i = 0; i < one->count; i++)
	{
		void *arg = one->waiters[i].arg;

		one->waiters[i].arg = NULL;
		if (arg != NULL)
			one->waiters[i].handler(arg, part);
	}
	free(one->waiters);
	free(one);
}

/* The events of the view among the rows, as a ring of their own. */
static ring *
collect(const view *view, const PGresult *rows, uint64_t after)
{
	text rendered = {0};
	ring *events = NULL;

	for (int pass = 0; pass < 2; pass++)
	{
		size_t size = 0;

		for (int i = 1; i < PQntuples(rows); i++)
		{
			log_event event;
			ring_event put;

			eventlog_read(rows, i, &event);
			if (strcmp(event.name_space, view->name) != 0)
				continue;
			rendered.len = 0;
			hub_render_event(&rendered, &event);
			size += rendered.len;
			put = (ring_event){.id = event.ref.id,
							   .key = event.key,
							   .is_flag = strcmp(event.object, "flag") == 0,
							   .bytes = rendered.bytes,
							   .len = rendered.len};
			if (pass == 1)
				(void) ring_put(events, &put);
		}
		if (size == 0)
			break;
		/* entries are counted by size, too: small events must all have one */
		if (pass == 0 && (events = ring_new(size + (size_t) PQntuples(rows) * RING_BYTES_PER_ENTRY,
											after)) == NULL)
			break;
	}
	text_free(&rendered);
	return events;
}

/* The first row is the event that the client has: it tells whether its history is ours. */
static void
take_rows(void *arg, PGresult *const *results, int count, const char *why)
{
	catchup *one = arg;
	const PGresult *rows = count == 2 ? results[1] : NULL;
	catchup_part part = {.is_known = false};
	event_ref first;

	(void) why;
	if (rows == NULL || PQresultStatus(rows) != PGRES_TUPLES_OK)
	{
		tell_all(one, NULL);
		return;
	}
	if (PQntuples(rows) > 0)
	{
		first = eventlog_ref(rows, 0, 0);
		part.is_known = first.id == one->after.id && first.hash == one->after.hash;
		part.last = eventlog_ref(rows, PQntuples(rows) - 1, 0);
		if (part.is_known)
			part.events = collect(one->view, rows, one->after.id);
	}
	tell_all(one, &part);
	ring_free(part.events);
}

catchup *
catchup_join(bridge *bridge, view *view, event_ref after, catchup_handler handler, void *arg)
{
	char before[24], limit[24];
	const pg_statement statements[] = {{.sql = SQL_PATH},
									   {.sql = "SELECT " EVENT_COLUMNS " FROM " EVENTS_AFTER
											   " ORDER BY event_id",
										.count = 2,
										.params = {before, limit}}};
	catchup *one = asked;
	const char *why;

	while (one != NULL &&
		   (one->view != view || one->after.id != after.id || one->after.hash != after.hash))
		one = one->next;
	if (one != NULL)
		return add_waiter(one, handler, arg) ? one : NULL;
	one = calloc(1, sizeof(*one));
	if (one == NULL)
		return NULL;
	*one = (catchup){.view = view, .after = after, .next = asked};
	snprintf(before, sizeof(before), "%" PRIu64, after.id - 1);
	snprintf(limit, sizeof(limit), "%d", EVENTS_AT_ONCE + 1);
	if (!add_waiter(one, handler, arg) ||
		!pool_run(bridge->pool, statements, 2, take_rows, one, &why))
	{
		free(one->waiters);
		free(one);
		return NULL;
	}
	asked = one;
	return one;
}
