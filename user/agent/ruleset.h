/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ruleset: a configuration and what is derived from it: the proxy's rules and the listeners' TLS.
 *
 * Immutable and reference counted: hold a reference while using any part of it.
 */
#ifndef AGENT_RULESET_H
#define AGENT_RULESET_H

#include "config/config.h"
#include "net/tls.h"
#include "proxy/rules.h"

struct ruleset {
	struct rules rules;	  /* first: the proxy's references are the ruleset's */
	struct config *config;	  /* owned */
	struct tls_context **tls; /* owned: one per listener; NULL for a cleartext one */
};

/*
 * Create a ruleset from @config, which is taken over even on failure. 0, or a negative errno and
 * @messages with the certificate or key that is wrong. @old is the ruleset it replaces, or NULL: if
 * a key file cannot be read because privileges were dropped, the old certificate stays in use, and
 * a message says so.
 */
int ruleset_new(struct config *config, const struct ruleset *old, struct ruleset **ret_ruleset,
		struct buf *messages);

static inline struct ruleset *ruleset_ref(struct ruleset *ruleset)
{
	rules_ref(&ruleset->rules);
	return ruleset;
}

static inline void ruleset_unref(struct ruleset *ruleset)
{
	if (ruleset)
		rules_unref(&ruleset->rules);
}

#endif
