/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conf: reads YAML into records, driven by tables, and reports every error with its place.
 *
 * A table describes the options of a mapping: the name of each, where its value goes in the record,
 * and the function that reads it. Options are read in the order of the table, whatever their order
 * in the file, so a setter may use the values of earlier options. An option that is not given is
 * read from its `standard` text, if it has one, by the same setter. YAML's own types are ignored:
 * each setter parses its text itself. "${NAME}" in a scalar is replaced by the environment
 * variable, "${NAME:-text}" has a default for a variable that is unset or empty. Anchors, aliases
 * and tags are refused.
 *
 * Messages have the form "file:line:column: what is wrong". Reading continues after an error, up to
 * 50 messages. One thread at a time for each document.
 */
#ifndef BASE_CONF_H
#define BASE_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/text.h"

#define CONF_MAX_BYTES (1 << 20)
#define CONF_MAX_DEPTH 16
#define CONF_MAX_ITEMS 4096 /* in one list */

/* The part of a text that a message shows, for "%.*s". */
#define CONF_SHOWN(t) (int)((t).len < 64 ? (t).len : 64), (t).ptr

struct conf;	  /* a parsed document */
struct conf_node; /* a node of it, which lives as long as the document */
struct conf_option;
struct conf_schema;

/* Read @node into @record. On an error, call conf_error() and set nothing. */
typedef void (*conf_setter)(struct conf *conf, const struct conf_node *node,
			    const struct conf_option *option, void *record);

struct conf_word {
	const char *word; /* NULL ends a list */
	unsigned value;
};

/* One option of a mapping. Setters ignore the members that they have no use for. */
struct conf_option {
	const char *name;
	conf_setter set;
	size_t offset;	     /* of the value in the record, in bytes */
	size_t count_offset; /* lists: of the unsigned count */
	uint64_t min, max;   /* numbers, durations (ms), sizes (bytes) */
	const struct conf_word *words;
	const struct conf_schema *schema; /* mappings and lists of mappings */
	const char *standard; /* the default, as one would write it in the file; NULL: none */
	bool is_required;
	bool is_unique; /* text: no two records of a list may have the same */
};

/* One kind of mapping. */
struct conf_schema {
	const char *noun; /* for messages: "a tier" */
	const struct conf_option *options;
	size_t option_count;
	size_t record_size;  /* bytes; for lists of mappings */
	const void *initial; /* value of a record before anything is read; NULL: zeros */
	/*
	 * Called after all options of a record were read without error, to compare them. May be
	 * NULL.
	 */
	void (*finish)(struct conf *conf, const struct conf_node *mapping, void *record);
};

#define CONF_SCHEMA(table) .options = (table), .option_count = sizeof(table) / sizeof((table)[0])

/* Append the file at @path to @content. 0, or a negative errno and a message in @messages. */
int conf_read_file(const char *path, struct buf *content, struct buf *messages);

/*
 * Parse @yaml. @yaml, @path (for messages) and @messages are borrowed until conf_free(). 0, -EINVAL
 * with messages if the document cannot be used, or -ENOMEM.
 */
int conf_parse(const char *path, struct text yaml, struct buf *messages, struct conf **ret_conf);
void conf_free(struct conf *conf); /* accepts NULL */

/*
 * Read the whole document into @record. Setters get @owner from conf_owner(). 0, -EINVAL with
 * messages, or -ENOMEM. The caller owns what the record points to, also after an error.
 */
int conf_read(struct conf *conf, const struct conf_schema *schema, void *record, void *owner);

/* The functions below are for setters. */

void *conf_owner(const struct conf *conf);
const char *conf_path(const struct conf *conf);

/* Report an error at @node. */
void conf_error(struct conf *conf, const struct conf_node *node, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Report "unknown @what '@name'", and suggest the nearest of @words. */
void conf_error_unknown(struct conf *conf, const struct conf_node *node, const char *what,
			struct text name, const char *const *words, size_t count);

/* Note that memory is short: conf_read() will return -ENOMEM. */
void conf_no_memory(struct conf *conf);

/* The value of option @name in @mapping; NULL if it is not given. */
const struct conf_node *conf_find(struct conf *conf, const struct conf_node *mapping,
				  const char *name);

/*
 * Get the expanded scalar at @node, which lives as long as @conf. False after reporting an error.
 */
bool conf_text(struct conf *conf, const struct conf_node *node, struct text *ret_text);

/* The same for a name: characters that are safe in headers, metrics and paths. */
bool conf_name(struct conf *conf, const struct conf_node *node, struct text *ret_name);

/*
 * The number of items of the list at @node; -1 after reporting that it is not a list or too long.
 */
int conf_list(struct conf *conf, const struct conf_node *node);

/*
 * A zeroed array for the items of the list at @node. NULL with *@ret_items 0 if the list is empty,
 * or after reporting that it is not a list, too long or too large for memory. free() it.
 */
void *conf_new_list(struct conf *conf, const struct conf_node *node, size_t item_size,
		    int *ret_items);
const struct conf_node *conf_item(struct conf *conf, const struct conf_node *list, int i);

/* Parse "10.0.0.1:80" or "[::1]:80", with a port other than 0. 0 or -EINVAL. Pure. */
struct sockaddr_storage;
int conf_parse_address(struct text t, struct sockaddr_storage *ret_address);

/* Setters for the tables. Texts and arrays are allocated and belong to the record. */
void conf_set_text(struct conf *, const struct conf_node *, const struct conf_option *, void *);
void conf_set_name(struct conf *, const struct conf_node *, const struct conf_option *, void *);
void conf_set_texts(struct conf *, const struct conf_node *, const struct conf_option *, void *);
void conf_set_bool(struct conf *, const struct conf_node *, const struct conf_option *, void *);
void conf_set_u32(struct conf *, const struct conf_node *, const struct conf_option *, void *);
void conf_set_u64(struct conf *, const struct conf_node *, const struct conf_option *, void *);
void conf_set_duration(struct conf *, const struct conf_node *, const struct conf_option *, void *);
void conf_set_size(struct conf *, const struct conf_node *, const struct conf_option *, void *);
void conf_set_word(struct conf *, const struct conf_node *, const struct conf_option *, void *);
void conf_set_address(struct conf *, const struct conf_node *, const struct conf_option *, void *);
void conf_set_mapping(struct conf *, const struct conf_node *, const struct conf_option *, void *);
void conf_set_records(struct conf *, const struct conf_node *, const struct conf_option *, void *);

#endif
