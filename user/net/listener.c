/* SPDX-License-Identifier: BSD-2-Clause */
/* listener: listening sockets, and addresses as text. */
#include "net/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"
#include "net/conn.h"

#define BACKLOG	     4096
#define RESERVED_FDS 16 /* kept free for the store, files and logs */

struct listener {
	union {
		uv_handle_t handle;
		uv_stream_t stream;
		uv_tcp_t tcp;
		uv_pipe_t pipe;
	} io;
	void (*on_connection)(struct listener *l);
	void *owner;		/* borrowed */
	char *path;		/* owned; of a Unix socket, NULL for TCP */
	struct stat path_stat;	/* identifies the file that was created there */
	int fd_limit;		/* connections with this descriptor or a higher one are dropped */
	uint64_t complained_ms; /* loop time of the last log line; 0: none */
	uint64_t dropped_count; /* connections dropped since then */
};

/* ---- addresses ---- */

static int split_address(struct text t, char *ret_host, size_t size, bool *ret_is_ipv6,
			 struct text *ret_port)
{
	const char *colon = t.len ? memrchr(t.ptr, ':', t.len) : NULL;
	struct text host;

	if (!colon)
		return -EINVAL;
	host = (struct text){ t.ptr, (size_t)(colon - t.ptr) };
	*ret_port = (struct text){ colon + 1, t.len - host.len - 1 };
	*ret_is_ipv6 = host.len > 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']';
	if (*ret_is_ipv6)
		host = (struct text){ host.ptr + 1, host.len - 2 };
	if (!host.len || host.len >= size)
		return -EINVAL;
	memcpy(ret_host, host.ptr, host.len);
	ret_host[host.len] = '\0';
	return 0;
}

int listener_parse_address(const char *text, struct sockaddr_storage *ret_address)
{
	struct sockaddr_storage address = { 0 };
	struct sockaddr_in *v4 = (struct sockaddr_in *)&address;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&address;
	char host[INET6_ADDRSTRLEN];
	struct text port_text;
	uint64_t port;
	bool is_ipv6;

	if (split_address(text_of(text), host, sizeof(host), &is_ipv6, &port_text) ||
	    text_parse_u64(port_text, UINT16_MAX, &port))
		return -EINVAL;
	address.ss_family = is_ipv6 ? AF_INET6 : AF_INET;
	if (is_ipv6)
		v6->sin6_port = htons((uint16_t)port);
	else
		v4->sin_port = htons((uint16_t)port);
	if (inet_pton(address.ss_family, host,
		      is_ipv6 ? (void *)&v6->sin6_addr : (void *)&v4->sin_addr) != 1)
		return -EINVAL;
	*ret_address = address;
	return 0;
}

void listener_format_address(const struct sockaddr_storage *address, char *ret_text, size_t size)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;
	char host[INET6_ADDRSTRLEN] = "?";

	if (address->ss_family == AF_INET) {
		inet_ntop(AF_INET, &v4->sin_addr, host, sizeof(host));
		snprintf(ret_text, size, "%s:%u", host, ntohs(v4->sin_port));
	} else if (address->ss_family == AF_INET6) {
		inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof(host));
		snprintf(ret_text, size, "[%s]:%u", host, ntohs(v6->sin6_port));
	} else {
		snprintf(ret_text, size, "unix");
	}
}

/* ---- connections ---- */

static void complain(struct listener *l, const char *reason)
{
	uint64_t now_ms = uv_now(l->io.handle.loop);

	l->dropped_count++;
	if (l->complained_ms && now_ms - l->complained_ms < 1000)
		return;
	log_warn("listener: %s: %llu connection(s) dropped", reason,
		 (unsigned long long)l->dropped_count);
	l->complained_ms = now_ms ? now_ms : 1;
	l->dropped_count = 0;
}

static void drop_waiting(struct listener *l)
{
	struct conn *c;

	if (!conn_accept(&l->io.stream, NULL, NULL, NULL, &c))
		conn_close(c, true);
}

static void on_connection(uv_stream_t *stream, int err)
{
	struct listener *l = stream->data;

	if (err) {
		complain(l, uv_strerror(err));
	} else if (stream->accepted_fd >= l->fd_limit) {
		/* The kernel assigns the lowest free number: the few that are left are reserved. */
		complain(l, "out of file descriptors");
		drop_waiting(l);
	} else {
		l->on_connection(l);
	}
}

static void on_closed(uv_handle_t *handle)
{
	struct listener *l = handle->data;

	free(l->path);
	free(l);
}

static struct listener *make(void (*callback)(struct listener *l), void *owner)
{
	struct listener *l = calloc(1, sizeof(*l));
	struct rlimit limit;

	if (!l)
		return NULL;
	l->on_connection = callback;
	l->owner = owner;
	l->fd_limit = INT32_MAX;
	if (!getrlimit(RLIMIT_NOFILE, &limit) && limit.rlim_cur < INT32_MAX)
		l->fd_limit = (int)limit.rlim_cur - RESERVED_FDS;
	return l;
}

