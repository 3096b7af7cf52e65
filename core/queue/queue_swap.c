/*
 * queue_swap - another ruleset for the same queues.
 *
 * What has a name keeps its limiters, its sessions and its wait: virtual MTAs, pools,
 * sites and queues of the same name are the same before and after. Everything that
 * points into the ruleset is looked up anew, in this order: what is gone goes
 * (nothing waits there, or the swap was refused), scopes, routes, then queues, whose
 * settings come from the routes that lead there.
 *
 * A domain may be of another site afterwards. A queue that no route leads to any more
 * hands over all it has: its mail (queue_move_on(), a piece a turn), and the rest when
 * all shards have swapped (queue_heir.c).
 *
 * No limiter starts fresh: one that is new, limits for the first time, or gets mail of
 * another queue, begins as if it were used up at the swap, for that mail may have gone by
 * another one before.
 * What goes is remembered as over a restart (queue_save.c), should it come back.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/accept.h"
#include "queue/queue_own.h"

#define MOVE_MAX 256            /* recipients that move on in a turn; then others have theirs */

/* ---- may it ---- */

static bool
refuse(struct err *err, const struct ruleset *fresh, const char *vmta, const char *why)
{
	return err_set(err, ERR_PERM, "%s: it does not declare the virtual MTA \"%.100s\", but %s", fresh->file, vmta, why);
}

static bool
is_gone(const struct ruleset *fresh, const struct ruleset_vmta *vmta)
{
	return ruleset_vmta(fresh, span_text(vmta->name)) == NULL;
}

static bool
loses_any(const struct ruleset *ruleset, const struct ruleset *fresh)
{
	for (unsigned i = 0; i < ruleset->vmtas_n; i++)
		if (is_gone(fresh, ruleset->vmtas[i]))
			return true;
	return false;
}

static bool
may_lose_queue(const struct queue *q, const struct ruleset *fresh, struct err *err)
{
	char why[700];

	if ((queue_n(q) == 0 && q->slots_n + q->guests_n == 0) || !is_gone(fresh, q->vmta))
		return true;
	if (queue_n(q) > 0)
		snprintf(why, sizeof why, "%u recipients are in %s", queue_n(q), q->name);
	else
		snprintf(why, sizeof why, "%s has %u open sessions", q->name, q->slots_n + q->guests_n);
	return refuse(err, fresh, q->vmta->name, why);
}

bool
queues_may_swap(const struct queues *queues, const struct ruleset *fresh, struct err *err)
{
	const struct ruleset *ruleset = queues->o.ruleset;
	const struct route *route;
	const struct queue *q;
	uint32_t pos = 0;

	if (!loses_any(ruleset, fresh))
		return true;
	while ((q = table_next(&queues->queues, &pos)) != NULL)
		if (!may_lose_queue(q, fresh, err))
			return false;
	pos = 0;
	while ((route = table_next(&queues->routes, &pos)) != NULL)
		if (route->rcpts_n > 0 && is_gone(fresh, route->vmta))
			return refuse(err, fresh, route->vmta->name, "mail of it is rerouted and would come back");
	for (unsigned i = 0; i < ruleset->vmtas_n; i++)
		if (is_gone(fresh, ruleset->vmtas[i]) && accept_is_under_way(queues, ruleset->vmtas[i]->name))
			return refuse(err, fresh, ruleset->vmtas[i]->name, "a message of it is being accepted");
	return true;
}

/* ---- what goes ---- */

static void
forget_routes(struct queues *queues, const struct ruleset *fresh)
{
	struct route *route;
	uint32_t pos = 0;

	while ((route = table_next(&queues->routes, &pos)) != NULL)
		if (ruleset_vmta(fresh, span_text(route->vmta->name)) == NULL)
			route_forget(route);
}

static void
forget_queues(struct queues *queues, const struct ruleset *fresh, struct now now)
{
	struct queue *q;
	uint32_t pos = 0;

	while ((q = table_next(&queues->queues, &pos)) != NULL) {
		if (ruleset_vmta(fresh, span_text(q->vmta->name)) != NULL)
			continue;
		queue_remember(q, now);
		queue_free(q);
	}
}

/* ---- queues ---- */

/* The queue's sessions count in another scope from now on. */
static void
shift_scope(struct queue *q, enum scope_level level, struct scope *to)
{
	struct scope *from = q->scopes[level];
	uint32_t closing = 0;

	if (from == to)
		return;
	if (q->waiter.scope != NULL && q->waiter.scope == from)
		scope_leave(&q->waiter);
	list_each(node, &q->slots) {
		if (from != NULL)
			gauge_give(&from->use->sessions);
		if (to != NULL)
			gauge_take(&to->use->sessions, GAUGE_UNLIMITED);     /* above the cap they end by themselves */
		closing += list_entry(node, struct queue_slot, in_queue)->state == SLOT_CLOSING;
	}
	if (from != NULL) {
		atomic_fetch_sub(&from->use->connecting, q->connecting);
		atomic_fetch_sub(&from->use->closing, closing);
	}
	if (to != NULL) {
		atomic_fetch_add(&to->use->connecting, q->connecting);
		atomic_fetch_add(&to->use->closing, closing);
	}
	q->scopes[level] = to;
}

