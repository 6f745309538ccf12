/* SPDX-License-Identifier: BSD-2-Clause */
/* upstream: the configured servers behind routes. Immutable once in use. */
#ifndef CONFIG_UPSTREAM_H
#define CONFIG_UPSTREAM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define UPSTREAM_MAX_SERVERS 256 /* addresses */

struct upstream_config {
	char *name;			  /* owned */
	struct sockaddr_storage *servers; /* owned; at least one */
	unsigned server_count;
	size_t server_room;
	uint64_t connect_ms;	  /* timeout for connecting */
	uint64_t answer_ms;	  /* timeout for the head of the answer */
	uint64_t body_ms;	  /* timeout between two pieces of its body */
	uint64_t idle_ms;	  /* how long a connection is kept without a request */
	unsigned max_idle;	  /* connections kept per worker and server */
	unsigned max_connections; /* per worker and server */
};

#endif
