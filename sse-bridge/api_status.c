/*
 * sse-bridge/api_status.c
 *	  How the bridge is: health, metrics, and what its API is.
 */
#include "api.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "exposures.h"
#include "follower.h"
#include "forward.h"
#include "pool.h"
#include "stream.h"

/* The document is a file of the source, and part of the program. */
__asm__(".section .rodata\n"
		".global ff_openapi_begin\n.global ff_openapi_end\n"
		"ff_openapi_begin:\n.incbin \"" FF_OPENAPI_FILE
		"\"\nff_openapi_end:\n.byte 0\n.previous\n");
extern const char ff_openapi_begin[];
extern const char ff_openapi_end[];

void
api_openapi(api_call *call)
{
	api_reply(call, 200, "application/json", ff_openapi_begin,
			  (size_t) (ff_openapi_end - ff_openapi_begin));
}

/* It lives, whatever the database does: who asks restarts what answers otherwise. */
void
api_health(api_call *call)
{
	static const char body[] = "{\"status\":\"ok\"}\n";

	api_reply(call, 200, "application/json", body, sizeof(body) - 1);
}

/* Ready is who has flags to serve, however old they are: that is told, and for whoever asks to
 * judge. */
void
api_ready(api_call *call)
{
	const bridge *bridge = call->bridge;
	uint64_t age = follower_age(bridge->follower);
	bool is_ready = hub_is_loaded(bridge->hub) && !bridge->is_draining;
	char ref[EVENT_REF_SIZE];
	text body = {0};

	text_addf(&body, "{\"status\":\"%s\",\"database\":\"%s\",\"follower\":\"%s\",\"polling\":%s,",
			  is_ready              ? "ready"
			  : bridge->is_draining ? "draining"
									: "loading",
			  follower_is_current(bridge->follower) ? "connected" : "away",
			  follower_state_name(follower_state_of(bridge->follower)),
			  follower_is_polling(bridge->follower) ? "true" : "false");
	text_addf(&body,
			  "\"event_id\":\"%s\",\"stale_seconds\":", event_ref_text(hub_head(bridge->hub), ref));
	if (age == UINT64_MAX)
		text_adds(&body, "null}\n");
	else
		text_addf(&body, "%" PRIu64 "}\n", follower_is_current(bridge->follower) ? 0 : age / 1000);
	api_reply_text(call, is_ready ? 200 : 503, "application/json", &body);
}

/* ---------- metrics ---------- */

static void
write_one(text *to, const char *name, const char *type, const char *help, double value)
{
	metric_write_head(to, name, type, help);
	metric_write(to, name, "", value);
}

static uint64_t
waiting_bytes(const bridge *bridge)
{
	uint64_t bytes = 0;

	for (view *one = hub_first_view(bridge->hub); one != NULL; one = one->next)
		bytes += streams_lag(one);
	return bytes;
}

static void
write_streams(text *to, const bridge *bridge)
{
	static const char *const ends[STREAM_ENDS] = {"client", "lag", "age", "drain", "shed", "reset"};
	const metrics *m = &bridge->metrics;

	write_one(to, "ff_bridge_streams", "gauge", "Streams that are open.", m->streams);
	write_one(to, "ff_bridge_streams_opened_total", "counter", "Streams that were opened.",
			  (double) m->streams_opened);
	metric_write_head(to, "ff_bridge_streams_ended_total", "counter",
					  "Streams that ended, by reason.");
	for (int i = 0; i < STREAM_ENDS; i++)
	{
		char label[64];

		snprintf(label, sizeof(label), "reason=\"%s\"", ends[i]);
		metric_write(to, "ff_bridge_streams_ended_total", label, (double) m->streams_ended[i]);
	}
	metric_write_head(to, "ff_bridge_stream_starts_total", "counter",
					  "How streams began: with a snapshot, or resumed.");
	metric_write(to, "ff_bridge_stream_starts_total", "from=\"snapshot\"",
				 (double) m->snapshots_sent);
	metric_write(to, "ff_bridge_stream_starts_total", "from=\"ring\"",
				 (double) m->resumed_from_ring);
	metric_write(to, "ff_bridge_stream_starts_total", "from=\"log\"", (double) m->resumed_from_log);
	write_one(to, "ff_bridge_stream_bytes_total", "counter", "Bytes sent on streams.",
			  (double) m->stream_bytes);
	write_one(to, "ff_bridge_stream_queue_bytes", "gauge",
			  "Bytes that streams have not taken yet, of all together.",
			  (double) waiting_bytes(bridge));
}

