/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the files of fastpath share; nobody else includes this but their tests.
 *
 * fastpath.c opens and closes, fastpath_maps.c makes or reuses the pinned maps, fastpath_attach.c
 * deals with interfaces, fastpath_flows.c with connections and sources.
 */
#ifndef ENFORCE_FASTPATH_PRIVATE_H
#define ENFORCE_FASTPATH_PRIVATE_H

#include <limits.h>
#include <net/if.h>
#include <pthread.h>

#include "enforce/fastpath.h"

struct edge_bpf;
struct ring_buffer;

struct fastpath_port {
	struct fastpath_interface shown;
	char name[IF_NAMESIZE]; /* what shown.name points to */
	int link_fd;		/* owned; -1: not attached */
};

/* The free records of `conns` and the keys of those in use. */
struct fastpath_flows {
	pthread_mutex_t lock;
	struct tollgate_flow_key *keys; /* owned; by record */
	uint32_t *free;			/* owned; a stack of records */
	uint32_t free_count;
	uint32_t max;
};

struct fastpath {
	char dir[PATH_MAX / 4];		    /* <bpffs>/tollgate/<instance>/v<ABI> */
	int lock_fd;			    /* that folder, locked as long as we use it; or -1 */
	struct edge_bpf *skel;		    /* owned */
	struct tollgate_slot *slots;	    /* mapped */
	struct tollgate_conn *conns;	    /* mapped */
	struct tollgate_settings *settings; /* mapped */
	size_t slots_bytes;
	size_t conns_bytes;
	struct ring_buffer *ring; /* owned */
	bool was_pinned;
	unsigned adopted; /* bits: which maps were pinned already, by fastpath_maps.c's table */
	enum fastpath_mode mode;

	struct fastpath_flows flows;

	struct fastpath_port *ports; /* owned */
	unsigned port_count;

	/* whom fastpath_poll_events() calls, while it runs */
	void (*on_event)(void *arg, const struct tollgate_event *event);
	void *event_arg;
};

/* Write the sentence for the person who must act, and return @err. */
int fastpath_refuse(char *ret_why, size_t why_size, int err, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* @name as a file's name on bpffs, which wants neither '.' nor '/'. */
void fastpath_pin_name(char *ret_name, size_t size, const char *prefix, const char *name);

/* What was pinned is adopted, before loading; what is new is pinned, after it. */
int fastpath_maps_adopt(struct fastpath *fp, const struct fastpath_config *config, char *ret_why,
			size_t why_size);
int fastpath_maps_pin(struct fastpath *fp, char *ret_why, size_t why_size);
void fastpath_maps_unpin(struct fastpath *fp);

int fastpath_flows_init(struct fastpath_flows *flows, uint32_t max);
void fastpath_flows_done(struct fastpath_flows *flows);

/* Close the links' descriptors; with @detach take the programs off the interfaces and unpin them. */
void fastpath_ports_done(struct fastpath *fp, bool detach);

int fastpath_program_fd(const struct fastpath *fp);

#endif
