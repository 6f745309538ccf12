/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conf: YAML by tables. This file parses the document, reads its scalars and lists, and reports
 * errors; conf_record.c reads mappings into records, and conf_set.c has the setters.
 *
 * The file is parsed twice. The first pass reads libyaml's events, because only they show what is
 * refused and where: aliases (with which a document could contain itself), tags and depth. The
 * second pass loads the document.
 */
#include "base/conf_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/array.h"
#include "base/env.h"

/* Messages quote the file. What they quote must not forge lines or move the cursor. */
static void clean(char *at, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)at[i] < 0x20 || at[i] == 0x7f)
			at[i] = '?';
	}
}

static void add_message(struct conf *conf, yaml_mark_t at, const char *format, va_list args)
{
	struct buf *m = conf->messages;
	size_t before = buf_len(m);

	conf->message_count++;
	if (conf->message_count > CONF_MAX_MESSAGES)
		return;
	if (conf->message_count == CONF_MAX_MESSAGES) {
		buf_printf(m, "%s: there are more errors than shown here\n", conf->path);
		return;
	}
	buf_printf(m, "%s:%zu:%zu: ", conf->path, at.line + 1, at.column + 1);
	buf_vprintf(m, format, args);
	clean(buf_head(m) + before, buf_len(m) - before);
	buf_append_str(m, "\n");
}

static void error_at(struct conf *conf, yaml_mark_t at, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	add_message(conf, at, format, args);
	va_end(args);
}

void conf_error(struct conf *conf, const struct conf_node *node, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	add_message(conf, conf_yaml(node)->start_mark, format, args);
	va_end(args);
}

void conf_error_unknown(struct conf *conf, const struct conf_node *node, const char *what,
			struct text name, const char *const *words, size_t count)
{
	const char *nearest = text_nearest(name, words, count);

	if (nearest)
		conf_error(conf, node, "unknown %s '%.*s', did you mean '%s'?", what,
			   CONF_SHOWN(name), nearest);
	else
		conf_error(conf, node, "unknown %s '%.*s'", what, CONF_SHOWN(name));
}

void conf_no_memory(struct conf *conf)
{
	conf->no_memory = true;
}

void *conf_owner(const struct conf *conf)
{
	return conf->owner;
}

const char *conf_path(const struct conf *conf)
{
	return conf->path;
}

int conf_read_file(const char *path, struct buf *content, struct buf *messages)
{
	struct stat st;
	char block[4096];
	ssize_t got = 1;
	int err = 0, fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 || fstat(fd, &st))
		err = -errno;
	else if (S_ISDIR(st.st_mode))
		err = -EISDIR;
	while (!err && got) {
		got = read(fd, block, sizeof(block));
		err = got < 0 ? -errno : buf_append(content, block, (size_t)got);
	}
	explicit_bzero(block, sizeof(block)); /* the file may hold a secret */
	if (fd >= 0)
		close(fd);
	if (err == -EMSGSIZE)
		buf_printf(messages, "%s: the file is larger than %zu bytes\n", path, content->max);
	else if (err)
		buf_printf(messages, "%s: %s\n", path, strerror(-err));
	return err;
}

/* Why the event is refused; NULL if it is not. */
static const char *refuse_event(const yaml_event_t *event, unsigned depth, unsigned documents)
{
	const yaml_char_t *anchor = NULL, *tag = NULL;

	switch (event->type) {
	case YAML_ALIAS_EVENT:
		return "aliases are not supported";
	case YAML_DOCUMENT_START_EVENT:
		return documents ? "only one document is allowed in a file" : NULL;
	case YAML_SCALAR_EVENT:
		anchor = event->data.scalar.anchor;
		tag = event->data.scalar.tag;
		break;
	case YAML_SEQUENCE_START_EVENT:
		anchor = event->data.sequence_start.anchor;
		tag = event->data.sequence_start.tag;
		break;
	case YAML_MAPPING_START_EVENT:
		anchor = event->data.mapping_start.anchor;
		tag = event->data.mapping_start.tag;
		break;
	default:
		return NULL;
	}
	if (anchor)
		return "anchors are not supported";
	if (tag)
		return "tags are not supported";
	return depth > CONF_MAX_DEPTH ? "lists and mappings are nested too deeply" : NULL;
}

