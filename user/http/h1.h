/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * h1: HTTP/1.1 as bytes, without I/O: a strict pass and llhttp for what comes in, a builder for what
 * goes out.
 *
 * A parser handles one connection's messages one after the other, in one direction. The head is
 * gathered in the parser (bounded), checked against RFC 9112's grammar by one pass of our own, and
 * only then given to llhttp; so is the framing of chunks. Body bytes are not copied.
 */
#ifndef HTTP_H1_H
#define HTTP_H1_H

#include "base/buf.h"
#include "http/message.h"

struct h1_parser;

/* What h1_parser_feed() found; see there. */
enum h1_event {
	H1_NEED_MORE, /* all bytes are used up, and more are needed */
	H1_HEAD,      /* the head is complete: h1_parser_message() */
	H1_BODY,      /* a piece of the body: @ret_piece */
	H1_END,	      /* the message is complete; the next feed begins another one */
};

enum h1_side {
	H1_REQUESTS,
	H1_RESPONSES,
};

/* @max_head_bytes bounds a head from its first byte to its empty line. NULL when memory is short. */
struct h1_parser *h1_parser_new(enum h1_side side, size_t max_head_bytes);
void h1_parser_free(struct h1_parser *p); /* accepts NULL */

/* Responses: the next message answers a request with this method (HEAD has no body, RFC 9112 6.3). */
void h1_parser_expect(struct h1_parser *p, struct text method);

/*
 * Take bytes until something happened. Returns the enum h1_event, and in @ret_used how many of the
 * @len bytes were taken; call again with the rest until H1_NEED_MORE. After a negative errno the
 * connection cannot be understood any more:
 *   -EBADMSG  not HTTP/1.x as the grammar has it (400)
 *   -EMSGSIZE head larger than allowed, or more than HTTP_MAX_HEADERS fields (431)
 *   -EPROTONOSUPPORT an HTTP version other than 1.0 and 1.1 (400)
 *   -ENOMEM
 * h1_parser_error() then tells which rule it was, for the log.
 */
int h1_parser_feed(struct h1_parser *p, const char *data, size_t len, size_t *ret_used,
		   struct text *ret_piece);

/* The stream ended. H1_END if that ends a body until close, -EBADMSG inside a message, else 0. */
int h1_parser_eof(struct h1_parser *p);

/*
 * The message whose head was found last; valid until the feed after its H1_END or h1_parser_rest().
 * After H1_HEAD of a message without a body one more feed, if need be of no bytes, gives its H1_END.
 */
const struct http_message *h1_parser_message(const struct h1_parser *p);

/* Between messages: give back the memory of the last one, for as long as nothing comes. */
void h1_parser_rest(struct h1_parser *p);

/* True between messages: not a byte of the next one has been seen. */
bool h1_parser_is_idle(const struct h1_parser *p);

const char *h1_parser_error(const struct h1_parser *p);

/*
 * The strict pass alone, on a complete head (with its empty line). 0, or one of the errors above with
 * the rule in @ret_rule (a literal). Pure; what fuzzers and tables drive.
 */
int h1_check_head(enum h1_side side, struct text head, const char **ret_rule);

/*
 * Building. Every value is checked: a name that is no token or a value with CR, LF or NUL is -EINVAL
 * and nothing is appended; else 0 or the error of buf_append().
 */
int h1_write_request_line(struct buf *b, struct text method, struct text target);
int h1_write_status_line(struct buf *b, unsigned status);
int h1_write_header(struct buf *b, struct text name, struct text value);
int h1_write_header_u64(struct buf *b, struct text name, uint64_t value);
int h1_write_end_of_head(struct buf *b);

/* "<hex>\r\n" before and "\r\n" after a chunk's data, "0\r\n\r\n" for the last one. */
#define H1_CHUNK_HEAD_MAX 20
size_t h1_format_chunk_head(char ret_head[H1_CHUNK_HEAD_MAX], uint64_t len);

#endif
