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
 *
 * A provider told by its MX hosts may have as many lanes as it has domains, so
 * a queue's turn never walks them: each stands in the lines it belongs to, and
 * changes them when what it has changes.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "queue/queue_own.h"

#define KEY_HELD 0x80           /* a priority is at most 100 */

static void
count_in(struct lane_weights *weights, uint32_t weight)
{
	if (weights->n[weight]++ == 0)
		weights->some[weight / 64] |= UINT64_C(1) << weight % 64;
}

/* It joins the ring. Few lanes ever have two streams, and these counts are larger than all the rest of one. */
static void
weigh_in(struct lane *lane, const struct stream *stream)
{
	if (lane->weights == NULL && !list_empty(&lane->streams)) {
		lane->weights = mem_alloc(sizeof *lane->weights);
		count_in(lane->weights, list_first(&lane->streams, struct stream, in_lane)->weight);
	}
	if (lane->weights != NULL)
		count_in(lane->weights, stream->weight);
}

/* It has left the ring. */
static void
weigh_out(struct lane *lane, const struct stream *stream)
{
	struct lane_weights *weights = lane->weights;

	if (weights == NULL)
		return;
	check(weights->n[stream->weight] > 0);
	if (--weights->n[stream->weight] == 0)
		weights->some[stream->weight / 64] &= ~(UINT64_C(1) << stream->weight % 64);
	if (list_empty(&lane->streams)) {
		free(weights);
		lane->weights = NULL;
	}
}

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
	stream = pool_take(&lane->queue->queues->streams_pool, sizeof *stream + job_n + 1);
	memcpy(stream->key, key, job_n + 1);
	stream->key_n = job_n + 1;
	stream->lane = lane;
	stream->weight = 1u + message->priority;
	check(stream->weight <= WEIGHT_MAX);
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
	if (!stream->held)
		weigh_out(stream->lane, stream);
	table_remove(&stream->lane->stream_table, span_make(stream->key, stream->key_n));
	pool_give(&stream->lane->queue->queues->streams_pool, stream, sizeof *stream + stream->key_n);
}

/* The heaviest stream's weight. */
static int64_t
cost_of(const struct lane *lane)
{
	const struct lane_weights *weights = lane->weights;

	if (weights == NULL)
		return list_empty(&lane->streams) ? 1 : list_first(&lane->streams, struct stream, in_lane)->weight;
	for (int i = countof(weights->some) - 1; i >= 0; i--)
		if (weights->some[i] != 0)
			return i * 64 + 63 - __builtin_clzll(weights->some[i]);
	return 1;
}

/* ---- the lanes of a queue ---- */

void
lanes_init(struct queue *queue)
{
	list_init(&queue->lanes);
	queue->wants_per = queue_settings_now(queue)->max_rcpt_per_message;
	for (int i = 0; i < LANE_LINES_N; i++)
		list_init(&queue->lane_lines[i]);
	table_init(&queue->lane_table, queue->queues->o.seed);
}

static struct span
lane_key(struct host_set *const *hosts)
{
	return span_make((const char *)hosts, sizeof *hosts);   /* they are interned: the pointer will do */
}

struct lane *
lane_find(const struct queue *queue, struct host_set *hosts)
{
	return table_get(&queue->lane_table, lane_key(&hosts));
}

struct lane *
lane_get(struct queue *queue, struct host_set *hosts)
{
	struct lane *lane = lane_find(queue, hosts);

	if (lane != NULL)
		return lane;
	lane = mem_alloc(sizeof *lane);
	lane->queue = queue;
	lane->hosts = hosts;
	hosts->refs++;
	list_init(&lane->streams);
	list_init(&lane->held);
	list_init(&lane->idle);
	for (int i = 0; i < LANE_LINES_N; i++)
		list_init(&lane->in_line[i]);
	table_init(&lane->stream_table, queue->queues->o.seed);
	list_add_tail(&queue->lanes, &lane->in_queue);
	table_put(&queue->lane_table, lane_key(&lane->hosts), lane);
	lane_line_up(lane);
	return lane;
}

static bool
lane_is_empty(const struct lane *lane)
{
	return lane->ready_n == 0 && lane->held_n == 0 && lane->sessions == 0;
}

void
lane_maybe_free(struct lane *lane)
{
	if (!lane_is_empty(lane))
		return;
	check(list_empty(&lane->streams) && list_empty(&lane->idle));
	for (int i = 0; i < LANE_LINES_N; i++)
		list_remove(&lane->in_line[i]);
	list_remove(&lane->in_queue);
	table_remove(&lane->queue->lane_table, lane_key(&lane->hosts));
	table_fini(&lane->stream_table);
	host_set_unref(lane->queue->queues, lane->hosts);
	free(lane);
}

void
lanes_free_empty(struct queue *queue)
{
	struct lane *lane;

	while ((lane = lane_first(queue, LANE_EMPTY)) != NULL)
		lane_maybe_free(lane);
}

static void
stand(struct lane *lane, enum lane_line line, bool belongs)
{
	struct list *node = &lane->in_line[line];

	if (belongs && !list_linked(node))
		list_add_tail(&lane->queue->lane_lines[line], node);
	else if (!belongs && list_linked(node))
		list_remove(node);
}

/* How many its ready recipients need, about. */
static uint32_t
transactions_of(const struct lane *lane)
{
	uint32_t per = lane->queue->wants_per;
	uint32_t least = lane->ready_n / per + (lane->ready_n % per != 0);

	return lane->runs_n > least ? lane->runs_n : least;
}

void
lane_line_up(struct lane *lane)
{
	bool mail = lane->ready_n > 0, idle = !list_empty(&lane->idle);

	stand(lane, LANE_MAIL, mail);
	stand(lane, LANE_IDLE, idle);
	stand(lane, LANE_FEEDS, mail && idle);
	stand(lane, LANE_UNSERVED, mail && lane->sessions == 0);
	stand(lane, LANE_WANTS, !idle && transactions_of(lane) > lane->connecting);
	stand(lane, LANE_EMPTY, lane_is_empty(lane));
}

void
lane_served(struct lane *lane)
{
	struct list *node = &lane->in_line[LANE_WANTS];

	if (!list_linked(node))
		return;
	list_remove(node);
	list_add_tail(&lane->queue->lane_lines[LANE_WANTS], node);
}

struct lane *
lane_first(struct queue *queue, enum lane_line line)
{
	struct list *head = &queue->lane_lines[line];

	if (list_empty(head))
		return NULL;
	queue->lanes_seen++;
	return container_of(head->next, struct lane, in_line[line]);
}

struct lane *
lane_that_wants(struct queue *queue)
{
	uint32_t per = queue_settings_now(queue)->max_rcpt_per_message;

	/* An overlay has changed how many sessions the same mail needs. */
	if (per != queue->wants_per) {
		queue->wants_per = per;
		list_each(node, &queue->lanes) {
			queue->lanes_seen++;
			lane_line_up(list_entry(node, struct lane, in_queue));
		}
	}
	return lane_first(queue, LANE_WANTS);
}

/* ---- recipients ---- */

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
		lane_line_up(lane);
		return;
	}
	if (stream->ready_n++ == 0) {
		weigh_in(lane, stream);
		list_add_tail(&lane->streams, &stream->in_lane);
		stream->credit = cost_of(lane);
	}
	lane->ready_n++;
	lane_line_up(lane);
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
	lane_line_up(lane);
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
