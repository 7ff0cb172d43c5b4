/*
 * sse-bridge/pool.h
 *	  Some connections to the database for calls of the API, kept open.
 */
#ifndef POOL_H
#define POOL_H

#include "bridge.h"
#include "pg.h"

typedef struct pool pool;

/*
 * Takes the results of a call, which are freed when it returns; count is 0 where there are none:
 * why tells what happened to the connection. What was sent may have been done all the same.
 */
typedef void (*pool_handler)(void *arg, PGresult *const *results, int count, const char *why);

/* NULL when there is no memory. Connecting begins at once. */
extern pool *pool_new(bridge *bridge, const char *conninfo);

/* Closes all connections; calls that are not answered never are. */
extern void pool_free(pool *pool);

/*
 * Sends statements together, when a connection is free. Texts and parameters need not outlive the
 * call. False, and handler isn't called, where the database is away, or too many calls wait
 * already: *why tells.
 */
extern bool pool_run(pool *pool, const pg_statement *statements, int count, pool_handler handler,
					 void *arg, const char **why);

/* How many connections there are, and how many calls wait. */
extern unsigned pool_ready(const pool *pool);
extern unsigned pool_waiting(const pool *pool);

#endif /* POOL_H */
