/*
 * One job at the worker, and a way to end it when the spool closes.
 *
 * The worker's door has no "wait" and no "take back", and in a simulated world
 * nothing may ever run it again. So a job has a state of its own: closing takes
 * over a job that has not begun and waits for one that has. The job's memory is
 * apart from the spool's: one that was taken over is freed by the worker's late done(),
 * which finds no spool any more; any other serves for the next job.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/spool_inside.h"

#include <pthread.h>

enum job_state { JOB_GIVEN, JOB_RUNNING, JOB_WORKED };

struct spool_job {
	struct worker_job job;
	struct spool     *spool;        /* NULL: closed meanwhile */
	void            (*work)(struct spool *spool);
	void            (*done)(struct spool *spool);
	pthread_mutex_t   mutex;
	pthread_cond_t    worked;
	enum job_state    state;        /* under the mutex */
};

static bool
job_take(struct spool_job *job)
{
	bool mine;

	pthread_mutex_lock(&job->mutex);
	mine = job->state == JOB_GIVEN;
	if (mine)
		job->state = JOB_RUNNING;
	pthread_mutex_unlock(&job->mutex);
	return mine;
}

static void
on_work(void *ctx)
{
	struct spool_job *job = ctx;

	if (!job_take(job))
		return;
	job->work(job->spool);
	pthread_mutex_lock(&job->mutex);
	job->state = JOB_WORKED;
	pthread_cond_signal(&job->worked);
	pthread_mutex_unlock(&job->mutex);
}

static void
job_free(struct spool_job *job)
{
	pthread_cond_destroy(&job->worked);
	pthread_mutex_destroy(&job->mutex);
	free(job);
}

static void
on_done(void *ctx)
{
	struct spool_job *job = ctx;
	struct spool *spool = job->spool;

	if (spool) {
		job->done(spool);               /* still under way: what it calls starts no other */
		spool->job = NULL;
		spool->idle_job = job;
		spool_pump(spool);
	} else {
		job_free(job);
	}
}

static struct spool_job *
job_new(struct spool *spool)
{
	struct spool_job *job = spool->idle_job;

	if (job) {
		spool->idle_job = NULL;
		return job;
	}
	job = mem_alloc(sizeof(*job));
	job->job = (struct worker_job){ .work = on_work, .done = on_done, .ctx = job };
	pthread_mutex_init(&job->mutex, NULL);
	pthread_cond_init(&job->worked, NULL);
	return job;
}

void
spool_job_run(struct spool *spool, void (*work)(struct spool *spool), void (*done)(struct spool *spool))
{
	struct spool_job *job = job_new(spool);

	check(!spool->job);
	job->spool = spool;
	job->work = work;
	job->done = done;
	job->state = JOB_GIVEN;
	spool->job = job;
	worker_run(spool->worker, &job->job);
}

void
spool_job_finish(struct spool *spool)
{
	struct spool_job *job = spool->job;

	if (!job)
		return;
	on_work(job);
	pthread_mutex_lock(&job->mutex);
	while (job->state != JOB_WORKED)
		pthread_cond_wait(&job->worked, &job->mutex);
	pthread_mutex_unlock(&job->mutex);
	job->spool = NULL;
	spool->job = NULL;
	job->done(spool);
}

void
spool_job_free(struct spool *spool)
{
	if (spool->idle_job)
		job_free(spool->idle_job);
	spool->idle_job = NULL;
}
