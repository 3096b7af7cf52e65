/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/disk_sim.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define FILE_MAX  150000u
#define FILES     4u
#define BLOCK     512u
#define SEEDS     60u

/* The model: what is there, what is safe, and which blocks were written since. */
struct model_file {
	bool     here, removed;
	char    *now, *safe;
	bool     dirty[FILE_MAX / BLOCK + 1];
	uint64_t now_n, safe_n;
	struct disk_file *open;
};

struct model {
	struct disk_sim  *sim;
	struct prng       prng;
	struct model_file files[FILES];
};

static const char *const names[FILES] = { "a", "b", "c", "d" };

static void
model_write(struct model *m, struct model_file *file)
{
	char bytes[3000];
	uint64_t at = prng_below(&m->prng, 3) ? file->now_n : prng_below(&m->prng, file->now_n + 2000);
	size_t n = 1 + (size_t)prng_below(&m->prng, sizeof(bytes));
	bool zeros = prng_below(&m->prng, 4) == 0;
	struct iovec iov[2] = { { bytes, n / 3 }, { bytes + n / 3, n - n / 3 } };

	if (at + n > FILE_MAX)
		return;
	for (size_t i = 0; i < n; i++)
		bytes[i] = zeros ? 0 : (char)(1 + prng_below(&m->prng, 255));
	assert_true(m->sim->disk.ops->write(file->open, at, iov, 2, NULL));
	memcpy(file->now + at, bytes, n);
	for (uint64_t b = at / BLOCK; b <= (at + n - 1) / BLOCK; b++)
		file->dirty[b] = true;
	if (file->now_n < at + n)
		file->now_n = at + n;
}

static void
model_truncate(struct model *m, struct model_file *file)
{
	uint64_t size = prng_below(&m->prng, file->now_n + 3000);

	if (size > FILE_MAX)
		return;
	assert_true(m->sim->disk.ops->truncate(file->open, size, NULL));
	for (uint64_t b = size / BLOCK; size < file->now_n && b <= (file->now_n - 1) / BLOCK; b++)
		file->dirty[b] = true;
	if (size < file->now_n)
		memset(file->now + size, 0, file->now_n - size);
	file->now_n = size;
}

static void
model_sync(struct model *m, struct model_file *file)
{
	assert_true(m->sim->disk.ops->sync(file->open, NULL));
	memcpy(file->safe, file->now, FILE_MAX);
	memset(file->dirty, 0, sizeof(file->dirty));
	file->safe_n = file->now_n;
}

/* The name is durable at once, and so is what happened to other names before. */
static void
model_create(struct model *m, unsigned i)
{
	struct model_file *file = &m->files[i];

	file->open = m->sim->disk.ops->open(&m->sim->disk, names[i], true, NULL);
	assert_non_null(file->open);
	memset(file->now, 0, FILE_MAX);
	memset(file->safe, 0, FILE_MAX);
	memset(file->dirty, 0, sizeof(file->dirty));
	file->now_n = file->safe_n = 0;
	file->here = true;
	for (unsigned k = 0; k < FILES; k++)
		m->files[k].removed = false;
}

static void
model_remove(struct model *m, unsigned i)
{
	m->sim->disk.ops->close(m->files[i].open);
	m->files[i].open = NULL;
	assert_true(m->sim->disk.ops->remove(&m->sim->disk, names[i], NULL));
	m->files[i].here = false;
	m->files[i].removed = true;
}

static void
model_rename(struct model *m, unsigned i, unsigned to)
{
	struct model_file tmp = m->files[to];

	if (i == to)
		return;
	if (m->files[to].open)
		m->sim->disk.ops->close(m->files[to].open);
	assert_true(m->sim->disk.ops->rename(&m->sim->disk, names[i], names[to], NULL));
	m->files[to] = m->files[i];
	m->files[i] = tmp;
	m->files[i].here = false;
	m->files[i].open = NULL;
	for (unsigned k = 0; k < FILES; k++)
		m->files[k].removed = false;
}

static void
model_step(struct model *m)
{
	unsigned i = (unsigned)prng_below(&m->prng, FILES);
	unsigned dice = (unsigned)prng_below(&m->prng, 40);

	if (!m->files[i].here)
		model_create(m, i);
	else if (dice == 0)
		model_remove(m, i);
	else if (dice == 1)
		model_rename(m, i, (unsigned)prng_below(&m->prng, FILES));
	else if (dice < 4)
		model_truncate(m, &m->files[i]);
	else if (dice < 9)
		model_sync(m, &m->files[i]);
	else
		model_write(m, &m->files[i]);
}

