/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * load: opens the store and loads it into the mirror.
 *
 * A store that is locked or unreachable is retried every second, and requests get 503 meanwhile. A
 * store that is corrupt, newer than this program or made with another pepper ends the agent;
 * nothing has been written to it then.
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "agent/agent_private.h"
#include "base/atomic.h"
#include "base/clock.h"
#include "base/log.h"

#define RETRY_MS 1000

#define LONGEST_MONTH_DAYS 31 /* a monthly quota's period began at most so long ago (period.h) */

static void wait_for_store(struct agent *agent, int err)
{
	snprintf(agent->not_ready, sizeof(agent->not_ready), "the store cannot be used: %s (%s)",
		 store_error(agent->store), strerror(-err));
	log_warn("%s; retrying", agent->not_ready);
	uv_timer_start(&agent->retry, load_retry, RETRY_MS, 0);
	agent_loaded(agent); /* started, though not ready: systemd need not wait for the store */
}

static bool is_hopeless(int err)
{
	return err == -EUCLEAN || err == -ENOTSUP || err == -EKEYREJECTED || err == -EACCES ||
	       err == -ENOENT || err == -ENOTDIR || err == -EROFS || err == -EPERM ||
	       err == -EISDIR;
}

static int on_accounts(void *arg, const struct store_account *accounts, size_t count)
{
	struct agent *agent = arg;
	int err = 0;

	for (size_t i = 0; i < count && !err; i++)
		err = mirror_put_account(agent->mirror, &accounts[i], agent->load.wall_ms,
					 agent->load.mono_ns);
	return err;
}

static int on_keys(void *arg, const struct store_key *keys, size_t count)
{
	struct agent *agent = arg;
	int err = 0;

	for (size_t i = 0; i < count && !err; i++) {
		err = mirror_put_key(agent->mirror, &keys[i]);
		/*
		 * Made after the accounts were read: the feed brings its account, and the key
		 * again.
		 */
		if (err == -ENOENT)
			err = 0;
	}
	return err;
}

static int on_quotas(void *arg, const struct store_quota *quotas, size_t count)
{
	struct agent *agent = arg;

	for (size_t i = 0; i < count; i++)
		mirror_put_quota(agent->mirror, &quotas[i], clock_steady_ms());
	return 0;
}

static int on_entries(void *arg, const struct store_entry *entries, size_t count)
{
	struct agent *agent = arg;
	int err = 0;

	for (size_t i = 0; i < count; i++) {
		err = lists_put(agent->lists, &entries[i], agent->load.wall_ms,
				agent->load.mono_ns);
		if (err == -ENOMEM || err == -ENOSPC)
			return -ENOMEM;
		if (err)
			log_warn("an entry of the lists does not fit into XDP's map; the agent "
				 "alone applies it: %s",
				 strerror(-err));
		if (agent->load.came && lists_put(agent->load.came, &entries[i],
						  agent->load.wall_ms, agent->load.mono_ns))
			return -ENOMEM;
	}
	return 0;
}

static const struct store_visitor visitor = {
	.on_accounts = on_accounts,
	.on_keys = on_keys,
	.on_quotas = on_quotas,
	.on_entries = on_entries,
};

static void begin_visit(struct agent *agent)
{
	lists_free(agent->load.came);
	agent->load = (struct load){ .wall_ms = clock_steady_ms(), .mono_ns = clock_mono_ns() };
}

static void submit_load(struct agent *agent, store_done done)
{
	uint32_t day = usage_period(TOLLGATE_PERIOD_DAY, agent->load.wall_ms);

	store_load(agent->store, &visitor, agent, day, day - LONGEST_MONTH_DAYS, done, agent);
}

/* Drop the entries that are no longer in the store. */
static void drop_entries(struct agent *agent)
{
	size_t count;
	const struct store_entry *entries = lists_entries(agent->lists, &count);

	for (size_t i = count; i-- > 0;) {
		struct cidr block = entries[i].block;

		if (!lists_find(agent->load.came, &block))
			agent_lists_leave(agent, &block);
	}
	lists_free(agent->load.came);
	agent->load.came = NULL;
}

static void log_loaded(const struct agent *agent)
{
	log_info("loaded %" PRIu64 " keys of %" PRIu64 " accounts in %" PRIu64 " ms",
		 mirror_keys(agent->mirror), mirror_accounts(agent->mirror),
		 (uint64_t)((clock_mono_ns() - agent->load.mono_ns) / NS_PER_MS));
}

/* ---- quotas only, after the clock was set back ---- */

static int skip_accounts(void *arg, const struct store_account *accounts, size_t count)
{
	(void)arg;
	(void)accounts;
	(void)count;
	return 0;
}

static int skip_keys(void *arg, const struct store_key *keys, size_t count)
{
	(void)arg;
	(void)keys;
	(void)count;
	return 0;
}

static int skip_entries(void *arg, const struct store_entry *entries, size_t count)
{
	(void)arg;
	(void)entries;
	(void)count;
	return 0;
}

static void on_quotas_loaded(void *arg, int err)
{
	struct agent *agent = arg;

	if (err)
		log_error("cannot load quotas, so some begin at 0: %s", store_error(agent->store));
}

void load_quotas(struct agent *agent)
{
	static const struct store_visitor quotas_only = { .on_accounts = skip_accounts,
							  .on_keys = skip_keys,
							  .on_quotas = on_quotas,
							  .on_entries = skip_entries };
	uint32_t day = usage_period(TOLLGATE_PERIOD_DAY, clock_steady_ms());

	store_load(agent->store, &quotas_only, agent, day, day - LONGEST_MONTH_DAYS,
		   on_quotas_loaded, agent);
}

/* ---- again, while requests go on ---- */

