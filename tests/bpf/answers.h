/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A connection in a state in which XDP answers: an account over its rate, templates, routes, known
 * keys and a pair of idle sockets. And checks of every byte of an answer.
 */
#ifndef TESTS_BPF_ANSWERS_H
#define TESTS_BPF_ANSWERS_H

#include "bpf/pair.h"

#include "fastpath/private.h"
#include "tollgate/siphash.h"

#define KEY		"over-rate-0123456789"
#define REVOKED		"revoked-0123456789ab"
#define UNKNOWN		"unknown-0123456789ab"
#define SLOT_GENERATION 5
#define WAIT_S		3600 /* until the next request would be allowed */
#define WAIT_TEXT	"3600"

#define GET(key) "GET /v1/x HTTP/1.1\r\nHost: a\r\nX-API-Key: " key "\r\n\r\n"
#define POST(key, length, body)                                                       \
	"POST / HTTP/1.1\r\nHost: a\r\nX-API-Key: " key "\r\nContent-Length: " length \
	"\r\n\r\n" body

#define RATE_ANSWER(wait)                                      \
	"HTTP/1.1 429 Too Many Requests\r\nRetry-After: " wait \
	"\r\nRateLimit: \"rate\";r=0;t=" wait "\r\nContent-Length: 4\r\n\r\nrate"
#define QUOTA_ANSWER(wait)                                                            \
	"HTTP/1.1 429 Too Many Requests\r\nRetry-After: " wait "\r\nContent-Length: " \
	"5\r\n\r\nquota"
#define INACTIVE_ANSWER "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
#define REVOKED_ANSWER	"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"

struct world {
	struct fastpath *fp;
	struct pair pair;
	struct tollgate_conn *conn;
	uint32_t set;
	int family;
};

static inline void know(struct world *w, const char *key, const struct tollgate_known_key *known)
{
	const __u64 *secret = w->fp->settings->fingerprint;
	struct tollgate_fingerprint print;
	int fd = fixture_map(w->fp, "fingerprints");

	tollgate_siphash128((__u64[]){ secret[0], secret[1] }, key, strlen(key), print.hash);
	assert_int_equal(bpf_map_update_elem(fd, &print, known, BPF_ANY), 0);
	close(fd);
}

/* Offset of the last digit after @name. */
static inline uint16_t last_digit(const char *text, const char *name, unsigned digits)
{
	const char *at = name ? strstr(text, name) : NULL;

	return at ? at + strlen(name) + digits - 1 - text : 0;
}

static inline void put_templates(struct world *w)
{
	static const char rate[] = RATE_ANSWER("0000"), quota[] = QUOTA_ANSWER("0000");
	const uint16_t rate_at[] = { last_digit(rate, "After: ", 4), last_digit(rate, ";t=", 4) };
	const uint16_t quota_at[] = { last_digit(quota, "After: ", 4), 0 }, none[] = { 0, 0 };

	fastpath_put_template(w->fp, w->set, TOLLGATE_TEMPLATE_RATE + 3, TEXT(rate), rate_at);
	fastpath_put_template(w->fp, w->set, TOLLGATE_TEMPLATE_QUOTA + 3, TEXT(quota), quota_at);
	fastpath_put_template(w->fp, 0, TOLLGATE_TEMPLATE_INACTIVE, TEXT(INACTIVE_ANSWER), none);
	fastpath_put_template(w->fp, 0, TOLLGATE_TEMPLATE_REVOKED, TEXT(REVOKED_ANSWER), none);
}

/* Back to the state in which XDP answers with WAIT_S. */
static inline void world_reset(struct world *w)
{
	struct tollgate_slot *slot = fastpath_slots(w->fp);
	struct tollgate_conn *conn = w->conn;
	uint32_t generation = conn->generation;

	memset(slot, 0, sizeof(*slot));
	slot->generation = SLOT_GENERATION;
	slot->state = TOLLGATE_SLOT_OPEN;
	slot->interval_ns = WAIT_S * NS_PER_SECOND;
	slot->limit_ns = 2 * slot->interval_ns;
	slot->tat_ns = clock_mono_ns() + slot->limit_ns;
	slot->answers = w->set;
	memset(conn, 0, sizeof(*conn));
	conn->generation = generation;
	conn->slot = TOLLGATE_NO_SLOT;
	conn->answered = w->pair.bytes_received;
	conn->flags = TOLLGATE_CONN_EGRESS;
	conn->egress_end = w->pair.snd_nxt;
	conn->rcv_wscale = w->pair.rcv_wscale;
	conn->snd_wscale = w->pair.snd_wscale;
	conn->shift.in_end = w->pair.rcv_nxt;
	conn->shift.state = TOLLGATE_SHIFT_ORDERED;
	put_templates(w);
	fastpath_settings(w->fp)->stale_after_ns = 60 * NS_PER_SECOND;
	fastpath_beat(w->fp, clock_mono_ns());
	fastpath_set_action(w->fp, TOLLGATE_ACTION_ANSWER);
	fastpath_set_answering(w->fp, true);
}

