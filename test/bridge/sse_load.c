/*
 * test/bridge/sse_load.c
 *	  Many clients of event streams at once: they check what they get while they measure.
 *
 *		sse_load [option]... host:port...
 *
 *		--clients N    streams (100)
 *		--path PATH    what is asked for (/stream)
 *		--cut N        on the average each Nth read ends in a cut of the connection (0: never)
 *		--stall N      of the clients, so many read nothing after the answer's head
 *		--retry MS     instead of what the server tells
 *		--loose        numbers may have gaps (filters; other servers)
 *		--numbered     the number of an event is the "event_id" in its data, whatever its id is
 *
 * Each client reconnects by itself, to the next address, with the id that it has seen last. Ids are
 * "number-hash" or a number alone. On stdin comes "until N": it ends when every client that reads
 *has seen that number, or after 60 s; or "stop". Then it prints what it has found, as name=value:
 *
 *		missing, repeated, backward	events that were left out, came twice, or came too late
 *		conflicts	numbers that came with two hashes
 *		snapshots, reconnects, deliveries, cuts
 *		behind		clients that did not get to the end
 *		p50_ms, p99_ms, max_ms	from the time that is in an event ("t=<microseconds>") to its
 *					reception by the last client that has it
 *
 * then each client that is behind, and "event number hash" for each number, so that the log can be
 * compared with it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MOST_ADDRESSES 16
#define MOST_EVENTS (1 << 20)
#define LINE_ROOM 8192 /* of a line: more is cut, which the beginning of data: outlives */
#define GRACE 60       /* seconds, to get to the end */

typedef enum client_state
{
	STATE_WAITING, /* to connect again */
	STATE_CONNECTING,
	STATE_HEAD,
	STATE_EVENTS,
	STATE_STALLED
} client_state;

typedef struct client
{
	int fd;
	client_state state;
	unsigned address;
	uint64_t at; /* in milliseconds, when to connect */
	unsigned retry;
	char *line; /* lent while one is incomplete */
	size_t line_len;
	unsigned newlines; /* of the head's end */
	char id[40];       /* of the event that is being read */
	char last[40];     /* that was completed */
	uint64_t number;   /* of last; 0: none */
	bool is_snapshot;
	bool has_data;
	int64_t sent_at;  /* of the event; 0: it doesn't say */
	uint64_t in_data; /* the number that its data has */
	bool is_stalled;
} client;

/* What is known of an event, from all clients. */
typedef struct seen
{
	uint32_t hash;
	bool has_hash;
	int64_t sent_at;
	int64_t last_at;
} seen;

static struct sockaddr_in addresses[MOST_ADDRESSES];
static unsigned address_count = 0;
static client *clients;
static unsigned client_count = 100;
static const char *path = "/stream";
static unsigned cut_one_in = 0;
static unsigned stalled = 0;
static int forced_retry = -1;
static bool is_loose = false;
static bool is_numbered = false;
static seen *events;
static uint64_t until = 0; /* 0: go on */
static uint64_t end_at = 0;
static int poller;

static uint64_t missing, repeated, backward, conflicts, snapshots, reconnects, deliveries, cuts;

/* ---------- time ---------- */

static int64_t
now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t) now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static uint64_t
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t) now.tv_sec * 1000 + (uint64_t) now.tv_nsec / 1000000;
}

/* ---------- events ---------- */

/* Notes the hash of a number: all clients must be told the same. */
static void
note_hash(uint64_t number, const char *id)
{
	const char *dash = strchr(id, '-');
	uint32_t hash = dash == NULL ? 0 : (uint32_t) strtoul(dash + 1, NULL, 16);
	seen *event = &events[number % MOST_EVENTS];

	if (dash == NULL)
		return;
	if (event->has_hash && event->hash != hash)
		conflicts++;
	event->hash = hash;
	event->has_hash = true;
}

