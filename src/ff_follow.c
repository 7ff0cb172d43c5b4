/*
 * src/ff_follow.c
 *	  For programs that follow the flags from outside: all definitions at once, what happened since,
 *	  and which event a change of theirs has become.
 *
 * The rule: everything here is what the statement's snapshot shows. So definitions and the head of
 * the log that are read in one REPEATABLE READ transaction belong together, and reading on after
 * that head misses nothing and gets nothing twice.
 */
#include "ff_spi.h"
#include "ff_write.h"

#include "access/relation.h"
#include "catalog/pg_type_d.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rls.h"
#include "utils/tuplestore.h"

/* ---------- the caller's own event ---------- */

static Datum
hash_datum(const uint8 *hash)
{
	bytea *datum = palloc(VARHDRSZ + FF_HASH_BYTES);

	SET_VARSIZE(datum, VARHDRSZ + FF_HASH_BYTES);
	memcpy(VARDATA(datum), hash, FF_HASH_BYTES);
	return PointerGetDatum(datum);
}

PG_FUNCTION_INFO_V1(ff_last_event);

Datum
ff_last_event(PG_FUNCTION_ARGS)
{
	bool nulls[2] = {true, true};
	Datum values[2] = {0};
	TupleDesc desc;
	FfHead head;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE || desc->natts != 2)
		elog(ERROR, "return type must be a row type");
	if (ff_read_own_head(&head))
	{
		values[0] = Int64GetDatum(head.id);
		values[1] = hash_datum(head.hash);
		nulls[0] = nulls[1] = false;
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, values, nulls)));
}

/* ---------- namespaces ---------- */

static void
put_name(const FfRegistration *space, ffe_object object, void *arg)
{
	ReturnSetInfo *rsinfo = arg;
	bool nulls[2] = {false, false};
	Datum values[2];

	if (object != FFE_FLAG)
		return;
	values[0] = CStringGetTextDatum(space->name);
	values[1] = CStringGetTextDatum(psprintf("ff_%s", space->name));
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

PG_FUNCTION_INFO_V1(ff_list_namespaces);

Datum
ff_list_namespaces(PG_FUNCTION_ARGS)
{
	InitMaterializedSRF(fcinfo, 0);
	ff_each_readable(put_name, fcinfo->resultinfo);
	return (Datum) 0;
}

/* ---------- all definitions ---------- */

/* Rows that are in memory at once, beside those that are listed already. */
#define ROWS_AT_ONCE 500

typedef struct FfDocuments
{
	ReturnSetInfo *rsinfo;
	MemoryContext scratch;
} FfDocuments;

/* Columns of ff_documents. */
enum
{
	SPACE,
	OBJECT,
	KEY,
	VERSION,
	DEFINITION,
	COLUMNS
};

static void
put_document(const FfDocuments *documents, const FfTable *columns, const char *space, HeapTuple row,
			 TupleDesc desc)
{
	bool nulls[COLUMNS] = {false};
	Datum values[COLUMNS];

	values[SPACE] = CStringGetTextDatum(space);
	values[OBJECT] = CStringGetTextDatum(ff_object_word(columns->object));
	values[KEY] = heap_getattr(row, ff_table_column(columns, "key"), desc, &nulls[KEY]);
	values[VERSION] = heap_getattr(row, ff_table_column(columns, "version"), desc, &nulls[VERSION]);
	values[DEFINITION] = JsonbPGetDatum(ff_row_document(columns, row, desc));
	tuplestore_putvalues(documents->rsinfo->setResult, documents->rsinfo->setDesc, values, nulls);
}

static void
put_rows(const FfDocuments *documents, const char *space, ffe_object object)
{
	SPITupleTable *rows = SPI_tuptable;
	FfTable columns;

	ff_describe_result(&columns, rows->tupdesc, object);
	if (columns.missing != NULL)
		elog(ERROR, "the row has no %s", columns.missing);
	for (uint64 i = 0; i < rows->numvals; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(documents->scratch);

		CHECK_FOR_INTERRUPTS();
		put_document(documents, &columns, space, rows->vals[i], rows->tupdesc);
		MemoryContextSwitchTo(old);
		MemoryContextReset(documents->scratch);
	}
	SPI_freetuptable(rows);
}

/* A table, read as the caller. */
static void
put_table(const FfDocuments *documents, const char *space, Oid relid, ffe_object object)
{
	char *sql = psprintf("SELECT * FROM ONLY %s AS t ORDER BY t.key COLLATE pg_catalog.\"C\"",
						 ff_relation_name(relid));
	Portal portal = SPI_cursor_open_with_args(NULL, sql, 0, NULL, NULL, NULL, true, 0);

	do
	{
		SPI_cursor_fetch(portal, true, ROWS_AT_ONCE);
		put_rows(documents, space, object);
	} while (SPI_processed > 0);
	SPI_cursor_close(portal);
}

static void
put_readable(const FfRegistration *space, ffe_object object, void *arg)
{
	put_table(arg, space->name, object == FFE_FLAG ? space->flags : space->segments, object);
}

static void
check_table(const FfTable *table)
{
	ff_check_may_read(table);
	if (table->missing != NULL)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("table \"%s\" cannot hold %ss", get_rel_name(table->relid),
							   ff_object_word(table->object)),
						errdetail("It has no %s.", table->missing)));
}

