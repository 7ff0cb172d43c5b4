/*
 * test/bridge/test_http_memory.c
 *	  Every allocation of the HTTP layer fails in turn: a connection may be lost, and no more.
 *
 * The linker has the layer's calls of malloc() and its kin end here (--wrap).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include <event2/event.h>

#include "http.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))
#define BIG (8 * 1024 * 1024)

extern void *__real_malloc(size_t size);
extern void *__real_calloc(size_t count, size_t size);
extern void *__real_realloc(void *block, size_t size);

/* The allocation that fails, counted from 0; negative: none. */
static long failing = -1;
static long allocations;
static char big[BIG];

static bool
fails(void)
{
	return allocations++ == failing;
}

extern void *__wrap_malloc(size_t size);
extern void *__wrap_calloc(size_t count, size_t size);
extern void *__wrap_realloc(void *block, size_t size);

void *
__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}

void *
__wrap_calloc(size_t count, size_t size)
{
	return fails() ? NULL : __real_calloc(count, size);
}

void *
__wrap_realloc(void *block, size_t size)
{
	return fails() ? NULL : __real_realloc(block, size);
}

/* ---------- a server and a client ---------- */

static const http_limits limits = {.max_header = 4096, .max_body = 4096};
static struct event_base *base;
static http_server *server;
static struct sockaddr_in address = {.sin_family = AF_INET};
static unsigned streams;

static void
writable(http_stream *stream, void *arg)
{
	(void) arg;
	http_stream_close(stream, HTTP_CLOSED_DONE);
	streams--;
}

static void
closed(http_stream *stream, void *arg)
{
	(void) stream;
	(void) arg;
	streams--;
}

static const http_stream_ops ops = {writable, closed};

static void
handle(void *arg, http_request *request)
{
	const char *path = http_path(request);

	(void) arg;
	http_add_header(request, "A", "%s", path);
	http_add_header(request, "B", "%s", path);
	if (strcmp(path, "/stream") == 0)
	{
		http_stream *stream = http_stream_start(request, "text/plain", &ops, NULL);

		streams += stream != NULL;
		if (stream != NULL)
			http_stream_want(stream, true);
	}
	else if (strcmp(path, "/owned") == 0)
		http_reply_owned(request, 200, "text/plain", __real_calloc(1, BIG), BIG);
	else
		http_reply(request, 200, "text/plain", big, strcmp(path, "/big") == 0 ? BIG : 2);
}

static void
start(void)
{
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *) &address, len), 0);
	assert_int_equal(listen(fd, 16), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *) &address, &len), 0);
	base = event_base_new();
	server = http_server_new(base, &limits, handle, NULL);
	assert_non_null(server);
	assert_true(http_server_listen(server, fd));
}

/* Sends text, lets the loop go round until the server closes, and counts the bytes that come. */
static size_t
talk(const char *text)
{
	static char buffer[256 * 1024];
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	time_t end = time(NULL) + 10;
	size_t total = 0;
	ssize_t n;

	assert_int_equal(connect(fd, (struct sockaddr *) &address, sizeof(address)), 0);
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
	do
	{
		event_base_loop(base, EVLOOP_NONBLOCK);
		n = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT);
		if (n > 0)
			total += (size_t) n;
		assert_true(time(NULL) < end);
	} while (n > 0 || (n < 0 && errno == EAGAIN));
	close(fd);
	while (http_server_counters(server)->connections > 0)
	{
		event_base_loop(base, EVLOOP_NONBLOCK);
		assert_true(time(NULL) < end);
	}
	assert_int_equal(streams, 0);
	return total;
}

#define HEADERS " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"

static void
every_allocation_fails_once(void **state)
{
	static const char *const conversations[] = {
		"GET /" HEADERS "A: b\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: h\r\n\r\nGET /two" HEADERS "\r\n",
		"POST /" HEADERS "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n"
		"A: b\r\n\r\n",
		"GET /big" HEADERS "\r\n",
		"GET /owned" HEADERS "\r\n",
		"GET /stream" HEADERS "\r\n",
		"NONSENSE\r\n",
	};

	(void) state;
	start();
	for (size_t i = 0; i < LENGTH(conversations); i++)
	{
		size_t whole, failures = 0;

		failing = -1;
		whole = talk(conversations[i]);
		assert_true(whole > 0);
		do
		{
			failing = (long) failures++;
			allocations = 0;
			assert_true(talk(conversations[i]) <= whole);
		} while (allocations > failing);
		failing = -1;
		assert_int_equal(talk(conversations[i]), whole);
		assert_true(failures > 3);
	}
	http_server_free(server);
	event_base_free(base);
}

static void
no_server_without_memory(void **state)
{
	(void) state;
	allocations = 0;
	failing = 0;
	assert_null(http_server_new(NULL, &limits, handle, NULL));
	failing = -1;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_allocation_fails_once),
		cmocka_unit_test(no_server_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
