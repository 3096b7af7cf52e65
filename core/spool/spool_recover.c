/*
 * What a restart makes of the files.
 *
 * Segments in order of number; of each the journal first, then the records:
 *   - a journal's bad tail is cut: what stood there was not promised, or its
 *     segment would not have outlived it;
 *   - a bad record behind the place that the journal knows to be synced is the torn
 *     tail of a write that nobody was told of: cut. Before that place it is damage,
 *     and the spool is not opened: messages that were accepted would be lost
 *     without a word;
 *   - what was read and is not known to be synced is written again and synced, for it
 *     may be in memory only, and decisions are built on it;
 *   - a journal alone is the rest of a removal, or of a creation: removed.
 *
 * Then all copies and notes of one message meet, by id. A copy that its own journal
 * calls moved does not count; of what is left the latest does (a compaction was cut
 * short). Ends count wherever they were noted. Whatever held only because of another
 * segment's journal is noted again in this one's, so that either may go.
 *
 * Only one message's meta is in memory at a time: it is read again when told.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/spool_inside.h"

#define SECURE_BYTES (256u * 1024u)

struct copy {
	struct spool_segment *segment;
	uint64_t id, at, all_bytes, meta_at;
	uint32_t record_bytes, meta_bytes;
	uint16_t rcpts_n;
	bool moved;
};

struct heard {
	struct spool_note note;
	struct spool_segment *segment;
	bool in_record;                 /* it stands in the copy itself, so it is older than the journal's */
	size_t i;                       /* order of hearing */
};

struct recovery {
	struct spool *spool;
	uint64_t *segments, *journals;  /* numbers found */
	size_t segments_n, journals_n;
	struct copy  *copies;
	size_t copies_n, copies_cap;
	struct heard *heard;
	size_t heard_n, heard_cap;
	bool debris;                    /* names that only a crash leaves */
	struct spool_rcpt_state *states;        /* of one message */
	struct spool_segment **from;    /* which segment said so */
	struct spool_segment *open;     /* whose read_file is */
	struct buf meta;
};

/* ---- names ---- */

