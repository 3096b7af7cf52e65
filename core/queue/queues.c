/*
 * queues - the table of queues and sites: how they come to be, and when they may go.
 *
 * What became empty is reaped a few seconds later, once its limiters are full
 * again: a queue that came back sooner would otherwise begin with fresh ones.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "net/peers.h"
#include "queue/queue_own.h"
#include "queue/warmup.h"

#define EXPIRY_TICK_US (1 * US_PER_S)
#define REAP_EVERY_US  (5 * US_PER_S)
#define ROUTE_KEEP_US  (60 * US_PER_S)

/* ---- sites, settings, queues ---- */

const struct queue_settings *
settings_intern(struct queues *queues, const struct ruleset_provider *provider,
		struct span domain, const struct ruleset_vmta *vmta)
{
	return interned_get(&queues->settings, queues->o.ruleset, provider, domain, vmta);
}

struct site *
site_get(struct queues *queues, struct span name, const struct ruleset_provider *provider)
{
	struct site *site = table_get(&queues->sites, name);

	if (site != NULL)
		return site;
	site = mem_alloc(sizeof *site + name.n + 1);
	site->name = memcpy(site + 1, name.p, name.n);
	site->provider = provider;
	list_init(&site->queues);
	scope_init(&site->scope, &queues->o.loop->timers);
	table_put(&queues->sites, span_text(site->name), site);
	return site;
}

static void
on_queue_turn(struct scope_waiter *waiter, struct now now)
{
	queue_poll(container_of(waiter, struct queue, waiter), now);
}

static void
fetch(const void *p, size_t n)
{
	for (size_t i = 0; i < n; i += 64)
		__builtin_prefetch((const char *)p + i);
}

/* Step by step, for each needs what the one before has fetched: the queue; its lane and site; the stream; the recipient. */
static void
on_queue_near(const struct scope_waiter *waiter, unsigned turns)
{
	const struct queue *queue = container_of(waiter, struct queue, waiter);
	const struct list *wants = &queue->lane_lines[LANE_WANTS];
	const struct lane *lane = container_of(wants->next, struct lane, in_line[LANE_WANTS]);

	if (turns + 1 >= SCOPE_NEAR) {
		fetch(queue, offsetof(struct queue, name));
		return;
	}
	if (list_empty(wants))
		return;
	if (turns == 2) {
		fetch(lane, sizeof *lane);
		fetch(queue->scopes[SCOPE_SITE], offsetof(struct scope, lines));
	} else if (!list_empty(&lane->streams)) {
		const struct stream *stream = list_first(&lane->streams, const struct stream, in_lane);

		fetch(turns == 1 ? (const void *)stream : list_first(&stream->ready, const struct rcpt, node), sizeof *stream);
	}
}

static void
on_queue_timer(void *ctx, struct now now)
{
	queue_poll(ctx, now);
}

void
queue_declare(struct queue *queue)
{
	const struct queue_settings *s = queue->settings;

	queue->scope.declared = scope_limits_of_queue(s);
	/* The site's totals are said by provider or domain, so every queue of it says the same,
	 * unless a virtual MTA's block differs: then the tightest that was seen holds. */
	struct scope_limits *total = &queue->site->scope.declared;
	if (s->total_max_smtp_out < total->max_smtp_out) {
		total->max_smtp_out = s->total_max_smtp_out;
		total->max_smtp_out_where = s->where[SETTING_total_max_smtp_out];
	}
	if (rate_tighter(&s->total_max_connect_rate, &total->max_connect_rate)) {
		total->max_connect_rate = s->total_max_connect_rate;
		total->max_connect_rate_where = s->where[SETTING_total_max_connect_rate];
	}
	if (rate_tighter(&s->total_max_msg_rate, &total->max_msg_rate)) {
		total->max_msg_rate = s->total_max_msg_rate;
		total->max_msg_rate_where = s->where[SETTING_total_max_msg_rate];
	}
}

