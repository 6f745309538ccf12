/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * config: the operator's configuration, completely checked and ready for use.
 *
 * config_read() returns either a configuration in which every name exists and every number is in
 * range, or a list of messages "file:line:column: ...".
 *
 * The module config: the options, their checks, and the plain structures that they fill. It knows
 * no agent and starts nothing; what is made of a configuration belongs to the module that uses it.
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
	char **interfaces; /* owned; without any, no fast path */
	unsigned interface_count;
	char *certificate, *private_key; /* owned: paths of PEM files; both or neither */
};

struct config {
	char *store;			   /* owned: URL */
	struct config_listener *listeners; /* owned */
	unsigned listener_count;
	char *admin_socket; /* owned */
	bool has_admin_address;
	struct sockaddr_storage admin_address; /* serves only /metrics, /healthz and /readyz */
	struct upstream_config *upstreams;     /* owned */
	unsigned upstream_count;
	struct tiers tiers;
	struct routes routes;	      /* sorted */
	struct cidr *trusted_proxies; /* owned */
	unsigned trusted_proxy_count;
	struct http_limits limits;
	unsigned workers;	    /* 0: one per CPU */
	char *state_dir, *instance; /* owned */
	char *pepper_file;	    /* owned; default <state_dir>/pepper */
	char *user;		    /* owned: run as this user; NULL: do not change the user */
	char *key_prefix;	    /* owned */
	enum log_level log;
	uint32_t max_accounts;
	uint64_t redis_timeout_ms;
	uint64_t max_stale_ms;
	bool refuse_when_stale; /* on_stale: refuse */
	uint64_t drain_ms;	/* how long answers in progress may take after SIGTERM */
	struct {
		enum fastpath_mode mode;
		enum tollgate_action action;
		bool required;
		unsigned tolerance; /* refusals per second before a penalty */
		uint64_t stale_after_ms;
		uint32_t max_flows;
		uint32_t event_every;
	} fastpath;
	unsigned count_below; /* answers with a status below this count as usage */
	struct stripe_settings stripe;
	struct notice_settings notices;
	struct text
		own_paths[4]; /* that tollgate serves itself; borrowed from `stripe` and the next */
	char *portal_paths[3]; /* owned: pricing, checkout, dashboard */
	unsigned own_path_count;
};

/*
 * Read and check the file at @path. 0; -EINVAL if the configuration is not valid; -ENOMEM; or the
 * error of reading the file. @messages gets one line for each thing that is wrong.
 */
int config_read(const char *path, struct config **ret_config, struct buf *messages);

/*
 * The same for text in memory. @path is for messages, and relative file names are relative to its
 * folder.
 */
int config_parse(const char *path, struct text yaml, struct config **ret_config,
		 struct buf *messages);

/*
 * Whether reading a configuration resolves the names of upstream servers; if not, a name is an
 * error. True by default. Programs that read untrusted configurations, such as fuzzers, set it to
 * false at the start.
 */
extern bool config_resolves_names;

void config_free(struct config *config); /* accepts NULL and half-built objects */

/* Whether both have the same listeners in the same order. The files of certificates may differ. */
bool config_same_listeners(const struct config *a, const struct config *b);

/*
 * The options in which @fresh differs from @old but which a running agent cannot change. Appends
 * their names to @ret_names, and returns how many there are.
 */
unsigned config_needs_restart(const struct config *old, const struct config *fresh,
			      struct buf *ret_names);

#endif