static bool
name_number(const char *name, const char *suffix, uint64_t *number_out)
{
	uint64_t number = 0;

	for (int i = 0; i < 16; i++) {
		char c = name[i];
		if (c >= '0' && c <= '9')
			number = number << 4 | (uint64_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			number = number << 4 | (uint64_t)(c - 'a' + 10);
		else
			return false;
	}
	*number_out = number;
	return number > 0 && number < INT64_MAX && strcmp(name + 16, suffix) == 0;
}

static void
add_number(uint64_t **numbers, size_t *n, uint64_t number)
{
	*numbers = mem_grow(*numbers, (*n + 1) * sizeof(**numbers));
	(*numbers)[(*n)++] = number;
}

static void
on_name(void *ctx, const char *name)
{
	struct recovery *r = ctx;
	uint64_t number;

	if (name_number(name, ".seg", &number))
		add_number(&r->segments, &r->segments_n, number);
	else if (name_number(name, ".jnl", &number))
		add_number(&r->journals, &r->journals_n, number);
	else if (strcmp(name, "removed") == 0)
		r->debris = true;
}

static int
by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static bool
among(const uint64_t *numbers, size_t n, uint64_t number)
{
	return n && bsearch(&number, numbers, n, sizeof(number), by_number);
}

static bool
names_read(struct recovery *r, struct err *err)
{
	struct spool *spool = r->spool;
	struct disk *disk = spool->disk;
	char name[SPOOL_NAME_MAX];

	if (!disk->ops->list(disk, on_name, r, err))
		return false;
	if (r->segments_n)
		qsort(r->segments, r->segments_n, sizeof(*r->segments), by_number);
	if (r->journals_n)
		qsort(r->journals, r->journals_n, sizeof(*r->journals), by_number);
	if (r->debris)
		disk->ops->remove(disk, "removed", NULL);
	for (size_t i = 0; i < r->journals_n; i++) {
		if (spool->next_number <= r->journals[i])
			spool->next_number = r->journals[i] + 1;
		if (among(r->segments, r->segments_n, r->journals[i]))
			continue;
		snprintf(name, sizeof(name), "%016llx.jnl", (unsigned long long)r->journals[i]);
		disk->ops->remove(disk, name, NULL);
	}
	for (size_t i = 0; i < r->segments_n; i++) {
		if (!among(r->journals, r->journals_n, r->segments[i]))
			return err_set(err, ERR_PERM, "spool: %016llx.seg has no journal, so nobody knows what was delivered of it; "
				       "move it aside to start without its messages, or make an empty %016llx.jnl to deliver all of them (again)",
				       (unsigned long long)r->segments[i], (unsigned long long)r->segments[i]);
	}
	return true;
}

/* ---- one segment ---- */

static bool
damaged(const struct spool_segment *segment, uint64_t at, struct err *err)
{
	char name[SPOOL_NAME_MAX];

	spool_segment_name(segment, ".seg", name);
	return err_set(err, ERR_PERM, "spool: %s is damaged at byte %llu; move it and its .jnl aside to start without its messages",
		       name, (unsigned long long)at);
}

static bool
known_format(const struct spool_segment *segment, const char *suffix, struct span *payload, struct err *err)
{
	char name[SPOOL_NAME_MAX];
	uint32_t format = 0;

	if (span_get_u32(payload, &format) && format == SPOOL_FORMAT)
		return true;
	spool_segment_name(segment, suffix, name);
	return err_set(err, ERR_PERM, "spool: %s has format %u, this version reads format %u; start the version that wrote it",
		       name, format, SPOOL_FORMAT);
}

static void
hear(struct recovery *r, struct spool_segment *segment, bool in_record, const struct spool_note *note)
{
	if (r->heard_n == r->heard_cap) {
		r->heard_cap = r->heard_cap ? r->heard_cap * 2 : 256;
		r->heard = mem_grow(r->heard, r->heard_cap * sizeof(*r->heard));
	}
	r->heard[r->heard_n] = (struct heard){ *note, segment, in_record, r->heard_n };
	r->heard_n++;
}

static bool
known_outcome(uint8_t outcome)
{
	return outcome <= SPOOL_DROPPED || outcome == SPOOL_MOVED;
}

/* False: not what a journal holds, so the good part ends here. */
static bool
journal_record(struct recovery *r, struct spool_segment *segment, const struct spool_record *record)
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
cut(struct spool_segment *segment, struct disk_file *file, const char *suffix, uint64_t at, uint64_t size, struct err *err)
{
	const struct disk_ops *ops = segment->spool->disk->ops;
	char name[SPOOL_NAME_MAX];

	if (at == size)
		return true;
	spool_segment_name(segment, suffix, name);
	if (!ops->truncate(file, at, err) || !ops->sync(file, err))
		return false;
	log_warning(segment->spool->log, "spool: %s: cut a torn tail of %llu bytes, which was never promised", name,
		    (unsigned long long)(size - at));
	return true;
}

/*
 * Makes what was read durable. After a failed sync the kernel may show bytes, call
 * them clean, and not have them on the disk; writing them again makes them dirty.
 */
static bool
secure(struct spool *spool, struct disk_file *file, uint64_t from, uint64_t to, struct err *err)
{
	const struct disk_ops *ops = spool->disk->ops;
	char *bytes = mem_grow(NULL, SECURE_BYTES);
	bool ok = true;
	size_t n;

	for (; ok && from < to; from += n) {
		size_t want = to - from < SECURE_BYTES ? (size_t)(to - from) : SECURE_BYTES;
		struct iovec iov;

		ok = ops->read(file, from, bytes, want, &n, err);
		if (ok && n == 0)
			break;
		iov = (struct iovec){ bytes, n };
		ok = ok && ops->write(file, from, &iov, 1, err);
	}
	free(bytes);
	return ok && ops->sync(file, err);
}

static bool
journal_walk(struct recovery *r, struct spool_segment *segment, struct spool_scan *scan, struct err *err)
{
	struct spool_record record;
	enum spool_step step;

	while ((step = spool_scan_next(scan, &record, err)) == SPOOL_STEP_RECORD) {
		struct span payload = record.payload;
		if (record.kind == SPOOL_JOURNAL_START && !known_format(segment, ".jnl", &payload, err))
			return false;
		if (!journal_record(r, segment, &record))
			break;
	}
	return step != SPOOL_STEP_ERROR;
}

static bool
journal_read(struct recovery *r, struct spool_segment *segment, struct err *err)
{
	struct disk *disk = r->spool->disk;
	char name[SPOOL_NAME_MAX];
	struct disk_file *file;
	struct spool_scan scan;
	uint64_t size = 0;
	bool ok;

	spool_segment_name(segment, ".jnl", name);
	file = disk->ops->open(disk, name, false, err);
	if (!file)
		return false;
	ok = disk->ops->size(file, &size, err);
	spool_scan_init(&scan, disk->ops, file, segment->number, size);
	ok = ok && journal_walk(r, segment, &scan, err) && cut(segment, file, ".jnl", scan.at, size, err) &&
	     (r->spool->was_clean || secure(r->spool, file, 0, scan.at, err));
	segment->journal_end = segment->journal_synced = segment->journal_bytes = scan.at;
	spool_scan_fini(&scan);
	disk->ops->close(file);
	return ok;
}

static void
hear_states(struct recovery *r, struct spool_segment *segment, const struct spool_message_parts *parts)
{
	for (unsigned i = 0; parts->has_states && i < parts->rcpts_n; i++) {
		struct spool_note note = { .id = parts->id, .rcpt = (uint16_t)i, .state = spool_parts_state(parts, i) };
		if (note.state.outcome != SPOOL_WAITING || note.state.attempts || note.state.due.ms)
			hear(r, segment, true, &note);
	}
}

static bool
message_record(struct recovery *r, struct spool_segment *segment, const struct spool_record *record)
{
	struct spool_message_parts parts;
	struct copy *copy;

	if (!spool_record_parts(record->payload, record->at, &parts))
		return false;
	if (r->copies_n == r->copies_cap) {
		r->copies_cap = r->copies_cap ? r->copies_cap * 2 : 256;
		r->copies = mem_grow(r->copies, r->copies_cap * sizeof(*r->copies));
	}
	copy = &r->copies[r->copies_n++];
	*copy = (struct copy){
		.segment = segment, .id = parts.id, .at = record->at, .rcpts_n = parts.rcpts_n,
		.record_bytes = SPOOL_RECORD_HEADER + (uint32_t)record->payload.n,
		.all_bytes = SPOOL_RECORD_HEADER + record->payload.n + parts.body_bytes - parts.tail.n +
			     (uint64_t)parts.pieces_n * SPOOL_RECORD_HEADER,
		.meta_at = record->at + SPOOL_RECORD_HEADER + (uint64_t)(parts.meta.p - record->payload.p),
		.meta_bytes = (uint32_t)parts.meta.n,
	};
	if (segment->max_id < parts.id)
		segment->max_id = parts.id;
	hear_states(r, segment, &parts);
	return true;
}

/* A record that is whole but makes no sense is damage wherever it stands. */
static bool
segment_record(struct recovery *r, struct spool_segment *segment, const struct spool_record *record, struct err *err)
{
	struct span payload = record->payload;
	uint64_t next_id;

	if ((record->kind == SPOOL_SEGMENT_START) != (record->at == 0))
		return damaged(segment, record->at, err);
	switch (record->kind) {
	case SPOOL_SEGMENT_START:
		if (!known_format(segment, ".seg", &payload, err))
			return false;
		if (!span_get_u64(&payload, &next_id) || next_id == 0 || next_id > INT64_MAX)
			return damaged(segment, record->at, err);
		segment->max_id = next_id - 1;
		return true;
	case SPOOL_PIECE:
		return true;
	case SPOOL_MESSAGE:
		return message_record(r, segment, record) || damaged(segment, record->at, err);
	default:
		return damaged(segment, record->at, err);
	}
}

static bool
segment_walk(struct recovery *r, struct spool_segment *segment, struct spool_scan *scan, struct err *err)
{
	struct spool_record record;
	enum spool_step step;

	while ((step = spool_scan_next(scan, &record, err)) == SPOOL_STEP_RECORD) {
		if (!segment_record(r, segment, &record, err))
			return false;
	}
	if (step == SPOOL_STEP_ERROR)
		return false;
	return scan->at >= segment->marked || damaged(segment, scan->at, err);
}

static bool
segment_read(struct recovery *r, struct spool_segment *segment, struct err *err)
{
	struct disk *disk = r->spool->disk;
	char name[SPOOL_NAME_MAX];
	struct disk_file *file;
	struct spool_scan scan;
	uint64_t size = 0;
	bool ok;

	spool_segment_name(segment, ".seg", name);
	file = disk->ops->open(disk, name, false, err);
	if (!file)
		return false;
	ok = disk->ops->size(file, &size, err);
	spool_scan_init(&scan, disk->ops, file, segment->number, size);
	ok = ok && segment_walk(r, segment, &scan, err) && cut(segment, file, ".seg", scan.at, size, err) &&
	     (scan.at == segment->marked || secure(r->spool, file, segment->marked, scan.at, err));
	segment->end = segment->written = segment->synced = scan.at;
	spool_scan_fini(&scan);
	disk->ops->close(file);
	return ok;
}

static bool
segments_read(struct recovery *r, struct err *err)
{
	struct spool *spool = r->spool;

	for (size_t i = 0; i < r->segments_n; i++) {
		struct spool_segment *segment = spool_segment_new(spool, r->segments[i]);

		segment->created = segment->file_made = segment->journal_made = true;
		if (!journal_read(r, segment, err) || !segment_read(r, segment, err))
			return false;
		if (spool->next_id <= segment->max_id)
			spool->next_id = segment->max_id + 1;
	}
	return true;
}

/* ---- messages ---- */

static int
copy_order(const void *a, const void *b)
{
	const struct copy *x = a, *y = b;

	if (x->id != y->id)
		return x->id < y->id ? -1 : 1;
	if (x->segment->number != y->segment->number)
		return x->segment->number < y->segment->number ? -1 : 1;
	return x->at < y->at ? -1 : x->at > y->at;
}

static int
heard_order(const void *a, const void *b)
{
	const struct heard *x = a, *y = b;

	if (x->note.id != y->note.id)
		return x->note.id < y->note.id ? -1 : 1;
	if (x->segment->number != y->segment->number)
		return x->segment->number < y->segment->number ? -1 : 1;
	if (x->in_record != y->in_record)
		return x->in_record ? -1 : 1;
	return x->i < y->i ? -1 : x->i > y->i;
}

static bool
is_end(const struct spool_rcpt_state *state)
{
	return state->outcome != SPOOL_WAITING;
}

/* The copy that counts, or NULL. The others are noted as moved, in case they outlive it. */
static struct copy *
choose(struct copy *copies, size_t n, const struct heard *heard, size_t heard_n)
{
	struct copy *chosen = NULL;

	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < heard_n; k++) {
			if (heard[k].note.state.outcome == SPOOL_MOVED && heard[k].segment == copies[i].segment)
				copies[i].moved = true;
		}
		if (!copies[i].moved)
			chosen = &copies[i];
	}
	for (size_t i = 0; chosen && i < n; i++) {
		struct spool_note moved = { .id = copies[i].id, .state = { .outcome = SPOOL_MOVED } };
		if (&copies[i] == chosen || copies[i].moved || copies[i].segment == chosen->segment)
			continue;
		spool_segment_note(copies[i].segment, &moved);
		copies[i].segment->moves = chosen->segment->moves = true;
	}
	return chosen;
}

