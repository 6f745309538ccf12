/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * admin: the operator's way in: JSON over HTTP on a Unix socket, and metrics.
 *
 * The socket is mode 0600, so whoever can open it may do everything. A TCP address, if configured,
 * serves /metrics, /healthz and /readyz and nothing else. Control loop only.
 */
#ifndef ADMIN_ADMIN_H
#define ADMIN_ADMIN_H

#include <jansson.h>
#include <stdbool.h>
#include <uv.h>

#include "base/buf.h"
#include "fastpath/fastpath.h"
#include "enforce/lists.h"
#include "enforce/registry.h"
#include "enforce/slot.h"
#include "http/server.h"

/* Questions that only Stripe can answer. */
enum admin_question {
	ADMIN_SYNC,  /* repair what differs from Stripe's subscriptions */
	ADMIN_DRIFT, /* what was counted, against what Stripe has */
};

/* @answer is taken over; NULL: there is none, @why says so. */
typedef void (*admin_answered)(void *arg, json_t *answer, const char *why);

/* What is to become of the operators' lists. */
struct admin_list_change {
	struct store_entry entry; /* of a removal only the block and the list count */
	bool is_removal;
	bool is_forced;
};

/*
 * What the admin interface may use of the agent: the places of its parts, which change while it starts
 * and reloads, and its actions. All borrowed until admin_free().
 */
struct admin_agent {
	struct registry *const *registry; /* NULL there while the store is not loaded */
	struct mirror *const *mirror;	  /* likewise */
	struct slots *slots;
	struct store *const *store;
	const struct tiers *const *tiers;
	struct lists *const *lists;
	const char *key_prefix;

	void *arg; /* of the following */
	/* Whether requests get real verdicts now; if not, a sentence that says why. */
	bool (*is_ready)(void *arg, const char **ret_why);
	/* A new object for `status`; the caller frees it. */
	json_t *(*status)(void *arg);
	/* Prometheus text of everything that is counted. 0 or the error of buf_append(). */
	int (*write_metrics)(void *arg, struct buf *out);
	/*
	 * Read the configuration again. 0, and @done follows when every worker goes by it, perhaps at
	 * once; or a negative errno, and @messages says what is wrong.
	 */
	int (*reload)(void *arg, struct buf *messages, void (*done)(void *done_arg),
		      void *done_arg);
	/*
	 * 0, and @done follows; -ENOSYS: Stripe is not configured, -EREMOTE: another host's
	 * work, -EAGAIN: not ready, -ENOMEM.
	 */
	int (*ask)(void *arg, enum admin_question question, uint64_t since_s, admin_answered done,
		   void *done_arg);
	/*
	 * 0, and @done follows when the change is durable, workers and XDP go by it, and connections
	 * that are denied now are reset. -ENOENT: not on that list; -EPERM: @ret_why says why not;
	 * -EAGAIN: the agent is stopping; -ENOMEM.
	 */
	int (*change_lists)(void *arg, const struct admin_list_change *change, char *ret_why,
			    size_t why_size, store_done done, void *done_arg);
	/* A new object each, as for `status`. */
	json_t *(*fastpath)(void *arg);
	json_t *(*events)(void *arg, bool has_since, uint64_t since);
	/* 0; -ENODEV: there is none, @ret_why says why; -EAGAIN: not ready. */
	int (*set_action)(void *arg, enum tollgate_action action, const char **ret_why);
};

struct admin;

/* NULL when memory is short. */
struct admin *admin_new(uv_loop_t *loop, const struct admin_agent *agent);

/* Listen on the Unix socket at @path, and on @address if it is not NULL. 0 or a negative errno. */
int admin_listen_unix(struct admin *admin, const char *path);
int admin_listen_tcp(struct admin *admin, const struct sockaddr_storage *address);

/* Close listeners and connections; the loop must run on until they are closed. Accepts NULL. */
void admin_stop(struct admin *admin);

/* After admin_stop(), when the loop has nothing left to do. Accepts NULL. */
void admin_free(struct admin *admin);

#endif
