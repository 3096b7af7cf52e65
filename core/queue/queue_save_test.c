/* Limits, retry steps and pauses across a restart, clean or not, and over a clock that jumps. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/queue_fixture.h"

#define POLICY \
	"node { max_msg_rate = \"3300/h\" }\n" \
	"vmta \"v1\" { source = \"any\", max_msg_rate = \"3500/h\", max_connect_rate = \"400/h\" }\n" \
	"vmta \"v2\" { source = \"any\" }\n" \
	"pool \"p\" { \"v1\", \"v2\", max_msg_rate = \"3400/h\" }\n" \
	"domain \"*\" { max_msg_rate = \"60/m\", total_max_msg_rate = \"59/m\", max_connect_rate = \"400/h\", " \
	"retry_after = \"10m,20m,1h\", retry_jitter = \"0%\" }\n"

static mono_us_t
next_of(const struct rate *rate, const struct rate_spec *spec, const struct world *w)
{
	return rate_ready_at(rate, spec, world_now(w)) - world_now(w);
}

/* When each of a queue's rates lets the next one go, from now. */
static void
when_all(struct world *w, const char *name, mono_us_t out[2 * SCOPES_N])
{
	const struct queue *q = queue_called(w, name);

	for (int i = 0; i < SCOPES_N; i++) {
		out[2 * i] = next_of(&q->scopes[i]->use->connects, &q->scopes[i]->limits.max_connect_rate, w);
		out[2 * i + 1] = next_of(&q->scopes[i]->use->messages, &q->scopes[i]->limits.max_msg_rate, w);
	}
}

static void
limits_survive_a_clean_restart_exactly(void **state)
{
	static const int64_t away[] = { 0, MS(300), SEC(2) };

	for (unsigned i = 0; i < countof(away); i++) {
		struct world *w = world_new(POLICY);
		mono_us_t before[2 * SCOPES_N], after[2 * SCOPES_N];

		put(w, "a.example", .messages = 30);
		world_run(w, SEC(7) + MS(123));
		when_all(w, "a.example/v1", before);
		for (int k = 0; k < SCOPES_N; k++)
			assert_true(before[2 * k + 1] > 0);
		assert_true(before[0] > 0 && before[2 * SCOPE_VMTA] > 0);
		world_restart(w, NULL, true, away[i], 0);
		w->queues->stopping = true;
		put(w, "a.example", .messages = 30);
		world_run(w, MS(1));
		when_all(w, "a.example/v1", after);
		for (unsigned k = 0; k < countof(before); k++)
			if (after[k] < max_i64(0, before[k] - away[i] - MS(1)) || after[k] > max_i64(0, before[k] - away[i]) + 10)
				fail_msg("scope %u: %lld before, %lld after", k / 2, (long long)before[k], (long long)after[k]);
		world_free(w);
	}
}

#define SITES_TOTAL \
	"node { max_msg_rate = %s }\nvmta \"v1\" { source = \"any\", max_msg_rate = %s }\nvmta \"v2\" { source = \"any\" }\n" \
	"pool \"p\" { \"v1\", \"v2\", max_msg_rate = %s }\ndomain \"*\" { %smax_msg_rate = %s, max_smtp_out = 3, " \
	"max_msg_per_connection = 10, %smax_connect_rate = %s }\n"

/* A burst of its own in each life. */
static void
draw_rate(struct prng *prng, const char *rate, char out[60])
{
	struct rate_spec spec;
	struct err err = { 0 };

	assert_true(rate_parse(span_text(rate), &spec, &err));
	if (prng_below(prng, 3) == 0)
		snprintf(out, 60, "\"%s\"", rate);
	else
		snprintf(out, 60, "{ \"%s\", burst = %u }", rate, 1 + (unsigned)prng_below(prng, spec.count - 1));
}

static void
draw_policy(struct prng *prng, const char *rate, const char *total, char policy[900])
{
	char r[5][60];

	for (unsigned i = 0; i < countof(r); i++)
		draw_rate(prng, rate, r[i]);
	snprintf(policy, 900, SITES_TOTAL, r[0], r[1], r[2], total, r[3], total, r[4]);
}