/* A whole event has come. */
static void
take_event(client *one)
{
	uint64_t number = is_numbered ? one->in_data : strtoull(one->id, NULL, 10);
	seen *event = &events[number % MOST_EVENTS];

	note_hash(number, one->id);
	if (one->is_snapshot)
	{
		snapshots++;
		if (number < one->number)
			backward++;
	}
	else
	{
		deliveries++;
		if (one->number > 0 && number == one->number)
			repeated++;
		else if (number < one->number)
			backward++;
		else if (one->number > 0 && number > one->number + 1 && !is_loose)
			missing += number - one->number - 1;
		if (one->sent_at > 0)
		{
			event->sent_at = one->sent_at;
			event->last_at = now_us();
		}
	}
	one->number = number;
	snprintf(one->last, sizeof(one->last), "%s", one->id);
}

static const char *
value_of(const char *line, const char *name)
{
	size_t len = strlen(name);

	if (strncmp(line, name, len) != 0 || line[len] != ':')
		return NULL;
	return line[len + 1] == ' ' ? line + len + 2 : line + len + 1;
}

static void
take_line(client *one, const char *line)
{
	const char *value;

	if (*line == '\0')
	{
		if (one->has_data)
			take_event(one);
		one->has_data = one->is_snapshot = false;
		one->sent_at = 0;
	}
	else if ((value = value_of(line, "id")) != NULL)
		snprintf(one->id, sizeof(one->id), "%s", value);
	else if ((value = value_of(line, "event")) != NULL)
		one->is_snapshot = strcmp(value, "snapshot") == 0;
	else if ((value = value_of(line, "retry")) != NULL)
		one->retry = (unsigned) strtoul(value, NULL, 10);
	else if ((value = value_of(line, "data")) != NULL)
	{
		const char *time = strstr(value, "t=");

		one->has_data = true;
		if (time != NULL && !one->is_snapshot)
			one->sent_at = strtoll(time + 2, NULL, 10);
		if (is_numbered && (value = strstr(value, "\"event_id\":")) != NULL)
			one->in_data = strtoull(value + 11, NULL, 10);
	}
}

/* ---------- connections ---------- */

static void
forget_line(client *one)
{
	free(one->line);
	one->line = NULL;
	one->line_len = 0;
}

static void
disconnect(client *one)
{
	if (one->fd >= 0)
		close(one->fd);
	one->fd = -1;
	forget_line(one);
	one->has_data = one->is_snapshot = false;
	one->state = STATE_WAITING;
	one->at = now_ms() + (forced_retry >= 0 ? (unsigned) forced_retry : one->retry);
	one->address = (one->address + 1) % address_count;
	reconnects++;
}

static void
watch(client *one, uint32_t what, int operation)
{
	struct epoll_event event = {.events = what, .data = {.ptr = one}};

	epoll_ctl(poller, operation, one->fd, &event);
}

