/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sim/sightings.h"
#include "util/prng.h"

#define CONNECTIONS 40
#define END         60          /* short, so that instants coincide */

static void
an_interval_holds_its_beginning_and_not_its_end(void **state)
{
	struct sightings seen;

	sightings_init(&seen);
	sightings_opened(&seen, 10);
	sightings_accepted(&seen, 20, 3);
	sightings_closed(&seen, 20);
	assert_int_equal(sightings_connections(&seen, 10, 11), 1);
	assert_int_equal(sightings_connections(&seen, 0, 10), 0);
	assert_int_equal(sightings_recipients(&seen, 20, 21), 3);
	assert_int_equal(sightings_recipients(&seen, 0, 20), 0);
	assert_int_equal(sightings_peak(&seen, 19, 20), 1);
	assert_int_equal(sightings_peak(&seen, 20, 30), 0);
	assert_int_equal(sightings_peak(&seen, 0, 10), 0);
	assert_int_equal(sightings_peak(&seen, 12, 12), 0);
	assert_int_equal(sightings_connections(&seen, 30, 0), 0);
	sightings_fini(&seen);
}

static void
a_place_handed_on_within_an_instant_is_one_place(void **state)
{
	struct sightings seen;

	sightings_init(&seen);
	sightings_opened(&seen, 10);
	sightings_closed(&seen, 20);
	sightings_opened(&seen, 20);
	assert_int_equal(sightings_peak(&seen, 0, INT64_MAX), 1);
	sightings_opened(&seen, 30);
	sightings_closed(&seen, 30);
	assert_int_equal(sightings_peak(&seen, 30, 31), 2);
	assert_int_equal(sightings_peak(&seen, 31, 32), 1);
	sightings_fini(&seen);
}

static void
a_window_does_not_hold_what_is_one_length_older(void **state)
{
	struct sightings seen;

	sightings_init(&seen);
	assert_int_equal(sightings_rate(&seen, 10), 0);
	sightings_accepted(&seen, 0, 2);
	sightings_accepted(&seen, 10, 2);
	sightings_accepted(&seen, 19, 1);
	assert_int_equal(sightings_rate(&seen, 10), 3);
	assert_int_equal(sightings_rate(&seen, 11), 4);
	assert_int_equal(sightings_rate(&seen, 20), 5);
	sightings_fini(&seen);
}

struct history {
	int64_t opened[CONNECTIONS], closed[CONNECTIONS];       /* INT64_MAX: still open */
	uint32_t accepted[END];
};

/* All at one instant that closes comes before what opens, so that a history is all there is to know. */
static void
live(struct sightings *seen, struct history *history, struct prng *prng)
{
	for (unsigned i = 0; i < CONNECTIONS; i++) {
		history->opened[i] = (int64_t)prng_below(prng, END);
		history->closed[i] = prng_below(prng, 5) ? history->opened[i] + 1 + (int64_t)prng_below(prng, 10) : INT64_MAX;
	}
	for (int64_t t = 0; t < END + 20; t++) {
		for (unsigned i = 0; i < CONNECTIONS; i++)
			if (history->closed[i] == t)
				sightings_closed(seen, t);
		for (unsigned i = 0; i < CONNECTIONS; i++)
			if (history->opened[i] == t)
				sightings_opened(seen, t);
		if (t >= END)
			continue;
		history->accepted[t] = prng_below(prng, 3) ? 0 : (uint32_t)prng_below(prng, 5);
		sightings_accepted(seen, t, history->accepted[t]);
	}
}

static uint64_t
peak_by_hand(const struct history *history, int64_t from, int64_t to)
{
	uint64_t most = 0;

	for (int64_t t = from; t < to; t++) {
		uint64_t open = 0;

		for (unsigned i = 0; i < CONNECTIONS; i++)
			open += history->opened[i] <= t && t < history->closed[i];
		if (open > most)
			most = open;
	}
	return most;
}

static uint64_t
recipients_by_hand(const struct history *history, int64_t from, int64_t to)
{
	uint64_t n = 0;

	for (int64_t t = from; t < to; t++)
		n += t >= 0 && t < END ? history->accepted[t] : 0;
	return n;
}

static void
agrees_with_counting_by_hand(void **state)
{
	for (uint64_t seed = 1; seed <= 200; seed++) {
		struct history history = { 0 };
		struct sightings seen;
		struct prng prng;

		prng_seed(&prng, seed);
		sightings_init(&seen);
		live(&seen, &history, &prng);
		for (int i = 0; i < 30; i++) {
			int64_t from = (int64_t)prng_below(&prng, END + 25), to = (int64_t)prng_below(&prng, END + 25);
			int64_t window = 1 + (int64_t)prng_below(&prng, END);
			uint64_t opened = 0, most = 0;

			for (unsigned k = 0; k < CONNECTIONS; k++)
				opened += history.opened[k] >= from && history.opened[k] < to;
			for (int64_t t = 0; t < END; t++)
				if (recipients_by_hand(&history, t, t + window) > most)
					most = recipients_by_hand(&history, t, t + window);
			assert_int_equal(sightings_connections(&seen, from, to), opened);
			assert_int_equal(sightings_recipients(&seen, from, to), recipients_by_hand(&history, from, to));
			assert_int_equal(sightings_peak(&seen, from, to), peak_by_hand(&history, from, to));
			assert_int_equal(sightings_rate(&seen, window), most);
		}
		sightings_fini(&seen);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_interval_holds_its_beginning_and_not_its_end),
		cmocka_unit_test(a_place_handed_on_within_an_instant_is_one_place),
		cmocka_unit_test(a_window_does_not_hold_what_is_one_length_older),
		cmocka_unit_test(agrees_with_counting_by_hand),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
