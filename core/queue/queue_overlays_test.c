/* What lies on a queue, its site or its virtual MTA is what holds, and for how long, whatever becomes of the queue meanwhile. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/queue_overlays_fixture.h"

/* ---- settings and limits ---- */

static void
what_is_in_force_is_a_copy_while_an_overlay_lies_there(void **state)
{
	struct world *w = world_with("retry_recipients_after = \"10m\"");
	struct tightening t[] = { cap(SETTING_max_smtp_out, 2), cap(SETTING_max_msg_per_connection, 3) };
	struct overlay_spec spec = rule("r", MINS(5), t, 2);
	struct queue *q;

	put(w, "a.example,b.example");
	world_run(w, MS(10));
	q = queue_called(w, "a.example/v1");
	assert_null(q->effective);
	assert_ptr_equal(queue_settings_now(q), q->settings);
	lay(w, "a.example/v1", OVERLAY_QUEUE, &spec);
	assert_int_equal(queue_settings_now(q)->max_smtp_out, 2);
	assert_int_equal(queue_settings_now(q)->max_msg_per_connection, 3);
	assert_string_equal(queue_settings_now(q)->where[SETTING_max_smtp_out].file, "p.lua");
	assert_int_equal(q->settings->max_smtp_out, 6);
	assert_int_equal(q->scope.limits.max_smtp_out, 2);
	assert_int_equal(gate_of(q, world_now(w), GATE_MAX_SMTP_OUT)->limit, 2);
	assert_int_equal(gate_of(q, world_now(w), GATE_MAX_SMTP_OUT)->where.line, 7);
	assert_string_equal(queue_mode(q), "backoff");
	assert_null(queue_called(w, "b.example/v1")->effective);
	put(w, "a.example", .messages = 1);
	w->play.answers = temporarily;
	world_run(w, MINS(5));
	assert_null(q->effective);
	assert_int_equal(q->scope.limits.max_smtp_out, 6);
	assert_string_equal(queue_mode(q), "normal");
	world_free(w);
}

static void
sessions_above_the_overlays_cap_end_and_just_they(void **state)
{
	struct world *w = world_with("max_msg_per_connection = 1000");
	struct tightening two = cap(SETTING_max_smtp_out, 2);
	struct overlay_spec spec = rule("r", MINS(1), &two, 1);
	struct queue *q;

	w->play.reply_us = SEC(1);
	w->play.close_us = SEC(3);      /* they are slow to go, and must not be counted against the others */
	put(w, "a.example", .messages = 400);
	world_run(w, SEC(5));
	q = queue_called(w, "a.example/v1");
	assert_int_equal(q->slots_n, 6);
	lay(w, "a.example/v1", OVERLAY_QUEUE, &spec);
	world_run(w, MS(1100));
	assert_int_equal(w->quits, 4);
	world_run(w, SEC(4));
	assert_int_equal(q->slots_n, 2);
	w->bounds[SCOPE_QUEUE].cap = 2;
	world_run(w, SEC(20));
	assert_int_equal(q->slots_n, 2);
	w->bounds[SCOPE_QUEUE].cap = 6;
	world_run(w, SEC(40));
	assert_int_equal(q->slots_n, 6);
	world_free(w);
}

static void
a_rate_is_kept_while_overlays_come_and_go(void **state)
{
	struct world *w = world_with("max_msg_rate = \"600/m\"");
	struct tightening slow = { .setting = SETTING_max_msg_rate, .rate = { 60, 0, MINS(1) } };
	struct overlay_spec spec = rule("r", MINS(2), &slow, 1);

	put(w, "a.example", .messages = 6000);
	world_bound(w, SCOPE_QUEUE, 6, "unlimited", "600/m");
	world_run(w, MINS(1));
	lay(w, "a.example/v1", OVERLAY_QUEUE, &spec);
	size_t before = w->sent_n;
	world_run(w, SEC(119));
	assert_in_range(w->sent_n - before, 110, 125);
	world_run(w, MINS(3));
	assert_true(w->sent_n - before > 1700);
	world_free(w);
}

