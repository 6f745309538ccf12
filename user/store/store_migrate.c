/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * store_migrate: copy everything from one store into another, empty one.
 *
 * The original is read into an image in memory, sorted so that its order does not depend on the
 * engine. The copy is read back in the same way, and both images must have the same digest.
 */
#include "store/store_migrate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "base/array.h"
#include "store/engine.h"

#define PAGE	   500
#define TIMEOUT_MS 10000

/* A growing array of records. */
struct table {
	char *rows; /* owned */
	size_t count, room, size;
};

struct image {
	struct table accounts, keys, entries, quotas, usage, tasks;
	uint8_t id[STORE_ID_BYTES];
};

static int append(struct table *t, const void *records, size_t count, size_t size)
{
	/* Everything that the store holds is read into memory: ARRAY_NO_LIMIT. */
	int err = array_grow(&t->rows, &t->room, t->count + count, size, ARRAY_NO_LIMIT);

	if (err)
		return err;
	t->size = size;
	if (count)
		memcpy(t->rows + t->count * size, records, count * size);
	t->count += count;
	return 0;
}

static void image_done(struct image *image)
{
	struct store_task *tasks = (struct store_task *)image->tasks.rows;

	store_tasks_free(tasks, image->tasks.count);
	free(image->accounts.rows);
	free(image->keys.rows);
	free(image->entries.rows);
	free(image->quotas.rows);
	free(image->usage.rows);
	*image = (struct image){ 0 };
}

static bool is_empty(const struct image *image)
{
	return !image->accounts.count && !image->keys.count && !image->entries.count &&
	       !image->quotas.count && !image->usage.count && !image->tasks.count;
}

/* ---- reading ---- */

static int on_accounts(void *arg, const struct store_account *accounts, size_t count)
{
	return append(&((struct image *)arg)->accounts, accounts, count, sizeof(*accounts));
}

static int on_quotas(void *arg, const struct store_quota *quotas, size_t count)
{
	return append(&((struct image *)arg)->quotas, quotas, count, sizeof(*quotas));
}

static int on_entries(void *arg, const struct store_entry *entries, size_t count)
{
	return append(&((struct image *)arg)->entries, entries, count, sizeof(*entries));
}

static int on_usage(void *arg, const struct store_usage *rows, size_t count)
{
	return append(&((struct image *)arg)->usage, rows, count, sizeof(*rows));
}

static int read_keys(struct store_engine *engine, struct image *image)
{
	uint64_t after = 0;
	size_t count;
	int err;

	do {
		struct store_key *keys = NULL;

		err = engine->ops->keys_list(engine, 0, after, PAGE, &keys, &count);
		if (!err)
			err = append(&image->keys, keys, count, sizeof(*keys));
		if (!err && count)
			after = keys[count - 1].id;
		free(keys);
	} while (!err && count == PAGE);
	return err;
}

static int read_queue(struct store_engine *engine, const char *queue, enum store_task_state state,
		      struct image *image)
{
	struct store_task_query query = {
		.queue = queue, .state = state, .due_by_ms = UINT64_MAX, .limit = PAGE
	};
	size_t count;
	int err;

	do {
		struct store_task *tasks = NULL;

		err = engine->ops->tasks_list(engine, &query, &tasks, &count);
		if (!err)
			err = append(&image->tasks, tasks, count, sizeof(*tasks));
		if (!err && count)
			query.after_seq = tasks[count - 1].seq;
		if (err)
			store_tasks_free(tasks, count);
		else
			free(tasks); /* the image owns the bodies now */
	} while (!err && count == PAGE);
	return err;
}

static int read_tasks(struct store_engine *engine, struct image *image)
{
	struct store_queue_count *queues;
	size_t count;
	int err = engine->ops->queues_count(engine, &queues, &count);

	if (err)
		return err;
	for (size_t i = 0; i < count && !err; i++) {
		for (unsigned state = 0; state < STORE_TASK_STATE_COUNT && !err; state++)
			err = read_queue(engine, queues[i].queue, (enum store_task_state)state,
					 image);
	}
	free(queues);
	return err;
}

/* ---- an order that does not depend on the engine ---- */

#define COMPARE(x, y)                              \
	do {                                       \
		if ((x) != (y))                    \
			return (x) < (y) ? -1 : 1; \
	} while (0)

static int by_id(const void *a, const void *b)
{
	COMPARE(((const struct store_account *)a)->id, ((const struct store_account *)b)->id);
	return 0;
}

static int by_block(const void *a, const void *b)
{
	const struct cidr *x = &((const struct store_entry *)a)->block;
	const struct cidr *y = &((const struct store_entry *)b)->block;
	int order = memcmp(x->address, y->address, sizeof(x->address));

	return order ? order : x->prefix_bits - y->prefix_bits;
}

static int by_period(const void *a, const void *b)
{
	const struct store_quota *x = a, *y = b;

	COMPARE(x->period_kind, y->period_kind);
	COMPARE(x->period, y->period);
	COMPARE(x->account, y->account);
	COMPARE(x->epoch, y->epoch);
	return 0;
}

