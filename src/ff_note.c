/*
 * src/ff_note.c
 *	  Noting exposures: first in memory of this process, from there into the buffer that all share.
 *
 * A statement that evaluates for many users touches what is shared seldom: an exposure that it
 * has noted before is counted here. All of it goes to the buffer, by partition, when there is no
 * more room here, when a query, a statement or a transaction ends however it ends, when a cursor
 * has fetched, and before this process looks at the buffer. So nothing is here while no statement
 * runs.
 *
 * What evaluation is done for a plan (estimates call STABLE functions) is not shown to anybody, and
 * not noted.
 */
#include "ff_note.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "access/parallel.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "optimizer/planner.h"
#include "tcop/utility.h"
#include "utils/timestamp.h"

#include "ff_buffer_private.h"
#include "ff_stamp.h"

int ff_exposure_mode = FF_EXPOSURES_OF_EXPERIMENTS;
FfExposureMode ff_noting = FF_EXPOSURES_OF_EXPERIMENTS;

static bool has_warned = false;
static int planning = 0;
static int running = 0; /* queries, one within the other */

static planner_hook_type previous_planner = NULL;
static ExecutorRun_hook_type previous_executor_run = NULL;
static ExecutorEnd_hook_type previous_executor_end = NULL;
static ProcessUtility_hook_type previous_utility = NULL;

/* ---------- what this process has noted ---------- */

/*
 * Exposures lie one after the other, each with its text after it, so that noting a new user writes
 * where the processor expects it. They are found by a small table of tags and places, which stays
 * in its nearest cache: most of the time one look tells that a user is new.
 */
#define PENDING_BYTES (128 * 1024)
#define PENDING_MAX FF_BATCH
#define PENDING_ENTRIES (2 * PENDING_MAX) /* of the table; a power of two */

typedef struct FfPending
{
	uint64 subject; /* serial number */
	FfNote note;
} FfPending;

/* The place of an exposure, in units of 8 bytes, plus 1, below bits of its hash; 0: none. */
static uint32 pending_table[PENDING_ENTRIES];
static uint64 pending[PENDING_BYTES / sizeof(uint64)];
static uint32 pending_end = 0; /* in units of 8 bytes */
static int pending_count = 0;

static inline FfPending *
pending_at(uint32 place)
{
	return (FfPending *) &pending[place];
}

static inline uint32
pending_size(uint32 len)
{
	return (offsetof(FfPending, note.text) + len + sizeof(uint64) - 1) / sizeof(uint64);
}

static inline uint32
entry_for(uint64 hash, uint32 place)
{
	return (uint32) (hash >> 32 & 0xffff0000) | (place + 1);
}

StaticAssertDecl(lengthof(pending) <= 0xffff, "a place has 16 bits");

/* Takes all that is pending out of the table: each run of entries from where one belongs. */
static void
clear_table(void)
{
	for (uint32 place = 0; place < pending_end;)
	{
		const FfExposure *one = &pending_at(place)->note.exposure;

		for (uint32 i = (uint32) one->hash; pending_table[i & (PENDING_ENTRIES - 1)] != 0; i++)
			pending_table[i & (PENDING_ENTRIES - 1)] = 0;
		place += pending_size(ff_exposure_len(one));
	}
}

/* Moves what was not taken to the front; it comes in the order it lies. */
static void
keep(const FfNote *const *notes, int count)
{
	pending_end = 0;
	pending_count = count;
	for (int i = 0; i < count; i++)
	{
		uint32 size = pending_size(ff_exposure_len(&notes[i]->exposure));
		uint32 at = (uint32) notes[i]->exposure.hash;

		memmove(pending_at(pending_end), (const char *) notes[i] - offsetof(FfPending, note),
				size * sizeof(uint64));
		while (pending_table[at & (PENDING_ENTRIES - 1)] != 0)
			at++;
		pending_table[at & (PENDING_ENTRIES - 1)] =
			entry_for(pending_at(pending_end)->note.exposure.hash, pending_end);
		pending_end += size;
	}
}

/* Brings what is pending into the buffer: all of it, or what can be without waiting. */
static void
push(bool all)
{
	static const FfNote *notes[FF_BATCH];
	uint32 place = 0;

	if (pending_count == 0)
		return;
	for (int i = 0; i < pending_count; i++)
	{
		notes[i] = &pending_at(place)->note;
		place += pending_size(ff_exposure_len(&notes[i]->exposure));
	}
	clear_table();
	keep(notes, ff_buffer_add(notes, pending_count, all));
}

void
ff_note_push(void)
{
	push(true);
}

