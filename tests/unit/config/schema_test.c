/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * schema_test: the parser's tables, the JSON Schema and the annotated sample have the same options.
 * Run it in the top folder of the tree, as `make test-unit` does.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "config/parts.h"

#include <jansson.h>

#define SCHEMA_FILE "scripts/tollgate.schema.json"
#define SAMPLE_FILE "scripts/tollgate.yaml"

static const struct conf_option *find_option(const struct conf_schema *schema, const char *name)
{
	for (size_t i = 0; i < schema->option_count; i++) {
		if (!strcmp(schema->options[i].name, name))
			return &schema->options[i];
	}
	return NULL;
}

static bool is_listed(json_t *names, const char *name)
{
	size_t i;
	json_t *item;

	json_array_foreach (names, i, item) {
		if (!strcmp(json_string_value(item), name))
			return true;
	}
	return false;
}

/* Check that the schema has the same default as the table. */
static void expect_default(const struct conf_schema *schema, const struct conf_option *option,
			   const json_t *value)
{
	char text[64] = "";

	if (json_is_string(value))
		snprintf(text, sizeof(text), "%s", json_string_value(value));
	else if (json_is_integer(value))
		snprintf(text, sizeof(text), "%lld", (long long)json_integer_value(value));
	else if (value)
		snprintf(text, sizeof(text), "%s", json_is_true(value) ? "true" : "false");
	if (!value != !option->standard || (value && strcmp(text, option->standard)))
		fail_msg("%s: the default of '%s' is '%s' in the schema and '%s' in the table",
			 schema->noun, option->name, value ? text : "none",
			 option->standard ? option->standard : "none");
}

/* Compare a mapping in both directions, and the mappings in it. Returns the number of options. */
static unsigned compare(const struct conf_schema *schema, json_t *object)
{
	json_t *properties = json_object_get(object, "properties"), *property;
	unsigned seen = 0;
	const char *name;

	assert_true(json_is_false(json_object_get(object, "additionalProperties")));
	json_object_foreach (properties, name, property) {
		if (!find_option(schema, name))
			fail_msg("%s: the parser does not know the schema's '%s'", schema->noun,
				 name);
		if (!json_is_string(json_object_get(property, "description")))
			fail_msg("%s: '%s' has no description", schema->noun, name);
	}
	for (size_t i = 0; i < schema->option_count; i++) {
		const struct conf_option *option = &schema->options[i];

		property = json_object_get(properties, option->name);
		if (!property)
			fail_msg("%s: the schema has no '%s'", schema->noun, option->name);
		if (option->is_required !=
		    is_listed(json_object_get(object, "required"), option->name))
			fail_msg("%s: they differ in whether '%s' is required", schema->noun,
				 option->name);
		expect_default(schema, option, json_object_get(property, "default"));
		seen++;
		if (option->schema)
			seen += compare(option->schema, json_object_get(property, "items")
								? json_object_get(property, "items")
								: property);
	}
	return seen;
}

static void schema_and_parser_have_the_same_options(void **state)
{
	json_error_t error;
	json_t *schema = json_load_file(SCHEMA_FILE, JSON_REJECT_DUPLICATES, &error);

	(void)state;
	if (!schema)
		fail_msg("%s:%d: %s", SCHEMA_FILE, error.line, error.text);
	assert_in_range(compare(&config_schema, schema), 60, 200);
	json_decref(schema);
}

static struct config *parse(struct text yaml)
{
	struct config *config = NULL;
	struct buf messages;

	buf_init(&messages, 1 << 16);
	if (config_parse(SAMPLE_FILE, yaml, &config, &messages))
		fail_msg("%.*s", TEXT_ARG(buf_text(&messages)));
	buf_done(&messages);
	return config;
}

static bool is_option_line(const char *line)
{
	while (*line == ' ')
		line++;
	if (*line != '#')
		return false;
	line++;
	if (*line < 'a' || *line > 'z')
		return false;
	line += strspn(line, "abcdefghijklmnopqrstuvwxyz_");
	return *line == ':';
}

/* Copy the sample without the '#' before options that are commented out. */
static void uncomment(struct text sample, struct buf *out)
{
	bool drop = false;

	for (size_t i = 0; i < sample.len; i++) {
		if (!i || sample.ptr[i - 1] == '\n')
			drop = is_option_line(sample.ptr + i);
		if (drop && sample.ptr[i] == '#')
			drop = false;
		else
			buf_append(out, sample.ptr + i, 1);
	}
	buf_append(out, "", 1);
}