static void
apply(struct recovery *r, const struct copy *chosen, const struct heard *heard, size_t n)
{
	for (unsigned i = 0; i < chosen->rcpts_n; i++) {
		r->states[i] = (struct spool_rcpt_state){ 0 };
		r->from[i] = NULL;
	}
	for (size_t k = 0; k < n; k++) {
		const struct spool_note *note = &heard[k].note;
		if (note->state.outcome == SPOOL_MOVED || note->rcpt >= chosen->rcpts_n ||
		    (is_end(&r->states[note->rcpt]) && !is_end(&note->state)))
			continue;
		r->states[note->rcpt] = note->state;
		r->from[note->rcpt] = heard[k].segment;
	}
	for (unsigned i = 0; i < chosen->rcpts_n; i++) {
		struct spool_note note = { .id = chosen->id, .rcpt = (uint16_t)i, .state = r->states[i] };
		if (!r->from[i] || r->from[i] == chosen->segment)
			continue;
		spool_segment_note(chosen->segment, &note);
		chosen->segment->moves = r->from[i]->moves = true;
	}
}

static bool
meta_read(struct recovery *r, const struct copy *copy, struct err *err)
{
	const struct disk_ops *ops = r->spool->disk->ops;
	size_t got;
	char *room;

	if (r->open != copy->segment) {
		if (r->open && r->open->read_file) {
			ops->close(r->open->read_file);
			r->open->read_file = NULL;
		}
		r->open = copy->segment;
	}
	if (!spool_segment_readable(copy->segment, err))
		return false;
	buf_clear(&r->meta);
	room = buf_grow(&r->meta, copy->meta_bytes);
	check(room != NULL);
	if (!ops->read(copy->segment->read_file, copy->meta_at, room, copy->meta_bytes, &got, err))
		return false;
	buf_grow_commit(&r->meta, got);
	return got == copy->meta_bytes || damaged(copy->segment, copy->at, err);
}

