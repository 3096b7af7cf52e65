/*
 * Writing a message. A body gathers in the memory of a record; each full 256 KiB leaves as a
 * piece at once, so a writer never holds more. What is left at the end
 * becomes the message's own record, so that a small message is one record.
 *
 * Who writes faster than the disk is told to wait: at four pieces of his own, or at one
 * where much waits of all. What he waits for is his, so the next batch lets him go on, however
 * much others write. What comes all the same is refused beyond SPOOL_PENDING_MAX.
 *
 * A writer serves as its message's ticket, and its memory as the next one's; so does
 * a record's, when nobody needs it any more.
 *
 * All of a message lies in one segment: the first piece pins it, however long
 * the segment then grows. Pieces without a message (aborted, withdrawn, cut by a
 * crash) are bytes that nobody refers to.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/spool_inside.h"

#define PIECES_MAX (1u << 20)
#define AHEAD_PIECES 4u                 /* a writer's, that are not written yet; */
#define CROWDED_BYTES (32u << 20)       /* of all, from which on it is one */

void
spool_writer_init(struct spool_writer *writer, struct spool *face)
{
	writer->ticket.face = face;
	list_init(&writer->ticket.link);
	face->open++;
	list_add_tail(&face->core->writers, &writer->link);
	writer->body = spool_spare_take(face->core);
}

static struct spool_core *
core_of(const struct spool_writer *writer)
{
	return writer->ticket.face->core;
}

/* Ticket and line are for the commit again. */
static void
waits_no_more(struct spool_writer *writer)
{
	list_remove(&writer->ticket.link);
	writer->ticket.on_room = NULL;
}

void
spool_writer_end(struct spool_writer *writer)
{
	struct spool_segment *segment = writer->segment;

	writer->ticket.face->open--;
	list_remove(&writer->link);
	if (writer->body)
		spool_fresh_give(core_of(writer), writer->body);
	writer->body = NULL;
	if (segment && --segment->writers == 0) {
		spool_segment_dirty(segment);   /* the next batch closes its files */
		spool_segment_review(segment);
	}
}

void
spool_writer_free(struct spool_writer *writer)
{
	free(writer->pieces);
	pool_give(&writer->ticket.face->writers, writer, sizeof(*writer));
}

static void
writer_pin(struct spool_writer *writer, uint64_t bytes)
{
	if (writer->segment)
		return;
	writer->segment = spool_segment_for(core_of(writer), bytes);
	writer->segment->writers++;
}

static bool
may_append(struct spool_writer *writer, uint64_t bytes, struct err *err)
{
	struct spool_core *core = core_of(writer);
	struct err *own = &writer->ticket.err;

	if (own->kind)
		goto fail;
	if (core->failing.kind)
		*own = core->failing;
	else if (core->pending_bytes + bytes > SPOOL_PENDING_MAX)
		err_set(own, ERR_TEMP, "spool: the disk is too slow, %u MiB wait for it", SPOOL_PENDING_MAX >> 20);
	if (!own->kind)
		return true;
fail:
	if (err)
		*err = *own;
	return false;
}

/* The record is the segment's, or nobody's. */
static bool
piece_out(struct spool_writer *writer, struct spool_fresh *record, struct err *err)
{
	struct spool_core *core = core_of(writer);
	uint32_t body_bytes = record->n - SPOOL_RECORD_HEADER;
	struct err *own = &writer->ticket.err;

	if (!own->kind && writer->pieces_n == PIECES_MAX)
		err_set(own, ERR_PERM, "spool: the message is too large");
	if (!own->kind)
		spool_room(core, SPOOL_RESERVE_BYTES + SPOOL_PIECE_MAX, own);
	if (!may_append(writer, body_bytes, err)) {
		spool_fresh_give(core, record);
		return false;
	}
	if (writer->pieces_n == writer->pieces_cap) {
		writer->pieces_cap = writer->pieces_cap ? writer->pieces_cap * 2 : 8;
		writer->pieces = mem_grow(writer->pieces, writer->pieces_cap * sizeof(*writer->pieces));
	}
	writer_pin(writer, record->n);
	writer->pieces[writer->pieces_n++] = (struct spool_piece){ writer->segment->end, body_bytes };
	writer->piece_bytes += record->n;
	spool_segment_append(writer->segment, record);
	spool_pump(core);
	return true;
}

/* Not yet in a piece. */
static uint32_t
body_bytes(const struct spool_writer *writer)
{
	return writer->body ? writer->body->n - SPOOL_RECORD_HEADER : 0;
}

/* Takes bytes up to a full piece, whose record it gives; NULL: that was all of them. */
static struct spool_fresh *
body_take(struct spool_writer *writer, struct span *bytes)
{
	size_t room = SPOOL_PIECE_MAX - (size_t)body_bytes(writer);
	struct span some = span_first(*bytes, bytes->n < room ? bytes->n : room);
	struct spool_fresh *record;

	writer->body = spool_fresh_gather(writer->body, some);
	writer->written += some.n;
	*bytes = span_from(*bytes, some.n);
	if (body_bytes(writer) < SPOOL_PIECE_MAX)
		return NULL;
	record = spool_record_piece(writer->body);
	writer->body = NULL;
	return record;
}

