/* What lies on a queue, its site or its virtual MTA is what holds: sessions, rates, retries, suspensions, other ways. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/queue_fixture.h"

#define POLICY \
	"vmta \"v1\" { source = { \"192.0.2.1\", \"192.0.2.2\" } }\nvmta \"v2\" { source = \"any\" }\nvmta \"v3\" { source = \"any\" }\n" \
	"pool \"others\" { \"v2\", \"v3\" }\n" \
	"domain \"*\" { retry_jitter = \"0%%\", max_smtp_out = 6, total_max_smtp_out = 8, %s }\n"

static struct world *
world_with(const char *settings)
{
	char policy[1000];

	snprintf(policy, sizeof policy, POLICY, settings);
	return world_new(policy);
}

static struct tightening
cap(enum setting_id setting, uint32_t n)
{
	return (struct tightening){ .setting = setting, .count = n };
}

static struct overlay_spec
rule(const char *name, int64_t lasts, const struct tightening *t, unsigned n)
{
	return (struct overlay_spec){
		.name = name, .pattern = name, .reply = "421 no", .where = { "p.lua", 7, "" }, .lasts_us = lasts,
		.tightenings = t, .tightenings_n = n,
	};
}

static void
lay(struct world *w, const char *queue, enum overlay_scope scope, const struct overlay_spec *spec)
{
	assert_true(queue_lay(queue_called(w, queue), scope, spec, world_now(w), w->loop.now));
}

static void
suspend(struct world *w, const char *queue, enum overlay_scope scope, int64_t lasts)
{
	struct overlay_spec spec = rule("suspend", lasts, NULL, 0);

	spec.suspend = true;
	lay(w, queue, scope, &spec);
}

static void
reroute(struct world *w, const char *queue, const char *to, int64_t lasts)
{
	struct overlay_spec spec = rule(to, lasts, NULL, 0);

	spec.reroute = to;
	lay(w, queue, OVERLAY_QUEUE, &spec);
}

static const struct gate_state *
gate_of(const struct queue *q, mono_us_t now, enum gate gate)
{
	static struct gate_answer answer;

	gate_decide(q, now, &answer);
	for (unsigned i = 0; i < answer.n; i++)
		if (answer.all[i].gate == gate)
			return &answer.all[i];
	return NULL;
}

static enum play_answer
temporarily(struct world *w, struct played *s, const struct rcpt *rcpt)
{
	return PLAY_TEMP;
}

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

/* ---- other ways ---- */

static unsigned
sent_by(const struct world *w, const char *queue)
{
	unsigned n = 0;

	for (size_t i = 0; i < w->sent_n; i++)
		n += strcmp(w->sent[i].queue->name, queue) == 0;
	return n;
}

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
		cmocka_unit_test(what_is_in_force_is_a_copy_while_an_overlay_lies_there),
		cmocka_unit_test(sessions_above_the_overlays_cap_end_and_just_they),
		cmocka_unit_test(a_rate_is_kept_while_overlays_come_and_go),
		cmocka_unit_test(caps_of_a_site_and_of_a_virtual_mta_lie_on_those),
		cmocka_unit_test(a_percent_is_of_the_scope_that_it_lies_on),
		cmocka_unit_test(waits_are_lengthened_for_the_queue_and_for_its_recipients),
		cmocka_unit_test(a_recipients_own_floor_is_longer_than_all_others_or_nothing),
		cmocka_unit_test(a_suspended_queue_finishes_its_messages_and_goes_on_at_the_end),
		cmocka_unit_test(the_longest_suspension_counts_and_lifting_ends_it),
		cmocka_unit_test(a_deferred_queue_ends_its_sessions_waits_and_steps),
		cmocka_unit_test(with_every_source_off_the_queue_waits_for_the_first_to_come_back),
		cmocka_unit_test(with_any_source_one_that_is_off_turns_all_off),
		cmocka_unit_test(it_lies_on_the_name_and_outlives_the_queue_and_the_process),
		cmocka_unit_test(a_hand_suspends_what_is_there_and_what_comes_and_lifts_either),
		cmocka_unit_test(a_clock_that_was_set_back_over_a_restart_prolongs_nothing),
		cmocka_unit_test(what_lies_on_a_site_or_a_virtual_mta_without_a_queue_can_be_lifted),
		cmocka_unit_test(a_queue_that_was_lifted_stays_so_when_it_is_made_anew_under_a_wider_suspension),
		cmocka_unit_test(lifting_reaches_queues_that_are_not_there_now),
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
		cmocka_unit_test(a_paused_job_is_held_beside_the_ring_and_comes_back),
		cmocka_unit_test(a_resume_of_the_whole_ends_the_pauses_of_its_jobs),
		cmocka_unit_test(a_paused_job_stays_so_across_a_restart_and_expires_in_its_time),
	};

	return cmocka_run_group_tests(tests, fixture_folder, fixture_folder_gone);
}
