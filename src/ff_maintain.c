/*
 * src/ff_maintain.c
 *	  Upkeep of what is kept of exposures: partitions, retention, and the check of sample ratios.
 *
 * There is a default partition, so that no row is ever refused for its time. That rules out DETACH
 * CONCURRENTLY, which can't be run by a function either: an old partition is dropped under a lock
 * that is waited for only briefly, because all who come after wait behind us. Who reads for long
 * puts the dropping off to the next time, and holds up nobody.
 *
 * Each step is a subtransaction: what is in the way of one, as a view that depends on a partition,
 * keeps the others from nothing.
 */
#include "ff_flush.h"
#include "ff_maintain.h"
#include "ff_spi.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "commands/extension.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

#define DAYS_BEHIND 1
#define DAYS_AHEAD 7
#define LOCK_TIMEOUT "1s"
#define MAX_TIMEOUTS 3 /* after which the rest is put off, too: others wait behind us each time */

int ff_exposure_retention = 90 * SECS_PER_DAY;

/* A step of upkeep, about some names, and with a number of rows to tell of. */
typedef int64 (*FfStep)(char **names);

static void
ask(const char *sql)
{
	ff_query(sql, false, 0, NULL, NULL, NULL);
}

/* The rows of what was asked, whose columns are texts: column i of row r at [r * columns + i]. */
static char **
answers(int columns, int *rows)
{
	SPITupleTable *table = SPI_tuptable;
	char **values;

	*rows = (int) SPI_processed;
	values = palloc(sizeof(char *) * (Size) (*rows * columns + 1));
	for (int r = 0; r < *rows; r++)
	{
		for (int i = 0; i < columns; i++)
			values[r * columns + i] = SPI_getvalue(table->vals[r], table->tupdesc, i + 1);
	}
	return values;
}

/* ---------- steps ---------- */

static void
warn(const ErrorData *error, bool is_put_off, const char *what)
{
	ff_note_flush_error(error->message);
	ereport(WARNING,
			(errcode(error->sqlerrcode), errmsg("could not %s: %s", what, error->message),
			 error->detail == NULL ? 0 : errdetail_internal("%s", error->detail),
			 is_put_off ? errhint("Somebody uses it. It is tried again in a minute.")
						: errhint("It is tried again every hour, and keeps nothing else from being "
								  "done.")));
}

/* Makes a warning of a step's error, unless somebody wants us to stop. */
static void
take_failure(FfUpkeep *upkeep, const char *what)
{
	ErrorData *error = CopyErrorData();
	bool is_put_off = error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ||
					  error->sqlerrcode == ERRCODE_T_R_DEADLOCK_DETECTED;

	FlushErrorState();
	RollbackAndReleaseCurrentSubTransaction();
	if (error->sqlerrcode == ERRCODE_QUERY_CANCELED)
		ReThrowError(error);
	warn(error, is_put_off, what);
	upkeep->put_off += is_put_off;
	FreeErrorData(error);
}

/* Does a step, and returns its number of rows; one that fails is -1, and a warning. */
static int64
attempt(FfUpkeep *upkeep, FfStep step, char **names, const char *what)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile int64 rows = -1;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		rows = step(names);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		rows = -1;
		MemoryContextSwitchTo(context);
		take_failure(upkeep, what);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return rows;
}

/* ---------- making partitions ---------- */

static bool
exists(const char *table)
{
	ask(psprintf("SELECT 1 FROM pg_catalog.pg_class WHERE oid OPERATOR(pg_catalog.=)"
				 " pg_catalog.to_regclass('%s')",
				 table));
	return SPI_processed > 0;
}

/* The columns that rows are moved by; those that are generated are generated anew. */
static char *
columns(void)
{
	char **list;
	int count;

	ask("SELECT pg_catalog.string_agg(pg_catalog.quote_ident(attname), ', ' ORDER BY attnum)"
		" FROM pg_catalog.pg_attribute"
		" WHERE attrelid OPERATOR(pg_catalog.=) 'ff.exposures'::pg_catalog.regclass"
		" AND attnum OPERATOR(pg_catalog.>) 0 AND NOT attisdropped"
		" AND attgenerated OPERATOR(pg_catalog.=) ''");
	list = answers(1, &count);
	return list[0];
}

