/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The server's state machines, about one transition a row: events, the states that they lead to,
 * what the handler and the client saw of it, and the claim. server_script.h explains events and
 * states.
 */
#include "net/tls.h"
#include "unit/http/server_script.h"
#include "unit/net/certificate.h"

#define HALF	   "GET / HT"
#define BODY_OF(n) POST("/", "Content-Length: " n "\r\n")
#define EXPECTING  POST("/", "Content-Length: 5\r\nExpect: 100-continue\r\n")
#define CHUNKED	   POST("/", "Transfer-Encoding: chunked\r\n")
#define MANY	   "70000" /* more than HTTP_DRAIN_BYTES, less than body_bytes */
#define LAST	   "GET / HTTP/1.1\r\nHost: a\r\n" CLOSE "\r\n"

static const struct row between_requests[] = {
	{ "", "OPEN IDLE NONE idle", "", "", "a new connection waits for a request" },
	{ "!late", "CLOSED", "closed", "<END>", "an idle connection is closed after idle_ms" },
	{ "!busy|!late", "OPEN IDLE NONE idle", "", "",
	  "if the handler objects, the idle connection gets another idle_ms" },
	{ "!fin", "CLOSED", "closed", "<END>", "a client may close an idle connection" },
	{ HALF, "OPEN HEAD NONE head", "", "", "the first bytes of a head start head_ms" },
	{ HALF "|TP/1.", "OPEN HEAD NONE head", "", "",
	  "further bytes of a head do not change the state" },
	{ HALF "|TP/1.1\r\nHost: a\r\n\r\n", "OPEN DONE HEAD none", "request", "",
	  "the end of a head starts a request" },
	{ HALF "|!late", "LINGERING HEAD DONE short", "refused:408", "Request timeout\"}<END>",
	  "a slow head is refused with 408" },
	{ "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n|!answer|" HALF "|!late", "LINGERING HEAD DONE short",
	  "request settled refused:408", "Request timeout\"}<END>",
	  "the refusal has a body, even if the request before it was HEAD" },
	{ HALF "|!late|!late", "CLOSED", "refused:408 closed", " 408 ",
	  "after the refusal the connection lingers for HTTP_LINGER_MS only" },
	{ HALF "|!busy|!late", "LINGERING HEAD DONE short", "refused:408", " 408 ",
	  "the handler cannot object to that refusal" },
	{ HALF "|!fin", "CLOSED", "closed", "<END>",
	  "a client that leaves amid a head gets no answer" },
	{ "BAD\r\n\r\n", "LINGERING IDLE DONE short", "refused:400", "Bad request\"}<END>",
	  "an invalid head is refused with 400" },
	{ GET("/") "|!answer|BAD\r\n\r\n", "LINGERING IDLE DONE short",
	  "request settled refused:400", "Bad request\"}<END>",
	  "an invalid second head is refused too" },
	{ BODY_OF("100001"), "LINGERING BODY DONE short", "refused:413", " 413 ",
	  "an announced body above body_bytes is refused before the handler sees it" },
	{ POST("/", "Content-Length: 5\r\nExpect: tea\r\n"), "LINGERING BODY DONE short",
	  "refused:417", " 417 ", "an unknown expectation is refused" },
	{ GET("/") "|!answer|" HALF, "OPEN HEAD NONE head", "request settled", "ok",
	  "the next head arrives after the first answer has settled" },
};

