/*
 * src/ff_cache.c
 *	  Compiled flags in each backend: ff_namespaces, their documents, and what keeps them true.
 *
 * Nothing is freed but in ff_cache_find, ff_cache_ready and ff_cache_all, before they look anything
 * up or while they check it; what is evaluated afterwards stays in place whatever message arrives
 * meanwhile. The rule of freshness is in ff_stamp.h.
 */
#include "ff_cache_private.h"
#include "ff_usage.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

FfNamespace *ff_namespaces = NULL;
FfCounts ff_counts;
uint64 ff_cached_bytes = 0;

/* Stands for every namespace that does not exist. */
static FfNamespace nowhere;

static MemoryContext cache_context = NULL;
static ffe_state *state = NULL;

/* Grows when ids lose their meaning; call sites compare it. */
uint64 ff_cache_serial = 1;

static uint32 current_walk = 0;

/* ---------- namespaces ---------- */

/* Makes the entry of a namespace that exists. */
static FfNamespace *
add_namespace(const char *name)
{
	FfNamespace *space = MemoryContextAllocZero(cache_context, sizeof(FfNamespace));

	space->name = MemoryContextStrdup(cache_context, name);
	space->next = ff_namespaces;
	ff_namespaces = space;
	return space;
}

/*
 * Finds a namespace by name. One that does not exist gets no entry, because names may come from
 * anywhere and nothing would bound their number; there is one in place of all of them.
 */
FfNamespace *
ff_find_namespace(const char *name)
{
	static char nowhere_name[NAMEDATALEN];
	size_t len = strlen(name);
	FfNamespace *space;
	Oid flags, segments;
	uint64 before;

	for (space = ff_namespaces; space != NULL; space = space->next)
	{
		if (strcmp(space->name, name) == 0)
			return space;
	}
	if (cache_context == NULL)
		cache_context =
			AllocSetContextCreate(CacheMemoryContext, "ff cache", ALLOCSET_DEFAULT_SIZES);
	if (nowhere.name != NULL && strcmp(nowhere.name, name) == 0 &&
		nowhere.generation == ff_generation &&
		nowhere.failures[FFE_FLAG].statement == GetCurrentStatementStartTimestamp())
		return &nowhere;

	/* no namespace has a name that would not fit here; it is cut to be shown, not to be found */
	before = len < NAMEDATALEN ? ff_generation : 0;
	if (before != 0 && ActiveSnapshotSet() && ff_find_tables(name, false, &flags, &segments))
		return add_namespace(name);
	nowhere.generation = before;
	nowhere.failures[FFE_FLAG].statement = GetCurrentStatementStartTimestamp();
	len = (size_t) pg_mbcliplen(name, (int) len, NAMEDATALEN - 1);
	memcpy(nowhere_name, name, len);
	nowhere_name[len] = '\0';
	nowhere.name = nowhere_name;
	return &nowhere;
}

bool
ff_has_failed(const FfNamespace *space, ffe_object object, const FfSnapKey *now)
{
	const FfFailure *failure = &space->failures[object];

	return failure->set && snap_equal(&failure->snap, now) &&
		   failure->statement == GetCurrentStatementStartTimestamp();
}

void
ff_note_failure(FfNamespace *space, ffe_object object, const FfSnapKey *now)
{
	FfFailure *failure = &space->failures[object];

	failure->set = true;
	failure->snap = *now;
	failure->statement = GetCurrentStatementStartTimestamp();
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
		ff_cached_bytes -= entry->answers[i].row->t_len;
		pfree(entry->answers[i].row);
	}
	ff_cached_bytes -= sizeof(FfAnswer) * FF_ANSWERS;
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
		ff_cached_bytes -= space->entries[i].size;
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
	ff_contents++;
	space->all_ids = NULL;
	space->all_count = 0;
	ff_cache_serial++;
}

