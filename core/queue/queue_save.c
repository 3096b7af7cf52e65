/*
 * queue_save - limits, retry steps, overlays and pauses across a restart.
 *
 * The bytes are a row of entries: kind, name, and what that kind keeps. What
 * was saved is looked up when its queue, site, virtual MTA or pool is there
 * again, so nothing is made only to hold it; what nobody has asked for is saved
 * on, for eight days.
 *
 * Each shard saves what is its own, the first one also what all have (pauses, what lies on virtual
 * MTAs and patterns). The parts stand one behind the other, the first one's first, each with its time; every shard
 * reads them all and takes what is its own now, for their number may be another one.
 *
 * A checkpoint is written only when something changed, so its age says nothing
 * of when the node crashed. After a crash, whatever could have been spent since
 * counts as spent: each limiter, known or not, begins as if it were used up now.
 * The same where the ruleset of this run is not the last one's: what a limiter
 * holds back now may have gone by another one until then. One that says another
 * amount, and nothing else, goes on with what is left.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/queue_own.h"
#include "queue/saved.h"
#include "queue/warmup.h"

#define SAVED_VERSION 3
#define KEY_MAX       700
#define UNCLAIMED_US  (INT64_C(8) * 86400 * US_PER_S)

static struct saved *
saved_take(struct queues *queues, const char *kind, const char *name)
{
	char key[KEY_MAX];

	snprintf(key, sizeof key, "%s %s", kind, name);
	return table_remove(&queues->saved, span_text(key));
}

static void
rate_take_up(const struct queues *queues, struct rate *rate, const struct rate_spec *spec, const struct saved_rate *saved,
	     struct now now)
{
	if (saved != NULL && saved->last != INT64_MIN) {
		/* What it was then is that much earlier seen from now. */
		rate_restore(rate, saved->last - (now.mono - queues->saved_at.mono), now.mono);
		/* The spec of then, and today's: if it is another one, that is a change like any other and
		 * hands out nothing fresh. */
		rate_adopt(rate, &saved->spec, now.mono);
		rate_adopt(rate, spec, now.mono);
	}
	if (queues->spent_at != 0)
		rate_spend_all(rate, spec, queues->spent_at);
}

void
scope_restore(struct queues *queues, const char *kind, const char *name, struct scope *scope, struct now now)
{
	struct saved *saved = saved_take(queues, kind, name);

	rate_take_up(queues, &scope->use->connects, &scope->limits.max_connect_rate, saved ? &saved->connects : NULL, now);
	rate_take_up(queues, &scope->use->messages, &scope->limits.max_msg_rate, saved ? &saved->messages : NULL, now);
	free(saved);
}

void
queue_restore(struct queue *queue, struct now now)
{
	struct queues *queues = queue->queues;
	struct saved *saved;
	char key[KEY_MAX];

	snprintf(key, sizeof key, "queue %s", queue->name);
	saved = table_get(&queues->saved, span_text(key));
	if (saved != NULL) {
		queue->retry_step = saved->retry_step;
		if (saved->retry_left_us > 0)
			queue->retry_until = queues->saved_at.mono + saved->retry_left_us;
		if (saved->last_error.n > 0)
			queue_error(queue, saved->last_error.p);
	}
	scope_restore(queues, "queue", queue->name, &queue->scope, now);
}

static struct saved_rate
rate_saved(const struct rate *rate, mono_us_t now)
{
	return (struct saved_rate){ rate_save(rate, now), { rate->count, rate->burst, rate->window_us } };
}

static void
put(struct buf *out, const struct saved *saved)
{
	buf_put_u8(out, SAVED_SCOPE);
	saved_put(out, saved);
}

