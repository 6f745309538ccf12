// SPDX-License-Identifier: BSD-2-Clause
/*
 * Opening and closing the fast path: checking the kernel, loading the programs, mapping the maps.
 *
 * Everything that can be missing is checked before libbpf is called. libbpf's errors name system
 * calls; ours must name what the operator can change.
 */
#include "fastpath/private.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/crypto.h"
#include "base/log.h"
#include "bpf/edge.skel.h"

#define KERNEL_BTF "/sys/kernel/btf/vmlinux"

#define TEMPLATES_BYTES (FASTPATH_SETS * TOLLGATE_TEMPLATE_SET * sizeof(struct tollgate_template))
#define ROUTES_BYTES	(2 * sizeof(struct tollgate_routes))
#define HINTS_BYTES	(TOLLGATE_HINTS * sizeof(__u64))

/* The verifier's last error, for the operator. Written by the thread that loads. */
static _Thread_local char verifier_error[256];

static const struct {
	unsigned bit;
	const char *name;
} capabilities[] = {
	{ CAP_BPF, "CAP_BPF" },
	{ CAP_NET_ADMIN, "CAP_NET_ADMIN" },
	{ CAP_PERFMON, "CAP_PERFMON" },
};

int fastpath_refuse(char *ret_why, size_t why_size, int err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(ret_why, why_size, format, args);
	va_end(args);
	return err;
}

/* The line before the statistics at the log's end says what the verifier rejected. */
static void keep_verifier_error(const char *message)
{
	const char *end = strstr(message, "\nprocessed ");
	const char *line = end;

	if (!end || !strstr(message, "PROG LOAD LOG"))
		return;
	while (line > message && line[-1] != '\n')
		line--;
	snprintf(verifier_error, sizeof(verifier_error), "%.*s", (int)(end - line), line);
}

static int on_libbpf_print(enum libbpf_print_level level, const char *format, va_list args)
{
	char *message;
	int len;

	if (level == LIBBPF_DEBUG)
		return 0;
	len = vasprintf(&message, format, args);
	if (len < 0)
		return 0;
	keep_verifier_error(message);
	while (len > 0 && message[len - 1] == '\n')
		message[--len] = '\0';
	log_debug("libbpf: %s", message);
	free(message);
	return len;
}

static int check_capabilities(char *ret_why, size_t why_size)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { 0 };

	if (syscall(SYS_capget, &head, data) < 0)
		return fastpath_refuse(ret_why, why_size, -errno,
				       "cannot read the process's capabilities: %s",
				       strerror(errno));
	if (data[CAP_TO_INDEX(CAP_SYS_ADMIN)].effective & CAP_TO_MASK(CAP_SYS_ADMIN))
		return 0;
	for (size_t i = 0; i < sizeof(capabilities) / sizeof(capabilities[0]); i++)
		if (!(data[CAP_TO_INDEX(capabilities[i].bit)].effective &
		      CAP_TO_MASK(capabilities[i].bit)))
			return fastpath_refuse(ret_why, why_size, -EPERM,
					       "%s is missing: start as root, or grant CAP_BPF, "
					       "CAP_NET_ADMIN and CAP_PERFMON",
					       capabilities[i].name);
	return 0;
}

static int check_kernel(const struct fastpath_config *config, char *ret_why, size_t why_size)
{
	struct statfs fs;
	int err = check_capabilities(ret_why, why_size);

	if (err)
		return err;
	if (access(KERNEL_BTF, R_OK) < 0)
		return fastpath_refuse(ret_why, why_size, -ENOTSUP,
				       "cannot read the kernel's BTF (" KERNEL_BTF
				       "): use a kernel built with CONFIG_DEBUG_INFO_BTF");
	if (statfs(config->bpffs, &fs) < 0)
		return fastpath_refuse(ret_why, why_size, -errno, "cannot access %s: %s",
				       config->bpffs, strerror(errno));
	if (fs.f_type != BPF_FS_MAGIC)
		return fastpath_refuse(
			ret_why, why_size, -ENODEV,
			"no BPF file system is mounted on %s: run mount -t bpf bpf %s",
			config->bpffs, config->bpffs);
	return 0;
}

