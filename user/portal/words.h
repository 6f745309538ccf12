/* SPDX-License-Identifier: BSD-2-Clause */
/* words: names, numbers, dates and limits as customers read them. Pure. */
#ifndef PORTAL_WORDS_H
#define PORTAL_WORDS_H

#include "config/billing.h"
#include "config/tier.h"

#define WORDS_SIZE 96

/* "12,345" */
const char *words_number(uint64_t n, char ret_words[WORDS_SIZE]);

/* "7 Dec 2026"; with the time "7 Dec 2026, 14:05 UTC". */
const char *words_date(uint64_t unix_s, char ret_words[WORDS_SIZE]);
const char *words_time(uint64_t unix_s, char ret_words[WORDS_SIZE]);

/*
 * Limit number @i of a tier, from 0, such as "100 requests per second, bursts up to 200". NULL
 * if there are no more.
 */
const char *words_limit(const struct tier *tier, unsigned i, char ret_words[WORDS_SIZE]);

/* The product's name: as configured, else the host of app_url, else "API". Borrowed. */
const char *words_product(const struct stripe_settings *settings);

/* A rate for programs, as in the configuration: "100/s"; "" without a limit. */
const char *words_rate(uint64_t interval_ns, char ret_words[WORDS_SIZE]);

#endif
