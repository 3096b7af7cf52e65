/*
 * Reading: from memory while fresh, from disk later, and never damaged bytes.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/spool_post.h"

static int
set_up(void **state)
{
	struct post *post = post_new();

	post->options.fresh_bytes_max = 4096;
	return post_set_up_as(state, post);
}

static void
reads_a_fresh_message_without_the_disk_and_once(void **state)
{
	struct post *post = *state;
	struct letter *letter = post_sent(post, 500);
	unsigned reads = post->fake.reads;

	post_check_read(post, letter, 100);
	assert_int_equal(post->fake.reads, reads);
	assert_null(letter->message.fresh);
	post_check_read(post, letter, 100);
	assert_true(post->fake.reads > reads);
}

static void
keeps_a_fresh_record_until_its_last_reader_closes(void **state)
{
	struct post *post = *state;
	struct letter *letter = post_sent(post, 500);
	struct spool_reader one, two;

	assert_true(spool_read_open(post->spool, &letter->message, &one, NULL));
	assert_true(spool_read_open(post->spool, &letter->message, &two, NULL));
	spool_read_close(&one);
	assert_non_null(letter->message.fresh);
	/* It may end while it is read. */
	post_deliver(post, letter);
	assert_null(letter->message.fresh);
	assert_true(span_eq(two.meta, SPAN("meta")));
	assert_true(span_eq(two.head, SPAN("A: b\r\n\r\n")));
	assert_int_equal(two.body_bytes, 500);
	assert_int_equal(two.size_bytes, 508);
	spool_read_close(&two);
}

static void
forgets_the_oldest_fresh_records_first(void **state)
{
	struct post *post = *state;
	struct letter *letters[10];

	for (unsigned i = 0; i < countof(letters); i++)
		letters[i] = post_sent(post, 1000);
	assert_true(post->spool->core->fresh_bytes <= 4096);
	assert_null(letters[0]->message.fresh);
	assert_non_null(letters[9]->message.fresh);
	for (unsigned i = 0; i < countof(letters); i++)
		post_check_read(post, letters[i], 333);
}

static void
a_records_memory_is_the_next_ones_up_to_a_bound(void **state)
{
	struct post *post = *state;
	struct letter *letters[20], *letter = post_sent(post, 1000);
	struct spool_core *core = post->spool->core;
	struct spool_fresh *record = letter->message.fresh;

	assert_non_null(record);
	post_deliver(post, letter);
	letter = post_sent(post, 1000);
	if (SPOOL_SPARES_MAX > 0)
		assert_ptr_equal(letter->message.fresh, record);
	post_check_read(post, letter, 100);
	for (unsigned i = 0; i < countof(letters); i++)
		letters[i] = post_send(post, 200000);
	hand_settle(&post->hand);
	for (unsigned i = 0; i < countof(letters); i++)
		post_check_read(post, letters[i], 50000);
	assert_true(core->spares_bytes <= SPOOL_SPARES_MAX);
	assert_true(core->spares_bytes > SPOOL_SPARES_MAX / 2 || SPOOL_SPARES_MAX == 0);
}

static void
reads_bodies_of_every_size_around_a_piece(void **state)
{
	static const uint32_t sizes[] = {
		0, 1, SPOOL_PIECE_MAX - 1, SPOOL_PIECE_MAX, SPOOL_PIECE_MAX + 1, 2 * SPOOL_PIECE_MAX, 3 * SPOOL_PIECE_MAX + 77,
	};
	static const size_t maxes[] = { 1000, 65536, 10000000 };
	struct post *post = *state;
	struct letter *letters[countof(sizes)];

	for (unsigned i = 0; i < countof(sizes); i++) {
		letters[i] = post_sent(post, sizes[i]);
		for (unsigned k = 0; k < countof(maxes); k++)
			post_check_read(post, letters[i], maxes[k]);
	}
	post_close(post);
	post_open(post);
	for (unsigned i = 0; i < countof(sizes); i++) {
		assert_true(letters[i]->back);
		post_check_read(post, letters[i], 50000);
	}
}

static void
notices_damage_before_the_last_byte_of_a_piece(void **state)
{
	struct post *post = *state;
	struct letter *letter = post_sent(post, SPOOL_PIECE_MAX + 100);
	struct spool_reader reader;
	struct err err = { 0 };
	char name[SPOOL_NAME_MAX];
	bool done = false;
	struct buf got;

	spool_segment_name(letter->message.segment, ".seg", name);
	fake_file(&post->fake, name)->now[1000] ^= 4;
	buf_init(&got, 0);
	assert_true(spool_read_open(post->spool, &letter->message, &reader, NULL));
	while (!done && spool_read(&reader, 10000, &got, &done, &err))
		;
	assert_false(done);
	assert_int_equal(err.kind, ERR_PERM);
	assert_true(buf_len(&got) < 8 + SPOOL_PIECE_MAX);
	spool_read_close(&reader);
	buf_fini(&got);
}

