/*
 * sse-bridge/forward.c
 *	  Forwarding exposures.
 *
 * One batch is under way at a time: read, sent, and then the cursor moves, if nobody else has moved
 *it. Two bridges that forward with one cursor may send the same rows; neither skips any.
 */
#include "forward.h"

#include <curl/curl.h>
#include <event2/event.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "eventlog.h"
#include "log.h"
#include "pool.h"
#include "text.h"

#define CURSOR "sse-bridge"
#define BATCH 100
#define BATCH_TEXT "100"
#define SEND_TIMEOUT_MS 30000L
#define BACKOFF_LEAST 1000
#define BACKOFF_MOST 300000
#define FULL_AGAIN 1000 /* milliseconds between looks */
#define MOST_SECRET 4096

struct forward
{
	bridge *bridge;
	char *secret; /* "" for none */
	CURLM *multi;
	CURL *easy; /* under way; NULL: none */
	struct curl_slist *headers;
	struct event *timer; /* curl's */
	text body;
	bool is_busy;
	bool has_cursor;
	uint64_t last_id;
	uint64_t newest_id;
	uint64_t batch_first;
	uint64_t batch_last;
	unsigned batch_rows;
	uint64_t look_at;       /* in milliseconds */
	uint64_t waiting_since; /* fewer rows than a batch wait; 0: none do */
	unsigned backoff;
};

static void read_rows(forward *f);

/* ---------- failing ---------- */

static void
retry_later(forward *f, const char *what, const char *why, uint64_t at_least)
{
	uint64_t wait = f->backoff / 2 + (unsigned) random() % (f->backoff / 2 + 1);

	f->bridge->metrics.forward_failures++;
	log_warning("forwarding exposures fails", "doing", what, "reason", why);
	f->is_busy = false;
	f->has_cursor = false;
	f->look_at = monotonic_ms() + (wait > at_least ? wait : at_least);
	f->backoff = f->backoff * 2 > BACKOFF_MOST ? BACKOFF_MOST : f->backoff * 2;
}

/* The only row of the last statement; NULL: it failed, and is retried. */
static const PGresult *
only_row(forward *f, const char *what, PGresult *const *results, int count, const char *why)
{
	const PGresult *result = count == 0 ? NULL : results[count - 1];

	if (result != NULL && PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1)
		return result;
	for (int i = 0; i < count; i++)
	{
		if (PQresultStatus(results[i]) == PGRES_FATAL_ERROR)
			why = PQresultErrorMessage(results[i]);
	}
	retry_later(f, what, why, 0);
	return NULL;
}

static void
ask(forward *f, const pg_statement *statement, pool_handler handler, bool writes)
{
	const pg_statement statements[] = {{.sql = SQL_PATH}, *statement};
	pool *pool = writes && f->bridge->write_pool != NULL ? f->bridge->write_pool : f->bridge->pool;
	const char *why;

	f->is_busy = true;
	if (!pool_run(pool, statements, 2, handler, f, &why))
		retry_later(f, "asking the database", why, 0);
}

/* ---------- moving the cursor ---------- */

static void
take_move(void *arg, PGresult *const *results, int count, const char *why)
{
	forward *f = arg;
	const PGresult *row = only_row(f, "moving the cursor", results, count, why);

	if (row == NULL)
		return;
	f->is_busy = false;
	f->backoff = BACKOFF_LEAST;
	f->look_at = 0;

	/* somebody else moved it: what we sent was sent twice */
	f->has_cursor = *PQgetvalue(row, 0, 0) == 't';
	if (!f->has_cursor)
		return;
	f->last_id = f->batch_last;

	/* where a batch was full, the next one waits: one a second would be too few for a busy site */
	if (f->batch_rows == BATCH)
		read_rows(f);
}

static void
move_cursor(forward *f)
{
	char from[24], to[24];
	const pg_statement statement = {.sql = "SELECT ff_move_exposure_cursor('" CURSOR "', $1, $2)",
									.count = 2,
									.params = {from, to}};

	snprintf(from, sizeof(from), "%" PRIu64, f->last_id);
	snprintf(to, sizeof(to), "%" PRIu64, f->batch_last);
	ask(f, &statement, take_move, true);
}

/* ---------- sending ---------- */

static void
end_transfer(forward *f)
{
	curl_multi_remove_handle(f->multi, f->easy);
	curl_easy_cleanup(f->easy);
	curl_slist_free_all(f->headers);
	f->easy = NULL;
	f->headers = NULL;
}

