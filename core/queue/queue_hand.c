/*
 * queue_hand - what an operator does to queues, by pattern.
 *
 * A pause holds for queues that come later too, so it is kept as its pattern;
 * a resume takes away the patterns it covers and frees the queues it matches.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/queue_own.h"

struct pause {
	struct list node;
	char        pattern[];
};

/* '*' stands for any run of characters, '/' included; nothing else is special. */
static bool
pattern_matches(struct span pattern, struct span name)
{
	while (pattern.n > 0) {
		if (pattern.p[0] == '*') {
			pattern = span_from(pattern, 1);
			for (size_t skip = 0; skip <= name.n; skip++)
				if (pattern_matches(pattern, span_from(name, skip)))
					return true;
			return false;
		}
		if (name.n == 0 || !span_eq_nocase(span_first(pattern, 1), span_first(name, 1)))
			return false;
		pattern = span_from(pattern, 1);
		name = span_from(name, 1);
	}
	return name.n == 0;
}

struct queue *
queues_find(struct queues *queues, struct span name)
{
	return table_get(&queues->queues, name);
}

unsigned
queues_match(struct queues *queues, struct span pattern, queue_visit_fn *fn, void *ctx)
{
	struct queue **found;
	struct queue *queue;
	uint32_t pos = 0;
	unsigned n = 0;

	/* Collected first: a visit may make queues, and a table that grows cannot be walked. */
	found = mem_alloc((queues->queues.n + 1) * sizeof *found);
	while ((queue = table_next(&queues->queues, &pos)) != NULL)
		if (pattern_matches(pattern, span_text(queue->name)))
			found[n++] = queue;
	for (unsigned i = 0; i < n; i++)
		fn(ctx, found[i]);
	free(found);
	return n;
}

/* Who is told that it is done may pull the plug. */
static void
save_now(struct queues *queues, struct now now)
{
	struct buf bytes;

	if (queues->o.spool == NULL)
		return;
	buf_init(&bytes, 0);
	queues_save(queues, now, &bytes);
	spool_state_save_now(queues->o.spool, buf_span(&bytes));
	buf_fini(&bytes);
}

static struct pause *
pause_add(struct queues *queues, struct span pattern)
{
	struct pause *pause = mem_alloc(sizeof *pause + pattern.n + 1);

	memcpy(pause->pattern, pattern.p, pattern.n);
	list_add_tail(&queues->pauses, &pause->node);
	return pause;
}

static void
pauses_remove(struct queues *queues, struct span pattern)
{
	list_each_safe(node, &queues->pauses) {
		struct pause *pause = list_entry(node, struct pause, node);

		if (!pattern_matches(pattern, span_text(pause->pattern)))
			continue;
		list_remove(&pause->node);
		free(pause);
	}
}

bool
queues_paused_by_hand(struct queues *queues, const char *name)
{
	list_each(node, &queues->pauses)
		if (pattern_matches(span_text(list_entry(node, struct pause, node)->pattern), span_text(name)))
			return true;
	return false;
}

void
queues_pauses_free(struct queues *queues)
{
	pauses_remove(queues, SPAN("*"));
}

void
queues_pauses_save(struct queues *queues, struct buf *out)
{
	list_each(node, &queues->pauses) {
		buf_put_u8(out, SAVED_PAUSE);
		buf_put_bytes(out, span_text(list_entry(node, struct pause, node)->pattern));
	}
}

void
queues_pause_restore(struct queues *queues, struct span pattern)
{
	pause_add(queues, pattern);
}

struct hand {
	struct now now;
	uint64_t   rcpts;
	bool       paused, recipients;
	const char *job;
	void     (*fn)(void *ctx, struct rcpt *rcpt);
	void      *ctx;
};

static void
quit_idle(struct queue *queue)
{
	const struct queue_ops *ops = &queue->queues->o.ops;

	list_each(lane_node, &queue->lanes) {
		struct lane *lane = list_entry(lane_node, struct lane, in_queue);

		while (!list_empty(&lane->idle)) {
			struct queue_slot *slot = list_first(&lane->idle, struct queue_slot, node);

			queue_slot_closing(slot);
			ops->quit(ops->ctx, slot);
		}
	}
}

