/* SPDX-License-Identifier: BSD-2-Clause */
/* Tests that concern Redis only: its URLs, authentication, and calls while it is unreachable. */
#include "unit/store/store_fixture.h"

#include <time.h>

#include "store/redis/redis.h"

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

static void urls_are_parsed_completely(void **state)
{
	static const struct {
		const char *url, *host, *path, *user, *password, *master;
		int port;
		unsigned database, sentinels;
	} rows[] = {
		{ "redis://h", "h", NULL, NULL, NULL, NULL, 6379, 0, 0 },
		{ "redis://h:7000/3", "h", NULL, NULL, NULL, NULL, 7000, 3, 0 },
		{ "redis://u:p%40%2f@h", "h", NULL, "u", "p@/", NULL, 6379, 0, 0 },
		{ "redis://:p@h/", "h", NULL, NULL, "p", NULL, 6379, 0, 0 },
		{ "redis://[::1]:7000", "::1", NULL, NULL, NULL, NULL, 7000, 0, 0 },
		{ "redis+unix:///a/b", NULL, "/a/b", NULL, NULL, NULL, 0, 0, 0 },
		{ "redis+unix://:p@/a?db=2", NULL, "/a", NULL, "p", NULL, 0, 2, 0 },
		{ "redis+sentinel://u:p@a,b:7/m/4", NULL, NULL, "u", "p", "m", 0, 4, 2 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *location = strchr(rows[i].url, ':') + 1;
		struct redis_address a;
		char scheme[32], why[256];

		snprintf(scheme, sizeof(scheme), "%.*s", (int)(location - rows[i].url),
			 rows[i].url);
		print_message("%s\n", rows[i].url);
		assert_int_equal(redis_address_parse(scheme, location, &a, why, sizeof(why)), 0);
#define SAME(field) \
	assert_true(rows[i].field ? a.field && !strcmp(a.field, rows[i].field) : !a.field)
		SAME(host);
		SAME(path);
		SAME(user);
		SAME(password);
		SAME(master);
#undef SAME
		assert_int_equal(a.port, rows[i].port);
		assert_int_equal(a.database, rows[i].database);
		assert_int_equal(a.sentinel_count, rows[i].sentinels);
		redis_address_done(&a);
	}
}

static void malformed_urls_are_refused_without_being_shown(void **state)
{
	static const char *const urls[] = {
		"redis:h",
		"redis://",
		"redis://h:0",
		"redis://h:65536",
		"redis://h/x",
		"redis://u:secret@",
		"redis://u:se%cret@h",
		"redis://u:secret%00@h",
		"redis+unix://secret",
		"redis+unix:///a?x=1",
		"redis+sentinel://u:secret@",
		"redis+sentinel://h",
		"redis+sentinel://h/",
		"redis://[::1",
		"rediss://u:secret@h",
	};
	char why[256];

	(void)state;
	for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
		print_message("%s\n", urls[i]);
		why[0] = '\0';
		assert_int_equal(store_check_url(urls[i], why, sizeof(why)), -EINVAL);
		assert_true(why[0]);
		assert_null(strstr(why, "secret"));
	}
	assert_non_null(strstr(why, "stunnel"));
}

static void a_url_is_shown_without_its_password(void **state)
{
	static const char *const rows[][2] = {
		{ "redis://u:secret@h:1/2", "redis://h:1/2" },
		{ "redis://u:sec@ret@h", "redis://h" },
		{ "redis+sentinel://:secret@a,b/m", "redis+sentinel://a,b/m" },
		{ "sqlite:/a@b/c", "sqlite:/a@b/c" },
	};
	char shown[64];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		store_show_url(rows[i][0], shown, sizeof(shown));
		assert_string_equal(shown, rows[i][1]);
	}
}

/* Move the fixture's store to another URL. */
static void use_url(struct fixture *f, const char *url)
{
	fixture_free_store(f);
	assert_int_equal(store_new(&f->loop, url, 300, &f->store), 0);
}

static void user_and_password_are_sent(void **state)
{
	struct fixture *f = *state;
	char url[256];

	redis_server_do(&fixture_redis, "ACL SETUSER gate on >p@ss ~tollgate:* +@all");
	snprintf(url, sizeof(url), "redis+unix://gate:p%%40ss@%s", fixture_redis.socket);
	use_url(f, url);
	fixture_open(f);
	add_account(f, 7);
	snprintf(url, sizeof(url), "redis+unix://gate:wrong@%s", fixture_redis.socket);
	use_url(f, url);
	assert_int_equal(fixture_try_open(f), -EACCES);
	assert_null(strstr(store_error(f->store), "wrong@"));
	redis_server_do(&fixture_redis, "ACL DELUSER gate");
}

static void databases_are_separate(void **state)
{
	struct fixture *f = *state;
	char url[256];

	fixture_open(f);
	add_account(f, 7);
	snprintf(url, sizeof(url), "%s?db=3", fixture_redis.url);
	use_url(f, url);
	fixture_open(f);
	fixture_load(f);
	assert_int_equal(f->account_count, 0);
}

