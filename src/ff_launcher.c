/*
 * src/ff_launcher.c
 *	  The launcher: a background worker without a database that has each database with the extension
 *	  have its worker.
 *
 * Whether a database has the extension can be seen only from within. So a worker is started in each
 * database when the server starts and when a database appears, and goes again at once, with the
 * database's place in the buffer, where there is nothing to do for it. A place that is still there
 * when its worker has ended says that a worker belongs there.
 *
 * A launcher that comes after another one, which died, finds workers that it did not start. Whether
 * a database has one is therefore read from the database's place.
 */
#include "ff_worker.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "ff_buffer_private.h"

#define LOOK_AGAIN (60 * 1000) /* for databases that appeared */
#define FIRST_RETRY 1000       /* of a worker that ended */
#define LAST_RETRY (60 * 1000)
#define LIVED_LONG (60 * 1000) /* a worker that did is started again at once */
#define STEP_ASIDE (10 * 1000) /* longer than those who need the database alone wait for it */
#define REFUSALS 5             /* of a process before that is said: they come and go */

PGDLLEXPORT void ff_launcher_main(Datum arg);

/* A database, and what has come of its worker. */
typedef struct FfPost
{
	Oid database;
	NameData name;
	bool exists;  /* as of the last look */
	bool is_open; /* a worker may be there */
	bool is_wanted;
	bool is_manned;                 /* a worker is at work, whoever started it */
	BackgroundWorkerHandle *worker; /* the one that we started last; NULL: it has ended */
	TimestampTz started;
	TimestampTz not_before;
	int retry;
	int refusals; /* since the last worker: there was no process for another */
	bool has_complained;
} FfPost;

static List *posts = NIL;
static bool had_room = false; /* for another database, as of the last look */

/* ---------- which databases there are ---------- */

static FfPost *
find_post(Oid database)
{
	ListCell *cell;

	foreach (cell, posts)
	{
		if (((FfPost *) lfirst(cell))->database == database)
			return lfirst(cell);
	}
	return NULL;
}

static FfPost *
make_post(Oid database)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	FfPost *post = palloc0(sizeof(FfPost));

	post->database = database;
	post->is_wanted = true;
	posts = lappend(posts, post);
	MemoryContextSwitchTo(old);
	return post;
}

/* A worker in a template would be in the way of those who copy it. */
static bool
may_have_worker(const FormData_pg_database *database)
{
	return database->datallowconn && !database->datistemplate && database->datconnlimit >= -1;
}

