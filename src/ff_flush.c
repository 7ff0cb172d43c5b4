/*
 * src/ff_flush.c
 *	  Writing exposures down.
 *
 * What is written to tables leaves the buffer when the transaction commits, and not before: an
 * error, a rollback or the end of the process leaves it where it is, for the next one. Each slot
 * carries the number of the last flush that wrote it; the numbers of those that still count are
 * kept here, with the subtransaction that each belongs to.
 *
 * A row that can't be written must not keep others from it. So a batch that fails for what is in it
 * is tried again by flag, so that one flag's rows keep no other's, and what fails of those in
 * halves; what fails alone stays behind, is tried after all others, and is given up after a number
 * of attempts. Where nothing at all can be written it is not the rows' fault: everything is kept.
 */
#include "ff_flush.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

#include "ff_note.h"

/*
 * Failures of halves after which the rest waits for the next flush: of all flags together, but for
 * the least that each has; and of rows that failed before. They take a quarter of a millisecond
 * each.
 */
#define MAX_FAILURES 10000
#define LEAST_FAILURES 20
#define MAX_REPEATED_FAILURES 500

int ff_exposure_sink = FF_SINK_TABLE;

/* A flush of this transaction, in TopTransactionContext. */
typedef struct FfWritten
{
	uint32 flush;
	FfClaim claim;
	SubTransactionId subid;
	TimestampTz began;
	int64 rows;
	struct FfWritten *next;
} FfWritten;

static FfWritten *written = NULL;

typedef struct FfBatch
{
	FfRow *rows; /* the table sink sorts those that it is given */
	uint32 count;
	uint32 capacity;
	bool with_failed; /* rows that failed before, too: they come last */
	uint32 fresh;     /* how many didn't */
	FfClaim claim;
	uint32 flush;
	int64 done;
	uint32 *failed; /* slots of rows that fail alone */
	uint32 failed_count;
	ErrorData *error; /* the last one */
} FfBatch;

/* ---------- the transaction's end ---------- */

static void
note_success(const FfWritten *flush)
{
	FfDatabase *database = flush->claim.database;

	LWLockAcquire(ff_buffer_lock(), LW_EXCLUSIVE);
	if (database->oid == MyDatabaseId && database->generation == flush->claim.generation)
	{
		database->last_flush = GetCurrentTimestamp();
		database->last_duration = database->last_flush - flush->began;
		database->last_rows = flush->rows;
	}
	LWLockRelease(ff_buffer_lock());
}

void
ff_note_flush_error(const char *message)
{
	FfDatabase *database = ff_buffer_exists() ? ff_own_database() : NULL;

	if (database == NULL)
		return;
	LWLockAcquire(ff_buffer_lock(), LW_EXCLUSIVE);
	if (database->oid == MyDatabaseId)
	{
		database->errors++;
		database->last_error_at = GetCurrentTimestamp();
		strlcpy(database->last_error, message,
				pg_mbcliplen(message, (int) strlen(message), sizeof(database->last_error) - 1) + 1);
	}
	LWLockRelease(ff_buffer_lock());
}

static void
transaction_end(XactEvent event, void *arg)
{
	(void) arg;
	if (written == NULL)
		return;
	if (event == XACT_EVENT_PRE_PREPARE)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("cannot PREPARE a transaction that has flushed exposures")));
	if (event == XACT_EVENT_COMMIT)
	{
		for (const FfWritten *flush = written; flush != NULL; flush = flush->next)
		{
			ff_buffer_finish(&flush->claim, flush->flush);
			note_success(flush);
		}
	}
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT)
		written = NULL;
}

/* What a subtransaction wrote goes with it, or becomes its parent's. */
static void
subtransaction_end(SubXactEvent event, SubTransactionId subid, SubTransactionId parent, void *arg)
{
	(void) arg;
	for (FfWritten **link = &written; *link != NULL;)
	{
		if ((*link)->subid == subid && event == SUBXACT_EVENT_ABORT_SUB)
		{
			*link = (*link)->next;
			continue;
		}
		if ((*link)->subid == subid && event == SUBXACT_EVENT_COMMIT_SUB)
			(*link)->subid = parent;
		link = &(*link)->next;
	}
}

void
ff_flush_init(void)
{
	RegisterXactCallback(transaction_end, NULL);
	RegisterSubXactCallback(subtransaction_end, NULL);
}

