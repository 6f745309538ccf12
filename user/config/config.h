/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * config: what an operator wrote, checked as a whole and ready for use.
 *
 * config_read() either gives a configuration in which every name resolves and every number is in
 * range, or a list of messages "file:line:column: ..." and nothing else.
 */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/cidr.h"
#include "base/log.h"
#include "config/fastpath_mode.h"
#include "config/tier.h"
#include "http/server.h"
#include "config/route.h"
#include "config/upstream.h"
#include "config/billing.h"

struct config_listener {
	char *name; /* owned */
	struct sockaddr_storage address;
	char **interfaces; /* owned; none: no fast path */
	unsigned interface_count;
	char *certificate, *private_key; /* owned; both or neither. Relative to the file's folder */
};

struct config {
	char *store;			   /* owned: URL */
	struct config_listener *listeners; /* owned */
	unsigned listener_count;
	char *admin_socket; /* owned */
	bool has_admin_address;
	struct sockaddr_storage
		admin_address;		   /* loopback or not: /metrics, /healthz, /readyz only */
	struct upstream_config *upstreams; /* owned */
	unsigned upstream_count;
	struct tiers tiers;
	struct routes routes;	      /* sorted */
	struct cidr *trusted_proxies; /* owned */
	unsigned trusted_proxy_count;
	struct http_limits limits;
	unsigned workers;	    /* 0: one per CPU */
	char *state_dir, *instance; /* owned */
	char *pepper_file;	    /* owned; default <state_dir>/pepper */
	char *user;		    /* owned; NULL: stay */
	char *key_prefix;	    /* owned */
	enum log_level log;
	uint32_t max_accounts;
	uint64_t redis_timeout_ms;
	uint64_t max_stale_ms;
	bool refuse_when_stale; /* on_stale: refuse */
	uint64_t drain_ms;	/* how long SIGTERM waits for answers; default 30 s */
	struct {
		enum fastpath_mode mode;
		enum tollgate_action action;
		bool required;
		unsigned tolerance; /* refusals a second before a penalty */
		uint64_t stale_after_ms;
		uint32_t max_flows;
		uint32_t event_every;
	} fastpath;
	unsigned count_below; /* answers with a status below this count as usage */
	struct stripe_settings stripe;
	struct notice_settings notices;
	struct text own_paths[4]; /* into `stripe`'s texts, and the next */
	char *portal_paths[3];	  /* owned: pricing, checkout, dashboard; see stripe_options.c */
	unsigned own_path_count;
};

/*
 * Read and check the file at @path. 0, or a negative errno and then @messages (lines, each ended by a
 * newline) says all that is wrong: -EINVAL for content, or why the file cannot be read.
 */
int config_read(const char *path, struct config **ret_config, struct buf *messages);

/* The same for text in memory; @path is only for the messages and for relative file names. */
int config_parse(const char *path, struct text yaml, struct config **ret_config,
		 struct buf *messages);

/*
 * Whether names of upstream servers are resolved while reading (true). For programs that read what
 * others wrote, such as fuzzers: set it once, at the start; then a name is an error.
 */
extern bool config_resolves_names;

void config_free(struct config *config); /* accepts NULL and half-built ones */

/* Whether both describe the same listeners in the same order; only certificates may differ. */
bool config_same_listeners(const struct config *a, const struct config *b);

/*
 * What of @fresh cannot take effect in a running agent that uses @old (listeners, store, workers,
 * state_dir, ...): appends the option's names to @ret_names. 0 when nothing is.
 */
unsigned config_needs_restart(const struct config *old, const struct config *fresh,
			      struct buf *ret_names);

#endif
