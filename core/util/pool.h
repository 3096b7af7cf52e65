/*
 * pool - small records that come and go with each message: what is given back is the
 * next one's memory, up to a bound, so that a steady flow asks malloc() for nothing and a
 * burst leaves little behind.
 *
 * Ownership  init/fini. A record is malloc()'s: free() is right as well.
 * Threads    One takes, any gives back.
 * Limits     `spares_max` that are kept by who takes, and about as many on their way back to him. What is larger
 *            than a cell has memory of its own size.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdatomic.h>

#include "util/base.h"

/* Nothing is kept where a sanitizer looks for what is used after its end. */
#ifdef __SANITIZE_ADDRESS__
#define POOL_KEEPS(n) 0
#else
#define POOL_KEEPS(n) (n)
#endif

struct pool_spare;

struct pool {
	size_t cell_bytes;
	unsigned spares_max;
	struct pool_spare *spares;              /* the taker's */
	_Atomic(struct pool_spare *) returned;  /* anybody's */
	_Atomic unsigned returned_n;
};

void  pool_init(struct pool *pool, size_t cell_bytes, unsigned spares_max);
void  pool_fini(struct pool *pool);     /* nobody gives back any more */
void *pool_take(struct pool *pool, size_t n);                   /* zeroed */
void  pool_give(struct pool *pool, void *p, size_t n);          /* n: as it was taken */
