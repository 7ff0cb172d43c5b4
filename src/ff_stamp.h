/*
 * src/ff_stamp.h
 *	  Stamps: for which snapshots something that was read from the flag tables is good.
 *
 * The obvious rule, "an invalidation marks the entry stale, the next use reloads it and marks it
 * fresh", is wrong: the message may be taken in by a statement whose snapshot is older than the
 * change (a cursor, REPEATABLE READ, the middle of any statement). It would load the old row and
 * mark it fresh for good. So freshness belongs to a snapshot:
 *
 *	- ff_generation counts invalidations. The callback does nothing but count.
 *	- a stamp says: read under snapshot S, when the generation was G (taken before reading).
 *	- a stamp is good for a snapshot A while the generation is still G, if A is S; or if neither S
 *	  nor A is older than a snapshot taken after the last invalidation was noticed: then both see
 *	  the change that it announced, and nothing has happened since.
 *	- else the row is read again by its index, and compiled again only if (file, xmin, cmin, ctid)
 *	  say that it is another row version. A version number that a rolled-back transaction used can
 *come again with another content; these can't.
 *
 * What was computed from several documents (a flag with prerequisites and segments) has a wide
 * stamp, set when all of them were checked under one snapshot. A set holds one version of a
 *document at a time, so a wide stamp ends when any document is replaced, even for a snapshot it was
 *set under.
 */
#ifndef FF_STAMP_H
#define FF_STAMP_H

#include "ff.h"

#include "utils/snapmgr.h"

/* What tells one snapshot from another, and which is older. */
typedef struct FfSnapKey
{
	TransactionId xmin;
	TransactionId xmax;
	uint32 xcnt;
	int32 subxcnt;
	CommandId curcid;
	LocalTransactionId lxid;
	bool in_recovery;
} FfSnapKey;

typedef struct FfStamp
{
	uint64 generation; /* 0: never */
	FfSnapKey snap;
} FfStamp;

/* A stamp on what was computed from several documents: good while none of them was replaced. */
typedef struct FfWideStamp
{
	FfStamp stamp;
	uint64 contents;
} FfWideStamp;

#pragma GCC visibility push(hidden)

extern uint64 ff_generation;

/* Grows when a document is replaced or dropped: what points into one is good until then. */
extern uint64 ff_contents;

/* Registers the callbacks that count. */
extern void ff_stamp_init(void);

/* Has invalidations of a table counted. */
extern void ff_watch(Oid relid);

/* Called before a namespace's tables are watched anew. */
extern void ff_renew_watch(void);

/* Takes note of the latest invalidation, so that stamps set from now on can be good for later
 * snapshots. */
extern void ff_notice(void);

extern bool ff_stamp_serves(const FfStamp *stamp, const FfSnapKey *now);

static inline FfSnapKey
snap_key(Snapshot snapshot)
{
	FfSnapKey key;

	key.xmin = snapshot->xmin;
	key.xmax = snapshot->xmax;
	key.xcnt = snapshot->xcnt;
	key.subxcnt = snapshot->subxcnt;
	key.curcid = snapshot->curcid;
	key.lxid = ff_my_lxid();
	key.in_recovery = snapshot->takenDuringRecovery;
	return key;
}

/* Whether a snapshot is the one that a key was taken from. */
static inline bool
snap_matches(Snapshot snapshot, const FfSnapKey *key)
{
	return snapshot->xmin == key->xmin && snapshot->xmax == key->xmax &&
		   snapshot->curcid == key->curcid && snapshot->xcnt == key->xcnt &&
		   snapshot->subxcnt == key->subxcnt && ff_my_lxid() == key->lxid &&
		   snapshot->takenDuringRecovery == key->in_recovery;
}

static inline bool
snap_equal(const FfSnapKey *a, const FfSnapKey *b)
{
	return a->xmin == b->xmin && a->xmax == b->xmax && a->xcnt == b->xcnt &&
		   a->subxcnt == b->subxcnt && a->curcid == b->curcid && a->lxid == b->lxid &&
		   a->in_recovery == b->in_recovery;
}

/* Whether a stamp is good for a snapshot; see above. */
static inline bool
stamp_is_good(const FfStamp *stamp, const FfSnapKey *now)
{
	return stamp->generation == ff_generation && ff_stamp_serves(stamp, now);
}

static inline bool
wide_stamp_is_good(const FfWideStamp *wide, const FfSnapKey *now)
{
	return wide->contents == ff_contents && stamp_is_good(&wide->stamp, now);
}

static inline void
set_wide_stamp(FfWideStamp *wide, const FfSnapKey *now, uint64 before)
{
	wide->contents = ff_contents;
	wide->stamp.generation = before;
	wide->stamp.snap = *now;
}

#pragma GCC visibility pop

#endif /* FF_STAMP_H */
