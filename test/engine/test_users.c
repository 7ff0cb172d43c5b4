/*
 * test/engine/test_users.c
 *	  Who the user is, what is hashed instead, and override lists.
 */
#include "world.h"

/* The user id that a context gives, NULL for none. */
static const char *
user_of(world *w, const char *context)
{
	const char *user;
	size_t len;

	world_begin(w, context);
	user = ffe_state_user(w->state, w->set, &len);
	return user == NULL ? NULL : text("%.*s", (int) len, user);
}

static void
user_id_else_targeting_key(void **state)
{
	static const struct
	{
		const char *context;
		const char *user;
	} cases[] = {
		{"{'user_id': 'u'}", "u"},
		{"{'targetingKey': 't'}", "t"},
		{"{'user_id': 'u', 'targetingKey': 't'}", "u"},
		{"{'targetingKey': 't', 'user_id': 'u'}", "u"},
		{"{'user_id': 42}", "42"},
		{"{'user_id': 0}", "0"},
		{"{'user_id': -7}", "-7"},
		{"{'user_id': 5.0}", "5"},
		{"{'targetingKey': 42}", "42"},
		{"{'user_id': 9007199254740992}", "9007199254740992"},
		{"{'user_id': 9007199254740991}", "9007199254740991"},
		{"{'user_id': '0042'}", "0042"},
		{"{'user_id': ''}", ""},
		{"{'user_id': 'ünï'}", "ünï"},
		/* anything else counts as missing */
		{"{}", NULL},
		{NULL, NULL},
		{"{'user_id': null}", NULL},
		{"{'user_id': true}", NULL},
		{"{'user_id': 4.5}", NULL},
		{"{'user_id': 9007199254740994}", NULL},
		{"{'user_id': 9007199254740993}", NULL}, /* the double next to it is 2^53 */
		{"{'user_id': -9007199254740993}", NULL},
		{"{'user_id': 9223372036854775807}", NULL},
		{"{'user_id': 1e300}", NULL},
		{"{'user_id': ['u']}", NULL},
		{"{'user_id': {'id': 'u'}}", NULL},
		{"{'user_id': null, 'targetingKey': 't'}", "t"},
		{"{'user_id': 4.5, 'targetingKey': 't'}", "t"},
		{"{'user_id': ['u'], 'targetingKey': 't'}", "t"},
		{"{'user_id': true, 'targetingKey': 7}", "7"},
		{"{'targetingkey': 't', 'userId': 'u'}", NULL},
	};
	world *w = world_new();

	(void) state;
	for (size_t i = 0; i < LENGTH(cases); i++)
	{
		const char *user = user_of(w, cases[i].context);

		if (cases[i].user == NULL ? user != NULL : user == NULL || strcmp(user, cases[i].user) != 0)
			fail_msg("%s: %s", cases[i].context, user == NULL ? "(none)" : user);
	}
	world_free(w);
}

/* ---------- overrides ---------- */

static void
overrides_are_by_user_id(void **state)
{
	world *w = world_new();

	(void) state;
	put_flag(w, "{'key': 'f', 'type': 'boolean', 'default_value': false,"
				" 'overrides': [{'variant': 'on', 'users': ['u', '42']},"
				"  {'variant': 'off', 'users': ['v']}],"
				" 'rollout': [{'variant': 'on', 'weight': 100}]}");
	expect(w, "f", "{'user_id': 'u'}", FFE_USER_OVERRIDE, "on", NULL);
	expect(w, "f", "{'user_id': 42}", FFE_USER_OVERRIDE, "on", NULL);
	expect(w, "f", "{'user_id': '42'}", FFE_USER_OVERRIDE, "on", NULL);
	expect(w, "f", "{'targetingKey': 'v'}", FFE_USER_OVERRIDE, "off", NULL);
	expect(w, "f", "{'user_id': 'U'}", FFE_ROLLOUT, "on", NULL);
	expect(w, "f", "{'user_id': 'x', 'targetingKey': 'v'}", FFE_ROLLOUT, "on", NULL);
	expect(w, "f", "{'user_id': ''}", FFE_DEFAULT, "off", NULL);
	expect(w, "f", "{}", FFE_DEFAULT, "off", NULL);
	world_free(w);
}

