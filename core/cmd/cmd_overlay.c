/*
 * `suspend` and `lift`: what a hand lays on queues, and takes away, whoever
 * laid it.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/cmd.h"
#include "cmd/cmd_control.h"
#include "cmd/cmd_print.h"
#include "cmd/cmd_view.h"

/* The second argument may be absent. Taken: the request. */
static json_t *
request(const struct cmd *cmd, char **arguments)
{
	json_t *made = cmd_control_request(cmd->name, arguments[0]);

	if (made && arguments[1] &&
	    json_array_append_new(json_object_get(made, "arguments"), json_string(arguments[1])) != 0) {
		json_decref(made);
		return NULL;
	}
	return made;
}

static int
act(const struct cmd *cmd, const char *done, int least, const char *wanted, int argc, char **argv)
{
	enum { JSON, CONTROL };
	struct cmd_option options[] = { [JSON] = { "json", false, NULL }, [CONTROL] = { "control", true, NULL } };
	char *arguments[2] = { NULL, NULL };
	struct err err = { 0 };
	json_t *answer;
	int status;

	if (!cmd_parse(cmd, options, countof(options), &argc, argv, &status))
		return status;
	if (argc - 1 < least || argc - 1 > 2)
		return cmd_misused(cmd, "%s", wanted);
	for (int i = 1; i < argc; i++)
		arguments[i - 1] = argv[i];
	answer = cmd_control_ask(cmd_control_path(options[CONTROL].value), request(cmd, arguments), &err);
	if (!answer)
		return cmd_failed("%s", err.text);
	cmd_print_answer(answer, options[JSON].value != NULL, cmd_view_touched, &(struct cmd_view_act){ done, argv[1] });
	return EXIT_DONE;
}

static int
run_suspend(int argc, char **argv)
{
	return act(&cmd_suspend, "suspended", 2, "suspend needs a queue and how long, like 'google/*' 2h", argc, argv);
}

static int
run_lift(int argc, char **argv)
{
	return act(&cmd_lift, "lifted from", 1, "lift needs a queue, and may name the overlay; quote a pattern", argc, argv);
}

#define COMMON_HELP \
	"  --json           {\"queues\", \"recipients\"}: how many were touched\n" \
	"  --control PATH   the node's socket\n"

const struct cmd cmd_suspend = {
	.name = "suspend",
	.arguments = "QUEUE DURATION [--json] [--control PATH]",
	.summary = "hold queues for a time",
	.help =
	"Holds the queue for so long: no new sessions, and open ones end after their\n"
	"message. Then it goes on by itself, also across restarts; `sluice lift` ends it\n"
	"sooner. QUEUE may hold * for anything; queues that come later and match are\n"
	"held too. DURATION is like 90s, 30m, 2h or 1d.\n"
	"\n"
	COMMON_HELP
	"\n"
	"example:\n"
	"  $ sluice suspend 'google/*' 2h\n"
	"  suspended 1204 recipients in 3 queues\n",
	.run = run_suspend,
};

const struct cmd cmd_lift = {
	.name = "lift",
	.arguments = "QUEUE [NAME] [--json] [--control PATH]",
	.summary = "take away what reactions or `suspend` laid on queues",
	.help =
	"Takes away the overlays of the queue, its site and its virtual MTA: what a\n"
	"reaction, a function of the policy or `sluice suspend` laid there. `sluice why`\n"
	"shows them. With NAME only the ones of that name; what `suspend` laid is called\n"
	"\"by hand\". QUEUE may hold * for anything.\n"
	"\n"
	COMMON_HELP
	"\n"
	"example:\n"
	"  $ sluice lift microsoft/mta-1 '421 RP-001'\n"
	"  lifted from 830 recipients in 1 queue\n",
	.run = run_lift,
};
