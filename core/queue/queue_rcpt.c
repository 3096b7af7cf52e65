/*
 * queue_rcpt - the recipients' book: who is counted where, until when, and how each ends
 * or waits.
 *
 * Every recipient enters a queue by rcpt_enter() and leaves it by rcpt_unlink(),
 * so the counts are right by construction. An end, and a wait after an attempt,
 * goes to the journal first: once out of the book the message may be gone. What the
 * journal was told is kept in one word (outcome, attempts, due time), which
 * the spool's compaction may read while another thread writes it; it is written
 * before the journal is, so that what is compacted is never older than the journal that goes.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/queue_own.h"

#define POSTPONE_US    (60 * US_PER_S)

/* rcpt->told, from the lowest bit: outcome, attempts, due time in ms (beyond: its greatest, in 2000 years). */
#define OUTCOME_BITS 2
#define ATTEMPTS_BITS 16
#define DUE_MAX_MS   ((INT64_C(1) << (64 - OUTCOME_BITS - ATTEMPTS_BITS)) - 1)

/* ---- in and out ---- */

bool
rcpt_expired(const struct rcpt *rcpt, mono_us_t now)
{
	return now - rcpt->message->accepted >= rcpt->route->settings->bounce_after;
}

/* One that is past its time and still here was postponed: looked at again when it is due. */
mono_us_t
rcpt_expiry_at(const struct rcpt *rcpt, mono_us_t now)
{
	mono_us_t at = rcpt->message->accepted + rcpt->route->settings->bounce_after;

	return at <= now && rcpt->due.key > now ? rcpt->due.key : at;
}

void
rcpt_arm_expiry(struct rcpt *rcpt, mono_us_t now)
{
	wheel_remove(&rcpt->expiry);
	wheel_add(&rcpt->queue->queues->expiry, &rcpt->expiry, rcpt_expiry_at(rcpt, now));
}

void
rcpt_enter(struct rcpt *rcpt, struct queue *queue, enum rcpt_state state)
{
	struct queues *queues = queue->queues;

	rcpt->queue = queue;
	rcpt->state = (uint8_t)state;
	switch (state) {
	case RCPT_ROUTING:  queue->routing_n++; break;
	case RCPT_READY:    queue->ready_n++; break;
	case RCPT_HELD:     queue->held_n++; break;
	case RCPT_DEFERRED: queue->deferred_n++; queues->deferred_n++; break;
	case RCPT_SENDING:
		queue->sending_n++;
		list_add_tail(&queue->sending, &rcpt->node);
		break;
	case RCPT_OVER:     check(state != RCPT_OVER);
	}
	wheel_remove(&queue->reap);
	if (state != RCPT_SENDING)
		wheel_add(&queues->expiry, &rcpt->expiry, rcpt_expiry_at(rcpt, loop_now(queues->o.loop).mono));
}

void
rcpt_unlink(struct rcpt *rcpt)
{
	struct queue *queue = rcpt->queue;

	switch ((enum rcpt_state)rcpt->state) {
	case RCPT_ROUTING:
		list_remove(&rcpt->node);
		queue->routing_n--;
		break;
	case RCPT_READY:
		lane_take(rcpt);
		queue->ready_n--;
		break;
	case RCPT_HELD:
		lane_take(rcpt);
		queue->held_n--;
		break;
	case RCPT_DEFERRED:
		heap_remove(&queue->deferred, &rcpt->due);
		queue->deferred_n--;
		queue->queues->deferred_n--;
		break;
	case RCPT_SENDING:
		list_remove(&rcpt->node);
		queue->sending_n--;
		break;
	case RCPT_OVER:
		check(rcpt->state != RCPT_OVER);
	}
	wheel_remove(&rcpt->expiry);
}

void
rcpt_moved(struct rcpt *rcpt, struct now now)
{
	struct queue *before = rcpt->queue, *to;

	rcpt_reroute(rcpt, now);
	to = rcpt->route->queue;
	route_place(rcpt, now);
	if (to != before && to != NULL)
		queue_poll(to, now);
}

void
rcpt_tell(struct rcpt *rcpt, const struct spool_rcpt_state *state)
{
	int64_t due_ms = min_i64(max_i64(state->due.ms, 0), DUE_MAX_MS);
	uint64_t told = (uint64_t)due_ms << ATTEMPTS_BITS | state->attempts;

	check(state->outcome < 1u << OUTCOME_BITS);
	atomic_store_explicit(&rcpt->told, told << OUTCOME_BITS | state->outcome, memory_order_relaxed);
}

struct spool_rcpt_state
rcpt_told(const struct rcpt *rcpt)
{
	uint64_t told = atomic_load_explicit(&rcpt->told, memory_order_relaxed);

	return (struct spool_rcpt_state){
		.outcome = told & ((1u << OUTCOME_BITS) - 1),
		.attempts = (uint16_t)(told >> OUTCOME_BITS),
		.due.ms = (int64_t)(told >> (OUTCOME_BITS + ATTEMPTS_BITS)),
	};
}

