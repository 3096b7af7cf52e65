/*
 * disk_sim - names, and what goes wrong.
 *
 * A name has the file that a program finds by it and the one that a power cut
 * would find. Creating and renaming sync the folder, and with it all names.
 *
 * Every call counts, and may fail: once by number, at random, or because the
 * power is gone. A call that fails may have done a part of its work, as a real
 * one may; only after the power went nothing happens any more.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/disk_sim.h"

#include <errno.h>
#include <stdlib.h>

#include "sim/file_sim.h"

#define SECTOR      4096u
#define HASH_SEED   1u                  /* nobody attacks a simulation, and it replays */
#define WITHOUT_END ((uint64_t)1 << 40) /* what a disk of no capacity says it has */

struct entry {
	char            *name;
	struct file_sim *now, *safe;
};

struct disk_file {
	struct disk_sim *sim;
	struct file_sim *content;
	char            *name;
};

static struct disk_sim *
sim_of(struct disk *disk)
{
	return container_of(disk, struct disk_sim, disk);
}

static bool
fail(struct err *err, int sys, const char *verb, const char *name)
{
	errno = sys;
	err_sys(err, "spool: cannot %s %s", verb, name);
	if (err && (sys == EIO || sys == ENOSPC || sys == EDQUOT || sys == EROFS || sys == ENFILE))
		err->kind = ERR_TEMP;
	return false;
}

/* True: this call fails. */
static bool
fails(struct disk_sim *sim, struct err *err, const char *verb, const char *name)
{
	sim->calls++;
	if (sim->cut_at && sim->calls >= sim->cut_at)
		sim->dead = true;
	if (!sim->dead && sim->calls != sim->fail_at &&
	    !(sim->fail_permille && prng_below(&sim->prng, 1000) < sim->fail_permille))
		return false;
	fail(err, sim->sys ? sim->sys : EIO, verb, name);
	return true;
}

/* The power went, and not just in this very call. */
static bool
gone(const struct disk_sim *sim)
{
	return sim->dead && sim->calls > sim->cut_at;
}

static struct entry *
find(struct disk_sim *sim, const char *name, bool make)
{
	struct entry *entry = table_get(&sim->names, span_text(name));

	if (entry || !make)
		return entry;
	entry = mem_alloc(sizeof(*entry));
	entry->name = mem_strdup(name);
	table_put(&sim->names, span_text(entry->name), entry);
	return entry;
}

static void
set(struct file_sim **slot, struct file_sim *file)
{
	struct file_sim *old = *slot;

	if (file)
		file_sim_ref(file);
	*slot = file;
	if (old)
		file_sim_unref(old);
}

/* What a program finds by the name; the space in use follows. */
static void
set_now(struct disk_sim *sim, struct entry *entry, struct file_sim *file)
{
	if (entry->now) {
		sim->used -= entry->now->now_n;
		entry->now->names--;
	}
	if (file) {
		sim->used += file->now_n;
		file->names++;
	}
	set(&entry->now, file);
}

static void
entry_free(struct disk_sim *sim, struct entry *entry)
{
	table_remove(&sim->names, span_text(entry->name));
	set_now(sim, entry, NULL);
	set(&entry->safe, NULL);
	free(entry->name);
	free(entry);
}

static void
names_safe(struct disk_sim *sim)
{
	struct entry *entry;
	uint32_t pos = 0;

	while ((entry = table_next(&sim->names, &pos))) {
		set(&entry->safe, entry->now);
		if (!entry->now)
			entry_free(sim, entry);
	}
}

static struct disk_file *
handle(struct disk_sim *sim, struct entry *entry)
{
	struct disk_file *file = mem_alloc(sizeof(*file));

	file->sim = sim;
	file->name = mem_strdup(entry->name);
	set(&file->content, entry->now);
	sim->opened++;
	return file;
}

static struct disk_file *
create(struct disk_sim *sim, const char *name, struct err *err)
{
	bool failed = fails(sim, err, "create", name);
	struct entry *entry = find(sim, name, false);

	if (entry && entry->now) {
		fail(err, EEXIST, "create", name);
		return NULL;
	}
	if (sim->full && !failed) {
		fail(err, ENOSPC, "create", name);
		return NULL;
	}
	/* One that failed may leave the name, not durably. */
	if (gone(sim) || (failed && prng_below(&sim->prng, 2) == 0))
		return NULL;
	entry = find(sim, name, true);
	set_now(sim, entry, file_sim_new(sim->spares));
	if (failed)
		return NULL;
	names_safe(sim);
	return handle(sim, entry);
}

