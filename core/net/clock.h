/*
 * clock - the door to time.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "util/base.h"

struct clock {
	struct now (*now)(void *ctx);
	void        *ctx;
};

static inline struct now clock_now(const struct clock *clock) { return clock->now(clock->ctx); }
static inline mono_us_t clock_mono(const struct clock *clock) { return clock->now(clock->ctx).mono; }

/* The real one: CLOCK_MONOTONIC and CLOCK_REALTIME. */
void clock_os_init(struct clock *clock);
