/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * table: JSON objects as aligned columns for people.
 *
 * Cells are written without control characters, so that a label cannot speak to the terminal. An
 * absent, null or empty value is "-". Widths count characters of UTF-8, not cells of wide scripts.
 */
#ifndef CLI_TABLE_H
#define CLI_TABLE_H

#include <jansson.h>
#include <stdio.h>

enum table_kind {
	TABLE_TEXT,
	TABLE_NUMBER, /* to the right */
	TABLE_LIMIT,  /* a number of which 0 means that there is none */
};

struct table_column {
	const char *heading; /* ASCII; NULL ends a list */
	const char *member;  /* of each object */
	enum table_kind kind;
};

/* A heading and a line for each object of @array. */
void table_print(FILE *out, const struct table_column *columns, const json_t *array);

/* A line for each column: its heading and what @object has for it. */
void table_print_object(FILE *out, const struct table_column *columns, const json_t *object);

#endif
