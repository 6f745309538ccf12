/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * agent: builds a running tollgate in order, runs it, and takes it down in the reverse order.
 *
 * Folders, pins, listeners and interfaces need privileges, so they come before privileges are
 * dropped. The store may keep us waiting, so it comes after the workers have started: until it is
 * loaded, requests get 503.
 */
#include "agent/agent.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <systemd/sd-daemon.h>

#include "agent/agent_private.h"
#include "base/clock.h"
#include "base/log.h"
#include "net/listener.h"

#define TICK_MS	 1000
#define BPFFS	 "/sys/fs/bpf"
#define WHY_SIZE 512
#define SWEEP_MS 3000

void agent_loaded(struct agent *agent)
{
	static bool is_told;

	if (!is_told)
		sd_notify(0, "READY=1");
	is_told = true;
	sd_notifyf(0, "STATUS=%s", agent->not_ready[0] ? agent->not_ready : "Serving requests");
}

/* ---- stopping ---- */

static void on_worker_stopped(void *arg, int err)
{
	struct agent *agent = arg;

	(void)err;
	if (--agent->acks_awaited == 0)
		flush_finally(agent);
}

static void stop_workers(struct agent *agent)
{
	if (agent->phase == AGENT_STOPPING)
		return;
	agent->phase = AGENT_STOPPING;
	uv_timer_stop(&agent->drain_end);
	agent->acks_awaited = agent->workers_started;
	if (!agent->workers_started)
		flush_finally(agent);
	for (unsigned i = 0; i < agent->workers_started; i++)
		worker_stop(agent->workers[i], on_worker_stopped, agent);
}

static void on_drain_end(uv_timer_t *timer)
{
	struct agent *agent = timer->data;

	if (agent->phase == AGENT_DRAINING)
		log_warn("the drain time is over and requests are still running; their connections "
			 "are closed");
	stop_workers(agent);
}

void agent_fail(struct agent *agent, const char *format, ...)
{
	char why[WHY_SIZE];
	va_list args;

	va_start(args, format);
	vsnprintf(why, sizeof(why), format, args);
	va_end(args);
	log_error("%s", why);
	agent->exit_code = 1;
	/* Stop from a timer, not from here: the caller is in the middle of something. */
	uv_timer_start(&agent->drain_end, on_drain_end, 0, 0);
}

static void on_worker_drained(void *arg, int err)
{
	struct agent *agent = arg;

	(void)err;
	/* After the drain time is over, acks_awaited counts other orders. */
	if (agent->phase == AGENT_DRAINING && --agent->acks_awaited == 0)
		stop_workers(agent);
}

static void drain(struct agent *agent)
{
	uint64_t drain_ms = agent->rules->config->drain_ms;

	if (agent->phase >= AGENT_DRAINING) {
		log_info("second signal to stop: not waiting for running requests");
		stop_workers(agent);
		return;
	}
	log_info("draining: no new connections; running requests have %llu ms",
		 (unsigned long long)drain_ms);
	agent->phase = AGENT_DRAINING;
	snprintf(agent->not_ready, sizeof(agent->not_ready), "draining");
	sd_notify(0, "STOPPING=1");
	agent->acks_awaited = agent->workers_started;
	uv_timer_start(&agent->drain_end, on_drain_end, drain_ms, 0);
	for (unsigned i = 0; i < agent->workers_started; i++)
		worker_drain(agent->workers[i], on_worker_drained, agent);
}

/* Close everything on the loop. The loop ends when the last handle is closed. */
void agent_close(struct agent *agent)
{
	for (unsigned i = 0; i < agent->worker_count; i++)
		worker_free(agent->workers[i]);
	agent->workers_started = agent->worker_count = 0;
	admin_stop(agent->admin);
	billing_stop(agent->billing);
	share_exchange_stop(agent->share_exchange);
	fleet_leave(agent->fleet);
	registry_free(agent->registry);
	agent->registry = NULL;
	store_free(agent->store);
	agent->store = NULL;
	for (unsigned i = 0; i < sizeof(agent->signals) / sizeof(agent->signals[0]); i++)
		uv_close((uv_handle_t *)&agent->signals[i], NULL);
	uv_close((uv_handle_t *)&agent->tick, NULL);
	uv_close((uv_handle_t *)&agent->retry, NULL);
	uv_close((uv_handle_t *)&agent->drain_end, NULL);
}

/*
 * Connections on which XDP has answered must be translated until they end. While the kernel still
 * has bytes to send on any of them, leave the programs attached: the next agent takes them over.
 */
static void close_fastpath(struct agent *agent)
{
	uint32_t left;

	if (!agent->fastpath)
		return;
	left = fastpath_sweep_all(agent->fastpath, SWEEP_MS);
	if (left)
		log_warn("fast path: the kernel is still sending on %u connections that were "
			 "answered on: the programs stay attached for them, until a next start "
			 "and stop",
			 left);
	fastpath_close(agent->fastpath, left ? FASTPATH_LEAVE : FASTPATH_DETACH);
}

