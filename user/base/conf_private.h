/* SPDX-License-Identifier: BSD-2-Clause */
/* conf_private: the parsed document, shared by conf.c and conf_record.c. */
#ifndef BASE_CONF_PRIVATE_H
#define BASE_CONF_PRIVATE_H

#include <yaml.h>

#include "base/conf.h"

#define CONF_MAX_MESSAGES 50

struct conf {
	const char *path;     /* borrowed */
	struct buf *messages; /* borrowed */
	void *owner;	      /* borrowed */
	yaml_document_t document;
	char **expanded; /* owned: scalars in which references were replaced */
	size_t expanded_count, expanded_room;
	unsigned message_count;
	bool no_memory;
};

/* A conf_node is one of libyaml's nodes; the type keeps libyaml out of other files. */
static inline const yaml_node_t *conf_yaml(const struct conf_node *node)
{
	return (const yaml_node_t *)node;
}

static inline const struct conf_node *conf_node_at(struct conf *conf, int index)
{
	return (const struct conf_node *)yaml_document_get_node(&conf->document, index);
}

/* What kind of node it is, for messages: "a list", "a mapping", ... */
const char *conf_kind(const struct conf_node *node);

/* The text of a scalar, without replacing references. */
struct text conf_scalar(const struct conf_node *node);

#endif
