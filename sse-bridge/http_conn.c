/*
 * sse-bridge/http_conn.c
 *	  One connection: reads a request, has it answered, and begins again.
 *
 *	    IDLE -> HEAD -> BODY -> HANDLING -> WRITING -> IDLE
 *	                                                -> LINGERING -> closed
 *
 * The rule: one request at a time. While it is handled or answered at most one buffer of what the
 * client sent ahead is kept, and then no more is read: the kernel holds the client back. The loop
 * begins the next request of a pipeline, not the answer to the one before, so that no handler is
 * called from within another.
 *
 * A function that may end a connection is the last thing that its caller calls for it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "http_internal.h"
#include "http_text.h"

/* After our last byte: how long and how much is waited for until the client closes, too. */
#define LINGER_MS 2000
#define LINGER_BYTES (256 * 1024)

static const http_refusal too_slow = {408, "the request was not complete in time"};

static void on_event(evutil_socket_t fd, short what, void *arg);

/* What is waited for on the socket: EV_READ, EV_WRITE or nothing. */
static void
watch(http_conn *conn, short what)
{
	struct event *event = &conn->link.event;
	evutil_socket_t fd = event_get_fd(event);

	if (event_pending(event, EV_READ | EV_WRITE, NULL) == what)
		return;
	event_del(event);
	if (what == 0)
		return;
	event_assign(event, conn->link.server->base, fd, (short) (what | EV_PERSIST), on_event, conn);
	if (event_add(event, NULL) == 0)
		return;
	/* the kernel has no memory: the sweep closes it, for nobody here may */
	conn->state = HTTP_LINGERING;
	conn->reason = HTTP_CLOSED_ERROR;
	conn->since = 0;
}

/* Has on_event() called as if there were something to read. */
static void
wake(http_conn *conn)
{
	event_active(&conn->link.event, EV_READ, 0);
}

static void
set_state(http_conn *conn, http_state state)
{
	conn->state = (uint8_t) state;
	conn->since = http_now_ms();
}

http_conn *
http_conn_new(http_server *server, int fd, const struct in6_addr *peer)
{
	http_conn *conn = calloc(1, sizeof(http_conn));
	http_link *link;

	if (conn == NULL)
	{
		close(fd);
		server->counters.closed[HTTP_CLOSED_ERROR]++;
		return NULL;
	}
	link = &conn->link;
	link->server = server;
	event_assign(&link->event, server->base, fd, EV_READ | EV_PERSIST, on_event, conn);
	LIST_INSERT_HEAD(&server->conns, link, entry);
	conn->has_peer = peer != NULL;
	if (peer != NULL)
		conn->peer = *peer;
	conn->fresh = true;
	conn->reason = HTTP_CLOSED_DONE;
	server->counters.connections++;
	set_state(conn, HTTP_IDLE);
	watch(conn, EV_READ);
	http_server_wake_sweep(server);
	return conn;
}

void
http_conn_abandon(http_conn *conn)
{
	http_server *server = conn->link.server;

	if (server->dispatching == conn)
		server->dispatching = NULL;
	if (conn->request != NULL)
		conn->request->conn = NULL;
	event_del(&conn->link.event);
	LIST_REMOVE(&conn->link, entry);
	http_parse_free(conn->parse);
	free(conn->pending);
	if (conn->out != NULL)
		free(conn->out->body);
	free(conn->out);
	free(conn);
}

void
http_conn_close(http_conn *conn, http_close_reason reason)
{
	http_server *server = conn->link.server;

	server->counters.connections--;
	server->counters.closed[reason]++;
	if (conn->refused)
		server->refused--;
	http_address_put(server, conn->link.address);
	server->io->close(&conn->link, conn->out != NULL);
	http_conn_abandon(conn);
}

/*
 * Ends our side and waits for the client to end its own. Closing at once would reset the connection
 * if the client has sent something that wasn't read, and with that it may lose our answer.
 */
static void
linger(http_conn *conn)
{
	free(conn->pending);
	conn->pending = NULL;
	if (conn->eof)
	{
		http_conn_close(conn, conn->reason);
		return;
	}
	conn->link.server->io->shutdown(&conn->link);
	set_state(conn, HTTP_LINGERING);
	watch(conn, EV_READ);
}

/* ---------- after an answer ---------- */

/* The answer is in the socket, all of it. */
static void
answer_sent(http_conn *conn)
{
	if (conn->closing || conn->link.server->draining)
	{
		if (!conn->closing)
			conn->reason = HTTP_CLOSED_SERVER;
		linger(conn);
		return;
	}
	set_state(conn, HTTP_IDLE);
	if (conn->pending != NULL)
		wake(conn);
	else
		watch(conn, EV_READ);
}

