/*
 * backoff - a rest for who lost a race for a limiter, about a microsecond.
 *
 * Who tries again at once takes the cache line from the winner before that one's next
 * event, and both pay a transfer for each; rested, each has a few events at the price of one.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdatomic.h>

static inline void
backoff_rest(void)
{
	for (int i = 0; i < 32; i++)
#if defined(__x86_64__)
		__builtin_ia32_pause();
#else
		atomic_signal_fence(memory_order_seq_cst);
#endif
}
