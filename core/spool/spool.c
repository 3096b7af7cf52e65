/*
 * Opening, closing, what becomes of recipients, and which job the worker gets next.
 *
 * There is one job at a time: a batch, or something in the background (a journal written
 * anew, the engine's state file, a removal, a step of compaction). Batches come first, but
 * never twice while the background waits, so that a spool under load still gives
 * back its room.
 *
 * spool_face.c says who may call when, spool_batch.c what makes a message durable, spool_recover.c what a restart
 * makes of the files, spool_remove.c in which order files go.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/spool_inside.h"

#define UNSAFE_MAX 1000u                /* outcomes that a crash may undo, */
#define UNSAFE_US (10 * US_PER_S)       /* or for so long, before nothing new is begun */
#define FRESH_BYTES_DEFAULT (64u * 1024u * 1024u)

void
spool_stall_review(struct spool_core *core)
{
	bool before = core->stalls;

	if (!core->unsafe || !core->unsafe_since)
		core->unsafe_since = core->unsafe ? core->now : 0;
	core->stalls = core->unsafe >= UNSAFE_MAX || (core->unsafe && core->now - core->unsafe_since >= UNSAFE_US);
	if (core->stalls && !before)
		log_error(core->log, "spool: what became of %llu recipients cannot be written down, and a crash now would send to them again; "
			  "no new transactions until it can", (unsigned long long)core->unsafe);
}

bool
spool_stalls(const struct spool *spool)
{
	return spool->core->stalls;
}

static bool
batch_due(const struct spool_core *core)
{
	if (core->failing.kind)
		return core->probe_due;
	return core->wants_write || core->wants_notes;
}

static bool
background_start(struct spool_core *core)
{
	core->was_background = true;
	if (spool_renew_start(core) || spool_state_start(core) || spool_remove_start(core) || spool_compact_start(core))
		return true;
	core->was_background = false;
	return false;
}

void
spool_pump(struct spool_core *core)
{
	if (core->job || core->closing)
		return;
	if (!(core->was_background && batch_due(core)) && background_start(core))
		return;
	if (batch_due(core))
		spool_batch_start(core);
}

bool
spool_waits(const struct spool_core *core)
{
	return (core->compact_at != MONO_NEVER && core->compact_at > core->now) || spool_state_waits(core) || spool_remove_waits(core);
}

static bool
space_measure(struct spool_core *core, struct err *err)
{
	mono_us_t now = core->now;
	uint64_t total;

	if (core->space_at && now - core->space_at < US_PER_S)
		return true;
	if (!core->disk->ops->space(core->disk, &core->space_free, &total, err))
		return false;
	core->space_since = core->pending_bytes;
	core->space_at = now ? now : 1;
	return true;
}

bool
spool_room(struct spool_core *core, uint64_t bytes, struct err *err)
{
	uint64_t left;

	if (!space_measure(core, err)) {
		if (err)
			err->kind = ERR_TEMP;
		return false;
	}
	left = core->space_free > core->space_since ? core->space_free - core->space_since : 0;
	return left >= bytes ||
	       err_set(err, ERR_TEMP, "spool: only %llu KiB of disk are free, %llu are to be kept",
		       (unsigned long long)(left >> 10), (unsigned long long)(bytes >> 10));
}

uint64_t
spool_floor(const struct spool_core *core)
{
	return core->min_free_space > SPOOL_RESERVE_BYTES ? core->min_free_space : SPOOL_RESERVE_BYTES;
}

static bool
accepts(struct spool_core *core, struct err *err)
{
	if (core->closing)
		return err_set(err, ERR_TEMP, "spool: closing");
	if (core->failing.kind) {
		if (err)
			*err = core->failing;
		return false;
	}
	return !spool_job_hangs(core, err) && spool_room(core, spool_floor(core), err);
}

