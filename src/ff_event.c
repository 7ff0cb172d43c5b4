/*
 * src/ff_event.c
 *	  The event log, ff.events: numbers without gaps, in the order of commits.
 *
 * The rule: who writes an event holds one lock from before the last number is read until the
 * transaction has ended. Locks go after a commit has become visible, so whoever sees number n sees
 * all below it, and a number that is rolled back was never seen. The lock is taken at commit, by a
 * deferred trigger: a long transaction that changed a flag keeps nobody waiting. What belongs to
 * the moment of the change (who made it, and why) is therefore noted then, and kept until commit.
 *
 * Each event has a hash over itself and the hash of the one before it: see ff_hash_event.
 */
#include "ff_event.h"

#include "access/genam.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type_d.h"
#include "commands/async.h"
#include "common/cryptohash.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* ---------- changes under way ---------- */

/* By relation and row version; in TopTransactionContext, NULL where there are none. */
static HTAB *changes = NULL;

/* The strings noted last: statements that change many rows have them once. */
static const char *noted_actor = NULL;
static const char *noted_comment = NULL;

/* Whether this transaction has deleted rows: the search for their versions is a scan. */
static bool any_deleted = false;

static void
end_transaction(XactEvent event, void *arg)
{
	(void) event;
	(void) arg;
	changes = NULL;
	noted_actor = noted_comment = NULL;
	any_deleted = false;
}

/*
 * Takes back what a subtransaction noted and recorded that is rolled back: it, and those in it,
 * began last. A change from before whose event it wrote (SET CONSTRAINTS) is to be recorded again.
 */
static void
end_subtransaction(SubXactEvent event, SubTransactionId id, SubTransactionId parent, void *arg)
{
	HASH_SEQ_STATUS scan;
	FfChange *change;

	(void) parent;
	(void) arg;
	if (event != SUBXACT_EVENT_ABORT_SUB || changes == NULL)
		return;
	hash_seq_init(&scan, changes);
	while ((change = hash_seq_search(&scan)) != NULL)
	{
		if (change->subtransaction >= id)
			(void) hash_search(changes, &change->key, HASH_REMOVE, NULL);
		else if (change->recorded_in >= id)
			change->recorded_in = InvalidSubTransactionId;
	}
}

void
ff_event_init(void)
{
	RegisterXactCallback(end_transaction, NULL);
	RegisterSubXactCallback(end_subtransaction, NULL);
}

static void
make_key(const TriggerData *data, FfChange *change)
{
	bool is_delete = TRIGGER_FIRED_BY_DELETE(data->tg_event);
	HeapTuple row =
		TRIGGER_FIRED_BY_UPDATE(data->tg_event) ? data->tg_newtuple : data->tg_trigtuple;

	memset(&change->key, 0, sizeof(change->key));
	change->key.relid = RelationGetRelid(data->tg_relation);
	change->key.tid = row->t_self;
	change->key.is_delete = is_delete;
}

/* A setting as it is now, or what was noted last where that is the same. NULL for an empty one. */
static const char *
note(const char **noted, const char *setting)
{
	if (setting == NULL || setting[0] == '\0')
		return NULL;
	if (*noted == NULL || strcmp(*noted, setting) != 0)
		*noted = MemoryContextStrdup(TopTransactionContext, setting);
	return *noted;
}

