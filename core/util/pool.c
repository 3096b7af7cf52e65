/*
 * Two stacks. What comes back is pushed on one by whoever brings it; when the other is
 * empty its owner takes the whole first one for it. Nobody ever takes a single one off
 * the shared stack, so there is no ABA.
 *
 * The count of those on their way back is advice: it may miss some that come while the
 * stack is taken, and starts anew with each taking.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "util/pool.h"

#include <stdlib.h>
#include <string.h>

struct pool_spare { struct pool_spare *next; };

void
pool_init(struct pool *pool, size_t cell_bytes, unsigned spares_max)
{
	check(cell_bytes >= sizeof(struct pool_spare));
	pool->cell_bytes = cell_bytes;
	pool->spares_max = POOL_KEEPS(spares_max);
	pool->spares = NULL;
	atomic_init(&pool->returned, NULL);
	atomic_init(&pool->returned_n, 0);
}

/* What has come back since. */
static struct pool_spare *
collect(struct pool *pool)
{
	atomic_store_explicit(&pool->returned_n, 0, memory_order_relaxed);
	return atomic_exchange_explicit(&pool->returned, NULL, memory_order_acquire);
}

static void
free_all(struct pool_spare *spare)
{
	while (spare != NULL) {
		struct pool_spare *next = spare->next;

		free(spare);
		spare = next;
	}
}

void
pool_fini(struct pool *pool)
{
	free_all(pool->spares);
	free_all(collect(pool));
	pool->spares = NULL;
}

void *
pool_take(struct pool *pool, size_t n)
{
	struct pool_spare *spare;

	if (n > pool->cell_bytes)
		return mem_alloc(n);
	if (pool->spares == NULL && atomic_load_explicit(&pool->returned, memory_order_relaxed) != NULL)
		pool->spares = collect(pool);
	if (pool->spares == NULL)
		return mem_alloc(pool->cell_bytes);
	spare = pool->spares;
	pool->spares = spare->next;
	return memset(spare, 0, n);
}

void
pool_give(struct pool *pool, void *p, size_t n)
{
	struct pool_spare *spare = p;

	if (n > pool->cell_bytes ||
	    atomic_load_explicit(&pool->returned_n, memory_order_relaxed) >= pool->spares_max) {
		free(p);
		return;
	}
	atomic_fetch_add_explicit(&pool->returned_n, 1, memory_order_relaxed);
	spare->next = atomic_load_explicit(&pool->returned, memory_order_relaxed);
	while (!atomic_compare_exchange_weak_explicit(&pool->returned, &spare->next, spare,
						      memory_order_release, memory_order_relaxed))
		;
}
