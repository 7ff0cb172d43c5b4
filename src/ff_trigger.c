/*
 * src/ff_trigger.c
 *	  The triggers of flag and segment tables.
 *
 * The rule: what is in a table compiles. Shape is checked before the row is written (validate);
 * references after the statement (check, which may be deferred, so that a batch can pass through
 * states that do not hold together). Every change is announced and noted (invalidate), and recorded
 * at commit (ff_record.c); nothing is deleted but by ff_purge_flag (protect).
 */
#include "ff_spi.h"
#include "ff_trigger.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* ---------- what all have in common ---------- */

TriggerData *
ff_trigger_data(FunctionCallInfo fcinfo, const char *name)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("%s can only be called as a trigger", name)));
	return (TriggerData *) fcinfo->context;
}

ffe_object
ff_trigger_object(const TriggerData *data)
{
	if (data->tg_trigger->tgnargs != 1)
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("trigger \"%s\" needs an argument: 'flag' or 'segment'",
							   data->tg_trigger->tgname)));
	return strcmp(data->tg_trigger->tgargs[0], "segment") == 0 ? FFE_SEGMENT : FFE_FLAG;
}

const char *
ff_object_word(ffe_object object)
{
	return object == FFE_FLAG ? "flag" : "segment";
}

void
ff_describe_own_table(FfTable *table, Relation rel, ffe_object object)
{
	ff_describe_relation(table, rel, object);
	if (table->missing != NULL)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("table \"%s\" cannot hold %ss", RelationGetRelationName(rel),
							   ff_object_word(object)),
						errdetail("It has no %s.", table->missing)));
}

Datum
ff_column(const FfTable *table, const char *name, HeapTuple row, TupleDesc desc, bool *isnull)
{
	return heap_getattr(row, ff_table_column(table, name), desc, isnull);
}

bool
ff_column_differs(const FfTable *table, const char *name, HeapTuple a, HeapTuple b, TupleDesc desc)
{
	AttrNumber attnum = ff_table_column(table, name);
	Form_pg_attribute att = TupleDescAttr(desc, attnum - 1);
	bool a_null, b_null;
	Datum x = heap_getattr(a, attnum, desc, &a_null);
	Datum y = heap_getattr(b, attnum, desc, &b_null);

	if (a_null || b_null)
		return a_null != b_null;
	return !datum_image_eq(x, y, att->attbyval, att->attlen);
}

char *
ff_row_key(const FfTable *table, HeapTuple row, TupleDesc desc)
{
	bool isnull;
	Datum key = ff_column(table, "key", row, desc, &isnull);

	return isnull ? pstrdup("") : TextDatumGetCString(key);
}

int64
ff_row_version(const FfTable *table, HeapTuple row, TupleDesc desc)
{
	bool isnull;
	Datum version = ff_column(table, "version", row, desc, &isnull);

	return isnull ? 0 : DatumGetInt64(version);
}

/*
 * Whether a row comes from another database, where it was checked and got its version: by logical
 * replication's apply, or from a dump. Such rows come in any order, are kept as they are, and are
 * no change. A dump turns check_function_bodies off for the same reason, because what its objects
 * refer to may follow; so do others, therefore a row of a dump is one that brings its version and
 * times along. That anybody could do, so it is taken from nobody but the table's owner, who can
 * disable triggers, too.
 */
static bool
is_copied(const FfTable *table, const TriggerData *data)
{
	TupleDesc desc = RelationGetDescr(data->tg_relation);
	HeapTuple row = data->tg_trigtuple;
	bool version_null, created_null, updated_null;
	Datum created;

	if (SessionReplicationRole == SESSION_REPLICATION_ROLE_REPLICA)
		return true;
	if (check_function_bodies || !TRIGGER_FIRED_BY_INSERT(data->tg_event))
		return false;
	(void) ff_column(table, "version", row, desc, &version_null);
	(void) ff_column(table, "updated_at", row, desc, &updated_null);
	created = ff_column(table, "created_at", row, desc, &created_null);

	/* a row of our own has the time of this transaction, once it was validated */
	return !version_null && !created_null && !updated_null &&
		   DatumGetTimestampTz(created) != GetCurrentTransactionStartTimestamp() &&
		   ff_owns_table(RelationGetRelid(data->tg_relation), GetUserId());
}

