/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * stripe_options_test: the sections `stripe` and `notices`: the exact messages for invalid values,
 * values and defaults, the paths that tollgate serves itself, and that no message shows a secret.
 */
#include "unit/config/config_fixture.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LISTENER "listeners: [{ name: a, address: \"127.0.0.1:80\" }]\n"
#define STRIPE	 LISTENER "stripe:\n  secret_key: sk_test_1\n" /* the next line is 4 */
#define NOTICES	 LISTENER "notices:\n"			       /* the next line is 3 */
#define SECRET	 "sEcReT-0123456789"			       /* part of every secret */

#define X16(s)	s s s s s s s s s s s s s s s s
#define LONGEST X16(X16("0123456789abcdef")) /* 4096 bytes */

static const struct {
	const char *name, *content;
} files[] = {
	{ "key", SECRET },
	{ "key-with-newline", SECRET " \t\r\n\n" },
	{ "key-of-two-lines", SECRET "\n" SECRET "\n" },
	{ "key-with-space", SECRET " " SECRET "\n" },
	{ "key-behind-space", " " SECRET },
	{ "key-with-control", SECRET "\001" },
	{ "empty", "" },
	{ "longest", LONGEST },
	{ "too-long", LONGEST "x" },
	{ "newline", "\n" },
	{ "wrong/trial_ending.txt", "Subject: {{nothing_like_it}}\n\ntext\n" },
	{ "headless/trial_ending.txt", "Dear customer\n" },
	{ "right/trial_ending.txt", "Subject: Soon\n\nDear customer\n" },
};

static int enter_folder(void **state)
{
	static char folder[] = "/tmp/tollgate-config-XXXXXX";

	*state = folder;
	if (!mkdtemp(folder) || chdir(folder) || mkdir("wrong", 0700) || mkdir("headless", 0700) ||
	    mkdir("right", 0700))
		return -1;
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		FILE *file = fopen(files[i].name, "w");

		if (!file || fputs(files[i].content, file) < 0 || fclose(file))
			return -1;
	}
	return 0;
}

static int leave_folder(void **state)
{
	int err = 0;

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		err |= unlink(files[i].name);
	return err | rmdir("wrong") | rmdir("headless") | rmdir("right") | chdir("/") |
	       rmdir(*state);
}

#define CHECK_WRONG(rows) check_wrong(rows, sizeof(rows) / sizeof((rows)[0]), SECRET)

