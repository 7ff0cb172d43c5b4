/*
 * src/ff_grant.c
 *	  ff_grant and ff_revoke: privileges by what they are for.
 *
 * The rule: these only spell out plain GRANTs and REVOKEs, and run them as the caller. What a role
 * may do is what PostgreSQL says of the tables, whoever has granted it and how.
 */
#include "ff_spi.h"

#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

/* What a privilege consists of on the tables; each includes those before it. */
typedef struct FfPrivilege
{
	const char *name;
	const char *flags;    /* on the flag table */
	const char *segments; /* on the segment table, or NULL */
} FfPrivilege;

static const FfPrivilege privileges[] = {{"evaluate", "SELECT (key)", NULL},
										 {"read", "SELECT", "SELECT"},
										 {"write", "INSERT, UPDATE", "INSERT, UPDATE"},
										 {"admin", "DELETE", "DELETE"}};

static int
find_privilege(const char *name)
{
	for (int i = 0; i < (int) lengthof(privileges); i++)
	{
		if (strcmp(privileges[i].name, name) == 0)
			return i;
	}
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("unrecognized privilege \"%s\"", name),
					errhint("Privileges are evaluate, read, write and admin.")));
}

/* The role as GRANT wants it; "public" is everybody, as it is there. */
static const char *
role_name(const char *name)
{
	if (pg_strcasecmp(name, "public") == 0)
		return "PUBLIC";
	(void) get_role_oid(name, false);
	return quote_identifier(name);
}

static void
change_one(bool grants, const char *what, const char *on, const char *role)
{
	ff_run(psprintf(grants ? "GRANT %s ON %s TO %s" : "REVOKE %s ON %s FROM %s", what, on, role));
}

/* Privilege number i, on both tables. */
static void
change_privilege(bool grants, int i, const FfTables *tables, const char *role)
{
	const char *const what[2] = {privileges[i].flags, privileges[i].segments};

	for (int object = FFE_FLAG; object <= FFE_SEGMENT; object++)
	{
		if (what[object] != NULL)
			change_one(grants, what[object], ff_relation_name(tables->table[object].relid), role);
	}
}

/* A schema of the user's has to be open, too; ours is. */
static void
open_schemas(const FfTables *tables, const char *role)
{
	for (int object = FFE_FLAG; object <= FFE_SEGMENT; object++)
	{
		char *schema = get_namespace_name(get_rel_namespace(tables->table[object].relid));

		if (strcmp(schema, "ff") != 0)
			change_one(true, "USAGE", psprintf("SCHEMA %s", quote_identifier(schema)), role);
	}
}

static Datum
change(FunctionCallInfo fcinfo, bool grants)
{
	const char *role;
	FfTables tables;
	int wanted;

	role = role_name(ff_required_text(fcinfo, 0, "the role"));
	wanted = find_privilege(ff_required_text(fcinfo, 1, "the privilege"));
	ff_named_tables(ff_optional_text(fcinfo, 2), &tables);
	SPI_connect();
	if (grants)
		open_schemas(&tables, role);
	for (int i = 0; i < (int) lengthof(privileges); i++)
	{
		if (grants ? i <= wanted : i >= wanted)
			change_privilege(grants, i, &tables, role);
	}

	/* taking SELECT from a table takes it from the columns, too */
	if (!grants && wanted == 1)
		change_privilege(true, 0, &tables, role);
	SPI_finish();
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(ff_grant);

Datum
ff_grant(PG_FUNCTION_ARGS)
{
	return change(fcinfo, true);
}

PG_FUNCTION_INFO_V1(ff_revoke);

Datum
ff_revoke(PG_FUNCTION_ARGS)
{
	return change(fcinfo, false);
}
