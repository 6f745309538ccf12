/* SPDX-License-Identifier: BSD-2-Clause */
/* dashboard_page: the page that shows an account's plan, usage and keys to its customer. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/atomic.h"
#include "base/clock.h"
#include "enforce/account.h"
#include "enforce/usage.h"
#include "portal/portal_private.h"
#include "portal/words.h"

#define DAY_S	    86400
#define MAX_DAYS    31 /* bars of the chart */
#define MAX_REVOKED 5  /* revoked keys that are still shown */

#define PAYMENT_FAILED \
	"Your payment failed, so your access is suspended. Pay under Billing below to restore it."

/* ---- the plan ---- */

struct standing {
	const char *word, *kind; /* the badge: its text and class */
	const char *note;	 /* or NULL */
	const char *note_kind;
	uint64_t at_s; /* a time to append to the note; 0: none */
};

static struct standing past_due(const struct store_account *account, const struct tier *tier,
				uint64_t wall_ms)
{
	uint64_t ends_ms = account->past_due_ms + (tier ? tier->grace_ms : 0);

	if (!tier || wall_ms >= ends_ms)
		return (struct standing){ "Suspended", "bad", PAYMENT_FAILED, "bad", 0 };
	return (struct standing){
		"Payment failed", "warn",
		"Your last payment failed. Please pay under Billing below. Otherwise your access "
		"ends on ",
		"", ends_ms / 1000
	};
}

static struct standing standing_of(const struct store_account *account, const struct tier *tier,
				   uint64_t wall_ms)
{
	bool is_ending = account->cancel_at_s > wall_ms / 1000;

	if (account->is_held)
		return (struct standing){ "On hold", "bad",
					  "Your access is on hold. Please contact " PORTAL_PROVIDER
					  " to find out why.",
					  "bad", 0 };
	switch (account->status) {
	case STORE_ACTIVE:
		return (struct standing){ "Active", "good",
					  is_ending ? "Your subscription is canceled and ends on "
						    : NULL,
					  "", account->cancel_at_s };
	case STORE_TRIALING:
		return (struct standing){ "Trial", "good",
					  is_ending ? "Your subscription is canceled and ends on "
						    : "Your trial ends on ",
					  "good",
					  is_ending ? account->cancel_at_s : account->trial_end_s };
	case STORE_PAST_DUE:
		return past_due(account, tier, wall_ms);
	case STORE_PAUSED:
		return (struct standing){
			"Paused", "bad",
			"Your subscription is paused. Your keys will work again when it resumes.",
			"bad", 0
		};
	case STORE_INCOMPLETE:
		return (struct standing){
			"Waiting for payment", "warn",
			"Your first payment hasn't arrived yet. Your keys will work once it does.",
			"", 0
		};
	case STORE_UNPAID:
		return (struct standing){ "Suspended", "bad", PAYMENT_FAILED, "bad", 0 };
	default:
		return (struct standing){ "Ended", "bad",
					  "Your subscription has ended. To subscribe again, choose "
					  "a plan on the pricing page.",
					  "bad", 0 };
	}
}

