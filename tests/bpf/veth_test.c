// SPDX-License-Identifier: BSD-2-Clause
/*
 * One shifted connection over a veth pair: two kernel sockets, each in its own network namespace,
 * and between them the programs, attached by fastpath_attach().
 *
 *     far0 10.9.0.1 (client; pass program)  ----  edge0 10.9.0.2 (server; our programs)
 *
 * The server's side does what the agent does: it enrols the connection and publishes `answered`.
 * XDP answers requests with a revoked key, the server all others.
 */
#include "base/atomic.h"
#include "bpf/fixture.h"

#include <bpf/libbpf.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>

#include "bpf/pass.skel.h"
#include "fastpath/private.h"
#include "tollgate/siphash.h"

#define PORT	  8080
#define ROUNDS	  50
#define WAIT_S	  10
#define REVOKED	  "revoked-0123456789abcdef"
#define HEAD(key) "GET / HTTP/1.1\r\nHost: edge\r\nX-API-Key: " key "\r\n\r\n"

static const char refused[] = HEAD(REVOKED), paid[] = HEAD("paid-0123456789abcdef");
static const char refusal[] = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n";
static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
static const char *const interfaces[] = { "edge0" };

struct line {
	int edge_ns, far_ns;
	struct pass_bpf *pass;
	struct fastpath *fp;
	int listener, client, server;
	struct tollgate_conn *conn;
};

static void run_command(const char *format, ...)
{
	char command[256];
	va_list args;

	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	if (system(command) != 0)
		fail_msg("%s", command);
}

static void enter_ns(int fd)
{
	assert_int_equal(setns(fd, CLONE_NEWNET), 0);
}

/* With offload, wrong checksums would go unnoticed. */
static void stop_checksum_offload(const char *interface)
{
	struct ethtool_value off = { .cmd = ETHTOOL_STXCSUM };
	struct ifreq request = { .ifr_data = (char *)&off };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", interface);
	assert_int_equal(ioctl(fd, SIOCETHTOOL, &request), 0);
	close(fd);
}

static void set_up_end(const char *interface, const char *address)
{
	run_command("ip address add %s/24 dev %s && ip link set %s up", address, interface,
		    interface);
	stop_checksum_offload(interface);
}

static void make_line(struct line *l)
{
	l->edge_ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	l->far_ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	enter_ns(l->edge_ns);
	run_command("ip link add edge0 type veth peer name far0 netns /proc/%d/fd/%d", getpid(),
		    l->far_ns);
	set_up_end("edge0", "10.9.0.2");
	enter_ns(l->far_ns);
	set_up_end("far0", "10.9.0.1");
	l->pass = pass_bpf__open_and_load();
	assert_non_null(l->pass);
	assert_int_equal(bpf_xdp_attach(if_nametoindex("far0"),
					bpf_program__fd(l->pass->progs.pass), XDP_FLAGS_DRV_MODE,
					NULL),
			 0);
	enter_ns(l->edge_ns);
}

static void open_edge(struct line *l)
{
	struct fastpath_config config = fixture_config();
	struct fastpath_listener listener = { .address = fixture_address(AF_INET, "10.9.0.2", PORT),
					      .interfaces = interfaces,
					      .interface_count = 1 };
	const struct fastpath_route all = { .path = TEXT("/"), .cost = 1 };
	const struct tollgate_known_key known = { .generation = 5, .is_revoked = 1 };
	struct tollgate_fingerprint print;
	char why[256];

	config.listeners = &listener;
	config.listener_count = 1;
	config.action = TOLLGATE_ACTION_ANSWER;
	config.stale_after_ns = 60 * NS_PER_SECOND;
	l->fp = fixture_open(&config);
	if (fastpath_attach(l->fp, &config, why, sizeof(why)))
		fail_msg("%s", why);
	assert_int_equal(fastpath_interface(l->fp, 0)->mode, FASTPATH_NATIVE);
	fastpath_slots(l->fp)[0].generation = 5;
	fastpath_put_template(l->fp, 0, TOLLGATE_TEMPLATE_REVOKED, TEXT(refusal),
			      (uint16_t[]){ 0, 0 });
	fastpath_set_routes(l->fp, &all, 1);
	tollgate_siphash128(
		(__u64[]){ l->fp->settings->fingerprint[0], l->fp->settings->fingerprint[1] },
		REVOKED, strlen(REVOKED), print.hash);
	assert_int_equal(
		bpf_map_update_elem(fixture_map(l->fp, "fingerprints"), &print, &known, BPF_ANY),
		0);
	fastpath_set_answering(l->fp, true);
}