static void an_invalid_secret_is_reported_but_not_shown(void **state)
{
	static const struct wrong rows[] = {
		{ LISTENER "stripe: { api_version: x }\n",
		  "t.yaml:2:9: stripe needs the option 'secret_key' or 'secret_key_file'\n",
		  "no key" },
		{ LISTENER "stripe: { secret_key: " SECRET ", secret_key_file: key }\n",
		  "t.yaml:2:59: set the secret itself or its file, not both\n",
		  "both, the key first" },
		{ LISTENER "stripe: { secret_key_file: key, secret_key: " SECRET " }\n",
		  "t.yaml:2:28: set the secret itself or its file, not both\n",
		  "both, the file first" },
		{ LISTENER "stripe: { secret_key: \"\" }\n",
		  "t.yaml:2:23: a secret must have 1 to 4096 printable ASCII characters and no "
		  "spaces\n",
		  "an empty key" },
		{ LISTENER "stripe: { secret_key: \"" SECRET " " SECRET "\" }\n",
		  "t.yaml:2:23: a secret must have 1 to 4096 printable ASCII characters and no "
		  "spaces\n",
		  "a space in it" },
		{ LISTENER "stripe: { secret_key: \"" SECRET "\\u00e9\" }\n",
		  "t.yaml:2:23: a secret must have 1 to 4096 printable ASCII characters and no "
		  "spaces\n",
		  "not ASCII" },
		{ LISTENER "stripe: { secret_key: [" SECRET "] }\n",
		  "t.yaml:2:23: expected a single value, found a list\n", "a list" },
		{ LISTENER "stripe: { secret_key_file: missing }\n",
		  "t.yaml:2:28: missing: No such file or directory\n", "no such file" },
		{ LISTENER "stripe: { secret_key_file: right }\n",
		  "t.yaml:2:28: right: Is a directory\n", "a folder" },
		{ LISTENER "stripe: { secret_key_file: empty }\n",
		  "t.yaml:2:28: empty does not contain a valid secret, which has printable ASCII "
		  "characters and no spaces\n",
		  "an empty file" },
		{ LISTENER "stripe: { secret_key_file: too-long }\n",
		  "t.yaml:2:28: too-long: the file is larger than 4096 bytes\n", "4097 bytes" },
		{ LISTENER "stripe: { secret_key_file: newline }\n",
		  "t.yaml:2:28: newline does not contain a valid secret, which has printable ASCII "
		  "characters and no spaces\n",
		  "only a newline" },
		{ LISTENER "stripe: { secret_key_file: key-with-space }\n",
		  "t.yaml:2:28: key-with-space does not contain a valid secret, which has "
		  "printable ASCII characters and no spaces\n",
		  "a space within" },
		{ LISTENER "stripe: { secret_key_file: key-behind-space }\n",
		  "t.yaml:2:28: key-behind-space does not contain a valid secret, which has "
		  "printable ASCII characters and no spaces\n",
		  "a space before" },
		{ LISTENER "stripe: { secret_key_file: key-of-two-lines }\n",
		  "t.yaml:2:28: key-of-two-lines does not contain a valid secret, which has "
		  "printable ASCII characters and no spaces\n",
		  "two lines" },
		{ LISTENER "stripe: { secret_key_file: key-with-control }\n",
		  "t.yaml:2:28: key-with-control does not contain a valid secret, which has "
		  "printable ASCII characters and no spaces\n",
		  "a control character" },
		{ STRIPE "  webhook_secrets: [whsec_1, \"" SECRET " \"]\n",
		  "t.yaml:4:30: a secret must have 1 to 4096 printable ASCII characters and no "
		  "spaces\n",
		  "a wrong webhook secret" },
		{ STRIPE "  webhook_secrets: [\"\"]\n",
		  "t.yaml:4:21: a secret must have 1 to 4096 printable ASCII characters and no "
		  "spaces\n",
		  "an empty webhook secret" },
		{ STRIPE "  webhook_secret_files: [key, key-with-space, missing]\n",
		  "t.yaml:4:31: key-with-space does not contain a valid secret, which has "
		  "printable ASCII characters and no spaces\nt.yaml:4:47: missing: No such file or "
		  "directory\n",
		  "wrong files of webhook secrets" },
		{ STRIPE "  webhook_secret: " SECRET "\n",
		  "t.yaml:4:3: unknown option 'webhook_secret', did you mean 'webhook_secrets'?\n",
		  "a misspelled option" },
	};

	(void)state;
	CHECK_WRONG(rows);
}

static void invalid_values_for_the_pages_are_reported(void **state)
{
	static const struct wrong rows[] = {
		{ STRIPE "  product_name: \"\"\n",
		  "t.yaml:4:17: not a valid product name; use 1 to 80 bytes without control "
		  "characters\n",
		  "no name" },
		{ STRIPE "  terms_url: help@example.com\n",
		  "t.yaml:4:14: 'help@example.com' is not a valid URL; use for example "
		  "https://example.com/terms\n",
		  "a mail address, but not for support" },
		{ STRIPE "  support_url: javascript:alert(1)\n",
		  "t.yaml:4:16: 'javascript:alert(1)' is not a valid URL; use for example "
		  "https://example.com/help or help@example.com\n",
		  "neither a URL nor an address" },
		{ STRIPE "  checkout_origins: [\"*\"]\n",
		  "t.yaml:4:22: '*' is not a valid origin; use for example "
		  "https://www.example.com, without a path\n",
		  "all sites" },
		{ STRIPE "  checkout_origins: [https://a.example, https://b.example/shop]\n",
		  "t.yaml:4:41: 'https://b.example/shop' is not a valid origin; use for example "
		  "https://www.example.com, without a path\n",
		  "a path" },
		{ STRIPE "  checkout_origins: [https://A.example, https://b.example:443]\n",
		  "t.yaml:4:22: 'https://A.example' is not a valid origin; use for example "
		  "https://www.example.com, without a path\n"
		  "t.yaml:4:41: 'https://b.example:443' is not a valid origin; use for example "
		  "https://www.example.com, without a path\n",
		  "not as browsers write them" },
	};

	(void)state;
	CHECK_WRONG(rows);
}

