/*
 * What a restart makes of the files.
 *
 * Segments in order of number; of each the journal first, then the records:
 *   - a journal's bad tail is cut, unless the node closed in order: it is of a write
 *     that was not over; zeros alone are what was written ahead (spool_ahead.c). Bad bytes
 *     with good ones of a later round behind them are damage, as is what the disk cannot read: what is
 *     good is heard, for all that a journal says stays true, and written into a new one;
 *   - a bad record behind the place that the journal knows to be synced, with none
 *     of a later round behind it, is the torn tail of a write that nobody was told of:
 *     cut. Before that place it is damage; so it is where the journal cannot be
 *     trusted, or later ones follow, for what the journal knows of the last batches
 *     is not itself synced; or where all of it is there, and a bit wrong.
 *     spool_damage.c says how reading goes on;
 *   - what was read and is not known to be synced is written again and synced, for it
 *     may be in memory only, and decisions are built on it.
 * spool_names.c says which files there are, spool_regroup.c makes messages of it.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/spool_recover.h"

#include <errno.h>

#define SECURE_BYTES (256u * 1024u)
#define JOURNAL_PAYLOAD_MAX (64u * 1024u)

/* ---- one segment ---- */

static bool
known_format(struct spool_segment *segment, const char *suffix, struct span *payload, uint32_t *round, struct err *err)
{
	char name[SPOOL_NAME_MAX];
	uint32_t format = 0;

	if (span_get_u32(payload, &format) && format > 0 && format <= SPOOL_FORMAT) {
		if (format == 1)
			*round = 0;
		return true;
	}
	spool_segment_name(segment, suffix, name);
	return err_set(err, ERR_PERM, "spool: %s has format %u, this version reads formats 1 to %u; start the version that wrote it",
		       name, format, SPOOL_FORMAT);
}

static void
hear(struct spool_recovery *r, struct spool_segment *segment, bool in_record, const struct spool_note *note)
{
	if (r->heard_n == r->heard_cap) {
		r->heard_cap *= 2;
		r->heard = mem_grow(r->heard, r->heard_cap * sizeof(*r->heard));
	}
	r->heard[r->heard_n] = (struct spool_heard){ *note, segment, in_record, r->heard_n };
	r->heard_n++;
}

static bool
known_outcome(uint8_t outcome)
{
	return outcome <= SPOOL_DROPPED || outcome == SPOOL_MOVED;
}

/* False: not what a journal holds, so the good part ends here. */
static bool
journal_record(struct spool_recovery *r, struct spool_segment *segment, const struct spool_record *record)
{
	struct span payload = record->payload;
	struct spool_note note;
	uint64_t synced;

	if ((record->kind == SPOOL_JOURNAL_START) != (record->at == 0))
		return false;
	if (record->kind == SPOOL_JOURNAL_START)
		return true;
	if (record->kind == SPOOL_SYNCED && span_get_u64(&payload, &synced) && !payload.n) {
		if (segment->marked < synced)
			segment->marked = synced;
		spool_place_add(r, synced);
		return true;
	}
	if (record->kind != SPOOL_NOTES || payload.n == 0)
		return false;
	while (spool_record_note(&payload, &note)) {
		if (known_outcome(note.state.outcome))
			hear(r, segment, false, &note);
	}
	return payload.n == 0;
}

static bool
cut(struct spool_segment *segment, const struct spool_scan *scan, const char *suffix, uint64_t at, struct err *err)
{
	const struct disk_ops *ops = segment->core->disk->ops;
	char name[SPOOL_NAME_MAX];

	if (at == scan->size || (segment->core->look && at >= scan->content))
		return true;
	spool_segment_name(segment, suffix, name);
	if (segment->core->look) {
		spool_finding_tell(segment->core, &(struct spool_finding){ .file = name, .at = at, .to = scan->content,
			.text = "the torn tail of a write that was never promised; the next start cuts it off" });
		return true;
	}
	if (!ops->truncate(scan->file, at, err) || !ops->sync(scan->file, err))
		return false;
	if (at < scan->content)
		log_info(segment->core->log, "spool: %s: cut a torn tail of %llu bytes, which was never promised", name,
			    (unsigned long long)(scan->content - at));
	return true;
}

/*
 * Makes what was read durable. After a failed sync the kernel may show bytes, call
 * them clean, and not have them on the disk; writing them again makes them dirty.
 * What cannot be read now, and could before, would be built on without being there:
 * only of a segment that is damaged anyhow it is left out.
 */
