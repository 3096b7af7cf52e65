/*
 * The format of segments and journals, byte by byte.
 *
 * A message's payload:
 *   id u64 · body bytes u64 · recipients u16 · flags u16 (1: states) · pieces u32 ·
 *   meta bytes u32 · head bytes u32 · states (11 each) · pieces (12 each) · meta ·
 *   head · the rest: the body's tail
 * Lengths are checked against each other here, once, so that no reader of a
 * parsed message has to doubt them again.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/spool_record.h"

#include "util/crc.h"

#define MAGIC 0x4c504f53u               /* "SOPL" on disk */
#define CRC_AT 28u
#define STATE_BYTES 11u
#define PIECE_BYTES 12u
#define NOTE_BYTES 21u
#define MESSAGE_FIXED 32u
#define FLAG_STATES 1u
#define ROUND_MAX 0xffffffu

/* Unrolled, the compiler makes one store of it; of get() one load. */
static inline char *
put(char *p, uint64_t v, unsigned bytes)
{
#pragma GCC unroll 8
	for (unsigned i = 0; i < bytes; i++)
		p[i] = (char)(v >> (8 * i));
	return p + bytes;
}

static char *
put_span(char *p, struct span s)
{
	if (s.n)
		memcpy(p, s.p, s.n);
	return p + s.n;
}

static inline uint64_t
get(const char *p, unsigned bytes)
{
	uint64_t v = 0;

#pragma GCC unroll 8
	for (unsigned i = 0; i < bytes; i++)
		v |= (uint64_t)(unsigned char)p[i] << (8 * i);
	return v;
}

void
spool_record_seal(char *record, uint32_t payload_bytes, enum spool_record_kind kind, uint32_t round,
		  uint64_t number, uint64_t at)
{
	char *p = record;
	uint32_t crc;

	p = put(p, MAGIC, 4);
	p = put(p, kind, 1);
	p = put(p, round, 3);
	p = put(p, payload_bytes, 4);
	p = put(p, number, 8);
	p = put(p, at, 8);
	crc = crc32c(0, span_make(record, CRC_AT));
	put(p, crc32c(crc, span_make(record + SPOOL_RECORD_HEADER, payload_bytes)), 4);
}

void
spool_fresh_seal(struct spool_fresh *fresh, uint64_t number, uint64_t at)
{
	spool_record_seal(fresh->p, fresh->n - SPOOL_RECORD_HEADER, fresh->kind, fresh->round, number, at);
}

bool
spool_record_peek(const char *header, uint64_t number, uint64_t at, uint32_t *payload_bytes_out)
{
	*payload_bytes_out = (uint32_t)get(header + 8, 4);
	return get(header, 4) == MAGIC &&
	       get(header + 12, 8) == number && get(header + 20, 8) == at;
}

bool
spool_record_is_mostly(const char *header, uint64_t number, uint64_t at)
{
	return get(header + 8, 4) > 0 && (get(header, 4) == MAGIC) + (get(header + 12, 8) == number) + (get(header + 20, 8) == at) >= 2;
}

uint32_t
spool_record_round(const char *header)
{
	return (uint32_t)get(header + 5, 3);
}

uint32_t
spool_round_after(uint32_t round)
{
	return round == 0 ? 0 : round < ROUND_MAX ? round + 1 : 1;
}

uint32_t
spool_record_crc_begin(const char *header, uint32_t *want_out)
{
	*want_out = (uint32_t)get(header + CRC_AT, 4);
	return crc32c(0, span_make(header, CRC_AT));
}

bool
spool_record_parse(struct span bytes, uint64_t number, uint64_t at, struct spool_record *out)
{
	uint32_t payload_bytes, crc, want;

	if (bytes.n < SPOOL_RECORD_HEADER || !spool_record_peek(bytes.p, number, at, &payload_bytes) ||
	    payload_bytes != bytes.n - SPOOL_RECORD_HEADER)
		return false;
	out->kind = (uint8_t)bytes.p[4];
	out->round = spool_record_round(bytes.p);
	out->at = at;
	out->payload = span_from(bytes, SPOOL_RECORD_HEADER);
	crc = spool_record_crc_begin(bytes.p, &want);
	return crc32c(crc, out->payload) == want;
}