static void invalid_values_of_stripe_are_reported(void **state)
{
	static const struct wrong rows[] = {
		{ STRIPE "  api_base: http://stripe.example.com\n",
		  "t.yaml:4:13: http is allowed only for loopback addresses; use https\n",
		  "http to a remote host" },
		{ STRIPE "  api_base: http://127.0.0.1.example.com\n",
		  "t.yaml:4:13: http is allowed only for loopback addresses; use https\n",
		  "begins like a loopback address" },
		{ STRIPE "  api_base: http://localhost.example.com/v1\n",
		  "t.yaml:4:13: http is allowed only for loopback addresses; use https\n",
		  "begins like localhost" },
		{ STRIPE "  api_base: ftp://stripe.example.com\n",
		  "t.yaml:4:13: 'ftp://stripe.example.com' is not a valid URL; use for example "
		  "https://host/path\n",
		  "another scheme" },
		{ STRIPE "  api_base: https://\n",
		  "t.yaml:4:13: 'https://' is not a valid URL; use for example https://host/path\n",
		  "no host" },
		{ STRIPE "  api_base: \"https://a b\"\n",
		  "t.yaml:4:13: 'https://a b' is not a valid URL; use for example "
		  "https://host/path\n",
		  "a space" },
		{ STRIPE "  report: usage_records\n",
		  "t.yaml:4:11: Stripe removed usage records in 2025-03-31.basil; use "
		  "meter_events, or set an earlier 'api_version'\n",
		  "usage records with the newest version" },
		{ STRIPE "  report: usage_records\n  api_version: 2025-03-31.basil\n",
		  "t.yaml:4:11: Stripe removed usage records in 2025-03-31.basil; use "
		  "meter_events, or set an earlier 'api_version'\n",
		  "the first version without them" },
		{ STRIPE "  payment_method_types: [card]\n",
		  "t.yaml:4:25: Stripe removed payment_method_types from Checkout in "
		  "2026-09-30.endive; remove the option and choose the payment methods in "
		  "Stripe's dashboard, or set an earlier 'api_version'\n",
		  "payment method types with the newest version" },
		{ STRIPE "  api_version: 2026-09-30.endive\n  payment_method_types: [card]\n",
		  "t.yaml:5:25: Stripe removed payment_method_types from Checkout in "
		  "2026-09-30.endive; remove the option and choose the payment methods in "
		  "Stripe's dashboard, or set an earlier 'api_version'\n",
		  "the first version without them" },
		{ STRIPE "  report: both\n",
		  "t.yaml:4:11: 'both' is not valid; use meter_events or usage_records\n",
		  "no such report" },
		{ STRIPE "  report_every: 30s\n",
		  "t.yaml:4:17: the duration must be from 1m to 1d\n", "too often" },
		{ STRIPE "  report_every: 25h\n",
		  "t.yaml:4:17: the duration must be from 1m to 1d\n", "too rarely" },
		{ STRIPE "  report_every: 90500ms\n",
		  "t.yaml:4:17: the duration must be a whole number of seconds\n",
		  "half a second" },
		{ STRIPE "  metadata: [source]\n",
		  "t.yaml:4:13: 'source' is not valid; use name=value, with a name of up to 40 "
		  "bytes\n",
		  "no value" },
		{ STRIPE "  metadata: [a=b, =c]\n",
		  "t.yaml:4:13: '=c' is not valid; use name=value, with a name of up to 40 bytes\n",
		  "no name" },
		{ STRIPE "  metadata: [a234567890b234567890c234567890d234567890e=1]\n",
		  "t.yaml:4:13: 'a234567890b234567890c234567890d234567890e=1' is not valid; use "
		  "name=value, with a name of up to 40 bytes\n",
		  "41 bytes of name" },
		{ STRIPE "  app_url: app.example.com\n",
		  "t.yaml:4:12: 'app.example.com' is not a valid URL; use for example "
		  "https://host/path\n",
		  "no scheme" },
		{ STRIPE "  livemode: maybe\n",
		  "t.yaml:4:13: 'maybe' is not valid; use auto, true or false\n", "no such mode" },
		{ STRIPE "  tolerance: 500ms\n",
		  "t.yaml:4:14: the duration must be from 1s to 1d\n",
		  "less than a signature's resolution" },
		{ STRIPE "  grace: 366d\n", "t.yaml:4:10: the duration must be from 0ms to 365d\n",
		  "more than a year" },
		{ STRIPE "  calls_per_second: 0\n",
		  "t.yaml:4:21: '0' is not valid; use a whole number from 1 to 1000\n", "never" },
		{ STRIPE "  reconcile_every: 30s\n",
		  "t.yaml:4:20: the duration must be from 1m to 7d\n", "all the time" },
		{ STRIPE "  on_pause_collection: suspend\n",
		  "t.yaml:4:24: 'suspend' is not valid; use allow or refuse\n",
		  "another option's word" },
		{ STRIPE "  on_dispute: refuse\n",
		  "t.yaml:4:15: 'refuse' is not valid; use notify or suspend\n",
		  "another option's word" },
	};

	(void)state;
	CHECK_WRONG(rows);
}