/* The meters see all lives. */
static void
no_rate_is_passed_in_any_window_across_a_restart(void **state)
{
	static const char *const rates[] = { "60/m", "30/10s", "5/s", "400/h", "1000/10m" };

	for (uint64_t seed = 0; seed < 300; seed++) {
		const char *rate = rates[seed % countof(rates)], *total = seed / 5 % 2 ? "total_" : "";
		enum scope_level held = seed / 5 % 2 ? SCOPE_SITE : SCOPE_QUEUE;
		bool one_policy = seed / 10 % 2;
		char policy[900];
		struct world *w;
		struct prng prng;

		prng_seed(&prng, seed);
		draw_policy(&prng, rate, total, policy);
		w = world_new(policy);
		world_bound(w, SCOPE_VMTA, 0, "unlimited", "unlimited");        /* v2 has none */
		world_bound(w, SCOPE_POOL, 0, "unlimited", rate);
		world_bound(w, SCOPE_NODE, 0, "unlimited", rate);
		world_bound(w, held, 0, rate, rate);
		for (unsigned life = 0; life < 6; life++) {
			put(w, "a.example", .messages = 10 + (unsigned)prng_below(&prng, 300));
			put(w, "a.example", .messages = 10 + (unsigned)prng_below(&prng, 300), .vmta = "v2");
			world_run(w, MS(1) * (int64_t)prng_below(&prng, 20000));
			if (prng_below(&prng, 2))
				world_run(w, MINS(2));
			draw_policy(&prng, rate, total, policy);
			world_restart(w, one_policy ? NULL : policy, prng_below(&prng, 2), MS(1) * (int64_t)prng_below(&prng, 5000),
				      prng_below(&prng, 3) ? 0 : -(int64_t)prng_below(&prng, 10000000));
		}
		world_free(w);
	}
}

static void
after_a_crash_every_limiter_begins_as_if_it_were_used_up(void **state)
{
	struct world *w = world_new(POLICY);
	mono_us_t after[2 * SCOPES_N];

	put(w, "a.example");
	world_run(w, HOUR(2));          /* all is long refilled */
	world_restart(w, NULL, false, SEC(1), 0);
	w->queues->stopping = true;
	put(w, "b.example");            /* known or not */
	world_run(w, MS(1));
	when_all(w, "b.example/v1", after);
	assert_in_range(after[1], MS(990), MS(1001));
	for (int i = 1; i < SCOPES_N; i++)
		assert_in_range(after[2 * i + 1], MS(1000), MS(1100));
	world_run(w, MINS(2));
	when_all(w, "b.example/v1", after);
	assert_int_equal(after[1], 0);
	world_free(w);
}

static void
what_counts_as_spent_does_so_after_the_machine_began_anew_too(void **state)
{
	struct world *w = world_new(POLICY), *booted = world_new(POLICY);
	struct buf saved;

	world_run(w, HOUR(2));
	world_restart(w, NULL, false, SEC(1), 0);
	buf_init(&saved, 0);
	queues_save(w->queues, w->loop.now, &saved);
	booted->loop.now.wall.ms = w->loop.now.wall.ms + world_now(booted) / US_PER_MS + 1000;
	queues_load(booted->queues, buf_span(&saved), true, booted->loop.now);
	assert_int_equal(booted->queues->spent_at, 1);
	buf_fini(&saved);
	world_free(booted);
	world_free(w);
}

static void
a_clean_restart_soon_after_a_crash_hands_out_no_more(void **state)
{
	struct world *w = world_new(POLICY);
	mono_us_t after[2 * SCOPES_N];

	put(w, "a.example");
	world_run(w, HOUR(2));
	world_restart(w, NULL, false, SEC(1), 0);
	world_restart(w, NULL, true, MS(100), 0);
	w->queues->stopping = true;
	put(w, "b.example");            /* nobody has heard of it */
	world_run(w, MS(1));
	when_all(w, "b.example/v1", after);
	assert_in_range(after[1], MS(890), MS(901));
	world_free(w);
}

/* A restart of the machine: its monotonic clock begins again. */
static void
limits_survive_a_clean_restart_of_the_machine(void **state)
{
	struct world *w = world_new("vmta \"v1\" { source = \"any\" }\ndomain \"*\" { max_msg_rate = { \"400/h\", burst = 300 } }");
	int64_t back;
	size_t before;

	w->play.reply_us = MS(1);
	put(w, "a.example", .messages = 200);
	assert_true(run_until_empty(w, MINS(2)));
	back = world_now(w) - SEC(20);
	world_restart(w, NULL, true, -back, back / US_PER_MS);
	before = w->sent_n;
	put(w, "a.example", .messages = 400);
	world_run(w, MINS(1));
	assert_in_range(w->sent_n - before, 90, 120);
	world_free(w);
}

