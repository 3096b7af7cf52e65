/*
 * overlay - the store: targets by name, their overlays, and one heap of what
 * time changes next.
 *
 * An overlay's life, by time alone:
 *
 *   since ……… until            all it has holds
 *         until ……… ends       it recovers: a step each interval, until every
 *                              value is back at the declared one (overlay_value.c)
 *
 * Two matches of one rule are one overlay; a rule is told by its name, pattern and
 * place, and by the source it turns off; a function may limit and suspend on one line.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/overlay.h"

const char *
overlay_scope_name(enum overlay_scope scope)
{
	static const char *const names[] = { "queue", "site", "vmta", "pattern" };

	check(scope < OVERLAY_SCOPES_N);
	return names[scope];
}

/* ---- targets ---- */

static void
target_key(enum overlay_scope scope, const char *name, struct buf *out)
{
	buf_init(out, 0);
	buf_printf(out, "%c%s", "qsvp"[scope], name);
}

struct overlay_target *
overlays_of(const struct overlays *overlays, enum overlay_scope scope, const char *name)
{
	struct overlay_target *target;
	struct buf key;

	if (overlays->n == 0)
		return NULL;
	target_key(scope, name, &key);
	target = table_get(&overlays->targets, buf_span(&key));
	buf_fini(&key);
	return target;
}

static struct overlay_target *
target_get(struct overlays *overlays, enum overlay_scope scope, const char *name)
{
	struct overlay_target *target = overlays_of(overlays, scope, name);
	struct buf key;

	if (target != NULL)
		return target;
	target = mem_alloc(sizeof *target);
	target_key(scope, name, &key);
	target->key = mem_strdup(buf_text(&key));
	buf_fini(&key);
	target->name = target->key + 1;
	target->scope = scope;
	list_init(&target->overlays);
	list_init(&target->in_patterns);
	table_put(&overlays->targets, span_text(target->key), target);
	if (scope == OVERLAY_PATTERN)
		list_add_tail(&overlays->patterns, &target->in_patterns);
	return target;
}

static void
target_maybe_free(struct overlays *overlays, struct overlay_target *target)
{
	if (target->n > 0)
		return;
	table_remove(&overlays->targets, span_text(target->key));
	list_remove(&target->in_patterns);
	free(target->key);
	free(target);
}

/* ---- one overlay ---- */

static char *
text_or_null(const char *text, size_t max)
{
	size_t n;

	if (text == NULL)
		return NULL;
	n = strlen(text);
	return mem_strndup(text, n < max ? n : max);
}

static struct overlay *
overlay_new(struct overlays *overlays, struct overlay_target *target, const struct overlay_spec *spec, mono_us_t now)
{
	struct overlay *o = mem_alloc(sizeof *o);

	o->target = target;
	o->name = mem_strdup(spec->name);
	o->pattern = text_or_null(spec->pattern, SIZE_MAX);
	o->reply = text_or_null(spec->reply, OVERLAY_REPLY_MAX);
	o->where = (struct where){ text_or_null(spec->where.file, SIZE_MAX), spec->where.line, "reaction" };
	o->since = now;
	if (spec->source != NULL)
		o->source = *spec->source;
	list_add_tail(&target->overlays, &o->node);
	target->n++;
	overlays->n++;
	return o;
}

static void
overlay_unlink(struct overlays *overlays, struct overlay *o)
{
	list_remove(&o->node);
	if (o->due.pos != 0)
		heap_remove(&overlays->due, &o->due);
	o->target->n--;
	overlays->n--;
}

void
overlay_free(struct overlay *o)
{
	free(o->name);
	free(o->pattern);
	free(o->reply);
	free((char *)o->where.file);
	free(o->reroute);
	free(o->changes);
	free(o);
}

/* When time alone changes it next. */
static mono_us_t
next_of(const struct overlay *o, mono_us_t now)
{
	if (o->until == MONO_NEVER || now < o->until)
		return o->until;
	return min_i64(o->ends, o->until + (overlay_steps_done(o, now) + 1) * o->recover_every_us);
}

static void
schedule(struct overlays *overlays, struct overlay *o, mono_us_t now)
{
	mono_us_t at = next_of(o, now);

	if (o->due.pos != 0)
		heap_remove(&overlays->due, &o->due);
	if (at != MONO_NEVER)
		heap_add(&overlays->due, &o->due, at);
}

/* ---- laying ---- */

static const struct overlay_change *
change_of(const struct overlay *o, enum setting_id setting)
{
	for (unsigned i = 0; i < o->changes_n; i++)
		if (o->changes[i].to.setting == setting)
			return &o->changes[i];
	return NULL;
}

