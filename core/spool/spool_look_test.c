/*
 * A look sees what a start would see, and changes nothing: the disk has no way to write.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/spool_look.h"

#include "spool/spool_post.h"

struct view {
	struct post *post;
	struct spool *spool;
	struct spool_counts counts;
	struct buf text;
	unsigned told, files;
};

static void
on_finding(void *ctx, const struct spool_finding *finding)
{
	struct view *view = ctx;

	buf_printf(&view->text, "%s %s %llu-%llu\n", finding->damage ? "damage" : "note", finding->file,
		   (unsigned long long)finding->at, (unsigned long long)finding->to);
}

static void
on_progress(void *ctx, uint64_t done, uint64_t all)
{
	struct view *view = ctx;

	assert_int_equal(done, view->files++);
	assert_true(done < all);
}

static struct spool *
look(struct view *view, struct err *err)
{
	static const struct disk_ops reads = {
		.open = fake_open, .close = fake_close, .read = fake_read, .size = fake_size, .list = fake_list, .lock = fake_lock,
	};
	struct spool_look_options options = { on_finding, on_progress, view };
	struct post *post = view->post;
	const struct disk_ops *all = post->fake.disk.ops;

	buf_clear(&view->text);
	view->files = 0;
	post->recovered = 0;
	for (unsigned i = 0; i < post->letters_n; i++)
		post->letters[i].back = false;
	post->fake.disk.ops = &reads;
	view->spool = spool_look(&post->fake.disk, &options, &post->owner, &view->counts, err);
	post->fake.disk.ops = all;
	return view->spool;
}

static void
look_end(struct view *view)
{
	spool_look_end(view->spool);
	view->spool = NULL;
	assert_int_equal(view->post->fake.opened, 0);
}

static void
assert_text(struct view *view, const char *want)
{
	assert_true(buf_add_char(&view->text, '\0'));
	assert_string_equal(view->text.p + view->text.start, want);
}

static int
set_up(void **state)
{
	struct view *view = mem_alloc(sizeof(*view));

	view->post = post_new();
	buf_init(&view->text, 0);
	post_open(view->post);
	hand_settle(&view->post->hand);
	*state = view;
	return 0;
}

static int
tear_down(void **state)
{
	struct view *view = *state;

	post_free(view->post);
	buf_fini(&view->text);
	free(view);
	return 0;
}

static void
counts_and_reads_what_waits(void **state)
{
	struct view *view = *state;
	struct post *post = view->post;
	struct spool *node;
	unsigned back = 0;

	for (unsigned i = 0; i < 60; i++)
		post_sent(post, 3000);
	post_sent(post, 600000);
	for (unsigned i = 0; i < 20; i++)
		post_deliver(post, &post->letters[i]);
	spool_hurry(post->spool);
	hand_settle(&post->hand);
	post_kill(post);
	assert_non_null(look(view, NULL));
	assert_int_equal(view->counts.messages, 41);
	assert_int_equal(post->recovered, 41);
	assert_int_equal(view->counts.segments, view->files);
	/* A start in each segment, the messages, and the pieces of the large one. */
	assert_in_range(view->counts.records, view->files + 41 + 600000 / SPOOL_PIECE_MAX, view->files + 61 + 600000 / SPOOL_PIECE_MAX);
	assert_true(view->counts.bytes > 41 * 3000 + 600000);
	assert_text(view, "");
	node = post->spool;
	post->spool = view->spool;
	for (unsigned i = 0; i < post->letters_n; i++) {
		back += post->letters[i].back;
		if (post->letters[i].back)
			post_check_read(post, &post->letters[i], 1000);
	}
	post->spool = node;
	assert_int_equal(back, 41);
	look_end(view);
}

static void
tells_damage_and_what_is_none(void **state)
{
	struct view *view = *state;
	struct post *post = view->post;
	struct letter *letter, *last;
	struct fake_inode *segment;
	char name[SPOOL_NAME_MAX], want[300];
	uint64_t at, end;

	letter = post_sent(post, 100);
	last = post_sent(post, 100);
	at = letter->message.at;
	end = last->message.at + last->message.record_bytes;
	spool_segment_name(letter->message.segment, ".seg", name);
	assert_true(spool_state_save(post->spool, SPAN("precious")));
	hand_settle(&post->hand);
	post_kill(post);
	segment = fake_file(&post->fake, name);
	segment->now[at + 50] ^= 1;
	fake_file(&post->fake, "state")->now[34] ^= 1;
	fake_file_put(&post->fake, "00000000000000f0.seg.damaged", SPAN("x"));
	assert_non_null(look(view, NULL));
	snprintf(want, sizeof(want), "damage %s %llu-%llu\nnote 00000000000000f0.seg.damaged 0-0\ndamage state 0-0\n", name,
		 (unsigned long long)at, (unsigned long long)last->message.at);
	assert_text(view, want);
	assert_int_equal(view->counts.messages, 1);
	assert_int_equal(view->counts.unread, 1);
	look_end(view);

	segment->now[at + 50] ^= 1;
	fake_put(segment, end, "torn", 4);
	fake_file(&post->fake, "state")->now[34] ^= 1;
	assert_non_null(look(view, NULL));
	snprintf(want, sizeof(want), "note %s %llu-%llu\nnote 00000000000000f0.seg.damaged 0-0\n", name,
		 (unsigned long long)end, (unsigned long long)end + 4);
	assert_text(view, want);
	look_end(view);
}

