/* Mail that is held: a suspended queue, one that waits for all, a source that is off, a paused job. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/queue_overlays_fixture.h"

/* ---- suspension and retry ---- */

static void
a_suspended_queue_finishes_its_messages_and_goes_on_at_the_end(void **state)
{
	struct world *w = world_with("bounce_after = \"1d\"");
	struct queue *q;
	size_t sent;

	w->play.reply_us = SEC(2);
	put(w, "a.example", .messages = 100);
	world_run(w, SEC(3));
	q = queue_called(w, "a.example/v1");
	assert_int_equal(q->slots_n, 6);
	sent = w->sent_n;
	suspend(w, "a.example/v1", OVERLAY_QUEUE, MINS(10));
	assert_int_equal(gate_of(q, world_now(w), GATE_SUSPENDED)->until, world_now(w) + MINS(10));
	assert_int_equal(gate_of(q, world_now(w), GATE_SUSPENDED)->where.line, 7);
	assert_string_equal(queue_mode(q), "suspended");
	world_run(w, SEC(5));
	assert_int_equal(q->slots_n, 0);
	assert_int_equal(w->delivered, sent);
	world_run(w, MINS(9) + SEC(54));
	assert_int_equal(w->sent_n, sent);
	world_run(w, SEC(2));
	assert_true(w->sent_n > sent);
	assert_true(run_until_empty(w, MINS(5)));
	world_free(w);
}

static void
the_longest_suspension_counts_and_lifting_ends_it(void **state)
{
	struct world *w = world_with("bounce_after = \"1d\"");
	struct queue *q;

	put(w, "a.example", .messages = 3);
	world_run(w, MS(1));
	q = queue_called(w, "a.example/v1");
	suspend(w, "a.example/v1", OVERLAY_SITE, MINS(5));
	suspend(w, "a.example/v1", OVERLAY_VMTA, MINS(10));
	suspend(w, "a.example/v1", OVERLAY_QUEUE, MINS(7));
	assert_int_equal(q->hold.suspended_until, world_now(w) + MINS(10));
	assert_int_equal(queue_lift(q, "nobody", w->loop.now), 0);
	assert_int_equal(queue_lift(q, "suspend", w->loop.now), 3);
	assert_true(run_until_empty(w, SEC(5)));
	world_free(w);
}

static void
a_deferred_queue_ends_its_sessions_waits_and_steps(void **state)
{
	struct world *w = world_with("retry_after = \"10m,20m\"");
	struct smtp_reply reply;
	struct queue *q;

	w->play.reply_us = SEC(2);
	put(w, "a.example", .messages = 100);
	world_run(w, SEC(3));
	q = queue_called(w, "a.example/v1");
	smtp_reply_make(&reply, 421, "4.7.0", "later");
	queue_defer(q, &reply, w->loop.now);
	queue_defer(q, &reply, w->loop.now);
	assert_int_equal(w->failures, 1);
	assert_string_equal(q->last_error, reply.line);
	size_t sent = w->sent_n;
	mono_us_t at = world_now(w);
	world_run(w, SEC(5));
	assert_int_equal(q->slots_n, 0);
	world_run(w, MINS(10));
	assert_true(w->sent_n > sent);
	assert_in_range(w->sent[sent].at - at, MINS(10), MINS(10) + SEC(1));
	assert_int_equal(q->retry_step, 0);     /* a delivery */
	world_free(w);
}

static void
with_every_source_off_the_queue_waits_for_the_first_to_come_back(void **state)
{
	struct world *w = world_with("bounce_after = \"1d\"");
	struct ip one, two;
	struct overlay_spec spec = rule("ip", MINS(10), NULL, 0);
	struct queue *q;

	assert_true(ip_parse(SPAN("192.0.2.1"), &one) && ip_parse(SPAN("192.0.2.2"), &two));
	w->queues->stopping = true;
	put(w, "a.example");
	world_run(w, MS(1));
	w->queues->stopping = false;
	q = queue_called(w, "a.example/v1");
	spec.source = &one;
	lay(w, "a.example/v1", OVERLAY_QUEUE, &spec);
	assert_true(queue_source_is_off(q, &one, world_now(w)));
	assert_false(queue_source_is_off(q, &two, world_now(w)));
	assert_null(gate_of(q, world_now(w), GATE_SOURCE_DISABLED));
	spec.source = &two;
	spec.lasts_us = MINS(20);
	lay(w, "a.example/v1", OVERLAY_QUEUE, &spec);
	assert_int_equal(gate_of(q, world_now(w), GATE_SOURCE_DISABLED)->until, world_now(w) + MINS(10));
	assert_int_equal(gate_of(q, world_now(w), GATE_SOURCE_DISABLED)->where.line, 7);
	world_run(w, SEC(1));
	assert_int_equal(w->started, 0);
	put(w, "a.example");
	world_run(w, MINS(9));
	assert_true(queue_n(q) > 0);
	world_run(w, MINS(2));
	assert_int_equal(queue_n(q), 0);
	world_free(w);
}

