/*
 * `pause`, `resume`, `retry`, `bounce`, `drop`: one request each, to the queues
 * that a pattern names; the same function, told apart by a row of a table.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/cmd.h"
#include "cmd/cmd_control.h"
#include "cmd/cmd_print.h"
#include "cmd/cmd_view.h"

enum { JSON, CONTROL, JOB, RECIPIENTS };

/* NULL: an argument is no UTF-8. A job must never get lost on the way: the rest would mean all jobs. */
static json_t *
request(const struct cmd *cmd, const char *pattern, const struct cmd_option *options)
{
	json_t *request = cmd_control_request(cmd->name, pattern);
	json_t *given = json_object();
	const char *job = options[JOB].value;
	bool fine = request && (!job || json_object_set_new(given, "job", json_string(job)) == 0);

	if (options[RECIPIENTS].value)
		json_object_set_new(given, "recipients", json_true());
	if (fine && json_object_set(request, "options", given) == 0) {
		json_decref(given);
		return request;
	}
	json_decref(given);
	json_decref(request);
	return NULL;
}

static bool
is_misuse(const struct cmd *cmd, const struct cmd_option *options, int argc, int *status_out)
{
	if (argc != 2)
		*status_out = cmd_misused(cmd, argc < 2 ? "%s needs a queue, or a pattern like 'google/*'"
							: "%s takes one queue; quote a pattern, so that the shell leaves its * alone", cmd->name);
	else if (options[JOB].value && !*options[JOB].value)
		*status_out = cmd_misused(cmd, "--job needs the name of a job");
	else if (options[RECIPIENTS].value && cmd != &cmd_retry)
		*status_out = cmd_misused(cmd, "--recipients belongs to retry");
	else
		return false;
	return true;
}

static int
act(const struct cmd *cmd, const char *done, int argc, char **argv)
{
	struct cmd_option options[] = {
		[JSON] = { "json", false, NULL }, [CONTROL] = { "control", true, NULL },
		[JOB] = { "job", true, NULL }, [RECIPIENTS] = { "recipients", false, NULL },
	};
	struct err err = { 0 };
	json_t *answer;
	int status;

	if (!cmd_parse(cmd, options, countof(options), &argc, argv, &status) ||
	    is_misuse(cmd, options, argc, &status))
		return status;
	answer = cmd_control_ask(cmd_control_path(options[CONTROL].value), request(cmd, argv[1], options), &err);
	if (!answer)
		return cmd_failed("%s", err.text);
	cmd_print_answer(answer, options[JSON].value != NULL, cmd_view_touched, &(struct cmd_view_act){ done, argv[1] });
	return EXIT_DONE;
}

static int run_pause(int argc, char **argv) { return act(&cmd_pause, "paused", argc, argv); }
static int run_resume(int argc, char **argv) { return act(&cmd_resume, "resumed", argc, argv); }
static int run_retry(int argc, char **argv) { return act(&cmd_retry, "to be tried now:", argc, argv); }
static int run_bounce(int argc, char **argv) { return act(&cmd_bounce, "bounced", argc, argv); }
static int run_drop(int argc, char **argv) { return act(&cmd_drop, "dropped", argc, argv); }

#define COMMON_HELP \
	"  --json           {\"queues\", \"recipients\"}: how many were touched\n" \
	"  --control PATH   the node's socket\n"

const struct cmd cmd_pause = {
	.name = "pause",
	.arguments = "QUEUE [--job JOB] [--json] [--control PATH]",
	.summary = "hold queues until `resume`",
	.help =
	"Holds the queue: no new sessions, and open ones end after their message. It\n"
	"lasts until `sluice resume`, also across restarts. QUEUE may hold * for\n"
	"anything; queues that come later and match are held too. Mail that waits still\n"
	"expires in its time.\n"
	"\n"
	"  --job JOB        only mail of that job, also what comes later; the rest goes on\n"
	COMMON_HELP
	"\n"
	"example:\n"
	"  $ sluice pause 'google/*'\n"
	"  paused 1204 recipients in 3 queues\n",
	.run = run_pause,
};

const struct cmd cmd_resume = {
	.name = "resume",
	.arguments = "QUEUE [--job JOB] [--json] [--control PATH]",
	.summary = "end a `pause`",
	.help =
	"Ends what `sluice pause` began, of whole queues and of jobs. QUEUE may hold * for\n"
	"anything. A pause that the policy declares (paused = true) stays.\n"
	"\n"
	"  --job JOB        only a pause of that job\n"
	COMMON_HELP
	"\n"
	"example:\n"
	"  $ sluice resume 'google/*'\n"
	"  resumed 1204 recipients in 3 queues\n",
	.run = run_resume,
};

const struct cmd cmd_retry = {
	.name = "retry",
	.arguments = "QUEUE [--recipients] [--job JOB] [--json] [--control PATH]",
	.summary = "try again now instead of after retry_after",
	.help =
	"Ends the queue's wait after a failure (retry_after), so that it tries again now,\n"
	"within its caps and rates. QUEUE may hold * for anything.\n"
	"\n"
	"  --recipients     deferred recipients too, before their own time\n"
	"                   (retry_recipients_after)\n"
	"  --job JOB        only recipients of that job\n"
	COMMON_HELP
	"\n"
	"example:\n"
	"  $ sluice retry example.com/mta-1 --recipients\n"
	"  to be tried now: 12 recipients in 1 queue\n",
	.run = run_retry,
};

const struct cmd cmd_bounce = {
	.name = "bounce",
	.arguments = "QUEUE [--job JOB] [--json] [--control PATH]",
	.summary = "give up what a queue holds, and tell the senders",
	.help =
	"Bounces every recipient that waits in the queue: each sender gets a report, and\n"
	"accounting a record. Those in a session right now are left to it. QUEUE may\n"
	"hold * for anything.\n"
	"\n"
	"  --job JOB        only recipients of that job\n"
	COMMON_HELP
	"\n"
	"example:\n"
	"  $ sluice bounce 'old-provider.example/*' --job newsletter-17\n"
	"  bounced 512 recipients in 2 queues\n",
	.run = run_bounce,
};

const struct cmd cmd_drop = {
	.name = "drop",
	.arguments = "QUEUE [--job JOB] [--json] [--control PATH]",
	.summary = "throw away what a queue holds, and tell nobody",
	.help =
	"Throws away every recipient that waits in the queue: no report to the sender,\n"
	"only a record in accounting. There is no way back. Those in a session right now\n"
	"are left to it. QUEUE may hold * for anything.\n"
	"\n"
	"  --job JOB        only recipients of that job\n"
	COMMON_HELP
	"\n"
	"example:\n"
	"  $ sluice drop '*/mta-1' --job test-run\n"
	"  dropped 100 recipients in 4 queues\n",
	.run = run_drop,
};
