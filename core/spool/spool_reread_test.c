/*
 * A journal written anew beside a segment that cannot be read, for a while or in part: what is over stays over, and what
 * lives is found again.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/spool_box_fixture.h"
#include "spool/spool_stuck_fixture.h"

/* Of five letters the fourth is over; nothing more can be written to the journal. */
static void
lose_the_journal(struct box *box, struct stuck *stuck, uint32_t body_bytes)
{
	struct post *post;

	box_init(box, body_bytes);
	post = box->post;
	stuck_init(stuck, &post->fake);
	post_open(post);
	hand_settle(&post->hand);
	stuck->inode = fake_file(&post->fake, box->jnl);
	stuck->writes = true;
	post_settle(post, &post->letters[2], 0, SPOOL_WAITING);
	spool_hurry(post->spool);
	hand_settle(&post->hand);
	assert_true(spool_refuses(post->spool));
}

static void
pass_until_it_accepts(struct post *post, unsigned seconds)
{
	for (unsigned i = 0; spool_refuses(post->spool); i++) {
		assert_in_range(i, 0, seconds);
		hand_pass(&post->hand, US_PER_S);
		hand_settle(&post->hand);
	}
}

static void
end(struct box *box, struct stuck *stuck)
{
	stuck_fini(stuck, &box->post->fake);
	box_fini(box);
}

static void
a_segment_that_cannot_be_opened_for_a_moment_is_asked_again(void **state)
{
	struct stuck stuck;
	struct box box;

	lose_the_journal(&box, &stuck, 300);
	stuck.shut = box.seg;
	stuck.shut_n = 3;
	pass_until_it_accepts(box.post, 5);
	assert_int_equal(stuck.shut_n, 0);
	post_power_cut(box.post);
	post_open(box.post);
	assert_back(&box, "0124");
	assert_int_equal(box.post->letters[2].rcpts[0].attempts, 1);
	end(&box, &stuck);
}

static void
one_that_cannot_be_opened_at_all_is_named_and_done_without(void **state)
{
	struct stuck stuck;
	struct box box;

	lose_the_journal(&box, &stuck, 300);
	stuck.shut = box.seg;
	stuck.shut_n = 1000;
	pass_until_it_accepts(box.post, 5);
	assert_said(&box, "error spool: %s cannot be read whole now: after a restart some of it may be sent again", box.seg);
	stuck.shut_n = 0;
	post_power_cut(box.post);
	post_open(box.post);
	assert_back(&box, "01234");
	assert_int_equal(box.post->letters[2].rcpts[0].attempts, 1);
	end(&box, &stuck);
}

static void
letters_behind_a_bad_sector_are_found_by_the_new_journal(void **state)
{
	struct stuck stuck;
	struct box box;

	lose_the_journal(&box, &stuck, 9000);
	fake_spoil(&box.post->fake, box.seg, box.at[1]);
	pass_until_it_accepts(box.post, 5);
	post_power_cut(box.post);
	post_open(box.post);
	assert_back(&box, "24");
	end(&box, &stuck);
}

/* Of one that was given up, for the disk does not write it, all was read. */
static void
what_is_over_in_a_segment_that_was_given_up_stays_over(void **state)
{
	struct spool_segment *segment;
	struct stuck stuck;
	struct box box;

	lose_the_journal(&box, &stuck, 300);
	segment = box.post->letters[0].message.segment;
	spool_segment_give_up(segment);
	segment->kept = true;
	pass_until_it_accepts(box.post, 5);
	assert_ptr_equal(box.post->letters[0].message.segment, segment);
	post_power_cut(box.post);
	post_open(box.post);
	assert_back(&box, "0124");
	end(&box, &stuck);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_segment_that_cannot_be_opened_for_a_moment_is_asked_again),
		cmocka_unit_test(one_that_cannot_be_opened_at_all_is_named_and_done_without),
		cmocka_unit_test(letters_behind_a_bad_sector_are_found_by_the_new_journal),
		cmocka_unit_test(what_is_over_in_a_segment_that_was_given_up_stays_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
