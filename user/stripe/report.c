/* SPDX-License-Identifier: BSD-2-Clause */
/* report: start and stop of metering, Stripe's meters, and the arithmetic of windows. */
#include "stripe/report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "stripe/api.h"
#include "stripe/report_private.h"

#define TICK_MS		1000
#define CLOSE_TICKS	10
#define WINDOW_TICKS	300
#define PRUNE_TICKS	3600 /* often enough that each time there is little to delete */
#define KEPT_S		(70 * 86400ULL)
#define METERS_EVERY_MS (3600 * 1000ULL)
#define METERS_AGAIN_MS (60 * 1000ULL) /* while a meter is missing */

void report_identifier(uint64_t account, uint64_t window_start_s, uint32_t closing,
		       char ret_id[REPORT_ID_MAX])
{
	snprintf(ret_id, REPORT_ID_MAX, "tg_%016" PRIx64 "_%" PRIu64 "_%" PRIu32, account,
		 window_start_s, closing);
}

uint64_t report_timestamp(uint64_t window_start_s, uint32_t window_seconds, uint32_t closing,
			  uint64_t now_s)
{
	uint64_t back_s = 1 + 60ULL * closing, at_s = window_start_s;

	if (back_s < window_seconds)
		at_s += window_seconds - back_s;
	if (at_s > now_s)
		at_s = now_s;
	return at_s > window_start_s ? at_s : window_start_s;
}

uint32_t report_factor(uint64_t metered_accounts, uint64_t report_every_s,
		       uint32_t calls_per_second)
{
	uint64_t calls = report_every_s * calls_per_second / 2; /* per window */

	if (!calls || metered_accounts <= calls)
		return 1;
	return (uint32_t)((metered_accounts + calls - 1) / calls);
}

uint64_t report_now_s(const struct report *report)
{
	return (uint64_t)((int64_t)(clock_wall_ms() / 1000) + report->skew_s);
}

void report_note_date(struct report *report, const struct stripe_answer *answer)
{
	if (answer->date_s)
		report->skew_s = (int64_t)answer->date_s - (int64_t)(clock_wall_ms() / 1000);
}

/* ---- meters ---- */

static void copy_text(char *to, size_t size, const json_t *object, const char *name,
		      const char *otherwise)
{
	const char *text = json_string_value(json_object_get(object, name));

	snprintf(to, size, "%s", text ? text : otherwise);
}

static void on_meters(void *arg, const struct stripe_answer *answer)
{
	struct report *report = arg;
	const json_t *meter, *data = json_object_get(answer->body, "data");
	struct report_meter *meters;
	size_t i;

	report->is_fetching_meters = false;
	report_note_date(report, answer);
	if (answer->err) {
		log_warn("cannot fetch meters, so usage is reported later: %s", answer->why);
		return;
	}
	meters = calloc(json_array_size(data) + 1, sizeof(*meters));
	if (!meters)
		return;
	free(report->meters);
	report->meters = meters;
	report->meter_count = json_array_size(data);
	report->has_meters = true;
	json_array_foreach (data, i, meter) {
		copy_text(meters[i].event_name, sizeof(meters[i].event_name), meter, "event_name",
			  "");
		copy_text(meters[i].id, sizeof(meters[i].id), meter, "id", "");
		copy_text(meters[i].customer_key, sizeof(meters[i].customer_key),
			  json_object_get(meter, "customer_mapping"), "event_payload_key",
			  "stripe_customer_id");
		copy_text(meters[i].value_key, sizeof(meters[i].value_key),
			  json_object_get(meter, "value_settings"), "event_payload_key", "value");
	}
}

static void fetch_meters(struct report *report, uint64_t every_ms)
{
	const struct stripe_call call = {
		.method = "GET",
		.path = "/v1/billing/meters?status=active&limit=100",
	};
	uint64_t now_ms = clock_wall_ms();

	if (report->is_fetching_meters || report->is_stopped ||
	    (report->meters_ms && now_ms - report->meters_ms < every_ms))
		return;
	report->is_fetching_meters = true;
	report->meters_ms = now_ms;
	stripe_api_call(report->context->api, &call, on_meters, report);
}

const struct report_meter *report_find_meter(struct report *report, const char *event_name)
{
	for (size_t i = 0; i < report->meter_count; i++) {
		if (!strcmp(report->meters[i].event_name, event_name))
			return &report->meters[i];
	}
	if (report->has_meters && clock_wall_ms() - report->missed_ms >= METERS_AGAIN_MS) {
		log_error("Stripe has no active meter '%s', so its usage waits; create it at "
			  "Stripe",
			  event_name);
		report->missed_ms = clock_wall_ms();
	}
	fetch_meters(report, METERS_AGAIN_MS);
	return NULL;
}

