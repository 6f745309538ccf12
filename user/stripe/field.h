/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * field: reads values from JSON of untrusted origin.
 *
 * A field that is missing, null or of an unexpected type reads as nothing (NULL, 0 or false); the
 * caller decides whether that is an error. Strings are borrowed from the object. Pure.
 */
#ifndef STRIPE_FIELD_H
#define STRIPE_FIELD_H

#include <jansson.h>

#include "base/text.h"

#define FIELD_MAX_DEPTH 48 /* Stripe's objects need fewer than ten */

/*
 * Parse @text, which must be one JSON object without duplicate names or NUL, nested at most
 * FIELD_MAX_DEPTH deep. 0 and an object that the caller owns; or -EBADMSG, and @ret_why is a static
 * description.
 */
int field_parse(struct text text, json_t **ret_object, const char **ret_why);

/* The value at @path, names joined by dots ("data.object"), or NULL. @object may be NULL. */
json_t *field_at(const json_t *object, const char *path);

/* The string at @path, which may be empty, or NULL. */
const char *field_text(const json_t *object, const char *path);

/* The ID at @path, which is a string or, if Stripe expanded it, an object with an id; or NULL. */
const char *field_id(const json_t *object, const char *path);

/* The integer at @path; 0 if there is none or it is negative. */
uint64_t field_u64(const json_t *object, const char *path);

/* Whether the value at @path is true. */
bool field_bool(const json_t *object, const char *path);

/*
 * Copy an ID or a word of Stripe's. NULL is copied as "". False, and an empty @ret_text, if @text
 * does not fit into @size bytes with its NUL or has a byte that is not printable ASCII or is a
 * space.
 */
bool field_copy(const char *text, char *ret_text, size_t size);

/*
 * Copy text that a person wrote. Any UTF-8 is accepted; control bytes become '?', and text that is
 * too long is cut.
 */
void field_copy_words(const char *text, char *ret_text, size_t size);

#endif
