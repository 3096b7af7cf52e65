/*
 * The engine's state file and the marker of a clean end.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/spool_post.h"

static void
expect_state(struct post *post, const char *want, bool want_clean)
{
	struct err err = { 0 };
	struct buf got;
	bool clean;

	buf_init(&got, 0);
	if (!spool_state_load(post->spool, &got, &clean, &err))
		fail_msg("%s", err.text);
	assert_true(span_eq(buf_span(&got), span_text(want)));
	assert_int_equal(clean, want_clean);
	buf_fini(&got);
}

static void
is_empty_at_first(void **state)
{
	expect_state(*state, "", false);
}

static void
loads_what_was_saved_and_knows_how_the_node_ended(void **state)
{
	struct post *post = *state;

	assert_true(spool_state_save(post->spool, SPAN("one")));
	assert_false(spool_state_save(post->spool, SPAN("too soon")));
	hand_settle(&post->hand);
	expect_state(post, "one", false);
	post_close(post);
	fake_power_cut(&post->fake);
	post_open(post);
	expect_state(post, "one", true);
	post_power_cut(post);
	post_open(post);
	expect_state(post, "one", false);
}

static void
saves_at_the_end_what_was_still_under_way(void **state)
{
	struct post *post = *state;

	assert_true(spool_state_save(post->spool, SPAN("last words")));
	post_close(post);
	post_open(post);
	expect_state(post, "last words", true);
}

static void
is_the_old_or_the_new_one_whenever_the_power_goes(void **state)
{
	for (unsigned n = 1; n < 12; n++) {
		struct post *post = post_new();
		struct buf got;
		bool clean;

		prng_seed(&post->fake.prng, n);
		post_open(post);
		assert_true(spool_state_save(post->spool, SPAN("old")));
		hand_settle(&post->hand);
		assert_true(spool_state_save(post->spool, SPAN("new")));
		post->fake.cut_at = post->fake.calls + n;
		hand_settle(&post->hand);
		post_power_cut(post);
		post_open(post);
		buf_init(&got, 0);
		assert_true(spool_state_load(post->spool, &got, &clean, NULL));
		assert_false(clean);
		assert_true(span_eq(buf_span(&got), SPAN("old")) || span_eq(buf_span(&got), SPAN("new")));
		buf_fini(&got);
		post_free(post);
	}
}

static void
sets_a_damaged_file_aside_and_begins_anew(void **state)
{
	static const char *const asides[] = { "state.damaged", "state.damaged-2", "state.damaged-3" };
	struct post *post = *state;

	for (unsigned i = 0; i < countof(asides); i++) {
		assert_true(spool_state_save(post->spool, SPAN("precious")));
		post_close(post);
		fake_file(&post->fake, "state")->now[35] ^= 1;
		post_open(post);
		assert_false(spool_state_lost(post->spool));
		expect_state(post, "", false);
		assert_true(spool_state_lost(post->spool));
		assert_null(fake_file(&post->fake, "state"));
		assert_non_null(fake_file(&post->fake, asides[i]));
		assert_true(span_find_text(buf_span(&post->lines), span_text(asides[i])) != SIZE_MAX);
	}
}

static void
sets_a_file_aside_that_the_disk_cannot_read(void **state)
{
	struct post *post = *state;
	struct span bytes = span_make(mem_alloc(9000), 9000);

	assert_true(spool_state_save(post->spool, bytes));
	post_close(post);
	fake_spoil(&post->fake, "state", 5000);
	post_open(post);
	expect_state(post, "", false);
	assert_true(spool_state_lost(post->spool));
	assert_true(span_find_text(buf_span(&post->lines), SPAN("error spool: state is damaged at byte 4096, up to byte 8192: ")) != SIZE_MAX);
	assert_int_equal(fake_file(&post->fake, "state.damaged")->bad_from, 4096);
	free((char *)bytes.p);
}

static bool
rename_not(struct disk *disk, const char *from, const char *to, struct err *err)
{
	return err_set(err, ERR_TEMP, "not renamed");
}

/* Else the next save would replace it. */
static void
does_not_go_on_when_it_cannot_be_set_aside(void **state)
{
	struct post *post = *state;
	const struct disk_ops *all = post->fake.disk.ops;
	struct disk_ops ops = *all;
	struct err err = { 0 };
	struct buf got;
	bool clean;

	buf_init(&got, 0);
	assert_true(spool_state_save(post->spool, SPAN("precious")));
	hand_settle(&post->hand);
	fake_spoil(&post->fake, "state", 0);
	ops.rename = rename_not;
	post->fake.disk.ops = &ops;
	assert_false(spool_state_load(post->spool, &got, &clean, &err));
	assert_string_equal(err.text, "not renamed");
	assert_false(spool_state_lost(post->spool));
	post->fake.disk.ops = all;
	buf_fini(&got);
}

static struct disk_file *
open_not(struct disk *disk, const char *name, bool create, struct err *err)
{
	errno = EIO;
	err_sys(err, "not opened");
	return NULL;
}

