/*
 * Arguments and options may stand in any order, so options are taken out of
 * argv in one pass and what is left moves together.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/cmd.h"

#include <stdarg.h>

#include "util/span.h"

static void
print_help(const struct cmd *cmd)
{
	printf("usage: sluice %s%s%s\n\n%s", cmd->name, *cmd->arguments ? " " : "", cmd->arguments, cmd->help);
}

static struct cmd_option *
find(struct cmd_option *options, unsigned n, struct span name)
{
	for (unsigned i = 0; i < n; i++)
		if (span_eq(span_text(options[i].name), name))
			return &options[i];
	return NULL;
}

static int
no_such_option(const struct cmd *cmd, const struct cmd_option *options, unsigned n, struct span name)
{
	const char *nearest = NULL;
	unsigned least = 4;

	for (unsigned i = 0; i < n && name.n < 64; i++) {
		unsigned distance = span_distance(span_text(options[i].name), name);
		if (distance < least && distance < strlen(options[i].name)) {
			least = distance;
			nearest = options[i].name;
		}
	}
	if (nearest)
		return cmd_misused(cmd, "no such option: --%.*s (--%s?)", SPAN_ARG(name), nearest);
	return cmd_misused(cmd, "no such option: --%.*s", SPAN_ARG(name));
}

/* At argv[*i]; moves *i over a value. */
static bool
take_option(const struct cmd *cmd, struct cmd_option *options, unsigned n, int argc, char **argv, int *i, int *status_out)
{
	struct span text = span_text(argv[*i] + 2);
	size_t equals = span_find(text, '=');
	struct span name = equals == SIZE_MAX ? text : span_first(text, equals);
	struct cmd_option *option = find(options, n, name);

	if (!option)
		*status_out = no_such_option(cmd, options, n, name);
	else if (equals != SIZE_MAX && !option->takes_value)
		*status_out = cmd_misused(cmd, "--%s takes no value", option->name);
	else if (equals != SIZE_MAX)
		return option->value = text.p + equals + 1, true;
	else if (!option->takes_value)
		return option->value = "", true;
	else if (*i + 1 == argc)
		*status_out = cmd_misused(cmd, "--%s needs a value", option->name);
	else
		return option->value = argv[++*i], true;
	return false;
}

bool
cmd_parse(const struct cmd *cmd, struct cmd_option *options, unsigned options_n,
	  int *argc, char **argv, int *status_out)
{
	int kept = 1;
	bool ended = false;

	for (int i = 1; i < *argc; i++) {
		if (ended || argv[i][0] != '-' || !argv[i][1]) {
			argv[kept++] = argv[i];
		} else if (!strcmp(argv[i], "--")) {
			ended = true;
		} else if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
			print_help(cmd);
			*status_out = EXIT_DONE;
			return false;
		} else if (argv[i][1] != '-') {
			*status_out = cmd_misused(cmd, "no such option: %s", argv[i]);
			return false;
		} else if (!take_option(cmd, options, options_n, *argc, argv, &i, status_out)) {
			return false;
		}
	}
	*argc = kept;
	return true;
}

static void
say(const char *format, va_list args)
{
	fputs("sluice: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
}

int
cmd_misused(const struct cmd *cmd, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say(format, args);
	va_end(args);
	fprintf(stderr, "usage: sluice %s%s%s\n", cmd->name, *cmd->arguments ? " " : "", cmd->arguments);
	return EXIT_MISUSED;
}

int
cmd_failed(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say(format, args);
	va_end(args);
	return EXIT_FAILED;
}
