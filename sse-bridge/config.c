/*
 * sse-bridge/config.c
 *	  Options from a file, the environment and the command line: one table tells of all.
 */
#include "config.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <libpq-fe.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum option_kind
{
	OPTION_STRING,
	OPTION_COUNT,
	OPTION_TIME, /* ms, s, min, h; without a unit: seconds */
	OPTION_SIZE, /* B, kB, MB, GB; without a unit: bytes */
	OPTION_LEVEL,
	OPTION_FORMAT
} option_kind;

typedef struct option_info
{
	const char *name;
	option_kind kind;
	size_t place; /* in config */
	const char *initial;
	bool changes; /* by SIGHUP */
	const char *help;
} option_info;

#define PLACE(member) offsetof(config, member)

static const option_info options[] = {
	{"listen", OPTION_STRING, PLACE(listen), "127.0.0.1:8080", false,
	 "address and port to serve on"},
	{"database", OPTION_STRING, PLACE(database), "", false,
	 "connection string of libpq; PG* variables and service files hold"},
	{"write-database", OPTION_STRING, PLACE(write_database), NULL, false,
	 "the same for writes, where --database is a standby"},
	{"pool-size", OPTION_COUNT, PLACE(pool_size), "4", false, "database connections for API calls"},
	{"pool-queue", OPTION_COUNT, PLACE(pool_queue), "256", true,
	 "calls that wait for one; more are answered 503"},
	{"statement-timeout", OPTION_TIME, PLACE(statement_timeout), "10s", true,
	 "longest time that an API call may take in the database"},
	{"poll-interval", OPTION_TIME, PLACE(poll_interval), "250ms", true,
	 "how often to look for events where notifications don't come"},
	{"max-connections", OPTION_COUNT, PLACE(limits.max_connections), "20000", true,
	 "clients at once, streams among them"},
	{"max-per-address", OPTION_COUNT, PLACE(limits.max_per_address), "0", true,
	 "clients at once from one address; 0: no limit"},
	{"max-header", OPTION_SIZE, PLACE(limits.max_header), "16kB", true, "longest request head"},
	{"max-body", OPTION_SIZE, PLACE(limits.max_body), "2MB", true, "longest request body"},
	{"header-timeout", OPTION_TIME, PLACE(limits.header_timeout), "10s", true,
	 "longest time for a request's head"},
	{"body-timeout", OPTION_TIME, PLACE(limits.body_timeout), "30s", true,
	 "longest time for a request's body"},
	{"idle-timeout", OPTION_TIME, PLACE(limits.idle_timeout), "75s", true,
	 "how long a connection is kept without a request"},
	{"write-timeout", OPTION_TIME, PLACE(limits.write_timeout), "30s", true,
	 "how long a client may take nothing of an answer"},
	{"max-streams", OPTION_COUNT, PLACE(max_streams), "15000", true,
	 "streams at once; more are told to come back later"},
	{"keepalive", OPTION_TIME, PLACE(keepalive), "15s", true, "time between comments on a stream"},
	{"retry-least", OPTION_TIME, PLACE(retry_least), "1s", true,
	 "least time that a client is told to wait before it reconnects"},
	{"retry-most", OPTION_TIME, PLACE(retry_most), "5s", true, "longest such time"},
	{"max-stream-age", OPTION_TIME, PLACE(max_stream_age), "1h", true,
	 "age at which a stream is ended, give or take a fifth; 0: never"},
	{"ring-size", OPTION_SIZE, PLACE(ring_size), "4MB", false,
	 "events kept in memory for each namespace"},
	{"max-lag", OPTION_SIZE, PLACE(max_lag), "1MB", true,
	 "how far a stream may be behind before it is closed"},
	{"catch-up", OPTION_COUNT, PLACE(catch_up), "10000", true,
	 "missed events that are read from the log for a client; behind more it gets a snapshot"},
	{"catch-up-wait", OPTION_TIME, PLACE(catch_up_wait), "5s", true,
	 "how long a client waits for events that can't be had now, before it gets a snapshot instead"},
	{"drain-timeout", OPTION_TIME, PLACE(drain_timeout), "10s", true,
	 "time over which streams are ended at SIGTERM"},
	{"exposure-interval", OPTION_TIME, PLACE(exposure_interval), "10s", true,
	 "how often exposures are written"},
	{"exposure-count", OPTION_COUNT, PLACE(exposure_count), "100", true,
	 "exposures after which they are written at once"},
	{"exposure-buffer", OPTION_COUNT, PLACE(exposure_buffer), "100000", true,
	 "exposures kept while the database is away; more are dropped, and counted"},
	{"exposure-sink-url", OPTION_STRING, PLACE(exposure_sink_url), NULL, false,
	 "where rows of ff.exposures are forwarded to"},
	{"exposure-sink-secret-file", OPTION_STRING, PLACE(exposure_sink_secret_file), NULL, false,
	 "file with the secret that signs them"},
	{"log-level", OPTION_LEVEL, PLACE(log_level), "info", true, "debug, info, warning or error"},
	{"log-format", OPTION_FORMAT, PLACE(log_json), "logfmt", true, "logfmt or json"},
};

