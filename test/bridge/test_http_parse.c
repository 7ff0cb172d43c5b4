/*
 * test/bridge/test_http_parse.c
 *	  The parser: what it takes, what it refuses and how, at every split of the input.
 *
 * Each case is fed whole, in two pieces cut at every place, and byte by byte: what comes out, and
 * how many bytes it took, must be the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "http_parse.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))
#define MAX_HEADER 512
#define MAX_BODY 32

#define HOST "Host: h\r\n"
#define GET "GET / HTTP/1.1\r\n" HOST
#define POST "POST / HTTP/1.1\r\n" HOST
#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"

/* ---------- what came of it, as a text ---------- */

typedef struct outcome
{
	char text[2048];
	size_t used;
} outcome;

static void
describe_message(http_message *message, char *text, size_t size)
{
	size_t n;

	assert_non_null(message);
	n = (size_t) snprintf(text, size, "%s %s", message->method, message->path);
	if (message->query != NULL)
		n += (size_t) snprintf(text + n, size - n, "?%s", message->query);
	for (unsigned i = 0; i < message->nfields; i++)
		n += (size_t) snprintf(text + n, size - n, " %s=%s", message->fields[i].name,
							   message->fields[i].value);
	if (message->body_len > 0)
	{
		assert_int_equal(message->body[message->body_len], '\0');
		n += (size_t) snprintf(text + n, size - n, " [%s]", message->body);
	}
	snprintf(text + n, size - n, "%s", message->keep_alive ? "" : " close");
	http_message_free(message);
}

static void
describe(http_parse *parse, http_parse_result result, outcome *outcome)
{
	switch (result)
	{
		case HTTP_PARSE_MORE:
			snprintf(outcome->text, sizeof(outcome->text), "more%s",
					 http_parse_in_body(parse) ? " body" : "");
			break;
		case HTTP_PARSE_DONE:
			describe_message(http_parse_take(parse), outcome->text, sizeof(outcome->text));
			break;
		case HTTP_PARSE_REFUSED:
			snprintf(outcome->text, sizeof(outcome->text), "%d %s",
					 http_parse_refusal(parse)->status, http_parse_refusal(parse)->detail);
			break;
		case HTTP_PARSE_NO_MEMORY:
			fail();
	}
}

/* Feeds len bytes in pieces: the first one of cut bytes, the others of step. */
static void
feed(const char *data, size_t len, size_t cut, size_t step, outcome *outcome)
{
	http_parse *parse = http_parse_new(MAX_HEADER, MAX_BODY);
	http_parse_result result = HTTP_PARSE_MORE;
	size_t piece = cut;

	outcome->used = 0;
	for (size_t at = 0; at < len && result == HTTP_PARSE_MORE; at += piece, piece = step)
	{
		char *copy; /* so that a sanitizer sees a read beyond the piece */
		size_t used;

		if (piece > len - at)
			piece = len - at;
		copy = malloc(piece + 1);
		memcpy(copy, data + at, piece);
		result = http_parse_feed(parse, copy, piece, &used);
		free(copy);
		if (result == HTTP_PARSE_MORE)
			assert_int_equal(used, piece);
		outcome->used += used;
	}
	describe(parse, result, outcome);
	http_parse_free(parse);
}

static void
same(const char *data, const outcome *whole, const outcome *cut)
{
	if (strcmp(whole->text, cut->text) != 0 || whole->used != cut->used)
		fail_msg("%s\n-- whole: %s (%zu bytes)\n-- cut: %s (%zu bytes)", data, whole->text,
				 whole->used, cut->text, cut->used);
}

static outcome
at_every_split(const char *data, size_t len)
{
	outcome whole, cut;

	feed(data, len, len, len, &whole);
	for (size_t i = 1; i < len; i++)
	{
		feed(data, len, i, len, &cut);
		same(data, &whole, &cut);
	}
	feed(data, len, 1, 1, &cut);
	same(data, &whole, &cut);
	return whole;
}

static void
expect(const char *data, const char *text)
{
	outcome outcome = at_every_split(data, strlen(data));

	if (strcmp(outcome.text, text) != 0)
		fail_msg("%s\n-- expected: %s\n-- got: %s", data, text, outcome.text);
}

