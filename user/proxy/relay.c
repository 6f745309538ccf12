/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * relay: writes the head for the other side.
 *
 * Heads are rebuilt from the parsed fields. Hop-by-hop fields are dropped (RFC 9110,
 * section 7.6.1). Fields that upstreams may trust because tollgate sets them are removed from
 * client requests.
 *
 * If the client is a trusted proxy, X-Forwarded-For and Forwarded are extended, and
 * X-Forwarded-Proto and X-Forwarded-Host are kept. From other clients, all four are replaced.
 */
#include <errno.h>

#include "http/h1.h"
#include "proxy/proxy_private.h"

#define BIT(name) (1u << HTTP_##name)

/* Request fields that are never relayed as they are. */
#define REQUEST_OWN                                                                      \
	(BIT(HOST) | BIT(CONTENT_LENGTH) | BIT(X_REQUEST_ID) | BIT(X_TOLLGATE_ACCOUNT) | \
	 BIT(X_TOLLGATE_TIER) | BIT(X_API_KEY) | BIT(EXPECT))
#define REQUEST_FORWARDED \
	(BIT(FORWARDED) | BIT(X_FORWARDED_FOR) | BIT(X_FORWARDED_PROTO) | BIT(X_FORWARDED_HOST))

static int put_line(struct buf *b, int err, struct text name, struct text value)
{
	char *at;

	if (err)
		return err;
	at = buf_reserve(b, name.len + value.len + 4);
	if (!at)
		return -errno;
	memcpy(at, name.ptr, name.len);
	at += name.len;
	*at++ = ':';
	*at++ = ' ';
	if (value.len) /* the pointer may be NULL: the authority of HTTP/1.0 without Host */
		memcpy(at, value.ptr, value.len);
	at += value.len;
	*at++ = '\r';
	*at++ = '\n';
	buf_commit(b, name.len + value.len + 4);
	return 0;
}

static int put_str(struct buf *b, int err, const char *s)
{
	return err ? err : buf_append_str(b, s);
}

static int put_text(struct buf *b, int err, struct text t)
{
	return err ? err : buf_append_text(b, t);
}

static bool stays_here(const struct http_message *m, const struct http_header *h, uint32_t own)
{
	if (h->id != HTTP_OTHER && ((own & 1u << h->id) || http_is_hop_by_hop(h->id)))
		return true;
	return http_has(m, HTTP_CONNECTION) && http_connection_lists(m, h->name);
}

/*
 * The id of the field for which a CGI-like upstream would take @h: to CGI, X_Tollgate_Account and
 * X-Tollgate-Account are the same variable, so clients must not be able to send either.
 */
static enum http_name dashed_id(const struct http_header *h)
{
	char name[40]; /* longer than all known names */

	if (h->name.len > sizeof(name) || !memchr(h->name.ptr, '_', h->name.len))
		return h->id;
	for (size_t i = 0; i < h->name.len; i++)
		name[i] = h->name.ptr[i] == '_' ? '-' : h->name.ptr[i];
	return http_name_find((struct text){ name, h->name.len });
}

static int put_fields(const struct relay_request *r, struct buf *head)
{
	uint32_t own = REQUEST_OWN | REQUEST_FORWARDED;
	int err = 0;

	if (r->strip_authorization)
		own |= BIT(AUTHORIZATION);
	http_for_each_header (h, r->message) {
		struct http_header known = { .name = h->name, .id = dashed_id(h) };

		if (!stays_here(r->message, &known, own))
			err = put_line(head, err, h->name, h->value);
	}
	return err;
}

/* Start the field "name: a, b, " with the values that the client sent, if it is trusted. */
static int put_continued(const struct relay_request *r, enum http_name id, struct buf *head)
{
	int err = put_str(head, 0, http_name_spelling(id));

	err = put_str(head, err, ": ");
	if (!r->client->is_trusted || !http_has(r->message, id))
		return err;
	http_for_each_header (h, r->message) {
		if (h->id != id || !h->value.len)
			continue;
		err = put_text(head, err, h->value);
		err = put_str(head, err, ", ");
	}
	return err;
}

