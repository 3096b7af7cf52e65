/* Lines at a shared scope: who is first takes, who has taken stands behind, and a turn is never lost. */
/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "queue/scope.h"

#define WAITERS 6

enum want { TAKE_ONE, TAKE_AND_COME_BACK, CLOSED, PASS, GO_ELSEWHERE };

struct line {
	struct timers timers;
	struct now    now;
	struct scope  scope, other;
	struct one {
		struct scope_waiter waiter;     /* first: cast back */
		struct line *line;
		enum want    wants;
		unsigned     turns;
		mono_us_t    at;                /* CLOSED until then */
	} ones[WAITERS];
	char said[64];                          /* the turns, as letters */
	char near[WAITERS];                     /* how many each was told that come first */
};

static void
on_turn(struct scope_waiter *waiter, struct now now)
{
	struct one *one = (struct one *)waiter;
	struct line *line = one->line;
	size_t n = strlen(line->said);

	assert_null(waiter->scope);
	assert_true(waiter->turn);
	assert_false(scope_others_first(&line->scope, SCOPE_LINE_SESSIONS, waiter));
	one->turns++;
	if (n + 1 < sizeof line->said)
		line->said[n] = (char)('a' + (one - line->ones));
	switch (one->wants) {
	case PASS:
		return;
	case GO_ELSEWHERE:
		scope_wait(&line->other, SCOPE_LINE_SESSIONS, waiter, MONO_NEVER);
		return;
	case CLOSED:
		scope_wait(&line->scope, SCOPE_LINE_SESSIONS, waiter, one->at);
		return;
	case TAKE_ONE:
		waiter->served = true;
		return;
	case TAKE_AND_COME_BACK:
		waiter->served = true;
		one->wants = CLOSED;
		one->at = MONO_NEVER;
		scope_wait(&line->scope, SCOPE_LINE_SESSIONS, waiter, MONO_NEVER);
	}
}

static int
setup(void **state)
{
	struct line *line = mem_alloc(sizeof *line);

	timers_init(&line->timers);
	line->now.mono = 1000 * US_PER_S;
	scope_init(&line->scope, &line->timers);
	scope_init(&line->other, &line->timers);
	for (unsigned i = 0; i < WAITERS; i++) {
		scope_waiter_init(&line->ones[i].waiter, on_turn, NULL);
		line->ones[i].line = line;
		line->ones[i].at = MONO_NEVER;
	}
	*state = line;
	return 0;
}

static int
teardown(void **state)
{
	struct line *line = *state;

	for (unsigned i = 0; i < WAITERS; i++)
		scope_leave(&line->ones[i].waiter);
	scope_fini(&line->scope);
	scope_fini(&line->other);
	assert_int_equal(timers_next(&line->timers), MONO_NEVER);
	timers_fini(&line->timers);
	free(line);
	return 0;
}

static void
stand(struct line *line, unsigned i, enum want wants, mono_us_t at)
{
	line->ones[i].wants = wants;
	line->ones[i].at = at;
	scope_wait(&line->scope, SCOPE_LINE_SESSIONS, &line->ones[i].waiter, at);
}

static bool
stands(const struct line *line, unsigned i, const struct scope *scope)
{
	return line->ones[i].waiter.scope == scope;
}

static void
run_to(struct line *line, mono_us_t at)
{
	while (timers_next(&line->timers) <= at) {
		line->now.mono = max_i64(line->now.mono, timers_next(&line->timers));
		timers_run(&line->timers, line->now);
	}
	line->now.mono = at;
}

static void
a_wake_gives_turns_in_the_order_of_the_line(void **state)
{
	struct line *line = *state;

	stand(line, 2, TAKE_ONE, MONO_NEVER);
	stand(line, 0, TAKE_ONE, MONO_NEVER);
	stand(line, 1, TAKE_ONE, MONO_NEVER);
	scope_wake(&line->scope, line->now);
	assert_string_equal(line->said, "cab");
	for (unsigned i = 0; i < 3; i++)
		assert_null(line->ones[i].waiter.scope);
	scope_wake(&line->scope, line->now);
	assert_string_equal(line->said, "cab");
}

static void
one_that_finds_it_closed_stays_first_and_nobody_behind_is_asked(void **state)
{
	struct line *line = *state;

	stand(line, 0, CLOSED, MONO_NEVER);
	stand(line, 1, TAKE_ONE, MONO_NEVER);
	scope_wake(&line->scope, line->now);
	scope_wake(&line->scope, line->now);
	assert_string_equal(line->said, "aa");
	assert_true(stands(line, 0, &line->scope));
	assert_true(scope_others_first(&line->scope, SCOPE_LINE_SESSIONS, &line->ones[1].waiter));
	assert_false(scope_others_first(&line->scope, SCOPE_LINE_SESSIONS, &line->ones[0].waiter));
	line->ones[0].wants = TAKE_ONE;
	scope_wake(&line->scope, line->now);
	assert_string_equal(line->said, "aaab");
}