/* Refused with this status. */
static void
expect_status(const char *data, size_t len, int status)
{
	outcome outcome = at_every_split(data, len);

	if (atoi(outcome.text) != status)
		fail_msg("%s\n-- expected: %d\n-- got: %s", data, status, outcome.text);
}

/* ---------- taken ---------- */

static void
taken(void **state)
{
	static const struct
	{
		const char *data;
		const char *text;
	} cases[] = {
		{GET "\r\n", "GET / Host=h"},
		{"\r\n\r\n" GET "\r\n", "GET / Host=h"},
		{"GET /a?b=c&d HTTP/1.1\r\n" HOST "\r\n", "GET /a?b=c&d Host=h"},
		{"GET /? HTTP/1.1\r\n" HOST "\r\n", "GET /? Host=h"},
		{"GET /a%2fb/../c//d HTTP/1.1\r\n" HOST "\r\n", "GET /a%2fb/../c//d Host=h"},
		{"GET /%c3%a4?%ff HTTP/1.1\r\n" HOST "\r\n", "GET /%c3%a4?%ff Host=h"},
		{"GET / HTTP/1.1\r\nhOsT:\t h:80 \t\r\n\r\n", "GET / hOsT=h:80"},
		{"GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", "GET / Host=[::1]:8080"},
		{"GET / HTTP/1.1\r\nHost: 127.0.0.1:\r\n\r\n", "GET / Host=127.0.0.1:"},
		{GET "A:\r\nB: \r\n\r\n", "GET / Host=h A= B="},
		{GET "A: 1\r\nb: x\r\na: 2\r\nA:\r\n\r\n", "GET / Host=h A=1, 2,  b=x"},
		{GET "A: \xE4\r\n\r\n", "GET / Host=h A=\xE4"},
		{GET "A: b\tc : d\r\n\r\n", "GET / Host=h A=b\tc : d"},
		{GET "Connection: close\r\n\r\n", "GET / Host=h Connection=close close"},
		{GET "Connection: foo, CLOSE\r\n\r\n", "GET / Host=h Connection=foo, CLOSE close"},
		{GET "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
		 "GET / Host=h Connection=Upgrade Upgrade=websocket"},
		{"GET / HTTP/1.0\r\n\r\n", "GET / close"},
		{"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "GET / Connection=keep-alive"},
		{"OPTIONS * HTTP/1.1\r\n" HOST "\r\n", "OPTIONS * Host=h"},
		{"GET http://x:1/p?q HTTP/1.1\r\n" HOST "A: b\r\n\r\n", "GET /p?q Host=x:1 A=b"},
		{"GET HTTPS://x HTTP/1.1\r\n" HOST "\r\n", "GET / Host=x"},
		{"GET http://x?q=/ HTTP/1.1\r\n" HOST "\r\n", "GET /?q=/ Host=x"},
		{"OPTIONS http://x HTTP/1.1\r\n" HOST "\r\n", "OPTIONS * Host=x"},
		{"GET http://x/ HTTP/1.0\r\n\r\n", "GET / Host=x close"},
		{"PATCH / HTTP/1.1\r\n" HOST "\r\n", "PATCH / Host=h"},
		{"TRACE / HTTP/1.1\r\n" HOST "\r\n", "TRACE / Host=h"},
		{POST "Content-Length: 5\r\n\r\nhello", "POST / Host=h Content-Length=5 [hello]"},
		{POST "Content-Length: 005\r\n\r\nhello", "POST / Host=h Content-Length=005 [hello]"},
		{POST "Content-Length: 0\r\n\r\n", "POST / Host=h Content-Length=0"},
		{POST "\r\n", "POST / Host=h"},
		{GET "Content-Length: 1\r\n\r\nx", "GET / Host=h Content-Length=1 [x]"},
		{CHUNKED "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
		 "POST / Host=h Transfer-Encoding=chunked [hello world]"},
		{CHUNKED "0\r\n\r\n", "POST / Host=h Transfer-Encoding=chunked"},
		{CHUNKED "000\r\n\r\n", "POST / Host=h Transfer-Encoding=chunked"},
		{CHUNKED "A\r\n0123456789\r\n0a\r\n0123456789\r\n00\r\n\r\n",
		 "POST / Host=h Transfer-Encoding=chunked [01234567890123456789]"},
		{CHUNKED "1\r\nx\r\n0\r\nHost: other\r\nContent-Length: 9\r\n\r\n",
		 "POST / Host=h Transfer-Encoding=chunked [x]"},
		{POST "transfer-encoding:CHUNKED\r\n\r\n0\r\n\r\n",
		 "POST / Host=h transfer-encoding=CHUNKED"},
		{POST "Expect: 100-Continue\r\nContent-Length: 1\r\n\r\nx",
		 "POST / Host=h Expect=100-Continue Content-Length=1 [x]"},
		{"POST / HTTP/1.0\r\nExpect: what\r\n\r\n", "POST / Expect=what close"},
		/* not complete */
		{"GET / HTTP/1.1\r\n" HOST, "more"},
		{"\r\n", "more"},
		{POST "Content-Length: 5\r\n\r\nhell", "more body"},
		{CHUNKED "5\r\nhello\r\n0\r\n", "more body"},
		{CHUNKED "5\r\nhello\r\n", "more body"},
	};

	(void) state;
	for (size_t i = 0; i < LENGTH(cases); i++)
		expect(cases[i].data, cases[i].text);
}

/* What follows a request is not touched. */
static void
pipelined(void **state)
{
	static const char *const requests[] = {
		GET "\r\n",
		POST "Content-Length: 5\r\n\r\nhello",
		CHUNKED "5\r\nhello\r\n0\r\n\r\n",
		CHUNKED "0\r\nA: b\r\n\r\n",
	};

	(void) state;
	for (size_t i = 0; i < LENGTH(requests); i++)
	{
		char data[512];

		snprintf(data, sizeof(data), "%sGARBAGE\n", requests[i]);
		assert_int_equal(at_every_split(data, strlen(data)).used, strlen(requests[i]));
	}
}

/* ---------- refused ---------- */

static void
refused(void **state)
{
	static const struct
	{
		int status;
		const char *data;
	} cases[] = {
		/* the request line */
		{400, "GET /\r\n"},
		{400, "GET  / HTTP/1.1\r\n"},
		{400, "GET / HTTP/1.1 \r\n"},
		{400, " GET / HTTP/1.1\r\n"},
		{400, "GET\t/ HTTP/1.1\r\n"},
		{400, "GET HTTP/1.1\r\n"},
		{400, "GET /a b HTTP/1.1\r\n"},
		{400, "G(T / HTTP/1.1\r\n"},
		{400, "GET / HTTP/1\r\n"},
		{400, "GET / http/1.1\r\n"},
		{400, "GET / HTTP/01.1\r\n"},
		{400, "GET / HTTP/1.1x\r\n"},
		{400, "GET / HTTP/1,1\r\n"},
		{400, "GET / ICE/1.1\r\n"},
		{505, "GET / HTTP/2.0\r\n"},
		{505, "GET / HTTP/1.2\r\n"},
		{505, "GET / HTTP/0.9\r\n"},
		{400, "\r\n\r\n\r\n"},
		{501, "get / HTTP/1.1\r\n" HOST "\r\n"},
		{501, "FOO / HTTP/1.1\r\n" HOST "\r\n"},
		{501, "GETX / HTTP/1.1\r\n" HOST "\r\n"},
		{501, "CONNECT h:80 HTTP/1.1\r\n"},
		{501, "CONNECT / HTTP/1.1\r\n"},
		{400, "PRI * HTTP/1.1\r\n" HOST "\r\n"},
		/* the target */
		{400, "GET * HTTP/1.1\r\n" HOST "\r\n"},
		{400, "GET a HTTP/1.1\r\n" HOST "\r\n"},
		{400, "GET /#f HTTP/1.1\r\n" HOST "\r\n"},
		{400, "GET /\xC3\xA4 HTTP/1.1\r\n" HOST "\r\n"},
		{400, "GET /%ff HTTP/1.1\r\n" HOST "\r\n"},
		{400, "GET /%c0%af HTTP/1.1\r\n" HOST "\r\n"},
		{400, "GET /%00 HTTP/1.1\r\n" HOST "\r\n"},
		{400, "GET /%4 HTTP/1.1\r\n" HOST "\r\n"},
		{400, "GET /%zz HTTP/1.1\r\n" HOST "\r\n"},
		{400, "GET ftp://h/ HTTP/1.1\r\n" HOST "\r\n"},
		{400, "GET http:///x HTTP/1.1\r\n" HOST "\r\n"},
		{400, "GET http:// HTTP/1.1\r\n" HOST "\r\n"},
		{400, "GET http://u@h/ HTTP/1.1\r\n" HOST "\r\n"},
		{400, "GET http://h:99999/ HTTP/1.1\r\n" HOST "\r\n"},
		{400, "GET http://h/ HTTP/1.1\r\n\r\n"},
		/* lines */
		{400, "GET / HTTP/1.1\n"},
		{400, "GET / HTTP/1.1\rHost: h\r\n"},
		{400, GET "A: b\n"},
		{400, GET "A: b\rc\r\n"},
		{400, GET "\n"},
		{400, GET "\rx"},
		{400, GET "A: b\r\r\n"},
		{400, GET "A: \x01\r\n"},
		{400, GET "A: \x7F\r\n"},
		{400, GET "A: b\x0B\r\n"},
		{400, "GET / HTTP/1.1\r\n \r\nHost: h\r\n"},
		{400, "GET / HTTP/1.1\r\n Host: h\r\n"},
		{400, GET "A: b\r\n c\r\n"},
		{400, GET "A: b\r\n\tc\r\n"},
		{400, GET "A : b\r\n"},
		{400, GET "A\t: b\r\n"},
		{400, GET ": b\r\n"},
		{400, GET "A\r\n"},
		{400, GET "A[: b\r\n"},
		{400, GET "A b: c\r\n"},
		{400, GET "\xE4: c\r\n"},
		{400, "\x16\x03\x01"},
		/* Host */
		{400, "GET / HTTP/1.1\r\n\r\n"},
		{400, "GET / HTTP/1.1\r\nHost:\r\n\r\n"},
		{400, "GET / HTTP/1.0\r\nHost:\r\n\r\n"},
		{400, GET "Host: h\r\n\r\n"},
		{400, GET "hOST: i\r\n\r\n"},
		{400, "GET / HTTP/1.0\r\nHost: h\r\nHost: h\r\n\r\n"},
		{400, "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"},
		{400, "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"},
		{400, "GET / HTTP/1.1\r\nHost: u@h\r\n\r\n"},
		{400, "GET / HTTP/1.1\r\nHost: h/p\r\n\r\n"},
		{400, "GET / HTTP/1.1\r\nHost: h:x\r\n\r\n"},
		{400, "GET / HTTP/1.1\r\nHost: h:65536\r\n\r\n"},
		{400, "GET / HTTP/1.1\r\nHost: h:80:80\r\n\r\n"},
		{400, "GET / HTTP/1.1\r\nHost: :80\r\n\r\n"},
		{400, "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"},
		{400, "GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n"},
		{400, "GET / HTTP/1.1\r\nHost: []\r\n\r\n"},
		{400, "GET / HTTP/1.1\r\nHost: h%41\r\n\r\n"},
		{400, "GET / HTTP/1.1\r\nHost: \xC3\xA4\r\n\r\n"},
		/* lengths and codings */
		{400, POST "Content-Length: abc\r\n\r\n"},
		{400, POST "Content-Length:\r\n\r\n"},
		{400, POST "Content-Length: +5\r\n\r\n"},
		{400, POST "Content-Length: -5\r\n\r\n"},
		{400, POST "Content-Length: 5 5\r\n\r\n"},
		{400, POST "Content-Length: 5, 5\r\n\r\n"},
		{400, POST "Content-Length: 0x5\r\n\r\n"},
		{400, POST "Content-Length: 5.0\r\n\r\n"},
		{400, POST "Content-Length: 5\r\nContent-Length: 6\r\n\r\n"},
		{400, POST "Content-Length: 5\r\ncontent-length: 5\r\n\r\n"},
		{413, POST "Content-Length: 33\r\n\r\n"},
		{413, POST "Content-Length: 18446744073709551615\r\n\r\n"},
		{413, POST "Content-Length: 18446744073709551616\r\n\r\n"},
		{413, POST "Content-Length: 99999999999999999999999999\r\n\r\n"},
		{413, POST "Expect: 100-continue\r\nContent-Length: 33\r\n\r\n"},
		{400, POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"},
		{400, POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"},
		{400, POST "Content-Length: 5\r\nTransfer-Encoding: identity\r\n\r\n"},
		{501, POST "Transfer-Encoding: gzip\r\n\r\n"},
		{501, POST "Transfer-Encoding:\r\n\r\n"},
		{501, POST "Transfer-Encoding: gzip, chunked\r\n\r\n"},
		{501, POST "Transfer-Encoding: chunked, chunked\r\n\r\n"},
		{501, POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"},
		{501, POST "Transfer-Encoding: chunked;x=y\r\n\r\n"},
		{501, POST "Transfer-Encoding: xchunked\r\n\r\n"},
		{501, POST "Transfer-Encoding: \"chunked\"\r\n\r\n"},
		{400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"},
		{417, GET "Expect: 200-ok\r\n\r\n"},
		{417, GET "Expect: 100-continue\r\nExpect: 100-continue\r\n\r\n"},
		/* chunks */
		{400, CHUNKED "\r\n"},
		{400, CHUNKED "x\r\n"},
		{400, CHUNKED "0x5\r\n"},
		{400, CHUNKED "+5\r\n"},
		{400, CHUNKED "-5\r\n"},
		{400, CHUNKED " 5\r\n"},
		{400, CHUNKED "5 \r\n"},
		{400, CHUNKED "5;a=b\r\n"},
		{400, CHUNKED "5\n"},
		{400, CHUNKED "5\r5"},
		{400, CHUNKED "5_\r\n"},
		{400, CHUNKED "00000000000000005\r\n"},
		{413, CHUNKED "21\r\n"},
		{413, CHUNKED "ffffffffffffffff\r\n"},
		{413, CHUNKED "10000000000000001\r\n"},
		{413, CHUNKED "20\r\n01234567890123456789012345678901\r\n1\r\n"},
		{400, CHUNKED "5\r\nhellox"},
		{400, CHUNKED "5\r\nhello\n"},
		{400, CHUNKED "5\r\nhello\r0"},
		{400, CHUNKED "5\r\nhel\r\n0\r\n\r\n"},
		{400, CHUNKED "0\r\n x\r\n"},
		{400, CHUNKED "0\r\nA : x\r\n"},
		{400, CHUNKED "0\r\nA\r\n"},
		{400, CHUNKED "0\r\n\n"},
		{400, CHUNKED "0\r\nA: \x01"},
		{400, CHUNKED "0\r\nGET / HTTP/1.1\r\n"},
	};

	(void) state;
	for (size_t i = 0; i < LENGTH(cases); i++)
		expect_status(cases[i].data, strlen(cases[i].data), cases[i].status);
}

/* A NUL anywhere in a head. */
static void
nul_bytes(void **state)
{
	static const char request[] = GET "A: b\r\n\r\n";

	(void) state;
	for (size_t i = 0; i + 2 < sizeof(request); i++)
	{
		char data[sizeof(request)];
		size_t len = sizeof(request) - 1;
		outcome outcome;

		memcpy(data, request, len);
		data[i] = '\0';
		outcome = at_every_split(data, len);
		assert_int_equal(atoi(outcome.text), 400);
		assert_true(outcome.used <= i + 1);
	}
}

/* ---------- bounds ---------- */

static void
fill(char *data, const char *start, size_t len)
{
	size_t n = strlen(start);

	memcpy(data, start, n);
	memset(data + n, 'a', len - n);
	data[len] = '\0';
}

static void
sizes_of_a_head(void **state)
{
	char data[MAX_HEADER * 2];

	(void) state;
	fill(data, "GET /", MAX_HEADER);
	expect(data, "more");
	fill(data, "GET /", MAX_HEADER + 1);
	expect_status(data, MAX_HEADER + 1, 414);
	fill(data, GET "A: ", MAX_HEADER);
	memcpy(data + MAX_HEADER - 4, "\r\n\r\n", 5);
	assert_int_equal(at_every_split(data, MAX_HEADER).text[0], 'G');
	fill(data, GET "A: ", MAX_HEADER + 1);
	memcpy(data + MAX_HEADER - 3, "\r\n\r\n", 5);
	expect_status(data, MAX_HEADER + 1, 431);
	fill(data, CHUNKED "0\r\nA: ", MAX_HEADER + strlen(CHUNKED "0\r\n") + 1);
	expect_status(data, strlen(data), 431);
}

static void
number_of_headers(void **state)
{
	(void) state;
	for (int n = 99; n <= 100; n++)
	{
		char data[1024] = GET;
		http_parse *parse = http_parse_new(1024, 0);
		size_t used;

		for (int i = 0; i < n; i++)
			strcat(data, "A:b\r\n");
		strcat(data, "\r\n");
		if (n == 99)
		{
			http_message *message;

			assert_int_equal(http_parse_feed(parse, data, strlen(data), &used), HTTP_PARSE_DONE);
			message = http_parse_take(parse);
			assert_int_equal(message->nfields, 2);
			assert_int_equal(strlen(http_message_field(message, "a")), 99 + 98 * 2);
			assert_null(http_message_field(message, "aa"));
			http_message_free(message);
		}
		else
		{
			assert_int_equal(http_parse_feed(parse, data, strlen(data), &used), HTTP_PARSE_REFUSED);
			assert_int_equal(http_parse_refusal(parse)->status, 431);
		}
		http_parse_free(parse);
	}
}

/* ---------- what the connection asks while it reads ---------- */

static void
when_to_say_continue(void **state)
{
	static const char head[] = POST "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n";
	static const char chunked[] = POST "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n";
	static const char old[] =
		"POST / HTTP/1.0\r\n" HOST "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n";
	static const struct
	{
		const char *data;
		const char *more;
		bool waits;
	} cases[] = {
		{head, "", true},      {head, "x", false}, {chunked, "", true},
		{chunked, "2", false}, {old, "", false},
	};

	(void) state;
	for (size_t i = 0; i < LENGTH(cases); i++)
	{
		http_parse *parse = http_parse_new(MAX_HEADER, MAX_BODY);
		char data[256];
		size_t used;

		snprintf(data, sizeof(data), "%s%s", cases[i].data, cases[i].more);
		http_parse_feed(parse, data, 20, &used);
		assert_false(http_parse_in_body(parse));
		assert_false(http_parse_continue(parse));
		assert_int_equal(http_parse_feed(parse, data + 20, strlen(data) - 20, &used),
						 HTTP_PARSE_MORE);
		assert_true(http_parse_in_body(parse));
		assert_int_equal(http_parse_continue(parse), cases[i].waits);
		assert_false(http_parse_continue(parse));
		http_parse_free(parse);
	}
}

static void
refusing_a_head_request(void **state)
{
	static const char *const requests[] = {"HEAD / HTTP/1.1\r\n\r\n", "HEADER / HTTP/1.1\r\n\r\n"};

	(void) state;
	for (size_t i = 0; i < LENGTH(requests); i++)
	{
		http_parse *parse = http_parse_new(MAX_HEADER, MAX_BODY);
		size_t used;

		assert_int_equal(http_parse_feed(parse, requests[i], strlen(requests[i]), &used),
						 HTTP_PARSE_REFUSED);
		assert_int_equal(http_parse_is_head(parse), i == 0);
		http_parse_free(parse);
	}
}

/* A body that is announced takes no memory before it comes: SIZE_MAX could not be had. */
static void
memory_grows_with_what_comes(void **state)
{
	static const char data[] = POST "Content-Length: 1000000000000\r\n\r\nxy";
	http_parse *parse = http_parse_new(MAX_HEADER, SIZE_MAX / 4);
	size_t used;

	(void) state;
	assert_int_equal(http_parse_feed(parse, data, strlen(data), &used), HTTP_PARSE_MORE);
	assert_true(http_parse_in_body(parse));
	http_parse_free(parse);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(taken),
		cmocka_unit_test(pipelined),
		cmocka_unit_test(refused),
		cmocka_unit_test(nul_bytes),
		cmocka_unit_test(sizes_of_a_head),
		cmocka_unit_test(number_of_headers),
		cmocka_unit_test(when_to_say_continue),
		cmocka_unit_test(refusing_a_head_request),
		cmocka_unit_test(memory_grows_with_what_comes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