static struct disk_file *
sim_open(struct disk *disk, const char *name, bool make, struct err *err)
{
	struct disk_sim *sim = sim_of(disk);
	struct entry *entry;

	if (make)
		return create(sim, name, err);
	if (fails(sim, err, "open", name))
		return NULL;
	entry = find(sim, name, false);
	if (!entry || !entry->now) {
		fail(err, ENOENT, "open", name);
		return NULL;
	}
	return handle(sim, entry);
}

static void
sim_close(struct disk_file *file)
{
	if (!file)
		return;
	file->sim->opened--;
	file_sim_unref(file->content);
	free(file->name);
	free(file);
}

/* False: it touches a bad sector. */
static bool
is_good(struct disk_file *file, uint64_t at, size_t n, const char *verb, struct err *err)
{
	const struct file_sim *content = file->content;

	return at >= content->bad_to || at + n <= content->bad_from || fail(err, EIO, verb, file->name);
}

static bool
put(struct disk_file *file, uint64_t at, const char *p, size_t n, struct err *err)
{
	struct disk_sim *sim = file->sim;
	uint64_t before = file->content->now_n;
	uint64_t more = at + n > before ? at + n - before : 0;

	if (sim->full || (sim->capacity && sim->used + sim->used_by_others + more > sim->capacity))
		return fail(err, ENOSPC, "write", file->name);
	if (n == 0)
		return true;
	if (at <= file->content->bad_from && at + n >= file->content->bad_to)
		file->content->bad_from = file->content->bad_to = 0;
	if (!is_good(file, at, n, "write", err))
		return false;
	file_sim_write(file->content, at, p, n);
	sim->used += file->content->names ? more : 0;
	return true;
}

static bool
sim_write(struct disk_file *file, uint64_t at, const struct iovec *iov, int iov_n, struct err *err)
{
	struct disk_sim *sim = file->sim;
	bool failed = fails(sim, err, "write", file->name);

	for (int i = 0; i < iov_n && !gone(sim); i++) {
		size_t n = failed ? (size_t)prng_below(&sim->prng, iov[i].iov_len + 1) : iov[i].iov_len;

		if (!put(file, at, iov[i].iov_base, n, err))
			return false;
		if (n < iov[i].iov_len)
			break;
		at += n;
	}
	return !failed;
}

static bool
sim_read(struct disk_file *file, uint64_t at, void *to, size_t n, size_t *n_out, struct err *err)
{
	if (fails(file->sim, err, "read", file->name) || !is_good(file, at, n, "read", err))
		return false;
	file->sim->reads++;
	*n_out = file_sim_read(file->content, at, to, n);
	return true;
}

static bool
sim_sync(struct disk_file *file, struct err *err)
{
	struct disk_sim *sim = file->sim;
	bool failed = fails(sim, err, "sync", file->name);

	if (gone(sim))
		return false;
	sim->syncs++;
	if (failed)
		file_sim_sync_badly(file->content, !sim->dead, &sim->prng);
	else if (!sim->lying)
		file_sim_sync(file->content);
	return !failed;
}

static bool
sim_truncate(struct disk_file *file, uint64_t size, struct err *err)
{
	uint64_t before = file->content->now_n;

	if (fails(file->sim, err, "truncate", file->name))
		return false;
	file_sim_truncate(file->content, size);
	file->sim->used += file->content->names ? size - before : 0;
	return true;
}

static bool
sim_size(struct disk_file *file, uint64_t *size_out, struct err *err)
{
	*size_out = file->content->now_n;
	return !fails(file->sim, err, "examine", file->name);
}

static bool
sim_rename(struct disk *disk, const char *from, const char *to, struct err *err)
{
	struct disk_sim *sim = sim_of(disk);
	bool failed = fails(sim, err, "rename", from);
	struct entry *a = find(sim, from, false), *b;

	if (!failed && (!a || !a->now))
		return fail(err, ENOENT, "rename", from);
	/* One that failed may have happened, not durably. */
	if (failed && (!a || !a->now || gone(sim) || prng_below(&sim->prng, 2)))
		return false;
	b = find(sim, to, true);
	if (a != b) {
		set_now(sim, b, a->now);
		set_now(sim, a, NULL);
	}
	if (!failed)
		names_safe(sim);
	return !failed;
}

static bool
sim_remove(struct disk *disk, const char *name, struct err *err)
{
	struct disk_sim *sim = sim_of(disk);
	struct entry *entry;

	if (fails(sim, err, "remove", name))
		return false;
	entry = find(sim, name, false);
	if (!entry || !entry->now)
		return fail(err, ENOENT, "remove", name);
	set_now(sim, entry, NULL);
	return true;
}

