/* The clocks of retry and expiry: when a queue or a recipient is tried again, and when it is given up. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/queue_fixture.h"

static struct world *
world_with(const char *settings)
{
	char policy[1000];

	snprintf(policy, sizeof policy, "vmta \"v1\" { source = \"any\" }\ndomain \"*\" { retry_jitter = \"0%%\", %s }\n", settings);
	return world_new(policy);
}

static bool
never(struct world *w, struct played *s)
{
	return false;
}

static enum play_answer
temporarily(struct world *w, struct played *s, const struct rcpt *rcpt)
{
	return PLAY_TEMP;
}

/* ---- the queue's ---- */

static void
retry_after_steps_through_failures_and_a_delivery_resets_it(void **state)
{
	static const int64_t waits[] = { MINS(10), MINS(20), HOUR(1), HOUR(1) };
	struct world *w = world_with("retry_after = \"10m,20m,1h\"");

	w->play.connects = never;
	put(w, "a.example", .messages = 3);
	world_run(w, HOUR(3));
	assert_int_equal(w->failures, 5);
	for (unsigned i = 0; i < countof(waits); i++)
		assert_in_range(w->failed_at[i + 1] - w->failed_at[i], waits[i], waits[i] + SEC(1));
	w->play.connects = NULL;
	assert_true(run_until_empty(w, HOUR(1)));
	world_run(w, MINS(1));
	w->failures = 0;
	w->play.connects = never;
	put(w, "a.example");
	world_run(w, MINS(11));
	assert_int_equal(w->failures, 2);
	assert_in_range(w->failed_at[1] - w->failed_at[0], MINS(10), MINS(10) + SEC(1));
	world_free(w);
}

static void
a_4xx_does_not_reset_the_steps(void **state)
{
	struct world *w = world_with("retry_after = \"10m,20m,1h\", retry_recipients_after = \"1m\"");

	w->play.connects = never;
	put(w, "a.example");
	world_run(w, MINS(1));
	w->play.connects = NULL;
	w->play.answers = temporarily;
	world_run(w, MINS(10));
	assert_int_equal(w->sent_n, 1);
	w->play.connects = never;
	world_run(w, MINS(30));
	assert_int_equal(w->failures, 3);
	assert_in_range(w->failed_at[2] - w->failed_at[1], MINS(20), MINS(20) + SEC(1));
	world_free(w);
}

static void
what_fails_together_is_one_failure_and_then_one_session_probes(void **state)
{
	struct world *w = world_with("retry_after = \"10m\", max_smtp_out = 20");

	w->play.connects = never;
	w->play.spread = true;
	put(w, "a.example", .messages = 100);
	world_run(w, MINS(1));
	assert_int_equal(w->started, 20);
	assert_int_equal(w->failures, 1);
	world_run(w, MINS(10));
	assert_int_equal(w->started, 21);
	assert_int_equal(w->failures, 2);
	world_run(w, MINS(10));
	assert_int_equal(w->started, 22);
	/* The probe comes through: no second one before it has delivered. */
	w->play.connects = NULL;
	w->play.reply_us = SEC(30);
	w->play.spread = false;
	world_run(w, MINS(10));
	assert_int_equal(w->delivered, 1);
	assert_int_equal(w->started, 42);
	world_free(w);
}

static void
late_failures_of_the_same_wave_are_not_counted(void **state)
{
	struct world *w = world_with("retry_after = \"5s\", max_smtp_out = 20");

	w->play.connects = never;
	w->play.connect_us = SEC(30);
	w->play.spread = true;
	put(w, "a.example", .messages = 100);
	while (w->started <= 20)
		assert_true(world_turn(w, world_now(w) + MINS(2)));
	assert_int_equal(w->failures, 1);
	assert_int_equal(w->queues->sessions_n, 1);
	world_free(w);
}

static void
a_session_that_was_open_goes_on_while_the_queue_is_in_retry(void **state)
{
	struct world *w = world_with("retry_after = \"10m\", max_smtp_out = 2");

	w->play.reply_us = SEC(1);
	put(w, "a.example", .messages = 1);
	world_run(w, MS(100));
	w->play.connects = never;
	put(w, "a.example", .messages = 30);
	world_run(w, SEC(35));
	assert_int_equal(w->failures, 1);
	assert_int_equal(w->delivered, 31);
	world_free(w);
}

