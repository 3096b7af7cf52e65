/*
 * A counter with a ceiling. Compare and swap rather than add and correct: the
 * count never passes the limit, not even for an instant that another thread
 * could see.
 *
 * To give is sequentially consistent: who gives and then asks whether somebody waits
 * must not miss one who said so and then found nothing (queue/turns.c).
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "limit/backoff.h"
#include "limit/gauge.h"

bool
gauge_take(struct gauge *gauge, uint32_t limit)
{
	for (;; backoff_rest()) {
		uint32_t in_use = atomic_load_explicit(&gauge->in_use, memory_order_relaxed);
		if (in_use >= limit || in_use == UINT32_MAX - 1)
			return false;
		if (atomic_compare_exchange_weak_explicit(&gauge->in_use, &in_use, in_use + 1, memory_order_acq_rel,
							  memory_order_relaxed))
			return true;
	}
}

void
gauge_give(struct gauge *gauge)
{
	uint32_t before = atomic_fetch_sub(&gauge->in_use, 1);
	check(before > 0);
}
