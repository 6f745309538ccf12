/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * client: calls of the admin API, JSON over HTTP on the agent's Unix socket.
 *
 * Every wait is bounded: 5 s to connect, 30 s for a call, 120 s for an import. Failures are told as
 * sentences in `error`. This is the one file that knows libcurl.
 */
#ifndef CLI_CLIENT_H
#define CLI_CLIENT_H

#include <jansson.h>

#include "base/text.h"

struct client {
	void *curl;	    /* owned; kept, with its connection, from call to call */
	const char *socket; /* borrowed */
	unsigned status;    /* of the last answer; 0: none came */
	char error[4096];   /* what went wrong with the last call that failed */
};

/* @socket may be NULL for the default. Connects nothing yet. */
void client_init(struct client *client, const char *socket);
void client_done(struct client *client);

/*
 * One call; @body may be NULL. 0 and the answer, which the caller owns; else nothing is returned and
 * `error` is set: -ENOTCONN if no agent is there, -ETIMEDOUT if it does not answer, -EREMOTEIO if it
 * refuses (`status` and the problem document's detail say why), -EPROTO if it speaks no JSON,
 * -ENOMEM, -EIO.
 */
int client_call(struct client *client, const char *method, const char *path, const json_t *body,
		json_t **ret_answer);

/* The same for POST of plain lines, with the longer limit of time. */
int client_import(struct client *client, const char *path, struct text lines, json_t **ret_answer);

#endif
