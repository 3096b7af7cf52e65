/*
 * worker - work that may block, off the loop: syncs, later signatures.
 *
 * Ownership  The job is the caller's and must live until its done() ran.
 * Threads    worker_run(): any. work() runs on another thread, done() on the loop's. Jobs of one
 *            worker run in the order they were given, one at a time.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "net/loop.h"

struct worker_job {
	void            (*work)(void *ctx);
	void            (*done)(void *ctx);
	void             *ctx;
	struct worker_job *next;        /* the worker's */
	struct loop_call   call;        /* the worker's */
};

struct worker {
	void (*run)(struct worker *worker, struct worker_job *job);
};

static inline void worker_run(struct worker *worker, struct worker_job *job) { worker->run(worker, job); }

struct worker *worker_os_new(struct loop *loop, const char *name, struct err *err);
/* Waits until the jobs given so far are worked; done() of those not yet told is called here. */
void worker_os_free(struct worker *worker);
