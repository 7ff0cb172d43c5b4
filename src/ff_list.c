/*
 * src/ff_list.c
 *	  Lists: flags and segments that match, and what happened to one.
 *
 * The rule: pages go by key or number, never by offset: a page stays right when rows come and go
 * before it. What the caller may not read is not listed.
 */
#include "ff_spi.h"
#include "ff_write.h"

#include "catalog/pg_type_d.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

/* Arguments of a query, taken from those of the function; a null one means that all match. */
typedef struct FfArguments
{
	Oid types[8];
	Datum values[8];
	char nulls[9];
	int count;
} FfArguments;

static void
add_argument(FfArguments *arguments, FunctionCallInfo fcinfo, int arg, Oid type)
{
	int i = arguments->count++;

	arguments->types[i] = type;
	arguments->nulls[i] = PG_ARGISNULL(arg) ? 'n' : ' ';
	arguments->nulls[i + 1] = '\0';
	arguments->values[i] = PG_ARGISNULL(arg) ? (Datum) 0 : PG_GETARG_DATUM(arg);
}

static void
add_limit(FfArguments *arguments, FunctionCallInfo fcinfo, int arg)
{
	if (!PG_ARGISNULL(arg) && PG_GETARG_INT32(arg) < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_ROW_COUNT_IN_LIMIT_CLAUSE),
						errmsg("limit must not be negative")));
	add_argument(arguments, fcinfo, arg, INT4OID);
}

/* Lists the rows of a query over a flag or segment table: key and document. */
static void
put_documents(FunctionCallInfo fcinfo, ffe_object object)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	SPITupleTable *rows = SPI_tuptable;
	uint64 count = SPI_processed;
	FfTable columns;

	ff_describe_result(&columns, rows->tupdesc, object);
	for (uint64 i = 0; i < count; i++)
	{
		bool nulls[2] = {false, false};
		Datum values[2];

		CHECK_FOR_INTERRUPTS();
		values[0] =
			heap_getattr(rows->vals[i], ff_table_column(&columns, "key"), rows->tupdesc, &nulls[0]);
		values[1] = JsonbPGetDatum(ff_row_document(&columns, rows->vals[i], rows->tupdesc));
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
}

/* Runs such a query as the caller; condition stands between WHERE and the page's. */
static void
list_documents(FunctionCallInfo fcinfo, ffe_object object, FfArguments *arguments,
			   const char *condition, char *name_space)
{
	FfTables tables;
	int n = arguments->count;

	ff_named_tables(name_space, &tables);
	SPI_connect();
	ff_query(psprintf("SELECT * FROM ONLY %s AS t WHERE %s"
					  " AND ($%d IS NULL OR t.key OPERATOR(pg_catalog.>) $%d)"
					  " ORDER BY t.key LIMIT $%d",
					  ff_relation_name(tables.table[object].relid), condition, n, n, n - 1),
			 true, n, arguments->types, arguments->values, arguments->nulls);
	put_documents(fcinfo, object);
	SPI_finish();
}

/*
 * Whether a text is in key or description, whatever its case. The key's collation, "C", would know
 * case of ASCII only.
 */
#define IN_ANY_CASE(text) "pg_catalog.lower(" text " COLLATE pg_catalog.\"default\")"
#define SEARCHED IN_ANY_CASE("pg_catalog.concat_ws(' ', t.key, t.description)")
#define SEARCH(n)                                                                                  \
	"($" n " IS NULL OR pg_catalog.strpos(" SEARCHED                                               \
	", " IN_ANY_CASE("$" n) ") OPERATOR(pg_catalog.>) 0)"

PG_FUNCTION_INFO_V1(ff_flags);

