/*
 * bench - what a bench measures by and how it tells: lines of `name value unit`
 * on standard output, which spec/bench/run gathers. More is better where the unit ends in
 * "/s", less everywhere else.
 *
 * Time       CPU time of the whole process, so that a busy machine matters little; who
 *            waits for a disk takes the clock's.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "util/base.h"

static inline double
bench_seconds_of(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static inline double bench_cpu_s(void) { return bench_seconds_of(CLOCK_PROCESS_CPUTIME_ID); }
static inline double bench_clock_s(void) { return bench_seconds_of(CLOCK_MONOTONIC); }

PRINTF_LIKE(3, 4)
static inline void
bench_tell(double value, const char *unit, const char *name, ...)
{
	va_list args;

	va_start(args, name);
	vprintf(name, args);
	va_end(args);
	printf(" %.6g %s\n", value, unit);
	fflush(stdout);
}
