/*
 * sse-bridge/api_write.c
 *	  Routes that write: each is one function of the extension, in one transaction and one round
 *trip.
 */
#include "api.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "eventlog.h"
#include "pool.h"

#define LONGEST_VERSION 18 /* digits, of which each number is a bigint */

/* Which results are which. */
enum
{
	WRITE_BEGIN,
	WRITE_PATH,
	WRITE_SETTINGS,
	WRITE_CALL,
	WRITE_CONSTRAINTS, /* events are written at commit, or here */
	WRITE_EVENT,
	WRITE_COMMIT,
	WRITE_STATEMENTS
};

/* A write that is answered when the follower has seen its event. */
typedef struct written
{
	api_call *call;
	int status;
	int64_t version;
	text document;
	event_ref event; /* id 0: it changed nothing */
} written;

static pool *
write_pool(const bridge *bridge)
{
	return bridge->write_pool == NULL ? bridge->pool : bridge->write_pool;
}

static bool
is_success(const PGresult *result)
{
	ExecStatusType status = PQresultStatus(result);

	return status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK;
}

/* Whether all statements succeeded; else the call is answered. */
static bool
succeeded(api_call *call, PGresult *const *results, int count, const char *why)
{
	if (count == 0)
	{
		char detail[384];

		snprintf(detail, sizeof(detail), "%s. It is not known whether the change was made.", why);
		api_unavailable(call, detail);
		return false;
	}
	for (int i = 0; i < count; i++)
	{
		if (is_success(results[i]))
			continue;
		api_database_problem(call, results[i]);
		return false;
	}
	return true;
}

/* ---------- flags and segments ---------- */

/* Answers; whoever reads from this bridge now finds what was written. */
static void
answer_written(void *arg)
{
	written *one = arg;
	char ref[EVENT_REF_SIZE];

	if (one->event.id > 0)
		http_add_header(one->call->request, "FF-Event-ID", "%s", event_ref_text(one->event, ref));
	api_reply_entry(one->call, one->status, one->version, one->document.bytes, one->document.len);
	text_free(&one->document);
	free(one);
}

static int
status_of(const api_call *call)
{
	return strcmp(http_method(call->request), "POST") == 0 && call->key[0] == '\0' ? 201 : 200;
}

/* The place of what was created. */
static void
add_location(api_call *call, const char *key)
{
	http_add_header(call->request, "Location", "/%s/%s%s%s",
					call->object == FFE_FLAG ? "flags" : "segments", key,
					strcmp(call->name_space, "default") == 0 ? "" : "?namespace=",
					strcmp(call->name_space, "default") == 0 ? "" : call->name_space);
}

static void
take_written(void *arg, PGresult *const *results, int count, const char *why)
{
	api_call *call = arg;
	written *one;

	if (!succeeded(call, results, count, why))
		return;
	one = calloc(1, sizeof(*one));
	if (one == NULL)
	{
		api_unavailable(call, "It was written, but there is no memory to tell what.");
		return;
	}
	one->call = call;
	one->status = status_of(call);
	text_adds(&one->document, PQgetvalue(results[WRITE_CALL], 0, 0));
	one->version = strtoll(PQgetvalue(results[WRITE_CALL], 0, 1), NULL, 10);
	one->event = eventlog_ref(results[WRITE_EVENT], 0, 0);
	if (one->status == 201)
		add_location(call, PQgetvalue(results[WRITE_CALL], 0, 2));
	if (one->document.has_failed ||
		!hub_wait(call->bridge->hub, one->event.id, answer_written, one))
		answer_written(one);
}

/* The version that If-Match asks for, as text; NULL for any. False: it is none, and answered. */
static bool
expected_version(api_call *call, char buffer[LONGEST_VERSION + 1], const char **version)
{
	const char *tag = http_header(call->request, "If-Match");
	size_t digits;

	*version = NULL;
	if (tag == NULL || strcmp(tag, "*") == 0)
		return true;
	digits = *tag == '"' ? strspn(tag + 1, "0123456789") : 0;
	if (digits == 0 || digits > LONGEST_VERSION || strcmp(tag + 1 + digits, "\"") != 0 ||
		(tag[1] == '0' && digits > 1))
	{
		api_problem(call, 412, "Precondition failed",
					"If-Match must be one ETag as it was given, like \"3\".");
		return false;
	}
	memcpy(buffer, tag + 1, digits);
	buffer[digits] = '\0';
	*version = buffer;
	return true;
}

