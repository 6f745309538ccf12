/* SPDX-License-Identifier: BSD-2-Clause */
/* registry_subscription: a subscription's state for tests of the registry, and the account it made.
 */
#ifndef UNIT_REGISTRY_SUBSCRIPTION_H
#define UNIT_REGISTRY_SUBSCRIPTION_H

#include "unit/enforce/registry_fixture.h"

#define AS_OF_S 1700000000ULL

static struct registry_subscription make_subscription(void)
{
	return (struct registry_subscription){ .subscription = "sub_1",
					       .customer = "cus_1",
					       .email = "a@example.com",
					       .tier = "basic",
					       .price = "price_1",
					       .label = "a label",
					       .status = STORE_ACTIVE,
					       .period_start_s = AS_OF_S - 1000,
					       .period_end_s = AS_OF_S + 1000,
					       .as_of_s = AS_OF_S,
					       .now_s = AS_OF_S + 100000 };
}

static const struct answer *apply(struct world *w, const struct registry_subscription *s)
{
	registry_subscription_apply(w->registry, s, on_answer, w);
	return wait_for(w);
}

static struct store_account known(struct world *w, const char *subscription)
{
	struct store_account account;
	uint32_t slot;

	assert_true(mirror_account_by_subscription(w->f->mirror, subscription, &account, &slot));
	return account;
}

#endif
