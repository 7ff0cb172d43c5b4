/*
 * sse-bridge/follower.c
 *	  Follows the log.
 *
 * It listens before it reads, so that nothing falls in between: what commits after is notified of.
 * Each read begins with the event that it has last, and finds out whether the log still has it,
 *with the same hash. Where it doesn't (commits that a failover lost, a restore), all is loaded
 *anew.
 */
#include "follower.h"

#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "eventlog.h"
#include "hub.h"
#include "log.h"
#include "pg.h"
#include "pool.h"
#include "stream.h"

#define CONNECT_TIMEOUT 5000
#define READ_TIMEOUT 5000
#define LOAD_TIMEOUT 60000
#define BACKOFF_LEAST 50
#define BACKOFF_MOST 10000
#define IDLE_READ 5000     /* read all the same, when no notification came for so long */
#define NONCE_TIMEOUT 2000 /* for our own notification to come back */
#define NONCE_RETRY 200    /* to send it, where no connection is free */
#define EVENTS_AT_ONCE 500
#define REPLAYED 5000 /* of the newest events, at a load, for streams to resume */

struct follower
{
	bridge *bridge;
	pg_conn *conn; /* NULL: none */
	follower_state state;
	struct event *timer; /* what it is for hangs on the state */
	struct event *nonce_timer;
	unsigned backoff;
	bool is_broken; /* the connection is to be given up */
	bool is_standby;
	bool is_polling;
	bool is_probe_sent;
	bool is_notified;       /* meanwhile */
	bool is_looking_around; /* besides reading, whether we are where we were, with what there was */
	uint64_t read_at;       /* 0: never */
	char nonce[40];         /* our private channel; "": it was heard, or isn't asked */
	text channels;          /* those to listen on, each with a null byte */
	size_t listened;        /* bytes of them that are done */
	unsigned spaces;        /* namespaces known when they were asked for */
};

static void connect_again(follower *f);
static void read_log(follower *f);
static void load(follower *f);
static void send_probe(follower *f);

/* ---------- time ---------- */

static void
set_timer(struct event *timer, unsigned milliseconds)
{
	struct timeval time = {milliseconds / 1000, (suseconds_t) (milliseconds % 1000) * 1000};

	event_add(timer, &time);
}

/* Gives the connection up, from the loop, and tries again after a while. */
static void
give_up(follower *f, const char *what, const PGresult *result)
{
	const char *detail = result == NULL ? NULL : PQresultErrorMessage(result);

	log_warning("following the log fails", "doing", what, "reason", detail);
	f->is_broken = true;
	set_timer(f->timer, 0);
}

static void
wait_and_connect(follower *f)
{
	unsigned wait = f->backoff / 2 + (unsigned) random() % (f->backoff / 2 + 1);

	f->state = FOLLOWER_DOWN;
	f->backoff = f->backoff * 2 > BACKOFF_MOST ? BACKOFF_MOST : f->backoff * 2;
	event_del(f->nonce_timer);
	set_timer(f->timer, wait);
}

static void
idle(follower *f)
{
	f->state = FOLLOWER_IDLE;
	f->is_looking_around = false;
	set_timer(f->timer, f->is_polling ? f->bridge->config.poll_interval : IDLE_READ);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	follower *f = arg;

	(void) fd;
	(void) what;
	if (f->is_broken)
	{
		pg_close(f->conn);
		f->conn = NULL;
		f->is_broken = false;
		wait_and_connect(f);
	}
	else if (f->state == FOLLOWER_DOWN)
		connect_again(f);
	else if (f->state == FOLLOWER_IDLE)
	{
		f->is_looking_around = true;
		read_log(f);
	}
}

/* Our own notification didn't come: we speak to a pooler, whose server session isn't ours. */
static void
on_nonce_timer(evutil_socket_t fd, short what, void *arg)
{
	follower *f = arg;

	(void) fd;
	(void) what;
	if (f->nonce[0] == '\0')
		return;
	if (!f->is_probe_sent)
	{
		send_probe(f);
		return;
	}
	log_warning("notifications don't come, so the log is polled", "hint",
				"connect to the server itself, or to a pooler in session mode");
	f->is_polling = true;
	if (f->state == FOLLOWER_IDLE)
		idle(f);
}

/* ---------- results ---------- */

