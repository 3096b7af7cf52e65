/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/cmd.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static int
nothing(int argc, char **argv)
{
	return EXIT_DONE;
}

static const struct cmd cmd = { "why", "QUEUE [--json]", "summary", "help\n", nothing };

struct parsed {
	struct cmd_option options[3];
	char *argv[8];
	int argc, status;
	bool fine;
	char said[400];         /* on standard error or output */
};

/* Runs the parser with what it prints caught. */
static void
parse(struct parsed *p, const char *const *words)
{
	int caught[2], out = dup(STDOUT_FILENO), error = dup(STDERR_FILENO);
	ssize_t n;

	*p = (struct parsed){ .options = { { "json", false, NULL }, { "control", true, NULL }, { "job", true, NULL } }, .status = -1 };
	for (p->argv[p->argc++] = (char *)"why"; *words; words++)
		p->argv[p->argc++] = (char *)*words;
	assert_int_equal(pipe2(caught, O_CLOEXEC), 0);
	fflush(stdout);
	dup2(caught[1], STDOUT_FILENO);
	dup2(caught[1], STDERR_FILENO);
	p->fine = cmd_parse(&cmd, p->options, countof(p->options), &p->argc, p->argv, &p->status);
	fflush(stdout);
	dup2(out, STDOUT_FILENO);
	dup2(error, STDERR_FILENO);
	close(caught[1]);
	n = read(caught[0], p->said, sizeof(p->said) - 1);
	p->said[n > 0 ? n : 0] = '\0';
	close(caught[0]);
	close(out);
	close(error);
}

static void
options_may_stand_anywhere(void **state)
{
	static const char *const orders[][5] = {
		{ "q", "--json", "--control", "/x" }, { "--json", "--control=/x", "q" }, { "--control", "/x", "q", "--json" },
	};
	for (size_t i = 0; i < countof(orders); i++) {
		struct parsed p;
		parse(&p, orders[i]);
		assert_true(p.fine);
		assert_int_equal(p.argc, 2);
		assert_string_equal(p.argv[1], "q");
		assert_string_equal(p.options[0].value, "");
		assert_string_equal(p.options[1].value, "/x");
		assert_null(p.options[2].value);
	}
}

static void
two_dashes_end_the_options(void **state)
{
	static const char *const words[] = { "--json", "--", "--control", "-", NULL };
	struct parsed p;

	parse(&p, words);
	assert_true(p.fine);
	assert_int_equal(p.argc, 3);
	assert_string_equal(p.argv[1], "--control");
	assert_string_equal(p.argv[2], "-");
}

static void
help_is_no_error(void **state)
{
	static const char *const words[] = { "q", "--help", NULL };
	struct parsed p;

	parse(&p, words);
	assert_false(p.fine);
	assert_int_equal(p.status, EXIT_DONE);
	assert_string_equal(p.said, "usage: sluice why QUEUE [--json]\n\nhelp\n");
}

static void
misuse_is_told_with_the_nearest_right_word(void **state)
{
	static const struct { const char *words[3], *says; } cases[] = {
		{ { "--jsn" }, "sluice: no such option: --jsn (--json?)\n" },
		{ { "--contorl=/x" }, "sluice: no such option: --contorl (--control?)\n" },
		{ { "--frobnicate" }, "sluice: no such option: --frobnicate\n" },
		{ { "-j" }, "sluice: no such option: -j\n" },
		{ { "--control" }, "sluice: --control needs a value\n" },
		{ { "--json=yes" }, "sluice: --json takes no value\n" },
	};
	for (size_t i = 0; i < countof(cases); i++) {
		struct parsed p;
		parse(&p, cases[i].words);
		assert_false(p.fine);
		assert_int_equal(p.status, EXIT_MISUSED);
		assert_int_equal(strncmp(p.said, cases[i].says, strlen(cases[i].says)), 0);
		assert_non_null(strstr(p.said, "usage: sluice why"));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_may_stand_anywhere),
		cmocka_unit_test(two_dashes_end_the_options),
		cmocka_unit_test(help_is_no_error),
		cmocka_unit_test(misuse_is_told_with_the_nearest_right_word),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
