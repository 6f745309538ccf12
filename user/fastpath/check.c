// SPDX-License-Identifier: BSD-2-Clause
/*
 * The self-check: before the programs are attached, they must handle a test connection correctly.
 *
 * The verifier accepts a program if it is safe; that does not mean that it works correctly on this
 * kernel. So we open a connection over loopback, read its sequence numbers, and enrol it with a key
 * that counts as revoked. Then we run the programs (BPF_PROG_RUN) on three packets: a request that
 * must be answered, the socket's next segment, and data after the answer. settings.check_port_be16
 * names the connection's port: the programs answer on it whatever the action is, and count nothing.
 *
 *                client                                program              server's socket
 *    request     seq rcv_nxt, L bytes            -->   edge
 *    answer      seq snd_nxt, ack rcv_nxt + L    <--   edge, P bytes
 *    segment     seq snd_nxt + P, ack rcv_nxt    <--   edge_egress   <--    snd_nxt, rcv_nxt
 *    data        seq rcv_nxt + L, ack snd_nxt + P -->  edge          -->    rcv_nxt, snd_nxt
 */
#include "fastpath/private.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/clock.h"
#include "bpf/edge.skel.h"
#include "tollgate/siphash.h"

#define KEY	   "tollgate-self-check-0123456789"
#define REQUEST	   "GET / HTTP/1.1\r\nHost: localhost\r\nX-API-Key: " KEY "\r\n\r\n"
#define AFTERWARDS "GET / HTTP/1.1\r\n"
#define HEADERS	   (ETH_HLEN + sizeof(struct iphdr) + sizeof(struct tcphdr))

#define FLAG_ACK 0x10
#define FLAG_PSH 0x08

struct check {
	struct fastpath *fp;
	int listener, client, server;
	struct sockaddr_storage client_address, local_address;
	uint32_t rcv_nxt, snd_nxt; /* the server's socket's */
	uint32_t conn_index;
	struct tollgate_fingerprint print;
	char *why;
	size_t why_size;
};

struct frame {
	_Alignas(4) uint8_t align[2]; /* aligns the IP header, which follows 14 bytes of Ethernet */
	uint8_t bytes[HEADERS + TOLLGATE_ANSWER_MAX];
	uint32_t len;
	uint32_t verdict;
};

static uint16_t port_of(const struct sockaddr_storage *address)
{
	return ((const struct sockaddr_in *)address)->sin_port;
}

static uint32_t add_up(const void *bytes, size_t len, uint32_t sum)
{
	const uint8_t *b = bytes;

	for (size_t i = 0; i < len; i++)
		sum += i & 1 ? b[i] : b[i] << 8;
	return sum;
}

/* 0xffff if the bytes summed up include a correct checksum. */
static uint16_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static uint16_t tcp_sum(const struct frame *frame)
{
	uint32_t len = frame->len - ETH_HLEN - sizeof(struct iphdr);
	const uint8_t *addresses = frame->bytes + ETH_HLEN + offsetof(struct iphdr, saddr);

	return fold(add_up(frame->bytes + HEADERS - sizeof(struct tcphdr), len,
			   add_up(addresses, 8, IPPROTO_TCP + len)));
}

static struct tcphdr *tcp_of(struct frame *frame)
{
	return (struct tcphdr *)(frame->bytes + HEADERS - sizeof(struct tcphdr));
}

/* A segment between the two ends, from the client or from the server. */
static void build(const struct check *c, bool from_client, uint32_t seq, uint32_t ack,
		  const char *payload, struct frame *ret)
{
	struct ethhdr *eth = (struct ethhdr *)ret->bytes;
	struct iphdr *ip = (struct iphdr *)(eth + 1);
	struct tcphdr *tcp = tcp_of(ret);
	size_t len = strlen(payload);

	memset(ret, 0, sizeof(*ret));
	ret->len = HEADERS + len;
	eth->h_proto = htons(ETH_P_IP);
	ip->version = 4;
	ip->ihl = 5;
	ip->tot_len = htons(ret->len - ETH_HLEN);
	ip->ttl = 64;
	ip->protocol = IPPROTO_TCP;
	ip->saddr = ip->daddr = htonl(INADDR_LOOPBACK);
	ip->check = htons(~fold(add_up(ip, sizeof(*ip), 0)));
	tcp->source = port_of(from_client ? &c->client_address : &c->local_address);
	tcp->dest = port_of(from_client ? &c->local_address : &c->client_address);
	tcp->seq = htonl(seq);
	tcp->ack_seq = htonl(ack);
	tcp->doff = sizeof(*tcp) / 4;
	((uint8_t *)tcp)[13] = FLAG_ACK | (len ? FLAG_PSH : 0);
	tcp->window = htons(65535);
	memcpy(tcp + 1, payload, len);
	tcp->check = htons(~tcp_sum(ret));
}

