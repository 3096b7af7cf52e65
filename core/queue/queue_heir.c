/*
 * queue_heir - what queues leave to others when another ruleset leads their mail elsewhere.
 *
 * Where a route ends may be known only when the last shard has swapped; so each shard notes
 * which routes have left which queue, and all is handed over in a second pass over all shards,
 * by whoever has halted them: nothing of it is ever under way.
 *
 *   1  each such route is followed to its end, on whatever shard
 *   2  a queue that no route leads to any more leaves to each queue that its mail goes to
 *      now, if the swap has made it, what was learnt of the receiver: its wait after a
 *      failure, its overlays, what its warm-up has used
 *      Each that gets a route of another queue, however old it is, begins with rates that are
 *      used up: it does not know what that one has let go
 *   3  sessions go where the mail for their hosts goes, and count there, or a receiver would
 *      see those of two queues at once. On another shard they only count (queue_guest.c)
 *
 * A session may be there after its last route: DNS has led the domain elsewhere since, or it has had no mail for a minute.
 * Then the ruleset says where mail for such hosts would go.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/queue_own.h"
#include "queue/warmup.h"

struct bequest {
	struct list   node;             /* queues->bequests */
	struct queue *from;
	struct lane  *lane;             /* of it, with sessions; NULL: none */
	struct route *route;
};

void
queue_loses_route(struct queue *from, struct lane *lane, struct route *route)
{
	struct bequest *bequest = mem_alloc(sizeof *bequest);

	bequest->from = from;
	bequest->lane = lane != NULL && lane->sessions > 0 ? lane : NULL;
	bequest->route = route;
	list_add_tail(&from->queues->bequests, &bequest->node);
}

/* ---- where the routes lead ---- */

/* Each hop needs a newer answer, so that there are not many. */
static struct route *
end_of(struct route *route)
{
	for (unsigned hops = 0; route->state == ROUTE_AWAY && hops < route->queues->shards_n; hops++) {
		struct queues *to = route->queues->o.all[route->shard];
		struct now now = loop_now(to->o.loop);

		route = route_told(to, span_text(route->name), to->o.ruleset->vmtas[route->vmta->index], route->answer, now);
		route_keep(route, now.mono);
	}
	return route;
}

static void
follow_routes(struct queues *queues)
{
	list_each(node, &queues->bequests) {
		struct bequest *bequest = list_entry(node, struct bequest, node);

		if (bequest->lane != NULL || list_empty(&bequest->from->routes))
			bequest->route = end_of(bequest->route);
	}
}

/* ---- what was learnt of the receiver ---- */

static bool
site_is_new(const struct site *site)
{
	list_each(node, &site->queues)
		if (!queue_is_new(list_entry(node, struct queue, in_site)))
			return false;
	return true;
}

/* To one that has it already it makes no difference. All but the caps and rates, which begin as if they were used up. */
static void
bequeath(const struct queue *q, struct queue *heir)
{
	const struct overlays *overlays = &q->queues->overlays;
	struct warmup_used used = warmup_used(q);
	mono_us_t now = loop_now(heir->queues->o.loop).mono;

	if (!queue_is_new(heir))
		return;
	heir->inherits = true;
	warmup_inherit(heir, &used);
	overlays_copy(&heir->queues->overlays, OVERLAY_QUEUE, heir->name, overlays_of(overlays, OVERLAY_QUEUE, q->name), now);
	if (heir->site != q->site && site_is_new(heir->site))
		overlays_copy(&heir->queues->overlays, OVERLAY_SITE, heir->site->name, overlays_of(overlays, OVERLAY_SITE, q->site->name), now);
	if (heir->last_error == NULL && q->last_error != NULL)
		queue_error(heir, q->last_error);
	if (q->retry_until > heir->retry_until) {
		heir->retry_until = q->retry_until;
		heir->retry_set_at = q->retry_set_at;
		heir->deferred_by_rule = q->deferred_by_rule;
	}
	if (q->retry_step > heir->retry_step)
		heir->retry_step = q->retry_step;
}

/* The receiver that its new mail is for has counted that of another queue until now. */
static void
takes_over(struct queue *heir)
{
	mono_us_t now = loop_now(heir->queues->o.loop).mono;

	scope_spend(&heir->scope, now);
	scope_spend(&heir->site->scope, now);
}

static void
find_heirs(struct queues *queues)
{
	list_each(node, &queues->bequests) {
		const struct bequest *bequest = list_entry(node, struct bequest, node);
		const struct route *route = bequest->route;
		struct queue *from = bequest->from, *heir = route->queue;

		if (heir == NULL || heir == from)
			continue;
		takes_over(heir);
		if (bequest->lane != NULL && route->hosts != NULL && strcmp(route->hosts->key, bequest->lane->hosts->key) == 0)
			bequest->lane->heir = heir;
		if (!list_empty(&from->routes))
			continue;
		if (from->heir == NULL)
			from->heir = heir;
		bequeath(from, heir);
	}
}

