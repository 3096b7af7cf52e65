/*
 * worker_os - one thread and two lists: jobs waiting, and jobs worked whose
 * owners are not told yet. A watcher of the worker's own (not the job's
 * loop_call) wakes the loop, so that freeing the worker leaves nothing behind
 * in the loop that could still be called, and so that a burst of jobs costs
 * one wake-up.
 *
 * Signals are blocked on the thread: they are the loop's to hear.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "net/worker.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>

#include "net/loop_os.h"

struct jobs {
	struct worker_job *first, **end;
};

struct worker_os {
	struct worker   worker;
	struct loop    *loop;
	ev_async        told;
	pthread_t       thread;
	pthread_mutex_t lock;           /* guards what follows */
	pthread_cond_t  wake;
	struct jobs     waiting;
	struct jobs     worked;
	bool            stop;
};

static void
jobs_init(struct jobs *jobs)
{
	jobs->first = NULL;
	jobs->end = &jobs->first;
}

static void
jobs_add(struct jobs *jobs, struct worker_job *job)
{
	job->next = NULL;
	*jobs->end = job;
	jobs->end = &job->next;
}

static struct worker_job *
jobs_pop(struct jobs *jobs)
{
	struct worker_job *job = jobs->first;

	if (job && !(jobs->first = job->next))
		jobs->end = &jobs->first;
	return job;
}

static void *
worker_thread(void *arg)
{
	struct worker_os *w = arg;

	pthread_mutex_lock(&w->lock);
	for (;;) {
		struct worker_job *job = jobs_pop(&w->waiting);

		if (!job) {
			if (w->stop)
				break;
			pthread_cond_wait(&w->wake, &w->lock);
			continue;
		}
		pthread_mutex_unlock(&w->lock);
		job->work(job->ctx);
		pthread_mutex_lock(&w->lock);
		if (!w->worked.first)
			ev_async_send(loop_os_ev(w->loop), &w->told);
		jobs_add(&w->worked, job);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

/* The job is its owner's again as soon as done() runs. */
static void
tell_worked(struct worker_os *w)
{
	struct worker_job *job, *next;

	pthread_mutex_lock(&w->lock);
	job = w->worked.first;
	jobs_init(&w->worked);
	pthread_mutex_unlock(&w->lock);
	for (; job; job = next) {
		next = job->next;
		job->next = NULL;
		job->done(job->ctx);
	}
}

static void
on_told(EV_P_ ev_async *watcher, int revents)
{
	tell_worked(watcher->data);
}

static void
worker_os_run(struct worker *worker, struct worker_job *job)
{
	struct worker_os *w = container_of(worker, struct worker_os, worker);

	pthread_mutex_lock(&w->lock);
	if (!w->waiting.first)
		pthread_cond_signal(&w->wake);
	jobs_add(&w->waiting, job);
	pthread_mutex_unlock(&w->lock);
}

static int
start_thread(struct worker_os *w, const char *name)
{
	sigset_t all, before;
	char short_name[16];
	int sys;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	sys = pthread_create(&w->thread, NULL, worker_thread, w);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (sys == 0) {
		snprintf(short_name, sizeof(short_name), "%s", name);
		pthread_setname_np(w->thread, short_name);
	}
	return sys;
}

static void
worker_os_destroy(struct worker_os *w)
{
	ev_async_stop(loop_os_ev(w->loop), &w->told);
	pthread_cond_destroy(&w->wake);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

struct worker *
worker_os_new(struct loop *loop, const char *name, struct err *err)
{
	struct worker_os *w = mem_alloc(sizeof(*w));
	int sys;

	w->worker.run = worker_os_run;
	w->loop = loop;
	jobs_init(&w->waiting);
	jobs_init(&w->worked);
	check(pthread_mutex_init(&w->lock, NULL) == 0);
	check(pthread_cond_init(&w->wake, NULL) == 0);
	ev_async_init(&w->told, on_told);
	w->told.data = w;
	ev_async_start(loop_os_ev(loop), &w->told);
	sys = start_thread(w, name);
	if (sys != 0) {
		worker_os_destroy(w);
		errno = sys;
		err_sys(err, "cannot start the thread %s", name);
		return NULL;
	}
	return &w->worker;
}

/* done() may give another job: it is worked too. */
static bool
drained(struct worker_os *w)
{
	bool empty;

	pthread_mutex_lock(&w->lock);
	empty = !w->waiting.first && !w->worked.first;
	pthread_mutex_unlock(&w->lock);
	return empty;
}

void
worker_os_free(struct worker *worker)
{
	struct worker_os *w = worker ? container_of(worker, struct worker_os, worker) : NULL;

	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->stop = true;
	pthread_cond_signal(&w->wake);
	pthread_mutex_unlock(&w->lock);
	check(pthread_join(w->thread, NULL) == 0);
	tell_worked(w);
	check(drained(w));
	worker_os_destroy(w);
}
