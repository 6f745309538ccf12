// SPDX-License-Identifier: BSD-2-Clause
/*
 * Attaching the egress program, which translates what our sockets send.
 *
 * From Linux 6.6 on it is attached by tcx, before all other programs, with a pinned link as for
 * XDP. On older kernels it is a clsact filter, which stays attached without a link.
 */
#include "fastpath/private.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bpf/edge.skel.h"

/* From linux/bpf.h of Linux 6.6; Debian 12's headers lack them. */
#define ATTACH_TCX_EGRESS 47
#define ATTACH_BEFORE	  (1U << 3)

#define FILTER_HANDLE 1
#define FILTER_PRIO   1

static int egress_fd(const struct fastpath *fp)
{
	return bpf_program__fd(fp->skel->progs.edge_egress);
}

static void egress_path(const struct fastpath *fp, const char *interface, char ret_path[PATH_MAX])
{
	char name[NAME_MAX];

	fastpath_pin_name(name, sizeof(name), FASTPATH_EGRESS_PREFIX, interface);
	snprintf(ret_path, PATH_MAX, "%s/%s", fp->pins, name);
}

/* Put our program into a link pinned by an earlier agent. False: there is no usable link. */
static bool update_pinned(struct fastpath *fp, struct fastpath_port *port, int ifindex,
			  const char *path)
{
	int fd = bpf_obj_get(path);

	if (fd < 0)
		return false;
	/* The pin is stale if the interface was deleted and created again, or renamed. */
	if (fastpath_link_ifindex(fd) == ifindex && bpf_link_update(fd, egress_fd(fp), NULL) == 0) {
		port->egress_fd = fd;
		return true;
	}
	bpf_link_detach(fd);
	close(fd);
	unlink(path);
	return false;
}

static int attach_tcx(struct fastpath *fp, struct fastpath_port *port, int ifindex)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = ATTACH_BEFORE);
	char path[PATH_MAX];
	int fd;

	egress_path(fp, port->name, path);
	if (update_pinned(fp, port, ifindex, path))
		return 0;
	fd = bpf_link_create(egress_fd(fp), ifindex, ATTACH_TCX_EGRESS, &opts);
	if (fd < 0)
		return fd;
	if (bpf_obj_pin(fd, path) < 0) {
		int err = -errno;

		close(fd);
		return err;
	}
	port->egress_fd = fd;
	return 0;
}

static int attach_filter(struct fastpath *fp, struct fastpath_port *port, int ifindex)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = BPF_TC_EGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = FILTER_HANDLE, .priority = FILTER_PRIO,
		    .prog_fd = egress_fd(fp), .flags = BPF_TC_F_REPLACE);
	int err = bpf_tc_hook_create(&hook);

	if (!err || err == -EEXIST)
		err = bpf_tc_attach(&hook, &opts);
	port->has_filter = !err;
	return err;
}

int fastpath_egress_attach(struct fastpath *fp, struct fastpath_port *port, int ifindex)
{
	int err = attach_tcx(fp, port, ifindex);

	if (err)
		err = attach_filter(fp, port, ifindex);
	if (err)
		snprintf(port->shown.why, sizeof(port->shown.why),
			 "cannot attach the egress program: %s", strerror(-err));
	return err;
}

void fastpath_egress_detach(struct fastpath *fp, struct fastpath_port *port)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = if_nametoindex(port->name),
		    .attach_point = BPF_TC_EGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = FILTER_HANDLE, .priority = FILTER_PRIO);
	char path[PATH_MAX];

	if (port->egress_fd >= 0) {
		bpf_link_detach(port->egress_fd);
		egress_path(fp, port->name, path);
		unlink(path);
	}
	if (port->has_filter)
		bpf_tc_detach(&hook, &opts);
	port->has_filter = false;
}

void fastpath_egress_remove_filter(int ifindex)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = BPF_TC_EGRESS);
	LIBBPF_OPTS(bpf_tc_opts, found, .handle = FILTER_HANDLE, .priority = FILTER_PRIO);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = FILTER_HANDLE, .priority = FILTER_PRIO);
	struct bpf_prog_info info = { 0 };
	unsigned size = sizeof(info);
	int fd;

	if (!ifindex || bpf_tc_query(&hook, &found))
		return;
	fd = bpf_prog_get_fd_by_id(found.prog_id);
	if (fd < 0)
		return;
	if (!bpf_obj_get_info_by_fd(fd, &info, &size) && !strcmp(info.name, "edge_egress"))
		bpf_tc_detach(&hook, &opts);
	close(fd);
}
