/*
 * What lies on a target, at any instant: laid, cut, renewed, recovered, lifted,
 * saved. Time is an argument throughout.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "queue/overlay.h"

#define S   US_PER_S
#define MIN (60 * US_PER_S)
#define H   (3600 * US_PER_S)
#define T0  (100 * H)

struct bench {
	struct overlays o;
	struct queue_settings in_force, declared;
	struct overlay_ground ground;
	unsigned changes;
};

static int
set_up(void **state)
{
	struct bench *b = mem_alloc(sizeof *b);

	overlays_init(&b->o, 1);
	b->declared.max_smtp_out = 20;
	b->declared.total_max_smtp_out = UNLIMITED;
	b->declared.max_msg_rate = (struct rate_spec){ 2000, 0, H };
	b->declared.retry_after = (struct duration_list){ 2, { 10 * MIN, 20 * MIN } };
	b->declared.retry_after_dns_error = MIN;
	b->declared.idle_timeout = 5 * S;
	b->in_force = b->declared;
	b->ground = (struct overlay_ground){ &b->in_force, &b->declared };
	*state = b;
	return 0;
}

static int
tear_down(void **state)
{
	struct bench *b = *state;

	overlays_fini(&b->o);
	free(b);
	return 0;
}

static void
on_change(void *ctx, const struct overlay_target *target)
{
	((struct bench *)ctx)->changes++;
}

static void
run(struct bench *b, mono_us_t now)
{
	overlays_run(&b->o, now, on_change, b);
}

/* A rule called `name`, on line `line`, with one cap. */
static struct overlay_spec
rule(const char *name, int line, int64_t lasts, struct tightening *t)
{
	return (struct overlay_spec){
		.name = name, .pattern = name, .reply = "421 4.7.0 no", .where = { "p.lua", line, "" }, .lasts_us = lasts,
		.tightenings = t, .tightenings_n = t != NULL,
	};
}

static struct tightening
cap(uint32_t n)
{
	return (struct tightening){ .setting = SETTING_max_smtp_out, .count = n };
}

static struct tightening
percent(enum setting_id setting, double of, uint32_t least)
{
	return (struct tightening){ .setting = setting, .is_percent = true, .percent = of, .floor = least };
}

static struct overlay *
lay(struct bench *b, const struct overlay_spec *spec, mono_us_t opened, mono_us_t now)
{
	struct overlay *o = overlays_lay(&b->o, OVERLAY_QUEUE, "a/m", spec, &b->ground, opened, now);

	/* As the queue does it: what lies there is in force. */
	b->in_force = b->declared;
	list_each(node, &overlays_of(&b->o, OVERLAY_QUEUE, "a/m")->overlays) {
		struct overlay *each = list_entry(node, struct overlay, node);

		for (unsigned i = 0; i < each->changes_n; i++) {
			enum setting_id id = each->changes[i].to.setting;

			overlay_tighten(each, id, overlay_setting(&b->in_force, id), &b->in_force.where[id], now);
		}
	}
	return o;
}

/* max_smtp_out with all that lies on the queue; UNLIMITED: nothing does. */
static uint32_t
cap_now(const struct bench *b, mono_us_t now)
{
	const struct overlay_target *target = overlays_of(&b->o, OVERLAY_QUEUE, "a/m");
	uint32_t value = b->declared.max_smtp_out;
	struct where where;

	if (target == NULL)
		return value;
	list_each(node, &target->overlays)
		overlay_tighten(list_entry(node, struct overlay, node), SETTING_max_smtp_out, &value, &where, now);
	return value;
}

static void
stacked_overlays_hold_with_the_tightest_value_and_end_each_at_its_own_time(void **state)
{
	struct bench *b = *state;
	struct tightening five = cap(5), two = cap(2);
	struct overlay_spec long_one = rule("long", 1, H, &five), short_one = rule("short", 2, 45 * MIN, &two);

	lay(b, &long_one, T0, T0);
	lay(b, &short_one, T0, T0);
	assert_int_equal(cap_now(b, T0), 2);
	assert_int_equal(overlays_next(&b->o), T0 + 45 * MIN);
	run(b, T0 + 45 * MIN - 1);
	assert_int_equal(b->changes, 0);
	run(b, T0 + 45 * MIN);
	assert_int_equal(b->changes, 1);
	assert_int_equal(cap_now(b, T0 + 45 * MIN), 5);
	run(b, T0 + H);
	assert_int_equal(cap_now(b, T0 + H), 20);
	assert_int_equal(b->o.n, 0);
	assert_int_equal(b->o.targets.n, 0);
	assert_int_equal(overlays_next(&b->o), MONO_NEVER);
}

