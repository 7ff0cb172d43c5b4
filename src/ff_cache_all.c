/*
 * src/ff_cache_all.c
 *	  The cache's other side: all flags of a namespace at once, the rows they make, and figures.
 *
 * The list of all flags has a wide stamp like an answer. To make it, both tables are read through
 * once; documents of rows that did not change are kept.
 */
#include "ff_cache_private.h"
#include "ff_usage.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"

/* ---------- all flags ---------- */

static int
compare_keys(const void *a, const void *b, void *arg)
{
	const ffe_set *set = arg;

	return strcmp(ffe_set_key(set, *(const uint32 *) a, NULL),
				  ffe_set_key(set, *(const uint32 *) b, NULL));
}

/* Reads every row of a table, compiling what is new; lists the active flags in ids. */
static ffe_status
scan_table(FfNamespace *space, ffe_object object, const FfSnapKey *now, uint64 before, uint32 **ids,
		   uint32 *count)
{
	const FfTable *table = &space->tables.table[object];
	Relation rel = NULL;
	uint32 capacity = 64;
	SysScanDesc scan;
	HeapTuple row;

	if (table->missing == NULL && !ff_has_failed(space, object, now))
		rel = ff_open_table(table->relid, false);
	if (rel == NULL)
	{
		ff_note_failure(space, object, now);
		return FFE_NOT_READY;
	}
	*ids = palloc(sizeof(uint32) * capacity);
	*count = 0;
	scan = systable_beginscan(rel, InvalidOid, false, GetActiveSnapshot(), 0, NULL);
	while ((row = systable_getnext(scan)) != NULL)
	{
		bool isnull;
		Datum datum = heap_getattr(row, table->columns[0], RelationGetDescr(rel), &isnull);
		FfEntry *entry;
		FfRowId rowid;
		uint32 id;
		text *key;

		CHECK_FOR_INTERRUPTS();
		if (unlikely(isnull))
			continue; /* nobody can ask for it, or refer to it */
		key = DatumGetTextPP(datum);
		id = ffe_set_intern(space->set, object, VARDATA_ANY(key), VARSIZE_ANY_EXHDR(key));
		if (id == FFE_NO_ID || !ff_grow_entries(space))
			break;
		entry = &space->entries[id];
		rowid = ff_row_id(rel, row);
		if (ffe_set_doc(space->set, id) == NULL || !ff_same_row(&entry->rowid, &rowid))
		{
			ff_load_row(table, space->set, id, row, RelationGetDescr(rel));
			ff_contents++;
			if (!ff_grow_entries(space))
				break;
			entry = &space->entries[id];
			entry->rowid = rowid;
			ff_account(space, id);
			ff_counts.loads++;
		}
		entry->row.generation = before;
		entry->row.snap = *now;
		entry->not_ready = false;
		entry->used = true;
		if (*count == capacity)
			*ids = repalloc(*ids, sizeof(uint32) * (capacity *= 2));
		(*ids)[(*count)++] = id;
	}
	systable_endscan(scan);
	relation_close(rel, AccessShareLock);
	return row == NULL ? FFE_OK : FFE_NO_MEMORY;
}

/* Makes the list of all active flags, with all of them and all segments loaded. */
static ffe_status
list_all(FfNamespace *space, const FfSnapKey *now)
{
	uint64 before = ff_generation;
	uint32 *ids, *segment_ids;
	uint32 count, segment_count;
	uint32 active = 0;
	ffe_status status = scan_table(space, FFE_SEGMENT, now, before, &segment_ids, &segment_count);

	if (status == FFE_OK)
		status = scan_table(space, FFE_FLAG, now, before, &ids, &count);
	if (status != FFE_OK)
		return status;
	for (uint32 i = 0; i < count; i++)
	{
		const ffe_doc *doc = ffe_set_doc(space->set, ids[i]);

		if (doc != NULL && ffe_doc_status(doc) != FFE_FLAG_ARCHIVED)
			ids[active++] = ids[i];
	}
	qsort_arg(ids, active, sizeof(uint32), compare_keys, space->set);
	for (uint32 i = 0; i < active; i++)
	{
		status = ff_check_closure(space, ids[i], now);
		if (status != FFE_OK)
			return status;
	}
	if (space->all_ids != NULL)
		pfree(space->all_ids);
	space->all_count = 0;
	space->all_ids = MemoryContextAlloc(space->context, sizeof(uint32) * Max(active, 1));
	memcpy(space->all_ids, ids, sizeof(uint32) * active);
	space->all_count = active;
	set_wide_stamp(&space->all, now, before);
	pfree(ids);
	pfree(segment_ids);
	return FFE_OK;
}

