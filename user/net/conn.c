/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conn: the libuv side of connections: reading, writing, closing. conn_tls.c handles TLS between
 * this file and the owner.
 *
 * All connections of a thread read into one buffer, so an idle connection needs none. Pausing only
 * sets a flag; libuv is stopped when bytes arrive while it is set. So a pause that ends before the
 * peer sends costs no system call, and bytes that were read never have to be stored.
 */
#include "net/conn.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "net/conn_impl.h"

struct queued_write {
	uv_write_t request;
	char data[];
};

static _Thread_local char read_buffer[64 * 1024];

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	(void)suggested;
	*buf = ((struct conn *)handle->data)->is_paused
		       ? uv_buf_init(NULL, 0)
		       : uv_buf_init(read_buffer, sizeof(read_buffer));
}

static void stop_reading(struct conn *c)
{
	uv_read_stop(&c->io.stream);
	if (c->reading == CONN_READ_STARTED)
		c->reading = CONN_READ_STOPPED;
}

static void on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *buf)
{
	struct conn *c = stream->data;

	if (len == UV_ENOBUFS) { /* on_alloc() gave no buffer: paused */
		stop_reading(c);
	} else if (len > 0) {
		c->received += (uint32_t)len;
		if (c->tls)
			conn_tls_receive(c->tls, buf->base, len);
		else if (c->events)
			c->events->on_data(c, buf->base, len);
	} else if (len == UV_EOF) {
		stop_reading(c);
		if (c->tls)
			conn_tls_receive_eof(c->tls);
		else
			conn_report_eof(c);
	} else if (len < 0) {
		conn_report_error(c, (int)len);
	}
}

static void update_reading(struct conn *c)
{
	if (c->reading != CONN_READ_STOPPED || c->phase == CONN_CLOSING || c->is_paused)
		return;
	if (!uv_is_readable(&c->io.stream)) /* not connected yet */
		return;
	if (!uv_read_start(&c->io.stream, on_alloc, on_read))
		c->reading = CONN_READ_STARTED;
}

void conn_report_connected(struct conn *c, int err)
{
	if (c->phase == CONN_CLOSING)
		return;
	if (!err)
		c->phase = CONN_UP;
	if (c->events && c->events->on_connected)
		c->events->on_connected(c, err);
}

void conn_report_eof(struct conn *c)
{
	bool is_first = c->reading != CONN_READ_ENDED;

	c->reading = CONN_READ_ENDED;
	if (is_first && c->phase != CONN_CLOSING && c->events)
		c->events->on_eof(c);
}

void conn_report_error(struct conn *c, int err)
{
	stop_reading(c);
	c->reading = CONN_READ_ENDED;
	c->writing = CONN_WRITE_BROKEN;
	if (c->phase != CONN_CLOSING && c->events)
		c->events->on_error(c, err);
}

static void free_conn(struct conn *c)
{
	if (c->events)
		c->events->on_closed(c);
	conn_tls_free(c->tls);
	free(c);
}

static void on_closed(uv_handle_t *handle)
{
	struct conn *c = handle->data;

	if (c->tls)
		conn_tls_close(c->tls, free_conn);
	else
		free_conn(c);
}

/* The common part of the constructors. */
static int make(uv_loop_t *loop, uv_handle_type type, const struct conn_events *events, void *owner,
		struct conn **ret_conn)
{
	struct conn *c = calloc(1, sizeof(*c));
	int err;

	if (!c)
		return -ENOMEM;
	err = type == UV_NAMED_PIPE ? uv_pipe_init(loop, &c->io.pipe, 0)
				    : uv_tcp_init(loop, &c->io.tcp);
	if (err) {
		free(c);
		return err;
	}
	c->io.handle.data = c;
	c->events = events;
	c->owner = owner;
	*ret_conn = c;
	return 0;
}

static void unmake(struct conn *c)
{
	c->events = NULL;
	conn_close(c, false);
}

