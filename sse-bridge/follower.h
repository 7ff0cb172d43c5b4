/*
 * sse-bridge/follower.h
 *	  Follows the log of the database, and keeps the hub as it is.
 */
#ifndef FOLLOWER_H
#define FOLLOWER_H

#include "bridge.h"

typedef struct follower follower;

/* Begins at once. NULL when there is no memory. */
extern follower *follower_new(bridge *bridge);
extern void follower_free(follower *follower);

typedef enum follower_state
{
	FOLLOWER_DOWN,       /* waits before it connects again */
	FOLLOWER_CONNECTING, /* up to the first read */
	FOLLOWER_LOADING,
	FOLLOWER_READING,
	FOLLOWER_IDLE
} follower_state;

extern follower_state follower_state_of(const follower *follower);
extern const char *follower_state_name(follower_state state);

/* Whether it is connected, and has read the log since. */
extern bool follower_is_current(const follower *follower);

/* Milliseconds since the log was last read to its end; UINT64_MAX: never. */
extern uint64_t follower_age(const follower *follower);

/* Whether it asks for events from time to time, because notifications don't come. */
extern bool follower_is_polling(const follower *follower);

#endif /* FOLLOWER_H */
