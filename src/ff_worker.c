/*
 * src/ff_worker.c
 *	  The background worker of a database: it flushes exposures, and does the upkeep.
 *
 * It is there as long as the extension is. A failure is written to the log and counted; what it was
 * about is tried again, later each time. When it is told to go it flushes once more.
 */
#include "ff_worker.h"

#include "access/xact.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "ff_flush.h"
#include "ff_maintain.h"

#define UPKEEP_INTERVAL (60 * 60 * 1000)
#define UPKEEP_RETRY (60 * 1000)
#define FIRST_RETRY 1000
#define LAST_RETRY (5 * 60 * 1000)

int ff_exposure_flush_interval = 10000;

PGDLLEXPORT void ff_worker_main(Datum arg);

/* A thing to do in a transaction. */
typedef void (*FfJob)(void *arg);

/* When a job is due; milliseconds. */
typedef struct FfSchedule
{
	TimestampTz next_flush;
	TimestampTz next_upkeep;
	int retry; /* after the last attempt failed; 0: it did not */
} FfSchedule;

static MemoryContext job_context;

/* ---------- jobs ---------- */

/* Runs a job. A failure becomes a line in the log; false then. */
static bool
run(FfJob job, void *arg)
{
	volatile bool done = false;

	MemoryContextReset(job_context);
	PG_TRY();
	{
		SetCurrentStatementStartTimestamp();
		StartTransactionCommand();
		PushActiveSnapshot(GetTransactionSnapshot());
		MemoryContextSwitchTo(job_context);
		job(arg);
		PopActiveSnapshot();
		CommitTransactionCommand();
		done = true;
	}
	PG_CATCH();
	{
		ErrorData *error;

		HOLD_INTERRUPTS();
		MemoryContextSwitchTo(job_context);
		error = CopyErrorData();
		EmitErrorReport();
		AbortCurrentTransaction();
		FlushErrorState();
		ff_note_flush_error(error->message);
		RESUME_INTERRUPTS();
	}
	PG_END_TRY();
	pgstat_report_stat(false);
	return done;
}

static void
find_extension(void *extension)
{
	*(Oid *) extension = get_extension_oid("ff", true);
}

static void
flush(void *with_failed)
{
	pgstat_report_activity(STATE_RUNNING, "flush exposures");
	(void) ff_flush(*(bool *) with_failed);
}

static void
make_partitions(void *arg)
{
	pgstat_report_activity(STATE_RUNNING, "make partitions of ff.exposures");
	ff_make_partitions(arg);
}

static void
drop_partitions(void *arg)
{
	pgstat_report_activity(STATE_RUNNING, "drop partitions of ff.exposures");
	ff_drop_partitions(arg);
}

static void
check_sample_ratios(void *arg)
{
	(void) arg;
	pgstat_report_activity(STATE_RUNNING, "check sample ratios of experiments");
	ff_check_sample_ratios();
}

/* ---------- the schedule ---------- */

static TimestampTz
after(int milliseconds)
{
	return TimestampTzPlusMilliseconds(GetCurrentTimestamp(), milliseconds);
}

static void
do_upkeep(FfSchedule *schedule)
{
	FfUpkeep upkeep = {0};
	bool done = run(make_partitions, &upkeep);

	done = run(drop_partitions, &upkeep) && done;
	done = run(check_sample_ratios, NULL) && done && upkeep.put_off == 0;
	schedule->next_upkeep = after(done ? UPKEEP_INTERVAL : UPKEEP_RETRY);
	pgstat_report_activity(STATE_IDLE, NULL);
}

/* After a failure, the next flush comes later each time. */
static void
put_off(FfSchedule *schedule)
{
	schedule->retry = schedule->retry == 0 ? FIRST_RETRY : Min(2 * schedule->retry, LAST_RETRY);
	schedule->next_flush = after(schedule->retry);
}

/* By time, rows that failed before are tried again; by number, only what is new. */
static void
do_flush(FfSchedule *schedule, bool with_failed)
{
	if (run(flush, &with_failed))
	{
		schedule->retry = 0;
		schedule->next_flush = after(ff_exposure_flush_interval);
	}
	else
		put_off(schedule);
	pgstat_report_activity(STATE_IDLE, NULL);
}

static bool
has_enough(void)
{
	FfDatabase *database = ff_own_database();

	return database != NULL &&
		   pg_atomic_read_u32(&database->fresh) >= (uint32) ff_exposure_flush_count;
}

static void
do_what_is_due(FfSchedule *schedule)
{
	TimestampTz now = GetCurrentTimestamp();

	if (now >= schedule->next_flush)
		do_flush(schedule, true);
	else if (schedule->retry == 0 && has_enough())
		do_flush(schedule, false);
	if (now >= schedule->next_upkeep)
		do_upkeep(schedule);
}

