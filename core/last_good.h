/*
 * last_good - the last policy that was good, kept in the spool's folder for a start
 * with `--last-good`.
 *
 * Threads    last_good_read(): any. The rest: the loop's; the writing is the worker's.
 * Errors     A file that cannot be written is logged: the one before stays.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "net/worker.h"
#include "policy/bundle.h"
#include "spool/disk.h"
#include "util/log.h"

#define LAST_GOOD_FILE "policy.good"

struct last_good {
	struct disk   *disk;
	struct worker *worker;
	struct log    *log;
	uint64_t       kept;            /* what is there, by its hash; 0: not known */
};

void last_good_keep(struct last_good *keeper, const struct bundle *bundle);
/* *writer_out: who wrote it, by number; may be NULL. NULL: there is none, and *err says why. */
struct bundle *last_good_read(const char *spool, uint32_t *writer_out, struct err *err);
