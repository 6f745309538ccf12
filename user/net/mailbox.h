/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mailbox: messages from any thread to one loop.
 *
 * Posting does not block. Messages are delivered on the loop's thread, in the order of posting.
 * This is the only way in which the threads of tollgate hand work to a loop.
 *
 * Messages are intrusive: embed struct mailbox_message in the record to be handed over. A posted
 * record belongs to the mailbox until it is delivered, or dropped by mailbox_close().
 */
#ifndef NET_MAILBOX_H
#define NET_MAILBOX_H

#include <stdbool.h>
#include <sys/queue.h>
#include <uv.h>

struct mailbox;

struct mailbox_message {
	STAILQ_ENTRY(mailbox_message) entry; /* used by the mailbox */
};

/* Gets ownership of @message. May close the mailbox. Runs on the loop's thread. */
typedef void (*mailbox_handler)(void *arg, struct mailbox_message *message);

/*
 * Open a mailbox on @loop, on the loop's thread or before the loop runs. It keeps the loop alive;
 * see mailbox_keep_alive(). The caller holds one reference, which mailbox_close() gives back. @arg
 * is passed to @on_message. 0, -ENOMEM or another negative errno.
 */
int mailbox_open(uv_loop_t *loop, mailbox_handler on_message, void *arg,
		 struct mailbox **ret_mailbox);

/* Whether the open mailbox keeps its loop running when nothing else does. The loop's thread. */
void mailbox_keep_alive(struct mailbox *mailbox, bool keeps_alive);

/*
 * Post @message. False if the mailbox is closed: the message still belongs to the caller. Any
 * thread that holds a reference.
 */
bool mailbox_post(struct mailbox *mailbox, struct mailbox_message *message);

/*
 * Close: nothing more is delivered. Messages that were posted but not delivered go to @on_dropped
 * (NULL if there can be none) before this returns. Gives back the opener's reference; the loop must
 * run once more. The loop's thread. Accepts NULL.
 */
void mailbox_close(struct mailbox *mailbox, mailbox_handler on_dropped);

/* A thread that may post after the mailbox is closed needs a reference. Any thread. */
struct mailbox *mailbox_ref(struct mailbox *mailbox);
void mailbox_unref(struct mailbox *mailbox); /* accepts NULL */

#endif