static void
hosts_that_cannot_be_looked_up_wait_for_dns_and_are_no_step(void **state)
{
	struct world *w = world_with("retry_after = \"10m,1h\", retry_after_dns_error = \"2m\"");

	w->play.connects = never;
	w->play.fails_by_dns = true;
	put(w, "a.example");
	world_run(w, MINS(5));
	assert_int_equal(w->failures, 3);
	assert_in_range(w->failed_at[2] - w->failed_at[1], MINS(2), MINS(2) + SEC(1));
	w->play.fails_by_dns = false;
	world_run(w, MINS(15));
	assert_in_range(w->failed_at[4] - w->failed_at[3], MINS(10), MINS(10) + SEC(1));
	world_free(w);
}

/* ---- the recipient's ---- */

static void
retry_recipients_after_is_a_floor_whatever_retry_after_says(void **state)
{
	struct world *w = world_with("retry_after = \"1m\", retry_recipients_after = \"10m\"");

	w->play.answers = temporarily;
	put(w, "a.example", .n = 3);
	world_run(w, MINS(35));
	assert_int_equal(w->sent_n, 12);
	for (size_t i = 3; i < w->sent_n; i++)
		assert_in_range(w->sent[i].at - w->sent[i - 3].at, MINS(10), MINS(10) + SEC(1));
	/* A queue-level failure before does not shorten it. */
	w->play.connects = never;
	world_run(w, MINS(7));
	w->play.connects = NULL;
	world_run(w, MINS(10));
	assert_in_range(w->sent[12].at - w->sent[11].at, MINS(10), MINS(13));
	world_free(w);
}

static void
retry_recipients_after_steps_per_attempt(void **state)
{
	static const int64_t waits[] = { MINS(5), MINS(15), MINS(30), MINS(30) };
	struct world *w = world_with("retry_recipients_after = \"5m,15m,30m\"");

	w->play.answers = temporarily;
	put(w, "a.example");
	world_run(w, HOUR(2));
	for (unsigned i = 0; i < countof(waits); i++)
		assert_in_range(w->sent[i + 1].at - w->sent[i].at, waits[i], waits[i] + SEC(1));
	world_free(w);
}

static void
a_broken_session_defers_its_recipients_and_not_the_queue(void **state)
{
	struct world *w = world_with("retry_recipients_after = \"10m\", max_smtp_out = 1");

	w->play.snap = 1000;
	put(w, "a.example");
	world_run(w, SEC(1));
	w->play.snap = 0;
	put(w, "a.example");
	world_run(w, SEC(1));
	assert_int_equal(w->delivered, 1);
	assert_int_equal(w->failures, 0);
	world_run(w, MINS(10));
	assert_int_equal(w->delivered, 2);
	world_free(w);
}

static void
jitter_is_only_later_and_at_most_the_percent(void **state)
{
	struct world *w = world_new("vmta \"v1\" { source = \"any\" }\n"
		"domain \"*\" { retry_jitter = \"5%\", retry_recipients_after = \"10m\", retry_after = \"10m\", max_smtp_out = 200 }");
	int64_t least = INT64_MAX, most = 0;

	w->play.temp = 1000;
	put(w, "a.example", .messages = 200);
	world_run(w, MINS(12));
	assert_int_equal(w->sent_n, 400);
	for (size_t i = 200; i < 400; i++) {
		int64_t wait = w->sent[i].at - w->sent[0].at;

		least = min_i64(least, wait);
		most = max_i64(most, wait);
	}
	assert_in_range(least, MINS(10), MINS(10) + SEC(3));
	assert_in_range(most, MINS(10) + SEC(27), MINS(10) + SEC(31));
	world_free(w);

	w = world_new("vmta \"v1\" { source = \"any\" }\ndomain \"*\" { retry_jitter = \"50%\", retry_after = \"10m\" }");
	w->play.connects = never;
	put(w, "a.example");
	world_run(w, HOUR(9));
	least = INT64_MAX;
	most = 0;
	for (unsigned i = 1; i < w->failures; i++) {
		least = min_i64(least, w->failed_at[i] - w->failed_at[i - 1]);
		most = max_i64(most, w->failed_at[i] - w->failed_at[i - 1]);
	}
	assert_in_range(least, MINS(10), MINS(11));
	assert_in_range(most, MINS(14), MINS(15) + SEC(1));
	world_free(w);
}

