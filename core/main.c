/*
 * sluice - one program, one row here a subcommand.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/cmd.h"
#include "util/span.h"

#include <fcntl.h>
#include <unistd.h>

static const struct cmd *const cmds[] = {
	&cmd_run,
	&cmd_check,
	&cmd_explain,
	&cmd_spec,
	&cmd_status,
	&cmd_queues,
	&cmd_why,
	&cmd_top,
	&cmd_trace,
	&cmd_pause,
	&cmd_resume,
	&cmd_suspend,
	&cmd_lift,
	&cmd_swap,
	&cmd_retry,
	&cmd_bounce,
	&cmd_drop,
	&cmd_spool,
	&cmd_import_pmta,
	&cmd_sink,
	&cmd_inject,
};

/* CLI.md names them; an operator who types one should not be told that it is a slip of the keyboard. */
static const char *const not_there_yet[] = {
	"report",
};

static void
print_overview(FILE *to)
{
	fputs("sluice delivers mail, under a policy written in Lua.\n\nusage: sluice COMMAND …\n\n", to);
	for (size_t i = 0; i < countof(cmds); i++)
		fprintf(to, "  %-11s %s\n", cmds[i]->name, cmds[i]->summary);
	fputs("\n`sluice COMMAND --help` says more. Commands that ask a running node find it by\n"
	      "--control PATH, else $SLUICE_CONTROL, else /run/sluice/control.sock.\n"
	      "\n"
	      "example:\n"
	      "  sluice check policies/default.lua && sluice run policies/default.lua\n", to);
}

static const struct cmd *
find(const char *name)
{
	for (size_t i = 0; i < countof(cmds); i++)
		if (!strcmp(cmds[i]->name, name))
			return cmds[i];
	return NULL;
}

static const char *
nearest(const char *name)
{
	const char *found = NULL;
	unsigned least = 4;

	for (size_t i = 0; i < countof(cmds) && strlen(name) < 64; i++) {
		unsigned distance = span_distance(span_text(cmds[i]->name), span_text(name));
		if (distance < least && distance < strlen(cmds[i]->name)) {
			least = distance;
			found = cmds[i]->name;
		}
	}
	return found;
}

static int
unknown(const char *name)
{
	const char *right = nearest(name);

	for (size_t i = 0; i < countof(not_there_yet); i++) {
		if (strcmp(not_there_yet[i], name) != 0)
			continue;
		fprintf(stderr, "sluice: %s: not there yet\n", name);
		return EXIT_MISUSED;
	}
	if (right)
		fprintf(stderr, "sluice: no such command: %s (%s?)\n", name, right);
	else
		fprintf(stderr, "sluice: no such command: %s (sluice --help lists them)\n", name);
	return EXIT_MISUSED;
}

static int
help(const char *name)
{
	char *ask[] = { (char *)name, (char *)"--help", NULL };
	const struct cmd *cmd = name ? find(name) : NULL;

	if (cmd)
		return cmd->run(2, ask);
	if (name)
		return unknown(name);
	print_overview(stdout);
	return EXIT_DONE;
}

/* An answer that did not get to its file is no answer. */
static int
finish(int status)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	fputs("sluice: cannot write to standard output\n", stderr);
	return status == EXIT_DONE ? EXIT_FAILED : status;
}

/* Whoever started us may have closed them, and a socket or a file in their place would be written to. What stands there now can be
 * neither read nor written: an answer for nobody is an error still. */
static void
fill_standard_descriptors(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
			return;
}

int
main(int argc, char **argv)
{
	const struct cmd *cmd;

	fill_standard_descriptors();
	if (argc < 2) {
		print_overview(stderr);
		return EXIT_MISUSED;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help"))
		return finish(help(argc > 2 ? argv[2] : NULL));
	if (!strcmp(argv[1], "--version")) {
		puts("sluice " SLUICE_VERSION);
		return finish(EXIT_DONE);
	}
	cmd = find(argv[1]);
	return cmd ? finish(cmd->run(argc - 1, argv + 1)) : unknown(argv[1]);
}
