/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * The records that the agent and the BPF programs share through maps.
 *
 * Pinned maps outlive the agent, so a layout is never changed in place: to change a record
 * here, raise TOLLGATE_ABI, which is part of the pin path. Addresses are in network byte order,
 * IPv4 as IPv4-mapped IPv6. Times are CLOCK_MONOTONIC nanoseconds unless the name says otherwise.
 */
#ifndef TOLLGATE_ABI_H
#define TOLLGATE_ABI_H

#include <linux/types.h>

#include "tollgate/shift.h"

#define TOLLGATE_ABI 3

#define TOLLGATE_NO_SLOT 0xffffffffu

/*
 * The usage of one account in one time window. A slot has two of these, so that the previous window
 * is still there when the next one opens.
 */
struct tollgate_usage {
	__u64 window;	 /* TOLLGATE_USAGE_WINDOW; 0: unused; TOLLGATE_USAGE_BUSY: changing */
	__u64 requests;	 /* requests answered */
	__u64 units;	 /* the sum of these requests' costs */
	__u64 collected; /* what the store has already, see usage.c; written by the control loop */
};
#define TOLLGATE_USAGE_BUSY (~0ULL)

/* A window's first second (Unix time) and its length. Later windows compare greater. */
#define TOLLGATE_USAGE_WINDOW(start_s, seconds) ((__u64)(start_s) << 24 | (seconds))
#define TOLLGATE_USAGE_START_S(window)		((window) >> 24)
#define TOLLGATE_USAGE_SECONDS(window)		((__u32)(window)&0xffffff)

/*
 * Element of map `slots`: everything that a verdict needs to know about one account.
 *
 * XDP reads little more than line 0. Fields marked "limits" are written only by the control loop,
 * between two increments of `limits_seq` (odd while it writes). Any worker updates counters,
 * atomically.
 */
struct tollgate_slot {
	/* line 0: the bucket and the penalty */
	__u64 tat_ns;	     /* see bucket.h; workers, by compare-and-swap */
	__u64 interval_ns;   /* limits: cost of one unit; 0: no rate limit */
	__u64 limit_ns;	     /* limits: burst * interval_ns */
	__u64 drop_until_ns; /* penalty: until then XDP drops data of flows bound to this account */
	__u64 closed_until_ns; /* until then the slot is closed, for `closed_reason` */
	__u32 closed_reason;   /* enum tollgate_verdict */
	__u32 generation;      /* raised when the slot gets another account; 0: never used */
	__u32 limits_seq;      /* odd while the limits are being written */
	__u32 state;	       /* limits: enum tollgate_slot_state */
	__u64 xdp_dropped;     /* segments that XDP dropped; XDP, atomically */

	/* line 1: limits that only the agent looks at */
	__u64 account_id;	 /* 0: the slot is free */
	__u64 features;		 /* limits: one bit per feature, in the configuration's order */
	__u64 quota_limit;	 /* limits: units per period; 0: no quota */
	__u32 quota_period;	 /* limits: enum tollgate_period */
	__u32 concurrency_limit; /* limits: requests at once; 0: no limit */
	__u32 tier;		 /* limits: index into the agent's tiers */
	__u32 grace_end_s;	 /* limits: when access ends if past due, Unix time; 0: never */
	__u32 answers;		 /* limits: the set of `templates` to use, or TOLLGATE_NO_ANSWERS */
	__u32 reserved;
	__u64 xdp_refused;    /* requests that XDP answered; XDP, atomically */
	__u64 refused_window; /* agent: second of its last refusal << 32 | refusals in it */

	/* line 2: what is used up */
	__u64 quota_word;      /* period's number << 40 | units charged in it, over all epochs */
	__u64 quota_base;      /* period's number << 40 | units in it of other epochs and hosts */
	__u64 concurrency;     /* requests in flight */
	__u64 refused;	       /* requests that the agent refused */
	__u64 quota_collected; /* the quota_word that the store has already; control loop */
	__u64 billing;	       /* billing period: first second << 32 | end; 0: none; control loop */
	__u64 quota_span;    /* limits: the monthly quota's period, likewise; 0: calendar months */
	__u64 closed_end_ns; /* when the cause of `closed_reason` ends, for Retry-After */

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
	TOLLGATE_SLOT_INACTIVE = 2, /* 403: by its status, or held by the operator */
};

enum tollgate_period {
	TOLLGATE_PERIOD_NONE = 0,
	TOLLGATE_PERIOD_DAY = 1,   /* UTC days */
	TOLLGATE_PERIOD_MONTH = 2, /* UTC calendar months */
};

#define TOLLGATE_QUOTA_SHIFT 40
#define TOLLGATE_QUOTA_MAX   ((1ULL << TOLLGATE_QUOTA_SHIFT) - 1)