static const struct row request_bodies[] = {
	{ GET("/"), "OPEN DONE HEAD none", "request", "",
	  "a request without a body is complete with its head" },
	{ BODY_OF("0"), "OPEN DONE HEAD none", "request end", "", "an empty body has an end" },
	{ BODY_OF("5"), "OPEN BODY HEAD body", "request", "", "a body follows, and body_ms runs" },
	{ CHUNKED, "OPEN BODY HEAD body", "request", "",
	  "a chunked body follows, and body_ms runs" },
	{ BODY_OF("5") "|12", "OPEN BODY HEAD body", "request body:2", "",
	  "a piece of the body reaches the handler" },
	{ BODY_OF("5") "|12|345", "OPEN DONE HEAD none", "request body:5 end", "",
	  "the last byte of the body ends the request" },
	{ CHUNKED "|2\r\nab\r\n|0\r\n\r\n", "OPEN DONE HEAD none", "request body:2 end", "",
	  "the last chunk ends the request" },
	{ CHUNKED "|20000\r\n|!many|!many", "LINGERING BODY DONE short",
	  "request body:many abort:EMSGSIZE", " 413 ",
	  "a chunked body above body_bytes is refused with 413" },
	{ CHUNKED "|x\r\n", "LINGERING BODY DONE short", "request abort:EBADMSG", " 400 ",
	  "an invalid chunk is refused with 400" },
	{ CHUNKED "|!chunked|x\r\n", "CLOSED", "request abort:EBADMSG closed", "<RESET>",
	  "after the answer has begun, an invalid chunk can only reset" },
	{ BODY_OF("5") "|12|!fin", "CLOSED", "request body:2 abort:ECONNRESET closed", "<END>",
	  "a client that leaves amid a body aborts the stream" },
	{ BODY_OF("5") "|!late", "LINGERING BODY DONE short", "request abort:ETIMEDOUT", " 408 ",
	  "a slow body is refused with 408" },
	{ BODY_OF("5") "|!head|!late", "CLOSED", "request abort:ETIMEDOUT closed", "<RESET>",
	  "after the answer has begun, a slow body can only reset" },
	{ EXPECTING, "OPEN EXPECT HEAD none", "request", "",
	  "no deadline runs while the client waits for 100 Continue" },
	{ EXPECTING "|!100", "OPEN BODY HEAD body", "request", " 100 Continue",
	  "after 100 Continue, body_ms runs" },
	{ EXPECTING "|12", "OPEN BODY HEAD body", "request body:2", "",
	  "a client may send its body without waiting for 100" },
	{ EXPECTING "|12345", "OPEN DONE HEAD none", "request body:5 end", "",
	  "a client may send all of its body without waiting for 100" },
	{ EXPECTING "|!fin", "CLOSED", "request abort:ECONNRESET closed", "<END>",
	  "a client may leave while it waits for 100" },
	{ EXPECTING "|!answer", "LINGERING EXPECT DONE short", "request", CLOSE "\r\nok<END>",
	  "after an answer without 100, it is unknown whether the body follows" },
	{ EXPECTING "|!100|!answer", "OPEN DISCARD DONE body", "request", "ok",
	  "after 100, the body must follow" },
};

static const struct row unwanted_bodies[] = {
	{ BODY_OF("5") "|!answer", "OPEN DISCARD DONE body", "request", "ok",
	  "an early answer leaves the body to be read and dropped" },
	{ BODY_OF("5") "|!answer|12", "OPEN DISCARD DONE body", "request", "ok",
	  "a piece of that body does not reach the handler" },
	{ BODY_OF("5") "|!answer|12345", "OPEN IDLE NONE idle", "request settled", "ok",
	  "the end of that body ends the request" },
	{ BODY_OF("5") "|!answer|12345" GET("/"), "OPEN DONE HEAD none", "request request", "ok",
	  "the next request may follow in the same read" },
	{ BODY_OF("5") "|12|!answer", "OPEN DISCARD DONE body", "request body:2", "ok",
	  "an answer amid the body leaves the rest to be dropped" },
	{ BODY_OF(MANY) "|!answer", "LINGERING BODY DONE short", "request", CLOSE "\r\nok<END>",
	  "more than HTTP_DRAIN_BYTES of a body end the connection" },
	{ BODY_OF(MANY) "|!head|!write|!end", "LINGERING BODY DONE short", "request", "abcd<END>",
	  "they end it even if the head of the answer did not say so" },
	{ CHUNKED "|!answer|20000\r\n|!many", "LINGERING DISCARD DONE short", "request", "ok<END>",
	  "a chunked body ends the connection once that many bytes were dropped" },
	{ CHUNKED "|!answer|x\r\n", "CLOSED", "request closed", "",
	  "an invalid chunk closes: the next request cannot be found" },
	{ BODY_OF("5") "|!answer|!fin", "CLOSED", "request closed", "ok<END>",
	  "a client may leave instead of sending the rest" },
	{ BODY_OF("5") "|!answer|!late", "CLOSED", "request closed", "ok<END>",
	  "body_ms also bounds a body that is dropped" },
	{ BODY_OF("5") "|!answer|!drain|12345", "LINGERING IDLE DONE short", "request", "ok<END>",
	  "while the server drains, no request follows" },
};