void
ff_note_change(const TriggerData *data, bool copied, const char *deleted_key, int64 deleted_version)
{
	FfChange change, *entry;
	bool found;

	if (changes == NULL)
	{
		HASHCTL control = {.keysize = sizeof(change.key),
						   .entrysize = sizeof(FfChange),
						   .hcxt = TopTransactionContext};

		changes = hash_create("ff changes", 64, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	make_key(data, &change);
	entry = hash_search(changes, &change.key, HASH_ENTER, &found);

	/* it was recorded already, by a trigger of the user's that sets constraints */
	if (found)
		return;
	entry->copied = copied;
	entry->subtransaction = GetCurrentSubTransactionId();
	entry->actor = note(&noted_actor, ff_actor);
	entry->comment = note(&noted_comment, ff_comment);
	entry->checked = FF_NOT_CHECKED;
	entry->recorded_in = InvalidSubTransactionId;
	entry->deleted_key =
		deleted_key == NULL ? NULL : MemoryContextStrdup(TopTransactionContext, deleted_key);
	entry->deleted_version = deleted_version;
	any_deleted = any_deleted || deleted_key != NULL;
}

FfChange *
ff_find_change(const TriggerData *data)
{
	FfChange change;

	if (changes == NULL)
		return NULL;
	make_key(data, &change);
	return hash_search(changes, &change.key, HASH_FIND, NULL);
}

void
ff_mark_recorded(FfChange *change)
{
	change->recorded_in = GetCurrentSubTransactionId();
}

bool
ff_has_changes(void)
{
	HASH_SEQ_STATUS scan;
	FfChange *change;

	if (changes == NULL)
		return false;
	hash_seq_init(&scan, changes);
	while ((change = hash_seq_search(&scan)) != NULL)
	{
		if (change->recorded_in == InvalidSubTransactionId && !change->copied)
		{
			hash_seq_term(&scan);
			return true;
		}
	}
	return false;
}

int64
ff_deleted_version(Oid relid, const char *key)
{
	HASH_SEQ_STATUS scan;
	FfChange *change;
	int64 version = 0;

	if (changes == NULL || !any_deleted)
		return version;
	hash_seq_init(&scan, changes);
	while ((change = hash_seq_search(&scan)) != NULL)
	{
		if (change->deleted_key != NULL && change->key.relid == relid &&
			strcmp(change->deleted_key, key) == 0)
			version = Max(version, change->deleted_version);
	}
	return version;
}

/* ---------- reading the log ---------- */

static const Oid column_types[FF_EVENT_COLUMNS] = {INT8OID,  TIMESTAMPTZOID, TEXTOID, TEXTOID,
												   TEXTOID,  TEXTOID,        TEXTOID, TEXTOID,
												   INETOID,  TEXTOID,        TEXTOID, INT8OID,
												   JSONBOID, JSONBOID,       BYTEAOID};

/* The OID of one of our relations. */
static Oid
our_relation(const char *name)
{
	Oid schema = get_namespace_oid("ff", true);
	Oid relid = OidIsValid(schema) ? get_relname_relid(name, schema) : InvalidOid;

	if (!OidIsValid(relid))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("relation \"ff.%s\" does not exist", name),
						errhint("The extension is damaged; create it anew.")));
	return relid;
}

Relation
ff_open_own_index(const char *name, LOCKMODE lockmode)
{
	return index_open(our_relation(name), lockmode);
}

Relation
ff_open_own(const char *name, LOCKMODE lockmode)
{
	return table_open(our_relation(name), lockmode);
}

Relation
ff_open_events(void)
{
	Relation rel = ff_open_own("events", AccessShareLock);

	for (int i = 0; i < FF_EVENT_COLUMNS; i++)
	{
		TupleDesc desc = RelationGetDescr(rel);

		if (i >= desc->natts || TupleDescAttr(desc, i)->attisdropped ||
			TupleDescAttr(desc, i)->atttypid != column_types[i])
			ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
							errmsg("table \"ff.events\" was altered"),
							errdetail("Its column %d is not what the extension made.", i + 1)));
	}
	return rel;
}

void
ff_read_event_row(HeapTuple row, TupleDesc desc, Datum *values, bool *nulls)
{
	for (int i = 0; i < FF_EVENT_COLUMNS; i++)
		values[i] = heap_getattr(row, i + 1, desc, &nulls[i]);
}

/*
 * Copies the columns of the last row of an index that a snapshot sees and the keys fit; false when
 * there is none.
 */
