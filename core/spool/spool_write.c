/*
 * Writing a message. A body gathers in the writer; each full 256 KiB leaves as a
 * piece record at once, so a writer never holds more. What is left at the end
 * stands in the message's own record, so that a small message is one record.
 *
 * All of a message lies in one segment: the first piece pins it, however long
 * the segment then grows. Pieces without a message (aborted, withdrawn, cut by a
 * crash) are bytes that nobody refers to.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/spool_inside.h"

#define PIECES_MAX (1u << 20)

struct spool_writer *
spool_writer_new(struct spool *face)
{
	struct spool_writer *writer = mem_alloc(sizeof(*writer));

	writer->face = face;
	face->open++;
	buf_init(&writer->body, 0);
	list_add_tail(&face->core->writers, &writer->link);
	return writer;
}

void
spool_writer_end(struct spool_writer *writer)
{
	struct spool_segment *segment = writer->segment;

	writer->face->open--;
	list_remove(&writer->link);
	if (segment && --segment->writers == 0) {
		spool_segment_dirty(segment);   /* the next batch closes its files */
		spool_segment_review(segment);
	}
}

void
spool_writer_free(struct spool_writer *writer)
{
	buf_fini(&writer->body);
	free(writer->pieces);
	free(writer);
}

static void
writer_pin(struct spool_writer *writer, uint64_t bytes)
{
	if (writer->segment)
		return;
	writer->segment = spool_segment_for(writer->face->core, bytes);
	writer->segment->writers++;
}

static bool
may_append(struct spool_writer *writer, uint64_t bytes, struct err *err)
{
	struct spool_core *core = writer->face->core;

	if (writer->err.kind)
		goto fail;
	if (core->failing.kind)
		writer->err = core->failing;
	else if (core->pending_bytes + bytes > SPOOL_PENDING_MAX)
		err_set(&writer->err, ERR_TEMP, "spool: the disk is too slow, %u MiB wait for it", SPOOL_PENDING_MAX >> 20);
	if (!writer->err.kind)
		return true;
fail:
	if (err)
		*err = writer->err;
	return false;
}

/* The record is the segment's, or nobody's. */
static bool
piece_out(struct spool_writer *writer, struct spool_fresh *record, struct err *err)
{
	struct spool_core *core = writer->face->core;
	uint32_t body_bytes = record->n - SPOOL_RECORD_HEADER;

	if (!writer->err.kind && writer->pieces_n == PIECES_MAX)
		err_set(&writer->err, ERR_PERM, "spool: the message is too large");
	if (!writer->err.kind)
		spool_room(core, SPOOL_RESERVE_BYTES + SPOOL_PIECE_MAX, &writer->err);
	if (!may_append(writer, body_bytes, err)) {
		spool_fresh_unref(record);
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

/* Takes bytes up to a full piece, whose record it gives; NULL: that was all of them. */
static struct spool_fresh *
body_take(struct spool_writer *writer, struct span *bytes)
{
	size_t room = SPOOL_PIECE_MAX - buf_len(&writer->body);
	struct span some = span_first(*bytes, bytes->n < room ? bytes->n : room);
	struct spool_fresh *record;

	buf_add(&writer->body, some);
	writer->written += some.n;
	*bytes = span_from(*bytes, some.n);
	if (buf_len(&writer->body) < SPOOL_PIECE_MAX)
		return NULL;
	record = spool_record_piece(buf_span(&writer->body));
	buf_clear(&writer->body);
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

	if (!writer->segment && !writer->err.kind)
		return true;
	spool_enter(writer->face);
	ok = !writer->err.kind;
	if (!ok && err)
		*err = writer->err;
	spool_leave(writer->face);
	return ok;
}

bool
spool_write(struct spool_writer *writer, struct span bytes, struct err *err)
{
	struct spool_fresh *record;
	bool ok = still_good(writer, err);

	while (ok && (record = body_take(writer, &bytes)) != NULL) {
		spool_enter(writer->face);
		ok = piece_out(writer, record, err);
		spool_leave(writer->face);
	}
	return ok;
}

uint64_t
spool_written(const struct spool_writer *writer)
{
	return writer->written;
}

void
spool_abort(struct spool_writer *writer)
{
	struct spool *face = writer->face;

	spool_enter(face);
	spool_writer_end(writer);
	spool_pump(face->core);
	spool_leave(face);
	spool_writer_free(writer);
}

/* NULL: too large. */
static struct spool_fresh *
record_new(const struct spool_writer *writer, const struct spool_message_parts *parts, const struct spool_rcpt_state *states)
{
	if (parts->meta.n > SPOOL_HEAD_MAX || parts->head.n > SPOOL_HEAD_MAX)
		return NULL;
	return spool_record_message(parts, states, writer->pieces);
}

/* The record goes to what is pending, the ticket waits for it; or fails at once. */
static void
writer_commit(struct spool_writer *writer, struct spool_ticket *ticket, struct spool_fresh *record)
{
	struct spool_core *core = writer->face->core;
	struct spool_segment *segment;

	ticket->face = writer->face;
	ticket->face->waiting++;
	if (!record)
		err_set(&writer->err, ERR_PERM, "spool: the message's header is too large");
	if (!may_append(writer, record ? record->n : 0, &ticket->err) || !record) {
		if (record)
			spool_fresh_unref(record);
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
spool_writer_commit(struct spool_writer *writer, struct spool_ticket *ticket,
		    const struct spool_message_parts *parts, const struct spool_rcpt_state *states)
{
	writer_commit(writer, ticket, record_new(writer, parts, states));
	spool_writer_free(writer);
}

void
spool_commit(struct spool_writer *writer, struct spool_message *message, uint16_t rcpts_n,
	     struct span meta, struct span head,
	     void (*on_commit)(void *ctx, const struct err *err), void *ctx)
{
	struct spool *face = writer->face;
	struct spool_ticket *ticket = mem_alloc(sizeof(*ticket));
	struct spool_message_parts parts = {
		.id = message->id, .body_bytes = writer->written, .rcpts_n = rcpts_n, .pieces_n = writer->pieces_n,
		.meta = meta, .head = head, .tail = buf_span(&writer->body),
	};
	struct spool_fresh *record;

	check(rcpts_n > 0);
	check(message->id != 0);
	check(!message->segment);
	list_init(&ticket->link);
	ticket->id = message->id;
	ticket->rcpts_n = rcpts_n;
	ticket->message = message;
	ticket->on_commit = on_commit;
	ticket->ctx = ctx;
	record = record_new(writer, &parts, NULL);
	spool_enter(face);
	writer_commit(writer, ticket, record);
	spool_pump(face->core);
	spool_leave(face);
	spool_writer_free(writer);
}
