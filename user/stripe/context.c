/* SPDX-License-Identifier: BSD-2-Clause */
/* context: see context.h. */
#include "stripe/context.h"

#include "base/clock.h"

bool stripe_is_holder(const struct stripe_context *context)
{
	return clock_mono_ns() < context->held_until_ns;
}
