/*
 * src/ff_trigger.c
 *	  The triggers of flag and segment tables.
 *
 * The rule: what is in a table compiles. Shape is checked before the row is written (validate);
 * references after the statement (check, which may be deferred, so that a batch can pass through
 * states that do not hold together). Every change is announced (invalidate), nothing is deleted
 * (protect).
 */
#include "ff.h"

#include "access/htup_details.h"
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
#include "utils/timestamp.h"

/* ---------- what all have in common ---------- */

/* Refuses to run as anything but a trigger of the kind that it is for. */
static TriggerData *
trigger_data(FunctionCallInfo fcinfo, const char *name)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("%s can only be called as a trigger", name)));
	return (TriggerData *) fcinfo->context;
}

/* The trigger's argument: whether the table holds flags or segments. */
static ffe_object
trigger_object(const TriggerData *data)
{
	if (data->tg_trigger->tgnargs != 1)
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("trigger \"%s\" needs an argument: 'flag' or 'segment'",
							   data->tg_trigger->tgname)));
	return strcmp(data->tg_trigger->tgargs[0], "segment") == 0 ? FFE_SEGMENT : FFE_FLAG;
}

static const char *
object_word(ffe_object object)
{
	return object == FFE_FLAG ? "flag" : "segment";
}

static void
describe_or_fail(FfTable *table, Relation rel, ffe_object object)
{
	ff_describe_relation(table, rel, object);
	if (table->missing != NULL)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("table \"%s\" cannot hold %ss", RelationGetRelationName(rel),
							   object_word(object)),
						errdetail("It has no %s.", table->missing)));
}

/* A column's value, by the document member that it holds. */
static Datum
column(const FfTable *table, const char *name, HeapTuple row, TupleDesc desc, bool *isnull)
{
	return heap_getattr(row, ff_table_column(table, name), desc, isnull);
}

static bool
column_differs(const FfTable *table, const char *name, HeapTuple a, HeapTuple b, TupleDesc desc)
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

/* ---------- validate ---------- */

/* Raises what the engine says of a definition. */
static void
report_invalid(ffe_object object, const char *key, const ffe_error *error)
{
	int code = ERRCODE_INVALID_PARAMETER_VALUE;

	if (error->status == FFE_LIMIT_EXCEEDED)
		code = ERRCODE_PROGRAM_LIMIT_EXCEEDED;
	else if (error->status == FFE_NO_MEMORY)
		code = ERRCODE_OUT_OF_MEMORY;
	ereport(ERROR,
			(errcode(code),
			 errmsg("definition of %s \"%s\" is not valid", object_word(object), key),
			 errdetail("%s%s%s", error->path, error->path[0] == '\0' ? "" : ": ", error->message),
			 error->hint[0] == '\0' ? 0 : errhint("%s", error->hint)));
}

