/* SPDX-License-Identifier: Apache-2.0 */
#include "util/pace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void
a_steady_pace_is_told_as_it_is(void **state)
{
	struct pace pace = { 0 };

	for (mono_us_t now = 0; now < 3600 * US_PER_S; now += US_PER_S)
		pace_add(&pace, 1, now);
	assert_true(pace_per_hour(&pace, 3600 * US_PER_S - 1) > 3550);
	assert_true(pace_per_hour(&pace, 3600 * US_PER_S - 1) <= 3601);
}

static void
what_is_long_ago_is_forgotten(void **state)
{
	struct pace pace = { 0 };

	pace_add(&pace, 100, 10 * US_PER_S);
	assert_true(pace_per_hour(&pace, 10 * US_PER_S) >= 1200);
	assert_true(pace_per_hour(&pace, PACE_WINDOW_US + 150 * US_PER_S) < 700);
	assert_true(pace_per_hour(&pace, 2 * PACE_WINDOW_US) == 0);
	pace_add(&pace, 1, 10 * PACE_WINDOW_US);
	assert_true(pace_per_hour(&pace, 10 * PACE_WINDOW_US) == 12);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_steady_pace_is_told_as_it_is),
		cmocka_unit_test(what_is_long_ago_is_forgotten),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