static void
queue_take_ruleset(struct queue *q, struct now now)
{
	struct queues *queues = q->queues;
	const struct scope_limits before = q->scope.declared;
	const char *domain = q->site->name;

	q->vmta = ruleset_vmta(queues->o.ruleset, span_text(q->vmta->name));
	check(q->vmta != NULL);
	if (!list_empty(&q->routes))
		domain = list_first(&q->routes, struct route, in_queue)->name;
	q->settings = settings_intern(queues, q->site->provider, span_text(domain), q->vmta);
	q->reactions_known = false;
	queue_declare(q);
	scope_declared(&q->scope, &before, true, now);
	shift_scope(q, SCOPE_POOL, q->vmta->limit_pool != NULL ? queues->pools[q->vmta->limit_pool->index] : NULL);
}

static void
site_take_ruleset(struct site *site, struct now now)
{
	const struct scope_limits before = site->scope.declared;

	site->scope.declared = (struct scope_limits){ .max_smtp_out = UNLIMITED };
	list_each(node, &site->queues)
		queue_take_ruleset(list_entry(node, struct queue, in_site), now);
	scope_declared(&site->scope, &before, true, now);
	if (site->queues_n == 0)
		return;
	queue_site_apply(list_first(&site->queues, struct queue, in_site), now.mono);
	list_each(node, &site->queues)
		queue_apply(list_entry(node, struct queue, in_site), now.mono);
}

/* Its recipients are to be looked at sooner than the wheel has them. */
static void
hurry_expiry(struct queue *q, mono_us_t now)
{
	size_t n;
	struct rcpt **found = queue_collect(q, NULL, false, &n);

	for (size_t i = 0; i < n; i++)
		rcpt_arm_expiry(found[i], now);
	free(found);
	q->expires_sooner = false;
}

/* ---- mail whose queue has lost its routes ---- */

static struct rcpt *
first_of(struct queue *q)
{
	struct rcpt *rcpt = queue_first_ready(q);

	if (rcpt != NULL)
		return rcpt;
	if (q->held_n > 0)
		list_each(node, &q->lanes) {
			struct lane *lane = list_entry(node, struct lane, in_queue);

			if (!list_empty(&lane->held))
				return list_first(&list_first(&lane->held, struct stream, in_lane)->ready, struct rcpt, node);
		}
	return q->deferred.n > 0 ? container_of(heap_min(&q->deferred), struct rcpt, due) : NULL;
}

bool
queue_move_on(struct queue *q, struct now now)
{
	struct rcpt *rcpt;
	unsigned n = 0;

	if (!list_empty(&q->routes))
		return false;
	while ((rcpt = first_of(q)) != NULL) {
		if (n++ == MOVE_MAX)
			return true;
		rcpt_unlink(rcpt);
		rcpt_moved(rcpt, now);
	}
	return false;
}

/* ---- the swap ---- */

static void
routes_take_ruleset(struct queues *queues, struct now now)
{
	struct route *route;
	uint32_t pos = 0;

	while ((route = table_next(&queues->routes, &pos)) != NULL) {
		struct queue *before = route->queue;
		struct host_set *hosts = route->hosts;
		struct lane *lane = before != NULL && hosts != NULL ? lane_find(before, hosts) : NULL;
		int64_t lasted = route->settings->bounce_after;

		route_take_ruleset(route, now);
		if (before != NULL && route->settings->bounce_after < lasted)
			before->expires_sooner = true;
		if (route->queue != NULL && route->settings->bounce_after < lasted)
			route->queue->expires_sooner = true;
		if (before != NULL && route->queue != before)
			queue_loses_route(before, lane, route);
	}
}

/* A provider's, from now on: it gets the mail of all its hosts. */
static void
site_begins(struct site *site, mono_us_t now)
{
	scope_spend(&site->scope, now);
	list_each(node, &site->queues)
		scope_spend(&list_entry(node, struct queue, in_site)->scope, now);
}

static void
site_take_provider(struct site *site, const struct ruleset *fresh, mono_us_t now)
{
	const struct ruleset_provider *before = site->provider;

	site->provider = ruleset_provider(fresh, span_text(site->name));
	if (before != NULL && before->domains_n > 0 && site->provider == NULL)
		site->domain = mem_strdup(before->domains[0]);
	if (before == NULL && site->provider != NULL)
		site_begins(site, now);
}

static void
sites_take_ruleset(struct queues *queues, struct now now)
{
	struct site *site;
	struct queue *q;
	uint32_t pos = 0;

	while ((site = table_next(&queues->sites, &pos)) != NULL)
		site_take_ruleset(site, now);
	pos = 0;
	while ((q = table_next(&queues->queues, &pos)) != NULL)
		if (q->expires_sooner)
			hurry_expiry(q, now.mono);
}

void
queues_swap(struct queues *queues, const struct ruleset *fresh, struct now now)
{
	struct scopes_before before = { queues->o.ruleset, queues->vmtas, queues->pools };
	struct interned settings = queues->settings;
	struct site *site;
	uint32_t pos = 0;

	/* Nobody starts anything while half of it is the old one's, here or elsewhere. */
	queues->swapping = true;
	queues->swaps++;
	travels_gather(queues);
	queues->spent_at = now.mono;
	forget_routes(queues, fresh);
	forget_queues(queues, fresh, now);
	queues->o.ruleset = fresh;
	queues->digest = ruleset_digest(fresh);
	interned_init(&queues->settings, settings.by_value.seed);
	queues_scopes_redeclare(queues, &before, now);
	while ((site = table_next(&queues->sites, &pos)) != NULL)
		site_take_provider(site, fresh, now.mono);
	routes_take_ruleset(queues, now);
	sites_take_ruleset(queues, now);
	queues_scopes_drop(queues, &before, now);
	queues_overlays_start(queues, now);
	interned_fini(&settings);
	travels_post(queues);
	queues_changed(queues);
}
