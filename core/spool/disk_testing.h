/*
 * disk_testing - for the spool's own tests: a disk in memory that fails and
 * loses power on demand.
 *
 * The disk keeps of each file what a program sees and what is safe. A sync makes
 * the dirty blocks safe; one that fails calls them clean all the same, as kernels
 * do. A power cut leaves, of each dirty block, the new or the safe bytes, by seed.
 * Names are safe when create or rename returns; a removed one may come back. A sector that
 * went bad cannot be read, nor written in part; written whole it is good again.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <errno.h>

#include "spool/disk.h"
#include "util/prng.h"

#define FAKE_FILES 256u
#define FAKE_BLOCK 512u
#define FAKE_SECTOR 4096u
#define MAYBE __attribute__((unused)) static

struct fake_inode {
	char    *now, *safe;
	uint8_t *dirty;                 /* a block each */
	size_t   now_n, safe_n, cap;
	uint64_t bad_from, bad_to;      /* bytes that cannot be read */
	unsigned refs;
};

struct fake_name {
	char name[40];
	struct fake_inode *now, *safe;
};

struct disk_file {
	struct fake_disk  *disk;
	struct fake_inode *inode;
};

struct fake_disk {
	struct disk disk;
	struct prng prng;
	struct fake_name names[FAKE_FILES];
	uint64_t calls;                 /* that may fail */
	uint64_t fail_at;               /* this one does; 0: none */
	uint64_t cut_at;                /* from this one on all do: the power is gone */
	unsigned fail_permille;
	bool     dead;
	int      sys;                   /* what a failure says */
	uint64_t capacity, used_by_others;
	unsigned opened, opened_most, reads, syncs, lengths;     /* lengths: syncs that moved one */
	bool     locked;
};

MAYBE void
fake_inode_unref(struct fake_inode *inode)
{
	if (!inode || --inode->refs)
		return;
	free(inode->now);
	free(inode->safe);
	free(inode->dirty);
	free(inode);
}

MAYBE void
fake_set(struct fake_inode **slot, struct fake_inode *inode)
{
	struct fake_inode *old = *slot;

	if (inode)
		inode->refs++;
	*slot = inode;
	fake_inode_unref(old);
}

MAYBE struct fake_name *
fake_find(struct fake_disk *fake, const char *name, bool make)
{
	struct fake_name *empty = NULL;

	for (unsigned i = 0; i < FAKE_FILES; i++) {
		struct fake_name *one = &fake->names[i];
		if (one->name[0] && strcmp(one->name, name) == 0)
			return one;
		if (!one->now && !one->safe && !empty)
			empty = one;
	}
	if (!make)
		return NULL;
	check(empty != NULL);
	snprintf(empty->name, sizeof(empty->name), "%s", name);
	return empty;
}

MAYBE void
fake_names_safe(struct fake_disk *fake)
{
	for (unsigned i = 0; i < FAKE_FILES; i++) {
		fake_set(&fake->names[i].safe, fake->names[i].now);
		if (!fake->names[i].now)
			fake->names[i].name[0] = 0;
	}
}

/* True: this call fails. */
MAYBE bool
fake_fails(struct fake_disk *fake, struct err *err)
{
	fake->calls++;
	if (fake->cut_at && fake->calls >= fake->cut_at)
		fake->dead = true;
	if (!fake->dead && fake->calls != fake->fail_at &&
	    !(fake->fail_permille && prng_below(&fake->prng, 1000) < fake->fail_permille))
		return false;
	errno = fake->sys ? fake->sys : EIO;
	err_sys(err, "spool: the fake disk fails");
	if (err)
		err->kind = ERR_TEMP;
	return true;
}

/* After the power went; the very call that it went in may have done something. */
MAYBE bool
fake_gone(const struct fake_disk *fake)
{
	return fake->dead && fake->calls > fake->cut_at;
}

MAYBE void
fake_room(struct fake_inode *inode, size_t n)
{
	size_t cap = inode->cap ? inode->cap : 4096;

	if (n <= inode->cap)
		return;
	while (cap < n)
		cap *= 2;
	inode->now = mem_grow(inode->now, cap);
	inode->safe = mem_grow(inode->safe, cap);
	inode->dirty = mem_grow(inode->dirty, cap / FAKE_BLOCK);
	memset(inode->now + inode->cap, 0, cap - inode->cap);
	memset(inode->safe + inode->cap, 0, cap - inode->cap);
	memset(inode->dirty + inode->cap / FAKE_BLOCK, 0, (cap - inode->cap) / FAKE_BLOCK);
	inode->cap = cap;
}

