/*
 * queue_travel - recipients on their way to the shard whose site they are for.
 *
 * A shard posts them with what the other needs to place them: the domain, the virtual MTA,
 * its home's where it is rerouted, what DNS said. Recipients are linked, not listed, so a
 * mail is as small for a thousand as for one; all that one turn sends to one
 * shard goes as one chain. It is posted when the outermost caller that gathers has
 * said all, always within the event that began it: between two events everybody is
 * either in a place or in the mail, and a halt, which delivers the mail, finds
 * everybody in a place.
 *
 * Under way a recipient is on no wheel. The receiver places it like any other, and there it
 * expires at once if it must. Virtual MTAs go by their index: a swap is done under
 * a halt, so a mail that was posted before arrives before.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "net/peers.h"
#include "queue/queue_own.h"

#define NO_HOME UINT32_MAX

struct travel {
	struct loop_call call;          /* the first one's */
	struct travel *next;
	struct queues *from, *to;       /* whose memory it is; whose thread may read it from the post on */
	struct route  *route;           /* there, once it has arrived */
	struct route_answer *answer;    /* NULL: it has to be asked there, or goes without */
	unsigned       vmta, home;      /* by index */
	struct list    rcpts;
	size_t         domain_n;
	char           domain[];
};

struct travel_box { struct travel *first, *last; };

/* ---- leaving ---- */

/* One that did not go by that route was declared by another ruleset, in the middle of a swap. */
static unsigned
index_of(const struct queues *queues, const struct ruleset_vmta *vmta)
{
	const struct ruleset_vmta *now_is = queues->swapping ? ruleset_vmta(queues->o.ruleset, span_text(vmta->name)) : vmta;

	check(now_is != NULL);          /* mail of it waits, so the swap would have been refused */
	return now_is->index;
}

static struct travel *
travel_of(struct travel_box *box, struct span domain, unsigned vmta, unsigned home, const struct route_answer *answer)
{
	struct travel *last = box->last;

	if (last != NULL && last->vmta == vmta && last->home == home && last->answer == answer &&
	    span_eq(span_make(last->domain, last->domain_n), domain))
		return last;
	return NULL;
}

static struct travel *
travel_new(struct queues *queues, struct span domain, unsigned vmta, unsigned home, struct route_answer *answer)
{
	struct travel *travel = pool_take(&queues->travels_pool, sizeof *travel + domain.n);

	travel->from = queues;
	travel->vmta = vmta;
	travel->home = home;
	travel->answer = answer;
	if (answer != NULL)
		atomic_fetch_add_explicit(&answer->refs, 1, memory_order_relaxed);
	list_init(&travel->rcpts);
	travel->domain_n = domain.n;
	memcpy(travel->domain, domain.p, domain.n);
	return travel;
}

static void
append(struct queues *queues, unsigned to, struct travel *travel)
{
	struct travel_box *box = &queues->boxes[to];

	queues->leaving = true;
	if (box->last != NULL)
		box->last->next = travel;
	else
		box->first = travel;
	box->last = travel;
}

static void
put_in(struct queues *queues, unsigned to, struct rcpt *rcpt, struct span domain, unsigned vmta, unsigned home,
       struct route_answer *answer)
{
	struct travel *travel;

	travels_gather(queues);
	travel = travel_of(&queues->boxes[to], domain, vmta, home, answer);
	if (travel == NULL) {
		travel = travel_new(queues, domain, vmta, home, answer);
		append(queues, to, travel);
	}
	list_add_tail(&travel->rcpts, &rcpt->node);
	atomic_store_explicit(&rcpt->shard, RCPT_UNDER_WAY, memory_order_relaxed);
	travels_post(queues);
}

void
rcpt_send_off(struct queues *queues, struct rcpt *rcpt, unsigned to, struct span domain, const struct ruleset_vmta *vmta)
{
	put_in(queues, to, rcpt, domain, vmta->index, NO_HOME, NULL);
}