struct spool_fresh *
spool_record_start(uint64_t next_id)
{
	struct spool_fresh *fresh = spool_fresh_new(SPOOL_SEGMENT_START, 12);

	put(put(fresh->p + SPOOL_RECORD_HEADER, SPOOL_FORMAT, 4), next_id, 8);
	return fresh;
}

struct spool_fresh *
spool_record_piece(struct spool_fresh *gathered)
{
	check(gathered->n <= SPOOL_RECORD_HEADER + SPOOL_PIECE_MAX);
	gathered->kind = SPOOL_PIECE;
	return gathered;
}

static char *
put_state(char *p, const struct spool_rcpt_state *state)
{
	p = put(p, state->outcome, 1);
	p = put(p, state->attempts, 2);
	return put(p, (uint64_t)state->due.ms, 8);
}

static struct spool_rcpt_state
get_state(const char *p)
{
	return (struct spool_rcpt_state){
		.outcome = (uint8_t)get(p, 1),
		.attempts = (uint16_t)get(p + 1, 2),
		.due = { (int64_t)get(p + 3, 8) },
	};
}

struct spool_fresh *
spool_record_message(const struct spool_message_parts *parts,
		     const struct spool_rcpt_state *states, const struct spool_piece *pieces)
{
	size_t front = MESSAGE_FIXED + (states ? (size_t)parts->rcpts_n * STATE_BYTES : 0) +
		       (size_t)parts->pieces_n * PIECE_BYTES + parts->meta.n + parts->head.n;
	struct spool_fresh *fresh = parts->gathered ? parts->gathered : spool_fresh_gather(NULL, parts->tail);
	char *p;

	check(front < UINT32_MAX / 2);
	fresh = spool_fresh_front(fresh, (uint32_t)front);
	fresh->kind = SPOOL_MESSAGE;
	p = fresh->p + SPOOL_RECORD_HEADER;
	p = put(p, parts->id, 8);
	p = put(p, parts->body_bytes, 8);
	p = put(p, parts->rcpts_n, 2);
	p = put(p, states ? FLAG_STATES : 0, 2);
	p = put(p, parts->pieces_n, 4);
	p = put(p, parts->meta.n, 4);
	p = put(p, parts->head.n, 4);
	for (unsigned i = 0; states && i < parts->rcpts_n; i++)
		p = put_state(p, &states[i]);
	for (unsigned i = 0; i < parts->pieces_n; i++)
		p = put(put(p, pieces[i].at, 8), pieces[i].bytes, 4);
	p = put_span(p, parts->meta);
	put_span(p, parts->head);
	return fresh;
}

static bool
take(struct span *in, uint64_t n, struct span *out)
{
	if (n > in->n)
		return false;
	*out = span_first(*in, (size_t)n);
	*in = span_from(*in, (size_t)n);
	return true;
}

/* Pieces stand before the message, and add up to what the tail does not hold. */
static bool
pieces_fit(const struct spool_message_parts *parts, uint64_t at)
{
	uint64_t bytes = parts->tail.n;

	for (unsigned i = 0; i < parts->pieces_n; i++) {
		struct spool_piece piece = spool_parts_piece(parts, i);
		if (piece.at >= at || piece.bytes == 0 || piece.bytes > SPOOL_PIECE_MAX)
			return false;
		bytes += piece.bytes;
	}
	return bytes == parts->body_bytes;
}

