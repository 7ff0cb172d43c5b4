/*
 * src/ff_explain.c
 *	  ff_explain: an evaluation, step by step.
 *
 * The rule: it reads the table under the caller's rights and the statement's snapshot, compiles
 * what it finds and uses nothing of the cache. So it shows rules only to those who may read them,
 * and what it answers can be held against what ff_evaluate answers.
 */
#include "ff_spi.h"
#include "ff_write.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#define EXPLAIN_COLUMNS 6

typedef struct FfTrace
{
	ReturnSetInfo *rsinfo;
	const ffe_set *set;
	int32 step;
} FfTrace;

static void
put_row(FfTrace *trace, const char *stage, const char *object, const char *path, bool matched,
		const char *detail)
{
	Datum values[EXPLAIN_COLUMNS];
	bool nulls[EXPLAIN_COLUMNS] = {false};

	values[0] = Int32GetDatum(++trace->step);
	values[1] = CStringGetTextDatum(stage);
	values[2] = CStringGetTextDatum(object);
	values[3] = CStringGetTextDatum(path);
	nulls[3] = path[0] == '\0';
	values[4] = BoolGetDatum(matched);
	values[5] = CStringGetTextDatum(detail);
	tuplestore_putvalues(trace->rsinfo->setResult, trace->rsinfo->setDesc, values, nulls);
}

static void
put_step(void *arg, const ffe_step *step)
{
	FfTrace *trace = arg;
	const char *key = ffe_set_key(trace->set, step->object, NULL);
	char *object =
		psprintf("%*s%s \"%s\"", 2 * (int) step->depth, "",
				 ffe_set_object(trace->set, step->object) == FFE_FLAG ? "flag" : "segment", key);

	put_row(trace, ffe_stage_name(step->stage), object, step->path, step->matched, step->detail);
	pfree(object);
}

/* The last row: what ff_evaluate answers, as JSON. */
static void
put_result(FfTrace *trace, const char *key, const ffe_result *result)
{
	StringInfoData detail;
	char message[1024];
	const char *string;
	ffe_value value;
	size_t len;

	initStringInfo(&detail);
	ffe_result_value(result, &value);
	appendStringInfoString(&detail, "{\"value\": ");
	if (value.kind == FFE_MISSING)
		appendStringInfoString(&detail, "null");
	else if (value.copy == NULL)
		appendStringInfoString(&detail, value.boolean ? "true" : "false");
	else
		JsonbToCString(&detail, &((Jsonb *) unconstify(void *, value.copy))->root,
					   (int) value.copy_len);
	string = ffe_result_variant(result, &len);
	if (result->status == FFE_OK && string != NULL)
		appendStringInfo(&detail, ", \"variant_key\": \"%.*s\"", (int) len, string);
	appendStringInfo(&detail, ", \"reason\": \"%s\"", ffe_reason_name(result->reason));
	string = ffe_result_rule(result, &len);
	if (string != NULL)
		appendStringInfo(&detail, ", \"rule_id\": \"%.*s\"", (int) len, string);
	if (result->status != FFE_OK)
	{
		ffe_result_message(trace->set, result, message, sizeof(message));
		appendStringInfo(&detail, ", \"error_code\": \"%s\", \"error_message\": ",
						 ffe_status_name(result->status));
		escape_json(&detail, message);
	}
	appendStringInfoChar(&detail, '}');
	put_row(trace, "result", psprintf("flag \"%s\"", key), "", result->status == FFE_OK,
			detail.data);
}

/* Takes out of the set what a policy hides from the caller: it is explained as not there. */
static void
hide_by_policies(const FfTables *tables, ffe_set *set)
{
	for (uint32 id = 0; id < ffe_set_count(set); id++)
	{
		const FfTable *table = &tables->table[ffe_set_object(set, id)];

		if (ffe_set_doc(set, id) == NULL ||
			check_enable_rls(table->relid, InvalidOid, true) != RLS_ENABLED)
			continue;
		SPI_connect();
		if (!ff_fetch_row(table, ffe_set_key(set, id, NULL), false))
			ffe_set_put(set, id, NULL);
		SPI_finish();
	}
}

PG_FUNCTION_INFO_V1(ff_explain);

Datum
ff_explain(PG_FUNCTION_ARGS)
{
	FfTrace trace = {(ReturnSetInfo *) fcinfo->resultinfo, NULL, 0};
	ffe_alloc alloc = ff_allocator(CurrentMemoryContext);
	ffe_node context = {.kind = FFE_NULL};
	FfTables tables;
	ffe_result result;
	ffe_state *state;
	ffe_set *set;
	char *key;
	uint32 id;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	key = text_to_cstring(PG_GETARG_TEXT_PP(0));
	ff_named_tables(PG_ARGISNULL(2) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(2)), &tables);
	ff_check_may_read(&tables.table[FFE_FLAG]);
	ff_check_may_read(&tables.table[FFE_SEGMENT]);
	if (!PG_ARGISNULL(1))
		context = ff_jsonb_node(PG_GETARG_JSONB_P(1));
	if (context.kind == FFE_NULL && !PG_ARGISNULL(1))
		context.kind = FFE_ARRAY;

	set = ffe_set_new(&alloc);
	state = set == NULL ? NULL : ffe_state_new(&alloc);
	id = state == NULL ? FFE_NO_ID : ffe_set_intern(set, FFE_FLAG, key, strlen(key));
	if (id == FFE_NO_ID)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	PG_TRY();
	{
		ff_load_closure(&tables, set, id, GetActiveSnapshot());
		hide_by_policies(&tables, set);
		if (!ffe_state_reserve(state, set))
			ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
		trace.set = set;
		ffe_state_begin(state, &ff_jsonb_reader, &context, ff_statement_time());
		ffe_state_trace(state, put_step, &trace);
		ffe_evaluate(state, set, id, &result);
		put_result(&trace, key, &result);
	}
	PG_FINALLY();
	{
		/* regular expressions are not in the memory context */
		ffe_state_free(state);
		ffe_set_free(set);
	}
	PG_END_TRY();
	return (Datum) 0;
}
