/*
 * src/ff_spi.c
 *	  Running SQL; the rule is in ff_spi.h.
 */
#include "ff_spi.h"

#include "access/table.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"

FfCaller
ff_enter_as_owner(void)
{
	FfCaller caller;
	Relation namespaces = ff_open_own("namespaces", AccessShareLock);

	GetUserIdAndSecContext(&caller.role, &caller.context);
	SetUserIdAndSecContext(namespaces->rd_rel->relowner,
						   caller.context | SECURITY_LOCAL_USERID_CHANGE);
	table_close(namespaces, AccessShareLock);
	caller.nesting = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	SPI_connect();
	return caller;
}

void
ff_leave(const FfCaller *caller)
{
	SPI_finish();
	AtEOXact_GUC(true, caller->nesting);
	SetUserIdAndSecContext(caller->role, caller->context);
}

void
ff_run(const char *sql)
{
	if (SPI_execute(sql, false, 0) < 0)
		elog(ERROR, "could not run: %s", sql);
}

void
ff_query(const char *sql, bool only_reads, int nargs, Oid *types, Datum *values, const char *nulls)
{
	if (SPI_execute_with_args(sql, nargs, types, values, nulls, only_reads, 0) < 0 ||
		SPI_tuptable == NULL)
		elog(ERROR, "could not run: %s", sql);
}

char *
ff_relation_name(Oid relid)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
									  get_rel_name(relid));
}

char *
ff_optional_text(FunctionCallInfo fcinfo, int arg)
{
	return PG_ARGISNULL(arg) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(arg));
}

char *
ff_required_text(FunctionCallInfo fcinfo, int arg, const char *name)
{
	if (PG_ARGISNULL(arg))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s must not be null", name)));
	return text_to_cstring(PG_GETARG_TEXT_PP(arg));
}
