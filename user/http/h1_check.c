/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * h1_check: the strict check of a head.
 *
 * It accepts exactly what the grammars of RFC 9110 and RFC 9112 produce. It does not accept what
 * the RFCs allow a recipient to tolerate, such as a bare LF, folded lines or white space before a
 * colon: requests can be smuggled where two parsers in a row tolerate different things.
 */
#include "http/h1_check.h"

#include <errno.h>

#include "http/h1_chars.h"

struct cursor {
	const char *at;
	const char *end;
	struct h1_facts *facts;
	const char *rule; /* the rule that the head breaks; for the log */
	struct text host;
	bool is_close;
	bool is_persistent; /* Connection: keep-alive */
};

static int broken(struct cursor *c, const char *rule)
{
	c->rule = rule;
	return -EBADMSG;
}

/* Take the bytes up to the next CRLF, and the CRLF. */
static int take_line(struct cursor *c, struct text *ret_line)
{
	const char *lf = memchr(c->at, '\n', c->end - c->at);

	if (!lf)
		return broken(c, "line without an end");
	if (lf == c->at || lf[-1] != '\r')
		return broken(c, "bare LF");
	*ret_line = (struct text){ c->at, (size_t)(lf - 1 - c->at) };
	c->at = lf + 1;
	return 0;
}

/* Take the bytes of @line up to its next space, and the space. False if it has none. */
static bool take_word(struct text *line, struct text *ret_word)
{
	const char *space = line->len ? memchr(line->ptr, ' ', line->len) : NULL;

	if (!space)
		return false;
	*ret_word = (struct text){ line->ptr, (size_t)(space - line->ptr) };
	line->ptr += ret_word->len + 1;
	line->len -= ret_word->len + 1;
	return true;
}

static int take_version(struct cursor *c, struct text version)
{
	const char *v = version.ptr;

	if (version.len != 8 || memcmp(v, "HTTP/", 5) || !h1_is(v[5], H1_DIGIT) || v[6] != '.' ||
	    !h1_is(v[7], H1_DIGIT))
		return broken(c, "malformed HTTP version");
	if (v[5] != '1' || v[7] > '1') {
		c->rule = "HTTP version other than 1.0 and 1.1";
		return -EPROTONOSUPPORT;
	}
	c->facts->minor = v[7] - '0';
	return 0;
}

static int take_request_line(struct cursor *c)
{
	struct h1_facts *f = c->facts;
	struct text line;
	int err = take_line(c, &line);

	if (err)
		return err;
	if (!take_word(&line, &f->method) || !take_word(&line, &f->target))
		return broken(c, "request line is not three words");
	if (!h1_is_token(f->method))
		return broken(c, "method is not a token");
	if (!f->target.len)
		return broken(c, "request line has an empty target");
	err = take_version(c, line);
	if (err)
		return err;
	c->rule = h1_examine_target(f);
	return c->rule ? -EBADMSG : 0;
}

static int take_status_line(struct cursor *c)
{
	struct text line, word;
	const char *s;
	int err = take_line(c, &line);

	if (err)
		return err;
	if (!take_word(&line, &word))
		return broken(c, "malformed status line");
	err = take_version(c, word);
	if (err)
		return err;
	/* The space after the code is required even if the reason phrase is empty. */
	if (!take_word(&line, &word) || word.len != 3 || !h1_is_all(word, H1_DIGIT))
		return broken(c, "malformed status code");
	s = word.ptr;
	c->facts->status = (s[0] - '0') * 100 + (s[1] - '0') * 10 + (s[2] - '0');
	if (c->facts->status < 100 || c->facts->status > 599)
		return broken(c, "status code out of range");
	if (!h1_is_all(line, H1_VALUE))
		return broken(c, "control byte in the reason phrase");
	return 0;
}

static int note_length(struct cursor *c, struct text value)
{
	if (c->facts->has_length)
		return broken(c, "Content-Length twice");
	c->facts->has_length = true;
	/* Not above INT64_MAX: llhttp and other parsers count in signed numbers. */
	if (text_parse_u64(value, INT64_MAX, &c->facts->content_length))
		return broken(c, "Content-Length is not a number");
	return 0;
}

static int note_coding(struct cursor *c, struct text value)
{
	if (c->facts->is_chunked)
		return broken(c, "Transfer-Encoding twice");
	if (!text_equal_nocase(value, TEXT("chunked")))
		return broken(c, "Transfer-Encoding other than chunked");
	c->facts->is_chunked = true;
	return 0;
}

static int note_host(struct cursor *c, struct text value)
{
	if (c->host.ptr)
		return broken(c, "Host twice");
	if (!h1_is_authority(value))
		return broken(c, "malformed Host");
	c->host = value;
	return 0;
}

static int note_connection(struct cursor *c, struct text list)
{
	struct text option;

	if (list.len && list.ptr[list.len - 1] == ',')
		return broken(c, "Connection is not a list of tokens");
	while (http_list_next(&list, &option)) {
		if (!h1_is_token(option))
			return broken(c, "Connection is not a list of tokens");
		if (text_equal_nocase(option, TEXT("close")))
			c->is_close = true;
		else if (text_equal_nocase(option, TEXT("keep-alive")))
			c->is_persistent = true;
		else
			c->facts->lists_no_names = false;
	}
	return 0;
}

