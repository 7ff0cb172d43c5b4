/*
 * src/ff_cache.c
 *	  Compiled flags in each backend, and the rule that keeps them true.
 *
 * The obvious rule, "an invalidation marks the entry stale, the next use reloads it and marks it
 * fresh", is wrong: the message may be taken in by a statement whose snapshot is older than the
 * change (a cursor, REPEATABLE READ, the middle of any statement). It would load the old row and
 * mark it fresh for good. So freshness here belongs to a snapshot:
 *
 *	- generation counts invalidations. The callback does nothing but count.
 *	- a stamp says: read under snapshot S, when the generation was G (taken before reading).
 *	- a stamp is good for a snapshot A while the generation is still G, if A is S; or if neither S
 *	  nor A is older than a snapshot taken after the last invalidation was noticed ("noticed"):
 *	  then both see the change that it announced, and nothing has happened since.
 *	- else the row is read again by its index, and compiled again only if (file, xmin, ctid) say
 *	  that it is another row version. A version number that a rolled-back transaction used can come
 *	  again with another content; these can't.
 *
 * An answer that was computed from several rows (a flag with prerequisites and segments) has a
 * stamp of its own, set when all of them were checked under one snapshot.
 *
 * Nothing is freed but in ff_cache_ready and ff_cache_all, before they look anything up; what is
 * evaluated afterwards stays in place whatever message arrives meanwhile.
 */
#include "ff.h"

#include "access/genam.h"
#include "access/relation.h"
#include "access/htup_details.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

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

/* What the cache knows of an object of a set, beside its document. */
typedef struct FfEntry
{
	FfStamp row;         /* when its own row was checked */
	FfWideStamp closure; /* when it and all it depends on were */
	FfRowId rowid;
	uint32 size;        /* bytes of the document, as counted in cached_bytes */
	FfAnswer *answers;  /* rows formed of its results; FF_ANSWERS of them, or NULL */
	uint32 walk;        /* the last walk that came by */
	bool not_ready;     /* the table could not be read */
	bool reads_context; /* it or something it depends on looks at the context */
	bool used;          /* since the clock's hand passed */
} FfEntry;

struct FfNamespace
{
	char *name;
	MemoryContext context; /* set and entries */
	FfTables tables;
	uint64 generation; /* when tables were looked up */
	bool exists;
	bool may_evaluate; /* the answer for role, at acl_generation */
	Oid role;
	uint64 acl_generation;
	ffe_set *set;
	FfEntry *entries; /* by id */
	uint32 nentries;
	uint32 clock;    /* where eviction goes on */
	uint64 contents; /* grows when a document is replaced or dropped */
	bool failed;     /* the tables could not be read under this snapshot: don't wait again */
	FfSnapKey failed_snap;
	FfWideStamp all; /* when the list of all flags was made */
	uint32 *all_ids;
	uint32 all_count;
	FfNamespace *next;
};

static MemoryContext cache_context = NULL;
static FfNamespace *namespaces = NULL;
static ffe_state *state = NULL;

/* Grows when ids lose their meaning; call sites compare it. */
static uint64 cache_serial = 1;

/* Grows when a document is replaced or dropped, whatever the namespace. */
uint64 ff_cache_contents = 1;

static uint64 generation = 1;
static uint64 noticed_generation = 0;
static FfSnapKey noticed;
static uint32 current_walk = 0;
static uint64 cached_bytes = 0;

/* Tables whose invalidation concerns us; beyond these many, every relation does. */
#define WATCH_LIMIT 64
static Oid watched[WATCH_LIMIT];
static int nwatched = 0;

/* Counters, for ff_cache_info(). */
static uint64 count_hits = 0;
static uint64 count_checks = 0;
static uint64 count_loads = 0;
static uint64 count_evictions = 0;

/* ---------- invalidation ---------- */

static void
watch(Oid relid)
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
		generation++;
		return;
	}
	for (int i = 0; i < nwatched; i++)
	{
		if (watched[i] == relid)
		{
			generation++;
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
	generation++;
}

void
ff_cache_init(void)
{
	CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHOID, catalog_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, catalog_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(NAMESPACEOID, catalog_changed, (Datum) 0);
}

/* ---------- snapshots ---------- */

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
	if (a->subxcnt != b->subxcnt)
		return a->subxcnt > b->subxcnt;
	return a->lxid == b->lxid && a->curcid < b->curcid;
}