/*
 * Describes the storage of the slots. It is the header of the slots file, and part of map
 * `settings`. Slots are adopted only if store, instance and layout match; see slot.h.
 */
struct tollgate_slots_head {
	__u8 magic[8];	       /* TOLLGATE_SLOTS_MAGIC */
	__u32 abi;	       /* TOLLGATE_ABI */
	__u32 max_accounts;    /* slots in the array */
	__u8 boot_id[16];      /* the boot in which the monotonic times were written */
	__u8 store_id[16];     /* the store that has these accounts */
	__u64 epoch;	       /* random; chosen when the storage was created */
	__u32 window_seconds;  /* longest usage window; control loop, atomically */
	__u32 next_generation; /* control loop */
};
_Static_assert(sizeof(struct tollgate_slots_head) == 64, "map layout is ABI");
#define TOLLGATE_SLOTS_MAGIC "tollgate"

/* What XDP may do. X(name, word in the configuration) */
#define TOLLGATE_ACTIONS(X)                                       \
	X(OFF, "off")	      /* refuse nothing, count nothing */ \
	X(OBSERVE, "observe") /* count what would be refused */   \
	X(DROP, "drop")	      /* drop segments and SYNs */        \
	X(ANSWER, "answer")   /* also answer refused requests in place */

enum tollgate_action {
#define X(name, word) TOLLGATE_ACTION_##name,
	TOLLGATE_ACTIONS(X)
#undef X
	/* For the self-check's connection: like ANSWER, but nothing is counted. */
	TOLLGATE_ACTION_CHECK
};

/* Value of map `settings` (one element). Written by the agent alone. */
struct tollgate_settings {
	struct tollgate_slots_head slots;
	__u64 heartbeat_ns;	/* written by the agent every second */
	__u64 stale_after_ns;	/* XDP refuses nothing if the heartbeat is older than this */
	__u64 fingerprint[2];	/* SipHash key of the fingerprints, random */
	__u32 action;		/* enum tollgate_action */
	__u32 event_every;	/* one of so many refusals becomes an event; 0: none */
	__u64 sources_until_ns; /* no source is in penalty after this; never lowered */
	__u32 is_answering;	/* 0: XDP answers nothing, because the agent is not ready */
	__u32 routes_at;	/* the element of `routes` in use */
	__u32 lists_count;	/* number of entries in `lists` */
	__u32 template_next;	/* only for the agent: the next set of templates to allocate */
	__u16 check_port_be16;	/* local port of the self-check's connection, or 0 */
	__u16 reserved0[3];
	__u64 reserved[6];
	__u64 ports[65536 / 64]; /* one bit per TCP port; set: the programs look at its packets */
};
_Static_assert(sizeof(struct tollgate_settings) == 64 + 40 + 80 + 8192, "map layout is ABI");

/* Key of map `flows`: a TCP connection, as seen in incoming packets. */
struct tollgate_flow_key {
	__u32 client_be32[4];
	__u32 local_be32[4];
	__u16 client_port_be16;
	__u16 local_port_be16;
	__u32 pad; /* 0; the map hashes it too */
};
_Static_assert(sizeof(struct tollgate_flow_key) == 40, "map layout is ABI");

/* Value of map `flows`: immutable. Written by the agent alone. */
struct tollgate_flow {
	__u32 conn_index; /* into `conns` */
	__u32 generation; /* of that record; if the record has another, the flow is gone */
};
_Static_assert(sizeof(struct tollgate_flow) == 8, "map layout is ABI");

/*
 * Element of map `conns`: the changing state of an enrolled connection.
 *
 * The agent writes line 0, except for fields marked otherwise. Line 1 is the shift that answers in
 * place cause, see shift.h: XDP writes it while it holds the claim; egress reads it.
 */
struct tollgate_conn {
	__u32 generation;      /* odd: in use, even: free; raised by enrolling and by forgetting */
	__u32 flags;	       /* TOLLGATE_CONN_* */
	__u32 slot;	       /* the account that the flow is bound to, or TOLLGATE_NO_SLOT */
	__u32 slot_generation; /* that slot's, when the flow was bound */
	__u32 answered;	       /* how many received bytes are fully answered, low 32 bits */
	__u32 claim;	       /* TOLLGATE_CLAIM_*; both sides, by atomic operations */
	__u64 active_ns;       /* time of XDP's last answer, for the idle timeout; XDP */
	__u64 dropped;	       /* segments dropped on this connection; XDP */
	__u32 vlan;	       /* the in-band VLAN tag that egress saw, TOLLGATE_VLAN_*; egress */
	__u32 egress_end;      /* end of the last segment that egress saw, untranslated; egress */
	__u8 rcv_wscale;       /* the socket's scale for windows that it announces */
	__u8 snd_wscale;       /* the socket's scale for windows that the client announces */
	__u16 reserved0;
	__u32 reserved1;
	__u64 answer_from_ns; /* XDP answers nothing before this */