static bool
secure(struct spool_segment *segment, struct disk_file *file, uint64_t from, uint64_t to, struct err *err)
{
	const struct disk_ops *ops = segment->core->disk->ops;
	uint64_t bad_to = 0;
	bool ok = true;
	char *bytes;
	size_t n = 1;

	if (segment->core->look)
		return true;
	bytes = mem_grow(NULL, SECURE_BYTES);
	for (; ok && from < to && (n || bad_to); from = bad_to ? bad_to : from + n) {
		size_t want = to - from < SECURE_BYTES ? (size_t)(to - from) : SECURE_BYTES;
		struct iovec iov;

		ok = spool_read_some(ops, file, from, bytes, want, &n, &bad_to, err);
		if (ok && bad_to && !segment->damaged)
			ok = err_set(err, ERR_TEMP, "spool: what could be read at byte %llu cannot be read again", (unsigned long long)(from + n));
		iov = (struct iovec){ bytes, n };
		ok = ok && (n == 0 || ops->write(file, from, &iov, 1, err));
	}
	free(bytes);
	return ok && ops->sync(file, err);
}

/*
 * What was read is cut off where it ends, and safe. Twice tried, a file that the disk does not write while it
 * reads it is as good as damaged: what it says is written elsewhere.
 */
static bool
settle(struct spool_segment *segment, const struct spool_scan *scan, const char *suffix, uint64_t from, uint64_t end, struct err *err)
{
	for (unsigned i = 0; i < 2; i++) {
		if (cut(segment, scan, suffix, end, err) && (from >= end || secure(segment, scan->file, from, end, err)))
			return true;
		if (!spool_is_unreadable(err))
			return false;
	}
	spool_file_stuck(segment, suffix, err);
	return true;
}

/* *end_out: where the last good record ends. */
static bool
journal_walk(struct spool_recovery *r, struct spool_segment *segment, struct spool_scan *scan, uint64_t *end_out, struct err *err)
{
	struct spool_record record;
	enum spool_step step;

	while ((step = spool_scan_next(scan, &record, err)) != SPOOL_STEP_END) {
		struct span payload = record.payload;

		if (step == SPOOL_STEP_RECORD && record.kind == SPOOL_JOURNAL_START && !known_format(segment, ".jnl", &payload, &segment->journal_round, err))
			return false;
		if (step == SPOOL_STEP_RECORD && journal_record(r, segment, &record)) {
			spool_hole_followed(r, segment, ".jnl", scan, &record);
			segment->journal_round = record.round ? record.round : segment->journal_round;
			*end_out = scan->next;
			continue;
		}
		spool_hole_begin(r, segment, scan->at, scan->beyond ? scan->round : 0, scan->bad_to ? SPOOL_UNREADABLE : NULL);
		if (step == SPOOL_STEP_BAD)
			step = spool_scan_search(scan, JOURNAL_PAYLOAD_MAX, err);
		if (step == SPOOL_STEP_ERROR)
			return false;
		if (step == SPOOL_STEP_END)
			break;
	}
	return true;
}

static bool
journal_end(struct spool_recovery *r, struct spool_segment *segment, const struct spool_scan *scan, uint64_t end, struct err *err)
{
	if (r->hole.open && (r->core->was_clean || !spool_hole_is_torn(r)))
		spool_hole_end(r, segment, ".jnl", scan->content);
	if (r->hole.open)
		end = spool_hole_take_back(r, segment);
	segment->journal_round = spool_round_after(segment->journal_round);
	segment->journal_end = segment->journal_synced = segment->journal_bytes = end;
	return segment->journal_damaged || settle(segment, scan, ".jnl", r->core->was_clean ? end : 0, end, err);
}

static bool
journal_read(struct spool_recovery *r, struct spool_segment *segment, struct err *err)
{
	struct disk *disk = r->core->disk;
	char name[SPOOL_NAME_MAX];
	struct disk_file *file;
	struct spool_scan scan;
	uint64_t size = 0, end = 0;
	bool ok, there = spool_number_among(r->journals, r->journals_n, segment->number);

	r->places_n = 0;
	/* Who only looks has not put the new one in its place. */
	if (!there && !spool_number_among(r->renewed, r->renewed_n, segment->number)) {
		spool_journal_missing(segment);
		return true;
	}
	spool_segment_name(segment, there ? ".jnl" : SPOOL_RENEWED, name);
	file = spool_file_open(disk, name, &size, err);
	if (!file) {
		if (spool_is_unreadable(err))
			spool_file_lost(segment, ".jnl");
		return segment->journal_damaged;
	}
	spool_scan_init(&scan, disk->ops, file, segment->number, size);
	ok = journal_walk(r, segment, &scan, &end, err) && journal_end(r, segment, &scan, end, err);
	spool_scan_fini(&scan);
	disk->ops->close(file);
	return ok;
}