Datum
ff_flags(PG_FUNCTION_ARGS)
{
	FfArguments arguments = {.count = 0};

	InitMaterializedSRF(fcinfo, 0);
	for (int arg = 0; arg < 4; arg++)
		add_argument(&arguments, fcinfo, arg, TEXTOID);
	add_limit(&arguments, fcinfo, 4);
	add_argument(&arguments, fcinfo, 5, TEXTOID);
	list_documents(fcinfo, FFE_FLAG, &arguments,
				   "($1 IS NULL OR t.state OPERATOR(pg_catalog.=) $1)"
				   " AND ($2 IS NULL OR t.tags OPERATOR(pg_catalog.?) $2)"
				   " AND ($3 IS NULL OR t.owner OPERATOR(pg_catalog.=) $3) AND " SEARCH("4"),
				   ff_optional_text(fcinfo, 6));
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(ff_segments);

Datum
ff_segments(PG_FUNCTION_ARGS)
{
	FfArguments arguments = {.count = 0};

	InitMaterializedSRF(fcinfo, 0);
	for (int arg = 0; arg < 2; arg++)
		add_argument(&arguments, fcinfo, arg, TEXTOID);
	add_limit(&arguments, fcinfo, 2);
	add_argument(&arguments, fcinfo, 3, TEXTOID);
	list_documents(fcinfo, FFE_SEGMENT, &arguments,
				   "($1 IS NULL OR t.state OPERATOR(pg_catalog.=) $1) AND " SEARCH("2"),
				   ff_optional_text(fcinfo, 4));
	return (Datum) 0;
}

/* ---------- what happened to one ---------- */

static ffe_object
object_argument(FunctionCallInfo fcinfo, int arg)
{
	char *word = ff_required_text(fcinfo, arg, "the object");

	if (strcmp(word, "flag") == 0)
		return FFE_FLAG;
	if (strcmp(word, "segment") == 0)
		return FFE_SEGMENT;
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("there are no events of a \"%s\"", word),
					errhint("Ask for a flag or a segment.")));
}

/* Columns of the query below: what it has in the order of ff_audit's, but for what changed. */
#define AUDIT_COLUMNS 9
#define AUDIT_CHANGED 6

static void
put_events(ReturnSetInfo *rsinfo)
{
	SPITupleTable *rows = SPI_tuptable;
	uint64 count = SPI_processed;

	for (uint64 i = 0; i < count; i++)
	{
		Datum values[AUDIT_COLUMNS];
		bool nulls[AUDIT_COLUMNS];

		CHECK_FOR_INTERRUPTS();
		heap_deform_tuple(rows->vals[i], rows->tupdesc, values, nulls);
		nulls[AUDIT_CHANGED] = false;
		values[AUDIT_CHANGED] = ff_changed_members(
			nulls[AUDIT_CHANGED + 1] ? NULL : DatumGetJsonbP(values[AUDIT_CHANGED + 1]),
			nulls[AUDIT_CHANGED + 2] ? NULL : DatumGetJsonbP(values[AUDIT_CHANGED + 2]));
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
}

PG_FUNCTION_INFO_V1(ff_audit);

Datum
ff_audit(PG_FUNCTION_ARGS)
{
	char *key = ff_required_text(fcinfo, 0, "the key");
	char *name_space = PG_ARGISNULL(3) ? ff_namespace : ff_optional_text(fcinfo, 3);
	ffe_object object = object_argument(fcinfo, 4);
	FfArguments arguments = {.count = 0};
	FfTables tables;
	FfCaller caller;

	InitMaterializedSRF(fcinfo, 0);
	ff_named_tables(name_space, &tables);
	if (!ff_may_audit(&tables.table[object], key))
		return (Datum) 0;
	add_argument(&arguments, fcinfo, 0, TEXTOID);
	add_argument(&arguments, fcinfo, 4, TEXTOID);
	add_limit(&arguments, fcinfo, 1);
	add_argument(&arguments, fcinfo, 2, INT8OID);
	arguments.types[arguments.count] = TEXTOID;
	arguments.values[arguments.count] = CStringGetTextDatum(name_space);
	strcpy(arguments.nulls + arguments.count++, " ");
	caller = ff_enter_as_owner();
	ff_query("SELECT id, occurred_at, actor, action, comment, version, NULL::text[], old_value, "
			 "new_value FROM ff.events WHERE namespace = $5 AND object = $2 AND key = $1 "
			 "AND ($4 IS NULL OR id > $4) ORDER BY id LIMIT $3",
			 true, arguments.count, arguments.types, arguments.values, arguments.nulls);
	put_events((ReturnSetInfo *) fcinfo->resultinfo);
	ff_leave(&caller);
	return (Datum) 0;
}
