/*
 * test/engine/test_rollout.c
 *	  Rollouts and splits: whom a weight reaches, whom it never reaches.
 *
 * What has gone wrong elsewhere is named where it is tested.
 */
#include "world.h"

#define UNITS 20000

/* Flag f with this rollout, which may serve a, b and c. */
static void
put_rollout(world *w, const char *rollout)
{
	put_flag(w, text("{'key': 'f', 'type': 'string', 'default_value': 'd',"
					 " 'variants': {'a': 'A', 'b': 'B', 'c': 'C'}, 'rollout': [%s]}",
					 rollout));
}

/* What unit number i is served: the variant's letter, or - for the default. */
static char
serve(world *w, unsigned i)
{
	char context[64];
	ffe_result result;
	const char *variant;
	size_t len;

	/* not world_evaluate: this is asked a million times */
	snprintf(context, sizeof(context), "{'user_id': 'user-%u'}", i);
	world_begin(w, context);
	ffe_evaluate(w->state, w->set, world_id(w, FFE_FLAG, "f"), &result);
	assert_int_equal(result.status, FFE_OK);
	assert_true(result.reason == FFE_ROLLOUT || result.reason == FFE_RULE_MATCH ||
				result.reason == FFE_DEFAULT);
	variant = ffe_result_variant(&result, &len);
	assert_true((variant == NULL) == (result.reason == FFE_DEFAULT));
	return variant == NULL ? '-' : variant[0];
}

static uint32_t
bucket_of(const char *salt, unsigned i)
{
	char unit[32];
	int len = snprintf(unit, sizeof(unit), "user-%u", i);

	return ffe_bucket(salt, strlen(salt), unit, (size_t) len, NULL);
}

static void
ranges_are_consecutive(void **state)
{
	world *w = world_new();

	(void) state;
	put_rollout(w, "{'variant': 'a', 'weight': 10}, {'variant': 'b', 'weight': 20},"
				   " {'variant': 'c', 'weight': 0.5}");
	for (unsigned i = 0; i < UNITS; i++)
	{
		uint32_t bucket = bucket_of("f", i);
		char wanted = bucket < 10000 ? 'a' : bucket < 30000 ? 'b' : bucket < 30500 ? 'c' : '-';

		if (serve(w, i) != wanted)
			fail_msg("user-%u in bucket %u should have got %c", i, bucket, wanted);
	}
	world_free(w);
}

/* The share of users is the weight: four standard deviations either side. */
static void
shares_are_the_weights(void **state)
{
	static const struct
	{
		double weight;
		unsigned least;
		unsigned most;
	} shares[] = {{1, 144, 256},     {10, 1830, 2170},   {30, 5741, 6259},
				  {50, 9717, 10283}, {90, 17830, 18170}, {99, 19744, 19856}};

	(void) state;
	for (size_t s = 0; s < LENGTH(shares); s++)
	{
		world *w = world_new();
		unsigned count = 0;

		put_rollout(w, text("{'variant': 'a', 'weight': %g}", shares[s].weight));
		for (unsigned i = 0; i < UNITS; i++)
			count += serve(w, i) == 'a';
		if (count < shares[s].least || count > shares[s].most)
			fail_msg("%u of %u for %g %%", count, UNITS, shares[s].weight);
		world_free(w);
	}
}

/* PostHog: <= let somebody in at 0 %. */
static void
zero_is_nobody_and_hundred_everybody(void **state)
{
	world *w = world_new();

	(void) state;
	put_rollout(w, "{'variant': 'a', 'weight': 0}, {'variant': 'b', 'weight': 100}");
	for (unsigned i = 0; i < UNITS; i++)
		assert_int_equal(serve(w, i), 'b');
	put_rollout(w, "{'variant': 'a', 'weight': 0}");
	for (unsigned i = 0; i < UNITS; i++)
		assert_int_equal(serve(w, i), '-');
	put_rollout(w, "{'variant': 'a', 'weight': 100}, {'variant': 'b', 'weight': 0}");
	for (unsigned i = 0; i < UNITS; i++)
		assert_int_equal(serve(w, i), 'a');
	world_free(w);
}

