/*
 * `pause`, `resume`, `suspend`, `lift`, `retry`, `bounce`, `drop`: one request each,
 * to the queues that a pattern names; the same function, told apart by a row.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/cmd.h"
#include "cmd/cmd_control.h"
#include "cmd/cmd_print.h"
#include "cmd/cmd_view.h"

enum { JSON, CONTROL, JOB, RECIPIENTS };

struct act {
	const struct cmd *cmd;
	const char *done;               /* "paused" */
	int         least, most;        /* arguments */
	const char *wanted;             /* told where there are fewer or more */
};

/* NULL: an argument is no UTF-8. A job must never get lost on the way: the rest would mean all jobs. */
static json_t *
request(const struct act *act, char **arguments, const struct cmd_option *options)
{
	json_t *request = cmd_control_request(act->cmd->name, arguments[0]);
	json_t *given = json_object();
	const char *job = options[JOB].value;
	bool fine = request && (!job || json_object_set_new(given, "job", json_string(job)) == 0);

	if (fine && arguments[1])
		fine = json_array_append_new(json_object_get(request, "arguments"), json_string(arguments[1])) == 0;
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
is_misuse(const struct act *act, const struct cmd_option *options, int argc, int *status_out)
{
	if (argc - 1 < act->least || argc - 1 > act->most)
		*status_out = cmd_misused(act->cmd, "%s needs %s%s", act->cmd->name, act->wanted,
					  argc - 1 > act->most ? "; quote a pattern, so that the shell leaves its * alone" : "");
	else if (options[JOB].value && !*options[JOB].value)
		*status_out = cmd_misused(act->cmd, "--job needs the name of a job");
	else if (options[RECIPIENTS].value && act->cmd != &cmd_retry)
		*status_out = cmd_misused(act->cmd, "--recipients belongs to retry");
	else
		return false;
	return true;
}

static int
run_act(const struct act *act, int argc, char **argv)
{
	struct cmd_option options[] = {
		[JSON] = { "json", false, NULL }, [CONTROL] = { "control", true, NULL },
		[JOB] = { "job", true, NULL }, [RECIPIENTS] = { "recipients", false, NULL },
	};
	char *arguments[2] = { NULL, NULL };
	struct err err = { 0 };
	json_t *answer;
	int status;

	if (!cmd_parse(act->cmd, options, countof(options), &argc, argv, &status) || is_misuse(act, options, argc, &status))
		return status;
	for (int i = 1; i < argc; i++)
		arguments[i - 1] = argv[i];
	answer = cmd_control_ask(cmd_control_path(options[CONTROL].value), request(act, arguments, options), &err);
	if (!answer)
		return cmd_failed("%s", err.text);
	cmd_print_answer(answer, options[JSON].value != NULL, cmd_view_touched, &(struct cmd_view_act){ act->done, argv[1] });
	return EXIT_DONE;
}

#define A_QUEUE "a queue, or a pattern like 'google/*'"

static int run_pause(int argc, char **argv) { return run_act(&(struct act){ &cmd_pause, "paused", 1, 1, A_QUEUE }, argc, argv); }
static int run_resume(int argc, char **argv) { return run_act(&(struct act){ &cmd_resume, "resumed", 1, 1, A_QUEUE }, argc, argv); }
static int run_retry(int argc, char **argv) { return run_act(&(struct act){ &cmd_retry, "to be tried now:", 1, 1, A_QUEUE }, argc, argv); }
static int run_bounce(int argc, char **argv) { return run_act(&(struct act){ &cmd_bounce, "bounced", 1, 1, A_QUEUE }, argc, argv); }
static int run_drop(int argc, char **argv) { return run_act(&(struct act){ &cmd_drop, "dropped", 1, 1, A_QUEUE }, argc, argv); }

static int
run_suspend(int argc, char **argv)
{
	return run_act(&(struct act){ &cmd_suspend, "suspended", 2, 2, "a queue and how long, like 'google/*' 2h" }, argc, argv);
}

static int
run_lift(int argc, char **argv)
{
	return run_act(&(struct act){ &cmd_lift, "lifted from", 1, 2, "a queue, and may name the overlay" }, argc, argv);
}

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

const struct cmd cmd_suspend = {
	.name = "suspend",
	.arguments = "QUEUE DURATION [--job JOB] [--json] [--control PATH]",
	.summary = "hold queues for a time",
	.help =
	"Holds the queue for so long: no new sessions, and open ones end after their\n"
	"message. Then it goes on by itself, also across restarts; `sluice lift` ends it\n"
	"sooner. QUEUE may hold * for anything; queues that come later and match are\n"
	"held too. DURATION is like 90s, 30m, 2h or 1d.\n"
	"\n"
	"  --job JOB        only mail of that job, also what comes later; the rest goes on\n"
	COMMON_HELP
	"\n"
	"example:\n"
	"  $ sluice suspend 'google/*' 2h\n"
	"  suspended 1204 recipients in 3 queues\n",
	.run = run_suspend,
};

const struct cmd cmd_lift = {
	.name = "lift",
	.arguments = "QUEUE [NAME] [--job JOB] [--json] [--control PATH]",
	.summary = "take away what reactions or `suspend` laid on queues",
	.help =
	"Takes away the overlays of the queue, its site and its virtual MTA: what a\n"
	"reaction, a function of the policy or `sluice suspend` laid there. `sluice why`\n"
	"shows them. With NAME only the ones of that name; what `suspend` laid is called\n"
	"\"by hand\". QUEUE may hold * for anything.\n"
	"\n"
	"  --job JOB        instead, what `suspend --job` and `pause --job` hold of that job\n"
	COMMON_HELP
	"\n"
	"example:\n"
	"  $ sluice lift microsoft/mta-1 '421 RP-001'\n"
	"  lifted from 830 recipients in 1 queue\n",
	.run = run_lift,
};
