/*
 * A segment: what it holds, who pins it, and when it may go.
 *
 * Its life: made in memory with its start record pending; created by the first
 * batch (journal first, so that a segment without a journal never is a crash's
 * doing); appended to while it is the active one or a writer pins it; dead when
 * nobody lives in it or holds it; removed by spool_remove.c.
 *
 * Offsets: synced <= written <= end. Behind `written` stands only what is pending
 * in memory, so forgetting that is all it takes to be where the disk is.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/spool_inside.h"

#include <inttypes.h>

#define JOURNAL_LONG (1024u * 1024u)
#define NOTES_THIN 1024u

struct spool_segment *
spool_segment_new(struct spool_core *core, uint64_t number)
{
	struct spool_segment *segment = mem_alloc(sizeof(*segment));

	segment->core = core;
	segment->number = number;
	segment->file_round = segment->journal_round = 1;
	list_init(&segment->dirty_link);
	list_init(&segment->dead_link);
	list_init(&segment->messages);
	list_add_tail(&core->segments, &segment->link);
	core->segments_n++;
	if (core->next_number <= number)
		core->next_number = number + 1;
	return segment;
}

static void
forget_pending(struct spool_segment *segment)
{
	for (uint32_t i = 0; i < segment->pending.n; i++) {
		segment->core->pending_bytes -= segment->pending.v[i]->n;
		spool_fresh_give(segment->core, segment->pending.v[i]);
	}
	segment->pending.n = 0;
}

void
spool_segment_free(struct spool_segment *segment)
{
	struct spool_core *core = segment->core;

	forget_pending(segment);
	free(segment->pending.v);
	spool_notes_fini(&segment->notes);
	spool_renewal_end(segment);
	if (segment->read_file)
		core->disk->ops->close(segment->read_file);
	spool_segment_files_close(segment);
	if (core->active == segment)
		core->active = NULL;
	list_remove(&segment->dead_link);
	list_remove(&segment->dirty_link);
	list_remove(&segment->link);
	core->segments_n--;
	free(segment);
}

void
spool_segment_name(const struct spool_segment *segment, const char *suffix, char out[SPOOL_NAME_MAX])
{
	snprintf(out, SPOOL_NAME_MAX, "%016" PRIx64 "%s", segment->number, suffix);
}

void
spool_segment_dirty(struct spool_segment *segment)
{
	if (!list_linked(&segment->dirty_link))
		list_add_tail(&segment->core->dirty, &segment->dirty_link);
}

static void
append_start(struct spool_segment *segment)
{
	struct spool_core *core = segment->core;

	/* Ids given while this segment is the active one; a restart begins behind them. */
	segment->max_id = core->next_id - 1 + SPOOL_IDS_RESERVED;
	spool_segment_append(segment, spool_record_start(segment->max_id + 1));
}

void
spool_segment_rotate(struct spool_core *core)
{
	struct spool_segment *old = core->active;

	core->active = spool_segment_new(core, core->next_number);
	append_start(core->active);
	if (old) {
		spool_segment_dirty(old);       /* the next batch closes its files */
		spool_segment_review(old);
	}
}

struct spool_segment *
spool_segment_for(struct spool_core *core, uint64_t bytes)
{
	struct spool_segment *active = core->active;

	if (!active || active->sealed ||
	    (active->end > 2 * SPOOL_RECORD_HEADER && active->end + bytes > core->segment_bytes))
		spool_segment_rotate(core);
	return core->active;
}

/* ---- arrays that one batch leaves to the next; mostly there is one segment that is written to ---- */

static struct spool_chunks
chunks_take(struct spool_core *core)
{
	struct spool_chunks taken = { 0 };

	for (unsigned i = 0; i < SPOOL_IDLE_N && taken.cap == 0; i++) {
		taken = core->idle_chunks[i];
		core->idle_chunks[i] = (struct spool_chunks){ 0 };
	}
	return taken;
}

static void
notes_take(struct spool_core *core, struct spool_notes *to)
{
	for (unsigned i = 0; i < SPOOL_IDLE_N && to->cap == 0; i++) {
		to->v = core->idle_notes[i].v;
		to->cap = core->idle_notes[i].cap;
		core->idle_notes[i] = (struct spool_notes){ 0 };
	}
}

void
spool_chunks_idle(struct spool_core *core, struct spool_chunks *chunks)
{
	for (unsigned i = 0; i < SPOOL_IDLE_N && chunks->cap <= SPOOL_IDLE_MAX; i++) {
		if (core->idle_chunks[i].cap == 0) {
			core->idle_chunks[i] = (struct spool_chunks){ .v = chunks->v, .cap = chunks->cap };
			return;
		}
	}
	free(chunks->v);
}