/* The values anew; a percent that may not cut again keeps what it came to. */
static void
make_changes(struct overlay *o, const struct overlay_spec *spec, const struct overlay_ground *ground, bool may_cut)
{
	struct overlay_change *changes = mem_alloc((spec->tightenings_n + 1) * sizeof *changes);
	unsigned n = 0;

	for (unsigned i = 0; i < spec->tightenings_n; i++) {
		const struct overlay_change *before = change_of(o, spec->tightenings[i].setting);
		struct overlay_change *change = &changes[n];

		if (spec->tightenings[i].is_percent && !may_cut && before != NULL) {
			changes[n++] = *before;
			continue;
		}
		*change = (struct overlay_change){ .to = spec->tightenings[i] };
		if (change->to.is_percent && (ground == NULL || !overlay_resolve_percent(&change->to, ground->in_force)))
			continue;
		overlay_note_declared(change, ground != NULL ? ground->declared : NULL);
		n++;
	}
	free(o->changes);
	o->changes = changes;
	o->changes_n = n;
}

static bool
same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool
is_of(const struct overlay *o, const struct overlay_spec *spec)
{
	static const struct ip none = { 0 };
	const struct ip *source = spec->source != NULL ? spec->source : &none;

	return strcmp(o->name, spec->name) == 0 && same_text(o->pattern, spec->pattern) &&
	       same_text(o->where.file, spec->where.file) && o->where.line == spec->where.line &&
	       o->suspend == spec->suspend && ip_eq(&o->source, source);
}

/* A hand's patterns are few, and what an operator was told must hold. */
static bool
has_room(const struct overlays *overlays, enum overlay_scope scope, const struct overlay_target *target)
{
	return (target == NULL || target->n < OVERLAYS_PER_TARGET_MAX) &&
	       (scope == OVERLAY_PATTERN || overlays->n < OVERLAYS_MAX);
}

static struct overlay *
find(const struct overlay_target *target, const struct overlay_spec *spec)
{
	if (target == NULL)
		return NULL;
	list_each(node, &target->overlays)
		if (is_of(list_entry(node, struct overlay, node), spec))
			return list_entry(node, struct overlay, node);
	return NULL;
}

struct overlay *
overlays_lay(struct overlays *overlays, enum overlay_scope scope, const char *name, const struct overlay_spec *spec,
	     const struct overlay_ground *ground, mono_us_t opened, mono_us_t now)
{
	struct overlay_target *target = overlays_of(overlays, scope, name);
	struct overlay *o = find(target, spec);
	bool may_cut = o == NULL || opened > o->cut_at;

	if (o == NULL && !has_room(overlays, scope, target))
		return NULL;
	if (o == NULL)
		o = overlay_new(overlays, target_get(overlays, scope, name), spec, now);
	make_changes(o, spec, ground, may_cut);
	if (may_cut)
		o->cut_at = now;
	o->until = spec->lasts_us >= MONO_NEVER - now ? MONO_NEVER : now + spec->lasts_us;
	o->recover_step = spec->recover_step;
	o->recover_percent = spec->recover_percent;
	o->recover_every_us = spec->recover_every_us;
	o->suspend = spec->suspend;
	free(o->reroute);
	o->reroute = text_or_null(spec->reroute, SIZE_MAX);
	o->ends = overlay_end_of(o);
	schedule(overlays, o, now);
	return o;
}

void
overlays_put(struct overlays *overlays, enum overlay_scope scope, const char *name, struct overlay *o, mono_us_t now)
{
	struct overlay_target *target = overlays_of(overlays, scope, name);

	o->ends = overlay_end_of(o);            /* what was saved may be anything */
	if (o->ends <= now || !has_room(overlays, scope, target)) {
		overlay_free(o);
		return;
	}
	target = target_get(overlays, scope, name);
	o->target = target;
	list_add_tail(&target->overlays, &o->node);
	target->n++;
	overlays->n++;
	schedule(overlays, o, now);
}

struct overlay *
overlay_dup(const struct overlay *o)
{
	struct overlay *copy = mem_alloc(sizeof *copy);

	*copy = *o;
	list_init(&copy->node);
	copy->due = (struct heap_node){ 0 };
	copy->target = NULL;
	copy->name = mem_strdup(o->name);
	copy->pattern = text_or_null(o->pattern, SIZE_MAX);
	copy->reply = text_or_null(o->reply, SIZE_MAX);
	copy->where.file = text_or_null(o->where.file, SIZE_MAX);
	copy->reroute = text_or_null(o->reroute, SIZE_MAX);
	copy->changes = mem_alloc((o->changes_n + 1) * sizeof *copy->changes);
	if (o->changes_n > 0)
		memcpy(copy->changes, o->changes, o->changes_n * sizeof *copy->changes);
	return copy;
}

/* ---- two shards' ---- */

static struct overlay *
find_same(const struct overlay_target *target, const struct overlay *of)
{
	const struct overlay_spec spec = {
		.name = of->name, .pattern = of->pattern, .where = of->where, .suspend = of->suspend, .source = &of->source,
	};

	return find(target, &spec);
}

static void *
value_of(struct tightening *to)
{
	switch (overlay_kind_of(to->setting)) {
	case OVERLAY_COUNT:    return &to->count;
	case OVERLAY_RATE:     return &to->rate;
	case OVERLAY_DURATION: return &to->duration_us;
	default:               return &to->durations;
	}
}