/* ---- sessions ---- */

/* Where mail for these hosts would go by the ruleset, were it of a domain like those that the queue was for. */
static struct queue *
by_ruleset(struct queue *q, const struct host_set *hosts)
{
	const struct ruleset *ruleset = q->queues->o.ruleset;
	const struct site *site = q->site;
	const struct ruleset_provider *provider = site->provider;
	struct span domain = span_text(site->domain != NULL ? site->domain : site->name), name;
	const char *lowest[RESOLVER_RECORDS_MAX];
	struct queues *to = q->queues;
	unsigned n = 0;

	if (provider != NULL && (provider->domains_n > 0 || !hosts->from_dns))
		return q;
	for (; hosts->from_dns && n < countof(lowest) && n < hosts->n && hosts->hosts[n].group == hosts->hosts[0].group &&
	       hosts->hosts[n].name[0] != '\0'; n++)
		lowest[n] = hosts->hosts[n].name;
	name = ruleset_site(ruleset, domain, lowest, n, &provider);
	if (to->shards_n > 1)
		to = to->o.all[queues_owner(to, name)];
	return queues_get(to, name, to->o.ruleset->vmtas[q->vmta->index]);
}

static struct queue *
heir_of(const struct queue_slot *slot)
{
	const struct lane *lane = slot->lane;
	struct queue *q = slot->guest != NULL ? queue_slot_visits(slot) : lane->queue, *heir;

	if (lane->stays)
		return lane->queue;
	if (lane->heir != NULL)
		return lane->heir;
	if (!list_empty(&q->routes))
		return q;
	if (q->heir != NULL)
		return q->heir;
	heir = by_ruleset(q, lane->hosts);
	if (heir != q) {
		takes_over(heir);
		bequeath(q, heir);
	}
	return heir;
}

static void
follow(struct queue_slot *slot, struct queue *heir)
{
	if (heir->queues != slot->lane->queue->queues) {
		queue_slot_visit(slot, heir);
		return;
	}
	queue_slot_come_home(slot);
	if (heir != slot->lane->queue)
		queue_slot_move(slot, heir);
}

static void
move_sessions(struct queue *q)
{
	list_each(node, &q->routes) {
		const struct route *route = list_entry(node, struct route, in_queue);
		struct lane *lane = route->hosts != NULL ? lane_find(q, route->hosts) : NULL;

		if (lane != NULL)
			lane->stays = true;
	}
	list_each_safe(node, &q->slots) {
		struct queue_slot *slot = list_entry(node, struct queue_slot, in_queue);

		follow(slot, heir_of(slot));
	}
}

/* Heirs may be made meanwhile, so who has sessions is noted before. */
static void
move_all_sessions(struct queues *queues)
{
	struct queue **found = mem_alloc((queues->queues.n + 1) * sizeof(struct queue *)), *q;
	uint32_t pos = 0, n = 0;

	while ((q = table_next(&queues->queues, &pos)) != NULL)
		if (q->slots_n > 0)
			found[n++] = q;
	for (uint32_t i = 0; i < n; i++)
		move_sessions(found[i]);
	free(found);
}

/* ---- the end ---- */

static void
forget(struct queues *queues)
{
	struct queue *q;
	struct site *site;
	uint32_t pos = 0;

	list_each_safe(node, &queues->bequests) {
		list_remove(node);
		free(list_entry(node, struct bequest, node));
	}
	while ((q = table_next(&queues->queues, &pos)) != NULL) {
		q->heir = NULL;
		list_each(node, &q->lanes) {
			struct lane *lane = list_entry(node, struct lane, in_queue);

			lane->heir = NULL;
			lane->stays = false;
		}
	}
	pos = 0;
	while ((site = table_next(&queues->sites, &pos)) != NULL) {
		free(site->domain);
		site->domain = NULL;
	}
}

static void
begin_again(struct queues *queues)
{
	mono_us_t now = loop_now(queues->o.loop).mono;
	struct queue *q;
	uint32_t pos = 0;

	while ((q = table_next(&queues->queues, &pos)) != NULL) {
		if (!q->inherits)
			continue;
		q->inherits = false;
		queue_site_apply(q, now);
		list_each(node, &q->site->queues)
			queue_apply(list_entry(node, struct queue, in_site), now);
	}
	queues_overlays_arm(queues);
	queues_changed(queues);
	queues->swapping = false;
}

void
queues_swapped(struct queues *const *all, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		follow_routes(all[i]);
	for (unsigned i = 0; i < n; i++)
		find_heirs(all[i]);
	for (unsigned i = 0; i < n; i++)
		move_all_sessions(all[i]);
	for (unsigned i = 0; i < n; i++)
		forget(all[i]);
	for (unsigned i = 0; i < n; i++)
		begin_again(all[i]);
}
