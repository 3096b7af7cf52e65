/*
 * crowd_test - caps at the door, whoever comes and on whatever thread.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "reception/crowd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>

static const struct ip anna = { IP_V4, { 192, 0, 2, 1 } }, bert = { IP_V4, { 192, 0, 2, 2 } };

static void
each_cap_is_held_and_who_leaves_makes_room(void **state)
{
	struct crowd *crowd = crowd_new(1);
	struct crowd_door *front = crowd_door_new(crowd), *back = crowd_door_new(crowd);
	struct crowd_limits limits = { .of_node = 4, .of_door = 3, .of_client = 2 };
	struct crowd_client *in[5] = { NULL };

	assert_int_equal(crowd_enter(front, &anna, &limits, &in[0]), CROWD_ENTERS);
	assert_int_equal(crowd_enter(front, &anna, &limits, &in[1]), CROWD_ENTERS);
	assert_int_equal(crowd_enter(front, &anna, &limits, &in[2]), CROWD_CLIENT_FULL);
	assert_null(in[2]);
	assert_int_equal(crowd_enter(front, &bert, &limits, &in[2]), CROWD_ENTERS);
	assert_int_equal(crowd_enter(front, &bert, &limits, &in[3]), CROWD_FULL);
	/* Another door has another count of clients, the node has one. */
	assert_int_equal(crowd_enter(back, &anna, &limits, &in[3]), CROWD_ENTERS);
	assert_int_equal(crowd_enter(back, &bert, &limits, &in[4]), CROWD_FULL);
	crowd_leave(front, in[0]);
	assert_int_equal(crowd_enter(back, &bert, &limits, &in[4]), CROWD_ENTERS);
	crowd_leave(front, in[1]);
	crowd_leave(front, in[2]);
	crowd_leave(back, in[3]);
	crowd_leave(back, in[4]);
	crowd_door_unpin(front);
	crowd_door_unpin(back);
	crowd_unpin(crowd);
}

static void
a_door_lives_as_long_as_one_shard_has_it(void **state)
{
	struct crowd *crowd = crowd_new(1);
	struct crowd_door *door = crowd_door_new(crowd);
	struct crowd_limits limits = { 1, 1, 1 };
	struct crowd_client *client;

	crowd_door_pin(door);
	crowd_unpin(crowd);
	crowd_door_unpin(door);
	assert_int_equal(crowd_enter(door, &anna, &limits, &client), CROWD_ENTERS);
	crowd_leave(door, client);
	crowd_door_unpin(door);
}

struct rush {
	struct crowd_door *door;
	struct crowd_limits limits;
	atomic_uint inside, most, entered;
};

static void *
come_and_go(void *ctx)
{
	struct rush *rush = ctx;

	for (unsigned i = 0; i < 20000; i++) {
		struct crowd_client *client;
		unsigned inside, most = atomic_load(&rush->most);

		if (crowd_enter(rush->door, i % 2 ? &anna : &bert, &rush->limits, &client) != CROWD_ENTERS)
			continue;
		atomic_fetch_add(&rush->entered, 1);
		inside = atomic_fetch_add(&rush->inside, 1) + 1;
		while (inside > most && !atomic_compare_exchange_weak(&rush->most, &most, inside))
			;
		atomic_fetch_sub(&rush->inside, 1);
		crowd_leave(rush->door, client);
	}
	return NULL;
}

static void
a_cap_holds_over_threads(void **state)
{
	struct crowd *crowd = crowd_new(1);
	struct rush rush = { .door = crowd_door_new(crowd), .limits = { 3, 3, 2 } };
	pthread_t threads[4];

	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, &rush), 0);
	for (unsigned i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_true(atomic_load(&rush.most) <= 3);
	assert_true(atomic_load(&rush.entered) >= 20000);
	crowd_door_unpin(rush.door);
	crowd_unpin(crowd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_cap_is_held_and_who_leaves_makes_room),
		cmocka_unit_test(a_door_lives_as_long_as_one_shard_has_it),
		cmocka_unit_test(a_cap_holds_over_threads),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
