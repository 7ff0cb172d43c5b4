/*
 * src/ff_allocation.c
 *	  Allocations: by which shares an experiment gives variants to users at random.
 *
 * The rule: shares are those of the users who get a variant at all, because only they are exposed.
 * So the shares of an allocation sum to 100.
 */
#include "ff_analysis.h"
#include "ff_event.h"
#include "ff_spi.h"
#include "ff_write.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

/* All there is to share, in thousandths of a percent. */
#define WHOLE 100000

typedef struct FfShare
{
	const char *variant;
	int64 weight;
} FfShare;

typedef struct FfAllocation
{
	FfShare *shares;
	int count;
	int64 total;
} FfAllocation;

/* ---------- the run ---------- */

/* A member that is a time; where it is none, without. */
static TimestampTz
time_member(const ffe_node *object, const char *name, TimestampTz without)
{
	ffe_node node = ff_jsonb_member(object, name);
	int64_t time;

	if (node.kind != FFE_STRING || !ffe_parse_time(node.u.str, node.len, &time))
		return without;
	return (TimestampTz) time - FF_EPOCH_SHIFT;
}

bool
ff_read_run(const ffe_node *flag, FfRun *run)
{
	ffe_node experiment = ff_jsonb_member(flag, "experiment");
	ffe_node active = ff_jsonb_member(&experiment, "active");

	run->active = active.kind == FFE_BOOL && active.u.boolean;
	run->start = time_member(&experiment, "started_at", DT_NOBEGIN);
	run->end = time_member(&experiment, "ended_at", DT_NOEND);
	return experiment.kind == FFE_OBJECT;
}

/* ---------- shares ---------- */

static void
add_share(FfAllocation *allocation, const char *variant, int64 weight)
{
	int i = 0;

	while (i < allocation->count && strcmp(allocation->shares[i].variant, variant) != 0)
		i++;
	if (i == allocation->count)
	{
		allocation->shares[i].variant = variant;
		allocation->shares[i].weight = 0;
		allocation->count++;
	}
	allocation->shares[i].weight += weight;
	allocation->total += weight;
}

/* What a list of variants with weights says; there is room for one variant more. */
static FfAllocation
read_split(const ffe_node *split)
{
	uint32 len = split->kind == FFE_ARRAY ? split->len : 0;
	FfAllocation allocation = {.shares = palloc((len + 1) * sizeof(FfShare))};

	for (uint32 i = 0; i < len; i++)
	{
		ffe_node share, variant, weight;
		int64_t thousandths;

		ff_jsonb_reader.element(split, i, &share);
		variant = ff_jsonb_member(&share, "variant");
		weight = ff_jsonb_member(&share, "weight");
		if (variant.kind == FFE_STRING && weight.kind == FFE_NUMBER &&
			ff_jsonb_reader.integer(&weight, 3, &thousandths))
			add_share(&allocation, pnstrdup(variant.u.str, variant.len), thousandths);
	}
	return allocation;
}

/* The variant that a flag's default is, or NULL. */
static char *
default_variant(const FfTable *columns, HeapTuple row, TupleDesc desc)
{
	ffe_alloc alloc = ff_allocator(CurrentMemoryContext);
	ffe_set *set = ffe_set_new(&alloc);
	uint32 id = set == NULL ? FFE_NO_ID : ffe_set_intern(set, FFE_FLAG, "", 0);
	const char *name;
	size_t len;
	char *copy;

	if (id == FFE_NO_ID)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	ff_load_row(columns, set, id, row, desc);
	name = ffe_doc_default_variant(ffe_set_doc(set, id), &len);
	copy = name == NULL ? NULL : pnstrdup(name, len);
	ffe_set_free(set);
	return copy;
}

/* ---------- rows ---------- */

/* Columns of ff_allocations, in order. */
typedef enum FfAllocationColumn
{
	SPACE,
	KEY,
	RULE,
	VARIANT,
	WEIGHT,
	ACTIVE,
	STARTED_AT,
	ENDED_AT,
	COLUMNS
} FfAllocationColumn;

typedef struct FfRows
{
	ReturnSetInfo *rsinfo;
	MemoryContext scratch; /* of one flag */
	Datum values[COLUMNS];
	bool nulls[COLUMNS];
} FfRows;