static uint64_t
content(struct model *m, unsigned i, char *got)
{
	struct disk_file *file = m->sim->disk.ops->open(&m->sim->disk, names[i], false, NULL);
	uint64_t size;
	size_t n;

	if (!file)
		return UINT64_MAX;
	assert_true(m->sim->disk.ops->size(file, &size, NULL));
	assert_true(size <= FILE_MAX);
	memset(got, 0, FILE_MAX);
	assert_true(m->sim->disk.ops->read(file, 0, got, FILE_MAX, &n, NULL));
	assert_int_equal(n, size);
	m->sim->disk.ops->close(file);
	return size;
}

/* *changed_out counts bytes that are not what the program saw. */
static void
check_file(struct model *m, unsigned i, char *got, uint64_t *changed_out)
{
	struct model_file *file = &m->files[i];
	uint64_t n = content(m, i, got);

	if (n == UINT64_MAX) {
		assert_false(file->here);
		return;
	}
	assert_true(file->here || file->removed);
	assert_true(n >= (uint64_t)min_i64((int64_t)file->now_n, (int64_t)file->safe_n));
	assert_true(n <= (uint64_t)max_i64((int64_t)file->now_n, (int64_t)file->safe_n));
	for (uint64_t k = 0; k < n; k++) {
		if (file->dirty[k / BLOCK])
			assert_true(got[k] == file->now[k] || got[k] == file->safe[k]);
		else
			assert_true(got[k] == file->safe[k]);
		*changed_out += got[k] != file->now[k];
	}
	*changed_out += n != file->now_n;
	memcpy(file->now, got, FILE_MAX);
	memcpy(file->safe, got, FILE_MAX);
	memset(file->dirty, 0, sizeof(file->dirty));
	file->now_n = file->safe_n = n;
	file->here = true;
	file->removed = false;
}

static uint64_t
crash_and_check(struct model *m, char *got)
{
	struct prng prng = m->prng;
	uint64_t changed = 0, used = 0;

	for (unsigned i = 0; i < FILES; i++) {
		m->sim->disk.ops->close(m->files[i].open);
		m->files[i].open = NULL;
	}
	disk_sim_crash(m->sim, &prng);
	for (unsigned i = 0; i < FILES; i++) {
		check_file(m, i, got, &changed);
		m->files[i].removed = false;
		used += m->files[i].here ? m->files[i].now_n : 0;
		if (m->files[i].here)
			m->files[i].open = m->sim->disk.ops->open(&m->sim->disk, names[i], false, NULL);
	}
	assert_int_equal(m->sim->used, used);
	return changed;
}

static void
loses_only_what_was_not_synced(void **state)
{
	char *got = mem_alloc(FILE_MAX);
	uint64_t changed = 0;

	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		struct model *m = mem_alloc(sizeof(*m));

		m->sim = disk_sim_new(seed);
		prng_seed(&m->prng, seed);
		for (unsigned i = 0; i < FILES; i++) {
			m->files[i].now = mem_alloc(FILE_MAX);
			m->files[i].safe = mem_alloc(FILE_MAX);
		}
		for (unsigned life = 0; life < 6; life++) {
			for (uint64_t n = prng_below(&m->prng, 120); n > 0; n--)
				model_step(m);
			changed += crash_and_check(m, got);
		}
		for (unsigned i = 0; i < FILES; i++) {
			m->sim->disk.ops->close(m->files[i].open);
			free(m->files[i].now);
			free(m->files[i].safe);
		}
		disk_sim_free(m->sim);
		free(m);
	}
	assert_true(changed > 1000);
	free(got);
}

/* A file with `text` in it, open. */
static struct disk_file *
file_with(struct disk_sim *sim, const char *name, const char *text)
{
	struct disk_file *file = sim->disk.ops->open(&sim->disk, name, true, NULL);
	struct iovec iov = { (void *)text, strlen(text) };

	assert_non_null(file);
	assert_true(sim->disk.ops->write(file, 0, &iov, 1, NULL));
	return file;
}

static bool
add(struct disk_sim *sim, struct disk_file *file, uint64_t at, const char *text, struct err *err)
{
	struct iovec iov = { (void *)text, strlen(text) };

	return sim->disk.ops->write(file, at, &iov, 1, err);
}

static uint64_t
length(struct disk_sim *sim, const char *name)
{
	struct disk_file *file = sim->disk.ops->open(&sim->disk, name, false, NULL);
	uint64_t n = UINT64_MAX;

	if (file)
		sim->disk.ops->size(file, &n, NULL);
	sim->disk.ops->close(file);
	return n;
}

