/* SPDX-License-Identifier: BSD-2-Clause */
/* account: create, list, show, set, suspend and resume accounts. */
#include <inttypes.h>

#include "base/buf.h"
#include "cli/cli_private.h"

#define METADATA_MAX 16384 /* bytes of an account's metadata as text */

static const char help[] =
	"usage: tollgate account create --tier T [--label L] [--customer ID] [--subscription ID]\n"
	"       tollgate account list\n"
	"       tollgate account show ID\n"
	"       tollgate account set ID [--tier T] [--status S] [--label L] [--customer ID]\n"
	"                               [--subscription ID]\n"
	"       tollgate account suspend ID\n"
	"       tollgate account resume ID\n"
	"       tollgate account delete ID\n"
	"       tollgate account purge [--other-mode] [--dry-run]\n"
	"\n"
	"With --json each prints the agent's answer. `create` prints only the new account's id.\n";

static const struct table_column list_columns[] = {
	{ "ID", "id", TABLE_TEXT },
	{ "TIER", "tier", TABLE_TEXT },
	{ "STATUS", "status", TABLE_TEXT },
	{ "HELD", "held", TABLE_TEXT },
	{ "ENTITLED", "entitled", TABLE_TEXT },
	{ "USED", "quota_used", TABLE_NUMBER },
	{ "QUOTA", "quota", TABLE_LIMIT },
	{ "REFUSED", "refused_agent", TABLE_NUMBER },
	{ "BY XDP", "refused_xdp", TABLE_NUMBER },
	{ "DROPPED", "dropped_xdp", TABLE_NUMBER },
	{ "LABEL", "label", TABLE_TEXT },
	{ 0 },
};

static const struct table_column show_columns[] = {
	{ "id", "id", TABLE_TEXT },
	{ "tier", "tier", TABLE_TEXT },
	{ "status", "status", TABLE_TEXT },
	{ "held by the operator", "held", TABLE_TEXT },
	{ "entitled", "entitled", TABLE_TEXT },
	{ "customer", "customer", TABLE_TEXT },
	{ "subscription", "subscription", TABLE_TEXT },
	{ "mode at Stripe", "mode", TABLE_TEXT },
	{ "suspended by charges", "disputes", TABLE_TEXT },
	{ "label", "label", TABLE_TEXT },
	{ "mail address", "email", TABLE_TEXT },
	{ "client reference", "client_reference_id", TABLE_TEXT },
	{ "metadata", "metadata", TABLE_TEXT },
	{ "seats", "seats", TABLE_LIMIT },
	{ "created", "created", TABLE_TEXT },
	{ "billing period from", "period_start", TABLE_TEXT },
	{ "billing period to", "period_end", TABLE_TEXT },
	{ "usage period from", "usage_start", TABLE_TEXT },
	{ "usage period to", "usage_end", TABLE_TEXT },
	{ "trial ends", "trial_end", TABLE_TEXT },
	{ "to be canceled", "cancel_at", TABLE_TEXT },
	{ "past due since", "past_due_since", TABLE_TEXT },
	{ "grace ends", "grace_end", TABLE_TEXT },
	{ "quota", "quota", TABLE_LIMIT },
	{ "quota used", "quota_used", TABLE_NUMBER },
	{ "requests in flight", "concurrent", TABLE_NUMBER },
	{ "refused by the agent", "refused_agent", TABLE_NUMBER },
	{ "refused by XDP", "refused_xdp", TABLE_NUMBER },
	{ "dropped by XDP", "dropped_xdp", TABLE_NUMBER },
	{ "in penalty", "penalty", TABLE_TEXT },
	{ 0 },
};

/* Replace the account's metadata with a text such as "team=a, plan=b". */
static void flatten_metadata(json_t *account)
{
	const json_t *value, *metadata = json_object_get(account, "metadata");
	struct buf text;
	const char *name;

	buf_init(&text, METADATA_MAX);
	json_object_foreach ((json_t *)metadata, name, value) {
		if (buf_printf(&text, "%s%s=%s", buf_len(&text) ? ", " : "", name,
			       json_string_value(value) ? json_string_value(value) : ""))
			break;
	}
	json_object_set_new(account, "metadata", json_stringn(buf_head(&text), buf_len(&text)));
	buf_done(&text);
}

/* Make the call, which takes over @body, and print the account in the answer. */
static int call_and_show(const struct cli_options *options, const char *method, const char *id,
			 json_t *body, bool json)
{
	char path[CLI_PATH_MAX];
	json_t *answer;

	snprintf(path, sizeof(path), "/api/v1/accounts/%s", id);
	answer = cli_call(options, method, path, body);
	if (!answer)
		return 1;
	if (json) {
		output_json(answer);
	} else {
		flatten_metadata(answer);
		table_print_object(output_stdout(), show_columns, answer);
	}
	json_decref(answer);
	return output_finish(0);
}

struct members {
	const char *tier, *status, *label, *customer, *subscription;
};

