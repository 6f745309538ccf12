/* SPDX-License-Identifier: BSD-2-Clause */
/* api_test: calls of Stripe's API, answered by a local server that follows a script. */
#include "stripe/api.h"
#include "unit/net/peer.h"

#define KEY "sk_test_secretsecret"

#define OK_ANSWER                                                                           \
	{                                                                                   \
		PEER_OK("Date: Wed, 28 Oct 2026 01:02:03 GMT\r\n", 12, "{\"id\":\"x_1\"}"), \
			PEER_KEEP, NULL                                                     \
	}
#define FAILURE(status, fields, body)                                                      \
	{                                                                                  \
		"HTTP/1.1 " status "\r\nRequest-Id: req_7\r\nConnection: close\r\n" fields \
		"\r\n" body,                                                               \
			PEER_CLOSE, NULL                                                   \
	}

struct fixture {
	uv_loop_t loop;
	struct peer peer;
	struct transfers *transfers;
	struct stripe_api *api;
	char base[128];
	unsigned ends;
	int err;
	unsigned status;
	uint64_t date_s, end_ns;
	char id[64], type[64], code[64], message[128], why[512];
	char order[64]; /* the letters of the calls that have ended */
};

struct named {
	struct fixture *f;
	char letter;
};

static void on_answer(void *arg, const struct stripe_answer *answer)
{
	struct fixture *f = arg;
	const char *id = json_string_value(json_object_get(answer->body, "id"));

	f->ends++;
	f->err = answer->err;
	f->status = answer->status;
	f->date_s = answer->date_s;
	f->end_ns = clock_mono_ns();
	snprintf(f->id, sizeof(f->id), "%s", id ? id : "");
	snprintf(f->type, sizeof(f->type), "%s", answer->type);
	snprintf(f->code, sizeof(f->code), "%s", answer->code);
	snprintf(f->message, sizeof(f->message), "%s", answer->message);
	snprintf(f->why, sizeof(f->why), "%s", answer->why);
	assert_true(!answer->body == !!answer->err);
}

static void on_named(void *arg, const struct stripe_answer *answer)
{
	struct named *named = arg;

	assert_int_equal(answer->err, 0);
	named->f->order[named->f->ends++] = named->letter;
}

static struct stripe_api_config config(const struct fixture *f)
{
	return (struct stripe_api_config){ .secret_key = KEY,
					   .base = f->base,
					   .version = "2026-10-28.endive",
					   .calls_per_second = 100 };
}

static void start(struct fixture *f, const struct peer_answer *script)
{
	struct stripe_api_config wanted;

	*f = (struct fixture){ 0 };
	assert_int_equal(uv_loop_init(&f->loop), 0);
	peer_start(&f->peer, &f->loop, script);
	peer_url(&f->peer, "http", "127.0.0.1", "", f->base);
	f->transfers = transfers_new(&f->loop, 64, 32);
	wanted = config(f);
	f->api = stripe_api_new(&f->loop, f->transfers, &wanted);
	assert_non_null(f->api);
}

static void stop(struct fixture *f)
{
	stripe_api_free(f->api);
	transfers_free(f->transfers);
	peer_stop(&f->peer);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	peer_done(&f->peer);
	assert_int_equal(uv_loop_close(&f->loop), 0);
}

static void run(struct fixture *f, struct stripe_call call)
{
	f->ends = 0;
	stripe_api_call(f->api, &call, on_answer, f);
	assert_int_equal(f->ends, 0);
	PEER_WAIT(&f->peer, f->ends == 1);
	assert_int_equal(stripe_api_counters(f->api)->waiting, 0);
}

static const struct stripe_call get = { .method = "GET", .path = "/v1/things/x_1?expand[0]=y" };
static const struct stripe_call post = { .method = "POST",
					 .path = "/v1/things",
					 .form = { "a=1", 3 } };