#define OPTIONS (sizeof(options) / sizeof(options[0]))

/* Those that are about the others, after them in getopt's table. */
enum
{
	OPTION_CONFIG = OPTIONS,
	OPTION_CHECK,
	OPTION_HELP,
	OPTION_VERSION
};

/* ---------- values ---------- */

typedef struct unit
{
	const char *name;
	uint64_t factor;
} unit;

static const unit time_units[] = {{"", 1000},     {"ms", 1},      {"s", 1000},
								  {"min", 60000}, {"h", 3600000}, {NULL, 0}};
static const unit size_units[] = {{"", 1},         {"B", 1},        {"kB", 1 << 10},
								  {"MB", 1 << 20}, {"GB", 1 << 30}, {NULL, 0}};
static const unit no_units[] = {{"", 1}, {NULL, 0}};

/* A whole number with one of the units; false where it is none, or more than most. */
static bool
read_number(const char *value, const unit *units, uint64_t most, uint64_t *out)
{
	char *end;
	unsigned long long number;

	errno = 0;
	number = strtoull(value, &end, 10);
	if (!isdigit((unsigned char) *value) || errno != 0)
		return false;
	for (; units->name != NULL; units++)
	{
		if (strcmp(end, units->name) != 0)
			continue;
		if (number > most / units->factor)
			return false;
		*out = number * units->factor;
		return true;
	}
	return false;
}

/* Whether a text is a URL with a password: scheme://user:password@host. */
static bool
is_url_with_password(const char *text)
{
	const char *host = strstr(text, "://");
	const char *at, *colon;

	if (host == NULL)
		return false;
	host += 3;
	at = memchr(host, '@', strcspn(host, "/?#"));
	colon = at == NULL ? NULL : memchr(host, ':', (size_t) (at - host));
	return colon != NULL;
}

/* Whether a text has a password in it, as a connection string or a URL. */
static bool
has_password(const char *value)
{
	PQconninfoOption *parts = PQconninfoParse(value, NULL);
	bool found = is_url_with_password(value);

	for (PQconninfoOption *part = parts; part != NULL && part->keyword != NULL; part++)
	{
		if (strchr(part->dispchar, '*') != NULL && part->val != NULL && *part->val != '\0')
			found = true;
	}
	PQconninfoFree(parts);
	return found;
}

static bool
set_string(char **place, const char *value)
{
	char *copy = strdup(value);

	if (copy == NULL)
		return false;
	free(*place);
	*place = copy;
	return true;
}

