/*
 * sse-bridge/forward.h
 *	  Forwards the rows of ff.exposures to an HTTP endpoint, at least once, from a cursor that the
 *	  database keeps.
 *
 * Each request has up to 100 rows as JSON, and says by whom and when it was made:
 *
 *		FF-Batch: <first id>-<last id>
 *		FF-Signature: t=<seconds since 1970>,v1=<hex of HMAC-SHA256(secret, t "." body)>
 */
#ifndef FORWARD_H
#define FORWARD_H

#include "bridge.h"

typedef struct forward forward;

/* Begins at once. NULL, said in the log, where the secret can't be read, or there is no memory. */
extern forward *forward_new(bridge *bridge);
extern void forward_free(forward *forward);

/* Called once a second. */
extern void forward_tick(forward *forward);

/* Rows that are not forwarded yet, as far as is known. */
extern uint64_t forward_lag(const forward *forward);

#endif /* FORWARD_H */
