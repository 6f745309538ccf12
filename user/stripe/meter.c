/* SPDX-License-Identifier: BSD-2-Clause */
/* meter: see meter.h. */
#include "stripe/meter.h"

#include <stdio.h>
#include <string.h>

#include "stripe/field.h"

void meter_fault(const json_t *meter, char ret_fault[METER_FAULT_MAX])
{
	const char *formula = field_text(meter, "default_aggregation.formula");
	const char *window = field_text(meter, "event_time_window");

	ret_fault[0] = '\0';
	if (!formula || strcmp(formula, "sum") != 0)
		snprintf(ret_fault, METER_FAULT_MAX, "has the formula '%.20s'",
			 formula ? formula : "");
	else if (window)
		snprintf(ret_fault, METER_FAULT_MAX, "has the event_time_window '%.20s'", window);
}
