/*
 * queue - one queue's turn: due recipients become ready, open sessions get
 * messages, new sessions start.
 *
 * queue_poll() is called after everything that may change the answer, and is
 * idempotent. It looks for, in this order:
 *   1. recipients whose retry time has come
 *   2. an open session that waits, and mail in its lane: gate_message()
 *   3. mail that no session is on its way for: gate_session()
 * What is closed for a known time is asked again by the queue's timer; what is
 * closed by a shared limit stands in that scope's line.
 *
 * While the last thing heard of a site was a failure, one session at a time
 * probes it: twenty sessions that find a dead host would be twenty failures.
 *
 * What overlays change is in force at once; sessions that are too many by it end
 * when they are next looked at, idle ones here and busy ones at their message's end.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/queue_own.h"
#include "queue/warmup.h"

/* ---- choosing a recipient ---- */

/* The head of the lane that still belongs there; others are placed anew on the way. */
static struct rcpt *
pick(struct lane *lane, struct now now)
{
	struct rcpt *rcpt;

	while ((rcpt = lane_next(lane)) != NULL) {
		struct route *route = rcpt->route;
		bool stays;

		if (route->expires <= now.mono && route->state == ROUTE_READY)
			route_refresh(route, now);
		if (lane_next(lane) != rcpt)
			continue;       /* the refresh was answered at once and has moved it; it may be another shard's now */
		stays = !route_moved(rcpt, lane) && !rcpt_expired(rcpt, now.mono) && !rcpt_is_astray(rcpt, now);
		if (lane_next(lane) != rcpt)
			continue;
		if (stays)
			return rcpt;
		rcpt_unlink(rcpt);
		rcpt_moved(rcpt, now);
	}
	return NULL;
}

static bool
goes_along(const struct rcpt *rcpt, const struct stream *stream, mono_us_t now)
{
	return !route_moved(rcpt, stream->lane) && !rcpt_expired(rcpt, now);
}

/* Recipients of the same message that may go in the same transaction. The first to be ready
 * need not be the first of the message, nor do they stand together: they come from several shards, and back
 * from retries. All stand in one stream; so we look through that or through the message, whichever has fewer:
 * one to each of thousands of sites would be looked through for each. */
static unsigned
gather(struct rcpt *first, struct rcpt **rcpts, unsigned max, mono_us_t now)
{
	struct message *message = first->message;
	struct stream *stream = first->stream;
	unsigned n = 1;

	rcpts[0] = first;
	if (stream->ready_n < message->spool.rcpts_n) {
		list_each (pos, &stream->ready) {
			struct rcpt *other = list_entry(pos, struct rcpt, node);

			if (n == max)
				break;
			if (other != first && other->message == message && goes_along(other, stream, now))
				rcpts[n++] = other;
		}
		return n;
	}
	for (unsigned i = 1; i < message->spool.rcpts_n && n < max; i++) {
		struct rcpt *other = &message->rcpts[(first->index + i) % message->spool.rcpts_n];

		if (rcpt_is_of(other, stream->lane->queue->queues->o.me) && other->state == RCPT_READY && other->stream == stream &&
		    goes_along(other, stream, now))
			rcpts[n++] = other;
	}
	return n;
}

#define BATCH_MAX 1000

