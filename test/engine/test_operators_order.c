/*
 * test/engine/test_operators_order.c
 *	  greater_than and its like, before and after, in_cidr.
 */
#include "world.h"

static void
numbers(void **state)
{
	static const op_row rows[] = {
		{"greater_than", "5", "6", true},
		{"greater_than", "5", "5", false},
		{"greater_than", "5", "4.999", false},
		{"greater_than", "5", "5.0000001", true},
		{"greater_than", "-1", "0", true},
		{"greater_than", "0", "-0.0", false},
		{"greater_or_equal", "5", "5", true},
		{"greater_or_equal", "5", "5.5", true},
		{"greater_or_equal", "5", "4.5", false},
		{"greater_or_equal", "0", "-0.0", true},
		{"less_than", "5", "4", true},
		{"less_than", "5", "5", false},
		{"less_than", "5", "6", false},
		{"less_than", "1e300", "1e299", true},
		{"less_or_equal", "5", "5", true},
		{"less_or_equal", "5", "4.5", true},
		{"less_or_equal", "5", "5.5", false},
		/* doubles: beyond 2^53 neighbours are one */
		{"greater_than", "9007199254740992", "9007199254740993", false},
		{"greater_or_equal", "9007199254740993", "9007199254740992", true},
		{"greater_than", "9223372036854775807", "-9223372036854775808", false},
		{"less_than", "9223372036854775807", "-9223372036854775808", true},
		{"greater_than", "5", "['x', 1, 6]", true},
		{"greater_than", "5", "['6', 1]", false},
		{"less_than", "5", "[6, 4]", true},
		{"less_than", "5", "[]", false},
	};

	(void) state;
	check_op_rows(rows);
}

static void
times(void **state)
{
	static const op_row rows[] = {
		{"before", "'2026-01-01T00:00:00Z'", "'2025-12-31T23:59:59Z'", true},
		{"before", "'2026-01-01T00:00:00Z'", "'2026-01-01T00:00:00Z'", false},
		{"before", "'2026-01-01T00:00:00Z'", "'2026-01-01T00:00:01Z'", false},
		{"after", "'2026-01-01T00:00:00Z'", "'2026-01-01T00:00:01Z'", true},
		{"after", "'2026-01-01T00:00:00Z'", "'2026-01-01T00:00:00Z'", false},
		{"after", "'2026-01-01T00:00:00Z'", "'2025-12-31T23:59:59Z'", false},
		/* any offset */
		{"before", "'2026-01-01T00:00:00Z'", "'2026-01-01T00:59:59+01:00'", true},
		{"before", "'2026-01-01T00:00:00Z'", "'2026-01-01T01:00:00+01:00'", false},
		{"after", "'2026-01-01T00:00:00Z'", "'2025-12-31T23:00:00-01:30'", true},
		{"after", "'2026-01-01T02:00:00+02:00'", "'2026-01-01T00:00:00Z'", false},
		{"after", "'2026-01-01T00:00:00+05:45'", "'2025-12-31T18:15:01Z'", true},
		{"after", "'2026-01-01T00:00:00-00:00'", "'2026-01-01T00:00:00+00:00'", false},
		/* microseconds */
		{"after", "'2026-01-01T00:00:00.000001Z'", "'2026-01-01T00:00:00.000002Z'", true},
		{"before", "'2026-01-01T00:00:00.5Z'", "'2026-01-01T00:00:00.499999Z'", true},
		{"before", "'2026-01-01T00:00:00.5Z'", "'2026-01-01T00:00:00.500Z'", false},
		{"after", "'2026-01-01T00:00:00.5Z'", "'2026-01-01T00:00:00.500000Z'", false},
		/* before 1970, and the ends of the calendar */
		{"before", "'1970-01-01T00:00:00Z'", "'1969-12-31T23:59:59.999999Z'", true},
		{"before", "'1969-12-31T23:59:59.5Z'", "'1969-12-31T23:59:59.25Z'", true},
		{"before", "'2026-01-01T00:00:00Z'", "'0001-01-01T00:00:00Z'", true},
		{"after", "'2026-01-01T00:00:00Z'", "'9999-12-31T23:59:59Z'", true},
		/* leap years */
		{"after", "'2024-02-28T23:59:59Z'", "'2024-02-29T00:00:00Z'", true},
		{"before", "'2024-03-01T00:00:00Z'", "'2024-02-29T23:59:59Z'", true},
		{"after", "'2000-02-28T00:00:00Z'", "'2000-02-29T00:00:00Z'", true},
		{"before", "'2026-01-01T00:00:00Z'", "['x', '2025-01-01T00:00:00Z']", true},
		{"before", "'2026-01-01T00:00:00Z'", "['x', '2027-01-01T00:00:00Z', 5]", false},
	};

	(void) state;
	check_op_rows(rows);
}