void
http_conn_answered(http_conn *conn)
{
	if (conn->link.server->dispatching == conn)
		return; /* dispatch() goes on from here */
	if (conn->out == NULL)
	{
		answer_sent(conn);
		return;
	}
	set_state(conn, HTTP_WRITING);
	watch(conn, EV_WRITE);
}

static void
flush(http_conn *conn)
{
	int sent = http_send_more(conn);

	if (sent < 0)
		http_conn_close(conn, HTTP_CLOSED_BY_CLIENT);
	else if (sent > 0)
		answer_sent(conn);
}

/* Texts of ours alone, so there is nothing to escape. */
static size_t
format_problem(char *text, size_t size, const http_refusal *refusal)
{
	int len =
		snprintf(text, size,
				 "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%d,\"detail\":\"%s\"}\n",
				 http_reason(refusal->status), refusal->status, refusal->detail);

	return len < 0 || (size_t) len >= size ? 0 : (size_t) len;
}

void
http_conn_refuse(http_conn *conn, const http_refusal *refusal, bool head)
{
	static const char retry[] = "Retry-After: 5\r\n";
	char problem[512];
	http_answer answer = {.status = refusal->status,
						  .content_type = "application/problem+json",
						  .added = refusal->status == 503 ? retry : NULL,
						  .added_len = refusal->status == 503 ? sizeof(retry) - 1 : 0,
						  .body = problem,
						  .no_body = head};

	answer.len = format_problem(problem, sizeof(problem), refusal);
	http_parse_free(conn->parse);
	conn->parse = NULL;
	conn->closing = true;
	if (http_send(conn, &answer))
		http_conn_answered(conn);
	else
		http_conn_close(conn, conn->reason);
}

/* ---------- requests ---------- */

/* Refuses what was read so far. */
static void
refuse_request(http_conn *conn, const http_refusal *refusal, http_close_reason reason)
{
	bool head = http_parse_is_head(conn->parse);

	conn->link.server->counters.bad_requests++;
	conn->reason = (uint8_t) reason;
	http_conn_refuse(conn, refusal, head);
}

/* Hands a complete request over. It may be answered, or the connection gone, on return. */
static void
dispatch(http_conn *conn)
{
	http_server *server = conn->link.server;
	http_message *message = http_parse_take(conn->parse);

	http_parse_free(conn->parse);
	conn->parse = NULL;
	conn->closing = !message->keep_alive;
	conn->version_1_0 = message->version_1_0;
	conn->request = http_request_new(conn, message);
	if (conn->request == NULL)
	{
		http_conn_close(conn, HTTP_CLOSED_ERROR);
		return;
	}
	set_state(conn, HTTP_HANDLING);
	server->dispatching = conn;
	server->handler(server->arg, conn->request);
	if (server->dispatching != conn)
		return;
	server->dispatching = NULL;
	if (conn->request == NULL)
		http_conn_answered(conn);
	else
		watch(conn, conn->pending != NULL ? 0 : EV_READ);
}

/*
 * The headers may just have become complete. 100 (Continue) is skipped where the socket has no
 * room: the client will send its body without, after a while.
 */
static bool
begin_body(http_conn *conn)
{
	static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
	struct iovec iov = {(void *) text, sizeof(text) - 1};
	ssize_t sent;

	if (conn->state == HTTP_READING_BODY || !http_parse_in_body(conn->parse))
		return true;
	set_state(conn, HTTP_READING_BODY);
	if (!http_parse_continue(conn->parse))
		return true;
	sent = conn->link.server->io->write(&conn->link, &iov, 1);
	return sent == 0 || sent == (ssize_t) iov.iov_len;
}

static void
act(http_conn *conn, http_parse_result result)
{
	switch (result)
	{
		case HTTP_PARSE_MORE:
			if (begin_body(conn))
				watch(conn, EV_READ);
			else
				http_conn_close(conn, HTTP_CLOSED_ERROR);
			return;
		case HTTP_PARSE_DONE:
			dispatch(conn);
			return;
		case HTTP_PARSE_REFUSED:
			refuse_request(conn, http_parse_refusal(conn->parse), HTTP_CLOSED_ERROR);
			return;
		case HTTP_PARSE_NO_MEMORY:
			http_conn_close(conn, HTTP_CLOSED_ERROR);
			return;
	}
}

/* Gives bytes to the parser, which is lent with the first one. */
static http_parse_result
feed(http_conn *conn, const char *data, size_t len, size_t *used)
{
	const http_limits *limits = conn->link.server->limits;

	*used = 0;
	if (conn->parse == NULL)
	{
		conn->parse = http_parse_new(limits->max_header, limits->max_body);
		if (conn->parse == NULL)
			return HTTP_PARSE_NO_MEMORY;
		conn->fresh = false;
		set_state(conn, HTTP_READING_HEAD);
	}
	return http_parse_feed(conn->parse, data, len, used);
}