/* The value of the field @name in request @i to the server; "" if it is missing. */
static const char *field(const struct fixture *f, unsigned i, const char *name)
{
	static char values[4][256];
	static unsigned next;
	char wanted[64];
	char *value = values[next++ % 4];
	const char *at;

	assert_true(i < f->peer.request_count);
	snprintf(wanted, sizeof(wanted), "\r\n%s: ", name);
	at = strstr(f->peer.requests[i], wanted);
	if (at)
		at += strlen(wanted);
	snprintf(value, sizeof(values[0]), "%.*s", at ? (int)strcspn(at, "\r") : 0, at ? at : "");
	return value;
}

static void a_call_is_sent_and_its_answer_is_read(void **state)
{
	static const struct peer_answer script[] = { OK_ANSWER, OK_ANSWER, { 0 } };
	struct fixture f;

	(void)state;
	start(&f, script);
	run(&f, get);
	assert_int_equal(f.err, 0);
	assert_int_equal(f.status, 200);
	assert_string_equal(f.id, "x_1");
	assert_string_equal(f.why, "");
	assert_int_equal(f.date_s, 1793149323);
	assert_ptr_equal(strstr(f.peer.requests[0], "GET /v1/things/x_1?expand[0]=y HTTP/1.1\r\n"),
			 f.peer.requests[0]);
	assert_string_equal(field(&f, 0, "Authorization"), "Bearer " KEY);
	assert_string_equal(field(&f, 0, "Stripe-Version"), "2026-10-28.endive");
	assert_string_equal(field(&f, 0, "Idempotency-Key"), "");
	run(&f, post);
	assert_int_equal(f.err, 0);
	assert_ptr_equal(strstr(f.peer.requests[1], "POST /v1/things HTTP/1.1\r\n"),
			 f.peer.requests[1]);
	assert_string_equal(field(&f, 1, "Content-Type"), "application/x-www-form-urlencoded");
	assert_int_equal(strlen(field(&f, 1, "Idempotency-Key")), 32);
	assert_non_null(strstr(f.peer.requests[1], "\r\n\r\na=1"));
	stop(&f);
}

static void all_attempts_of_a_post_have_the_same_key(void **state)
{
	static const struct peer_answer script[] = { FAILURE("429 Too Many", "", "{}"),
						     { NULL, PEER_RESET, NULL },
						     FAILURE("503 Away", "", "<html>"),
						     OK_ANSWER,
						     FAILURE("409 Conflict", "", ""),
						     OK_ANSWER,
						     { 0 } };
	struct fixture f;
	struct stripe_call call = post;

	(void)state;
	start(&f, script);
	run(&f, post);
	assert_int_equal(f.err, 0);
	assert_int_equal(f.peer.request_count, 4);
	assert_int_equal(strlen(field(&f, 0, "Idempotency-Key")), 32);
	for (unsigned i = 1; i < 4; i++)
		assert_string_equal(field(&f, 0, "Idempotency-Key"),
				    field(&f, i, "Idempotency-Key"));
	assert_int_equal(stripe_api_counters(f.api)->calls, 4);
	assert_int_equal(stripe_api_counters(f.api)->retries, 3);
	assert_int_equal(stripe_api_counters(f.api)->failures, 0);
	call.idempotency_key = "tg_1_2";
	run(&f, call);
	assert_string_equal(field(&f, 4, "Idempotency-Key"), "tg_1_2");
	assert_string_equal(field(&f, 5, "Idempotency-Key"), "tg_1_2");
	stop(&f);
}

