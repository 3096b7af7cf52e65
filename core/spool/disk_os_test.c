/*
 * The real disk, in a folder that goes away afterwards.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "spool/disk.h"

struct here {
	char folder[64];
	struct disk *disk;
};

static int
set_up(void **state)
{
	struct here *here = mem_alloc(sizeof(*here));

	snprintf(here->folder, sizeof(here->folder), "/tmp/sluice-disk-XXXXXX");
	assert_non_null(mkdtemp(here->folder));
	here->disk = disk_os_open(here->folder, NULL);
	assert_non_null(here->disk);
	*state = here;
	return 0;
}

static void
wipe_one(void *ctx, const char *name)
{
	struct disk *disk = ctx;

	assert_true(disk->ops->remove(disk, name, NULL));
}

static int
tear_down(void **state)
{
	struct here *here = *state;

	assert_true(here->disk->ops->list(here->disk, wipe_one, here->disk, NULL));
	disk_os_close(here->disk);
	assert_int_equal(rmdir(here->folder), 0);
	free(here);
	return 0;
}

static void
reads_back_what_it_wrote(void **state)
{
	struct here *here = *state;
	const struct disk_ops *ops = here->disk->ops;
	struct disk_file *file = ops->open(here->disk, "a", true, NULL);
	struct iovec iov[200];
	char got[2048];
	uint64_t size;
	size_t n;

	assert_non_null(file);
	for (unsigned i = 0; i < countof(iov); i++)
		iov[i] = (struct iovec){ (char *)"0123456789" + i % 10, i % 7 == 0 ? 0 : 1 };
	assert_true(ops->write(file, 5, iov, countof(iov), NULL));
	assert_true(ops->sync(file, NULL));
	assert_true(ops->size(file, &size, NULL));
	assert_true(ops->read(file, 5, got, sizeof(got), &n, NULL));
	assert_int_equal(n, size - 5);
	for (unsigned i = 0, at = 0; i < countof(iov); i++) {
		if (i % 7)
			assert_int_equal(got[at++], '0' + (char)(i % 10));
	}
	assert_true(ops->truncate(file, 6, NULL));
	assert_true(ops->read(file, 5, got, sizeof(got), &n, NULL));
	assert_int_equal(n, 1);
	assert_int_equal(got[0], '1');
	ops->close(file);
}

static void
creates_only_what_is_not_there_and_opens_only_what_is(void **state)
{
	struct here *here = *state;
	const struct disk_ops *ops = here->disk->ops;
	struct err err = { 0 };

	assert_null(ops->open(here->disk, "a", false, &err));
	assert_int_equal(err.sys, ENOENT);
	ops->close(ops->open(here->disk, "a", true, NULL));
	assert_null(ops->open(here->disk, "a", true, &err));
	assert_int_equal(err.sys, EEXIST);
	assert_true(ops->rename(here->disk, "a", "b", NULL));
	assert_null(ops->open(here->disk, "a", false, NULL));
	ops->close(ops->open(here->disk, "b", false, NULL));
	assert_true(ops->remove(here->disk, "b", NULL));
	assert_false(ops->remove(here->disk, "b", &err));
}

static void
tells_a_second_holder_that_the_folder_is_in_use(void **state)
{
	struct here *here = *state;
	struct disk *other = disk_os_open(here->folder, NULL);
	struct err err = { 0 };
	char want[128];

	assert_true(here->disk->ops->lock(here->disk, "lock", NULL));
	assert_true(here->disk->ops->lock(here->disk, "lock", NULL));
	assert_false(other->ops->lock(other, "lock", &err));
	assert_int_equal(err.kind, ERR_PERM);
	snprintf(want, sizeof(want), "the spool %s is in use by another node", here->folder);
	assert_string_equal(err.text, want);
	disk_os_close(here->disk);
	here->disk = other;
	assert_true(other->ops->lock(other, "lock", NULL));
}

static void
makes_the_folder_private(void **state)
{
	struct here *here = *state;
	char folder[128];
	struct disk *disk;
	struct stat st;

	snprintf(folder, sizeof(folder), "%s/spool", here->folder);
	disk = disk_os_open(folder, NULL);
	assert_non_null(disk);
	disk_os_close(disk);
	assert_int_equal(stat(folder, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	assert_int_equal(rmdir(folder), 0);
	snprintf(folder, sizeof(folder), "%s/no/spool", here->folder);
	assert_null(disk_os_open(folder, NULL));
}

static void
calls_a_full_disk_temporary(void **state)
{
	struct disk *disk = disk_os_open("/dev", NULL);
	struct iovec iov = { (char *)"x", 1 };
	struct err err = { 0 };
	struct disk_file *file;

	assert_non_null(disk);
	file = disk->ops->open(disk, "full", false, NULL);
	if (!file) {
		disk_os_close(disk);
		skip();
	}
	assert_false(disk->ops->write(file, 0, &iov, 1, &err));
	assert_int_equal(err.kind, ERR_TEMP);
	assert_int_equal(err.sys, ENOSPC);
	disk->ops->close(file);
	disk_os_close(disk);
}

static void
knows_the_free_space(void **state)
{
	struct here *here = *state;
	uint64_t free_bytes, total;

	assert_true(here->disk->ops->space(here->disk, &free_bytes, &total, NULL));
	assert_true(total > 0);
	assert_true(free_bytes <= total);
}

static void
looks_without_making_or_holding_up_anything(void **state)
{
	struct here *here = *state;
	const struct disk_ops *ops = here->disk->ops;
	struct iovec iov = { (void *)"hello", 5 };
	struct disk_file *file = ops->open(here->disk, "file", true, NULL);
	struct disk *look = disk_os_look(here->folder, NULL);
	char path[100], got[8];
	struct err err = { 0 };
	struct stat st;
	size_t n;

	assert_non_null(look);
	assert_true(ops->write(file, 0, &iov, 1, NULL));
	ops->close(file);
	file = look->ops->open(look, "file", false, NULL);
	assert_true(look->ops->read(file, 0, got, sizeof(got), &n, NULL));
	assert_int_equal(n, 5);
	assert_memory_equal(got, "hello", 5);
	look->ops->close(file);
	snprintf(path, sizeof(path), "%s/pipe", here->folder);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_null(look->ops->open(look, "pipe", false, &err));
	assert_int_equal(err.kind, ERR_PERM);

	/* Nobody holds a folder without the file; then the node does. */
	assert_true(look->ops->lock(look, "lock", NULL));
	snprintf(path, sizeof(path), "%s/lock", here->folder);
	assert_int_equal(stat(path, &st), -1);
	assert_true(ops->lock(here->disk, "lock", NULL));
	assert_false(look->ops->lock(look, "lock", &err));
	disk_os_close(look);
	snprintf(path, sizeof(path), "%s/nowhere", here->folder);
	assert_null(disk_os_look(path, NULL));
	assert_int_equal(stat(path, &st), -1);
}