static void
a_new_match_renews_and_does_not_add(void **state)
{
	struct bench *b = *state;
	struct tightening five = cap(5);
	struct overlay_spec spec = rule("r", 1, H, &five);
	struct overlay *o = lay(b, &spec, T0, T0);

	assert_ptr_equal(lay(b, &spec, T0 + 30 * MIN, T0 + 30 * MIN), o);
	assert_int_equal(b->o.n, 1);
	assert_int_equal(o->since, T0);
	assert_int_equal(o->until, T0 + 90 * MIN);
	run(b, T0 + H);
	assert_int_equal(b->o.n, 1);
	run(b, T0 + 90 * MIN);
	assert_int_equal(b->o.n, 0);
}

static void
rules_are_told_apart_by_name_pattern_place_and_source(void **state)
{
	struct bench *b = *state;
	struct ip one = { IP_V4, { 192, 0, 2, 1 } }, two = { IP_V4, { 192, 0, 2, 2 } };
	struct overlay_spec spec = rule("r", 1, H, NULL);

	spec.source = &one;
	lay(b, &spec, T0, T0);
	lay(b, &spec, T0, T0);
	assert_int_equal(b->o.n, 1);
	spec.source = &two;
	lay(b, &spec, T0, T0);
	assert_int_equal(b->o.n, 2);
	spec.where.line = 2;
	lay(b, &spec, T0, T0);
	spec.pattern = "other";
	lay(b, &spec, T0, T0);
	spec.name = "named";
	lay(b, &spec, T0, T0);
	assert_int_equal(b->o.n, 5);
}

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

static void
forever_ends_by_hand_only(void **state)
{
	struct bench *b = *state;
	struct tightening one = cap(1), two = cap(2);
	struct overlay_spec forever = rule("forever", 1, DURATION_NEVER, &one), other = rule("other", 2, H, &two);

	lay(b, &forever, T0, T0);
	lay(b, &other, T0, T0);
	run(b, T0 + 1000000 * H);
	assert_int_equal(b->o.n, 1);
	lay(b, &other, T0, T0);
	assert_int_equal(overlays_lift(&b->o, overlays_of(&b->o, OVERLAY_QUEUE, "a/m"), "nobody", on_change, b), 0);
	assert_int_equal(overlays_lift(&b->o, overlays_of(&b->o, OVERLAY_QUEUE, "a/m"), "forever", on_change, b), 1);
	assert_int_equal(cap_now(b, T0), 2);
	assert_int_equal(overlays_lift(&b->o, overlays_of(&b->o, OVERLAY_QUEUE, "a/m"), NULL, on_change, b), 1);
	assert_null(overlays_of(&b->o, OVERLAY_QUEUE, "a/m"));
}

static void
targets_of_one_name_are_told_apart_by_scope(void **state)
{
	struct bench *b = *state;
	struct tightening one = cap(1);
	struct overlay_spec spec = rule("r", 1, H, &one);

	overlays_lay(&b->o, OVERLAY_SITE, "x", &spec, &b->ground, T0, T0);
	overlays_lay(&b->o, OVERLAY_VMTA, "x", &spec, &b->ground, T0, T0);
	assert_non_null(overlays_of(&b->o, OVERLAY_SITE, "x"));
	assert_non_null(overlays_of(&b->o, OVERLAY_VMTA, "x"));
	assert_null(overlays_of(&b->o, OVERLAY_QUEUE, "x"));
	assert_true(list_empty(&b->o.patterns));
	overlays_lay(&b->o, OVERLAY_PATTERN, "x*", &spec, &b->ground, T0, T0);
	assert_false(list_empty(&b->o.patterns));
}

