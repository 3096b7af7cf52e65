/*
 * Files of which the disk takes no more: journals written anew, while the node runs or at its start, and later
 * where there is no room; segments given up for another.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/spool_box_fixture.h"
#include "spool/spool_stuck_fixture.h"

/* Letters: 0 has one recipient left, 1 is over, 2 waits for its second try, 3 is over, 4 waits. */
struct bad_journal {
	struct box box;
	struct stuck stuck;
	struct fake_inode *bad;
};

static void
bad_journal_init(struct bad_journal *it, bool sync)
{
	struct post *post;

	box_init(&it->box, 300);
	post = it->box.post;
	stuck_init(&it->stuck, &post->fake);
	post_open(post);
	hand_settle(&post->hand);
	assert_false(post_settle(post, &post->letters[0], 1, SPOOL_BOUNCED));
	post_deliver(post, &post->letters[1]);
	spool_hurry(post->spool);
	hand_settle(&post->hand);
	it->bad = it->stuck.inode = fake_file(&post->fake, it->box.jnl);
	it->stuck.syncs = sync;
	it->stuck.writes = !sync;
	post_settle(post, &post->letters[2], 0, SPOOL_WAITING);
	spool_hurry(post->spool);
	hand_settle(&post->hand);
}

static void
bad_journal_fini(struct bad_journal *it)
{
	stuck_fini(&it->stuck, &it->box.post->fake);
	box_fini(&it->box);
}

static void
assert_as_it_was(struct bad_journal *it)
{
	const struct letter *letters = it->box.post->letters;

	assert_back(&it->box, "024");
	assert_int_equal(letters[0].rcpts[0].outcome, SPOOL_WAITING);
	assert_int_equal(letters[0].rcpts[1].outcome, SPOOL_BOUNCED);
	assert_int_equal(letters[2].rcpts[0].attempts, 1);
	assert_int_equal(letters[4].rcpts[0].attempts, 0);
}

static void
goes_on_in_a_new_journal_when_the_disk_takes_no_more_of_one(void **state)
{
	for (unsigned sync = 0; sync < 2; sync++) {
		struct bad_journal it;
		struct post *post;

		bad_journal_init(&it, sync);
		post = it.box.post;
		assert_true(spool_refuses(post->spool));
		hand_pass(&post->hand, US_PER_S);
		hand_settle(&post->hand);
		assert_false(spool_refuses(post->spool));
		assert_said(&it.box, "error spool: %s cannot be written: Input/output error; a new one is to take its place", it.box.jnl);
		assert_said(&it.box, "warning spool: what is known of the damaged %s is taken; it is set aside as %s", it.box.jnl, it.box.jnl_aside);
		assert_said(&it.box, "the disk works again");
		assert_ptr_equal(fake_file(&post->fake, it.box.jnl_aside), it.bad);
		assert_ptr_not_equal(fake_file(&post->fake, it.box.jnl), it.bad);

		post_sent(post, 100);
		buf_clear(&post->lines);
		post_power_cut(post);
		post_open(post);
		assert_as_it_was(&it);
		assert_true(post->letters[SENT].back);
		assert_false(said(&it.box, "damaged"));
		bad_journal_fini(&it);
	}
}

/* What was settled while there was none, and after. */
static void
forgets_nothing_that_is_settled_meanwhile(void **state)
{
	struct bad_journal it;
	struct post *post;

	bad_journal_init(&it, true);
	post = it.box.post;
	post_deliver(post, &post->letters[2]);
	hand_pass(&post->hand, US_PER_S);
	hand_work(&post->hand);         /* a try of the old one, */
	hand_tell(&post->hand);
	hand_work(&post->hand);         /* and the new one */
	post_deliver(post, &post->letters[4]);
	hand_settle(&post->hand);
	assert_true(post_settle(post, &post->letters[0], 0, SPOOL_DELIVERED));
	spool_hurry(post->spool);
	hand_settle(&post->hand);
	post_power_cut(post);
	post_open(post);
	assert_back(&it.box, "");
	bad_journal_fini(&it);
}

/* Once may be chance. */
static void
keeps_a_journal_that_failed_once(void **state)
{
	struct bad_journal it;
	struct post *post;

	bad_journal_init(&it, true);
	post = it.box.post;
	it.stuck.inode = NULL;
	hand_pass(&post->hand, US_PER_S);
	hand_settle(&post->hand);
	assert_false(spool_refuses(post->spool));
	assert_null(fake_file(&post->fake, it.box.jnl_aside));
	post_power_cut(post);
	post_open(post);
	assert_as_it_was(&it);
	bad_journal_fini(&it);
}