static bool
send_one(struct queue *q, struct queue_slot *slot, struct now now)
{
	struct lane *lane = slot->lane;
	struct rcpt *rcpts[BATCH_MAX];
	struct rcpt *first = pick(lane, now);
	uint32_t max = queue_settings_now(q)->max_rcpt_per_message;
	uint32_t available = queue_messages_available(q, now.mono);
	uint32_t warmup = warmup_available(q, now);
	unsigned n;

	if (first == NULL || warmup == 0)
		return false;
	if (max > warmup)
		max = warmup;
	if (max > available)
		max = available;
	if (max > BATCH_MAX)
		max = BATCH_MAX;
	n = gather(first, rcpts, max, now.mono);
	if (!queue_take_messages(q, n, now.mono))
		return false;
	warmup_take(q, n, now);
	if (n == queue_settings_now(q)->max_rcpt_per_message)
		queue_used(q, SETTING_max_rcpt_per_message);
	lane_charge(first->stream, n);
	for (unsigned i = 0; i < n; i++) {
		rcpt_unlink(rcpts[i]);
		rcpt_enter(rcpts[i], q, RCPT_SENDING);
	}
	list_remove(&slot->node);
	lane_line_up(lane);
	slot->state = SLOT_BUSY;
	slot->waits_for_rate = false;
	slot->messages++;
	q->waiter.served = true;
	q->queues->o.ops.send(q->queues->o.ops.ctx, slot, rcpts, n);
	return true;
}

struct rcpt *
queue_first_ready(struct queue *q)
{
	struct lane *lane = lane_first(q, LANE_MAIL);

	return lane != NULL ? lane_next(lane) : NULL;
}

void
queue_lane_dead(struct lane *lane, const char *status, const char *text, struct now now)
{
	struct queue *q = lane->queue;
	struct rcpt *rcpt;

	bool was = queue_freeze(q);

	while ((rcpt = pick(lane, now)) != NULL) {
		rcpt_unlink(rcpt);
		rcpt_give_up(rcpt, q, status, text);
	}
	queue_thaw(q, was);             /* the session that found it ends now, which polls */
}

/* ---- the poll ---- */

static void
wait_for(struct queue *q, const struct gate_wait *wait, mono_us_t at, mono_us_t *wake_at)
{
	if (wait->scope > SCOPE_QUEUE && wait->scope < SCOPES_N)
		scope_wait(q->scopes[wait->scope], wait->line, &q->waiter, at);
	else if (at < *wake_at)
		*wake_at = at;
}

static void
make_due_ready(struct queue *q, struct now now)
{
	struct heap_node *node;

	while ((node = heap_min(&q->deferred)) != NULL && node->key <= now.mono) {
		struct rcpt *rcpt = container_of(node, struct rcpt, due);

		rcpt_unlink(rcpt);
		rcpt_moved(rcpt, now);
	}
}

static struct queue_slot *
idle_with_mail(struct queue *q)
{
	struct lane *lane = lane_first(q, LANE_FEEDS);

	return lane != NULL ? list_first(&lane->idle, struct queue_slot, node) : NULL;
}

/* Others stand behind us and we have had our turn: the rest of our mail stands behind them. */
static bool
turn_is_over(struct queue *q, enum scope_line line)
{
	if (!q->waiter.turn || !q->waiter.served)
		return false;
	for (int i = SCOPE_SITE; i < SCOPES_N; i++) {
		struct scope *scope = q->scopes[i];

		if (scope == NULL || !scope_others_first(scope, line, &q->waiter))
			continue;
		scope_wait(scope, line, &q->waiter, MONO_NEVER);
		return true;
	}
	return false;
}

static void
feed_sessions(struct queue *q, struct now now, mono_us_t *wake_at)
{
	struct queue_slot *slot;

	while ((slot = idle_with_mail(q)) != NULL) {
		struct gate_wait wait;
		mono_us_t at = gate_message(q, now.mono, &wait);

		if (at > now.mono) {
			wait_for(q, &wait, at, wake_at);
			if (!slot->waits_for_rate) {
				slot->waits_for_rate = true;
				q->queues->o.ops.idle(q->queues->o.ops.ctx, slot);
			}
			return;
		}
		if (turn_is_over(q, SCOPE_LINE_MESSAGES))
			return;
		if (!send_one(q, slot, now) && slot->lane->ready_n > 0) {
			*wake_at = min_i64(*wake_at, now.mono + US_PER_MS);     /* a token was taken by another thread */
			return;
		}
	}
}