static void
remember(const FfBatch *batch, TimestampTz began)
{
	FfWritten *flush = MemoryContextAlloc(TopTransactionContext, sizeof(FfWritten));

	flush->flush = batch->flush;
	flush->claim = batch->claim;
	flush->subid = GetCurrentSubTransactionId();
	flush->began = began;
	flush->rows = batch->done;
	flush->next = written;
	written = flush;
}

/* ---------- batches ---------- */

void
ff_lock_flush(Oid extension)
{
	LockDatabaseObject(ExtensionRelationId, extension, 1, ExclusiveLock);
}

/* Whether this transaction has written a slot already. */
static bool
is_written(const FfSlot *slot)
{
	for (const FfWritten *flush = written; flush != NULL; flush = flush->next)
	{
		if (flush->flush == slot->flush)
			return true;
	}
	return false;
}

void
ff_fill_row(FfRow *row, const FfExposure *exposure, const char *text)
{
	FfExposure *copy = palloc(sizeof(FfExposure) + ff_exposure_len(exposure) + 2);
	char *head = (char *) (copy + 1);
	char *user = head + exposure->head_len;
	char *rule = user + exposure->user_len + 1;

	*copy = *exposure;
	memcpy(head, text, exposure->head_len + exposure->user_len);
	user[exposure->user_len] = '\0';
	memcpy(rule, text + exposure->head_len + exposure->user_len, exposure->rule_len);
	rule[exposure->rule_len] = '\0';
	row->exposure = copy;
	row->name_space = head;
	row->flag_key = head + strlen(head) + 1;
	row->variant_key = row->flag_key + strlen(row->flag_key) + 1;
	row->user_id = exposure->user_len > 0 ? user : NULL;
	row->rule_id = exposure->rule_len > 0 ? rule : NULL;
}

static void
take(void *arg, uint32 number, const FfSlot *slot)
{
	FfBatch *batch = arg;
	char text[FF_MAX_EXPOSURE_TEXT];

	if (is_written(slot) || (slot->attempts > 0 && !batch->with_failed))
		return;
	if (batch->count == batch->capacity)
		batch->rows = repalloc_huge(batch->rows, sizeof(FfRow) * (Size) (batch->capacity *= 2));
	ff_buffer_text(slot, text);
	batch->rows[batch->count].slot = number;
	batch->rows[batch->count].has_failed = slot->attempts > 0;
	ff_fill_row(&batch->rows[batch->count++], &slot->exposure, text);
}

/* Puts rows that failed before behind the others, which stay in their order. */
static void
put_failed_last(FfBatch *batch)
{
	FfRow *failed = palloc_extended(sizeof(FfRow) * (Size) batch->count, MCXT_ALLOC_HUGE);
	uint32 failed_count = 0;

	batch->fresh = 0;
	for (uint32 i = 0; i < batch->count; i++)
	{
		if (batch->rows[i].has_failed)
			failed[failed_count++] = batch->rows[i];
		else
			batch->rows[batch->fresh++] = batch->rows[i];
	}
	memcpy(batch->rows + batch->fresh, failed, sizeof(FfRow) * failed_count);
	pfree(failed);
}

/* Takes what there is to be written; false: nothing. */
static bool
collect(FfBatch *batch)
{
	if (!ff_own_claim(&batch->claim))
		return false;
	batch->capacity = 1024;
	batch->rows = palloc(sizeof(FfRow) * batch->capacity);
	ff_buffer_drain(&batch->claim, take, batch);
	if (batch->count == 0 || !ff_pin(&batch->claim))
		return false;
	batch->flush = ++batch->claim.database->flush;
	ff_unpin();
	put_failed_last(batch);
	return true;
}

/* Notes in their slots that rows were written, by this flush. */
static void
mark_written(const FfBatch *batch, uint32 from, uint32 to)
{
	if (!ff_pin(&batch->claim))
		return;
	for (uint32 i = from; i < to; i++)
		ff_buffer_slot(batch->rows[i].slot)->flush = batch->flush;
	ff_unpin();
}

/* ---------- the table sink ---------- */

/* A quota and a limit for files have no code of their own, as a full disk has. */
static bool
is_out_of_quota(const ErrorData *error)
{
	return error->sqlerrcode == ERRCODE_INTERNAL_ERROR &&
		   (error->saved_errno == EDQUOT || error->saved_errno == EFBIG);
}

