/* SPDX-License-Identifier: BSD-2-Clause */
/* portal: dispatch of requests to pages. */
#include "portal/portal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "base/clock.h"
#include "portal/portal_private.h"
#include "portal/style.h"

#define MAX_VISITS 1000 /* leaves the rest of the responder's handoffs to webhooks */

static struct visit *visit_new(struct portal *portal, struct handoff *e)
{
	struct visit *visit = calloc(1, sizeof(*visit));
	struct text accept = { 0 };

	if (!visit)
		return NULL;
	visit->portal = portal;
	visit->handoff = e;
	handoff_field(e, "Accept", &accept);
	visit->wants_json = request_accepts_json(accept);
	visit->wants_html = request_accepts_html(accept) && !visit->wants_json;
	LIST_INSERT_HEAD(&portal->visits, visit, entry);
	portal->visit_count++;
	return visit;
}

/* ---- dispatch ---- */

struct endpoint {
	const char *page;
	const char *method; /* GET includes HEAD */
	void (*visit)(struct visit *visit);
};

static const struct endpoint endpoints[] = {
	{ "/pricing", "GET", pricing_show },
	{ "/checkout", "POST", pricing_buy },
	{ "/dashboard", "GET", dashboard_open },
	{ "/dashboard/claim", "GET", claim_link_open },
	{ "/dashboard/claim", "POST", claim_take },
	{ "/checkout/free", "POST", signup_ask },
	{ "/dashboard/start", "GET", signup_open },
	{ "/dashboard/start", "POST", signup_take },
	{ "/dashboard/recover", "GET", recover_show },
	{ "/dashboard/recover", "POST", recover_ask },
	{ "/dashboard/recover/key", "GET", recover_open },
	{ "/dashboard/recover/key", "POST", recover_take },
	{ "/dashboard/sign-in", "POST", dashboard_sign_in },
	{ "/dashboard/sign-out", "POST", dashboard_sign_out },
	{ "/dashboard/create", "POST", dashboard_create },
	{ "/dashboard/rotate", "POST", dashboard_rotate },
	{ "/dashboard/revoke", "POST", dashboard_revoke },
	{ "/dashboard/billing", "POST", dashboard_billing },
};

/* The endpoint for @path and its method or, if there is none, one for @path; or NULL. */
static const struct endpoint *find_endpoint(const struct portal *portal, struct text path,
					    bool is_get)
{
	struct text prefix = text_of(portal->context->settings->portal_path);
	const struct endpoint *found = NULL;
	struct text page;

	if (!text_starts(path, prefix))
		return NULL;
	page = (struct text){ path.ptr + prefix.len, path.len - prefix.len };
	for (size_t i = 0; i < sizeof(endpoints) / sizeof(endpoints[0]); i++) {
		if (text_is(page, endpoints[i].page) &&
		    (!found || (endpoints[i].method[0] == 'G') == is_get))
			found = &endpoints[i];
	}
	return found;
}

bool portal_has(const struct portal *portal, struct text path)
{
	struct text prefix = text_of(portal->context->settings->portal_path);
	struct text page = { path.ptr + prefix.len, path.len - prefix.len };

	if (!portal->context->settings->app_url || !text_starts(path, prefix))
		return false;
	/*
	 * The first three distinct pages cover all paths of the portal: /pricing, /checkout,
	 * /dashboard.
	 */
	for (size_t i = 0; i < 3; i++) {
		size_t len = strlen(endpoints[i].page);

		if (text_starts(page, text_of(endpoints[i].page)) &&
		    (page.len == len || page.ptr[len] == '/'))
			return true;
	}
	return false;
}

/* The Allow field for @page. */
static const char *allowed(const char *page)
{
	bool has_get = false, has_post = false;

	for (size_t i = 0; i < sizeof(endpoints) / sizeof(endpoints[0]); i++) {
		if (strcmp(endpoints[i].page, page) != 0)
			continue;
		has_get |= endpoints[i].method[0] == 'G';
		has_post |= endpoints[i].method[0] == 'P';
	}
	return !has_get	  ? "Allow: POST\r\n"
	       : has_post ? "Allow: GET, HEAD, POST\r\n"
			  : "Allow: GET, HEAD\r\n";
}

/* Whether scripts of the sites that the configuration lists may use the page. */
static bool is_shared(const struct endpoint *endpoint)
{
	return !strcmp(endpoint->page, "/pricing") || !strcmp(endpoint->page, "/checkout");
}

/* Keep the request's origin if it is one of the configured ones. */
static void read_origin(struct visit *visit)
{
	const struct stripe_settings *settings = visit->portal->context->settings;
	struct text origin;

	if (!handoff_field(visit->handoff, "Origin", &origin))
		return;
	for (unsigned i = 0; i < settings->checkout_origin_count; i++) {
		if (text_is(origin, settings->checkout_origins[i]))
			visit->origin = origin;
	}
}

