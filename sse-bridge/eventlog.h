/*
 * sse-bridge/eventlog.h
 *	  SQL that several parts send.
 */
#ifndef EVENTLOG_H
#define EVENTLOG_H

#include <libpq-fe.h>

#include "hub.h"

/*
 * The first statement of everything that is sent: until the end of the transaction, names are those
 * of the extension, wherever it is installed. A setting of the session would not survive a pooler.
 */
#define SQL_PATH                                                                                   \
	"SELECT pg_catalog.set_config('search_path', 'pg_catalog, ' OPERATOR(pg_catalog.||) "          \
	"pg_catalog.quote_ident(n.nspname) OPERATOR(pg_catalog.||) ', pg_temp', true) "                \
	"FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n "                               \
	"ON n.oid OPERATOR(pg_catalog.=) e.extnamespace WHERE e.extname OPERATOR(pg_catalog.=) 'ff'"

/* Columns of ff_events_after, as eventlog_read wants them. */
#define EVENT_COLUMNS                                                                              \
	"event_id, left(encode(hash, 'hex'), 8), (extract(epoch FROM occurred_at) * "                  \
	"1000000)::bigint, "                                                                           \
	"namespace, object, key, action, version, new_value"

/*
 * Those after $1, $2 of them at most, and no more than so many bytes together, but for the first
 * two: definitions may be large. newest is the last one that there would be otherwise.
 */
#define EVENTS_AFTER                                                                               \
	"(SELECT *, max(event_id) OVER () AS newest, "                                                 \
	"sum(octet_length(new_value::text)) OVER (ORDER BY event_id) "                                 \
	"- octet_length(new_value::text) AS bytes_before, row_number() OVER (ORDER BY event_id) AS n " \
	"FROM ff_events_after($1, $2)) e "                                                             \
	"WHERE n <= 2 OR coalesce(bytes_before, 0) < 4000000"

/* Reads a row of them; its strings are the result's. */
extern void eventlog_read(const PGresult *result, int row, log_event *event);

/* The place of an event from its number and the beginning of its hash; all zero for null. */
extern event_ref eventlog_ref(const PGresult *result, int row, int column);

#endif /* EVENTLOG_H */
