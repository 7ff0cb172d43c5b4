/*
 * src/ff_table.c
 *	  Flag and segment tables: their shape, their rows, and rows as compiled documents.
 *
 * The rule: reading for evaluation goes by index scan under the snapshot that it is told, never by
 * SPI: no search_path, no plan, no rights of the caller's, and it works in parallel workers. What
 * can be wrong with a table is found out beforehand and returned, because in evaluation nothing
 * may be thrown.
 */
#include "ff_spi.h"

#include "access/genam.h"
#include "access/parallel.h"
#include "access/relation.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_am_d.h"
#include "catalog/pg_collation_d.h"
#include "catalog/pg_index.h"
#include "catalog/pg_type_d.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

/* How long evaluation waits for a locked table where lock_timeout says nothing, in ms. */
#define LOCK_WAIT 1000

/* The columns that a table needs: members of the document, with the types they may have. */
typedef struct FfColumn
{
	const char *name;
	Oid type;
} FfColumn;

static const FfColumn flag_columns[] = {{"key", TEXTOID},
										{"type", TEXTOID},
										{"description", TEXTOID},
										{"state", TEXTOID},
										{"enabled", BOOLOID},
										{"default_value", JSONBOID},
										{"variants", JSONBOID},
										{"overrides", JSONBOID},
										{"rules", JSONBOID},
										{"rollout", JSONBOID},
										{"requires", JSONBOID},
										{"bucketing", JSONBOID},
										{"experiment", JSONBOID},
										{"tags", JSONBOID},
										{"owner", TEXTOID},
										{"expires_at", TIMESTAMPTZOID},
										{"version", INT8OID},
										{"created_at", TIMESTAMPTZOID},
										{"updated_at", TIMESTAMPTZOID},
										{NULL, InvalidOid}};

static const FfColumn segment_columns[] = {
	{"key", TEXTOID},     {"description", TEXTOID},       {"state", TEXTOID},
	{"if", JSONBOID},     {"included", JSONBOID},         {"excluded", JSONBOID},
	{"version", INT8OID}, {"created_at", TIMESTAMPTZOID}, {"updated_at", TIMESTAMPTZOID},
	{NULL, InvalidOid}};

static const FfColumn *
columns_of(ffe_object object)
{
	return object == FFE_FLAG ? flag_columns : segment_columns;
}

const char *
ff_column_name(ffe_object object, int i)
{
	return columns_of(object)[i].name;
}

/* ---------- opening ---------- */

/* Waits for a lock for a bounded time, without the errors that waiting in the lock manager has. */
static bool
lock_relation(Oid relid)
{
	int wait = LockTimeout > 0 ? LockTimeout : LOCK_WAIT;
	TimestampTz start = GetCurrentTimestamp();

	while (!ConditionalLockRelationOid(relid, AccessShareLock))
	{
		if (TimestampDifferenceExceeds(start, GetCurrentTimestamp(), wait))
			return false;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 2,
						 PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	return true;
}

/*
 * Whether a relation's rows can be read here: not those of another session's temporary table, nor
 * of one's own in a parallel worker, nor of an unlogged table on a standby, which has no file.
 */
static bool
is_readable(Relation rel)
{
	if (rel->rd_rel->relkind != RELKIND_RELATION || RELATION_IS_OTHER_TEMP(rel))
		return false;
	if (rel->rd_rel->relpersistence == RELPERSISTENCE_TEMP)
		return !IsParallelWorker();
	return rel->rd_rel->relpersistence == RELPERSISTENCE_PERMANENT || !RecoveryInProgress();
}

Relation
ff_open_table(Oid relid, bool may_wait)
{
	Relation rel;

	if (!OidIsValid(relid))
		return NULL;
	if (may_wait)
		LockRelationOid(relid, AccessShareLock);
	else if (!lock_relation(relid))
		return NULL;
	rel = try_relation_open(relid, NoLock);
	if (rel != NULL && is_readable(rel))
		return rel;
	if (rel != NULL)
		relation_close(rel, NoLock);
	UnlockRelationOid(relid, AccessShareLock);
	return NULL;
}

/* ---------- shape ---------- */

/* Whether an index finds a key: unique, over this column alone, in the order of bytes. */
static bool
is_key_index(Oid index, AttrNumber column)
{
	HeapTuple tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(index));
	Form_pg_index form;
	bool isnull;
	bool found = false;
	Datum collations;

	if (!HeapTupleIsValid(tuple))
		return false;
	form = (Form_pg_index) GETSTRUCT(tuple);
	if (form->indisunique && form->indisvalid && form->indimmediate && form->indnkeyatts == 1 &&
		form->indkey.values[0] == column && heap_attisnull(tuple, Anum_pg_index_indpred, NULL))
	{
		collations = SysCacheGetAttr(INDEXRELID, tuple, Anum_pg_index_indcollation, &isnull);
		found =
			!isnull && ((oidvector *) DatumGetPointer(collations))->values[0] == C_COLLATION_OID;
	}
	ReleaseSysCache(tuple);
	return found;
}

