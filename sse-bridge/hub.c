/*
 * sse-bridge/hub.c
 *	  Flags, the head of the log, and the latest events.
 */
#include "hub.h"

#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "log.h"
#include "stream.h"

#define WINDOW 65536      /* events whose hashes are known; a power of two */
#define LONGEST_WAIT 1000 /* milliseconds, for an event */
#define AT_ONCE 128       /* streams that are looked at before the loop sees to requests again */

/* Somebody who waits for an event. */
typedef struct waiter
{
	uint64_t id;
	uint64_t until; /* in milliseconds */
	void (*f)(void *arg);
	void *arg;
	struct waiter *next;
} waiter;

struct hub
{
	bridge *bridge;
	flags *flags;
	flags *loading; /* what is to replace them; NULL: nothing is loaded */
	view *views;
	event_ref head;
	bool is_loaded;
	uint32_t hashes[WINDOW];
	uint64_t oldest; /* the first event whose hash is known */
	uint64_t latest; /* the last one */
	struct event *sending;
	waiter *waiters;
};

/* ---------- small things ---------- */

blob *
blob_new(const char *bytes, size_t len)
{
	blob *one = malloc(sizeof(blob) + len);

	if (one == NULL)
		return NULL;
	one->references = 1;
	one->len = len;
	memcpy(one->bytes, bytes, len);
	return one;
}

blob *
blob_keep(blob *one)
{
	one->references++;
	return one;
}

void
blob_release(blob *one)
{
	if (one != NULL && --one->references == 0)
		free(one);
}

/* ---------- views ---------- */

view *
hub_view(const hub *hub, const char *name)
{
	view *one = hub->views;

	while (one != NULL && strcmp(one->name, name) != 0)
		one = one->next;
	return one;
}

view *
hub_first_view(const hub *hub)
{
	return hub->views;
}

static void
free_view(view *one)
{
	ring_free(one->ring);
	blob_release(one->snapshot);
	free(one->streams);
	free((char *) one->name);
	free(one);
}

static view *
make_view(hub *hub, flag_space *space)
{
	view *one = calloc(1, sizeof(*one));

	if (one == NULL)
		return NULL;
	one->hub = hub;
	one->flags = space;
	one->name = strdup(flags_space_name(space));
	one->ring = ring_new(hub->bridge->config.ring_size, hub->head.id);
	if (one->name == NULL || one->ring == NULL)
	{
		free_view(one);
		return NULL;
	}
	one->next = hub->views;
	hub->views = one;
	return one;
}

static void
forget_snapshot(view *one)
{
	blob_release(one->snapshot);
	one->snapshot = NULL;
}

/* ---------- the hub ---------- */

static void send_some(evutil_socket_t fd, short what, void *arg);

hub *
hub_new(bridge *bridge)
{
	hub *new = calloc(1, sizeof(*new));

	if (new == NULL)
		return NULL;
	new->bridge = bridge;
	new->oldest = 1;
	new->flags = flags_new();
	new->sending = event_new(bridge->base, -1, 0, send_some, new);
	if (new->flags == NULL || new->sending == NULL ||
		event_priority_set(new->sending, PRIORITY_FAN_OUT) != 0)
	{
		hub_free(new);
		return NULL;
	}
	return new;
}

void
hub_free(hub *hub)
{
	if (hub == NULL)
		return;
	while (hub->views != NULL)
	{
		view *next = hub->views->next;

		free_view(hub->views);
		hub->views = next;
	}
	if (hub->sending != NULL)
		event_free(hub->sending);
	flags_free(hub->flags);
	flags_free(hub->loading);
	free(hub);
}

bridge *
hub_bridge(const hub *hub)
{
	return hub->bridge;
}

bool
hub_is_loaded(const hub *hub)
{
	return hub->is_loaded;
}

event_ref
hub_head(const hub *hub)
{
	return hub->head;
}

bool
hub_knows(const hub *hub, uint64_t id, uint32_t *hash)
{
	if (id != hub->head.id && (id < hub->oldest || id > hub->latest))
		return false;
	*hash = id == hub->head.id ? hub->head.hash : hub->hashes[id % WINDOW];
	return true;
}

/* Numbers may have gaps, where events are hidden from us: what lies there has no hash that fits. */
static void
remember(hub *hub, event_ref ref)
{
	uint64_t from = ref.id - hub->latest > WINDOW ? ref.id - WINDOW + 1 : hub->latest + 1;

	for (uint64_t id = from; id < ref.id; id++)
		hub->hashes[id % WINDOW] = 0;
	hub->hashes[ref.id % WINDOW] = ref.hash;
	hub->latest = ref.id;
	if (ref.id >= WINDOW && hub->oldest < ref.id - WINDOW + 1)
		hub->oldest = ref.id - WINDOW + 1;
}

