/*
 * src/ff_standing.c
 *	  What each exposure of a batch says of its user: whether he is new, or in another variant now.
 *
 * Nobody else writes assignments, and one batch is written at a time (ff_lock_flush): so one look
 * at the index for each user tells, and what is written after needs no joins. The rows are put in
 * the index's order for it.
 */
#include "ff_event.h"
#include "ff_flush.h"

#include "access/genam.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_collation_d.h"
#include "executor/tuptable.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

/* An index of a table, to be asked for many users. */
typedef struct FfLookup
{
	Relation heap;
	Relation index;
	IndexScanDesc scan;
	TupleTableSlot *slot;
} FfLookup;

typedef struct FfLookups
{
	FfLookup assignments;
	FfLookup crossovers;
} FfLookups;

/* ---------- looking up ---------- */

static void
open_lookup(FfLookup *lookup, const char *table, const char *index, int keys, Snapshot snapshot)
{
	lookup->heap = ff_open_own(table, AccessShareLock);
	lookup->index = ff_open_own_index(index, AccessShareLock);
	lookup->scan = ff_index_beginscan(lookup->heap, lookup->index, snapshot, keys);
	lookup->slot = table_slot_create(lookup->heap, NULL);
}

static void
close_lookup(FfLookup *lookup)
{
	ExecDropSingleTupleTableSlot(lookup->slot);
	index_endscan(lookup->scan);
	index_close(lookup->index, AccessShareLock);
	table_close(lookup->heap, AccessShareLock);
}

/* Whether column i (from 0) of a slot is this string. */
static bool
column_is(const TupleTableSlot *slot, int i, const char *string)
{
	const text *value = DatumGetTextPP(slot->tts_values[i]);
	size_t len = strlen(string);

	return VARSIZE_ANY_EXHDR(value) == len && memcmp(VARDATA_ANY(value), string, len) == 0;
}

/* Finds a user's assignment; its columns are in the slot then. */
static bool
look_up_assignment(FfLookup *lookup, const FfRow *row)
{
	TupleTableSlot *slot = lookup->slot;
	ScanKeyData keys[2];

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(row->flag_hash));
	ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(row->user_hash));
	index_rescan(lookup->scan, keys, 2, NULL, 0);
	while (index_getnext_slot(lookup->scan, ForwardScanDirection, slot))
	{
		slot_getsomeattrs(slot, 5);
		if (column_is(slot, 2, row->user_id) && column_is(slot, 1, row->flag_key) &&
			column_is(slot, 0, row->name_space))
			return true;
	}
	return false;
}

static bool
look_up_crossover(FfLookup *lookup, const FfRow *row)
{
	const char *const values[] = {row->name_space, row->flag_key, row->user_id, row->variant_key};
	ScanKeyData keys[lengthof(values)];

	for (int i = 0; i < (int) lengthof(values); i++)
		ScanKeyInit(&keys[i], (AttrNumber) (i + 1), BTEqualStrategyNumber, F_TEXTEQ,
					CStringGetTextDatum(values[i]));
	index_rescan(lookup->scan, keys, lengthof(values), NULL, 0);
	return index_getnext_slot(lookup->scan, ForwardScanDirection, lookup->slot);
}

/* ---------- standings ---------- */

static int32
hash_text(const char *string)
{
	text *value = cstring_to_text(string);
	int32 hash =
		DatumGetInt32(DirectFunctionCall1Coll(hashtext, C_COLLATION_OID, PointerGetDatum(value)));

	pfree(value);
	return hash;
}

/* The hashes of the index, of all rows: few flags, many users. */
static void
hash_rows(FfRow *rows, uint32 count)
{
	for (uint32 i = 0; i < count; i++)
	{
		bool is_same = i > 0 && strcmp(rows[i].flag_key, rows[i - 1].flag_key) == 0;

		rows[i].flag_hash = is_same ? rows[i - 1].flag_hash : hash_text(rows[i].flag_key);
		rows[i].user_hash = rows[i].user_id == NULL ? 0 : hash_text(rows[i].user_id);
	}
}

/* Those without a user come first. */
static int
compare_users(const FfRow *a, const FfRow *b)
{
	int order;

	if (a->flag_hash != b->flag_hash)
		return a->flag_hash < b->flag_hash ? -1 : 1;
	if (a->user_hash != b->user_hash)
		return a->user_hash < b->user_hash ? -1 : 1;
	order = strcmp(a->flag_key, b->flag_key);
	if (order == 0)
		order = strcmp(a->name_space, b->name_space);
	if (order == 0 && (a->user_id == NULL || b->user_id == NULL))
		return (a->user_id != NULL) - (b->user_id != NULL);
	return order != 0 ? order : strcmp(a->user_id, b->user_id);
}

