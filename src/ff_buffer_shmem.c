/*
 * src/ff_buffer_shmem.c
 *	  The exposure buffer's shared memory, and the places of databases in it.
 */
#include "ff_buffer_private.h"
#include "ff_shmem.h"

#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#define TRANCHE "ff exposures"

int ff_exposure_buffer_size = 32768;
int ff_max_databases = 64;

FfBuffer *ff_buffer = NULL;

/* ---------- sizes ---------- */

static uint32
slots_each(void)
{
	return (uint32) ((Size) ff_exposure_buffer_size * 1024 / sizeof(FfSlot) / FF_PARTITIONS);
}

static uint32
places_each(void)
{
	return pg_nextpower2_32(2 * slots_each());
}

static Size
head_size(void)
{
	return CACHELINEALIGN(offsetof(FfBuffer, databases) + sizeof(FfDatabase) * ff_max_databases);
}

static Size
partition_size(void)
{
	return CACHELINEALIGN(offsetof(FfPartition, cells) + sizeof(FfCell) * ff_max_databases);
}

static Size
places_size(void)
{
	return CACHELINEALIGN(sizeof(FfPlace) * places_each() * FF_PARTITIONS);
}

static Size
total_size(void)
{
	return head_size() + partition_size() * FF_PARTITIONS + places_size() +
		   sizeof(FfSlot) * slots_each() * FF_PARTITIONS;
}

uint32
ff_buffer_capacity(void)
{
	return ff_buffer->capacity;
}

bool
ff_buffer_exists(void)
{
	return ff_buffer != NULL;
}

LWLock *
ff_buffer_lock(void)
{
	return ff_buffer->lock;
}

/* ---------- making it ---------- */

void
ff_init_cell(FfCell *cell)
{
	memset(cell, 0, sizeof(*cell));
	cell->fresh.first = cell->fresh.last = FF_NO_SLOT;
	cell->drained.first = cell->drained.last = FF_NO_SLOT;
}

/* Slots are not written to before they are used, so that memory is taken as it is needed. */
static void
init_partition(int number, LWLock *lock)
{
	FfPartition *partition =
		(FfPartition *) (ff_buffer->partitions + ff_buffer->partition_size * number);

	partition->lock = lock;
	partition->free = FF_NO_SLOT;
	partition->first = slots_each() * number;
	partition->untouched = partition->first;
	partition->free_count = slots_each();
	for (int i = 0; i < ff_max_databases; i++)
		ff_init_cell(&partition->cells[i]);
}

static void
init_buffer(void)
{
	LWLockPadded *locks = GetNamedLWLockTranche(TRANCHE);
	char *at = (char *) ff_buffer + head_size();

	memset(ff_buffer, 0, head_size());
	ff_buffer->lock = &locks[0].lock;
	ff_buffer->slots_each = slots_each();
	ff_buffer->capacity = slots_each() * FF_PARTITIONS;
	ff_buffer->places_each = places_each();
	ff_buffer->partition_size = partition_size();
	ff_buffer->partitions = at;
	ff_buffer->places = (FfPlace *) (at += partition_size() * FF_PARTITIONS);
	ff_buffer->slots = (FfSlot *) (at + places_size());
	memset(ff_buffer->places, 0xff, places_size());
	for (int i = 0; i < FF_PARTITIONS; i++)
		init_partition(i, &locks[1 + i].lock);
	for (int i = 0; i < ff_max_databases; i++)
	{
		pg_atomic_init_u32(&ff_buffer->databases[i].fresh, 0);
		pg_atomic_init_u32(&ff_buffer->databases[i].is_woken, 0);
	}
}

void
ff_buffer_request(void)
{
	RequestAddinShmemSpace(total_size());
	RequestNamedLWLockTranche(TRANCHE, 1 + FF_PARTITIONS);
}

void
ff_buffer_startup(void)
{
	bool exists;

	ff_buffer = ShmemInitStruct("ff exposures", total_size(), &exists);
	if (exists)
		return;
	init_buffer();
	ff_buffer_restore();
}

/* ---------- databases ---------- */

FfDatabase *
ff_database(int number)
{
	return &ff_buffer->databases[number];
}

int
ff_database_number(const FfDatabase *database)
{
	return (int) (database - ff_buffer->databases);
}

FfDatabase *
ff_find_database(Oid oid)
{
	for (int i = 0; i < ff_max_databases; i++)
	{
		if (ff_buffer->databases[i].oid == oid)
			return &ff_buffer->databases[i];
	}
	return NULL;
}

FfDatabase *
ff_claim_database(Oid oid)
{
	FfDatabase *database = ff_find_database(oid);

	if (database == NULL)
	{
		database = ff_find_database(InvalidOid);
		if (database != NULL)
			database->oid = oid;
	}
	return database;
}

/* Found once, and asked for again only where the place has become another's. */
FfDatabase *
ff_own_database(void)
{
	static FfDatabase *own = NULL;

	if (likely(own != NULL && own->oid == MyDatabaseId))
		return own;

	/* most of the time it is there, and a flush that has a place pinned is not waited for */
	LWLockAcquire(ff_buffer->lock, LW_SHARED);
	own = ff_find_database(MyDatabaseId);
	LWLockRelease(ff_buffer->lock);
	if (own != NULL)
		return own;
	LWLockAcquire(ff_buffer->lock, LW_EXCLUSIVE);
	own = ff_claim_database(MyDatabaseId);
	LWLockRelease(ff_buffer->lock);
	return own;
}

bool
ff_own_claim(FfClaim *claim)
{
	claim->database = ff_own_database();
	if (claim->database == NULL)
		return false;

	/* what is read after its release doesn't hold, as ff_pin sees */
	claim->generation = claim->database->generation;
	return true;
}

bool
ff_pin(const FfClaim *claim)
{
	LWLockAcquire(ff_buffer->lock, LW_SHARED);
	if (claim->database->oid == MyDatabaseId && claim->database->generation == claim->generation)
		return true;
	LWLockRelease(ff_buffer->lock);
	return false;
}

void
ff_unpin(void)
{
	LWLockRelease(ff_buffer->lock);
}

void
ff_release_database(Oid oid)
{
	FfDatabase *database;
	FfDatabase vacant = {.oid = InvalidOid};

	LWLockAcquire(ff_buffer->lock, LW_EXCLUSIVE);
	database = ff_find_database(oid);
	if (database != NULL)
	{
		/* nobody can claim it yet: the lock is held */
		database->oid = InvalidOid;
		ff_buffer_clear(ff_database_number(database));
		pg_atomic_init_u32(&vacant.fresh, 0);
		pg_atomic_init_u32(&vacant.is_woken, 0);

		/* a transaction that is still open may have written slots under these numbers */
		vacant.generation = database->generation + 1;
		vacant.flush = database->flush;
		*database = vacant;
	}
	LWLockRelease(ff_buffer->lock);
}

void
ff_want_worker(Oid oid)
{
	FfDatabase *database;
	Latch *launcher;

	LWLockAcquire(ff_buffer->lock, LW_EXCLUSIVE);
	database = ff_claim_database(oid);
	if (database != NULL)
		database->is_wanted = true;
	launcher = ff_buffer->launcher;
	LWLockRelease(ff_buffer->lock);
	if (launcher != NULL)
		SetLatch(launcher);
}

void
ff_set_launcher(Latch *latch)
{
	LWLockAcquire(ff_buffer->lock, LW_EXCLUSIVE);
	ff_buffer->launcher = latch;
	LWLockRelease(ff_buffer->lock);
}
