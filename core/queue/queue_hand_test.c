/* What an operator does to queues, by pattern: pause, resume, retry, take. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/queue_fixture.h"

#define POLICY \
	"vmta \"v1\" { source = \"any\" }\nvmta \"v2\" { source = \"any\" }\n" \
	"domain \"*\" { retry_jitter = \"0%\", retry_after = \"1h\", retry_recipients_after = \"1h\" }\n"

static int
setup(void **state)
{
	*state = world_new(POLICY);
	return 0;
}

static int
teardown(void **state)
{
	world_free(*state);
	return 0;
}

static uint64_t
pause_by(struct world *w, const char *pattern, bool paused, unsigned expect_queues)
{
	unsigned queues = 99;
	uint64_t n = queues_pause(w->queues, span_text(pattern), NULL, paused, &queues, w->loop.now);

	assert_int_equal(queues, expect_queues);
	return n;
}

static void
put_everywhere(struct world *w, unsigned messages)
{
	put(w, "a.example", .messages = messages);
	put(w, "b.example", .messages = messages);
	put(w, "a.example", .messages = messages, .vmta = "v2");
	world_run(w, MS(10));
}

static void
nothing(void *ctx, struct queue *q)
{
}

static void
patterns_match_whole_names_whatever_their_case(void **state)
{
	static const struct { const char *pattern; unsigned n; } rows[] = {
		{ "*", 3 }, { "a.example/v1", 1 }, { "A.EXAMPLE/V1", 1 }, { "a.example/*", 2 }, { "*/v1", 2 }, { "*.example/v2", 1 },
		{ "a.example", 0 }, { "a.example/v", 0 }, { "*example*v*", 3 }, { "", 0 }, { "**", 3 }, { "?.example/v1", 0 }, { "*b*", 1 },
		{ "a.example/v1*", 1 }, { "*a.example/v1", 1 }, { "[a].example/v1", 0 },
	};
	struct world *w = *state;

	w->queues->stopping = true;
	put_everywhere(w, 1);
	for (unsigned i = 0; i < countof(rows); i++)
		if (queues_match(w->queues, span_text(rows[i].pattern), nothing, NULL) != rows[i].n)
			fail_msg("\"%s\" matches %u", rows[i].pattern, queues_match(w->queues, span_text(rows[i].pattern), nothing, NULL));
}

static void
a_paused_queue_starts_nothing_and_ends_its_sessions_at_their_message(void **state)
{
	struct world *w = *state;
	size_t sent;

	w->play.reply_us = MS(500);
	put_everywhere(w, 100);
	world_run(w, SEC(2));
	assert_int_equal(pause_by(w, "a.example/v1", true, 1), queue_n(queue_called(w, "a.example/v1")));
	assert_string_equal(queue_mode(queue_called(w, "a.example/v1")), "paused");
	assert_string_equal(queue_mode(queue_called(w, "b.example/v1")), "normal");
	world_run(w, SEC(1));
	assert_int_equal(queue_called(w, "a.example/v1")->slots_n, 0);
	sent = meter_of(w, SCOPE_QUEUE, "a.example/v1")->messages.total;
	world_run(w, MINS(5));
	assert_int_equal(meter_of(w, SCOPE_QUEUE, "a.example/v1")->messages.total, sent);
	assert_int_equal(meter_of(w, SCOPE_QUEUE, "b.example/v1")->messages.total, 100);
	assert_int_equal(pause_by(w, "a.example/v1", false, 1), 100 - sent);
	assert_true(run_until_empty(w, MINS(2)));
}

static void
an_idle_session_of_a_paused_queue_goes_at_once(void **state)
{
	struct world *w = *state;

	put(w, "a.example");
	world_run(w, SEC(1));
	assert_int_equal(queue_called(w, "a.example/v1")->slots_n, 1);
	pause_by(w, "*", true, 1);
	world_run(w, MS(100));
	assert_int_equal(queue_called(w, "a.example/v1")->slots_n, 0);
	pause_by(w, "*", false, 1);
}

