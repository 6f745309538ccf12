/* SPDX-License-Identifier: BSD-2-Clause */
/* Requests to servers that answer, break off, stall, answer nonsense, or do not exist. */
#include <dlfcn.h>
#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>

#include "unit/net/transfer_fixture.h"

/*
 * Replaces the function that libcurl's threads call to resolve names. Names below ".stuck" get no
 * answer while `stuck` is locked.
 */
static pthread_mutex_t stuck = PTHREAD_MUTEX_INITIALIZER;
static atomic_bool is_asked;

int getaddrinfo(const char *restrict name, const char *restrict service,
		const struct addrinfo *restrict hints, struct addrinfo **restrict result)
{
	int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

	if (name && strstr(name, ".stuck")) {
		atomic_store(&is_asked, true);
		pthread_mutex_lock(&stuck);
		pthread_mutex_unlock(&stuck);
		return EAI_NONAME;
	}
	*(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
	return real(name, service, hints, result);
}

static struct transfer_request get(const struct fixture *f)
{
	return (struct transfer_request){
		.method = "GET", .url = f->url, .total_ms = 60000, .max_answer_bytes = 1000
	};
}

static struct transfer *go(struct fixture *f, struct transfer_request request)
{
	struct transfer *t = NULL;

	assert_int_equal(transfer_request(f->transfers, &request, on_end, f, &t), 0);
	assert_int_equal(f->ends, 0);
	return t;
}

static void run(struct fixture *f, struct transfer_request request)
{
	go(f, request);
	PEER_WAIT(&f->peer, f->ends == 1);
	assert_int_equal(transfers_count(f->transfers), 0);
	f->ends = 0;
}

/* ---- HTTP ---- */

static void a_request_is_sent_as_given_and_gets_its_response(void **state)
{
	static const struct peer_answer script[] = {
		SAY("HTTP/1.1 103 Early Hints\r\nDate: wrong\r\n\r\n" PEER_OK("Date:  today \r\n",
									      5, "hello")),
		SAY("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
		SAY("HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n"),
		{ 0 },
	};
	static const char *const fields[] = { "Authorization: Bearer s", "X-Empty;", NULL };
	struct fixture f;
	struct transfer_request r;

	(void)state;
	start(&f, script);
	run(&f, get(&f));
	assert_int_equal(f.err, 0);
	assert_string_equal(f.words, "");
	assert_int_equal(f.status, 200);
	assert_string_equal(f.body, "hello");
	assert_true(f.has_date);
	assert_string_equal(f.date, "today");
	assert_ptr_equal(strstr(f.peer.requests[0], "GET /a?b=c HTTP/1.1\r\n"), f.peer.requests[0]);
	assert_non_null(strstr(f.peer.requests[0], "User-Agent: tollgate/"));

	r = get(&f);
	r.method = "POST";
	r.fields = fields;
	r.body = TEXT("x=1");
	run(&f, r);
	assert_int_equal(f.err, 0);
	assert_int_equal(f.status, 404);
	assert_false(f.has_date);
	assert_ptr_equal(strstr(f.peer.requests[1], "POST /a?b=c "), f.peer.requests[1]);
	assert_non_null(strstr(f.peer.requests[1], "\r\nAuthorization: Bearer s\r\n"));
	assert_non_null(strstr(f.peer.requests[1], "\r\n\r\nx=1"));
	assert_null(strstr(f.peer.requests[1], "Expect"));

	r.method = "DELETE";
	r.body = (struct text){ 0 };
	run(&f, r);
	assert_int_equal(f.status, 302); /* not followed */
	assert_ptr_equal(strstr(f.peer.requests[2], "DELETE /a?b=c "), f.peer.requests[2]);
	assert_int_equal(f.peer.client_count, 1); /* the connection was reused */
	stop(&f);
}

static void failures_have_their_errno(void **state)
{
	static const struct {
		struct peer_answer answer;
		int err;
		const char *why;
	} rows[] = {
		{ { NULL, PEER_RESET, NULL }, -ECONNRESET, "reset before an answer" },
		{ { "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", PEER_CLOSE, NULL },
		  -ECONNRESET,
		  "the end of the body is missing" },
		{ { "220 mail.example.com\r\n", PEER_CLOSE, NULL }, -EPROTO, "another protocol" },
		{ { "HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n", PEER_KEEP, NULL },
		  -ETIMEDOUT,
		  "the response stalls" },
		{ { NULL, PEER_HOLD, NULL }, -ETIMEDOUT, "no answer" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct peer_answer script[] = { rows[i].answer, { 0 } };
		struct fixture f;
		struct transfer_request r;

		start(&f, script);
		r = get(&f);
		if (rows[i].err == -ETIMEDOUT)
			r.total_ms = 50;
		run(&f, r);
		if (f.err != rows[i].err || !f.words[0])
			fail_msg("%s: %d %s", rows[i].why, f.err, f.words);
		stop(&f);
	}
}

static void a_response_may_have_the_maximum_size(void **state)
{
	static const struct peer_answer script[] = { SAY(PEER_OK("", 5, "12345")),
						     SAY(PEER_OK("", 6, "123456")),
						     { 0 } };
	struct fixture f;
	struct transfer_request r;

	(void)state;
	start(&f, script);
	r = get(&f);
	r.max_answer_bytes = 5;
	run(&f, r);
	assert_int_equal(f.err, 0);
	run(&f, r);
	assert_int_equal(f.err, -EMSGSIZE);
	stop(&f);
}

static void a_response_head_is_bounded(void **state)
{
	struct fixture f;
	struct peer_answer script[2] = { 0 };
	char *long_head = malloc(100000);

	(void)state;
	memset(long_head, 0, 100000);
	snprintf(long_head, 100000, "HTTP/1.1 200 OK\r\n");
	for (int i = 0; i < 40; i++) {
		char line[1024];

		snprintf(line, sizeof(line), "X-%d: %0*d\r\n", i, 1000, 0);
		memcpy(long_head + strlen(long_head), line, strlen(line));
	}
	memcpy(long_head + strlen(long_head), "Content-Length: 0\r\n\r\n", 21);
	script[0].text = long_head;
	start(&f, script);
	run(&f, get(&f));
	assert_int_equal(f.err, -EMSGSIZE);
	stop(&f);
	free(long_head);
}

static void a_refused_connection_and_an_unknown_name_have_their_errnos(void **state)
{
	static const struct peer_answer script[] = { { 0 } };
	struct fixture f;
	struct transfer_request r;

	(void)state;
	start(&f, script);
	r = get(&f);
	r.url = "http://127.0.0.1:1/";
	run(&f, r);
	assert_int_equal(f.err, -ECONNREFUSED);
	r.url = "http://name.stuck/"; /* not locked: the answer is that it is unknown */
	run(&f, r);
	assert_int_equal(f.err, -EHOSTUNREACH);
	r.url = "ftp://127.0.0.1/";
	run(&f, r);
	assert_int_equal(f.err, -EPROTO);
	r.url = "file:///etc/passwd";
	run(&f, r);
	assert_int_equal(f.err, -EPROTO);
	r.url = "http://user:pass@127.0.0.1/";
	run(&f, r);
	assert_true(f.err < 0);
	assert_null(strstr(f.words, "pass"));
	stop(&f);
}

/*
 * A name server that does not answer must not block the loop, neither at the deadline nor when the
 * agent stops.
 */
static void a_name_that_is_not_resolved_blocks_nothing(void **state)
{
	static const struct peer_answer script[] = { { 0 } };
	struct fixture f;
	struct transfer_request r;

	(void)state;
	start(&f, script);
	pthread_mutex_lock(&stuck);
	r = get(&f);
	r.url = "http://one.stuck/";
	r.total_ms = 50;
	run(&f, r);
	assert_int_equal(f.err, -ETIMEDOUT);
	assert_true(atomic_load(&is_asked));
	r.url = "http://two.stuck/";
	r.total_ms = 60000;
	atomic_store(&is_asked, false);
	go(&f, r);
	while (!atomic_load(&is_asked))
		uv_run(&f.loop, UV_RUN_NOWAIT);
	stop(&f);
	assert_int_equal(f.ends, 0);
	pthread_mutex_unlock(&stuck);
}

static void bytes_that_end_a_line_are_refused(void **state)
{
	static const struct peer_answer script[] = { { 0 } };
	struct fixture f;
	struct transfer_request r;
	const char *const fields[] = { "X: a\r\nY: b", NULL };

	(void)state;
	start(&f, script);
	r = get(&f);
	r.fields = fields;
	assert_int_equal(transfer_request(f.transfers, &r, on_end, &f, NULL), -EINVAL);
	r = get(&f);
	r.url = "http://127.0.0.1/\r\nX: y";
	assert_int_equal(transfer_request(f.transfers, &r, on_end, &f, NULL), -EINVAL);
	r = get(&f);
	r.total_ms = 0;
	assert_int_equal(transfer_request(f.transfers, &r, on_end, &f, NULL), -EINVAL);
	assert_int_equal(transfers_count(f.transfers), 0);
	stop(&f);
	assert_int_equal(f.ends, 0);
}

static void transfers_are_bounded_and_cancelling_makes_room(void **state)
{
	static const struct peer_answer script[] = { { NULL, PEER_HOLD, NULL },
						     { NULL, PEER_HOLD, NULL },
						     { NULL, PEER_HOLD, NULL },
						     { 0 } };
	struct fixture f;
	struct transfer_request r;
	struct transfer *first, *last = NULL;

	(void)state;
	start(&f, script);
	r = get(&f);
	first = go(&f, r);
	for (int i = 1; i < 4; i++)
		last = go(&f, r);
	assert_int_equal(transfer_request(f.transfers, &r, on_end, &f, NULL), -ENOBUFS);
	PEER_WAIT(&f.peer, f.peer.request_count == 2); /* two connections to one host */
	transfer_cancel(last);
	assert_int_equal(transfers_count(f.transfers), 3);
	go(&f, r);
	transfer_cancel(first);
	PEER_WAIT(&f.peer, f.peer.request_count == 3);
	assert_int_equal(f.peer.client_count, 3);
	stop(&f); /* with three under way */
	assert_int_equal(f.ends, 0);
}

static void on_end_free(void *arg, const struct transfer_result *result)
{
	struct fixture *f = arg;

	assert_int_equal(result->err, 0);
	f->ends++;
	transfers_free(f->transfers);
	f->transfers = NULL;
	assert_int_equal(result->body.len, 2);
	assert_memory_equal(result->body.ptr, "ok", 2);
}

static void a_callback_may_free_all_transfers(void **state)
{
	static const struct peer_answer script[] = { SAY(PEER_OK("", 2, "ok")),
						     SAY(PEER_OK("", 2, "ok")),
						     { 0 } };
	struct fixture f;
	struct transfer_request r;

	(void)state;
	start(&f, script);
	r = get(&f);
	assert_int_equal(transfer_request(f.transfers, &r, on_end_free, &f, NULL), 0);
	assert_int_equal(transfer_request(f.transfers, &r, on_end_free, &f, NULL), 0);
	PEER_WAIT(&f.peer, f.ends == 1);
	stop(&f);
	assert_int_equal(f.ends, 1);
}

/* ---- TLS ---- */

static void certificates_are_checked(void **state)
{
	static const struct peer_answer script[] = { SAY(PEER_OK("", 2, "ok")), { 0 } };
	struct fixture f;
	struct transfer_request r;
	char why[256];

	(void)state;
	start(&f, script);
	assert_int_equal(
		tls_context_new_server(certificate_file, key_file, &f.peer.tls, why, sizeof(why)),
		0);
	r = get(&f);
	peer_url(&f.peer, "https", "localhost", "/", f.url);
	run(&f, r);
	assert_int_equal(f.err, -EPROTO); /* not signed by one of the system's authorities */
	r.ca_file = certificate_file;
	run(&f, r);
	assert_int_equal(f.err, 0);
	assert_string_equal(f.body, "ok");
	peer_url(&f.peer, "https", "127.0.0.1", "/", f.url);
	run(&f, r);
	assert_int_equal(f.err, -EPROTO); /* another name */
	r.ca_file = "/nonexistent.pem";
	run(&f, r);
	assert_int_equal(f.err, -EPROTO);
	stop(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_is_sent_as_given_and_gets_its_response),
		cmocka_unit_test(failures_have_their_errno),
		cmocka_unit_test(a_response_may_have_the_maximum_size),
		cmocka_unit_test(a_response_head_is_bounded),
		cmocka_unit_test(a_refused_connection_and_an_unknown_name_have_their_errnos),
		cmocka_unit_test(a_name_that_is_not_resolved_blocks_nothing),
		cmocka_unit_test(bytes_that_end_a_line_are_refused),
		cmocka_unit_test(transfers_are_bounded_and_cancelling_makes_room),
		cmocka_unit_test(a_callback_may_free_all_transfers),
		cmocka_unit_test(certificates_are_checked),
	};

	return cmocka_run_group_tests_name("transfer", tests, make_certificate, remove_certificate);
}