static int run(const struct check *c, const struct bpf_program *program, const struct frame *in,
	       struct frame *ret_out)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = in->bytes, .data_size_in = in->len,
		    .data_out = ret_out->bytes, .data_size_out = sizeof(ret_out->bytes));
	int err = bpf_prog_test_run_opts(bpf_program__fd(program), &opts);

	if (err)
		return fastpath_refuse(c->why, c->why_size, err, "BPF_PROG_RUN: %s",
				       strerror(-err));
	ret_out->len = opts.data_size_out;
	ret_out->verdict = opts.retval;
	return 0;
}

/* The verdict, the sequence numbers and the checksums of the resulting frame must be right. */
static int expect(const struct check *c, const char *what, struct frame *out, uint32_t verdict,
		  uint32_t seq, uint32_t ack)
{
	const struct tcphdr *tcp = tcp_of(out);

	if (out->verdict != verdict)
		return fastpath_refuse(c->why, c->why_size, -EBADMSG, "%s: verdict %d, expected %d",
				       what, (int)out->verdict, (int)verdict);
	if (ntohl(tcp->seq) != seq || ntohl(tcp->ack_seq) != ack)
		return fastpath_refuse(c->why, c->why_size, -EBADMSG,
				       "%s: seq %u ack %u, expected %u and %u", what,
				       ntohl(tcp->seq), ntohl(tcp->ack_seq), seq, ack);
	if (fold(add_up(out->bytes + ETH_HLEN, sizeof(struct iphdr), 0)) != 0xffff ||
	    tcp_sum(out) != 0xffff)
		return fastpath_refuse(c->why, c->why_size, -EBADMSG, "%s: wrong checksum", what);
	return 0;
}

static int check_answer(const struct check *c, uint32_t *ret_answer_len)
{
	const struct tollgate_template *t = &c->fp->templates[TOLLGATE_TEMPLATE_REVOKED];
	struct frame in, out;
	int err;

	build(c, true, c->rcv_nxt, c->snd_nxt, REQUEST, &in);
	err = run(c, c->fp->skel->progs.edge, &in, &out);
	if (!err)
		err = expect(c, "the answer to a request", &out, XDP_TX, c->snd_nxt,
			     c->rcv_nxt + strlen(REQUEST));
	if (err)
		return err;
	if (out.len != HEADERS + t->len || memcmp(out.bytes + HEADERS, t->bytes, t->len) != 0)
		return fastpath_refuse(c->why, c->why_size, -EBADMSG,
				       "the answer to a request: wrong bytes");
	*ret_answer_len = t->len;
	return 0;
}

static int check_translation(const struct check *c, uint32_t answer_len)
{
	struct frame in, out;
	int err;

	build(c, false, c->snd_nxt, c->rcv_nxt, "", &in);
	err = run(c, c->fp->skel->progs.edge_egress, &in, &out);
	if (!err)
		err = expect(c, "the socket's next segment", &out, TC_ACT_UNSPEC,
			     c->snd_nxt + answer_len, c->rcv_nxt);
	if (err)
		return err;
	build(c, true, c->rcv_nxt + strlen(REQUEST), c->snd_nxt + answer_len, AFTERWARDS, &in);
	err = run(c, c->fp->skel->progs.edge, &in, &out);
	return err ? err
		   : expect(c, "data after the answer", &out, XDP_PASS, c->rcv_nxt, c->snd_nxt);
}

/* ---- the connection ---- */

static int open_pair(struct check *c)
{
	struct sockaddr_in any = { .sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(c->local_address);

	c->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	c->client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->listener < 0 || c->client < 0 ||
	    bind(c->listener, (struct sockaddr *)&any, sizeof(any)) || listen(c->listener, 1) ||
	    getsockname(c->listener, (struct sockaddr *)&c->local_address, &len))
		return -errno;
	/* Over loopback a connection is established within connect(), or not at all. */
	if (connect(c->client, (struct sockaddr *)&c->local_address, len) && errno != EINPROGRESS)
		return -errno;
	fcntl(c->listener, F_SETFL, O_NONBLOCK);
	len = sizeof(c->client_address);
	c->server = accept4(c->listener, (struct sockaddr *)&c->client_address, &len, SOCK_CLOEXEC);
	return c->server < 0 ? -errno : 0;
}

static int read_number(int fd, int queue, uint32_t *ret_seq)
{
	socklen_t len = sizeof(*ret_seq);

	return setsockopt(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, &queue, sizeof(queue)) ||
			       getsockopt(fd, IPPROTO_TCP, TCP_QUEUE_SEQ, ret_seq, &len)
		       ? -errno
		       : 0;
}

