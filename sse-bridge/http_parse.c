/*
 * sse-bridge/http_parse.c
 *	  Reads one request byte by byte: head, body, chunks, trailers.
 *
 * The rule: each byte is judged when it comes, in order, and nothing looks ahead, so that a request
 * means the same however the network cuts it. What it holds grows with what has arrived, never with
 * what was announced.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "http_head.h"
#include "http_parse.h"
#include "http_text.h"

/* Empty lines in front of a request: one is a known mistake of clients, and more lead nowhere. */
#define MAX_BLANK_LINES 2
/* Digits of a chunk's size, leading zeros included. */
#define MAX_CHUNK_DIGITS 16

typedef enum state
{
	HEAD,       /* the request line and headers */
	BODY,       /* with a Content-Length */
	CHUNK_SIZE, /* the digits, or the CR behind them */
	CHUNK_SIZE_LF,
	CHUNK,
	CHUNK_CR, /* behind a chunk's bytes */
	CHUNK_LF,
	TRAILERS,
	DONE,
	REFUSED
} state;

struct http_parse
{
	state state;
	size_t max_header;
	size_t max_body;
	const http_refusal *refusal;
	http_message *message;
	http_framing framing;
	http_head head; /* of the trailers, later */
	size_t line;    /* where the current line begins */
	bool after_cr;
	bool seen_line; /* the request line */
	bool is_head;
	unsigned blank_lines;
	unsigned digits;
	size_t left;      /* bytes of the body, or of this chunk, still to come */
	size_t body_size; /* allocated */
};

static const http_refusal bare_lf = {400, "a line ends with LF instead of CR LF"};
static const http_refusal bare_cr = {400, "there is a CR without LF"};
static const http_refusal control = {400, "there is a control character in the headers"};
static const http_refusal blank_lines = {400, "there are too many empty lines before the request"};
static const http_refusal long_line = {414, "the request line is too long"};
static const http_refusal long_head = {431, "the headers are too long"};
static const http_refusal long_body = {413, "the body is too large"};
static const http_refusal bad_size = {400, "a chunk size has other than hexadecimal digits"};
static const http_refusal bad_chunk = {400, "a chunk doesn't end where its size says"};

http_parse *
http_parse_new(size_t max_header, size_t max_body)
{
	http_parse *parse = calloc(1, sizeof(http_parse));

	if (parse == NULL)
		return NULL;
	parse->max_header = max_header < UINT32_MAX / 8 ? max_header : UINT32_MAX / 8;
	parse->max_body = max_body;
	return parse;
}

void
http_parse_free(http_parse *parse)
{
	if (parse == NULL)
		return;
	free(parse->head.text);
	http_message_free(parse->message);
	free(parse);
}

void
http_message_free(http_message *message)
{
	if (message == NULL)
		return;
	free(message->body);
	free(message);
}

/* ---------- the head, and trailers ---------- */

/* Makes room for one more byte of the head. */
static const http_refusal *
reserve_head(http_parse *parse)
{
	http_head *head = &parse->head;
	size_t size = head->size == 0 ? 512 : head->size * 2;
	char *text;

	if (head->len == parse->max_header)
		return parse->seen_line ? &long_head : &long_line;
	if (head->len < head->size)
		return NULL;
	if (size > parse->max_header)
		size = parse->max_header;
	text = realloc(head->text, size);
	if (text == NULL)
		return &http_no_memory;
	head->text = text;
	head->size = size;
	return NULL;
}

static void
release_head(http_parse *parse)
{
	free(parse->head.text);
	parse->head.text = NULL;
	parse->head.len = 0;
	parse->head.size = 0;
	parse->line = 0;
}

/* The head is complete: what comes next? */
static const http_refusal *
end_of_head(http_parse *parse)
{
	const http_refusal *refusal = http_head_finish(&parse->head, &parse->framing, &parse->message);

	if (refusal != NULL)
		return refusal;
	release_head(parse);
	if (parse->framing.length > parse->max_body)
		return &long_body;
	parse->left = (size_t) parse->framing.length;
	parse->digits = 0;
	if (parse->framing.chunked)
		parse->state = CHUNK_SIZE;
	else
		parse->state = parse->left > 0 ? BODY : DONE;
	return NULL;
}

static const http_refusal *
empty_line(http_parse *parse)
{
	if (parse->state == TRAILERS)
	{
		release_head(parse);
		parse->state = DONE;
		return NULL;
	}
	if (parse->seen_line)
		return end_of_head(parse);
	parse->head.len = 0;
	return ++parse->blank_lines > MAX_BLANK_LINES ? &blank_lines : NULL;
}

/* A line is complete, CR LF and all. */
static const http_refusal *
end_of_line(http_parse *parse)
{
	http_head *head = &parse->head;
	size_t at = parse->line;
	size_t len = head->len - at - 2;

	parse->line = head->len;
	if (len == 0)
	{
		parse->line = 0;
		return empty_line(parse);
	}
	if (parse->seen_line)
		return http_head_field(head, at, len, parse->state == HEAD);
	parse->seen_line = true;
	parse->is_head = len > 5 && memcmp(head->text + at, "HEAD ", 5) == 0;
	return http_head_request_line(head, at, len);
}

/* CR and LF come only as a pair, and but for the tab there are no control characters. */
static const http_refusal *
check_byte(const http_parse *parse, char c)
{
	if (parse->after_cr != (c == '\n'))
		return parse->after_cr ? &bare_cr : &bare_lf;
	if (((unsigned char) c < ' ' && c != '\t' && c != '\r' && c != '\n') || c == 0x7F)
		return &control;
	return NULL;
}

