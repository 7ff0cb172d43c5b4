/*
 * src/engine/ffe_state.h
 *	  The working memory of evaluation.
 *
 * The rule: an attribute is looked up once for each context, whatever asks for it, and what is
 * derived from it (hash, number, version, time) is derived once. Slots and memos carry the number
 * of the context they were filled for (epoch), so that a new context clears nothing.
 */
#ifndef FFE_STATE_H
#define FFE_STATE_H

#include "ffe_internal.h"

/* What a slot has tried to derive (tried), and what came of it (have). */
#define FFE_HAS_HASH 1
#define FFE_HAS_NUMBER 2
#define FFE_HAS_SEMVER 4
#define FFE_HAS_TIME 8
#define FFE_HAS_UNIT 16

typedef struct ffe_slot
{
	uint32_t epoch;
	uint8_t tried;
	uint8_t have;
	ffe_node node;
	uint32_t hash;
	uint32_t unit_len;
	double number;
	int64_t time;
	ffe_semver semver;
	char digits[24]; /* a unit that is a number, as text */
} ffe_slot;

typedef enum ffe_memo_state
{
	FFE_MEMO_NONE,
	FFE_MEMO_BUSY,
	FFE_MEMO_DONE
} ffe_memo_state;

/* What an object answered to this context. */
typedef struct ffe_memo
{
	uint32_t epoch;
	uint8_t state;  /* ffe_memo_state */
	bool inside;    /* segments */
	uint8_t height; /* of the longest chain of dependencies that was walked below it */
	int32_t variant;
	uint32_t work; /* steps to the answer, all that was asked on the way included; while busy: those
					  that were counted before */
} ffe_memo;

struct ffe_state
{
	ffe_alloc alloc;
	const ffe_reader *reader;
	ffe_node context;
	int64_t now;
	uint32_t epoch;
	uint32_t matches;   /* patterns tried in this evaluation */
	uint64_t work;      /* steps counted in this evaluation */
	bool counts_once;   /* what was remembered costs nothing */
	uint32_t depth;     /* of dependencies being evaluated */
	uint32_t deepest;   /* depth that was reached below the object being evaluated */
	ffe_status failure; /* FFE_OK until something fails */
	ffe_limit limit;    /* failure is FFE_LIMIT_EXCEEDED: which one */
	uint32_t culprit;   /* the object that failed */
	ffe_slot *slots;
	ffe_memo *memos;
	uint32_t nslots;
	uint32_t nmemos;
	pcre2_match_data *match_data;
	pcre2_match_context *match_context;
	pcre2_jit_stack *jit_stack;
	int64_t text_time;
	char now_text[32]; /* text_time in words */
	void (*trace)(void *arg, const ffe_step *step);
	void *trace_arg;
};

extern void ffe_state_fill(ffe_state *st, const ffe_set *set, uint32_t attr, ffe_slot *slot);

/* Forgets what was derived from the context and remembered of it. */
extern void ffe_state_forget(ffe_state *st);

/* Ends the evaluation by a limit; false, for callers that return it. */
static inline bool
ffe_exceed(ffe_state *st, ffe_limit limit)
{
	st->failure = FFE_LIMIT_EXCEEDED;
	st->limit = limit;
	return false;
}

/* Counts steps; false when there were too many. */
static inline bool
ffe_spend(ffe_state *st, uint64_t steps)
{
	st->work += steps;
	return ffe_likely(st->work <= FFE_WORK_LIMIT) || ffe_exceed(st, FFE_LIMIT_WORK);
}

/* The attribute's slot, filled. */
static inline ffe_slot *
ffe_state_slot(ffe_state *st, const ffe_set *set, uint32_t attr)
{
	ffe_slot *slot = &st->slots[attr];

	if (slot->epoch != st->epoch)
		ffe_state_fill(st, set, attr, slot);
	return slot;
}

/*
 * The string of the context to hash for `by` (an attribute or FFE_BY_USER). NULL where there is
 * none; it may be empty.
 */
extern const char *ffe_state_unit(ffe_state *st, const ffe_set *set, uint32_t by, uint32_t *len);

/* Derives and remembers; false where the attribute is no such thing. */
extern uint32_t ffe_slot_hash(ffe_slot *slot);
extern bool ffe_slot_number(ffe_state *st, ffe_slot *slot);

/*
 * Whether a condition on an attribute holds, by what the attribute is: a scalar, or anything else.
 * Failure is left in st->failure.
 */
extern bool ffe_test_scalar(ffe_state *st, const ffe_doc *doc, const ffe_test *test,
							ffe_slot *slot);
extern bool ffe_test_other(ffe_state *st, const ffe_doc *doc, const ffe_test *test,
						   const ffe_slot *slot);

static inline bool
ffe_test_attribute(ffe_state *st, const ffe_set *set, const ffe_doc *doc, const ffe_test *test)
{
	ffe_slot *slot = ffe_state_slot(st, set, test->attr);

	if (ffe_likely(slot->node.kind >= FFE_BOOL && slot->node.kind <= FFE_STRING))
		return ffe_test_scalar(st, doc, test, slot);
	return ffe_test_other(st, doc, test, slot);
}

/* ---------- explanations (ffe_explain.c), called only while st->trace is set ---------- */

extern void ffe_explain(ffe_state *st, uint32_t id, ffe_stage stage, bool matched, const char *path,
						const char *format, ...) __attribute__((format(printf, 6, 7)));
extern void ffe_explain_test(ffe_state *st, const ffe_set *set, const ffe_doc *doc, uint32_t id,
							 const ffe_test *test, bool matched);

#endif /* FFE_STATE_H */
