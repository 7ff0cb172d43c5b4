/*
 * sse-bridge/log.h
 *	  The log: one record a line on stderr, as logfmt or JSON.
 *
 * A record is an event and what there is to know of it, as pairs of strings. One that comes again
 * and again is written LOG_BURST times in LOG_WINDOW seconds at most; the next one says how many
 *were left out. Secrets are never handed to it.
 *
 * Not thread-safe: the bridge has one thread.
 */
#ifndef LOG_H
#define LOG_H

#include <stdbool.h>
#include <stdint.h>

typedef enum log_level
{
	LOG_DEBUG,
	LOG_INFO,
	LOG_WARNING,
	LOG_ERROR
} log_level;

#define LOG_BURST 5
#define LOG_WINDOW 10

/* Which records are written, and how. */
extern void log_setup(log_level least, bool json);

/* The level that a word names ("debug", "info", "warning", "error"); false where it names none. */
extern bool log_level_of(const char *word, log_level *level);

/*
 * Writes a record: event, then names and values in turn, and a NULL name at the end. A pair whose
 * value is NULL is left out.
 */
extern void log_record(log_level level, const char *event, ...) __attribute__((sentinel));

#define log_debug(...) log_record(LOG_DEBUG, __VA_ARGS__, (const char *) NULL)
#define log_info(...) log_record(LOG_INFO, __VA_ARGS__, (const char *) NULL)
#define log_warning(...) log_record(LOG_WARNING, __VA_ARGS__, (const char *) NULL)
#define log_error(...) log_record(LOG_ERROR, __VA_ARGS__, (const char *) NULL)

/* A number as a string that is good until the eighth call after this one. */
extern const char *log_number(int64_t number);

#endif /* LOG_H */
