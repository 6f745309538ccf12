/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * stripe_register: the webhook endpoint, and the event destination for thin events.
 *
 * Both have the same URL. Stripe lists endpoints in API v1 and destinations for thin events in
 * API v2, which takes JSON and does not show URLs unless asked to. Events are only ever added to
 * one that exists, because someone may have chosen the others.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/stripe_command.h"
#include "base/buf.h"
#include "http/form.h"
#include "stripe/event.h"
#include "stripe/field.h"

#define MAX_FORM   (16 << 10)
#define OLDEST_API "2022-11-15" /* the oldest API version whose events are tested */
#define NAME	   "tollgate"

/* What Stripe has now. */
struct current {
	json_t *endpoints, *destinations; /* owned; NULL: could not be listed */
	json_t *endpoint, *destination;	  /* borrowed: those with our URL; NULL: none */
	unsigned same;			  /* enabled endpoints with our URL */
	unsigned others;
};

static bool is_enabled(const json_t *object)
{
	const char *status = field_text(object, "status");

	return status && !strcmp(status, "enabled");
}

static bool has_event(const json_t *object, const char *prefix, const char *name)
{
	const json_t *list = json_object_get(object, "enabled_events"), *item;
	size_t i;

	json_array_foreach (list, i, item) {
		const char *its = json_string_value(item);

		if (its && (!strcmp(its, "*") || (!strncmp(its, prefix, strlen(prefix)) &&
						  !strcmp(its + strlen(prefix), name))))
			return true;
	}
	return false;
}

static bool has_url(const json_t *object, const char *path, const char *url)
{
	const char *its = field_text(object, path);

	return its && !strcmp(its, url);
}

/* Prefer an enabled one. */
static void choose(json_t **chosen, json_t *object)
{
	if (!*chosen || (!is_enabled(*chosen) && is_enabled(object)))
		*chosen = object;
}

static void read_current(struct stripe_session *s, struct current *c)
{
	json_t *object;
	size_t i;

	*c = (struct current){ 0 };
	c->endpoints = session_list(s, "/v1/webhook_endpoints?limit=100", "webhook endpoints");
	if (!s->is_lost)
		c->destinations = session_list(s,
					       "/v2/core/event_destinations?limit=100&include[0]="
					       "webhook_endpoint.url",
					       "event destinations");
	json_array_foreach (c->endpoints, i, object) {
		if (field_text(object, "application"))
			continue; /* for events of connected accounts */
		if (has_url(object, "url", s->url)) {
			choose(&c->endpoint, object);
			c->same += is_enabled(object);
		} else {
			c->others += is_enabled(object);
		}
	}
	json_array_foreach (c->destinations, i, object) {
		const char *payload = field_text(object, "event_payload");

		if (!payload || strcmp(payload, "thin") != 0)
			continue; /* an endpoint, which is in the other list */
		if (has_url(object, "webhook_endpoint.url", s->url))
			choose(&c->destination, object);
	}
}

static void current_done(struct current *c)
{
	json_decref(c->endpoints);
	json_decref(c->destinations);
}

/* The needed snapshot events that do not come as thin ones already. Owned by the caller. */
static json_t *names_for_endpoint(const struct current *c)
{
	json_t *names = json_array();
	const char *name;

	for (size_t i = 0; (name = event_needed(EVENT_SNAPSHOT, i)); i++) {
		if (!c->destination || !is_enabled(c->destination) ||
		    !has_event(c->destination, "v1.", name))
			json_array_append_new(names, json_string(name));
	}
	return names;
}

static json_t *names_for_destination(const struct config *config)
{
	json_t *names = json_array();
	const char *name;

	for (size_t i = 0; stripe_uses_meters(config) && (name = event_needed(EVENT_THIN, i)); i++)
		json_array_append_new(names, json_string(name));
	return names;
}

