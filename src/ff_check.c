/*
 * src/ff_check.c
 *	  References between flags and segments: they exist, and make no cycle.
 *
 * The rule: the state that is checked is the latest one, read from the tables and not from the
 * cache: what others have committed, and the transaction's own changes. That is done when a change
 * is made, to tell early, and again at commit under the lock of the log (ff_record.c) where others
 * have committed meanwhile: of two changes that don't go together the second one to commit fails.
 */
#include "ff_event.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "nodes/bitmapset.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* Objects of a namespace, loaded for one check. */
typedef struct FfGraph
{
	const FfTables *tables;
	Snapshot snapshot;
	ffe_set *set;
	uint32 root;
	bool concurrent;     /* what is wrong is so only with what others committed meanwhile */
	StringInfoData path; /* of references, while looking for a cycle */
	int *heights;        /* by id: steps of the longest way down, -1 where not known */
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

/*
 * The SQLSTATE and the hint of an error: in a transaction whose snapshot is older than what is in
 * the way, it is to be tried again, and will be told what is wrong then.
 */
static int
code(const FfGraph *graph, int sqlstate)
{
	return errcode(graph->concurrent ? ERRCODE_T_R_SERIALIZATION_FAILURE : sqlstate);
}

static int
hint(const FfGraph *graph, const char *text)
{
	if (graph->concurrent)
		text = "Another transaction changed flags meanwhile. Try this transaction again.";
	return text == NULL ? 0 : errhint("%s", text);
}

static void
report_missing(const FfGraph *graph, uint32 dep, const char *what)
{
	char path[256];

	ffe_doc_reference_path(ffe_set_doc(graph->set, graph->root), dep, path, sizeof(path));
	ereport(ERROR, (code(graph, ERRCODE_FOREIGN_KEY_VIOLATION),
					errmsg("%s \"%s\" refers to %s \"%s\", which %s", word(graph, graph->root),
						   key_of(graph, graph->root), word(graph, dep), key_of(graph, dep), what),
					errdetail("The reference is at %s.", path),
					hint(graph, "Create or restore it first, or refer to another.")));
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
				(code(graph, ERRCODE_FOREIGN_KEY_VIOLATION),
				 errmsg("%s \"%s\" refers to variant \"%.*s\" of flag \"%s\", which does not exist",
						word(graph, graph->root), key_of(graph, graph->root), (int) len, variant,
						key_of(graph, dep)),
				 errdetail("The reference is at %s.", path), hint(graph, NULL)));
	}
}

