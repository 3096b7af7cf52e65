/*
 * spool - where an accepted message lives until each of its recipients has
 * been delivered or bounced.
 *
 * The promise the rest of the node leans on: when on_commit said that a
 * message is durable, it survives power loss, and only spool_settle() of its
 * last recipient ends it. Nobody may answer 250 before that.
 *
 * A spool is a row of segments, each with a journal:
 *   000000000000002a.seg   records: pieces of bodies, and messages
 *   000000000000002a.jnl   records: what became of that segment's recipients,
 *                          and up to where the segment is known to be synced
 *   lock, and files of the engine's own (spool_state_*)
 * Records carry a CRC-32C and their place, so that a stale or torn one is not
 * taken for good. A segment with no live recipient is removed; one mostly dead
 * is compacted: its live messages are written again and it is removed.
 *
 * What is written gathers in memory; one batch at a time goes to the worker:
 * written, synced, and everybody who waits is told. A lone message has a batch
 * of its own at once; under load one sync serves all that came meanwhile.
 *
 * Ownership  struct spool_message is embedded in the engine's message and
 *            belongs to the spool from begin/recovery until spool_settle() says
 *            it is over. A writer ends with exactly one commit or abort.
 * Threads    Each loop has a face of its own: the first is spool_open()'s, the others
 *            are spool_join()'s. All functions take any face, from the thread of its
 *            loop (or while that one stands still); its writers and readers are that
 *            thread's. on_commit runs on the loop of the face that the writer began with. A
 *            message may be read and settled through any face. One lock is behind all;
 *            it is not held while a message is read or written. The worker runs only what
 *            this file gives it, whoever's loop it came from.
 * Errors     ERR_TEMP is worth a 452. A failed batch withdraws what it wrote, so
 *            that a message refused with 452 does not come back after a restart.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "net/worker.h"
#include "spool/disk.h"
#include "util/buf.h"
#include "util/list.h"
#include "util/log.h"

struct spool;
struct spool_writer;
struct spool_segment;

/* What became of one recipient, or how it stands. */
enum spool_outcome { SPOOL_WAITING, SPOOL_DELIVERED, SPOOL_BOUNCED, SPOOL_DROPPED };

struct spool_rcpt_state {
	uint8_t   outcome;              /* enum spool_outcome */
	uint16_t  attempts;             /* recipient-level tries so far */
	wall_ms_t due;                  /* not before; 0: at once */
};

struct spool_message {
	uint64_t id;
	struct spool_segment *segment;
	struct list in_segment;
	uint64_t at;                    /* of its record in the segment */
	uint64_t all_bytes;             /* the record and the pieces of its body: what it holds back */
	uint32_t record_bytes;
	uint16_t rcpts_n;
	uint16_t live;                  /* recipients without an end */
	struct spool_fresh *fresh;      /* its record, while it is still in memory; NULL: read it */
};

struct spool_options {
	uint64_t min_free_space;        /* below: spool_begin() refuses */
	uint64_t segment_bytes;         /* 0: from the file system's size, 64 MiB at most */
	uint64_t fresh_bytes_max;       /* of records kept in memory; 0: 64 MiB */
	struct log *log;
};

struct spool_recovered {
	uint64_t id;
	uint64_t segment, at;                   /* where its record stands: the segment's number */
	uint64_t size_bytes;                    /* head and body */
	struct span meta;                       /* as committed; borrowed for the call */
	uint16_t rcpts_n;
	const struct spool_rcpt_state *rcpts;
};

struct spool_owner {
	/* spool_open() calls it for each message with a live recipient, oldest first. The
	 * answer is where it keeps its struct spool_message (zeroed but for id; the spool
	 * fills it). NULL: nobody can make anything of its meta, so it is damage like any other. */
	struct spool_message *(*on_recovered)(void *ctx, const struct spool_recovered *message);
	/* Compaction asks how the recipients stand now; fills rcpts[message->rcpts_n]. On any face's thread, under the
	 * spool's lock: it calls nothing of this file, and waits for nobody. What was settled before is to be seen. */
	void (*on_states)(void *ctx, const struct spool_message *message, struct spool_rcpt_state *rcpts);
	void *ctx;
};

/* The disk is borrowed: disk_os in the node, a simulated one in a spec. Refuses: a spool
 * in use by another node, or of another format. A torn tail, behind the place up to which a
 * segment was synced, is cut, with a line in the log. Damage before that place is named there
 * with file and offset, and so is what the disk cannot read; what can still be read is taken, and the file set
 * aside under NAME.damaged: a segment when nothing in it waits any more, another at once. Where a journal is
 * damaged, some get their mail again. If there is no room for a new one the spool refuses until there is. */
struct spool *spool_open(struct disk *disk, struct worker *worker, struct loop *loop,
			 const struct spool_options *options, const struct spool_owner *owner, struct err *err);
/* Another loop's face. The loop may be the first's as well: then its on_commit runs with those of the first.
 * To be closed before the first is. */
