/*
 * peak - the most events that any sliding window of a given length held.
 *
 * A window is half open: an event that is exactly one length older is out.
 *
 * Ownership  init/fini on memory of the caller's.
 * Time       Given with each event; must not go back.
 * Limits     PEAK_EVENTS_MAX events are remembered. A window that holds more
 *            counts that many, and peak_saturated() says so.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "util/base.h"

#define PEAK_WINDOWS_MAX 4
#define PEAK_EVENTS_MAX  (1u << 22)

struct peak {
	unsigned   windows_n;
	struct {
		mono_us_t length_us;
		uint64_t  first;        /* number of the oldest event inside */
		uint32_t  most;
	} windows[PEAK_WINDOWS_MAX];
	mono_us_t *at;                  /* ring: event i stands at i mod cap */
	uint32_t   cap;
	uint64_t   first, end;          /* numbers of the oldest remembered, and of the next */
	bool       saturated;
};

void peak_init(struct peak *peak, const mono_us_t *lengths_us, unsigned n);
void peak_fini(struct peak *peak);
void peak_add(struct peak *peak, mono_us_t now);
static inline uint32_t peak_most(const struct peak *peak, unsigned window) { return peak->windows[window].most; }
static inline bool peak_saturated(const struct peak *peak) { return peak->saturated; }
