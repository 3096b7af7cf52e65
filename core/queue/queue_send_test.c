/* Transactions and the sessions that carry them: what goes together, and when a session ends or gives way. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/queue_fixture.h"

#define VMTA "vmta \"v1\" { source = \"any\" }\n"

static struct world *
world_with(const char *settings)
{
	char policy[1000];

	snprintf(policy, sizeof policy, VMTA "vmta \"v2\" { source = \"any\" }\ndomain \"*\" { %s }\n", settings);
	return world_new(policy);
}

static void
recipients_of_a_message_go_together_as_far_as_the_receiver_takes_them(void **state)
{
	struct world *w = world_with("max_rcpt_per_message = 3, max_smtp_out = 1");
	static const unsigned batches[] = { 3, 3, 3, 3, 3, 3, 2, 2 };

	put(w, "a.example", .n = 8);
	put(w, "a.example", .n = 3);
	assert_true(run_until_empty(w, SEC(10)));
	assert_int_equal(w->sent_n, 11);
	for (unsigned i = 0; i < 8; i++) {
		assert_int_equal(w->sent[i].batch, batches[i]);
		assert_int_equal(w->sent[i].index, i);
	}
	assert_int_equal(w->started, 1);
	world_free(w);
}

static void
recipients_at_two_sites_are_two_transactions(void **state)
{
	struct world *w = world_with("max_smtp_out = 1");

	put(w, "a.example,b.example", .n = 6);
	assert_true(run_until_empty(w, SEC(10)));
	for (size_t i = 0; i < w->sent_n; i++) {
		assert_int_equal(w->sent[i].batch, 3);
		assert_string_equal(w->sent[i].queue->name, w->sent[i].index % 2 ? "b.example/v1" : "a.example/v1");
	}
	world_free(w);
}

static void
a_message_to_two_sites_is_split_at_each_by_max_rcpt_per_message(void **state)
{
	struct world *w = world_with("max_smtp_out = 1, max_rcpt_per_message = 2");
	unsigned n[3] = { 0 };

	put(w, "a.example,b.example", .n = 6);
	assert_true(run_until_empty(w, SEC(10)));
	assert_int_equal(w->sent_n, 6);
	for (size_t i = 0; i < w->sent_n; i++) {
		assert_in_range(w->sent[i].batch, 1, 2);
		n[w->sent[i].batch]++;
	}
	assert_int_equal(n[2], 4);
	assert_int_equal(n[1], 2);
	world_free(w);
}

static void
a_paced_rate_splits_a_transaction_and_a_burst_does_not(void **state)
{
	struct world *w = world_with("max_msg_rate = \"60/m\"");

	put(w, "a.example", .n = 5);
	assert_true(run_until_empty(w, SEC(20)));
	for (size_t i = 0; i < 5; i++) {
		assert_int_equal(w->sent[i].batch, 1);
		if (i > 0)
			assert_in_range(w->sent[i].at - w->sent[i - 1].at, SEC(1), MS(1010));
	}
	assert_int_equal(w->started, 1);
	world_free(w);

	w = world_with("max_msg_rate = { \"60/m\", burst = 10 }");
	put(w, "a.example", .n = 12);
	assert_true(run_until_empty(w, SEC(20)));
	assert_int_equal(w->sent[0].batch, 10);
	assert_int_equal(w->sent[9].batch, 10);
	assert_int_equal(w->sent[10].batch, 1);
	assert_int_equal(w->sent[11].batch, 1);
	world_free(w);
}

static void
a_session_ends_after_max_msg_per_connection_messages(void **state)
{
	struct world *w = world_with("max_msg_per_connection = 3, max_smtp_out = 1");
	uint64_t sessions[7];

	put(w, "a.example", .n = 5, .messages = 7);
	assert_true(run_until_empty(w, SEC(30)));
	for (unsigned i = 0; i < 7; i++)
		sessions[i] = w->sent[i * 5].session_id;
	assert_int_equal(w->started, 3);
	assert_true(sessions[0] == sessions[2] && sessions[2] != sessions[3]);
	assert_true(sessions[3] == sessions[5] && sessions[5] != sessions[6]);
	world_free(w);
}

static void
an_idle_session_waits_its_idle_timeout_and_takes_what_comes(void **state)
{
	struct world *w = world_with("");

	put(w, "a.example");
	world_run(w, SEC(4));
	put(w, "a.example");
	world_run(w, SEC(4));
	assert_int_equal(w->delivered, 2);
	assert_int_equal(w->started, 1);
	world_run(w, SEC(2));
	assert_true(list_empty(&w->sessions));
	world_free(w);
}

static void
a_session_held_by_a_rate_stays_open_for_four_minutes(void **state)
{
	struct world *w = world_with("max_msg_rate = \"400/h\"");

	put(w, "a.example", .messages = 30);
	assert_true(run_until_empty(w, MINS(5)));
	assert_int_equal(w->started, 1);
	world_free(w);

	/* A message every ten minutes: not held for all of them, and none is opened before it may send. */
	w = world_with("max_msg_rate = \"6/h\"");
	put(w, "a.example", .messages = 5);
	world_run(w, MINS(5));
	assert_true(list_empty(&w->sessions));
	assert_true(run_until_empty(w, HOUR(1)));
	assert_int_equal(w->started, 5);
	for (unsigned i = 1; i < 5; i++)
		assert_in_range(w->sent[i].at - w->sent[i - 1].at, MINS(10), MINS(10) + SEC(1));
	world_free(w);
}