MAYBE struct disk_file *
fake_open(struct disk *disk, const char *name, bool create, struct err *err)
{
	struct fake_disk *fake = container_of(disk, struct fake_disk, disk);
	struct fake_name *entry = fake_find(fake, name, create);
	bool fails = fake_fails(fake, err);
	struct disk_file *file;

	if (create && entry->now) {
		errno = EEXIST;
		err_sys(err, "spool: cannot create %s", name);
		return NULL;
	}
	if (!fails && (!entry || (!create && !entry->now))) {
		errno = ENOENT;
		err_sys(err, "spool: cannot open %s", name);
		return NULL;
	}
	/* A failed creation may leave the name, not durably. */
	if (create && (!fails || (!fake_gone(fake) && prng_below(&fake->prng, 2)))) {
		struct fake_inode *inode = mem_alloc(sizeof(*inode));
		fake_room(inode, 1);
		fake_set(&entry->now, inode);
	}
	if (fails)
		return NULL;
	if (create)
		fake_names_safe(fake);
	file = mem_alloc(sizeof(*file));
	file->disk = fake;
	fake_set(&file->inode, entry->now);
	fake->opened++;
	fake->opened_most = fake->opened > fake->opened_most ? fake->opened : fake->opened_most;
	return file;
}

MAYBE void
fake_close(struct disk_file *file)
{
	file->disk->opened--;
	fake_inode_unref(file->inode);
	free(file);
}

MAYBE uint64_t
fake_used(struct fake_disk *fake)
{
	uint64_t n = fake->used_by_others;

	for (unsigned i = 0; i < FAKE_FILES; i++)
		n += fake->names[i].now ? fake->names[i].now->now_n : 0;
	return n;
}

/* False: the sector is bad. */
MAYBE bool
fake_good(const struct fake_inode *inode, uint64_t at, size_t n, struct err *err)
{
	if (at >= inode->bad_to || at + n <= inode->bad_from)
		return true;
	errno = EIO;
	err_sys(err, "spool: the fake disk has a bad sector at byte %u", (unsigned)inode->bad_from);
	if (err)
		err->kind = ERR_TEMP;
	return false;
}

MAYBE void
fake_put(struct fake_inode *inode, uint64_t at, const char *p, size_t n)
{
	if (n == 0)
		return;
	fake_room(inode, at + n);
	memcpy(inode->now + at, p, n);
	for (uint64_t b = at / FAKE_BLOCK; b <= (at + n - 1) / FAKE_BLOCK; b++)
		inode->dirty[b] = 1;
	if (inode->now_n < at + n)
		inode->now_n = at + n;
}

MAYBE bool
fake_write(struct disk_file *file, uint64_t at, const struct iovec *iov, int iov_n, struct err *err)
{
	struct fake_disk *fake = file->disk;
	bool fails = fake_fails(fake, err);

	for (int i = 0; i < iov_n && !fake_gone(fake); i++) {
		size_t n = fails ? (size_t)prng_below(&fake->prng, iov[i].iov_len + 1) : iov[i].iov_len;
		if (fake->capacity && fake_used(fake) + (at + n > file->inode->now_n ? at + n - file->inode->now_n : 0) > fake->capacity) {
			errno = ENOSPC;
			err_sys(err, "spool: cannot write");
			return false;
		}
		if (at <= file->inode->bad_from && at + n >= file->inode->bad_to)
			file->inode->bad_to = 0;
		if (!fake_good(file->inode, at, n, err))
			return false;
		fake_put(file->inode, at, iov[i].iov_base, n);
		if (n < iov[i].iov_len)
			break;
		at += n;
	}
	return !fails;
}

MAYBE bool
fake_read(struct disk_file *file, uint64_t at, void *to, size_t n, size_t *n_out, struct err *err)
{
	if (fake_fails(file->disk, err) || !fake_good(file->inode, at, n, err))
		return false;
	file->disk->reads++;
	*n_out = at >= file->inode->now_n ? 0 : file->inode->now_n - at < n ? file->inode->now_n - at : n;
	if (*n_out)
		memcpy(to, file->inode->now + at, *n_out);
	return true;
}