static void learn_addresses(struct conn *c)
{
	int len = sizeof(c->peer);

	if (c->io.handle.type != UV_TCP)
		return;
	uv_tcp_nodelay(&c->io.tcp, 1);
	uv_tcp_getpeername(&c->io.tcp, (struct sockaddr *)&c->peer, &len);
	len = sizeof(c->local);
	uv_tcp_getsockname(&c->io.tcp, (struct sockaddr *)&c->local, &len);
}

int conn_accept(uv_stream_t *server, struct tls_context *tls, const struct conn_events *events,
		void *owner, struct conn **ret_conn)
{
	struct conn *c;
	int err = make(server->loop, server->type, events, owner, &c);

	if (err)
		return err;
	err = uv_accept(server, &c->io.stream);
	if (!err && tls)
		err = conn_tls_new(c, tls, NULL, &c->tls);
	if (err) {
		unmake(c);
		return err;
	}
	learn_addresses(c);
	c->phase = tls ? CONN_OPENING : CONN_UP;
	update_reading(c);
	*ret_conn = c;
	return 0;
}

static void on_connected(uv_connect_t *request, int err)
{
	struct conn *c = request->data;

	if (c->phase == CONN_CLOSING)
		return;
	if (err) {
		conn_report_connected(c, err);
		return;
	}
	learn_addresses(c);
	update_reading(c);
	if (c->tls)
		conn_tls_start(c->tls);
	else
		conn_report_connected(c, 0);
}

int conn_connect(uv_loop_t *loop, const struct sockaddr *address, struct tls_context *tls,
		 const char *server_name, const struct conn_events *events, void *owner,
		 struct conn **ret_conn)
{
	struct conn *c;
	int err = make(loop, UV_TCP, events, owner, &c);

	if (err)
		return err;
	c->request.connect.data = c;
	if (tls)
		err = conn_tls_new(c, tls, server_name, &c->tls);
	if (!err)
		err = uv_tcp_connect(&c->request.connect, &c->io.tcp, address, on_connected);
	if (err) {
		unmake(c);
		return err;
	}
	*ret_conn = c;
	return 0;
}

static void on_written(uv_write_t *request, int err)
{
	struct conn *c = request->data;

	free(request);
	if (c->phase == CONN_CLOSING || c->writing == CONN_WRITE_BROKEN)
		return;
	if (err) {
		conn_report_error(c, err);
		return;
	}
	/*
	 * libuv 1.45 and later may complete several requests after the queue is empty: only the
	 * first one counts.
	 */
	if (conn_queued(c) || !c->is_drain_due)
		return;
	c->is_drain_due = false;
	if (c->events && c->events->on_drain)
		c->events->on_drain(c);
}

/* Copy @parts without their first @skip bytes, and have libuv send the copy. */
static int queue_rest(struct conn *c, const uv_buf_t *parts, unsigned count, size_t skip,
		      size_t rest)
{
	struct queued_write *w = malloc(sizeof(*w) + rest);
	uv_buf_t whole;
	size_t at = 0;
	int err;

	if (!w)
		return -ENOMEM;
	for (unsigned i = 0; i < count; i++) {
		size_t from = skip < parts[i].len ? skip : parts[i].len;

		if (parts[i].len > from)
			memcpy(w->data + at, parts[i].base + from, parts[i].len - from);
		at += parts[i].len - from;
		skip -= from;
	}
	w->request.data = c;
	whole = uv_buf_init(w->data, (unsigned)rest);
	err = uv_write(&w->request, &c->io.stream, &whole, 1, on_written);
	if (err)
		free(w);
	else
		c->is_drain_due = true;
	return err;
}

