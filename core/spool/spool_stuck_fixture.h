/*
 * spool_stuck_fixture - for tests: one file of the fake disk takes no more, for good, or one cannot be opened; the rest works.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "spool/spool_testing.h"

struct stuck {
	struct disk_ops ops;
	const struct disk_ops *before;
	struct fake_inode *inode;       /* NULL: none is */
	bool writes, syncs;             /* what fails */
	const char *shut;               /* a name that cannot be opened, */
	unsigned shut_n;                /* so many times more */
};

MAYBE struct disk_file *
stuck_open(struct disk *disk, const char *name, bool create, struct err *err)
{
	struct stuck *stuck = container_of(disk->ops, struct stuck, ops);

	if (!stuck->shut_n || strcmp(name, stuck->shut) != 0)
		return stuck->before->open(disk, name, create, err);
	stuck->shut_n--;
	errno = EIO;
	err_sys(err, "spool: cannot open %s", name);
	return NULL;
}

MAYBE bool
stuck_fails(const struct disk_file *file, bool sync, struct err *err)
{
	const struct stuck *stuck = container_of(file->disk->disk.ops, struct stuck, ops);

	if (file->inode != stuck->inode || !(sync ? stuck->syncs : stuck->writes))
		return false;
	errno = EIO;
	err_sys(err, "spool: the fake disk does not take it");
	if (err)
		err->kind = ERR_TEMP;
	return true;
}

MAYBE bool
stuck_write(struct disk_file *file, uint64_t at, const struct iovec *iov, int iov_n, struct err *err)
{
	const struct stuck *stuck = container_of(file->disk->disk.ops, struct stuck, ops);

	return !stuck_fails(file, false, err) && stuck->before->write(file, at, iov, iov_n, err);
}

/* What it covered is called clean all the same. */
MAYBE bool
stuck_sync(struct disk_file *file, struct err *err)
{
	const struct stuck *stuck = container_of(file->disk->disk.ops, struct stuck, ops);

	if (!stuck_fails(file, true, err))
		return stuck->before->sync(file, err);
	memset(file->inode->dirty, 0, file->inode->cap / FAKE_BLOCK);
	return false;
}

MAYBE void
stuck_init(struct stuck *stuck, struct fake_disk *fake)
{
	*stuck = (struct stuck){ .ops = *fake->disk.ops, .before = fake->disk.ops };
	stuck->ops.open = stuck_open;
	stuck->ops.write = stuck_write;
	stuck->ops.sync = stuck_sync;
	fake->disk.ops = &stuck->ops;
}

MAYBE void
stuck_fini(struct stuck *stuck, struct fake_disk *fake)
{
	fake->disk.ops = stuck->before;
}
