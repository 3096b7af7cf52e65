/*
 * overlay_save - overlays as bytes, and back.
 *
 * Instants are saved by the wall clock, so that an overlay of an hour is over an
 * hour after the match, however long the node was down. An instant of "never" is
 * its own value. What is read is checked like any input: a record that makes no
 * sense ends the reading.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/overlay.h"

#define NEVER_MS   INT64_MAX
#define CHANGES_MAX 256u
#define SPAN_MAX_US (INT64_C(1) << 50)    /* of a window, and of a step of recovery: 35 years */
#define AWAY_MAX_MS (INT64_MAX / 4 / US_PER_MS)   /* from now; what many steps of recovery put behind it is never */

static void
put_instant(struct buf *out, mono_us_t at, struct now now)
{
	int64_t away = (at - now.mono) / US_PER_MS;

	buf_put_u64(out, (uint64_t)(at == MONO_NEVER || away > AWAY_MAX_MS ? NEVER_MS : now.wall.ms + away));
}

static void
put_text(struct buf *out, const char *text)
{
	buf_put_u8(out, text != NULL);
	buf_put_bytes(out, span_text(text != NULL ? text : ""));
}

static void
put_double(struct buf *out, double value)
{
	uint64_t bits;

	memcpy(&bits, &value, sizeof bits);
	buf_put_u64(out, bits);
}

static void
put_rate(struct buf *out, const struct rate_spec *rate)
{
	buf_put_u32(out, rate->count);
	buf_put_u32(out, rate->burst);
	buf_put_u64(out, (uint64_t)rate->window_us);
}

/* A setting by its name: its number may be another's in the next version. */
static void
put_change(struct buf *out, const struct overlay_change *change)
{
	buf_put_bytes(out, span_text(setting_name(change->to.setting)));
	buf_put_u32(out, change->to.count);
	put_rate(out, &change->to.rate);
	buf_put_u64(out, (uint64_t)change->to.duration_us);
	buf_put_u8(out, change->to.durations.n);
	for (unsigned i = 0; i < change->to.durations.n; i++)
		buf_put_u64(out, (uint64_t)change->to.durations.us[i]);
	buf_put_u32(out, change->declared_count);
	put_rate(out, &change->declared_rate);
}

static void
put_overlay(struct buf *out, const struct overlay *o, struct now now)
{
	buf_put_u8(out, (uint8_t)o->target->scope);
	buf_put_bytes(out, span_text(o->target->name));
	put_text(out, o->name);
	put_text(out, o->pattern);
	put_text(out, o->reply);
	put_text(out, o->where.file);
	buf_put_u32(out, (uint32_t)o->where.line);
	put_instant(out, o->since, now);
	put_instant(out, o->cut_at, now);
	put_instant(out, o->until, now);
	put_instant(out, o->ends, now);
	buf_put_u32(out, o->recover_step);
	put_double(out, o->recover_percent);
	buf_put_u64(out, (uint64_t)o->recover_every_us);
	buf_put_u8(out, o->suspend);
	put_text(out, o->reroute);
	buf_put_bytes(out, span_make(&o->source, sizeof o->source));
	buf_put_u32(out, o->changes_n);
	for (unsigned i = 0; i < o->changes_n; i++)
		put_change(out, &o->changes[i]);
}

void
overlays_save(const struct overlays *overlays, uint8_t kind, bool of_sites, struct now now, struct buf *out)
{
	const struct overlay_target *target;
	struct buf one;
	uint32_t pos = 0;

	buf_init(&one, 0);
	while ((target = table_next(&overlays->targets, &pos)) != NULL) {
		if (of_sites && target->scope != OVERLAY_QUEUE && target->scope != OVERLAY_SITE)
			continue;
		list_each(node, &target->overlays) {
			buf_clear(&one);
			put_overlay(&one, list_entry(node, struct overlay, node), now);
			buf_put_u8(out, kind);
			buf_put_bytes(out, buf_span(&one));
		}
	}
	buf_fini(&one);
}

/* ---- back ---- */

static bool
get_instant(struct span *in, struct now now, mono_us_t *at)
{
	uint64_t bits;
	int64_t ms, away;

	if (!span_get_u64(in, &bits))
		return false;
	ms = (int64_t)bits;
	*at = MONO_NEVER;
	if (ms == NEVER_MS)
		return true;
	if (__builtin_sub_overflow(ms, now.wall.ms, &away) || away > AWAY_MAX_MS || away < -AWAY_MAX_MS)
		return false;
	*at = now.mono + away * US_PER_MS;
	return true;
}

/* *text is owned; NULL where none was saved. */
static bool
get_text(struct span *in, char **text)
{
	uint8_t is_there;
	struct span bytes;

	if (!span_get_u8(in, &is_there) || !span_get_bytes(in, &bytes))
		return false;
	*text = is_there ? mem_strndup(bytes.p, bytes.n) : NULL;
	return true;
}

