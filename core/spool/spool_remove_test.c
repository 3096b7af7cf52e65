/*
 * Removal: wherever it is broken off, what is left neither comes back nor looks like damage.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/spool_post.h"

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

static bool
is_known(struct post *post, const char *name)
{
	char seg[SPOOL_NAME_MAX], jnl[SPOOL_NAME_MAX];

	list_each (pos, &post->spool->core->segments) {
		spool_segment_name(list_entry(pos, struct spool_segment, link), ".seg", seg);
		spool_segment_name(list_entry(pos, struct spool_segment, link), ".jnl", jnl);
		if (strcmp(name, seg) == 0 || strcmp(name, jnl) == 0)
			return true;
	}
	return false;
}

static void
assert_no_file_is_left_over(struct post *post, unsigned n)
{
	for (unsigned i = 0; i < FAKE_FILES; i++) {
		const struct fake_name *one = &post->fake.names[i];
		if (one->now && !is_known(post, one->name))
			fail_msg("%s is left over, call %u", one->name, n);
	}
	assert_true(list_empty(&post->spool->core->dead));
}

/* A rename that failed may have happened all the same; nothing but time makes it tried again. */
static void
a_removal_is_tried_again_until_nothing_is_left(void **state)
{
	for (unsigned n = 1; n < 8; n++) {
		for (uint64_t seed = 0; seed < 8; seed++) {
			struct post *post = post_new();
			struct letter *letter;
			char name[SPOOL_NAME_MAX];

			prng_seed(&post->fake.prng, seed);
			post_open(post);
			letter = post_sent(post, 40000);
			spool_segment_name(letter->message.segment, ".seg", name);
			spool_segment_rotate(post->spool->core);
			post_deliver(post, letter);
			while (!post->spool->core->removing)
				assert_true(hand_tell(&post->hand) || hand_work(&post->hand));
			post->fake.fail_at = post->fake.calls + n;
			hand_settle(&post->hand);
			post->fake.fail_at = 0;
			post_rest(post);
			assert_true(list_empty(&post->spool->core->dead));
			assert_null(fake_file(&post->fake, name));
			/* What could not be removed goes then. */
			post_close(post);
			post_open(post);
			hand_settle(&post->hand);
			assert_no_file_is_left_over(post, n);
			post_free(post);
		}
	}
}

/* The first batch of a segment fails with all of the disk, at any call; some of its names and bytes may be there. */
static void
a_segment_that_never_began_leaves_nothing(void **state)
{
	bool failed = true;

	for (unsigned n = 1; failed; n++) {
		struct post *post = post_new();

		post_open(post);
		post_sent(post, 1000);
		spool_segment_rotate(post->spool->core);
		post_send(post, 1000);
		post->fake.cut_at = post->fake.calls + n;
		assert_true(hand_work(&post->hand));
		failed = post->fake.dead;
		fake_revive(&post->fake);
		hand_tell(&post->hand);
		post_rest(post);
		post_rest(post);
		assert_int_equal(post->spool->core->failing.kind, ERR_NONE);
		assert_no_file_is_left_over(post, n);
		post_free(post);
	}
}

static void
its_room_counts_at_once(void **state)
{
	struct post *post = *state;
	struct letter *letter = post_sent(post, 2 * MIB);

	post->fake.capacity = 64 * MIB;
	post->fake.used_by_others = post->fake.capacity - fake_used(&post->fake) - MIB / 32;
	hand_pass(&post->hand, US_PER_S);
	assert_null(spool_begin(post->spool, NULL));
	post_deliver(post, letter);
	hand_settle(&post->hand);
	post_sent(post, 1000);
}

/* The copy is durable when a recipient's end is noted; the power goes amid the batch that notes it in both segments. */
static struct letter *
settle_amid_a_copy(struct post *post, unsigned call)
{
	struct letter *letter, *other;
	struct spool_reader reader;     /* keeps the old one there */

	post_open(post);
	letter = post_sent(post, 2000);
	other = post_sent(post, 20000);
	spool_segment_rotate(post->spool->core);
	post_deliver(post, other);
	while (!post->spool->core->compaction || !post->hand.worked)
		assert_true(post->hand.worked ? hand_tell(&post->hand) : hand_work(&post->hand));
	assert_true(spool_read_open(post->spool, &letter->message, &reader, NULL));
	assert_true(hand_tell(&post->hand));
	post_settle(post, letter, 0, SPOOL_BOUNCED);
	assert_true(hand_work(&post->hand) && hand_tell(&post->hand));
	post->fake.cut_at = post->fake.calls + call;
	assert_true(hand_work(&post->hand));
	spool_read_close(&reader);
	post_power_cut(post);
	return letter;
}

/* The old segment's journal alone may know of it, until the new one's does. */
static void
an_old_segment_stays_until_the_new_one_knows_what_it_knew(void **state)
{
	for (unsigned call = 1; call < 7; call++) {
		for (unsigned n = 1; n < 70; n++) {
			struct post *post = post_new();
			struct letter *letter = settle_amid_a_copy(post, call);
			uint8_t outcome;

			post->fake.fail_at = post->fake.calls + n;
			if (!post_try_open(post, NULL))
				post_open(post);
			outcome = letter->rcpts[0].outcome;
			hand_settle(&post->hand);
			post_kill(post);
			post_open(post);
			assert_true(letter->back);
			if (letter->rcpts[0].outcome != outcome)
				fail_msg("forgotten, call %u, then %u", call, n);
			post_free(post);
		}
	}
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, post_set_up, post_tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_segment_that_is_half_freed_is_not_made_again_by_the_end),
		TEST(a_segment_that_is_half_freed_is_not_cut_any_more),
		cmocka_unit_test(a_removal_is_tried_again_until_nothing_is_left),
		cmocka_unit_test(a_segment_that_never_began_leaves_nothing),
		TEST(its_room_counts_at_once),
		cmocka_unit_test(an_old_segment_stays_until_the_new_one_knows_what_it_knew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
