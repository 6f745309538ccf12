/* SPDX-License-Identifier: BSD-2-Clause */
/* answer: what the portal's answers have in common: fields, cookies, pages, refusals. */
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "http/problem.h"
#include "portal/portal_private.h"
#include "portal/style.h"
#include "portal/words.h"

#define MAX_PAGE_BYTES (1 << 20)
#define MAX_HEAD_BYTES (16 * 1024)

void visit_answer(struct visit *visit, unsigned status, struct text fields, struct text body)
{
	handoff_answer(visit->handoff, status, fields, body);
	LIST_REMOVE(visit, entry);
	visit->portal->visit_count--;
	request_params_done(&visit->params);
	free(visit->order);
	free(visit->shown);
	free(visit);
}

uint64_t visit_source(const struct visit *visit)
{
	const struct sockaddr_storage *peer = &visit->handoff->peer;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)peer;
	const struct sockaddr_in *in = (const struct sockaddr_in *)peer;
	uint8_t hash[CRYPTO_HASH_BYTES];
	uint64_t source;

	if (peer->ss_family == AF_INET6)
		crypto_hmac_sha256(visit->portal->secret, &in6->sin6_addr, 8, hash);
	else
		crypto_hmac_sha256(visit->portal->secret, &in->sin_addr, 4, hash);
	memcpy(&source, hash, sizeof(source));
	return source;
}

/* ---- fields ---- */

void portal_path(const struct portal *portal, const char *page, char *ret_path, size_t size)
{
	snprintf(ret_path, size, "%s%s", portal->context->settings->portal_path, page);
}

static bool is_secure(const struct visit *visit)
{
	return text_starts(text_of(visit->portal->context->settings->app_url), TEXT("https://"));
}

const char *cookie_session_name(const struct visit *visit)
{
	return is_secure(visit) ? "__Secure-tollgate_session" : "tollgate_session";
}

int cookie_write_claim(struct buf *fields, const struct visit *visit, const char *name,
		       const char *value, uint64_t max_age_s)
{
	return buf_printf(fields,
			  "Set-Cookie: %s=%s; Path=%s/dashboard; Max-Age=%" PRIu64
			  "; HttpOnly; SameSite=Lax%s\r\n",
			  name, value, visit->portal->context->settings->portal_path, max_age_s,
			  is_secure(visit) ? "; Secure" : "");
}

int cookie_write_session(struct buf *fields, const struct visit *visit, const char *value,
			 uint64_t max_age_s)
{
	static const char *const pages[] = { "/dashboard", "/pricing", "/checkout" };
	int err = 0;

	for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]) && !err; i++)
		err = buf_printf(fields,
				 "Set-Cookie: %s=%s; Path=%s%s; Max-Age=%" PRIu64
				 "; HttpOnly; SameSite=Strict%s\r\n",
				 cookie_session_name(visit), value,
				 visit->portal->context->settings->portal_path, pages[i], max_age_s,
				 is_secure(visit) ? "; Secure" : "");
	return err;
}

/*
 * Browsers apply form-action to redirects after a form as well, so it must list the origins of
 * Stripe's pages: the usual ones and, if the operator uses a custom domain at Stripe, the ones last
 * seen.
 */
static int write_policy(struct buf *fields, const struct portal *portal)
{
	struct text base = request_origin(text_of(portal->context->settings->api_base));
	int err = buf_printf(fields,
			     "Content-Security-Policy: default-src 'none'; style-src '%s'; "
			     "base-uri 'none'; frame-ancestors 'none'; form-action 'self' "
			     "https://checkout.stripe.com https://billing.stripe.com",
			     portal->style_hash);

	if (!err && !text_is(base, "https://api.stripe.com"))
		err = buf_printf(fields, " %.*s", TEXT_ARG(base));
	for (unsigned i = 0; i < PORTAL_PLACE_COUNT && !err; i++) {
		if (portal->places[i][0])
			err = buf_printf(fields, " %s", portal->places[i]);
	}
	return err ? err : buf_append_str(fields, "\r\n");
}

static int write_fields(struct buf *fields, const struct visit *visit, struct text more)
{
	int err = buf_append_text(fields, more);

	if (!err)
		err = buf_append_str(fields, "Cache-Control: no-store\r\n"
					     "X-Content-Type-Options: nosniff\r\n"
					     "Vary: Accept, Cookie\r\n");
	/*
	 * With no-referrer, browsers send "Origin: null" with forms. Pages whose forms have no
	 * token need the real origin.
	 */
	if (!err)
		err = buf_printf(fields, "Referrer-Policy: %s\r\n",
				 visit->is_claim ? "no-referrer" : "same-origin");
	if (!err && visit->portal->context->settings->checkout_origin_count)
		err = buf_append_str(fields, "Vary: Origin\r\n");
	if (!err && visit->origin.len)
		err = buf_printf(fields,
				 "Access-Control-Allow-Origin: %.*s\r\n"
				 "Access-Control-Allow-Credentials: true\r\n",
				 TEXT_ARG(visit->origin));
	return err;
}

