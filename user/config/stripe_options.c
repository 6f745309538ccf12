/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * stripe_options: the options of `stripe` and `notices`.
 *
 * A secret is given as a value (best as "${NAME}") or as the name of a file. No message shows a
 * secret.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "base/array.h"
#include "config/parts.h"
#include "config/template.h"

/* The dates of the first API versions without a feature. */
#define NO_USAGE_RECORDS	"2025-03-31"
#define NO_PAYMENT_METHOD_TYPES "2026-09-30"

#define MAX_SECRET_BYTES 4096

static void set_text(struct conf *conf, struct text t, char **at)
{
	char *copy = text_dup(t);

	if (!copy) {
		conf_no_memory(conf);
		return;
	}
	if (*at)
		OPENSSL_cleanse(*at, strlen(*at));
	free(*at);
	*at = copy;
}

static bool is_secret(struct text t)
{
	for (size_t i = 0; i < t.len; i++) {
		if ((unsigned char)t.ptr[i] <= ' ' || (unsigned char)t.ptr[i] > '~')
			return false;
	}
	return t.len && t.len <= MAX_SECRET_BYTES;
}

static bool read_secret(struct conf *conf, const struct conf_node *node, struct text *ret_secret)
{
	if (!conf_text(conf, node, ret_secret))
		return false;
	if (!is_secret(*ret_secret))
		conf_error(conf, node,
			   "a secret must have 1 to %d printable ASCII characters and no spaces",
			   MAX_SECRET_BYTES);
	return is_secret(*ret_secret);
}

static void set_secret(struct conf *conf, const struct conf_node *node,
		       const struct conf_option *option, void *record)
{
	struct text t;

	if (read_secret(conf, node, &t))
		set_text(conf, t, (char **)((char *)record + option->offset));
}

/* Read the secret in the file named by @node. White space at the end of the file is ignored. */
static void read_secret_file(struct conf *conf, const struct conf_node *node, char **at)
{
	struct buf content, messages;
	struct text t, secret;
	char *path;

	if (!conf_text(conf, node, &t))
		return;
	path = config_resolve_path(conf_path(conf), t);
	if (!path) {
		conf_no_memory(conf);
		return;
	}
	buf_init(&content, MAX_SECRET_BYTES);
	buf_init(&messages, 4096);
	if (conf_read_file(path, &content, &messages)) {
		conf_error(conf, node, "%.*s", (int)strcspn(buf_head(&messages), "\n"),
			   buf_head(&messages));
	} else {
		secret = buf_text(&content);
		while (secret.len && strchr(" \t\r\n", secret.ptr[secret.len - 1]))
			secret.len--;
		if (is_secret(secret))
			set_text(conf, secret, at);
		else
			conf_error(conf, node,
				   "%s does not contain a valid secret, which has printable ASCII "
				   "characters and no spaces",
				   path);
		OPENSSL_cleanse(buf_head(&content), buf_len(&content));
	}
	buf_done(&messages);
	buf_done(&content);
	free(path);
}

static void set_secret_file(struct conf *conf, const struct conf_node *node,
			    const struct conf_option *option, void *record)
{
	char **at = (char **)((char *)record + option->offset);

	if (*at)
		conf_error(conf, node, "set the secret itself or its file, not both");
	else
		read_secret_file(conf, node, at);
}

/*
 * Append the list at @node to the webhook secrets. Its items are secrets or, if @are_files, names
 * of files.
 */
static void add_secrets(struct conf *conf, const struct conf_node *node, struct stripe_settings *s,
			bool are_files)
{
	int items = conf_list(conf, node);

	if (items <= 0)
		return;
	if (array_reserve(s->webhook_secrets, s->webhook_secret_room,
			  s->webhook_secret_count + (size_t)items, 2 * CONF_MAX_ITEMS)) {
		conf_no_memory(conf);
		return;
	}
	for (int i = 0; i < items; i++) {
		const struct conf_node *item = conf_item(conf, node, i);
		char **at = &s->webhook_secrets[s->webhook_secret_count];
		struct text t;

		*at = NULL;
		if (are_files)
			read_secret_file(conf, item, at);
		else if (read_secret(conf, item, &t))
			set_text(conf, t, at);
		s->webhook_secret_count += *at != NULL;
	}
}

