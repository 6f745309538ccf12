/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * catalog: see catalog.h.
 *
 * The configuration does not say whether a name is an ID, a lookup key or a product, so each lookup
 * asks Stripe in up to three ways, the most likely one first.
 */
#include "stripe/catalog.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/array.h"
#include "base/log.h"
#include "stripe/field.h"
#include "http/form.h"

#define REFRESH_MS (60 * 60 * 1000ULL)
#define SOON_MS	   200 /* so that the events of one change cause only one refresh */
#define RETRY_MS   30000

struct entry {
	char *name; /* owned */
	struct catalog_price price;
};

/* The lookup of one name. */
struct lookup {
	LIST_ENTRY(lookup) entry; /* in the catalog's lookups */
	struct catalog *catalog;  /* borrowed */
	char name[SUBSCRIPTION_NAME_MAX];
	unsigned way; /* how many ways of asking have failed */
	catalog_done done;
	void *arg;
	bool is_interactive;
};

struct catalog {
	const struct stripe_context *context; /* borrowed */
	struct entry *entries;		      /* owned */
	unsigned count;
	size_t room;
	LIST_HEAD(, lookup) lookups; /* owned: in progress */
	uv_timer_t timer;
	unsigned at;	 /* the entry that the background refresh has reached */
	unsigned failed; /* lookups that failed in this refresh */
	bool is_running; /* a refresh is in progress */
	bool is_again;	 /* start over: something changed during the refresh */
	bool is_stopped;
};

/* ---- reading ---- */

/*
 * https://docs.stripe.com/currencies#zero-decimal. UGX and ISK no longer have decimals, but Stripe
 * still gives their amounts in hundredths (see #special-cases there).
 */
static unsigned decimals_of(const char *currency)
{
	static const char none[] = "BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF";
	static const char three[] = "BHD JOD KWD OMR TND";

	if (strlen(currency) != 3)
		return 2;
	return strstr(none, currency) ? 0 : strstr(three, currency) ? 3 : 2;
}

bool catalog_format_amount(const char *amount, const char *currency, char ret_text[40])
{
	char digits[64];
	unsigned decimals = decimals_of(currency);
	size_t whole = strspn(amount, "0123456789"), len = strlen(amount), cut;
	const char *rest = amount + whole + (amount[whole] == '.');

	if (!whole || strspn(rest, "0123456789") != strlen(rest) || len > 30 ||
	    (amount[whole] == '.' && !*rest))
		return false;
	/* Pad with zeros, so that there is a digit before the decimal point. */
	snprintf(digits, sizeof(digits), "%.*s%.*s%s",
		 whole <= decimals ? (int)(decimals + 1 - whole) : 0, "0000", (int)whole, amount,
		 rest);
	cut = (whole <= decimals ? decimals + 1 : whole) - decimals;
	if (digits[cut])
		snprintf(ret_text, 40, "%.*s.%s", (int)cut, digits, digits + cut);
	else
		snprintf(ret_text, 40, "%.39s", digits);
	return true;
}

/* Format @name or, with a fraction, @name_decimal of a step. */
static void read_step_amount(const json_t *step, const char *name, const char *decimal_name,
			     const char *currency, char ret[40])
{
	const char *decimal = field_text(step, decimal_name);
	char digits[32];

	if (!decimal) {
		snprintf(digits, sizeof(digits), "%llu", (unsigned long long)field_u64(step, name));
		decimal = digits;
	}
	if (!catalog_format_amount(decimal, currency, ret))
		snprintf(ret, 40, "0");
}

