/*
 * sse-bridge/api_read.c
 *	  Routes that read: from memory what is, from the database what was.
 */
#include "api.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "eventlog.h"
#include "pool.h"
#include "stream.h"

#define LIST_LIMIT 1000
#define MOST_KEYS 256 /* of a stream: each event is compared with each of them */

static const char *
object_name(ffe_object object)
{
	return object == FFE_FLAG ? "flag" : "segment";
}

/* ---------- from memory ---------- */

typedef struct list_writer
{
	text text;
	char last[API_MAX_KEY];
	bool is_first;
} list_writer;

static void
write_entry(void *arg, const flag_entry *entry)
{
	list_writer *writer = arg;

	text_adds(&writer->text, writer->is_first ? "\n" : ",\n");
	writer->is_first = false;
	text_add(&writer->text, entry->definition, entry->len);
	snprintf(writer->last, sizeof(writer->last), "%s", entry->key);
}

/* The parameters of this request, but for where the page begins. */
static void
add_parameter(text *to, const char *name, const char *value)
{
	if (value == NULL)
		return;
	text_addf(to, "%s%s=", to->len == 0 ? "" : "&", name);
	for (; *value != '\0'; value++)
	{
		if (strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~", *value) !=
			NULL)
			text_add(to, value, 1);
		else
			text_addf(to, "%%%02X", (unsigned char) *value);
	}
}

static void
add_next(api_call *call, const char *base, const text *query)
{
	if (!query->has_failed)
		http_add_header(call->request, "Link", "<%s?%s>; rel=\"next\"", base, query->bytes);
}

void
api_list(api_call *call)
{
	list_writer writer = {.is_first = true};
	flag_filter filter = {0};
	long long limit;
	view *view = api_view(call);

	if (view == NULL || !api_query(call, "state", &filter.state) ||
		!api_query(call, "search", &filter.search) || !api_query(call, "after", &filter.after) ||
		(call->object == FFE_FLAG &&
		 (!api_query(call, "tag", &filter.tag) || !api_query(call, "owner", &filter.owner))) ||
		!api_query_number(call, "limit", 1, LIST_LIMIT, 100, &limit))
		return;
	filter.limit = (unsigned) limit;
	api_add_staleness(call);
	text_addf(&writer.text, "{\"%ss\":[", object_name(call->object));
	if (flags_list(view->flags, call->object, &filter, write_entry, &writer))
	{
		text query = {0};
		char number[24];

		snprintf(number, sizeof(number), "%lld", limit);
		add_parameter(&query, "namespace", call->name_space);
		add_parameter(&query, "state", filter.state);
		add_parameter(&query, "tag", filter.tag);
		add_parameter(&query, "owner", filter.owner);
		add_parameter(&query, "search", filter.search);
		add_parameter(&query, "limit", number);
		add_parameter(&query, "after", writer.last);
		add_next(call, call->object == FFE_FLAG ? "/flags" : "/segments", &query);
		text_free(&query);
	}
	text_adds(&writer.text, "]}\n");
	api_reply_text(call, 200, "application/json", &writer.text);
}

void
api_get(api_call *call)
{
	view *view = api_view(call);
	flag_entry entry;

	if (view == NULL)
		return;
	api_add_staleness(call);
	if (flags_get(view->flags, call->object, call->key, &entry))
		api_reply_entry(call, 200, entry.version, entry.definition, entry.len);
	else
		api_problem(call, 404, "Not found",
					call->object == FFE_FLAG ? "There is no flag of this key."
											 : "There is no segment of this key.");
}

static unsigned
count_commas(const char *text)
{
	unsigned count = 0;

	for (; *text != '\0'; text++)
		count += *text == ',';
	return count;
}

void
api_stream(api_call *call)
{
	const char *keys, *prefix, *last;
	view *view;

	if (!api_query(call, "keys", &keys) || !api_query(call, "prefix", &prefix) ||
		!api_query(call, "last_event_id", &last))
		return;

	/* 503 would be the end for a browser that comes back to a bridge that has just started */
	if (!hub_is_loaded(call->bridge->hub))
	{
		call->bridge->metrics.requests[call->route][2]++;
		stream_put_off(call->bridge, call->request);
		free(call);
		return;
	}
	view = api_view(call);
	if (view == NULL)
		return;
	if (keys != NULL && count_commas(keys) >= MOST_KEYS)
	{
		api_bad_request(call, "keys", "These are too many keys: 256 at most.");
		return;
	}
	if (http_header(call->request, "Last-Event-ID") != NULL)
		last = http_header(call->request, "Last-Event-ID");
	call->bridge->metrics.requests[call->route][2]++;
	stream_open(call->bridge, call->request, view, last, keys, prefix);
	free(call);
}

