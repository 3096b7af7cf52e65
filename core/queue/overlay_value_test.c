/* What an overlay makes of a value: cut by a percent, recovered step by step, and never looser than what was there. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/overlay_fixture.h"

/* 20 in force, cut by matches of sessions that began at `opened`. */
static void
a_percent_cuts_what_is_in_force_down_to_its_floor(void **state)
{
	static const struct { double percent; uint32_t floor; unsigned matches; uint32_t expected; } rows[] = {
		{ 50, 1, 1, 10 }, { 50, 1, 2, 5 }, { 50, 1, 3, 2 }, { 50, 1, 4, 1 }, { 50, 1, 9, 1 },
		{ 50, 4, 3, 4 },  { 33, 1, 1, 6 }, { 29, 1, 1, 5 }, { 0, 1, 1, 1 },  { 0, 3, 1, 3 },
		{ 100, 1, 3, 20 }, { 50, 30, 1, 20 },
	};

	for (unsigned i = 0; i < countof(rows); i++) {
		struct bench *b;
		struct tightening t = percent(SETTING_max_smtp_out, rows[i].percent, rows[i].floor);
		struct overlay_spec spec = rule("half", 1, H, &t);

		set_up((void **)&b);
		for (unsigned m = 0; m < rows[i].matches; m++)
			lay(b, &spec, T0 + (int64_t)m * S, T0 + (int64_t)m * S);
		assert_int_equal(cap_now(b, T0 + MIN), rows[i].expected);
		tear_down((void **)&b);
	}
	(void)state;
}

static void
replies_to_sessions_that_were_open_before_the_cut_renew_it_and_do_not_cut_again(void **state)
{
	struct bench *b = *state;
	struct tightening t = percent(SETTING_max_smtp_out, 50, 1);
	struct overlay_spec spec = rule("half", 1, H, &t);
	struct overlay *o = lay(b, &spec, T0, T0 + S);

	for (int i = 0; i < 19; i++)
		lay(b, &spec, T0 + S, T0 + 2 * S);
	assert_int_equal(cap_now(b, T0 + 3 * S), 10);
	assert_int_equal(o->until, T0 + 2 * S + H);
	lay(b, &spec, T0 + S + 1, T0 + 4 * S);
	assert_int_equal(cap_now(b, T0 + 4 * S), 5);
	/* Nor do those that were open when the second cut was made. */
	lay(b, &spec, T0 + 4 * S, T0 + 5 * S);
	assert_int_equal(cap_now(b, T0 + 5 * S), 5);
}

static void
a_percent_is_of_what_others_have_left(void **state)
{
	struct bench *b = *state;
	struct tightening eight = cap(8), half = percent(SETTING_max_smtp_out, 50, 1);
	struct overlay_spec first = rule("eight", 1, H, &eight), second = rule("half", 2, 2 * H, &half);

	lay(b, &first, T0, T0);
	lay(b, &second, T0, T0);
	assert_int_equal(cap_now(b, T0), 4);
	/* It was made then, and stays that when the other is over. */
	run(b, T0 + H);
	assert_int_equal(cap_now(b, T0 + H), 4);
}

static void
a_percent_of_a_rate_keeps_its_window(void **state)
{
	struct bench *b = *state;
	struct tightening t = percent(SETTING_max_msg_rate, 25, 1);
	struct overlay_spec spec = rule("r", 1, H, &t);
	struct rate_spec rate = b->declared.max_msg_rate;
	struct where where;
	struct overlay *o = lay(b, &spec, T0, T0);

	assert_true(overlay_tighten(o, SETTING_max_msg_rate, &rate, &where, T0));
	assert_int_equal(rate.count, 500);
	assert_int_equal(rate.window_us, H);
	assert_string_equal(where.file, "p.lua");
	assert_int_equal(where.line, 1);
}

static void
a_percent_of_unlimited_is_nothing(void **state)
{
	struct bench *b = *state;
	struct tightening t = percent(SETTING_total_max_smtp_out, 50, 1);
	struct overlay_spec spec = rule("r", 1, H, &t);

	assert_int_equal(lay(b, &spec, T0, T0)->changes_n, 0);
}