static void
with_any_source_one_that_is_off_turns_all_off(void **state)
{
	struct world *w = world_with("bounce_after = \"1d\"");
	struct ip one;
	struct overlay_spec spec = rule("ip", MINS(10), NULL, 0);

	assert_true(ip_parse(SPAN("192.0.2.1"), &one));
	put(w, "a.example", .vmta = "v2");
	world_run(w, MS(1));
	spec.source = &one;
	lay(w, "a.example/v2", OVERLAY_QUEUE, &spec);
	assert_non_null(gate_of(queue_called(w, "a.example/v2"), world_now(w), GATE_SOURCE_DISABLED));
	world_free(w);
}

/* ---- jobs ---- */

static void
a_paused_job_is_held_beside_the_ring_and_comes_back(void **state)
{
	struct world *w = world_with("retry_recipients_after = \"1m\"");
	struct queue *q;
	unsigned n;

	w->queues->stopping = true;
	put(w, "a.example", .job = "bulk", .messages = 10);
	put(w, "a.example", .job = "other", .messages = 10);
	put(w, "a.example", .job = "bulk", .priority = 80, .messages = 10);
	world_run(w, MS(10));
	q = queue_called(w, "a.example/v1");
	assert_int_equal(queues_pause(w->queues, SPAN("a*"), "bulk", true, &n, w->loop.now), 20);
	assert_int_equal(n, 1);
	assert_int_equal(q->held_n, 20);
	assert_int_equal(q->ready_n, 10);
	assert_int_equal(queue_n(q), 30);
	world_check(w);
	w->queues->stopping = false;
	queue_poll(q, w->loop.now);
	put(w, "a.example", .job = "bulk");
	world_run(w, MINS(1));
	assert_int_equal(w->delivered, 10);
	for (size_t i = 0; i < w->sent_n; i++)
		assert_int_equal(w->sent[i].job, 'o');
	assert_int_equal(q->held_n, 21);
	assert_int_equal(gate_of(q, world_now(w), GATE_PAUSED)->until, MONO_NEVER);
	assert_true(queue_oldest(q) != MONO_NEVER);
	assert_int_equal(queues_pause(w->queues, SPAN("*"), "nobody", false, &n, w->loop.now), 0);
	assert_int_equal(q->held_n, 21);
	assert_int_equal(queues_pause(w->queues, SPAN("*"), "bulk", false, &n, w->loop.now), 21);
	assert_true(run_until_empty(w, MINS(1)));
	world_free(w);
}

static void
a_resume_of_the_whole_ends_the_pauses_of_its_jobs(void **state)
{
	struct world *w = world_with("bounce_after = \"1d\"");
	unsigned n;

	queues_pause(w->queues, SPAN("*"), "bulk", true, &n, w->loop.now);
	queues_pause(w->queues, SPAN("*"), NULL, true, &n, w->loop.now);
	put(w, "a.example", .job = "bulk", .messages = 5);
	world_run(w, SEC(1));
	assert_int_equal(queue_called(w, "a.example/v1")->held_n, 5);
	queues_pause(w->queues, SPAN("*"), NULL, false, &n, w->loop.now);
	assert_true(run_until_empty(w, MINS(1)));
	world_free(w);
}

static void
a_paused_job_stays_so_across_a_restart_and_expires_in_its_time(void **state)
{
	struct world *w = world_with("bounce_after = \"1h\"");
	unsigned n;

	queues_pause(w->queues, SPAN("*"), "bulk", true, &n, w->loop.now);
	world_restart(w, NULL, false, SEC(1), 0);
	put(w, "a.example", .job = "bulk", .messages = 5);
	put(w, "a.example", .job = "other", .messages = 5);
	world_run(w, MINS(59));
	assert_int_equal(w->delivered, 5);
	assert_int_equal(queue_called(w, "a.example/v1")->held_n, 5);
	world_run(w, MINS(2));
	assert_int_equal(w->given_up_n, 5);
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_suspended_queue_finishes_its_messages_and_goes_on_at_the_end),
		cmocka_unit_test(the_longest_suspension_counts_and_lifting_ends_it),
		cmocka_unit_test(a_deferred_queue_ends_its_sessions_waits_and_steps),
		cmocka_unit_test(with_every_source_off_the_queue_waits_for_the_first_to_come_back),
		cmocka_unit_test(with_any_source_one_that_is_off_turns_all_off),
		cmocka_unit_test(a_paused_job_is_held_beside_the_ring_and_comes_back),
		cmocka_unit_test(a_resume_of_the_whole_ends_the_pauses_of_its_jobs),
		cmocka_unit_test(a_paused_job_stays_so_across_a_restart_and_expires_in_its_time),
	};

	return cmocka_run_group_tests(tests, fixture_folder, fixture_folder_gone);
}
