/*
 * A rule is told by what it does, in the order in which POLICY's table has the
 * fields. Of two lists only what differs is told: of fifty rules an edit mostly
 * touches one.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/reaction_text.h"

#include "util/buf.h"

static void
add_tightening(struct buf *out, const struct tightening *t)
{
	char text[48];

	buf_printf(out, ", %s ", setting_name(t->setting));
	if (t->is_percent) {
		buf_printf(out, "%g%%", t->percent);
		if (t->floor > 1)
			buf_printf(out, " (floor %u)", t->floor);
	} else if (t->durations.n > 0) {
		for (unsigned i = 0; i < t->durations.n; i++) {
			duration_format(t->durations.us[i], text);
			buf_printf(out, "%s%s", i > 0 ? "," : "", text);
		}
	} else if (t->duration_us != 0) {
		duration_format(t->duration_us, text);
		buf_add_text(out, text);
	} else if (t->rate.window_us != 0) {
		rate_format(&t->rate, text);
		buf_add_text(out, text);
	} else {
		buf_printf(out, "%u", t->count);
	}
}

static void
add_acts(struct buf *out, const struct reaction *r)
{
	const struct { bool does; const char *word; } acts[] = {
		{ r->suspend, "suspend" }, { r->defer, "defer" }, { r->bounce == REACTION_BOUNCE_RCPT, "bounce recipient" },
		{ r->bounce == REACTION_BOUNCE_QUEUE, "bounce queue" }, { r->disable_source, "disable_source" },
		{ r->skip_mx, "skip_mx" }, { r->close, "close" }, { r->notify, "notify" }, { r->stop, "stop" },
		{ r->function != 0, "a function" },
	};

	for (unsigned i = 0; i < countof(acts); i++)
		if (acts[i].does)
			buf_printf(out, ", %s", acts[i].word);
	if (r->reroute != NULL)
		buf_printf(out, ", reroute %s", r->reroute);
}

static void
add_times(struct buf *out, const struct reaction *r)
{
	static const char *const scopes[] = { [REACTION_SITE] = "site", [REACTION_VMTA] = "vmta", [REACTION_RCPT] = "recipient" };
	char text[32];

	if (r->after_n > 0) {
		duration_format(r->after_window_us, text);
		buf_printf(out, ", after %u/%s", r->after_n, text);
	}
	if (r->lasts_us != 0) {
		duration_format(r->lasts_us, text);
		buf_printf(out, ", lasts %s", r->lasts_us == DURATION_NEVER ? "forever" : text);
	}
	if (r->recover_every_us != 0) {
		duration_format(r->recover_every_us, text);
		if (r->recover_step > 0)
			buf_printf(out, ", recover +%u/%s", r->recover_step, text);
		else
			buf_printf(out, ", recover %g%%/%s", r->recover_percent, text);
	}
	for (unsigned stage = 0; stage <= SMTP_STAGE_FINAL; stage++)
		if (r->stages & 1u << stage)
			buf_printf(out, ", at %s", smtp_stage_name(stage));
	if (r->scope != REACTION_QUEUE)
		buf_printf(out, ", scope %s", scopes[r->scope]);
}

const char *
reaction_text(struct arena *arena, const struct reaction *reaction)
{
	struct buf does;
	const char *text;

	buf_init(&does, 0);
	for (unsigned i = 0; i < reaction->tightenings_n; i++)
		add_tightening(&does, &reaction->tightenings[i]);
	add_acts(&does, reaction);
	add_times(&does, reaction);
	text = arena_printf(arena, "%s (%s:%d): %s", reaction->name, reaction->where.file, reaction->where.line,
			    buf_len(&does) > 2 ? buf_text(&does) + 2 : "nothing");
	buf_fini(&does);
	return text;
}

static bool
same_text(const char *a, const char *b)
{
	return !a || !b ? a == b : strcmp(a, b) == 0;
}

static bool
same_tightening(const struct tightening *a, const struct tightening *b)
{
	bool same = a->setting == b->setting && a->is_percent == b->is_percent && a->percent == b->percent && a->floor == b->floor &&
		    a->count == b->count && a->duration_us == b->duration_us && a->durations.n == b->durations.n &&
		    a->rate.count == b->rate.count && a->rate.burst == b->rate.burst && a->rate.window_us == b->rate.window_us;

	for (unsigned i = 0; same && i < a->durations.n; i++)
		same = a->durations.us[i] == b->durations.us[i];
	return same;
}

/* A function is taken for the same: what it does is no data. */
bool
reaction_same(const struct reaction *a, const struct reaction *b)
{
	bool same = same_text(a->name, b->name) && same_text(a->pattern, b->pattern) && a->stages == b->stages && a->after_n == b->after_n &&
		    a->after_window_us == b->after_window_us && a->lasts_us == b->lasts_us && a->tightenings_n == b->tightenings_n &&
		    a->recover_step == b->recover_step && a->recover_percent == b->recover_percent &&
		    a->recover_every_us == b->recover_every_us && a->suspend == b->suspend && a->defer == b->defer &&
		    a->skip_mx == b->skip_mx && a->close == b->close && a->notify == b->notify && a->stop == b->stop &&
		    a->disable_source == b->disable_source && a->bounce == b->bounce && a->scope == b->scope &&
		    same_text(a->reroute, b->reroute) && (a->function != 0) == (b->function != 0);

	for (unsigned i = 0; same && i < a->tightenings_n; i++)
		same = same_tightening(&a->tightenings[i], &b->tightenings[i]);
	return same;
}

/* At the same place of the list: order matters where rules stop. */
static bool
has_it(const struct reaction_list *other, unsigned at, const struct reaction *reaction)
{
	return at < reaction_list_n(other) && reaction_same(reaction_list_at(other, at), reaction);
}

const char *
reaction_list_text(struct arena *arena, const struct reaction_list *list, const struct reaction_list *other)
{
	unsigned n = reaction_list_n(list), told = 0, differ = 0;
	struct buf all;
	const char *text;

	if (n == 0)
		return NULL;
	buf_init(&all, 0);
	for (unsigned i = 0; i < n; i++) {
		if (has_it(other, i, reaction_list_at(list, i)) || ++differ > REACTION_TEXTS_MAX)
			continue;
		buf_printf(&all, "%s%s", told++ > 0 ? "; " : "", reaction_text(arena, reaction_list_at(list, i)));
	}
	if (differ > REACTION_TEXTS_MAX)
		buf_printf(&all, "; and %u more", differ - REACTION_TEXTS_MAX);
	if (differ == 0)
		buf_printf(&all, "%u rule%s", n, n == 1 ? "" : "s");
	text = arena_strdup(arena, buf_text(&all));
	buf_fini(&all);
	return text;
}
