/*
 * What a start makes of a spool whose files are damaged: it goes on with all that can be
 * read, says where and what it could not, and deletes none of it.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>

#include "spool/spool_box_fixture.h"

static void
takes_what_stands_around_a_damaged_record_and_sets_the_file_aside(void **state)
{
	struct box box;
	struct fake_inode *file;
	char *before;
	size_t n;

	box_init(&box, 100);
	file = fake_file(&box.post->fake, box.seg);
	file->now[box.at[1] + 60] ^= 1;
	n = file->now_n;
	before = mem_alloc(n);
	memcpy(before, file->now, n);
	post_open(box.post);
	assert_back(&box, "024");
	assert_said(&box, "error spool: %s is damaged at byte %u, up to byte %u: 1 message that stood there cannot be read",
		    box.seg, (unsigned)box.at[1], (unsigned)box.at[2]);
	assert_said(&box, "spool: damaged in 1 places, at least 1 messages that were accepted cannot be read");
	post_rest(box.post);
	assert_null(fake_file(&box.post->fake, box.seg));
	file = fake_file(&box.post->fake, box.seg_aside);
	assert_non_null(file);
	assert_non_null(fake_file(&box.post->fake, box.jnl_aside));
	assert_int_equal(file->now_n, n);
	assert_memory_equal(file->now, before, n);
	assert_said(&box, "it is set aside as %s", box.seg_aside);

	buf_clear(&box.post->lines);
	post_power_cut(box.post);
	post_open(box.post);
	assert_back(&box, "024");
	assert_false(said(&box, "damaged"));
	assert_int_equal(fake_file(&box.post->fake, box.seg_aside)->now_n, n);
	free(before);
	box_fini(&box);
}

/* A file system that was mended without it, or a hand that slipped. */
static void
tells_a_segment_that_is_missing_and_keeps_its_journal(void **state)
{
	struct box box;

	box_init(&box, 100);
	box.post->fake.disk.ops->remove(&box.post->fake.disk, box.seg, NULL);
	post_open(box.post);
	assert_back(&box, "");
	assert_said(&box, "error spool: %s is missing: what still waited in its %u bytes is lost; its journal is set aside",
		    box.seg, (unsigned)box.at[SENT]);
	assert_said(&box, "spool: damaged in 1 places");
	post_rest(box.post);
	assert_non_null(fake_file(&box.post->fake, box.jnl_aside));
	assert_false(said(&box, "nothing of the damaged"));

	buf_clear(&box.post->lines);
	post_power_cut(box.post);
	post_open(box.post);
	assert_int_equal(box.post->spool->core->damages, 0);
	assert_non_null(fake_file(&box.post->fake, box.jnl_aside));
	box_fini(&box);
}

/* Beside what is being removed a journal that promises something is of that. */
static void
tells_the_rest_of_a_removal_from_a_loss(void **state)
{
	struct box box;
	struct fake_disk *fake;

	box_init(&box, 100);
	fake = &box.post->fake;
	fake->disk.ops->rename(&fake->disk, box.seg, SPOOL_REMOVED, NULL);
	fake_file_put(fake, "00000000000000ff.jnl", SPAN("never promised anything"));
	post_open(box.post);
	assert_int_equal(box.post->spool->core->damages, 0);
	assert_null(fake_file(fake, box.jnl));
	assert_null(fake_file(fake, "00000000000000ff.jnl"));
	assert_null(fake_file(fake, SPOOL_REMOVED));
	post_power_cut(box.post);
	post_open(box.post);
	assert_int_equal(box.post->spool->core->damages, 0);
	box_fini(&box);
}

static void
goes_on_at_the_next_place_that_was_synced_when_a_header_is_gone(void **state)
{
	struct box box;

	box_init(&box, 100);
	memset(fake_file(&box.post->fake, box.seg)->now + box.at[1], 0, 32);
	post_open(box.post);
	assert_back(&box, "024");
	assert_said(&box, "%s is damaged at byte %u, up to byte %u: at least 0 messages that stood there cannot be read",
		    box.seg, (unsigned)box.at[1], (unsigned)box.at[2]);
	box_fini(&box);
}

static void
loses_only_the_record_in_which_a_bit_flipped(void **state)
{
	for (unsigned i = 0, record = 0; i < 2000; i++) {
		static const char *const without[SENT] = { "124", "024", "014", "0124", "012" };
		struct box box;

		box_init(&box, 20);
		if (i >= box.at[SENT]) {
			box_fini(&box);
			assert_int_equal(record, SENT);
			break;
		}
		if (record < SENT && i == box.at[record])
			record++;
		fake_file(&box.post->fake, box.seg)->now[i] ^= (char)(1u << i % 8);
		post_open(box.post);
		assert_back(&box, record ? without[record - 1] : "0124");
		post_rest(box.post);
		assert_non_null(fake_file(&box.post->fake, box.seg_aside));
		assert_null(fake_file(&box.post->fake, box.seg));
		box_fini(&box);
	}
}