ffe_status
ff_cache_all(const char *name, FfNamespace **out, uint32 **ids, uint32 *count)
{
	FfNamespace *space;
	FfSnapKey now;
	ffe_status status;

	AcceptInvalidationMessages();
	space = ff_find_namespace(name == NULL ? ff_namespace : name);
	ff_keep_within_limit();
	now = snap_key(GetActiveSnapshot());
	status = ff_begin(space, &now);
	if (status == FFE_OK && !wide_stamp_is_good(&space->all, &now))
	{
		ff_notice();
		status = list_all(space, &now);
	}
	*out = space;
	*ids = space->all_ids;
	*count = status == FFE_OK ? space->all_count : 0;
	for (uint32 i = 0; ff_usage_is_kept() && i < *count; i++)
		ff_note_evaluation(space, space->all_ids[i]);
	return status;
}

/* ---------- rows ---------- */

/*
 * The place for the row of a flag's result: formed before, or to be formed by the caller and put
 * there by ff_cache_keep_answer. Few results make many rows: most contexts get the same few.
 */
FfAnswer *
ff_cache_answer(FfNamespace *space, uint32 id, const ffe_result *result)
{
	FfEntry *entry = &space->entries[id];
	FfAnswer *answer;

	if (unlikely(entry->answers == NULL))
	{
		entry->answers = MemoryContextAllocZero(space->context, sizeof(FfAnswer) * FF_ANSWERS);
		ff_cached_bytes += sizeof(FfAnswer) * FF_ANSWERS;
	}
	answer =
		&entry->answers[(uint32) (result->variant + result->rule + result->reason) % FF_ANSWERS];
	if (answer->row != NULL && (answer->variant != result->variant ||
								answer->rule != result->rule || answer->reason != result->reason))
	{
		ff_cached_bytes -= answer->row->t_len;
		pfree(answer->row);
		answer->row = NULL;
	}
	return answer;
}

void
ff_cache_keep_answer(FfNamespace *space, FfAnswer *answer, const ffe_result *result,
					 MinimalTuple row)
{
	MemoryContext old = MemoryContextSwitchTo(space->context);

	answer->variant = result->variant;
	answer->rule = result->rule;
	answer->reason = result->reason;
	answer->row = ff_copy_minimal_tuple(row);
	ff_cached_bytes += row->t_len;
	MemoryContextSwitchTo(old);
}

/* ---------- figures ---------- */

PG_FUNCTION_INFO_V1(ff_cache_info);

Datum
ff_cache_info(PG_FUNCTION_ARGS)
{
	TupleDesc desc;
	Datum values[10];
	bool nulls[10] = {false};
	int64 objects[2] = {0, 0};
	int count = 0;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	for (FfNamespace *space = ff_namespaces; space != NULL; space = space->next, count++)
	{
		for (uint32 id = 0; space->set != NULL && id < ffe_set_count(space->set); id++)
			objects[ffe_set_object(space->set, id)] += ffe_set_doc(space->set, id) != NULL;
	}
	values[0] = Int32GetDatum(count);
	values[1] = Int64GetDatum(objects[FFE_FLAG]);
	values[2] = Int64GetDatum(objects[FFE_SEGMENT]);
	values[3] = Int64GetDatum((int64) ff_total_bytes());
	values[4] = Int64GetDatum((int64) ff_cache_size * 1024);
	values[5] = Int64GetDatum((int64) ff_generation);
	values[6] = Int64GetDatum((int64) ff_counts.hits);
	values[7] = Int64GetDatum((int64) ff_counts.checks);
	values[8] = Int64GetDatum((int64) ff_counts.loads);
	values[9] = Int64GetDatum((int64) ff_counts.evictions);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, values, nulls)));
}
