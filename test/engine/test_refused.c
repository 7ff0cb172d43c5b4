/*
 * test/engine/test_refused.c
 *	  What is refused wherever it stands: unknown members, wrong types, missing members.
 *
 * Each is made from a definition that has everything, by changing one place.
 */
#include "world.h"

static const char flag[] =
	"{'key': 'f', 'type': 'string', 'description': 'd', 'state': 'active', 'enabled': true,"
	" 'default_value': 'x', 'variants': {'a': 'A', 'b': 'B'},"
	" 'overrides': [{'variant': 'a', 'users': ['u']}],"
	" 'rules': ["
	"  {'id': 'r0', 'serve': 'a',"
	"   'if': {'attr': 'a', 'op': 'equals', 'value': 'v', 'ignore_case': true}},"
	"  {'id': 'r1', 'serve': [{'variant': 'a', 'weight': 10}], 'if': {'all': [{'segment': 's'}]}},"
	"  {'id': 'r2', 'serve': 'b', 'if': {'any': [{'flag': 'g', 'variant': 'on'}]}},"
	"  {'id': 'r3', 'serve': 'b', 'if': {'not': {'percentage': 10, 'by': 'org', 'salt': 'w'}}}],"
	" 'rollout': [{'variant': 'b', 'weight': 12.5}],"
	" 'requires': [{'flag': 'h', 'variant': 'on'}], 'bucketing': {'by': 'org', 'salt': 's'},"
	" 'experiment': {'active': true, 'traffic': 50, 'hypothesis': 'h',"
	" 'started_at': '2026-01-01T00:00:00Z', 'ended_at': '2026-02-01T00:00:00Z'},"
	" 'tags': ['t'], 'owner': 'o',"
	" 'expires_at': '2026-01-01T00:00:00Z', 'version': 1,"
	" 'created_at': '2026-01-01T00:00:00Z', 'updated_at': '2026-01-01T00:00:00Z'}";

static const char segment[] =
	"{'key': 's', 'description': 'd', 'state': 'active', 'included': ['i'], 'excluded': ['e'],"
	" 'if': {'attr': 'a', 'op': 'exists'}, 'version': 1,"
	" 'created_at': '2026-01-01T00:00:00Z', 'updated_at': '2026-01-01T00:00:00Z'}";

/* A value of each kind, and what a message calls it. */
static const struct
{
	char kind;
	const char *value;
	const char *word;
} samples[] = {
	{'n', "null", "null"},     {'b', "true", "true"},        {'#', "5", "5"},
	{'s', "'x y!'", "\"x y!"}, {'a', "[['x']]", "an array"}, {'o', "{'x': 1}", "an object"},
};

/* A place, and the kinds that may stand there: n null, b boolean, # number, s string ... */
typedef struct place
{
	const char *path;
	const char *kinds;
} place;

static const place flag_places[] = {
	{"key", "s"},
	{"type", "s"},
	{"description", "ns"},
	{"state", "ns"},
	{"enabled", "nb"},
	{"default_value", "s"},
	{"variants", "no"},
	{"variants.a", "s"},
	{"overrides", "na"},
	{"overrides[0]", "o"},
	{"overrides[0].variant", "s"},
	{"overrides[0].users", "a"},
	{"overrides[0].users[0]", "s"},
	{"rules", "na"},
	{"rules[0]", "o"},
	{"rules[0].id", "ns"},
	{"rules[0].if", "o"},
	{"rules[0].serve", "sa"},
	{"rules[0].if.attr", "s"},
	{"rules[0].if.op", "s"},
	{"rules[0].if.value", "b#s"},
	{"rules[0].if.ignore_case", "nb"},
	{"rules[1].serve[0]", "o"},
	{"rules[1].serve[0].variant", "s"},
	{"rules[1].serve[0].weight", "#"},
	{"rules[1].if.all", "a"},
	{"rules[1].if.all[0]", "o"},
	{"rules[1].if.all[0].segment", "s"},
	{"rules[2].if.any", "a"},
	{"rules[2].if.any[0]", "o"},
	{"rules[2].if.any[0].flag", "s"},
	{"rules[2].if.any[0].variant", "s"},
	{"rules[3].if.not", "o"},
	{"rules[3].if.not.percentage", "#"},
	{"rules[3].if.not.by", "ns"},
	{"rules[3].if.not.salt", "s"},
	{"rollout", "na"},
	{"rollout[0]", "o"},
	{"rollout[0].variant", "s"},
	{"rollout[0].weight", "#"},
	{"requires", "na"},
	{"requires[0]", "o"},
	{"requires[0].flag", "s"},
	{"requires[0].variant", "s"},
	{"bucketing", "no"},
	{"bucketing.by", "ns"},
	{"bucketing.salt", "ns"},
	{"experiment", "no"},
	{"experiment.active", "nb"},
	{"experiment.traffic", "n#"},
	{"experiment.hypothesis", "ns"},
	{"experiment.started_at", "ns"},
	{"experiment.ended_at", "ns"},
	{"tags", "na"},
	{"tags[0]", "s"},
	{"owner", "ns"},
	{"expires_at", "ns"},
	{"version", "n#"},
	{"created_at", "ns"},
	{"updated_at", "ns"},
};