/* Cut in one instant: both shards take the tighter one for the later. */
static bool
is_tighter(const struct overlay *a, const struct overlay *b, mono_us_t now)
{
	struct where where;

	for (unsigned i = 0; i < b->changes_n; i++) {
		struct tightening value = b->changes[i].to;

		if (overlay_tighten(a, value.setting, value_of(&value), &where, now))
			return true;
	}
	return false;
}

static void
swap_changes(struct overlay *a, struct overlay *b)
{
	struct overlay_change *changes = a->changes;
	unsigned n = a->changes_n;

	a->changes = b->changes;
	a->changes_n = b->changes_n;
	b->changes = changes;
	b->changes_n = n;
}

/* *values_out: its values are others now. The copy keeps what is not needed. False: it said nothing new. */
static bool
merge(struct overlay *o, struct overlay *copy, mono_us_t now, bool *values_out)
{
	bool later = copy->cut_at > o->cut_at || (copy->cut_at == o->cut_at && is_tighter(copy, o, now));
	bool lasts = copy->until > o->until;

	o->since = min_i64(o->since, copy->since);
	if (lasts) {
		char *reroute = o->reroute;

		o->until = copy->until;
		o->recover_step = copy->recover_step;
		o->recover_percent = copy->recover_percent;
		o->recover_every_us = copy->recover_every_us;
		o->reroute = copy->reroute;
		copy->reroute = reroute;
	}
	if (later) {
		o->cut_at = copy->cut_at;
		swap_changes(o, copy);
	}
	o->ends = overlay_end_of(o);
	*values_out = later;
	return later || lasts;
}

struct overlay_target *
overlays_join(struct overlays *overlays, enum overlay_scope scope, const char *name, struct overlay *copy, mono_us_t now,
	      bool *news_out)
{
	struct overlay *o = find_same(overlays_of(overlays, scope, name), copy);
	bool new;

	*news_out = true;
	if (o == NULL) {
		overlays_put(overlays, scope, name, copy, now);
		return overlays_of(overlays, scope, name);
	}
	new = merge(o, copy, now, news_out);
	overlay_free(copy);
	schedule(overlays, o, now);
	return new ? o->target : NULL;
}

void
overlays_copy(struct overlays *overlays, enum overlay_scope scope, const char *name, const struct overlay_target *from, mono_us_t now)
{
	bool news;

	if (from == NULL)
		return;
	list_each(node, &from->overlays)
		overlays_join(overlays, scope, name, overlay_dup(list_entry(node, struct overlay, node)), now, &news);
}

/* ---- time and hands ---- */

void
overlays_init(struct overlays *overlays, uint64_t seed)
{
	table_init(&overlays->targets, seed);
	list_init(&overlays->patterns);
	heap_init(&overlays->due);
	overlays->n = 0;
}

void
overlays_fini(struct overlays *overlays)
{
	struct overlay_target *target;
	uint32_t pos = 0;

	while ((target = table_next(&overlays->targets, &pos)) != NULL) {
		list_each_safe(node, &target->overlays) {
			struct overlay *o = list_entry(node, struct overlay, node);

			overlay_unlink(overlays, o);
			overlay_free(o);
		}
		target_maybe_free(overlays, target);
	}
	heap_fini(&overlays->due);
	table_fini(&overlays->targets);
}

mono_us_t
overlays_next(const struct overlays *overlays)
{
	const struct heap_node *first = heap_min(&overlays->due);

	return first != NULL ? first->key : MONO_NEVER;
}

void
overlays_run(struct overlays *overlays, mono_us_t now, overlay_change_fn *on_change, void *ctx)
{
	const struct heap_node *first;

	while ((first = heap_min(&overlays->due)) != NULL && first->key <= now) {
		struct overlay *o = container_of(first, struct overlay, due);
		struct overlay_target *target = o->target;

		if (now < o->ends) {
			schedule(overlays, o, now);
			on_change(ctx, target);
			continue;
		}
		overlay_unlink(overlays, o);
		on_change(ctx, target);
		overlay_free(o);
		target_maybe_free(overlays, target);
	}
}

unsigned
overlays_lift(struct overlays *overlays, struct overlay_target *target, const char *name, overlay_change_fn *on_change,
	      void *ctx)
{
	struct list lifted;
	unsigned n = 0;

	list_init(&lifted);
	list_each_safe(node, &target->overlays) {
		struct overlay *o = list_entry(node, struct overlay, node);

		if (name != NULL && strcmp(o->name, name) != 0)
			continue;
		overlay_unlink(overlays, o);
		list_add_tail(&lifted, &o->node);
		n++;
	}
	if (n > 0)
		on_change(ctx, target);
	list_each_safe(node, &lifted)
		overlay_free(list_entry(node, struct overlay, node));
	target_maybe_free(overlays, target);
	return n;
}
