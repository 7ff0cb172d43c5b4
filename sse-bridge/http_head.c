/*
 * sse-bridge/http_head.c
 *	  The rules for a request line and its headers.
 *
 * The rule: a head is taken only where RFC 9112 leaves one reading of it. It is split here, and
 * http-parser then has to find the same method, the same keep-alive and the same length of the body
 * in it: a request on which two parsers differ is the one that smuggles another past a proxy.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <http_parser.h>

#include "http_head.h"
#include "http_text.h"

const http_refusal http_no_memory = {0, "out of memory"};

static const http_refusal bad_line = {400, "the request line is not 'method target version'"};
static const http_refusal bad_version = {400, "the version is not that of HTTP"};
static const http_refusal other_version = {505, "only HTTP/1.1 and HTTP/1.0 are spoken here"};
static const http_refusal no_tunnel = {501, "this is no proxy"};
static const http_refusal bad_target = {400, "the request target is malformed"};
static const http_refusal bad_path = {400, "the path has malformed escapes, a NUL, or isn't UTF-8"};
static const http_refusal folded = {400, "a header is folded, or begins with a space"};
static const http_refusal bad_name = {400, "the name of a header is empty or malformed"};
static const http_refusal too_many = {431, "there are too many headers"};
static const http_refusal no_host = {400, "there is no Host header"};
static const http_refusal two_hosts = {400, "there is more than one Host header"};
static const http_refusal bad_host = {400, "the Host header is malformed"};
static const http_refusal two_lengths = {400, "there is more than one Content-Length"};
static const http_refusal bad_length = {400, "Content-Length is not a number of bytes"};
static const http_refusal huge_length = {413, "the body is too large"};
static const http_refusal two_framings = {400, "both Content-Length and Transfer-Encoding"};
static const http_refusal old_coding = {400, "Transfer-Encoding needs HTTP/1.1"};
static const http_refusal bad_coding = {501, "the only Transfer-Encoding known here is chunked"};
static const http_refusal bad_expect = {417, "the only expectation met here is 100-continue"};
static const http_refusal bad_method = {501, "the method is unknown"};
static const http_refusal bad_head = {400, "the headers are malformed"};

/* What the headers that say how the request is to be read come to. */
typedef struct facts
{
	unsigned hosts, lengths, codings;
	http_span host, coding, expect;
	bool expects;
	uint64_t length;
} facts;

/* Where the parts of the target are. */
typedef struct target
{
	http_span authority; /* of the absolute form; len 0 otherwise */
	http_span path;      /* len 0 where the absolute form has none */
	http_span query;     /* at 0 where there is none */
} target;

/* What http-parser made of it. */
typedef struct second_opinion
{
	bool complete;
	bool keep_alive;
	bool chunked;
	uint64_t length;
} second_opinion;

static bool
span_is(const http_head *head, http_span span, const char *word)
{
	return strlen(word) == span.len && strncasecmp(head->text + span.at, word, span.len) == 0;
}

/* ---------- line by line ---------- */

/* "HTTP/1.1" or "HTTP/1.0", and what is wrong otherwise. */
static const http_refusal *
read_version(http_head *head, const char *s, size_t len)
{
	if (len != 8 || memcmp(s, "HTTP/", 5) != 0 || s[6] != '.')
		return &bad_version;
	if (s[5] < '0' || s[5] > '9' || s[7] < '0' || s[7] > '9')
		return &bad_version;
	if (s[5] != '1' || s[7] > '1')
		return &other_version;
	head->version_1_0 = s[7] == '0';
	return NULL;
}

const http_refusal *
http_head_request_line(http_head *head, size_t at, size_t len)
{
	const char *line = head->text + at;
	const char *end = line + len;
	const char *first = memchr(line, ' ', len);
	const char *second = first == NULL ? NULL : memchr(first + 1, ' ', (size_t) (end - first - 1));
	const http_refusal *refusal;

	if (first == line || second == NULL || second == first + 1)
		return &bad_line;
	for (const char *c = line; c < first; c++)
	{
		if (!http_is_token(*c))
			return &bad_line;
	}
	for (const char *c = first + 1; c < second; c++)
	{
		if (*c <= ' ' || *c > '~' || *c == '#')
			return &bad_target;
	}
	refusal = read_version(head, second + 1, (size_t) (end - second - 1));
	head->method = (http_span){(uint32_t) at, (uint32_t) (first - line)};
	head->target =
		(http_span){(uint32_t) (first + 1 - head->text), (uint32_t) (second - first - 1)};
	if (refusal == NULL && head->method.len == 7 && memcmp(line, "CONNECT", 7) == 0)
		return &no_tunnel;
	return refusal;
}