static void
hear_states(struct spool_recovery *r, struct spool_segment *segment, const struct spool_message_parts *parts)
{
	for (unsigned i = 0; parts->has_states && i < parts->rcpts_n; i++) {
		struct spool_note note = { .id = parts->id, .rcpt = (uint16_t)i, .state = spool_parts_state(parts, i) };
		if (note.state.outcome != SPOOL_WAITING || note.state.attempts || note.state.due.ms)
			hear(r, segment, true, &note);
	}
}

static bool
message_record(struct spool_recovery *r, struct spool_segment *segment, const struct spool_record *record)
{
	struct spool_message_parts parts;
	struct spool_copy *copy;

	if (!spool_record_parts(record->payload, record->at, &parts))
		return false;
	if (r->copies_n == r->copies_cap) {
		r->copies_cap *= 2;
		r->copies = mem_grow(r->copies, r->copies_cap * sizeof(*r->copies));
	}
	copy = &r->copies[r->copies_n++];
	*copy = (struct spool_copy){
		.segment = segment, .id = parts.id, .at = record->at, .rcpts_n = parts.rcpts_n,
		.record_bytes = SPOOL_RECORD_HEADER + (uint32_t)record->payload.n,
		.all_bytes = SPOOL_RECORD_HEADER + record->payload.n + parts.body_bytes - parts.tail.n +
			     (uint64_t)parts.pieces_n * SPOOL_RECORD_HEADER,
		.size_bytes = parts.head.n + parts.body_bytes,
		.meta_at = record->at + SPOOL_RECORD_HEADER + (uint64_t)(parts.meta.p - record->payload.p),
		.meta_bytes = (uint32_t)parts.meta.n,
	};
	if (segment->max_id < parts.id)
		segment->max_id = parts.id;
	hear_states(r, segment, &parts);
	return true;
}

/* False: a record that is whole but makes no sense. */
static bool
segment_record(struct spool_recovery *r, struct spool_segment *segment, const struct spool_record *record)
{
	struct span payload = record->payload;
	uint32_t format;
	uint64_t next_id;

	if ((record->kind == SPOOL_SEGMENT_START) != (record->at == 0))
		return false;
	switch (record->kind) {
	case SPOOL_SEGMENT_START:
		if (!span_get_u32(&payload, &format) || !span_get_u64(&payload, &next_id) || next_id == 0 || next_id > INT64_MAX)
			return false;
		segment->max_id = next_id - 1;
		return true;
	case SPOOL_PIECE:
		return true;
	case SPOOL_MESSAGE:
		return message_record(r, segment, record);
	default:
		return false;
	}
}

/* Where the journal is whole, and does not know it to be synced. */
static bool
is_unpromised(const struct spool_segment *segment, uint64_t at)
{
	return at >= segment->marked && !segment->damaged && !segment->journal_damaged;
}

/*
 * Behind that place, is there a record of a sync later than the one that it may have waited for? A header found by searching
 * may be the text of a mail, so nothing is taken from it, but that something durable stands there is told.
 */
static bool
has_later(struct spool_scan *scan, uint64_t from, uint32_t round, bool *later_out, struct err *err)
{
	enum spool_step step = SPOOL_STEP_END;
	uint64_t at = scan->at;

	scan->at = from;
	while (round && !*later_out && (step = spool_scan_search(scan, UINT32_MAX, err)) == SPOOL_STEP_RECORD) {
		uint32_t found = spool_record_round(buf_span(&scan->window).p);

		*later_out = found && found != round && found != spool_round_after(round);
		scan->at = scan->next;
	}
	scan->at = at;
	return step != SPOOL_STEP_ERROR;
}

/* The last records are bad, but all there, and of no sector zeros: so they were written whole. */
static bool
is_whole(const struct spool_recovery *r, const struct spool_scan *scan)
{
	return !r->hole.followed && scan->at == scan->content && !spool_scan_has_zeros(scan, r->hole.at, scan->at);
}

/* What is bad at its end, if it is the torn tail of a write, does not count. round: of the last good record; 0: none is known. */
static bool
segment_end(struct spool_recovery *r, struct spool_segment *segment, struct spool_scan *scan, uint32_t round, struct err *err)
{
	bool torn = r->hole.open && spool_hole_is_torn(r) && is_unpromised(segment, r->hole.at) && !is_whole(r, scan), later = false;

	if (torn && !has_later(scan, r->hole.at, round, &later, err))
		return false;
	if (torn && !later)
		scan->at = spool_hole_take_back(r, segment);
	spool_hole_end(r, segment, ".seg", scan->content > segment->marked ? scan->content : segment->marked);
	return true;
}

