/*
 * Shards on real threads, for a sanitizer that watches them: each runs its played world a millisecond at a time, all at
 * once; between two milliseconds the test's thread may touch everything, as in a halt. Meanwhile it asks how recipients stand, as the
 * spool's compaction does.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <sched.h>

#include "queue/queue_shards_fixture.h"

#define THREADS    4
#define TICKS      1500
#define HELD_MAX   200

#define CAPS "node { max_smtp_out = 40 }\nvmta \"v1\" { source = \"any\", max_smtp_out = 12, max_msg_rate = \"2000/s\" }\n"
#define POLICY CAPS "vmta \"v2\" { source = \"any\" }\ndomain \"*\" { retry_recipients_after = \"1s\", retry_after = \"1s\" }\n"
#define OTHER  POLICY "provider \"pa\" { domains = { \"t1.example\", \"t2.example\" } }\nprovider \"pb\" { mx = { \"*.hosts.example\" } }\n"

struct post { struct post *next; struct loop_call *call; };

struct box {
	pthread_mutex_t lock;
	struct post    *first, **last;
};

struct node {
	struct peers    peers;          /* first: cast back */
	struct world   *w[THREADS];
	struct queues  *all[THREADS];
	struct scopes_shared *shared;
	struct box      boxes[THREADS];
	pthread_barrier_t tick;
	mono_us_t       clock;          /* up to here they run */
	_Atomic unsigned running;
	bool            fills, stop;
};

struct thread { struct node *node; unsigned me; };

static void
threads_post(struct peers *peers, unsigned from, unsigned to, struct loop_call *call)
{
	struct box *box = &((struct node *)peers)->boxes[to];
	struct post *post = mem_alloc(sizeof *post);

	post->call = call;
	pthread_mutex_lock(&box->lock);
	*box->last = post;
	box->last = &post->next;
	pthread_mutex_unlock(&box->lock);
}

static bool
take_mail(struct box *box)
{
	struct post *post, *next;

	pthread_mutex_lock(&box->lock);
	post = box->first;
	box->first = NULL;
	box->last = &box->first;
	pthread_mutex_unlock(&box->lock);
	if (post == NULL)
		return false;
	for (; post != NULL; post = next) {
		struct loop_call *call = post->call;

		next = post->next;
		free(post);
		call->fn(call->ctx);
	}
	return true;
}

static void
fill(struct world *w)
{
	char to[60];

	snprintf(to, sizeof to, "t%u.example,t%u.example,t%u.example", (unsigned)prng_below(&w->prng, 20),
		 (unsigned)prng_below(&w->prng, 20), (unsigned)prng_below(&w->prng, 20));
	put(w, to, .n = 1 + (unsigned)prng_below(&w->prng, 6), .vmta = prng_below(&w->prng, 3) ? "v1" : "v2", .job = "j");
}

static void *
run_thread(void *ctx)
{
	const struct thread *thread = ctx;
	struct node *node = thread->node;
	struct world *w = node->w[thread->me];

	for (;;) {
		pthread_barrier_wait(&node->tick);
		if (node->stop)
			return NULL;
		world_at(w, node->clock);
		if (node->fills)
			fill(w);
		take_mail(&node->boxes[thread->me]);
		timers_run(&w->loop.timers, w->loop.now);
		take_mail(&node->boxes[thread->me]);
		node->running--;
	}
}

static void
deliver_all(struct node *node)
{
	bool any;

	do {
		any = false;
		for (unsigned i = 0; i < THREADS; i++)
			any = take_mail(&node->boxes[i]) || any;
	} while (any);
}

/* ---- the first thread's ---- */

struct held {
	struct message *messages[HELD_MAX];
	unsigned n;
	uint64_t waiting;               /* so that what was read is used */
};

static void
hold(void *ctx, const struct rcpt *rcpt)
{
	struct held *held = ctx;

	if (held->n == HELD_MAX)
		return;
	message_hold(rcpt->message);
	held->messages[held->n++] = rcpt->message;
}

static void
hold_each(void *ctx, struct queue *queue)
{
	queue_each(queue, hold, ctx);
}

static void
tick(struct node *node, int64_t us, struct held *held)
{
	node->clock += us;
	node->running = THREADS;
	pthread_barrier_wait(&node->tick);
	do {
		for (unsigned k = 0; k < held->n; k++) {
			struct spool_rcpt_state states[8];

			message_states(held->messages[k], states);
			held->waiting += states[0].outcome == SPOOL_WAITING;
		}
		sched_yield();
	} while (node->running > 0);
}

static void
let_go(struct node *node, struct held *held)
{
	for (unsigned k = 0; k < held->n; k++)
		message_unhold(node->all[0], held->messages[k]);
	held->n = 0;
}

