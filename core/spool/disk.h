/*
 * disk - the door to the file system: what the spool needs of it, no more.
 *
 * Names are relative to the folder that was opened. Calls block; who may not
 * wait makes them from a worker.
 *
 * Threads    Any; a file is written by one at a time.
 * Errors     false fills *err; ENOSPC and EIO are ERR_TEMP.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <sys/uio.h>

#include "util/err.h"
#include "util/span.h"

struct disk_file;
struct disk;

struct disk_ops {
	/* create: must not exist yet, and its name is durable when this returns. */
	struct disk_file *(*open)(struct disk *disk, const char *name, bool create, struct err *err);
	void (*close)(struct disk_file *file);
	/* All of it, or false; a short write is carried on. */
	bool (*write)(struct disk_file *file, uint64_t at, const struct iovec *iov, int iov_n, struct err *err);
	/* Fewer than n bytes only at the end of the file. */
	bool (*read)(struct disk_file *file, uint64_t at, void *to, size_t n, size_t *n_out, struct err *err);
	bool (*sync)(struct disk_file *file, struct err *err);  /* fdatasync */
	bool (*truncate)(struct disk_file *file, uint64_t size, struct err *err);
	bool (*size)(struct disk_file *file, uint64_t *size_out, struct err *err);
	bool (*rename)(struct disk *disk, const char *from, const char *to, struct err *err);   /* durable when it returns */
	/* After a power cut the file may be back: who needs it gone for good renames it first. */
	bool (*remove)(struct disk *disk, const char *name, struct err *err);
	bool (*list)(struct disk *disk, void (*fn)(void *ctx, const char *name), void *ctx, struct err *err);
	bool (*space)(struct disk *disk, uint64_t *free_out, uint64_t *total_out, struct err *err);
	/* Ours alone until close; a second holder is told by ERR_PERM. */
	bool (*lock)(struct disk *disk, const char *name, struct err *err);
};

struct disk {
	const struct disk_ops *ops;
};

/* The folder is made (mode 0700) when it is missing; its parents must be there. */
struct disk *disk_os_open(const char *folder, struct err *err);
/* Only to look: the folder must be there, and nothing in it is made or changed. Has open, close, read, size, list
 * and lock, no more; what is not a plain file is not opened. */
struct disk *disk_os_look(const char *folder, struct err *err);
void disk_os_close(struct disk *disk);
