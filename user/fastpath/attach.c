// SPDX-License-Identifier: BSD-2-Clause
/*
 * Attaching to interfaces by pinned links, so that a program is replaced without a gap.
 *
 * Detaching a program makes many network cards lose carrier for seconds. So a restart updates the
 * pinned link in place, and only an interface that is no longer configured is detached, see
 * leave.c.
 */
#include "fastpath/private.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "base/atomic.h"
#include "base/clock.h"
#include "base/log.h"
#include "bpf/edge.skel.h"

static void enter_settings(struct fastpath *fp, const struct fastpath_config *config)
{
	struct tollgate_settings *set = fp->settings;

	atomic_write(&set->stale_after_ns, config->stale_after_ns);
	atomic_write(&set->event_every, config->event_every);
	fastpath_listens_enter_ports(fp);
	fastpath_set_action(fp, config->action);
	fastpath_beat(fp, clock_mono_ns());
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void close_links(struct fastpath_port *port)
{
	close_fd(&port->egress_fd);
	close_fd(&port->link_fd);
}

static bool has_port(const struct fastpath *fp, const char *name)
{
	for (unsigned i = 0; i < fp->port_count; i++)
		if (!strcmp(fp->ports[i].name, name))
			return true;
	return false;
}

int fastpath_port_add(struct fastpath *fp, const char *name, bool is_leaving)
{
	struct fastpath_port *port;
	/*
	 * No limit is needed: there is one port for each interface, and the operator names those.
	 */
	int err =
		array_reserve(fp->ports, fp->port_room, fp->port_count + (size_t)1, ARRAY_NO_LIMIT);

	if (err)
		return err;
	port = &fp->ports[fp->port_count++];
	*port = (struct fastpath_port){
		.link_fd = -1,
		.egress_fd = -1,
		.is_leaving = is_leaving,
	};
	snprintf(port->name, sizeof(port->name), "%s", name);
	for (unsigned i = 0; i < fp->port_count; i++)
		fp->ports[i].shown.name = fp->ports[i].name; /* the ports may have moved */
	return 0;
}

/* One port for each interface that a listener names. */
static int collect_ports(struct fastpath *fp, const struct fastpath_config *config)
{
	int err = 0;

	for (unsigned i = 0; i < config->listener_count; i++) {
		const struct fastpath_listener *l = &config->listeners[i];

		for (unsigned j = 0; j < l->interface_count && !err; j++) {
			if (!has_port(fp, l->interfaces[j]))
				err = fastpath_port_add(fp, l->interfaces[j], false);
		}
	}
	return err;
}

void fastpath_link_path(const struct fastpath *fp, const char *interface, char ret_path[PATH_MAX])
{
	char name[NAME_MAX];

	fastpath_pin_name(name, sizeof(name), FASTPATH_LINK_PREFIX, interface);
	snprintf(ret_path, PATH_MAX, "%s/%s", fp->pins, name);
}

static int refuse_port(struct fastpath_port *port, int err, const char *why)
{
	port->shown.mode = FASTPATH_NONE;
	snprintf(port->shown.why, sizeof(port->shown.why), "%s", why);
	return err;
}

/* The mode of the XDP program on the interface, and the program's id (0: there is none). */
static enum fastpath_mode query_mode(int ifindex, uint32_t *ret_program_id)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, query);

	*ret_program_id = 0;
	if (bpf_xdp_query(ifindex, 0, &query) < 0 || query.attach_mode == XDP_ATTACHED_NONE)
		return FASTPATH_NONE;
	*ret_program_id = query.prog_id;
	if (query.attach_mode == XDP_ATTACHED_MULTI)
		*ret_program_id = query.drv_prog_id ? query.drv_prog_id : query.skb_prog_id;
	return query.attach_mode == XDP_ATTACHED_SKB ? FASTPATH_GENERIC : FASTPATH_NATIVE;
}

static int refuse_foreign(struct fastpath_port *port, uint32_t program_id)
{
	int fd = bpf_prog_get_fd_by_id(program_id);
	struct bpf_prog_info info = { 0 };
	unsigned size = sizeof(info);

	if (fd >= 0) {
		if (bpf_obj_get_info_by_fd(fd, &info, &size) < 0)
			info.name[0] = '\0';
		close(fd);
	}
	port->shown.mode = FASTPATH_NONE;
	snprintf(port->shown.why, sizeof(port->shown.why),
		 "another XDP program is there and was left alone: '%s', id %u; detach it to use "
		 "the fast path",
		 info.name, program_id);
	return -EBUSY;
}

enum fastpath_mode fastpath_mode_of(int ifindex)
{
	uint32_t program_id;

	return query_mode(ifindex, &program_id);
}

