/*
 * src/ff_register.c
 *	  Namespaces: which tables hold flags and segments.
 *
 * The rule: a namespace is a row of ff.namespaces and the triggers of its two tables, and both
 * come and go together. From its registration on, the log tells everything about a table: what
 * its rows are then, and every change after that.
 */
#include "ff_spi.h"
#include "ff_trigger.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_type_d.h"
#include "commands/event_trigger.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

/* ---------- what belongs to the extension ---------- */

/*
 * Has a table that we made, or a trigger on somebody's table, go with the extension when it is
 * dropped, unlike the extension's members without being left out of dumps.
 */
static void
depend_on_extension(Oid class, Oid object)
{
	ObjectAddress dependent, extension;

	ObjectAddressSet(dependent, class, object);
	ObjectAddressSet(extension, ExtensionRelationId, get_extension_oid("ff", false));
	recordDependencyOn(&dependent, &extension, DEPENDENCY_AUTO_EXTENSION);
}

static bool
is_member(Oid relid)
{
	return getExtensionOfObject(RelationRelationId, relid) == get_extension_oid("ff", true);
}

PG_FUNCTION_INFO_V1(ff_namespace_trigger);

/*
 * After a row of ff.namespaces came, also from a dump: the tables that stand in our schema beside
 * the extension's own were made by us.
 */
Datum
ff_namespace_trigger(PG_FUNCTION_ARGS)
{
	TriggerData *data = ff_trigger_data(fcinfo, "ff_namespace_trigger");
	Oid schema = get_namespace_oid("ff", false);

	for (AttrNumber column = 2; column <= 3; column++)
	{
		bool isnull;
		Oid relid = DatumGetObjectId(
			heap_getattr(data->tg_trigtuple, column, RelationGetDescr(data->tg_relation), &isnull));

		if (!creating_extension && get_rel_namespace(relid) == schema && !is_member(relid))
			depend_on_extension(RelationRelationId, relid);
	}
	return PointerGetDatum(NULL);
}

/* ---------- triggers ---------- */

/*
 * The triggers of a table: %1$s is its name, %2$s the schema of our functions, %3$s what it holds.
 * Triggers fire in the order of their names. Those after a change sort first: a trigger of the
 * user's that evaluates a flag must meet a cache that knows of the change. The one that validates
 * sorts last: what it has seen is what is written. All are ENABLE ALWAYS, so that logical
 * replication's apply fires them too.
 */
typedef struct FfTriggerText
{
	const char *name;
	const char *create;
} FfTriggerText;

static const FfTriggerText trigger_texts[] = {
	{"zz_ff_validate", "CREATE TRIGGER zz_ff_validate BEFORE INSERT OR UPDATE ON %1$s "
					   "FOR EACH ROW EXECUTE FUNCTION %2$s.ff_validate_trigger('%3$s')"},
	{"a00_ff_protect", "CREATE TRIGGER a00_ff_protect BEFORE DELETE ON %1$s "
					   "FOR EACH ROW EXECUTE FUNCTION %2$s.ff_protect_trigger('%3$s')"},
	{"a00_ff_protect_truncate",
	 "CREATE TRIGGER a00_ff_protect_truncate BEFORE TRUNCATE ON %1$s "
	 "FOR EACH STATEMENT EXECUTE FUNCTION %2$s.ff_protect_trigger('%3$s')"},
	{"a00_ff_invalidate", "CREATE TRIGGER a00_ff_invalidate AFTER INSERT OR UPDATE OR DELETE ON "
						  "%1$s FOR EACH ROW EXECUTE FUNCTION %2$s.ff_invalidate_trigger('%3$s')"},
	{"a00_ff_invalidate_truncate",
	 "CREATE TRIGGER a00_ff_invalidate_truncate AFTER TRUNCATE ON %1$s "
	 "FOR EACH STATEMENT EXECUTE FUNCTION %2$s.ff_invalidate_trigger('%3$s')"},
	{"a10_ff_check", "CREATE CONSTRAINT TRIGGER a10_ff_check AFTER INSERT OR UPDATE ON %1$s "
					 "DEFERRABLE INITIALLY IMMEDIATE "
					 "FOR EACH ROW EXECUTE FUNCTION %2$s.ff_check_trigger('%3$s')"},
	{"zz_ff_record", "CREATE CONSTRAINT TRIGGER zz_ff_record AFTER INSERT OR UPDATE OR DELETE ON "
					 "%1$s DEFERRABLE INITIALLY DEFERRED "
					 "FOR EACH ROW EXECUTE FUNCTION %2$s.ff_record_trigger('%3$s')"}};

