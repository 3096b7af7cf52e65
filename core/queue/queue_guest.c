/*
 * queue_guest - sessions of a queue that a swap has left behind on another shard.
 *
 * Within a shard sessions go where the mail for their hosts goes. They cannot leave their
 * shard; so the queue that has the mail now counts them as its own and its site's, as
 * ending soon, until it is told that they are gone. Else a receiver would see those
 * of two queues at once.
 *
 * A queue that owes such news owes one for each session, and each guest, that it had when it was left. If the mail
 * goes on, or back, by the next swap, the guests go with it: each end is told to the next in the row.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "net/peers.h"
#include "queue/queue_own.h"

struct guests {
	struct list   node;             /* queues->guests */
	struct queue *heir;
	unsigned      from;
	uint32_t      n;
	char          name[];           /* of the queue they are of */
};

struct gone {
	struct loop_call call;
	struct queues *to;
	unsigned       from;
	uint32_t       n;
	char           name[];
};

static struct guests *
guests_of(struct queues *queues, unsigned from, const char *name)
{
	list_each(node, &queues->guests) {
		struct guests *guests = list_entry(node, struct guests, node);

		if (guests->from == from && strcmp(guests->name, name) == 0)
			return guests;
	}
	return NULL;
}

static void
count(struct scope *scope, uint32_t n, bool there)
{
	for (uint32_t i = 0; i < n; i++)
		if (there)
			gauge_take(&scope->use->sessions, GAUGE_UNLIMITED);
		else
			gauge_give(&scope->use->sessions);
	if (there)
		atomic_fetch_add(&scope->use->closing, n);
	else
		atomic_fetch_sub(&scope->use->closing, n);
}

static void
count_guests(struct queue *heir, uint32_t n, bool there)
{
	heir->guests = there ? heir->guests + n : heir->guests - n;
	count(&heir->scope, n, there);
	count(&heir->site->scope, n, there);
}

void
queue_take_guests(struct queue *heir, unsigned from, const char *name, uint32_t n)
{
	size_t length = strlen(name);
	struct guests *guests;

	if (n == 0)
		return;
	guests = mem_alloc(sizeof *guests + length + 1);
	guests->heir = heir;
	guests->from = from;
	guests->n = n;
	memcpy(guests->name, name, length);
	list_add_tail(&heir->queues->guests, &guests->node);
	count_guests(heir, n, true);
	wheel_remove(&heir->reap);
}

void
queue_move_guests(struct queue *queue, struct queue *heir)
{
	list_each(node, &queue->queues->guests) {
		struct guests *guests = list_entry(node, struct guests, node);

		if (guests->heir != queue)
			continue;
		guests->heir = heir;
		count_guests(queue, guests->n, false);
		queue_owes_less(queue, guests->n);
		count_guests(heir, guests->n, true);
		wheel_remove(&heir->reap);
	}
	queue_maybe_reap(queue);
}

static void
guests_go(struct guests *guests, uint32_t n, struct now now)
{
	struct queue *heir = guests->heir;

	n = n < guests->n ? n : guests->n;
	guests->n -= n;
	count_guests(heir, n, false);
	if (guests->n == 0) {
		list_remove(&guests->node);
		free(guests);
	}
	queue_owes_less(heir, n);
	queue_wake_others(heir, now);
	queue_poll(heir, now);
}

static void
on_gone(void *ctx)
{
	struct gone *gone = ctx;
	struct guests *guests;

	/* Of each swap that left some here one entry, the first one's first. */
	while (gone->n > 0 && (guests = guests_of(gone->to, gone->from, gone->name)) != NULL) {
		uint32_t n = gone->n < guests->n ? gone->n : guests->n;

		gone->n -= n;
		guests_go(guests, n, loop_now(gone->to->o.loop));
	}
	free(gone);
}

static void
tell(struct queue *queue, uint32_t n)
{
	struct queues *queues = queue->queues;
	size_t length = strlen(queue->name);
	struct gone *gone = mem_alloc(sizeof *gone + length + 1);

	gone->call = (struct loop_call){ .fn = on_gone, .ctx = gone };
	gone->to = queues->o.all[queue->owes_to];
	gone->from = queues->o.me;
	gone->n = n;
	memcpy(gone->name, queue->name, length);
	peers_post(queues->o.peers, queues->o.me, queue->owes_to, &gone->call);
}

void
queue_owes_less(struct queue *queue, uint32_t n)
{
	n = n < queue->owes ? n : queue->owes;
	queue->owes -= n;
	if (n > 0 && !queue->queues->closing)
		tell(queue, n);
}

uint32_t
queue_owe(struct queue *queue, unsigned shard)
{
	queue_owes_less(queue, queue->owes);    /* to whom it was before */
	queue->owes = queue->slots_n + queue->guests;
	queue->owes_to = shard;
	return queue->owes;
}

void
queues_guests_free(struct queues *queues)
{
	list_each_safe(node, &queues->guests) {
		struct guests *guests = list_entry(node, struct guests, node);

		count_guests(guests->heir, guests->n, false);
		list_remove(&guests->node);
		free(guests);
	}
}
