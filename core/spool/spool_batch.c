/*
 * One batch: everything that waits goes to the disk, then everybody is told.
 *
 * On the worker, in this order:
 *   1. what an earlier failure left behind a segment's end is cut off, for good;
 *   2. new segments are created, journal first; each segment's bytes are written;
 *   3. segments with a message that somebody waits for are synced: from here on
 *      the messages are durable;
 *   4. journals are written (how far the segment is synced, then the notes) and,
 *      if there were notes, synced. A note thus never precedes its message.
 * On the first's loop, done: offsets move, tickets are told (spool_face.c).
 *
 * A failure in 1 to 3 withdraws the batch: each of its segments is cut back to where it stood before (after a failed
 * sync: to what is known to be synced, since the kernel may have dropped the rest and call it clean), and the cut is
 * synced before anybody is told, so that a message refused with 452 does not return. If even the cut fails, nothing
 * is accepted until it succeeds, or until the journal says that the refused are not there (MOVED), and the segment is
 * given up. What came after the batch carries offsets that are void now, so it fails as well. After a failed sync, or
 * a write that fails for the file itself, the segment is sealed.
 *
 * A failure in 4 loses nothing: notes stay in memory, the journal is cut back to
 * what is synced and the notes are written again. A crash meanwhile would undo them, so when there are many, or for long,
 * nobody should begin more (spool_stalls()). A journal that fails twice for itself (a bad sector) is written anew (spool_renew.c).
 *
 * Either way the spool then refuses (`failing`) and tries a batch each second,
 * which must sync something real; the first that succeeds opens it again.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/spool_inside.h"

#include <errno.h>

#define IDLE_BYTES_MAX (256u * 1024u)   /* of a batch's own arrays, kept for the next one */
#define FAILS_MAX      2u               /* of a file, before another takes its place */

struct part {
	struct spool_segment *segment;
	struct spool_chunks chunks;
	struct spool_notes  notes;
	uint64_t at, bytes;
	uint64_t synced, marked;        /* before, then after */
	struct spool_ahead ahead;
	bool cut, sync, force_journal, keep_files;
	/* the worker's answers */
	bool touched, write_failed, sync_failed, cut_failed, created, journal_ok;
	int journal_sys;                /* what its journal failed with, if it is bad for good */
	uint64_t journal_bytes;
};

struct spool_batch {
	/* arrays that are left to the next one */
	struct part *parts;
	uint32_t     parts_cap;
	struct buf   journal, iov;      /* the worker's */
	/* of this one */
	uint32_t     parts_n;
	struct list  tickets;
	uint64_t     number, syncs;
	struct err   err;               /* of steps 1 to 3 */
	struct err   journal_err;
};

/* ---- on the worker ---- */

static bool
part_write(struct spool_batch *batch, struct part *part, const struct disk_ops *ops)
{
	struct spool_segment *segment = part->segment;
	uint32_t n = part->chunks.n;
	uint64_t at = part->at;
	struct iovec *iov;

	if (n == 0)
		return true;
	buf_clear(&batch->iov);
	iov = (struct iovec *)buf_grow(&batch->iov, (n + SPOOL_AHEAD_IOVS) * sizeof(*iov));
	for (uint32_t i = 0; i < n; i++) {
		struct spool_fresh *record = part->chunks.v[i];
		record->round = at ? segment->file_round : 0;
		spool_fresh_seal(record, segment->number, at);
		iov[i] = (struct iovec){ record->p, record->n };
		at += record->n;
	}
	part->touched = true;
	segment->file_end = at;
	return spool_ahead_write(ops, segment->file, part->at, iov, (int)n, part->ahead.file, &segment->file_ahead, &batch->err);
}

static bool
part_cut(struct part *part, uint64_t to, const struct disk_ops *ops, struct err *err)
{
	struct spool_segment *segment = part->segment;

	segment->file_ahead = 0;
	return spool_segment_file(segment, err) && ops->truncate(segment->file, to, err) && ops->sync(segment->file, err);
}

static bool
segments_cut(struct spool_batch *batch, const struct disk_ops *ops)
{
	for (uint32_t i = 0; i < batch->parts_n; i++) {
		struct part *part = &batch->parts[i];
		if (!part->cut)
			continue;
		part->touched = true;
		if (!part_cut(part, part->at, ops, &batch->err))
			return false;
		batch->syncs++;
	}
	return true;
}

