/*
 * sse-bridge/bridge.h
 *	  The bridge as a whole: what its parts share. There is one, and one thread.
 */
#ifndef BRIDGE_H
#define BRIDGE_H

#include <stdbool.h>
#include <stdint.h>

#include "config.h"
#include "flags.h"
#include "http.h"
#include "metrics.h"

struct event_base;

/* Events of the loop with the first of these go before all those with the second. */
#define PRIORITY_REQUESTS 0
#define PRIORITY_FAN_OUT 1
#define PRIORITIES 2

typedef struct bridge
{
	config config;
	metrics metrics;
	struct event_base *base;
	http_server *server;
	struct hub *hub;
	struct follower *follower;
	struct pool *pool;       /* for reads, and for writes where there is no other */
	struct pool *write_pool; /* NULL: the same */
	struct exposures *exposures;
	struct forward *forward; /* NULL: nothing is forwarded */
	bool is_draining;
} bridge;

/* CLOCK_MONOTONIC in milliseconds, and the wall clock in microseconds since 1970. */
extern uint64_t monotonic_ms(void);
extern int64_t wall_us(void);

#endif /* BRIDGE_H */
