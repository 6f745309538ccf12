/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * Shared by all translation: a segment's fields, TCP options, checksums, and per-CPU scratch
 * memory.
 *
 * A segment holds sequence numbers in three places: SEQ, ACK and SACK blocks (RFC 2018). Options
 * are processed in a copy, where the verifier needs no proof of each offset.
 */
#ifndef TRANSLATE_BPF_H
#define TRANSLATE_BPF_H

#include "maps.bpf.h"
#include "parse.bpf.h"
#include "socket.bpf.h"
#include "tollgate/keyscan.h"
#include "tollgate/shift.h"
#include "tollgate/verdict.h"

#define FRAME_ROOM    512 /* a power of two, for masking offsets */
#define OPTIONS_MAX   40
#define OPTIONS_ROOM  64 /* a power of two, for masking offsets */
#define OPTIONS_KINDS 20 /* options in one header; only NOPs in masses make more */

#define OPT_END	      0
#define OPT_NOP	      1
#define OPT_SACK      5
#define OPT_TIMESTAMP 8

#define TIMESTAMP_ALONE	 0x0101080a /* NOP, NOP, then the option's kind and length */
#define TIMESTAMP_BYTES	 12
#define SACK_ALONE_BYTES 12 /* one block and two NOPs */

/* A segment on an enrolled flow. Offsets, not pointers: frames grow and shrink. */
struct arrival {
	__u32 tcp_at;
	__u32 payload_at;
	__u32 payload_bytes;
	__u32 seq, ack;
	__u32 end; /* counts a FIN */
	__u32 window;
	__u32 vlan;
	__u32 tsval_be32, tsecr_be32;
	__u32 sack_at, sack_bytes; /* among the options; 0: none */
	__u8 flags;
	bool has_timestamp;
	bool is_ip6;
	bool is_plain;	  /* flags, ECN and options allow an answer */
	bool has_options; /* other than a lone timestamp */
};

/* What to do with a request. @counter is an ANSWER_*, or says why the request is passed. */
struct ruling {
	enum tollgate_counter counter;
	enum tollgate_verdict verdict;
	__u32 template_index;
	__u32 seconds;
	__u32 slot; /* counts the refusal; or TOLLGATE_NO_SLOT */
};

/* The answer's header fields, in the client's sequence numbers. */
struct reply {
	__u32 seq, ack;
	__u32 window; /* scaled */
	__u32 seconds;
	__u32 answer_len;
};

/*
 * Working memory for the packet being processed, one per CPU. It is too large for the stack, and
 * the verifier does not track the values in it.
 */
struct scratch {
	__u8 options[OPTIONS_ROOM];	    /* as received, padded with zeros */
	__u8 translated[OPTIONS_ROOM];	    /* as passed on */
	__u8 frame[FRAME_ROOM];		    /* the answer */
	__u8 head[TOLLGATE_SCAN_ROOM_SIZE]; /* the request */
	struct tollgate_scan scan;
	struct tollgate_flow_key key;
	struct arrival arrival;
	struct socket_view socket;
	struct ruling ruling;
	struct reply reply;
	__u64 now_ns;
	__u64 sum;
	__u32 action; /* enum tollgate_action */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} scratches SEC(".maps");

static __always_inline struct scratch *find_scratch(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&scratches, &zero);
}

/* What was found among the options. @is_odd: one of them is unknown or malformed. */
struct options {
	__u32 sack_at;	  /* offset of the first block, 0: none */
	__u32 sack_bytes; /* of all blocks */
	__u32 timestamp_at;
	bool is_odd;
};

/*
 * The state of the walk. It is bpf_loop()'s context, so the verifier checks step_option() only
 * once.
 */
struct option_walk {
	const __u8 *room;
	__u32 at;
	struct options found;
};

static int step_option(__u32 i, void *arg)
{
	struct option_walk *w = arg;
	__u32 at = w->at & (OPTIONS_ROOM - 1);
	__u8 kind = w->room[at], len = w->room[(at + 1) & (OPTIONS_ROOM - 1)];

	if (kind == OPT_END || at >= OPTIONS_MAX)
		return 1;
	w->found.is_odd = i == OPTIONS_KINDS - 1;
	if (kind == OPT_NOP) {
		w->at = at + 1;
		return 0;
	}
	if (kind == OPT_TIMESTAMP && len == 10) {
		w->found.timestamp_at = at + 2;
	} else if (kind == OPT_SACK && len >= 10 && len <= 34) {
		w->found.sack_at = at + 2;
		w->found.sack_bytes = len - 2;
	} else {
		w->found.is_odd = true;
		return 1;
	}
	w->at = at + len;
	return 0;
}

static __always_inline __u32 read_be32(const __u8 room[OPTIONS_ROOM], __u32 at)
{
	return (__u32)room[at & (OPTIONS_ROOM - 1)] << 24 |
	       (__u32)room[(at + 1) & (OPTIONS_ROOM - 1)] << 16 |
	       (__u32)room[(at + 2) & (OPTIONS_ROOM - 1)] << 8 |
	       room[(at + 3) & (OPTIONS_ROOM - 1)];
}

static __always_inline void write_be32(__u8 room[OPTIONS_ROOM], __u32 at, __u32 value)
{
	room[at & (OPTIONS_ROOM - 1)] = value >> 24;
	room[(at + 1) & (OPTIONS_ROOM - 1)] = value >> 16;
	room[(at + 2) & (OPTIONS_ROOM - 1)] = value >> 8;
	room[(at + 3) & (OPTIONS_ROOM - 1)] = value;
}

/* Fold a one's complement sum. 64 bits have room for all carries of a header. */
static __always_inline __u16 fold_sum(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* RFC 1624: HC' = ~(~HC + ~m + m') */
static __always_inline __u16 update_check(__u16 check, __u32 old_be32, __u32 new_be32)
{
	return ~fold_sum((__u64)(__u16)~check + (__u32)~old_be32 + new_be32);
}

/*
 * Find what matters among scratch->options. They are padded with zeros, and a zero is OPT_END.
 *
 * The verifier checks this and every other function that is neither static nor inline on its own,
 * without what its callers know. Otherwise it would check each of them again for every path to it.
 */
__noinline int walk_options(struct scratch *scratch, struct options *ret_found)
{
	struct option_walk walk = {};

	if (!scratch || !ret_found)
		return 0;
	walk.room = scratch->options;
	bpf_loop(OPTIONS_KINDS, step_option, &walk, 0);
	*ret_found = walk.found;
	return 0;
}

#endif
