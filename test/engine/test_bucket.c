/*
 * test/engine/test_bucket.c
 *	  The bucketing function, frozen for ever.
 *
 * The vectors in vectors/bucketing.json must never change: a user would flip.
 */
#include "world.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

static void
check_vector(const json_t *vector)
{
	const char *salt = json_string_value(json_object_get(vector, "salt"));
	const char *unit = json_string_value(json_object_get(vector, "unit"));
	const char *hash = json_string_value(json_object_get(vector, "hash"));
	json_int_t wanted = json_integer_value(json_object_get(vector, "bucket"));
	uint64_t found;
	uint32_t bucket;

	assert_true(salt != NULL && unit != NULL && hash != NULL);
	bucket = ffe_bucket(salt, strlen(salt), unit, strlen(unit), &found);
	assert_int_equal(bucket, wanted);
	assert_string_equal(text("%016llx", (unsigned long long) found), hash);
	assert_int_equal(ffe_bucket(salt, strlen(salt), unit, strlen(unit), NULL), wanted);
}

static void
has_its_vectors(void **state)
{
	json_t *vectors = test_file("vectors/bucketing.json");
	const json_t *vector;
	size_t i;

	(void) state;
	assert_non_null(vectors);
	assert_true(json_array_size(vectors) >= 60);
	json_array_foreach(vectors, i, vector) check_vector(vector);
	json_decref(vectors);
}

/* Our copy is the one that all builds share. */
static void
vectors_are_the_shared_ones(void **state)
{
	json_t *shared = shared_file("vectors/bucketing.json");
	json_t *ours = test_file("vectors/bucketing.json");

	(void) state;
	assert_non_null(ours);
	if (shared == NULL)
		print_message("ABSENT: the shared vectors are not here, the copy was not compared\n");
	else
		assert_true(json_equal(shared, ours));
	json_decref(ours);
	json_decref(shared);
	if (shared == NULL)
		skip();
}

/* The vectors again, through the engine: inside one thousandth of a percent, outside the one below.
 */
static void
check_vector_as_flag(const json_t *vector)
{
	const char *salt = json_string_value(json_object_get(vector, "salt"));
	const char *unit = json_string_value(json_object_get(vector, "unit"));
	json_int_t bucket = json_integer_value(json_object_get(vector, "bucket"));
	const char *context = text("{'user_id': '%s'}", unit);
	world *w = world_new();

	for (json_int_t more = 0; more <= 1; more++)
		put_flag(w, text("{'key': 'f%d', 'type': 'boolean', 'default_value': false,"
						 " 'bucketing': {'salt': '%s'},"
						 " 'rollout': [{'variant': 'on', 'weight': %.3f}]}",
						 (int) more, salt, (double) (bucket + more) / 1000));
	if (unit[0] == '\0')
		expect(w, "f1", context, FFE_DEFAULT, "off", NULL);
	else
		expect(w, "f1", context, FFE_ROLLOUT, "on", NULL);
	expect(w, "f0", context, FFE_DEFAULT, "off", NULL);
	world_free(w);
}

static void
flags_have_its_vectors(void **state)
{
	json_t *vectors = test_file("vectors/bucketing.json");
	const json_t *vector;
	size_t i;

	(void) state;
	assert_non_null(vectors);
	json_array_foreach(vectors, i, vector) check_vector_as_flag(vector);
	json_decref(vectors);
}

static void
worked_example_of_the_page(void **state)
{
	world *w = world_new();
	uint64_t hash;

	(void) state;
	assert_int_equal(ffe_bucket("checkout", 8, "user-1", 6, &hash), 62556);
	assert_true(hash == UINT64_C(15064026698182055662));
	put_flag(w, "{'key': 'checkout', 'type': 'boolean', 'default_value': false,"
				" 'rollout': [{'variant': 'on', 'weight': 62.557}]}");
	expect(w, "checkout", "{'user_id': 'user-1'}", FFE_ROLLOUT, "on", NULL);
	put_flag(w, "{'key': 'checkout', 'type': 'boolean', 'default_value': false,"
				" 'rollout': [{'variant': 'on', 'weight': 62.556}]}");
	expect(w, "checkout", "{'user_id': 'user-1'}", FFE_DEFAULT, "off", NULL);
	world_free(w);
}

