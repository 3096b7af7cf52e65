/*
 * spool_testing - for the spool's own tests: a loop and a worker that move when
 * the test says, beside the disk of disk_testing.h.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "spool/disk_testing.h"
#include "spool/spool_inside.h"

struct hand {
	struct loop   loop;
	struct worker worker;
	struct worker_job *first, *last;
	struct worker_job *worked;      /* done() not yet told */
	unsigned runs;
};

MAYBE void
hand_run(struct worker *worker, struct worker_job *job)
{
	struct hand *hand = container_of(worker, struct hand, worker);

	job->next = NULL;
	if (hand->last)
		hand->last->next = job;
	else
		hand->first = job;
	hand->last = job;
	hand->runs++;
}

MAYBE void
hand_init(struct hand *hand)
{
	*hand = (struct hand){ .worker = { hand_run } };
	timers_init(&hand->loop.timers);
	hand->loop.now.mono = 1000 * US_PER_S;
}

/* Works one job, without telling. */
MAYBE bool
hand_work(struct hand *hand)
{
	struct worker_job *job = hand->first;

	if (!job || hand->worked)
		return false;
	hand->first = job->next;
	if (!hand->first)
		hand->last = NULL;
	job->work(job->ctx);
	hand->worked = job;
	return true;
}

MAYBE bool
hand_tell(struct hand *hand)
{
	struct worker_job *job = hand->worked;

	if (!job)
		return false;
	hand->worked = NULL;
	job->done(job->ctx);
	return true;
}

MAYBE void
hand_pass(struct hand *hand, int64_t us)
{
	hand->loop.now.mono += us;
	timers_run(&hand->loop.timers, hand->loop.now);
}

/* Until nothing is left to do. */
MAYBE void
hand_settle(struct hand *hand)
{
	for (int i = 0; i < 100000; i++) {
		bool moved = hand_work(hand);
		moved = hand_tell(hand) || moved;
		if (!moved)
			return;
	}
	check(!"the spool comes to rest");
}

MAYBE void
hand_fini(struct hand *hand)
{
	hand_settle(hand);
	timers_fini(&hand->loop.timers);
}
