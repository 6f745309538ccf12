/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * metrics: Prometheus' text format, version 0.0.4.
 *
 * Families are written whole, one after the other. Names and labels are literals of ours; a label's
 * value that is not is escaped here. The first error sticks: check `err` once at the end.
 */
#ifndef BASE_METRICS_H
#define BASE_METRICS_H

#include <stdint.h>

#include "base/buf.h"

struct metrics {
	struct buf *out;  /* borrowed */
	const char *name; /* of the family that is being written */
	int err;
};

/* Begin a family. @type is "counter" or "gauge". */
void metrics_family(struct metrics *m, const char *name, const char *type, const char *help);

/* A sample of it, without labels, with one or with two (@label2 NULL: one). */
void metrics_value(struct metrics *m, uint64_t value);
void metrics_sample(struct metrics *m, const char *label1, const char *value1, const char *label2,
		    const char *value2, uint64_t value);

#endif
