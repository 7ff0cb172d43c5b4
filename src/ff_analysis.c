/*
 * src/ff_analysis.c
 *	  Analysis of experiments: figures of exposures, and what became of the users.
 *
 * The rule: tables of business data, and which user has which variant, are read as the caller. As
 * the owner of our tables only sums are read, for who may read the flag.
 */
#include "ff_analysis.h"
#include "ff_spi.h"
#include "ff_write.h"

#include "access/attnum.h"
#include "access/htup_details.h"
#include "catalog/pg_type_d.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

/* The rows of ff.sample_ratio for the flag $2 of namespace $1. */
#define SAMPLE_RATIO                                                                               \
	"(SELECT coalesce(jsonb_agg(jsonb_build_object('rule_id', rule_id, 'variant_key', "            \
	"variant_key, 'users', users, 'configured_share', configured_share, 'actual_share', "          \
	"actual_share, 'deviation', deviation, 'p_value', p_value, 'warning', warning) "               \
	"ORDER BY rule_id NULLS FIRST, variant_key), '[]') FROM ff.sample_ratio "                      \
	"WHERE namespace = $1 AND flag_key = $2)"

/* Copies what a query has left, a row of one jsonb, to outlive SPI; NULL without one. */
static Jsonb *
keep_result(void)
{
	bool isnull = true;
	Datum datum = (Datum) 0;

	if (SPI_processed > 0)
		datum = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	return isnull ? NULL : ff_keep_document(DatumGetJsonbP(datum));
}

/* ---------- figures of exposures ---------- */

/*
 * Figures are kept by the hour (of UTC), so a range is widened to whole hours, and the document
 * says to which. One that is empty or yet to come has none all the same. $5: whether there is such
 * a flag.
 */
#define EXPOSURES                                                                                  \
	"WITH range AS (SELECT date_trunc('hour', $3, 'UTC') AS since, date_trunc('hour', $4, 'UTC') " \
	"+ CASE WHEN $4 > date_trunc('hour', $4, 'UTC') THEN '1 hour' ELSE '0' END::interval AS "      \
	"until), hours AS (SELECT variant_key, hour, evaluations, users, first_at, last_at "           \
	"FROM range, ff.exposure_rollups WHERE namespace = $1 AND flag_key = $2 "                      \
	"AND ($3 IS NULL OR hour >= since AND $3 <= statement_timestamp()) "                           \
	"AND ($4 IS NULL OR hour < until) AND coalesce($3 < $4, true)), "                              \
	"variants AS (SELECT variant_key, sum(evaluations) AS evaluations, sum(users) AS users, "      \
	"min(first_at) AS first_at, max(last_at) AS last_at FROM hours GROUP BY variant_key) "         \
	"SELECT jsonb_build_object('namespace', $1, 'key', $2, 'since', since, 'until', until, "       \
	"'variants', (SELECT coalesce(jsonb_agg(jsonb_build_object('variant_key', variant_key, "       \
	"'evaluations', evaluations, 'unique_users', users, 'first_at', first_at, "                    \
	"'last_at', last_at) ORDER BY variant_key), '[]') FROM variants), "                            \
	"'hourly', (SELECT coalesce(jsonb_agg(jsonb_build_object('hour', hour, "                       \
	"'variant_key', variant_key, 'evaluations', evaluations, 'new_users', users) "                 \
	"ORDER BY hour, variant_key), '[]') FROM hours), "                                             \
	"'sample_ratio', " SAMPLE_RATIO ") FROM range "                                                \
	"WHERE $5 OR EXISTS (SELECT FROM ff.exposure_rollups WHERE namespace = $1 AND flag_key = $2)"

static bool
sees_flag(const FfTable *table, const char *key)
{
	bool sees;

	SPI_connect();
	sees = ff_fetch_row(table, key, false);
	SPI_finish();
	return sees;
}

PG_FUNCTION_INFO_V1(ff_exposures);

/* As with its history, the exposures of a flag outlive it. */
Datum
ff_exposures(PG_FUNCTION_ARGS)
{
	char *key = ff_required_text(fcinfo, 0, "the key");
	char *name_space = PG_ARGISNULL(3) ? ff_namespace : ff_optional_text(fcinfo, 3);
	Oid types[] = {TEXTOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, BOOLOID};
	char nulls[] = {' ', ' ', PG_ARGISNULL(1) ? 'n' : ' ', PG_ARGISNULL(2) ? 'n' : ' ', ' ', '\0'};
	Datum values[] = {CStringGetTextDatum(name_space), CStringGetTextDatum(key), PG_GETARG_DATUM(1),
					  PG_GETARG_DATUM(2), (Datum) 0};
	FfTables tables;
	FfCaller caller;
	Jsonb *figures;

	ff_named_tables(name_space, &tables);
	if (!ff_may_audit(&tables.table[FFE_FLAG], key))
		PG_RETURN_NULL();
	values[4] = BoolGetDatum(sees_flag(&tables.table[FFE_FLAG], key));
	caller = ff_enter_as_owner();
	ff_query(EXPOSURES, true, lengthof(types), types, values, nulls);
	figures = keep_result();
	ff_leave(&caller);
	if (figures == NULL)
		PG_RETURN_NULL();
	PG_RETURN_JSONB_P(figures);
}

