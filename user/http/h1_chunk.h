/* SPDX-License-Identifier: BSD-2-Clause */
/* h1_chunk: the strict check of the chunked transfer coding (RFC 9112, 7.1). Pure. */
#ifndef HTTP_H1_CHUNK_H
#define HTTP_H1_CHUNK_H

#include "http/h1.h"

#define H1_CHUNK_EXTENSION_BYTES 256	    /* limit for the extensions of one chunk */
#define H1_CHUNK_TRAILER_BYTES	 (8 * 1024) /* limit for all trailer fields together */

struct h1_chunk {
	uint64_t left;	      /* data bytes of this chunk that are still to come */
	uint16_t state;	      /* enum state of h1_chunk.c; starts at 0 */
	uint16_t digit_count; /* digits of the size so far */
	uint32_t extra_count; /* bytes of this chunk's extensions, or of the trailer, so far */
};

/*
 * Take bytes up to the end of a piece of data or of the body, and store in @ret_used how many.
 * Trailer fields are checked and dropped.
 *
 * H1_BODY with the data in @ret_piece, which points into @bytes; H1_END; H1_NEED_MORE if all bytes
 * are used up; -EBADMSG with the broken rule (a literal) in @ret_rule.
 */
int h1_chunk_feed(struct h1_chunk *c, struct text bytes, size_t *ret_used, struct text *ret_piece,
		  const char **ret_rule);

#endif