static void set_webhook_secrets(struct conf *conf, const struct conf_node *node,
				const struct conf_option *option, void *record)
{
	(void)option;
	add_secrets(conf, node, &((struct config *)record)->stripe, false);
}

static void set_webhook_secret_files(struct conf *conf, const struct conf_node *node,
				     const struct conf_option *option, void *record)
{
	(void)option;
	add_secrets(conf, node, &((struct config *)record)->stripe, true);
}

static bool is_loopback(struct text host)
{
	static const char *const names[] = { "127.0.0.1", "localhost", "[::1]" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		size_t len = strlen(names[i]);

		if (text_starts(host, text_of(names[i])) &&
		    (host.len == len || host.ptr[len] == ':' || host.ptr[len] == '/'))
			return true;
	}
	return false;
}

/*
 * Read "https://host[:port][/path]". With @loopback_http, http is allowed only for loopback
 * addresses.
 */
static bool read_url(struct conf *conf, const struct conf_node *node, bool loopback_http,
		     struct text *ret_url)
{
	struct text t, rest;
	bool is_https, is_http;

	if (!conf_text(conf, node, &t))
		return false;
	is_https = text_starts(t, TEXT("https://"));
	is_http = text_starts(t, TEXT("http://"));
	rest = (struct text){ t.ptr + (is_https ? 8 : 7), t.len - (is_https ? 8 : 7) };
	for (size_t i = 0; i < t.len; i++)
		is_https &= (unsigned char)t.ptr[i] > ' ' &&
			    (unsigned char)t.ptr[i]<0x7f, is_http &= (unsigned char)t.ptr[i]> ' ' &&
			    (unsigned char)t.ptr[i] < 0x7f;
	if ((!is_https && !is_http) || !rest.len || rest.ptr[0] == '/') {
		conf_error(conf, node,
			   "'%.*s' is not a valid URL; use for example https://host/path",
			   CONF_SHOWN(t));
		return false;
	}
	if (is_http && loopback_http && !is_loopback(rest)) {
		conf_error(conf, node, "http is allowed only for loopback addresses; use https");
		return false;
	}
	*ret_url = t;
	return true;
}

static void set_url(struct conf *conf, const struct conf_node *node,
		    const struct conf_option *option, void *record)
{
	struct text t;

	if (!read_url(conf, node, option->max, &t))
		return;
	while (t.len && t.ptr[t.len - 1] == '/')
		t.len--;
	set_text(conf, t, (char **)((char *)record + option->offset));
}

/* A path that tollgate serves itself, such as "/webhooks/stripe". A prefix (min 0) may be empty. */
static void set_own_path(struct conf *conf, const struct conf_node *node,
			 const struct conf_option *option, void *record)
{
	struct text t;

	if (!conf_text(conf, node, &t))
		return;
	if (!t.len && option->min == 0)
		return;
	if (!t.len || t.ptr[0] != '/' || t.ptr[t.len - 1] == '/' || !route_path_is_plain(t) ||
	    memchr(t.ptr, '?', t.len) || memchr(t.ptr, '%', t.len))
		conf_error(conf, node,
			   "'%.*s' is not a valid path; use for example /webhooks/stripe, without "
			   "escapes or a '/' at the end",
			   CONF_SHOWN(t));
	else
		set_text(conf, t, (char **)((char *)record + option->offset));
}

static void set_metadata(struct conf *conf, const struct conf_node *node,
			 const struct conf_option *option, void *record)
{
	struct stripe_settings *s = &((struct config *)record)->stripe;

	conf_set_texts(conf, node, option, record);
	for (unsigned i = 0; i < s->metadata_count; i++) {
		const char *equals = strchr(s->metadata[i], '=');

		if (!equals || equals == s->metadata[i] || equals - s->metadata[i] > 40)
			conf_error(conf, node,
				   "'%.64s' is not valid; use name=value, with a name of up to 40 "
				   "bytes",
				   s->metadata[i]);
	}
}

