/*
 * Giving room back: dead segments are removed, mostly dead ones are compacted.
 *
 * What is damaged is not removed but renamed, both files, and stays. Removal renames the
 * segment first and only then removes its journal: whatever survives a crash, there is never a segment whose journal is gone, and a journal
 * alone means nothing. The renamed file is cut off from its end a piece at a job, batches
 * between: while a file system frees 64 MiB at once nobody's sync gets through, on whichever
 * thread (ext4: 26 to 40 ms; by pieces of 4 MiB no sync takes longer than without). Two things may delay it:
 *   - ids must keep growing over restarts, and a segment is what remembers them,
 *     so another that knows an id as great must remain;
 *   - segments that share a message (compaction made two copies) must not go before
 *     each other's journals have said so: they wait for one batch that was begun
 *     after their death and left no note unwritten. They go in the order of death.
 *
 * Compaction copies the live messages, about 1 MiB a step, into the active segment:
 * the worker reads, the loop appends like any commit, with the states of the
 * recipients in the record itself. When that batch is durable the message moves:
 * the new place holds from here on, the old journal gets a note MOVED. What became
 * of a recipient while the copy was under way went to the old journal, and goes to
 * the new one at the move. Each message moves by itself, so a failure in the middle
 * leaves every message in exactly one place.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/spool_inside.h"

#define STEP_BYTES (1024u * 1024u)
#define ITEMS_MAX 256u
#define REMOVED "removed"
#define CUT_BYTES (4u * 1024u * 1024u)

struct spool_compact_item {
	struct spool_message *message;  /* NULL: it ended meanwhile */
	uint64_t id, at;
	uint32_t record_bytes;
	uint16_t rcpts_n;
	struct spool_reader reader;
	struct spool_writer *writer;
	struct buf  body;               /* read in this step */
	bool loaded, read_all, given;   /* given: to a ticket */
	struct err  err;
};

struct spool_compaction {
	struct spool_segment *segment;
	struct list copying;            /* its messages that are items */
	struct spool_compact_item *items;
	unsigned items_n, waiting;      /* waiting: tickets not yet told */
	struct spool_notes late;        /* settled since the step began */
	bool reading, failed;
	uint64_t moved;
};

/* ---- removal ---- */

static bool
ids_stay_known(const struct spool_segment *segment)
{
	list_each (pos, &segment->core->segments) {
		const struct spool_segment *other = list_entry(pos, struct spool_segment, link);
		if (other != segment && !other->dead && other->created && other->max_id >= segment->max_id)
			return true;
	}
	return false;
}

/* The active one may know smaller ids: a writer that began long ago wrote elsewhere. */
static bool
make_ids_known(struct spool_segment *segment)
{
	struct spool_core *core = segment->core;
	struct spool_segment *active = core->active;

	if (ids_stay_known(segment))
		return true;
	if (!active || (active->created && active->max_id < segment->max_id))
		spool_segment_rotate(core);
	return false;
}

/* Whether a name is still in the folder; if nobody can say, it is. */
static bool
is_there(struct disk *disk, const char *name)
{
	bool there;

	return !spool_name_is_there(disk, name, &there, NULL) || there;
}

/* The first try may have renamed it and failed to make that durable. */
static bool
rename_away(struct spool_segment *segment, const char *name, const char *to)
{
	struct disk *disk = segment->core->disk;

	return disk->ops->rename(disk, name, to, NULL) ||
	       (segment->retry_at && disk->ops->rename(disk, to, to, NULL) && !is_there(disk, name));
}

/* False: it is small enough, or cannot be cut: removed as it is. */
static bool
cut_a_piece(struct spool_core *core)
{
	struct disk *disk = core->disk;
	struct disk_file *file = core->removing_left > CUT_BYTES ? disk->ops->open(disk, REMOVED, false, NULL) : NULL;
	bool cut;

	if (!file)
		return false;
	cut = disk->ops->truncate(file, core->removing_left - CUT_BYTES, NULL);
	disk->ops->close(file);
	core->removing_left -= CUT_BYTES;
	return cut;
}