static int open_socket(void)
{
	const struct timeval most = { .tv_sec = WAIT_S };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof(most));
	return fd;
}

static void open_connection(struct line *l)
{
	struct sockaddr_storage to = fixture_address(AF_INET, "10.9.0.2", PORT), client;
	struct fastpath_enrolment enrolment = { .client = &client,
						.local = &to,
						.slot = TOLLGATE_NO_SLOT };
	const struct timeval most = { .tv_sec = WAIT_S };
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(client), info_len = sizeof(info);
	uint32_t index;

	l->listener = open_socket();
	assert_int_equal(bind(l->listener, (struct sockaddr *)&to, sizeof(to)), 0);
	assert_int_equal(listen(l->listener, 1), 0);
	enter_ns(l->far_ns);
	l->client = open_socket();
	assert_int_equal(connect(l->client, (struct sockaddr *)&to, sizeof(to)), 0);
	enter_ns(l->edge_ns);
	l->server = accept(l->listener, (struct sockaddr *)&client, &len);
	assert_true(l->server >= 0);
	setsockopt(l->server, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof(most));
	getsockopt(l->server, IPPROTO_TCP, TCP_INFO, &info, &info_len);
	enrolment.rcv_wscale = info.tcpi_rcv_wscale;
	enrolment.snd_wscale = info.tcpi_snd_wscale;
	assert_int_equal(fastpath_enrol(l->fp, &enrolment, &index), 0);
	l->conn = fastpath_conn(l->fp, index);
	l->conn->answer_from_ns = 0;
}

static void expect_bytes(int fd, const char *bytes)
{
	char buf[256];
	size_t len = strlen(bytes);
	ssize_t got = recv(fd, buf, len, MSG_WAITALL);

	if (got != (ssize_t)len || memcmp(buf, bytes, len) != 0)
		fail_msg("received %zd bytes (%s), expected '%s'", got,
			 got < 0 ? strerror(errno) : "", bytes);
}

static void ask(struct line *l, const char *request)
{
	assert_int_equal(send(l->client, request, strlen(request), MSG_NOSIGNAL), strlen(request));
}

/* Send a request that the server receives and answers, as the agent would. */
static void pay(struct line *l)
{
	ask(l, paid);
	expect_bytes(l->server, paid);
	assert_int_equal(send(l->server, answer, strlen(answer), MSG_NOSIGNAL), strlen(answer));
	atomic_add_return(&l->conn->answered, strlen(paid));
	expect_bytes(l->client, answer);
}

static uint64_t counted(struct line *l, enum tollgate_counter counter)
{
	uint64_t counters[TOLLGATE_COUNTER_COUNT];

	assert_int_equal(fastpath_read_counters(l->fp, counters), 0);
	return counters[counter];
}

static void end(struct line *l)
{
	char byte;

	/* The client's FIN, the server's FIN, and nothing more. */
	shutdown(l->client, SHUT_WR);
	assert_int_equal(recv(l->server, &byte, 1, 0), 0);
	close(l->server);
	assert_int_equal(recv(l->client, &byte, 1, 0), 0);
	close(l->client);
	close(l->listener);
	fastpath_close(l->fp, FASTPATH_REMOVE);
	pass_bpf__destroy(l->pass);
	run_command("ip link del edge0");
}

static void a_shifted_connection_works_until_it_closes(void **state)
{
	struct line l;

	(void)state;
	make_line(&l);
	open_edge(&l);
	open_connection(&l);
	pay(&l);
	for (int i = 0; i < ROUNDS; i++) {
		for (int j = 0; j < i % 4; j++) {
			ask(&l, refused);
			expect_bytes(l.client, refusal);
		}
		pay(&l);
	}
	/* 0 + 1 + 2 + 3 in four rounds: XDP answered all, since the server never saw them. */
	assert_int_equal(counted(&l, TOLLGATE_COUNTER_ANSWER_REVOKED),
			 ROUNDS / 4 * 6 + (ROUNDS % 4) * (ROUNDS % 4 - 1) / 2);
	assert_int_equal(counted(&l, TOLLGATE_COUNTER_ANSWER_REPEATED), 0);
	end(&l);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_shifted_connection_works_until_it_closes),
	};

	return cmocka_run_group_tests(tests, fixture_enter, fixture_leave);
}