/* `key` has room for any. The texts are borrowed. */
static struct saved
saved_of(const char *kind, const char *name, const struct scope *scope, const struct queue *queue, mono_us_t now, char key[KEY_MAX])
{
	struct saved saved = {
		.connects = rate_saved(&scope->use->connects, now), .messages = rate_saved(&scope->use->messages, now),
		.last_error = span_text(queue && queue->last_error ? queue->last_error : ""),
	};
	size_t n;

	n = span_put(span_text(kind), key, KEY_MAX);
	n += span_put(SPAN(" "), key + n, KEY_MAX - n);
	n += span_put(span_text(name), key + n, KEY_MAX - n);
	saved.key = span_make(key, n);
	if (queue != NULL) {
		saved.retry_step = queue->retry_step;
		saved.retry_left_us = max_i64(0, queue->retry_until - now);
	}
	return saved;
}

static void
put_scope(struct buf *out, const char *kind, const char *name, const struct scope *scope, const struct queue *queue,
	  mono_us_t now)
{
	char key[KEY_MAX];
	struct saved saved = saved_of(kind, name, scope, queue, now, key);

	put(out, &saved);
}

/* Entries are seen from when the last run saved; where there was none, from the first of ours. */
static void
remember(struct queues *queues, const struct saved *now_is, struct now now)
{
	struct saved aged;

	if (queues->saved_at.wall.ms == 0)
		queues->saved_at = now;
	aged = saved_aged(now_is, queues->saved_at.mono - now.mono);
	saved_keep(&queues->saved, &aged);
}

void
scope_remember(struct queues *queues, const char *kind, const char *name, const struct scope *scope, struct now now)
{
	char key[KEY_MAX];
	struct saved saved = saved_of(kind, name, scope, NULL, now.mono, key);

	remember(queues, &saved, now);
}

void
queue_remember(const struct queue *queue, struct now now)
{
	char key[KEY_MAX];
	struct saved saved = saved_of("queue", queue->name, &queue->scope, queue, now.mono, key);

	remember(queue->queues, &saved, now);
	if (queue->site->queues_n == 1)
		scope_remember(queue->queues, "site", queue->site->name, &queue->site->scope, now);
}

/* What the last run saved and this one has not asked for. */
static void
put_unclaimed(struct queues *queues, struct buf *out, mono_us_t now)
{
	int64_t since = now - queues->saved_at.mono;
	const struct saved *saved;
	uint32_t pos = 0;

	if (since > UNCLAIMED_US)
		return;
	while ((saved = table_next(&queues->saved, &pos)) != NULL) {
		struct saved aged = saved_aged(saved, since);

		put(out, &aged);
	}
}

static bool
worth_saving(const struct scope *scope)
{
	return !rate_unlimited(&scope->limits.max_connect_rate) || !rate_unlimited(&scope->limits.max_msg_rate);
}

void
scope_save(struct buf *out, const char *kind, const char *name, const struct scope *scope, mono_us_t now)
{
	if (worth_saving(scope))
		put_scope(out, kind, name, scope, NULL, now);
}

void
queues_save(struct queues *queues, struct now now, struct buf *out)
{
	bool is_first = queues->o.me == 0;
	struct queue *queue;
	struct site *site;
	uint32_t pos = 0;

	queues->changed = false;
	buf_put_u8(out, is_first ? SAVED_VERSION : SAVED_PART);
	buf_put_u64(out, (uint64_t)now.wall.ms);
	if (is_first) {
		buf_put_u8(out, SAVED_DIGEST);
		buf_put_u64(out, queues->digest);
	}
	if (queues->spent_at != 0) {
		buf_put_u8(out, SAVED_SPENT);
		buf_put_u64(out, (uint64_t)(now.mono - queues->spent_at));
	}
	while ((queue = table_next(&queues->queues, &pos)) != NULL)
		if (worth_saving(&queue->scope) || queue->retry_step > 0 || queue->retry_until > now.mono)
			put_scope(out, "queue", queue->name, &queue->scope, queue, now.mono);
	pos = 0;
	while ((site = table_next(&queues->sites, &pos)) != NULL)
		scope_save(out, "site", site->name, &site->scope, now.mono);
	queues_scopes_save(queues, now, out);
	put_unclaimed(queues, out, now.mono);
	if (is_first)
		queues_pauses_save(queues, now.mono, out);
	overlays_save(&queues->overlays, SAVED_OVERLAY, !is_first, now, out);
	recent_save(&queues->recent, SAVED_RECENT, now, out);
	warmups_save(queues, SAVED_WARMUP, out);
}