static void
start_sessions(struct queue *q, struct now now, mono_us_t *wake_at)
{
	struct lane *lane;

	/* In a line and not let through: our turn will come, and asking again would change nothing. */
	if (q->waiter.scope != NULL)
		return;
	while ((lane = lane_that_wants(q)) != NULL) {
		struct gate_wait wait;
		mono_us_t at;
		struct rcpt *first;

		if (q->retry_step > 0 && q->slots_n > 0)
			return;                 /* a probe is on its way, or sessions that work */
		at = gate_session(q, now.mono, &wait);
		if (at > now.mono) {
			wait_for(q, &wait, at, wake_at);
			return;
		}
		if (turn_is_over(q, SCOPE_LINE_SESSIONS))
			return;
		if ((first = pick(lane, now)) == NULL)
			continue;
		/* Mail that pick() has sent to another queue may have taken the place: the gate is closed now, and has a line. */
		if (!queue_take_session(q, now.mono))
			continue;
		if (!queue_take_connect(q, now.mono)) {
			queue_give_back_session(q, now.mono);
			*wake_at = min_i64(*wake_at, now.mono + US_PER_MS);
			return;
		}
		q->waiter.served = true;
		struct queue_slot *slot = q->queues->o.ops.start(q->queues->o.ops.ctx, lane, first);
		list_init(&slot->node);
		list_init(&slot->in_queue);
		list_add_tail(&q->slots, &slot->in_queue);
		slot->lane = lane;
		slot->guest = NULL;
		slot->state = SLOT_CONNECTING;
		slot->started = now.mono;
		lane->sessions++;
		q->slots_n++;
		q->queues->sessions_n++;
		lane_count_connecting(lane, 1);
		lane_served(lane);
	}
}

/* Those that are too many; and of a lane whose mail others have taken meanwhile those that somebody waits for. */
static void
end_idle_sessions(struct queue *q, mono_us_t now)
{
	const struct queue_ops *ops = &q->queues->o.ops;

	list_each_safe(node, &q->lane_lines[LANE_IDLE]) {
		struct lane *lane = list_entry(node, struct lane, in_line[LANE_IDLE]);

		q->lanes_seen++;
		list_each_safe(idle, &lane->idle) {
			struct queue_slot *slot = list_entry(idle, struct queue_slot, node);

			if (slot->guest != NULL || queue_is_held(q, now) || queue_is_above_a_cap(q) || (lane->ready_n == 0 && queue_slot_gives_way(slot, true))) {
				queue_slot_closing(slot);
				ops->quit(ops->ctx, slot);
			} else if (lane->ready_n == 0 && slot->waits_for_rate) {
				slot->waits_for_rate = false;
				ops->idle(ops->ctx, slot);
			}
		}
	}
}

void
queue_poll_soon(struct queue *q, mono_us_t now)
{
	if (q->polling)
		q->again = true;
	else
		timer_start(&q->queues->o.loop->timers, &q->timer, now);
}

void
queue_poll(struct queue *q, struct now now)
{
	mono_us_t wake_at;

	if (q->polling || q->queues->stopping || q->queues->swapping) {
		q->again = true;
		return;
	}
	q->polling = true;
	travels_gather(q->queues);
	do {
		struct heap_node *due;

		q->again = false;
		wake_at = MONO_NEVER;
		if (q->recall)
			queue_recall(q, now);
		make_due_ready(q, now);
		if (queue_move_on(q, now) || queue_send_away(q, now))
			wake_at = now.mono;
		end_idle_sessions(q, now.mono);
		feed_sessions(q, now, &wake_at);
		start_sessions(q, now, &wake_at);
		if ((due = heap_min(&q->deferred)) != NULL)
			wake_at = min_i64(wake_at, due->key);
	} while (q->again);
	travels_post(q->queues);
	q->polling = false;
	if (wake_at == MONO_NEVER)
		timer_stop(&q->queues->o.loop->timers, &q->timer);
	else
		timer_start(&q->queues->o.loop->timers, &q->timer, wake_at);
	/* Lanes without mail or session, and the queue itself, may go. */
	lanes_free_empty(q);
	queue_maybe_reap(q);
}