/* A price with more steps than there is room for is shown at checkout only. */
static void read_steps(const json_t *object, struct catalog_price *p)
{
	const char *mode = field_text(object, "tiers_mode");
	const json_t *step, *steps = field_at(object, "tiers");
	size_t i;

	if (!json_is_array(steps) || json_array_size(steps) > CATALOG_MAX_STEPS)
		return;
	p->is_volume = mode && !strcmp(mode, "volume");
	json_array_foreach (steps, i, step) {
		struct catalog_step *to = &p->steps[i];

		to->up_to = field_u64(step, "up_to");
		read_step_amount(step, "unit_amount", "unit_amount_decimal", p->currency,
				 to->amount);
		read_step_amount(step, "flat_amount", "flat_amount_decimal", p->currency, to->flat);
		p->step_count++;
	}
}

static bool read_price(const json_t *object, struct catalog_price *p)
{
	const char *usage = field_text(object, "recurring.usage_type");
	const char *decimal = field_text(object, "unit_amount_decimal");
	const json_t *amount = field_at(object, "unit_amount");
	char digits[32];

	*p = (struct catalog_price){ 0 };
	if (!json_is_object(field_at(object, "recurring")) || !field_bool(object, "active") ||
	    !field_copy(field_text(object, "id"), p->id, sizeof(p->id)) || !p->id[0])
		return false;
	field_copy(field_text(object, "currency"), p->currency, sizeof(p->currency));
	for (char *c = p->currency; *c; c++)
		*c = (char)toupper((unsigned char)*c);
	field_copy(field_text(object, "recurring.interval"), p->interval, sizeof(p->interval));
	p->interval_count = (uint32_t)field_u64(object, "recurring.interval_count");
	p->is_metered = usage && !strcmp(usage, "metered");
	if (!decimal && json_is_integer(amount)) {
		snprintf(digits, sizeof(digits), "%lld", (long long)json_integer_value(amount));
		decimal = digits;
	}
	if (decimal && !catalog_format_amount(decimal, p->currency, p->amount))
		p->amount[0] = '\0';
	p->divide_by = field_u64(object, "transform_quantity.divide_by");
	field_copy_words(field_text(object, "product.unit_label"), p->unit, sizeof(p->unit));
	read_steps(object, p);
	return true;
}

bool catalog_read(const json_t *object, struct catalog_price *ret_price)
{
	const json_t *list = field_at(object, "data"), *item;
	const char *kind = field_text(object, "object");
	struct catalog_price price;
	size_t i;

	/* Every other price of a product may be meant for a single customer. */
	if (kind && !strcmp(kind, "product")) {
		if (!read_price(field_at(object, "default_price"), &price))
			return false;
		field_copy_words(field_text(object, "unit_label"), price.unit, sizeof(price.unit));
		*ret_price = price;
		return true;
	}

	if (!json_is_array(list)) {
		if (!read_price(object, &price))
			return false;
		*ret_price = price;
		return true;
	}
	json_array_foreach (list, i, item) {
		if (read_price(item, &price)) {
			*ret_price = price;
			return true;
		}
	}
	return false;
}

/* ---- one lookup ---- */

enum way { BY_ID, BY_LOOKUP_KEY, BY_PRODUCT, WAY_COUNT };

/* The path with which to ask in @lookup's current way. */
static int write_path(struct buf *path, const struct lookup *lookup)
{
	static const enum way ways[][WAY_COUNT] = {
		{ BY_LOOKUP_KEY, BY_ID, BY_PRODUCT },
		{ BY_ID, BY_LOOKUP_KEY, BY_PRODUCT },
		{ BY_PRODUCT, BY_LOOKUP_KEY, BY_ID },
	};
	static const char *const starts[] = {
		[BY_ID] = "/v1/prices/",
		[BY_LOOKUP_KEY] = "/v1/prices?active=true&limit=1&lookup_keys[0]=",
		[BY_PRODUCT] = "/v1/products/",
	};
	static const char *const ends[] = {
		[BY_ID] = "?expand[0]=product&expand[1]=tiers",
		[BY_LOOKUP_KEY] = "&expand[0]=data.product&expand[1]=data.tiers",
		[BY_PRODUCT] = "?expand[0]=default_price&expand[1]=default_price.tiers",
	};
	struct text name = text_of(lookup->name);
	unsigned kind = text_starts(name, TEXT("prod_"))    ? 2
			: text_starts(name, TEXT("price_")) ? 1
							    : 0;
	enum way way = ways[kind][lookup->way];
	int err = buf_append_str(path, starts[way]);

	if (!err)
		err = form_encode(path, lookup->name);
	if (!err)
		err = buf_append_str(path, ends[way]);
	return err ? err : buf_append(path, "", 1);
}

