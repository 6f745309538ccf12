/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Connections, plain and TLS: both ends are conns on one loop. Tests of behaviour run over both
 * kinds, because an owner must not be able to tell them apart.
 */
#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/conn.h"
#include "net/listener.h"
#include "net/tls.h"
#include "unit/net/certificate.h"

#define MANY_BYTES (8 * 1024 * 1024)

struct end {
	struct conn *conn;
	size_t received;
	uint32_t sum; /* of the bytes, weighted by their position */
	unsigned eofs, drains, pauses;
	int err;
	bool is_up, is_closed, pauses_often;
};

struct fixture {
	uv_loop_t loop;
	struct listener *listener;
	struct tls_context *server_tls, *client_tls;
	struct sockaddr_storage address;
	struct end client, server;
};

/* ---- events ---- */

static void on_connected(struct conn *c, int err)
{
	struct end *end = conn_owner(c);

	end->is_up = !err;
	end->err = err;
}

static void on_data(struct conn *c, const char *data, size_t len)
{
	struct end *end = conn_owner(c);

	for (size_t i = 0; i < len; i++)
		end->sum += (unsigned char)data[i] * (uint32_t)(++end->received);
	if (end->pauses_often) {
		conn_pause(c);
		end->pauses++;
	}
}

static void on_eof(struct conn *c)
{
	((struct end *)conn_owner(c))->eofs++;
}

static void on_drain(struct conn *c)
{
	((struct end *)conn_owner(c))->drains++;
}

static void on_error(struct conn *c, int err)
{
	((struct end *)conn_owner(c))->err = err;
}

static void on_closed(struct conn *c)
{
	((struct end *)conn_owner(c))->is_closed = true;
}

static const struct conn_events events = {
	.on_connected = on_connected,
	.on_data = on_data,
	.on_eof = on_eof,
	.on_drain = on_drain,
	.on_error = on_error,
	.on_closed = on_closed,
};

static void on_connection(struct listener *l)
{
	struct fixture *f = listener_owner(l);

	assert_int_equal(conn_accept(listener_stream(l), f->server_tls, &events, &f->server,
				     &f->server.conn),
			 0);
}

/* ---- libuv's completions ---- */

/*
 * libuv 1.44 completes one write in each turn of the loop. Later versions may complete many, after
 * the queue is empty. While this is set, every version behaves like the later ones.
 */
static bool completes_together;
static struct {
	uv_write_t *request;
	uv_write_cb callback;
	bool is_complete;
} writes[256];
static unsigned write_count;

static void on_write_complete(uv_write_t *request, int status)
{
	unsigned count = write_count;

	for (unsigned i = 0; i < count; i++)
		writes[i].is_complete |= writes[i].request == request;
	if (uv_stream_get_write_queue_size(request->handle))
		return;
	write_count = 0;
	for (unsigned i = 0; i < count; i++) {
		assert_true(writes[i].is_complete);
		writes[i].callback(writes[i].request, status);
	}
}

/* Replaces libuv's function in this program. */
int uv_write(uv_write_t *request, uv_stream_t *stream, const uv_buf_t bufs[], unsigned count,
	     uv_write_cb callback)
{
	int (*next)(uv_write_t *, uv_stream_t *, const uv_buf_t[], unsigned, uv_write_cb);

	*(void **)&next = dlsym(RTLD_NEXT, "uv_write");
	if (!completes_together)
		return next(request, stream, bufs, count, callback);
	assert_in_range(write_count, 0, sizeof(writes) / sizeof(writes[0]) - 1);
	writes[write_count].request = request;
	writes[write_count].callback = callback;
	writes[write_count++].is_complete = false;
	return next(request, stream, bufs, count, on_write_complete);
}

/* ---- the fixture ---- */

static void start(struct fixture *f, bool is_tls)
{
	char why[256], text[64];

	*f = (struct fixture){ 0 };
	assert_int_equal(uv_loop_init(&f->loop), 0);
	listener_parse_address("127.0.0.1:0", &f->address);
	assert_int_equal(listener_open_tcp(&f->loop, &f->address, on_connection, f, &f->listener),
			 0);
	snprintf(text, sizeof(text), "127.0.0.1:%u", listener_port(f->listener));
	listener_parse_address(text, &f->address);
	if (!is_tls)
		return;
	assert_int_equal(tls_context_new_server(certificate_file, key_file, &f->server_tls, why,
						sizeof(why)),
			 0);
	assert_int_equal(tls_context_new_client(certificate_file, &f->client_tls, why, sizeof(why)),
			 0);
}