static const struct conf_word livemode_words[] = {
	{ "auto", STRIPE_LIVEMODE_BY_KEY },
	{ "true", STRIPE_LIVEMODE_TRUE },
	{ "false", STRIPE_LIVEMODE_FALSE },
	{ NULL, 0 },
};

static const struct conf_word report_words[] = {
	{ "meter_events", STRIPE_METER_EVENTS },
	{ "usage_records", STRIPE_USAGE_RECORDS },
	{ NULL, 0 },
};

/* Setter: one of two words, as a bool that is true for the second one. */
static void set_policy(struct conf *conf, const struct conf_node *node,
		       const struct conf_option *option, void *record)
{
	struct conf_option into = *option;
	unsigned value = 0;

	into.offset = 0;
	conf_set_word(conf, node, &into, &value);
	*(bool *)((char *)record + option->offset) = value;
}

static const struct conf_word paused_words[] = { { "allow", false },
						 { "refuse", true },
						 { NULL, 0 } };
static const struct conf_word dispute_words[] = { { "notify", false },
						  { "suspend", true },
						  { NULL, 0 } };

#define AT(member)    .offset = offsetof(struct config, member)
#define COUNT(member) .count_offset = offsetof(struct config, member)

static const struct conf_option stripe_options[] = {
	{ .name = "secret_key", .set = set_secret, AT(stripe.secret_key) },
	{ .name = "secret_key_file", .set = set_secret_file, AT(stripe.secret_key) },
	{ .name = "webhook_secrets", .set = set_webhook_secrets },
	{ .name = "webhook_secret_files", .set = set_webhook_secret_files },
	{ .name = "webhook_path",
	  .set = set_own_path,
	  AT(stripe.webhook_path),
	  .min = 1,
	  .standard = "/webhooks/stripe" },
	{ .name = "portal_path", .set = set_own_path, AT(stripe.portal_path), .standard = "" },
	{ .name = "api_base",
	  .set = set_url,
	  AT(stripe.api_base),
	  .max = 1,
	  .standard = "https://api.stripe.com" },
	{ .name = "api_version",
	  .set = conf_set_name,
	  AT(stripe.api_version),
	  .standard = "2026-10-28.endive" },
	{ .name = "calls_per_second",
	  .set = conf_set_u32,
	  AT(stripe.calls_per_second),
	  .min = 1,
	  .max = 1000,
	  .standard = "25" },
	{ .name = "livemode",
	  .set = conf_set_word,
	  AT(stripe.livemode),
	  .words = livemode_words,
	  .standard = "auto" },
	{ .name = "tolerance",
	  .set = conf_set_duration,
	  AT(stripe.tolerance_ms),
	  .min = SECOND_MS,
	  .max = DAY_MS,
	  .standard = "5m" },
	{ .name = "grace",
	  .set = conf_set_duration,
	  AT(stripe.grace_ms),
	  .max = 365 * DAY_MS,
	  .standard = "7d" },
	{ .name = "reconcile_every",
	  .set = conf_set_duration,
	  AT(stripe.reconcile_every_ms),
	  .min = MINUTE_MS,
	  .max = 7 * DAY_MS,
	  .standard = "6h" },
	{ .name = "on_pause_collection",
	  .set = set_policy,
	  AT(stripe.refuse_when_paused),
	  .words = paused_words,
	  .standard = "allow" },
	{ .name = "on_dispute",
	  .set = set_policy,
	  AT(stripe.suspend_on_dispute),
	  .words = dispute_words,
	  .standard = "notify" },
	{ .name = "app_url", .set = set_url, AT(stripe.app_url) },
	{ .name = "product_name", .set = config_set_product_name, AT(stripe.product_name) },
	{ .name = "terms_url", .set = config_set_link, AT(stripe.terms_url) },
	{ .name = "privacy_url", .set = config_set_link, AT(stripe.privacy_url) },
	{ .name = "support_url", .set = config_set_link, AT(stripe.support_url), .max = 1 },
	{ .name = "checkout_origins",
	  .set = config_set_origins,
	  AT(stripe.checkout_origins),
	  COUNT(stripe.checkout_origin_count) },
	{ .name = "success_url", .set = set_url, AT(stripe.success_url) },
	{ .name = "cancel_url", .set = set_url, AT(stripe.cancel_url) },
	{ .name = "metadata",
	  .set = set_metadata,
	  AT(stripe.metadata),
	  COUNT(stripe.metadata_count) },
	{ .name = "payment_method_types",
	  .set = conf_set_texts,
	  AT(stripe.payment_method_types),
	  COUNT(stripe.payment_method_type_count) },
	{ .name = "allow_promotion_codes",
	  .set = conf_set_bool,
	  AT(stripe.allow_promotion_codes),
	  .standard = "false" },
	{ .name = "automatic_tax",
	  .set = conf_set_bool,
	  AT(stripe.automatic_tax),
	  .standard = "false" },
	{ .name = "report",
	  .set = conf_set_word,
	  AT(stripe.report),
	  .words = report_words,
	  .standard = "meter_events" },
	{ .name = "report_every",
	  .set = conf_set_duration,
	  AT(stripe.report_every_ms),
	  .min = MINUTE_MS,
	  .max = DAY_MS,
	  .standard = "1h" },
};

