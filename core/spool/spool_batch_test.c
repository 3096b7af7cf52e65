/*
 * Failures of the disk: what was refused stays refused, what was noted is not lost.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/spool_post.h"

/* The n-th call from now on fails, once. */
static void
fail_in(struct post *post, unsigned n)
{
	post->fake.fail_at = post->fake.calls + n;
}

static void
withdraws_what_it_refuses(void **state)
{
	struct post *post = *state;

	for (unsigned n = 1; n <= 2; n++) {     /* the write, the sync */
		struct letter *before = post_sent(post, 100), *refused, *meanwhile, *after;

		fail_in(post, n);
		refused = post_send(post, 100);
		meanwhile = post_send(post, 100);
		hand_settle(&post->hand);
		assert_int_equal(refused->told, 1);
		assert_int_equal(refused->err.kind, ERR_TEMP);
		assert_int_equal(meanwhile->err.kind, ERR_TEMP);
		assert_null(refused->message.segment);
		assert_null(spool_begin(post->spool, NULL));

		hand_pass(&post->hand, US_PER_S);
		hand_settle(&post->hand);
		after = post_sent(post, 100);
		post_power_cut(post);
		post_open(post);
		assert_true(before->back);
		assert_false(refused->back);
		assert_false(meanwhile->back);
		assert_true(after->back);
	}
}

static void
opens_again_only_when_the_disk_works_again(void **state)
{
	struct post *post = *state;
	struct letter *letter = post_send(post, 100);
	struct spool_stats stats;
	struct err err = { 0 };

	post->fake.fail_permille = 1000;
	hand_settle(&post->hand);
	assert_int_equal(letter->err.kind, ERR_TEMP);
	for (int i = 0; i < 5; i++) {
		hand_pass(&post->hand, US_PER_S);
		hand_settle(&post->hand);
		assert_null(spool_begin(post->spool, &err));
		assert_int_equal(err.kind, ERR_TEMP);
		spool_stats(post->spool, &stats);
		assert_true(stats.refusing);
	}
	assert_true(post->spool->core->segments_n <= 2);
	post->fake.fail_permille = 0;
	hand_pass(&post->hand, US_PER_S);
	hand_settle(&post->hand);
	post_sent(post, 100);
}

static void
tells_a_commit_that_comes_while_the_disk_fails_later(void **state)
{
	struct post *post = *state;
	struct letter *first = post_send(post, 10), second = { .message = { .id = 77 } };
	struct spool_writer *writer = spool_begin(post->spool, NULL);

	fail_in(post, 1);
	hand_settle(&post->hand);
	assert_int_equal(first->err.kind, ERR_TEMP);
	spool_commit(writer, &second.message, 1, SPAN("meta"), SPAN("h"), post_told, &second);
	assert_int_equal(second.told, 0);
	hand_pass(&post->hand, 0);
	assert_int_equal(second.told, 1);
	assert_int_equal(second.err.kind, ERR_TEMP);
}

static void
fails_a_writer_whose_pieces_are_gone(void **state)
{
	struct post *post = *state;
	struct spool_writer *writer = spool_begin(post->spool, NULL);
	char *some = mem_alloc(SPOOL_PIECE_MAX);
	struct err err = { 0 };

	assert_true(spool_write(writer, span_make(some, SPOOL_PIECE_MAX), NULL));
	fail_in(post, 1);
	hand_settle(&post->hand);
	hand_pass(&post->hand, US_PER_S);
	hand_settle(&post->hand);
	assert_int_equal(post->spool->core->failing.kind, ERR_NONE);
	assert_false(spool_write(writer, SPAN("more"), &err));
	assert_int_equal(err.kind, ERR_TEMP);
	spool_abort(writer);
	free(some);
}

static void
keeps_notes_until_the_journal_takes_them(void **state)
{
	struct post *post = *state;
	struct letter *letter = post_sent(post, 10), *live = post_sent(post, 10);

	post->fake.fail_permille = 1000;
	post_deliver(post, letter);
	for (unsigned i = 0; i < 5000; i++) {
		post_settle(post, live, 0, SPOOL_WAITING);
		if (i % 1000 == 0) {
			hand_pass(&post->hand, US_PER_S);
			hand_settle(&post->hand);
		}
	}
	/* Many words of one recipient, one to remember. */
	assert_true(post->spool->core->active->notes.n < 2500);
	post->fake.fail_permille = 0;
	hand_pass(&post->hand, US_PER_S);
	hand_settle(&post->hand);
	post_power_cut(post);
	post_open(post);
	assert_false(letter->back);
	assert_true(live->back);
	assert_int_equal(live->rcpts[0].attempts, 5000);
}

static void
accepts_messages_although_the_journal_failed_at_the_end(void **state)
{
	struct post *post = *state;
	struct letter *letter;

	/* write, sync, and then the journal's write */
	letter = post_send(post, 10);
	fail_in(post, 3);
	hand_settle(&post->hand);
	assert_int_equal(letter->told, 1);
	assert_int_equal(letter->err.kind, ERR_NONE);
	post_power_cut(post);
	post_open(post);
	assert_true(letter->back);
}