static bool
read_last(const char *index_name, Snapshot snapshot, int nkeys, ScanKey keys, Datum *values,
		  bool *nulls)
{
	Relation rel = ff_open_events();
	Relation index = ff_open_own_index(index_name, AccessShareLock);
	SysScanDesc scan = systable_beginscan_ordered(rel, index, snapshot, nkeys, keys);
	HeapTuple row = systable_getnext_ordered(scan, BackwardScanDirection);
	bool found = HeapTupleIsValid(row);

	if (found)
		ff_read_event_row(heap_copytuple(row), RelationGetDescr(rel), values, nulls);
	systable_endscan_ordered(scan);
	index_close(index, AccessShareLock);
	table_close(rel, AccessShareLock);
	return found;
}

void
ff_read_head(Snapshot snapshot, FfHead *head)
{
	Datum values[FF_EVENT_COLUMNS];
	bool nulls[FF_EVENT_COLUMNS];
	bytea *hash;

	memset(head, 0, sizeof(*head));
	if (!read_last("events_pkey", snapshot, 0, NULL, values, nulls))
		return;
	if (nulls[FF_EVENT_ID] || nulls[FF_EVENT_OCCURRED_AT] || nulls[FF_EVENT_HASH])
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED), errmsg("the last event is damaged"),
				 errhint("SELECT * FROM ff_verify_events() says what is wrong with the log.")));
	hash = DatumGetByteaPP(values[FF_EVENT_HASH]);
	head->id = DatumGetInt64(values[FF_EVENT_ID]);
	head->occurred_at = DatumGetTimestampTz(values[FF_EVENT_OCCURRED_AT]);
	memcpy(head->hash, VARDATA_ANY(hash), Min(VARSIZE_ANY_EXHDR(hash), FF_HASH_BYTES));
}

bool
ff_read_last_event(const char *name_space, ffe_object object, const char *key, Snapshot snapshot,
				   Datum *values, bool *nulls)
{
	const char *strings[] = {name_space, ff_object_word(object), key};
	ScanKeyData keys[3];

	for (int i = 0; i < 3; i++)
		ScanKeyInit(&keys[i], (AttrNumber) (FF_EVENT_NAMESPACE + 1 + i), BTEqualStrategyNumber,
					F_TEXTEQ, CStringGetTextDatum(strings[i]));
	return read_last("events_by_key", snapshot, 3, keys, values, nulls);
}

int64
ff_last_version(const char *name_space, ffe_object object, const char *key)
{
	Datum values[FF_EVENT_COLUMNS];
	bool nulls[FF_EVENT_COLUMNS];
	int64 version = 0;

	PushActiveSnapshot(GetLatestSnapshot());
	if (ff_read_last_event(name_space, object, key, GetActiveSnapshot(), values, nulls))
		version = DatumGetInt64(values[FF_EVENT_VERSION]);
	PopActiveSnapshot();
	return version;
}

bool
ff_read_event(int64 id, Snapshot snapshot, Datum *values, bool *nulls)
{
	ScanKeyData key;

	ScanKeyInit(&key, FF_EVENT_ID + 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(id));
	return read_last("events_pkey", snapshot, 1, &key, values, nulls);
}

/* ---------- hashes ---------- */

/* A column's text form, from which its part of the hash is made. */
static const char *
column_text(int column, Datum datum, int *len)
{
	char *string;

	switch (column)
	{
		case FF_EVENT_ID:
		case FF_EVENT_VERSION:
			string = psprintf(INT64_FORMAT, DatumGetInt64(datum));
			break;
		case FF_EVENT_OCCURRED_AT:
			string = psprintf(INT64_FORMAT, DatumGetTimestampTz(datum) + FF_EPOCH_SHIFT);
			break;
		case FF_EVENT_CLIENT_ADDRESS:
			string = DatumGetCString(DirectFunctionCall1(inet_out, datum));
			break;
		case FF_EVENT_OLD_VALUE:
		case FF_EVENT_NEW_VALUE:
			string = JsonbToCString(NULL, &DatumGetJsonbP(datum)->root, 0);
			break;
		default:
			string = TextDatumGetCString(datum);
			break;
	}
	*len = (int) strlen(string);
	return string;
}

