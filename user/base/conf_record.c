/* SPDX-License-Identifier: BSD-2-Clause */
/* conf_record: reads mappings of the document into records, as the tables of options say. */
#include <errno.h>
#include <stdlib.h>

#include "base/conf_private.h"

/* Get the key of @pair. False if it is not a scalar. */
static bool key_of(struct conf *conf, const yaml_node_pair_t *pair, struct text *ret_key)
{
	const struct conf_node *key = conf_node_at(conf, pair->key);

	if (conf_yaml(key)->type != YAML_SCALAR_NODE)
		return false;
	*ret_key = conf_scalar(key);
	return true;
}

static const yaml_node_pair_t *find_pair(struct conf *conf, const struct conf_node *mapping,
					 const char *name)
{
	const yaml_node_t *yaml = conf_yaml(mapping);
	struct text key;

	if (yaml->type != YAML_MAPPING_NODE)
		return NULL;
	for (const yaml_node_pair_t *pair = yaml->data.mapping.pairs.start;
	     pair < yaml->data.mapping.pairs.top; pair++) {
		if (key_of(conf, pair, &key) && text_is(key, name))
			return pair;
	}
	return NULL;
}

const struct conf_node *conf_find(struct conf *conf, const struct conf_node *mapping,
				  const char *name)
{
	const yaml_node_pair_t *pair = find_pair(conf, mapping, name);

	return pair ? conf_node_at(conf, pair->value) : NULL;
}

static void unknown_option(struct conf *conf, const struct conf_schema *schema,
			   const struct conf_node *key)
{
	const char *names[64];
	size_t count = 0;

	while (count < schema->option_count && count < sizeof(names) / sizeof(names[0])) {
		names[count] = schema->options[count].name;
		count++;
	}
	conf_error_unknown(conf, key, "option", conf_scalar(key), names, count);
}

/* Report names in @mapping that are not in the table or occur twice. */
static void check_names(struct conf *conf, const struct conf_schema *schema,
			const struct conf_node *mapping)
{
	const yaml_node_t *yaml = conf_yaml(mapping);
	struct text key;

	for (const yaml_node_pair_t *pair = yaml->data.mapping.pairs.start;
	     pair < yaml->data.mapping.pairs.top && conf->message_count < CONF_MAX_MESSAGES;
	     pair++) {
		const struct conf_node *at = conf_node_at(conf, pair->key);
		size_t i = 0;

		if (!key_of(conf, pair, &key)) {
			conf_error(conf, at, "expected the name of an option, found %s",
				   conf_kind(at));
			continue;
		}
		while (i < schema->option_count && !text_is(key, schema->options[i].name))
			i++;
		if (i == schema->option_count)
			unknown_option(conf, schema, at);
		else if (find_pair(conf, mapping, schema->options[i].name) != pair)
			conf_error(conf, at, "option '%.*s' is given twice", CONF_SHOWN(key));
	}
}

/* Set an option to its default, by reading the text in the table as if it were in the file. */
static void read_standard(struct conf *conf, const struct conf_option *option, void *record)
{
	yaml_node_t scalar = {
		.type = YAML_SCALAR_NODE,
		.data.scalar = { .value = (yaml_char_t *)option->standard,
				 .length = strlen(option->standard) },
	};

	option->set(conf, (const struct conf_node *)&scalar, option, record);
}

/* Set all defaults of a mapping that is missing. */
static void read_standards(struct conf *conf, const struct conf_schema *schema, void *record)
{
	for (size_t i = 0; i < schema->option_count; i++) {
		const struct conf_option *option = &schema->options[i];

		if (option->standard)
			read_standard(conf, option, record);
		else if (option->set == conf_set_mapping)
			read_standards(conf, option->schema, (char *)record + option->offset);
	}
}

/* Read @mapping into @record. */
static void read_mapping(struct conf *conf, const struct conf_node *mapping,
			 const struct conf_schema *schema, void *record)
{
	unsigned messages = conf->message_count;

	if (conf_yaml(mapping)->type != YAML_MAPPING_NODE) {
		conf_error(conf, mapping, "expected %s, a mapping of options, but found %s",
			   schema->noun, conf_kind(mapping));
		return;
	}
	check_names(conf, schema, mapping);
	for (size_t i = 0; i < schema->option_count && conf->message_count < CONF_MAX_MESSAGES;
	     i++) {
		const struct conf_option *option = &schema->options[i];
		const struct conf_node *value = conf_find(conf, mapping, option->name);

		if (value)
			option->set(conf, value, option, record);
		else if (option->is_required)
			conf_error(conf, mapping, "%s needs the option '%s'", schema->noun,
				   option->name);
		else if (option->standard)
			read_standard(conf, option, record);
		else if (option->set == conf_set_mapping)
			read_standards(conf, option->schema, (char *)record + option->offset);
	}
	/* `finish` compares options, so each of them must be valid. */
	if (schema->finish && conf->message_count == messages)
		schema->finish(conf, mapping, record);
}

void conf_set_mapping(struct conf *conf, const struct conf_node *node,
		      const struct conf_option *option, void *record)
{
	read_mapping(conf, node, option->schema, (char *)record + option->offset);
}

/* Report options of record @last that must be unique but occur in an earlier record too. */
static void check_unique(struct conf *conf, const struct conf_node *list,
			 const struct conf_schema *schema, const char *records, int last)
{
	for (size_t o = 0; o < schema->option_count; o++) {
		const struct conf_option *option = &schema->options[o];
		const char *const *mine, *const *other;

		if (!option->is_unique)
			continue;
		mine = (const void *)(records + (size_t)last * schema->record_size +
				      option->offset);
		for (int i = 0; i < last && *mine; i++) {
			other = (const void *)(records + (size_t)i * schema->record_size +
					       option->offset);
			if (!*other || strcmp(*other, *mine))
				continue;
			conf_error(conf, conf_find(conf, conf_item(conf, list, last), option->name),
				   "there is already %s with the %s '%s'", schema->noun,
				   option->name, *mine);
			break;
		}
	}
}

void conf_set_records(struct conf *conf, const struct conf_node *node,
		      const struct conf_option *option, void *record)
{
	const struct conf_schema *schema = option->schema;
	unsigned *count = (void *)((char *)record + option->count_offset);
	char **list = (void *)((char *)record + option->offset);
	int items;

	*list = conf_new_list(conf, node, schema->record_size, &items);
	for (int i = 0; i < items; i++) {
		char *item = *list + (size_t)i * schema->record_size;

		if (schema->initial)
			memcpy(item, schema->initial, schema->record_size);
		*count = (unsigned)i + 1;
		read_mapping(conf, conf_item(conf, node, i), schema, item);
		check_unique(conf, node, schema, *list, i);
	}
}

int conf_read(struct conf *conf, const struct conf_schema *schema, void *record, void *owner)
{
	conf->owner = owner;
	read_mapping(conf, (const struct conf_node *)yaml_document_get_root_node(&conf->document),
		     schema, record);
	if (conf->no_memory)
		return -ENOMEM;
	return conf->message_count ? -EINVAL : 0;
}
