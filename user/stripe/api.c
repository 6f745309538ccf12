/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * api: calls to Stripe's API.
 *
 * A call is in exactly one list: `urgent` or `ready` while it waits to be sent, `on_the_way` while
 * it waits for its answer, `resting` while it waits for a retry. One timer fires when the limiter
 * allows the next call or the first rest is over, whichever is sooner.
 *
 * The limiter keeps a ring with the times of the last calls_per_second calls, so no period of one
 * second has more calls than that, wherever it begins.
 */
#include "stripe/api.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include <curl/curl.h>
#include <openssl/crypto.h>

#include "base/backoff.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"

#define MAX_WAITING	   20000
#define MAX_ON_THE_WAY	   20
#define MAX_TRIES	   5
#define MAX_TRIES_URGENT   2
#define MAX_URGENT_REST_MS 3000	 /* a customer is waiting for a page */
#define MAX_ASKED_REST_MS  60000 /* the longest Retry-After that is obeyed */
#define CONNECT_MS	   10000
#define TOTAL_MS	   30000
#define TOTAL_URGENT_MS	   15000
#define MAX_ANSWER	   (16 << 20)
#define WHY_MAX		   512

static const struct backoff rests_ms = { .first = 500, .most = 8000 };

struct call {
	TAILQ_ENTRY(call) entry; /* in one of the lists */
	struct stripe_api *api;	 /* borrowed */
	stripe_done done;
	void *arg;
	char *method, *path, *form, *key; /* owned */
	struct transfer *transfer;	  /* while it is on the way, else NULL */
	bool is_urgent;
	unsigned tries;
	uint64_t due_ms; /* when the rest is over, in loop time */
};

TAILQ_HEAD(call_list, call);

struct stripe_api {
	uv_loop_t *loop;		      /* borrowed */
	struct transfers *transfers;	      /* borrowed */
	char *authorization, *base, *version; /* owned */
	uv_timer_t timer;
	struct call_list urgent, ready, resting, on_the_way;
	unsigned on_the_way_count;
	uint64_t *sent_ms;	     /* owned: the limiter's ring of loop times; 0: not used yet */
	unsigned places, next_place; /* size of the ring, and where the oldest time is */
	struct stripe_api_counters counters;
	uint64_t date_s, date_ns; /* of the last answer, and on the monotonic clock; 0: none yet */
};

static void on_timer(uv_timer_t *timer);

/* Send from the loop, not from here: the caller may be in the middle of a change of the lists. */
static void pump_soon(struct stripe_api *api)
{
	uv_timer_start(&api->timer, on_timer, 0, 0);
}

/* ---- calls ---- */

static void call_free(struct call *call)
{
	free(call->method);
	free(call->path);
	free(call->form);
	free(call->key);
	free(call);
}

static void list_free(struct call_list *list)
{
	struct call *call;

	while ((call = TAILQ_FIRST(list))) {
		TAILQ_REMOVE(list, call, entry);
		call_free(call);
	}
}

static void make_ready(struct call *call)
{
	struct stripe_api *api = call->api;
	struct call_list *list = call->is_urgent ? &api->urgent : &api->ready;

	TAILQ_INSERT_TAIL(list, call, entry);
}

/* ---- answers ---- */

