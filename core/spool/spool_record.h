/*
 * spool_record - the spool's format: what stands in segments and journals.
 *
 * A file is a row of records, each a header of 32 bytes and a payload, numbers
 * little-endian:
 *   0 magic u32 · 4 kind u8 · 5 round u24 · 8 payload bytes u32 · 12 segment's number u64
 *   20 own offset u64 · 28 CRC-32C u32 over the 28 bytes before it and the payload
 * Number and offset keep a stale record, whole but of another place or time, from
 * being taken for this one. Records that one sync of their file made durable have the same round, and
 * what comes after it the next: so a record of a later round says that all before it was durable. 0: nothing
 * is known of that; so it is in format 1, and in the first record, which is what tells the format.
 *
 * Ownership  Parsed spans point into the bytes given.
 * Limits     What is parsed is hostile: any bytes give a record, or say no.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "spool/disk.h"
#include "spool/spool.h"
#include "util/buf.h"

#define SPOOL_FORMAT 2u                 /* and 1 is read */
#define SPOOL_RECORD_HEADER 32u
#define SPOOL_PIECE_MAX (256u * 1024u)
#define SPOOL_NOTES_MAX 2048u           /* in one record */

/* The kinds of the two files are apart, so neither is taken for the other. */
enum spool_record_kind {
	SPOOL_SEGMENT_START = 1,        /* format u32, ids from here on may be given u64 */
	SPOOL_PIECE,                    /* bytes of a body */
	SPOOL_MESSAGE,
	SPOOL_JOURNAL_START = 16,       /* format u32 */
	SPOOL_SYNCED,                   /* the segment is synced up to u64 */
	SPOOL_NOTES,                    /* what became of recipients */
};

struct spool_record {
	uint8_t     kind;
	uint32_t    round;
	uint64_t    at;
	struct span payload;
};

/* A record in memory, counted: the batch that writes it and the message that it is
 * may both hold it. The counts are under the spool's lock. Its header is the batch's: made when
 * the record has its place, and of no use to others. */
struct spool_fresh {
	unsigned refs;
	unsigned readers;
	uint8_t  kind;
	uint32_t round;                 /* to be set before it is sealed; 0: none */
	struct spool_message *message;  /* whose ->fresh this is */
	struct list link;               /* among the spool's, oldest first; or among its spares */
	uint32_t n, cap;
	char     p[];
};

struct spool_fresh *spool_fresh_new(uint8_t kind, uint32_t payload_bytes);      /* one reference */
void spool_fresh_unref(struct spool_fresh *fresh);
/* Puts bytes at the end of a payload whose kind is not known yet; NULL: a new one. The record may move. */
struct spool_fresh *spool_fresh_gather(struct spool_fresh *fresh, struct span bytes);
void spool_fresh_empty(struct spool_fresh *fresh);      /* to gather anew */
/* What was gathered moves up by so many bytes. The record may move. */
struct spool_fresh *spool_fresh_front(struct spool_fresh *fresh, uint32_t front);
/* Writes the header. */
void spool_fresh_seal(struct spool_fresh *fresh, uint64_t number, uint64_t at);

/* Where a piece of a body stands. */
struct spool_piece {
	uint64_t at;                    /* of its record */
	uint32_t bytes;                 /* of body */
};

/* A recipient's state, for the journal. outcome SPOOL_MOVED: of the whole message, which
 * a later segment now holds. */
#define SPOOL_MOVED 255u
struct spool_note {
	uint64_t id;
	uint16_t rcpt;
	struct spool_rcpt_state state;
};

struct spool_message_parts {
	uint64_t    id;
	uint64_t    body_bytes;
	uint16_t    rcpts_n;
	bool        has_states;
	uint32_t    pieces_n;
	struct span states, pieces;     /* encoded: spool_parts_state(), spool_parts_piece() */
	struct span meta, head, tail;
	struct spool_fresh *gathered;   /* when one is made: has the tail already, and becomes the message; NULL: tail is copied */
};

/* Writes the header of a record whose payload already stands behind it. */
void spool_record_seal(char *record, uint32_t payload_bytes, enum spool_record_kind kind,
		       uint32_t round, uint64_t number, uint64_t at);
