/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * transfer: HTTP requests to other servers, and mail, by libcurl on a libuv loop.
 *
 * Nothing blocks the loop: libcurl's threads resolve names, and a cancelled transfer does not wait
 * for them. A mail is sent on a thread of libuv's pool, because libcurl waits for the mail server's
 * answer to QUIT. Certificates are always checked; redirects are not followed; proxies from the
 * environment are ignored; connections are reused. What is sent is copied, and no part of it
 * appears in the words of a result.
 *
 * The process must ignore SIGPIPE. All functions and callbacks run on the loop's thread.
 */
#ifndef NET_TRANSFER_H
#define NET_TRANSFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/text.h"

struct transfers; /* those of one loop */
struct transfer;  /* one that is under way */

struct transfer_request {
	const char *method; /* "GET", "POST", "DELETE" */
	const char *url;    /* http or https, without user information */
	/* Lines "Name: value", ended by NULL; NULL: none. A body needs a Content-Type. */
	const char *const *fields;
	struct text body;	 /* ptr NULL: none; a POST then has an empty one */
	unsigned connect_ms;	 /* to connect, TLS included; 0: within total_ms */
	unsigned total_ms;	 /* until the response is complete; not 0 */
	size_t max_answer_bytes; /* a longer response body is -EMSGSIZE */
	const char *ca_file;	 /* PEM: the accepted authorities; NULL: the system's */
	const char *unix_socket; /* connect to this socket whatever the URL's host is; NULL: no */
};

enum transfer_starttls {
	TRANSFER_STARTTLS_REQUIRED, /* without it -EPROTO, before anything is sent */
	TRANSFER_STARTTLS_OPTIONAL, /* if offered; an attacker in between can hide the offer */
	TRANSFER_STARTTLS_NONE,
};

/*
 * A mail. Each one uses a connection of its own and a thread of the pool, so max_count must leave
 * threads for other work.
 */
struct transfer_mail {
	const char *url; /* "smtp://host:port", or "smtps://" for TLS from the start */
	enum transfer_starttls starttls; /* for smtp:// */
	const char *user, *password;	 /* NULL: no login */
	const char *from;		 /* an address without "<>" */
	const char *const *to;		 /* the same, ended by NULL; at least one */
	/*
	 * Header fields "Name: value", ended by NULL, except those that MIME adds. CRLF and white
	 * space in a value continue it in the next line.
	 */
	const char *const *fields;
	struct text text; /* the body: UTF-8, lines ended by '\n'; sent as base64 */
	unsigned connect_ms, total_ms;
	const char *ca_file;
};

/*
 * The result. @err is 0 if the response is complete, whatever its status, or the mail was accepted.
 * Otherwise:
 *   -EHOSTUNREACH  the name is unknown, or there is no route
 *   -ECONNREFUSED  nobody listens there
 *   -ECONNRESET    the connection broke
 *   -ETIMEDOUT     connect_ms or total_ms have passed
 *   -EPROTO        TLS failed, for example because of the certificate, or the answer is invalid
 *   -EMSGSIZE      the response is too large
 *   -EACCES        the mail server refused the login
 *   -EREMOTEIO     the mail server refused something else with @status, permanently from 500 on
 *   -ENOMEM        out of memory
 *   -EIO           anything else
 */
struct transfer_result {
	int err;
	const char *words;  /* libcurl's explanation of `err`; "" if there is none */
	unsigned status;    /* of HTTP or SMTP; 0: none */
	struct text fields; /* of an HTTP response: lines "Name: value\r\n" */
	struct text body;   /* of the response; with an error, what has arrived of it */
};

/*
 * The end of a transfer. May start other transfers, or free @transfers. @result is valid during the
 * call.
 */
typedef void (*transfer_done)(void *arg, const struct transfer_result *result);

/*
 * Transfers on @loop: at most @max_count at a time, over at most @max_per_host connections to one
 * host; the others wait, within their total_ms. They keep the loop alive only while one is under
 * way. NULL: out of memory.
 */
struct transfers *transfers_new(uv_loop_t *loop, unsigned max_count, unsigned max_per_host);

/*
 * Cancel all transfers and free. The loop must run until no handle is open; mails that are being
 * sent end within a second. Accepts NULL.
 */
void transfers_free(struct transfers *transfers);

/* The number of transfers under way. */
unsigned transfers_count(const struct transfers *transfers);

/*
 * Start a transfer. @done is called exactly once, never from within, unless the transfer is
 * cancelled. @ret_transfer may be NULL.
 *
 * 0; and if no transfer was started, -ENOBUFS (max_count are under way), -EINVAL (a control byte in
 * a header field or URL, an invalid address, total_ms 0) or -ENOMEM.
 */
int transfer_request(struct transfers *transfers, const struct transfer_request *request,
		     transfer_done done, void *arg, struct transfer **ret_transfer);
int transfer_mail(struct transfers *transfers, const struct transfer_mail *mail, transfer_done done,
		  void *arg, struct transfer **ret_transfer);

/*
 * Cancel a transfer that has not ended: @done is not called. What was sent may have had its effect.
 */
void transfer_cancel(struct transfer *t);

/* The value of the response's first field @name, in any case. False if there is none. */
bool transfer_field(const struct transfer_result *result, const char *name, struct text *ret_value);

#endif
