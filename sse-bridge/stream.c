/*
 * sse-bridge/stream.c
 *	  Streams of events to clients.
 *
 * An idle stream is a socket and this struct: all that is sent lies in rings and blobs that streams
 * share.
 */
#include "stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catchup.h"
#include "log.h"

#define SEND_AT_ONCE (256 * 1024) /* bytes, before others have their turn */

typedef enum stream_phase
{
	PHASE_WAITING,     /* for the database, or for the event that the client saw last */
	PHASE_CATCHING_UP, /* from the log */
	PHASE_LIVE         /* from the ring */
} stream_phase;

/* Which flags a stream is about. */
typedef struct stream_filter
{
	char *prefix; /* NULL: none */
	unsigned count;
	char *keys[]; /* one block, at the first of them */
} stream_filter;

struct stream
{
	http_stream *http;
	view *view;
	uint32_t index; /* in view->streams */
	uint8_t phase;
	bool is_blocked;    /* the socket has no room: it will call */
	bool is_resuming;   /* since is what the client gave, and not known to be history */
	uint32_t born;      /* in seconds */
	uint32_t last_sent; /* in seconds */
	uint32_t deadline;  /* in seconds; of waiting; 0: none */
	uint32_t max_age;   /* in seconds; 0: none */
	uint32_t place_offset;
	uint64_t place; /* in the ring */
	blob *blob;     /* goes first; NULL: nothing */
	size_t blob_offset;
	event_ref since; /* the last event that the client has, while it is not live */
	catchup *catchup;
	stream_filter *filter; /* NULL: everything */
};

static void begin(stream *one);

static uint32_t
seconds(void)
{
	return (uint32_t) (monotonic_ms() / 1000);
}

static bridge *
bridge_of(const stream *one)
{
	return hub_bridge(one->view->hub);
}

/* ---------- filters ---------- */

static void
free_filter(stream_filter *filter)
{
	if (filter == NULL)
		return;
	if (filter->count > 0)
		free(filter->keys[0]);
	free(filter->prefix);
	free(filter);
}

static bool
wants(const void *arg, const char *key)
{
	const stream_filter *filter = arg;

	if (filter->prefix != NULL && strncmp(key, filter->prefix, strlen(filter->prefix)) == 0)
		return true;
	for (unsigned i = 0; i < filter->count; i++)
	{
		if (strcmp(filter->keys[i], key) == 0)
			return true;
	}
	return false;
}

static unsigned
count_keys(const char *keys)
{
	unsigned count = 1;

	for (; *keys != '\0'; keys++)
		count += *keys == ',';
	return count;
}

/* The filter of a request; false when there is no memory. What is empty filters nothing. */
static bool
make_filter(const char *keys, const char *prefix, stream_filter **out)
{
	unsigned count = keys == NULL || *keys == '\0' ? 0 : count_keys(keys);
	stream_filter *filter;
	char *copy, *rest;

	*out = NULL;
	if (count == 0 && (prefix == NULL || *prefix == '\0'))
		return true;
	filter = calloc(1, sizeof(*filter) + sizeof(char *) * (count + 1));
	if (filter == NULL)
		return false;
	if (prefix != NULL && *prefix != '\0')
		filter->prefix = strdup(prefix);
	copy = count == 0 ? NULL : strdup(keys);
	if ((prefix != NULL && *prefix != '\0' && filter->prefix == NULL) ||
		(count > 0 && copy == NULL))
	{
		free(filter->prefix);
		free(filter);
		return false;
	}
	rest = copy;
	for (filter->count = 0; filter->count < count; filter->count++)
		filter->keys[filter->count] = strsep(&rest, ",");
	*out = filter;
	return true;
}

/* ---------- the set of streams ---------- */