static void
caps_of_a_site_and_of_a_virtual_mta_lie_on_those(void **state)
{
	static const struct { enum overlay_scope scope; enum setting_id setting; enum scope_level level; } rows[] = {
		{ OVERLAY_SITE, SETTING_max_smtp_out, SCOPE_SITE }, { OVERLAY_SITE, SETTING_total_max_smtp_out, SCOPE_SITE },
		{ OVERLAY_VMTA, SETTING_max_smtp_out, SCOPE_VMTA }, { OVERLAY_QUEUE, SETTING_total_max_smtp_out, SCOPE_SITE },
		{ OVERLAY_QUEUE, SETTING_max_smtp_out, SCOPE_QUEUE },
	};

	for (unsigned i = 0; i < countof(rows); i++) {
		struct world *w = world_with("bounce_after = \"1d\"");
		struct tightening three = cap(rows[i].setting, 3);
		struct overlay_spec spec = rule("r", MINS(5), &three, 1);
		struct queue *q;

		w->play.reply_us = SEC(1);
		put(w, "a.example", .messages = 5000);
		put(w, "a.example", .vmta = "v2", .messages = 5000);
		put(w, "b.example", .messages = 5000);
		world_run(w, MS(10));
		q = queue_called(w, "a.example/v1");
		lay(w, "a.example/v1", rows[i].scope, &spec);
		for (int level = 0; level < SCOPE_POOL; level++)
			assert_int_equal(q->scopes[level]->limits.max_smtp_out == 3, level == (int)rows[i].level);
		world_run(w, SEC(8));
		world_bound(w, rows[i].level, 0, "unlimited", "unlimited");
		assert_true(gauge_in_use(&q->scopes[rows[i].level]->use->sessions) <= 3);
		world_run(w, MINS(6));
		assert_true(q->scopes[rows[i].level]->limits.max_smtp_out > 3);
		assert_int_equal(w->queues->overlays.n, 0);
		world_free(w);
	}
}

static void
a_percent_is_of_the_scope_that_it_lies_on(void **state)
{
	struct world *w = world_with("bounce_after = \"1d\"");
	struct tightening half = { .setting = SETTING_max_smtp_out, .is_percent = true, .percent = 50, .floor = 1 };
	struct overlay_spec spec = rule("r", MINS(5), &half, 1);
	struct queue *q;

	put(w, "a.example");
	world_run(w, MS(1));
	q = queue_called(w, "a.example/v1");
	lay(w, "a.example/v1", OVERLAY_SITE, &spec);
	assert_int_equal(q->site->scope.limits.max_smtp_out, 4);
	lay(w, "a.example/v1", OVERLAY_QUEUE, &spec);
	assert_int_equal(q->scope.limits.max_smtp_out, 3);
	assert_int_equal(queue_lift(q, NULL, w->loop.now), 2);
	assert_int_equal(q->site->scope.limits.max_smtp_out, 8);
	world_free(w);
}

static void
waits_are_lengthened_for_the_queue_and_for_its_recipients(void **state)
{
	struct world *w = world_with("retry_recipients_after = \"1m,5m\"");
	struct tightening t = { .setting = SETTING_retry_recipients_after, .durations = { 2, { MINS(2), MINS(3) } } };
	struct overlay_spec spec = rule("r", HOUR(1), &t, 1);

	w->play.answers = temporarily;
	put(w, "a.example");
	world_run(w, MS(1));
	lay(w, "a.example/v1", OVERLAY_QUEUE, &spec);
	world_run(w, MINS(8));
	assert_int_equal(w->sent_n, 3);
	assert_in_range(w->sent[1].at - w->sent[0].at, MINS(2), MINS(2) + SEC(1));
	assert_in_range(w->sent[2].at - w->sent[1].at, MINS(5), MINS(5) + SEC(1));
	world_free(w);
}

static void
a_recipients_own_floor_is_longer_than_all_others_or_nothing(void **state)
{
	static const struct { int64_t floor, expected; } rows[] = { { MINS(30), MINS(30) }, { SEC(1), MINS(1) } };

	for (unsigned i = 0; i < countof(rows); i++) {
		struct world *w = world_with("retry_recipients_after = \"1m\"");
		struct duration_list floor = { 1, { rows[i].floor } };
		struct rcpt *rcpt;
		struct queue *q;

		w->play.reply_us = SEC(10);
		put(w, "a.example");
		world_run(w, SEC(1));
		q = queue_called(w, "a.example/v1");
		rcpt = list_first(&q->sending, struct rcpt, node);
		list_first(&w->sessions, struct played, node)->n = 0;   /* its answer comes from here */
		queue_rcpt_defer_for(rcpt, &floor, false, w->loop.now);
		assert_int_equal(rcpt->due.key - world_now(w), rows[i].expected);
		assert_int_equal(rcpt->attempts, 1);
		world_free(w);
	}
}

/* ---- names and time ---- */

