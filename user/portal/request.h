/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * request: parses what a browser or program sent to a page: parameters, cookies, accepted types,
 * origin.
 *
 * All input may be hostile. Pure.
 */
#ifndef PORTAL_REQUEST_H
#define PORTAL_REQUEST_H

#include <jansson.h>

#include "http/handoff.h"

/* A body's parameters: a form, or the string members of a JSON object. */
struct request_params {
	struct text form; /* borrowed from the handoff */
	json_t *json;	  /* owned; NULL if the body is a form */
};

/*
 * Read the body's parameters; without a body there are none. 0; -EINVAL if the body is malformed;
 * -EPROTONOSUPPORT if its type is another one. After an error @ret_params is empty.
 */
int request_params_read(const struct handoff *e, struct request_params *ret_params);
void request_params_done(struct request_params *params);

/*
 * As form_get(). -EINVAL for a JSON member that is neither a string nor an integer; -ENOENT if it
 * is null.
 */
int request_param(const struct request_params *params, const char *name, char *ret_value,
		  size_t size);

/* The value of the cookie @name in a Cookie field. False if there is none or more than one. */
bool request_cookie(struct text field, const char *name, struct text *ret_value);

/* Whether an Accept field prefers JSON to HTML, and whether it lists HTML explicitly. */
bool request_accepts_json(struct text accept);
bool request_accepts_html(struct text accept);

/*
 * Whether a browser says that a page of another site made this request. @origin is the portal's
 * own, "https://host[:port]".
 *
 * Sec-Fetch-Site decides if present, else Origin, which must be @origin or name the request's own
 * Host. A request with neither does not come from a browser and is not foreign. "Origin: null" is
 * foreign unless @null_is_ours: a page with Referrer-Policy no-referrer sends it with its own
 * forms, which therefore need a token.
 */
bool request_is_foreign(const struct handoff *e, struct text origin, bool null_is_ours);

/*
 * The beginning of @url, "http[s]://host[:port]"; empty if it is not such a URL. Borrowed from
 * @url.
 */
struct text request_origin(struct text url);

#endif