void
rcpt_leave(struct rcpt *rcpt, struct now now)
{
	struct route *route = rcpt->route, *home = rcpt->home;
	struct queues *queues = route->queues;

	check(route->state == ROUTE_AWAY);
	check(queues->rcpts_n > 0);
	queues->rcpts_n--;
	rcpt->route = rcpt->home = NULL;
	rcpt->queue = NULL;
	put_in(queues, route->shard, rcpt, span_text(route->name), index_of(queues, route->vmta),
	       home != NULL ? index_of(queues, home->vmta) : NO_HOME, route->answer);
	route_unuse(route, now.mono);
	if (home != NULL)
		route_unuse(home, now.mono);
}

/* ---- arriving ---- */

static void
take_in(struct travel *travel, struct now now)
{
	struct queues *queues = travel->to;
	struct span domain = span_make(travel->domain, travel->domain_n);
	struct route *home = NULL;

	travel->route = route_told(queues, domain, queues->o.ruleset->vmtas[travel->vmta], travel->answer, now);
	if (travel->home != NO_HOME)
		home = route_told(queues, domain, queues->o.ruleset->vmtas[travel->home], travel->answer, now);
	list_each(node, &travel->rcpts) {
		struct rcpt *rcpt = list_entry(node, struct rcpt, node);

		atomic_store_explicit(&rcpt->shard, (uint8_t)queues->o.me, memory_order_relaxed);
		queues->rcpts_n++;
		route_use(rcpt->route = travel->route);
		if ((rcpt->home = home) != NULL)
			route_use(home);
	}
	route_keep(travel->route, now.mono);
}

static void
place_all(struct travel *travel, struct now now)
{
	while (!list_empty(&travel->rcpts)) {
		struct rcpt *rcpt = list_first(&travel->rcpts, struct rcpt, node);

		list_remove(&rcpt->node);
		route_place(rcpt, now);
	}
}

static void
on_arrival(void *ctx)
{
	struct travel *first = ctx, *next;
	struct queues *queues = first->to;
	struct now now = loop_now(queues->o.loop);

	travels_gather(queues);
	for (struct travel *travel = first; travel != NULL; travel = travel->next)
		take_in(travel, now);
	/* All before any queue has its turn, so that a message's recipients find each other. */
	for (struct travel *travel = first; travel != NULL; travel = travel->next)
		place_all(travel, now);
	travels_post(queues);
	for (struct travel *travel = first; travel != NULL; travel = next) {
		next = travel->next;
		if (travel->route->queue != NULL)
			queue_poll(travel->route->queue, now);
		route_answer_unref(travel->answer);
		pool_give(&travel->from->travels_pool, travel, sizeof *travel + travel->domain_n);
	}
}

void
travels_post(struct queues *queues)
{
	check(queues->gathering > 0);
	if (--queues->gathering > 0 || !queues->leaving)
		return;
	queues->leaving = false;
	for (unsigned i = 0; i < queues->shards_n; i++) {
		struct travel *first = queues->boxes[i].first;

		if (first == NULL)
			continue;
		queues->boxes[i] = (struct travel_box){ NULL, NULL };
		for (struct travel *travel = first; travel != NULL; travel = travel->next)
			travel->to = queues->o.all[i];
		first->call = (struct loop_call){ .fn = on_arrival, .ctx = first };
		peers_post(queues->o.peers, queues->o.me, i, &first->call);
	}
}

/* ---- the whole ---- */

void
travels_init(struct queues *queues)
{
	if (queues->shards_n > 1)
		queues->boxes = mem_alloc(queues->shards_n * sizeof *queues->boxes);
	pool_init(&queues->travels_pool, sizeof(struct travel) + POOLED_DOMAIN, POOLED_MAX);
}

void
travels_free(struct queues *queues)
{
	check(queues->gathering == 0);
	free(queues->boxes);
	pool_fini(&queues->travels_pool);
}
