/*
 * src/ff_report.c
 *	  Exposures that programs outside report: they evaluate flags themselves.
 *
 * The rule: a batch is written whole or not at all, and once. All of it is checked before anything
 * is written; its number, which the caller makes up, is kept with it, so that who hears nothing can
 * send it again. It goes the way of what is flushed (ff_land.c), under the same lock, in the
 * caller's transaction: who has to wait for another with the same number sees what became of that.
 */
#include "ff_flush.h"
#include "ff_note.h"
#include "ff_spi.h"
#include "ff_write.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/pg_type_d.h"
#include "commands/extension.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* doc/sql.md says these. */
#define MAX_REPORTED 10000
#define MAX_BATCH_ID 255

static const char members[] = "Members are flag_key, variant_key, user_id, reason, rule_id, "
							  "flag_version, exposed_at and evaluations.";

/* ---------- refusing ---------- */

/* Where something is wrong: member NULL is the element itself. */
typedef struct FfPlace
{
	uint32 i;
	const char *member;
} FfPlace;

static void __attribute__((noreturn))
refuse(const FfPlace *place, int code, const char *problem, const char *hint)
{
	ereport(ERROR, (errcode(code),
					errmsg("exposures[%u]%s%s: %s", place->i, place->member == NULL ? "" : ".",
						   place->member == NULL ? "" : place->member, problem),
					errhint("%s", hint)));
}

/* ---------- reading members ---------- */

/* A member that may be left out or null: FFE_MISSING then. */
static ffe_node
optional(const ffe_node *element, const FfPlace *place)
{
	ffe_node node = ff_jsonb_member(element, place->member);

	if (node.kind == FFE_NULL)
		node.kind = FFE_MISSING;
	return node;
}

/* A string of a length that is kept. NULL where it is missing. */
static char *
read_string(const ffe_node *element, const FfPlace *place, uint32 longest)
{
	ffe_node node = optional(element, place);

	if (node.kind == FFE_MISSING)
		return NULL;
	if (node.kind != FFE_STRING)
		refuse(place, ERRCODE_INVALID_PARAMETER_VALUE, "must be a string", members);
	if (node.len > longest)
		refuse(place, ERRCODE_STRING_DATA_RIGHT_TRUNCATION,
			   psprintf("too long, with %u bytes", node.len),
			   psprintf("At most %u bytes are kept.", longest));
	return pnstrdup(node.u.str, node.len);
}

static char *
read_key(const ffe_node *element, const FfPlace *place, const char *hint)
{
	char *key = read_string(element, place, FFE_MAX_KEY);

	if (key == NULL)
		refuse(place, ERRCODE_INVALID_PARAMETER_VALUE, "missing", hint);
	if (!ffe_valid_key(key, strlen(key)))
		refuse(place, ERRCODE_INVALID_PARAMETER_VALUE, psprintf("\"%s\" can't be a key", key),
			   "A key has letters, digits, \".\", \"_\" and \"-\", begins with a letter or digit.");
	return key;
}

/* NULL, said or empty: there is no user. That nothing is said is more likely a mistake. */
static char *
read_user(const ffe_node *element, const FfPlace *place)
{
	char *user;

	if (ff_jsonb_member(element, place->member).kind == FFE_MISSING)
		refuse(place, ERRCODE_INVALID_PARAMETER_VALUE, "missing",
			   "Say null where there is no user.");
	user = read_string(element, place, FF_MAX_EXPOSED_USER);
	return user == NULL || user[0] == '\0' ? NULL : user;
}

static uint8
read_reason(const ffe_node *element, const FfPlace *place)
{
	static const char hint[] = "Reasons are KILL_SWITCH, PREREQUISITE_FAILED, USER_OVERRIDE, "
							   "RULE_MATCH, ROLLOUT and DEFAULT.";
	char *name = read_string(element, place, FFE_MAX_KEY);

	if (name == NULL)
		refuse(place, ERRCODE_INVALID_PARAMETER_VALUE, "missing", hint);
	for (int reason = FFE_KILL_SWITCH; reason < FFE_REASON_COUNT; reason++)
	{
		if (strcmp(ffe_reason_name((ffe_reason) reason), name) == 0)
			return (uint8) reason;
	}
	refuse(place, ERRCODE_INVALID_PARAMETER_VALUE,
		   psprintf("\"%s\" is no reason of an exposure", name), hint);
}

static int64
read_number(const ffe_node *element, const FfPlace *place, int64 otherwise, int64 most)
{
	ffe_node node = optional(element, place);
	int64 number;

	if (node.kind == FFE_MISSING)
		return otherwise;
	if (node.kind != FFE_NUMBER || !ff_jsonb_reader.integer(&node, 0, &number) || number < 1 ||
		number > most)
		refuse(place, ERRCODE_INVALID_PARAMETER_VALUE, "must be a whole number, 1 or more",
			   psprintf("At most " INT64_FORMAT " is taken.", most));
	return number;
}