static void
list_databases(void)
{
	Relation rel;
	TableScanDesc scan;
	HeapTuple row;
	ListCell *cell;

	foreach (cell, posts)
		((FfPost *) lfirst(cell))->exists = false;
	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while ((row = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		const FormData_pg_database *database = (Form_pg_database) GETSTRUCT(row);
		FfPost *post = find_post(database->oid);

		if (post == NULL)
			post = make_post(database->oid);
		post->name = database->datname;
		post->exists = true;
		post->is_open = may_have_worker(database);
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();
}

/* Forgets those that are gone, and what was buffered of them. */
static void
forget_databases(void)
{
	ListCell *cell;

	foreach (cell, posts)
	{
		FfPost *post = lfirst(cell);

		if (post->exists || post->worker != NULL)
			continue;
		ff_release_database(post->database);
		posts = foreach_delete_current(posts, cell);
		pfree(post);
	}
}

/* ---------- their workers ---------- */

/* A worker that ended is missed where the database still has a place: take_wishes sees that. */
static void
see_whether_ended(FfPost *post)
{
	TimestampTz now = GetCurrentTimestamp();
	pid_t pid;

	if (GetBackgroundWorkerPid(post->worker, &pid) != BGWH_STOPPED)
		return;
	pfree(post->worker);
	post->worker = NULL;
	if (TimestampDifferenceExceeds(post->started, now, LIVED_LONG))
		post->retry = 0;
	post->not_before = TimestampTzPlusMilliseconds(now, post->retry);
	post->retry = post->retry == 0 ? FIRST_RETRY : Min(2 * post->retry, LAST_RETRY);
}

/* Those that found no place for their database have another chance when there is one again. */
static void
offer_room(void)
{
	bool has_room = ff_find_database(InvalidOid) != NULL;
	ListCell *cell;

	if (has_room && !had_room)
	{
		foreach (cell, posts)
			((FfPost *) lfirst(cell))->is_wanted = true;
	}
	had_room = has_room;
}

/* Takes notice of what was asked for, and until when somebody wants the database for himself. */
static void
take_wishes(void)
{
	ListCell *cell;

	LWLockAcquire(ff_buffer_lock(), LW_EXCLUSIVE);
	offer_room();
	foreach (cell, posts)
	{
		FfPost *post = lfirst(cell);
		FfDatabase *database = ff_find_database(post->database);

		post->is_manned = database != NULL && database->worker != 0;
		if (database == NULL)
			continue;
		if (database->is_wanted)
		{
			post->retry = 0;
			post->not_before = 0;
		}
		post->is_wanted = post->is_wanted || database->is_wanted || post->worker == NULL;
		database->is_wanted = false;
		post->not_before = Max(post->not_before, database->aside_until);
	}
	LWLockRelease(ff_buffer_lock());
}

static bool
has_place(Oid database)
{
	bool has;

	LWLockAcquire(ff_buffer_lock(), LW_SHARED);
	has = ff_find_database(database) != NULL;
	LWLockRelease(ff_buffer_lock());
	return has;
}

/* Says once that a database goes without a worker, if there is something for one to do. */
static void
complain(FfPost *post)
{
	if (post->has_complained || ++post->refusals < REFUSALS || !has_place(post->database))
		return;
	post->has_complained = true;
	ereport(LOG,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("there is no background worker left for database \"%s\"", NameStr(post->name)),
			 errdetail("Its exposures stay in memory until there is one."),
			 errhint("Raise max_worker_processes: ff needs one for itself and one for each "
					 "database that has the extension.")));
}

static void
start(FfPost *post)
{
	BackgroundWorker worker = {.bgw_flags =
								   BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION,
							   .bgw_start_time = BgWorkerStart_RecoveryFinished,
							   .bgw_restart_time = BGW_NEVER_RESTART,
							   .bgw_library_name = "ff",
							   .bgw_function_name = "ff_worker_main",
							   .bgw_type = FF_WORKER_TYPE,
							   .bgw_main_arg = ObjectIdGetDatum(post->database),
							   .bgw_notify_pid = MyProcPid};
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	bool started;

	snprintf(worker.bgw_name, BGW_MAXLEN, FF_WORKER_TYPE " for database %u", post->database);
	strlcpy(worker.bgw_extra, NameStr(post->name), sizeof(worker.bgw_extra));
	started = RegisterDynamicBackgroundWorker(&worker, &post->worker);
	MemoryContextSwitchTo(old);
	post->started = GetCurrentTimestamp();
	if (started)
	{
		post->is_wanted = false;
		post->refusals = 0;
		post->has_complained = false;
		return;
	}
	post->worker = NULL;
	post->not_before = TimestampTzPlusMilliseconds(post->started, FIRST_RETRY);
	complain(post);
}

/* Whether a worker is to be started as soon as it may. */
static bool
is_vacant(const FfPost *post)
{
	return post->exists && post->is_open && post->is_wanted && post->worker == NULL &&
		   !post->is_manned;
}

static void
see_which_ended(void)
{
	ListCell *cell;

	foreach (cell, posts)
	{
		if (((FfPost *) lfirst(cell))->worker != NULL)
			see_whether_ended(lfirst(cell));
	}
}

/* Starts those that are wanted; how long until one of them has to be seen to again. */
static long
start_workers(void)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz next = TimestampTzPlusMilliseconds(now, LOOK_AGAIN);
	ListCell *cell;

	foreach (cell, posts)
	{
		FfPost *post = lfirst(cell);

		if (is_vacant(post) && post->not_before <= now)
			start(post);
		if (is_vacant(post))
			next = Min(next, post->not_before);
	}
	return TimestampDifferenceMilliseconds(now, next) + 1;
}

/* ---------- the process ---------- */

static void
resign(int code, Datum arg)
{
	(void) code;
	(void) arg;
	ff_set_launcher(NULL);
}

/*
 * One that is told to go leaves with an error, so that it is started again: who ended it may have
 * meant it, but databases without workers are nothing to ask for. At a shutdown nobody is.
 */
void
ff_launcher_main(Datum arg)
{
	(void) arg;
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	before_shmem_exit(resign, (Datum) 0);
	ff_set_launcher(&MyProc->procLatch);
	while (!ShutdownRequestPending)
	{
		list_databases();
		see_which_ended();
		forget_databases();
		take_wishes();
		(void) ff_wait(start_workers());
	}
	proc_exit(1);
}

void
ff_wake_launcher(void)
{
	Latch *latch;

	LWLockAcquire(ff_buffer_lock(), LW_SHARED);
	latch = ff_buffer->launcher;
	LWLockRelease(ff_buffer_lock());
	if (latch != NULL)
		SetLatch(latch);
}

/* ---------- what it learns from sessions ---------- */

static object_access_hook_type previous_access = NULL;
static ProcessUtility_hook_type previous_utility = NULL;

/* An extension was created or dropped by this transaction: perhaps ours. */
static bool extension_changed = false;

/* A database may be one to have a worker now, or to have none, or leaves its place to another. */
static bool database_changed = false;