static bool
add_to_view(view *view, stream *one)
{
	if (view->stream_count == view->stream_room)
	{
		uint32_t room = view->stream_room == 0 ? 16 : view->stream_room * 2;
		stream **grown = realloc(view->streams, sizeof(stream *) * room);

		if (grown == NULL)
			return false;
		view->streams = grown;
		view->stream_room = room;
	}
	one->index = view->stream_count;
	view->streams[view->stream_count++] = one;
	return true;
}

/* The last one takes its place; it may have had no turn yet, so that all get one. */
static void
remove_from_view(stream *one)
{
	view *view = one->view;
	stream *last = view->streams[--view->stream_count];

	view->streams[one->index] = last;
	last->index = one->index;
	if (view->due > 0)
		view->due = view->stream_count;
}

/* Frees a stream whose connection is gone, or is closed by the caller. */
static void
free_stream(stream *one, stream_end end)
{
	metrics *metrics = &bridge_of(one)->metrics;

	metrics->streams--;
	metrics->streams_ended[end]++;
	remove_from_view(one);
	if (one->catchup != NULL)
		catchup_leave(one->catchup, one);
	blob_release(one->blob);
	free_filter(one->filter);
	free(one);
}

static void
end_stream(stream *one, stream_end end)
{
	http_stream_close(one->http, end == STREAM_ENDED_LAG ? HTTP_CLOSED_LIMIT : HTTP_CLOSED_SERVER);
	free_stream(one, end);
}

/* ---------- sending ---------- */

/* Writes; sets is_blocked where the socket has no room for all of it. Bytes that it took. */
static size_t
write_some(stream *one, const char *bytes, size_t len)
{
	struct iovec iov = {.iov_base = (void *) bytes, .iov_len = len};
	ssize_t taken = http_stream_write(one->http, &iov, 1);

	/* a dead connection calls by itself */
	if (taken < (ssize_t) len)
	{
		one->is_blocked = true;
		if (taken >= 0)
			http_stream_want(one->http, true);
	}
	if (taken <= 0)
		return 0;
	one->last_sent = seconds();
	bridge_of(one)->metrics.stream_bytes += (uint64_t) taken;
	return (size_t) taken;
}

/* Sends of the blob. True when nothing of it is left. */
static bool
send_blob(stream *one)
{
	one->blob_offset +=
		write_some(one, one->blob->bytes + one->blob_offset, one->blob->len - one->blob_offset);
	if (one->blob_offset < one->blob->len)
		return false;
	blob_release(one->blob);
	one->blob = NULL;
	one->blob_offset = 0;
	return true;
}

/* What the stream wants next of the ring: bytes that lie together, skipping what it doesn't want.
 */
static size_t
next_span(stream *one, const char **bytes)
{
	const ring *ring = one->view->ring;
	ring_event event;

	if (one->filter == NULL)
		return ring_span(ring, one->place, one->place_offset, bytes);
	for (; one->place < ring_end(ring); one->place++)
	{
		ring_at(ring, one->place, &event);
		if (one->place_offset > 0 || !event.is_flag || wants(one->filter, event.key))
		{
			*bytes = event.bytes + one->place_offset;
			return event.len - one->place_offset;
		}
	}
	return 0;
}

/* Sends of the ring. False: the stream is gone. */
static bool
send_ring(stream *one)
{
	size_t budget = SEND_AT_ONCE;

	while (!one->is_blocked && budget > 0)
	{
		size_t offset = one->place_offset;
		const char *bytes;
		size_t len;

		if (one->place < ring_start(one->view->ring))
		{
			end_stream(one, STREAM_ENDED_LAG);
			return false;
		}
		len = next_span(one, &bytes);
		if (len == 0)
			return true;
		len = write_some(one, bytes, len > budget ? budget : len);
		budget -= len;
		ring_advance(one->view->ring, &one->place, &offset, len);
		one->place_offset = (uint32_t) offset;
	}

	/* the rest at the next turn, which the socket gives */
	if (!one->is_blocked)
	{
		one->is_blocked = true;
		http_stream_want(one->http, true);
	}
	return true;
}

