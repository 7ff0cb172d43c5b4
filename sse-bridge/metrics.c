/*
 * sse-bridge/metrics.c
 *	  Counting, and Prometheus' text format.
 */
#include "metrics.h"

static const double bounds[METRIC_BUCKETS - 1] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
												  0.25,  0.5,    1,     2.5,  5,     10};

void
metric_observe(metric_histogram *histogram, double seconds)
{
	int i = 0;

	if (seconds < 0)
		seconds = 0; /* clocks differ */
	while (i < METRIC_BUCKETS - 1 && seconds > bounds[i])
		i++;
	histogram->buckets[i]++;
	histogram->sum += seconds;
	histogram->count++;
}

void
metric_write_head(text *to, const char *name, const char *type, const char *help)
{
	text_addf(to, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void
metric_write(text *to, const char *name, const char *labels, double value)
{
	text_addf(to, *labels == '\0' ? "%s%s %.17g\n" : "%s{%s} %.17g\n", name, labels, value);
}

void
metric_write_histogram(text *to, const char *name, const char *help,
					   const metric_histogram *histogram)
{
	uint64_t count = 0;

	metric_write_head(to, name, "histogram", help);
	for (int i = 0; i < METRIC_BUCKETS; i++)
	{
		count += histogram->buckets[i];
		if (i < METRIC_BUCKETS - 1)
			text_addf(to, "%s_bucket{le=\"%g\"} %llu\n", name, bounds[i],
					  (unsigned long long) count);
		else
			text_addf(to, "%s_bucket{le=\"+Inf\"} %llu\n", name, (unsigned long long) count);
	}
	text_addf(to, "%s_sum %.9g\n%s_count %llu\n", name, histogram->sum, name,
			  (unsigned long long) histogram->count);
}