static void
access_object(ObjectAccessType access, Oid class_id, Oid object_id, int sub_id, void *arg)
{
	if (previous_access != NULL)
		previous_access(access, class_id, object_id, sub_id, arg);
	if (class_id == ExtensionRelationId && (access == OAT_POST_CREATE || access == OAT_DROP))
		extension_changed = true;
}

void
ff_complain_of_room(int level, const char *database)
{
	ereport(level, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
					errmsg("there is no room for the exposures of database \"%s\"", database),
					errdetail("They are not recorded."),
					errhint("Raise ff.max_databases, and restart the server.")));
}

/* Who creates the extension in a database too many is told. */
static void
look_for_room(void)
{
	if (OidIsValid(get_extension_oid("ff", true)) && ff_own_database() == NULL)
		ff_complain_of_room(WARNING, get_database_name(MyDatabaseId));
}

/* Has the worker look whether the extension is there, or the launcher start one to look. */
static void
transaction_end(XactEvent event, void *arg)
{
	FfDatabase *database;
	Latch *latch;

	(void) arg;
	if (event == XACT_EVENT_PRE_COMMIT && extension_changed)
		look_for_room();
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT)
		return;
	if (event == XACT_EVENT_COMMIT && extension_changed)
	{
		LWLockAcquire(ff_buffer_lock(), LW_EXCLUSIVE);
		database = ff_find_database(MyDatabaseId);
		latch = database == NULL ? NULL : database->latch;
		LWLockRelease(ff_buffer_lock());
		if (latch != NULL)
			SetLatch(latch);
		ff_want_worker(MyDatabaseId);
	}
	if (event == XACT_EVENT_COMMIT && database_changed)
		ff_wake_launcher();
	extension_changed = false;
	database_changed = false;
}

/* Sends a database's worker away for a while, where the caller may have it for himself. */
static void
send_away(const char *name)
{
	Oid oid = name == NULL ? InvalidOid : get_database_oid(name, true);
	FfDatabase *database;
	Latch *latch = NULL;

	if (!OidIsValid(oid) || !ff_owns_database(oid, GetUserId()))
		return;
	LWLockAcquire(ff_buffer_lock(), LW_EXCLUSIVE);
	database = ff_find_database(oid);
	if (database != NULL)
	{
		database->aside_until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), STEP_ASIDE);
		latch = database->latch;
	}
	LWLockRelease(ff_buffer_lock());
	if (latch != NULL)
		SetLatch(latch);
}

/* The database that CREATE DATABASE copies. */
static const char *
template_name(const CreatedbStmt *create)
{
	ListCell *cell;

	foreach (cell, create->options)
	{
		DefElem *option = lfirst(cell);

		if (strcmp(option->defname, "template") == 0 && option->arg != NULL)
			return defGetString(option);
	}
	return "template1";
}

/* The database that a statement needs for itself; NULL: none. */
static const char *
needed_alone(const Node *statement)
{
	switch (nodeTag(statement))
	{
		case T_CreatedbStmt:
			return template_name((const CreatedbStmt *) statement);
		case T_DropdbStmt:
			return ((const DropdbStmt *) statement)->dbname;
		case T_AlterDatabaseStmt:
			return ((const AlterDatabaseStmt *) statement)->dbname;
		case T_RenameStmt:
			return ((const RenameStmt *) statement)->renameType == OBJECT_DATABASE
					   ? ((const RenameStmt *) statement)->subname
					   : NULL;
		default:
			return NULL;
	}
}

static void
utility(PlannedStmt *statement, const char *query, bool read_only, ProcessUtilityContext context,
		ParamListInfo params, QueryEnvironment *environment, DestReceiver *dest,
		QueryCompletion *qc)
{
	if (unlikely(needed_alone(statement->utilityStmt) != NULL) && !RecoveryInProgress())
		send_away(needed_alone(statement->utilityStmt));
	if (previous_utility != NULL)
		previous_utility(statement, query, read_only, context, params, environment, dest, qc);
	else
		standard_ProcessUtility(statement, query, read_only, context, params, environment, dest,
								qc);
	if (IsA(statement->utilityStmt, AlterDatabaseStmt) || IsA(statement->utilityStmt, DropdbStmt))
		database_changed = true;
}

void
ff_launcher_init(void)
{
	BackgroundWorker launcher = {.bgw_name = "ff launcher",
								 .bgw_type = "ff launcher",
								 .bgw_flags =
									 BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION,
								 .bgw_start_time = BgWorkerStart_RecoveryFinished,
								 .bgw_restart_time = 5,
								 .bgw_library_name = "ff",
								 .bgw_function_name = "ff_launcher_main"};

	if (!process_shared_preload_libraries_in_progress || IsBinaryUpgrade)
		return;
	RegisterBackgroundWorker(&launcher);
	RegisterXactCallback(transaction_end, NULL);
	previous_access = object_access_hook;
	object_access_hook = access_object;
	previous_utility = ProcessUtility_hook;
	ProcessUtility_hook = utility;
}
