/*
 * src/ff_document.c
 *	  Definitions as documents: reading them as the caller.
 *
 * The rule: who may see a definition is what GRANTs and policies of its table say, so it is read
 * by a query of the caller's.
 */
#include "ff_spi.h"
#include "ff_write.h"

#include "access/relation.h"
#include "catalog/pg_type_d.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rls.h"
#include "miscadmin.h"

void
ff_check_may_read(const FfTable *table)
{
	AclResult allowed = pg_class_aclcheck(table->relid, GetUserId(), ACL_SELECT);

	if (allowed != ACLCHECK_OK)
		aclcheck_error(allowed, OBJECT_TABLE, get_rel_name(table->relid));
}

bool
ff_may_audit(const FfTable *table, const char *key)
{
	bool sees = true;

	ff_check_may_read(table);
	if (check_enable_rls(table->relid, InvalidOid, true) == RLS_ENABLED)
	{
		SPI_connect();
		sees = ff_fetch_row(table, key, false);
		SPI_finish();
	}
	return sees;
}

/* ---------- all namespaces ---------- */

static Oid
owner_of_ours(void)
{
	Relation namespaces = ff_open_own("namespaces", AccessShareLock);
	Oid owner = namespaces->rd_rel->relowner;

	relation_close(namespaces, AccessShareLock);
	return owner;
}

/*
 * Whether reading a table runs nobody's code with the caller's rights: who reads a view of ours
 * names no table, so policies count only where they are by the owner of our tables.
 */
static bool
is_safe(Relation rel, Oid owner)
{
	return rel->rd_rel->relowner == owner ||
		   check_enable_rls(RelationGetRelid(rel), InvalidOid, true) != RLS_ENABLED;
}

static bool
has_columns(Relation rel, ffe_object object)
{
	FfTable table;

	ff_describe_result(&table, RelationGetDescr(rel), object);
	return table.missing == NULL;
}

/* While it is open, a relation stays the table that it is. */
static void
visit_table(const FfRegistration *space, ffe_object object, Oid owner, FfVisit visit, void *arg)
{
	Oid relid = object == FFE_FLAG ? space->flags : space->segments;
	Relation rel = ff_open_table(relid, true);

	if (rel == NULL)
		return;
	if (pg_class_aclcheck(relid, GetUserId(), ACL_SELECT) == ACLCHECK_OK &&
		has_columns(rel, object) && is_safe(rel, owner))
		visit(space, object, arg);
	relation_close(rel, AccessShareLock);
}

static int
compare_names(const ListCell *a, const ListCell *b)
{
	return strcmp(((const FfRegistration *) lfirst(a))->name,
				  ((const FfRegistration *) lfirst(b))->name);
}

void
ff_each_readable(FfVisit visit, void *arg)
{
	Oid owner = owner_of_ours();
	List *spaces = ff_list_registrations();
	ListCell *cell;

	list_sort(spaces, compare_names);
	foreach (cell, spaces)
	{
		visit_table(lfirst(cell), FFE_FLAG, owner, visit, arg);
		visit_table(lfirst(cell), FFE_SEGMENT, owner, visit, arg);
	}
}

/* ---------- one document ---------- */

bool
ff_fetch_row(const FfTable *table, const char *key, bool for_update)
{
	Oid types[] = {TEXTOID};
	Datum values[] = {CStringGetTextDatum(key)};
	char *sql = psprintf("SELECT * FROM ONLY %s WHERE key OPERATOR(pg_catalog.=) $1%s",
						 ff_relation_name(table->relid), for_update ? " FOR UPDATE" : "");

	if (SPI_execute_with_args(sql, 1, types, values, NULL, !for_update, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read relation %u", table->relid);
	return SPI_processed == 1;
}

Jsonb *
ff_fetched_document(const FfTable *table)
{
	FfTable columns;

	/* columns of the result: dropped ones of the table are not among them */
	ff_describe_result(&columns, SPI_tuptable->tupdesc, table->object);
	if (columns.missing != NULL)
		elog(ERROR, "the row has no %s", columns.missing);
	return ff_row_document(&columns, SPI_tuptable->vals[0], SPI_tuptable->tupdesc);
}

static Datum
fetch_document(FunctionCallInfo fcinfo, ffe_object object)
{
	Jsonb *document = NULL;
	FfTables tables;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	ff_named_tables(ff_optional_text(fcinfo, 1), &tables);
	SPI_connect();
	if (ff_fetch_row(&tables.table[object], text_to_cstring(PG_GETARG_TEXT_PP(0)), false))
		document = ff_keep_document(ff_fetched_document(&tables.table[object]));
	SPI_finish();
	if (document == NULL)
		PG_RETURN_NULL();
	PG_RETURN_JSONB_P(document);
}

Jsonb *
ff_keep_document(const Jsonb *document)
{
	return memcpy(SPI_palloc(VARSIZE(document)), document, VARSIZE(document));
}

PG_FUNCTION_INFO_V1(ff_flag);

Datum
ff_flag(PG_FUNCTION_ARGS)
{
	return fetch_document(fcinfo, FFE_FLAG);
}

PG_FUNCTION_INFO_V1(ff_segment);

Datum
ff_segment(PG_FUNCTION_ARGS)
{
	return fetch_document(fcinfo, FFE_SEGMENT);
}