/* ---------- validate ---------- */

/* The key that a document has, for messages about it. */
static const char *
document_key(Jsonb *document)
{
	ffe_node root = ff_jsonb_node(document);
	ffe_node key;

	if (root.kind != FFE_OBJECT || !ff_jsonb_reader.member(&root, "key", 3, &key) ||
		key.kind != FFE_STRING)
		return "";
	return pnstrdup(key.u.str, key.len);
}

/* Raises what the engine says of a definition. */
static void
report_invalid(ffe_object object, Jsonb *document, const ffe_error *error)
{
	int code = ERRCODE_INVALID_PARAMETER_VALUE;

	if (error->status == FFE_LIMIT_EXCEEDED)
		code = ERRCODE_PROGRAM_LIMIT_EXCEEDED;
	else if (error->status == FFE_NO_MEMORY)
		code = ERRCODE_OUT_OF_MEMORY;
	ereport(ERROR,
			(errcode(code),
			 errmsg("definition of %s \"%s\" is not valid", ff_object_word(object),
					document_key(document)),
			 errdetail("%s%s%s", error->path, error->path[0] == '\0' ? "" : ": ", error->message),
			 error->hint[0] == '\0' ? 0 : errhint("%s", error->hint)));
}

void
ff_check_document(ffe_object object, Jsonb *document)
{
	ffe_alloc alloc = ff_allocator(CurrentMemoryContext);
	ffe_set *set = ffe_set_new(&alloc);
	ffe_node root = ff_jsonb_node(document);
	ffe_doc *doc;
	ffe_error error;

	if (set == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	if (ffe_compile(set, object, &ff_jsonb_reader, &root, &doc, &error) != FFE_OK)
		report_invalid(object, document, &error);
	ffe_doc_free(set, doc);
	ffe_set_free(set);
}

void
ff_check_definition(const FfTable *table, HeapTuple row, TupleDesc desc)
{
	MemoryContext scratch =
		AllocSetContextCreate(CurrentMemoryContext, "ff validate", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(scratch);

	ff_check_document(table->object, ff_row_document(table, row, desc));
	MemoryContextSwitchTo(old);
	MemoryContextDelete(scratch);
}

static void
check_immutable(const FfTable *table, const char *name, TriggerData *data, const char *key)
{
	if (ff_column_differs(table, name, data->tg_trigtuple, data->tg_newtuple,
						  RelationGetDescr(data->tg_relation)))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("%s of %s \"%s\" cannot be changed", name,
							   ff_object_word(table->object), key),
						errhint("Create another %s and archive this one.",
								ff_object_word(table->object))));
}

/* Whether an update changes anything that is not kept by the trigger itself. */
static bool
anything_changed(const FfTable *table, TriggerData *data)
{
	TupleDesc desc = RelationGetDescr(data->tg_relation);

	for (int i = 0; i < desc->natts; i++)
	{
		AttrNumber attnum = (AttrNumber) (i + 1);
		Form_pg_attribute att = TupleDescAttr(desc, i);
		bool a_null, b_null;
		Datum a, b;

		if (att->attisdropped || attnum == ff_table_column(table, "version") ||
			attnum == ff_table_column(table, "created_at") ||
			attnum == ff_table_column(table, "updated_at"))
			continue;
		a = heap_getattr(data->tg_trigtuple, attnum, desc, &a_null);
		b = heap_getattr(data->tg_newtuple, attnum, desc, &b_null);
		if (a_null != b_null || (!a_null && !datum_image_eq(a, b, att->attbyval, att->attlen)))
			return true;
	}
	return false;
}

/*
 * The version of a new row: 1, or where its key was in use before, the next one. What this
 * transaction deleted is in the log when it ends.
 */
static int64
first_version(const FfTable *table, const char *key)
{
	FfRegistration space;

	if (!ff_is_registered(table->relid, &space))
		return 1;
	return Max(ff_last_version(space.name, table->object, key),
			   ff_deleted_version(table->relid, key)) +
		   1;
}