static int start(struct listener *l)
{
	l->io.handle.data = l;
	return uv_listen(&l->io.stream, BACKLOG, on_connection);
}

static int bind_tcp(struct listener *l, const struct sockaddr_storage *address)
{
	static const int on = 1;
	uv_os_fd_t fd;
	int err = uv_fileno(&l->io.handle, &fd);

	if (err)
		return err;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)))
		return -errno;
	return uv_tcp_bind(&l->io.tcp, (const struct sockaddr *)address,
			   address->ss_family == AF_INET6 ? UV_TCP_IPV6ONLY : 0);
}

int listener_check_free(const struct sockaddr_storage *address)
{
	static const int on = 1;
	bool is_ip6 = address->ss_family == AF_INET6;
	int fd = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0), err = 0;

	if (fd < 0)
		return -errno;
	/* Only a listener is in the way, not old connections in TIME_WAIT. */
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (is_ip6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (bind(fd, (const struct sockaddr *)address,
		 is_ip6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in)))
		err = -errno;
	close(fd);
	return err;
}

int listener_open_tcp(uv_loop_t *loop, const struct sockaddr_storage *address,
		      void (*callback)(struct listener *l), void *owner,
		      struct listener **ret_listener)
{
	struct listener *l = make(callback, owner);
	int err;

	if (!l)
		return -ENOMEM;
	err = uv_tcp_init_ex(loop, &l->io.tcp, address->ss_family);
	if (err) {
		free(l);
		return err;
	}
	l->io.handle.data = l;
	err = bind_tcp(l, address);
	if (!err)
		err = start(l);
	if (err) {
		listener_close(l);
		return err;
	}
	*ret_listener = l;
	return 0;
}

/* ---- Unix sockets ---- */

/* Remove a socket file without a listener. -EADDRINUSE if it has one, or is not a socket. */
static int clear_stale(const struct sockaddr_un *address)
{
	struct stat st;
	int err;
	int fd;

	if (lstat(address->sun_path, &st))
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EADDRINUSE;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	err = connect(fd, (const struct sockaddr *)address, sizeof(*address)) ? -errno : 0;
	close(fd);
	if (err != -ECONNREFUSED)
		return err == -EACCES ? err : -EADDRINUSE;
	return unlink(address->sun_path) && errno != ENOENT ? -errno : 0;
}

static int bind_unix(const struct sockaddr_un *address, int *ret_fd)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int err = 0;

	if (fd < 0)
		return -errno;
	/* bind(2) gives the file the mode of the socket, so others can never open it. */
	if (fchmod(fd, 0600) || bind(fd, (const struct sockaddr *)address, sizeof(*address)))
		err = -errno;
	if (err)
		close(fd);
	else
		*ret_fd = fd;
	return err;
}

static int open_path(struct listener *l, const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int err = text_copy(address.sun_path, sizeof(address.sun_path), path);
	int fd = -1;

	if (!err)
		err = clear_stale(&address);
	if (!err)
		err = bind_unix(&address, &fd);
	if (err)
		return err;
	l->path = strdup(path);
	err = l->path && !lstat(path, &l->path_stat) ? uv_pipe_open(&l->io.pipe, fd) : -ENOMEM;
	if (err)
		close(fd);
	return err;
}

int listener_open_unix(uv_loop_t *loop, const char *path, void (*callback)(struct listener *l),
		       void *owner, struct listener **ret_listener)
{
	struct listener *l = make(callback, owner);
	int err;

	if (!l)
		return -ENOMEM;
	/* Operators must get in when clients have used up the rest. */
	if (l->fd_limit < INT32_MAX)
		l->fd_limit += RESERVED_FDS / 2;
	err = uv_pipe_init(loop, &l->io.pipe, 0);
	if (err) {
		free(l);
		return err;
	}
	l->io.handle.data = l;
	err = open_path(l, path);
	if (!err)
		err = start(l);
	if (err) {
		listener_close(l);
		return err;
	}
	*ret_listener = l;
	return 0;
}

uv_stream_t *listener_stream(struct listener *l)
{
	return &l->io.stream;
}

void *listener_owner(const struct listener *l)
{
	return l->owner;
}

unsigned listener_port(const struct listener *l)
{
	struct sockaddr_storage address;
	int len = sizeof(address);

	if (l->io.handle.type != UV_TCP ||
	    uv_tcp_getsockname(&l->io.tcp, (struct sockaddr *)&address, &len))
		return 0;
	return ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
						   : ((struct sockaddr_in *)&address)->sin_port);
}

void listener_close(struct listener *l)
{
	struct stat st;

	/* Remove only our own file: a new process may have put its socket there by now. */
	if (l->path && !lstat(l->path, &st) && st.st_ino == l->path_stat.st_ino &&
	    st.st_dev == l->path_stat.st_dev)
		unlink(l->path);
	uv_close(&l->io.handle, on_closed);
}
