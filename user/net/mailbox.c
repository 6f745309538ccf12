/* SPDX-License-Identifier: BSD-2-Clause */
/* mailbox: messages from any thread to one loop. */
#include "net/mailbox.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/atomic.h"

STAILQ_HEAD(message_list, mailbox_message);

struct mailbox {
	uv_async_t wake;
	mailbox_handler on_message;
	void *arg;
	struct message_list delivering; /* taken from `waiting`; the loop's thread only */
	pthread_mutex_t lock;		/* of `waiting` and `is_closed` */
	struct message_list waiting;
	bool is_closed;
	unsigned refs; /* atomic */
};

struct mailbox *mailbox_ref(struct mailbox *mailbox)
{
	atomic_add(&mailbox->refs, 1u);
	return mailbox;
}

void mailbox_unref(struct mailbox *mailbox)
{
	if (!mailbox || atomic_sub_return(&mailbox->refs, 1u))
		return;
	pthread_mutex_destroy(&mailbox->lock);
	free(mailbox);
}

static void deliver(struct mailbox *mailbox, mailbox_handler handler)
{
	struct mailbox_message *message;

	while ((message = STAILQ_FIRST(&mailbox->delivering))) {
		STAILQ_REMOVE_HEAD(&mailbox->delivering, entry);
		handler(mailbox->arg, message);
	}
}

/* A handler may close the mailbox; `delivering` is then empty when it returns. */
static void on_wake(uv_async_t *wake)
{
	struct mailbox *mailbox = mailbox_ref(wake->data);

	pthread_mutex_lock(&mailbox->lock);
	STAILQ_CONCAT(&mailbox->delivering, &mailbox->waiting);
	pthread_mutex_unlock(&mailbox->lock);
	deliver(mailbox, mailbox->on_message);
	mailbox_unref(mailbox);
}

int mailbox_open(uv_loop_t *loop, mailbox_handler on_message, void *arg,
		 struct mailbox **ret_mailbox)
{
	struct mailbox *mailbox = calloc(1, sizeof(*mailbox));
	int err;

	if (!mailbox)
		return -ENOMEM;
	err = uv_async_init(loop, &mailbox->wake, on_wake);
	if (err) {
		free(mailbox);
		return err;
	}
	mailbox->wake.data = mailbox;
	mailbox->on_message = on_message;
	mailbox->arg = arg;
	mailbox->refs = 1;
	STAILQ_INIT(&mailbox->delivering);
	STAILQ_INIT(&mailbox->waiting);
	pthread_mutex_init(&mailbox->lock, NULL);
	*ret_mailbox = mailbox;
	return 0;
}

void mailbox_keep_alive(struct mailbox *mailbox, bool keeps_alive)
{
	if (keeps_alive)
		uv_ref((uv_handle_t *)&mailbox->wake);
	else
		uv_unref((uv_handle_t *)&mailbox->wake);
}

bool mailbox_post(struct mailbox *mailbox, struct mailbox_message *message)
{
	bool is_open;

	pthread_mutex_lock(&mailbox->lock);
	is_open = !mailbox->is_closed;
	if (is_open) {
		STAILQ_INSERT_TAIL(&mailbox->waiting, message, entry);
		/* Under the lock, because a closed mailbox must not use its handle. */
		uv_async_send(&mailbox->wake);
	}
	pthread_mutex_unlock(&mailbox->lock);
	return is_open;
}

static void on_closed(uv_handle_t *wake)
{
	mailbox_unref(wake->data);
}

void mailbox_close(struct mailbox *mailbox, mailbox_handler on_dropped)
{
	if (!mailbox)
		return;
	pthread_mutex_lock(&mailbox->lock);
	mailbox->is_closed = true;
	STAILQ_CONCAT(&mailbox->delivering, &mailbox->waiting);
	pthread_mutex_unlock(&mailbox->lock);
	if (on_dropped)
		deliver(mailbox, on_dropped);
	uv_close((uv_handle_t *)&mailbox->wake, on_closed);
}