static bool
tell(struct recovery *r, const struct copy *copy, struct err *err)
{
	struct spool *spool = r->spool;
	struct spool_recovered recovered = { .id = copy->id, .rcpts_n = copy->rcpts_n, .rcpts = r->states };
	struct spool_message *message;
	uint16_t live = 0;

	for (unsigned i = 0; i < copy->rcpts_n; i++)
		live += !is_end(&r->states[i]);
	if (live == 0)
		return true;
	if (!meta_read(r, copy, err))
		return false;
	recovered.meta = buf_span(&r->meta);
	message = spool->owner.on_recovered(spool->owner.ctx, &recovered);
	if (!message)
		return err_set(err, ERR_PERM, "spool: message %llx was not taken over", (unsigned long long)copy->id);
	*message = (struct spool_message){
		.id = copy->id, .at = copy->at, .all_bytes = copy->all_bytes, .record_bytes = copy->record_bytes,
		.rcpts_n = copy->rcpts_n, .live = live,
	};
	spool_segment_link(copy->segment, message);
	return true;
}

static bool
messages_tell(struct recovery *r, struct err *err)
{
	size_t k = 0, k_end, i = 0, i_end;

	if (r->copies_n)
		qsort(r->copies, r->copies_n, sizeof(*r->copies), copy_order);
	if (r->heard_n)
		qsort(r->heard, r->heard_n, sizeof(*r->heard), heard_order);
	for (; i < r->copies_n; i = i_end, k = k_end) {
		uint64_t id = r->copies[i].id;
		struct copy *chosen;

		for (i_end = i; i_end < r->copies_n && r->copies[i_end].id == id; i_end++)
			;
		while (k < r->heard_n && r->heard[k].note.id < id)
			k++;
		for (k_end = k; k_end < r->heard_n && r->heard[k_end].note.id == id; k_end++)
			;
		chosen = choose(&r->copies[i], i_end - i, r->heard + k, k_end - k);
		if (!chosen)
			continue;
		apply(r, chosen, r->heard + k, k_end - k);
		if (!tell(r, chosen, err))
			return false;
	}
	return true;
}

static void
segments_review(struct spool *spool)
{
	list_each (pos, &spool->segments) {
		struct spool_segment *segment = list_entry(pos, struct spool_segment, link);
		if (segment->notes.n)
			spool->wants_notes = true;
		spool_segment_review(segment);
	}
}

static void
recovery_fini(struct recovery *r)
{
	if (r->open && r->open->read_file) {
		r->spool->disk->ops->close(r->open->read_file);
		r->open->read_file = NULL;
	}
	free(r->segments);
	free(r->journals);
	free(r->copies);
	free(r->heard);
	free(r->states);
	free(r->from);
	buf_fini(&r->meta);
}

bool
spool_recover(struct spool *spool, struct err *err)
{
	struct recovery r = { .spool = spool };
	bool ok;

	r.states = mem_alloc((UINT16_MAX + 1u) * sizeof(*r.states));
	r.from = mem_alloc((UINT16_MAX + 1u) * sizeof(*r.from));
	buf_init(&r.meta, 0);
	ok = spool_state_look(spool, err) && names_read(&r, err) && segments_read(&r, err) && spool_state_begin(spool, err) && messages_tell(&r, err);
	if (ok)
		segments_review(spool);
	recovery_fini(&r);
	return ok;
}
