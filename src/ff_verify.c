/*
 * src/ff_verify.c
 *	  ff_verify_events: whether the log is what was written.
 *
 * The rule: a row that was altered or put between others does not fit its hash, and one that was
 * removed leaves a gap. Rows cut off the end leave neither; but then the tables hold what no
 * event says. Whoever rewrites log and tables alike is found out by nothing in the database: keep
 * the head (number and hash) elsewhere.
 */
#include "ff_spi.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

typedef struct FfVerification
{
	int64 events;
	int64 wrong; /* number of the first event that is wrong; 0: none */
	char *problem;
	FfHead head; /* the last event that is right */
	Snapshot snapshot;
	MemoryContext scratch; /* emptied after each row */
} FfVerification;

static void
found(FfVerification *v, int64 id, char *problem)
{
	v->wrong = id;
	v->problem = MemoryContextStrdup(GetMemoryChunkContext(v), problem);
}

/* ---------- the chain ---------- */

/* Checks one event against the one before it. */
static void
verify_event(FfVerification *v, const Datum *values, const bool *nulls)
{
	int64 id = nulls[FF_EVENT_ID] ? 0 : DatumGetInt64(values[FF_EVENT_ID]);
	uint8 expected[FF_HASH_BYTES];
	bytea *hash;

	v->events++;
	if (id != v->head.id + 1)
	{
		found(v, v->head.id + 1,
			  id > v->head.id + 1 ? psprintf("it was removed: the next event is " INT64_FORMAT, id)
								  : psprintf("an event has number " INT64_FORMAT, id));
		return;
	}
	ff_hash_event(v->head.hash, values, nulls, expected);
	hash = nulls[FF_EVENT_HASH] ? NULL : DatumGetByteaPP(values[FF_EVENT_HASH]);
	if (hash == NULL || VARSIZE_ANY_EXHDR(hash) != FF_HASH_BYTES ||
		memcmp(VARDATA_ANY(hash), expected, FF_HASH_BYTES) != 0)
	{
		found(v, id,
			  "it is not what was written: it, or the event before it, was altered or inserted");
		return;
	}
	v->head.id = id;
	memcpy(v->head.hash, expected, FF_HASH_BYTES);
}

static void
verify_chain(FfVerification *v)
{
	Relation rel = ff_open_events();
	Relation index =
		index_open(get_relname_relid("events_pkey", RelationGetNamespace(rel)), AccessShareLock);
	SysScanDesc scan = systable_beginscan_ordered(rel, index, v->snapshot, 0, NULL);
	HeapTuple row;

	while (v->problem == NULL &&
		   HeapTupleIsValid(row = systable_getnext_ordered(scan, ForwardScanDirection)))
	{
		Datum values[FF_EVENT_COLUMNS];
		bool nulls[FF_EVENT_COLUMNS];
		MemoryContext old = MemoryContextSwitchTo(v->scratch);

		CHECK_FOR_INTERRUPTS();
		ff_read_event_row(row, RelationGetDescr(rel), values, nulls);
		verify_event(v, values, nulls);
		MemoryContextSwitchTo(old);
		MemoryContextReset(v->scratch);
	}
	systable_endscan_ordered(scan);
	index_close(index, AccessShareLock);
	table_close(rel, AccessShareLock);
}

/* ---------- the tables ---------- */

/* What a table holds and the log does not say: the events after the head are gone, or never were.
 */
static void
found_in_table(FfVerification *v, const FfTable *table, const char *space, const char *key)
{
	found(
		v, v->head.id + 1,
		psprintf("%s \"%s\" of namespace \"%s\" is not what its last event says: later events were "
				 "removed, or it was changed behind the triggers",
				 ff_object_word(table->object), key, space));
}

static void
verify_row(FfVerification *v, const FfTable *table, const char *space, HeapTuple row,
		   TupleDesc desc)
{
	Datum values[FF_EVENT_COLUMNS];
	bool nulls[FF_EVENT_COLUMNS];
	bool isnull;
	Datum key_datum = heap_getattr(row, ff_table_column(table, "key"), desc, &isnull);
	char *key = isnull ? "" : TextDatumGetCString(key_datum);

	if (!ff_read_last_event(space, table->object, key, v->snapshot, values, nulls) ||
		nulls[FF_EVENT_NEW_VALUE] ||
		compareJsonbContainers(&DatumGetJsonbP(values[FF_EVENT_NEW_VALUE])->root,
							   &ff_row_document(table, row, desc)->root) != 0)
		found_in_table(v, table, space, key);
}

