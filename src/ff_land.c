/*
 * src/ff_land.c
 *	  The table sink: rows of exposures, and what is derived of them with each batch.
 *
 * One batch is written at a time (ff_lock_flush), and nobody else writes these tables.
 */
#include "ff_copy_in.h"
#include "ff_flush.h"
#include "ff_spi.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_collation_d.h"
#include "catalog/pg_type_d.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/hsearch.h"
#include "utils/queryenvironment.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

/* ---------- the rows themselves ---------- */

/* Rows, and the number of the first. */
typedef struct FfLanding
{
	const FfRow *rows;
	uint32 count;
	int64 first;
} FfLanding;

#define ROWS_AHEAD 8

/* Rows that are in the index's order have their texts anywhere: those needed soon are asked for. */
static inline const FfRow *
row_of(const FfLanding *landing, uint32 i)
{
	if (i + ROWS_AHEAD < landing->count)
	{
		const char *text = (const char *) landing->rows[i + ROWS_AHEAD].exposure;

		__builtin_prefetch(text);
		__builtin_prefetch(text + PG_CACHE_LINE_SIZE / 2);
	}
	return &landing->rows[i];
}

static bool
put_exposure(StringInfo to, uint32 i, const void *arg)
{
	const FfLanding *landing = arg;
	const FfRow *row = row_of(landing, i);

	ff_put_int8(to, landing->first + i);
	ff_put_text(to, row->name_space);
	ff_put_text(to, row->flag_key);
	ff_put_text(to, row->variant_key);
	ff_put_text(to, row->user_id);
	ff_put_int8(to, row->exposure->time);
	ff_put_text(to, ffe_reason_name((ffe_reason) row->exposure->reason));
	ff_put_text(to, row->rule_id);
	if (row->exposure->version == 0)
		ff_put_text(to, NULL);
	else
		ff_put_int8(to, row->exposure->version);
	ff_put_int8(to, row->exposure->count);
	return true;
}

static bool
put_assignment(StringInfo to, uint32 i, const void *arg)
{
	const FfRow *row = row_of(arg, i);

	if (row->standing != FF_NEW && row->standing != FF_RENEWED)
		return false;
	ff_put_text(to, row->name_space);
	ff_put_text(to, row->flag_key);
	ff_put_text(to, row->user_id);
	ff_put_text(to, row->variant_key);
	ff_put_int8(to, row->exposure->time);
	ff_put_text(to, ffe_reason_name((ffe_reason) row->exposure->reason));
	ff_put_text(to, row->rule_id);
	return true;
}

static bool
put_crossover(StringInfo to, uint32 i, const void *arg)
{
	const FfRow *row = row_of(arg, i);

	if (row->standing != FF_CROSSED)
		return false;
	ff_put_text(to, row->name_space);
	ff_put_text(to, row->flag_key);
	ff_put_text(to, row->user_id);
	ff_put_text(to, row->variant_key);
	ff_put_text(to, row->first_variant);
	ff_put_int8(to, row->exposure->time);
	return true;
}

static const char *const exposure_columns[] = {"id",          "namespace", "flag_key",
											   "variant_key", "user_id",   "exposed_at",
											   "reason",      "rule_id",   "flag_version",
											   "evaluations", NULL};
static const char *const assignment_columns[] = {"namespace",   "flag_key",    "user_id",
												 "variant_key", "assigned_at", "reason",
												 "rule_id",     NULL};
static const char *const crossover_columns[] = {"namespace",   "flag_key",          "user_id",
												"variant_key", "first_variant_key", "crossed_at",
												NULL};

/* ---------- tables of a batch, for SQL ---------- */

typedef struct FfColumn
{
	const char *name;
	Oid type;
} FfColumn;

static TupleDesc
make_desc(const FfColumn *columns, int count)
{
	TupleDesc desc = CreateTemplateTupleDesc(count);

	for (int i = 0; i < count; i++)
	{
		TupleDescInitEntry(desc, (AttrNumber) (i + 1), columns[i].name, columns[i].type, -1, 0);
		if (columns[i].type == TEXTOID)
			TupleDescInitEntryCollation(desc, (AttrNumber) (i + 1), C_COLLATION_OID);
	}
	return desc;
}