/* Whether all statements of a job succeeded; else gives up. */
static bool
succeeded(follower *f, const char *what, PGresult *const *results, int count, int expected)
{
	for (int i = 0; i < count; i++)
	{
		ExecStatusType status = PQresultStatus(results[i]);

		if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
		{
			give_up(f, what, results[i]);
			return false;
		}
	}
	if (count != expected)
		give_up(f, what, NULL);
	return count == expected;
}

/* ---------- listening ---------- */

static void
make_nonce(follower *f)
{
	uint64_t number = 0;

	if (getrandom(&number, sizeof(number), 0) != (ssize_t) sizeof(number))
		number = (uint64_t) wall_us();
	snprintf(f->nonce, sizeof(f->nonce), "ff_bridge_%016" PRIx64, number);
}

static void
take_sent(void *arg, PGresult *const *results, int count, const char *why)
{
	(void) arg;
	(void) results;
	(void) count;
	(void) why;
}

/*
 * Tells ourselves something on a channel of our own, to see whether it comes. It is sent by another
 * connection and another transaction: a pooler lets us hear what we say ourselves.
 */
static void
send_probe(follower *f)
{
	const pg_statement statement = {.sql = "SELECT pg_catalog.pg_notify($1, '')",
									.count = 1,
									.params = {f->nonce}};
	const char *why;

	f->is_probe_sent = pool_run(f->bridge->pool, &statement, 1, take_sent, NULL, &why);
	set_timer(f->nonce_timer, f->is_probe_sent ? NONCE_TIMEOUT : NONCE_RETRY);
}

static void
take_probe(void *arg, PGresult *const *results, int count)
{
	follower *f = arg;

	if (!succeeded(f, "probing notifications", results, count, 1))
		return;
	send_probe(f);
	read_log(f);
}

static void
probe(follower *f)
{
	char listen[64];
	const pg_statement statement = {.sql = listen};

	if (f->nonce[0] == '\0')
	{
		read_log(f);
		return;
	}
	snprintf(listen, sizeof(listen), "LISTEN %s", f->nonce);
	pg_send(f->conn, &statement, 1, READ_TIMEOUT, take_probe, f);
}

static void listen_next(follower *f);

static void
take_listen(void *arg, PGresult *const *results, int count)
{
	follower *f = arg;

	if (succeeded(f, "listening", results, count, 1))
		listen_next(f);
}

/* Listens on the channels one after the other. Names are quoted: they are those of namespaces. */
static void
listen_next(follower *f)
{
	text sql = {0};
	pg_statement statement;
	const char *name;

	if (f->listened == f->channels.len)
	{
		probe(f);
		return;
	}
	name = f->channels.bytes + f->listened;
	f->listened += strlen(name) + 1;
	text_adds(&sql, "LISTEN \"");
	for (; *name != '\0'; name++)
		text_addf(&sql, *name == '"' ? "\"\"" : "%c", *name);
	text_adds(&sql, "\"");
	statement = (pg_statement){.sql = sql.has_failed ? "" : sql.bytes};
	pg_send(f->conn, &statement, 1, READ_TIMEOUT, take_listen, f);
	text_free(&sql);
}

/* What we are connected to, and which channels there are. */
static void
take_setup(void *arg, PGresult *const *results, int count)
{
	follower *f = arg;

	if (!succeeded(f, "looking around", results, count, 3))
		return;
	if (PQntuples(results[0]) == 0)
	{
		log_error("the database doesn't have the extension ff", "hint", "CREATE EXTENSION ff");
		give_up(f, "looking around", NULL);
		return;
	}
	f->is_standby = *PQgetvalue(results[1], 0, 0) == 't';
	f->channels.len = 0;
	f->listened = 0;
	f->spaces = (unsigned) PQntuples(results[2]);
	for (int i = 0; i < PQntuples(results[2]); i++)
	{
		const char *name = PQgetvalue(results[2], i, 0);

		text_add(&f->channels, name, strlen(name) + 1);
		hub_add_namespace(f->bridge->hub, PQgetvalue(results[2], i, 1));
	}

	/* a standby has no notifications */
	f->is_polling = f->is_standby;
	if (f->is_standby)
		read_log(f);
	else
		listen_next(f);
}

static void
set_up(follower *f)
{
	static const pg_statement statements[] = {
		{.sql = SQL_PATH},
		{.sql = "SELECT pg_is_in_recovery()"},
		{.sql = "SELECT channel, namespace FROM ff_namespaces()"}};

	pg_send(f->conn, statements, 3, READ_TIMEOUT, take_setup, f);
}

/* ---------- reading ---------- */

