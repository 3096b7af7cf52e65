/*
 * One ring of instants serves all windows: each only remembers where it begins,
 * so an event costs a store and, spread over time, one step a window.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/peak.h"

#include <stdlib.h>
#include <string.h>

#define CAP_FIRST 1024

void
peak_init(struct peak *peak, const mono_us_t *lengths_us, unsigned n)
{
	check(n > 0 && n <= PEAK_WINDOWS_MAX);
	memset(peak, 0, sizeof(*peak));
	peak->windows_n = n;
	for (unsigned i = 0; i < n; i++)
		peak->windows[i].length_us = lengths_us[i];
	peak->cap = CAP_FIRST;
	peak->at = mem_alloc(peak->cap * sizeof(*peak->at));
}

void
peak_fini(struct peak *peak)
{
	free(peak->at);
	memset(peak, 0, sizeof(*peak));
}

static void
grow(struct peak *peak)
{
	uint32_t cap = peak->cap * 2;
	mono_us_t *at = mem_alloc(cap * sizeof(*at));

	for (uint64_t i = peak->first; i < peak->end; i++)
		at[i % cap] = peak->at[i % peak->cap];
	free(peak->at);
	peak->at = at;
	peak->cap = cap;
}

static void
make_room(struct peak *peak)
{
	if (peak->end - peak->first < peak->cap)
		return;
	if (peak->cap < PEAK_EVENTS_MAX) {
		grow(peak);
		return;
	}
	peak->first++;
	peak->saturated = true;
	for (unsigned i = 0; i < peak->windows_n; i++)
		if (peak->windows[i].first < peak->first)
			peak->windows[i].first = peak->first;
}

void
peak_add(struct peak *peak, mono_us_t now)
{
	uint64_t oldest = UINT64_MAX;

	make_room(peak);
	peak->at[peak->end++ % peak->cap] = now;
	for (unsigned i = 0; i < peak->windows_n; i++) {
		while (now - peak->at[peak->windows[i].first % peak->cap] >= peak->windows[i].length_us)
			peak->windows[i].first++;
		uint32_t held = (uint32_t)(peak->end - peak->windows[i].first);
		if (held > peak->windows[i].most)
			peak->windows[i].most = held;
		if (peak->windows[i].first < oldest)
			oldest = peak->windows[i].first;
	}
	peak->first = oldest;
}
