/*
 * clock_os - the system's two clocks. Monotonic time is CLOCK_MONOTONIC, which
 * NTP slews but never sets back; both go through the vDSO, without a syscall.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "net/clock.h"

static struct now
clock_os_now(void *ctx)
{
	struct timespec mono, wall;

	check(clock_gettime(CLOCK_MONOTONIC, &mono) == 0);
	check(clock_gettime(CLOCK_REALTIME, &wall) == 0);
	return (struct now){
		.mono = (int64_t)mono.tv_sec * US_PER_S + mono.tv_nsec / 1000,
		.wall = { (int64_t)wall.tv_sec * MS_PER_S + wall.tv_nsec / 1000000 },
	};
}

void
clock_os_init(struct clock *clock)
{
	*clock = (struct clock){ .now = clock_os_now };
}