/* Looks up the tables again after an invalidation. */
static void
resolve_namespace(FfNamespace *space)
{
	FfTable *tables = space->tables.table;
	Oid flags = InvalidOid, segments = InvalidOid;
	Oid schema = get_namespace_oid("ff", true);
	uint64 before;

	ff_renew_watch();
	before = ff_generation;
	ff_watch(OidIsValid(schema) ? get_relname_relid("namespaces", schema) : InvalidOid);
	ff_watch(OidIsValid(schema) ? get_relname_relid("cache_epoch", schema) : InvalidOid);
	space->exists = ff_find_tables(space->name, false, &flags, &segments);
	ff_watch(flags);
	ff_watch(segments);
	if (space->set == NULL || flags != tables[FFE_FLAG].relid ||
		segments != tables[FFE_SEGMENT].relid)
		reset_namespace(space);
	ff_describe_table(&tables[FFE_FLAG], flags, FFE_FLAG, false);
	ff_describe_table(&tables[FFE_SEGMENT], segments, FFE_SEGMENT, false);
	for (int i = 0; i < 2; i++)
	{
		if (tables[i].missing != NULL)
			continue;
		if (memcmp(space->columns[i], tables[i].columns, sizeof(tables[i].columns)) != 0)
		{
			reset_namespace(space);
			memcpy(space->columns[i], tables[i].columns, sizeof(tables[i].columns));
		}
	}

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
	uint64 before = ff_generation;

	if (likely(space->role == role && space->acl_generation == ff_generation))
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
bool
ff_grow_entries(FfNamespace *space)
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
void
ff_account(FfNamespace *space, uint32 id)
{
	const ffe_doc *doc = ffe_set_doc(space->set, id);
	FfEntry *entry = &space->entries[id];
	uint32 size = doc == NULL ? 0 : (uint32) ffe_doc_size(doc);

	forget_answers(entry);
	ff_cached_bytes += size;
	ff_cached_bytes -= entry->size;
	entry->size = size;
}

uint64
ff_total_bytes(void)
{
	uint64 total = ff_cached_bytes + (state == NULL ? 0 : ffe_state_size(state));

	for (FfNamespace *space = ff_namespaces; space != NULL; space = space->next)
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

	for (uint32 steps = 0; steps < 2 * count && ff_total_bytes() > target; steps++)
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
		ff_account(space, id);
		entry->row.generation = 0;
		ff_contents++;
		ff_counts.evictions++;
	}
}

/*
 * Keeps the cache within ff.cache_size. Called before anything is looked up. Names can't be
 * dropped one by one: when they take half of the room, their namespace begins anew.
 */