static const struct row answers[] = {
	{ GET("/") "|!answer", "OPEN IDLE NONE idle", "request settled", "ok",
	  "a complete answer settles, and idle_ms runs" },
	{ "@answer|" GET("/"), "OPEN IDLE NONE idle", "request settled", "ok",
	  "an answer from within on_request settles, too" },
	{ GET("/") "|!pause|!resume+answer", "OPEN IDLE NONE idle", "request settled", "ok",
	  "an answer settles once, even if the connection is run again" },
	{ GET("/") "|!head", "OPEN DONE BODY none", "request", "Content-Length: 4",
	  "the head of an answer leaves its body due" },
	{ GET("/") "|!head|!write", "OPEN DONE BODY none", "request", "abcd",
	  "all bytes of the body do not end an answer" },
	{ GET("/") "|!head|!write|!end", "OPEN IDLE NONE idle", "request settled", "abcd",
	  "http_stream_end() ends an answer" },
	{ GET("/") "|!chunked|!write|!end", "OPEN IDLE NONE idle", "request settled",
	  "4\r\nabcd\r\n0\r\n\r\n", "the end of a chunked answer is the last chunk" },
	{ GET("/") "|!100", "OPEN DONE HEAD none", "request", " 100 ",
	  "an interim answer leaves the answer due" },
	{ GET("/") "|!write", "OPEN DONE HEAD none", "request write:EINVAL", "",
	  "a body cannot precede its head" },
	{ GET("/") "|!head|!answer", "OPEN DONE BODY none", "request answer:EINVAL",
	  "Content-Length: 4", "a second answer is refused" },
	{ GET("/") "|!head|!100", "OPEN DONE BODY none", "request 100:EINVAL", "",
	  "an interim answer cannot follow the head" },
	{ GET("/") "|!head|!write|!part", "OPEN DONE BODY none", "request part:EMSGSIZE", "abcd",
	  "a body cannot exceed its announced length" },
	{ GET("/") "|!head|!part|!end", "CLOSED", "request closed", "<RESET>",
	  "a body that falls short resets the connection" },
	{ GET("/") "|!end", "CLOSED", "request closed", "<RESET>",
	  "the end of a stream without an answer resets the connection" },
	{ GET("/") "|!break", "CLOSED", "request closed", "<RESET>",
	  "a break before the head resets the connection" },
	{ GET("/") "|!head|!break", "CLOSED", "request closed", "<RESET>",
	  "a break after the head resets the connection" },
	{ "@break|" GET("/") GET("/"), "CLOSED", "request closed", "<RESET>",
	  "after a break, pipelined requests are not served" },
	{ LAST "|!answer", "LINGERING DONE DONE short", "request", CLOSE "\r\nok<END>",
	  "the connection lingers after its last answer" },
	{ LAST "|!answer|!many", "LINGERING DONE DONE short", "request", "ok<END>",
	  "bytes that arrive while it lingers are dropped" },
	{ LAST "|!answer|!fin", "CLOSED", "request closed", "ok<END>",
	  "the connection is closed as soon as the client closes" },
	{ LAST "|!answer|!late", "CLOSED", "request closed", "ok<END>",
	  "the connection is closed after HTTP_LINGER_MS" },
	{ GET("/") "|!rst", "CLOSED", "request abort:ECONNRESET closed", "",
	  "a reset before the answer aborts the stream" },
	{ GET("/") "|!head|!rst", "CLOSED", "request abort:ECONNRESET closed", "",
	  "a reset amid the answer aborts the stream" },
	{ GET("/") "|!close", "CLOSED", "request abort:ECANCELED closed", "<END>",
	  "closing the server aborts the stream" },
};