static void
it_lies_on_the_name_and_outlives_the_queue_and_the_process(void **state)
{
	struct world *w = world_with("bounce_after = \"1d\"");
	struct tightening one = cap(SETTING_max_smtp_out, 1);
	struct overlay_spec spec = rule("r", HOUR(1), &one, 1);

	put(w, "a.example");
	world_run(w, MS(1));
	lay(w, "a.example/v1", OVERLAY_QUEUE, &spec);
	lay(w, "a.example/v1", OVERLAY_SITE, &spec);
	lay(w, "a.example/v1", OVERLAY_VMTA, &spec);
	world_run(w, MINS(10));
	assert_null(queues_find(w->queues, SPAN("a.example/v1")));
	for (unsigned i = 0; i < 3; i++) {
		struct queue *q;

		put(w, "a.example", .messages = 5);
		world_run(w, MS(10));
		q = queue_called(w, "a.example/v1");
		for (int level = 0; level < SCOPE_POOL; level++)
			assert_int_equal(q->scopes[level]->limits.max_smtp_out, 1);
		world_bound(w, SCOPE_QUEUE, 1, "unlimited", "unlimited");
		world_run(w, SEC(5));
		world_restart(w, NULL, i == 0, MINS(10), 0);
	}
	world_run(w, MINS(40));
	assert_int_equal(w->queues->overlays.n, 0);
	assert_int_equal(w->queues->vmtas[0]->limits.max_smtp_out, UNLIMITED);
	world_free(w);
}

static void
a_hand_suspends_what_is_there_and_what_comes_and_lifts_either(void **state)
{
	struct world *w = world_with("bounce_after = \"1d\"");
	unsigned n;

	w->queues->stopping = true;
	put(w, "a.example,b.example");
	world_run(w, MS(10));
	w->queues->stopping = false;
	assert_int_equal(queues_suspend(w->queues, SPAN("*.example/v1"), HOUR(1), &n, w->loop.now), 2);
	assert_int_equal(n, 2);
	put(w, "c.example");
	put(w, "c.example", .vmta = "v2");
	world_run(w, MINS(1));
	assert_int_equal(w->delivered, 1);
	assert_int_equal(queue_called(w, "c.example/v1")->hold.suspended_until - world_now(w), HOUR(1) - MINS(1) - MS(0));
	assert_null(gate_of(queue_called(w, "c.example/v1"), world_now(w), GATE_SUSPENDED)->where.file);
	assert_int_equal(queues_lift(w->queues, SPAN("c.example/*"), NULL, &n, w->loop.now), 1);
	assert_int_equal(n, 1);
	world_run(w, MINS(1));
	assert_int_equal(w->delivered, 2);
	world_restart(w, NULL, true, SEC(1), 0);
	put(w, "d.example,a.example");
	world_run(w, MINS(1));
	assert_int_equal(w->delivered, 2);
	queues_lift(w->queues, SPAN("*"), "by hand", &n, w->loop.now);
	assert_int_equal(w->queues->overlays.n, 0);
	world_run(w, MINS(1));
	assert_int_equal(w->delivered, 4);
	put(w, "e.example");
	world_run(w, MINS(1));
	assert_int_equal(w->delivered, 5);
	world_free(w);
}

static void
a_clock_that_was_set_back_over_a_restart_prolongs_nothing(void **state)
{
	struct world *w = world_with("bounce_after = \"1d\"");
	struct overlay_spec spec = rule("r", HOUR(1), NULL, 0);
	unsigned n;

	spec.suspend = true;
	put(w, "a.example");
	world_run(w, MS(1));
	lay(w, "a.example/v1", OVERLAY_QUEUE, &spec);
	world_restart(w, NULL, true, SEC(1), -INT64_C(86400000));
	assert_int_equal(w->queues->overlays.n, 1);
	assert_in_range(overlays_next(&w->queues->overlays) - world_now(w), MINS(59), HOUR(1));
	queues_lift(w->queues, SPAN("*"), NULL, &n, w->loop.now);
	world_free(w);
}

