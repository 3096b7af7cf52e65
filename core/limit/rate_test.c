/* The promise, watched: whatever the spec and the arrivals, no half-open window holds more than it says, and little less is used. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "limit/rate_fixture.h"

static void
an_idle_limiter_gives_its_burst_and_no_more(void **state)
{
	static const struct { struct rate_spec spec; uint32_t at_once; } rows[] = {
		{ { 1, 0, SECOND }, 1 },
		{ { 39, 0, SECOND }, 1 },
		{ { 40, 0, SECOND }, 2 },
		{ { 1000, 0, SECOND }, 26 },
		{ { 60, 0, 60 * SECOND }, 1 },
		{ { 400, 0, HOUR }, 1 },
		{ { 50000, 0, 24 * HOUR }, 1 },
		{ { 400, 50, HOUR }, 50 },
		{ { 400, 1, HOUR }, 1 },
		{ { 2, 1, HOUR }, 1 },
		{ { 400, 399, HOUR }, 399 },
		{ { 100000, 99999, 24 * HOUR }, 99999 },
		{ { 100, 99, SECOND }, 99 },
		{ { 1, 5, HOUR }, 1 },          /* a burst that is not below the count */
	};
	static const mono_us_t starts[] = { 0, 1, 5 * HOUR, 100 * YEAR };
	for (size_t i = 0; i < countof(rows); i++) {
		for (size_t j = 0; j < countof(starts); j++) {
			struct rate rate = { 0 };
			const struct rate_spec *spec = &rows[i].spec;
			assert_int_equal(rate_available(&rate, spec, starts[j]), rows[i].at_once);
			assert_false(rate_take(&rate, spec, rows[i].at_once + 1, starts[j]));
			assert_true(rate_take(&rate, spec, rows[i].at_once, starts[j]));
			assert_int_equal(rate_available(&rate, spec, starts[j]), 0);
			assert_false(rate_take(&rate, spec, 1, starts[j]));
			assert_true(rate_take(&rate, spec, rows[i].at_once, starts[j] + 400 * YEAR));
			assert_false(rate_take(&rate, spec, 1, starts[j] + 400 * YEAR));
		}
	}
}

static void
no_window_holds_more_than_the_count(void **state)
{
	struct prng prng;
	prng_seed(&prng, 1);
	static struct watch watch;
	for (int run = 0; run < 200; run++) {
		struct rate_spec spec = random_spec(&prng, random_window(&prng));
		struct rate rate = { 0 };
		mono_us_t now = (mono_us_t)prng_below(&prng, 2) * HOUR;
		watch.n = 0;
		for (int step = 0; step < 5000 && now < 900 * YEAR; step++) {
			now += random_step(&prng, &spec);
			while (rate_take(&rate, &spec, 1, now))
				watch_event(&watch, now, spec.count, spec.window_us);
		}
		assert_true(watch.n > 0);
	}
}

static void
several_at_once_count_as_several(void **state)
{
	struct prng prng;
	prng_seed(&prng, 2);
	static struct watch watch;
	for (int run = 0; run < 100; run++) {
		struct rate_spec spec = random_spec(&prng, random_window(&prng));
		struct rate rate = { 0 };
		mono_us_t now = 0;
		watch.n = 0;
		for (int step = 0; step < 3000 && now < 900 * YEAR; step++) {
			now += random_step(&prng, &spec);
			uint32_t n = 1 + (uint32_t)prng_below(&prng, 4);
			if (!rate_take(&rate, &spec, n, now))
				continue;
			uint32_t back = (uint32_t)prng_below(&prng, n + 1);
			rate_give(&rate, &spec, back);
			for (uint32_t i = back; i < n; i++)
				watch_event(&watch, now, spec.count, spec.window_us);
		}
	}
}

