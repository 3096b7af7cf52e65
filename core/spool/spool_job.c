/*
 * One job at the worker, and a way to end it when the spool closes.
 *
 * The worker's door has no "wait" and no "take back", and in a simulated world
 * nothing may ever run it again. So a job has a state of its own: closing takes
 * over a job that has not begun and waits for one that has. The worker never takes the
 * spool's lock, so it may be waited for with it. The job's memory is apart from the
 * spool's: one that outlives it is freed by the worker's late done(), which finds no
 * spool any more; any other serves for the next job.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/spool_inside.h"

#define HANGS_US (30 * US_PER_S)        /* a client waits minutes for a reply, but it should not begin to */

enum job_state { JOB_GIVEN, JOB_RUNNING, JOB_WORKED };

struct spool_job {
	struct worker_job job;
	struct spool_core *core;        /* NULL: closed meanwhile */
	void            (*work)(struct spool_core *core);
	void            (*done)(struct spool_core *core);
	pthread_mutex_t   mutex;
	pthread_cond_t    worked;
	enum job_state    state;        /* under the mutex */
	bool              ended;        /* done() ran; under the spool's lock */
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
	job->work(job->core);
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

/* Under the lock, once. */
static void
job_end(struct spool_job *job)
{
	struct spool_core *core = job->core;

	if (job->ended)
		return;
	job->ended = true;
	if (core->job_late)
		log_info(core->log, "spool: the disk answers again, after %lld s", (long long)((core->now - core->job_since) / US_PER_S));
	job->done(core);
}

static void
on_done(void *ctx)
{
	struct spool_job *job = ctx;
	struct spool_core *core = job->core;
	struct spool *first;

	if (!core) {
		job_free(job);
		return;
	}
	first = &core->first;
	spool_enter(first);
	job_end(job);
	spool_leave(first);
	spool_tell(first);              /* still under way: what it calls starts no other */
	spool_enter(first);
	core->job = NULL;
	core->idle_job = job;
	spool_pump(core);
	spool_leave(first);
}

static struct spool_job *
job_new(struct spool_core *core)
{
	struct spool_job *job = core->idle_job;

	if (job) {
		core->idle_job = NULL;
		return job;
	}
	job = mem_alloc(sizeof(*job));
	job->job = (struct worker_job){ .work = on_work, .done = on_done, .ctx = job };
	pthread_mutex_init(&job->mutex, NULL);
	pthread_cond_init(&job->worked, NULL);
	return job;
}

void
spool_job_run(struct spool_core *core, void (*work)(struct spool_core *core), void (*done)(struct spool_core *core))
{
	struct spool_job *job = job_new(core);

	check(!core->job);
	job->core = core;
	job->work = work;
	job->done = done;
	job->state = JOB_GIVEN;
	job->ended = false;
	core->job = job;
	core->job_since = core->now;
	core->job_late = false;
	worker_run(core->worker, &job->job);
}

bool
spool_job_hangs(struct spool_core *core, struct err *err)
{
	if (!core->job || core->job->ended || core->now - core->job_since < HANGS_US)
		return false;
	err_set(err, ERR_TEMP, "spool: the disk has not answered for %lld s", (long long)((core->now - core->job_since) / US_PER_S));
	if (!core->job_late)
		log_error(core->log, "spool: the disk has not answered for %d s; new messages are refused until it does", (int)(HANGS_US / US_PER_S));
	core->job_late = true;
	return true;
}

void
spool_job_finish(struct spool_core *core)
{
	struct spool_job *job = core->job;

	if (!job)
		return;
	on_work(job);
	pthread_mutex_lock(&job->mutex);
	while (job->state != JOB_WORKED)
		pthread_cond_wait(&job->worked, &job->mutex);
	pthread_mutex_unlock(&job->mutex);
	job_end(job);
}

void
spool_job_free(struct spool_core *core)
{
	if (core->job)
		core->job->core = NULL;
	if (core->idle_job)
		job_free(core->idle_job);
	core->job = core->idle_job = NULL;
}
