/* SPDX-License-Identifier: BSD-2-Clause */
/* reload: make the running agent read its configuration again. */
#include "cli/cli_private.h"

int cli_reload(int argc, char **argv, const struct cli_options *options)
{
	bool json = false;
	const struct args args = {
		.usage = "reload [--json]",
		.help = "Make the running agent read its configuration again. If it contains an "
			"error, the\n"
			"error is printed, the exit code is 1, and the agent keeps the old one.\n",
		.options = (const struct args_option[]){ { "json", NULL, &json, 0 }, { 0 } },
	};
	struct text messages;
	json_t *answer;
	int code;

	if (!args_parse(argc, argv, &args, &code))
		return code;
	answer = cli_call(options, "POST", "/api/v1/reload", NULL);
	if (!answer)
		return 1;
	messages = text_of(json_string_value(json_object_get(answer, "messages")));
	while (messages.len && messages.ptr[messages.len - 1] == '\n')
		messages.len--;
	if (json) {
		output_json(answer);
	} else {
		fputs("reloaded\n", output_stdout());
		if (messages.len)
			output_note("%.*s", TEXT_ARG(messages));
	}
	json_decref(answer);
	return output_finish(0);
}