static void invalid_paths_of_stripe_are_reported(void **state)
{
	static const struct wrong rows[] = {
		{ STRIPE "  webhook_path: webhooks\n",
		  "t.yaml:4:17: 'webhooks' is not a valid path; use for example /webhooks/stripe, "
		  "without escapes or a '/' at the end\n",
		  "no slash" },
		{ STRIPE "  webhook_path: /webhooks/\n",
		  "t.yaml:4:17: '/webhooks/' is not a valid path; use for example "
		  "/webhooks/stripe, without escapes or a '/' at the end\n",
		  "a slash at the end" },
		{ STRIPE "  webhook_path: /\n",
		  "t.yaml:4:17: '/' is not a valid path; use for example /webhooks/stripe, without "
		  "escapes or a '/' at the end\n",
		  "all paths" },
		{ STRIPE "  webhook_path: \"\"\n",
		  "t.yaml:4:17: '' is not a valid path; use for example /webhooks/stripe, without "
		  "escapes or a '/' at the end\n",
		  "none" },
		{ STRIPE "  webhook_path: /a/../b\n",
		  "t.yaml:4:17: '/a/../b' is not a valid path; use for example /webhooks/stripe, "
		  "without escapes or a '/' at the end\n",
		  "dot segments" },
		{ STRIPE "  webhook_path: /a%2fb\n",
		  "t.yaml:4:17: '/a%2fb' is not a valid path; use for example /webhooks/stripe, "
		  "without escapes or a '/' at the end\n",
		  "an encoded slash" },
		{ STRIPE "  webhook_path: /a%20b\n",
		  "t.yaml:4:17: '/a%20b' is not a valid path; use for example /webhooks/stripe, "
		  "without escapes or a '/' at the end\n",
		  "an encoded space" },
		{ STRIPE "  webhook_path: /a?b\n",
		  "t.yaml:4:17: '/a?b' is not a valid path; use for example /webhooks/stripe, "
		  "without escapes or a '/' at the end\n",
		  "a query" },
		{ STRIPE "  portal_path: billing\n",
		  "t.yaml:4:16: 'billing' is not a valid path; use for example /webhooks/stripe, "
		  "without escapes or a '/' at the end\n",
		  "a prefix without slash" },
	};

	(void)state;
	CHECK_WRONG(rows);
}