const http_refusal *
http_head_field(http_head *head, size_t at, size_t len, bool keep)
{
	const char *line = head->text + at;
	const char *end = line + len;
	const char *colon = memchr(line, ':', len);
	const char *value;

	if (*line == ' ' || *line == '\t')
		return &folded;
	if (colon == line || colon == NULL)
		return &bad_name;
	for (const char *c = line; c < colon; c++)
	{
		if (!http_is_token(*c))
			return &bad_name;
	}
	if (!keep)
		return NULL;
	if (head->nfields == HTTP_MAX_FIELDS)
		return &too_many;
	for (value = colon + 1; value < end && (*value == ' ' || *value == '\t'); value++)
		;
	while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	head->names[head->nfields] = (http_span){(uint32_t) at, (uint32_t) (colon - line)};
	head->values[head->nfields++] =
		(http_span){(uint32_t) (value - head->text), (uint32_t) (end - value)};
	return NULL;
}

/* ---------- the host ---------- */

/* ":8080", ":" or nothing. */
static bool
valid_port(const char *s, size_t len)
{
	unsigned port = 0;

	if (len == 0)
		return true;
	if (s[0] != ':' || len > 6)
		return false;
	for (size_t i = 1; i < len; i++)
	{
		if (s[i] < '0' || s[i] > '9')
			return false;
		port = port * 10 + (unsigned) (s[i] - '0');
	}
	return port <= 65535;
}

/*
 * A name, an IPv4 address or an IPv6 address in brackets, and perhaps a port. RFC 3986 would allow
 * more in a name (a comma, escapes), but no DNS name has it, and a list of hosts looks like that.
 */
static bool
valid_host(const char *s, size_t len)
{
	size_t n = 0;

	if (len > 0 && s[0] == '[')
	{
		for (n = 1; n < len && (http_hex(s[n]) >= 0 || s[n] == ':' || s[n] == '.'); n++)
			;
		return n > 2 && n < len && s[n] == ']' && valid_port(s + n + 1, len - n - 1);
	}
	while (n < len && s[n] != ':' && (http_is_token(s[n]) && strchr("!#$%&'*+^`|", s[n]) == NULL))
		n++;
	return n > 0 && valid_port(s + n, len - n);
}

/* ---------- headers that decide how the request is read ---------- */

static const http_refusal *
read_length(const char *s, size_t len, uint64_t *length)
{
	*length = 0;
	if (len == 0)
		return &bad_length;
	for (size_t i = 0; i < len; i++)
	{
		if (s[i] < '0' || s[i] > '9')
			return &bad_length;
	}
	for (size_t i = 0; i < len; i++)
	{
		if (*length > (UINT64_MAX - 9) / 10)
			return &huge_length;
		*length = *length * 10 + (uint64_t) (s[i] - '0');
	}
	return NULL;
}

/* Notes one header, if it is one of those. */
static const http_refusal *
note_field(const http_head *head, http_span name, http_span value, facts *facts)
{
	if (span_is(head, name, "host"))
	{
		facts->hosts++;
		facts->host = value;
	}
	else if (span_is(head, name, "content-length"))
	{
		facts->lengths++;
		return read_length(head->text + value.at, value.len, &facts->length);
	}
	else if (span_is(head, name, "transfer-encoding"))
	{
		facts->codings++;
		facts->coding = value;
	}
	else if (span_is(head, name, "expect"))
	{
		if (facts->expects)
			return &bad_expect;
		facts->expects = true;
		facts->expect = value;
	}
	return NULL;
}

static const http_refusal *
check_host(const http_head *head, const facts *facts)
{
	if (facts->hosts > 1)
		return &two_hosts;
	if (facts->hosts == 0)
		return head->version_1_0 ? NULL : &no_host;
	return valid_host(head->text + facts->host.at, facts->host.len) ? NULL : &bad_host;
}

