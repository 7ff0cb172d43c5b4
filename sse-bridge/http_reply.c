/*
 * sse-bridge/http_reply.c
 *	  Answers: their headers, and getting them into the socket.
 *
 * An answer is written from where it is. Only what the socket has no room for is copied, so that
 * the usual answer costs no memory, and a client that doesn't read costs one answer and no more:
 * its next request isn't read before.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "http_internal.h"
#include "http_text.h"

/* ---------- headers ---------- */

/* Date as RFC 9110 has it, formatted once a second, in English whatever the locale is. */
static const char *
date_of(http_server *server)
{
	static const char days[] = "SunMonTueWedThuFriSat";
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	time_t now = time(NULL);
	struct tm tm;

	if (now == server->date_at || gmtime_r(&now, &tm) == NULL)
		return server->date;
	server->date_at = now;
	snprintf(server->date, sizeof(server->date), "%.3s, %02d %.3s %d %02d:%02d:%02d GMT",
			 days + 3 * tm.tm_wday, tm.tm_mday, months + 3 * tm.tm_mon, tm.tm_year + 1900,
			 tm.tm_hour, tm.tm_min, tm.tm_sec);
	return server->date;
}

/* Whether nothing of the text could be taken for the end of a header. */
static bool
is_one_line(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
	{
		if (text[i] == '\r' || text[i] == '\n' || text[i] == '\0')
			return false;
	}
	return true;
}

/* Appends a line of len bytes, as vsnprintf writes it; CR LF follows. */
static void
append_added(http_added *added, const char *name, size_t len, const char *format, va_list args)
{
	size_t name_len = strlen(name) + 2;
	char *text = realloc(added->text, added->len + name_len + len + 3);
	char *value;

	if (text == NULL)
	{
		added->failed = true;
		return;
	}
	added->text = text;
	value = text + added->len + name_len;
	snprintf(text + added->len, name_len + 1, "%s: ", name);
	vsnprintf(value, len + 1, format, args);
	if (!is_one_line(value, len))
		return;
	memcpy(value + len, "\r\n", 3);
	added->len += name_len + len + 2;
}

void
http_add_header(http_request *request, const char *name, const char *format, ...)
{
	va_list args, again;
	int len;

	va_start(args, format);
	va_copy(again, args);
	len = vsnprintf(NULL, 0, format, args);
	if (len >= 0)
		append_added(&request->added, name, (size_t) len, format, again);
	va_end(again);
	va_end(args);
}

/* Content-Length, where there may be one (RFC 9110 8.6), or nothing. */
static void
format_length(char *text, size_t size, const http_answer *answer)
{
	bool none = answer->stream || answer->status < 200 || answer->status == 204 ||
				(answer->status == 304 && answer->content_type == NULL);

	text[0] = '\0';
	if (!none)
		snprintf(text, size, "Content-Length: %zu\r\n",
				 answer->content_type == NULL ? 0 : answer->len);
}

/* Everything but the added headers. False where it doesn't fit. */
static bool
format_head(http_conn *conn, const http_answer *answer, char *head, size_t size, size_t *len)
{
	const char *connection = "";
	bool typed = answer->content_type != NULL;
	char length[48];
	int n;

	format_length(length, sizeof(length), answer);
	if (conn->closing || answer->stream)
		connection = "Connection: close\r\n";
	else if (conn->version_1_0)
		connection = "Connection: keep-alive\r\n";
	n = snprintf(head, size,
				 "HTTP/1.1 %d %s\r\nDate: %s\r\nX-Content-Type-Options: nosniff\r\n%s%s%s%s%s",
				 answer->status, http_reason(answer->status), date_of(conn->link.server),
				 typed ? "Content-Type: " : "", typed ? answer->content_type : "",
				 typed ? "\r\n" : "", length, connection);
	*len = n < 0 ? size : (size_t) n;
	return *len < size;
}

/* ---------- into the socket ---------- */

static size_t
length_of(const struct iovec *iov, int count)
{
	size_t len = 0;

	for (int i = 0; i < count; i++)
		len += iov[i].iov_len;
	return len;
}

/*
 * Keeps an answer of which sent bytes were sent. The last of its parts is the body: it is kept
 * where it is if it was given away, else copied, as the headers are.
 */
