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

#define BY_HAND "by hand"
#define WARN_PAUSE_US (60 * US_PER_S)

/* The queue's setting that is the cap or rate of a scope, and the site's total of it. */
static const struct { enum setting_id of_queue, total; } shared[] = {
	{ SETTING_max_smtp_out, SETTING_total_max_smtp_out },
	{ SETTING_max_connect_rate, SETTING_total_max_connect_rate },
	{ SETTING_max_msg_rate, SETTING_total_max_msg_rate },
};

static bool
is_total(enum setting_id setting)
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
	return is_total(setting);
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

/* ---- what a scope has ---- */

static void
tighten_limits(struct scope_limits *limits, const struct overlay_target *target, bool totals, mono_us_t now)
{
	list_each(node, &target->overlays) {
		const struct overlay *o = list_entry(node, struct overlay, node);

		for (unsigned total = 0; total <= totals; total++) {
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

struct applying {
	struct queues *queues;
	mono_us_t now;
};

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

static void
on_target_change(void *ctx, const struct overlay_target *target)
{
	const struct applying *a = ctx;
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

static void
arm(struct queues *queues)
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
	struct applying a = { queues, now.mono };

	overlays_run(&queues->overlays, now.mono, on_target_change, &a);
	queues->changed = true;
	arm(queues);
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
	arm(queues);
}

/* ---- laying ---- */

static void
put_limits(struct queue_settings *s, const struct scope_limits *limits)
{
	s->max_smtp_out = s->total_max_smtp_out = limits->max_smtp_out;
	s->max_connect_rate = s->total_max_connect_rate = limits->max_connect_rate;
	s->max_msg_rate = s->total_max_msg_rate = limits->max_msg_rate;
}

static void
warn_if_full(struct queues *queues, const struct overlay_spec *spec, mono_us_t now)
{
	if (queues->overlays.n < OVERLAYS_MAX || now < queues->overlays_warn_at)
		return;
	queues->overlays_warn_at = now + WARN_PAUSE_US;
	log_warning(queues->o.log, "%u overlays lie there; \"%s\" and any further one is left out", queues->overlays.n, spec->name);
}

static bool
lay_on(struct queue *q, enum overlay_scope scope, const struct overlay_spec *spec, mono_us_t opened, struct now now)
{
	static const enum scope_level levels[] = { SCOPE_QUEUE, SCOPE_SITE, SCOPE_VMTA };
	const char *const names[] = { q->name, q->site->name, q->vmta->name };
	struct queue_settings in_force = *queue_settings_now(q), declared = *q->settings;
	struct overlay_ground ground = { &in_force, &declared };
	struct applying a = { q->queues, now.mono };
	struct overlay *o;

	check(scope <= OVERLAY_VMTA);
	put_limits(&in_force, &q->scopes[levels[scope]]->limits);
	put_limits(&declared, &q->scopes[levels[scope]]->declared);
	o = overlays_lay(&q->queues->overlays, scope, names[scope], spec, &ground, opened, now.mono);
	if (o == NULL) {
		warn_if_full(q->queues, spec, now.mono);
		return false;
	}
	on_target_change(&a, o->target);
	/* A renewal is as well saved with the next second's changes: a receiver may say the same a thousand times. */
	if (o->since == now.mono)
		queues_changed(q->queues);
	q->queues->changed = true;
	arm(q->queues);
	return true;
}

/* What of the spec is (or is not) a total; the caller frees it. */
static struct tightening *
part(const struct overlay_spec *spec, bool totals, unsigned *n_out)
{
	struct tightening *out = mem_alloc((spec->tightenings_n + 1) * sizeof *out);

	*n_out = 0;
	for (unsigned i = 0; i < spec->tightenings_n; i++)
		if (is_total(spec->tightenings[i].setting) == totals)
			out[(*n_out)++] = spec->tightenings[i];
	return out;
}

bool
queue_lay(struct queue *q, enum overlay_scope scope, const struct overlay_spec *spec, mono_us_t opened, struct now now)
{
	struct overlay_spec own = *spec, total = *spec;
	struct tightening *owns, *totals;
	bool ok = true, has_own;

	if (scope != OVERLAY_QUEUE)
		return lay_on(q, scope, spec, opened, now);
	own.tightenings = owns = part(spec, false, &own.tightenings_n);
	total.tightenings = totals = part(spec, true, &total.tightenings_n);
	total.suspend = false;
	total.reroute = NULL;
	total.source = NULL;
	has_own = own.tightenings_n > 0 || own.suspend || own.reroute != NULL || own.source != NULL || total.tightenings_n == 0;
	if (has_own)
		ok = lay_on(q, OVERLAY_QUEUE, &own, opened, now);
	if (total.tightenings_n > 0)
		ok = lay_on(q, OVERLAY_SITE, &total, opened, now) && ok;
	free(owns);
	free(totals);
	return ok;
}

unsigned
queue_lift(struct queue *q, const char *name, struct now now)
{
	const char *const names[] = { q->name, q->site->name, q->vmta->name };
	struct applying a = { q->queues, now.mono };
	unsigned n = 0;

	for (unsigned i = OVERLAY_QUEUE; i <= OVERLAY_VMTA; i++) {
		struct overlay_target *target = overlays_of(&q->queues->overlays, (enum overlay_scope)i, names[i]);

		if (target != NULL)
			n += overlays_lift(&q->queues->overlays, target, name, on_target_change, &a);
	}
	if (n > 0) {
		q->queues->changed = true;
		arm(q->queues);
	}
	return n;
}

/* ---- by hand ---- */

/* Was the queue, or a pattern that is for it, lifted after this one was laid? */
static bool
is_excepted(const struct queue *q, const struct overlay *suspension)
{
	list_each(node, &q->queues->overlays.patterns) {
		const struct overlay_target *target = list_entry(node, struct overlay_target, in_patterns);

		if (!queue_pattern_matches(span_text(target->name), span_text(q->name)))
			continue;
		list_each(overlay_node, &target->overlays) {
			const struct overlay *o = list_entry(overlay_node, struct overlay, node);

			if (!o->suspend && o->cut_at >= suspension->cut_at)
				return true;
		}
	}
	return false;
}

/* What a hand has laid on names like this one lies on a queue that comes later as well. */
static void
take_patterns(struct queue *q, mono_us_t now)
{
	struct overlays *overlays = &q->queues->overlays;

	list_each(node, &overlays->patterns) {
		const struct overlay_target *target = list_entry(node, struct overlay_target, in_patterns);

		if (!queue_pattern_matches(span_text(target->name), span_text(q->name)))
			continue;
		list_each(overlay_node, &target->overlays) {
			const struct overlay *o = list_entry(overlay_node, struct overlay, node);
			struct overlay_spec spec = {
				.name = o->name, .suspend = o->suspend,
				.lasts_us = o->until == MONO_NEVER ? DURATION_NEVER : o->until - now,
			};

			if (o->suspend && overlay_lasts(o, now) && !is_excepted(q, o))
				overlays_lay(overlays, OVERLAY_QUEUE, q->name, &spec, NULL, now, now);
		}
	}
}

void
queue_overlays_begin(struct queue *q, mono_us_t now)
{
	if (!list_empty(&q->queues->overlays.patterns)) {
		take_patterns(q, now);
		arm(q->queues);
	}
	site_apply(q->queues, q->site, now);
	queue_apply(q, now);
}

struct hand {
	struct span pattern;
	const struct overlay_spec *spec;
	const char *name;
	struct now now;
	uint64_t   rcpts;
	unsigned   queues_n;
};

static void
suspend_one(void *ctx, struct queue *q)
{
	struct hand *hand = ctx;

	hand->rcpts += queue_n(q);
	queue_lay(q, OVERLAY_QUEUE, hand->spec, hand->now.mono, hand->now);
}

uint64_t
queues_suspend(struct queues *queues, struct span pattern, int64_t lasts_us, unsigned *queues_out, struct now now)
{
	struct overlay_spec spec = { .name = BY_HAND, .lasts_us = lasts_us, .suspend = true };
	struct hand hand = { .spec = &spec, .now = now };
	char *name = mem_strndup(pattern.p, pattern.n);

	*queues_out = queues_match(queues, pattern, suspend_one, &hand);
	overlays_lay(&queues->overlays, OVERLAY_PATTERN, name, &spec, NULL, now.mono, now.mono);
	arm(queues);
	queues_save_now(queues, now);
	free(name);
	return hand.rcpts;
}

static void
lift_one(void *ctx, struct queue *q)
{
	struct hand *hand = ctx;

	if (queue_lift(q, hand->name, hand->now) == 0)
		return;
	hand->queues_n++;
	hand->rcpts += queue_n(q);
}

/* A site's overlay goes when all its queues are meant, and a virtual MTA's likewise. */
static bool
is_meant(struct span pattern, const struct overlay_target *target)
{
	struct buf name;
	bool meant;

	buf_init(&name, 0);
	switch (target->scope) {
	case OVERLAY_SITE: buf_printf(&name, "%s/*", target->name); break;
	case OVERLAY_VMTA: buf_printf(&name, "*/%s", target->name); break;
	default:           buf_printf(&name, "%s", target->name); break;
	}
	meant = queue_pattern_matches(pattern, buf_span(&name));
	buf_fini(&name);
	return meant;
}

/* Those of queues that are not there now, and of queues to come. */
static void
lift_from_absent(struct queues *queues, struct hand *hand)
{
	struct applying a = { queues, hand->now.mono };
	struct overlay_target *target;
	uint32_t pos = 0;
	bool is_there;

	while ((target = table_next(&queues->overlays.targets, &pos)) != NULL) {
		if (!is_meant(hand->pattern, target))
			continue;
		is_there = target->scope != OVERLAY_PATTERN;    /* the lift may free it */
		if (overlays_lift(&queues->overlays, target, hand->name, on_target_change, &a) == 0)
			continue;
		queues->changed = true;
		hand->queues_n += is_there;
	}
}

/* The end of the last suspension by pattern that the lift has left; 0: there is none. */
static mono_us_t
patterns_until(const struct overlays *overlays)
{
	mono_us_t until = 0;

	list_each(node, &overlays->patterns)
		list_each(overlay_node, &list_entry(node, struct overlay_target, in_patterns)->overlays) {
			const struct overlay *o = list_entry(overlay_node, struct overlay, node);

			if (o->suspend)
				until = max_i64(until, o->until);
		}
	return until;
}

/* A wider pattern would suspend the queue anew when it is made anew: a pattern that suspends nothing is an
 * exception of those that were laid before it, and lasts as long as they. */
static void
except(struct queues *queues, struct span pattern, struct now now)
{
	mono_us_t until = patterns_until(&queues->overlays);
	struct overlay_spec spec = { .name = BY_HAND, .lasts_us = until == MONO_NEVER ? DURATION_NEVER : until - now.mono };
	char *name;

	if (until <= now.mono)
		return;
	name = mem_strndup(pattern.p, pattern.n);
	overlays_lay(&queues->overlays, OVERLAY_PATTERN, name, &spec, NULL, now.mono, now.mono);
	queues->changed = true;
	free(name);
}

uint64_t
queues_lift(struct queues *queues, struct span pattern, const char *name, unsigned *queues_out, struct now now)
{
	struct hand hand = { .pattern = pattern, .name = name, .now = now };

	queues_match(queues, pattern, lift_one, &hand);
	lift_from_absent(queues, &hand);
	if (name == NULL || strcmp(name, BY_HAND) == 0)
		except(queues, pattern, now);
	arm(queues);
	*queues_out = hand.queues_n;
	queues_save_now(queues, now);
	return hand.rcpts;
}