/* Attaches the triggers to a table. Ours end with it; on another's they end with the extension. */
static void
attach_triggers(Oid relid, ffe_object object, const char *functions)
{
	char *name = ff_relation_name(relid);

	for (size_t i = 0; i < lengthof(trigger_texts); i++)
	{
		const FfTriggerText *text = &trigger_texts[i];

		ff_run(psprintf(text->create, name, functions, ff_object_word(object)));
		ff_run(psprintf("ALTER TABLE %s ENABLE ALWAYS TRIGGER %s", name, text->name));
		if (!is_member(relid))
			ff_run(psprintf("ALTER TRIGGER %s ON %s DEPENDS ON EXTENSION ff", text->name, name));
	}
}

/* Takes them off what is left of a namespace. */
static void
detach_triggers(Oid relid)
{
	char *name;

	if (get_rel_name(relid) == NULL)
		return;
	name = ff_relation_name(relid);
	for (size_t i = 0; i < lengthof(trigger_texts); i++)
		ff_run(psprintf("DROP TRIGGER IF EXISTS %s ON %s", trigger_texts[i].name, name));
}

/* ---------- what a table must be ---------- */

/* Refuses a relation that can't keep what evaluation and log go by. */
static void
check_relation(Relation rel, ffe_object object)
{
	const char *wrong = NULL;

	if (rel->rd_rel->relkind != RELKIND_RELATION)
		wrong = "It is not an ordinary table.";
	else if (rel->rd_rel->relpersistence != RELPERSISTENCE_PERMANENT)
		wrong = "It is temporary or unlogged; the log would outlive it.";
	else if (rel->rd_rel->relhassubclass || rel->rd_rel->relispartition)
		wrong = "It takes part in inheritance or partitioning.";
	if (wrong != NULL)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("\"%s\" cannot be a %s table", RelationGetRelationName(rel),
							   ff_object_word(object)),
						errdetail("%s", wrong)));
}

static void
check_shape(Relation rel, ffe_object object)
{
	char *missing = ff_missing_parts(rel, object);

	if (missing != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
				 errmsg("\"%s\" cannot be a %s table", RelationGetRelationName(rel),
						ff_object_word(object)),
				 errdetail("It lacks %s.", missing),
				 errhint("CREATE TABLE … (LIKE ff.%ss INCLUDING ALL) makes one of the right shape.",
						 ff_object_word(object))));
}

static void
check_table(Oid relid, ffe_object object, Oid caller)
{
	Relation rel = relation_open(relid, ShareRowExclusiveLock);
	FfRegistration space;

	if (!ff_owns_table(relid, caller))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, RelationGetRelationName(rel));
	check_relation(rel, object);
	if (ff_is_registered(relid, &space))
		ereport(ERROR, (errcode(ERRCODE_DUPLICATE_OBJECT),
						errmsg("table \"%s\" belongs to namespace \"%s\" already",
							   RelationGetRelationName(rel), space.name)));
	check_shape(rel, object);

	/* the lock stays until the end of the transaction */
	relation_close(rel, NoLock);
}

/* Whether a namespace of this name has left events or tables. */
static bool
has_past(const char *name)
{
	Oid schema = get_namespace_oid("ff", false);
	Oid types[] = {TEXTOID};
	Datum arguments[] = {CStringGetTextDatum(name)};
	FfCaller caller = ff_enter_as_owner();
	bool past;

	ff_query("SELECT FROM ff.events WHERE namespace = $1 LIMIT 1", false, 1, types, arguments,
			 NULL);
	past = SPI_processed > 0;
	ff_leave(&caller);
	return past || OidIsValid(get_relname_relid(psprintf("%s_flags", name), schema)) ||
		   OidIsValid(get_relname_relid(psprintf("%s_segments", name), schema));
}

