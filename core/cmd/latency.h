/*
 * latency - how long something took, many times over: quantiles in fixed memory.
 *
 * Ownership  Embedded; zeroed memory has seen nothing.
 * Limits     A quantile is exact below 64 us and at most 3 % too high above; the
 *            maximum is exact. What took over 4,294 s counts as that.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "util/base.h"

#define LATENCY_STEPS 32                /* an octave */

struct latency {
	uint64_t n;
	uint32_t max_us;
	uint64_t counts[LATENCY_STEPS * 28];
};

void latency_add(struct latency *latency, mono_us_t took_us);
/* That part (0 to 1) of all took no longer; 0 when nothing was seen. */
uint32_t latency_within_us(const struct latency *latency, double part);
