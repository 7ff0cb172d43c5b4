/*
 * sse-bridge/pool.c
 *	  Connections for calls.
 */
#include "pool.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

#define CONNECT_TIMEOUT 5000
#define BACKOFF_LEAST 50
#define BACKOFF_MOST 10000

/* A call that waits or is being answered. Its texts and parameters lie after it. */
typedef struct call
{
	pool_handler handler;
	void *arg;
	int count;
	pg_statement statements[PG_MAX_STATEMENTS];
	uint64_t since; /* in milliseconds */
	struct call *next;
} call;

typedef struct member
{
	pool *pool;
	pg_conn *conn; /* NULL: none */
	call *call;    /* being answered */
	bool is_ready;
	struct event *retry;
	unsigned backoff;
} member;

struct pool
{
	bridge *bridge;
	char *conninfo;
	call *first; /* that wait */
	call **last;
	unsigned waiting;
	unsigned count;
	member members[];
};

static void connect_member(member *one);
static void serve(member *one);

/* ---------- calls ---------- */

static call *
make_call(const pg_statement *statements, int count, pool_handler handler, void *arg)
{
	size_t size = sizeof(call);
	call *new;
	char *to;

	for (int i = 0; i < count; i++)
	{
		size += strlen(statements[i].sql) + 1;
		for (int p = 0; p < statements[i].count; p++)
			size += statements[i].params[p] == NULL ? 0 : strlen(statements[i].params[p]) + 1;
	}
	new = malloc(size);
	if (new == NULL)
		return NULL;
	*new = (call){.handler = handler, .arg = arg, .count = count, .since = monotonic_ms()};
	to = (char *) (new + 1);
	for (int i = 0; i < count; i++)
	{
		new->statements[i] = statements[i];
		new->statements[i].sql = to;
		to = stpcpy(to, statements[i].sql) + 1;
		for (int p = 0; p < statements[i].count; p++)
		{
			if (statements[i].params[p] == NULL)
				continue;
			new->statements[i].params[p] = to;
			to = stpcpy(to, statements[i].params[p]) + 1;
		}
	}
	return new;
}

static call *
take_first(pool *pool)
{
	call *one = pool->first;

	if (one == NULL)
		return NULL;
	pool->first = one->next;
	if (pool->first == NULL)
		pool->last = &pool->first;
	pool->waiting--;
	return one;
}

static void
fail_waiting(pool *pool, const char *why)
{
	call *one;

	while ((one = take_first(pool)) != NULL)
	{
		one->handler(one->arg, NULL, 0, why);
		free(one);
	}
}

/* ---------- connections ---------- */

static void
take_rollback(void *arg, PGresult *const *results, int count)
{
	(void) results;
	(void) count;
	serve(arg);
}

static void
take_answer(void *arg, PGresult *const *results, int count)
{
	static const pg_statement rollback = {.sql = "ROLLBACK"};
	member *one = arg;
	call *done = one->call;

	/* it is still its call meanwhile: what the handler runs goes elsewhere */
	done->handler(done->arg, results, count, NULL);
	one->call = NULL;
	free(done);
	if (pg_in_transaction(one->conn))
		pg_send(one->conn, &rollback, 1, one->pool->bridge->config.statement_timeout, take_rollback,
				one);
	else
		serve(one);
}

/* The next call; those that have waited for too long are told so: whoever asked is gone, or will
 * be. */
static call *
take_fresh(pool *pool)
{
	call *one;

	while ((one = take_first(pool)) != NULL &&
		   monotonic_ms() - one->since > pool->bridge->config.statement_timeout)
	{
		one->handler(one->arg, NULL, 0, "no connection to the database was free in time");
		free(one);
	}
	return one;
}

/* Takes up the next call, if there is one. */
static void
serve(member *one)
{
	if (!one->is_ready || one->call != NULL || !pg_is_idle(one->conn))
		return;
	one->call = take_fresh(one->pool);

	/* the server's own limit is to come first: it ends the statement, and says so */
	if (one->call != NULL)
		pg_send(one->conn, one->call->statements, one->call->count,
				one->pool->bridge->config.statement_timeout + 2000, take_answer, one);
}