/* Of the node, a virtual MTA or a pool: all shards have it. */
static bool
is_declared(struct span key)
{
	return span_starts(key, SPAN("vmta ")) || span_starts(key, SPAN("pool ")) || span_starts(key, SPAN("node "));
}

/* ---- back ---- */

/* A part that is read. */
struct part {
	struct queues *queues;
	bool       clean;
	bool       same_ruleset;        /* as far as limiters go */
	struct now since;               /* now, but not before it was saved: a clock that was set back prolongs nothing */
	mono_us_t  saved_at;
};

static void
part_begins(struct part *part, uint64_t wall_ms, struct now now)
{
	/* A clock that was set back must not put the checkpoint into the future. */
	part->saved_at = now.mono - (wall_ms < (uint64_t)now.wall.ms ? now.wall.ms - (int64_t)wall_ms : 0) * US_PER_MS;
	part->since = now;
	part->since.wall.ms = max_i64(now.wall.ms, (int64_t)wall_ms);
}

static bool
get_scope(const struct part *part, struct span *in)
{
	struct queues *queues = part->queues;
	struct saved saved;

	if (!saved_get(in, &saved))
		return false;
	if (is_declared(saved.key) && !queues_keep_scopes(queues))
		return true;
	saved = saved_aged(&saved, queues->saved_at.mono - part->saved_at);
	saved_keep(&queues->saved, &saved);
	return true;
}

static bool
get_job_pause(struct queues *queues, struct span *in, bool lifted, mono_us_t until)
{
	struct span pattern, job;
	char *name;

	if (!span_get_bytes(in, &pattern) || !span_get_bytes(in, &job))
		return false;
	name = mem_strndup(job.p, job.n);
	queues_pause_restore(queues, pattern, name, lifted, until);
	free(name);
	return true;
}

static bool
owns_site(const struct queues *queues, struct span site)
{
	return queues_owner(queues, site) == queues->o.me;
}

/* "site/vmta"; the latter has no '/'. */
static bool
owns_queue(const struct queues *queues, struct span name)
{
	size_t n = name.n;

	while (n > 0 && name.p[n - 1] != '/')
		n--;
	return owns_site(queues, span_first(name, n > 0 ? n - 1 : 0));
}

/* What is no site's is everybody's; so is what is damaged, for the reader to say so. */
static bool
is_ours(const struct queues *queues, uint8_t kind, struct span in)
{
	struct span one = in, name;
	uint8_t scope = OVERLAY_QUEUE;

	if ((kind == SAVED_OVERLAY || kind == SAVED_RECENT) && !span_get_bytes(&in, &one))
		return true;
	if (kind == SAVED_OVERLAY && !span_get_u8(&one, &scope))
		return true;
	if ((kind != SAVED_SCOPE && kind != SAVED_OVERLAY && kind != SAVED_RECENT && kind != SAVED_WARMUP) ||
	    !span_get_bytes(&one, &name))
		return true;
	if (kind == SAVED_SCOPE) {
		if (span_starts(name, SPAN("site ")))
			return owns_site(queues, span_from(name, 5));
		return !span_starts(name, SPAN("queue ")) || owns_queue(queues, span_from(name, 6));
	}
	if (scope == OVERLAY_SITE)
		return owns_site(queues, name);
	return scope != OVERLAY_QUEUE || owns_queue(queues, name);
}

