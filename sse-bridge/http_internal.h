/*
 * sse-bridge/http_internal.h
 *	  What the files of the HTTP layer share. Nothing outside of http_*.c includes it.
 *
 * A connection (http_conn) reads one request, waits until it is answered, sends the answer and
 * begins again. What it needs for that is lent: the parser while a request is read, the request
 * until it is answered, what the socket didn't take until it does. A stream (http_stream) is what
 * is left of a connection that http_stream_start() was called for.
 */
#ifndef HTTP_INTERNAL_H
#define HTTP_INTERNAL_H

#include <netinet/in.h>
#include <sys/queue.h>
#include <sys/types.h>
#include <event2/event.h>
#include <event2/event_struct.h>

#include "http.h"
#include "http_parse.h"

/* Bytes read at once, into a buffer of the server's; also the most that is kept of a pipeline. */
#define HTTP_READ_SIZE (16 * 1024)

typedef struct http_link http_link;
typedef struct http_conn http_conn;
typedef struct http_address http_address;

/*
 * All I/O on a client's socket. Both answer bytes, 0 (read: the client has ended its side; write:
 * no room), -1 with errno; EAGAIN is for read alone. TLS will be another table.
 */
typedef struct http_io
{
	ssize_t (*read)(http_link *link, void *buffer, size_t size);
	ssize_t (*write)(http_link *link, const struct iovec *iov, int count);
	void (*shutdown)(http_link *link);          /* nothing more will be written */
	void (*close)(http_link *link, bool abort); /* abort: what was not sent is not to be */
} http_io;

extern const http_io http_plain_io;

/* What connections and streams have in common; first in both. The socket is the event's. */
struct http_link
{
	struct event event;
	http_server *server;
	http_address *address;
	LIST_ENTRY(http_link) entry;
};

LIST_HEAD(http_links, http_link);

typedef enum http_state
{
	HTTP_IDLE,         /* waits for a request */
	HTTP_READING_HEAD, /* reads one */
	HTTP_READING_BODY,
	HTTP_HANDLING, /* waits for the answer */
	HTTP_WRITING,  /* waits for room in the socket */
	HTTP_LINGERING /* has shut down its side; waits for the client to do so */
} http_state;

/* What a socket had no room for: head[sent ..], then the body. */
typedef struct http_out
{
	char *body; /* freed with it; NULL without one */
	size_t body_len;
	size_t head_len;
	size_t sent; /* of both */
	char head[];
} http_out;

/* What a client sent ahead of its turn. */
typedef struct http_pending
{
	size_t at;
	size_t len;
	char bytes[];
} http_pending;

struct http_conn
{
	http_link link;
	uint64_t since; /* milliseconds: when the state, or progress in it, began */
	http_parse *parse;
	http_request *request;
	http_pending *pending;
	http_out *out;
	struct in6_addr peer; /* IPv4 is mapped */
	uint32_t drained;
	uint8_t state;    /* http_state */
	uint8_t reason;   /* http_close_reason, for when it closes */
	bool fresh;       /* no request was begun yet */
	bool eof;         /* the client has ended its side */
	bool closing;     /* after the answer */
	bool version_1_0; /* what the last request had */
	bool has_peer;    /* false on a socket that has no addresses */
	bool refused;     /* never counted as one of max_connections */
};

struct http_stream
{
	http_link link;
	const http_stream_ops *ops;
	void *arg;
	uint32_t drained;
	bool dead;    /* closed() is due */
	bool closing; /* closed() is being called */
};

/* A header to come, or the end of the list. */
typedef struct http_added
{
	char *text; /* "Name: value\r\n" ... */
	size_t len;
	bool failed; /* for want of memory: there will be no answer */
} http_added;

struct http_request
{
	http_conn *conn; /* NULL: gone */
	http_message *message;
	http_added added;
	void *data;
	uint64_t received_at;
	char peer[INET6_ADDRSTRLEN];
};

