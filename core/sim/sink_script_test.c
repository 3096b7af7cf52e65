/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

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

struct book {
	struct answers      answers;
	struct sink_script *script;
};

static struct book *
load(const char *text)
{
	struct book *book = mem_alloc(sizeof(*book));
	struct err err = { 0 };

	write_script(text);
	answers_init(&book->answers);
	book->script = sink_script_load(path, &book->answers, &err);
	if (!book->script)
		print_error("%s\n", err.text);
	assert_non_null(book->script);
	return book;
}

static void
unload(struct book *book)
{
	answers_fini(&book->answers);
	sink_script_free(book->script);
	free(book);
}

static struct err last_err;

/* The answer's line, "-" where no rule has one. */
static const char *
answer(struct book *book, enum answer_stage stage, const char *line)
{
	static struct answer out;
	struct answer_event event = { stage, span_text(line), 1.5, "192.0.2.1", 1 };

	last_err = (struct err){ 0 };
	if (!answers_ask(&book->answers, &event, &out, &last_err))
		return "-";
	if (out.act != ANSWER_REPLY)
		snprintf(out.reply.line, sizeof(out.reply.line), "act %d", (int)out.act);
	return out.reply.line;
}

static void
the_newest_rule_is_asked_first(void **state)
{
	struct book *book = load("answer { to = 'RCPT', with = '450 4.2.1 older' }\n"
					  "answer { to = 'RCPT', with = '451 4.7.1 newer', times = 2 }\n");

	assert_string_equal(answer(book, ANSWER_RCPT, "RCPT TO:<a@b>"), "451 4.7.1 newer");
	assert_string_equal(answer(book, ANSWER_RCPT, "RCPT TO:<a@b>"), "451 4.7.1 newer");
	assert_string_equal(answer(book, ANSWER_RCPT, "RCPT TO:<a@b>"), "450 4.2.1 older");
	assert_string_equal(answer(book, ANSWER_MAIL, "MAIL FROM:<a@b>"), "-");
	assert_true(answers_has(&book->answers, ANSWER_RCPT));
	assert_false(answers_has(&book->answers, ANSWER_MAIL));
	unload(book);
}

static void
every_counts_what_matched(void **state)
{
	struct book *book = load("answer { to = '.', with = '421 4.7.0 third', every = 3 }\n");
	char got[10] = "";

	for (int i = 0; i < 9; i++)
		got[i] = answer(book, ANSWER_END, ".")[0];
	assert_string_equal(got, "--4--4--4");
	unload(book);
}

static void
a_function_sees_the_event_and_may_pass_on(void **state)
{
	struct book *book = load(
		"answer { to = 'MAIL', with = '250 2.1.0 fallback' }\n"
		"answer { to = 'MAIL', times = 1, fn = function(e)\n"
		"  if e.line:find 'pass' then return nil end\n"
		"  return ('550 5.7.1 %s %s %.1f %s'):format(e.verb, e.line, e.at, e.source)\n"
		"end }\n");

	assert_string_equal(answer(book, ANSWER_MAIL, "pass"), "250 2.1.0 fallback");
	assert_string_equal(answer(book, ANSWER_MAIL, "x"), "550 5.7.1 MAIL x 1.5 192.0.2.1");
	assert_string_equal(answer(book, ANSWER_MAIL, "x"), "250 2.1.0 fallback");       /* nil did not use it up, an answer did */
	unload(book);
}

static void
when_decides_whether_a_rule_is_asked(void **state)
{
	struct book *book = load("answer { to = 'RCPT', with = '550 5.1.1 no', every = 2, when = function(e) return e.line == 'bad' end }\n");

	assert_string_equal(answer(book, ANSWER_RCPT, "good"), "-");
	assert_string_equal(answer(book, ANSWER_RCPT, "bad"), "-");
	assert_string_equal(answer(book, ANSWER_RCPT, "good"), "-");
	assert_string_equal(answer(book, ANSWER_RCPT, "bad"), "550 5.1.1 no");
	unload(book);
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
		struct book *book = load(cases[i].code);

		for (int again = 0; again < 2; again++) {
			assert_string_equal(answer(book, ANSWER_MAIL, "x"), "451 4.3.0 the script erred");
			assert_int_not_equal(last_err.kind, ERR_NONE);
			assert_non_null(strstr(last_err.text, path));
			if (!strstr(last_err.text, cases[i].said))
				fail_msg("\"%s\" is not in \"%s\"", cases[i].said, last_err.text);
		}
		unload(book);
	}
}

static void
a_file_that_is_wrong_is_told_with_its_line(void **state)
{
	static const struct { const char *text; int line; const char *said; } cases[] = {
		{ "answer {", 1, "" },
		{ "answer { to = '.', fn = function() end }\nanswer {}", 2, "to:" },
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
	struct answers answers;

	answers_init(&answers);
	for (size_t i = 0; i < countof(cases); i++) {
		struct err err = { 0 };
		char at[64];

		write_script(cases[i].text);
		assert_null(sink_script_load(path, &answers, &err));
		assert_int_equal(answers.n, 0);
		snprintf(at, sizeof at, "%s:%d: ", path, cases[i].line);
		if (strncmp(err.text, at, strlen(at)) != 0 || !strstr(err.text, cases[i].said))
			fail_msg("\"%s\" for: %s", err.text, cases[i].text);
	}
	struct err err = { 0 };
	assert_null(sink_script_load("/nonexistent/x.lua", &answers, &err));
	assert_non_null(strstr(err.text, "/nonexistent/x.lua"));
}

static void
an_act_may_stand_for_a_reply(void **state)
{
	struct book *book = load("answer { to = 'MAIL', with = 'hang' }\n"
				 "answer { to = 'RCPT', fn = function() return 'reset' end }\n");

	assert_string_equal(answer(book, ANSWER_MAIL, "x"), "act 2");
	assert_string_equal(answer(book, ANSWER_RCPT, "x"), "act 1");
	unload(book);
}

static void
a_function_may_add_rules(void **state)
{
	struct book *book = load("answer { to = 'MAIL', times = 1, fn = function()\n"
				 "  for i = 1, 50 do answer { to = 'MAIL', with = '450 4.2.1 added' } end\n"
				 "  return '250 2.1.0 first'\n"
				 "end }\n");

	assert_string_equal(answer(book, ANSWER_MAIL, "x"), "250 2.1.0 first");
	assert_string_equal(answer(book, ANSWER_MAIL, "x"), "450 4.2.1 added");
	assert_int_equal(book->answers.n, 50);
	unload(book);
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
		cmocka_unit_test(an_act_may_stand_for_a_reply),
		cmocka_unit_test(a_function_may_add_rules),
		cmocka_unit_test(a_file_that_is_wrong_is_told_with_its_line),
	};

	return cmocka_run_group_tests(tests, make_file, remove_file);
}
