/*
 * sse-bridge/http_request.c
 *	  What a handler sees of a request.
 */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "http_internal.h"
#include "http_text.h"

static uint64_t
now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t) now.tv_sec * 1000000 + (uint64_t) now.tv_nsec / 1000;
}

/* Kept as text at once: the connection may be gone when somebody asks. */
static void
set_peer(http_request *request, const http_conn *conn)
{
	request->peer[0] = '\0';
	if (!conn->has_peer)
		return;
	if (IN6_IS_ADDR_V4MAPPED(&conn->peer))
		inet_ntop(AF_INET, &conn->peer.s6_addr[12], request->peer, sizeof(request->peer));
	else
		inet_ntop(AF_INET6, &conn->peer, request->peer, sizeof(request->peer));
}

http_request *
http_request_new(http_conn *conn, http_message *message)
{
	http_request *request = calloc(1, sizeof(http_request));

	if (request == NULL)
	{
		http_message_free(message);
		return NULL;
	}
	request->conn = conn;
	request->message = message;
	request->received_at = now_us();
	set_peer(request, conn);
	return request;
}

void
http_request_free(http_request *request)
{
	http_message_free(request->message);
	free(request->added.text);
	free(request);
}

const char *
http_method(const http_request *request)
{
	return request->message->method;
}

const char *
http_path(const http_request *request)
{
	return request->message->path;
}

const char *
http_header(const http_request *request, const char *name)
{
	return http_message_field(request->message, name);
}

const char *
http_query_string(const http_request *request)
{
	return request->message->query;
}

/*
 * One parameter, "name=value" or "name", as it is in the query, of len bytes. It is decoded into
 * query_room at its own place: that takes no memory, can't fail for want of it, and gives the same
 * pointer however often it is asked for. *value is set where the name is the one wanted: to NULL
 * where its value is malformed.
 */
static bool
match_parameter(const http_message *message, const char *s, size_t len, const char *name,
				const char **value)
{
	char *room = message->query_room + (s - message->query);
	size_t name_len = strcspn(s, "&=");
	size_t at = name_len < len ? name_len + 1 : len;

	if (!http_decode(s, name_len, true, room) || strcmp(room, name) != 0)
		return false;
	*value = http_decode(s + at, len - at, true, room + at) ? room + at : NULL;
	return true;
}

const char *
http_query(http_request *request, const char *name, bool *bad)
{
	const http_message *message = request->message;
	const char *found = NULL;
	bool malformed = false;
	size_t len;

	for (const char *s = message->query; s != NULL && *s != '\0'; s += len + (s[len] == '&'))
	{
		const char *value;

		len = strcspn(s, "&");
		if (!match_parameter(message, s, len, name, &value))
			continue;
		malformed = malformed || found != NULL || value == NULL;
		found = value;
	}
	if (bad != NULL)
		*bad = malformed;
	return malformed ? NULL : found;
}

const char *
http_body(const http_request *request, size_t *len)
{
	*len = request->message->body_len;
	return request->message->body != NULL ? request->message->body : "";
}

const char *
http_peer(const http_request *request)
{
	return request->peer;
}

bool
http_abandoned(const http_request *request)
{
	return request->conn == NULL || request->conn->eof;
}

void
http_set_data(http_request *request, void *data)
{
	request->data = data;
}

void *
http_data(const http_request *request)
{
	return request->data;
}

uint64_t
http_received_at(const http_request *request)
{
	return request->received_at;
}