struct queue *
queue_get(struct queues *queues, struct site *site, const struct ruleset_vmta *vmta,
	  const struct queue_settings *settings)
{
	struct buf name;
	struct queue *queue;

	buf_init(&name, 0);
	buf_add_text(&name, site->name);
	buf_add_char(&name, '/');
	buf_add_text(&name, vmta->name);
	queue = table_get(&queues->queues, buf_span(&name));
	if (queue != NULL) {
		buf_fini(&name);
		return queue;
	}
	queue = mem_alloc(sizeof *queue + buf_len(&name) + 1);
	queue->queues = queues;
	queue->name = memcpy(queue + 1, buf_span(&name).p, buf_len(&name));
	queue->site = site;
	queue->vmta = vmta;
	queue->settings = settings;
	scope_init(&queue->scope, &queues->o.loop->timers);
	list_init(&queue->slots);
	list_init(&queue->guests);
	queue->made_in = queues->swaps;
	queue_declare(queue);
	queue->scopes[SCOPE_QUEUE] = &queue->scope;
	queue->scopes[SCOPE_SITE] = &site->scope;
	queue->scopes[SCOPE_VMTA] = queues->vmtas[vmta->index];
	queue->scopes[SCOPE_POOL] = vmta->limit_pool ? queues->pools[vmta->limit_pool->index] : NULL;
	queue->scopes[SCOPE_NODE] = &queues->node;
	scope_waiter_init(&queue->waiter, on_queue_turn, on_queue_near);
	lanes_init(queue);
	list_init(&queue->sending);
	list_init(&queue->routes);
	wheel_node_init(&queue->reap);
	heap_init(&queue->deferred);
	timer_init(&queue->timer, on_queue_timer, queue);
	list_init(&queue->in_site);
	queue->paused_by_hand = queues_paused_by_hand(queues, queue->name);
	queue->held_jobs = queues_hold_jobs(queues, queue->name);
	queue_overlays_begin(queue, loop_now(queues->o.loop).mono);
	queue_restore(queue, loop_now(queues->o.loop));
	/* The site's totals are known only now. */
	if (site->queues_n == 0)
		scope_restore(queues, "site", site->name, &site->scope, loop_now(queues->o.loop));
	list_add_tail(&site->queues, &queue->in_site);
	site->queues_n++;
	table_put(&queues->queues, span_text(queue->name), queue);
	queue_maybe_reap(queue);
	buf_fini(&name);
	return queue;
}

struct queue *
queues_get(struct queues *queues, struct span name, const struct ruleset_vmta *vmta)
{
	const struct ruleset_provider *provider = ruleset_provider(queues->o.ruleset, name);
	/* Any of a provider's domains will do: they share its queue. */
	struct span domain = provider != NULL && provider->domains_n > 0 ? span_text(provider->domains[0]) : name;

	return queue_get(queues, site_get(queues, name, provider), vmta, settings_intern(queues, provider, domain, vmta));
}

unsigned
queues_owner(const struct queues *queues, struct span site_name)
{
	/* Unseeded: the same after a restart, as far as their number is. */
	return queues->shards_n > 1 ? (unsigned)(hash_bytes(site_name, 0) % queues->shards_n) : queues->o.me;
}

/* ---- reaping ---- */

void
route_use(struct route *route)
{
	route->rcpts_n++;
	if (list_linked(&route->reap))
		list_remove(&route->reap);
}

void
route_unuse(struct route *route, mono_us_t now)
{
	check(route->rcpts_n > 0);
	if (--route->rcpts_n > 0)
		return;
	route->left_at = now;
	list_add_tail(&route->queues->reap_routes, &route->reap);
}

void
route_keep(struct route *route, mono_us_t now)
{
	if (route->rcpts_n > 0 || list_linked(&route->reap))
		return;
	route->left_at = now;
	list_add_tail(&route->queues->reap_routes, &route->reap);
}

void
queue_maybe_reap(struct queue *queue)
{
	if (queue_n(queue) == 0 && queue->slots_n == 0 && queue->guests_n == 0 && list_empty(&queue->routes) && !list_linked(&queue->reap.link))
		wheel_add(&queue->queues->reap, &queue->reap, 0);
}

/* When its limiters let go what fresh ones would: forgetting them gives nothing away then. One that an overlay or
 * a swap has changed is under the old spec until somebody takes from it; here that may be nobody. */
static mono_us_t
quiet_at(struct scope *scope, mono_us_t now)
{
	const struct rate_spec *specs[] = { &scope->limits.max_connect_rate, &scope->limits.max_msg_rate };
	struct rate *rates[] = { &scope->use->connects, &scope->use->messages };
	const struct rate fresh = { 0 };
	mono_us_t at = now;

	for (unsigned i = 0; i < countof(rates); i++) {
		if (rate_unlimited(specs[i]))
			continue;
		rate_adopt(rates[i], specs[i], now);
		at = max_i64(at, rate_ready_for(rates[i], specs[i], rate_available(&fresh, specs[i], now), now));
	}
	return at;
}

