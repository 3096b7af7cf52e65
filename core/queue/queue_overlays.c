/*
 * queue_overlays - from the overlays of a queue, its site and its virtual MTA to
 * what holds now.
 *
 * The declared settings stay what they are (interned, shared); a queue that
 * overlays lie on has a copy of its own, in which each value is the tightest.
 * Caps and rates go where they belong: those of an overlay on a site tighten the
 * site's totals, those of one on a virtual MTA that virtual MTA's; everything else
 * such an overlay says holds in each queue of it. A total_… laid on a queue lies
 * on its site instead, for there is only one total.
 *
 * Laying changes numbers only. What follows from them (sessions that end or begin,
 * mail that moves) happens at the next turn of the loop, since a reply may be
 * looked at in the middle of a session's event.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/queue_own.h"

/* The queue's setting that is the cap or rate of a scope, and the site's total of it. */
static const struct { enum setting_id of_queue, total; } shared[] = {
	{ SETTING_max_smtp_out, SETTING_total_max_smtp_out },
	{ SETTING_max_connect_rate, SETTING_total_max_connect_rate },
	{ SETTING_max_msg_rate, SETTING_total_max_msg_rate },
};

bool
setting_is_total(enum setting_id setting)
{
	for (unsigned i = 0; i < countof(shared); i++)
		if (shared[i].total == setting)
			return true;
	return false;
}

static bool
is_shared(enum setting_id setting)
{
	for (unsigned i = 0; i < countof(shared); i++)
		if (shared[i].of_queue == setting)
			return true;
	return setting_is_total(setting);
}

/* ---- the overlays that a queue sees ---- */

static unsigned
targets_of(const struct queue *q, const struct overlay_target *out[3])
{
	const struct overlays *overlays = &q->queues->overlays;
	const struct overlay_target *found[] = {
		overlays_of(overlays, OVERLAY_QUEUE, q->name), overlays_of(overlays, OVERLAY_SITE, q->site->name),
		overlays_of(overlays, OVERLAY_VMTA, q->vmta->name),
	};
	unsigned n = 0;

	for (unsigned i = 0; i < countof(found); i++)
		if (found[i] != NULL && found[i]->n > 0)
			out[n++] = found[i];
	return n;
}

void
queue_overlays(const struct queue *q, overlay_visit_fn *fn, void *ctx)
{
	const struct overlay_target *targets[3];
	unsigned n = targets_of(q, targets);

	for (unsigned i = 0; i < n; i++)
		list_each(node, &targets[i]->overlays)
			fn(ctx, list_entry(node, struct overlay, node));
}

void
queue_tighten(const struct queue *q, enum setting_id setting, void *value, mono_us_t now)
{
	const struct overlay_target *targets[3];
	struct where where;
	unsigned n = q->hold.overlays_n > 0 ? targets_of(q, targets) : 0;

	for (unsigned i = 0; i < n; i++)
		list_each(node, &targets[i]->overlays)
			overlay_tighten(list_entry(node, struct overlay, node), setting, value, &where, now);
}

void
queue_totals_now(const struct queue *q, struct queue_settings *settings)
{
	const struct scope_limits *declared = &q->site->scope.declared, *limits = &q->site->scope.limits;

	if (limits->max_smtp_out < declared->max_smtp_out)
		settings->total_max_smtp_out = limits->max_smtp_out;
	if (rate_tighter(&limits->max_connect_rate, &declared->max_connect_rate))
		settings->total_max_connect_rate = limits->max_connect_rate;
	if (rate_tighter(&limits->max_msg_rate, &declared->max_msg_rate))
		settings->total_max_msg_rate = limits->max_msg_rate;
}

/* ---- what a scope has ---- */

static void
tighten_limits(struct scope_limits *limits, const struct overlay_target *target, bool totals, mono_us_t now)
{
	list_each(node, &target->overlays) {
		const struct overlay *o = list_entry(node, struct overlay, node);

		for (unsigned total = 0; total < (totals ? 2u : 1u); total++) {
			overlay_tighten(o, total ? shared[0].total : shared[0].of_queue, &limits->max_smtp_out,
					&limits->max_smtp_out_where, now);
			overlay_tighten(o, total ? shared[1].total : shared[1].of_queue, &limits->max_connect_rate,
					&limits->max_connect_rate_where, now);
			overlay_tighten(o, total ? shared[2].total : shared[2].of_queue, &limits->max_msg_rate,
					&limits->max_msg_rate_where, now);
		}
	}
}

