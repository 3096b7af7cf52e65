/*
 * queue_slot - sessions' holds on a queue: what delivery tells us of each, and when
 * one gives its place to somebody else.
 *
 * A slot is counted in its lane, its queue and their scopes from its start until it
 * is closed, wherever it moves meanwhile. The queue's turn (queue.c) starts it and
 * hands it mail; every other change of its state, and of those counts, is here.
 *
 * A session that has had its share gives way at a message boundary when its
 * lane's hosts, or its queue's cap, are all that keeps somebody else waiting.
 *
 * What a failed session says holds for the queue: it waits, a step further in its list
 * each time; with a delivery the list begins anew.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/queue_own.h"

#define SHARE_MESSAGES 20               /* then others may have the session's place */
#define SHARE_US       (30 * US_PER_S)

/* ---- when it has to end ---- */

/* Above a cap, with those left out that are ending already. One that has ended goes from the count of all first: so
 * who reads that one last never sees it among those that stay. */
static bool
is_above_its_cap(const struct scope *scope)
{
	uint32_t closing = atomic_load(&scope->use->closing), in_use = gauge_in_use(&scope->use->sessions);

	return in_use > closing && in_use - closing > scope->limits.max_smtp_out;
}

bool
queue_is_above_a_cap(const struct queue *q)
{
	for (int i = 0; i < SCOPES_N; i++)
		if (q->scopes[i] != NULL && is_above_its_cap(q->scopes[i]))
			return true;
	return false;
}

/* Nothing of this queue should be open. */
bool
queue_is_held(const struct queue *q, mono_us_t now)
{
	return q->queues->stopping || q->settings->paused || q->paused_by_hand || q->hold.suspended_until > now ||
	       q->hold.sources_until > now || (q->deferred_by_rule && q->retry_until > now);
}

static bool
had_share(const struct queue_slot *slot, mono_us_t now)
{
	return slot->messages >= SHARE_MESSAGES || now - slot->started > SHARE_US;
}

/* Above a cap (it was lowered), or others wait for what this session holds: then its queue, if it
 * stands in their line too, stands behind them, or it would take the place back itself. */
bool
queue_slot_gives_way(const struct queue_slot *slot, bool shared_enough)
{
	struct queue *q = slot->lane->queue;

	if (queue_is_above_a_cap(q))
		return true;
	for (int i = 0; i < SCOPES_N; i++) {
		const struct scope *scope = q->scopes[i];
		uint32_t in_use;

		if (scope == NULL)
			continue;
		in_use = gauge_in_use(&scope->use->sessions);
		if (!shared_enough || in_use < scope->limits.max_smtp_out)
			continue;
		if (i != SCOPE_QUEUE && scope_others_wait(scope, SCOPE_LINE_SESSIONS, &q->waiter)) {
			if (q->waiter.scope == scope)
				scope_leave(&q->waiter);        /* asks again when the session has ended */
			return true;
		}
		if (lane_first(q, LANE_UNSERVED) != NULL)
			return true;
	}
	return false;
}

bool
queue_slot_unwanted(const struct queue_slot *slot, mono_us_t now)
{
	return slot->guest != NULL || queue_is_held(slot->lane->queue, now) || queue_is_above_a_cap(slot->lane->queue);
}

/* ---- its life ---- */