int conn_raw_write(struct conn *c, const uv_buf_t *parts, unsigned count)
{
	size_t total = 0;
	int sent;
	int err;

	if (c->writing == CONN_WRITE_BROKEN || c->phase == CONN_CLOSING)
		return -EPIPE;
	for (unsigned i = 0; i < count; i++)
		total += parts[i].len;
	if (!total)
		return 0;
	sent = uv_try_write(&c->io.stream, parts, count);
	if (sent < 0 && sent != UV_EAGAIN) {
		c->writing = CONN_WRITE_BROKEN;
		return -EPIPE;
	}
	sent = sent < 0 ? 0 : sent;
	c->taken += total;
	if ((size_t)sent == total)
		return 0;
	err = queue_rest(c, parts, count, sent, total - sent);
	if (err)
		c->writing = CONN_WRITE_BROKEN; /* part of it was sent */
	return err && err != -ENOMEM ? -EPIPE : err;
}

int conn_write(struct conn *c, const uv_buf_t *parts, unsigned count)
{
	if (c->writing != CONN_WRITE_OPEN || c->phase != CONN_UP)
		return -EPIPE;
	return c->tls ? conn_tls_write(c->tls, parts, count) : conn_raw_write(c, parts, count);
}

size_t conn_queued(const struct conn *c)
{
	return uv_stream_get_write_queue_size(&c->io.stream);
}

uint64_t conn_sent(const struct conn *c)
{
	return c->taken - conn_queued(c);
}

void conn_pause(struct conn *c)
{
	c->is_paused = true;
}

void conn_resume(struct conn *c)
{
	if (!c->is_paused)
		return;
	c->is_paused = false;
	update_reading(c);
	if (c->tls && c->phase != CONN_CLOSING)
		conn_tls_resume(c->tls);
}

static void on_shut(uv_shutdown_t *request, int err)
{
	(void)request;
	(void)err; /* reading or writing reports a broken stream */
}

void conn_shutdown(struct conn *c)
{
	if (c->writing != CONN_WRITE_OPEN || c->phase != CONN_UP)
		return;
	if (c->tls)
		conn_tls_shutdown(c->tls);
	if (c->writing == CONN_WRITE_BROKEN) /* sending close_notify failed */
		return;
	c->writing = CONN_WRITE_SHUT;
	uv_shutdown(&c->request.shutdown, &c->io.stream, on_shut);
}

void conn_close(struct conn *c, bool reset)
{
	static const struct linger now = { .l_onoff = 1, .l_linger = 0 };
	uv_os_fd_t fd;

	if (c->phase == CONN_CLOSING)
		return;
	c->phase = CONN_CLOSING;
	if (reset && c->io.handle.type == UV_TCP && !uv_fileno(&c->io.handle, &fd))
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	uv_close(&c->io.handle, on_closed);
}

void *conn_owner(const struct conn *c)
{
	return c->owner;
}

void conn_set_owner(struct conn *c, const struct conn_events *events, void *owner)
{
	c->events = events;
	c->owner = owner;
}

const struct sockaddr_storage *conn_peer(const struct conn *c)
{
	return &c->peer;
}

const struct sockaddr_storage *conn_local(const struct conn *c)
{
	return &c->local;
}

bool conn_is_tls(const struct conn *c)
{
	return c->tls;
}

bool conn_is_up(const struct conn *c)
{
	return c->phase == CONN_UP;
}

uint32_t conn_received(const struct conn *c)
{
	return c->received;
}

bool conn_is_settled(const struct conn *c)
{
	return !c->tls || conn_tls_is_settled(c->tls);
}

bool conn_is_unacknowledged(const struct conn *c)
{
	uv_os_fd_t fd;
	int bytes = 0;

	return uv_fileno((const uv_handle_t *)&c->io.handle, &fd) || ioctl(fd, SIOCOUTQ, &bytes) ||
	       bytes;
}

int conn_window_scales(const struct conn *c, uint8_t *ret_rcv, uint8_t *ret_snd)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);
	uv_os_fd_t fd;
	int err = uv_fileno((const uv_handle_t *)&c->io.handle, &fd);

	if (!err && getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len))
		err = -errno;
	if (err)
		return err;
	*ret_rcv = info.tcpi_rcv_wscale;
	*ret_snd = info.tcpi_snd_wscale;
	return 0;
}
