/*
 * Windows begin at multiples of their length, so that nobody has to remember when
 * the first event was.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "util/pace.h"

static mono_us_t
window_of(mono_us_t now)
{
	return now - now % PACE_WINDOW_US;
}

void
pace_add(struct pace *pace, uint32_t n, mono_us_t now)
{
	mono_us_t began = window_of(now);

	if (began != pace->began) {
		pace->before = began == pace->began + PACE_WINDOW_US ? pace->now : 0;
		pace->now = 0;
		pace->began = began;
	}
	pace->now += n;
}

double
pace_per_hour(const struct pace *pace, mono_us_t now)
{
	mono_us_t began = window_of(now);
	double before = pace->before, in = pace->now, part;

	if (began == pace->began + PACE_WINDOW_US) {
		before = in;
		in = 0;
	} else if (began != pace->began) {
		return 0;
	}
	part = 1 - (double)(now - began) / (double)PACE_WINDOW_US;
	return (in + before * part) * (double)(3600 * US_PER_S) / (double)PACE_WINDOW_US;
}
