/*
 * sse-bridge/http_address.c
 *	  How many connections each client address has.
 *
 * An entry lives as long as its address has a connection, so the table is bounded by
 * max_connections. The hash is seeded, for addresses are the client's choice in IPv6.
 */
#include <stdlib.h>
#include <string.h>

#include "http_internal.h"

/* Of an IPv6 address the network alone counts: one client has as many hosts in it as it likes. */
static struct in6_addr
key_of(const struct in6_addr *peer)
{
	struct in6_addr key = *peer;

	if (!IN6_IS_ADDR_V4MAPPED(peer) && !IN6_IS_ADDR_LOOPBACK(peer))
		memset(&key.s6_addr[8], 0, 8);
	return key;
}

static http_address **
bucket_of(http_server *server, const struct in6_addr *key)
{
	uint64_t hash = server->seed;

	for (int i = 0; i < 4; i++)
	{
		uint32_t word;

		memcpy(&word, &key->s6_addr[i * 4], sizeof(word));
		hash = (hash ^ word) * UINT64_C(0x9E3779B97F4A7C15);
		hash ^= hash >> 29;
	}
	return &server->addresses[hash % HTTP_ADDRESS_BUCKETS];
}

http_address *
http_address_get(http_server *server, const struct in6_addr *peer)
{
	struct in6_addr key = key_of(peer);
	http_address **bucket = bucket_of(server, &key);
	http_address *address;

	for (address = *bucket; address != NULL; address = address->next)
	{
		if (memcmp(&address->key, &key, sizeof(key)) == 0)
		{
			address->connections++;
			return address;
		}
	}
	address = malloc(sizeof(http_address));
	if (address == NULL)
		return NULL;
	address->key = key;
	address->connections = 1;
	address->next = *bucket;
	*bucket = address;
	return address;
}

void
http_address_put(http_server *server, http_address *address)
{
	http_address **place;

	if (address == NULL || --address->connections > 0)
		return;
	place = bucket_of(server, &address->key);
	while (*place != address)
		place = &(*place)->next;
	*place = address->next;
	free(address);
}

bool
http_address_of(const struct sockaddr *sockaddr, struct in6_addr *peer)
{
	memset(peer, 0, sizeof(*peer));
	if (sockaddr->sa_family == AF_INET6)
	{
		*peer = ((const struct sockaddr_in6 *) sockaddr)->sin6_addr;
		return true;
	}
	if (sockaddr->sa_family != AF_INET)
		return false;
	peer->s6_addr[10] = 0xFF;
	peer->s6_addr[11] = 0xFF;
	memcpy(&peer->s6_addr[12], &((const struct sockaddr_in *) sockaddr)->sin_addr, 4);
	return true;
}