static void
nine_tenths_of_the_count_are_used(void **state)
{
	static const struct rate_spec specs[] = {
		{ 1, 0, SECOND }, { 1, 0, HOUR }, { 10, 0, SECOND }, { 39, 0, SECOND }, { 40, 0, SECOND }, { 60, 0, 60 * SECOND },
		{ 400, 0, HOUR }, { 1000, 0, SECOND }, { 50000, 0, 24 * HOUR }, { 20000, 0, SECOND }, { 1000000, 0, SECOND },
		{ 100, 0, 900 * SECOND }, { 41, 0, 2 * SECOND }, { 3000000, 0, SECOND },
	};
	for (size_t i = 0; i < countof(specs); i++) {
		const struct rate_spec *spec = &specs[i];
		int64_t step = max_i64(spec->window_us / spec->count / 32, 1);
		int64_t windows = spec->count > 10000 ? 2 : 100;
		uint64_t taken = 0;
		struct rate rate = { 0 };
		for (mono_us_t now = 0; now < windows * spec->window_us; now += step)
			while (rate_take(&rate, spec, 1, now))
				taken++;
		assert_true(taken <= (uint64_t)(windows * spec->count));
		if (taken * 10 < (uint64_t)(windows * spec->count) * 9)
			fail_msg("row %zu: %lu of %lu", i, (unsigned long)taken, (unsigned long)(windows * spec->count));
	}
}

static void
a_late_loop_still_uses_nine_tenths(void **state)
{
	struct rate_spec spec = { 1000, 0, SECOND };
	struct rate rate = { 0 };
	unsigned taken = 0;
	for (mono_us_t now = 0; now < 100 * SECOND; now += 20 * US_PER_MS)
		while (rate_take(&rate, &spec, 1, now))
			taken++;
	assert_in_range(taken, 90000, 100000);
}

static void
paced_events_are_evenly_apart(void **state)
{
	struct rate_spec spec = { 60, 0, 60 * SECOND };
	struct rate rate = { 0 };
	mono_us_t now = 7;
	for (int i = 0; i < 200; i++) {
		assert_true(rate_take(&rate, &spec, 1, now));
		mono_us_t next = rate_ready_at(&rate, &spec, now);
		assert_in_range(next - now, SECOND, SECOND + SECOND / 500);
		now = next;
	}
}

static void
ready_at_is_the_first_instant_that_takes(void **state)
{
	struct prng prng;
	prng_seed(&prng, 3);
	for (int run = 0; run < 300; run++) {
		struct rate_spec spec = random_spec(&prng, random_window(&prng));
		struct rate rate = { 0 };
		mono_us_t now = 0;
		for (int i = 0; i < 50; i++) {
			now += random_step(&prng, &spec);
			mono_us_t ready = rate_ready_at(&rate, &spec, now);
			assert_true(ready >= now);
			assert_int_equal(ready == now, rate_available(&rate, &spec, now) > 0);
			if (ready > now)
				assert_false(rate_take(&rate, &spec, 1, ready - 1));
			assert_true(rate_take(&rate, &spec, 1, ready));
			now = ready;
		}
	}
}

static void
giving_back_undoes_taking(void **state)
{
	struct rate_spec spec = { 400, 50, HOUR };
	struct rate rate = { 0 };
	for (int i = 0; i < 1000; i++) {
		assert_true(rate_take(&rate, &spec, 7, 5 * SECOND));
		rate_give(&rate, &spec, 7);
		assert_int_equal(rate_available(&rate, &spec, 5 * SECOND), 50);
	}
	assert_true(rate_take(&rate, &spec, 50, 5 * SECOND));
	rate_give(&rate, &spec, 3);
	assert_int_equal(rate_available(&rate, &spec, 5 * SECOND), 3);
}

static void
giving_to_a_fresh_limiter_changes_nothing(void **state)
{
	struct rate_spec spec = { 400, 50, HOUR };
	struct rate rate = { 0 };
	rate_give(&rate, &spec, UINT32_MAX);
	assert_int_equal(rate_available(&rate, &spec, 0), 50);
}

