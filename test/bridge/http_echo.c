/*
 * test/bridge/http_echo.c
 *	  A small server over the HTTP layer, for the tests to talk to.
 *
 *	    http_echo [name=value ...]		any member of http_limits
 *
 * prints its port, and serves: / answers a POST with its body and a GET with a word; /show what
 * the layer makes of a request; /late waits 100 ms; /big?bytes= that many; /stream, /flood, /bye
 * are streams, and /later is one that waits before it starts.
 *
 * SIGUSR1 prints the counters. SIGTERM drains; it ends when no connection but streams is left, and
 * prints them once more.
 */
#include <arpa/inet.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <event2/event.h>

#include "http.h"

static http_limits limits = {.max_connections = 20000,
							 .max_header = 8192,
							 .max_body = 65536,
							 .header_timeout = 400,
							 .body_timeout = 600,
							 .idle_timeout = 800,
							 .write_timeout = 700};

static struct event_base *base;
static http_server *server;
static unsigned streams, closed_streams, abandoned;

/* ---------- streams ---------- */

/* What /flood sends. */
#define FLOOD ((size_t) 64 * 1024 * 1024)

typedef struct flow
{
	http_stream *stream;
	size_t sent;
} flow;

static void
flow_writable(http_stream *stream, void *arg)
{
	static char text[4096];
	struct iovec iov = {text, sizeof(text)};
	flow *flow = arg;
	size_t left = FLOOD - flow->sent;
	ssize_t n;

	if (left < sizeof(text))
		iov.iov_len = left;
	memset(text, 'x', sizeof(text));
	n = http_stream_write(stream, &iov, 1);
	if (n > 0)
		flow->sent += (size_t) n;
	if (flow->sent < FLOOD)
		return;
	http_stream_close(stream, HTTP_CLOSED_DONE);
	streams--;
	free(flow);
}

static void
flow_closed(http_stream *stream, void *arg)
{
	http_stream_close(stream, HTTP_CLOSED_DONE); /* must do nothing */
	streams--;
	closed_streams++;
	free(arg);
}

static const http_stream_ops flow_ops = {flow_writable, flow_closed};

static void
serve_stream(http_request *request, const char *path)
{
	flow *flow = calloc(1, sizeof(*flow));
	struct iovec iov = {": hello\n\n", 9};
	bool flood = strcmp(path, "/flood") == 0;
	bool bye = strcmp(path, "/bye") == 0;

	http_add_header(request, "Cache-Control", "no-cache");
	flow->stream = http_stream_start(request, "text/event-stream", &flow_ops, flow);
	if (flow->stream == NULL)
	{
		free(flow);
		return;
	}
	streams++;
	if (http_stream_write(flow->stream, &iov, 1) < 0)
		return;
	if (flood)
		http_stream_want(flow->stream, true);
	if (bye)
	{
		http_stream_close(flow->stream, HTTP_CLOSED_SERVER);
		streams--;
		free(flow);
	}
}

/* ---------- requests ---------- */

static void
answer_late(evutil_socket_t fd, short what, void *arg)
{
	http_request *request = arg;

	(void) fd;
	(void) what;
	abandoned += http_abandoned(request);
	if (strcmp(http_path(request), "/later") == 0)
		serve_stream(request, "/later");
	else
		http_reply(request, 200, "text/plain", "late\n", 5);
}

static void
serve_big(http_request *request)
{
	const char *bytes = http_query(request, "bytes", NULL);
	size_t len = bytes == NULL ? 0 : strtoul(bytes, NULL, 10);
	char *body = malloc(len + 1);

	memset(body, 'b', len);
	if (http_query(request, "copied", NULL) == NULL)
		http_reply_owned(request, 200, "text/plain", body, len);
	else
	{
		http_reply(request, 200, "text/plain", body, len);
		free(body);
	}
}

static const char *
or_none(const char *text)
{
	return text == NULL ? "(none)" : text;
}

static void
serve_show(http_request *request)
{
	char text[4096];
	bool bad;
	const char *q = http_query(request, "q", &bad);
	size_t len;
	int n;

	http_body(request, &len);
	n = snprintf(text, sizeof(text),
				 "method %s\npath %s\nquery %s\nq %s%s\nhost %s\nx-test %s\nbody %zu\npeer %s\n",
				 http_method(request), http_path(request), or_none(http_query_string(request)),
				 or_none(q), bad ? " bad" : "", or_none(http_header(request, "HOST")),
				 or_none(http_header(request, "x-test")), len, http_peer(request));
	http_add_header(request, "X-Dropped", "%s", "a\r\nX-Injected: b");
	http_add_header(request, "X-Kept", "%d", 7);
	http_reply(request, 200, "text/plain", text, (size_t) n);
}

static void
serve_root(http_request *request)
{
	const char *method = http_method(request);
	size_t len;
	const char *body = http_body(request, &len);

	if (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0)
		http_reply(request, 200, "text/plain", "hello\n", 6);
	else if (strcmp(method, "POST") == 0)
		http_reply(request, 200, "text/plain", body, len);
	else if (strcmp(method, "OPTIONS") == 0)
	{
		http_add_header(request, "Allow", "GET, HEAD, POST, OPTIONS");
		http_reply(request, 204, NULL, NULL, 0);
	}
	else
	{
		http_add_header(request, "Allow", "GET, HEAD, POST, OPTIONS");
		http_reply(request, 405, NULL, NULL, 0);
	}
}

