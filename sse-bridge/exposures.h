/*
 * sse-bridge/exposures.h
 *	  Who was shown what by the bridge's own evaluations, kept until the database has it.
 *
 * Deduplicated for each window, as in the server; written in batches that have a name, so that one
 * whose outcome is unknown is sent again and counts once.
 */
#ifndef EXPOSURES_H
#define EXPOSURES_H

#include "bridge.h"
#include "flags.h"

typedef struct exposures exposures;

extern exposures *exposures_new(bridge *bridge);
extern void exposures_free(exposures *all);

/* Notes an answer that was given, if it exposes somebody to a variant of an active experiment. */
extern void exposures_note(exposures *all, flag_space *space, const flag_answer *answer);

/* Called once a second: writes when it is time. */
extern void exposures_tick(exposures *all);

/* Writes what there is now; exposures_pending tells when it is done. */
extern void exposures_flush(exposures *all);

/* Entries that the database doesn't have yet. */
extern unsigned exposures_pending(const exposures *all);

#endif /* EXPOSURES_H */