void
stream_send(stream *one)
{
	if (one->is_blocked)
		return;
	if (one->blob != NULL)
	{
		if (!send_blob(one))
			return;
		if (one->phase == PHASE_CATCHING_UP && one->catchup == NULL)
		{
			begin(one);
			return;
		}
	}
	if (one->phase == PHASE_LIVE)
		(void) send_ring(one);
}

/* ---------- where it begins ---------- */

static void
go_live(stream *one, uint64_t place)
{
	one->phase = PHASE_LIVE;
	one->deadline = 0;
	one->place = place;
	one->place_offset = 0;
	stream_send(one);
}

static void
begin_with_snapshot(stream *one)
{
	uint64_t place;
	blob *snapshot =
		hub_snapshot(one->view, one->filter == NULL ? NULL : wants, one->filter, &place);

	if (snapshot == NULL)
	{
		end_stream(one, STREAM_ENDED_SHED);
		return;
	}
	bridge_of(one)->metrics.snapshots_sent++;
	blob_release(one->blob);
	one->blob = snapshot;
	one->blob_offset = 0;
	go_live(one, place);
}

/* All of a part of the log that the stream wants, as it is sent. */
static blob *
blob_of(const stream *one, const ring *events)
{
	text all = {0};
	blob *result;

	for (uint64_t i = ring_start(events); i < ring_end(events); i++)
	{
		ring_event event;

		ring_at(events, i, &event);
		if (one->filter == NULL || !event.is_flag || wants(one->filter, event.key))
			text_add(&all, event.bytes, event.len);
	}
	result = all.has_failed ? NULL : blob_new(all.bytes == NULL ? "" : all.bytes, all.len);
	text_free(&all);
	return result;
}

/* Tries again from time to time, but no longer than a client wants to be without anything. */
static void
wait_a_while(stream *one)
{
	if (one->deadline == 0)
		one->deadline = seconds() + bridge_of(one)->config.catch_up_wait / 1000;
	one->phase = PHASE_WAITING;
	if (seconds() >= one->deadline)
		begin_with_snapshot(one);
}

static void
take_part(void *arg, const catchup_part *part)
{
	stream *one = arg;

	one->catchup = NULL;
	if (part == NULL)
	{
		wait_a_while(one);
		return;
	}
	if (!part->is_known || (part->last.id == one->since.id && !one->is_resuming))
	{
		/* the log doesn't have it, or has lost what comes after: that would never end */
		begin_with_snapshot(one);
		return;
	}
	if (one->is_resuming)
		bridge_of(one)->metrics.resumed_from_log++;
	one->is_resuming = false;
	one->deadline = 0;
	one->since = part->last;
	if (part->events != NULL)
	{
		one->blob = blob_of(one, part->events);
		if (one->blob == NULL)
		{
			end_stream(one, STREAM_ENDED_SHED);
			return;
		}
	}
	if (one->blob != NULL && one->blob->len > 0)
		stream_send(one);
	else
	{
		blob_release(one->blob);
		one->blob = NULL;
		begin(one);
	}
}

static void
catch_up(stream *one)
{
	bridge *bridge = bridge_of(one);

	if (hub_head(one->view->hub).id - one->since.id > bridge->config.catch_up)
	{
		begin_with_snapshot(one);
		return;
	}
	one->catchup = catchup_join(bridge, one->view, one->since, take_part, one);
	if (one->catchup == NULL)
		wait_a_while(one);
	else
		one->phase = PHASE_CATCHING_UP;
}

/*
 * Finds out how a stream that is not live goes on, by the last event that its client has. While it
 * is catching up that is one of ours, and its hash need not be known.
 */