void
queue_free(struct queue *queue)
{
	struct queues *queues = queue->queues;
	struct site *site = queue->site;

	check(queue->slots_n == 0);
	check(queue->guests_n == 0);
	scope_leave(&queue->waiter);
	list_each_safe(node, &queue->lanes)
		lane_maybe_free(list_entry(node, struct lane, in_queue));
	check(list_empty(&queue->lanes));
	table_fini(&queue->lane_table);
	timer_stop(&queues->o.loop->timers, &queue->timer);
	wheel_remove(&queue->reap);
	list_remove(&queue->in_site);
	table_remove(&queues->queues, span_text(queue->name));
	scope_fini(&queue->scope);
	heap_fini(&queue->deferred);
	free(queue->effective);
	free((char *)queue->hold.reroute);
	free(queue->last_error);
	free(queue);
	if (--site->queues_n == 0) {
		table_remove(&queues->sites, span_text(site->name));
		scope_fini(&site->scope);
		free(site);
	}
}

/* They stand in the order in which they were left. */
static void
reap_routes(struct queues *queues, mono_us_t now)
{
	while (!list_empty(&queues->reap_routes)) {
		struct route *route = list_first(&queues->reap_routes, struct route, reap);

		if (now - route->left_at < ROUTE_KEEP_US)
			return;
		route_forget(route);
	}
}

/* Looked at when it may go, and else not: a hundred thousand may be waiting for that. */
static void
on_reap(void *ctx, struct wheel_node *node)
{
	struct queues *queues = ctx;
	struct queue *queue = container_of(node, struct queue, reap);
	mono_us_t now = loop_now(queues->o.loop).mono, at;

	if (!list_empty(&queue->routes))
		return;                 /* the last of them to go brings it back here */
	at = max_i64(queue->retry_until, quiet_at(&queue->scope, now));
	if (queue->site->queues_n == 1)
		at = max_i64(at, quiet_at(&queue->site->scope, now));
	if (at > now)
		wheel_add(&queues->reap, &queue->reap, at);
	else
		queue_free(queue);
}

static void
on_reaper(void *ctx, struct now now)
{
	struct queues *queues = ctx;

	reap_routes(queues, now.mono);
	recent_reap(&queues->recent, now.mono);
	wheel_run(&queues->reap, now.mono, on_reap, queues);
	timer_start(&queues->o.loop->timers, &queues->reaper, now.mono + REAP_EVERY_US);
}

/* ---- expiry ---- */

static void
on_expired(void *ctx, struct wheel_node *node)
{
	struct queues *queues = ctx;
	struct rcpt *rcpt = container_of(node, struct rcpt, expiry);
	struct queue *queue = rcpt->queue;
	mono_us_t now = loop_now(queues->o.loop).mono;

	if (!rcpt_expired(rcpt, now)) {         /* its settings have changed */
		wheel_add(&queues->expiry, node, rcpt_expiry_at(rcpt, now));
		return;
	}
	rcpt_unlink(rcpt);
	rcpt_expire(rcpt, queue);
	queue_poll_soon(queue, now);            /* a session may be waiting for the rate to send it */
}

static void
on_expiry_tick(void *ctx, struct now now)
{
	struct queues *queues = ctx;

	wheel_run(&queues->expiry, now.mono, on_expired, queues);
	timer_start(&queues->o.loop->timers, &queues->expiry_timer, now.mono + EXPIRY_TICK_US);
}

/* ---- the whole ---- */

void
queues_changed(struct queues *queues)
{
	queues->changed = true;
	if (queues->o.on_changed != NULL)
		queues->o.on_changed(queues->o.changed_ctx);
}

