/*
 * queue - one queue's turn: due recipients become ready, open sessions get
 * messages, new sessions start; and what delivery tells us.
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
 *
 * A session that has had its share gives way at a message boundary when its
 * lane's hosts, or its queue's cap, are all that keeps somebody else waiting.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/queue_own.h"
#include "queue/warmup.h"

#define SHARE_MESSAGES 20               /* then others may have the session's place */
#define SHARE_US       (30 * US_PER_S)
#define POSTPONE_US    (60 * US_PER_S)

/* ---- taking and giving what scopes hold ---- */

/* Only a limiter that limits has a state worth saving. */
static bool
take_rate(struct queue *q, struct rate *rate, const struct rate_spec *spec, uint32_t n, mono_us_t now)
{
	if (rate_unlimited(spec))
		return true;
	q->queues->changed = true;
	return rate_take(rate, spec, n, now);
}

static bool
take_connect(struct queue *q, mono_us_t now)
{
	for (int i = 0; i < SCOPES_N; i++) {
		if (q->scopes[i] == NULL || take_rate(q, &q->scopes[i]->connects, &q->scopes[i]->limits.max_connect_rate, 1, now))
			continue;
		while (--i >= 0)
			if (q->scopes[i] != NULL)
				rate_give(&q->scopes[i]->connects, &q->scopes[i]->limits.max_connect_rate, 1);
		return false;
	}
	return true;
}

static bool
take_session(struct queue *q)
{
	for (int i = 0; i < SCOPES_N; i++) {
		if (q->scopes[i] == NULL || gauge_take(&q->scopes[i]->sessions, q->scopes[i]->limits.max_smtp_out))
			continue;
		while (--i >= 0)
			if (q->scopes[i] != NULL)
				gauge_give(&q->scopes[i]->sessions);
		return false;
	}
	return true;
}

static void
give_session(struct queue *q)
{
	for (int i = 0; i < SCOPES_N; i++)
		if (q->scopes[i] != NULL)
			gauge_give(&q->scopes[i]->sessions);
}

static uint32_t
messages_available(const struct queue *q, mono_us_t now)
{
	uint32_t n = UINT32_MAX;

	for (int i = 0; i < SCOPES_N; i++) {
		uint32_t here;

		if (q->scopes[i] == NULL)
			continue;
		here = rate_available(&q->scopes[i]->messages, &q->scopes[i]->limits.max_msg_rate, now);
		if (here < n)
			n = here;
	}
	return n;
}

static bool
take_messages(struct queue *q, uint32_t n, mono_us_t now)
{
	for (int i = 0; i < SCOPES_N; i++) {
		if (q->scopes[i] == NULL || take_rate(q, &q->scopes[i]->messages, &q->scopes[i]->limits.max_msg_rate, n, now))
			continue;
		while (--i >= 0)
			if (q->scopes[i] != NULL)
				rate_give(&q->scopes[i]->messages, &q->scopes[i]->limits.max_msg_rate, n);
		return false;
	}
	return true;
}

static void
count_connecting(struct lane *lane, int delta)
{
	struct queue *q = lane->queue;

	lane->connecting = (uint32_t)((int64_t)lane->connecting + delta);
	q->connecting = (uint32_t)((int64_t)q->connecting + delta);
	for (int i = 0; i < SCOPES_N; i++) {
		if (q->scopes[i] == NULL)
			continue;
		q->scopes[i]->connecting = (uint32_t)((int64_t)q->scopes[i]->connecting + delta);
		if (delta > 0)
			q->scopes[i]->connecting_at = loop_now(q->queues->o.loop).mono;
	}
	lane_line_up(lane);
}

static void
wake_others(struct queue *q, struct now now)
{
	for (int i = SCOPE_SITE; i < SCOPES_N; i++)
		if (q->scopes[i] != NULL)
			scope_wake(q->scopes[i], now);
}

static void
count_closing(const struct queue *q, int delta)
{
	for (int i = 0; i < SCOPES_N; i++)
		if (q->scopes[i] != NULL)
			q->scopes[i]->closing = (uint32_t)((int64_t)q->scopes[i]->closing + delta);
}

/* ---- choosing a recipient ---- */

