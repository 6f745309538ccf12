/* SPDX-License-Identifier: BSD-2-Clause */
/* table: JSON objects as aligned columns for people. */
#include "cli/table.h"

#include <stdbool.h>
#include <string.h>

#define COLUMNS_MAX 16
#define NUMBER_SIZE 24
#define GAP	    2

/* The text of a cell, which is in @number or belongs to @object. */
static const char *cell(const struct table_column *column, const json_t *object,
			char number[NUMBER_SIZE])
{
	const json_t *value = json_object_get(object, column->member);

	switch (json_typeof(value ? value : json_null())) {
	case JSON_STRING:
		return json_string_length(value) ? json_string_value(value) : "-";
	case JSON_INTEGER:
		if (column->kind == TABLE_LIMIT && !json_integer_value(value))
			return "-";
		snprintf(number, NUMBER_SIZE, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
		return number;
	case JSON_TRUE:
		return "yes";
	case JSON_FALSE:
		return "no";
	default:
		return "-";
	}
}

/* Bytes of the character at @s in UTF-8, which jansson has validated. */
static size_t character(const char *s)
{
	size_t len = 1;

	while (((unsigned char)s[len] & 0xc0) == 0x80)
		len++;
	return len;
}

static bool is_control(const char *s)
{
	unsigned char first = (unsigned char)s[0];

	/* The second range is the C1 controls, U+0080 to U+009F. */
	return first < 0x20 || first == 0x7f || (first == 0xc2 && (unsigned char)s[1] < 0xa0);
}

static size_t width(const char *text)
{
	size_t count = 0;

	for (; *text; text += character(text))
		count++;
	return count;
}

static void print_padding(FILE *out, size_t count)
{
	while (count--)
		fputc(' ', out);
}

static void print_text(FILE *out, const char *text)
{
	for (; *text; text += character(text)) {
		if (is_control(text))
			fputc('?', out);
		else
			fwrite(text, 1, character(text), out);
	}
}

static void print_cell(FILE *out, const struct table_column *column, size_t column_width,
		       const char *text)
{
	size_t padding = column_width - width(text);
	bool is_last = !column[1].heading;

	if (column->kind != TABLE_TEXT)
		print_padding(out, padding);
	print_text(out, text);
	if (is_last)
		fputc('\n', out);
	else
		print_padding(out, GAP + (column->kind == TABLE_TEXT ? padding : 0));
}

static void measure(const struct table_column *columns, const json_t *array, size_t *ret_widths)
{
	char number[NUMBER_SIZE];
	const json_t *object;
	size_t row;

	for (size_t i = 0; columns[i].heading && i < COLUMNS_MAX; i++) {
		ret_widths[i] = strlen(columns[i].heading);
		json_array_foreach (array, row, object) {
			size_t needed = width(cell(&columns[i], object, number));

			if (ret_widths[i] < needed)
				ret_widths[i] = needed;
		}
	}
}

void table_print(FILE *out, const struct table_column *columns, const json_t *array)
{
	size_t widths[COLUMNS_MAX], row;
	char number[NUMBER_SIZE];
	const json_t *object;

	measure(columns, array, widths);
	for (size_t i = 0; columns[i].heading && i < COLUMNS_MAX; i++)
		print_cell(out, &columns[i], widths[i], columns[i].heading);
	json_array_foreach (array, row, object) {
		for (size_t i = 0; columns[i].heading && i < COLUMNS_MAX; i++)
			print_cell(out, &columns[i], widths[i], cell(&columns[i], object, number));
	}
}

void table_print_object(FILE *out, const struct table_column *columns, const json_t *object)
{
	char number[NUMBER_SIZE];
	size_t widest = 0;

	for (const struct table_column *c = columns; c->heading; c++) {
		if (widest < strlen(c->heading))
			widest = strlen(c->heading);
	}
	for (const struct table_column *c = columns; c->heading; c++) {
		fputs(c->heading, out);
		print_padding(out, widest - strlen(c->heading) + GAP);
		print_text(out, cell(c, object, number));
		fputc('\n', out);
	}
}
