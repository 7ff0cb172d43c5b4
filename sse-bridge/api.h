/*
 * sse-bridge/api.h
 *	  The HTTP API: which request is answered by what.
 *
 * The bridge adds no rule of its own: what changes or looks into the past is one function of the
 * extension, whose errors are told as they are. Flags as they are now, and evaluation, come from
 * memory.
 */
#ifndef API_H
#define API_H

#include <libpq-fe.h>

#include "bridge.h"
#include "hub.h"
#include "text.h"

#define API_MAX_KEY 256

/* A request on its way through a route. It is freed when it is answered. */
typedef struct api_call
{
	bridge *bridge;
	http_request *request;
	int route; /* its number, for metrics */
	ffe_object object;
	char key[API_MAX_KEY]; /* "" where the path has none */
	const char *name_space;
} api_call;

/* The handler of all requests; arg is the bridge. */
extern void api_handle(void *arg, http_request *request);

/* Names of the routes by number, as metrics show them; NULL at the end. */
extern const char *api_route_name(int route);

/* ---------- answers (api_reply.c) ---------- */

/* Each ends the request, counts it, and frees the call. */
extern void api_reply(api_call *call, int status, const char *content_type, const char *body,
					  size_t len);

/* Answers with a text, which is freed; 503 where memory for it failed. */
extern void api_reply_text(api_call *call, int status, const char *content_type, text *body);

/* A problem of RFC 9457. detail may be NULL. */
extern void api_problem(api_call *call, int status, const char *title, const char *detail);

/* That of a parameter or a member of the body. */
extern void api_bad_request(api_call *call, const char *path, const char *detail);

/* What the database said. */
extern void api_database_problem(api_call *call, const PGresult *result);

/* It can't be asked now. */
extern void api_unavailable(api_call *call, const char *why);

/* Adds a header that tells how stale what comes from memory is, if it is. */
extern void api_add_staleness(api_call *call);

/* Answers an entry with its version as ETag, or 304. */
extern void api_reply_entry(api_call *call, int status, int64_t version, const char *definition,
							size_t len);

/* ---------- parameters ---------- */

/* A query parameter; NULL without one. False where it is malformed: the call is answered then. */
extern bool api_query(api_call *call, const char *name, const char **value);

/* A whole number from least to most; initial without one. False as above. */
extern bool api_query_number(api_call *call, const char *name, long long least, long long most,
							 long long initial, long long *value);

/* The body, of type JSON; false where it has another, or there is none: the call is answered then.
 */
extern bool api_json_body(api_call *call, const char **body);

/* The view of the namespace; NULL where there is none, or nothing is loaded: it is answered then.
 */
extern view *api_view(api_call *call);

/* ---------- routes ---------- */

typedef void (*api_handler)(api_call *call);

extern void api_list(api_call *call); /* api_read.c */
extern void api_get(api_call *call);
extern void api_audit(api_call *call);
extern void api_exposures(api_call *call);
extern void api_stream(api_call *call);
extern void api_create(api_call *call); /* api_write.c */
extern void api_replace(api_call *call);
extern void api_patch(api_call *call);
extern void api_archive(api_call *call);
extern void api_restore(api_call *call);
extern void api_enable(api_call *call);
extern void api_disable(api_call *call);
extern void api_record_exposures(api_call *call);
extern void api_evaluate(api_call *call); /* api_evaluate.c */
extern void api_evaluate_all(api_call *call);
extern void api_health(api_call *call); /* api_status.c */
extern void api_ready(api_call *call);
extern void api_metrics(api_call *call);
extern void api_openapi(api_call *call);

#endif /* API_H */
