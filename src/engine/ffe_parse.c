/*
 * src/engine/ffe_parse.c
 *	  Versions, times, network addresses and keys: what strings can hold.
 *
 * The rule: each parser takes exactly its standard's form, all of it, and nothing else. A string
 * that is almost a version is no version, so that the same string is judged alike everywhere.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>

#include "ffe_internal.h"

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_alnum(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* ---------- keys ---------- */

/* [A-Za-z0-9][A-Za-z0-9._-]{0,254} */
bool
ffe_valid_key(const char *s, size_t len)
{
	if (len == 0 || len > FFE_MAX_KEY || !is_alnum(s[0]))
		return false;
	for (size_t i = 1; i < len; i++)
	{
		if (!is_alnum(s[i]) && s[i] != '.' && s[i] != '_' && s[i] != '-')
			return false;
	}
	return true;
}

/* ---------- semver.org 2.0.0 ---------- */

/* Reads a number without leading zeros. */
static bool
semver_number(const char **s, const char *end)
{
	const char *start = *s;

	while (*s < end && is_digit(**s))
		(*s)++;
	return *s - start == 1 || (*s > start && *start != '0');
}

/* Reads dot-separated identifiers up to stop or the end. */
static bool
semver_identifiers(const char **s, const char *end, char stop, bool numbers_are_strict)
{
	const char *p = *s;

	for (;;)
	{
		const char *start = p;
		bool numeric = true;

		for (; p < end && (is_alnum(*p) || *p == '-'); p++)
			numeric = numeric && is_digit(*p);
		if (p == start)
			return false;
		if (numbers_are_strict && numeric && p - start > 1 && *start == '0')
			return false;
		if (p == end || *p == stop)
			break;
		if (*p != '.')
			return false;
		p++;
	}
	*s = p;
	return true;
}

bool
ffe_parse_semver(const char *text, size_t len, ffe_semver *out)
{
	const char *s = text;
	const char *end = s + len;

	if (len > FFE_MAX_STRING)
		return false;
	for (int i = 0; i < 3; i++)
	{
		if (i > 0 && (s == end || *s++ != '.'))
			return false;
		out->part[i] = (uint16_t) (s - text);
		if (!semver_number(&s, end))
			return false;
		out->part_len[i] = (uint16_t) (s - text - out->part[i]);
	}
	out->pre = 0;
	out->pre_len = 0;
	if (s < end && *s == '-')
	{
		out->pre = (uint16_t) (++s - text);
		if (!semver_identifiers(&s, end, '+', true))
			return false;
		out->pre_len = (uint16_t) (s - text - out->pre);
	}
	if (s < end && *s == '+')
	{
		s++;
		if (!semver_identifiers(&s, end, '\0', false))
			return false;
	}
	return s == end;
}

/* Compares digits without leading zeros as numbers, however many there are. */
static int
compare_digits(const char *a, uint32_t a_len, const char *b, uint32_t b_len)
{
	if (a_len != b_len)
		return a_len < b_len ? -1 : 1;
	return memcmp(a, b, a_len);
}

static bool
all_digits(const char *s, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
	{
		if (!is_digit(s[i]))
			return false;
	}
	return true;
}

/* One identifier of a pre-release against another: numbers below words, words by bytes. */
static int
compare_identifiers(const char *a, uint32_t a_len, const char *b, uint32_t b_len)
{
	bool a_number = all_digits(a, a_len);
	bool b_number = all_digits(b, b_len);
	int c;

	if (a_number != b_number)
		return a_number ? -1 : 1;
	if (a_number)
		return compare_digits(a, a_len, b, b_len);
	c = memcmp(a, b, a_len < b_len ? a_len : b_len);
	if (c == 0 && a_len != b_len)
		return a_len < b_len ? -1 : 1;
	return c;
}

/* Length of the identifier at the start of s. */
static uint32_t
identifier_len(const char *s, uint32_t len)
{
	const char *dot = memchr(s, '.', len);

	return dot == NULL ? len : (uint32_t) (dot - s);
}