static bool
pass_by(uint8_t kind, struct span *in)
{
	struct saved saved;
	struct span key;

	if (kind == SAVED_SCOPE)
		return saved_get(in, &saved);
	if (kind == SAVED_WARMUP)
		return warmups_load(NULL, in, false);
	return span_get_bytes(in, &key);
}

/* Another start hands out no more: who is first heard of now could have let go as much until then as before it. */
static bool
get_spent(const struct part *part, struct span *in)
{
	struct queues *queues = part->queues;
	uint64_t age;

	if (!span_get_u64(in, &age))
		return false;
	/* Before the machine was up is its first instant: the stricter side. */
	queues->spent_at = max_i64(queues->spent_at,
				   part->saved_at > 0 && age < (uint64_t)part->saved_at ? part->saved_at - (int64_t)age : 1);
	return true;
}

/* False: damaged. */
static bool
get_entry(struct part *part, uint8_t kind, struct span *in, struct now now)
{
	struct queues *queues = part->queues;
	struct span pattern;
	uint64_t value;

	if (!is_ours(queues, kind, *in))
		return pass_by(kind, in);
	switch (kind) {
	case SAVED_SCOPE:
		return get_scope(part, in);
	case SAVED_PAUSE:
	case SAVED_RESUME:
		if (!span_get_bytes(in, &pattern))
			return false;
		queues_pause_restore(queues, pattern, NULL, kind == SAVED_RESUME, MONO_NEVER);
		return true;
	case SAVED_JOB_PAUSE:
	case SAVED_JOB_RESUME:
		return get_job_pause(queues, in, kind == SAVED_JOB_RESUME, MONO_NEVER);
	case SAVED_JOB_SUSPEND:
		return span_get_u64(in, &value) && value <= INT64_MAX / 2 &&
		       get_job_pause(queues, in, false, part->saved_at + (int64_t)value);
	case SAVED_OVERLAY:
		return overlays_load(&queues->overlays, in, part->since);
	case SAVED_RECENT:
		return recent_load(&queues->recent, in, part->since);
	case SAVED_WARMUP:
		return warmups_load(queues, in, part->clean);
	case SAVED_SPENT:
		return get_spent(part, in);
	case SAVED_DIGEST:
		if (!span_get_u64(in, &value))
			return false;
		part->same_ruleset = value == queues->digest;
		return true;
	case SAVED_PART:
		if (!span_get_u64(in, &value))
			return false;
		part_begins(part, value, now);
		return true;
	default:
		return false;
	}
}

void
queues_load(struct queues *queues, struct span in, bool clean, struct now now)
{
	struct part part = { .queues = queues, .clean = clean };
	uint64_t wall_ms;
	uint8_t version, kind;

	if (!span_get_u8(&in, &version) || version != SAVED_VERSION || !span_get_u64(&in, &wall_ms)) {
		log_warning(queues->o.log, "the saved state of limits is damaged, or of another version: they begin as if they were used up");
		queues->spent_at = now.mono;
		return;
	}
	part_begins(&part, wall_ms, now);
	queues->spent_at = clean ? 0 : now.mono;
	queues->saved_at = (struct now){ part.saved_at, { (int64_t)wall_ms } };
	while (span_get_u8(&in, &kind)) {
		if (get_entry(&part, kind, &in, now))
			continue;
		log_warning(queues->o.log, "the saved state of limits is damaged; the rest of it is left out, and limits begin as if they were used up");
		queues->spent_at = now.mono;
		break;
	}
	if (!part.same_ruleset)
		queues->spent_at = now.mono;
	queues_overlays_start(queues, now);
	queues_scopes_restore(queues, now);
}

void
queues_saved_free(struct queues *queues)
{
	struct saved *saved;
	uint32_t pos = 0;

	while ((saved = table_next(&queues->saved, &pos)) != NULL) {
		table_remove(&queues->saved, saved->key);
		free(saved);
	}
}