/* Runs a statement that knows the rows of a store as table ff_batch. */
static void
run_over(const char *sql, Tuplestorestate *store, TupleDesc desc, int64 rows)
{
	EphemeralNamedRelation relation = palloc0(sizeof(EphemeralNamedRelationData));

	relation->md.name = "ff_batch";
	relation->md.tupdesc = desc;
	relation->md.enrtype = ENR_NAMED_TUPLESTORE;
	relation->md.enrtuples = (double) rows;
	relation->reldata = store;
	if (SPI_register_relation(relation) != SPI_OK_REL_REGISTER)
		elog(ERROR, "could not register the batch");
	ff_run(sql);
	(void) SPI_unregister_relation("ff_batch");
}

/* ---------- rollups ---------- */

/* A row of ff.exposure_rollups in the making. */
typedef struct FfRollupKey
{
	const char *name_space;
	const char *flag_key;
	const char *variant_key;
	TimestampTz hour;
} FfRollupKey;

typedef struct FfRollup
{
	FfRollupKey key;
	int64 evaluations;
	int64 exposures;
	int64 users;
	TimestampTz first_at;
	TimestampTz last_at;
} FfRollup;

static const FfColumn rollup_columns[] = {{"namespace", TEXTOID},     {"flag_key", TEXTOID},
										  {"variant_key", TEXTOID},   {"hour", TIMESTAMPTZOID},
										  {"evaluations", INT8OID},   {"exposures", INT8OID},
										  {"users", INT8OID},         {"first_at", TIMESTAMPTZOID},
										  {"last_at", TIMESTAMPTZOID}};

static const char add_to_rollups[] =
	"INSERT INTO ff.exposure_rollups AS r (namespace, flag_key, variant_key, hour, evaluations,"
	" exposures, users, first_at, last_at) SELECT namespace, flag_key, variant_key, hour,"
	" evaluations, exposures, users, first_at, last_at FROM ff_batch"
	" ON CONFLICT (namespace, flag_key, variant_key, hour) DO UPDATE SET"
	" evaluations = r.evaluations OPERATOR(pg_catalog.+) EXCLUDED.evaluations,"
	" exposures = r.exposures OPERATOR(pg_catalog.+) EXCLUDED.exposures,"
	" users = r.users OPERATOR(pg_catalog.+) EXCLUDED.users,"
	" first_at = LEAST(r.first_at, EXCLUDED.first_at),"
	" last_at = GREATEST(r.last_at, EXCLUDED.last_at)";

static uint32
hash_rollup(const void *key, Size size)
{
	const FfRollupKey *rollup = key;
	uint32 hash = string_hash(rollup->flag_key, SIZE_MAX);

	(void) size;
	hash = hash * 31 + string_hash(rollup->variant_key, SIZE_MAX);
	hash = hash * 31 + string_hash(rollup->name_space, SIZE_MAX);
	return hash ^ (uint32) (rollup->hour / USECS_PER_HOUR);
}

static int
match_rollup(const void *x, const void *y, Size size)
{
	const FfRollupKey *a = x;
	const FfRollupKey *b = y;

	(void) size;
	return a->hour != b->hour || strcmp(a->flag_key, b->flag_key) != 0 ||
		   strcmp(a->variant_key, b->variant_key) != 0 || strcmp(a->name_space, b->name_space) != 0;
}

/* The hour of a time; before 2000 times are negative. */
static TimestampTz
hour_of(TimestampTz time)
{
	TimestampTz past = time % USECS_PER_HOUR;

	return time - past - (past < 0 ? USECS_PER_HOUR : 0);
}

static void
add_row(HTAB *rollups, const FfRow *row)
{
	FfRollupKey key = {row->name_space, row->flag_key, row->variant_key,
					   hour_of(row->exposure->time)};
	bool found;
	FfRollup *rollup = hash_search(rollups, &key, HASH_ENTER, &found);

	if (!found)
	{
		rollup->evaluations = rollup->exposures = rollup->users = 0;
		rollup->first_at = rollup->last_at = row->exposure->time;
	}
	rollup->evaluations += row->exposure->count;
	rollup->exposures++;
	rollup->users += row->standing != FF_SEEN;
	rollup->first_at = Min(rollup->first_at, row->exposure->time);
	rollup->last_at = Max(rollup->last_at, row->exposure->time);
}

