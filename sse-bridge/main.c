/*
 * sse-bridge/main.c
 *	  Starts the bridge, and ends it in good order.
 */
#include <errno.h>
#include <event2/event.h>
#include <locale.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#include "api.h"
#include "bridge.h"
#include "exposures.h"
#include "follower.h"
#include "forward.h"
#include "hub.h"
#include "log.h"
#include "pool.h"
#include "stream.h"

#define DRAIN_STEP 100 /* milliseconds */

/* The bridge, what it was started with, and what main alone watches. */
typedef struct process
{
	bridge bridge;
	int argc;
	char **argv;
	struct event *tick;
	struct event *draining;
	struct event *signals[3];
	uint64_t drain_until; /* in milliseconds */
} process;

uint64_t
monotonic_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t) now.tv_sec * 1000 + (uint64_t) now.tv_nsec / 1000000;
}

int64_t
wall_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t) now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* ---------- listening ---------- */

/* Parts "host:port", or "[::1]:port", of which copies are put; false where it isn't that. */
static bool
split_address(const char *address, char *host, size_t host_size, const char **port)
{
	const char *colon = strrchr(address, ':');
	size_t len;

	if (colon == NULL || colon == address || colon[1] == '\0')
		return false;
	len = (size_t) (colon - address);
	if (*address == '[' && colon[-1] == ']')
	{
		address++;
		len -= 2;
	}
	if (len >= host_size)
		return false;
	memcpy(host, address, len);
	host[len] = '\0';
	*port = colon + 1;

	/* getaddrinfo takes a number that is too large, and another port for it */
	return (*port)[strspn(*port, "0123456789")] != '\0' ||
		   (strlen(*port) < 6 && atoi(*port) <= 65535);
}

static bool
is_loopback(const struct sockaddr *address)
{
	if (address->sa_family == AF_INET)
		return (ntohl(((const struct sockaddr_in *) (const void *) address)->sin_addr.s_addr) >>
				24) == 127;
	return address->sa_family == AF_INET6 &&
		   IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *) (const void *) address)->sin6_addr);
}

static int
open_socket(const struct addrinfo *info)
{
	const int yes = 1;
	int fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) == 0 &&
		bind(fd, info->ai_addr, info->ai_addrlen) == 0 && listen(fd, SOMAXCONN) == 0)
		return fd;
	close(fd);
	return -1;
}

/* What the address to listen on is to the system; NULL, said in the log, where it can't be one. */
static struct addrinfo *
resolve(const char *address)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
	struct addrinfo *info;
	char host[256];
	const char *port;
	int error;

	if (!split_address(address, host, sizeof(host), &port))
	{
		log_error("listen is no address", "listen", address, "hint", "give host:port");
		return NULL;
	}
	error = getaddrinfo(host, port, &hints, &info);
	if (error != 0)
	{
		log_error("the address to listen on isn't known", "listen", address, "reason",
				  gai_strerror(error));
		return NULL;
	}
	if (is_loopback(info->ai_addr))
		return info;
	log_error("without API keys the bridge serves on a loopback address only", "listen", address,
			  "hint", "use 127.0.0.1 or [::1]");
	freeaddrinfo(info);
	return NULL;
}

/* A socket for the address that is configured; -1, said in the log, where there is none. */
static int
listen_on(const char *address)
{
	struct addrinfo *info = resolve(address);
	int fd = info == NULL ? -1 : open_socket(info);

	if (info == NULL)
		return -1;
	if (fd < 0)
		log_error("can't listen", "listen", address, "reason", strerror(errno));
	freeaddrinfo(info);
	return fd;
}

/* Whether it could serve, as far as that is seen without a port and a database. */
static int
check(const config *config)
{
	struct addrinfo *info = resolve(config->listen);

	if (info == NULL)
		return EXIT_FAILURE;
	freeaddrinfo(info);
	printf("the configuration is right\n");
	return EXIT_SUCCESS;
}

/* The port that the system chose, where 0 was asked for. */
static void
log_listening(int fd, const char *address)
{
	struct sockaddr_storage bound;
	socklen_t len = sizeof(bound);
	char port[16] = "";

	if (getsockname(fd, (struct sockaddr *) &bound, &len) == 0)
		(void) getnameinfo((struct sockaddr *) &bound, len, NULL, 0, port, sizeof(port),
						   NI_NUMERICHOST | NI_NUMERICSERV);
	log_info("listening", "address", address, "port", port);
}

/* Each client is a descriptor. */
static void
raise_descriptors(const config *config)
{
	struct rlimit limit;
	rlim_t wanted = config->limits.max_connections + 64;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
		return;
	limit.rlim_cur =
		limit.rlim_max == RLIM_INFINITY || limit.rlim_max >= wanted ? wanted : limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < wanted)
		log_warning("there are fewer file descriptors than max-connections needs", "limit",
					log_number((int64_t) limit.rlim_cur), "hint",
					"raise LimitNOFILE, or ulimit -n");
}

/* ---------- from time to time ---------- */

static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
	bridge *bridge = &((process *) arg)->bridge;

	(void) fd;
	(void) what;
	streams_tick(bridge);
	hub_tick(bridge->hub);
	exposures_tick(bridge->exposures);
	if (bridge->forward != NULL)
		forward_tick(bridge->forward);
	sd_notify(0, "WATCHDOG=1");
}

/* ---------- the end ---------- */