/* Ten thousand users in the lists of three variants: first, last, and beside them. */
static void
long_override_lists(void **state)
{
	world *w = world_new();

	(void) state;
	put_flag(w, text("{'key': 'f', 'type': 'number', 'default_value': 0,"
					 " 'variants': {'a': 1, 'b': 2, 'c': 3}, 'overrides': ["
					 "{'variant': 'a', 'users': [%s]}, {'variant': 'b', 'users': [%s]},"
					 "{'variant': 'c', 'users': ['last']}]}",
					 series("'a-%u'", 10000), series("'%u'", 10000)));
	expect(w, "f", "{'user_id': 'a-0'}", FFE_USER_OVERRIDE, "a", NULL);
	expect(w, "f", "{'user_id': 'a-9999'}", FFE_USER_OVERRIDE, "a", NULL);
	expect(w, "f", "{'user_id': 'a-10000'}", FFE_DEFAULT, NULL, NULL);
	expect(w, "f", "{'user_id': 'a-'}", FFE_DEFAULT, NULL, NULL);
	expect(w, "f", "{'user_id': 0}", FFE_USER_OVERRIDE, "b", NULL);
	expect(w, "f", "{'user_id': 9999}", FFE_USER_OVERRIDE, "b", NULL);
	expect(w, "f", "{'user_id': 10000}", FFE_DEFAULT, NULL, NULL);
	expect(w, "f", "{'user_id': 'last'}", FFE_USER_OVERRIDE, "c", NULL);
	for (unsigned i = 0; i < 10000; i += 501)
	{
		expect(w, "f", text("{'user_id': 'a-%u'}", i), FFE_USER_OVERRIDE, "a", NULL);
		expect(w, "f", text("{'user_id': 'b-%u'}", i), FFE_DEFAULT, NULL, NULL);
	}
	world_free(w);
}

/* ---------- bucketing.by ---------- */

static void
another_attribute_is_hashed(void **state)
{
	world *w = world_new();

	(void) state;
	/* checkout:user-1 is in bucket 62556, checkout:42 in 39276 */
	put_flag(w, "{'key': 'checkout', 'type': 'boolean', 'default_value': false,"
				" 'bucketing': {'by': 'org.id'}, 'overrides': [{'variant': 'off', 'users': ['o']}],"
				" 'rollout': [{'variant': 'on', 'weight': 62.557}]}");
	expect(w, "checkout", "{'org': {'id': 'user-1'}}", FFE_ROLLOUT, "on", NULL);
	expect(w, "checkout", "{'org': {'id': 'user-1'}, 'user_id': 'x'}", FFE_ROLLOUT, "on", NULL);
	expect(w, "checkout", "{'org': {'id': 42}}", FFE_ROLLOUT, "on", NULL);
	/* overrides go by the user all the same */
	expect(w, "checkout", "{'org': {'id': 'user-1'}, 'user_id': 'o'}", FFE_USER_OVERRIDE, "off",
		   NULL);
	expect(w, "checkout", "{'org': {'id': 'o'}, 'user_id': 'x'}", FFE_ROLLOUT, "on", NULL);
	/* the user never stands in for it */
	expect(w, "checkout", "{'user_id': 'user-2'}", FFE_DEFAULT, "off", NULL);
	put_flag(w,
			 "{'key': 'checkout', 'type': 'boolean', 'default_value': false,"
			 " 'bucketing': {'by': 'org.id'}, 'rollout': [{'variant': 'on', 'weight': 62.556}]}");
	expect(w, "checkout", "{'org': {'id': 'user-1'}, 'user_id': 'user-2'}", FFE_DEFAULT, "off",
		   NULL);
	world_free(w);
}

