/* What is saved comes back as it was, by the wall clock; what no node could have saved is refused. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/overlay_fixture.h"

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

/* What was laid at T0 and saved 10 minutes later, 20 minutes before the start at 5 s. */
static void
assert_as_it_was(const struct overlay *o, const struct ip *source)
{
	assert_string_equal(o->name, "all");
	assert_string_equal(o->pattern, "all");
	assert_string_equal(o->reply, "421 4.7.0 no");
	assert_string_equal(o->where.file, "p.lua");
	assert_int_equal(o->where.line, 7);
	assert_string_equal(o->reroute, "clean");
	assert_true(o->suspend);
	assert_true(ip_eq(&o->source, source));
	/* Half an hour after it was laid half an hour is left. */
	assert_int_equal(o->since, 5 * S - 30 * MIN);
	assert_int_equal(o->until, 5 * S + 30 * MIN);
	assert_int_equal(o->changes_n, 3);
	assert_int_equal(o->changes[0].to.count, 10);
	assert_int_equal(o->changes[0].declared_count, 20);
	assert_int_equal(o->changes[1].to.rate.burst, 10);
	assert_int_equal(o->changes[1].declared_rate.count, 2000);
	assert_int_equal(o->changes[2].to.durations.us[1], H);
	assert_int_equal(o->ends, 5 * S + 30 * MIN + 5 * MIN);
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
	assert_as_it_was(o, &source);
	assert_int_equal(overlays_next(&again), o->until);
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

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(what_no_rule_could_have_laid_is_refused),
		TEST(the_end_is_worked_out_anew_so_that_no_saved_one_keeps_it_in_recovery_for_ever),
		TEST(a_restart_keeps_everything_by_the_wall_clock),
		TEST(what_has_ended_while_the_node_was_down_is_not_taken_up),
		TEST(a_damaged_record_is_refused_at_any_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