void
ff_keep_within_limit(void)
{
	uint64 limit = (uint64) ff_cache_size * 1024;

	if (likely(ff_total_bytes() <= limit))
		return;
	for (FfNamespace *space = ff_namespaces; space != NULL; space = space->next)
	{
		if (space->set != NULL &&
			ffe_set_size(space->set) + space->nentries * sizeof(FfEntry) > limit / 2)
		{
			ff_counts.evictions += ffe_set_count(space->set);
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
	ff_counts.checks++;
	had_doc = ffe_set_doc(space->set, id) != NULL;
	load = FF_LOAD_NOT_READY;
	if (!ff_has_failed(space, table->object, now))
		load = ff_load(table, space->set, id, GetActiveSnapshot(), &rowid);
	if (load == FF_LOAD_NOT_READY)
		ff_note_failure(space, table->object, now);
	entry = &space->entries[id];
	entry->rowid = rowid;
	entry->not_ready = load == FF_LOAD_NOT_READY;
	ff_counts.loads += load == FF_LOAD_LOADED;
	if (load != FF_LOAD_UNCHANGED)
		ff_account(space, id);

	/* what was computed with another version, or without one, is not good for any snapshot now */
	if (load == FF_LOAD_LOADED    ? had_doc || entry->row.generation != 0
		: load == FF_LOAD_MISSING ? had_doc
								  : load == FF_LOAD_NOT_READY && entry->row.generation != 0)
		ff_contents++;
	entry->row.generation = entry->not_ready ? 0 : before;
	entry->row.snap = *now;
}

/*
 * Checks an object and all that it depends on. Ids found on the way wait in a list; a walk has a
 * number, so that each is visited once.
 */
ffe_status
ff_check_closure(FfNamespace *space, uint32 root, const FfSnapKey *now)
{
	uint64 before = ff_generation;
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
		if (!ff_grow_entries(space))
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
	if (!ff_grow_entries(space) || !ffe_state_reserve(state, space->set))
		return FFE_NO_MEMORY;
	if (status != FFE_OK)
		return status;
	space->entries[root].reads_context = reads_context;
	set_wide_stamp(&space->entries[root].closure, now, before);
	return FFE_OK;
}

/* Looks up the tables, unless that failed in this statement. Flags can do without segments. */
static ffe_status
find_tables(FfNamespace *space, const FfSnapKey *now)
{
	const FfTable *tables = space->tables.table;

	for (int object = FFE_FLAG; object <= FFE_SEGMENT; object++)
	{
		if (!ff_has_failed(space, object, now))
			space->failures[object].set = false;
	}
	if (space->failures[FFE_FLAG].set)
		return FFE_NOT_READY;
	if (space->generation == ff_generation ||
		(space->generation == 0 && space->failures[FFE_SEGMENT].set))
		return FFE_OK;
	resolve_namespace(space);
	if (!space->exists || tables[FFE_FLAG].missing != NULL)
		ff_note_failure(space, FFE_FLAG, now);
	if (!space->exists || tables[FFE_SEGMENT].missing != NULL)
		ff_note_failure(space, FFE_SEGMENT, now);
	return space->failures[FFE_FLAG].set ? FFE_NOT_READY : FFE_OK;
}

/* What every look-up begins with. */
ffe_status
ff_begin(FfNamespace *space, const FfSnapKey *now)
{
	if (state == NULL)
	{
		ffe_alloc alloc = ff_allocator(cache_context);

		state = ffe_state_new(&alloc);
	}
	if (unlikely(space == &nowhere))
		return FFE_NOT_READY;
	if (unlikely(space->generation != ff_generation || space->failures[FFE_FLAG].set))
	{
		ffe_status status = find_tables(space, now);

		if (status != FFE_OK)
			return status;
	}
	if (unlikely(state == NULL || space->set == NULL))
		return FFE_NO_MEMORY;
	return likely(may_evaluate(space)) ? FFE_OK : FFE_PERMISSION_DENIED;
}

void
ff_note_evaluation(FfNamespace *space, uint32 id)
{
	TimestampTz now = GetCurrentStatementStartTimestamp();
	List *todo;

	if (!ff_usage_is_kept() || now - space->entries[id].noted < FF_USAGE_STEP)
		return;
	todo = list_make1_oid(id);
	while (todo != NIL)
	{
		uint32 next = llast_oid(todo);
		FfEntry *entry = &space->entries[next];
		const ffe_doc *doc = ffe_set_doc(space->set, next);
		uint32 dep;

		todo = list_delete_last(todo);
		if (now - entry->noted < FF_USAGE_STEP)
			continue;
		entry->noted = now;
		if (ffe_set_object(space->set, next) == FFE_FLAG && doc != NULL)
			ff_note_usage(space->name, ffe_set_key(space->set, next, NULL), now);
		for (uint32 i = 0; doc != NULL && (dep = ffe_doc_dependency(doc, i)) != FFE_NO_ID; i++)
			todo = lappend_oid(todo, dep);
	}
}

ffe_status
ff_cache_find(FfSite *site, const char *key, uint32 key_len)
{
	FfSnapKey now;
	ffe_status status;

	site->serial = 0;
	AcceptInvalidationMessages();
	site->space = ff_find_namespace(site->name == NULL ? ff_namespace : site->name);
	site->setting = ff_namespace_changes;
	if (!ActiveSnapshotSet())
		return FFE_NOT_READY;
	ff_keep_within_limit();
	now = snap_key(GetActiveSnapshot());
	status = ff_begin(site->space, &now);
	if (status != FFE_OK)
		return status;
	if (key_len == 0 || key_len > FFE_MAX_KEY)
		return FFE_FLAG_NOT_FOUND;
	site->id = ffe_set_intern(site->space->set, FFE_FLAG, key, key_len);
	if (site->id == FFE_NO_ID || !ff_grow_entries(site->space))
		return FFE_NO_MEMORY;
	site->serial = ff_cache_serial;
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
	FfEntry *entry;
	ffe_status status = ff_begin(space, &now);

	if (status != FFE_OK)
		return status;
	if (site->serial != ff_cache_serial)
	{
		/* a namespace began anew: the id has to be found again, in a set that is ready */
		site->id = ffe_set_intern(space->set, FFE_FLAG, site->key, site->key_len);
		if (site->id == FFE_NO_ID || !ff_grow_entries(space))
			return FFE_NO_MEMORY;
		site->serial = ff_cache_serial;
	}
	entry = &space->entries[site->id];
	if (wide_stamp_is_good(&entry->closure, &now))
	{
		/* good for this snapshot as well: the next row needs not ask so much */
		entry->closure.stamp.snap = now;
		entry->used = true;
		ff_counts.hits++;
		return FFE_OK;
	}
	ff_notice();
	return ff_check_closure(space, site->id, &now);
}

ffe_status
ff_cache_ready(FfSite *site)
{
	FfNamespace *space = site->space;
	FfEntry *entry;
	ffe_status status;

	AcceptInvalidationMessages();
	if (likely(site->serial == ff_cache_serial && space->generation == ff_generation &&
			   space->acl_generation == ff_generation && space->may_evaluate &&
			   !space->failures[FFE_FLAG].set && space->role == GetUserId()))
	{
		entry = &space->entries[site->id];
		if (likely(entry->closure.contents == ff_contents &&
				   entry->closure.stamp.generation == ff_generation &&
				   snap_matches(GetActiveSnapshot(), &entry->closure.stamp.snap)))
		{
			entry->used = true;
			ff_counts.hits++;
			site->reads_context = entry->reads_context;
			return FFE_OK;
		}
	}
	status = make_ready(site);
	if (status == FFE_OK)
		ff_note_evaluation(space, site->id);
	site->reads_context = status != FFE_OK || space->entries[site->id].reads_context;
	return status;
}

/* ---------- what others ask ---------- */

const char *
ff_cache_name(const FfNamespace *space)
{
	return space->name;
}

ffe_set *
ff_cache_set(FfNamespace *space)
{
	return space->set;
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
	if (missing == NULL || strcmp(missing, "table") == 0)
		missing = "table that can be read now: it may be locked";
	return psprintf("namespace \"%s\" has no %s", space->name, missing);
}
