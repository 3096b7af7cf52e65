/*
 * Zeros written ahead: they spare metadata, take no room from anybody, and nobody hears of them.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/spool_look.h"

#include "spool/spool_post.h"

#define MIB (1024u * 1024u)
#define CHUNK (256u * 1024u)

static int
set_up(void **state)
{
	struct post *post = post_new();

	post->options.segment_bytes = 4 * MIB;
	return post_set_up_as(state, post);
}

static struct spool_segment *
active(struct post *post)
{
	return post->spool->core->active;
}

static struct fake_inode *
file_of(struct post *post, const struct spool_segment *segment, const char *suffix)
{
	char name[SPOOL_NAME_MAX];

	spool_segment_name(segment, suffix, name);
	return fake_file(&post->fake, name);
}

static void
moves_a_files_length_once_a_chunk(void **state)
{
	struct post *post = *state;
	uint64_t from = active(post)->written, chunks;
	unsigned lengths = post->fake.lengths, syncs = post->fake.syncs;

	for (unsigned i = 0; i < 400; i++) {
		post_deliver(post, post_sent(post, 2000));
		spool_hurry(post->spool);
		hand_settle(&post->hand);
	}
	chunks = (active(post)->written - from) / CHUNK;
	assert_int_equal(chunks, 3);
	assert_int_equal(post->fake.syncs - syncs, 800);
	assert_in_range(post->fake.lengths - lengths, chunks, chunks + 2);      /* the segment's first, and the journal's */
}

static void
writes_a_large_batch_once(void **state)
{
	struct post *post = *state;

	post_sent(post, 40000);
	assert_int_equal(file_of(post, active(post), ".seg")->now_n, active(post)->written);
	post_sent(post, 100);
	assert_int_equal(file_of(post, active(post), ".seg")->now_n, active(post)->written + CHUNK);
	post_sent(post, CHUNK - 5000);
	assert_true(file_of(post, active(post), ".seg")->now_n > active(post)->written);
	post_sent(post, 40000);
	assert_int_equal(file_of(post, active(post), ".seg")->now_n, active(post)->written);
}

static void
ends_files_where_their_records_end_when_they_are_closed(void **state)
{
	struct post *post = *state;
	struct letter *letter = post_sent(post, 100);
	struct spool_segment *old = active(post);
	struct fake_inode *file = file_of(post, old, ".seg"), *journal = file_of(post, old, ".jnl");

	assert_int_equal(file->now_n, old->written + CHUNK);
	assert_true(journal->now_n > old->journal_end);
	spool_segment_rotate(post->spool->core);
	post_sent(post, 100);
	assert_true(active(post) != old);
	assert_int_equal(file->now_n, old->written);
	assert_int_equal(journal->now_n, old->journal_end);

	file = file_of(post, active(post), ".seg");
	assert_true(file->now_n > CHUNK);
	post_close(post);
	assert_in_range(file->now_n, 1, 2000);
	assert_in_range(journal->now_n, 1, 2000);
	post_open(post);
	assert_true(letter->back);
	assert_int_equal(buf_len(&post->lines), 0);
}

static void
writes_none_beyond_what_the_segment_may_hold(void **state)
{
	struct post *post = *state;

	post_sent(post, 4 * MIB - 50000);
	post_sent(post, 100);
	assert_int_equal(file_of(post, active(post), ".seg")->now_n, 4 * MIB);
}

static void
on_finding(void *ctx, const struct spool_finding *finding)
{
	fail_msg("%s: %s", finding->file, finding->text);
}

static struct spool_message *
on_seen(void *ctx, const struct spool_recovered *recovered)
{
	static struct spool_message nobody;

	return recovered ? &nobody : NULL;
}

/* The file system kept the zeros, and of the message that should overwrite them nothing: nobody was told of it. */
static void
starts_after_a_crash_between_zeros_and_data_and_says_nothing(void **state)
{
	struct post *post = *state;
	struct letter *told = post_sent(post, 100), *lost;
	struct spool_segment *segment = active(post);
	struct fake_inode *file = file_of(post, segment, ".seg"), *journal = file_of(post, segment, ".jnl");
	uint64_t end = segment->written, journal_end = segment->journal_end;

	lost = post_send(post, 100);
	hand_work(&post->hand);
	post_kill(post);
	memset(file->now + end, 0, file->now_n - end);
	memset(journal->now + journal_end, 0, journal->now_n - journal_end);
	assert_true(file->now_n > end && journal->now_n > journal_end);
	buf_clear(&post->lines);
	post_open(post);
	assert_true(told->back);
	assert_false(lost->back);
	post_check_read(post, told, 100);
	assert_int_equal(buf_len(&post->lines), 0);
	assert_int_equal(file->now_n, end);
	assert_int_equal(file->safe_n, end);
	assert_int_equal(journal->now_n, journal_end);
}

