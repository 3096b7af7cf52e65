/*
 * A histogram whose steps grow with the value: 64 of 1 us, then 32 to each octave,
 * so that a slot's number is the exponent and the first five bits behind the leading one.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/latency.h"

#include <math.h>

static unsigned
slot_of(uint32_t us)
{
	unsigned shift;

	if (us < 2 * LATENCY_STEPS)
		return us;
	shift = 26 - (unsigned)__builtin_clz(us);
	return shift * LATENCY_STEPS + (us >> shift);
}

/* The largest value that falls into it. */
static uint64_t
slot_end(unsigned slot)
{
	unsigned shift;

	if (slot < 2 * LATENCY_STEPS)
		return slot;
	shift = slot / LATENCY_STEPS - 1;
	return ((uint64_t)(slot - shift * LATENCY_STEPS + 1) << shift) - 1;
}

void
latency_add(struct latency *latency, mono_us_t took_us)
{
	uint32_t us = (uint32_t)max_i64(0, min_i64(took_us, UINT32_MAX));

	latency->n++;
	latency->counts[slot_of(us)]++;
	if (us > latency->max_us)
		latency->max_us = us;
}

uint32_t
latency_within_us(const struct latency *latency, double part)
{
	uint64_t wanted = (uint64_t)ceil(part * (double)latency->n), seen = 0;

	for (unsigned i = 0; i < countof(latency->counts); i++) {
		seen += latency->counts[i];
		if (seen > 0 && seen >= wanted)
			return (uint32_t)min_i64((int64_t)slot_end(i), latency->max_us);
	}
	return latency->max_us;
}