static int put_believed(const struct relay_request *r, enum http_name id, struct text ours,
			struct buf *head)
{
	const struct http_header *theirs = r->client->is_trusted ? http_find(r->message, id) : NULL;

	return put_line(head, 0, text_of(http_name_spelling(id)), theirs ? theirs->value : ours);
}

/* In RFC 7239, an IPv6 address has brackets, and a value with a colon must be quoted. */
static int put_forwarded(const struct relay_request *r, struct text proto, struct buf *head)
{
	bool is_ipv6 = strchr(r->client->address, ':');
	int err = put_continued(r, HTTP_X_FORWARDED_FOR, head);

	err = put_str(head, err, r->client->address);
	err = put_str(head, err, "\r\n");
	if (!err)
		err = put_continued(r, HTTP_FORWARDED, head);
	err = put_str(head, err, is_ipv6 ? "for=\"[" : "for=");
	err = put_str(head, err, r->client->address);
	err = put_str(head, err, is_ipv6 ? "]\"" : "");
	err = put_str(head, err, ";host=\"");
	err = put_text(head, err, r->message->authority);
	err = put_str(head, err, "\";proto=");
	err = put_text(head, err, proto);
	err = put_str(head, err, "\r\n");
	if (!err)
		err = put_believed(r, HTTP_X_FORWARDED_PROTO, proto, head);
	return err ? err : put_believed(r, HTTP_X_FORWARDED_HOST, r->message->authority, head);
}

static int put_framing(const struct http_message *m, struct buf *head)
{
	if (m->body == HTTP_BODY_CHUNKED)
		return buf_append_str(head, "Transfer-Encoding: chunked\r\n");
	if (m->body == HTTP_BODY_LENGTH || http_has(m, HTTP_CONTENT_LENGTH))
		return h1_write_header_u64(head, TEXT("Content-Length"), m->content_length);
	return 0;
}

/* The target in origin-form: without scheme and authority (RFC 9112, section 3.2.2). */
static struct text origin_target(const struct http_message *m)
{
	struct text target = m->target;
	const char *end = target.ptr + target.len;

	if (!target.len || target.ptr[0] == '/' || target.ptr[0] == '*')
		return target;
	if (m->path.ptr >= target.ptr && m->path.ptr < end)
		return (struct text){ m->path.ptr, (size_t)(end - m->path.ptr) };
	return m->path; /* "http://host" and "http://host?query" have no path in the target */
}

int relay_write_request(const struct relay_request *r, struct buf *head)
{
	const struct http_message *m = r->message;
	struct text host = r->route->host ? text_of(r->route->host) : m->authority;
	int err = h1_write_request_line(head, m->method, origin_target(m));

	if (!err)
		err = put_line(head, 0, TEXT("Host"), host);
	if (!err)
		err = put_fields(r, head);
	if (!err)
		err = put_framing(m, head);
	if (!err)
		err = put_forwarded(r, r->is_tls ? TEXT("https") : TEXT("http"), head);
	if (!err && m->expects_continue)
		err = put_line(head, 0, TEXT("Expect"), TEXT("100-continue"));
	err = put_line(head, err, TEXT("X-Request-Id"), text_of(r->request_id));
	if (r->account)
		err = put_line(head, err, TEXT("X-Tollgate-Account"), text_of(r->account));
	if (r->tier)
		err = put_line(head, err, TEXT("X-Tollgate-Tier"), text_of(r->tier));
	/* A gateway must add itself to Via (RFC 9110, section 7.6.3). */
	err = put_line(head, err, TEXT("Via"), TEXT("1.1 tollgate"));
	return put_str(head, err, "\r\n");
}

int relay_write_answer(const struct http_message *m, bool limited, const char *request_id,
		       struct buf *fields)
{
	uint32_t own = BIT(CONTENT_LENGTH) | BIT(X_REQUEST_ID);
	int err = 0;

	if (limited)
		own |= BIT(RATELIMIT) | BIT(RATELIMIT_POLICY);
	http_for_each_header (h, m) {
		if (!stays_here(m, h, own))
			err = put_line(fields, err, h->name, h->value);
	}
	return put_line(fields, err, TEXT("X-Request-Id"), text_of(request_id));
}
