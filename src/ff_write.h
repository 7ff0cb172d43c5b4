/*
 * src/ff_write.h
 *	  What the functions that change flags share.
 */
#ifndef FF_WRITE_H
#define FF_WRITE_H

#include "ff_event.h"

/* A flag is not of the version that its writer took it to be. */
#define FF_ERRCODE_VERSION_MISMATCH MAKE_SQLSTATE('5', '5', 'V', '0', '1')

typedef void (*FfVisit)(const FfRegistration *space, ffe_object object, void *arg);

#pragma GCC visibility push(hidden)

/* The target as a patch (an object) makes it (ff_patch.c). */
extern Jsonb *ff_merge_patch(Jsonb *target, Jsonb *patch);

/*
 * The names of the members that differ between two definitions (NULL: there is none), as text[];
 * what is kept by the triggers doesn't count.
 */
extern Datum ff_changed_members(Jsonb *old, Jsonb *new);

/* Refuses a caller who may not read all of a table. */
extern void ff_check_may_read(const FfTable *table);

/*
 * Whether the caller may know of an object's past: who may read all of a table may, or it is an
 * error; but what a policy hides has none.
 */
extern bool ff_may_audit(const FfTable *table, const char *key);

/*
 * Visits the tables that the caller may read, and can read without running the code of others: by
 * namespace, flags first.
 */
extern void ff_each_readable(FfVisit visit, void *arg);

/* Refuses a key that there is not. */
extern void ff_report_not_found(ffe_object object, const char *key, const char *name_space);

/* Whether the caller sees a row under the table's policies. SPI must be connected. */
extern bool ff_fetch_row(const FfTable *table, const char *key, bool for_update);

/* The row that ff_fetch_row, or a statement with RETURNING *, has left in SPI_tuptable. */
extern Jsonb *ff_fetched_document(const FfTable *table);

/* A copy that outlives SPI_finish. */
extern Jsonb *ff_keep_document(const Jsonb *document);

#pragma GCC visibility pop

#endif /* FF_WRITE_H */