static void parser_error(struct conf *conf, const yaml_parser_t *parser)
{
	yaml_mark_t at = parser->problem_mark;

	if (parser->error == YAML_MEMORY_ERROR)
		conf_no_memory(conf);
	if (parser->error == YAML_READER_ERROR)
		at = parser->mark; /* invalid UTF-8: the scanner stopped here */
	error_at(conf, at, "%s", parser->problem ? parser->problem : "out of memory");
}

/* Check all events. False after reporting an error. */
static bool check_events(struct conf *conf, yaml_parser_t *parser)
{
	unsigned depth = 0, documents = 0;
	bool is_end = false;

	while (!is_end) {
		yaml_event_t event;
		const char *why;

		if (!yaml_parser_parse(parser, &event)) {
			parser_error(conf, parser);
			return false;
		}
		if (event.type == YAML_SEQUENCE_START_EVENT ||
		    event.type == YAML_MAPPING_START_EVENT)
			depth++;
		else if (event.type == YAML_SEQUENCE_END_EVENT ||
			 event.type == YAML_MAPPING_END_EVENT)
			depth--;
		why = refuse_event(&event, depth, documents);
		if (why)
			error_at(conf, event.start_mark, "%s", why);
		if (event.type == YAML_DOCUMENT_START_EVENT)
			documents++;
		is_end = event.type == YAML_STREAM_END_EVENT;
		yaml_event_delete(&event);
		if (why)
			return false;
	}
	return true;
}

/* One pass over @yaml: load the document (@load), or only check the events. */
static bool pass(struct conf *conf, struct text yaml, bool load)
{
	yaml_parser_t parser;
	bool ok;

	if (!yaml_parser_initialize(&parser)) {
		conf_no_memory(conf);
		return false;
	}
	yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&parser, (const unsigned char *)yaml.ptr, yaml.len);
	if (load) {
		ok = yaml_parser_load(&parser, &conf->document);
		if (!ok)
			parser_error(conf, &parser);
	} else {
		ok = check_events(conf, &parser);
	}
	yaml_parser_delete(&parser);
	return ok;
}

int conf_parse(const char *path, struct text yaml, struct buf *messages, struct conf **ret_conf)
{
	struct conf *conf = calloc(1, sizeof(*conf));
	int err;

	if (!conf)
		return -ENOMEM;
	conf->path = path;
	conf->messages = messages;
	if (!yaml.ptr)
		yaml = TEXT("");
	if (yaml.len > CONF_MAX_BYTES)
		error_at(conf, (yaml_mark_t){ 0 }, "the file is larger than %d bytes",
			 CONF_MAX_BYTES);
	else if (pass(conf, yaml, false) && pass(conf, yaml, true) &&
		 !yaml_document_get_root_node(&conf->document))
		error_at(conf, (yaml_mark_t){ 0 }, "the file is empty");
	err = conf->no_memory ? -ENOMEM : conf->message_count ? -EINVAL : 0;
	if (err) {
		conf_free(conf);
		return err;
	}
	*ret_conf = conf;
	return 0;
}

void conf_free(struct conf *conf)
{
	if (!conf)
		return;
	for (size_t i = 0; i < conf->expanded_count; i++)
		free(conf->expanded[i]);
	free(conf->expanded);
	yaml_document_delete(&conf->document); /* accepts a zeroed one, which was never loaded */
	free(conf);
}

const char *conf_kind(const struct conf_node *node)
{
	switch (conf_yaml(node)->type) {
	case YAML_SEQUENCE_NODE:
		return "a list";
	case YAML_MAPPING_NODE:
		return "a mapping";
	default:
		return conf_yaml(node)->data.scalar.length ? "a single value" : "nothing";
	}
}

struct text conf_scalar(const struct conf_node *node)
{
	return (struct text){ (const char *)conf_yaml(node)->data.scalar.value,
			      conf_yaml(node)->data.scalar.length };
}

static bool is_name_byte(char c, bool is_first)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
	       (!is_first && c >= '0' && c <= '9');
}

static size_t too_long(struct conf *conf, const struct conf_node *node)
{
	conf_error(conf, node, "the value is too long");
	return 0;
}

/*
 * Expand the reference "${...}" at the start of @rest into @out. Returns the length of the
 * reference, or 0 after reporting an error.
 */
static size_t expand_one(struct conf *conf, const struct conf_node *node, struct text rest,
			 struct buf *out)
{
	const char *end = memchr(rest.ptr, '}', rest.len), *value;
	struct text inner, fallback = { 0 };
	size_t name_len = 0;
	char name[128];

