/*
 * spool_inside - what the spool's own files share; nobody else includes it.
 *
 * Threads    The lock guards everything but what is marked as the worker's, which is
 *            touched under the lock only while no job is under way. One job at a time.
 *            Functions below are called under the lock unless they say otherwise.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <pthread.h>

#include "spool/spool.h"
#include "spool/spool_record.h"
#include "util/pool.h"

#define SPOOL_NAME_MAX 40u
#define SPOOL_REMOVED "removed"         /* the file that is about to be removed, be it whose it may */
#define SPOOL_SEGMENT_MIN (64u * 1024u)
#define SPOOL_SEGMENT_MAX (64u * 1024u * 1024u)
#define SPOOL_RESERVE_BYTES (64u * 1024u)               /* kept for journals */
#define SPOOL_PENDING_MAX (256u * 1024u * 1024u)        /* bytes that wait for the worker */
#define SPOOL_HEAD_MAX (64u * 1024u * 1024u)            /* meta, and head */
#define SPOOL_SPARES_MAX POOL_KEEPS(2u * 1024u * 1024u)         /* bytes of records kept for the next ones */
#define SPOOL_IDLE_N 2u                                 /* arrays: of the batch under way, and of what comes meanwhile */
#define SPOOL_IDLE_MAX 4096u                            /* elements of such an array */
#define SPOOL_IDS_RESERVED (1u << 20)                   /* by a segment's start */
#define SPOOL_DAMAGED ".damaged"                        /* behind the name of what was set aside */
#define SPOOL_GATHER_US (5 * US_PER_MS)
#define SPOOL_RETRY_US US_PER_S
#define SPOOL_AHEAD_IOVS 8                              /* that zeros written ahead take, at most */

struct spool_job;
struct spool_renewal;
struct spool_batch;
struct spool_compact_item;

struct spool_notes {
	struct spool_note *v;
	uint32_t n, cap;
	uint32_t lean;                  /* how many the last thinning left */
};

struct spool_chunks {                   /* records that wait to be written, in order */
	struct spool_fresh **v;
	uint32_t n, cap;
};

struct spool_segment {
	struct spool_core *core;
	uint64_t number;
	struct list link;               /* in spool->segments, by number */
	struct list dirty_link;         /* in spool->dirty: has something for the next batch */
	struct list dead_link;          /* in spool->dead */
	struct list messages;           /* live ones */
	uint64_t live_n, live_bytes;
	unsigned writers, tickets, readers;     /* who pins it */
	unsigned tickets_pending;       /* of them, not yet in a batch */

	uint64_t end;                   /* where the next record goes */
	uint64_t written;               /* up to here the worker has written, */
	uint64_t synced;                /* and synced; never withdrawn again */
	uint64_t marked;                /* the place that the journal says is synced */
	uint64_t journal_bytes;
	uint64_t max_id;                /* restarts give greater ids while this segment is there */
	struct spool_chunks pending;    /* written … end */
	struct spool_notes  notes;      /* not yet in the journal */

	bool created;                   /* both files are there, and the start of it is synced */
	bool sealed;                    /* nothing more is appended: the file fails */
	bool cut;                       /* what stands behind `written` must go before anything is accepted; */
	unsigned cut_fails, write_fails;        /* tries of that; and of a write to it */
	bool damaged;                   /* set aside, not removed, when it is dead; */
	bool unread;                    /* because some of it could not be read at the start: what is not live need not be over */
	bool missing;                   /* only its journal is there */
	bool journal_damaged;           /* until recovery has written it anew */
	bool dead, moves, kept;         /* moves: shares messages with another; kept: not to be compacted */
	uint64_t remove_after;          /* that many batches */
	mono_us_t retry_at;
	struct spool_renewal *renewal;  /* its journal is not written any more, for a new one is to take its place; NULL: it is */

	struct disk_file *read_file;    /* while there are readers */

	/* the worker's */
	struct disk_file *file, *journal;
	uint64_t file_end;              /* where the last batch that was written ended, */
	uint64_t file_ahead;            /* and how many zeros stand behind it */
	uint64_t journal_end, journal_synced;
	uint32_t file_round, journal_round;     /* of what is written next */
	uint64_t journal_ahead;         /* zeros behind journal_end */
	bool journal_made, file_made, made_badly, journal_bad;
	unsigned journal_fails;         /* tries that failed, one after the other, because of the file itself */
};

/* Who waits for a message to be durable. */
struct spool_ticket {
	struct list link;
	struct spool_segment *segment;
	struct spool_fresh   *fresh;
	struct spool_message *message;
	struct spool         *face;             /* on whose loop it is told */
	struct spool_compact_item *item;        /* a copy, not a new message */
	uint64_t id, at, all_bytes;
	uint16_t rcpts_n;
	struct err err;                         /* kind set: it failed, or can no longer be committed */
	void (*on_commit)(void *ctx, const struct err *err);
	void (*on_room)(void *ctx);             /* not NULL: no commit, its writer waits to go on */
	void  *ctx;
};

