/*
 * test/engine/test_limits.c
 *	  What evaluation may cost: cycles, long chains, diamonds, regular expressions, long arrays.
 *
 * The rule these tests guard: evaluation ends soon, whatever the definitions and the context are.
 * An alarm ends the program where it does not.
 */
#include "world.h"

#include <time.h>
#include <unistd.h>

#define LONGEST                                                                                    \
	2.0 /* seconds of the processor that anything here may take; the sanitizers' included */

static double
seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

/* Evaluates once, and checks that it does not take long. */
static const ffe_result *
evaluate_soon(world *w, const char *flag, const char *context)
{
	static ffe_result result;
	uint32_t id = world_id(w, FFE_FLAG, flag);
	double start;

	world_begin(w, context);
	alarm(60);
	start = seconds();
	ffe_evaluate(w->state, w->set, id, &result);
	if (seconds() - start > LONGEST)
		fail_msg("evaluation took %.3f seconds", seconds() - start);
	alarm(0);
	return &result;
}

/* A boolean flag that is on where a condition holds. */
static void
put_if(world *w, const char *key, const char *condition)
{
	put_flag(w, text("{'key': '%s', 'type': 'boolean', 'default_value': false,"
					 " 'rules': [{'if': %s, 'serve': 'on'}]}",
					 key, condition));
}

/* ---------- cycles ---------- */

static void
cycles_of_flags(void **state)
{
	world *w = world_new();

	(void) state;
	put_if(w, "self", "{'flag': 'self', 'variant': 'on'}");
	expect_error(w, "self", "{}", FFE_LIMIT_EXCEEDED, "self");
	put_if(w, "a", "{'flag': 'b', 'variant': 'on'}");
	put_if(w, "b", "{'flag': 'c', 'variant': 'on'}");
	put_if(w, "c", "{'flag': 'a', 'variant': 'on'}");
	assert_int_equal(world_evaluate(w, "a", "{}")->status, FFE_LIMIT_EXCEEDED);
	assert_int_equal(world_evaluate(w, "b", "{}")->status, FFE_LIMIT_EXCEEDED);
	assert_int_equal(world_evaluate(w, "c", "{}")->status, FFE_LIMIT_EXCEEDED);
	/* one outside of it that leads into it */
	put_if(w, "d", "{'flag': 'a', 'variant': 'on'}");
	assert_int_equal(world_evaluate(w, "d", "{}")->status, FFE_LIMIT_EXCEEDED);
	/* cut, they answer again */
	put_if(w, "c", "{'not': {'attr': 'x', 'op': 'exists'}}");
	expect(w, "d", "{}", FFE_RULE_MATCH, "on", NULL);
	expect(w, "a", "{}", FFE_RULE_MATCH, "on", NULL);
	world_free(w);
}

static void
cycles_of_prerequisites(void **state)
{
	world *w = world_new();

	(void) state;
	for (unsigned i = 0; i < 2; i++)
		put_flag(w, text("{'key': 'f%u', 'type': 'boolean', 'default_value': true,"
						 " 'requires': [{'flag': 'f%u', 'variant': 'on'}]}",
						 i, 1 - i));
	/* the one that the way comes back to is named */
	expect_error(w, "f0", "{}", FFE_LIMIT_EXCEEDED, "f0");
	expect_error(w, "f1", "{}", FFE_LIMIT_EXCEEDED, "f1");
	/* a kill switch answers before the cycle is entered */
	put_flag(w, "{'key': 'f1', 'type': 'boolean', 'default_value': true, 'enabled': false,"
				" 'requires': [{'flag': 'f0', 'variant': 'on'}]}");
	expect(w, "f1", "{}", FFE_KILL_SWITCH, "on", NULL);
	expect(w, "f0", "{}", FFE_DEFAULT, "on", NULL);
	world_free(w);
}

static void
cycles_of_segments(void **state)
{
	world *w = world_new();

	(void) state;
	put_segment(w, "{'key': 's', 'if': {'segment': 's'}}");
	put_if(w, "f", "{'segment': 's'}");
	expect_error(w, "f", "{}", FFE_LIMIT_EXCEEDED, "s");
	put_segment(w, "{'key': 's', 'included': ['u'], 'if': {'segment': 't'}}");
	put_segment(w, "{'key': 't', 'if': {'flag': 'f', 'variant': 'on'}}");
	assert_int_equal(world_evaluate(w, "f", "{}")->status, FFE_LIMIT_EXCEEDED);
	/* only for those who get that far */
	expect(w, "f", "{'user_id': 'u'}", FFE_RULE_MATCH, "on", NULL);
	world_free(w);
}

