/* SPDX-License-Identifier: BSD-2-Clause */
/* tier: see tier.h. */
#include "config/tier.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

const struct tier *tiers_find(const struct tiers *tiers, const char *name)
{
	for (unsigned i = 0; i < tiers->count; i++) {
		if (!strcmp(tiers->list[i].name, name))
			return &tiers->list[i];
	}
	return NULL;
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
		free(tier->meter);
	}
	free(tiers->list);
	for (unsigned i = 0; i < tiers->feature_count; i++)
		free(tiers->features[i]);
	*tiers = (struct tiers){ 0 };
}
