/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/loop_sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#define START     (1000 * US_PER_S)
#define START_MS  INT64_C(1790000000000)

/* What happened, a letter each, and when the last one did. */
struct story {
	struct loop *loop;
	char         text[64];
	size_t       n;
	mono_us_t    at;
};

struct actor {
	struct story    *story;
	struct sim_event event;
	struct timer     timer;
	struct loop_call call;
	struct actor    *then;          /* whose event is scheduled for now, or call posted */
	bool             then_post;
	char             letter;
};

static void
act(struct actor *actor)
{
	struct story *story = actor->story;

	story->at = loop_now(story->loop).mono;
	if (story->n < sizeof(story->text) - 1)
		story->text[story->n++] = actor->letter;
	if (actor->then && actor->then_post)
		loop_post(story->loop, &actor->then->call);
	else if (actor->then)
		loop_sim_at(story->loop, &actor->then->event, 0);
}

static void on_call(void *ctx) { act(ctx); }
static void on_timer(void *ctx, struct now now) { act(ctx); }

static struct actor
actor(struct story *story, char letter)
{
	return (struct actor){ .story = story, .letter = letter };
}

static void
ready(struct actor *actor)
{
	actor->event.fn = on_call;
	actor->event.ctx = actor;
	actor->call = (struct loop_call){ .fn = on_call, .ctx = actor };
	timer_init(&actor->timer, on_timer, actor);
}

static void
begin(struct story *story)
{
	*story = (struct story){ .loop = loop_sim_new(START, (wall_ms_t){ START_MS }) };
}

static bool
on_end(void *ctx)
{
	act(ctx);
	return false;
}

static void
goes_from_instant_to_instant(void **state)
{
	struct story story;
	begin(&story);
	struct actor a = actor(&story, 'a'), b = actor(&story, 'b');
	ready(&a);
	ready(&b);

	assert_true(loop_sim_next(story.loop) == MONO_NEVER);
	assert_false(loop_sim_turn(story.loop, MONO_NEVER));
	assert_int_equal(loop_now(story.loop).mono, START);
	loop_sim_at(story.loop, &a.event, START + 2500);
	timer_start(&story.loop->timers, &b.timer, START + 1000);
	assert_int_equal(loop_sim_next(story.loop), START + 1000);
	assert_true(loop_sim_turn(story.loop, START + 2499));
	assert_int_equal(story.at, START + 1000);
	assert_false(loop_sim_turn(story.loop, START + 2499));
	assert_int_equal(clock_now(&story.loop->clock).mono, START + 2499);
	assert_int_equal(loop_now(story.loop).wall.ms, START_MS + 2);
	assert_true(loop_sim_turn(story.loop, START + 2500));
	assert_int_equal(story.at, START + 2500);
	assert_string_equal(story.text, "ba");
	loop_sim_free(story.loop);
}

static void
has_one_order_for_what_is_due_together(void **state)
{
	struct story story;
	begin(&story);
	struct actor e[3] = { actor(&story, 'a'), actor(&story, 'b'), actor(&story, 'c') };
	struct actor t = actor(&story, 't'), p = actor(&story, 'p'), q = actor(&story, 'q'), end = actor(&story, '.');
	struct loop_sim_turn_end turn_end = { .fn = on_end, .ctx = &end };

	for (int i = 0; i < 3; i++)
		ready(&e[i]);
	ready(&t);
	ready(&p);
	ready(&q);
	loop_sim_add_turn_end(story.loop, &turn_end);
	loop_post(story.loop, &p.call);
	loop_post(story.loop, &q.call);
	timer_start(&story.loop->timers, &t.timer, START);
	loop_sim_at(story.loop, &e[1].event, START);
	loop_sim_at(story.loop, &e[0].event, START - 5);
	e[1].then = &e[2];
	q.then = &p;
	q.then_post = true;
	assert_true(loop_sim_turn(story.loop, START));
	assert_string_equal(story.text, "batpq.cp.");
	loop_sim_remove_turn_end(&turn_end);
	loop_sim_free(story.loop);
}