static void
begin(stream *one)
{
	hub *hub = one->view->hub;
	uint32_t hash;

	if (!hub_is_loaded(hub))
		return;
	if (one->since.id == UINT64_MAX || (one->since.id == 0 && hub_head(hub).id > 0))
		begin_with_snapshot(one);
	else if (one->since.id > hub_head(hub).id)
		wait_a_while(
			one); /* a bridge that is ahead of us told it, and we are going to have it, too */
	else if (one->is_resuming && !hub_knows(hub, one->since.id, &hash))
		catch_up(one);
	else if (one->is_resuming && hash != one->since.hash)
		begin_with_snapshot(one);
	else if (ring_covers(one->view->ring, one->since.id))
	{
		if (one->is_resuming)
			bridge_of(one)->metrics.resumed_from_ring++;
		one->is_resuming = false;
		go_live(one, ring_after(one->view->ring, one->since.id));
	}
	else
		catch_up(one);
}

void
streams_resume(hub *hub)
{
	for (view *view = hub_first_view(hub); view != NULL; view = view->next)
	{
		for (uint32_t i = view->stream_count; i-- > 0;)
		{
			if (i < view->stream_count && view->streams[i]->phase == PHASE_WAITING)
				begin(view->streams[i]);
		}
	}
}

/* ---------- opening ---------- */

static void
on_writable(http_stream *http, void *arg)
{
	stream *one = arg;

	http_stream_want(http, false);
	one->is_blocked = false;
	stream_send(one);
}

static void
on_closed(http_stream *http, void *arg)
{
	(void) http;
	free_stream(arg, STREAM_ENDED_BY_CLIENT);
}

static const http_stream_ops ops = {on_writable, on_closed};

/* Random in [least, most]. */
static unsigned
random_between(unsigned least, unsigned most)
{
	return least + (most > least ? (unsigned) random() % (most - least + 1) : 0);
}

/* What every answer of a stream says. */
static void
add_headers(http_request *request)
{
	http_add_header(request, "Cache-Control", "no-cache, no-transform");
	http_add_header(request, "X-Accel-Buffering", "no");
}

/* A browser takes any other status than 200 for the end, and comes back at the time it was told. */
static void
send_away(http_request *request, unsigned least, unsigned most)
{
	char body[64];

	snprintf(body, sizeof(body), "retry: %u\n\n", random_between(least, most));
	http_reply(request, 200, "text/event-stream", body, strlen(body));
}

static void
shed(bridge *bridge, http_request *request)
{
	unsigned most = bridge->config.retry_most;

	bridge->metrics.streams_ended[STREAM_ENDED_SHED]++;
	send_away(request, most * 2, most * 6);
}

static uint32_t
random_age(const config *config)
{
	unsigned fifth = config->max_stream_age / 5;

	return random_between(config->max_stream_age - fifth, config->max_stream_age + fifth) / 1000;
}

/* What the client is told first. On a new connection there is room for it. */
static bool
greet(stream *one)
{
	const config *config = &bridge_of(one)->config;
	char greeting[64];
	size_t len = (size_t) snprintf(greeting, sizeof(greeting), "retry: %u\n\n",
								   random_between(config->retry_least, config->retry_most));

	return write_some(one, greeting, len) == len;
}

static stream *
make_stream(bridge *bridge, view *view, const char *last)
{
	stream *one = calloc(1, sizeof(*one));

	if (one == NULL)
		return NULL;
	one->view = view;
	one->phase = PHASE_WAITING;
	one->born = one->last_sent = seconds();
	one->max_age = random_age(&bridge->config);
	one->is_resuming = last != NULL && event_ref_parse(last, &one->since);
	if (!one->is_resuming)
		one->since.id = UINT64_MAX;
	return one;
}

void
stream_open(bridge *bridge, http_request *request, view *view, const char *last, const char *keys,
			const char *prefix)
{
	stream *one = NULL;

	add_headers(request);
	if (bridge->metrics.streams < bridge->config.max_streams && !bridge->is_draining)
		one = make_stream(bridge, view, last);
	if (one == NULL || !make_filter(keys, prefix, &one->filter) || !add_to_view(view, one))
	{
		if (one != NULL)
			free_filter(one->filter);
		free(one);
		shed(bridge, request);
		return;
	}
	bridge->metrics.streams++;
	bridge->metrics.streams_opened++;
	one->http = http_stream_start(request, "text/event-stream", &ops, one);
	if (one->http == NULL)
		free_stream(one, STREAM_ENDED_BY_CLIENT);
	else if (!greet(one))
		end_stream(one, STREAM_ENDED_BY_CLIENT);
	else
		begin(one);
}

