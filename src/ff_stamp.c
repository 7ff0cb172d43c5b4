/*
 * src/ff_stamp.c
 *	  Invalidations and snapshots; the rule is in ff_stamp.h.
 */
#include "ff_stamp.h"

#include "access/transam.h"
#include "access/xact.h"
#include "utils/inval.h"
#include "utils/syscache.h"

uint64 ff_generation = 1;
uint64 ff_contents = 1;

static uint64 noticed_generation = 0;
static FfSnapKey noticed;

/* Tables whose invalidation concerns us; beyond these many, every relation does. */
#define WATCH_LIMIT 64
static Oid watched[WATCH_LIMIT];
static int nwatched = 0;

void
ff_watch(Oid relid)
{
	for (int i = 0; i < nwatched; i++)
	{
		if (watched[i] == relid)
			return;
	}
	if (OidIsValid(relid) && nwatched < WATCH_LIMIT)
		watched[nwatched++] = relid;
}

/* Counts. Anything more, in a callback, has crashed servers. */
static void
relation_changed(Datum arg, Oid relid)
{
	(void) arg;
	if (!OidIsValid(relid) || nwatched == 0 || nwatched == WATCH_LIMIT)
	{
		ff_generation++;
		return;
	}
	for (int i = 0; i < nwatched; i++)
	{
		if (watched[i] == relid)
		{
			ff_generation++;
			return;
		}
	}
}

/* Roles and schemas: who may evaluate, and where the tables are, may have changed. */
static void
catalog_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	(void) arg;
	(void) cacheid;
	(void) hashvalue;
	ff_generation++;
}

void
ff_stamp_init(void)
{
	CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHOID, catalog_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, catalog_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(NAMESPACEOID, catalog_changed, (Datum) 0);
}

/* Forgets which tables to watch, when there are too many of them: all namespaces look again. */
void
ff_renew_watch(void)
{
	if (nwatched < WATCH_LIMIT - 4)
		return;
	nwatched = 0;
	ff_generation++;
}

/*
 * Whether a may see less than b. Below one xmax the set of transactions in progress only shrinks;
 * what the own transaction did is told by its command counter.
 */
static bool
snap_older(const FfSnapKey *a, const FfSnapKey *b)
{
	if (a->in_recovery != b->in_recovery)
		return true;
	if (a->xmax != b->xmax)
		return TransactionIdPrecedes(a->xmax, b->xmax);
	if (a->xcnt != b->xcnt)
		return a->xcnt > b->xcnt;
	if (a->in_recovery && a->subxcnt != b->subxcnt)
		return a->subxcnt > b->subxcnt;
	return a->lxid == b->lxid && a->curcid < b->curcid;
}

/* The part of the rule that is not worth to be inlined. */
bool
ff_stamp_serves(const FfStamp *stamp, const FfSnapKey *now)
{
#ifdef FF_TEST_NAIVE_CACHE
	/* the obvious rule, to show that the test of the cache catches it */
	return true;
#endif
	if (snap_equal(now, &stamp->snap))
		return true;
	return noticed_generation == ff_generation && !snap_older(now, &stamp->snap) &&
		   !snap_older(&stamp->snap, &noticed);
}

/*
 * Takes note of the latest invalidation by a snapshot that is surely younger. Parallel workers may
 * take no snapshot; there a stamp is good for its own snapshot only.
 */
void
ff_notice(void)
{
	if (noticed_generation == ff_generation || IsInParallelMode())
		return;
	noticed_generation = ff_generation;
	noticed = snap_key(GetLatestSnapshot());
}
