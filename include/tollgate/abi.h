/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * The records that the agent and the kernel's programs share through BPF maps.
 *
 * Pinned maps outlive the agent, so a layout is never changed in place: a change of any record here
 * raises TOLLGATE_ABI, which is part of the pin path. Addresses are in network byte order, IPv4 as
 * IPv4-mapped IPv6. All times are CLOCK_MONOTONIC nanoseconds unless the name says otherwise.
 */
#ifndef TOLLGATE_ABI_H
#define TOLLGATE_ABI_H

#include <linux/types.h>

#define TOLLGATE_ABI 2

#define TOLLGATE_NO_SLOT 0xffffffffu

/*
 * What is counted for one account in one window of time. A slot has two, so that the last one is still
 * there when the next one opens.
 */
struct tollgate_usage {
	__u64 window;	 /* TOLLGATE_USAGE_WINDOW; 0: unused; TOLLGATE_USAGE_BUSY: changing */
	__u64 requests;	 /* requests answered */
	__u64 units;	 /* the same, weighed with the cost of their routes */
	__u64 collected; /* what the store is known to have, see usage.c; control loop */
};
#define TOLLGATE_USAGE_BUSY (~0ULL)

/* A window's first second (Unix time) and its length: later windows are larger numbers. */
#define TOLLGATE_USAGE_WINDOW(start_s, seconds) ((__u64)(start_s) << 24 | (seconds))
#define TOLLGATE_USAGE_START_S(window)		((window) >> 24)
#define TOLLGATE_USAGE_SECONDS(window)		((__u32)(window)&0xffffff)

/*
 * Element of map `slots`: everything of one account that a verdict needs.
 *
 * Line 0 is all that XDP reads. Limits are written by the control loop alone, between two increments
 * of `limits_seq` (odd while it writes); counters are written by any worker, atomically.
 */
struct tollgate_slot {
	/* line 0: the bucket and the penalty */
	__u64 tat_ns;	       /* see bucket.h; workers, by compare-and-swap */
	__u64 interval_ns;     /* limits: cost of one unit; 0: no rate limit */
	__u64 limit_ns;	       /* limits: burst * interval_ns */
	__u64 drop_until_ns;   /* penalty: XDP drops segments of flows bound to this account */
	__u64 closed_until_ns; /* closed for `closed_reason` until then (quota, later leases) */
	__u32 closed_reason;   /* enum tollgate_verdict */
	__u32 generation;      /* raised when the slot changes hands; 0: never used */
	__u32 limits_seq;      /* odd while the limits are being written */
	__u32 state;	       /* limits: enum tollgate_slot_state */
	__u64 xdp_dropped;     /* segments that XDP dropped; XDP, atomically */

	/* line 1: limits that only the agent looks at */
	__u64 account_id;	 /* 0: the slot is free */
	__u64 features;		 /* limits: one bit a feature, as the configuration numbers them */
	__u64 quota_limit;	 /* limits: units a period; 0: no quota */
	__u32 quota_period;	 /* limits: enum tollgate_period */
	__u32 concurrency_limit; /* limits: requests at once; 0: no limit */
	__u32 tier;		 /* limits: index into the agent's tiers */
	__u32 grace_end_s; /* limits: Unix time at which access ends, past due; 0: it does not */
	__u32 reserved[4];
	__u64 refused_window; /* agent: second of the last refusals << 32 | refusals in it */

	/* line 2: what is used up */
	__u64 quota_word;  /* period's number << 40 | units charged in it, over all epochs */
	__u64 quota_base;  /* period's number << 40 | of these, units of other epochs and hosts */
	__u64 concurrency; /* requests under way */
	__u64 refused;	   /* requests that the agent refused */
	__u64 quota_collected; /* quota_word as the store is known to have it; control loop */
	__u64 billing;	       /* billing period: first second << 32 | end; 0: none; control loop */
	__u64 quota_span; /* limits: the monthly quota's period, likewise; 0: calendar months */
	__u64 reserved_counters;

	/* line 3 */
	struct tollgate_usage usage[2];
};
_Static_assert(sizeof(struct tollgate_slot) == 256, "map layout is ABI");
_Static_assert(__builtin_offsetof(struct tollgate_slot, account_id) == 64, "line 1");
_Static_assert(__builtin_offsetof(struct tollgate_slot, quota_word) == 128, "line 2");
_Static_assert(__builtin_offsetof(struct tollgate_slot, usage) == 192, "line 3");