/* Once it is committed, its ticket alone counts. */
struct spool_writer {
	struct spool_ticket ticket;
	struct list   link;             /* in spool->writers */
	struct spool_segment *segment;  /* NULL until the first piece */
	struct spool_fresh *body;       /* what is not yet in a piece, gathered where it will stand; NULL: nothing */
	uint64_t      written, piece_bytes;     /* body bytes; bytes of piece records */
	struct spool_piece *pieces;
	uint32_t      pieces_n, pieces_cap;
};

struct spool_compaction;
struct spool_saving;
struct spool_look_options;
struct spool_counts;
struct spool_mail;

/* The spool as one loop sees it. */
struct spool {
	struct spool_core *core;
	struct loop  *loop;
	struct spool *teller;           /* who tells its tickets: the first, if that has the same loop; else itself */
	struct list   told;             /* tickets whose batch is done */
	struct spool_mail *mail;        /* how others wake it */
	struct pool writers;            /* taken by its loop's thread */
	unsigned open;                  /* its writers and readers */
	unsigned waiting;               /* its tickets */
	struct timer tell_timer, gather_timer;  /* its loop's */
};

struct spool_core {
	pthread_mutex_t lock;           /* guards what follows */
	struct spool *caller;           /* who has it; this call's */
	mono_us_t     now;
	struct spool  first;            /* spool_open()'s: done() of jobs runs on its loop */
	unsigned      faces_n;

	struct disk  *disk;
	struct worker *worker;
	struct log   *log;
	struct spool_owner owner;
	uint64_t min_free_space, segment_bytes, fresh_bytes_max;

	struct list segments, dirty, dead, writers;
	struct list tickets;            /* of pending records */
	struct list slow;               /* tickets of writers that wait to go on */
	struct spool_segment *active;   /* where new messages go */
	uint64_t next_number, next_id;
	uint64_t pending_bytes;
	uint64_t segments_n, live_messages;
	unsigned readers_n;

	struct list fresh;
	uint64_t    fresh_bytes;
	struct list spares;             /* struct spool_fresh: the next records' memory */
	uint64_t    spares_bytes;
	struct spool_chunks idle_chunks[SPOOL_IDLE_N];  /* the next arrays' memory */
	struct spool_notes  idle_notes[SPOOL_IDLE_N];

	uint64_t  space_free, space_since;      /* as measured; bytes given to the disk since */
	mono_us_t space_at;             /* 0: never */

	bool wants_write;               /* pieces or messages wait */
	bool wants_notes;               /* notes have waited long enough, or are waited for */
	bool probe_due;
	bool was_background;            /* the last job was no batch */
	bool closing;
	struct err failing;             /* kind set: why nothing is accepted */
	bool      journals_fail;        /* the last batch could not write them all */
	uint64_t  unsafe;               /* settled, and not written down since then */
	mono_us_t unsafe_since;         /* the first of them; 0: none */
	_Atomic bool stalls;            /* spool_stalls() */
	uint64_t batches, clean_upto;   /* begun; the last one that left no note unwritten */

	struct spool_job   *job;        /* under way */
	mono_us_t job_since;            /* when it was given to the worker */
	bool      job_late;             /* and the log knows that it takes too long */
	struct spool_job   *idle_job;   /* the next one's memory */
	struct spool_batch *batch, *idle_batch;
	struct spool_segment *renewing; /* whose journal */
	unsigned renewals_n;
	struct spool_segment *removing;
	uint64_t removing_left;         /* bytes of its file that are not yet freed */
	struct spool_compaction *compaction;
	mono_us_t compact_at;           /* look for one to compact; MONO_NEVER: no need */
	struct spool_saving *saving;
	struct spool_fresh *last_state;         /* for spool_close() */
	bool last_state_lost;                   /* it was too large to be kept */
	bool was_clean;                 /* the node before closed in order */
	bool state_lost;                /* it was damaged, or is missing */
	bool state_old;                 /* it is there, or missing, from before a crash */
	uint64_t damages, unread;       /* places found; messages that stood there, at least */
	const struct spool_look_options *look;  /* nothing may be written; NULL: a node's */
	struct spool_counts *counts;    /* then */

	mono_us_t gather_at;            /* notes have waited long enough then; MONO_NEVER: there are none */
	mono_us_t retry_at;             /* MONO_NEVER: no need */
	struct timer retry_timer;       /* the first's loop's */
	uint64_t commits, syncs, compacted;
};