void
stream_put_off(bridge *bridge, http_request *request)
{
	add_headers(request);
	send_away(request, bridge->config.retry_least, bridge->config.retry_most);
}

/* ---------- from time to time ---------- */

/* A stream in the middle of an event can't have another one; its client comes back by itself. */
static void
reset(stream *one)
{
	if (one->place_offset > 0 || one->blob_offset > 0)
	{
		end_stream(one, STREAM_ENDED_RESET);
		return;
	}
	if (one->catchup != NULL)
		catchup_leave(one->catchup, one);
	one->catchup = NULL;
	if (one->phase == PHASE_WAITING)
		begin(one);
	else
		begin_with_snapshot(one);
}

void
streams_reset(view *view)
{
	for (uint32_t i = view->stream_count; i-- > 0;)
	{
		if (i < view->stream_count)
			reset(view->streams[i]);
	}
}

static bool
is_idle(const stream *one)
{
	return !one->is_blocked && one->blob == NULL && one->place_offset == 0;
}

/*
 * Whether its client takes nothing. One that is live costs no memory, and may be as far behind as
 * max_lag; but events of the log, and a snapshot that is no longer the latest, are kept for it
 * alone.
 */
static bool
is_stuck(const stream *one, const config *config, uint32_t now)
{
	if (!one->is_blocked)
		return false;
	if (one->blob != NULL && now - one->last_sent > config->limits.write_timeout / 1000)
		return true;
	return one->phase == PHASE_LIVE &&
		   (one->place < ring_start(one->view->ring) ||
			ring_lag(one->view->ring, one->place, one->place_offset) > config->max_lag);
}

/* Whether a stream is not to go on, and why. */
static bool
is_over(const stream *one, const config *config, uint32_t now, stream_end *why)
{
	if (is_stuck(one, config, now))
	{
		*why = STREAM_ENDED_LAG;
		return true;
	}
	*why = STREAM_ENDED_AGE;
	return one->max_age > 0 && now - one->born >= one->max_age && is_idle(one);
}

static void
tick(stream *one, const config *config, uint32_t now)
{
	stream_end why;

	if (is_over(one, config, now, &why))
		end_stream(one, why);
	else if (is_idle(one) && now - one->last_sent >= config->keepalive / 1000 &&
			 write_some(one, ":\n\n", 3) % 3 != 0)
		end_stream(one, STREAM_ENDED_LAG);
	else if (one->phase == PHASE_WAITING)
		begin(one);
}

void
streams_tick(bridge *bridge)
{
	uint32_t now = seconds();

	for (view *view = hub_first_view(bridge->hub); view != NULL; view = view->next)
	{
		for (uint32_t i = view->stream_count; i-- > 0;)
		{
			if (i < view->stream_count)
				tick(view->streams[i], &bridge->config, now);
		}
	}
}

uint64_t
streams_lag(const view *view)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < view->stream_count; i++)
	{
		const stream *one = view->streams[i];

		if (one->phase == PHASE_LIVE && one->place >= ring_start(view->ring))
			bytes += ring_lag(view->ring, one->place, one->place_offset);
	}
	return bytes;
}

bool
streams_drain(bridge *bridge, unsigned count)
{
	for (view *view = hub_first_view(bridge->hub); view != NULL; view = view->next)
	{
		for (; view->stream_count > 0 && count > 0; count--)
			end_stream(view->streams[view->stream_count - 1], STREAM_ENDED_DRAIN);
	}
	return bridge->metrics.streams == 0;
}
