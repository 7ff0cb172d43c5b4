/*
 * src/ff_note.c
 *	  Noting exposures: first in memory of this process, from there into the buffer that all share.
 *
 * A statement that evaluates for many users touches what is shared seldom: an exposure that it
 * has noted before is counted here. All of it goes to the buffer, by partition, when there is no
 * more room here, when a query or a transaction ends however it ends, and before this process looks
 * at the buffer. So nothing is here while no statement runs.
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
#include "utils/timestamp.h"

#include "ff_buffer_private.h"
#include "ff_stamp.h"

int ff_exposure_mode = FF_EXPOSURES_OF_EXPERIMENTS;
FfExposureMode ff_noting = FF_EXPOSURES_OF_EXPERIMENTS;

static bool has_warned = false;
static int planning = 0;

static planner_hook_type previous_planner = NULL;
static ExecutorEnd_hook_type previous_executor_end = NULL;

/* ---------- what this process has noted ---------- */

#define PENDING 2048 /* a power of two: twice what is put there */
#define PENDING_TEXT 152
#define PENDING_TRIES 4
#define PENDING_MAX FF_BATCH

typedef struct FfPending
{
	FfExposure exposure; /* count 0: a free place */
	char text[PENDING_TEXT];
} FfPending;

static FfPending pending[PENDING];
static uint16 pending_places[PENDING_MAX];
static int pending_count = 0;

void
ff_note_push(void)
{
	static const FfExposure *exposures[FF_BATCH];
	static const char *texts[FF_BATCH];
	int count = pending_count;

	if (count == 0)
		return;
	for (int i = 0; i < count; i++)
	{
		exposures[i] = &pending[pending_places[i]].exposure;
		texts[i] = pending[pending_places[i]].text;
	}
	ff_buffer_add(exposures, texts, count);
	for (int i = 0; i < count; i++)
		pending[pending_places[i]].exposure.count = 0;
	pending_count = 0;
}

static inline bool
is_same(const FfPending *place, uint64 hash, const FfSubject *subject, const char *user,
		size_t user_len)
{
	return place->exposure.hash == hash && place->exposure.head_len == subject->head_len &&
		   place->exposure.user_len == user_len &&
		   memcmp(place->text, subject->head, subject->head_len) == 0 &&
		   memcmp(place->text + subject->head_len, user, user_len) == 0;
}

/* The place of an exposure, or a free one for it; NULL: there is none near where it belongs. */
static inline FfPending *
find_place(uint64 hash, const FfSubject *subject, const char *user, size_t user_len)
{
	for (int i = 0; i < PENDING_TRIES; i++)
	{
		FfPending *place = &pending[(hash + i) & (PENDING - 1)];

		if (place->exposure.count == 0 || is_same(place, hash, subject, user, user_len))
			return place;
	}
	return NULL;
}

static inline size_t
rule_len(const ffe_result *result)
{
	size_t len;

	return result->rule >= 0 && ffe_result_rule(result, &len) != NULL ? len : 0;
}

/* Writes an exposure with its text. */
static void
compose(FfExposure *exposure, char *text, uint64 hash, const FfSubject *subject, const char *user,
		size_t user_len, const ffe_result *result)
{
	size_t len = rule_len(result);
	int64 started = ffe_doc_experiment_start(result->doc);

	exposure->hash = hash;
	exposure->count = 1;
	exposure->time = GetCurrentStatementStartTimestamp();
	exposure->started = started == INT64_MIN ? DT_NOBEGIN : started - FF_EPOCH_SHIFT;
	exposure->version = ffe_doc_version(result->doc);
	exposure->head_len = subject->head_len;
	exposure->user_len = (uint16) user_len;
	exposure->rule_len = (uint16) len;
	exposure->reason = (uint8) result->reason;
	memcpy(text, subject->head, subject->head_len);
	memcpy(text + subject->head_len, user, user_len);
	if (len > 0)
		memcpy(text + subject->head_len + user_len, ffe_result_rule(result, &len), len);
}

/* One whose text is too long to be kept here goes to the buffer at once. */
static void
note_long(uint64 hash, const FfSubject *subject, const char *user, size_t user_len,
		  const ffe_result *result)
{
	char text[FF_MAX_EXPOSURE_TEXT];
	FfExposure exposure;
	const FfExposure *exposures = &exposure;
	const char *texts = text;

	compose(&exposure, text, hash, subject, user, user_len, result);
	ff_buffer_add(&exposures, &texts, 1);
}

static void
note_user(const FfSubject *subject, const char *user, size_t user_len, const ffe_result *result)
{
	uint64 hash = XXH3_64bits_withSeed(user, user_len, subject->hash);
	FfPending *place;

	if (unlikely(user_len > FF_MAX_EXPOSED_USER))
	{
		ff_buffer_refuse(hash);
		return;
	}
	if (unlikely(subject->head_len + user_len + rule_len(result) > PENDING_TEXT))
	{
		note_long(hash, subject, user, user_len, result);
		return;
	}
	place = find_place(hash, subject, user, user_len);
	if (place != NULL && place->exposure.count > 0)
	{
		place->exposure.count++;
		return;
	}
	if (place == NULL || pending_count == PENDING_MAX)
	{
		ff_note_push();
		place = &pending[hash & (PENDING - 1)];
	}
	pending_places[pending_count++] = (uint16) (place - pending);
	compose(&place->exposure, place->text, hash, subject, user, user_len, result);
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
	const char *name = ff_cache_name(space);
	size_t key_len, variant_len;
	const char *key = ffe_set_key(ff_cache_set(space), id, &key_len);
	const char *variant = ffe_result_variant(result, &variant_len);
	char *end = put_part(subject->head, name, strlen(name));

	end = put_part(end, key, key_len);
	end = put_part(end, variant, variant_len);
	subject->head_len = (uint16) (end - subject->head);
	subject->hash = XXH3_64bits(subject->head, subject->head_len);
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
	size_t user_len = 0;

	if (unlikely(planning > 0))
		return;
	if (unlikely(!ff_buffer_exists()))
	{
		warn();
		return;
	}
	if (subjects == NULL || subject->contents != ff_contents || subject->variant != result->variant)
		make_subject(subject, space, id, result);
	user = ffe_result_unit(ff_cache_state(), ff_cache_set(space), result, &user_len);
	note_user(subject, user == NULL ? "" : user, user == NULL ? 0 : user_len, result);
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

static void
executor_end(QueryDesc *query)
{
	if (previous_executor_end != NULL)
		previous_executor_end(query);
	else
		standard_ExecutorEnd(query);
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
	previous_executor_end = ExecutorEnd_hook;
	ExecutorEnd_hook = executor_end;
	RegisterXactCallback(transaction_end, NULL);
}
