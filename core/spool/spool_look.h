/*
 * spool_look - a spool that no node uses, read and checked as a start would, without
 * a byte of it being changed.
 *
 * Every record of every file is read and its sum compared. What a start would say,
 * cut off or set aside comes as findings. Messages come as from spool_open(), and can
 * be read until the look ends.
 *
 * Ownership  The disk is borrowed; it needs only open, close, read, size, list and lock.
 *            The owner's struct spool_message must stay until the end of the look.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "spool/spool.h"

struct spool_finding {
	const char *file;               /* its name in the folder */
	uint64_t    at, to;             /* the bytes meant; both 0: all of it */
	bool        damage;             /* else: what a crash or an earlier start left, as it should */
	const char *text;
};

struct spool_look_options {
	void (*on_finding)(void *ctx, const struct spool_finding *finding);
	void (*on_progress)(void *ctx, uint64_t done, uint64_t all);    /* files; may be NULL */
	void *ctx;
};

struct spool_counts {
	uint64_t segments, bytes;
	uint64_t records;               /* that are whole */
	uint64_t messages;              /* with a live recipient */
	uint64_t unread;                /* that stood where nothing can be read; at least */
};

/* NULL: in use, cannot be read, or of another format. */
struct spool *spool_look(struct disk *disk, const struct spool_look_options *options, const struct spool_owner *owner,
			 struct spool_counts *counts_out, struct err *err);
void spool_look_end(struct spool *spool);