/* Those of @names that @object, which may be NULL, does not have. Owned by the caller. */
static json_t *missing_from(const json_t *object, json_t *names)
{
	json_t *missing = json_array(), *name;
	size_t i;

	json_array_foreach (names, i, name) {
		if (!has_event(object, "", json_string_value(name)))
			json_array_append(missing, name);
	}
	return missing;
}

/* ---- the plan ---- */

/* What has to be done so that @object, NULL if there is none, has all of @names. */
static void plan(struct registration *r, const json_t *object, json_t *names)
{
	r->added = missing_from(object, names);
	r->is_enabled_again = object && json_array_size(names) && !is_enabled(object);
	field_copy(field_text(object, "id"), r->id, sizeof(r->id));
	if (!json_array_size(names))
		r->action = object ? "unchanged" : "not needed";
	else if (!object)
		r->action = "created";
	else
		r->action =
			json_array_size(r->added) || r->is_enabled_again ? "updated" : "unchanged";
}

static bool is_to(const struct registration *r, const char *action)
{
	return !strcmp(r->action, action);
}

/* The events of @object, which may be NULL, and @added. Owned by the caller. */
static json_t *all_events(const json_t *object, json_t *added)
{
	json_t *all = json_array();

	if (object)
		json_array_extend(all, json_object_get(object, "enabled_events"));
	json_array_extend(all, added);
	return all;
}

/* ---- changes ---- */

static int write_endpoint(struct buf *form, const struct stripe_session *s, const json_t *object,
			  const struct registration *r)
{
	json_t *all = all_events(object, r->added), *name;
	char field[48];
	int err = 0;
	size_t i;

	if (!object)
		err = form_add(form, "url", s->url) ?: form_add(form, "description", NAME);
	if (!object && !err)
		err = form_add(form, "api_version", s->config->stripe.api_version);
	if (object && r->is_enabled_again)
		err = form_add(form, "disabled", "false");
	json_array_foreach (all, i, name) {
		snprintf(field, sizeof(field), "enabled_events[%zu]", i);
		if (!err)
			err = form_add(form, field, json_string_value(name));
	}
	json_decref(all);
	return err;
}

static void change_endpoint(struct stripe_session *s, const json_t *object, struct registration *r)
{
	json_t *answer = NULL;
	char path[192];
	struct buf form;

	snprintf(path, sizeof(path), "/v1/webhook_endpoints%s%s", object ? "/" : "", r->id);
	buf_init(&form, MAX_FORM);
	if (!write_endpoint(&form, s, object, r))
		answer = session_post(s, path, buf_text(&form), "webhook endpoints");
	buf_done(&form);
	field_copy(field_text(answer, "id"), r->id, sizeof(r->id));
	field_copy(field_text(answer, "secret"), r->secret, sizeof(r->secret));
	if (!answer)
		r->action = "failed";
	json_decref(answer);
}

static json_t *post_json(struct stripe_session *s, const char *path, json_t *body)
{
	char *text = json_dumps(body, JSON_COMPACT);
	json_t *answer = NULL;

	json_decref(body);
	if (text)
		answer = session_post(s, path, text_of(text), "event destinations");
	free(text);
	return answer;
}

static void change_destination(struct stripe_session *s, const json_t *object,
			       struct registration *r)
{
	json_t *all = all_events(object, r->added), *answer = NULL;
	char path[192];

	snprintf(path, sizeof(path), "/v2/core/event_destinations%s%s", object ? "/" : "", r->id);
	if (!object)
		answer = post_json(s, path,
				   json_pack("{s:s, s:s, s:s, s:O, s:{s:s}, s:[s]}", "name", NAME,
					     "type", "webhook_endpoint", "event_payload", "thin",
					     "enabled_events", all, "webhook_endpoint", "url",
					     s->url, "include", "webhook_endpoint.signing_secret"));
	else if (json_array_size(r->added))
		answer = post_json(s, path, json_pack("{s:O}", "enabled_events", all));
	if (object && r->is_enabled_again && (answer || !json_array_size(r->added))) {
		json_decref(answer);
		snprintf(path, sizeof(path), "/v2/core/event_destinations/%s/enable", r->id);
		answer = post_json(s, path, json_object());
	}
	if (answer) {
		field_copy(field_text(answer, "id"), r->id, sizeof(r->id));
		field_copy(field_text(answer, "webhook_endpoint.signing_secret"), r->secret,
			   sizeof(r->secret));
	} else {
		r->action = "failed";
	}
	json_decref(answer);
	json_decref(all);
}