/* ---------- the table of outcomes ---------- */

typedef struct FfOutcomes
{
	Oid relid;
	const char *user; /* columns; all but this one may be NULL */
	const char *value;
	const char *time;
	bool has_days; /* the times are days */
} FfOutcomes;

/* A column's type, without domains over it. */
static Oid
type_of_column(Oid relid, const char *column)
{
	AttrNumber number = get_attnum(relid, column);

	if (number <= 0)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
						errmsg("column \"%s\" of relation \"%s\" does not exist", column,
							   get_rel_name(relid))));
	return getBaseType(get_atttype(relid, number));
}

static void
report_type(const FfOutcomes *outcomes, const char *column, Oid type, const char *wanted)
{
	ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
					errmsg("column \"%s\" of relation \"%s\" is not %s", column,
						   get_rel_name(outcomes->relid), wanted),
					errdetail("It is of type %s.", format_type_be(type))));
}

static void
check_columns(FfOutcomes *outcomes)
{
	Oid type;

	if (get_rel_name(outcomes->relid) == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("relation with OID %u does not exist", outcomes->relid)));
	(void) type_of_column(outcomes->relid, outcomes->user);
	if (outcomes->value != NULL)
	{
		type = type_of_column(outcomes->relid, outcomes->value);
		if (type != INT2OID && type != INT4OID && type != INT8OID && type != NUMERICOID &&
			type != FLOAT4OID && type != FLOAT8OID)
			report_type(outcomes, outcomes->value, type, "a number");
	}
	if (outcomes->time != NULL)
	{
		type = type_of_column(outcomes->relid, outcomes->time);
		if (type != TIMESTAMPTZOID && type != TIMESTAMPOID && type != DATEOID)
			report_type(outcomes, outcomes->time, type, "a time");
		outcomes->has_days = type == DATEOID;
	}
}

/* An expression for a column as a type; NULL: there is none, and without is the expression. */
static char *
column_as(const char *column, const char *type, const char *without)
{
	return psprintf("CAST(%s%s AS pg_catalog.%s)", column == NULL ? without : "o.",
					column == NULL ? "" : quote_identifier(column), type);
}

/* A query for user_id, value and time of what counts; without a column of times all is late. */
static char *
outcomes_query(const FfOutcomes *outcomes)
{
	return psprintf("SELECT %s COLLATE pg_catalog.\"C\" AS user_id, %s AS value, %s AS happened_at "
					"FROM %s AS o WHERE o.%s IS NOT NULL",
					column_as(outcomes->user, "text", NULL),
					column_as(outcomes->value, "numeric", "NULL"),
					column_as(outcomes->time, outcomes->has_days ? "date" : "timestamptz",
							  "'infinity'"),
					ff_relation_name(outcomes->relid), quote_identifier(outcomes->user));
}

/* From when on outcomes of a user count; where only their day is known, from that day on. */
static const char *
first_moment(const FfOutcomes *outcomes)
{
	return outcomes->has_days ? "CAST(a.assigned_at AS pg_catalog.date)" : "a.assigned_at";
}

/* ---------- what became of the users ---------- */

/* Of counts; of what users put in, RATE, which is numeric: it may be more than a double can be. */
#define QUOTIENT(a, b)                                                                             \
	"CASE WHEN " b " OPERATOR(pg_catalog.<>) 0 THEN CAST(" a                                       \
	" AS pg_catalog.float8) OPERATOR(pg_catalog./) CAST(" b " AS pg_catalog.float8) END"

#define RATE(a, b)                                                                                 \
	"CASE WHEN " b " OPERATOR(pg_catalog.<>) 0 THEN " a " OPERATOR(pg_catalog./) CAST(" b          \
	" AS pg_catalog.numeric) END"

/*
 * What ff.sample_ratio says. Where users come from several allocations, what is configured for a
 * variant is the mean of its shares there, weighed by the users of each; and the worst of the
 * verdicts is the one of all.
 */
