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

#define TICK_MS	     1000
#define AHEAD_S	     240 /* Stripe accepts timestamps of up to 5 minutes ahead */
#define CLOSE_TICKS  10
#define WINDOW_TICKS 300
#define RETRY_TICKS  10
#define FUTURE_TICKS 300
#define PRUNE_TICKS  3600 /* often enough that each time there is little to delete */
#define KEPT_S	     (70 * 86400ULL)

void report_identifier(const struct store_usage *window, uint32_t closing,
		       char ret_id[REPORT_ID_MAX])
{
	snprintf(ret_id, REPORT_ID_MAX, "tg_%016" PRIx64 "_%" PRIu64 "_%" PRIu32 "_%" PRIu32,
		 window->account, window->window_start_s, window->window_seconds, closing);
}

void report_old_identifier(const struct store_usage *window, uint32_t closing,
			   char ret_id[REPORT_ID_MAX])
{
	snprintf(ret_id, REPORT_ID_MAX, "tg_%016" PRIx64 "_%" PRIu64 "_%" PRIu32, window->account,
		 window->window_start_s, closing);
}

uint64_t report_timestamp(uint64_t window_start_s, uint32_t window_seconds, uint32_t closing,
			  uint64_t now_s)
{
	uint64_t back_s = 1 + 60ULL * closing, at_s = window_start_s;

	if (back_s < window_seconds)
		at_s += window_seconds - back_s;
	if (at_s <= now_s)
		return at_s;
	return window_start_s <= now_s + AHEAD_S && window_start_s > now_s ? window_start_s : now_s;
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
	return stripe_api_now_s(report->context->api);
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

static void set_windows(struct report *report)
{
	slots_set_window(report->context->slots, report_window_seconds(report));
}

void report_configure(struct report *report)
{
	/* What could not be closed may belong to a configured tier or another meter now. */
	report_close_all(report);
	set_windows(report);
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
	uint64_t before_s = report_now_s(report) - KEPT_S;
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
		set_windows(report);
	if (!stripe_is_holder(report->context) || !report->is_tallied) {
		report->is_tallied = report->is_tallied && stripe_is_holder(report->context);
		report->ticks++;
		return;
	}
	if (has_meter(report->context->tiers))
		report_refresh_meters(report);
	if (report->ticks % PRUNE_TICKS == PRUNE_TICKS - 1)
		prune(report);
	if (report->ticks % FUTURE_TICKS == FUTURE_TICKS - 1)
		report_close_future(report);
	if (report->ticks % CLOSE_TICKS == 0 || !LIST_EMPTY(&report->early))
		report_close(report);
	if (report->ticks++ % RETRY_TICKS == 0 || report->retries_all)
		report_retry(report);
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

void report_hold(struct report *report)
{
	report->is_tallied = false;
	report_forget_early(report);
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
	report_forget_early(report);
	report_close_free(report);
	report_retry_free(report);
	report_done_sending(report);
	free(report->meters.list);
	free(report->fresh_meters.list);
	free(report);
}