/* ---- checks ---- */

/* Events of a newer API version than the calls use may have a shape that is not known yet. */
static void check_version(struct stripe_session *s, const json_t *endpoint)
{
	const char *version = field_text(endpoint, "api_version");
	const char *own = s->config->stripe.api_version;
	const char *remedy = "delete the endpoint and run `tollgate stripe setup`, because its "
			     "version cannot be changed";

	if (!version)
		return;
	if (strncmp(version, own, 10) > 0)
		session_problem(s, "version", s->url, remedy,
				"the endpoint's API version %s is newer than stripe.api_version %s",
				version, own);
	else if (strncmp(version, OLDEST_API, 10) < 0)
		session_problem(s, "version", s->url, remedy,
				"the endpoint's API version %s is older than " OLDEST_API
				", the oldest that tollgate supports",
				version);
}

static void check_current(struct stripe_session *s, const struct current *c)
{
	if (c->same > 1)
		session_problem(
			s, "endpoint", s->url, "delete all but one at Stripe",
			"%u enabled endpoints have this URL, so events arrive several times",
			c->same);
	if (c->endpoint)
		check_version(s, c->endpoint);
}

void stripe_register(struct stripe_session *s, bool is_dry_run, struct registrations *ret)
{
	json_t *names, *thin_names = names_for_destination(s->config);
	struct current c;

	*ret = (struct registrations){ .endpoint.action = "unknown",
				       .destination.action = "unknown" };
	read_current(s, &c);
	names = names_for_endpoint(&c);
	ret->others = c.others;
	if (c.endpoints) {
		plan(&ret->endpoint, c.endpoint, names);
		check_current(s, &c);
		if (!is_dry_run &&
		    (is_to(&ret->endpoint, "created") || is_to(&ret->endpoint, "updated")))
			change_endpoint(s, c.endpoint, &ret->endpoint);
	}
	if (c.destinations) {
		plan(&ret->destination, c.destination, thin_names);
		if (!is_dry_run &&
		    (is_to(&ret->destination, "created") || is_to(&ret->destination, "updated")))
			change_destination(s, c.destination, &ret->destination);
	}
	json_decref(names);
	json_decref(thin_names);
	current_done(&c);
}

static void report_missing(struct stripe_session *s, const char *noun, const struct registration *r)
{
	static const char remedy[] = "run `tollgate stripe setup`";
	struct buf names;
	json_t *name;
	size_t i;

	if (is_to(r, "created")) {
		session_problem(s, "endpoint", s->url, remedy, "Stripe has no %s with this URL",
				noun);
		return;
	}
	if (r->is_enabled_again)
		session_problem(s, "endpoint", s->url, remedy, "the %s %s is disabled", noun,
				r->id);
	if (!json_array_size(r->added))
		return;
	buf_init(&names, MAX_FORM);
	json_array_foreach (r->added, i, name)
		buf_printf(&names, "%s%s", i ? ", " : "", json_string_value(name));
	session_problem(s, "events", s->url, remedy, "the %s %s does not get %.*s", noun, r->id,
			TEXT_ARG(buf_text(&names)));
	buf_done(&names);
}

void stripe_check_registrations(struct stripe_session *s, struct registrations *ret)
{
	stripe_register(s, true, ret);
	report_missing(s, "webhook endpoint", &ret->endpoint);
	report_missing(s, "event destination for thin events", &ret->destination);
}

void registrations_done(struct registrations *r)
{
	json_decref(r->endpoint.added);
	json_decref(r->destination.added);
}
