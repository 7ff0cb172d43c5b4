/*
 * sse-bridge/catchup.h
 *	  Events that are older than the ring, read from the log for streams that missed them.
 *
 * Streams that miss the same share one query, and what it brought.
 */
#ifndef CATCHUP_H
#define CATCHUP_H

#include "hub.h"

typedef struct catchup catchup;

/* A part of the log that was read. */
typedef struct catchup_part
{
	bool is_known;  /* false: the log doesn't have the event that was asked for, or has another */
	event_ref last; /* the last event that was read, of whatever namespace */
	ring *events;   /* those of the namespace; NULL: none */
} catchup_part;

/* Takes a part: the ring is good until it returns. NULL: the log can't be read now. */
typedef void (*catchup_handler)(void *arg, const catchup_part *part);

/*
 * Asks for the events of a view after one. The answer comes from the loop, never from here. Returns
 * what to give to catchup_leave; NULL when there is no memory, or the database is away.
 */
extern catchup *catchup_join(bridge *bridge, view *view, event_ref after, catchup_handler handler,
							 void *arg);

/* Wants the answer no more. */
extern void catchup_leave(catchup *one, void *arg);

#endif /* CATCHUP_H */
