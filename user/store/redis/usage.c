/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * redis_usage: usage and quotas in Redis. lua/usage.lua describes the keys.
 *
 * Scripts calculate with doubles, so totals above 2^53 are refused. Long lists are read in pages,
 * so that no call blocks Redis for long.
 */
#include "store/redis/redis.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "tollgate/abi.h"

#define EXACT_MAX   (1ULL << 53)
#define PAGE_ROWS   500
#define ROW_WORDS   7
#define MEMBER_SIZE 128

void redis_arg_usage(struct redis_args *args, const struct store_usage *row)
{
	redis_arg_id(args, row->account);
	redis_arg_id(args, row->epoch);
	redis_arg_u64(args, row->window_start_s);
	redis_arg_u64(args, row->window_seconds);
	redis_arg_u64(args, row->requests);
	redis_arg_u64(args, row->units);
}

static int put_rows(struct redis *r, const struct store_usage *rows, size_t count)
{
	struct redis_args args;

	redis_function(&args, "usage_put");
	for (size_t i = 0; i < count; i++) {
		if (rows[i].requests > EXACT_MAX || rows[i].units > EXACT_MAX)
			args.err = -EINVAL;
		redis_arg_usage(&args, &rows[i]);
	}
	return redis_change(r, REDIS_USAGE, &args);
}

static int put_quotas(struct redis *r, const struct store_quota *rows, size_t count)
{
	struct redis_args args;

	redis_function(&args, "quota_put");
	for (size_t i = 0; i < count; i++) {
		if (rows[i].units > EXACT_MAX)
			args.err = -EINVAL;
		redis_arg_id(&args, rows[i].account);
		redis_arg_id(&args, rows[i].epoch);
		redis_arg_u64(&args, rows[i].period_kind);
		redis_arg_u64(&args, rows[i].period);
		redis_arg_u64(&args, rows[i].units);
	}
	return redis_change(r, REDIS_USAGE, &args);
}

/* Totals only grow, so writing pages again after a failure is harmless. */
int redis_write_usage(struct redis *r, const struct store_usage *usage, size_t usage_count,
		      const struct store_quota *quotas, size_t quota_count)
{
	int err = redis_check_open(r);

	for (size_t at = 0; at < usage_count && !err; at += PAGE_ROWS)
		err = put_rows(r, usage + at,
			       usage_count - at < PAGE_ROWS ? usage_count - at : PAGE_ROWS);
	for (size_t at = 0; at < quota_count && !err; at += PAGE_ROWS)
		err = put_quotas(r, quotas + at,
				 quota_count - at < PAGE_ROWS ? quota_count - at : PAGE_ROWS);
	return err;
}

int redis_usage_put(struct store_engine *engine, const struct store_usage *usage,
		    size_t usage_count, const struct store_quota *quotas, size_t quota_count)
{
	struct redis *r = (struct redis *)engine;
	int err = redis_write_usage(r, usage, usage_count, quotas, quota_count);

	if (err == -EHOSTDOWN && r->journal)
		err = redis_keep_usage(r, usage, usage_count, quotas, quota_count);
	return err;
}

/* ---- lists ---- */

struct found {
	struct store_usage *rows; /* owned */
	size_t count, room;
};

static struct store_usage *add_row(struct found *found)
{
	/* The callers limit the number of rows. */
	if (array_reserve(found->rows, found->room, found->count + 1, ARRAY_NO_LIMIT))
		return NULL;
	found->rows[found->count] = (struct store_usage){ 0 };
	return &found->rows[found->count++];
}

static uint64_t number_of(const redisReply *word)
{
	return word->type == REDIS_REPLY_STRING ? strtoull(word->str, NULL, 10) : 0;
}

/*
 * Read a page of lua/usage.lua: account, start, seconds, requests, units, closed units, closings.
 */
static int take_rows(const redisReply *reply, size_t limit, struct found *found)
{
	for (size_t i = 1; i + ROW_WORDS <= reply->elements && found->count < limit;
	     i += ROW_WORDS) {
		redisReply *const *words = reply->element + i;
		struct store_usage *row = add_row(found);

		if (!row)
			return -ENOMEM;
		if (redis_parse_id(words[0]->str, words[0]->len, &row->account))
			return -EUCLEAN;
		row->window_start_s = number_of(words[1]);
		row->window_seconds = (uint32_t)number_of(words[2]);
		row->requests = number_of(words[3]);
		row->units = number_of(words[4]);
		row->closed_units = number_of(words[5]);
		row->closings = (uint32_t)number_of(words[6]);
	}
	return 0;
}