static void
unlimited_takes_anything_and_keeps_the_state(void **state)
{
	struct rate_spec spec = { 400, 50, HOUR }, unlimited = { 0 };
	struct rate rate = { 0 };
	assert_true(rate_take(&rate, &spec, 50, HOUR));
	assert_true(rate_take(&rate, &unlimited, UINT32_MAX, HOUR));
	rate_give(&rate, &unlimited, UINT32_MAX);
	assert_int_equal(rate_available(&rate, &unlimited, HOUR), UINT32_MAX);
	assert_int_equal(rate_ready_at(&rate, &unlimited, HOUR), HOUR);
	assert_int_equal(rate_available(&rate, &spec, HOUR), 0);
}

static void
extreme_specs_do_not_overflow(void **state)
{
	static const struct rate_spec specs[] = {
		{ 1, 0, 10 * YEAR }, { UINT32_MAX, 0, SECOND }, { UINT32_MAX, 0, 10 * YEAR }, { UINT32_MAX, UINT32_MAX - 1, 10 * YEAR },
		{ UINT32_MAX, UINT32_MAX, 1 }, { UINT32_MAX, 0, 1 }, { 2, 1, 1 }, { UINT32_MAX, UINT32_MAX / 2, 10 * YEAR },
	};
	for (size_t i = 0; i < countof(specs); i++) {
		for (mono_us_t now = 0; now < 1000 * YEAR; now = now * 3 + 1) {
			struct rate rate = { 0 };
			uint32_t n = rate_available(&rate, &specs[i], now);
			assert_true(n >= 1 && n <= specs[i].count);
			assert_true(rate_take(&rate, &specs[i], n, now));
			assert_false(rate_take(&rate, &specs[i], UINT32_MAX, now));
			assert_true(rate_ready_at(&rate, &specs[i], now) > now);
			rate_give(&rate, &specs[i], UINT32_MAX);
			assert_true(rate_available(&rate, &specs[i], now) <= specs[i].count);
		}
	}
}

static void
so_many_that_their_intervals_overflow_are_refused(void **state)
{
	/* An interval of 2^33 ticks: 2^31 of them are 0 in 64 bits. */
	const struct rate_spec spec = { 1, 0, (INT64_C(1) << 27) - 50 * US_PER_MS };
	struct rate rate = { 0 };
	assert_false(rate_take(&rate, &spec, UINT32_C(1) << 31, HOUR));
	assert_true(rate_take(&rate, &spec, 1, HOUR));
}

static void
several_are_told_the_instant_from_which_they_may_go_together(void **state)
{
	struct prng prng;
	prng_seed(&prng, 16);
	for (int i = 0; i < 5000; i++) {
		struct rate_spec spec = random_spec(&prng, random_window(&prng));
		struct rate rate = { 0 };
		mono_us_t now = 10 * YEAR;
		for (int j = 0; j < 10; j++)
			(void)rate_take(&rate, &spec, 1, now += random_step(&prng, &spec));
		uint32_t n = 1 + (uint32_t)prng_below(&prng, 12);
		mono_us_t at = rate_ready_for(&rate, &spec, n, now);
		uint32_t most = rate_available(&rate, &spec, now + 100 * YEAR);
		assert_int_equal(at == MONO_NEVER, n > most);
		if (at == MONO_NEVER)
			continue;
		if (at > now)
			assert_true(rate_available(&rate, &spec, at - 1) < n);
		assert_true(rate_take(&rate, &spec, n, at));
	}
}

