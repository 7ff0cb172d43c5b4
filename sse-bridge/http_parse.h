/*
 * sse-bridge/http_parse.h
 *	  Bytes in, one request or one refusal out: no sockets, no clocks, so that it can be fuzzed.
 */
#ifndef HTTP_PARSE_H
#define HTTP_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Why a request isn't taken. The detail is ours alone: no byte of the request is ever in it. */
typedef struct http_refusal
{
	int status;
	const char *detail;
} http_refusal;

typedef struct http_field
{
	const char *name;
	const char *value;
} http_field;

/* A request as it was sent. One block of memory, and one for the body. */
typedef struct http_message
{
	const char *method;
	const char *path;  /* "*", or it begins with "/"; decodes to UTF-8 without NUL */
	const char *query; /* raw, without "?"; NULL without one */
	char *query_room;  /* as large as query, for its decoded values */
	char *body;        /* NULL without one; NUL-terminated */
	size_t body_len;
	bool keep_alive; /* the client wants to send another one */
	bool version_1_0;
	unsigned nfields; /* of one name once, joined */
	http_field fields[];
} http_message;

typedef enum http_parse_result
{
	HTTP_PARSE_MORE,    /* all bytes were taken, and the request isn't complete */
	HTTP_PARSE_DONE,    /* it is: http_parse_take() */
	HTTP_PARSE_REFUSED, /* http_parse_refusal() says why; no more may be fed */
	HTTP_PARSE_NO_MEMORY
} http_parse_result;

typedef struct http_parse http_parse;

/* Starts on a request with these bounds. NULL when there is no memory. */
extern http_parse *http_parse_new(size_t max_header, size_t max_body);
extern void http_parse_free(http_parse *parse);

/*
 * Takes bytes; *used says how many. Fewer than len are taken only when the result isn't
 * HTTP_PARSE_MORE: the rest belongs to the next request. How the bytes are split over calls makes
 * no difference to the outcome.
 */
extern http_parse_result http_parse_feed(http_parse *parse, const char *data, size_t len,
										 size_t *used);

/* Whether the headers are complete, and what is awaited is the body. */
extern bool http_parse_in_body(const http_parse *parse);
/* Whether the client waits for 100 (Continue) before it sends the body. True once. */
extern bool http_parse_continue(http_parse *parse);
/* Whether the request is a HEAD, as far as that has been read: a refusal goes without body then. */
extern bool http_parse_is_head(const http_parse *parse);
extern const http_refusal *http_parse_refusal(const http_parse *parse);

/* The request, which is the caller's from then on. After HTTP_PARSE_DONE, once. */
extern http_message *http_parse_take(http_parse *parse);
extern void http_message_free(http_message *message);

/* Value of a header, NULL without one; any case of name. */
extern const char *http_message_field(const http_message *message, const char *name);

#endif /* HTTP_PARSE_H */