static void
put_allocation(FfRows *rows, const FfAllocation *allocation)
{
	for (int i = 0; i < allocation->count; i++)
	{
		const FfShare *share = &allocation->shares[i];

		if (share->weight == 0)
			continue;
		rows->values[VARIANT] = CStringGetTextDatum(share->variant);
		rows->values[WEIGHT] = Float8GetDatum(share->weight * 100.0 / allocation->total);
		tuplestore_putvalues(rows->rsinfo->setResult, rows->rsinfo->setDesc, rows->values,
							 rows->nulls);
	}
}

/* Whoever is beyond the rollout gets the default: where that is a variant, it is an exposure. */
static void
put_rollout(FfRows *rows, const ffe_node *flag, const FfTable *columns, HeapTuple row,
			TupleDesc desc)
{
	ffe_node rollout = ff_jsonb_member(flag, "rollout");
	FfAllocation allocation = read_split(&rollout);
	char *rest = NULL;

	if (allocation.count > 0 && allocation.total < WHOLE)
		rest = default_variant(columns, row, desc);
	if (rest != NULL)
		add_share(&allocation, rest, WHOLE - allocation.total);
	rows->nulls[RULE] = true;
	put_allocation(rows, &allocation);
}

/* Whoever is beyond a rule's split is not served by the rule. */
static void
put_rule(FfRows *rows, const ffe_node *rule, uint32 position)
{
	ffe_node id = ff_jsonb_member(rule, "id");
	ffe_node serve = ff_jsonb_member(rule, "serve");
	FfAllocation allocation = read_split(&serve);

	rows->nulls[RULE] = false;
	rows->values[RULE] = id.kind == FFE_STRING
							 ? PointerGetDatum(cstring_to_text_with_len(id.u.str, (int) id.len))
							 : CStringGetTextDatum(psprintf("rules[%u]", position));
	put_allocation(rows, &allocation);
}

static void
put_flag(FfRows *rows, const FfTable *columns, HeapTuple row, TupleDesc desc)
{
	ffe_node flag = ff_jsonb_node(ff_row_document(columns, row, desc));
	ffe_node rules = ff_jsonb_member(&flag, "rules");
	FfRun run;

	if (!ff_read_run(&flag, &run))
		return;
	rows->values[KEY] = heap_getattr(row, ff_table_column(columns, "key"), desc, &rows->nulls[KEY]);
	rows->values[ACTIVE] = BoolGetDatum(run.active);
	rows->values[STARTED_AT] = TimestampTzGetDatum(run.start);
	rows->nulls[STARTED_AT] = run.start == DT_NOBEGIN;
	rows->values[ENDED_AT] = TimestampTzGetDatum(run.end);
	rows->nulls[ENDED_AT] = run.end == DT_NOEND;

	put_rollout(rows, &flag, columns, row, desc);
	for (uint32 i = 0; rules.kind == FFE_ARRAY && i < rules.len; i++)
	{
		ffe_node rule;

		ff_jsonb_reader.element(&rules, i, &rule);
		put_rule(rows, &rule, i);
	}
}

static void
put_namespace(const FfRegistration *space, ffe_object object, void *arg)
{
	FfRows *rows = arg;
	SPITupleTable *flags;
	FfTable columns;

	if (object != FFE_FLAG)
		return;
	ff_query(psprintf("SELECT * FROM ONLY %s AS t WHERE t.state OPERATOR(pg_catalog.<>) 'archived' "
					  "AND t.experiment IS NOT NULL ORDER BY t.key",
					  ff_relation_name(space->flags)),
			 true, 0, NULL, NULL, NULL);
	flags = SPI_tuptable;
	ff_describe_result(&columns, flags->tupdesc, FFE_FLAG);
	rows->values[SPACE] = CStringGetTextDatum(space->name);
	for (uint64 i = 0; i < flags->numvals; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(rows->scratch);

		CHECK_FOR_INTERRUPTS();
		put_flag(rows, &columns, flags->vals[i], flags->tupdesc);
		MemoryContextSwitchTo(old);
		MemoryContextReset(rows->scratch);
	}
	SPI_freetuptable(flags);
}

PG_FUNCTION_INFO_V1(ff_allocations);

Datum
ff_allocations(PG_FUNCTION_ARGS)
{
	FfRows rows = {.rsinfo = (ReturnSetInfo *) fcinfo->resultinfo};

	InitMaterializedSRF(fcinfo, 0);
	SPI_connect();
	rows.scratch =
		AllocSetContextCreate(CurrentMemoryContext, "ff allocation", ALLOCSET_DEFAULT_SIZES);
	ff_each_readable(put_namespace, &rows);
	SPI_finish();
	return (Datum) 0;
}
