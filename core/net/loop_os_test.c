/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#include "net/loop_os.h"

#define DEADLINE_US (10 * US_PER_S)

/* A loop that gives up when a test takes too long. */
struct fixture {
	struct loop *loop;
	struct timer deadline;
	char         seen[64];
	unsigned     n;
	unsigned     turns;
};

static void
too_late(void *ctx, struct now now)
{
	fail_msg("the deadline passed");
}

static void
set_up(struct fixture *f)
{
	struct err err;

	memset(f, 0, sizeof(*f));
	f->loop = loop_os_new(&err);
	assert_non_null(f->loop);
	timer_init(&f->deadline, too_late, f);
	timer_start(&f->loop->timers, &f->deadline, loop_now(f->loop).mono + DEADLINE_US);
}

static void
tear_down(struct fixture *f)
{
	timer_stop(&f->loop->timers, &f->deadline);
	loop_os_free(f->loop);
}

static void
see(struct fixture *f, char c)
{
	assert_true(f->n < sizeof(f->seen) - 1);
	f->seen[f->n++] = c;
}

struct mark {
	struct fixture  *f;
	char             c;
	bool             last;
	struct timer     timer;
	struct loop_call call;
	mono_us_t        at;
};

static void
on_mark(void *ctx)
{
	struct mark *mark = ctx;

	see(mark->f, mark->c);
	if (mark->last)
		loop_stop(mark->f->loop);
}

static void
on_mark_timer(void *ctx, struct now now)
{
	struct mark *mark = ctx;

	assert_true(now.mono >= mark->at);
	assert_true(now.mono == loop_now(mark->f->loop).mono);
	on_mark(mark);
}

static void
start_mark(struct fixture *f, struct mark *mark, char c, int64_t after_us, bool last)
{
	*mark = (struct mark){ .f = f, .c = c, .last = last, .at = loop_now(f->loop).mono + after_us };
	timer_init(&mark->timer, on_mark_timer, mark);
	timer_start(&f->loop->timers, &mark->timer, mark->at);
}

static void
post_mark(struct fixture *f, struct mark *mark, char c, bool last)
{
	*mark = (struct mark){ .f = f, .c = c, .last = last };
	mark->call = (struct loop_call){ .fn = on_mark, .ctx = mark };
	loop_post(f->loop, &mark->call);
}

static void
runs_timers_in_the_order_of_their_time(void **state)
{
	struct fixture f;
	struct mark a, b, c, d;

	set_up(&f);
	start_mark(&f, &d, 'd', 30000, true);
	start_mark(&f, &b, 'b', 2000, false);
	start_mark(&f, &a, 'a', -5, false);
	start_mark(&f, &c, 'c', 2000, false);
	loop_run(f.loop);
	assert_string_equal(f.seen, "abcd");
	tear_down(&f);
}

static void
a_stopped_timer_does_not_run(void **state)
{
	struct fixture f;
	struct mark a, b;

	set_up(&f);
	start_mark(&f, &a, 'a', 1000, false);
	start_mark(&f, &b, 'b', 3000, true);
	timer_stop(&f.loop->timers, &a.timer);
	loop_run(f.loop);
	assert_string_equal(f.seen, "b");
	tear_down(&f);
}

struct chain {
	struct fixture *f;
	struct timer    timer;
};

static void
on_chain(void *ctx, struct now now)
{
	struct chain *chain = ctx;

	if (++chain->f->n == 1000)
		loop_stop(chain->f->loop);
	else
		timer_start(&chain->f->loop->timers, &chain->timer, now.mono);
}

static void
a_timer_that_is_due_again_at_once_takes_turns_with_calls(void **state)
{
	struct fixture f;
	struct mark a;
	struct chain chain = { .f = &f };

	set_up(&f);
	timer_init(&chain.timer, on_chain, &chain);
	timer_start(&f.loop->timers, &chain.timer, 0);
	post_mark(&f, &a, 'a', true);
	loop_run(f.loop);
	assert_true(f.n < 10);
	timer_stop(&f.loop->timers, &chain.timer);
	tear_down(&f);
}

static void
runs_posted_calls_in_order(void **state)
{
	struct fixture f;
	struct mark a, b, c;

	set_up(&f);
	post_mark(&f, &a, 'a', false);
	post_mark(&f, &b, 'b', false);
	post_mark(&f, &c, 'c', true);
	loop_run(f.loop);
	assert_string_equal(f.seen, "abc");
	tear_down(&f);
}

#define POSTS 20000

struct poster {
	struct fixture  *f;
	pthread_t        thread;
	struct loop_call call;
	atomic_bool      ready;         /* call may be posted again */
	unsigned         n;
	unsigned        *threads_left;
	mono_us_t        posted_at;
};

