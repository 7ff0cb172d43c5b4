/*
 * sse-bridge/event_ref.c
 *	  Places in the log as text.
 */
#include "event_ref.h"

#include <inttypes.h>
#include <stdio.h>

const char *
event_ref_text(event_ref ref, char buffer[EVENT_REF_SIZE])
{
	snprintf(buffer, EVENT_REF_SIZE, "%" PRIu64 "-%08" PRIx32, ref.id, ref.hash);
	return buffer;
}

/* The value of a digit of our own hexadecimal, which has small letters; -1 of anything else. */
static int
digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool
event_ref_parse(const char *string, event_ref *ref)
{
	const char *c = string;

	*ref = (event_ref){0, 0};
	for (; *c >= '0' && *c <= '9'; c++)
	{
		if (c - string == 19 || ref->id > ((uint64_t) INT64_MAX - 9) / 10)
			return false;
		ref->id = ref->id * 10 + (uint64_t) (*c - '0');
	}
	if (c == string || *c++ != '-')
		return false;
	for (int i = 0; i < 8; i++, c++)
	{
		if (digit(*c) < 0)
			return false;
		ref->hash = ref->hash << 4 | (uint32_t) digit(*c);
	}
	return *c == '\0';
}
