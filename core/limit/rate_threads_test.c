/* The promise between two threads, that use one limiter by one spec or by two. */
/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>

#include "limit/rate_fixture.h"

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
		cmocka_unit_test(two_threads_share_one_limit),
		cmocka_unit_test(two_threads_with_different_specs_keep_the_looser),
		cmocka_unit_test(two_specs_by_turns_for_a_moment_cost_no_more_than_what_was_taken),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