static void
on_ready(void *arg)
{
	member *one = arg;

	one->is_ready = true;
	one->backoff = BACKOFF_LEAST;
	serve(one);
}

static void
on_lost(void *arg, const char *why)
{
	member *one = arg;
	call *broken = one->call;
	unsigned wait = one->backoff / 2 + (unsigned) random() % (one->backoff / 2 + 1);
	struct timeval time = {wait / 1000, (suseconds_t) (wait % 1000) * 1000};

	one->conn = NULL;
	one->call = NULL;
	one->is_ready = false;
	one->backoff = one->backoff * 2 > BACKOFF_MOST ? BACKOFF_MOST : one->backoff * 2;
	event_add(one->retry, &time);
	log_warning("a connection for calls is lost", "reason", why);
	if (broken != NULL)
	{
		broken->handler(broken->arg, NULL, 0, why);
		free(broken);
	}
	if (pool_ready(one->pool) == 0)
		fail_waiting(one->pool, why);
}

static void
connect_member(member *one)
{
	static const pg_ops ops = {on_ready, on_lost, NULL};

	one->conn =
		pg_connect(one->pool->bridge->base, one->pool->conninfo, CONNECT_TIMEOUT, &ops, one);
	if (one->conn == NULL)
		on_lost(one, "out of memory");
}

static void
on_retry(evutil_socket_t fd, short what, void *arg)
{
	(void) fd;
	(void) what;
	connect_member(arg);
}

/* ---------- the pool ---------- */

pool *
pool_new(bridge *bridge, const char *conninfo)
{
	unsigned count = bridge->config.pool_size;
	pool *new = calloc(1, sizeof(*new) + sizeof(member) * count);

	if (new == NULL)
		return NULL;
	new->bridge = bridge;
	new->last = &new->first;
	new->conninfo = strdup(conninfo);
	for (new->count = 0; new->count < count; new->count++)
	{
		member *one = &new->members[new->count];

		one->pool = new;
		one->backoff = BACKOFF_LEAST;
		one->retry = evtimer_new(bridge->base, on_retry, one);
		if (one->retry == NULL || new->conninfo == NULL)
		{
			pool_free(new);
			return NULL;
		}
		connect_member(one);
	}
	return new;
}

void
pool_free(pool *pool)
{
	call *one;

	if (pool == NULL)
		return;
	for (unsigned i = 0; i < pool->count; i++)
	{
		pg_close(pool->members[i].conn);
		event_free(pool->members[i].retry);
		free(pool->members[i].call);
	}
	while ((one = take_first(pool)) != NULL)
		free(one);
	free(pool->conninfo);
	free(pool);
}

unsigned
pool_ready(const pool *pool)
{
	unsigned ready = 0;

	for (unsigned i = 0; i < pool->count; i++)
		ready += pool->members[i].is_ready;
	return ready;
}

unsigned
pool_waiting(const pool *pool)
{
	return pool->waiting;
}

bool
pool_run(pool *pool, const pg_statement *statements, int count, pool_handler handler, void *arg,
		 const char **why)
{
	call *new;

	*why = NULL;
	if (pool_ready(pool) == 0)
		*why = "the database is away";
	else if (pool->waiting >= pool->bridge->config.pool_queue)
	{
		*why = "too many calls are waiting";
		pool->bridge->metrics.shed++;
	}
	if (*why != NULL)
		return false;
	new = make_call(statements, count, handler, arg);
	if (new == NULL)
	{
		*why = "out of memory";
		return false;
	}
	*pool->last = new;
	pool->last = &new->next;
	pool->waiting++;
	for (unsigned i = 0; i < pool->count && pool->first != NULL; i++)
		serve(&pool->members[i]);
	return true;
}
