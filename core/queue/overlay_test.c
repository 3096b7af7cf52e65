/* What lies on a target, at any instant: laid, renewed, told apart, bounded, lifted, joined. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/overlay_fixture.h"

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
		TEST(forever_ends_by_hand_only),
		TEST(targets_of_one_name_are_told_apart_by_scope),
		TEST(too_many_on_one_target_are_refused),
		TEST(too_many_in_all_are_refused_but_known_ones_and_a_hands_patterns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