static bool
get_i64(struct span *in, int64_t *out)
{
	uint64_t bits;

	if (!span_get_u64(in, &bits))
		return false;
	*out = (int64_t)bits;
	return *out >= 0;
}

static bool
get_rate(struct span *in, struct rate_spec *rate)
{
	return span_get_u32(in, &rate->count) && span_get_u32(in, &rate->burst) && get_i64(in, &rate->window_us) &&
	       (rate->count == 0 || (rate->window_us > 0 && rate->window_us < SPAN_MAX_US && rate->burst < rate->count));
}

static enum setting_id
setting_by_name(struct span name)
{
	unsigned id = 0;

	while (id < SETTINGS_N && !span_eq(name, span_text(setting_name((enum setting_id)id))))
		id++;
	return (enum setting_id)id;
}

/* What no rule could have laid: of nothing there is no end, and of no list no step. */
static bool
has_value(const struct tightening *to)
{
	switch (overlay_kind_of(to->setting)) {
	case OVERLAY_COUNT:     return to->count > 0;
	case OVERLAY_DURATIONS: return to->durations.n > 0;
	default:                return true;
	}
}

static bool
get_change(struct span *in, struct overlay_change *change)
{
	struct duration_list *list = &change->to.durations;
	struct span name;

	if (!span_get_bytes(in, &name) || !span_get_u32(in, &change->to.count) || !get_rate(in, &change->to.rate) ||
	    !get_i64(in, &change->to.duration_us) || !span_get_u8(in, &list->n) || list->n > DURATION_LIST_MAX)
		return false;
	for (unsigned i = 0; i < list->n; i++)
		if (!get_i64(in, &list->us[i]))
			return false;
	change->to.setting = setting_by_name(name);
	if (change->to.setting < SETTINGS_N && !has_value(&change->to))
		return false;
	return span_get_u32(in, &change->declared_count) && get_rate(in, &change->declared_rate);
}

static bool
get_changes(struct span *in, struct overlay_change **changes, unsigned *n_out)
{
	uint32_t n;

	if (!span_get_u32(in, &n) || n > CHANGES_MAX)
		return false;
	*changes = mem_alloc((n + 1) * sizeof **changes);
	*n_out = 0;
	for (uint32_t i = 0; i < n; i++) {
		struct overlay_change change = { 0 };

		if (!get_change(in, &change))
			return false;
		/* A setting that this version does not have tightens nothing. */
		if (change.to.setting < SETTINGS_N)
			(*changes)[(*n_out)++] = change;
	}
	return true;
}

static bool
get_overlay(struct span *in, struct now now, struct overlay *o)
{
	struct span source;
	uint64_t bits;
	uint32_t line;
	uint8_t suspend;
	char *file = NULL;

	if (!get_text(in, &o->name) || o->name == NULL || !get_text(in, &o->pattern) || !get_text(in, &o->reply) ||
	    !get_text(in, &file))
		return false;
	o->where = (struct where){ file, 0, "reaction" };
	if (!span_get_u32(in, &line) || !get_instant(in, now, &o->since) || !get_instant(in, now, &o->cut_at) ||
	    !get_instant(in, now, &o->until) || !get_instant(in, now, &o->ends) || !span_get_u32(in, &o->recover_step) ||
	    !span_get_u64(in, &bits) || !get_i64(in, &o->recover_every_us) || !span_get_u8(in, &suspend) ||
	    !get_text(in, &o->reroute) || !span_get_bytes(in, &source) || source.n != sizeof o->source ||
	    !get_changes(in, &o->changes, &o->changes_n))
		return false;
	o->where.line = (int)line;
	memcpy(&o->recover_percent, &bits, sizeof bits);
	memcpy(&o->source, source.p, sizeof o->source);
	o->suspend = suspend != 0;
	o->since = min_i64(o->since, now.mono);
	o->cut_at = min_i64(o->cut_at, now.mono);       /* one of the future would keep every session from a cut */
	return o->recover_every_us < SPAN_MAX_US && o->recover_percent >= 0 && o->recover_percent <= 100 &&
	       o->source.family <= IP_V6;
}

bool
overlays_load(struct overlays *overlays, struct span *in, struct now now)
{
	struct overlay *o = mem_alloc(sizeof *o);
	struct span one, name;
	uint8_t scope;
	char *target = NULL;
	bool ok = span_get_bytes(in, &one) && span_get_u8(&one, &scope) && scope < OVERLAY_SCOPES_N &&
		  span_get_bytes(&one, &name) && get_overlay(&one, now, o);

	if (ok) {
		target = mem_strndup(name.p, name.n);
		overlays_put(overlays, (enum overlay_scope)scope, target, o, now.mono);
	} else {
		overlay_free(o);
	}
	free(target);
	return ok;
}
