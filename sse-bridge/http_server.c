/*
 * sse-bridge/http_server.c
 *	  Listening, limits, time and the end.
 *
 * Time limits are kept by one sweep over the connections instead of a timer each: they are coarse,
 * streams need none, and the sweep stops where there is nothing that it could close.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "http_internal.h"

/* Connections taken in before others have their turn. */
#define ACCEPT_BATCH 64
/* Refused connections that are given time to read why; those beyond are closed right away. */
#define MAX_REFUSED 64
/* Bounds of the sweep's interval, in milliseconds. */
#define MIN_SWEEP 5
#define MAX_SWEEP 500

static const http_refusal full = {503, "there are too many connections"};

uint64_t
http_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t) now.tv_sec * 1000 + (uint64_t) now.tv_nsec / 1000000;
}

/* ---------- the sweep ---------- */

static unsigned
shorter(unsigned a, unsigned b)
{
	return b > 0 && b < a ? b : a;
}

/* An eighth of the shortest limit: nobody waits for much longer than he should. */
void
http_server_wake_sweep(http_server *server)
{
	const http_limits *limits = server->limits;
	unsigned interval = 8 * MAX_SWEEP;
	struct timeval delay;

	if (evtimer_pending(&server->sweep, NULL))
		return;
	interval = shorter(interval, limits->header_timeout);
	interval = shorter(interval, limits->body_timeout);
	interval = shorter(interval, limits->idle_timeout);
	interval = shorter(interval, limits->write_timeout) / 8;
	if (interval < MIN_SWEEP)
		interval = MIN_SWEEP;
	delay = (struct timeval){.tv_sec = 0, .tv_usec = (suseconds_t) interval * 1000};
	evtimer_add(&server->sweep, &delay);
}

/* Listens again after a pause. */
static void
resume(http_server *server)
{
	http_listener *listener;

	server->paused = false;
	for (listener = SLIST_FIRST(&server->listeners); listener != NULL;
		 listener = SLIST_NEXT(listener, entry))
		event_add(&listener->event, NULL);
}

static void
on_sweep(evutil_socket_t fd, short what, void *arg)
{
	http_server *server = arg;
	uint64_t now = http_now_ms();
	http_link *link, *next;

	(void) fd;
	(void) what;
	if (server->paused)
		resume(server);
	for (link = LIST_FIRST(&server->conns); link != NULL; link = next)
	{
		next = LIST_NEXT(link, entry); /* it is the only one that may go */
		http_conn_sweep((http_conn *) link, now);
	}
	if (!LIST_EMPTY(&server->conns))
		http_server_wake_sweep(server);
}

/* ---------- accepting ---------- */

/* One too many: says so, if there is anybody left to wait for it to be read. */
static void
turn_away(http_server *server, int fd)
{
	http_conn *conn;

	server->counters.refused_connections++;
	conn = http_conn_new(server, fd, NULL);
	if (conn == NULL)
		return;
	if (server->refused >= MAX_REFUSED)
	{
		http_conn_close(conn, HTTP_CLOSED_LIMIT);
		return;
	}
	conn->refused = true;
	server->refused++;
	conn->reason = HTTP_CLOSED_LIMIT;
	http_conn_refuse(conn, &full, false);
}

static bool
is_full(const http_server *server)
{
	unsigned connections = server->counters.connections - server->refused;

	return server->limits->max_connections > 0 && connections >= server->limits->max_connections;
}

/* A new connection. */
static void
welcome(http_server *server, int fd, const struct sockaddr *from)
{
	const http_limits *limits = server->limits;
	struct in6_addr peer;
	bool has_peer = http_address_of(from, &peer);
	http_address *address = NULL;
	http_conn *conn;
	const int on = 1;
	const int patience = 60000; /* milliseconds */

	server->counters.accepted++;
	if (has_peer)
	{
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));

		/* what a client that vanished was sent is never acknowledged: it is not waited for for long
		 */
		setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &patience, sizeof(patience));
		address = http_address_get(server, &peer);
	}
	if (is_full(server) || (address != NULL && limits->max_per_address > 0 &&
							address->connections > limits->max_per_address))
	{
		http_address_put(server, address);
		turn_away(server, fd);
		return;
	}
	conn = http_conn_new(server, fd, has_peer ? &peer : NULL);
	if (conn != NULL)
		conn->link.address = address;
	else
		http_address_put(server, address);
}

/* Without file descriptors, or memory for them, the loop would spin on what it can't accept. */
static void
pause_accepting(http_server *server)
{
	http_listener *listener;

	server->paused = true;
	for (listener = SLIST_FIRST(&server->listeners); listener != NULL;
		 listener = SLIST_NEXT(listener, entry))
		event_del(&listener->event);
	http_server_wake_sweep(server);
}

static void
on_accept(evutil_socket_t listening, short what, void *arg)
{
	http_server *server = ((http_listener *) arg)->server;

	(void) what;
	for (int i = 0; i < ACCEPT_BATCH; i++)
	{
		struct sockaddr_storage from = {0};
		socklen_t len = sizeof(from);
		int fd = accept4(listening, (struct sockaddr *) &from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0)
			welcome(server, fd, (struct sockaddr *) &from);
		else if (errno == EAGAIN || errno == EWOULDBLOCK)
			return;
		else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
		{
			pause_accepting(server);
			return;
		}
	}
}

bool
http_server_listen(http_server *server, int fd)
{
	http_listener *listener = calloc(1, sizeof(http_listener));

	if (listener == NULL)
	{
		close(fd);
		return false;
	}
	listener->server = server;
	event_assign(&listener->event, server->base, fd, EV_READ | EV_PERSIST, on_accept, listener);
	SLIST_INSERT_HEAD(&server->listeners, listener, entry);
	return event_add(&listener->event, NULL) == 0;
}

/* ---------- beginning and end ---------- */

http_server *
http_server_new(struct event_base *base, const http_limits *limits, http_handler handler, void *arg)
{
	http_server *server = calloc(1, sizeof(http_server));

	if (server == NULL)
		return NULL;
	server->base = base;
	server->limits = limits;
	server->handler = handler;
	server->arg = arg;
	server->io = &http_plain_io;
	SLIST_INIT(&server->listeners);
	LIST_INIT(&server->conns);
	LIST_INIT(&server->streams);
	evtimer_assign(&server->sweep, base, on_sweep, server);
	if (getrandom(&server->seed, sizeof(server->seed), GRND_NONBLOCK) < 0)
		server->seed = (uint32_t) http_now_ms();
	return server;
}

static void
stop_listening(http_server *server)
{
	http_listener *listener;

	while ((listener = SLIST_FIRST(&server->listeners)) != NULL)
	{
		SLIST_REMOVE_HEAD(&server->listeners, entry);
		event_del(&listener->event);
		close(event_get_fd(&listener->event));
		free(listener);
	}
}

void
http_server_drain(http_server *server)
{
	http_link *link;

	server->draining = true;
	stop_listening(server);
	for (link = LIST_FIRST(&server->conns); link != NULL; link = LIST_NEXT(link, entry))
		http_conn_drain((http_conn *) link);
}

void
http_server_free(http_server *server)
{
	if (server == NULL)
		return;
	stop_listening(server);
	while (!LIST_EMPTY(&server->conns))
		http_conn_close((http_conn *) LIST_FIRST(&server->conns), HTTP_CLOSED_SERVER);
	while (!LIST_EMPTY(&server->streams))
		http_stream_end((http_stream *) LIST_FIRST(&server->streams));
	evtimer_del(&server->sweep);
	free(server);
}

const http_counters *
http_server_counters(const http_server *server)
{
	return &server->counters;
}
