/*
 * Compaction and removal: what lives moves, what ended stays ended.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/spool_post.h"
#include "spool/spool_stuck_fixture.h"

#define MIB (1u << 20)

static bool
segment_is_there(struct post *post, uint64_t number)
{
	list_each (pos, &post->spool->core->segments) {
		if (list_entry(pos, struct spool_segment, link)->number == number)
			return true;
	}
	return false;
}

/* A segment of 64 KiB with five live letters at its start, and no longer active. *hold
 * reads it, so that it is not compacted before the test wants it. */
static uint64_t
fill_segment(struct post *post, struct letter *live[5], struct spool_reader *hold)
{
	uint64_t number;
	struct letter *letter;

	do {
		letter = post_sent(post, 1000);
		post_deliver(post, letter);
	} while (post->spool->core->active->end > 2000);
	for (unsigned i = 0; i < 5; i++)
		live[i] = post_sent(post, 2000);
	assert_true(spool_read_open(post->spool, &live[0]->message, hold, NULL));
	number = live[0]->message.segment->number;
	while (post->spool->core->active->number == number)
		post_deliver(post, post_sent(post, 3000));
	return number;
}

static void
moves_what_lives_and_removes_the_segment(void **state)
{
	struct post *post = *state;
	struct letter *live[5];
	struct spool_reader hold;
	uint64_t number = fill_segment(post, live, &hold);

	spool_read_close(&hold);
	post_rest(post);
	assert_false(segment_is_there(post, number));
	assert_true(post->spool->core->compacted > 0);
	for (unsigned i = 0; i < 5; i++) {
		assert_int_not_equal(live[i]->message.segment->number, number);
		post_check_read(post, live[i], 1000);
	}
	post_power_cut(post);
	post_open(post);
	for (unsigned i = 0; i < 5; i++) {
		assert_true(live[i]->back);
		post_check_read(post, live[i], 1000);
		post_deliver(post, live[i]);
	}
	post_rest(post);
	assert_true(post->spool->core->segments_n <= 2);
}

static void
takes_the_states_along(void **state)
{
	struct post *post = *state;
	struct letter *live[5];
	struct spool_reader hold;
	uint64_t number = fill_segment(post, live, &hold);

	spool_read_close(&hold);
	post_settle(post, live[0], 0, SPOOL_DELIVERED);
	live[1]->rcpts[1].due = (wall_ms_t){ 4711 };
	post_settle(post, live[1], 1, SPOOL_WAITING);
	post_rest(post);
	assert_false(segment_is_there(post, number));
	post_power_cut(post);
	post_open(post);
	assert_int_equal(live[0]->rcpts[0].outcome, SPOOL_DELIVERED);
	assert_int_equal(live[0]->message.live, 1);
	assert_int_equal(live[1]->rcpts[1].attempts, 1);
	assert_int_equal(live[1]->rcpts[1].due.ms, 4711);
}

/* Whatever instant of the compaction the outcomes come at, they hold afterwards. */
static void
keeps_outcomes_that_come_while_it_copies(void **state)
{
	bool reached = true;

	for (unsigned n = 0; reached; n++) {
		struct post *post = post_new();
		struct letter *live[5];
		struct spool_reader hold;
		uint64_t number;

		post_open(post);
		number = fill_segment(post, live, &hold);
		spool_read_close(&hold);
		for (unsigned i = 0; i < n / 2; i++) {
			hand_work(&post->hand);
			hand_tell(&post->hand);
		}
		if (n % 2)
			hand_work(&post->hand);
		reached = segment_is_there(post, number);
		post_deliver(post, live[0]);
		post_settle(post, live[1], 0, SPOOL_BOUNCED);
		post_settle(post, live[2], 1, SPOOL_WAITING);
		post_rest(post);
		assert_false(segment_is_there(post, number));
		post_power_cut(post);
		post_open(post);
		assert_false(live[0]->back);
		assert_int_equal(live[1]->rcpts[0].outcome, SPOOL_BOUNCED);
		assert_int_equal(live[2]->rcpts[1].attempts, 1);
		for (unsigned i = 1; i < 5; i++)
			post_check_read(post, live[i], 500);
		post_free(post);
	}
}