static void
a_checkpoint_survives_another_clock(void **state)
{
	struct prng prng;
	prng_seed(&prng, 6);
	for (int i = 0; i < 5000; i++) {
		struct rate_spec spec = random_spec(&prng, random_window(&prng));
		struct rate rate = { 0 }, restored = { 0 };
		mono_us_t now = (mono_us_t)prng_below(&prng, 10 * HOUR), other = (mono_us_t)prng_below(&prng, 10 * HOUR);
		for (int j = 0; j < 20; j++)
			(void)rate_take(&rate, &spec, 1, now += random_step(&prng, &spec));
		rate_restore(&restored, rate_save(&rate, now), other);
		mono_us_t wait = rate_ready_at(&rate, &spec, now) - now;
		mono_us_t wait_restored = rate_ready_at(&restored, &spec, other) - other;
		/* Never sooner; later by no more than the rounding. */
		assert_in_range(wait_restored, wait, wait + 2);
		assert_true(rate_available(&restored, &spec, other) <= rate_available(&rate, &spec, now));
	}
}

static void
a_fresh_limiter_is_saved_as_one(void **state)
{
	struct rate_spec spec = { 400, 50, HOUR };
	struct rate rate = { 0 }, restored = { 0 };
	assert_true(rate_save(&rate, 5) == INT64_MIN);
	rate_restore(&restored, INT64_MIN, 5);
	assert_int_equal(rate_available(&restored, &spec, 5), 50);
}

static void
hostile_checkpoints_do_no_harm(void **state)
{
	static const int64_t values[] = { INT64_MIN + 1, INT64_MAX, 0, -1, 1, -1000 * YEAR, 1000 * YEAR };
	struct rate_spec spec = { 400, 50, HOUR };
	for (size_t i = 0; i < countof(values); i++) {
		struct rate rate = { 0 };
		rate_restore(&rate, values[i], HOUR);
		assert_in_range(rate_available(&rate, &spec, HOUR), 0, 50);
		assert_true(rate_ready_at(&rate, &spec, HOUR) >= HOUR);
	}
}

static void
after_a_crash_everything_counts_as_spent(void **state)
{
	struct rate_spec spec = { 60, 20, 60 * SECOND };
	struct rate fresh = { 0 }, used = { 0 };
	rate_spend_all(&fresh, &spec, HOUR);
	assert_int_equal(rate_available(&fresh, &spec, HOUR), 0);
	assert_in_range(rate_ready_at(&fresh, &spec, HOUR) - HOUR, SECOND, 2 * SECOND);
	assert_true(rate_take(&used, &spec, 20, HOUR));
	int64_t before = rate_save(&used, HOUR);
	rate_spend_all(&used, &spec, HOUR);
	assert_true(rate_save(&used, HOUR) >= before);
	struct rate_spec unlimited = { 0 };
	struct rate other = { 0 };
	rate_spend_all(&other, &unlimited, HOUR);
	assert_int_equal(rate_available(&other, &spec, HOUR), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_idle_limiter_gives_its_burst_and_no_more),
		cmocka_unit_test(no_window_holds_more_than_the_count),
		cmocka_unit_test(several_at_once_count_as_several),
		cmocka_unit_test(nine_tenths_of_the_count_are_used),
		cmocka_unit_test(a_late_loop_still_uses_nine_tenths),
		cmocka_unit_test(paced_events_are_evenly_apart),
		cmocka_unit_test(ready_at_is_the_first_instant_that_takes),
		cmocka_unit_test(giving_back_undoes_taking),
		cmocka_unit_test(giving_to_a_fresh_limiter_changes_nothing),
		cmocka_unit_test(unlimited_takes_anything_and_keeps_the_state),
		cmocka_unit_test(extreme_specs_do_not_overflow),
		cmocka_unit_test(a_checkpoint_survives_another_clock),
		cmocka_unit_test(a_fresh_limiter_is_saved_as_one),
		cmocka_unit_test(so_many_that_their_intervals_overflow_are_refused),
		cmocka_unit_test(several_are_told_the_instant_from_which_they_may_go_together),
		cmocka_unit_test(hostile_checkpoints_do_no_harm),
		cmocka_unit_test(after_a_crash_everything_counts_as_spent),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