static void
growing_takes_nothing_back(void **state)
{
	static const double weights[] = {0, 0.001, 1, 5, 12.5, 12.501, 50, 99.999, 100};
	static bool had[UNITS];
	unsigned before = 0;
	world *w = world_new();

	(void) state;
	for (size_t s = 0; s < LENGTH(weights); s++)
	{
		unsigned count = 0;

		put_rollout(w, text("{'variant': 'a', 'weight': %.3f}", weights[s]));
		for (unsigned i = 0; i < UNITS; i++)
		{
			bool has = serve(w, i) == 'a';

			assert_true(has || !had[i]);
			had[i] = has;
			count += has;
		}
		assert_true(count >= before);
		before = count;
	}
	assert_int_equal(before, UNITS);
	world_free(w);
}

/* Whoever had the first variant keeps it when that one grows into the second. */
static void
growing_the_first_of_two(void **state)
{
	static char had[UNITS];
	world *w = world_new();

	(void) state;
	put_rollout(w, "{'variant': 'a', 'weight': 10}, {'variant': 'b', 'weight': 20}");
	for (unsigned i = 0; i < UNITS; i++)
		had[i] = serve(w, i);
	put_rollout(w, "{'variant': 'a', 'weight': 20}, {'variant': 'b', 'weight': 20}");
	for (unsigned i = 0; i < UNITS; i++)
	{
		char has = serve(w, i);

		assert_true(had[i] != 'a' || has == 'a');
		assert_true(had[i] == '-' || has != '-');
	}
	world_free(w);
}

/* Unleash: steps of 1 % are too coarse. Here the finest step is one bucket. */
static void
a_thousandth_of_a_percent(void **state)
{
	unsigned units[3] = {0}; /* with bucket 0, 1 and 99999 */
	unsigned found = 0;
	world *w = world_new();

	(void) state;
	for (unsigned i = 0; found < 3; i++)
	{
		uint32_t bucket = bucket_of("f", i);
		unsigned which = bucket == 99999 ? 2 : bucket < 2 ? bucket : 3;

		assert_true(i < 10000000);
		if (which < 3 && units[which] == 0)
		{
			units[which] = i;
			found++;
		}
	}
	put_rollout(w, "{'variant': 'a', 'weight': 0.001}");
	assert_int_equal(serve(w, units[0]), 'a');
	assert_int_equal(serve(w, units[1]), '-');
	put_rollout(w, "{'variant': 'a', 'weight': 0.001}, {'variant': 'b', 'weight': 0.001}");
	assert_int_equal(serve(w, units[1]), 'b');
	put_rollout(w, "{'variant': 'a', 'weight': 99.999}");
	assert_int_equal(serve(w, units[1]), 'a');
	assert_int_equal(serve(w, units[2]), '-');
	put_rollout(w, "{'variant': 'a', 'weight': 99.999}, {'variant': 'b', 'weight': 0.001}");
	assert_int_equal(serve(w, units[2]), 'b');
	world_free(w);
}

/* Every thousandth that a double can hold is taken as what it is written as. */
static void
weights_are_thousandths(void **state)
{
	world *w = world_new();

	(void) state;
	for (unsigned thousandths = 0; thousandths < 100000; thousandths += 37)
	{
		uint32_t bucket = bucket_of("f", thousandths);
		char wanted = bucket < thousandths ? 'a' : bucket < 100000 ? 'b' : '-';

		/* the two sum to exactly 100 */
		put_rollout(w, text("{'variant': 'a', 'weight': %u.%03u}, {'variant': 'b', 'weight':"
							" %u.%03u}",
							thousandths / 1000, thousandths % 1000, (100000 - thousandths) / 1000,
							(100000 - thousandths) % 1000));
		assert_int_equal(serve(w, thousandths), wanted);
	}
	world_free(w);
}

