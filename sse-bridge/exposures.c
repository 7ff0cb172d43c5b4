/*
 * sse-bridge/exposures.c
 *	  Exposures on their way to the database.
 */
#include "exposures.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <uthash.h>

#include "eventlog.h"
#include "log.h"
#include "pool.h"
#include "text.h"

#define MOST_IN_BATCH 1000
#define RETRY_LEAST 1000
#define RETRY_MOST 60000

/* Key: namespace, flag, variant, user, each with a null byte after it. */
typedef struct entry
{
	char *fields; /* JSON members that don't change while it waits */
	uint64_t evaluations;
	UT_hash_handle hh;
	char key[];
} entry;

/* What is sent and not answered, or sent again: of one namespace. */
typedef struct batch
{
	char id[40];
	char *name_space;
	text body;
	unsigned entries;
	uint64_t retry_at; /* in milliseconds; 0: it was not refused so far */
	unsigned backoff;
	struct batch *next;
} batch;

struct exposures
{
	bridge *bridge;
	entry *entries;
	batch *first; /* to be sent, oldest first */
	batch **last;
	unsigned batched;  /* entries in batches */
	batch *sending;    /* NULL: nothing is under way */
	uint64_t window;   /* in milliseconds: when it began */
	uint64_t retry_at; /* in milliseconds */
	unsigned backoff;
};

static void send_next(exposures *all);

/* ---------- noting ---------- */

/* Members of JSON that are known once. */
static char *
make_fields(const flag_answer *answer, const char *unit, size_t unit_len)
{
	text json = {0};
	char time_text[40];
	struct timespec now;
	struct tm utc;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	strftime(time_text, sizeof(time_text), "%Y-%m-%dT%H:%M:%S", &utc);
	text_adds(&json, "\"flag_key\":");
	text_add_json(&json, answer->key, strlen(answer->key));
	text_adds(&json, ",\"variant_key\":");
	text_add_json(&json, answer->variant, answer->variant_len);
	text_adds(&json, ",\"user_id\":");
	if (unit == NULL)
		text_adds(&json, "null");
	else
		text_add_json(&json, unit, unit_len);
	text_addf(&json, ",\"reason\":\"%s\"", ffe_reason_name(answer->result.reason));
	if (answer->rule != NULL)
	{
		text_adds(&json, ",\"rule_id\":");
		text_add_json(&json, answer->rule, answer->rule_len);
	}
	text_addf(&json, ",\"flag_version\":%" PRId64 ",\"exposed_at\":\"%s.%06ldZ\"",
			  ffe_doc_version(answer->result.doc), time_text, now.tv_nsec / 1000);
	if (json.has_failed)
		text_free(&json);
	return json.bytes;
}

static void
add_part(text *to, const char *part, size_t len)
{
	text_add(to, part, len);
	text_add(to, "", 1);
}

static void
drop(exposures *all)
{
	all->bridge->metrics.exposures_dropped++;
	log_warning("exposures are dropped: the buffer is full", "hint",
				"raise exposure-buffer, or find out why the database doesn't take them");
}

static void
add_entry(exposures *all, const text *key, const flag_answer *answer, const char *unit, size_t len)
{
	entry *one = calloc(1, sizeof(*one) + key->len);

	if (one == NULL || (one->fields = make_fields(answer, unit, len)) == NULL)
	{
		free(one);
		drop(all);
		return;
	}
	memcpy(one->key, key->bytes, key->len);
	one->evaluations = 1;
	HASH_ADD(hh, all->entries, key[0], (unsigned) key->len, one);
	if (HASH_COUNT(all->entries) == 1)
		all->window = monotonic_ms();
	if (HASH_COUNT(all->entries) >= all->bridge->config.exposure_count)
		exposures_flush(all);
}

void
exposures_note(exposures *all, flag_space *space, const flag_answer *answer)
{
	text key = {0};
	size_t len;
	uint64_t hash;
	const char *unit;
	entry *one;

	if (!answer->result.exposed || answer->variant == NULL)
		return;
	all->bridge->metrics.exposures_noted++;
	unit = flags_unit(space, answer, &len, &hash);
	add_part(&key, flags_space_name(space), strlen(flags_space_name(space)));
	add_part(&key, answer->key, strlen(answer->key));
	add_part(&key, answer->variant, answer->variant_len);
	if (unit != NULL)
		add_part(&key, unit, len);
	if (key.has_failed)
	{
		text_free(&key);
		drop(all);
		return;
	}
	HASH_FIND(hh, all->entries, key.bytes, (unsigned) key.len, one);
	if (one != NULL)
		one->evaluations++;
	else if (exposures_pending(all) >= all->bridge->config.exposure_buffer || len > 512)
		drop(all);
	else
		add_entry(all, &key, answer, unit, len);
	text_free(&key);
}

/* ---------- batches ---------- */

static void
free_batch(batch *one)
{
	text_free(&one->body);
	free(one->name_space);
	free(one);
}

static batch *
new_batch(exposures *all, const char *name_space)
{
	batch *one = calloc(1, sizeof(*one));
	uint64_t number[2] = {0, 0};

	if (one == NULL || (one->name_space = strdup(name_space)) == NULL)
	{
		free(one);
		return NULL;
	}
	if (getrandom(number, sizeof(number), 0) != (ssize_t) sizeof(number))
		number[0] = (uint64_t) wall_us();
	snprintf(one->id, sizeof(one->id), "bridge-%016" PRIx64 "%016" PRIx64, number[0], number[1]);
	one->backoff = RETRY_LEAST;
	*all->last = one;
	all->last = &one->next;
	return one;
}