/* The row with version and times as the database keeps them, whatever the writer says of them. */
static HeapTuple
keep_version(const FfTable *table, TriggerData *data, HeapTuple row, const char *key)
{
	TupleDesc desc = RelationGetDescr(data->tg_relation);
	int columns[3];
	Datum values[3];
	bool nulls[3] = {false};
	TimestampTz now = GetCurrentTransactionStartTimestamp();

	columns[0] = ff_table_column(table, "version");
	columns[1] = ff_table_column(table, "created_at");
	columns[2] = ff_table_column(table, "updated_at");
	values[1] = values[2] = TimestampTzGetDatum(now);
	if (TRIGGER_FIRED_BY_UPDATE(data->tg_event))
	{
		bool changed = anything_changed(table, data);

		for (int i = 0; i < 3; i++)
			values[i] = heap_getattr(data->tg_trigtuple, columns[i], desc, &nulls[i]);
		if (changed)
		{
			values[0] = Int64GetDatum(nulls[0] ? 1 : DatumGetInt64(values[0]) + 1);
			values[2] = TimestampTzGetDatum(now);
			nulls[0] = nulls[2] = false;
		}
	}
	else
		values[0] = Int64GetDatum(first_version(table, key));
	return heap_modify_tuple_by_cols(row, desc, 3, columns, values, nulls);
}

PG_FUNCTION_INFO_V1(ff_validate_trigger);

Datum
ff_validate_trigger(PG_FUNCTION_ARGS)
{
	TriggerData *data = ff_trigger_data(fcinfo, "ff_validate_trigger");
	bool is_update = TRIGGER_FIRED_BY_UPDATE(data->tg_event);
	HeapTuple row = is_update ? data->tg_newtuple : data->tg_trigtuple;
	TupleDesc desc = RelationGetDescr(data->tg_relation);
	FfTable table;
	bool copied;
	char *key;

	ff_describe_own_table(&table, data->tg_relation, ff_trigger_object(data));
	copied = is_copied(&table, data);
	key = ff_row_key(&table, data->tg_trigtuple, desc);
	if (is_update && !copied)
	{
		check_immutable(&table, "key", data, key);
		if (table.object == FFE_FLAG)
			check_immutable(&table, "type", data, key);
	}
	if (!copied)
		row = keep_version(&table, data, row, key);
	ff_check_definition(&table, row, desc);
	if (is_update && !copied && table.object == FFE_FLAG)
		ff_check_freeze(&table, data->tg_trigtuple, row, desc);
	return PointerGetDatum(row);
}

/* ---------- protect ---------- */

const char *ff_purging = NULL;

/* Whether it is this very row that ff_purge_flag or its sister deletes. */
static bool
is_being_purged(const TriggerData *data)
{
	FfTable table;

	if (ff_purging == NULL)
		return false;
	ff_describe_own_table(&table, data->tg_relation, ff_trigger_object(data));
	return strcmp(psprintf("%u %s", table.relid,
						   ff_row_key(&table, data->tg_trigtuple,
									  RelationGetDescr(data->tg_relation))),
				  ff_purging) == 0;
}

PG_FUNCTION_INFO_V1(ff_protect_trigger);

Datum
ff_protect_trigger(PG_FUNCTION_ARGS)
{
	TriggerData *data = ff_trigger_data(fcinfo, "ff_protect_trigger");
	const char *word = ff_object_word(ff_trigger_object(data));

	if (TRIGGER_FIRED_BY_DELETE(data->tg_event) &&
		(is_being_purged(data) || SessionReplicationRole == SESSION_REPLICATION_ROLE_REPLICA))
		return PointerGetDatum(data->tg_trigtuple);

	ereport(
		ERROR,
		(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
		 errmsg("%ss cannot be %s", word,
				TRIGGER_FIRED_BY_TRUNCATE(data->tg_event) ? "truncated" : "deleted"),
		 errdetail("Table \"%s\" keeps every %s, so that its history stays whole.",
				   RelationGetRelationName(data->tg_relation), word),
		 errhint("Archive it: UPDATE %s SET state = 'archived' WHERE key = …; what is archived, "
				 "ff_purge_%s removes.",
				 ff_relation_name(RelationGetRelid(data->tg_relation)), word)));
	PG_RETURN_NULL();
}