MAYBE bool
fake_sync(struct disk_file *file, struct err *err)
{
	struct fake_inode *inode = file->inode;
	bool fails = fake_fails(file->disk, err);

	if (fake_gone(file->disk))
		return false;
	for (size_t b = 0; b < inode->cap / FAKE_BLOCK; b++) {
		if (inode->dirty[b] && (!fails || prng_below(&file->disk->prng, 2)))
			memcpy(inode->safe + b * FAKE_BLOCK, inode->now + b * FAKE_BLOCK, FAKE_BLOCK);
		if (!file->disk->dead)
			inode->dirty[b] = 0;
	}
	file->disk->lengths += inode->safe_n != inode->now_n;
	if (!fails || prng_below(&file->disk->prng, 2))
		inode->safe_n = inode->now_n;
	file->disk->syncs++;
	return !fails;
}

MAYBE bool
fake_truncate(struct disk_file *file, uint64_t size, struct err *err)
{
	struct fake_inode *inode = file->inode;

	if (fake_fails(file->disk, err))
		return false;
	fake_room(inode, size);
	if (size < inode->now_n)
		memset(inode->now + size, 0, inode->now_n - size);
	for (uint64_t b = size / FAKE_BLOCK; b < inode->cap / FAKE_BLOCK && b <= inode->now_n / FAKE_BLOCK; b++)
		inode->dirty[b] = 1;
	inode->now_n = size;
	return true;
}

MAYBE bool
fake_size(struct disk_file *file, uint64_t *size_out, struct err *err)
{
	*size_out = file->inode->now_n;
	return !fake_fails(file->disk, err);
}

MAYBE bool
fake_rename(struct disk *disk, const char *from, const char *to, struct err *err)
{
	struct fake_disk *fake = container_of(disk, struct fake_disk, disk);
	struct fake_name *a = fake_find(fake, from, false), *b;
	bool fails = fake_fails(fake, err);

	if (!a || !a->now) {
		errno = ENOENT;
		return err_sys(err, "spool: cannot rename %s", from);
	}
	/* A failed one may have happened, not durably. */
	if (fails && (fake_gone(fake) || prng_below(&fake->prng, 2)))
		return false;
	b = fake_find(fake, to, true);
	if (a != b) {
		fake_set(&b->now, a->now);
		fake_set(&a->now, NULL);
	}
	if (!fails)
		fake_names_safe(fake);
	return !fails;
}

MAYBE bool
fake_remove(struct disk *disk, const char *name, struct err *err)
{
	struct fake_disk *fake = container_of(disk, struct fake_disk, disk);
	struct fake_name *entry = fake_find(fake, name, false);

	if (fake_fails(fake, err))
		return false;
	if (!entry || !entry->now) {
		errno = ENOENT;
		return err_sys(err, "spool: cannot remove %s", name);
	}
	fake_set(&entry->now, NULL);
	return true;
}

MAYBE bool
fake_list(struct disk *disk, void (*fn)(void *ctx, const char *name), void *ctx, struct err *err)
{
	struct fake_disk *fake = container_of(disk, struct fake_disk, disk);

	if (fake_fails(fake, err))
		return false;
	for (unsigned i = 0; i < FAKE_FILES; i++) {
		if (fake->names[i].now)
			fn(ctx, fake->names[i].name);
	}
	return true;
}

MAYBE bool
fake_space(struct disk *disk, uint64_t *free_out, uint64_t *total_out, struct err *err)
{
	struct fake_disk *fake = container_of(disk, struct fake_disk, disk);
	uint64_t used = fake_used(fake);

	*total_out = fake->capacity ? fake->capacity : (uint64_t)1 << 40;
	*free_out = *total_out > used ? *total_out - used : 0;
	return !fake_fails(fake, err);
}

MAYBE bool
fake_lock(struct disk *disk, const char *name, struct err *err)
{
	struct fake_disk *fake = container_of(disk, struct fake_disk, disk);

	return !fake->locked || err_set(err, ERR_PERM, "the spool FAKE is in use by another node");
}

