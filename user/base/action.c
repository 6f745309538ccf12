/* SPDX-License-Identifier: BSD-2-Clause */
/* action: the words for the fast path's actions. */
#include "base/action.h"

#include <errno.h>
#include <string.h>

static const char *const words[] = {
#define X(name, word) word,
	TOLLGATE_ACTIONS(X)
#undef X
};

const char *action_word(enum tollgate_action action)
{
	return action < sizeof(words) / sizeof(words[0]) ? words[action] : "unknown";
}

int action_parse(const char *word, enum tollgate_action *ret_action)
{
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (!strcmp(words[i], word)) {
			*ret_action = (enum tollgate_action)i;
			return 0;
		}
	}
	return -EINVAL;
}