/* The batch that is being filled for a namespace, among those made from one place on. */
static batch *
open_batch(exposures *all, batch **from, const char *name_space)
{
	for (batch *one = *from; one != NULL; one = one->next)
	{
		if (one->entries < MOST_IN_BATCH && strcmp(one->name_space, name_space) == 0)
			return one;
	}
	return new_batch(all, name_space);
}

/* Makes batches of all entries: a new window begins. What finds no memory stays for the next one.
 */
static void
make_batches(exposures *all)
{
	batch **from = all->last;
	entry *one, *next;

	HASH_ITER(hh, all->entries, one, next)
	{
		batch *into = open_batch(all, from, one->key);
		size_t before = into == NULL ? 0 : into->body.len;

		if (into == NULL)
			break;
		text_addf(&into->body, "%s{%s,\"evaluations\":%" PRIu64 "}", into->entries == 0 ? "[" : ",",
				  one->fields, one->evaluations);
		if (into->body.has_failed)
		{
			into->body.has_failed = false;
			into->body.len = before;
			break;
		}
		into->entries++;
		all->batched++;
		HASH_DEL(all->entries, one);
		free(one->fields);
		free(one);
	}
	for (batch *made = *from; made != NULL; made = made->next)
		text_adds(&made->body, "]");
}

/* Takes a batch off the list. */
static void
finish(exposures *all, batch *one)
{
	batch **link = &all->first;

	while (*link != one)
		link = &(*link)->next;
	*link = one->next;
	if (*link == NULL)
		all->last = link;
	all->batched -= one->entries;
	free_batch(one);
}

/* Whether an error is of what was sent, so that sending it again is of no use. */
static bool
is_of_data(const PGresult *result)
{
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);

	return state != NULL && (strncmp(state, "22", 2) == 0 || strncmp(state, "42704", 5) == 0);
}

/* When to try again what failed now. */
static uint64_t
put_off(exposures *all, unsigned *backoff, const char *why)
{
	uint64_t at = monotonic_ms() + *backoff / 2 + (unsigned) random() % (*backoff / 2 + 1);

	all->bridge->metrics.exposure_failures++;
	log_warning("exposures can't be written now", "reason", why, "entries",
				log_number(exposures_pending(all)));
	*backoff = *backoff * 2 > RETRY_MOST ? RETRY_MOST : *backoff * 2;
	return at;
}

/* What the database refuses may be of one namespace: others don't wait for that. */
static void
take_recorded(void *arg, PGresult *const *results, int count, const char *why)
{
	exposures *all = arg;
	batch *one = all->sending;
	const PGresult *result = count == 2 ? results[1] : NULL;

	all->sending = NULL;
	if (result == NULL)
	{
		all->retry_at = put_off(all, &all->backoff, why);
		return;
	}
	all->backoff = RETRY_LEAST;
	if (PQresultStatus(result) == PGRES_TUPLES_OK)
	{
		all->bridge->metrics.exposures_written += one->entries;
		finish(all, one);
	}
	else if (is_of_data(result))
	{
		log_error("exposures are refused, and dropped", "reason", PQresultErrorMessage(result));
		all->bridge->metrics.exposures_dropped += one->entries;
		finish(all, one);
	}
	else
	{
		one->retry_at = put_off(all, &one->backoff, PQresultErrorMessage(result));
		if (all->bridge->is_draining)
			return;
	}
	send_next(all);
}

/* The batch whose turn it is: of those that were not refused, the oldest. NULL where there is none.
 */
static batch *
next_batch(const exposures *all)
{
	batch *next = all->first;

	for (batch *one = next; one != NULL; one = one->next)
	{
		if (one->retry_at < next->retry_at)
			next = one;
	}
	return next;
}

/* A bridge that ends doesn't wait before it tries again: it may be gone by then. */
static void
send_next(exposures *all)
{
	bridge *bridge = all->bridge;
	uint64_t now = bridge->is_draining ? UINT64_MAX : monotonic_ms();
	batch *one = next_batch(all);
	const char *why;

	if (one == NULL || all->sending != NULL || now < all->retry_at || now < one->retry_at)
		return;
	const pg_statement statements[] = {
		{.sql = SQL_PATH},
		{.sql = "SELECT recorded FROM ff_record_exposures($1, $2::jsonb, $3)",
		 .count = 3,
		 .params = {one->id, one->body.bytes, one->name_space}}};
	all->sending = one;
	if (!pool_run(bridge->write_pool == NULL ? bridge->pool : bridge->write_pool, statements, 2,
				  take_recorded, all, &why))
	{
		all->sending = NULL;
		all->retry_at = put_off(all, &all->backoff, why);
	}
}

/* ---------- all of it ---------- */

void
exposures_flush(exposures *all)
{
	make_batches(all);
	send_next(all);
}

void
exposures_tick(exposures *all)
{
	if (all->entries != NULL &&
		monotonic_ms() - all->window >= all->bridge->config.exposure_interval)
		make_batches(all);
	send_next(all);
}

unsigned
exposures_pending(const exposures *all)
{
	return HASH_COUNT(all->entries) + all->batched;
}

exposures *
exposures_new(bridge *bridge)
{
	exposures *all = calloc(1, sizeof(*all));

	if (all == NULL)
		return NULL;
	all->bridge = bridge;
	all->last = &all->first;
	all->backoff = RETRY_LEAST;
	return all;
}

void
exposures_free(exposures *all)
{
	entry *one, *next;

	if (all == NULL)
		return;
	HASH_ITER(hh, all->entries, one, next)
	{
		HASH_DEL(all->entries, one);
		free(one->fields);
		free(one);
	}
	while (all->first != NULL)
		finish(all, all->first);
	free(all);
}
