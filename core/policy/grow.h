/*
 * grow - arrays in an arena that double as they fill. No capacity is kept: it
 * is the power of two at or above n.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "util/arena.h"

/* The array with room for one more behind its n. */
static inline void *
grow(struct arena *arena, void *items, size_t n, size_t item_size)
{
	if (n & (n - 1))
		return items;
	void *bigger = arena_alloc(arena, (n ? 2 * n : 1) * item_size);
	if (n)
		memcpy(bigger, items, n * item_size);
	return bigger;
}

#define GROW(arena, items, n) ((items) = grow((arena), (void *)(items), (n), sizeof(*(items))), &(items)[(n)++])