static const place segment_places[] = {
	{"key", "s"},         {"description", "ns"}, {"state", "ns"},      {"included", "na"},
	{"included[0]", "s"}, {"excluded", "na"},    {"excluded[0]", "s"}, {"if", "no"},
	{"version", "n#"},    {"created_at", "ns"},  {"updated_at", "ns"},
};

/* Puts a value of every kind that may not stand there, and null where it may. */
static void
check_place(ffe_object object, const char *json, const place *place)
{
	for (size_t i = 0; i < LENGTH(samples); i++)
	{
		const char *definition = changed(json, place->path, samples[i].value);
		refusal rows[] = {{definition, place->path, samples[i].word}};

		if (strchr(place->kinds, samples[i].kind) == NULL)
			check_refusals(object, NULL, FFE_PARSE_ERROR, rows);
		else if (samples[i].kind == 'n' && strcmp(place->path, "variants") != 0)
			expect_taken(object, definition);
	}
}

static void
wrong_types(void **state)
{
	(void) state;
	expect_taken(FFE_FLAG, flag);
	expect_taken(FFE_SEGMENT, segment);
	for (size_t i = 0; i < LENGTH(flag_places); i++)
		check_place(FFE_FLAG, flag, &flag_places[i]);
	for (size_t i = 0; i < LENGTH(segment_places); i++)
		check_place(FFE_SEGMENT, segment, &segment_places[i]);
}

static void
no_object_at_all(void **state)
{
	(void) state;
	for (size_t i = 0; i < LENGTH(samples); i++)
	{
		if (samples[i].kind == 'o')
			continue;
		expect_refused(FFE_FLAG, samples[i].value, FFE_PARSE_ERROR, "", samples[i].word);
		expect_refused(FFE_SEGMENT, samples[i].value, FFE_PARSE_ERROR, "", samples[i].word);
	}
}

/* ---------- unknown members ---------- */

static void
check_unknown(ffe_object object, const char *json, const char *path)
{
	expect_refused(object, changed(json, path, "1"), FFE_PARSE_ERROR, path, "unknown member");
	/* null is no way around it: a typo must not pass */
	expect_refused(object, changed(json, path, "null"), FFE_PARSE_ERROR, path, "unknown member");
}

static void
unknown_members(void **state)
{
	static const char *const in_flags[] = {
		"bogus",
		"Key",
		"if",
		"overrides[0].bogus",
		"overrides[0].weight",
		"rules[0].bogus",
		"rules[0].rollout",
		"rules[0].if.bogus",
		"rules[0].if.flag",
		"rules[1].serve[0].bogus",
		"rules[1].if.bogus",
		"rules[1].if.any",
		"rules[1].if.all[0].bogus",
		"rules[1].if.all[0].ignore_case",
		"rules[2].if.any[0].bogus",
		"rules[2].if.any[0].value",
		"rules[3].if.not.bogus",
		"rules[3].if.not.variant",
		"rollout[0].bogus",
		"requires[0].bogus",
		"bucketing.bogus",
		"experiment.bogus",
	};
	static const char *const in_segments[] = {"bogus", "type",     "enabled",       "rules",
											  "tags",  "if.bogus", "default_value", "expires_at"};

	(void) state;
	for (size_t i = 0; i < LENGTH(in_flags); i++)
		check_unknown(FFE_FLAG, flag, in_flags[i]);
	for (size_t i = 0; i < LENGTH(in_segments); i++)
		check_unknown(FFE_SEGMENT, segment, in_segments[i]);
}

