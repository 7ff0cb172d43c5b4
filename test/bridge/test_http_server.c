/*
 * test/bridge/test_http_server.c
 *	  A server that goes before its requests and streams do, and sockets without addresses.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include <event2/event.h>

#include "http.h"

#define MAX_HELD 4

static const http_limits limits = {.max_header = 4096, .max_body = 4096};
static struct event_base *base;
static http_server *server;
static struct sockaddr_un address = {.sun_family = AF_UNIX};
static socklen_t address_len;
static http_request *held[MAX_HELD];
static unsigned nheld;
static http_stream *stream;
static unsigned closed_streams;

static void
writable(http_stream *which, void *arg)
{
	(void) which;
	(void) arg;
	fail();
}

/* A dead stream takes nothing, and closing it once more is nothing. */
static void
closed(http_stream *which, void *arg)
{
	struct iovec iov = {"x", 1};

	assert_ptr_equal(which, stream);
	assert_ptr_equal(arg, &stream);
	assert_int_equal(http_stream_write(which, &iov, 1), -1);
	http_stream_want(which, true);
	http_stream_close(which, HTTP_CLOSED_DONE);
	closed_streams++;
}

static const http_stream_ops ops = {writable, closed};

static void
handle(void *arg, http_request *request)
{
	assert_ptr_equal(arg, &held);
	assert_string_equal(http_peer(request), "");
	assert_false(http_abandoned(request));
	if (strcmp(http_path(request), "/stream") == 0)
		stream = http_stream_start(request, "text/plain", &ops, &stream);
	else
		held[nheld++] = request;
}

static int
set_up(void **state)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	(void) state;
	/* a name in the abstract namespace, which leaves no file */
	address_len = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + 1 +
							   (size_t) snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1,
												 "ff-test-%d", (int) getpid()));
	assert_int_equal(bind(fd, (struct sockaddr *) &address, address_len), 0);
	assert_int_equal(listen(fd, 16), 0);
	nheld = 0;
	closed_streams = 0;
	stream = NULL;
	base = event_base_new();
	server = http_server_new(base, &limits, handle, &held);
	assert_true(http_server_listen(server, fd));
	return 0;
}

static int
tear_down(void **state)
{
	(void) state;
	event_base_free(base);
	return 0;
}

static void
turn(void)
{
	for (int i = 0; i < 10; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
}

/* A client that has sent a request, and the server has seen it. */
static int
client(const char *path)
{
	char request[256];
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	int len = snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: h\r\n\r\n", path);

	assert_int_equal(connect(fd, (struct sockaddr *) &address, address_len), 0);
	assert_int_equal(send(fd, request, (size_t) len, 0), len);
	turn();
	return fd;
}

static void
requests_outlive_the_server(void **state)
{
	char *owned = strdup("owned");
	int clients[] = {client("/a"), client("/b"), client("/c")};

	(void) state;
	assert_int_equal(nheld, 3);
	assert_int_equal(http_server_counters(server)->connections, 3);
	http_server_free(server);
	for (int i = 0; i < 3; i++)
	{
		assert_true(http_abandoned(held[i]));
		assert_int_equal(http_path(held[i])[1], 'a' + i);
		http_add_header(held[i], "A", "b");
	}
	http_reply(held[0], 200, "text/plain", "x", 1);
	http_reply_owned(held[1], 200, "text/plain", owned, 5);
	assert_null(http_stream_start(held[2], "text/plain", &ops, NULL));
	for (int i = 0; i < 3; i++)
		close(clients[i]);
}

static void
streams_end_with_the_server(void **state)
{
	int fd = client("/stream");

	(void) state;
	assert_non_null(stream);
	assert_true(http_stream_fd(stream) > 0);
	http_server_free(server);
	assert_int_equal(closed_streams, 1);
	close(fd);
}

/* The owner learns of a dead stream from the loop, not from within http_stream_write(). */
static void
a_stream_dies_in_a_write(void **state)
{
	int fd = client("/stream");
	struct iovec iov = {"x", 1};

	(void) state;
	close(fd);
	assert_int_equal(http_stream_write(stream, &iov, 1), -1);
	assert_int_equal(http_stream_write(stream, &iov, 1), -1);
	assert_int_equal(closed_streams, 0);
	turn();
	assert_int_equal(closed_streams, 1);
	assert_int_equal(http_server_counters(server)->closed[HTTP_CLOSED_BY_CLIENT], 1);
	assert_int_equal(http_server_counters(server)->connections, 0);
	http_server_free(server);
}

/* A stream that died, and is closed before the loop could say so. */
static void
a_dead_stream_is_closed(void **state)
{
	int fd = client("/stream");
	struct iovec iov = {"x", 1};

	(void) state;
	close(fd);
	assert_int_equal(http_stream_write(stream, &iov, 1), -1);
	http_stream_close(stream, HTTP_CLOSED_SERVER);
	turn();
	assert_int_equal(closed_streams, 0);
	assert_int_equal(http_server_counters(server)->closed[HTTP_CLOSED_SERVER], 1);
	http_server_free(server);
}

/* Answers out of the order in which the requests came, and in the middle of a drain. */
static void
late_answers(void **state)
{
	char text[512] = "";
	int one = client("/a"), two = client("/b");

	(void) state;
	http_set_data(held[0], &one);
	assert_ptr_equal(http_data(held[0]), &one);
	assert_true(http_received_at(held[0]) <= http_received_at(held[1]));
	http_server_drain(server);
	turn();
	http_reply(held[1], 204, NULL, NULL, 0);
	assert_true(recv(two, text, sizeof(text) - 1, 0) > 0);
	assert_non_null(strstr(text, "204 No Content"));
	assert_non_null(strstr(text, "Connection: close"));
	assert_int_equal(recv(two, text, sizeof(text), 0), 0);
	assert_int_equal(recv(one, text, sizeof(text), MSG_DONTWAIT), -1);
	http_reply(held[0], 304, NULL, NULL, 0);
	assert_true(recv(one, text, sizeof(text) - 1, 0) > 0);
	assert_null(strstr(text, "Content-Length"));
	close(one);
	close(two);
	turn();
	assert_int_equal(http_server_counters(server)->connections, 0);
	http_server_free(server);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(requests_outlive_the_server, set_up, tear_down),
		cmocka_unit_test_setup_teardown(streams_end_with_the_server, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_stream_dies_in_a_write, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_dead_stream_is_closed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(late_answers, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
