/*
 * src/engine/ffe_eval.c
 *	  Evaluating flags and segments.
 *
 * The rule: the order of doc/flag-format.md, the first step that answers wins. Whatever fails
 * sets st->failure, which ends everything at once and turns into ERROR_FALLBACK. What a dependency
 * answers is remembered for the context, so that no shape of references makes evaluation
 * longer than the number of objects, and one that is still being answered is a cycle.
 */
#include "ffe_state.h"

static bool in_segment(ffe_state *st, const ffe_set *set, uint32_t id);
static int32_t served_variant(ffe_state *st, const ffe_set *set, uint32_t id);

/* The first failure is the one that counts. */
static void
fail(ffe_state *st, ffe_status status, uint32_t culprit)
{
	st->failure = status;
	st->culprit = culprit;
}

#define EXPLAIN(st, ...)                                                                           \
	do                                                                                             \
	{                                                                                              \
		if (ffe_unlikely((st)->trace != NULL))                                                     \
			ffe_explain((st), __VA_ARGS__);                                                        \
	} while (0)

/* ---------- conditions ---------- */

static bool
is_variant(const ffe_doc *doc, int32_t variant, const char *name, size_t len)
{
	const ffe_variant *variants = FFE_AT(doc, doc->variants, ffe_variant);

	return variant >= 0 && variants[variant].name.len == len &&
		   memcmp(ffe_str(doc, variants[variant].name), name, len) == 0;
}

/* Whether flag `id` serves the variant that doc names at wanted. */
static bool
serves(ffe_state *st, const ffe_set *set, const ffe_doc *doc, uint32_t id, ffe_ref wanted)
{
	int32_t variant = served_variant(st, set, id);

	return st->failure == FFE_OK &&
		   is_variant(ffe_set_doc(set, id), variant, ffe_str(doc, wanted), wanted.len);
}

static bool
in_percentage(ffe_state *st, const ffe_set *set, const ffe_doc *doc, const ffe_test *test)
{
	ffe_ref salt = test->u.percentage.salt;
	uint32_t len;
	const char *unit = ffe_state_unit(st, set, test->attr, &len);

	if (unit == NULL || len == 0)
		return false;
	return ffe_bucket_of_hash(ffe_hash_unit(ffe_str(doc, salt), salt.len, unit, len)) <
		   test->u.percentage.below;
}

static bool
holds(ffe_state *st, const ffe_set *set, const ffe_doc *doc, const ffe_test *test)
{
	if (ffe_likely(test->op <= FFE_OP_LAST_ATTRIBUTE))
		return ffe_test_attribute(st, set, doc, test);
	if (test->op == FFE_OP_SEGMENT)
		return in_segment(st, set, test->u.dep.object);
	if (test->op == FFE_OP_FLAG)
		return serves(st, set, doc, test->u.dep.object, test->u.dep.variant);
	return in_percentage(st, set, doc, test);
}

/* Goes from test to test until one answers. id is the object that the tests belong to. */
static bool
run_tests(ffe_state *st, const ffe_set *set, const ffe_doc *doc, uint32_t id, uint32_t entry)
{
	const ffe_test *tests = FFE_AT(doc, doc->tests, ffe_test);
	uint32_t at = entry;

	while (at < FFE_NO)
	{
		const ffe_test *test = &tests[at];
		bool yes = holds(st, set, doc, test);

		if (ffe_unlikely(st->trace != NULL))
			ffe_explain_test(st, set, doc, id, test, yes);
		if (ffe_unlikely(st->failure != FFE_OK))
		{
			if (st->culprit == FFE_NO_ID)
				st->culprit = id;
			return false;
		}
		at = yes ? test->on_true : test->on_false;
	}
	return at == FFE_YES;
}

/* ---------- dependencies ---------- */

/*
 * The memo of an object, NULL when it can't be asked now: a cycle, or too deep. What was asked
 * before counts with the chain that was walked below it and with the steps it took: an answer must
 * not hang on the order in which flags are asked.
 */
