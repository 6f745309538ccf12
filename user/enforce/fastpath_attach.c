// SPDX-License-Identifier: BSD-2-Clause
/*
 * Interfaces: attaching by pinned links, so that the program is replaced and never missing.
 *
 * Taking a program off makes many network cards drop their link for seconds. So a restart updates the
 * pinned link in place, and only an interface that is no longer configured is let go.
 */
#include "enforce/fastpath_private.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <linux/if_link.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "bpf/edge.skel.h"

/* A listener's address as the maps hold it; false when it is not IP. */
static bool listener_key(const struct sockaddr_storage *address,
			 struct tollgate_listener_key *ret_key)
{
	struct tollgate_listener_key key = { 0 };

	if (address->ss_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)address;

		if (in->sin_addr.s_addr) {
			key.local_be32[2] = htonl(0xffff);
			key.local_be32[3] = in->sin_addr.s_addr;
		}
		key.port_be16 = in->sin_port;
	} else if (address->ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;

		memcpy(key.local_be32, &in6->sin6_addr, sizeof(key.local_be32));
		key.port_be16 = in6->sin6_port;
	} else {
		return false;
	}
	*ret_key = key;
	return true;
}

static bool config_wants(const struct fastpath_config *config,
			 const struct tollgate_listener_key *key)
{
	struct tollgate_listener_key wanted;

	for (unsigned i = 0; i < config->listener_count; i++) {
		const struct fastpath_listener *l = &config->listeners[i];

		if (!listener_key(&l->address, &wanted))
			continue;
		for (unsigned j = 0; j < l->interface_count; j++) {
			wanted.ifindex = if_nametoindex(l->interfaces[j]);
			if (wanted.ifindex && !memcmp(&wanted, key, sizeof(wanted)))
				return true;
		}
	}
	return false;
}

/* The key after a deleted one cannot be asked for, so each is fetched before the one before it goes. */
static void remove_old_listeners(struct fastpath *fp, const struct fastpath_config *config)
{
	int fd = bpf_map__fd(fp->skel->maps.listeners);
	struct tollgate_listener_key key, next;
	bool more = bpf_map_get_next_key(fd, NULL, &next) == 0;

	while (more) {
		key = next;
		more = bpf_map_get_next_key(fd, &key, &next) == 0;
		if (!config_wants(config, &key))
			bpf_map_delete_elem(fd, &key);
	}
}

static int enter_listeners(struct fastpath *fp, const struct fastpath_config *config)
{
	int fd = bpf_map__fd(fp->skel->maps.listeners);
	struct tollgate_listener_key key;
	uint32_t present = 1;
	int err = 0;

	for (unsigned i = 0; i < config->listener_count; i++) {
		const struct fastpath_listener *l = &config->listeners[i];

		if (!listener_key(&l->address, &key))
			continue;
		for (unsigned j = 0; j < l->interface_count && !err; j++) {
			key.ifindex = if_nametoindex(l->interfaces[j]);
			if (key.ifindex)
				err = bpf_map_update_elem(fd, &key, &present, BPF_ANY);
		}
	}
	remove_old_listeners(fp, config);
	return err;
}

static void enter_ports(struct fastpath *fp, const struct fastpath_config *config)
{
	uint64_t ports[65536 / 64] = { 0 };
	struct tollgate_listener_key key;

	for (unsigned i = 0; i < config->listener_count; i++) {
		const struct fastpath_listener *l = &config->listeners[i];

		if (l->interface_count && listener_key(&l->address, &key))
			ports[ntohs(key.port_be16) / 64] |= 1ULL << ntohs(key.port_be16) % 64;
	}
	for (size_t i = 0; i < sizeof(ports) / sizeof(ports[0]); i++)
		__atomic_store_n(&fp->settings->ports[i], ports[i], __ATOMIC_RELAXED);
}

static void enter_settings(struct fastpath *fp, const struct fastpath_config *config)
{
	struct tollgate_settings *set = fp->settings;

	__atomic_store_n(&set->stale_after_ns, config->stale_after_ns, __ATOMIC_RELAXED);
	__atomic_store_n(&set->event_every, config->event_every, __ATOMIC_RELAXED);
	enter_ports(fp, config);
	fastpath_set_action(fp, config->action);
	fastpath_beat(fp, clock_mono_ns());
}

