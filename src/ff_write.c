/*
 * src/ff_write.c
 *	  The functions that change flags and segments.
 *
 * The rule: these are a convenience, not a gate. Each comes down to one INSERT, UPDATE or DELETE of
 * the caller's, with his rights and under the policies of the table; what it must be, the triggers
 * of the table check for everybody. What is checked here is what a row can't hold: members that
 * no column is for, and the version that the caller thought to change.
 */
#include "ff_spi.h"
#include "ff_trigger.h"
#include "ff_write.h"

#include "catalog/pg_type_d.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"

/* What a call is about. Between begin() and end(), SPI is connected. */
typedef struct FfTarget
{
	FfTables tables;
	const FfTable *table;
	ffe_object object;
	char *space; /* name of the namespace */
	char *key;
	const int64 *expected; /* version that the caller takes it to have; NULL: any */
	int64 expected_value;
	Jsonb *found; /* the definition as it is now */
} FfTarget;

/* ---------- the object ---------- */

static void
begin(FfTarget *target, ffe_object object, char *name_space)
{
	memset(target, 0, sizeof(*target));
	target->space = name_space == NULL ? ff_namespace : name_space;
	target->object = object;
	ff_named_tables(target->space, &target->tables);
	target->table = &target->tables.table[object];
	SPI_connect();
}

/* Takes key and expected version from the arguments at their places. */
static void
begin_with_key(FfTarget *target, FunctionCallInfo fcinfo, ffe_object object, int version_arg)
{
	char *key = ff_required_text(fcinfo, 0, "the key");

	begin(target, object, ff_optional_text(fcinfo, version_arg + 1));
	target->key = key;
	if (!PG_ARGISNULL(version_arg))
	{
		target->expected_value = PG_GETARG_INT64(version_arg);
		target->expected = &target->expected_value;
	}
}

static Datum
end(Jsonb *document)
{
	Jsonb *kept = ff_keep_document(document);

	SPI_finish();
	PG_RETURN_JSONB_P(kept);
}

static bool
member(Jsonb *document, const char *name, JsonbValue *out)
{
	return getKeyJsonValueFromContainer(&document->root, name, (int) strlen(name), out) != NULL;
}

static bool
member_is(Jsonb *document, const char *name, const char *string)
{
	JsonbValue value;

	return member(document, name, &value) && value.type == jbvString &&
		   (size_t) value.val.string.len == strlen(string) &&
		   memcmp(value.val.string.val, string, strlen(string)) == 0;
}

static int64
version_of(Jsonb *document)
{
	JsonbValue value;

	if (!member(document, "version", &value))
		return 0;
	return DatumGetInt64(DirectFunctionCall1(numeric_int8, NumericGetDatum(value.val.numeric)));
}

void
ff_report_not_found(ffe_object object, const char *key, const char *name_space)
{
	ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
					errmsg("%s \"%s\" does not exist", ff_object_word(object), key),
					errdetail("It was looked for in namespace \"%s\".", name_space)));
}

static void
report_not_found(const FfTarget *target)
{
	ff_report_not_found(target->object, target->key, target->space);
}

/* Locks the row and reads it; false when there is none that the caller may change. */
static bool
find(FfTarget *target)
{
	if (!ff_fetch_row(target->table, target->key, true))
		return false;
	target->found = ff_fetched_document(target->table);
	return true;
}

static void
find_or_fail(FfTarget *target)
{
	int64 version;

	if (!find(target))
		report_not_found(target);
	version = version_of(target->found);
	if (target->expected != NULL && version != *target->expected)
		ereport(ERROR,
				(errcode(FF_ERRCODE_VERSION_MISMATCH),
				 errmsg("%s \"%s\" has version " INT64_FORMAT ", not " INT64_FORMAT,
						ff_object_word(target->object), target->key, version, *target->expected),
				 errhint("It was changed meanwhile. Read it again, and repeat the change.")));
}

