/*
 * rate_fixture - for tests: whoever watches events, and specs and steps by chance.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

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

static inline void
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

static inline struct rate_spec
random_spec(struct prng *prng, int64_t window_us)
{
	struct rate_spec spec = { .window_us = window_us };
	spec.count = 1 + (uint32_t)prng_below(prng, prng_below(prng, 2) ? 10 : 1000);
	if (prng_below(prng, 2))
		spec.burst = (uint32_t)prng_below(prng, spec.count);
	return spec;
}

static inline int64_t
random_window(struct prng *prng)
{
	static const int64_t windows[] = { 40, 1000, SECOND, SECOND, 60 * SECOND, HOUR, 24 * HOUR, 7 * 24 * HOUR, YEAR };
	int64_t window = windows[prng_below(prng, countof(windows))];
	return window * (int64_t)(1 + prng_below(prng, 3));
}

/* Mostly a fraction of the interval, sometimes a long silence. */
static inline mono_us_t
random_step(struct prng *prng, const struct rate_spec *spec)
{
	if (prng_below(prng, 400) == 0)
		return (mono_us_t)prng_below(prng, 3 * (uint64_t)spec->window_us);
	return (mono_us_t)prng_below(prng, (uint64_t)(spec->window_us / spec->count) + 2);
}

static inline int
by_time(const void *a, const void *b)
{
	mono_us_t x = *(const mono_us_t *)a, y = *(const mono_us_t *)b;
	return (x > y) - (x < y);
}

static inline void
assert_sorted_windows_hold(mono_us_t *at, size_t n, uint32_t most, int64_t window_us)
{
	qsort(at, n, sizeof(*at), by_time);
	for (size_t i = most; i < n; i++)
		if (at[i] - at[i - most] < window_us)
			fail_msg("%u events in %ld us", most + 1, (long)(at[i] - at[i - most]));
}
