/*
 * rate - at most N in any sliding window, evenly paced, in one 64-bit atomic.
 *
 * The generic cell rate algorithm (ITU-T I.371), kept as the virtual instant
 * of the last event rather than of the next: the spec is an argument of every
 * call, so when it changes the state stays and no fresh bucket is handed out.
 *
 *   interval T = (window + slack) / (count - burst - catchup)
 *   slack      = min(window/40, 50 ms): the wire's jitter must not squeeze
 *                N+1 into a window that the receiver measures
 *   catchup    = events in min(window/40, 50 ms): what a late loop may make
 *                up at once; 0 for slow rates, so they stay strictly paced
 *   tolerance  = (burst or 0, less one) + catchup intervals
 *
 * so any half-open window holds at most burst + catchup + window/T <= count.
 *
 * Ownership  Embedded; zeroed memory is a limiter that has seen nothing.
 * Threads    Any, lock-free.
 * Time       Monotonic microseconds, handed in.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdatomic.h>

#include "util/units.h"

struct rate {
	_Atomic int64_t last;   /* virtual instant of the last event + 1; 0 = none yet */
};

/* Takes n (>= 1) events if all of them may go now; else false, nothing taken. */
bool rate_take(struct rate *rate, const struct rate_spec *spec, uint32_t n, mono_us_t now);
/* Gives back what was taken and not used. Never more than was taken. */
void rate_give(struct rate *rate, const struct rate_spec *spec, uint32_t n);
/* How many could go at once now; UINT32_MAX when unlimited. */
uint32_t rate_available(const struct rate *rate, const struct rate_spec *spec, mono_us_t now);
/* When one could go: now, or later. */
mono_us_t rate_ready_at(const struct rate *rate, const struct rate_spec *spec, mono_us_t now);

/* The checkpoint: how far the virtual instant lies ahead of or behind `now`
 * (never MONO_NEVER); INT64_MIN when nothing was seen. Restored against another clock's now. */
int64_t rate_save(const struct rate *rate, mono_us_t now);
void    rate_restore(struct rate *rate, int64_t saved, mono_us_t now);
/* After a crash: whatever could have been spent until now counts as spent. */
void    rate_spend_all(struct rate *rate, const struct rate_spec *spec, mono_us_t now);