static const struct row waiting[] = {
	{ GET("/a") GET("/b"), "OPEN DONE HEAD none", "request", "",
	  "a pipelined request waits for the answer before it" },
	{ GET("/a") GET("/b") "|!answer", "OPEN DONE HEAD none", "request request", "ok",
	  "a pipelined request starts when the answer before it is complete" },
	{ GET("/a") "|" HALF "|!answer", "OPEN HEAD DONE head", "request", "ok",
	  "an answer does not settle while part of a head has arrived" },
	{ GET("/") "|!fin", "OPEN DONE HEAD none", "request", "",
	  "a client that has closed its half still waits for its answer" },
	{ GET("/") "|!fin|!answer", "CLOSED", "request closed", CLOSE "\r\nok<END>",
	  "the answer to a client that has closed its half ends the connection" },
	{ GET("/a") GET("/b") "|!fin|!answer", "OPEN DONE HEAD none", "request request", "ok",
	  "requests that were pipelined before the end are still answered" },
	{ BODY_OF("5") "|!pause", "OPEN BODY HEAD none", "request", "",
	  "no deadline runs while the handler pauses the body" },
	{ BODY_OF("5") "|!pause|12", "OPEN BODY HEAD none", "request", "",
	  "on_body is not called while paused" },
	{ BODY_OF("5") "|!pause|12|!resume", "OPEN BODY HEAD body", "request body:2", "",
	  "on_body is called after http_stream_resume()" },
	{ "@pause|" BODY_OF("5") "12345", "OPEN BODY HEAD none", "request", "",
	  "a pause inside on_request holds back bytes of the same read" },
	{ "@pause|" BODY_OF("5") "12345|!resume", "OPEN DONE HEAD none", "request body:5 end", "",
	  "on_body_end waits with the body" },
	{ BODY_OF("5") "|!pause|!fin", "OPEN BODY HEAD none", "request", "",
	  "the end of the stream is not acted on while paused" },
	{ BODY_OF("5") "|!pause|!fin|!resume", "CLOSED", "request abort:ECONNRESET closed", "<END>",
	  "after http_stream_resume(), the end of the stream aborts a stream amid its body" },
	{ EXPECTING "|!pause|!100", "OPEN BODY HEAD none", "request", " 100 ",
	  "no deadline runs after 100 while paused" },
	{ EXPECTING "|!pause|!100|!resume", "OPEN BODY HEAD body", "request", " 100 ",
	  "after 100 and http_stream_resume(), body_ms runs" },
	{ BODY_OF("5") "|!pause|!answer|12345", "OPEN IDLE NONE idle", "request settled", "ok",
	  "the end of the answer ends the pause" },
	{ "!drain", "CLOSED", "closed", "<END>", "draining closes an idle connection" },
	{ "!busy|!drain", "OPEN IDLE NONE short", "", "",
	  "if the handler objects, it is asked again soon" },
	{ "!busy|!drain|!late", "OPEN IDLE NONE short", "", "",
	  "a handler that keeps objecting is asked again and again" },
	{ HALF "|!drain", "OPEN HEAD NONE head", "", "",
	  "draining waits for a request that has begun" },
	{ GET("/") "|!drain|!answer", "LINGERING DONE DONE short", "request", CLOSE "\r\nok<END>",
	  "draining ends a connection after its answer" },
};

