/*
 * `check`: what `run` would say about a policy, without running it.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/cmd.h"
#include "cmd/cmd_policy.h"
#include "cmd/cmd_print.h"
#include "control/arithmetic.h"

static void
print_as_json(const struct policy_report *report)
{
	json_t *value = json_pack("{s:b, s:o, s:o}", "ok", report->errors_n == 0,
				  "errors", cmd_policy_notes(report->errors, report->errors_n),
				  "warnings", cmd_policy_notes(report->warnings, report->warnings_n));
	cmd_print_json(value);
	json_decref(value);
}

static const char *
plural(unsigned n)
{
	return n == 1 ? "" : "s";
}

static void
print_summary(const char *path, const struct policy *policy, const struct policy_report *report)
{
	unsigned warnings = report->warnings_n, errors = report->errors_n;
	const struct ruleset *r = policy ? policy_ruleset(policy) : NULL;

	printf("%s: ", path);
	if (r)
		printf("%u listener%s, %u virtual MTA%s, %u pool%s, %u provider%s: ok",
		       r->listeners_n, plural(r->listeners_n), r->vmtas_n, plural(r->vmtas_n),
		       r->pools_n, plural(r->pools_n), r->providers_n, plural(r->providers_n));
	else
		printf("%u error%s", errors, plural(errors));
	if (warnings)
		printf(", %u warning%s", warnings, plural(warnings));
	putchar('\n');
}

static int
run(int argc, char **argv)
{
	struct cmd_option options[] = { { "json", false, NULL } };
	struct cmd_policy loaded;
	struct policy_report *report = &loaded.report;
	int status;

	if (!cmd_parse(&cmd_check, options, countof(options), &argc, argv, &status))
		return status;
	if (argc != 2)
		return cmd_misused(&cmd_check, argc < 2 ? "check needs a policy" : "check takes one policy");
	cmd_policy_open(&loaded, argv[1]);
	if (loaded.policy)
		arithmetic_warn(policy_ruleset(loaded.policy), report);
	if (options[0].value) {
		print_as_json(report);
	} else {
		cmd_policy_print_notes(report->errors, report->errors_n, "");
		cmd_policy_print_notes(report->warnings, report->warnings_n, "warning: ");
		print_summary(argv[1], loaded.policy, report);
	}
	status = loaded.policy ? EXIT_DONE : EXIT_FAILED;
	cmd_policy_close(&loaded);
	return status;
}

const struct cmd cmd_check = {
	.name = "check",
	.arguments = "POLICY [--json]",
	.summary = "load a policy without running it, and say what is wrong with it",
	.help =
	"Loads the policy and everything it requires, but runs nothing. Errors and\n"
	"warnings go to standard error as FILE:LINE: what is wrong; then comes a\n"
	"summary. Warned of are rules that can never match or are never asked, and caps\n"
	"and rates that others keep from ever being reached. Exit status 1 if there is\n"
	"an error; warnings alone are fine.\n"
	"\n"
	"  --json   {\"ok\", \"errors\": [{\"file\", \"line\", \"text\"}], \"warnings\": […]}\n"
	"\n"
	"example:\n"
	"  $ sluice check policies/default.lua\n"
	"  policies/default.lua: 1 listener, 1 virtual MTA, 0 pools, 28 providers: ok\n",
	.run = run,
};