/* By user, and the rows of one by time; at the same time by run. */
static int
compare_rows(const void *x, const void *y)
{
	const FfRow *a = x;
	const FfRow *b = y;
	int order = compare_users(a, b);

	if (order == 0)
		order = (a->exposure->time > b->exposure->time) - (a->exposure->time < b->exposure->time);
	if (order != 0)
		return order;
	return (a->exposure->started > b->exposure->started) -
		   (a->exposure->started < b->exposure->started);
}

/* What is known of a user while his rows are gone through. */
typedef struct FfUser
{
	char *assigned; /* his variant; NULL: none */
	TimestampTz assigned_at;
	FfRow *first; /* of his rows of this run */
	bool renewed; /* what is in the tables was of a former run */
} FfUser;

static FfUser
find_user(FfLookups *lookups, FfRow *first)
{
	FfUser user = {.first = first};
	const TupleTableSlot *slot = lookups->assignments.slot;

	if (first->user_id == NULL || !look_up_assignment(&lookups->assignments, first))
		return user;
	user.assigned = TextDatumGetCString(slot->tts_values[3]);
	user.assigned_at = DatumGetTimestampTz(slot->tts_values[4]);
	return user;
}

/* Whether a row is the first of a run that began after its user was assigned in another. */
static bool
begins_run(const FfUser *user, const FfRow *row)
{
	return user->assigned_at < row->exposure->started &&
		   row->exposure->time >= row->exposure->started;
}

/* Whether a row comes late: it was before the run that its user has been assigned in since. */
static bool
is_of_former_run(const FfUser *user, const FfRow *row)
{
	return row->exposure->time < row->exposure->started &&
		   user->assigned_at >= row->exposure->started;
}

/* Whether a row of this batch has said already that the user crossed over to row's variant. */
static bool
has_crossed(const FfUser *user, const FfRow *row)
{
	for (const FfRow *before = user->first; before < row; before++)
	{
		if (before->standing == FF_CROSSED && strcmp(before->variant_key, row->variant_key) == 0)
			return true;
	}
	return false;
}

static void
assign(FfUser *user, FfRow *row)
{
	user->assigned = pstrdup(row->variant_key);
	user->assigned_at = row->exposure->time;
}

/* All that was before is none for this run: what this batch says of it, and what is in the tables.
 */
static void
assign_anew(FfUser *user, FfRow *row)
{
	for (FfRow *before = user->first; before < row; before++)
		before->standing = FF_SEEN;
	user->first = row;
	user->renewed = true;
	assign(user, row);
}

static FfStanding
judge_row(FfLookups *lookups, FfUser *user, FfRow *row)
{
	if (user->assigned == NULL)
	{
		assign(user, row);
		return FF_NEW;
	}
	if (begins_run(user, row))
	{
		assign_anew(user, row);
		return FF_RENEWED;
	}
	if (is_of_former_run(user, row) || strcmp(user->assigned, row->variant_key) == 0 ||
		has_crossed(user, row) || (!user->renewed && look_up_crossover(&lookups->crossovers, row)))
		return FF_SEEN;
	return FF_CROSSED;
}

/* The standings of one user's rows, from first to before end. */
static void
judge_user(FfLookups *lookups, FfRow *first, FfRow *end)
{
	FfUser user = find_user(lookups, first);

	for (FfRow *row = first; row < end; row++)
	{
		row->standing = FF_SEEN;
		if (row->user_id == NULL || !row->exposure->exposed)
			continue;
		row->standing = judge_row(lookups, &user, row);
		row->first_variant = user.assigned;
	}
}

void
ff_judge(FfRow *rows, uint32 count)
{
	/* the caller's snapshot may be older than the last flush, which nobody repeats */
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	FfRow *end = rows + count;
	FfLookups lookups;

	hash_rows(rows, count);
	qsort(rows, count, sizeof(FfRow), compare_rows);
	open_lookup(&lookups.assignments, "assignments", "assignments_by_user", 2, snapshot);
	open_lookup(&lookups.crossovers, "crossovers", "crossovers_pkey", 4, snapshot);
	for (FfRow *first = rows; first < end;)
	{
		FfRow *next = first + 1;

		while (next < end && compare_users(first, next) == 0)
			next++;
		judge_user(&lookups, first, next);
		first = next;
	}
	close_lookup(&lookups.crossovers);
	close_lookup(&lookups.assignments);
	UnregisterSnapshot(snapshot);
}