static int make_dir(const char *path, char *ret_why, size_t why_size)
{
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return fastpath_refuse(ret_why, why_size, -errno, "cannot create %s: %s", path,
				       strerror(errno));
	return 0;
}

/* <bpffs>/tollgate/<instance>/v<ABI>. Other agents may share the first two directories. */
static int make_dirs(struct fastpath *fp, const struct fastpath_config *config, char *ret_why,
		     size_t why_size)
{
	char instance[NAME_MAX], path[sizeof(fp->dir)];
	int err, len;

	fastpath_pin_name(instance, sizeof(instance), "", config->instance);
	len = snprintf(fp->dir, sizeof(fp->dir), "%s/tollgate/%s/v%d", config->bpffs, instance,
		       TOLLGATE_ABI);
	if (len < 0 || (size_t)len >= sizeof(fp->dir) || !instance[0])
		return fastpath_refuse(ret_why, why_size, -EINVAL,
				       "instance '%s' is empty or too long for a path below %s: "
				       "choose another `instance`",
				       config->instance, config->bpffs);
	snprintf(path, sizeof(path), "%s/tollgate", config->bpffs);
	err = make_dir(path, ret_why, why_size);
	if (!err) {
		snprintf(path, sizeof(path), "%s/tollgate/%s", config->bpffs, instance);
		err = make_dir(path, ret_why, why_size);
	}
	return err ? err : make_dir(fp->dir, ret_why, why_size);
}

/*
 * Two agents on one set of maps would overwrite each other's slots. If the agent dies, the kernel
 * releases the lock.
 */
static int lock_dir(struct fastpath *fp, const struct fastpath_config *config, char *ret_why,
		    size_t why_size)
{
	fp->lock_fd = open(fp->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fp->lock_fd < 0)
		return fastpath_refuse(ret_why, why_size, -errno, "cannot open %s: %s", fp->dir,
				       strerror(errno));
	if (flock(fp->lock_fd, LOCK_EX | LOCK_NB) < 0)
		return fastpath_refuse(ret_why, why_size, -EBUSY,
				       "instance '%s' is in use by another tollgate: give this one "
				       "an `instance` of its own",
				       config->instance);
	fp->instance_fd = openat(fp->lock_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fp->instance_fd < 0)
		return fastpath_refuse(ret_why, why_size, -errno, "cannot open %s/..: %s", fp->dir,
				       strerror(errno));
	/* By descriptor: once privileges are dropped, we can no longer traverse the path. */
	snprintf(fp->pins, sizeof(fp->pins), "/proc/self/fd/%d", fp->lock_fd);
	snprintf(fp->instance_pins, sizeof(fp->instance_pins), "/proc/self/fd/%d", fp->instance_fd);
	return 0;
}

static int load(struct fastpath *fp, char *ret_why, size_t why_size)
{
	int err;

	verifier_error[0] = '\0';
	err = edge_bpf__load(fp->skel);
	if (!err)
		return 0;
	if (verifier_error[0])
		return fastpath_refuse(ret_why, why_size, err,
				       "the kernel's verifier rejects the program: %s",
				       verifier_error);
	return fastpath_refuse(ret_why, why_size, err,
			       "the kernel rejects the program or a map: %s", strerror(-err));
}

static int map_memory(struct bpf_map *map, size_t bytes, void **ret_memory, char *ret_why,
		      size_t why_size)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);

	if (memory == MAP_FAILED)
		return fastpath_refuse(ret_why, why_size, -errno, "cannot mmap the map '%s': %s",
				       bpf_map__name(map), strerror(errno));
	*ret_memory = memory;
	return 0;
}