static Oid
find_key_index(Relation rel, AttrNumber column)
{
	List *indexes = RelationGetIndexList(rel);
	Oid found = InvalidOid;
	ListCell *cell;

	foreach (cell, indexes)
	{
		if (!OidIsValid(found) && is_key_index(lfirst_oid(cell), column))
			found = lfirst_oid(cell);
	}
	list_free(indexes);
	return found;
}

static AttrNumber
find_column(TupleDesc desc, const char *name, Oid type)
{
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped && att->atttypid == type && strcmp(NameStr(att->attname), name) == 0)
			return att->attnum;
	}
	return InvalidAttrNumber;
}

AttrNumber
ff_table_column(const FfTable *table, const char *name)
{
	const FfColumn *columns = columns_of(table->object);

	for (int i = 0; columns[i].name != NULL; i++)
	{
		if (strcmp(columns[i].name, name) == 0)
			return table->columns[i];
	}
	elog(ERROR, "no column for \"%s\"", name);
}

void
ff_describe_result(FfTable *table, TupleDesc desc, ffe_object object)
{
	const FfColumn *columns = columns_of(object);

	memset(table, 0, sizeof(*table));
	table->object = object;
	for (int i = 0; columns[i].name != NULL; i++)
	{
		table->columns[i] = find_column(desc, columns[i].name, columns[i].type);
		if (table->columns[i] == InvalidAttrNumber && table->missing == NULL)
			table->missing = columns[i].name;
	}
}

/* A column of the right name and another type, or InvalidOid. */
static Oid
other_type(TupleDesc desc, const char *name)
{
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped && strcmp(NameStr(att->attname), name) == 0)
			return att->atttypid;
	}
	return InvalidOid;
}

char *
ff_missing_parts(Relation rel, ffe_object object)
{
	const FfColumn *columns = columns_of(object);
	TupleDesc desc = RelationGetDescr(rel);
	AttrNumber key = find_column(desc, "key", TEXTOID);
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; columns[i].name != NULL; i++)
	{
		Oid other;

		if (find_column(desc, columns[i].name, columns[i].type) != InvalidAttrNumber)
			continue;
		appendStringInfo(&list, "%scolumn %s %s", list.len == 0 ? "" : ", ",
						 quote_identifier(columns[i].name), format_type_be(columns[i].type));
		other = other_type(desc, columns[i].name);
		if (OidIsValid(other))
			appendStringInfo(&list, " (it is %s)", format_type_be(other));
	}
	if (key != InvalidAttrNumber && !OidIsValid(find_key_index(rel, key)))
		appendStringInfo(&list, "%sa unique index on key alone, with collation \"C\"",
						 list.len == 0 ? "" : ", ");
	return list.len == 0 ? NULL : list.data;
}

/* What a relation has of the shape that is wanted. */
void
ff_describe_relation(FfTable *table, Relation rel, ffe_object object)
{
	ff_describe_result(table, RelationGetDescr(rel), object);
	table->relid = RelationGetRelid(rel);
	if (table->missing == NULL)
	{
		table->index = find_key_index(rel, table->columns[0]);
		if (!OidIsValid(table->index))
			table->missing = "unique index on key";
	}
}

void
ff_describe_table(FfTable *table, Oid relid, ffe_object object, bool may_wait)
{
	Relation rel = ff_open_table(relid, may_wait);

	if (rel == NULL)
	{
		memset(table, 0, sizeof(*table));
		table->relid = relid;
		table->object = object;
		table->missing = "table";
	}
	else
	{
		ff_describe_relation(table, rel, object);
		relation_close(rel, AccessShareLock);
	}
	table->may_wait = may_wait;
}

