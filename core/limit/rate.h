/*
 * rate - at most N in any sliding window, evenly paced.
 *
 * The generic cell rate algorithm (ITU-T I.371), kept as one virtual instant
 * that lies at or behind now: every event moves it up by the interval T, and
 * none may move it past now.
 *
 *   interval T = (window + slack) / (count - burst - catchup)
 *   slack      = min(window/40, 50 ms): the wire's jitter must not squeeze
 *                N+1 into a window that the receiver measures
 *   catchup    = events in min(window/40, 50 ms): what a late loop may make
 *                up at once; 0 for slow rates, so they stay strictly paced
 *   tolerance  = (burst or 0, less one) + catchup intervals: how far behind
 *                now - T the instant may lie
 *
 * so any half-open window holds at most burst + catchup + window/T <= count.
 *
 * The spec is an argument of every call. When it changes, what was left stays
 * left, counted in events, less what the burst shrank by: no fresh bucket, and
 * a window across the change holds no more than the looser of both specs lets
 * through. That is for a change now and then: each time a burst shrinks it is
 * paid for, so callers that use two bursts by turns starve each other.
 *
 * Ownership  Embedded; zeroed memory is a limiter that has seen nothing.
 * Threads    Any, lock-free; while one thread puts a changed spec in place the
 *            others wait for these few instructions.
 * Time       Monotonic microseconds, handed in; 0 or more, below 2^55.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdatomic.h>

#include "util/units.h"

struct rate {
	_Atomic int64_t  last;          /* the virtual instant, in 1/64 us; 0 = none yet */
	/* Of the spec that `last` is counted in. */
	_Atomic uint32_t count, burst;
	_Atomic int64_t  window_us;
	_Atomic int64_t  interval;      /* T, in 1/64 us */
	_Atomic int64_t  depth;         /* T + tolerance */
	_Atomic int64_t  since;         /* no event before: when this spec came */
	_Atomic int64_t  latest;        /* the latest now of any event */
};

/* Takes n (>= 1) events if all of them may go now; else false, nothing taken. */
bool rate_take(struct rate *rate, const struct rate_spec *spec, uint32_t n, mono_us_t now);
/* Gives back what was taken and not used. Never more than was taken, and in the
 * same turn of the loop: what is held while the limiter refills and then given
 * back would be given twice. */
void rate_give(struct rate *rate, const struct rate_spec *spec, uint32_t n);
/* How many could go at once now; UINT32_MAX when unlimited. */
uint32_t rate_available(const struct rate *rate, const struct rate_spec *spec, mono_us_t now);
/* When one could go: now, or later. */
mono_us_t rate_ready_at(const struct rate *rate, const struct rate_spec *spec, mono_us_t now);
/* When n (>= 1) could go at once: now, or later; MONO_NEVER: so many never may. */
mono_us_t rate_ready_for(const struct rate *rate, const struct rate_spec *spec, uint32_t n, mono_us_t now);

/* Puts the spec in place without an event: what one that nobody uses lets go begins to grow from here. */
void rate_adopt(struct rate *rate, const struct rate_spec *spec, mono_us_t now);

/* The checkpoint: how far the virtual instant lies ahead of or behind `now`
 * (never MONO_NEVER), in microseconds; INT64_MIN when nothing was seen. Restored
 * against another clock's now. If the spec is not the one it was saved under,
 * rate_spend_all() after it. */
int64_t rate_save(const struct rate *rate, mono_us_t now);
void    rate_restore(struct rate *rate, int64_t saved, mono_us_t now);
/* After a crash: whatever could have been spent until now counts as spent. */
void    rate_spend_all(struct rate *rate, const struct rate_spec *spec, mono_us_t now);