/* ---------- writing documents ---------- */

/* Whether a column is kept by the triggers, whatever is written to it. */
static bool
is_kept(const char *name)
{
	return strcmp(name, "version") == 0 || strcmp(name, "created_at") == 0 ||
		   strcmp(name, "updated_at") == 0;
}

/* The columns to be written: their names, their values in r, or "name = value". */
typedef enum FfListKind
{
	NAMES,
	VALUES,
	ASSIGNMENTS
} FfListKind;

/* The value of a column in r; two have a meaning where they are null. */
static const char *
column_value(const char *name)
{
	if (strcmp(name, "state") == 0)
		return "COALESCE(r.state, 'active')";
	if (strcmp(name, "enabled") == 0)
		return "COALESCE(r.enabled, true)";
	return psprintf("r.%s", quote_identifier(name));
}

static char *
column_list(ffe_object object, FfListKind kind)
{
	StringInfoData list;
	const char *name;

	initStringInfo(&list);
	for (int i = 0; (name = ff_column_name(object, i)) != NULL; i++)
	{
		if (is_kept(name))
			continue;
		appendStringInfoString(&list, list.len == 0 ? "" : ", ");
		if (kind != VALUES)
			appendStringInfoString(&list, quote_identifier(name));
		if (kind == ASSIGNMENTS)
			appendStringInfoString(&list, " = ");
		if (kind != NAMES)
			appendStringInfoString(&list, column_value(name));
	}
	return list.data;
}

/* Runs a statement that writes the row, and fails where it did not. */
static void
run_write(const FfTarget *target, const char *sql, int nargs, Oid *types, Datum *values)
{
	ff_query(sql, false, nargs, types, values, NULL);
	if (SPI_processed != 1)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("%s \"%s\" was not written", ff_object_word(target->object), target->key),
				 errdetail("A policy or a trigger of table \"%s\" kept it as it is.",
						   get_rel_name(target->table->relid))));
}

static Jsonb *
insert_document(const FfTarget *target, Jsonb *document)
{
	char *table = ff_relation_name(target->table->relid);
	Oid types[] = {JSONBOID};
	Datum values[] = {JsonbPGetDatum(document)};

	run_write(target,
			  psprintf("INSERT INTO %1$s (%2$s) SELECT %3$s FROM "
					   "pg_catalog.jsonb_populate_record(NULL::%1$s, $1) AS r RETURNING *",
					   table, column_list(target->object, NAMES),
					   column_list(target->object, VALUES)),
			  1, types, values);
	return ff_fetched_document(target->table);
}

static Jsonb *
update_document(const FfTarget *target, Jsonb *document)
{
	char *table = ff_relation_name(target->table->relid);
	Oid types[] = {JSONBOID, TEXTOID};
	Datum values[] = {JsonbPGetDatum(document), CStringGetTextDatum(target->key)};

	run_write(target,
			  psprintf("UPDATE ONLY %1$s AS t SET %2$s FROM "
					   "pg_catalog.jsonb_populate_record(NULL::%1$s, $1) AS r "
					   "WHERE t.key OPERATOR(pg_catalog.=) $2 RETURNING t.*",
					   table, column_list(target->object, ASSIGNMENTS)),
			  2, types, values);
	return ff_fetched_document(target->table);
}

/* Sets one column, so that who may change this one alone can do that. */
static Jsonb *
update_column(const FfTarget *target, const char *assignment)
{
	Oid types[] = {TEXTOID};
	Datum values[] = {CStringGetTextDatum(target->key)};

	run_write(target,
			  psprintf("UPDATE ONLY %s SET %s WHERE key OPERATOR(pg_catalog.=) $1 "
					   "RETURNING *",
					   ff_relation_name(target->table->relid), assignment),
			  1, types, values);
	return ff_fetched_document(target->table);
}

/* ---------- documents from the caller ---------- */