static inline void world_open(struct world *w, int family)
{
	static const struct fastpath_route routes[] = { { .path = TEXT("/public"), .cost = 0 },
							{ .path = TEXT("/dear"), .cost = 3 },
							{ .path = TEXT("/"), .cost = 1 } };
	const struct tollgate_known_key over = { .generation = SLOT_GENERATION };
	const struct tollgate_known_key revoked = { .generation = SLOT_GENERATION,
						    .is_revoked = 1 };
	struct fastpath_config config = fixture_config();
	struct fastpath_enrolment enrolment;
	char why[256];
	uint32_t index;

	*w = (struct world){ .fp = fixture_open(&config), .family = family };
	assert_int_equal(fastpath_attach(w->fp, &config, why, sizeof(why)), 0);
	fastpath_settings(w->fp)->ports[PACKET_LOCAL_PORT / 64] |= 1ULL << PACKET_LOCAL_PORT % 64;
	fastpath_set_routes(w->fp, routes, 3);
	know(w, KEY, &over);
	know(w, REVOKED, &revoked);
	w->set = fastpath_take_set(w->fp, clock_mono_ns());
	assert_int_not_equal(w->set, TOLLGATE_NO_ANSWERS);
	pair_open(&w->pair, family, family);
	enrolment = (struct fastpath_enrolment){ .client = &w->pair.client_address,
						 .local = &w->pair.local_address,
						 .slot = TOLLGATE_NO_SLOT };
	assert_int_equal(fastpath_enrol(w->fp, &enrolment, &index), 0);
	w->conn = fastpath_conn(w->fp, index);
	world_reset(w);
}

static inline void world_close(struct world *w)
{
	pair_close(&w->pair);
	fastpath_close(w->fp, FASTPATH_REMOVE);
}

/* A segment from the client. Fields that @spec leaves open are as the socket expects them. */
static inline struct packet world_packet(const struct world *w, const struct packet_spec *spec)
{
	const char *address = w->family == AF_INET6 ? "::1" : "127.0.0.1";
	struct packet_spec full = *spec;

	full.family = w->family;
	full.client = full.local = address;
	full.client_port = ntohs(((const struct sockaddr_in *)&w->pair.client_address)->sin_port);
	full.seq += w->pair.rcv_nxt;
	if (!full.window)
		full.window = w->pair.snd_wnd >> w->pair.snd_wscale;
	full.ack = full.ack == 1 ? w->pair.snd_nxt + 1 : full.ack ? full.ack : w->pair.snd_nxt;
	if (!full.flags)
		full.flags = PACKET_PSH | PACKET_ACK;
	return packet_build(&full);
}

static inline int run_program(int program_fd, const struct packet *in, struct packet *ret_out)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = in->data, .data_size_in = in->len,
		    .data_out = ret_out->data, .data_size_out = sizeof(ret_out->data), .repeat = 1);
	int err = bpf_prog_test_run_opts(program_fd, &opts);

	if (err)
		fail_msg("BPF_PROG_RUN: %s", strerror(-err));
	ret_out->len = opts.data_size_out;
	return opts.retval;
}

static inline int world_run(const struct world *w, const struct packet *in, struct packet *ret_out)
{
	return run_program(fastpath_program_fd(w->fp), in, ret_out);
}

/* Where the parts of a frame are, and its sequence numbers. */
struct parts {
	size_t ip_at, tcp_at, body_at;
	uint32_t seq, ack;
};

static inline uint32_t number_at(const struct packet *p, size_t at)
{
	uint32_t number;

	memcpy(&number, p->data + at, sizeof(number));
	return ntohl(number);
}

