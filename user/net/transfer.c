/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * transfer: libcurl on a libuv loop.
 *
 * libcurl tells which sockets it waits for and when it wants to be called: each socket has a poll
 * handle, and there is one timer. Results are reported after libcurl has returned, so that
 * callbacks may call any function here.
 */
#include "net/transfer.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "net/transfer_private.h"

/* A socket that libcurl waits for. */
struct watch {
	uv_poll_t poll;
	struct transfers *transfers; /* borrowed */
	curl_socket_t fd;
};

static pthread_once_t global_once = PTHREAD_ONCE_INIT;
static CURLcode global_code;

static void init_global(void)
{
	global_code = curl_global_init(CURL_GLOBAL_DEFAULT);
}

void transfers_unref(struct transfers *transfers)
{
	if (!--transfers->refs)
		free(transfers);
}

static void on_timer_closed(uv_handle_t *handle)
{
	transfers_unref(handle->data);
}

static void on_poll_closed(uv_handle_t *handle)
{
	struct watch *watch = handle->data;

	transfers_unref(watch->transfers);
	free(watch);
}

void transfer_link(struct transfer *t)
{
	LIST_INSERT_HEAD(&t->transfers->list, t, entry);
	t->transfers->count++;
}

void transfer_unlink(struct transfer *t)
{
	LIST_REMOVE(t, entry);
	t->transfers->count--;
}

void transfer_end(struct transfer *t, CURLcode code)
{
	long status = 0;
	struct transfer_result result = { .err = transfer_errno(t, code), .words = "" };

	curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
	if (result.err)
		result.words = t->words[0] ? t->words : curl_easy_strerror(code);
	result.status = (unsigned)status;
	result.fields = buf_text(&t->head);
	result.body = buf_text(&t->body);
	transfer_unlink(t);
	t->done(t->arg, &result);
	transfer_free(t);
}

/*
 * Report all results. @transfers stays valid, even if a callback frees it: the timer holds a
 * reference.
 */
static void report_results(struct transfers *transfers)
{
	CURLMsg *message;
	int left;

	while (transfers->multi && (message = curl_multi_info_read(transfers->multi, &left))) {
		struct transfer *t = NULL;

		CURLcode code = message->data.result;

		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &t);
		curl_multi_remove_handle(transfers->multi, t->easy);
		transfer_end(t, code);
	}
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct watch *watch = poll->data;
	struct transfers *transfers = watch->transfers;
	int flags = status ? CURL_CSELECT_ERR : 0, running;

	flags |= events & UV_READABLE ? CURL_CSELECT_IN : 0;
	flags |= events & UV_WRITABLE ? CURL_CSELECT_OUT : 0;
	curl_multi_socket_action(transfers->multi, watch->fd, flags, &running);
	report_results(transfers);
}

static void on_timer(uv_timer_t *timer)
{
	struct transfers *transfers = timer->data;
	int running;

	curl_multi_socket_action(transfers->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	report_results(transfers);
}

/*
 * libcurl wants to be called in @timeout_ms. It must not be called from within this function, so 0
 * also goes through the timer.
 */
static int on_timer_wanted(CURLM *multi, long timeout_ms, void *arg)
{
	struct transfers *transfers = arg;

	(void)multi;
	if (timeout_ms < 0)
		uv_timer_stop(&transfers->timer);
	else
		uv_timer_start(&transfers->timer, on_timer, (uint64_t)timeout_ms, 0);
	return 0;
}

static struct watch *watch_new(struct transfers *transfers, curl_socket_t fd)
{
	struct watch *watch = calloc(1, sizeof(*watch));

	if (!watch || uv_poll_init_socket(transfers->loop, &watch->poll, fd)) {
		free(watch);
		return NULL;
	}
	watch->poll.data = watch;
	watch->transfers = transfers;
	watch->fd = fd;
	transfers->refs++;
	curl_multi_assign(transfers->multi, fd, watch);
	return watch;
}

static int on_socket_wanted(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
	struct transfers *transfers = arg;
	struct watch *watch = socket_arg;
	int events = 0;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		/* uv_close() stops polling at once; libcurl may close the descriptor after this. */
		if (watch)
			uv_close((uv_handle_t *)&watch->poll, on_poll_closed);
		curl_multi_assign(transfers->multi, fd, NULL);
		return 0;
	}
	if (!watch)
		watch = watch_new(transfers, fd);
	if (!watch)
		return 0; /* out of memory: the transfer will time out */
	events |= what & CURL_POLL_IN ? UV_READABLE : 0;
	events |= what & CURL_POLL_OUT ? UV_WRITABLE : 0;
	uv_poll_start(&watch->poll, events, on_poll);
	return 0;
}