static void invalid_values_of_notices_are_reported(void **state)
{
	static const struct wrong rows[] = {
		{ NOTICES "  webhook: { url: \"https://example.com/h\" }\n",
		  "t.yaml:3:12: a webhook needs the option 'secret' or 'secret_file' to be "
		  "signed\n",
		  "unsigned" },
		{ NOTICES "  webhook: { secret: " SECRET " }\n",
		  "t.yaml:3:12: webhook needs the option 'url'\n", "to nobody" },
		{ NOTICES "  webhook: { url: \"http://example.com/h\", secret: " SECRET " }\n",
		  "t.yaml:3:19: http is allowed only for loopback addresses; use https\n",
		  "http to a remote host" },
		{ NOTICES "  webhook: { url: \"https://example.com/h\", secret: " SECRET
			  ", secret_file: key }\n",
		  "t.yaml:3:84: set the secret itself or its file, not both\n", "two secrets" },
		{ NOTICES "  smtp: { from: a@example.com }\n",
		  "t.yaml:3:9: smtp needs the option 'server'\n", "no server" },
		{ NOTICES "  smtp: { server: \"m:25\" }\n",
		  "t.yaml:3:9: smtp needs the option 'from'\n", "from nobody" },
		{ NOTICES "  smtp: { server: \"m:25\", from: a@example.com, user: ann }\n",
		  "t.yaml:3:9: smtp needs both a user and a password, or neither\n",
		  "no password" },
		{ NOTICES "  smtp: { server: \"m:25\", from: a@example.com, password: " SECRET
			  " }\n",
		  "t.yaml:3:9: smtp needs both a user and a password, or neither\n", "no user" },
		{ NOTICES "  smtp: { server: \"m:25\", from: a@example.com, user: ann, "
			  "password_file: key-with-space }\n",
		  "t.yaml:3:74: key-with-space does not contain a valid secret, which has "
		  "printable ASCII characters and no spaces\n",
		  "a password with a space" },
		{ NOTICES "  smtp: { server: \"m:25\", from: example.com }\n",
		  "t.yaml:3:33: 'example.com' is not a valid mail address; use for example "
		  "billing@example.com\n",
		  "no address" },
		{ NOTICES "  smtp: { server: \"m:25\", from: \"Ann <a@example.com>\" }\n",
		  "t.yaml:3:33: 'Ann <a@example.com>' is not a valid mail address; use for example "
		  "billing@example.com\n",
		  "a name beside it" },
		{ NOTICES "  smtp: { server: \"m:25\", from: \"a@b\\r\\nBcc: c@d\" }\n",
		  "t.yaml:3:33: the value contains a control character\n", "another header in it" },
		{ NOTICES "  smtp: { server: \"m:25\", from: a@b, tls: maybe }\n",
		  "t.yaml:3:43: 'maybe' is not valid; use starttls, tls or none\n",
		  "no such security" },
		{ NOTICES "  templates: wrong\n",
		  "t.yaml:3:14: trial_ending.txt: unknown placeholder: nothing_like_it\n",
		  "an unknown placeholder" },
		{ NOTICES "  templates: headless\n",
		  "t.yaml:3:14: trial_ending.txt: the first line must be 'Subject: ...'\n",
		  "no subject" },
		{ NOTICES "  templates: missing\n",
		  "t.yaml:3:14: missing is not a readable folder\n", "no such folder" },
		{ NOTICES "  before_grace_end: 31d\n",
		  "t.yaml:3:21: the duration must be from 0ms to 30d\n",
		  "longer than anyone's grace" },
	};

	(void)state;
	CHECK_WRONG(rows);
}