/* Gives an option a value; false where it is none for it. */
static bool
set_option(config *config, const option_info *option, const char *value)
{
	void *place = (char *) config + option->place;
	uint64_t number;

	switch (option->kind)
	{
		case OPTION_STRING:
			return set_string(place, value);
		case OPTION_COUNT:
		case OPTION_TIME:
			if (!read_number(value, option->kind == OPTION_TIME ? time_units : no_units, INT32_MAX,
							 &number))
				return false;
			*(unsigned *) place = (unsigned) number;
			return true;
		case OPTION_SIZE:
			if (!read_number(value, size_units, UINT64_C(1) << 40, &number))
				return false;
			*(size_t *) place = (size_t) number;
			return true;
		case OPTION_LEVEL:
			return log_level_of(value, place);
		case OPTION_FORMAT:
			*(bool *) place = strcmp(value, "json") == 0;
			return *(bool *) place || strcmp(value, "logfmt") == 0;
	}
	return false;
}

static const char *
expectation(option_kind kind)
{
	switch (kind)
	{
		case OPTION_COUNT:
			return "a whole number";
		case OPTION_TIME:
			return "a time, like 250ms, 10s, 5min or 1h";
		case OPTION_SIZE:
			return "a size, like 16kB or 4MB";
		case OPTION_LEVEL:
			return "debug, info, warning or error";
		case OPTION_FORMAT:
			return "logfmt or json";
		case OPTION_STRING:
			break;
	}
	return "a text";
}

/* The same, and says on stderr what is wrong. origin is a name or a file with its line. */
static bool
take_option(config *config, const option_info *option, const char *value, const char *origin)
{
	if (set_option(config, option, value))
		return true;
	fprintf(stderr, "sse-bridge: %s: %s is not \"%s\": it wants %s\n", origin, option->name, value,
			expectation(option->kind));
	return false;
}

/* ---------- where values come from ---------- */

static bool
take_initial(config *config)
{
	for (size_t i = 0; i < OPTIONS; i++)
	{
		if (options[i].initial != NULL &&
			!take_option(config, &options[i], options[i].initial, "default"))
			return false;
	}
	return true;
}

static bool
take_environment(config *config)
{
	for (size_t i = 0; i < OPTIONS; i++)
	{
		char name[64] = "SSE_BRIDGE_";
		size_t len = strlen(name);
		const char *value;

		for (const char *c = options[i].name; *c != '\0'; c++)
			name[len++] = *c == '-' ? '_' : (char) toupper((unsigned char) *c);
		name[len] = '\0';
		value = getenv(name);
		if (value != NULL && !take_option(config, &options[i], value, name))
			return false;
	}
	return true;
}

static char *
trim(char *text)
{
	char *end;

	while (isspace((unsigned char) *text))
		text++;
	end = text + strlen(text);
	while (end > text && isspace((unsigned char) end[-1]))
		*--end = '\0';
	return text;
}

/* One line of the file: nothing, a comment, or name = value. */
static bool
take_line(config *config, char *line, const char *origin)
{
	char *name = trim(line);
	char *equals = strchr(name, '=');

	if (*name == '\0' || *name == '#')
		return true;
	if (equals == NULL)
	{
		fprintf(stderr, "sse-bridge: %s: this is not name = value: %s\n", origin, name);
		return false;
	}
	*equals = '\0';
	name = trim(name);
	for (size_t i = 0; i < OPTIONS; i++)
	{
		if (strcmp(options[i].name, name) == 0)
			return take_option(config, &options[i], trim(equals + 1), origin);
	}
	fprintf(stderr, "sse-bridge: %s: there is no option \"%s\"; --help lists them\n", origin, name);
	return false;
}

static bool
take_file(config *config)
{
	FILE *file;
	char *line = NULL;
	size_t size = 0;
	bool is_good = true;

	if (config->file == NULL)
		return true;
	file = fopen(config->file, "r");
	if (file == NULL)
	{
		fprintf(stderr, "sse-bridge: %s: %s\n", config->file, strerror(errno));
		return false;
	}
	for (int number = 1; is_good && getline(&line, &size, file) >= 0; number++)
	{
		char origin[512];

		snprintf(origin, sizeof(origin), "%s:%d", config->file, number);
		is_good = take_line(config, line, origin);
	}
	if (ferror(file))
	{
		fprintf(stderr, "sse-bridge: %s: %s\n", config->file, strerror(errno));
		is_good = false;
	}
	free(line);
	fclose(file);
	return is_good;
}