static unsigned
all_of(struct node *node, bool check_all)
{
	uint64_t waiting = 0, sum = 0, added = 0;

	deliver_all(node);
	for (unsigned i = 0; i < THREADS; i++) {
		const struct world *w = node->w[i];

		if (check_all)
			world_check(node->w[i]);
		waiting += w->queues->rcpts_n;
		sum += w->delivered + w->bounced + w->ended;
		added += w->added;
	}
	assert_int_equal(waiting + sum, added);
	return (unsigned)waiting;
}

static void
between(struct node *node, unsigned turn, struct held *held)
{
	const struct tightening half = { .setting = SETTING_max_smtp_out, .is_percent = true, .percent = 50, .floor = 4 };
	const struct overlay_spec spec = { .name = "cut", .lasts_us = MS(300), .tightenings = &half, .tightenings_n = 1 };
	struct err err = { 0 };
	struct queue *q;
	uint32_t pos = 0;

	all_of(node, turn % 500 == 0);
	let_go(node, held);
	queues_match(node->all[turn / 100 % THREADS], SPAN("*"), hold_each, held);
	if (turn % 300 == 0 && (q = table_next(&node->all[turn % THREADS]->queues, &pos)) != NULL)
		queue_lay(q, OVERLAY_VMTA, &spec, node->clock, node->w[turn % THREADS]->loop.now);
	if (turn % 700 != 0)
		return;
	for (unsigned i = 0; i < THREADS; i++)
		assert_true(world_swap(node->w[i], turn % 1400 ? OTHER : POLICY, &err));
	queues_swapped(node->all, THREADS);
}

static struct node *
node_new(void)
{
	static const struct peers_ops ops = { .post = threads_post };
	struct node *node = mem_alloc(sizeof *node);
	char name[40], mx[40];

	node->peers = (struct peers){ &ops, THREADS };
	node->shared = scopes_shared_new(&node->peers);
	pthread_barrier_init(&node->tick, NULL, THREADS + 1);
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_mutex_init(&node->boxes[i].lock, NULL);
		node->boxes[i].last = &node->boxes[i].first;
		node->w[i] = world_new_of(POLICY, &node->peers, i, node->all, node->shared);
		node->all[i] = node->w[i]->queues;
		prng_seed(&node->w[i]->prng, i + 1);
		node->w[i]->play = (struct play){ .connect_us = MS(2), .reply_us = MS(2), .close_us = MS(1), .idle_us = MS(50), .dns_us = MS(1) };
		node->w[i]->play.temp = 100;
		node->w[i]->play.perm = 20;
		for (unsigned d = 0; d < 10; d++) {
			snprintf(name, sizeof name, "t%u.example", d);
			snprintf(mx, sizeof mx, "10 h%u.hosts.example", d % 3);
			world_dns(node->w[i], name, RESOLVE_MX, RESOLVER_OK, d < 3 ? 1 : 60, mx);
		}
	}
	node->clock = world_now(node->w[0]);
	return node;
}

static void
node_free(struct node *node)
{
	deliver_all(node);
	for (unsigned i = 0; i < THREADS; i++)
		queues_close(node->all[i]);
	for (unsigned i = 0; i < THREADS; i++)
		world_free(node->w[i]);
	deliver_all(node);
	scopes_shared_free(node->shared);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_mutex_destroy(&node->boxes[i].lock);
	pthread_barrier_destroy(&node->tick);
	free(node);
}

static void
nobody_is_lost_between_threads(void **state)
{
	struct node *node = node_new();
	struct held held = { .n = 0 };
	struct thread threads[THREADS];
	pthread_t ids[THREADS];

	for (unsigned i = 0; i < THREADS; i++) {
		threads[i] = (struct thread){ node, i };
		assert_int_equal(pthread_create(&ids[i], NULL, run_thread, &threads[i]), 0);
	}
	node->fills = true;
	for (unsigned turn = 1; turn <= TICKS; turn++) {
		tick(node, MS(1), &held);
		if (turn % 100 == 0)
			between(node, turn, &held);
	}
	node->fills = false;
	let_go(node, &held);
	for (unsigned turn = 0; turn < 5000 && all_of(node, false) > 0; turn++)
		tick(node, MS(50), &held);
	assert_int_equal(all_of(node, true), 0);
	node->stop = true;
	pthread_barrier_wait(&node->tick);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(ids[i], NULL);
	for (unsigned i = 0; i < THREADS; i++) {
		assert_int_equal(node->all[i]->jobs.n, 0);
		assert_true(node->w[i]->delivered > 0);
		world_end_sessions(node->w[i]);
	}
	node_free(node);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_is_lost_between_threads),
	};
	return cmocka_run_group_tests(tests, fixture_folder, fixture_folder_gone);
}