static void
remove_work(struct spool_core *core)
{
	struct spool_segment *segment = core->removing;
	struct disk *disk = core->disk;
	char name[SPOOL_NAME_MAX], aside[SPOOL_NAME_MAX];

	spool_segment_files_close(segment);
	spool_segment_name(segment, ".seg", name);
	spool_segment_name(segment, ".seg" SPOOL_DAMAGED, aside);
	if (segment->file_made) {
		if (!rename_away(segment, name, segment->damaged ? aside : REMOVED))
			return;
		segment->file_made = false;
		if (!segment->damaged)
			core->removing_left = segment->written ? segment->written : 1;
	} else if (segment->made_badly) {
		disk->ops->remove(disk, name, NULL);
	}
	if (cut_a_piece(core))
		return;
	if (core->removing_left)
		disk->ops->remove(disk, REMOVED, NULL);
	core->removing_left = 0;
	spool_journal_away(segment);
}

static void
remove_done(struct spool_core *core)
{
	struct spool_segment *segment = core->removing;

	if (core->removing_left)
		return;                 /* the next piece after the next batch */
	core->removing = NULL;
	if (segment->file_made) {
		segment->retry_at = core->now + SPOOL_RETRY_US;
		spool_retry_later(core);
		return;
	}
	spool_damage_gone(segment);
	core->space_at = 0;
	spool_segment_free(segment);
}

bool
spool_remove_start(struct spool_core *core)
{
	bool blocked = false;

	if (core->removing) {
		spool_job_run(core, remove_work, remove_done);
		return true;
	}
	list_each (pos, &core->dead) {
		struct spool_segment *segment = list_entry(pos, struct spool_segment, dead_link);
		bool ready = !segment->readers && segment->retry_at <= core->now &&
			     (!segment->moves || (!blocked && core->clean_upto >= segment->remove_after));

		if (ready && make_ids_known(segment)) {
			core->removing = segment;
			spool_job_run(core, remove_work, remove_done);
			return true;
		}
		/* Those that share messages go in the order in which they died. */
		blocked = blocked || segment->moves;
	}
	return false;
}

bool
spool_remove_waits(const struct spool_core *core)
{
	list_each (pos, &core->dead) {
		if (list_entry(pos, struct spool_segment, dead_link)->retry_at > core->now)
			return true;
	}
	return false;
}

/* ---- compaction ---- */

static bool
may_compact(struct spool_segment *segment)
{
	struct spool_core *core = segment->core;
	bool sparse = segment->damaged || segment->live_bytes * 4 < segment->written ||
		      segment->journal_bytes > segment->written;

	return segment != core->active && !segment->dead && !segment->kept && segment->live_n && !segment->writers &&
	       !segment->tickets && !segment->readers && sparse &&
	       spool_room(core, SPOOL_RESERVE_BYTES + segment->live_bytes, NULL);
}

static bool
compaction_begin(struct spool_core *core)
{
	mono_us_t now = core->now;
	struct spool_compaction *compaction;

	if (core->compact_at > now)
		return false;
	core->compact_at = MONO_NEVER;
	list_each (pos, &core->segments) {
		struct spool_segment *segment = list_entry(pos, struct spool_segment, link);
		bool sparse = segment->damaged || segment->live_bytes * 4 < segment->written;
		if (!may_compact(segment)) {
			/* No room, or somebody reads it: later. */
			if (sparse && segment->live_n && segment != core->active && !segment->kept) {
				core->compact_at = now + SPOOL_RETRY_US;
				spool_retry_later(core);
			}
			continue;
		}
		compaction = mem_alloc(sizeof(*compaction));
		compaction->segment = segment;
		list_init(&compaction->copying);
		compaction->items = mem_alloc(ITEMS_MAX * sizeof(*compaction->items));
		spool_segment_pin(segment);
		segment->moves = true;
		core->compact_at = 0;           /* there may be more */
		core->compaction = compaction;
		return true;
	}
	return false;
}

static void
writer_drop(struct spool_writer *writer)
{
	spool_writer_end(writer);
	spool_writer_free(writer);
}