static void finish_stripe(struct conf *conf, const struct conf_node *mapping, void *record)
{
	struct stripe_settings *s = &((struct config *)record)->stripe;
	const struct conf_node *report = conf_find(conf, mapping, "report");
	const struct conf_node *methods = conf_find(conf, mapping, "payment_method_types");
	const char *version = s->api_version ? s->api_version : "";

	s->is_configured = true;
	if (!s->secret_key && !conf_find(conf, mapping, "secret_key") &&
	    !conf_find(conf, mapping, "secret_key_file"))
		conf_error(conf, mapping,
			   "stripe needs the option 'secret_key' or 'secret_key_file'");
	if (report && s->report == STRIPE_USAGE_RECORDS && strcmp(version, NO_USAGE_RECORDS) >= 0)
		conf_error(conf, report,
			   "Stripe removed usage records in 2025-03-31.basil; use meter_events, or "
			   "set an earlier 'api_version'");
	if (s->payment_method_type_count && strcmp(version, NO_PAYMENT_METHOD_TYPES) >= 0)
		conf_error(conf, methods,
			   "Stripe removed payment_method_types from Checkout in "
			   "2026-09-30.endive; remove the option and choose the payment methods in "
			   "Stripe's dashboard, or set an earlier 'api_version'");
	if (s->report_every_ms % SECOND_MS)
		conf_error(conf, conf_find(conf, mapping, "report_every"),
			   "the duration must be a whole number of seconds");
}

const struct conf_schema stripe_schema = { CONF_SCHEMA(stripe_options), .noun = "stripe",
					   .finish = finish_stripe };

static const struct conf_word tls_words[] = {
	{ "starttls", SMTP_STARTTLS }, { "tls", SMTP_TLS }, { "none", SMTP_PLAIN }, { NULL, 0 }
};

static const struct conf_option smtp_options[] = {
	{ .name = "server", .set = conf_set_text, AT(notices.smtp_server), .is_required = true },
	{ .name = "tls",
	  .set = conf_set_word,
	  AT(notices.smtp_tls),
	  .words = tls_words,
	  .standard = "starttls" },
	{ .name = "user", .set = conf_set_text, AT(notices.smtp_user) },
	{ .name = "password", .set = set_secret, AT(notices.smtp_password) },
	{ .name = "password_file", .set = set_secret_file, AT(notices.smtp_password) },
	{ .name = "ca_file", .set = config_set_path, AT(notices.smtp_ca_file) },
	{ .name = "from", .set = conf_set_text, AT(notices.mail_from), .is_required = true },
};