/* What is said to be in the future is now: clocks differ, and figures must not wait for theirs. */
static TimestampTz
read_time(const ffe_node *element, const FfPlace *place)
{
	TimestampTz now = ff_time_shown();
	ffe_node node = optional(element, place);
	int64 time;

	if (node.kind == FFE_MISSING)
		return now;
	if (node.kind != FFE_STRING || !ffe_parse_time(node.u.str, node.len, &time))
		refuse(place, ERRCODE_INVALID_DATETIME_FORMAT, "must be a time",
			   "As RFC 3339 has it: \"2026-11-24T10:00:00Z\".");
	return Min(time - FF_EPOCH_SHIFT, now);
}

static void
check_members(const ffe_node *element, uint32 i)
{
	static const char *const known[] = {"flag_key",   "variant_key", "user_id",
										"reason",     "rule_id",     "flag_version",
										"exposed_at", "evaluations", NULL};
	FfPlace place = {i, NULL};
	ffe_iter iter = {0};
	ffe_node name, value;

	if (element->kind != FFE_OBJECT)
		refuse(&place, ERRCODE_INVALID_PARAMETER_VALUE, "must be an object", members);
	while (ff_jsonb_reader.next(element, &iter, &name, &value))
	{
		const char *const *one = known;

		while (*one != NULL &&
			   (strlen(*one) != name.len || memcmp(*one, name.u.str, name.len) != 0))
			one++;
		if (*one == NULL)
		{
			place.member = pnstrdup(name.u.str, Min(name.len, FFE_MAX_KEY));
			refuse(&place, ERRCODE_INVALID_PARAMETER_VALUE, "unknown member", members);
		}
	}
}

/* ---------- reading a batch ---------- */

typedef struct FfReport
{
	FfRow *rows;
	FfExposure *exposures;
	uint32 count;
} FfReport;

static void
read_element(const ffe_node *element, uint32 i, FfRow *row, FfExposure *exposure)
{
	check_members(element, i);
	row->exposure = exposure;
	row->flag_key = read_key(element, &(FfPlace){i, "flag_key"}, members);
	row->variant_key = read_key(element, &(FfPlace){i, "variant_key"},
								"Only what serves a variant is an exposure.");
	row->user_id = read_user(element, &(FfPlace){i, "user_id"});
	row->rule_id = read_string(element, &(FfPlace){i, "rule_id"}, FFE_MAX_KEY);
	exposure->reason = read_reason(element, &(FfPlace){i, "reason"});
	exposure->exposed =
		exposure->reason != FFE_KILL_SWITCH && exposure->reason != FFE_PREREQUISITE_FAILED;
	exposure->time = read_time(element, &(FfPlace){i, "exposed_at"});
	exposure->version =
		read_number(element, &(FfPlace){i, "flag_version"}, 0, INT64CONST(9007199254740992));
	exposure->count = read_number(element, &(FfPlace){i, "evaluations"}, 1, PG_INT32_MAX);
}

static void
read_report(FfReport *report, Jsonb *jsonb, const char *name_space)
{
	ffe_node array = ff_jsonb_node(jsonb);

	if (array.kind != FFE_ARRAY)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("exposures: must be an array"),
				 errhint("Each element is an exposure. %s", members)));
	if (array.len > MAX_REPORTED)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("exposures: too many, with %u elements", array.len),
						errhint("Send at most %d at once.", MAX_REPORTED)));
	report->count = array.len;
	report->rows = palloc0(sizeof(FfRow) * (array.len + (Size) 1));
	report->exposures = palloc0(sizeof(FfExposure) * (array.len + (Size) 1));
	for (uint32 i = 0; i < array.len; i++)
	{
		ffe_node element;

		CHECK_FOR_INTERRUPTS();
		ff_jsonb_reader.element(&array, i, &element);
		report->rows[i].name_space = name_space;
		read_element(&element, i, &report->rows[i], &report->exposures[i]);
	}
}

static char *
read_batch_id(FunctionCallInfo fcinfo)
{
	char *id = ff_required_text(fcinfo, 0, "the batch id");

	if (id[0] == '\0' || strlen(id) > MAX_BATCH_ID)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("batch_id: must have 1 to %d bytes", MAX_BATCH_ID),
						errhint("A UUID is one.")));
	return id;
}

/* ---------- what the caller may ---------- */

/* Who may write flags decides who is shown what; any other must have been given the figures. */
static void
check_may_record(const FfTables *tables, const char *name_space)
{
	Relation exposures = ff_open_own("exposures", AccessShareLock);
	Oid figures = RelationGetRelid(exposures);
	Oid flags = tables->table[FFE_FLAG].relid;
	Oid role = GetUserId();

	relation_close(exposures, AccessShareLock);
	if (pg_class_aclcheck(figures, role, ACL_INSERT) == ACLCHECK_OK ||
		pg_class_aclmask(flags, role, ACL_INSERT | ACL_UPDATE, ACLMASK_ALL) ==
			(ACL_INSERT | ACL_UPDATE))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied to record exposures of namespace \"%s\"", name_space),
			 errhint("It takes 'write' on the namespace (ff_grant), or INSERT on ff.exposures.")));
}