static void
connect_client(client *one)
{
	const struct sockaddr_in *address = &addresses[one->address];

	one->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	one->state = STATE_CONNECTING;
	one->newlines = 0;
	if (one->is_stalled)
	{
		const int room = 4096;

		setsockopt(one->fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
	}
	if (one->fd < 0 ||
		(connect(one->fd, (const struct sockaddr *) address, sizeof(*address)) != 0 &&
		 errno != EINPROGRESS))
	{
		disconnect(one);
		return;
	}
	watch(one, EPOLLOUT, EPOLL_CTL_ADD);
}

static void
send_request(client *one)
{
	char request[512];
	int error = 0;
	socklen_t size = sizeof(error);
	int len = snprintf(request, sizeof(request),
					   "GET %s HTTP/1.1\r\nHost: localhost\r\nAccept: "
					   "text/event-stream\r\nConnection: close\r\n%s%s%s\r\n",
					   path, *one->last == '\0' ? "" : "Last-Event-ID: ", one->last,
					   *one->last == '\0' ? "" : "\r\n");

	getsockopt(one->fd, SOL_SOCKET, SO_ERROR, &error, &size);
	if (error != 0 || write(one->fd, request, (size_t) len) != len)
	{
		disconnect(one);
		return;
	}
	one->state = STATE_HEAD;
	watch(one, EPOLLIN, EPOLL_CTL_MOD);
}

/* Takes of the head; how many bytes that were. */
static size_t
take_head(client *one, const char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
	{
		if (bytes[i] == '\n')
			one->newlines++;
		else if (bytes[i] != '\r')
			one->newlines = 0;
		if (one->newlines == 2)
		{
			one->state = one->is_stalled ? STATE_STALLED : STATE_EVENTS;
			return i + 1;
		}
	}
	return len;
}

/* Parts what comes into lines. A line that ends in another read is kept until then. */
static void
take_bytes(client *one, const char *bytes, size_t len)
{
	while (len > 0)
	{
		const char *end = memchr(bytes, '\n', len);
		size_t part = end == NULL ? len : (size_t) (end - bytes);
		size_t kept;

		if (one->line == NULL)
			one->line = malloc(LINE_ROOM);
		kept = part < LINE_ROOM - 1 - one->line_len ? part : LINE_ROOM - 1 - one->line_len;
		memcpy(one->line + one->line_len, bytes, kept);
		one->line_len += kept;
		bytes += part;
		len -= part;
		if (end == NULL)
			return;
		one->line[one->line_len] = '\0';
		take_line(one, one->line);
		forget_line(one);
		bytes++;
		len--;
	}
}

static void
read_some(client *one)
{
	static char bytes[256 * 1024];
	size_t wanted = sizeof(bytes);
	bool is_cut = cut_one_in > 0 && (unsigned) random() % cut_one_in == 0;
	ssize_t len;
	size_t head = 0;

	if (is_cut)
		wanted = 1 + (size_t) random() % 2000;
	len = read(one->fd, bytes, wanted);
	if (len < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (len <= 0)
	{
		disconnect(one);
		return;
	}
	if (one->state == STATE_HEAD)
		head = take_head(one, bytes, (size_t) len);
	if (one->state == STATE_STALLED)
	{
		watch(one, 0, EPOLL_CTL_MOD);
		return;
	}
	take_bytes(one, bytes + head, (size_t) len - head);
	if (is_cut)
	{
		cuts++;
		disconnect(one);
		one->at = now_ms() + (unsigned) random() % 50;
	}
}

/* ---------- the whole ---------- */

static void
take_command(void)
{
	char line[64];

	if (fgets(line, sizeof(line), stdin) == NULL || strncmp(line, "stop", 4) == 0)
		end_at = now_ms();
	else if (sscanf(line, "until %" SCNu64, &until) == 1)
		end_at = now_ms() + GRACE * 1000;
}

static unsigned
count_behind(void)
{
	unsigned behind = 0;

	for (unsigned i = 0; i < client_count; i++)
		behind += !clients[i].is_stalled && clients[i].number < until;
	return behind;
}

static void
run(void)
{
	struct epoll_event ready[256];
	uint64_t looked_at = 0;

	while (end_at == 0 || (now_ms() < end_at && count_behind() > 0))
	{
		int count = epoll_wait(poller, ready, 256, 20);

		for (int i = 0; i < count; i++)
		{
			client *one = ready[i].data.ptr;

			if (one == NULL)
				take_command();
			else if (one->state == STATE_CONNECTING)
				send_request(one);
			else if (one->state == STATE_STALLED)
				disconnect(one); /* only its end is told */
			else if (one->state != STATE_WAITING)
				read_some(one);
		}
		if (now_ms() - looked_at < 20)
			continue;
		looked_at = now_ms();
		for (unsigned i = 0; i < client_count; i++)
		{
			if (clients[i].state == STATE_WAITING && clients[i].at <= looked_at)
				connect_client(&clients[i]);
		}
	}
}

static int
compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *) a;
	int64_t y = *(const int64_t *) b;

	return (x > y) - (x < y);
}

