/*
 * src/ff_usage.c
 *	  When flags were last evaluated, in shared memory.
 *
 * The rule: this costs evaluation next to nothing. A session notes a flag when it makes it ready
 * for a new snapshot, and not again for a minute; noting takes a lock that is shared by all who
 * note, and is left be where that would mean to wait. So a time is right to a minute, and a flag
 * may be missed by a session, but hardly by all of them for as long as it takes to be called stale.
 *
 * What is known lives as long as the server and is kept in a file over a clean shutdown, as
 * pg_stat_statements does it. After a crash counting begins anew: "not evaluated since" then says
 * less, and never anything wrong.
 */
#include "ff_usage.h"
#include "ff_shmem.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "access/xact.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "port/atomics.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/timestamp.h"

#define USAGE_FILE PGSTAT_STAT_PERMANENT_DIRECTORY "/ff_usage.stat"
#define USAGE_MAGIC 0x66663031 /* grows with the format */

/* A flag by the hash of database, namespace and key: 128 bits are never the same by chance. */
typedef struct FfUsageKey
{
	uint64 low;
	uint64 high;
} FfUsageKey;

typedef struct FfUsage
{
	FfUsageKey key;
	pg_atomic_uint64 last; /* a TimestampTz; written under a shared lock */
} FfUsage;

/* What is shared beside the table. Written while the server starts, and by nobody after. */
typedef struct FfUsageState
{
	LWLock *lock; /* exclusive: to add entries */
	TimestampTz since;
} FfUsageState;

/* In the file: a header, then pairs of key and time. */
typedef struct FfUsageHeader
{
	uint32 magic;
	uint32 count;
	TimestampTz since;
} FfUsageHeader;

typedef struct FfUsageRecord
{
	FfUsageKey key;
	TimestampTz last;
} FfUsageRecord;

static FfUsageState *state = NULL;
static HTAB *table = NULL;

/* ---------- the file ---------- */

static void
read_records(FILE *file)
{
	FfUsageHeader header;
	FfUsageRecord record;

	if (fread(&header, sizeof(header), 1, file) != 1 || header.magic != USAGE_MAGIC)
		return;
	state->since = header.since;
	for (uint32 i = 0; i < header.count && fread(&record, sizeof(record), 1, file) == 1; i++)
	{
		FfUsage *usage = hash_search(table, &record.key, HASH_ENTER_NULL, NULL);

		if (usage != NULL)
			pg_atomic_init_u64(&usage->last, (uint64) record.last);
	}
}

static bool
write_records(FILE *file)
{
	FfUsageHeader header = {USAGE_MAGIC, (uint32) hash_get_num_entries(table), state->since};
	HASH_SEQ_STATUS scan;
	FfUsage *usage;
	bool ok = fwrite(&header, sizeof(header), 1, file) == 1;

	hash_seq_init(&scan, table);
	while ((usage = hash_seq_search(&scan)) != NULL)
	{
		FfUsageRecord record = {usage->key, (TimestampTz) pg_atomic_read_u64(&usage->last)};

		ok = ok && fwrite(&record, sizeof(record), 1, file) == 1;
	}
	return ok;
}

void
ff_usage_save(void)
{
	ff_save_file(USAGE_FILE, write_records, NULL);
}

/* ---------- shared memory ---------- */

void
ff_usage_request(void)
{
	RequestAddinShmemSpace(MAXALIGN(sizeof(FfUsageState)));
	RequestAddinShmemSpace(hash_estimate_size(ff_max_tracked_flags, sizeof(FfUsage)));
	RequestNamedLWLockTranche("ff", 1);
}

void
ff_usage_startup(void)
{
	HASHCTL control = {.keysize = sizeof(FfUsageKey), .entrysize = sizeof(FfUsage)};
	bool exists;

	state = ShmemInitStruct("ff usage", sizeof(FfUsageState), &exists);
	table = ShmemInitHash("ff usage table", ff_max_tracked_flags, ff_max_tracked_flags, &control,
						  HASH_ELEM | HASH_BLOBS);
	if (exists)
		return;
	state->lock = &GetNamedLWLockTranche("ff")->lock;
	state->since = GetCurrentTimestamp();
	ff_restore_file(USAGE_FILE, read_records);
}

bool
ff_usage_is_kept(void)
{
	return state != NULL;
}

/* ---------- noting and asking ---------- */

static FfUsageKey
make_key(const char *name_space, const char *key)
{
	XXH3_state_t hash;
	XXH128_hash_t digest;

	XXH3_128bits_reset(&hash);
	XXH3_128bits_update(&hash, &MyDatabaseId, sizeof(MyDatabaseId));
	XXH3_128bits_update(&hash, name_space, strlen(name_space) + 1);
	XXH3_128bits_update(&hash, key, strlen(key));
	digest = XXH3_128bits_digest(&hash);
	return (FfUsageKey){digest.low64, digest.high64};
}

/* Shared memory may have room for more than we asked for, which is not ours. */
static bool
is_full(void)
{
	return hash_get_num_entries(table) >= ff_max_tracked_flags;
}

void
ff_note_usage(const char *name_space, const char *key, TimestampTz now)
{
	FfUsageKey usage_key;
	FfUsage *usage;
	bool exists;

	if (state == NULL)
		return;
	usage_key = make_key(name_space, key);
	if (!LWLockConditionalAcquire(state->lock, LW_SHARED))
		return;
	usage = hash_search(table, &usage_key, HASH_FIND, NULL);
	if (usage != NULL)
		pg_atomic_write_u64(&usage->last, (uint64) now);
	LWLockRelease(state->lock);
	if (usage != NULL || !LWLockConditionalAcquire(state->lock, LW_EXCLUSIVE))
		return;
	usage = hash_search(table, &usage_key, is_full() ? HASH_FIND : HASH_ENTER_NULL, &exists);
	if (usage != NULL && !exists)
		pg_atomic_init_u64(&usage->last, (uint64) now);
	LWLockRelease(state->lock);
}

TimestampTz
ff_last_usage(const char *name_space, const char *key, TimestampTz *since)
{
	FfUsageKey usage_key = make_key(name_space, key);
	TimestampTz last = 0;
	FfUsage *usage;

	LWLockAcquire(state->lock, LW_SHARED);
	usage = hash_search(table, &usage_key, HASH_FIND, NULL);
	if (usage != NULL)
		last = (TimestampTz) pg_atomic_read_u64(&usage->last);
	*since = state->since;

	/* with a full table, a flag that is not in it may have found no room */
	if (usage == NULL && is_full())
		*since = GetCurrentTimestamp();
	LWLockRelease(state->lock);
	return last;
}

PG_FUNCTION_INFO_V1(ff_last_evaluated);

Datum
ff_last_evaluated(PG_FUNCTION_ARGS)
{
	TimestampTz since, last;

	if (PG_ARGISNULL(0) || state == NULL)
		PG_RETURN_NULL();
	last = ff_last_usage(PG_ARGISNULL(1) ? ff_namespace : text_to_cstring(PG_GETARG_TEXT_PP(1)),
						 text_to_cstring(PG_GETARG_TEXT_PP(0)), &since);
	if (last == 0)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(last);
}
