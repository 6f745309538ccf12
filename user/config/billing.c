/* SPDX-License-Identifier: BSD-2-Clause */
/* billing: see billing.h. */
#include "config/billing.h"

#include <stdlib.h>

#include <openssl/crypto.h>

enum store_mode stripe_settings_mode(const struct stripe_settings *settings)
{
	struct text key;
	bool is_live;

	if (!settings->is_configured)
		return STORE_MODE_NONE;
	key = text_of(settings->secret_key);
	is_live = text_starts(key, TEXT("sk_live_")) || text_starts(key, TEXT("rk_live_"));
	if (settings->livemode != STRIPE_LIVEMODE_BY_KEY)
		is_live = settings->livemode == STRIPE_LIVEMODE_TRUE;
	return is_live ? STORE_MODE_LIVE : STORE_MODE_TEST;
}

static void free_secret(char *secret)
{
	if (secret)
		OPENSSL_cleanse(secret, strlen(secret));
	free(secret);
}

static void free_list(char **list, unsigned count, void (*release)(char *text))
{
	for (unsigned i = 0; i < count; i++)
		release(list[i]);
	free(list);
}

static void free_text(char *text)
{
	free(text);
}

void stripe_settings_done(struct stripe_settings *s)
{
	free_secret(s->secret_key);
	free_list(s->webhook_secrets, s->webhook_secret_count, free_secret);
	free(s->webhook_path);
	free(s->portal_path);
	free(s->api_base);
	free(s->api_version);
	free(s->app_url);
	free(s->success_url);
	free(s->cancel_url);
	free_list(s->metadata, s->metadata_count, free_text);
	free(s->product_name);
	free(s->terms_url);
	free(s->privacy_url);
	free(s->support_url);
	free_list(s->checkout_origins, s->checkout_origin_count, free_text);
	free_list(s->payment_method_types, s->payment_method_type_count, free_text);
	*s = (struct stripe_settings){ 0 };
}

void notice_settings_done(struct notice_settings *s)
{
	free(s->smtp_server);
	free(s->smtp_user);
	free_secret(s->smtp_password);
	free(s->smtp_ca_file);
	free(s->mail_from);
	free(s->hook_url);
	free_secret(s->hook_secret);
	free(s->templates);
	*s = (struct notice_settings){ 0 };
}