/* The hint of an unknown member names those there are. */
static void
unknown_members_get_a_hint(void **state)
{
	(void) state;
	expect_refused(FFE_FLAG, changed(flag, "rules[0].serves", "'a'"), FFE_PARSE_ERROR,
				   "rules[0].serves", "serve");
	expect_refused(FFE_FLAG, changed(flag, "bucketing.slat", "'a'"), FFE_PARSE_ERROR,
				   "bucketing.slat", "salt");
}

/* A name may be anything; the path shows it so that it can be found, and stays UTF-8. */
static void
unknown_members_of_any_name(void **state)
{
	static const refusal rows[] = {
		{"'a b'", "[\"a b\"]", "unknown member"},
		{"'a.b'", "[\"a.b\"]", "unknown member"},
		{"''", "[\"\"]", "unknown member"},
		{"'größe'", "[\"größe\"]", "unknown member"},
	};

	(void) state;
	check_refusals(FFE_FLAG, "{'key': 'f', 'type': 'boolean', 'default_value': true, %s: 1}",
				   FFE_PARSE_ERROR, rows);
	check_refusals(FFE_SEGMENT, "{'key': 's', 'included': ['u'], %s: 1}", FFE_PARSE_ERROR, rows);
}

/* ---------- missing members ---------- */

static void
missing_members(void **state)
{
	static const char *const in_flags[] = {
		"key",
		"type",
		"default_value",
		"overrides[0].variant",
		"overrides[0].users",
		"rules[0].if",
		"rules[0].serve",
		"rules[0].if.op",
		"rules[0].if.value",
		"rules[1].serve[0].variant",
		"rules[1].serve[0].weight",
		"rules[2].if.any[0].variant",
		"rules[3].if.not.salt",
		"rollout[0].variant",
		"rollout[0].weight",
		"requires[0].flag",
		"requires[0].variant",
	};

	(void) state;
	for (size_t i = 0; i < LENGTH(in_flags); i++)
		expect_refused(FFE_FLAG, changed(flag, in_flags[i], NULL), FFE_PARSE_ERROR, in_flags[i],
					   "");
	expect_refused(FFE_SEGMENT, changed(segment, "key", NULL), FFE_PARSE_ERROR, "key", "");
}

/* Everything else may be left out. */
static void
optional_members(void **state)
{
	static const char *const in_flags[] = {
		"description",
		"state",
		"enabled",
		"overrides",
		"rules",
		"rollout",
		"requires",
		"bucketing",
		"experiment",
		"tags",
		"owner",
		"expires_at",
		"version",
		"created_at",
		"updated_at",
		"rules[0].id",
		"bucketing.by",
		"bucketing.salt",
		"experiment.active",
		"experiment.traffic",
		"experiment.hypothesis",
		"experiment.started_at",
		"experiment.ended_at",
		"rules[0].if.ignore_case",
		"rules[3].if.not.by",
	};
	static const char *const in_segments[] = {"description", "state",      "included",   "excluded",
											  "if",          "created_at", "updated_at", "version"};

	(void) state;
	for (size_t i = 0; i < LENGTH(in_flags); i++)
		expect_taken(FFE_FLAG, changed(flag, in_flags[i], NULL));
	for (size_t i = 0; i < LENGTH(in_segments); i++)
		expect_taken(FFE_SEGMENT, changed(segment, in_segments[i], NULL));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wrong_types),
		cmocka_unit_test(no_object_at_all),
		cmocka_unit_test(unknown_members),
		cmocka_unit_test(unknown_members_get_a_hint),
		cmocka_unit_test(unknown_members_of_any_name),
		cmocka_unit_test(missing_members),
		cmocka_unit_test(optional_members),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