static void
report_depth(const FfGraph *graph, int depth)
{
	ereport(ERROR, (code(graph, ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					errmsg("%s \"%s\" would be in a chain of %d references",
						   word(graph, graph->root), key_of(graph, graph->root), depth),
					errdetail("Flags and segments may depend on one another over %d steps.",
							  FFE_MAX_DEPENDENCY_DEPTH),
					hint(graph, NULL)));
}

/*
 * Follows references from id, which is depth steps below the root, and reports a way that leads
 * back to the root, or is too long. Returns the steps of the longest way down.
 */
static int
check_ways_down(FfGraph *graph, uint32 id, int depth)
{
	const ffe_doc *doc = ffe_set_doc(graph->set, id);
	int mark = graph->path.len;
	int height = 0;
	uint32 dep;

	check_stack_depth();
	if (depth > FFE_MAX_DEPENDENCY_DEPTH)
		report_depth(graph, depth);
	for (uint32 i = 0; doc != NULL && (dep = ffe_doc_dependency(doc, i)) != FFE_NO_ID; i++)
	{
		appendStringInfo(&graph->path, " -> %s%s",
						 ffe_set_object(graph->set, dep) == FFE_SEGMENT ? "segment " : "",
						 key_of(graph, dep));
		if (dep == graph->root)
			ereport(ERROR, (code(graph, ERRCODE_INVALID_RECURSION),
							errmsg("references of %s \"%s\" make a cycle", word(graph, graph->root),
								   key_of(graph, graph->root)),
							errdetail("%s", graph->path.data), hint(graph, NULL)));
		if (graph->heights[dep] < 0)
			graph->heights[dep] = check_ways_down(graph, dep, depth + 1);
		height = Max(height, graph->heights[dep] + 1);
		if (depth + height > FFE_MAX_DEPENDENCY_DEPTH)
			report_depth(graph, depth + height);
		graph->path.len = mark;
		graph->path.data[mark] = '\0';
	}
	return height;
}

static int *
new_distances(const FfGraph *graph)
{
	int *distances = palloc(sizeof(int) * ffe_set_count(graph->set));

	for (uint32 id = 0; id < ffe_set_count(graph->set); id++)
		distances[id] = -1;
	return distances;
}

/* ---------- dependents ---------- */

/* Whether nobody may refer to the root any more. */
static bool
is_out_of_use(const FfGraph *graph)
{
	const ffe_doc *root = ffe_set_doc(graph->set, graph->root);

	return root == NULL || ffe_doc_status(root) == FFE_FLAG_ARCHIVED;
}

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
		if (dep == graph->root && is_out_of_use(graph))
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

/* Whether a row has references, and, with a key, whether that key can be among them. */
static bool
may_refer(const FfTable *table, HeapTuple row, TupleDesc desc, const char *key)
{
	static const char *const flag_columns[] = {"rules", "requires", NULL};
	static const char *const segment_columns[] = {"if", NULL};
	const char *const *names = table->object == FFE_FLAG ? flag_columns : segment_columns;

	for (int i = 0; names[i] != NULL; i++)
	{
		bool isnull;
		Datum datum = heap_getattr(row, ff_table_column(table, names[i]), desc, &isnull);
		struct varlena *jsonb;

		if (isnull)
			continue;
		if (key == NULL)
			return true;

		/* strings lie in a jsonb as they are */
		jsonb = PG_DETOAST_DATUM_PACKED(datum);
		if (memmem(VARDATA_ANY(jsonb), VARSIZE_ANY_EXHDR(jsonb), key, strlen(key)) != NULL)
			return true;
	}
	return false;
}

/*
 * Loads what may refer to a key (NULL: to anything) from one table, but the root. Returns the ids,
 * together with those given.
 */
static Bitmapset *
load_referring(const FfGraph *graph, ffe_object object, const char *key, Bitmapset *ids)
{
	const FfTable *table = &graph->tables->table[object];
	Relation rel = ff_open_table(table->relid, true);
	SysScanDesc scan;
	HeapTuple row;

	if (rel == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("relation with OID %u does not exist", table->relid)));
	scan = systable_beginscan(rel, InvalidOid, false, graph->snapshot, 0, NULL);
	while (HeapTupleIsValid(row = systable_getnext(scan)))
	{
		bool isnull;
		Datum datum = heap_getattr(row, table->columns[0], RelationGetDescr(rel), &isnull);
		char *row_key;
		uint32 id;

		CHECK_FOR_INTERRUPTS();
		if (isnull || !may_refer(table, row, RelationGetDescr(rel), key))
			continue;
		row_key = TextDatumGetCString(datum);
		id = ffe_set_intern(graph->set, object, row_key, strlen(row_key));
		if (id == FFE_NO_ID)
			ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
		if (id == graph->root)
			continue;
		ff_load_row(table, graph->set, id, row, RelationGetDescr(rel));
		ids = bms_add_member(ids, (int) id);
	}
	systable_endscan(scan);
	relation_close(rel, AccessShareLock);
	return ids;
}

/* Reports those who can't do with what the root has become. */
static void
check_complaints(const FfGraph *graph, const Bitmapset *referring)
{
	bool gone = ffe_set_doc(graph->set, graph->root) == NULL;
	StringInfoData list;
	int id = -1;

	initStringInfo(&list);
	while ((id = bms_next_member(referring, id)) >= 0)
	{
		const ffe_doc *doc = ffe_set_doc(graph->set, (uint32) id);
		const char *why = doc == NULL ? NULL : complaint(graph, doc);

		if (why != NULL)
			appendStringInfo(&list, "%s%s %s%s", list.len == 0 ? "" : ", ",
							 word(graph, (uint32) id), key_of(graph, (uint32) id), why);
	}
	if (list.len > 0)
		ereport(ERROR,
				(code(graph, ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
				 is_out_of_use(graph)
					 ? errmsg("%s \"%s\" cannot be %s: others use it", word(graph, graph->root),
							  key_of(graph, graph->root), gone ? "purged" : "archived")
					 : errmsg("variants of flag \"%s\" cannot be removed: others use them",
							  key_of(graph, graph->root)),
				 errdetail("Used by %s.", list.data),
				 hint(graph, "Change or archive those first.")));
}

/* Steps of the longest way from an object down to the root; -2 where there is none. */
static int
steps_to_root(const FfGraph *graph, uint32 id, int *distances)
{
	const ffe_doc *doc = ffe_set_doc(graph->set, id);
	uint32 dep;

	check_stack_depth();
	if (id == graph->root)
		return 0;
	if (distances[id] != -1)
		return distances[id];
	distances[id] = -2;
	for (uint32 i = 0; doc != NULL && ffe_doc_status(doc) != FFE_FLAG_ARCHIVED &&
					   (dep = ffe_doc_dependency(doc, i)) != FFE_NO_ID;
		 i++)
	{
		int steps = steps_to_root(graph, dep, distances);

		if (steps >= 0)
			distances[id] = Max(distances[id], steps + 1);
	}
	return distances[id];
}

/* Reports a chain that is too long because of what was added below it. */
static void
check_ways_up(const FfGraph *graph, int height)
{
	Bitmapset *referring =
		load_referring(graph, FFE_SEGMENT, NULL, load_referring(graph, FFE_FLAG, NULL, NULL));
	int *distances = new_distances(graph);
	int id = -1;

	while ((id = bms_next_member(referring, id)) >= 0)
	{
		int steps = steps_to_root(graph, (uint32) id, distances);

		if (steps + height > FFE_MAX_DEPENDENCY_DEPTH)
			report_depth(graph, steps + height);
	}
}

/* ---------- the whole ---------- */

/* The tables of the namespace that a table belongs to. */
static void
find_tables_of(const FfTable *own, FfTables *tables)
{
	FfRegistration space;

	ff_find_registration(own->relid, &space);
	ff_describe_table(&tables->table[FFE_FLAG], space.flags, FFE_FLAG, true);
	ff_describe_table(&tables->table[FFE_SEGMENT], space.segments, FFE_SEGMENT, true);
	for (int i = 0; i < 2; i++)
	{
		const FfTable *table = &tables->table[i];

		if (table->missing != NULL)
			ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
							errmsg("references of %ss cannot be checked",
								   table->object == FFE_FLAG ? "flag" : "segment"),
							get_rel_name(table->relid) == NULL
								? errdetail("Its table does not exist.")
								: errdetail("Table \"%s\" has no %s.", get_rel_name(table->relid),
											table->missing)));
	}
}