enum tollgate_slot_state {
	TOLLGATE_SLOT_FREE = 0,
	TOLLGATE_SLOT_OPEN = 1,	    /* the account is entitled */
	TOLLGATE_SLOT_INACTIVE = 2, /* 403: its status or the operator's hold says so */
};

enum tollgate_period {
	TOLLGATE_PERIOD_NONE = 0,
	TOLLGATE_PERIOD_DAY = 1,   /* UTC days */
	TOLLGATE_PERIOD_MONTH = 2, /* UTC calendar months */
};

#define TOLLGATE_QUOTA_SHIFT 40
#define TOLLGATE_QUOTA_MAX   ((1ULL << TOLLGATE_QUOTA_SHIFT) - 1)

/*
 * What the slots' storage says of itself: the head of the slots file, and part of the settings map.
 * Slots are adopted only if store, instance and layout agree; see slot.h.
 */
struct tollgate_slots_head {
	__u8 magic[8];	       /* TOLLGATE_SLOTS_MAGIC */
	__u32 abi;	       /* TOLLGATE_ABI */
	__u32 max_accounts;    /* slots in the array */
	__u8 boot_id[16];      /* of the boot in which the monotonic words were written */
	__u8 store_id[16];     /* of the store whose accounts these are */
	__u64 epoch;	       /* drawn at random when the storage was made */
	__u32 window_seconds;  /* longest usage window; atomic, the control loop's */
	__u32 next_generation; /* the control loop's */
};
_Static_assert(sizeof(struct tollgate_slots_head) == 64, "map layout is ABI");
#define TOLLGATE_SLOTS_MAGIC "tollgate"

enum tollgate_action {
	TOLLGATE_ACTION_OFF = 0,     /* refuse nothing, count nothing */
	TOLLGATE_ACTION_OBSERVE = 1, /* count what would be refused */
	TOLLGATE_ACTION_DROP = 2,    /* rungs 2 and 3 */
	TOLLGATE_ACTION_ANSWER = 3,  /* all rungs */
};

/* Value of map `settings` (one element). Written by the agent alone. */
struct tollgate_settings {
	struct tollgate_slots_head slots;
	__u64 heartbeat_ns;	/* written by the agent every second */
	__u64 stale_after_ns;	/* XDP refuses nothing when the heartbeat is older */
	__u64 fingerprint[2];	/* SipHash key of the fingerprints, random */
	__u32 action;		/* enum tollgate_action */
	__u32 event_every;	/* one of so many refusals becomes an event; 0: none */
	__u64 sources_until_ns; /* no penalty of a source lasts longer; only ever raised */
	__u32 lists_count;	/* entries of `lists` */
	__u32 reserved0;
	__u64 reserved[8];
	__u64 ports[65536 / 64]; /* one bit a TCP port that a listener with interfaces uses */
};
_Static_assert(sizeof(struct tollgate_settings) == 64 + 40 + 80 + 8192, "map layout is ABI");

/* Key of map `flows`: a TCP connection as its packets arrive. */
struct tollgate_flow_key {
	__u32 client_be32[4];
	__u32 local_be32[4];
	__u16 client_port_be16;
	__u16 local_port_be16;
	__u32 pad; /* 0: it is hashed with the rest */
};
_Static_assert(sizeof(struct tollgate_flow_key) == 40, "map layout is ABI");

/* Value of map `flows`: immutable once entered. Written by the agent alone. */
struct tollgate_flow {
	__u32 conn_index; /* into `conns` */
	__u32 generation; /* of that record; another one there means the flow is gone */
};
_Static_assert(sizeof(struct tollgate_flow) == 8, "map layout is ABI");

/*
 * Element of map `conns`: everything of an enrolled connection that changes.
 *
 * Line 0 is the agent's, line 1 holds the shift that answers in place cause and is written by XDP and
 * read by egress. The claim word is taken by compare-and-swap by whoever wants to act on the
 * connection unasked.
 */
struct tollgate_conn {
	__u32 generation;      /* odd: in use, even: free; raised at enrolment and at forgetting */
	__u32 flags;	       /* TOLLGATE_CONN_* */
	__u32 slot;	       /* account that the flow is bound to, or TOLLGATE_NO_SLOT */
	__u32 slot_generation; /* of that slot when it was bound */
	__u32 answered;	       /* received bytes, low 32 bits, that are fully answered */
	__u32 template_index;  /* of the last answer in place */
	__u64 claim;	       /* 0: nobody's; else who */
	__u64 active_ns;       /* last answer in place: counts against the idle timeout */
	__u64 dropped;	       /* segments dropped on this connection; XDP */
	__u32 vlan;	       /* in-band VLAN tag that egress recorded, or 0 */
	__u32 reserved0[3];