static void
a_pause_holds_queues_that_are_made_later(void **state)
{
	struct world *w = *state;

	assert_int_equal(pause_by(w, "*/v2", true, 0), 0);
	put_everywhere(w, 1);
	world_run(w, MINS(10));
	assert_int_equal(w->delivered, 2);
	assert_int_equal(queue_called(w, "a.example/v2")->ready_n, 1);
	/* The wider resume takes away what it covers, the narrower one frees only its queues. */
	assert_int_equal(pause_by(w, "a.example/v2", false, 1), 1);
	world_run(w, MINS(1));
	assert_int_equal(w->delivered, 3);
	put(w, "b.example", .vmta = "v2");
	world_run(w, MINS(10));
	assert_int_equal(w->delivered, 3);
	pause_by(w, "*", false, 1);
	world_run(w, MINS(1));
	assert_int_equal(w->delivered, 4);
	put(w, "c.example", .vmta = "v2");
	world_run(w, MINS(1));
	assert_int_equal(w->delivered, 5);
}

struct taker {
	struct world *w;
	unsigned      n;
	bool          later;
	struct rcpt  *held[100];
};

static void
on_taken(void *ctx, struct rcpt *rcpt)
{
	struct taker *t = ctx;

	assert_int_equal(rcpt->state, RCPT_SENDING);
	if (t->later) {
		t->held[t->n++] = rcpt;
		return;
	}
	t->n++;
	t->w->ended++;
	queue_rcpt_over(rcpt, SPOOL_DROPPED, t->w->loop.now);
}

static uint64_t
pause_job(struct world *w, const char *pattern, const char *job, bool paused)
{
	unsigned queues;

	return queues_pause(w->queues, span_text(pattern), job, paused, &queues, w->loop.now);
}

static void
a_paused_job_waits_beside_the_others(void **state)
{
	struct world *w = *state;

	w->play.reply_us = MS(500);
	put(w, "a.example", .messages = 100, .job = "x");
	put(w, "a.example", .messages = 100, .job = "y");
	world_run(w, SEC(1));
	assert_in_range(pause_job(w, "*/v1", "x", true), 50, 100);
	put(w, "a.example", .messages = 10, .job = "x");
	put(w, "b.example", .messages = 10, .job = "x");        /* a queue that comes later */
	world_run(w, MINS(5));
	world_check(w);
	assert_in_range(queue_called(w, "a.example/v1")->held_n, 60, 110);
	assert_int_equal(queue_called(w, "b.example/v1")->held_n, 10);
	assert_int_equal(queue_called(w, "a.example/v1")->ready_n, 0);
	assert_int_equal(queue_called(w, "a.example/v1")->slots_n, 0);
	put(w, "a.example", .messages = 10, .job = "y");
	world_run(w, SEC(10));
	assert_int_equal(queue_called(w, "a.example/v1")->ready_n, 0);
	pause_job(w, "*", "z", false);
	world_run(w, MINS(1));
	assert_int_equal(queue_called(w, "b.example/v1")->held_n, 10);
	pause_job(w, "*", "x", false);
	world_run(w, MINS(2));
	assert_int_equal(w->queues->rcpts_n, 0);
	world_check(w);
}

static void
a_resume_of_the_whole_ends_the_pauses_of_its_jobs(void **state)
{
	struct world *w = *state;

	pause_job(w, "*", "x", true);
	put(w, "a.example", .job = "x");
	world_run(w, MINS(1));
	assert_int_equal(w->delivered, 0);
	pause_by(w, "*", true, 1);
	world_run(w, MINS(1));
	pause_by(w, "*", false, 1);
	world_run(w, MINS(1));
	assert_int_equal(w->delivered, 1);
}

static void
a_resume_of_the_whole_frees_its_job_though_another_one_stays_paused(void **state)
{
	struct world *w = *state;

	pause_job(w, "*", "b", true);
	pause_job(w, "a.example/*", "a", true);
	put(w, "a.example", .job = "a");
	world_run(w, MINS(1));
	assert_int_equal(queue_called(w, "a.example/v1")->held_n, 1);
	pause_by(w, "a.example/*", false, 1);
	world_run(w, MINS(1));
	assert_int_equal(w->delivered, 1);
	put(w, "b.example", .job = "b");
	world_run(w, MINS(1));
	assert_int_equal(queue_called(w, "b.example/v1")->held_n, 1);
	pause_by(w, "*", false, 1);
}

