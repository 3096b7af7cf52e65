/*
 * cmd - the subcommands. Each is one file, cmd_NAME.c, with one function and one
 * row in the table of main.c.
 *
 * Errors     Exit status: 0 done, 1 failed, 2 misused. Errors go to standard
 *            error as `sluice: what went wrong`.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "util/base.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_MISUSED = 2 };

struct cmd {
	const char *name;
	const char *arguments;          /* "QUEUE [--json]" */
	const char *summary;            /* one line, for the list of commands */
	const char *help;               /* one screen, with an example */
	int       (*run)(int argc, char **argv);        /* argv[0] is the subcommand */
};

/* Options. Each may stand before or after arguments; "--" ends them. */
struct cmd_option {
	const char *name;               /* "spool": --spool VALUE or --spool=VALUE */
	bool        takes_value;
	const char *value;              /* out; "" for a given flag, NULL: not given */
};

/* Sorts argv[1…] into options and arguments (argv[1…*argc_out], argv[0] kept). Handles --help (prints
 * cmd->help, returns EXIT_DONE through *status_out with false). False: *status_out is the exit status;
 * misuse was told, with the nearest right option. */
bool cmd_parse(const struct cmd *cmd, struct cmd_option *options, unsigned options_n,
	       int *argc, char **argv, int *status_out);
int cmd_misused(const struct cmd *cmd, const char *format, ...) PRINTF_LIKE(2, 3);      /* prints, returns EXIT_MISUSED */
int cmd_failed(const char *format, ...) PRINTF_LIKE(1, 2);                              /* prints, returns EXIT_FAILED */

extern const struct cmd
	cmd_run,
	cmd_check,
	cmd_explain,
	cmd_spec,
	cmd_status,
	cmd_queues,
	cmd_why,
	cmd_top,
	cmd_trace,
	cmd_pause,
	cmd_resume,
	cmd_suspend,
	cmd_lift,
	cmd_swap,
	cmd_retry,
	cmd_bounce,
	cmd_drop,
	cmd_spool,
	cmd_import_pmta,
	cmd_sink,
	cmd_inject;