static void
check_name(const char *name)
{
	Oid flags, segments;

	if (!ffe_valid_key(name, strlen(name)) || strlen(name) > FF_MAX_NAMESPACE)
		ereport(ERROR, (errcode(ERRCODE_INVALID_NAME),
						errmsg("\"%s\" cannot be the name of a namespace", name),
						errhint("A name is made of letters, digits, \".\", \"_\" and \"-\", begins "
								"with a letter or a digit, and has %d characters at most.",
								FF_MAX_NAMESPACE)));
	if (ff_find_tables(name, true, &flags, &segments))
		ereport(ERROR, (errcode(ERRCODE_DUPLICATE_OBJECT),
						errmsg("namespace \"%s\" exists already", name)));
	if (!superuser() && has_past(name))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("namespace \"%s\" has been there before", name),
						errdetail("Its history would be the new one's, too."),
						errhint("A superuser can take it up again; or choose another name.")));
}

/* ---------- the rows that a table brings ---------- */

/* Records a row, unless it is what the log says of its key. */
static void
record_row(const FfTable *table, const char *space, HeapTuple row, TupleDesc desc)
{
	Datum values[FF_EVENT_COLUMNS];
	bool nulls[FF_EVENT_COLUMNS];
	FfEvent event = {.name_space = space, .object = table->object, .action = "created"};

	event.key = ff_row_key(table, row, desc);
	event.version = ff_row_version(table, row, desc);
	event.new_value = ff_row_document(table, row, desc);
	event.comment = "registered";
	CommandCounterIncrement();
	PushActiveSnapshot(GetLatestSnapshot());
	if (ff_read_last_event(space, table->object, event.key, GetActiveSnapshot(), values, nulls) &&
		!nulls[FF_EVENT_NEW_VALUE])
	{
		event.action = "updated";
		event.old_value = DatumGetJsonbP(values[FF_EVENT_NEW_VALUE]);
	}
	PopActiveSnapshot();
	if (event.old_value == NULL ||
		compareJsonbContainers(&event.old_value->root, &event.new_value->root) != 0)
		ff_write_event(&event);
}

void
ff_query_absent(const FfTable *table, const char *space)
{
	Oid types[] = {TEXTOID, TEXTOID};
	Datum arguments[] = {CStringGetTextDatum(space),
						 CStringGetTextDatum(ff_object_word(table->object))};

	ff_query(psprintf("SELECT key, version, new_value FROM (SELECT DISTINCT ON (key) key, version, "
					  "new_value FROM ff.events WHERE namespace = $1 AND object = $2 "
					  "ORDER BY key, id DESC) AS last WHERE new_value IS NOT NULL "
					  "AND NOT EXISTS (SELECT FROM ONLY %s AS t WHERE t.key = last.key)",
					  ff_relation_name(table->relid)),
			 false, 2, types, arguments, NULL);
}

/* Records the end of what the log has of a namespace and the table has not. */
static void
record_absent(const FfTable *table, const char *space)
{
	SPITupleTable *rows;
	uint64 count;

	ff_query_absent(table, space);
	rows = SPI_tuptable;
	count = SPI_processed;
	for (uint64 i = 0; i < count; i++)
	{
		FfEvent event = {.name_space = space, .object = table->object, .action = "purged"};
		bool isnull;

		event.key = SPI_getvalue(rows->vals[i], rows->tupdesc, 1);
		event.version = DatumGetInt64(SPI_getbinval(rows->vals[i], rows->tupdesc, 2, &isnull));
		event.old_value = DatumGetJsonbP(SPI_getbinval(rows->vals[i], rows->tupdesc, 3, &isnull));
		event.comment = "registered without it";
		ff_write_event(&event);
	}
}