static const char *text_at(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

static uint64_t date_of(const struct transfer_result *result)
{
	struct text date;
	char copy[64];
	time_t at;

	if (!transfer_field(result, "Date", &date) || date.len >= sizeof(copy))
		return 0;
	snprintf(copy, sizeof(copy), "%.*s", TEXT_ARG(date));
	at = curl_getdate(copy, NULL);
	return at > 0 ? (uint64_t)at : 0;
}

static bool should_retry(const struct transfer_result *result)
{
	struct text word;

	if (result->err)
		return result->err != -EMSGSIZE;
	if (result->status < 300)
		return false;
	if (transfer_field(result, "Stripe-Should-Retry", &word))
		return text_is(word, "true");
	return result->status == 409 || result->status == 429 || result->status >= 500;
}

/*
 * How long to rest before the next attempt: longer each time, and at least as long as Stripe asks
 * for.
 */
static uint64_t rest_ms(const struct call *call, const struct transfer_result *result)
{
	uint64_t span_ms = backoff_draw(&rests_ms, call->tries), asked_s;
	struct text word;

	if (!result->err && transfer_field(result, "Retry-After", &word) &&
	    !text_parse_u64(word, MAX_ASKED_REST_MS / 1000, &asked_s) && asked_s * 1000 > span_ms)
		span_ms = asked_s * 1000;
	return span_ms;
}

/*
 * How much of @path may be logged: not the query, and only the beginning of a checkout session's
 * ID, because the whole ID helps to claim a key.
 */
static int shown_len(const char *path)
{
	size_t len = strcspn(path, "?");
	const char *session = memmem(path, len, "/cs_", 4);
	size_t shown = session ? (size_t)(session - path) + 12 : 96;

	return (int)(len < shown ? len : shown);
}

static void describe(const struct call *call, const struct transfer_result *result,
		     struct stripe_answer *answer, const json_t *body, char why[WHY_MAX])
{
	const json_t *error = json_object_get(body, "error");
	struct text id = TEXT("");

	answer->type = text_at(error, "type");
	answer->code = text_at(error, "code");
	answer->message = text_at(error, "message");
	answer->why = why;
	why[0] = '\0';
	if (!answer->err)
		return;
	transfer_field(result, "Request-Id", &id);
	if (result->err)
		snprintf(why, WHY_MAX, "%s %.*s: %s", call->method, shown_len(call->path),
			 call->path, result->words[0] ? result->words : strerror(-result->err));
	else
		snprintf(why, WHY_MAX, "%s %.*s: %u %s%s%s: %.200s (request %.*s)", call->method,
			 shown_len(call->path), call->path, result->status, answer->type,
			 answer->code[0] ? " " : "", answer->code, answer->message,
			 (int)(id.len < 64 ? id.len : 64), id.ptr);
}

static void note_date(struct stripe_api *api, uint64_t date_s)
{
	if (!date_s)
		return;
	api->date_s = date_s;
	api->date_ns = clock_mono_ns();
}

bool stripe_answer_may_pass(const struct stripe_answer *answer)
{
	return !answer->status || answer->status == 401 || answer->status == 403 ||
	       answer->status == 409 || answer->status == 429 || answer->status >= 500;
}

uint64_t stripe_api_now_s(const struct stripe_api *api)
{
	if (!api->date_s)
		return clock_wall_ms() / 1000;
	return api->date_s + (clock_mono_ns() - api->date_ns) / NS_PER_SECOND;
}

static void finish(struct call *call, const struct transfer_result *result)
{
	struct stripe_api *api = call->api;
	struct stripe_answer answer = { .err = result->err, .status = result->status };
	char why[WHY_MAX];
	json_t *body = NULL;

	if (!answer.err) {
		body = json_loadb(result->body.ptr ? result->body.ptr : "", result->body.len, 0,
				  NULL);
		answer.date_s = date_of(result);
		note_date(api, answer.date_s);
		if (result->status < 200 || result->status > 299)
			answer.err = -EREMOTEIO;
		else if (!json_is_object(body))
			answer.err = -EBADMSG;
		else
			answer.body = body;
	}
	describe(call, result, &answer, body, why);
	api->counters.waiting--;
	api->counters.failures += answer.err != 0;
	call->done(call->arg, &answer);
	json_decref(body);
	call_free(call);
}

/* Put the call to rest if it is worth another attempt. False if it is not. */
static bool rests(struct call *call, const struct transfer_result *result)
{
	uint64_t ms;

	if (!should_retry(result) ||
	    call->tries >= (call->is_urgent ? MAX_TRIES_URGENT : MAX_TRIES))
		return false;
	ms = rest_ms(call, result);
	if (call->is_urgent && ms > MAX_URGENT_REST_MS)
		return false;
	call->due_ms = uv_now(call->api->loop) + ms;
	TAILQ_INSERT_TAIL(&call->api->resting, call, entry);
	return true;
}

static void on_transfer(void *arg, const struct transfer_result *result)
{
	struct call *call = arg;
	struct stripe_api *api = call->api;

	call->transfer = NULL;
	TAILQ_REMOVE(&api->on_the_way, call, entry);
	api->on_the_way_count--;
	pump_soon(api);
	if (!rests(call, result))
		finish(call, result);
}

/* ---- sending ---- */

static int send_call(struct call *call)
{
	struct stripe_api *api = call->api;
	bool is_post = !strcmp(call->method, "POST");
	bool is_v2 = !strncmp(call->path, "/v2/", 4); /* takes JSON instead of forms */
	char key[320];
	const char *fields[] = {
		api->authorization,
		api->version,
		!is_post ? NULL
		: is_v2	 ? "Content-Type: application/json"
			 : "Content-Type: application/x-www-form-urlencoded",
		is_post ? key : NULL,
		NULL,
	};
	struct transfer_request request = {
		.method = call->method,
		.fields = fields,
		.body = is_post ? text_of(call->form) : (struct text){ 0 },
		.connect_ms = CONNECT_MS,
		.total_ms = call->is_urgent ? TOTAL_URGENT_MS : TOTAL_MS,
		.max_answer_bytes = MAX_ANSWER,
	};
	char *url;
	int err;

	snprintf(key, sizeof(key), "Idempotency-Key: %s", call->key);
	if (asprintf(&url, "%s%s", api->base, call->path) < 0)
		return -ENOMEM;
	request.url = url;
	err = transfer_request(api->transfers, &request, on_transfer, call, &call->transfer);
	free(url);
	return err;
}

/*
 * Make calls ready whose rest is over. Returns when the next rest is over; UINT64_MAX if no call
 * rests.
 */
static uint64_t wake_rested(struct stripe_api *api, uint64_t now_ms)
{
	uint64_t next_ms = UINT64_MAX;
	struct call *call, *following;

	for (call = TAILQ_FIRST(&api->resting); call; call = following) {
		following = TAILQ_NEXT(call, entry);
		if (call->due_ms > now_ms) {
			next_ms = call->due_ms < next_ms ? call->due_ms : next_ms;
			continue;
		}
		TAILQ_REMOVE(&api->resting, call, entry);
		make_ready(call);
	}
	return next_ms;
}

/* When the limiter allows the next call; never before @now_ms. */
static uint64_t next_place_ms(const struct stripe_api *api, uint64_t now_ms)
{
	uint64_t sent_ms = api->sent_ms[api->next_place];

	return sent_ms && sent_ms + 1000 > now_ms ? sent_ms + 1000 : now_ms;
}

static int start(struct call *call, uint64_t now_ms)
{
	struct stripe_api *api = call->api;
	int err;

	api->sent_ms[api->next_place] = now_ms;
	api->next_place = (api->next_place + 1) % api->places;
	call->tries++;
	api->counters.calls++;
	api->counters.retries += call->tries > 1;
	err = send_call(call);
	if (err)
		return err;
	TAILQ_INSERT_TAIL(&api->on_the_way, call, entry);
	api->on_the_way_count++;
	return 0;
}

/* Send all calls that may be sent now, and set the timer for the rest. */
static void pump(struct stripe_api *api)
{
	uint64_t now_ms = uv_now(api->loop), next_ms = wake_rested(api, now_ms);

	while (api->on_the_way_count < MAX_ON_THE_WAY) {
		struct call_list *list = TAILQ_EMPTY(&api->urgent) ? &api->ready : &api->urgent;
		struct call *call = TAILQ_FIRST(list);
		uint64_t place_ms = next_place_ms(api, now_ms);
		int err;

		if (!call)
			break;
		if (place_ms > now_ms) {
			next_ms = place_ms < next_ms ? place_ms : next_ms;
			break;
		}
		TAILQ_REMOVE(list, call, entry);
		err = start(call, now_ms);
		if (err) {
			pump_soon(api);
			finish(call, &(struct transfer_result){ .err = err, .words = "" });
			return;
		}
	}
	if (next_ms != UINT64_MAX)
		uv_timer_start(&api->timer, on_timer, next_ms - now_ms, 0);
}

static void on_timer(uv_timer_t *timer)
{
	pump(timer->data);
}

/* ---- public ---- */

static void refuse(stripe_done done, void *arg, int err, const char *why)
{
	const struct stripe_answer answer = {
		.err = err, .type = "", .code = "", .message = "", .why = why
	};

	done(arg, &answer);
}

static char *make_key(const char *given)
{
	uint8_t bytes[16];
	char hex[33];

	if (given)
		return strdup(given);
	if (crypto_random(bytes, sizeof(bytes)))
		return NULL;
	text_hex(bytes, sizeof(bytes), hex);
	return strdup(hex);
}

void stripe_api_call(struct stripe_api *api, const struct stripe_call *wanted, stripe_done done,
		     void *arg)
{
	struct call *call;

	if (api->counters.waiting >= MAX_WAITING) {
		refuse(done, arg, -ENOBUFS, "too many calls to Stripe are waiting");
		return;
	}
	call = calloc(1, sizeof(*call));
	if (call) {
		call->method = strdup(wanted->method);
		call->path = strdup(wanted->path);
		call->form = text_dup(wanted->form);
		call->key = make_key(wanted->idempotency_key);
	}
	if (!call || !call->method || !call->path || !call->form || !call->key) {
		if (call)
			call_free(call);
		refuse(done, arg, -ENOMEM, "out of memory");
		return;
	}
	call->api = api;
	call->done = done;
	call->arg = arg;
	call->is_urgent = wanted->is_interactive;
	api->counters.waiting++;
	make_ready(call);
	pump_soon(api);
}

const struct stripe_api_counters *stripe_api_counters(const struct stripe_api *api)
{
	return &api->counters;
}

static void free_secret(char *text)
{
	if (text)
		OPENSSL_cleanse(text, strlen(text));
	free(text);
}

/* Resize the ring. All places count as just used, so the new limit is never exceeded. */
static int set_places(struct stripe_api *api, unsigned calls_per_second)
{
	unsigned places = calls_per_second ? calls_per_second : 1;
	uint64_t *sent_ms;

	if (places == api->places)
		return 0;
	sent_ms = calloc(places, sizeof(*sent_ms));
	if (!sent_ms)
		return -ENOMEM;
	for (unsigned i = 0; i < places && api->places; i++)
		sent_ms[i] = uv_now(api->loop);
	free(api->sent_ms);
	api->sent_ms = sent_ms;
	api->places = places;
	api->next_place = 0;
	return 0;
}

int stripe_api_set_config(struct stripe_api *api, const struct stripe_api_config *config)
{
	char *authorization, *version = NULL, *base = strdup(config->base);

	if (asprintf(&authorization, "Authorization: Bearer %s", config->secret_key) < 0)
		authorization = NULL;
	if (asprintf(&version, "Stripe-Version: %s", config->version) < 0)
		version = NULL;
	if (!authorization || !version || !base || set_places(api, config->calls_per_second)) {
		free_secret(authorization);
		free(version);
		free(base);
		return -ENOMEM;
	}
	free_secret(api->authorization);
	free(api->version);
	free(api->base);
	api->authorization = authorization;
	api->version = version;
	api->base = base;
	return 0;
}

struct stripe_api *stripe_api_new(uv_loop_t *loop, struct transfers *transfers,
				  const struct stripe_api_config *config)
{
	struct stripe_api *api = calloc(1, sizeof(*api));

	if (!api)
		return NULL;
	api->loop = loop;
	if (stripe_api_set_config(api, config) || uv_timer_init(loop, &api->timer)) {
		free(api->sent_ms);
		free(api);
		return NULL;
	}
	api->transfers = transfers;
	TAILQ_INIT(&api->urgent);
	TAILQ_INIT(&api->ready);
	TAILQ_INIT(&api->resting);
	TAILQ_INIT(&api->on_the_way);
	uv_unref((uv_handle_t *)&api->timer);
	api->timer.data = api;
	return api;
}

static void on_timer_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void stripe_api_free(struct stripe_api *api)
{
	struct call *call;

	if (!api)
		return;
	TAILQ_FOREACH (call, &api->on_the_way, entry)
		transfer_cancel(call->transfer);
	list_free(&api->urgent);
	list_free(&api->ready);
	list_free(&api->resting);
	list_free(&api->on_the_way);
	free_secret(api->authorization);
	free(api->version);
	free(api->base);
	free(api->sent_ms);
	uv_close((uv_handle_t *)&api->timer, on_timer_closed);
}
