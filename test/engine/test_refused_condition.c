/*
 * test/engine/test_refused_condition.c
 *	  Conditions and segments that are refused.
 */
#include "world.h"

#define IF_OF_A_SEGMENT "{'key': 's', 'if': %s}"

static void
no_conditions(void **state)
{
	static const refusal rows[] = {
		{"{}", "if", "condition"},
		{"{'op': 'equals', 'value': 1}", "if", ""},
		{"{'value': 1}", "if", ""},
		{"{'variant': 'on'}", "if", ""},
		{"{'salt': 's'}", "if", ""},
		{"{'All': [{'segment': 't'}]}", "if", ""},
		{"{'all': []}", "if.all", "empty"},
		{"{'any': []}", "if.any", "empty"},
		{"{'all': [{'segment': 't'}, {}]}", "if.all[1]", "condition"},
		{"{'any': [{'not': {'all': [{'segment': 't'}, {'any': [{}]}]}}]}",
		 "if.any[0].not.all[1].any[0]", "condition"},
		{"{'not': [{'segment': 't'}]}", "if.not", "array"},
		{"{'all': [{'segment': 't'}], 'any': [{'segment': 't'}]}", "if.any", "unknown"},
		{"{'not': {'segment': 't'}, 'all': [{'segment': 't'}]}", "if.not", "unknown"},
		{"{'segment': 't', 'flag': 'f', 'variant': 'on'}", "if.flag", "unknown"},
	};

	(void) state;
	check_refusals(FFE_SEGMENT, IF_OF_A_SEGMENT, FFE_PARSE_ERROR, rows);
}

static void
operators(void **state)
{
	static const refusal rows[] = {
		{"{'attr': 'a', 'op': 'equal', 'value': 1}", "if.op", "unknown operator \"equal\""},
		{"{'attr': 'a', 'op': '', 'value': 1}", "if.op", "unknown operator"},
		{"{'attr': 'a', 'op': 'EQUALS', 'value': 1}", "if.op", "unknown operator"},
		{"{'attr': 'a', 'op': 'segment', 'value': 1}", "if.op", "unknown operator"},
		{"{'attr': 'a', 'op': 'percentage', 'value': 1}", "if.op", "unknown operator"},
		/* the hint names them all */
		{"{'attr': 'a', 'op': 'eq', 'value': 1}", "if.op", "in_cidr"},
		{"{'attr': 'a', 'op': 'eq', 'value': 1}", "if.op", "semver_less_or_equal"},
		{"{'attr': 'a', 'op': 'exists', 'value': true}", "if.value", "exists"},
		{"{'attr': 'a', 'op': 'not_exists', 'value': ''}", "if.value", "not_exists"},
		{"{'attr': 'a', 'op': 'equals'}", "if.value", ""},
		{"{'attr': 'a', 'op': 'regex'}", "if.value", ""},
	};

	(void) state;
	check_refusals(FFE_SEGMENT, IF_OF_A_SEGMENT, FFE_PARSE_ERROR, rows);
}

/* What each operator compares with; the letters are the kinds of value it takes. */
static const struct
{
	const char *op;
	const char *kinds; /* b boolean, # number, s string, a list of strings, m mixed list */
	const char *string;
} takes[] = {
	{"equals", "b#s", "x"},
	{"not_equals", "b#s", "x"},
	{"in_list", "am", "x"},
	{"not_in_list", "am", "x"},
	{"contains", "b#sam", "x"},
	{"not_contains", "b#sam", "x"},
	{"starts_with", "sa", "x"},
	{"ends_with", "sa", "x"},
	{"regex", "sa", "x"},
	{"greater_than", "#", "x"},
	{"greater_or_equal", "#", "x"},
	{"less_than", "#", "x"},
	{"less_or_equal", "#", "x"},
	{"before", "s", "2026-01-01T00:00:00Z"},
	{"after", "s", "2026-01-01T00:00:00Z"},
	{"semver_equals", "s", "1.2.3"},
	{"semver_greater", "s", "1.2.3"},
	{"semver_greater_or_equal", "s", "1.2.3"},
	{"semver_less", "s", "1.2.3"},
	{"semver_less_or_equal", "s", "1.2.3"},
	{"in_cidr", "sa", "10.0.0.0/8"},
};

static void
check_value(const char *op, const char *value, const char *path, bool taken)
{
	const char *json =
		text("{'key': 's', 'if': {'attr': 'a', 'op': '%s', 'value': %s}}", op, value);

	if (taken)
		expect_taken(FFE_SEGMENT, json);
	else
		expect_refused(FFE_SEGMENT, json, FFE_PARSE_ERROR, path, "");
}

