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
 * is tried again in halves; what fails alone stays behind, and is given up after a number of
 * attempts. Where nothing at all can be written it is not the rows' fault: everything is kept.
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

/* Failures of halves after which the rest waits for the next flush. */
#define MAX_FAILURES 200

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
	bool with_failed; /* rows that failed before, too */
	FfClaim claim;
	uint32 flush;
	int64 done;
	uint32 *failed; /* slots of rows that fail alone */
	uint32 failed_count;
	int failures;
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
	ff_fill_row(&batch->rows[batch->count++], &slot->exposure, text);
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

/* Whether an error may be the fault of what is in a row. */
static bool
is_of_data(const ErrorData *error)
{
	switch (ERRCODE_TO_CATEGORY(error->sqlerrcode))
	{
		case ERRCODE_DATA_EXCEPTION:
		case ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION:
		case ERRCODE_PROGRAM_LIMIT_EXCEEDED:
		case ERRCODE_TRIGGERED_ACTION_EXCEPTION:
		case ERRCODE_PLPGSQL_ERROR:
			return true;
		default:
			return false;
	}
}

/* Writes some rows, in a subtransaction. False: they, or some of them, can't be. */
static bool
try_rows(FfBatch *batch, uint32 from, uint32 to)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool done = false;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		ff_land(batch->rows + from, to - from);
		ReleaseCurrentSubTransaction();
		done = true;
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		batch->error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	if (!done && !is_of_data(batch->error))
		ReThrowError(batch->error);
	return done;
}

/* Writes rows, those that fail excepted. */
static void
write_rows(FfBatch *batch, uint32 from, uint32 to)
{
	if (from == to || batch->failures >= MAX_FAILURES)
		return;
	CHECK_FOR_INTERRUPTS();
	if (try_rows(batch, from, to))
	{
		mark_written(batch, from, to);
		batch->done += to - from;
		return;
	}
	batch->failures++;
	if (to - from == 1)
	{
		batch->failed[batch->failed_count++] = batch->rows[from].slot;
		return;
	}
	write_rows(batch, from, from + (to - from) / 2);
	write_rows(batch, from + (to - from) / 2, to);
}

/* What fails while others are written has one attempt less. */
static void
count_attempts(const FfBatch *batch)
{
	if (ff_pin(&batch->claim))
	{
		for (uint32 i = 0; i < batch->failed_count; i++)
			ff_buffer_slot(batch->failed[i])->attempts++;
		ff_unpin();
	}
	ff_note_flush_error(batch->error->message);
	ereport(LOG, (errcode(batch->error->sqlerrcode),
				  errmsg("%u exposures could not be written: %s", batch->failed_count,
						 batch->error->message),
				  errdetail("Others of their batch were. Each is given up after %d attempts.",
							FF_MAX_ATTEMPTS)));
}

static void
flush_to_table(FfBatch *batch)
{
	TimestampTz began = GetCurrentTimestamp();
	int64 lost;

	batch->failed = palloc(sizeof(uint32) * MAX_FAILURES);
	write_rows(batch, 0, batch->count);
	if (batch->done == 0)
		ReThrowError(batch->error);
	remember(batch, began);
	if (batch->failed_count == 0)
		return;
	count_attempts(batch);
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
