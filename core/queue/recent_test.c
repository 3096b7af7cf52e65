/*
 * Matches counted in windows that end now.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "queue/recent.h"

#define S  US_PER_S
#define H  (3600 * US_PER_S)
#define T0 (100 * H)

static int
set_up(void **state)
{
	struct recent *recent = mem_alloc(sizeof *recent);

	recent_init(recent, 1);
	*state = recent;
	return 0;
}

static int
tear_down(void **state)
{
	recent_fini(*state);
	free(*state);
	return 0;
}

static void
counts_what_lies_in_the_window_that_ends_now(void **state)
{
	static const struct { int64_t window, at; unsigned expected; } rows[] = {
		{ H, 0, 1 }, { H, 1800 * S, 2 }, { H, H - 1, 2 }, { H, H, 1 }, { H, 5400 * S - 1, 1 }, { H, 5400 * S, 0 },
		{ 1, 1800 * S, 1 }, { 1, 1800 * S + 1, 0 },
	};
	struct recent *recent = *state;

	recent_add(recent, "a/m", "r", 1, H, T0);
	recent_add(recent, "a/m", "r", 1, H, T0 + 1800 * S);
	for (unsigned i = 1; i < countof(rows); i++)
		assert_int_equal(recent_count(recent, "a/m", "r", 1, rows[i].window, T0 + rows[i].at), rows[i].expected);
}

static void
rules_and_queues_are_counted_apart_and_names_together(void **state)
{
	struct recent *recent = *state;

	recent_add(recent, "a/m", "r", 1, 0, T0);
	recent_add(recent, "a/m", "r", 2, 0, T0);
	recent_add(recent, "a/m", "other", 1, 0, T0);
	recent_add(recent, "b/m", "r", 1, 0, T0);
	assert_int_equal(recent_count(recent, "a/m", "r", 1, H, T0), 1);
	assert_int_equal(recent_count_named(recent, "a/m", "r", H, T0), 2);
	assert_int_equal(recent_count_named(recent, "b/m", "r", H, T0), 1);
	assert_int_equal(recent_count_named(recent, "c/m", "r", H, T0), 0);
	assert_int_equal(recent_count(recent, "a/m", "nobody", 1, H, T0), 0);
}

static void
the_newest_are_exact_in_a_flood_and_memory_is_bounded(void **state)
{
	struct recent *recent = *state;
	mono_us_t last = T0 + INT64_C(99999) * S / 10;

	for (int i = 0; i < 100000; i++)
		recent_add(recent, "a/m", "r", 1, 0, T0 + (int64_t)i * S / 10);
	assert_int_equal(recent_count(recent, "a/m", "r", 1, RECENT_EXACT * S / 10, last), RECENT_EXACT);
	assert_int_equal(recent_count(recent, "a/m", "r", 1, 10 * H, last), 100000);
	/* In between to within a heap or two, and never too few. */
	assert_in_range(recent_count(recent, "a/m", "r", 1, H, last), 36000, 36000 + 36000 / 8);
}

static void
what_nobody_can_ask_for_any_more_is_forgotten(void **state)
{
	struct recent *recent = *state;

	recent_add(recent, "a/m", "r", 1, H, T0);
	recent_add(recent, "b/m", "r", 1, H, T0 + H);
	recent_reap(recent, T0 + RECENT_KEEP_US - 1);
	assert_int_equal(recent->queues.n, 2);
	recent_reap(recent, T0 + RECENT_KEEP_US);
	assert_int_equal(recent->queues.n, 1);
	assert_int_equal(recent_count(recent, "b/m", "r", 1, 2 * H, T0 + H), 1);
}

static void
the_queue_whose_last_match_is_longest_ago_makes_room(void **state)
{
	struct recent *recent = *state;
	char name[32];

	for (unsigned i = 0; i <= RECENT_QUEUES_MAX; i++) {
		snprintf(name, sizeof name, "q%u", i);
		recent_add(recent, name, "r", 1, 0, T0 + (int64_t)i);
		recent_add(recent, "q0", "r", 1, 0, T0 + (int64_t)i);
	}
	assert_int_equal(recent->queues.n, RECENT_QUEUES_MAX);
	assert_int_equal(recent_count(recent, "q1", "r", 1, H, T0 + RECENT_QUEUES_MAX), 0);
	assert_true(recent_count(recent, "q0", "r", 1, H, T0 + RECENT_QUEUES_MAX) > 0);
}

static void
a_restart_keeps_the_counts_by_the_wall_clock(void **state)
{
	struct recent *recent = *state;
	struct now before = { T0 + 60 * S, { 1000000 } }, after = { 7 * S, { 1000000 + 60 * 1000 } };
	struct recent again;
	struct buf bytes;
	struct span in;
	uint8_t kind;

	recent_add(recent, "a/m", "r", 3, H, T0);
	recent_add(recent, "a/m", "r", 3, H, T0 + 60 * S);
	buf_init(&bytes, 0);
	recent_save(recent, 4, before, &bytes);
	in = buf_span(&bytes);
	assert_true(span_get_u8(&in, &kind));
	recent_init(&again, 2);
	assert_true(recent_load(&again, &in, after));
	assert_int_equal(recent_count(&again, "a/m", "r", 3, 61 * S, after.mono), 1);
	assert_int_equal(recent_count(&again, "a/m", "r", 3, 121 * S, after.mono), 2);
	recent_fini(&again);
	for (size_t n = 5; n < buf_len(&bytes); n++) {
		struct buf cut;

		buf_init(&cut, 0);
		buf_put_bytes(&cut, span_make(buf_span(&bytes).p + 5, n - 5));
		in = buf_span(&cut);
		recent_init(&again, 2);
		assert_false(recent_load(&again, &in, after));
		recent_fini(&again);
		buf_fini(&cut);
	}
	buf_fini(&bytes);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(counts_what_lies_in_the_window_that_ends_now),
		TEST(rules_and_queues_are_counted_apart_and_names_together),
		TEST(the_newest_are_exact_in_a_flood_and_memory_is_bounded),
		TEST(what_nobody_can_ask_for_any_more_is_forgotten),
		TEST(the_queue_whose_last_match_is_longest_ago_makes_room),
		TEST(a_restart_keeps_the_counts_by_the_wall_clock),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
