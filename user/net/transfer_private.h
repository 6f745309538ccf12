/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * transfer_private: what transfer.c (the loop), transfer_setup.c (libcurl's options) and
 * transfer_mail.c (mails on their threads) share; private to them.
 */
#ifndef NET_TRANSFER_PRIVATE_H
#define NET_TRANSFER_PRIVATE_H

#include <sys/queue.h>

#include <curl/curl.h>

#include "base/buf.h"
#include "net/transfer.h"

#define TRANSFER_MAX_HEAD 32768

LIST_HEAD(transfer_list, transfer);

struct transfers {
	uv_loop_t *loop; /* borrowed */
	CURLM *multi;	 /* owned; NULL after transfers_free() */
	uv_timer_t timer;
	struct transfer_list list; /* owned */
	unsigned count, max_count;
	unsigned refs; /* open handles and mails on their threads; the last one frees */
};

struct transfer {
	struct transfers *transfers; /* borrowed */
	LIST_ENTRY(transfer) entry;  /* in transfers->list */
	transfer_done done;
	void *arg;
	CURL *easy;		   /* owned */
	struct curl_slist *fields; /* owned; may contain secrets */
	struct curl_slist *to;	   /* owned; recipients of a mail */
	struct buf out;		   /* body of a request */
	curl_mime *mime;	   /* owned; body of a mail */
	struct buf head, body;	   /* of the response */
	bool is_too_large;
	/* For mails. Until on_mail_sent(), their thread owns all members above except `entry`. */
	bool is_mail;
	uv_work_t work;
	CURLcode code;
	uint64_t total_ms, give_up_ns;
	bool is_cancelled; /* atomic */
	char words[CURL_ERROR_SIZE];
};

/* A transfer that is not in the list yet. NULL: out of memory. */
struct transfer *transfer_new(struct transfers *transfers, transfer_done done, void *arg);

/* Add it to the list, and remove it. */
void transfer_link(struct transfer *t);
void transfer_unlink(struct transfer *t);

/* Remove it from the list, report its result, and free it. */
void transfer_end(struct transfer *t, CURLcode code);

void transfers_unref(struct transfers *transfers);

/* Cancel a mail. It is freed when its thread has finished. */
void transfer_cancel_mail(struct transfer *t);

/* Set the options of the easy handle. 0, -EINVAL or -ENOMEM; the caller frees @t on failure. */
int transfer_set_request(struct transfer *t, const struct transfer_request *request);
int transfer_set_mail(struct transfer *t, const struct transfer_mail *mail);

/* Translate @code, which ended the transfer, to an errno. */
int transfer_errno(const struct transfer *t, CURLcode code);

/*
 * Free @t and what it owns; secrets are wiped. The easy handle must not be in the multi handle any
 * more.
 */
void transfer_free(struct transfer *t);

#endif