MAYBE void
fake_init(struct fake_disk *fake, uint64_t seed)
{
	static const struct disk_ops ops = {
		.open = fake_open, .close = fake_close, .write = fake_write, .read = fake_read, .sync = fake_sync,
		.truncate = fake_truncate, .size = fake_size, .rename = fake_rename, .remove = fake_remove,
		.list = fake_list, .space = fake_space, .lock = fake_lock,
	};

	*fake = (struct fake_disk){ .disk = { &ops } };
	prng_seed(&fake->prng, seed);
}

MAYBE void
fake_fini(struct fake_disk *fake)
{
	check(fake->opened == 0);
	for (unsigned i = 0; i < FAKE_FILES; i++) {
		fake_set(&fake->names[i].now, NULL);
		fake_set(&fake->names[i].safe, NULL);
	}
}

MAYBE void
fake_inode_power_cut(struct fake_inode *inode, struct prng *prng)
{
	size_t n = inode->safe_n;

	if (inode->now_n > inode->safe_n)
		n += (size_t)prng_below(prng, inode->now_n - inode->safe_n + 1);
	else if (inode->now_n < inode->safe_n && prng_below(prng, 2))
		n = inode->now_n;
	if (prng_below(prng, 3) == 0)
		n = inode->now_n;
	for (size_t b = 0; b < inode->cap / FAKE_BLOCK; b++) {
		if (inode->dirty[b] && prng_below(prng, 2))
			memcpy(inode->safe + b * FAKE_BLOCK, inode->now + b * FAKE_BLOCK, FAKE_BLOCK);
		inode->dirty[b] = 0;
	}
	memset(inode->safe + n, 0, inode->cap - n);
	memcpy(inode->now, inode->safe, inode->cap);
	inode->now_n = inode->safe_n = n;
}

/* Only the node died: what it wrote is still on its way to the disk. */
MAYBE void
fake_revive(struct fake_disk *fake)
{
	fake->dead = false;
	fake->cut_at = fake->fail_at = 0;
}

/* The machine comes back with what the disk kept. */
MAYBE void
fake_power_cut(struct fake_disk *fake)
{
	bool back = prng_below(&fake->prng, 2);

	check(fake->opened == 0);
	for (unsigned i = 0; i < FAKE_FILES; i++) {
		struct fake_name *one = &fake->names[i];
		bool removed = !one->now && one->safe && one->safe->refs == 1;
		if (removed && prng_below(&fake->prng, 2))
			fake_set(&one->now, one->safe);
		else if (removed)
			fake_set(&one->safe, NULL);
	}
	/* Only now: half a rename undone would look like a removal. */
	for (unsigned i = 0; i < FAKE_FILES; i++) {
		if (back)
			fake_set(&fake->names[i].now, fake->names[i].safe);
	}
	for (unsigned i = 0; i < FAKE_FILES; i++)
		fake_set(&fake->names[i].safe, NULL);
	for (unsigned i = 0; i < FAKE_FILES; i++) {
		if (fake->names[i].now)
			fake_inode_power_cut(fake->names[i].now, &fake->prng);
	}
	fake_names_safe(fake);
	fake_revive(fake);
}

MAYBE struct fake_inode *
fake_file(struct fake_disk *fake, const char *name)
{
	struct fake_name *entry = fake_find(fake, name, false);

	return entry ? entry->now : NULL;
}

/* The sector at that place goes bad. */
MAYBE void
fake_spoil(struct fake_disk *fake, const char *name, uint64_t at)
{
	struct fake_inode *inode = fake_file(fake, name);

	inode->bad_from = at - at % FAKE_SECTOR;
	inode->bad_to = inode->bad_from + FAKE_SECTOR;
}

/* Puts a file there, safe. */
MAYBE void
fake_file_put(struct fake_disk *fake, const char *name, struct span bytes)
{
	struct fake_name *entry = fake_find(fake, name, true);
	struct fake_inode *inode = mem_alloc(sizeof(*inode));

	fake_room(inode, bytes.n + 1);
	fake_put(inode, 0, bytes.p, bytes.n);
	memcpy(inode->safe, inode->now, inode->cap);
	memset(inode->dirty, 0, inode->cap / FAKE_BLOCK);
	inode->safe_n = inode->now_n;
	fake_set(&entry->now, inode);
	fake_names_safe(fake);
}