static void
values(void **state)
{
	(void) state;
	for (size_t i = 0; i < LENGTH(takes); i++)
	{
		const char *op = takes[i].op;
		const char *string = takes[i].string;
		const char *kinds = takes[i].kinds;
		bool list = strchr(kinds, 'a') != NULL;
		bool mixed = strchr(kinds, 'm') != NULL;

		check_value(op, "null", "if.value", false);
		check_value(op, "{}", "if.value", false);
		check_value(op, "true", "if.value", strchr(kinds, 'b') != NULL);
		check_value(op, "5", "if.value", strchr(kinds, '#') != NULL);
		check_value(op, text("'%s'", string), "if.value", strchr(kinds, 's') != NULL);
		check_value(op, text("['%s', '%s']", string, string), "if.value", list);
		check_value(op, text("['%s', 5, true]", string), list ? "if.value[1]" : "if.value", mixed);
		check_value(op, text("['%s', null]", string), list ? "if.value[1]" : "if.value", false);
		check_value(op, text("[['%s']]", string), list ? "if.value[0]" : "if.value", false);
		check_value(op, "[{}]", list ? "if.value[0]" : "if.value", false);
		check_value(op, "[]", "if.value", false);
	}
}

/* ignore_case may stand beside the operators that compare strings, and there alone. */
static void
ignore_case(void **state)
{
	static const char *const ops[] = {"equals",      "not_equals", "in_list",
									  "not_in_list", "contains",   "not_contains",
									  "starts_with", "ends_with",  "regex"};

	(void) state;
	for (size_t i = 0; i < LENGTH(takes); i++)
	{
		bool list = strchr(takes[i].kinds, 'a') != NULL;
		const char *format = "{'key': 's', 'if': {'attr': 'a', 'op': '%s', 'value': %s,"
							 " 'ignore_case': true}}";
		const char *value = list                                  ? text("['%s']", takes[i].string)
							: strchr(takes[i].kinds, 's') != NULL ? text("'%s'", takes[i].string)
																  : "5";
		bool may = false;

		for (size_t j = 0; j < LENGTH(ops); j++)
			may = may || strcmp(ops[j], takes[i].op) == 0;
		if (may)
			expect_taken(FFE_SEGMENT, text(format, takes[i].op, value));
		else
			expect_refused(FFE_SEGMENT, text(format, takes[i].op, value), FFE_PARSE_ERROR,
						   "if.ignore_case", takes[i].op);
	}
	expect_refused(FFE_SEGMENT,
				   "{'key': 's', 'if': {'attr': 'a', 'op': 'exists', 'ignore_case': true}}",
				   FFE_PARSE_ERROR, "if.ignore_case", "exists");
}

static void
attributes(void **state)
{
	static const refusal rows[] = {
		{"{'attr': '', 'op': 'exists'}", "if.attr", ""},
		{"{'attr': '.', 'op': 'exists'}", "if.attr", "\".\""},
		{"{'attr': '.a', 'op': 'exists'}", "if.attr", "\".a\""},
		{"{'attr': 'a.', 'op': 'exists'}", "if.attr", "\"a.\""},
		{"{'attr': 'a..b', 'op': 'exists'}", "if.attr", "\"a..b\""},
		{"{'percentage': 1, 'salt': 's', 'by': 'a..b'}", "if.by", "\"a..b\""},
		{"{'attr': 'a.b.c.d.e.f.g.h', 'op': 'exists'}", NULL, NULL},
	};

	(void) state;
	check_refusals(FFE_SEGMENT, IF_OF_A_SEGMENT, FFE_PARSE_ERROR, rows);
}

static void
patterns(void **state)
{
	static const refusal rows[] = {
		{"'('", "if.value", "regular expression"},
		{"'[a-'", "if.value", "regular expression"},
		{"'*'", "if.value", "character"},
		{"'a{2,1}'", "if.value", "regular expression"},
		{"'(?<n'", "if.value", "regular expression"},
		{"'\\\\'", "if.value", "regular expression"},
		{"'(?z)'", "if.value", "regular expression"},
		{"'\\\\C'", "if.value", "regular expression"}, /* would break UTF-8 */
		{"['a', '(']", "if.value[1]", "regular expression"},
		{"''", "if.value", "at least one character"},
		{"['a', '']", "if.value[1]", "at least one character"},
	};

	(void) state;
	check_refusals(FFE_SEGMENT, "{'key': 's', 'if': {'attr': 'a', 'op': 'regex', 'value': %s}}",
				   FFE_PARSE_ERROR, rows);
	/* the second of two rules: a pattern is compiled late, and its path is still its own */
	expect_refused(FFE_FLAG,
				   "{'key': 'f', 'type': 'boolean', 'default_value': true, 'rules': ["
				   "{'if': {'attr': 'a', 'op': 'regex', 'value': 'x'}, 'serve': 'on'},"
				   "{'if': {'all': [{'attr': 'a', 'op': 'regex', 'value': ['y', '(']}]},"
				   " 'serve': 'on'}]}",
				   FFE_PARSE_ERROR, "rules[1].if.all[0].value[1]", "regular expression");
}