static void free_all(struct agent *agent)
{
	uv_run(&agent->loop, UV_RUN_DEFAULT);
	admin_free(agent->admin);
	billing_free(agent->billing);
	fleet_free(agent->fleet);
	share_exchange_free(agent->share_exchange);
	mirror_free(agent->mirror);
	penalty_free(agent->penalty);
	events_free(agent->events);
	lists_free(agent->lists);
	slots_done(&agent->slots);
	close_fastpath(agent);
	crypto_hmac_free(agent->pepper);
	free(agent->key_prefix);
	ruleset_unref(agent->rules);
	free(agent->workers);
	uv_loop_close(&agent->loop);
	if (agent->lock_fd >= 0)
		close(agent->lock_fd);
	mirror_unregister_thread();
}

/* ---- running ---- */

static void on_reloaded(void *arg)
{
	(void)arg;
	sd_notify(0, "READY=1");
}

static void on_signal(uv_signal_t *signal, int number)
{
	struct agent *agent = signal->data;
	struct buf messages;

	if (number != SIGHUP) {
		drain(agent);
		return;
	}
	buf_init(&messages, 65536);
	sd_notify(0, "RELOADING=1");
	if (reload(agent, &messages, on_reloaded, agent)) {
		log_error("the reload failed; the old configuration stays in use");
		on_reloaded(agent);
	}
	for (struct text rest = buf_text(&messages); rest.len;) {
		const char *end = memchr(rest.ptr, '\n', rest.len);
		size_t len = end ? (size_t)(end - rest.ptr) : rest.len;

		log_warn("%.*s", (int)len, rest.ptr);
		rest = (struct text){ rest.ptr + len + (end != NULL),
				      rest.len - len - (end != NULL) };
	}
	buf_done(&messages);
}

static void on_key_ended_again(void *arg, const struct registry_result *result)
{
	(void)arg;
	if (result->err)
		log_error("cannot end a key that ended while the clock was ahead: %s",
			  strerror(-result->err));
}

static void end_key_again(void *arg, uint64_t key)
{
	struct agent *agent = arg;

	registry_key_revoke(agent->registry, key, 0, on_key_ended_again, agent);
}

/*
 * The clock was ahead until @was_ms and has been set back to @now_ms. Keys that ended in between
 * stay ended, and quotas continue in the present period.
 */
static void on_clock_set_back(struct agent *agent, uint64_t was_ms, uint64_t now_ms)
{
	bool has_future = false;

	log_warn("the clock was set back by %llu s; it was wrong before",
		 (unsigned long long)((was_ms - now_ms) / 1000));
	mirror_each_key_ending(agent->mirror, now_ms, was_ms, end_key_again, agent);
	for (uint32_t i = 0; i < agent->slots.used; i++)
		has_future |= usage_forget_future(&agent->slots.list[i], now_ms);
	if (mirror_set_tiers(agent->mirror, agent->tiers, now_ms, clock_mono_ns()))
		log_error("cannot apply the corrected time to all accounts: out of memory");
	if (has_future)
		load_quotas(agent);
}

static void watch_clock(struct agent *agent)
{
	uint64_t was_ms = agent->steady_ms, now_ms = clock_steady_ms();

	agent->steady_ms = now_ms;
	if (now_ms < was_ms)
		on_clock_set_back(agent, was_ms, now_ms);
}

static void on_tick(uv_timer_t *timer)
{
	struct agent *agent = timer->data;

	if (agent->fastpath) {
		fastpath_beat(agent->fastpath, clock_mono_ns());
		fastpath_sweep(agent->fastpath);
		fastpath_feed_watch(agent);
		fastpath_attach_waiting(agent->fastpath);
		events_take(agent->events);
	}
	if (agent->phase == AGENT_RUNNING) {
		watch_clock(agent);
		mirror_pass_time(agent->mirror, clock_steady_ms(), clock_mono_ns());
		agent_lists_pass_time(agent);
		follow_pass_time(agent);
		fleet_pass_time(agent->fleet);
	}
	flush_usage(agent);
	/* Blocks while systemd does not read, so notify only if systemd asked for it. */
	if (sd_watchdog_enabled(0, NULL) > 0)
		sd_notify(0, "WATCHDOG=1");
}

/* ---- starting: each step logs its own error ---- */

static int read_config(struct agent *agent)
{
	struct config *config;
	struct buf messages;
	int err;

	buf_init(&messages, 65536);
	err = config_read(agent->config_path, &config, &messages);
	if (!err) {
		log_set_level(config->log);
		err = ruleset_new(config, NULL, &agent->rules, &messages);
	}
	if (err && buf_len(&messages))
		fwrite(buf_head(&messages), 1, buf_len(&messages), stderr);
	else if (!err)
		agent->tiers = &agent->rules->config->tiers;
	buf_done(&messages);
	return err;
}