static Jsonb *
object_argument(FunctionCallInfo fcinfo, int arg, const char *name)
{
	Jsonb *jsonb = PG_ARGISNULL(arg) ? NULL : PG_GETARG_JSONB_P(arg);

	if (jsonb == NULL || !JB_ROOT_IS_OBJECT(jsonb))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("%s must be a JSON object", name)));
	return jsonb;
}

/* The document with the key that it is to be written under, unless it has one. */
static Jsonb *
with_key(Jsonb *document, const char *key)
{
	JsonbParseState *state = NULL;
	JsonbValue name, value;
	Jsonb *with;

	name.type = value.type = jbvString;
	name.val.string.val = "key";
	name.val.string.len = 3;
	value.val.string.val = unconstify(char *, key);
	value.val.string.len = (int) strlen(key);
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	pushJsonbValue(&state, WJB_KEY, &name);
	pushJsonbValue(&state, WJB_VALUE, &value);
	with = JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
	return DatumGetJsonbP(
		DirectFunctionCall2(jsonb_concat, JsonbPGetDatum(with), JsonbPGetDatum(document)));
}

/* The key in a document that was checked. */
static char *
key_of_document(Jsonb *document)
{
	JsonbValue value;

	(void) member(document, "key", &value);
	return pnstrdup(value.val.string.val, value.val.string.len);
}

/* ---------- creating, updating, replacing ---------- */

static Datum
create(FunctionCallInfo fcinfo, ffe_object object)
{
	Jsonb *definition = object_argument(fcinfo, 0, "the definition");
	FfTarget target;

	begin(&target, object, ff_optional_text(fcinfo, 1));
	ff_check_document(object, definition);
	target.key = key_of_document(definition);
	return end(insert_document(&target, definition));
}

static Datum
update(FunctionCallInfo fcinfo, ffe_object object)
{
	Jsonb *patch = object_argument(fcinfo, 1, "the patch");
	FfTarget target;
	Jsonb *patched;

	begin_with_key(&target, fcinfo, object, 2);
	find_or_fail(&target);
	patched = ff_merge_patch(target.found, patch);
	ff_check_document(object, patched);
	return end(update_document(&target, patched));
}

static Datum
replace(FunctionCallInfo fcinfo, ffe_object object)
{
	Jsonb *definition = object_argument(fcinfo, 1, "the definition");
	FfTarget target;

	begin_with_key(&target, fcinfo, object, 2);
	find_or_fail(&target);
	definition = with_key(definition, target.key);
	ff_check_document(object, definition);
	return end(update_document(&target, definition));
}

/* ---------- states ---------- */

static Datum
set_column(FunctionCallInfo fcinfo, ffe_object object, const char *assignment)
{
	FfTarget target;

	begin_with_key(&target, fcinfo, object, 1);
	find_or_fail(&target);
	return end(update_column(&target, assignment));
}

static Datum
purge(FunctionCallInfo fcinfo, ffe_object object)
{
	Oid types[] = {TEXTOID};
	const char *before = ff_purging;
	FfTarget target;
	Datum values[1];

	begin_with_key(&target, fcinfo, object, 1);
	find_or_fail(&target);
	if (!member_is(target.found, "state", "archived"))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("%s \"%s\" is not archived", ff_object_word(object), target.key),
						errhint("Archive it first; what is still in use can't be.")));
	values[0] = CStringGetTextDatum(target.key);
	PG_TRY();
	{
		ff_purging = psprintf("%u %s", target.table->relid, target.key);
		run_write(&target,
				  psprintf("DELETE FROM ONLY %s WHERE key OPERATOR(pg_catalog.=) $1 RETURNING key",
						   ff_relation_name(target.table->relid)),
				  1, types, values);
	}
	PG_FINALLY();
	{
		ff_purging = before;
	}
	PG_END_TRY();
	SPI_finish();
	PG_RETURN_VOID();
}

/* ---------- reverting ---------- */

