/*
 * sse-bridge/api.c
 *	  Routes: from path and method to who answers.
 */
#include "api.h"

#include <stdlib.h>
#include <string.h>

#include "http_text.h"

typedef struct route
{
	const char *method;
	const char *path; /* "*" stands for a key */
	ffe_object object;
	api_handler handler;
} route;

static const route routes[] = {
	{"GET", "/flags", FFE_FLAG, api_list},
	{"POST", "/flags", FFE_FLAG, api_create},
	{"GET", "/flags/*", FFE_FLAG, api_get},
	{"PUT", "/flags/*", FFE_FLAG, api_replace},
	{"PATCH", "/flags/*", FFE_FLAG, api_patch},
	{"DELETE", "/flags/*", FFE_FLAG, api_archive},
	{"POST", "/flags/*/restore", FFE_FLAG, api_restore},
	{"POST", "/flags/*/enable", FFE_FLAG, api_enable},
	{"POST", "/flags/*/disable", FFE_FLAG, api_disable},
	{"GET", "/flags/*/audit", FFE_FLAG, api_audit},
	{"GET", "/flags/*/exposures", FFE_FLAG, api_exposures},
	{"GET", "/segments", FFE_SEGMENT, api_list},
	{"POST", "/segments", FFE_SEGMENT, api_create},
	{"GET", "/segments/*", FFE_SEGMENT, api_get},
	{"PUT", "/segments/*", FFE_SEGMENT, api_replace},
	{"PATCH", "/segments/*", FFE_SEGMENT, api_patch},
	{"DELETE", "/segments/*", FFE_SEGMENT, api_archive},
	{"POST", "/segments/*/restore", FFE_SEGMENT, api_restore},
	{"GET", "/segments/*/audit", FFE_SEGMENT, api_audit},
	{"POST", "/exposures", FFE_FLAG, api_record_exposures},
	{"POST", "/evaluate", FFE_FLAG, api_evaluate_all},
	{"POST", "/evaluate/*", FFE_FLAG, api_evaluate},
	{"GET", "/stream", FFE_FLAG, api_stream},
	{"GET", "/healthz", FFE_FLAG, api_health},
	{"GET", "/readyz", FFE_FLAG, api_ready},
	{"GET", "/metrics", FFE_FLAG, api_metrics},
	{"GET", "/openapi.json", FFE_FLAG, api_openapi},
};

#define ROUTES ((int) (sizeof(routes) / sizeof(routes[0])))
#define OTHER_ROUTE ROUTES /* for metrics: what matches none */

_Static_assert(sizeof(routes) / sizeof(routes[0]) < METRIC_ROUTES, "metrics count each route");

const char *
api_route_name(int number)
{
	static char name[64];

	if (number > OTHER_ROUTE)
		return NULL;
	if (number == OTHER_ROUTE)
		return "other";
	strcpy(name, routes[number].method);
	strcat(name, " ");
	return strcat(name, routes[number].path);
}

/* ---------- matching ---------- */

/* Bytes of a segment of a path, up to the next slash. */
static size_t
segment_len(const char *path)
{
	return strcspn(path, "/");
}

/* Whether a path is that of a route; then key and its length are what stands for "*". */
static bool
path_matches(const char *pattern, const char *path, const char **key, size_t *key_len)
{
	while (*pattern == '/' && *path == '/')
	{
		size_t wanted = segment_len(++pattern);
		size_t len = segment_len(++path);

		if (wanted == 1 && *pattern == '*')
		{
			*key = path;
			*key_len = len;
		}
		else if (wanted != len || memcmp(pattern, path, len) != 0)
			return false;
		pattern += wanted;
		path += len;
	}
	return *pattern == '\0' && *path == '\0';
}

/* GET routes answer HEAD, too; the HTTP layer leaves the body out. */
static bool
method_matches(const route *route, const char *method)
{
	return strcmp(route->method, method) == 0 ||
		   (strcmp(method, "HEAD") == 0 && strcmp(route->method, "GET") == 0);
}

/* The methods that a path has, for Allow; "" where there is no such path. */
static void
allowed_methods(const char *path, text *allow)
{
	for (int i = 0; i < ROUTES; i++)
	{
		const char *key;
		size_t len;

		if (!path_matches(routes[i].path, path, &key, &len))
			continue;
		text_addf(allow, "%s%s", allow->len == 0 ? "OPTIONS, " : ", ", routes[i].method);
		if (strcmp(routes[i].method, "GET") == 0)
			text_adds(allow, ", HEAD");
	}
}

