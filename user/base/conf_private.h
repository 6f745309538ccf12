/* SPDX-License-Identifier: BSD-2-Clause */
/* conf_private: a parsed document. Private to conf.c and conf_record.c. */
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
	char **expanded; /* owned: scalars that were not as they stood */
	size_t expanded_count, expanded_room;
	unsigned message_count;
	bool no_memory;
};

/* A place in the document is one of libyaml's nodes. */
static inline const yaml_node_t *conf_yaml(const struct conf_node *node)
{
	return (const yaml_node_t *)node;
}

static inline const struct conf_node *conf_node_at(struct conf *conf, int index)
{
	return (const struct conf_node *)yaml_document_get_node(&conf->document, index);
}

/* "a list", "a mapping" ...: for messages. */
const char *conf_kind(const struct conf_node *node);

/* The text of a scalar as it stands in the file. */
struct text conf_scalar(const struct conf_node *node);

#endif