#define RATIO                                                                                      \
	"ratio AS (SELECT r.rule_id, r.variant_key, r.configured_share, r.p_value, r.warning, "        \
	"CASE WHEN pg_catalog.sum(r.users) OVER () OPERATOR(pg_catalog.=) 0 THEN 1 ELSE "              \
	"CAST(pg_catalog.sum(r.users) OVER (PARTITION BY r.rule_id) AS pg_catalog.float8) END "        \
	"AS weight FROM pg_catalog.jsonb_to_recordset($5) AS r (rule_id pg_catalog.text, "             \
	"variant_key pg_catalog.text, users pg_catalog.int8, configured_share pg_catalog.float8, "     \
	"p_value pg_catalog.float8, warning pg_catalog.bool)), "                                       \
	"allocation AS (SELECT DISTINCT r.rule_id, r.weight FROM ratio AS r), "                        \
	"configured AS (SELECT r.variant_key, "                                                        \
	"pg_catalog.sum(r.configured_share OPERATOR(pg_catalog.*) r.weight) OPERATOR(pg_catalog./) "   \
	"(SELECT pg_catalog.sum(l.weight) FROM allocation AS l) AS share "                             \
	"FROM ratio AS r GROUP BY r.variant_key), "                                                    \
	"verdict AS (SELECT pg_catalog.min(r.p_value) AS p_value, "                                    \
	"COALESCE(pg_catalog.bool_or(r.warning), false) AS warning FROM ratio AS r)"

/*
 * The users, and %s, their outcomes from %s on: summed for each user first, so that several are one
 * user's. An outcome without a value is one all the same, but not in the mean.
 */
#define COUNTED                                                                                    \
	"assigned AS (SELECT a.user_id, a.variant_key, a.assigned_at FROM ff.assignments AS a "        \
	"WHERE a.namespace OPERATOR(pg_catalog.=) $1 AND a.flag_key OPERATOR(pg_catalog.=) $2 "        \
	"AND a.reason OPERATOR(pg_catalog.<>) 'USER_OVERRIDE' "                                        \
	"AND a.assigned_at OPERATOR(pg_catalog.>=) $3 AND a.assigned_at OPERATOR(pg_catalog.<=) $4), " \
	"outcome AS (SELECT a.user_id, pg_catalog.count(*) AS outcomes, "                              \
	"pg_catalog.count(o.value) AS valued, pg_catalog.sum(o.value) AS total "                       \
	"FROM assigned AS a JOIN (%s) AS o ON o.user_id OPERATOR(pg_catalog.=) a.user_id "             \
	"AND o.happened_at OPERATOR(pg_catalog.>=) %s GROUP BY a.user_id), "                           \
	"counted AS (SELECT a.variant_key, pg_catalog.count(*) AS users, "                             \
	"pg_catalog.sum(o.outcomes) AS outcomes, pg_catalog.count(o.user_id) AS converted, "           \
	"pg_catalog.sum(o.valued) AS valued, pg_catalog.sum(o.total) AS total FROM assigned AS a "     \
	"LEFT JOIN outcome AS o ON o.user_id OPERATOR(pg_catalog.=) a.user_id "                        \
	"GROUP BY a.variant_key)"

/* Variants that nobody has yet are listed, too. $6: whether there are values. */
#define LISTED                                                                                     \
	"listed AS (SELECT COALESCE(c.variant_key, s.variant_key) AS variant_key, "                    \
	"COALESCE(c.users, 0) AS users, COALESCE(c.outcomes, 0) AS outcomes, "                         \
	"COALESCE(c.converted, 0) AS converted, COALESCE(c.valued, 0) AS valued, "                     \
	"CASE WHEN $6 THEN COALESCE(c.total, 0) END AS total, "                                        \
	"COALESCE(pg_catalog.sum(c.users) OVER (), 0) AS all_users, s.share "                          \
	"FROM counted AS c FULL JOIN configured AS s "                                                 \
	"ON c.variant_key OPERATOR(pg_catalog.=) s.variant_key)"

#define CONVERSION QUOTIENT("l.converted", "l.users")
#define MEAN RATE("l.total", "l.valued")
#define MEAN_PER_USER RATE("l.total", "l.users")
#define SHARE QUOTIENT("(l.users OPERATOR(pg_catalog.*) 100)", "l.all_users")

/* In the order of ff_experiment's columns. Of these, two are numeric that are doubles there. */
#define EXPERIMENT_COLUMNS 12
#define IS_RATE(i) ((i) == 6 || (i) == 7)
#define EXPERIMENT                                                                                 \
	"WITH " RATIO ", " COUNTED ", " LISTED " SELECT l.variant_key, l.users, "                      \
	"CAST(l.outcomes AS pg_catalog.int8), l.converted, " CONVERSION ", l.total, " MEAN             \
	", " MEAN_PER_USER ", " SHARE ", l.share, v.p_value, v.warning "                               \
	"FROM listed AS l CROSS JOIN verdict AS v ORDER BY l.variant_key"