/* ---------- writing ---------- */

/* Which run of its flag's experiment an exposure belongs to. Nobody may know the flag any more. */
static TimestampTz
find_start(const char *name_space, const char *flag_key)
{
	FfSite site = {.name = pstrdup(name_space)};
	const ffe_doc *doc = NULL;
	int64 started = INT64_MIN;

	if (ff_cache_find(&site, flag_key, (uint32) strlen(flag_key)) == FFE_OK &&
		ff_cache_ready(&site) == FFE_OK)
		doc = ffe_set_doc(ff_cache_set(site.space), site.id);
	if (doc != NULL)
		started = ffe_doc_experiment_start(doc);
	return started == INT64_MIN ? DT_NOBEGIN : started - FF_EPOCH_SHIFT;
}

static void
find_starts(const FfReport *report)
{
	FfCaller caller = ff_enter_as_owner();

	for (uint32 i = 0; i < report->count; i++)
	{
		const FfRow *row = &report->rows[i];

		report->exposures[i].started = i > 0 && strcmp(row->flag_key, row[-1].flag_key) == 0
										   ? report->exposures[i - 1].started
										   : find_start(row->name_space, row->flag_key);
	}
	ff_leave(&caller);
}

/*
 * Keeps the batch's number; false where it was kept before. Nobody else writes here while we hold
 * the lock, and the latest snapshot sees who did before.
 */
static bool
keep_batch(const char *id, uint32 rows)
{
	static const char insert[] =
		"INSERT INTO ff.exposure_batches AS b (batch_id, received_at, rows)"
		" VALUES ($1, pg_catalog.statement_timestamp(), $2)"
		" ON CONFLICT (batch_id) DO UPDATE SET received_at = EXCLUDED.received_at,"
		" rows = EXCLUDED.rows WHERE b.received_at OPERATOR(pg_catalog.<)"
		" (EXCLUDED.received_at OPERATOR(pg_catalog.-) '" FF_BATCHES_KEPT "'::pg_catalog.interval)";
	Oid types[] = {TEXTOID, INT8OID};
	Datum values[] = {CStringGetTextDatum(id), Int64GetDatum(rows)};
	FfCaller caller = ff_enter_as_owner();
	SPIPlanPtr plan = SPI_prepare(insert, lengthof(types), types);
	bool is_new;

	if (plan == NULL || SPI_execute_snapshot(plan, values, NULL, GetLatestSnapshot(),
											 InvalidSnapshot, false, true, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not run: %s", insert);
	is_new = SPI_processed == 1;
	ff_leave(&caller);
	return is_new;
}

/* To where exposures go here. What is in a file stays there, whatever becomes of the transaction.
 */
static void
write_report(const FfReport *report)
{
	uint32 done = 0;

	if (report->count == 0)
		return;
	if (ff_exposure_sink == FF_SINK_TABLE)
		ff_land(report->rows, report->count);
	else
	{
		while (done < report->count)
			done += ff_write_lines(report->rows + done, report->count - done);
	}
}

static bool
record_report(const char *batch_id, const FfReport *report)
{
	if (ff_exposure_sink == FF_SINK_TABLE)
		ff_check_isolation("ff_record_exposures()");
	ff_lock_flush(get_extension_oid("ff", false));
	if (!keep_batch(batch_id, report->count))
		return false;
	write_report(report);
	return true;
}

PG_FUNCTION_INFO_V1(ff_record_exposures);

Datum
ff_record_exposures(PG_FUNCTION_ARGS)
{
	bool nulls[2] = {false, false};
	char *name_space = PG_ARGISNULL(2) ? ff_namespace : ff_optional_text(fcinfo, 2);
	char *batch_id = read_batch_id(fcinfo);
	FfReport report;
	FfTables tables;
	Datum values[2];
	TupleDesc desc;
	bool is_new;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE || desc->natts != 2)
		elog(ERROR, "return type must be a row type");
	PreventCommandIfReadOnly("ff_record_exposures()");
	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("exposures must not be null")));
	ff_named_tables(name_space, &tables);
	check_may_record(&tables, name_space);
	if (ff_exposure_sink == FF_SINK_MEMORY)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("exposures are kept in memory here, and can't be recorded"),
						errhint("Set ff.exposure_sink to table or file.")));
	read_report(&report, PG_GETARG_JSONB_P(1), name_space);
	find_starts(&report);
	is_new = record_report(batch_id, &report);
	values[0] = Int64GetDatum(is_new ? report.count : 0);
	values[1] = BoolGetDatum(!is_new);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, values, nulls)));
}
