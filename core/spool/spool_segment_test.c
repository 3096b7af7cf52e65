/*
 * What a segment remembers of batches that were withdrawn.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/spool_post.h"
#include "spool/spool_stuck_fixture.h"

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

/* A batch that begins a segment: a letter, and a piece of a body whose sender takes his time. */
static struct letter *
begin_a_segment(struct post *post, struct spool_reader *dead, struct spool_writer **writer_out)
{
	char *some = mem_alloc(SPOOL_PIECE_MAX);
	struct letter *letter;

	post->options.segment_bytes = 4 * SPOOL_PIECE_MAX;
	post_open(post);
	if (dead)
		keep_a_dead_segment(post, dead);
	post_sent(post, 1000);
	post_send(post, 1000);
	spool_segment_rotate(post->spool->core);
	*writer_out = spool_begin(post->spool, NULL);
	assert_true(spool_write(*writer_out, span_make(some, SPOOL_PIECE_MAX), NULL));
	letter = post_send(post, 1000);
	assert_true(hand_work(&post->hand) && hand_tell(&post->hand));
	free(some);
	return letter;
}

/* It fails with all of the disk, from its n-th call on; the sender leaves then, when another segment is the active one, or
 * stays. The node ends as soon as it accepts again. */
static bool
refuses_for_good_when_call_fails(unsigned n, bool leaves, bool in_order)
{
	struct post *post = post_new();
	struct spool_reader reader = { 0 };
	struct spool_writer *writer;
	struct letter *refused = begin_a_segment(post, leaves ? &reader : NULL, &writer);
	bool failed;

	if (leaves)
		spool_segment_rotate(post->spool->core);
	post->fake.cut_at = post->fake.calls + n;
	assert_true(hand_work(&post->hand));
	failed = post->fake.dead;
	fake_revive(&post->fake);
	hand_tell(&post->hand);
	if (leaves)
		spool_abort(writer);
	for (unsigned i = 0; post->spool->core->failing.kind; i++) {
		assert_in_range(i, 0, 100);
		if (!hand_tell(&post->hand) && !hand_work(&post->hand))
			hand_pass(&post->hand, US_PER_S);
	}
	if (leaves)
		spool_read_close(&reader);
	else
		spool_abort(writer);
	if (in_order)
		post_close(post);
	else
		post_kill(post);
	post_open(post);
	if (refused->err.kind && refused->back)
		fail_msg("refused, and back, when call %u failed", n);
	assert_int_equal(post->spool->core->damages, 0);
	post_free(post);
	return failed;
}

static void
what_was_refused_is_gone_when_it_accepts_again(void **state)
{
	for (unsigned leaves = 0; leaves < 2; leaves++) {
		for (unsigned n = 1; refuses_for_good_when_call_fails(n, leaves, true); n++) {
			assert_true(refuses_for_good_when_call_fails(n, leaves, false));
			assert_in_range(n, 1, 100);
		}
	}
}

static uint32_t
round_of(struct post *post, const struct letter *letter)
{
	char name[SPOOL_NAME_MAX];

	spool_segment_name(letter->message.segment, ".seg", name);
	return spool_record_round(fake_file(&post->fake, name)->now + letter->message.at);
}

/* One batch for two segments: the active one is synced already when the other's sync fails. */
static void
withdraw_what_was_synced(struct post *post)
{
	struct spool_writer *writer = spool_begin(post->spool, NULL);
	struct letter *large = &post->letters[post->letters_n++], *first, *refused;
	char *some = mem_alloc(SPOOL_PIECE_MAX), name[SPOOL_NAME_MAX];
	struct stuck stuck;

	assert_true(spool_write(writer, span_make(some, SPOOL_PIECE_MAX), NULL));
	free(some);
	hand_settle(&post->hand);
	first = post_send(post, 1000);
	refused = post_send(post, 1000);
	*large = (struct letter){ .message = { .id = spool_next_id(post->spool) } };
	spool_segment_name(writer->segment, ".seg", name);
	spool_commit(writer, &large->message, 1, SPAN("meta"), SPAN("A: b\r\n\r\n"), post_told, large);
	assert_true(hand_work(&post->hand) && hand_tell(&post->hand));
	assert_int_equal(first->told, 1);
	stuck_init(&stuck, &post->fake);
	stuck.inode = fake_file(&post->fake, name);
	stuck.syncs = true;
	assert_true(hand_work(&post->hand) && hand_tell(&post->hand));
	stuck_fini(&stuck, &post->fake);
	assert_int_equal(refused->err.kind, ERR_TEMP);
	assert_int_equal(large->err.kind, ERR_TEMP);
	post_rest(post);
}

static void
rounds_have_no_gap_where_a_batch_was_withdrawn(void **state)
{
	struct post *post = *state;
	struct letter *before, *after;

	post_sent(post, 60000);
	withdraw_what_was_synced(post);
	before = &post->letters[2];
	after = post_sent(post, 1000);
	assert_ptr_equal(before->message.segment, after->message.segment);
	assert_int_equal(round_of(post, after), spool_round_after(round_of(post, before)));
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, post_set_up, post_tear_down)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_copy_that_was_withdrawn_does_not_void_the_next),
		cmocka_unit_test(what_was_refused_is_gone_when_it_accepts_again),
		TEST(rounds_have_no_gap_where_a_batch_was_withdrawn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