static void
digest(pg_cryptohash_ctx *ctx, const void *data, size_t len)
{
	if (pg_cryptohash_update(ctx, data, len) < 0)
		elog(ERROR, "could not compute a hash: %s", pg_cryptohash_error(ctx));
}

/*
 * SHA-256 over the hash of the row before (32 zero bytes for the first), then each column but the
 * hash in order: "N," for null, else its length in bytes, ":", its text, ",". Numbers are decimal,
 * the time is in microseconds since 1970, addresses and documents are as PostgreSQL prints them.
 */
void
ff_hash_event(const uint8 *previous, const Datum *values, const bool *nulls, uint8 *hash)
{
	MemoryContext scratch =
		AllocSetContextCreate(CurrentMemoryContext, "ff hash", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(scratch);
	pg_cryptohash_ctx *ctx = pg_cryptohash_create(PG_SHA256);

	if (ctx == NULL || pg_cryptohash_init(ctx) < 0)
		elog(ERROR, "could not compute a hash");
	digest(ctx, previous, FF_HASH_BYTES);
	for (int i = 0; i < FF_EVENT_HASH; i++)
	{
		char prefix[16];
		int len;
		const char *text;

		if (nulls[i])
		{
			digest(ctx, "N,", 2);
			continue;
		}
		text = column_text(i, values[i], &len);
		digest(ctx, prefix, (size_t) snprintf(prefix, sizeof(prefix), "%d:", len));
		digest(ctx, text, (size_t) len);
		digest(ctx, ",", 1);
	}
	if (pg_cryptohash_final(ctx, hash, FF_HASH_BYTES) < 0)
		elog(ERROR, "could not compute a hash: %s", pg_cryptohash_error(ctx));
	pg_cryptohash_free(ctx);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(scratch);
}

/* ---------- writing ---------- */

/* The newest event when this transaction took the lock: since then there are none but its own. */
static int64 newest = 0;

static LOCKTAG
log_lock(void)
{
	LOCKTAG tag;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, RelationRelationId, our_relation("events"), 1);
	return tag;
}

static void
read_latest_head(FfHead *head)
{
	PushActiveSnapshot(GetLatestSnapshot());
	ff_read_head(GetActiveSnapshot(), head);
	PopActiveSnapshot();
}

int64
ff_lock_events(void)
{
	LOCKTAG tag = log_lock();
	FfHead head;

	if (LockAcquire(&tag, ExclusiveLock, false, false) == LOCKACQUIRE_ALREADY_HELD)
		return newest;
	AcceptInvalidationMessages();
	read_latest_head(&head);
	newest = head.id;
	return newest;
}

/*
 * The log itself tells: whoever holds the lock has written what is newer than what was there when
 * he took it. A subtransaction that is rolled back takes its events and a lock of its own with it.
 */
bool
ff_read_own_head(FfHead *head)
{
	LOCKTAG tag = log_lock();

	if (!ff_holds_lock(&tag, ExclusiveLock))
		return false;
	read_latest_head(head);
	return head->id > newest;
}

/* The address of the client, null for one on this machine. */
static Datum
client_address(bool *isnull)
{
	LOCAL_FCINFO(fcinfo, 0);
	Datum address;

	InitFunctionCallInfoData(*fcinfo, NULL, 0, InvalidOid, NULL, NULL);
	address = inet_client_addr(fcinfo);
	*isnull = fcinfo->isnull;
	return address;
}

static void
set_text(Datum *values, bool *nulls, int column, const char *string)
{
	nulls[column] = string == NULL || string[0] == '\0';
	values[column] = nulls[column] ? (Datum) 0 : CStringGetTextDatum(string);
}

static void
set_document(Datum *values, bool *nulls, int column, Jsonb *document)
{
	nulls[column] = document == NULL;
	values[column] = JsonbPGetDatum(document);
}

