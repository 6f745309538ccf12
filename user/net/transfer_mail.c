/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * transfer_mail: sends mails on threads of libuv's pool.
 *
 * libcurl sends QUIT when it closes the connection to a mail server, and waits for the answer in
 * the thread that closes it. That must not be the loop's, so the connection is closed with the
 * mail, and the progress function ends the wait if it takes too long.
 */
#include <errno.h>

#include "base/atomic.h"
#include "base/clock.h"
#include "net/transfer_private.h"

#define QUIT_MS 1000 /* for the answer to QUIT, after total_ms */

/* libcurl calls this about once a second; a value other than 0 ends the transfer. */
static int on_progress(void *arg, curl_off_t down_total, curl_off_t down, curl_off_t up_total,
		       curl_off_t up)
{
	const struct transfer *t = arg;

	(void)down_total;
	(void)down;
	(void)up_total;
	(void)up;
	return atomic_read_acquire(&t->is_cancelled) || clock_mono_ns() > t->give_up_ns;
}

static void send_mail(uv_work_t *work)
{
	struct transfer *t = work->data;

	t->give_up_ns = clock_mono_ns() + (t->total_ms + QUIT_MS) * NS_PER_MS;
	t->code = curl_easy_perform(t->easy);
}

static void on_mail_sent(uv_work_t *work, int status)
{
	struct transfer *t = work->data;
	struct transfers *transfers = t->transfers;

	if (atomic_read_acquire(&t->is_cancelled))
		transfer_free(t);
	else
		transfer_end(t, status ? CURLE_OUT_OF_MEMORY : t->code);
	transfers_unref(transfers);
}

static int start(struct transfer *t, unsigned total_ms)
{
	t->is_mail = true;
	t->work.data = t;
	t->total_ms = total_ms;
	if (curl_easy_setopt(t->easy, CURLOPT_FORBID_REUSE, 1L) ||
	    curl_easy_setopt(t->easy, CURLOPT_NOPROGRESS, 0L) ||
	    curl_easy_setopt(t->easy, CURLOPT_XFERINFOFUNCTION, on_progress) ||
	    curl_easy_setopt(t->easy, CURLOPT_XFERINFODATA, t) ||
	    uv_queue_work(t->transfers->loop, &t->work, send_mail, on_mail_sent))
		return -ENOMEM;
	t->transfers->refs++;
	transfer_link(t);
	return 0;
}

int transfer_mail(struct transfers *transfers, const struct transfer_mail *mail, transfer_done done,
		  void *arg, struct transfer **ret_transfer)
{
	struct transfer *t;
	int err;

	if (transfers->count >= transfers->max_count)
		return -ENOBUFS;
	t = transfer_new(transfers, done, arg);
	err = t ? transfer_set_mail(t, mail) : -ENOMEM;
	if (!err)
		err = start(t, mail->total_ms);
	if (err)
		transfer_free(t);
	else if (ret_transfer)
		*ret_transfer = t;
	return err;
}

void transfer_cancel_mail(struct transfer *t)
{
	atomic_write_release(&t->is_cancelled, true);
	uv_cancel((uv_req_t *)&t->work);
}