static void
recovery_takes_a_step_each_interval_when_lasts_is_over(void **state)
{
	static const struct { uint32_t step; double percent; int64_t after; uint32_t expected; } rows[] = {
		{ 1, 0, 0, 16 },       { 1, 0, 9 * MIN, 16 },  { 1, 0, 10 * MIN, 17 }, { 1, 0, 25 * MIN, 18 },
		{ 1, 0, 39 * MIN, 19 }, { 1, 0, 40 * MIN, 20 },
		{ 3, 0, 10 * MIN, 19 }, { 3, 0, 20 * MIN, 20 },
		{ 0, 10, 10 * MIN, 18 }, { 0, 10, 20 * MIN, 20 },
		{ 0, 1, 10 * MIN, 17 },         /* a fifth of one is one */
	};

	for (unsigned i = 0; i < countof(rows); i++) {
		struct bench *b;
		struct tightening t = cap(16);
		struct overlay_spec spec = rule("r", 1, H, &t);

		set_up((void **)&b);
		spec.recover_step = rows[i].step;
		spec.recover_percent = rows[i].percent;
		spec.recover_every_us = 10 * MIN;
		lay(b, &spec, T0, T0);
		assert_int_equal(cap_now(b, T0 + H - 1), 16);
		run(b, T0 + H + rows[i].after);
		assert_int_equal(cap_now(b, T0 + H + rows[i].after), rows[i].expected);
		assert_int_equal(b->o.n, rows[i].expected == 20 ? 0 : 1);
		tear_down((void **)&b);
	}
	(void)state;
}

static void
each_step_of_recovery_is_told(void **state)
{
	struct bench *b = *state;
	struct tightening t = cap(18);
	struct overlay_spec spec = rule("r", 1, H, &t);

	spec.recover_step = 1;
	spec.recover_every_us = MIN;
	lay(b, &spec, T0, T0);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(overlays_next(&b->o), T0 + H + (int64_t)i * MIN);
		run(b, T0 + H + (int64_t)i * MIN);
		assert_int_equal(b->changes, i + 1);
	}
	assert_int_equal(b->o.n, 0);
}

static void
a_suspension_a_reroute_and_a_wait_do_not_recover(void **state)
{
	struct bench *b = *state;
	struct tightening t[] = { cap(10), { .setting = SETTING_retry_after_dns_error, .duration_us = H } };
	struct overlay_spec spec = rule("r", 1, H, t);
	int64_t wait = MIN;
	struct where where;
	struct overlay *o;

	spec.tightenings_n = 2;
	spec.suspend = true;
	spec.recover_step = 1;
	spec.recover_every_us = MIN;
	o = lay(b, &spec, T0, T0);
	assert_true(overlay_lasts(o, T0 + H - 1));
	assert_true(overlay_tighten(o, SETTING_retry_after_dns_error, &wait, &where, T0 + H - 1));
	wait = MIN;
	run(b, T0 + H);
	assert_false(overlay_lasts(o, T0 + H));
	assert_false(overlay_tighten(o, SETTING_retry_after_dns_error, &wait, &where, T0 + H));
	assert_int_equal(cap_now(b, T0 + H), 10);
}

static void
what_was_unlimited_recovers_at_once(void **state)
{
	struct bench *b = *state;
	struct tightening t = { .setting = SETTING_total_max_smtp_out, .count = 5 };
	struct overlay_spec spec = rule("r", 1, H, &t);

	spec.recover_step = 1;
	spec.recover_every_us = MIN;
	lay(b, &spec, T0, T0);
	run(b, T0 + H);
	assert_int_equal(b->o.n, 0);
}

