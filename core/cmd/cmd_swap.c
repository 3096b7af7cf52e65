/*
 * `swap`: specs first, where they are asked for, by this same program; then one
 * request to the node, which reads and checks the policy itself.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/cmd.h"
#include "cmd/cmd_control.h"
#include "cmd/cmd_print.h"

#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

enum { JSON, CONTROL, SPEC, BACK, DRY_RUN };

/* Its output is ours, but standard output is for the answer. */
static int
run_specs(const char *path)
{
	int status = 0;
	pid_t child = fork();

	if (child == 0) {
		dup2(STDERR_FILENO, STDOUT_FILENO);
		execl("/proc/self/exe", "sluice", "spec", path, (char *)NULL);
		_exit(127);
	}
	if (child < 0)
		return cmd_failed("the specs cannot be run: no further process can be started");
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return EXIT_DONE;
	return cmd_failed("the specs of %s failed; the policy in force stays", path);
}

static json_t *
request_of(const char *policy, const struct cmd_option *options)
{
	json_t *request = cmd_control_request("swap", policy);
	json_t *given = json_object();
	char *folder = getcwd(NULL, 0);

	if (policy != NULL && folder != NULL)
		json_object_set_new(given, "base", json_string(folder));
	if (options[BACK].value != NULL)
		json_object_set_new(given, "back", json_true());
	if (options[DRY_RUN].value != NULL)
		json_object_set_new(given, "dry-run", json_true());
	json_object_set_new(request, "options", given);
	free(folder);
	return request;
}

static int
told_refusal(const json_t *lines)
{
	const json_t *line;
	size_t i;

	json_array_foreach(lines, i, line)
		fprintf(stderr, "%s\n", json_string_value(line));
	return EXIT_FAILED;
}

static const char *
word_of(const json_t *change, size_t which)
{
	const char *word = json_string_value(json_array_get(json_object_get(change, "words"), which));

	return word != NULL ? word : "none";
}

static void
view_change(const json_t *change, struct buf *out)
{
	const char *queue = json_string_value(json_object_get(change, "queue"));
	const char *scope = json_string_value(json_object_get(change, "scope"));
	const char *setting = json_string_value(json_object_get(change, "setting"));

	if (setting != NULL && setting[0] == '\0')
		buf_printf(out, "  %s: %s\n", scope, json_is_null(json_object_get(change, "to")) ? "is gone" : "is new");
	else
		buf_printf(out, "  %s: %s: %s -> %s\n", queue != NULL ? queue : scope, setting, word_of(change, 0), word_of(change, 1));
}

static void
view(const json_t *answer, bool dry_run, struct buf *out)
{
	const json_t *changes = json_object_get(answer, "changed"), *change;
	long long generation = json_integer_value(json_object_get(answer, "generation"));
	long long left_out = json_integer_value(json_object_get(answer, "left_out"));
	size_t i, n = json_array_size(changes);

	if (dry_run)
		buf_printf(out, "it would be taken; generation %lld stays in force\n", generation);
	else
		buf_printf(out, "generation %lld is in force, after %.3f s\n", generation, json_number_value(json_object_get(answer, "seconds")));
	if (n == 0)
		buf_printf(out, "no setting %s\n", dry_run ? "would change" : "has changed");
	else
		buf_printf(out, "%zu setting%s %s:\n", n, n == 1 ? "" : "s", dry_run ? "would change" : "changed");
	json_array_foreach(changes, i, change)
		view_change(change, out);
	if (left_out > 0)
		buf_printf(out, "  and %lld more\n", left_out);
}

static int
ask(const char *policy, const struct cmd_option *options)
{
	struct err err = { 0 };
	json_t *answer = cmd_control_ask(cmd_control_path(options[CONTROL].value), request_of(policy, options), &err);
	const json_t *refused = json_object_get(answer, "refused");
	struct buf text;
	int status = EXIT_DONE;

	if (answer == NULL)
		return cmd_failed("%s", err.text);
	if (refused != NULL) {
		status = told_refusal(refused);
	} else if (options[JSON].value != NULL) {
		cmd_print_json(answer);
	} else {
		buf_init(&text, 0);
		view(answer, options[DRY_RUN].value != NULL, &text);
		cmd_print_text(&text);
		buf_fini(&text);
	}
	json_decref(answer);
	return status;
}

static int
run(int argc, char **argv)
{
	struct cmd_option options[] = {
		[JSON] = { "json", false, NULL }, [CONTROL] = { "control", true, NULL }, [SPEC] = { "spec", true, NULL },
		[BACK] = { "back", false, NULL }, [DRY_RUN] = { "dry-run", false, NULL },
	};
	int status;

	if (!cmd_parse(&cmd_swap, options, countof(options), &argc, argv, &status))
		return status;
	if (argc > 2)
		return cmd_misused(&cmd_swap, "swap takes one policy");
	if (argc == 2 && options[BACK].value != NULL)
		return cmd_misused(&cmd_swap, "--back names no policy: it goes to the one before");
	if (argc == 2 && argv[1][0] == '\0')
		return cmd_misused(&cmd_swap, "swap needs the name of a policy, or none for the file in force");
	if (options[SPEC].value != NULL && (status = run_specs(options[SPEC].value)) != EXIT_DONE)
		return status;
	return ask(argc == 2 ? argv[1] : NULL, options);
}

const struct cmd cmd_swap = {
	.name = "swap",
	.arguments = "[POLICY] [--spec PATH] [--back] [--dry-run] [--json] [--control PATH]",
	.summary = "put another policy in force while mail flows",
	.help =
	"Reads the policy (without a name, the file in force again) and puts it in force:\n"
	"all of it, or nothing where it does not load or cannot hold. No session is\n"
	"dropped and no message lost; limits and overlays keep their state. Prints what\n"
	"has changed.\n"
	"\n"
	"With too many hook errors in the minute after it the node goes back by itself.\n"
	"\n"
	"  --spec PATH      only if these specs pass (`sluice spec PATH`)\n"
	"  --back           to the policy that was in force before, as it was then\n"
	"  --dry-run        only say what would change\n"
	"  --json           {\"generation\", \"changed\": [{\"queue\" or \"scope\", \"setting\",\n"
	"                   \"from\", \"to\"}], \"seconds\"}\n"
	"  --control PATH   the node's socket\n"
	"\n"
	"example:\n"
	"  $ sluice swap policies/example.lua\n"
	"  generation 2 is in force, after 0.004 s\n"
	"  1 setting changed:\n"
	"    provider \"google\": max_smtp_out: 20 -> 5\n",
	.run = run,
};
