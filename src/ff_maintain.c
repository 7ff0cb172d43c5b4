/*
 * src/ff_maintain.c
 *	  Upkeep of what is kept of exposures: partitions, retention, and the check of sample ratios.
 *
 * There is a default partition, so that no row is ever refused for its time. That rules out DETACH
 * CONCURRENTLY, which can't be run by a function either: an old partition is dropped under a lock
 * that is waited for only briefly, because all who come after wait behind us. Who reads for long
 * puts the dropping off to the next time, and holds up nobody.
 */
#include "ff_flush.h"
#include "ff_maintain.h"
#include "ff_spi.h"

#include "catalog/pg_extension.h"
#include "catalog/pg_type_d.h"
#include "commands/extension.h"
#include "funcapi.h"
#include "access/htup_details.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#define DAYS_BEHIND 1
#define DAYS_AHEAD 7
#define LOCK_TIMEOUT "1s"

int ff_exposure_retention = 90 * SECS_PER_DAY;

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

/* ---------- making partitions ---------- */

static bool
exists(const char *table)
{
	ask(psprintf("SELECT 1 FROM pg_catalog.pg_class WHERE oid OPERATOR(pg_catalog.=)"
				 " pg_catalog.to_regclass('%s')",
				 table));
	return SPI_processed > 0;
}

/* Rows of that day that were there before it had a partition move into it. */
static void
move_rows(const char *day, const char *next)
{
	if (exists("ff.exposures_default"))
		ff_run(psprintf("WITH rows AS (DELETE FROM ff.exposures_default WHERE exposed_at"
						" OPERATOR(pg_catalog.>=) '%s 00:00+00' AND exposed_at"
						" OPERATOR(pg_catalog.<) '%s 00:00+00' RETURNING *)"
						" INSERT INTO ff.exposures_%s SELECT * FROM rows",
						day, next, day));
}

static void
make_partition(const char *day, const char *next)
{
	ff_run(psprintf("CREATE TABLE ff.exposures_%s (LIKE ff.exposures INCLUDING ALL)", day));
	ff_run(psprintf("CREATE INDEX exposures_%s_by_id ON ff.exposures_%s (id)", day, day));
	move_rows(day, next);
	ff_run(psprintf("ALTER TABLE ff.exposures ATTACH PARTITION ff.exposures_%s"
					" FOR VALUES FROM ('%s 00:00+00') TO ('%s 00:00+00')",
					day, day, next));
}

/* Days without a partition, each with the day after it, as SQL and names spell them. */
static const char missing_days[] =
	"SELECT day, next FROM (SELECT pg_catalog.to_char(t, 'YYYYMMDD') AS day,"
	" pg_catalog.to_char(t OPERATOR(pg_catalog.+) '1 day'::pg_catalog.interval, 'YYYYMMDD') AS next"
	" FROM (SELECT (pg_catalog.now() AT TIME ZONE 'UTC') OPERATOR(pg_catalog.+)"
	" pg_catalog.make_interval(days => n) AS t FROM pg_catalog.generate_series(%d, %d) n) u) d"
	" WHERE pg_catalog.to_regclass(pg_catalog.concat('ff.exposures_', day)) IS NULL ORDER BY day";

static int
make_partitions(void)
{
	char **days;
	int count;

	ask(psprintf(missing_days, -DAYS_BEHIND, DAYS_AHEAD));
	days = answers(2, &count);
	for (int i = 0; i < count; i++)
		make_partition(days[2 * i], days[2 * i + 1]);
	return count;
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

static int
drop_partitions(void)
{
	char **names;
	int count;

	ask(psprintf(old_partitions, ff_exposure_retention));
	names = answers(1, &count);
	for (int i = 0; i < count; i++)
		ff_run(psprintf("DROP TABLE %s", names[i]));
	return count;
}

static int64
delete_rows(void)
{
	if (!exists("ff.exposures_default"))
		return 0;
	ff_run(psprintf("DELETE FROM ff.exposures_default WHERE exposed_at OPERATOR(pg_catalog.<)"
					" (pg_catalog.now() OPERATOR(pg_catalog.-) '%d seconds'::pg_catalog.interval)",
					ff_exposure_retention));
	return (int64) SPI_processed;
}

/* ---------- reported batches ---------- */

static void
forget_batches(void)
{
	ff_run("DELETE FROM ff.exposure_batches WHERE received_at OPERATOR(pg_catalog.<)"
		   " (pg_catalog.now() OPERATOR(pg_catalog.-) '" FF_BATCHES_KEPT "'::pg_catalog.interval)");
}

/* ---------- sample ratios ---------- */

/* Says once a day which experiments give their users to the wrong variants. */
static void
check_sample_ratios(void)
{
	char **bad;
	int count;

	ask("INSERT INTO ff.sample_ratio_warnings (namespace, flag_key, day)"
		" SELECT DISTINCT namespace, flag_key, (pg_catalog.now() AT TIME ZONE 'UTC')::date"
		" FROM ff.sample_ratio WHERE warning AND active"
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

/*
 * One at a time, as the owner. A partition waits for those who use the table, and everybody who
 * comes later waits for it: that must not take long.
 */
static FfCaller
begin(void)
{
	FfCaller caller = ff_enter_as_owner();

	LockDatabaseObject(ExtensionRelationId, get_extension_oid("ff", false), 2, ExclusiveLock);
	(void) set_config_option("lock_timeout", LOCK_TIMEOUT, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	return caller;
}

void
ff_make_partitions(FfUpkeep *upkeep)
{
	FfCaller caller = begin();

	upkeep->made = make_partitions();
	ff_leave(&caller);
}

void
ff_drop_partitions(FfUpkeep *upkeep)
{
	FfCaller caller = begin();

	if (ff_exposure_retention > 0)
	{
		upkeep->dropped = drop_partitions();
		upkeep->deleted = delete_rows();
	}
	forget_batches();
	ff_leave(&caller);
}

void
ff_check_sample_ratios(void)
{
	FfCaller caller = begin();

	check_sample_ratios();
	ff_leave(&caller);
}

PG_FUNCTION_INFO_V1(ff_maintain);

Datum
ff_maintain(PG_FUNCTION_ARGS)
{
	FfUpkeep upkeep = {0};
	bool nulls[3] = {false};
	Datum values[3];
	TupleDesc desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	ff_make_partitions(&upkeep);
	ff_drop_partitions(&upkeep);
	ff_check_sample_ratios();
	values[0] = Int32GetDatum(upkeep.made);
	values[1] = Int32GetDatum(upkeep.dropped);
	values[2] = Int64GetDatum(upkeep.deleted);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, values, nulls)));
}
