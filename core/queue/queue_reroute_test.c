/* Mail that goes another way while an overlay says so, and what of it comes back. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/queue_overlays_fixture.h"

static void
ready_mail_goes_by_the_other_virtual_mta_and_what_waits_comes_back(void **state)
{
	struct world *w = world_with("bounce_after = \"1d\"");
	unsigned n;

	w->play.reply_us = SEC(1);
	put(w, "a.example", .messages = 1000);
	world_run(w, MS(1));
	reroute(w, "a.example/v1", "v2", MINS(1));
	world_run(w, SEC(30));
	assert_true(sent_by(w, "a.example/v2") > 100);
	assert_in_range(sent_by(w, "a.example/v1"), 0, 6);
	world_check(w);
	queues_pause(w->queues, SPAN("a.example/v2"), NULL, true, &n, w->loop.now);
	world_run(w, SEC(29));
	assert_true(queue_called(w, "a.example/v2")->ready_n > 100);
	world_run(w, SEC(2));
	assert_int_equal(queue_n(queue_called(w, "a.example/v2")), 0);
	assert_true(run_until_empty(w, MINS(10)));
	assert_true(sent_by(w, "a.example/v1") > 100);
	assert_int_equal(w->delivered, 1000);
	world_run(w, MINS(3));
	assert_int_equal(w->queues->routes.n, 0);
	assert_int_equal(w->queues->queues.n, 0);
	world_free(w);
}

static void
what_has_to_wait_waits_at_home_and_goes_away_when_it_is_due(void **state)
{
	struct world *w = world_with("retry_recipients_after = \"1m\"");

	w->play.answers = temporarily;
	put(w, "a.example", .messages = 5);
	world_run(w, SEC(10));
	assert_int_equal(queue_called(w, "a.example/v1")->deferred_n, 5);
	reroute(w, "a.example/v1", "v2", MINS(10));
	world_run(w, SEC(40));
	assert_int_equal(sent_by(w, "a.example/v2"), 0);
	world_run(w, SEC(20));
	assert_int_equal(sent_by(w, "a.example/v2"), 5);
	/* Refused there as well: back home until the next time. */
	assert_int_equal(queue_called(w, "a.example/v1")->deferred_n, 5);
	world_check(w);
	w->play.answers = NULL;
	assert_true(run_until_empty(w, MINS(2)));
	assert_int_equal(sent_by(w, "a.example/v2"), 10);
	world_free(w);
}

static void
a_pools_member_is_the_same_for_a_message(void **state)
{
	struct world *w = world_with("bounce_after = \"1d\"");

	w->queues->stopping = true;
	put(w, "a.example", .n = 10, .messages = 40);
	world_run(w, MS(10));
	reroute(w, "a.example/v1", "others", MINS(10));
	w->queues->stopping = false;
	queues_poll_all(w->queues, w->loop.now);
	assert_true(run_until_empty(w, MINS(5)));
	assert_int_equal(sent_by(w, "a.example/v1"), 0);
	assert_true(sent_by(w, "a.example/v2") >= 50);
	assert_true(sent_by(w, "a.example/v3") >= 50);
	for (size_t i = 0; i < w->sent_n; i++)
		assert_int_equal(w->sent[i].batch, 10);
	world_free(w);
}

static void
a_sites_reroute_leaves_who_sends_by_it_alone(void **state)
{
	struct world *w = world_with("bounce_after = \"1d\"");
	struct overlay_spec spec = rule("site", MINS(10), NULL, 0);

	w->queues->stopping = true;
	put(w, "a.example", .messages = 20);
	put(w, "a.example", .vmta = "v2", .messages = 20);
	world_run(w, MS(10));
	spec.reroute = "others";
	lay(w, "a.example/v1", OVERLAY_SITE, &spec);
	w->queues->stopping = false;
	queues_poll_all(w->queues, w->loop.now);
	assert_true(run_until_empty(w, MINS(1)));
	assert_int_equal(sent_by(w, "a.example/v1"), 0);
	assert_in_range(sent_by(w, "a.example/v2"), 21, 39);
	assert_int_equal(sent_by(w, "a.example/v2") + sent_by(w, "a.example/v3"), 40);
	world_free(w);
}