static const struct row tunnels[] = {
	{ GET("/") "|!tunnel", "OPEN TUNNEL BODY none", "request", " 101 ",
	  "no read deadline runs for a tunnel" },
	{ GET("/") "abc|!tunnel", "OPEN TUNNEL BODY none", "request body:3", " 101 ",
	  "bytes that arrived before the tunnel belong to it" },
	{ GET("/") "|!tunnel|" GET("/"), "OPEN TUNNEL BODY none", "request body:27", " 101 ",
	  "a tunnel does not parse" },
	{ GET("/") "|!tunnel|!write", "OPEN TUNNEL BODY none", "request", "\r\n\r\nabcd",
	  "the handler writes raw bytes into the tunnel" },
	{ GET("/") "|!tunnel|!fin", "OPEN DONE BODY none", "request end", " 101 ",
	  "the client can close its half of a tunnel" },
	{ GET("/") "|!fin|!tunnel", "OPEN DONE BODY none", "request end", " 101 ",
	  "a client may have closed its half before the tunnel begins" },
	{ GET("/") "abc|!fin|!tunnel", "OPEN DONE BODY none", "request body:3 end", " 101 ",
	  "the end of the client's half follows the bytes before it" },
	{ GET("/") "abc|!fin|!tunnel+pause|!resume", "OPEN DONE BODY none", "request body:3 end",
	  " 101 ", "after a pause, the end follows the bytes before it, too" },
	{ GET("/") "|!fin|!tunnel|!end", "CLOSED", "request end closed", "<END>",
	  "http_stream_end() closes a tunnel whose client has ended" },
	{ GET("/") "|!tunnel|!end", "LINGERING TUNNEL DONE short", "request", "<END>",
	  "http_stream_end() ends the tunnel" },
	{ GET("/") "|!tunnel|!fin|!end", "CLOSED", "request end closed", "<END>",
	  "a tunnel that both sides have ended is closed at once" },
	{ GET("/") "|!tunnel|!rst", "CLOSED", "request abort:ECONNRESET closed", "",
	  "a reset aborts the tunnel" },
	{ GET("/") "|!head|!tunnel", "OPEN DONE BODY none", "request tunnel:EINVAL", "",
	  "a tunnel cannot follow an answer" },
	{ BODY_OF("5") "|!tunnel", "OPEN BODY HEAD body", "request tunnel:EINVAL", "",
	  "a tunnel cannot begin amid a request body" },
};

static const struct row slow_readers[] = {
	{ GET("/") "|!chunked|!flood", "OPEN DONE BODY none", "request", "",
	  "no read deadline runs while the answer is being sent" },
	{ GET("/") "|!chunked|!flood|!read", "OPEN DONE BODY none", "request drain", "",
	  "on_drain follows when the client has read the queue empty" },
	{ GET("/") "|!chunked|!flood|!stuck", "CLOSED", "request abort:ETIMEDOUT closed", "",
	  "a client that reads nothing for write_ms aborts the stream" },
	{ GET("/") "|!chunked|!flood|!end", "OPEN IDLE DONE idle", "request", "",
	  "an answer is not settled while part of it is queued" },
	{ GET("/") "|!chunked|!flood|!end|!read", "OPEN IDLE NONE idle", "request settled",
	  "0\r\n\r\n", "it is settled when the kernel has taken all of it" },
	{ GET("/") "|!chunked|!flood|!end|!stuck", "CLOSED", "request closed", "",
	  "write_ms also bounds an answer that the handler has completed" },
	{ GET("/") "|!chunked|!flood|!end|" GET("/"), "OPEN DONE HEAD none", "request request", "",
	  "the next request does not wait for the answer to settle" },
	{ GET("/") "|!chunked|!flood|!end|" GET("/") "|!answer|!read", "OPEN IDLE NONE idle",
	  "request request settled", "ok", "several answers may settle together" },
	{ LAST "|!chunked|!flood|!end", "LINGERING DONE DONE none", "request", "",
	  "while lingering with bytes queued, only write_ms runs" },
	{ LAST "|!chunked|!flood|!end|!read", "LINGERING DONE DONE short", "request",
	  "0\r\n\r\n<END>", "HTTP_LINGER_MS runs from the moment the queue is empty" },
	{ LAST "|!chunked|!flood|!end|!fin", "LINGERING DONE DONE none", "request", "",
	  "a client that has closed its half still gets all of the queue" },
	{ LAST "|!chunked|!flood|!end|!fin|!read", "CLOSED", "request closed", "0\r\n\r\n<END>",
	  "a half-closed connection is closed as soon as the queue is empty" },
	{ GET("/") "|!fin|!chunked|!flood|!end", "LINGERING DONE DONE none", "request", "",
	  "a client that closed its half before the answer gets all of it" },
	{ GET("/") "|!fin|!chunked|!flood|!end|!read", "CLOSED", "request closed", "0\r\n\r\n<END>",
	  "and the connection is closed as soon as the queue is empty" },
	{ LAST "|!chunked|!flood|!end|!stuck", "CLOSED", "request closed", "",
	  "a lingering connection is closed if the client reads nothing for write_ms" },
};