static ffe_memo *
enter(ffe_state *st, uint32_t id)
{
	ffe_memo *memo = &st->memos[id];
	uint32_t depth = st->depth + 1;

	if (memo->epoch != st->epoch)
	{
		memo->epoch = st->epoch;
		memo->state = FFE_MEMO_NONE;
	}
	if (memo->state == FFE_MEMO_DONE)
	{
		depth += memo->height;
		st->work += st->counts_once ? 0 : memo->work;
	}
	if (memo->state == FFE_MEMO_BUSY || depth > FFE_MAX_DEPENDENCY_DEPTH ||
		st->work > FFE_WORK_LIMIT)
	{
		fail(st, FFE_LIMIT_EXCEEDED, id);
		st->limit = memo->state == FFE_MEMO_BUSY       ? FFE_LIMIT_CYCLE
					: depth > FFE_MAX_DEPENDENCY_DEPTH ? FFE_LIMIT_CHAIN
													   : FFE_LIMIT_WORK;
		return NULL;
	}
	if (depth > st->deepest)
		st->deepest = depth;
	return memo;
}

/* Goes one step down to evaluate an object; returns what leave_object wants back. */
static uint32_t
enter_object(ffe_state *st, ffe_memo *memo)
{
	uint32_t deepest = st->deepest;

	memo->state = FFE_MEMO_BUSY;
	memo->work = (uint32_t) st->work;
	st->deepest = ++st->depth;
	return deepest;
}

static void
leave_object(ffe_state *st, ffe_memo *memo, uint32_t deepest)
{
	memo->height = (uint8_t) (st->deepest - st->depth);
	memo->work = (uint32_t) st->work - memo->work;
	memo->state = st->failure == FFE_OK ? FFE_MEMO_DONE : FFE_MEMO_NONE;
	if (deepest > st->deepest)
		st->deepest = deepest;
	st->depth--;
}

static bool
segment_decides(ffe_state *st, const ffe_set *set, uint32_t id, const ffe_doc *doc)
{
	uint32_t len = 0;
	const char *user = NULL;
	uint32_t hash;

	if (doc->users.entries.len + doc->excluded.entries.len > 0)
		user = ffe_state_unit(st, set, FFE_BY_USER, &len);
	if (user != NULL && len > 0)
	{
		hash = ffe_hash_string(user, len);
		if (ffe_table_string(doc, &doc->excluded, user, len, hash) != NULL)
		{
			EXPLAIN(st, id, FFE_STAGE_SEGMENT, false, "excluded", "user \"%.*s\" is excluded",
					(int) len, user);
			return false;
		}
		if (ffe_table_string(doc, &doc->users, user, len, hash) != NULL)
		{
			EXPLAIN(st, id, FFE_STAGE_SEGMENT, true, "included", "user \"%.*s\" is included",
					(int) len, user);
			return true;
		}
	}
	return run_tests(st, set, doc, id, doc->entry);
}

static bool
in_segment(ffe_state *st, const ffe_set *set, uint32_t id)
{
	const ffe_doc *doc = ffe_set_doc(set, id);
	ffe_memo *memo = enter(st, id);
	uint32_t deepest;

	if (memo == NULL)
		return false;
	if (memo->state == FFE_MEMO_DONE)
		return memo->inside;
	if (doc == NULL || doc->status != FFE_OK)
	{
		fail(st, doc == NULL ? FFE_FLAG_NOT_FOUND : (ffe_status) doc->status, id);
		st->limit = FFE_LIMIT_DEFINITION;
		return false;
	}
	deepest = enter_object(st, memo);
	memo->inside = segment_decides(st, set, id, doc);
	leave_object(st, memo, deepest);
	return memo->inside;
}

/* ---------- flags ---------- */

/* One evaluation of one flag: what is worked out once and used in several steps. */
typedef struct ffe_run
{
	const ffe_doc *doc;
	uint32_t id;
	const char *unit; /* what is hashed; NULL or empty: nothing is */
	uint32_t unit_len;
	bool unit_known;
	bool bucket_known;
	uint32_t bucket;
	uint64_t hash; /* that the bucket comes from */
} ffe_run;

static bool
has_unit(ffe_state *st, const ffe_set *set, ffe_run *run)
{
	if (!run->unit_known)
	{
		run->unit_known = true;
		run->unit = ffe_state_unit(st, set, run->doc->by, &run->unit_len);
	}
	return run->unit != NULL && run->unit_len > 0;
}

static uint64_t
hash_with(const ffe_run *run, ffe_ref salt)
{
	return ffe_hash_unit(ffe_str(run->doc, salt), salt.len, run->unit, run->unit_len);
}

/* The variant whose share the unit's bucket falls into, or -1. */
static int32_t
pick(ffe_state *st, const ffe_set *set, ffe_run *run, ffe_ref split)
{
	const ffe_share *shares = FFE_AT(run->doc, split, ffe_share);

	if (!has_unit(st, set, run))
		return -1;
	if (!run->bucket_known)
	{
		run->bucket_known = true;
		run->hash = hash_with(run, run->doc->salt);
		run->bucket = ffe_bucket_of_hash(run->hash);
	}
	for (uint32_t i = 0; i < split.len; i++)
	{
		if (run->bucket < shares[i].upto)
			return shares[i].variant;
	}
	return -1;
}

