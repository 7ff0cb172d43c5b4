/*
 * src/ff_check.c
 *	  References between flags and segments: they exist, and make no cycle.
 *
 * The rule: the state that is checked is the one that the transaction sees now, its own changes
 * included, read from the tables and not from the cache.
 */
#include "ff.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* Objects of a namespace, loaded for one check. */
typedef struct FfGraph
{
	const FfTables *tables;
	ffe_set *set;
	uint32 root;
	StringInfoData path; /* of references, while looking for a cycle */
} FfGraph;

static const char *
word(const FfGraph *graph, uint32 id)
{
	return ffe_set_object(graph->set, id) == FFE_FLAG ? "flag" : "segment";
}

static const char *
key_of(const FfGraph *graph, uint32 id)
{
	return ffe_set_key(graph->set, id, NULL);
}

static void
report_missing(const FfGraph *graph, uint32 dep, const char *what)
{
	ereport(ERROR, (errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
					errmsg("%s \"%s\" refers to %s \"%s\", which %s", word(graph, graph->root),
						   key_of(graph, graph->root), word(graph, dep), key_of(graph, dep), what),
					errhint("Create or restore it first, or refer to another.")));
}

/* What the root refers to must be there and active, with the variants that it names. */
static void
check_references(const FfGraph *graph)
{
	const ffe_doc *doc = ffe_set_doc(graph->set, graph->root);
	const char *variant;
	char path[256];
	uint32 dep;
	size_t len;

	for (uint32 i = 0; (dep = ffe_doc_dependency(doc, i)) != FFE_NO_ID; i++)
	{
		const ffe_doc *other = ffe_set_doc(graph->set, dep);

		if (other == NULL)
			report_missing(graph, dep, "does not exist");
		else if (ffe_doc_status(other) == FFE_FLAG_ARCHIVED)
			report_missing(graph, dep, "is archived");
	}
	for (uint32 i = 0;
		 ffe_doc_wanted_variant(graph->set, doc, i, &dep, &variant, &len, path, sizeof(path)); i++)
	{
		if (!ffe_doc_has_variant(ffe_set_doc(graph->set, dep), variant, len))
			ereport(
				ERROR,
				(errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
				 errmsg("%s \"%s\" refers to variant \"%.*s\" of flag \"%s\", which does not exist",
						word(graph, graph->root), key_of(graph, graph->root), (int) len, variant,
						key_of(graph, dep)),
				 errdetail("The reference is at %s.", path)));
	}
}

/*
 * Follows references from id, and reports a way that leads back to the root, or is too long.
 * Objects that were followed without finding one are done.
 */
static void
check_cycle(FfGraph *graph, uint32 id, uint32 depth, Bitmapset **done)
{
	const ffe_doc *doc = ffe_set_doc(graph->set, id);
	int mark = graph->path.len;
	uint32 dep;

	check_stack_depth();
	if (depth > FFE_MAX_DEPENDENCY_DEPTH)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("%s \"%s\" depends on others over too many steps", word(graph, graph->root),
						key_of(graph, graph->root)),
				 errdetail("The limit is %d: %s", FFE_MAX_DEPENDENCY_DEPTH, graph->path.data)));
	for (uint32 i = 0; doc != NULL && (dep = ffe_doc_dependency(doc, i)) != FFE_NO_ID; i++)
	{
		appendStringInfo(&graph->path, " -> %s%s",
						 ffe_set_object(graph->set, dep) == FFE_SEGMENT ? "segment " : "",
						 key_of(graph, dep));
		if (dep == graph->root)
			ereport(ERROR, (errcode(ERRCODE_INVALID_RECURSION),
							errmsg("references of %s \"%s\" make a cycle", word(graph, graph->root),
								   key_of(graph, graph->root)),
							errdetail("%s", graph->path.data)));
		if (!bms_is_member((int) dep, *done))
			check_cycle(graph, dep, depth + 1, done);
		graph->path.len = mark;
		graph->path.data[mark] = '\0';
	}
	*done = bms_add_member(*done, (int) id);
}

/* ---------- dependents ---------- */

/* Why an active object can't do with what the root has become, or NULL. */
static const char *
complaint(const FfGraph *graph, const ffe_doc *doc)
{
	const ffe_doc *root = ffe_set_doc(graph->set, graph->root);
	const char *variant;
	char path[256];
	uint32 dep;
	size_t len;

	if (ffe_doc_status(doc) == FFE_FLAG_ARCHIVED)
		return NULL;
	for (uint32 i = 0; (dep = ffe_doc_dependency(doc, i)) != FFE_NO_ID; i++)
	{
		if (dep == graph->root && ffe_doc_status(root) == FFE_FLAG_ARCHIVED)
			return "";
	}
	for (uint32 i = 0;
		 ffe_doc_wanted_variant(graph->set, doc, i, &dep, &variant, &len, path, sizeof(path)); i++)
	{
		if (dep == graph->root && !ffe_doc_has_variant(root, variant, len))
			return psprintf(" (variant \"%.*s\", at %s)", (int) len, variant, path);
	}
	return NULL;
}

