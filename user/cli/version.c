/* SPDX-License-Identifier: BSD-2-Clause */
/* version: print the version of this program, without an agent. */
#include "cli/cli_private.h"

int cli_version(int argc, char **argv, const struct cli_options *options)
{
	bool json = false;
	const struct args args = {
		.usage = "version [--json]",
		.help = "Print the version of this program. No agent is needed.\n",
		.options = (const struct args_option[]){ { "json", NULL, &json, 0 }, { 0 } },
	};
	int code;

	(void)options;
	if (!args_parse(argc, argv, &args, &code))
		return code;
	if (json)
		fputs("{\"version\": \"" TOLLGATE_VERSION "\"}\n", output_stdout());
	else
		fputs("tollgate " TOLLGATE_VERSION "\n", output_stdout());
	return output_finish(0);
}