static void on_loaded_again(void *arg, int err)
{
	struct agent *agent = arg;

	if (agent->phase != AGENT_RUNNING)
		return;
	if (err) {
		follow_failed(agent, err == -ENOSPC
					     ? "it holds more accounts than max_accounts allows"
				     : err == -ENOMEM ? "out of memory"
						      : store_error(agent->store));
		uv_timer_start(&agent->retry, load_retry, RETRY_MS, 0);
		return;
	}
	mirror_refresh_end(agent->mirror);
	mirror_drop_strays(agent->mirror);
	drop_entries(agent);
	usage_doubt(&agent->slots);
	log_loaded(agent);
	follow_start(agent);
	billing_loaded_again(agent->billing);
}

static void on_opened_again(void *arg, int err)
{
	struct agent *agent = arg;

	if (agent->phase != AGENT_RUNNING)
		return;
	begin_visit(agent);
	agent->load.came = lists_new(NULL);
	if (!err && (!agent->load.came || mirror_refresh_begin(agent->mirror)))
		err = -ENOMEM;
	if (err)
		on_loaded_again(agent, err);
	else
		submit_load(agent, on_loaded_again);
}

void load_again(struct agent *agent)
{
	store_open(agent->store, agent->pepper_check, on_opened_again, agent);
}

/* ---- the first time ---- */

static void on_loaded(void *arg, int err)
{
	struct agent *agent = arg;

	if (agent->phase > AGENT_RUNNING)
		return;
	if (err == -ENOSPC) {
		agent_fail(agent, "the store holds more accounts than max_accounts (%u) allows",
			   agent->slots.count);
		return;
	}
	if (err) {
		/* The next attempt enters the same records again, which is harmless. */
		wait_for_store(agent, err);
		return;
	}
	mirror_drop_strays(agent->mirror);
	agent->registry =
		registry_new(agent->store, agent->mirror, agent->pepper, agent->key_prefix);
	if (!agent->registry) {
		agent_fail(agent, "out of memory");
		return;
	}
	if (billing_start(agent->billing)) {
		agent_fail(agent, "out of memory");
		return;
	}
	/* First write what the last agent left in the slots: new windows need the room. */
	flush_usage(agent);
	agent->not_ready[0] = '\0';
	agent->phase = AGENT_RUNNING;
	agent->gate.mirror = agent->mirror;
	mirror_set_xdp(agent->mirror, fastpath_plane(agent->fastpath));
	atomic_write(&agent->gate.is_current, true);
	atomic_write_release(&agent->gate.is_loaded, true);
	/* XDP may act now that its lists are complete. */
	if (agent->fastpath)
		fastpath_set_action(agent->fastpath, agent->rules->config->fastpath.action);
	fastpath_feed_start(agent);
	agent_lists_loaded(agent);
	log_loaded(agent);
	agent_loaded(agent);
	follow_start(agent);
	fleet_pass_time(agent->fleet);
}

static const char *const origins[] = {
	[SLOTS_NEW] = "new",
	[SLOTS_SAME_BOOT] = "adopted",
	[SLOTS_OTHER_BOOT] = "adopted from before a reboot: usage only",
	[SLOTS_OTHER_STORE] = "belonged to another store: cleared",
};

/* From here on the slots belong to this store's accounts. */
static int adopt_slots(struct agent *agent)
{
	const struct stripe_settings *stripe = &agent->rules->config->stripe;
	uint32_t window_seconds = USAGE_WINDOW_SECONDS;
	uint8_t boot_id[16];
	int origin, err = clock_boot_id(boot_id);

	if (err)
		return err;
	/* Once they are loaded, many metered accounts make it longer: see report.h. */
	if (stripe->is_configured)
		window_seconds = (uint32_t)(stripe->report_every_ms / 1000);
	origin = slots_adopt(&agent->slots, boot_id, store_id(agent->store), window_seconds);
	if (origin < 0)
		return origin;
	log_info("slots: %s", origins[origin]);
	agent->mirror = mirror_new(&agent->slots);
	if (!agent->mirror)
		return -ENOMEM;
	err = share_exchange_start(agent->share_exchange);
	if (err)
		return err;
	mirror_set_mode(agent->mirror, stripe_settings_mode(&agent->rules->config->stripe));
	return mirror_set_tiers(agent->mirror, agent->tiers, clock_steady_ms(), clock_mono_ns());
}

static void on_opened(void *arg, int err)
{
	struct agent *agent = arg;

	if (agent->phase > AGENT_RUNNING)
		return;
	if (is_hopeless(err)) {
		agent_fail(agent, "the store cannot be used: %s", store_error(agent->store));
		return;
	}
	if (err) {
		wait_for_store(agent, err);
		return;
	}
	if (!agent->mirror) {
		err = adopt_slots(agent);
		if (err) {
			agent_fail(agent, "slots: %s", strerror(-err));
			return;
		}
	}
	lists_clear(agent->lists);
	begin_visit(agent);
	submit_load(agent, on_loaded);
}

void load_retry(uv_timer_t *timer)
{
	struct agent *agent = timer->data;

	if (agent->phase == AGENT_RUNNING)
		load_again(agent);
	else
		store_open(agent->store, agent->pepper_check, on_opened, agent);
}

int load_begin(struct agent *agent)
{
	const struct config *config = agent->rules->config;
	char path[PATH_MAX], why[256] = "";
	int err = store_new(&agent->loop, config->store, (unsigned)config->redis_timeout_ms,
			    &agent->store);

	if (err)
		return err;
	snprintf(path, sizeof(path), "%s/journal.db", config->state_dir);
	err = store_set_journal(agent->store, path, why, sizeof(why));
	if (err)
		log_error("the journal cannot be used: %s", why);
	else
		store_open(agent->store, agent->pepper_check, on_opened, agent);
	return err;
}