static void write_plan(struct html *page, const struct visit *visit,
		       const struct store_account *account)
{
	const struct tier *tier = tiers_find(visit->portal->context->tiers, account->tier);
	uint64_t wall_ms = clock_wall_ms();
	struct standing s = standing_of(account, tier, wall_ms);
	char words[WORDS_SIZE], id[ACCOUNT_ID_SIZE];
	struct tier bought;
	const char *limit;

	if (visit->notice)
		html_put(page, "<p class=\"note good\" role=\"status\">{}</p>", visit->notice);
	if (s.note) {
		html_put(page, "<p class=\"note {}\" role=\"status\">", s.note_kind);
		page_say(page, visit, s.note);
		html_put(page, "{}{}</p>", s.at_s ? words_time(s.at_s, words) : "",
			 s.at_s ? "." : "");
	}
	account_format_id(account->id, id);
	html_put(page, "<section class=\"card\"><h2>{} <span class=\"badge {}\">{}</span></h2><dl>",
		 tier ? tier->name : "No plan", s.kind, s.word);
	if (tier) {
		tier_for_seats(tier, account->seats, &bought);
		tier = &bought;
	}
	if (tier && tier->is_per_seat)
		html_put(page, "<dt>Seats</dt><dd>{}</dd>",
			 words_number(account->seats ? account->seats : 1, words));
	for (unsigned i = 0; tier && (limit = words_limit(tier, i, words)); i++)
		html_put(page, i ? "<br>{}" : "<dt>Limits</dt><dd>{}", limit);
	html_raw(page, tier ? "</dd>" : "");
	if (account->period_end_s > wall_ms / 1000 && !account->cancel_at_s &&
	    (account->status == STORE_ACTIVE || account->status == STORE_TRIALING))
		html_put(page, "<dt>Renews</dt><dd>{}</dd>",
			 words_date(account->period_end_s, words));
	if (account->email[0])
		html_put(page, "<dt>Email</dt><dd>{}</dd>", account->email);
	html_put(page, "<dt>Account</dt><dd><code>{}</code></dd></dl>", id);
}

static void write_buttons(struct html *page, const struct visit *visit,
			  const struct store_account *account)
{
	char path[256];

	html_raw(page, "<div class=\"row\">");
	if (account->subscription[0] &&
	    (account->status == STORE_ACTIVE || account->status == STORE_TRIALING)) {
		portal_path(visit->portal, "/pricing", path, sizeof(path));
		html_put(page, "<a class=\"button\" href=\"{}\">Change plan</a>", path);
	}
	if (account->customer[0]) {
		portal_path(visit->portal, "/dashboard/billing", path, sizeof(path));
		html_put(page, "<form method=\"post\" action=\"{}\">", path);
		dashboard_write_token(page, visit, "billing");
		html_raw(page, "<button id=\"billing\" type=\"submit\">Billing</button></form>");
	}
	portal_path(visit->portal, "/dashboard/sign-out", path, sizeof(path));
	html_put(page, "<form method=\"post\" action=\"{}\">", path);
	dashboard_write_token(page, visit, "sign-out");
	html_raw(page, "<button id=\"sign-out\" class=\"plain\" type=\"submit\">Sign out</button>"
		       "</form></div></section>");
}

/* ---- usage ---- */

uint64_t dashboard_usage_since_s(uint64_t now_s)
{
	return now_s - now_s % DAY_S - (MAX_DAYS - 1) * DAY_S;
}

static void write_quota(struct html *page, const struct visit *visit, uint32_t slot_index)
{
	const struct tollgate_slot *slot = &visit->portal->context->slots->list[slot_index];
	char used_words[WORDS_SIZE], all_words[WORDS_SIZE], ends[WORDS_SIZE], width[24];
	uint64_t used, end_ms, word;
	struct slot_limits limits;
	uint32_t period;

	slot_read_limits(slot, &limits);
	if (!limits.quota_limit)
		return;
	period = usage_quota_period(limits.quota_period, limits.quota_span, clock_steady_ms(),
				    &end_ms);
	word = atomic_read_acquire(&slot->quota_word);
	used = usage_quota_used(word, period);
	if (used > limits.quota_limit)
		used = limits.quota_limit;
	snprintf(width, sizeof(width), "%.2f", 1000.0 * (double)used / (double)limits.quota_limit);
	html_put(page,
		 "<p>{} of {} requests used. Resets on {}.</p><svg viewBox=\"0 0 1000 14\" "
		 "role=\"img\" aria-label=\"Used part of the quota\"><rect class=\"track\" "
		 "width=\"1000\" height=\"14\" rx=\"7\"/><rect class=\"{}\" width=\"{}\" "
		 "height=\"14\" rx=\"7\"/></svg>",
		 words_number(used, used_words), words_number(limits.quota_limit, all_words),
		 words_time(end_ms / 1000, ends), used == limits.quota_limit ? "full" : "bar",
		 width);
}