static bool
segments_write(struct spool_batch *batch, const struct disk_ops *ops)
{
	for (uint32_t i = 0; i < batch->parts_n; i++) {
		struct part *part = &batch->parts[i];
		if (part->chunks.n && !spool_segment_file(part->segment, &batch->err))
			return false;
		if (!part_write(batch, part, ops)) {
			part->write_failed = spool_is_unreadable(&batch->err);
			return false;
		}
	}
	return true;
}

static bool
segments_sync(struct spool_batch *batch, const struct disk_ops *ops)
{
	for (uint32_t i = 0; i < batch->parts_n; i++) {
		struct part *part = &batch->parts[i];
		if (!part->sync)
			continue;
		part->touched = true;
		if (!spool_segment_file(part->segment, &batch->err))
			return false;
		batch->syncs++;
		if (!ops->sync(part->segment->file, &batch->err)) {
			part->sync_failed = true;
			return false;
		}
	}
	/* Not before: what is withdrawn leaves no gap between rounds. */
	for (uint32_t i = 0; i < batch->parts_n; i++) {
		struct part *part = &batch->parts[i];
		if (!part->sync)
			continue;
		part->synced = part->at + part->bytes;
		part->segment->file_round = spool_round_after(part->segment->file_round);
	}
	return true;
}

static void
withdraw(struct spool_batch *batch, const struct disk_ops *ops)
{
	for (uint32_t i = 0; i < batch->parts_n; i++) {
		struct part *part = &batch->parts[i];
		if (!part->touched && !part->cut)
			continue;
		if (part->sync_failed)
			part->at = part->synced;
		part->cut_failed = !part_cut(part, part->at, ops, NULL);
	}
}

/* Written behind what is synced in the journal; what a failed try left there goes first. */
static bool
journal_write(struct spool_batch *batch, struct part *part, const struct disk_ops *ops, struct err *err)
{
	struct spool_segment *segment = part->segment;
	bool sync = part->notes.n || part->force_journal, ok;
	struct buf *buf = &batch->journal;
	struct iovec iov[1 + SPOOL_AHEAD_IOVS];

	if (!spool_segment_journal(segment, err))
		return false;
	if (segment->journal_bad) {
		if (!ops->truncate(segment->journal, segment->journal_synced, err))
			return false;
		segment->journal_end = segment->journal_synced;
		segment->journal_bad = false;
	}
	buf_clear(buf);
	if (segment->journal_end == 0)
		spool_record_journal_start(buf, segment->number, 0);
	if (part->synced > part->marked || part->force_journal)
		spool_record_synced(buf, segment->number, segment->journal_round, segment->journal_end, part->synced);
	spool_record_notes(buf, segment->number, segment->journal_round, segment->journal_end, part->notes.v, part->notes.n);
	iov[0] = (struct iovec){ buf->p + buf->start, buf_len(buf) };
	ok = spool_ahead_write(ops, segment->journal, segment->journal_end, iov, 1, part->ahead.journal, &segment->journal_ahead, err);
	if (ok && sync) {
		batch->syncs++;
		ok = ops->sync(segment->journal, err);
	}
	if (ok) {
		segment->journal_end += buf_len(buf);
		if (sync) {
			segment->journal_synced = segment->journal_end;
			segment->journal_round = spool_round_after(segment->journal_round);
		}
	}
	part->marked = ok ? part->synced : 0;
	segment->journal_bad = !ok;
	segment->journal_ahead = ok ? segment->journal_ahead : 0;
	return ok;
}

static void
journals_write(struct spool_batch *batch, const struct disk_ops *ops)
{
	for (uint32_t i = 0; i < batch->parts_n; i++) {
		struct part *part = &batch->parts[i];
		struct err err = { 0 };

		if (part->segment->renewal)
			err = *spool_renewal_err(part->segment->renewal);
		/* Without its segment a journal has nothing to say. */
		else if (!part->notes.n && !part->force_journal && part->synced <= part->marked)
			part->journal_ok = true;
		else if (part->segment->file_made && part->synced > 0)
			part->journal_ok = journal_write(batch, part, ops, &err);
		if (part->journal_ok)
			part->segment->journal_fails = 0;
		/* Once may be chance; a disk without room, or one that is read only now, is no better elsewhere. */
		else if (!part->segment->renewal && (spool_is_unreadable(&err) || err.sys == ENOENT) &&
			 ++part->segment->journal_fails >= FAILS_MAX)
			part->journal_sys = err.sys;
		if (!part->journal_ok && !batch->journal_err.kind)
			batch->journal_err = err;
		part->journal_bytes = part->segment->journal_end;
		part->created = part->synced > 0;
		/* At once: many segments may have notes, and descriptors are few. */
		if (!part->keep_files)
			spool_segment_files_close(part->segment);
	}
}

