/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ruleset: a configuration with what is made of it: rules for the proxy and the listeners' TLS.
 *
 * Immutable and reference counted. Whoever uses a part of it holds a reference.
 */
#ifndef AGENT_RULESET_H
#define AGENT_RULESET_H

#include "config/config.h"
#include "net/tls.h"
#include "proxy/rules.h"

struct ruleset {
	struct rules rules;	  /* first: the proxy's references are the ruleset's */
	struct config *config;	  /* owned */
	struct tls_context **tls; /* owned: one a listener, NULL for a plain one */
};

/*
 * Make a ruleset of @config, which is taken over in any case. On failure a negative errno, and
 * @messages says which certificate or key is wrong. @old is what it replaces, or NULL: where a key's
 * file may not be read any more, after privileges were dropped, the certificate before is kept, and a
 * message says so.
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