static void
take_answer(forward *f, CURLcode code)
{
	long status = 0;
	curl_off_t retry_after = 0;
	char reason[64];

	curl_easy_getinfo(f->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(f->easy, CURLINFO_RETRY_AFTER, &retry_after);
	end_transfer(f);
	if (code == CURLE_OK && status >= 200 && status < 300)
	{
		f->bridge->metrics.forwarded += f->batch_rows;
		move_cursor(f);
		return;
	}
	snprintf(reason, sizeof(reason), "status %ld", status);
	retry_later(f, "sending", code == CURLE_OK ? reason : curl_easy_strerror(code),
				(uint64_t) retry_after * 1000);
}

static void
take_messages(forward *f)
{
	int left;
	CURLMsg *message;

	while ((message = curl_multi_info_read(f->multi, &left)) != NULL)
	{
		if (message->msg == CURLMSG_DONE && message->easy_handle == f->easy)
		{
			take_answer(f, message->data.result);
			return;
		}
	}
}

static void
on_socket(evutil_socket_t fd, short what, void *arg)
{
	forward *f = arg;
	int running;
	int mask = ((what & EV_READ) != 0 ? CURL_CSELECT_IN : 0) |
			   ((what & EV_WRITE) != 0 ? CURL_CSELECT_OUT : 0);

	curl_multi_socket_action(f->multi, fd, mask, &running);
	take_messages(f);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	forward *f = arg;
	int running;

	(void) fd;
	(void) what;
	curl_multi_socket_action(f->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	take_messages(f);
}

/* curl wants a socket watched, or no more. */
static int
watch_socket(CURL *easy, curl_socket_t socket, int what, void *arg, void *watched)
{
	forward *f = arg;
	struct event *event = watched;
	short events = EV_PERSIST;

	(void) easy;
	if (event != NULL)
		event_free(event);
	if (what == CURL_POLL_REMOVE)
	{
		curl_multi_assign(f->multi, socket, NULL);
		return 0;
	}
	events |= (what & CURL_POLL_IN) != 0 ? EV_READ : 0;
	events |= (what & CURL_POLL_OUT) != 0 ? EV_WRITE : 0;
	event = event_new(f->bridge->base, socket, events, on_socket, f);
	curl_multi_assign(f->multi, socket, event);
	return event == NULL || event_add(event, NULL) != 0 ? -1 : 0;
}

static int
set_timer(CURLM *multi, long milliseconds, void *arg)
{
	forward *f = arg;
	struct timeval time = {milliseconds / 1000, (milliseconds % 1000) * 1000};

	(void) multi;
	if (milliseconds < 0)
		event_del(f->timer);
	else
		event_add(f->timer, &time);
	return 0;
}

/* What the receiver says is of no use. */
static size_t
ignore(char *bytes, size_t size, size_t count, void *arg)
{
	(void) bytes;
	(void) arg;
	return size * count;
}

/* Adds a header; false when there is no memory. */
static bool
add_header(forward *f, const char *header)
{
	struct curl_slist *grown = curl_slist_append(f->headers, header);

	if (grown != NULL)
		f->headers = grown;
	return grown != NULL;
}

static bool
add_signature(forward *f)
{
	unsigned char mac[EVP_MAX_MD_SIZE];
	unsigned mac_len = 0;
	text header = {0};
	text signed_text = {0};
	long long now = (long long) time(NULL);
	bool is_good;

	if (*f->secret == '\0')
		return true;
	text_addf(&signed_text, "%lld.", now);
	text_add(&signed_text, f->body.bytes, f->body.len);
	text_addf(&header, "FF-Signature: t=%lld,v1=", now);
	if (!signed_text.has_failed)
		HMAC(EVP_sha256(), f->secret, (int) strlen(f->secret),
			 (const unsigned char *) signed_text.bytes, signed_text.len, mac, &mac_len);
	for (unsigned i = 0; i < mac_len; i++)
		text_addf(&header, "%02x", mac[i]);
	is_good = mac_len > 0 && !header.has_failed && add_header(f, header.bytes);
	text_free(&signed_text);
	text_free(&header);
	return is_good;
}

static bool
prepare(forward *f)
{
	char batch[64];

	snprintf(batch, sizeof(batch), "FF-Batch: %" PRIu64 "-%" PRIu64, f->batch_first, f->batch_last);
	f->easy = curl_easy_init();
	if (f->easy == NULL || !add_header(f, "Content-Type: application/json") ||
		!add_header(f, "Expect:") || !add_header(f, batch) || !add_signature(f))
		return false;
	curl_easy_setopt(f->easy, CURLOPT_URL, f->bridge->config.exposure_sink_url);
	curl_easy_setopt(f->easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(f->easy, CURLOPT_HTTPHEADER, f->headers);
	curl_easy_setopt(f->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) f->body.len);
	curl_easy_setopt(f->easy, CURLOPT_POSTFIELDS, f->body.bytes);
	curl_easy_setopt(f->easy, CURLOPT_WRITEFUNCTION, ignore);
	curl_easy_setopt(f->easy, CURLOPT_TIMEOUT_MS, SEND_TIMEOUT_MS);
	curl_easy_setopt(f->easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(f->easy, CURLOPT_USERAGENT, "sse-bridge/" FF_BRIDGE_VERSION);
	return curl_multi_add_handle(f->multi, f->easy) == CURLM_OK;
}

static void
send_batch(forward *f)
{
	if (prepare(f))
		return;
	if (f->easy != NULL)
		end_transfer(f);
	retry_later(f, "sending", "out of memory", 0);
}

/* ---------- reading ---------- */

static void
take_rows(void *arg, PGresult *const *results, int count, const char *why)
{
	forward *f = arg;
	const PGresult *row = only_row(f, "reading exposures", results, count, why);
	uint64_t now = monotonic_ms();
	unsigned rows;

	if (row == NULL)
		return;
	f->is_busy = false;
	f->look_at = now + FULL_AGAIN;
	rows = (unsigned) atoi(PQgetvalue(row, 0, 0));
	if (rows == 0)
	{
		f->newest_id = f->last_id;
		return;
	}
	f->batch_first = strtoull(PQgetvalue(row, 0, 1), NULL, 10);
	f->batch_last = strtoull(PQgetvalue(row, 0, 2), NULL, 10);
	f->newest_id = strtoull(PQgetvalue(row, 0, 4), NULL, 10);
	if (f->waiting_since == 0)
		f->waiting_since = now;
	if (rows < BATCH && now - f->waiting_since < f->bridge->config.exposure_interval)
		return;
	f->waiting_since = 0;
	f->batch_rows = rows;
	f->body.len = 0;
	text_addf(&f->body, "{\"exposures\":%s}", PQgetvalue(row, 0, 3));
	f->is_busy = true;
	send_batch(f);
}

static void
read_rows(forward *f)
{
	char after[24];
	const pg_statement statement = {.sql =
										"SELECT count(*), min(id), max(id), json_agg(e), "
										"(SELECT newest_id FROM ff_exposure_cursor('" CURSOR "')) "
										"FROM ff_exposures_after($1, " BATCH_TEXT ") e",
									.count = 1,
									.params = {after}};

	snprintf(after, sizeof(after), "%" PRIu64, f->last_id);
	ask(f, &statement, take_rows, false);
}

static void
take_cursor(void *arg, PGresult *const *results, int count, const char *why)
{
	forward *f = arg;
	const PGresult *row = only_row(f, "reading the cursor", results, count, why);

	if (row == NULL)
		return;
	f->last_id = strtoull(PQgetvalue(row, 0, 0), NULL, 10);
	f->has_cursor = true;
	read_rows(f);
}

static void
read_cursor(forward *f)
{
	static const pg_statement statement = {.sql = "SELECT last_id FROM ff_exposure_cursor('" CURSOR
												  "')"};

	ask(f, &statement, take_cursor, true);
}

void
forward_tick(forward *f)
{
	if (f->is_busy || monotonic_ms() < f->look_at)
		return;
	if (f->has_cursor)
		read_rows(f);
	else
		read_cursor(f);
}

uint64_t
forward_lag(const forward *f)
{
	return f->newest_id > f->last_id ? f->newest_id - f->last_id : 0;
}

/* ---------- beginning and ending ---------- */

/* The secret is the file's first line. */
static char *
read_secret(const char *path)
{
	char line[MOST_SECRET];
	FILE *file;

	if (path == NULL)
		return strdup("");
	file = fopen(path, "r");
	if (file == NULL || fgets(line, sizeof(line), file) == NULL || strcspn(line, "\r\n") == 0 ||
		strlen(line) == sizeof(line) - 1)
	{
		log_error("the secret that signs exposures can't be read", "file", path);
		if (file != NULL)
			fclose(file);
		return NULL;
	}
	fclose(file);
	line[strcspn(line, "\r\n")] = '\0';
	return strdup(line);
}

forward *
forward_new(bridge *bridge)
{
	forward *f = calloc(1, sizeof(*f));

	if (f == NULL)
		return NULL;
	f->bridge = bridge;
	f->backoff = BACKOFF_LEAST;
	f->secret = read_secret(bridge->config.exposure_sink_secret_file);
	f->timer = evtimer_new(bridge->base, on_timer, f);
	f->multi = curl_multi_init();
	if (f->secret == NULL || f->timer == NULL || f->multi == NULL)
	{
		forward_free(f);
		return NULL;
	}
	curl_multi_setopt(f->multi, CURLMOPT_SOCKETFUNCTION, watch_socket);
	curl_multi_setopt(f->multi, CURLMOPT_SOCKETDATA, f);
	curl_multi_setopt(f->multi, CURLMOPT_TIMERFUNCTION, set_timer);
	curl_multi_setopt(f->multi, CURLMOPT_TIMERDATA, f);
	return f;
}

void
forward_free(forward *f)
{
	if (f == NULL)
		return;
	if (f->easy != NULL)
		end_transfer(f);
	curl_multi_cleanup(f->multi);
	if (f->timer != NULL)
		event_free(f->timer);
	text_free(&f->body);
	free(f->secret);
	free(f);
}