/* ---------- chains ---------- */

/* Flags c0, c1 ... each on where the next one is; the last is on for those with attribute a. */
static void
put_chain(world *w, unsigned flags)
{
	for (unsigned i = 0; i + 1 < flags; i++)
		put_if(w, text("c%u", i), text("{'flag': 'c%u', 'variant': 'on'}", i + 1));
	put_if(w, text("c%u", flags - 1), "{'attr': 'a', 'op': 'exists'}");
}

static void
chains_have_a_bound(void **state)
{
	world *w = world_new();

	(void) state;
	put_chain(w, FFE_MAX_DEPENDENCY_DEPTH);
	expect(w, "c0", "{'a': 1}", FFE_RULE_MATCH, "on", NULL);
	expect(w, "c0", "{}", FFE_DEFAULT, "off", NULL);
	put_chain(w, FFE_MAX_DEPENDENCY_DEPTH + 2);
	assert_int_equal(world_evaluate(w, "c0", "{'a': 1}")->status, FFE_LIMIT_EXCEEDED);
	expect(w, "c2", "{'a': 1}", FFE_RULE_MATCH, "on", NULL);
	world_free(w);
}

/* Thirty levels of two, each asking for both of the next: 2^30 ways down. */
static void
diamonds_are_cheap(void **state)
{
	const unsigned levels = 30;
	world *w = world_new();

	(void) state;
	for (unsigned i = 0; i < levels; i++)
	{
		for (const char *side = "lr"; *side != '\0'; side++)
			put_if(w, text("%c%u", *side, i),
				   text("{'all': [{'flag': 'l%1$u', 'variant': 'on'},"
						" {'flag': 'r%1$u', 'variant': 'on'}]}",
						i + 1));
	}
	put_if(w, text("l%u", levels), "{'attr': 'a', 'op': 'exists'}");
	put_if(w, text("r%u", levels), "{'attr': 'a', 'op': 'exists'}");
	assert_int_equal(evaluate_soon(w, "l0", "{'a': 1}")->reason, FFE_RULE_MATCH);
	assert_int_equal(evaluate_soon(w, "l0", "{}")->reason, FFE_DEFAULT);
	world_free(w);
}

static void
diamonds_of_segments_and_prerequisites(void **state)
{
	const unsigned levels = 30;
	world *w = world_new();

	(void) state;
	for (unsigned i = 0; i < levels; i++)
	{
		for (const char *side = "lr"; *side != '\0'; side++)
		{
			put_segment(w, text("{'key': '%1$c%2$u', 'if': {'all': [{'not': {'segment': 'l%3$u'}},"
								" {'not': {'segment': 'r%3$u'}}]}}",
								*side, i, i + 1));
			put_flag(w, text("{'key': '%1$c%2$u', 'type': 'boolean', 'default_value': true,"
							 " 'requires': [{'flag': 'l%3$u', 'variant': 'on'},"
							 " {'flag': 'r%3$u', 'variant': 'on'}]}",
							 *side, i, i + 1));
		}
	}
	put_segment(w, text("{'key': 'l%u', 'if': {'attr': 'a', 'op': 'exists'}}", levels));
	put_segment(w, text("{'key': 'r%u', 'if': {'attr': 'a', 'op': 'exists'}}", levels));
	put_flag(w, text("{'key': 'l%u', 'type': 'boolean', 'default_value': true}", levels));
	put_flag(w, text("{'key': 'r%u', 'type': 'boolean', 'default_value': true}", levels));
	put_if(w, "f", "{'segment': 'l0'}");
	/* thirty times not: an even number */
	assert_int_equal(evaluate_soon(w, "f", "{'a': 1}")->reason, FFE_RULE_MATCH);
	assert_int_equal(evaluate_soon(w, "f", "{}")->reason, FFE_DEFAULT);
	assert_int_equal(evaluate_soon(w, "l0", "{}")->status, FFE_OK);
	world_free(w);
}

/* ---------- regular expressions ---------- */

static void
put_regex(world *w, const char *pattern)
{
	put_if(w, "f", text("{'attr': 'a', 'op': 'regex', 'value': '%s'}", pattern));
}