void
rcpt_journal(struct rcpt *rcpt, enum spool_outcome outcome, struct now now)
{
	struct queues *queues = rcpt->queue->queues;
	struct message *message = rcpt->message;
	struct spool_rcpt_state state = {
		.outcome = (uint8_t)outcome, .attempts = rcpt->attempts,
	};

	if (outcome == SPOOL_WAITING)
		state.due.ms = now.wall.ms + (rcpt->due.key - now.mono) / US_PER_MS;
	rcpt_tell(rcpt, &state);
	if (queues->o.spool != NULL)
		spool_settle(queues->o.spool, &message->spool, rcpt->index, &state);
}

/* ---- ends ---- */

void
rcpt_give_up(struct rcpt *rcpt, struct queue *queue, const char *status, const char *text)
{
	const struct queue_ops *ops = &queue->queues->o.ops;

	rcpt_enter(rcpt, queue, RCPT_SENDING);
	ops->give_up(ops->ctx, rcpt, status, text);
}

void
rcpt_expire(struct rcpt *rcpt, struct queue *queue)
{
	settings_used(queue->queues, rcpt->route->settings, SETTING_bounce_after);
	rcpt_give_up(rcpt, queue, "4.4.7", "delivery time expired");
}

void
rcpt_forget(struct rcpt *rcpt, mono_us_t now)
{
	struct queues *queues = rcpt->queue->queues;

	rcpt_unlink(rcpt);
	rcpt->state = RCPT_OVER;
	route_unuse(rcpt->route, now);
	if (rcpt->home != NULL)
		route_unuse(rcpt->home, now);
	rcpt->route = rcpt->home = NULL;
	check(queues->rcpts_n > 0);
	queues->rcpts_n--;
	message_unref(queues, rcpt->message);
}

void
queue_rcpt_over(struct rcpt *rcpt, enum spool_outcome outcome, struct now now)
{
	struct queue *queue = rcpt->queue;

	/* What an operator throws away says nothing of how fast the rest will go. */
	if (outcome != SPOOL_DROPPED)
		pace_add(&queue->over, 1, now.mono);
	rcpt_journal(rcpt, outcome, now);
	rcpt_forget(rcpt, now.mono);
	queue_maybe_reap(queue);
}

void
queue_rcpt_delivered(struct rcpt *rcpt, struct now now)
{
	if (rcpt->queue->retry_step > 0)
		rcpt->queue->queues->changed = true;
	rcpt->queue->retry_step = 0;
	queue_rcpt_over(rcpt, SPOOL_DELIVERED, now);
}

/* ---- waits ---- */

bool
queue_rcpt_last_attempt(const struct rcpt *rcpt)
{
	bool last = rcpt->attempts + 1u >= rcpt->route->settings->max_attempts;

	if (last)
		settings_used(rcpt->route->queues, rcpt->route->settings, SETTING_max_attempts);
	return last;
}

/* The floor under this recipient's next attempt: its domain's, the overlays', the rule's own. */
static int64_t
rcpt_wait(const struct rcpt *rcpt, const struct duration_list *floor, mono_us_t now)
{
	struct duration_list list = rcpt->route->settings->retry_recipients_after;
	int64_t wait;

	queue_tighten(rcpt->queue, SETTING_retry_recipients_after, &list, now);
	wait = duration_list_at(&list, rcpt->attempts);
	return floor != NULL && floor->n > 0 ? max_i64(wait, duration_list_at(floor, rcpt->attempts)) : wait;
}

void
queue_rcpt_defer(struct rcpt *rcpt, struct now now)
{
	queue_rcpt_defer_for(rcpt, NULL, false, now);
}

void
queue_rcpt_defer_for(struct rcpt *rcpt, const struct duration_list *floor, bool reroute, struct now now)
{
	struct queue *q = rcpt->queue;
	const struct queue_settings *s = rcpt->route->settings;
	int64_t wait = rcpt_wait(rcpt, floor, now.mono);

	if (rcpt->attempts < UINT16_MAX)
		rcpt->attempts++;
	if (rcpt->attempts >= s->max_attempts) {
		settings_used(q->queues, s, SETTING_max_attempts);
		q->queues->o.ops.give_up(q->queues->o.ops.ctx, rcpt, "4.4.7", "too many attempts");
		return;
	}
	settings_used(q->queues, s, SETTING_retry_recipients_after);
	queue_used(q, SETTING_retry_jitter);
	wait += (int64_t)((double)wait * queue_settings_now(q)->retry_jitter / 100 * prng_double(&q->queues->prng));
	/* Once: what is refused by the other virtual MTA as well waits its time. */
	rcpt->due.key = now.mono;
	if (!reroute || rcpt->home != NULL || !rcpt_is_astray(rcpt, now))
		rcpt->due.key = now.mono + wait;
	rcpt_journal(rcpt, SPOOL_WAITING, now);
	rcpt_unlink(rcpt);
	rcpt_moved(rcpt, now);
	queue_poll(q, now);
}

void
queue_rcpt_postpone(struct rcpt *rcpt, struct now now)
{
	struct queue *q = rcpt->queue;

	rcpt_unlink(rcpt);
	rcpt->due.key = now.mono + POSTPONE_US;
	rcpt_enter(rcpt, q, RCPT_DEFERRED);
	heap_add(&q->deferred, &rcpt->due, rcpt->due.key);
	queue_poll(q, now);
}
