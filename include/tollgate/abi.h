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

#include "tollgate/shift.h"

#define TOLLGATE_ABI 3

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
 * Line 0 is nearly all that XDP reads. Limits are written by the control loop alone, between two increments
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
	__u32 answers;	   /* limits: its set of `templates`, or TOLLGATE_NO_ANSWERS */
	__u32 reserved;
	__u64 xdp_refused;    /* requests that XDP answered; XDP, atomically */
	__u64 refused_window; /* agent: second of the last refusals << 32 | refusals in it */

	/* line 2: what is used up */
	__u64 quota_word;  /* period's number << 40 | units charged in it, over all epochs */
	__u64 quota_base;  /* period's number << 40 | of these, units of other epochs and hosts */
	__u64 concurrency; /* requests under way */
	__u64 refused;	   /* requests that the agent refused */
	__u64 quota_collected; /* quota_word as the store is known to have it; control loop */
	__u64 billing;	       /* billing period: first second << 32 | end; 0: none; control loop */
	__u64 quota_span;    /* limits: the monthly quota's period, likewise; 0: calendar months */
	__u64 closed_end_ns; /* when the refusal that `closed_reason` names ends */

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

/* What XDP may do, and the word for it. X(name, word) */
#define TOLLGATE_ACTIONS(X)                                       \
	X(OFF, "off")	      /* refuse nothing, count nothing */ \
	X(OBSERVE, "observe") /* count what would be refused */   \
	X(DROP, "drop")	      /* drop segments and SYNs */        \
	X(ANSWER, "answer")   /* also answer refused requests in place */

enum tollgate_action {
#define X(name, word) TOLLGATE_ACTION_##name,
	TOLLGATE_ACTIONS(X)
#undef X
	/* The self-check's connection: as ANSWER, but nothing is counted. */
	TOLLGATE_ACTION_CHECK
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
	__u32 is_answering;	/* the agent knows every key: without, nothing is answered */
	__u32 routes_at;	/* element of `routes` that holds */
	__u32 lists_count;	/* entries of `lists` */
	__u32 template_next;	/* the agent's: the set of templates that is given out next */
	__u16 check_port_be16;	/* local port of the self-check's connection, or 0 */
	__u16 reserved0[3];
	__u64 reserved[6];
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
 * Line 0 is the agent's but for what is marked; line 1 holds the shift that answers in place cause,
 * see shift.h: XDP writes it while it holds the claim, egress reads it.
 */
struct tollgate_conn {
	__u32 generation;      /* odd: in use, even: free; raised at enrolment and at forgetting */
	__u32 flags;	       /* TOLLGATE_CONN_* */
	__u32 slot;	       /* account that the flow is bound to, or TOLLGATE_NO_SLOT */
	__u32 slot_generation; /* of that slot when it was bound */
	__u32 answered;	       /* received bytes, low 32 bits, that are fully answered */
	__u32 claim;	       /* TOLLGATE_CLAIM_*; both, by compare-and-swap */
	__u64 active_ns;       /* last answer in place; XDP. Counts against the idle timeout */
	__u64 dropped;	       /* segments dropped on this connection; XDP */
	__u32 vlan;	       /* in-band VLAN tag that egress saw, TOLLGATE_VLAN_*; egress */
	__u32 egress_end;      /* end of the last segment that egress saw leave; egress */
	__u8 rcv_wscale;       /* of the socket: windows that we tell are scaled by it */
	__u8 snd_wscale;       /* windows that the client tells */
	__u16 reserved0;
	__u32 reserved1;
	__u64 answer_from_ns; /* nothing is answered in place before */