static void finish_smtp(struct conf *conf, const struct conf_node *mapping, void *record)
{
	const struct notice_settings *n = &((struct config *)record)->notices;

	if (n->mail_from && (!strchr(n->mail_from, '@') || strpbrk(n->mail_from, "\r\n<> ")))
		conf_error(conf, conf_find(conf, mapping, "from"),
			   "'%.64s' is not a valid mail address; use for example "
			   "billing@example.com",
			   n->mail_from);
	if (!n->smtp_user != !n->smtp_password)
		conf_error(conf, mapping, "smtp needs both a user and a password, or neither");
}

static const struct conf_schema smtp_schema = { CONF_SCHEMA(smtp_options), .noun = "smtp",
						.finish = finish_smtp };

static const struct conf_option hook_options[] = {
	{ .name = "url", .set = set_url, AT(notices.hook_url), .max = 1, .is_required = true },
	{ .name = "secret", .set = set_secret, AT(notices.hook_secret) },
	{ .name = "secret_file", .set = set_secret_file, AT(notices.hook_secret) },
};

static void finish_hook(struct conf *conf, const struct conf_node *mapping, void *record)
{
	if (!((struct config *)record)->notices.hook_secret)
		conf_error(conf, mapping,
			   "a webhook needs the option 'secret' or 'secret_file' to be signed");
}

static const struct conf_schema hook_schema = { CONF_SCHEMA(hook_options), .noun = "webhook",
						.finish = finish_hook };

/* Check the templates now, so that errors do not appear only when a notice is sent. */
static void set_templates(struct conf *conf, const struct conf_node *node,
			  const struct conf_option *option, void *record)
{
	const struct notice_settings *n = &((struct config *)record)->notices;
	char why[512];

	config_set_path(conf, node, option, record);
	if (n->templates && template_check(n->templates, why, sizeof(why)))
		conf_error(conf, node, "%s", why);
}

static const struct conf_option notices_options[] = {
	{ .name = "smtp", .set = conf_set_mapping, .schema = &smtp_schema },
	{ .name = "webhook", .set = conf_set_mapping, .schema = &hook_schema },
	{ .name = "templates", .set = set_templates, AT(notices.templates) },
	{ .name = "before_grace_end",
	  .set = conf_set_duration,
	  AT(notices.before_grace_end_ms),
	  .max = 30 * DAY_MS,
	  .standard = "2d" },
};

const struct conf_schema notices_schema = { CONF_SCHEMA(notices_options), .noun = "notices" };

static bool fill_text(char **at, const char *text)
{
	if (!*at)
		*at = strdup(text);
	return *at;
}

/* List the paths that tollgate serves itself: the webhook, and the pages if there is an app_url. */
static int fill_own_paths(struct config *config)
{
	static const char *const pages[] = { "pricing", "checkout", "dashboard" };
	const struct stripe_settings *s = &config->stripe;

	config->own_paths[config->own_path_count++] = text_of(s->webhook_path);
	for (unsigned i = 0; s->app_url && i < sizeof(pages) / sizeof(pages[0]); i++) {
		char **path = &config->portal_paths[i];

		if (asprintf(path, "%s/%s", s->portal_path, pages[i]) < 0) {
			*path = NULL;
			return -ENOMEM;
		}
		config->own_paths[config->own_path_count++] = text_of(*path);
	}
	return 0;
}

int config_stripe_fill(struct config *config)
{
	struct stripe_settings *s = &config->stripe;

	if (!fill_text(&s->portal_path, ""))
		return -ENOMEM;
	if (!s->is_configured)
		return 0;
	if (s->metadata)
		return fill_own_paths(config);
	s->metadata = calloc(1, sizeof(*s->metadata));
	if (!s->metadata || !fill_text(&s->metadata[0], "source=api_subscription"))
		return -ENOMEM;
	s->metadata_count = 1;
	return fill_own_paths(config);
}