static void missing_options_have_defaults(void **state)
{
	struct config *c = parse_ok(STRIPE);
	const struct stripe_settings *s = &c->stripe;

	(void)state;
	assert_true(s->is_configured);
	assert_string_equal(s->secret_key, "sk_test_1");
	assert_int_equal(s->webhook_secret_count, 0);
	assert_string_equal(s->webhook_path, "/webhooks/stripe");
	assert_string_equal(s->portal_path, "");
	assert_string_equal(s->api_base, "https://api.stripe.com");
	assert_string_equal(s->api_version, "2026-10-28.endive");
	assert_int_equal(s->calls_per_second, 25);
	assert_int_equal(s->livemode, STRIPE_LIVEMODE_BY_KEY);
	assert_int_equal(s->tolerance_ms, 300000);
	assert_int_equal(s->grace_ms, 7 * 86400000);
	assert_int_equal(s->reconcile_every_ms, 6 * 3600000);
	assert_false(s->refuse_when_paused);
	assert_false(s->suspend_on_dispute);
	assert_null(s->app_url);
	assert_null(s->success_url);
	assert_null(s->cancel_url);
	assert_int_equal(s->metadata_count, 1);
	assert_string_equal(s->metadata[0], "source=api_subscription");
	assert_int_equal(s->payment_method_type_count, 0);
	assert_int_equal(s->report, STRIPE_METER_EVENTS);
	assert_int_equal(s->report_every_ms, 3600000);
	assert_null(c->notices.smtp_server);
	assert_null(c->notices.hook_url);
	assert_null(c->notices.templates);
	assert_int_equal(c->notices.before_grace_end_ms, 2 * 86400000);
	config_free(c);
}

static void values_of_stripe_are_stored(void **state)
{
	struct config *c = parse_ok(
		LISTENER "stripe:\n  secret_key_file: key-with-newline\n"
			 "  webhook_secrets: [whsec_1, whsec_2]\n  webhook_secret_files: [key]\n"
			 "  webhook_path: /hook\n  portal_path: /billing\n"
			 "  api_base: http://127.0.0.1:12111/\n  api_version: 2024-06-20\n"
			 "  calls_per_second: 80\n  livemode: true\n  tolerance: 1m\n  grace: 0s\n"
			 "  reconcile_every: 1h\n  on_pause_collection: refuse\n"
			 "  on_dispute: suspend\n  app_url: https://api.example.com//\n"
			 "  success_url: https://example.com/thanks\n"
			 "  cancel_url: https://example.com/pity\n  metadata: [a=b, c=d=e]\n"
			 "  payment_method_types: [card]\n  report: usage_records\n"
			 "  report_every: 90s\n");
	const struct stripe_settings *s = &c->stripe;

	(void)state;
	assert_string_equal(s->secret_key, SECRET);
	assert_int_equal(s->webhook_secret_count, 3);
	assert_string_equal(s->webhook_secrets[1], "whsec_2");
	assert_string_equal(s->webhook_secrets[2], SECRET);
	assert_string_equal(s->webhook_path, "/hook");
	assert_string_equal(s->portal_path, "/billing");
	assert_string_equal(s->api_base, "http://127.0.0.1:12111");
	assert_string_equal(s->api_version, "2024-06-20");
	assert_int_equal(s->calls_per_second, 80);
	assert_int_equal(s->livemode, STRIPE_LIVEMODE_TRUE);
	assert_int_equal(s->tolerance_ms, 60000);
	assert_int_equal(s->grace_ms, 0);
	assert_int_equal(s->reconcile_every_ms, 3600000);
	assert_true(s->refuse_when_paused);
	assert_true(s->suspend_on_dispute);
	assert_string_equal(s->app_url, "https://api.example.com");
	assert_string_equal(s->success_url, "https://example.com/thanks");
	assert_string_equal(s->cancel_url, "https://example.com/pity");
	assert_int_equal(s->metadata_count, 2);
	assert_string_equal(s->metadata[1], "c=d=e");
	assert_int_equal(s->payment_method_type_count, 1);
	assert_string_equal(s->payment_method_types[0], "card");
	assert_int_equal(s->report, STRIPE_USAGE_RECORDS);
	assert_int_equal(s->report_every_ms, 90000);
	config_free(c);
}

static void a_secret_file_may_have_4096_bytes(void **state)
{
	struct config *c = parse_ok(LISTENER "stripe: { secret_key_file: longest }\n");

	(void)state;
	assert_string_equal(c->stripe.secret_key, LONGEST);
	config_free(c);
}

