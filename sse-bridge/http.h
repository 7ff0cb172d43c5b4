/*
 * sse-bridge/http.h
 *	  HTTP/1.1 connections: requests in, answers or streams out.
 *
 * One server on one event loop; nothing here is thread-safe, and nothing blocks. Whoever answers
 * may do so at once or later: a request stays valid until it is answered, even when its client has
 * gone meanwhile (the answer is then thrown away).
 */
#ifndef HTTP_H
#define HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct event_base;

typedef struct http_server http_server;
typedef struct http_request http_request;
typedef struct http_stream http_stream;

/*
 * What a client may take. All times in milliseconds, all sizes in bytes; a number of connections or
 * a time of 0 is no limit.
 */
typedef struct http_limits
{
	unsigned max_connections; /* beyond: accepted, answered 503 with Retry-After, closed */
	unsigned max_per_address; /* the same, for one client address, or a /64 of IPv6 */
	size_t max_header;        /* request line and headers: 431, 414 */
	size_t max_body;          /* 413 */
	/*
	 * From accept to the first byte (then it is closed without a word: browsers open connections to
	 * have them ready), and from there to the end of the headers: 408.
	 */
	unsigned header_timeout;
	unsigned body_timeout;  /* from there to the end of the body: 408 */
	unsigned idle_timeout;  /* between requests of one connection */
	unsigned write_timeout; /* without progress while an answer is sent */
} http_limits;

/* What happened, for metrics. */
typedef enum http_close_reason
{
	HTTP_CLOSED_BY_CLIENT,
	HTTP_CLOSED_DONE,
	HTTP_CLOSED_TIMEOUT,
	HTTP_CLOSED_ERROR,
	HTTP_CLOSED_LIMIT,
	HTTP_CLOSED_SERVER,
	HTTP_CLOSE_REASONS
} http_close_reason;

typedef struct http_counters
{
	uint64_t accepted;
	uint64_t refused_connections; /* max_connections, max_per_address; accepted, too */
	uint64_t bad_requests;        /* refused before the handler saw them */
	uint64_t closed[HTTP_CLOSE_REASONS];
	unsigned connections; /* now, streams included */
} http_counters;

typedef void (*http_handler)(void *arg, http_request *request);

/*
 * http_server_new makes a server that calls handler for each complete, well-formed request. limits
 * is read at each use and may be changed by the caller. NULL when there is no memory.
 */
extern http_server *http_server_new(struct event_base *base, const http_limits *limits,
									http_handler handler, void *arg);

/* Listens on a non-blocking socket (bound, listening), which the server owns from then on. */
extern bool http_server_listen(http_server *server, int fd);

/*
 * Accepts no more; closes idle connections; answers from now on say Connection: close. Streams go
 * on: ending them is their owner's business.
 */
extern void http_server_drain(http_server *server);
/*
 * Closes everything that is left, at once: closed is called for each stream, and requests stay
 * valid until they are answered, to nobody. Not from within a handler or a stream's function.
 */
extern void http_server_free(http_server *server);
extern const http_counters *http_server_counters(const http_server *server);

/* ---------- a request ---------- */

extern const char *http_method(const http_request *request); /* "GET" */
/*
 * The path, without query. It is raw: decoding it, segment by segment, is the router's business
 * (http_decode() of http_text.h does it). Its escapes are well-formed, and it decodes to UTF-8
 * without NUL: other requests never get here. It is "*", of OPTIONS alone, or begins with "/".
 */
extern const char *http_path(const http_request *request);
/*
 * Value of a header (any case of name), NULL without one. Several of one name are joined by ", ".
 * Host is there once and valid, but in HTTP/1.0; it is the target's where that is an absolute URI.
 * Values have no control characters, but may have bytes beyond ASCII in any encoding.
 */
extern const char *http_header(const http_request *request, const char *name);
/* Raw query string without "?", NULL without one. */
extern const char *http_query_string(const http_request *request);
/*
 * The value of a query parameter, percent-decoded ('+' is a space), NUL-terminated, valid as long
 * as the request; NULL without one. Given twice, with a malformed escape or a NUL, or not UTF-8:
 * NULL, and *bad (which may be NULL) is true; it is false otherwise.
 */
extern const char *http_query(http_request *request, const char *name, bool *bad);
extern const char *http_body(const http_request *request, size_t *len); /* NUL-terminated besides */
/* "127.0.0.1", "::1"; "" on a socket that has no addresses. */
extern const char *http_peer(const http_request *request);
/*
 * Whether the client has gone, or has at least ended its side of the connection: one that still
 * reads gets its answer.
 */
extern bool http_abandoned(const http_request *request);
/* A place for the handler's own data; not freed. */
extern void http_set_data(http_request *request, void *data);
extern void *http_data(const http_request *request);
/* When the request was complete (CLOCK_MONOTONIC, microseconds). */
extern uint64_t http_received_at(const http_request *request);

/* ---------- answers ---------- */

/*
 * Adds a header to the answer to come. One whose value has CR, LF or NUL in it is dropped. Not for
 * what the layer adds itself: Date, Content-Length, Content-Type, Connection,
 * X-Content-Type-Options.
 */
extern void http_add_header(http_request *request, const char *name, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * Answers, and ends the request. content_type may be NULL for no body (204, 304). The body is
 * copied unless owned: then it is freed by free(3) when it is sent. HEAD gets the headers alone.
 * The request is gone on return. No handler is called from within this.
 */
extern void http_reply(http_request *request, int status, const char *content_type,
					   const char *body, size_t len);
extern void http_reply_owned(http_request *request, int status, const char *content_type,
							 char *body, size_t len);

/* ---------- streams ---------- */

typedef struct http_stream_ops
{
	void (*writable)(http_stream *stream, void *arg); /* the socket has room again */
	void (*closed)(http_stream *stream, void *arg);   /* gone; the stream is freed on return */
} http_stream_ops;

/*
 * Answers 200 with the headers added and content_type, without a length, and hands the connection
 * over: from now on it is a stream, delimited by its close, of as little memory as can be. ops must
 * outlive it. Returns NULL where there is no stream: the client has gone, or asked by HEAD, which
 * gets the headers alone. The request is ended all the same, and closed isn't called.
 */
extern http_stream *http_stream_start(http_request *request, const char *content_type,
									  const http_stream_ops *ops, void *arg);

/*
 * Sends what the socket takes at once: bytes taken (0: none now), -1 when the connection is dead
 * (closed is then called from the loop, never from here).
 */
extern ssize_t http_stream_write(http_stream *stream, const struct iovec *iov, int count);

/* Whether writable should be called. */
extern void http_stream_want(http_stream *stream, bool writable);

/*
 * Ends it: closed is not called. What the socket holds is still sent, unless it is closed for being
 * over a limit: a client that reads nothing would never know of it. May be called anywhere.
 */
extern void http_stream_close(http_stream *stream, http_close_reason reason);
extern int http_stream_fd(const http_stream *stream);
#endif
