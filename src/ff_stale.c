/*
 * src/ff_stale.c
 *	  Stale flags: those that have done their duty, by what can be seen from here.
 *
 * The rule: being stale is a finding, not a state, and each comes with its reason. A flag is
 * listed for what is certain: never because little is known of it.
 */
#include "ff_spi.h"
#include "ff_usage.h"
#include "ff_write.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "access/xact.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

typedef struct FfReport
{
	ReturnSetInfo *rsinfo;
	const char *space;
	TimestampTz before; /* what is older than this is old */
} FfReport;

static void
put(const FfReport *report, const char *key, const char *reason, TimestampTz since)
{
	bool nulls[4] = {false};
	Datum values[4];

	values[0] = CStringGetTextDatum(report->space);
	values[1] = CStringGetTextDatum(key);
	values[2] = CStringGetTextDatum(reason);
	values[3] = TimestampTzGetDatum(since);
	tuplestore_putvalues(report->rsinfo->setResult, report->rsinfo->setDesc, values, nulls);
}

/* ---------- serving one value to everybody ---------- */

static bool
is_true(ffe_node node)
{
	return node.kind == FFE_BOOL && node.u.boolean;
}

static bool
is_empty(ffe_node node)
{
	return node.kind <= FFE_NULL || node.len == 0;
}

/* Whether each element of a list names this variant in a member. */
static bool
all_serve(ffe_node list, const char *name, const ffe_node *variant)
{
	for (uint32 i = 0; !is_empty(list) && i < list.len; i++)
	{
		ffe_node element, served;

		ff_jsonb_reader.element(&list, i, &element);
		served = ff_jsonb_member(&element, name);
		if (variant->kind != FFE_STRING || served.kind != FFE_STRING ||
			served.len != variant->len || memcmp(served.u.str, variant->u.str, served.len) != 0)
			return false;
	}
	return true;
}

/* The variant that a rollout serves to all; kind FFE_MISSING where it serves nothing. */
static bool
rolled_out(ffe_node rollout, ffe_node *variant)
{
	ffe_node share, weight;
	double percent;

	variant->kind = FFE_MISSING;
	if (is_empty(rollout))
		return true;
	ff_jsonb_reader.element(&rollout, 0, &share);
	weight = ff_jsonb_member(&share, "weight");
	*variant = ff_jsonb_member(&share, "variant");
	return weight.kind == FFE_NUMBER && ff_jsonb_reader.number(&weight, &percent) && percent == 100;
}

/*
 * Whether a flag serves the same to everybody: the default, by the kill switch or for want of
 * anything else; or one variant that is rolled out to all, with no rule or list that says
 * otherwise.
 */
static bool
serves_one(const ffe_node *flag)
{
	ffe_node experiment = ff_jsonb_member(flag, "experiment");
	ffe_node bucketing = ff_jsonb_member(flag, "bucketing");
	ffe_node variant;

	if (!is_true(ff_jsonb_member(flag, "enabled")))
		return true;
	return is_empty(ff_jsonb_member(flag, "requires")) &&
		   !is_true(ff_jsonb_member(&experiment, "active")) &&
		   rolled_out(ff_jsonb_member(flag, "rollout"), &variant) &&
		   (variant.kind == FFE_MISSING || is_empty(ff_jsonb_member(&bucketing, "by"))) &&
		   all_serve(ff_jsonb_member(flag, "overrides"), "variant", &variant) &&
		   all_serve(ff_jsonb_member(flag, "rules"), "serve", &variant);
}

/* ---------- the reasons ---------- */

static TimestampTz
time_column(const FfTable *columns, const char *name, HeapTuple row, TupleDesc desc)
{
	bool isnull;
	Datum time = heap_getattr(row, ff_table_column(columns, name), desc, &isnull);

	return isnull ? DT_NOEND : DatumGetTimestampTz(time);
}

/* Reports a flag that was not evaluated for as long as that is known. */
static void
report_unused(const FfReport *report, const char *key, TimestampTz created)
{
	TimestampTz since, last;

	if (!ff_usage_is_kept())
		return;
	last = ff_last_usage(report->space, key, &since);
	if (last == 0)
		last = Max(since, created);
	if (last < report->before)
		put(report, key, "not evaluated", last);
}

static void
report_flag(const FfReport *report, const FfTable *columns, HeapTuple row, TupleDesc desc)
{
	ffe_node flag = ff_jsonb_node(ff_row_document(columns, row, desc));
	bool isnull;
	char *key =
		TextDatumGetCString(heap_getattr(row, ff_table_column(columns, "key"), desc, &isnull));
	TimestampTz expires = time_column(columns, "expires_at", row, desc);
	TimestampTz updated = time_column(columns, "updated_at", row, desc);

	if (expires < GetCurrentStatementStartTimestamp())
		put(report, key, "expired", expires);
	if (updated < report->before && serves_one(&flag))
		put(report, key, "serves one value", updated);
	report_unused(report, key, time_column(columns, "created_at", row, desc));
}

/* The active flags of a namespace that the caller may see. */
static void
report_namespace(const FfRegistration *space, ffe_object object, void *arg)
{
	FfReport *report = arg;
	SPITupleTable *rows;
	FfTable columns;

	if (object != FFE_FLAG)
		return;
	report->space = space->name;
	ff_query(psprintf("SELECT * FROM ONLY %s AS t WHERE t.state OPERATOR(pg_catalog.=) 'active' "
					  "ORDER BY t.key",
					  ff_relation_name(space->flags)),
			 true, 0, NULL, NULL, NULL);
	rows = SPI_tuptable;
	ff_describe_result(&columns, rows->tupdesc, FFE_FLAG);
	for (uint64 i = 0; i < rows->numvals; i++)
	{
		CHECK_FOR_INTERRUPTS();
		report_flag(report, &columns, rows->vals[i], rows->tupdesc);
	}
	SPI_freetuptable(rows);
}

PG_FUNCTION_INFO_V1(ff_stale_flags);

Datum
ff_stale_flags(PG_FUNCTION_ARGS)
{
	FfReport report = {.rsinfo = (ReturnSetInfo *) fcinfo->resultinfo};

	InitMaterializedSRF(fcinfo, 0);
	report.before =
		GetCurrentStatementStartTimestamp() - (TimestampTz) ff_stale_after * USECS_PER_SEC;
	SPI_connect();
	ff_each_readable(report_namespace, &report);
	SPI_finish();
	return (Datum) 0;
}
