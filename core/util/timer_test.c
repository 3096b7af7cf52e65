/* Timers, and what their callbacks may do to each other. */
/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "util/timer.h"

struct fixture {
	struct timers timers;
	struct timer  a, b, c;
	char          fired[64];
	size_t        n;
};

static struct now
at(mono_us_t mono)
{
	return (struct now){ .mono = mono };
}

static void
note(struct fixture *f, char name)
{
	assert_true(f->n < sizeof(f->fired) - 1);
	f->fired[f->n++] = name;
}

static void on_a(void *ctx, struct now now) { note(ctx, 'a'); }
static void on_b(void *ctx, struct now now) { note(ctx, 'b'); }
static void on_c(void *ctx, struct now now) { note(ctx, 'c'); }

static void
begin(struct fixture *f)
{
	*f = (struct fixture){ 0 };
	timers_init(&f->timers);
	timer_init(&f->a, on_a, f);
	timer_init(&f->b, on_b, f);
	timer_init(&f->c, on_c, f);
}

static void
end(struct fixture *f, const char *fired)
{
	assert_string_equal(f->fired, fired);
	timers_fini(&f->timers);
}

static void
those_due_run_in_order_of_time_and_then_of_start(void **state)
{
	struct fixture f;
	begin(&f);
	assert_true(timers_next(&f.timers) == MONO_NEVER);
	timer_start(&f.timers, &f.c, 20);
	timer_start(&f.timers, &f.b, 10);
	timer_start(&f.timers, &f.a, 10);
	assert_true(timers_next(&f.timers) == 10);
	timers_run(&f.timers, at(9));
	assert_string_equal(f.fired, "");
	timers_run(&f.timers, at(10));
	assert_string_equal(f.fired, "ba");
	assert_false(timer_started(&f.a));
	assert_true(timer_started(&f.c));
	timers_run(&f.timers, at(1000));
	end(&f, "bac");
}

static void
a_stopped_timer_does_not_run_and_a_started_one_moves(void **state)
{
	struct fixture f;
	begin(&f);
	timer_start(&f.timers, &f.a, 10);
	timer_start(&f.timers, &f.b, 10);
	timer_stop(&f.timers, &f.a);
	timer_stop(&f.timers, &f.a);
	timer_start(&f.timers, &f.b, 30);
	timers_run(&f.timers, at(20));
	assert_string_equal(f.fired, "");
	timers_run(&f.timers, at(30));
	end(&f, "b");
}

static void
on_a_restart_at_once(void *ctx, struct now now)
{
	struct fixture *f = ctx;
	note(f, 'a');
	timer_start(&f->timers, &f->a, now.mono - 5);
}

static void
what_is_started_for_the_past_waits_and_hides_nobody(void **state)
{
	struct fixture f;
	begin(&f);
	timer_init(&f.a, on_a_restart_at_once, &f);
	timer_start(&f.timers, &f.a, 10);
	timer_start(&f.timers, &f.b, 11);
	timer_start(&f.timers, &f.c, 12);
	timers_run(&f.timers, at(20));
	assert_string_equal(f.fired, "abc");
	assert_true(timer_started(&f.a));
	assert_true(timers_next(&f.timers) == 15);
	timers_run(&f.timers, at(20));
	assert_string_equal(f.fired, "abca");
	timer_stop(&f.timers, &f.a);
	timers_run(&f.timers, at(40));
	end(&f, "abca");
}

static void
on_a_stop_b_and_c(void *ctx, struct now now)
{
	struct fixture *f = ctx;
	note(f, 'a');
	timer_start(&f->timers, &f->c, now.mono);       /* was due: now waits */
	timer_stop(&f->timers, &f->c);
	timer_stop(&f->timers, &f->b);
}

static void
a_callback_may_stop_others_that_are_due(void **state)
{
	struct fixture f;
	begin(&f);
	timer_init(&f.a, on_a_stop_b_and_c, &f);
	timer_start(&f.timers, &f.a, 10);
	timer_start(&f.timers, &f.b, 10);
	timer_start(&f.timers, &f.c, 10);
	timers_run(&f.timers, at(10));
	assert_false(timer_started(&f.b));
	timers_run(&f.timers, at(20));
	end(&f, "a");
}

static void
on_a_defer_b_and_hasten_c(void *ctx, struct now now)
{
	struct fixture *f = ctx;
	note(f, 'a');
	timer_start(&f->timers, &f->b, 0);              /* waits */
	timer_start(&f->timers, &f->b, now.mono + 10);  /* and then not */
	timer_start(&f->timers, &f->c, 0);
}

static void
a_callback_may_move_others_to_and_fro(void **state)
{
	struct fixture f;
	begin(&f);
	timer_init(&f.a, on_a_defer_b_and_hasten_c, &f);
	timer_start(&f.timers, &f.a, 10);
	timer_start(&f.timers, &f.b, 10);
	timer_start(&f.timers, &f.c, 100);
	timers_run(&f.timers, at(10));
	assert_string_equal(f.fired, "a");
	timers_run(&f.timers, at(10));
	assert_string_equal(f.fired, "ac");
	timers_run(&f.timers, at(20));
	end(&f, "acb");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(those_due_run_in_order_of_time_and_then_of_start),
		cmocka_unit_test(a_stopped_timer_does_not_run_and_a_started_one_moves),
		cmocka_unit_test(what_is_started_for_the_past_waits_and_hides_nobody),
		cmocka_unit_test(a_callback_may_stop_others_that_are_due),
		cmocka_unit_test(a_callback_may_move_others_to_and_fro),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
