/*
 * src/ff_usage.h
 *	  When flags were last evaluated.
 */
#ifndef FF_USAGE_H
#define FF_USAGE_H

#include "ff.h"

#include "datatype/timestamp.h"

/* How exactly it is known: what a session has noted it notes again after this time only. */
#define FF_USAGE_STEP (60 * USECS_PER_SEC)

#pragma GCC visibility push(hidden)

extern int ff_max_tracked_flags; /* ff.max_tracked_flags */
extern int ff_stale_after;       /* ff.stale_after, in seconds */

/* Whether evaluations are noted at all. */
extern bool ff_usage_is_kept(void);

/* Notes that a flag is evaluated at this time. Never waits, and never fails. */
extern void ff_note_usage(const char *name_space, const char *key, TimestampTz now);

/* When a flag was last evaluated as far as that is known: 0 where it was not since *since. */
extern TimestampTz ff_last_usage(const char *name_space, const char *key, TimestampTz *since);

#pragma GCC visibility pop

#endif /* FF_USAGE_H */