/* Takes the events that follow the head. False: they don't follow it, or there is no memory. */
static bool
take_events(follower *f, const PGresult *rows)
{
	hub *hub = f->bridge->hub;
	event_ref head = hub_head(hub);
	int first = head.id == 0 ? 0 : 1;

	if (head.id > 0)
	{
		event_ref ref = PQntuples(rows) == 0 ? (event_ref){0, 0} : eventlog_ref(rows, 0, 0);

		if (ref.id != head.id || ref.hash != head.hash)
		{
			log_warning("the log has another history than before, so all is loaded anew");
			return false;
		}
	}
	for (int i = first; i < PQntuples(rows); i++)
	{
		log_event event;

		eventlog_read(rows, i, &event);
		if (!hub_take(hub, &event))
			return false;
	}
	if (PQntuples(rows) > first)
		hub_fan_out(hub);
	return true;
}

/* Whether the log has events beyond those that were read. */
static bool
has_more(const PGresult *rows)
{
	int last = PQntuples(rows) - 1;

	return last >= 0 && (last >= EVENTS_AT_ONCE || strtoull(PQgetvalue(rows, last, 9), NULL, 10) >
													   eventlog_ref(rows, last, 0).id);
}

static void
take_log(void *arg, PGresult *const *results, int count)
{
	follower *f = arg;

	if (!succeeded(f, "reading the log", results, count, f->is_looking_around ? 3 : 2))
		return;
	if (!take_events(f, results[1]))
	{
		load(f);
		return;
	}
	if (has_more(results[1]))
	{
		read_log(f);
		return;
	}
	f->read_at = monotonic_ms();
	f->backoff = BACKOFF_LEAST;
	if (f->is_looking_around && (f->is_standby != (*PQgetvalue(results[2], 0, 0) == 't') ||
								 f->spaces != (unsigned) atoi(PQgetvalue(results[2], 0, 1))))
	{
		/* promoted; or a namespace is new, whose channel we don't listen on */
		set_up(f);
	}
	else if (f->is_notified)
		read_log(f);
	else
		idle(f);
}

static void
read_log(follower *f)
{
	char after[24], limit[24];
	const pg_statement statements[] = {
		{.sql = SQL_PATH},
		{.sql = "SELECT " EVENT_COLUMNS ", newest FROM " EVENTS_AFTER " ORDER BY event_id",
		 .count = 2,
		 .params = {after, limit}},
		{.sql = "SELECT pg_is_in_recovery(), (SELECT count(*) FROM ff_namespaces())"}};
	event_ref head = hub_head(f->bridge->hub);

	event_del(f->timer);
	if (!hub_is_loaded(f->bridge->hub))
	{
		load(f);
		return;
	}
	f->state = FOLLOWER_READING;
	f->is_notified = false;
	snprintf(after, sizeof(after), "%" PRIu64, head.id == 0 ? 0 : head.id - 1);
	snprintf(limit, sizeof(limit), "%d", EVENTS_AT_ONCE + 1);
	pg_send(f->conn, statements, f->is_looking_around ? 3 : 2, READ_TIMEOUT, take_log, f);
}

/* ---------- loading ---------- */

static bool
put_documents(hub *hub, const PGresult *spaces, const PGresult *rows)
{
	bool is_good = hub_load_begin(hub);

	for (int i = 0; is_good && i < PQntuples(spaces); i++)
		is_good = hub_load_namespace(hub, PQgetvalue(spaces, i, 0));
	for (int i = 0; is_good && i < PQntuples(rows); i++)
		is_good = hub_load_put(hub, PQgetvalue(rows, i, 0), PQgetvalue(rows, i, 1),
							   PQgetvalue(rows, i, 2), strtoll(PQgetvalue(rows, i, 3), NULL, 10),
							   PQgetvalue(rows, i, 4));
	if (!is_good)
		hub_load_abandon(hub);
	return is_good;
}

static void
take_load(void *arg, PGresult *const *results, int count)
{
	follower *f = arg;
	hub *hub = f->bridge->hub;
	const PGresult *events;
	event_ref head;

	if (!succeeded(f, "loading flags", results, count, 7))
		return;
	if (!put_documents(hub, results[2], results[3]))
	{
		give_up(f, "loading flags: out of memory", NULL);
		return;
	}
	events = results[5];
	head = eventlog_ref(results[4], 0, 0);
	hub_load_end(hub, head, PQntuples(events) == 0 ? head.id : eventlog_ref(events, 0, 0).id - 1);
	for (int i = 0; i < PQntuples(events); i++)
	{
		log_event event;

		eventlog_read(events, i, &event);
		hub_replay(hub, &event);
	}
	hub_load_done(hub);
	log_info("flags are loaded", "documents", log_number(PQntuples(results[3])), "event",
			 log_number((int64_t) head.id));
	hub_fan_out(hub);
	read_log(f);
}