static void
write_database(text *to, const bridge *bridge)
{
	const metrics *m = &bridge->metrics;
	uint64_t age = follower_age(bridge->follower);

	write_one(to, "ff_bridge_events_total", "counter", "Events taken from the log.",
			  (double) m->events);
	write_one(to, "ff_bridge_event_id", "gauge", "Number of the newest event.",
			  (double) hub_head(bridge->hub).id);
	metric_write_histogram(to, "ff_bridge_broadcast_lag_seconds",
						   "From the commit of an event to its broadcast.", &m->broadcast_lag);
	write_one(to, "ff_bridge_database_up", "gauge", "Whether the log is being followed.",
			  follower_is_current(bridge->follower));
	write_one(to, "ff_bridge_database_polling", "gauge",
			  "Whether the log is polled, because notifications don't come.",
			  follower_is_polling(bridge->follower));
	write_one(to, "ff_bridge_database_age_seconds", "gauge",
			  "Time since the log was last read to its end; -1: never.",
			  age == UINT64_MAX ? -1 : (double) age / 1000);
	write_one(to, "ff_bridge_database_connects_total", "counter", "Connections of the follower.",
			  (double) m->connects);
	write_one(to, "ff_bridge_database_losses_total", "counter", "Connections that it lost.",
			  (double) m->losses);
	write_one(to, "ff_bridge_loads_total", "counter", "Times that all flags were loaded.",
			  (double) m->loads);
	write_one(to, "ff_bridge_pool_ready", "gauge", "Connections for API calls that are open.",
			  pool_ready(bridge->pool));
	write_one(to, "ff_bridge_pool_waiting", "gauge", "API calls that wait for a connection.",
			  pool_waiting(bridge->pool));
	write_one(to, "ff_bridge_shed_total", "counter",
			  "API calls answered 503 because too many waited.", (double) m->shed);
}

static void
write_requests(text *to, const bridge *bridge)
{
	const metrics *m = &bridge->metrics;
	const char *route;

	metric_write_head(to, "ff_bridge_requests_total", "counter",
					  "Requests by route and class of status.");
	for (int i = 0; (route = api_route_name(i)) != NULL; i++)
	{
		for (int s = 1; s < METRIC_STATUSES; s++)
		{
			char label[128];

			if (m->requests[i][s] == 0)
				continue;
			snprintf(label, sizeof(label), "route=\"%s\",status=\"%dxx\"", route, s);
			metric_write(to, "ff_bridge_requests_total", label, (double) m->requests[i][s]);
		}
	}
	metric_write_histogram(to, "ff_bridge_request_seconds",
						   "From the end of a request to its answer; without streams.",
						   &m->request_time);
}

static void
write_connections(text *to, const bridge *bridge)
{
	static const char *const reasons[HTTP_CLOSE_REASONS] = {"client", "done",  "timeout",
															"error",  "limit", "server"};
	const http_counters *counters = http_server_counters(bridge->server);

	write_one(to, "ff_bridge_connections", "gauge", "Client connections, those of streams too.",
			  counters->connections);
	write_one(to, "ff_bridge_connections_accepted_total", "counter", "Client connections accepted.",
			  (double) counters->accepted);
	write_one(to, "ff_bridge_connections_refused_total", "counter",
			  "Client connections answered 503 because there were too many.",
			  (double) counters->refused_connections);
	write_one(to, "ff_bridge_bad_requests_total", "counter", "Requests that were no good HTTP.",
			  (double) counters->bad_requests);
	metric_write_head(to, "ff_bridge_connections_closed_total", "counter",
					  "Client connections closed, by reason.");
	for (int i = 0; i < HTTP_CLOSE_REASONS; i++)
	{
		char label[64];

		snprintf(label, sizeof(label), "reason=\"%s\"", reasons[i]);
		metric_write(to, "ff_bridge_connections_closed_total", label, (double) counters->closed[i]);
	}
}

static void
write_exposures(text *to, const bridge *bridge)
{
	const metrics *m = &bridge->metrics;

	write_one(to, "ff_bridge_exposures_noted_total", "counter",
			  "Evaluations here that exposed somebody.", (double) m->exposures_noted);
	write_one(to, "ff_bridge_exposures_written_total", "counter",
			  "Exposures written to the database.", (double) m->exposures_written);
	write_one(to, "ff_bridge_exposures_dropped_total", "counter",
			  "Exposures lost: the buffer was full, or they were refused.",
			  (double) m->exposures_dropped);
	write_one(to, "ff_bridge_exposures_waiting", "gauge", "Exposures that are not written yet.",
			  exposures_pending(bridge->exposures));
	write_one(to, "ff_bridge_exposure_failures_total", "counter",
			  "Attempts to write exposures that failed.", (double) m->exposure_failures);
	if (bridge->forward == NULL)
		return;
	write_one(to, "ff_bridge_forwarded_total", "counter", "Exposures forwarded.",
			  (double) m->forwarded);
	write_one(to, "ff_bridge_forward_failures_total", "counter",
			  "Attempts to forward exposures that failed.", (double) m->forward_failures);
	write_one(to, "ff_bridge_forward_lag", "gauge", "Exposures that are not forwarded yet.",
			  (double) forward_lag(bridge->forward));
}

static void
write_process(text *to)
{
	struct rusage usage;
	long pages = 0;
	FILE *statm = fopen("/proc/self/statm", "r");

	if (statm != NULL && fscanf(statm, "%*d %ld", &pages) != 1)
		pages = 0;
	if (statm != NULL)
		fclose(statm);
	write_one(to, "process_resident_memory_bytes", "gauge", "Resident memory.",
			  (double) pages * (double) sysconf(_SC_PAGESIZE));
	if (getrusage(RUSAGE_SELF, &usage) == 0)
		write_one(to, "process_cpu_seconds_total", "counter", "Processor time.",
				  (double) (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
					  (double) (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
}

void
api_metrics(api_call *call)
{
	text body = {0};

	write_streams(&body, call->bridge);
	write_database(&body, call->bridge);
	write_requests(&body, call->bridge);
	write_connections(&body, call->bridge);
	write_exposures(&body, call->bridge);
	write_process(&body);
	api_reply_text(call, 200, "text/plain; version=0.0.4; charset=utf-8", &body);
}
