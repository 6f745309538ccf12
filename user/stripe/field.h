/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * field: reading JSON that somebody else made.
 *
 * A field that is absent, null or of another type than the one asked for is read as nothing; whether
 * that may be is the caller's to say. Texts are borrowed from the object. Pure.
 */
#ifndef STRIPE_FIELD_H
#define STRIPE_FIELD_H

#include <jansson.h>

#include "base/text.h"

#define FIELD_MAX_DEPTH 48 /* Stripe's objects stay below ten */

/*
 * Parse @text, which must be one JSON object: no name twice, no NUL, no deeper than FIELD_MAX_DEPTH. 0
 * and an object that the caller owns; or -EBADMSG with @ret_why, a few words that need no freeing.
 */
int field_parse(struct text text, json_t **ret_object, const char **ret_why);

/* What is at @path, names with dots between ("data.object"), or NULL. @object may be NULL. */
json_t *field_at(const json_t *object, const char *path);

/* The text at @path, or NULL. A text in JSON may be empty. */
const char *field_text(const json_t *object, const char *path);

/* The id at @path: a text, or the id of the object there, as expansion makes it; or NULL. */
const char *field_id(const json_t *object, const char *path);

/* The whole number at @path; 0 for none and for what is below zero. */
uint64_t field_u64(const json_t *object, const char *path);

/* Whether @path is true. */
bool field_bool(const json_t *object, const char *path);

/*
 * Copy @text (NULL: "") to @ret_text. False, and an empty text, when it is longer than @size with its
 * NUL, or has a byte that is not printable ASCII, which no id has.
 */
bool field_copy(const char *text, char *ret_text, size_t size);

/* The same for what people wrote: any UTF-8 without control bytes, cut where it is too long. */
void field_copy_words(const char *text, char *ret_text, size_t size);

#endif
