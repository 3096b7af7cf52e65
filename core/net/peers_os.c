/*
 * peers_os - shards on threads: mail is loop_post(), and to stand still is mail too.
 *
 *   halt     each running loop gets a call that stands at the barrier; the first shard
 *            waits until all are there, then delivers what is under way, in their place,
 *            until nothing is
 *   resume   the barrier opens
 *
 * A loop that stands at the barrier is in the middle of its row of posted calls.
 * What comes behind in that row was posted before the halt was complete, and is
 * taken out of its hands by loop_run_posted() like everything else.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "net/peers.h"

#include <pthread.h>

struct stand {
	struct loop_call call;
	struct peers_os *peers;
	bool             running;
};

struct peers_os {
	struct peers     peers;
	struct loop    **loops;
	struct stand    *stands;
	pthread_mutex_t  lock;          /* guards what follows */
	pthread_cond_t   changed;
	unsigned         standing;
	uint64_t         halts;         /* that are over */
};

static void
stand(void *ctx)
{
	struct peers_os *p = ((struct stand *)ctx)->peers;
	uint64_t halts;

	pthread_mutex_lock(&p->lock);
	halts = p->halts;
	p->standing++;
	pthread_cond_broadcast(&p->changed);
	while (p->halts == halts)
		pthread_cond_wait(&p->changed, &p->lock);
	p->standing--;
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
}

static void
os_post(struct peers *peers, unsigned from, unsigned to, struct loop_call *call)
{
	(void)from;
	check(to < peers->n);
	loop_post(container_of(peers, struct peers_os, peers)->loops[to], call);
}

static void
os_halt(struct peers *peers)
{
	struct peers_os *p = container_of(peers, struct peers_os, peers);
	unsigned expected = 0;
	bool more = true;

	for (unsigned i = 1; i < peers->n; i++) {
		if (!p->stands[i].running)
			continue;
		expected++;
		loop_post(p->loops[i], &p->stands[i].call);
	}
	pthread_mutex_lock(&p->lock);
	while (p->standing < expected)
		pthread_cond_wait(&p->changed, &p->lock);
	pthread_mutex_unlock(&p->lock);
	/* Mail begets mail, also to those that were looked at before. */
	while (more) {
		more = false;
		for (unsigned i = 0; i < peers->n; i++)
			more |= loop_run_posted(p->loops[i]);
	}
}

static void
os_resume(struct peers *peers)
{
	struct peers_os *p = container_of(peers, struct peers_os, peers);

	pthread_mutex_lock(&p->lock);
	p->halts++;
	pthread_cond_broadcast(&p->changed);
	/* All have left, or the next halt would count them twice. */
	while (p->standing > 0)
		pthread_cond_wait(&p->changed, &p->lock);
	pthread_mutex_unlock(&p->lock);
}

static const struct peers_ops peers_os_ops = { .post = os_post, .halt = os_halt, .resume = os_resume };

struct peers *
peers_os_new(struct loop *const *loops, unsigned n)
{
	struct peers_os *p = mem_alloc(sizeof *p);

	check(n >= 1 && n <= PEERS_MAX);
	p->peers = (struct peers){ &peers_os_ops, n };
	p->loops = mem_alloc(n * sizeof(struct loop *));
	p->stands = mem_alloc(n * sizeof *p->stands);
	for (unsigned i = 0; i < n; i++) {
		p->loops[i] = loops[i];
		p->stands[i].peers = p;
		p->stands[i].call = (struct loop_call){ .fn = stand, .ctx = &p->stands[i] };
	}
	check(pthread_mutex_init(&p->lock, NULL) == 0);
	check(pthread_cond_init(&p->changed, NULL) == 0);
	return &p->peers;
}

void
peers_os_free(struct peers *peers)
{
	struct peers_os *p = peers != NULL ? container_of(peers, struct peers_os, peers) : NULL;

	if (p == NULL)
		return;
	check(p->standing == 0);
	pthread_cond_destroy(&p->changed);
	pthread_mutex_destroy(&p->lock);
	free(p->stands);
	free(p->loops);
	free(p);
}

void
peers_os_running(struct peers *peers, unsigned i, bool running)
{
	struct peers_os *p = container_of(peers, struct peers_os, peers);

	check(i > 0 && i < peers->n);
	p->stands[i].running = running;
}
