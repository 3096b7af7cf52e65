/*
 * loop - one shard's event loop: timers, connections, and calls from other
 * threads. A door: loop_os runs on libev, a simulated one in virtual time.
 *
 * Threads    All but loop_post() and loop_stop() belong to the loop's thread.
 * Time       `now` is read once per turn; loop_now() is that reading.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "net/clock.h"
#include "util/err.h"
#include "util/timer.h"

struct loop_call {              /* embedded by who posts; posted at most once at a time */
	struct loop_call *next;
	void            (*fn)(void *ctx);
	void             *ctx;
};

struct loop;
struct loop_ops {
	void (*post)(struct loop *loop, struct loop_call *call);
	void (*run)(struct loop *loop);
	void (*stop)(struct loop *loop);
	bool (*run_posted)(struct loop *loop);
};

struct loop {
	const struct loop_ops *ops;
	struct clock           clock;
	struct timers          timers;
	struct now             now;             /* this turn's */
};

static inline struct now loop_now(const struct loop *loop) { return loop->now; }
static inline void loop_post(struct loop *loop, struct loop_call *call) { loop->ops->post(loop, call); }
/* Runs until loop_stop(). */
static inline void loop_run(struct loop *loop) { loop->ops->run(loop); }
static inline void loop_stop(struct loop *loop) { loop->ops->stop(loop); }
/* Runs what was posted so far, here; false: nothing was. For the loop's own thread, or while that one stands still. */
static inline bool loop_run_posted(struct loop *loop) { return loop->ops->run_posted(loop); }

/* The real one, on libev. Not the default loop; one per thread. */
struct loop *loop_os_new(struct err *err);
void loop_os_free(struct loop *loop);
/* fn runs on the loop's thread when the signal came; for SIGTERM, SIGINT, SIGHUP. */
void loop_os_on_signal(struct loop *loop, int signum, void (*fn)(void *ctx, int signum), void *ctx);