bool
spool_writer_add(struct spool_writer *writer, struct span bytes, struct err *err)
{
	struct spool_fresh *record;
	bool ok = true;

	while (ok && (record = body_take(writer, &bytes)) != NULL)
		ok = piece_out(writer, record, err);
	return ok;
}

/* What has pieces may have lost them to a batch that failed. */
static bool
still_good(struct spool_writer *writer, struct err *err)
{
	bool ok;

	if (!writer->segment && !writer->ticket.err.kind)
		return true;
	spool_enter(writer->ticket.face);
	ok = !writer->ticket.err.kind;
	if (!ok && err)
		*err = writer->ticket.err;
	spool_leave(writer->ticket.face);
	return ok;
}

bool
spool_write(struct spool_writer *writer, struct span bytes, struct err *err)
{
	struct spool_fresh *record;
	bool ok = still_good(writer, err);

	while (ok && (record = body_take(writer, &bytes)) != NULL) {
		spool_enter(writer->ticket.face);
		ok = piece_out(writer, record, err);
		spool_leave(writer->ticket.face);
	}
	return ok;
}

static bool
is_ahead(const struct spool_writer *writer)
{
	uint32_t may = core_of(writer)->pending_bytes < CROWDED_BYTES ? AHEAD_PIECES : 1;

	return !writer->ticket.err.kind && writer->pieces_n >= may &&
	       writer->pieces[writer->pieces_n - may].at >= writer->segment->written;
}

bool
spool_writer_waits(struct spool_writer *writer, void (*on_room)(void *ctx), void *ctx)
{
	struct spool_ticket *ticket = &writer->ticket;
	bool waits;

	if (!writer->segment)
		return false;
	spool_enter(ticket->face);
	waits = is_ahead(writer);
	if (waits && !list_linked(&ticket->link)) {
		ticket->on_room = on_room;
		ticket->ctx = ctx;
		list_add_tail(&core_of(writer)->slow, &ticket->link);
	}
	spool_leave(ticket->face);
	return waits;
}

void
spool_writers_go_on(struct spool_core *core)
{
	list_each_safe (pos, &core->slow) {
		struct spool_writer *writer = list_entry(pos, struct spool_writer, ticket.link);
		if (is_ahead(writer))
			continue;
		list_remove(pos);
		spool_told(&writer->ticket);
	}
}

uint64_t
spool_written(const struct spool_writer *writer)
{
	return writer->written;
}

void
spool_abort(struct spool_writer *writer)
{
	struct spool *face = writer->ticket.face;

	spool_enter(face);
	waits_no_more(writer);
	spool_writer_end(writer);
	spool_pump(face->core);
	spool_leave(face);
	spool_writer_free(writer);
}

/* The body becomes it. NULL: too large. */
static struct spool_fresh *
record_new(struct spool_writer *writer, struct spool_message_parts *parts, const struct spool_rcpt_state *states)
{
	if (parts->meta.n > SPOOL_HEAD_MAX || parts->head.n > SPOOL_HEAD_MAX)
		return NULL;
	parts->body_bytes = writer->written;
	parts->pieces_n = writer->pieces_n;
	parts->gathered = writer->body;
	writer->body = NULL;
	return spool_record_message(parts, states, writer->pieces);
}

/* The record goes to what is pending, the ticket waits for it; or fails at once. */
static void
writer_commit(struct spool_writer *writer, struct spool_fresh *record)
{
	struct spool_core *core = core_of(writer);
	struct spool_ticket *ticket = &writer->ticket;
	struct spool_segment *segment;

	waits_no_more(writer);
	ticket->face->waiting++;
	if (!record)
		err_set(&ticket->err, ERR_PERM, "spool: the message's header is too large");
	if (!may_append(writer, record ? record->n : 0, NULL) || !record) {
		if (record)
			spool_fresh_give(core, record);
		spool_tell_later(ticket);
		spool_writer_end(writer);
		return;
	}
	writer_pin(writer, record->n);
	segment = writer->segment;
	ticket->segment = segment;
	ticket->at = segment->end;
	ticket->fresh = record;
	ticket->all_bytes = record->n + writer->piece_bytes;
	record->refs++;
	spool_segment_append(segment, record);
	segment->tickets++;
	segment->tickets_pending++;
	list_add_tail(&core->tickets, &ticket->link);
	spool_writer_end(writer);
}

void
spool_writer_commit(struct spool_writer *writer, struct spool_message_parts *parts, const struct spool_rcpt_state *states)
{
	writer_commit(writer, record_new(writer, parts, states));
}

void
spool_commit(struct spool_writer *writer, struct spool_message *message, uint16_t rcpts_n,
	     struct span meta, struct span head,
	     void (*on_commit)(void *ctx, const struct err *err), void *ctx)
{
	struct spool_ticket *ticket = &writer->ticket;
	struct spool *face = ticket->face;
	struct spool_message_parts parts = { .id = message->id, .rcpts_n = rcpts_n, .meta = meta, .head = head };
	struct spool_fresh *record;

	check(rcpts_n > 0);
	check(message->id != 0);
	check(!message->segment);
	ticket->id = message->id;
	ticket->rcpts_n = rcpts_n;
	ticket->message = message;
	ticket->on_commit = on_commit;
	ticket->ctx = ctx;
	record = record_new(writer, &parts, NULL);
	spool_enter(face);
	writer_commit(writer, record);
	spool_pump(face->core);
	spool_leave(face);
}
