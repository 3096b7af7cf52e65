/*
 * `why`: the gate's own answer for one queue; or where a message waits.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/cmd.h"
#include "cmd/cmd_control.h"
#include "cmd/cmd_print.h"
#include "cmd/cmd_view.h"

static void
view(const void *ctx, const json_t *answer, bool colour, struct buf *out)
{
	if (json_is_array(answer))
		cmd_view_found(answer, colour, out);
	else
		cmd_view_why(answer, colour, out);
}

static int
run(int argc, char **argv)
{
	enum { JSON, CONTROL };
	struct cmd_option options[] = { [JSON] = { "json", false, NULL }, [CONTROL] = { "control", true, NULL } };
	struct err err = { 0 };
	json_t *answer;
	int status;

	if (!cmd_parse(&cmd_why, options, countof(options), &argc, argv, &status))
		return status;
	if (argc != 2)
		return cmd_misused(&cmd_why, argc < 2 ? "why needs a queue (sluice queues lists them), a message or a recipient" : "why takes one queue, message or recipient");
	answer = cmd_control_ask(cmd_control_path(options[CONTROL].value), cmd_control_request("why", argv[1]), &err);
	if (!answer)
		return cmd_failed("%s", err.text);
	if (json_is_array(answer) && json_array_size(answer) == 0) {
		json_decref(answer);
		return cmd_failed("nothing waits for %s: it was never here, or it has left (accounting knows)", argv[1]);
	}
	cmd_print_answer(answer, options[JSON].value != NULL, view, NULL);
	return EXIT_DONE;
}

const struct cmd cmd_why = {
	.name = "why",
	.arguments = "QUEUE|MESSAGE|RECIPIENT [--json] [--control PATH]",
	.summary = "what holds a queue, until when, and where that was declared",
	.help =
	"Says what holds the queue now: of all closed gates, the one that opens last;\n"
	"its limit, and the line of the policy that declared it. Then every other gate\n"
	"that has a limit or is closed, what lies on the queue, and how fast it empties.\n"
	"For a message's id or a recipient's address: where it waits, and since when.\n"
	"\n"
	"  --json           one JSON object: queue, open, gate, until, limit, in_use,\n"
	"                   declared_at, gates[], overlays[], queued, oldest_age,\n"
	"                   last_error, ceiling, pace (an hour), empty_in, warmup\n"
	"                   {day, per_day, used, left} or null; of a message\n"
	"                   or a recipient an array of message, recipient, queue, state,\n"
	"                   since, due, attempts, job, gate\n"
	"  --control PATH   the node's socket\n"
	"\n"
	"example:\n"
	"  $ sluice why google/mta-1\n"
	"  google/mta-1 waits: max_smtp_out 20 of 20 in use (policies/x.lua:14)\n"
	"\n"
	"  gate          state   opens in  in use  limit  declared at\n"
	"  paused        open\n"
	"  suspended     open\n"
	"  retry_after   open\n"
	"  max_smtp_out  closed         -      20     20  policies/x.lua:14\n"
	"\n"
	"  queued      1204, 900 ready, 20 sessions, the oldest for 1h30m\n",
	.run = run,
};