static struct entry *find_entry(const struct catalog *catalog, const char *name)
{
	for (unsigned i = 0; i < catalog->count; i++) {
		if (!strcmp(catalog->entries[i].name, name))
			return &catalog->entries[i];
	}
	return NULL;
}

static void lookup_end(struct lookup *lookup, const struct catalog_price *price,
		       const struct stripe_answer *why)
{
	struct entry *entry = find_entry(lookup->catalog, lookup->name);
	catalog_done done = lookup->done;
	void *arg = lookup->arg;

	/* If Stripe could not be asked, keep what is known; only an answer replaces it. */
	if (entry && (price || !why))
		entry->price = price ? *price : (struct catalog_price){ 0 };
	LIST_REMOVE(lookup, entry);
	free(lookup);
	done(arg, price, why);
}

static void lookup_ask(struct lookup *lookup);

static void on_answer(void *arg, const struct stripe_answer *answer)
{
	struct lookup *lookup = arg;
	struct catalog_price price;
	bool is_no = answer->err == -EREMOTEIO && (answer->status == 404 || answer->status == 400);

	if (!answer->err && catalog_read(answer->body, &price))
		lookup_end(lookup, &price, NULL);
	else if (answer->err && !is_no)
		lookup_end(lookup, NULL, answer);
	else if (++lookup->way == WAY_COUNT)
		lookup_end(lookup, NULL, NULL);
	else
		lookup_ask(lookup);
}

static void lookup_ask(struct lookup *lookup)
{
	struct stripe_answer failure = { .err = -ENOMEM, .message = "", .why = "" };
	struct buf path;

	buf_init(&path, 4096);
	if (write_path(&path, lookup))
		lookup_end(lookup, NULL, &failure);
	else
		stripe_api_call(lookup->catalog->context->api,
				&(struct stripe_call){ .method = "GET",
						       .path = buf_head(&path),
						       .is_interactive = lookup->is_interactive },
				on_answer, lookup);
	buf_done(&path);
}

static void look_up(struct catalog *catalog, const char *name, bool is_interactive,
		    catalog_done done, void *arg)
{
	struct lookup *lookup = calloc(1, sizeof(*lookup));

	if (!lookup) {
		done(arg, NULL,
		     &(struct stripe_answer){ .err = -ENOMEM, .message = "", .why = "" });
		return;
	}
	*lookup = (struct lookup){
		.catalog = catalog, .done = done, .arg = arg, .is_interactive = is_interactive
	};
	LIST_INSERT_HEAD(&catalog->lookups, lookup, entry);
	snprintf(lookup->name, sizeof(lookup->name), "%s", name);
	lookup_ask(lookup);
}

/* ---- all of them ---- */

static bool is_named(const struct catalog *catalog, const char *name)
{
	const struct tiers *tiers = catalog->context->tiers;
	const char *known;

	for (unsigned i = 0; i < tiers->count; i++) {
		for (unsigned k = 0; (known = tier_price(&tiers->list[i], k)); k++) {
			if (!strcmp(known, name))
				return true;
		}
	}
	return false;
}

static void add_name(struct catalog *catalog, const char *name)
{
	char *copy;

	if (find_entry(catalog, name) || strlen(name) >= SUBSCRIPTION_NAME_MAX)
		return;
	/* The configuration limits the number of names. */
	if (array_reserve(catalog->entries, catalog->room, catalog->count + (size_t)1,
			  ARRAY_NO_LIMIT))
		return;
	copy = strdup(name);
	if (copy)
		catalog->entries[catalog->count++] = (struct entry){ .name = copy };
}