static void
survives_a_full_disk(void **state)
{
	struct post *post = *state;
	struct letter *before = post_sent(post, 1000), *refused;

	post->fake.capacity = fake_used(&post->fake) + 5000;
	refused = post_send(post, 40000);
	hand_settle(&post->hand);
	assert_int_equal(refused->err.kind, ERR_TEMP);
	assert_int_equal(refused->err.sys, ENOSPC);
	post_deliver(post, before);
	hand_pass(&post->hand, US_PER_S);
	hand_settle(&post->hand);
	assert_int_equal(post->spool->core->active->notes.n, 0);
	post_power_cut(post);
	post_open(post);
	assert_int_equal(post->recovered, 0);
}

static void
takes_over_a_job_that_has_not_begun_when_it_closes(void **state)
{
	struct post *post = *state;
	struct letter *letter = post_send(post, 10);

	assert_non_null(post->hand.first);
	spool_close(post->spool);
	assert_int_equal(letter->told, 1);
	hand_settle(&post->hand);       /* the worker comes late: nothing happens */
	post_open(post);
	assert_true(letter->back);
}

static void
ends_a_job_that_is_worked_but_not_told_when_it_closes(void **state)
{
	struct post *post = *state;
	struct letter *letter = post_send(post, 10);

	hand_work(&post->hand);
	spool_close(post->spool);
	assert_int_equal(letter->told, 1);
	assert_int_equal(letter->err.kind, ERR_NONE);
	hand_settle(&post->hand);
	assert_int_equal(letter->told, 1);
	post_open(post);
	assert_true(letter->back);
}

static void
stalls_when_too_much_cannot_be_written_down_and_goes_on_when_it_can(void **state)
{
	struct post *post = *state;
	unsigned n;

	for (unsigned i = 0; i < 1100; i++)
		post_send(post, 10);
	hand_settle(&post->hand);
	post->fake.fail_permille = 1000;
	post_deliver(post, &post->letters[0]);
	hand_pass(&post->hand, 10 * US_PER_MS);
	hand_settle(&post->hand);
	for (n = 1; !spool_stalls(post->spool); n++)
		post_deliver(post, &post->letters[n]);
	assert_in_range(n, 480, 520);
	assert_true(span_find_text(buf_span(&post->lines), SPAN("cannot be written down")) != SIZE_MAX);

	post->fake.fail_permille = 0;
	post_rest(post);
	assert_false(spool_stalls(post->spool));
	post_kill(post);
	post_open(post);
	assert_int_equal(post->recovered, 1100 - n);
}

static void
stalls_when_a_little_cannot_be_written_down_for_long(void **state)
{
	struct post *post = *state;

	post_sent(post, 10);
	post_sent(post, 10);
	post->fake.fail_permille = 1000;
	assert_non_null(post_send(post, 10));
	for (unsigned s = 0; s < 30; s++) {
		hand_settle(&post->hand);
		hand_pass(&post->hand, US_PER_S);
	}
	assert_int_equal(post->spool->core->failing.kind, ERR_TEMP);
	assert_false(spool_stalls(post->spool));
	post_deliver(post, &post->letters[0]);
	hand_pass(&post->hand, US_PER_S);
	hand_settle(&post->hand);
	post_deliver(post, &post->letters[1]);
	assert_false(spool_stalls(post->spool));
	for (unsigned s = 0; s < 11; s++) {
		hand_pass(&post->hand, US_PER_S);
		hand_settle(&post->hand);
		assert_int_equal(spool_stalls(post->spool), s >= 8);
	}
	post->fake.fail_permille = 0;
	post_rest(post);
	assert_false(spool_stalls(post->spool));
}

/* A batch with notes for each of many segments. */
static void
has_few_files_open_however_many_segments_have_notes(void **state)
{
	enum { SEGMENTS = 30 };
	struct post *post = *state;

	for (unsigned i = 0; i < SEGMENTS; i++) {
		post_sent(post, 1000);
		spool_segment_rotate(post->spool->core);
	}
	post_rest(post);
	for (unsigned closes = 0; closes < 2; closes++) {
		post->fake.opened_most = 0;
		for (unsigned i = 0; i < SEGMENTS; i++)
			post_settle(post, &post->letters[i], 0, SPOOL_WAITING);
		if (closes)
			post_close(post);
		else
			post_rest(post);
		assert_in_range(post->fake.opened_most, 1, 8);
	}
	post_open(post);
	for (unsigned i = 0; i < SEGMENTS; i++)
		assert_int_equal(post->letters[i].rcpts[0].attempts, 2);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, post_set_up, post_tear_down)
	const struct CMUnitTest tests[] = {
		TEST(withdraws_what_it_refuses),
		TEST(opens_again_only_when_the_disk_works_again),
		TEST(tells_a_commit_that_comes_while_the_disk_fails_later),
		TEST(fails_a_writer_whose_pieces_are_gone),
		TEST(keeps_notes_until_the_journal_takes_them),
		TEST(accepts_messages_although_the_journal_failed_at_the_end),
		TEST(survives_a_full_disk),
		TEST(takes_over_a_job_that_has_not_begun_when_it_closes),
		TEST(ends_a_job_that_is_worked_but_not_told_when_it_closes),
		TEST(stalls_when_too_much_cannot_be_written_down_and_goes_on_when_it_can),
		TEST(stalls_when_a_little_cannot_be_written_down_for_long),
		TEST(has_few_files_open_however_many_segments_have_notes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
