/* SPDX-License-Identifier: BSD-2-Clause */
/* stripe_command: the parts of the subcommands `stripe setup` and `stripe doctor`. */
#ifndef AGENT_STRIPE_COMMAND_H
#define AGENT_STRIPE_COMMAND_H

#include "agent/stripe_session.h"

/* Checks; each adds what it finds to the session's findings. In stripe_checks.c. */
void stripe_check_key(struct stripe_session *s);
void stripe_check_tiers(struct stripe_session *s);
void stripe_check_portal(struct stripe_session *s);

/*
 * `check --stripe`: ask Stripe whether what @config names exists and is usable, and print what is
 * not. Whether nothing is wrong; false also if Stripe is not configured. In stripe_command.c.
 */
bool stripe_check_config(const struct config *config);

/* Whether usage is reported to meters, whose errors come as thin events. */
bool stripe_uses_meters(const struct config *config);

/* What became of an endpoint or an event destination. */
struct registration {
	const char *action; /* "created", "updated", "unchanged" or "not needed" */
	char id[128];	    /* "" if it does not exist */
	json_t *added;	    /* owned: names of events that it did not have */
	bool is_enabled_again;
	char secret[256]; /* signing secret of a new one */
};

struct registrations {
	struct registration endpoint, destination;
	unsigned others; /* enabled endpoints and destinations with other URLs */
};

/*
 * Make Stripe send the needed events to the session's URL: create what is missing and extend what
 * exists. With @is_dry_run change nothing, and return what would be done. In stripe_register.c.
 */
void stripe_register(struct stripe_session *s, bool is_dry_run, struct registrations *ret);

/* Report what is missing of the same as problems. */
void stripe_check_registrations(struct stripe_session *s, struct registrations *ret);
void registrations_done(struct registrations *r);

/* Look at the running agent and at deliveries. Returns its counters, owned. In stripe_doctor.c. */
json_t *stripe_check_agent(struct stripe_session *s, const struct registrations *r);

#endif
