/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How many webhooks per second one core can verify, and how many events it can parse.
 *
 * Anybody can make tollgate verify a signature; only events signed with a secret are parsed. Rounds
 * of all rows alternate and the median is taken, so that noise affects all rows equally.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "stripe/event.h"
#include "stripe/signature.h"

#define ELEMENTS(a) (sizeof(a) / sizeof((a)[0]))
#define ROUNDS	    15
#define ROUND_NS    (20 * NS_PER_MS)
#define NOW_S	    1760000000
#define SECRET	    "whsec_bench"

static const char *const secrets[] = { SECRET };

/* Metadata fills the rest of the body, because that is what makes Stripe's events large. */
static const char head[] =
	"{\"id\":\"evt_bench\",\"object\":\"event\",\"type\":\"customer.subscription.updated\","
	"\"created\":1760000000,\"livemode\":false,\"api_version\":\"2026-10-28.endive\","
	"\"data\":{\"object\":{\"id\":\"sub_bench\",\"object\":\"subscription\",\"status\":"
	"\"active\",\"customer\":\"cus_bench\",\"items\":{\"object\":\"list\",\"data\":[{\"id\":"
	"\"si_bench\",\"current_period_start\":1759000000,\"current_period_end\":1761592000,"
	"\"price\":{\"id\":\"price_bench\",\"product\":\"prod_bench\"}}]},\"metadata\":{\"a\":"
	"\"b\"";
static const char tail[] = "}}}}";

struct webhook_case {
	size_t bytes;
	struct buf body, right, forged;
};

static void fail(const char *what)
{
	fprintf(stderr, "signature_bench: %s\n", what);
	exit(1);
}

static void make_case(struct webhook_case *c)
{
	unsigned number = 0;

	buf_init(&c->body, EVENT_MAX_BYTES);
	buf_init(&c->right, 1024);
	buf_init(&c->forged, 1024);
	if (buf_append_str(&c->body, head))
		fail("out of memory");
	while (buf_len(&c->body) + sizeof(tail) + 48 < c->bytes) {
		if (buf_printf(&c->body, ",\"name_%06u\":\"value %020u\"", number, number))
			fail("out of memory");
		number++;
	}
	if (buf_append_str(&c->body, tail) ||
	    signature_write(SECRET, NOW_S, buf_text(&c->body), &c->right) ||
	    signature_write("whsec_other", NOW_S, buf_text(&c->body), &c->forged))
		fail("cannot create a body");
}

static void verify(const struct webhook_case *c)
{
	if (signature_verify(buf_text(&c->right), buf_text(&c->body), secrets, 1, NOW_S,
			     SIGNATURE_TOLERANCE_S) != SIGNATURE_OK)
		fail("a valid signature was rejected");
}

static void refuse(const struct webhook_case *c)
{
	if (signature_verify(buf_text(&c->forged), buf_text(&c->body), secrets, 1, NOW_S,
			     SIGNATURE_TOLERANCE_S) != SIGNATURE_MISMATCH)
		fail("a forged signature was accepted");
}

static void parse(const struct webhook_case *c)
{
	struct event event;
	const char *why;

	if (event_parse(buf_text(&c->body), &event, &why))
		fail(why);
	if (event.kind != EVENT_SUBSCRIPTION || !event.snapshot)
		fail("cannot parse the event");
	event_done(&event);
}

static const struct {
	const char *name;
	void (*act)(const struct webhook_case *c);
} acts[] = {
	{ "signature verified", verify },
	{ "forged signature refused", refuse },
	{ "event read", parse },
};

static struct webhook_case cases[] = { { .bytes = 2048 }, { .bytes = 16384 } };
static unsigned long per_second[ELEMENTS(acts)][ELEMENTS(cases)][ROUNDS];

static unsigned long measure(void (*act)(const struct webhook_case *c),
			     const struct webhook_case *c)
{
	uint64_t begun_ns = clock_mono_ns(), taken_ns;
	uint64_t count = 0;

	do {
		for (unsigned i = 0; i < 16; i++)
			act(c);
		count += 16;
		taken_ns = clock_mono_ns() - begun_ns;
	} while (taken_ns < ROUND_NS);
	return count * NS_PER_SECOND / taken_ns;
}

static int compare(const void *a, const void *b)
{
	unsigned long x = *(const unsigned long *)a, y = *(const unsigned long *)b;

	return (x > y) - (x < y);
}

int main(void)
{
	for (size_t i = 0; i < ELEMENTS(cases); i++)
		make_case(&cases[i]);
	for (unsigned round = 0; round < ROUNDS; round++)
		for (size_t a = 0; a < ELEMENTS(acts); a++)
			for (size_t i = 0; i < ELEMENTS(cases); i++)
				per_second[a][i][round] = measure(acts[a].act, &cases[i]);
	printf("%-28s %8s %8s\n", "a second, on one core", "2 KB", "16 KB");
	for (size_t a = 0; a < ELEMENTS(acts); a++) {
		printf("%-28s", acts[a].name);
		for (size_t i = 0; i < ELEMENTS(cases); i++) {
			qsort(per_second[a][i], ROUNDS, sizeof(per_second[a][i][0]), compare);
			printf(" %8lu", per_second[a][i][ROUNDS / 2]);
		}
		printf("\n");
	}
	for (size_t i = 0; i < ELEMENTS(cases); i++) {
		buf_done(&cases[i].body);
		buf_done(&cases[i].right);
		buf_done(&cases[i].forged);
	}
	return 0;
}