static void
on_posted(void *ctx)
{
	struct poster *p = ctx;

	/* The clock is read before calls run: what caused one lies in the past. */
	assert_true(loop_now(p->f->loop).mono >= p->posted_at - 1000);
	if (++p->n == POSTS && --*p->threads_left == 0)
		loop_stop(p->f->loop);
	atomic_store(&p->ready, true);
}

static void *
post_many(void *ctx)
{
	struct poster *p = ctx;

	for (unsigned i = 0; i < POSTS; i++) {
		while (!atomic_load(&p->ready))
			sched_yield();
		atomic_store(&p->ready, false);
		p->posted_at = clock_mono(&p->f->loop->clock);
		loop_post(p->f->loop, &p->call);
	}
	return NULL;
}

static void
loses_no_call_from_other_threads(void **state)
{
	struct fixture f;
	struct poster posters[3];
	unsigned left = countof(posters);

	set_up(&f);
	for (size_t i = 0; i < countof(posters); i++) {
		struct poster *p = &posters[i];

		*p = (struct poster){ .f = &f, .ready = true, .threads_left = &left };
		p->call = (struct loop_call){ .fn = on_posted, .ctx = p };
		assert_int_equal(pthread_create(&p->thread, NULL, post_many, p), 0);
	}
	loop_run(f.loop);
	for (size_t i = 0; i < countof(posters); i++) {
		pthread_join(posters[i].thread, NULL);
		assert_int_equal(posters[i].n, POSTS);
	}
	tear_down(&f);
}

static void *
stop_loop(void *ctx)
{
	struct fixture *f = ctx;

	loop_stop(f->loop);
	return NULL;
}

static void
another_thread_stops_it_and_it_runs_again(void **state)
{
	struct fixture f;
	struct mark a;

	set_up(&f);
	for (unsigned i = 0; i < 50; i++) {
		pthread_t thread;

		assert_int_equal(pthread_create(&thread, NULL, stop_loop, &f), 0);
		loop_run(f.loop);
		pthread_join(thread, NULL);
	}
	start_mark(&f, &a, 'a', 1000, true);
	loop_run(f.loop);
	assert_string_equal(f.seen, "a");
	tear_down(&f);
}

static void
on_stop_signal(void *ctx, int signum)
{
	struct fixture *f = ctx;

	see(f, signum == SIGTERM ? 'T' : signum == SIGHUP ? 'H' : '?');
	if (f->n == 2)
		loop_stop(f->loop);
	else
		raise(SIGTERM);
}

static void
tells_signals_on_its_own_thread(void **state)
{
	struct fixture f;

	set_up(&f);
	loop_os_on_signal(f.loop, SIGHUP, on_stop_signal, &f);
	loop_os_on_signal(f.loop, SIGTERM, on_stop_signal, &f);
	raise(SIGHUP);
	loop_run(f.loop);
	assert_string_equal(f.seen, "HT");
	tear_down(&f);
}

static bool
at_turn_end(void *ctx)
{
	struct fixture *f = ctx;

	if (++f->turns == 100)
		loop_stop(f->loop);
	return f->turns < 100;
}

static void
does_not_wait_while_the_end_of_a_turn_has_more_to_do(void **state)
{
	struct fixture f;
	struct loop_turn_end end = { .fn = at_turn_end, .ctx = &f };

	set_up(&f);
	loop_os_add_turn_end(f.loop, &end);
	loop_run(f.loop);
	assert_int_equal(f.turns, 100);
	loop_os_remove_turn_end(&end);
	tear_down(&f);
}

static bool
mark_turn_end(void *ctx)
{
	see(ctx, '.');
	return false;
}

static void
a_turn_ends_after_its_calls_and_timers(void **state)
{
	struct fixture f;
	struct mark a, b, c;
	struct loop_turn_end end = { .fn = mark_turn_end, .ctx = &f };

	set_up(&f);
	loop_os_add_turn_end(f.loop, &end);
	start_mark(&f, &a, 'a', 0, false);
	post_mark(&f, &b, 'b', false);
	post_mark(&f, &c, 'c', true);
	loop_run(f.loop);
	assert_string_equal(f.seen, "a.bc.");
	loop_os_remove_turn_end(&end);
	tear_down(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(runs_timers_in_the_order_of_their_time),
		cmocka_unit_test(a_stopped_timer_does_not_run),
		cmocka_unit_test(a_timer_that_is_due_again_at_once_takes_turns_with_calls),
		cmocka_unit_test(runs_posted_calls_in_order),
		cmocka_unit_test(loses_no_call_from_other_threads),
		cmocka_unit_test(another_thread_stops_it_and_it_runs_again),
		cmocka_unit_test(tells_signals_on_its_own_thread),
		cmocka_unit_test(does_not_wait_while_the_end_of_a_turn_has_more_to_do),
		cmocka_unit_test(a_turn_ends_after_its_calls_and_timers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