static int read_numbers(struct check *c)
{
	int on = TCP_REPAIR_ON, off = TCP_REPAIR_OFF_NO_WP, err;

	if (setsockopt(c->server, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)))
		return -errno;
	err = read_number(c->server, TCP_RECV_QUEUE, &c->rcv_nxt);
	if (!err)
		err = read_number(c->server, TCP_SEND_QUEUE, &c->snd_nxt);
	if (setsockopt(c->server, IPPROTO_TCP, TCP_REPAIR, &off, sizeof(off)) && !err)
		err = -errno;
	return err;
}

/* Close by RST, so that no socket stays in TIME_WAIT. */
static void close_pair(struct check *c)
{
	const struct linger none = { .l_onoff = 1 };

	if (c->server >= 0) {
		setsockopt(c->server, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
		close(c->server);
	}
	if (c->client >= 0)
		close(c->client);
	if (c->listener >= 0)
		close(c->listener);
}

/*
 * Enrol the connection and set up its record as that of a connection in use: egress has seen its
 * last segment, in_end is valid, and no answer is owed. The key counts as revoked.
 */
static int enrol(struct check *c)
{
	const struct fastpath_enrolment enrolment = { .client = &c->client_address,
						      .local = &c->local_address,
						      .slot = TOLLGATE_NO_SLOT };
	const struct tollgate_known_key known = { .generation = c->fp->slots[0].generation,
						  .is_revoked = 1 };
	const __u64 *secret = c->fp->settings->fingerprint;
	struct tollgate_conn *conn;
	int err;

	tollgate_siphash128((__u64[]){ secret[0], secret[1] }, KEY, strlen(KEY), c->print.hash);
	err = bpf_map_update_elem(bpf_map__fd(c->fp->skel->maps.fingerprints), &c->print, &known,
				  BPF_ANY);
	if (!err)
		err = fastpath_enrol(c->fp, &enrolment, &c->conn_index);
	if (err)
		return err;
	conn = fastpath_conn(c->fp, c->conn_index);
	conn->answer_from_ns = 0;
	conn->egress_end = c->snd_nxt;
	conn->shift.in_end = c->rcv_nxt;
	conn->shift.state = TOLLGATE_SHIFT_ORDERED;
	atomic_fetch_or(&conn->flags, TOLLGATE_CONN_EGRESS);
	return 0;
}

static void unenrol(struct check *c)
{
	struct tollgate_conn *conn = fastpath_conn(c->fp, c->conn_index);

	if (conn) {
		conn->shift.state = 0; /* not shifted: forget at once */
		fastpath_forget(c->fp, c->conn_index);
	}
	bpf_map_delete_elem(bpf_map__fd(c->fp->skel->maps.fingerprints), &c->print);
}

/* A template and a route for the check. The agent replaces both before it serves. */
static void set_check_rules(struct fastpath *fp)
{
	static const char answer[] = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n";
	const struct fastpath_route all = { .path = TEXT("/"), .cost = 1 };

	if (!fp->templates[TOLLGATE_TEMPLATE_REVOKED].len)
		fastpath_put_template(fp, 0, TOLLGATE_TEMPLATE_REVOKED, TEXT(answer),
				      (uint16_t[]){ 0, 0 });
	fastpath_set_routes(fp, &all, 1);
	fastpath_beat(fp, clock_mono_ns());
}

static int check_connection(struct check *c)
{
	__u64 *word = &c->fp->settings->ports[ntohs(port_of(&c->local_address)) / 64];
	uint64_t bit = 1ULL << ntohs(port_of(&c->local_address)) % 64, before;
	uint32_t answer_len = 0;
	int err = enrol(c);

	if (err)
		return fastpath_refuse(c->why, c->why_size, err,
				       "cannot enrol the test connection: %s", strerror(-err));
	before = atomic_fetch_or(word, bit);
	atomic_write_release(&c->fp->settings->check_port_be16, port_of(&c->local_address));
	err = check_answer(c, &answer_len);
	if (!err)
		err = check_translation(c, answer_len);
	atomic_write_release(&c->fp->settings->check_port_be16, 0);
	if (!(before & bit))
		atomic_fetch_and(word, ~bit);
	unenrol(c);
	return err;
}

int fastpath_check(struct fastpath *fp, char *ret_why, size_t why_size)
{
	struct check c = { .fp = fp,
			   .listener = -1,
			   .client = -1,
			   .server = -1,
			   .conn_index = UINT32_MAX,
			   .why = ret_why,
			   .why_size = why_size };
	int err = open_pair(&c);

	if (!err)
		err = read_numbers(&c);
	if (err) {
		fastpath_refuse(ret_why, why_size, err,
				"cannot open a test connection over loopback: %s", strerror(-err));
	} else {
		set_check_rules(fp);
		err = check_connection(&c);
		fastpath_set_routes(fp, NULL, 0);
	}
	close_pair(&c);
	return err;
}
