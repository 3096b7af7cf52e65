/*
 * A heap of instants. During a run, what is started for an instant already past
 * goes to a second heap and joins the first when the run is over: otherwise it
 * would stand in front of older timers that are due, or run for ever.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "util/timer.h"

void
timers_init(struct timers *timers)
{
	*timers = (struct timers){ 0 };
	heap_init(&timers->heap);
	heap_init(&timers->late);
}

void
timers_fini(struct timers *timers)
{
	heap_fini(&timers->heap);
	heap_fini(&timers->late);
}

void
timer_init(struct timer *timer, timer_fn *fn, void *ctx)
{
	*timer = (struct timer){ .fn = fn, .ctx = ctx };
}

void
timer_start(struct timers *timers, struct timer *timer, mono_us_t at)
{
	bool late = timers->running && at <= timers->run_now;
	struct heap *heap = late ? &timers->late : &timers->heap;
	if (timer_started(timer) && timer->late == late) {
		heap_move(heap, &timer->node, at);
		return;
	}
	timer_stop(timers, timer);
	timer->late = late;
	heap_add(heap, &timer->node, at);
}

void
timer_stop(struct timers *timers, struct timer *timer)
{
	if (timer_started(timer))
		heap_remove(timer->late ? &timers->late : &timers->heap, &timer->node);
}

static struct timer *
first_of(struct heap *heap)
{
	struct heap_node *node = heap_min(heap);
	return node ? container_of(node, struct timer, node) : NULL;
}

void
timers_run(struct timers *timers, struct now now)
{
	check(!timers->running);
	timers->running = true;
	timers->run_now = now.mono;
	struct timer *timer;
	while ((timer = first_of(&timers->heap)) && timer->node.key <= now.mono) {
		heap_remove(&timers->heap, &timer->node);
		timer->fn(timer->ctx, now);
	}
	timers->running = false;
	while ((timer = first_of(&timers->late))) {
		heap_remove(&timers->late, &timer->node);
		timer->late = false;
		heap_add(&timers->heap, &timer->node, timer->node.key);
	}
}
