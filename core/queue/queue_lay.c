/*
 * queue_lay - overlays come and go: by a rule or a function on one queue, by hand on a pattern.
 *
 * A hand's suspension lies on each queue that is there and, by its pattern, on those
 * that come later; a lift of a narrower pattern is an exception of it. So what an
 * operator was told holds when a queue has been reaped and is made anew.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/queue_own.h"

#define BY_HAND "by hand"
#define WARN_PAUSE_US (60 * US_PER_S)

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
	struct overlays_applying a = { q->queues, now.mono };
	struct overlay *o;

	check(scope <= OVERLAY_VMTA);
	put_limits(&in_force, &q->scopes[levels[scope]]->limits);
	put_limits(&declared, &q->scopes[levels[scope]]->declared);
	o = overlays_lay(&q->queues->overlays, scope, names[scope], spec, &ground, opened, now.mono);
	if (o == NULL) {
		warn_if_full(q->queues, spec, now.mono);
		return false;
	}
	queues_overlays_changed(&a, o->target);
	/* A renewal is as well saved with the next second's changes: a receiver may say the same a thousand times. */
	if (o->since == now.mono)
		queues_changed(q->queues);
	q->queues->changed = true;
	queues_overlays_arm(q->queues);
	if (scope == OVERLAY_VMTA)
		overlay_share(q->queues, o);
	return true;
}

/* What of the spec is (or is not) a total; the caller frees it. */
static struct tightening *
part(const struct overlay_spec *spec, bool totals, unsigned *n_out)
{
	struct tightening *out = mem_alloc((spec->tightenings_n + 1) * sizeof *out);

	*n_out = 0;
	for (unsigned i = 0; i < spec->tightenings_n; i++)
		if (setting_is_total(spec->tightenings[i].setting) == totals)
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

static unsigned
lift(struct queue *q, const char *name, struct now now)
{
	const char *const names[] = { q->name, q->site->name, q->vmta->name };
	struct overlays_applying a = { q->queues, now.mono };
	unsigned n = 0;

	for (unsigned i = OVERLAY_QUEUE; i <= OVERLAY_VMTA; i++) {
		struct overlay_target *target = overlays_of(&q->queues->overlays, (enum overlay_scope)i, names[i]);

		if (target != NULL)
			n += overlays_lift(&q->queues->overlays, target, name, queues_overlays_changed, &a);
	}
	if (n > 0) {
		q->queues->changed = true;
		queues_overlays_arm(q->queues);
	}
	return n;
}

unsigned
queue_lift(struct queue *q, const char *name, struct now now)
{
	if (overlays_of(&q->queues->overlays, OVERLAY_VMTA, q->vmta->name) != NULL)
		overlays_share_lift(q->queues, q->vmta->name, name);
	return lift(q, name, now);
}

/* ---- on a queue that is new ---- */

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
		queues_overlays_arm(q->queues);
	}
	queue_site_apply(q, now);
	queue_apply(q, now);
}

/* ---- by hand ---- */

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
	queues_overlays_arm(queues);
	queues_save_now(queues, now);
	free(name);
	return hand.rcpts;
}

static void
lift_one(void *ctx, struct queue *q)
{
	struct hand *hand = ctx;

	if (lift(q, hand->name, hand->now) == 0)
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
	struct overlays_applying a = { queues, hand->now.mono };
	struct overlay_target *target;
	uint32_t pos = 0;
	bool is_there;

	while ((target = table_next(&queues->overlays.targets, &pos)) != NULL) {
		if (!is_meant(hand->pattern, target))
			continue;
		is_there = target->scope != OVERLAY_PATTERN;    /* the lift may free it */
		if (overlays_lift(&queues->overlays, target, hand->name, queues_overlays_changed, &a) == 0)
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
	queues_overlays_arm(queues);
	*queues_out = hand.queues_n;
	queues_save_now(queues, now);
	return hand.rcpts;
}