void
queue_slot_ready(struct queue_slot *slot, struct now now)
{
	struct lane *lane = slot->lane;
	struct queue *q = lane->queue;
	const struct queue_ops *ops = &q->queues->o.ops;
	bool was_connecting;

	check(slot->state == SLOT_CONNECTING || slot->state == SLOT_BUSY);
	was_connecting = slot->state == SLOT_CONNECTING;
	if (was_connecting)
		lane_count_connecting(lane, -1);
	slot->state = SLOT_IDLE;
	list_add_head(&lane->idle, &slot->node);
	lane_line_up(lane);
	if (slot->messages >= queue_settings_now(q)->max_msg_per_connection)
		queue_used(q, SETTING_max_msg_per_connection);
	if (slot->guest != NULL || queue_is_held(q, now.mono) || slot->messages >= queue_settings_now(q)->max_msg_per_connection ||
	    queue_slot_gives_way(slot, had_share(slot, now.mono))) {
		queue_slot_closing(slot);
		ops->quit(ops->ctx, slot);
		return;
	}
	queue_poll(q, now);
	if (slot->state == SLOT_IDLE && !slot->waits_for_rate) {
		/* Without mail it has no claim to a place that somebody else waits for. */
		if (queue_slot_gives_way(slot, true)) {
			queue_slot_closing(slot);
			ops->quit(ops->ctx, slot);
		} else {
			ops->idle(ops->ctx, slot);
		}
	}
	if (was_connecting)
		queue_wake_others(q, now);
}

void
queue_slot_seeks_again(struct queue_slot *slot)
{
	if (slot->state == SLOT_BUSY)
		lane_count_connecting(slot->lane, 1);
	check(slot->state == SLOT_BUSY || slot->state == SLOT_CONNECTING);
	slot->state = SLOT_CONNECTING;
}

unsigned
queue_slot_pay(struct queue_slot *slot, unsigned n, mono_us_t now, mono_us_t *at_out)
{
	struct queue *q = slot->lane->queue;
	uint32_t available = queue_messages_available(q, now);

	*at_out = now;
	for (int i = 0; i < SCOPES_N; i++)
		if (q->scopes[i] != NULL)
			*at_out = max_i64(*at_out, rate_ready_at(&q->scopes[i]->use->messages, &q->scopes[i]->limits.max_msg_rate, now));
	n = n < available ? n : available;
	if (n == 0 || !queue_take_messages(q, n, now))
		return 0;
	if (slot->state == SLOT_CONNECTING)
		lane_count_connecting(slot->lane, -1);
	slot->state = SLOT_BUSY;
	slot->messages++;
	return n;
}

void
queue_slot_closing(struct queue_slot *slot)
{
	if (slot->state == SLOT_IDLE) {
		list_remove(&slot->node);
		lane_line_up(slot->lane);
	} else if (slot->state == SLOT_CONNECTING) {
		lane_count_connecting(slot->lane, -1);
	}
	if (slot->state != SLOT_CLOSING)
		queue_count_closing(slot->lane->queue, 1);
	slot->state = SLOT_CLOSING;
}

bool
queue_slot_connect(struct queue_slot *slot, mono_us_t now, mono_us_t *at_out)
{
	struct queue *q = slot->lane->queue;

	*at_out = now;
	for (int i = 0; i < SCOPES_N; i++)
		if (q->scopes[i] != NULL)
			*at_out = max_i64(*at_out, rate_ready_at(&q->scopes[i]->use->connects,
								 &q->scopes[i]->limits.max_connect_rate, now));
	if (*at_out > now)
		return false;
	if (queue_take_connect(q, now))
		return true;
	*at_out = now + US_PER_MS;
	return false;
}

/* An event that comes later than it was paid for, by less than what the rate puts between two, is still within the
 * rate's bound (limit/rate.c): its virtual instant lies at most the depth less one interval behind the payment. */
bool
queue_slot_payment_lapsed(const struct queue_slot *slot, mono_us_t paid_at, mono_us_t now)
{
	const struct queue *q = slot->lane->queue;

	for (int i = 0; i < SCOPES_N; i++) {
		const struct rate_spec *spec = q->scopes[i] != NULL ? &q->scopes[i]->limits.max_connect_rate : NULL;

		if (spec != NULL && !rate_unlimited(spec) && now - paid_at >= spec->window_us / spec->count)
			return true;
	}
	return false;
}

