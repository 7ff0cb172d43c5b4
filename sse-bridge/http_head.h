/*
 * sse-bridge/http_head.h
 *	  The rules for a request line and its headers. Used by http_parse.c alone.
 */
#ifndef HTTP_HEAD_H
#define HTTP_HEAD_H

#include "http_parse.h"

/* More headers than this are refused: http_header() searches them one by one. */
#define HTTP_MAX_FIELDS 100

/* Where something is in the text of a head. */
typedef struct http_span
{
	uint32_t at;
	uint32_t len;
} http_span;

/* A head while it is read, line by line. */
typedef struct http_head
{
	char *text;
	size_t len;
	size_t size;
	http_span method;
	http_span target;
	bool version_1_0;
	unsigned nfields;
	http_span names[HTTP_MAX_FIELDS];
	http_span values[HTTP_MAX_FIELDS];
} http_head;

/* What follows a head. */
typedef struct http_framing
{
	bool chunked;
	bool awaits_continue;
	uint64_t length;
} http_framing;

/* No refusal for the client, but the end of the connection. */
extern const http_refusal http_no_memory;

/*
 * Each of these returns NULL where all is well, else why not. A line is without its CR LF; a field
 * is kept unless it is a trailer's.
 */
extern const http_refusal *http_head_request_line(http_head *head, size_t at, size_t len);
extern const http_refusal *http_head_field(http_head *head, size_t at, size_t len, bool keep);

/* The head is complete: judges it as a whole, and makes the message, still without a body. */
extern const http_refusal *http_head_finish(http_head *head, http_framing *framing,
											http_message **message);

#endif /* HTTP_HEAD_H */
