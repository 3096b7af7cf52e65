/* A row of shards: who is first is told so, wherever a place comes free, and no turn is lost on its way. */
/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "queue/shards_fixture.h"
#include "queue/turns.h"

#define SHARDS 3

struct row {
	struct shards shards;
	struct turns *turns;
	struct turns_place *places[SHARDS];
	struct told_one {
		struct timer timer;
		struct row  *row;
		char         letter;
	} ones[SHARDS];
	char          told[40];                 /* who was */
};

static void
on_told(void *ctx, struct now now)
{
	struct told_one *one = ctx;

	one->row->told[strlen(one->row->told)] = one->letter;
}

static int
setup(void **state)
{
	struct row *row = mem_alloc(sizeof *row);

	shards_init(&row->shards, SHARDS, 1);
	row->turns = turns_new(&row->shards.peers);
	for (unsigned i = 0; i < SHARDS; i++) {
		row->ones[i].row = row;
		row->ones[i].letter = (char)('a' + i);
		timer_init(&row->ones[i].timer, on_told, &row->ones[i]);
		row->places[i] = turns_enter(row->turns, i, row->shards.timers[i], &row->ones[i].timer);
	}
	*state = row;
	return 0;
}

static int
teardown(void **state)
{
	struct row *row = *state;

	for (unsigned i = 0; i < SHARDS; i++) {
		if (row->places[i]->stands)
			turns_leave(row->places[i]);
		if (row->places[i]->timer != NULL)
			turns_exit(row->places[i]);
	}
	shards_run(&row->shards, US_PER_S);
	assert_true(turns_idle(row->turns));
	turns_free(row->turns);
	shards_fini(&row->shards);
	free(row);
	return 0;
}

static void
expect_told(struct row *row, const char *letters)
{
	shards_run(&row->shards, US_PER_S);
	assert_string_equal(row->told, letters);
	memset(row->told, 0, sizeof row->told);
}

static void
a_call_where_nobody_stands_reaches_nobody(void **state)
{
	struct row *row = *state;

	turns_call(row->places[1]);
	assert_int_equal(row->shards.posted, 0);
	assert_false(turns_first(row->places[1]));
	assert_false(turns_others(row->places[1]));
}

static void
who_stands_first_looks_himself_and_is_called_then(void **state)
{
	struct row *row = *state;

	assert_true(turns_stand(row->places[1]));
	assert_false(turns_stand(row->places[0]));
	assert_true(turns_first(row->places[1]));
	assert_false(turns_first(row->places[0]));
	assert_true(turns_others(row->places[0]));
	expect_told(row, "");
	turns_call(row->places[2]);
	turns_call(row->places[0]);
	assert_int_equal(row->shards.posted, 1);
	expect_told(row, "b");
	turns_call(row->places[2]);
	expect_told(row, "b");
}

static void
turns_go_round(void **state)
{
	struct row *row = *state;

	for (unsigned i = 0; i < SHARDS; i++)
		turns_stand(row->places[i]);
	for (unsigned i = 0; i < 4 * SHARDS; i++) {
		static const char *const next[] = { "b", "c", "a" };

		assert_true(turns_first(row->places[i % SHARDS]));
		turns_pass(row->places[i % SHARDS]);
		expect_told(row, next[i % SHARDS]);
	}
}

static void
the_next_one_is_told_when_the_first_leaves_and_not_when_another_does(void **state)
{
	struct row *row = *state;

	for (unsigned i = 0; i < SHARDS; i++)
		turns_stand(row->places[i]);
	turns_leave(row->places[1]);
	expect_told(row, "");
	turns_leave(row->places[0]);
	expect_told(row, "c");
	assert_false(turns_others(row->places[2]));
	assert_true(turns_others(row->places[0]));
}

static void
a_turn_on_its_way_to_one_who_has_left_goes_on(void **state)
{
	struct row *row = *state;

	for (unsigned i = 0; i < SHARDS; i++)
		turns_stand(row->places[i]);
	turns_pass(row->places[0]);
	turns_leave(row->places[1]);            /* it was told, and has not heard it yet */
	expect_told(row, "c");
	turns_pass(row->places[2]);
	turns_leave(row->places[0]);
	assert_false(turns_stand(row->places[0]));
	expect_told(row, "c");
}

static void
what_is_freed_while_a_call_is_heard_is_called_again(void **state)
{
	struct row *row = *state;

	turns_stand(row->places[0]);
	turns_call(row->places[1]);
	while (row->shards.letters != NULL)
		shards_turn(&row->shards, MONO_NEVER - 1);
	turns_call(row->places[1]);
	assert_int_equal(row->shards.posted, 2);
	expect_told(row, "aa");
}

static void
a_call_finds_a_shard_that_has_gone_and_only_then_the_row_is_idle(void **state)
{
	struct row *row = *state;

	turns_stand(row->places[0]);
	turns_call(row->places[1]);
	turns_leave(row->places[0]);
	for (unsigned i = 0; i < SHARDS; i++)
		turns_exit(row->places[i]);
	assert_false(turns_idle(row->turns));
	expect_told(row, "");
	assert_true(turns_idle(row->turns));
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_call_where_nobody_stands_reaches_nobody),
		TEST(who_stands_first_looks_himself_and_is_called_then),
		TEST(turns_go_round),
		TEST(the_next_one_is_told_when_the_first_leaves_and_not_when_another_does),
		TEST(a_turn_on_its_way_to_one_who_has_left_goes_on),
		TEST(what_is_freed_while_a_call_is_heard_is_called_again),
		TEST(a_call_finds_a_shard_that_has_gone_and_only_then_the_row_is_idle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
