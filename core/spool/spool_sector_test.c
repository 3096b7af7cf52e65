/*
 * What a start makes of a disk that cannot read some of what it holds: it goes around
 * that, as around damage, and leaves the file to whoever can still read it.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/spool_box_fixture.h"

#define BODY 3000u

static bool
is_live(unsigned i)
{
	return i != 3;
}

/* The letters of which no byte stands in the sector; from and to: the records that it touches. */
static void
outside(const struct box *box, uint64_t sector, char want[SENT + 1], uint64_t *from, uint64_t *to)
{
	*from = sector < box->at[0] ? 0 : UINT64_MAX;
	*want = '\0';
	for (unsigned i = 0; i < SENT; i++) {
		if (box->at[i] < sector + FAKE_SECTOR && box->at[i + 1] > sector) {
			*from = *from < box->at[i] ? *from : box->at[i];
			*to = box->at[i + 1];
		} else if (is_live(i)) {
			snprintf(want + strlen(want), SENT + 1 - strlen(want), "%u", i);
		}
	}
	/* Behind the last record stand zeros, as far as they can be read. */
	if (sector + FAKE_SECTOR > box->at[SENT])
		*to = sector + FAKE_SECTOR;
}

static void
takes_what_stands_around_a_bad_sector_and_sets_the_file_aside(void **state)
{
	struct box box;
	uint64_t end = FAKE_SECTOR;

	for (uint64_t sector = 0; sector < end; sector += FAKE_SECTOR) {
		char want[SENT + 1];
		uint64_t from, size, to = 0;

		box_init(&box, BODY);
		end = box.at[SENT];
		size = fake_file(&box.post->fake, box.seg)->now_n;
		outside(&box, sector, want, &from, &to);
		fake_spoil(&box.post->fake, box.seg, sector);
		post_open(box.post);
		assert_back(&box, want);
		assert_said(&box, "error spool: %s is damaged at byte %u, up to byte %u: the disk cannot read it; ", box.seg,
			    (unsigned)from, (unsigned)to);
		post_rest(box.post);
		assert_null(fake_file(&box.post->fake, box.seg));
		assert_int_equal(fake_file(&box.post->fake, box.seg_aside)->now_n, size);
		assert_int_equal(fake_file(&box.post->fake, box.seg_aside)->bad_from, sector);
		assert_non_null(fake_file(&box.post->fake, box.jnl_aside));

		buf_clear(&box.post->lines);
		post_power_cut(box.post);
		post_open(box.post);
		assert_back(&box, want);
		assert_false(said(&box, "damaged"));
		box_fini(&box);
	}
	assert_true(end > 3 * FAKE_SECTOR);
}

/* Its bytes may be all that is left of a message that was accepted. */
static void
cuts_off_no_tail_that_it_cannot_read(void **state)
{
	struct box box;
	uint64_t size;

	box_init(&box, BODY);
	fake_file(&box.post->fake, box.jnl)->now_n = SPOOL_RECORD_HEADER + 4;
	size = fake_file(&box.post->fake, box.seg)->now_n;
	fake_spoil(&box.post->fake, box.seg, box.at[SENT] - 1);
	post_open(box.post);
	assert_back(&box, "012");       /* letter 3 stands in it, too */
	assert_false(said(&box, "torn"));
	post_rest(box.post);
	assert_int_equal(fake_file(&box.post->fake, box.seg_aside)->now_n, size);
	box_fini(&box);
}

/* Letter 3 is over in its first sector, letter 1 in its last. */
static void
long_journal(struct box *box)
{
	struct post *post = box->post;

	post_open(post);
	for (unsigned i = 0; i < 30; i++) {
		for (unsigned k = 0; k < 20; k++)
			assert_false(post_settle(post, &post->letters[0], 0, SPOOL_WAITING));
		spool_hurry(post->spool);
		hand_settle(&post->hand);
	}
	post_deliver(post, &post->letters[1]);
	spool_hurry(post->spool);
	hand_settle(&post->hand);
	post_kill(post);
	assert_true(fake_file(&post->fake, box->jnl)->now_n > 3 * FAKE_SECTOR);
	buf_clear(&post->lines);
}

