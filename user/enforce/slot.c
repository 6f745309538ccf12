/* SPDX-License-Identifier: BSD-2-Clause */
/* slot: the shared array that has one record for each account. */
#include "enforce/slot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/crypto.h"
#include "tollgate/bucket.h"
#include "enforce/usage.h"

#define FILE_HEAD_BYTES 4096 /* the head has a page of its own before the slots */

int slots_use_map(struct slots *slots, struct tollgate_slot *list, struct tollgate_slots_head *head,
		  uint32_t count)
{
	*slots = (struct slots){ .list = list, .head = head, .count = count };
	slots->free_list = calloc(count, sizeof(*slots->free_list));
	slots->aside = usage_aside_new();
	if (slots->free_list && slots->aside)
		return 0;
	slots_done(slots);
	return -ENOMEM;
}

static bool file_is_ours(int fd, size_t bytes, uint32_t count)
{
	struct tollgate_slots_head head;
	struct stat st;

	return !fstat(fd, &st) && (size_t)st.st_size == bytes &&
	       pread(fd, &head, sizeof(head), 0) == (ssize_t)sizeof(head) &&
	       !memcmp(head.magic, TOLLGATE_SLOTS_MAGIC, sizeof(head.magic)) &&
	       head.abi == TOLLGATE_ABI && head.max_accounts == count;
}

int slots_use_file(struct slots *slots, const char *path, uint32_t count)
{
	size_t bytes = FILE_HEAD_BYTES + (size_t)count * sizeof(struct tollgate_slot);
	char *map = MAP_FAILED;
	int err, fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return -errno;
	/* Allocate the whole file now: a full disk must be an error here, not a SIGBUS later. */
	if (!file_is_ours(fd, bytes, count) && ftruncate(fd, 0))
		goto fail;
	err = posix_fallocate(fd, 0, (off_t)bytes);
	if (err) {
		errno = err;
		goto fail;
	}
	map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		goto fail;
	close(fd);
	err = slots_use_map(slots, (struct tollgate_slot *)(map + FILE_HEAD_BYTES),
			    (struct tollgate_slots_head *)map, count);
	if (err) {
		munmap(map, bytes);
		return err;
	}
	slots->file_map = map;
	slots->file_bytes = bytes;
	return 0;
fail:
	err = -errno;
	close(fd);
	return err;
}

void slots_done(struct slots *slots)
{
	free(slots->free_list);
	usage_aside_free(slots->aside);
	if (slots->file_map)
		munmap(slots->file_map, slots->file_bytes);
	*slots = (struct slots){ 0 };
}

static int format(struct slots *slots)
{
	struct tollgate_slots_head *head = slots->head;
	int err;

	/* The head first: if the agent dies below, its magic is gone and the slots are not used. */
	memset(head, 0, sizeof(*head));
	memset(slots->list, 0, (size_t)slots->count * sizeof(*slots->list));
	err = crypto_random(&head->epoch, sizeof(head->epoch));
	if (err)
		return err;
	/* Never 0, and positive in the signed 64 bits of every store. */
	head->epoch = (head->epoch >> 1) | 1;
	head->abi = TOLLGATE_ABI;
	head->max_accounts = slots->count;
	head->next_generation = 1;
	return 0;
}

static enum slots_origin origin(const struct slots *slots, const uint8_t boot_id[16],
				const uint8_t store_id[16])
{
	const struct tollgate_slots_head *head = slots->head;

	if (memcmp(head->magic, TOLLGATE_SLOTS_MAGIC, sizeof(head->magic)) ||
	    head->abi != TOLLGATE_ABI || head->max_accounts != slots->count || !head->epoch)
		return SLOTS_NEW;
	if (memcmp(head->store_id, store_id, sizeof(head->store_id)))
		return SLOTS_OTHER_STORE;
	return memcmp(head->boot_id, boot_id, sizeof(head->boot_id)) ? SLOTS_OTHER_BOOT
								     : SLOTS_SAME_BOOT;
}

/* The agent that wrote this slot is gone, and so are the requests that it served. */
static void settle(struct tollgate_slot *slot, bool is_other_boot)
{
	slot->concurrency = 0;
	slot->refused_window = 0;
	if (slot->limits_seq & 1)
		slot->limits_seq++;
	for (unsigned i = 0; i < 2; i++) {
		struct tollgate_usage *usage = &slot->usage[i];

		/* The agent died while it opened the window. The old content is in the store. */
		if (usage->window == TOLLGATE_USAGE_BUSY)
			*usage = (struct tollgate_usage){ 0 };
		usage->collected = 0; /* write it again, since it may not have reached the store */
	}
	slot->quota_collected = 0;
	if (is_other_boot) {
		slot->tat_ns = 0;
		slot->drop_until_ns = 0;
		slot->closed_until_ns = 0;
		slot->closed_reason = 0;
	}
}

void slots_set_window(struct slots *slots, uint32_t window_seconds)
{
	atomic_write(&slots->head->window_seconds, window_seconds);
}

