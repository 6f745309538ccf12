/* SPDX-License-Identifier: BSD-2-Clause */
/* tier: see tier.h. */
#include "config/tier.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tollgate/bucket.h"

const struct tier *tiers_find(const struct tiers *tiers, const char *name)
{
	for (unsigned i = 0; i < tiers->count; i++) {
		if (!strcmp(tiers->list[i].name, name))
			return &tiers->list[i];
	}
	return NULL;
}

const char *tier_price(const struct tier *tier, unsigned i)
{
	if (i < tier->price_count)
		return tier->prices[i];
	i -= tier->price_count;
	return i < tier->extra_price_count ? tier->extra_prices[i] : NULL;
}

static uint64_t times(uint64_t value, uint32_t factor, uint64_t most)
{
	return value > most / factor ? most : value * factor;
}

void tier_for_seats(const struct tier *tier, uint32_t seats, struct tier *ret)
{
	*ret = *tier;
	if (!tier->is_per_seat || seats < 2)
		return;
	/* Rounded up, so that nobody gets more than they bought. */
	ret->interval_ns = tier->interval_ns / seats + (tier->interval_ns % seats != 0);
	if (ret->interval_ns) {
		ret->burst =
			times(tier->burst, seats, (TOLLGATE_BUCKET_MAX_NS - 1) / ret->interval_ns);
		ret->limit_ns = ret->burst * ret->interval_ns;
	}
	ret->quota = times(tier->quota, seats, TOLLGATE_QUOTA_MAX);
	ret->concurrency = (uint32_t)times(tier->concurrency, seats, UINT32_MAX);
	ret->answers = TOLLGATE_NO_ANSWERS;
}

int tiers_feature(struct tiers *tiers, struct text name)
{
	unsigned bit = 0;

	while (bit < tiers->feature_count && !text_is(name, tiers->features[bit]))
		bit++;
	if (bit < tiers->feature_count)
		return (int)bit;
	if (bit == TIER_MAX_FEATURES)
		return -ENOSPC;
	tiers->features[bit] = text_dup(name);
	if (!tiers->features[bit])
		return -ENOMEM;
	tiers->feature_count++;
	return (int)bit;
}

static uint64_t renumber(uint64_t features, const int bits[TIER_MAX_FEATURES])
{
	uint64_t fresh = 0;

	for (unsigned i = 0; i < TIER_MAX_FEATURES; i++) {
		if (features & 1ULL << i)
			fresh |= 1ULL << bits[i];
	}
	return fresh;
}

int tiers_keep_features(struct tiers *fresh, const struct tiers *old,
			int ret_bits[TIER_MAX_FEATURES])
{
	struct tiers names = { 0 };
	int err = 0;

	for (unsigned i = 0; i < old->feature_count && err >= 0; i++)
		err = tiers_feature(&names, text_of(old->features[i]));
	for (unsigned i = 0; i < fresh->feature_count && err >= 0; i++) {
		err = tiers_feature(&names, text_of(fresh->features[i]));
		ret_bits[i] = err;
	}
	if (err < 0) {
		tiers_done(&names);
		return err;
	}
	for (unsigned i = 0; i < fresh->count; i++)
		fresh->list[i].features = renumber(fresh->list[i].features, ret_bits);
	for (unsigned i = 0; i < fresh->feature_count; i++)
		free(fresh->features[i]);
	memcpy(fresh->features, names.features, sizeof(fresh->features));
	fresh->feature_count = names.feature_count;
	return 0;
}

void tiers_done(struct tiers *tiers)
{
	if (!tiers)
		return;
	for (unsigned i = 0; i < tiers->count; i++) {
		struct tier *tier = &tiers->list[i];

		free(tier->name);
		for (unsigned j = 0; j < tier->price_count; j++)
			free(tier->prices[j]);
		free(tier->prices);
		for (unsigned j = 0; j < tier->extra_price_count; j++)
			free(tier->extra_prices[j]);
		free(tier->extra_prices);
		free(tier->meter);
	}
	free(tiers->list);
	for (unsigned i = 0; i < tiers->feature_count; i++)
		free(tiers->features[i]);
	*tiers = (struct tiers){ 0 };
}