static void
moves_large_messages_in_steps(void **state)
{
	struct post *post = *state;
	struct letter *large, *small;
	uint64_t number;

	post_close(post);
	post->options.segment_bytes = 16 * MIB;
	post_open(post);
	for (int i = 0; i < 13; i++)
		post_deliver(post, post_sent(post, MIB));
	large = post_sent(post, 2 * MIB + 5);
	small = post_sent(post, 100);
	number = large->message.segment->number;
	while (post->spool->core->active->number == number)
		post_deliver(post, post_sent(post, MIB));
	post_rest(post);
	assert_int_equal(post->spool->core->compacted, 1);
	post_check_read(post, large, 100000);
	post_check_read(post, small, 100);
	post_close(post);
	post_open(post);
	post_check_read(post, large, 100000);
	post_check_read(post, small, 100);
}

static void
waits_for_room(void **state)
{
	struct post *post = *state;
	struct letter *live[5];
	struct spool_reader hold;
	uint64_t number = fill_segment(post, live, &hold);

	post->fake.capacity = fake_used(&post->fake) + 70000;
	hand_pass(&post->hand, US_PER_S);
	spool_read_close(&hold);
	post_rest(post);
	assert_true(segment_is_there(post, number));
	post->fake.capacity += MIB;
	post_rest(post);
	assert_false(segment_is_there(post, number));
}

static void
waits_for_readers(void **state)
{
	struct post *post = *state;
	struct letter *live[5];
	struct spool_reader reader;
	uint64_t number = fill_segment(post, live, &reader);
	bool done = false;
	struct buf got;

	post_rest(post);
	assert_true(segment_is_there(post, number));
	for (unsigned i = 0; i < 5; i++)
		post_deliver(post, live[i]);
	post_rest(post);
	assert_true(segment_is_there(post, number));
	buf_init(&got, 0);
	assert_true(spool_read(&reader, 100000, &got, &done, NULL));
	assert_true(done);
	buf_fini(&got);
	spool_read_close(&reader);
	post_rest(post);
	assert_false(segment_is_there(post, number));
}

static void
flip_bit(struct fake_inode *file, uint64_t at)
{
	file->now[at] ^= 1;
	file->safe[at] ^= 1;
}

/*
 * A compaction that ends half way leaves one message in two segments. The copy
 * ends, its segment goes: the old copy must not come back for it.
 */
static void
remembers_what_moved_when_only_some_of_it_did(void **state)
{
	struct post *post = *state;
	struct letter *first, *second;
	char name[SPOOL_NAME_MAX];
	uint64_t number, to;

	post_close(post);
	post->options.segment_bytes = 16 * MIB;
	post_open(post);
	for (int i = 0; i < 13; i++)
		post_deliver(post, post_sent(post, MIB));
	first = post_sent(post, MIB);
	second = post_sent(post, MIB + 5);
	number = second->message.segment->number;
	spool_segment_name(second->message.segment, ".seg", name);
	flip_bit(fake_file(&post->fake, name), second->message.at + 40);
	while (post->spool->core->active->number == number)
		post_deliver(post, post_sent(post, MIB));
	post_rest(post);
	to = first->message.segment->number;
	assert_int_not_equal(to, number);
	assert_int_equal(second->message.segment->number, number);

	post_deliver(post, first);
	while (segment_is_there(post, to)) {
		post_deliver(post, post_sent(post, 4 * MIB));
		post_rest(post);
	}
	assert_true(segment_is_there(post, number));
	flip_bit(fake_file(&post->fake, name), second->message.at + 40);
	post_power_cut(post);
	post_open(post);
	assert_true(second->back);
	assert_false(first->back);
}

/*
 * The message moved and then ended; the note of that may be lost if its new
 * segment goes before the old one is known to be gone.
 */
