/* SPDX-License-Identifier: BSD-2-Clause */
/* report_meters: Stripe's billing meters, as far as usage is reported to them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/clock.h"
#include "base/log.h"
#include "stripe/api.h"
#include "stripe/field.h"
#include "stripe/report_private.h"

#define EVERY_MS   (3600 * 1000ULL)
#define AGAIN_MS   (60 * 1000ULL) /* while a meter is missing */
#define UNKNOWN_MS (10 * 1000ULL) /* while no list has arrived */
#define MAX_METERS 10000
#define ID_MAX	   256

static void fetch_page(struct report *report, const char *after);

static void copy_text(char *to, size_t size, const json_t *object, const char *path,
		      const char *otherwise)
{
	const char *text = field_text(object, path);

	snprintf(to, size, "%s", text ? text : otherwise);
}

static void read_meter(const json_t *object, struct report_meter *meter)
{
	*meter = (struct report_meter){ 0 };
	copy_text(meter->event_name, sizeof(meter->event_name), object, "event_name", "");
	copy_text(meter->id, sizeof(meter->id), object, "id", "");
	copy_text(meter->customer_key, sizeof(meter->customer_key), object,
		  "customer_mapping.event_payload_key", "stripe_customer_id");
	copy_text(meter->value_key, sizeof(meter->value_key), object,
		  "value_settings.event_payload_key", "value");
	meter_fault(object, meter->fault);
}

static bool is_same(const struct report_meter *a, const struct report_meter *b)
{
	return !strcmp(a->event_name, b->event_name) && !strcmp(a->id, b->id) &&
	       !strcmp(a->customer_key, b->customer_key) && !strcmp(a->value_key, b->value_key) &&
	       !strcmp(a->fault, b->fault);
}

/* Whether @list has a meter that the present list does not have in the same form. */
static bool is_news(const struct report *report, const struct report_meters *list)
{
	for (size_t i = 0; i < list->count; i++) {
		size_t j = 0;

		while (j < report->meters.count &&
		       !is_same(&report->meters.list[j], &list->list[i]))
			j++;
		if (j == report->meters.count)
			return true;
	}
	return false;
}

static void end_fetch(struct report *report)
{
	report->is_fetching_meters = false;
	free(report->fresh_meters.list);
	report->fresh_meters = (struct report_meters){ 0 };
}

/* The list is complete. A new meter may be what usage has been waiting for. */
static void use_fresh(struct report *report)
{
	bool is_first = !report->has_meters;
	bool has_news = is_news(report, &report->fresh_meters);

	free(report->meters.list);
	report->meters = report->fresh_meters;
	report->fresh_meters = (struct report_meters){ 0 };
	report->has_meters = true;
	report->is_fetching_meters = false;
	if (has_news)
		report_close_all(report);
	if ((has_news && !is_first) || report->retries_then)
		report_retry_soon(report);
	report->retries_then = false;
}

static void on_meters(void *arg, const struct stripe_answer *answer)
{
	const json_t *meter, *data = json_object_get(answer->body, "data");
	struct report *report = arg;
	struct report_meters *fresh = &report->fresh_meters;
	char last[ID_MAX] = "";
	size_t i;

	if (answer->err) {
		log_warn("cannot fetch meters, so usage is reported later: %s", answer->why);
		end_fetch(report);
		return;
	}
	json_array_foreach (data, i, meter) {
		int err = array_reserve(fresh->list, fresh->room, fresh->count + 1, MAX_METERS);

		if (err == -ENOMEM) {
			log_error("cannot keep the list of meters: out of memory");
			end_fetch(report);
			return;
		}
		if (err) {
			log_error("Stripe has more than %d active meters; the rest are ignored",
				  MAX_METERS);
			use_fresh(report);
			return;
		}
		read_meter(meter, &fresh->list[fresh->count++]);
		copy_text(last, sizeof(last), meter, "id", "");
	}
	if (json_is_true(json_object_get(answer->body, "has_more")) && last[0])
		fetch_page(report, last);
	else
		use_fresh(report);
}

static void fetch_page(struct report *report, const char *after)
{
	char path[ID_MAX + 128];
	const struct stripe_call call = { .method = "GET", .path = path };

	snprintf(path, sizeof(path), "/v1/billing/meters?status=active&limit=100%s%s",
		 *after ? "&starting_after=" : "", after);
	stripe_api_call(report->context->api, &call, on_meters, report);
}

/* Fetch the list, unless that was last begun less than @every_ms ago. */
static void fetch(struct report *report, uint64_t every_ms)
{
	uint64_t now_ns = clock_mono_ns();

	if (report->is_fetching_meters || report->is_stopped ||
	    (report->meters_ns && now_ns - report->meters_ns < every_ms * NS_PER_MS))
		return;
	report->is_fetching_meters = true;
	report->meters_ns = now_ns;
	fetch_page(report, "");
}

void report_refresh_meters(struct report *report)
{
	fetch(report, report->has_meters ? EVERY_MS : UNKNOWN_MS);
}

void report_catalog_changed(struct report *report)
{
	if (!report->is_started)
		return;
	report->retries_then = true;
	fetch(report, 0);
}

const struct report_meter *report_find_meter(struct report *report, const char *event_name,
					     char ret_why[REPORT_WHY_MAX])
{
	if (!report->has_meters) {
		snprintf(ret_why, REPORT_WHY_MAX, "Stripe's meters are not known yet; try again");
		fetch(report, UNKNOWN_MS); /* a host that does not bill fetches them only now */
		return NULL;
	}
	for (size_t i = 0; i < report->meters.count; i++) {
		const struct report_meter *meter = &report->meters.list[i];

		if (strcmp(meter->event_name, event_name) != 0)
			continue;
		if (!meter->fault[0])
			return meter;
		snprintf(ret_why, REPORT_WHY_MAX,
			 "the meter '%s' %s, which would bill the wrong amount; " METER_REMEDY,
			 event_name, meter->fault);
		fetch(report, AGAIN_MS);
		return NULL;
	}
	snprintf(
		ret_why, REPORT_WHY_MAX,
		"Stripe has no active meter '%s'; create it at Stripe, or correct the tier's meter",
		event_name);
	fetch(report, AGAIN_MS);
	return NULL;
}

json_t *report_meter_faults(struct report *report)
{
	const struct tiers *tiers = report->context->tiers;
	json_t *faults = json_array();
	char why[REPORT_WHY_MAX];

	if (!report->has_meters || report->context->settings->report == STRIPE_USAGE_RECORDS)
		return faults;
	for (unsigned i = 0; i < tiers->count; i++) {
		const struct tier *tier = &tiers->list[i];

		if (tier->meter && !report_find_meter(report, tier->meter, why))
			json_array_append_new(faults,
					      json_sprintf("tier '%s': %s", tier->name, why));
	}
	return faults;
}

const char *report_meter_id(const struct report *report, const char *event_name)
{
	for (size_t i = 0; i < report->meters.count; i++) {
		if (!strcmp(report->meters.list[i].event_name, event_name))
			return report->meters.list[i].id;
	}
	return NULL;
}
