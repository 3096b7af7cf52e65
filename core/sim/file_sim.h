/*
 * file_sim - the content of one simulated file: what a program sees, and what
 * is safe. disk_sim.c has the names and the faults.
 *
 * Ownership  Counted: a file lives as long as a name or an open handle has it.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "sim/disk_sim.h"

struct file_page;

/* Memory for the next file, of those that went: what a node saves each second is a new file. */
struct file_spares {
	struct list diffs;
	char       *pages[8];           /* all zeros */
	unsigned    pages_n;
};

struct file_sim {
	struct file_page *pages;
	uint32_t     pages_n;
	uint64_t     now_n, safe_n;     /* lengths */
	uint64_t     bad_from, bad_to;  /* a sector that cannot be read; none: both 0 */
	struct list  diffs;             /* pages that may differ from what is safe */
	struct file_spares *spares;     /* of the disk */
	unsigned     refs;
	unsigned     names;             /* that a program finds it by; without one it takes no space */
};

struct file_sim *file_sim_new(struct file_spares *spares);      /* with no reference yet */
void file_sim_ref(struct file_sim *file);
void file_sim_unref(struct file_sim *file);

void file_sim_write(struct file_sim *file, uint64_t at, const char *p, size_t n);
size_t file_sim_read(const struct file_sim *file, uint64_t at, char *to, size_t n);
void file_sim_truncate(struct file_sim *file, uint64_t size);
void file_sim_sync(struct file_sim *file);
/* One that fails; `clean`: what it did not write is given up. */
void file_sim_sync_badly(struct file_sim *file, bool clean, struct prng *prng);
void file_sim_crash(struct file_sim *file, struct prng *prng);
struct file_spares *file_spares_new(void);
void file_spares_free(struct file_spares *spares);