static void
item_end(struct spool_compaction *compaction, struct spool_compact_item *item)
{
	if (item->writer)
		writer_drop(item->writer);
	if (item->message) {
		list_remove(&item->message->in_segment);
		list_add_tail(&compaction->segment->messages, &item->message->in_segment);
	}
	spool_reader_unload(&item->reader);
	buf_fini(&item->body);
	*item = (struct spool_compact_item){ 0 };
}

void
spool_compact_end(struct spool_core *core)
{
	struct spool_compaction *compaction = core->compaction;
	struct spool_segment *segment;

	if (!compaction || compaction->waiting)
		return;
	segment = compaction->segment;
	core->compaction = NULL;
	for (unsigned i = 0; i < compaction->items_n; i++)
		item_end(compaction, &compaction->items[i]);
	if (!compaction->failed)
		core->compacted++;
	/* Its last messages may have moved after it died: their notes must be written too. */
	segment->remove_after = core->batches + 1;
	core->wants_notes = true;
	spool_notes_fini(&compaction->late);
	free(compaction->items);
	free(compaction);
	spool_segment_unpin(segment);
}

/* Chooses what the next step reads: what is half copied, and more up to 1 MiB. */
static void
items_choose(struct spool_compaction *compaction)
{
	struct spool_segment *segment = compaction->segment;
	uint64_t bytes = 0;

	compaction->late.n = 0;
	for (unsigned i = 0; i < compaction->items_n; i++)
		bytes += STEP_BYTES;            /* half copied: it takes a step of its own */
	while (compaction->items_n < ITEMS_MAX && bytes < STEP_BYTES && !list_empty(&segment->messages)) {
		struct spool_message *message = list_first(&segment->messages, struct spool_message, in_segment);
		struct spool_compact_item *item = &compaction->items[compaction->items_n++];

		*item = (struct spool_compact_item){
			.message = message, .id = message->id, .at = message->at,
			.record_bytes = message->record_bytes, .rcpts_n = message->rcpts_n,
			.reader = { .spool = &segment->core->first, .segment = segment },
		};
		buf_init(&item->reader.record, 0);
		buf_init(&item->body, 0);
		list_remove(&message->in_segment);
		list_add_tail(&compaction->copying, &message->in_segment);
		bytes += message->all_bytes;
	}
}

static void
read_work(struct spool_core *core)
{
	struct spool_compaction *compaction = core->compaction;

	for (unsigned i = 0; i < compaction->items_n; i++) {
		struct spool_compact_item *item = &compaction->items[i];
		if (!item->loaded) {
			if (!spool_reader_load(&item->reader, item->at, item->record_bytes, item->id,
					       span_make(NULL, 0), &item->err))
				continue;
			item->reader.read = item->reader.head.n;
			item->loaded = true;
		}
		spool_read(&item->reader, STEP_BYTES, &item->body, &item->read_all, &item->err);
	}
}

static void
item_commit(struct spool_core *core, struct spool_compact_item *item)
{
	struct spool_ticket *ticket = &item->writer->ticket;
	struct spool_rcpt_state *states = mem_alloc(item->rcpts_n * sizeof(*states));
	struct spool_message_parts parts = {
		.id = item->id, .rcpts_n = item->rcpts_n, .meta = item->reader.meta, .head = item->reader.head,
	};

	core->owner.on_states(core->owner.ctx, item->message, states);
	ticket->id = item->id;
	ticket->rcpts_n = item->rcpts_n;
	ticket->message = item->message;
	ticket->item = item;
	item->given = true;
	core->compaction->waiting++;
	spool_writer_commit(item->writer, &parts, states);
	item->writer = NULL;
	free(states);
}

static bool
item_append(struct spool_core *core, struct spool_compact_item *item)
{
	if (item->err.kind) {
		/* Read again each second, a bad sector would hold up everybody's batches. */
		core->compaction->segment->kept = item->err.kind == ERR_PERM || spool_is_unreadable(&item->err);
		log_error(core->log, "%s; its segment is not compacted", item->err.text);
		return false;
	}
	/* Not the first's thread, perhaps, whose pool it is. */
	if (!item->writer)
		spool_writer_init(item->writer = mem_alloc(sizeof(*item->writer)), &core->first);
	if (!spool_writer_add(item->writer, buf_span(&item->body), NULL))
		return false;
	buf_clear(&item->body);
	if (item->read_all)
		item_commit(core, item);
	return true;
}