static void
a_match_in_recovery_lays_it_anew(void **state)
{
	struct bench *b = *state;
	struct tightening t = percent(SETTING_max_smtp_out, 50, 1);
	struct overlay_spec spec = rule("r", 1, H, &t);

	spec.recover_step = 1;
	spec.recover_every_us = MIN;
	lay(b, &spec, T0, T0);
	run(b, T0 + H + 4 * MIN);
	assert_int_equal(cap_now(b, T0 + H + 4 * MIN), 14);
	b->in_force.max_smtp_out = 14;
	lay(b, &spec, T0 + H + 3 * MIN, T0 + H + 4 * MIN);
	assert_int_equal(cap_now(b, T0 + H + 4 * MIN), 7);
	assert_int_equal(cap_now(b, T0 + 2 * H), 7);
}

static void
only_what_is_tighter_counts(void **state)
{
	static const struct { enum setting_id setting; bool longer; } rows[] = {
		{ SETTING_retry_after_dns_error, true }, { SETTING_idle_timeout, false },
	};
	struct bench *b = *state;

	for (unsigned i = 0; i < countof(rows); i++) {
		struct tightening t = { .setting = rows[i].setting, .duration_us = MIN };
		struct overlay_spec spec = rule("r", (int)i, H, &t);
		struct overlay *o = lay(b, &spec, T0, T0);
		int64_t low = MIN - 1, high = MIN + 1;
		struct where where;

		assert_int_equal(overlay_tighten(o, rows[i].setting, &low, &where, T0), rows[i].longer);
		assert_int_equal(overlay_tighten(o, rows[i].setting, &high, &where, T0), !rows[i].longer);
	}
	struct tightening looser = cap(30);
	struct overlay_spec spec = rule("looser", 9, H, &looser);
	lay(b, &spec, T0, T0);
	assert_int_equal(cap_now(b, T0), 20);
}

static void
of_two_lists_of_waits_the_longer_holds_at_each_step(void **state)
{
	struct bench *b = *state;
	struct tightening t = { .setting = SETTING_retry_after, .durations = { 3, { 15 * MIN, 15 * MIN, H } } };
	struct overlay_spec spec = rule("r", 1, H, &t);
	struct duration_list list = b->declared.retry_after;
	struct where where;

	assert_true(overlay_tighten(lay(b, &spec, T0, T0), SETTING_retry_after, &list, &where, T0));
	assert_int_equal(list.n, 3);
	assert_int_equal(list.us[0], 15 * MIN);
	assert_int_equal(list.us[1], 20 * MIN);
	assert_int_equal(list.us[2], H);
}

static void
a_slower_rate_brings_no_greater_burst(void **state)
{
	struct bench *b = *state;
	struct tightening t = { .setting = SETTING_max_msg_rate, .rate = { 1000, 800, H } };
	struct overlay_spec spec = rule("r", 1, H, &t);
	struct rate_spec paced = { 2000, 0, H }, faster = { 10, 0, S }, unlimited = { 0 };
	struct where where;
	struct overlay *o = lay(b, &spec, T0, T0);

	assert_true(overlay_tighten(o, SETTING_max_msg_rate, &paced, &where, T0));
	assert_int_equal(paced.count, 1000);
	assert_int_equal(paced.burst, 0);
	assert_true(overlay_tighten(o, SETTING_max_msg_rate, &faster, &where, T0));
	assert_int_equal(faster.window_us, H);
	assert_true(overlay_tighten(o, SETTING_max_msg_rate, &unlimited, &where, T0));
	assert_int_equal(unlimited.burst, 800);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_percent_cuts_what_is_in_force_down_to_its_floor),
		TEST(replies_to_sessions_that_were_open_before_the_cut_renew_it_and_do_not_cut_again),
		TEST(a_percent_is_of_what_others_have_left),
		TEST(a_percent_of_a_rate_keeps_its_window),
		TEST(a_percent_of_unlimited_is_nothing),
		cmocka_unit_test(recovery_takes_a_step_each_interval_when_lasts_is_over),
		TEST(each_step_of_recovery_is_told),
		TEST(a_suspension_a_reroute_and_a_wait_do_not_recover),
		TEST(what_was_unlimited_recovers_at_once),
		TEST(a_match_in_recovery_lays_it_anew),
		TEST(only_what_is_tighter_counts),
		TEST(of_two_lists_of_waits_the_longer_holds_at_each_step),
		TEST(a_slower_rate_brings_no_greater_burst),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
