/*
 * queue_guest - a session whose mail is another shard's now.
 *
 * Within a shard sessions go where the mail for their hosts goes. They cannot leave their
 * shard; so the queue that has the mail now counts such a session as its own and its site's,
 * as ending soon, until it is told that it has ended. Else a receiver would see those
 * of two queues at once.
 *
 * Which queue that is changes only while all shards stand still (queue_heir.c), and mail is not under way then: so
 * the session's shard may read it when the session ends, and who is told then finds the guest where it was.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "net/peers.h"
#include "queue/queue_own.h"

struct guest {
	struct loop_call call;          /* its session has ended */
	struct list   node;             /* heir->guests */
	struct queue *heir;
};

static void
count(struct scope *scope, bool there)
{
	if (there)
		gauge_take(&scope->use->sessions, GAUGE_UNLIMITED);
	else
		gauge_give(&scope->use->sessions);
	if (there)
		atomic_fetch_add(&scope->use->closing, 1);
	else
		atomic_fetch_sub(&scope->use->closing, 1);
}

static void
come(struct guest *guest, struct queue *heir)
{
	guest->heir = heir;
	list_add_tail(&heir->guests, &guest->node);
	heir->guests_n++;
	count(&heir->scope, true);
	count(&heir->site->scope, true);
	wheel_remove(&heir->reap);
}

static void
leave(struct guest *guest)
{
	struct queue *heir = guest->heir;

	list_remove(&guest->node);
	check(heir->guests_n > 0);
	heir->guests_n--;
	count(&heir->scope, false);
	count(&heir->site->scope, false);
}

struct queue *
queue_slot_visits(const struct queue_slot *slot)
{
	return slot->guest != NULL ? slot->guest->heir : NULL;
}

void
queue_slot_visit(struct queue_slot *slot, struct queue *heir)
{
	struct queue *before = queue_slot_visits(slot);

	if (before == heir)
		return;
	if (before != NULL)
		leave(slot->guest);
	else
		slot->guest = mem_alloc(sizeof *slot->guest);
	come(slot->guest, heir);
	if (before != NULL)
		queue_maybe_reap(before);
}

void
queue_slot_come_home(struct queue_slot *slot)
{
	struct queue *before = queue_slot_visits(slot);

	if (before == NULL)
		return;
	leave(slot->guest);
	free(slot->guest);
	slot->guest = NULL;
	queue_maybe_reap(before);
}

static void
on_gone(void *ctx)
{
	struct guest *guest = ctx;
	struct queue *heir = guest->heir;
	struct now now = loop_now(heir->queues->o.loop);

	leave(guest);
	free(guest);
	queue_wake_others(heir, now);
	queue_poll(heir, now);
}

void
queue_slot_visit_ends(struct queues *queues, struct queue_slot *slot)
{
	struct guest *guest = slot->guest;

	/* When all is closed the heir, which may be gone, has freed it. */
	if (guest == NULL || queues->closing)
		return;
	slot->guest = NULL;
	guest->call = (struct loop_call){ .fn = on_gone, .ctx = guest };
	peers_post(queues->o.peers, queues->o.me, guest->heir->queues->o.me, &guest->call);
}

void
queue_guests_free(struct queue *queue)
{
	while (!list_empty(&queue->guests)) {
		struct guest *guest = list_first(&queue->guests, struct guest, node);

		leave(guest);
		free(guest);
	}
}