static int note_field(struct cursor *c, enum http_name id, struct text value)
{
	switch (id) {
	case HTTP_HOST:
		return note_host(c, value);
	case HTTP_CONTENT_LENGTH:
		return note_length(c, value);
	case HTTP_TRANSFER_ENCODING:
		return note_coding(c, value);
	case HTTP_CONNECTION:
		return note_connection(c, value);
	case HTTP_EXPECT:
		if (!text_equal_nocase(value, TEXT("100-continue")) || c->facts->expects_continue)
			c->facts->expects_unknown = true;
		c->facts->expects_continue = true;
		return 0;
	default:
		return 0;
	}
}

/*
 * Return the first byte at or after @p that cannot be part of a value. Compares eight bytes at a
 * time as long as there is no control byte among them; bytes above 0x7f are not control bytes. A
 * tab is one, but it is allowed, so the loop for single bytes decides about it.
 */
static const char *skip_value(const char *p, const char *end)
{
	const uint64_t ones = 0x0101010101010101, high = ones << 7;

	while (end - p >= 8) {
		uint64_t word, below_space, del;

		memcpy(&word, p, 8);
		below_space = (word - ones * 0x20) & ~word;
		del = word ^ ones * 0x7f;
		del = (del - ones) & ~del;
		if ((below_space | del) & high)
			break;
		p += 8;
	}
	while (p < end && h1_is(*p, H1_VALUE))
		p++;
	return p;
}

/* Take one field line. */
static int take_field(struct cursor *c)
{
	struct h1_facts *f = c->facts;
	const char *p = c->at;
	struct text name, value;
	enum http_name id;

	while (p < c->end && h1_is(*p, H1_TOKEN))
		p++;
	name = (struct text){ c->at, (size_t)(p - c->at) };
	if (!name.len)
		return broken(c, *p == ' ' || *p == '\t' ? "folded line" : "field without a name");
	if (p == c->end || *p != ':')
		return broken(c, "field name is not a token");
	value.ptr = ++p;
	p = skip_value(p, c->end);
	value.len = p - value.ptr;
	if (c->end - p < 2 || p[0] != '\r' || p[1] != '\n')
		return broken(c, "control byte in a field value");
	c->at = p + 2;
	if (f->header_count == HTTP_MAX_HEADERS) {
		c->rule = "too many fields";
		return -EMSGSIZE;
	}
	id = http_name_find(name);
	f->ids[f->header_count++] = id;
	if (id == HTTP_OTHER)
		return 0;
	f->known |= 1u << id;
	return note_field(c, id, text_trim(value));
}

static int take_fields(struct cursor *c)
{
	while (c->at < c->end && *c->at != '\r') {
		int err = take_field(c);

		if (err)
			return err;
	}
	if (c->end - c->at != 2 || c->at[0] != '\r' || c->at[1] != '\n')
		return broken(c, "head does not end with an empty line");
	return 0;
}

/* Check what depends on several fields. */
static int conclude(struct cursor *c, enum h1_side side)
{
	struct h1_facts *f = c->facts;

	if (f->is_chunked && f->has_length)
		return broken(c, "both Content-Length and Transfer-Encoding");
	if (f->is_chunked && f->minor == 0)
		return broken(c, "Transfer-Encoding in HTTP/1.0");
	f->keep_alive = !c->is_close && (f->minor == 1 || c->is_persistent);
	if (side == H1_RESPONSES)
		return 0;
	if (f->minor == 0) /* RFC 9110, 10.1.1: HTTP/1.0 has no Expect */
		f->expects_continue = f->expects_unknown = false;
	if (f->expects_unknown)
		f->expects_continue = false;
	if (!c->host.ptr && f->minor == 1)
		return broken(c, "Host is missing");
	if (f->authority.ptr && c->host.ptr && !text_equal_nocase(f->authority, c->host))
		return broken(c, "Host differs from the authority of the target");
	if (!f->authority.ptr)
		f->authority = c->host;
	return 0;
}

int h1_examine(enum h1_side side, struct text head, struct h1_facts *ret_facts,
	       const char **ret_rule)
{
	struct cursor c = { .at = head.ptr, .end = head.ptr + head.len, .facts = ret_facts };
	int err;

	memset(ret_facts, 0, offsetof(struct h1_facts, ids));
	ret_facts->lists_no_names = true;
	if (!head.len)
		err = broken(&c, "line without an end");
	else
		err = side == H1_REQUESTS ? take_request_line(&c) : take_status_line(&c);
	if (!err)
		err = take_fields(&c);
	if (!err)
		err = conclude(&c, side);
	if (err)
		*ret_rule = c.rule;
	return err;
}

int h1_check_head(enum h1_side side, struct text head, const char **ret_rule)
{
	struct h1_facts facts;

	return h1_examine(side, head, &facts, ret_rule);
}
