/*
 * src/ff_buffer.h
 *	  The exposure buffer: who was shown what and is not written down yet, in shared memory.
 *
 * It is split into partitions by hash, each with a lock that is never held for longer than it takes
 * to find or make one entry, or to free some. An entry is one exposure of one window: of one
 * database, namespace, flag, run of its experiment, variant and user, with a count; those that are
 * none of the experiment's are apart. A database's window ends when it is
 * drained: its entries then wait in a list of their own until they are written down, while new ones
 * are made for the next window. So nobody who notes waits for anybody who writes.
 *
 * Entries are slots of 160 bytes; a text that is too long for one goes on in others.
 *
 * The books: within a partition, and so in all of them together, at any moment
 *
 *		noted = flushed + dropped + buffered
 *
 * in evaluations, for each database. Whoever moves entries moves their count under the same lock.
 */
#ifndef FF_BUFFER_H
#define FF_BUFFER_H

#include "ff.h"

#include "datatype/timestamp.h"
#include "port/atomics.h"
#include "storage/latch.h"
#include "storage/lwlock.h"

#define FF_PARTITIONS 32 /* a power of two */
#define FF_SLOT_TEXT 88
#define FF_SLOT_MORE 156 /* of the text, in a slot that goes on with it */
#define FF_NO_SLOT UINT32_MAX

/* The longest user id that is kept; the text of an exposure with one, all other parts included. */
#define FF_MAX_EXPOSED_USER 512
#define FF_MAX_EXPOSURE_TEXT (FF_MAX_NAMESPACE + 1 + 3 * (FFE_MAX_KEY + 1) + FF_MAX_EXPOSED_USER)

#define FF_MAX_ATTEMPTS 10 /* to write a row while others of its batch are written */

/*
 * What an exposure says beside its text, which is namespace, flag and variant, each with a null
 * byte after it (the head), the user id, and the rule's id.
 */
typedef struct FfExposure
{
	uint64 hash; /* of head and user; a flag whose salt changes has others */
	int64 count; /* evaluations */
	TimestampTz time;
	TimestampTz started; /* of the experiment's run; DT_NOBEGIN: not said */
	int64 version;       /* of the flag; 0: not said */
	uint16 head_len;
	uint16 user_len; /* 0: no user */
	uint16 rule_len; /* 0: no rule, or one without an id */
	uint8 reason;    /* ffe_reason */
	uint8 exposed;   /* 1: by the experiment; 0: noted because all is, and counts no user */
} FfExposure;

/* An exposure with its text, in the memory of a process. */
typedef struct FfNote
{
	FfExposure exposure;
	char text[FLEXIBLE_ARRAY_MEMBER];
} FfNote;

/* A place for an exposure, or for more of its text. */
typedef struct FfSlot
{
	uint32 next;   /* among the free */
	uint32 after;  /* in its database's list */
	uint32 more;   /* where its text goes on */
	uint32 window; /* of its database when it was made */
	FfExposure exposure;
	uint16 database; /* number of FfDatabase */
	uint16 attempts; /* how often writing it failed, while others were written but for the first */
	uint32 flush;    /* the last flush that wrote it, whatever became of that */
	char text[FF_SLOT_TEXT];
} FfSlot;

typedef struct FfSlotMore
{
	uint32 next;
	char text[FF_SLOT_MORE];
} FfSlotMore;

/* A list of slots in the order they came. */
typedef struct FfSlotList
{
	uint32 first;
	uint32 last;
} FfSlotList;

/* What a partition has of a database. */
typedef struct FfCell
{
	int64 noted;
	int64 flushed;
	int64 dropped;
	int64 refused; /* user ids that were too long: not noted */
	int64 buffered;
	int64 entries;
	uint32 window;
	FfSlotList fresh;   /* of this window */
	FfSlotList drained; /* of those before, not written down yet */
} FfCell;

/* The same for a database as a whole. */
typedef struct FfExposureCounts
{
	int64 noted;
	int64 flushed;
	int64 dropped;
	int64 refused;
	int64 buffered;
	int64 entries;
} FfExposureCounts;