static void
verify_table(FfVerification *v, const FfTable *table, const char *space)
{
	Relation rel = ff_open_table(table->relid, true);
	SysScanDesc scan;
	HeapTuple row;

	if (rel == NULL || table->missing != NULL)
	{
		if (rel != NULL)
			table_close(rel, AccessShareLock);
		found(v, v->head.id + 1,
			  psprintf("the %s table of namespace \"%s\" cannot be read",
					   ff_object_word(table->object), space));
		return;
	}
	scan = systable_beginscan(rel, InvalidOid, false, v->snapshot, 0, NULL);
	while (v->problem == NULL && HeapTupleIsValid(row = systable_getnext(scan)))
	{
		MemoryContext old = MemoryContextSwitchTo(v->scratch);

		CHECK_FOR_INTERRUPTS();
		verify_row(v, table, space, row, RelationGetDescr(rel));
		MemoryContextSwitchTo(old);
		MemoryContextReset(v->scratch);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	if (v->problem == NULL)
	{
		ff_query_absent(table, space);
		if (SPI_processed > 0)
			found_in_table(v, table, space,
						   SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1));
	}
}

/* Every table of every namespace, as long as nothing is found. */
static void
verify_tables(FfVerification *v)
{
	FfCaller caller = ff_enter_as_owner();
	SPITupleTable *rows;
	uint64 count;

	ff_query("SELECT name, flags, segments FROM ff.namespaces ORDER BY name", true, 0, NULL, NULL,
			 NULL);
	rows = SPI_tuptable;
	count = SPI_processed;
	for (uint64 i = 0; i < count; i++)
	{
		for (int object = FFE_FLAG; object <= FFE_SEGMENT && v->problem == NULL; object++)
		{
			FfTable table;
			bool isnull;
			Oid relid =
				DatumGetObjectId(SPI_getbinval(rows->vals[i], rows->tupdesc, 2 + object, &isnull));

			ff_describe_table(&table, relid, (ffe_object) object, true);
			verify_table(v, &table, SPI_getvalue(rows->vals[i], rows->tupdesc, 1));
		}
	}
	ff_leave(&caller);
}

/* ---------- the whole ---------- */

static Datum
result_row(FunctionCallInfo fcinfo, const FfVerification *v)
{
	bytea *hash = palloc(VARHDRSZ + FF_HASH_BYTES);
	bool nulls[6] = {false};
	Datum values[6];
	TupleDesc desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	SET_VARSIZE(hash, VARHDRSZ + FF_HASH_BYTES);
	memcpy(VARDATA(hash), v->head.hash, FF_HASH_BYTES);
	nulls[2] = nulls[3] = v->problem == NULL;
	values[0] = BoolGetDatum(v->problem == NULL);
	values[1] = Int64GetDatum(v->events);
	values[2] = Int64GetDatum(v->wrong);
	values[3] = v->problem == NULL ? (Datum) 0 : CStringGetTextDatum(v->problem);
	values[4] = Int64GetDatum(v->head.id);
	values[5] = PointerGetDatum(hash);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

PG_FUNCTION_INFO_V1(ff_verify_events);

Datum
ff_verify_events(PG_FUNCTION_ARGS)
{
	FfVerification *v = palloc0(sizeof(FfVerification));

	if (ff_has_changes())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this transaction has changed flags whose events are not written yet"),
				 errhint("SET CONSTRAINTS ALL IMMEDIATE writes them now.")));
	v->snapshot = GetActiveSnapshot();
	v->scratch = AllocSetContextCreate(CurrentMemoryContext, "ff verify", ALLOCSET_DEFAULT_SIZES);
	verify_chain(v);
	if (v->problem == NULL)
		verify_tables(v);
	return result_row(fcinfo, v);
}
