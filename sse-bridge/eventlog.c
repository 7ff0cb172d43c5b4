/*
 * sse-bridge/eventlog.c
 *	  Reading rows of the log.
 */
#include "eventlog.h"

#include <stdlib.h>

event_ref
eventlog_ref(const PGresult *result, int row, int column)
{
	event_ref ref = {0, 0};

	if (PQgetisnull(result, row, column))
		return ref;
	ref.id = strtoull(PQgetvalue(result, row, column), NULL, 10);
	ref.hash = (uint32_t) strtoul(PQgetvalue(result, row, column + 1), NULL, 16);
	return ref;
}

void
eventlog_read(const PGresult *result, int row, log_event *event)
{
	*event = (log_event){
		.ref = eventlog_ref(result, row, 0),
		.occurred_at = strtoll(PQgetvalue(result, row, 2), NULL, 10),
		.name_space = PQgetvalue(result, row, 3),
		.object = PQgetvalue(result, row, 4),
		.key = PQgetvalue(result, row, 5),
		.action = PQgetvalue(result, row, 6),
		.version = strtoll(PQgetvalue(result, row, 7), NULL, 10),
		.definition = PQgetisnull(result, row, 8) ? NULL : PQgetvalue(result, row, 8),
	};
}