/* Sends a call of a function between what goes before and after it. */
static void
run(api_call *call, const pg_statement *statement, pool_handler handler)
{
	char timeout[24];
	const char *actor = http_header(call->request, "FF-Actor");
	const char *comment = http_header(call->request, "FF-Comment");
	const pg_statement statements[WRITE_STATEMENTS] = {
		[WRITE_BEGIN] = {.sql = "BEGIN"},
		[WRITE_PATH] = {.sql = SQL_PATH},
		[WRITE_SETTINGS] = {.sql = "SELECT set_config('statement_timeout', $1, true), "
								   "set_config('ff.actor', coalesce($2, ''), true), "
								   "set_config('ff.comment', coalesce($3, ''), true)",
							.count = 3,
							.params = {timeout, actor, comment}},
		[WRITE_CALL] = *statement,
		[WRITE_CONSTRAINTS] = {.sql = "SET CONSTRAINTS ALL IMMEDIATE"},
		[WRITE_EVENT] = {.sql = "SELECT event_id, left(encode(event_hash, 'hex'), 8) "
								"FROM ff_last_event()"},
		[WRITE_COMMIT] = {.sql = "COMMIT"}};
	const char *why;

	snprintf(timeout, sizeof(timeout), "%u", call->bridge->config.statement_timeout);
	if (!pool_run(write_pool(call->bridge), statements, WRITE_STATEMENTS, handler, call, &why))
		api_unavailable(call, why);
}

/* Calls ff_<verb>_<object>, whose arguments the caller gives in their order. */
static void
write_object(api_call *call, const char *verb, const char *arguments, int count,
			 const char *const *params)
{
	char sql[256];
	pg_statement statement = {.sql = sql, .count = count};

	snprintf(sql, sizeof(sql), "SELECT d, d->>'version', d->>'key' FROM ff_%s_%s(%s) AS d", verb,
			 call->object == FFE_FLAG ? "flag" : "segment", arguments);
	memcpy(statement.params, params, sizeof(*params) * (size_t) count);
	run(call, &statement, take_written);
}

void
api_create(api_call *call)
{
	const char *body;

	if (!api_json_body(call, &body))
		return;
	write_object(call, "create", "$1::jsonb, $2", 2, (const char *const[]){body, call->name_space});
}

/* With a body, and the version that is expected. */
static void
change(api_call *call, const char *verb)
{
	char buffer[LONGEST_VERSION + 1];
	const char *body, *version;

	if (!api_json_body(call, &body) || !expected_version(call, buffer, &version))
		return;
	write_object(call, verb, "$1, $2::jsonb, $3::bigint, $4", 4,
				 (const char *const[]){call->key, body, version, call->name_space});
}

void
api_replace(api_call *call)
{
	change(call, "replace");
}

void
api_patch(api_call *call)
{
	change(call, "update");
}

/* Without a body. */
static void
act(api_call *call, const char *verb)
{
	char buffer[LONGEST_VERSION + 1];
	const char *version;

	if (!expected_version(call, buffer, &version))
		return;
	write_object(call, verb, "$1, $2::bigint, $3", 3,
				 (const char *const[]){call->key, version, call->name_space});
}

void
api_archive(api_call *call)
{
	act(call, "archive");
}

void
api_restore(api_call *call)
{
	act(call, "restore");
}

void
api_enable(api_call *call)
{
	act(call, "enable");
}

void
api_disable(api_call *call)
{
	act(call, "disable");
}

/* ---------- exposures ---------- */

static void
take_recorded(void *arg, PGresult *const *results, int count, const char *why)
{
	api_call *call = arg;
	text body = {0};

	if (!succeeded(call, results, count, why))
		return;
	text_adds(&body, PQgetvalue(results[WRITE_CALL], 0, 0));
	api_reply_text(call, 200, "application/json", &body);
}

/* The body is {"batch_id": …, "exposures": […]}; the function says what is wrong with either. */
void
api_record_exposures(api_call *call)
{
	const char *body;
	pg_statement statement = {
		.sql = "SELECT to_jsonb(r) FROM ff_record_exposures($1::jsonb->>'batch_id', "
			   "$1::jsonb->'exposures', $2) r",
		.count = 2};

	if (!api_json_body(call, &body))
		return;
	statement.params[0] = body;
	statement.params[1] = call->name_space;
	run(call, &statement, take_recorded);
}
