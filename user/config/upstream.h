/* SPDX-License-Identifier: BSD-2-Clause */
/* upstream: the servers behind a route, as configured. Immutable once in use. */
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
	uint64_t connect_ms;	  /* until connected */
	uint64_t answer_ms;	  /* until the head of the answer */
	uint64_t body_ms;	  /* between two pieces of it */
	uint64_t idle_ms;	  /* kept open without a request */
	unsigned max_idle;	  /* connections kept per worker and server */
	unsigned max_connections; /* per worker and server */
};

#endif