/* ---------- rendering ---------- */

void
hub_render_event(text *to, const log_event *event)
{
	char ref[EVENT_REF_SIZE];

	text_addf(to, "id: %s\nevent: %s_%s\ndata: {\"event_id\":%" PRIu64 ",\"namespace\":",
			  event_ref_text(event->ref, ref), event->object, event->action, event->ref.id);
	text_add_json(to, event->name_space, strlen(event->name_space));
	text_adds(to, ",\"key\":");
	text_add_json(to, event->key, strlen(event->key));
	text_addf(to, ",\"version\":%" PRId64 ",\"action\":", event->version);
	text_add_json(to, event->action, strlen(event->action));
	text_addf(to, ",\"%s\":%s}\n\n", event->object,
			  event->definition == NULL ? "null" : event->definition);
}

typedef struct snapshot_writer
{
	text text;
	key_filter wants;
	const void *arg;
	bool is_first;
} snapshot_writer;

static void
write_entry(void *arg, const flag_entry *entry)
{
	snapshot_writer *writer = arg;

	if (writer->wants != NULL && !writer->wants(writer->arg, entry->key))
		return;
	if (!writer->is_first)
		text_add(&writer->text, ",", 1);
	writer->is_first = false;
	text_add(&writer->text, entry->definition, entry->len);
}

/* Segments are never left out: flags may need any of them. */
static blob *
render_snapshot(view *view, key_filter wants, const void *arg)
{
	const flag_filter everything = {.limit = UINT32_MAX};
	snapshot_writer writer = {.wants = wants, .arg = arg, .is_first = true};
	char ref[EVENT_REF_SIZE];
	blob *result = NULL;

	text_addf(&writer.text,
			  "id: %s\nevent: snapshot\ndata: {\"event_id\":%" PRIu64 ",\"namespace\":",
			  event_ref_text(view->hub->head, ref), view->hub->head.id);
	text_add_json(&writer.text, view->name, strlen(view->name));
	text_adds(&writer.text, ",\"flags\":[");
	flags_list(view->flags, FFE_FLAG, &everything, write_entry, &writer);
	text_adds(&writer.text, "],\"segments\":[");
	writer.wants = NULL;
	writer.is_first = true;
	flags_list(view->flags, FFE_SEGMENT, &everything, write_entry, &writer);
	text_adds(&writer.text, "]}\n\n");
	if (!writer.text.has_failed)
		result = blob_new(writer.text.bytes, writer.text.len);
	text_free(&writer.text);
	return result;
}

/* That of everything is made once for all who connect before something changes. */
blob *
hub_snapshot(view *view, key_filter wants, const void *arg, uint64_t *place)
{
	*place = ring_end(view->ring);
	if (wants != NULL)
		return render_snapshot(view, wants, arg);
	if (view->snapshot == NULL)
	{
		view->snapshot = render_snapshot(view, NULL, NULL);
		view->snapshot_place = *place;
	}
	*place = view->snapshot_place;
	return view->snapshot == NULL ? NULL : blob_keep(view->snapshot);
}

/* ---------- loading ---------- */

bool
hub_load_begin(hub *hub)
{
	flags_free(hub->loading);
	hub->loading = flags_new();
	return hub->loading != NULL;
}

bool
hub_load_namespace(hub *hub, const char *name)
{
	return flags_make_space(hub->loading, name) != NULL;
}

static ffe_object
object_of(const char *word)
{
	return strcmp(word, "flag") == 0 ? FFE_FLAG : FFE_SEGMENT;
}

bool
hub_load_put(hub *hub, const char *name_space, const char *object, const char *key, int64_t version,
			 const char *definition)
{
	flag_space *space = flags_make_space(hub->loading, name_space);

	return space != NULL && flags_put(space, object_of(object), key, version, definition);
}

void
hub_load_abandon(hub *hub)
{
	flags_free(hub->loading);
	hub->loading = NULL;
}

/* Gives the view of a namespace its new flags and an empty ring. */
static void
renew_view(void *arg, flag_space *space)
{
	hub *hub = arg;
	view *one = hub_view(hub, flags_space_name(space));

	if (one == NULL)
	{
		(void) make_view(hub, space);
		return;
	}
	one->flags = space;
}