/*
 * Read all pages of @function, for @account (0: all accounts) and @time_s. @from, of MEMBER_SIZE,
 * is where to begin in the sorted set, or "".
 */
static int list_pages(struct redis *r, const char *function, uint64_t account, uint64_t time_s,
		      size_t limit, char *from, struct found *found)
{
	int err = limit ? redis_check_open(r) : 0;

	while (!err && found->count < limit) {
		struct redis_args args;
		redisReply *reply;

		redis_function(&args, function);
		if (account)
			redis_arg_id(&args, account);
		else
			redis_arg(&args, "");
		/*
		 * The sorted sets pad numbers to sixteen digits, so a larger time would not sort.
		 */
		redis_arg_u64(&args, time_s < 9999999999999999ULL ? time_s : 9999999999999999ULL);
		redis_arg(&args, from);
		redis_arg_u64(&args, limit - found->count);
		err = redis_call(&r->link, REDIS_USAGE, &args, REDIS_REPLY_ARRAY, &reply);
		redis_args_done(&args);
		if (err)
			break;
		err = take_rows(reply, limit, found);
		redis_copy(from, MEMBER_SIZE, reply->element[0]->str, reply->element[0]->len);
		freeReplyObject(reply);
		if (!from[0])
			break;
	}
	return err;
}

static int return_rows(struct redis *r, int err, struct found *found, struct store_usage **ret_rows,
		       size_t *ret_count)
{
	if (err == -EUCLEAN)
		redis_say(&r->link, err, "Redis %s: usage is malformed", r->link.server);
	if (err) {
		free(found->rows);
		return err;
	}
	*ret_rows = found->rows;
	*ret_count = found->count;
	return 0;
}

/* Write the first place in the sorted set of open windows that comes after @row; see lua/usage.lua.
 */
static void place_after(const struct store_usage *row, bool is_of_account, char *ret_from)
{
	uint64_t end_s = row->window_start_s + row->window_seconds;

	if (is_of_account)
		snprintf(ret_from, MEMBER_SIZE,
			 "(%016" PRIx64 ":%016" PRIu64 ":%016" PRIu64 ":%" PRIu32, row->account,
			 end_s, row->window_start_s, row->window_seconds);
	else
		snprintf(ret_from, MEMBER_SIZE,
			 "(%016" PRIu64 ":%016" PRIu64 ":%016" PRIx64 ":%" PRIu32, end_s,
			 row->window_start_s, row->account, row->window_seconds);
}

int redis_usage_open(struct store_engine *engine, const struct store_usage_query *query,
		     struct store_usage **ret_rows, size_t *ret_count)
{
	struct redis *r = (struct redis *)engine;
	struct found found = { 0 };
	char from[MEMBER_SIZE] = "";
	int err = redis_check_open(r);

	if (query->after)
		place_after(query->after, query->account != 0, from);
	if (!err)
		err = list_pages(r, "usage_open", query->account, query->ended_by_s, query->limit,
				 from, &found);
	return return_rows(r, err, &found, ret_rows, ret_count);
}

/* A member of the set `windows`: a window's start and length. */
struct window {
	uint64_t start_s;
	uint32_t seconds;
};

/* List the windows that begin at @since_s or later, ordered by their start. */
static int list_windows(struct redis *r, uint64_t since_s, struct window **ret_windows,
			size_t *ret_count)
{
	struct redis_args args;
	redisReply *reply;
	struct window *windows;
	int err;

	redis_args_init(&args);
	redis_arg(&args, "ZRANGEBYSCORE");
	redis_arg(&args, REDIS_PREFIX "windows");
	redis_arg_u64(&args, since_s);
	redis_arg(&args, "+inf");
	err = redis_link_up(&r->link);
	if (!err)
		err = redis_command(&r->link, &args, REDIS_REPLY_ARRAY, &reply);
	redis_args_done(&args);
	if (err)
		return err;
	windows = calloc(reply->elements + 1, sizeof(*windows));
	for (size_t i = 0; windows && i < reply->elements; i++)
		sscanf(reply->element[i]->str, "%" SCNu64 ":%" SCNu32, &windows[i].start_s,
		       &windows[i].seconds);
	*ret_windows = windows;
	*ret_count = reply->elements;
	freeReplyObject(reply);
	return windows ? 0 : -ENOMEM;
}

