/*
 * disk_os - the door to the real file system.
 *
 * All names go through the folder's own descriptor, so that a folder which is
 * renamed while we run stays ours. A created or renamed file is followed by a
 * sync of the folder: only then does its name survive power loss. A removed
 * one is not: whoever needs it gone for good renames it first.
 *
 * fdatasync is enough for a file: it writes the size when the size is needed
 * to find the data, and nobody reads the other times.
 *
 * The page cache reads in pieces larger than a page, and one bad sector makes all of its piece
 * unreadable. So what cannot be read is read again without read-ahead, page by page: then
 * only what the disk lost is lost.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define CACHED_MAX (2u << 20)           /* of the page cache, and a multiple of any of its pieces */

struct disk_os {
	struct disk disk;
	char       *folder;
	int         fd;
	int         lock_fd;            /* -1: not locked */
};

struct disk_file {
	int   fd;
	char *name;
};

static struct disk_os *
disk_os_of(struct disk *disk)
{
	return container_of(disk, struct disk_os, disk);
}

/* What a full, failing or overtaxed disk says may pass; the rest will not. */
static bool
fail(struct err *err, const char *verb, const char *name)
{
	int sys = errno;

	err_sys(err, "spool: cannot %s %s", verb, name);
	if (err && (sys == EIO || sys == ENOSPC || sys == EDQUOT || sys == EROFS || sys == ENFILE))
		err->kind = ERR_TEMP;
	return false;
}

/* The place tells which sector it was. */
static bool
fail_at(struct err *err, const char *verb, const char *name, uint64_t at)
{
	char place[NAME_MAX + 32];
	int sys = errno;

	snprintf(place, sizeof(place), "%s at byte %llu", name, (unsigned long long)at);
	errno = sys;
	return fail(err, verb, place);
}

static bool
sync_folder(struct disk_os *os, struct err *err)
{
	return fsync(os->fd) == 0 || fail(err, "sync the folder", os->folder);
}

static struct disk_file *
os_open(struct disk *disk, const char *name, bool create, struct err *err)
{
	struct disk_os *os = disk_os_of(disk);
	int fd = openat(os->fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | (create ? O_CREAT | O_EXCL : 0), 0600);
	struct disk_file *file;

	if (fd < 0) {
		fail(err, create ? "create" : "open", name);
		return NULL;
	}
	if (create && !sync_folder(os, err)) {
		close(fd);
		return NULL;
	}
	file = mem_alloc(sizeof(*file));
	file->fd = fd;
	file->name = mem_strdup(name);
	return file;
}

static void
os_close(struct disk_file *file)
{
	if (!file)
		return;
	close(file->fd);
	free(file->name);
	free(file);
}

/* Takes n written bytes off the front of iov. */
static void
iov_advance(struct iovec *iov, int *first, int iov_n, size_t n)
{
	while (*first < iov_n && n >= iov[*first].iov_len) {
		n -= iov[*first].iov_len;
		(*first)++;
	}
	if (*first < iov_n) {
		iov[*first].iov_base = (char *)iov[*first].iov_base + n;
		iov[*first].iov_len -= n;
	}
}

static bool
os_write(struct disk_file *file, uint64_t at, const struct iovec *iov, int iov_n, struct err *err)
{
	struct iovec some[64];

	while (iov_n > 0) {
		int n = (int)min_i64(iov_n, countof(some)), first = 0;

		memcpy(some, iov, (size_t)n * sizeof(*iov));
		iov_advance(some, &first, n, 0);
		while (first < n) {
			ssize_t wrote = pwritev(file->fd, some + first, n - first, (off_t)at);
			if (wrote < 0 && errno == EINTR)
				continue;
			if (wrote == 0)
				errno = EIO;
			if (wrote <= 0)
				return fail_at(err, "write", file->name, at);
			at += (uint64_t)wrote;
			iov_advance(some, &first, n, (size_t)wrote);
		}
		iov += n;
		iov_n -= n;
	}
	return true;
}

/* The next read asks the disk anew, for single pages. */
static void
read_smaller(const struct disk_file *file, uint64_t at)
{
	posix_fadvise(file->fd, 0, 0, POSIX_FADV_RANDOM);
	posix_fadvise(file->fd, (off_t)(at - at % CACHED_MAX), CACHED_MAX, POSIX_FADV_DONTNEED);
}

static bool
os_read(struct disk_file *file, uint64_t at, void *to, size_t n, size_t *n_out, struct err *err)
{
	size_t got = 0, again_at = SIZE_MAX;

	while (got < n) {
		ssize_t k = pread(file->fd, (char *)to + got, n - got, (off_t)(at + got));
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0 && errno == EIO && again_at != got) {
			again_at = got;
			read_smaller(file, at + got);
			continue;
		}
		if (k < 0)
			return fail_at(err, "read", file->name, at + got);
		if (k == 0)
			break;
		got += (size_t)k;
	}
	*n_out = got;
	return true;
}

static bool
os_sync(struct disk_file *file, struct err *err)
{
	return fdatasync(file->fd) == 0 || fail(err, "sync", file->name);
}

static bool
os_truncate(struct disk_file *file, uint64_t size, struct err *err)
{
	int r;

	do
		r = ftruncate(file->fd, (off_t)size);
	while (r < 0 && errno == EINTR);
	return r == 0 || fail(err, "truncate", file->name);
}

static bool
os_size(struct disk_file *file, uint64_t *size_out, struct err *err)
{
	struct stat st;

	if (fstat(file->fd, &st) < 0)
		return fail(err, "examine", file->name);
	*size_out = (uint64_t)st.st_size;
	return true;
}

