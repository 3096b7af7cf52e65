/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sim/peak.h"
#include "util/prng.h"

static const mono_us_t second_and_minute[] = { US_PER_S, 60 * US_PER_S };

static void
counts_the_fullest_window(void **state)
{
	struct peak peak;

	peak_init(&peak, second_and_minute, 2);
	for (int i = 0; i < 10; i++)
		peak_add(&peak, i * 100 * US_PER_MS);
	assert_int_equal(peak_most(&peak, 0), 10);
	for (int i = 0; i < 5; i++)
		peak_add(&peak, 30 * US_PER_S + i);
	assert_int_equal(peak_most(&peak, 0), 10);
	assert_int_equal(peak_most(&peak, 1), 15);
	peak_fini(&peak);
}

static void
an_event_one_length_older_is_out(void **state)
{
	struct peak peak;

	peak_init(&peak, second_and_minute, 1);
	peak_add(&peak, 0);
	peak_add(&peak, US_PER_S);
	assert_int_equal(peak_most(&peak, 0), 1);
	peak_add(&peak, 2 * US_PER_S - 1);
	assert_int_equal(peak_most(&peak, 0), 2);
	peak_fini(&peak);
}

static void
agrees_with_counting_by_hand_while_the_ring_grows(void **state)
{
	enum { N = 5000 };
	static mono_us_t at[N];
	const mono_us_t length = 3 * US_PER_S;
	struct peak peak;
	struct prng prng;
	mono_us_t now = 7;
	unsigned most = 0;

	prng_seed(&prng, 42);
	peak_init(&peak, &length, 1);
	for (int i = 0; i < N; i++) {
		now += (mono_us_t)prng_below(&prng, prng_below(&prng, 2000) ? 2000 : 4 * US_PER_S);
		at[i] = now;
		peak_add(&peak, now);
		unsigned held = 0;
		for (int j = i; j >= 0 && now - at[j] < length; j--)
			held++;
		most = held > most ? held : most;
	}
	assert_true(most > 1024);
	assert_int_equal(peak_most(&peak, 0), most);
	assert_false(peak_saturated(&peak));
	peak_fini(&peak);
}

static void
remembers_a_limited_number_and_says_so(void **state)
{
	const mono_us_t length = US_PER_S;
	struct peak peak;

	peak_init(&peak, &length, 1);
	for (uint32_t i = 0; i < PEAK_EVENTS_MAX; i++)
		peak_add(&peak, 1);
	assert_false(peak_saturated(&peak));
	assert_int_equal(peak_most(&peak, 0), PEAK_EVENTS_MAX);
	peak_add(&peak, 1);
	assert_true(peak_saturated(&peak));
	assert_int_equal(peak_most(&peak, 0), PEAK_EVENTS_MAX);
	peak_fini(&peak);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts_the_fullest_window),
		cmocka_unit_test(an_event_one_length_older_is_out),
		cmocka_unit_test(agrees_with_counting_by_hand_while_the_ring_grows),
		cmocka_unit_test(remembers_a_limited_number_and_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
