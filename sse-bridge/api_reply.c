/*
 * sse-bridge/api_reply.c
 *	  Answers, problems and parameters of the API.
 */
#include "api.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "follower.h"

/* ---------- answers ---------- */

static void
count_answer(api_call *call, int status)
{
	metrics *metrics = &call->bridge->metrics;
	struct timespec now;

	metrics->requests[call->route][status / 100 % METRIC_STATUSES]++;
	clock_gettime(CLOCK_MONOTONIC, &now);
	metric_observe(&metrics->request_time, ((double) now.tv_sec * 1e6 + (double) now.tv_nsec / 1e3 -
											(double) http_received_at(call->request)) /
											   1e6);
}

void
api_reply(api_call *call, int status, const char *content_type, const char *body, size_t len)
{
	count_answer(call, status);
	http_reply(call->request, status, content_type, body, len);
	free(call);
}

void
api_reply_text(api_call *call, int status, const char *content_type, text *body)
{
	if (body->has_failed)
	{
		text_free(body);
		api_unavailable(call, "out of memory");
		return;
	}
	count_answer(call, status);
	http_reply_owned(call->request, status, content_type, body->bytes, body->len);
	free(call);
}

/* ---------- problems ---------- */

static void
add_member(text *to, const char *name, const char *value)
{
	if (value == NULL || *value == '\0')
		return;
	text_addf(to, ",\"%s\":", name);
	text_add_json(to, value, strlen(value));
}

static void
begin_problem(text *to, int status, const char *title)
{
	text_addf(to, "{\"type\":\"about:blank\",\"status\":%d", status);
	add_member(to, "title", title);
}

static void
end_problem(api_call *call, int status, text *body)
{
	text_adds(body, "}\n");
	api_reply_text(call, status, "application/problem+json", body);
}

void
api_problem(api_call *call, int status, const char *title, const char *detail)
{
	text body = {0};

	begin_problem(&body, status, title);
	add_member(&body, "detail", detail);
	end_problem(call, status, &body);
}

void
api_bad_request(api_call *call, const char *path, const char *detail)
{
	text body = {0};

	begin_problem(&body, 400, "Bad request");
	add_member(&body, "detail", detail);
	add_member(&body, "path", path);
	end_problem(call, 400, &body);
}

void
api_unavailable(api_call *call, const char *why)
{
	http_add_header(call->request, "Retry-After", "1");
	api_problem(call, 503, "Service unavailable", why);
}

/* The status of HTTP that a class or code of SQL's comes to. */
static int
status_of(const char *sqlstate)
{
	static const struct
	{
		const char *begin;
		int status;
	} statuses[] = {
		{"23505", 409},                 /* there is one with this key */
		{"55V01", 412},                 /* it has another version */
		{"42704", 404},                 /* undefined object */
		{"2BP01", 409},                 /* others use it */
		{"P0001", 400},                 /* a trigger of the user's doesn't want it */
		{"42501", 403}, {"42P19", 400}, /* a cycle */
		{"54", 400},                    /* too large, too deep */
		{"55P03", 503},                 /* a lock was waited for too long */
		{"55", 409},                    /* not in this state */
		{"40", 409},                    /* changed meanwhile */
		{"22", 400},    {"23", 400},    {"0A", 400}, {"25006", 503}, /* a standby */
		{"57", 503},                                                 /* cancelled, shutting down */
		{"53", 503},                                                 /* resources */
		{"08", 503},
	};

	for (size_t i = 0; sqlstate != NULL && i < sizeof(statuses) / sizeof(statuses[0]); i++)
	{
		if (strncmp(sqlstate, statuses[i].begin, strlen(statuses[i].begin)) == 0)
			return statuses[i].status;
	}
	return 500;
}

static const char *
title_of(int status)
{
	switch (status)
	{
		case 400:
			return "Bad request";
		case 403:
			return "Forbidden";
		case 404:
			return "Not found";
		case 409:
			return "Conflict";
		case 412:
			return "Precondition failed";
		case 503:
			return "Service unavailable";
	}
	return "Internal server error";
}

/*
 * What is not valid has its path in front of what is wrong with it: "rules[0].if: not a condition".
 * False where a text has none.
 */
static bool
add_path(text *to, const char *said)
{
	const char *colon = said == NULL ? NULL : strstr(said, ": ");
	char path[512];

	if (colon == NULL || (size_t) (colon - said) >= sizeof(path) ||
		memchr(said, ' ', (size_t) (colon - said)) != NULL)
		return false;
	memcpy(path, said, (size_t) (colon - said));
	path[colon - said] = '\0';
	add_member(to, "path", path);
	return true;
}

