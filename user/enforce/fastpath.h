/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fastpath: the agent's side of the kernel's programs: loading, pinning, attaching, and the maps.
 *
 * Maps and links are pinned below <bpffs>/tollgate/<instance>/v<ABI>/, so they outlive the agent: a
 * restart finds buckets, penalties and usage as they were, and replaces the program without detaching
 * it. The agent never depends on any of it: if BPF cannot be had, fastpath_open() says why, and the
 * slots live in a file instead (slot.h).
 */
#ifndef ENFORCE_FASTPATH_H
#define ENFORCE_FASTPATH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/cidr.h"
#include "tollgate/abi.h"
#include "tollgate/lists.h"

struct fastpath;

enum fastpath_mode {
	FASTPATH_NONE, /* no BPF at all */
	FASTPATH_AUTO, /* native, else generic */
	FASTPATH_NATIVE,
	FASTPATH_GENERIC,
};

/* A listener that opted in: an address (port in it) and the interfaces its packets arrive on. */
struct fastpath_listener {
	struct sockaddr_storage address;
	const char *const *interfaces; /* borrowed during the call */
	unsigned interface_count;
};

struct fastpath_config {
	enum fastpath_mode mode;
	enum tollgate_action action;
	uint64_t stale_after_ns;
	uint32_t max_accounts; /* slots; fixed for a pin path */
	uint32_t max_flows;    /* enrolled connections at once */
	uint32_t event_every;
	const char *instance; /* name of the pin path */
	const char *bpffs;    /* "/sys/fs/bpf", or a test's own mount */
	const struct fastpath_listener *listeners;
	unsigned listener_count;
};

/*
 * Load the programs, and create or reuse the pinned maps. Nothing is attached yet. On failure a
 * negative errno, and @ret_why says in one sentence what is missing and what would help: no
 * permission, no bpffs, kernel too old, maps pinned with another max_accounts (-EEXIST), an instance
 * that another agent is using (-EBUSY).
 */
int fastpath_open(const struct fastpath_config *config, struct fastpath **ret_fastpath,
		  char *ret_why, size_t why_size);

/*
 * The slots and settings as mapped memory, valid until fastpath_close(). Whether the pinned maps were
 * already there (their content may be adopted) or are new and zero.
 */
struct tollgate_slot *fastpath_slots(struct fastpath *fp);
struct tollgate_settings *fastpath_settings(struct fastpath *fp);
bool fastpath_was_pinned(const struct fastpath *fp);

/*
 * Enter ports and listeners, beat once, and attach to every interface named by a listener (or replace
 * the program in the links that are pinned already). An interface that cannot be had leaves the
 * others attached. Returns 0 if all are attached, else the first error, and @ret_why names the
 * interface and the reason; an interface with someone else's XDP program is left alone (-EBUSY).
 */
int fastpath_attach(struct fastpath *fp, const struct fastpath_config *config, char *ret_why,
		    size_t why_size);

/* How the interface with index @i is served; NULL name past the last. For `status` and metrics. */
struct fastpath_interface {
	const char *name;
	enum fastpath_mode mode; /* NONE: not attached */
	char why[128];		 /* why not, or why not native */
};
const struct fastpath_interface *fastpath_interface(const struct fastpath *fp, unsigned i);

/* The action of the moment; any thread. */
void fastpath_set_action(struct fastpath *fp, enum tollgate_action action);
enum tollgate_action fastpath_action(const struct fastpath *fp);

/* Tell the kernel's half that the agent lives; once a second. */
void fastpath_beat(struct fastpath *fp, uint64_t now_ns);

/*
 * Enrol a connection, from any worker. 0 and its record's index; -ENOSPC when the tables are full
 * (the connection goes on without fast path); -ENOTSUP for addresses that are not IP.
 */
int fastpath_enrol(struct fastpath *fp, const struct sockaddr_storage *client,
		   const struct sockaddr_storage *local, uint32_t *ret_conn_index);

/* The record of an enrolled connection; what the agent may write is said in abi.h. */
struct tollgate_conn *fastpath_conn(struct fastpath *fp, uint32_t conn_index);

/*
 * Forget a connection whose socket was closed. While answers in place are off a flow has no shift
 * and is forgotten at once. Any worker.
 */
void fastpath_forget(struct fastpath *fp, uint32_t conn_index);

/* Connections that are enrolled now. */
uint32_t fastpath_flow_count(struct fastpath *fp);

/* Drop SYNs of @client (an IPv6 address stands for its /64) until @until_ns. 0 or -ENOSPC. */
int fastpath_penalize_source(struct fastpath *fp, const struct sockaddr_storage *client,
			     uint64_t until_ns);
void fastpath_forgive_source(struct fastpath *fp, const struct sockaddr_storage *client);

/*
 * XDP's copy of the operators' lists, empty at first: SYNs out of @block are dropped, or no penalty of a
 * source holds for them, until @until_ns (0: for ever). 0 or a negative errno. XDP looks at entries only
 * while it is told that there are some.
 */
int fastpath_list_put(struct fastpath *fp, const struct cidr *block, bool is_allowed,
		      uint64_t until_ns);
void fastpath_list_remove(struct fastpath *fp, const struct cidr *block);
void fastpath_set_list_count(struct fastpath *fp, uint32_t count);

/* Counters summed over CPUs, read from the kernel now. 0 or a negative errno. */
int fastpath_read_counters(struct fastpath *fp, uint64_t ret_counters[TOLLGATE_COUNTER_COUNT]);

/* Hand each waiting event to @on_event; never waits. Returns how many, or a negative errno. */
int fastpath_poll_events(struct fastpath *fp,
			 void (*on_event)(void *arg, const struct tollgate_event *event),
			 void *arg);

/* What stays behind when the agent lets go. */
enum fastpath_end {
	FASTPATH_LEAVE, /* everything, attached: the next agent takes over */
	FASTPATH_DETACH, /* slots and settings, pinned: buckets and usage survive, nothing is attached */
	FASTPATH_REMOVE, /* nothing */
};
void fastpath_close(struct fastpath *fp, enum fastpath_end end); /* accepts NULL */

#endif
