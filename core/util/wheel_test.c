/* The wheel: nobody early, nobody later than a tick, nobody forgotten. */
/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "util/prng.h"
#include "util/wheel.h"

#define TICK US_PER_S

struct fixture {
	struct wheel      wheel;
	struct wheel_node nodes[300];
	bool              added[300];
	mono_us_t         added_at[300];
	mono_us_t         now;
	size_t            fired;
};

static struct fixture *
fixture_new(mono_us_t now)
{
	struct fixture *f = mem_alloc(sizeof(*f));
	wheel_init(&f->wheel, TICK, now);
	f->now = now;
	for (size_t i = 0; i < countof(f->nodes); i++)
		wheel_node_init(&f->nodes[i]);
	return f;
}

static void
on_node(void *ctx, struct wheel_node *node)
{
	struct fixture *f = ctx;
	assert_true(node->at <= f->now);
	assert_false(list_linked(&node->link));
	assert_true(f->added[node - f->nodes]);
	f->added[node - f->nodes] = false;
	f->fired++;
}

static void
run(struct fixture *f, mono_us_t now)
{
	f->now = now;
	wheel_run(&f->wheel, now, on_node, f);
	for (size_t i = 0; i < countof(f->nodes); i++)
		if (f->added[i])
			assert_true(max_i64(f->nodes[i].at, f->added_at[i]) > now - 2 * TICK);
}

static void
nobody_is_early_or_more_than_a_tick_late(void **state)
{
	struct prng prng;
	prng_seed(&prng, 1);
	struct fixture *f = fixture_new(12345678);
	mono_us_t now = 12345678;
	for (int step = 0; step < 20000; step++) {
		size_t i = prng_below(&prng, countof(f->nodes));
		if (f->added[i]) {
			wheel_remove(&f->nodes[i]);
		} else {
			uint64_t far = prng_below(&prng, 10) ? 100 * TICK : 3 * WHEEL_SLOTS * TICK;
			wheel_add(&f->wheel, &f->nodes[i], now + (mono_us_t)prng_below(&prng, far) - 5 * TICK);
		}
		f->added[i] = !f->added[i];
		f->added_at[i] = now;
		if (prng_below(&prng, 3) == 0)
			run(f, now += (mono_us_t)prng_below(&prng, prng_below(&prng, 100) ? 2 * TICK : 2 * WHEEL_SLOTS * TICK));
	}
	assert_true(f->fired > 1000);
	run(f, now + 4 * WHEEL_SLOTS * TICK);
	for (size_t i = 0; i < countof(f->nodes); i++)
		assert_false(f->added[i]);
	free(f);
}

static void
never_never_comes(void **state)
{
	struct fixture *f = fixture_new(0);
	wheel_add(&f->wheel, &f->nodes[0], MONO_NEVER);
	f->added[0] = true;
	run(f, INT64_C(1) << 54);
	assert_int_equal(f->fired, 0);
	assert_true(list_linked(&f->nodes[0].link));
	free(f);
}

static void
a_clock_that_goes_back_fires_nobody_twice(void **state)
{
	struct fixture *f = fixture_new(100 * TICK);
	wheel_add(&f->wheel, &f->nodes[0], 101 * TICK);
	f->added[0] = true;
	run(f, 101 * TICK);
	run(f, 50 * TICK);
	run(f, 102 * TICK);
	assert_int_equal(f->fired, 1);
	free(f);
}

static void
on_node_meddle(void *ctx, struct wheel_node *node)
{
	struct fixture *f = ctx;
	size_t i = (size_t)(node - f->nodes);
	f->fired++;
	assert_true(f->fired < 1000);
	/* Itself, for the past; a neighbour goes, another is put off. */
	wheel_add(&f->wheel, node, f->now - 10 * TICK);
	wheel_remove(&f->nodes[i + 1]);
	wheel_remove(&f->nodes[i + 2]);
	wheel_add(&f->wheel, &f->nodes[i + 2], f->now + 10 * TICK);
}

static void
a_callback_may_add_and_remove_anybody(void **state)
{
	for (mono_us_t jump = TICK; jump < 3 * WHEEL_SLOTS * TICK; jump *= 7) {
		struct fixture *f = fixture_new(0);
		for (size_t i = 0; i < 9; i++)
			wheel_add(&f->wheel, &f->nodes[i], i % 2 ? TICK : 1);
		/* In the order of adding: 0, 1, 2 …; each third fires. */
		f->now = jump;
		wheel_run(&f->wheel, jump, on_node_meddle, f);
		assert_int_equal(f->fired, 3);
		for (size_t i = 0; i < 9; i++)
			assert_int_equal(list_linked(&f->nodes[i].link), i % 3 != 1);
		f->now = jump + TICK;
		f->fired = 0;
		for (size_t i = 0; i < 9; i += 3)
			f->added[i] = true;
		wheel_run(&f->wheel, jump + TICK, on_node, f);
		assert_int_equal(f->fired, 3);
		free(f);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_is_early_or_more_than_a_tick_late),
		cmocka_unit_test(never_never_comes),
		cmocka_unit_test(a_clock_that_goes_back_fires_nobody_twice),
		cmocka_unit_test(a_callback_may_add_and_remove_anybody),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
