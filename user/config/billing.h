/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * billing: the settings of `stripe` and `notices` in the configuration.
 *
 * They are immutable once in use; a reload creates new ones. Secrets are wiped before they are
 * freed.
 */
#ifndef CONFIG_BILLING_H
#define CONFIG_BILLING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"
#include "store/store.h"

enum stripe_report {
	STRIPE_METER_EVENTS,
	STRIPE_USAGE_RECORDS, /* removed in 2025-03-31.basil */
};

enum stripe_livemode {
	STRIPE_LIVEMODE_BY_KEY, /* by the secret key's prefix: sk_live_ or sk_test_ */
	STRIPE_LIVEMODE_TRUE,
	STRIPE_LIVEMODE_FALSE,
};

struct stripe_settings {
	bool is_configured;
	char *secret_key;	/* owned */
	char **webhook_secrets; /* owned */
	unsigned webhook_secret_count;
	size_t webhook_secret_room;
	char *webhook_path;	      /* owned; "/webhooks/stripe" */
	char *portal_path;	      /* owned; prefix of /pricing, /checkout, /dashboard; or "" */
	char *api_base, *api_version; /* owned */
	unsigned calls_per_second;
	unsigned livemode;     /* enum stripe_livemode */
	uint64_t tolerance_ms; /* how old a signature may be */
	uint64_t grace_ms;     /* for tiers without their own */
	uint64_t reconcile_every_ms;
	bool refuse_when_paused; /* no access while Stripe's pause_collection is set */
	bool suspend_on_dispute;
	/* checkout */
	char *app_url;			/* owned; without '/' at the end; NULL: no pages */
	char *success_url, *cancel_url; /* owned; NULL: derived from app_url */
	char **metadata;		/* owned: "name=value" */
	unsigned metadata_count;
	char **payment_method_types; /* owned */
	unsigned payment_method_type_count;
	bool allow_promotion_codes, automatic_tax;
	/* pages */
	char *product_name;			     /* owned; NULL: the host of app_url */
	char *terms_url, *privacy_url, *support_url; /* owned; NULL: no link */
	char **checkout_origins;		     /* owned: sites whose scripts may check out */
	unsigned checkout_origin_count;
	/* metering */
	unsigned report; /* enum stripe_report */
	uint64_t report_every_ms;
};

enum smtp_tls {
	SMTP_STARTTLS,
	SMTP_TLS,
	SMTP_PLAIN,
};

/* How notices are sent to customers. */
struct notice_settings {
	char *smtp_server;				/* owned: "host:port"; NULL: no mail */
	unsigned smtp_tls;				/* enum smtp_tls */
	char *smtp_user, *smtp_password, *smtp_ca_file; /* owned; may be NULL */
	char *mail_from;				/* owned */
	char *hook_url;					/* owned; NULL: no outgoing webhook */
	char *hook_secret;				/* owned */
	char *templates; /* owned: a folder; NULL: the built-in texts */
	uint64_t before_grace_end_ms;
};

/*
 * Stripe's mode: as configured, or by the secret key's prefix. STORE_MODE_NONE if Stripe is not
 * configured.
 */
enum store_mode stripe_settings_mode(const struct stripe_settings *settings);

/* Free what the settings own. Both accept zeroed settings. */
void stripe_settings_done(struct stripe_settings *settings);
void notice_settings_done(struct notice_settings *settings);

#endif
