/* The promise across changes of spec: no change brings a fresh bucket. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "limit/rate_fixture.h"

static void
a_spec_that_changes_gives_no_fresh_bucket(void **state)
{
	static const struct {
		struct rate_spec before, after;
		uint32_t taken, most_after;     /* at the instant of the change */
	} rows[] = {
		{ { 100, 0, HOUR }, { 100, 50, HOUR }, 1, 0 },
		{ { 100, 50, HOUR }, { 100, 80, HOUR }, 50, 0 },
		{ { 100, 50, HOUR }, { 100, 80, HOUR }, 20, 30 },
		{ { 100, 80, HOUR }, { 100, 50, HOUR }, 60, 0 },
		{ { 100, 80, HOUR }, { 100, 0, HOUR }, 80, 0 },
		{ { 10, 0, HOUR }, { 10000, 9000, HOUR }, 1, 0 },
		{ { 400, 50, HOUR }, { 401, 50, HOUR }, 50, 0 },
		{ { 400, 50, HOUR }, { 400, 50, 24 * HOUR }, 50, 0 },
		{ { 100, 50, HOUR }, { 100, 30, HOUR }, 10, 20 },
	};
	for (size_t i = 0; i < countof(rows); i++) {
		struct rate rate = { 0 };
		mono_us_t now = 7 * HOUR;
		assert_true(rate_take(&rate, &rows[i].before, rows[i].taken, now));
		assert_in_range(rate_available(&rate, &rows[i].after, now), rows[i].most_after ? rows[i].most_after - 1 : 0,
				rows[i].most_after);
		/* To and fro: still nothing. */
		for (int j = 0; j < 10; j++) {
			(void)rate_take(&rate, &rows[i].after, 1000000, now);
			(void)rate_take(&rate, &rows[i].before, 1000000, now);
		}
		assert_true(rate_available(&rate, &rows[i].after, now) <= rows[i].most_after);
	}
}

static void
a_window_across_changes_of_spec_holds_no_more_than_the_looser(void **state)
{
	struct prng prng;
	prng_seed(&prng, 4);
	static struct watch watch;
	for (int run = 0; run < 400; run++) {
		int64_t window = random_window(&prng);
		struct rate_spec specs[3];
		uint32_t most = 0;
		for (size_t i = 0; i < countof(specs); i++) {
			specs[i] = random_spec(&prng, window);
			if (i && prng_below(&prng, 2)) {
				specs[i].count = specs[0].count;
				specs[i].burst %= specs[0].count;
			}
			most = specs[i].count > most ? specs[i].count : most;
		}
		struct rate rate = { 0 };
		mono_us_t now = 0;
		const struct rate_spec *spec = &specs[0];
		watch.n = 0;
		for (int step = 0; step < 3000 && now < 900 * YEAR; step++) {
			now += random_step(&prng, spec);
			if (prng_below(&prng, 50) == 0)
				spec = &specs[prng_below(&prng, countof(specs))];
			while (rate_take(&rate, spec, 1, now))
				watch_event(&watch, now, most, window);
		}
	}
}

/* The header's formula, in floating point: how many a window of any length may hold. */
static uint32_t
bound_of(const struct rate_spec *spec, int64_t length_us)
{
	int64_t slack = min_i64(spec->window_us / 40, 50000);
	int64_t catchup = (int64_t)((double)spec->count * (double)slack / (double)spec->window_us);
	catchup = min_i64(catchup, (int64_t)spec->count - spec->burst - 1);
	double paced = (double)(spec->count - spec->burst - catchup);
	double interval = (double)(spec->window_us + slack) / paced;
	return (uint32_t)(1 + (spec->burst ? spec->burst - 1 : 0) + catchup + (int64_t)((double)length_us / interval + 1e-9));
}

static void
a_change_of_window_length_keeps_both_promises(void **state)
{
	struct prng prng;
	prng_seed(&prng, 5);
	static struct watch watches[2];
	for (int run = 0; run < 400; run++) {
		struct rate_spec specs[2];
		uint32_t most[2];
		for (size_t i = 0; i < 2; i++) {
			specs[i] = random_spec(&prng, SECOND * (int64_t)(1 + prng_below(&prng, 100)));
			specs[i].count = 1 + specs[i].count % 300;
			specs[i].burst %= specs[i].count;
			watches[i].n = 0;
		}
		for (size_t i = 0; i < 2; i++) {
			uint32_t a = bound_of(&specs[0], specs[i].window_us - 1), b = bound_of(&specs[1], specs[i].window_us - 1);
			most[i] = a > b ? a : b;
		}
		if (most[0] >= RING || most[1] >= RING)
			continue;
		struct rate rate = { 0 };
		mono_us_t now = 0;
		size_t which = 0;
		for (int step = 0; step < 2000; step++) {
			now += random_step(&prng, &specs[which]);
			if (prng_below(&prng, 30) == 0)
				which = !which;
			while (rate_take(&rate, &specs[which], 1, now))
				for (size_t i = 0; i < 2; i++)
					watch_event(&watches[i], now, most[i], specs[i].window_us);
		}
	}
}