/* ---- giving up ---- */

static void
max_attempts_gives_up_at_the_last_one(void **state)
{
	struct world *w = world_with("max_attempts = 3, retry_recipients_after = \"1m\"");

	w->play.answers = temporarily;
	put(w, "a.example");
	world_run(w, MINS(10));
	assert_int_equal(w->sent_n, 3);
	assert_int_equal(w->given_up_n, 1);
	assert_string_equal(w->given_up[0].status, "4.4.7");
	assert_int_equal(w->queues->rcpts_n, 0);
	world_free(w);
}

struct sitting {
	const char *where;
	const char *settings;
	unsigned    refuse, temp;
	bool        servfail, paused;
	enum rcpt_state state;
};

static const struct sitting sittings[] = {
	{ "routing",               "", .servfail = true, .state = RCPT_ROUTING },
	{ "behind a rate",         "max_msg_rate = \"1/day\"", .state = RCPT_READY },
	{ "paused by the policy",  "paused = true", .state = RCPT_READY },
	{ "paused by hand",        "", .paused = true, .state = RCPT_READY },
	{ "in retry",              "retry_after = \"1d\"", .refuse = 1000, .state = RCPT_READY },
	{ "deferred",              "retry_recipients_after = \"1d\"", .temp = 1000, .state = RCPT_DEFERRED },
	{ "deferred, and paused",  "retry_recipients_after = \"1d\"", .temp = 1000, .paused = true, .state = RCPT_DEFERRED },
};

static void
bounce_after_is_kept_wherever_a_recipient_sits(void **state)
{
	for (unsigned i = 0; i < 2 * countof(sittings); i++) {
		const struct sitting *sitting = &sittings[i / 2];
		char settings[200];
		struct world *w;
		struct queue *q;
		mono_us_t accepted;
		unsigned n;

		snprintf(settings, sizeof settings, "bounce_after = \"5h\", %s", sitting->settings);
		w = world_with(settings);
		w->slow_give_up = i % 2;
		w->play.refuse = sitting->refuse;
		w->play.temp = sitting->temp;
		if (sitting->servfail)
			world_dns(w, "a.example", RESOLVE_MX, RESOLVER_SERVFAIL, 0, "");
		put(w, "a.example", .messages = 2, .age_us = HOUR(1));
		accepted = world_now(w) - HOUR(1);
		world_run(w, SEC(1));
		if (sitting->paused)
			queues_pause(w->queues, SPAN("*"), NULL, true, &n, w->loop.now);
		if (sitting->paused && sitting->state == RCPT_READY)
			put(w, "a.example", .messages = 2, .age_us = HOUR(1));
		world_run(w, HOUR(4) - SEC(3));
		if (w->given_up_n > 0)
			fail_msg("%s: too early", sitting->where);
		q = queue_called(w, "a.example/v1");
		if ((sitting->state == RCPT_READY ? q->ready_n : sitting->state == RCPT_DEFERRED ? q->deferred_n : q->routing_n) == 0)
			fail_msg("%s: it sits somewhere else", sitting->where);
		world_check(w);
		world_run(w, MINS(1) + SEC(3));
		if (w->queues->rcpts_n > 0)
			fail_msg("%s: not given up", sitting->where);
		for (unsigned g = 0; g < w->given_up_n; g++) {
			assert_string_equal(w->given_up[g].status, "4.4.7");
			assert_in_range(w->given_up[g].at - accepted, HOUR(5), HOUR(5) + MINS(1));
		}
		world_free(w);
	}
}

static void
one_that_expires_while_it_is_sent_is_given_up_at_its_reply(void **state)
{
	struct world *w = world_with("bounce_after = \"1h\"");

	w->play.reply_us = MINS(5);
	w->play.answers = temporarily;
	put(w, "a.example", .age_us = MINS(58));
	put(w, "b.example", .age_us = MINS(58));
	world_run(w, MINS(4));
	assert_int_equal(w->given_up_n, 0);
	world_run(w, MINS(2));
	assert_int_equal(w->given_up_n, 2);
	world_free(w);
}

static void
postpone(void *ctx, struct rcpt *rcpt, const char *status, const char *text)
{
	struct world *w = ctx;

	w->given_up[w->given_up_n++].at = world_now(w);
	queue_rcpt_postpone(rcpt, w->loop.now);
}

