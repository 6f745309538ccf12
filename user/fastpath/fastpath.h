/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fastpath: the agent's side of the BPF programs: loading, pinning, attaching, and the maps.
 *
 * Maps and links are pinned below <bpffs>/tollgate/<instance>/v<ABI>/, so they outlive the agent: a
 * restart finds buckets, penalties and usage as they were, and replaces the program without
 * detaching it. The agent works without any of this: if BPF is not available, fastpath_open() says
 * why, and the slots live in a file instead (slot.h).
 *
 * The module fastpath: everything that talks to the kernel's half. Which verdict a request gets
 * belongs to enforce, and the bytes of a refusal to proxy.
 */
#ifndef FASTPATH_FASTPATH_H
#define FASTPATH_FASTPATH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/cidr.h"
#include "base/text.h"
#include "config/fastpath_mode.h"
#include "enforce/xdp_plane.h"
#include "tollgate/abi.h"
#include "tollgate/lists.h"

struct fastpath;
struct mirror;

/*
 * A listener that opted in: its address and port, and the interfaces on which its packets arrive.
 */
struct fastpath_listener {
	struct sockaddr_storage address;
	const char *const *interfaces; /* borrowed during the call */
	unsigned interface_count;
};

struct fastpath_config {
	enum fastpath_mode mode;
	enum tollgate_action action;
	uint64_t stale_after_ns;
	uint32_t max_accounts; /* number of slots; pinned maps keep theirs */
	uint32_t max_flows;    /* enrolled connections at once */
	uint32_t event_every;  /* one of so many refusals becomes an event; 0: none */
	const char *instance;  /* borrowed during calls, as are the next two; names the pin path */
	const char *bpffs;     /* "/sys/fs/bpf", or a test's own mount */
	const struct fastpath_listener *listeners;
	unsigned listener_count;
};

/*
 * Load the programs, and create or reuse the pinned maps. Attaches nothing yet. On failure returns
 * a negative errno, and @ret_why says in one sentence what is missing and what would help: no
 * permission (-EPERM), no bpffs (-ENODEV), kernel without BTF (-ENOTSUP), maps pinned with another
 * max_accounts (-EEXIST), an instance that another agent is using (-EBUSY).
 */
int fastpath_open(const struct fastpath_config *config, struct fastpath **ret_fastpath,
		  char *ret_why, size_t why_size);

/*
 * The slots and settings as mapped memory, valid until fastpath_close(). fastpath_was_pinned() is
 * true if both maps existed before (the caller may adopt their content), false if they are new and
 * zero.
 */
struct tollgate_slot *fastpath_slots(struct fastpath *fp);
struct tollgate_settings *fastpath_settings(struct fastpath *fp);
bool fastpath_was_pinned(const struct fastpath *fp);

/*
 * Write ports and listeners into the maps, write one heartbeat, and attach to every interface that
 * a listener names (or replace the program in a link that is already pinned).
 *
 * If one interface fails, the others stay attached. Returns 0 if all are attached, else the first
 * error, and @ret_why names the interface and the reason. An interface that already has another XDP
 * program is left alone (-EBUSY). If programs of another tollgate version still translate
 * connections on an interface, that is not an error: the interface is attached later. An interface
 * that no listener names any more is detached; later, if connections that XDP has answered on may
 * still need it.
 */
int fastpath_attach(struct fastpath *fp, const struct fastpath_config *config, char *ret_why,
		    size_t why_size);

/*
 * The control loop calls this every second. It attaches to interfaces that another version no
 * longer needs, and to interfaces that have appeared or reappeared. It detaches from interfaces
 * that no listener names any more, once the connections that XDP had answered on are over, or after
 * three minutes.
 */
void fastpath_attach_waiting(struct fastpath *fp);

/* How the @i-th interface is served; the name is NULL past the last. For `status` and metrics. */
struct fastpath_interface {
	const char *name;
	enum fastpath_mode mode; /* NONE: not attached */
	char why[128];		 /* why not, or why not native */
};
const struct fastpath_interface *fastpath_interface(const struct fastpath *fp, unsigned i);

/* What enforce/ calls when keys, lists or penalties change. Borrowed from @fp; NULL for NULL. */
struct xdp_plane *fastpath_plane(struct fastpath *fp);

/* Set or get the current action. Any thread. */
void fastpath_set_action(struct fastpath *fp, enum tollgate_action action);
enum tollgate_action fastpath_action(const struct fastpath *fp);

/* Write the heartbeat: the agent is alive. Call once a second. */
void fastpath_beat(struct fastpath *fp, uint64_t now_ns);

/* A connection to enrol, and what XDP must know about it. */
struct fastpath_enrolment {
	const struct sockaddr_storage *client, *local; /* borrowed during the call */
	uint32_t slot, slot_generation; /* the slot it is bound to, or TOLLGATE_NO_SLOT */
	uint32_t answered;		/* see struct tollgate_conn */
	uint32_t flags;			/* TOLLGATE_CONN_BOUND, TOLLGATE_CONN_POISONED */
	uint8_t rcv_wscale, snd_wscale; /* the socket's window scales */
};