static void
writes_a_journal_anew_that_is_gone(void **state)
{
	struct bad_journal it;
	struct post *post;

	bad_journal_init(&it, true);
	post = it.box.post;
	assert_true(fake_remove(&post->fake.disk, it.box.jnl, NULL));
	hand_pass(&post->hand, US_PER_S);
	hand_settle(&post->hand);
	assert_false(spool_refuses(post->spool));
	assert_null(fake_file(&post->fake, it.box.jnl_aside));
	post_kill(post);
	post_open(post);
	assert_as_it_was(&it);
	bad_journal_fini(&it);
}

/* Whatever else fails, or wherever the power goes: what was durable before stays so. */
static void
forgets_nothing_whatever_fails_on_the_way(void **state)
{
	unsigned renewed = 0;

	for (unsigned n = 1, quiet = 0; quiet < 10; n++) {
		bool cut = n % 2;
		struct bad_journal it;
		struct post *post;

		bad_journal_init(&it, n % 4 < 2);
		post = it.box.post;
		prng_seed(&post->fake.prng, n);
		if (cut)
			post->fake.cut_at = post->fake.calls + n / 2 + 1;
		else
			post->fake.fail_at = post->fake.calls + n / 2;
		for (unsigned s = 0; s < 6; s++) {
			hand_pass(&post->hand, US_PER_S);
			hand_settle(&post->hand);
		}
		quiet = post->fake.calls >= (cut ? post->fake.cut_at : post->fake.fail_at) ? 0 : quiet + 1;
		if (!cut)
			assert_false(spool_refuses(post->spool));
		renewed += fake_file(&post->fake, it.box.jnl_aside) == it.bad;
		post_power_cut(post);
		it.stuck.inode = NULL;
		post_open(post);
		assert_back(&it.box, "024");
		assert_int_equal(post->letters[0].rcpts[1].outcome, SPOOL_BOUNCED);
		assert_int_equal(post->letters[2].rcpts[0].attempts, cut ? post->letters[2].rcpts[0].attempts : 1);
		assert_false(said(&it.box, "missing"));
		assert_false(said(&it.box, "is damaged"));
		bad_journal_fini(&it);
	}
	assert_true(renewed > 20);
}

/* A copy under way keeps messages from the new one, and nothing is copied while the disk fails. */
static void
breaks_off_a_compaction_that_would_hold_back_the_new_one(void **state)
{
	for (unsigned steps = 0; steps < 4; steps++) {
		char name[SPOOL_NAME_MAX];
		struct bad_journal it;
		struct letter *letters;
		struct post *post;

		bad_journal_init(&it, true);
		post = it.box.post;
		letters = &post->letters[SENT];
		it.stuck.inode = NULL;
		post_rest(post);
		post_sent(post, 60000);
		post_sent(post, 100);
		post_sent(post, 60000);         /* in a segment of its own, */
		spool_segment_name(letters[1].message.segment, ".jnl", name);
		post_deliver(post, &letters[0]);        /* so the other one is mostly dead */
		for (unsigned i = 0; i < 20 && !post->spool->core->compaction; i++)
			assert_true(hand_tell(&post->hand) || hand_work(&post->hand));
		for (unsigned i = 0; i < steps; i++)
			assert_true(hand_tell(&post->hand) || hand_work(&post->hand));
		it.stuck.inode = fake_file(&post->fake, name);
		assert_non_null(it.stuck.inode);
		post_settle(post, &letters[1], 0, SPOOL_WAITING);
		post_rest(post);
		assert_false(spool_refuses(post->spool));
		assert_null(fake_file(&post->fake, name));
		assert_null(post->spool->core->compaction);
		post_power_cut(post);
		post_open(post);
		assert_as_it_was(&it);
		assert_false(letters[0].back);
		assert_true(letters[1].back && letters[2].back);
		assert_int_equal(letters[1].rcpts[0].attempts, 1);
		bad_journal_fini(&it);
	}
}