/* Rows of that day that were there before it had a partition move into it. */
static void
move_rows(const char *day, const char *next)
{
	const char *list;

	if (!exists("ff.exposures_default"))
		return;
	list = columns();
	ff_run(psprintf("WITH rows AS (DELETE FROM ff.exposures_default WHERE exposed_at"
					" OPERATOR(pg_catalog.>=) '%s 00:00+00' AND exposed_at"
					" OPERATOR(pg_catalog.<) '%s 00:00+00' RETURNING %s)"
					" INSERT INTO ff.exposures_%s (%s) SELECT %s FROM rows",
					day, next, list, day, list, list));
}

/* names: its day, and the next one. */
static int64
make_partition(char **names)
{
	const char *day = names[0];

	ff_run(psprintf("CREATE TABLE ff.exposures_%s (LIKE ff.exposures INCLUDING ALL)", day));
	ff_run(psprintf("CREATE INDEX exposures_%s_by_id ON ff.exposures_%s (id)", day, day));
	move_rows(day, names[1]);
	ff_run(psprintf("ALTER TABLE ff.exposures ATTACH PARTITION ff.exposures_%s"
					" FOR VALUES FROM ('%s 00:00+00') TO ('%s 00:00+00')",
					day, day, names[1]));
	return 0;
}

/* Days without a partition, each with the day after it, as SQL and names spell them. */
static const char missing_days[] =
	"SELECT day, next FROM (SELECT pg_catalog.to_char(t, 'YYYYMMDD') AS day,"
	" pg_catalog.to_char(t OPERATOR(pg_catalog.+) '1 day'::pg_catalog.interval, 'YYYYMMDD') AS next"
	" FROM (SELECT (pg_catalog.now() AT TIME ZONE 'UTC') OPERATOR(pg_catalog.+)"
	" pg_catalog.make_interval(days => n) AS t FROM pg_catalog.generate_series(%d, %d) n) u) d"
	" WHERE pg_catalog.to_regclass(pg_catalog.concat('ff.exposures_', day)) IS NULL ORDER BY day";

static void
make_partitions(FfUpkeep *upkeep)
{
	char **days;
	int count;

	ask(psprintf(missing_days, -DAYS_BEHIND, DAYS_AHEAD));
	days = answers(2, &count);
	for (int i = 0; i < count && upkeep->put_off < MAX_TIMEOUTS; i++)
	{
		if (attempt(upkeep, make_partition, days + 2 * i,
					psprintf("make partition ff.exposures_%s", days[2 * i])) >= 0)
			upkeep->made++;
	}
}

/* ---------- dropping them ---------- */

/* Partitions that end before what is kept, whoever made them. */
static const char old_partitions[] =
	"SELECT pg_catalog.format('%%I.%%I', n.nspname, c.relname) FROM pg_catalog.pg_inherits i"
	" JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) i.inhrelid"
	" JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace"
	" WHERE i.inhparent OPERATOR(pg_catalog.=) 'ff.exposures'::pg_catalog.regclass AND"
	" (pg_catalog.regexp_match(pg_catalog.pg_get_expr(c.relpartbound, c.oid),"
	" 'TO [(]''([^'']+)''[)]'))[1]::pg_catalog.timestamptz OPERATOR(pg_catalog.<=)"
	" (pg_catalog.now() OPERATOR(pg_catalog.-) '%d seconds'::pg_catalog.interval) ORDER BY 1";

static int64
drop_partition(char **names)
{
	ff_run(psprintf("DROP TABLE %s", names[0]));
	return 0;
}

static void
drop_partitions(FfUpkeep *upkeep)
{
	char **names;
	int count;

	ask(psprintf(old_partitions, ff_exposure_retention));
	names = answers(1, &count);
	for (int i = 0; i < count && upkeep->put_off < MAX_TIMEOUTS; i++)
	{
		if (attempt(upkeep, drop_partition, names + i,
					psprintf("drop %s, which is older than ff.exposure_retention", names[i])) >= 0)
			upkeep->dropped++;
	}
}

static int64
delete_rows(char **names)
{
	(void) names;
	if (!exists("ff.exposures_default"))
		return 0;
	ff_run(psprintf("DELETE FROM ff.exposures_default WHERE exposed_at OPERATOR(pg_catalog.<)"
					" (pg_catalog.now() OPERATOR(pg_catalog.-) '%d seconds'::pg_catalog.interval)",
					ff_exposure_retention));
	return (int64) SPI_processed;
}