static void answer_with(struct visit *visit, unsigned status, const char *type, struct text more,
			struct text body)
{
	struct buf fields;
	int err;

	buf_init(&fields, MAX_HEAD_BYTES);
	err = write_fields(&fields, visit, more);
	if (!err)
		err = buf_append_str(&fields, type);
	if (!err && text_starts(text_of(type), TEXT("Content-Type: text/html")))
		err = write_policy(&fields, visit->portal);
	if (err)
		visit_answer(visit, 500, TEXT("Cache-Control: no-store\r\n"), TEXT(""));
	else
		visit_answer(visit, status, buf_text(&fields), body);
	buf_done(&fields);
}

void visit_answer_json(struct visit *visit, unsigned status, struct text fields, json_t *owned)
{
	char *body = owned ? json_dumps(owned, JSON_COMPACT) : NULL;

	json_decref(owned);
	if (body)
		answer_with(visit, status, "Content-Type: application/json\r\n", fields,
			    text_of(body));
	else
		visit_refuse(visit, 500, PORTAL_OUR_FAULT);
	free(body);
}

/* ---- pages ---- */

void page_begin(struct html *page, const struct visit *visit, const char *title)
{
	const struct stripe_settings *settings = visit->portal->context->settings;
	const char *name = words_product(settings);

	html_init(page, MAX_PAGE_BYTES);
	html_raw(page, "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">"
		       "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">");
	if (visit->is_indexed)
		html_put(page, "<meta name=\"description\" content=\"Plans and prices of {}.\">",
			 name);
	else
		html_raw(page, "<meta name=\"robots\" content=\"noindex\">");
	html_put(page, "<title>{} - {}</title><style>", title, name);
	html_raw(page, PORTAL_STYLE);
	html_put(page,
		 "</style></head><body><header><b>{}</b><a href=\"{}/pricing\">Pricing</a>"
		 "<a href=\"{}/dashboard\">Dashboard</a></header><main><h1>{}</h1>",
		 name, settings->portal_path, settings->portal_path, title);
}

void page_say(struct html *page, const struct visit *visit, const char *words)
{
	const char *support = visit->portal->context->settings->support_url;
	const char *at = support ? strstr(words, PORTAL_PROVIDER) : NULL;
	char before[512];

	if (at) {
		snprintf(before, sizeof(before), "%.*s", (int)(at - words), words);
		html_put(page, "{}<a href=\"{}\">" PORTAL_PROVIDER "</a>", before, support);
		words = at + strlen(PORTAL_PROVIDER);
	}
	html_put(page, "{}", words);
}

static void write_footer(struct html *page, const struct visit *visit)
{
	const struct stripe_settings *settings = visit->portal->context->settings;
	const struct {
		const char *url, *words;
	} links[] = { { settings->terms_url, "Terms" },
		      { settings->privacy_url, "Privacy" },
		      { settings->support_url, "Support" } };

	if (!settings->terms_url && !settings->privacy_url && !settings->support_url)
		return;
	html_raw(page, "<footer>");
	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
		if (links[i].url)
			html_put(page, "<a href=\"{}\">{}</a>", links[i].url, links[i].words);
	}
	html_raw(page, "</footer>");
}

void page_answer(struct html *page, struct visit *visit, unsigned status, struct text fields)
{
	html_raw(page, "</main>");
	write_footer(page, visit);
	html_raw(page, "</body></html>\n");
	if (page->err) {
		log_error("portal: cannot write a page: %s", strerror(-page->err));
		visit_answer(visit, 500, TEXT("Cache-Control: no-store\r\n"), TEXT(""));
	} else {
		answer_with(visit, status, "Content-Type: text/html; charset=utf-8\r\n", fields,
			    buf_text(&page->buf));
	}
	html_done(page);
}

static const char *title_of(unsigned status)
{
	switch (status) {
	case 400:
	case 415:
		return "Invalid request";
	case 403:
		return "Not allowed";
	case 404:
		return "Not found";
	case 405:
		return "Method not allowed";
	case 409:
		return "Not possible";
	case 429:
		return "Too many attempts";
	case 500:
		return "Something went wrong";
	case 502:
		return "Payment service unavailable";
	default:
		return "Temporarily unavailable";
	}
}

