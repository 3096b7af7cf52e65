/* Quantiles against those of the sorted values. */
/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cmd/latency.h"
#include "util/prng.h"

static void
nothing_took_no_time(void **state)
{
	struct latency latency = { 0 };

	assert_int_equal(latency_within_us(&latency, 0.5), 0);
	assert_int_equal(latency_within_us(&latency, 1), 0);
}

static void
small_values_are_exact(void **state)
{
	struct latency latency = { 0 };

	for (int i = 1; i <= 50; i++)
		latency_add(&latency, i);
	assert_int_equal(latency_within_us(&latency, 0), 1);
	assert_int_equal(latency_within_us(&latency, 0.5), 25);
	assert_int_equal(latency_within_us(&latency, 0.99), 50);
	assert_int_equal(latency.max_us, 50);
}

static int
by_size(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void
quantiles_are_never_too_low_and_three_percent_too_high_at_most(void **state)
{
	static uint32_t values[10000];
	static struct latency latency;
	struct prng prng;

	prng_seed(&prng, 1);
	for (unsigned i = 0; i < countof(values); i++) {
		values[i] = (uint32_t)(prng_u64(&prng) >> (32 + prng_below(&prng, 32)));
		latency_add(&latency, values[i]);
	}
	qsort(values, countof(values), sizeof values[0], by_size);
	for (unsigned i = 1; i <= 1000; i++) {
		uint32_t want = values[i * 10 - 1], got = latency_within_us(&latency, (i * 10 - .5) / 10000);

		assert_true(got >= want);
		assert_true(got - want <= want / 32);
	}
	assert_int_equal(latency.max_us, values[countof(values) - 1]);
}

static void
what_no_clock_should_say_is_kept_in_bounds(void **state)
{
	struct latency latency = { 0 };

	latency_add(&latency, -1);
	assert_int_equal(latency.max_us, 0);
	latency_add(&latency, INT64_MAX);
	assert_int_equal(latency.max_us, UINT32_MAX);
	assert_int_equal(latency_within_us(&latency, 1), UINT32_MAX);
	assert_int_equal(latency.n, 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_took_no_time),
		cmocka_unit_test(small_values_are_exact),
		cmocka_unit_test(quantiles_are_never_too_low_and_three_percent_too_high_at_most),
		cmocka_unit_test(what_no_clock_should_say_is_kept_in_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