/* ---------- reported batches ---------- */

static int64
forget_batches(char **names)
{
	(void) names;
	ff_run("DELETE FROM ff.exposure_batches WHERE received_at OPERATOR(pg_catalog.<)"
		   " (pg_catalog.now() OPERATOR(pg_catalog.-) '" FF_BATCHES_KEPT "'::pg_catalog.interval)");
	return (int64) SPI_processed;
}

/* ---------- sample ratios ---------- */

/*
 * Says once a day which experiments give their users to the wrong variants. In order, so that those
 * who do it at once wait for each other.
 */
static void
check_sample_ratios(void)
{
	char **bad;
	int count;

	ask("INSERT INTO ff.sample_ratio_warnings (namespace, flag_key, day)"
		" SELECT DISTINCT namespace, flag_key, (pg_catalog.now() AT TIME ZONE 'UTC')::date"
		" FROM ff.sample_ratio WHERE warning AND active ORDER BY namespace, flag_key"
		" ON CONFLICT (namespace, flag_key, day) DO NOTHING RETURNING flag_key, namespace");
	bad = answers(2, &count);
	for (int i = 0; i < count; i++)
		ereport(WARNING,
				(errmsg("sample ratio mismatch in the experiment of flag \"%s\", namespace \"%s\"",
						bad[2 * i], bad[2 * i + 1]),
				 errdetail("Users are not spread over its variants as configured."),
				 errhint(
					 "SELECT * FROM ff.sample_ratio; don't trust its outcomes before the cause is "
					 "known.")));
}

/* ---------- all of it ---------- */

static void
limit_waiting(void)
{
	(void) set_config_option("lock_timeout", LOCK_TIMEOUT, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

/*
 * What is done to partitions is done by one at a time, as the owner, and not during a flush, whose
 * rows would look for partitions that are just changing. For a flush one waits as long as the
 * session does: that holds up nobody. A partition waits for those who use the table, and everybody
 * who comes later waits for it: that must not take long.
 */
static FfCaller
begin(void)
{
	FfCaller caller;

	ff_lock_flush(get_extension_oid("ff", false));
	caller = ff_enter_as_owner();
	limit_waiting();
	return caller;
}

void
ff_make_partitions(FfUpkeep *upkeep)
{
	FfCaller caller = begin();

	make_partitions(upkeep);
	ff_leave(&caller);
}

/* Tables go last: the lock that it takes is kept until the transaction ends. */
void
ff_drop_partitions(FfUpkeep *upkeep)
{
	FfCaller caller = begin();
	int64 rows;

	(void) attempt(upkeep, forget_batches, NULL, "forget old batches in ff.exposure_batches");
	if (ff_exposure_retention > 0)
	{
		rows = attempt(upkeep, delete_rows, NULL, "delete old rows of ff.exposures_default");
		upkeep->deleted = Max(rows, 0);
		drop_partitions(upkeep);
	}
	ff_leave(&caller);
}

void
ff_check_sample_ratios(void)
{
	FfCaller caller = ff_enter_as_owner();

	limit_waiting();
	check_sample_ratios();
	ff_leave(&caller);
}

static int64
step_check(char **names)
{
	(void) names;
	ff_check_sample_ratios();
	return 0;
}

/* The sample ratios are looked at before there are locks that others wait for. */
static void
do_all(FfUpkeep *upkeep)
{
	(void) attempt(upkeep, step_check, NULL, "check sample ratios");
	ff_make_partitions(upkeep);
	ff_drop_partitions(upkeep);
}

PG_FUNCTION_INFO_V1(ff_maintain);

/* On a standby there is nothing to do: what is done on the primary comes here. */
Datum
ff_maintain(PG_FUNCTION_ARGS)
{
	FfUpkeep upkeep = {0};
	bool nulls[3] = {false};
	Datum values[3];
	TupleDesc desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (!RecoveryInProgress())
	{
		PreventCommandIfReadOnly("ff_maintain()");
		do_all(&upkeep);
	}
	values[0] = Int32GetDatum(upkeep.made);
	values[1] = Int32GetDatum(upkeep.dropped);
	values[2] = Int64GetDatum(upkeep.deleted);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, values, nulls)));
}