static void
a_narrower_resume_of_a_job_is_an_exception_of_its_wider_pause(void **state)
{
	struct world *w = *state;

	pause_job(w, "*", "x", true);
	put(w, "a.example", .job = "x");
	put(w, "b.example", .job = "x");
	world_run(w, MINS(1));
	assert_int_equal(pause_job(w, "a.example/v1", "x", false), 1);
	put(w, "a.example", .job = "x");
	world_run(w, MINS(1));
	assert_int_equal(w->delivered, 2);
	assert_int_equal(queue_called(w, "b.example/v1")->held_n, 1);
	pause_job(w, "*", "x", false);
	world_run(w, MINS(1));
	assert_int_equal(w->delivered, 3);
}

static void
a_suspended_job_goes_on_by_itself_also_after_a_restart(void **state)
{
	struct world *w = *state;
	struct gate_answer gates;
	unsigned queues;

	assert_int_equal(queues_suspend_job(w->queues, SPAN("*"), "x", HOUR(1), &queues, w->loop.now), 0);
	put(w, "a.example", .job = "x");
	put(w, "a.example", .job = "y");
	world_run(w, MINS(20));
	assert_int_equal(w->delivered, 1);
	gate_decide(queue_called(w, "a.example/v1"), w->loop.now.mono, &gates);
	assert_string_equal(gate_name(gates.binding.gate), "suspended");
	assert_int_equal(gates.binding.until, w->loop.now.mono + MINS(40));
	world_restart(w, NULL, true, MINS(10), 0);
	put(w, "a.example", .job = "x");
	world_run(w, MINS(29));
	assert_int_equal(w->delivered, 1);
	world_run(w, MINS(2));
	assert_int_equal(w->delivered, 2);
	assert_true(list_empty(&w->queues->pauses));
	queues_suspend_job(w->queues, SPAN("*"), "x", HOUR(1), &queues, w->loop.now);
	put(w, "a.example", .job = "x");
	world_run(w, MINS(1));
	assert_int_equal(pause_job(w, "*", "x", false), 1);
	world_run(w, MINS(1));
	assert_int_equal(w->delivered, 3);
	world_check(w);
}

static void
a_held_recipient_expires_and_can_be_taken(void **state)
{
	struct world *w = *state;
	struct taker t = { .w = w };
	unsigned queues;

	pause_job(w, "*", "x", true);
	put(w, "a.example", .job = "x", .n = 2);
	put(w, "b.example", .job = "x", .n = 2);
	world_run(w, HOUR(1));
	assert_int_equal(queues_take(w->queues, SPAN("b*"), "x", &queues, on_taken, &t, w->loop.now), 2);
	world_run(w, HOUR(24 * 5));
	assert_int_equal(w->given_up_n, 2);
	assert_int_equal(w->queues->rcpts_n, 0);
	world_check(w);
}

static void
retry_ends_the_wait_of_the_queue_and_leaves_its_recipients_floors(void **state)
{
	struct world *w = *state;
	unsigned queues;

	w->play.temp = 1000;
	put(w, "a.example");
	world_run(w, SEC(10));
	w->play.temp = 0;
	w->play.refuse = 1000;
	put(w, "a.example", .messages = 3);
	world_run(w, SEC(10));
	assert_int_equal(w->failures, 1);
	w->play.refuse = 0;
	assert_int_equal(queues_retry(w->queues, SPAN("a.example/*"), false, NULL, &queues, w->loop.now), 3);
	assert_int_equal(queues, 1);
	world_run(w, MINS(1));
	assert_int_equal(w->delivered, 3);
	assert_int_equal(queue_called(w, "a.example/v1")->deferred_n, 1);
	world_run(w, HOUR(1));
	assert_int_equal(w->delivered, 4);
}

