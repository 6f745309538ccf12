/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * request: what a browser or a program sent to a page: parameters, cookies, what it wants to have.
 *
 * All of it may be hostile. Pure.
 */
#ifndef PORTAL_REQUEST_H
#define PORTAL_REQUEST_H

#include <jansson.h>

#include "http/handoff.h"

/*
 * Decode parameter @name of @form (application/x-www-form-urlencoded, as of a query too) into @ret_value
 * with a NUL. 0; or, with an empty @ret_value, -ENOENT; -EINVAL: it is there twice, or holds a broken
 * escape or a control byte; -EMSGSIZE.
 */
int request_form_get(struct text form, const char *name, char *ret_value, size_t size);

/* A body's parameters: a form, or the texts of a JSON object. */
struct request_params {
	struct text form; /* borrowed from the handoff */
	json_t *json;	  /* owned; NULL: `form` has them */
};

/* 0; -EINVAL: a body that is broken; -EPROTONOSUPPORT: of another type. Then @ret_params has nothing. */
int request_params_read(const struct handoff *e, struct request_params *ret_params);
void request_params_done(struct request_params *params);

/* As request_form_get(); a member that is no text is -EINVAL, null is -ENOENT. */
int request_param(const struct request_params *params, const char *name, char *ret_value,
		  size_t size);

/* The value of the cookie @name in a Cookie field. False: none, or several. */
bool request_cookie(struct text field, const char *name, struct text *ret_value);

/* Whether an Accept field rather has JSON than HTML; whether it has HTML by name. */
bool request_accepts_json(struct text accept);
bool request_accepts_html(struct text accept);

/*
 * Whether a browser says that another site's page made this request. @origin is ours,
 * "https://host[:port]". Sec-Fetch-Site is believed first, then Origin, which is also ours if it names the
 * request's own Host; a request with neither is no browser's. "null" is foreign, but for @null_is_ours: pages
 * without a referrer have no origin either, and such forms need a token.
 */
bool request_is_foreign(const struct handoff *e, struct text origin, bool null_is_ours);

/* The origin of @url: "https://host[:port]" at its beginning; empty if it is no such URL. */
struct text request_origin(struct text url);

#endif