static void
hears_what_a_journal_says_around_a_bad_sector(void **state)
{
	static const struct { unsigned sector; const char *back; } cases[] = { { 0, "0234" }, { 1, "024" }, { 2, "024" }, { 3, "0124" } };

	for (unsigned i = 0; i < countof(cases); i++) {
		struct box box;

		box_init(&box, 20);
		long_journal(&box);
		fake_spoil(&box.post->fake, box.jnl, cases[i].sector * FAKE_SECTOR);
		post_open(box.post);
		assert_back(&box, cases[i].back);
		assert_int_equal(box.post->letters[0].rcpts[0].attempts, cases[i].sector < 3 ? 600 : box.post->letters[0].rcpts[0].attempts);
		assert_said(&box, "error spool: %s is damaged at byte ", box.jnl);
		assert_said(&box, ": the disk cannot read it; what it said there of recipients is lost");
		assert_said(&box, "it is set aside as %s", box.jnl_aside);
		assert_int_equal(fake_file(&box.post->fake, box.jnl_aside)->bad_from, cases[i].sector * FAKE_SECTOR);
		assert_null(fake_file(&box.post->fake, box.seg_aside));
		box_fini(&box);
	}
}

/* Written on, it would fail where the bad sector is the one that its end stands in. */
static void
goes_on_in_a_new_journal(void **state)
{
	struct box box;

	box_init(&box, 20);
	fake_spoil(&box.post->fake, box.jnl, 0);
	post_open(box.post);
	assert_back(&box, "01234");
	post_deliver(box.post, &box.post->letters[2]);
	spool_hurry(box.post->spool);
	hand_settle(&box.post->hand);
	assert_false(spool_refuses(box.post->spool));
	buf_clear(&box.post->lines);
	post_power_cut(box.post);
	post_open(box.post);
	assert_back(&box, "0134");
	assert_false(said(&box, "damaged"));
	box_fini(&box);
}

/* What was set aside earlier is not replaced by the journal that goes with its damaged segment. */
static void
keeps_a_journal_and_later_the_one_that_took_its_place(void **state)
{
	char second[SPOOL_NAME_MAX + 2];
	struct box box;

	box_init(&box, BODY);
	fake_spoil(&box.post->fake, box.jnl, 0);
	fake_spoil(&box.post->fake, box.seg, FAKE_SECTOR);
	post_open(box.post);
	post_rest(box.post);
	snprintf(second, sizeof(second), "%s-2", box.jnl_aside);
	assert_int_equal(fake_file(&box.post->fake, box.jnl_aside)->bad_to, FAKE_SECTOR);
	assert_non_null(fake_file(&box.post->fake, second));
	assert_non_null(fake_file(&box.post->fake, box.seg_aside));
	box_fini(&box);
}

/* The new journal says to where the segment is synced as the damaged one did. */
static void
finds_the_same_again_when_it_is_killed_before_anything_was_copied_out(void **state)
{
	struct box box;

	box_init(&box, 20);
	fake_file(&box.post->fake, box.jnl)->now[SPOOL_RECORD_HEADER + 8] ^= 1;
	memset(fake_file(&box.post->fake, box.seg)->now + box.at[1], 0, SPOOL_RECORD_HEADER);
	for (unsigned i = 0; i < 2; i++) {
		post_open(box.post);
		assert_back(&box, "024");
		assert_int_equal(said(&box, "it is set aside"), i == 0);
		post_kill(box.post);
		buf_clear(&box.post->lines);
	}
	box_fini(&box);
}