static void
a_session_held_by_a_rate_waits_as_an_idle_one_when_its_mail_is_gone(void **state)
{
	struct world *w = world_with("max_msg_rate = \"6/h\", bounce_after = \"1h\"");

	put(w, "a.example");
	world_run(w, SEC(1));
	put(w, "a.example", .age_us = MINS(59));
	world_run(w, SEC(58));
	assert_int_equal(w->queues->sessions_n, 1);
	assert_int_equal(w->given_up_n, 0);
	world_run(w, SEC(10));
	assert_int_equal(w->given_up_n, 1);
	assert_int_equal(w->queues->sessions_n, 0);
	world_free(w);
}

static void
sessions_above_a_lowered_cap_end_at_their_next_message(void **state)
{
	struct world *w = world_with("max_smtp_out = 6");
	struct queue *q;

	/* Sessions that have come and gone before are not counted. */
	put(w, "a.example", .messages = 6);
	world_run(w, SEC(6));
	assert_int_equal(w->queues->sessions_n, 0);
	w->play.reply_us = SEC(1);
	put(w, "a.example", .messages = 200);
	world_run(w, SEC(5));
	q = queue_called(w, "a.example/v1");
	assert_int_equal(q->slots_n, 6);
	q->scope.limits.max_smtp_out = 2;
	queue_poll(q, w->loop.now);
	world_run(w, MS(1100));
	assert_int_equal(q->slots_n, 2);
	w->bounds[SCOPE_QUEUE].cap = 2;
	world_run(w, SEC(30));
	assert_int_equal(q->slots_n, 2);
	q->scope.limits.max_smtp_out = 6;
	w->bounds[SCOPE_QUEUE].cap = 6;
	queue_poll(q, w->loop.now);
	world_run(w, SEC(1));
	assert_int_equal(q->slots_n, 6);
	world_free(w);
}