/* Salt and unit are kept apart: "ab" and "c" is not "a" and "bc". */
static void
separates_salt_from_unit(void **state)
{
	uint64_t ab_c, a_bc, abc_;

	(void) state;
	ffe_bucket("ab", 2, "c", 1, &ab_c);
	ffe_bucket("a", 1, "bc", 2, &a_bc);
	ffe_bucket("abc", 3, "", 0, &abc_);
	assert_true(ab_c != a_bc);
	assert_true(ab_c != abc_);
	assert_true(a_bc != abc_);
}

/* It is XXH3 of the joined string for every length, long ones and those with a NUL included. */
static void
is_xxh3_of_the_joined_string(void **state)
{
	static char joined[5000];

	(void) state;
	for (size_t i = 0; i < sizeof(joined); i++)
		joined[i] = (char) (i * 31 + i / 256 + 7);
	for (size_t salt_len = 0; salt_len <= 255; salt_len = salt_len * 2 + 1)
	{
		char kept = joined[salt_len];

		joined[salt_len] = ':';
		for (size_t len = salt_len + 1; len <= sizeof(joined); len = len < 600 ? len + 1 : len * 2)
		{
			uint64_t wanted = XXH3_64bits(joined, len);
			uint64_t found;
			uint32_t bucket =
				ffe_bucket(joined, salt_len, joined + salt_len + 1, len - salt_len - 1, &found);

			assert_true(found == wanted);
			assert_int_equal(bucket, wanted % 100 * 1000 + wanted / 100 % 1000);
		}
		joined[salt_len] = kept;
	}
}

/* ---------- xxHash's own sanity values ---------- */

/* The buffer that xxHash's sanity check hashes. */
static void
fill_sanity_buffer(unsigned char *buffer, size_t size)
{
	uint64_t generator = UINT64_C(0x9E3779B1);

	for (size_t i = 0; i < size; i++)
	{
		buffer[i] = (unsigned char) (generator >> 56);
		generator *= UINT64_C(0x9E3779B185EBCA8D);
	}
}

static void
agrees_with_xxhash(void **state)
{
	static unsigned char buffer[2400];
	json_t *suite = shared_file("suites/xxhash-vectors/xxhash-sanity.json");
	unsigned applied = 0, through_bucket = 0;
	const unsigned char *colon;
	const json_t *row;
	size_t i;

	(void) state;
	if (suite == NULL)
	{
		print_message("ABSENT: xxHash's sanity values are not here, nothing was compared\n");
		skip();
	}
	fill_sanity_buffer(buffer, sizeof(buffer));
	colon = memchr(buffer, ':', sizeof(buffer));
	assert_non_null(colon);
	json_array_foreach(json_object_get(suite, "XXH3"), i, row)
	{
		size_t len = strtoul(json_string_value(json_array_get(row, 0)), NULL, 0);
		uint64_t seed = strtoull(json_string_value(json_array_get(row, 1)), NULL, 0);
		uint64_t wanted = strtoull(json_string_value(json_array_get(row, 2)), NULL, 0);
		size_t salt_len = (size_t) (colon - buffer);
		uint64_t found;

		assert_true(len <= sizeof(buffer));
		assert_true(XXH3_64bits_withSeed(buffer, len, seed) == wanted);
		applied++;
		if (seed != 0 || len <= salt_len)
			continue;
		ffe_bucket((const char *) buffer, salt_len, (const char *) colon + 1, len - salt_len - 1,
				   &found);
		assert_true(found == wanted);
		through_bucket++;
	}
	print_message("%u rows of XXH3 apply, %u of them through ffe_bucket\n", applied,
				  through_bucket);
	assert_true(applied >= 20 && through_bucket > 0);
	json_decref(suite);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(has_its_vectors),          cmocka_unit_test(vectors_are_the_shared_ones),
		cmocka_unit_test(flags_have_its_vectors),   cmocka_unit_test(worked_example_of_the_page),
		cmocka_unit_test(separates_salt_from_unit), cmocka_unit_test(is_xxh3_of_the_joined_string),
		cmocka_unit_test(agrees_with_xxhash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