void
spool_notes_idle(struct spool_core *core, struct spool_notes *notes)
{
	for (unsigned i = 0; i < SPOOL_IDLE_N && notes->cap <= SPOOL_IDLE_MAX; i++) {
		if (core->idle_notes[i].cap == 0) {
			core->idle_notes[i] = (struct spool_notes){ .v = notes->v, .cap = notes->cap };
			return;
		}
	}
	spool_notes_fini(notes);
}

void
spool_segment_append(struct spool_segment *segment, struct spool_fresh *record)
{
	struct spool_chunks *pending = &segment->pending;

	if (pending->cap == 0)
		*pending = chunks_take(segment->core);
	if (pending->n == pending->cap) {
		pending->cap = pending->cap ? pending->cap * 2 : 16;
		pending->v = mem_grow(pending->v, pending->cap * sizeof(*pending->v));
	}
	pending->v[pending->n++] = record;
	segment->end += record->n;
	segment->core->pending_bytes += record->n;
	segment->core->space_since += record->n;
	segment->core->wants_write = true;
	spool_segment_dirty(segment);
}

void
spool_segment_reset(struct spool_segment *segment)
{
	forget_pending(segment);
	segment->tickets_pending = 0;
	segment->end = segment->written;
	if (segment->end == 0 && !segment->sealed)
		append_start(segment);
}

/* Of what was never synced all goes, and the file may serve again: it must not be said of a later copy. */
void
spool_segment_void(struct spool_segment *segment, struct list *tickets)
{
	list_each (pos, tickets) {
		const struct spool_ticket *ticket = list_entry(pos, struct spool_ticket, link);
		struct spool_note moved = { .id = ticket->id, .state = { .outcome = SPOOL_MOVED } };

		if (ticket->segment == segment && segment->synced)
			spool_segment_note(segment, &moved);
	}
	segment->cut_fails++;
}

void
spool_segment_give_up(struct spool_segment *segment)
{
	char name[SPOOL_NAME_MAX];

	spool_segment_name(segment, ".seg", name);
	log_error(segment->core->log, "spool: %s cannot be written: what waits in it is written elsewhere, and the file set aside when nothing "
		  "of it waits any more", name);
	segment->cut = false;
	segment->damaged = true;
}

void
spool_segment_note(struct spool_segment *segment, const struct spool_note *note)
{
	struct spool_notes *notes = &segment->notes;

	if (notes->cap == 0)
		notes_take(segment->core, notes);
	spool_notes_add(notes, note);
	if (segment->core->failing.kind && notes->n > 2 * notes->lean + NOTES_THIN)
		spool_notes_thin(notes);
	spool_segment_dirty(segment);
}

void
spool_segment_link(struct spool_segment *segment, struct spool_message *message)
{
	message->segment = segment;
	list_add_tail(&segment->messages, &message->in_segment);
	segment->live_n++;
	segment->live_bytes += message->all_bytes;
	segment->core->live_messages++;
	if (segment->max_id < message->id)
		segment->max_id = message->id;
}

void
spool_segment_unlink(struct spool_message *message)
{
	struct spool_segment *segment = message->segment;

	list_remove(&message->in_segment);
	segment->live_n--;
	segment->live_bytes -= message->all_bytes;
	segment->core->live_messages--;
	message->segment = NULL;
}

static bool
held(const struct spool_segment *segment)
{
	return segment->live_n || segment->writers || segment->tickets;
}

static bool
worth_compacting(const struct spool_segment *segment)
{
	if (segment->kept || segment->readers || segment->writers || segment->tickets)
		return false;
	return segment->damaged || segment->live_bytes * 4 < segment->written ||
	       (segment->journal_bytes > JOURNAL_LONG && segment->journal_bytes > segment->written);
}

void
spool_segment_review(struct spool_segment *segment)
{
	struct spool_core *core = segment->core;

	if (segment->dead)
		return;
	if (segment == core->active) {
		/* A large message that is gone must not hold its room until the next comes. */
		if (!held(segment) && !segment->pending.n && segment->end >= core->segment_bytes / 2)
			spool_segment_rotate(core);
		return;
	}
	if (!held(segment)) {
		segment->dead = true;
		list_add_tail(&core->dead, &segment->dead_link);
		if (segment->moves) {
			segment->remove_after = core->batches + 1;
			core->wants_notes = true;
		}
	} else if (worth_compacting(segment)) {
		core->compact_at = 0;
	}
}

void
spool_segment_pin(struct spool_segment *segment)
{
	segment->readers++;
	segment->core->readers_n++;
}

struct disk_file *
spool_segment_open(const struct spool_segment *segment, struct err *err)
{
	struct disk *disk = segment->core->disk;
	char name[SPOOL_NAME_MAX];

	spool_segment_name(segment, ".seg", name);
	return disk->ops->open(disk, name, false, err);
}

bool
spool_segment_readable(struct spool_segment *segment, struct err *err)
{
	if (!segment->read_file)
		segment->read_file = spool_segment_open(segment, err);
	return segment->read_file != NULL;
}