static void
scope_apply(struct scope *scope, const struct overlay_target *target, bool totals, mono_us_t now)
{
	scope->limits = scope->declared;
	if (target != NULL)
		tighten_limits(&scope->limits, target, totals, now);
	scope_wake_soon(scope, now);
}

static void
site_apply(struct queues *queues, struct site *site, mono_us_t now)
{
	scope_apply(&site->scope, overlays_of(&queues->overlays, OVERLAY_SITE, site->name), true, now);
}

void
queue_site_apply(struct queue *queue, mono_us_t now)
{
	site_apply(queue->queues, queue->site, now);
}

static void
vmta_apply(struct queues *queues, const struct ruleset_vmta *vmta, mono_us_t now)
{
	scope_apply(queues->vmtas[vmta->index], overlays_of(&queues->overlays, OVERLAY_VMTA, vmta->name), false, now);
}

/* ---- what a queue has ---- */

static void
take_settings(struct queue *q, const struct overlay *o, mono_us_t now)
{
	for (unsigned i = 0; i < o->changes_n; i++) {
		enum setting_id setting = o->changes[i].to.setting;

		if (is_shared(setting) && o->target->scope != OVERLAY_QUEUE)
			continue;
		overlay_tighten(o, setting, overlay_setting(q->effective, setting), &q->effective->where[setting], now);
	}
}

static void
take_hold(struct queue *q, const struct overlay *o, mono_us_t now)
{
	q->hold.overlays_n++;
	if (!overlay_lasts(o, now))
		return;
	if (o->suspend && o->until > q->hold.suspended_until) {
		q->hold.suspended_until = o->until;
		q->hold.suspended_where = o->where;
	}
	if (o->source.family != IP_NONE)
		q->hold.sources_off++;
	if (o->reroute != NULL && q->hold.reroute == NULL)
		q->hold.reroute = o->reroute;
}

struct source_search {
	const struct ip *source;        /* NULL: any */
	mono_us_t now, until;
	struct where where;
};

/* The last end of what keeps this source off; of any source the first end. */
static void
look_for_source(void *ctx, const struct overlay *o)
{
	struct source_search *search = ctx;

	if (o->source.family == IP_NONE || !overlay_lasts(o, search->now))
		return;
	if (search->source != NULL && !ip_eq(search->source, &o->source))
		return;
	if (search->until != 0 && (search->source != NULL ? o->until <= search->until : o->until >= search->until))
		return;
	search->until = o->until;
	search->where = o->where;
}

static struct source_search
source_off(const struct queue *q, const struct ip *source, mono_us_t now)
{
	struct source_search search = { .source = source, .now = now };

	if (q->hold.sources_off > 0)
		queue_overlays(q, look_for_source, &search);
	return search;
}

bool
queue_source_is_off(const struct queue *q, const struct ip *source, mono_us_t now)
{
	return source_off(q, source, now).until > now;
}

/* With "any" the system chooses, so nobody can promise that it is another address. */
static void
hold_sources(struct queue *q, mono_us_t now)
{
	struct source_search first = { 0 };

	if (q->hold.sources_off == 0)
		return;
	if (q->vmta->sources_n == 0)
		first = source_off(q, NULL, now);
	for (unsigned i = 0; i < q->vmta->sources_n; i++) {
		struct source_search search = source_off(q, &q->vmta->sources[i], now);

		if (search.until <= now)
			return;
		if (i == 0 || search.until < first.until)
			first = search;
	}
	q->hold.sources_until = first.until;
	q->hold.sources_where = first.where;
}

static void
limits_apply(struct queue *q)
{
	const struct queue_settings *s = q->effective;

	q->scope.limits = q->scope.declared;
	if (s == NULL)
		return;
	q->scope.limits = (struct scope_limits){
		s->max_smtp_out, s->max_connect_rate, s->max_msg_rate,
		s->where[SETTING_max_smtp_out], s->where[SETTING_max_connect_rate], s->where[SETTING_max_msg_rate],
	};
}

