/*
 * queue_reroute - mail that an overlay sends by another virtual MTA.
 *
 * A recipient belongs to its own virtual MTA's route, its home; while it is away
 * it also remembers that. Where it goes is worked out anew whenever its turn
 * comes: from home, the overlay's virtual MTA (or another member of its pool, the same
 * for all recipients of a message, so that they stay one transaction), and on from
 * there if that queue reroutes too. A circle, which the loader refuses, ends at home.
 *
 * Only what is due and not paused goes away. What has to wait waits in its own queue, so that an
 * overlay's end has to call back no more than what stands ready elsewhere, and
 * the spool knows nothing of all this.
 *
 * By any virtual MTA a domain is of one site, and so of one shard, but for a while after its MX
 * changed, until all its routes have asked again. Then a recipient goes to the other
 * shard with its home, which learns there what sent it. If that is no home there either,
 * nobody there knows better, and it goes as it came.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/queue_own.h"

#define HOPS_MAX  8
#define AWAY_MAX  256           /* recipients sent away a turn; then others have theirs */

static uint64_t
weight_of(const struct ruleset_pool *pool, const struct ruleset_vmta *vmta)
{
	uint64_t weight = 0;

	for (unsigned i = 0; i < pool->members_n; i++)
		if (pool->members[i].vmta == vmta)
			weight += pool->members[i].weight;
	return weight;
}

struct search { const char *reroute; bool found; };

static void
look_for_site(void *ctx, const struct overlay *overlay)
{
	struct search *search = ctx;

	if (overlay->reroute != NULL && strcmp(overlay->reroute, search->reroute) == 0 &&
	    overlay->target->scope == OVERLAY_SITE)
		search->found = true;
}

/* The overlay that sends away lies on the other members' queues too. */
static bool
is_of_site(const struct queue *q)
{
	struct search search = { q->hold.reroute, false };

	queue_overlays(q, look_for_site, &search);
	return search.found;
}

/* By weight among all but `vmta`. NULL: there is no other. */
static const struct ruleset_vmta *
choose_other(const struct ruleset_pool *pool, const struct ruleset_vmta *vmta, struct prng *prng)
{
	uint64_t sum = pool->weight_sum - weight_of(pool, vmta), at;

	if (sum == 0)
		return NULL;
	at = prng_below(prng, sum);
	for (unsigned i = 0; i < pool->members_n; i++) {
		if (pool->members[i].vmta == vmta)
			continue;
		if (at < pool->members[i].weight)
			return pool->members[i].vmta;
		at -= pool->members[i].weight;
	}
	check(!"the weights of a pool sum up");
	return NULL;
}

/* NULL: the name means nobody else. */
static const struct ruleset_vmta *
choose(const struct queue *q, const struct message *message)
{
	const struct ruleset *ruleset = q->queues->o.ruleset;
	const struct ruleset_vmta *vmta;
	const struct ruleset_pool *pool;
	struct prng prng;

	prng_seed(&prng, message->spool.id);
	vmta = ruleset_choose(ruleset, span_text(q->hold.reroute), &prng, &pool);
	if (pool != NULL && weight_of(pool, q->vmta) > 0)
		return is_of_site(q) ? NULL : choose_other(pool, q->vmta, &prng);
	return vmta != q->vmta ? vmta : NULL;
}

/* What an operator holds here stays here: another way would be a way around the pause. */
static bool
stays_in(const struct queue *q, const struct rcpt *rcpt)
{
	return q->settings->paused || q->paused_by_hand ||
	       (q->held_jobs && queues_hold_job(q->queues, q->name, rcpt->message->job->name));
}

static struct route *
way_of(const struct rcpt *rcpt, struct now now)
{
	struct route *home = rcpt->home != NULL ? rcpt->home : rcpt->route;
	struct route *to = home;

	if (rcpt->due.key > now.mono)
		return home;
	if (home->state == ROUTE_AWAY)
		return rcpt->route;
	for (unsigned hops = 0; to->queue != NULL && to->queue->hold.reroute != NULL && !stays_in(to->queue, rcpt); hops++) {
		const struct ruleset_vmta *vmta = choose(to->queue, rcpt->message);

		if (vmta == NULL)
			break;
		if (vmta == home->vmta || hops == HOPS_MAX)
			return home;
		to = route_get(to->queues, span_text(to->name), vmta, to->queue->site, now);
		route_keep(to, now.mono);
	}
	return to;
}

static bool
is_at_home(const struct rcpt *rcpt)
{
	const struct queue *q = rcpt->route->queue;

	return rcpt->home == NULL && (q == NULL || q->hold.reroute == NULL);
}

bool
rcpt_is_astray(struct rcpt *rcpt, struct now now)
{
	if (is_at_home(rcpt))
		return false;
	return way_of(rcpt, now) != rcpt->route;
}

void
rcpt_reroute(struct rcpt *rcpt, struct now now)
{
	struct route *home = rcpt->home != NULL ? rcpt->home : rcpt->route;
	struct route *to;

	if (is_at_home(rcpt))
		return;
	to = way_of(rcpt, now);
	if (to == rcpt->route)
		return;
	/* Home counts it all the time, any other route only while it is there. */
	if (to != home)
		route_use(to);
	if (rcpt->home != NULL)
		route_unuse(rcpt->route, now.mono);
	rcpt->route = to;
	rcpt->home = to != home ? home : NULL;
}

bool
queue_send_away(struct queue *q, struct now now)
{
	struct rcpt *rcpt;
	unsigned n = 0;

	if (q->hold.reroute == NULL || q->settings->paused || q->paused_by_hand)
		return false;
	while ((rcpt = queue_first_ready(q)) != NULL && rcpt_is_astray(rcpt, now)) {
		if (n++ == AWAY_MAX)
			return true;
		rcpt_unlink(rcpt);
		rcpt_moved(rcpt, now);
	}
	return false;
}

static void
call_back(struct queue *from, const struct queue *home, struct now now)
{
	size_t n;
	struct rcpt **found = queue_collect(from, NULL, false, &n);
	bool was = queue_freeze(from);

	for (size_t i = 0; i < n; i++) {
		if (found[i]->home == NULL || found[i]->home->queue != home || !rcpt_is_astray(found[i], now))
			continue;
		rcpt_unlink(found[i]);
		rcpt_moved(found[i], now);
	}
	free(found);
	queue_thaw(from, was);
	queue_poll(from, now);          /* its lanes, and it, may be empty now */
}

void
queue_recall(struct queue *q, struct now now)
{
	struct queue **queues = mem_alloc((q->queues->queues.n + 1) * sizeof *queues);
	struct queue *other;
	unsigned n = 0;
	uint32_t pos = 0;

	q->recall = false;
	/* A domain may be another site by another virtual MTA, so all are asked; this happens once an overlay's end. */
	while ((other = table_next(&q->queues->queues, &pos)) != NULL)
		if (other != q && other->ready_n + other->held_n + other->routing_n > 0)
			queues[n++] = other;
	for (unsigned i = 0; i < n; i++)
		call_back(queues[i], q, now);
	free(queues);
}
