/* The pool against malloc(): what comes back serves again, and only so much of it is kept. */
/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "util/pool.h"

#define CELL 64

/* It keeps some with sanitizers too. */
static void
init(struct pool *pool, unsigned spares_max)
{
	pool_init(pool, CELL, spares_max);
	pool->spares_max = spares_max;
}

static void
what_comes_back_is_the_next_ones_and_zero(void **state)
{
	struct pool pool;
	void *first, *second;

	init(&pool, 4);
	first = memset(pool_take(&pool, CELL), 'x', CELL);
	pool_give(&pool, first, CELL);
	second = pool_take(&pool, 40);
	assert_ptr_equal(second, first);
	for (unsigned i = 0; i < 40; i++)
		assert_int_equal(((char *)second)[i], 0);
	pool_give(&pool, second, 40);
	/* One that was taken small is as large as any. */
	assert_ptr_equal(memset(pool_take(&pool, CELL), 'x', CELL), first);
	pool_give(&pool, first, CELL);
	pool_fini(&pool);
}

static unsigned
spares_of(const struct pool *pool)
{
	return atomic_load(&pool->returned_n);
}

static void
what_is_larger_than_a_cell_is_not_kept(void **state)
{
	struct pool pool;

	init(&pool, 4);
	pool_give(&pool, memset(pool_take(&pool, CELL + 1), 'x', CELL + 1), CELL + 1);
	assert_int_equal(spares_of(&pool), 0);
	pool_fini(&pool);
}

static void
a_burst_leaves_no_more_than_the_bound(void **state)
{
	struct pool pool;
	void *taken[100];

	init(&pool, 10);
	for (unsigned i = 0; i < countof(taken); i++)
		taken[i] = pool_take(&pool, CELL);
	for (unsigned i = 0; i < countof(taken); i++)
		pool_give(&pool, taken[i], CELL);
	assert_int_equal(spares_of(&pool), 10);
	pool_fini(&pool);
}

/* ---- from afar ---- */

#define ROUNDS 20000

struct relay {
	struct pool pool;
	_Atomic(void *) slots[3];       /* taken, for one thread each */
};

struct giver { struct relay *relay; unsigned slot; };

static void *
give_back(void *ctx)
{
	struct giver *giver = ctx;

	for (unsigned n = 0; n < ROUNDS;) {
		void *cell = atomic_exchange(&giver->relay->slots[giver->slot], NULL);

		if (cell == NULL) {
			sched_yield();
			continue;
		}
		memset(cell, 'x', CELL);
		pool_give(&giver->relay->pool, cell, CELL);
		n++;
	}
	return NULL;
}

static bool
is_zero(const char *cell)
{
	for (unsigned i = 0; i < CELL; i++)
		if (cell[i] != 0)
			return false;
	return true;
}

static void
one_takes_while_others_give_back(void **state)
{
	struct relay relay = { 0 };
	struct giver givers[countof(relay.slots)];
	pthread_t threads[countof(relay.slots)];
	unsigned taken[countof(relay.slots)] = { 0 }, done = 0, dirty = 0;

	init(&relay.pool, 8);
	for (unsigned i = 0; i < countof(threads); i++) {
		givers[i] = (struct giver){ &relay, i };
		assert_int_equal(pthread_create(&threads[i], NULL, give_back, &givers[i]), 0);
	}
	for (unsigned i = 0; done < countof(threads); i = (i + 1) % countof(threads)) {
		char *cell;

		if (taken[i] == ROUNDS || atomic_load(&relay.slots[i]) != NULL) {
			sched_yield();
			continue;
		}
		cell = pool_take(&relay.pool, CELL);
		dirty += !is_zero(cell);
		atomic_store(&relay.slots[i], cell);
		done += ++taken[i] == ROUNDS;
	}
	for (unsigned i = 0; i < countof(threads); i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(dirty, 0);
	pool_fini(&relay.pool);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_comes_back_is_the_next_ones_and_zero),
		cmocka_unit_test(what_is_larger_than_a_cell_is_not_kept),
		cmocka_unit_test(a_burst_leaves_no_more_than_the_bound),
		cmocka_unit_test(one_takes_while_others_give_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