static bool mode_fits(enum fastpath_mode wanted, enum fastpath_mode is)
{
	return wanted == FASTPATH_AUTO || wanted == is;
}

/*
 * Works for tcx links too: Debian 12's headers lack their info, but it starts with the ifindex too.
 */
int fastpath_link_ifindex(int fd)
{
	struct bpf_link_info info = { 0 };
	unsigned size = sizeof(info);

	return bpf_obj_get_info_by_fd(fd, &info, &size) ? 0 : (int)info.xdp.ifindex;
}

static int program_for(const struct fastpath *fp, enum fastpath_mode mode)
{
	return mode == FASTPATH_GENERIC ? fastpath_generic_fd(fp) : fastpath_program_fd(fp);
}

/* Replace the program in a link pinned by an earlier agent. False: there is no usable link. */
static bool update_pinned(struct fastpath *fp, struct fastpath_port *port, int ifindex,
			  const char *path)
{
	uint32_t program_id;
	enum fastpath_mode mode;
	int fd = bpf_obj_get(path);

	if (fd < 0)
		return false;
	mode = query_mode(ifindex, &program_id);
	if (fastpath_link_ifindex(fd) == ifindex && mode_fits(fp->mode, mode) &&
	    bpf_link_update(fd, program_for(fp, mode), NULL) == 0) {
		port->link_fd = fd;
		port->shown.mode = mode;
		if (mode == FASTPATH_GENERIC && fp->mode == FASTPATH_AUTO)
			snprintf(port->shown.why, sizeof(port->shown.why),
				 "in generic mode since an earlier start; restart with mode "
				 "native to change it");
		return true;
	}
	if (fastpath_link_ifindex(fd) != ifindex)
		fastpath_egress_remove_filter(fastpath_link_ifindex(fd));
	bpf_link_detach(fd);
	close(fd);
	unlink(path);
	return false;
}

static int create_link(struct fastpath *fp, struct fastpath_port *port, int ifindex,
		       enum fastpath_mode mode)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts,
		    .flags = mode == FASTPATH_NATIVE ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE);
	int fd = bpf_link_create(program_for(fp, mode), ifindex, BPF_XDP, &opts);

	if (fd < 0) {
		snprintf(port->shown.why, sizeof(port->shown.why), "cannot attach in %s mode: %s",
			 mode == FASTPATH_NATIVE ? "native" : "generic", strerror(-fd));
		return fd;
	}
	port->link_fd = fd;
	port->shown.mode = mode;
	return 0;
}

static int attach_xdp(struct fastpath *fp, struct fastpath_port *port, int ifindex)
{
	uint32_t program_id;
	char path[PATH_MAX];
	int err;

	fastpath_link_path(fp, port->name, path);
	if (update_pinned(fp, port, ifindex, path))
		return 0;
	query_mode(ifindex, &program_id);
	if (program_id)
		return refuse_foreign(port, program_id);
	err = create_link(fp, port, ifindex,
			  fp->mode == FASTPATH_GENERIC ? FASTPATH_GENERIC : FASTPATH_NATIVE);
	if (err && fp->mode == FASTPATH_AUTO && err != -EBUSY)
		err = create_link(fp, port, ifindex, FASTPATH_GENERIC);
	if (err)
		return err;
	if (bpf_obj_pin(port->link_fd, path) < 0) {
		err = -errno;
		close(port->link_fd);
		port->link_fd = -1;
		return refuse_port(port, err, "cannot pin the XDP link");
	}
	return 0;
}

/* Once, before the programs are attached to the first interface. */
static int check_once(struct fastpath *fp, char *ret_why, size_t why_size)
{
	char why[128];
	int err;

	if (fp->is_checked)
		return 0;
	err = fastpath_check(fp, why, sizeof(why));
	if (err == -EBADMSG)
		return fastpath_refuse(ret_why, why_size, err,
				       "the self-check failed, so nothing is attached: %s", why);
	if (err)
		log_warn("fast path: cannot run the self-check: %s", why);
	fp->is_checked = true;
	return 0;
}

/*
 * True: another version's programs are attached and still needed. Else take its link over, if any.
 */
static bool waits_for_older(struct fastpath *fp, struct fastpath_port *port)
{
	char link[NAME_MAX], egress[NAME_MAX], path[PATH_MAX];

	fastpath_pin_name(link, sizeof(link), FASTPATH_LINK_PREFIX, port->name);
	fastpath_pin_name(egress, sizeof(egress), FASTPATH_EGRESS_PREFIX, port->name);
	port->is_waiting =
		fastpath_older_is_there(fp, link, port->shown.why, sizeof(port->shown.why));
	if (!port->is_waiting) {
		fastpath_link_path(fp, port->name, path);
		fastpath_older_take_over(fp, link, egress, path);
	}
	return port->is_waiting;
}