static void
sees_what_the_disk_cannot_read_and_what_makes_no_sense(void **state)
{
	struct view *view = *state;
	struct post *post = view->post;
	char seg[SPOOL_NAME_MAX], jnl[SPOOL_NAME_MAX], want[300];
	uint64_t at[5];

	for (unsigned i = 0; i < 5; i++)
		at[i] = post_sent(post, 3000)->message.at;
	spool_segment_name(post->letters[0].message.segment, ".seg", seg);
	spool_segment_name(post->letters[0].message.segment, ".jnl", jnl);
	assert_true(spool_state_save(post->spool, SPAN("precious")));
	hand_settle(&post->hand);
	post_kill(post);
	assert_true(at[1] < 4096 && at[2] > 4096 && at[2] < 8192 && at[3] > 8192);
	fake_spoil(&post->fake, seg, 4096);
	fake_spoil(&post->fake, jnl, 0);
	fake_spoil(&post->fake, "state", 0);
	post->letters[0].message.id = UINT64_MAX;
	assert_non_null(look(view, NULL));
	/* Of letter 2 the header, and without the journal nobody knows where 3 begins. */
	snprintf(want, sizeof(want), "damage %s 0-%llu\ndamage %s %llu-%llu\ndamage %s %llu-%llu\ndamage state 0-4096\n", jnl,
		 4096ULL, seg, (unsigned long long)at[1], (unsigned long long)post->letters[4].message.at + post->letters[4].message.record_bytes,
		 seg, (unsigned long long)at[0], (unsigned long long)at[1]);
	assert_text(view, want);
	assert_int_equal(view->counts.messages, 0);
	assert_int_equal(view->counts.unread, 2);
	look_end(view);
}

/* A crash came between the two renames. */
static void
reads_the_new_journal_where_the_damaged_one_was_renamed(void **state)
{
	struct view *view = *state;
	struct post *post = view->post;
	struct letter *letter = post_sent(post, 100);
	char name[SPOOL_NAME_MAX], fresh[SPOOL_NAME_MAX];

	spool_segment_name(letter->message.segment, ".jnl", name);
	spool_segment_name(letter->message.segment, ".jnl.new", fresh);
	post_sent(post, 100);
	post_deliver(post, letter);
	spool_hurry(post->spool);
	hand_settle(&post->hand);
	post_kill(post);
	assert_true(fake_rename(&post->fake.disk, name, fresh, NULL));
	assert_non_null(look(view, NULL));
	assert_text(view, "");
	assert_int_equal(view->counts.messages, 1);
	look_end(view);
	post_open(post);
	assert_int_equal(post->recovered, 1);
	assert_non_null(fake_file(&post->fake, name));
}

static void
sees_a_missing_journal_and_leaves_it_missing(void **state)
{
	struct view *view = *state;
	struct post *post = view->post;
	struct letter *letter = post_sent(post, 100);
	char name[SPOOL_NAME_MAX], want[100];

	spool_segment_name(letter->message.segment, ".jnl", name);
	post_kill(post);
	assert_true(fake_remove(&post->fake.disk, name, NULL));
	assert_non_null(look(view, NULL));
	snprintf(want, sizeof(want), "damage %s 0-0\n", name);
	assert_text(view, want);
	assert_null(fake_file(&post->fake, name));
	look_end(view);
}

static bool
lock_held(struct disk *disk, const char *name, struct err *err)
{
	return err_set(err, ERR_PERM, "in use");
}

static void
leaves_a_spool_in_use_alone(void **state)
{
	static const struct disk_ops held = { .lock = lock_held };
	struct view *view = *state;
	struct spool_look_options options = { on_finding, NULL, view };
	struct disk disk = { &held };
	struct err err = { 0 };

	assert_null(spool_look(&disk, &options, &view->post->owner, &view->counts, &err));
	assert_string_equal(err.text, "in use");
}

static void
gives_up_when_the_disk_does_whichever_call_it_is(void **state)
{
	struct view *view = *state;
	struct post *post = view->post;
	bool seen = false;

	post_sent(post, 100);
	post_kill(post);
	for (unsigned n = 1; !seen; n++) {
		struct err err = { 0 };

		post->fake.fail_at = post->fake.calls + n;
		seen = look(view, &err) != NULL;
		assert_true(seen || err.kind == ERR_TEMP);
		assert_true(n < 100);
		look_end(view);
	}
	assert_int_equal(view->counts.messages, 1);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(counts_and_reads_what_waits),
		TEST(tells_damage_and_what_is_none),
		TEST(sees_what_the_disk_cannot_read_and_what_makes_no_sense),
		TEST(reads_the_new_journal_where_the_damaged_one_was_renamed),
		TEST(sees_a_missing_journal_and_leaves_it_missing),
		TEST(leaves_a_spool_in_use_alone),
		TEST(gives_up_when_the_disk_does_whichever_call_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
