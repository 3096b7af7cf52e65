/*
 * disk_sim - the simulated side of the disk door: files in memory, of which it
 * is known what a power cut would leave, and what can go wrong with a disk.
 *
 * A sync makes a file's bytes safe; one that fails calls them clean all the same,
 * as kernels do: some are lost for good. A power cut leaves, of each block of 512
 * bytes that was written since, the new or the safe bytes or the front of the
 * new ones, whatever the order they were written in, and of a length that changed
 * something between. Names are safe when create or rename returns; a removed file
 * may come back. A sector that went bad says EIO when it is read, or written in part;
 * written whole it is good again, as a disk's spare for it would be.
 *
 * Ownership  The disk outlives its node; every file is closed before a crash is
 *            called, before disk_sim_free too.
 * Limits     Memory: the files, in pages of 64 KiB, and 512 bytes for each block
 *            overwritten since the last sync.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "spool/disk.h"
#include "util/list.h"
#include "util/prng.h"
#include "util/table.h"

/* What stands above the line may be read and set at any time. */
struct disk_sim {
	struct disk disk;
	uint64_t calls;                 /* that may fail, so far */
	uint64_t fail_at;               /* this one does; 0: none */
	uint64_t cut_at;                /* from this one on all do: the power is gone; 0: never */
	unsigned fail_permille;         /* of calls, at random */
	int      sys;                   /* what a failure says; 0: EIO */
	uint64_t capacity;              /* in bytes; 0: without end */
	uint64_t used_by_others;
	bool     full;                  /* ENOSPC for what is written */
	bool     lying;                 /* sync says yes and does nothing */
	bool     locked;
	unsigned opened, reads, syncs;  /* files open now; calls that came through */
	/* ---- */
	bool         dead;
	uint64_t     used;              /* bytes of the files that have a name */
	struct prng  prng;
	struct table names;
	struct file_spares *spares;
};

struct disk_sim *disk_sim_new(uint64_t seed);
void disk_sim_free(struct disk_sim *sim);

/* The n-th call from now (1: the next one) fails once; sys 0: EIO. */
void disk_sim_fail(struct disk_sim *sim, uint64_t n, int sys);
/* The power is gone: from now on every call fails and does nothing, until a crash or
 * a revival. Who tears a node down after a cut does it before the crash. */
void disk_sim_cut(struct disk_sim *sim);
/* The machine comes back, with what the disk kept, and unlocked; `prng` decides. */
void disk_sim_crash(struct disk_sim *sim, struct prng *prng);
/* Only the node died: what it wrote is still on its way to the disk. Unlocked, faults of
 * the power are gone; also for a node that ended in order. */
void disk_sim_revive(struct disk_sim *sim);

/* The sector of 4096 bytes at that place of a file goes bad, one a file; false: there is no such place. */
bool disk_sim_spoil(struct disk_sim *sim, const char *name, uint64_t at);

/* For tests: a file that is there, safe; replaces one of that name. */
void disk_sim_put(struct disk_sim *sim, const char *name, struct span bytes);
