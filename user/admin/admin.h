/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * admin: the operator's interface: JSON over HTTP on a Unix socket, and metrics.
 *
 * The socket has mode 0600: a process that can open it may do everything. A TCP address, if
 * configured, serves only /metrics, /healthz and /readyz. Control loop only.
 *
 * Here belongs the translation between HTTP and the modules that do the work. What a call means
 * belongs to those modules; what connects several of them belongs to agent/.
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

/* Questions about billing, most of which need calls to Stripe. */
struct admin_question {
	enum {
		ADMIN_SYNC,   /* reconcile accounts with Stripe's subscriptions */
		ADMIN_DRIFT,  /* compare counted usage since `since_s` with what Stripe has */
		ADMIN_FAILED, /* list the usage that Stripe did not accept */
		ADMIN_RETRY,  /* send refused usage again: `task`, or all */
	} kind;
	uint64_t since_s;
	const char *task; /* borrowed during the call; NULL: all */
};

/* Takes over @answer. NULL: it failed, and @why says why. */
typedef void (*admin_answered)(void *arg, json_t *answer, const char *why);

/* A claim link to be made. Exactly one of the first four is set. */
struct admin_claim {
	const char *account, *customer, *subscription, *session; /* borrowed during the call */
	const char *label; /* of the key; NULL: the default; also borrowed */
	uint64_t lasts_ms;
	bool is_further; /* to an additional key, whether or not the first was claimed */
};

/* Takes over @answer. NULL: it failed with the HTTP status @status, and @why says why. */
typedef void (*admin_claimed)(void *arg, json_t *answer, unsigned status, const char *why);

/* A change of the operators' lists. */
struct admin_list_change {
	struct store_entry entry; /* for a removal only the block and the list matter */
	bool is_removal;
	bool is_forced;
};

/*
 * What the admin interface may use of the agent: the places of its parts, which change while it
 * starts and reloads, and its actions. All borrowed until admin_free().
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
	/*
	 * Whether requests get real verdicts now. *@ret_why: why not, or what is degraded; may be
	 * empty.
	 */
	bool (*is_ready)(void *arg, const char **ret_why);
	/* A new object for `status`; the caller frees it. */
	json_t *(*status)(void *arg);
	/* Write all metrics as Prometheus text. 0 or the error of buf_append(). */
	int (*write_metrics)(void *arg, struct buf *out);
	/*
	 * Reload the configuration. 0, and @done follows once every worker uses it, perhaps before
	 * this returns; or a negative errno, and @messages says what is wrong.
	 */
	int (*reload)(void *arg, struct buf *messages, void (*done)(void *done_arg),
		      void *done_arg);
	/*
	 * 0, and @done follows; -ENOSYS: Stripe is not configured, -EREMOTE: another host does the
	 * billing, -EAGAIN: not ready, -ENOMEM.
	 */
	int (*ask)(void *arg, const struct admin_question *question, admin_answered done,
		   void *done_arg);
	/* 0, and @done follows; -ENOSYS: Stripe is not configured, -EAGAIN: not ready. */
	int (*make_claim)(void *arg, const struct admin_claim *claim, admin_claimed done,
			  void *done_arg);
	/*
	 * 0, and @done follows when the change is durable, workers and XDP apply it, and
	 * connections that are now denied have been reset. -ENOENT: not on that list; -EPERM:
	 * @ret_why says why not; -EAGAIN: the agent is stopping; -ENOMEM.
	 */
	int (*change_lists)(void *arg, const struct admin_list_change *change, char *ret_why,
			    size_t why_size, store_done done, void *done_arg);
	/* New objects, as for `status`. */
	json_t *(*fastpath)(void *arg);
	json_t *(*events)(void *arg, bool has_since, uint64_t since);
	/* 0; -ENODEV: no fast path, @ret_why says why; -EAGAIN: not ready. */
	int (*set_action)(void *arg, enum tollgate_action action, const char **ret_why);
};

struct admin;

/* NULL when memory is short. */
struct admin *admin_new(uv_loop_t *loop, const struct admin_agent *agent);

/* Listen on the Unix socket at @path, and on @address if it is not NULL. 0 or a negative errno. */
int admin_listen_unix(struct admin *admin, const char *path);
int admin_listen_tcp(struct admin *admin, const struct sockaddr_storage *address);

/* Close listeners and connections; the loop must run until they are closed. Accepts NULL. */
void admin_stop(struct admin *admin);

/* After admin_stop(), when the loop has nothing left to do. Accepts NULL. */
void admin_free(struct admin *admin);

#endif