static long
time_to_wait(const FfSchedule *schedule)
{
	return TimestampDifferenceMilliseconds(GetCurrentTimestamp(),
										   Min(schedule->next_flush, schedule->next_upkeep)) +
		   1;
}

/* ---------- the process ---------- */

/* Whether somebody needs the database for himself. */
static bool
must_step_aside(void)
{
	const FfDatabase *database = ff_own_database();

	return database != NULL && database->aside_until > GetCurrentTimestamp();
}

/* The launcher is told of the end of a worker only where it is the one that started it. */
static void
detach(int code, Datum arg)
{
	FfDatabase *database;

	(void) code;
	(void) arg;
	LWLockAcquire(ff_buffer_lock(), LW_EXCLUSIVE);
	database = ff_find_database(MyDatabaseId);
	if (database != NULL && database->worker == MyProcPid)
	{
		database->worker = 0;
		database->latch = NULL;
	}
	LWLockRelease(ff_buffer_lock());
	ff_wake_launcher();
}

/*
 * Makes this the worker of its database. False: another one is, which a former launcher started, or
 * somebody wants the database for himself.
 */
static bool
attach(FfDatabase *database)
{
	bool is_needed;

	before_shmem_exit(detach, (Datum) 0);
	LWLockAcquire(ff_buffer_lock(), LW_EXCLUSIVE);
	is_needed = database->worker == 0 && database->aside_until <= GetCurrentTimestamp();
	if (is_needed)
	{
		database->worker = MyProcPid;
		database->latch = &MyProc->procLatch;
	}
	LWLockRelease(ff_buffer_lock());
	return is_needed;
}

/* What the database or a role of it is set to must not keep us from our work. */
static void
set_up(void)
{
	static const char *const settings[][2] = {
#if PG_VERSION_NUM >= 170000
		{"transaction_timeout", "0"},
#endif
		{"statement_timeout", "0"},
		{"lock_timeout", "5s"},
		{"idle_in_transaction_session_timeout", "0"},
		{"default_transaction_read_only", "off"},
		{"default_transaction_isolation", "read committed"},
		{"session_replication_role", "origin"},
		{"ff.exposure_mode", "off"}
	};

	for (int i = 0; i < (int) lengthof(settings); i++)
		SetConfigOption(settings[i][0], settings[i][1], PGC_SUSET, PGC_S_OVERRIDE);
	job_context = AllocSetContextCreate(TopMemoryContext, "ff worker", ALLOCSET_DEFAULT_SIZES);
}

bool
ff_wait(long milliseconds)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, milliseconds,
					 PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	if (!ConfigReloadPending)
		return false;
	ConfigReloadPending = false;
	ProcessConfigFile(PGC_SIGHUP);
	return true;
}

/* Waits for something to do; false when it is time to go. */
static bool
wait_for_work(FfSchedule *schedule)
{
	if (ff_wait(time_to_wait(schedule)))
		schedule->next_flush = Min(schedule->next_flush, after(ff_exposure_flush_interval));
	return !ShutdownRequestPending && !must_step_aside();
}

/* Nothing is to be written for a database without the extension. */
static void
release(void *extension)
{
	if (OidIsValid(*(Oid *) extension))
		ff_lock_flush(*(Oid *) extension);
	ff_release_database(MyDatabaseId);
}

/*
 * Works until it is told to go, or the extension is gone. Where that can't be found out, everything
 * is kept: it is looked for again before anything else is done.
 */
static void
work(Oid extension)
{
	FfSchedule schedule = {0};

	schedule.next_flush = after(ff_exposure_flush_interval);
	do
	{
		Oid found = InvalidOid;

		if (!run(find_extension, &found))
		{
			put_off(&schedule);
			schedule.next_upkeep = Max(schedule.next_upkeep, schedule.next_flush);
			continue;
		}
		if (!OidIsValid(found))
		{
			(void) run(release, &extension);
			return;
		}
		extension = found;
		do_what_is_due(&schedule);
	} while (wait_for_work(&schedule));
	do_flush(&schedule, true);
}

void
ff_worker_main(Datum arg)
{
	Oid extension = InvalidOid;
	FfDatabase *database;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(arg), InvalidOid, 0);
	set_up();
	/* one that has no extension takes no place */
	if (run(find_extension, &extension) && !OidIsValid(extension))
		(void) run(release, &extension);
	else if ((database = ff_own_database()) == NULL)
		ff_complain_of_room(LOG, MyBgworkerEntry->bgw_extra);
	else if (attach(database))
		work(extension);
}