static const http_refusal *
check_framing(const http_head *head, const facts *facts, http_framing *framing)
{
	if (facts->lengths > 1)
		return &two_lengths;
	if (facts->codings > 0)
	{
		if (facts->lengths > 0)
			return &two_framings;
		if (head->version_1_0)
			return &old_coding;
		if (facts->codings > 1 || !span_is(head, facts->coding, "chunked"))
			return &bad_coding;
	}
	framing->chunked = facts->codings > 0;
	framing->length = facts->length;
	return NULL;
}

/* A client of HTTP/1.0 can't know what 100 (Continue) is: its expectation is passed over. */
static const http_refusal *
check_expect(const http_head *head, const facts *facts, http_framing *framing)
{
	if (!facts->expects || head->version_1_0)
		return NULL;
	if (!span_is(head, facts->expect, "100-continue"))
		return &bad_expect;
	framing->awaits_continue = framing->chunked || framing->length > 0;
	return NULL;
}

static const http_refusal *
check_fields(const http_head *head, facts *facts, http_framing *framing)
{
	const http_refusal *refusal = NULL;

	for (unsigned i = 0; i < head->nfields && refusal == NULL; i++)
		refusal = note_field(head, head->names[i], head->values[i], facts);
	if (refusal == NULL)
		refusal = check_host(head, facts);
	if (refusal == NULL)
		refusal = check_framing(head, facts, framing);
	if (refusal == NULL)
		refusal = check_expect(head, facts, framing);
	return refusal;
}

/* ---------- the target ---------- */

/* Length of "http://" or "https://" in front, 0 without. */
static uint32_t
scheme_length(const char *s, size_t len)
{
	if (len > 7 && strncasecmp(s, "http://", 7) == 0)
		return 7;
	if (len > 8 && strncasecmp(s, "https://", 8) == 0)
		return 8;
	return 0;
}

/*
 * Origin form, absolute form (its authority takes the place of Host, RFC 9112 3.2.2), or "*" for
 * OPTIONS.
 */
static const http_refusal *
split_target(const http_head *head, target *target)
{
	const char *s = head->text + head->target.at;
	const char *question = memchr(s, '?', head->target.len);
	uint32_t len = question == NULL ? head->target.len : (uint32_t) (question - s);
	uint32_t scheme = scheme_length(s, len);
	uint32_t authority = 0;

	memset(target, 0, sizeof(*target));
	if (head->target.len == 1 && s[0] == '*')
	{
		target->path = head->target;
		return span_is(head, head->method, "OPTIONS") ? NULL : &bad_target;
	}
	if (s[0] != '/')
	{
		if (scheme == 0)
			return &bad_target;
		while (scheme + authority < len && s[scheme + authority] != '/')
			authority++;
		if (!valid_host(s + scheme, authority))
			return &bad_target;
		target->authority = (http_span){head->target.at + scheme, authority};
	}
	target->path = (http_span){head->target.at + scheme + authority, len - scheme - authority};
	if (question != NULL)
		target->query = (http_span){head->target.at + len + 1, head->target.len - len - 1};
	return NULL;
}

/* ---------- the second opinion ---------- */

static int
headers_complete(http_parser *parser)
{
	second_opinion *opinion = parser->data;

	opinion->complete = true;
	opinion->keep_alive = http_should_keep_alive(parser) != 0;
	opinion->chunked = (parser->flags & F_CHUNKED) != 0;
	opinion->length = (parser->flags & F_CONTENTLENGTH) != 0 ? parser->content_length : 0;
	return 0;
}

