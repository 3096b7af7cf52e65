/*
 * spool_recover - what recovery gathers between reading the files and telling the
 * owner; for spool_recover.c and spool_regroup.c.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "spool/spool_inside.h"
#include "spool/spool_look.h"

#define SPOOL_RENEWED ".jnl.new"
#define SPOOL_UNREADABLE "the disk cannot read it"
#define SPOOL_ROUNDS UINT32_MAX                     /* more than one, or none that can be told */
#define SPOOL_ID_DOUBTFUL ((uint64_t)1 << 62)       /* no node gives so many */

/* A message's record in one segment. */
struct spool_copy {
	struct spool_segment *segment;
	uint64_t id, at, all_bytes, meta_at, size_bytes;
	uint32_t record_bytes, meta_bytes;
	uint16_t rcpts_n;
	bool moved;
};

/* What a journal, or a record itself, said of a recipient. */
struct spool_heard {
	struct spool_note note;
	struct spool_segment *segment;
	bool in_record;                 /* it stands in the copy itself, so it is older than the journal's */
	size_t i;                       /* order of hearing */
};

struct spool_recovery {
	struct spool_core *core;
	uint64_t *segments, *journals;  /* numbers found */
	size_t segments_n, journals_n;
	struct spool_copy  *copies;
	size_t copies_n, copies_cap;
	struct spool_heard *heard;
	size_t heard_n, heard_cap;
	uint64_t *renewed;              /* of journals that a crash kept from taking the damaged one's place */
	size_t renewed_n;
	bool debris;                    /* names that only a crash leaves */
	uint64_t *aside;                /* numbers of segments that were set aside */
	size_t aside_n;
	uint64_t *places;               /* to which, by its journal, the segment was synced: records begin there */
	size_t places_n, places_cap;
	bool places_sorted;
	struct spool_hole {             /* bad bytes that are being skipped */
		bool     open;
		uint64_t at;
		unsigned messages;      /* that stood there; unknown: at least */
		bool     unknown;
		const char *why;        /* what is wrong, if it is known; then it is no torn tail */
		uint32_t round;         /* of all that is bad in it; 0: nobody knows yet; or SPOOL_ROUNDS */
		uint64_t to;            /* where it ends, for a good record follows; 0: none does */
		bool     followed;      /* by a good record at all: read so far it may be one torn write */
		size_t   copies_n, heard_n, places_n;   /* when it began; */
		uint64_t records, marked;               /* what was read since goes with a torn write */
		uint32_t before;        /* a journal's round, when it began */
	} hole;
	struct spool_rcpt_state *states;        /* of one message */
	struct spool_segment **from;    /* which segment said so */
	struct spool_segment *open;     /* whose read_file is */
	struct buf meta;
};

/* spool_names.c */
bool spool_names_read(struct spool_recovery *r, struct err *err);
bool spool_number_among(const uint64_t *numbers, size_t n, uint64_t number);

/* spool_damage.c */
void spool_finding_tell(struct spool_core *core, const struct spool_finding *finding);      /* to the log, or to who looks */
void spool_place_add(struct spool_recovery *r, uint64_t at);
uint64_t spool_place_behind(const uint64_t *places, size_t n, uint64_t at);     /* of sorted ones; UINT64_MAX: none */
/* Or more of the one there is; why NULL: bad bytes. */
void spool_hole_begin(struct spool_recovery *r, struct spool_segment *segment, uint64_t at, uint32_t round, const char *why);
/* Where a segment's scan met a bad record, or its end too early: goes on behind it. False: nowhere. */
bool spool_hole_skip(struct spool_recovery *r, struct spool_segment *segment, struct spool_scan *scan);
/* A good record follows. Ends the hole, unless all of it from there to here may be one torn write. */
void spool_hole_followed(struct spool_recovery *r, struct spool_segment *segment, const char *suffix,
			 const struct spool_scan *scan, const struct spool_record *record);
bool spool_hole_is_torn(const struct spool_recovery *r);        /* at the file's end: is it one torn write? */
uint64_t spool_hole_take_back(struct spool_recovery *r, struct spool_segment *segment);  /* then; where it began */
void spool_hole_end(struct spool_recovery *r, struct spool_segment *segment, const char *suffix, uint64_t to);
void spool_journal_missing(struct spool_segment *segment);
void spool_segment_missing(struct spool_segment *segment);
void spool_file_lost(struct spool_segment *segment, const char *suffix);        /* it cannot be opened */
void spool_file_stuck(struct spool_segment *segment, const char *suffix, const struct err *why);        /* it can be read, and not written */
void spool_message_lost(struct spool_recovery *r, const struct spool_copy *copy, const char *why);
void spool_damaged_ids(struct spool_recovery *r, struct spool_segment *segment, size_t heard_from);

/* spool_renew.c: in place of the damaged one, which is set aside: what was heard from it, and that all of the segment is
 * synced. What the disk does not take now is tried again when the node runs. */
void spool_journal_renew(struct spool_recovery *r, struct spool_segment *segment, size_t heard_from);

/* Puts copies and notes of each message together, and tells the owner, oldest first. */
bool spool_regroup(struct spool_recovery *r, struct err *err);