static void
answer_without_route(api_call *call, const char *path)
{
	text allow = {0};

	allowed_methods(path, &allow);
	if (strcmp(http_method(call->request), "OPTIONS") == 0 && (allow.len > 0 || *path == '*'))
	{
		http_add_header(call->request, "Allow", "%s",
						allow.len > 0 ? allow.bytes
									  : "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
		api_reply(call, 204, NULL, NULL, 0);
	}
	else if (allow.len > 0)
	{
		http_add_header(call->request, "Allow", "%s", allow.bytes);
		api_problem(call, 405, "Method not allowed", "Allow names the methods of this path.");
	}
	else
		api_problem(call, 404, "Not found", "/openapi.json tells which paths there are.");
	text_free(&allow);
}

/* The key in a path. One that no flag can have is none. */
static bool
decode_key(api_call *call, const char *key, size_t len)
{
	char decoded[3 * API_MAX_KEY];

	if (len == 0 || len >= sizeof(decoded) || !http_decode(key, len, false, decoded) ||
		!ffe_valid_key(decoded, strlen(decoded)))
	{
		api_problem(
			call, 404, "Not found",
			"A key has letters, digits, '.', '_' and '-', begins with a letter or digit, and "
			"is 255 bytes long at most.");
		return false;
	}
	strcpy(call->key, decoded);
	return true;
}

/* ---------- who may ask ---------- */

/*
 * As long as there are no keys, the bridge is for this machine alone; but a browser on it may be
 * led here by a name that somebody else made point here. Such a request names another host.
 */
static bool
is_own_host(const char *host)
{
	static const char *const names[] = {"localhost", "127.0.0.1", "[::1]"};

	for (size_t i = 0; host != NULL && i < sizeof(names) / sizeof(names[0]); i++)
	{
		size_t len = strlen(names[i]);

		if (strncasecmp(host, names[i], len) == 0 && (host[len] == '\0' || host[len] == ':'))
			return true;
	}
	return host == NULL;
}

/*
 * A page of another site can have a browser on this machine send requests, though it can't read the
 * answers: such a request says where it comes from.
 */
static bool
is_cross_site(const http_request *request)
{
	const char *origin = http_header(request, "Origin");
	const char *host = http_header(request, "Host");
	const char *site = http_header(request, "Sec-Fetch-Site");

	if (site != NULL && strcmp(site, "same-origin") != 0 && strcmp(site, "none") != 0)
		return true;
	return origin != NULL &&
		   (host == NULL || strncmp(origin, "http://", 7) != 0 || strcmp(origin + 7, host) != 0);
}

/* Requests that change nothing; what they answer is kept from other sites by the browser. */
static bool
is_safe_method(const char *method)
{
	return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0 ||
		   strcmp(method, "OPTIONS") == 0;
}

static void
dispatch(api_call *call, const char *path)
{
	const char *method = http_method(call->request);

	for (int i = 0; i < ROUTES; i++)
	{
		const char *key = NULL;
		size_t len = 0;

		if (!method_matches(&routes[i], method) || !path_matches(routes[i].path, path, &key, &len))
			continue;
		call->route = i;
		call->object = routes[i].object;
		if (key != NULL && !decode_key(call, key, len))
			return;
		if (!api_query(call, "namespace", &call->name_space))
			return;
		if (call->name_space == NULL)
			call->name_space = "default";
		routes[i].handler(call);
		return;
	}
	answer_without_route(call, path);
}

void
api_handle(void *arg, http_request *request)
{
	api_call *call = calloc(1, sizeof(*call));

	if (call == NULL)
	{
		http_reply(request, 503, NULL, NULL, 0);
		return;
	}
	call->bridge = arg;
	call->request = request;
	call->route = OTHER_ROUTE;
	if (!is_safe_method(http_method(request)) && is_cross_site(request))
		api_problem(call, 403, "Forbidden", "Pages of other sites may not change anything here.");
	else if (is_own_host(http_header(request, "Host")))
		dispatch(call, http_path(request));
	else
		api_problem(call, 421, "Misdirected request",
					"Without API keys, requests must name this machine as their host: localhost, "
					"127.0.0.1 or [::1].");
}