static void
retry_of_recipients_makes_the_deferred_ones_of_the_job_due(void **state)
{
	struct world *w = *state;
	unsigned queues;

	w->play.temp = 1000;
	put(w, "a.example", .n = 3, .job = "x");
	put(w, "a.example", .n = 2, .job = "y");
	put(w, "b.example", .n = 2, .job = "x");
	world_run(w, SEC(10));
	w->play.temp = 0;
	assert_int_equal(queues_retry(w->queues, SPAN("a*"), true, "x", &queues, w->loop.now), 3);
	world_run(w, MINS(1));
	assert_int_equal(w->delivered, 3);
	assert_int_equal(queues_retry(w->queues, SPAN("*"), true, NULL, &queues, w->loop.now), 4);
	assert_int_equal(queues, 2);
	world_run(w, MINS(1));
	assert_int_equal(w->delivered, 7);
	world_check(w);
}

static void
retry_asks_the_resolver_again_at_once(void **state)
{
	struct world *w = *state;
	unsigned queues;

	world_dns(w, "a.example", RESOLVE_MX, RESOLVER_SERVFAIL, 0, "");
	put(w, "a.example", .n = 2);
	world_run(w, SEC(1));
	world_mx(w, "a.example", "10 mx.example");
	assert_int_equal(queues_retry(w->queues, SPAN("a.example/v1"), false, NULL, &queues, w->loop.now), 2);
	world_run(w, SEC(1));
	assert_int_equal(w->delivered, 2);
	world_check(w);
}

static void
a_take_gets_whoever_waits_anywhere_and_leaves_who_is_with_a_session(void **state)
{
	struct world *w = *state;
	struct taker t = { .w = w };
	unsigned queues;

	world_mx(w, "a.example", "10 a.example");
	w->play.temp = 1000;
	put(w, "a.example", .n = 2);                            /* will be deferred */
	world_run(w, SEC(10));
	w->play.temp = 0;
	w->play.reply_us = MINS(1);
	put(w, "a.example", .n = 3);                            /* with a session */
	world_run(w, SEC(1));
	pause_by(w, "*", true, 1);
	put(w, "a.example", .n = 4);                            /* ready */
	world_dns(w, "x.example", RESOLVE_MX, RESOLVER_SERVFAIL, 0, "");
	put(w, "x.example", .n = 5);                            /* routing */
	world_run(w, SEC(1));
	assert_int_equal(queues_take(w->queues, SPAN("*"), NULL, &queues, on_taken, &t, w->loop.now), 11);
	assert_int_equal(t.n, 11);
	assert_int_equal(queues, 2);
	world_check(w);
	assert_int_equal(w->queues->rcpts_n, 3);
	world_run(w, MINS(2));
	assert_int_equal(w->delivered, 3);
	assert_int_equal(w->queues->rcpts_n, 0);
	pause_by(w, "*", false, 1);
	world_run(w, HOUR(2));
	assert_int_equal(w->sent_n, 5);
}

static void
a_take_keeps_to_its_pattern_and_job(void **state)
{
	struct world *w = *state;
	struct taker t = { .w = w };
	unsigned queues;

	pause_by(w, "*", true, 0);
	put(w, "a.example", .n = 3, .job = "x");
	put(w, "a.example", .n = 2, .job = "y");
	put(w, "a.example,b.example", .n = 4, .job = "x", .vmta = "v2");
	world_run(w, SEC(1));
	assert_int_equal(queues_take(w->queues, SPAN("a.example/*"), "x", &queues, on_taken, &t, w->loop.now), 5);
	assert_int_equal(queues, 2);
	assert_int_equal(queues_take(w->queues, SPAN("*"), "z", &queues, on_taken, &t, w->loop.now), 0);
	world_check(w);
	pause_by(w, "*", false, 3);
	assert_true(run_until_empty(w, MINS(1)));
	assert_int_equal(w->delivered, 4);
}