/* Those that wait for a ticket stay; of the rest only what is half copied. */
static void
items_sweep(struct spool_compaction *compaction)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < compaction->items_n; i++) {
		struct spool_compact_item *item = &compaction->items[i];
		if (item->id && (!item->message || compaction->failed) && !item->given)
			item_end(compaction, item);
	}
	if (compaction->waiting)
		return;                         /* tickets point into the array */
	for (unsigned i = 0; i < compaction->items_n; i++) {
		if (compaction->items[i].id)
			compaction->items[kept++] = compaction->items[i];
	}
	compaction->items_n = kept;
}

static void
read_done(struct spool_core *core)
{
	struct spool_compaction *compaction = core->compaction;

	compaction->reading = false;
	if (core->closing)
		compaction->failed = true;
	for (unsigned i = 0; i < compaction->items_n && !compaction->failed; i++) {
		struct spool_compact_item *item = &compaction->items[i];
		if (item->message && !item_append(core, item))
			compaction->failed = true;
	}
	items_sweep(compaction);
}

bool
spool_compact_start(struct spool_core *core)
{
	struct spool_compaction *compaction;

	if (core->failing.kind || (!core->compaction && !compaction_begin(core)))
		return false;
	compaction = core->compaction;
	if (compaction->waiting)
		return false;
	items_sweep(compaction);
	if (!compaction->failed)
		items_choose(compaction);
	if (compaction->failed || compaction->items_n == 0 ||
	    !spool_segment_readable(compaction->segment, NULL)) {
		bool failed = compaction->failed = compaction->failed || compaction->items_n;

		spool_compact_end(core);
		/* Only now: its end finds the segment worth compacting again, at once. */
		if (failed) {
			core->compact_at = core->now + SPOOL_RETRY_US;
			spool_retry_later(core);
		}
		return spool_remove_start(core);
	}
	compaction->reading = true;
	spool_job_run(core, read_work, read_done);
	return true;
}

void
spool_compact_settled(struct spool_core *core, const struct spool_message *message, const struct spool_note *note)
{
	struct spool_compaction *compaction = core->compaction;

	if (!compaction || message->segment != compaction->segment)
		return;
	for (unsigned i = 0; i < compaction->items_n; i++) {
		struct spool_compact_item *item = &compaction->items[i];
		if (item->message != message)
			continue;
		spool_notes_add(&compaction->late, note);
		if (message->live == 0)
			item->message = NULL;
		return;
	}
}

static void
item_moved(struct spool_core *core, struct spool_ticket *ticket)
{
	struct spool_compaction *compaction = core->compaction;
	struct spool_message *message = ticket->item->message;
	struct spool_note moved = { .id = ticket->id, .state = { .outcome = SPOOL_MOVED } };

	ticket->segment->moves = true;
	for (uint32_t i = 0; i < compaction->late.n; i++) {
		if (compaction->late.v[i].id == ticket->id)
			spool_segment_note(ticket->segment, &compaction->late.v[i]);
	}
	spool_segment_note(compaction->segment, &moved);
	core->wants_notes = true;
	if (!message)
		return;
	spool_fresh_drop(core, message);
	spool_segment_unlink(message);
	message->at = ticket->at;
	message->all_bytes = ticket->all_bytes;
	message->record_bytes = ticket->fresh->n;
	spool_segment_link(ticket->segment, message);
	ticket->item->message = NULL;
	compaction->moved++;
}

void
spool_compact_told(struct spool_core *core, struct spool_ticket *ticket, const struct err *err)
{
	struct spool_compaction *compaction = core->compaction;

	check(compaction && compaction->waiting > 0);
	if (err)
		compaction->failed = true;
	else
		item_moved(core, ticket);
	ticket->item->given = false;
	item_end(compaction, ticket->item);
	compaction->waiting--;
}
