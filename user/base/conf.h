/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conf: reading YAML into records, by tables, with a good message for everything that is wrong.
 *
 * A mapping is described by a table of options: for each its name, where its value goes in a record,
 * and the function that reads it. Options are read in the table's order, whatever their order in the
 * file, so one may look at what those before it gave. An option that is not given is read from the
 * `standard` text in the table, if there is one. Scalars are text to YAML; each setter parses
 * its own, so nothing is guessed. "${NAME}" in a scalar is the environment's value, "${NAME:-text}"
 * has a default for one that is unset or empty. Anchors, aliases and tags are refused.
 *
 * Messages are lines "file:line:column: what is wrong". Reading goes on after one, up to a maximum.
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
#define CONF_MAX_ITEMS 4096 /* of one list */

/* What of a text is shown in a message, for "%.*s". */
#define CONF_SHOWN(t) (int)((t).len < 64 ? (t).len : 64), (t).ptr

struct conf;	  /* a document that was parsed */
struct conf_node; /* a place in it */
struct conf_option;
struct conf_schema;

/* Reads @node into @record. What is wrong goes to conf_error(); then nothing is set. */
typedef void (*conf_setter)(struct conf *conf, const struct conf_node *node,
			    const struct conf_option *option, void *record);

struct conf_word {
	const char *word; /* NULL ends a list of them */
	unsigned value;
};

/* One option of a mapping. What a setter does not mention, it does not look at. */
struct conf_option {
	const char *name;
	conf_setter set;
	size_t offset;	     /* of the value in the record */
	size_t count_offset; /* lists: of their unsigned count */
	uint64_t min, max;   /* numbers, durations, sizes */
	const struct conf_word *words;
	const struct conf_schema *schema; /* mappings, and lists of them */
	const char *standard; /* what it is when it is not given, as one would write it; or NULL */
	bool is_required;
	bool is_unique; /* text: no two records of a list have the same */
};

/* One kind of mapping. */
struct conf_schema {
	const char *noun; /* "a tier": for messages */
	const struct conf_option *options;
	size_t option_count;
	size_t record_size;  /* for lists of them */
	const void *initial; /* what a record is before anything is read; NULL: zeros */
	/* Called when all options of a record were read, to hold them against each other. May be NULL. */
	void (*finish)(struct conf *conf, const struct conf_node *mapping, void *record);
};

#define CONF_SCHEMA(table) .options = (table), .option_count = sizeof(table) / sizeof((table)[0])

/* Append the file at @path to @content. 0, or a negative errno and a message. */
int conf_read_file(const char *path, struct buf *content, struct buf *messages);

/*
 * Parse @yaml; both it and @path (for messages) must live as long as the result. 0; -EINVAL and
 * messages when it is no YAML that can be used; -ENOMEM.
 */
int conf_parse(const char *path, struct text yaml, struct buf *messages, struct conf **ret_conf);
void conf_free(struct conf *conf); /* accepts NULL */

/* Read the whole document into @record. @owner is for the setters. 0, -EINVAL with messages, -ENOMEM. */
int conf_read(struct conf *conf, const struct conf_schema *schema, void *record, void *owner);

/* The following are for setters. */

void *conf_owner(const struct conf *conf);
const char *conf_path(const struct conf *conf);

/* Say what is wrong at @node. */
void conf_error(struct conf *conf, const struct conf_node *node, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* "unknown @what '@name'", and the nearest of @words if one is near. */
void conf_error_unknown(struct conf *conf, const struct conf_node *node, const char *what,
			struct text name, const char *const *words, size_t count);

/* Memory is short: conf_read() will return -ENOMEM. */
void conf_no_memory(struct conf *conf);

/* The value of option @name in @mapping, or NULL. */
const struct conf_node *conf_find(struct conf *conf, const struct conf_node *mapping,
				  const char *name);

/* The scalar at @node, expanded; it lives as long as @conf. False after saying what is wrong. */
bool conf_text(struct conf *conf, const struct conf_node *node, struct text *ret_text);

/* The same for a name: what may stand in headers, metrics and paths. */
bool conf_name(struct conf *conf, const struct conf_node *node, struct text *ret_name);

/* How many items the list at @node has; -1 after saying that it is none, or too long. */
int conf_list(struct conf *conf, const struct conf_node *node);
const struct conf_node *conf_item(struct conf *conf, const struct conf_node *list, int i);

/* "10.0.0.1:80" or "[::1]:80"; the port is not 0. 0 or -EINVAL. Pure. */
struct sockaddr_storage;
int conf_parse_address(struct text t, struct sockaddr_storage *ret_address);

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