/* When there is no more room: what others are just at may stay, as long as that is little. */
static pg_noinline void
make_room(void)
{
	push(false);
	if (pending_count > PENDING_MAX / 2 || pending_end > lengthof(pending) / 2)
		push(true);
}

/* memcmp without a call, for the lengths that most user ids have. */
static inline bool
same_bytes(const char *a, const char *b, size_t len)
{
	uint64 first[2], last[2];

	if (unlikely(len < sizeof(uint64) || len > 2 * sizeof(uint64)))
		return memcmp(a, b, len) == 0;
	memcpy(&first[0], a, sizeof(uint64));
	memcpy(&first[1], b, sizeof(uint64));
	memcpy(&last[0], a + len - sizeof(uint64), sizeof(uint64));
	memcpy(&last[1], b + len - sizeof(uint64), sizeof(uint64));
	return first[0] == first[1] && last[0] == last[1];
}

static inline bool
is_same(const FfPending *one, uint64 hash, const FfSubject *subject, const char *user,
		size_t user_len, const ffe_result *result)
{
	const FfExposure *exposure = &one->note.exposure;

	if (exposure->hash != hash || exposure->user_len != user_len ||
		exposure->exposed != result->exposed ||
		!same_bytes(one->note.text + exposure->head_len, user, user_len))
		return false;
	return likely(one->subject == subject->serial) ||
		   (exposure->started == subject->started && exposure->head_len == subject->head_len &&
			memcmp(one->note.text, subject->head, subject->head_len) == 0);
}

static inline size_t
rule_len(const ffe_result *result)
{
	size_t len;

	return result->rule >= 0 && ffe_result_rule(result, &len) != NULL ? len : 0;
}

/* Writes an exposure with its text. */
static void
compose(FfNote *note, uint64 hash, const FfSubject *subject, const char *user, size_t user_len,
		const ffe_result *result)
{
	FfExposure *exposure = &note->exposure;
	size_t len = rule_len(result);
	char *end = note->text;

	exposure->hash = hash;
	exposure->count = 1;
	exposure->time = ff_time_shown();
	exposure->started = subject->started;
	exposure->version = ffe_doc_version(result->doc);
	exposure->head_len = subject->head_len;
	exposure->user_len = (uint16) user_len;
	exposure->rule_len = (uint16) len;
	exposure->reason = (uint8) result->reason;
	exposure->exposed = result->exposed;
	end = (char *) memcpy(end, subject->head, subject->head_len) + subject->head_len;
	end = (char *) memcpy(end, user, user_len) + user_len;
	if (len > 0)
		memcpy(end, ffe_result_rule(result, &len), len);
}

static pg_noinline void
note_new(uint64 hash, const FfSubject *subject, const char *user, size_t user_len,
		 const ffe_result *result)
{
	uint32 at = (uint32) hash;
	FfPending *one;

	if (unlikely(pending_count == PENDING_MAX ||
				 pending_end > lengthof(pending) - pending_size(FF_MAX_EXPOSURE_TEXT)))
		make_room();
	while (pending_table[at & (PENDING_ENTRIES - 1)] != 0)
		at++;
	one = pending_at(pending_end);
	pending_table[at & (PENDING_ENTRIES - 1)] = entry_for(hash, pending_end);
	one->subject = subject->serial;
	compose(&one->note, hash, subject, user, user_len, result);
	pending_end += pending_size(ff_exposure_len(&one->note.exposure));
	pending_count++;
}

static inline void
note_user(uint64 hash, const FfSubject *subject, const char *user, size_t user_len,
		  const ffe_result *result)
{
	uint32 entry;

	if (unlikely(user_len > FF_MAX_EXPOSED_USER))
	{
		ff_buffer_refuse(hash);
		return;
	}
	for (uint32 at = (uint32) hash; (entry = pending_table[at & (PENDING_ENTRIES - 1)]) != 0; at++)
	{
		FfPending *one = pending_at((entry & 0xffff) - 1);

		if (entry == entry_for(hash, (entry & 0xffff) - 1) &&
			likely(is_same(one, hash, subject, user, user_len, result)))
		{
			one->note.exposure.count++;
			return;
		}
	}
	note_new(hash, subject, user, user_len, result);
}

/* ---------- subjects ---------- */

static char *
put_part(char *to, const char *part, size_t len)
{
	memcpy(to, part, len);
	to[len] = '\0';
	return to + len + 1;
}