static void
fails_the_nth_call_once(void **state)
{
	struct disk_sim *sim = disk_sim_new(1);
	struct disk_file *file = file_with(sim, "x", "one");
	struct err err;

	disk_sim_fail(sim, 2, 0);
	assert_true(add(sim, file, 3, "two", &err));
	assert_false(sim->disk.ops->sync(file, &err));
	assert_int_equal(err.kind, ERR_TEMP);
	assert_int_equal(err.sys, EIO);
	assert_string_equal(err.text, "spool: cannot sync x: Input/output error");
	assert_true(sim->disk.ops->sync(file, &err));
	sim->disk.ops->close(file);
	disk_sim_free(sim);
}

static void
is_full_by_fault_and_by_size(void **state)
{
	struct disk_sim *sim = disk_sim_new(1);
	struct disk_file *file = file_with(sim, "x", "0123456789");
	uint64_t unused, total;
	struct err err;

	sim->capacity = 15;
	assert_true(sim->disk.ops->space(&sim->disk, &unused, &total, NULL));
	assert_int_equal(unused, 5);
	assert_int_equal(total, 15);
	assert_false(add(sim, file, 10, "abcdef", &err));
	assert_int_equal(err.sys, ENOSPC);
	assert_int_equal(err.kind, ERR_TEMP);
	assert_true(add(sim, file, 10, "abcde", &err));
	assert_true(add(sim, file, 0, "over", &err));
	assert_true(sim->disk.ops->rename(&sim->disk, "x", "y", NULL));
	assert_true(sim->disk.ops->truncate(file, 3, NULL));
	assert_int_equal(sim->used, 3);
	sim->full = true;
	assert_false(add(sim, file, 0, "over", &err));
	assert_null(sim->disk.ops->open(&sim->disk, "z", true, &err));
	assert_int_equal(err.sys, ENOSPC);
	sim->full = false;
	assert_true(sim->disk.ops->remove(&sim->disk, "y", NULL));
	assert_int_equal(sim->used, 0);
	sim->disk.ops->close(file);
	disk_sim_free(sim);
}

/* How many of 40 crashes leave all eight bytes that a "successful" sync was for. */
static unsigned
survivals(bool lying)
{
	unsigned survived = 0;

	for (uint64_t seed = 1; seed <= 40; seed++) {
		struct disk_sim *sim = disk_sim_new(seed);
		struct disk_file *file = file_with(sim, "x", "8 bytes!");
		struct prng prng;

		prng_seed(&prng, seed);
		sim->lying = lying;
		assert_true(sim->disk.ops->sync(file, NULL));
		sim->disk.ops->close(file);
		disk_sim_crash(sim, &prng);
		survived += length(sim, "x") == 8;
		disk_sim_free(sim);
	}
	return survived;
}

static void
lies_about_syncs_when_told_to(void **state)
{
	assert_int_equal(survivals(false), 40);
	assert_in_range(survivals(true), 1, 39);
}

/* The kernel drops what it could not write, and calls the page clean: the next
 * sync is fine, and the bytes are gone all the same. */
static void
loses_for_good_what_a_failed_sync_gave_up(void **state)
{
	unsigned lost = 0;

	for (uint64_t seed = 1; seed <= 40; seed++) {
		struct disk_sim *sim = disk_sim_new(seed);
		struct disk_file *file = file_with(sim, "x", "old bytes");
		struct prng prng;
		char got[9];
		size_t n;

		prng_seed(&prng, seed);
		assert_true(sim->disk.ops->sync(file, NULL));
		assert_true(add(sim, file, 0, "new", NULL));
		disk_sim_fail(sim, 1, EIO);
		assert_false(sim->disk.ops->sync(file, NULL));
		assert_true(sim->disk.ops->sync(file, NULL));
		assert_true(sim->disk.ops->read(file, 0, got, 9, &n, NULL));
		assert_memory_equal(got, "new bytes", 9);
		sim->disk.ops->close(file);
		disk_sim_crash(sim, &prng);
		file = sim->disk.ops->open(&sim->disk, "x", false, NULL);
		assert_true(sim->disk.ops->read(file, 0, got, 9, &n, NULL));
		lost += memcmp(got, "old bytes", 9) == 0;
		assert_true(memcmp(got, "old bytes", 9) == 0 || memcmp(got, "new bytes", 9) == 0);
		sim->disk.ops->close(file);
		disk_sim_free(sim);
	}
	assert_in_range(lost, 1, 39);
}