static int load_pepper(struct agent *agent)
{
	const char *path = agent->rules->config->pepper_file;
	int err = key_pepper_load(path, &agent->pepper, agent->pepper_check);

	if (err == -EINVAL)
		log_error("pepper_file %s: must contain 32 to 4096 bytes", path);
	else if (err)
		log_error("pepper_file %s: %s", path, strerror(-err));
	return err;
}

static bool wants_fastpath(const struct config *config)
{
	if (config->fastpath.mode == FASTPATH_NONE)
		return false;
	for (unsigned i = 0; i < config->listener_count; i++) {
		if (config->listeners[i].interface_count)
			return true;
	}
	return false;
}

static void describe_fastpath(const struct config *config, struct fastpath_listener *ret_listeners,
			      struct fastpath_config *ret_fastpath)
{
	unsigned count = 0;

	for (unsigned i = 0; i < config->listener_count; i++) {
		const struct config_listener *l = &config->listeners[i];

		if (!l->interface_count)
			continue;
		ret_listeners[count++] = (struct fastpath_listener){
			.address = l->address,
			.interfaces = (const char *const *)l->interfaces,
			.interface_count = l->interface_count,
		};
	}
	*ret_fastpath = (struct fastpath_config){
		.mode = config->fastpath.mode,
		.action =
			TOLLGATE_ACTION_OFF, /* until the slots are known to belong to this store */
		.stale_after_ns = config->fastpath.stale_after_ms * NS_PER_MS,
		.max_accounts = config->max_accounts,
		.max_flows = config->fastpath.max_flows,
		.event_every = config->fastpath.event_every,
		.instance = config->instance,
		.bpffs = BPFFS,
		.listeners = ret_listeners,
		.listener_count = count,
	};
}

/* 0 with or without the fast path; an error only if the configuration requires it. */
static int open_fastpath(struct agent *agent)
{
	const struct config *config = agent->rules->config;
	struct fastpath_listener *listeners;
	struct fastpath_config wanted;
	int err;

	if (!wants_fastpath(config)) {
		snprintf(agent->fastpath_why, sizeof(agent->fastpath_why), "%s",
			 config->fastpath.mode == FASTPATH_NONE ? "fastpath.mode is none"
								: "no listener names interfaces");
		log_info("no fast path: %s", agent->fastpath_why);
		return 0;
	}
	listeners = calloc(config->listener_count, sizeof(*listeners));
	if (!listeners)
		return -ENOMEM;
	describe_fastpath(config, listeners, &wanted);
	err = fastpath_open(&wanted, &agent->fastpath, agent->fastpath_why,
			    sizeof(agent->fastpath_why));
	if (!err)
		err = fastpath_attach(agent->fastpath, &wanted, agent->fastpath_why,
				      sizeof(agent->fastpath_why));
	free(listeners);
	fastpath_feed_prepare(agent, &agent->rules->config->tiers);
	if (!err)
		return 0;
	if (config->fastpath.required) {
		log_error("the fast path is required: %s", agent->fastpath_why);
		return err;
	}
	log_warn("fast path: %s", agent->fastpath_why);
	return 0;
}

static int open_slots(struct agent *agent)
{
	const struct config *config = agent->rules->config;
	char path[4096];
	int err;

	if (agent->fastpath)
		return slots_use_map(&agent->slots, fastpath_slots(agent->fastpath),
				     &fastpath_settings(agent->fastpath)->slots,
				     config->max_accounts);
	snprintf(path, sizeof(path), "%s/slots", config->state_dir);
	err = slots_use_file(&agent->slots, path, config->max_accounts);
	if (err)
		log_error("%s: %s", path, strerror(-err));
	return err;
}

/* Workers share their ports by SO_REUSEPORT; make sure that no other program has them. */
static int check_ports(struct agent *agent)
{
	const struct config *config = agent->rules->config;

	for (unsigned i = 0; i < config->listener_count; i++) {
		const struct config_listener *listener = &config->listeners[i];
		int err = listener_check_free(&listener->address);
		char address[64];

		if (!err)
			continue;
		listener_format_address(&listener->address, address, sizeof(address));
		log_error("listener %s: %s: %s", listener->name, address, strerror(-err));
		return err;
	}
	return 0;
}

static int open_billing(struct agent *agent)
{
	agent->billing = billing_new(agent);
	agent->fleet = fleet_new(agent);
	agent->share_exchange = share_exchange_new(agent);
	return agent->billing && agent->fleet && agent->share_exchange ? 0 : -ENOMEM;
}