static inline bool
stamp_is_good(const FfStamp *stamp, const FfSnapKey *now)
{
	if (stamp->generation != generation)
		return false;
#ifdef FF_TEST_NAIVE_CACHE
	/* the obvious rule, to show that the test of the cache catches it */
	return true;
#endif
	if (likely(snap_equal(now, &stamp->snap)))
		return true;
	return noticed_generation == generation && !snap_older(now, &stamp->snap) &&
		   !snap_older(&stamp->snap, &noticed);
}

static inline bool
wide_stamp_is_good(const FfWideStamp *wide, const FfSnapKey *now)
{
	return wide->contents == ff_cache_contents && stamp_is_good(&wide->stamp, now);
}

static void
set_wide_stamp(FfWideStamp *wide, const FfSnapKey *now, uint64 before)
{
	wide->contents = ff_cache_contents;
	wide->stamp.generation = before;
	wide->stamp.snap = *now;
}

/*
 * Takes note of the latest invalidation by a snapshot that is surely younger. Parallel workers may
 * take no snapshot; there a stamp is good for its own snapshot only.
 */
static void
notice(void)
{
	if (noticed_generation == generation || IsInParallelMode())
		return;
	noticed_generation = generation;
	noticed = snap_key(GetLatestSnapshot());
}

/* ---------- namespaces ---------- */

static FfNamespace *
find_namespace(const char *name)
{
	FfNamespace *space;

	for (space = namespaces; space != NULL; space = space->next)
	{
		if (strcmp(space->name, name) == 0)
			return space;
	}
	if (cache_context == NULL)
		cache_context =
			AllocSetContextCreate(CacheMemoryContext, "ff cache", ALLOCSET_DEFAULT_SIZES);
	space = MemoryContextAllocZero(cache_context, sizeof(FfNamespace));
	space->name = MemoryContextStrdup(cache_context, name);
	space->next = namespaces;
	namespaces = space;
	return space;
}

/* Drops the rows formed of a document. */
static void
forget_answers(FfEntry *entry)
{
	if (entry->answers == NULL)
		return;
	for (int i = 0; i < FF_ANSWERS; i++)
	{
		if (entry->answers[i].row == NULL)
			continue;
		cached_bytes -= entry->answers[i].row->t_len;
		pfree(entry->answers[i].row);
	}
	cached_bytes -= sizeof(FfAnswer) * FF_ANSWERS;
	pfree(entry->answers);
	entry->answers = NULL;
}

/* Drops all that is cached of a namespace; ids lose their meaning. */
static void
reset_namespace(FfNamespace *space)
{
	ffe_alloc alloc;

	for (uint32 i = 0; i < space->nentries; i++)
	{
		forget_answers(&space->entries[i]);
		cached_bytes -= space->entries[i].size;
	}
	ffe_set_free(space->set);
	if (space->context != NULL)
		MemoryContextDelete(space->context);
	space->context = AllocSetContextCreate(cache_context, "ff namespace", ALLOCSET_DEFAULT_SIZES);
	alloc = ff_allocator(space->context);
	space->set = ffe_set_new(&alloc);
	space->entries = NULL;
	space->nentries = 0;
	space->clock = 0;
	ff_cache_contents++;
	space->all_ids = NULL;
	space->all_count = 0;
	cache_serial++;
}

/* Forgets which tables to watch, when there are too many of them: all namespaces look again. */
static void
renew_watch(void)
{
	if (nwatched < WATCH_LIMIT - 4)
		return;
	nwatched = 0;
	generation++;
}