static void
one_that_has_taken_stands_behind_the_others(void **state)
{
	struct line *line = *state;

	stand(line, 0, TAKE_AND_COME_BACK, MONO_NEVER);
	stand(line, 1, CLOSED, MONO_NEVER);
	stand(line, 2, CLOSED, MONO_NEVER);
	scope_wake(&line->scope, line->now);
	assert_string_equal(line->said, "ab");
	line->ones[1].wants = TAKE_ONE;
	line->ones[2].wants = TAKE_ONE;
	line->ones[0].wants = TAKE_ONE;
	scope_wake(&line->scope, line->now);
	assert_string_equal(line->said, "abbca");
}

static void
a_turn_that_is_not_used_passes_on(void **state)
{
	struct line *line = *state;

	stand(line, 0, PASS, MONO_NEVER);
	stand(line, 1, GO_ELSEWHERE, MONO_NEVER);
	stand(line, 2, TAKE_ONE, MONO_NEVER);
	scope_wake(&line->scope, line->now);
	assert_string_equal(line->said, "abc");
	assert_true(stands(line, 1, &line->other));
	assert_null(line->ones[0].waiter.scope);
}

static void
who_comes_from_another_line_stands_behind_and_a_row_keeps_its_order(void **state)
{
	struct line *line = *state;

	line->ones[5].wants = TAKE_ONE;
	scope_wait(&line->other, SCOPE_LINE_SESSIONS, &line->ones[5].waiter, MONO_NEVER);
	for (unsigned i = 0; i < 3; i++)
		stand(line, i, GO_ELSEWHERE, MONO_NEVER);
	scope_wake(&line->scope, line->now);
	for (unsigned i = 0; i < 3; i++) {
		assert_true(stands(line, i, &line->other));
		line->ones[i].wants = PASS;
	}
	scope_wake(&line->other, line->now);
	assert_string_equal(line->said, "abcfabc");
}

static void
time_gives_the_turn_when_nobody_wakes(void **state)
{
	struct line *line = *state;
	mono_us_t at = line->now.mono + 5 * US_PER_S;

	stand(line, 0, CLOSED, at);
	stand(line, 1, TAKE_ONE, MONO_NEVER);
	run_to(line, at - 1);
	assert_string_equal(line->said, "");
	line->ones[0].at = at + US_PER_S;       /* somebody was quicker: again a second later */
	run_to(line, at);
	assert_string_equal(line->said, "a");
	line->ones[0].wants = TAKE_ONE;
	run_to(line, at + US_PER_S);
	assert_string_equal(line->said, "aab");
	assert_int_equal(timers_next(&line->timers), MONO_NEVER);
}

static void
the_soonest_time_of_the_line_counts(void **state)
{
	struct line *line = *state;

	stand(line, 0, TAKE_ONE, line->now.mono + 60 * US_PER_S);
	stand(line, 1, TAKE_ONE, line->now.mono + 10 * US_PER_S);
	stand(line, 2, TAKE_ONE, line->now.mono + 30 * US_PER_S);
	run_to(line, line->now.mono + 10 * US_PER_S);
	assert_string_equal(line->said, "abc");
}

static void
a_line_that_is_empty_has_no_time(void **state)
{
	struct line *line = *state;

	stand(line, 0, TAKE_ONE, line->now.mono + 10 * US_PER_S);
	scope_wake(&line->scope, line->now);
	assert_string_equal(line->said, "a");
	assert_int_equal(timers_next(&line->timers), MONO_NEVER);
}

/* The first leaves by himself; those behind him had nobody but his timer to wait for. */
static void
the_time_stays_when_the_first_leaves(void **state)
{
	struct line *line = *state;

	stand(line, 0, TAKE_ONE, line->now.mono + 10 * US_PER_S);
	stand(line, 1, TAKE_ONE, MONO_NEVER);
	scope_leave(&line->ones[0].waiter);
	run_to(line, line->now.mono + 10 * US_PER_S);
	assert_string_equal(line->said, "b");
}

static void
standing_again_keeps_the_place_and_standing_elsewhere_moves(void **state)
{
	struct line *line = *state;

	stand(line, 0, TAKE_ONE, MONO_NEVER);
	stand(line, 1, TAKE_ONE, MONO_NEVER);
	stand(line, 0, TAKE_ONE, MONO_NEVER);
	scope_wait(&line->other, SCOPE_LINE_SESSIONS, &line->ones[1].waiter, MONO_NEVER);
	scope_wait(&line->other, SCOPE_LINE_MESSAGES, &line->ones[1].waiter, MONO_NEVER);
	assert_true(list_empty(&line->other.lines[SCOPE_LINE_SESSIONS].waiters));
	assert_false(list_empty(&line->other.lines[SCOPE_LINE_MESSAGES].waiters));
	stand(line, 2, TAKE_ONE, MONO_NEVER);
	scope_wake(&line->scope, line->now);
	assert_string_equal(line->said, "ac");
	scope_wake(&line->other, line->now);
	assert_string_equal(line->said, "acb");
}