	__u64 out_deltas; /* old << 32 | new: added to the server's sequence numbers */
	__u64 in_deltas;  /* old << 32 | new: subtracted from the client's */
	__u32 out_pos;	  /* from this number on the new delta holds */
	__u32 in_pos;
	__u32 egress_end;  /* end of the last segment that egress saw leave */
	__u32 request_seq; /* of the last swallowed request */
	__u32 request_len;
	__u32 answer_len;
	__u32 reserved1[6];
};
_Static_assert(sizeof(struct tollgate_conn) == 128, "map layout is ABI");
_Static_assert(__builtin_offsetof(struct tollgate_conn, out_deltas) == 64, "line 1");

#define TOLLGATE_CONN_BOUND    (1u << 0) /* every request so far bore one account's key */
#define TOLLGATE_CONN_POISONED (1u << 1) /* never to be answered in place (TLS, HTTP/2, upgraded) */

/* Key of map `sources`: a client address. IPv4 /32 mapped, IPv6 cut to its /64. */
struct tollgate_source_key {
	__u32 addr_be32[4];
};

/* Value of map `sources`. Written by the agent alone. */
struct tollgate_source {
	__u64 drop_until_ns; /* SYNs are dropped until then */
};

/* Key of map `listeners`: where SYNs may be refused. An all-zero address is any. */
struct tollgate_listener_key {
	__u32 local_be32[4];
	__u16 port_be16;
	__u16 pad0;
	__u32 ifindex;
};
_Static_assert(sizeof(struct tollgate_listener_key) == 24, "map layout is ABI");

/* Record of ring buffer `events`. */
struct tollgate_event {
	__u64 at_ns;
	__u32 client_be32[4];
	__u16 client_port_be16;
	__u16 local_port_be16;
	__u32 verdict; /* enum tollgate_verdict */
	__u32 slot;    /* or TOLLGATE_NO_SLOT */
	__u32 action;  /* enum tollgate_action at that moment */
};
_Static_assert(sizeof(struct tollgate_event) == 40, "map layout is ABI");

/*
 * Index of map `counters` (per CPU, one __u64 each). X(name, metric label): what XDP did with a
 * packet, and for packets on our ports that it looked at and passed, why.
 */
#define TOLLGATE_COUNTERS(X)                                                                     \
	X(DROP_FLOW, "drop_flow")	/* segment of a flow in penalty */                       \
	X(DROP_SOURCE, "drop_source")	/* SYN of a source in penalty */                         \
	X(OBSERVE_FLOW, "observe_flow") /* would have been dropped, action observe */            \
	X(OBSERVE_SOURCE, "observe_source")                                                      \
	X(PASS_SYN, "pass_syn")			  /* a new connection */                         \
	X(PASS_NOT_ENROLLED, "pass_not_enrolled") /* a segment with data on no enrolled flow */  \
	X(PASS_NOT_BOUND, "pass_not_bound")                                                      \
	X(PASS_NO_PENALTY, "pass_no_penalty")                                                    \
	X(PASS_CREDIT, "pass_credit") /* in penalty, but there is credit again */                \
	X(PASS_OWED, "pass_owed")     /* the agent owes an answer on this connection */          \
	X(PASS_STALE, "pass_stale")   /* the agent's heartbeat is stale */                       \
	X(PASS_ODD, "pass_odd")	      /* TCP to any port: fragment, option, cut short, tags */   \
	X(EVENT_LOST, "event_lost")   /* the ring buffer was full */                             \
	X(PASS_BUSY, "pass_busy")     /* the limits were being written at that moment */         \
	X(PASS_SOCKET, "pass_socket") /* no established socket, or it has these bytes already */ \
	X(DROP_DENIED, "drop_denied") /* SYN of a source on the deny list */                     \
	X(OBSERVE_DENIED, "observe_denied")

enum tollgate_counter {
#define X(name, label) TOLLGATE_COUNTER_##name,
	TOLLGATE_COUNTERS(X)
#undef X
		TOLLGATE_COUNTER_COUNT
};

#endif
