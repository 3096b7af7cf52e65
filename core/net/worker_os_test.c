/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <pthread.h>

#include "net/worker.h"

#define JOBS 500

struct job {
	struct worker_job job;
	struct fixture   *f;
	unsigned          number;
	bool              done;
	pthread_t         worked_on;
};

struct fixture {
	struct loop   *loop;
	struct worker *worker;
	unsigned       order[JOBS];             /* the worker's until all is done */
	unsigned       worked, told;
	pthread_t      loop_thread;
	struct job     jobs[JOBS];
};

static void
work(void *ctx)
{
	struct job *job = ctx;

	job->worked_on = pthread_self();
	job->f->order[job->f->worked++] = job->number;
}

static void
done(void *ctx)
{
	struct job *job = ctx;

	assert_false(job->done);
	assert_true(pthread_equal(pthread_self(), job->f->loop_thread));
	assert_false(pthread_equal(job->worked_on, job->f->loop_thread));
	assert_int_equal(job->number, job->f->told);
	job->done = true;
	if (++job->f->told == JOBS)
		loop_stop(job->f->loop);
}

static void
set_up(struct fixture *f)
{
	struct err err;

	memset(f, 0, sizeof(*f));
	f->loop_thread = pthread_self();
	f->loop = loop_os_new(&err);
	assert_non_null(f->loop);
	f->worker = worker_os_new(f->loop, "a name longer than fifteen", &err);
	assert_non_null(f->worker);
	for (unsigned i = 0; i < JOBS; i++) {
		f->jobs[i] = (struct job){ .f = f, .number = i };
		f->jobs[i].job = (struct worker_job){ .work = work, .done = done, .ctx = &f->jobs[i] };
	}
}

static void
assert_all_done_in_order(const struct fixture *f)
{
	assert_int_equal(f->told, JOBS);
	for (unsigned i = 0; i < JOBS; i++) {
		assert_int_equal(f->order[i], i);
		assert_true(f->jobs[i].done);
	}
}

static void
works_in_order_and_tells_on_the_loop(void **state)
{
	struct fixture f;

	set_up(&f);
	for (unsigned i = 0; i < JOBS; i++)
		worker_run(f.worker, &f.jobs[i].job);
	loop_run(f.loop);
	assert_all_done_in_order(&f);
	worker_os_free(f.worker);
	loop_os_free(f.loop);
}

static void
freeing_it_waits_for_the_jobs_and_tells_them(void **state)
{
	struct fixture f;

	set_up(&f);
	for (unsigned i = 0; i < JOBS; i++)
		worker_run(f.worker, &f.jobs[i].job);
	worker_os_free(f.worker);
	assert_all_done_in_order(&f);
	/* Nothing of the worker is left in the loop. */
	loop_run(f.loop);
	loop_os_free(f.loop);
}

static void
give_next(void *ctx)
{
	struct job *job = ctx;
	struct fixture *f = job->f;

	done(ctx);
	if (f->told < JOBS)
		worker_run(f->worker, &f->jobs[f->told].job);
}

static void
a_done_may_give_the_next_job(void **state)
{
	struct fixture f;

	set_up(&f);
	for (unsigned i = 0; i < JOBS; i++)
		f.jobs[i].job.done = give_next;
	worker_run(f.worker, &f.jobs[0].job);
	loop_run(f.loop);
	assert_all_done_in_order(&f);
	worker_os_free(f.worker);
	loop_os_free(f.loop);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(works_in_order_and_tells_on_the_loop),
		cmocka_unit_test(freeing_it_waits_for_the_jobs_and_tells_them),
		cmocka_unit_test(a_done_may_give_the_next_job),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