struct queues *
queues_new(const struct queues_options *options, struct now now)
{
	struct queues *queues = mem_alloc(sizeof *queues);

	queues->o = *options;
	queues->digest = ruleset_digest(options->ruleset);
	queues->shards_n = options->peers != NULL ? options->peers->n : 1;
	prng_seed(&queues->prng, options->seed);
	table_init(&queues->queues, prng_u64(&queues->prng));
	table_init(&queues->sites, prng_u64(&queues->prng));
	table_init(&queues->routes, prng_u64(&queues->prng));
	table_init(&queues->host_sets, prng_u64(&queues->prng));
	table_init(&queues->jobs, prng_u64(&queues->prng));
	interned_init(&queues->settings, prng_u64(&queues->prng));
	table_init(&queues->saved, prng_u64(&queues->prng));
	buf_init(&queues->route_key, 0);
	buf_init(&queues->meta, 0);
	pool_init(&queues->messages_pool, message_bytes(1), POOLED_MAX);
	pool_init(&queues->jobs_pool, sizeof(struct job) + POOLED_JOB, POOLED_MAX);
	pool_init(&queues->streams_pool, sizeof(struct stream) + POOLED_JOB, POOLED_MAX);
	table_init(&queues->warmups, prng_u64(&queues->prng));
	recent_init(&queues->recent, prng_u64(&queues->prng));
	queues_overlays_init(queues);
	queues_pauses_init(queues);
	wheel_init(&queues->reap, US_PER_S, now.mono);
	list_init(&queues->reap_routes);
	list_init(&queues->accepting);
	list_init(&queues->bequests);
	travels_init(queues);
	queues_scopes_init(queues, now);
	wheel_init(&queues->expiry, EXPIRY_TICK_US, now.mono);
	timer_init(&queues->expiry_timer, on_expiry_tick, queues);
	timer_init(&queues->reaper, on_reaper, queues);
	timer_start(&options->loop->timers, &queues->expiry_timer, now.mono + EXPIRY_TICK_US);
	timer_start(&options->loop->timers, &queues->reaper, now.mono + REAP_EVERY_US);
	return queues;
}

/* The process ends: what is on disk stays, what is in memory goes. */
static void
queue_forget(struct queue *queue, mono_us_t now)
{
	check(list_empty(&queue->sending));
	while (queue->deferred.n > 0)
		rcpt_forget(container_of(heap_min(&queue->deferred), struct rcpt, due), now);
	list_each(node, &queue->lanes) {
		struct lane *lane = list_entry(node, struct lane, in_queue);
		struct rcpt *rcpt;

		while ((rcpt = lane_next(lane)) != NULL)
			rcpt_forget(rcpt, now);
		while (!list_empty(&lane->held))
			rcpt_forget(list_first(&list_first(&lane->held, struct stream, in_lane)->ready, struct rcpt, node), now);
	}
	list_each(node, &queue->routes) {
		struct route *route = list_entry(node, struct route, in_queue);

		while (!list_empty(&route->waiting))
			rcpt_forget(list_first(&route->waiting, struct rcpt, node), now);
	}
}

void
queues_close(struct queues *queues)
{
	struct queue *queue;
	uint32_t pos = 0;

	queues->stopping = queues->closing = true;
	while ((queue = table_next(&queues->queues, &pos)) != NULL) {
		queue_guests_free(queue);
		queue_forget(queue, loop_now(queues->o.loop).mono);
	}
}

void
queues_free(struct queues *queues)
{
	struct queue *queue;
	struct route *route;
	uint32_t pos = 0;

	if (queues == NULL)
		return;
	queues_close(queues);
	while ((route = table_next(&queues->routes, &pos)) != NULL)
		route_forget(route);
	pos = 0;
	while ((queue = table_next(&queues->queues, &pos)) != NULL)
		queue_free(queue);
	queues_pauses_free(queues);
	queues_saved_free(queues);
	buf_fini(&queues->route_key);
	buf_fini(&queues->meta);
	warmups_free(queues);
	timer_stop(&queues->o.loop->timers, &queues->overlays_timer);
	overlays_fini(&queues->overlays);
	recent_fini(&queues->recent);
	travels_free(queues);
	queues_scopes_fini(queues);
	timer_stop(&queues->o.loop->timers, &queues->expiry_timer);
	timer_stop(&queues->o.loop->timers, &queues->reaper);
	table_fini(&queues->queues);
	table_fini(&queues->sites);
	table_fini(&queues->routes);
	table_fini(&queues->host_sets);
	table_fini(&queues->jobs);
	interned_fini(&queues->settings);
	table_fini(&queues->saved);
	pool_fini(&queues->messages_pool);
	pool_fini(&queues->jobs_pool);
	pool_fini(&queues->streams_pool);
	free(queues);
}

static void
poll_one(void *ctx, struct queue *queue)
{
	queue_poll(queue, *(const struct now *)ctx);
}

void
queues_poll_all(struct queues *queues, struct now now)
{
	queues_match(queues, SPAN("*"), poll_one, &now);
}