/* A bounce is over only when its report is durable. */
static void
what_is_taken_may_be_ended_later(void **state)
{
	struct world *w = *state;
	struct taker t = { .w = w, .later = true };
	unsigned queues;

	pause_by(w, "*", true, 0);
	put(w, "a.example", .n = 20);
	world_run(w, SEC(1));
	queues_take(w->queues, SPAN("*"), NULL, &queues, on_taken, &t, w->loop.now);
	assert_int_equal(w->queues->rcpts_n, 20);
	/* Nobody takes them twice, retries them or lets them expire. */
	assert_int_equal(queues_take(w->queues, SPAN("*"), NULL, &queues, on_taken, &t, w->loop.now), 0);
	assert_int_equal(queues_retry(w->queues, SPAN("*"), true, NULL, &queues, w->loop.now), 0);
	world_run(w, HOUR(24 * 6));
	assert_int_equal(w->given_up_n, 0);
	for (unsigned i = 0; i < 20; i++) {
		w->ended++;
		queue_rcpt_over(t.held[i], SPOOL_BOUNCED, w->loop.now);
	}
	assert_int_equal(w->queues->rcpts_n, 0);
	world_check(w);
}

static void
hands_and_time_together_leave_nothing_behind(void **state)
{
	struct world *w = *state;
	struct prng prng;

	prng_seed(&prng, 3);
	w->play.temp = 200;
	w->play.refuse = 100;
	for (unsigned i = 0; i < 3000; i++) {
		static const char *const patterns[] = { "*", "a.example/*", "*/v2", "b.example/v1" };
		struct span pattern = span_text(patterns[prng_below(&prng, 4)]);
		struct taker t = { .w = w };
		unsigned queues;

		switch (prng_below(&prng, 8)) {
		case 0: queues_pause(w->queues, pattern, prng_below(&prng, 2) ? "x" : NULL, true, &queues, w->loop.now); break;
		case 1: queues_pause(w->queues, pattern, prng_below(&prng, 2) ? "x" : NULL, false, &queues, w->loop.now); break;
		case 2: queues_retry(w->queues, pattern, prng_below(&prng, 2), prng_below(&prng, 2) ? "x" : NULL, &queues, w->loop.now); break;
		case 3: queues_take(w->queues, pattern, "x", &queues, on_taken, &t, w->loop.now); break;
		default: put(w, prng_below(&prng, 2) ? "a.example" : "a.example,b.example", .n = 1 + (unsigned)prng_below(&prng, 5),
			     .job = prng_below(&prng, 2) ? "x" : "y", .vmta = prng_below(&prng, 2) ? "v1" : "v2");
		}
		world_run(w, MS(1) * (int64_t)prng_below(&prng, 500));
		if (i % 20 == 0)
			world_check(w);
	}
	queues_pause(w->queues, SPAN("*"), NULL, false, &(unsigned){ 0 }, w->loop.now);
	w->play.temp = w->play.refuse = 0;
	assert_true(run_until_empty(w, HOUR(3)));
	world_check(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(patterns_match_whole_names_whatever_their_case),
		T(a_paused_queue_starts_nothing_and_ends_its_sessions_at_their_message),
		T(an_idle_session_of_a_paused_queue_goes_at_once),
		T(a_pause_holds_queues_that_are_made_later),
		T(a_paused_job_waits_beside_the_others),
		T(a_resume_of_the_whole_ends_the_pauses_of_its_jobs),
		T(a_resume_of_the_whole_frees_its_job_though_another_one_stays_paused),
		T(a_narrower_resume_of_a_job_is_an_exception_of_its_wider_pause),
		T(a_suspended_job_goes_on_by_itself_also_after_a_restart),
		T(a_held_recipient_expires_and_can_be_taken),
		T(retry_ends_the_wait_of_the_queue_and_leaves_its_recipients_floors),
		T(retry_of_recipients_makes_the_deferred_ones_of_the_job_due),
		T(retry_asks_the_resolver_again_at_once),
		T(a_take_gets_whoever_waits_anywhere_and_leaves_who_is_with_a_session),
		T(a_take_keeps_to_its_pattern_and_job),
		T(what_is_taken_may_be_ended_later),
		T(hands_and_time_together_leave_nothing_behind),
	};
	return cmocka_run_group_tests(tests, fixture_folder, fixture_folder_gone);
}