static void
a_rate_that_was_changed_while_the_node_was_down_is_no_fresh_one(void **state)
{
	struct world *w = world_new("vmta \"v1\" { source = \"any\" }\ndomain \"*\" { max_msg_rate = { \"400/h\", burst = 300 } }");

	world_bound(w, SCOPE_QUEUE, 0, "unlimited", "400/h");
	w->play.reply_us = MS(1);
	put(w, "a.example", .messages = 200);
	assert_true(run_until_empty(w, MINS(2)));
	world_restart(w, "vmta \"v1\" { source = \"any\" }\ndomain \"*\" { max_msg_rate = { \"400/h\", burst = 20 } }", true, SEC(5), 0);
	put(w, "a.example", .messages = 500);
	world_run(w, HOUR(1));          /* the meter counts */
	assert_in_range(w->sent_n, 300, 400);
	world_free(w);
}

/* More than that in any window, whatever queues it went by? */
static void
assert_sent_at_most(const struct world *w, unsigned most, int64_t window_us)
{
	for (size_t i = most; i < w->sent_n; i++)
		if (w->sent[i].at - w->sent[i - most].at < window_us)
			fail_msg("%u within %lld us", most + 1, (long long)(w->sent[i].at - w->sent[i - most].at));
}

#define LIMITED "max_msg_rate = \"24/10s\""

static void
mail_that_counts_elsewhere_after_a_restart_finds_a_limiter_that_is_used_up(void **state)
{
	static const struct { const char *before, *after, *vmta; } rows[] = {
		{ "vmta \"v1\" { source = \"any\" }\nprovider \"old\" { domains = { \"a.example\" }, " LIMITED " }\n",
		  "vmta \"v1\" { source = \"any\" }\nprovider \"new\" { domains = { \"a.example\" }, " LIMITED " }\n", "v1" },
		{ "vmta \"v1\" { source = \"any\" }\ndomain \"a.example\" { total_" LIMITED " }\n",
		  "vmta \"v1\" { source = \"any\" }\nprovider \"new\" { domains = { \"a.example\" }, total_" LIMITED " }\n", "v1" },
		{ "vmta \"v1\" { source = \"192.0.2.1\", " LIMITED " }\n", "vmta \"v2\" { source = \"192.0.2.1\", " LIMITED " }\n", "v2" },
		{ "vmta \"v1\" { source = \"any\" }\nnode { max_msg_rate = \"24/10s\" }\n",
		  "vmta \"v1\" { source = \"any\" }\ndomain \"*\" { " LIMITED " }\n", "v1" },
	};

	for (unsigned i = 0; i < countof(rows); i++) {
		struct world *w = world_new(rows[i].before);

		put(w, "a.example", .messages = 200);
		world_run(w, SEC(20) + MS(200));
		world_restart(w, rows[i].after, true, 0, 0);
		put(w, "a.example", .messages = 200, .vmta = rows[i].vmta);
		world_run(w, SEC(20));
		assert_true(w->sent_n >= 90);
		assert_sent_at_most(w, 24, SEC(10));
		world_free(w);
	}
}

static void
a_restart_with_a_name_that_limits_were_counted_under_before_hands_out_no_more(void **state)
{
	static const char *const policies[] = {
		"vmta \"v1\" { source = \"any\" }\nprovider \"one\" { domains = { \"a.example\" }, max_msg_rate = { \"24/10s\", burst = 12 } }\n",
		"vmta \"v1\" { source = \"any\" }\nprovider \"other\" { domains = { \"a.example\" }, max_msg_rate = { \"24/10s\", burst = 12 } }\n",
	};
	struct world *w = world_new(policies[0]);
	struct err err = { 0 };

	w->play.reply_us = MS(1);
	put(w, "a.example");
	world_run(w, SEC(1));
	assert_true(world_swap(w, policies[1], &err));
	world_run(w, SEC(30));
	put(w, "a.example", .messages = 50);
	world_run(w, SEC(1));
	world_restart(w, policies[0], true, 0, 0);
	put(w, "a.example", .messages = 200);
	world_run(w, SEC(20));
	assert_sent_at_most(w, 24, SEC(10));
	world_free(w);
}