int slots_adopt(struct slots *slots, const uint8_t boot_id[16], const uint8_t store_id[16],
		uint32_t window_seconds)
{
	enum slots_origin from = origin(slots, boot_id, store_id);
	struct tollgate_slots_head *head = slots->head;
	int err;

	if (from == SLOTS_NEW || from == SLOTS_OTHER_STORE) {
		err = format(slots);
		if (err)
			return err;
	}
	slots->used = 0;
	slots->free_count = 0;
	for (uint32_t i = 0; i < slots->count; i++) {
		if (!slots->list[i].account_id)
			continue;
		settle(&slots->list[i], from == SLOTS_OTHER_BOOT);
		slots->used = i + 1;
	}
	for (uint32_t i = slots->used; i-- > 0;) {
		if (!slots->list[i].account_id)
			slots->free_list[slots->free_count++] = i;
	}
	memcpy(head->boot_id, boot_id, sizeof(head->boot_id));
	memcpy(head->store_id, store_id, sizeof(head->store_id));
	slots_set_window(slots, window_seconds);
	/* The magic last: if the agent dies above, the slots are not used. */
	memcpy(head->magic, TOLLGATE_SLOTS_MAGIC, sizeof(head->magic));
	return (int)from;
}

int64_t slots_take(struct slots *slots, uint64_t account_id)
{
	struct tollgate_slot *slot;
	uint32_t index;

	if (slots->free_count)
		index = slots->free_list[--slots->free_count];
	else if (slots->used < slots->count)
		index = slots->used++;
	else
		return -ENOSPC;
	slot = &slots->list[index];
	memset(slot, 0, sizeof(*slot));
	slot->generation = slots->head->next_generation++;
	if (!slots->head->next_generation)
		slots->head->next_generation = 1;
	atomic_write_release(&slot->account_id, account_id);
	return index;
}

void slots_give_back(struct slots *slots, uint32_t index)
{
	struct tollgate_slot *slot = &slots->list[index];

	atomic_write_release(&slot->account_id, 0);
	memset(slot, 0, sizeof(*slot));
	slots->free_list[slots->free_count++] = index;
}

/* Convert the debt to the new price of a unit. A bucket that had no rate has no debt. */
static void reprice_debt(struct tollgate_slot *slot, uint64_t interval_ns, uint64_t limit_ns,
			 uint64_t now_ns)
{
	__u64 old_ns = slot->interval_ns, tat_ns = atomic_read(&slot->tat_ns);
	__uint128_t debt_ns;
	uint64_t fresh_ns;

	if (old_ns == interval_ns && slot->limit_ns == limit_ns)
		return;
	do {
		debt_ns = tollgate_bucket_debt(tat_ns, now_ns);
		debt_ns = old_ns ? debt_ns * interval_ns / old_ns : 0;
		fresh_ns = now_ns + (debt_ns < limit_ns ? (uint64_t)debt_ns : limit_ns);
	} while (!atomic_compare_exchange(&slot->tat_ns, &tat_ns, fresh_ns));
}

/* Readers load the words one by one, so each store must be atomic; limits_seq orders them. */
#define PUT(field, value) atomic_write(&slot->field, (value))

void slot_set_limits(struct tollgate_slot *slot, const struct tier *tier, uint32_t tier_id,
		     bool is_open, uint64_t now_ns)
{
	static const struct tier none;
	uint32_t seq = slot->limits_seq;

	is_open = is_open && tier;
	if (!tier)
		tier = &none;
	atomic_write(&slot->limits_seq, seq + 1);
	atomic_fence_seq_cst();
	reprice_debt(slot, tier->interval_ns, tier->limit_ns, now_ns);
	PUT(interval_ns, tier->interval_ns);
	PUT(limit_ns, tier->limit_ns);
	PUT(features, tier->features);
	PUT(quota_limit, tier->quota);
	PUT(quota_period, (uint32_t)tier->period);
	PUT(concurrency_limit, tier->concurrency);
	PUT(tier, tier_id);
	PUT(state, is_open ? TOLLGATE_SLOT_OPEN : TOLLGATE_SLOT_INACTIVE);
	PUT(answers, tier->answers);
	PUT(closed_until_ns, 0);
	atomic_write_release(&slot->limits_seq, seq + 2);
}

void slot_set_periods(struct tollgate_slot *slot, uint64_t billing, uint64_t quota_span,
		      uint32_t grace_end_s)
{
	uint32_t seq = slot->limits_seq;

	atomic_write(&slot->limits_seq, seq + 1);
	atomic_fence_seq_cst();
	PUT(billing, billing);
	PUT(quota_span, quota_span);
	PUT(grace_end_s, grace_end_s);
	PUT(closed_until_ns, 0);
	atomic_write_release(&slot->limits_seq, seq + 2);
}

#define GET(field) atomic_read(&slot->field)

void slot_read_limits(const struct tollgate_slot *slot, struct slot_limits *ret_limits)
{
	uint32_t seq;

	do {
		seq = atomic_read_acquire(&slot->limits_seq);
		*ret_limits = (struct slot_limits){
			.interval_ns = GET(interval_ns),
			.limit_ns = GET(limit_ns),
			.features = GET(features),
			.quota_limit = GET(quota_limit),
			.quota_span = GET(quota_span),
			.quota_period = GET(quota_period),
			.concurrency_limit = GET(concurrency_limit),
			.tier = GET(tier),
			.state = GET(state),
			.grace_end_s = GET(grace_end_s),
		};
		atomic_fence_acquire();
	} while ((seq & 1) || seq != atomic_read(&slot->limits_seq));
}
