/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "sim/answers.h"

static void
add(struct answers *answers, enum answer_stage stage, const char *with, uint32_t times, uint32_t every)
{
	struct answer_rule rule = { .stage = stage, .times = times, .every = every };

	assert_true(answer_parse(span_text(with), &rule.fixed));
	assert_true(answers_add(answers, &rule, NULL));
}

static struct err last_err;

/* The answer's line, "-" where no rule has one. */
static const char *
ask(struct answers *answers, enum answer_stage stage)
{
	static struct answer out;
	struct answer_event event = { stage, SPAN("a line"), 1.5, "192.0.2.1", 1 };

	last_err = (struct err){ 0 };
	return answers_ask(answers, &event, &out, &last_err) ? out.reply.line : "-";
}

static void
the_newest_is_asked_first_and_one_used_up_passes_on(void **state)
{
	struct answers answers;

	answers_init(&answers);
	add(&answers, ANSWER_RCPT, "450 4.2.1 oldest", 0, 0);
	add(&answers, ANSWER_RCPT, "450 4.2.1 older", 1, 0);
	add(&answers, ANSWER_RCPT, "451 4.7.1 newer", 2, 0);
	assert_string_equal(ask(&answers, ANSWER_RCPT), "451 4.7.1 newer");
	assert_string_equal(ask(&answers, ANSWER_RCPT), "451 4.7.1 newer");
	assert_string_equal(ask(&answers, ANSWER_RCPT), "450 4.2.1 older");
	assert_string_equal(ask(&answers, ANSWER_RCPT), "450 4.2.1 oldest");
	assert_string_equal(ask(&answers, ANSWER_RCPT), "450 4.2.1 oldest");
	assert_string_equal(ask(&answers, ANSWER_MAIL), "-");
	answers_fini(&answers);
}

static void
a_stage_has_rules_until_the_last_is_used_up(void **state)
{
	struct answers answers;

	answers_init(&answers);
	assert_false(answers_has(&answers, ANSWER_END));
	add(&answers, ANSWER_END, "450 4.2.1 busy", 1, 0);
	assert_true(answers_has(&answers, ANSWER_END));
	assert_false(answers_has(&answers, ANSWER_DATA));
	ask(&answers, ANSWER_END);
	assert_false(answers_has(&answers, ANSWER_END));
	assert_int_equal(answers.n, 0);
	answers_fini(&answers);
}

static void
every_counts_what_came_and_times_what_was_answered(void **state)
{
	struct answers answers;
	char got[13] = "";

	answers_init(&answers);
	add(&answers, ANSWER_END, "421 4.7.0 third", 3, 3);
	for (int i = 0; i < 12; i++)
		got[i] = ask(&answers, ANSWER_END)[0];
	assert_string_equal(got, "--4--4--4---");
	answers_fini(&answers);
}

struct script {
	struct answers     *answers;
	enum answer_verdict when, fn;
	unsigned            asked_when, asked_fn, released;
	bool                adds;
};

static enum answer_verdict
when(void *ctx, const struct answer_event *event, struct err *err)
{
	struct script *script = ctx;

	script->asked_when++;
	if (script->when == ANSWER_FAILED)
		err_set(err, ERR_PERM, "x.lua:1: when");
	return script->when;
}

static enum answer_verdict
fn(void *ctx, const struct answer_event *event, struct answer *out, struct err *err)
{
	struct script *script = ctx;
	char text[100];

	script->asked_fn++;
	for (unsigned i = 0; script->adds && i < 100; i++)
		add(script->answers, event->stage, "450 4.2.1 added", 0, 0);
	if (script->fn == ANSWER_FAILED)
		err_set(err, ERR_PERM, "x.lua:2: fn");
	snprintf(text, sizeof(text), "250 2.1.0 %.*s %.1f %s", SPAN_ARG(event->line), event->at_s, event->source);
	assert_true(answer_parse(span_text(text), out));
	return script->fn;
}

static void
release(void *ctx)
{
	struct script *script = ctx;

	script->released++;
}

static void
add_script(struct answers *answers, struct script *script, uint32_t times, uint32_t every)
{
	struct answer_rule rule = {
		.stage = ANSWER_MAIL, .fn = fn, .when = when, .release = release, .ctx = script, .times = times, .every = every,
	};

	script->answers = answers;
	assert_true(answers_add(answers, &rule, NULL));
}

static void
a_function_sees_the_event_and_what_passes_on_is_not_used_up(void **state)
{
	struct script script = { .when = ANSWER_GIVEN, .fn = ANSWER_PASSED_ON };
	struct answers answers;

	answers_init(&answers);
	add(&answers, ANSWER_MAIL, "450 4.2.1 older", 0, 0);
	add_script(&answers, &script, 1, 0);
	assert_string_equal(ask(&answers, ANSWER_MAIL), "450 4.2.1 older");
	script.fn = ANSWER_GIVEN;
	assert_string_equal(ask(&answers, ANSWER_MAIL), "250 2.1.0 a line 1.5 192.0.2.1");
	assert_int_equal(script.released, 1);
	assert_string_equal(ask(&answers, ANSWER_MAIL), "450 4.2.1 older");
	assert_int_equal(script.asked_fn, 2);
	answers_fini(&answers);
	assert_int_equal(script.released, 1);
}