static void
a_restart_with_the_same_names_and_other_amounts_goes_on_with_what_is_left(void **state)
{
	struct world *w = world_new("vmta \"v1\" { source = \"any\" }\ndomain \"*\" { max_msg_rate = { \"400/h\", burst = 300 } }");
	size_t sent;

	w->play.reply_us = MS(1);
	put(w, "a.example", .messages = 100);
	assert_true(run_until_empty(w, MINS(2)));
	sent = w->sent_n;
	world_restart(w, "vmta \"v1\" { source = \"any\" }\ndomain \"*\" { max_msg_rate = { \"500/h\", burst = 300 }, max_attempts = 3 }",
		      true, SEC(5), 0);
	put(w, "a.example", .messages = 500);
	world_run(w, MINS(1));
	assert_in_range(w->sent_n - sent, 190, 210);
	world_free(w);
}

static void
retry_time_and_steps_go_on(void **state)
{
	struct world *w = world_new(POLICY);
	mono_us_t failed;

	w->play.refuse = 1000;
	put(w, "a.example", .messages = 2);
	world_run(w, MINS(11));
	assert_int_equal(w->failures, 2);
	failed = w->failed_at[1];
	world_restart(w, NULL, false, MINS(1), 0);
	put(w, "a.example", .messages = 100);
	world_run(w, SEC(1));
	assert_string_equal(queue_called(w, "a.example/v1")->last_error, "400 4.4.1 connect timed out");
	world_run(w, MINS(30));
	/* The second step's twenty minutes, one session to probe, then the third step's hour. */
	assert_int_equal(w->failures, 3);
	assert_in_range(w->failed_at[2] - failed, MINS(20), MINS(20) + SEC(2));
	world_run(w, HOUR(1));
	assert_in_range(w->failed_at[3] - w->failed_at[2], HOUR(1), HOUR(1) + SEC(2));
	world_free(w);
}

static void
pauses_by_hand_go_on_and_hold_queues_that_come_later(void **state)
{
	struct world *w = world_new(POLICY);
	unsigned n;

	queues_pause(w->queues, SPAN("*.example/v1"), NULL, true, &n, w->loop.now);
	queues_pause(w->queues, SPAN("b.example/v2"), NULL, true, &n, w->loop.now);
	world_restart(w, NULL, false, SEC(1), 0);
	put(w, "a.example");
	put(w, "a.example", .vmta = "v2");
	put(w, "b.example", .vmta = "v2");
	world_run(w, MINS(1));
	assert_int_equal(w->delivered, 1);
	world_restart(w, NULL, true, SEC(1), 0);
	put(w, "b.example", .vmta = "v2");
	world_run(w, MINS(1));
	assert_int_equal(w->delivered, 1);
	queues_pause(w->queues, SPAN("*"), NULL, false, &n, w->loop.now);
	world_restart(w, NULL, true, SEC(1), 0);
	put(w, "a.example");
	world_run(w, MINS(1));
	assert_int_equal(w->delivered, 2);
	world_free(w);
}

static void
what_nobody_asked_for_is_kept_and_grows_older(void **state)
{
	struct world *w = world_new(POLICY);

	w->play.refuse = 1000;
	put(w, "a.example");
	world_run(w, MINS(1));
	for (unsigned i = 0; i < 3; i++) {
		world_restart(w, NULL, true, MINS(1), 0);
		world_run(w, MINS(1));
	}
	put(w, "a.example");
	world_run(w, SEC(1));
	assert_int_equal(w->failures, 1);
	assert_in_range(queue_called(w, "a.example/v1")->retry_until - world_now(w), MINS(3) - SEC(5), MINS(3) + SEC(5));
	world_run(w, MINS(3) + SEC(5));
	assert_int_equal(w->failures, 2);
	world_free(w);

	/* Not for ever. */
	w = world_new(POLICY);
	put(w, "a.example");
	world_run(w, MS(100));
	world_restart(w, NULL, true, HOUR(24 * 9), 0);
	world_restart(w, NULL, true, 0, 0);
	assert_null(table_get(&w->queues->saved, SPAN("queue a.example/v1")));
	world_free(w);
}