/* The header alone: is it one of this place? Its payload is still to be checked. */
bool spool_record_peek(const char *header, uint64_t number, uint64_t at, uint32_t *payload_bytes_out);
/* Of magic, number and place two are right: so few bytes are wrong that the length, if it is not 0, most likely is not among them. */
bool spool_record_is_mostly(const char *header, uint64_t number, uint64_t at);
uint32_t spool_record_round(const char *header);
uint32_t spool_round_after(uint32_t round);     /* the next one; of 0: 0 */
/* All of it, which must be exactly bytes. */
bool spool_record_parse(struct span bytes, uint64_t number, uint64_t at, struct spool_record *out);
/* The running sum of a record whose payload is read bit by bit, and what it must come to. */
uint32_t spool_record_crc_begin(const char *header, uint32_t *want_out);

/* To be sealed. */
struct spool_fresh *spool_record_start(uint64_t next_id);
struct spool_fresh *spool_record_piece(struct spool_fresh *gathered);
/* parts: all but the encoded states and pieces, which come apart. states NULL: all wait. */
struct spool_fresh *spool_record_message(const struct spool_message_parts *parts,
					 const struct spool_rcpt_state *states, const struct spool_piece *pieces);

bool spool_record_parts(struct span payload, uint64_t at, struct spool_message_parts *out);
struct spool_rcpt_state spool_parts_state(const struct spool_message_parts *parts, unsigned i);
struct spool_piece spool_parts_piece(const struct spool_message_parts *parts, unsigned i);

/* Journal records go to the end of *to, whose first byte stands at `base` in the journal. */
void spool_record_journal_start(struct buf *to, uint64_t number, uint64_t base);
void spool_record_synced(struct buf *to, uint64_t number, uint32_t round, uint64_t base, uint64_t synced);
void spool_record_notes(struct buf *to, uint64_t number, uint32_t round, uint64_t base, const struct spool_note *notes, uint32_t n);
bool spool_record_note(struct span *payload, struct spool_note *out);   /* takes the next one */

/* spool_scan.c */
/* Is it what a file system says of bytes that its medium does not give back? */
bool spool_is_unreadable(const struct err *err);
/* As a disk's read; what cannot be read ends it, too: *bad_to_out says where reading may go on, else 0. One that fails
 * is tried again. */
bool spool_read_some(const struct disk_ops *ops, struct disk_file *file, uint64_t at, char *to, size_t n,
		     size_t *got_out, uint64_t *bad_to_out, struct err *err);

/* A walk over a file from its start. */
enum spool_step { SPOOL_STEP_RECORD, SPOOL_STEP_END, SPOOL_STEP_BAD, SPOOL_STEP_ERROR };
struct spool_scan {
	const struct disk_ops *ops;
	struct disk_file *file;
	uint64_t   number;
	uint64_t   size;
	uint64_t   content;             /* from here on there are only zeros; until a step was BAD or END for them: size */
	bool       looked;              /* for that */
	uint64_t   at;                  /* of the record just given; where it ended: BAD, END */
	uint64_t   next;
	uint64_t   beyond;              /* BAD: where the record would end by its own header; 0: too little is left of that */
	uint8_t    kind;                /* then: what that header calls it, */
	uint32_t   round;               /* and its round */
	uint64_t   bad_to;              /* BAD: because the disk cannot read it, up to there; 0: it can */
	struct buf window;              /* bytes of the file from `next` on */
};
void spool_scan_init(struct spool_scan *scan, const struct disk_ops *ops, struct disk_file *file,
		     uint64_t number, uint64_t size);
void spool_scan_fini(struct spool_scan *scan);
/* The record's payload lives until the next call. END: at the file's end, or where nothing but zeros is left. */
enum spool_step spool_scan_next(struct spool_scan *scan, struct spool_record *out, struct err *err);
/* Goes on at that place of the file, behind what is bad. */
void spool_scan_seek(struct spool_scan *scan, uint64_t at);
/* Goes on at the next place behind `at` where the header of a record stands, of at most so long a payload.
 * END: there is none. Only for files whose contents nobody outside can choose: a body may hold anything. */
enum spool_step spool_scan_search(struct spool_scan *scan, uint32_t payload_max, struct err *err);
/* Is there a sector of zeros among these bytes, or the rest of one from their start? So it is where a write behind the file's
 * end, or on zeros, was not carried out. What stands at `to` is good. */
bool spool_scan_has_zeros(const struct spool_scan *scan, uint64_t from, uint64_t to);