/* One byte of a head or of trailers. */
static const http_refusal *
take_head_byte(http_parse *parse, char c)
{
	const http_refusal *refusal = check_byte(parse, c);

	if (refusal == NULL)
		refusal = reserve_head(parse);
	if (refusal != NULL)
		return refusal;
	parse->head.text[parse->head.len++] = c;
	parse->after_cr = c == '\r';
	return c == '\n' ? end_of_line(parse) : NULL;
}

/* ---------- the body ---------- */

/* Appends to the body, whose buffer doubles until the bound and has a byte to spare for the NUL. */
static const http_refusal *
append_body(http_parse *parse, const char *data, size_t len)
{
	http_message *message = parse->message;
	size_t needed = message->body_len + len + 1;
	size_t size = parse->body_size * 2;
	char *body;

	if (needed > parse->body_size)
	{
		if (size > parse->max_body + 1)
			size = parse->max_body + 1;
		if (size < needed)
			size = needed;
		body = realloc(message->body, size);
		if (body == NULL)
			return &http_no_memory;
		message->body = body;
		parse->body_size = size;
	}
	memcpy(message->body + message->body_len, data, len);
	message->body_len += len;
	message->body[message->body_len] = '\0';
	return NULL;
}

/* Takes as many as belong to the body, or to the chunk. */
static const http_refusal *
take_body(http_parse *parse, const char *data, size_t len, size_t *taken)
{
	const http_refusal *refusal;

	*taken = len < parse->left ? len : parse->left;
	refusal = append_body(parse, data, *taken);
	parse->left -= *taken;
	if (parse->left == 0)
		parse->state = parse->state == BODY ? DONE : CHUNK_CR;
	return refusal;
}

/* A digit of a chunk's size, or the CR behind it; a chunk extension ends here. */
static const http_refusal *
take_chunk_size(http_parse *parse, char c)
{
	int digit = http_hex(c);

	if (c == '\r' && parse->digits > 0)
	{
		parse->state = CHUNK_SIZE_LF;
		return NULL;
	}
	if (digit < 0 || ++parse->digits > MAX_CHUNK_DIGITS)
		return &bad_size;
	if (parse->left > (SIZE_MAX - 15) / 16)
		return &long_body;
	parse->left = parse->left * 16 + (size_t) digit;
	if (parse->left > parse->max_body - parse->message->body_len)
		return &long_body;
	return NULL;
}

/* The bytes around a chunk's own. */
static const http_refusal *
take_chunk_mark(http_parse *parse, char c)
{
	switch (parse->state)
	{
		case CHUNK_SIZE:
			return take_chunk_size(parse, c);
		case CHUNK_SIZE_LF:
			parse->state = parse->left > 0 ? CHUNK : TRAILERS;
			return c == '\n' ? NULL : &bad_size;
		case CHUNK_CR:
			parse->state = CHUNK_LF;
			return c == '\r' ? NULL : &bad_chunk;
		default:
			parse->state = CHUNK_SIZE;
			parse->digits = 0;
			return c == '\n' ? NULL : &bad_chunk;
	}
}

/* ---------- all of it ---------- */

/* Takes at least one byte; *taken says how many. */
static const http_refusal *
take(http_parse *parse, const char *data, size_t len, size_t *taken)
{
	*taken = 1;
	switch (parse->state)
	{
		case HEAD:
		case TRAILERS:
			return take_head_byte(parse, *data);
		case BODY:
		case CHUNK:
			return take_body(parse, data, len, taken);
		default:
			return take_chunk_mark(parse, *data);
	}
}

http_parse_result
http_parse_feed(http_parse *parse, const char *data, size_t len, size_t *used)
{
	*used = 0;
	while (*used < len && parse->state != DONE && parse->state != REFUSED)
	{
		size_t taken;

		parse->refusal = take(parse, data + *used, len - *used, &taken);
		*used += taken;
		if (parse->refusal != NULL)
			parse->state = REFUSED;
	}
	if (parse->state == DONE)
		return HTTP_PARSE_DONE;
	if (parse->state != REFUSED)
		return HTTP_PARSE_MORE;
	return parse->refusal == &http_no_memory ? HTTP_PARSE_NO_MEMORY : HTTP_PARSE_REFUSED;
}

bool
http_parse_in_body(const http_parse *parse)
{
	return parse->message != NULL;
}

bool
http_parse_continue(http_parse *parse)
{
	bool waits = parse->framing.awaits_continue &&
				 (parse->state == BODY || (parse->state == CHUNK_SIZE && parse->digits == 0)) &&
				 parse->message->body_len == 0;

	parse->framing.awaits_continue = parse->framing.awaits_continue && parse->message == NULL;
	return waits;
}

bool
http_parse_is_head(const http_parse *parse)
{
	return parse->is_head;
}

const http_refusal *
http_parse_refusal(const http_parse *parse)
{
	return parse->refusal;
}

http_message *
http_parse_take(http_parse *parse)
{
	http_message *message = parse->message;

	parse->message = NULL;
	return message;
}

const char *
http_message_field(const http_message *message, const char *name)
{
	for (unsigned i = 0; i < message->nfields; i++)
	{
		if (strcasecmp(message->fields[i].name, name) == 0)
			return message->fields[i].value;
	}
	return NULL;
}