static void
a_member_sends_by_the_others_of_its_pool(void **state)
{
	struct world *w = world_with("bounce_after = \"1d\"");

	w->queues->stopping = true;
	put(w, "a.example", .vmta = "v2", .messages = 20);
	world_run(w, MS(10));
	reroute(w, "a.example/v2", "others", MINS(10));
	w->queues->stopping = false;
	queues_poll_all(w->queues, w->loop.now);
	assert_true(run_until_empty(w, MINS(1)));
	assert_int_equal(sent_by(w, "a.example/v2"), 0);
	assert_int_equal(sent_by(w, "a.example/v3"), 20);
	/* Both are to send by the other: each keeps its own. */
	reroute(w, "a.example/v3", "others", MINS(10));
	put(w, "a.example", .vmta = "v2", .messages = 20);
	assert_true(run_until_empty(w, MINS(1)));
	assert_int_equal(sent_by(w, "a.example/v2"), 20);
	world_free(w);
}

static void
ways_are_followed_on_and_a_circle_ends_at_home(void **state)
{
	struct world *w = world_with("bounce_after = \"1d\"");

	put(w, "a.example");
	put(w, "a.example", .vmta = "v2");
	put(w, "a.example", .vmta = "v3");
	w->queues->stopping = true;
	world_run(w, MS(10));
	w->queues->stopping = false;
	reroute(w, "a.example/v1", "v2", HOUR(1));
	reroute(w, "a.example/v2", "v3", HOUR(1));
	assert_true(run_until_empty(w, MINS(1)));
	assert_int_equal(sent_by(w, "a.example/v3"), 3);
	reroute(w, "a.example/v3", "v1", HOUR(1));
	put(w, "a.example", .messages = 3);
	assert_true(run_until_empty(w, MINS(1)));
	assert_int_equal(sent_by(w, "a.example/v1"), 3);
	world_run(w, MINS(5));
	world_check(w);
	world_free(w);
}

static void
a_refused_recipient_goes_by_the_other_virtual_mta_at_once_but_once(void **state)
{
	struct world *w = world_with("retry_recipients_after = \"10m\"");
	struct queue *q;
	struct rcpt *rcpt;

	w->play.reply_us = SEC(10);
	put(w, "a.example");
	world_run(w, SEC(1));
	q = queue_called(w, "a.example/v1");
	rcpt = list_first(&q->sending, struct rcpt, node);
	list_first(&w->sessions, struct played, node)->n = 0;
	reroute(w, "a.example/v1", "v2", HOUR(1));
	queue_rcpt_defer_for(rcpt, NULL, true, w->loop.now);
	world_run(w, SEC(1));
	assert_int_equal(sent_by(w, "a.example/v2"), 1);
	assert_int_equal(rcpt->attempts, 1);
	list_entry(w->sessions.prev, struct played, node)->n = 0;
	queue_rcpt_defer_for(rcpt, NULL, true, w->loop.now);
	assert_int_equal(rcpt->due.key - world_now(w), MINS(10));
	assert_ptr_equal(rcpt->queue, q);
	assert_null(rcpt->home);
	world_free(w);
}

static void
a_paused_queue_keeps_its_mail_whatever_reroutes_it(void **state)
{
	struct world *w = world_with("bounce_after = \"1d\"");
	unsigned n;

	queues_pause(w->queues, SPAN("*/v1"), NULL, true, &n, w->loop.now);
	put(w, "a.example", .messages = 3);
	world_run(w, SEC(1));
	reroute(w, "a.example/v1", "v2", HOUR(1));
	world_run(w, MINS(1));
	assert_int_equal(w->sent_n, 0);
	queues_pause(w->queues, SPAN("*"), NULL, false, &n, w->loop.now);
	assert_true(run_until_empty(w, MINS(1)));
	assert_int_equal(sent_by(w, "a.example/v2"), 3);
	world_free(w);
}