/* spool_face.c */
void spool_face_init(struct spool *face, struct spool_core *core, struct loop *loop);
void spool_face_fini(struct spool *face);
void spool_part(struct spool *face);            /* without the lock: what spool_close() does to any but the first */
void spool_enter(struct spool *face);           /* takes the lock, */
void spool_leave(struct spool *face);           /* gives it back */
/* Puts it in line to be told; wakes the loop, unless that is the caller's, who calls spool_tell() when he has left. */
void spool_told(struct spool_ticket *ticket);
void spool_tell_later(struct spool_ticket *ticket);     /* the same without that call: when the loop turns */
void spool_tell(struct spool *face);            /* without the lock: those in line */
void spool_gather(struct spool_core *core);     /* notes are to be written within SPOOL_GATHER_US; */
void spool_gathered(struct spool_core *core);   /* now they are */
void spool_retry_later(struct spool_core *core);        /* pumps in a second */
void spool_timers_init(struct spool_core *core);
void spool_retry_stop(struct spool_core *core);

/* spool.c */
struct spool_core *spool_new(struct disk *disk, struct worker *worker, struct loop *loop,
			     const struct spool_options *options, const struct spool_owner *owner);
void spool_free(struct spool_core *core);       /* without the lock */
void spool_pump(struct spool_core *core);       /* starts what is due, if the worker is free */
bool spool_waits(const struct spool_core *core);        /* for a time that has not come: what was put off */
void spool_stall_review(struct spool_core *core);       /* what spool_stalls() says from now on */
bool spool_room(struct spool_core *core, uint64_t bytes, struct err *err);   /* are that many free? */
uint64_t spool_floor(const struct spool_core *core);    /* as many are to be kept so */

/* spool_job.c: the one job; done() runs on the first's loop, then spool_pump(). work() runs without the lock. */
void spool_job_run(struct spool_core *core, void (*work)(struct spool_core *core), void (*done)(struct spool_core *core));
/* Works it here if the worker has not begun, else waits for it; done() runs here. No other begins before the loop was told. */
void spool_job_finish(struct spool_core *core);
bool spool_job_hangs(struct spool_core *core, struct err *err); /* the disk does not answer; *err says so */
void spool_job_free(struct spool_core *core);

/* spool_segment.c */
struct spool_segment *spool_segment_new(struct spool_core *core, uint64_t number);
void spool_segment_free(struct spool_segment *segment);
void spool_segment_name(const struct spool_segment *segment, const char *suffix, char out[SPOOL_NAME_MAX]);
struct spool_segment *spool_segment_for(struct spool_core *core, uint64_t bytes);
void spool_segment_rotate(struct spool_core *core);
void spool_segment_append(struct spool_segment *segment, struct spool_fresh *record);   /* takes a reference */
void spool_segment_reset(struct spool_segment *segment);        /* forgets what is not written */
void spool_segment_dirty(struct spool_segment *segment);
void spool_segment_void(struct spool_segment *segment, struct list *tickets);   /* these are refused, and cannot be cut off now */
void spool_segment_give_up(struct spool_segment *segment);      /* nor later: its journal says so, and what lives in it goes elsewhere */
void spool_segment_note(struct spool_segment *segment, const struct spool_note *note);
void spool_segment_link(struct spool_segment *segment, struct spool_message *message);
void spool_segment_unlink(struct spool_message *message);
void spool_segment_review(struct spool_segment *segment);       /* has it died, or is it worth compacting? */
void spool_segment_pin(struct spool_segment *segment);          /* a reader's */
void spool_segment_unpin(struct spool_segment *segment);
struct disk_file *spool_segment_open(const struct spool_segment *segment, struct err *err);     /* for a read_file; without the lock as well */
bool spool_segment_readable(struct spool_segment *segment, struct err *err);    /* read_file is open until the last unpin */
bool spool_segment_journal(struct spool_segment *segment, struct err *err);     /* worker: open, made if need be; */
bool spool_segment_file(struct spool_segment *segment, struct err *err);        /* the same, after the journal */
void spool_segment_files_close(struct spool_segment *segment);                  /* worker; without the zeros ahead */
void spool_notes_add(struct spool_notes *notes, const struct spool_note *note);
void spool_notes_before(struct spool_notes *notes, struct spool_notes *earlier);        /* earlier is emptied */
void spool_notes_thin(struct spool_notes *notes);
uint32_t spool_notes_outcomes(const struct spool_notes *notes);        /* how many of them say what became of a recipient */
void spool_notes_fini(struct spool_notes *notes);
void spool_notes_idle(struct spool_core *core, struct spool_notes *notes);      /* fini, but the memory is the next ones' */
void spool_chunks_idle(struct spool_core *core, struct spool_chunks *chunks);   /* n 0 */

