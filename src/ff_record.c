/*
 * src/ff_record.c
 *	  The trigger that records changes in the event log, and the one that protects the log.
 *
 * The rule: recording is deferred to the end of the transaction, and the first change that is
 * recorded takes the lock of the log (see ff_event.c). From then on nobody else's change can be
 * committed, so what is checked now holds.
 */
#include "ff_trigger.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

static bool
update_differs(const FfTable *table, const TriggerData *data, const char *name)
{
	return ff_column_differs(table, name, data->tg_trigtuple, data->tg_newtuple,
							 RelationGetDescr(data->tg_relation));
}

/* What was done, in a word. */
static const char *
action_of(const FfTable *table, const TriggerData *data)
{
	TupleDesc desc = RelationGetDescr(data->tg_relation);
	bool isnull;
	Datum datum;

	if (TRIGGER_FIRED_BY_INSERT(data->tg_event))
		return "created";
	if (TRIGGER_FIRED_BY_DELETE(data->tg_event))
		return "purged";
	if (update_differs(table, data, "state"))
	{
		datum = ff_column(table, "state", data->tg_newtuple, desc, &isnull);
		return strcmp(TextDatumGetCString(datum), "archived") == 0 ? "archived" : "restored";
	}
	if (table->object == FFE_FLAG && update_differs(table, data, "enabled"))
	{
		datum = ff_column(table, "enabled", data->tg_newtuple, desc, &isnull);
		return DatumGetBool(datum) ? "enabled" : "disabled";
	}
	return "updated";
}

/*
 * Checks references again where others have committed changes (up to number `newest`) since they
 * were checked.
 */
static void
check_again(FfTable *table, const TriggerData *data, const FfChange *change, const char *key,
			int64 newest)
{
	bool takes_away;

	if (change->checked >= newest || TRIGGER_FIRED_BY_DELETE(data->tg_event))
		return;
	takes_away = ff_takes_something_away(table, data);
	if (!takes_away && !ff_refers_anew(table, data))
		return;
	table->may_wait = true;
	(void) ff_check_object(table, key, TRIGGER_FIRED_BY_INSERT(data->tg_event), takes_away);
}

/*
 * A new row got its version when it was inserted. Where that had to wait for one with the same key
 * to go, or the key came and went meanwhile, the version has been used.
 */
static void
check_version(const FfEvent *event)
{
	if (ff_last_version(event->name_space, event->object, event->key) >= event->version)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("version " INT64_FORMAT " of %s \"%s\" has been in use", event->version,
						ff_object_word(event->object), event->key),
				 errhint(
					 "Another transaction changed flags meanwhile. Try this transaction again.")));
}

/*
 * What a trigger of the user's that fired after ours has made of the row: it must be what could
 * have been written.
 */
static void
check_outcome(const FfTable *table, const TriggerData *data, const FfEvent *event)
{
	TupleDesc desc = RelationGetDescr(data->tg_relation);

	if (event->new_value == NULL)
		return;
	ff_check_document(table->object, event->new_value);
	if (event->old_value == NULL)
		return;
	if (strcmp(event->key, ff_row_key(table, data->tg_trigtuple, desc)) != 0 ||
		event->version != ff_row_version(table, data->tg_trigtuple, desc) + 1)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("a trigger of table \"%s\" changed key or version of %s \"%s\"",
						RelationGetRelationName(data->tg_relation), ff_object_word(table->object),
						event->key),
				 errhint("Triggers that change rows fire before zz_ff_validate, in the order "
						 "of their names.")));
}

/* Whether an update left the version alone: then it changed nothing. */
static bool
is_idle(const FfTable *table, const TriggerData *data)
{
	return TRIGGER_FIRED_BY_UPDATE(data->tg_event) && !update_differs(table, data, "version");
}

PG_FUNCTION_INFO_V1(ff_record_trigger);

Datum
ff_record_trigger(PG_FUNCTION_ARGS)
{
	TriggerData *data = ff_trigger_data(fcinfo, "ff_record_trigger");
	TupleDesc desc = RelationGetDescr(data->tg_relation);
	HeapTuple old = TRIGGER_FIRED_BY_INSERT(data->tg_event) ? NULL : data->tg_trigtuple;
	HeapTuple new = TRIGGER_FIRED_BY_UPDATE(data->tg_event)   ? data->tg_newtuple
					: TRIGGER_FIRED_BY_DELETE(data->tg_event) ? NULL
															  : data->tg_trigtuple;
	HeapTuple last = new != NULL ? new : old;
	FfChange *change;
	FfRegistration space;
	FfEvent event;
	FfTable table;
	int64 newest;

	/* a trigger of the user's that sets constraints may have us called before it was noted */
	ff_describe_own_table(&table, data->tg_relation, ff_trigger_object(data));
	change = ff_find_change(data);
	if (change == NULL)
	{
		ff_note_row(&table, data);
		change = ff_find_change(data);
	}

	/* rows that come from another database have their events from there, too */
	if (change->copied)
		return PointerGetDatum(NULL);
	if (!is_idle(&table, data))
	{
		ff_find_registration(table.relid, &space);
		newest = ff_lock_events();
		event.name_space = space.name;
		event.object = table.object;
		event.key = ff_row_key(&table, last, desc);
		check_again(&table, data, change, event.key, newest);
		event.action = action_of(&table, data);
		event.version = ff_row_version(&table, last, desc);
		if (TRIGGER_FIRED_BY_INSERT(data->tg_event))
			check_version(&event);
		event.actor = change->actor;
		event.comment = change->comment;
		event.old_value = old == NULL ? NULL : ff_row_document(&table, old, desc);
		event.new_value = new == NULL ? NULL : ff_row_document(&table, new, desc);
		check_outcome(&table, data, &event);
		ff_write_event(&event);
	}
	ff_mark_recorded(change);
	return PointerGetDatum(NULL);
}

/* ---------- the log itself ---------- */

PG_FUNCTION_INFO_V1(ff_protect_events_trigger);

Datum
ff_protect_events_trigger(PG_FUNCTION_ARGS)
{
	TriggerData *data = ff_trigger_data(fcinfo, "ff_protect_events_trigger");
	const char *verb = TRIGGER_FIRED_BY_UPDATE(data->tg_event)   ? "changed"
					   : TRIGGER_FIRED_BY_DELETE(data->tg_event) ? "deleted"
																 : "truncated";

	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("events cannot be %s", verb),
			 errdetail("Table \"%s\" is the record of what was changed; rows are only added.",
					   RelationGetRelationName(data->tg_relation))));
	PG_RETURN_NULL();
}
