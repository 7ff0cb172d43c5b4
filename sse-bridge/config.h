/*
 * sse-bridge/config.h
 *	  What the bridge is told: by a file, by the environment, by the command line; the later wins.
 *
 * Each option has one name. It is --some-option on the command line, SSE_BRIDGE_SOME_OPTION in the
 * environment, and some-option = value in the file. What connects to the database is libpq's own
 * matter: PG* variables, service and password files hold.
 */
#ifndef CONFIG_H
#define CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#include "http.h"
#include "log.h"

/* All times in milliseconds, all sizes in bytes. */
typedef struct config
{
	/* where it serves */
	char *listen; /* host:port */

	/* the database */
	char *database;       /* libpq's connection string; "" leaves all to the environment */
	char *write_database; /* the same, for writes; NULL: as database */
	unsigned pool_size;   /* connections for API calls */
	unsigned pool_queue;  /* calls that wait for one, at most */
	unsigned statement_timeout;
	unsigned poll_interval; /* where notifications don't come */

	/* clients */
	http_limits limits;
	unsigned max_streams;
	unsigned keepalive;
	unsigned retry_least;
	unsigned retry_most;
	unsigned max_stream_age; /* 0: none */
	size_t ring_size;        /* of each namespace */
	size_t max_lag;          /* bytes that a stream may be behind */
	unsigned catch_up;       /* events read again for a stream that is further behind, at most */
	unsigned catch_up_wait;  /* for the log, before a snapshot is sent instead */
	unsigned drain_timeout;

	/* exposures */
	unsigned exposure_interval;
	unsigned exposure_count;
	unsigned exposure_buffer; /* entries, at most */
	char *exposure_sink_url;
	char *exposure_sink_secret_file;

	/* the log */
	log_level log_level;
	bool log_json;

	char *file;      /* that it was read from; NULL: none */
	bool check_only; /* --check-config */
} config;

/* What config_load came to. */
typedef enum config_result
{
	CONFIG_OK,
	CONFIG_DONE, /* it was asked for help or the version, and said it */
	CONFIG_WRONG /* said on stderr */
} config_result;

/*
 * Reads all three into *config, whose strings belong to it. argv may be permuted. Ownership: end
 * with config_free, whatever the result.
 */
extern config_result config_load(config *config, int argc, char **argv);
extern void config_free(config *config);

/*
 * Reads file and environment again, and takes over what can change while it runs; logs what can't.
 * On an error nothing changes, and false is returned.
 */
extern bool config_reload(config *config, int argc, char **argv);

#endif /* CONFIG_H */
