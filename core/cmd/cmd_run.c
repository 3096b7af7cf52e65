/*
 * `run`: hands what was given to the node, which says everything else. The folder
 * goes with it, as with `swap`, so that a path means one place however the
 * same policy is named later.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/cmd.h"
#include "net/peers.h"
#include "node.h"
#include "util/span.h"

#include <stdlib.h>
#include <unistd.h>

static int
run(int argc, char **argv)
{
	enum { SPOOL, CONTROL, ACCOUNTING, HTTP, WORKERS, RESOLVER, WATCH, LAST_GOOD };
	struct cmd_option options[] = {
		[SPOOL] = { "spool", true, NULL }, [CONTROL] = { "control", true, NULL },
		[ACCOUNTING] = { "accounting", true, NULL }, [HTTP] = { "http", true, NULL },
		[WORKERS] = { "workers", true, NULL }, [RESOLVER] = { "resolver", true, NULL },
		[WATCH] = { "watch", false, NULL }, [LAST_GOOD] = { "last-good", false, NULL },
	};
	uint64_t workers = 0;
	int status;

	if (!cmd_parse(&cmd_run, options, countof(options), &argc, argv, &status))
		return status;
	if (argc != 2)
		return cmd_misused(&cmd_run, argc < 2 ? "run needs a policy" : "run takes one policy");
	if (options[WORKERS].value && (!span_u64(span_text(options[WORKERS].value), PEERS_MAX, &workers) || !workers))
		return cmd_misused(&cmd_run, "--workers is a number from 1 to %u", PEERS_MAX);
	char *folder = getcwd(NULL, 0);
	status = node_run(&(struct node_options){
		.policy = argv[1],
		.folder = folder,
		.spool = options[SPOOL].value,
		.control = options[CONTROL].value,
		.accounting = options[ACCOUNTING].value,
		.http = options[HTTP].value,
		.resolver = options[RESOLVER].value,
		.workers = (unsigned)workers,
		.watch = options[WATCH].value != NULL,
		.last_good = options[LAST_GOOD].value != NULL,
	});
	free(folder);
	return status;
}

const struct cmd cmd_run = {
	.name = "run",
	.arguments = "POLICY [--spool DIR] [--control PATH] [--accounting FILE] [--http ADDR] [--workers N] [--resolver ADDR] [--watch] [--last-good]",
	.summary = "run the node, in the foreground",
	.help =
	"Runs the node under the policy, in the foreground, and logs to standard error,\n"
	"where a line \"ready\" says that it accepts mail. SIGTERM and SIGINT end it in\n"
	"order: it stops accepting, finishes what is in flight, syncs, and exits 0.\n"
	"SIGHUP swaps to the same policy file, read again (see `sluice swap`).\n"
	"\n"
	"The options override what the policy's `node` block says.\n"
	"  --spool DIR         where accepted mail is kept\n"
	"  --control PATH      the socket that `sluice status`, `why` and the others ask\n"
	"  --accounting FILE   a line of CSV for each delivery, deferral and bounce\n"
	"  --http ADDR         127.0.0.1:8080\n"
	"  --workers N         event loops, each on a thread of its own (one a core)\n"
	"  --resolver ADDR     127.0.0.1:53, instead of /etc/resolv.conf\n"
	"  --watch             swap when a file of the policy has changed, after a quiet second\n"
	"  --last-good         where the policy does not load, run the last one that was good\n"
	"\n"
	"example:\n"
	"  sluice run policies/default.lua --spool /var/spool/sluice \\\n"
	"             --control /run/sluice/control.sock\n",
	.run = run,
};
