/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * conf_test: reading YAML with a small table: expansion, order, bounds, addresses. The messages for
 * each kind of value are tested in config/config_test.c.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/conf.h"

#include <arpa/inet.h>
#include <netinet/in.h>

struct record {
	char *text;
	char **list;
	unsigned list_count;
	uint64_t number;
	unsigned finished;
};

static void count_finish(struct conf *conf, const struct conf_node *mapping, void *record)
{
	struct record *r = record;

	assert_non_null(conf_find(conf, mapping, "text"));
	assert_null(conf_find(conf, mapping, "none"));
	r->finished++;
}

static const struct conf_option options[] = {
	{ .name = "text",
	  .set = conf_set_text,
	  .offset = offsetof(struct record, text),
	  .is_required = true },
	{ .name = "list",
	  .set = conf_set_texts,
	  .offset = offsetof(struct record, list),
	  .count_offset = offsetof(struct record, list_count) },
	{ .name = "number",
	  .set = conf_set_u64,
	  .offset = offsetof(struct record, number),
	  .max = 9 },
};

static const struct conf_schema schema = { CONF_SCHEMA(options), .noun = "a thing",
					   .finish = count_finish };

static int read_record(struct text yaml, struct record *ret_record, struct buf *messages)
{
	struct conf *conf = NULL;
	int err;

	*ret_record = (struct record){ 0 };
	buf_init(messages, 1 << 16);
	err = conf_parse("f", yaml, messages, &conf);
	if (!err)
		err = conf_read(conf, &schema, ret_record, NULL);
	conf_free(conf);
	return err;
}

static void record_done(struct record *r)
{
	free(r->text);
	for (unsigned i = 0; i < r->list_count; i++)
		free(r->list[i]);
	free(r->list);
}

static void references_are_expanded_once(void **state)
{
	static const struct {
		const char *yaml, *text, *why;
	} rows[] = {
		{ "text: plain", "plain", "nothing to expand" },
		{ "text: ${CONF_A}", "one", "a name" },
		{ "text: \"<${CONF_A}${CONF_A}>\"", "<oneone>", "several, between other text" },
		{ "text: '${CONF_A}'", "one", "in single quotes too" },
		{ "text: ${CONF_B}", "${CONF_A}", "what comes out is not expanded again" },
		{ "text: ${CONF_NONE:-two}", "two", "unset, with a default" },
		{ "text: ${CONF_EMPTY:-two}", "two", "empty, with a default" },
		{ "text: ${CONF_A:-two}", "one", "set, with a default" },
		{ "text: x${CONF_NONE:-}", "x", "an empty default" },
		{ "text: x${CONF_EMPTY}", "x", "empty" },
		{ "text: $CONF_A $ {CONF_A} $", "$CONF_A $ {CONF_A} $", "only ${ begins one" },
	};

	(void)state;
	setenv("CONF_A", "one", 1);
	setenv("CONF_B", "${CONF_A}", 1);
	setenv("CONF_EMPTY", "", 1);
	unsetenv("CONF_NONE");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf messages;
		struct record r;

		if (read_record(text_of(rows[i].yaml), &r, &messages) ||
		    strcmp(r.text, rows[i].text))
			fail_msg("%s: %.*s", rows[i].why, TEXT_ARG(buf_text(&messages)));
		assert_int_equal(r.finished, 1);
		record_done(&r);
		buf_done(&messages);
	}
}

static void an_expansion_is_bounded(void **state)
{
	struct buf yaml, messages;
	struct record r;
	char *large;

	(void)state;
	large = calloc(1, 100001);
	memset(large, 'x', 100000);
	setenv("CONF_LARGE", large, 1);
	free(large);
	buf_init(&yaml, 1 << 16);
	buf_append_str(&yaml, "text: ");
	for (int i = 0; i < 20; i++)
		buf_append_str(&yaml, "${CONF_LARGE}");
	assert_int_equal(read_record(buf_text(&yaml), &r, &messages), -EINVAL);
	assert_true(text_is(buf_text(&messages), "f:1:7: the value is too long\n"));
	unsetenv("CONF_LARGE");
	record_done(&r);
	buf_done(&messages);
	buf_done(&yaml);
}

static void lists_and_numbers_arrive(void **state)
{
	struct buf messages;
	struct record r;

	(void)state;
	assert_int_equal(
		read_record(TEXT("number: 9\nlist: [a, 'b c', \"d\"]\ntext: t\n"), &r, &messages),
		0);
	assert_int_equal(r.list_count, 3);
	assert_string_equal(r.list[1], "b c");
	assert_int_equal(r.number, 9);
	record_done(&r);
	buf_done(&messages);
	assert_int_equal(read_record(TEXT("{ text: t, list: [] }"), &r, &messages), 0);
	assert_int_equal(r.list_count, 0);
	record_done(&r);
	buf_done(&messages);
}