void
spool_segment_unpin(struct spool_segment *segment)
{
	struct spool_core *core = segment->core;

	check(segment->readers > 0);
	core->readers_n--;
	if (--segment->readers > 0)
		return;
	if (segment->read_file)
		core->disk->ops->close(segment->read_file);
	segment->read_file = NULL;
	spool_segment_review(segment);
}

/* A name whose creation failed half way may be there: it holds nothing yet, so it goes. */
static struct disk_file *
open_or_make(struct spool_segment *segment, const char *suffix, bool *made, struct err *err)
{
	struct disk *disk = segment->core->disk;
	char name[SPOOL_NAME_MAX];
	struct disk_file *file;

	spool_segment_name(segment, suffix, name);
	if (!*made && segment->made_badly)
		disk->ops->remove(disk, name, NULL);
	file = disk->ops->open(disk, name, !*made, err);
	if (file)
		*made = true;
	else if (!*made)
		segment->made_badly = true;
	return file;
}

bool
spool_segment_journal(struct spool_segment *segment, struct err *err)
{
	if (!segment->journal)
		segment->journal = open_or_make(segment, ".jnl", &segment->journal_made, err);
	return segment->journal != NULL;
}

bool
spool_segment_file(struct spool_segment *segment, struct err *err)
{
	if (!segment->journal_made && !spool_segment_journal(segment, err))
		return false;
	if (!segment->file)
		segment->file = open_or_make(segment, ".seg", &segment->file_made, err);
	return segment->file != NULL;
}

void
spool_segment_files_close(struct spool_segment *segment)
{
	const struct disk_ops *ops = segment->core->disk->ops;

	if (segment->file && segment->file_ahead)
		ops->truncate(segment->file, segment->file_end, NULL);
	if (segment->file)
		ops->close(segment->file);
	if (segment->journal && segment->journal_ahead)
		ops->truncate(segment->journal, segment->journal_end, NULL);
	if (segment->journal)
		ops->close(segment->journal);
	segment->file = segment->journal = NULL;
	segment->file_ahead = segment->journal_ahead = 0;
}

static void
notes_room(struct spool_notes *notes, uint32_t more)
{
	if (more <= notes->cap - notes->n)
		return;
	notes->cap = notes->cap ? notes->cap : 16;
	while (notes->cap - notes->n < more)
		notes->cap *= 2;
	notes->v = mem_grow(notes->v, notes->cap * sizeof(*notes->v));
}

void
spool_notes_add(struct spool_notes *notes, const struct spool_note *note)
{
	notes_room(notes, 1);
	notes->v[notes->n++] = *note;
}

void
spool_notes_before(struct spool_notes *notes, struct spool_notes *earlier)
{
	notes_room(earlier, notes->n);
	if (notes->n)
		memcpy(earlier->v + earlier->n, notes->v, notes->n * sizeof(*notes->v));
	earlier->n += notes->n;
	free(notes->v);
	*notes = *earlier;
	*earlier = (struct spool_notes){ 0 };
}

void
spool_notes_fini(struct spool_notes *notes)
{
	free(notes->v);
	*notes = (struct spool_notes){ 0 };
}

uint32_t
spool_notes_outcomes(const struct spool_notes *notes)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < notes->n; i++)
		n += notes->v[i].state.outcome != SPOOL_MOVED;
	return n;
}

struct numbered {
	struct spool_note note;
	uint32_t i;
};

static int
by_rcpt(const struct spool_note *a, const struct spool_note *b)
{
	bool a_moved = a->state.outcome == SPOOL_MOVED, b_moved = b->state.outcome == SPOOL_MOVED;

	if (a->id != b->id)
		return a->id < b->id ? -1 : 1;
	if (a->rcpt != b->rcpt)
		return a->rcpt < b->rcpt ? -1 : 1;
	return a_moved - b_moved;
}

static int
by_rcpt_and_time(const void *a, const void *b)
{
	const struct numbered *x = a, *y = b;
	int order = by_rcpt(&x->note, &y->note);

	return order ? order : x->i < y->i ? -1 : 1;
}

/* Of each recipient only the last word: an end is told once, and last. */
void
spool_notes_thin(struct spool_notes *notes)
{
	struct numbered *all = mem_grow(NULL, (notes->n + 1) * sizeof(*all));
	uint32_t n = notes->n;

	for (uint32_t i = 0; i < n; i++)
		all[i] = (struct numbered){ .note = notes->v[i], .i = i };
	qsort(all, n, sizeof(*all), by_rcpt_and_time);
	notes->n = 0;
	for (uint32_t i = 0; i < n; i++) {
		if (i + 1 == n || by_rcpt(&all[i].note, &all[i + 1].note) != 0)
			notes->v[notes->n++] = all[i].note;
	}
	notes->lean = notes->n;
	free(all);
}
