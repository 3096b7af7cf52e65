/*
 * The spool's face: opening, closing, what becomes of recipients, and which job
 * the worker gets next.
 *
 * There is one job at a time: a batch, or something in the background (the
 * engine's state file, a removal, a step of compaction). Batches come first, but
 * never twice while the background waits, so that a spool under load still gives
 * back its room.
 *
 * spool_batch.c says what makes a message durable, spool_recover.c what a restart
 * makes of the files, spool_compact.c in which order files go.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/spool_inside.h"

#define UNSAFE_MAX 1000u                /* outcomes that a crash may undo, */
#define UNSAFE_US (10 * US_PER_S)       /* or for so long, before nothing new is begun */
#define FRESH_BYTES_DEFAULT (64u * 1024u * 1024u)

static void
on_tell(void *ctx, struct now now)
{
	struct spool *spool = ctx;
	struct list told;

	list_init(&told);
	list_splice_tail(&told, &spool->told);
	spool_tell(spool, &told);
	spool_pump(spool);
}

static void
on_gathered(void *ctx, struct now now)
{
	struct spool *spool = ctx;

	spool->wants_notes = true;
	spool_pump(spool);
}

static void
on_retry(void *ctx, struct now now)
{
	struct spool *spool = ctx;

	spool_stall_review(spool);
	spool->probe_due = spool->failing.kind != ERR_NONE;
	if (spool->probe_due)
		spool_retry_later(spool);
	spool_pump(spool);
}

void
spool_retry_later(struct spool *spool)
{
	if (!spool->closing && !timer_started(&spool->retry_timer))
		timer_start(&spool->loop->timers, &spool->retry_timer, spool->loop->now.mono + SPOOL_RETRY_US);
}

void
spool_stall_review(struct spool *spool)
{
	mono_us_t now = spool->loop->now.mono;
	bool before = spool->stalls;

	if (!spool->unsafe || !spool->unsafe_since)
		spool->unsafe_since = spool->unsafe ? now : 0;
	spool->stalls = spool->unsafe >= UNSAFE_MAX || (spool->unsafe && now - spool->unsafe_since >= UNSAFE_US);
	if (spool->stalls && !before)
		log_error(spool->log, "spool: what became of %llu recipients cannot be written down, and a crash now would send to them again; "
			  "no new transactions until it can", (unsigned long long)spool->unsafe);
}

bool
spool_stalls(const struct spool *spool)
{
	return spool->stalls;
}

static bool
batch_due(const struct spool *spool)
{
	if (spool->failing.kind)
		return spool->probe_due;
	return spool->wants_write || spool->wants_notes;
}

static bool
background_start(struct spool *spool)
{
	spool->was_background = true;
	if (spool_state_start(spool) || spool_remove_start(spool) || spool_compact_start(spool))
		return true;
	spool->was_background = false;
	return false;
}

void
spool_pump(struct spool *spool)
{
	if (spool->job || spool->closing)
		return;
	if (!(spool->was_background && batch_due(spool)) && background_start(spool))
		return;
	if (batch_due(spool))
		spool_batch_start(spool);
}

static bool
space_measure(struct spool *spool, struct err *err)
{
	mono_us_t now = spool->loop->now.mono;
	uint64_t total;

	if (spool->space_at && now - spool->space_at < US_PER_S)
		return true;
	if (!spool->disk->ops->space(spool->disk, &spool->space_free, &total, err))
		return false;
	spool->space_since = spool->pending_bytes;
	spool->space_at = now ? now : 1;
	return true;
}

bool
spool_room(struct spool *spool, uint64_t bytes, struct err *err)
{
	uint64_t left;

	if (!space_measure(spool, err)) {
		if (err)
			err->kind = ERR_TEMP;
		return false;
	}
	left = spool->space_free > spool->space_since ? spool->space_free - spool->space_since : 0;
	return left >= bytes ||
	       err_set(err, ERR_TEMP, "spool: only %llu KiB of disk are free, %llu are to be kept",
		       (unsigned long long)(left >> 10), (unsigned long long)(bytes >> 10));
}

static bool
accepts(struct spool *spool, struct err *err)
{
	uint64_t floor = spool->min_free_space > SPOOL_RESERVE_BYTES ? spool->min_free_space : SPOOL_RESERVE_BYTES;

	if (spool->closing)
		return err_set(err, ERR_TEMP, "spool: closing");
	if (spool->failing.kind) {
		if (err)
			*err = spool->failing;
		return false;
	}
	return spool_room(spool, floor, err);
}

struct spool_writer *
spool_begin(struct spool *spool, struct err *err)
{
	struct spool_segment *active = spool->active;

	if (accepts(spool, err))
		return spool_writer_new(spool);
	/* What is dead in the active segment is room as well, if a new one is begun. */
	if (active && active->created && !active->live_n && !active->writers && !active->tickets &&
	    !active->pending.n && active->end > SPOOL_SEGMENT_MIN && !spool->closing) {
		spool_segment_rotate(spool);
		spool_pump(spool);
	}
	return NULL;
}

static uint64_t
segment_bytes_for(uint64_t total)
{
	uint64_t bytes = total / 64;

	if (bytes < SPOOL_SEGMENT_MIN)
		return SPOOL_SEGMENT_MIN;
	return bytes > SPOOL_SEGMENT_MAX ? SPOOL_SEGMENT_MAX : bytes;
}