struct transfers *transfers_new(uv_loop_t *loop, unsigned max_count, unsigned max_per_host)
{
	struct transfers *transfers;

	pthread_once(&global_once, init_global);
	transfers = calloc(1, sizeof(*transfers));
	if (global_code || !transfers || uv_timer_init(loop, &transfers->timer)) {
		free(transfers);
		return NULL;
	}
	transfers->loop = loop;
	transfers->max_count = max_count;
	transfers->timer.data = transfers;
	transfers->refs = 1;
	transfers->multi = curl_multi_init();
	if (!transfers->multi ||
	    curl_multi_setopt(transfers->multi, CURLMOPT_SOCKETFUNCTION, on_socket_wanted) ||
	    curl_multi_setopt(transfers->multi, CURLMOPT_SOCKETDATA, transfers) ||
	    curl_multi_setopt(transfers->multi, CURLMOPT_TIMERFUNCTION, on_timer_wanted) ||
	    curl_multi_setopt(transfers->multi, CURLMOPT_TIMERDATA, transfers) ||
	    curl_multi_setopt(transfers->multi, CURLMOPT_MAX_HOST_CONNECTIONS,
			      (long)max_per_host) ||
	    curl_multi_setopt(transfers->multi, CURLMOPT_MAXCONNECTS, (long)max_count)) {
		transfers_free(transfers);
		return NULL;
	}
	return transfers;
}

void transfers_free(struct transfers *transfers)
{
	if (!transfers)
		return;
	while (!LIST_EMPTY(&transfers->list))
		transfer_cancel(LIST_FIRST(&transfers->list));
	curl_multi_cleanup(transfers->multi);
	transfers->multi = NULL;
	uv_close((uv_handle_t *)&transfers->timer, on_timer_closed);
}

unsigned transfers_count(const struct transfers *transfers)
{
	return transfers->count;
}

struct transfer *transfer_new(struct transfers *transfers, transfer_done done, void *arg)
{
	struct transfer *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->transfers = transfers;
	t->done = done;
	t->arg = arg;
	buf_init(&t->head, TRANSFER_MAX_HEAD);
	t->easy = curl_easy_init();
	if (!t->easy) {
		transfer_free(t);
		return NULL;
	}
	return t;
}

int transfer_request(struct transfers *transfers, const struct transfer_request *request,
		     transfer_done done, void *arg, struct transfer **ret_transfer)
{
	struct transfer *t;
	int err;

	if (transfers->count >= transfers->max_count)
		return -ENOBUFS;
	t = transfer_new(transfers, done, arg);
	err = t ? transfer_set_request(t, request) : -ENOMEM;
	if (!err && curl_multi_add_handle(transfers->multi, t->easy))
		err = -ENOMEM;
	if (err) {
		transfer_free(t);
		return err;
	}
	transfer_link(t);
	if (ret_transfer)
		*ret_transfer = t;
	return 0;
}

void transfer_cancel(struct transfer *t)
{
	transfer_unlink(t);
	if (t->is_mail) {
		transfer_cancel_mail(t);
		return;
	}
	curl_multi_remove_handle(t->transfers->multi, t->easy);
	transfer_free(t);
}

bool transfer_field(const struct transfer_result *result, const char *name, struct text *ret_value)
{
	struct text rest = result->fields;

	while (rest.len) {
		const char *end = memchr(rest.ptr, '\n', rest.len);
		size_t len = end ? (size_t)(end - rest.ptr) + 1 : rest.len;
		const char *colon = memchr(rest.ptr, ':', len);

		if (colon &&
		    text_equal_nocase((struct text){ rest.ptr, (size_t)(colon - rest.ptr) },
				      text_of(name))) {
			const char *value = colon + 1;
			size_t size = (size_t)(rest.ptr + len - value);

			while (size && (value[size - 1] == '\n' || value[size - 1] == '\r'))
				size--;
			*ret_value = text_trim((struct text){ value, size });
			return true;
		}
		rest = (struct text){ rest.ptr + len, rest.len - len };
	}
	return false;
}