static void heads_are_awaited_and_bounded_in_time(void **state)
{
	(void)state;
	RUN_ROWS(between_requests);
}

static void bodies_go_to_the_handler(void **state)
{
	(void)state;
	RUN_ROWS(request_bodies);
}

static void bodies_behind_an_answer_are_dropped_or_end_the_connection(void **state)
{
	(void)state;
	RUN_ROWS(unwanted_bodies);
}

static void answers_are_complete_or_break_the_connection(void **state)
{
	(void)state;
	RUN_ROWS(answers);
}

static void what_may_not_be_taken_yet_waits(void **state)
{
	(void)state;
	RUN_ROWS(waiting);
}

static void tunnels_pass_bytes_both_ways(void **state)
{
	(void)state;
	RUN_ROWS(tunnels);
}

static void answers_settle_when_the_kernel_has_taken_them(void **state)
{
	(void)state;
	RUN_ROWS(slow_readers);
}

/* ---- TLS ---- */

/* One step of the client's handshake; true when it is complete. */
static bool shakes_hands(SSL *ssl)
{
	int result = SSL_connect(ssl);

	for (unsigned i = 0; i < 4; i++)
		turn(&run.f);
	return result == 1;
}

static void the_handshake_has_a_deadline_of_its_own(void **state)
{
	static const struct {
		bool is_complete; /* the handshake */
		const char *said; /* over TLS, after it */
		bool is_late;
		const char *states, *seen, *why;
	} rows[] = {
		{ false, "", false, "HANDSHAKE IDLE NONE head", "",
		  "a handshake has as long as a head" },
		{ false, "", true, "CLOSED", "closed", "a slow handshake ends the connection" },
		{ true, "", false, "HANDSHAKE IDLE NONE head", "",
		  "the end of the handshake is noticed later" },
		{ true, "", true, "OPEN IDLE NONE idle", "",
		  "when the deadline passes after a complete handshake, idle_ms runs" },
		{ true, HALF, false, "OPEN HEAD NONE head", "",
		  "the first bytes of a head start head_ms" },
		{ true, HALF, true, "LINGERING HEAD DONE short", "refused:408",
		  "a slow first head is refused like any other" },
		{ true, GET("/"), false, "OPEN DONE HEAD none", "request", "a request arrives" },
	};
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	char why[256], states[64];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		SSL *ssl = SSL_new(context);

		begin();
		assert_int_equal(tls_context_new_server(certificate_file, key_file, &run.f.tls, why,
							sizeof(why)),
				 0);
		close(run.fd); /* this one came without TLS */
		WAIT_UNTIL(&run.f, !connection());
		memset(run.seen, 0, sizeof(run.seen));
		run.fd = dial(&run.f);
		fcntl(run.fd, F_SETFL, O_NONBLOCK);
		WAIT_UNTIL(&run.f, connection());
		SSL_set_fd(ssl, run.fd);
		while (rows[i].is_complete && !shakes_hands(ssl))
			;
		if (rows[i].said[0])
			assert_true(SSL_write(ssl, rows[i].said, (int)strlen(rows[i].said)) > 0);
		happen(""); /* what was sent arrives */
		if (rows[i].is_late)
			happen("!late");
		describe(connection(), states, sizeof(states));
		if (strcmp(states, rows[i].states) || strcmp(run.seen, rows[i].seen))
			fail_msg("%s: %s, seen '%s'", rows[i].why, states, run.seen);
		SSL_free(ssl);
		close(run.fd);
		tls_context_unref(run.f.tls);
		stop(&run.f);
	}
	SSL_CTX_free(context);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(heads_are_awaited_and_bounded_in_time),
		cmocka_unit_test(bodies_go_to_the_handler),
		cmocka_unit_test(bodies_behind_an_answer_are_dropped_or_end_the_connection),
		cmocka_unit_test(answers_are_complete_or_break_the_connection),
		cmocka_unit_test(what_may_not_be_taken_yet_waits),
		cmocka_unit_test(tunnels_pass_bytes_both_ways),
		cmocka_unit_test(answers_settle_when_the_kernel_has_taken_them),
		cmocka_unit_test(the_handshake_has_a_deadline_of_its_own),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, make_certificate, remove_certificate);
}