/*
 * Whether an error says that nothing can be written now, whatever is in a row. A trigger may raise
 * anything for one row: what is taken for the rows' fault and isn't costs time, and nothing else,
 * because attempts count only where others were written. That the tables are there and can be
 * locked has been seen to before (ff_prepare_landing).
 */
static bool
is_of_server(const ErrorData *error)
{
	switch (ERRCODE_TO_CATEGORY(error->sqlerrcode))
	{
		case ERRCODE_INVALID_TRANSACTION_STATE: /* read-only among them */
		case ERRCODE_TRANSACTION_ROLLBACK:
		case ERRCODE_INSUFFICIENT_RESOURCES:
		case ERRCODE_OPERATOR_INTERVENTION:
		case ERRCODE_SYSTEM_ERROR:
			return true;
		default:
			return error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ||
				   error->sqlerrcode == ERRCODE_OBJECT_IN_USE || is_out_of_quota(error);
	}
}

/* Lands some rows in a subtransaction. What that leaves in memory goes with scratch. */
static bool
land(FfBatch *batch, uint32 from, uint32 to, MemoryContext scratch)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool done = false;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(scratch);
	PG_TRY();
	{
		ff_land(batch->rows + from, to - from);
		ReleaseCurrentSubTransaction();
		done = true;
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		if (batch->error != NULL)
			FreeErrorData(batch->error);
		batch->error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return done;
}

/* Writes some rows. False: they, or some of them, can't be. */
static bool
try_rows(FfBatch *batch, uint32 from, uint32 to)
{
	MemoryContext scratch;
	bool done;

	CHECK_FOR_INTERRUPTS();
	scratch = AllocSetContextCreate(CurrentMemoryContext, "ff landing", ALLOCSET_DEFAULT_SIZES);
	done = land(batch, from, to, scratch);
	MemoryContextDelete(scratch);
	if (!done && is_of_server(batch->error))
		ReThrowError(batch->error);
	if (!done)
		return false;
	mark_written(batch, from, to);
	batch->done += to - from;
	return true;
}

/*
 * Writes the halves of what has failed, and theirs, as long as there are failures left. Every other
 * flush begins at the other end: what is in the way of one is behind the rest in the next.
 */
static void
write_halves(FfBatch *batch, uint32 from, uint32 to, int *failures)
{
	uint32 middle = from + (to - from) / 2;
	uint32 ends[2][2] = {{from, middle}, {middle, to}};

	if (to - from == 1)
	{
		batch->failed[batch->failed_count++] = batch->rows[from].slot;
		return;
	}
	for (uint32 i = 0; i < 2; i++)
	{
		const uint32 *half = ends[(i + batch->flush) % 2];

		if (*failures <= 0 || try_rows(batch, half[0], half[1]))
			continue;
		(*failures)--;
		write_halves(batch, half[0], half[1], failures);
	}
}

static int
compare_flags(const void *x, const void *y)
{
	const FfRow *a = x;
	const FfRow *b = y;
	int order = strcmp(a->flag_key, b->flag_key);

	return order != 0 ? order : strcmp(a->name_space, b->name_space);
}

/* Where the rows of one flag end. */
static uint32
end_of_flag(const FfBatch *batch, uint32 from, uint32 to)
{
	uint32 end = from + 1;

	while (end < to && compare_flags(&batch->rows[from], &batch->rows[end]) == 0)
		end++;
	return end;
}

/* Writes rows that failed together: first each flag's, then what can be of those that fail. */
static void
write_by_flag(FfBatch *batch, uint32 to)
{
	uint32(*failing)[2] = palloc_extended(sizeof(uint32[2]) * (Size) to, MCXT_ALLOC_HUGE);
	uint32 count = 0;

	qsort(batch->rows, to, sizeof(FfRow), compare_flags);
	for (uint32 from = 0, end; from < to; from = end)
	{
		end = end_of_flag(batch, from, to);
		if (end - from < to && try_rows(batch, from, end))
			continue;
		failing[count][0] = from;
		failing[count++][1] = end;
	}
	for (uint32 i = 0; i < count; i++)
	{
		int failures = Max(MAX_FAILURES / (int) count, LEAST_FAILURES);

		write_halves(batch, failing[i][0], failing[i][1], &failures);
	}
	pfree(failing);
}