/* Explains a split or a rollout: the bucket, and what the shares reach up to. */
static void
explain_split(ffe_state *st, const ffe_run *run, ffe_ref split, ffe_stage stage, const char *path,
			  int32_t variant)
{
	const ffe_share *shares = FFE_AT(run->doc, split, ffe_share);
	const ffe_variant *variants = FFE_AT(run->doc, run->doc->variants, ffe_variant);
	uint32_t from = 0;

	if (run->unit == NULL || run->unit_len == 0)
	{
		ffe_explain(st, run->id, stage, false, path,
					"the context has no unit to hash: nobody is in");
		return;
	}
	for (uint32_t i = 0; i < split.len; i++)
	{
		ffe_ref name = variants[shares[i].variant].name;
		bool inside = run->bucket >= from && run->bucket < shares[i].upto;
		char where[64];

		ffe_format(where, sizeof(where), "%s[%u]", path, i);
		ffe_explain(st, run->id, stage, inside && variant >= 0, where,
					"bucket %u of \"%.*s%.*s\" %s %u to below %u: %.*s", run->bucket,
					(int) run->doc->salt.len, ffe_str(run->doc, run->doc->salt),
					(int) run->unit_len, run->unit, inside ? "is in" : "is not in", from,
					shares[i].upto, (int) name.len, ffe_str(run->doc, name));
		from = shares[i].upto;
	}
}

static bool
requirements_met(ffe_state *st, const ffe_set *set, ffe_run *run)
{
	const ffe_require *requires = FFE_AT(run->doc, run->doc->requires, ffe_require);

	for (uint32_t i = 0; i < run->doc->requires.len; i++)
	{
		ffe_ref wanted = requires[i].variant;
		bool met = serves(st, set, run->doc, requires[i].flag, wanted);
		char path[32];

		if (st->failure != FFE_OK)
			return false;
		if (ffe_unlikely(st->trace != NULL))
		{
			ffe_format(path, sizeof(path), "requires[%u]", i);
			ffe_explain(st, run->id, FFE_STAGE_PREREQUISITE, met, path,
						"flag \"%s\" %s variant \"%.*s\"", ffe_set_key(set, requires[i].flag, NULL),
						met ? "serves" : "doesn't serve", (int) wanted.len,
						ffe_str(run->doc, wanted));
		}
		if (!met)
			return false;
	}
	return true;
}

/* The variant of the override list that the user is in, or -1. */
static int32_t
overridden(ffe_state *st, const ffe_set *set, ffe_run *run)
{
	const ffe_entry *entry = NULL;
	uint32_t len = 0;
	const char *user = ffe_state_unit(st, set, FFE_BY_USER, &len);

	if (user != NULL && len > 0)
		entry = ffe_table_string(run->doc, &run->doc->users, user, len, ffe_hash_string(user, len));
	EXPLAIN(st, run->id, FFE_STAGE_OVERRIDE, entry != NULL, "overrides",
			entry != NULL  ? "user \"%.*s\" is listed"
			: user == NULL ? "the context has no user id%.*s"
						   : "user \"%.*s\" is not listed",
			(int) len, user == NULL ? "" : user);
	return entry == NULL ? -1 : entry->tag;
}

/* Whether the unit takes part in the experiment. */
static bool
takes_part(ffe_state *st, const ffe_set *set, ffe_run *run)
{
	uint32_t bucket = 0;
	bool part = false;

	if (has_unit(st, set, run))
	{
		bucket = ffe_bucket_of_hash(hash_with(run, run->doc->traffic_salt));
		part = bucket < run->doc->traffic;
		EXPLAIN(st, run->id, FFE_STAGE_TRAFFIC, part, "experiment.traffic",
				"bucket %u of \"%.*s%.*s\" %s below %u", bucket, (int) run->doc->traffic_salt.len,
				ffe_str(run->doc, run->doc->traffic_salt), (int) run->unit_len, run->unit,
				part ? "is" : "is not", run->doc->traffic);
	}
	else
		EXPLAIN(st, run->id, FFE_STAGE_TRAFFIC, false, "experiment.traffic",
				"the context has no unit to hash: nobody is in");
	return part;
}