static void stop(struct fixture *f)
{
	if (f->client.conn && !f->client.is_closed)
		conn_close(f->client.conn, false);
	if (f->server.conn && !f->server.is_closed)
		conn_close(f->server.conn, false);
	listener_close(f->listener);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_true(!f->client.conn || f->client.is_closed);
	assert_true(!f->server.conn || f->server.is_closed);
	assert_int_equal(uv_loop_close(&f->loop), 0);
	tls_context_unref(f->server_tls);
	tls_context_unref(f->client_tls);
}

#define WAIT_UNTIL(f, condition)                                    \
	for (unsigned turns = 0; !(condition); turns++) {           \
		uv_run(&(f)->loop, UV_RUN_NOWAIT);                  \
		usleep(100);                                        \
		if (turns > 50000)                                  \
			fail_msg("did not happen: %s", #condition); \
	}

static void dial(struct fixture *f, const char *name)
{
	assert_int_equal(conn_connect(&f->loop, (struct sockaddr *)&f->address, f->client_tls, name,
				      &events, &f->client, &f->client.conn),
			 0);
	assert_false(f->client.is_up);
}

static void connect_both(struct fixture *f)
{
	dial(f, "localhost");
	WAIT_UNTIL(f, f->client.is_up && f->server.conn && conn_is_up(f->server.conn));
	assert_int_equal(conn_is_tls(f->server.conn), f->server_tls != NULL);
}

static uint32_t sum_of(const char *data, size_t len)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < len; i++)
		sum += (unsigned char)data[i] * (uint32_t)(i + 1);
	return sum;
}

static char *many_bytes(void)
{
	char *data = malloc(MANY_BYTES);

	for (size_t i = 0; i < MANY_BYTES; i++)
		data[i] = (char)(i * 2654435761u >> 13);
	return data;
}

static void send_all(struct conn *c, char *data, size_t len)
{
	uv_buf_t parts[] = { uv_buf_init(data, 3), uv_buf_init(data + 3, 0),
			     uv_buf_init(data + 3, len - 3) };

	assert_int_equal(conn_write(c, parts, 3), 0);
}

#define FOR_BOTH(is_tls) for (int is_tls = 0; is_tls < 2; is_tls++)

/* ---- the tests ---- */

static void bytes_arrive_in_both_directions(void **state)
{
	char *data = many_bytes();
	struct fixture f;

	(void)state;
	FOR_BOTH(is_tls)
	{
		start(&f, is_tls);
		connect_both(&f);
		send_all(f.client.conn, data, MANY_BYTES);
		send_all(f.server.conn, data, MANY_BYTES);
		assert_true(conn_queued(f.client.conn) > 0);
		WAIT_UNTIL(&f, f.client.received == MANY_BYTES && f.server.received == MANY_BYTES);
		assert_int_equal(f.client.sum, sum_of(data, MANY_BYTES));
		assert_int_equal(f.server.sum, sum_of(data, MANY_BYTES));
		WAIT_UNTIL(&f, f.client.drains == 1 && f.server.drains == 1);
		assert_int_equal(conn_queued(f.client.conn), 0);
		assert_true(conn_sent(f.client.conn) >= MANY_BYTES);
		assert_true(conn_is_settled(f.server.conn));
		if (!is_tls)
			assert_int_equal(conn_received(f.server.conn), MANY_BYTES);
		stop(&f);
	}
	free(data);
}

static void on_drain_comes_once_for_each_time_the_queue_was_filled(void **state)
{
	enum { PIECES = 20 };
	char *data = many_bytes();
	struct fixture f;

	(void)state;
	FOR_BOTH(is_tls)
	{
		start(&f, is_tls);
		connect_both(&f);
		completes_together = true;
		for (unsigned rise = 1; rise <= 3; rise++) {
			send_all(f.client.conn, data, MANY_BYTES);
			for (unsigned i = 0; i < PIECES; i++)
				send_all(f.client.conn, data, 10);
			assert_true(conn_queued(f.client.conn) > CONN_HIGH_BYTES);
			assert_int_equal(f.client.drains, rise - 1);
			WAIT_UNTIL(&f, f.server.received == rise * (MANY_BYTES + PIECES * 10) &&
					       !conn_queued(f.client.conn));
			for (unsigned i = 0; i < 10; i++)
				uv_run(&f.loop, UV_RUN_NOWAIT);
			assert_int_equal(f.client.drains, rise);
		}
		send_all(f.client.conn, data, 10); /* which the kernel takes at once */
		for (unsigned i = 0; i < 10; i++)
			uv_run(&f.loop, UV_RUN_NOWAIT);
		assert_int_equal(f.client.drains, 3);
		completes_together = false;
		stop(&f);
	}
	free(data);
}