static void write_bar(struct html *page, unsigned i, unsigned count, uint64_t day_s,
		      uint64_t requests, uint64_t most)
{
	char x[16], y[16], width[16], height[16], date[WORDS_SIZE], n[WORDS_SIZE];
	double step = 1000.0 / count, tall = most ? 150.0 * (double)requests / (double)most : 0;

	if (requests && tall < 2)
		tall = 2;
	snprintf(x, sizeof(x), "%.2f", i * step + step * 0.1);
	snprintf(width, sizeof(width), "%.2f", step * 0.8);
	snprintf(y, sizeof(y), "%.2f", 160 - tall);
	snprintf(height, sizeof(height), "%.2f", tall);
	html_put(page,
		 "<rect class=\"bar\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"><title>{}: "
		 "{}</title></rect>",
		 x, y, width, height, words_date(day_s, date), words_number(requests, n));
}

/*
 * A bar for each day, and above them the number of requests in the current billing period, or in
 * all days shown if the period began earlier.
 */
static void write_chart(struct html *page, const struct store_account *account,
			const struct store_usage *rows, size_t count, uint64_t since_s)
{
	uint64_t days[MAX_DAYS] = { 0 }, now_s = clock_wall_ms() / 1000, most = 0, sum = 0;
	uint64_t from_s = account->period_start_s > since_s && account->period_start_s <= now_s
				  ? account->period_start_s
				  : since_s;
	char total[WORDS_SIZE], first[WORDS_SIZE], most_words[WORDS_SIZE];

	for (size_t i = 0; i < count; i++) {
		uint64_t day = (rows[i].window_start_s - since_s) / DAY_S;

		if (rows[i].window_start_s < since_s || day >= MAX_DAYS)
			continue;
		days[day] += rows[i].requests;
		sum += rows[i].window_start_s + rows[i].window_seconds > from_s ? rows[i].requests
										: 0;
	}
	for (unsigned i = 0; i < MAX_DAYS; i++)
		most = days[i] > most ? days[i] : most;
	html_put(
		page,
		"<p><span class=\"amount\" id=\"total\">{}</span> requests since {}</p>"
		"<svg viewBox=\"0 0 1000 164\" role=\"img\" aria-label=\"Requests per day; busiest "
		"day: {}\">",
		words_number(sum, total), words_date(from_s, first),
		words_number(most, most_words));
	html_raw(page, "<rect class=\"track\" y=\"160\" width=\"1000\" height=\"2\"/>");
	for (unsigned i = 0; i < MAX_DAYS; i++)
		write_bar(page, i, MAX_DAYS, since_s + (uint64_t)i * DAY_S, days[i], most);
	html_put(page,
		 "</svg><p class=\"ends soft small\"><span>{}</span><span>busiest day: {}</span>"
		 "<span>today</span></p>",
		 words_date(since_s, first), words_number(most, most_words));
}

/* ---- keys ---- */

static void write_key_form(struct html *page, const struct visit *visit, const char *action,
			   const char *key, const char *button)
{
	char path[256], name[32];

	snprintf(name, sizeof(name), "/dashboard/%s", action);
	portal_path(visit->portal, name, path, sizeof(path));
	html_put(page,
		 "<form method=\"post\" action=\"{}\"><input type=\"hidden\" name=\"key\" "
		 "value=\"{}\">",
		 path, key);
	dashboard_write_token(page, visit, action);
	html_raw(page, button);
	html_raw(page, "</form>");
}