/* Keeps what the client sent ahead. */
static bool
keep(http_conn *conn, const char *data, size_t len)
{
	if (len == 0)
		return true;
	conn->pending = malloc(sizeof(http_pending) + len);
	if (conn->pending == NULL)
		return false;
	conn->pending->at = 0;
	conn->pending->len = len;
	memcpy(conn->pending->bytes, data, len);
	return true;
}

static void
take_pending(http_conn *conn)
{
	http_pending *pending = conn->pending;
	size_t used;
	http_parse_result result =
		feed(conn, pending->bytes + pending->at, pending->len - pending->at, &used);

	pending->at += used;
	if (pending->at == pending->len)
	{
		free(pending);
		conn->pending = NULL;
	}
	act(conn, result);
}

static void
take_bytes(http_conn *conn, const char *data, size_t len)
{
	size_t used = 0;
	http_parse_result result = HTTP_PARSE_MORE;

	if (conn->state != HTTP_HANDLING)
		result = feed(conn, data, len, &used);
	if (!keep(conn, data + used, len - used))
		http_conn_close(conn, HTTP_CLOSED_ERROR);
	else if (conn->state == HTTP_HANDLING)
		watch(conn, 0);
	else
		act(conn, result);
}

/* ---------- the socket ---------- */

/*
 * The client has ended its side. It may still read, so that a request in the works is answered; but
 * as a rule it is gone, and http_abandoned() says so.
 */
static void
take_end(http_conn *conn)
{
	conn->eof = true;
	if (conn->state != HTTP_HANDLING)
	{
		http_conn_close(conn, HTTP_CLOSED_BY_CLIENT);
		return;
	}
	conn->closing = true;
	conn->reason = HTTP_CLOSED_BY_CLIENT;
	watch(conn, 0);
}

/* Nothing was there to read. */
static void
take_error(http_conn *conn)
{
	bool broken = errno != EAGAIN && errno != EWOULDBLOCK;

	if (broken)
		http_conn_close(conn, HTTP_CLOSED_BY_CLIENT);
	else if (conn->state == HTTP_IDLE && conn->link.server->draining)
		http_conn_close(conn, HTTP_CLOSED_SERVER);
}

static void
on_readable(http_conn *conn)
{
	http_server *server = conn->link.server;
	ssize_t n;

	if (conn->pending != NULL)
	{
		take_pending(conn);
		return;
	}
	n = server->io->read(&conn->link, server->buffer, sizeof(server->buffer));
	if (n > 0)
		take_bytes(conn, server->buffer, (size_t) n);
	else if (n == 0)
		take_end(conn);
	else
		take_error(conn);
}

static void
on_lingering(http_conn *conn)
{
	http_server *server = conn->link.server;
	ssize_t n = server->io->read(&conn->link, server->buffer, sizeof(server->buffer));

	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return;
	if (n > 0)
		conn->drained += (uint32_t) n;
	if (n <= 0 || conn->drained > LINGER_BYTES)
		http_conn_close(conn, conn->reason);
}

static void
on_event(evutil_socket_t fd, short what, void *arg)
{
	http_conn *conn = arg;

	(void) fd;
	(void) what;
	if (conn->state == HTTP_WRITING)
		flush(conn);
	else if (conn->state == HTTP_LINGERING)
		on_lingering(conn);
	else
		on_readable(conn);
}

void
http_conn_drain(http_conn *conn)
{
	if (conn->state == HTTP_IDLE)
		wake(conn);
}

/* ---------- time ---------- */

/* How long the state may last, 0: for ever. */
static uint64_t
patience(const http_conn *conn)
{
	const http_limits *limits = conn->link.server->limits;

	switch ((http_state) conn->state)
	{
		case HTTP_IDLE:
			return conn->fresh ? limits->header_timeout : limits->idle_timeout;
		case HTTP_READING_HEAD:
			return limits->header_timeout;
		case HTTP_READING_BODY:
			return limits->body_timeout;
		case HTTP_WRITING:
			return limits->write_timeout;
		case HTTP_LINGERING:
			return LINGER_MS;
		case HTTP_HANDLING:
			break;
	}
	return 0;
}

/* A client that hasn't sent a byte is not told 408: browsers open connections to have them ready.
 */
void
http_conn_sweep(http_conn *conn, uint64_t now)
{
	uint64_t limit = patience(conn);

	if (limit == 0 || now - conn->since < limit)
		return;
	if (conn->state == HTTP_READING_HEAD || conn->state == HTTP_READING_BODY)
		refuse_request(conn, &too_slow, HTTP_CLOSED_TIMEOUT);
	else if (conn->state == HTTP_LINGERING)
		http_conn_close(conn, conn->reason);
	else
		http_conn_close(conn, HTTP_CLOSED_TIMEOUT);
}