static void
does_not_cut_off_later_what_a_damaged_journal_made_it_keep(void **state)
{
	struct box box;
	uint64_t size;

	box_init(&box, 20);
	size = fake_file(&box.post->fake, box.seg)->now_n;
	fake_file(&box.post->fake, box.seg)->now[box.at[SENT] - 1] ^= 1;
	fake_spoil(&box.post->fake, box.jnl, 0);
	for (unsigned i = 0; i < 2; i++) {
		post_open(box.post);
		assert_back(&box, "0123");
		assert_int_equal(fake_file(&box.post->fake, box.seg)->now_n, size);
		post_kill(box.post);
	}
	box_fini(&box);
}

/* Whatever fails, or wherever the power goes, no end is forgotten that could be read. */
static void
forgets_nothing_whatever_fails_while_the_journal_is_written_anew(void **state)
{
	for (unsigned n = 1, quiet = 0; quiet < 10; n++) {
		bool cut = n % 2;
		struct box box;

		box_init(&box, 20);
		long_journal(&box);
		prng_seed(&box.post->fake.prng, n);
		fake_spoil(&box.post->fake, box.jnl, FAKE_SECTOR);
		if (cut)
			box.post->fake.cut_at = box.post->fake.calls + n / 2 + 1;
		else
			box.post->fake.fail_at = box.post->fake.calls + n / 2;
		if (post_try_open(box.post, NULL))
			post_rest(box.post);
		quiet = box.post->fake.calls >= (cut ? box.post->fake.cut_at : box.post->fake.fail_at) ? 0 : quiet + 1;
		if (cut)
			post_power_cut(box.post);
		else if (box.post->spool)
			post_close(box.post);
		fake_revive(&box.post->fake);
		post_open(box.post);
		assert_back(&box, "024");
		assert_false(said(&box, "missing"));
		assert_int_equal(fake_file(&box.post->fake, box.jnl_aside)->bad_from, FAKE_SECTOR);
		box_fini(&box);
	}
}

static void
reads_again_what_failed_once(void **state)
{
	unsigned survived = 0, quiet = 0;

	for (unsigned n = 1; quiet < 5; n++) {
		struct box box;
		bool open;

		box_init(&box, BODY);
		box.post->fake.fail_at = box.post->fake.calls + n;
		open = post_try_open(box.post, NULL);
		quiet += box.post->fake.calls < box.post->fake.fail_at;
		fake_revive(&box.post->fake);
		if (open) {
			assert_back(&box, "0124");
			assert_false(said(&box, "damaged"));
			survived++;
		}
		box_fini(&box);
	}
	assert_true(survived > 3);
}

static const char *closed;              /* the file that cannot be opened */
static unsigned opens;                  /* that it still allows */
static struct disk_ops ops_before;

static struct disk_file *
open_but_one(struct disk *disk, const char *name, bool create, struct err *err)
{
	bool is_it = strcmp(name, closed) == 0;

	if (!is_it || opens > 0) {
		opens -= is_it;
		return ops_before.open(disk, name, create, err);
	}
	errno = EIO;
	err_sys(err, "spool: cannot open %s", name);
	return NULL;
}

static void
starts_when_a_file_cannot_even_be_opened(void **state)
{
	for (unsigned i = 0; i < 2; i++) {
		struct disk_ops ops;
		struct box box;

		box_init(&box, 20);
		closed = i ? box.jnl : box.seg;
		opens = 0;
		ops = ops_before = *box.post->fake.disk.ops;
		ops.open = open_but_one;
		box.post->fake.disk.ops = &ops;
		post_open(box.post);
		closed = "";
		assert_back(&box, i ? "01234" : "");
		assert_said(&box, "error spool: %s cannot be opened", i ? box.jnl : box.seg);
		post_rest(box.post);
		assert_non_null(fake_file(&box.post->fake, i ? box.jnl_aside : box.seg_aside));
		box_fini(&box);
	}
}

