/*
 * `queues`: a row a queue, most queued first.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/cmd.h"
#include "cmd/cmd_control.h"
#include "cmd/cmd_print.h"
#include "cmd/cmd_view.h"
#include "net/clock.h"

static void
view(const void *ctx, const json_t *answer, bool colour, struct buf *out)
{
	struct clock clock;

	clock_os_init(&clock);
	cmd_view_queues(answer, clock_now(&clock).wall, colour, out);
}

static int
run(int argc, char **argv)
{
	enum { JSON, CONTROL };
	struct cmd_option options[] = { [JSON] = { "json", false, NULL }, [CONTROL] = { "control", true, NULL } };
	struct err err = { 0 };
	json_t *answer;
	int status;

	if (!cmd_parse(&cmd_queues, options, countof(options), &argc, argv, &status))
		return status;
	if (argc > 2)
		return cmd_misused(&cmd_queues, "queues takes one pattern; quote it, so that the shell leaves its * alone");
	answer = cmd_control_ask(cmd_control_path(options[CONTROL].value),
				 cmd_control_request("queues", argc == 2 ? argv[1] : NULL), &err);
	if (!answer)
		return cmd_failed("%s", err.text);
	cmd_print_answer(answer, options[JSON].value != NULL, view, NULL);
	return EXIT_DONE;
}

const struct cmd cmd_queues = {
	.name = "queues",
	.arguments = "[PATTERN] [--json] [--control PATH]",
	.summary = "a running node's queues, most queued first",
	.help =
	"One row for each queue that holds mail, most queued first. PATTERN picks some\n"
	"by name, with * for anything: 'google/*', '*/mta-1'.\n"
	"\n"
	"  queued     recipients, wherever they wait\n"
	"  ready      of them, those that may go as soon as the gate is open\n"
	"  state      open, or what holds the queue: `sluice why QUEUE` says more\n"
	"  next in    time until it will try again, where that is known\n"
	"\n"
	"  --json           an array of objects: queue, site, vmta, queued, ready,\n"
	"                   sessions, mode, gate, oldest_age, next_attempt, last_error\n"
	"  --control PATH   the node's socket\n"
	"\n"
	"example:\n"
	"  $ sluice queues 'google/*'\n"
	"  queue         queued  ready  sessions  state         oldest  next in  last error\n"
	"  google/mta-1    1204    900        20  max_smtp_out   1h30m           421 4.7.0 slow down\n",
	.run = run,
};
