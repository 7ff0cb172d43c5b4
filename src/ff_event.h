/*
 * src/ff_event.h
 *	  The event log: noting changes, writing them at commit, and reading what was written.
 */
#ifndef FF_EVENT_H
#define FF_EVENT_H

#include "ff.h"

#include "commands/trigger.h"
#include "common/sha2.h"
#include "datatype/timestamp.h"
#include "utils/timestamp.h"

/* Columns of ff.events, in order. */
typedef enum FfEventColumn
{
	FF_EVENT_ID,
	FF_EVENT_OCCURRED_AT,
	FF_EVENT_NAMESPACE,
	FF_EVENT_OBJECT,
	FF_EVENT_KEY,
	FF_EVENT_ACTION,
	FF_EVENT_ACTOR,
	FF_EVENT_SESSION_ROLE,
	FF_EVENT_CLIENT_ADDRESS,
	FF_EVENT_APPLICATION_NAME,
	FF_EVENT_COMMENT,
	FF_EVENT_VERSION,
	FF_EVENT_OLD_VALUE,
	FF_EVENT_NEW_VALUE,
	FF_EVENT_HASH,
	FF_EVENT_COLUMNS
} FfEventColumn;

#define FF_HASH_BYTES PG_SHA256_DIGEST_LENGTH

/* The newest event of a log, which the next one continues. id 0: there is none. */
typedef struct FfHead
{
	int64 id;
	TimestampTz occurred_at;
	uint8 hash[FF_HASH_BYTES];
} FfHead;

/*
 * What is remembered of a change from the statement that makes it to the commit that records it:
 * who made it and why, as they were said then.
 */
typedef struct FfChange
{
	struct
	{
		Oid relid;
		ItemPointerData tid;
		uint16 is_delete;
	} key;
	SubTransactionId subtransaction;
	bool copied;                  /* from another database, and so are its events */
	const char *actor;            /* NULL: the session user */
	const char *comment;          /* NULL: none */
	int64 checked;                /* the head when references were checked; -1: they were not */
	SubTransactionId recorded_in; /* the one that wrote its event; invalid: there is none yet */
	const char *deleted_key;      /* of a row that was deleted, else NULL */
	int64 deleted_version;
} FfChange;

#define FF_NOT_CHECKED (-1)

#pragma GCC visibility push(hidden)

/* ---------- settings (ff.c) ---------- */

extern char *ff_actor;   /* ff.actor */
extern char *ff_comment; /* ff.comment */
extern bool ff_notify;   /* ff.notify */

/* ---------- changes under way (ff_event.c) ---------- */

extern void ff_event_init(void);

/*
 * Remembers a change for its event, or that it has none because the row is copied; of a row that is
 * deleted also key and version. What is remembered already stays as it is.
 */
extern void ff_note_change(const TriggerData *data, bool copied, const char *deleted_key,
						   int64 deleted_version);

/* What was remembered of it, or NULL. */
extern FfChange *ff_find_change(const TriggerData *data);

/* The event of a change is written, unless this subtransaction is rolled back. */
extern void ff_mark_recorded(FfChange *change);

/* The last version that a key had in a table before this transaction deleted it; 0: it didn't. */
extern int64 ff_deleted_version(Oid relid, const char *key);

/* Whether this transaction has changes without events yet. */
extern bool ff_has_changes(void);

/* ---------- the log (ff_event.c) ---------- */

/* The newest event that a snapshot sees. */
extern void ff_read_head(Snapshot snapshot, FfHead *head);

/*
 * Makes the log stand still until this transaction ends. Returns the number of the newest event
 * that is another transaction's.
 */
extern int64 ff_lock_events(void);

/* The last event that this transaction has written; false: it has written none. */
extern bool ff_read_own_head(FfHead *head);

/* An event to be written; strings and documents may be NULL. */
typedef struct FfEvent
{
	const char *name_space;
	ffe_object object;
	const char *key;
	const char *action;
	const char *actor;
	const char *comment;
	int64 version;
	Jsonb *old_value;
	Jsonb *new_value;
} FfEvent;

/* Appends an event and wakes up who listens. The log must be locked. */
extern void ff_write_event(const FfEvent *event);

/* The hash of a row of ff.events, which follows one with hash `previous`. */
extern void ff_hash_event(const uint8 *previous, const Datum *values, const bool *nulls,
						  uint8 *hash);

/*
 * The newest event of an object: its columns, as copies; false when it has none. Anything but
 * FF_EVENT_COLUMNS columns in ff.events is an error.
 */
extern bool ff_read_last_event(const char *name_space, ffe_object object, const char *key,
							   Snapshot snapshot, Datum *values, bool *nulls);

/* The version that an object's newest event has, of all that are committed; 0: it has none. */
extern int64 ff_last_version(const char *name_space, ffe_object object, const char *key);

/* The event with a number, likewise. */
extern bool ff_read_event(int64 id, Snapshot snapshot, Datum *values, bool *nulls);

/* The columns of a row of ff.events. */
extern void ff_read_event_row(HeapTuple row, TupleDesc desc, Datum *values, bool *nulls);

/* Opens a table of schema ff to read it, or raises an error; ff.events with all of its columns. */
extern Relation ff_open_own_index(const char *name, LOCKMODE lockmode);
extern Relation ff_open_own(const char *name, LOCKMODE lockmode);
extern Relation ff_open_events(void);

/* "flag" or "segment". */
extern const char *ff_object_word(ffe_object object);

#pragma GCC visibility pop

#endif /* FF_EVENT_H */
