/*
 * A walk over a file: each record, and around what is bad or cannot be read.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "spool/disk_testing.h"
#include "spool/spool_record.h"

#define NUMBER 7u
#define RECORDS 6u
#define LONG (3u << 19)                 /* more than is read at once */

struct shelf {
	struct fake_disk  fake;
	struct buf        bytes;        /* of the file */
	uint64_t          at[RECORDS + 1];
	unsigned          n;
	struct disk_file *file;
	struct spool_scan scan;
	struct spool_record record;
};

static void
put(struct shelf *shelf, uint32_t payload_bytes, uint32_t round)
{
	char *p = buf_grow(&shelf->bytes, SPOOL_RECORD_HEADER + payload_bytes);

	memset(p + SPOOL_RECORD_HEADER, 'x', payload_bytes);
	spool_record_seal(p, payload_bytes, SPOOL_PIECE, round, NUMBER, buf_len(&shelf->bytes));
	buf_grow_commit(&shelf->bytes, SPOOL_RECORD_HEADER + payload_bytes);
	shelf->at[++shelf->n] = buf_len(&shelf->bytes);
}

static char *
byte_at(struct shelf *shelf, uint64_t at)
{
	return shelf->bytes.p + shelf->bytes.start + at;
}

static void
put_zeros(struct shelf *shelf, size_t n)
{
	memset(buf_grow(&shelf->bytes, n), 0, n);
	buf_grow_commit(&shelf->bytes, n);
}

/* What was put so far is the file. */
static void
begin(struct shelf *shelf)
{
	fake_file_put(&shelf->fake, "file", buf_span(&shelf->bytes));
	shelf->file = shelf->fake.disk.ops->open(&shelf->fake.disk, "file", false, NULL);
	assert_non_null(shelf->file);
	spool_scan_init(&shelf->scan, shelf->fake.disk.ops, shelf->file, NUMBER, buf_len(&shelf->bytes));
}

static int
set_up(void **state)
{
	struct shelf *shelf = mem_alloc(sizeof(*shelf));

	fake_init(&shelf->fake, 1);
	buf_init(&shelf->bytes, 0);
	*state = shelf;
	return 0;
}

static int
tear_down(void **state)
{
	struct shelf *shelf = *state;

	spool_scan_fini(&shelf->scan);
	shelf->fake.disk.ops->close(shelf->file);
	buf_fini(&shelf->bytes);
	fake_fini(&shelf->fake);
	free(shelf);
	return 0;
}

static enum spool_step
next(struct shelf *shelf)
{
	struct err err = { 0 };

	return spool_scan_next(&shelf->scan, &shelf->record, &err);
}

static void
assert_record(struct shelf *shelf, unsigned i)
{
	assert_int_equal(next(shelf), SPOOL_STEP_RECORD);
	assert_int_equal(shelf->record.at, shelf->at[i]);
	assert_int_equal(shelf->record.payload.n, shelf->at[i + 1] - shelf->at[i] - SPOOL_RECORD_HEADER);
	for (size_t k = 0; k < shelf->record.payload.n; k++)
		assert_int_equal(shelf->record.payload.p[k], 'x');
}

static void
gives_each_record_however_long(void **state)
{
	struct shelf *shelf = *state;

	put(shelf, 100, 1);
	put(shelf, LONG, 1);
	put(shelf, 0, 2);
	put(shelf, LONG - 33, 2);
	begin(shelf);
	for (unsigned i = 0; i < 4; i++)
		assert_record(shelf, i);
	assert_int_equal(next(shelf), SPOOL_STEP_END);
	assert_int_equal(shelf->scan.at, shelf->at[4]);
}

static void
ends_where_only_zeros_are_left(void **state)
{
	struct shelf *shelf = *state;

	put(shelf, 100, 1);
	put_zeros(shelf, 300000);
	begin(shelf);
	assert_record(shelf, 0);
	assert_int_equal(next(shelf), SPOOL_STEP_END);
	assert_int_equal(shelf->scan.at, shelf->at[1]);
	assert_int_equal(shelf->scan.content, shelf->at[1]);
}

static void
a_byte_behind_zeros_is_no_end(void **state)
{
	struct shelf *shelf = *state;

	put(shelf, 100, 1);
	put_zeros(shelf, 10000);
	*byte_at(shelf, 9000) = 1;
	begin(shelf);
	assert_record(shelf, 0);
	assert_int_equal(next(shelf), SPOOL_STEP_BAD);
	assert_int_equal(shelf->scan.content, 9001);
	assert_int_equal(shelf->scan.beyond, 0);
}