static void pausing_loses_nothing(void **state)
{
	char *data = many_bytes();
	struct fixture f;

	(void)state;
	FOR_BOTH(is_tls)
	{
		start(&f, is_tls);
		connect_both(&f);
		f.server.pauses_often = true;
		send_all(f.client.conn, data, MANY_BYTES);
		while (f.server.received < MANY_BYTES) {
			size_t before;
			unsigned pauses = f.server.pauses;

			WAIT_UNTIL(&f, f.server.pauses > pauses);
			before = f.server.received;
			if (pauses % 64 == 0)
				for (int i = 0; i < 5; i++)
					uv_run(&f.loop, UV_RUN_NOWAIT);
			assert_int_equal(f.server.received, before);
			conn_resume(f.server.conn);
			assert_int_equal(f.server.received, before); /* not from within */
		}
		assert_int_equal(f.server.sum, sum_of(data, MANY_BYTES));
		stop(&f);
	}
	free(data);
}

static void shutdown_sends_all_and_reading_goes_on(void **state)
{
	char *data = many_bytes();
	uv_buf_t part = uv_buf_init(data, 5);
	struct fixture f;

	(void)state;
	FOR_BOTH(is_tls)
	{
		start(&f, is_tls);
		connect_both(&f);
		send_all(f.client.conn, data, MANY_BYTES);
		conn_shutdown(f.client.conn);
		assert_int_equal(conn_write(f.client.conn, &part, 1), -EPIPE);
		WAIT_UNTIL(&f, f.server.eofs == 1);
		assert_int_equal(f.server.received, MANY_BYTES);
		assert_int_equal(conn_write(f.server.conn, &part, 1), 0);
		WAIT_UNTIL(&f, f.client.received == 5);
		conn_shutdown(f.server.conn);
		WAIT_UNTIL(&f, f.client.eofs == 1);
		assert_int_equal(f.client.err | f.server.err, 0);
		stop(&f);
	}
	free(data);
}

static void a_reset_is_an_error(void **state)
{
	struct fixture f;

	(void)state;
	FOR_BOTH(is_tls)
	{
		start(&f, is_tls);
		connect_both(&f);
		conn_close(f.client.conn, true);
		conn_close(f.client.conn, true); /* idempotent */
		WAIT_UNTIL(&f, f.server.err);
		assert_int_equal(f.server.err, -ECONNRESET);
		assert_int_equal(f.server.eofs, 0);
		stop(&f);
	}
}

static void a_tls_stream_that_is_cut_is_an_error(void **state)
{
	char byte[4] = "abc";
	struct fixture f;

	(void)state;
	start(&f, true);
	connect_both(&f);
	send_all(f.server.conn, byte,
		 sizeof(byte)); /* after the session tickets, which would cause an RST if unread */
	WAIT_UNTIL(&f, f.client.received == sizeof(byte));
	conn_close(f.client.conn, false); /* FIN without close_notify */
	WAIT_UNTIL(&f, f.server.err);
	assert_int_equal(f.server.err, -EPROTO);
	stop(&f);
}

static void plain_bytes_on_a_tls_port_are_an_error(void **state)
{
	char request[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
	struct tls_context *client_tls;
	struct fixture f;

	(void)state;
	start(&f, true);
	client_tls = f.client_tls;
	f.client_tls = NULL;
	dial(&f, NULL);
	WAIT_UNTIL(&f, f.client.is_up);
	send_all(f.client.conn, request, sizeof(request) - 1);
	WAIT_UNTIL(&f, f.server.err);
	assert_int_equal(f.server.err, -EPROTO);
	assert_int_equal(f.server.received, 0);
	f.client_tls = client_tls;
	stop(&f);
}

static void a_certificate_for_another_name_is_refused(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, true);
	dial(&f, "example.com");
	WAIT_UNTIL(&f, f.client.err);
	assert_int_equal(f.client.err, -EPROTO);
	stop(&f);
}