static inline struct parts parts_of(const struct packet *p)
{
	size_t ip_at = p->data[12] == 0x81 ? 18 : 14;
	size_t tcp_at = ip_at + (p->data[ip_at] >> 4 == 6 ? 40 : 20);

	return (struct parts){ .ip_at = ip_at,
			       .tcp_at = tcp_at,
			       .body_at = tcp_at + (p->data[tcp_at + 12] >> 4) * 4,
			       .seq = number_at(p, tcp_at + 4),
			       .ack = number_at(p, tcp_at + 8) };
}

/* The end by the IP header's length, without Ethernet padding. */
static inline size_t end_of(const struct packet *p)
{
	size_t ip_at = parts_of(p).ip_at;

	return p->data[ip_at] >> 4 == 6
		       ? ip_at + 40 + (p->data[ip_at + 4] << 8 | p->data[ip_at + 5])
		       : ip_at + (p->data[ip_at + 2] << 8 | p->data[ip_at + 3]);
}

static inline void expect_checksums(const struct packet *p, const char *why)
{
	struct parts at = parts_of(p);
	bool is_ip6 = p->data[at.ip_at] >> 4 == 6;
	size_t len = end_of(p) - at.tcp_at;
	uint32_t sum = packet_sum(p->data + at.ip_at + (is_ip6 ? 8 : 12), is_ip6 ? 32 : 8,
				  IPPROTO_TCP + len);

	if (packet_fold(packet_sum(p->data + at.tcp_at, len, sum)))
		fail_msg("%s: wrong TCP checksum", why);
	if (!is_ip6 && packet_fold(packet_sum(p->data + at.ip_at, 20, 0)))
		fail_msg("%s: wrong IP checksum", why);
}

static inline void expect_swapped(const struct packet *in, const struct packet *out, size_t at,
				  size_t len, const char *why)
{
	if (memcmp(in->data + at, out->data + at + len, len) != 0 ||
	    memcmp(in->data + at + len, out->data + at, len) != 0)
		fail_msg("%s: not swapped at %zu", why, at);
}

/* Check every field of @out, which must be the answer to @in with @text. */
static inline void expect_answer(const struct packet *in, const struct packet *out,
				 const char *text, const char *why)
{
	struct parts asked = parts_of(in), said = parts_of(out);
	bool is_ip6 = in->data[asked.ip_at] >> 4 == 6;
	const uint8_t *option = in->data + asked.tcp_at + 20, *echo = out->data + said.tcp_at + 20;
	bool has_timestamp = asked.body_at - asked.tcp_at >= 32 && option[2] == 8;

	expect_checksums(out, why);
	expect_swapped(in, out, 0, 6, why);
	assert_memory_equal(in->data + 12, out->data + 12, asked.ip_at - 12);
	expect_swapped(in, out, asked.ip_at + (is_ip6 ? 8 : 12), is_ip6 ? 16 : 4, why);
	if (is_ip6)
		assert_memory_equal(out->data + said.ip_at, "\x60\0\0", 4);
	else /* TOS 0, ID 0, don't fragment */
		assert_memory_equal(out->data + said.ip_at + 4, "\0\0\x40", 4);
	assert_int_equal(out->data[said.ip_at + 1], 0);
	assert_memory_equal(out->data + said.tcp_at + 18, "\0", 2); /* no urgent pointer */
	expect_swapped(in, out, asked.tcp_at, 2, why);
	assert_int_equal(out->data[said.ip_at + (is_ip6 ? 7 : 8)], 64);
	assert_int_equal(said.seq, asked.ack);
	assert_int_equal(said.ack, asked.seq + (end_of(in) - asked.body_at));
	assert_int_equal(out->data[said.tcp_at + 13], PACKET_PSH | PACKET_ACK);
	assert_int_equal(said.body_at - said.tcp_at, has_timestamp ? 32 : 20);
	if (has_timestamp) {
		assert_memory_equal(echo, option, 4);
		assert_memory_equal(echo + 4, option + 8, 4);
		assert_memory_equal(echo + 8, option + 4, 4);
	}
	if (out->len != said.body_at + strlen(text) || end_of(out) != out->len ||
	    memcmp(out->data + said.body_at, text, strlen(text)) != 0)
		fail_msg("%s: %.*s", why, (int)(out->len - said.body_at), out->data + said.body_at);
}

/* The answer announces the socket's own window, scaled. */
static inline void expect_window(const struct world *w, const struct packet *out)
{
	uint32_t scaled = w->pair.window >> w->pair.rcv_wscale;

	assert_int_equal(number_at(out, parts_of(out).tcp_at + 12) & 0xffff,
			 scaled < 65535 ? scaled : 65535);
}

#endif