/* Explains a rule, and its split where it came to that. */
static void
explain_rule(ffe_state *st, const ffe_run *run, uint32_t i, bool matched, int32_t variant)
{
	const ffe_rule *rule = &FFE_AT(run->doc, run->doc->rules, ffe_rule)[i];
	const char *verdict = "doesn't match";
	char path[48];

	if (matched)
		verdict = variant >= 0 ? "matches" : "matches, but its split serves nothing";
	ffe_format(path, sizeof(path), "rules[%u].serve", i);
	if (matched && rule->variant < 0)
		explain_split(st, run, rule->split, FFE_STAGE_SPLIT, path, variant);
	ffe_format(path, sizeof(path), "rules[%u]", i);
	if (rule->id.len > 0)
		ffe_explain(st, run->id, FFE_STAGE_RULE, matched && variant >= 0, path, "rule \"%.*s\" %s",
					(int) rule->id.len, ffe_str(run->doc, rule->id), verdict);
	else
		ffe_explain(st, run->id, FFE_STAGE_RULE, matched && variant >= 0, path, "rule %s", verdict);
}

/* Tries the rules in order. True when one answered, or something failed. */
static bool
rule_answers(ffe_state *st, const ffe_set *set, ffe_run *run, ffe_result *result)
{
	const ffe_rule *rules = FFE_AT(run->doc, run->doc->rules, ffe_rule);

	for (uint32_t i = 0; i < run->doc->rules.len; i++)
	{
		bool matched = run_tests(st, set, run->doc, run->id, rules[i].entry);
		int32_t variant = rules[i].variant;

		if (ffe_unlikely(st->failure != FFE_OK))
			return true;
		if (matched && variant < 0)
			variant = pick(st, set, run, rules[i].split);
		if (ffe_unlikely(st->trace != NULL))
			explain_rule(st, run, i, matched, variant);
		if (matched && variant >= 0)
		{
			result->reason = FFE_RULE_MATCH;
			result->variant = variant;
			result->rule = (int32_t) i;
			return true;
		}
	}
	return false;
}

static void
serve_default(ffe_state *st, const ffe_run *run, ffe_result *result, ffe_reason reason)
{
	result->reason = reason;
	result->variant = run->doc->default_variant;
	EXPLAIN(st, run->id, FFE_STAGE_DEFAULT, true, "default_value", "%s", ffe_reason_name(reason));
}

/* The steps, in order. A failure is left in st->failure. */
static void
decide(ffe_state *st, const ffe_set *set, ffe_run *run, ffe_result *result)
{
	const ffe_doc *doc = run->doc;

	EXPLAIN(st, run->id, FFE_STAGE_KILL_SWITCH, !doc->enabled, "enabled",
			doc->enabled ? "the flag is enabled" : "the kill switch is thrown");
	if (!doc->enabled)
	{
		serve_default(st, run, result, FFE_KILL_SWITCH);
		return;
	}
	if (doc->requires.len > 0 && !requirements_met(st, set, run))
	{
		serve_default(st, run, result, FFE_PREREQUISITE_FAILED);
		return;
	}
	result->exposed = doc->experiment;
	if (doc->users.entries.len > 0)
	{
		result->variant = overridden(st, set, run);
		result->reason = FFE_USER_OVERRIDE;
		if (result->variant >= 0)
			return;
	}
	if (doc->traffic < 100000 && !takes_part(st, set, run))
	{
		result->exposed = false;
		serve_default(st, run, result, FFE_DEFAULT);
		return;
	}
	if (doc->rules.len > 0 && rule_answers(st, set, run, result))
		return;
	if (doc->rollout.len > 0)
	{
		result->variant = pick(st, set, run, doc->rollout);
		result->reason = FFE_ROLLOUT;
		if (ffe_unlikely(st->trace != NULL))
			explain_split(st, run, doc->rollout, FFE_STAGE_ROLLOUT, "rollout", result->variant);
		if (result->variant >= 0)
			return;
	}
	serve_default(st, run, result, FFE_DEFAULT);
}