static void
what_comes_due_in_a_paused_queue_does_not_leave_it_by_another_way(void **state)
{
	struct world *w = world_with("bounce_after = \"1d\", retry_recipients_after = \"10m\"");
	static const char *const jobs[] = { NULL, "bulk" };

	for (unsigned i = 0; i < countof(jobs); i++) {
		uint64_t delivered = w->delivered;
		unsigned n;

		w->play.temp = 1000;
		put(w, "a.example", .messages = 5, .job = "bulk");
		world_run(w, MINS(1));
		assert_int_equal(queue_called(w, "a.example/v1")->deferred_n, 5);
		w->play.temp = 0;
		reroute(w, "a.example/v1", "v2", HOUR(10));
		queues_pause(w->queues, SPAN("a.example/v1"), jobs[i], true, &n, w->loop.now);
		world_run(w, HOUR(1));
		assert_int_equal(w->delivered, delivered);
		queues_retry(w->queues, SPAN("*"), true, NULL, &n, w->loop.now);
		world_run(w, MINS(1));
		assert_int_equal(w->delivered, delivered);
		assert_int_equal(queue_n(queue_called(w, "a.example/v1")), 5);
		queues_pause(w->queues, SPAN("a.example/v1"), jobs[i], false, &n, w->loop.now);
		assert_true(run_until_empty(w, MINS(1)));
		queues_lift(w->queues, SPAN("*"), NULL, &n, w->loop.now);
	}
	assert_int_equal(sent_by(w, "a.example/v2"), 10);
	world_free(w);
}

static void
only_another_way_calls_back_those_that_are_away(void **state)
{
	struct world *w = world_with("bounce_after = \"1d\"");
	struct queue *q;

	put(w, "a.example");
	world_run(w, MS(1));
	q = queue_called(w, "a.example/v1");
	reroute(w, "a.example/v1", "v2", HOUR(1));
	assert_false(q->recall);
	reroute(w, "a.example/v1", "v2", HOUR(2));
	assert_false(q->recall);
	reroute(w, "a.example/v1", "v1", HOUR(2));
	assert_string_equal(q->hold.reroute, "v2");     /* the first one's */
	queue_lift(q, "v2", w->loop.now);
	assert_string_equal(q->hold.reroute, "v1");
	assert_true(q->recall);
	world_run(w, MS(1));
	assert_false(q->recall);
	queue_lift(q, NULL, w->loop.now);
	assert_true(q->recall);
	world_free(w);
}

static void
mail_that_is_away_is_bounced_and_expires_like_any_other(void **state)
{
	struct world *w = world_with("bounce_after = \"30m\"");
	unsigned n;

	queues_pause(w->queues, SPAN("*/v2"), NULL, true, &n, w->loop.now);
	w->queues->stopping = true;
	put(w, "a.example", .messages = 5);
	world_run(w, MS(10));
	reroute(w, "a.example/v1", "v2", HOUR(1));
	w->queues->stopping = false;
	world_run(w, SEC(1));
	assert_int_equal(queue_called(w, "a.example/v2")->ready_n, 5);
	assert_true(run_until_empty(w, MINS(31)));
	assert_int_equal(w->given_up_n, 5);
	world_run(w, MINS(3));
	assert_int_equal(w->queues->routes.n, 0);
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ready_mail_goes_by_the_other_virtual_mta_and_what_waits_comes_back),
		cmocka_unit_test(what_has_to_wait_waits_at_home_and_goes_away_when_it_is_due),
		cmocka_unit_test(a_pools_member_is_the_same_for_a_message),
		cmocka_unit_test(a_sites_reroute_leaves_who_sends_by_it_alone),
		cmocka_unit_test(a_member_sends_by_the_others_of_its_pool),
		cmocka_unit_test(ways_are_followed_on_and_a_circle_ends_at_home),
		cmocka_unit_test(a_refused_recipient_goes_by_the_other_virtual_mta_at_once_but_once),
		cmocka_unit_test(a_paused_queue_keeps_its_mail_whatever_reroutes_it),
		cmocka_unit_test(what_comes_due_in_a_paused_queue_does_not_leave_it_by_another_way),
		cmocka_unit_test(only_another_way_calls_back_those_that_are_away),
		cmocka_unit_test(mail_that_is_away_is_bounced_and_expires_like_any_other),
	};

	return cmocka_run_group_tests(tests, fixture_folder, fixture_folder_gone);
}
