/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * notice_send: sends notice tasks to the mail server and to the operator's webhook receiver.
 *
 * Each queue works in rounds: list the due tasks, send them, write all results in one transaction,
 * start the next round. A round has one notice of each account, so an account's notices arrive in
 * order unless one has to be retried. If tollgate crashes after a mail was accepted and before its
 * result is written, the mail is sent twice, with the same Message-ID.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/backoff.h"
#include "base/clock.h"
#include "base/log.h"
#include "portal/mail.h"
#include "portal/notice_private.h"
#include "portal/words.h"
#include "stripe/signature.h"

#define GIVE_UP_MS  (3 * 86400 * 1000ULL)
#define CONNECT_MS  10000
#define TOTAL_MS    30000
#define MAX_ANSWER  (64 << 10)
#define MAX_MESSAGE (256 << 10)

static const struct backoff pauses_ms = { .first = 2000, .most = 3600 * 1000 };

static void run(struct notice_sender *sender);

/* ---- the end of a round ---- */

static void forget_round(struct notice_sender *sender)
{
	for (unsigned i = 0; i < sender->count; i++)
		free(sender->sending[i].task.body);
	sender->count = 0;
	free(sender->settled);
	sender->settled = NULL;
	sender->is_running = false;
}

static void on_settled(void *arg, int err)
{
	struct notice_sender *sender = arg;

	if (err)
		log_error("notices: cannot write the results to the store, so some notices may be "
			  "sent twice: %s",
			  store_error(sender->notices->context->store));
	forget_round(sender);
	if (!err)
		run(sender);
}

static void settle(struct notice_sending *s)
{
	struct notice_sender *sender = s->sender;

	s->is_busy = false;
	for (unsigned i = 0; i < sender->count; i++) {
		if (sender->sending[i].is_busy)
			return;
	}
	for (unsigned i = 0; i < sender->count; i++)
		sender->settled[i] = sender->sending[i].task;
	store_tasks_set(sender->notices->context->store, sender->settled, sender->count, on_settled,
			sender);
}

static void sent(struct notice_sending *s)
{
	s->task.state = STORE_TASK_DONE;
	s->task.note[0] = '\0';
	s->sender->notices->counters.sent++;
	settle(s);
}

static void give_up(struct notice_sending *s, const char *why)
{
	log_error("notice %s (%s) failed, giving up: %s", s->task.id, s->sender->queue, why);
	s->task.state = STORE_TASK_FAILED;
	snprintf(s->task.note, sizeof(s->task.note), "%s", why);
	s->sender->notices->counters.failed++;
	settle(s);
}

static void try_later(struct notice_sending *s, const char *why)
{
	uint64_t now_ms = clock_wall_ms();

	if (now_ms - s->task.created_ms > GIVE_UP_MS) {
		give_up(s, why);
		return;
	}
	s->task.due_ms = now_ms + backoff_plain(&pauses_ms, s->task.attempts);
	log_warn("notice %s (%s) failed, will retry: %s", s->task.id, s->sender->queue, why);
	snprintf(s->task.note, sizeof(s->task.note), "%s", why);
	s->sender->notices->counters.setbacks++;
	settle(s);
}

/* ---- mail ---- */

static bool wants_mail(const struct notices *n)
{
	return n->settings->smtp_server;
}

static void on_mailed(void *arg, const struct transfer_result *result)
{
	struct notice_sending *s = arg;
	char why[160];

	if (!result->err) {
		sent(s);
		return;
	}
	snprintf(why, sizeof(why), "%s%s%.100s", strerror(-result->err),
		 result->words[0] ? ": " : "", result->words);
	if (result->err == -EREMOTEIO && result->status >= 500)
		give_up(s, why);
	else
		try_later(s, why);
}

/* A mail that is being composed. `fields` point into `head`. */
struct message {
	struct buf head, text; /* owned */
	const char *fields[MAIL_FIELDS + 1];
};

static int write_message(struct notice_sending *s, json_t *body, struct message *message, char *why,
			 size_t why_size)
{
	const struct notices *n = s->sender->notices;
	const char *word = json_string_value(json_object_get(body, "type"));
	json_t *values = json_object_get(body, "values");
	struct buf subject;
	unsigned kind = 0;
	int err;

	while (kind < TEMPLATE_KIND_COUNT && strcmp(template_word(kind), word ? word : ""))
		kind++;
	if (kind == TEMPLATE_KIND_COUNT)
		return -EINVAL;
	if (json_object_set_new(values, "product",
				json_string(words_product(n->context->settings))))
		return -ENOMEM;
	buf_init(&subject, TEMPLATE_MAX_BYTES);
	err = template_render(n->settings->templates, kind, values, &subject, &message->text, why,
			      why_size);
	if (err) {
		log_error("notices: %s; using the built-in text instead", why);
		buf_clear(&subject);
		buf_clear(&message->text);
		err = template_render(NULL, kind, values, &subject, &message->text, why, why_size);
	}
	if (!err)
		err = mail_write(
			&(struct mail){
				.from = n->settings->mail_from,
				.to = json_string_value(json_object_get(values, "email")),
				.subject = buf_text(&subject),
				.id = s->task.id,
				.date_s = s->task.created_ms / 1000,
			},
			&message->head, message->fields);
	buf_done(&subject);
	return err;
}