static void
tells_where_a_bad_record_ends(void **state)
{
	struct shelf *shelf = *state;

	for (unsigned i = 0; i < 4; i++)
		put(shelf, 100, 5);
	*byte_at(shelf, shelf->at[1] + 60) ^= 1;        /* its payload, */
	*byte_at(shelf, shelf->at[2]) ^= 1;             /* and the magic of the next */
	begin(shelf);
	assert_record(shelf, 0);
	for (unsigned i = 1; i < 3; i++) {
		assert_int_equal(next(shelf), SPOOL_STEP_BAD);
		assert_int_equal(shelf->scan.at, shelf->at[i]);
		assert_int_equal(shelf->scan.beyond, shelf->at[i + 1]);
		assert_int_equal(shelf->scan.kind, SPOOL_PIECE);
		assert_int_equal(shelf->scan.round, 5);
		assert_int_equal(shelf->scan.bad_to, 0);
		spool_scan_seek(&shelf->scan, shelf->scan.beyond);
	}
	assert_record(shelf, 3);
}

static void
believes_no_header_that_is_mostly_wrong_or_too_long(void **state)
{
	struct shelf *shelf = *state;

	put(shelf, 100, 5);
	put(shelf, 100, 5);
	*byte_at(shelf, 0) ^= 1;
	*byte_at(shelf, 12) ^= 1;
	*byte_at(shelf, shelf->at[1] + 8) = 101;        /* one more than there is */
	begin(shelf);
	assert_int_equal(next(shelf), SPOOL_STEP_BAD);
	assert_int_equal(shelf->scan.beyond, 0);
	spool_scan_seek(&shelf->scan, shelf->at[1]);
	assert_int_equal(next(shelf), SPOOL_STEP_BAD);
	assert_int_equal(shelf->scan.beyond, 0);
}

static void
goes_around_a_sector_that_cannot_be_read(void **state)
{
	struct shelf *shelf = *state;
	struct err err = { 0 };

	put(shelf, 3000, 1);
	put(shelf, 3000, 1);            /* the sector begins in its payload, and holds the next one's header */
	put(shelf, 5000, 1);
	put(shelf, 100, 1);
	begin(shelf);
	fake_spoil(&shelf->fake, "file", 5000);
	assert_record(shelf, 0);
	assert_int_equal(next(shelf), SPOOL_STEP_BAD);
	assert_int_equal(shelf->scan.beyond, shelf->at[2]);
	assert_int_equal(shelf->scan.bad_to, 2 * FAKE_SECTOR);
	spool_scan_seek(&shelf->scan, shelf->scan.beyond);
	assert_int_equal(next(shelf), SPOOL_STEP_BAD);
	assert_int_equal(shelf->scan.beyond, 0);
	assert_int_equal(shelf->scan.bad_to, 2 * FAKE_SECTOR);
	assert_int_equal(spool_scan_search(&shelf->scan, 200, &err), SPOOL_STEP_RECORD);
	assert_record(shelf, 3);
}

static void
finds_a_header_right_behind_a_bad_sector(void **state)
{
	struct shelf *shelf = *state;
	struct err err = { 0 };

	put(shelf, 100, 1);
	put(shelf, 2 * FAKE_SECTOR - 132 - 32, 1);
	put(shelf, 100, 1);
	assert_int_equal(shelf->at[2], 2 * FAKE_SECTOR);
	*byte_at(shelf, 40) ^= 1;
	begin(shelf);
	fake_spoil(&shelf->fake, "file", FAKE_SECTOR);
	assert_int_equal(next(shelf), SPOOL_STEP_BAD);
	assert_int_equal(shelf->scan.bad_to, 0);        /* it is all there, and wrong */
	assert_int_equal(spool_scan_search(&shelf->scan, 200, &err), SPOOL_STEP_RECORD);
	assert_record(shelf, 2);
}

static void
a_tail_that_cannot_be_read_is_not_taken_for_zeros(void **state)
{
	struct shelf *shelf = *state;

	put(shelf, 100, 1);
	put_zeros(shelf, 3 * FAKE_SECTOR);
	begin(shelf);
	fake_spoil(&shelf->fake, "file", 2 * FAKE_SECTOR);
	assert_record(shelf, 0);
	assert_int_equal(next(shelf), SPOOL_STEP_BAD);
	assert_int_equal(shelf->scan.content, 3 * FAKE_SECTOR);
}