static void
loses_nothing_when_a_bit_of_the_journal_flips_and_says_what_that_means(void **state)
{
	unsigned again = 0;

	for (unsigned i = 0; i < 2000; i++) {
		struct fake_inode *journal;
		struct box box;
		bool last;

		box_init(&box, 20);
		journal = fake_file(&box.post->fake, box.jnl);
		if (i >= box.jnl_end) {
			box_fini(&box);
			assert_true(i > 200);
			break;
		}
		journal->now[i] ^= (char)(1u << i % 8);
		/* The notes, two of them, are the last record: who can say that it was whole? */
		last = i >= box.jnl_end - SPOOL_RECORD_HEADER - 2 * 21;
		post_open(box.post);
		assert_back(&box, last ? "01234" : "0124");
		again += last;
		assert_said(&box, last ? "%s: cut a torn tail" : "%s is damaged at byte", box.jnl);
		if (!last)
			assert_true(said(&box, "some may get their mail again"));
		post_rest(box.post);
		if (!last)
			assert_non_null(fake_file(&box.post->fake, box.jnl_aside));
		box_fini(&box);
	}
	assert_int_equal(again, SPOOL_RECORD_HEADER + 2 * 21);
}

/* What a journal says of how far the segment is synced is not itself synced. */
static void
loses_no_more_to_a_flipped_bit_when_the_power_took_the_journals_tail(void **state)
{
	struct box box;

	box_init(&box, 20);
	fake_file(&box.post->fake, box.jnl)->now_n = SPOOL_RECORD_HEADER + 4;
	fake_file(&box.post->fake, box.seg)->now[box.at[1] + 40] ^= 1;
	post_open(box.post);
	assert_back(&box, "0234");
	assert_said(&box, "%s is damaged at byte %u, up to byte %u: 1 message", box.seg, (unsigned)box.at[1], (unsigned)box.at[2]);
	box_fini(&box);
}

static void
knows_that_a_journal_is_damaged_when_the_node_had_closed_in_order(void **state)
{
	struct box box;
	struct fake_inode *journal;

	box_init(&box, 20);
	post_open(box.post);
	assert_true(spool_state_save(box.post->spool, SPAN("state")));
	assert_true(post_settle(box.post, &box.post->letters[0], 0, SPOOL_DELIVERED) ||
		    post_settle(box.post, &box.post->letters[0], 1, SPOOL_DELIVERED));
	post_close(box.post);
	journal = fake_file(&box.post->fake, box.jnl);
	journal->now[journal->now_n - 1] ^= 1;
	buf_clear(&box.post->lines);
	post_open(box.post);
	assert_back(&box, "0124");
	assert_said(&box, "%s is damaged at byte", box.jnl);
	assert_false(said(&box, "torn"));
	box_fini(&box);
}

static void
takes_what_is_left_of_a_file_that_was_cut_short(void **state)
{
	static const char *const left[] = { "", "0", "01", "012", "012", "0124" };

	for (unsigned n = 0; n < 2000; n++) {
		unsigned whole = 0;
		struct box box;

		box_init(&box, 20);
		if (n >= box.at[SENT]) {
			box_fini(&box);
			break;
		}
		while (whole < SENT && box.at[whole + 1] <= n)
			whole++;
		fake_file(&box.post->fake, box.seg)->now_n = n;
		post_open(box.post);
		assert_back(&box, left[whole]);
		assert_said(&box, "%s is damaged at byte", box.seg);
		post_rest(box.post);
		assert_non_null(fake_file(&box.post->fake, box.seg_aside));
		box_fini(&box);
	}
}

static void
delivers_all_of_a_segment_again_when_its_journal_is_missing(void **state)
{
	struct box box;

	box_init(&box, 20);
	assert_true(fake_remove(&box.post->fake.disk, box.jnl, NULL));
	post_open(box.post);
	assert_back(&box, "01234");
	assert_said(&box, "error spool: %s is missing, so nobody knows what was delivered", box.jnl);
	post_rest(box.post);
	post_close(box.post);
	buf_clear(&box.post->lines);
	post_open(box.post);
	assert_back(&box, "01234");
	assert_false(said(&box, "missing"));
	box_fini(&box);
}

/* A body may hold bytes that are a record of their own place, sum and all. */
static void
takes_no_record_that_stands_in_the_text_of_a_mail(void **state)
{
	struct box box;
	struct spool_message_parts parts = { .id = 77, .rcpts_n = 1 };
	struct spool_fresh *forged;
	struct fake_inode *file;
	uint64_t number;

	box_init(&box, 200);
	file = fake_file(&box.post->fake, box.seg);
	assert_int_equal(sscanf(box.seg, "%" SCNx64, &number), 1);
	forged = spool_record_message(&parts, NULL, NULL);
	spool_fresh_seal(forged, number, box.at[1] + 80);
	memcpy(file->now + box.at[1] + 80, forged->p, forged->n);
	memset(file->now + box.at[1], 0, SPOOL_RECORD_HEADER);
	post_open(box.post);
	assert_back(&box, "024");
	spool_fresh_unref(forged);
	box_fini(&box);
}