/* Lets http-parser read the head; its refusals and its disagreements are ours. */
static const http_refusal *
consult(const http_head *head, const http_framing *framing, const char **method, bool *keep_alive)
{
	static const http_parser_settings settings = {.on_headers_complete = headers_complete};
	second_opinion opinion = {0};
	http_parser parser;

	http_parser_set_max_header_size(UINT32_MAX); /* ours is kept already */
	http_parser_init(&parser, HTTP_REQUEST);
	parser.data = &opinion;
	http_parser_execute(&parser, &settings, head->text, head->len);
	if (HTTP_PARSER_ERRNO(&parser) == HPE_INVALID_METHOD)
		return &bad_method;
	if (HTTP_PARSER_ERRNO(&parser) != HPE_OK || !opinion.complete)
		return &bad_head;
	if (opinion.chunked != framing->chunked || opinion.length != framing->length)
		return &bad_head;
	*method = http_method_str((enum http_method) parser.method);
	*keep_alive = opinion.keep_alive;
	return strlen(*method) == head->method.len ? NULL : &bad_method;
}

/* ---------- the message ---------- */

/* Copies a span, with a NUL. Returns where the copy is, and moves *out behind it. */
static char *
copy_span(const http_head *head, http_span span, char **out)
{
	char *copy = *out;

	memcpy(copy, head->text + span.at, span.len);
	copy[span.len] = '\0';
	*out += span.len + 1;
	return copy;
}

static bool
same_name(const http_head *head, http_span a, http_span b)
{
	return a.len == b.len && strncasecmp(head->text + a.at, head->text + b.at, a.len) == 0;
}

/* Copies the field i with the values of all that have its name; these are marked as done. */
static void
copy_field(http_head *head, unsigned i, http_message *message, char **out)
{
	http_field *field = &message->fields[message->nfields++];

	field->name = copy_span(head, head->names[i], out);
	field->value = copy_span(head, head->values[i], out);
	for (unsigned k = i + 1; k < head->nfields; k++)
	{
		if (!same_name(head, head->names[i], head->names[k]))
			continue;
		memcpy(*out - 1, ", ", 2);
		(*out)++;
		copy_span(head, head->values[k], out);
		head->names[k].len = 0;
	}
}

/* The headers take no more than their lines did: a separator is shorter than a name and CR LF. */
static void
copy_fields(http_head *head, const target *target, http_message *message, char **out)
{
	if (target->authority.len > 0)
	{
		message->fields[message->nfields].name = "Host";
		message->fields[message->nfields++].value = copy_span(head, target->authority, out);
	}
	for (unsigned i = 0; i < head->nfields; i++)
	{
		bool replaced = target->authority.len > 0 && span_is(head, head->names[i], "host");

		if (head->names[i].len > 0 && !replaced)
			copy_field(head, i, message, out);
	}
}

/* Room for the path, the query, the query once more, and an authority. */
static http_message *
message_new(const http_head *head)
{
	size_t fields = (head->nfields + 1) * sizeof(http_field);
	size_t text = head->len + 4 * ((size_t) head->target.len + 2);
	http_message *message = malloc(sizeof(http_message) + fields + text);

	if (message != NULL)
		memset(message, 0, sizeof(*message));
	return message;
}

/* Fills in path, query and fields. False where the path can't be decoded. */
static bool
fill_message(http_head *head, const target *target, http_message *message)
{
	char *out = (char *) &message->fields[head->nfields + 1];

	message->query_room = out;
	out += head->target.len + 1;
	message->path = copy_span(head, target->path, &out);
	if (target->path.len == 0)
		message->path = span_is(head, head->method, "OPTIONS") ? "*" : "/";
	if (target->query.at > 0)
		message->query = copy_span(head, target->query, &out);
	copy_fields(head, target, message, &out);
	return http_decode(message->path, strlen(message->path), false, message->query_room);
}

const http_refusal *
http_head_finish(http_head *head, http_framing *framing, http_message **message)
{
	facts facts = {0};
	target target;
	const char *method = NULL;
	bool keep_alive = false;
	const http_refusal *refusal = split_target(head, &target);

	if (refusal == NULL)
		refusal = check_fields(head, &facts, framing);
	if (refusal == NULL)
		refusal = consult(head, framing, &method, &keep_alive);
	if (refusal != NULL)
		return refusal;
	*message = message_new(head);
	if (*message == NULL)
		return &http_no_memory;
	(*message)->method = method;
	(*message)->keep_alive = keep_alive;
	(*message)->version_1_0 = head->version_1_0;
	if (fill_message(head, &target, *message))
		return NULL;
	http_message_free(*message);
	*message = NULL;
	return &bad_path;
}
