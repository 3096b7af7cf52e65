/*
 * Reading a message, and the records that are still in memory. What a reader looks at is
 * pinned under the lock when it is opened; from then on it reads without.
 *
 * A fresh record is one that was just committed: its first delivery follows at
 * once and needs no disk, and no sum either: it never left this memory. It goes
 * when its readers have closed, or when fresher ones need the room.
 *
 * Pieces are read as they go out; the sum of each is kept running and compared
 * before its last bytes are handed on, so a damaged body is noticed before the
 * dot that would make the receiver take it.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/spool_inside.h"

#include "util/crc.h"

void
spool_fresh_keep(struct spool_core *core, struct spool_message *message, struct spool_fresh *fresh)
{
	fresh->refs++;
	fresh->message = message;
	message->fresh = fresh;
	list_add_tail(&core->fresh, &fresh->link);
	core->fresh_bytes += fresh->cap;
	while (core->fresh_bytes > core->fresh_bytes_max)
		spool_fresh_drop(core, list_first(&core->fresh, struct spool_fresh, link)->message);
}

void
spool_fresh_drop(struct spool_core *core, struct spool_message *message)
{
	struct spool_fresh *fresh = message->fresh;

	if (!fresh)
		return;
	message->fresh = NULL;
	fresh->message = NULL;
	list_remove(&fresh->link);
	core->fresh_bytes -= fresh->cap;
	spool_fresh_give(core, fresh);
}

/* A record is larger than what malloc() has at hand, and mail comes in sizes that are much alike. */
void
spool_fresh_give(struct spool_core *core, struct spool_fresh *fresh)
{
	if (fresh->refs > 1 || core->spares_bytes + fresh->cap > SPOOL_SPARES_MAX) {
		spool_fresh_unref(fresh);
		return;
	}
	check(!list_linked(&fresh->link));
	list_add_head(&core->spares, &fresh->link);
	core->spares_bytes += fresh->cap;
}

struct spool_fresh *
spool_spare_take(struct spool_core *core)
{
	struct spool_fresh *spare;

	if (list_empty(&core->spares))
		return NULL;
	spare = list_first(&core->spares, struct spool_fresh, link);
	list_remove(&spare->link);
	core->spares_bytes -= spare->cap;
	spool_fresh_empty(spare);
	return spare;
}

static bool
damaged(const struct spool_reader *reader, uint64_t at, struct err *err)
{
	char name[SPOOL_NAME_MAX];

	spool_segment_name(reader->segment, ".seg", name);
	return err_set(err, ERR_PERM, "spool: %s is damaged at byte %llu", name, (unsigned long long)at);
}

static bool
record_read(struct spool_reader *reader, uint64_t at, uint32_t record_bytes, struct err *err)
{
	const struct disk_ops *ops = reader->spool->core->disk->ops;
	char *room = buf_grow(&reader->record, record_bytes);
	size_t got;

	check(room != NULL);
	if (!ops->read(reader->segment->read_file, at, room, record_bytes, &got, err))
		return false;
	buf_grow_commit(&reader->record, got);
	return true;
}

bool
spool_reader_load(struct spool_reader *reader, uint64_t at, uint32_t record_bytes, uint64_t id,
		  struct span fresh, struct err *err)
{
	struct spool_message_parts parts;
	struct spool_record record = { .kind = SPOOL_MESSAGE };
	bool ok = true;

	if (fresh.p) {
		record.payload = span_from(fresh, SPOOL_RECORD_HEADER);
	} else {
		if (!record_read(reader, at, record_bytes, err))
			return false;
		ok = spool_record_parse(buf_span(&reader->record), reader->segment->number, at, &record);
	}
	if (!ok || record.kind != SPOOL_MESSAGE || !spool_record_parts(record.payload, at, &parts) || parts.id != id)
		return damaged(reader, at, err);
	reader->meta = parts.meta;
	reader->head = parts.head;
	reader->tail = parts.tail;
	reader->body_bytes = parts.body_bytes;
	reader->size_bytes = parts.head.n + parts.body_bytes;
	reader->pieces_n = parts.pieces_n;
	if (parts.pieces_n > 0)
		reader->pieces = mem_alloc(parts.pieces_n * sizeof(*reader->pieces));
	for (unsigned i = 0; i < parts.pieces_n; i++)
		reader->pieces[i] = spool_parts_piece(&parts, i);
	return true;
}

void
spool_reader_unload(struct spool_reader *reader)
{
	buf_fini(&reader->record);
	free(reader->pieces);
	reader->pieces = NULL;
}

/* The file is opened without the lock; of two who do that at once, one closes his again. */
static bool
file_open(struct spool_reader *reader, struct err *err)
{
	struct spool_segment *segment = reader->segment;
	struct disk_file *file;
	bool there;

	spool_enter(reader->spool);
	there = segment->read_file != NULL;
	spool_leave(reader->spool);
	if (there)
		return true;
	file = spool_segment_open(segment, err);
	if (!file)
		return false;
	spool_enter(reader->spool);
	if (!segment->read_file) {
		segment->read_file = file;
		file = NULL;
	}
	spool_leave(reader->spool);
	if (file)
		reader->spool->core->disk->ops->close(file);
	return true;
}

