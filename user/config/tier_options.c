/* SPDX-License-Identifier: BSD-2-Clause */
/* tier_options: the options of a tier. */
#include "config/parts.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "tollgate/bucket.h"

#define MAX_BURST	1000000000
#define LEAST_BURST	10 /* of a default */
#define MAX_CONCURRENCY 1000000
#define MAX_TRIAL_DAYS	730 /* Stripe accepts no more */
#define MAX_ITEMS	20  /* Stripe accepts no more prices in one subscription */
#define MAX_GRACE_MS	(365 * 86400000ULL)
#define NO_GRACE	UINT64_MAX /* not set: use the grace of `stripe` */

/*
 * The default burst of a valid rate of N units in a period T: N, so that a client that never uses
 * more than N units in any T is never refused. This is what "100 requests per 60 seconds" means to
 * most people: in any time t such a client uses at most N + N * t / T units, the burst and what the
 * rate adds. Less than ten would refuse clients that merely send a few requests at once, so the
 * burst is at least ten if the rate allows ten in a minute, or else what it allows in a minute.
 */
static uint64_t default_burst(struct text rate, uint64_t interval_ns)
{
	const char *slash = memchr(rate.ptr, '/', rate.len);
	uint64_t a_minute = 60 * NS_PER_SECOND / interval_ns, least, count = 0;

	text_parse_u64((struct text){ rate.ptr, (size_t)(slash - rate.ptr) }, UINT64_MAX, &count);
	least = a_minute < LEAST_BURST ? a_minute : LEAST_BURST;
	if (count < least)
		return least;
	return count < MAX_BURST ? count : MAX_BURST;
}

static void set_rate(struct conf *conf, const struct conf_node *node,
		     const struct conf_option *option, void *record)
{
	struct tier *tier = record;
	struct text t;

	(void)option;
	if (!conf_text(conf, node, &t))
		return;
	if (text_parse_rate(t, &tier->interval_ns))
		conf_error(conf, node,
			   "'%.*s' is not a valid rate; use a whole number, for example 10/s, 30/m "
			   "or 3600/h",
			   CONF_SHOWN(t));
	else
		/* The option `burst` is read next and replaces it. */
		tier->burst = default_burst(t, tier->interval_ns);
}

/* Read a quota such as "10000/month". */
static void set_quota(struct conf *conf, const struct conf_node *node,
		      const struct conf_option *option, void *record)
{
	struct tier *tier = record;
	struct text t, units, period;
	const char *slash;

	(void)option;
	if (!conf_text(conf, node, &t))
		return;
	slash = t.len ? memchr(t.ptr, '/', t.len) : NULL;
	units = (struct text){ t.ptr, slash ? (size_t)(slash - t.ptr) : 0 };
	period = slash ? (struct text){ slash + 1, t.len - units.len - 1 } : TEXT("");
	if (text_parse_u64(units, TOLLGATE_QUOTA_MAX, &tier->quota) || !tier->quota ||
	    (!text_is(period, "day") && !text_is(period, "month"))) {
		conf_error(
			conf, node,
			"'%.*s' is not a valid quota; use a whole number up to %llu, for example "
			"1000/day or 10000/month",
			CONF_SHOWN(t), TOLLGATE_QUOTA_MAX);
		return;
	}
	tier->period = text_is(period, "day") ? TOLLGATE_PERIOD_DAY : TOLLGATE_PERIOD_MONTH;
}

int config_read_feature(struct conf *conf, const struct conf_node *node)
{
	struct config *config = conf_owner(conf);
	struct text name;
	int bit;

	if (!conf_name(conf, node, &name))
		return -1;
	bit = tiers_feature(&config->tiers, name);
	if (bit >= 0)
		return bit;
	if (bit == -ENOSPC)
		conf_error(conf, node,
			   "feature '%.*s' is one too many; there may be at most %d different "
			   "features",
			   CONF_SHOWN(name), TIER_MAX_FEATURES);
	else
		conf_no_memory(conf);
	return -1;
}

static void set_features(struct conf *conf, const struct conf_node *node,
			 const struct conf_option *option, void *record)
{
	int items = conf_list(conf, node);
	struct tier *tier = record;

	(void)option;
	for (int i = 0; i < items; i++) {
		int bit = config_read_feature(conf, conf_item(conf, node, i));

		if (bit >= 0)
			tier->features |= 1ULL << bit;
	}
}

/*
 * The tier in which price @last of @tier appears before: an earlier tier or @tier itself. NULL if
 * none.
 */
static const struct tier *find_price(const struct tiers *tiers, const struct tier *tier,
				     unsigned last)
{
	for (const struct tier *t = tiers->list; t <= tier; t++) {
		for (unsigned i = 0; i < (t == tier ? last : t->price_count); i++) {
			if (!strcmp(t->prices[i], tier->prices[last]))
				return t;
		}
	}
	return NULL;
}

/* Whether @name is among the @count @names. */
static bool is_among(const char *name, char **names, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		if (!strcmp(names[i], name))
			return true;
	}
	return false;
}

/*
 * A price that selects a tier cannot be an extra of another one, because a subscription with both
 * would have two tiers.
 */
