/* SPDX-License-Identifier: BSD-2-Clause */
/* action: the words for the fast path's actions, as operators type and read them. */
#ifndef BASE_ACTION_H
#define BASE_ACTION_H

#include "tollgate/abi.h"

/* "off", "observe", "drop" or "answer"; "unknown" for anything else. */
const char *action_word(enum tollgate_action action);

/* 0, or -EINVAL for any other word. */
int action_parse(const char *word, enum tollgate_action *ret_action);

#endif
