/*
 * src/ff_exposure_stats.c
 *	  Looking at the exposure buffer: what is in it, its books, and whether it works at all.
 */
#include "ff_buffer.h"
#include "ff_flush.h"
#include "ff_note.h"

#include "access/htup_details.h"
#include "access/xlog.h"
#include "catalog/pg_database.h"
#include "commands/extension.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

static Datum
optional_text(const char *string, bool *isnull)
{
	*isnull = string == NULL;
	return string == NULL ? (Datum) 0 : CStringGetTextDatum(string);
}

/* ---------- what is in it ---------- */

#define EXPOSURE_COLUMNS 9

static void
put_exposure(void *arg, const FfExposure *exposure, const char *text)
{
	ReturnSetInfo *rsinfo = arg;
	bool nulls[EXPOSURE_COLUMNS] = {false};
	Datum values[EXPOSURE_COLUMNS];
	FfRow row;

	ff_fill_row(&row, exposure, text);
	values[0] = CStringGetTextDatum(row.name_space);
	values[1] = CStringGetTextDatum(row.flag_key);
	values[2] = CStringGetTextDatum(row.variant_key);
	values[3] = optional_text(row.user_id, &nulls[3]);
	values[4] = TimestampTzGetDatum(exposure->time);
	values[5] = CStringGetTextDatum(ffe_reason_name((ffe_reason) exposure->reason));
	values[6] = optional_text(row.rule_id, &nulls[6]);
	values[7] = Int64GetDatum(exposure->version);
	values[8] = Int64GetDatum(exposure->count);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

PG_FUNCTION_INFO_V1(ff_exposure_buffer);

Datum
ff_exposure_buffer(PG_FUNCTION_ARGS)
{
	FfDatabase *database;

	InitMaterializedSRF(fcinfo, 0);
	if (!ff_buffer_exists())
		return (Datum) 0;
	ff_note_push();
	database = ff_own_database();
	if (database != NULL)
		ff_buffer_list(ff_database_number(database), put_exposure, fcinfo->resultinfo);
	return (Datum) 0;
}

/* ---------- the books ---------- */

#define STATS_COLUMNS 14

/* What is known of a database, as it was at one moment. */
static FfDatabase
copy_database(const FfDatabase *database)
{
	FfDatabase copy;

	LWLockAcquire(ff_buffer_lock(), LW_SHARED);
	copy = *database;
	LWLockRelease(ff_buffer_lock());
	return copy;
}

static void
fill_counts(Datum *values, const FfExposureCounts *counts)
{
	values[0] = Int64GetDatum(counts->noted);
	values[1] = Int64GetDatum(counts->flushed);
	values[2] = Int64GetDatum(counts->dropped);
	values[3] = Int64GetDatum(counts->buffered);
	values[4] = Int64GetDatum(counts->refused);
	values[5] = Int64GetDatum(counts->entries);
	values[6] = Int64GetDatum((int64) ff_buffer_capacity());
}

static void
fill_flushes(Datum *values, bool *nulls, const FfDatabase *database)
{
	Interval *duration = palloc0(sizeof(Interval));

	duration->time = database->last_duration;
	nulls[7] = nulls[8] = nulls[9] = database->last_flush == 0;
	values[7] = TimestampTzGetDatum(database->last_flush);
	values[8] = IntervalPGetDatum(duration);
	values[9] = Int64GetDatum(database->last_rows);
	values[10] = Int64GetDatum(database->errors);
	nulls[11] = nulls[12] = database->errors == 0;
	values[11] = TimestampTzGetDatum(database->last_error_at);
	values[12] = CStringGetTextDatum(database->last_error);
	nulls[13] = database->worker == 0;
	values[13] = Int32GetDatum(database->worker);
}

PG_FUNCTION_INFO_V1(ff_exposure_stats);

Datum
ff_exposure_stats(PG_FUNCTION_ARGS)
{
	bool nulls[STATS_COLUMNS] = {false};
	Datum values[STATS_COLUMNS];
	FfExposureCounts counts;
	FfDatabase *database;
	FfDatabase copy;
	TupleDesc desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (!ff_buffer_exists())
		PG_RETURN_NULL();
	ff_note_push();
	database = ff_own_database();
	if (database == NULL)
		PG_RETURN_NULL();
	ff_buffer_counts(ff_database_number(database), &counts);
	copy = copy_database(database);
	fill_counts(values, &counts);
	fill_flushes(values, nulls, &copy);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, values, nulls)));
}

/* ---------- whether it works ---------- */

static bool
is_template(void)
{
	HeapTuple row = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(MyDatabaseId));
	bool is = HeapTupleIsValid(row) && ((Form_pg_database) GETSTRUCT(row))->datistemplate;

	if (HeapTupleIsValid(row))
		ReleaseSysCache(row);
	return is;
}

/* Why no worker is there. */
static const char *
find_absence(const char **hint)
{
	if (is_template())
	{
		*hint = "SELECT ff_flush_exposures(), or ALTER DATABASE with IS_TEMPLATE false.";
		return "this database is a template, where no worker may be: exposures stay in memory";
	}
	*hint = "Look into the server's log; max_worker_processes may be too low.";
	return "no worker is there: exposures stay in memory";
}

/* What keeps exposures from being recorded, or NULL; with what to do about it. */
static const char *
find_problem(const char **hint)
{
	FfDatabase *database;

	*hint = NULL;
	if (!ff_buffer_exists())
	{
		*hint = "Add ff to shared_preload_libraries and restart the server.";
		return "ff is not preloaded: exposures are not recorded";
	}
	database = ff_own_database();
	if (database == NULL)
	{
		*hint = "Raise ff.max_databases and restart the server.";
		return "there is no room for this database: its exposures are not recorded";
	}
	if (RecoveryInProgress())
		return "this is a standby: exposures stay in memory";
	if (ff_exposure_sink != FF_SINK_MEMORY && copy_database(database).worker == 0)
		return find_absence(hint);
	return NULL;
}

PG_FUNCTION_INFO_V1(ff_status);

Datum
ff_status(PG_FUNCTION_ARGS)
{
	bool nulls[6] = {false};
	Datum values[6];
	const char *problem, *hint;
	TupleDesc desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	problem = find_problem(&hint);
	values[0] = CStringGetTextDatum(FF_VERSION);
	values[1] = BoolGetDatum(ff_buffer_exists());
	values[2] = CStringGetTextDatum(GetConfigOption("ff.exposure_mode", false, false));
	values[3] = CStringGetTextDatum(GetConfigOption("ff.exposure_sink", false, false));
	values[4] = optional_text(problem, &nulls[4]);
	values[5] = optional_text(hint, &nulls[5]);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, values, nulls)));
}