static void route(struct visit *visit)
{
	const struct handoff *e = visit->handoff;
	bool is_get = text_is(e->method, "GET") || text_is(e->method, "HEAD");
	const struct endpoint *endpoint = find_endpoint(visit->portal, e->path, is_get);
	int err;

	if (!endpoint) {
		visit_refuse(visit, 404, "There is no page at this address.");
		return;
	}
	if (is_shared(endpoint)) {
		read_origin(visit);
		if (text_is(e->method, "OPTIONS")) {
			visit_answer_preflight(visit);
			return;
		}
	}
	if (endpoint->method[0] == 'G' ? !is_get : !text_is(e->method, "POST")) {
		visit_refuse_with(
			visit, 405,
			endpoint->method[0] == 'G'
				? "This address accepts GET requests only."
				: "This address accepts submitted forms only. Please start from "
				  "the pricing page or the dashboard.",
			text_of(allowed(endpoint->page)));
		return;
	}
	err = is_get ? 0 : request_params_read(e, &visit->params);
	if (err)
		visit_refuse(visit, err == -EPROTONOSUPPORT ? 415 : 400,
			     err == -EPROTONOSUPPORT
				     ? "Send a form or a JSON object, with its Content-Type."
				     : "The request body is not a valid JSON object.");
	else
		endpoint->visit(visit);
}

void portal_answer(struct portal *portal, struct handoff *handoff)
{
	struct visit *visit = portal->visit_count < MAX_VISITS ? visit_new(portal, handoff) : NULL;

	if (visit)
		route(visit);
	else
		handoff_answer(handoff, 503, TEXT("Retry-After: 5\r\nCache-Control: no-store\r\n"),
			       TEXT(""));
}

/* ---- life ---- */

static void hash_style(char ret_hash[64])
{
	unsigned char hash[EVP_MAX_MD_SIZE];
	unsigned len = 0;

	memcpy(ret_hash, "sha256-", 8);
	EVP_Digest(PORTAL_STYLE, strlen(PORTAL_STYLE), hash, &len, EVP_sha256(), NULL);
	EVP_EncodeBlock((unsigned char *)ret_hash + 7, hash, (int)len);
}

struct portal *portal_new(const struct stripe_context *context, const struct portal_keys *keys,
			  struct notices *notices)
{
	struct portal *portal = calloc(1, sizeof(*portal));

	if (!portal)
		return NULL;
	portal->secret = session_secret(keys->pepper);
	portal->catalog = portal->secret ? catalog_new(context) : NULL;
	if (!portal->catalog) {
		crypto_hmac_free(portal->secret);
		free(portal);
		return NULL;
	}
	portal->context = context;
	portal->keys = *keys;
	portal->notices = notices;
	STAILQ_INIT(&portal->searches);
	uv_timer_init(context->loop, &portal->search_timer);
	portal->search_timer.data = portal;
	hash_style(portal->style_hash);
	limiter_init(&portal->sign_ins, 5 * NS_PER_SECOND, 10);
	limiter_init(&portal->checkouts, 2 * NS_PER_SECOND, 30);
	limiter_init(&portal->mails, 30 * NS_PER_SECOND, 5);
	limiter_init(&portal->mails_to, 1200 * NS_PER_SECOND, 3);
	/* Many times the limit of one source, so that only many sources can keep others waiting. */
	limiter_init(&portal->mails_all, NS_PER_SECOND, 60);
	return portal;
}

void portal_refresh(struct portal *portal)
{
	unsigned calls = portal->context->settings->calls_per_second;

	/* Visitors may use half of the calls that Stripe allows; the rest is left for billing. */
	limiter_init(&portal->all, 2 * NS_PER_SECOND / calls, 2 * calls);
	if (portal->context->settings->app_url)
		catalog_refresh(portal->catalog);
}

void portal_stop(struct portal *portal)
{
	if (!portal || portal->is_stopped)
		return;
	portal->is_stopped = true;
	catalog_stop(portal->catalog);
	uv_close((uv_handle_t *)&portal->search_timer, NULL);
}

void portal_free(struct portal *portal)
{
	if (!portal)
		return;
	while (!LIST_EMPTY(&portal->visits))
		visit_refuse(LIST_FIRST(&portal->visits), 503,
			     "We are restarting. Please try again in a minute.");
	claim_link_forget(portal);
	recover_forget(portal);
	catalog_free(portal->catalog);
	crypto_hmac_free(portal->secret);
	free(portal);
}