	struct tollgate_shift shift;
};
_Static_assert(sizeof(struct tollgate_conn) == 128, "map layout is ABI");
_Static_assert(__builtin_offsetof(struct tollgate_conn, shift) == 64, "line 1");

#define TOLLGATE_CONN_BOUND (1u << 0) /* all requests so far had keys of one account */
/*
 * XDP must never answer on this connection (TLS). Set at enrolment or not at all: a shifted
 * connection is never poisoned.
 */
#define TOLLGATE_CONN_POISONED (1u << 1)
#define TOLLGATE_CONN_EGRESS   (1u << 2) /* egress_end is valid; egress */
#define TOLLGATE_CONN_DEAD     (1u << 3) /* a new connection uses these addresses; XDP */

/*
 * Who may act on a connection other than in response to a request: XDP before it answers, the agent
 * before it closes on its own. The agent's bit stays set; XDP holds its bit for the time of one
 * packet.
 */
#define TOLLGATE_CLAIM_XDP   (1u << 0)
#define TOLLGATE_CLAIM_AGENT (1u << 1)

#define TOLLGATE_VLAN_TAGGED 0x10000 /* | the VLAN's number; 0: untagged */
#define TOLLGATE_VLAN_MASK   0x0fff

/*
 * Element of map `hints`: how many enrolled flows hash to it. Most packets belong to flows that are
 * not enrolled, and this look-up says so more cheaply than one in `flows`. Written by the agent. 64
 * bits wide, because the kernel aligns array elements to 8 bytes anyway.
 */
#define TOLLGATE_HINTS 65536
static inline __u32 tollgate_hint(const __u32 client_be32[4], __u16 port_be16)
{
	__u32 mix = client_be32[0] ^ client_be32[1] ^ client_be32[2] ^ client_be32[3] ^ port_be16 ^
		    (__u32)port_be16 << 16;

	return (__u32)(mix * 0x9e3779b1u) >> 16;
}

/* Key of map `fingerprints`: SipHash-2-4-128 of an API key under settings.fingerprint. */
struct tollgate_fingerprint {
	__u64 hash[2];
};

/*
 * Value of map `fingerprints`: the account that the API key belongs to. The agent alone writes it,
 * after it has refused a request with the key, and removes it when anything about the key changes.
 */
struct tollgate_known_key {
	__u32 slot;	  /* the account's */
	__u32 generation; /* the slot's */
	__u32 is_revoked;
	__u32 reserved;
};

/*
 * Element of map `templates`: the bytes of a refusal, head and body, exactly as the agent sends it.
 * Immutable while it may be in use, because XDP repeats a lost answer from it.
 *
 * Only one number differs from answer to answer: the seconds to wait, which occur once
 * (Retry-After) or twice (RateLimit's t) in the head. There is one template for each count of
 * digits.
 */
#define TOLLGATE_ANSWER_MAX 300 /* bytes of a refusal, head and body */
struct tollgate_template {
	__u32 len;   /* 0: there is no such answer */
	__u32 sum;   /* of the bytes, as for the TCP checksum, with '0' for each digit */
	__u16 at[2]; /* offsets of the number's last digit; 0: the number does not occur */
	__u32 reserved;
	__u8 bytes[304]; /* padded with zeros */
};
_Static_assert(sizeof(struct tollgate_template) == 320, "map layout is ABI");

/* Templates come in sets, one for each tier. Set 0 has those that do not depend on the tier. */
#define TOLLGATE_TEMPLATE_SET	   18
#define TOLLGATE_DIGITS_MAX	   9
#define TOLLGATE_TEMPLATE_RATE	   0 /* + digits - 1 */
#define TOLLGATE_TEMPLATE_QUOTA	   9
#define TOLLGATE_TEMPLATE_INACTIVE 0 /* in set 0 */
#define TOLLGATE_TEMPLATE_REVOKED  1
#define TOLLGATE_NO_ANSWERS	   0 /* set 0 belongs to no tier */

/*
 * Element of map `routes`: which requests are charged, and how much. The agent fills the element
 * that is not in use and then switches settings.routes_at.
 */
#define TOLLGATE_ROUTES	     64
#define TOLLGATE_ROUTE_WORDS 4 /* so many words of 8 bytes of a path are compared */

struct tollgate_route {
	__u64 word[TOLLGATE_ROUTE_WORDS]; /* the prefix, padded with zeros */
	__u64 mask[TOLLGATE_ROUTE_WORDS]; /* 0xff for each byte of the prefix */
	__u32 len;
	__u32 cost; /* 0: passed to the agent (public, free, portal); or TOLLGATE_ROUTE_CUT */
};
#define TOLLGATE_ROUTE_CUT 0xffffffffu /* word[] has only the start of the prefix: pass */

