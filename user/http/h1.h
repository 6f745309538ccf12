/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * h1: HTTP/1.1 as bytes, without I/O: a parser for messages, and functions that write heads.
 *
 * A parser takes the messages of one direction of one connection, one after the other. It collects
 * a head in its own memory, up to a limit, checks it strictly against the grammar of RFC 9112, and
 * then has llhttp parse it too; the framing of chunks is checked in the same way. Body bytes are
 * not copied. A parser belongs to one thread.
 */
#ifndef HTTP_H1_H
#define HTTP_H1_H

#include "base/buf.h"
#include "http/message.h"

struct h1_parser;

/* What h1_parser_feed() found. */
enum h1_event {
	H1_NEED_MORE, /* all bytes are used up, and more are needed */
	H1_HEAD,      /* the head is complete; see h1_parser_message() */
	H1_BODY,      /* a piece of the body, in @ret_piece */
	H1_END,	      /* the message is complete; the next call starts another one */
};

enum h1_side {
	H1_REQUESTS,
	H1_RESPONSES,
};

/*
 * A parser for @side; a head may have @max_head_bytes, its empty line included. NULL: out of
 * memory.
 */
struct h1_parser *h1_parser_new(enum h1_side side, size_t max_head_bytes);
void h1_parser_free(struct h1_parser *p); /* accepts NULL */

/*
 * Responses: the next message answers a request with this method. The response to HEAD has no body
 * (RFC 9112, 6.3).
 */
void h1_parser_expect(struct h1_parser *p, struct text method);

/*
 * Take bytes up to the next event. Returns an enum h1_event, and in @ret_used how many of the @len
 * bytes were taken; call again with the rest until H1_NEED_MORE. @ret_piece points into @data.
 *
 * A negative errno is final, and every later call returns it too:
 *   -EBADMSG		not valid HTTP/1.x (400)
 *   -EMSGSIZE		the head is too large, or has more than HTTP_MAX_HEADERS fields (431)
 *   -EPROTONOSUPPORT	an HTTP version other than 1.0 and 1.1 (400)
 *   -ENOMEM		out of memory
 * h1_parser_error() then names the rule that was broken.
 */
int h1_parser_feed(struct h1_parser *p, const char *data, size_t len, size_t *ret_used,
		   struct text *ret_piece);

/*
 * The stream has ended. H1_END if that is the end of a message; 0 between two messages; -EBADMSG
 * inside a message; or the error that h1_parser_feed() returned.
 */
int h1_parser_eof(struct h1_parser *p);

/*
 * The message whose head was found last. It is valid until the first h1_parser_feed() after its
 * H1_END, or until h1_parser_rest(). A message without a body has an H1_END, too: after H1_HEAD,
 * the next call of h1_parser_feed() returns it, even without any bytes.
 */
const struct http_message *h1_parser_message(const struct h1_parser *p);

/* Between messages: give back the memory of the last one, until more bytes arrive. */
void h1_parser_rest(struct h1_parser *p);

/* Whether the parser is between messages: it has seen no byte of the next one. */
bool h1_parser_is_idle(const struct h1_parser *p);

/* The rule that was broken (a literal), for the log; "" if there was no error. */
const char *h1_parser_error(const struct h1_parser *p);

/*
 * The strict check alone, of a complete head with its empty line. 0, or one of the errors above and
 * the broken rule (a literal) in @ret_rule. Pure; for unit tests and fuzzers.
 */
int h1_check_head(enum h1_side side, struct text head, const char **ret_rule);

/*
 * Append a part of a head to @b. 0; -EINVAL for a method or a name that is not a token, a target or
 * a value that could end its line, or a status outside 100 to 599; else the error of buf_append().
 * On failure nothing was appended.
 */
int h1_write_request_line(struct buf *b, struct text method, struct text target);
int h1_write_status_line(struct buf *b, unsigned status);
int h1_write_header(struct buf *b, struct text name, struct text value);
int h1_write_header_u64(struct buf *b, struct text name, uint64_t value);
int h1_write_end_of_head(struct buf *b);

/*
 * Write the line before a chunk's data, "<hex>\r\n", and return its length. "\r\n" must follow the
 * data; the last chunk is "0\r\n\r\n".
 */
#define H1_CHUNK_HEAD_MAX 20
size_t h1_format_chunk_head(char ret_head[H1_CHUNK_HEAD_MAX], uint64_t len);

#endif
