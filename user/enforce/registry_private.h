/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * registry_private: the queue of changes. Private to registry.c, registry_keys.c and
 * registry_subscriptions.c.
 *
 * A change is a job. begin() makes the new records from those in the mirror, and writes them to the
 * store. When the store's callback runs, the feed has already applied the change to the mirror.
 * Only one job runs at a time.
 */
#ifndef ENFORCE_REGISTRY_PRIVATE_H
#define ENFORCE_REGISTRY_PRIVATE_H

#include <sys/queue.h>

#include "enforce/registry.h"

struct job {
	STAILQ_ENTRY(job) entry;
	struct registry *registry; /* borrowed: it owns the job */
	bool is_begun;
	void (*begin)(struct job *job);
	registry_done done;
	void *arg;
	uint64_t target; /* account or key */
	uint64_t time_ms;
	struct registry_change change;		   /* its strings point into `account` */
	struct registry_subscription subscription; /* the same */
	struct store_account account, before;
	bool has_before, is_unchanged, is_in_doubt, drops_usage;
	uint64_t *ids; /* owned: accounts to change, one after another */
	unsigned id_count, id_at;
	struct store_key *keys; /* owned */
	size_t key_count;
	size_t present;
	size_t failed_at;
	size_t changed; /* accounts entitled, keys ended */
	char key_text[KEY_TEXT_SIZE];
	char task_id[STORE_TASK_ID_MAX];
};

struct registry {
	struct store *store;		  /* borrowed */
	struct mirror *mirror;		  /* borrowed */
	const struct crypto_hmac *pepper; /* borrowed */
	const char *key_prefix;		  /* borrowed */
	STAILQ_HEAD(, job) jobs;	  /* owned; the first one is running */
	unsigned waiting;
	bool is_pumping;
	registry_outbox outbox; /* NULL: none */
	void *outbox_arg;	/* borrowed */
};

/* A new job. NULL if memory is short; then @done has already got -ENOMEM. */
struct job *registry_job(struct registry *registry, void (*begin)(struct job *), registry_done done,
			 void *arg);

/* Enqueue @job, or refuse it with -ENOBUFS if too many wait. */
void registry_submit(struct job *job);

/* Call back with @err and free a job that was not enqueued. */
void registry_refuse(struct job *job, int err);

/* End the running job, and begin the next one. */
void registry_end(struct job *job, int err);

/*
 * Write the job's account to the store, as a change of `before` if it has one, with the tasks of
 * the outbox; then end the job. @named: fields to set even if they do not differ.
 */
void registry_store_account(struct job *job, uint32_t named);

/* The store's callback for the job @arg: end the job. */
void registry_on_stored(void *arg, int err);

/* Copy @value to @field, truncated to @size, unless it is NULL. */
void registry_replace(char *field, size_t size, const char *value);

#endif