void
spool_free(struct spool *spool)
{
	struct timers *timers = &spool->loop->timers;

	while (!list_empty(&spool->fresh))
		spool_fresh_drop(spool, list_first(&spool->fresh, struct spool_fresh, link)->message);
	while (!list_empty(&spool->segments))
		spool_segment_free(list_first(&spool->segments, struct spool_segment, link));
	spool_state_free(spool);
	spool_job_free(spool);
	timer_stop(timers, &spool->tell_timer);
	timer_stop(timers, &spool->gather_timer);
	timer_stop(timers, &spool->retry_timer);
	free(spool);
}

struct spool *
spool_new(struct disk *disk, struct worker *worker, struct loop *loop,
	  const struct spool_options *options, const struct spool_owner *owner)
{
	struct spool *spool = mem_alloc(sizeof(*spool));

	spool->disk = disk;
	spool->worker = worker;
	spool->loop = loop;
	spool->log = options->log;
	spool->owner = *owner;
	spool->min_free_space = options->min_free_space;
	spool->segment_bytes = options->segment_bytes;
	spool->fresh_bytes_max = options->fresh_bytes_max ? options->fresh_bytes_max : FRESH_BYTES_DEFAULT;
	list_init(&spool->segments);
	list_init(&spool->dirty);
	list_init(&spool->dead);
	list_init(&spool->writers);
	list_init(&spool->tickets);
	list_init(&spool->told);
	list_init(&spool->fresh);
	spool->next_number = spool->next_id = 1;
	timer_init(&spool->tell_timer, on_tell, spool);
	timer_init(&spool->gather_timer, on_gathered, spool);
	timer_init(&spool->retry_timer, on_retry, spool);
	return spool;
}

struct spool *
spool_open(struct disk *disk, struct worker *worker, struct loop *loop,
	   const struct spool_options *options, const struct spool_owner *owner, struct err *err)
{
	struct spool *spool = spool_new(disk, worker, loop, options, owner);
	uint64_t free_bytes, total;

	if (!disk->ops->lock(disk, "lock", err) || !disk->ops->space(disk, &free_bytes, &total, err))
		goto fail;
	if (!spool->segment_bytes)
		spool->segment_bytes = segment_bytes_for(total);
	if (!spool_recover(spool, err))
		goto fail;
	/* A segment of our own: it makes ids grow. Should it fail, we begin by refusing. */
	spool_segment_rotate(spool);
	spool_batch_now(spool, false);
	spool_pump(spool);
	return spool;

fail:
	spool->closing = true;
	spool_free(spool);
	return NULL;
}

static bool
something_waits(const struct spool *spool)
{
	list_each (pos, &spool->segments) {
		const struct spool_segment *segment = list_entry(pos, struct spool_segment, link);
		if (segment->notes.n || segment->pending.n)
			return true;
	}
	return false;
}

void
spool_close(struct spool *spool)
{
	if (!spool)
		return;
	spool->closing = true;
	spool_job_finish(spool);
	/* on_commit may settle what it hears of, once or twice over. */
	for (int i = 0; i < 3; i++) {
		spool_batch_now(spool, true);
		spool_tell(spool, &spool->told);
		spool_compact_end(spool);
		if (spool->failing.kind || !something_waits(spool))
			break;
	}
	check(list_empty(&spool->writers));
	check(spool->readers_n == 0);
	spool_state_end(spool);
	spool_free(spool);
}

void
spool_set_min_free_space(struct spool *spool, uint64_t bytes)
{
	spool->min_free_space = bytes;
}

uint64_t
spool_next_id(struct spool *spool)
{
	uint64_t id = spool->next_id++;

	if (spool->active && id >= spool->active->max_id && !spool->closing)
		spool_segment_rotate(spool);    /* reserves more of them */
	return id;
}

bool
spool_settle(struct spool *spool, struct spool_message *message, uint16_t rcpt,
	     const struct spool_rcpt_state *state)
{
	struct spool_segment *segment = message->segment;
	struct spool_note note = { .id = message->id, .rcpt = rcpt, .state = *state };
	bool over;

	check(segment != NULL);
	check(rcpt < message->rcpts_n);
	check(state->outcome <= SPOOL_DROPPED);
	if (state->outcome != SPOOL_WAITING) {
		check(message->live > 0);
		message->live--;
	}
	over = message->live == 0;
	spool_segment_note(segment, &note);
	if (spool->journals_fail) {
		spool->unsafe++;
		spool_stall_review(spool);
	}
	spool_compact_settled(spool, message, &note);
	if (over) {
		spool_fresh_drop(spool, message);
		spool_segment_unlink(message);
	}
	spool_segment_review(segment);
	if (!timer_started(&spool->gather_timer) && !spool->closing)
		timer_start(&spool->loop->timers, &spool->gather_timer, spool->loop->now.mono + SPOOL_GATHER_US);
	spool_pump(spool);
	return over;
}

bool
spool_refuses(struct spool *spool)
{
	return !accepts(spool, NULL);
}

void
spool_stats(struct spool *spool, struct spool_stats *out)
{
	struct err err = { 0 };

	*out = (struct spool_stats){
		.segments = spool->segments_n, .live_messages = spool->live_messages,
		.commits = spool->commits, .syncs = spool->syncs, .compacted = spool->compacted,
	};
	list_each (pos, &spool->segments) {
		const struct spool_segment *segment = list_entry(pos, struct spool_segment, link);
		out->bytes += segment->end + segment->journal_bytes;
	}
	out->refusing = !accepts(spool, &err);
	snprintf(out->why, sizeof(out->why), "%.*s", (int)sizeof(out->why) - 1, err.text);
}

void
spool_hurry(struct spool *spool)
{
	spool->wants_notes = true;
	spool_pump(spool);
}