/* ---------- the command line ---------- */

static void
say_help(void)
{
	printf("sse-bridge serves the flags of a PostgreSQL database with the extension ff: as an HTTP "
		   "API, and\n"
		   "as a stream of changes (Server-Sent Events).\n\n"
		   "  sse-bridge [option]...\n\n");
	for (size_t i = 0; i < OPTIONS; i++)
		printf("  --%-26s %s%s%s%s\n", options[i].name, options[i].help,
			   options[i].initial != NULL && *options[i].initial != '\0' ? " (" : "",
			   options[i].initial != NULL ? options[i].initial : "",
			   options[i].initial != NULL && *options[i].initial != '\0' ? ")" : "");
	printf("  --%-26s file with lines of option = value\n"
		   "  --%-26s read everything, say whether it is right, and exit\n"
		   "  --help, --version\n\n"
		   "Each option can also be set by SSE_BRIDGE_<OPTION> in the environment, which the "
		   "command line\n"
		   "overrules, as the environment does the file. SIGHUP reads the file again; SIGTERM ends "
		   "the bridge\n"
		   "in good order. See the man page.\n",
		   "config", "check-config");
}

static void
make_long_options(struct option *to)
{
	static const struct option own[] = {{"config", required_argument, NULL, OPTION_CONFIG},
										{"check-config", no_argument, NULL, OPTION_CHECK},
										{"help", no_argument, NULL, OPTION_HELP},
										{"version", no_argument, NULL, OPTION_VERSION},
										{NULL, 0, NULL, 0}};

	for (size_t i = 0; i < OPTIONS; i++)
		to[i] = (struct option){options[i].name, required_argument, NULL, (int) i};
	memcpy(to + OPTIONS, own, sizeof(own));
}

/* One option of the command line. In the first pass only what the others hang on is taken. */
static config_result
take_argument(config *config, int which, const char *value, bool is_first)
{
	switch (which)
	{
		case OPTION_CONFIG:
			return !is_first || set_string(&config->file, value) ? CONFIG_OK : CONFIG_WRONG;
		case OPTION_CHECK:
			config->check_only = true;
			return CONFIG_OK;
		case OPTION_HELP:
			say_help();
			return CONFIG_DONE;
		case OPTION_VERSION:
			printf("sse-bridge %s\n", FF_BRIDGE_VERSION);
			return CONFIG_DONE;
		case '?':
			fprintf(stderr, "sse-bridge: --help lists the options\n");
			return CONFIG_WRONG;
	}
	if (is_first)
		return CONFIG_OK;
	if (options[which].kind == OPTION_STRING && has_password(value))
	{
		fprintf(stderr,
				"sse-bridge: --%s: a password on the command line is seen by everybody on this "
				"machine; "
				"use a password file, PGPASSWORD or the configuration file\n",
				options[which].name);
		return CONFIG_WRONG;
	}
	if (strcmp(options[which].name, "exposure-sink-url") == 0 && strchr(value, '@') != NULL)
	{
		fprintf(stderr,
				"sse-bridge: --%s: a password on the command line is seen by everybody on this "
				"machine; "
				"use the environment or the configuration file\n",
				options[which].name);
		return CONFIG_WRONG;
	}
	return take_option(config, &options[which], value, "command line") ? CONFIG_OK : CONFIG_WRONG;
}

static config_result
take_arguments(config *config, int argc, char **argv, bool is_first)
{
	struct option long_options[OPTIONS + 5];
	config_result result = CONFIG_OK;
	int which;

	make_long_options(long_options);
	optind = 0;
	opterr = is_first;
	while (result == CONFIG_OK && (which = getopt_long(argc, argv, "", long_options, NULL)) != -1)
		result = take_argument(config, which, optarg, is_first);
	if (result == CONFIG_OK && optind < argc)
	{
		fprintf(stderr, "sse-bridge: there is no argument \"%s\"; --help lists the options\n",
				argv[optind]);
		result = CONFIG_WRONG;
	}
	return result;
}

/* ---------- all of it ---------- */

