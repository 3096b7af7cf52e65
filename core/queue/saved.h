/*
 * saved - what of a queue, a site, a virtual MTA or a pool outlives the process: where
 * its limiters stand, and a queue's retry step and last error.
 *
 * Ownership  Texts are borrowed, but for those of an entry in a table: they stand behind
 *            it, each with a NUL, and one free() is for all.
 * Time       Relative to an instant that the caller knows; saved_aged() moves it.
 * Limits     What is read is of any size that its reader lets in.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "limit/rate.h"
#include "util/buf.h"
#include "util/table.h"

struct saved_rate {
	int64_t          last;          /* rate_save() */
	struct rate_spec spec;          /* that it is counted in; count 0: none yet */
};

struct saved {
	struct span key;                /* "queue google/mta-1" */
	struct saved_rate connects, messages;
	int64_t  retry_left_us;
	uint32_t retry_step;
	struct span last_error;
};

void saved_put(struct buf *out, const struct saved *saved);
/* False: damaged. */
bool saved_get(struct span *in, struct saved *out);
/* As it is `since` later; less than 0: as it was before. */
struct saved saved_aged(const struct saved *saved, int64_t since);
/* A copy of it in the table, instead of the one by that key. */
void saved_keep(struct table *table, const struct saved *saved);
