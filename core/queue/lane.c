/*
 * lane - a queue's ready mail for one set of hosts; streams share it by
 * deficit round robin (Shreedhar and Varghese, 1995).
 *
 * A recipient costs as much credit as the heaviest stream in the ring earns a
 * round, so that this stream is served once a round and one of half its weight
 * every second round: finer than serving `weight` recipients at a stretch, and
 * twenty urgent messages are not behind fifty of somebody else's. A stream that
 * begins has the credit for one recipient; one that ends leaves the ring and
 * is freed, so the ring holds only streams that have mail. Mail of a job that is
 * paused by hand waits in streams of its own beside the ring.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/queue_own.h"

#define KEY_HELD 0x80           /* a priority is at most 100 */

static struct stream *
stream_get(struct lane *lane, const struct message *message, bool held)
{
	char key[160];
	size_t job_n = strlen(message->job->name);
	struct stream *stream;

	check(job_n < sizeof key);
	key[0] = (char)(message->priority | (held ? KEY_HELD : 0));
	memcpy(key + 1, message->job->name, job_n);
	stream = table_get(&lane->stream_table, span_make(key, job_n + 1));
	if (stream != NULL)
		return stream;
	stream = mem_alloc(sizeof *stream);
	stream->key = mem_alloc(job_n + 2);
	memcpy(stream->key, key, job_n + 1);
	stream->key_n = job_n + 1;
	stream->lane = lane;
	stream->weight = 1u + message->priority;
	stream->held = held;
	list_init(&stream->ready);
	list_init(&stream->in_lane);
	table_put(&lane->stream_table, span_make(stream->key, stream->key_n), stream);
	return stream;
}

static void
stream_free(struct stream *stream)
{
	list_remove(&stream->in_lane);
	if (!stream->held && stream->weight == stream->lane->heaviest)
		stream->lane->heaviest = 0;
	table_remove(&stream->lane->stream_table, span_make(stream->key, stream->key_n));
	free(stream->key);
	free(stream);
}

/* The heaviest stream's weight; looked for again only after the heaviest left. */
static int64_t
cost_of(struct lane *lane)
{
	if (lane->heaviest > 0)
		return lane->heaviest;
	lane->heaviest = 1;
	list_each(node, &lane->streams) {
		const struct stream *stream = list_entry(node, struct stream, in_lane);

		if (stream->weight > lane->heaviest)
			lane->heaviest = stream->weight;
	}
	return lane->heaviest;
}

struct lane *
lane_get(struct queue *queue, struct host_set *hosts)
{
	struct lane *lane;

	list_each(node, &queue->lanes) {
		lane = list_entry(node, struct lane, in_queue);
		if (lane->hosts == hosts)
			return lane;
	}
	lane = mem_alloc(sizeof *lane);
	lane->queue = queue;
	lane->hosts = hosts;
	hosts->refs++;
	list_init(&lane->streams);
	list_init(&lane->held);
	list_init(&lane->idle);
	table_init(&lane->stream_table, queue->queues->o.seed);
	list_add_tail(&queue->lanes, &lane->in_queue);
	return lane;
}

void
lane_maybe_free(struct lane *lane)
{
	if (lane->ready_n > 0 || lane->held_n > 0 || lane->sessions > 0)
		return;
	check(list_empty(&lane->streams) && list_empty(&lane->idle));
	list_remove(&lane->in_queue);
	table_fini(&lane->stream_table);
	host_set_unref(lane->queue->queues, lane->hosts);
	free(lane);
}

static const struct message *
message_at(const struct stream *stream, const struct list *node)
{
	return node != &stream->ready ? list_entry(node, struct rcpt, node)->message : NULL;
}

/* Recipients of one message come one after another, so a run of them is a transaction. */
static bool
in_a_run(const struct stream *stream, const struct rcpt *rcpt)
{
	return message_at(stream, rcpt->node.prev) == rcpt->message || message_at(stream, rcpt->node.next) == rcpt->message;
}

/* What stands before and behind it is one run once it is gone. */
static bool
parts_a_run(const struct stream *stream, const struct rcpt *rcpt)
{
	const struct message *before = message_at(stream, rcpt->node.prev);

	return before != NULL && before != rcpt->message && before == message_at(stream, rcpt->node.next);
}

uint32_t
lane_transactions(const struct lane *lane)
{
	uint32_t per = queue_settings_now(lane->queue)->max_rcpt_per_message;
	uint32_t least = lane->ready_n / per + (lane->ready_n % per != 0);

	return lane->runs_n > least ? lane->runs_n : least;
}

void
lane_add(struct lane *lane, struct rcpt *rcpt)
{
	struct stream *stream = stream_get(lane, rcpt->message, rcpt->state == RCPT_HELD);

	list_add_tail(&stream->ready, &rcpt->node);
	rcpt->stream = stream;
	if (!stream->held && !in_a_run(stream, rcpt))
		lane->runs_n++;
	if (stream->held) {
		if (stream->ready_n++ == 0)
			list_add_tail(&lane->held, &stream->in_lane);
		lane->held_n++;
		return;
	}
	if (stream->ready_n++ == 0) {
		list_add_tail(&lane->streams, &stream->in_lane);
		if (lane->heaviest > 0 && stream->weight > lane->heaviest)
			lane->heaviest = stream->weight;
		stream->credit = cost_of(lane);
	}
	lane->ready_n++;
}

void
lane_take(struct rcpt *rcpt)
{
	struct stream *stream = rcpt->stream;
	struct lane *lane = stream->lane;

	if (!stream->held && !in_a_run(stream, rcpt))
		lane->runs_n -= parts_a_run(stream, rcpt) ? 2 : 1;
	list_remove(&rcpt->node);
	rcpt->stream = NULL;
	check(stream->ready_n > 0);
	if (stream->held) {
		check(lane->held_n > 0);
		lane->held_n--;
	} else {
		check(lane->ready_n > 0);
		lane->ready_n--;
	}
	if (--stream->ready_n == 0)
		stream_free(stream);
}

struct rcpt *
lane_next(struct lane *lane)
{
	struct stream *stream;

	if (list_empty(&lane->streams))
		return NULL;
	stream = list_first(&lane->streams, struct stream, in_lane);
	if (lane->streams.next->next != &lane->streams) {
		int64_t cost = cost_of(lane);

		while (stream->credit < cost) {
			stream->credit += stream->weight;
			list_remove(&stream->in_lane);
			list_add_tail(&lane->streams, &stream->in_lane);
			stream = list_first(&lane->streams, struct stream, in_lane);
		}
	}
	return list_first(&stream->ready, struct rcpt, node);
}

void
lane_charge(struct stream *stream, unsigned n)
{
	/* Alone in the ring there is nobody to be fair to; nothing is owed later. */
	if (stream->lane->streams.next->next == &stream->lane->streams)
		return;
	stream->credit -= cost_of(stream->lane) * (int64_t)n;
}