/* The run of a flag that the caller sees, or an error. */
static FfRun
find_run(const FfTable *table, const char *key, const char *name_space)
{
	ffe_node flag;
	FfRun run;

	SPI_connect();
	if (!ff_fetch_row(table, key, false))
		ff_report_not_found(FFE_FLAG, key, name_space);
	flag = ff_jsonb_node(ff_fetched_document(table));
	(void) ff_read_run(&flag, &run);
	SPI_finish();
	return run;
}

static Jsonb *
fetch_sample_ratio(Datum name_space, Datum key)
{
	FfCaller caller = ff_enter_as_owner();
	Oid types[] = {TEXTOID, TEXTOID};
	Datum values[] = {name_space, key};
	Jsonb *ratio;

	ff_query("SELECT " SAMPLE_RATIO, true, lengthof(types), types, values, NULL);
	ratio = keep_result();
	ff_leave(&caller);
	return ratio;
}

/* What is beyond a double becomes infinite. */
static void
put_row(ReturnSetInfo *rsinfo, HeapTuple row)
{
	Datum values[EXPERIMENT_COLUMNS];
	bool nulls[EXPERIMENT_COLUMNS];

	heap_deform_tuple(row, SPI_tuptable->tupdesc, values, nulls);
	for (int i = 0; i < EXPERIMENT_COLUMNS; i++)
	{
		if (IS_RATE(i) && !nulls[i])
			values[i] = DirectFunctionCall1(numeric_float8_no_overflow, values[i]);
	}
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

static void
put_rows(ReturnSetInfo *rsinfo)
{
	for (uint64 i = 0; i < SPI_tuptable->numvals; i++)
		put_row(rsinfo, SPI_tuptable->vals[i]);
}

/* A text with our name where a query of ours was. */
static char *
without_query(char *text, const char *sql)
{
	char *at = text == NULL ? NULL : strstr(text, sql);

	if (at == NULL)
		return text;
	return psprintf("%.*sff_experiment%s", (int) (at - text), text, at + strlen(sql));
}

/* An error, as of the caller's table, is told without the query that we made. */
static void
query_outcomes(const char *sql, int nargs, Oid *types, Datum *values)
{
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		ff_query(sql, true, nargs, types, values, NULL);
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		error->context = without_query(error->context, sql);
		ReThrowError(error);
	}
	PG_END_TRY();
}

static const char *
column_argument(FunctionCallInfo fcinfo, int arg)
{
	return PG_ARGISNULL(arg) ? NULL : NameStr(*PG_GETARG_NAME(arg));
}

static FfOutcomes
outcomes_argument(FunctionCallInfo fcinfo)
{
	FfOutcomes outcomes = {.user = column_argument(fcinfo, 2),
						   .value = column_argument(fcinfo, 3),
						   .time = column_argument(fcinfo, 4)};

	if (PG_ARGISNULL(1))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("the table of outcomes must not be null")));
	if (outcomes.user == NULL)
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("the column of users must not be null")));
	outcomes.relid = PG_GETARG_OID(1);
	check_columns(&outcomes);
	return outcomes;
}

PG_FUNCTION_INFO_V1(ff_experiment);

Datum
ff_experiment(PG_FUNCTION_ARGS)
{
	char *key = ff_required_text(fcinfo, 0, "the key");
	char *name_space = PG_ARGISNULL(5) ? ff_namespace : ff_optional_text(fcinfo, 5);
	FfOutcomes outcomes = outcomes_argument(fcinfo);
	Oid types[] = {TEXTOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, JSONBOID, BOOLOID};
	Datum values[lengthof(types)];
	FfTables tables;
	FfRun run;

	InitMaterializedSRF(fcinfo, 0);
	ff_named_tables(name_space, &tables);
	ff_check_may_read(&tables.table[FFE_FLAG]);
	run = find_run(&tables.table[FFE_FLAG], key, name_space);
	values[0] = CStringGetTextDatum(name_space);
	values[1] = CStringGetTextDatum(key);
	values[2] = TimestampTzGetDatum(run.start);
	values[3] = TimestampTzGetDatum(run.end);
	values[4] = JsonbPGetDatum(fetch_sample_ratio(values[0], values[1]));
	values[5] = BoolGetDatum(outcomes.value != NULL);
	SPI_connect();
	query_outcomes(psprintf(EXPERIMENT, outcomes_query(&outcomes), first_moment(&outcomes)),
				   lengthof(types), types, values);
	put_rows((ReturnSetInfo *) fcinfo->resultinfo);
	SPI_finish();
	return (Datum) 0;
}