static void
removes_segments_that_share_messages_in_order(void **state)
{
	struct post *post = *state;
	struct letter *live[5];
	struct spool_reader reader;
	uint64_t number = fill_segment(post, live, &reader), to;

	spool_read_close(&reader);
	/* The compaction has begun; now somebody reads the old place, for long. */
	while (!post->spool->core->compaction) {
		assert_true(hand_work(&post->hand));
		hand_tell(&post->hand);
	}
	assert_true(spool_read_open(post->spool, &live[0]->message, &reader, NULL));
	post_rest(post);
	to = live[0]->message.segment->number;
	assert_int_not_equal(to, number);
	for (unsigned i = 0; i < 5; i++)
		post_deliver(post, live[i]);
	for (unsigned i = 0; i < 30; i++)
		post_deliver(post, post_sent(post, 5000));
	post_rest(post);
	assert_true(segment_is_there(post, number));
	assert_true(segment_is_there(post, to));
	spool_read_close(&reader);
	post_rest(post);
	assert_false(segment_is_there(post, number));
	assert_false(segment_is_there(post, to));
}

static void
compacts_a_segment_whose_journal_is_long(void **state)
{
	struct post *post = *state;
	struct letter *letter = post_sent(post, 40000);
	uint64_t number = letter->message.segment->number;
	unsigned tries = 0;

	while (post->spool->core->active->number == number)
		post_sent(post, 10000);
	for (int i = 0; i < 30000 && segment_is_there(post, number); i++) {
		post_settle(post, letter, 0, SPOOL_WAITING);
		tries++;
		hand_pass(&post->hand, 10 * US_PER_MS);
		hand_settle(&post->hand);
	}
	assert_false(segment_is_there(post, number));
	post_power_cut(post);
	post_open(post);
	assert_true(letter->back);
	assert_int_equal(letter->rcpts[0].attempts, tries);
}

/* Delivered, and the removal of its segment has begun. */
static uint64_t
begin_a_large_removal(struct post *post)
{
	struct letter *large = post_sent(post, 10 * MIB);
	uint64_t number = large->message.segment->number;

	post_deliver(post, large);
	while (!fake_file(&post->fake, "removed")) {
		assert_true(hand_work(&post->hand));
		hand_tell(&post->hand);
	}
	return number;
}

static void
commits_pass_while_a_large_segment_is_freed(void **state)
{
	struct post *post = *state;
	struct letter *letter;

	begin_a_large_removal(post);
	letter = post_send(post, 1000);
	for (int jobs = 0; !letter->told; jobs++) {
		assert_in_range(jobs, 0, 1);    /* what was under way, and its own */
		assert_true(hand_work(&post->hand));
		hand_tell(&post->hand);
	}
	assert_non_null(fake_file(&post->fake, "removed"));
	post_rest(post);
	assert_null(fake_file(&post->fake, "removed"));
	assert_null(post->spool->core->removing);
	post_check_read(post, letter, 1000);
}

/* Whatever is left of a removal is swept, and nothing else is. */
static void
survives_a_power_cut_at_every_step_of_a_removal(void **state)
{
	bool removing = true;

	for (unsigned n = 0; removing; n++) {
		struct post *post = post_new();
		struct letter *letter;

		post_open(post);
		hand_settle(&post->hand);
		begin_a_large_removal(post);
		letter = post_send(post, 1000);
		for (unsigned i = 0; i < n && hand_work(&post->hand); i++)
			hand_tell(&post->hand);
		removing = post->spool->core->removing != NULL;
		post_power_cut(post);
		post_open(post);
		assert_null(fake_file(&post->fake, "removed"));
		if (letter->told && !letter->err.kind)
			assert_true(letter->back);
		assert_false(post->letters[0].back);
		post_free(post);
	}
}

/* What cannot be cut is removed all at once. */
static void
a_disk_that_fails_does_not_keep_a_removed_segment(void **state)
{
	for (uint64_t n = 1; n < 20; n++) {
		struct post *post = post_new();
		uint64_t number;

		post_open(post);
		hand_settle(&post->hand);
		number = begin_a_large_removal(post);
		post->fake.fail_at = post->fake.calls + n;
		post_rest(post);
		assert_null(post->spool->core->removing);
		post->fake.fail_at = 0;
		post_close(post);
		post_open(post);
		assert_null(fake_file(&post->fake, "removed"));
		assert_false(segment_is_there(post, number));
		post_free(post);
	}
}