static bool
os_rename(struct disk *disk, const char *from, const char *to, struct err *err)
{
	struct disk_os *os = disk_os_of(disk);

	if (renameat(os->fd, from, os->fd, to) < 0)
		return fail(err, "rename", from);
	return sync_folder(os, err);
}

static bool
os_remove(struct disk *disk, const char *name, struct err *err)
{
	return unlinkat(disk_os_of(disk)->fd, name, 0) == 0 || fail(err, "remove", name);
}

static bool
os_list(struct disk *disk, void (*fn)(void *ctx, const char *name), void *ctx, struct err *err)
{
	struct disk_os *os = disk_os_of(disk);
	int fd = openat(os->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!dir) {
		fail(err, "list", os->folder);
		if (fd >= 0)
			close(fd);
		return false;
	}
	for (errno = 0; (entry = readdir(dir)); errno = 0) {
		if (entry->d_name[0] != '.')
			fn(ctx, entry->d_name);
	}
	if (errno) {
		fail(err, "list", os->folder);
		closedir(dir);
		return false;
	}
	closedir(dir);
	return true;
}

static bool
os_space(struct disk *disk, uint64_t *free_out, uint64_t *total_out, struct err *err)
{
	struct disk_os *os = disk_os_of(disk);
	struct statvfs st;

	if (fstatvfs(os->fd, &st) < 0)
		return fail(err, "ask for the free space of", os->folder);
	*free_out = (uint64_t)st.f_bavail * st.f_frsize;
	*total_out = (uint64_t)st.f_blocks * st.f_frsize;
	return true;
}

/* flock, not fcntl: it tells two holders in one process apart. */
static bool
lock_take(struct disk_os *os, int fd, struct err *err)
{
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno == EWOULDBLOCK)
			err_set(err, ERR_PERM, "the spool %s is in use by another node", os->folder);
		else
			fail(err, "lock", os->folder);
		close(fd);
		return false;
	}
	os->lock_fd = fd;
	return true;
}

static bool
os_lock(struct disk *disk, const char *name, struct err *err)
{
	struct disk_os *os = disk_os_of(disk);
	int fd;

	if (os->lock_fd >= 0)
		return true;
	fd = openat(os->fd, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 && errno == EACCES)
		return err_set(err, ERR_PERM, "spool: %s, or what lies in it, is another user's: chown -R gives it to the one that the node runs as",
			       os->folder);
	if (fd < 0)
		return fail(err, "open", name);
	return lock_take(os, fd, err);
}

static const struct disk_ops disk_os_ops = {
	.open = os_open,         .close = os_close, .write = os_write,   .read = os_read,
	.sync = os_sync,         .truncate = os_truncate, .size = os_size, .rename = os_rename,
	.remove = os_remove,     .list = os_list,   .space = os_space,   .lock = os_lock,
};

/* A folder just made is only there for good when its parent knows. */
static bool
sync_parent(int fd, const char *folder, struct err *err)
{
	int parent = openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool ok = parent >= 0 && fsync(parent) == 0;

	if (!ok)
		fail(err, "sync the folder above", folder);
	if (parent >= 0)
		close(parent);
	return ok;
}

/* ---- only to look ---- */

/* O_NONBLOCK: a pipe of that name must not hold us up. */
static struct disk_file *
look_open(struct disk *disk, const char *name, bool create, struct err *err)
{
	int fd = openat(disk_os_of(disk)->fd, name, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
	struct disk_file *file;
	struct stat st;

	check(!create);
	if (fd < 0 || fstat(fd, &st) < 0) {
		fail(err, "open", name);
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	if (!S_ISREG(st.st_mode)) {
		err_set(err, ERR_PERM, "spool: %s is not a plain file", name);
		close(fd);
		return NULL;
	}
	file = mem_alloc(sizeof(*file));
	file->fd = fd;
	file->name = mem_strdup(name);
	return file;
}

/* A file that is not there is held by nobody. */
static bool
look_lock(struct disk *disk, const char *name, struct err *err)
{
	struct disk_os *os = disk_os_of(disk);
	int fd = openat(os->fd, name, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return errno == ENOENT || fail(err, "open", name);
	return lock_take(os, fd, err);
}

static const struct disk_ops disk_look_ops = {
	.open = look_open, .close = os_close, .read = os_read, .size = os_size, .list = os_list, .lock = look_lock,
};

static struct disk *
disk_os_new(const struct disk_ops *ops, const char *folder, int fd)
{
	struct disk_os *os = mem_alloc(sizeof(*os));

	os->disk.ops = ops;
	os->folder = mem_strdup(folder);
	os->fd = fd;
	os->lock_fd = -1;
	return &os->disk;
}

struct disk *
disk_os_open(const char *folder, struct err *err)
{
	bool made = mkdir(folder, 0700) == 0;
	int fd;

	if (!made && errno != EEXIST) {
		fail(err, "make the folder", folder);
		return NULL;
	}
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		fail(err, "open the folder", folder);
		return NULL;
	}
	if (made && !sync_parent(fd, folder, err)) {
		close(fd);
		return NULL;
	}
	return disk_os_new(&disk_os_ops, folder, fd);
}

struct disk *
disk_os_look(const char *folder, struct err *err)
{
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0) {
		fail(err, "open the folder", folder);
		return NULL;
	}
	return disk_os_new(&disk_look_ops, folder, fd);
}

void
disk_os_close(struct disk *disk)
{
	struct disk_os *os;

	if (!disk)
		return;
	os = disk_os_of(disk);
	if (os->lock_fd >= 0)
		close(os->lock_fd);
	close(os->fd);
	free(os->folder);
	free(os);
}