static void write_key(struct html *page, const struct visit *visit, const struct store_key *key,
		      bool is_only_valid)
{
	uint64_t wall_ms = clock_wall_ms();
	bool is_revoked = key->revoked_ms && key->revoked_ms <= wall_ms;
	char id[ACCOUNT_ID_SIZE], date[WORDS_SIZE];

	account_format_key_id(key->id, id);
	html_put(page,
		 "<tr class=\"{}\"><td><code>{}</code>{}</td><td data-name=\"Label\">{}</td>"
		 "<td data-name=\"Created\">{}</td><td data-name=\"Status\">",
		 is_revoked ? "over" : "", key->hint,
		 key->id == visit->key ? " (current session)" : "",
		 key->label[0] ? key->label : "-", words_date(key->created_ms / 1000, date));
	if (key->revoked_ms)
		html_put(page, "<span class=\"badge {}\">{} {}</span>", is_revoked ? "bad" : "warn",
			 is_revoked ? "revoked" : "expires",
			 words_time(key->revoked_ms / 1000, date));
	else
		html_raw(page, "<span class=\"badge good\">valid</span>");
	html_raw(page, "</td><td>");
	if (!key->revoked_ms)
		write_key_form(page, visit, "rotate", id,
			       "<button class=\"plain\" type=\"submit\">Rotate</button>");
	if (!is_revoked && !is_only_valid) {
		html_raw(page, "<details><summary>Revoke</summary><p class=\"small\">The key stops "
			       "working immediately.</p>");
		write_key_form(page, visit, "revoke", id,
			       "<button class=\"danger\" type=\"submit\">Revoke this key</button>");
		html_raw(page, "</details>");
	}
	html_raw(page, "</td></tr>");
}

static void write_keys(struct html *page, const struct visit *visit)
{
	uint64_t wall_ms = clock_wall_ms();
	unsigned valid = 0, revoked = 0;
	char path[256];

	for (size_t i = 0; i < visit->shown_count; i++)
		valid += !visit->shown[i].revoked_ms || visit->shown[i].revoked_ms > wall_ms;
	html_raw(page,
		 "<section class=\"card\"><h2>API keys</h2><table><thead><tr><th>Key</th>"
		 "<th>Label</th><th>Created</th><th>Status</th><th></th></tr></thead><tbody>");
	/* The newest first; of the revoked keys, only the last few. */
	for (size_t i = visit->shown_count; i-- > 0;) {
		const struct store_key *key = &visit->shown[i];

		if (key->revoked_ms && key->revoked_ms <= wall_ms && ++revoked > MAX_REVOKED)
			continue;
		write_key(page, visit, key, valid == 1);
	}
	portal_path(visit->portal, "/dashboard/create", path, sizeof(path));
	html_put(page,
		 "</tbody></table><p class=\"soft small\">Rotate creates a new key. The old one "
		 "keeps working for 24 hours.</p><form method=\"post\" action=\"{}\">",
		 path);
	dashboard_write_token(page, visit, "create");
	html_raw(page, "<label for=\"label\">New key</label><div class=\"row\"><input id=\"label\" "
		       "name=\"label\" maxlength=\"60\" placeholder=\"Label (optional)\" "
		       "autocomplete=\"off\"><button id=\"create\" type=\"submit\">Create</button>"
		       "</div></form></section>");
}

void dashboard_write(struct visit *visit, const struct store_usage *usage, size_t usage_count,
		     uint64_t since_s)
{
	struct store_account account;
	struct html page;
	uint32_t slot;

	if (!mirror_account(visit->portal->context->mirror, visit->account, &account, &slot)) {
		visit_refuse(visit, 503,
			     "We couldn't load your account. Please try again in a minute.");
		return;
	}
	page_begin(&page, visit, "Dashboard");
	write_plan(&page, visit, &account);
	write_buttons(&page, visit, &account);
	html_raw(&page, "<section class=\"card\"><h2>Usage</h2>");
	write_quota(&page, visit, slot);
	if (since_s)
		write_chart(&page, &account, usage, usage_count, since_s);
	else
		html_raw(&page,
			 "<p>We couldn't load your usage. Please try again in a minute.</p>");
	html_raw(&page, "</section>");
	write_keys(&page, visit);
	page_answer(&page, visit, 200, TEXT(""));
}