static int start_mail(struct notice_sending *s, const json_t *body, const struct message *message)
{
	const struct notices *n = s->sender->notices;
	const char *to[] = {
		json_string_value(json_object_get(json_object_get(body, "values"), "email")), NULL
	};
	char url[512];
	const struct transfer_mail mail = {
		.url = url,
		.starttls = n->settings->smtp_tls == SMTP_PLAIN ? TRANSFER_STARTTLS_NONE
								: TRANSFER_STARTTLS_REQUIRED,
		.user = n->settings->smtp_user,
		.password = n->settings->smtp_password,
		.from = n->settings->mail_from,
		.to = to,
		.fields = message->fields,
		.text = buf_text(&message->text),
		.connect_ms = CONNECT_MS,
		.total_ms = TOTAL_MS,
		.ca_file = n->settings->smtp_ca_file,
	};

	snprintf(url, sizeof(url), "%s://%s", n->settings->smtp_tls == SMTP_TLS ? "smtps" : "smtp",
		 n->settings->smtp_server);
	return transfer_mail(n->transfers, &mail, on_mailed, s, NULL);
}

/* Whether the mail has links that are no longer valid. */
static bool has_expired(const json_t *body)
{
	json_int_t expires_s = json_integer_value(json_object_get(body, "expires"));

	return expires_s && (json_int_t)(clock_wall_ms() / 1000) >= expires_s;
}

static void send_mail(struct notice_sending *s)
{
	json_t *body = json_loads(s->task.body, 0, NULL);
	char why[256] = "the task in the store is not valid";
	struct message message;
	int err = body ? 0 : -EINVAL;

	buf_init(&message.head, MAX_MESSAGE);
	buf_init(&message.text, TEMPLATE_MAX_BYTES);
	if (!err && has_expired(body)) {
		snprintf(why, sizeof(why), "its links have expired");
		err = -ETIMEDOUT;
	}
	if (!err)
		err = write_message(s, body, &message, why, sizeof(why));
	if (err)
		give_up(s, why);
	else if ((err = start_mail(s, body, &message)))
		try_later(s, strerror(-err));
	buf_done(&message.head);
	buf_done(&message.text);
	json_decref(body);
}

/* ---- webhook ---- */

static bool wants_hook(const struct notices *n)
{
	return n->settings->hook_url;
}

static void on_hooked(void *arg, const struct transfer_result *result)
{
	struct notice_sending *s = arg;
	char why[160];

	if (!result->err && result->status >= 200 && result->status < 300) {
		sent(s);
		return;
	}
	if (result->err)
		snprintf(why, sizeof(why), "%s", result->words);
	else
		snprintf(why, sizeof(why), "the receiver answered with status %u", result->status);
	try_later(s, why);
}

static void send_hook(struct notice_sending *s)
{
	const struct notices *n = s->sender->notices;
	struct text body = text_of(s->task.body);
	const char *fields[] = { "Content-Type: application/json", NULL, NULL };
	struct transfer_request request = {
		.method = "POST",
		.url = n->settings->hook_url,
		.fields = fields,
		.body = body,
		.connect_ms = CONNECT_MS,
		.total_ms = TOTAL_MS,
		.max_answer_bytes = MAX_ANSWER,
	};
	struct buf header;
	int err;

	buf_init(&header, 1024);
	err = buf_append_str(&header, "Tollgate-Signature: ");
	if (!err)
		err = signature_write(n->settings->hook_secret, clock_wall_ms() / 1000, body,
				      &header);
	if (!err)
		err = buf_append(&header, "", 1);
	fields[1] = buf_head(&header);
	if (!err)
		err = transfer_request(n->transfers, &request, on_hooked, s, NULL);
	buf_done(&header);
	if (err)
		try_later(s, strerror(-err));
}

/* ---- rounds ---- */

/* Whether the round has a notice about @account, which a later one must not overtake. */
static bool has_account(const struct notice_sender *sender, uint64_t account)
{
	for (unsigned i = 0; account && i < sender->count; i++) {
		if (sender->sending[i].task.account == account)
			return true;
	}
	return false;
}

static void on_due(void *arg, int err, const struct store_task *tasks, size_t count)
{
	struct notice_sender *sender = arg;

	if (err || !count || sender->notices->is_stopped) {
		sender->is_running = false;
		return;
	}
	sender->settled = calloc(count, sizeof(*sender->settled));
	for (size_t i = 0; i < count && sender->settled; i++) {
		struct notice_sending *s = &sender->sending[sender->count];

		if (has_account(sender, tasks[i].account))
			continue; /* in the next round */
		*s = (struct notice_sending){ sender, tasks[i], true };
		s->task.attempts++;
		if (!s->task.tried_ms)
			s->task.tried_ms = clock_wall_ms();
		s->task.body = strdup(tasks[i].body ? tasks[i].body : "");
		sender->count += s->task.body != NULL;
	}
	count = sender->count;
	if (!count)
		forget_round(sender);
	for (size_t i = 0; i < count; i++)
		sender->send(&sender->sending[i]);
}

static void run(struct notice_sender *sender)
{
	struct notices *n = sender->notices;

	if (sender->is_running || n->is_stopped || !sender->is_wanted(n))
		return;
	sender->is_running = true;
	store_tasks_list(n->context->store, sender->queue, STORE_TASK_PENDING, clock_wall_ms(), 0,
			 NOTICE_MAX_SENDING, on_due, sender);
}

void notice_send(struct notices *n)
{
	run(&n->senders[0]);
	run(&n->senders[1]);
}

void notice_senders_init(struct notices *n)
{
	n->senders[0] = (struct notice_sender){
		.notices = n, .queue = NOTICE_MAIL, .is_wanted = wants_mail, .send = send_mail
	};
	n->senders[1] = (struct notice_sender){
		.notices = n, .queue = NOTICE_HOOK, .is_wanted = wants_hook, .send = send_hook
	};
}

void notice_senders_done(struct notices *n)
{
	forget_round(&n->senders[0]);
	forget_round(&n->senders[1]);
}