static bool
has_references(const FfGraph *graph)
{
	const ffe_doc *doc = ffe_set_doc(graph->set, graph->root);

	return doc != NULL && ffe_doc_status(doc) != FFE_FLAG_ARCHIVED &&
		   ffe_doc_dependency(doc, 0) != FFE_NO_ID;
}

static void
check(FfGraph *graph, bool is_new, bool check_dependents)
{
	const char *key = key_of(graph, graph->root);
	Bitmapset *referring = NULL;
	const ffe_doc *doc;
	int height = 0;

	ff_load_closure(graph->tables, graph->set, graph->root, graph->snapshot);
	doc = ffe_set_doc(graph->set, graph->root);

	/* it may be gone, where the check was deferred: then nobody may need it */
	if (doc == NULL && !check_dependents)
		return;
	if (!is_out_of_use(graph))
	{
		/* a cycle first: its members may be missing one another's variants, too */
		initStringInfo(&graph->path);
		appendStringInfo(&graph->path, "%s%s",
						 ffe_set_object(graph->set, graph->root) == FFE_SEGMENT ? "segment " : "",
						 key);
		graph->heights = new_distances(graph);
		height = check_ways_down(graph, graph->root, 0);
		check_references(graph);
	}

	/* nobody can have referred to a new one before; who does in the same batch is checked himself
	 */
	if (!check_dependents && (is_new || height == 0))
		return;
	referring = load_referring(graph, FFE_SEGMENT, key, load_referring(graph, FFE_FLAG, key, NULL));
	if (check_dependents)
		check_complaints(graph, referring);
	if (height > 0 && !bms_is_empty(referring))
		check_ways_up(graph, height);
}

/* Checks under one snapshot. Returns the number of the newest event that it sees. */
static int64
check_under(const FfTable *own, const char *key, bool is_new, bool check_dependents,
			Snapshot snapshot, bool concurrent)
{
	MemoryContext scratch =
		AllocSetContextCreate(CurrentMemoryContext, "ff check", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(scratch);
	ffe_alloc alloc = ff_allocator(scratch);
	FfGraph graph = {.set = ffe_set_new(&alloc), .concurrent = concurrent};
	FfTables tables;
	FfRowId rowid;
	FfHead head;

	graph.root =
		graph.set == NULL ? FFE_NO_ID : ffe_set_intern(graph.set, own->object, key, strlen(key));
	if (graph.root == FFE_NO_ID)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	PushActiveSnapshot(snapshot);
	graph.snapshot = GetActiveSnapshot();
	PG_TRY();
	{
		ff_read_head(graph.snapshot, &head);
		(void) ff_load(own, graph.set, graph.root, graph.snapshot, &rowid);
		if (check_dependents || has_references(&graph))
		{
			find_tables_of(own, &tables);
			graph.tables = &tables;
			check(&graph, is_new, check_dependents);
		}
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
	return head.id;
}

int64
ff_check_object(const FfTable *own, const char *key, bool is_new, bool check_dependents)
{
	bool fixed = IsolationUsesXactSnapshot();

	CommandCounterIncrement();

	/* what is wrong with what the transaction sees is wrong however often it is tried */
	if (fixed)
		(void) check_under(own, key, is_new, check_dependents, GetTransactionSnapshot(), false);
	return check_under(own, key, is_new, check_dependents, GetLatestSnapshot(), fixed);
}
