/* SPDX-License-Identifier: BSD-2-Clause */
/* agent_private: the running agent, and what the files of agent/ offer each other. */
#ifndef AGENT_PRIVATE_H
#define AGENT_PRIVATE_H

#include <jansson.h>
#include <uv.h>

#include "admin/admin.h"
#include "agent/billing.h"
#include "agent/ruleset.h"
#include "agent/worker.h"
#include "base/action.h"
#include "enforce/lists.h"
#include "enforce/penalty.h"
#include "enforce/registry.h"
#include "enforce/usage.h"

/* The phases of the agent, in the order of its life. */
enum agent_phase {
	AGENT_STARTING, /* the store is not loaded: requests get 503 */
	AGENT_RUNNING,
	AGENT_DRAINING, /* no new connections; running requests finish */
	AGENT_STOPPING, /* workers end, and the last usage is written */
};

/* The load of the store that is under way. */
struct load {
	uint64_t wall_ms, mono_ns; /* when it began */
	struct lists *came;	   /* owned: entries loaded so far; NULL in the first load */
};

struct agent {
	uv_loop_t loop;		 /* the control loop */
	const char *config_path; /* borrowed */
	const char *env_file;	 /* borrowed; NULL: none */
	enum agent_phase phase;
	int exit_code;
	char not_ready[256]; /* why requests get 503; empty: they get verdicts */
	char degraded[256];  /* what is wrong although requests get verdicts; or empty */
	uint64_t started_ns;
	uint64_t steady_ms; /* clock_steady_ms() at the last tick */

	struct ruleset *rules;	   /* one reference: current */
	const struct tiers *tiers; /* borrowed from `rules` */
	int lock_fd;
	char *key_prefix; /* owned: not changed by a reload */

	struct crypto_hmac *pepper;
	uint8_t pepper_check[CRYPTO_HASH_BYTES];
	struct store *store;
	struct slots slots;
	struct fastpath *fastpath; /* NULL: the agent enforces alone */
	uint64_t answers_arrived;  /* counter when fastpath_feed_watch() last looked; UINT64_MAX:
				      never */
	uint64_t answers_repeated; /* counter of repeats when an answer last arrived */
	char fastpath_why[256];	   /* why XDP is missing or not attached everywhere */
	struct penalty *penalty;
	struct lists *lists;
	unsigned list_puts; /* entries being written to the store */
	struct events *events;
	struct mirror *mirror;	   /* NULL until the store is open */
	struct registry *registry; /* NULL until everything is loaded */
	bool is_away;		   /* the store's server cannot be reached */
	bool is_too_stale;	   /* for longer than max_stale */
	bool is_overfull;	   /* the mirror has no room for all of the store */
	uint64_t heard_ns;	   /* when the store was last reached */
	uint64_t reloads;	   /* loads after the first one */
	struct load load;
	struct gate gate;
	struct admin *admin;
	struct billing *billing;
	struct fleet *fleet;
	struct share_exchange *share_exchange;

	struct worker **workers;
	unsigned worker_count, workers_started, acks_awaited;

	uv_signal_t signals[3];
	uv_timer_t tick;  /* once a second */
	uv_timer_t retry; /* when to open the store again */
	uv_timer_t drain_end;
	struct usage_batch batch; /* being written to the store */
	bool is_writing_usage, was_usage_error, is_final_flush;
	unsigned final_failures;
};

/* state.c: the state folder and the user. On failure @ret_why is a message. */
int state_lock(const struct config *config, int *ret_lock_fd, char *ret_why, size_t why_size);
int state_drop_privileges(const struct config *config, const char *pins, char *ret_why,
			  size_t why_size);

/* load.c: the store into the mirror. */
int load_begin(struct agent *agent);
void load_retry(uv_timer_t *timer);

/* Load again while requests are served. */
void load_again(struct agent *agent);
void load_quotas(struct agent *agent); /* into slots that have none; the rest stays */

/* follow.c: the store's feed of changes. */
void follow_start(struct agent *agent);			  /* after each load */
void follow_failed(struct agent *agent, const char *why); /* when a later load has failed */
void follow_pass_time(struct agent *agent);		  /* once a second */

/* fleet.c: the hosts that share the store. */
struct metrics;
struct fleet *fleet_new(struct agent *agent); /* NULL when memory is short */
void fleet_free(struct fleet *fleet);	      /* accepts NULL */
void fleet_pass_time(struct fleet *fleet);    /* once a second */
void fleet_leave(struct fleet *fleet);	      /* before the store is freed; accepts NULL */
json_t *fleet_json(const struct fleet *fleet);
void fleet_metrics(const struct fleet *fleet, struct metrics *m);

/* share_exchange.c: limits that all hosts share. */
struct share_exchange *share_exchange_new(struct agent *agent); /* NULL when memory is short */
int share_exchange_start(
	struct share_exchange *share_exchange); /* once there is a mirror, before the first load */
void share_exchange_stop(
	struct share_exchange *share_exchange); /* gives borrowed units back; accepts NULL */
void share_exchange_free(
	struct share_exchange *share_exchange); /* after all workers have ended; accepts NULL */
/* @hosts were seen alive, with this one: 1 or more. Each may use its part of a limit unasked. */
void share_exchange_set_hosts(struct share_exchange *share_exchange, unsigned hosts);
uint64_t share_exchange_lent(const struct share_exchange *share_exchange);
void share_exchange_metrics(const struct share_exchange *share_exchange, struct metrics *m);

/* lists.c: the operators' lists. agent_lists_change() is documented in admin.h. */
int agent_lists_change(void *agent, const struct admin_list_change *change, char *ret_why,
		       size_t why_size, store_done done, void *arg);
void agent_lists_loaded(struct agent *agent);
void agent_lists_enter(struct agent *agent, const struct store_entry *entry); /* fed by the store */
void agent_lists_leave(struct agent *agent, const struct cidr *block);
void agent_lists_pass_time(struct agent *agent); /* once a second */

/* events.c: XDP's events, sampled refusals. */
struct events *events_new(struct agent *agent); /* NULL when memory is short */
void events_free(struct events *events);	/* accepts NULL */
void events_take(struct events *events);	/* take those that wait in the kernel */
json_t *events_json(void *agent, bool has_since, uint64_t since);

/* flush.c: writes usage to the store. */
void flush_usage(struct agent *agent);
void flush_finally(struct agent *agent); /* calls agent_close() when all is written */

/* reload.c */
/* Documented in admin.h. If it returns 0, @done follows once all workers use the new rules. */
int reload(struct agent *agent, struct buf *messages, void (*done)(void *arg), void *arg);

/* fastpath_feed.c */
void fastpath_feed_prepare(struct agent *agent, struct tiers *fresh); /* before @fresh is in use */
void fastpath_feed_give_back(struct agent *agent, const struct tiers *old,
			     const struct tiers *fresh);
void fastpath_feed_stop(struct agent *agent);
void fastpath_feed_start(struct agent *agent); /* with the current rules */
void fastpath_feed_watch(
	struct agent *agent); /* every second: falls back to drop if answers do not arrive */

/* admin_bridge.c */
int admin_bridge_open(struct agent *agent); /* 0, or a negative errno after an error message */

/* status.c */
json_t *status_json(void *agent);
json_t *status_fastpath(void *agent);
int status_metrics(void *agent, struct buf *out);

/* agent.c */
void agent_fail(struct agent *agent, const char *format, ...) __attribute__((format(printf, 2, 3)));
void agent_loaded(struct agent *agent);
void agent_close(struct agent *agent);

#endif
