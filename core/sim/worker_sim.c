/*
 * worker_sim - one event that stands for the next step: working the first job
 * in line, or telling that it is done. The disk acts when a job is worked, and
 * the time it takes passes afterwards; for those who wait it is the same.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/worker_sim.h"

#include <stdlib.h>

#include "sim/loop_sim.h"

struct worker_sim {
	struct worker      worker;
	struct loop       *loop;
	mono_us_t          sync_us;
	struct sim_event   step;
	struct worker_job *first, **end;        /* waiting */
	struct worker_job *worked;              /* not told yet */
};

static void
plan(struct worker_sim *w)
{
	mono_us_t now = loop_now(w->loop).mono;

	if (w->worked)
		loop_sim_at(w->loop, &w->step, now + w->sync_us);
	else if (w->first)
		loop_sim_at(w->loop, &w->step, now);
}

static void
work_first(struct worker_sim *w)
{
	struct worker_job *job = w->first;

	w->first = job->next;
	if (!w->first)
		w->end = &w->first;
	job->next = NULL;
	w->worked = job;
	job->work(job->ctx);
}

static void
on_step(void *ctx)
{
	struct worker_sim *w = ctx;
	struct worker_job *job = w->worked;

	if (!job) {
		work_first(w);
		plan(w);
		return;
	}
	w->worked = NULL;
	plan(w);
	job->done(job->ctx);
}

static void
worker_sim_run(struct worker *worker, struct worker_job *job)
{
	struct worker_sim *w = container_of(worker, struct worker_sim, worker);

	job->next = NULL;
	*w->end = job;
	w->end = &job->next;
	if (!w->worked && !sim_event_scheduled(&w->step))
		plan(w);
}

struct worker *
worker_sim_new(struct loop *loop, mono_us_t sync_us)
{
	struct worker_sim *w = mem_alloc(sizeof(*w));

	w->worker.run = worker_sim_run;
	w->loop = loop;
	w->sync_us = sync_us;
	w->step = (struct sim_event){ .fn = on_step, .ctx = w };
	w->end = &w->first;
	return &w->worker;
}

void
worker_sim_free(struct worker *worker)
{
	struct worker_sim *w = worker ? container_of(worker, struct worker_sim, worker) : NULL;

	if (!w)
		return;
	while (w->worked || w->first)
		on_step(w);
	loop_sim_cancel(w->loop, &w->step);
	free(w);
}

void
worker_sim_abandon(struct worker *worker)
{
	struct worker_sim *w = container_of(worker, struct worker_sim, worker);

	w->worked = w->first = NULL;
	w->end = &w->first;
	loop_sim_cancel(w->loop, &w->step);
}
