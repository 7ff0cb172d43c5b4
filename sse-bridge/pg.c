/*
 * sse-bridge/pg.c
 *	  A connection to the database on the loop.
 */
#include "pg.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

typedef struct pg_job
{
	pg_handler handler; /* NULL: there is no job */
	void *arg;
	int count;
	int answered;
	unsigned timeout; /* without a byte of the answer */
	PGresult *results[PG_MAX_STATEMENTS];
} pg_job;

struct pg_conn
{
	struct event_base *base;
	PGconn *pq;
	const pg_ops *ops;
	void *arg;
	struct event *reading;
	struct event *writing;
	struct event *timer;
	pg_job job;
	bool is_ready;
	char failed[256]; /* why, until it is told */
};

static void on_io(evutil_socket_t fd, short what, void *arg);
static void on_timer(evutil_socket_t fd, short what, void *arg);

/* ---------- ending ---------- */

static void
clear_job(pg_job *job)
{
	for (int i = 0; i < job->answered; i++)
		PQclear(job->results[i]);
	memset(job, 0, sizeof(*job));
}

static void
free_io(pg_conn *conn)
{
	if (conn->reading != NULL)
		event_free(conn->reading);
	if (conn->writing != NULL)
		event_free(conn->writing);
	conn->reading = conn->writing = NULL;
}

void
pg_close(pg_conn *conn)
{
	if (conn == NULL)
		return;
	free_io(conn);
	if (conn->timer != NULL)
		event_free(conn->timer);
	clear_job(&conn->job);
	PQfinish(conn->pq);
	free(conn);
}

/* Has the loop tell that the connection is lost. The first reason counts. */
static void
fail(pg_conn *conn, const char *why)
{
	struct timeval now = {0, 0};

	if (conn->failed[0] != '\0')
		return;
	snprintf(conn->failed, sizeof(conn->failed), "%s", *why == '\0' ? "unknown error" : why);
	conn->failed[strcspn(conn->failed, "\n")] = '\0';
	free_io(conn);
	event_add(conn->timer, &now);
}

/* The time until which something must have come. */
static void
set_timer(pg_conn *conn, unsigned milliseconds)
{
	struct timeval time = {milliseconds / 1000, (suseconds_t) (milliseconds % 1000) * 1000};

	event_add(conn->timer, &time);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	pg_conn *conn = arg;

	(void) fd;
	(void) what;
	if (conn->failed[0] == '\0')
		snprintf(conn->failed, sizeof(conn->failed), "no answer in time");
	conn->ops->lost(conn->arg, conn->failed);
	pg_close(conn);
}

/* ---------- connecting ---------- */

/* libpq's socket may change while it tries one address after the other. */
static bool
watch(pg_conn *conn, bool reading, bool writing)
{
	int fd = PQsocket(conn->pq);

	free_io(conn);
	if (fd < 0)
		return false;
	conn->reading = event_new(conn->base, fd, EV_READ | EV_PERSIST, on_io, conn);
	conn->writing = event_new(conn->base, fd, EV_WRITE, on_io, conn);
	if (conn->reading == NULL || conn->writing == NULL)
		return false;
	return (!reading || event_add(conn->reading, NULL) == 0) &&
		   (!writing || event_add(conn->writing, NULL) == 0);
}

static void
connected(pg_conn *conn)
{
	event_del(conn->timer);
	if (PQsetnonblocking(conn->pq, 1) != 0 || !PQenterPipelineMode(conn->pq) ||
		!watch(conn, true, false))
	{
		fail(conn, PQerrorMessage(conn->pq));
		return;
	}
	conn->is_ready = true;
	conn->ops->ready(conn->arg);
}

static void
go_on_connecting(pg_conn *conn)
{
	switch (PQconnectPoll(conn->pq))
	{
		case PGRES_POLLING_OK:
			connected(conn);
			return;
		case PGRES_POLLING_READING:
			if (!watch(conn, true, false))
				fail(conn, "out of memory");
			return;
		case PGRES_POLLING_WRITING:
			if (!watch(conn, false, true))
				fail(conn, "out of memory");
			return;
		default:
			fail(conn, PQerrorMessage(conn->pq));
	}
}

static void
take_notice(void *arg, const char *message)
{
	(void) arg;
	log_debug("notice of the database", "message", message);
}

