/*
 * loop_sim - the simulated side of the loop door: virtual time, one thread,
 * and an order that depends on nothing but what was asked for.
 *
 * The clock stands still while anything is done at an instant, and then jumps
 * to the next one. An instant is handled in turns, as the real loop's:
 * events by (time, order of scheduling) · timers that are due · calls that
 * were posted, first in, first out · the ends of the turn. What is asked for
 * during a turn at the same instant waits for the instant's next turn.
 *
 * Ownership  Events and turn ends are the caller's, embedded; cancel one before
 *            its memory goes.
 * Threads    One; loop_post() too.
 * Time       An event in the past is due now.
 * Limits     A million turns at one instant: nobody lets time pass. The loop
 *            then stands still for good, and loop_sim_stuck() says so.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "net/loop.h"
#include "util/list.h"

struct sim_event {
	struct heap_node node;
	void           (*fn)(void *ctx);
	void            *ctx;
};

struct loop *loop_sim_new(mono_us_t start, wall_ms_t wall_start);
void loop_sim_free(struct loop *loop);          /* turn ends are gone by then */

/* fn and ctx are the caller's to set. A scheduled event is moved. */
void loop_sim_at(struct loop *loop, struct sim_event *event, mono_us_t at);
void loop_sim_cancel(struct loop *loop, struct sim_event *event);
static inline bool sim_event_scheduled(const struct sim_event *event) { return event->node.pos != 0; }

/* Called at the end of each turn, in the order added. True: there is more to
 * do, at this same instant. */
struct loop_sim_turn_end {
	struct list link;
	bool      (*fn)(void *ctx);
	void       *ctx;
};
void loop_sim_add_turn_end(struct loop *loop, struct loop_sim_turn_end *end);
void loop_sim_remove_turn_end(struct loop_sim_turn_end *end);
/* The ends have something to do: there is a turn at this instant, if none is under way. */
void loop_sim_wake(struct loop *loop);

/* When the next thing is due; MONO_NEVER: nothing is. */
mono_us_t loop_sim_next(const struct loop *loop);
/* Goes to the next instant at which something is due, and does all of it. False:
 * nothing is due by `until`, and the clock stands there (at MONO_NEVER: where it was). */
bool loop_sim_turn(struct loop *loop, mono_us_t until);
bool loop_sim_stuck(const struct loop *loop);

/* A fault: somebody sets the wall clock. Monotonic time goes on. */
void loop_sim_jump_wall(struct loop *loop, int64_t by_ms);