/* Checks each row as if it were written now, and records what the log doesn't have. */
static void
take_over_rows(Oid relid, ffe_object object, const char *space)
{
	Relation rel = table_open(relid, AccessShareLock);
	FfTable table;
	SysScanDesc scan;
	HeapTuple row;

	ff_describe_own_table(&table, rel, object);
	table.may_wait = true;
	PushActiveSnapshot(GetLatestSnapshot());
	scan = systable_beginscan(rel, InvalidOid, false, GetActiveSnapshot(), 0, NULL);
	while (HeapTupleIsValid(row = systable_getnext(scan)))
	{
		CHECK_FOR_INTERRUPTS();
		ff_check_definition(&table, row, RelationGetDescr(rel));
		(void) ff_check_object(&table, ff_row_key(&table, row, RelationGetDescr(rel)), true, false);
		record_row(&table, space, row, RelationGetDescr(rel));
	}
	systable_endscan(scan);
	PopActiveSnapshot();
	table_close(rel, AccessShareLock);
	record_absent(&table, space);
}

/*
 * Gives rows that were never under our triggers what these would have given them. As the table's
 * owner, because its triggers run, which are his.
 */
static void
complete_rows(Oid relid)
{
	Relation rel = relation_open(relid, NoLock);
	Oid owner = rel->rd_rel->relowner;
	Oid caller;
	int context;

	relation_close(rel, NoLock);
	GetUserIdAndSecContext(&caller, &context);
	SetUserIdAndSecContext(owner,
						   context | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
	SPI_connect();
	ff_run(psprintf("UPDATE ONLY %s SET version = COALESCE(version, 1), "
					"created_at = COALESCE(created_at, pg_catalog.now()), "
					"updated_at = COALESCE(updated_at, pg_catalog.now()) "
					"WHERE version IS NULL OR created_at IS NULL OR updated_at IS NULL",
					ff_relation_name(relid)));
	SPI_finish();
	SetUserIdAndSecContext(caller, context);
}

/* ---------- registering ---------- */

/*
 * Makes a table of a namespace in our schema, in the shape of the default namespace's. One that a
 * former namespace of this name has left there is taken again.
 */
static Oid
make_table(const char *space, ffe_object object)
{
	Oid defaults[2] = {InvalidOid, InvalidOid};
	char *name = psprintf("%s_%ss", space, ff_object_word(object));
	Oid schema = get_namespace_oid("ff", false);
	Oid left = get_relname_relid(name, schema);

	if (OidIsValid(left))
	{
		check_table(left, object, GetUserId());
		return left;
	}
	if (!ff_find_tables("default", true, &defaults[FFE_FLAG], &defaults[FFE_SEGMENT]))
		elog(ERROR, "namespace \"default\" does not exist");
	ff_run(psprintf("CREATE TABLE ff.%s (LIKE %s INCLUDING ALL)", quote_identifier(name),
					ff_relation_name(defaults[object])));
	return get_relname_relid(name, schema);
}

/* As the owner: everything that makes two tables a namespace. */
static void
register_tables(const char *name, const Oid *tables, const char *functions)
{
	Oid types[] = {TEXTOID, REGCLASSOID, REGCLASSOID};
	Datum arguments[] = {CStringGetTextDatum(name), ObjectIdGetDatum(tables[FFE_FLAG]),
						 ObjectIdGetDatum(tables[FFE_SEGMENT])};

	if (SPI_execute_with_args("INSERT INTO ff.namespaces VALUES ($1, $2, $3)", 3, types, arguments,
							  NULL, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not insert into ff.namespaces");
	CommandCounterIncrement();
	(void) ff_lock_events();
	for (int object = FFE_FLAG; object <= FFE_SEGMENT; object++)
		attach_triggers(tables[object], (ffe_object) object, functions);

	/* segments first: who reads the log from the start meets what flags refer to before them */
	take_over_rows(tables[FFE_SEGMENT], FFE_SEGMENT, name);
	take_over_rows(tables[FFE_FLAG], FFE_FLAG, name);
}

/* The schema that our functions are in. */
static const char *
function_schema(FunctionCallInfo fcinfo)
{
	return quote_identifier(get_namespace_name(get_func_namespace(fcinfo->flinfo->fn_oid)));
}

static void
check_tables(const Oid *tables)
{
	check_table(tables[FFE_FLAG], FFE_FLAG, GetUserId());
	if (OidIsValid(tables[FFE_SEGMENT]))
		check_table(tables[FFE_SEGMENT], FFE_SEGMENT, GetUserId());
}

PG_FUNCTION_INFO_V1(ff_register);

Datum
ff_register(PG_FUNCTION_ARGS)
{
	Oid tables[2] = {InvalidOid, InvalidOid};
	FfCaller caller;
	char *name;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("the table must not be null")));
	tables[FFE_FLAG] = PG_GETARG_OID(0);
	name = ff_required_text(fcinfo, 1, "the namespace");
	check_name(name);
	if (!PG_ARGISNULL(2))
		tables[FFE_SEGMENT] = PG_GETARG_OID(2);
	check_tables(tables);
	complete_rows(tables[FFE_FLAG]);
	if (OidIsValid(tables[FFE_SEGMENT]))
		complete_rows(tables[FFE_SEGMENT]);

	/* triggers of the tables have run, which may have changed what was found */
	check_tables(tables);
	caller = ff_enter_as_owner();
	if (PG_ARGISNULL(2))
		tables[FFE_SEGMENT] = make_table(name, FFE_SEGMENT);
	register_tables(name, tables, function_schema(fcinfo));
	ff_leave(&caller);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(ff_create_namespace);

Datum
ff_create_namespace(PG_FUNCTION_ARGS)
{
	Oid tables[2];
	FfCaller caller;
	char *name;

	name = ff_required_text(fcinfo, 0, "the namespace");
	check_name(name);
	caller = ff_enter_as_owner();
	tables[FFE_FLAG] = make_table(name, FFE_FLAG);
	tables[FFE_SEGMENT] = make_table(name, FFE_SEGMENT);
	register_tables(name, tables, function_schema(fcinfo));
	ff_leave(&caller);
	PG_RETURN_VOID();
}

/* As the owner: removes the row, and the triggers of what is there. */
static void
unregister(const FfRegistration *space)
{
	Oid types[] = {TEXTOID};
	Datum arguments[] = {CStringGetTextDatum(space->name)};

	if (SPI_execute_with_args("DELETE FROM ff.namespaces WHERE name OPERATOR(pg_catalog.=) $1", 1,
							  types, arguments, NULL, false, 0) != SPI_OK_DELETE)
		elog(ERROR, "could not delete from ff.namespaces");
	detach_triggers(space->flags);
	detach_triggers(space->segments);
}

PG_FUNCTION_INFO_V1(ff_unregister);

Datum
ff_unregister(PG_FUNCTION_ARGS)
{
	FfRegistration space;
	FfCaller caller;
	char *name;

	name = ff_required_text(fcinfo, 0, "the namespace");
	if (!ff_find_tables(name, true, &space.flags, &space.segments))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("namespace \"%s\" does not exist", name)));
	if (strcmp(name, "default") == 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("namespace \"default\" cannot be unregistered"),
						errdetail("Its tables belong to the extension.")));
	if (!ff_owns_table(space.flags, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, get_rel_name(space.flags));
	strlcpy(space.name, name, sizeof(space.name));
	caller = ff_enter_as_owner();
	unregister(&space);
	ff_leave(&caller);
	PG_RETURN_VOID();
}

/* ---------- tables that are dropped ---------- */

PG_FUNCTION_INFO_V1(ff_drop_trigger);

/* On sql_drop: namespaces that lost a table are no more. */
Datum
ff_drop_trigger(PG_FUNCTION_ARGS)
{
	FfRegistration space;
	FfCaller caller;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("ff_drop_trigger can only be called as an event trigger")));
	while (ff_find_orphan(&space))
	{
		caller = ff_enter_as_owner();
		unregister(&space);
		ff_leave(&caller);
		CommandCounterIncrement();
	}
	PG_RETURN_NULL();
}