/* Whether libpq can read a connection string. Its own words may have a part of a password in them.
 */
static bool
is_conninfo(const char *name, const char *conninfo)
{
	PQconninfoOption *parts = PQconninfoParse(conninfo == NULL ? "" : conninfo, NULL);
	bool is_good = parts != NULL;

	if (!is_good)
		fprintf(stderr, "sse-bridge: %s is no connection string that libpq can read\n", name);
	PQconninfoFree(parts);
	return is_good;
}

/* What can't be seen in one option alone. */
static bool
is_sound(const config *config)
{
	const char *problem = NULL;

	if (config->pool_size == 0)
		problem = "pool-size must be at least 1";
	else if (config->statement_timeout < 100)
		problem = "statement-timeout must be at least 100ms";
	else if (config->keepalive < 100)
		problem = "keepalive must be at least 100ms";
	else if (config->retry_most < config->retry_least)
		problem = "retry-most must not be less than retry-least";
	else if (config->ring_size < 64 * 1024)
		problem = "ring-size must be at least 64kB";
	else if (config->limits.max_header < 1024)
		problem = "max-header must be at least 1kB";
	else if (config->poll_interval < 10)
		problem = "poll-interval must be at least 10ms";
	else if (config->exposure_count == 0 || config->exposure_interval == 0)
		problem = "exposure-count and exposure-interval must be at least 1";
	if (problem != NULL)
		fprintf(stderr, "sse-bridge: %s\n", problem);
	return problem == NULL;
}

config_result
config_load(config *config, int argc, char **argv)
{
	config_result result;
	const char *file = getenv("SSE_BRIDGE_CONFIG");

	memset(config, 0, sizeof(*config));
	if (!take_initial(config) || (file != NULL && !set_string(&config->file, file)))
		return CONFIG_WRONG;
	result = take_arguments(config, argc, argv, true);
	if (result != CONFIG_OK)
		return result;
	if (!take_file(config) || !take_environment(config))
		return CONFIG_WRONG;
	result = take_arguments(config, argc, argv, false);
	if (result != CONFIG_OK)
		return result;
	return is_sound(config) && is_conninfo("database", config->database) &&
				   is_conninfo("write-database", config->write_database)
			   ? CONFIG_OK
			   : CONFIG_WRONG;
}

void
config_free(config *config)
{
	for (size_t i = 0; i < OPTIONS; i++)
	{
		if (options[i].kind == OPTION_STRING)
			free(*(char **) ((char *) config + options[i].place));
	}
	free(config->file);
	memset(config, 0, sizeof(*config));
}

static size_t
option_size(option_kind kind)
{
	switch (kind)
	{
		case OPTION_STRING:
			return sizeof(char *);
		case OPTION_SIZE:
			return sizeof(size_t);
		case OPTION_LEVEL:
			return sizeof(log_level);
		case OPTION_FORMAT:
			return sizeof(bool);
		case OPTION_COUNT:
		case OPTION_TIME:
			break;
	}
	return sizeof(unsigned);
}

static bool
is_equal(const option_info *option, const void *a, const void *b)
{
	if (option->kind == OPTION_STRING)
	{
		const char *x = *(char *const *) a;
		const char *y = *(char *const *) b;

		return x == NULL || y == NULL ? x == y : strcmp(x, y) == 0;
	}
	return memcmp(a, b, option_size(option->kind)) == 0;
}

bool
config_reload(config *config, int argc, char **argv)
{
	struct config fresh;
	bool is_good = config_load(&fresh, argc, argv) == CONFIG_OK;

	for (size_t i = 0; is_good && i < OPTIONS; i++)
	{
		void *old = (char *) config + options[i].place;
		const void *new = (char *) &fresh + options[i].place;

		if (is_equal(&options[i], old, new))
			continue;
		if (options[i].changes)
			memcpy(old, new, option_size(options[i].kind));
		else
			log_warning("option changes at the next start only", "option", options[i].name);
	}
	config_free(&fresh);
	if (is_good)
		log_setup(config->log_level, config->log_json);
	return is_good;
}
