/*
 * Removal: wherever it is broken off, what is left neither comes back nor looks like damage.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/spool_post.h"
#include "spool/spool_stuck_fixture.h"

#define MIB (1u << 20)

static void
assert_nothing_is_said_to_be_damaged(struct post *post)
{
	assert_int_equal(post->spool->core->damages, 0);
	if (span_find_text(buf_span(&post->lines), SPAN("damaged")) != SIZE_MAX)
		fail_msg("said: %.*s", SPAN_ARG(buf_span(&post->lines)));
}

/* A large body that its sender gave up: written in part, and only its front is synced. Its segment is being freed. */
static void
begin_to_free_an_aborted_body(struct post *post)
{
	struct spool_writer *writer = spool_begin(post->spool, NULL);
	char *some = mem_alloc(MIB);

	for (int i = 0; i < 12; i++) {
		assert_true(spool_write(writer, span_make(some, MIB), NULL));
		hand_settle(&post->hand);
	}
	free(some);
	assert_true(writer->segment->written > writer->segment->synced);
	spool_abort(writer);
	while (!fake_file(&post->fake, "removed")) {
		assert_true(hand_work(&post->hand));
		hand_tell(&post->hand);
	}
}

static void
a_segment_that_is_half_freed_is_not_made_again_by_the_end(void **state)
{
	struct post *post = *state;

	begin_to_free_an_aborted_body(post);
	assert_non_null(post->spool->core->removing);
	post_close(post);
	post_open(post);
	assert_nothing_is_said_to_be_damaged(post);
}

/* Its end could not be cut off, and nothing of it waits any more. */
static void
a_segment_that_is_half_freed_is_not_cut_any_more(void **state)
{
	struct post *post = *state;
	struct spool_segment *going;
	char name[SPOOL_NAME_MAX];

	begin_to_free_an_aborted_body(post);
	going = post->spool->core->removing;
	assert_non_null(going);
	spool_segment_name(going, ".seg", name);
	going->cut = true;
	spool_segment_dirty(going);
	for (post_send(post, 100); hand_work(&post->hand); hand_tell(&post->hand))
		assert_null(fake_file(&post->fake, name));
	assert_null(fake_file(&post->fake, "removed"));
	post_power_cut(post);
	post_open(post);
	assert_nothing_is_said_to_be_damaged(post);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, post_set_up, post_tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_segment_that_is_half_freed_is_not_made_again_by_the_end),
		TEST(a_segment_that_is_half_freed_is_not_cut_any_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