static void
batch_work(struct spool_core *core)
{
	struct spool_batch *batch = core->batch;
	const struct disk_ops *ops = core->disk->ops;

	if (!segments_cut(batch, ops) || !segments_write(batch, ops) || !segments_sync(batch, ops))
		withdraw(batch, ops);
	journals_write(batch, ops);
}

/* ---- under the lock ---- */

static void
part_init(struct part *part, struct spool_segment *segment, bool probe, bool final)
{
	bool stays = segment != segment->core->removing || segment->file_made;  /* else its name is gone, and must not be made again */

	*part = (struct part){
		.segment = segment, .chunks = segment->pending, .notes = segment->notes,
		.at = segment->written, .bytes = segment->end - segment->written,
		.synced = segment->synced, .marked = segment->marked,
		.cut = segment->cut && stays && (segment->synced || !segment->sealed || !segment->dead || final), /* else it is removed */
		.keep_files = !final && (segment == segment->core->active || segment->writers),
	};
	if (part->keep_files)
		spool_ahead_plan(segment, part->bytes, &part->ahead);
	part->sync = segment->tickets_pending || (!segment->created && part->chunks.n) ||
		     (final && stays && !segment->sealed && segment->end > segment->synced);
	part->force_journal = (probe && segment == segment->core->active) ||
			      (final && (segment->end > segment->marked));
	segment->pending = (struct spool_chunks){ 0 };
	segment->notes = (struct spool_notes){ .lean = segment->notes.lean };
	segment->tickets_pending = 0;
}

/* In the last one's memory. */
static struct spool_batch *
batch_empty(struct spool_core *core)
{
	struct spool_batch *batch = core->idle_batch;

	core->idle_batch = NULL;
	if (!batch)
		return mem_alloc(sizeof(*batch));
	*batch = (struct spool_batch){
		.parts = batch->parts, .parts_cap = batch->parts_cap, .journal = batch->journal, .iov = batch->iov,
	};
	return batch;
}

static void
batch_new(struct spool_core *core, bool probe, bool final)
{
	struct spool_batch *batch = batch_empty(core);
	uint32_t n = 0;

	list_each (pos, &core->dirty)
		n++;
	if (n > batch->parts_cap) {
		batch->parts = mem_grow(batch->parts, n * sizeof(*batch->parts));
		batch->parts_cap = n;
	}
	list_each_safe (pos, &core->dirty) {
		struct spool_segment *segment = list_entry(pos, struct spool_segment, dirty_link);
		list_remove(&segment->dirty_link);
		part_init(&batch->parts[batch->parts_n++], segment, probe, final);
	}
	list_init(&batch->tickets);
	list_splice_tail(&batch->tickets, &core->tickets);
	batch->number = ++core->batches;
	core->wants_write = core->wants_notes = core->probe_due = false;
	spool_gathered(core);
	core->batch = batch;
}

static void
part_wrote(struct part *part)
{
	struct spool_segment *segment = part->segment;

	segment->written = part->at + part->bytes;
	segment->cut = segment->cut && !part->cut;
	segment->cut_fails = segment->cut ? segment->cut_fails : 0;
	segment->write_fails = part->chunks.n ? 0 : segment->write_fails;
}

/* Of what was never synced nothing is kept. Where not even that can be removed, the disk is bad, not the file. */
static bool
is_to_seal(const struct part *part)
{
	bool bad = part->cut_failed || part->segment->write_fails >= FAILS_MAX;

	return part->synced > 0 ? bad || part->sync_failed : bad && list_empty(&part->segment->core->dead);
}

static void
part_withdrew(struct part *part, struct list *tickets)
{
	struct spool_segment *segment = part->segment;

	if (part->touched || part->cut) {
		segment->written = part->at;
		segment->cut = part->cut_failed;
	}
	segment->write_fails += part->write_failed;
	segment->sealed = segment->sealed || is_to_seal(part);
	if (part->cut_failed)
		spool_segment_void(segment, tickets);
	spool_segment_reset(segment);
	if (segment->cut)
		spool_segment_dirty(segment);
}

