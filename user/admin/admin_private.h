/* SPDX-License-Identifier: BSD-2-Clause */
/* admin_private: one request of the admin API, and the calls. Private to admin/. */
#ifndef ADMIN_PRIVATE_H
#define ADMIN_PRIVATE_H

#include "admin/admin.h"
#include "base/text.h"

/* One request: its body is collected, then it is dispatched. It lives until it is answered. */
struct admin_request {
	struct admin *admin; /* borrowed */
	const struct admin_agent *agent;
	struct http_stream *stream; /* NULL: the client is gone, and the answer is dropped */
	struct buf body;
	char method[8];
	char path[256];
	char query[512];
	json_t *json; /* owned: the body, if it is JSON; an empty object if there is none */
	void *work;   /* owned: what a call needs until its callback; freed with free() */
};

/* Answer and free @r. Takes over @json. */
void admin_answer_json(struct admin_request *r, unsigned status, json_t *json);
void admin_answer_text(struct admin_request *r, unsigned status, const char *type,
		       struct text body);

/* Answer with problem+json, {"status":...,"detail":...}, and free @r. */
void admin_fail(struct admin_request *r, unsigned status, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * The same for an errno of the registry or the store. @what names the thing, for example "account".
 */
void admin_fail_errno(struct admin_request *r, int err, const char *what);

/*
 * Get the decoded value of a query parameter, with its NUL; empty if it is malformed, given twice
 * or too long. False if it is absent.
 */
bool admin_query(const struct admin_request *r, const char *name, char *ret, size_t size);

/*
 * A string member of the body; NULL if absent. If it is not a string or too long, *ret_bad = @name.
 */
const char *admin_string(const struct admin_request *r, const char *name, size_t size,
			 const char **ret_bad);

/* An RFC 3339 time, or null for 0. */
json_t *admin_time(uint64_t ms);

typedef void (*admin_call)(struct admin_request *r, const char *id);

/*
 * One function for each call, in accounts.c, keys.c, billing.c and edge.c. @id is from the path, or
 * "".
 */
void admin_accounts_list(struct admin_request *r, const char *id);
void admin_account_create(struct admin_request *r, const char *id);
void admin_account_show(struct admin_request *r, const char *id);
void admin_account_set(struct admin_request *r, const char *id);
void admin_account_delete(struct admin_request *r, const char *id);
void admin_claim_create(struct admin_request *r, const char *id);
void admin_sync(struct admin_request *r, const char *id);
void admin_drift(struct admin_request *r, const char *id);
void admin_usage_list(struct admin_request *r, const char *id);
void admin_usage_failed(struct admin_request *r, const char *id);
void admin_usage_retry(struct admin_request *r, const char *id);
void admin_tiers_list(struct admin_request *r, const char *id);
void admin_keys_list(struct admin_request *r, const char *id);
void admin_key_create(struct admin_request *r, const char *id);
void admin_key_revoke(struct admin_request *r, const char *id);
void admin_keys_revoke(struct admin_request *r, const char *id);
void admin_key_rotate(struct admin_request *r, const char *id);
void admin_keys_import(struct admin_request *r, const char *id);
void admin_lists_show(struct admin_request *r, const char *id);
void admin_list_put(struct admin_request *r, const char *id);
void admin_list_remove(struct admin_request *r, const char *id);
void admin_fastpath_show(struct admin_request *r, const char *id);
void admin_fastpath_set(struct admin_request *r, const char *id);
void admin_events(struct admin_request *r, const char *id);

#endif