static void
a_caller_with_a_late_clock_breaks_no_promise(void **state)
{
	struct prng prng;
	prng_seed(&prng, 7);
	mono_us_t *all = mem_alloc(RING * 8 * sizeof(*all));
	for (int run = 0; run < 600; run++) {
		struct rate_spec specs[2] = { random_spec(&prng, SECOND), random_spec(&prng, SECOND) };
		uint32_t most = specs[0].count > specs[1].count ? specs[0].count : specs[1].count;
		struct rate rate = { 0 };
		size_t n = 0, which = 0;
		mono_us_t clock = SECOND;
		for (int step = 0; step < 2000 && n < RING * 7; step++) {
			clock += random_step(&prng, &specs[which]);
			mono_us_t now = clock - (mono_us_t)prng_below(&prng, SECOND / 2);
			if (prng_below(&prng, 40) == 0)
				which = !which;
			for (int i = 0; i < 1000 && rate_take(&rate, &specs[which], 1, now); i++)
				all[n++] = now;
		}
		assert_sorted_windows_hold(all, n, most, SECOND);
	}
	free(all);
}

static void
no_event_is_dated_before_the_change_of_its_spec(void **state)
{
	struct rate_spec before = { 100, 50, SECOND }, after = { 50, 40, SECOND };
	struct rate rate = { 0 };
	assert_true(rate_take(&rate, &before, 1, 10 * SECOND));
	assert_true(rate_take(&rate, &after, 1, 10 * SECOND));
	assert_int_equal(rate_available(&rate, &after, 10 * SECOND - 1), 0);
	assert_int_equal(rate_ready_at(&rate, &after, 10 * SECOND - 1), 10 * SECOND);
	assert_false(rate_take(&rate, &after, 1, 10 * SECOND - 1));
	assert_true(rate_take(&rate, &after, 1, 10 * SECOND));
}

static void
a_shrunk_burst_is_paid_for_within_a_window(void **state)
{
	struct rate_spec wide = { 1000, 900, HOUR }, narrow = { 1000, 0, HOUR };
	struct rate rate = { 0 };
	assert_true(rate_take(&rate, &wide, 900, HOUR));
	for (int i = 0; i < 100; i++) {
		(void)rate_take(&rate, &narrow, 1, HOUR);
		(void)rate_take(&rate, &wide, 1, HOUR);
	}
	assert_true(rate_ready_at(&rate, &narrow, HOUR) > HOUR + HOUR / 2);
	assert_true(rate_ready_at(&rate, &narrow, HOUR) < 2 * HOUR + 5 * SECOND);
}

static void
what_nobody_uses_is_as_fresh_after_a_window_though_its_spec_has_changed(void **state)
{
	const struct rate_spec narrow = { .count = 30, .window_us = 10 * SECOND }, wide = { .count = 100, .window_us = SECOND };
	struct rate rate = { 0 }, fresh = { 0 };

	assert_true(rate_take(&rate, &narrow, 1, HOUR));
	rate_adopt(&rate, &wide, HOUR + 1);
	assert_true(rate_available(&rate, &wide, HOUR + 2) < rate_available(&fresh, &wide, HOUR + 2));
	assert_int_equal(rate_available(&rate, &wide, HOUR + 2 * SECOND), rate_available(&fresh, &wide, HOUR + 2 * SECOND));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_spec_that_changes_gives_no_fresh_bucket),
		cmocka_unit_test(a_window_across_changes_of_spec_holds_no_more_than_the_looser),
		cmocka_unit_test(a_change_of_window_length_keeps_both_promises),
		cmocka_unit_test(a_caller_with_a_late_clock_breaks_no_promise),
		cmocka_unit_test(no_event_is_dated_before_the_change_of_its_spec),
		cmocka_unit_test(a_shrunk_burst_is_paid_for_within_a_window),
		cmocka_unit_test(what_nobody_uses_is_as_fresh_after_a_window_though_its_spec_has_changed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