static int map_all(struct fastpath *fp, const struct fastpath_config *config, char *ret_why,
		   size_t why_size)
{
	const struct {
		struct bpf_map *map;
		size_t bytes;
		void **memory;
	} maps[] = {
		{ fp->skel->maps.slots, config->max_accounts * sizeof(*fp->slots),
		  (void **)&fp->slots },
		{ fp->skel->maps.conns, fp->max_flows * sizeof(*fp->conns), (void **)&fp->conns },
		{ fp->skel->maps.settings, sizeof(*fp->settings), (void **)&fp->settings },
		{ fp->skel->maps.templates, TEMPLATES_BYTES, (void **)&fp->templates },
		{ fp->skel->maps.routes, ROUTES_BYTES, (void **)&fp->routes },
		{ fp->skel->maps.hints, HINTS_BYTES, (void **)&fp->hints },
	};
	int err = 0;

	fp->slots_bytes = maps[0].bytes;
	fp->conns_bytes = maps[1].bytes;
	for (size_t i = 0; i < sizeof(maps) / sizeof(maps[0]) && !err; i++)
		err = map_memory(maps[i].map, maps[i].bytes, maps[i].memory, ret_why, why_size);
	return err;
}

static void unmap(void *memory, size_t bytes)
{
	if (memory)
		munmap(memory, bytes);
}

static void unmap_all(struct fastpath *fp)
{
	unmap(fp->slots, fp->slots_bytes);
	unmap(fp->conns, fp->conns_bytes);
	unmap(fp->settings, sizeof(*fp->settings));
	unmap(fp->templates, TEMPLATES_BYTES);
	unmap(fp->routes, ROUTES_BYTES);
	unmap(fp->hints, HINTS_BYTES);
}

/* The agent's own tables, built from the adopted maps. */
static int make_tables(struct fastpath *fp)
{
	__u64 *secret = fp->settings->fingerprint;
	int err = 0;

	if (!secret[0] && !secret[1])
		err = crypto_random(secret, sizeof(fp->settings->fingerprint));
	if (!err)
		err = fastpath_keys_init(&fp->keys);
	if (err)
		return err;
	fastpath_set_answering(fp, false);
	fastpath_sets_init(&fp->sets);
	return fastpath_flows_init(fp, fp->max_flows);
}

static int on_ring_record(void *arg, void *data, size_t size)
{
	struct fastpath *fp = arg;

	if (size >= sizeof(struct tollgate_event))
		fp->on_event(fp->event_arg, data);
	return 0;
}

static int set_up(struct fastpath *fp, const struct fastpath_config *config, char *ret_why,
		  size_t why_size)
{
	int err = check_kernel(config, ret_why, why_size);

	if (!err)
		err = make_dirs(fp, config, ret_why, why_size);
	if (!err)
		err = lock_dir(fp, config, ret_why, why_size);
	if (err)
		return err;
	fp->skel = edge_bpf__open();
	if (!fp->skel)
		return fastpath_refuse(ret_why, why_size, -errno,
				       "libbpf cannot read the built-in program: %s",
				       strerror(errno));
	err = fastpath_maps_adopt(fp, config, ret_why, why_size);
	if (!err)
		err = load(fp, ret_why, why_size);
	if (!err)
		err = fastpath_maps_pin(fp, ret_why, why_size);
	if (!err)
		err = map_all(fp, config, ret_why, why_size);
	if (err)
		return err;
	fp->ring = ring_buffer__new(bpf_map__fd(fp->skel->maps.events), on_ring_record, fp, NULL);
	if (!fp->ring)
		return fastpath_refuse(ret_why, why_size, -errno,
				       "cannot mmap the ring buffer of events: %s",
				       strerror(errno));
	err = make_tables(fp);
	if (err)
		return fastpath_refuse(ret_why, why_size, err,
				       "cannot set up the tables for %u flows: %s", fp->max_flows,
				       strerror(-err));
	return 0;
}