/* Its records were read, and when their envelopes are asked for it is not there any more. */
static void
starts_when_a_file_can_be_opened_only_once(void **state)
{
	struct disk_ops ops;
	struct box box;

	box_init(&box, 20);
	closed = box.seg;
	opens = 1;
	ops = ops_before = *box.post->fake.disk.ops;
	ops.open = open_but_one;
	box.post->fake.disk.ops = &ops;
	post_open(box.post);
	closed = "";
	assert_back(&box, "");
	assert_said(&box, "error spool: %s cannot be opened", box.seg);
	assert_said(&box, "damaged in 1 places, at least 4 messages that were accepted cannot be read");
	post_rest(box.post);
	assert_non_null(fake_file(&box.post->fake, box.seg_aside));
	box_fini(&box);
}

/* A disk that takes seconds to find out that it cannot read would hold up everybody's commits. */
static void
does_not_go_on_reading_a_body_that_cannot_be_read(void **state)
{
	struct post *post = post_new();
	char name[SPOOL_NAME_MAX], aside[SPOOL_NAME_MAX];
	struct letter *letter;
	uint64_t calls;

	post_open(post);
	letter = post_sent(post, 600000);
	spool_segment_name(letter->message.segment, ".seg", name);
	spool_segment_name(letter->message.segment, ".seg.damaged", aside);
	post_kill(post);
	fake_spoil(&post->fake, name, 300000);
	post_open(post);
	assert_true(letter->back);
	post_rest(post);
	calls = post->fake.calls;
	post_rest(post);
	assert_int_equal(post->fake.calls, calls);
	post_deliver(post, letter);
	post_rest(post);
	assert_null(fake_file(&post->fake, name));
	assert_non_null(fake_file(&post->fake, aside));
	post_free(post);
}

static void
sets_aside_a_message_that_nobody_can_make_sense_of(void **state)
{
	struct box box;
	uint64_t id;

	box_init(&box, 20);
	id = box.post->letters[1].message.id;
	box.post->letters[1].message.id = UINT64_MAX;
	post_open(box.post);
	assert_back(&box, "024");
	assert_said(&box, "error spool: %s is damaged at byte %u, up to byte %u: its sum is right, but what was kept there of a message "
		    "makes no sense; 1 message that stood there cannot be read", box.seg, (unsigned)box.at[1], (unsigned)box.at[2]);
	assert_said(&box, "spool: damaged in 1 places, at least 1 messages that were accepted cannot be read");
	post_rest(box.post);
	assert_null(fake_file(&box.post->fake, box.seg));
	assert_non_null(fake_file(&box.post->fake, box.seg_aside));
	/* A version that knows what it means finds it again, its states too. */
	assert_true(fake_rename(&box.post->fake.disk, box.seg_aside, box.seg, NULL));
	assert_true(fake_rename(&box.post->fake.disk, box.jnl_aside, box.jnl, NULL));
	box.post->letters[1].message.id = id;
	post_close(box.post);
	post_open(box.post);
	assert_back(&box, "0124");
	box_fini(&box);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_what_stands_around_a_bad_sector_and_sets_the_file_aside),
		cmocka_unit_test(cuts_off_no_tail_that_it_cannot_read),
		cmocka_unit_test(hears_what_a_journal_says_around_a_bad_sector),
		cmocka_unit_test(goes_on_in_a_new_journal),
		cmocka_unit_test(keeps_a_journal_and_later_the_one_that_took_its_place),
		cmocka_unit_test(finds_the_same_again_when_it_is_killed_before_anything_was_copied_out),
		cmocka_unit_test(does_not_cut_off_later_what_a_damaged_journal_made_it_keep),
		cmocka_unit_test(forgets_nothing_whatever_fails_while_the_journal_is_written_anew),
		cmocka_unit_test(reads_again_what_failed_once),
		cmocka_unit_test(starts_when_a_file_cannot_even_be_opened),
		cmocka_unit_test(starts_when_a_file_can_be_opened_only_once),
		cmocka_unit_test(does_not_go_on_reading_a_body_that_cannot_be_read),
		cmocka_unit_test(sets_aside_a_message_that_nobody_can_make_sense_of),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