pg_conn *
pg_connect(struct event_base *base, const char *conninfo, unsigned timeout, const pg_ops *ops,
		   void *arg)
{
	const char *const names[] = {"dbname", "fallback_application_name", "client_encoding", NULL};
	const char *const values[] = {conninfo, "sse-bridge", "UTF8", NULL};
	pg_conn *conn = calloc(1, sizeof(*conn));

	if (conn == NULL)
		return NULL;
	conn->base = base;
	conn->ops = ops;
	conn->arg = arg;
	conn->timer = evtimer_new(base, on_timer, conn);
	conn->pq = PQconnectStartParams(names, values, 1);
	if (conn->timer == NULL || conn->pq == NULL)
	{
		pg_close(conn);
		return NULL;
	}
	PQsetNoticeProcessor(conn->pq, take_notice, NULL);
	set_timer(conn, timeout);
	if (PQstatus(conn->pq) == CONNECTION_BAD)
		fail(conn, PQerrorMessage(conn->pq));
	else if (!watch(conn, false, true))
		fail(conn, "out of memory");
	return conn;
}

/* ---------- jobs ---------- */

static void
flush(pg_conn *conn)
{
	int left = PQflush(conn->pq);

	if (left < 0)
		fail(conn, PQerrorMessage(conn->pq));
	else if (left > 0)
		event_add(conn->writing, NULL);
}

void
pg_send(pg_conn *conn, const pg_statement *statements, int count, unsigned timeout,
		pg_handler handler, void *arg)
{
	bool sent = true;

	conn->job = (pg_job){.handler = handler, .arg = arg, .count = count, .timeout = timeout};
	for (int i = 0; sent && i < count; i++)
		sent = PQsendQueryParams(conn->pq, statements[i].sql, statements[i].count, NULL,
								 statements[i].params, NULL, NULL, 0);
	if (!sent || !PQpipelineSync(conn->pq))
	{
		fail(conn, PQerrorMessage(conn->pq));
		return;
	}
	set_timer(conn, timeout);
	flush(conn);
}

static void
finish_job(pg_conn *conn)
{
	pg_job job = conn->job;

	memset(&conn->job, 0, sizeof(conn->job));
	event_del(conn->timer);
	job.handler(job.arg, job.results, job.answered);
	clear_job(&job);
}

/* Takes what has come for the job. A null result ends a statement's; the sync ends the job. */
static void
take_results(pg_conn *conn)
{
	int ends = 0; /* a statement's end, and no more than that, may follow another */

	while (conn->job.handler != NULL && conn->failed[0] == '\0' && !PQisBusy(conn->pq))
	{
		PGresult *result = PQgetResult(conn->pq);
		pg_job *job = &conn->job;

		if (result == NULL)
		{
			if (ends++ > 0 && PQstatus(conn->pq) == CONNECTION_BAD)
				fail(conn, PQerrorMessage(conn->pq));
			if (ends > 1)
				return;
			continue;
		}
		ends = 0;
		if (PQresultStatus(result) == PGRES_PIPELINE_SYNC)
		{
			PQclear(result);
			finish_job(conn);
		}
		else if (job->answered < job->count)
			job->results[job->answered++] = result;
		else
			PQclear(result);
	}
}

static void
take_notifications(pg_conn *conn)
{
	PGnotify *notify;

	while (conn->failed[0] == '\0' && (notify = PQnotifies(conn->pq)) != NULL)
	{
		if (conn->ops->notified != NULL)
			conn->ops->notified(conn->arg, notify->relname, notify->extra);
		PQfreemem(notify);
	}
}

static void
on_io(evutil_socket_t fd, short what, void *arg)
{
	pg_conn *conn = arg;

	(void) fd;
	if (!conn->is_ready)
	{
		go_on_connecting(conn);
		return;
	}
	if ((what & EV_READ) != 0 && !PQconsumeInput(conn->pq))
	{
		fail(conn, PQerrorMessage(conn->pq));
		return;
	}
	if ((what & EV_READ) != 0 && conn->job.handler != NULL)
		set_timer(conn, conn->job.timeout);
	if ((what & EV_WRITE) != 0)
		flush(conn);
	take_results(conn);
	take_notifications(conn);
}

/* ---------- looking ---------- */

bool
pg_is_idle(const pg_conn *conn)
{
	return conn->is_ready && conn->job.handler == NULL && conn->failed[0] == '\0';
}

bool
pg_in_transaction(const pg_conn *conn)
{
	return PQtransactionStatus(conn->pq) != PQTRANS_IDLE;
}

const char *
pg_parameter(const pg_conn *conn, const char *name)
{
	return PQparameterStatus(conn->pq, name);
}