static int
compare_pre_releases(const char *a, uint32_t a_len, const char *b, uint32_t b_len)
{
	for (;;)
	{
		uint32_t a_id = identifier_len(a, a_len);
		uint32_t b_id = identifier_len(b, b_len);
		int c = compare_identifiers(a, a_id, b, b_id);

		if (c != 0)
			return c;
		if (a_id == a_len || b_id == b_len)
			return (a_id < a_len) - (b_id < b_len);
		a += a_id + 1, a_len -= a_id + 1;
		b += b_id + 1, b_len -= b_id + 1;
	}
}

/* Precedence (semver.org, item 11): negative, 0 or positive. */
int
ffe_compare_semver(const char *a_text, const ffe_semver *a, const char *b_text, const ffe_semver *b)
{
	for (int i = 0; i < 3; i++)
	{
		const char *x = a_text + a->part[i];
		const char *y = b_text + b->part[i];

		/* most numbers have one digit */
		if (a->part_len[i] != b->part_len[i] || *x != *y)
			return compare_digits(x, a->part_len[i], y, b->part_len[i]);
		if (a->part_len[i] > 1)
		{
			int c = memcmp(x, y, a->part_len[i]);

			if (c != 0)
				return c;
		}
	}
	if (a->pre_len == 0 || b->pre_len == 0)
		return (a->pre_len == 0) - (b->pre_len == 0);
	return compare_pre_releases(a_text + a->pre, a->pre_len, b_text + b->pre, b->pre_len);
}

/* ---------- RFC 3339 ---------- */

/* Reads exactly n digits. */
static bool
read_digits(const char **s, const char *end, int n, int *out)
{
	*out = 0;
	if (end - *s < n)
		return false;
	for (; n > 0; n--, (*s)++)
	{
		if (!is_digit(**s))
			return false;
		*out = *out * 10 + (**s - '0');
	}
	return true;
}

static bool
read_char(const char **s, const char *end, char wanted)
{
	if (*s == end || **s != wanted)
		return false;
	(*s)++;
	return true;
}

/*
 * Days from 1970-01-01 to a date of the proleptic Gregorian calendar: years begin in March, so
 * that the leap day is the last; 400 years have 146097 days.
 */
static int64_t
days_from_date(int year, int month, int day)
{
	int64_t y = month <= 2 ? year - 1 : year;
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	int64_t year_of_era = y - era * 400;
	int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

	return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year -
		   719468;
}

static int
days_in_month(int year, int month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return month == 2 && leap ? 29 : days[month - 1];
}

/* The fraction of a second in microseconds; digits beyond are cut. */
static bool
read_fraction(const char **s, const char *end, int64_t *micros)
{
	int64_t unit = 100000;

	*micros = 0;
	if (!read_char(s, end, '.'))
		return true;
	if (*s == end || !is_digit(**s))
		return false;
	for (; *s < end && is_digit(**s); (*s)++, unit /= 10)
		*micros += (**s - '0') * unit;
	return true;
}

/* Z, or +hh:mm; in minutes. */
static bool
read_offset(const char **s, const char *end, int *minutes)
{
	bool east;
	int h, m;

	*minutes = 0;
	if (read_char(s, end, 'Z') || read_char(s, end, 'z'))
		return true;
	east = read_char(s, end, '+');
	if (!east && !read_char(s, end, '-'))
		return false;
	if (!read_digits(s, end, 2, &h) || !read_char(s, end, ':') || !read_digits(s, end, 2, &m) ||
		h > 23 || m > 59)
		return false;
	*minutes = (h * 60 + m) * (east ? 1 : -1);
	return true;
}

