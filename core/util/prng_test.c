/* Chance, against the authors' reference and against plain counting. */
/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "util/prng.h"

static void
is_xoshiro256starstar(void **state)
{
	/* The state 1, 2, 3, 4 begins so in the reference implementation. */
	static const uint64_t expected[] = {
		11520, 0, 1509978240, UINT64_C(1215971899390074240), UINT64_C(1216172134540287360), UINT64_C(607988272756665600),
	};
	struct prng prng = { { 1, 2, 3, 4 } };
	for (size_t i = 0; i < countof(expected); i++)
		assert_true(prng_u64(&prng) == expected[i]);
	/* splitmix64 of 0. */
	prng_seed(&prng, 0);
	assert_true(prng.s[0] == UINT64_C(0xe220a8397b1dcdaf));
	assert_true(prng.s[1] == UINT64_C(0x6e789e6aa1b965f4));
}

static void
a_seed_replays(void **state)
{
	struct prng a, b, c;
	prng_seed(&a, 5);
	prng_seed(&b, 5);
	prng_seed(&c, 6);
	bool differs = false;
	for (int i = 0; i < 100; i++) {
		uint64_t v = prng_u64(&a);
		assert_true(v == prng_u64(&b));
		differs |= v != prng_u64(&c);
	}
	assert_true(differs);
}

static void
below_is_below_and_even(void **state)
{
	struct prng prng;
	prng_seed(&prng, 1);
	unsigned counts[6] = { 0 };
	for (int i = 0; i < 60000; i++)
		counts[prng_below(&prng, 6)]++;
	for (size_t i = 0; i < 6; i++)
		assert_in_range(counts[i], 9500, 10500);
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(prng_below(&prng, 1), 0);
		assert_true(prng_below(&prng, UINT64_MAX) < UINT64_MAX);
		double d = prng_double(&prng);
		assert_true(d >= 0 && d < 1);
	}
}

static void
the_system_gives_different_seeds(void **state)
{
	assert_true(prng_entropy() != prng_entropy());
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_xoshiro256starstar),
		cmocka_unit_test(a_seed_replays),
		cmocka_unit_test(below_is_below_and_even),
		cmocka_unit_test(the_system_gives_different_seeds),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
