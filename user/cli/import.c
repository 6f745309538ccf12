/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * import: `key import`, which sends a file of keys issued elsewhere to the agent, in pieces.
 *
 * The agent imports a piece completely or not at all. So after a failure every line before the
 * piece has been imported and no line of it, and the error message says so. No message contains a
 * key.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/buf.h"
#include "cli/cli_private.h"

#define PIECE_LINES 50000
#define LINE_SIZE   1024 /* enough for an account, a key of 256 bytes and a label of 127 */
#define ACCOUNT_MAX 32

struct import {
	FILE *in;	  /* owned unless it is standard input */
	const char *name; /* borrowed */
	struct client client;
	struct buf piece;    /* lines not imported yet */
	size_t first_line;   /* number of the piece's first line in the file, from 1 */
	size_t lines;	     /* in the piece */
	size_t keys;	     /* lines of the piece that hold a key */
	json_int_t imported; /* keys imported by earlier pieces */
	json_int_t present;
};

static const char help[] =
	"Import keys issued elsewhere from FILE, or from standard input if FILE is '-'.\n"
	"Each line is\n\n"
	"    ACCOUNT_ID KEY [LABEL]\n\n"
	"Empty lines and lines that begin with '#' are ignored. Each piece of 50,000 lines is\n"
	"imported completely or not at all. Repeating an import is harmless: keys that are there\n"
	"already are counted as present.\n\n"
	"  --json  print a JSON object with \"imported\" and \"present\"\n";

static void tell_progress(const struct import *import)
{
	if (import->first_line == 1)
		output_error("no key was imported");
	else
		output_error(
			"the keys before line %zu were imported (%lld new, %lld already present), "
			"none after it; fix the file and repeat the import",
			import->first_line, (long long)import->imported,
			(long long)import->present);
}

/*
 * Report what is wrong with @line (0: with one of the piece) and how much was imported before it.
 */
static int fail_line(const struct import *import, size_t line, struct text reason)
{
	if (line)
		output_error("%s, line %zu: %.*s", import->name, line, TEXT_ARG(reason));
	else
		output_error("%s, lines %zu to %zu: %.*s", import->name, import->first_line,
			     import->first_line + import->lines - 1, TEXT_ARG(reason));
	tell_progress(import);
	return -EINVAL;
}

static bool is_key_line(struct text line)
{
	line = text_trim(line);
	return line.len && line.ptr[0] != '#';
}

static bool is_utf8(struct text line)
{
	json_t *string = json_stringn(line.ptr, line.len);

	json_decref(string);
	return string != NULL;
}

static int add_line(struct import *import, struct text line)
{
	int err;

	import->lines++;
	import->keys += is_key_line(line);
	err = buf_append_text(&import->piece, line);
	if (!err)
		err = buf_append_str(&import->piece, "\n");
	if (err)
		output_error("out of memory");
	return err;
}

/* Read a line without its end. False if it is longer than any valid line. */
static bool trim_line(struct text *line)
{
	while (line->len && strchr("\r\n", line->ptr[line->len - 1]))
		line->len--;
	return line->len < LINE_SIZE;
}

/* Fill the piece. 0, also at the end of the file; or an error that was reported. */
static int read_piece(struct import *import)
{
	size_t size = 0;
	char *line = NULL;
	ssize_t len;
	int err = 0;

	buf_clear(&import->piece);
	import->first_line += import->lines;
	import->lines = import->keys = 0;
	while (!err && import->lines < PIECE_LINES &&
	       (len = getline(&line, &size, import->in)) >= 0) {
		size_t number = import->first_line + import->lines;
		struct text text = { line, (size_t)len };

		if (!trim_line(&text))
			err = fail_line(import, number, TEXT("it is too long"));
		else if (!is_utf8(text))
			err = fail_line(import, number, TEXT("it is not valid UTF-8"));
		else
			err = add_line(import, text);
	}
	if (!err && !feof(import->in) && import->lines < PIECE_LINES) {
		err = -(errno ? errno : EIO);
		output_error("%s could not be read: %s", import->name, strerror(-err));
		tell_progress(import);
	}
	if (line)
		explicit_bzero(line, size);
	free(line);
	return err;
}

static struct text take_line(struct text *rest)
{
	const char *end = memchr(rest->ptr, '\n', rest->len);
	struct text line = { rest->ptr, (size_t)(end - rest->ptr) }; /* add_line() ends each */

	*rest = (struct text){ end + 1, rest->len - line.len - 1 };
	return text_trim(line);
}