/* Looks up the tables again after an invalidation. */
static void
resolve_namespace(FfNamespace *space)
{
	FfTable *tables = space->tables.table;
	Oid flags = InvalidOid, segments = InvalidOid;
	Oid schema = get_namespace_oid("ff", true);
	uint64 before;

	renew_watch();
	before = generation;
	watch(OidIsValid(schema) ? get_relname_relid("namespaces", schema) : InvalidOid);
	watch(OidIsValid(schema) ? get_relname_relid("cache_epoch", schema) : InvalidOid);
	space->exists = ff_find_tables(space->name, GetActiveSnapshot(), &flags, &segments);
	watch(flags);
	watch(segments);
	if (space->set == NULL || flags != tables[FFE_FLAG].relid ||
		segments != tables[FFE_SEGMENT].relid)
		reset_namespace(space);
	ff_describe_table(&tables[FFE_FLAG], flags, FFE_FLAG);
	ff_describe_table(&tables[FFE_SEGMENT], segments, FFE_SEGMENT);

	/* what is not there may come without a message: a lock goes with a rollback */
	if (!space->exists || tables[FFE_FLAG].missing != NULL || tables[FFE_SEGMENT].missing != NULL)
		before = 0;
	space->generation = before;
}

/* Whoever may read the key column may evaluate. */
static bool
may_evaluate(FfNamespace *space)
{
	const FfTable *table = &space->tables.table[FFE_FLAG];
	Oid role = GetUserId();
	uint64 before = generation;

	if (likely(space->role == role && space->acl_generation == generation))
		return space->may_evaluate;
	space->may_evaluate =
		pg_class_aclcheck(table->relid, role, ACL_SELECT) == ACLCHECK_OK ||
		(table->columns[0] != InvalidAttrNumber &&
		 pg_attribute_aclcheck(table->relid, table->columns[0], role, ACL_SELECT) == ACLCHECK_OK);
	space->role = role;
	space->acl_generation = before;
	return space->may_evaluate;
}

/* ---------- entries ---------- */

