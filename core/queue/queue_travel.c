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
 * What a queue leaves, when a swap has given its receiver's mail to another shard, is handed over under that
 * swap's halt, before any queue there has its turn.
 *
 * Under way a recipient is on no wheel. The receiver places it like any other, and there it
 * expires at once if it must. Virtual MTAs go by their index: a swap is done under
 * a halt, so a mail that was posted before arrives before.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "net/peers.h"
#include "queue/queue_own.h"
#include "queue/warmup.h"

#define NO_HOME UINT32_MAX

struct travel {
	struct loop_call call;          /* the first one's */
	struct travel *next;
	struct queues *from, *to;       /* whose memory it is; whose thread may read it from the post on */
	struct route  *route;           /* there, once it has arrived */
	struct route_answer *answer;    /* NULL: it has to be asked there, or goes without */
	unsigned       vmta, home;      /* by index */
	struct legacy *legacy;          /* for the queue that the mail is in there; NULL: none */
	struct list    rcpts;
	size_t         domain_n;
	char           domain[];
};

struct travel_box { struct travel *first, *last; };

/* All but the caps and rates, which begin as if they were used up: as for a queue of another name (queue_swap.c). */
struct legacy {
	struct list of_queue, of_site;  /* struct overlay */
	char       *last_error;         /* NULL: none */
	mono_us_t   retry_until, retry_set_at;
	uint32_t    retry_step;
	bool        deferred_by_rule;
	struct warmup_used warmup;
	unsigned    from;               /* the shard */
	uint32_t    sessions;
	char       *name;               /* of the queue that leaves it */
};

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

static void
copy_overlays(const struct overlay_target *target, struct list *out)
{
	list_init(out);
	if (target == NULL)
		return;
	list_each(node, &target->overlays)
		list_add_tail(out, &overlay_dup(list_entry(node, struct overlay, node))->node);
}

void
queue_bequeath_to(struct queue *queue, const struct route *route)
{
	struct queues *queues = queue->queues;
	struct legacy *legacy = mem_alloc(sizeof *legacy);
	struct travel *travel;
	struct span domain = span_text(route->name);

	check(route->state == ROUTE_AWAY);
	*legacy = (struct legacy){
		.last_error = queue->last_error != NULL ? mem_strdup(queue->last_error) : NULL,
		.retry_until = queue->retry_until, .retry_set_at = queue->retry_set_at, .retry_step = queue->retry_step,
		.deferred_by_rule = queue->deferred_by_rule, .warmup = warmup_used(queue), .from = queues->o.me,
		.sessions = queue_owe(queue, route->shard), .name = mem_strdup(queue->name),
	};
	copy_overlays(overlays_of(&queues->overlays, OVERLAY_QUEUE, queue->name), &legacy->of_queue);
	copy_overlays(overlays_of(&queues->overlays, OVERLAY_SITE, queue->site->name), &legacy->of_site);
	travel = travel_new(queues, domain, index_of(queues, route->vmta), NO_HOME, route->answer);
	travel->legacy = legacy;
	travel->to = queues->o.all[route->shard];
	travel->next = queues->legacies;
	queues->legacies = travel;
}

/* ---- arriving ---- */

static void
lay_copies(struct queues *queues, enum overlay_scope scope, const char *name, struct list *copies, mono_us_t now)
{
	while (!list_empty(copies)) {
		struct overlay *copy = list_first(copies, struct overlay, node);

		list_remove(&copy->node);
		overlays_put(&queues->overlays, scope, name, copy, now);
	}
}

static void
free_copies(struct list *copies)
{
	while (!list_empty(copies)) {
		struct overlay *copy = list_first(copies, struct overlay, node);

		list_remove(&copy->node);
		overlay_free(copy);
	}
}

static void
inherit(struct queue *heir, struct legacy *legacy, mono_us_t now)
{
	struct queues *queues = heir->queues;

	warmup_inherit(heir, &legacy->warmup);
	lay_copies(queues, OVERLAY_QUEUE, heir->name, &legacy->of_queue, now);
	if (heir->site->queues_n == 1)
		lay_copies(queues, OVERLAY_SITE, heir->site->name, &legacy->of_site, now);
	if (heir->last_error == NULL && legacy->last_error != NULL)
		queue_error(heir, legacy->last_error);
	if (legacy->retry_until > heir->retry_until) {
		heir->retry_until = legacy->retry_until;
		heir->retry_set_at = legacy->retry_set_at;
		heir->deferred_by_rule = legacy->deferred_by_rule;
	}
	if (legacy->retry_step > heir->retry_step)
		heir->retry_step = legacy->retry_step;
	queue_site_apply(heir, now);
	queue_apply(heir, now);
	queues_overlays_arm(queues);
	queues_changed(queues);
}

static void
take_legacy(struct queue *heir, struct legacy *legacy, mono_us_t now)
{
	if (heir != NULL)
		queue_take_guests(heir, legacy->from, legacy->name, legacy->sessions);
	if (heir != NULL && queue_is_new(heir))
		inherit(heir, legacy, now);
	free_copies(&legacy->of_queue);
	free_copies(&legacy->of_site);
	free(legacy->last_error);
	free(legacy->name);
	free(legacy);
}

static void
take_in(struct travel *travel, struct now now)
{
	struct queues *queues = travel->to;
	struct span domain = span_make(travel->domain, travel->domain_n);
	struct route *home = NULL;

	travel->route = route_told(queues, domain, queues->o.ruleset->vmtas[travel->vmta], travel->answer, now);
	if (travel->home != NO_HOME)
		home = route_told(queues, domain, queues->o.ruleset->vmtas[travel->home], travel->answer, now);
	if (travel->legacy != NULL)
		take_legacy(travel->route->queue, travel->legacy, now.mono);
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

void
queues_swapped(struct queues *queues)
{
	struct travel *travel, *next;

	for (travel = queues->legacies; travel != NULL; travel = next) {
		struct queues *to = travel->to;
		bool stopping = to->stopping;

		next = travel->next;
		to->stopping = true;            /* its queues have their turn when all this is known */
		take_in(travel, loop_now(to->o.loop));
		to->stopping = stopping;
		if (travel->route->queue != NULL)
			queue_poll_soon(travel->route->queue, loop_now(to->o.loop).mono);
		route_answer_unref(travel->answer);
		free(travel);
	}
	queues->legacies = NULL;
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