static bool
segment_walk(struct spool_recovery *r, struct spool_segment *segment, struct spool_scan *scan, struct err *err)
{
	struct spool_record record;
	enum spool_step step;
	uint32_t round = 1;

	while ((step = spool_scan_next(scan, &record, err)) != SPOOL_STEP_ERROR) {
		struct span payload = record.payload;

		if (step == SPOOL_STEP_RECORD && record.at == 0 && record.kind == SPOOL_SEGMENT_START &&
		    !known_format(segment, ".seg", &payload, &segment->file_round, err))
			return false;
		if (step == SPOOL_STEP_RECORD && segment_record(r, segment, &record)) {
			spool_hole_followed(r, segment, ".seg", scan, &record);
			round = record.at ? record.round : round;
			if (r->core->counts)
				r->core->counts->records++;
			continue;
		}
		if ((step == SPOOL_STEP_END && scan->at >= segment->marked) || !spool_hole_skip(r, segment, scan))
			break;
	}
	return step != SPOOL_STEP_ERROR && segment_end(r, segment, scan, round, err);
}

static bool
segment_read(struct spool_recovery *r, struct spool_segment *segment, struct err *err)
{
	struct disk *disk = r->core->disk;
	char name[SPOOL_NAME_MAX];
	struct disk_file *file;
	struct spool_scan scan;
	uint64_t size = 0, end;
	bool ok;

	spool_segment_name(segment, ".seg", name);
	file = spool_file_open(disk, name, &size, err);
	if (!file) {
		if (err->sys == ENOENT)
			spool_segment_missing(segment);
		else if (spool_is_unreadable(err))
			spool_file_lost(segment, ".seg");
		return segment->damaged;
	}
	spool_scan_init(&scan, disk->ops, file, segment->number, size);
	ok = segment_walk(r, segment, &scan, err);
	end = segment->damaged ? scan.content : scan.at;
	if (ok && !segment->damaged)
		ok = settle(segment, &scan, ".seg", segment->marked, end, err);
	else if (ok && end > segment->marked)
		ok = secure(segment, file, segment->marked, end, err) || spool_is_unreadable(err);
	segment->end = segment->written = segment->synced = end;
	spool_scan_fini(&scan);
	disk->ops->close(file);
	return ok;
}

static bool
segments_read(struct spool_recovery *r, struct err *err)
{
	struct spool_core *core = r->core;

	for (size_t i = 0; i < r->segments_n; i++) {
		struct spool_segment *segment = spool_segment_new(core, r->segments[i]);
		size_t heard_from = r->heard_n;

		if (core->look && core->look->on_progress)
			core->look->on_progress(core->look->ctx, i, r->segments_n);
		segment->created = segment->file_made = segment->journal_made = true;
		if (!journal_read(r, segment, err) || !segment_read(r, segment, err))
			return false;
		if (segment->damaged || segment->journal_damaged)
			spool_damaged_ids(r, segment, heard_from);
		if (segment->journal_damaged)
			spool_journal_renew(r, segment, heard_from);
		if (core->next_id <= segment->max_id)
			core->next_id = segment->max_id + 1;
	}
	return true;
}

/* ---- all of it ---- */

static void
segments_review(struct spool_core *core)
{
	list_each (pos, &core->segments) {
		struct spool_segment *segment = list_entry(pos, struct spool_segment, link);
		if (segment->notes.n)
			core->wants_notes = true;
		spool_segment_review(segment);
	}
}

static void
recovery_fini(struct spool_recovery *r)
{
	free(r->segments);
	free(r->journals);
	free(r->renewed);
	free(r->aside);
	free(r->places);
	free(r->copies);
	free(r->heard);
}

bool
spool_recover(struct spool_core *core, struct err *err)
{
	struct spool_recovery r = { .core = core, .copies_cap = 256, .heard_cap = 256 };
	bool ok;

	r.copies = mem_alloc(r.copies_cap * sizeof(*r.copies));
	r.heard = mem_alloc(r.heard_cap * sizeof(*r.heard));
	ok = spool_state_look(core, err) && spool_names_read(&r, err) && segments_read(&r, err) &&
	     (core->look || spool_state_begin(core, err)) && spool_regroup(&r, err);
	if (ok && !core->look)
		segments_review(core);
	if (ok && core->damages && !core->look)
		log_error(core->log, "spool: damaged in %llu places, at least %llu messages that were accepted cannot be read",
			  (unsigned long long)core->damages, (unsigned long long)core->unread);
	recovery_fini(&r);
	return ok;
}