static void
pause_one(void *ctx, struct queue *queue)
{
	struct hand *hand = ctx;

	hand->rcpts += queue_n(queue);
	queue->paused_by_hand = hand->paused;
	if (hand->paused)
		quit_idle(queue);
	queue_poll(queue, hand->now);
}

uint64_t
queues_pause(struct queues *queues, struct span pattern, bool paused, unsigned *queues_out, struct now now)
{
	struct hand hand = { .now = now, .paused = paused };

	pauses_remove(queues, pattern);
	if (paused)
		pause_add(queues, pattern);
	*queues_out = queues_match(queues, pattern, pause_one, &hand);
	save_now(queues, now);
	return hand.rcpts;
}

static bool
of_job(const struct rcpt *rcpt, const char *job)
{
	return job == NULL || strcmp(rcpt->message->job->name, job) == 0;
}

/* The queue's waiting recipients of the job, before anything is done to them. */
static struct rcpt **
collect(struct queue *queue, const char *job, bool deferred_only, size_t *n_out)
{
	struct rcpt **found = mem_alloc((queue_n(queue) + 1) * sizeof *found);
	size_t n = 0;

	for (uint32_t i = 0; i < queue->deferred.n; i++) {
		struct rcpt *rcpt = container_of(queue->deferred.slots[i], struct rcpt, due);

		if (of_job(rcpt, job))
			found[n++] = rcpt;
	}
	if (!deferred_only) {
		list_each(route_node, &queue->routes)
			list_each(node, &list_entry(route_node, struct route, in_queue)->waiting)
				if (of_job(list_entry(node, struct rcpt, node), job))
					found[n++] = list_entry(node, struct rcpt, node);
		list_each(lane_node, &queue->lanes)
			list_each(stream_node, &list_entry(lane_node, struct lane, in_queue)->streams)
				list_each(node, &list_entry(stream_node, struct stream, in_lane)->ready)
					if (of_job(list_entry(node, struct rcpt, node), job))
						found[n++] = list_entry(node, struct rcpt, node);
	}
	*n_out = n;
	return found;
}

static void
retry_one(void *ctx, struct queue *queue)
{
	struct hand *hand = ctx;

	queue->retry_until = 0;
	queue->retry_set_at = 0;
	queues_changed(queue->queues);
	if (hand->recipients) {
		size_t n;
		struct rcpt **found = collect(queue, hand->job, true, &n);

		for (size_t i = 0; i < n; i++) {
			rcpt_unlink(found[i]);
			found[i]->due.key = hand->now.mono;
			rcpt_journal(found[i], SPOOL_WAITING, hand->now);
			rcpt_moved(found[i], hand->now);
		}
		hand->rcpts += n;
		free(found);
	} else {
		hand->rcpts += queue->ready_n + queue->routing_n;
	}
	list_each_safe(node, &queue->routes) {
		struct route *route = list_entry(node, struct route, in_queue);

		if (route->state == ROUTE_FAILED)
			route_retry(route, hand->now);
	}
	queue_poll(queue, hand->now);
}

uint64_t
queues_retry(struct queues *queues, struct span pattern, bool recipients, const char *job,
	     unsigned *queues_out, struct now now)
{
	struct hand hand = { .now = now, .recipients = recipients, .job = job };

	*queues_out = queues_match(queues, pattern, retry_one, &hand);
	return hand.rcpts;
}

static void
take_one(void *ctx, struct queue *queue)
{
	struct hand *hand = ctx;
	size_t n;
	struct rcpt **found = collect(queue, hand->job, false, &n);

	for (size_t i = 0; i < n; i++) {
		rcpt_unlink(found[i]);
		rcpt_enter(found[i], queue, RCPT_SENDING);
		hand->fn(hand->ctx, found[i]);
	}
	hand->rcpts += n;
	free(found);
	queue_poll(queue, hand->now);
}

uint64_t
queues_take(struct queues *queues, struct span pattern, const char *job, unsigned *queues_out,
	    void (*fn)(void *ctx, struct rcpt *rcpt), void *ctx, struct now now)
{
	struct hand hand = { .now = now, .job = job, .fn = fn, .ctx = ctx };

	*queues_out = queues_match(queues, pattern, take_one, &hand);
	return hand.rcpts;
}