void report_catalog_changed(struct report *report)
{
	if (!report->is_started)
		return;
	fetch_meters(report, 0);
}

static bool has_meter(const struct tiers *tiers)
{
	for (unsigned i = 0; i < tiers->count; i++) {
		if (tiers->list[i].meter)
			return true;
	}
	return false;
}

/* ---- windows ---- */

struct metered {
	const struct tiers *tiers;
	uint64_t accounts;
};

static void visit_metered(void *arg, const struct store_account *account, uint32_t slot)
{
	struct metered *metered = arg;
	const struct tier *tier = tiers_find(metered->tiers, account->tier);

	(void)slot;
	metered->accounts +=
		tier && tier->meter && account->customer[0] && account->status != STORE_CANCELED;
}

uint32_t report_window_seconds(struct report *report)
{
	const struct stripe_settings *settings = report->context->settings;
	uint64_t every_s = settings->report_every_ms / 1000;
	struct metered metered = { .tiers = report->context->tiers };
	uint32_t factor;

	if (has_meter(metered.tiers))
		mirror_each_account(report->context->mirror, visit_metered, &metered);
	factor = report_factor(metered.accounts, every_s, settings->calls_per_second);
	if (every_s * factor > 86400)
		factor = (uint32_t)(86400 / every_s);
	if (factor != report->factor && (factor > 1 || report->factor > 1))
		log_warn("%" PRIu64 " accounts have a meter: usage is reported every %" PRIu64
			 " s, to use at most half of %u calls per second",
			 metered.accounts, every_s * factor, settings->calls_per_second);
	report->factor = factor;
	return (uint32_t)(every_s * factor);
}

void report_configure(struct report *report)
{
	slots_set_window(report->context->slots, report_window_seconds(report));
}

/* ---- old usage ---- */

static void on_pruned(void *arg, int err)
{
	struct report *report = arg;

	if (err)
		log_warn("cannot delete old usage: %s", store_error(report->context->store));
}

static void prune(struct report *report)
{
	uint64_t before_s = clock_wall_ms() / 1000 - KEPT_S;
	struct store *store = report->context->store;

	store_usage_prune(store, before_s, on_pruned, report);
	store_tasks_prune(store, REPORT_QUEUE, before_s * 1000, on_pruned, report);
	store_tasks_prune(store, EARLY_QUEUE, before_s * 1000, on_pruned, report);
}

/* ---- life ---- */

static void on_tick(uv_timer_t *timer)
{
	struct report *report = timer->data;

	if (report->ticks % WINDOW_TICKS == 0)
		report_configure(report);
	if (!stripe_is_holder(report->context) || !report->is_tallied) {
		report->is_tallied = report->is_tallied && stripe_is_holder(report->context);
		report->ticks++;
		return;
	}
	if (has_meter(report->context->tiers))
		fetch_meters(report, report->has_meters ? METERS_EVERY_MS : METERS_AGAIN_MS / 6);
	if (report->ticks % PRUNE_TICKS == PRUNE_TICKS - 1)
		prune(report);
	if (report->ticks++ % CLOSE_TICKS == 0 || !LIST_EMPTY(&report->early))
		report_close(report);
	report_send(report);
}

struct report *report_new(const struct stripe_context *context)
{
	struct report *report = calloc(1, sizeof(*report));

	if (!report)
		return NULL;
	report->context = context;
	uv_timer_init(context->loop, &report->timer);
	uv_unref((uv_handle_t *)&report->timer);
	report->timer.data = report;
	return report;
}

void report_start_ticking(struct report *report)
{
	report->is_tallied = true;
	report->ticks = 0;
	if (!report->is_stopped)
		uv_timer_start(&report->timer, on_tick, 0, TICK_MS);
}

void report_start(struct report *report)
{
	report->is_started = true;
	report_configure(report);
	uv_timer_start(&report->timer, on_tick, TICK_MS, TICK_MS);
}

static void forget_early(struct report *report)
{
	struct early_close *early;

	while ((early = LIST_FIRST(&report->early))) {
		LIST_REMOVE(early, entry);
		free(early);
	}
}

void report_hold(struct report *report)
{
	report->is_tallied = false;
	forget_early(report);
	report_load_early(report); /* continues with report_tally(), which starts the ticks */
}

const struct report_counters *report_counters(const struct report *report)
{
	return &report->counters;
}

void report_stop(struct report *report)
{
	if (!report || report->is_stopped)
		return;
	report->is_stopped = true;
	uv_close((uv_handle_t *)&report->timer, NULL);
}

void report_free(struct report *report)
{
	if (!report)
		return;
	forget_early(report);
	free(report->current);
	for (size_t i = 0; i < report->task_count; i++)
		free(report->tasks[i].body);
	free(report->tasks);
	free(report->rows);
	report_done_sending(report);
	free(report->meters);
	free(report);
}
