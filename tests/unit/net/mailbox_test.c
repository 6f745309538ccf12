/* SPDX-License-Identifier: BSD-2-Clause */
/* mailbox_test: every message is delivered once, in order, on the loop's thread, or given back. */
#include "net/mailbox.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <urcu/compiler.h>

#define THREADS	   4
#define PER_THREAD 5000

struct letter {
	struct mailbox_message message;
	unsigned from, number;
};

struct world {
	uv_loop_t loop;
	struct mailbox *mailbox;
	uv_thread_t thread; /* the loop's */
	unsigned delivered, dropped;
	unsigned next[THREADS]; /* the number that comes next from each sender */
	unsigned close_at;	/* close the mailbox when so many were delivered; 0: do not */
};

static void on_dropped(void *arg, struct mailbox_message *message)
{
	struct world *w = arg;

	w->dropped++;
	free(caa_container_of(message, struct letter, message));
}

static void on_message(void *arg, struct mailbox_message *message)
{
	struct letter *letter = caa_container_of(message, struct letter, message);
	uv_thread_t here = uv_thread_self();
	struct world *w = arg;

	assert_true(uv_thread_equal(&here, &w->thread));
	assert_int_equal(letter->number, w->next[letter->from]);
	w->next[letter->from]++;
	w->delivered++;
	free(letter);
	if (w->delivered == w->close_at)
		mailbox_close(w->mailbox, on_dropped);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	if (!w || uv_loop_init(&w->loop))
		return -1;
	w->thread = uv_thread_self();
	*state = w;
	return mailbox_open(&w->loop, on_message, w, &w->mailbox);
}

/* A mailbox that was closed leaves nothing on the loop. */
static int teardown(void **state)
{
	struct world *w = *state;

	uv_run(&w->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&w->loop), 0);
	free(w);
	return 0;
}

static struct letter *letter_new(unsigned from, unsigned number)
{
	struct letter *letter = calloc(1, sizeof(*letter));

	letter->from = from;
	letter->number = number;
	return letter;
}

static bool post(struct world *w, unsigned from, unsigned number)
{
	struct letter *letter = letter_new(from, number);
	bool is_taken = mailbox_post(w->mailbox, &letter->message);

	if (!is_taken)
		free(letter);
	return is_taken;
}

struct sender {
	struct world *w;
	unsigned from, refused;
};

static void send_all(void *arg)
{
	struct sender *sender = arg;

	for (unsigned i = 0; i < PER_THREAD; i++)
		sender->refused += !post(sender->w, sender->from, i);
	mailbox_unref(sender->w->mailbox);
}

static void run_senders(struct world *w, struct sender senders[THREADS])
{
	uv_thread_t threads[THREADS];

	for (unsigned i = 0; i < THREADS; i++) {
		senders[i] = (struct sender){ .w = w, .from = i };
		mailbox_ref(w->mailbox);
		assert_int_equal(uv_thread_create(&threads[i], send_all, &senders[i]), 0);
	}
	while (w->delivered + w->dropped < THREADS * PER_THREAD && !w->close_at)
		uv_run(&w->loop, UV_RUN_ONCE);
	if (w->close_at)
		uv_run(&w->loop, UV_RUN_DEFAULT); /* ends because the mailbox was closed */
	for (unsigned i = 0; i < THREADS; i++)
		uv_thread_join(&threads[i]);
}

static void messages_of_each_thread_arrive_in_their_order(void **state)
{
	struct sender senders[THREADS];
	struct world *w = *state;

	run_senders(w, senders);
	assert_int_equal(w->delivered, THREADS * PER_THREAD);
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(w->next[i], PER_THREAD);
	mailbox_close(w->mailbox, NULL);
}

static void a_handler_may_close_and_nothing_is_lost(void **state)
{
	struct sender senders[THREADS];
	struct world *w = *state;
	unsigned refused = 0;

	w->close_at = 100;
	run_senders(w, senders);
	for (unsigned i = 0; i < THREADS; i++)
		refused += senders[i].refused;
	assert_int_equal(w->delivered, 100);
	assert_int_equal(w->delivered + w->dropped + refused, THREADS * PER_THREAD);
}

static void what_was_not_delivered_is_dropped_by_close(void **state)
{
	struct world *w = *state;

	assert_true(post(w, 0, 0));
	assert_true(post(w, 0, 1));
	mailbox_ref(w->mailbox);
	mailbox_close(w->mailbox, on_dropped);
	assert_int_equal(w->dropped, 2);
	assert_false(post(w, 0, 2));
	uv_run(&w->loop, UV_RUN_DEFAULT);
	assert_int_equal(w->delivered, 0);
	mailbox_unref(w->mailbox);
}

static void an_idle_mailbox_keeps_its_loop_running_only_if_it_should(void **state)
{
	struct world *w = *state;

	assert_true(uv_loop_alive(&w->loop));
	mailbox_keep_alive(w->mailbox, false);
	assert_false(uv_loop_alive(&w->loop));
	mailbox_keep_alive(w->mailbox, true);
	assert_true(uv_loop_alive(&w->loop));
	mailbox_close(w->mailbox, NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(messages_of_each_thread_arrive_in_their_order),
		TEST(a_handler_may_close_and_nothing_is_lost),
		TEST(what_was_not_delivered_is_dropped_by_close),
		TEST(an_idle_mailbox_keeps_its_loop_running_only_if_it_should),
	};

	return cmocka_run_group_tests_name("mailbox", tests, NULL, NULL);
}