static void
patterns_that_explode(void **state)
{
	static const char *const patterns[] = {"(a+)+$", "^(a|aa)+$", "^(a*)*$", "(a|a)*$",
										   "^(([a-z])+.)+[A-Z]([a-z])+$"};
	const char *context = text("{'a': '%s!'}", repeat('a', 64));
	world *w = world_new();

	(void) state;
	for (size_t i = 0; i < LENGTH(patterns); i++)
	{
		put_regex(w, patterns[i]);
		assert_int_equal(evaluate_soon(w, "f", context)->status, FFE_LIMIT_EXCEEDED);
		expect_error(w, "f", context, FFE_LIMIT_EXCEEDED, "f");
		/* and the state is good for another */
		assert_int_equal(evaluate_soon(w, "f", "{'a': 'b!'}")->status, FFE_OK);
	}
	put_segment(w, "{'key': 's', 'if': {'attr': 'a', 'op': 'regex', 'value': '(a+)+$'}}");
	put_if(w, "f", "{'not': {'segment': 's'}}");
	expect_error(w, "f", context, FFE_LIMIT_EXCEEDED, "s");
	world_free(w);
}

/* Patterns that are quadratic in the subject without counting a step. */
static void
patterns_on_long_subjects(void **state)
{
	static const char *const patterns[] = {"[a-z]{3,}[0-9]", "(?=a)[a-z]*[0-9]", "(?:[a-z])+[0-9]"};
	world *w = world_new();

	(void) state;
	for (size_t i = 0; i < LENGTH(patterns); i++)
	{
		put_regex(w, patterns[i]);
		evaluate_soon(w, "f", text("{'a': '%s'}", repeat('a', FFE_REGEX_SUBJECT_LIMIT)));
		expect_error(w, "f", text("{'a': '%s'}", repeat('a', FFE_REGEX_SUBJECT_LIMIT + 1)),
					 FFE_LIMIT_EXCEEDED, "f");
	}
	put_regex(w, "b$");
	expect(w, "f", text("{'a': '%sb'}", repeat('a', FFE_REGEX_SUBJECT_LIMIT - 1)), FFE_RULE_MATCH,
		   "on", NULL);
	world_free(w);
}

/* Elements that come near the limit, each for itself, and far beyond it together. */
static void
patterns_on_long_arrays(void **state)
{
	const char *element = text("'%s!'", repeat('a', 20));
	world *w = world_new();

	(void) state;
	put_regex(w, "^(a|aa)+$");
	assert_int_equal(evaluate_soon(w, "f", text("{'a': [%s]}", element))->status, FFE_OK);
	assert_int_equal(
		evaluate_soon(w, "f", text("{'a': [%s]}", series(element, FFE_MAX_ELEMENTS)))->status,
		FFE_LIMIT_EXCEEDED);
	/* one evaluation's spending is not the next one's, over the same context too */
	put_regex(w, "^x");
	world_begin(w, text("{'a': [%s]}", series("'a'", FFE_REGEX_MATCHES_LIMIT)));
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(world_ask(w, "f")->status, FFE_OK);
	expect_error(w, "f", text("{'a': [%s]}", series("'a'", FFE_REGEX_MATCHES_LIMIT + 1)),
				 FFE_LIMIT_EXCEEDED, "f");
	world_free(w);
}

/* ---------- arrays ---------- */

static void
arrays_have_a_bound(void **state)
{
	const char *most = series("%u", FFE_MAX_ELEMENTS);
	const char *more = series("%u", FFE_MAX_ELEMENTS + 1);
	world *w = world_new();

	(void) state;
	put_if(w, "f", text("{'attr': 'a', 'op': 'equals', 'value': %u}", FFE_MAX_ELEMENTS - 1));
	expect(w, "f", text("{'a': [%s]}", most), FFE_RULE_MATCH, "on", NULL);
	expect_error(w, "f", text("{'a': [%s]}", more), FFE_LIMIT_EXCEEDED, "f");
	/* those that do not look into it do not mind */
	put_if(w, "f", "{'attr': 'a', 'op': 'exists'}");
	expect(w, "f", text("{'a': [%s]}", more), FFE_RULE_MATCH, "on", NULL);
	world_free(w);
}

