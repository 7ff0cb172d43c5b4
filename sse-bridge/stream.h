/*
 * sse-bridge/stream.h
 *	  Streams of events to clients: each is a place in the ring of its namespace.
 */
#ifndef STREAM_H
#define STREAM_H

#include <stdbool.h>

#include "bridge.h"
#include "hub.h"

typedef struct stream stream;

/* GET /stream, for a namespace that is there or may come. last is Last-Event-ID; NULL: none. */
extern void stream_open(bridge *bridge, http_request *request, view *view, const char *last,
						const char *keys, const char *prefix);

/* The same while nothing is loaded yet: the client is told to come back soon. */
extern void stream_put_off(bridge *bridge, http_request *request);

/* Sends what there is, as far as the socket takes it. The stream may be gone after. */
extern void stream_send(stream *one);

/* Every stream of a view begins anew, with a snapshot: what it was sent is no history any more. */
extern void streams_reset(view *view);

/* The head has moved: those that waited for it go on. */
extern void streams_resume(hub *hub);

/* Called once a second: keepalives, and the end of streams that are too far behind or too old. */
extern void streams_tick(bridge *bridge);

/* Bytes of the ring that the streams of a view have not taken yet. */
extern uint64_t streams_lag(const view *view);

/* Ends so many streams, told to come back soon. True when there are no more. */
extern bool streams_drain(bridge *bridge, unsigned count);

#endif /* STREAM_H */
