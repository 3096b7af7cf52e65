/*
 * overlay_value - what an overlay's values come to: tightened, cut by a percent, and stepping up again.
 *
 * A percent is made a value when the rule matches, so that what is in force can
 * be said at any time without a history. A value is never changed by the clock:
 * the stepped-up one is computed from `until`, so a late timer loses no step and
 * a restart none either.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/overlay.h"

#include <math.h>

enum kind { KIND_COUNT, KIND_RATE, KIND_DURATION, KIND_DURATIONS, KIND_PERCENT, KIND_BOOL, KIND_PORT, KIND_HOSTS, KIND_PATH, KIND_REACTIONS };

static const struct { enum kind kind; size_t offset; } settings[SETTINGS_N] = {
#define X(name, kind, level) [SETTING_##name] = { KIND_##kind, offsetof(struct queue_settings, name) },
	QUEUE_SETTINGS(X)
#undef X
};

enum overlay_kind
overlay_kind_of(enum setting_id setting)
{
	switch (settings[setting].kind) {
	case KIND_RATE:      return OVERLAY_RATE;
	case KIND_DURATION:  return OVERLAY_DURATION;
	case KIND_DURATIONS: return OVERLAY_DURATIONS;
	default:             return OVERLAY_COUNT;
	}
}

void *
overlay_setting(struct queue_settings *of, enum setting_id setting)
{
	return (char *)of + settings[setting].offset;
}

static const void *
setting_of(const struct queue_settings *of, enum setting_id setting)
{
	return (const char *)of + settings[setting].offset;
}

/* ---- recovery ---- */

/* The declared count, as one of the overlay's own window. */
static double
declared_in_window(const struct overlay_change *change)
{
	double count = (double)change->declared_rate.count * (double)change->to.rate.window_us /
		       (double)change->declared_rate.window_us;

	return fmin(count, UINT32_MAX);
}

static double
step_of(const struct overlay *o, double declared)
{
	double step = o->recover_step;

	if (o->recover_percent > 0)
		step = floor(declared * o->recover_percent / 100 + 1e-9);
	return step < 1 ? 1 : step;
}

/* What a change has to climb, and how fast; false: it lifts at once. */
static bool
climb(const struct overlay *o, const struct overlay_change *change, double *from, double *to, double *step)
{
	if (o->recover_every_us == 0)
		return false;
	switch (settings[change->to.setting].kind) {
	case KIND_COUNT:
		if (change->declared_count == UNLIMITED)
			return false;
		*from = change->to.count;
		*to = change->declared_count;
		break;
	case KIND_RATE:
		if (rate_unlimited(&change->declared_rate))
			return false;
		*from = change->to.rate.count;
		*to = declared_in_window(change);
		break;
	default:
		return false;
	}
	*step = step_of(o, *to);
	return *to > *from;
}

static int64_t
steps_needed(const struct overlay *o, const struct overlay_change *change)
{
	double from, to, step;

	return climb(o, change, &from, &to, &step) ? (int64_t)ceil((to - from) / step) : 0;
}

int64_t
overlay_steps_done(const struct overlay *o, mono_us_t now)
{
	return now < o->until || o->recover_every_us == 0 ? 0 : (now - o->until) / o->recover_every_us;
}

mono_us_t
overlay_end_of(const struct overlay *o)
{
	int64_t most = 0;

	if (o->until == MONO_NEVER)
		return MONO_NEVER;
	for (unsigned i = 0; i < o->changes_n; i++)
		most = max_i64(most, steps_needed(o, &o->changes[i]));
	if (most > 0 && o->recover_every_us > (MONO_NEVER - max_i64(0, o->until)) / most)
		return MONO_NEVER;
	return o->until + most * o->recover_every_us;
}

bool
overlay_change_now(const struct overlay *o, const struct overlay_change *change, mono_us_t now, struct tightening *out)
{
	int64_t done = overlay_steps_done(o, now);
	double from, to, step;

	*out = change->to;
	if (now < o->until)
		return true;
	if (!climb(o, change, &from, &to, &step) || done >= steps_needed(o, change))
		return false;
	if (settings[change->to.setting].kind == KIND_COUNT)
		out->count = (uint32_t)(from + (double)done * step);
	else
		out->rate.count = (uint32_t)(from + (double)done * step);
	return true;
}

/* ---- tightening ---- */