static bool has_port(const struct fastpath *fp, const char *name)
{
	for (unsigned i = 0; i < fp->port_count; i++)
		if (!strcmp(fp->ports[i].name, name))
			return true;
	return false;
}

/* One port for each interface that any listener names. */
static int collect_ports(struct fastpath *fp, const struct fastpath_config *config)
{
	unsigned most = 0;

	for (unsigned i = 0; i < config->listener_count; i++)
		most += config->listeners[i].interface_count;
	fp->ports = calloc(most + 1, sizeof(*fp->ports));
	if (!fp->ports)
		return -ENOMEM;
	for (unsigned i = 0; i < config->listener_count; i++) {
		const struct fastpath_listener *l = &config->listeners[i];

		for (unsigned j = 0; j < l->interface_count; j++) {
			struct fastpath_port *port = &fp->ports[fp->port_count];

			if (has_port(fp, l->interfaces[j]))
				continue;
			snprintf(port->name, sizeof(port->name), "%s", l->interfaces[j]);
			port->shown.name = port->name;
			port->link_fd = port->egress_fd = -1;
			fp->port_count++;
		}
	}
	return 0;
}

static void link_path(const struct fastpath *fp, const char *interface, char ret_path[PATH_MAX])
{
	char name[NAME_MAX];

	fastpath_pin_name(name, sizeof(name), FASTPATH_LINK_PREFIX, interface);
	snprintf(ret_path, PATH_MAX, "%s/%s", fp->dir, name);
}

static int refuse_port(struct fastpath_port *port, int err, const char *why)
{
	port->shown.mode = FASTPATH_NONE;
	snprintf(port->shown.why, sizeof(port->shown.why), "%s", why);
	return err;
}

/* How the interface is served by now, and whose program that is (0: nobody's). */
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
		 "another XDP program is there and was left alone: '%s', id %u", info.name,
		 program_id);
	return -EBUSY;
}

static bool mode_fits(enum fastpath_mode wanted, enum fastpath_mode is)
{
	return wanted == FASTPATH_AUTO || wanted == is;
}

static bool link_is_on(int fd, int ifindex)
{
	struct bpf_link_info info = { 0 };
	unsigned size = sizeof(info);

	return bpf_obj_get_info_by_fd(fd, &info, &size) == 0 && info.type == BPF_LINK_TYPE_XDP &&
	       info.xdp.ifindex == (uint32_t)ifindex;
}

static int program_for(const struct fastpath *fp, enum fastpath_mode mode)
{
	return mode == FASTPATH_GENERIC ? fastpath_generic_fd(fp) : fastpath_program_fd(fp);
}

/* Replace the program in a link pinned by an earlier agent. False: there is none that can be used. */
static bool update_pinned(struct fastpath *fp, struct fastpath_port *port, int ifindex,
			  const char *path)
{
	uint32_t program_id;
	enum fastpath_mode mode;
	int fd = bpf_obj_get(path);

	if (fd < 0)
		return false;
	mode = query_mode(ifindex, &program_id);
	if (link_is_on(fd, ifindex) && mode_fits(fp->mode, mode) &&
	    bpf_link_update(fd, program_for(fp, mode), NULL) == 0) {
		port->link_fd = fd;
		port->shown.mode = mode;
		if (mode == FASTPATH_GENERIC && fp->mode == FASTPATH_AUTO)
			snprintf(port->shown.why, sizeof(port->shown.why),
				 "generic mode, kept from an earlier start");
		return true;
	}
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
		snprintf(port->shown.why, sizeof(port->shown.why), "%s mode: %s",
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

	link_path(fp, port->name, path);
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
		return refuse_port(port, err, "the link cannot be pinned");
	}
	return 0;
}

/* Once, before the programs are let onto an interface. */
static int check_once(struct fastpath *fp, char *ret_why, size_t why_size)
{
	char why[128];
	int err;

	if (fp->is_checked)
		return 0;
	err = fastpath_check(fp, why, sizeof(why));
	if (err == -EBADMSG)
		return fastpath_refuse(ret_why, why_size, err,
				       "the self-check failed, nothing is attached: %s", why);
	if (err)
		log_warn("fast path: the self-check could not be made: %s", why);
	fp->is_checked = true;
	return 0;
}

