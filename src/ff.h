/*
 * src/ff.h
 *	  What the extension's files share.
 */
#ifndef FF_H
#define FF_H

#include "postgres.h"

#include "access/attnum.h"
#include "access/htup.h"
#include "access/tupdesc.h"
#include "fmgr.h"
#include "nodes/pg_list.h"
#include "storage/itemptr.h"
#include "utils/jsonb.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

#include "engine/ffe.h"
#include "ff_compat.h"

/* What is declared from here on is nobody else's: no detour by the table of dynamic symbols. */
#pragma GCC visibility push(hidden)

/* ---------- settings (ff.c) ---------- */

extern char *ff_namespace;          /* ff.namespace */
extern uint64 ff_namespace_changes; /* how often it was set */
extern int ff_cache_size;           /* ff.cache_size, in kB */

/* ---------- jsonb (ff_jsonb.c) ---------- */

/* The engine's reader over jsonb. Values are copied as complete jsonb datums. */
extern const ffe_reader ff_jsonb_reader;

/* The root of a jsonb, which must be detoasted. */
extern ffe_node ff_jsonb_node(Jsonb *jsonb);

/* The member of a node; kind FFE_MISSING where it is none, or the node no object. */
extern ffe_node ff_jsonb_member(const ffe_node *object, const char *name);

/* ---------- tables (ff_table.c) ---------- */

#define FF_MAX_COLUMNS 20

/* A flag or segment table, as it was when it was looked at. */
typedef struct FfTable
{
	Oid relid;
	Oid index; /* the unique index on key */
	ffe_object object;
	AttrNumber columns[FF_MAX_COLUMNS]; /* by the order of ff_table.c's names */
	const char *missing;                /* what it lacks to be used, or NULL */
	bool may_wait; /* for locks, as every statement does; evaluation does not */
} FfTable;

/*
 * Which version of a row something was read from. cmin counts while the transaction that made the
 * version is this one: it can empty a table that it made in place, so that the same file has the
 * next row where the last one was.
 */
typedef struct FfRowId
{
	Oid file;
	TransactionId xmin;
	CommandId cmin;
	ItemPointerData tid;
} FfRowId;

/* The tables of a namespace. */
typedef struct FfTables
{
	FfTable table[2]; /* by ffe_object */
} FfTables;

/*
 * Finds the tables of a namespace as it is now; false when there is no such namespace, or ff is not
 * there, or can't be read without waiting for longer than evaluation may.
 */
extern bool ff_find_tables(const char *name, bool may_wait, Oid *flags, Oid *segments);

/* The longest name of a namespace, in bytes: a channel and its tables are named after it. */
#define FF_MAX_NAMESPACE 54

/* A row of ff.namespaces. */
typedef struct FfRegistration
{
	char name[FF_MAX_NAMESPACE + 1];
	Oid flags;
	Oid segments;
} FfRegistration;

/* Column i (from 0) of a table's shape; NULL at the end. */
extern const char *ff_column_name(ffe_object object, int i);

/* Finds the namespace that a table belongs to; false, or an error, when it belongs to none. */
extern bool ff_is_registered(Oid relid, FfRegistration *out);
extern void ff_find_registration(Oid relid, FfRegistration *out);

/* All namespaces, as a list of FfRegistration; an error where there is no ff.namespaces. */
extern List *ff_list_registrations(void);

/* Finds a namespace one of whose tables is gone; false when there is none. */
extern bool ff_find_orphan(FfRegistration *out);

/* The tables of a namespace (NULL: the setting), or an error for the caller. */
extern void ff_named_tables(const char *name, FfTables *tables);

/* Finds out columns and index. */
extern void ff_describe_table(FfTable *table, Oid relid, ffe_object object, bool may_wait);
extern void ff_describe_relation(FfTable *table, Relation rel, ffe_object object);

/* All that a relation lacks to hold flags or segments, in words; NULL: nothing. */
extern char *ff_missing_parts(Relation rel, ffe_object object);

/* Finds out the columns of a query's result, for ff_row_document. */
extern void ff_describe_result(FfTable *table, TupleDesc desc, ffe_object object);

/* The column of a member of the document. */
extern AttrNumber ff_table_column(const FfTable *table, const char *name);

/*
 * Opens a table to read it; NULL when it is gone or can't be read here, or, where it may not be
 * waited for, stays locked for too long.
 */
