/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * For tests of the BPF programs: a network namespace and a bpffs of the test's own, which end with
 * the process; opening a fast path in them; and running its program on a packet.
 */
#ifndef TESTS_BPF_FIXTURE_H
#define TESTS_BPF_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "bpf/packet.h"
#include "fastpath/private.h"
#include "tollgate/verdict.h"

#define FIXTURE_ACCOUNTS 8
#define FIXTURE_FLOWS	 16

static char fixture_bpffs[64];

/* Without root nothing here can be tested, and then the test must fail rather than pass. */
static inline int fixture_enter(void **state)
{
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd;

	(void)state;
	if (geteuid() != 0)
		fail_msg("run this test as root: it loads BPF programs");
	if (unshare(CLONE_NEWNET | CLONE_NEWNS) < 0)
		fail_msg("unshare: %s", strerror(errno));
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &lo) < 0)
		fail_msg("cannot bring lo up: %s", strerror(errno));
	close(fd);
	snprintf(fixture_bpffs, sizeof(fixture_bpffs), "/tmp/tollgate-test-%d", getpid());
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mkdir(fixture_bpffs, 0700) < 0 || mount("bpf", fixture_bpffs, "bpf", 0, NULL) < 0)
		fail_msg("cannot mount a bpffs on %s: %s", fixture_bpffs, strerror(errno));
	return 0;
}

static inline int fixture_leave(void **state)
{
	(void)state;
	umount2(fixture_bpffs, MNT_DETACH);
	rmdir(fixture_bpffs);
	return 0;
}

static inline struct fastpath_config fixture_config(void)
{
	return (struct fastpath_config){
		.mode = FASTPATH_AUTO,
		.action = TOLLGATE_ACTION_DROP,
		.stale_after_ns = 60 * NS_PER_SECOND,
		.max_accounts = FIXTURE_ACCOUNTS,
		.max_flows = FIXTURE_FLOWS,
		.event_every = 1,
		.instance = "test",
		.bpffs = fixture_bpffs,
	};
}

static inline struct fastpath *fixture_open(const struct fastpath_config *config)
{
	struct fastpath *fp = NULL;
	char why[256] = "";
	int err = fastpath_open(config, &fp, why, sizeof(why));

	if (err)
		fail_msg("fastpath_open: %d: %s", err, why);
	return fp;
}

/* Open the pinned map @name. */
static inline int fixture_map(const struct fastpath *fp, const char *name)
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", fp->dir, name);
	fd = bpf_obj_get(path);
	if (fd < 0)
		fail_msg("%s: %s", path, strerror(errno));
	return fd;
}

static inline int fixture_run(const struct fastpath *fp, const void *data, size_t len)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = data, .data_size_in = len, .repeat = 1);
	int err = bpf_prog_test_run_opts(fastpath_program_fd(fp), &opts);

	if (err)
		fail_msg("BPF_PROG_RUN: %s", strerror(-err));
	return opts.retval;
}

static inline struct sockaddr_storage fixture_address(int family, const char *text, uint16_t port)
{
	struct sockaddr_storage address = { .ss_family = family };

	if (family == AF_INET6) {
		struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&address;

		in6->sin6_port = htons(port);
		assert_int_equal(inet_pton(family, text, &in6->sin6_addr), 1);
	} else {
		struct sockaddr_in *in = (struct sockaddr_in *)&address;

		in->sin_port = htons(port);
		assert_int_equal(inet_pton(family, text, &in->sin_addr), 1);
	}
	return address;
}

static const char *const fixture_counter_names[] = {
#define X(name, label) [TOLLGATE_COUNTER_##name] = label,
	TOLLGATE_COUNTERS(X)
#undef X
};

#define NO_COUNTER (-1)

/* Since @before, @expected was counted once and no other counter changed. */
static inline void fixture_assert_counted(struct fastpath *fp,
					  const uint64_t before[TOLLGATE_COUNTER_COUNT],
					  int expected, const char *why)
{
	uint64_t after[TOLLGATE_COUNTER_COUNT];

	assert_int_equal(fastpath_read_counters(fp, after), 0);
	for (int i = 0; i < TOLLGATE_COUNTER_COUNT; i++)
		if (after[i] - before[i] != (i == expected))
			fail_msg("%s: %s counted %d times", why, fixture_counter_names[i],
				 (int)(after[i] - before[i]));
}

static inline int fixture_enter_flow(struct fastpath *fp, const struct sockaddr_storage *client,
				     const struct sockaddr_storage *local, uint32_t *ret_index)
{
	const struct fastpath_enrolment enrolment = { .client = client,
						      .local = local,
						      .slot = TOLLGATE_NO_SLOT };

	return fastpath_enrol(fp, &enrolment, ret_index);
}

/* An account without credit and in penalty, and a flow bound to it. */
static inline uint32_t fixture_enrol(struct fastpath *fp, const struct sockaddr_storage *client,
				     const struct sockaddr_storage *local)
{
	struct tollgate_slot *slot = fastpath_slots(fp);
	uint64_t now_ns = clock_mono_ns();
	uint32_t index;

	slot->generation = 5;
	slot->interval_ns = NS_PER_SECOND;
	slot->limit_ns = 10 * NS_PER_SECOND;
	slot->tat_ns = now_ns + 100 * NS_PER_SECOND;
	slot->drop_until_ns = now_ns + 50 * NS_PER_SECOND;
	slot->limits_seq = 2;
	assert_int_equal(fastpath_enrol(fp,
					&(struct fastpath_enrolment){
						.client = client,
						.local = local,
						.slot = 0,
						.slot_generation = 5,
						.flags = TOLLGATE_CONN_BOUND,
					},
					&index),
			 0);
	return index;
}

#endif
