/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of agent/ know of each other. */
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

/* What the agent is about, in the order of its life. */
enum agent_phase {
	AGENT_STARTING, /* the store is not loaded: requests get 503 */
	AGENT_RUNNING,
	AGENT_DRAINING, /* no new connections; running requests end */
	AGENT_STOPPING, /* workers end, the last usage is written */
};

/* A load of the store that is under way. */
struct load {
	uint64_t wall_ms, mono_ns; /* when it began */
	struct lists *came; /* owned: entries that came, in a load that is not the first; or NULL */
};

struct agent {
	uv_loop_t loop;		 /* the control loop */
	const char *config_path; /* borrowed */
	const char *env_file;	 /* borrowed; NULL: none */
	enum agent_phase phase;
	int exit_code;
	char not_ready[256]; /* why requests get no real verdicts; empty: they do */
	char degraded[256];  /* what is wrong although they do; or empty */
	uint64_t started_ns;

	struct ruleset *rules;	   /* one reference: current */
	const struct tiers *tiers; /* borrowed from `rules` */
	int lock_fd;
	char *key_prefix; /* owned: a reload does not change it */

	struct crypto_hmac *pepper;
	uint8_t pepper_check[CRYPTO_HASH_BYTES];
	struct store *store;
	struct slots slots;
	struct fastpath *fastpath; /* NULL: the agent alone */
	uint64_t answers_arrived;  /* as fastpath_feed_watch() saw it last; UINT64_MAX: not yet */
	uint64_t answers_repeated; /* when an answer arrived last */
	char fastpath_why[256];	   /* why it is alone, or not attached everywhere */
	struct penalty *penalty;
	struct lists *lists;
	unsigned list_puts; /* entries on their way to the store */
	struct events *events;
	struct mirror *mirror;	   /* NULL until the store was opened */
	struct registry *registry; /* NULL until everything is loaded */
	bool is_away;		   /* the store cannot tell of other hosts' changes */
	bool is_too_stale;	   /* ...for longer than max_stale */
	bool is_overfull;	   /* what the store has does not fit into the mirror */
	uint64_t heard_ns;	   /* when the store told last */
	uint64_t reloads;	   /* snapshots after the first one */
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
	uv_timer_t retry; /* the store is to be opened again */
	uv_timer_t drain_end;
	struct usage_batch batch; /* on its way to the store */
	bool is_writing_usage, was_usage_error, is_final_flush;
	unsigned final_failures;
};

/* state.c: the state folder and who we are. All say in @ret_why what is wrong. */
int state_lock(const struct config *config, int *ret_lock_fd, char *ret_why, size_t why_size);
int state_drop_privileges(const struct config *config, const char *pins, char *ret_why,
			  size_t why_size);

/* load.c: from a store that may not be there to a mirror that is complete. */
int load_begin(struct agent *agent);
void load_retry(uv_timer_t *timer);

/* Load again what has been loaded before, while requests go on. */
void load_again(struct agent *agent);

/* follow.c: changes of other hosts. */
void follow_start(struct agent *agent);			  /* after each load */
void follow_failed(struct agent *agent, const char *why); /* a load after the first one */
void follow_pass_time(struct agent *agent);		  /* once a second */

/* fleet.c: the hosts that share the store. */
struct metrics;
struct fleet *fleet_new(struct agent *agent); /* NULL when memory is short */
void fleet_free(struct fleet *fleet);	      /* accepts NULL */
void fleet_pass_time(struct fleet *fleet);    /* once a second */
void fleet_leave(struct fleet *fleet);	      /* before the store is freed; accepts NULL */
unsigned
fleet_alive(const struct fleet *fleet); /* hosts heard of lately, this one too: 1 or more */
json_t *fleet_json(const struct fleet *fleet);
void fleet_metrics(const struct fleet *fleet, struct metrics *m);

/* share_exchange.c: limits that all hosts hold together. */
struct share_exchange *share_exchange_new(struct agent *agent); /* NULL when memory is short */
int share_exchange_start(
	struct share_exchange *share_exchange); /* when there is a mirror; before the first load */
void share_exchange_stop(
	struct share_exchange *share_exchange); /* what is lent is given back; accepts NULL */
void share_exchange_free(
	struct share_exchange *share_exchange); /* accepts NULL; no worker may run any more */
uint64_t share_exchange_lent(const struct share_exchange *share_exchange);
void share_exchange_metrics(const struct share_exchange *share_exchange, struct metrics *m);

/* lists.c: the operators' lists. See admin.h for the first; `lists` are complete for the others. */
int agent_lists_change(void *agent, const struct admin_list_change *change, char *ret_why,
		       size_t why_size, store_done done, void *arg);
void agent_lists_loaded(struct agent *agent);
void agent_lists_enter(struct agent *agent, const struct store_entry *entry); /* the store has it */
void agent_lists_leave(struct agent *agent, const struct cidr *block);
void agent_lists_pass_time(struct agent *agent); /* once a second */

/* events.c: what XDP tells of its refusals. */
struct events *events_new(struct agent *agent); /* NULL when memory is short */
void events_free(struct events *events);	/* accepts NULL */
void events_take(struct events *events);	/* what waits in the kernel */
json_t *events_json(void *agent, bool has_since, uint64_t since);

/* flush.c: usage to the store. */
void flush_usage(struct agent *agent);
void flush_finally(struct agent *agent); /* then agent_close() */

/* reload.c */
/* See admin.h; @done is called once all workers go by the new rules, if 0 is returned. */
int reload(struct agent *agent, struct buf *messages, void (*done)(void *arg), void *arg);

/* fastpath_feed.c */
void fastpath_feed_prepare(struct agent *agent, struct tiers *fresh); /* before @fresh are in use */
void fastpath_feed_give_back(struct agent *agent, const struct tiers *old,
			     const struct tiers *fresh);
void fastpath_feed_stop(struct agent *agent);
void fastpath_feed_start(struct agent *agent); /* by the rules that are current */
void fastpath_feed_watch(struct agent *agent); /* every second: if none arrive, drop instead */

/* admin_bridge.c */
int admin_bridge_open(struct agent *agent); /* 0 or a negative errno, after a message */

/* status.c */
json_t *status_json(void *agent);
json_t *status_fastpath(void *agent);
int status_metrics(void *agent, struct buf *out);

/* agent.c */
void agent_fail(struct agent *agent, const char *format, ...) __attribute__((format(printf, 2, 3)));
void agent_loaded(struct agent *agent);
void agent_close(struct agent *agent);

#endif