/* Egress first: outgoing packets must be translated as soon as XDP shifts a connection. */
static int attach_port(struct fastpath *fp, struct fastpath_port *port)
{
	int ifindex = if_nametoindex(port->name), err;

	port->ifindex = ifindex;
	port->is_waiting = false;
	port->shown.mode = FASTPATH_NONE;
	if (!ifindex)
		return refuse_port(port, -ENODEV,
				   "no such interface: create it, or correct `interfaces`");
	if (waits_for_older(fp, port))
		return 0;
	err = fastpath_egress_attach(fp, port, ifindex);
	return err ? err : attach_xdp(fp, port, ifindex);
}

/* The interface has disappeared, or one with its name has appeared. */
static void follow_interface(struct fastpath *fp, struct fastpath_port *port)
{
	int err;

	close_links(port);
	port->has_filter = false;
	port->shown.why[0] = '\0';
	err = attach_port(fp, port);
	if (err == -EPERM)
		refuse_port(
			port, err,
			"it appeared after privileges were dropped; restart tollgate to attach");
	fastpath_listens_enter(fp);
	if (err)
		log_warn("fast path: interface %s: %s", port->name, port->shown.why);
	else if (!port->is_waiting)
		log_info("fast path: interface %s appeared and is attached", port->name);
}

static void take_over_when_free(struct fastpath *fp, struct fastpath_port *port)
{
	port->shown.why[0] = '\0';
	if (attach_port(fp, port))
		log_warn("fast path: interface %s: %s", port->name, port->shown.why);
	else if (!port->is_waiting)
		log_info("fast path: interface %s taken over from another version", port->name);
}

void fastpath_attach_waiting(struct fastpath *fp)
{
	for (unsigned i = 0; i < fp->port_count; i++) {
		struct fastpath_port *port = &fp->ports[i];

		if (port->is_leaving)
			continue;
		if ((int)if_nametoindex(port->name) != port->ifindex)
			follow_interface(fp, port);
		else if (port->is_waiting)
			take_over_when_free(fp, port);
	}
	fastpath_leave_pass(fp);
	fastpath_older_sweep(fp);
}

int fastpath_attach(struct fastpath *fp, const struct fastpath_config *config, char *ret_why,
		    size_t why_size)
{
	int err, first = 0;

	fastpath_ports_done(fp, false);
	err = collect_ports(fp, config);
	if (!err)
		err = fastpath_listens_set(fp, config);
	if (err)
		return fastpath_refuse(ret_why, why_size, err, "out of memory for interfaces");
	err = fastpath_listens_enter(fp);
	if (err)
		return fastpath_refuse(ret_why, why_size, err,
				       "cannot write the listeners into their map: %s",
				       strerror(-err));
	enter_settings(fp, config);
	err = check_once(fp, ret_why, why_size);
	if (err)
		return err;
	fp->has_older = true;
	err = fastpath_leave_begin(fp);
	if (err)
		return fastpath_refuse(ret_why, why_size, err, "out of memory for interfaces");
	for (unsigned i = 0; i < fp->port_count; i++) {
		err = fp->ports[i].is_leaving ? 0 : attach_port(fp, &fp->ports[i]);
		if (fp->ports[i].is_waiting)
			log_info("fast path: interface %s: %s", fp->ports[i].name,
				 fp->ports[i].shown.why);
		if (err && !first)
			first = fastpath_refuse(ret_why, why_size, err, "interface %s: %s",
						fp->ports[i].name, fp->ports[i].shown.why);
	}
	return first;
}

const struct fastpath_interface *fastpath_interface(const struct fastpath *fp, unsigned i)
{
	static const struct fastpath_interface none;

	return i < fp->port_count ? &fp->ports[i].shown : &none;
}

void fastpath_port_remove(struct fastpath *fp, struct fastpath_port *port)
{
	char path[PATH_MAX];

	fastpath_egress_detach(fp, port);
	if (port->link_fd >= 0) {
		bpf_link_detach(port->link_fd);
		fastpath_link_path(fp, port->name, path);
		unlink(path);
	}
	close_links(port);
}

void fastpath_ports_done(struct fastpath *fp, bool detach)
{
	for (unsigned i = 0; i < fp->port_count; i++) {
		if (detach)
			fastpath_port_remove(fp, &fp->ports[i]);
		close_links(&fp->ports[i]);
	}
	free(fp->ports);
	fp->ports = NULL;
	fp->port_count = 0;
	fp->port_room = 0;
	if (detach && fp->pins[0])
		fastpath_leave_orphans(fp);
}