/* The body of the request; NULL, after an error message, if a value is not valid UTF-8. */
static json_t *body_of(const struct members *m)
{
	json_t *body = json_object();

	if (cli_body_add(body, "tier", m->tier) && cli_body_add(body, "status", m->status) &&
	    cli_body_add(body, "label", m->label) && cli_body_add(body, "customer", m->customer) &&
	    cli_body_add(body, "subscription", m->subscription))
		return body;
	json_decref(body);
	return NULL;
}

static int create(int argc, char **argv, const struct cli_options *options)
{
	struct members m = { 0 };
	bool json = false;
	const struct args args = {
		.usage = "account create --tier T [--label L] [--customer ID] [--subscription ID] "
			 "[--json]",
		.help = "Create an account and print its id on a line of its own.\n\n"
			"  --tier T           a tier from the configuration\n"
			"  --label L          a name for people\n"
			"  --customer ID      Stripe's customer (cus_...)\n"
			"  --subscription ID  Stripe's subscription (sub_...)\n"
			"  --json             print the account as a JSON object\n",
		.options =
			(const struct args_option[]){ { "tier", &m.tier, NULL, 0 },
						      { "label", &m.label, NULL, 0 },
						      { "customer", &m.customer, NULL, 0 },
						      { "subscription", &m.subscription, NULL, 0 },
						      { "json", NULL, &json, 0 },
						      { 0 } },
	};
	json_t *body, *answer;
	int code;

	if (!args_parse(argc, argv, &args, &code))
		return code;
	if (!m.tier) {
		output_error("--tier is required");
		return 2;
	}
	body = body_of(&m);
	if (!body)
		return 2;
	answer = cli_call(options, "POST", "/api/v1/accounts", body);
	if (!answer)
		return 1;
	if (json)
		output_json(answer);
	else
		fprintf(output_stdout(), "%s\n", json_string_value(json_object_get(answer, "id")));
	json_decref(answer);
	return output_finish(0);
}

static int list(int argc, char **argv, const struct cli_options *options)
{
	bool json = false;
	const struct args args = {
		.usage = "account list [--json]",
		.help = "Print all accounts. USED is what the current period has used of QUOTA.\n",
		.options = (const struct args_option[]){ { "json", NULL, &json, 0 }, { 0 } },
	};
	json_t *answer;
	int code;

	if (!args_parse(argc, argv, &args, &code))
		return code;
	answer = cli_call(options, "GET", "/api/v1/accounts", NULL);
	if (!answer)
		return 1;
	if (json)
		output_json(answer);
	else
		table_print(output_stdout(), list_columns, answer);
	json_decref(answer);
	return output_finish(0);
}

/* The actions that take only an id. Takes over @body. */
static int run_on_id(int argc, char **argv, const struct cli_options *options, json_t *body,
		     const char *usage)
{
	const char *id;
	bool json = false;
	const struct args args = {
		.usage = usage,
		.help = "Print the account. `suspend` is the operator's own hold; only `resume` "
			"lifts it.\n"
			"`resume` also ends a suspension by disputed or refunded charges "
			"(on_dispute:\n"
			"suspend). A \"+\" among these charges means that there were too many to "
			"list.\n",
		.options = (const struct args_option[]){ { "json", NULL, &json, 0 }, { 0 } },
		.ret_operands = &id,
		.operand_min = 1,
		.operand_max = 1,
	};
	int code;

	if (!args_parse(argc, argv, &args, &code)) {
		json_decref(body);
		return code;
	}
	if (!cli_check_id(id, "acc_")) {
		json_decref(body);
		return 2;
	}
	return call_and_show(options, body ? "PATCH" : "GET", id, body, json);
}

static int show(int argc, char **argv, const struct cli_options *options)
{
	return run_on_id(argc, argv, options, NULL, "account show ID [--json]");
}

static int suspend(int argc, char **argv, const struct cli_options *options)
{
	return run_on_id(argc, argv, options, json_pack("{s:b}", "held", 1),
			 "account suspend ID [--json]");
}

static int resume(int argc, char **argv, const struct cli_options *options)
{
	return run_on_id(argc, argv, options, json_pack("{s:b}", "held", 0),
			 "account resume ID [--json]");
}

static int set(int argc, char **argv, const struct cli_options *options)
{
	struct members m = { 0 };
	const char *id;
	bool json = false;
	const struct args args = {
		.usage = "account set ID [--tier T] [--status S] [--label L] [--customer ID] "
			 "[--subscription ID] [--json]",
		.help = "Change the given fields and print the account. An empty value clears a "
			"label, a\n"
			"customer or a subscription. Statuses are Stripe's: active, trialing, "
			"past_due,\n"
			"canceled, unpaid, incomplete, incomplete_expired, paused.\n",
		.options =
			(const struct args_option[]){ { "tier", &m.tier, NULL, 0 },
						      { "status", &m.status, NULL, 0 },
						      { "label", &m.label, NULL, 0 },
						      { "customer", &m.customer, NULL, 0 },
						      { "subscription", &m.subscription, NULL, 0 },
						      { "json", NULL, &json, 0 },
						      { 0 } },
		.ret_operands = &id,
		.operand_min = 1,
		.operand_max = 1,
	};
	json_t *body;
	int code;

	if (!args_parse(argc, argv, &args, &code))
		return code;
	if (!cli_check_id(id, "acc_"))
		return 2;
	body = body_of(&m);
	if (!body)
		return 2;
	if (!json_object_size(body)) {
		output_error("nothing to change: give at least one of the options");
		json_decref(body);
		return 2;
	}
	return call_and_show(options, "PATCH", id, body, json);
}

