/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/worker_sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "sim/loop_sim.h"

struct fixture {
	struct loop   *loop;
	struct worker *worker;
	char           story[200];
};

struct job {
	struct worker_job job;
	struct fixture   *f;
	struct job       *then;         /* given when this one is done */
	char              letter;
};

static void
note(struct job *job, const char *what)
{
	size_t n = strlen(job->f->story);

	snprintf(job->f->story + n, sizeof(job->f->story) - n, "%c %s@%lld, ", job->letter, what,
		 (long long)loop_now(job->f->loop).mono);
}

static void on_work(void *ctx) { note(ctx, "worked"); }

static void
on_done(void *ctx)
{
	struct job *job = ctx;

	note(job, "done");
	if (job->then)
		worker_run(job->f->worker, &job->then->job);
}

static void
set_up(struct fixture *f, mono_us_t sync_us, struct job *jobs, unsigned n)
{
	*f = (struct fixture){ .loop = loop_sim_new(0, (wall_ms_t){ 0 }) };
	f->worker = worker_sim_new(f->loop, sync_us);
	for (unsigned i = 0; i < n; i++) {
		jobs[i] = (struct job){ .f = f, .letter = (char)('a' + i) };
		jobs[i].job = (struct worker_job){ .work = on_work, .done = on_done, .ctx = &jobs[i] };
	}
}

static void
works_one_at_a_time_and_in_order(void **state)
{
	struct fixture f;
	struct job jobs[3];

	set_up(&f, 500, jobs, 3);
	jobs[0].then = &jobs[2];
	worker_run(f.worker, &jobs[0].job);
	worker_run(f.worker, &jobs[1].job);
	assert_string_equal(f.story, "");
	loop_run(f.loop);
	assert_string_equal(f.story, "a worked@0, a done@500, b worked@500, b done@1000, c worked@1000, c done@1500, ");
	worker_sim_free(f.worker);
	loop_sim_free(f.loop);
}

static void
takes_no_time_where_none_is_asked_for(void **state)
{
	struct fixture f;
	struct job jobs[1];

	set_up(&f, 0, jobs, 1);
	worker_run(f.worker, &jobs[0].job);
	loop_run(f.loop);
	assert_string_equal(f.story, "a worked@0, a done@0, ");
	worker_sim_free(f.worker);
	loop_sim_free(f.loop);
}

static void
works_and_tells_what_is_left_when_it_is_freed(void **state)
{
	struct fixture f;
	struct job jobs[3];

	set_up(&f, 500, jobs, 3);
	jobs[1].then = &jobs[2];
	worker_run(f.worker, &jobs[0].job);
	worker_run(f.worker, &jobs[1].job);
	loop_sim_turn(f.loop, 0);
	worker_sim_free(f.worker);
	assert_string_equal(f.story, "a worked@0, a done@0, b worked@0, b done@0, c worked@0, c done@0, ");
	assert_true(loop_sim_next(f.loop) == MONO_NEVER);
	loop_sim_free(f.loop);
}

static void
forgets_everything_when_the_power_goes(void **state)
{
	struct fixture f;
	struct job jobs[3];

	set_up(&f, 500, jobs, 3);
	worker_run(f.worker, &jobs[0].job);
	worker_run(f.worker, &jobs[1].job);
	loop_sim_turn(f.loop, 0);
	worker_sim_abandon(f.worker);
	loop_run(f.loop);
	assert_string_equal(f.story, "a worked@0, ");
	worker_run(f.worker, &jobs[2].job);
	loop_run(f.loop);
	assert_string_equal(f.story, "a worked@0, c worked@0, c done@500, ");
	worker_sim_free(f.worker);
	loop_sim_free(f.loop);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(works_one_at_a_time_and_in_order),
		cmocka_unit_test(takes_no_time_where_none_is_asked_for),
		cmocka_unit_test(works_and_tells_what_is_left_when_it_is_freed),
		cmocka_unit_test(forgets_everything_when_the_power_goes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