	inner = (struct text){ rest.ptr + 2, end ? (size_t)(end - rest.ptr) - 2 : 0 };
	while (name_len < inner.len && is_name_byte(inner.ptr[name_len], !name_len))
		name_len++;
	if (name_len + 2 <= inner.len && inner.ptr[name_len] == ':' &&
	    inner.ptr[name_len + 1] == '-')
		fallback = (struct text){ inner.ptr + name_len + 2, inner.len - name_len - 2 };
	if (!name_len || name_len >= sizeof(name) || (!fallback.ptr && name_len < inner.len)) {
		conf_error(conf, node, "'${' must be followed by NAME} or NAME:-text}");
		return 0;
	}
	snprintf(name, sizeof(name), "%.*s", (int)name_len, inner.ptr);
	env_hide(name); /* the value may be a secret */
	value = getenv(name);
	if (!value && !fallback.ptr) {
		conf_error(conf, node, "the environment variable '%s' is not set", name);
		return 0;
	}
	if (buf_append_text(out, fallback.ptr && (!value || !*value) ? fallback : text_of(value)))
		return too_long(conf, node);
	return inner.len + 3;
}

/* A copy of @text that @conf owns; NULL if memory is short. */
static char *keep(struct conf *conf, struct text text)
{
	char *copy = NULL;

	if (!array_reserve(conf->expanded, conf->expanded_room, conf->expanded_count + 1,
			   CONF_MAX_BYTES))
		copy = text_dup(text);
	if (copy)
		conf->expanded[conf->expanded_count++] = copy;
	return copy;
}

static bool expand(struct conf *conf, const struct conf_node *node, struct text raw,
		   struct text *ret_text)
{
	bool ok = true;
	struct buf out;

	buf_init(&out, CONF_MAX_BYTES);
	for (size_t at = 0; at < raw.len && ok;) {
		struct text rest = { raw.ptr + at, raw.len - at };
		size_t used = 1;

		if (text_starts(rest, TEXT("${")))
			used = expand_one(conf, node, rest, &out);
		else if (buf_append(&out, rest.ptr, 1))
			used = too_long(conf, node);
		ok = used;
		at += used;
	}
	if (ok) {
		ret_text->len = buf_len(&out);
		ret_text->ptr = keep(conf, buf_text(&out));
		ok = ret_text->ptr;
		conf->no_memory |= !ok;
	}
	buf_done(&out);
	return ok;
}

bool conf_text(struct conf *conf, const struct conf_node *node, struct text *ret_text)
{
	struct text raw;

	if (conf_yaml(node)->type != YAML_SCALAR_NODE) {
		conf_error(conf, node, "expected a single value, found %s", conf_kind(node));
		return false;
	}
	raw = conf_scalar(node);
	if (memmem(raw.ptr, raw.len, "${", 2) && !expand(conf, node, raw, &raw))
		return false;
	for (size_t i = 0; i < raw.len; i++) {
		if ((unsigned char)raw.ptr[i] < 0x20 || raw.ptr[i] == 0x7f) {
			conf_error(conf, node, "the value contains a control character");
			return false;
		}
	}
	*ret_text = raw;
	return true;
}

int conf_list(struct conf *conf, const struct conf_node *node)
{
	long count;

	if (conf_yaml(node)->type != YAML_SEQUENCE_NODE) {
		conf_error(conf, node, "expected a list, found %s", conf_kind(node));
		return -1;
	}
	count = conf_yaml(node)->data.sequence.items.top -
		conf_yaml(node)->data.sequence.items.start;
	if (count <= CONF_MAX_ITEMS)
		return (int)count;
	conf_error(conf, node, "the list has more than %d items", CONF_MAX_ITEMS);
	return -1;
}

void *conf_new_list(struct conf *conf, const struct conf_node *node, size_t item_size,
		    int *ret_items)
{
	int items = conf_list(conf, node);
	void *list = items > 0 ? calloc((size_t)items, item_size) : NULL;

	if (items > 0 && !list)
		conf_no_memory(conf);
	*ret_items = list ? items : 0;
	return list;
}

const struct conf_node *conf_item(struct conf *conf, const struct conf_node *list, int i)
{
	return conf_node_at(conf, conf_yaml(list)->data.sequence.items.start[i]);
}
