/*
 * Beginning costs a copy of each name and a sort by how much is queued; a name,
 * not a pointer, is what may be kept between turns, since queues are reaped.
 * The rows are built, written and forgotten one by one, so that the JSON of a
 * large node never exists as a tree (1.5 KiB a row in jansson).
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "control/control_listing.h"

#include "queue/queue_hand.h"

#define RCPTS_A_UNIT 64         /* looked at for oldest_age in about the time that a row takes */

struct entry {
	struct span name;
	uint32_t    queued;
};

struct listing {
	struct control_stream stream;
	struct shards *shards;
	struct arena   names;
	struct entry  *entries;
	unsigned       n, cap, next;
	bool           begun, any;
};

static void
collect(void *ctx, struct queue *queue)
{
	struct listing *listing = ctx;

	if (listing->n == listing->cap) {
		listing->cap = listing->cap ? 2 * listing->cap : 64;
		listing->entries = mem_grow(listing->entries, listing->cap * sizeof(*listing->entries));
	}
	listing->entries[listing->n++] = (struct entry){
		.name = arena_span(&listing->names, span_text(queue->name)),
		.queued = queue_n(queue),
	};
}

/* Most queued first; by name between equals, so that two calls compare. */
static int
order(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	return x->queued != y->queued ? (x->queued < y->queued ? 1 : -1) : strcmp(x->name.p, y->name.p);
}

void
control_listing_row(const struct queue *queue, const struct gate_answer *gates, mono_us_t now, struct control_row *out)
{
	*out = (struct control_row){
		.queue = queue->name,
		.site = queue->site->name,
		.vmta = queue->vmta->name,
		.mode = queue_mode(queue),
		.gate = gates->open ? NULL : gate_name(gates->binding.gate),
		.last_error = queue->last_error,
		.queued = queue_n(queue),
		.ready = queue->ready_n,
		.sessions = queue->slots_n,
		.oldest = queue_oldest(queue),
		.next_attempt = queue_next_attempt(queue, now),
		.pace_per_hour = pace_per_hour(&queue->over, now),
	};
}

static void
write_row(struct listing *listing, const struct queue *queue, struct now now, struct buf *out)
{
	struct gate_answer gates;
	struct control_row row;

	gate_decide(queue, now.mono, &gates);
	control_listing_row(queue, &gates, now.mono, &row);
	if (listing->any)
		buf_add_char(out, ',');
	listing->any = true;
	control_answer_write(control_answer_row(&row, now), out);
}

static bool
listing_next(struct control_stream *stream, unsigned work_max, struct now now, struct buf *out)
{
	struct listing *listing = container_of(stream, struct listing, stream);
	unsigned work = 0;

	if (!listing->begun)
		buf_add_text(out, "{\"ok\":true,\"result\":[");
	listing->begun = true;
	while (work < work_max && listing->next < listing->n) {
		struct queue *queue = shards_find_queue(listing->shards, listing->entries[listing->next++].name);
		if (!queue)
			continue;
		write_row(listing, queue, now, out);
		work += 1 + queue_n(queue) / RCPTS_A_UNIT;
	}
	if (listing->next < listing->n)
		return true;
	buf_add_text(out, "]}\n");
	return false;
}

static void
listing_free(struct control_stream *stream)
{
	struct listing *listing = container_of(stream, struct listing, stream);

	arena_fini(&listing->names);
	free(listing->entries);
	free(listing);
}

struct control_stream *
control_listing_new(struct shards *shards, struct span pattern, unsigned most)
{
	struct listing *listing = mem_alloc(sizeof(*listing));

	listing->stream = (struct control_stream){ listing_next, listing_free };
	listing->shards = shards;
	arena_init(&listing->names);
	for (unsigned i = 0; i < shards->n; i++)
		queues_match(shards->all[i]->queues, pattern, collect, listing);
	if (listing->n)
		qsort(listing->entries, listing->n, sizeof(*listing->entries), order);
	if (listing->n > most)
		listing->n = most;
	return &listing->stream;
}
