/*
 * A count by the queue's name and the day; it outlives the empty queue and the
 * process. When the day's last recipient is on its way, an overlay sends the rest
 * by the overflow until the day ends: it is shown, saved and ended as any other,
 * and calls back what still waits elsewhere. It suspends the queue as well, for
 * mail that a reaction of the overflow's sends back must wait, not go.
 *
 * Recipients attempted are counted, as by a message rate: a receiver counts those
 * that it deferred too.
 *
 * A checkpoint says which counts were moving, and is asked for early when one
 * begins to: after a crash those are used up for the day, for nobody knows what
 * went out since. One that was still is exact.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/warmup.h"

#include "queue/queue_own.h"

struct warmup_count {
	char    *name;                  /* of the queue */
	int64_t  day;
	uint32_t used;                  /* USED_UP: nobody knows how many */
	bool     is_moving;             /* taken from since the last checkpoint */
};

#define USED_UP UINT32_MAX

static const struct ruleset_warmup *
warmup_of(const struct queue *q)
{
	const struct ruleset_warmup *warmup = q->vmta->warmup;

	return warmup != NULL && warmup_is_for(warmup, q->site->provider) ? warmup : NULL;
}

bool
warmup_state(const struct queue *q, wall_ms_t now, struct warmup_state *out)
{
	const struct ruleset_warmup *warmup = warmup_of(q);
	const struct warmup_count *count;

	if (warmup == NULL)
		return false;
	count = table_get(&q->queues->warmups, span_text(q->name));
	out->day = warmup_day(warmup, now);
	out->per_day = warmup_per_day(warmup, out->day);
	out->used = count != NULL && count->day == out->day ? count->used : 0;
	if (out->used == USED_UP)
		out->used = out->per_day;
	out->left = out->per_day > out->used ? out->per_day - out->used : 0;
	out->ends = warmup_day_ends(warmup, out->day);
	return true;
}

static struct warmup_count *
count_of(struct queues *queues, const char *name)
{
	struct warmup_count *count = table_get(&queues->warmups, span_text(name));

	if (count != NULL)
		return count;
	count = mem_alloc(sizeof *count);
	*count = (struct warmup_count){ .name = mem_strdup(name) };
	table_put(&queues->warmups, span_text(count->name), count);
	return count;
}

/* Over when the next day begins, not up to a millisecond later: wall time has no smaller parts. */
static int64_t
lasts(wall_ms_t ends, wall_ms_t now)
{
	return max_i64((ends.ms - now.ms) * US_PER_MS - (US_PER_MS - 1), US_PER_MS);
}

static void
overflow(struct queue *q, const struct warmup_state *state, struct now now)
{
	const struct ruleset_warmup *warmup = q->vmta->warmup;
	char text[160];
	struct overlay_spec spec = {
		.name = "warm-up", .reply = text, .where = warmup->where, .suspend = true, .reroute = warmup->overflow,
		.lasts_us = lasts(state->ends, now.wall),
	};

	if (state->day == 0)
		snprintf(text, sizeof text, "the warm-up has not begun: all goes by %.80s", warmup->overflow);
	else
		snprintf(text, sizeof text, "day %lld of the warm-up: %u went out, the rest goes by %.80s", (long long)state->day,
			 state->used, warmup->overflow);
	queue_lay(q, OVERLAY_QUEUE, &spec, now.mono, now);
}

uint32_t
warmup_available(struct queue *q, struct now now)
{
	struct warmup_state state;

	if (q->vmta->warmup == NULL || !warmup_state(q, now.wall, &state))
		return UINT32_MAX;
	if (state.left == 0)
		overflow(q, &state, now);
	return state.left;
}

void
warmup_take(struct queue *q, uint32_t n, struct now now)
{
	struct warmup_state state;
	struct warmup_count *count;

	if (q->vmta->warmup == NULL || !warmup_state(q, now.wall, &state))
		return;
	count = count_of(q->queues, q->name);
	count->day = state.day;
	count->used = state.used + n;
	q->queues->changed = true;
	if (!count->is_moving)
		queues_changed(q->queues);
	count->is_moving = true;
	(void)warmup_available(q, now);         /* lays the overlay if that was the last */
}

struct warmup_used
warmup_used(const struct queue *from)
{
	const struct warmup_count *count = table_get(&from->queues->warmups, span_text(from->name));

	return count != NULL ? (struct warmup_used){ count->day, count->used, count->is_moving } : (struct warmup_used){ 0 };
}

void
warmup_inherit(struct queue *heir, const struct warmup_used *left)
{
	struct warmup_count *count;

	if (left->day == 0 && left->used == 0)
		return;
	count = count_of(heir->queues, heir->name);
	if (left->day < count->day || (left->day == count->day && left->used < count->used))
		return;
	count->day = left->day;
	count->used = left->used;
	count->is_moving |= left->is_moving;
}

void
warmups_save(struct queues *queues, uint8_t kind, struct buf *out)
{
	struct warmup_count *count;
	uint32_t pos = 0;

	while ((count = table_next(&queues->warmups, &pos)) != NULL) {
		buf_put_u8(out, kind);
		buf_put_bytes(out, span_text(count->name));
		buf_put_u64(out, (uint64_t)count->day);
		buf_put_u32(out, count->used);
		buf_put_u8(out, count->is_moving);
		/* The next one says that it is still, if it is. */
		queues->changed |= count->is_moving;
		count->is_moving = false;
	}
}

bool
warmups_load(struct queues *queues, struct span *in, bool clean)
{
	struct warmup_count *count;
	struct span name;
	uint64_t day;
	uint32_t used;
	uint8_t moving;
	char *text;

	if (!span_get_bytes(in, &name) || !span_get_u64(in, &day) || !span_get_u32(in, &used) || !span_get_u8(in, &moving))
		return false;
	if (queues == NULL)
		return true;
	text = mem_strndup(name.p, name.n);
	count = count_of(queues, text);
	free(text);
	count->day = (int64_t)day;
	count->used = moving && !clean ? USED_UP : used;
	return true;
}

void
warmups_free(struct queues *queues)
{
	struct warmup_count *count;
	uint32_t pos = 0;

	while ((count = table_next(&queues->warmups, &pos)) != NULL) {
		table_remove(&queues->warmups, span_text(count->name));
		free(count->name);
		free(count);
	}
	table_fini(&queues->warmups);
}
