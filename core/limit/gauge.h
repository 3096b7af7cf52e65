/*
 * gauge - how many of something are in use, and no more than a limit.
 *
 * Ownership  Embedded; zeroed memory is an empty gauge.
 * Threads    Any, lock-free. The limit is an argument: when it falls below
 *            what is in use nothing is revoked and nothing new is given.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdatomic.h>

#include "util/base.h"

#define GAUGE_UNLIMITED UINT32_MAX

struct gauge {
	_Atomic uint32_t in_use;
};

bool gauge_take(struct gauge *gauge, uint32_t limit);
void gauge_give(struct gauge *gauge);
static inline uint32_t
gauge_in_use(const struct gauge *gauge)
{
	return atomic_load_explicit(&gauge->in_use, memory_order_relaxed);
}
