/*
 * timer - what should happen at a monotonic instant; a heap that is told `now`.
 *
 * Ownership  The timers are the caller's, embedded; stop one before its memory
 *            goes. Starting a started timer moves it.
 * Threads    One loop's.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "util/heap.h"

struct timer;
typedef void timer_fn(void *ctx, struct now now);

struct timer {
	struct heap_node node;
	timer_fn        *fn;
	void            *ctx;
	bool             late;          /* in timers.late */
};

struct timers {
	struct heap heap;
	struct heap late;               /* started in a run for an instant already past */
	bool        running;
	mono_us_t   run_now;
};

void timers_init(struct timers *timers);
void timers_fini(struct timers *timers);
void timer_init(struct timer *timer, timer_fn *fn, void *ctx);
void timer_start(struct timers *timers, struct timer *timer, mono_us_t at);
void timer_stop(struct timers *timers, struct timer *timer);
static inline bool timer_started(const struct timer *timer) { return timer->node.pos != 0; }
static inline mono_us_t timers_next(const struct timers *timers)
{
	const struct heap_node *first = heap_min(&timers->late);
	if (!first)
		first = heap_min(&timers->heap);
	return first ? first->key : MONO_NEVER;
}
/* Runs all that are due. One started meanwhile for an instant that is already
 * past waits for the next call, so a loop of zero delays cannot hang this one. */
void timers_run(struct timers *timers, struct now now);
