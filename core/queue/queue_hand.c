/*
 * queue_hand - what an operator does to queues, by pattern: look, retry, take. What he
 * holds is queue_pauses.c's.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/queue_own.h"

/* '*' stands for any run of characters, '/' included; nothing else is special. */
bool
queue_pattern_matches(struct span pattern, struct span name)
{
	size_t p = 0, n = 0, star = SIZE_MAX, star_n = 0;

	while (n < name.n) {
		if (p < pattern.n && pattern.p[p] == '*') {
			star = p++;
			star_n = n;
		} else if (p < pattern.n && span_eq_nocase(span_make(pattern.p + p, 1), span_make(name.p + n, 1))) {
			p++;
			n++;
		} else if (star != SIZE_MAX) {
			p = star + 1;           /* the last star takes one more */
			n = ++star_n;
		} else {
			return false;
		}
	}
	while (p < pattern.n && pattern.p[p] == '*')
		p++;
	return p == pattern.n;
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
		if (queue_pattern_matches(pattern, span_text(queue->name)))
			found[n++] = queue;
	for (unsigned i = 0; i < n; i++)
		fn(ctx, found[i]);
	free(found);
	return n;
}

/* Who is told that it is done may pull the plug. */
void
queues_save_now(struct queues *queues, struct now now)
{
	struct buf bytes;

	/* With several shards it is done in all of them first: then who does it saves what all have. */
	if (queues->o.spool == NULL || queues->shards_n > 1)
		return;
	buf_init(&bytes, 0);
	queues_save(queues, now, &bytes);
	spool_state_save_now(queues->o.spool, buf_span(&bytes));
	buf_fini(&bytes);
}

struct hand {
	struct now now;
	uint64_t   rcpts;
	bool       recipients;
	const char *job;
	void     (*fn)(void *ctx, struct rcpt *rcpt);
	void      *ctx;
};

static bool
of_job(const struct rcpt *rcpt, const char *job)
{
	return job == NULL || strcmp(rcpt->message->job->name, job) == 0;
}

static size_t
collect_streams(const struct list *streams, const char *job, struct rcpt **found, size_t n)
{
	list_each(stream_node, streams)
		list_each(node, &list_entry(stream_node, struct stream, in_lane)->ready)
			if (of_job(list_entry(node, struct rcpt, node), job))
				found[n++] = list_entry(node, struct rcpt, node);
	return n;
}

/* Before anything is done to them: what is done may move the others. */
struct rcpt **
queue_collect(struct queue *queue, const char *job, bool deferred_only, size_t *n_out)
{
	struct rcpt **found = mem_alloc((queue_n(queue) + 1) * sizeof *found);
	size_t n = 0;

	for (uint32_t i = 0; i < queue->deferred.n; i++) {
		struct rcpt *rcpt = container_of(queue->deferred.slots[i].node, struct rcpt, due);

		if (of_job(rcpt, job))
			found[n++] = rcpt;
	}
	if (!deferred_only) {
		list_each(route_node, &queue->routes)
			list_each(node, &list_entry(route_node, struct route, in_queue)->waiting)
				if (of_job(list_entry(node, struct rcpt, node), job))
					found[n++] = list_entry(node, struct rcpt, node);
		list_each(lane_node, &queue->lanes) {
			const struct lane *lane = list_entry(lane_node, struct lane, in_queue);

			n = collect_streams(&lane->streams, job, found, n);
			n = collect_streams(&lane->held, job, found, n);
		}
	}
	*n_out = n;
	return found;
}

/* An answer from the cache moves routes between queues, so they are collected first; none is freed
 * before the reaper's next round. */
static void
retry_routes(struct queue *queue, struct now now)
{
	struct route **found;
	size_t n = 0;

	list_each(node, &queue->routes)
		n++;
	found = mem_alloc((n + 1) * sizeof *found);
	n = 0;
	list_each(node, &queue->routes)
		if (list_entry(node, struct route, in_queue)->state == ROUTE_FAILED)
			found[n++] = list_entry(node, struct route, in_queue);
	for (size_t i = 0; i < n; i++)
		if (found[i]->state == ROUTE_FAILED)
			route_retry(found[i], now);
	free(found);
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
		struct rcpt **found = queue_collect(queue, hand->job, true, &n);
		bool was = queue_freeze(queue);

		travels_gather(queue->queues);
		for (size_t i = 0; i < n; i++) {
			rcpt_unlink(found[i]);
			found[i]->due.key = hand->now.mono;
			rcpt_journal(found[i], SPOOL_WAITING, hand->now);
			rcpt_moved(found[i], hand->now);
		}
		travels_post(queue->queues);
		queue_thaw(queue, was);
		hand->rcpts += n;
		free(found);
	} else {
		hand->rcpts += queue->ready_n + queue->routing_n;
	}
	retry_routes(queue, hand->now);
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

uint64_t
queue_take(struct queue *queue, const char *job, void (*fn)(void *ctx, struct rcpt *rcpt), void *ctx, struct now now)
{
	size_t n;
	struct rcpt **found = queue_collect(queue, job, false, &n);
	bool was = queue_freeze(queue);

	for (size_t i = 0; i < n; i++) {
		rcpt_unlink(found[i]);
		rcpt_enter(found[i], queue, RCPT_SENDING);
		fn(ctx, found[i]);
	}
	free(found);
	queue_thaw(queue, was);
	queue_poll(queue, now);
	return n;
}

static void
take_one(void *ctx, struct queue *queue)
{
	struct hand *hand = ctx;

	hand->rcpts += queue_take(queue, hand->job, hand->fn, hand->ctx, hand->now);
}

uint64_t
queues_take(struct queues *queues, struct span pattern, const char *job, unsigned *queues_out,
	    void (*fn)(void *ctx, struct rcpt *rcpt), void *ctx, struct now now)
{
	struct hand hand = { .now = now, .job = job, .fn = fn, .ctx = ctx };

	*queues_out = queues_match(queues, pattern, take_one, &hand);
	return hand.rcpts;
}