/* Makes entries for all ids of the set. */
static bool
grow_entries(FfNamespace *space)
{
	uint32 wanted = ffe_set_count(space->set);
	uint32 capacity = space->nentries == 0 ? 16 : space->nentries;
	FfEntry *larger;

	if (wanted <= space->nentries)
		return true;
	while (capacity < wanted)
		capacity *= 2;
	larger = MemoryContextAllocExtended(space->context, capacity * sizeof(FfEntry),
										MCXT_ALLOC_NO_OOM | MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	if (larger == NULL)
		return false;
	if (space->entries != NULL)
	{
		memcpy(larger, space->entries, space->nentries * sizeof(FfEntry));
		pfree(space->entries);
	}
	space->entries = larger;
	space->nentries = capacity;
	return true;
}

/* Keeps the account of an entry's document, after it was replaced or dropped. */
static void
account(FfNamespace *space, uint32 id)
{
	const ffe_doc *doc = ffe_set_doc(space->set, id);
	FfEntry *entry = &space->entries[id];
	uint32 size = doc == NULL ? 0 : (uint32) ffe_doc_size(doc);

	forget_answers(entry);
	cached_bytes += size;
	cached_bytes -= entry->size;
	entry->size = size;
}

static uint64
total_bytes(void)
{
	uint64 total = cached_bytes + (state == NULL ? 0 : ffe_state_size(state));

	for (FfNamespace *space = namespaces; space != NULL; space = space->next)
	{
		total += space->nentries * sizeof(FfEntry) + space->all_count * sizeof(uint32);
		if (space->set != NULL)
			total += ffe_set_size(space->set);
	}
	return total;
}

/* Drops documents that were not used since the hand last passed, until `target` is reached. */
static void
evict_from(FfNamespace *space, uint64 target)
{
	uint32 count = space->set == NULL ? 0 : Min(ffe_set_count(space->set), space->nentries);

	for (uint32 steps = 0; steps < 2 * count && total_bytes() > target; steps++)
	{
		uint32 id = space->clock++ % count;
		FfEntry *entry = &space->entries[id];

		if (entry->size == 0)
			continue;
		if (entry->used)
		{
			entry->used = false;
			continue;
		}
		ffe_set_put(space->set, id, NULL);
		account(space, id);
		entry->row.generation = 0;
		ff_cache_contents++;
		count_evictions++;
	}
}

/*
 * Keeps the cache within ff.cache_size. Called before anything is looked up. Names can't be
 * dropped one by one: when they take half of the room, their namespace begins anew.
 */
static void
keep_within_limit(void)
{
	uint64 limit = (uint64) ff_cache_size * 1024;

	if (likely(total_bytes() <= limit))
		return;
	for (FfNamespace *space = namespaces; space != NULL; space = space->next)
	{
		if (space->set != NULL &&
			ffe_set_size(space->set) + space->nentries * sizeof(FfEntry) > limit / 2)
		{
			count_evictions += ffe_set_count(space->set);
			reset_namespace(space);
		}
		evict_from(space, limit - limit / 4);
	}
}

/* ---------- checking and loading ---------- */

/* Makes sure that an object's own row was read under this snapshot, or one as good. */
static void
check_row(FfNamespace *space, uint32 id, const FfSnapKey *now, uint64 before)
{
	FfEntry *entry = &space->entries[id];
	const FfTable *table = &space->tables.table[ffe_set_object(space->set, id)];
	FfRowId rowid = entry->rowid;
	bool had_doc;
	FfLoad load;

	entry->used = true;
	if (stamp_is_good(&entry->row, now))
		return;
	count_checks++;
	had_doc = ffe_set_doc(space->set, id) != NULL;
	load = ff_load(table, space->set, id, GetActiveSnapshot(), &rowid);
	entry = &space->entries[id];
	entry->rowid = rowid;
	entry->not_ready = load == FF_LOAD_NOT_READY;
	count_loads += load == FF_LOAD_LOADED;
	if (load != FF_LOAD_UNCHANGED)
		account(space, id);

	/* what was computed with another version, or without one, is not good for any snapshot now */
	if (load == FF_LOAD_LOADED ? had_doc || entry->row.generation != 0
							   : load == FF_LOAD_MISSING && had_doc)
		ff_cache_contents++;
	entry->row.generation = entry->not_ready ? 0 : before;
	entry->row.snap = *now;
}

/*
 * Checks an object and all that it depends on. Ids found on the way wait in a list; a walk has a
 * number, so that each is visited once.
 */
static ffe_status
check_closure(FfNamespace *space, uint32 root, const FfSnapKey *now)
{
	uint64 before = generation;
	List *todo = list_make1_oid(root);
	ffe_status status = FFE_OK;
	bool reads_context = false;

	current_walk++;
	while (todo != NIL)
	{
		uint32 id = llast_oid(todo);
		const ffe_doc *doc;
		uint32 dep;

		todo = list_delete_last(todo);
		if (!grow_entries(space))
			return FFE_NO_MEMORY;
		if (space->entries[id].walk == current_walk)
			continue;
		space->entries[id].walk = current_walk;
		check_row(space, id, now, before);
		if (space->entries[id].not_ready)
			status = FFE_NOT_READY;
		doc = ffe_set_doc(space->set, id);
		if (doc == NULL)
			continue;
		reads_context = reads_context || ffe_doc_reads_context(doc);
		for (uint32 i = 0; (dep = ffe_doc_dependency(doc, i)) != FFE_NO_ID; i++)
			todo = lappend_oid(todo, dep);
	}
	if (!grow_entries(space) || !ffe_state_reserve(state, space->set))
		return FFE_NO_MEMORY;
	if (status != FFE_OK)
	{
		space->failed = true;
		space->failed_snap = *now;
		return status;
	}
	space->entries[root].reads_context = reads_context;
	set_wide_stamp(&space->entries[root].closure, now, before);
	return FFE_OK;
}

/* Looks up the tables; remembers a failure for the snapshot, since finding out can take a while. */
static ffe_status
find_tables(FfNamespace *space, const FfSnapKey *now)
{
	if (space->failed && snap_equal(&space->failed_snap, now))
		return FFE_NOT_READY;
	space->failed = false;
	if (space->generation == generation)
		return FFE_OK;
	resolve_namespace(space);
	space->failed = space->generation == 0;
	space->failed_snap = *now;
	return space->failed ? FFE_NOT_READY : FFE_OK;
}

/* What every look-up begins with. */
static ffe_status
begin(FfNamespace *space, const FfSnapKey *now)
{
	if (state == NULL)
	{
		ffe_alloc alloc = ff_allocator(cache_context);

		state = ffe_state_new(&alloc);
	}
	if (unlikely(space->generation != generation || space->failed))
	{
		ffe_status status = find_tables(space, now);

		if (status != FFE_OK)
			return status;
	}
	if (unlikely(state == NULL || space->set == NULL))
		return FFE_NO_MEMORY;
	return likely(may_evaluate(space)) ? FFE_OK : FFE_PERMISSION_DENIED;
}

ffe_status
ff_cache_find(FfSite *site, const char *key, uint32 key_len)
{
	FfSnapKey now;
	ffe_status status;

	site->serial = 0;
	AcceptInvalidationMessages();
	site->space = find_namespace(site->name == NULL ? ff_namespace : site->name);
	site->setting = ff_namespace_changes;
	if (!ActiveSnapshotSet())
		return FFE_NOT_READY;
	keep_within_limit();
	now = snap_key(GetActiveSnapshot());
	status = begin(site->space, &now);
	if (status != FFE_OK)
		return status;
	if (key_len == 0 || key_len > FFE_MAX_KEY)
		return FFE_FLAG_NOT_FOUND;
	site->id = ffe_set_intern(site->space->set, FFE_FLAG, key, key_len);
	if (site->id == FFE_NO_ID || !grow_entries(site->space))
		return FFE_NO_MEMORY;
	site->serial = cache_serial;
	site->key_len = key_len;
	memmove(site->key, key, key_len);
	return FFE_OK;
}

/* All that can be in the way of an answer from the cache, looked at once more. */
static pg_noinline ffe_status
make_ready(FfSite *site)
{
	FfNamespace *space = site->space;
	FfSnapKey now = snap_key(GetActiveSnapshot());
	ffe_status status = begin(space, &now);

	if (status != FFE_OK)
		return status;
	if (site->serial != cache_serial)
	{
		/* a namespace began anew: the id has to be found again, in a set that is ready */
		site->id = ffe_set_intern(space->set, FFE_FLAG, site->key, site->key_len);
		if (site->id == FFE_NO_ID || !grow_entries(space))
			return FFE_NO_MEMORY;
		site->serial = cache_serial;
	}
	if (wide_stamp_is_good(&space->entries[site->id].closure, &now))
		return FFE_OK;
	notice();
	return check_closure(space, site->id, &now);
}

ffe_status
ff_cache_ready(FfSite *site)
{
	FfNamespace *space = site->space;
	FfEntry *entry;
	ffe_status status;

	AcceptInvalidationMessages();
	if (likely(site->serial == cache_serial && space->generation == generation &&
			   space->acl_generation == generation && space->may_evaluate && !space->failed &&
			   space->role == GetUserId()))
	{
		entry = &space->entries[site->id];
		if (likely(entry->closure.contents == ff_cache_contents &&
				   entry->closure.stamp.generation == generation &&
				   snap_matches(GetActiveSnapshot(), &entry->closure.stamp.snap)))
		{
			entry->used = true;
			count_hits++;
			site->reads_context = entry->reads_context;
			return FFE_OK;
		}
	}
	status = make_ready(site);
	site->reads_context = status != FFE_OK || space->entries[site->id].reads_context;
	return status;
}

bool
ff_cache_site_is_current(const FfSite *site)
{
	return site->serial == cache_serial && site->setting == ff_namespace_changes;
}

/* ---------- all flags ---------- */

static int
compare_keys(const void *a, const void *b, void *arg)
{
	const ffe_set *set = arg;

	return strcmp(ffe_set_key(set, *(const uint32 *) a, NULL),
				  ffe_set_key(set, *(const uint32 *) b, NULL));
}

/* Reads every row of a table, compiling what is new; lists the active flags in ids. */
static ffe_status
scan_table(FfNamespace *space, ffe_object object, const FfSnapKey *now, uint64 before, uint32 **ids,
		   uint32 *count)
{
	const FfTable *table = &space->tables.table[object];
	Relation rel = table->missing == NULL ? ff_open_table(table->relid) : NULL;
	uint32 capacity = 64;
	SysScanDesc scan;
	HeapTuple row;

	if (rel == NULL)
		return FFE_NOT_READY;
	*ids = palloc(sizeof(uint32) * capacity);
	*count = 0;
	scan = systable_beginscan(rel, InvalidOid, false, GetActiveSnapshot(), 0, NULL);
	while ((row = systable_getnext(scan)) != NULL)
	{
		bool isnull;
		text *key =
			DatumGetTextPP(heap_getattr(row, table->columns[0], RelationGetDescr(rel), &isnull));
		uint32 id = ffe_set_intern(space->set, object, VARDATA_ANY(key), VARSIZE_ANY_EXHDR(key));
		FfEntry *entry;

		CHECK_FOR_INTERRUPTS();
		if (id == FFE_NO_ID || !grow_entries(space))
			break;
		entry = &space->entries[id];
		if (ffe_set_doc(space->set, id) == NULL || entry->rowid.file != ff_relation_file(rel) ||
			entry->rowid.xmin != HeapTupleHeaderGetRawXmin(row->t_data) ||
			!ItemPointerEquals(&entry->rowid.tid, &row->t_self))
		{
			ff_load_row(table, space->set, id, row, RelationGetDescr(rel));
			ff_cache_contents++;
			if (!grow_entries(space))
				break;
			entry = &space->entries[id];
			entry->rowid.file = ff_relation_file(rel);
			entry->rowid.xmin = HeapTupleHeaderGetRawXmin(row->t_data);
			entry->rowid.tid = row->t_self;
			account(space, id);
			count_loads++;
		}
		entry->row.generation = before;
		entry->row.snap = *now;
		entry->not_ready = false;
		entry->used = true;
		if (*count == capacity)
			*ids = repalloc(*ids, sizeof(uint32) * (capacity *= 2));
		(*ids)[(*count)++] = id;
	}
	systable_endscan(scan);
	relation_close(rel, AccessShareLock);
	return row == NULL ? FFE_OK : FFE_NO_MEMORY;
}

/* Makes the list of all active flags, with all of them and all segments loaded. */
static ffe_status
list_all(FfNamespace *space, const FfSnapKey *now)
{
	uint64 before = generation;
	uint32 *ids, *segment_ids;
	uint32 count, segment_count;
	uint32 active = 0;
	ffe_status status = scan_table(space, FFE_SEGMENT, now, before, &segment_ids, &segment_count);

	if (status == FFE_OK)
		status = scan_table(space, FFE_FLAG, now, before, &ids, &count);
	if (status != FFE_OK)
		return status;
	for (uint32 i = 0; i < count; i++)
	{
		const ffe_doc *doc = ffe_set_doc(space->set, ids[i]);

		if (doc != NULL && ffe_doc_status(doc) != FFE_FLAG_ARCHIVED)
			ids[active++] = ids[i];
	}
	qsort_arg(ids, active, sizeof(uint32), compare_keys, space->set);
	for (uint32 i = 0; i < active; i++)
	{
		status = check_closure(space, ids[i], now);
		if (status != FFE_OK)
			return status;
	}
	if (space->all_ids != NULL)
		pfree(space->all_ids);
	space->all_count = 0;
	space->all_ids = MemoryContextAlloc(space->context, sizeof(uint32) * Max(active, 1));
	memcpy(space->all_ids, ids, sizeof(uint32) * active);
	space->all_count = active;
	set_wide_stamp(&space->all, now, before);
	pfree(ids);
	pfree(segment_ids);
	return FFE_OK;
}

ffe_status
ff_cache_all(const char *name, FfNamespace **out, uint32 **ids, uint32 *count)
{
	FfNamespace *space;
	FfSnapKey now;
	ffe_status status;

	AcceptInvalidationMessages();
	space = find_namespace(name == NULL ? ff_namespace : name);
	keep_within_limit();
	now = snap_key(GetActiveSnapshot());
	status = begin(space, &now);
	if (status == FFE_OK && !wide_stamp_is_good(&space->all, &now))
	{
		notice();
		status = list_all(space, &now);
	}
	*out = space;
	*ids = space->all_ids;
	*count = status == FFE_OK ? space->all_count : 0;
	return status;
}

/* ---------- what others ask ---------- */

ffe_set *
ff_cache_set(FfNamespace *space)
{
	return space->set;
}

/*
 * The place for the row of a flag's result: formed before, or to be formed by the caller and put
 * there by ff_cache_keep_answer. Few results make many rows: most contexts get the same few.
 */
FfAnswer *
ff_cache_answer(FfNamespace *space, uint32 id, const ffe_result *result)
{
	FfEntry *entry = &space->entries[id];
	FfAnswer *answer;

	if (unlikely(entry->answers == NULL))
	{
		entry->answers = MemoryContextAllocZero(space->context, sizeof(FfAnswer) * FF_ANSWERS);
		cached_bytes += sizeof(FfAnswer) * FF_ANSWERS;
	}
	answer =
		&entry->answers[(uint32) (result->variant + result->rule + result->reason) % FF_ANSWERS];
	if (answer->row != NULL && (answer->variant != result->variant ||
								answer->rule != result->rule || answer->reason != result->reason))
	{
		cached_bytes -= answer->row->t_len;
		pfree(answer->row);
		answer->row = NULL;
	}
	return answer;
}

void
ff_cache_keep_answer(FfNamespace *space, FfAnswer *answer, const ffe_result *result,
					 MinimalTuple row)
{
	MemoryContext old = MemoryContextSwitchTo(space->context);

	answer->variant = result->variant;
	answer->rule = result->rule;
	answer->reason = result->reason;
	answer->row = heap_copy_minimal_tuple(row);
	cached_bytes += row->t_len;
	MemoryContextSwitchTo(old);
}

ffe_state *
ff_cache_state(void)
{
	return state;
}

/* Why a namespace can't be evaluated in, for people. */
char *
ff_cache_problem(const FfNamespace *space, ffe_status status)
{
	const FfTable *tables = space->tables.table;
	const char *missing =
		tables[FFE_FLAG].missing != NULL ? tables[FFE_FLAG].missing : tables[FFE_SEGMENT].missing;

	if (status == FFE_PERMISSION_DENIED)
		return psprintf("permission denied to evaluate flags of namespace \"%s\"", space->name);
	if (!space->exists)
		return psprintf("namespace \"%s\" does not exist", space->name);
	if (missing == NULL)
		missing = "table that can be read now: it may be locked";
	return psprintf("namespace \"%s\" has no %s", space->name, missing);
}

const FfTables *
ff_cache_tables(const char *name)
{
	FfNamespace *space;

	AcceptInvalidationMessages();
	space = find_namespace(name == NULL ? ff_namespace : name);
	if (space->generation != generation)
		resolve_namespace(space);
	if (!space->exists)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("namespace \"%s\" does not exist", space->name),
						errhint("SELECT name FROM ff.namespaces lists the namespaces.")));
	for (int i = 0; i < 2; i++)
	{
		const FfTable *table = &space->tables.table[i];

		if (table->missing != NULL)
			ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
							errmsg("the %s table of namespace \"%s\" cannot be used",
								   i == FFE_FLAG ? "flag" : "segment", space->name),
							errdetail("It has no %s.", table->missing)));
	}
	return &space->tables;
}

PG_FUNCTION_INFO_V1(ff_cache_info);

Datum
ff_cache_info(PG_FUNCTION_ARGS)
{
	TupleDesc desc;
	Datum values[10];
	bool nulls[10] = {false};
	int64 objects[2] = {0, 0};
	int count = 0;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	for (FfNamespace *space = namespaces; space != NULL; space = space->next, count++)
	{
		for (uint32 id = 0; space->set != NULL && id < ffe_set_count(space->set); id++)
			objects[ffe_set_object(space->set, id)] += ffe_set_doc(space->set, id) != NULL;
	}
	values[0] = Int32GetDatum(count);
	values[1] = Int64GetDatum(objects[FFE_FLAG]);
	values[2] = Int64GetDatum(objects[FFE_SEGMENT]);
	values[3] = Int64GetDatum((int64) total_bytes());
	values[4] = Int64GetDatum((int64) ff_cache_size * 1024);
	values[5] = Int64GetDatum((int64) generation);
	values[6] = Int64GetDatum((int64) count_hits);
	values[7] = Int64GetDatum((int64) count_checks);
	values[8] = Int64GetDatum((int64) count_loads);
	values[9] = Int64GetDatum((int64) count_evictions);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, values, nulls)));
}