static int by_window(const void *a, const void *b)
{
	const struct store_usage *x = a, *y = b;

	COMPARE(x->window_start_s, y->window_start_s);
	COMPARE(x->account, y->account);
	COMPARE(x->window_seconds, y->window_seconds);
	return 0;
}

static int by_window_and_epoch(const void *a, const void *b)
{
	int order = by_window(a, b);

	if (order)
		return order;
	COMPARE(((const struct store_usage *)a)->epoch, ((const struct store_usage *)b)->epoch);
	return 0;
}

static int by_seq(const void *a, const void *b)
{
	COMPARE(((const struct store_task *)a)->seq, ((const struct store_task *)b)->seq);
	return 0;
}

static void sort(struct table *t, int (*compare)(const void *, const void *))
{
	if (t->count)
		qsort(t->rows, t->count, t->size, compare);
}

/* Drop records that the load returned twice. Equal records are neighbours, because @t is sorted. */
static void drop_duplicates(struct table *t, int (*compare)(const void *, const void *))
{
	size_t kept = 0;

	for (size_t i = 0; i < t->count; i++) {
		char *row = t->rows + i * t->size;

		if (kept && !compare(t->rows + (kept - 1) * t->size, row))
			continue;
		memmove(t->rows + kept++ * t->size, row, t->size);
	}
	t->count = kept;
}

/*
 * Make `closed_units` comparable. Only the sum over a window's epochs matters, and engines
 * distribute it differently; here the first epochs get all they can hold. Every row gets the
 * highest `closings`.
 */
static void normalize_closed(struct table *t)
{
	struct store_usage *rows = (struct store_usage *)t->rows;

	for (size_t first = 0, end; first < t->count; first = end) {
		uint64_t closed = 0;
		uint32_t closings = 0;

		for (end = first; end < t->count && !by_window(&rows[first], &rows[end]); end++) {
			closed += rows[end].closed_units;
			if (closings < rows[end].closings)
				closings = rows[end].closings;
		}
		for (size_t i = first; i < end; i++) {
			rows[i].closed_units = closed < rows[i].units ? closed : rows[i].units;
			rows[i].closings = closings;
			closed -= rows[i].closed_units;
		}
	}
}

static int read_image(struct store_engine *engine, struct image *image)
{
	static const struct store_visitor visitor = { .on_accounts = on_accounts,
						      .on_quotas = on_quotas,
						      .on_entries = on_entries };
	int err = engine->ops->load(engine, &visitor, image, 0, 0);

	if (!err)
		err = read_keys(engine, image);
	if (!err)
		err = engine->ops->usage_dump(engine, on_usage, image);
	if (!err)
		err = read_tasks(engine, image);
	if (err)
		return err;
	sort(&image->accounts, by_id);
	drop_duplicates(&image->accounts, by_id);
	sort(&image->entries, by_block);
	drop_duplicates(&image->entries, by_block);
	sort(&image->quotas, by_period);
	drop_duplicates(&image->quotas, by_period);
	sort(&image->usage, by_window_and_epoch);
	drop_duplicates(&image->usage, by_window_and_epoch);
	normalize_closed(&image->usage);
	sort(&image->tasks, by_seq);
	return 0;
}

/* Digest every value. This is well defined: padding and the bytes after a string's NUL are zero. */
static int digest_of(const struct image *image, uint8_t ret_digest[STORE_HASH_BYTES])
{
	const struct table *const tables[] = { &image->accounts, &image->keys, &image->entries,
					       &image->quotas, &image->usage };
	const struct store_task *tasks = (const struct store_task *)image->tasks.rows;
	EVP_MD_CTX *sha = EVP_MD_CTX_new();
	int ok = sha && EVP_DigestInit_ex(sha, EVP_sha256(), NULL) &&
		 EVP_DigestUpdate(sha, image->id, sizeof(image->id));

	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]) && ok; i++)
		ok = EVP_DigestUpdate(sha, &tables[i]->count, sizeof(size_t)) &&
		     EVP_DigestUpdate(sha, tables[i]->rows, tables[i]->count * tables[i]->size);
	for (size_t i = 0; i < image->tasks.count && ok; i++) {
		struct store_task task = tasks[i];

		task.seq = 0; /* a copy keeps the order, but not the numbers */
		task.body = NULL;
		ok = EVP_DigestUpdate(sha, &task, sizeof(task)) &&
		     EVP_DigestUpdate(sha, tasks[i].body ? tasks[i].body : "",
				      tasks[i].body ? strlen(tasks[i].body) + 1 : 0);
	}
	ok = ok && EVP_DigestFinal_ex(sha, ret_digest, NULL);
	EVP_MD_CTX_free(sha);
	return ok ? 0 : -ENOMEM;
}

/* ---- writing ---- */

static int write_each(struct store_engine *engine, const struct table *t,
		      int (*write)(struct store_engine *engine, const void *rows, size_t count),
		      size_t page)
{
	int err = 0;

	for (size_t at = 0; at < t->count && !err; at += page)
		err = write(engine, t->rows + at * t->size,
			    t->count - at < page ? t->count - at : page);
	return err;
}