/* Of a namespace that is asked for, anything that can't be read is an error. */
static void
put_namespace(const FfDocuments *documents, const char *space)
{
	FfTables tables;

	ff_named_tables(space, &tables);
	for (ffe_object object = FFE_FLAG; object <= FFE_SEGMENT; object++)
		check_table(&tables.table[object]);
	for (ffe_object object = FFE_FLAG; object <= FFE_SEGMENT; object++)
		put_table(documents, space, tables.table[object].relid, object);
}

PG_FUNCTION_INFO_V1(ff_documents);

Datum
ff_documents(PG_FUNCTION_ARGS)
{
	FfDocuments documents = {.rsinfo = (ReturnSetInfo *) fcinfo->resultinfo};
	char *space = ff_optional_text(fcinfo, 0);

	InitMaterializedSRF(fcinfo, 0);
	SPI_connect();
	documents.scratch =
		AllocSetContextCreate(CurrentMemoryContext, "ff documents", ALLOCSET_DEFAULT_SIZES);
	if (space == NULL)
		ff_each_readable(put_readable, &documents);
	else
		put_namespace(&documents, space);
	SPI_finish();
	return (Datum) 0;
}

/* ---------- what happened since ---------- */

/* Of which namespaces the caller may see events: of their flags, and of their segments. */
typedef struct FfVisible
{
	bool all;
	List *spaces[2];
} FfVisible;

/* A policy hides rows; nobody knows which events would be those of hidden ones. */
static void
add_visible(const FfRegistration *space, ffe_object object, void *arg)
{
	FfVisible *visible = arg;
	Oid relid = object == FFE_FLAG ? space->flags : space->segments;

	if (check_enable_rls(relid, InvalidOid, true) != RLS_ENABLED)
		visible->spaces[object] =
			lappend(visible->spaces[object], DatumGetPointer(CStringGetTextDatum(space->name)));
}

static void
find_visible(FfVisible *visible)
{
	Relation events = ff_open_events();
	Oid relid = RelationGetRelid(events);

	visible->all = pg_class_aclcheck(relid, GetUserId(), ACL_SELECT) == ACLCHECK_OK &&
				   check_enable_rls(relid, InvalidOid, true) != RLS_ENABLED;
	relation_close(events, AccessShareLock);
	if (!visible->all)
		ff_each_readable(add_visible, visible);
}

static Datum
names_datum(const List *names)
{
	Datum *values = palloc(sizeof(Datum) * ((Size) list_length(names) + 1));
	int count = 0;
	ListCell *cell;

	foreach (cell, names)
		values[count++] = PointerGetDatum(lfirst(cell));
	return PointerGetDatum(construct_array(values, count, TEXTOID, -1, false, TYPALIGN_INT));
}

#define IS_VISIBLE                                                                                 \
	"($1 OR object = 'flag' AND namespace = ANY ($2) OR object = 'segment' AND namespace = ANY "   \
	"($3))"

/* Runs a query over events that are visible, as the owner; its further arguments are $4 and $5. */
static FfCaller
query_events(const char *sql, Datum after, Datum limit, char limit_null)
{
	FfVisible visible = {0};
	Oid types[] = {BOOLOID, TEXTARRAYOID, TEXTARRAYOID, INT8OID, INT4OID};
	char nulls[] = {' ', ' ', ' ', ' ', limit_null, '\0'};
	Datum values[lengthof(types)];
	FfCaller caller;

	find_visible(&visible);
	values[0] = BoolGetDatum(visible.all);
	values[1] = names_datum(visible.spaces[FFE_FLAG]);
	values[2] = names_datum(visible.spaces[FFE_SEGMENT]);
	values[3] = after;
	values[4] = limit;
	caller = ff_enter_as_owner();
	ff_query(sql, true, lengthof(types), types, values, nulls);
	return caller;
}

PG_FUNCTION_INFO_V1(ff_events_after);

Datum
ff_events_after(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	FfCaller caller;

	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("after must not be null"),
						errhint("After 0 come all events.")));
	if (!PG_ARGISNULL(1) && PG_GETARG_INT32(1) < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_ROW_COUNT_IN_LIMIT_CLAUSE),
						errmsg("limit must not be negative")));
	InitMaterializedSRF(fcinfo, 0);
	caller = query_events(
		"SELECT id, occurred_at, namespace, object, key, action, actor, comment, version, "
		"old_value, new_value, hash FROM ff.events WHERE id > $4 AND " IS_VISIBLE
		" ORDER BY id LIMIT $5",
		PG_GETARG_DATUM(0), PG_ARGISNULL(1) ? (Datum) 0 : PG_GETARG_DATUM(1),
		PG_ARGISNULL(1) ? 'n' : ' ');
	for (uint64 i = 0; i < SPI_processed; i++)
		tuplestore_puttuple(rsinfo->setResult, SPI_tuptable->vals[i]);
	ff_leave(&caller);
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(ff_event_head);

Datum
ff_event_head(PG_FUNCTION_ARGS)
{
	bool nulls[2] = {true, true};
	Datum values[2] = {0};
	TupleDesc desc;
	FfCaller caller;
	HeapTuple row;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE || desc->natts != 2)
		elog(ERROR, "return type must be a row type");
	caller = query_events("SELECT id, hash FROM ff.events WHERE id > $4 AND " IS_VISIBLE
						  " ORDER BY id DESC LIMIT $5",
						  Int64GetDatum(0), Int32GetDatum(1), ' ');
	if (SPI_processed == 1)
		heap_deform_tuple(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, values, nulls);
	row = SPI_copytuple(heap_form_tuple(desc, values, nulls));
	ff_leave(&caller);
	PG_RETURN_DATUM(HeapTupleGetDatum(row));
}