/* What is no RFC 3339 time is as good as missing. */
static void
no_times(void **state)
{
	static const char *const none[] = {
		"2025-01-01",
		"2025-01-01T00:00Z",
		"2025-01-01T00:00:00",
		"2025-01-01T00:00:00+01",
		"2025-01-01T00:00:00+0100",
		"2025-13-01T00:00:00Z",
		"2025-00-01T00:00:00Z",
		"2025-01-00T00:00:00Z",
		"2025-01-32T00:00:00Z",
		"2025-02-29T00:00:00Z",
		"1900-02-29T00:00:00Z",
		"2025-04-31T00:00:00Z",
		"2025-01-01T24:00:00Z",
		"2025-01-01T00:60:00Z",
		"2025-01-01T00:00:61Z",
		"2025-01-01T00:00:00+24:00",
		"2025-01-01T00:00:00+00:60",
		"2025-01-01T00:00:00.Z",
		"25-01-01T00:00:00Z",
		"02025-01-01T00:00:00Z",
		"2025-1-1T00:00:00Z",
		" 2025-01-01T00:00:00Z",
		"2025-01-01T00:00:00Z ",
		"2025-01-01T00:00:00ZZ",
		"2025-01-01T00:00:00,5Z",
		"+2025-01-01T00:00:00Z",
		"now",
		"",
		"2025-01-01T0:00:00Z",
		"2025-01-01T00:00:00.5",
		"2025-01-01T00:00:-1Z",
	};

	(void) state;
	for (size_t i = 0; i < LENGTH(none); i++)
	{
		const char *attribute = text("'%s'", none[i]);
		op_row rows[] = {{"before", "'9000-01-01T00:00:00Z'", attribute, false},
						 {"after", "'0002-01-01T00:00:00Z'", attribute, false}};

		check_op_rows(rows);
		expect_refused(FFE_SEGMENT,
					   text("{'key': 's', 'if': {'attr': 'a', 'op': 'after', 'value': %s}}",
							attribute),
					   FFE_PARSE_ERROR, "if.value", "");
	}
}

static void
current_time(void **state)
{
	static const row rows[] = {
		{"{'attr': 'current_time', 'op': 'after', 'value': '2026-11-20T23:59:59.999999Z'}", "{}",
		 true},
		{"{'attr': 'current_time', 'op': 'after', 'value': '2026-11-21T00:00:00Z'}", "{}", false},
		{"{'attr': 'current_time', 'op': 'before', 'value': '2026-11-21T00:00:00Z'}", "{}", false},
		{"{'attr': 'current_time', 'op': 'before', 'value': '2026-11-21T00:00:00.000001Z'}", "{}",
		 true},
		{"{'attr': 'current_time', 'op': 'exists'}", "{}", true},
		{"{'attr': 'current_time', 'op': 'not_exists'}", "{}", false},
		/* the context's own wins */
		{"{'attr': 'current_time', 'op': 'before', 'value': '2026-01-01T00:00:00Z'}",
		 "{'current_time': '2025-01-01T00:00:00Z'}", true},
		{"{'attr': 'current_time', 'op': 'after', 'value': '2026-01-01T00:00:00Z'}",
		 "{'current_time': '2025-01-01T00:00:00Z'}", false},
	};

	(void) state;
	check_rows(rows);
}

