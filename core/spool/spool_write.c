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
spool_writer_new(struct spool *spool)
{
	struct spool_writer *writer = mem_alloc(sizeof(*writer));

	writer->spool = spool;
	buf_init(&writer->body, 0);
	list_add_tail(&spool->writers, &writer->link);
	return writer;
}

void
spool_writer_free(struct spool_writer *writer)
{
	struct spool_segment *segment = writer->segment;

	list_remove(&writer->link);
	if (segment && --segment->writers == 0) {
		spool_segment_dirty(segment);   /* the next batch closes its files */
		spool_segment_review(segment);
	}
	buf_fini(&writer->body);
	free(writer->pieces);
	free(writer);
}

static void
writer_pin(struct spool_writer *writer, uint64_t bytes)
{
	if (writer->segment)
		return;
	writer->segment = spool_segment_for(writer->spool, bytes);
	writer->segment->writers++;
}

static bool
may_append(struct spool_writer *writer, uint64_t bytes, struct err *err)
{
	struct spool *spool = writer->spool;

	if (writer->err.kind)
		goto fail;
	if (spool->failing.kind)
		writer->err = spool->failing;
	else if (spool->pending_bytes + bytes > SPOOL_PENDING_MAX)
		err_set(&writer->err, ERR_TEMP, "spool: the disk is too slow, %u MiB wait for it", SPOOL_PENDING_MAX >> 20);
	if (!writer->err.kind)
		return true;
fail:
	if (err)
		*err = writer->err;
	return false;
}

static bool
piece_out(struct spool_writer *writer, struct err *err)
{
	struct span bytes = buf_span(&writer->body);
	struct spool_fresh *record;

	if (!may_append(writer, bytes.n, err))
		return false;
	if (writer->pieces_n == PIECES_MAX) {
		err_set(&writer->err, ERR_PERM, "spool: the message is too large");
		return may_append(writer, 0, err);
	}
	if (writer->pieces_n == writer->pieces_cap) {
		writer->pieces_cap = writer->pieces_cap ? writer->pieces_cap * 2 : 8;
		writer->pieces = mem_grow(writer->pieces, writer->pieces_cap * sizeof(*writer->pieces));
	}
	writer_pin(writer, SPOOL_RECORD_HEADER + bytes.n);
	writer->pieces[writer->pieces_n++] = (struct spool_piece){ writer->segment->end, (uint32_t)bytes.n };
	record = spool_record_piece(writer->segment->number, writer->segment->end, bytes);
	writer->piece_bytes += record->n;
	spool_segment_append(writer->segment, record);
	buf_clear(&writer->body);
	return true;
}

bool
spool_write(struct spool_writer *writer, struct span bytes, struct err *err)
{
	if (writer->err.kind)
		return may_append(writer, 0, err);
	while (bytes.n > 0) {
		size_t room = SPOOL_PIECE_MAX - buf_len(&writer->body);
		struct span some = span_first(bytes, bytes.n < room ? bytes.n : room);

		buf_add(&writer->body, some);
		writer->written += some.n;
		bytes = span_from(bytes, some.n);
		if (buf_len(&writer->body) < SPOOL_PIECE_MAX)
			break;
		if (!spool_room(writer->spool, SPOOL_RESERVE_BYTES + SPOOL_PIECE_MAX, &writer->err) || !piece_out(writer, err))
			return may_append(writer, 0, err);
		spool_pump(writer->spool);
	}
	return true;
}

uint64_t
spool_written(const struct spool_writer *writer)
{
	return writer->written;
}

void
spool_abort(struct spool_writer *writer)
{
	struct spool *spool = writer->spool;

	spool_writer_free(writer);
	spool_pump(spool);
}

/* The record goes to what is pending, the ticket waits for it; or fails at once. */
void
spool_writer_commit(struct spool_writer *writer, struct spool_ticket *ticket,
		    const struct spool_message_parts *parts, const struct spool_rcpt_state *states)
{
	struct spool *spool = writer->spool;
	uint64_t bytes = 2 * SPOOL_RECORD_HEADER + parts->meta.n + parts->head.n + parts->tail.n;
	struct spool_segment *segment;

	if (parts->meta.n > SPOOL_HEAD_MAX || parts->head.n > SPOOL_HEAD_MAX)
		err_set(&writer->err, ERR_PERM, "spool: the message's header is too large");
	if (!may_append(writer, bytes, &ticket->err)) {
		spool_fail_at_once(spool, ticket);
		spool_writer_free(writer);
		return;
	}
	writer_pin(writer, bytes);
	segment = writer->segment;
	ticket->segment = segment;
	ticket->id = parts->id;
	ticket->at = segment->end;
	ticket->rcpts_n = parts->rcpts_n;
	ticket->fresh = spool_record_message(segment->number, segment->end, parts, states, writer->pieces);
	ticket->all_bytes = ticket->fresh->n + writer->piece_bytes;
	ticket->fresh->refs++;
	spool_segment_append(segment, ticket->fresh);
	segment->tickets++;
	segment->tickets_pending++;
	list_add_tail(&spool->tickets, &ticket->link);
	spool_writer_free(writer);
}

void
spool_commit(struct spool_writer *writer, struct spool_message *message, uint16_t rcpts_n,
	     struct span meta, struct span head,
	     void (*on_commit)(void *ctx, const struct err *err), void *ctx)
{
	struct spool *spool = writer->spool;
	struct spool_ticket *ticket = mem_alloc(sizeof(*ticket));
	struct spool_message_parts parts = {
		.id = message->id, .body_bytes = writer->written, .rcpts_n = rcpts_n, .pieces_n = writer->pieces_n,
		.meta = meta, .head = head, .tail = buf_span(&writer->body),
	};

	check(rcpts_n > 0);
	check(message->id != 0);
	check(!message->segment);
	list_init(&ticket->link);
	ticket->message = message;
	ticket->on_commit = on_commit;
	ticket->ctx = ctx;
	spool_writer_commit(writer, ticket, &parts, NULL);
	spool_pump(spool);
}