static void
every_counts_only_what_when_lets_through(void **state)
{
	struct script script = { .when = ANSWER_PASSED_ON, .fn = ANSWER_GIVEN };
	struct answers answers;

	answers_init(&answers);
	add_script(&answers, &script, 0, 2);
	assert_string_equal(ask(&answers, ANSWER_MAIL), "-");
	assert_string_equal(ask(&answers, ANSWER_MAIL), "-");
	script.when = ANSWER_GIVEN;
	assert_string_equal(ask(&answers, ANSWER_MAIL), "-");
	assert_int_equal(script.asked_fn, 0);
	assert_int_equal(ask(&answers, ANSWER_MAIL)[0], '2');
	assert_int_equal(script.asked_when, 4);
	answers_fini(&answers);
	assert_int_equal(script.released, 1);
}

static void
one_that_fails_defers_says_why_and_stays(void **state)
{
	struct script script = { .when = ANSWER_GIVEN, .fn = ANSWER_FAILED };
	struct answers answers;

	answers_init(&answers);
	add(&answers, ANSWER_MAIL, "250 2.1.0 older", 0, 0);
	add_script(&answers, &script, 1, 0);
	assert_string_equal(ask(&answers, ANSWER_MAIL), "451 4.3.0 the script erred");
	assert_string_equal(last_err.text, "x.lua:2: fn");
	script.when = ANSWER_FAILED;
	assert_string_equal(ask(&answers, ANSWER_MAIL), "451 4.3.0 the script erred");
	assert_string_equal(last_err.text, "x.lua:1: when");
	assert_int_equal(script.released, 0);
	answers_fini(&answers);
}

static void
a_function_may_add_rules(void **state)
{
	struct script script = { .when = ANSWER_GIVEN, .fn = ANSWER_GIVEN, .adds = true };
	struct answers answers;

	answers_init(&answers);
	add_script(&answers, &script, 1, 0);
	assert_int_equal(ask(&answers, ANSWER_MAIL)[0], '2');
	assert_string_equal(ask(&answers, ANSWER_MAIL), "450 4.2.1 added");
	assert_int_equal(answers.n, 100);
	answers_fini(&answers);
}

static void
refuses_more_rules_than_the_limit_and_releases_what_it_refuses(void **state)
{
	struct script script = { 0 };
	struct answer_rule rule = { .stage = ANSWER_RCPT, .fn = fn, .release = release, .ctx = &script };
	struct answers answers;
	struct err err = { 0 };

	answers_init(&answers);
	for (unsigned i = 0; i < ANSWERS_RULES_MAX; i++)
		assert_true(answers_add(&answers, &rule, &err));
	assert_int_equal(script.released, 0);
	assert_false(answers_add(&answers, &rule, &err));
	assert_string_equal(err.text, "more than 1000 rules");
	assert_int_equal(script.released, 1);
	answers_fini(&answers);
	assert_int_equal(script.released, ANSWERS_RULES_MAX + 1);
}

static void
knows_its_words(void **state)
{
	static const struct { const char *text; enum answer_act act; } acts[] = {
		{ "reset", ANSWER_RESET }, { "hang", ANSWER_HANG }, { "close", ANSWER_CLOSE }, { "421 4.7.0 x", ANSWER_REPLY },
	};
	static const char *const wrong[] = { "", "Reset", "hang up", "fine", "999 x", "42 x" };
	struct answer answer;
	enum answer_stage stage;

	for (size_t i = 0; i < countof(acts); i++) {
		assert_true(answer_parse(span_text(acts[i].text), &answer));
		assert_int_equal(answer.act, acts[i].act);
	}
	for (size_t i = 0; i < countof(wrong); i++)
		assert_false(answer_parse(span_text(wrong[i]), &answer));
	for (unsigned i = 0; i < ANSWER_STAGES_N; i++) {
		assert_true(answer_stage_parse(span_text(answer_stage_name(i)), &stage));
		assert_int_equal(stage, i);
	}
	assert_false(answer_stage_parse(SPAN("rcpt"), &stage));
	assert_false(answer_stage_parse(SPAN(""), &stage));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_newest_is_asked_first_and_one_used_up_passes_on),
		cmocka_unit_test(a_stage_has_rules_until_the_last_is_used_up),
		cmocka_unit_test(every_counts_what_came_and_times_what_was_answered),
		cmocka_unit_test(a_function_sees_the_event_and_what_passes_on_is_not_used_up),
		cmocka_unit_test(every_counts_only_what_when_lets_through),
		cmocka_unit_test(one_that_fails_defers_says_why_and_stays),
		cmocka_unit_test(a_function_may_add_rules),
		cmocka_unit_test(refuses_more_rules_than_the_limit_and_releases_what_it_refuses),
		cmocka_unit_test(knows_its_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