/* Stripe-Should-Retry overrides the status. */
static void a_call_is_retried_if_that_can_help(void **state)
{
	static const struct {
		struct peer_answer answer;
		bool is_retried;
		const char *why;
	} rows[] = {
		{ FAILURE("500 Oops", "", "{}"), true, "500" },
		{ FAILURE("500 Oops", "Stripe-Should-Retry: false\r\n", "{}"), false,
		  "Stripe says not to retry" },
		{ FAILURE("409 Conflict", "Stripe-Should-Retry: false\r\n", "{}"), false,
		  "Stripe says not to retry" },
		{ FAILURE("400 Bad", "Stripe-Should-Retry: true\r\n", "{}"), true,
		  "Stripe says to retry" },
		{ FAILURE("400 Bad", "", "{}"), false, "400" },
		{ FAILURE("401 No", "", "{}"), false, "401" },
		{ FAILURE("302 There", "Location: http://127.0.0.1:1/\r\n", ""), false, "302" },
		{ { NULL, PEER_CLOSE, NULL }, true, "no answer" },
		{ FAILURE("200 OK", "", "not JSON"), false, "not JSON" },
		{ FAILURE("429 Slow", "Retry-After: 2000000000\r\n", ""), true,
		  "an absurd Retry-After" },
		{ FAILURE("429 Slow", "Retry-After: 30\r\n", ""), false,
		  "longer than a customer waits" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct peer_answer script[] = { rows[i].answer, OK_ANSWER, { 0 } };
		struct stripe_call call = get;
		struct fixture f;

		start(&f, script);
		call.is_interactive = true;
		run(&f, call);
		if (f.peer.request_count != (rows[i].is_retried ? 2 : 1) ||
		    !f.err != rows[i].is_retried)
			fail_msg("%s: %u, %s", rows[i].why, f.peer.request_count, f.why);
		stop(&f);
	}
}

static void retries_come_to_an_end(void **state)
{
	static const struct peer_answer script[] = {
		FAILURE("500 Oops", "", "{\"error\":{\"type\":\"api_error\"}}"),
		FAILURE("500 Oops", "", "{\"error\":{\"type\":\"api_error\"}}"),
		{ 0 }
	};
	struct stripe_call call = get;
	struct fixture f;

	(void)state;
	start(&f, script);
	call.is_interactive = true;
	run(&f, call);
	assert_int_equal(f.err, -EREMOTEIO);
	assert_int_equal(f.status, 500);
	assert_int_equal(f.peer.request_count, 2);
	assert_int_equal(stripe_api_counters(f.api)->failures, 1);
	stop(&f);
}

static void retry_after_is_obeyed(void **state)
{
	static const struct peer_answer script[] = { FAILURE("429 Slow", "Retry-After: 2\r\n", ""),
						     OK_ANSWER,
						     { 0 } };
	uint64_t start_ns = clock_mono_ns();
	struct fixture f;

	(void)state;
	start(&f, script);
	run(&f, get);
	assert_int_equal(f.err, 0);
	assert_true(f.end_ns - start_ns >= 1990 * NS_PER_MS);
	stop(&f);
}

static void an_error_message_has_no_secrets(void **state)
{
	static const struct peer_answer script[] = {
		FAILURE("402 Payment Required", "Date: Wed, 28 Oct 2026 01:02:03 GMT\r\n",
			"{\"error\":{\"type\":\"card_error\",\"code\":\"card_declined\","
			"\"message\":\"Your "
			"card was declined.\"}}"),
		FAILURE("404 None", "", "{\"error\":{\"type\":5}}"),
		{ 0 },
	};
	struct stripe_call call = {
		.method = "GET", .path = "/v1/checkout/sessions/cs_test_a1bSECRETSECRET?expand=z"
	};
	struct fixture f;

	(void)state;
	start(&f, script);
	run(&f, call);
	assert_int_equal(f.err, -EREMOTEIO);
	assert_int_equal(f.status, 402);
	assert_int_equal(f.date_s, 1793149323);
	assert_string_equal(f.type, "card_error");
	assert_string_equal(f.code, "card_declined");
	assert_string_equal(f.message, "Your card was declined.");
	assert_string_equal(f.why, "GET /v1/checkout/sessions/cs_test_a1b: 402 card_error "
				   "card_declined: Your card was declined. (request req_7)");
	call.path = "/v1/checkout/sessions";
	run(&f, call);
	assert_string_equal(f.why, "GET /v1/checkout/sessions: 404 :  (request req_7)");
	stop(&f);
}

static void a_refused_connection_gives_an_errno_and_a_reason(void **state)
{
	static const struct peer_answer script[] = { { 0 } };
	struct stripe_api_config wanted;
	struct stripe_call call = get;
	struct fixture f;

	(void)state;
	start(&f, script);
	wanted = config(&f);
	wanted.base = "http://127.0.0.1:1";
	assert_int_equal(stripe_api_set_config(f.api, &wanted), 0);
	call.is_interactive = true;
	run(&f, call);
	assert_int_equal(f.err, -ECONNREFUSED);
	assert_int_equal(f.status, 0);
	assert_int_equal(f.date_s, 0);
	assert_non_null(strstr(f.why, "GET /v1/things/x_1: "));
	assert_null(strstr(f.why, KEY));
	call.path = "/v1/a\r\nb";
	run(&f, call);
	assert_int_equal(f.err, -EINVAL);
	stop(&f);
}

static void a_rolled_key_is_used_from_the_next_call(void **state)
{
	static const struct peer_answer script[] = { OK_ANSWER, OK_ANSWER, { 0 } };
	struct stripe_api_config wanted;
	struct fixture f;

	(void)state;
	start(&f, script);
	run(&f, get);
	wanted = config(&f);
	wanted.secret_key = "sk_test_rolled";
	wanted.version = "2022-11-15";
	assert_int_equal(stripe_api_set_config(f.api, &wanted), 0);
	run(&f, get);
	assert_string_equal(field(&f, 1, "Authorization"), "Bearer sk_test_rolled");
	assert_string_equal(field(&f, 1, "Stripe-Version"), "2022-11-15");
	stop(&f);
}

static void interactive_calls_go_first(void **state)
{
	static const struct peer_answer script[] = {
		OK_ANSWER, OK_ANSWER, OK_ANSWER, OK_ANSWER, { 0 }
	};
	struct named named[4];
	struct fixture f;

	(void)state;
	start(&f, script);
	stripe_api_free(f.api);
	transfers_free(f.transfers);
	f.transfers = transfers_new(&f.loop, 64, 1); /* one connection, so answers come in order */
	f.api = stripe_api_new(&f.loop, f.transfers,
			       &(struct stripe_api_config){ KEY, f.base, "v", 100 });
	for (unsigned i = 0; i < 4; i++) {
		struct stripe_call call = get;

		named[i] = (struct named){ &f, (char)('a' + i) };
		call.is_interactive = i == 3;
		stripe_api_call(f.api, &call, on_named, &named[i]);
	}
	assert_int_equal(stripe_api_counters(f.api)->waiting, 4);
	PEER_WAIT(&f.peer, f.ends == 4);
	assert_string_equal(f.order, "dabc");
	stop(&f);
}

static void no_second_has_more_calls_than_allowed(void **state)
{
	static const struct peer_answer script[] = { OK_ANSWER, OK_ANSWER, OK_ANSWER,
						     OK_ANSWER, OK_ANSWER, { 0 } };
	struct stripe_api_config wanted;
	struct fixture f;
	uint64_t first_ns = 0;

	(void)state;
	start(&f, script);
	run(&f, get); /* uses one of 100 places, which must not count later */
	wanted = config(&f);
	wanted.calls_per_second = 2;
	assert_int_equal(stripe_api_set_config(f.api, &wanted), 0);
	first_ns = clock_mono_ns();
	f.ends = 0;
	for (int i = 0; i < 4; i++)
		stripe_api_call(f.api, &get, on_answer, &f);
	/*
	 * After the change nothing is sent for a second, then two calls, then two more a second
	 * later.
	 */
	PEER_WAIT(&f.peer, f.ends == 2);
	assert_true(f.end_ns - first_ns >= 990 * NS_PER_MS);
	assert_int_equal(f.peer.request_count, 3);
	PEER_WAIT(&f.peer, f.ends == 4);
	assert_true(f.end_ns - first_ns >= 1990 * NS_PER_MS);
	stop(&f);
}

static void concurrent_calls_are_limited(void **state)
{
	struct peer_answer script[22] = { 0 };
	struct fixture f;

	(void)state;
	for (int i = 0; i < 21; i++)
		script[i] = (struct peer_answer){ NULL, PEER_HOLD, NULL };
	start(&f, script);
	for (int i = 0; i < 25; i++)
		stripe_api_call(f.api, &get, on_answer, &f);
	PEER_WAIT(&f.peer, f.peer.request_count == 20);
	assert_int_equal(stripe_api_counters(f.api)->calls, 20);
	assert_int_equal(stripe_api_counters(f.api)->waiting, 25);
	conn_close(f.peer.clients[0]->conn, true);
	PEER_WAIT(&f.peer, f.peer.request_count == 21);
	stop(&f); /* while all calls are unanswered */
	assert_int_equal(f.ends, 0);
}

static void calls_are_refused_when_too_many_wait(void **state)
{
	static const struct peer_answer script[] = { { 0 } };
	struct fixture f;

	(void)state;
	start(&f, script);
	for (int i = 0; i < 20000; i++)
		stripe_api_call(f.api, &get, on_answer, &f);
	assert_int_equal(f.ends, 0);
	stripe_api_call(f.api, &get, on_answer, &f);
	assert_int_equal(f.ends, 1);
	assert_int_equal(f.err, -ENOBUFS);
	stop(&f);
	assert_int_equal(f.ends, 1);
}

static void a_call_that_cannot_be_sent_does_not_block_others(void **state)
{
	static const struct peer_answer script[] = { OK_ANSWER, { 0 } };
	struct stripe_call bad = { .method = "GET", .path = "/\n" };
	struct fixture f;

	(void)state;
	start(&f, script);
	stripe_api_call(f.api, &bad, on_answer, &f);
	stripe_api_call(f.api, &get, on_answer, &f);
	PEER_WAIT(&f.peer, f.ends == 2);
	assert_int_equal(f.err, 0);
	stop(&f);
}

static void on_answer_free(void *arg, const struct stripe_answer *answer)
{
	struct fixture *f = arg;

	f->ends++;
	f->err = answer->err;
	stripe_api_free(f->api);
	f->api = NULL;
}

static void a_callback_may_free_the_api(void **state)
{
	static const struct peer_answer script[] = { OK_ANSWER, OK_ANSWER, { 0 } };
	struct stripe_call bad = { .method = "GET", .path = "/\n" };
	struct fixture f;

	(void)state;
	for (int i = 0; i < 2; i++) {
		start(&f, script);
		stripe_api_call(f.api, i ? &bad : &get, on_answer_free, &f);
		stripe_api_call(f.api, &get, on_answer_free, &f);
		PEER_WAIT(&f.peer, f.ends == 1);
		assert_int_equal(f.err, i ? -EINVAL : 0);
		stop(&f);
		assert_int_equal(f.ends, 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_call_is_sent_and_its_answer_is_read),
		cmocka_unit_test(all_attempts_of_a_post_have_the_same_key),
		cmocka_unit_test(a_call_is_retried_if_that_can_help),
		cmocka_unit_test(retries_come_to_an_end),
		cmocka_unit_test(retry_after_is_obeyed),
		cmocka_unit_test(an_error_message_has_no_secrets),
		cmocka_unit_test(a_refused_connection_gives_an_errno_and_a_reason),
		cmocka_unit_test(a_rolled_key_is_used_from_the_next_call),
		cmocka_unit_test(interactive_calls_go_first),
		cmocka_unit_test(no_second_has_more_calls_than_allowed),
		cmocka_unit_test(concurrent_calls_are_limited),
		cmocka_unit_test(calls_are_refused_when_too_many_wait),
		cmocka_unit_test(a_call_that_cannot_be_sent_does_not_block_others),
		cmocka_unit_test(a_callback_may_free_the_api),
	};

	return cmocka_run_group_tests_name("api", tests, NULL, NULL);
}