static void a_wrong_record_is_not_finished(void **state)
{
	struct buf messages;
	struct record r;

	(void)state;
	assert_int_equal(
		read_record(TEXT("{ text: t, number: 10, list: [[x], ''] }"), &r, &messages),
		-EINVAL);
	assert_int_equal(r.finished, 0);
	assert_true(
		text_is(buf_text(&messages),
			"f:1:31: expected a single value, found a list\nf:1:36: the value must not "
			"be empty\nf:1:20: '10' is not valid; use a whole number from 0 to 9\n"));
	record_done(&r);
	buf_done(&messages);
}

static void a_message_shows_no_control_bytes_and_not_all_of_a_long_text(void **state)
{
	struct buf yaml, messages;
	struct record r;

	(void)state;
	assert_int_equal(read_record(TEXT("{ text: t, \"a\\e[2J\\nb\": 1 }"), &r, &messages),
			 -EINVAL);
	assert_true(text_is(buf_text(&messages), "f:1:12: unknown option 'a?[2J?b'\n"));
	record_done(&r);
	buf_done(&messages);

	buf_init(&yaml, 1 << 20);
	buf_append_str(&yaml, "text: t\nnumber: ");
	for (int i = 0; i < 10000; i++)
		buf_append_str(&yaml, "y");
	assert_int_equal(read_record(buf_text(&yaml), &r, &messages), -EINVAL);
	assert_in_range(buf_len(&messages), 64, 150);
	record_done(&r);
	buf_done(&messages);
	buf_done(&yaml);
}

static void a_file_is_bounded(void **state)
{
	struct buf messages;
	struct record r;
	char *yaml = malloc(CONF_MAX_BYTES + 1);

	(void)state;
	memset(yaml, '\n', CONF_MAX_BYTES + 1);
	assert_int_equal(read_record((struct text){ yaml, CONF_MAX_BYTES + 1 }, &r, &messages),
			 -EINVAL);
	assert_true(text_is(buf_text(&messages), "f:1:1: the file is larger than 1048576 bytes\n"));
	buf_done(&messages);
	memcpy(yaml, "text: t", 7);
	assert_int_equal(read_record((struct text){ yaml, CONF_MAX_BYTES }, &r, &messages), 0);
	record_done(&r);
	buf_done(&messages);
	free(yaml);
}

static void addresses_have_an_ip_and_a_port(void **state)
{
	static const struct {
		const char *text, *ip;
		int err;
		unsigned port;
		const char *why;
	} rows[] = {
		{ "1.2.3.4:80", "1.2.3.4", 0, 80, "IPv4" },
		{ "[::1]:65535", "::1", 0, 65535, "IPv6" },
		{ "1.2.3.4:0", NULL, -EINVAL, 0, "port 0" },
		{ "1.2.3.4:65536", NULL, -EINVAL, 0, "port too large" },
		{ "1.2.3.4", NULL, -EINVAL, 0, "no port" },
		{ ":80", NULL, -EINVAL, 0, "no address" },
		{ "::1:80", NULL, -EINVAL, 0, "IPv6 without brackets" },
		{ "[1.2.3.4]:80", NULL, -EINVAL, 0, "IPv4 with brackets" },
		{ "[::1:80", NULL, -EINVAL, 0, "half a pair of brackets" },
		{ "[]:80", NULL, -EINVAL, 0, "empty brackets" },
		{ "localhost:80", NULL, -EINVAL, 0, "a name" },
		{ "1.2.3.4:8o", NULL, -EINVAL, 0, "no number" },
		{ "", NULL, -EINVAL, 0, "nothing" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct sockaddr_storage address = { 0 };
		char ip[INET6_ADDRSTRLEN];
		const struct sockaddr_in6 *in6 = (const void *)&address;
		const struct sockaddr_in *in = (const void *)&address;

		if (conf_parse_address(text_of(rows[i].text), &address) != rows[i].err)
			fail_msg("'%s': %s", rows[i].text, rows[i].why);
		if (rows[i].err)
			continue;
		inet_ntop(address.ss_family,
			  address.ss_family == AF_INET ? (const void *)&in->sin_addr
						       : &in6->sin6_addr,
			  ip, sizeof(ip));
		assert_string_equal(ip, rows[i].ip);
		assert_int_equal(ntohs(in->sin_port), rows[i].port); /* at the same place in both */
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(references_are_expanded_once),
		cmocka_unit_test(an_expansion_is_bounded),
		cmocka_unit_test(lists_and_numbers_arrive),
		cmocka_unit_test(a_wrong_record_is_not_finished),
		cmocka_unit_test(a_message_shows_no_control_bytes_and_not_all_of_a_long_text),
		cmocka_unit_test(a_file_is_bounded),
		cmocka_unit_test(addresses_have_an_ip_and_a_port),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