/* It was synced whole before it took its place: a sector of it that is lost is no torn write. */
static void
calls_a_new_journal_damaged_that_misses_a_sector(void **state)
{
	struct post *post = post_new();
	struct stuck stuck;
	char name[SPOOL_NAME_MAX];

	stuck_init(&stuck, &post->fake);
	post_open(post);
	hand_settle(&post->hand);
	for (unsigned i = 0; i < 60; i++)
		post_sent(post, 10);
	for (unsigned i = 0; i < 59; i++)
		post_deliver(post, &post->letters[i]);
	spool_segment_name(post->letters[59].message.segment, ".jnl", name);
	stuck.inode = fake_file(&post->fake, name);
	stuck.syncs = true;
	for (unsigned i = 0; i < 100 && fake_file(&post->fake, name) == stuck.inode; i++) {
		if (!hand_tell(&post->hand) && !hand_work(&post->hand))
			hand_pass(&post->hand, 1100 * US_PER_MS);
	}
	assert_ptr_not_equal(fake_file(&post->fake, name), stuck.inode);
	post_kill(post);        /* before more is written to it */
	assert_true(fake_file(&post->fake, name)->now_n > 2 * FAKE_BLOCK);
	memset(fake_file(&post->fake, name)->now + FAKE_BLOCK, 0, FAKE_BLOCK);
	buf_clear(&post->lines);
	post_open(post);
	assert_true(span_find_text(buf_span(&post->lines), SPAN("is damaged at byte")) != SIZE_MAX);
	stuck_fini(&stuck, &post->fake);
	post_free(post);
}

/* ---- a segment ---- */

/* What it refused may stand in the file, which cannot be cut off: it must not come back. */
static void
goes_on_in_another_segment_when_the_disk_takes_no_more_of_one(void **state)
{
	for (unsigned i = 0; i < 4; i++) {
		bool fresh = i / 2;
		struct letter *refused, *after;
		struct stuck stuck;
		struct post *post;
		struct box box;

		box_init(&box, 300);
		post = box.post;
		stuck_init(&stuck, &post->fake);
		post_open(post);
		hand_settle(&post->hand);
		post_sent(post, 300);
		if (fresh)
			spool_segment_rotate(post->spool->core);
		refused = post_send(post, 300);
		spool_segment_name(post->spool->core->active, ".seg", box.seg);
		stuck.syncs = i % 2;
		stuck.writes = !stuck.syncs;
		if (fresh) {
			struct err err = { 0 };
			fake_close(fake_open(&post->fake.disk, box.seg, true, &err));
			post->spool->core->active->file_made = true;
		}
		stuck.inode = fake_file(&post->fake, box.seg);
		assert_non_null(stuck.inode);
		hand_settle(&post->hand);
		assert_int_equal(refused->err.kind, ERR_TEMP);
		post_rest(post);
		/* What only a write shows is seen at the second. */
		for (unsigned n = 0; n < 2 && stuck.writes; n++) {
			post_send(post, 10);
			post_rest(post);
		}
		assert_false(spool_refuses(post->spool));
		after = post_sent(post, 300);
		post_rest(post);
		if (fresh || stuck.syncs)
			assert_ptr_not_equal(fake_file(&post->fake, box.seg), stuck.inode);
		post_power_cut(post);
		stuck.inode = NULL;
		post_open(post);
		assert_back(&box, "0124");
		assert_true(post->letters[SENT].back && after->back);
		assert_false(refused->back);
		stuck_fini(&stuck, &post->fake);
		box_fini(&box);
	}
}

/* ---- a start with a file that can be read, and not written ---- */

static void
starts_with_a_file_that_it_cannot_write_and_leaves_it(void **state)
{
	for (unsigned i = 0; i < 4; i++) {
		bool journal = i / 2, torn = i % 2;
		struct stuck stuck;
		struct post *post;
		struct box box;

		box_init(&box, 300);
		post = box.post;
		stuck_init(&stuck, &post->fake);
		stuck.inode = fake_file(&post->fake, journal ? box.jnl : box.seg);
		stuck.syncs = true;
		if (torn)
			fake_put(stuck.inode, journal ? box.jnl_end : box.at[SENT], "torn", 4);
		post_open(post);
		assert_back(&box, "0124");
		assert_said(&box, "error spool: %s cannot be written (Input/output error)", journal ? box.jnl : box.seg);
		post_rest(post);
		assert_false(spool_refuses(post->spool));
		assert_ptr_equal(fake_file(&post->fake, journal ? box.jnl_aside : box.seg_aside), stuck.inode);
		buf_clear(&post->lines);
		post_power_cut(post);
		post_open(post);
		assert_back(&box, "0124");
		assert_int_equal(buf_len(&post->lines), 0);
		stuck_fini(&stuck, &post->fake);
		box_fini(&box);
	}
}

/* ---- a start without room ---- */

/* At the next start. Ends the box. */
static void
all_is_back(struct box *box)
{
	post_open(box->post);
	assert_back(box, "0124");
	box_fini(box);
}

