/* SPDX-License-Identifier: BSD-2-Clause */
/* tier: what an account bought. */
#include "enforce/tier.h"

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