struct spool *spool_join(struct spool *first, struct loop *loop);
/* Waits for the batch under way and writes what is pending, synced; on_commit of what waits
 * is called before it returns (of any but the first: that face's). Writers and readers have ended. A call that was
 * posted to the face's loop may still be there, and only frees itself. */
void spool_close(struct spool *spool);

void spool_set_min_free_space(struct spool *spool, uint64_t bytes);

/* Ids grow, also across restarts. */
uint64_t spool_next_id(struct spool *spool);

/* ERR_TEMP below min_free_space, or while the disk fails. */
struct spool_writer *spool_begin(struct spool *spool, struct err *err);
/* Body bytes, wire form, in order. Large bodies leave memory as they grow. */
bool spool_write(struct spool_writer *writer, struct span bytes, struct err *err);
uint64_t spool_written(const struct spool_writer *writer);      /* body bytes so far */
/* So much of the body waits for the disk that no more should come. True: on_room is called once, when some may again, or
 * the writer has failed; not after its end, and never from within this call. */
bool spool_writer_waits(struct spool_writer *writer, void (*on_room)(void *ctx), void *ctx);
/* Ends the writer, whatever comes of it. meta is opaque to the spool; head is what goes
 * before the body on the wire (the header block and its empty line). message->id must be set, the rest
 * zero. on_commit comes later, never from within this call: err NULL: durable. */
void spool_commit(struct spool_writer *writer, struct spool_message *message, uint16_t rcpts_n,
		  struct span meta, struct span head,
		  void (*on_commit)(void *ctx, const struct err *err), void *ctx);
void spool_abort(struct spool_writer *writer);

/* One recipient's end or new state, into the journal; durable with the next batch (within
 * 10 ms). An end is told once. True: it was the last live one, *message is the engine's again; of all who
 * settle its recipients one is told so. */
bool spool_settle(struct spool *spool, struct spool_message *message, uint16_t rcpt,
		  const struct spool_rcpt_state *state);

/* What was settled so far is written at once, not within 10 ms: somebody was told that it is done. */
void spool_hurry(struct spool *spool);

/* Reading. The reader pins the message's segment; end it with spool_read_close(). */
struct spool_reader {
	struct spool         *spool;
	struct spool_segment *segment;
	struct spool_fresh   *fresh;
	struct buf            record;           /* where it was read to, if not fresh */
	struct span           meta;             /* lives as long as the reader */
	struct span           head;
	struct span           tail;             /* the part of the body that stands in the message's record */
	uint64_t              body_bytes;       /* all of it */
	uint64_t              size_bytes;       /* head and body: what goes over the wire before the dot */
	uint64_t              read;             /* how far spool_read() is */
	unsigned              pieces_n;
	struct spool_piece   *pieces;           /* pieces that stand before the tail */
	unsigned              piece;            /* the one that read is in, */
	uint32_t              piece_read;       /* how far into it, */
	uint32_t              piece_crc;        /* and the sums of that: so far, and wanted */
	uint32_t              piece_crc_want;
};
/* ERR_PERM: damaged on disk. */
bool spool_read_open(struct spool *spool, const struct spool_message *message, struct spool_reader *out, struct err *err);
/* The next bytes of head and body, at most max; appended to *to. *done_out: that was all. */
bool spool_read(struct spool_reader *reader, size_t max, struct buf *to, bool *done_out, struct err *err);
/* The same without a copy where there is none to make: *out is in the message's record, or in *room, which loses what it
 * held. It lives until the next call. */
bool spool_read_next(struct spool_reader *reader, size_t max, struct buf *room, struct span *out, bool *done_out, struct err *err);
void spool_read_rewind(struct spool_reader *reader);
void spool_read_close(struct spool_reader *reader);

/* A small file of the engine's own (limits, retry state, overlays), replaced whole; the first face's. The write
 * happens off the loop. bytes is copied. One at a time: false while the last is under way,
 * and for what is too large to be read again, with a warning. */
bool spool_state_save(struct spool *spool, struct span bytes);
/* The same before it returns, waiting for the disk: for what an operator was told. */
void spool_state_save_now(struct spool *spool, struct span bytes);
/* What spool_close() leaves there, whatever is under way then. */
void spool_state_last(struct spool *spool, struct span bytes);
/* Empty when there is none, or it is damaged: then it is set aside. *clean_out: the node that wrote it
 * closed the spool in order. */
bool spool_state_load(struct spool *spool, struct buf *out, bool *clean_out, struct err *err);
bool spool_state_lost(const struct spool *spool);       /* it was damaged, or is missing after a crash */

bool spool_refuses(struct spool *spool);         /* spool_begin() would say no */
/* What was settled cannot be written, too much of it or for too long: after a crash it would be done again, so
 * nothing new should be begun. Cheap. Any thread. */
bool spool_stalls(const struct spool *spool);

struct spool_stats {
	uint64_t segments, live_messages, bytes, commits, syncs, compacted;
	bool     refusing;              /* spool_begin() would say no */
	char     why[200];              /* then */
};
void spool_stats(struct spool *spool, struct spool_stats *out);