/* A date-time of RFC 3339, section 5.6, in microseconds since 1970-01-01 00:00 UTC. */
bool
ffe_parse_time(const char *s, size_t len, int64_t *out)
{
	const char *end = s + len;
	int year, month, day, hour, minute, second, offset;
	int64_t micros;

	if (!read_digits(&s, end, 4, &year) || !read_char(&s, end, '-') ||
		!read_digits(&s, end, 2, &month) || !read_char(&s, end, '-') ||
		!read_digits(&s, end, 2, &day))
		return false;
	if (!read_char(&s, end, 'T') && !read_char(&s, end, 't') && !read_char(&s, end, ' '))
		return false;
	if (!read_digits(&s, end, 2, &hour) || !read_char(&s, end, ':') ||
		!read_digits(&s, end, 2, &minute) || !read_char(&s, end, ':') ||
		!read_digits(&s, end, 2, &second) || !read_fraction(&s, end, &micros) ||
		!read_offset(&s, end, &offset) || s != end)
		return false;
	/* second 60 is a leap second */
	if (month < 1 || month > 12 || day < 1 || day > days_in_month(year, month) || hour > 23 ||
		minute > 59 || second > 60)
		return false;
	*out = ((days_from_date(year, month, day) * 24 + hour) * 60 + minute - offset) * 60 + second;
	*out = *out * 1000000 + micros;
	return true;
}

/* Writes a time as RFC 3339 in UTC with six decimals; the inverse of days_from_date. */
size_t
ffe_format_time(int64_t time, char *out)
{
	int64_t seconds = time / 1000000 - (time % 1000000 < 0);
	int64_t micros = time - seconds * 1000000;
	int64_t days = seconds / 86400 - (seconds % 86400 < 0);
	int rest = (int) (seconds - days * 86400);
	int64_t z = days + 719468;
	int64_t era = (z >= 0 ? z : z - 146096) / 146097;
	int doe = (int) (z - era * 146097);
	int yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	int doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	int mp = (5 * doy + 2) / 153;
	int month = mp < 10 ? mp + 3 : mp - 9;
	int64_t year = yoe + era * 400 + (month <= 2);

	if (year < 0 || year > 9999)
		year = year < 0 ? 0 : 9999;
	return (size_t) snprintf(out, 32, "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", (int) year, month,
							 doy - (153 * mp + 2) / 5 + 1, rest / 3600, rest / 60 % 60, rest % 60,
							 (int) micros);
}

/* ---------- addresses ---------- */

static const uint8_t v4_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

/* An IPv4 or IPv6 address; IPv4 in its mapped form, so that both compare alike. */
bool
ffe_parse_address(const char *s, size_t len, uint8_t out[16], bool *v4)
{
	char text[INET6_ADDRSTRLEN];

	if (len >= sizeof(text))
		return false;
	memcpy(text, s, len);
	text[len] = '\0';
	if (inet_pton(AF_INET, text, out + 12) == 1)
	{
		memcpy(out, v4_prefix, sizeof(v4_prefix));
		*v4 = true;
		return true;
	}
	*v4 = false;
	return inet_pton(AF_INET6, text, out) == 1;
}

static bool
has_host_bits(const ffe_network *network)
{
	for (uint32_t bit = network->bits; bit < 128; bit++)
	{
		if (network->address[bit / 8] & (0x80 >> bit % 8))
			return true;
	}
	return false;
}

/* A network in CIDR notation, or one address. NULL, or what is wrong with it. */
const char *
ffe_parse_network(const char *s, size_t len, ffe_network *out)
{
	const char *slash = memchr(s, '/', len);
	size_t address_len = slash == NULL ? len : (size_t) (slash - s);
	uint32_t bits = 0;
	bool v4;

	if (!ffe_parse_address(s, address_len, out->address, &v4))
		return "not an IPv4 or IPv6 network";
	out->bits = 128;
	if (slash == NULL)
		return NULL;
	s = slash + 1;
	len -= address_len + 1;
	if (len == 0 || len > 3 || !all_digits(s, (uint32_t) len) || (len > 1 && *s == '0'))
		return "not a prefix length";
	for (; len > 0; s++, len--)
		bits = bits * 10 + (uint32_t) (*s - '0');
	if (bits > (v4 ? 32u : 128u))
		return "prefix length out of range";
	out->bits = v4 ? bits + 96 : bits;
	return has_host_bits(out) ? "bits set to the right of the prefix" : NULL;
}

bool
ffe_in_network(const uint8_t address[16], const ffe_network *network)
{
	uint32_t bytes = network->bits / 8;
	uint32_t rest = network->bits % 8;

	if (memcmp(address, network->address, bytes) != 0)
		return false;
	return rest == 0 || ((address[bytes] ^ network->address[bytes]) >> (8 - rest)) == 0;
}
