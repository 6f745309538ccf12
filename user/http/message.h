/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * message: the head of an HTTP request or response, as slices of the bytes it came in.
 *
 * Independent of the version on the wire. A message borrows its bytes from whoever parsed it and is
 * valid as long as they are.
 */
#ifndef HTTP_MESSAGE_H
#define HTTP_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"

#define HTTP_MAX_HEADERS 100

/* X(enum name, spelling): the fields that tollgate itself reads, removes or sets. */
#define HTTP_NAMES(X)                                                     \
	X(HOST, "Host")                                                   \
	X(CONTENT_LENGTH, "Content-Length")                               \
	X(TRANSFER_ENCODING, "Transfer-Encoding")                         \
	X(CONNECTION, "Connection")                                       \
	X(KEEP_ALIVE, "Keep-Alive")                                       \
	X(PROXY_CONNECTION, "Proxy-Connection")                           \
	X(PROXY_AUTHORIZATION, "Proxy-Authorization")                     \
	X(PROXY_AUTHENTICATE, "Proxy-Authenticate")                       \
	X(TE, "TE")                                                       \
	X(TRAILER, "Trailer")                                             \
	X(UPGRADE, "Upgrade")                                             \
	X(EXPECT, "Expect")                                               \
	X(DATE, "Date")                                                   \
	X(SERVER, "Server")                                               \
	X(ORIGIN, "Origin")                                               \
	X(CONTENT_TYPE, "Content-Type")                                   \
	X(AUTHORIZATION, "Authorization")                                 \
	X(X_API_KEY, "X-API-Key")                                         \
	X(X_REQUEST_ID, "X-Request-Id")                                   \
	X(X_TOLLGATE_ACCOUNT, "X-Tollgate-Account")                       \
	X(X_TOLLGATE_TIER, "X-Tollgate-Tier")                             \
	X(FORWARDED, "Forwarded")                                         \
	X(X_FORWARDED_FOR, "X-Forwarded-For")                             \
	X(X_FORWARDED_PROTO, "X-Forwarded-Proto")                         \
	X(X_FORWARDED_HOST, "X-Forwarded-Host")                           \
	X(RATELIMIT, "RateLimit")                                         \
	X(RATELIMIT_POLICY, "RateLimit-Policy")                           \
	X(ACCESS_CONTROL_REQUEST_METHOD, "Access-Control-Request-Method") \
	X(ACCESS_CONTROL_REQUEST_HEADERS, "Access-Control-Request-Headers")

enum http_name {
	HTTP_OTHER, /* none of the table */
#define X(name, spelling) HTTP_##name,
	HTTP_NAMES(X)
#undef X
		HTTP_NAME_COUNT
};

struct http_header {
	struct text name;  /* as it was spelt */
	struct text value; /* without blanks at either end */
	enum http_name id;
};

enum http_body {
	HTTP_BODY_NONE,
	HTTP_BODY_LENGTH, /* content_length bytes */
	HTTP_BODY_CHUNKED,
	HTTP_BODY_UNTIL_CLOSE, /* responses only */
};

struct http_message {
	struct text method;    /* requests */
	struct text target;    /* requests: origin-form, "*" or absolute-form, as sent */
	struct text authority; /* requests: Host, or the authority of an absolute-form target */
	struct text path;    /* requests: the target's path, without the query; "*" for OPTIONS * */
	unsigned status;     /* responses */
	unsigned minor;	     /* HTTP/1.<minor> */
	bool is_head;	     /* the method is HEAD, or the response answers one */
	bool keep_alive;     /* what version and Connection say of the connection */
	bool lists_no_names; /* Connection lists at most "close" and "keep-alive" */
	bool expects_continue; /* requests: Expect: 100-continue */
	bool expects_unknown;  /* requests: Expect holds something else (417) */
	enum http_body body;
	uint64_t
		content_length; /* for HTTP_BODY_LENGTH; for HEAD's responses what the field said */
	uint32_t known;		/* one bit an http_name that occurs at least once */
	unsigned header_count;
	struct http_header headers[HTTP_MAX_HEADERS];
};

#define http_for_each_header(h, m) \
	for (const struct http_header *h = (m)->headers; h < (m)->headers + (m)->header_count; h++)

static inline bool http_has(const struct http_message *m, enum http_name id)
{
	return m->known & (1u << id);
}

/* Which of the table's names @name is, whatever its case. */
enum http_name http_name_find(struct text name);
const char *http_name_spelling(enum http_name id);

/* The first field of that name, or NULL. */
const struct http_header *http_find(const struct http_message *m, enum http_name id);

/* How many fields of that name there are. */
unsigned http_count(const struct http_message *m, enum http_name id);

/*
 * Whether @name is listed in the Connection field(s) of @m and so is hop-by-hop in this message
 * (RFC 9110, 7.6.1). Together with http_is_hop_by_hop() that is all that a proxy must not pass on.
 */
bool http_connection_lists(const struct http_message *m, struct text name);

static inline bool http_is_hop_by_hop(enum http_name id)
{
	const uint32_t known = 1u << HTTP_CONNECTION | 1u << HTTP_KEEP_ALIVE |
			       1u << HTTP_PROXY_CONNECTION | 1u << HTTP_PROXY_AUTHORIZATION |
			       1u << HTTP_PROXY_AUTHENTICATE | 1u << HTTP_TE | 1u << HTTP_TRAILER |
			       1u << HTTP_TRANSFER_ENCODING | 1u << HTTP_UPGRADE;

	return known & 1u << id;
}

/*
 * Take the next element, without blanks around it, from a comma-separated @list, which shrinks. False
 * when none is left. Empty elements are returned as such; a comma at the very end makes none.
 */
bool http_list_next(struct text *list, struct text *ret_element);

/* The standard reason phrase, or "Unknown". */
const char *http_reason(unsigned status);

#endif
