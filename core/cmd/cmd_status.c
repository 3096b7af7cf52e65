/*
 * `status`: the node at a glance.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/cmd.h"
#include "cmd/cmd_control.h"
#include "cmd/cmd_print.h"
#include "cmd/cmd_view.h"

static void
view(const void *ctx, const json_t *answer, bool colour, struct buf *out)
{
	cmd_view_status(answer, colour, out);
}

static int
run(int argc, char **argv)
{
	enum { JSON, CONTROL };
	struct cmd_option options[] = { [JSON] = { "json", false, NULL }, [CONTROL] = { "control", true, NULL } };
	struct err err = { 0 };
	json_t *answer;
	int status;

	if (!cmd_parse(&cmd_status, options, countof(options), &argc, argv, &status))
		return status;
	if (argc != 1)
		return cmd_misused(&cmd_status, "status takes no arguments");
	answer = cmd_control_ask(cmd_control_path(options[CONTROL].value), cmd_control_request("status", NULL), &err);
	if (!answer)
		return cmd_failed("%s", err.text);
	cmd_print_answer(answer, options[JSON].value != NULL, view, NULL);
	return EXIT_DONE;
}

const struct cmd cmd_status = {
	.name = "status",
	.arguments = "[--json] [--control PATH]",
	.summary = "a running node at a glance",
	.help =
	"How a running node stands: what is queued, how many sessions are open, and\n"
	"what it did since it started.\n"
	"\n"
	"  --json           one JSON object: generation, queued, deferred, sessions_in,\n"
	"                   sessions_out, received, delivered, bounced, uptime, …\n"
	"  --control PATH   the node's socket; else $SLUICE_CONTROL, else\n"
	"                   /run/sluice/control.sock\n"
	"\n"
	"example:\n"
	"  $ sluice status\n"
	"  sluice 0.1.0, up 3h12m, generation 1 of policies/default.lua\n"
	"  queued      1204 recipients in 12 queues, 300 of them deferred\n"
	"  sessions    2 in, 40 out\n"
	"  since start 10000 messages received; 8796 recipients delivered, 12 bounced\n"
	"  spool       1192 messages, 12M\n",
	.run = run,
};