/* Only another way, or none, concerns those that are away: each of a thousand replies may lay the same anew. */
static void
take_reroute(struct queue *q, char *before)
{
	const char *reroute = q->hold.reroute;

	if (before != NULL && reroute != NULL && strcmp(before, reroute) == 0) {
		q->hold.reroute = before;
		return;
	}
	q->recall = q->recall || before != NULL;
	q->hold.reroute = reroute != NULL ? mem_strdup(reroute) : NULL;
	free(before);
}

void
queue_apply(struct queue *q, mono_us_t now)
{
	const struct overlay_target *targets[3];
	unsigned n = targets_of(q, targets);
	char *before = (char *)q->hold.reroute;

	q->hold = (struct queue_hold){ 0 };
	if (n == 0) {
		free(q->effective);
		q->effective = NULL;
	} else if (q->effective == NULL) {
		q->effective = mem_alloc(sizeof *q->effective);
	}
	if (n > 0)
		*q->effective = *q->settings;
	for (unsigned i = 0; i < n; i++)
		list_each(node, &targets[i]->overlays) {
			take_settings(q, list_entry(node, struct overlay, node), now);
			take_hold(q, list_entry(node, struct overlay, node), now);
		}
	hold_sources(q, now);
	limits_apply(q);
	take_reroute(q, before);
	queue_poll_soon(q, now);
}

/* ---- when they change ---- */

static void
apply_all_of_vmta(struct queues *queues, const char *name, mono_us_t now)
{
	const struct ruleset_vmta *vmta = ruleset_vmta(queues->o.ruleset, span_text(name));
	struct queue *q;
	uint32_t pos = 0;

	if (vmta == NULL)
		return;
	vmta_apply(queues, vmta, now);
	while ((q = table_next(&queues->queues, &pos)) != NULL)
		if (q->vmta == vmta)
			queue_apply(q, now);
}

void
queues_overlays_changed(void *ctx, const struct overlay_target *target)
{
	const struct overlays_applying *a = ctx;
	struct queues *queues = a->queues;
	struct queue *q;
	struct site *site;

	switch (target->scope) {
	case OVERLAY_QUEUE:
		if ((q = table_get(&queues->queues, span_text(target->name))) != NULL)
			queue_apply(q, a->now);
		break;
	case OVERLAY_SITE:
		if ((site = table_get(&queues->sites, span_text(target->name))) == NULL)
			break;
		site_apply(queues, site, a->now);
		list_each(node, &site->queues)
			queue_apply(list_entry(node, struct queue, in_site), a->now);
		break;
	case OVERLAY_VMTA:
		apply_all_of_vmta(queues, target->name, a->now);
		break;
	case OVERLAY_PATTERN:
	case OVERLAY_SCOPES_N:
		break;
	}
}

void
queues_overlays_arm(struct queues *queues)
{
	mono_us_t at = overlays_next(&queues->overlays);

	if (at == MONO_NEVER)
		timer_stop(&queues->o.loop->timers, &queues->overlays_timer);
	else
		timer_start(&queues->o.loop->timers, &queues->overlays_timer, at);
}

static void
on_overlays_timer(void *ctx, struct now now)
{
	struct queues *queues = ctx;
	struct overlays_applying a = { queues, now.mono };

	overlays_run(&queues->overlays, now.mono, queues_overlays_changed, &a);
	queues->changed = true;
	queues_overlays_arm(queues);
}

void
queues_overlays_init(struct queues *queues)
{
	overlays_init(&queues->overlays, prng_u64(&queues->prng));
	timer_init(&queues->overlays_timer, on_overlays_timer, queues);
}

void
queues_overlays_start(struct queues *queues, struct now now)
{
	const struct ruleset *ruleset = queues->o.ruleset;

	for (unsigned i = 0; i < ruleset->vmtas_n; i++)
		vmta_apply(queues, ruleset->vmtas[i], now.mono);
	queues_overlays_arm(queues);
}