static void a_foreign_database_is_refused_and_left_alone(void **state)
{
	static const struct {
		const char *command;
		int err;
	} rows[] = {
		{ "SET tollgate:n 5", -EUCLEAN },
		{ "HSET tollgate:meta store_id 00 pepper_check 00 schema 99", -ENOTSUP },
		{ "HSET tollgate:meta store_id 00 pepper_check 00 schema 1", -EKEYREJECTED },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		redisReply *reply;

		redis_server_do(&fixture_redis, "FLUSHALL");
		redis_server_do(&fixture_redis, rows[i].command);
		assert_int_equal(fixture_try_open(f), rows[i].err);
		reply = redisCommand(fixture_redis.context, "DBSIZE");
		assert_int_equal(reply->integer, 1);
		freeReplyObject(reply);
	}
}

static void a_different_store_at_the_same_url_is_refused(void **state)
{
	struct fixture *f = *state;
	redisReply *reply;

	fixture_open(f);
	redis_server_do(&fixture_redis, "FLUSHALL");
	assert_int_equal(fixture_try_open(f), -EHOSTDOWN);
	assert_non_null(strstr(store_error(f->store), "is empty"));
	reply = redisCommand(fixture_redis.context, "DBSIZE");
	assert_int_equal(reply->integer, 0);
	freeReplyObject(reply);
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void a_hanging_redis_costs_a_single_timeout(void **state)
{
	struct fixture *f = *state;
	uint64_t before_ms;

	use_url(f, fixture_redis.url);
	fixture_open(f);
	kill(fixture_redis.pid, SIGSTOP);
	before_ms = now_ms();
	assert_int_equal(keys_revoke(f, 7, 1), -EHOSTDOWN);
	assert_in_range(now_ms() - before_ms, 250, 1500);
	assert_non_null(strstr(store_error(f->store), "does not answer"));
	before_ms = now_ms();
	assert_int_equal(keys_revoke(f, 7, 1), -EHOSTDOWN); /* the circuit breaker is open */
	kill(fixture_redis.pid, SIGCONT);
	assert_true(now_ms() - before_ms < 25);
	for (before_ms = now_ms(); keys_revoke(f, 7, 1) && now_ms() - before_ms < 10000;)
		continue;
	assert_int_equal(f->err, 0);
}

static void a_full_redis_is_reported_and_nothing_is_half_done(void **state)
{
	struct store_key keys[2] = { make_key(1, 7), make_key(2, 7) };
	struct fixture *f = *state;

	fixture_open(f);
	add_account(f, 7);
	redis_server_do(&fixture_redis, "CONFIG SET maxmemory 1");
	assert_int_equal(keys_add(f, keys, 2), -ENOSPC);
	redis_server_do(&fixture_redis, "CONFIG SET maxmemory 0");
	fixture_load(f);
	assert_int_equal(f->key_count, 0);
	assert_int_equal(keys_add(f, keys, 2), 0);
}

static void flushed_scripts_are_loaded_again(void **state)
{
	struct fixture *f = *state;

	fixture_open(f);
	redis_server_do(&fixture_redis, "SCRIPT FLUSH");
	add_account(f, 7);
}

static void a_replica_is_not_written_to(void **state)
{
	struct fixture *f = *state;

	fixture_open(f);
	redis_server_do(&fixture_redis, "REPLICAOF 127.0.0.1 1");
	redis_server_do(&fixture_redis, "CONFIG SET replica-serve-stale-data yes");
	assert_int_equal(keys_revoke(f, 7, 1), -EHOSTDOWN);
	redis_server_do(&fixture_redis, "REPLICAOF NO ONE");
}

static void two_changes_of_one_account_are_both_kept(void **state)
{
	struct store_account first = { .id = 7, .created_ms = 5 }, mine, theirs;
	struct fixture *f = *state;

	fixture_open(f);
	strcpy(first.label, "a\tb\\c\nd");
	assert_int_equal(account_add(f, &first), 0);
	mine = theirs = first;
	mine.is_held = true;
	strcpy(theirs.tier, "pro");
	store_account_set(f->store, &first, &mine, 0, fixture_done, f);
	assert_int_equal(fixture_wait(f), 0);
	store_account_set(f->store, &first, &theirs, 0, fixture_done, f);
	assert_int_equal(fixture_wait(f), 0);
	fixture_load(f);
	assert_true(f->accounts[0].is_held);
	assert_string_equal(f->accounts[0].tier, "pro");
	assert_string_equal(f->accounts[0].label, first.label);
}

static void totals_above_53_bits_are_refused(void **state)
{
	struct store_usage usage = {
		.account = 7, .epoch = 1, .window_seconds = 60, .units = (1ULL << 53) + 1
	};
	struct fixture *f = *state;

	fixture_open(f);
	assert_int_equal(usage_put(f, &usage, 1, NULL, 0), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(urls_are_parsed_completely),
		TEST(malformed_urls_are_refused_without_being_shown),
		TEST(a_url_is_shown_without_its_password),
		TEST(user_and_password_are_sent),
		TEST(databases_are_separate),
		TEST(a_foreign_database_is_refused_and_left_alone),
		TEST(a_different_store_at_the_same_url_is_refused),
		TEST(a_hanging_redis_costs_a_single_timeout),
		TEST(a_full_redis_is_reported_and_nothing_is_half_done),
		TEST(flushed_scripts_are_loaded_again),
		TEST(a_replica_is_not_written_to),
		TEST(two_changes_of_one_account_are_both_kept),
		TEST(totals_above_53_bits_are_refused),
	};

	return RUN_REDIS_TESTS("redis", tests);
}