/* ---------- namespaces ---------- */

/* Reads a row of ff.namespaces; false where it, or the table, is not as the extension makes it. */
static bool
read_registration(HeapTuple row, TupleDesc desc, FfRegistration *out)
{
	AttrNumber name = find_column(desc, "name", TEXTOID);
	AttrNumber flags = find_column(desc, "flags", REGCLASSOID);
	AttrNumber segments = find_column(desc, "segments", REGCLASSOID);
	bool isnull[3];
	Datum string;

	if (name == InvalidAttrNumber || flags == InvalidAttrNumber || segments == InvalidAttrNumber)
		return false;
	string = heap_getattr(row, name, desc, &isnull[0]);
	out->flags = DatumGetObjectId(heap_getattr(row, flags, desc, &isnull[1]));
	out->segments = DatumGetObjectId(heap_getattr(row, segments, desc, &isnull[2]));
	if (isnull[0] || isnull[1] || isnull[2])
		return false;
	text_to_cstring_buffer(DatumGetTextPP(string), out->name, sizeof(out->name));

	/* one that was cut was not made by us, and would stand for another */
	return VARSIZE_ANY_EXHDR(DatumGetTextPP(string)) <= FF_MAX_NAMESPACE;
}

/*
 * Whether a row of ff.namespaces is the one wanted: by its name, by a table of it, or, where
 * neither is given, because a table of it is gone.
 */
static bool
is_wanted(HeapTuple row, TupleDesc desc, const char *name, Oid relid, FfRegistration *out)
{
	if (!read_registration(row, desc, out))
		return false;
	if (name != NULL)
		return strcmp(out->name, name) == 0;
	if (OidIsValid(relid))
		return out->flags == relid || out->segments == relid;
	return get_rel_name(out->flags) == NULL || get_rel_name(out->segments) == NULL;
}

/*
 * Reads ff.namespaces through, which has few rows, with a snapshot taken now, as a catalog is
 * read: what it says is held to be good until the next invalidation, so it may not be old.
 */
static bool
find_namespace(const char *name, Oid relid, bool may_wait, FfRegistration *out)
{
	Oid schema = get_namespace_oid("ff", true);
	Oid namespaces = OidIsValid(schema) ? get_relname_relid("namespaces", schema) : InvalidOid;
	Relation rel = ff_open_table(namespaces, may_wait);
	SysScanDesc scan;
	HeapTuple row;
	bool found = false;

	if (rel == NULL)
		return false;
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	while (!found && HeapTupleIsValid(row = systable_getnext(scan)))
		found = is_wanted(row, RelationGetDescr(rel), name, relid, out);
	systable_endscan(scan);
	relation_close(rel, AccessShareLock);
	return found;
}

bool
ff_find_tables(const char *name, bool may_wait, Oid *flags, Oid *segments)
{
	FfRegistration found;

	if (!find_namespace(name, InvalidOid, may_wait, &found))
		return false;
	*flags = found.flags;
	*segments = found.segments;
	return true;
}

bool
ff_is_registered(Oid relid, FfRegistration *out)
{
	return find_namespace(NULL, relid, true, out);
}

List *
ff_list_registrations(void)
{
	Relation rel = ff_open_own("namespaces", AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	List *list = NIL;
	HeapTuple row;

	while (HeapTupleIsValid(row = systable_getnext(scan)))
	{
		FfRegistration *space = palloc(sizeof(FfRegistration));

		if (read_registration(row, RelationGetDescr(rel), space))
			list = lappend(list, space);
	}
	systable_endscan(scan);
	relation_close(rel, AccessShareLock);
	return list;
}

bool
ff_find_orphan(FfRegistration *out)
{
	return find_namespace(NULL, InvalidOid, true, out);
}

void
ff_find_registration(Oid relid, FfRegistration *out)
{
	if (!ff_is_registered(relid, out))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" belongs to no namespace", get_rel_name(relid)),
				 errhint("SELECT ff_register('%s', …) gives it one.", ff_relation_name(relid))));
}

