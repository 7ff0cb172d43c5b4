/*
 * src/ff_copy_in.c
 *	  Writing many rows by COPY, from memory.
 */
#include "ff_copy_in.h"
#include "ff_event.h"

#include "access/table.h"
#include "access/xact.h"
#include "commands/copy.h"
#include "commands/copyfrom_internal.h"
#include "libpq/pqformat.h"
#include "nodes/makefuncs.h"
#include "parser/parse_node.h"
#include "parser/parse_relation.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"

/* What COPY asks for next. Its callback has no argument: there is one at a time. */
typedef struct FfSource
{
	StringInfoData rows; /* as yet unread from .cursor on */
	int16 columns;
	uint32 next;
	uint32 count;
	FfPutRow put_row;
	const void *arg;
	bool has_ended;
} FfSource;

static FfSource *source = NULL;

static const char signature[] = "PGCOPY\n\377\r\n"; /* with the null byte at its end */

void
ff_put_text(StringInfo row, const char *string)
{
	int32 len;

	if (string == NULL)
	{
		pq_sendint32(row, (uint32) -1);
		return;
	}
	len = (int32) strlen(string);
	pq_sendint32(row, (uint32) len);
	appendBinaryStringInfoNT(row, string, len);
}

void
ff_put_int8(StringInfo row, int64 value)
{
	pq_sendint32(row, sizeof(int64));
	pq_sendint64(row, (uint64) value);
}

/* Puts the next row where COPY reads from; at the end, what says so. */
static void
put_next(void)
{
	resetStringInfo(&source->rows);
	while (source->next < source->count)
	{
		pq_sendint16(&source->rows, (uint16) source->columns);
		if (source->put_row(&source->rows, source->next++, source->arg))
			return;
		resetStringInfo(&source->rows);
	}
	if (!source->has_ended)
		pq_sendint16(&source->rows, (uint16) -1);
	source->has_ended = true;
}

static int
read_rows(void *to, int least, int most)
{
	int done = 0;

	while (done < least)
	{
		int part;

		if (source->rows.cursor == source->rows.len)
		{
			put_next();
			if (source->rows.len == 0)
				break;
		}
		part = Min(source->rows.len - source->rows.cursor, most - done);
		memcpy((char *) to + done, source->rows.data + source->rows.cursor, (size_t) part);
		source->rows.cursor += part;
		done += part;
	}
	return done;
}

static List *
column_names(const char *const *columns)
{
	List *names = NIL;

	for (; *columns != NULL; columns++)
		names = lappend(names, makeString(pstrdup(*columns)));
	return names;
}

/*
 * What COPY reads a text with: as textrecv, which would take it for one in the client's encoding.
 * Ours are in the database's, since they come from its jsonb and names; COPY's option of that name
 * doesn't reach the binary format.
 */
static Datum
receive_text(FunctionCallInfo fcinfo)
{
	StringInfo from = (StringInfo) PG_GETARG_POINTER(0);
	int len = from->len - from->cursor;

	PG_RETURN_TEXT_P(cstring_to_text_with_len(pq_getmsgbytes(from, len), len));
}

static void
receive_texts_as_they_are(CopyFromState state)
{
	ListCell *cell;

	foreach (cell, state->attnumlist)
	{
		FmgrInfo *function = &state->in_functions[lfirst_int(cell) - 1];

		if (function->fn_oid == F_TEXTRECV)
			function->fn_addr = receive_text;
	}
}

static uint64
copy(Relation rel, const char *const *columns)
{
	ParseState *parse = make_parsestate(NULL);
	List *options = list_make1(makeDefElem("format", (Node *) makeString("binary"), -1));
	CopyFromState state;
	uint64 rows;

	(void) addRangeTableEntryForRelation(parse, rel, RowExclusiveLock, NULL, false, false);
	state = BeginCopyFrom(parse, rel, NULL, NULL, false, read_rows, column_names(columns), options);
	receive_texts_as_they_are(state);
	rows = CopyFrom(state);
	EndCopyFrom(state);
	free_parsestate(parse);
	CommandCounterIncrement();
	return rows;
}

uint64
ff_copy_in(const char *table, const char *const *columns, uint32 count, FfPutRow put_row,
		   const void *arg)
{
	FfSource own = {.count = count, .put_row = put_row, .arg = arg};
	Relation rel = ff_open_own(table, RowExclusiveLock);
	volatile uint64 rows;

	while (columns[own.columns] != NULL)
		own.columns++;
	initStringInfo(&own.rows);
	appendBinaryStringInfoNT(&own.rows, signature, sizeof(signature));
	pq_sendint32(&own.rows, 0); /* flags */
	pq_sendint32(&own.rows, 0); /* length of what else the header has */
	Assert(source == NULL);
	source = &own;
	PG_TRY();
	{
		rows = copy(rel, columns);
	}
	PG_FINALLY();
	{
		source = NULL;
	}
	PG_END_TRY();
	pfree(own.rows.data);
	table_close(rel, NoLock);
	return rows;
}