/* Everything, and the event that it is the state of, in one snapshot. */
static void
load(follower *f)
{
	char replayed[24], bytes[24];
	const pg_statement statements[] = {
		{.sql = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"},
		{.sql = SQL_PATH},
		{.sql = "SELECT namespace FROM ff_namespaces()"},
		{.sql = "SELECT namespace, object, key, version, definition FROM ff_documents()"},
		{.sql = "SELECT event_id, left(encode(event_hash, 'hex'), 8) FROM ff_event_head()"},
		{.sql = "SELECT " EVENT_COLUMNS " FROM (SELECT *, sum(octet_length(new_value::text)) OVER "
				"(ORDER BY event_id DESC) AS bytes FROM ff_events_after((SELECT greatest("
				"coalesce(event_id, 0) - $1, 0) FROM ff_event_head()), NULL)) e "
				"WHERE coalesce(bytes, 0) <= $2 ORDER BY event_id",
		 .count = 2,
		 .params = {replayed, bytes}},
		{.sql = "COMMIT"}};

	f->state = FOLLOWER_LOADING;
	snprintf(replayed, sizeof(replayed), "%d", REPLAYED);
	snprintf(bytes, sizeof(bytes), "%zu", f->bridge->config.ring_size);
	pg_send(f->conn, statements, 7, LOAD_TIMEOUT, take_load, f);
}

/* ---------- the connection ---------- */

static void
on_ready(void *arg)
{
	follower *f = arg;

	log_info("connected to the database");
	f->bridge->metrics.connects++;
	make_nonce(f);
	set_up(f);
}

static void
on_lost(void *arg, const char *why)
{
	follower *f = arg;

	if (f->state != FOLLOWER_CONNECTING)
		f->bridge->metrics.losses++;
	log_warning("the database is away", "reason", why);
	f->conn = NULL;
	f->is_broken = false;
	wait_and_connect(f);
}

static void
on_notified(void *arg, const char *channel, const char *payload)
{
	follower *f = arg;

	(void) payload;
	if (strcmp(channel, f->nonce) == 0)
	{
		f->nonce[0] = '\0';
		event_del(f->nonce_timer);
		return;
	}
	f->is_notified = true;
	if (f->state == FOLLOWER_IDLE)
		read_log(f);
}

static void
connect_again(follower *f)
{
	static const pg_ops ops = {on_ready, on_lost, on_notified};

	f->state = FOLLOWER_CONNECTING;
	f->is_notified = false;
	f->conn = pg_connect(f->bridge->base, f->bridge->config.database, CONNECT_TIMEOUT, &ops, f);
	if (f->conn == NULL)
		wait_and_connect(f);
}

follower *
follower_new(bridge *bridge)
{
	follower *f = calloc(1, sizeof(*f));

	if (f == NULL)
		return NULL;
	f->bridge = bridge;
	f->backoff = BACKOFF_LEAST;
	f->timer = evtimer_new(bridge->base, on_timer, f);
	f->nonce_timer = evtimer_new(bridge->base, on_nonce_timer, f);
	if (f->timer == NULL || f->nonce_timer == NULL)
	{
		follower_free(f);
		return NULL;
	}
	connect_again(f);
	return f;
}

void
follower_free(follower *f)
{
	if (f == NULL)
		return;
	pg_close(f->conn);
	if (f->timer != NULL)
		event_free(f->timer);
	if (f->nonce_timer != NULL)
		event_free(f->nonce_timer);
	text_free(&f->channels);
	free(f);
}

/* ---------- looking ---------- */

follower_state
follower_state_of(const follower *f)
{
	return f->state;
}

const char *
follower_state_name(follower_state state)
{
	static const char *const names[] = {"down", "connecting", "loading", "reading", "idle"};

	return names[state];
}

bool
follower_is_current(const follower *f)
{
	return f->state >= FOLLOWER_READING && f->read_at > 0;
}

uint64_t
follower_age(const follower *f)
{
	return f->read_at == 0 ? UINT64_MAX : monotonic_ms() - f->read_at;
}

bool
follower_is_polling(const follower *f)
{
	return f->is_polling;
}
