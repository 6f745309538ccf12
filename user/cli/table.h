/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * table: JSON objects as aligned columns for people.
 *
 * Control characters are left out of cells, so that a label cannot send escape sequences to the
 * terminal. An absent, null or empty value is printed as "-". Widths count UTF-8 characters, so
 * columns of double-width scripts are not aligned.
 */
#ifndef CLI_TABLE_H
#define CLI_TABLE_H

#include <jansson.h>
#include <stdio.h>

enum table_kind {
	TABLE_TEXT,
	TABLE_NUMBER, /* aligned to the right */
	TABLE_LIMIT,  /* a number; 0 means no limit */
};

struct table_column {
	const char *heading; /* ASCII; NULL ends a list */
	const char *member;  /* of each object */
	enum table_kind kind;
};

/* Print the headings, and a line for each object of @array. */
void table_print(FILE *out, const struct table_column *columns, const json_t *array);

/* Print a line for each column: its heading and the value in @object. */
void table_print_object(FILE *out, const struct table_column *columns, const json_t *object);

#endif
