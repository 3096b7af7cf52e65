/*
 * Compaction: what lives in a segment that is mostly dead is written again, and the segment removed.
 *
 * It copies the live messages, about 1 MiB a step, into the active segment:
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

bool
spool_compact_stop(struct spool_segment *segment)
{
	struct spool_compaction *compaction = segment->core->compaction;

	if (!compaction || compaction->segment != segment)
		return true;
	compaction->failed = true;
	spool_compact_end(segment->core);
	return !segment->core->compaction;
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