/*
 * Enrol a connection. Any worker. Returns 0 and the index of its record; -ENOSPC if the tables are
 * full (the connection works without the fast path); -ENOTSUP if the addresses are not IP; or
 * another negative errno.
 */
int fastpath_enrol(struct fastpath *fp, const struct fastpath_enrolment *enrolment,
		   uint32_t *ret_conn_index);

/*
 * The record of an enrolled connection; abi.h says what the agent may write. NULL past the table.
 */
struct tollgate_conn *fastpath_conn(struct fastpath *fp, uint32_t conn_index);

/*
 * Run the programs on packets of a test connection, see check.c. Returns 0; -EBADMSG if a program
 * did the wrong thing; another negative errno if the check could not be made. @ret_why has the
 * reason for every error. Takes about a millisecond. Control loop, before routes are set.
 * fastpath_attach() calls it once.
 */
int fastpath_check(struct fastpath *fp, char *ret_why, size_t why_size);

/*
 * Call this before closing a connection that the client did not ask to close: from now on XDP
 * answers nothing new on it. Returns false and changes nothing if XDP has answered since @since_ns,
 * because then the connection is not idle. Any worker.
 */
bool fastpath_claim(struct fastpath *fp, uint32_t conn_index, uint64_t since_ns);

/* Release the claim: the connection stays open after all. */
void fastpath_unclaim(struct fastpath *fp, uint32_t conn_index);

/* Whether the client has yet to acknowledge an answer from XDP. Can change unless claimed. */
bool fastpath_has_pending(struct fastpath *fp, uint32_t conn_index);

/*
 * The agent has closed the connection's socket. If XDP never answered on it, its record is freed at
 * once; otherwise fastpath_sweep() frees it when the kernel no longer has the socket. Any worker.
 */
void fastpath_forget(struct fastpath *fp, uint32_t conn_index);

/*
 * Free the records of closed connections whose socket is gone. Returns how many closed connections
 * are left. The control loop calls this every second.
 */
uint32_t fastpath_sweep(struct fastpath *fp);

/*
 * Sweep until only connections in TIME_WAIT are left, for at most @wait_ms; blocks. Returns how
 * many others are left.
 */
uint32_t fastpath_sweep_all(struct fastpath *fp, uint64_t wait_ms);

/* The number of records in use, including those of closed connections. */
uint32_t fastpath_enrolled(struct fastpath *fp);

/*
 * Publish to XDP which account @key belongs to, as @mirror knows it now. Call it from a thread that
 * is registered with RCU and has seen the key in a request. A key with a future revocation time is
 * not published. Cheap if XDP already knows the key.
 */
void fastpath_know_key(struct fastpath *fp, const struct mirror *mirror, struct text key,
		       const uint8_t hash[32], uint64_t wall_ms);

/*
 * Allocate and release sets of templates, see abi.h. A released set keeps its bytes for at least
 * three minutes, because XDP may have to repeat an answer. fastpath_take_set() returns
 * TOLLGATE_NO_ANSWERS if no set is free. Control loop.
 */
uint32_t fastpath_take_set(struct fastpath *fp, uint64_t now_ns);
void fastpath_give_set(struct fastpath *fp, uint32_t set, uint64_t now_ns);

/*
 * Set the bytes of a refusal. Must be called before the set is used. @at: where the last digit of
 * each number of seconds is in @bytes; 0 means none. Bytes longer than TOLLGATE_ANSWER_MAX leave
 * the template empty, so XDP passes such requests to the agent.
 */
void fastpath_put_template(struct fastpath *fp, uint32_t set, unsigned kind, struct text bytes,
			   const uint16_t at[2]);

/* A route as XDP knows it. If @cost is 0, XDP passes its requests to the agent. */
struct fastpath_route {
	struct text path;
	uint32_t cost;
};

/*
 * Replace the routes; longest path first. Returns false if there are more than TOLLGATE_ROUTES:
 * then XDP has no routes and answers nothing. Control loop.
 */
bool fastpath_set_routes(struct fastpath *fp, const struct fastpath_route *routes, unsigned count);

/*
 * Set whether the agent knows every key and every route. Until then XDP answers nothing in place.
 */
void fastpath_set_answering(struct fastpath *fp, bool is_answering);

/* Read the counters from the kernel, summed over all CPUs. Returns 0 or a negative errno. */
int fastpath_read_counters(struct fastpath *fp, uint64_t ret_counters[TOLLGATE_COUNTER_COUNT]);

/* Call @on_event for each queued event; does not block. Returns how many, or a negative errno. */
int fastpath_poll_events(struct fastpath *fp,
			 void (*on_event)(void *arg, const struct tollgate_event *event),
			 void *arg);

/* What fastpath_close() leaves in the kernel. */
enum fastpath_end {
	FASTPATH_LEAVE,	 /* everything stays attached: the next agent takes over */
	FASTPATH_DETACH, /* programs are detached; pinned maps stay, so buckets and usage survive */
	FASTPATH_REMOVE, /* nothing is left */
};
void fastpath_close(struct fastpath *fp, enum fastpath_end end); /* accepts NULL */

#endif