/* Two domains of one provider with different hosts share the queue, in two lanes. */
static void
a_session_gives_way_to_mail_for_other_hosts_of_its_queue(void **state)
{
	struct world *w = world_new(VMTA "provider \"p\" { domains = { \"a.example\", \"b.example\" }, max_smtp_out = 1 }");
	size_t first = SIZE_MAX;

	w->play.reply_us = MS(100);
	put(w, "a.example", .messages = 1000);
	world_run(w, SEC(1));
	put(w, "b.example", .messages = 50);
	world_run(w, SEC(4));
	for (size_t i = 0; i < w->sent_n && first == SIZE_MAX; i++)
		if (w->sent[i].session_id != w->sent[0].session_id)
			first = i;
	assert_in_range(first, 20, 21);
	assert_int_equal(w->meters[SCOPE_QUEUE].n, 1);
	/* And back: neither starves. */
	world_run(w, SEC(12));
	assert_null(queues_find(w->queues, SPAN("b.example/v1")));
	assert_in_range(queue_called(w, "p/v1")->ready_n, 800, 950);
	world_free(w);
}

static void
a_slow_session_gives_way_after_half_a_minute(void **state)
{
	struct world *w = world_new("node { max_smtp_out = 1 }\n" VMTA);
	mono_us_t put_at;

	w->play.reply_us = SEC(8);
	put(w, "a.example", .messages = 100);
	world_run(w, SEC(1));
	put(w, "b.example");
	put_at = world_now(w);
	while (w->meters[SCOPE_QUEUE].n < 2 && world_now(w) < put_at + MINS(5))
		world_run(w, SEC(1));
	assert_in_range(world_now(w) - put_at, SEC(29), SEC(45));
	world_free(w);
}

static void
a_session_without_mail_leaves_a_place_that_others_wait_for_at_once(void **state)
{
	struct world *w = world_new("node { max_smtp_out = 2 }\n" VMTA);

	put(w, "a.example");
	put(w, "b.example", .messages = 3);
	put(w, "c.example");
	put(w, "d.example");
	/* Nobody waits for an idle timeout. */
	assert_true(run_until_empty(w, SEC(1)));
	world_free(w);
}

static void
a_node_that_stops_starts_nothing_and_ends_sessions_at_their_message(void **state)
{
	struct world *w = world_with("max_smtp_out = 3");
	unsigned sent;

	w->play.reply_us = SEC(1);
	put(w, "a.example", .messages = 100);
	world_run(w, SEC(3));
	w->queues->stopping = true;
	sent = (unsigned)w->sent_n;
	world_run(w, SEC(2));
	assert_true(list_empty(&w->sessions));
	assert_int_equal(w->sent_n, sent);
	put(w, "b.example");
	world_run(w, MINS(2));
	assert_int_equal(w->sent_n, sent);
	w->queues->stopping = false;
	queues_poll_all(w->queues, w->loop.now);
	assert_true(run_until_empty(w, MINS(2)));
	world_free(w);
}

static void
no_session_is_started_for_mail_that_others_are_on_their_way_for(void **state)
{
	struct world *w = world_with("max_smtp_out = 20");

	put(w, "a.example", .messages = 3);
	world_run(w, MS(10));
	assert_int_equal(w->started, 3);
	world_run(w, MINS(1));
	assert_int_equal(w->started, 3);
	world_free(w);

	w = world_with("max_smtp_out = 20, max_rcpt_per_message = 20");
	put(w, "a.example", .n = 50);
	assert_true(run_until_empty(w, MINS(1)));
	assert_int_equal(w->started, 3);
	world_free(w);

	/* A token that a connecting session will take is not there for another one. */
	w = world_with("max_smtp_out = 20, max_msg_rate = \"1/s\"");
	w->play.connect_us = SEC(3);
	put(w, "a.example", .messages = 8);
	world_run(w, MS(2900));
	assert_int_equal(w->started, 1);
	assert_true(run_until_empty(w, MINS(1)));
	assert_int_equal(w->started, 1);
	world_free(w);
}