/* What is dead in the active segment is room as well, if a new one is begun. */
static void
active_give_up(struct spool_core *core)
{
	struct spool_segment *active = core->active;

	if (active && active->created && !active->live_n && !active->writers && !active->tickets &&
	    !active->pending.n && active->end > SPOOL_SEGMENT_MIN && !core->closing) {
		spool_segment_rotate(core);
		spool_pump(core);
	}
}

struct spool_writer *
spool_begin(struct spool *spool, struct err *err)
{
	struct spool_writer *writer = NULL;

	spool_enter(spool);
	if (accepts(spool->core, err))
		spool_writer_init(writer = pool_take(&spool->writers, sizeof(*writer)), spool);
	else
		active_give_up(spool->core);
	spool_leave(spool);
	return writer;
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
spool_free(struct spool_core *core)
{
	struct spool_fresh *spare;

	while (!list_empty(&core->fresh))
		spool_fresh_drop(core, list_first(&core->fresh, struct spool_fresh, link)->message);
	while (!list_empty(&core->segments))
		spool_segment_free(list_first(&core->segments, struct spool_segment, link));
	while ((spare = spool_spare_take(core)) != NULL)
		spool_fresh_unref(spare);
	for (unsigned i = 0; i < SPOOL_IDLE_N; i++) {
		free(core->idle_chunks[i].v);
		spool_notes_fini(&core->idle_notes[i]);
	}
	spool_batch_free(core->idle_batch);
	spool_state_free(core);
	spool_job_free(core);
	spool_retry_stop(core);
	spool_face_fini(&core->first);
	pthread_mutex_destroy(&core->lock);
	free(core);
}

struct spool_core *
spool_new(struct disk *disk, struct worker *worker, struct loop *loop,
	  const struct spool_options *options, const struct spool_owner *owner)
{
	struct spool_core *core = mem_alloc(sizeof(*core));

	check(pthread_mutex_init(&core->lock, NULL) == 0);
	core->disk = disk;
	core->worker = worker;
	core->log = options->log;
	core->owner = *owner;
	core->min_free_space = options->min_free_space;
	core->segment_bytes = options->segment_bytes;
	core->fresh_bytes_max = options->fresh_bytes_max ? options->fresh_bytes_max : FRESH_BYTES_DEFAULT;
	list_init(&core->segments);
	list_init(&core->dirty);
	list_init(&core->dead);
	list_init(&core->writers);
	list_init(&core->tickets);
	list_init(&core->slow);
	list_init(&core->fresh);
	list_init(&core->spares);
	core->next_number = core->next_id = 1;
	core->faces_n = 1;
	spool_timers_init(core);
	spool_face_init(&core->first, core, loop);
	return core;
}

static bool
recover(struct spool_core *core, struct err *err)
{
	struct disk *disk = core->disk;
	uint64_t free_bytes, total;

	if (!disk->ops->lock(disk, "lock", err) || !disk->ops->space(disk, &free_bytes, &total, err))
		return false;
	if (!core->segment_bytes)
		core->segment_bytes = segment_bytes_for(total);
	if (!spool_recover(core, err))
		return false;
	/* A segment of our own: it makes ids grow. Should it fail, we begin by refusing. */
	spool_segment_rotate(core);
	spool_batch_now(core, false);
	spool_pump(core);
	return true;
}

struct spool *
spool_open(struct disk *disk, struct worker *worker, struct loop *loop,
	   const struct spool_options *options, const struct spool_owner *owner, struct err *err)
{
	struct spool_core *core = spool_new(disk, worker, loop, options, owner);
	struct err trouble = { 0 };
	bool ok;

	spool_enter(&core->first);
	ok = recover(core, &trouble);
	if (!ok && err)
		*err = trouble;
	core->closing = !ok;
	spool_leave(&core->first);
	if (ok)
		return &core->first;
	spool_free(core);
	return NULL;
}

static bool
something_waits(const struct spool_core *core)
{
	list_each (pos, &core->segments) {
		const struct spool_segment *segment = list_entry(pos, struct spool_segment, link);
		if (segment->notes.n || segment->pending.n)
			return true;
	}
	return false;
}

/* False: nothing more can be written, or need be. */
static bool
write_the_last(struct spool_core *core)
{
	bool more;

	spool_enter(&core->first);
	spool_batch_now(core, true);
	spool_leave(&core->first);
	spool_tell(&core->first);
	spool_enter(&core->first);
	spool_compact_end(core);
	more = !core->failing.kind && something_waits(core);
	spool_leave(&core->first);
	return more;
}

static void
close_all(struct spool_core *core)
{
	check(core->faces_n == 1);
	spool_enter(&core->first);
	core->closing = true;
	spool_job_finish(core);
	spool_renew_last(core);
	spool_leave(&core->first);
	spool_tell(&core->first);
	/* on_commit may settle what it hears of, once or twice over. */
	for (int i = 0; i < 3 && write_the_last(core); i++)
		;
	check(list_empty(&core->writers));
	check(core->readers_n == 0);
	spool_enter(&core->first);
	spool_state_end(core);
	spool_leave(&core->first);
	spool_free(core);
}

void
spool_close(struct spool *spool)
{
	if (!spool)
		return;
	if (spool == &spool->core->first)
		close_all(spool->core);
	else
		spool_part(spool);
}

void
spool_set_min_free_space(struct spool *spool, uint64_t bytes)
{
	spool_enter(spool);
	spool->core->min_free_space = bytes;
	spool_leave(spool);
}

uint64_t
spool_next_id(struct spool *spool)
{
	struct spool_core *core = spool->core;
	uint64_t id;

	spool_enter(spool);
	id = core->next_id++;
	if (core->active && id >= core->active->max_id && !core->closing)
		spool_segment_rotate(core);     /* reserves more of them */
	spool_leave(spool);
	return id;
}

static bool
settle(struct spool_core *core, struct spool_message *message, const struct spool_note *note)
{
	struct spool_segment *segment = message->segment;
	bool over;

	check(segment != NULL);
	check(note->rcpt < message->rcpts_n);
	if (note->state.outcome != SPOOL_WAITING) {
		check(message->live > 0);
		message->live--;
	}
	over = message->live == 0;
	spool_segment_note(segment, note);
	if (core->journals_fail) {
		core->unsafe++;
		spool_stall_review(core);
	}
	spool_compact_settled(core, message, note);
	if (over) {
		spool_fresh_drop(core, message);
		spool_segment_unlink(message);
	}
	spool_segment_review(segment);
	spool_gather(core);
	spool_pump(core);
	return over;
}

bool
spool_settle(struct spool *spool, struct spool_message *message, uint16_t rcpt,
	     const struct spool_rcpt_state *state)
{
	struct spool_note note = { .id = message->id, .rcpt = rcpt, .state = *state };
	bool over;

	check(state->outcome <= SPOOL_DROPPED);
	spool_enter(spool);
	over = settle(spool->core, message, &note);
	spool_leave(spool);
	return over;
}

bool
spool_refuses(struct spool *spool)
{
	bool refuses;

	spool_enter(spool);
	refuses = !accepts(spool->core, NULL);
	spool_leave(spool);
	return refuses;
}

void
spool_stats(struct spool *spool, struct spool_stats *out)
{
	struct spool_core *core = spool->core;
	struct err err = { 0 };

	spool_enter(spool);
	*out = (struct spool_stats){
		.segments = core->segments_n, .live_messages = core->live_messages,
		.commits = core->commits, .syncs = core->syncs, .compacted = core->compacted,
	};
	list_each (pos, &core->segments) {
		const struct spool_segment *segment = list_entry(pos, struct spool_segment, link);
		out->bytes += segment->end + segment->journal_bytes;
	}
	out->refusing = !accepts(core, &err);
	spool_leave(spool);
	snprintf(out->why, sizeof(out->why), "%.*s", (int)sizeof(out->why) - 1, err.text);
}

void
spool_hurry(struct spool *spool)
{
	spool_enter(spool);
	spool->core->wants_notes = true;
	spool_pump(spool->core);
	spool_leave(spool);
}