/* The columns of an event that follows `head`. */
static void
fill_event(const FfEvent *event, const FfHead *head, Datum *values, bool *nulls)
{
	const char *session_role = GetUserNameFromId(GetSessionUserId(), false);
	bytea *hash = palloc(VARHDRSZ + FF_HASH_BYTES);

	memset(nulls, 0, sizeof(bool) * FF_EVENT_COLUMNS);
	values[FF_EVENT_ID] = Int64GetDatum(head->id + 1);

	/* time goes on with the numbers, also where the machine's clock is set back */
	values[FF_EVENT_OCCURRED_AT] =
		TimestampTzGetDatum(Max(GetCurrentTimestamp(), head->occurred_at));
	set_text(values, nulls, FF_EVENT_NAMESPACE, event->name_space);
	set_text(values, nulls, FF_EVENT_OBJECT, ff_object_word(event->object));
	set_text(values, nulls, FF_EVENT_KEY, event->key);
	set_text(values, nulls, FF_EVENT_ACTION, event->action);
	set_text(values, nulls, FF_EVENT_ACTOR, event->actor == NULL ? session_role : event->actor);
	set_text(values, nulls, FF_EVENT_SESSION_ROLE, session_role);
	values[FF_EVENT_CLIENT_ADDRESS] = client_address(&nulls[FF_EVENT_CLIENT_ADDRESS]);
	set_text(values, nulls, FF_EVENT_APPLICATION_NAME, application_name);
	set_text(values, nulls, FF_EVENT_COMMENT, event->comment);
	values[FF_EVENT_VERSION] = Int64GetDatum(event->version);
	set_document(values, nulls, FF_EVENT_OLD_VALUE, event->old_value);
	set_document(values, nulls, FF_EVENT_NEW_VALUE, event->new_value);
	SET_VARSIZE(hash, VARHDRSZ + FF_HASH_BYTES);
	ff_hash_event(head->hash, values, nulls, (uint8 *) VARDATA(hash));
	values[FF_EVENT_HASH] = PointerGetDatum(hash);
}

/* Inserts the row as the owner of the log, whoever has caused it. */
static void
insert_event(Datum *values, const bool *nulls)
{
	static const char *const insert = "INSERT INTO ff.events VALUES ($1, $2, $3, $4, $5, $6, $7, "
									  "$8, $9, $10, $11, $12, $13, $14, $15)";
	static SPIPlanPtr plan = NULL;
	char marks[FF_EVENT_COLUMNS + 1];
	Relation rel = ff_open_events();
	Oid owner = rel->rd_rel->relowner;
	Oid caller;
	int context;

	table_close(rel, AccessShareLock);
	for (int i = 0; i < FF_EVENT_COLUMNS; i++)
		marks[i] = nulls[i] ? 'n' : ' ';
	marks[FF_EVENT_COLUMNS] = '\0';

	GetUserIdAndSecContext(&caller, &context);
	SetUserIdAndSecContext(owner, context | SECURITY_LOCAL_USERID_CHANGE | SECURITY_NOFORCE_RLS);
	SPI_connect();
	if (plan == NULL)
	{
		plan = SPI_prepare(insert, FF_EVENT_COLUMNS, unconstify(Oid *, &column_types[0]));
		if (plan == NULL || SPI_keepplan(plan) != 0)
			elog(ERROR, "could not prepare the writing of events");
	}
	if (SPI_execute_snapshot(plan, values, marks, GetLatestSnapshot(), InvalidSnapshot, false,
							 false, 0) != SPI_OK_INSERT ||
		SPI_processed != 1)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("the event could not be written"),
						errhint("Look for triggers and rules on ff.events.")));
	SPI_finish();
	SetUserIdAndSecContext(caller, context);
}

void
ff_write_event(const FfEvent *event)
{
	Datum values[FF_EVENT_COLUMNS];
	bool nulls[FF_EVENT_COLUMNS];
	FfHead head;

	/* the last event may be our own */
	CommandCounterIncrement();
	read_latest_head(&head);
	fill_event(event, &head, values, nulls);
	insert_event(values, nulls);

	/* who has seen a number may rely on it: it is on disk before anybody can */
	ForceSyncCommit();
	if (ff_notify)
		Async_Notify(psprintf("ff_%s", event->name_space), "");
}