/* spool_ahead.c */
struct spool_ahead {                    /* zeros that a batch may write behind its own end, in bytes */
	uint32_t file, journal;
};
/* For a batch of so many bytes. */
void spool_ahead_plan(const struct spool_segment *segment, uint64_t bytes, struct spool_ahead *out);
/* Worker: writes as the disk does, and behind it `more` zeros, unless the write stays within the *ahead that stand there.
 * iov has room for SPOOL_AHEAD_IOVS more. Without room on the disk for zeros it goes without them. err is not NULL. */
bool spool_ahead_write(const struct disk_ops *ops, struct disk_file *file, uint64_t at, struct iovec *iov, int iov_n,
		       uint32_t more, uint64_t *ahead, struct err *err);

/* spool_batch.c */
void spool_batch_start(struct spool_core *core);
void spool_batch_now(struct spool_core *core, bool final);  /* here; final: all is synced and marked so */
void spool_batch_free(struct spool_batch *batch);       /* NULL is fine */

/* spool_write.c */
void spool_writer_init(struct spool_writer *writer, struct spool *face);        /* memory for free(), zeroed */
bool spool_writer_add(struct spool_writer *writer, struct span bytes, struct err *err);        /* spool_write(), under the lock */
void spool_writer_end(struct spool_writer *writer);
void spool_writer_free(struct spool_writer *writer);    /* after that; without the lock as well */
void spool_writers_go_on(struct spool_core *core);      /* those that waited for what is now written, or failed */
/* Both, under the lock. Its ticket has id, rcpts_n and who is told. parts: but for what the writer knows. */
void spool_writer_commit(struct spool_writer *writer, struct spool_message_parts *parts,
			 const struct spool_rcpt_state *states);

/* spool_read.c */
void spool_fresh_keep(struct spool_core *core, struct spool_message *message, struct spool_fresh *fresh);
void spool_fresh_drop(struct spool_core *core, struct spool_message *message);
void spool_fresh_give(struct spool_core *core, struct spool_fresh *fresh);      /* a reference; the last one's memory is kept */
struct spool_fresh *spool_spare_take(struct spool_core *core);  /* empty, to gather into; NULL: there is none */
/* Reads and checks the record; without the lock as well: all it touches is reader's. */
bool spool_reader_load(struct spool_reader *reader, uint64_t at, uint32_t record_bytes, uint64_t id,
		       struct span fresh, struct err *err);
void spool_reader_unload(struct spool_reader *reader);

/* spool_recover.c */
bool spool_recover(struct spool_core *core, struct err *err);    /* and tells the owner */

/* spool_damage.c */
void spool_damage_gone(const struct spool_segment *segment);    /* tells, if it was damaged */
/* Renamed to NAME.damaged, or with a number behind that, which no file has. */
bool spool_set_aside(struct disk *disk, const char *name, char aside_out[SPOOL_NAME_MAX], struct err *err);
/* NULL: *err; if spool_is_unreadable() says that of it, there is a file. One that fails is tried again. */
struct disk_file *spool_file_open(struct disk *disk, const char *name, uint64_t *size_out, struct err *err);

/* spool_renew.c */
void spool_renew(struct spool_segment *segment, int sys);       /* its journal cannot be written: another is to take its place */
bool spool_renew_start(struct spool_core *core);        /* false: nothing to write anew yet */
void spool_renew_last(struct spool_core *core);         /* here: what can be at the spool's end */
void spool_renewal_end(struct spool_segment *segment);
const struct err *spool_renewal_err(const struct spool_renewal *renewal);       /* why it is not there yet */

/* spool_remove.c */
bool spool_remove_start(struct spool_core *core);      /* false: nothing to remove yet */
bool spool_remove_waits(const struct spool_core *core);        /* for its next try */

/* spool_compact.c */
bool spool_compact_start(struct spool_core *core);
void spool_compact_settled(struct spool_core *core, const struct spool_message *message, const struct spool_note *note);
void spool_compact_told(struct spool_core *core, struct spool_ticket *ticket, const struct err *err);
void spool_compact_end(struct spool_core *core);
bool spool_compact_stop(struct spool_segment *segment); /* if it is that one's; false: what is copied is still on its way */

/* spool_state.c */
bool spool_name_is_there(struct disk *disk, const char *name, bool *there_out, struct err *err);
bool spool_file_put(struct disk *disk, const char *name, struct span bytes, struct err *err);       /* synced; in place of one of that name */
bool spool_state_start(struct spool_core *core);
bool spool_state_waits(const struct spool_core *core);      /* it failed, and is not yet due again */
bool spool_state_look(struct spool_core *core, struct err *err);    /* is the clean marker there? */
bool spool_state_check(struct spool_core *core, struct err *err);   /* tells who looks if it is damaged */
bool spool_state_begin(struct spool_core *core, struct err *err);   /* takes the clean marker away */
void spool_state_end(struct spool_core *core);              /* sets it */
void spool_state_free(struct spool_core *core);