/* As long as the rate puts between two; a payment that waits longer would bunch up with those behind it. */
static void
a_connection_that_starts_long_after_it_was_paid_for_is_paid_again(void **state)
{
	struct world *w = world_with("max_connect_rate = \"60/m\"");
	const struct queue_slot *slot;

	w->play.reply_us = SEC(5);
	put(w, "a.example");
	world_run(w, SEC(1));
	slot = &list_first(&w->sessions, struct played, node)->slot;
	assert_false(queue_slot_payment_lapsed(slot, world_now(w), world_now(w)));
	assert_false(queue_slot_payment_lapsed(slot, world_now(w) - MS(999), world_now(w)));
	assert_true(queue_slot_payment_lapsed(slot, world_now(w) - SEC(1), world_now(w)));
	world_run(w, MINS(1));
	world_free(w);

	w = world_with("");
	w->play.reply_us = SEC(5);
	put(w, "a.example");
	world_run(w, SEC(1));
	slot = &list_first(&w->sessions, struct played, node)->slot;
	assert_false(queue_slot_payment_lapsed(slot, 0, world_now(w)));
	world_run(w, MINS(1));
	world_free(w);
}

static void
a_recipient_that_is_postponed_comes_again_in_a_minute_and_not_as_an_attempt(void **state)
{
	struct world *w = world_with("");
	struct played *s;
	struct rcpt *rcpt;

	w->play.reply_us = SEC(5);
	put(w, "a.example");
	world_run(w, SEC(1));
	s = list_first(&w->sessions, struct played, node);
	rcpt = s->rcpts[0];
	s->n = 0;
	queue_rcpt_postpone(rcpt, w->loop.now);
	world_run(w, SEC(58));
	assert_int_equal(w->sent_n, 1);
	assert_int_equal(rcpt->attempts, 0);
	world_run(w, SEC(4));
	assert_int_equal(w->sent_n, 2);
	world_free(w);
}

static void
further_connects_of_a_session_pay_too(void **state)
{
	struct world *w = world_with("max_connect_rate = \"60/m\", max_smtp_out = 1, retry_after = \"1m\"");

	world_bound(w, SCOPE_QUEUE, 1, "60/m", "unlimited");
	w->play.refuse = 1000;
	w->play.hosts = 5;
	put(w, "a.example");
	world_run(w, SEC(10));
	assert_int_equal(w->started, 1);
	assert_int_equal(meter_of(w, SCOPE_QUEUE, "a.example/v1")->connects.total, 5);
	assert_in_range(w->failed_at[0] - HOUR(1000), SEC(4), MS(4300));
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(recipients_of_a_message_go_together_as_far_as_the_receiver_takes_them),
		cmocka_unit_test(recipients_at_two_sites_are_two_transactions),
		cmocka_unit_test(a_message_to_two_sites_is_split_at_each_by_max_rcpt_per_message),
		cmocka_unit_test(a_paced_rate_splits_a_transaction_and_a_burst_does_not),
		cmocka_unit_test(a_session_ends_after_max_msg_per_connection_messages),
		cmocka_unit_test(an_idle_session_waits_its_idle_timeout_and_takes_what_comes),
		cmocka_unit_test(a_session_held_by_a_rate_stays_open_for_four_minutes),
		cmocka_unit_test(a_session_held_by_a_rate_waits_as_an_idle_one_when_its_mail_is_gone),
		cmocka_unit_test(sessions_above_a_lowered_cap_end_at_their_next_message),
		cmocka_unit_test(a_session_gives_way_to_mail_for_other_hosts_of_its_queue),
		cmocka_unit_test(a_slow_session_gives_way_after_half_a_minute),
		cmocka_unit_test(a_session_without_mail_leaves_a_place_that_others_wait_for_at_once),
		cmocka_unit_test(a_node_that_stops_starts_nothing_and_ends_sessions_at_their_message),
		cmocka_unit_test(no_session_is_started_for_mail_that_others_are_on_their_way_for),
		cmocka_unit_test(a_connection_that_starts_long_after_it_was_paid_for_is_paid_again),
		cmocka_unit_test(a_recipient_that_is_postponed_comes_again_in_a_minute_and_not_as_an_attempt),
		cmocka_unit_test(further_connects_of_a_session_pay_too),
	};
	return cmocka_run_group_tests(tests, fixture_folder, fixture_folder_gone);
}