/* LaunchDarkly: a missing unit lands in bucket 0, and so in the first variant. */
static void
no_unit_no_bucket(void **state)
{
	static const char *const units[] = {"null", "''",    "true",
										"4.5",  "['u']", "[]",
										"{}",   "1e300", "9007199254740994"};
	world *w = world_new();

	(void) state;
	put_flag(w, "{'key': 'f', 'type': 'boolean', 'default_value': false,"
				" 'bucketing': {'by': 'org'}, 'rules': [{'if': {'attr': 'a', 'op': 'exists'},"
				"  'serve': [{'variant': 'on', 'weight': 100}]}],"
				" 'rollout': [{'variant': 'on', 'weight': 100}]}");
	put_flag(w, "{'key': 'g', 'type': 'boolean', 'default_value': false,"
				" 'rollout': [{'variant': 'on', 'weight': 100}]}");
	for (size_t i = 0; i < LENGTH(units); i++)
	{
		expect(w, "f", text("{'a': 1, 'user_id': 'u', 'org': %s}", units[i]), FFE_DEFAULT, "off",
			   NULL);
		expect(w, "g", text("{'user_id': %s}", units[i]), FFE_DEFAULT, "off", NULL);
		expect(w, "g", text("{'targetingKey': %s}", units[i]), FFE_DEFAULT, "off", NULL);
	}
	expect(w, "f", "{'a': 1, 'user_id': 'u'}", FFE_DEFAULT, "off", NULL);
	expect(w, "f", "{'a': 1, 'user_id': 'u', 'org': 'o'}", FFE_RULE_MATCH, "on", NULL);
	expect(w, "f", "{'user_id': 'u', 'org': 0}", FFE_ROLLOUT, "on", NULL);
	expect(w, "g", "{}", FFE_DEFAULT, "off", NULL);
	world_free(w);
}

/* An integer is hashed as its digits: the same unit as the string of them. */
static void
integers_are_their_digits(void **state)
{
	world *w = world_new();

	(void) state;
	put_flag(w, "{'key': 'f', 'type': 'boolean', 'default_value': false,"
				" 'rollout': [{'variant': 'on', 'weight': 50}]}");
	for (unsigned i = 0; i < 2000; i++)
	{
		const char *digits = text("%u", i * 7919);
		bool inside = ffe_bucket("f", 1, digits, strlen(digits), NULL) < 50000;
		ffe_reason reason = inside ? FFE_ROLLOUT : FFE_DEFAULT;
		const char *variant = inside ? "on" : "off";

		expect(w, "f", text("{'user_id': %s}", digits), reason, variant, NULL);
		expect(w, "f", text("{'user_id': '%s'}", digits), reason, variant, NULL);
		expect(w, "f", text("{'targetingKey': %s}", digits), reason, variant, NULL);
	}
	world_free(w);
}

/* A unit may be far longer than anything in a definition. */
static void
long_units(void **state)
{
	world *w = world_new();

	(void) state;
	put_flag(w, "{'key': 'f', 'type': 'boolean', 'default_value': false,"
				" 'rollout': [{'variant': 'on', 'weight': 50}]}");
	for (size_t len = 1; len < 100000; len = len * 3 / 2 + 1)
	{
		const char *unit = repeat('u', len);
		bool inside = ffe_bucket("f", 1, unit, len, NULL) < 50000;

		expect(w, "f", text("{'user_id': '%s'}", unit), inside ? FFE_ROLLOUT : FFE_DEFAULT,
			   inside ? "on" : "off", NULL);
	}
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(user_id_else_targeting_key),
		cmocka_unit_test(overrides_are_by_user_id),
		cmocka_unit_test(long_override_lists),
		cmocka_unit_test(another_attribute_is_hashed),
		cmocka_unit_test(no_unit_no_bucket),
		cmocka_unit_test(integers_are_their_digits),
		cmocka_unit_test(long_units),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