static void
handle(void *arg, http_request *request)
{
	struct timeval delay = {0, 100000};
	const char *path = http_path(request);

	(void) arg;
	http_set_data(request, arg);
	if (strcmp(path, "/") == 0 || strcmp(path, "*") == 0)
		serve_root(request);
	else if (strncmp(path, "/show", 5) == 0)
		serve_show(request);
	else if (strncmp(path, "/late", 5) == 0)
		event_base_once(base, -1, EV_TIMEOUT, answer_late, request, &delay);
	else if (strcmp(path, "/big") == 0)
		serve_big(request);
	else if (strcmp(path, "/stream") == 0 || strcmp(path, "/flood") == 0 ||
			 strcmp(path, "/bye") == 0)
		serve_stream(request, path);
	else
		http_reply(request, 404, "text/plain", "no\n", 3);
}

/* ---------- the program ---------- */

static const struct
{
	const char *name;
	size_t offset;
	bool is_size;
} settings[] = {
	{"max_connections", offsetof(http_limits, max_connections), false},
	{"max_per_address", offsetof(http_limits, max_per_address), false},
	{"max_header", offsetof(http_limits, max_header), true},
	{"max_body", offsetof(http_limits, max_body), true},
	{"header_timeout", offsetof(http_limits, header_timeout), false},
	{"body_timeout", offsetof(http_limits, body_timeout), false},
	{"idle_timeout", offsetof(http_limits, idle_timeout), false},
	{"write_timeout", offsetof(http_limits, write_timeout), false},
};

static void
set(const char *setting)
{
	size_t name = strcspn(setting, "=");

	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
	{
		char *place = (char *) &limits + settings[i].offset;
		unsigned long value = strtoul(setting + name + 1, NULL, 10);

		if (strlen(settings[i].name) != name || memcmp(settings[i].name, setting, name) != 0)
			continue;
		if (settings[i].is_size)
			*(size_t *) place = value;
		else
			*(unsigned *) place = (unsigned) value;
		return;
	}
	fprintf(stderr, "http_echo: what is %s?\n", setting);
	exit(2);
}

static int
listen_somewhere(int *port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *) &address, len) != 0 || listen(fd, 4096) != 0 ||
		getsockname(fd, (struct sockaddr *) &address, &len) != 0)
	{
		perror("http_echo");
		exit(1);
	}
	*port = ntohs(address.sin_port);
	return fd;
}

/* After SIGTERM: is everybody gone? */
static void
check_end(evutil_socket_t fd, short what, void *arg)
{
	struct timeval again = {0, 20000};

	(void) fd;
	(void) what;
	(void) arg;
	if (http_server_counters(server)->connections == streams)
		event_base_loopbreak(base);
	else
		event_base_once(base, -1, EV_TIMEOUT, check_end, NULL, &again);
}

static void
on_term(evutil_socket_t fd, short what, void *arg)
{
	http_server_drain(server);
	check_end(fd, what, arg);
}

static void
report(void)
{
	const http_counters *c = http_server_counters(server);

	printf("accepted=%llu refused=%llu bad=%llu client=%llu done=%llu timeout=%llu error=%llu "
		   "limit=%llu server=%llu connections=%u streams=%u closed_streams=%u abandoned=%u\n",
		   (unsigned long long) c->accepted, (unsigned long long) c->refused_connections,
		   (unsigned long long) c->bad_requests,
		   (unsigned long long) c->closed[HTTP_CLOSED_BY_CLIENT],
		   (unsigned long long) c->closed[HTTP_CLOSED_DONE],
		   (unsigned long long) c->closed[HTTP_CLOSED_TIMEOUT],
		   (unsigned long long) c->closed[HTTP_CLOSED_ERROR],
		   (unsigned long long) c->closed[HTTP_CLOSED_LIMIT],
		   (unsigned long long) c->closed[HTTP_CLOSED_SERVER], c->connections, streams,
		   closed_streams, abandoned);
	fflush(stdout);
}

static void
on_usr1(evutil_socket_t fd, short what, void *arg)
{
	(void) fd;
	(void) what;
	(void) arg;
	report();
}

int
main(int argc, char **argv)
{
	struct event *term, *usr1;
	int port, fd = listen_somewhere(&port);

	for (int i = 1; i < argc; i++)
		set(argv[i]);
	/* what libevent puts back in the end: a second SIGTERM must not kill it then */
	signal(SIGTERM, SIG_IGN);
	signal(SIGUSR1, SIG_IGN);
	base = event_base_new();
	server = http_server_new(base, &limits, handle, NULL);
	if (server == NULL || !http_server_listen(server, fd))
		return 1;
	term = evsignal_new(base, SIGTERM, on_term, NULL);
	usr1 = evsignal_new(base, SIGUSR1, on_usr1, NULL);
	event_add(term, NULL);
	event_add(usr1, NULL);
	printf("%d\n", port);
	fflush(stdout);
	event_base_dispatch(base);
	report();
	http_server_free(server);
	event_free(term);
	event_free(usr1);
	event_base_free(base);
	return streams == 0 ? 0 : 1;
}
