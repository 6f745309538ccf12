/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * price_text: prices as people read them. Pure.
 *
 * A licensed price is "$499" and "per month"; a metered one "$5" and "per 1,000 requests, billed
 * every month"; one with steps has a line for each.
 */
#ifndef PORTAL_PRICE_TEXT_H
#define PORTAL_PRICE_TEXT_H

#include "stripe/catalog.h"

#define PRICE_TEXT_SIZE 160

/*
 * "$499", "$0.0005", "¥500", "CA$5", "12.50 CHF". @amount is in units of @currency, as
 * catalog_price has it. Cents are left out if there are none.
 */
const char *price_text_amount(const char *amount, const char *currency,
			      char ret_text[PRICE_TEXT_SIZE]);

/* The first and largest line: the amount, or "Pay per request" for a price with steps. */
const char *price_text_headline(const struct catalog_price *price, char ret_text[PRICE_TEXT_SIZE]);

/*
 * Line @i below it, from 0: "per month", or the steps and then how often they are billed. NULL: no
 * more.
 */
const char *price_text_line(const struct catalog_price *price, unsigned i,
			    char ret_text[PRICE_TEXT_SIZE]);

/* "monthly", "yearly", "every 3 months": after the tier's name on its button. */
const char *price_text_interval(const struct catalog_price *price, char ret_text[PRICE_TEXT_SIZE]);

#endif