static void
too_many_on_one_target_are_refused(void **state)
{
	struct bench *b = *state;
	struct tightening one = cap(1);

	for (int i = 0; i < OVERLAYS_PER_TARGET_MAX; i++) {
		struct overlay_spec spec = rule("r", i, H, &one);

		assert_non_null(overlays_lay(&b->o, OVERLAY_QUEUE, "a/m", &spec, &b->ground, T0, T0));
	}
	struct overlay_spec further = rule("r", OVERLAYS_PER_TARGET_MAX, H, &one), known = rule("r", 0, 2 * H, &one);
	assert_null(overlays_lay(&b->o, OVERLAY_QUEUE, "a/m", &further, &b->ground, T0, T0));
	assert_non_null(overlays_lay(&b->o, OVERLAY_QUEUE, "a/m", &known, &b->ground, T0, T0));
}

/* All that an overlay can hold, and another clock. */
static void
too_many_in_all_are_refused_but_known_ones_and_a_hands_patterns(void **state)
{
	struct bench *b = *state;
	struct overlay_spec spec = rule("r", 1, H, NULL);
	char name[32];

	for (unsigned i = 0; i < OVERLAYS_MAX; i++) {
		snprintf(name, sizeof name, "%u/m", i);
		assert_non_null(overlays_lay(&b->o, OVERLAY_QUEUE, name, &spec, NULL, T0, T0));
	}
	assert_null(overlays_lay(&b->o, OVERLAY_QUEUE, "further/m", &spec, NULL, T0, T0));
	assert_null(overlays_of(&b->o, OVERLAY_QUEUE, "further/m"));
	assert_non_null(overlays_lay(&b->o, OVERLAY_QUEUE, "7/m", &spec, NULL, T0, T0));
	assert_non_null(overlays_lay(&b->o, OVERLAY_PATTERN, "f*", &spec, NULL, T0, T0));
	run(b, T0 + H);
	assert_int_equal(b->o.n, 0);
}

/* Saved as it is, read again. */
static bool
survives(const struct bench *b, const struct overlay **read, struct overlays *again)
{
	struct now now = { T0, { 1000000 } };
	struct buf bytes;
	struct span in;
	uint8_t kind;
	bool ok;

	buf_init(&bytes, 0);
	overlays_save(&b->o, 9, false, now, &bytes);
	in = buf_span(&bytes);
	overlays_init(again, 2);
	ok = span_get_u8(&in, &kind) && overlays_load(again, &in, now);
	*read = ok ? list_first(&overlays_of(again, OVERLAY_QUEUE, "a/m")->overlays, struct overlay, node) : NULL;
	buf_fini(&bytes);
	return ok;
}

static void
what_no_rule_could_have_laid_is_refused(void **state)
{
	static const struct { struct tightening to; struct rate_spec declared; int64_t every_us; bool ok; } rows[] = {
		{ { .setting = SETTING_max_smtp_out, .count = 1 }, { 0 }, 0, true },
		{ { .setting = SETTING_max_smtp_out, .count = 0 }, { 0 }, 0, false },
		{ { .setting = SETTING_max_smtp_out, .count = 1 }, { 0 }, INT64_C(1) << 50, false },
		{ { .setting = SETTING_retry_after }, { 0 }, 0, false },
		{ { .setting = SETTING_max_msg_rate, .rate = { 1, 0, INT64_C(1) << 49 } }, { UINT32_MAX, 0, 1 }, 1, true },
		{ { .setting = SETTING_max_msg_rate, .rate = { 1, 0, INT64_C(1) << 50 } }, { 5, 0, 1 }, 1, false },
		{ { .setting = SETTING_max_msg_rate, .rate = { 1, 0, 1 } }, { 5, 0, INT64_C(1) << 50 }, 1, false },
	};
	struct bench *b = *state;
	struct tightening one = cap(1);
	struct overlay_spec spec = rule("r", 1, H, &one);
	struct overlay *o = lay(b, &spec, T0, T0);

	for (unsigned i = 0; i < countof(rows); i++) {
		const struct overlay *read;
		struct overlays again;

		o->changes[0].to = rows[i].to;
		o->changes[0].declared_rate = rows[i].declared;
		o->recover_every_us = rows[i].every_us;
		if (survives(b, &read, &again) != rows[i].ok)
			fail_msg("row %u", i);
		if (rows[i].ok)
			overlays_run(&again, T0 + 2 * H, on_change, b);
		overlays_fini(&again);
	}
}