static void
one_whose_bounce_cannot_be_stored_is_given_up_again_in_a_minute(void **state)
{
	struct world *w = world_with("bounce_after = \"1h\", paused = true");

	w->queues->o.ops.give_up = postpone;
	put(w, "a.example", .age_us = MINS(59));
	world_run(w, MINS(5) - SEC(1));
	assert_int_equal(w->given_up_n, 4);
	for (unsigned i = 1; i < 4; i++)
		assert_in_range(w->given_up[i].at - w->given_up[i - 1].at, MINS(1), MINS(1) + SEC(2));
	w->queues->o.ops.give_up = play_give_up;
	world_run(w, MINS(1) + SEC(2));
	assert_int_equal(w->queues->rcpts_n, 0);
	world_free(w);
}

/* ---- after a restart ---- */

static void
attempts_and_due_times_go_on_after_a_restart(void **state)
{
	struct world *w = world_with("max_attempts = 3, retry_recipients_after = \"10m\"");
	struct spool_rcpt_state states[] = {
		{ SPOOL_WAITING, 2, { w->loop.now.wall.ms + 300 * MS_PER_S } },
		{ SPOOL_DELIVERED, 1, { 0 } },
		{ SPOOL_WAITING, 0, { 0 } },
		{ SPOOL_WAITING, 1, { w->loop.now.wall.ms - 300 * MS_PER_S } },
	};

	w->play.answers = temporarily;
	put(w, "a.example", .n = 4, .states = states);
	w->added--;
	world_run(w, SEC(1));
	assert_int_equal(w->sent_n, 2);
	assert_int_equal(w->sent[0].index, 2);
	assert_int_equal(w->sent[1].index, 3);
	world_run(w, MINS(5));
	assert_int_equal(w->sent_n, 3);
	assert_int_equal(w->sent[2].index, 0);
	assert_int_equal(w->given_up_n, 1);
	world_check(w);
	world_free(w);
}

static void
a_clock_that_was_set_back_makes_nobody_wait_longer(void **state)
{
	struct world *w = world_with("bounce_after = \"5h\"");
	wall_ms_t then = { w->loop.now.wall.ms + INT64_C(86400) * 365 * MS_PER_S };
	struct spool_rcpt_state due = { SPOOL_WAITING, 1, { then.ms + 600 * MS_PER_S } };

	put(w, "a.example", .age_us = -HOUR(24 * 365), .states = &due);
	world_run(w, MINS(11));
	assert_int_equal(w->delivered, 1);
	w->play.answers = temporarily;
	put(w, "a.example", .age_us = -HOUR(24 * 365));
	world_run(w, HOUR(6));
	assert_int_equal(w->given_up_n, 1);
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(retry_after_steps_through_failures_and_a_delivery_resets_it),
		cmocka_unit_test(a_4xx_does_not_reset_the_steps),
		cmocka_unit_test(what_fails_together_is_one_failure_and_then_one_session_probes),
		cmocka_unit_test(late_failures_of_the_same_wave_are_not_counted),
		cmocka_unit_test(a_session_that_was_open_goes_on_while_the_queue_is_in_retry),
		cmocka_unit_test(hosts_that_cannot_be_looked_up_wait_for_dns_and_are_no_step),
		cmocka_unit_test(retry_recipients_after_is_a_floor_whatever_retry_after_says),
		cmocka_unit_test(retry_recipients_after_steps_per_attempt),
		cmocka_unit_test(a_broken_session_defers_its_recipients_and_not_the_queue),
		cmocka_unit_test(jitter_is_only_later_and_at_most_the_percent),
		cmocka_unit_test(max_attempts_gives_up_at_the_last_one),
		cmocka_unit_test(bounce_after_is_kept_wherever_a_recipient_sits),
		cmocka_unit_test(one_that_expires_while_it_is_sent_is_given_up_at_its_reply),
		cmocka_unit_test(one_whose_bounce_cannot_be_stored_is_given_up_again_in_a_minute),
		cmocka_unit_test(attempts_and_due_times_go_on_after_a_restart),
		cmocka_unit_test(a_clock_that_was_set_back_makes_nobody_wait_longer),
	};
	return cmocka_run_group_tests(tests, fixture_folder, fixture_folder_gone);
}