/* Whether an error is of what was sent: not valid, or too large. */
static bool
is_of_document(const char *sqlstate)
{
	return sqlstate != NULL && (strncmp(sqlstate, "22", 2) == 0 || strncmp(sqlstate, "54", 2) == 0);
}

void
api_database_problem(api_call *call, const PGresult *result)
{
	const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	const char *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
	int status = status_of(sqlstate);
	text body = {0};

	if (status == 503)
		http_add_header(call->request, "Retry-After", "1");
	begin_problem(&body, status, title_of(status));
	text_adds(&body, ",\"detail\":");
	if (detail == NULL)
		text_add_json(&body, message == NULL ? "" : message, message == NULL ? 0 : strlen(message));
	else
	{
		text both = {0};

		text_addf(&both, "%s: %s", message, detail);
		text_add_json(&body, both.bytes == NULL ? "" : both.bytes, both.len);
		text_free(&both);
	}
	add_member(&body, "sqlstate", sqlstate);
	if (is_of_document(sqlstate) && !add_path(&body, detail))
		(void) add_path(&body, message);
	add_member(&body, "hint", PQresultErrorField(result, PG_DIAG_MESSAGE_HINT));
	end_problem(call, status, &body);
}

/* ---------- entries ---------- */

void
api_add_staleness(api_call *call)
{
	uint64_t age = follower_age(call->bridge->follower);

	if (!follower_is_current(call->bridge->follower) && age != UINT64_MAX)
		http_add_header(call->request, "FF-Stale", "%" PRIu64, age / 1000);
}

/* What was written is told, whatever the caller has. */
static bool
is_read(const api_call *call)
{
	const char *method = http_method(call->request);

	return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
}

/* Whether If-None-Match names a tag, or any. */
static bool
has_tag(const char *header, const char *tag)
{
	const char *found = header == NULL ? NULL : strstr(header, tag);

	return found != NULL || (header != NULL && strcmp(header, "*") == 0);
}

void
api_reply_entry(api_call *call, int status, int64_t version, const char *definition, size_t len)
{
	char tag[32];

	snprintf(tag, sizeof(tag), "\"%" PRId64 "\"", version);
	http_add_header(call->request, "ETag", "%s", tag);
	if (is_read(call) && has_tag(http_header(call->request, "If-None-Match"), tag))
		api_reply(call, 304, NULL, NULL, 0);
	else
		api_reply(call, status, "application/json", definition, len);
}

/* ---------- parameters ---------- */

bool
api_query(api_call *call, const char *name, const char **value)
{
	bool is_bad = false;

	*value = http_query(call->request, name, &is_bad);
	if (is_bad)
		api_bad_request(call, name, "The parameter is given twice, or is no text.");
	return !is_bad;
}

bool
api_query_number(api_call *call, const char *name, long long least, long long most,
				 long long initial, long long *value)
{
	const char *given;
	char *end;

	if (!api_query(call, name, &given))
		return false;
	*value = initial;
	if (given == NULL)
		return true;
	errno = 0;
	*value = strtoll(given, &end, 10);
	if (*given == '\0' || *end != '\0' || errno != 0 || *value < least || *value > most)
	{
		char detail[128];

		snprintf(detail, sizeof(detail), "It must be a whole number from %lld to %lld.", least,
				 most);
		api_bad_request(call, name, detail);
		return false;
	}
	return true;
}

/* Whether a header names a media type, with or without parameters. */
static bool
is_of_type(const char *header, const char *type)
{
	size_t len = strlen(type);

	return header != NULL && strncasecmp(header, type, len) == 0 &&
		   header[len + strspn(header + len, " \t")] == (strchr(header, ';') == NULL ? '\0' : ';');
}

/*
 * Only a body that says that it is JSON: a page of somebody else's can have a browser send any
 * other kind without asking.
 */
bool
api_json_body(api_call *call, const char **body)
{
	const char *type = http_header(call->request, "Content-Type");
	size_t len;

	*body = http_body(call->request, &len);
	if (!is_of_type(type, "application/json") && !is_of_type(type, "application/merge-patch+json"))
		api_problem(call, 415, "Unsupported media type",
					"The body must be JSON, with Content-Type: application/json.");
	else if (len == 0)
		api_bad_request(call, NULL, "There is no body: it must be a JSON document.");
	else if (strlen(*body) != len)
		api_bad_request(call, NULL, "The body has a null byte in it.");
	else
		return true;
	return false;
}

view *
api_view(api_call *call)
{
	view *found = hub_view(call->bridge->hub, call->name_space);

	if (!hub_is_loaded(call->bridge->hub))
		api_unavailable(call, "Flags are not loaded yet: the database was not reached so far.");
	else if (found == NULL)
		api_problem(call, 404, "Not found",
					"There is no such namespace, or the bridge may not read it.");
	else
		return found;
	return NULL;
}