static void
networks_of_ipv4(void **state)
{
	static const op_row rows[] = {
		{"in_cidr", "'10.0.0.0/8'", "'10.0.0.0'", true},
		{"in_cidr", "'10.0.0.0/8'", "'10.255.255.255'", true},
		{"in_cidr", "'10.0.0.0/8'", "'11.0.0.0'", false},
		{"in_cidr", "'10.0.0.0/8'", "'9.255.255.255'", false},
		{"in_cidr", "'192.168.1.128/25'", "'192.168.1.128'", true},
		{"in_cidr", "'192.168.1.128/25'", "'192.168.1.127'", false},
		{"in_cidr", "'192.168.1.6/31'", "'192.168.1.7'", true},
		{"in_cidr", "'192.168.1.6/31'", "'192.168.1.8'", false},
		{"in_cidr", "'10.0.0.1/32'", "'10.0.0.1'", true},
		{"in_cidr", "'10.0.0.1/32'", "'10.0.0.2'", false},
		{"in_cidr", "'10.0.0.1'", "'10.0.0.1'", true},
		{"in_cidr", "'10.0.0.1'", "'10.0.0.2'", false},
		{"in_cidr", "'0.0.0.0/0'", "'255.255.255.255'", true},
		{"in_cidr", "'0.0.0.0/0'", "'2001:db8::1'", false},
		{"in_cidr", "'10.0.0.0/8'", "'::ffff:10.0.0.1'", true},
		{"in_cidr", "'10.0.0.0/8'", "'::ffff:a00:1'", true},
		{"in_cidr", "'10.0.0.0/8'", "'::10.0.0.1'", false},
		{"in_cidr", "'10.0.0.0/8'", "'2001:db8::1'", false},
		{"in_cidr", "['192.168.0.0/16', '10.0.0.0/8']", "'10.1.2.3'", true},
		{"in_cidr", "['192.168.0.0/16', '10.0.0.0/8']", "'172.16.0.1'", false},
		{"in_cidr", "'10.0.0.0/8'", "['x', '10.1.2.3']", true},
		{"in_cidr", "'10.0.0.0/8'", "['x', 10, '11.1.2.3']", false},
	};

	(void) state;
	check_op_rows(rows);
}

static void
networks_of_ipv6(void **state)
{
	static const op_row rows[] = {
		{"in_cidr", "'2001:db8::/32'", "'2001:db8::1'", true},
		{"in_cidr", "'2001:db8::/32'", "'2001:DB8:ffff:ffff:ffff:ffff:ffff:ffff'", true},
		{"in_cidr", "'2001:db8::/32'", "'2001:db9::'", false},
		{"in_cidr", "'2001:db8::/33'", "'2001:db8:7fff::1'", true},
		{"in_cidr", "'2001:db8::/33'", "'2001:db8:8000::1'", false},
		{"in_cidr", "'::1'", "'0:0:0:0:0:0:0:1'", true},
		{"in_cidr", "'::1/128'", "'::2'", false},
		{"in_cidr", "'::/0'", "'2001:db8::1'", true},
		{"in_cidr", "'2001:db8::/32'", "'10.0.0.1'", false},
		{"in_cidr", "'::ffff:10.0.0.0/104'", "'10.0.0.1'", true},
		{"in_cidr", "'::ffff:10.0.0.0/104'", "'11.0.0.1'", false},
		{"in_cidr", "['10.0.0.0/8', 'fe80::/10']", "'fe80::1'", true},
	};

	(void) state;
	check_op_rows(rows);
}

/* What is no address is as good as missing. */
static void
no_addresses(void **state)
{
	static const char *const none[] = {
		"",
		"x",
		"10",
		"10.0.0",
		"10.0.0.0.1",
		"10.0.0.256",
		"10.0.0.1/32",
		"10.0.0.1 ",
		" 10.0.0.1",
		"010.0.0.1",
		"0x0a.0.0.1",
		"10.0.0.-1",
		"10..0.1",
		"10.0.0.1:80",
		"[::1]",
		"::1::",
		":::",
		"1:2:3:4:5:6:7:8:9",
		"12345::",
		"::g",
		"fe80::1%eth0",
		"::1/128",
		"localhost",
		"1:2:3:4:5:6:7",
	};

	(void) state;
	for (size_t i = 0; i < LENGTH(none); i++)
	{
		op_row rows[] = {
			{"in_cidr", "['0.0.0.0/0', '::/0']", text("'%s'", none[i]), false},
		};

		check_op_rows(rows);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers),          cmocka_unit_test(times),
		cmocka_unit_test(no_times),         cmocka_unit_test(current_time),
		cmocka_unit_test(networks_of_ipv4), cmocka_unit_test(networks_of_ipv6),
		cmocka_unit_test(no_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
