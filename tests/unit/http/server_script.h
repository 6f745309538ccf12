/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * server_script: runs a list of events against the server, and checks the states that it ends in.
 *
 * Events are separated by '|'. There are three kinds:
 *
 *   "!verb"   the handler, the client or time does something; see verbs[]
 *   "@verb"   the handler will do that inside the next on_request
 *   others    the client sends these bytes
 *
 * Verbs that are joined by '+' happen in one turn of the loop.
 *
 * The handler does nothing by itself. Events run on a real connection. The limits are long and far
 * apart, so no deadline passes unless a row says "!late", and the time that is left tells which one
 * runs.
 */
#ifndef UNIT_HTTP_SERVER_SCRIPT_H
#define UNIT_HTTP_SERVER_SCRIPT_H

#include "http/server_impl.h"
#include "net/conn_impl.h"
#include "unit/http/server_fixture.h"

static const struct http_limits far_limits = {
	.head_bytes = 1024,
	.body_bytes = 100 * 1000,
	.head_ms = 100 * 1000,
	.body_ms = 200 * 1000,
	.idle_ms = 300 * 1000,
	.write_ms = 400 * 1000,
};

struct row {
	const char *events;
	const char *states; /* phase, read side, write side, read deadline; or "CLOSED" */
	const char *seen;   /* by the handler: a word for each callback */
	const char *got;    /* by the client, anywhere in its bytes; "<RESET>", "<END>" */
	const char *why;
};

/* One row under way. */
static struct {
	struct fixture f;
	int fd; /* the client's; -1 once it is closed */
	struct http_stream *stream;
	const char *inside; /* the verb for the next on_request */
	bool is_busy;	    /* on_idle objects */
	size_t body_bytes;  /* seen in on_body since the last other callback */
	char seen[512];
	char got[4096]; /* the end of what the client has read */
} run;

static struct http_connection *connection(void)
{
	return LIST_FIRST(&run.f.server->connections);
}

/* ---- what the handler sees ---- */