static pg_noinline void
make_subject(FfSubject *subject, FfNamespace *space, uint32 id, const ffe_result *result)
{
	static uint64 serial = 0;
	const char *name = ff_cache_name(space);
	int64 started = ffe_doc_experiment_start(result->doc);
	size_t key_len, variant_len;
	const char *key = ffe_set_key(ff_cache_set(space), id, &key_len);
	const char *variant = ffe_result_variant(result, &variant_len);
	char *end = put_part(subject->head, name, strlen(name));

	end = put_part(end, key, key_len);
	end = put_part(end, variant, variant_len);
	subject->head_len = (uint16) (end - subject->head);
	subject->hash = XXH3_64bits(subject->head, subject->head_len);
	subject->started = started == INT64_MIN ? DT_NOBEGIN : started - FF_EPOCH_SHIFT;
	subject->serial = ++serial;
	subject->variant = result->variant;
	subject->contents = ff_contents;
}

/* Says once in a session that nothing is recorded, and then notes no more. */
static pg_noinline void
warn(void)
{
	ff_noting = FF_EXPOSURES_OFF;
	if (has_warned || IsParallelWorker())
		return;
	has_warned = true;
	ereport(WARNING,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("exposures are not recorded"),
			 errdetail("ff keeps them in shared memory, which it gets where it is preloaded."),
			 errhint("Add ff to shared_preload_libraries and restart the server, or SET "
					 "ff.exposure_mode = off.")));
}

void
ff_note(FfNamespace *space, uint32 id, const ffe_result *result, FfSubject *subjects)
{
	FfSubject local;
	FfSubject *subject = subjects == NULL ? &local : &subjects[result->variant % FF_SUBJECTS];
	const char *user;
	size_t user_len;
	uint64 hash;

	if (unlikely(planning > 0))
		return;
	if (unlikely(!ff_buffer_exists()))
	{
		warn();
		return;
	}
	if (subjects == NULL || subject->contents != ff_contents || subject->variant != result->variant)
		make_subject(subject, space, id, result);
	user = ffe_result_unit(ff_cache_state(), ff_cache_set(space), result, &user_len, &hash);
	note_user(hash + subject->hash, subject, user == NULL ? "" : user, user_len, result);
}

void
ff_assign_exposure_mode(int newval, void *extra)
{
	(void) extra;
	ff_noting = has_warned ? FF_EXPOSURES_OFF : (FfExposureMode) newval;
}

/* ---------- when it is pushed, and when nothing is noted ---------- */

static PlannedStmt *
plan(Query *parse, const char *query_string, int cursor_options, ParamListInfo params)
{
	PlannedStmt *result;

	planning++;
	PG_TRY();
	{
		result = previous_planner != NULL
					 ? previous_planner(parse, query_string, cursor_options, params)
					 : standard_planner(parse, query_string, cursor_options, params);
	}
	PG_FINALLY();
	{
		planning--;
	}
	PG_END_TRY();
	return result;
}

/*
 * A cursor's query runs for each FETCH, and ends when it is closed. What runs within another query
 * may do so for each of its rows.
 */
static void
executor_run(FF_RUN_PARAMETERS)
{
	running++;
	PG_TRY();
	{
		if (previous_executor_run != NULL)
			previous_executor_run(FF_RUN_ARGUMENTS);
		else
			standard_ExecutorRun(FF_RUN_ARGUMENTS);
	}
	PG_FINALLY();
	{
		running--;
	}
	PG_END_TRY();
	if (running == 0)
		ff_note_push();
}

static void
executor_end(QueryDesc *query)
{
	if (previous_executor_end != NULL)
		previous_executor_end(query);
	else
		standard_ExecutorEnd(query);
	ff_note_push();
}

/* DO and CALL evaluate without a query, too. */
static void
utility(PlannedStmt *statement, const char *query, bool read_only, ProcessUtilityContext context,
		ParamListInfo params, QueryEnvironment *environment, DestReceiver *dest,
		QueryCompletion *qc)
{
	if (previous_utility != NULL)
		previous_utility(statement, query, read_only, context, params, environment, dest, qc);
	else
		standard_ProcessUtility(statement, query, read_only, context, params, environment, dest,
								qc);
	if (context == PROCESS_UTILITY_TOPLEVEL)
		ff_note_push();
}

static void
transaction_end(XactEvent event, void *arg)
{
	(void) arg;
	if (event != XACT_EVENT_PRE_COMMIT && event != XACT_EVENT_PRE_PREPARE &&
		event != XACT_EVENT_PARALLEL_PRE_COMMIT)
		ff_note_push();
}

void
ff_note_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		return;
	previous_planner = planner_hook;
	planner_hook = plan;
	previous_executor_run = ExecutorRun_hook;
	ExecutorRun_hook = executor_run;
	previous_utility = ProcessUtility_hook;
	ProcessUtility_hook = utility;
	previous_executor_end = ExecutorEnd_hook;
	ExecutorEnd_hook = executor_end;
	RegisterXactCallback(transaction_end, NULL);
}