static void a_refused_connection_is_reported_later(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, false);
	listener_close(f.listener);
	uv_run(&f.loop, UV_RUN_DEFAULT);
	dial(&f, NULL);
	WAIT_UNTIL(&f, f.client.err);
	assert_int_equal(f.client.err, -ECONNREFUSED);
	listener_parse_address("127.0.0.1:0", &f.address);
	listener_open_tcp(&f.loop, &f.address, on_connection, &f, &f.listener);
	stop(&f);
}

static void a_connection_knows_its_addresses(void **state)
{
	struct fixture f;
	char client[64], server[64];

	(void)state;
	start(&f, false);
	connect_both(&f);
	listener_format_address(conn_peer(f.server.conn), server, sizeof(server));
	listener_format_address(conn_local(f.client.conn), client, sizeof(client));
	assert_string_equal(client, server);
	listener_format_address(conn_peer(f.client.conn), client, sizeof(client));
	listener_format_address(&f.address, server, sizeof(server));
	assert_string_equal(client, server);
	stop(&f);
}

static void alpn_without_http_1_1_is_refused(void **state)
{
	static const struct {
		const char *offer; /* NULL: no ALPN at all */
		bool is_accepted;
	} rows[] = {
		{ NULL, true },
		{ "\x08http/1.1", true },
		{ "\x02h2\x08http/1.1", true },
		{ "\x02h2", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
		SSL *ssl = SSL_new(ctx);
		struct fixture f;
		int fd, result = -1;

		start(&f, true);
		fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_int_equal(
			connect(fd, (struct sockaddr *)&f.address, sizeof(struct sockaddr_in)), 0);
		uv_run(&f.loop, UV_RUN_NOWAIT);
		if (rows[i].offer)
			SSL_set_alpn_protos(ssl, (const unsigned char *)rows[i].offer,
					    strlen(rows[i].offer));
		SSL_set_fd(ssl, fd);
		SSL_set_connect_state(ssl);
		SSL_set_mode(ssl, SSL_MODE_AUTO_RETRY);
		for (int turns = 0; turns < 1000 && result != 1; turns++) {
			struct timeval soon = { 0, 2000 };

			setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof(soon));
			result = SSL_do_handshake(ssl);
			if (SSL_get_error(ssl, result) == SSL_ERROR_SSL)
				break;
			uv_run(&f.loop, UV_RUN_NOWAIT);
		}
		if ((result == 1) != rows[i].is_accepted)
			fail_msg("offer %zu: %d", i, result);
		SSL_free(ssl);
		SSL_CTX_free(ctx);
		close(fd);
		stop(&f);
	}
}

static void unusable_files_are_named(void **state)
{
	struct tls_context *t;
	char why[256];

	(void)state;
	assert_int_equal(tls_context_new_server("/nonexistent", key_file, &t, why, sizeof(why)),
			 -ENOENT);
	assert_non_null(strstr(why, "/nonexistent"));
	assert_int_equal(tls_context_new_server(key_file, key_file, &t, why, sizeof(why)), -EINVAL);
	assert_non_null(strstr(why, key_file));
	assert_int_equal(
		tls_context_new_server(certificate_file, certificate_file, &t, why, sizeof(why)),
		-EINVAL);
	assert_non_null(strstr(why, certificate_file));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_arrive_in_both_directions),
		cmocka_unit_test(on_drain_comes_once_for_each_time_the_queue_was_filled),
		cmocka_unit_test(pausing_loses_nothing),
		cmocka_unit_test(shutdown_sends_all_and_reading_goes_on),
		cmocka_unit_test(a_reset_is_an_error),
		cmocka_unit_test(a_tls_stream_that_is_cut_is_an_error),
		cmocka_unit_test(plain_bytes_on_a_tls_port_are_an_error),
		cmocka_unit_test(a_certificate_for_another_name_is_refused),
		cmocka_unit_test(a_refused_connection_is_reported_later),
		cmocka_unit_test(a_connection_knows_its_addresses),
		cmocka_unit_test(alpn_without_http_1_1_is_refused),
		cmocka_unit_test(unusable_files_are_named),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, make_certificate, remove_certificate);
}
