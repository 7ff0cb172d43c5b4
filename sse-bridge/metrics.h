/*
 * sse-bridge/metrics.h
 *	  What is counted, for GET /metrics: counters that modules add to themselves.
 */
#ifndef METRICS_H
#define METRICS_H

#include <stdint.h>

#include "text.h"

#define METRIC_ROUTES 32
#define METRIC_STATUSES 6 /* 1xx to 5xx; 0 is not used */
#define METRIC_BUCKETS 14

/* A histogram of seconds. */
typedef struct metric_histogram
{
	uint64_t buckets[METRIC_BUCKETS]; /* each alone; the last one is above all bounds */
	double sum;
	uint64_t count;
} metric_histogram;

typedef enum stream_end
{
	STREAM_ENDED_BY_CLIENT,
	STREAM_ENDED_LAG,
	STREAM_ENDED_AGE,
	STREAM_ENDED_DRAIN,
	STREAM_ENDED_SHED,  /* there were too many */
	STREAM_ENDED_RESET, /* the log's history changed under it */
	STREAM_ENDS
} stream_end;

typedef struct metrics
{
	/* streams */
	uint64_t streams_opened;
	uint64_t streams_ended[STREAM_ENDS];
	unsigned streams;
	uint64_t snapshots_sent;
	uint64_t resumed_from_ring;
	uint64_t resumed_from_log;
	uint64_t stream_bytes;

	/* the follower */
	uint64_t events;
	uint64_t loads;
	uint64_t connects;
	uint64_t losses;
	metric_histogram broadcast_lag; /* from commit to the ring */

	/* API */
	uint64_t requests[METRIC_ROUTES][METRIC_STATUSES];
	metric_histogram request_time;
	uint64_t shed; /* calls answered 503 because too many waited */

	/* exposures */
	uint64_t exposures_noted;
	uint64_t exposures_written;
	uint64_t exposures_dropped;
	uint64_t exposure_failures;
	uint64_t forwarded;
	uint64_t forward_failures;
} metrics;

extern void metric_observe(metric_histogram *histogram, double seconds);

/* Adds lines in Prometheus' text format. labels is "" or like route="/flags". */
extern void metric_write_head(text *to, const char *name, const char *type, const char *help);
extern void metric_write(text *to, const char *name, const char *labels, double value);
extern void metric_write_histogram(text *to, const char *name, const char *help,
								   const metric_histogram *histogram);

#endif /* METRICS_H */