static void note(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void note_body(void)
{
	size_t bytes = run.body_bytes;

	run.body_bytes = 0;
	if (bytes >= 1000)
		note("body:many");
	else if (bytes)
		note("body:%zu", bytes);
}

static void note(const char *format, ...)
{
	size_t len;
	va_list args;

	note_body();
	len = strlen(run.seen);
	len += (size_t)snprintf(run.seen + len, sizeof(run.seen) - len, "%s", len ? " " : "");
	va_start(args, format);
	vsnprintf(run.seen + len, sizeof(run.seen) - len, format, args);
	va_end(args);
}

static void do_verb(const char *name);

static void see_request(struct http_stream *s)
{
	const char *verb = run.inside;

	note("request");
	run.stream = s;
	run.inside = NULL;
	if (verb)
		do_verb(verb);
}

static void see_body(struct http_stream *s, const char *data, size_t len)
{
	(void)s;
	(void)data;
	run.body_bytes += len;
}

static void see_body_end(struct http_stream *s)
{
	(void)s;
	note("end");
}

static void see_drain(struct http_stream *s)
{
	(void)s;
	note("drain");
}

static void see_abort(struct http_stream *s, int err)
{
	(void)s;
	note("abort:%s", strerrorname_np(-err));
}

static void see_refused(struct http_server *server, unsigned status, const char *why)
{
	(void)server;
	assert_non_null(why);
	note("refused:%u", status);
}

static void see_settled(void *context, uint32_t received)
{
	(void)context;
	(void)received;
	note("settled");
}

static void see_connection_closed(void *context)
{
	(void)context;
	note("closed");
}

static bool see_idle(void *context, uint64_t idle_ms)
{
	(void)context;
	(void)idle_ms;
	return !run.is_busy;
}

static const struct http_handler recorder = {
	.on_request = see_request,
	.on_body = see_body,
	.on_body_end = see_body_end,
	.on_drain = see_drain,
	.on_abort = see_abort,
	.on_refused = see_refused,
	.on_settled = see_settled,
	.on_connection_closed = see_connection_closed,
	.on_idle = see_idle,
};

/* ---- verbs ---- */

static void note_error(const char *what, int err)
{
	if (err)
		note("%s:%s", what, strerrorname_np(-err));
}

static void verb_answer(void)
{
	const struct http_answer a = {
		.status = 200,
		.length = 2,
		.first_piece = TEXT("ok"),
		.is_last = true,
	};

	note_error("answer", http_stream_answer(run.stream, &a));
}

static void verb_head(void)
{
	const struct http_answer a = { .status = 200, .length = 4 };

	note_error("head", http_stream_answer(run.stream, &a));
}

static void verb_chunked(void)
{
	const struct http_answer a = { .status = 200, .length = HTTP_UNKNOWN_LENGTH };

	note_error("chunked", http_stream_answer(run.stream, &a));
}

static void verb_write(void)
{
	note_error("write", http_stream_write(run.stream, "abcd", 4));
}

static void verb_part(void)
{
	note_error("part", http_stream_write(run.stream, "a", 1));
}

static void verb_flood(void)
{
	static char piece[256 * 1024];
	int kernel_bytes = 64 * 1024;

	memset(piece, 'x', sizeof(piece));
	/* More than the sockets' buffers, of fixed size, can hold. */
	assert_int_equal(uv_send_buffer_size(&connection()->conn->io.handle, &kernel_bytes), 0);
	while (http_stream_queued(run.stream) <= 8 * CONN_HIGH_BYTES)
		assert_int_equal(http_stream_write(run.stream, piece, sizeof(piece)), 0);
}

static void verb_end(void)
{
	http_stream_end(run.stream);
}

static void verb_break(void)
{
	http_stream_break(run.stream);
}

static void verb_100(void)
{
	note_error("100", http_stream_inform(run.stream, 100, TEXT("")));
}

static void verb_tunnel(void)
{
	note_error("tunnel", http_stream_tunnel(run.stream, TEXT("Upgrade: x\r\n")));
}

static void verb_pause(void)
{
	http_stream_pause(run.stream);
}

static void verb_resume(void)
{
	http_stream_resume(run.stream);
}

static void verb_busy(void)
{
	run.is_busy = true;
}

static void verb_many(void)
{
	static char junk[HTTP_DRAIN_BYTES + 1000];

	memset(junk, 'x', sizeof(junk));
	for (size_t at = 0; at < sizeof(junk); turn(&run.f)) {
		ssize_t count = send(run.fd, junk + at, sizeof(junk) - at, MSG_DONTWAIT);

		at += count > 0 ? (size_t)count : 0;
	}
}

static void verb_fin(void)
{
	shutdown(run.fd, SHUT_WR);
}

static void verb_rst(void)
{
	static const struct linger now = { 1, 0 };

	setsockopt(run.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(run.fd);
	run.fd = -1;
}

/* Keep the end of what the client has read. */
static void keep(const char *bytes, size_t len)
{
	size_t room = sizeof(run.got) - 1, had = strlen(run.got), lost;

	if (len > room) {
		bytes += len - room;
		len = room;
	}
	lost = had + len > room ? had + len - room : 0;
	memmove(run.got, run.got + lost, had - lost);
	memcpy(run.got + had - lost, bytes, len);
	run.got[had - lost + len] = '\0';
}

/* The client reads all there is, and the loop turns until no more comes. */
static void verb_read(void)
{
	static char bytes[256 * 1024];

	for (unsigned quiet = 0; run.fd >= 0 && quiet < 5; quiet++) {
		ssize_t count = recv(run.fd, bytes, sizeof(bytes), MSG_DONTWAIT);

		if (count > 0) {
			keep(bytes, (size_t)count);
			quiet = 0;
		} else if (count == 0 || errno != EAGAIN) {
			keep(count ? "<RESET>" : "<END>", count ? 7 : 5);
			return;
		}
		turn(&run.f);
	}
}

/* The read deadline passes. */
static void verb_late(void)
{
	struct http_connection *c = connection();

	assert_true(c->read_deadline_ms > 0);
	c->read_deadline_ms = 1;
	c->armed_ms = 0;
	connection_arm(c);
}

/* The write deadline passes, and the client has read nothing. */
static void verb_stuck(void)
{
	struct http_connection *c = connection();

	assert_true(c->write_deadline_ms > 0);
	c->write_deadline_ms = 1;
	c->armed_ms = 0;
	connection_arm(c);
}

static void verb_drain(void)
{
	http_server_drain(run.f.server, NULL, NULL);
}

static void verb_close(void)
{
	http_server_close(run.f.server);
}

static const struct {
	const char *name;
	void (*act)(void);
} verbs[] = {
	/* The handler's. */
	{ "answer", verb_answer },   /* a whole answer, "ok" */
	{ "head", verb_head },	     /* the head of an answer of four bytes */
	{ "chunked", verb_chunked }, /* the head of an answer of unknown length */
	{ "write", verb_write },     /* four bytes */
	{ "part", verb_part },	     /* one byte */
	{ "flood", verb_flood },     /* until far more than CONN_HIGH_BYTES are queued */
	{ "end", verb_end },
	{ "break", verb_break },
	{ "100", verb_100 },
	{ "tunnel", verb_tunnel },
	{ "pause", verb_pause },
	{ "resume", verb_resume },
	{ "busy", verb_busy }, /* from now on on_idle objects */
	/* The client's. */
	{ "many", verb_many }, /* more than HTTP_DRAIN_BYTES */
	{ "fin", verb_fin },
	{ "rst", verb_rst },
	{ "read", verb_read },
	/* Time's, and the server's owner's. */
	{ "late", verb_late },
	{ "stuck", verb_stuck },
	{ "drain", verb_drain },
	{ "close", verb_close },
};

static void do_one_verb(const char *name)
{
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (!strcmp(verbs[i].name, name)) {
			verbs[i].act();
			return;
		}
	}
	fail_msg("no verb '%s'", name);
}

static void do_verb(const char *names)
{
	char copy[64], *rest = copy, *name;

	snprintf(copy, sizeof(copy), "%s", names);
	while ((name = strsep(&rest, "+")))
		do_one_verb(name);
}

/* ---- rows ---- */

static const char *deadline_of(const struct http_connection *c)
{
	static const char *const names[] = { "head", "body", "idle" };
	uint64_t left_ms;

	if (!c->read_deadline_ms)
		return "none";
	left_ms = c->read_deadline_ms - uv_now(&run.f.loop);
	return left_ms <= HTTP_LINGER_MS ? "short" : names[(left_ms - 1) / 100000];
}

static void describe(const struct http_connection *c, char *ret_text, size_t size)
{
	static const char *const phases[] = { "HANDSHAKE", "OPEN", "LINGERING" };
	static const char *const reads[] = { "IDLE",	"HEAD", "EXPECT", "BODY",
					     "DISCARD", "DONE", "TUNNEL" };
	static const char *const writes[] = { "NONE", "HEAD", "BODY", "DONE" };

	if (!c || c->phase == HTTP_CLOSED)
		snprintf(ret_text, size, "CLOSED");
	else
		snprintf(ret_text, size, "%s %s %s %s", phases[c->phase], reads[c->stream.read],
			 writes[c->stream.write], deadline_of(c));
}

static void begin(void)
{
	memset(&run, 0, sizeof(run));
	start(&run.f, &far_limits);
	run.f.server->handler = &recorder;
	run.fd = dial(&run.f);
	WAIT_UNTIL(&run.f, connection());
}

static void happen(const char *event)
{
	if (event[0] == '@')
		run.inside = event + 1;
	else if (event[0] == '!')
		do_verb(event + 1);
	else
		say(run.fd, event);
	for (unsigned i = 0; i < 4; i++)
		turn(&run.f);
}

static void run_row(const struct row *row)
{
	char events[512], states[64], seen[sizeof(run.seen)], *rest = events, *event;

	begin();
	snprintf(events, sizeof(events), "%s", row->events);
	while ((event = strsep(&rest, "|")))
		happen(event);
	note_body();
	describe(connection(), states, sizeof(states));
	memcpy(seen, run.seen, sizeof(seen)); /* reading on may let the handler see more */
	verb_read();
	if (strcmp(states, row->states) || strcmp(seen, row->seen) || !strstr(run.got, row->got))
		fail_msg("%s: %s, seen '%s', got '%.500s'", row->why, states, seen, run.got);
	if (run.fd >= 0)
		close(run.fd);
	stop(&run.f);
}

static void run_rows(const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++)
		run_row(&rows[i]);
}

#define RUN_ROWS(rows) run_rows(rows, sizeof(rows) / sizeof((rows)[0]))

#endif
