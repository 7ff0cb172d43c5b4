/*
 * src/ff_forward.c
 *	  Rows of ff.exposures by number, for who forwards them; and where he is.
 *
 * The rule: whoever writes rows takes their numbers while he holds the lock of the flush, which is
 * his until his transaction has ended. So numbers follow the order of commits, and who has read up
 * to one finds all that comes after it above it. They have gaps: a flush that is rolled back has
 * used some, and rows go when they are old. A row that was written by hand has none.
 */
#include "ff_flush.h"
#include "ff_spi.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/pg_type_d.h"
#include "commands/sequence.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/tuplestore.h"

/* ---------- numbers ---------- */

int64
ff_take_exposure_ids(uint32 count)
{
	Relation sequence = ff_open_own("exposure_ids", AccessShareLock);
	Oid relid = RelationGetRelid(sequence);
	int64 first;

	relation_close(sequence, AccessShareLock);
	first = nextval_internal(relid, true);
	if (count > 1)
		(void) DirectFunctionCall2(setval_oid, ObjectIdGetDatum(relid),
								   Int64GetDatum(first + count - 1));
	return first;
}

/* ---------- rows by number ---------- */

/*
 * Runs a query over the rows by number. Each partition has an index, and is looked up there for as
 * many rows as are wanted, whatever the statistics say by now: a day's rows may be millions.
 */
static void
query_by_index(const char *sql, int nargs, Oid *types, Datum *values, const char *nulls)
{
	static const char *const settings[] = {"enable_seqscan", "enable_bitmapscan", "enable_sort",
										   "enable_incremental_sort", "jit"};
	int nesting = NewGUCNestLevel();

	for (int i = 0; i < (int) lengthof(settings); i++)
		(void) set_config_option(settings[i], "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
								 true, 0, false);
	ff_query(sql, true, nargs, types, values, nulls);
	AtEOXact_GUC(true, nesting);
}

PG_FUNCTION_INFO_V1(ff_exposures_after);

Datum
ff_exposures_after(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Oid types[] = {INT8OID, INT4OID};
	char nulls[] = {' ', PG_ARGISNULL(1) ? 'n' : ' ', '\0'};
	Datum values[2] = {0};

	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("after must not be null"),
						errhint("After 0 come all exposures.")));
	if (!PG_ARGISNULL(1) && PG_GETARG_INT32(1) < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_ROW_COUNT_IN_LIMIT_CLAUSE),
						errmsg("limit must not be negative")));
	InitMaterializedSRF(fcinfo, 0);
	values[0] = PG_GETARG_DATUM(0);
	if (!PG_ARGISNULL(1))
		values[1] = PG_GETARG_DATUM(1);
	SPI_connect();
	query_by_index("SELECT e.id, e.namespace, e.flag_key, e.variant_key, e.user_id, e.exposed_at,"
				   " e.reason, e.rule_id, e.flag_version, e.evaluations FROM ff.exposures AS e"
				   " WHERE e.id OPERATOR(pg_catalog.>) $1 ORDER BY e.id LIMIT $2",
				   2, types, values, nulls);
	for (uint64 i = 0; i < SPI_processed; i++)
		tuplestore_puttuple(rsinfo->setResult, SPI_tuptable->vals[i]);
	SPI_finish();
	return (Datum) 0;
}

/* ---------- cursors ---------- */

/* Whoever may read exposures may keep note of how far he is. */
static char *
check_cursor(FunctionCallInfo fcinfo)
{
	char *name = ff_required_text(fcinfo, 0, "the name of the cursor");
	Relation exposures = ff_open_own("exposures", AccessShareLock);
	AclResult allowed = pg_class_aclcheck(RelationGetRelid(exposures), GetUserId(), ACL_SELECT);

	relation_close(exposures, AccessShareLock);
	if (allowed != ACLCHECK_OK)
		aclcheck_error(allowed, OBJECT_TABLE, "exposures");
	if (name[0] == '\0' || strlen(name) > FFE_MAX_KEY)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the name of a cursor has 1 to %d bytes", FFE_MAX_KEY)));
	return name;
}

/* The first row's columns, where there is a row. */
static bool
take_row(Datum *values, bool *nulls)
{
	if (SPI_processed == 0)
		return false;
	heap_deform_tuple(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, values, nulls);
	return true;
}

PG_FUNCTION_INFO_V1(ff_exposure_cursor);

Datum
ff_exposure_cursor(PG_FUNCTION_ARGS)
{
	Oid types[] = {TEXTOID};
	Datum name = CStringGetTextDatum(check_cursor(fcinfo));
	Datum cursor[2] = {Int64GetDatum(0), 0};
	bool cursor_nulls[2] = {false, true};
	Datum newest = (Datum) 0;
	bool newest_null = true;
	FfCaller caller;
	TupleDesc desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE || desc->natts != 3)
		elog(ERROR, "return type must be a row type");
	caller = ff_enter_as_owner();
	ff_query("SELECT last_id, updated_at FROM ff.exposure_cursors WHERE name = $1", true, 1, types,
			 &name, NULL);
	(void) take_row(cursor, cursor_nulls);
	query_by_index("SELECT id FROM ff.exposures WHERE id IS NOT NULL ORDER BY id DESC LIMIT 1", 0,
				   NULL, NULL, NULL);
	(void) take_row(&newest, &newest_null);
	ff_leave(&caller);
	PG_RETURN_DATUM(HeapTupleGetDatum(
		heap_form_tuple(desc, (Datum[]){cursor[0], newest, cursor[1]},
						(bool[]){cursor_nulls[0], newest_null, cursor_nulls[1]})));
}

/* A cursor that is not there yet is at 0. */
static const char first_move[] =
	"INSERT INTO ff.exposure_cursors AS c (name, last_id, updated_at)"
	" VALUES ($1, $3, pg_catalog.statement_timestamp())"
	" ON CONFLICT (name) DO UPDATE SET last_id = EXCLUDED.last_id,"
	" updated_at = EXCLUDED.updated_at WHERE c.last_id = $2 RETURNING last_id";
static const char next_move[] =
	"UPDATE ff.exposure_cursors SET last_id = $3, updated_at = pg_catalog.statement_timestamp()"
	" WHERE name = $1 AND last_id = $2 RETURNING last_id";

PG_FUNCTION_INFO_V1(ff_move_exposure_cursor);

Datum
ff_move_exposure_cursor(PG_FUNCTION_ARGS)
{
	Oid types[] = {TEXTOID, INT8OID, INT8OID};
	Datum values[3];
	FfCaller caller;
	bool moved;

	values[0] = CStringGetTextDatum(check_cursor(fcinfo));
	if (PG_ARGISNULL(1) || PG_ARGISNULL(2))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("where a cursor is and goes must not be null"),
						errhint("One that is not there yet is at 0.")));
	if (PG_GETARG_INT64(2) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("a cursor can't go before 0")));
	values[1] = PG_GETARG_DATUM(1);
	values[2] = PG_GETARG_DATUM(2);
	caller = ff_enter_as_owner();
	ff_query(PG_GETARG_INT64(1) == 0 ? first_move : next_move, false, 3, types, values, NULL);
	moved = SPI_processed == 1;
	ff_leave(&caller);
	PG_RETURN_BOOL(moved);
}