static void
searches_for_the_next_header_that_is_not_too_long(void **state)
{
	struct shelf *shelf = *state;
	struct err err = { 0 };

	put(shelf, 100, 1);
	put(shelf, 2000, 1);
	put(shelf, 100, 1);
	*byte_at(shelf, 40) ^= 1;
	begin(shelf);
	assert_int_equal(next(shelf), SPOOL_STEP_BAD);
	assert_int_equal(spool_scan_search(&shelf->scan, 1999, &err), SPOOL_STEP_RECORD);
	assert_record(shelf, 2);
	assert_int_equal(spool_scan_search(&shelf->scan, 1999, &err), SPOOL_STEP_END);
	assert_int_equal(err.kind, ERR_NONE);
}

/* The disk's n-th read fails with that, once. */
static bool
reads_although(struct shelf *shelf, unsigned n, int sys, uint64_t *bad_to)
{
	char some[20000];
	size_t got = 0;

	shelf->fake.sys = sys;
	shelf->fake.fail_at = shelf->fake.calls + n;
	return spool_read_some(shelf->fake.disk.ops, shelf->file, 50, some, sizeof(some), &got, bad_to, NULL) &&
	       (*bad_to || got == buf_len(&shelf->bytes) - 50);
}

static void
tries_a_read_again_that_failed_once(void **state)
{
	struct shelf *shelf = *state;
	uint64_t bad_to;

	put(shelf, 15000, 1);
	begin(shelf);
	assert_true(reads_although(shelf, 1, EIO, &bad_to));
	assert_int_equal(bad_to, 0);
	assert_false(reads_although(shelf, 1, EACCES, &bad_to));
	assert_false(reads_although(shelf, 1, ENOMEM, &bad_to));
	fake_spoil(&shelf->fake, "file", 10000);
	assert_false(reads_although(shelf, 2, EACCES, &bad_to));        /* the first block */
	assert_true(reads_although(shelf, 9, EACCES, &bad_to));
	assert_int_equal(bad_to, 3 * FAKE_SECTOR);
}

static void
a_failure_that_is_no_bad_sector_ends_the_walk(void **state)
{
	struct shelf *shelf = *state;

	put(shelf, 100, 1);
	begin(shelf);
	shelf->fake.sys = EACCES;
	shelf->fake.fail_at = shelf->fake.calls + 1;
	assert_int_equal(next(shelf), SPOOL_STEP_ERROR);
}

static void
finds_a_sector_of_zeros_and_no_less(void **state)
{
	struct shelf *shelf = *state;

	put(shelf, 5 * FAKE_BLOCK, 1);
	memset(byte_at(shelf, 2 * FAKE_BLOCK), 0, FAKE_BLOCK);
	memset(byte_at(shelf, 3 * FAKE_BLOCK + 1), 0, FAKE_BLOCK);
	begin(shelf);
	assert_true(spool_scan_has_zeros(&shelf->scan, 0, 5 * FAKE_BLOCK));
	assert_true(spool_scan_has_zeros(&shelf->scan, 2 * FAKE_BLOCK + 7, 5 * FAKE_BLOCK));    /* from its middle */
	assert_false(spool_scan_has_zeros(&shelf->scan, 0, 3 * FAKE_BLOCK - 1));                /* its end is good */
	assert_false(spool_scan_has_zeros(&shelf->scan, 3 * FAKE_BLOCK, 5 * FAKE_BLOCK));       /* over two, in part */
	fake_spoil(&shelf->fake, "file", 0);
	assert_false(spool_scan_has_zeros(&shelf->scan, 0, 5 * FAKE_BLOCK));
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(gives_each_record_however_long),
		TEST(ends_where_only_zeros_are_left),
		TEST(a_byte_behind_zeros_is_no_end),
		TEST(tells_where_a_bad_record_ends),
		TEST(believes_no_header_that_is_mostly_wrong_or_too_long),
		TEST(goes_around_a_sector_that_cannot_be_read),
		TEST(finds_a_header_right_behind_a_bad_sector),
		TEST(a_tail_that_cannot_be_read_is_not_taken_for_zeros),
		TEST(searches_for_the_next_header_that_is_not_too_long),
		TEST(tries_a_read_again_that_failed_once),
		TEST(a_failure_that_is_no_bad_sector_ends_the_walk),
		TEST(finds_a_sector_of_zeros_and_no_less),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
