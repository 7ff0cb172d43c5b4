/*
 * sse-bridge/event_ref.h
 *	  The place of an event in the log, as clients are told it.
 */
#ifndef EVENT_REF_H
#define EVENT_REF_H

#include <stdbool.h>
#include <stdint.h>

/* Its number, and what its chain hash begins with: that names the history which it belongs to. */
typedef struct event_ref
{
	uint64_t id;
	uint32_t hash;
} event_ref;

#define EVENT_REF_SIZE 32

/* "4711-9f86d081", in buffer. */
extern const char *event_ref_text(event_ref ref, char buffer[EVENT_REF_SIZE]);

/* Reads exactly that; false where it is anything else. The number is at most 2^63 - 1. */
extern bool event_ref_parse(const char *string, event_ref *ref);

#endif /* EVENT_REF_H */