void
ff_named_tables(const char *name, FfTables *tables)
{
	const char *wanted = name == NULL ? ff_namespace : name;
	Oid flags, segments;

	if (!ff_find_tables(wanted, true, &flags, &segments))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("namespace \"%s\" does not exist", wanted),
						errhint("SELECT name FROM ff.namespaces lists the namespaces.")));
	ff_describe_table(&tables->table[FFE_FLAG], flags, FFE_FLAG, true);
	ff_describe_table(&tables->table[FFE_SEGMENT], segments, FFE_SEGMENT, true);
	for (int i = 0; i < 2; i++)
	{
		if (tables->table[i].missing != NULL)
			ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
							errmsg("the %s table of namespace \"%s\" cannot be used",
								   i == FFE_FLAG ? "flag" : "segment", wanted),
							errdetail("It has no %s.", tables->table[i].missing)));
	}
}

/* ---------- rows as documents ---------- */

/* A time as the engine reads it; what lies beyond its years is written as it is, to be refused. */
static void
time_value(TimestampTz time, JsonbValue *out)
{
	struct pg_tm tm;
	fsec_t fsec;
	char *text;

	if (TIMESTAMP_NOT_FINITE(time) || timestamp2tm(time, NULL, &tm, &fsec, NULL, NULL) != 0)
		text = pstrdup(TIMESTAMP_IS_NOBEGIN(time) ? "-infinity" : "infinity");
	else if (fsec == 0)
		text = psprintf("%04d-%02d-%02dT%02d:%02d:%02dZ", tm.tm_year, tm.tm_mon, tm.tm_mday,
						tm.tm_hour, tm.tm_min, tm.tm_sec);
	else
		text = psprintf("%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", tm.tm_year, tm.tm_mon, tm.tm_mday,
						tm.tm_hour, tm.tm_min, tm.tm_sec, fsec);
	out->type = jbvString;
	out->val.string.val = text;
	out->val.string.len = (int) strlen(text);
}

static void
column_value(Oid type, Datum datum, JsonbValue *out)
{
	Jsonb *jsonb;
	text *string;

	switch (type)
	{
		case BOOLOID:
			out->type = jbvBool;
			out->val.boolean = DatumGetBool(datum);
			break;
		case INT8OID:
			out->type = jbvNumeric;
			out->val.numeric = int64_to_numeric(DatumGetInt64(datum));
			break;
		case TIMESTAMPTZOID:
			time_value(DatumGetTimestampTz(datum), out);
			break;
		case JSONBOID:
			jsonb = DatumGetJsonbP(datum);
			if (JB_ROOT_IS_SCALAR(jsonb))
				*out = *getIthJsonbValueFromContainer(&jsonb->root, 0);
			else
			{
				out->type = jbvBinary;
				out->val.binary.data = &jsonb->root;
				out->val.binary.len = (int) (VARSIZE(jsonb) - VARHDRSZ);
			}
			break;
		default:
			string = DatumGetTextPP(datum);
			out->type = jbvString;
			out->val.string.val = VARDATA_ANY(string);
			out->val.string.len = (int) VARSIZE_ANY_EXHDR(string);
			break;
	}
}

/* Nulls are left out. */
Jsonb *
ff_row_document(const FfTable *table, HeapTuple row, TupleDesc desc)
{
	const FfColumn *columns = columns_of(table->object);
	JsonbParseState *state = NULL;
	JsonbValue *document;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (int i = 0; columns[i].name != NULL; i++)
	{
		JsonbValue name, value;
		bool isnull;
		Datum datum = heap_getattr(row, table->columns[i], desc, &isnull);

		if (isnull)
			continue;
		name.type = jbvString;
		name.val.string.val = unconstify(char *, columns[i].name);
		name.val.string.len = (int) strlen(columns[i].name);
		column_value(columns[i].type, datum, &value);
		pushJsonbValue(&state, WJB_KEY, &name);
		pushJsonbValue(&state, WJB_VALUE, &value);
	}
	document = pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	return JsonbValueToJsonb(document);
}

/* ---------- loading ---------- */

static void *
context_alloc(void *arg, size_t size)
{
	return MemoryContextAllocExtended(arg, size, MCXT_ALLOC_NO_OOM | MCXT_ALLOC_HUGE);
}

static void
context_free(void *arg, void *block)
{
	(void) arg;
	pfree(block);
}

ffe_alloc
ff_allocator(MemoryContext context)
{
	ffe_alloc alloc = {context_alloc, context_free, context};

	return alloc;
}