/* True: another version's programs are there and still needed. Else its link is ours from now on. */
static bool waits_for_older(struct fastpath *fp, struct fastpath_port *port)
{
	char link[NAME_MAX], egress[NAME_MAX], path[PATH_MAX];

	fastpath_pin_name(link, sizeof(link), FASTPATH_LINK_PREFIX, port->name);
	fastpath_pin_name(egress, sizeof(egress), FASTPATH_EGRESS_PREFIX, port->name);
	port->is_waiting =
		fastpath_older_is_there(fp, link, port->shown.why, sizeof(port->shown.why));
	if (!port->is_waiting) {
		link_path(fp, port->name, path);
		fastpath_older_take_over(fp, link, egress, path);
	}
	return port->is_waiting;
}

/* Egress first: what XDP shifts must be translated from the first packet on. */
static int attach_port(struct fastpath *fp, struct fastpath_port *port)
{
	int ifindex = if_nametoindex(port->name), err;

	if (!ifindex)
		return refuse_port(port, -ENODEV, "there is no such interface");
	if (waits_for_older(fp, port))
		return 0;
	err = fastpath_egress_attach(fp, port, ifindex);
	return err ? err : attach_xdp(fp, port, ifindex);
}

void fastpath_attach_waiting(struct fastpath *fp)
{
	for (unsigned i = 0; i < fp->port_count; i++) {
		struct fastpath_port *port = &fp->ports[i];

		if (!port->is_waiting)
			continue;
		port->shown.why[0] = '\0';
		if (attach_port(fp, port))
			log_warn("fast path: interface %s: %s", port->name, port->shown.why);
		else if (!port->is_waiting)
			log_info("fast path: interface %s taken over from another version",
				 port->name);
	}
}

/* Let go of the interfaces whose pinned links no port of ours stands for. */
static void remove_other_links(struct fastpath *fp)
{
	char path[PATH_MAX], name[NAME_MAX];
	struct dirent *entry;
	DIR *dir = opendir(fp->dir);

	while (dir && (entry = readdir(dir))) {
		bool is_ours = strncmp(entry->d_name, FASTPATH_LINK_PREFIX,
				       strlen(FASTPATH_LINK_PREFIX)) != 0;
		int fd;

		for (unsigned i = 0; i < fp->port_count && !is_ours; i++) {
			fastpath_pin_name(name, sizeof(name), FASTPATH_LINK_PREFIX,
					  fp->ports[i].name);
			is_ours = !strcmp(name, entry->d_name);
		}
		if (is_ours)
			continue;
		snprintf(path, sizeof(path), "%s/%s", fp->dir, entry->d_name);
		fd = bpf_obj_get(path);
		if (fd >= 0) {
			bpf_link_detach(fd); /* an older agent may still hold it open */
			close(fd);
		}
		unlink(path);
	}
	if (dir)
		closedir(dir);
}

int fastpath_attach(struct fastpath *fp, const struct fastpath_config *config, char *ret_why,
		    size_t why_size)
{
	int err, first = 0;

	fastpath_ports_done(fp, false);
	err = collect_ports(fp, config);
	if (err)
		return fastpath_refuse(ret_why, why_size, err, "no memory for interfaces");
	err = enter_listeners(fp, config);
	if (err)
		return fastpath_refuse(ret_why, why_size, err, "listeners cannot be entered: %s",
				       strerror(-err));
	enter_settings(fp, config);
	err = check_once(fp, ret_why, why_size);
	if (err)
		return err;
	remove_other_links(fp);
	for (unsigned i = 0; i < fp->port_count; i++) {
		err = attach_port(fp, &fp->ports[i]);
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

void fastpath_ports_done(struct fastpath *fp, bool detach)
{
	for (unsigned i = 0; i < fp->port_count; i++) {
		if (detach)
			fastpath_egress_detach(fp, &fp->ports[i]);
		if (fp->ports[i].egress_fd >= 0)
			close(fp->ports[i].egress_fd);
		if (fp->ports[i].link_fd < 0)
			continue;
		if (detach)
			bpf_link_detach(fp->ports[i].link_fd);
		close(fp->ports[i].link_fd);
	}
	free(fp->ports);
	fp->ports = NULL;
	fp->port_count = 0;
	if (detach && fp->dir[0])
		remove_other_links(fp);
}