static int delete_account(int argc, char **argv, const struct cli_options *options)
{
	const char *id;
	bool json = false;
	const struct args args = {
		.usage = "account delete ID [--json]",
		.help = "Delete the account, its keys and its usage, and print its id. It must not "
			"have a\n"
			"subscription that goes on, nor usage that is not billed yet.\n",
		.options = (const struct args_option[]){ { "json", NULL, &json, 0 }, { 0 } },
		.ret_operands = &id,
		.operand_min = 1,
		.operand_max = 1,
	};
	char path[CLI_PATH_MAX];
	json_t *answer;
	int code;

	if (!args_parse(argc, argv, &args, &code))
		return code;
	if (!cli_check_id(id, "acc_"))
		return 2;
	snprintf(path, sizeof(path), "/api/v1/accounts/%s", id);
	answer = cli_call(options, "DELETE", path, NULL);
	if (!answer)
		return 1;
	if (json)
		output_json(answer);
	else
		fprintf(output_stdout(), "%s\n", id);
	json_decref(answer);
	return output_finish(0);
}

/*
 * Stripe's mode that the agent is configured for; NULL after an error. The caller owns the status.
 */
static const char *agent_mode(const struct cli_options *options, json_t **ret_status)
{
	*ret_status = cli_call(options, "GET", "/api/v1/status", NULL);
	return json_string_value(json_object_get(json_object_get(*ret_status, "stripe"), "mode"));
}

/* Delete the accounts of @accounts that are to be purged; return the ids of those that were. */
static json_t *purge_listed(const struct cli_options *options, const json_t *accounts,
			    const char *mode, bool dry_run, bool *ret_has_failed)
{
	json_t *ids = json_array(), *answer;
	const json_t *account;
	char path[CLI_PATH_MAX];
	size_t i;

	json_array_foreach (accounts, i, account) {
		const char *id = json_string_value(json_object_get(account, "id"));
		const char *its = json_string_value(json_object_get(account, "mode"));

		if (!id || !its || (strcmp(its, "gone") && (!mode || !*its || !strcmp(its, mode))))
			continue;
		snprintf(path, sizeof(path), "/api/v1/accounts/%s", id);
		answer = dry_run ? json_null() : cli_call(options, "DELETE", path, NULL);
		if (answer)
			json_array_append_new(ids, json_string(id));
		*ret_has_failed |= answer == NULL;
		json_decref(answer);
	}
	return ids;
}

static int purge_all(const struct cli_options *options, const char *mode, bool dry_run, bool json)
{
	json_t *accounts = cli_call(options, "GET", "/api/v1/accounts", NULL), *ids, *id;
	bool has_failed = accounts == NULL;
	size_t i;

	ids = purge_listed(options, accounts, mode, dry_run, &has_failed);
	if (json)
		output_json(ids);
	json_array_foreach (ids, i, id) {
		if (!json)
			fprintf(output_stdout(), "%s\n", json_string_value(id));
	}
	json_decref(ids);
	json_decref(accounts);
	return output_finish(has_failed);
}

static int purge(int argc, char **argv, const struct cli_options *options)
{
	bool other_mode = false, dry_run = false, json = false;
	const struct args args = {
		.usage = "account purge [--other-mode] [--dry-run] [--json]",
		.help = "Delete the accounts whose subscription Stripe no longer has, and print "
			"their ids.\n\n"
			"  --other-mode  also those of test mode if tollgate is in live mode, or "
			"the "
			"reverse\n"
			"  --dry-run     only print the ids\n"
			"  --json        print the ids as a JSON array\n",
		.options = (const struct args_option[]){ { "other-mode", NULL, &other_mode, 0 },
							 { "dry-run", NULL, &dry_run, 0 },
							 { "json", NULL, &json, 0 },
							 { 0 } },
	};
	json_t *status = NULL;
	const char *mode = NULL;
	int code;

	if (!args_parse(argc, argv, &args, &code))
		return code;
	if (other_mode) {
		mode = agent_mode(options, &status);
		if (!mode) {
			json_decref(status);
			output_error("Stripe is not configured");
			return 1;
		}
	}
	code = purge_all(options, mode, dry_run, json);
	json_decref(status);
	return code;
}

static const struct cli_command actions[] = {
	{ "create", "", create },
	{ "list", "", list },
	{ "show", "", show },
	{ "set", "", set },
	{ "suspend", "", suspend },
	{ "resume", "", resume },
	{ "delete", "", delete_account },
	{ "purge", "", purge },
	{ NULL, NULL, NULL },
};

int cli_account(int argc, char **argv, const struct cli_options *options)
{
	return cli_dispatch(argc, argv, actions, help, options);
}