static void
follows_no_link_out_of_the_folder(void **state)
{
	struct here *here = *state;
	const struct disk_ops *ops = here->disk->ops;
	char path[100];
	struct err err = { 0 };

	snprintf(path, sizeof(path), "%s/link", here->folder);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	assert_null(ops->open(here->disk, "link", false, &err));
	assert_int_equal(err.sys, ELOOP);
	assert_null(ops->open(here->disk, "link", true, &err));
	assert_int_equal(err.sys, EEXIST);
}

static void
tells_what_it_could_not_rename(void **state)
{
	struct here *here = *state;
	struct err err = { 0 };

	assert_false(here->disk->ops->rename(here->disk, "nothing", "b", &err));
	assert_int_equal(err.sys, ENOENT);
	assert_non_null(strstr(err.text, "nothing"));
}

static void
tells_which_file_it_could_not_read(void **state)
{
	struct disk *disk = disk_os_look("/proc/self", NULL);
	struct disk_file *file = disk ? disk->ops->open(disk, "mem", false, NULL) : NULL;
	struct err err = { 0 };
	char got[8];
	size_t n;

	if (!file) {
		disk_os_close(disk);
		skip();
	}
	assert_false(disk->ops->read(file, 0, got, sizeof(got), &n, &err));
	assert_int_equal(err.sys, EIO);
	assert_non_null(strstr(err.text, "mem"));
	disk->ops->close(file);
	disk_os_close(disk);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(reads_back_what_it_wrote, set_up, tear_down),
		cmocka_unit_test_setup_teardown(creates_only_what_is_not_there_and_opens_only_what_is, set_up, tear_down),
		cmocka_unit_test_setup_teardown(tells_a_second_holder_that_the_folder_is_in_use, set_up, tear_down),
		cmocka_unit_test_setup_teardown(makes_the_folder_private, set_up, tear_down),
		cmocka_unit_test(calls_a_full_disk_temporary),
		cmocka_unit_test_setup_teardown(knows_the_free_space, set_up, tear_down),
		cmocka_unit_test_setup_teardown(looks_without_making_or_holding_up_anything, set_up, tear_down),
		cmocka_unit_test_setup_teardown(follows_no_link_out_of_the_folder, set_up, tear_down),
		cmocka_unit_test_setup_teardown(tells_what_it_could_not_rename, set_up, tear_down),
		cmocka_unit_test(tells_which_file_it_could_not_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