static void
long_lists_and_arrays(void **state)
{
	world *w = world_new();

	(void) state;
	put_if(w, "f",
		   text("{'attr': 'a', 'op': 'in_list', 'value': [%s]}",
				series("'item-%u'", FFE_MAX_LIST)));
	assert_int_equal(
		evaluate_soon(w, "f", text("{'a': [%s]}", series("'other-%u'", FFE_MAX_ELEMENTS)))->reason,
		FFE_DEFAULT);
	assert_int_equal(evaluate_soon(w, "f", text("{'a': 'item-%u'}", FFE_MAX_LIST - 1))->reason,
					 FFE_RULE_MATCH);
	assert_int_equal(evaluate_soon(w, "f", text("{'a': 'item-%u'}", FFE_MAX_LIST))->reason,
					 FFE_DEFAULT);
	world_free(w);
}

/* ---------- work ---------- */

/* Expects that an evaluation ends soon, by the limit of work. */
static void
expect_too_much(world *w, const char *flag, const char *context)
{
	const ffe_result *result = evaluate_soon(w, flag, context);

	assert_int_equal(result->status, FFE_LIMIT_EXCEEDED);
	assert_int_equal(result->limit, FFE_LIMIT_WORK);
}

/* count conditions on attribute a, none of which holds. */
static void
put_conditions(world *w, const char *key, unsigned count, const char *condition)
{
	put_if(w, key, text("{'any': [%s]}", series(text("{'attr': 'a', %s}", condition), count)));
}

static void
many_conditions_on_long_arrays(void **state)
{
	const char *alternatives = series("'alternative-%u'", FFE_MAX_ANY_OF);
	const char *numbers = text("{'a': [%s]}", series("%u", FFE_MAX_ELEMENTS));
	const char *strings = text("{'a': [%s]}", series("'element-%u'", FFE_MAX_ELEMENTS));
	world *w = world_new();

	(void) state;
	put_conditions(w, "f", 1000, text("'op': 'ends_with', 'value': [%s]", alternatives));
	expect_too_much(w, "f", strings);
	put_conditions(w, "f", 1000, "'op': 'equals', 'value': -1");
	expect_too_much(w, "f", numbers);
	put_conditions(w, "f", 1000, "'op': 'contains', 'value': 'x', 'ignore_case': true");
	expect_too_much(w, "f", strings);
	/* one condition with the most there can be of both is none too many */
	put_conditions(w, "f", 1, text("'op': 'ends_with', 'value': [%s]", alternatives));
	assert_int_equal(evaluate_soon(w, "f", strings)->status, FFE_OK);
	world_free(w);
}

static void
many_conditions_on_long_strings(void **state)
{
	static const char *const ops[] = {"equals", "starts_with", "ends_with"};
	const char *alternatives = series("'alternative-%u'", FFE_MAX_ANY_OF);
	const char *longest = text("{'a': '%s'}", repeat('A', 20000000));
	const char *accents = text("{'a': '%s'}", series("É%u", 2000));
	world *w = world_new();

	(void) state;
	put_conditions(w, "f", 1,
				   text("'op': 'contains', 'ignore_case': true, 'value': [%s]", alternatives));
	expect_too_much(w, "f", longest);
	put_conditions(w, "f", 100, text("'op': 'contains', 'value': [%s]", alternatives));
	expect_too_much(w, "f", longest);
	for (size_t i = 0; i < LENGTH(ops); i++)
	{
		put_conditions(w, "f", 10000,
					   text("'op': '%s', 'ignore_case': true, 'value': 'x'", ops[i]));
		expect_too_much(w, "f", accents);
	}
	/* as many on a string of usual length */
	put_conditions(w, "f", 10000,
				   "'op': 'contains', 'ignore_case': true, 'value': ['x', 'y', 'z']");
	assert_int_equal(evaluate_soon(w, "f", text("{'a': '%s'}", repeat('A', 200)))->status, FFE_OK);
	world_free(w);
}

static void
many_patterns_on_long_texts(void **state)
{
	const char *element = text("'%s'", repeat('a', FFE_REGEX_SUBJECT_LIMIT));
	world *w = world_new();

	(void) state;
	put_regex(w, "[a-z]{3,}[0-9]");
	expect_too_much(w, "f", text("{'a': [%s]}", series(element, 1000)));
	world_free(w);
}

static void
long_units(void **state)
{
	const char *context = text("{'user_id': '%s'}", repeat('u', 20000000));
	world *w = world_new();

	(void) state;
	put_if(w, "f", text("{'any': [%s]}", series("{'percentage': 0, 'salt': 's%u'}", 10000)));
	expect_too_much(w, "f", context);
	put_if(w, "f", "{'percentage': 100, 'salt': 's'}");
	assert_int_equal(evaluate_soon(w, "f", context)->status, FFE_OK);
	world_free(w);
}

