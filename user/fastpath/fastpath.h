/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fastpath: the agent's side of the kernel's programs: loading, pinning, attaching, and the maps.
 *
 * Maps and links are pinned below <bpffs>/tollgate/<instance>/v<ABI>/, so they outlive the agent: a
 * restart finds buckets, penalties and usage as they were, and replaces the program without detaching
 * it. The agent never depends on any of it: if BPF cannot be had, fastpath_open() says why, and the
 * slots live in a file instead (slot.h).
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
 * interface and the reason; an interface with someone else's XDP program is left alone (-EBUSY). One
 * where programs of another version still translate connections is no error: it is attached later. One
 * that no listener names is let go, later if connections that were answered on may need it.
 */
int fastpath_attach(struct fastpath *fp, const struct fastpath_config *config, char *ret_why,
		    size_t why_size);

/*
 * Every second, by the control loop: attach to interfaces that another version does not need any more,
 * and to those that have come (back); let go of those that no listener names any more, once the
 * connections on which was answered before are over, or after three minutes.
 */
void fastpath_attach_waiting(struct fastpath *fp);

/* How the interface with index @i is served; NULL name past the last. For `status` and metrics. */
struct fastpath_interface {
	const char *name;
	enum fastpath_mode mode; /* NONE: not attached */
	char why[128];		 /* why not, or why not native */
};
const struct fastpath_interface *fastpath_interface(const struct fastpath *fp, unsigned i);

/* What enforce/ calls when keys, lists or penalties change; borrowed. NULL for NULL. */
struct xdp_plane *fastpath_plane(struct fastpath *fp);

/* The action of the moment; any thread. */
void fastpath_set_action(struct fastpath *fp, enum tollgate_action action);
enum tollgate_action fastpath_action(const struct fastpath *fp);

/* Tell the kernel's half that the agent lives; once a second. */
void fastpath_beat(struct fastpath *fp, uint64_t now_ns);

/* A connection that is to be enrolled, and what XDP must know of it. */
struct fastpath_enrolment {
	const struct sockaddr_storage *client, *local;
	uint32_t slot, slot_generation; /* that it is bound to, or TOLLGATE_NO_SLOT */
	uint32_t answered;		/* see struct tollgate_conn */
	uint32_t flags;			/* TOLLGATE_CONN_BOUND, TOLLGATE_CONN_POISONED */
	uint8_t rcv_wscale, snd_wscale; /* of the socket */
};

/*
 * Enrol a connection, from any worker. 0 and its record's index; -ENOSPC when the tables are full
 * (the connection goes on without fast path); -ENOTSUP for addresses that are not IP.
 */
int fastpath_enrol(struct fastpath *fp, const struct fastpath_enrolment *enrolment,
		   uint32_t *ret_conn_index);

/* The record of an enrolled connection; what the agent may write is said in abi.h. */
struct tollgate_conn *fastpath_conn(struct fastpath *fp, uint32_t conn_index);

/*
 * Let the programs handle a connection of our own, see check.c. 0; -EBADMSG if they do wrong;
 * another negative errno if that could not be tried. Either way with the reason. Takes a millisecond;
 * control loop, before routes are set. fastpath_attach() begins with it.
 */
int fastpath_check(struct fastpath *fp, char *ret_why, size_t why_size);

/*
 * Before a connection is closed unasked: from now on XDP answers nothing new on it. False, and
 * nothing has changed, if XDP has answered since @since_ns: the connection is not idle. Any worker.
 */
bool fastpath_claim(struct fastpath *fp, uint32_t conn_index, uint64_t since_ns);

/* Take a claim back: the connection is not closed after all. */
void fastpath_unclaim(struct fastpath *fp, uint32_t conn_index);

/* Whether the client has not acknowledged an answer of XDP's yet. Final only under a claim. */
bool fastpath_has_pending(struct fastpath *fp, uint32_t conn_index);

/*
 * A connection's socket was closed. One that was never answered on in place is forgotten at once,
 * others when the kernel has no socket for it any more (fastpath_sweep). Any worker.
 */
void fastpath_forget(struct fastpath *fp, uint32_t conn_index);

/* Forget connections that are over; every second, by the control loop. How many are left. */
uint32_t fastpath_sweep(struct fastpath *fp);

/* The same until only those in TIME_WAIT are left, for at most @wait_ms. How many others are left. */
uint32_t fastpath_sweep_all(struct fastpath *fp, uint64_t wait_ms);

/* How many connections are enrolled, those that are over but not forgotten among them. */
uint32_t fastpath_enrolled(struct fastpath *fp);

/*
 * Tell XDP whose key this is, as @mirror knows it now; from a registered thread that has seen it. A
 * key that will be revoked at a known time is not told of. Cheap if XDP knows it already.
 */
void fastpath_know_key(struct fastpath *fp, const struct mirror *mirror, struct text key,
		       const uint8_t hash[32], uint64_t wall_ms);

/*
 * Templates, see abi.h. A set given back keeps its bytes for three minutes at least, since answers may
 * be sent again. fastpath_take_set() returns TOLLGATE_NO_ANSWERS when none is free. Control loop.
 */
uint32_t fastpath_take_set(struct fastpath *fp, uint64_t now_ns);
void fastpath_give_set(struct fastpath *fp, uint32_t set, uint64_t now_ns);

/* A refusal's bytes; @at: offsets of the last digit of its number, or 0. Before the set is used. */
void fastpath_put_template(struct fastpath *fp, uint32_t set, unsigned kind, struct text bytes,
			   const uint16_t at[2]);

/* A route as XDP knows it; @cost 0: XDP leaves its requests to the agent. */
struct fastpath_route {
	struct text path;
	uint32_t cost;
};

/*
 * The routes from now on, longest path first. False: there are more than XDP has room for, and it
 * answers nothing. Control loop.
 */
bool fastpath_set_routes(struct fastpath *fp, const struct fastpath_route *routes, unsigned count);

/* Whether the agent knows every key and every route: without, nothing is answered in place. */
void fastpath_set_answering(struct fastpath *fp, bool is_answering);

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
