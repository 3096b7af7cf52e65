/*
 * The promise, watched: whatever the spec, the arrivals, the threads and the
 * changes of spec, no half-open window holds more than it says.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "limit/rate.h"
#include "util/prng.h"

#define SECOND US_PER_S
#define HOUR   (3600 * SECOND)
#define YEAR   (365 * 24 * HOUR)
#define RING   4096

/* The last events; fails when one more than `most` lie in a window. */
struct watch {
	mono_us_t at[RING];
	uint64_t  n;
};

static void
watch_event(struct watch *watch, mono_us_t now, uint32_t most, int64_t window_us)
{
	assert_true(most < RING);
	watch->at[watch->n % RING] = now;
	if (watch->n >= most) {
		mono_us_t first = watch->at[(watch->n - most) % RING];
		if (now - first < window_us)
			fail_msg("%u events in %ld us, a window of %ld", most + 1, (long)(now - first), (long)window_us);
	}
	watch->n++;
}

static struct rate_spec
random_spec(struct prng *prng, int64_t window_us)
{
	struct rate_spec spec = { .window_us = window_us };
	spec.count = 1 + (uint32_t)prng_below(prng, prng_below(prng, 2) ? 10 : 1000);
	if (prng_below(prng, 2))
		spec.burst = (uint32_t)prng_below(prng, spec.count);
	return spec;
}

static int64_t
random_window(struct prng *prng)
{
	static const int64_t windows[] = { 40, 1000, SECOND, SECOND, 60 * SECOND, HOUR, 24 * HOUR, 7 * 24 * HOUR, YEAR };
	int64_t window = windows[prng_below(prng, countof(windows))];
	return window * (int64_t)(1 + prng_below(prng, 3));
}

/* Mostly a fraction of the interval, sometimes a long silence. */
static mono_us_t
random_step(struct prng *prng, const struct rate_spec *spec)
{
	if (prng_below(prng, 400) == 0)
		return (mono_us_t)prng_below(prng, 3 * (uint64_t)spec->window_us);
	return (mono_us_t)prng_below(prng, (uint64_t)(spec->window_us / spec->count) + 2);
}

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

static int
by_time(const void *a, const void *b)
{
	mono_us_t x = *(const mono_us_t *)a, y = *(const mono_us_t *)b;
	return (x > y) - (x < y);
}

