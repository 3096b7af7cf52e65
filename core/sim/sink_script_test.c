/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sim/sink_script.h"

static char path[] = "/tmp/sink_script_testXXXXXX";

static void
write_script(const char *text)
{
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static struct sink_script *
load(const char *text)
{
	struct err err = { 0 };
	struct sink_script *script;

	write_script(text);
	script = sink_script_load(path, &err);
	if (!script)
		print_error("%s\n", err.text);
	assert_non_null(script);
	return script;
}

static struct err last_err;

/* The answer's line, "-" where no rule has one. */
static const char *
answer(struct sink_script *script, enum sink_stage stage, const char *line)
{
	static struct smtp_reply reply;
	struct sink_event event = { stage, span_text(line), 1.5, "192.0.2.1" };

	last_err = (struct err){ 0 };
	return sink_script_answer(script, &event, &reply, &last_err) ? reply.line : "-";
}

static void
the_newest_rule_is_asked_first(void **state)
{
	struct sink_script *script = load("answer { to = 'RCPT', with = '450 4.2.1 older' }\n"
					  "answer { to = 'RCPT', with = '451 4.7.1 newer', times = 2 }\n");

	assert_string_equal(answer(script, SINK_RCPT, "RCPT TO:<a@b>"), "451 4.7.1 newer");
	assert_string_equal(answer(script, SINK_RCPT, "RCPT TO:<a@b>"), "451 4.7.1 newer");
	assert_string_equal(answer(script, SINK_RCPT, "RCPT TO:<a@b>"), "450 4.2.1 older");
	assert_string_equal(answer(script, SINK_MAIL, "MAIL FROM:<a@b>"), "-");
	assert_true(sink_script_has(script, SINK_RCPT));
	assert_false(sink_script_has(script, SINK_MAIL));
	sink_script_free(script);
}

static void
every_counts_what_matched(void **state)
{
	struct sink_script *script = load("answer { to = '.', with = '421 4.7.0 third', every = 3 }\n");
	char got[10] = "";

	for (int i = 0; i < 9; i++)
		got[i] = answer(script, SINK_END, ".")[0];
	assert_string_equal(got, "--4--4--4");
	sink_script_free(script);
}

static void
a_function_sees_the_event_and_may_pass_on(void **state)
{
	struct sink_script *script = load(
		"answer { to = 'MAIL', with = '250 2.1.0 fallback' }\n"
		"answer { to = 'MAIL', times = 1, fn = function(e)\n"
		"  if e.line:find 'pass' then return nil end\n"
		"  return ('550 5.7.1 %s %s %.1f %s'):format(e.verb, e.line, e.at, e.source)\n"
		"end }\n");

	assert_string_equal(answer(script, SINK_MAIL, "pass"), "250 2.1.0 fallback");
	assert_string_equal(answer(script, SINK_MAIL, "x"), "550 5.7.1 MAIL x 1.5 192.0.2.1");
	assert_string_equal(answer(script, SINK_MAIL, "x"), "250 2.1.0 fallback");       /* nil did not use it up, an answer did */
	sink_script_free(script);
}

static void
when_decides_whether_a_rule_is_asked(void **state)
{
	struct sink_script *script = load("answer { to = 'RCPT', with = '550 5.1.1 no', every = 2, when = function(e) return e.line == 'bad' end }\n");

	assert_string_equal(answer(script, SINK_RCPT, "good"), "-");
	assert_string_equal(answer(script, SINK_RCPT, "bad"), "-");
	assert_string_equal(answer(script, SINK_RCPT, "good"), "-");
	assert_string_equal(answer(script, SINK_RCPT, "bad"), "550 5.1.1 no");
	sink_script_free(script);
}

static void
a_function_that_errs_or_overruns_defers_and_is_told(void **state)
{
	static const struct { const char *code, *said; } cases[] = {
		{ "\nanswer { to = 'MAIL', fn = function() error 'no' end }", ":2: no" },
		{ "answer { to = 'MAIL', fn = function() while true do end end }", "budget" },
		{ "answer { to = 'MAIL', fn = function() return 42 end }", "fn: " },
		{ "answer { to = 'MAIL', fn = function() return '999 what' end }", "no reply" },
		{ "answer { to = 'MAIL', fn = function() error() end }", "error" },
		{ "answer { to = 'MAIL', with = '250 ok', when = function(e) return e.no.such end }", "nil" },
	};

	for (size_t i = 0; i < countof(cases); i++) {
		struct sink_script *script = load(cases[i].code);

		for (int again = 0; again < 2; again++) {
			assert_string_equal(answer(script, SINK_MAIL, "x"), "451 4.3.0 the script erred");
			assert_int_not_equal(last_err.kind, ERR_NONE);
			assert_non_null(strstr(last_err.text, path));
			if (!strstr(last_err.text, cases[i].said))
				fail_msg("\"%s\" is not in \"%s\"", cases[i].said, last_err.text);
		}
		sink_script_free(script);
	}
}

static void
a_file_that_is_wrong_is_told_with_its_line(void **state)
{
	static const struct { const char *text; int line; const char *said; } cases[] = {
		{ "answer {", 1, "" },
		{ "\n\nanswer { to = 'BLAH', with = '250 ok' }", 3, "BLAH" },
		{ "answer { with = '250 ok' }", 1, "to:" },
		{ "answer { to = 'MAIL' }", 1, "either" },
		{ "answer { to = 'MAIL', with = '250 ok', fn = function() end }", 1, "either" },
		{ "answer { to = 'MAIL', with = 'fine' }", 1, "no reply" },
		{ "answer { to = 'MAIL', with = '250 ok', tims = 2 }", 1, "tims" },
		{ "answer { to = 'MAIL', with = '250 ok', times = 0 }", 1, "times" },
		{ "answer { to = 'MAIL', with = '250 ok', every = 1.5 }", 1, "every" },
		{ "answer { to = 'MAIL', fn = 'x' }", 1, "fn" },
		{ "answer 'x'", 1, "table" },
		{ "\nos.exit(1)", 2, "os" },
		{ "while true do end", 1, "budget" },
	};

	for (size_t i = 0; i < countof(cases); i++) {
		struct err err = { 0 };
		char at[64];

		write_script(cases[i].text);
		assert_null(sink_script_load(path, &err));
		snprintf(at, sizeof at, "%s:%d: ", path, cases[i].line);
		if (strncmp(err.text, at, strlen(at)) != 0 || !strstr(err.text, cases[i].said))
			fail_msg("\"%s\" for: %s", err.text, cases[i].text);
	}
	struct err err = { 0 };
	assert_null(sink_script_load("/nonexistent/x.lua", &err));
	assert_non_null(strstr(err.text, "/nonexistent/x.lua"));
}

static int
make_file(void **state)
{
	int fd = mkstemp(path);

	return fd < 0 ? -1 : close(fd);
}

static int
remove_file(void **state)
{
	return unlink(path);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_newest_rule_is_asked_first),
		cmocka_unit_test(every_counts_what_matched),
		cmocka_unit_test(a_function_sees_the_event_and_may_pass_on),
		cmocka_unit_test(when_decides_whether_a_rule_is_asked),
		cmocka_unit_test(a_function_that_errs_or_overruns_defers_and_is_told),
		cmocka_unit_test(a_file_that_is_wrong_is_told_with_its_line),
	};

	return cmocka_run_group_tests(tests, make_file, remove_file);
}
