/*
 * What a segment remembers of batches that were withdrawn.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/spool_post.h"

/* A dead segment that somebody reads, so it stays. */
static void
keep_a_dead_segment(struct post *post, struct spool_reader *reader)
{
	struct letter *letter = post_sent(post, 1000);

	assert_true(spool_read_open(post->spool, &letter->message, reader, NULL));
	spool_segment_rotate(post->spool->core);
	post_deliver(post, letter);
	post_rest(post);
	assert_false(list_empty(&post->spool->core->dead));
}

/* A letter's copy is read, and goes to a segment that is not there yet. */
static struct letter *
begin_a_copy(struct post *post)
{
	struct letter *letter = post_sent(post, 2000), *other = post_sent(post, 20000);

	spool_segment_rotate(post->spool->core);
	post_deliver(post, other);
	while (!post->spool->core->compaction || !post->hand.worked)
		assert_true(post->hand.worked ? hand_tell(&post->hand) : hand_work(&post->hand));
	spool_segment_rotate(post->spool->core);
	assert_true(hand_tell(&post->hand));
	return letter;
}

/* The copy's first batch fails with all of the disk, from its n-th call on; the same segment takes the next copy. */
static bool
copies_again_when_call_fails(unsigned n)
{
	struct post *post = post_new();
	struct spool_reader reader;
	struct letter *letter;
	bool failed;

	post_open(post);
	hand_settle(&post->hand);
	keep_a_dead_segment(post, &reader);
	letter = begin_a_copy(post);
	post->fake.cut_at = post->fake.calls + n;
	assert_true(hand_work(&post->hand));
	failed = post->fake.dead;
	fake_revive(&post->fake);
	hand_tell(&post->hand);
	post_rest(post);
	assert_int_equal(post->spool->core->failing.kind, ERR_NONE);
	spool_read_close(&reader);
	post_rest(post);
	post_power_cut(post);
	post_open(post);
	if (!letter->back)
		fail_msg("lost when call %u failed", n);
	assert_int_equal(post->recovered, 1);
	post_check_read(post, letter, 1000);
	post_free(post);
	return failed;
}

static void
a_copy_that_was_withdrawn_does_not_void_the_next(void **state)
{
	for (unsigned n = 1; copies_again_when_call_fails(n); n++)
		assert_in_range(n, 1, 100);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_copy_that_was_withdrawn_does_not_void_the_next),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
