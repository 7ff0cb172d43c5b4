/*
 * sse-bridge/http_io.c
 *	  Reading and writing a client's socket in the clear.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http_internal.h"

static ssize_t
plain_read(http_link *link, void *buffer, size_t size)
{
	ssize_t n;

	do
		n = recv(event_get_fd(&link->event), buffer, size, 0);
	while (n < 0 && errno == EINTR);
	return n;
}

/* sendmsg() and not writev(): a client that has gone must not raise SIGPIPE. */
static ssize_t
plain_write(http_link *link, const struct iovec *iov, int count)
{
	struct msghdr message = {.msg_iov = (struct iovec *) iov, .msg_iovlen = (size_t) count};
	ssize_t n;

	do
		n = sendmsg(event_get_fd(&link->event), &message, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return 0;
	return n;
}

static void
plain_shutdown(http_link *link)
{
	shutdown(event_get_fd(&link->event), SHUT_WR);
}

/* A client that doesn't read would hold the kernel's buffers for minutes; a reset frees them. */
static void
plain_close(http_link *link, bool abort)
{
	struct linger reset = {.l_onoff = 1, .l_linger = 0};
	int fd = event_get_fd(&link->event);

	if (abort)
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close(fd);
}

const http_io http_plain_io = {plain_read, plain_write, plain_shutdown, plain_close};