int fastpath_open(const struct fastpath_config *config, struct fastpath **ret_fastpath,
		  char *ret_why, size_t why_size)
{
	struct fastpath *fp;
	int err;

	if (config->mode == FASTPATH_NONE)
		return fastpath_refuse(ret_why, why_size, -ENOTSUP,
				       "disabled: the mode is none in the configuration");
	if (!config->max_accounts || !config->max_flows)
		return fastpath_refuse(ret_why, why_size, -EINVAL,
				       "max_accounts and max_flows must not be 0");
	fp = calloc(1, sizeof(*fp));
	if (!fp)
		return fastpath_refuse(ret_why, why_size, -ENOMEM, "out of memory");
	fp->lock_fd = fp->instance_fd = fp->flows.diag_fd = -1;
	fp->mode = config->mode;
	fastpath_plane_init(fp);
	libbpf_set_print(on_libbpf_print);
	err = set_up(fp, config, ret_why, why_size);
	if (err) {
		fastpath_close(fp, FASTPATH_LEAVE);
		return err;
	}
	*ret_fastpath = fp;
	return 0;
}

struct tollgate_slot *fastpath_slots(struct fastpath *fp)
{
	return fp->slots;
}

struct tollgate_settings *fastpath_settings(struct fastpath *fp)
{
	return fp->settings;
}

bool fastpath_was_pinned(const struct fastpath *fp)
{
	return fp->was_pinned;
}

int fastpath_program_fd(const struct fastpath *fp)
{
	return bpf_program__fd(fp->skel->progs.edge);
}

int fastpath_generic_fd(const struct fastpath *fp)
{
	return bpf_program__fd(fp->skel->progs.edge_generic);
}

void fastpath_set_action(struct fastpath *fp, enum tollgate_action action)
{
	atomic_write_release(&fp->settings->action, action);
}

enum tollgate_action fastpath_action(const struct fastpath *fp)
{
	return atomic_read_acquire(&fp->settings->action);
}

void fastpath_beat(struct fastpath *fp, uint64_t now_ns)
{
	atomic_write_release(&fp->settings->heartbeat_ns, now_ns);
}

int fastpath_read_counters(struct fastpath *fp, uint64_t ret_counters[TOLLGATE_COUNTER_COUNT])
{
	uint64_t sums[TOLLGATE_COUNTER_COUNT] = { 0 };
	int fd = bpf_map__fd(fp->skel->maps.counters);
	int cpus = libbpf_num_possible_cpus();
	uint64_t *per_cpu;
	int err = 0;

	if (cpus < 0)
		return cpus;
	per_cpu = calloc(cpus, sizeof(*per_cpu));
	if (!per_cpu)
		return -ENOMEM;
	for (uint32_t i = 0; i < TOLLGATE_COUNTER_COUNT && !err; i++) {
		err = bpf_map_lookup_elem(fd, &i, per_cpu);
		for (int cpu = 0; cpu < cpus && !err; cpu++)
			sums[i] += per_cpu[cpu];
	}
	free(per_cpu);
	if (!err)
		memcpy(ret_counters, sums, sizeof(sums));
	return err;
}

int fastpath_poll_events(struct fastpath *fp,
			 void (*on_event)(void *arg, const struct tollgate_event *event), void *arg)
{
	fp->on_event = on_event;
	fp->event_arg = arg;
	return ring_buffer__consume(fp->ring);
}

/*
 * A directory stays if it still holds another agent's pins, or a link that could not be detached.
 */
static void remove_dirs(const struct fastpath *fp)
{
	char path[sizeof(fp->dir)];

	memcpy(path, fp->dir, sizeof(path));
	for (int level = 0; level < 3 && rmdir(path) == 0; level++)
		*strrchr(path, '/') = '\0';
}

void fastpath_close(struct fastpath *fp, enum fastpath_end end)
{
	if (!fp)
		return;
	fastpath_ports_done(fp, end != FASTPATH_LEAVE);
	fastpath_listens_done(fp);
	if (end == FASTPATH_REMOVE) {
		fastpath_maps_unpin(fp);
		remove_dirs(fp);
	}
	fastpath_flows_done(&fp->flows);
	ring_buffer__free(fp->ring);
	fastpath_keys_done(&fp->keys);
	unmap_all(fp);
	edge_bpf__destroy(fp->skel);
	if (fp->instance_fd >= 0)
		close(fp->instance_fd);
	if (fp->lock_fd >= 0)
		close(fp->lock_fd);
	free(fp);
}
