/*
 * src/ff_spi.h
 *	  Running SQL: as the caller, or as the owner of our tables.
 *
 * The rule: what runs as the owner runs with a search_path that nobody else can put anything into.
 * What runs as the caller keeps his, because triggers of his may rely on it; so each name and
 * operator in it is qualified.
 */
#ifndef FF_SPI_H
#define FF_SPI_H

#include "ff_event.h"

#include "executor/spi.h"

typedef struct FfCaller
{
	Oid role;
	int context;
	int nesting; /* of settings */
} FfCaller;

#pragma GCC visibility push(hidden)

/* What is done until ff_leave() is done by the owner of our tables, with SPI at hand. */
extern FfCaller ff_enter_as_owner(void);
extern void ff_leave(const FfCaller *caller);

/* Runs a statement for its effect. */
extern void ff_run(const char *sql);

/*
 * Runs a statement and leaves its rows in SPI_tuptable; null arguments are those with an 'n' in
 * nulls. One that only reads goes by the snapshot of the statement that called us.
 */
extern void ff_query(const char *sql, bool only_reads, int nargs, Oid *types, Datum *values,
					 const char *nulls);

/*
 * As the owner: key, version and document of what is in a table by the log, and not by the table
 * (ff_register.c).
 */
extern void ff_query_absent(const FfTable *table, const char *space);

/* The qualified and quoted name of a relation. */
extern char *ff_relation_name(Oid relid);

/* A text argument as a string, NULL where it is null; one that must not be. */
extern char *ff_optional_text(FunctionCallInfo fcinfo, int arg);
extern char *ff_required_text(FunctionCallInfo fcinfo, int arg, const char *name);

#pragma GCC visibility pop

#endif /* FF_SPI_H */
