/* SPDX-License-Identifier: BSD-2-Clause */
/* transfer_fixture: transfers and the peer that they talk to, on one loop. */
#ifndef UNIT_NET_TRANSFER_FIXTURE_H
#define UNIT_NET_TRANSFER_FIXTURE_H

#include <unistd.h>

#include "net/transfer.h"
#include "unit/net/certificate.h"
#include "unit/net/peer.h"

struct fixture {
	uv_loop_t loop;
	struct peer peer;
	struct transfers *transfers;
	char url[128];
	unsigned ends;
	int err;
	unsigned status;
	char words[256], body[256];
	bool has_date;
	char date[64];
};

static void on_end(void *arg, const struct transfer_result *result)
{
	struct fixture *f = arg;
	struct text date;

	f->ends++;
	f->err = result->err;
	f->status = result->status;
	snprintf(f->words, sizeof(f->words), "%s", result->words);
	snprintf(f->body, sizeof(f->body), "%.*s", TEXT_ARG(result->body));
	f->has_date = transfer_field(result, "DATE", &date);
	if (f->has_date)
		snprintf(f->date, sizeof(f->date), "%.*s", TEXT_ARG(date));
}

static void start(struct fixture *f, const struct peer_answer *script)
{
	*f = (struct fixture){ 0 };
	assert_int_equal(uv_loop_init(&f->loop), 0);
	peer_start(&f->peer, &f->loop, script);
	f->transfers = transfers_new(&f->loop, 4, 2);
	assert_non_null(f->transfers);
	peer_url(&f->peer, "http", "127.0.0.1", "/a?b=c", f->url);
}

static void stop(struct fixture *f)
{
	transfers_free(f->transfers);
	peer_stop(&f->peer);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	peer_done(&f->peer);
	assert_int_equal(uv_loop_close(&f->loop), 0);
}

#endif
