/*
 * `status`: the node at a glance.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/cmd.h"
#include "cmd/cmd_control.h"
#include "cmd/cmd_print.h"
#include "cmd/cmd_view.h"

static int
run(int argc, char **argv)
{
	enum { JSON, CONTROL };
	struct cmd_option options[] = { [JSON] = { "json", false, NULL }, [CONTROL] = { "control", true, NULL } };
	struct err err = { 0 };
	struct buf text;
	json_t *answer;
	int status;

	if (!cmd_parse(&cmd_status, options, countof(options), &argc, argv, &status))
		return status;
	if (argc != 1)
		return cmd_misused(&cmd_status, "status takes no arguments");
	answer = cmd_control_ask(cmd_control_path(options[CONTROL].value), cmd_control_request("status", NULL), &err);
	if (!answer)
		return cmd_failed("%s", err.text);
	if (options[JSON].value) {
		cmd_print_json(answer);
	} else {
		buf_init(&text, 0);
		cmd_view_status(answer, cmd_has_colour(), &text);
		cmd_print_text(&text);
		buf_fini(&text);
	}
	json_decref(answer);
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
