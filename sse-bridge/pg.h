/*
 * sse-bridge/pg.h
 *	  A connection to the database that never blocks the loop.
 *
 * It does one job at a time: some statements, sent together and answered together. A job that
 * isn't answered in time costs the connection, because nothing else tells whether the other end is
 * still there.
 *
 * Not thread-safe. Names are resolved by libpq, which does block: give an address, or a resolver
 * that is near.
 */
#ifndef PG_H
#define PG_H

#include <libpq-fe.h>
#include <stdbool.h>

struct event_base;

typedef struct pg_conn pg_conn;

#define PG_MAX_PARAMS 8
#define PG_MAX_STATEMENTS 8

/* A statement with parameters in text form; NULL is SQL's. */
typedef struct pg_statement
{
	const char *sql;
	int count;
	const char *params[PG_MAX_PARAMS];
} pg_statement;

typedef struct pg_ops
{
	void (*ready)(void *arg);                 /* it is connected */
	void (*lost)(void *arg, const char *why); /* it isn't, or no more; it is closed after */
	void (*notified)(void *arg, const char *channel, const char *payload); /* may be NULL */
} pg_ops;

/*
 * Takes the results of a job, one for each of its statements: those after one that failed are
 * PGRES_PIPELINE_ABORTED. They are freed when it returns. It is not called where the connection is
 * lost. It may send the next job, and must not close the connection.
 */
typedef void (*pg_handler)(void *arg, PGresult *const *results, int count);

/*
 * Begins to connect. What comes of it is told to ops from the loop, never from here; ops must
 * outlive the connection. NULL when there is no memory. timeout is for connecting, in milliseconds.
 */
extern pg_conn *pg_connect(struct event_base *base, const char *conninfo, unsigned timeout,
						   const pg_ops *ops, void *arg);

/* Closes it without a word to ops. NULL is allowed. */
extern void pg_close(pg_conn *conn);

/*
 * Sends a job. The connection must be ready and idle. Parameters need not outlive the call. timeout
 * is in milliseconds. Whatever fails is told by ops->lost, from the loop.
 */
extern void pg_send(pg_conn *conn, const pg_statement *statements, int count, unsigned timeout,
					pg_handler handler, void *arg);

/* Whether it is connected and has no job. */
extern bool pg_is_idle(const pg_conn *conn);

/* Whether its last job left a transaction open, as one does that fails in between. */
extern bool pg_in_transaction(const pg_conn *conn);

/* PQparameterStatus. */
extern const char *pg_parameter(const pg_conn *conn, const char *name);

#endif /* PG_H */