static void
full_disk(struct box *box, bool missing)
{
	struct post *post;

	box_init(box, 300);
	post = box->post;
	if (missing)
		assert_true(fake_remove(&post->fake.disk, box->jnl, NULL));
	else
		fake_spoil(&post->fake, box->jnl, 0);
	post->fake.capacity = box->at[SENT] + (missing ? 0 : fake_file(&post->fake, box->jnl)->now_n);
	buf_clear(&post->lines);
	post_open(post);
	hand_settle(&post->hand);
}

static void
starts_on_a_full_disk_and_writes_the_journal_when_there_is_room(void **state)
{
	for (unsigned missing = 0; missing < 2; missing++) {
		struct spool_stats stats;
		struct err err = { 0 };
		struct post *post;
		struct box box;

		full_disk(&box, missing);
		post = box.post;
		assert_back(&box, "01234");
		assert_said(&box, "until it can be written, new mail is refused, and what becomes of the mail in its segment is not written down");
		assert_null(spool_begin(post->spool, &err));
		assert_int_equal(err.kind, ERR_TEMP);
		spool_stats(post->spool, &stats);
		assert_true(stats.refusing);
		assert_string_equal(stats.why, err.text);
		assert_false(spool_stalls(post->spool));
		post_deliver(post, &post->letters[3]);
		post_rest(post);
		assert_true(spool_refuses(post->spool));

		post->fake.capacity = 0;
		post_rest(post);
		assert_false(spool_refuses(post->spool));
		assert_int_equal(fake_file(&post->fake, box.jnl_aside) != NULL, !missing);
		post_power_cut(post);
		buf_clear(&post->lines);
		post_open(post);
		assert_back(&box, "0124");
		assert_false(said(&box, "damaged"));
		box_fini(&box);
	}
}

static void
begins_nothing_new_when_too_much_is_not_written_down_on_a_full_disk(void **state)
{
	struct post *post;
	struct box box;

	full_disk(&box, false);
	post = box.post;
	post_deliver(post, &post->letters[3]);
	for (unsigned s = 0; s < 12; s++) {
		hand_pass(&post->hand, US_PER_S);
		hand_settle(&post->hand);
	}
	assert_true(spool_stalls(post->spool));
	post->fake.capacity = 0;
	post_rest(post);
	assert_false(spool_stalls(post->spool));
	box_fini(&box);
}

/* Killed or closed without room, it finds at the next start what it found at this one. */
static void
finds_the_same_at_the_next_start_when_there_was_no_room(void **state)
{
	for (unsigned closed = 0; closed < 2; closed++) {
		struct post *post;
		struct box box;

		full_disk(&box, false);
		post = box.post;
		if (closed)
			post_close(post);
		else
			post_kill(post);
		post_open(post);
		assert_back(&box, "01234");
		post->fake.capacity = 0;
		post_rest(post);
		assert_non_null(fake_file(&post->fake, box.jnl_aside));
		post_deliver(post, &post->letters[3]);
		post_close(post);
		all_is_back(&box);
	}
}

/* Room that is made just before the end serves. */
static void
writes_the_journal_at_the_end_at_last(void **state)
{
	struct post *post;
	struct box box;

	full_disk(&box, false);
	post = box.post;
	post_deliver(post, &post->letters[3]);
	post->fake.capacity = 0;
	post_close(post);
	all_is_back(&box);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(goes_on_in_a_new_journal_when_the_disk_takes_no_more_of_one),
		cmocka_unit_test(forgets_nothing_that_is_settled_meanwhile),
		cmocka_unit_test(keeps_a_journal_that_failed_once),
		cmocka_unit_test(writes_a_journal_anew_that_is_gone),
		cmocka_unit_test(forgets_nothing_whatever_fails_on_the_way),
		cmocka_unit_test(calls_a_new_journal_damaged_that_misses_a_sector),
		cmocka_unit_test(breaks_off_a_compaction_that_would_hold_back_the_new_one),
		cmocka_unit_test(goes_on_in_another_segment_when_the_disk_takes_no_more_of_one),
		cmocka_unit_test(starts_with_a_file_that_it_cannot_write_and_leaves_it),
		cmocka_unit_test(starts_on_a_full_disk_and_writes_the_journal_when_there_is_room),
		cmocka_unit_test(begins_nothing_new_when_too_much_is_not_written_down_on_a_full_disk),
		cmocka_unit_test(finds_the_same_at_the_next_start_when_there_was_no_room),
		cmocka_unit_test(writes_the_journal_at_the_end_at_last),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