static void
sets_a_file_aside_that_cannot_even_be_opened(void **state)
{
	struct post *post = *state;
	const struct disk_ops *all = post->fake.disk.ops;
	struct disk_ops ops = *all;

	assert_true(spool_state_save(post->spool, SPAN("precious")));
	hand_settle(&post->hand);
	ops.open = open_not;
	post->fake.disk.ops = &ops;
	expect_state(post, "", false);
	post->fake.disk.ops = all;
	assert_true(spool_state_lost(post->spool));
	assert_non_null(fake_file(&post->fake, "state.damaged"));
}

static void
saves_again_what_the_disk_did_not_take(void **state)
{
	struct post *post = *state;

	assert_true(spool_state_save(post->spool, SPAN("old")));
	hand_settle(&post->hand);
	post->fake.fail_permille = 1000;
	spool_state_save_now(post->spool, SPAN("paused by hand"));
	hand_settle(&post->hand);
	assert_false(spool_state_save(post->spool, SPAN("newer")));
	hand_pass(&post->hand, 1100 * US_PER_MS);
	hand_settle(&post->hand);
	post->fake.fail_permille = 0;
	hand_settle(&post->hand);
	expect_state(post, "old", false);
	hand_pass(&post->hand, 1100 * US_PER_MS);
	hand_settle(&post->hand);
	assert_true(spool_state_save(post->spool, SPAN("paused by hand")));
	post_power_cut(post);
	post_open(post);
	expect_state(post, "paused by hand", false);
}

static void
saves_at_the_end_what_waits_for_its_next_try(void **state)
{
	struct post *post = *state;

	post->fake.fail_permille = 1000;
	spool_state_save_now(post->spool, SPAN("older"));
	post->fake.fail_permille = 0;
	spool_state_last(post->spool, SPAN("last words"));
	post_close(post);
	post_open(post);
	expect_state(post, "last words", true);
}

/* A start that refuses, for its policy, opens and closes the spool and writes no state. */
static void
does_not_vouch_for_a_state_that_a_crash_left(void **state)
{
	struct post *post = *state;

	assert_true(spool_state_save(post->spool, SPAN("one")));
	hand_settle(&post->hand);
	post_power_cut(post);
	post_open(post);
	post_close(post);
	post_open(post);
	expect_state(post, "one", false);
	assert_true(spool_state_save(post->spool, SPAN("two")));
	post_close(post);
	post_open(post);
	expect_state(post, "two", true);
}

static void
knows_that_a_crash_came_before_the_first_one_was_saved(void **state)
{
	struct post *post = *state;

	assert_false(spool_state_lost(post->spool));
	post_power_cut(post);
	post_open(post);
	/* A start that refuses and closes does not make it forgotten. */
	for (unsigned i = 0; i < 2; i++) {
		expect_state(post, "", false);
		assert_true(spool_state_lost(post->spool));
		post_close(post);
		post_open(post);
	}
	assert_true(spool_state_save(post->spool, SPAN("first")));
	post_close(post);
	post_open(post);
	expect_state(post, "first", true);
}

static void
sets_no_marker_when_the_end_was_not_written(void **state)
{
	struct post *post = *state;

	post_send(post, 10);
	post->fake.fail_permille = 1000;
	post_close(post);
	post->fake.fail_permille = 0;
	post_open(post);
	expect_state(post, "", false);
}

/* Its bytes are not looked at: there are none. */
static void
refuses_a_state_that_is_too_large_and_then_does_not_promise_a_clean_end(void **state)
{
	const struct span huge = { "", (size_t)256 * 1024 * 1024 + 1 };
	struct post *post = *state;

	assert_true(spool_state_save(post->spool, SPAN("good")));
	hand_settle(&post->hand);
	assert_false(spool_state_save(post->spool, huge));
	spool_state_save_now(post->spool, huge);
	spool_state_last(post->spool, huge);
	expect_state(post, "good", false);
	post_close(post);
	post_open(post);
	expect_state(post, "good", false);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, post_set_up, post_tear_down)
	const struct CMUnitTest tests[] = {
		TEST(is_empty_at_first),
		TEST(loads_what_was_saved_and_knows_how_the_node_ended),
		TEST(saves_at_the_end_what_was_still_under_way),
		TEST(is_the_old_or_the_new_one_whenever_the_power_goes),
		TEST(sets_a_damaged_file_aside_and_begins_anew),
		TEST(sets_a_file_aside_that_the_disk_cannot_read),
		TEST(sets_a_file_aside_that_cannot_even_be_opened),
		TEST(does_not_go_on_when_it_cannot_be_set_aside),
		TEST(saves_again_what_the_disk_did_not_take),
		TEST(saves_at_the_end_what_waits_for_its_next_try),
		TEST(does_not_vouch_for_a_state_that_a_crash_left),
		TEST(knows_that_a_crash_came_before_the_first_one_was_saved),
		TEST(sets_no_marker_when_the_end_was_not_written),
		TEST(refuses_a_state_that_is_too_large_and_then_does_not_promise_a_clean_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