static void
networks(void **state)
{
	static const refusal rows[] = {
		{"'10.0.0.1/8'", "if.value", "10.0.0.1/8"}, /* host bits */
		{"'10.0.0.0/7'", NULL, NULL},
		{"'11.0.0.0/7'", "if.value", "bits"},
		{"'10.0.0.0/33'", "if.value", ""},
		{"'10.0.0.0/-1'", "if.value", ""},
		{"'10.0.0.0/'", "if.value", ""},
		{"'10.0.0.0/08'", "if.value", ""},
		{"'10.0.0.0/8 '", "if.value", ""},
		{"'10.0.0.0/255.0.0.0'", "if.value", ""},
		{"'10.0.0/8'", "if.value", ""},
		{"'010.0.0.0/8'", "if.value", ""},
		{"'/8'", "if.value", ""},
		{"''", "if.value", ""},
		{"'localhost'", "if.value", "localhost"},
		{"'2001:db8::1/32'", "if.value", "bits"},
		{"'2001:db8::/129'", "if.value", ""},
		{"'2001:db8::/32/8'", "if.value", ""},
		{"'fe80::1%eth0'", "if.value", ""},
		{"['10.0.0.0/8', '10.0.0.1/8']", "if.value[1]", "bits"},
		{"'10.0.0.1/32'", NULL, NULL},
		{"'0.0.0.0/0'", NULL, NULL},
		{"'::/0'", NULL, NULL},
		{"'::1'", NULL, NULL},
	};

	(void) state;
	check_refusals(FFE_SEGMENT, "{'key': 's', 'if': {'attr': 'a', 'op': 'in_cidr', 'value': %s}}",
				   FFE_PARSE_ERROR, rows);
}

static void
percentages(void **state)
{
	static const refusal rows[] = {
		{"{'percentage': -1, 'salt': 's'}", "if.percentage", "0 to 100"},
		{"{'percentage': 100.001, 'salt': 's'}", "if.percentage", "0 to 100"},
		{"{'percentage': 0.0001, 'salt': 's'}", "if.percentage", "three decimals"},
		{"{'percentage': 10}", "if.salt", ""},
		{"{'percentage': 10, 'salt': null}", "if.salt", "null"},
		{"{'percentage': 10, 'salt': ''}", "if.salt", ""},
		{"{'percentage': 10, 'salt': 's', 'by': ''}", "if.by", ""},
		{"{'percentage': 10, 'salt': 's', 'by': null}", NULL, NULL},
		{"{'percentage': 100, 'salt': 's'}", NULL, NULL},
		{"{'percentage': 0, 'salt': 's'}", NULL, NULL},
	};

	(void) state;
	check_refusals(FFE_SEGMENT, IF_OF_A_SEGMENT, FFE_PARSE_ERROR, rows);
}

static void
segments(void **state)
{
	static const refusal rows[] = {
		{"{'key': 's'}", "", "if"},
		{"{'key': 's', 'if': null}", "", "if"},
		{"{'key': 's', 'excluded': ['u']}", "", "if"},
		{"{'key': 's', 'included': ['u', 'v'], 'excluded': ['w', 'v']}", "excluded[1]", "\"v\""},
		{"{'key': 's', 'included': [''], 'excluded': ['w']}", "included[0]", "empty"},
		{"{'key': 's', 'included': ['u', 5]}", "included[1]", "5"},
		{"{'key': 's', 'included': ['u'], 'excluded': [null]}", "excluded[0]", "null"},
		{"{'key': 's', 'included': ['u'], 'state': 'gone'}", "state", "gone"},
		{"{'key': 's', 'included': ['u'], 'version': 0.5}", "version", "0.5"},
		{"{'key': 's', 'included': ['u'], 'state': 'archived'}", NULL, NULL},
		{"{'key': 's', 'included': ['u']}", NULL, NULL},
		{"{'key': 's', 'if': {'segment': 's'}}", NULL, NULL}, /* a cycle is for the host to see */
	};

	(void) state;
	check_refusals(FFE_SEGMENT, NULL, FFE_PARSE_ERROR, rows);
}

/* An empty list of users is as none: it puts nobody in, so it is not enough for a segment. */
static void
empty_segments(void **state)
{
	static const refusal rows[] = {
		{"{'key': 's', 'included': []}", "", "anybody"},
		{"{'key': 's', 'excluded': []}", "", "anybody"},
		{"{'key': 's', 'included': [], 'if': {'segment': 't'}}", NULL, NULL},
		{"{'key': 's', 'excluded': [], 'included': ['u']}", NULL, NULL},
	};

	(void) state;
	check_refusals(FFE_SEGMENT, NULL, FFE_PARSE_ERROR, rows);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_conditions),  cmocka_unit_test(operators),   cmocka_unit_test(values),
		cmocka_unit_test(ignore_case),    cmocka_unit_test(attributes),  cmocka_unit_test(patterns),
		cmocka_unit_test(networks),       cmocka_unit_test(percentages), cmocka_unit_test(segments),
		cmocka_unit_test(empty_segments),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