static void
refuses_a_damaged_record(void **state)
{
	struct post *post = *state;
	struct letter *letter = post_sent(post, 100);
	struct spool_reader reader;
	struct err err = { 0 };
	char name[SPOOL_NAME_MAX];

	post_check_read(post, letter, 100);
	spool_segment_name(letter->message.segment, ".seg", name);
	fake_file(&post->fake, name)->now[letter->message.at + 50] ^= 4;
	assert_false(spool_read_open(post->spool, &letter->message, &reader, &err));
	assert_int_equal(err.kind, ERR_PERM);
	assert_non_null(strstr(err.text, "is damaged at byte"));
	spool_read_close(&reader);      /* nothing to close */
}

static void
keeps_no_file_open_that_nobody_reads(void **state)
{
	struct post *post = *state;
	struct letter *letters[40];
	unsigned opened;

	for (unsigned i = 0; i < countof(letters); i++)
		letters[i] = post_sent(post, 10000);
	post_rest(post);
	opened = post->fake.opened;
	assert_true(opened <= 2);
	for (unsigned i = 0; i < countof(letters); i++)
		post_check_read(post, letters[i], 10000);
	assert_int_equal(post->fake.opened, opened);
}

/* Reads on to the end, or to an error. */
static bool
read_to_the_end(struct spool_reader *reader, struct buf *got, struct err *err)
{
	bool done = false;

	while (!done)
		if (!spool_read(reader, 100000, got, &done, err))
			return false;
	return true;
}

enum harm { HEADER, CUT };

static void
check_harm(struct post *post, enum harm harm)
{
	struct letter *letter = post_sent(post, SPOOL_PIECE_MAX + 100);
	struct spool_reader reader;
	struct err err = { 0 };
	char name[SPOOL_NAME_MAX];
	struct fake_inode *inode;
	struct buf got;

	spool_segment_name(letter->message.segment, ".seg", name);
	inode = fake_file(&post->fake, name);
	buf_init(&got, 0);
	assert_true(spool_read_open(post->spool, &letter->message, &reader, NULL));
	assert_true(reader.pieces_n > 0);
	if (harm == HEADER)
		inode->now[reader.pieces[0].at + 4] ^= 4;
	else
		inode->now_n = reader.pieces[0].at + SPOOL_RECORD_HEADER + 1000;
	assert_false(read_to_the_end(&reader, &got, &err));
	assert_int_equal(err.kind, ERR_PERM);
	assert_non_null(strstr(err.text, "is damaged at byte"));
	spool_read_close(&reader);
	buf_fini(&got);
}

static void
notices_that_a_pieces_header_is_another(void **state)
{
	check_harm(*state, HEADER);
}

static void
notices_that_the_file_ends_within_a_piece(void **state)
{
	check_harm(*state, CUT);
}

static void
goes_on_where_the_disk_failed(void **state)
{
	struct post *post = *state;
	struct letter *letter = post_sent(post, 2 * SPOOL_PIECE_MAX + 100);
	struct buf got, want;
	unsigned failures = 0;

	buf_init(&got, 0);
	buf_init(&want, 0);
	buf_add_text(&want, "A: b\r\n\r\n");
	post_body(letter->message.id, 0, letter->body_bytes, &want);
	for (unsigned n = 1; n <= 8; n++) {
		struct spool_reader reader;
		struct err err = { 0 };

		assert_true(spool_read_open(post->spool, &letter->message, &reader, NULL));
		buf_clear(&got);
		post->fake.fail_at = post->fake.calls + n;
		if (!read_to_the_end(&reader, &got, &err)) {
			failures++;
			assert_int_equal(err.kind, ERR_TEMP);
			assert_true(read_to_the_end(&reader, &got, NULL));
		}
		assert_true(span_eq(buf_span(&got), buf_span(&want)));
		spool_read_close(&reader);
	}
	assert_true(failures >= 4);
	post->fake.fail_at = 0;
	buf_fini(&got);
	buf_fini(&want);
}

static void
says_when_nothing_more_fits_in_the_buffer(void **state)
{
	static const uint32_t sizes[] = { 500, 2 * SPOOL_PIECE_MAX };   /* from memory; from the disk */
	struct post *post = *state;

	for (unsigned i = 0; i < countof(sizes); i++) {
		struct letter *letter = post_sent(post, sizes[i]);
		struct spool_reader reader;
		struct err err = { 0 };
		struct buf got;

		buf_init(&got, 100);
		assert_true(spool_read_open(post->spool, &letter->message, &reader, NULL));
		assert_false(read_to_the_end(&reader, &got, &err));
		assert_int_equal(err.kind, ERR_TEMP);
		assert_true(buf_len(&got) <= 100);
		spool_read_close(&reader);
		buf_fini(&got);
	}
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, post_tear_down)
	const struct CMUnitTest tests[] = {
		TEST(reads_a_fresh_message_without_the_disk_and_once),
		TEST(keeps_a_fresh_record_until_its_last_reader_closes),
		TEST(forgets_the_oldest_fresh_records_first),
		TEST(a_records_memory_is_the_next_ones_up_to_a_bound),
		TEST(reads_bodies_of_every_size_around_a_piece),
		TEST(notices_damage_before_the_last_byte_of_a_piece),
		TEST(refuses_a_damaged_record),
		TEST(keeps_no_file_open_that_nobody_reads),
		TEST(notices_that_a_pieces_header_is_another),
		TEST(notices_that_the_file_ends_within_a_piece),
		TEST(goes_on_where_the_disk_failed),
		TEST(says_when_nothing_more_fits_in_the_buffer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
