/* SPDX-License-Identifier: BSD-2-Clause */
/* claim: make a link that shows a customer the first key of an account. */
#include "cli/cli_private.h"

#define HELP                                                                                   \
	"Print a link that shows a customer an API key. It works in any browser, once.\n"      \
	"All links for an account lead to the same key; anybody who has a link can take it.\n" \
	"\n"                                                                                   \
	"  --account ID           an account (acc_...)\n"                                      \
	"  --customer ID          a Stripe customer with one account\n"                        \
	"  --subscription ID      a Stripe subscription\n"                                     \
	"  --checkout-session ID  a paid checkout session\n"                                   \
	"  --expires D            how long the link is valid, 1m to 30d; default 24h\n"        \
	"  --label TEXT           the key's label\n"                                           \
	"  --further              make a link to an additional key\n"                          \
	"  --json                 print the answer as JSON\n"

int cli_claim(int argc, char **argv, const struct cli_options *options)
{
	const char *account = NULL, *customer = NULL, *subscription = NULL, *session = NULL,
		   *expires = NULL, *label = NULL;
	bool further = false, json = false;
	const struct args args = {
		.usage =
			"claim --account ID | --customer ID | --subscription ID | "
			"--checkout-session ID\n"
			"                      [--expires 24h] [--label TEXT] [--further] [--json]",
		.help = HELP,
		.options = (const struct args_option[]){ { "account", &account, NULL, 0 },
							 { "customer", &customer, NULL, 0 },
							 { "subscription", &subscription, NULL, 0 },
							 { "checkout-session", &session, NULL, 0 },
							 { "expires", &expires, NULL, 0 },
							 { "label", &label, NULL, 0 },
							 { "further", NULL, &further, 0 },
							 { "json", NULL, &json, 0 },
							 { 0 } },
	};
	json_t *body, *answer;
	int code;

	if (!args_parse(argc, argv, &args, &code))
		return code;
	if (!!account + !!customer + !!subscription + !!session != 1) {
		output_error("name exactly one of --account, --customer, --subscription and "
			     "--checkout-session");
		return 2;
	}
	body = json_pack("{s:b}", "further", further);
	if (!cli_body_add(body, "account", account) || !cli_body_add(body, "customer", customer) ||
	    !cli_body_add(body, "subscription", subscription) ||
	    !cli_body_add(body, "checkout_session", session) ||
	    !cli_body_add(body, "expires", expires) || !cli_body_add(body, "label", label)) {
		json_decref(body);
		return 2;
	}
	answer = cli_call(options, "POST", "/api/v1/claims", body);
	if (!answer)
		return 1;
	if (json)
		output_json(answer);
	else
		fprintf(output_stdout(), "%s\n", json_string_value(json_object_get(answer, "url")));
	if (!json && json_is_true(json_object_get(answer, "claimed")))
		fputs("The key was already claimed; use --further to make a link to an additional "
		      "one.\n",
		      stderr);
	json_decref(answer);
	return output_finish(0);
}
