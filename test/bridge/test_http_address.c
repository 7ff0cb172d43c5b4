/*
 * test/bridge/test_http_address.c
 *	  Which connections count as one client's, and what a socket's address is.
 */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <cmocka.h>

#include "http_internal.h"

static http_address *
get(http_server *server, const char *text)
{
	struct in6_addr peer;

	assert_int_equal(inet_pton(AF_INET6, text, &peer), 1);
	return http_address_get(server, &peer);
}

static void
who_is_the_same(void **state)
{
	http_server *server = calloc(1, sizeof(http_server));
	http_address *first = get(server, "2001:db8::1");
	http_address *other[] = {get(server, "2001:db8:0:1::1"), get(server, "::ffff:127.0.0.1"),
							 get(server, "::ffff:127.0.0.2"), get(server, "::1")};

	(void) state;
	assert_ptr_equal(get(server, "2001:db8::2"), first);
	assert_int_equal(first->connections, 2);
	for (size_t i = 0; i < 4; i++)
	{
		assert_int_equal(other[i]->connections, 1);
		http_address_put(server, other[i]);
	}
	http_address_put(server, first);
	assert_ptr_equal(get(server, "2001:db8::3"), first);
	http_address_put(server, first);
	http_address_put(server, first);
	http_address_put(server, NULL);
	for (size_t i = 0; i < HTTP_ADDRESS_BUCKETS; i++)
		assert_null(server->addresses[i]);
	free(server);
}

/* More addresses than buckets: chains are searched and taken apart. */
static void
many(void **state)
{
	enum
	{
		COUNT = 5000
	};
	http_server *server = calloc(1, sizeof(http_server));
	static http_address *addresses[COUNT];

	(void) state;
	for (uint32_t round = 1; round <= 2; round++)
	{
		for (uint32_t i = 0; i < COUNT; i++)
		{
			struct in6_addr peer = {{{0x20}}};

			memcpy(&peer.s6_addr[4], &i, sizeof(i));
			addresses[i] = http_address_get(server, &peer);
			assert_int_equal(addresses[i]->connections, round);
		}
	}
	for (uint32_t i = 0; i < 2 * COUNT; i++)
		http_address_put(server, addresses[i % COUNT]);
	for (size_t i = 0; i < HTTP_ADDRESS_BUCKETS; i++)
		assert_null(server->addresses[i]);
	free(server);
}

static void
address_of_a_socket(void **state)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7F000001)};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	struct sockaddr_un local = {.sun_family = AF_UNIX};
	struct in6_addr peer;

	(void) state;
	assert_true(http_address_of((struct sockaddr *) &v4, &peer));
	assert_true(IN6_IS_ADDR_V4MAPPED(&peer));
	assert_int_equal(peer.s6_addr[15], 1);
	assert_true(http_address_of((struct sockaddr *) &v6, &peer));
	assert_true(IN6_IS_ADDR_LOOPBACK(&peer));
	assert_false(http_address_of((struct sockaddr *) &local, &peer));
}

/* What there are ten thousand of must be small. */
static void
sizes(void **state)
{
	(void) state;
	assert_true(sizeof(http_stream) <= 208);
	assert_true(sizeof(http_conn) <= 288);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_is_the_same),
		cmocka_unit_test(many),
		cmocka_unit_test(address_of_a_socket),
		cmocka_unit_test(sizes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