/* Ends a part of the streams, so that clients don't all come to another bridge at once. */
static void
on_draining(evutil_socket_t fd, short what, void *arg)
{
	process *process = arg;
	bridge *bridge = &process->bridge;
	uint64_t now = monotonic_ms();
	uint64_t steps =
		now >= process->drain_until ? 1 : (process->drain_until - now) / DRAIN_STEP + 1;

	(void) fd;
	(void) what;
	exposures_flush(bridge->exposures);
	if (streams_drain(bridge, (unsigned) (bridge->metrics.streams / steps + 1)) &&
		(now >= process->drain_until || (exposures_pending(bridge->exposures) == 0 &&
										 http_server_counters(bridge->server)->connections == 0)))
		event_base_loopbreak(bridge->base);
}

static void
on_end(evutil_socket_t number, short what, void *arg)
{
	const struct timeval step = {0, DRAIN_STEP * 1000};
	process *process = arg;
	bridge *bridge = &process->bridge;

	(void) what;
	if (bridge->is_draining)
	{
		log_warning("ended at once, by a second signal");
		event_base_loopbreak(bridge->base);
		return;
	}
	log_info("ending", "signal", strsignal((int) number));
	sd_notify(0, "STOPPING=1");
	bridge->is_draining = true;
	process->drain_until = monotonic_ms() + bridge->config.drain_timeout;
	http_server_drain(bridge->server);
	event_add(process->draining, &step);
	event_active(process->draining, 0, 0);
}

static void
on_reload(evutil_socket_t number, short what, void *arg)
{
	process *process = arg;

	(void) number;
	(void) what;
	if (config_reload(&process->bridge.config, process->argc, process->argv))
		log_info("the configuration was read again");
	else
		log_error("the configuration is wrong, and stays as it was");
}

/* ---------- the beginning ---------- */

static bool
watch_signals(process *process)
{
	static const int numbers[] = {SIGTERM, SIGINT, SIGHUP};

	for (int i = 0; i < 3; i++)
	{
		process->signals[i] = evsignal_new(process->bridge.base, numbers[i],
										   numbers[i] == SIGHUP ? on_reload : on_end, process);
		if (process->signals[i] == NULL || event_add(process->signals[i], NULL) != 0)
			return false;
	}
	return signal(SIGPIPE, SIG_IGN) != SIG_ERR;
}

static bool
start_parts(bridge *bridge)
{
	const config *config = &bridge->config;

	bridge->base = event_base_new();
	if (bridge->base == NULL || event_base_priority_init(bridge->base, PRIORITIES) != 0 ||
		(bridge->hub = hub_new(bridge)) == NULL ||
		(bridge->exposures = exposures_new(bridge)) == NULL ||
		(bridge->pool = pool_new(bridge, config->database)) == NULL ||
		(config->write_database != NULL &&
		 (bridge->write_pool = pool_new(bridge, config->write_database)) == NULL) ||
		(bridge->follower = follower_new(bridge)) == NULL ||
		(bridge->server = http_server_new(bridge->base, &config->limits, api_handle, bridge)) ==
			NULL)
	{
		log_error("out of memory");
		return false;
	}
	return config->exposure_sink_url == NULL || (bridge->forward = forward_new(bridge)) != NULL;
}

/* Everything but serving. */
static bool
start(process *process)
{
	const struct timeval second = {1, 0};
	bridge *bridge = &process->bridge;

	if (!start_parts(bridge))
		return false;
	process->tick = event_new(bridge->base, -1, EV_PERSIST, on_tick, process);
	process->draining = event_new(bridge->base, -1, EV_PERSIST, on_draining, process);
	return process->tick != NULL && process->draining != NULL &&
		   event_add(process->tick, &second) == 0 && watch_signals(process);
}

/* Streams go with the server, before what they look at. */
static void
stop(process *process)
{
	bridge *bridge = &process->bridge;
	struct event *const events[] = {process->tick, process->draining, process->signals[0],
									process->signals[1], process->signals[2]};

	if (bridge->server != NULL)
		http_server_free(bridge->server);
	forward_free(bridge->forward);
	follower_free(bridge->follower);
	pool_free(bridge->write_pool);
	pool_free(bridge->pool);
	if (bridge->exposures != NULL && exposures_pending(bridge->exposures) > 0)
		log_error("exposures are lost: the database didn't take them", "entries",
				  log_number(exposures_pending(bridge->exposures)));
	exposures_free(bridge->exposures);
	hub_free(bridge->hub);
	for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
	{
		if (events[i] != NULL)
			event_free(events[i]);
	}
	if (bridge->base != NULL)
		event_base_free(bridge->base);
	config_free(&bridge->config);
}

static int
serve(process *process)
{
	bridge *bridge = &process->bridge;
	int fd = listen_on(bridge->config.listen);

	if (fd < 0)
		return EXIT_FAILURE;
	raise_descriptors(&bridge->config);
	if (!start(process) || !http_server_listen(bridge->server, fd))
		return EXIT_FAILURE;
	log_listening(fd, bridge->config.listen);
	sd_notify(0, "READY=1");
	event_base_dispatch(bridge->base);
	log_info("ended");
	return EXIT_SUCCESS;
}

int
main(int argc, char **argv)
{
	process process = {.argc = argc, .argv = argv};
	config_result result = config_load(&process.bridge.config, argc, argv);
	int status = EXIT_SUCCESS;

	setlocale(LC_CTYPE, "C.UTF-8");
	srandom((unsigned) wall_us() ^ (unsigned) getpid());
	log_setup(process.bridge.config.log_level, process.bridge.config.log_json);
	if (result == CONFIG_WRONG)
		status = EXIT_FAILURE;
	else if (result == CONFIG_OK && process.bridge.config.check_only)
		status = check(&process.bridge.config);
	else if (result == CONFIG_OK)
		status = serve(&process);
	stop(&process);
	return status;
}