static void
finds_nothing_to_tell_of_in_a_look_at_zeros(void **state)
{
	struct post *post = *state;
	struct spool_look_options options = { .on_finding = on_finding };
	struct spool_owner owner = { .on_recovered = on_seen };
	struct spool_counts counts;
	struct spool *seen;

	post_sent(post, 100);
	post_kill(post);
	seen = spool_look(&post->fake.disk, &options, &owner, &counts, NULL);
	assert_non_null(seen);
	assert_int_equal(counts.messages, 1);
	assert_in_range(counts.bytes, 1, 2000);
	spool_look_end(seen);
	post_open(post);
}

/* Zeros where the journal knows a message are a message that was lost. */
static void
takes_zeros_for_damage_where_a_message_was_promised(void **state)
{
	struct post *post = *state;
	struct letter *first = post_sent(post, 100), *last = post_sent(post, 100);
	struct fake_inode *file = file_of(post, active(post), ".seg");

	post_sent(post, 100);
	post_kill(post);
	memset(file->now + last->message.at, 0, last->message.record_bytes);
	post_open(post);
	assert_true(first->back);
	assert_false(last->back);
	assert_int_equal(post->recovered, 2);
	assert_int_equal(post->spool->core->damages, 1);
}

static void
does_without_zeros_on_a_disk_that_has_no_room_for_them(void **state)
{
	struct post *post = *state;
	struct letter *letter;

	post_sent(post, 40000);
	post->fake.capacity = fake_used(&post->fake) + 40000;           /* of zeros a part has room */
	letter = post_sent(post, 1000);
	assert_int_equal(file_of(post, active(post), ".seg")->now_n, active(post)->written);
	assert_int_equal(post->spool->core->failing.kind, ERR_NONE);
	/* These would fit, and others be refused for it. */
	post->fake.capacity = fake_used(&post->fake) + CHUNK + 100 * 1024;
	hand_pass(&post->hand, US_PER_S);
	post_sent(post, 1000);
	assert_int_equal(file_of(post, active(post), ".seg")->now_n, active(post)->written);
	post_power_cut(post);
	post_open(post);
	assert_true(letter->back);
}

static void
leaves_a_file_where_a_failure_cut_it_off(void **state)
{
	struct post *post = *state;
	struct letter *letter;

	for (unsigned n = 1; n <= 2; n++) {     /* the write, the sync */
		struct spool_segment *segment = active(post);
		struct fake_inode *file;

		post_sent(post, 100);
		file = file_of(post, segment, ".seg");
		letter = post_send(post, 100);
		post->fake.fail_at = post->fake.calls + n;
		hand_settle(&post->hand);
		assert_int_equal(letter->err.kind, ERR_TEMP);
		assert_int_equal(file->now_n, segment->written);
		hand_pass(&post->hand, US_PER_S);
		hand_settle(&post->hand);
		post_sent(post, 100);
		assert_int_equal(file->now_n, segment->written + (segment == active(post) ? CHUNK : 0));
		assert_int_equal(segment == active(post), n == 1);
	}
}

static void
counts_the_room_that_zeros_take_and_what_falls_on_them_once(void **state)
{
	struct post *post = *state;
	const struct spool_core *core = post->spool->core;
	uint64_t before;

	post_sent(post, 40000);
	hand_pass(&post->hand, US_PER_S);
	assert_false(spool_refuses(post->spool));
	assert_int_equal(core->space_since, 0);
	before = file_of(post, active(post), ".seg")->now_n;
	for (unsigned i = 0; i < 300; i++) {
		post_sent(post, i % 20 ? 1500 : 60000);
		assert_int_equal(core->space_since, file_of(post, active(post), ".seg")->now_n - before);
	}
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, post_tear_down)
	const struct CMUnitTest tests[] = {
		TEST(moves_a_files_length_once_a_chunk),
		TEST(writes_a_large_batch_once),
		TEST(ends_files_where_their_records_end_when_they_are_closed),
		TEST(writes_none_beyond_what_the_segment_may_hold),
		TEST(starts_after_a_crash_between_zeros_and_data_and_says_nothing),
		TEST(finds_nothing_to_tell_of_in_a_look_at_zeros),
		TEST(takes_zeros_for_damage_where_a_message_was_promised),
		TEST(does_without_zeros_on_a_disk_that_has_no_room_for_them),
		TEST(leaves_a_file_where_a_failure_cut_it_off),
		TEST(counts_the_room_that_zeros_take_and_what_falls_on_them_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
