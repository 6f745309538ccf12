/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * metrics: writes the Prometheus text format, version 0.0.4.
 *
 * Write one family after another, each with all its samples. Names of families and labels must be
 * valid already; values of labels are escaped here. After an error, later calls do nothing: check
 * `err` once at the end.
 */
#ifndef BASE_METRICS_H
#define BASE_METRICS_H

#include <stdint.h>

#include "base/buf.h"

struct metrics {
	struct buf *out;  /* borrowed */
	const char *name; /* borrowed: the current family */
	int err;	  /* the first error: -EMSGSIZE or -ENOMEM */
};

/* Start a family. @type is "counter" or "gauge". @name must live until the next family. */
void metrics_family(struct metrics *m, const char *name, const char *type, const char *help);

/* Write a sample of the family: without labels, or with one or two (@label2 NULL: one). */
void metrics_value(struct metrics *m, uint64_t value);
void metrics_sample(struct metrics *m, const char *label1, const char *value1, const char *label2,
		    const char *value2, uint64_t value);

#endif