void
queue_slot_closed(struct queue_slot *slot, struct now now)
{
	struct lane *lane = slot->lane;
	struct queue *q = lane->queue;

	queue_slot_closing(slot);
	slot->lane = NULL;
	list_remove(&slot->in_queue);
	check(lane->sessions > 0);
	lane->sessions--;
	lane_line_up(lane);
	lane_served(lane);
	check(q->slots_n > 0);
	q->slots_n--;
	q->queues->sessions_n--;
	queue_give_session(q);
	queue_count_closing(q, -1);
	queue_slot_visit_ends(q->queues, slot);
	queue_wake_others(q, now);
	queue_poll(q, now);
}

/* What it has of its queue's counts, there or gone. */
static void
slot_count(struct queue_slot *slot, int delta)
{
	struct lane *lane = slot->lane;

	if (slot->state == SLOT_CONNECTING)
		lane_count_connecting(lane, delta);
	if (slot->state == SLOT_CLOSING)
		queue_count_closing(lane->queue, delta);
	lane->sessions = (uint32_t)((int64_t)lane->sessions + delta);
	lane->queue->slots_n = (uint32_t)((int64_t)lane->queue->slots_n + delta);
	lane_line_up(lane);
}

void
queue_slot_move(struct queue_slot *slot, struct queue *to)
{
	struct lane *from = slot->lane;

	slot_count(slot, -1);
	queue_give_session(from->queue);
	list_remove(&slot->in_queue);
	if (slot->state == SLOT_IDLE)
		list_remove(&slot->node);
	lane_line_up(from);
	slot->lane = lane_get(to, from->hosts);
	list_add_tail(&to->slots, &slot->in_queue);
	if (slot->state == SLOT_IDLE)
		list_add_head(&slot->lane->idle, &slot->node);
	/* Above a cap it ends at its next message boundary. */
	for (int i = 0; i < SCOPES_N; i++)
		if (to->scopes[i] != NULL)
			gauge_take(&to->scopes[i]->use->sessions, GAUGE_UNLIMITED);
	slot_count(slot, 1);
	wheel_remove(&to->reap);
	queue_maybe_reap(from->queue);
}

/* ---- the queue's wait ---- */

void
queue_error(struct queue *q, const char *text)
{
	if (q->last_error != NULL && strcmp(q->last_error, text) == 0)
		return;
	free(q->last_error);
	q->last_error = mem_strdup(text);
}

static void
enter_retry(struct queue *q, int64_t wait, struct now now)
{
	wait += (int64_t)((double)wait * queue_settings_now(q)->retry_jitter / 100 * prng_double(&q->queues->prng));
	queue_used(q, SETTING_retry_jitter);
	q->retry_set_at = now.mono;
	q->retry_until = now.mono + wait;
	q->deferred_by_rule = false;
	queues_changed(q->queues);
}

void
queue_slot_failed(struct queue_slot *slot, const struct smtp_reply *reply, bool dns, struct now now)
{
	struct queue *q = slot->lane->queue;
	const struct queue_settings *s = queue_settings_now(q);

	queue_error(q, reply->line);
	/* Sessions that were on their way when the first one failed say the same once more. */
	if (q->retry_until > now.mono || slot->started <= q->retry_set_at)
		return;
	queue_used(q, dns ? SETTING_retry_after_dns_error : SETTING_retry_after);
	enter_retry(q, dns ? s->retry_after_dns_error : duration_list_at(&s->retry_after, q->retry_step), now);
	if (!dns)
		q->retry_step++;
	q->queues->o.ops.queue_failed(q->queues->o.ops.ctx, q, reply);
}

void
queue_defer(struct queue *q, const struct smtp_reply *reply, struct now now)
{
	if (q->deferred_by_rule && q->retry_until > now.mono)
		return;
	queue_error(q, reply->line);
	queue_used(q, SETTING_retry_after);
	enter_retry(q, duration_list_at(&queue_settings_now(q)->retry_after, q->retry_step), now);
	q->retry_step++;
	q->deferred_by_rule = true;
	q->queues->o.ops.queue_failed(q->queues->o.ops.ctx, q, reply);
	queue_poll_soon(q, now.mono);
}
