/*
 * loop_sim - a heap of events beside the loop's own timers.
 *
 * Events have a heap of their own because their order must replay: equal
 * instants go by the heap's sequence number, and that number also tells what
 * was scheduled since the turn began, so that a turn ends even where an event
 * schedules itself for now.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/loop_sim.h"

#include <stdlib.h>

#define TURNS_MAX 1000000u      /* at one instant */

struct loop_sim {
	struct loop       loop;
	struct heap       events;
	struct loop_call *first, **end; /* posted */
	struct list       turn_ends;
	mono_us_t         wall_zero_us; /* wall time is monotonic time and this */
	uint32_t          turns;        /* at this instant */
	bool              more;         /* the ends of the turn have something to do */
	bool              stop;
	bool              stuck;
};

static struct loop_sim *
sim_of(struct loop *loop)
{
	return container_of(loop, struct loop_sim, loop);
}

static void
set_now(struct loop_sim *sim, mono_us_t mono)
{
	sim->loop.now.mono = mono;
	sim->loop.now.wall.ms = (mono + sim->wall_zero_us) / US_PER_MS;
}

static struct now
sim_clock_now(void *ctx)
{
	const struct loop_sim *sim = ctx;

	return sim->loop.now;
}

static void
sim_post(struct loop *loop, struct loop_call *call)
{
	struct loop_sim *sim = sim_of(loop);

	call->next = NULL;
	*sim->end = call;
	sim->end = &call->next;
}

static void
run_events(struct loop_sim *sim)
{
	uint32_t new_seq = sim->events.next_seq;
	struct heap_node *node;

	while ((node = heap_min(&sim->events)) && node->key <= sim->loop.now.mono &&
	       (int32_t)(node->seq - new_seq) < 0) {
		struct sim_event *event = container_of(node, struct sim_event, node);

		heap_remove(&sim->events, node);
		event->fn(event->ctx);
	}
}

static void
run_posted(struct loop_sim *sim)
{
	struct loop_call *call = sim->first;

	sim->first = NULL;
	sim->end = &sim->first;
	while (call) {
		struct loop_call *next = call->next;

		call->next = NULL;
		call->fn(call->ctx);
		call = next;
	}
}

static void
one_turn(struct loop_sim *sim)
{
	run_events(sim);
	timers_run(&sim->loop.timers, sim->loop.now);
	if (sim->first)
		run_posted(sim);
	sim->more = false;
	list_each_safe(pos, &sim->turn_ends) {
		struct loop_sim_turn_end *end = list_entry(pos, struct loop_sim_turn_end, link);

		sim->more |= end->fn(end->ctx);
	}
}

mono_us_t
loop_sim_next(const struct loop *loop)
{
	const struct loop_sim *sim = container_of(loop, const struct loop_sim, loop);
	const struct heap_node *event = heap_min(&sim->events);
	mono_us_t at = timers_next(&loop->timers);

	if (sim->first || sim->more)
		return loop->now.mono;
	if (event)
		at = min_i64(at, event->key);
	return max_i64(at, loop->now.mono);
}

bool
loop_sim_turn(struct loop *loop, mono_us_t until)
{
	struct loop_sim *sim = sim_of(loop);
	mono_us_t at = loop_sim_next(loop);

	if (sim->stuck)
		return false;
	if (at > until || at == MONO_NEVER) {
		if (until > loop->now.mono && until != MONO_NEVER)
			set_now(sim, until);
		sim->turns = 0;
		return false;
	}
	if (at != loop->now.mono) {
		set_now(sim, at);
		sim->turns = 0;
	}
	do {
		one_turn(sim);
		sim->stuck = ++sim->turns >= TURNS_MAX;
	} while (!sim->stuck && !sim->stop && loop_sim_next(loop) == at);
	return true;
}

bool
loop_sim_stuck(const struct loop *loop)
{
	return container_of(loop, const struct loop_sim, loop)->stuck;
}

static void
sim_run(struct loop *loop)
{
	struct loop_sim *sim = sim_of(loop);

	while (!sim->stop && loop_sim_turn(loop, MONO_NEVER))
		;
	sim->stop = false;
}

static void
sim_stop(struct loop *loop)
{
	sim_of(loop)->stop = true;
}

static bool
sim_run_posted(struct loop *loop)
{
	struct loop_sim *sim = sim_of(loop);
	bool some = sim->first != NULL;

	run_posted(sim);
	return some;
}

static const struct loop_ops loop_sim_ops = {
	.post = sim_post,
	.run = sim_run,
	.stop = sim_stop,
	.run_posted = sim_run_posted,
};

struct loop *
loop_sim_new(mono_us_t start, wall_ms_t wall_start)
{
	struct loop_sim *sim = mem_alloc(sizeof(*sim));

	sim->loop.ops = &loop_sim_ops;
	sim->loop.clock = (struct clock){ .now = sim_clock_now, .ctx = sim };
	timers_init(&sim->loop.timers);
	heap_init(&sim->events);
	list_init(&sim->turn_ends);
	sim->end = &sim->first;
	sim->wall_zero_us = wall_start.ms * US_PER_MS - start;
	set_now(sim, start);
	return &sim->loop;
}

void
loop_sim_free(struct loop *loop)
{
	struct loop_sim *sim = loop ? sim_of(loop) : NULL;

	if (!sim)
		return;
	check(list_empty(&sim->turn_ends));
	timers_fini(&loop->timers);
	heap_fini(&sim->events);
	free(sim);
}

void
loop_sim_at(struct loop *loop, struct sim_event *event, mono_us_t at)
{
	struct loop_sim *sim = sim_of(loop);

	at = max_i64(at, loop->now.mono);
	if (sim_event_scheduled(event))
		heap_move(&sim->events, &event->node, at);
	else
		heap_add(&sim->events, &event->node, at);
}

void
loop_sim_cancel(struct loop *loop, struct sim_event *event)
{
	if (sim_event_scheduled(event))
		heap_remove(&sim_of(loop)->events, &event->node);
}

void
loop_sim_add_turn_end(struct loop *loop, struct loop_sim_turn_end *end)
{
	list_add_tail(&sim_of(loop)->turn_ends, &end->link);
}

void
loop_sim_remove_turn_end(struct loop_sim_turn_end *end)
{
	list_remove(&end->link);
}

void
loop_sim_wake(struct loop *loop)
{
	sim_of(loop)->more = true;
}

void
loop_sim_jump_wall(struct loop *loop, int64_t by_ms)
{
	struct loop_sim *sim = sim_of(loop);

	sim->wall_zero_us += by_ms * US_PER_MS;
	set_now(sim, loop->now.mono);
}