typedef struct http_listener
{
	struct event event;
	http_server *server;
	SLIST_ENTRY(http_listener) entry;
} http_listener;

/* An address and how many connections it has. IPv6 counts by /64: that is what one client gets. */
struct http_address
{
	http_address *next;
	struct in6_addr key;
	unsigned connections;
};

#define HTTP_ADDRESS_BUCKETS 1024

struct http_server
{
	struct event_base *base;
	const http_limits *limits;
	http_handler handler;
	void *arg;
	const http_io *io;
	http_counters counters;
	SLIST_HEAD(, http_listener) listeners;
	struct http_links conns;
	struct http_links streams;
	http_conn *dispatching; /* the connection whose request the handler is being given */
	struct event sweep;
	bool draining;
	bool paused;      /* accepting, for want of file descriptors */
	unsigned refused; /* connections that linger after a 503 */
	uint32_t seed;
	time_t date_at;
	char date[40];
	http_address *addresses[HTTP_ADDRESS_BUCKETS];
	char buffer[HTTP_READ_SIZE];
};

/* ---------- http_server.c ---------- */

extern uint64_t http_now_ms(void);
/* Sees to it that the sweep is running: a connection, or a pause, now has a time limit. */
extern void http_server_wake_sweep(http_server *server);

/* ---------- http_address.c ---------- */

/* Counts a connection from there, NULL when there is no memory. */
extern http_address *http_address_get(http_server *server, const struct in6_addr *peer);
/* Counts it no more. NULL is passed over. */
extern void http_address_put(http_server *server, http_address *address);
/* The address of a socket, IPv4 mapped into IPv6. False where it has none. */
extern bool http_address_of(const struct sockaddr *sockaddr, struct in6_addr *peer);

/* ---------- http_conn.c ---------- */

/* Takes over a socket. NULL when there is no memory; the socket is closed then. */
extern http_conn *http_conn_new(http_server *server, int fd, const struct in6_addr *peer);
/* Ends it, and everything but its request, which lives until it is answered. */
extern void http_conn_close(http_conn *conn, http_close_reason reason);
/* Frees the connection and leaves its socket open, counted and in nobody's hands. */
extern void http_conn_abandon(http_conn *conn);
/* Answers a request that isn't taken, and closes. */
extern void http_conn_refuse(http_conn *conn, const http_refusal *refusal, bool head);
/* Its request was answered: http_send() has been called. */
extern void http_conn_answered(http_conn *conn);
/* Closes it if it has waited for too long. */
extern void http_conn_sweep(http_conn *conn, uint64_t now);
/* It will be closed, unless a request has come in meanwhile. */
extern void http_conn_drain(http_conn *conn);

/* ---------- http_stream.c ---------- */

/* Ends a stream from our side, and tells its owner. */
extern void http_stream_end(http_stream *stream);

/* ---------- http_request.c ---------- */

/* Owns the message from then on. NULL, with the message freed, when there is no memory. */
extern http_request *http_request_new(http_conn *conn, http_message *message);
extern void http_request_free(http_request *request);

/* ---------- http_reply.c ---------- */

/* An answer in parts. */
typedef struct http_answer
{
	int status;
	const char *content_type;
	const char *added; /* header lines */
	size_t added_len;
	char *body;
	size_t len;   /* without content_type there is no body */
	bool owned;   /* the body is freed when it is sent */
	bool no_body; /* HEAD */
	bool stream;  /* without a length, closed at its end */
} http_answer;

/*
 * Writes as much as the socket takes and keeps the rest in conn->out. False where the connection
 * can't go on: its socket is broken, or there is no memory for the rest.
 */
extern bool http_send(http_conn *conn, const http_answer *answer);
/* Goes on with conn->out: -1 broken, 0 not all of it, 1 all of it. */
extern int http_send_more(http_conn *conn);

#endif /* HTTP_INTERNAL_H */