/* The head of the lane that still belongs there; others are placed anew on the way. */
static struct rcpt *
pick(struct lane *lane, struct now now)
{
	struct rcpt *rcpt;

	while ((rcpt = lane_next(lane)) != NULL) {
		struct route *route = rcpt->route;

		if (route->expires <= now.mono && route->state == ROUTE_READY)
			route_refresh(route, now);
		if (!route_moved(rcpt, lane) && !rcpt_expired(rcpt, now.mono) && !rcpt_is_astray(rcpt, now))
			return rcpt;
		if (rcpt->state != RCPT_READY || rcpt->stream == NULL || rcpt->stream->lane != lane)
			continue;       /* the refresh was answered at once and has moved it */
		rcpt_unlink(rcpt);
		rcpt_moved(rcpt, now);
	}
	return NULL;
}

/* Recipients of the same message that may go in the same transaction. */
static unsigned
gather(struct lane *lane, struct rcpt *first, struct rcpt **rcpts, unsigned max, mono_us_t now)
{
	struct message *message = first->message;
	unsigned n = 1;

	rcpts[0] = first;
	for (unsigned i = first->index + 1u; i < message->spool.rcpts_n && n < max; i++) {
		struct rcpt *other = &message->rcpts[i];

		if (other->state == RCPT_READY && other->stream->lane == lane &&
		    !route_moved(other, lane) && !rcpt_expired(other, now))
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
	uint32_t available = messages_available(q, now.mono);
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
	n = gather(lane, first, rcpts, max, now.mono);
	if (!take_messages(q, n, now.mono))
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
		if (!take_session(q))
			continue;
		if (!take_connect(q, now.mono)) {
			give_session(q);
			*wake_at = min_i64(*wake_at, now.mono + US_PER_MS);
			return;
		}
		q->waiter.served = true;
		struct queue_slot *slot = q->queues->o.ops.start(q->queues->o.ops.ctx, lane, first);
		list_init(&slot->node);
		list_init(&slot->in_queue);
		list_add_tail(&q->slots, &slot->in_queue);
		slot->lane = lane;
		slot->state = SLOT_CONNECTING;
		slot->started = now.mono;
		lane->sessions++;
		q->slots_n++;
		q->queues->sessions_n++;
		count_connecting(lane, 1);
		lane_served(lane);
	}
}

/* Above a cap, with those left out that are ending already. */
static bool
is_above_a_cap(const struct queue *q)
{
	for (int i = 0; i < SCOPES_N; i++) {
		const struct scope *scope = q->scopes[i];

		if (scope != NULL && gauge_in_use(&scope->sessions) > scope->closing &&
		    gauge_in_use(&scope->sessions) - scope->closing > scope->limits.max_smtp_out)
			return true;
	}
	return false;
}

/* Nothing of this queue should be open. */
static bool
is_held(const struct queue *q, mono_us_t now)
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
static bool
give_way(const struct queue_slot *slot, bool shared_enough)
{
	struct queue *q = slot->lane->queue;

	if (is_above_a_cap(q))
		return true;
	for (int i = 0; i < SCOPES_N; i++) {
		const struct scope *scope = q->scopes[i];
		uint32_t in_use;

		if (scope == NULL)
			continue;
		in_use = gauge_in_use(&scope->sessions);
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

			if (is_held(q, now) || is_above_a_cap(q) || (lane->ready_n == 0 && give_way(slot, true))) {
				queue_slot_closing(slot);
				ops->quit(ops->ctx, slot);
			} else if (lane->ready_n == 0 && slot->waits_for_rate) {
				slot->waits_for_rate = false;
				ops->idle(ops->ctx, slot);
			}
		}
	}
}

bool
queue_slot_unwanted(const struct queue_slot *slot, mono_us_t now)
{
	return is_held(slot->lane->queue, now) || is_above_a_cap(slot->lane->queue);
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

	if (q->polling || q->queues->stopping) {
		q->again = true;
		return;
	}
	q->polling = true;
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
	q->polling = false;
	if (wake_at == MONO_NEVER)
		timer_stop(&q->queues->o.loop->timers, &q->timer);
	else
		timer_start(&q->queues->o.loop->timers, &q->timer, wake_at);
	/* Lanes without mail or session, and the queue itself, may go. */
	lanes_free_empty(q);
	queue_maybe_reap(q);
}