static void
a_clock_that_was_set_back_makes_limits_stricter_and_waits_no_longer(void **state)
{
	struct world *w = world_new(POLICY);

	w->play.refuse = 1000;
	put(w, "a.example");
	world_run(w, MINS(4));
	world_restart(w, NULL, true, MINS(1), -86400 * 365 * MS_PER_S);
	put(w, "a.example");
	world_run(w, SEC(1));
	assert_in_range(queue_called(w, "a.example/v1")->retry_until - world_now(w), MINS(5), MINS(7));
	world_free(w);

	w = world_new(POLICY);
	put(w, "a.example", .messages = 3);
	world_run(w, SEC(2) + MS(500));
	world_restart(w, NULL, true, 0, -3600 * MS_PER_S);
	w->queues->stopping = true;
	put(w, "a.example");
	world_run(w, MS(1));
	assert_in_range(next_of(&queue_called(w, "a.example/v1")->scope.use->messages, &queue_called(w, "a.example/v1")->scope.limits.max_msg_rate, w),
			MS(400), SEC(1));
	world_free(w);
}

static void
a_damaged_state_is_told_and_what_is_whole_of_it_holds(void **state)
{
	struct world *w = world_new(POLICY);
	struct buf saved;

	put(w, "a.example", .messages = 10);
	world_run(w, SEC(3));
	buf_init(&saved, 0);
	queues_save(w->queues, w->loop.now, &saved);
	for (size_t n = 0; n <= buf_len(&saved); n++) {
		struct world *other = world_new(POLICY);

		queues_load(other->queues, span_first(buf_span(&saved), n), true, other->loop.now);
		if (n > 9 && n < buf_len(&saved) && n % 7 == 0)
			assert_true(other->queues->saved.n > 0 || strstr(other->logged, "damaged") != NULL);
		/* Without the digest, the first entry, nobody knows whose limiters they are. */
		assert_int_equal(other->queues->spent_at, n < 18 || strstr(other->logged, "damaged") != NULL ? world_now(other) : 0);
		put(other, "a.example");
		assert_true(run_until_empty(other, MINS(2)));
		world_free(other);
	}
	buf_fini(&saved);
	world_free(w);
}

static void
a_state_that_did_not_change_says_so(void **state)
{
	struct world *w = world_new(POLICY);
	struct buf saved;

	buf_init(&saved, 0);
	put(w, "a.example");
	world_run(w, SEC(1));
	assert_true(w->queues->changed);
	queues_save(w->queues, w->loop.now, &saved);
	assert_false(w->queues->changed);
	world_run(w, MINS(1));
	assert_false(w->queues->changed);
	buf_fini(&saved);
	world_free(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(limits_survive_a_clean_restart_exactly),
		cmocka_unit_test(no_rate_is_passed_in_any_window_across_a_restart),
		cmocka_unit_test(after_a_crash_every_limiter_begins_as_if_it_were_used_up),
		cmocka_unit_test(a_clean_restart_soon_after_a_crash_hands_out_no_more),
		cmocka_unit_test(what_counts_as_spent_does_so_after_the_machine_began_anew_too),
		cmocka_unit_test(limits_survive_a_clean_restart_of_the_machine),
		cmocka_unit_test(a_rate_that_was_changed_while_the_node_was_down_is_no_fresh_one),
		cmocka_unit_test(mail_that_counts_elsewhere_after_a_restart_finds_a_limiter_that_is_used_up),
		cmocka_unit_test(a_restart_with_a_name_that_limits_were_counted_under_before_hands_out_no_more),
		cmocka_unit_test(a_restart_with_the_same_names_and_other_amounts_goes_on_with_what_is_left),
		cmocka_unit_test(retry_time_and_steps_go_on),
		cmocka_unit_test(pauses_by_hand_go_on_and_hold_queues_that_come_later),
		cmocka_unit_test(what_nobody_asked_for_is_kept_and_grows_older),
		cmocka_unit_test(a_clock_that_was_set_back_makes_limits_stricter_and_waits_no_longer),
		cmocka_unit_test(a_damaged_state_is_told_and_what_is_whole_of_it_holds),
		cmocka_unit_test(a_state_that_did_not_change_says_so),
	};
	return cmocka_run_group_tests(tests, fixture_folder, fixture_folder_gone);
}
