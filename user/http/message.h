/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * message: the head of an HTTP request or response, independent of the HTTP version.
 *
 * The texts in a message point into the parser's memory, and are valid as long as the message is;
 * the function that returns a message says how long.
 */
#ifndef HTTP_MESSAGE_H
#define HTTP_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"

#define HTTP_MAX_HEADERS 100

/* X(enum name, spelling): the fields that tollgate reads, removes or sets. */
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
	HTTP_OTHER, /* a name that is not in HTTP_NAMES */
#define X(name, spelling) HTTP_##name,
	HTTP_NAMES(X)
#undef X
		HTTP_NAME_COUNT
};

struct http_header {
	struct text name;  /* as received */
	struct text value; /* without white space at either end */
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
	bool keep_alive;     /* version and Connection allow the connection to be reused */
	bool lists_no_names; /* Connection lists at most "close" and "keep-alive" */
	bool expects_continue; /* requests: Expect: 100-continue */
	bool expects_unknown;  /* requests: Expect has another value (417) */
	enum http_body body;
	/* The value of Content-Length: the body's length, except in a response to HEAD. 0: none. */
	uint64_t content_length;
	uint32_t known; /* bit 1 << id is set if a field with that enum http_name occurs */
	unsigned header_count;
	struct http_header headers[HTTP_MAX_HEADERS];
};

#define http_for_each_header(h, m) \
	for (const struct http_header *h = (m)->headers; h < (m)->headers + (m)->header_count; h++)

static inline bool http_has(const struct http_message *m, enum http_name id)
{
	return m->known & (1u << id);
}

/* The enum http_name of @name, in any case; HTTP_OTHER if it is not in HTTP_NAMES. */
enum http_name http_name_find(struct text name);

/* How the RFCs spell the name; "" for HTTP_OTHER. */
const char *http_name_spelling(enum http_name id);

/* The first field with that name, or NULL. */
const struct http_header *http_find(const struct http_message *m, enum http_name id);

/* The number of fields with that name. */
unsigned http_count(const struct http_message *m, enum http_name id);

/*
 * Whether a Connection field of @m lists @name, which makes @name hop-by-hop in this message (RFC
 * 9110,
 * 7.6.1). A proxy must not forward such fields, nor those of http_is_hop_by_hop().
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
 * Take the next element of a comma-separated @list, without the white space around it. False if
 * none is left. An empty element is returned as such, except one after a comma at the very end.
 */
bool http_list_next(struct text *list, struct text *ret_element);

/* The standard reason phrase of @status, or "Unknown". */
const char *http_reason(unsigned status);

#endif