static void check_extras(struct conf *conf, const struct conf_node *mapping,
			 const struct tier *tier)
{
	const struct config *config = conf_owner(conf);
	const struct conf_node *extras = conf_find(conf, mapping, "extra_prices");

	if (extras && !tier->price_count)
		conf_error(conf, extras, "'extra_prices' needs the option 'prices'");
	if (extras && tier->price_count && tier->extra_price_count >= MAX_ITEMS)
		conf_error(conf, extras,
			   "too many extra prices; use up to %d, because Stripe sells at most %d "
			   "prices together",
			   MAX_ITEMS - 1, MAX_ITEMS);
	for (const struct tier *t = config->tiers.list; t <= tier; t++) {
		for (unsigned i = 0; i < tier->extra_price_count; i++) {
			if (is_among(tier->extra_prices[i], t->prices, t->price_count))
				conf_error(conf, conf_item(conf, extras, (int)i),
					   "price '%s' selects tier '%s', so it cannot be an "
					   "extra price; remove it from one of the two",
					   tier->extra_prices[i], t->name ? t->name : "");
		}
		for (unsigned i = 0; t < tier && i < t->extra_price_count; i++) {
			if (is_among(t->extra_prices[i], tier->prices, tier->price_count))
				conf_error(conf, conf_find(conf, mapping, "prices"),
					   "price '%s' is an extra price of tier '%s', so it "
					   "cannot select a tier; remove it from one of the two",
					   t->extra_prices[i], t->name ? t->name : "");
		}
	}
}

static void check_sale(struct conf *conf, const struct conf_node *mapping, const struct tier *tier)
{
	static const char *const names[] = { "trial_days", "per_seat" };

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]) && !tier->price_count; i++) {
		const struct conf_node *node = conf_find(conf, mapping, names[i]);

		if (node)
			conf_error(conf, node, "'%s' needs the option 'prices'", names[i]);
	}
	if (tier->is_self_service && tier->price_count)
		conf_error(conf, conf_find(conf, mapping, "self_service"),
			   "a tier with prices cannot be free; remove 'self_service' or 'prices'");
	check_extras(conf, mapping, tier);
}

static void finish_tier(struct conf *conf, const struct conf_node *mapping, void *record)
{
	const struct config *config = conf_owner(conf);
	const struct conf_node *burst = conf_find(conf, mapping, "burst");
	struct tier *tier = record;

	if (burst && !tier->interval_ns)
		conf_error(conf, burst, "a burst needs the option 'rate'");
	else if (tier->interval_ns &&
		 tier->burst > (TOLLGATE_BUCKET_MAX_NS - 1) / tier->interval_ns)
		conf_error(conf, burst ? burst : mapping,
			   "a burst of %llu is too large for this rate",
			   (unsigned long long)tier->burst);
	else
		tier->limit_ns = tier->burst * tier->interval_ns;
	for (unsigned i = 0; i < tier->price_count; i++) {
		const struct tier *other = find_price(&config->tiers, tier, i);

		if (other)
			conf_error(conf,
				   conf_item(conf, conf_find(conf, mapping, "prices"), (int)i),
				   "price '%s' already belongs to tier '%s'", tier->prices[i],
				   other->name ? other->name : "");
	}
	check_sale(conf, mapping, tier);
}

static const struct conf_word limit_words[] = { { "host", false },
						{ "shared", true },
						{ NULL, 0 } };

static void set_limit(struct conf *conf, const struct conf_node *node,
		      const struct conf_option *option, void *record)
{
	struct conf_option into = *option;
	struct tier *tier = record;
	unsigned is_shared = false;

	into.offset = 0;
	conf_set_word(conf, node, &into, &is_shared);
	tier->is_shared = is_shared;
}

static const struct conf_option tier_options[] = {
	{ .name = "name",
	  .set = conf_set_name,
	  .offset = offsetof(struct tier, name),
	  .is_required = true,
	  .is_unique = true },
	{ .name = "prices",
	  .set = conf_set_texts,
	  .offset = offsetof(struct tier, prices),
	  .count_offset = offsetof(struct tier, price_count) },
	{ .name = "extra_prices",
	  .set = conf_set_texts,
	  .offset = offsetof(struct tier, extra_prices),
	  .count_offset = offsetof(struct tier, extra_price_count) },
	{ .name = "trial_days",
	  .set = conf_set_u32,
	  .offset = offsetof(struct tier, trial_days),
	  .min = 1,
	  .max = MAX_TRIAL_DAYS },
	{ .name = "self_service",
	  .set = conf_set_bool,
	  .offset = offsetof(struct tier, is_self_service),
	  .standard = "false" },
	{ .name = "per_seat",
	  .set = conf_set_bool,
	  .offset = offsetof(struct tier, is_per_seat),
	  .standard = "false" },
	{ .name = "rate", .set = set_rate },
	{ .name = "burst",
	  .set = conf_set_u64,
	  .offset = offsetof(struct tier, burst),
	  .min = 1,
	  .max = MAX_BURST },
	{ .name = "quota", .set = set_quota },
	{ .name = "concurrency",
	  .set = conf_set_u32,
	  .offset = offsetof(struct tier, concurrency),
	  .min = 1,
	  .max = MAX_CONCURRENCY },
	{ .name = "limit", .set = set_limit, .words = limit_words, .standard = "host" },
	{ .name = "features", .set = set_features },
	{ .name = "entitlements",
	  .set = conf_set_bool,
	  .offset = offsetof(struct tier, uses_entitlements),
	  .standard = "false" },
	{ .name = "grace",
	  .set = conf_set_duration,
	  .offset = offsetof(struct tier, grace_ms),
	  .max = MAX_GRACE_MS },
	{ .name = "meter", .set = conf_set_name, .offset = offsetof(struct tier, meter) },
};

static const struct tier initial_tier = { .grace_ms = NO_GRACE };

const struct conf_schema tier_schema = {
	CONF_SCHEMA(tier_options), .noun = "a tier",	  .record_size = sizeof(struct tier),
	.initial = &initial_tier,  .finish = finish_tier,
};

void config_tiers_fill(struct config *config)
{
	for (unsigned i = 0; i < config->tiers.count; i++) {
		struct tier *tier = &config->tiers.list[i];

		if (tier->grace_ms == NO_GRACE)
			tier->grace_ms = config->stripe.grace_ms;
	}
}
