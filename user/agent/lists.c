/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * lists: the operators' lists. A change goes to the store; the store's feed brings it back to what
 * workers and XDP look at; then every worker resets the connections that are no longer allowed.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent_private.h"
#include "base/clock.h"
#include "base/log.h"

/* Denying a block wider than these needs --force. */
#define WIDEST_IPV4 (96 + 8)
#define WIDEST_IPV6 16

struct change {
	struct agent *agent;
	struct admin_list_change what;
	unsigned awaited; /* acknowledgements by workers */
	store_done done;
	void *arg;
};

static void end(struct change *change, int err)
{
	if (change->done)
		change->done(change->arg, err);
	free(change);
}

static void on_swept(void *arg, int err)
{
	struct change *change = arg;

	(void)err; /* out of memory: open connections stay open, but new ones are refused */
	if (--change->awaited == 0)
		end(change, 0);
}

static void sweep(struct change *change)
{
	struct agent *agent = change->agent;

	/* Workers that are stopping accept no more orders. */
	if (!agent->workers_started || agent->phase == AGENT_STOPPING) {
		end(change, 0);
		return;
	}
	change->awaited = agent->workers_started + 1;
	for (unsigned i = 0; i < agent->workers_started; i++)
		worker_sweep(agent->workers[i], on_swept, change);
	on_swept(change, 0);
}

static void sweep_all(struct agent *agent)
{
	struct change *change = calloc(1, sizeof(*change));

	if (!change)
		return;
	change->agent = agent;
	sweep(change);
}

/* 0, or a negative errno if there is no room for it. */
static int enter(struct agent *agent, const struct store_entry *entry)
{
	int err = lists_put(agent->lists, entry, clock_wall_ms(), clock_mono_ns());

	if (err && !lists_find(agent->lists, &entry->block))
		return err;
	if (err)
		log_warn("an entry of the lists does not fit into XDP's map; the agent alone "
			 "applies it: %s",
			 strerror(-err));
	return 0;
}

static void on_stored(void *arg, int err)
{
	struct change *change = arg;
	const struct store_entry *entry = &change->what.entry;
	struct agent *agent = change->agent;
	bool should_be_there =
		!change->what.is_removal && (!entry->until_ms || entry->until_ms > clock_wall_ms());

	agent->list_puts -= !change->what.is_removal;
	/* The feed has applied it by now, unless there was no room. */
	if (!err && should_be_there && !lists_find(agent->lists, &entry->block))
		err = -ENOMEM;
	if (err)
		end(change, err);
	else
		sweep(change);
}

void agent_lists_enter(struct agent *agent, const struct store_entry *entry)
{
	int err = enter(agent, entry);

	if (err)
		log_error("an entry of the lists in the store cannot be applied: %s",
			  strerror(-err));
	sweep_all(agent);
}

void agent_lists_leave(struct agent *agent, const struct cidr *block)
{
	lists_remove(agent->lists, block);
	sweep_all(agent);
}

static const struct cidr *denied_proxy(const struct agent *agent, const struct cidr *block)
{
	const struct rules *rules = &agent->rules->rules;

	for (unsigned i = 0; i < rules->trusted_proxy_count; i++) {
		if (cidr_overlap(block, &rules->trusted_proxies[i]))
			return &rules->trusted_proxies[i];
	}
	return NULL;
}

/* Refuse an entry that shuts out more clients than its author may have meant. */
static int check_deny(const struct agent *agent, const struct cidr *block, char *ret_why,
		      size_t why_size)
{
	const struct cidr *proxy = denied_proxy(agent, block);
	char text[CIDR_TEXT_SIZE], proxy_text[CIDR_TEXT_SIZE];
	bool is_ipv4 = cidr_is_ipv4(block);

	cidr_format(block, text);
	if (block->prefix_bits < (is_ipv4 ? WIDEST_IPV4 : WIDEST_IPV6)) {
		snprintf(ret_why, why_size, "%s is wider than /%d; use --force to deny it anyway",
			 text, is_ipv4 ? WIDEST_IPV4 - 96 : WIDEST_IPV6);
		return -EPERM;
	}
	if (!proxy)
		return 0;
	cidr_format(proxy, proxy_text);
	snprintf(ret_why, why_size,
		 "%s contains addresses of the trusted proxy %s; denying them shuts out everyone "
		 "behind it. Use --force to deny it anyway",
		 text, proxy_text);
	return -EPERM;
}

static int check(const struct agent *agent, const struct admin_list_change *change, char *ret_why,
		 size_t why_size)
{
	const struct cidr *block = &change->entry.block;
	const struct store_entry *present = lists_find(agent->lists, block);
	size_t count;

	lists_entries(agent->lists, &count);
	if (change->is_removal)
		return present && present->list == change->entry.list ? 0 : -ENOENT;
	if (!present && count + agent->list_puts >= LISTS_MAX) {
		snprintf(ret_why, why_size,
			 "the lists are full: %u entries is the limit; remove some first",
			 LISTS_MAX);
		return -EPERM;
	}
	if (change->entry.list == STORE_DENY && !change->is_forced)
		return check_deny(agent, block, ret_why, why_size);
	return 0;
}

int agent_lists_change(void *arg, const struct admin_list_change *change, char *ret_why,
		       size_t why_size, store_done done, void *done_arg)
{
	struct agent *agent = arg;
	struct change *made;
	int err;

	if (agent->phase > AGENT_RUNNING)
		return -EAGAIN;
	err = check(agent, change, ret_why, why_size);
	if (err)
		return err;
	made = calloc(1, sizeof(*made));
	if (!made)
		return -ENOMEM;
	*made = (struct change){ .agent = agent, .what = *change, .done = done, .arg = done_arg };
	agent->list_puts += !change->is_removal;
	if (change->is_removal)
		store_entry_remove(agent->store, &change->entry.block, on_stored, made);
	else
		store_entry_put(agent->store, &change->entry, on_stored, made);
	return 0;
}

/* Requests got 503 until now, but connections may be open. */
void agent_lists_loaded(struct agent *agent)
{
	size_t count;

	lists_entries(agent->lists, &count);
	if (!count)
		return;
	log_info("%zu entries in the lists of addresses", count);
	sweep_all(agent);
}

static void on_pruned(void *arg, int err)
{
	(void)arg;
	if (err)
		log_warn("expired entries of the lists cannot be removed from the store: %s",
			 strerror(-err));
}

/* Sweep, because an expired allowed block may lie within a denied one. */
void agent_lists_pass_time(struct agent *agent)
{
	uint64_t wall_ms = clock_wall_ms();

	if (!lists_expire(agent->lists, wall_ms))
		return;
	store_entries_prune(agent->store, wall_ms, on_pruned, NULL);
	sweep_all(agent);
}
