/*
 * test/engine/test_conditions_random.c
 *	  Thousands of formulas made at random, each checked against a recursive evaluation here.
 *
 * The engine makes jumps of all, any and not. A jump that is wrong shows in some nesting or
 * other, which nobody would think of writing down.
 */
#include "world.h"

#define FORMULAS 3000
#define ATTRIBUTES 5

/* A generator of our own, so that every run everywhere has the same formulas. */
static uint64_t seed;

static unsigned
chance(unsigned sides)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (unsigned) (seed >> 33) % sides;
}

/*
 * A random formula over the attributes a0, a1 ... as JSON; its truth over all 32 contexts, one
 * bit for each, is worked out on the way.
 */
static json_t *formula(unsigned depth, uint32_t *truth);

/* Bit i of the answer: whether attribute n is true in context i. */
static uint32_t
truth_of_attribute(unsigned n)
{
	uint32_t truth = 0;

	for (unsigned i = 0; i < 32; i++)
		truth |= ((i >> n) & 1u) << i;
	return truth;
}

static json_t *
leaf(uint32_t *truth)
{
	unsigned n = chance(ATTRIBUTES);

	*truth = truth_of_attribute(n);
	return json_pack("{s:o, s:s, s:b}", "attr", json_sprintf("a%u", n), "op", "equals", "value", 1);
}

static json_t *
group(unsigned depth, bool all, uint32_t *truth)
{
	unsigned count = 1 + chance(4);
	json_t *list = json_array();

	*truth = all ? UINT32_MAX : 0;
	for (unsigned i = 0; i < count; i++)
	{
		uint32_t one;

		json_array_append_new(list, formula(depth - 1, &one));
		*truth = all ? *truth & one : *truth | one;
	}
	return json_pack("{s:o}", all ? "all" : "any", list);
}

static json_t *
formula(unsigned depth, uint32_t *truth)
{
	unsigned shape = depth == 0 ? 0 : chance(7);
	json_t *inner;

	if (shape < 1)
		return leaf(truth);
	if (shape < 3)
	{
		inner = formula(depth - 1, truth);
		*truth = ~*truth;
		return json_pack("{s:o}", "not", inner);
	}
	return group(depth, shape < 5, truth);
}

static const char *
context_of(unsigned bits)
{
	return text("{'a0': %s, 'a1': %s, 'a2': %s, 'a3': %s, 'a4': %s}", bits & 1 ? "true" : "false",
				bits & 2 ? "true" : "false", bits & 4 ? "true" : "false",
				bits & 8 ? "true" : "false", bits & 16 ? "true" : "false");
}

/* Flag f serves on where the formula holds; g tries three formulas, the first that holds wins. */
static void
check_formula(world *w)
{
	uint32_t truth[3];
	json_t *ifs[3];
	json_t *flag;
	char *json;

	for (int i = 0; i < 3; i++)
		ifs[i] = formula(5, &truth[i]);
	flag = json_pack("{s:s, s:s, s:b, s:[{s:s, s:o, s:s}, {s:s, s:o, s:s}, {s:s, s:o, s:s}]}",
					 "key", "f", "type", "boolean", "default_value", 0, "rules", "id", "r0", "if",
					 ifs[0], "serve", "on", "id", "r1", "if", ifs[1], "serve", "off", "id", "r2",
					 "if", ifs[2], "serve", "on");
	assert_non_null(flag);
	json = json_dumps(flag, JSON_COMPACT);
	put_flag(w, json);

	for (unsigned bits = 0; bits < 32; bits++)
	{
		const ffe_result *result = world_evaluate(w, "f", context_of(bits));
		int rule = -1;

		for (int i = 2; i >= 0; i--)
			rule = (truth[i] >> bits) & 1 ? i : rule;
		if (result->status != FFE_OK || result->rule != rule)
			fail_msg("%s for %s: expected rule %d, got %d", json, context_of(bits), rule,
					 result->rule);
	}
	free(json);
	json_decref(flag);
}

static void
formulas(void **state)
{
	world *w = world_new();

	(void) state;
	seed = 20261122;
	for (unsigned i = 0; i < FORMULAS; i++)
		check_formula(w);
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(formulas),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