static bool
keep_rest(http_conn *conn, const struct iovec *iov, int count, bool owned, size_t sent)
{
	int copied = owned ? count - 1 : count;
	http_out *out = malloc(sizeof(http_out) + length_of(iov, copied));

	if (out == NULL)
		return false;
	out->head_len = 0;
	for (int i = 0; i < copied; i++)
	{
		if (iov[i].iov_len > 0)
			memcpy(out->head + out->head_len, iov[i].iov_base, iov[i].iov_len);
		out->head_len += iov[i].iov_len;
	}
	out->body = owned ? iov[count - 1].iov_base : NULL;
	out->body_len = owned ? iov[count - 1].iov_len : 0;
	out->sent = sent;
	conn->out = out;
	return true;
}

static bool
broken(http_conn *conn, http_close_reason reason)
{
	conn->reason = (uint8_t) reason;
	return false;
}

/* Writes the parts; the rest, if any, goes to conn->out, which may take the body with it. */
static bool
write_parts(http_conn *conn, const struct iovec *iov, int count, bool owned)
{
	ssize_t sent = conn->link.server->io->write(&conn->link, iov, count);

	if (sent < 0)
		return broken(conn, HTTP_CLOSED_BY_CLIENT);
	if ((size_t) sent == length_of(iov, count))
		return true;
	return keep_rest(conn, iov, count, owned, (size_t) sent) || broken(conn, HTTP_CLOSED_ERROR);
}

bool
http_send(http_conn *conn, const http_answer *answer)
{
	char head[1024];
	size_t head_len;
	bool bodyless = answer->no_body || answer->content_type == NULL;
	bool sent =
		format_head(conn, answer, head, sizeof(head), &head_len) || broken(conn, HTTP_CLOSED_ERROR);

	if (sent)
	{
		struct iovec iov[] = {{head, head_len},
							  {(void *) answer->added, answer->added_len},
							  {(void *) "\r\n", 2},
							  {answer->body, bodyless ? 0 : answer->len}};

		sent = write_parts(conn, iov, 4, answer->owned && !bodyless);
	}
	if (answer->owned && (conn->out == NULL || conn->out->body == NULL))
		free(answer->body);
	return sent;
}

static void
out_free(http_conn *conn)
{
	free(conn->out->body);
	free(conn->out);
	conn->out = NULL;
}

int
http_send_more(http_conn *conn)
{
	http_out *out = conn->out;
	size_t of_body = out->sent > out->head_len ? out->sent - out->head_len : 0;
	size_t of_head = out->sent - of_body;
	struct iovec iov[] = {{out->head + of_head, out->head_len - of_head},
						  {out->body + of_body, out->body_len - of_body}};
	ssize_t sent = conn->link.server->io->write(&conn->link, iov, out->body_len > 0 ? 2 : 1);

	if (sent < 0)
		return -1;
	if (sent > 0)
		conn->since = http_now_ms();
	out->sent += (size_t) sent;
	if (out->sent < out->head_len + out->body_len)
		return 0;
	out_free(conn);
	return 1;
}

/* ---------- to a request ---------- */

static void
reply(http_request *request, http_answer *answer)
{
	http_conn *conn = request->conn;
	bool sent;

	if (conn == NULL || request->added.failed)
	{
		if (answer->owned)
			free(answer->body);
		if (conn != NULL)
			http_conn_close(conn, HTTP_CLOSED_ERROR);
		http_request_free(request);
		return;
	}
	answer->added = request->added.text;
	answer->added_len = request->added.len;
	answer->no_body = strcmp(request->message->method, "HEAD") == 0;
	conn->request = NULL;
	if (conn->link.server->draining && !conn->closing)
	{
		conn->closing = true;
		conn->reason = HTTP_CLOSED_SERVER;
	}
	sent = http_send(conn, answer);
	http_request_free(request);
	if (sent)
		http_conn_answered(conn);
	else
		http_conn_close(conn, conn->reason);
}

void
http_reply(http_request *request, int status, const char *content_type, const char *body,
		   size_t len)
{
	http_answer answer = {.status = status,
						  .content_type = content_type,
						  .body = (char *) body,
						  .len = len};

	reply(request, &answer);
}

void
http_reply_owned(http_request *request, int status, const char *content_type, char *body,
				 size_t len)
{
	http_answer answer = {
		.status = status, .content_type = content_type, .body = body, .len = len, .owned = true};

	reply(request, &answer);
}
