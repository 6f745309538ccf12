/* SPDX-License-Identifier: BSD-2-Clause */
/* portal_options_test: which origins of web sites are accepted in stripe.checkout_origins. */
#include "unit/config/config_fixture.h"

#include <stdio.h>
#include <string.h>

static struct config *parse_origin(const char *origin, int *ret_err)
{
	struct config *config;
	struct buf messages;
	char yaml[512];

	snprintf(yaml, sizeof(yaml),
		 "listeners: [{ name: a, address: \"127.0.0.1:80\" }]\n"
		 "stripe: { secret_key: sk_test_1, app_url: \"https://api.example.com\",\n"
		 "  webhook_secrets: [whsec_1], checkout_origins: [\"%s\"] }\n",
		 origin);
	config = parse(yaml, &messages, ret_err);
	if (*ret_err && !memmem(buf_head(&messages), buf_len(&messages), "is not a valid origin",
				strlen("is not a valid origin")))
		fail_msg("%s: another error: %.*s", origin, TEXT_ARG(buf_text(&messages)));
	buf_done(&messages);
	return config;
}

static void origins_are_accepted_as_browsers_send_them(void **state)
{
	static const char *const origins[] = {
		"https://www.example.com",
		"https://www.example.com:8443",
		"http://localhost:3000",
		"http://127.0.0.1:1",
		"http://[::1]:8080",
		"https://[2001:db8::1]",
		"https://xn--bcher-kva.example",
		"https://a.example:65535",
		"https://a.example:80",
		"http://a.example:443",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(origins) / sizeof(origins[0]); i++) {
		int err;
		struct config *config = parse_origin(origins[i], &err);

		if (err)
			fail_msg("%s: refused", origins[i]);
		assert_int_equal(config->stripe.checkout_origin_count, 1);
		assert_string_equal(config->stripe.checkout_origins[0], origins[i]);
		config_free(config);
	}
}

/* None of these would ever equal what a browser sends. */
static void other_origins_are_refused(void **state)
{
	static const struct {
		const char *origin, *why;
	} cases[] = {
		{ "*", "all sites" },
		{ "null", "a page without an origin" },
		{ "www.example.com", "no scheme" },
		{ "ftp://www.example.com", "another scheme" },
		{ "HTTPS://www.example.com", "a scheme in capitals" },
		{ "https://www.Example.com", "a host in capitals" },
		{ "https://", "no host" },
		{ "https://:8443", "a port without a host" },
		{ "https://a.example/", "a path" },
		{ "https://a.example?x", "a query" },
		{ "https://a.example#x", "a fragment" },
		{ "https://user@a.example", "a user" },
		{ "https://*.a.example", "a pattern" },
		{ "https://a.example:", "no port" },
		{ "https://a.example:443", "the usual port" },
		{ "http://a.example:80", "the usual port of http" },
		{ "https://a.example:0443", "a port with a leading zero" },
		{ "https://a.example:0", "port 0" },
		{ "https://a.example:65536", "too large a port" },
		{ "https://a.example:8o", "a port with a letter" },
		{ "https://a.example:1:2", "two ports" },
		{ "https://[::1", "an address that is not closed" },
		{ "https://[]", "an empty address" },
		{ "https://[[::1]", "an address with two brackets" },
		{ "https://[::1]8080", "a port without a colon" },
		{ "https://b\xc3\xbc"
		  "cher.example",
		  "a name that is not encoded" },
		{ "https://a.example, https://b.example", "two in one" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int err;

		parse_origin(cases[i].origin, &err);
		if (!err)
			fail_msg("%s: accepted", cases[i].why);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(origins_are_accepted_as_browsers_send_them),
		cmocka_unit_test(other_origins_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
