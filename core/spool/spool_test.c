/*
 * The spool as its users see it: durable, in order, and within its limits.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/spool_post.h"

static void
tells_a_commit_only_when_it_is_synced(void **state)
{
	struct post *post = *state;
	struct letter *letter = post_send(post, 100);
	unsigned syncs = post->fake.syncs;

	assert_int_equal(letter->told, 0);
	assert_true(hand_work(&post->hand));
	assert_true(post->fake.syncs > syncs);
	assert_int_equal(letter->told, 0);
	assert_true(hand_tell(&post->hand));
	assert_int_equal(letter->told, 1);
	post_power_cut(post);
	post_open(post);
	assert_true(letter->back);
	post_check_read(post, letter, 7);
}

static void
serves_all_that_came_meanwhile_with_one_sync(void **state)
{
	struct post *post = *state;
	struct letter *first = post_send(post, 10), *more[20];
	unsigned syncs;

	for (unsigned i = 0; i < countof(more); i++)
		more[i] = post_send(post, 10);
	hand_work(&post->hand);
	hand_tell(&post->hand);
	assert_int_equal(first->told, 1);
	assert_int_equal(more[0]->told, 0);
	syncs = post->fake.syncs;
	hand_work(&post->hand);
	assert_int_equal(post->fake.syncs, syncs + 1);
	hand_tell(&post->hand);
	for (unsigned i = 0; i < countof(more); i++)
		assert_int_equal(more[i]->told, 1);
}

static void
writes_notes_within_ten_milliseconds(void **state)
{
	struct post *post = *state;
	struct letter *letter = post_sent(post, 10);

	post_settle(post, letter, 0, SPOOL_DELIVERED);
	hand_settle(&post->hand);
	hand_pass(&post->hand, 10 * US_PER_MS);
	hand_settle(&post->hand);
	post_power_cut(post);
	post_open(post);
	assert_int_equal(letter->rcpts[0].outcome, SPOOL_DELIVERED);
	assert_int_equal(letter->rcpts[0].attempts, 1);
	assert_int_equal(letter->rcpts[1].outcome, SPOOL_WAITING);
	assert_int_equal(letter->message.live, 1);
}

static void
gives_ids_that_grow_over_restarts_and_crashes(void **state)
{
	struct post *post = *state;
	uint64_t id = spool_next_id(post->spool), last;

	for (int i = 0; i < 6; i++) {
		last = id;
		if (i % 2)
			post_power_cut(post);
		else
			post_close(post);
		post_open(post);
		hand_settle(&post->hand);
		id = spool_next_id(post->spool);
		assert_true(id > last);
	}
}

static void
holds_little_of_a_large_body_in_memory(void **state)
{
	struct post *post = *state;
	struct spool_writer *writer = spool_begin(post->spool, NULL);
	char some[10000] = { 0 };

	for (int i = 0; i < 300; i++) {
		assert_true(spool_write(writer, span_make(some, sizeof(some)), NULL));
		hand_settle(&post->hand);
		assert_true(writer->body == NULL || writer->body->n < SPOOL_RECORD_HEADER + SPOOL_PIECE_MAX);
		assert_true(writer->body == NULL || writer->body->cap <= SPOOL_PIECE_MAX + 2048);
		assert_int_equal(post->spool->core->pending_bytes, 0);
	}
	assert_int_equal(spool_written(writer), 3000000);
	spool_abort(writer);
}

static void
keeps_what_waits_for_a_slow_disk_bounded(void **state)
{
	struct post *post = *state;
	struct spool_writer *writer = spool_begin(post->spool, NULL);
	char *some = mem_alloc(SPOOL_PIECE_MAX);
	struct err err = { 0 };
	unsigned n = 0;

	while (spool_write(writer, span_make(some, SPOOL_PIECE_MAX), &err))
		assert_true(++n <= SPOOL_PENDING_MAX / SPOOL_PIECE_MAX);
	assert_int_equal(err.kind, ERR_TEMP);
	assert_true(post->spool->core->pending_bytes <= SPOOL_PENDING_MAX);
	spool_abort(writer);
	free(some);
}

static void
refuses_when_the_disk_is_nearly_full(void **state)
{
	struct post *post = *state;
	struct spool_stats stats;
	struct err err = { 0 };

	post_close(post);
	post->fake.capacity = 8 << 20;
	post->options.min_free_space = 1 << 20;
	post_open(post);
	hand_settle(&post->hand);
	post->fake.used_by_others = 7 << 20;
	hand_pass(&post->hand, US_PER_S);
	assert_null(spool_begin(post->spool, &err));
	assert_int_equal(err.kind, ERR_TEMP);
	spool_stats(post->spool, &stats);
	assert_true(stats.refusing);
	assert_string_equal(stats.why, err.text);
	post->fake.used_by_others = 0;
	assert_null(spool_begin(post->spool, NULL));
	hand_pass(&post->hand, US_PER_S);
	post_sent(post, 100);
}

static bool
said(const struct post *post, const char *line)
{
	return span_find_text(buf_span(&post->lines), span_text(line)) != SIZE_MAX;
}

static void
refuses_while_the_disk_does_not_answer(void **state)
{
	struct post *post = *state;
	struct spool_stats stats;

	hand_settle(&post->hand);
	assert_true(post_send(post, 100));
	hand_pass(&post->hand, 29 * US_PER_S);
	assert_false(spool_refuses(post->spool));
	hand_pass(&post->hand, 2 * US_PER_S);
	assert_true(spool_refuses(post->spool));
	assert_null(spool_begin(post->spool, NULL));
	spool_stats(post->spool, &stats);
	assert_string_equal(stats.why, "spool: the disk has not answered for 31 s");
	assert_true(said(post, "error spool: the disk has not answered for 30 s; new messages are refused until it does\n"));
	hand_settle(&post->hand);
	assert_int_equal(post->letters[0].told, 1);
	assert_false(spool_refuses(post->spool));
	assert_true(said(post, "info spool: the disk answers again, after 31 s\n"));
	post_sent(post, 100);
}

static void
counts_what_was_taken_since_the_space_was_measured(void **state)
{
	struct post *post = *state;
	unsigned n = 0;

	post_close(post);
	post->fake.capacity = 2 << 20;
	post->options.min_free_space = 1 << 20;
	post_open(post);
	while (n < 1000 && post_send(post, 10000))
		n++;
	assert_in_range(n, 80, 105);
}

static void
fills_a_tiny_disk_empties_it_and_fills_it_again(void **state)
{
	struct post *post = *state;
	unsigned sent[3] = { 0 };

	post_close(post);
	post->fake.capacity = 8 << 20;
	post->options.segment_bytes = 0;
	post_open(post);
	assert_int_equal(post->spool->core->segment_bytes, 128 * 1024);
	for (int round = 0; round < 3; round++) {
		unsigned first = post->letters_n;
		while (post->letters_n - first < 350 && post_send(post, 30000)) {
			hand_settle(&post->hand);
			sent[round]++;
		}
		for (unsigned i = first; i < first + sent[round]; i++) {
			assert_int_equal(post->letters[i].told, 1);
			if (!post->letters[i].err.kind)
				post_deliver(post, &post->letters[i]);
		}
		post_rest(post);
		assert_int_equal(post->spool->core->live_messages, 0);
	}
	assert_in_range(sent[0], 200, 280);
	assert_in_range(sent[2], 200, 280);
}

/* The only, active segment holds nothing but the room of what is gone. */
static void
gives_back_the_room_of_one_large_message(void **state)
{
	struct post *post = *state;

	post_close(post);
	post->fake.capacity = 8 << 20;
	post->options.segment_bytes = 0;
	post->options.min_free_space = 2 << 20;
	post_open(post);
	for (int i = 0; i < 5; i++) {
		struct letter *letter = post_sent(post, 5 << 20);
		post_check_read(post, letter, 100000);
		post_deliver(post, letter);
		post_rest(post);
	}
	assert_true(fake_used(&post->fake) < 300000);
}

