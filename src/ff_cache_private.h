/*
 * src/ff_cache_private.h
 *	  What the two files of the cache share: namespaces and their entries.
 */
#ifndef FF_CACHE_PRIVATE_H
#define FF_CACHE_PRIVATE_H

#include "ff_stamp.h"

/* What the cache knows of an object of a set, beside its document. */
typedef struct FfEntry
{
	FfStamp row;         /* when its own row was checked */
	FfWideStamp closure; /* when it and all it depends on were */
	FfRowId rowid;
	uint32 size;        /* bytes of the document, as counted in cached_bytes */
	FfAnswer *answers;  /* rows formed of its results; FF_ANSWERS of them, or NULL */
	uint32 walk;        /* the last walk that came by */
	bool not_ready;     /* the table could not be read */
	bool reads_context; /* it or something it depends on looks at the context */
	bool used;          /* since the clock's hand passed */
	TimestampTz noted;  /* when its evaluation was noted last */
} FfEntry;

/*
 * That a table could not be read: remembered for the rest of the statement, because finding out can
 * take as long as a lock is waited for, and a statement asks for each of its rows.
 */
typedef struct FfFailure
{
	bool set;
	FfSnapKey snap;
	TimestampTz statement;
} FfFailure;

struct FfNamespace
{
	char *name;
	MemoryContext context; /* set and entries */
	FfTables tables;
	uint64 generation; /* when tables were looked up */
	bool exists;
	bool may_evaluate; /* the answer for role, at acl_generation */
	Oid role;
	uint64 acl_generation;
	ffe_set *set;
	FfEntry *entries; /* by id */
	uint32 nentries;
	uint32 clock;                          /* where eviction goes on */
	uint64 contents;                       /* grows when a document is replaced or dropped */
	FfFailure failures[2];                 /* by ffe_object */
	AttrNumber columns[2][FF_MAX_COLUMNS]; /* that documents were read by */
	FfWideStamp all;                       /* when the list of all flags was made */
	uint32 *all_ids;
	uint32 all_count;
	FfNamespace *next;
};

/* Counters, for ff_cache_info(). */
typedef struct FfCounts
{
	uint64 hits;
	uint64 checks;
	uint64 loads;
	uint64 evictions;
} FfCounts;

#pragma GCC visibility push(hidden)

extern FfNamespace *ff_namespaces;
extern FfCounts ff_counts;

/* Bytes of documents and of rows formed of them. */
extern uint64 ff_cached_bytes;

extern FfNamespace *ff_find_namespace(const char *name);
extern void ff_keep_within_limit(void);
extern uint64 ff_total_bytes(void);

/* What every look-up begins with: tables found, and the role may evaluate. */
extern ffe_status ff_begin(FfNamespace *space, const FfSnapKey *now);

extern bool ff_has_failed(const FfNamespace *space, ffe_object object, const FfSnapKey *now);
extern void ff_note_failure(FfNamespace *space, ffe_object object, const FfSnapKey *now);

/* Makes entries for all ids of the set; false without memory. */
extern bool ff_grow_entries(FfNamespace *space);

/* Keeps the account of an entry's document, after it was replaced or dropped. */
extern void ff_account(FfNamespace *space, uint32 id);

/* Notes that a flag is evaluated, with all that it depends on (see ff_usage.c). */
extern void ff_note_evaluation(FfNamespace *space, uint32 id);

/* Checks an object and all that it depends on. */
extern ffe_status ff_check_closure(FfNamespace *space, uint32 root, const FfSnapKey *now);

#pragma GCC visibility pop

#endif /* FF_CACHE_PRIVATE_H */