static void
what_lies_on_a_site_or_a_virtual_mta_without_a_queue_can_be_lifted(void **state)
{
	static const struct { enum overlay_scope scope; const char *pattern; unsigned left; } rows[] = {
		{ OVERLAY_SITE, "*", 0 }, { OVERLAY_SITE, "a.example/*", 0 }, { OVERLAY_SITE, "b.example/*", 1 },
		{ OVERLAY_SITE, "*/v1", 1 }, { OVERLAY_VMTA, "*", 0 }, { OVERLAY_VMTA, "*/v1", 0 }, { OVERLAY_VMTA, "*/v2", 1 },
		{ OVERLAY_VMTA, "a.example/*", 1 },
	};

	for (unsigned i = 0; i < countof(rows); i++) {
		struct world *w = world_with("bounce_after = \"1d\"");
		struct overlay_spec spec = rule("r", DURATION_NEVER, NULL, 0);
		unsigned n;

		spec.suspend = true;
		put(w, "a.example");
		world_run(w, MS(1));
		lay(w, "a.example/v1", rows[i].scope, &spec);
		assert_true(run_until_empty(w, HOUR(25)));
		world_run(w, MINS(5));
		assert_null(queues_find(w->queues, SPAN("a.example/v1")));
		queues_lift(w->queues, span_text(rows[i].pattern), NULL, &n, w->loop.now);
		if (w->queues->overlays.n != rows[i].left)
			fail_msg("\"%s\" leaves %u", rows[i].pattern, w->queues->overlays.n);
		world_free(w);
	}
}

static void
a_queue_that_was_lifted_stays_so_when_it_is_made_anew_under_a_wider_suspension(void **state)
{
	struct world *w = world_with("bounce_after = \"1d\"");
	unsigned n;

	put(w, "a.example");
	world_run(w, SEC(1));
	queues_suspend(w->queues, SPAN("a.example/*"), HOUR(24), &n, w->loop.now);
	queues_lift(w->queues, SPAN("a.example/v1"), NULL, &n, w->loop.now);
	for (unsigned i = 0; i < 2; i++) {
		world_run(w, MINS(10));
		assert_null(queues_find(w->queues, SPAN("a.example/v1")));
		put(w, "a.example");
		put(w, "a.example", .vmta = "v2");
		world_run(w, MINS(1));
		assert_int_equal(w->delivered, 2 + i);
		assert_int_equal(queue_called(w, "a.example/v2")->ready_n, 1);
		world_run(w, MINS(10));
		world_restart(w, NULL, true, SEC(1), 0);
	}
	/* What is laid after the lift holds for it again; and nothing outlasts the suspensions. */
	queues_suspend(w->queues, SPAN("*/v1"), HOUR(1), &n, w->loop.now);
	put(w, "a.example");
	world_run(w, MINS(1));
	assert_int_equal(w->delivered, 3);
	world_run(w, HOUR(24));
	assert_int_equal(w->queues->overlays.n, 0);
	world_free(w);
}

static void
lifting_reaches_queues_that_are_not_there_now(void **state)
{
	struct world *w = world_with("bounce_after = \"1d\"");
	unsigned n;

	struct tightening one = cap(SETTING_max_smtp_out, 1);
	struct overlay_spec spec = rule("r", DURATION_NEVER, &one, 1);

	put(w, "a.example");
	world_run(w, MS(1));
	lay(w, "a.example/v1", OVERLAY_QUEUE, &spec);
	world_run(w, MINS(3));
	assert_null(queues_find(w->queues, SPAN("a.example/v1")));
	queues_lift(w->queues, SPAN("b.example/*"), NULL, &n, w->loop.now);
	assert_int_equal(n, 0);
	queues_lift(w->queues, SPAN("a.example/*"), NULL, &n, w->loop.now);
	assert_int_equal(n, 1);
	assert_int_equal(w->queues->overlays.n, 0);
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_in_force_is_a_copy_while_an_overlay_lies_there),
		cmocka_unit_test(sessions_above_the_overlays_cap_end_and_just_they),
		cmocka_unit_test(a_rate_is_kept_while_overlays_come_and_go),
		cmocka_unit_test(caps_of_a_site_and_of_a_virtual_mta_lie_on_those),
		cmocka_unit_test(a_percent_is_of_the_scope_that_it_lies_on),
		cmocka_unit_test(waits_are_lengthened_for_the_queue_and_for_its_recipients),
		cmocka_unit_test(a_recipients_own_floor_is_longer_than_all_others_or_nothing),
		cmocka_unit_test(it_lies_on_the_name_and_outlives_the_queue_and_the_process),
		cmocka_unit_test(a_hand_suspends_what_is_there_and_what_comes_and_lifts_either),
		cmocka_unit_test(a_clock_that_was_set_back_over_a_restart_prolongs_nothing),
		cmocka_unit_test(what_lies_on_a_site_or_a_virtual_mta_without_a_queue_can_be_lifted),
		cmocka_unit_test(a_queue_that_was_lifted_stays_so_when_it_is_made_anew_under_a_wider_suspension),
		cmocka_unit_test(lifting_reaches_queues_that_are_not_there_now),
	};

	return cmocka_run_group_tests(tests, fixture_folder, fixture_folder_gone);
}