static void
removes_segments_that_are_dead(void **state)
{
	struct post *post = *state;
	struct spool_stats stats;

	for (int i = 0; i < 200; i++)
		post_deliver(post, post_sent(post, 5000));
	post_rest(post);
	spool_stats(post->spool, &stats);
	assert_true(stats.segments <= 2);
	assert_int_equal(stats.live_messages, 0);
	assert_int_equal(stats.commits, 200);
	assert_true(fake_used(&post->fake) < 200000);
}

static void
tells_who_waits_before_it_is_closed(void **state)
{
	struct post *post = *state;
	struct letter *letter = post_send(post, 100);

	post_close(post);
	assert_int_equal(letter->told, 1);
	assert_int_equal(letter->err.kind, ERR_NONE);
	post_open(post);
	assert_true(letter->back);
}

static void
writes_notes_when_it_is_closed(void **state)
{
	struct post *post = *state;
	struct letter *letter = post_sent(post, 100), *other = post_sent(post, 100);

	post_deliver(post, letter);
	post_settle(post, other, 1, SPOOL_BOUNCED);
	post_close(post);
	fake_power_cut(&post->fake);
	post_open(post);
	assert_false(letter->back);
	assert_true(other->back);
	assert_int_equal(other->rcpts[1].outcome, SPOOL_BOUNCED);
	assert_int_equal(buf_len(&post->lines), 0);
}