static void
report_latency(void)
{
	int64_t *times = malloc(sizeof(int64_t) * MOST_EVENTS);
	size_t count = 0;

	for (size_t i = 0; i < MOST_EVENTS; i++)
	{
		if (events[i].sent_at > 0)
			times[count++] = events[i].last_at - events[i].sent_at;
	}
	qsort(times, count, sizeof(int64_t), compare);
	if (count > 0)
		printf("p50_ms=%.2f\np99_ms=%.2f\nmax_ms=%.2f\n", (double) times[count / 2] / 1000,
			   (double) times[(count - 1) * 99 / 100] / 1000, (double) times[count - 1] / 1000);
	free(times);
}

static void
report(void)
{
	printf("missing=%" PRIu64 "\nrepeated=%" PRIu64 "\nbackward=%" PRIu64 "\nconflicts=%" PRIu64
		   "\nsnapshots=%" PRIu64 "\nreconnects=%" PRIu64 "\ndeliveries=%" PRIu64 "\ncuts=%" PRIu64
		   "\nbehind=%u\n",
		   missing, repeated, backward, conflicts, snapshots, reconnects, deliveries, cuts,
		   count_behind());
	report_latency();
	for (unsigned i = 0; i < client_count; i++)
	{
		if (!clients[i].is_stalled && clients[i].number < until)
			printf("client %u at %s, state %d, address %u\n", i, clients[i].last,
				   (int) clients[i].state, clients[i].address);
	}
	for (size_t i = 0; i < MOST_EVENTS; i++)
	{
		if (events[i].has_hash)
			printf("event %zu %08" PRIx32 "\n", i, events[i].hash);
	}
}

static bool
add_address(char *text)
{
	char *colon = strrchr(text, ':');
	struct sockaddr_in *address = &addresses[address_count];

	if (colon == NULL || address_count == MOST_ADDRESSES)
		return false;
	*colon = '\0';
	address->sin_family = AF_INET;
	address->sin_port = htons((uint16_t) atoi(colon + 1));
	address_count++;
	return inet_pton(AF_INET, text, &address->sin_addr) == 1;
}

static bool
read_arguments(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
	{
		const char *value = i + 1 < argc ? argv[i + 1] : "";

		if (strcmp(argv[i], "--loose") == 0)
			is_loose = true;
		else if (strcmp(argv[i], "--numbered") == 0)
			is_numbered = true;
		else if (strncmp(argv[i], "--", 2) != 0)
		{
			if (!add_address(argv[i]))
				return false;
		}
		else if (i++, strcmp(argv[i - 1], "--clients") == 0)
			client_count = (unsigned) atoi(value);
		else if (strcmp(argv[i - 1], "--path") == 0)
			path = value;
		else if (strcmp(argv[i - 1], "--cut") == 0)
			cut_one_in = (unsigned) atoi(value);
		else if (strcmp(argv[i - 1], "--stall") == 0)
			stalled = (unsigned) atoi(value);
		else if (strcmp(argv[i - 1], "--retry") == 0)
			forced_retry = atoi(value);
		else
			return false;
	}
	return address_count > 0 && client_count > 0;
}

int
main(int argc, char **argv)
{
	struct epoll_event input = {.events = EPOLLIN, .data = {.ptr = NULL}};
	struct rlimit limit;

	if (!read_arguments(argc, argv))
	{
		fprintf(stderr,
				"usage: sse_load [option]... host:port...; its source tells of the options\n");
		return 2;
	}
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
	{
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdin, NULL, _IONBF, 0);
	poller = epoll_create1(0);
	epoll_ctl(poller, EPOLL_CTL_ADD, STDIN_FILENO, &input);
	events = calloc(MOST_EVENTS, sizeof(seen));
	clients = calloc(client_count, sizeof(client));
	for (unsigned i = 0; i < client_count; i++)
	{
		clients[i] = (client){.fd = -1, .address = i % address_count, .retry = 1000};
		clients[i].is_stalled = i < stalled;
	}
	run();
	report();
	return 0;
}
