/* SPDX-License-Identifier: BSD-2-Clause */
/* stripe_session: see stripe_session.h. */
#include "agent/stripe_session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "http/form.h"
#include "net/transfer.h"

#define AWAKE_MS	1000
#define MAX_TRANSFERS	4
#define MAX_PATH	4096
#define MAX_PAGES	100
#define AGENT_MS	5000
#define MAX_AGENT_BYTES (1 << 20)

static void on_awake(uv_timer_t *timer)
{
	(void)timer;
}

int session_open(struct stripe_session *s, const struct config *config)
{
	const struct stripe_settings *settings = &config->stripe;
	const struct stripe_api_config api = {
		.secret_key = settings->secret_key,
		.base = settings->api_base,
		.version = settings->api_version,
		.calls_per_second = settings->calls_per_second,
	};
	int err;

	*s = (struct stripe_session){ .config = config };
	err = uv_loop_init(&s->loop);
	if (err)
		return err;
	uv_timer_init(&s->loop, &s->awake);
	uv_timer_start(&s->awake, on_awake, AWAKE_MS, AWAKE_MS);
	s->findings = json_array();
	s->transfers = transfers_new(&s->loop, MAX_TRANSFERS, MAX_TRANSFERS);
	if (s->transfers)
		s->api = stripe_api_new(&s->loop, s->transfers, &api);
	return s->api && s->findings ? 0 : -ENOMEM;
}

void session_close(struct stripe_session *s)
{
	json_decref(s->findings);
	json_decref(s->body);
	if (!s->awake.loop) /* the loop could not be made */
		return;
	stripe_api_free(s->api);
	transfers_free(s->transfers);
	uv_close((uv_handle_t *)&s->awake, NULL);
	uv_run(&s->loop, UV_RUN_DEFAULT);
	uv_loop_close(&s->loop);
}

/* ---- calls ---- */

static void on_answer(void *arg, const struct stripe_answer *answer)
{
	struct stripe_session *s = arg;

	s->is_answered = true;
	s->err = answer->err;
	s->status = answer->status;
	s->body = answer->err ? NULL : json_incref(answer->body);
	snprintf(s->why, sizeof(s->why), "%s", answer->why ? answer->why : strerror(-answer->err));
	if (answer->date_s) {
		s->has_date = true;
		s->ahead_s = (int64_t)(clock_wall_ms() / 1000) - (int64_t)answer->date_s;
	}
}

/* Report a call that failed because of the network or the key, not because of what it asked. */
static void note_failure(struct stripe_session *s, const char *what)
{
	if (s->err == -EREMOTEIO && s->status == 401) {
		s->is_lost = true;
		session_problem(s, "key", "stripe.secret_key",
				"copy the key from Stripe's dashboard again",
				"Stripe does not accept the key");
	} else if (s->err == -EREMOTEIO && s->status == 403) {
		session_problem(s, "key", "stripe.secret_key",
				"add the permission to the restricted key in Stripe's dashboard",
				"the key may not access %s", what);
	} else if (s->err == -EREMOTEIO && s->status < 500) {
		session_problem(s, "call", what, "see Stripe's message",
				"Stripe refused the call: %s", s->why);
	} else {
		s->is_lost = true;
		session_problem(s, "reach", "Stripe",
				"check the network, and stripe.api_base if it is set",
				"cannot be reached: %s", s->why);
	}
}

static json_t *ask(struct stripe_session *s, const struct stripe_call *call, const char *what)
{
	json_t *body;

	if (s->is_lost)
		return NULL;
	s->is_answered = false;
	stripe_api_call(s->api, call, on_answer, s);
	while (!s->is_answered)
		uv_run(&s->loop, UV_RUN_ONCE);
	body = s->body;
	s->body = NULL;
	if (!body && (what || s->status == 401) && s->status != 404 && s->status != 400)
		note_failure(s, what ? what : "an object");
	return body;
}

json_t *session_get(struct stripe_session *s, const char *path, const char *what)
{
	const struct stripe_call call = { .method = "GET", .path = path, .is_interactive = true };

	return ask(s, &call, what);
}

