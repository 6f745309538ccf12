/* SPDX-License-Identifier: BSD-2-Clause */
/* metrics: writes the Prometheus text format, version 0.0.4. */
#include "base/metrics.h"

#include <inttypes.h>

static void put(struct metrics *m, const char *text)
{
	if (!m->err)
		m->err = buf_append_str(m->out, text);
}

void metrics_family(struct metrics *m, const char *name, const char *type, const char *help)
{
	m->name = name;
	if (!m->err)
		m->err = buf_printf(m->out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void metrics_value(struct metrics *m, uint64_t value)
{
	if (!m->err)
		m->err = buf_printf(m->out, "%s %" PRIu64 "\n", m->name, value);
}

static void put_label(struct metrics *m, const char *label, const char *value)
{
	put(m, label);
	put(m, "=\"");
	for (; *value && !m->err; value++) {
		if (*value == '\n')
			put(m, "\\n");
		else if (*value == '"' || *value == '\\')
			m->err = buf_printf(m->out, "\\%c", *value);
		else
			m->err = buf_append(m->out, value, 1);
	}
	put(m, "\"");
}

void metrics_sample(struct metrics *m, const char *label1, const char *value1, const char *label2,
		    const char *value2, uint64_t value)
{
	put(m, m->name);
	put(m, "{");
	put_label(m, label1, value1);
	if (label2) {
		put(m, ",");
		put_label(m, label2, value2);
	}
	if (!m->err)
		m->err = buf_printf(m->out, "} %" PRIu64 "\n", value);
}