static void
has_a_turn_for_who_asks_for_its_end(void **state)
{
	struct story story;
	begin(&story);
	struct actor end = actor(&story, '.');
	struct loop_sim_turn_end turn_end = { .fn = on_end, .ctx = &end };

	loop_sim_add_turn_end(story.loop, &turn_end);
	loop_sim_wake(story.loop);
	assert_int_equal(loop_sim_next(story.loop), START);
	loop_run(story.loop);
	assert_string_equal(story.text, ".");
	loop_sim_remove_turn_end(&turn_end);
	loop_sim_free(story.loop);
}

static void
forgets_what_is_cancelled_and_moves_what_is_scheduled_again(void **state)
{
	struct story story;
	begin(&story);
	struct actor a = actor(&story, 'a'), b = actor(&story, 'b'), c = actor(&story, 'c');
	ready(&a);
	ready(&b);
	ready(&c);

	loop_sim_at(story.loop, &a.event, START + 1);
	loop_sim_at(story.loop, &b.event, START + 2);
	loop_sim_at(story.loop, &c.event, START + 3);
	loop_sim_cancel(story.loop, &b.event);
	loop_sim_cancel(story.loop, &b.event);
	loop_sim_at(story.loop, &a.event, START + 4);
	loop_run(story.loop);
	assert_string_equal(story.text, "ca");
	assert_false(sim_event_scheduled(&a.event));
	loop_sim_free(story.loop);
}

static void
says_that_an_instant_never_ends(void **state)
{
	struct story story;
	begin(&story);
	struct actor a = actor(&story, 'a');
	ready(&a);

	a.then = &a;
	loop_sim_at(story.loop, &a.event, START + 7);
	loop_run(story.loop);
	assert_true(loop_sim_stuck(story.loop));
	assert_int_equal(loop_now(story.loop).mono, START + 7);
	assert_false(loop_sim_turn(story.loop, START + 100));
	assert_int_equal(loop_now(story.loop).mono, START + 7);
	loop_sim_free(story.loop);
}

static void
jumps_the_wall_clock_alone(void **state)
{
	struct story story;
	begin(&story);

	loop_sim_jump_wall(story.loop, -3600000);
	assert_int_equal(loop_now(story.loop).mono, START);
	assert_int_equal(loop_now(story.loop).wall.ms, START_MS - 3600000);
	loop_sim_turn(story.loop, START + US_PER_S);
	assert_int_equal(clock_now(&story.loop->clock).wall.ms, START_MS - 3599000);
	loop_sim_free(story.loop);
}

static void
on_stop(void *ctx)
{
	struct actor *actor = ctx;

	act(actor);
	loop_stop(actor->story->loop);
}

static void
runs_until_it_is_stopped(void **state)
{
	struct story story;
	begin(&story);
	struct actor a = actor(&story, 'a'), b = actor(&story, 'b');
	ready(&a);
	ready(&b);

	a.event.fn = on_stop;
	loop_sim_at(story.loop, &a.event, START + 1);
	loop_sim_at(story.loop, &b.event, START + 2);
	loop_run(story.loop);
	assert_string_equal(story.text, "a");
	loop_run(story.loop);
	assert_string_equal(story.text, "ab");
	loop_sim_free(story.loop);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(goes_from_instant_to_instant),
		cmocka_unit_test(has_one_order_for_what_is_due_together),
		cmocka_unit_test(has_a_turn_for_who_asks_for_its_end),
		cmocka_unit_test(forgets_what_is_cancelled_and_moves_what_is_scheduled_again),
		cmocka_unit_test(says_that_an_instant_never_ends),
		cmocka_unit_test(jumps_the_wall_clock_alone),
		cmocka_unit_test(runs_until_it_is_stopped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
