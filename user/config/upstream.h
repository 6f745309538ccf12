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
	uint64_t connect_ms;	  /* until connected; default 2 s */
	uint64_t answer_ms;	  /* until the head of the answer; default 60 s */
	uint64_t body_ms;	  /* between two pieces of it; default 60 s */
	uint64_t idle_ms;	  /* kept open without a request; default 60 s */
	unsigned max_idle;	  /* connections kept per worker and server; default 64 */
	unsigned max_connections; /* per worker and server; default 1024 */
};

#endif