/* A database that has exposures, or a worker. Under the buffer's lock, but for the atomics. */
typedef struct FfDatabase
{
	Oid oid;                   /* InvalidOid: a free place */
	pg_atomic_uint32 fresh;    /* entries made since it was drained */
	pg_atomic_uint32 is_woken; /* the worker knows that there are enough */
	pid_t worker;              /* 0: none */
	Latch *latch;              /* the worker's */
	bool is_wanted;            /* the launcher should see to it */
	TimestampTz aside_until;   /* no worker may be there: somebody wants the database alone */
	uint32 generation;         /* of the place: grows when it is released */
	uint32 flush;              /* number of the last flush; never begins anew */
	TimestampTz last_flush;    /* 0: none */
	int64 last_duration;       /* in microseconds */
	int64 last_rows;
	int64 errors;
	TimestampTz last_error_at;
	char last_error[256];
} FfDatabase;

/*
 * A place as it was when somebody began something that takes long. It may be released meanwhile,
 * and be another database's by then, or this one's again.
 */
typedef struct FfClaim
{
	FfDatabase *database;
	uint32 generation;
} FfClaim;

/* Bytes of an exposure's text. */
static inline uint32
ff_exposure_len(const FfExposure *exposure)
{
	return (uint32) exposure->head_len + exposure->user_len + exposure->rule_len;
}

#pragma GCC visibility push(hidden)

extern int ff_exposure_buffer_size; /* ff.exposure_buffer_size, in kB */
extern int ff_exposure_flush_count; /* ff.exposure_flush_count */
extern int ff_max_databases;        /* ff.max_databases */

/* Whether the module is preloaded, so that there is a buffer. */
extern bool ff_buffer_exists(void);
extern uint32 ff_buffer_capacity(void);

/* ---------- noting ---------- */

/*
 * Adds exposures; drops and counts what finds no room. Never fails. With wait false it passes by
 * partitions that others are just at; what belongs there is then at the front of exposures, in the
 * order that it came in, and how many those are is returned.
 */
extern int ff_buffer_add(const FfNote **exposures, int count, bool wait);

/* Counts a user id that is too long. */
extern void ff_buffer_refuse(uint64 hash);

/* ---------- databases (ff_buffer_shmem.c) ---------- */

extern LWLock *ff_buffer_lock(void);

/* The place of this database, claimed if need be; NULL where there is none left. */
extern FfDatabase *ff_own_database(void);
extern FfDatabase *ff_find_database(Oid oid);
extern FfDatabase *ff_database(int number);
extern int ff_database_number(const FfDatabase *database);

/* What this database has of its place now; false: there is none left. */
extern bool ff_own_claim(FfClaim *claim);

/*
 * Keeps a place from being released, for a moment: it takes a lock that ff_unpin gives back. False,
 * and no lock, where the claim holds no more.
 */
extern bool ff_pin(const FfClaim *claim);
extern void ff_unpin(void);

/* Forgets a database that is gone, or has no extension any more, and what is buffered of it. */
extern void ff_release_database(Oid oid);

/* Has the launcher look after the workers, because something changed for this database. */
extern void ff_want_worker(Oid oid);
extern void ff_set_launcher(Latch *latch);

/* ---------- writing down; only by the one who holds ff_lock_flush ---------- */

/*
 * Ends the database's window, and shows the slots that are to be written down, in the order they
 * came. Outside of take they may be read only under ff_pin.
 */
typedef void (*FfTake)(void *arg, uint32 number, const FfSlot *slot);
extern void ff_buffer_drain(const FfClaim *claim, FfTake take, void *arg);
extern FfSlot *ff_buffer_slot(uint32 slot);

/* Copies a slot's text, of at most FF_MAX_EXPOSURE_TEXT bytes. */
extern void ff_buffer_text(const FfSlot *slot, char *text);

/* Frees the drained slots that a flush wrote, or those that failed too often, and counts them. */
extern void ff_buffer_finish(const FfClaim *claim, uint32 flush);
extern int64 ff_buffer_give_up(const FfClaim *claim);

/* ---------- looking ---------- */

extern void ff_buffer_counts(int database, FfExposureCounts *counts);

/* Calls for every entry of a database, oldest first within a partition; not under a lock. */
extern void ff_buffer_list(int database,
						   void (*put)(void *arg, const FfExposure *exposure, const char *text),
						   void *arg);

#pragma GCC visibility pop

#endif /* FF_BUFFER_H */