static void
put_rollup(Tuplestorestate *store, TupleDesc desc, const FfRollup *rollup)
{
	static bool nulls[lengthof(rollup_columns)] = {false};
	Datum values[lengthof(rollup_columns)];

	values[0] = CStringGetTextDatum(rollup->key.name_space);
	values[1] = CStringGetTextDatum(rollup->key.flag_key);
	values[2] = CStringGetTextDatum(rollup->key.variant_key);
	values[3] = TimestampTzGetDatum(rollup->key.hour);
	values[4] = Int64GetDatum(rollup->evaluations);
	values[5] = Int64GetDatum(rollup->exposures);
	values[6] = Int64GetDatum(rollup->users);
	values[7] = TimestampTzGetDatum(rollup->first_at);
	values[8] = TimestampTzGetDatum(rollup->last_at);
	tuplestore_putvalues(store, desc, values, nulls);
}

static void
write_rollups(const FfRow *rows, uint32 count)
{
	HASHCTL control = {.keysize = sizeof(FfRollupKey),
					   .entrysize = sizeof(FfRollup),
					   .hash = hash_rollup,
					   .match = match_rollup,
					   .hcxt = CurrentMemoryContext};
	HTAB *rollups = hash_create("ff rollups", 64, &control,
								HASH_ELEM | HASH_FUNCTION | HASH_COMPARE | HASH_CONTEXT);
	Tuplestorestate *store = tuplestore_begin_heap(false, false, work_mem);
	TupleDesc desc = make_desc(rollup_columns, lengthof(rollup_columns));
	HASH_SEQ_STATUS scan;
	FfRollup *rollup;

	for (uint32 i = 0; i < count; i++)
		add_row(rollups, &rows[i]);
	hash_seq_init(&scan, rollups);
	while ((rollup = hash_seq_search(&scan)) != NULL)
		put_rollup(store, desc, rollup);
	run_over(add_to_rollups, store, desc, hash_get_num_entries(rollups));
	tuplestore_end(store);
	hash_destroy(rollups);
}

/* ---------- earlier runs ---------- */

static const FfColumn user_columns[] = {{"namespace", TEXTOID},
										{"flag_key", TEXTOID},
										{"user_id", TEXTOID}};

/* The assignments of an earlier run make room for those of a later one. */
static const char forget_former[] =
	"WITH a AS (DELETE FROM ff.assignments a USING ff_batch b"
	" WHERE pg_catalog.hashtext(a.flag_key) OPERATOR(pg_catalog.=) pg_catalog.hashtext(b.flag_key)"
	" AND pg_catalog.hashtext(a.user_id) OPERATOR(pg_catalog.=) pg_catalog.hashtext(b.user_id)"
	" AND a.namespace OPERATOR(pg_catalog.=) b.namespace"
	" AND a.flag_key OPERATOR(pg_catalog.=) b.flag_key"
	" AND a.user_id OPERATOR(pg_catalog.=) b.user_id"
	" RETURNING a.namespace, a.flag_key, a.variant_key, a.assigned_at AS at),"
	" c AS (DELETE FROM ff.crossovers c USING ff_batch b"
	" WHERE c.namespace OPERATOR(pg_catalog.=) b.namespace"
	" AND c.flag_key OPERATOR(pg_catalog.=) b.flag_key"
	" AND c.user_id OPERATOR(pg_catalog.=) b.user_id"
	" RETURNING c.namespace, c.flag_key, c.variant_key, c.crossed_at AS at),"
	" f AS (SELECT namespace, flag_key, variant_key,"
	" pg_catalog.date_trunc('hour', at, 'UTC') AS hour, pg_catalog.count(*) AS users"
	" FROM (TABLE a UNION ALL TABLE c) u GROUP BY 1, 2, 3, 4)"
	" UPDATE ff.exposure_rollups r SET users = r.users OPERATOR(pg_catalog.-) f.users FROM f"
	" WHERE r.namespace OPERATOR(pg_catalog.=) f.namespace"
	" AND r.flag_key OPERATOR(pg_catalog.=) f.flag_key"
	" AND r.variant_key OPERATOR(pg_catalog.=) f.variant_key"
	" AND r.hour OPERATOR(pg_catalog.=) f.hour";

static int64
put_renewed(Tuplestorestate *store, TupleDesc desc, const FfRow *rows, uint32 count)
{
	bool nulls[lengthof(user_columns)] = {false};
	int64 renewed = 0;

	for (uint32 i = 0; i < count; i++)
	{
		Datum values[lengthof(user_columns)];

		if (rows[i].standing != FF_RENEWED)
			continue;
		values[0] = CStringGetTextDatum(rows[i].name_space);
		values[1] = CStringGetTextDatum(rows[i].flag_key);
		values[2] = CStringGetTextDatum(rows[i].user_id);
		tuplestore_putvalues(store, desc, values, nulls);
		renewed++;
	}
	return renewed;
}