static void
check_definition(const FfTable *table, HeapTuple row, TupleDesc desc, const char *key)
{
	MemoryContext scratch =
		AllocSetContextCreate(CurrentMemoryContext, "ff validate", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(scratch);
	ffe_alloc alloc = ff_allocator(scratch);
	ffe_set *set = ffe_set_new(&alloc);
	ffe_node root;
	ffe_doc *doc;
	ffe_error error;

	if (set == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	root = ff_jsonb_node(ff_row_document(table, row, desc));
	if (ffe_compile(set, table->object, &ff_jsonb_reader, &root, &doc, &error) != FFE_OK)
		report_invalid(table->object, key, &error);
	ffe_doc_free(set, doc);
	ffe_set_free(set);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(scratch);
}

static void
check_immutable(const FfTable *table, const char *name, TriggerData *data, const char *key)
{
	if (column_differs(table, name, data->tg_trigtuple, data->tg_newtuple,
					   RelationGetDescr(data->tg_relation)))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("%s of %s \"%s\" cannot be changed", name, object_word(table->object), key),
				 errhint("Create another %s and archive this one.", object_word(table->object))));
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

/* The row with version and times as the database keeps them, whatever the writer says of them. */
static HeapTuple
keep_version(const FfTable *table, TriggerData *data, HeapTuple row)
{
	TupleDesc desc = RelationGetDescr(data->tg_relation);
	int columns[3];
	Datum values[3];
	bool nulls[3] = {false};
	TimestampTz now = GetCurrentTransactionStartTimestamp();

	columns[0] = ff_table_column(table, "version");
	columns[1] = ff_table_column(table, "created_at");
	columns[2] = ff_table_column(table, "updated_at");
	values[0] = Int64GetDatum(1);
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
	return heap_modify_tuple_by_cols(row, desc, 3, columns, values, nulls);
}

/*
 * Whether rows come from another database, where they were checked and got their versions: by
 * logical replication's apply, or from a dump. They come in any order, and are kept as they are. A
 * dump turns check_function_bodies off for the same reason: what its objects refer to may follow.
 * That anybody could say, so it is taken from nobody but the table's owner, who can disable
 * triggers, too.
 */
static bool
is_copied(Relation rel)
{
	return SessionReplicationRole == SESSION_REPLICATION_ROLE_REPLICA ||
		   (!check_function_bodies && ff_owns_table(RelationGetRelid(rel), GetUserId()));
}

PG_FUNCTION_INFO_V1(ff_validate_trigger);

Datum
ff_validate_trigger(PG_FUNCTION_ARGS)
{
	TriggerData *data = trigger_data(fcinfo, "ff_validate_trigger");
	bool is_update = TRIGGER_FIRED_BY_UPDATE(data->tg_event);
	bool copied = is_copied(data->tg_relation);
	HeapTuple row = is_update ? data->tg_newtuple : data->tg_trigtuple;
	TupleDesc desc = RelationGetDescr(data->tg_relation);
	FfTable table;
	bool isnull;
	Datum key_datum;
	char *key;

	describe_or_fail(&table, data->tg_relation, trigger_object(data));
	key_datum = column(&table, "key", is_update ? data->tg_trigtuple : row, desc, &isnull);
	key = isnull ? pstrdup("") : TextDatumGetCString(key_datum);
	if (is_update && !copied)
	{
		check_immutable(&table, "key", data, key);
		if (table.object == FFE_FLAG)
			check_immutable(&table, "type", data, key);
	}
	if (!copied)
		row = keep_version(&table, data, row);
	check_definition(&table, row, desc, key);
	return PointerGetDatum(row);
}

/* ---------- protect ---------- */

PG_FUNCTION_INFO_V1(ff_protect_trigger);

Datum
ff_protect_trigger(PG_FUNCTION_ARGS)
{
	TriggerData *data = trigger_data(fcinfo, "ff_protect_trigger");
	const char *word = object_word(trigger_object(data));

	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("%ss cannot be %s", word,
					TRIGGER_FIRED_BY_TRUNCATE(data->tg_event) ? "truncated" : "deleted"),
			 errdetail("Table \"%s\" keeps every %s, so that its history stays whole.",
					   RelationGetRelationName(data->tg_relation), word),
			 errhint("Archive it: UPDATE %s SET state = 'archived' WHERE key = …",
					 quote_qualified_identifier(get_namespace_name(
													RelationGetNamespace(data->tg_relation)),
												RelationGetRelationName(data->tg_relation)))));
	PG_RETURN_NULL();
}

/* ---------- invalidate ---------- */

PG_FUNCTION_INFO_V1(ff_invalidate_trigger);

Datum
ff_invalidate_trigger(PG_FUNCTION_ARGS)
{
	Oid schema = get_namespace_oid("ff", true);
	Oid epoch = OidIsValid(schema) ? get_relname_relid("cache_epoch", schema) : InvalidOid;

	(void) trigger_data(fcinfo, "ff_invalidate_trigger");
	if (!OidIsValid(epoch))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("table \"ff.cache_epoch\" does not exist"),
						errhint("The extension is damaged; create it anew.")));
	CacheInvalidateRelcacheByRelid(epoch);
	return PointerGetDatum(NULL);
}

/* ---------- check ---------- */

/* Whether one of these columns (NULL at the end) is not what it was. */
static bool
any_differs(const FfTable *table, TriggerData *data, const char *const *names)
{
	for (int i = 0; names[i] != NULL; i++)
	{
		if (column_differs(table, names[i], data->tg_trigtuple, data->tg_newtuple,
						   RelationGetDescr(data->tg_relation)))
			return true;
	}
	return false;
}

/* Whether the change may leave others without what they refer to. */
static bool
takes_something_away(const FfTable *table, TriggerData *data)
{
	static const char *const flag_columns[] = {"state", "variants", NULL};
	static const char *const segment_columns[] = {"state", NULL};

	return TRIGGER_FIRED_BY_UPDATE(data->tg_event) &&
		   any_differs(table, data, table->object == FFE_FLAG ? flag_columns : segment_columns);
}

/* Whether the change may make the row refer to something that it did not refer to. */
static bool
refers_anew(const FfTable *table, TriggerData *data)
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
	TriggerData *data = trigger_data(fcinfo, "ff_check_trigger");
	bool is_update = TRIGGER_FIRED_BY_UPDATE(data->tg_event);
	HeapTuple row = is_update ? data->tg_newtuple : data->tg_trigtuple;
	bool takes_away, refers;
	FfTable table;
	bool isnull;
	char *key;

	if (is_copied(data->tg_relation))
		return PointerGetDatum(NULL);
	describe_or_fail(&table, data->tg_relation, trigger_object(data));
	table.may_wait = true;
	takes_away = takes_something_away(&table, data);
	refers = refers_anew(&table, data);
	if (!takes_away && !refers)
		return PointerGetDatum(NULL);
	key = TextDatumGetCString(
		column(&table, "key", row, RelationGetDescr(data->tg_relation), &isnull));
	ff_check_object(&table, key, !is_update, takes_away);
	return PointerGetDatum(NULL);
}