static void
the_two_lines_of_a_scope_do_not_hold_each_other_up(void **state)
{
	struct line *line = *state;

	line->ones[0].wants = CLOSED;
	scope_wait(&line->scope, SCOPE_LINE_SESSIONS, &line->ones[0].waiter, MONO_NEVER);
	line->ones[1].wants = TAKE_ONE;
	scope_wait(&line->scope, SCOPE_LINE_MESSAGES, &line->ones[1].waiter, MONO_NEVER);
	assert_false(scope_others_first(&line->scope, SCOPE_LINE_MESSAGES, &line->ones[1].waiter));
	assert_true(scope_others_first(&line->scope, SCOPE_LINE_MESSAGES, &line->ones[0].waiter));
	scope_wake(&line->scope, line->now);
	assert_string_equal(line->said, "ab");
}

static void
others_wait_whether_they_stand_before_or_behind(void **state)
{
	struct line *line = *state;
	const struct scope *scope = &line->scope;

	assert_false(scope_others_wait(scope, SCOPE_LINE_SESSIONS, &line->ones[0].waiter));
	stand(line, 0, CLOSED, MONO_NEVER);
	assert_false(scope_others_wait(scope, SCOPE_LINE_SESSIONS, &line->ones[0].waiter));
	assert_true(scope_others_wait(scope, SCOPE_LINE_SESSIONS, &line->ones[1].waiter));
	stand(line, 1, CLOSED, MONO_NEVER);
	assert_true(scope_others_wait(scope, SCOPE_LINE_SESSIONS, &line->ones[0].waiter));
	assert_true(scope_others_wait(scope, SCOPE_LINE_SESSIONS, &line->ones[1].waiter));
	assert_false(scope_others_wait(scope, SCOPE_LINE_MESSAGES, &line->ones[1].waiter));
}

/* One place after the other becomes free, and whoever takes it wants the next: the turns go round. */
static void
turns_go_round(void **state)
{
	struct line *line = *state;

	for (unsigned i = 0; i < WAITERS; i++)
		stand(line, i, CLOSED, MONO_NEVER);
	for (unsigned round = 0; round < 5 * WAITERS; round++) {
		struct one *first = (struct one *)list_first(&line->scope.lines[SCOPE_LINE_SESSIONS].waiters, struct scope_waiter, node);

		first->wants = TAKE_AND_COME_BACK;
		first->turns = 0;
		scope_wake(&line->scope, line->now);
		assert_int_equal(first->turns, 1);
		assert_ptr_equal(first, &line->ones[round % WAITERS]);
	}
}

static void
on_near(const struct scope_waiter *waiter, unsigned turns)
{
	struct one *one = container_of((struct scope_waiter *)waiter, struct one, waiter);

	one->line->near[one - one->line->ones] = (char)('0' + turns);
}

static void
who_stands_near_the_head_is_told_how_many_come_first(void **state)
{
	struct line *line = *state;

	memset(line->near, '-', WAITERS);
	for (unsigned i = 0; i < WAITERS; i++) {
		line->ones[i].waiter.on_near = on_near;
		stand(line, i, i == 0 ? TAKE_ONE : CLOSED, MONO_NEVER);
	}
	scope_wake(&line->scope, line->now);
	for (unsigned i = 0; i < WAITERS; i++)
		assert_int_equal(line->near[i], i > 0 && i <= SCOPE_NEAR ? '0' + (int)i - 1 : '-');
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_wake_gives_turns_in_the_order_of_the_line, setup, teardown),
		cmocka_unit_test_setup_teardown(who_stands_near_the_head_is_told_how_many_come_first, setup, teardown),
		cmocka_unit_test_setup_teardown(one_that_finds_it_closed_stays_first_and_nobody_behind_is_asked, setup, teardown),
		cmocka_unit_test_setup_teardown(one_that_has_taken_stands_behind_the_others, setup, teardown),
		cmocka_unit_test_setup_teardown(a_turn_that_is_not_used_passes_on, setup, teardown),
		cmocka_unit_test_setup_teardown(who_comes_from_another_line_stands_behind_and_a_row_keeps_its_order, setup, teardown),
		cmocka_unit_test_setup_teardown(time_gives_the_turn_when_nobody_wakes, setup, teardown),
		cmocka_unit_test_setup_teardown(the_soonest_time_of_the_line_counts, setup, teardown),
		cmocka_unit_test_setup_teardown(a_line_that_is_empty_has_no_time, setup, teardown),
		cmocka_unit_test_setup_teardown(the_time_stays_when_the_first_leaves, setup, teardown),
		cmocka_unit_test_setup_teardown(standing_again_keeps_the_place_and_standing_elsewhere_moves, setup, teardown),
		cmocka_unit_test_setup_teardown(the_two_lines_of_a_scope_do_not_hold_each_other_up, setup, teardown),
		cmocka_unit_test_setup_teardown(others_wait_whether_they_stand_before_or_behind, setup, teardown),
		cmocka_unit_test_setup_teardown(turns_go_round, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