bool
spool_record_parts(struct span payload, uint64_t at, struct spool_message_parts *out)
{
	struct span fixed;
	uint64_t flags;

	*out = (struct spool_message_parts){ 0 };
	if (!take(&payload, MESSAGE_FIXED, &fixed))
		return false;
	out->id = get(fixed.p, 8);
	out->body_bytes = get(fixed.p + 8, 8);
	out->rcpts_n = (uint16_t)get(fixed.p + 16, 2);
	flags = get(fixed.p + 18, 2);
	out->has_states = flags & FLAG_STATES;
	out->pieces_n = (uint32_t)get(fixed.p + 20, 4);
	if (flags > FLAG_STATES || out->rcpts_n == 0 || out->id == 0 || out->id > INT64_MAX)
		return false;
	if (!take(&payload, out->has_states ? out->rcpts_n * STATE_BYTES : 0, &out->states) ||
	    !take(&payload, (uint64_t)out->pieces_n * PIECE_BYTES, &out->pieces) ||
	    !take(&payload, get(fixed.p + 24, 4), &out->meta) ||
	    !take(&payload, get(fixed.p + 28, 4), &out->head))
		return false;
	out->tail = payload;
	for (unsigned i = 0; out->has_states && i < out->rcpts_n; i++) {
		if (spool_parts_state(out, i).outcome > SPOOL_DROPPED)
			return false;
	}
	return pieces_fit(out, at);
}

struct spool_rcpt_state
spool_parts_state(const struct spool_message_parts *parts, unsigned i)
{
	return get_state(parts->states.p + i * STATE_BYTES);
}

struct spool_piece
spool_parts_piece(const struct spool_message_parts *parts, unsigned i)
{
	const char *p = parts->pieces.p + (size_t)i * PIECE_BYTES;

	return (struct spool_piece){ .at = get(p, 8), .bytes = (uint32_t)get(p + 8, 4) };
}

/* Room for a record at the end of *to. */
static char *
journal_room(struct buf *to, uint32_t payload_bytes)
{
	char *p = buf_grow(to, SPOOL_RECORD_HEADER + payload_bytes);

	check(p != NULL);
	return p;
}

static void
journal_seal(struct buf *to, char *record, uint32_t payload_bytes, enum spool_record_kind kind,
	     uint32_t round, uint64_t number, uint64_t base)
{
	spool_record_seal(record, payload_bytes, kind, round, number, base + buf_len(to));
	buf_grow_commit(to, SPOOL_RECORD_HEADER + payload_bytes);
}

void
spool_record_journal_start(struct buf *to, uint64_t number, uint64_t base)
{
	char *record = journal_room(to, 4);

	put(record + SPOOL_RECORD_HEADER, SPOOL_FORMAT, 4);
	journal_seal(to, record, 4, SPOOL_JOURNAL_START, 0, number, base);
}

void
spool_record_synced(struct buf *to, uint64_t number, uint32_t round, uint64_t base, uint64_t synced)
{
	char *record = journal_room(to, 8);

	put(record + SPOOL_RECORD_HEADER, synced, 8);
	journal_seal(to, record, 8, SPOOL_SYNCED, round, number, base);
}

void
spool_record_notes(struct buf *to, uint64_t number, uint32_t round, uint64_t base, const struct spool_note *notes, uint32_t n)
{
	while (n > 0) {
		uint32_t some = n < SPOOL_NOTES_MAX ? n : SPOOL_NOTES_MAX;
		char *record = journal_room(to, some * NOTE_BYTES), *p = record + SPOOL_RECORD_HEADER;

		for (uint32_t i = 0; i < some; i++) {
			p = put(p, notes[i].id, 8);
			p = put(p, notes[i].rcpt, 2);
			p = put_state(p, &notes[i].state);
		}
		journal_seal(to, record, some * NOTE_BYTES, SPOOL_NOTES, round, number, base);
		notes += some;
		n -= some;
	}
}

bool
spool_record_note(struct span *payload, struct spool_note *out)
{
	struct span one;

	if (!take(payload, NOTE_BYTES, &one))
		return false;
	*out = (struct spool_note){ .id = get(one.p, 8), .rcpt = (uint16_t)get(one.p + 8, 2), .state = get_state(one.p + 10) };
	return true;
}