static bool
sim_list(struct disk *disk, void (*fn)(void *ctx, const char *name), void *ctx, struct err *err)
{
	struct disk_sim *sim = sim_of(disk);
	struct entry *entry;
	uint32_t pos = 0;

	if (fails(sim, err, "list", "the folder"))
		return false;
	while ((entry = table_next(&sim->names, &pos))) {
		if (entry->now)
			fn(ctx, entry->name);
	}
	return true;
}

static bool
sim_space(struct disk *disk, uint64_t *free_out, uint64_t *total_out, struct err *err)
{
	struct disk_sim *sim = sim_of(disk);
	uint64_t used = sim->used + sim->used_by_others;

	*total_out = sim->capacity ? sim->capacity : WITHOUT_END;
	*free_out = *total_out > used && !sim->full ? *total_out - used : 0;
	return !fails(sim, err, "ask for the free space of", "the folder");
}

static bool
sim_lock(struct disk *disk, const char *name, struct err *err)
{
	struct disk_sim *sim = sim_of(disk);

	if (sim->locked)
		return err_set(err, ERR_PERM, "the spool is in use by another node");
	sim->locked = true;
	return true;
}

static const struct disk_ops disk_sim_ops = {
	.open = sim_open, .close = sim_close, .write = sim_write, .read = sim_read, .sync = sim_sync,
	.truncate = sim_truncate, .size = sim_size, .rename = sim_rename, .remove = sim_remove,
	.list = sim_list, .space = sim_space, .lock = sim_lock,
};

struct disk_sim *
disk_sim_new(uint64_t seed)
{
	struct disk_sim *sim = mem_alloc(sizeof(*sim));

	sim->disk.ops = &disk_sim_ops;
	prng_seed(&sim->prng, seed);
	table_init(&sim->names, HASH_SEED);
	sim->spares = file_spares_new();
	return sim;
}

void
disk_sim_free(struct disk_sim *sim)
{
	struct entry *entry;
	uint32_t pos = 0;

	if (!sim)
		return;
	check(sim->opened == 0);
	while ((entry = table_next(&sim->names, &pos)))
		entry_free(sim, entry);
	table_fini(&sim->names);
	file_spares_free(sim->spares);
	free(sim);
}

void
disk_sim_fail(struct disk_sim *sim, uint64_t n, int sys)
{
	sim->fail_at = sim->calls + n;
	sim->sys = sys;
}

void
disk_sim_cut(struct disk_sim *sim)
{
	sim->dead = true;
	sim->cut_at = sim->cut_at && sim->cut_at < sim->calls ? sim->cut_at : sim->calls;
}

void
disk_sim_revive(struct disk_sim *sim)
{
	check(sim->opened == 0);
	sim->dead = sim->locked = false;
	sim->cut_at = sim->fail_at = 0;
}

/* Of names that changed without a sync of the folder: all are as they were, or none;
 * but each removed file may be back by itself. */
static void
crash_names(struct disk_sim *sim, struct prng *prng)
{
	bool back = prng_below(prng, 2);
	struct entry *entry;
	uint32_t pos = 0;

	while ((entry = table_next(&sim->names, &pos))) {
		bool removed = !entry->now && entry->safe && entry->safe->refs == 1;

		if (removed && prng_below(prng, 2))
			set_now(sim, entry, entry->safe);
		else if (removed)
			set(&entry->safe, NULL);
	}
	/* Only now: half a rename undone would look like a removal. */
	for (pos = 0; back && (entry = table_next(&sim->names, &pos));)
		set_now(sim, entry, entry->safe);
	names_safe(sim);
}

void
disk_sim_crash(struct disk_sim *sim, struct prng *prng)
{
	struct entry *entry;
	uint32_t pos = 0;

	disk_sim_revive(sim);
	crash_names(sim, prng);
	while ((entry = table_next(&sim->names, &pos))) {
		sim->used -= entry->now->now_n;
		file_sim_crash(entry->now, prng);
		sim->used += entry->now->now_n;
	}
}

bool
disk_sim_spoil(struct disk_sim *sim, const char *name, uint64_t at)
{
	struct entry *entry = find(sim, name, false);

	if (!entry || !entry->now || at >= entry->now->now_n)
		return false;
	entry->now->bad_from = at - at % SECTOR;
	entry->now->bad_to = entry->now->bad_from + SECTOR;
	return true;
}

void
disk_sim_put(struct disk_sim *sim, const char *name, struct span bytes)
{
	struct entry *entry = find(sim, name, true);
	struct file_sim *file = file_sim_new(sim->spares);

	file_sim_write(file, 0, bytes.p, bytes.n);
	file_sim_sync(file);
	set_now(sim, entry, file);
	names_safe(sim);
}