static void
is_not_opened_twice(void **state)
{
	struct post *post = *state;
	struct err err = { 0 };

	post_close(post);
	post->fake.locked = true;
	assert_false(post_try_open(post, &err));
	assert_int_equal(err.kind, ERR_PERM);
	assert_string_equal(err.text, "the spool FAKE is in use by another node");
}

static void
refuses_a_header_that_is_too_large(void **state)
{
	struct post *post = *state;
	struct letter letter = { .message = { .id = spool_next_id(post->spool) } };
	struct spool_writer *writer = spool_begin(post->spool, NULL);
	char *head = mem_alloc(SPOOL_HEAD_MAX + 1);

	spool_commit(writer, &letter.message, 2, SPAN("meta"), span_make(head, SPOOL_HEAD_MAX + 1), post_told, &letter);
	assert_int_equal(letter.told, 0);       /* not from within */
	hand_pass(&post->hand, 0);
	assert_int_equal(letter.told, 1);
	assert_int_equal(letter.err.kind, ERR_PERM);
	free(head);
	post_check_read(post, post_sent(post, 100), 100);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, post_set_up, post_tear_down)
	const struct CMUnitTest tests[] = {
		TEST(tells_a_commit_only_when_it_is_synced),
		TEST(serves_all_that_came_meanwhile_with_one_sync),
		TEST(writes_notes_within_ten_milliseconds),
		TEST(gives_ids_that_grow_over_restarts_and_crashes),
		TEST(holds_little_of_a_large_body_in_memory),
		TEST(keeps_what_waits_for_a_slow_disk_bounded),
		TEST(refuses_when_the_disk_is_nearly_full),
		TEST(refuses_while_the_disk_does_not_answer),
		TEST(counts_what_was_taken_since_the_space_was_measured),
		TEST(fills_a_tiny_disk_empties_it_and_fills_it_again),
		TEST(gives_back_the_room_of_one_large_message),
		TEST(removes_segments_that_are_dead),
		TEST(tells_who_waits_before_it_is_closed),
		TEST(writes_notes_when_it_is_closed),
		TEST(is_not_opened_twice),
		TEST(refuses_a_header_that_is_too_large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