static void
assert_sorted_windows_hold(mono_us_t *at, size_t n, uint32_t most, int64_t window_us)
{
	qsort(at, n, sizeof(*at), by_time);
	for (size_t i = most; i < n; i++)
		if (at[i] - at[i - most] < window_us)
			fail_msg("%u events in %ld us", most + 1, (long)(at[i] - at[i - most]));
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
what_nobody_uses_is_as_fresh_after_a_window_though_its_spec_has_changed(void **state)
{
	const struct rate_spec narrow = { .count = 30, .window_us = 10 * SECOND }, wide = { .count = 100, .window_us = SECOND };
	struct rate rate = { 0 }, fresh = { 0 };

	assert_true(rate_take(&rate, &narrow, 1, HOUR));
	rate_adopt(&rate, &wide, HOUR + 1);
	assert_true(rate_available(&rate, &wide, HOUR + 2) < rate_available(&fresh, &wide, HOUR + 2));
	assert_int_equal(rate_available(&rate, &wide, HOUR + 2 * SECOND), rate_available(&fresh, &wide, HOUR + 2 * SECOND));
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

#define TAKES_MAX 200000

struct taker {
	struct rate             *rate;
	const struct rate_spec  *specs;
	size_t                   n_specs;
	int                      turn;          /* looks at the clock before the next spec */
	_Atomic mono_us_t       *clock;
	mono_us_t               *at;
	size_t                   n;
};

static void *
take_greedily(void *ctx)
{
	struct taker *taker = ctx;
	for (int i = 0; i < 200000; i++) {
		mono_us_t now = atomic_fetch_add(taker->clock, 7) + 7;
		const struct rate_spec *spec = &taker->specs[i / taker->turn % (int)taker->n_specs];
		while (taker->n < TAKES_MAX && rate_take(taker->rate, spec, 1, now))
			taker->at[taker->n++] = now;
	}
	return NULL;
}

static void
run_two_threads(const struct rate_spec *specs, size_t n_specs, int turn, uint32_t most, size_t at_least)
{
	struct rate rate = { 0 };
	_Atomic mono_us_t clock = 0;
	mono_us_t *all = mem_alloc(2 * TAKES_MAX * sizeof(*all));
	struct taker takers[2];
	pthread_t threads[2];
	for (int i = 0; i < 2; i++) {
		takers[i] = (struct taker){ &rate, specs, n_specs, turn, &clock, mem_alloc(TAKES_MAX * sizeof(*all)), 0 };
		assert_int_equal(pthread_create(&threads[i], NULL, take_greedily, &takers[i]), 0);
	}
	size_t n = 0;
	for (int i = 0; i < 2; i++) {
		pthread_join(threads[i], NULL);
		memcpy(all + n, takers[i].at, takers[i].n * sizeof(*all));
		n += takers[i].n;
		free(takers[i].at);
	}
	assert_sorted_windows_hold(all, n, most, specs[0].window_us);
	if (n < at_least)
		fail_msg("%zu events", n);
	free(all);
}

static void
two_threads_share_one_limit(void **state)
{
	struct rate_spec spec = { 1000, 0, 20 * US_PER_MS };
	run_two_threads(&spec, 1, 1, 1000, 100000);
	struct rate_spec burst = { 1000, 400, 20 * US_PER_MS };
	run_two_threads(&burst, 1, 1, 1000, 50000);
}

static void
two_threads_with_different_specs_keep_the_looser(void **state)
{
	struct rate_spec specs[] = { { 1000, 0, 20 * US_PER_MS }, { 1000, 700, 20 * US_PER_MS }, { 500, 100, 20 * US_PER_MS } };
	run_two_threads(specs, countof(specs), 20000, 1000, 30000);
	run_two_threads(specs, countof(specs), 100, 1000, 1);
}

/* As shards do that hear of a new spec one after the other: each takes only what it sees ready by its own. */
static void
two_specs_by_turns_for_a_moment_cost_no_more_than_what_was_taken(void **state)
{
	static const struct rate_spec before[] = { { 1000, 50, HOUR }, { 1000, 0, HOUR }, { 100, 20, HOUR }, { 60, 0, 60 * US_PER_S } };
	static const struct rate_spec after[] = { { 100, 0, HOUR }, { 100, 50, HOUR }, { 90, 5, HOUR }, { 600, 100, 60 * US_PER_S } };

	for (unsigned i = 0; i < countof(before); i++) {
		const struct rate_spec *specs[] = { &before[i], &after[i] };
		mono_us_t now = 10 * HOUR, interval = after[i].window_us / (after[i].count - after[i].burst);
		struct rate rate = { 0 };
		unsigned taken = 0;

		for (unsigned k = 0; k < 400; k++, now++) {
			const struct rate_spec *spec = specs[k < 30 ? 0 : k % 2];

			if (rate_ready_at(&rate, spec, now) <= now && rate_take(&rate, spec, 1, now))
				taken++;
		}
		rate_adopt(&rate, specs[1], now);
		if (rate_ready_at(&rate, specs[1], now) - now > (taken + 1) * interval * 11 / 10)
			fail_msg("case %u: %u taken, then nothing goes for %lld s", i, taken,
				 (long long)(rate_ready_at(&rate, specs[1], now) - now) / US_PER_S);
		assert_true(taken <= 2 + before[i].burst + after[i].burst);
	}
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
		cmocka_unit_test(a_spec_that_changes_gives_no_fresh_bucket),
		cmocka_unit_test(a_window_across_changes_of_spec_holds_no_more_than_the_looser),
		cmocka_unit_test(a_change_of_window_length_keeps_both_promises),
		cmocka_unit_test(a_caller_with_a_late_clock_breaks_no_promise),
		cmocka_unit_test(no_event_is_dated_before_the_change_of_its_spec),
		cmocka_unit_test(a_shrunk_burst_is_paid_for_within_a_window),
		cmocka_unit_test(unlimited_takes_anything_and_keeps_the_state),
		cmocka_unit_test(extreme_specs_do_not_overflow),
		cmocka_unit_test(a_checkpoint_survives_another_clock),
		cmocka_unit_test(a_fresh_limiter_is_saved_as_one),
		cmocka_unit_test(so_many_that_their_intervals_overflow_are_refused),
		cmocka_unit_test(several_are_told_the_instant_from_which_they_may_go_together),
		cmocka_unit_test(what_nobody_uses_is_as_fresh_after_a_window_though_its_spec_has_changed),
		cmocka_unit_test(hostile_checkpoints_do_no_harm),
		cmocka_unit_test(after_a_crash_everything_counts_as_spent),
		cmocka_unit_test(two_threads_share_one_limit),
		cmocka_unit_test(two_threads_with_different_specs_keep_the_looser),
		cmocka_unit_test(two_specs_by_turns_for_a_moment_cost_no_more_than_what_was_taken),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
