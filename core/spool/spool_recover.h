/*
 * spool_recover - what recovery gathers between reading the files and telling the
 * owner; for spool_recover.c and spool_regroup.c.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "spool/spool_inside.h"

/* A message's record in one segment. */
struct spool_copy {
	struct spool_segment *segment;
	uint64_t id, at, all_bytes, meta_at;
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
	bool debris;                    /* names that only a crash leaves */
	struct spool_rcpt_state *states;        /* of one message */
	struct spool_segment **from;    /* which segment said so */
	struct spool_segment *open;     /* whose read_file is */
	struct buf meta;
};

/* Puts copies and notes of each message together, and tells the owner, oldest first. */
bool spool_regroup(struct spool_recovery *r, struct err *err);