void
ff_load_row(const FfTable *table, ffe_set *set, uint32 id, HeapTuple row, TupleDesc desc)
{
	MemoryContext scratch =
		AllocSetContextCreate(CurrentMemoryContext, "ff row", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(scratch);
	ffe_node root = ff_jsonb_node(ff_row_document(table, row, desc));
	ffe_doc *doc;
	ffe_error error;
	ffe_status status = ffe_compile(set, table->object, &ff_jsonb_reader, &root, &doc, &error);

	/* the message names the path, never a rule's content: whoever evaluates may read it */
	if (status != FFE_OK)
		doc = ffe_compile_broken(set, &ff_jsonb_reader, &root, status,
								 error.path[0] == '\0'
									 ? "its definition is wrong"
									 : psprintf("its definition is wrong at %s", error.path));
	ffe_set_put(set, id, doc);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(scratch);
}

FfRowId
ff_row_id(Relation rel, HeapTuple row)
{
	FfRowId rowid = {ff_relation_file(rel), HeapTupleHeaderGetRawXmin(row->t_data),
					 InvalidCommandId, row->t_self};

	if (TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(row->t_data)))
		rowid.cmin = HeapTupleHeaderGetCmin(row->t_data);
	return rowid;
}

bool
ff_same_row(const FfRowId *a, const FfRowId *b)
{
	return a->file == b->file && a->xmin == b->xmin && a->cmin == b->cmin &&
		   a->tid.ip_posid == b->tid.ip_posid && a->tid.ip_blkid.bi_lo == b->tid.ip_blkid.bi_lo &&
		   a->tid.ip_blkid.bi_hi == b->tid.ip_blkid.bi_hi;
}

FfLoad
ff_load(const FfTable *table, ffe_set *set, uint32 id, Snapshot snapshot, FfRowId *rowid)
{
	Relation rel = table->missing == NULL ? ff_open_table(table->relid, table->may_wait) : NULL;
	FfLoad result = FF_LOAD_MISSING;
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple row;
	FfRowId found;

	if (rel == NULL)
		return FF_LOAD_NOT_READY;
	if (table->may_wait)
		LockRelationOid(table->index, AccessShareLock);
	else if (!lock_relation(table->index))
	{
		relation_close(rel, AccessShareLock);
		return FF_LOAD_NOT_READY;
	}
	ScanKeyInit(&key, table->columns[0], BTEqualStrategyNumber, F_TEXTEQ,
				CStringGetTextDatum(ffe_set_key(set, id, NULL)));
	scan = systable_beginscan(rel, table->index, true, snapshot, 1, &key);
	row = systable_getnext(scan);
	if (HeapTupleIsValid(row))
		found = ff_row_id(rel, row);
	if (!HeapTupleIsValid(row))
		ffe_set_put(set, id, NULL);
	else if (ffe_set_doc(set, id) != NULL && ff_same_row(rowid, &found))
		result = FF_LOAD_UNCHANGED;
	else
	{
		ff_load_row(table, set, id, row, RelationGetDescr(rel));
		*rowid = found;
		result = FF_LOAD_LOADED;
	}
	systable_endscan(scan);
	pfree(DatumGetPointer(key.sk_argument));
	UnlockRelationOid(table->index, AccessShareLock);
	relation_close(rel, AccessShareLock);
	return result;
}

void
ff_load_closure(const FfTables *tables, ffe_set *set, uint32 id, Snapshot snapshot)
{
	Bitmapset *seen = bms_make_singleton((int) id);
	List *todo = list_make1_oid(id);
	FfRowId rowid = {0};

	while (todo != NIL)
	{
		uint32 next = linitial_oid(todo);
		const ffe_doc *doc;
		uint32 dep;

		CHECK_FOR_INTERRUPTS();
		todo = list_delete_first(todo);
		(void) ff_load(&tables->table[ffe_set_object(set, next)], set, next, snapshot, &rowid);
		doc = ffe_set_doc(set, next);
		for (uint32 i = 0; doc != NULL && (dep = ffe_doc_dependency(doc, i)) != FFE_NO_ID; i++)
		{
			if (bms_is_member((int) dep, seen))
				continue;
			seen = bms_add_member(seen, (int) dep);
			todo = lappend_oid(todo, dep);
		}
	}
	bms_free(seen);
}