	struct tollgate_shift shift;
};
_Static_assert(sizeof(struct tollgate_conn) == 128, "map layout is ABI");
_Static_assert(__builtin_offsetof(struct tollgate_conn, shift) == 64, "line 1");

#define TOLLGATE_CONN_BOUND (1u << 0) /* every request so far bore one account's key */
/*
 * Never to be answered in place (TLS). Said at enrolment and not changed after it: a shifted
 * connection is never poisoned.
 */
#define TOLLGATE_CONN_POISONED (1u << 1)
#define TOLLGATE_CONN_EGRESS   (1u << 2) /* egress_end is known; egress */
#define TOLLGATE_CONN_DEAD     (1u << 3) /* another connection has its addresses; XDP */

/* Who acts on a connection unasked. The agent's bit stays; XDP's is held for a packet's time. */
#define TOLLGATE_CLAIM_XDP   (1u << 0)
#define TOLLGATE_CLAIM_AGENT (1u << 1)

#define TOLLGATE_VLAN_TAGGED 0x10000 /* | the VLAN's number; 0: untagged */
#define TOLLGATE_VLAN_MASK   0x0fff

/*
 * Element of `hints`: how many enrolled flows have this hint. Most packets are of flows that are not
 * enrolled, and one look here tells that cheaper than a look-up of the flow. Written by the agent; 64
 * bits, since that is how far apart the kernel places elements.
 */
#define TOLLGATE_HINTS 65536
static inline __u32 tollgate_hint(const __u32 client_be32[4], __u16 port_be16)
{
	__u32 mix = client_be32[0] ^ client_be32[1] ^ client_be32[2] ^ client_be32[3] ^ port_be16 ^
		    (__u32)port_be16 << 16;

	return (__u32)(mix * 0x9e3779b1u) >> 16;
}

/* Key of map `fingerprints`: SipHash-2-4-128 of a key under settings.fingerprint. */
struct tollgate_fingerprint {
	__u64 hash[2];
};

/*
 * Value of map `fingerprints`: whose key that is. Written by the agent alone, when it has refused a
 * request that bore the key, and taken back when the key changes.
 */
struct tollgate_known_key {
	__u32 slot;	  /* of its account */
	__u32 generation; /* of that slot */
	__u32 is_revoked;
	__u32 reserved;
};

/*
 * Element of map `templates`: a refusal's bytes, head and body, as the agent would write them.
 * Immutable while it can be used: an answer that got lost is sent again from it.
 *
 * What differs from one answer to the next is one number of seconds, which stands in the head once
 * (Retry-After) or twice (RateLimit's t). Each template has room for so many digits and no more.
 */
#define TOLLGATE_ANSWER_MAX 300 /* bytes of a refusal, head and body */
struct tollgate_template {
	__u32 len;   /* 0: there is no such answer */
	__u32 sum;   /* of the bytes, as the TCP checksum adds them up, digits taken for '0' */
	__u16 at[2]; /* offsets of the last digit of the number; 0: not there */
	__u32 reserved;
	__u8 bytes[304]; /* zeros behind the last */
};
_Static_assert(sizeof(struct tollgate_template) == 320, "map layout is ABI");

/* Templates come in sets, one for each tier; set 0 has those that depend on no tier. */
#define TOLLGATE_TEMPLATE_SET	   18
#define TOLLGATE_DIGITS_MAX	   9
#define TOLLGATE_TEMPLATE_RATE	   0 /* + digits - 1 */
#define TOLLGATE_TEMPLATE_QUOTA	   9
#define TOLLGATE_TEMPLATE_INACTIVE 0 /* in set 0 */
#define TOLLGATE_TEMPLATE_REVOKED  1
#define TOLLGATE_NO_ANSWERS	   0 /* set 0 is nobody's */

/*
 * Element of map `routes`: which requests are charged, and how much. The agent fills the element that
 * is not in use and then sets settings.routes_at.
 */
#define TOLLGATE_ROUTES	     64
#define TOLLGATE_ROUTE_WORDS 4 /* of a path, 8 bytes each, are compared */

struct tollgate_route {
	__u64 word[TOLLGATE_ROUTE_WORDS]; /* the prefix, zeros behind it */
	__u64 mask[TOLLGATE_ROUTE_WORDS]; /* 0xff for each byte of the prefix */
	__u32 len;
	__u32 cost; /* 0: the agent's (public, own or free); or TOLLGATE_ROUTE_CUT */
};
#define TOLLGATE_ROUTE_CUT 0xffffffffu /* only the beginning of a prefix: the agent decides */

struct tollgate_routes {
	__u64 count;
	struct tollgate_route list[TOLLGATE_ROUTES]; /* longest first */
};

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
#define TOLLGATE_COUNTERS(X)                                                                       \
	X(DROP_FLOW, "drop_flow")	/* segment of a flow in penalty */                         \
	X(DROP_SOURCE, "drop_source")	/* SYN of a source in penalty */                           \
	X(OBSERVE_FLOW, "observe_flow") /* would have been dropped, action observe */              \
	X(OBSERVE_SOURCE, "observe_source")                                                        \
	X(PASS_SYN, "pass_syn")			  /* a new connection */                           \
	X(PASS_NOT_ENROLLED, "pass_not_enrolled") /* a segment with data on no enrolled flow */    \
	X(PASS_NOT_BOUND, "pass_not_bound")                                                        \
	X(PASS_NO_PENALTY, "pass_no_penalty")                                                      \
	X(PASS_CREDIT, "pass_credit") /* in penalty, but there is credit again */                  \
	X(PASS_OWED, "pass_owed")     /* the agent owes an answer on this connection */            \
	X(PASS_STALE, "pass_stale")   /* the agent's heartbeat is stale */                         \
	X(PASS_ODD, "pass_odd")	      /* TCP to any port: fragment, option, cut short, tags */     \
	X(EVENT_LOST, "event_lost")   /* the ring buffer was full */                               \
	X(PASS_BUSY, "pass_busy")     /* the limits were being written at that moment */           \
	X(PASS_SOCKET, "pass_socket") /* no established socket, or it has these bytes already */   \
	X(DROP_DENIED, "drop_denied") /* SYN of a source on the deny list */                       \
	X(OBSERVE_DENIED, "observe_denied")                                                        \
	X(ANSWER_RATE, "answer_rate") /* answered in place: 429, over rate */                      \
	X(ANSWER_QUOTA, "answer_quota")                                                            \
	X(ANSWER_INACTIVE, "answer_inactive") /* 403 */                                            \
	X(ANSWER_REVOKED, "answer_revoked")   /* 401 */                                            \
	X(ANSWER_REPEATED, "answer_repeated") /* lost, and sent again */                           \
	X(ANSWER_ARRIVED, "answer_arrived")   /* the client has acknowledged it */                 \
	X(OBSERVE_ANSWER, "observe_answer")   /* would have been answered, action observe */       \
	X(HELD_DATA, "held_data")   /* dropped: an answer is on its way, or the claim is taken */  \
	X(HELD_ACK, "held_ack")	    /* dropped: an ACK that tells the socket nothing new */        \
	X(PASS_HEAD, "pass_head")   /* no head that the key scan is sure of, or not the whole */   \
	X(PASS_ROUTE, "pass_route") /* no route, a public or free one, or one of our own */        \
	X(PASS_KEY, "pass_key")	    /* no key, or none that the agent has refused lately */        \
	X(PASS_PACKET, "pass_packet") /* TCP or IP options, flags, ECN, VLAN, room in the frame */ \
	X(PASS_ORDER, "pass_order")   /* data came out of order, or not seen in order yet */       \
	X(PASS_SENDING, "pass_sending") /* the socket has unsent or unacknowledged bytes */        \
	X(PASS_EGRESS, "pass_egress")	/* egress has not seen the last segment leave */           \
	X(PASS_CLAIMED, "pass_claimed") /* the agent is about to close */                          \
	X(DROP_ODD, "drop_odd")		/* odd, on a shifted connection */                         \
	X(PASS_NEW, "pass_new")		/* enrolled a moment ago */                                \
	X(PASS_LIMITS, "pass_limits")	/* the agent would have to look at more than XDP knows */

enum tollgate_counter {
#define X(name, label) TOLLGATE_COUNTER_##name,
	TOLLGATE_COUNTERS(X)
#undef X
		TOLLGATE_COUNTER_COUNT
};

#endif
