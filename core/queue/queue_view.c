/*
 * queue_view - what the operator sees of a queue: looked for when somebody asks,
 * so that nothing is kept for it while mail flows.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/queue_own.h"

static void
each_on(const struct list *head, void (*fn)(void *ctx, const struct rcpt *rcpt), void *ctx)
{
	list_each(node, head)
		fn(ctx, list_entry(node, struct rcpt, node));
}

void
queue_each(const struct queue *q, void (*fn)(void *ctx, const struct rcpt *rcpt), void *ctx)
{
	each_on(&q->sending, fn, ctx);
	for (uint32_t i = 0; i < q->deferred.n; i++)
		fn(ctx, container_of(q->deferred.slots[i].node, struct rcpt, due));
	list_each(node, &q->routes)
		each_on(&list_entry(node, struct route, in_queue)->waiting, fn, ctx);
	list_each(lane_node, &q->lanes) {
		const struct lane *lane = list_entry(lane_node, struct lane, in_queue);

		list_each(node, &lane->streams)
			each_on(&list_entry(node, struct stream, in_lane)->ready, fn, ctx);
		list_each(node, &lane->held)
			each_on(&list_entry(node, struct stream, in_lane)->ready, fn, ctx);
	}
}

static void
look_for_oldest(void *ctx, const struct rcpt *rcpt)
{
	mono_us_t *oldest = ctx;

	*oldest = min_i64(*oldest, rcpt->message->accepted);
}

mono_us_t
queue_oldest(const struct queue *q)
{
	mono_us_t oldest = MONO_NEVER;

	queue_each(q, look_for_oldest, &oldest);
	return oldest;
}

/* What keeps new sessions away, and not the mail from those that are open. */
static bool
holds_sessions_only(const struct queue *q, const struct gate_state *state)
{
	switch (state->gate) {
	case GATE_RETRY_AFTER:
		return !q->deferred_by_rule;
	case GATE_MAX_CONNECT_RATE:
	case GATE_TOTAL_MAX_CONNECT_RATE:
	case GATE_VMTA_MAX_CONNECT_RATE:
	case GATE_POOL_MAX_CONNECT_RATE:
	case GATE_SOURCE_DISABLED:
		return true;
	default:
		return state->kind == GATE_LIMIT_COUNT;
	}
}

/* Ready mail, and a session open for it. */
static mono_us_t
next_on_session(const struct queue *q, const struct gate_answer *answer, mono_us_t now)
{
	mono_us_t at = now;

	for (unsigned i = 0; i < answer->n; i++)
		if (!answer->all[i].open && !holds_sessions_only(q, &answer->all[i]))
			at = max_i64(at, answer->all[i].until);
	return at;
}

mono_us_t
queue_next_attempt(const struct queue *q, mono_us_t now)
{
	const struct heap_node *due = heap_min(&q->deferred);
	struct gate_answer answer;

	if (queue_n(q) == 0)
		return MONO_NEVER;
	gate_decide(q, now, &answer);
	if (answer.open || q->sending_n > 0)
		return now;
	if (q->ready_n == 0 && q->routing_n == 0 && due != NULL && answer.binding.until != MONO_NEVER)
		return max_i64(due->key, answer.binding.until);
	if (q->ready_n > 0 && q->slots_n > 0)
		return min_i64(answer.binding.until, next_on_session(q, &answer, now));
	return answer.binding.until;
}

const char *
queue_mode(const struct queue *q)
{
	if (q->settings->paused || q->paused_by_hand)
		return "paused";
	if (q->hold.suspended_until > loop_now(q->queues->o.loop).mono)
		return "suspended";
	return q->hold.overlays_n > 0 ? "backoff" : "normal";
}