/* The definition that an event left behind. */
static Jsonb *
event_definition(const FfTarget *target, int64 id)
{
	Datum values[FF_EVENT_COLUMNS];
	bool nulls[FF_EVENT_COLUMNS];

	if (!ff_read_event(id, GetActiveSnapshot(), values, nulls) || nulls[FF_EVENT_NAMESPACE] ||
		nulls[FF_EVENT_OBJECT] || nulls[FF_EVENT_KEY] ||
		strcmp(TextDatumGetCString(values[FF_EVENT_NAMESPACE]), target->space) != 0 ||
		strcmp(TextDatumGetCString(values[FF_EVENT_OBJECT]), ff_object_word(target->object)) != 0 ||
		strcmp(TextDatumGetCString(values[FF_EVENT_KEY]), target->key) != 0)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("event " INT64_FORMAT " is none of %s \"%s\"", id,
							   ff_object_word(target->object), target->key),
						errhint("ff_audit lists its events.")));
	if (nulls[FF_EVENT_NEW_VALUE])
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("event " INT64_FORMAT " left no definition", id),
						errdetail("%s \"%s\" was purged by it.",
								  target->object == FFE_FLAG ? "Flag" : "Segment", target->key)));
	return DatumGetJsonbP(values[FF_EVENT_NEW_VALUE]);
}

/* Whoever may read all of the table may read its history; policies hide what is hidden now, too. */
static Datum
revert(FunctionCallInfo fcinfo, ffe_object object)
{
	FfTarget target;
	Jsonb *definition;
	bool exists;

	begin_with_key(&target, fcinfo, object, 2);
	ff_check_may_read(target.table);
	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("the event must not be null")));
	exists = find(&target);
	if (!exists && (target.expected != NULL ||
					check_enable_rls(target.table->relid, InvalidOid, true) == RLS_ENABLED))
		report_not_found(&target);
	if (exists)
		find_or_fail(&target);
	definition = event_definition(&target, PG_GETARG_INT64(1));
	return end(exists ? update_document(&target, definition)
					  : insert_document(&target, definition));
}

/* ---------- what SQL calls ---------- */

#define ENTRY(name, expression)                                                                    \
	PG_FUNCTION_INFO_V1(name);                                                                     \
	Datum name(PG_FUNCTION_ARGS)                                                                   \
	{                                                                                              \
		return (expression);                                                                       \
	}

ENTRY(ff_create_flag, create(fcinfo, FFE_FLAG))
ENTRY(ff_create_segment, create(fcinfo, FFE_SEGMENT))
ENTRY(ff_update_flag, update(fcinfo, FFE_FLAG))
ENTRY(ff_update_segment, update(fcinfo, FFE_SEGMENT))
ENTRY(ff_replace_flag, replace(fcinfo, FFE_FLAG))
ENTRY(ff_replace_segment, replace(fcinfo, FFE_SEGMENT))
ENTRY(ff_archive_flag, set_column(fcinfo, FFE_FLAG, "state = 'archived'"))
ENTRY(ff_archive_segment, set_column(fcinfo, FFE_SEGMENT, "state = 'archived'"))
ENTRY(ff_restore_flag, set_column(fcinfo, FFE_FLAG, "state = 'active'"))
ENTRY(ff_restore_segment, set_column(fcinfo, FFE_SEGMENT, "state = 'active'"))
ENTRY(ff_enable_flag, set_column(fcinfo, FFE_FLAG, "enabled = true"))
ENTRY(ff_disable_flag, set_column(fcinfo, FFE_FLAG, "enabled = false"))
ENTRY(ff_purge_flag, purge(fcinfo, FFE_FLAG))
ENTRY(ff_purge_segment, purge(fcinfo, FFE_SEGMENT))
ENTRY(ff_revert_flag, revert(fcinfo, FFE_FLAG))
ENTRY(ff_revert_segment, revert(fcinfo, FFE_SEGMENT))