void visit_refuse_with(struct visit *visit, unsigned status, const char *detail, struct text fields)
{
	struct html page;
	struct buf body;

	if (visit->wants_html) {
		page_begin(&page, visit, title_of(status));
		html_raw(&page, "<p class=\"note bad\" role=\"alert\">");
		page_say(&page, visit, detail);
		html_raw(&page, "</p>");
		page_answer(&page, visit, status, fields);
		return;
	}
	buf_init(&body, 4096);
	problem_write_body(&body, status, detail, NULL);
	answer_with(visit, status, PROBLEM_FIELD, fields, buf_text(&body));
	buf_done(&body);
}

void visit_refuse(struct visit *visit, unsigned status, const char *detail)
{
	visit_refuse_with(visit, status, detail,
			  status == 503 ? TEXT("Retry-After: 5\r\n") : TEXT(""));
}

void visit_refuse_busy(struct visit *visit, uint64_t wait_ns)
{
	uint64_t wait_s = wait_ns / NS_PER_SECOND + 1;
	char field[64], when[32] = "a minute", words[96];

	if (wait_s <= 10)
		snprintf(when, sizeof(when), "a few seconds");
	else if (wait_s > 60)
		snprintf(when, sizeof(when), "%" PRIu64 " minutes", (wait_s + 59) / 60);
	snprintf(words, sizeof(words), "Too many attempts. Please try again in %s.", when);
	snprintf(field, sizeof(field), "Retry-After: %" PRIu64 "\r\n", wait_s);
	visit_refuse_with(visit, 429, words, text_of(field));
}

void visit_go(struct visit *visit, const char *page, struct text fields)
{
	struct buf all;
	int err;

	buf_init(&all, MAX_HEAD_BYTES);
	err = buf_printf(&all, "Location: %s%s\r\n", visit->portal->context->settings->portal_path,
			 page);
	if (!err)
		err = buf_append_text(&all, fields);
	if (err)
		visit_refuse(visit, 500, PORTAL_OUR_FAULT);
	else
		answer_with(visit, 303, "", buf_text(&all), TEXT(""));
	buf_done(&all);
}

/*
 * Whether the content security policy of the pages sent so far lists @origin. If it does not,
 * policies from now on will.
 */
static bool knows_place(struct portal *portal, enum portal_place place, struct text origin)
{
	static const char *const usual[] = { "https://checkout.stripe.com",
					     "https://billing.stripe.com" };
	struct text base = request_origin(text_of(portal->context->settings->api_base));

	if (text_is(origin, usual[place]) || text_equal(origin, base) ||
	    text_is(origin, portal->places[place]) || origin.len >= PORTAL_ORIGIN_MAX)
		return true;
	memcpy(portal->places[place], origin.ptr, origin.len);
	portal->places[place][origin.len] = '\0';
	return false;
}

void visit_leave(struct visit *visit, enum portal_place place, const char *url, struct text fields)
{
	struct text origin = request_origin(text_of(url));
	struct html page;
	struct buf all;

	if (!origin.len || strpbrk(url, "\r\n\"<> ")) {
		visit_refuse(visit, 502,
			     "Our payment service sent an invalid link. Please try again in a "
			     "minute.");
		return;
	}
	if (!knows_place(visit->portal, place, origin) && visit->wants_html) {
		/*
		 * The browser would block a redirect to an origin that the policy of its page does
		 * not list, but it follows a link from a new page.
		 */
		page_begin(&page, visit, "Just a moment");
		html_put(&page,
			 "<meta http-equiv=\"refresh\" content=\"0;url={}\">"
			 "<p><a class=\"button\" href=\"{}\">Continue</a></p>",
			 url, url);
		page_answer(&page, visit, 200, fields);
		return;
	}
	buf_init(&all, MAX_HEAD_BYTES);
	if (buf_printf(&all, "Location: %s\r\n", url) || buf_append_text(&all, fields))
		visit_refuse(visit, 500, PORTAL_OUR_FAULT);
	else
		answer_with(visit, 303, "", buf_text(&all), TEXT(""));
	buf_done(&all);
}

void visit_answer_preflight(struct visit *visit)
{
	answer_with(visit, 204, "",
		    visit->origin.len
			    ? TEXT("Access-Control-Allow-Methods: GET, POST\r\n"
				   "Access-Control-Allow-Headers: Content-Type, Accept\r\n"
				   "Access-Control-Max-Age: 3600\r\n")
			    : TEXT(""),
		    TEXT(""));
}
