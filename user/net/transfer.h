/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * transfer: HTTP requests to other servers, and mail, by libcurl on a libuv loop.
 *
 * Nothing blocks the loop: names are resolved on libcurl's threads, which a cancelled transfer
 * leaves behind, and a mail is sent on a thread of libuv's pool, for libcurl waits for a mail
 * server's last word. Certificates are always checked; redirects are not followed; proxies of the
 * environment are not used. Connections are kept and used again. What is sent is copied, and no
 * part of it shows up in a result's words. The process must ignore SIGPIPE. One thread: the loop's.
 */
#ifndef NET_TRANSFER_H
#define NET_TRANSFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/text.h"

struct transfers; /* of a loop */
struct transfer;  /* one that is under way */

struct transfer_request {
	const char *method; /* "GET", "POST", "DELETE" */
	const char *url;    /* http or https, without a user in it */
	/* Lines "Name: value"; NULL ends them, and NULL is none. A body needs its Content-Type. */
	const char *const *fields;
	struct text body;	 /* ptr NULL: none, and a POST has an empty one */
	unsigned connect_ms;	 /* to be connected, TLS included; 0: within total_ms */
	unsigned total_ms;	 /* to have the whole answer; not 0 */
	size_t max_answer_bytes; /* more is -EMSGSIZE */
	const char *ca_file;	 /* PEM, the only authorities; NULL: the system's */
};

enum transfer_starttls {
	TRANSFER_STARTTLS_REQUIRED, /* else -EPROTO, before anything is told */
	TRANSFER_STARTTLS_OPTIONAL, /* where it is offered; an attacker in between can hide that */
	TRANSFER_STARTTLS_NONE,
};

/*
 * At most as many at once as threads of the pool can be spared. Each has a connection of its own.
 */
struct transfer_mail {
	const char *url; /* "smtp://host:port", or "smtps://" for TLS from the beginning */
	enum transfer_starttls starttls; /* of smtp:// */
	const char *user, *password;	 /* NULL: no login */
	const char *from;		 /* addresses, without "<>" */
	const char *const *to;		 /* NULL ends them */
	/*
	 * The header without what MIME adds: "Name: value", NULL ends them. A value may be folded:
	 * CRLF and a space in it go on in the next line.
	 */
	const char *const *fields;
	struct text text; /* the body: UTF-8, lines ended by '\n'; sent as base64 */
	unsigned connect_ms, total_ms;
	const char *ca_file;
};

/*
 * What became of it. @err is 0 when there is a whole answer, whatever its status says, or the mail
 * was taken. Otherwise:
 *   -EHOSTUNREACH  the name is not known, or no way leads there	-ECONNREFUSED
 *   -ETIMEDOUT	    connect_ms or total_ms are over			-ECONNRESET  it broke
 *   -EPROTO	    TLS (a certificate!), or an answer that is none	-EMSGSIZE
 *   -EACCES	    the mail server refused the login
 *   -EREMOTEIO	    the mail server refused something else: @status is its code, final from 500 on
 *   -ENOMEM, -EIO
 */
struct transfer_result {
	int err;
	const char *words;  /* what libcurl says of @err; "" without one */
	unsigned status;    /* HTTP's or SMTP's; 0: there is none */
	struct text fields; /* of an HTTP answer: lines "Name: value\r\n" */
	struct text body;   /* what came of it, also with an error */
};

/*
 * The end of a transfer, which may start others, or free its transfers. @result lives during the
 * call.
 */
typedef void (*transfer_done)(void *arg, const struct transfer_result *result);

/*
 * Transfers on @loop, at most @max_count under way, on at most @max_per_host connections to one
 * host (the others wait, within their total_ms). They keep the loop alive only while under way.
 * NULL when memory is short.
 */
struct transfers *transfers_new(uv_loop_t *loop, unsigned max_count, unsigned max_per_host);

/*
 * Cancel all and free. The loop must run on until nothing is open on it: mails that are being sent
 * notice within a second. Accepts NULL.
 */
void transfers_free(struct transfers *transfers);

/* How many are under way. */
unsigned transfers_count(const struct transfers *transfers);

/*
 * Start one. @done follows later, exactly once, never from within; unless it is cancelled.
 * @ret_transfer may be NULL. 0; -ENOBUFS when there are max_count; -EINVAL for control bytes in
 * what goes into a head, for an address that is none, and for total_ms 0; -ENOMEM. Then there is no
 * transfer.
 */
int transfer_request(struct transfers *transfers, const struct transfer_request *request,
		     transfer_done done, void *arg, struct transfer **ret_transfer);
int transfer_mail(struct transfers *transfers, const struct transfer_mail *mail, transfer_done done,
		  void *arg, struct transfer **ret_transfer);

/*
 * Give it up, before its end was told: @done is not called. What was sent may have had its effect.
 */
void transfer_cancel(struct transfer *t);

/* The value of the answer's first field of that name, whatever its case. False: there is none. */
bool transfer_field(const struct transfer_result *result, const char *name, struct text *ret_value);

#endif
