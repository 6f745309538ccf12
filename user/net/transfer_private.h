/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * transfer_private: what transfer.c (the loop), transfer_setup.c (libcurl's options) and
 * transfer_mail.c (mails on their threads) share.
 */
#ifndef NET_TRANSFER_PRIVATE_H
#define NET_TRANSFER_PRIVATE_H

#include <stdatomic.h>
#include <sys/queue.h>

#include <curl/curl.h>

#include "base/buf.h"
#include "net/transfer.h"

#define TRANSFER_MAX_HEAD 32768

LIST_HEAD(transfer_list, transfer);

struct transfers {
	uv_loop_t *loop; /* borrowed */
	CURLM *multi;	 /* owned; NULL once it is being freed */
	uv_timer_t timer;
	struct transfer_list list; /* owned */
	unsigned count, max_count;
	unsigned refs; /* handles that are open and mails on their threads; the last one frees */
};

struct transfer {
	struct transfers *transfers; /* borrowed */
	LIST_ENTRY(transfer) entry;  /* in transfers->list */
	transfer_done done;
	void *arg;
	CURL *easy;		   /* owned */
	struct curl_slist *fields; /* owned; a line of them may be a secret */
	struct curl_slist *to;	   /* owned */
	struct buf out;		   /* body of a request */
	curl_mime *mime;	   /* owned; body of a mail */
	struct buf head, body;	   /* of the answer */
	bool is_too_large;
	/* A mail's. Its thread has all above but `list`'s links, until on_mail_sent(). */
	bool is_mail;
	uv_work_t work;
	CURLcode code;
	uint64_t total_ms, give_up_ns;
	atomic_bool is_cancelled;
	char words[CURL_ERROR_SIZE];
};

/* A transfer that is in no list yet; NULL when memory is short. */
struct transfer *transfer_new(struct transfers *transfers, transfer_done done, void *arg);

/* Put it in the list, and take it out again. */
void transfer_link(struct transfer *t);
void transfer_unlink(struct transfer *t);

/* Take it out of the list, say what became of it, and free it. */
void transfer_end(struct transfer *t, CURLcode code);

void transfers_unref(struct transfers *transfers);

/* Give a mail up: it is freed when its thread is done with it. */
void transfer_cancel_mail(struct transfer *t);

/* Set the easy handle up. 0, -EINVAL, -ENOMEM; the transfer is then to be freed. */
int transfer_set_request(struct transfer *t, const struct transfer_request *request);
int transfer_set_mail(struct transfer *t, const struct transfer_mail *mail);

/* What @code, which ended the transfer, is as an errno. */
int transfer_errno(const struct transfer *t, CURLcode code);

/*
 * Free what it owns; secrets are wiped first. Not the handle in the multi handle: remove that
 * first.
 */
void transfer_free(struct transfer *t);

#endif