extern Relation ff_open_table(Oid relid, bool may_wait);

/* A row as a document. */
extern Jsonb *ff_row_document(const FfTable *table, HeapTuple row, TupleDesc desc);

typedef enum FfLoad
{
	FF_LOAD_MISSING,
	FF_LOAD_UNCHANGED,
	FF_LOAD_LOADED,
	FF_LOAD_NOT_READY
} FfLoad;

/*
 * Reads a row under a snapshot and puts its compiled form into the set, or removes what the set
 * has when there is no row. Nothing is done when the row is the one that rowid names.
 */
extern FfLoad ff_load(const FfTable *table, ffe_set *set, uint32 id, Snapshot snapshot,
					  FfRowId *rowid);

extern FfRowId ff_row_id(Relation rel, HeapTuple row);
extern bool ff_same_row(const FfRowId *a, const FfRowId *b);

/* Compiles a row that was read, into the set. */
extern void ff_load_row(const FfTable *table, ffe_set *set, uint32 id, HeapTuple row,
						TupleDesc desc);

/* Loads an object and all that it depends on into a set of its own. */
extern void ff_load_closure(const FfTables *tables, ffe_set *set, uint32 id, Snapshot snapshot);

/* An allocator over a memory context. */
extern ffe_alloc ff_allocator(MemoryContext context);

/* ---------- cache (ff_cache.c) ---------- */

typedef struct FfNamespace FfNamespace;

/* What a call site remembers between calls. */
typedef struct FfSite
{
	FfNamespace *space;
	uint64 serial;  /* of the cache when it was looked up; 0: never */
	uint64 setting; /* ff_namespace_changes then */
	char *name;     /* the namespace argument; NULL: none */
	uint32 id;
	bool reads_context; /* after ff_cache_ready: it or something it depends on does */
	uint32 key_len;
	char key[FFE_MAX_KEY + 1];
} FfSite;

/* Grows when ids lose their meaning. */
extern uint64 ff_cache_serial;

/*
 * Finds the namespace and the key for a site, whose name is set. FFE_OK, or why it can't be
 * evaluated.
 */
extern ffe_status ff_cache_find(FfSite *site, const char *key, uint32 key_len);

/* Whether what was found still holds. */
static inline bool
ff_cache_site_is_current(const FfSite *site)
{
	return site->serial == ff_cache_serial && site->setting == ff_namespace_changes;
}

/*
 * Makes the flag that the site stands for ready to be evaluated under the active snapshot, with all
 * that it depends on. FFE_OK, or why it can't be evaluated.
 */
extern ffe_status ff_cache_ready(FfSite *site);

/* Makes every flag of a namespace ready; their ids by key. */
extern ffe_status ff_cache_all(const char *name, FfNamespace **space, uint32 **ids, uint32 *count);

extern ffe_set *ff_cache_set(FfNamespace *space);
extern const char *ff_cache_name(const FfNamespace *space);
extern ffe_state *ff_cache_state(void);

/* The row of ff_evaluate_all that a result makes. */
typedef struct FfAnswer
{
	int32 variant;
	int32 rule;
	ffe_reason reason;
	MinimalTuple row; /* NULL: not formed yet */
} FfAnswer;

#define FF_ANSWERS 4 /* kept for each flag */

extern FfAnswer *ff_cache_answer(FfNamespace *space, uint32 id, const ffe_result *result);
extern void ff_cache_keep_answer(FfNamespace *space, FfAnswer *answer, const ffe_result *result,
								 MinimalTuple row);

extern char *ff_cache_problem(const FfNamespace *space, ffe_status status);

/* ---------- functions ---------- */

/* What takes a timestamptz to microseconds since 1970, as the engine counts. */
#define FF_EPOCH_SHIFT ((POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY)

/* The statement's time as the engine counts it. */
extern int64 ff_statement_time(void);

/*
 * Checks what a changed object of a table refers to, unless it is new also whether it makes a chain
 * too long, and, where asked, what refers to it; raises an error (ff_check.c). Returns the number
 * of the newest event: while that stays the newest, the answer stays, too.
 */
extern int64 ff_check_object(const FfTable *own, const char *key, bool is_new,
							 bool check_dependents);

#pragma GCC visibility pop

#endif /* FF_H */