/* Evaluates a flag that is there; a failure of any kind becomes the result. */
static void
evaluate(ffe_state *st, const ffe_set *set, uint32_t id, const ffe_doc *doc, ffe_result *result)
{
	ffe_run run = {.doc = doc, .id = id};

	result->doc = doc;
	result->status = FFE_OK;
	result->culprit = FFE_NO_ID;
	result->variant = -1;
	result->rule = -1;
	result->exposed = false;
	result->unit = NULL;
	st->culprit = FFE_NO_ID;
	if (ffe_unlikely(doc == NULL || doc->status != FFE_OK))
	{
		fail(st, doc == NULL ? FFE_FLAG_NOT_FOUND : (ffe_status) doc->status, id);
		st->limit = FFE_LIMIT_DEFINITION;
	}
	else
		decide(st, set, &run, result);
	if (ffe_likely(st->failure == FFE_OK))
	{
		if (result->variant < 0)
			result->exposed = false;
		if (run.bucket_known)
		{
			result->unit = run.unit;
			result->unit_len = run.unit_len;
			result->unit_hash = run.hash;
		}
		return;
	}
	result->reason = FFE_ERROR_FALLBACK;
	result->status = st->failure;
	result->limit = st->limit;
	result->culprit = st->culprit == FFE_NO_ID ? id : st->culprit;
	result->variant = doc == NULL ? -1 : doc->default_variant;
	result->rule = -1;
	result->exposed = false;
	EXPLAIN(st, id, FFE_STAGE_FLAG, false, "", "ERROR_FALLBACK: %s", ffe_status_name(st->failure));
}

/* What a flag serves, for another that depends on it; remembered for the context. */
static int32_t
served_variant(ffe_state *st, const ffe_set *set, uint32_t id)
{
	ffe_memo *memo = enter(st, id);
	ffe_result result;
	uint32_t deepest;

	if (memo == NULL)
		return -1;
	if (memo->state == FFE_MEMO_DONE)
		return memo->variant;
	deepest = enter_object(st, memo);
	evaluate(st, set, id, ffe_set_doc(set, id), &result);
	leave_object(st, memo, deepest);
	memo->variant = result.variant;
	if (st->failure != FFE_OK)
		st->culprit = result.culprit;
	return result.variant;
}

/* Evaluates the flag that the host asks for. */
static void
evaluate_asked(ffe_state *st, const ffe_set *set, uint32_t id, const ffe_doc *doc,
			   ffe_result *result)
{
	ffe_memo *memo = NULL;

	st->failure = FFE_OK;
	st->matches = 0;
	st->work = 0;
	st->deepest = 0;
	/* a flag that depends on others is busy meanwhile, so that a way back to it is seen */
	if (doc != NULL && doc->deps.len > 0)
	{
		memo = &st->memos[id];
		memo->epoch = st->epoch;
		memo->state = FFE_MEMO_BUSY;
	}
	evaluate(st, set, id, doc, result);
	if (memo != NULL)
	{
		memo->variant = result->variant;
		memo->height = (uint8_t) st->deepest;
		memo->work = (uint32_t) st->work;
		memo->state = result->status == FFE_OK ? FFE_MEMO_DONE : FFE_MEMO_NONE;
	}
}

/*
 * Steps of what was remembered count each time that it is asked for, in this evaluation and in
 * others over the context. That is more than was done; so where it is too much, the flag is
 * evaluated again with nothing remembered, and what is done is counted. Neither sum hangs on what
 * was asked before.
 */
static void
evaluate_again(ffe_state *st, const ffe_set *set, uint32_t id, const ffe_doc *doc,
			   ffe_result *result)
{
	EXPLAIN(st, id, FFE_STAGE_FLAG, false, "", "evaluated again, counting everything once");
	st->counts_once = true;
	ffe_state_forget(st);
	evaluate_asked(st, set, id, doc, result);
	st->counts_once = false;
	ffe_state_forget(st);
}

void
ffe_evaluate(ffe_state *st, const ffe_set *set, uint32_t id, ffe_result *result)
{
	const ffe_doc *doc = ffe_set_doc(set, id);

	if (ffe_unlikely(st->context.kind > FFE_NULL && st->context.kind != FFE_OBJECT))
	{
		EXPLAIN(st, id, FFE_STAGE_FLAG, false, "", "ERROR_FALLBACK: %s",
				ffe_status_name(FFE_INVALID_CONTEXT));
		*result = (ffe_result){.doc = doc,
							   .reason = FFE_ERROR_FALLBACK,
							   .status = FFE_INVALID_CONTEXT,
							   .culprit = FFE_NO_ID,
							   .variant = doc == NULL ? -1 : doc->default_variant,
							   .rule = -1,
							   .limit = FFE_LIMIT_DEFINITION};
		return;
	}
	evaluate_asked(st, set, id, doc, result);
	if (ffe_unlikely(st->work > FFE_WORK_LIMIT) && doc->deps.len > 0)
		evaluate_again(st, set, id, doc, result);
}
