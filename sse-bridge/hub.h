/*
 * sse-bridge/hub.h
 *	  What the bridge knows of the database: all flags, and the head of the log that they are the
 *	  state of, with the latest events of each namespace for streams.
 */
#ifndef HUB_H
#define HUB_H

#include <stdbool.h>
#include <stdint.h>

#include "bridge.h"
#include "event_ref.h"
#include "flags.h"
#include "ring.h"
#include "text.h"

/* An event as the log has it. */
typedef struct log_event
{
	event_ref ref;
	int64_t occurred_at; /* microseconds since 1970 */
	const char *name_space;
	const char *object; /* "flag", "segment" */
	const char *key;
	const char *action;
	int64_t version;
	const char *definition; /* NULL: it was purged */
} log_event;

/* Bytes that several streams send. */
typedef struct blob
{
	unsigned references;
	size_t len;
	char bytes[];
} blob;

extern blob *blob_new(const char *bytes, size_t len);
extern blob *blob_keep(blob *one);
extern void blob_release(blob *one);

/* A namespace: its flags, its latest events, and its streams. It stays as long as the hub. */
typedef struct view
{
	struct hub *hub;
	const char *name;
	flag_space *flags;
	ring *ring;
	blob *snapshot;          /* of all, for streams; NULL: to be made */
	uint64_t snapshot_place; /* in the ring, that it is followed by */
	struct stream **streams;
	uint32_t stream_count;
	uint32_t stream_room;
	uint32_t turn; /* the stream that was looked at last: they take turns, so that none starves */
	uint32_t due;  /* how many are to be looked at */
	struct view *next;
} view;

typedef struct hub hub;

/* NULL when there is no memory. */
extern hub *hub_new(bridge *bridge);
extern void hub_free(hub *hub);

/* Whether there is anything: nothing is known before the database was reached once. */
extern bridge *hub_bridge(const hub *hub);
extern bool hub_is_loaded(const hub *hub);
extern event_ref hub_head(const hub *hub);

/* Namespaces. */
extern view *hub_view(const hub *hub, const char *name);
extern view *hub_first_view(const hub *hub);

/* Whether an event is known by number, so that its hash can be compared. */
extern bool hub_knows(const hub *hub, uint64_t id, uint32_t *hash);

/* ---------- for the follower ---------- */

/*
 * Begins to load all anew: puts that follow go into what replaces it at hub_load_end. False when
 * there is no memory.
 */
extern bool hub_load_begin(hub *hub);
extern bool hub_load_namespace(hub *hub, const char *name);
extern bool hub_load_put(hub *hub, const char *name_space, const char *object, const char *key,
						 int64_t version, const char *definition);
extern void hub_load_abandon(hub *hub);

/*
 * What was loaded is what there is. head is the event that it is the state of; those after
 * covers_after up to it are to be replayed then, so that streams can resume from them; and
 * hub_load_done lets streams begin.
 */
extern void hub_load_end(hub *hub, event_ref head, uint64_t covers_after);
extern void hub_replay(hub *hub, const log_event *event);
extern void hub_load_done(hub *hub);

/* A namespace that is new, and may be empty. Before anything is loaded, nothing. */
extern void hub_add_namespace(hub *hub, const char *name);

/* An event that follows the head. False when there is no memory: load all anew. */
extern bool hub_take(hub *hub, const log_event *event);

/* After some of them: lets streams send. */
extern void hub_fan_out(hub *hub);

/* ---------- waiting ---------- */

/*
 * Calls f when the head is at an event or beyond it, or after a second at most: at once, where it
 * is there already. False when there is no memory: it isn't called then.
 */
extern bool hub_wait(hub *hub, uint64_t id, void (*f)(void *arg), void *arg);

/* Once in a while: ends waiting that took too long. */
extern void hub_tick(hub *hub);

/* ---------- for streams ---------- */

/* What an event is on a stream. */
extern void hub_render_event(text *to, const log_event *event);

/* A snapshot of a view; with names of flags, of those. NULL when there is no memory. */
typedef bool (*key_filter)(const void *arg, const char *key);
extern blob *hub_snapshot(view *view, key_filter wants, const void *arg, uint64_t *place);

#endif /* HUB_H */
