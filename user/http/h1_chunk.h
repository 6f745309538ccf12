/* SPDX-License-Identifier: BSD-2-Clause */
/* h1_chunk: the strict pass over the chunked coding (RFC 9112, 7.1). Pure. */
#ifndef HTTP_H1_CHUNK_H
#define HTTP_H1_CHUNK_H

#include "http/h1.h"

#define H1_CHUNK_EXTENSION_BYTES 256	    /* most that one chunk's extensions may take */
#define H1_CHUNK_TRAILER_BYTES	 (8 * 1024) /* most that all trailer fields may take */

struct h1_chunk {
	uint64_t left;	      /* of the chunk's data */
	uint16_t state;	      /* enum in h1_chunk.c; zero begins */
	uint16_t digit_count; /* of the size */
	uint32_t extra_count; /* bytes of this chunk's extensions, or of the trailer */
};

/*
 * Take bytes until a piece of data or the end. H1_NEED_MORE, H1_BODY (@ret_piece), H1_END, or -EBADMSG
 * with the broken rule in @ret_rule. Trailer fields are checked and dropped.
 */
int h1_chunk_feed(struct h1_chunk *c, struct text bytes, size_t *ret_used, struct text *ret_piece,
		  const char **ret_rule);

#endif