static void
the_end_is_worked_out_anew_so_that_no_saved_one_keeps_it_in_recovery_for_ever(void **state)
{
	struct bench *b = *state;
	struct tightening one = cap(1);
	struct overlay_spec spec = rule("r", 1, H, &one);
	struct overlay *o = lay(b, &spec, T0, T0);
	const struct overlay *read;
	struct overlays again;

	o->recover_every_us = 0;
	o->ends = o->until + H;
	o->cut_at = T0 + H;
	assert_true(survives(b, &read, &again));
	assert_int_equal(read->ends, read->until);
	assert_int_equal(read->cut_at, T0);
	overlays_run(&again, T0 + H, on_change, b);
	assert_int_equal(again.n, 0);
	overlays_fini(&again);
}

static void
a_restart_keeps_everything_by_the_wall_clock(void **state)
{
	struct bench *b = *state;
	struct ip source = { IP_V4, { 192, 0, 2, 1 } };
	struct tightening t[] = {
		percent(SETTING_max_smtp_out, 50, 1), { .setting = SETTING_max_msg_rate, .rate = { 1000, 10, H } },
		{ .setting = SETTING_retry_after, .durations = { 2, { MIN, H } } },
	};
	struct overlay_spec spec = rule("all", 7, H, t), forever = rule("forever", 8, DURATION_NEVER, NULL);
	struct now before = { T0 + 10 * MIN, { 1000000 } }, after = { 5 * S, { 1000000 + 20 * 60000 } };
	struct overlays again;
	struct buf bytes;
	struct span in;
	uint8_t kind;

	spec.tightenings_n = 3;
	spec.recover_percent = 10;
	spec.recover_every_us = MIN;
	spec.suspend = true;
	spec.reroute = "clean";
	spec.source = &source;
	lay(b, &spec, T0, T0);
	lay(b, &forever, T0, T0);
	buf_init(&bytes, 0);
	overlays_save(&b->o, 9, false, before, &bytes);

	overlays_init(&again, 2);
	for (in = buf_span(&bytes); span_get_u8(&in, &kind);) {
		assert_int_equal(kind, 9);
		assert_true(overlays_load(&again, &in, after));
	}
	assert_int_equal(again.n, 2);
	struct overlay_target *target = overlays_of(&again, OVERLAY_QUEUE, "a/m");
	const struct overlay *o = list_first(&target->overlays, struct overlay, node);
	assert_string_equal(o->name, "all");
	assert_string_equal(o->pattern, "all");
	assert_string_equal(o->reply, "421 4.7.0 no");
	assert_string_equal(o->where.file, "p.lua");
	assert_int_equal(o->where.line, 7);
	assert_string_equal(o->reroute, "clean");
	assert_true(o->suspend);
	assert_true(ip_eq(&o->source, &source));
	/* Half an hour after it was laid half an hour is left. */
	assert_int_equal(o->since, 5 * S - 30 * MIN);
	assert_int_equal(o->until, 5 * S + 30 * MIN);
	assert_int_equal(overlays_next(&again), o->until);
	assert_int_equal(o->changes_n, 3);
	assert_int_equal(o->changes[0].to.count, 10);
	assert_int_equal(o->changes[0].declared_count, 20);
	assert_int_equal(o->changes[1].to.rate.burst, 10);
	assert_int_equal(o->changes[1].declared_rate.count, 2000);
	assert_int_equal(o->changes[2].to.durations.us[1], H);
	assert_int_equal(o->ends, 5 * S + 30 * MIN + 5 * MIN);
	assert_int_equal(list_entry(target->overlays.prev, struct overlay, node)->until, MONO_NEVER);
	/* A rule's next match renews what was read. */
	struct queue_settings halved = b->declared;
	struct overlay_ground ground = { &halved, &b->declared };
	overlays_lay(&again, OVERLAY_QUEUE, "a/m", &spec, &ground, 0, after.mono);
	assert_int_equal(again.n, 2);
	overlays_fini(&again);
	buf_fini(&bytes);
}

