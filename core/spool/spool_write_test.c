/* Writers that are faster than the disk. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/spool_post.h"

#define AHEAD 4u                        /* pieces */
#define CROWDED (32u << 20)

static int
set_up(void **state)
{
	struct post *post = post_new();

	post->options.segment_bytes = SPOOL_SEGMENT_MAX;
	post_open(post);
	hand_settle(&post->hand);
	*state = post;
	return 0;
}

static int
tear_down(void **state)
{
	post_free(*state);
	return 0;
}

static void
on_room(void *ctx)
{
	++*(unsigned *)ctx;
}

static bool
piece_write(struct spool_writer *writer)
{
	static const char some[SPOOL_PIECE_MAX];

	return spool_write(writer, span_make(some, sizeof(some)), NULL);
}

static void
pieces_write(struct spool_writer *writer, unsigned n)
{
	while (n-- > 0)
		assert_true(piece_write(writer));
}

/* With as much on its way as it may, told to wait. */
static struct spool_writer *
writer_that_waits(struct post *post, unsigned *rooms)
{
	struct spool_writer *writer = spool_begin(post->spool, NULL);

	*rooms = 0;
	pieces_write(writer, AHEAD);
	assert_true(spool_writer_waits(writer, on_room, rooms));
	return writer;
}

static void
waits_when_four_pieces_are_unwritten_and_goes_on_when_they_are(void **state)
{
	struct post *post = *state;
	struct spool_writer *writer = spool_begin(post->spool, NULL);
	unsigned rooms = 0;

	for (unsigned i = 0; i < AHEAD; i++) {
		assert_false(spool_writer_waits(writer, on_room, &rooms));
		pieces_write(writer, 1);
	}
	assert_true(spool_writer_waits(writer, on_room, &rooms));
	assert_true(spool_writer_waits(writer, on_room, &rooms));
	hand_work(&post->hand);
	assert_int_equal(rooms, 0);
	hand_settle(&post->hand);
	assert_int_equal(rooms, 1);
	assert_false(spool_writer_waits(writer, on_room, &rooms));
	pieces_write(writer, AHEAD);
	assert_true(spool_writer_waits(writer, on_room, &rooms));
	hand_settle(&post->hand);
	assert_int_equal(rooms, 2);
	spool_abort(writer);
}

static void
a_body_whose_writer_heeds_it_never_has_more_in_memory(void **state)
{
	struct post *post = *state;
	struct spool_writer *writer = spool_begin(post->spool, NULL);
	unsigned rooms = 0;

	for (unsigned i = 0; i < 100; i++) {
		pieces_write(writer, 1);
		assert_true(post->spool->core->pending_bytes <= AHEAD * (SPOOL_PIECE_MAX + SPOOL_RECORD_HEADER));
		while (spool_writer_waits(writer, on_room, &rooms))
			hand_settle(&post->hand);
	}
	assert_true(rooms > 10);
	spool_abort(writer);
}

static void
waits_for_one_piece_where_much_waits_of_all_and_not_for_theirs(void **state)
{
	struct post *post = *state;
	struct spool_writer *many = spool_begin(post->spool, NULL), *one = spool_begin(post->spool, NULL);
	unsigned rooms = 0;

	pieces_write(one, 1);
	pieces_write(many, CROWDED / SPOOL_PIECE_MAX - 2);
	assert_false(spool_writer_waits(one, on_room, &rooms));
	pieces_write(many, 1);
	assert_true(spool_writer_waits(one, on_room, &rooms));
	/* The first batch had but the one piece; behind it still stands all the rest. */
	hand_work(&post->hand);
	hand_tell(&post->hand);
	assert_true(post->spool->core->pending_bytes > CROWDED - 2 * SPOOL_PIECE_MAX);
	assert_int_equal(rooms, 1);
	spool_abort(one);
	spool_abort(many);
}

static void
one_that_waits_hears_that_it_failed(void **state)
{
	struct post *post = *state;
	unsigned rooms;
	struct spool_writer *writer = writer_that_waits(post, &rooms);

	post->fake.fail_permille = 1000;
	hand_settle(&post->hand);
	post->fake.fail_permille = 0;
	assert_int_equal(rooms, 1);
	assert_false(spool_writer_waits(writer, on_room, &rooms));
	assert_false(piece_write(writer));
	spool_abort(writer);
	post_rest(post);
	assert_int_equal(post->spool->core->pending_bytes, 0);
}

static void
one_that_waits_may_be_aborted(void **state)
{
	struct post *post = *state;
	unsigned rooms;
	struct spool_writer *writer = writer_that_waits(post, &rooms);

	spool_abort(writer);
	hand_settle(&post->hand);
	assert_int_equal(rooms, 0);
}

static void
one_that_waits_may_be_committed(void **state)
{
	struct post *post = *state;
	struct letter *letter = &post->letters[post->letters_n++];
	unsigned rooms;
	struct spool_writer *writer = writer_that_waits(post, &rooms);

	*letter = (struct letter){ .message = { .id = spool_next_id(post->spool) } };
	spool_commit(writer, &letter->message, 2, SPAN("meta"), SPAN("A: b\r\n\r\n"), post_told, letter);
	hand_settle(&post->hand);
	assert_int_equal(rooms, 0);
	assert_int_equal(letter->told, 1);
	assert_int_equal(letter->err.kind, ERR_NONE);
}

struct couple {
	struct spool_writer *other;
	unsigned rooms;
};

static void
on_room_end_the_other(void *ctx)
{
	struct couple *couple = ctx;

	couple->rooms++;
	spool_abort(couple->other);
}

static void
one_may_end_another_that_is_told_at_once_with_it(void **state)
{
	struct post *post = *state;
	unsigned rooms;
	struct couple couple = { .other = NULL };
	struct spool_writer *writer = spool_begin(post->spool, NULL);

	pieces_write(writer, AHEAD);
	assert_true(spool_writer_waits(writer, on_room_end_the_other, &couple));
	couple.other = writer_that_waits(post, &rooms);
	hand_work(&post->hand);
	hand_tell(&post->hand);
	hand_settle(&post->hand);
	assert_int_equal(couple.rooms, 1);
	assert_int_equal(rooms, 0);
	spool_abort(writer);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(waits_when_four_pieces_are_unwritten_and_goes_on_when_they_are),
		TEST(a_body_whose_writer_heeds_it_never_has_more_in_memory),
		TEST(waits_for_one_piece_where_much_waits_of_all_and_not_for_theirs),
		TEST(one_that_waits_hears_that_it_failed),
		TEST(one_that_waits_may_be_aborted),
		TEST(one_that_waits_may_be_committed),
		TEST(one_may_end_another_that_is_told_at_once_with_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