/* A copy that takes several steps, of which the n-th call of the disk fails. */
static void
check_failed_copy(unsigned n)
{
	struct post *post = post_new();
	struct letter *large;
	uint64_t number;

	post->options.segment_bytes = 8 * MIB;
	post_open(post);
	for (int i = 0; i < 5; i++)
		post_deliver(post, post_sent(post, MIB));
	large = post_sent(post, 2 * MIB + 5);
	number = large->message.segment->number;
	while (post->spool->core->active->number == number)
		post_deliver(post, post_sent(post, MIB));
	post->fake.fail_at = post->fake.calls + n;
	post_rest(post);
	post->fake.fail_at = 0;
	post_check_read(post, large, 100000);
	for (int i = 0; i < 20 && segment_is_there(post, number); i++)
		post_rest(post);
	assert_false(segment_is_there(post, number));
	post_check_read(post, large, 100000);
	post_close(post);
	post_open(post);
	assert_true(large->back);
	assert_int_equal(post->recovered, 1);
	post_check_read(post, large, 100000);
	post_free(post);
}

static void
begins_a_copy_anew_that_the_disk_broke_off(void **state)
{
	for (unsigned n = 1; n <= 16; n++)
		check_failed_copy(n);
}

/* A step has copied a part of the only message when its segment's journal begins to fail; the power goes once there is a new one. */
static void
forgets_nothing_half_copied_when_the_journal_is_written_anew(void **state)
{
	struct post *post = post_new();
	struct letter *large, *dead;
	struct stuck stuck;
	char name[SPOOL_NAME_MAX];

	post->options.segment_bytes = 16 * MIB;
	stuck_init(&stuck, &post->fake);
	post_open(post);
	hand_settle(&post->hand);
	large = post_sent(post, 3 * MIB);
	dead = post_sent(post, 11 * MIB);
	assert_ptr_equal(large->message.segment, dead->message.segment);
	spool_segment_name(large->message.segment, ".jnl", name);
	spool_segment_rotate(post->spool->core);
	post_deliver(post, dead);
	while (!post->spool->core->compaction)
		assert_true(hand_tell(&post->hand) || hand_work(&post->hand));
	assert_true(hand_work(&post->hand) && hand_tell(&post->hand));
	stuck.inode = fake_file(&post->fake, name);
	assert_non_null(stuck.inode);
	stuck.writes = true;
	post_settle(post, large, 0, SPOOL_DELIVERED);
	spool_hurry(post->spool);
	while (!post->spool->core->failing.kind)
		assert_true(hand_tell(&post->hand) || hand_work(&post->hand));
	assert_non_null(post->spool->core->compaction);
	for (unsigned i = 0; i < 100 && fake_file(&post->fake, name) == stuck.inode; i++) {
		if (!hand_tell(&post->hand) && !hand_work(&post->hand))
			hand_pass(&post->hand, 1100 * US_PER_MS);
	}
	assert_ptr_not_equal(fake_file(&post->fake, name), stuck.inode);
	post_power_cut(post);
	post_open(post);
	assert_true(large->back);
	assert_false(dead->back);
	assert_int_equal(large->rcpts[0].outcome, SPOOL_DELIVERED);
	post_check_read(post, large, 100000);
	stuck_fini(&stuck, &post->fake);
	post_free(post);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, post_set_up, post_tear_down)
	const struct CMUnitTest tests[] = {
		TEST(moves_what_lives_and_removes_the_segment),
		TEST(takes_the_states_along),
		TEST(keeps_outcomes_that_come_while_it_copies),
		TEST(moves_large_messages_in_steps),
		TEST(waits_for_room),
		TEST(waits_for_readers),
		TEST(remembers_what_moved_when_only_some_of_it_did),
		TEST(removes_segments_that_share_messages_in_order),
		TEST(compacts_a_segment_whose_journal_is_long),
		TEST(commits_pass_while_a_large_segment_is_freed),
		TEST(survives_a_power_cut_at_every_step_of_a_removal),
		TEST(a_disk_that_fails_does_not_keep_a_removed_segment),
		cmocka_unit_test(begins_a_copy_anew_that_the_disk_broke_off),
		cmocka_unit_test(forgets_nothing_half_copied_when_the_journal_is_written_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