static void
what_has_ended_while_the_node_was_down_is_not_taken_up(void **state)
{
	struct bench *b = *state;
	struct tightening one = cap(1);
	struct overlay_spec spec = rule("r", 1, H, &one);
	struct buf bytes;
	struct span in;
	uint8_t kind;
	struct overlays again;

	lay(b, &spec, T0, T0);
	buf_init(&bytes, 0);
	overlays_save(&b->o, 1, false, (struct now){ T0, { 0 } }, &bytes);
	overlays_init(&again, 2);
	in = buf_span(&bytes);
	span_get_u8(&in, &kind);
	assert_true(overlays_load(&again, &in, (struct now){ 0, { 3600 * 1000 } }));
	assert_int_equal(again.n, 0);
	overlays_fini(&again);
	buf_fini(&bytes);
}

static void
a_damaged_record_is_refused_at_any_cut(void **state)
{
	struct bench *b = *state;
	struct tightening one = cap(1);
	struct overlay_spec spec = rule("r", 1, H, &one);
	struct buf bytes;

	lay(b, &spec, T0, T0);
	buf_init(&bytes, 0);
	overlays_save(&b->o, 1, false, (struct now){ T0, { 0 } }, &bytes);
	for (size_t n = 5; n + 1 < buf_len(&bytes); n++) {
		struct overlays again;
		struct buf cut;
		struct span in;

		/* A length that is right for what is there, so that the cut is met inside. */
		buf_init(&cut, 0);
		buf_put_bytes(&cut, span_make(buf_span(&bytes).p + 5, n - 5));
		in = buf_span(&cut);
		overlays_init(&again, 2);
		assert_false(overlays_load(&again, &in, (struct now){ 0, { 0 } }));
		assert_int_equal(again.n, 0);
		overlays_fini(&again);
		buf_fini(&cut);
	}
	buf_fini(&bytes);
}

/* ---- two shards' ---- */

/* What one shard's copy and the other's own are, once they are one; and the other way round. */
static void
joined(mono_us_t mine_cut, uint32_t mine, mono_us_t other_cut, uint32_t other, uint32_t want)
{
	for (unsigned way = 0; way < 2; way++) {
		void *first_bench, *second_bench;
		struct bench *one, *two;
		struct tightening a = cap(way ? other : mine), b = cap(way ? mine : other);
		struct overlay_spec first = rule("r", 1, MIN, &a), second = rule("r", 1, (way ? 3 : 2) * MIN, &b);
		struct overlay_target *target;
		bool news;

		set_up(&first_bench);
		set_up(&second_bench);
		one = first_bench;
		two = second_bench;
		lay(one, &first, T0, way ? other_cut : mine_cut);
		target = overlays_join(&one->o, OVERLAY_QUEUE, "a/m",
				       overlay_dup(lay(two, &second, T0, way ? mine_cut : other_cut)), T0 + 2, &news);
		assert_int_equal(target->n, 1);
		assert_int_equal(one->o.n, 1);
		assert_int_equal(cap_now(one, T0 + 3), want);
		assert_int_equal(news, want != (way ? other : mine));
		assert_int_equal(overlays_next(&one->o), (way ? mine_cut : other_cut) + (way ? 3 : 2) * MIN);
		tear_down(&first_bench);
		tear_down(&second_bench);
	}
}

static void
two_shards_overlays_become_one_by_the_later_cut(void **state)
{
	joined(T0, 10, T0 + 1, 20, 20);
	joined(T0, 20, T0 + 1, 10, 10);
	joined(T0, 20, T0, 10, 10);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_shards_overlays_become_one_by_the_later_cut),
		TEST(stacked_overlays_hold_with_the_tightest_value_and_end_each_at_its_own_time),
		TEST(a_new_match_renews_and_does_not_add),
		TEST(rules_are_told_apart_by_name_pattern_place_and_source),
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
		TEST(forever_ends_by_hand_only),
		TEST(targets_of_one_name_are_told_apart_by_scope),
		TEST(too_many_on_one_target_are_refused),
		TEST(too_many_in_all_are_refused_but_known_ones_and_a_hands_patterns),
		TEST(what_no_rule_could_have_laid_is_refused),
		TEST(the_end_is_worked_out_anew_so_that_no_saved_one_keeps_it_in_recovery_for_ever),
		TEST(a_restart_keeps_everything_by_the_wall_clock),
		TEST(what_has_ended_while_the_node_was_down_is_not_taken_up),
		TEST(a_damaged_record_is_refused_at_any_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