static int open_workers(struct agent *agent)
{
	const struct config *config = agent->rules->config;
	const struct worker_shared shared = {
		.proxy = {
			.gate = &agent->gate,
			.fastpath = agent->fastpath,
			.penalty = agent->penalty,
		},
		.responder = billing_responder(agent->billing),
		.lists = agent->lists,
	};
	unsigned count = config->workers ? config->workers : uv_available_parallelism();
	char why[WHY_SIZE];

	agent->workers = calloc(count, sizeof(*agent->workers));
	if (!agent->workers)
		return -ENOMEM;
	while (agent->worker_count < count) {
		int err = worker_new(&agent->loop, config, &shared, agent->rules,
				     &agent->workers[agent->worker_count], why, sizeof(why));

		if (err) {
			log_error("%s", why);
			return err;
		}
		agent->worker_count++;
	}
	return 0;
}

static int lock_state(struct agent *agent)
{
	char why[WHY_SIZE] = "";
	int err = state_lock(agent->rules->config, &agent->lock_fd, why, sizeof(why));

	if (err)
		log_error("%s", why);
	return err;
}

static int drop_privileges(struct agent *agent)
{
	char why[WHY_SIZE] = "", pins[512];
	int err;

	snprintf(pins, sizeof(pins), BPFFS "/tollgate/%s", agent->rules->config->instance);
	err = state_drop_privileges(agent->rules->config, agent->fastpath ? pins : NULL, why,
				    sizeof(why));
	if (err)
		log_error("%s", why);
	return err;
}

static int make_gate(struct agent *agent)
{
	agent->key_prefix = strdup(agent->rules->config->key_prefix);
	if (!agent->key_prefix)
		return -ENOMEM;
	agent->gate = (struct gate){
		.slots = &agent->slots,
		.pepper = agent->pepper,
		.key_prefix = agent->key_prefix,
	};
	agent->lists = lists_new(fastpath_plane(agent->fastpath));
	agent->events = events_new(agent);
	agent->penalty = penalty_new(fastpath_plane(agent->fastpath), agent->lists);
	return agent->lists && agent->events && agent->penalty ? 0 : -ENOMEM;
}

static int start_workers(struct agent *agent)
{
	int err = 0;

	while (agent->workers_started < agent->worker_count && !err) {
		err = worker_start(agent->workers[agent->workers_started]);
		agent->workers_started += !err;
	}
	if (err)
		log_error("a worker cannot be started: %s", strerror(-err));
	return err;
}

static int come_up(struct agent *agent)
{
	static int (*const steps[])(struct agent *) = {
		lock_state,	   check_ports,	    load_pepper,   open_fastpath,
		open_slots,	   make_gate,	    open_billing,  open_workers,
		admin_bridge_open, drop_privileges, start_workers, load_begin,
	};

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		int err = steps[i](agent);

		if (err == -ENOMEM)
			log_error("out of memory");
		if (err)
			return err;
	}
	return 0;
}

static void open_handles(struct agent *agent)
{
	static const int numbers[] = { SIGTERM, SIGINT, SIGHUP };

	uv_loop_init(&agent->loop);
	for (unsigned i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		uv_signal_init(&agent->loop, &agent->signals[i]);
		agent->signals[i].data = agent;
		uv_signal_start(&agent->signals[i], on_signal, numbers[i]);
	}
	uv_timer_init(&agent->loop, &agent->tick);
	uv_timer_init(&agent->loop, &agent->retry);
	uv_timer_init(&agent->loop, &agent->drain_end);
	agent->tick.data = agent->retry.data = agent->drain_end.data = agent;
	uv_timer_start(&agent->tick, on_tick, TICK_MS, TICK_MS);
}

/* Each connection needs one descriptor, and another one for its upstream: take all we may have. */
static void raise_limits(void)
{
	struct rlimit files;

	signal(SIGPIPE, SIG_IGN);
	if (getrlimit(RLIMIT_NOFILE, &files))
		return;
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
}

int agent_run(const char *config_path, const char *env_file)
{
	static struct agent agent;

	agent = (struct agent){ .config_path = config_path,
				.env_file = env_file,
				.lock_fd = -1,
				.started_ns = clock_mono_ns() };
	snprintf(agent.not_ready, sizeof(agent.not_ready), "the store is being loaded");
	raise_limits();
	/* No core dumps, and /proc for root only: our memory contains secrets. */
	prctl(PR_SET_DUMPABLE, 0);
	if (read_config(&agent))
		return 1;
	mirror_register_thread();
	open_handles(&agent);
	log_info("tollgate %s, configuration %s", TOLLGATE_VERSION, config_path);
	if (come_up(&agent)) {
		agent.exit_code = 1;
		stop_workers(&agent);
	}
	uv_run(&agent.loop, UV_RUN_DEFAULT);
	free_all(&agent);
	log_info("stopped");
	return agent.exit_code;
}