static void expect_in_sample(const struct conf_schema *schema, const char *sample)
{
	for (size_t i = 0; i < schema->option_count; i++) {
		char pattern[80];

		snprintf(pattern, sizeof(pattern), "%s:", schema->options[i].name);
		if (!strstr(sample, pattern))
			fail_msg("the sample does not mention '%s' of %s", pattern, schema->noun);
		if (schema->options[i].schema)
			expect_in_sample(schema->options[i].schema, sample);
	}
}

/* The folder of templates must exist, so replace it by "/". */
static void replace_templates_folder(char *full)
{
	static const char folder[] = "/etc/tollgate/templates";
	char *at = strstr(full, folder);

	assert_non_null(at);
	memset(at + 1, ' ', sizeof(folder) - 2);
}

static void the_sample_loads_and_shows_every_option_and_its_default(void **state)
{
	struct buf content, full, messages;
	struct config *sample, *all;

	(void)state;
	buf_init(&content, 1 << 20);
	buf_init(&full, 1 << 20);
	buf_init(&messages, 4096);
	assert_int_equal(conf_read_file(SAMPLE_FILE, &content, &messages), 0);
	buf_append(&content, "", 1);
	content.end--; /* is_option_line() needs the NUL */
	uncomment(buf_text(&content), &full);
	expect_in_sample(&config_schema, buf_head(&full));
	replace_templates_folder(buf_head(&full));

	sample = parse(buf_text(&content));
	all = parse((struct text){ buf_head(&full), buf_len(&full) - 1 });
	assert_int_equal(sample->tiers.count, 2);
	assert_int_equal(sample->routes.count, 3);
	/* The values shown as defaults are the defaults. */
	assert_memory_equal(&sample->limits, &all->limits, sizeof(all->limits));
	assert_memory_equal(&sample->fastpath, &all->fastpath, sizeof(all->fastpath));
	assert_int_equal(sample->upstreams[0].connect_ms, all->upstreams[0].connect_ms);
	assert_int_equal(sample->upstreams[0].answer_ms, all->upstreams[0].answer_ms);
	assert_int_equal(sample->upstreams[0].body_ms, all->upstreams[0].body_ms);
	assert_int_equal(sample->upstreams[0].idle_ms, all->upstreams[0].idle_ms);
	assert_int_equal(sample->upstreams[0].max_idle, all->upstreams[0].max_idle);
	assert_int_equal(sample->upstreams[0].max_connections, all->upstreams[0].max_connections);
	assert_int_equal(sample->max_stale_ms, all->max_stale_ms);
	assert_int_equal(sample->refuse_when_stale, all->refuse_when_stale);
	assert_int_equal(sample->max_accounts, all->max_accounts);
	assert_int_equal(sample->drain_ms, all->drain_ms);
	assert_int_equal(sample->workers, all->workers);
	assert_int_equal(sample->log, all->log);
	assert_string_equal(sample->store, all->store);
	assert_string_equal(sample->state_dir, all->state_dir);
	assert_string_equal(sample->pepper_file, all->pepper_file);
	assert_string_equal(sample->admin_socket, all->admin_socket);
	assert_string_equal(sample->instance, all->instance);
	assert_string_equal(sample->key_prefix, all->key_prefix);
	assert_int_equal(sample->count_below, all->count_below);
	assert_int_equal(sample->stripe.grace_ms, all->stripe.grace_ms);
	assert_int_equal(sample->stripe.report_every_ms, all->stripe.report_every_ms);
	assert_int_equal(sample->stripe.reconcile_every_ms, all->stripe.reconcile_every_ms);
	assert_int_equal(sample->stripe.tolerance_ms, all->stripe.tolerance_ms);
	assert_int_equal(sample->stripe.calls_per_second, all->stripe.calls_per_second);
	assert_int_equal(sample->stripe.livemode, all->stripe.livemode);
	assert_string_equal(sample->stripe.api_base, all->stripe.api_base);
	assert_string_equal(sample->stripe.api_version, all->stripe.api_version);
	assert_string_equal(sample->stripe.webhook_path, all->stripe.webhook_path);
	assert_string_equal(sample->stripe.portal_path, all->stripe.portal_path);
	assert_int_equal(sample->notices.before_grace_end_ms, all->notices.before_grace_end_ms);
	assert_int_equal(sample->notices.smtp_tls, all->notices.smtp_tls);
	config_free(sample);
	config_free(all);
	buf_done(&content);
	buf_done(&full);
	buf_done(&messages);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(schema_and_parser_have_the_same_options),
		cmocka_unit_test(the_sample_loads_and_shows_every_option_and_its_default),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