/* Fewer events in the same time; unlimited is the loosest. */
static bool
rate_is_tighter(const struct rate_spec *a, const struct rate_spec *b)
{
	if (rate_unlimited(a) || rate_unlimited(b))
		return !rate_unlimited(a) && rate_unlimited(b);
	return (double)a->count / (double)a->window_us < (double)b->count / (double)b->window_us;
}

static bool
tighten_rate(struct rate_spec *value, const struct rate_spec *to)
{
	struct rate_spec before = *value;

	if (!rate_is_tighter(to, &before))
		return false;
	*value = *to;
	/* A slower rate must not bring a greater burst than the one it takes the place of. */
	if (!rate_unlimited(&before) && value->burst > before.burst)
		value->burst = before.burst;
	return true;
}

/* Of two lists the longer wait at each step. */
static bool
tighten_durations(struct duration_list *value, const struct duration_list *to)
{
	struct duration_list out = { .n = value->n > to->n ? value->n : to->n };
	bool tighter = false;

	for (uint32_t i = 0; i < out.n; i++) {
		int64_t before = duration_list_at(value, i);

		out.us[i] = max_i64(before, duration_list_at(to, i));
		tighter = tighter || out.us[i] > before;
	}
	*value = out;
	return tighter;
}

/* Waiting longer is gentler with retries; with every other duration it is waiting less. */
static bool
tighten_duration(enum setting_id setting, int64_t *value, int64_t to)
{
	bool longer = setting == SETTING_retry_after_dns_error;

	if (longer ? to <= *value : to >= *value)
		return false;
	*value = to;
	return true;
}

static bool
tighten_to(const struct tightening *to, void *value)
{
	switch (settings[to->setting].kind) {
	case KIND_COUNT:
		if (to->count >= *(uint32_t *)value)
			return false;
		*(uint32_t *)value = to->count;
		return true;
	case KIND_RATE:      return tighten_rate(value, &to->rate);
	case KIND_DURATION:  return tighten_duration(to->setting, value, to->duration_us);
	case KIND_DURATIONS: return tighten_durations(value, &to->durations);
	default:             return false;
	}
}

bool
overlay_tighten(const struct overlay *o, enum setting_id setting, void *value, struct where *where, mono_us_t now)
{
	bool did = false;

	for (unsigned i = 0; i < o->changes_n; i++) {
		struct tightening to;

		if (o->changes[i].to.setting != setting || !overlay_change_now(o, &o->changes[i], now, &to))
			continue;
		did = tighten_to(&to, value) || did;
	}
	if (did)
		*where = o->where;
	return did;
}

/* ---- percents ---- */

static uint32_t
percent_of(uint32_t value, const struct tightening *t)
{
	uint32_t cut = (uint32_t)floor((double)value * t->percent / 100 + 1e-9);
	uint32_t least = t->floor > 0 ? t->floor : 1;

	if (cut < least)
		cut = least;
	return cut < value ? cut : value;
}

/* The value that a percent comes to now. False: of nothing, there is no part. */
bool
overlay_resolve_percent(struct tightening *t, const struct queue_settings *in_force)
{
	const void *value = setting_of(in_force, t->setting);

	t->is_percent = false;
	if (settings[t->setting].kind == KIND_COUNT) {
		t->count = *(const uint32_t *)value;
		if (t->count == UNLIMITED)
			return false;
		t->count = percent_of(t->count, t);
		return true;
	}
	if (settings[t->setting].kind != KIND_RATE)
		return false;
	t->rate = *(const struct rate_spec *)value;
	if (rate_unlimited(&t->rate))
		return false;
	t->rate.count = percent_of(t->rate.count, t);
	t->rate.burst = (uint32_t)((double)t->rate.burst * t->percent / 100);
	if (t->rate.burst >= t->rate.count)
		t->rate.burst = t->rate.count - 1;
	return true;
}

void
overlay_note_declared(struct overlay_change *change, const struct queue_settings *declared)
{
	change->declared_count = UNLIMITED;
	if (declared == NULL)
		return;
	if (settings[change->to.setting].kind == KIND_COUNT)
		change->declared_count = *(const uint32_t *)setting_of(declared, change->to.setting);
	else if (settings[change->to.setting].kind == KIND_RATE)
		change->declared_rate = *(const struct rate_spec *)setting_of(declared, change->to.setting);
}
