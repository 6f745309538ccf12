/* SPDX-License-Identifier: BSD-2-Clause */
/* feed: a follower that logs what the store's feed reports. */
#ifndef UNIT_STORE_FEED_H
#define UNIT_STORE_FEED_H

#include <stdio.h>
#include <string.h>

#include "store/store.h"

struct feed {
	char log[4096]; /* a line for each change */
	int state_err;
	unsigned states; /* calls of on_state */
	char why[256];
};

static inline void feed_note(struct feed *feed, const char *format, uint64_t id, uint64_t value)
{
	size_t len = strlen(feed->log);

	snprintf(feed->log + len, sizeof(feed->log) - len, format, (unsigned)id, (unsigned)value);
}

static inline void feed_on_account(void *arg, const struct store_account *account)
{
	feed_note(arg, "account %u %u\n", account->id, account->is_held);
}

static inline void feed_on_key(void *arg, const struct store_key *key)
{
	feed_note(arg, "key %u %u\n", key->id, key->revoked_ms);
}

static inline void feed_on_key_end(void *arg, uint64_t key, uint64_t at_ms)
{
	feed_note(arg, "key %u ends at %u\n", key, at_ms);
}

static inline void feed_on_keys_end(void *arg, uint64_t account, uint64_t before_ms, uint64_t at_ms)
{
	feed_note(arg, "keys of %u end at %u", account, at_ms);
	feed_note(arg, " if created before %u%.0u\n", before_ms, 0);
}

static inline void feed_on_account_gone(void *arg, uint64_t account)
{
	feed_note(arg, "no account %u%.0u\n", account, 0);
}

static inline void feed_on_entry(void *arg, const struct store_entry *entry)
{
	feed_note(arg, "entry /%u list %u\n", entry->block.prefix_bits, entry->list);
}

static inline void feed_on_entry_gone(void *arg, const struct cidr *block)
{
	feed_note(arg, "no entry /%u%.0u\n", block->prefix_bits, 0);
}

static inline void feed_on_task(void *arg, const char *queue, const struct store_task *task)
{
	feed_note(arg, !strcmp(queue, "event") ? "event" : "another task", 0, 0);
	feed_note(arg, task && task->body ? " with its body\n" : "\n", 0, 0);
}

static inline void feed_on_state(void *arg, int err, const char *why)
{
	struct feed *feed = arg;

	feed->state_err = err;
	feed->states++;
	snprintf(feed->why, sizeof(feed->why), "%s", why);
}

static const struct store_follower feed_follower = {
	.on_account = feed_on_account,
	.on_account_gone = feed_on_account_gone,
	.on_key = feed_on_key,
	.on_key_end = feed_on_key_end,
	.on_keys_end = feed_on_keys_end,
	.on_entry = feed_on_entry,
	.on_entry_gone = feed_on_entry_gone,
	.on_task = feed_on_task,
	.on_state = feed_on_state,
};

#endif
