/*
 * `check`: what `run` would say about a policy, without running it.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/cmd.h"
#include "cmd/cmd_print.h"
#include "control/control_answers.h"
#include "policy/policy.h"

static void
print_notes(const struct policy_note *notes, unsigned n, const char *kind)
{
	for (unsigned i = 0; i < n; i++) {
		if (notes[i].line)
			fprintf(stderr, "%s:%d: %s%s\n", notes[i].file, notes[i].line, kind, notes[i].text);
		else
			fprintf(stderr, "%s: %s%s\n", notes[i].file, kind, notes[i].text);
	}
}

static json_t *
notes_json(const struct policy_note *notes, unsigned n)
{
	json_t *all = json_array();

	for (unsigned i = 0; i < n; i++)
		json_array_append_new(all, json_pack("{s:o, s:o, s:o}",
						     "file", control_answer_text(notes[i].file),
						     "line", notes[i].line ? json_integer(notes[i].line) : json_null(),
						     "text", control_answer_text(notes[i].text)));
	return all;
}

static void
print_as_json(const struct policy_report *report)
{
	json_t *value = json_pack("{s:b, s:o, s:o}", "ok", report->errors_n == 0,
				  "errors", notes_json(report->errors, report->errors_n),
				  "warnings", notes_json(report->warnings, report->warnings_n));
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

static wall_ms_t
wall(void *ctx)
{
	return clock_now(ctx).wall;
}

static int
run(int argc, char **argv)
{
	struct cmd_option options[] = { { "json", false, NULL } };
	struct clock clock;
	struct log log = { .level = LOG_WARNING, .wall = wall, .wall_ctx = &clock, .sink = log_sink_stderr };
	struct policy_report report;
	struct policy *policy;
	int status;

	if (!cmd_parse(&cmd_check, options, countof(options), &argc, argv, &status))
		return status;
	if (argc != 2)
		return cmd_misused(&cmd_check, argc < 2 ? "check needs a policy" : "check takes one policy");
	clock_os_init(&clock);
	policy_report_init(&report);
	policy = policy_load(argv[1], &(struct policy_env){ .log = &log, .clock = &clock, .seed = 1 }, &report);
	if (options[0].value) {
		print_as_json(&report);
	} else {
		print_notes(report.errors, report.errors_n, "");
		print_notes(report.warnings, report.warnings_n, "warning: ");
		print_summary(argv[1], policy, &report);
	}
	status = policy ? EXIT_DONE : EXIT_FAILED;
	policy_free(policy);
	policy_report_fini(&report);
	return status;
}

const struct cmd cmd_check = {
	.name = "check",
	.arguments = "POLICY [--json]",
	.summary = "load a policy without running it, and say what is wrong with it",
	.help =
	"Loads the policy and everything it requires, but runs nothing. Errors and\n"
	"warnings go to standard error as FILE:LINE: what is wrong; then comes a\n"
	"summary. Exit status 1 if there is an error; warnings alone are fine.\n"
	"\n"
	"  --json   {\"ok\", \"errors\": [{\"file\", \"line\", \"text\"}], \"warnings\": […]}\n"
	"\n"
	"example:\n"
	"  $ sluice check policies/default.lua\n"
	"  policies/default.lua: 1 listener, 1 virtual MTA, 0 pools, 28 providers: ok\n",
	.run = run,
};