/* They are found by the index, whatever the statistics say by now. */
static void
forget_by_index(Tuplestorestate *store, TupleDesc desc, int64 renewed)
{
	static const char *const settings[] = {"enable_hashjoin", "enable_mergejoin", "enable_seqscan"};
	int nesting = NewGUCNestLevel();

	for (int i = 0; i < (int) lengthof(settings); i++)
		(void) set_config_option(settings[i], "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
								 true, 0, false);
	run_over(forget_former, store, desc, renewed);
	AtEOXact_GUC(true, nesting);
}

static void
forget(const FfRow *rows, uint32 count)
{
	Tuplestorestate *store = tuplestore_begin_heap(false, false, work_mem);
	TupleDesc desc = make_desc(user_columns, lengthof(user_columns));
	int64 renewed = put_renewed(store, desc, rows, count);

	if (renewed > 0)
		forget_by_index(store, desc, renewed);
	tuplestore_end(store);
}

/* ---------- all of it ---------- */

/*
 * Constraints of our tables that are deferred are checked as rows are written from here on, so that
 * they fail with the row that breaks them, and not with the transaction.
 */
static void
check_constraints_at_once(void)
{
	static const char find[] =
		"SELECT pg_catalog.string_agg(DISTINCT pg_catalog.format('%I.%I', n.nspname, c.conname),"
		" ', ') FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_constraint c"
		" ON c.oid OPERATOR(pg_catalog.=) t.tgconstraint JOIN pg_catalog.pg_namespace n"
		" ON n.oid OPERATOR(pg_catalog.=) c.connamespace WHERE t.tgdeferrable AND t.tgrelid"
		" OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT relid FROM"
		" pg_catalog.pg_partition_tree('ff.exposures')) OPERATOR(pg_catalog.||)"
		" '{ff.assignments,ff.crossovers,ff.exposure_rollups}'::pg_catalog.regclass[])";
	FfCaller caller = ff_enter_as_owner();
	char *names;

	ff_query(find, false, 0, NULL, NULL, NULL);
	names = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	if (names != NULL)
		ff_run(psprintf("SET CONSTRAINTS %s IMMEDIATE", names));
	ff_leave(&caller);
}

/*
 * What others have flushed meanwhile has to be seen, by ff_judge as by statements: a snapshot that
 * stays the same would have users assigned twice.
 */
void
ff_check_isolation(const char *function)
{
	if (IsolationUsesXactSnapshot())
		ereport(ERROR, (errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
						errmsg("%s needs a transaction that is READ COMMITTED", function),
						errhint("Begin it with BEGIN ISOLATION LEVEL READ COMMITTED.")));
}

/* What is not there, or can't be had, is no row's fault. */
void
ff_prepare_landing(void)
{
	static const char *const tables[] = {"exposures", "assignments", "crossovers",
										 "exposure_rollups"};

	PreventCommandIfReadOnly("ff_flush_exposures()");
	for (int i = 0; i < (int) lengthof(tables); i++)
		table_close(ff_open_own(tables[i], RowExclusiveLock), NoLock);
	check_constraints_at_once();
}

static bool is_landing = false;

/*
 * What is being written must not be written again by a trigger of its own tables: it is in the
 * buffer as before.
 */
void
ff_check_not_landing(void)
{
	if (is_landing)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE), errmsg("exposures are being written down"),
				 errhint("A trigger of a table that they are written to can't write others.")));
}

static void
land(FfRow *rows, uint32 count)
{
	FfCaller caller = ff_enter_as_owner();
	FfLanding landing = {rows, count, ff_take_exposure_ids(count)};

	/* first what needs no order: ff_judge scatters rows whose texts lie one after the other */
	(void) ff_copy_in("exposures", exposure_columns, count, put_exposure, &landing);
	ff_judge(rows, count);
	forget(rows, count);
	(void) ff_copy_in("assignments", assignment_columns, count, put_assignment, &landing);
	(void) ff_copy_in("crossovers", crossover_columns, count, put_crossover, &landing);
	write_rollups(rows, count);
	ff_leave(&caller);
}

void
ff_land(FfRow *rows, uint32 count)
{
	ff_check_not_landing();
	is_landing = true;
	PG_TRY();
	{
		land(rows, count);
	}
	PG_FINALLY();
	{
		is_landing = false;
	}
	PG_END_TRY();
}
