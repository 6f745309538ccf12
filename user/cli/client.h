/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * client: calls of the admin API, JSON over HTTP on the agent's Unix socket.
 *
 * Every wait is bounded: 5 s to connect, 30 s for a call, 120 s for an import. `error` has a
 * sentence for each failure. No other file of cli/ uses libcurl.
 */
#ifndef CLI_CLIENT_H
#define CLI_CLIENT_H

#include <jansson.h>

#include "base/text.h"

struct client {
	void *curl;	    /* owned; reused, with its connection, for every call */
	const char *socket; /* borrowed */
	unsigned status;    /* HTTP status of the last response; 0: there was none */
	char error[4096];   /* why the last failed call failed */
};

/* @socket is borrowed and may be NULL for the default. Does not connect yet. */
void client_init(struct client *client, const char *socket);
void client_done(struct client *client);

/*
 * Make one call; @body is borrowed and may be NULL. Returns 0 and the answer, which the caller
 * owns. On failure nothing is returned and `error` is set: -ENOTCONN if no agent listens there,
 * -ETIMEDOUT if it does not respond, -EREMOTEIO if it refuses (`error` is the problem document's
 * detail), -EPROTO if the response is not JSON, -ENOMEM, -EIO.
 */
int client_call(struct client *client, const char *method, const char *path, const json_t *body,
		json_t **ret_answer);

/* POST plain lines of text; otherwise the same, with the longer timeout. */
int client_import(struct client *client, const char *path, struct text lines, json_t **ret_answer);

#endif