/* Make the entries match the names that tiers have now. Entries that stay keep their price. */
static void take_names(struct catalog *catalog)
{
	const struct tiers *tiers = catalog->context->tiers;
	const char *name;
	unsigned kept = 0;

	for (unsigned i = 0; i < catalog->count; i++) {
		if (is_named(catalog, catalog->entries[i].name))
			catalog->entries[kept++] = catalog->entries[i];
		else
			free(catalog->entries[i].name);
	}
	catalog->count = kept;
	for (unsigned i = 0; i < tiers->count; i++) {
		for (unsigned k = 0; (name = tier_price(&tiers->list[i], k)); k++)
			add_name(catalog, name);
	}
}

static void on_timer(uv_timer_t *timer);

static void look_up_next(struct catalog *catalog);

static void on_looked_up(void *arg, const struct catalog_price *price,
			 const struct stripe_answer *why)
{
	struct catalog *catalog = arg;
	const char *name = catalog->entries[catalog->at].name;

	if (why) {
		catalog->failed++;
		log_debug("cannot look up price '%s': %s", name, why->why);
	} else if (!price) {
		log_warn("price '%s' of a tier is not an active recurring price at Stripe", name);
	}
	catalog->at++;
	look_up_next(catalog);
}

static void look_up_next(struct catalog *catalog)
{
	if (catalog->is_stopped)
		return;
	/* After a failure the other lookups would likely fail too, so retry later. */
	if (catalog->at < catalog->count && !catalog->failed && !catalog->is_again) {
		look_up(catalog, catalog->entries[catalog->at].name, false, on_looked_up, catalog);
		return;
	}
	catalog->is_running = false;
	uv_timer_start(&catalog->timer, on_timer,
		       catalog->is_again ? SOON_MS
		       : catalog->failed ? RETRY_MS
					 : REFRESH_MS,
		       0);
	catalog->is_again = false;
}

static void on_timer(uv_timer_t *timer)
{
	struct catalog *catalog = timer->data;

	catalog->is_running = true;
	catalog->at = 0;
	catalog->failed = 0;
	take_names(catalog);
	look_up_next(catalog);
}

struct catalog *catalog_new(const struct stripe_context *context)
{
	struct catalog *catalog = calloc(1, sizeof(*catalog));

	if (!catalog)
		return NULL;
	catalog->context = context;
	uv_timer_init(context->loop, &catalog->timer);
	uv_unref((uv_handle_t *)&catalog->timer);
	catalog->timer.data = catalog;
	return catalog;
}

void catalog_refresh(struct catalog *catalog)
{
	if (catalog->is_stopped)
		return;
	if (catalog->is_running)
		catalog->is_again = true;
	else
		uv_timer_start(&catalog->timer, on_timer, SOON_MS, 0);
}

const struct catalog_price *catalog_find(const struct catalog *catalog, const char *name)
{
	const struct entry *entry = find_entry(catalog, name);

	return entry && entry->price.id[0] ? &entry->price : NULL;
}

void catalog_resolve(struct catalog *catalog, const char *name, catalog_done done, void *arg)
{
	const struct catalog_price *price = catalog_find(catalog, name);

	if (price)
		done(arg, price, NULL);
	else
		look_up(catalog, name, true, done, arg);
}

void catalog_stop(struct catalog *catalog)
{
	if (!catalog || catalog->is_stopped)
		return;
	catalog->is_stopped = true;
	uv_close((uv_handle_t *)&catalog->timer, NULL);
}

void catalog_free(struct catalog *catalog)
{
	struct lookup *lookup;

	if (!catalog)
		return;
	while ((lookup = LIST_FIRST(&catalog->lookups))) {
		LIST_REMOVE(lookup, entry);
		free(lookup);
	}
	for (unsigned i = 0; i < catalog->count; i++)
		free(catalog->entries[i].name);
	free(catalog->entries);
	free(catalog);
}