static void
gives_no_id_again_that_damage_made_unreadable(void **state)
{
	struct box box;
	struct fake_inode *file;
	uint64_t last;

	box_init(&box, 20);
	last = box.post->letters[SENT - 1].message.id;
	file = fake_file(&box.post->fake, box.seg);
	memset(file->now, 0, file->now_n);
	post_open(box.post);
	assert_back(&box, "");
	assert_true(spool_next_id(box.post->spool) > last);
	box_fini(&box);
}

/* A number that was given again would lead to a file of that name being replaced. */
static void
gives_no_number_again_that_was_set_aside(void **state)
{
	struct box box;

	box_init(&box, 20);
	fake_file_put(&box.post->fake, "00000000000000ff.seg.damaged", SPAN("precious"));
	fake_file_put(&box.post->fake, "00000000000000ff.jnl", SPAN("precious"));
	post_open(box.post);
	assert_true(box.post->spool->core->active->number > 0xff);
	assert_non_null(fake_file(&box.post->fake, "00000000000000ff.jnl.damaged"));
	box_fini(&box);
}

/* Whatever fails, or wherever the power goes, on the way to setting it aside. */
static void
is_set_aside_in_the_end_whatever_fails_on_the_way(void **state)
{
	for (unsigned n = 1, quiet = 0; quiet < 10; n++) {
		bool cut = n % 2;
		struct err err = { 0 };
		struct fake_inode *file;
		struct box box;

		box_init(&box, 20);
		prng_seed(&box.post->fake.prng, n);
		file = fake_file(&box.post->fake, box.seg);
		file->now[box.at[1] + 40] ^= 1;
		file->safe[box.at[1] + 40] ^= 1;
		if (cut)
			box.post->fake.cut_at = box.post->fake.calls + n / 2 + 1;
		else
			box.post->fake.fail_at = box.post->fake.calls + n / 2;
		if (post_try_open(box.post, &err))
			post_rest(box.post);
		quiet = box.post->fake.calls >= (cut ? box.post->fake.cut_at : box.post->fake.fail_at) ? 0 : quiet + 1;
		if (cut) {
			post_power_cut(box.post);
		} else if (box.post->spool) {
			post_close(box.post);
		}
		fake_revive(&box.post->fake);
		post_open(box.post);
		assert_back(&box, "024");
		post_rest(box.post);
		assert_null(fake_file(&box.post->fake, box.seg));
		assert_non_null(fake_file(&box.post->fake, box.seg_aside));
		assert_non_null(fake_file(&box.post->fake, box.jnl_aside));
		box_fini(&box);
	}
}

static void
keeps_a_message_whose_body_is_damaged_until_it_is_over(void **state)
{
	struct post *post = post_new();
	struct spool_reader reader;
	struct err err = { 0 };
	struct letter *letter;
	struct buf got;
	char name[SPOOL_NAME_MAX], aside[SPOOL_NAME_MAX];
	bool done = false;

	post_open(post);
	letter = post_sent(post, 600000);
	spool_segment_name(letter->message.segment, ".seg", name);
	spool_segment_name(letter->message.segment, ".seg.damaged", aside);
	post_kill(post);
	fake_file(&post->fake, name)->now[300000] ^= 1;
	post_open(post);
	assert_true(letter->back);
	post_rest(post);
	assert_non_null(fake_file(&post->fake, name));
	buf_init(&got, 0);
	assert_true(spool_read_open(post->spool, &letter->message, &reader, &err));
	while (!done && spool_read(&reader, 65536, &got, &done, &err))
		;
	assert_false(done);
	assert_int_equal(err.kind, ERR_PERM);
	spool_read_close(&reader);
	buf_fini(&got);
	post_deliver(post, letter);
	post_rest(post);
	assert_non_null(fake_file(&post->fake, aside));
	post_free(post);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_what_stands_around_a_damaged_record_and_sets_the_file_aside),
		cmocka_unit_test(goes_on_at_the_next_place_that_was_synced_when_a_header_is_gone),
		cmocka_unit_test(tells_a_segment_that_is_missing_and_keeps_its_journal),
		cmocka_unit_test(tells_the_rest_of_a_removal_from_a_loss),
		cmocka_unit_test(loses_only_the_record_in_which_a_bit_flipped),
		cmocka_unit_test(loses_nothing_when_a_bit_of_the_journal_flips_and_says_what_that_means),
		cmocka_unit_test(loses_no_more_to_a_flipped_bit_when_the_power_took_the_journals_tail),
		cmocka_unit_test(knows_that_a_journal_is_damaged_when_the_node_had_closed_in_order),
		cmocka_unit_test(takes_what_is_left_of_a_file_that_was_cut_short),
		cmocka_unit_test(delivers_all_of_a_segment_again_when_its_journal_is_missing),
		cmocka_unit_test(takes_no_record_that_stands_in_the_text_of_a_mail),
		cmocka_unit_test(gives_no_id_again_that_damage_made_unreadable),
		cmocka_unit_test(gives_no_number_again_that_was_set_aside),
		cmocka_unit_test(is_set_aside_in_the_end_whatever_fails_on_the_way),
		cmocka_unit_test(keeps_a_message_whose_body_is_damaged_until_it_is_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
