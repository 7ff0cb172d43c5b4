/*
 * src/ff_shmem.c
 *	  Shared memory of the module's parts, and files that keep it over a clean restart, as
 *	  pg_stat_statements has one.
 */
#include "ff_shmem.h"

#include <unistd.h>

#include "miscadmin.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"

static shmem_request_hook_type previous_request = NULL;
static shmem_startup_hook_type previous_startup = NULL;

/* ---------- files ---------- */

void
ff_save_file(const char *path, bool (*write)(FILE *file), const char *loss)
{
	char *unfinished = psprintf("%s.tmp", path);
	FILE *file = AllocateFile(unfinished, PG_BINARY_W);
	bool ok = file != NULL && write(file);

	if (file != NULL && FreeFile(file) != 0)
		ok = false;
	if (ok)
		(void) durable_rename(unfinished, path, LOG);
	else
	{
		ereport(LOG,
				(errcode_for_file_access(), errmsg("could not write file \"%s\": %m", unfinished),
				 loss == NULL ? 0 : errdetail("%s", loss)));
		unlink(unfinished);
	}
	pfree(unfinished);
}

void
ff_restore_file(const char *path, void (*read)(FILE *file))
{
	FILE *file = AllocateFile(path, PG_BINARY_R);

	if (file == NULL)
		return;
	read(file);
	FreeFile(file);
	unlink(path);
}

/* ---------- shared memory ---------- */

static void
request(void)
{
	if (previous_request != NULL)
		previous_request();
	ff_usage_request();
	ff_buffer_request();
}

static void
save(int code, Datum arg)
{
	(void) arg;
	if (code != 0)
		return;
	ff_usage_save();
	ff_buffer_save();
}

static void
startup(void)
{
	if (previous_startup != NULL)
		previous_startup();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	ff_usage_startup();
	ff_buffer_startup();
	LWLockRelease(AddinShmemInitLock);
	if (!IsUnderPostmaster)
		on_shmem_exit(save, (Datum) 0);
}

void
ff_shmem_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		return;
	previous_request = shmem_request_hook;
	shmem_request_hook = request;
	previous_startup = shmem_startup_hook;
	shmem_startup_hook = startup;
}
