/*
 * sse-bridge/http_stream.c
 *	  Connections that became streams.
 *
 * A stream is a socket, an event and whom to tell: no buffers, no timers. What the socket doesn't
 * take stays with the owner, who decides how long he wants to wait.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "http_internal.h"

/* What a client may send on a stream, where nobody listens, before it is closed. */
#define STREAM_INPUT (64 * 1024)

static void on_event(evutil_socket_t fd, short what, void *arg);

/* The loop will tell the owner that it is closed. */
static void
die(http_stream *stream)
{
	if (stream->dead)
		return;
	stream->dead = true;
	event_active(&stream->link.event, EV_READ, 0);
}

static bool
watch(http_stream *stream, short what)
{
	struct event *event = &stream->link.event;
	evutil_socket_t fd = event_get_fd(event);

	event_del(event);
	event_assign(event, stream->link.server->base, fd, (short) (what | EV_PERSIST), on_event,
				 stream);
	return event_add(event, NULL) == 0;
}

/* ---------- start ---------- */

/* Moves the socket of a connection to a new stream, and frees the connection. */
static http_stream *
take_over(http_conn *conn)
{
	http_server *server = conn->link.server;
	http_stream *stream = calloc(1, sizeof(http_stream));

	if (stream == NULL)
		return NULL;
	stream->link.server = server;
	stream->link.address = conn->link.address;
	event_assign(&stream->link.event, server->base, event_get_fd(&conn->link.event),
				 EV_READ | EV_PERSIST, on_event, stream);
	http_conn_abandon(conn);
	LIST_INSERT_HEAD(&server->streams, &stream->link, entry);
	return stream;
}

/* Sends the headers. They are short: a socket that has no room for them isn't being read. */
static bool
send_headers(http_conn *conn, const http_request *request, const char *content_type)
{
	http_answer answer = {.status = 200,
						  .content_type = content_type,
						  .added = request->added.text,
						  .added_len = request->added.len,
						  .stream = true};

	return !request->added.failed && http_send(conn, &answer) && conn->out == NULL;
}

/*
 * The connection of an answered request becomes a stream, or ends: after a HEAD, where the client
 * has gone, for want of memory.
 */
static http_stream *
start(http_conn *conn, const http_request *request, const char *content_type)
{
	http_stream *stream;

	conn->request = NULL;
	conn->closing = true;
	if (!send_headers(conn, request, content_type))
	{
		http_conn_close(conn, HTTP_CLOSED_ERROR);
		return NULL;
	}
	if (strcmp(request->message->method, "HEAD") == 0)
	{
		http_conn_answered(conn);
		return NULL;
	}
	stream = conn->eof ? NULL : take_over(conn);
	if (stream == NULL)
		http_conn_close(conn, conn->eof ? HTTP_CLOSED_BY_CLIENT : HTTP_CLOSED_ERROR);
	return stream;
}

http_stream *
http_stream_start(http_request *request, const char *content_type, const http_stream_ops *ops,
				  void *arg)
{
	http_stream *stream = NULL;

	if (request->conn != NULL)
		stream = start(request->conn, request, content_type);
	http_request_free(request);
	if (stream == NULL)
		return NULL;
	stream->ops = ops;
	stream->arg = arg;
	if (!watch(stream, EV_READ))
		die(stream);
	return stream;
}

/* ---------- life ---------- */

ssize_t
http_stream_write(http_stream *stream, const struct iovec *iov, int count)
{
	ssize_t sent;

	if (stream->dead)
		return -1;
	sent = stream->link.server->io->write(&stream->link, iov, count);
	if (sent < 0)
		die(stream);
	return sent;
}

void
http_stream_want(http_stream *stream, bool writable)
{
	short what = writable ? EV_READ | EV_WRITE : EV_READ;

	if (stream->dead || event_pending(&stream->link.event, EV_READ | EV_WRITE, NULL) == what)
		return;
	if (!watch(stream, what))
		die(stream);
}

int
http_stream_fd(const http_stream *stream)
{
	return event_get_fd(&stream->link.event);
}

/* ---------- end ---------- */

static void
stream_free(http_stream *stream, http_close_reason reason)
{
	http_server *server = stream->link.server;

	server->counters.connections--;
	server->counters.closed[reason]++;
	http_address_put(server, stream->link.address);
	event_del(&stream->link.event);
	LIST_REMOVE(&stream->link, entry);
	server->io->close(&stream->link, reason == HTTP_CLOSED_LIMIT);
	free(stream);
}

/* Tells the owner, and frees it. */
static void
stream_closed(http_stream *stream, http_close_reason reason)
{
	stream->dead = true;
	stream->closing = true;
	stream->ops->closed(stream, stream->arg);
	stream_free(stream, reason);
}

/*
 * What came in is read away first: closing a socket with unread bytes in it resets the connection,
 * and the client would lose what is still on its way.
 */
void
http_stream_close(http_stream *stream, http_close_reason reason)
{
	http_server *server = stream->link.server;

	if (stream->closing)
		return;
	server->io->shutdown(&stream->link);
	(void) server->io->read(&stream->link, server->buffer, sizeof(server->buffer));
	stream_free(stream, reason);
}

void
http_stream_end(http_stream *stream)
{
	stream_closed(stream, HTTP_CLOSED_SERVER);
}

/* Whether it is still alive after what its client has sent, which nobody wants, was read. */
static bool
survives_input(http_stream *stream, http_close_reason *reason)
{
	http_server *server = stream->link.server;
	ssize_t n = server->io->read(&stream->link, server->buffer, sizeof(server->buffer));

	*reason = HTTP_CLOSED_BY_CLIENT;
	if (n < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK;
	stream->drained += (uint32_t) n;
	if (stream->drained > STREAM_INPUT)
		*reason = HTTP_CLOSED_ERROR;
	return n > 0 && stream->drained <= STREAM_INPUT;
}

/* The owner may close the stream in writable(): it is the last thing here. */
static void
on_event(evutil_socket_t fd, short what, void *arg)
{
	http_stream *stream = arg;
	http_close_reason reason = HTTP_CLOSED_BY_CLIENT;

	(void) fd;
	if (stream->dead || ((what & EV_READ) != 0 && !survives_input(stream, &reason)))
		stream_closed(stream, reason);
	else if ((what & EV_WRITE) != 0)
		stream->ops->writable(stream, stream->arg);
}
