/*
 * queue_share - what lies on a virtual MTA, with every shard.
 *
 * A site and its queues are one shard's, a virtual MTA is everybody's. So an overlay on
 * one is laid where the reply came, and a copy goes to the others: its values as they came out,
 * not the percent, and its end. Until the copies arrive, some microseconds, two shards may cut
 * for the same wave; then both have made the same value of the same value before, and
 * joining them leaves one cut (overlays_join()).
 *
 * Lifts go the same way, and a lay and a lift may cross. So that all end with the same, both go by one shard, the
 * one that the virtual MTA's name is of: it passes each on to everybody, whom it comes from too, and what it says
 * last holds. To that one it is nothing new, unless something crossed it.
 * What ends by time ends everywhere by itself.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "net/peers.h"
#include "queue/queue_own.h"

struct shared {
	struct loop_call call;
	struct queues *to;
	bool            to_all;         /* it is to be passed on */
	struct overlay *copy;           /* NULL: a lift */
	char           *vmta, *lifted;  /* NULL: all of them */
};

static void
on_laid(struct queues *queues, struct shared *shared, struct now now)
{
	struct overlays_applying a = { queues, now.mono };
	struct overlay_target *target;
	bool news;

	target = overlays_join(&queues->overlays, OVERLAY_VMTA, shared->vmta, shared->copy, now.mono, &news);
	if (target == NULL)
		return;
	queues_overlays_changed(&a, target);
	if (news)
		queues_changed(queues);
}

static void
on_lifted(struct queues *queues, const struct shared *shared, struct now now)
{
	struct overlays_applying a = { queues, now.mono };
	struct overlay_target *target = overlays_of(&queues->overlays, OVERLAY_VMTA, shared->vmta);

	if (target != NULL)
		overlays_lift(&queues->overlays, target, shared->lifted, queues_overlays_changed, &a);
}

static void on_shared(void *ctx);

static void
tell(struct queues *queues, unsigned to, bool to_all, const struct overlay *overlay, const char *vmta, const char *lifted)
{
	struct shared *shared = mem_alloc(sizeof *shared);

	*shared = (struct shared){
		.call = { .fn = on_shared, .ctx = shared }, .to = queues->o.all[to], .to_all = to_all, .vmta = mem_strdup(vmta),
		.copy = overlay != NULL ? overlay_dup(overlay) : NULL, .lifted = lifted != NULL ? mem_strdup(lifted) : NULL,
	};
	peers_post(queues->o.peers, queues->o.me, to, &shared->call);
}

static void
tell_others(struct queues *queues, const struct overlay *overlay, const char *vmta, const char *lifted)
{
	for (unsigned i = 0; i < queues->shards_n; i++)
		if (i != queues->o.me)
			tell(queues, i, false, overlay, vmta, lifted);
}

static void
on_shared(void *ctx)
{
	struct shared *shared = ctx;
	struct queues *queues = shared->to;
	struct now now = loop_now(queues->o.loop);

	if (shared->to_all)
		tell_others(queues, shared->copy, shared->vmta, shared->lifted);
	if (shared->copy != NULL)
		on_laid(queues, shared, now);
	else
		on_lifted(queues, shared, now);
	queues->changed = true;
	queues_overlays_arm(queues);
	free(shared->vmta);
	free(shared->lifted);
	free(shared);
}

static void
share(struct queues *queues, const struct overlay *overlay, const char *vmta, const char *lifted)
{
	unsigned by = queues_owner(queues, span_text(vmta));

	if (by == queues->o.me)
		tell_others(queues, overlay, vmta, lifted);
	else
		tell(queues, by, true, overlay, vmta, lifted);
}

void
overlay_share(struct queues *queues, const struct overlay *overlay)
{
	share(queues, overlay, overlay->target->name, NULL);
}

void
overlays_share_lift(struct queues *queues, const char *vmta, const char *name)
{
	share(queues, NULL, vmta, name);
}