static void
cannot_read_a_sector_that_went_bad_until_it_is_written_whole(void **state)
{
	struct disk_sim *sim = disk_sim_new(1);
	const struct disk_ops *ops = sim->disk.ops;
	static char bytes[10000];
	struct iovec all = { bytes, 4096 }, part = { bytes, 100 };
	struct disk_file *file;
	struct err err = { 0 };
	struct prng prng;
	size_t got;

	prng_seed(&prng, 1);
	disk_sim_put(sim, "a", span_make(bytes, sizeof(bytes)));
	assert_false(disk_sim_spoil(sim, "b", 0));
	assert_false(disk_sim_spoil(sim, "a", sizeof(bytes)));
	assert_true(disk_sim_spoil(sim, "a", 5000));
	assert_true(ops->rename(&sim->disk, "a", "b", NULL));
	disk_sim_crash(sim, &prng);
	file = ops->open(&sim->disk, "b", false, NULL);
	assert_true(ops->read(file, 0, bytes, 4096, &got, NULL));
	assert_true(ops->read(file, 8192, bytes, 4096, &got, NULL));
	assert_false(ops->read(file, 4095, bytes, 2, &got, &err));
	assert_int_equal(err.sys, EIO);
	assert_int_equal(err.kind, ERR_TEMP);
	assert_false(ops->write(file, 8000, &part, 1, NULL));
	assert_true(ops->write(file, 4096, &all, 1, NULL));
	assert_true(ops->read(file, 0, bytes, sizeof(bytes), &got, NULL));
	ops->close(file);
	disk_sim_free(sim);
}

/* A rename that was cut short is undone whole: the file is under one of its names. */
static void
loses_no_file_in_a_rename_that_the_power_cut(void **state)
{
	for (unsigned seed = 1; seed < 60; seed++) {
		struct disk_sim *sim = disk_sim_new(seed);
		const struct disk_ops *ops = sim->disk.ops;
		struct disk_file *a, *b;
		struct prng prng;

		prng_seed(&prng, ~(uint64_t)seed);
		disk_sim_put(sim, seed % 2 ? "a" : "b", SPAN("precious"));
		sim->cut_at = sim->calls + 1;
		assert_false(ops->rename(&sim->disk, seed % 2 ? "a" : "b", seed % 2 ? "b" : "a", NULL));
		disk_sim_crash(sim, &prng);
		a = ops->open(&sim->disk, "a", false, NULL);
		b = ops->open(&sim->disk, "b", false, NULL);
		assert_int_equal(!a + !b, 1);
		ops->close(a);
		ops->close(b);
		disk_sim_free(sim);
	}
}

static void
has_one_holder_until_it_crashes_or_is_revived(void **state)
{
	struct disk_sim *sim = disk_sim_new(1);
	struct err err;
	struct prng prng;

	prng_seed(&prng, 1);
	assert_true(sim->disk.ops->lock(&sim->disk, "lock", &err));
	assert_false(sim->disk.ops->lock(&sim->disk, "lock", &err));
	assert_int_equal(err.kind, ERR_PERM);
	disk_sim_crash(sim, &prng);
	assert_true(sim->disk.ops->lock(&sim->disk, "lock", &err));
	disk_sim_revive(sim);
	assert_true(sim->disk.ops->lock(&sim->disk, "lock", &err));
	disk_sim_free(sim);
}

static void
does_nothing_while_the_power_is_gone(void **state)
{
	struct disk_sim *sim = disk_sim_new(1);
	struct disk_file *file = file_with(sim, "x", "one");

	assert_true(sim->disk.ops->sync(file, NULL));
	disk_sim_cut(sim);
	assert_false(add(sim, file, 0, "never", NULL));
	assert_false(sim->disk.ops->remove(&sim->disk, "x", NULL));
	assert_null(sim->disk.ops->open(&sim->disk, "y", true, NULL));
	sim->disk.ops->close(file);
	disk_sim_revive(sim);
	assert_int_equal(length(sim, "x"), 3);
	assert_true(length(sim, "y") == UINT64_MAX);
	disk_sim_put(sim, "y", SPAN("there"));
	assert_int_equal(length(sim, "y"), 5);
	disk_sim_free(sim);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(loses_only_what_was_not_synced),
		cmocka_unit_test(fails_the_nth_call_once),
		cmocka_unit_test(is_full_by_fault_and_by_size),
		cmocka_unit_test(lies_about_syncs_when_told_to),
		cmocka_unit_test(loses_for_good_what_a_failed_sync_gave_up),
		cmocka_unit_test(cannot_read_a_sector_that_went_bad_until_it_is_written_whole),
		cmocka_unit_test(loses_no_file_in_a_rename_that_the_power_cut),
		cmocka_unit_test(has_one_holder_until_it_crashes_or_is_revived),
		cmocka_unit_test(does_nothing_while_the_power_is_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