/* Adds those of a table who complain to the list. */
static void
collect_complaints(const FfGraph *graph, ffe_object object, Snapshot snapshot, StringInfo list)
{
	const FfTable *table = &graph->tables->table[object];
	Relation rel = ff_open_table(table->relid);
	SysScanDesc scan;
	HeapTuple row;

	if (rel == NULL)
		return;
	scan = systable_beginscan(rel, InvalidOid, false, snapshot, 0, NULL);
	while (HeapTupleIsValid(row = systable_getnext(scan)))
	{
		bool isnull;
		char *key = TextDatumGetCString(
			heap_getattr(row, table->columns[0], RelationGetDescr(rel), &isnull));
		uint32 id = ffe_set_intern(graph->set, object, key, strlen(key));
		const char *why;

		CHECK_FOR_INTERRUPTS();
		if (id == FFE_NO_ID)
			ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
		if (id != graph->root)
		{
			ff_load_row(table, graph->set, id, row, RelationGetDescr(rel));
			why = ffe_set_doc(graph->set, id) == NULL
					  ? NULL
					  : complaint(graph, ffe_set_doc(graph->set, id));
			if (why != NULL)
				appendStringInfo(list, "%s%s %s%s", list->len == 0 ? "" : ", ", word(graph, id),
								 key, why);
			ffe_set_put(graph->set, id, NULL);
		}
		pfree(key);
	}
	systable_endscan(scan);
	relation_close(rel, AccessShareLock);
}

static void
check_dependents_of(const FfGraph *graph, Snapshot snapshot)
{
	StringInfoData list;
	bool archived = ffe_doc_status(ffe_set_doc(graph->set, graph->root)) == FFE_FLAG_ARCHIVED;

	initStringInfo(&list);
	collect_complaints(graph, FFE_FLAG, snapshot, &list);
	collect_complaints(graph, FFE_SEGMENT, snapshot, &list);
	if (list.len > 0)
		ereport(ERROR,
				(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
				 archived ? errmsg("%s \"%s\" cannot be archived: others use it",
								   word(graph, graph->root), key_of(graph, graph->root))
						  : errmsg("variants of flag \"%s\" cannot be removed: others use them",
								   key_of(graph, graph->root)),
				 errdetail("Used by %s.", list.data), errhint("Change or archive those first.")));
}

/* ---------- the whole ---------- */

static void
check(FfGraph *graph, Snapshot snapshot, bool check_dependents)
{
	const ffe_doc *doc;
	Bitmapset *done = NULL;

	ff_load_closure(graph->tables, graph->set, graph->root, snapshot);
	doc = ffe_set_doc(graph->set, graph->root);

	/* gone in the meantime, where the check was deferred */
	if (doc == NULL)
		return;
	if (ffe_doc_status(doc) != FFE_FLAG_ARCHIVED)
	{
		/* a cycle first: its members may be missing one another's variants, too */
		initStringInfo(&graph->path);
		appendStringInfo(&graph->path, "%s%s",
						 ffe_set_object(graph->set, graph->root) == FFE_SEGMENT ? "segment " : "",
						 key_of(graph, graph->root));
		check_cycle(graph, graph->root, 0, &done);
		check_references(graph);
	}
	if (check_dependents)
		check_dependents_of(graph, snapshot);
}

void
ff_check_object(const FfTables *tables, ffe_object object, const char *key, bool check_dependents)
{
	MemoryContext scratch =
		AllocSetContextCreate(CurrentMemoryContext, "ff check", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(scratch);
	ffe_alloc alloc = ff_allocator(scratch);
	FfGraph graph = {.tables = tables, .set = ffe_set_new(&alloc)};

	graph.root =
		graph.set == NULL ? FFE_NO_ID : ffe_set_intern(graph.set, object, key, strlen(key));
	if (graph.root == FFE_NO_ID)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	PG_TRY();
	{
		check(&graph, GetActiveSnapshot(), check_dependents);
	}
	PG_FINALLY();
	{
		/* regular expressions are not in the memory context */
		ffe_set_free(graph.set);
	}
	PG_END_TRY();
	PopActiveSnapshot();
	MemoryContextSwitchTo(old);
	MemoryContextDelete(scratch);
}