/* ---------- from the database ---------- */

/* The result of the only statement that matters, the last one; NULL: it is answered. */
static const PGresult *
last_result(api_call *call, PGresult *const *results, int count, const char *why)
{
	if (count == 0)
	{
		api_unavailable(call, why);
		return NULL;
	}
	for (int i = 0; i < count; i++)
	{
		ExecStatusType status = PQresultStatus(results[i]);

		if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
			continue;
		api_database_problem(call, results[i]);
		return NULL;
	}
	return results[count - 1];
}

static void
ask(api_call *call, const pg_statement *statement, pool_handler handler)
{
	char timeout[24];
	const pg_statement statements[] = {{.sql = SQL_PATH},
									   {.sql = "SELECT set_config('statement_timeout', $1, true)",
										.count = 1,
										.params = {timeout}},
									   *statement};
	const char *why;

	snprintf(timeout, sizeof(timeout), "%u", call->bridge->config.statement_timeout);
	if (!pool_run(call->bridge->pool, statements, 3, handler, call, &why))
		api_unavailable(call, why);
}

static void
take_audit(void *arg, PGresult *const *results, int count, const char *why)
{
	api_call *call = arg;
	const PGresult *result = last_result(call, results, count, why);
	long long limit;
	text query = {0};
	text body = {0};

	if (result == NULL || !api_query_number(call, "limit", 1, LIST_LIMIT, 100, &limit))
		return;
	if (strcmp(PQgetvalue(result, 0, 1), "0") == 0 &&
		http_query(call->request, "after", NULL) == NULL)
	{
		api_problem(call, 404, "Not found", "Nothing of this key has ever been in the log.");
		return;
	}
	if (atoll(PQgetvalue(result, 0, 1)) == limit)
	{
		char base[API_MAX_KEY + 32], number[24];

		snprintf(base, sizeof(base), "/%ss/%s/audit", object_name(call->object), call->key);
		snprintf(number, sizeof(number), "%lld", limit);
		add_parameter(&query, "namespace", call->name_space);
		add_parameter(&query, "limit", number);
		add_parameter(&query, "after", PQgetvalue(result, 0, 2));
		add_next(call, base, &query);
		text_free(&query);
	}
	text_adds(&body, PQgetvalue(result, 0, 0));
	api_reply_text(call, 200, "application/json", &body);
}

void
api_audit(api_call *call)
{
	long long limit, after;
	char limit_text[24], after_text[24];
	const pg_statement statement = {
		.sql =
			"SELECT jsonb_build_object('events', coalesce(jsonb_agg(to_jsonb(a) ORDER BY "
			"event_id), "
			"'[]')), count(*), max(event_id) FROM ff_audit($1, $2::integer, $3::bigint, $4, $5) a",
		.count = 5,
		.params = {call->key, limit_text, after_text, call->name_space, object_name(call->object)}};

	if (!api_query_number(call, "limit", 1, LIST_LIMIT, 100, &limit) ||
		!api_query_number(call, "after", 0, INT64_MAX, 0, &after))
		return;
	snprintf(limit_text, sizeof(limit_text), "%lld", limit);
	snprintf(after_text, sizeof(after_text), "%lld", after);
	ask(call, &statement, take_audit);
}

static void
take_exposures(void *arg, PGresult *const *results, int count, const char *why)
{
	api_call *call = arg;
	const PGresult *result = last_result(call, results, count, why);

	if (result == NULL)
		return;
	if (PQgetisnull(result, 0, 0))
		api_problem(call, 404, "Not found", "There is no flag of this key.");
	else
		api_reply(call, 200, "application/json", PQgetvalue(result, 0, 0),
				  (size_t) PQgetlength(result, 0, 0));
}

void
api_exposures(api_call *call)
{
	const char *since, *until;
	pg_statement statement = {.sql =
								  "SELECT ff_exposures($1, $2::timestamptz, $3::timestamptz, $4)",
							  .count = 4,
							  .params = {call->key, NULL, NULL, call->name_space}};

	if (!api_query(call, "since", &since) || !api_query(call, "until", &until))
		return;
	statement.params[1] = since;
	statement.params[2] = until;
	ask(call, &statement, take_exposures);
}