/*
 * Segment `half` takes more than half of what an evaluation may cost, `more` asks for it. Whoever
 * asks for `half` alone, or often, is answered; whoever asks for both halves is not: whatever was
 * asked before.
 */
static void
work_counts_in_any_order(void **state)
{
	static const struct
	{
		const char *condition;
		ffe_status status;
	} flags[] = {
		{"{'any': [{'segment': 'half'}, {'segment': 'half'}, {'segment': 'half'}]}", FFE_OK},
		{"{'any': [{'segment': 'more'}, {'segment': 'half'}]}", FFE_OK},
		{"{'any': [{'segment': 'half'}, {'segment': 'other'}]}", FFE_LIMIT_EXCEEDED},
		{"{'any': [{'segment': 'more'}, {'segment': 'other'}]}", FFE_LIMIT_EXCEEDED},
		{"{'segment': 'other'}", FFE_OK},
	};
	const char *half = series("{'attr': 'a', 'op': 'equals', 'value': -1}", 12);
	const char *context = text("{'a': [%s]}", series("%u", FFE_MAX_ELEMENTS));
	world *w = world_new();
	unsigned wrong = 0;

	(void) state;
	put_segment(w, text("{'key': 'half', 'if': {'any': [%s]}}", half));
	put_segment(w, text("{'key': 'other', 'if': {'any': [%s]}}", half));
	put_segment(w, "{'key': 'more', 'if': {'segment': 'half'}}");
	for (size_t i = 0; i < LENGTH(flags); i++)
		put_if(w, text("f%zu", i), flags[i].condition);
	for (size_t i = 0; i < LENGTH(flags); i++)
		wrong += world_evaluate(w, text("f%zu", i), context)->status != flags[i].status;
	assert_int_equal(wrong, 0);
	world_begin(w, context);
	for (size_t i = 0; i < 2 * LENGTH(flags); i++)
		wrong += world_ask(w, text("f%zu", i % LENGTH(flags)))->status !=
				 flags[i % LENGTH(flags)].status;
	assert_int_equal(wrong, 0);
	world_begin(w, context);
	for (size_t i = LENGTH(flags); i-- > 0;)
		wrong += world_ask(w, text("f%zu", i))->status != flags[i].status;
	assert_int_equal(wrong, 0);
	world_free(w);
}

/* What a flag answers must not hang on which others were asked before it over the same context. */
static void
chains_answer_in_any_order(void **state)
{
	const unsigned flags = FFE_MAX_DEPENDENCY_DEPTH + 10;
	ffe_status alone[FFE_MAX_DEPENDENCY_DEPTH + 10];
	world *w = world_new();
	unsigned wrong = 0;

	(void) state;
	put_chain(w, flags);
	for (unsigned i = 0; i < flags; i++)
		alone[i] = world_evaluate(w, text("c%u", i), "{'a': 1}")->status;
	world_begin(w, "{'a': 1}");
	for (unsigned i = 0; i < flags; i++)
		wrong += world_ask(w, text("c%u", i))->status != alone[i];
	assert_int_equal(wrong, 0);
	world_begin(w, "{'a': 1}");
	for (unsigned i = flags; i-- > 0;)
		wrong += world_ask(w, text("c%u", i))->status != alone[i];
	assert_int_equal(wrong, 0);
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cycles_of_flags),
		cmocka_unit_test(cycles_of_prerequisites),
		cmocka_unit_test(cycles_of_segments),
		cmocka_unit_test(chains_have_a_bound),
		cmocka_unit_test(chains_answer_in_any_order),
		cmocka_unit_test(diamonds_are_cheap),
		cmocka_unit_test(diamonds_of_segments_and_prerequisites),
		cmocka_unit_test(patterns_that_explode),
		cmocka_unit_test(patterns_on_long_subjects),
		cmocka_unit_test(patterns_on_long_arrays),
		cmocka_unit_test(arrays_have_a_bound),
		cmocka_unit_test(long_lists_and_arrays),
		cmocka_unit_test(many_conditions_on_long_arrays),
		cmocka_unit_test(many_conditions_on_long_strings),
		cmocka_unit_test(many_patterns_on_long_texts),
		cmocka_unit_test(long_units),
		cmocka_unit_test(work_counts_in_any_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