/* ---------- invalidate ---------- */

void
ff_note_row(const FfTable *table, const TriggerData *data)
{
	TupleDesc desc = RelationGetDescr(data->tg_relation);

	if (TRIGGER_FIRED_BY_DELETE(data->tg_event))
		ff_note_change(data, is_copied(table, data), ff_row_key(table, data->tg_trigtuple, desc),
					   ff_row_version(table, data->tg_trigtuple, desc));
	else
		ff_note_change(data, is_copied(table, data), NULL, 0);
}

PG_FUNCTION_INFO_V1(ff_invalidate_trigger);

Datum
ff_invalidate_trigger(PG_FUNCTION_ARGS)
{
	Oid schema = get_namespace_oid("ff", true);
	Oid epoch = OidIsValid(schema) ? get_relname_relid("cache_epoch", schema) : InvalidOid;
	TriggerData *data = ff_trigger_data(fcinfo, "ff_invalidate_trigger");
	FfTable table;

	if (!OidIsValid(epoch))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("table \"ff.cache_epoch\" does not exist"),
						errhint("The extension is damaged; create it anew.")));
	CacheInvalidateRelcacheByRelid(epoch);

	/* ff.namespaces has this trigger, too, and no events */
	if (TRIGGER_FIRED_FOR_ROW(data->tg_event) && data->tg_trigger->tgnargs > 0)
	{
		ff_describe_own_table(&table, data->tg_relation, ff_trigger_object(data));
		ff_note_row(&table, data);
	}
	return PointerGetDatum(NULL);
}

/* ---------- check ---------- */

/* Whether one of these columns (NULL at the end) is not what it was. */
static bool
any_differs(const FfTable *table, const TriggerData *data, const char *const *names)
{
	for (int i = 0; names[i] != NULL; i++)
	{
		if (ff_column_differs(table, names[i], data->tg_trigtuple, data->tg_newtuple,
							  RelationGetDescr(data->tg_relation)))
			return true;
	}
	return false;
}

bool
ff_takes_something_away(const FfTable *table, const TriggerData *data)
{
	static const char *const flag_columns[] = {"state", "variants", NULL};
	static const char *const segment_columns[] = {"state", NULL};

	return TRIGGER_FIRED_BY_UPDATE(data->tg_event) &&
		   any_differs(table, data, table->object == FFE_FLAG ? flag_columns : segment_columns);
}

bool
ff_refers_anew(const FfTable *table, const TriggerData *data)
{
	static const char *const flag_columns[] = {"state", "requires", "rules", NULL};
	static const char *const segment_columns[] = {"state", "if", NULL};

	return !TRIGGER_FIRED_BY_UPDATE(data->tg_event) ||
		   any_differs(table, data, table->object == FFE_FLAG ? flag_columns : segment_columns);
}

PG_FUNCTION_INFO_V1(ff_check_trigger);

Datum
ff_check_trigger(PG_FUNCTION_ARGS)
{
	TriggerData *data = ff_trigger_data(fcinfo, "ff_check_trigger");
	bool is_update = TRIGGER_FIRED_BY_UPDATE(data->tg_event);
	HeapTuple row = is_update ? data->tg_newtuple : data->tg_trigtuple;
	bool takes_away;
	FfTable table;
	FfChange *change;
	int64 checked;

	ff_describe_own_table(&table, data->tg_relation, ff_trigger_object(data));
	if (is_copied(&table, data))
		return PointerGetDatum(NULL);
	table.may_wait = true;
	takes_away = ff_takes_something_away(&table, data);
	if (!takes_away && !ff_refers_anew(&table, data))
		return PointerGetDatum(NULL);
	checked = ff_check_object(&table, ff_row_key(&table, row, RelationGetDescr(data->tg_relation)),
							  !is_update, takes_away);
	change = ff_find_change(data);
	if (change != NULL)
		change->checked = checked;
	return PointerGetDatum(NULL);
}