static void values_of_notices_are_stored(void **state)
{
	struct config *c = parse_ok(
		NOTICES "  smtp: { server: \"mail.example.com:465\", tls: tls, user: ann,\n"
			"    password_file: key, ca_file: ca.pem, from: billing@example.com }\n"
			"  webhook: { url: \"https://example.com/h\", secret: s1 }\n"
			"  templates: right\n  before_grace_end: 1d\n");
	const struct notice_settings *n = &c->notices;

	(void)state;
	assert_string_equal(n->smtp_server, "mail.example.com:465");
	assert_int_equal(n->smtp_tls, SMTP_TLS);
	assert_string_equal(n->smtp_user, "ann");
	assert_string_equal(n->smtp_password, SECRET);
	assert_string_equal(n->smtp_ca_file, "ca.pem");
	assert_string_equal(n->mail_from, "billing@example.com");
	assert_string_equal(n->hook_url, "https://example.com/h");
	assert_string_equal(n->hook_secret, "s1");
	assert_string_equal(n->templates, "right");
	assert_int_equal(n->before_grace_end_ms, 86400000);
	assert_false(c->stripe.is_configured);
	config_free(c);
}

static void http_is_allowed_only_for_loopback(void **state)
{
	static const char *const bases[] = { "http://127.0.0.1", "http://127.0.0.1:1/x",
					     "http://localhost:1", "http://[::1]:1",
					     "https://stripe.example.com" };

	(void)state;
	for (size_t i = 0; i < sizeof(bases) / sizeof(bases[0]); i++) {
		char yaml[512];
		struct config *c;

		snprintf(yaml, sizeof(yaml), STRIPE "  api_base: \"%s\"\n", bases[i]);
		c = parse_ok(yaml);
		assert_string_equal(c->stripe.api_base, bases[i]);
		config_free(c);
	}
}

static void own_paths_depend_on_what_is_configured(void **state)
{
	static const struct {
		const char *yaml, *paths, *why;
	} rows[] = {
		{ LISTENER, "", "no Stripe, no paths" },
		{ STRIPE, " /webhooks/stripe", "pages need an address" },
		{ STRIPE "  webhook_path: /in\n  portal_path: /billing\n", " /in",
		  "a prefix is no address" },
		{ STRIPE "  app_url: https://a.example.com\n",
		  " /webhooks/stripe /pricing /checkout /dashboard", "pages" },
		{ STRIPE "  app_url: https://a.example.com\n  portal_path: /b/c\n",
		  " /webhooks/stripe /b/c/pricing /b/c/checkout /b/c/dashboard",
		  "pages below a prefix" },
		{ STRIPE "  app_url: https://a.example.com\n  portal_path: \"\"\n",
		  " /webhooks/stripe /pricing /checkout /dashboard", "an empty prefix" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct config *c = parse_ok(rows[i].yaml);
		char paths[256] = "";
		size_t len = 0;

		for (unsigned j = 0; j < c->own_path_count; j++)
			len += (size_t)snprintf(paths + len, sizeof(paths) - len, " %.*s",
						TEXT_ARG(c->own_paths[j]));
		if (strcmp(paths, rows[i].paths))
			fail_msg("%s:%s, expected%s", rows[i].why, paths, rows[i].paths);
		config_free(c);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_invalid_secret_is_reported_but_not_shown),
		cmocka_unit_test(invalid_values_of_stripe_are_reported),
		cmocka_unit_test(invalid_values_for_the_pages_are_reported),
		cmocka_unit_test(invalid_paths_of_stripe_are_reported),
		cmocka_unit_test(invalid_values_of_notices_are_reported),
		cmocka_unit_test(missing_options_have_defaults),
		cmocka_unit_test(values_of_stripe_are_stored),
		cmocka_unit_test(a_secret_file_may_have_4096_bytes),
		cmocka_unit_test(values_of_notices_are_stored),
		cmocka_unit_test(http_is_allowed_only_for_loopback),
		cmocka_unit_test(own_paths_depend_on_what_is_configured),
	};

	return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
