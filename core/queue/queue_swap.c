/*
 * queue_swap - another ruleset for the same queues.
 *
 * What has a name keeps its limiters, its sessions and its wait: virtual MTAs, pools,
 * sites and queues of the same name are the same before and after. Everything that
 * points into the ruleset is looked up anew, in this order: what is gone goes
 * (nothing waits there, or the swap was refused), scopes, routes, then queues, whose
 * settings come from the routes that lead there.
 *
 * A domain may be of another site afterwards. Sessions go where the mail for their hosts
 * goes, and count there, or a receiver would see those of two queues at once. A queue
 * that no route leads to any more hands over all it has: its mail (queue_move_on(), a
 * piece a turn), and, to a queue that the swap has made, what was learnt of the
 * receiver: its wait after a failure and its overlays.
 *
 * No limiter starts fresh: one that is new, or limits for the first time, begins as if
 * it were used up at the swap, for the same mail may have gone by another one before.
 * What goes is remembered as over a restart (queue_save.c), should it come back.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/accept.h"
#include "queue/queue_own.h"
#include "queue/warmup.h"

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

	if ((queue_n(q) == 0 && q->slots_n + q->guests == 0) || !is_gone(fresh, q->vmta))
		return true;
	if (queue_n(q) > 0)
		snprintf(why, sizeof why, "%u recipients are in %s", queue_n(q), q->name);
	else
		snprintf(why, sizeof why, "%s has %u open sessions", q->name, q->slots_n + q->guests);
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

/* ---- what a queue leaves ---- */

/* NULL: it stays. */
static struct queue *
heir_of(const struct queue_slot *slot)
{
	const struct lane *lane = slot->lane;

	if (lane->stays || lane->heir != NULL)
		return lane->stays ? NULL : lane->heir;
	return list_empty(&lane->queue->routes) ? lane->queue->heir : NULL;
}

static void
move_sessions(struct queue *q)
{
	list_each_safe(node, &q->slots) {
		struct queue_slot *slot = list_entry(node, struct queue_slot, in_queue);
		struct queue *heir = heir_of(slot);

		if (heir != NULL)
			queue_slot_move(slot, heir);
	}
}

static void
bequeath(struct queue *q, struct queue *heir, struct now now)
{
	struct overlays *overlays = &q->queues->overlays;

	struct warmup_used used = warmup_used(q);

	if (!queue_is_new(heir))
		return;
	warmup_inherit(heir, &used);
	overlays_copy(overlays, OVERLAY_QUEUE, q->name, heir->name, now.mono);
	if (heir->site != q->site && heir->site->queues_n == 1)
		overlays_copy(overlays, OVERLAY_SITE, q->site->name, heir->site->name, now.mono);
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

static void
find_heirs(struct queues *queues, struct now now)
{
	struct queue *q;
	uint32_t pos = 0;

	while ((q = table_next(&queues->queues, &pos)) != NULL) {
		if (q->heir != NULL)
			move_sessions(q);
		if (q->heir != NULL && list_empty(&q->routes)) {
			bequeath(q, q->heir, now);
			queue_move_guests(q, q->heir);
		}
		/* Sessions that have been ending since the swap before go on to do so. */
		q->left = (q->away != NULL || q->left) && list_empty(&q->routes);
		if (q->left && q->away != NULL)
			queue_bequeath_to(q, q->away);
		q->away = NULL;
	}
	pos = 0;
	while ((q = table_next(&queues->queues, &pos)) != NULL) {
		list_each(node, &q->lanes) {
			struct lane *lane = list_entry(node, struct lane, in_queue);

			lane->heir = NULL;
			lane->stays = false;
		}
		q->heir = NULL;
	}
}

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
		struct lane *lane = hosts != NULL ? lane_find(before, hosts) : NULL;
		int64_t lasted = route->settings->bounce_after;

		route_take_ruleset(route, now);
		if (before != NULL && route->settings->bounce_after < lasted)
			before->expires_sooner = true;
		if (route->queue == NULL) {
			if (before != NULL && before->away == NULL)
				before->away = route;
			continue;
		}
		if (route->settings->bounce_after < lasted)
			route->queue->expires_sooner = true;
		if (before == NULL)
			continue;
		if (route->queue != before && before->heir == NULL)
			before->heir = route->queue;
		if (lane != NULL && route->hosts == hosts && route->queue == before)
			lane->stays = true;
		else if (lane != NULL && route->hosts == hosts)
			lane->heir = route->queue;
	}
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
	bool stopping = queues->stopping;
	struct site *site;
	uint32_t pos = 0;

	/* Nobody starts anything while half of it is the old one's. */
	queues->stopping = queues->swapping = true;
	queues->swaps++;
	travels_gather(queues);
	queues->spent_at = now.mono;
	forget_routes(queues, fresh);
	forget_queues(queues, fresh, now);
	queues->o.ruleset = fresh;
	interned_init(&queues->settings, settings.by_value.seed);
	queues_scopes_redeclare(queues, &before, now);
	while ((site = table_next(&queues->sites, &pos)) != NULL)
		site->provider = ruleset_provider(fresh, span_text(site->name));
	routes_take_ruleset(queues, now);
	find_heirs(queues, now);
	sites_take_ruleset(queues, now);
	queues_scopes_drop(queues, &before, now);
	queues_overlays_start(queues, now);
	interned_fini(&settings);
	travels_post(queues);
	queues->swapping = false;
	queues->stopping = stopping;
	queues_changed(queues);
}