/* Flags with different keys choose different users; the salt decides, not the key. */
static void
salts_are_independent(void **state)
{
	unsigned both = 0;
	world *w = world_new();

	(void) state;
	for (unsigned i = 0; i < UNITS; i++)
		both += bucket_of("f", i) < 50000 && bucket_of("g", i) < 50000;
	/* a quarter, and four standard deviations either side */
	assert_in_range(both, 4755, 5245);

	put_flag(w, "{'key': 'f', 'type': 'string', 'default_value': 'd', 'variants': {'a': 'A'},"
				" 'bucketing': {'salt': 'g'}, 'rollout': [{'variant': 'a', 'weight': 50}]}");
	for (unsigned i = 0; i < 2000; i++)
		assert_int_equal(serve(w, i), bucket_of("g", i) < 50000 ? 'a' : '-');
	world_free(w);
}

/* A rule's split has the flag's bucket; what it leaves over falls through to the next step. */
static void
splits_fall_through(void **state)
{
	world *w = world_new();

	(void) state;
	put_flag(w, "{'key': 'f', 'type': 'string', 'default_value': 'd',"
				" 'variants': {'a': 'A', 'b': 'B', 'c': 'C'},"
				" 'rules': [{'if': {'attr': 'user_id', 'op': 'exists'},"
				"  'serve': [{'variant': 'a', 'weight': 10}, {'variant': 'b', 'weight': 5}]},"
				"  {'if': {'attr': 'user_id', 'op': 'exists'},"
				"  'serve': [{'variant': 'c', 'weight': 40}]}],"
				" 'rollout': [{'variant': 'a', 'weight': 70}]}");
	for (unsigned i = 0; i < UNITS; i++)
	{
		uint32_t bucket = bucket_of("f", i);
		char wanted = bucket < 10000   ? 'a'
					  : bucket < 15000 ? 'b'
					  : bucket < 40000 ? 'c'
					  : bucket < 70000 ? 'a'
									   : '-';

		if (serve(w, i) != wanted)
			fail_msg("user-%u in bucket %u should have got %c", i, bucket, wanted);
	}
	world_free(w);
}

static void
which_step_answered(void **state)
{
	world *w = world_new();

	(void) state;
	/* checkout:user-1 is in bucket 62556, checkout:user-2 in 20268, checkout:42 in 39276 */
	put_flag(w, "{'key': 'checkout', 'type': 'boolean', 'default_value': false, 'rules': ["
				"{'id': 'first', 'if': {'attr': 'a', 'op': 'exists'},"
				" 'serve': [{'variant': 'off', 'weight': 21}]},"
				"{'id': 'second', 'if': {'attr': 'a', 'op': 'exists'},"
				" 'serve': [{'variant': 'on', 'weight': 40}]}],"
				" 'rollout': [{'variant': 'on', 'weight': 62.557}]}");
	expect(w, "checkout", "{'a': 1, 'user_id': 'user-2'}", FFE_RULE_MATCH, "off", "first");
	expect(w, "checkout", "{'a': 1, 'user_id': 42}", FFE_RULE_MATCH, "on", "second");
	expect(w, "checkout", "{'a': 1, 'user_id': 'user-1'}", FFE_ROLLOUT, "on", NULL);
	/* without a unit no split matches, nor does the rollout */
	expect(w, "checkout", "{'a': 1}", FFE_DEFAULT, "off", NULL);
	expect(w, "checkout", "{'a': 1, 'user_id': ''}", FFE_DEFAULT, "off", NULL);
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ranges_are_consecutive),
		cmocka_unit_test(shares_are_the_weights),
		cmocka_unit_test(zero_is_nobody_and_hundred_everybody),
		cmocka_unit_test(growing_takes_nothing_back),
		cmocka_unit_test(growing_the_first_of_two),
		cmocka_unit_test(a_thousandth_of_a_percent),
		cmocka_unit_test(weights_are_thousandths),
		cmocka_unit_test(salts_are_independent),
		cmocka_unit_test(splits_fall_through),
		cmocka_unit_test(which_step_answered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
