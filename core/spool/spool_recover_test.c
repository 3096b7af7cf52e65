/*
 * What a restart makes of files that were cut, damaged, or are of another time.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/spool_post.h"

static struct fake_inode *
file_of(struct post *post, const struct letter *letter, const char *suffix, char name[SPOOL_NAME_MAX])
{
	spool_segment_name(letter->message.segment, suffix, name);
	return fake_file(&post->fake, name);
}

static void
cuts_a_torn_tail_and_says_so(void **state)
{
	static const struct { const char *suffix; unsigned bytes; } cases[] = {
		{ ".seg", 1 }, { ".seg", 31 }, { ".seg", 32 }, { ".seg", 5000 }, { ".jnl", 1 }, { ".jnl", 40 },
	};
	struct post *post = *state;

	for (unsigned i = 0; i < countof(cases); i++) {
		struct letter *letter = post_sent(post, 100);
		char name[SPOOL_NAME_MAX], want[200], *junk = mem_alloc(cases[i].bytes);
		struct fake_inode *file = file_of(post, letter, cases[i].suffix, name);
		const struct spool_segment *segment = letter->message.segment;
		uint64_t end = strcmp(cases[i].suffix, ".seg") == 0 ? segment->written : segment->journal_end;

		post_kill(post);
		buf_clear(&post->lines);
		memset(junk, 'x', cases[i].bytes);
		fake_put(file, end, junk, cases[i].bytes);
		post_open(post);
		snprintf(want, sizeof(want), "spool: %s: cut a torn tail of %u bytes, which was never promised\n", name, cases[i].bytes);
		assert_true(span_find_text(buf_span(&post->lines), span_text(want)) != SIZE_MAX);
		assert_int_equal(file->now_n, end);
		assert_int_equal(file->safe_n, end);
		assert_true(letter->back);
		free(junk);
	}
}

static void
takes_no_stale_record_of_another_place(void **state)
{
	struct post *post = *state;
	struct letter *letter = post_sent(post, 100);
	char name[SPOOL_NAME_MAX];
	struct fake_inode *file = file_of(post, letter, ".seg", name);
	uint64_t at = letter->message.at, bytes = letter->message.record_bytes;

	post_close(post);
	fake_put(file, file->now_n, file->now + at, bytes);
	post_open(post);
	assert_int_equal(post->recovered, 1);
	assert_int_equal(letter->message.at, at);
}

static void
refuses_a_format_that_it_does_not_know(void **state)
{
	struct post *post = *state;
	struct letter *letter = post_sent(post, 100);
	char name[SPOOL_NAME_MAX];
	struct fake_inode *file = file_of(post, letter, ".seg", name);
	uint64_t number = letter->message.segment->number;
	struct err err = { 0 };

	post_close(post);
	file->now[SPOOL_RECORD_HEADER] = 7;
	spool_record_seal(file->now, 12, SPOOL_SEGMENT_START, 0, number, 0);
	assert_false(post_try_open(post, &err));
	assert_int_equal(err.kind, ERR_PERM);
	assert_non_null(strstr(err.text, "has format 7, this version reads formats 1 to 2; start the version that wrote it"));
}

static void
sweeps_a_journal_without_its_segment_and_leaves_other_files_alone(void **state)
{
	struct post *post = *state;

	post_close(post);
	fake_file_put(&post->fake, "00000000000000ff.jnl", SPAN("junk"));
	fake_file_put(&post->fake, "removed", SPAN("junk"));
	fake_file_put(&post->fake, "notes.txt", SPAN("mine"));
	fake_file_put(&post->fake, "00000000000000FF.seg", SPAN("mine"));
	post_open(post);
	assert_null(fake_file(&post->fake, "00000000000000ff.jnl"));
	assert_null(fake_file(&post->fake, "removed"));
	assert_non_null(fake_file(&post->fake, "notes.txt"));
	assert_non_null(fake_file(&post->fake, "00000000000000FF.seg"));
	/* Should it come back, it must not belong to a new segment. */
	assert_true(post->spool->core->active->number > 0xff);
}

static void
tells_messages_oldest_first(void **state)
{
	struct post *post = *state;
	uint64_t last = 0;

	for (int i = 0; i < 100; i++)
		post_sent(post, 3000);
	post_close(post);
	post_open(post);
	assert_int_equal(post->recovered, 100);
	list_each (pos, &post->spool->core->segments) {
		struct spool_segment *segment = list_entry(pos, struct spool_segment, link);
		list_each (one, &segment->messages) {
			struct spool_message *message = list_entry(one, struct spool_message, in_segment);
			assert_true(message->id > last);
			last = message->id;
		}
	}
}

/* An end stays one, whatever older states a journal still holds behind it. */
static void
never_takes_an_end_back(void **state)
{
	struct post *post = *state;
	struct letter *letter = post_sent(post, 10);
	char name[SPOOL_NAME_MAX];
	struct fake_inode *file = file_of(post, letter, ".jnl", name);
	uint64_t number = letter->message.segment->number;
	struct spool_note waits = { .id = letter->message.id, .rcpt = 0, .state = { SPOOL_WAITING, 9, { 0 } } };
	struct buf buf;

	post_settle(post, letter, 0, SPOOL_BOUNCED);
	post_close(post);
	buf_init(&buf, 0);
	spool_record_notes(&buf, number, 0, file->now_n, &waits, 1);
	fake_put(file, file->now_n, buf_span(&buf).p, buf_len(&buf));
	buf_fini(&buf);
	post_open(post);
	assert_true(letter->back);
	assert_int_equal(letter->rcpts[0].outcome, SPOOL_BOUNCED);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, post_set_up, post_tear_down)
	const struct CMUnitTest tests[] = {
		TEST(cuts_a_torn_tail_and_says_so),
		TEST(takes_no_stale_record_of_another_place),
		TEST(refuses_a_format_that_it_does_not_know),
		TEST(sweeps_a_journal_without_its_segment_and_leaves_other_files_alone),
		TEST(tells_messages_oldest_first),
		TEST(never_takes_an_end_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
