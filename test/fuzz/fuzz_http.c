/*
 * test/fuzz/fuzz_http.c
 *	  Any bytes as requests on one connection.
 *
 * However they are cut, the same comes out; what is taken is well-formed; and http-parser, given
 * the same bytes, finds the end of each request, and its body, where we do. Smuggling lives on the
 * difference.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <http_parser.h>

#include "http_internal.h"
#include "http_text.h"

#define MAX_HEADER 2048
#define MAX_BODY 1024

static void
require(int holds, const char *what)
{
	if (!holds)
	{
		fprintf(stderr, "%s\n", what);
		abort();
	}
}

/* Feeds data in pieces, each in memory of its own; returns how many bytes were taken. */
static size_t
feed(http_parse *parse, const char *data, size_t len, size_t piece, http_parse_result *result)
{
	size_t total = 0;

	*result = HTTP_PARSE_MORE;
	while (total < len && *result == HTTP_PARSE_MORE)
	{
		size_t n = piece < len - total ? piece : len - total;
		char *copy = malloc(n);
		size_t used;

		memcpy(copy, data + total, n);
		*result = http_parse_feed(parse, copy, n, &used);
		free(copy);
		require(used == n || *result != HTTP_PARSE_MORE, "bytes were left over");
		total += used;
	}
	return total;
}

/* ---------- what http-parser says ---------- */

typedef struct other
{
	char body[MAX_BODY];
	size_t len;
	bool complete;
} other;

static int
other_body(http_parser *parser, const char *at, size_t len)
{
	other *other = parser->data;

	require(len <= MAX_BODY - other->len, "http-parser finds a larger body");
	memcpy(other->body + other->len, at, len);
	other->len += len;
	return 0;
}

static int
other_complete(http_parser *parser)
{
	((other *) parser->data)->complete = true;
	http_parser_pause(parser, 1);
	return 0;
}

static void
compare(const char *data, size_t len, const http_message *message)
{
	static const http_parser_settings settings = {.on_body = other_body,
												  .on_message_complete = other_complete};
	http_parser parser;
	other other = {.len = 0};
	size_t used;

	http_parser_init(&parser, HTTP_REQUEST);
	parser.data = &other;
	used = http_parser_execute(&parser, &settings, data, len);
	require(other.complete, "http-parser doesn't find the end");
	/* paused, it has not yet counted the last byte */
	require(used == len || used + 1 == len, "http-parser finds another end");
	require(other.len == message->body_len &&
				(other.len == 0 || memcmp(other.body, message->body, other.len) == 0),
			"http-parser finds another body");
	require(strcmp(http_method_str((enum http_method) parser.method), message->method) == 0,
			"http-parser finds another method");
}

/* ---------- what we say ---------- */

static void
check_text(const char *text)
{
	for (; *text != '\0'; text++)
		require((unsigned char) *text >= ' ' || *text == '\t', "a control character");
}

static void
check_message(http_message *message)
{
	static http_conn conn;
	http_request *request;
	bool bad;
	size_t len;
	char *path = malloc(strlen(message->path) + 1);

	require(http_decode(message->path, strlen(message->path), false, path), "a malformed path");
	require(path[0] == '/' || strcmp(path, "*") == 0, "a path that is none");
	free(path);
	for (unsigned i = 0; i < message->nfields; i++)
	{
		const char *name = message->fields[i].name;

		check_text(name);
		check_text(message->fields[i].value);
		require(http_message_field(message, name) == message->fields[i].value, "a name twice");
	}
	require(message->version_1_0 || http_message_field(message, "host") != NULL, "no host");
	request = http_request_new(&conn, message);
	for (const char *const *name = (const char *const[]){"q", "", "x", "a b", NULL}; *name; name++)
	{
		const char *value = http_query(request, *name, &bad);

		require(value == NULL || (!bad && http_is_utf8(value, strlen(value))), "a bad value");
		require(value == http_query(request, *name, NULL), "another value");
	}
	require(http_body(request, &len)[len] == '\0', "no NUL");
	http_request_free(request);
}

/* One request; returns the bytes that it takes, 0 where there is none, or no more. */
static size_t
one_request(const char *data, size_t len, size_t piece)
{
	http_parse *whole = http_parse_new(MAX_HEADER, MAX_BODY);
	http_parse *cut = http_parse_new(MAX_HEADER, MAX_BODY);
	http_parse_result result, cut_result;
	size_t used = feed(whole, data, len, len, &result);
	size_t cut_used = feed(cut, data, len, piece, &cut_result);

	require(result == cut_result && used == cut_used, "it makes a difference how it is cut");
	if (result == HTTP_PARSE_REFUSED)
	{
		const http_refusal *refusal = http_parse_refusal(whole);

		require(refusal == http_parse_refusal(cut), "refused otherwise");
		require(refusal->status >= 400 && refusal->status < 600, "an odd status");
	}
	if (result == HTTP_PARSE_DONE)
	{
		http_message *message = http_parse_take(whole);

		compare(data, used, message);
		check_message(message);
	}
	http_parse_free(whole);
	http_parse_free(cut);
	return result == HTTP_PARSE_DONE ? used : 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *bytes = (const char *) data;
	size_t piece = size == 0 ? 1 : 1 + data[size - 1] % 7;
	size_t used;

	for (size_t at = 0; at < size; at += used)
	{
		used = one_request(bytes + at, size - at, piece);
		if (used == 0)
			break;
	}
	return 0;
}