static int read_row(const char *field, size_t field_len, const char *line, size_t len,
		    struct store_usage *row)
{
	struct redis_line l = redis_line_of(line, len);

	row->requests = redis_read_u64(&l);
	row->units = redis_read_u64(&l);
	row->closed_units = redis_read_u64(&l);
	row->closings = (uint32_t)redis_read_u64(&l);
	return l.err || redis_parse_id(field, field_len, &row->account) ? -EUCLEAN : 0;
}

static int take_window(void *arg, const char *field, size_t field_len, const char *line, size_t len)
{
	struct found *found = arg;
	struct store_usage *row = add_row(found);

	return row ? read_row(field, field_len, line, len, row) : -ENOMEM;
}

static int compare_rows(const void *a, const void *b)
{
	const struct store_usage *x = a, *y = b;

	if (x->window_start_s != y->window_start_s)
		return x->window_start_s < y->window_start_s ? -1 : 1;
	if (x->account != y->account)
		return x->account < y->account ? -1 : 1;
	return x->window_seconds < y->window_seconds ? -1 : x->window_seconds > y->window_seconds;
}

/* Sort, and drop the rows that the walk returned twice. */
static void sort_rows(struct found *found)
{
	size_t kept = 0;

	qsort(found->rows, found->count, sizeof(*found->rows), compare_rows);
	for (size_t i = 0; i < found->count; i++) {
		if (!kept || compare_rows(&found->rows[kept - 1], &found->rows[i]))
			found->rows[kept++] = found->rows[i];
	}
	found->count = kept;
}

/*
 * Read whole windows until there are enough rows. The accounts of a window come in no order, so
 * @limit can be applied only after sorting.
 */
static int list_all(struct redis *r, uint64_t since_s, size_t limit, struct found *found)
{
	struct window *windows;
	size_t count;
	int err = list_windows(r, since_s, &windows, &count);

	for (size_t i = 0; i < count && !err; i++) {
		size_t first = found->count;
		char key[96];

		if (found->count >= limit && windows[i].start_s != windows[i - 1].start_s)
			break;
		snprintf(key, sizeof(key), REDIS_PREFIX "usage:%" PRIu64 ":%" PRIu32,
			 windows[i].start_s, windows[i].seconds);
		err = redis_scan(r, key, take_window, found);
		for (size_t j = first; j < found->count; j++) {
			found->rows[j].window_start_s = windows[i].start_s;
			found->rows[j].window_seconds = windows[i].seconds;
		}
	}
	free(windows);
	if (err)
		return err;
	if (found->count)
		sort_rows(found);
	if (found->count > limit)
		found->count = limit;
	return 0;
}

int redis_each_window(struct redis *r, uint64_t *start_s, uint32_t *seconds,
		      int (*take)(void *arg, const char *field, size_t field_len, const char *value,
				  size_t len),
		      void *arg)
{
	struct window *windows;
	size_t count;
	int err = list_windows(r, 0, &windows, &count);

	if (err)
		return err;
	for (size_t i = 0; i < count && !err; i++) {
		char key[96];

		*start_s = windows[i].start_s;
		*seconds = windows[i].seconds;
		snprintf(key, sizeof(key), REDIS_PREFIX "usage:%" PRIu64 ":%" PRIu32, *start_s,
			 *seconds);
		err = redis_scan(r, key, take, arg);
	}
	free(windows);
	return err;
}

int redis_usage_list(struct store_engine *engine, uint64_t account, uint64_t since_s, size_t limit,
		     struct store_usage **ret_rows, size_t *ret_count)
{
	struct redis *r = (struct redis *)engine;
	char from[MEMBER_SIZE] = "";
	struct found found = { 0 };
	int err = redis_check_open(r);

	if (!err && account)
		err = list_pages(r, "usage_of", account, since_s, limit, from, &found);
	else if (!err)
		err = list_all(r, since_s, limit, &found);
	return return_rows(r, err, &found, ret_rows, ret_count);
}

/* ---- changes ---- */

int redis_usage_close(struct store_engine *engine, const struct store_usage *rows, size_t row_count,
		      const struct store_task *tasks, size_t task_count)
{
	struct redis_args args;

	redis_function(&args, "usage_close");
	redis_arg(&args, ((struct redis *)engine)->fence);
	redis_arg_u64(&args, row_count);
	for (size_t i = 0; i < row_count; i++) {
		redis_arg_id(&args, rows[i].account);
		redis_arg_u64(&args, rows[i].window_start_s);
		redis_arg_u64(&args, rows[i].window_seconds);
		redis_arg_u64(&args, rows[i].units);
		redis_arg_u64(&args, rows[i].closed_units);
	}
	for (size_t i = 0; i < task_count; i++)
		redis_arg_task(&args, &tasks[i]);
	return redis_change((struct redis *)engine, REDIS_USAGE, &args);
}