static int write_account(struct store_engine *engine, const void *rows, size_t count)
{
	(void)count;
	return engine->ops->account_add(engine, &(struct store_account_change){ .account = rows });
}

static int write_keys(struct store_engine *engine, const void *rows, size_t count)
{
	return engine->ops->keys_add(engine, rows, count);
}

static int write_entry(struct store_engine *engine, const void *rows, size_t count)
{
	(void)count;
	return engine->ops->entry_put(engine, rows);
}

static int write_quotas(struct store_engine *engine, const void *rows, size_t count)
{
	return engine->ops->usage_put(engine, NULL, 0, rows, count);
}

static int write_usage(struct store_engine *engine, const void *rows, size_t count)
{
	return engine->ops->usage_restore(engine, rows, count);
}

static int write_tasks(struct store_engine *engine, const void *rows, size_t count)
{
	bool fresh[PAGE];

	return engine->ops->tasks_add(engine, rows, count, fresh);
}

static int write_image(struct store_engine *engine, const struct image *image)
{
	int err = engine->ops->set_id(engine, image->id);

	if (!err)
		err = write_each(engine, &image->accounts, write_account, 1);
	if (!err)
		err = write_each(engine, &image->keys, write_keys, PAGE);
	if (!err)
		err = write_each(engine, &image->entries, write_entry, 1);
	if (!err)
		err = write_each(engine, &image->quotas, write_quotas, PAGE);
	if (!err)
		err = write_each(engine, &image->usage, write_usage, PAGE);
	return err ? err : write_each(engine, &image->tasks, write_tasks, PAGE);
}

/* ---- migration ---- */

struct side {
	const char *url;
	char shown[256];
	struct store_engine *engine; /* owned */
	struct image image;
};

static int say(char *ret_why, size_t size, int err, const char *shown, const char *words)
{
	snprintf(ret_why, size, "%s: %s", shown, words);
	return err;
}

static int open_side(struct side *side, const uint8_t pepper_check[STORE_HASH_BYTES], char *ret_why,
		     size_t size)
{
	const struct store_engine_ops *ops = store_engine_of(side->url);
	bool is_used = false;
	int err = store_check_url(side->url, ret_why, size);

	store_show_url(side->url, side->shown, sizeof(side->shown));
	if (err)
		return err;
	err = ops->new (side->url + strlen(ops->scheme), TIMEOUT_MS, &side->engine);
	if (!err)
		err = ops->open(side->engine, pepper_check, side->image.id);
	if (!err)
		err = ops->is_used(side->engine, &is_used);
	if (err)
		return say(ret_why, size, err, side->shown,
			   side->engine ? side->engine->error : strerror(-err));
	if (is_used)
		return say(ret_why, size, -EBUSY, side->shown,
			   "the store is in use: stop every agent that uses it, and retry after "
			   "ten seconds");
	return 0;
}

static int copy(struct side *from, struct side *to, struct store_migration *ret_migration,
		char *ret_why, size_t size)
{
	uint8_t copied[STORE_HASH_BYTES];
	struct image *image = &from->image;
	int err = read_image(from->engine, image);

	if (err)
		return say(ret_why, size, err, from->shown, from->engine->error);
	err = read_image(to->engine, &to->image);
	if (err)
		return say(ret_why, size, err, to->shown, to->engine->error);
	if (!is_empty(&to->image))
		return say(ret_why, size, -EEXIST, to->shown,
			   "the store is not empty; nothing was written");
	image_done(&to->image);
	err = write_image(to->engine, image);
	if (!err)
		err = read_image(to->engine, &to->image);
	memcpy(to->image.id, image->id, sizeof(image->id));
	if (!err)
		err = digest_of(image, ret_migration->digest);
	if (!err)
		err = digest_of(&to->image, copied);
	if (err) {
		snprintf(ret_why, size, "%s: %s; the copy is incomplete: empty it before you retry",
			 to->shown, to->engine->error);
		return err;
	}
	ret_migration->accounts = image->accounts.count;
	ret_migration->keys = image->keys.count;
	ret_migration->entries = image->entries.count;
	ret_migration->quotas = image->quotas.count;
	ret_migration->usage = image->usage.count;
	ret_migration->tasks = image->tasks.count;
	if (memcmp(copied, ret_migration->digest, sizeof(copied)))
		return say(ret_why, size, -EUCLEAN, to->shown,
			   "the copy differs from the original: do not use it; empty it and retry");
	return 0;
}

static void close_side(struct side *side)
{
	image_done(&side->image);
	if (side->engine)
		side->engine->ops->free(side->engine);
}

int store_migrate(const char *from_url, const char *to_url,
		  const uint8_t pepper_check[STORE_HASH_BYTES],
		  struct store_migration *ret_migration, char *ret_why, size_t why_size)
{
	struct side from = { .url = from_url }, to = { .url = to_url };
	int err = open_side(&from, pepper_check, ret_why, why_size);

	if (!err)
		err = open_side(&to, pepper_check, ret_why, why_size);
	if (!err)
		err = copy(&from, &to, ret_migration, ret_why, why_size);
	close_side(&from);
	close_side(&to);
	return err;
}
