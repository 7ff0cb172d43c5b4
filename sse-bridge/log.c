/*
 * sse-bridge/log.c
 *	  The log; what it promises is in log.h.
 */
#include "log.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

#define KNOWN_EVENTS 64

static log_level least_level = LOG_INFO;
static bool as_json = false;

static const char *const level_names[] = {"debug", "info", "warning", "error"};

/* How often an event was written lately. Events are string constants: few, and told by address. */
typedef struct known_event
{
	const char *event;
	time_t since;
	unsigned written;
	unsigned left_out;
} known_event;

static known_event known_events[KNOWN_EVENTS];

void
log_setup(log_level least, bool json)
{
	least_level = least;
	as_json = json;
}

bool
log_level_of(const char *word, log_level *level)
{
	for (int i = LOG_DEBUG; i <= LOG_ERROR; i++)
	{
		if (strcmp(word, level_names[i]) == 0)
		{
			*level = (log_level) i;
			return true;
		}
	}
	return false;
}

const char *
log_number(int64_t number)
{
	static char texts[8][24];
	static unsigned next = 0;
	char *text = texts[next++ % 8];

	snprintf(text, sizeof(texts[0]), "%lld", (long long) number);
	return text;
}

/* Whether an event is written now, and how many of it were not, before. */
static bool
is_due(const char *event, unsigned *left_out)
{
	known_event *known = NULL;
	time_t now = time(NULL);

	*left_out = 0;
	for (int i = 0; i < KNOWN_EVENTS; i++)
	{
		known = &known_events[i];
		if (known->event == event || known->event == NULL)
			break;
	}
	if (known->event != event || now - known->since >= LOG_WINDOW || now < known->since)
	{
		*left_out = known->event == event ? known->left_out : 0;
		*known = (known_event){.event = event, .since = now};
	}
	if (known->written == LOG_BURST)
	{
		known->left_out++;
		return false;
	}
	known->written++;
	return true;
}

/* A value as logfmt has it: bare where that can be, else quoted. */
static void
put_logfmt(FILE *to, const char *value)
{
	if (*value != '\0' && strpbrk(value, " =\"\\\n\r\t") == NULL)
	{
		fputs(value, to);
		return;
	}
	fputc('"', to);
	for (; *value != '\0'; value++)
	{
		unsigned char c = (unsigned char) *value;

		if (c == '"' || c == '\\')
			fprintf(to, "\\%c", c);
		else if (c == '\n')
			fputs("\\n", to);
		else if (c < 0x20 || c == 0x7f)
			fputc(' ', to);
		else
			fputc(c, to);
	}
	fputc('"', to);
}

static void
put_json(FILE *to, const char *value)
{
	json_t *string = json_string(value);
	char *text = string == NULL ? NULL : json_dumps(string, JSON_ENCODE_ANY);

	/* what is no UTF-8 can't be said in JSON */
	fputs(text == NULL ? "\"?\"" : text, to);
	free(text);
	json_decref(string);
}

static void
put_pair(FILE *to, const char *name, const char *value)
{
	fprintf(to, as_json ? ",\"%s\":" : " %s=", name);
	(as_json ? put_json : put_logfmt)(to, value);
}

static void
put_start(FILE *to, log_level level, const char *event)
{
	struct timeval now;
	struct tm utc;
	char time[32];

	gettimeofday(&now, NULL);
	gmtime_r(&now.tv_sec, &utc);
	strftime(time, sizeof(time), "%Y-%m-%dT%H:%M:%S", &utc);
	fprintf(to, as_json ? "{\"time\":\"%s.%03dZ\",\"level\":\"%s\"" : "time=%s.%03dZ level=%s",
			time, (int) (now.tv_usec / 1000), level_names[level]);
	put_pair(to, "event", event);
}

void
log_record(log_level level, const char *event, ...)
{
	char *line = NULL;
	size_t size;
	unsigned left_out;
	const char *name;
	FILE *to;
	va_list args;

	if (level < least_level || !is_due(event, &left_out) ||
		(to = open_memstream(&line, &size)) == NULL)
		return;
	put_start(to, level, event);
	va_start(args, event);
	while ((name = va_arg(args, const char *)) != NULL)
	{
		const char *value = va_arg(args, const char *);

		if (value != NULL)
			put_pair(to, name, value);
	}
	va_end(args);
	if (left_out > 0)
		put_pair(to, "left_out", log_number(left_out));
	fputs(as_json ? "}\n" : "\n", to);
	fclose(to);
	fputs(line, stderr);
	free(line);
}
