/*
 * queue_scopes - what a queue takes of its scopes, and gives back.
 *
 * A queue stands in up to five scopes, and a session or a message needs a place in
 * each. They are taken one after the other; where one refuses, what was taken before
 * is given back, so that nobody holds a part of what he cannot use. Another shard may
 * have found the last of it gone in between, and waits now: so it is told.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/queue_own.h"

/* Only a limiter that limits has a state worth saving. */
static bool
take_rate(struct queue *q, struct rate *rate, const struct rate_spec *spec, uint32_t n, mono_us_t now)
{
	if (rate_unlimited(spec))
		return true;
	q->queues->changed = true;
	return rate_take(rate, spec, n, now);
}

bool
queue_take_connect(struct queue *q, mono_us_t now)
{
	for (int i = 0; i < SCOPES_N; i++) {
		if (q->scopes[i] == NULL || take_rate(q, &q->scopes[i]->use->connects, &q->scopes[i]->limits.max_connect_rate, 1, now))
			continue;
		while (--i >= 0)
			if (q->scopes[i] != NULL) {
				rate_give(&q->scopes[i]->use->connects, &q->scopes[i]->limits.max_connect_rate, 1);
				scope_gave_back(q->scopes[i], now);
			}
		return false;
	}
	return true;
}

bool
queue_take_session(struct queue *q, mono_us_t now)
{
	for (int i = 0; i < SCOPES_N; i++) {
		if (q->scopes[i] == NULL || gauge_take(&q->scopes[i]->use->sessions, q->scopes[i]->limits.max_smtp_out))
			continue;
		while (--i >= 0)
			if (q->scopes[i] != NULL) {
				gauge_give(&q->scopes[i]->use->sessions);
				scope_gave_back(q->scopes[i], now);
			}
		return false;
	}
	return true;
}

void
queue_give_session(struct queue *q)
{
	for (int i = 0; i < SCOPES_N; i++)
		if (q->scopes[i] != NULL)
			gauge_give(&q->scopes[i]->use->sessions);
}

void
queue_give_back_session(struct queue *q, mono_us_t now)
{
	queue_give_session(q);
	for (int i = SCOPE_SITE; i < SCOPES_N; i++)
		if (q->scopes[i] != NULL)
			scope_gave_back(q->scopes[i], now);
}

uint32_t
queue_messages_available(const struct queue *q, mono_us_t now)
{
	uint32_t n = UINT32_MAX;

	for (int i = 0; i < SCOPES_N; i++) {
		uint32_t here;

		if (q->scopes[i] == NULL)
			continue;
		here = rate_available(&q->scopes[i]->use->messages, &q->scopes[i]->limits.max_msg_rate, now);
		if (here < n)
			n = here;
	}
	return n;
}

bool
queue_take_messages(struct queue *q, uint32_t n, mono_us_t now)
{
	for (int i = 0; i < SCOPES_N; i++) {
		if (q->scopes[i] == NULL || take_rate(q, &q->scopes[i]->use->messages, &q->scopes[i]->limits.max_msg_rate, n, now))
			continue;
		while (--i >= 0)
			if (q->scopes[i] != NULL) {
				rate_give(&q->scopes[i]->use->messages, &q->scopes[i]->limits.max_msg_rate, n);
				scope_gave_back(q->scopes[i], now);
			}
		return false;
	}
	return true;
}

void
lane_count_connecting(struct lane *lane, int delta)
{
	struct queue *q = lane->queue;

	lane->connecting = (uint32_t)((int64_t)lane->connecting + delta);
	q->connecting = (uint32_t)((int64_t)q->connecting + delta);
	for (int i = 0; i < SCOPES_N; i++) {
		if (q->scopes[i] == NULL)
			continue;
		atomic_fetch_add(&q->scopes[i]->use->connecting, (uint32_t)delta);
		if (delta > 0)
			atomic_store_explicit(&q->scopes[i]->use->connecting_at, loop_now(q->queues->o.loop).mono,
					      memory_order_relaxed);
	}
	lane_line_up(lane);
}

void
queue_count_closing(const struct queue *q, int delta)
{
	for (int i = 0; i < SCOPES_N; i++)
		if (q->scopes[i] != NULL)
			atomic_fetch_add(&q->scopes[i]->use->closing, (uint32_t)delta);
}

void
queue_wake_others(struct queue *q, struct now now)
{
	for (int i = SCOPE_SITE; i < SCOPES_N; i++)
		if (q->scopes[i] != NULL)
			scope_wake(q->scopes[i], now);
}