static int prune_window(struct redis *r, const struct window *window)
{
	char cursor[32] = "0";
	int err;

	do {
		struct redis_args args;
		redisReply *reply;

		redis_function(&args, "usage_prune");
		redis_arg_u64(&args, window->start_s);
		redis_arg_u64(&args, window->seconds);
		redis_arg(&args, cursor);
		err = redis_call(&r->link, REDIS_USAGE, &args, REDIS_REPLY_STRING, &reply);
		redis_args_done(&args);
		if (err)
			return err;
		redis_copy(cursor, sizeof(cursor), reply->str, reply->len);
		freeReplyObject(reply);
	} while (strcmp(cursor, "0"));
	return 0;
}

int redis_usage_prune(struct store_engine *engine, uint64_t before_s)
{
	struct redis *r = (struct redis *)engine;
	struct window *windows = NULL;
	size_t count = 0;
	int err = redis_check_open(r);

	if (!err)
		err = list_windows(r, 0, &windows, &count);
	for (size_t i = 0; i < count && !err && windows[i].start_s < before_s; i++) {
		if (windows[i].start_s + windows[i].seconds <= before_s)
			err = prune_window(r, &windows[i]);
	}
	free(windows);
	return err;
}

/* ---- quotas, for a load ---- */

struct quota_visit {
	const struct store_visitor *visitor;
	void *arg;
	struct store_quota rows[PAGE_ROWS];
	size_t count;
	uint32_t kind, period;
};

static int hand_on(struct quota_visit *v)
{
	size_t count = v->count;

	v->count = 0;
	return count && v->visitor->on_quotas ? v->visitor->on_quotas(v->arg, v->rows, count) : 0;
}

static int take_quota(void *arg, const char *field, size_t field_len, const char *value, size_t len)
{
	struct quota_visit *v = arg;
	struct store_quota *row = &v->rows[v->count++];

	*row = (struct store_quota){ .period_kind = v->kind, .period = v->period };
	if (field_len != 33 || redis_parse_id(field, 16, &row->account) ||
	    redis_parse_id(field + 17, 16, &row->epoch) ||
	    text_parse_u64((struct text){ value, len }, UINT64_MAX, &row->units))
		return -EUCLEAN;
	return v->count == PAGE_ROWS ? hand_on(v) : 0;
}

/* Load the quotas of one kind for periods since @since, ordered by period. */
static int load_kind(struct redis *r, struct quota_visit *v, uint32_t since)
{
	struct redis_args args;
	redisReply *reply;
	int err;

	redis_args_init(&args);
	redis_arg(&args, "ZRANGEBYSCORE");
	redis_arg(&args, REDIS_PREFIX "quotas");
	redis_arg_u64(&args, since);
	redis_arg(&args, "+inf");
	err = redis_command(&r->link, &args, REDIS_REPLY_ARRAY, &reply);
	redis_args_done(&args);
	if (err)
		return err;
	for (size_t i = 0; !err && i < reply->elements; i++) {
		uint32_t kind = 0;
		char key[64];

		if (sscanf(reply->element[i]->str, "%" SCNu32 ":%" SCNu32, &kind, &v->period) !=
			    2 ||
		    kind != v->kind)
			continue;
		snprintf(key, sizeof(key), REDIS_PREFIX "quota:%s", reply->element[i]->str);
		err = redis_scan(r, key, take_quota, v);
	}
	freeReplyObject(reply);
	return err ? err : hand_on(v);
}

int redis_load_quotas(struct redis *r, const struct store_visitor *visitor, void *visitor_arg,
		      uint32_t day, uint32_t month_day)
{
	struct quota_visit *v = calloc(1, sizeof(*v));
	int err;

	if (!v)
		return -ENOMEM;
	v->visitor = visitor;
	v->arg = visitor_arg;
	v->kind = TOLLGATE_PERIOD_DAY;
	err = load_kind(r, v, day);
	v->kind = TOLLGATE_PERIOD_MONTH;
	if (!err)
		err = load_kind(r, v, month_day);
	free(v);
	return err;
}