/* A namespace that is gone goes on as one that is empty, as long as it has streams. */
static void
renew_views(hub *hub, uint64_t covers_after)
{
	for (view *one = hub->views; one != NULL; one = one->next)
	{
		ring *fresh = ring_new(hub->bridge->config.ring_size, covers_after);

		if (flags_space(hub->flags, one->name) == NULL)
			one->flags = flags_make_space(hub->flags, one->name);
		if (fresh == NULL)
			abort();
		ring_free(one->ring);
		one->ring = fresh;
		forget_snapshot(one);
	}
}

void
hub_load_end(hub *hub, event_ref head, uint64_t covers_after)
{
	flags *former = hub->flags;

	hub->flags = hub->loading;
	hub->loading = NULL;
	hub->head = head;
	hub->oldest = covers_after + 1;
	hub->latest = covers_after;
	flags_each_space(hub->flags, renew_view, hub);
	renew_views(hub, covers_after);
	flags_free(former);
}

void
hub_load_done(hub *hub)
{
	hub->is_loaded = true;
	hub->bridge->metrics.loads++;
	for (view *one = hub->views; one != NULL; one = one->next)
		streams_reset(one);
}

/* ---------- events ---------- */

/* Puts an event where streams find it. False: those that are there have to come back for it. */
static bool
put_event(view *one, const log_event *event)
{
	text rendered = {0};
	ring_event put = {.id = event->ref.id,
					  .key = event->key,
					  .is_flag = strcmp(event->object, "flag") == 0};
	bool is_in;

	hub_render_event(&rendered, event);
	if (rendered.has_failed)
		abort(); /* a few kB */
	put.bytes = rendered.bytes;
	put.len = rendered.len;
	is_in = ring_put(one->ring, &put);
	text_free(&rendered);
	return is_in;
}

void
hub_replay(hub *hub, const log_event *event)
{
	view *one = hub_view(hub, event->name_space);

	remember(hub, event->ref);
	if (one != NULL)
		(void) put_event(one, event);
}

void
hub_add_namespace(hub *hub, const char *name)
{
	flag_space *space;

	if (!hub->is_loaded || hub_view(hub, name) != NULL)
		return;
	space = flags_make_space(hub->flags, name);
	if (space != NULL)
		(void) make_view(hub, space);
}

bool
hub_take(hub *hub, const log_event *event)
{
	view *one;

	hub_add_namespace(hub, event->name_space);
	one = hub_view(hub, event->name_space);
	if (one == NULL || !flags_put(one->flags, object_of(event->object), event->key, event->version,
								  event->definition))
		return false;
	remember(hub, event->ref);
	hub->head = event->ref;
	forget_snapshot(one);
	if (!put_event(one, event))
		streams_reset(one);
	one->due = one->stream_count;
	hub->bridge->metrics.events++;
	metric_observe(&hub->bridge->metrics.broadcast_lag,
				   (double) (wall_us() - event->occurred_at) / 1e6);
	return true;
}

/* ---------- waiting ---------- */

static void
end_waiting(hub *hub)
{
	uint64_t now = monotonic_ms();

	for (waiter **link = &hub->waiters; *link != NULL;)
	{
		waiter *one = *link;

		if (one->id > hub->head.id && now < one->until)
		{
			link = &one->next;
			continue;
		}
		*link = one->next;
		one->f(one->arg);
		free(one);
	}
}

bool
hub_wait(hub *hub, uint64_t id, void (*f)(void *arg), void *arg)
{
	waiter *one;

	if (id <= hub->head.id)
	{
		f(arg);
		return true;
	}
	one = malloc(sizeof(*one));
	if (one == NULL)
		return false;
	*one = (waiter){id, monotonic_ms() + LONGEST_WAIT, f, arg, hub->waiters};
	hub->waiters = one;
	return true;
}

void
hub_tick(hub *hub)
{
	end_waiting(hub);
}

/* ---------- fan-out ---------- */

/* Lets some streams send, and comes again for the rest after the loop has seen to requests. */
static void
send_some(evutil_socket_t fd, short what, void *arg)
{
	hub *hub = arg;
	unsigned left = AT_ONCE;

	(void) fd;
	(void) what;
	for (view *one = hub->views; one != NULL; one = one->next)
	{
		while (one->due > 0)
		{
			if (left-- == 0)
			{
				event_active(hub->sending, 0, 0);
				return;
			}
			one->due--;
			one->turn = one->turn + 1 < one->stream_count ? one->turn + 1 : 0;
			stream_send(one->streams[one->turn]);
		}
	}
}

void
hub_fan_out(hub *hub)
{
	end_waiting(hub);
	streams_resume(hub);
	event_active(hub->sending, 0, 0);
}