/* ---- sessions ---- */

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
		count_connecting(lane, -1);
	slot->state = SLOT_IDLE;
	list_add_head(&lane->idle, &slot->node);
	lane_line_up(lane);
	if (slot->messages >= queue_settings_now(q)->max_msg_per_connection)
		queue_used(q, SETTING_max_msg_per_connection);
	if (is_held(q, now.mono) || slot->messages >= queue_settings_now(q)->max_msg_per_connection ||
	    give_way(slot, had_share(slot, now.mono))) {
		queue_slot_closing(slot);
		ops->quit(ops->ctx, slot);
		return;
	}
	queue_poll(q, now);
	if (slot->state == SLOT_IDLE && !slot->waits_for_rate) {
		/* Without mail it has no claim to a place that somebody else waits for. */
		if (give_way(slot, true)) {
			queue_slot_closing(slot);
			ops->quit(ops->ctx, slot);
		} else {
			ops->idle(ops->ctx, slot);
		}
	}
	if (was_connecting)
		wake_others(q, now);
}

void
queue_slot_seeks_again(struct queue_slot *slot)
{
	if (slot->state == SLOT_BUSY)
		count_connecting(slot->lane, 1);
	check(slot->state == SLOT_BUSY || slot->state == SLOT_CONNECTING);
	slot->state = SLOT_CONNECTING;
}

unsigned
queue_slot_pay(struct queue_slot *slot, unsigned n, mono_us_t now, mono_us_t *at_out)
{
	struct queue *q = slot->lane->queue;
	uint32_t available = messages_available(q, now);

	*at_out = now;
	for (int i = 0; i < SCOPES_N; i++)
		if (q->scopes[i] != NULL)
			*at_out = max_i64(*at_out, rate_ready_at(&q->scopes[i]->messages, &q->scopes[i]->limits.max_msg_rate, now));
	n = n < available ? n : available;
	if (n == 0 || !take_messages(q, n, now))
		return 0;
	if (slot->state == SLOT_CONNECTING)
		count_connecting(slot->lane, -1);
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
		count_connecting(slot->lane, -1);
	}
	if (slot->state != SLOT_CLOSING)
		count_closing(slot->lane->queue, 1);
	slot->state = SLOT_CLOSING;
}

bool
queue_slot_connect(struct queue_slot *slot, mono_us_t now, mono_us_t *at_out)
{
	struct queue *q = slot->lane->queue;

	*at_out = now;
	for (int i = 0; i < SCOPES_N; i++)
		if (q->scopes[i] != NULL)
			*at_out = max_i64(*at_out, rate_ready_at(&q->scopes[i]->connects,
								 &q->scopes[i]->limits.max_connect_rate, now));
	if (*at_out > now)
		return false;
	if (take_connect(q, now))
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
	count_closing(q, -1);
	slot->lane = NULL;
	list_remove(&slot->in_queue);
	check(lane->sessions > 0);
	lane->sessions--;
	lane_line_up(lane);
	lane_served(lane);
	check(q->slots_n > 0);
	q->slots_n--;
	q->queues->sessions_n--;
	give_session(q);
	wake_others(q, now);
	queue_poll(q, now);
}

/* What it has of its queue's counts, there or gone. */
static void
slot_count(struct queue_slot *slot, int delta)
{
	struct lane *lane = slot->lane;

	if (slot->state == SLOT_CONNECTING)
		count_connecting(lane, delta);
	if (slot->state == SLOT_CLOSING)
		count_closing(lane->queue, delta);
	lane->sessions = (uint32_t)((int64_t)lane->sessions + delta);
	lane->queue->slots_n = (uint32_t)((int64_t)lane->queue->slots_n + delta);
	lane_line_up(lane);
}

void
queue_slot_move(struct queue_slot *slot, struct queue *to)
{
	struct lane *from = slot->lane;

	slot_count(slot, -1);
	give_session(from->queue);
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
			gauge_take(&to->scopes[i]->sessions, GAUGE_UNLIMITED);
	slot_count(slot, 1);
	wheel_remove(&to->reap);
	queue_maybe_reap(from->queue);
}

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

/* ---- recipients ---- */

void
rcpt_moved(struct rcpt *rcpt, struct now now)
{
	struct queue *before = rcpt->queue, *to;

	rcpt_reroute(rcpt, now);
	to = rcpt->route->queue;
	route_place(rcpt, now);
	if (to != before)
		queue_poll(to, now);
}

void
queue_rcpt_delivered(struct rcpt *rcpt, struct now now)
{
	if (rcpt->queue->retry_step > 0)
		rcpt->queue->queues->changed = true;
	rcpt->queue->retry_step = 0;
	queue_rcpt_over(rcpt, SPOOL_DELIVERED, now);
}

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