struct tollgate_routes {
	__u64 count;
	struct tollgate_route list[TOLLGATE_ROUTES]; /* longest first */
};

/* Key of map `sources`: a client's IPv4 address (mapped), or the /64 of its IPv6 address. */
struct tollgate_source_key {
	__u32 addr_be32[4];
};

/* Value of map `sources`. Written by the agent alone. */
struct tollgate_source {
	__u64 drop_until_ns; /* SYNs are dropped until then */
};

/* Key of map `listeners`: where SYNs may be refused. An all-zero address means any. */
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
	__u32 action;  /* enum tollgate_action at that time */
};
_Static_assert(sizeof(struct tollgate_event) == 40, "map layout is ABI");

/*
 * Index into map `counters` (per CPU, one __u64 each): what XDP did with a packet; for packets to
 * our ports that it examined and passed, the reason. X(name, metric label)
 */
#define TOLLGATE_COUNTERS(X)                                                                       \
	X(DROP_FLOW, "drop_flow")	/* segment of a flow in penalty */                         \
	X(DROP_SOURCE, "drop_source")	/* SYN of a source in penalty */                           \
	X(OBSERVE_FLOW, "observe_flow") /* would have been dropped, action observe */              \
	X(OBSERVE_SOURCE, "observe_source")                                                        \
	X(PASS_SYN, "pass_syn")			  /* a new connection */                           \
	X(PASS_NOT_ENROLLED, "pass_not_enrolled") /* data on a flow that is not enrolled */        \
	X(PASS_NOT_BOUND, "pass_not_bound")                                                        \
	X(PASS_NO_PENALTY, "pass_no_penalty")                                                      \
	X(PASS_CREDIT, "pass_credit") /* in penalty, but there is credit again */                  \
	X(PASS_OWED, "pass_owed")     /* the agent owes an answer on this connection */            \
	X(PASS_STALE, "pass_stale")   /* the agent's heartbeat is stale */                         \
	X(PASS_ODD, "pass_odd")	      /* TCP to any port: fragment, options, truncated, tags */    \
	X(EVENT_LOST, "event_lost")   /* the ring buffer was full */                               \
	X(PASS_BUSY, "pass_busy")     /* the agent was just writing the limits */                  \
	X(PASS_SOCKET, "pass_socket") /* no established socket, or it has these bytes already */   \
	X(DROP_DENIED, "drop_denied") /* SYN of a source on the deny list */                       \
	X(OBSERVE_DENIED, "observe_denied")                                                        \
	X(ANSWER_RATE, "answer_rate") /* answered in place: 429, over rate */                      \
	X(ANSWER_QUOTA, "answer_quota")                                                            \
	X(ANSWER_INACTIVE, "answer_inactive") /* 403 */                                            \
	X(ANSWER_REVOKED, "answer_revoked")   /* 401 */                                            \
	X(ANSWER_REPEATED, "answer_repeated") /* an answer was lost and sent again */              \
	X(ANSWER_ARRIVED, "answer_arrived")   /* the client has acknowledged it */                 \
	X(OBSERVE_ANSWER, "observe_answer")   /* would have been answered, action observe */       \
	X(HELD_DATA, "held_data")     /* dropped: an answer is pending, or the claim is taken */   \
	X(HELD_ACK, "held_ack")	      /* dropped: an ACK with nothing new for the socket */        \
	X(PASS_HEAD, "pass_head")     /* incomplete head, or one that the key scan is unsure of */ \
	X(PASS_ROUTE, "pass_route")   /* no route, a public or free one, or one of our own */      \
	X(PASS_KEY, "pass_key")	      /* no key, or not one that the agent has refused lately */   \
	X(PASS_PACKET, "pass_packet") /* TCP or IP options, flags, ECN, VLAN, room in the frame */ \
	X(PASS_ORDER, "pass_order")   /* data is out of order, or its order is not known yet */    \
	X(PASS_SENDING, "pass_sending") /* the socket has unsent or unacknowledged bytes */        \
	X(PASS_EGRESS, "pass_egress")	/* egress has not seen the socket's last segment */        \
	X(PASS_CLAIMED, "pass_claimed") /* the agent is about to close */                          \
	X(DROP_ODD, "drop_odd")		/* as PASS_ODD, but on a shifted connection */             \
	X(PASS_NEW, "pass_new")		/* enrolled only a moment ago */                           \
	X(PASS_LIMITS, "pass_limits")	/* the verdict depends on more than XDP knows */

enum tollgate_counter {
#define X(name, label) TOLLGATE_COUNTER_##name,
	TOLLGATE_COUNTERS(X)
#undef X
		TOLLGATE_COUNTER_COUNT
};

#endif