/* Number of the first line of the piece whose account does not exist; 0: all exist. */
static size_t find_unknown_account(struct import *import)
{
	struct text rest = buf_text(&import->piece);
	char account[ACCOUNT_MAX] = "", path[CLI_PATH_MAX];

	for (size_t number = import->first_line; rest.len; number++) {
		struct text line = take_line(&rest);
		size_t len = 0;
		json_t *answer;

		while (len < line.len && line.ptr[len] != ' ' && line.ptr[len] != '\t')
			len++;
		if (!is_key_line(line) || len >= sizeof(account) ||
		    text_is((struct text){ line.ptr, len }, account))
			continue;
		memcpy(account, line.ptr, len);
		account[len] = '\0';
		snprintf(path, sizeof(path), "/api/v1/accounts/%s", account);
		if (!client_call(&import->client, "GET", path, NULL, &answer))
			json_decref(answer);
		else
			return import->client.status == 404 ? number : 0;
	}
	return 0;
}

/* The agent numbers the lines of the piece: translate "line N" to the line of the file. */
static int explain_refusal(struct import *import)
{
	static const char suffix[] = "; nothing was imported";
	char *reason = import->client.error, *cut = strstr(reason, suffix);
	unsigned long line = 0;
	size_t unknown;

	if (cut)
		*cut = '\0';
	if (!strncmp(reason, "line ", 5)) {
		char *end;

		line = strtoul(reason + 5, &end, 10);
		if (line && !strncmp(end, ": ", 2))
			return fail_line(import, import->first_line + line - 1, text_of(end + 2));
	}
	if (import->client.status == 404) {
		unknown = find_unknown_account(import);
		return fail_line(import, unknown,
				 unknown ? TEXT("the account does not exist")
					 : TEXT("one of the accounts does not exist"));
	}
	return fail_line(import, 0, text_of(reason));
}

static int send_piece(struct import *import)
{
	json_t *answer;
	int err;

	if (!import->keys)
		return 0;
	err = client_import(&import->client, "/api/v1/keys/import", buf_text(&import->piece),
			    &answer);
	if (err == -EREMOTEIO)
		return explain_refusal(import);
	if (err) {
		output_error("%s", import->client.error);
		output_error(
			"the keys before line %zu of %s were imported, and perhaps those up to "
			"line %zu; repeat the import to be sure",
			import->first_line, import->name, import->first_line + import->lines - 1);
		return err;
	}
	import->imported += json_integer_value(json_object_get(answer, "imported"));
	import->present += json_integer_value(json_object_get(answer, "present"));
	json_decref(answer);
	return 0;
}

/* Import all pieces. 0 or an error that was reported. */
static int import_all(struct import *import)
{
	int err;

	import->first_line = 1;
	do {
		err = read_piece(import);
		if (!err)
			err = send_piece(import);
	} while (!err && import->lines == PIECE_LINES);
	if (import->piece.data)
		explicit_bzero(import->piece.data, import->piece.size);
	return err;
}

static int print_result(const struct import *import, bool json)
{
	json_t *result;

	if (!json) {
		fprintf(output_stdout(), "imported  %lld\npresent   %lld\n",
			(long long)import->imported, (long long)import->present);
		return output_finish(0);
	}
	result = json_pack("{s:I, s:I}", "imported", import->imported, "present", import->present);
	output_json(result);
	json_decref(result);
	return output_finish(0);
}

int cli_key_import(int argc, char **argv, const struct cli_options *options)
{
	struct import import = { .in = stdin };
	const char *file;
	bool json = false;
	const struct args args = {
		.usage = "key import FILE [--json]",
		.help = help,
		.options = (const struct args_option[]){ { "json", NULL, &json, 0 }, { 0 } },
		.ret_operands = &file,
		.operand_min = 1,
		.operand_max = 1,
	};
	int code, err;

	if (!args_parse(argc, argv, &args, &code))
		return code;
	import.name = !strcmp(file, "-") ? "standard input" : file;
	if (strcmp(file, "-") != 0)
		import.in = fopen(file, "re");
	if (!import.in) {
		/* Do not repeat the name: it may be a key typed here by mistake. */
		output_error("the file could not be opened: %s", strerror(errno));
		return 1;
	}
	client_init(&import.client, options->socket);
	buf_init(&import.piece, (size_t)PIECE_LINES * LINE_SIZE);
	err = import_all(&import);
	buf_done(&import.piece);
	client_done(&import.client);
	if (import.in != stdin)
		fclose(import.in);
	return err ? 1 : print_result(&import, json);
}