json_t *session_post(struct stripe_session *s, const char *path, struct text body, const char *what)
{
	const struct stripe_call call = {
		.method = "POST", .path = path, .form = body, .is_interactive = true
	};
	json_t *answer = ask(s, &call, what);

	if (!answer && !s->is_lost && (s->status == 400 || s->status == 404))
		note_failure(s, what);
	return answer;
}

/* The path of the page after @page of the list at @first; false if it was the last one. */
static bool next_path(const json_t *page, const char *first, struct buf *path)
{
	const json_t *data = json_object_get(page, "data");
	const json_t *last = json_array_get(data, json_array_size(data) - 1);
	const char *id = json_string_value(json_object_get(last, "id"));
	const char *next = json_string_value(json_object_get(page, "next_page_url"));

	buf_clear(path);
	if (next)
		return !buf_append_str(path, next) && !buf_append(path, "", 1);
	return json_is_true(json_object_get(page, "has_more")) && id &&
	       !buf_printf(path, "%s&starting_after=", first) && !form_encode(path, id) &&
	       !buf_append(path, "", 1);
}

json_t *session_list(struct stripe_session *s, const char *first, const char *what)
{
	json_t *all = json_array(), *page;
	bool has_more = true;
	struct buf path;

	buf_init(&path, MAX_PATH);
	if (buf_append_str(&path, first) || buf_append(&path, "", 1))
		has_more = false;
	for (unsigned i = 0; i < MAX_PAGES && has_more; i++) {
		page = session_get(s, buf_head(&path), what);
		if (!page && !s->is_lost && (s->status == 400 || s->status == 404))
			note_failure(s, what);
		if (!page) {
			json_decref(all);
			all = NULL;
			break;
		}
		json_array_extend(all, json_object_get(page, "data"));
		has_more = next_path(page, first, &path);
		json_decref(page);
	}
	buf_done(&path);
	return all;
}

/* ---- the running agent ---- */

static void on_agent(void *arg, const struct transfer_result *result)
{
	struct stripe_session *s = arg;

	s->is_answered = true;
	s->err = result->err;
	s->status = result->status;
	s->body = NULL;
	snprintf(s->why, sizeof(s->why), "%s", result->words);
	if (!result->err && result->status == 200)
		s->body = json_loadb(result->body.ptr ? result->body.ptr : "", result->body.len, 0,
				     NULL);
}

json_t *session_agent(struct stripe_session *s, const char *path)
{
	char url[256];
	const struct transfer_request request = {
		.method = "GET",
		.url = url,
		.total_ms = AGENT_MS,
		.max_answer_bytes = MAX_AGENT_BYTES,
		.unix_socket = s->config->admin_socket,
	};
	json_t *body;

	snprintf(url, sizeof(url), "http://localhost%s", path);
	s->is_answered = false;
	s->err = transfer_request(s->transfers, &request, on_agent, s, NULL);
	if (s->err) {
		snprintf(s->why, sizeof(s->why), "%s", strerror(-s->err));
		return NULL;
	}
	while (!s->is_answered)
		uv_run(&s->loop, UV_RUN_ONCE);
	body = s->body;
	s->body = NULL;
	return body;
}

/* ---- findings ---- */

void session_add(struct stripe_session *s, const struct finding *f)
{
	s->problems += !f->is_note;
	json_array_append_new(s->findings, json_pack("{s:s, s:b, s:s, s:s, s:s}", "check", f->check,
						     "is_problem", !f->is_note, "where", f->where,
						     "what", f->what, "remedy", f->remedy));
}

/* Add @finding, whose `what` is formatted here. */
static void add_formatted(struct stripe_session *s, struct finding finding, const char *format,
			  va_list args)
{
	char what[4096];

	vsnprintf(what, sizeof(what), format, args);
	finding.what = what;
	session_add(s, &finding);
}

void session_problem(struct stripe_session *s, const char *check, const char *where,
		     const char *remedy, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	add_formatted(s, (struct finding){ .check = check, .where = where, .remedy = remedy },
		      format, args);
	va_end(args);
}

void session_note(struct stripe_session *s, const char *check, const char *where,
		  const char *remedy, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	add_formatted(s,
		      (struct finding){
			      .check = check, .where = where, .remedy = remedy, .is_note = true },
		      format, args);
	va_end(args);
}