/* Writes what can be written. */
static void
write_rows(FfBatch *batch)
{
	int failures = MAX_REPEATED_FAILURES;

	batch->failed = palloc_extended(sizeof(uint32) * (Size) batch->count, MCXT_ALLOC_HUGE);
	if (batch->fresh > 0 && !try_rows(batch, 0, batch->fresh))
		write_by_flag(batch, batch->fresh);
	if (batch->fresh < batch->count && !try_rows(batch, batch->fresh, batch->count))
		write_halves(batch, batch->fresh, batch->count, &failures);
}

/*
 * What fails while others are written has one attempt less. Where nothing is written it may be
 * anything: it is only known, then, that these have failed.
 */
static void
count_attempts(const FfBatch *batch)
{
	if (!ff_pin(&batch->claim))
		return;
	for (uint32 i = 0; i < batch->failed_count; i++)
	{
		FfSlot *slot = ff_buffer_slot(batch->failed[i]);

		if (batch->done > 0 || slot->attempts == 0)
			slot->attempts++;
	}
	ff_unpin();
}

/* That rows fail which are known to is not written to the log again and again. */
static void
report_failed(const FfBatch *batch)
{
	uint32 left = batch->count - (uint32) batch->done;
	bool is_worker = MyBackendType == B_BG_WORKER;
	bool is_new = batch->done > 0 || batch->fresh > 0;

	ff_note_flush_error(batch->error->message);
	ereport(is_new      ? LOG
			: is_worker ? DEBUG1
						: WARNING,
			(errcode(batch->error->sqlerrcode),
			 errmsg_plural("%u exposure could not be written: %s",
						   "%u exposures could not be written: %s", left, left,
						   batch->error->message),
			 errdetail("One that fails alone is given up after %d attempts in which others were "
					   "written.",
					   FF_MAX_ATTEMPTS)));
}

/*
 * That nothing could be written is an error for who asked for it. The worker goes on as if it had
 * been: what comes next, and is not broken, has to wait for its time and no longer.
 */
static void
flush_to_table(FfBatch *batch)
{
	TimestampTz began = GetCurrentTimestamp();
	int64 lost;

	ff_prepare_landing();
	write_rows(batch);
	if (batch->done > 0)
		remember(batch, began);
	if (batch->done == batch->count)
		return;
	count_attempts(batch);
	if (batch->done == 0 && batch->fresh > 0 && MyBackendType != B_BG_WORKER)
		ReThrowError(batch->error);
	report_failed(batch);
	lost = ff_buffer_give_up(&batch->claim);
	if (lost > 0)
		ereport(WARNING, (errmsg("gave up on exposures of %lld evaluations", (long long) lost)));
}

/* ---------- flushing ---------- */

/* What is in a file is there, whatever becomes of the transaction. */
static void
flush_to_file(FfBatch *batch)
{
	FfWritten flush = {.claim = batch->claim, .began = GetCurrentTimestamp(), .rows = batch->count};

	while (batch->done < batch->count)
	{
		uint32 from = (uint32) batch->done;
		uint32 lines = ff_write_lines(batch->rows + from, batch->count - from);

		mark_written(batch, from, from + lines);
		ff_buffer_finish(&batch->claim, batch->flush);
		batch->done += lines;
	}
	note_success(&flush);
}

int64
ff_flush(bool with_failed)
{
	FfBatch batch = {.with_failed = with_failed};

	if (!ff_buffer_exists() || RecoveryInProgress() || ff_exposure_sink == FF_SINK_MEMORY)
		return 0;
	if (ff_exposure_sink == FF_SINK_TABLE)
		ff_check_isolation("ff_flush_exposures()");
	ff_check_not_landing();
	ff_note_push();
	ff_lock_flush(get_extension_oid("ff", false));
	if (!collect(&batch))
		return 0;
	if (ff_exposure_sink == FF_SINK_FILE)
		flush_to_file(&batch);
	else
		flush_to_table(&batch);
	return batch.done;
}

PG_FUNCTION_INFO_V1(ff_flush_exposures);

Datum
ff_flush_exposures(PG_FUNCTION_ARGS)
{
	MemoryContext scratch =
		AllocSetContextCreate(CurrentMemoryContext, "ff flush", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(scratch);
	int64 rows = ff_flush(true);

	MemoryContextSwitchTo(old);
	MemoryContextDelete(scratch);
	PG_RETURN_INT64(rows);
}