static void
part_done(struct part *part, struct list *tickets, bool failed)
{
	struct spool_segment *segment = part->segment;
	struct spool_core *core = segment->core;

	for (uint32_t i = 0; i < part->chunks.n; i++) {
		core->pending_bytes -= part->chunks.v[i]->n;
		spool_fresh_give(core, part->chunks.v[i]);
	}
	spool_chunks_idle(core, &part->chunks);
	segment->synced = part->synced;
	segment->marked = part->marked;
	segment->journal_bytes = part->journal_bytes;
	segment->created = part->created;
	if (failed)
		part_withdrew(part, tickets);
	else
		part_wrote(part);
	if (part->journal_ok) {
		spool_notes_idle(core, &part->notes);
		if (segment->cut && segment->synced && segment->cut_fails >= FAILS_MAX && !segment->notes.n)
			spool_segment_give_up(segment);
	} else {
		core->unsafe += core->journals_fail ? 0 : spool_notes_outcomes(&part->notes);        /* else they have been counted */
		spool_notes_before(&segment->notes, &part->notes);
		spool_segment_dirty(segment);
		if (part->journal_sys)
			spool_renew(segment, part->journal_sys);
	}
}

/* What was appended since the batch began has offsets that no longer hold. */
static void
fail_the_rest(struct spool_core *core, struct spool_batch *batch)
{
	list_each (pos, &core->segments) {
		struct spool_segment *segment = list_entry(pos, struct spool_segment, link);
		if (segment->pending.n)
			spool_segment_reset(segment);
	}
	list_each (pos, &core->writers) {
		struct spool_writer *writer = list_entry(pos, struct spool_writer, link);
		if (writer->segment)
			writer->ticket.err = batch->err;
	}
	list_splice_tail(&batch->tickets, &core->tickets);
	list_each (pos, &batch->tickets)
		list_entry(pos, struct spool_ticket, link)->err = batch->err;
}

static void
fail_or_mend(struct spool_core *core, const struct spool_batch *batch)
{
	const struct err *err = batch->err.kind ? &batch->err : &batch->journal_err;

	core->journals_fail = batch->journal_err.kind != ERR_NONE;
	if (!core->journals_fail)
		core->unsafe = 0;
	spool_stall_review(core);
	if (err->kind) {
		if (!core->failing.kind)
			log_error(core->log, "%s; new messages are refused until it works again", err->text);
		core->failing = *err;
		core->failing.kind = ERR_TEMP;
		spool_retry_later(core);
		return;
	}
	core->clean_upto = batch->number;
	if (core->failing.kind) {
		log_info(core->log, "spool: the disk works again");
		core->failing = (struct err){ 0 };
	}
}

void
spool_batch_free(struct spool_batch *batch)
{
	if (!batch)
		return;
	buf_fini(&batch->journal);
	buf_fini(&batch->iov);
	free(batch->parts);
	free(batch);
}

static void
batch_idle(struct spool_core *core, struct spool_batch *batch)
{
	check(!core->idle_batch);
	if (batch->parts_cap * sizeof(*batch->parts) + batch->journal.cap + batch->iov.cap > IDLE_BYTES_MAX)
		spool_batch_free(batch);
	else
		core->idle_batch = batch;
}

static void
batch_done(struct spool_core *core)
{
	struct spool_batch *batch = core->batch;
	bool failed = batch->err.kind != ERR_NONE;

	core->batch = NULL;
	batch->err.kind = failed ? ERR_TEMP : ERR_NONE;
	for (uint32_t i = 0; i < batch->parts_n; i++)
		part_done(&batch->parts[i], &batch->tickets, failed);
	if (failed)
		fail_the_rest(core, batch);
	spool_writers_go_on(core);
	fail_or_mend(core, batch);
	core->syncs += batch->syncs;
	for (uint32_t i = 0; i < batch->parts_n; i++)
		spool_segment_review(batch->parts[i].segment);
	list_each_safe (pos, &batch->tickets) {
		list_remove(pos);
		spool_told(list_entry(pos, struct spool_ticket, link));
	}
	batch_idle(core, batch);
}

void
spool_batch_start(struct spool_core *core)
{
	bool probe = core->failing.kind != ERR_NONE;

	/* A probe must write, and a sealed segment is no place for it. */
	if (probe && (!core->active || core->active->sealed))
		spool_segment_rotate(core);
	if (probe)
		spool_segment_dirty(core->active);
	batch_new(core, probe, false);
	core->was_background = false;
	spool_job_run(core, batch_work, batch_done);
}

void
spool_batch_now(struct spool_core *core, bool final)
{
	list_each (pos, &core->segments) {
		struct spool_segment *segment = list_entry(pos, struct spool_segment, link);
		if (final && (segment->end > segment->marked || segment->notes.n || segment->cut))
			spool_segment_dirty(segment);
	}
	batch_new(core, false, final);
	batch_work(core);
	batch_done(core);
}