bool
spool_read_open(struct spool *spool, const struct spool_message *message, struct spool_reader *out, struct err *err)
{
	struct span bytes = { 0 };
	struct spool_fresh *fresh;
	uint32_t record_bytes;
	uint64_t at;

	spool_enter(spool);
	check(message->segment != NULL);
	*out = (struct spool_reader){ .spool = spool, .segment = message->segment, .fresh = message->fresh };
	buf_init(&out->record, 0);
	at = message->at;
	record_bytes = message->record_bytes;
	spool->open++;
	spool_segment_pin(out->segment);
	fresh = out->fresh;
	if (fresh) {
		fresh->refs++;
		fresh->readers++;
		bytes = span_make(fresh->p, fresh->n);
	}
	spool_leave(spool);
	if ((fresh || file_open(out, err)) && spool_reader_load(out, at, record_bytes, message->id, bytes, err) &&
	    (!out->pieces_n || file_open(out, err)))
		return true;
	spool_read_close(out);
	return false;
}

/* The record's header, whose sum the payload continues. */
static bool
piece_begin(struct spool_reader *reader, struct err *err)
{
	struct spool_piece piece = reader->pieces[reader->piece];
	char header[SPOOL_RECORD_HEADER];
	uint32_t payload_bytes;
	size_t got;

	if (!reader->spool->core->disk->ops->read(reader->segment->read_file, piece.at, header, sizeof(header), &got, err))
		return false;
	if (got != sizeof(header) || header[4] != SPOOL_PIECE ||
	    !spool_record_peek(header, reader->segment->number, piece.at, &payload_bytes) ||
	    payload_bytes != piece.bytes)
		return damaged(reader, piece.at, err);
	reader->piece_crc = spool_record_crc_begin(header, &reader->piece_crc_want);
	return true;
}

/* Appends to *to. */
static bool
piece_read(struct spool_reader *reader, size_t max, struct buf *to, struct span *out, struct err *err)
{
	struct spool_piece piece = reader->pieces[reader->piece];
	size_t left = piece.bytes - reader->piece_read, n = max < left ? max : left, got;
	char *room;

	if (reader->piece_read == 0 && !piece_begin(reader, err))
		return false;
	room = buf_grow(to, n);
	if (!room)
		return err_set(err, ERR_TEMP, "spool: no room for what is read");
	if (!reader->spool->core->disk->ops->read(reader->segment->read_file,
					    piece.at + SPOOL_RECORD_HEADER + reader->piece_read, room, n, &got, err))
		return false;
	if (got != n)
		return damaged(reader, piece.at, err);
	reader->piece_crc = crc32c(reader->piece_crc, span_make(room, n));
	reader->piece_read += (uint32_t)n;
	if (reader->piece_read == piece.bytes) {
		if (reader->piece_crc != reader->piece_crc_want)
			return damaged(reader, piece.at, err);
		reader->piece++;
		reader->piece_read = 0;
	}
	buf_grow_commit(to, n);
	*out = span_make(room, n);
	return true;
}

/* False: the next bytes are on the disk. */
static bool
in_memory(const struct spool_reader *reader, size_t max, struct span *out)
{
	if (reader->read < reader->head.n)
		*out = span_from(reader->head, (size_t)reader->read);
	else if (reader->piece == reader->pieces_n)
		*out = span_from(reader->tail, (size_t)(reader->read - (reader->size_bytes - reader->tail.n)));
	else
		return false;
	*out = span_first(*out, out->n < max ? out->n : max);
	return true;
}

bool
spool_read(struct spool_reader *reader, size_t max, struct buf *to, bool *done_out, struct err *err)
{
	while (max > 0 && reader->read < reader->size_bytes) {
		struct span bytes = { 0 };

		if (!in_memory(reader, max, &bytes)) {
			if (!piece_read(reader, max, to, &bytes, err))
				return false;
		} else if (!buf_add(to, bytes)) {
			return err_set(err, ERR_TEMP, "spool: no room for what is read");
		}
		reader->read += bytes.n;
		max -= bytes.n;
	}
	*done_out = reader->read == reader->size_bytes;
	return true;
}

bool
spool_read_next(struct spool_reader *reader, size_t max, struct buf *room, struct span *out, bool *done_out, struct err *err)
{
	buf_clear(room);
	if (!in_memory(reader, max, out) && !piece_read(reader, max, room, out, err))
		return false;
	reader->read += out->n;
	*done_out = reader->read == reader->size_bytes;
	return true;
}

void
spool_read_rewind(struct spool_reader *reader)
{
	reader->read = 0;
	reader->piece = 0;
	reader->piece_read = 0;
}

void
spool_read_close(struct spool_reader *reader)
{
	struct spool *spool = reader->spool;
	struct spool_fresh *fresh = reader->fresh;

	if (!reader->segment)
		return;
	spool_reader_unload(reader);
	spool_enter(spool);
	if (fresh) {
		if (--fresh->readers == 0 && fresh->message)
			spool_fresh_drop(spool->core, fresh->message);
		spool_fresh_give(spool->core, fresh);
	}
	spool->open--;
	spool_segment_unpin(reader->segment);
	spool_pump(spool->core);
	spool_leave(spool);
	*reader = (struct spool_reader){ 0 };
}
