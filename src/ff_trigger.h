/*
 * src/ff_trigger.h
 *	  What the triggers of flag and segment tables share.
 */
#ifndef FF_TRIGGER_H
#define FF_TRIGGER_H

#include "ff_event.h"

#pragma GCC visibility push(hidden)

/* Refuses to run as anything but a trigger. */
extern TriggerData *ff_trigger_data(FunctionCallInfo fcinfo, const char *name);

/* The trigger's argument: whether the table holds flags or segments. */
extern ffe_object ff_trigger_object(const TriggerData *data);

/* Describes the trigger's table, or raises an error where it can't hold what it should. */
extern void ff_describe_own_table(FfTable *table, Relation rel, ffe_object object);

/* Refuses a row whose definition is wrong, or a document. */
extern void ff_check_definition(const FfTable *table, HeapTuple row, TupleDesc desc);
extern void ff_check_document(ffe_object object, Jsonb *document);

/* ff.allow_experiment_change (ff.c) */
extern bool ff_allow_experiment_change;

/* Refuses an update of a flag that changes who gets which variant of an active experiment. */
extern void ff_check_freeze(const FfTable *table, HeapTuple before, HeapTuple after,
							TupleDesc desc);

/* A column's value, by the document member that it holds. */
extern Datum ff_column(const FfTable *table, const char *name, HeapTuple row, TupleDesc desc,
					   bool *isnull);
extern bool ff_column_differs(const FfTable *table, const char *name, HeapTuple a, HeapTuple b,
							  TupleDesc desc);

/* The key of a row, which is not null. */
extern char *ff_row_key(const FfTable *table, HeapTuple row, TupleDesc desc);
extern int64 ff_row_version(const FfTable *table, HeapTuple row, TupleDesc desc);

/* Whether a change may leave others without what they refer to, or refer to something anew. */
extern bool ff_takes_something_away(const FfTable *table, const TriggerData *data);
extern bool ff_refers_anew(const FfTable *table, const TriggerData *data);

/* Notes what a row trigger is fired for. */
extern void ff_note_row(const FfTable *table, const TriggerData *data);

/* The row that may be deleted now, as "table's OID, key": ff_purge_flag sets it. NULL: none. */
extern const char *ff_purging;

#pragma GCC visibility pop

#endif /* FF_TRIGGER_H */
