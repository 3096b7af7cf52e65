/*
 * A power cut tears what a sync was to make durable, anywhere: nothing of it was promised, so it is no damage.
 * What is lost of what was promised stays damage.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>

#include "spool/spool_box_fixture.h"
#include "spool/spool_look.h"

/* Two letters that were told, then one batch, of which nobody was. */
struct torn {
	struct post *post;
	struct spool_segment *segment;
	char seg[SPOOL_NAME_MAX], jnl[SPOOL_NAME_MAX];
	struct fake_inode *file, *journal;
	uint64_t from, to;              /* of the batch */
};

#define TOLD 2u
#define BATCH 4u

/* later: another batch was durable after it. */
static void
torn_init(struct torn *it, bool later)
{
	struct post *post = post_new();
	uint64_t journal_end;

	*it = (struct torn){ .post = post };
	post_open(post);
	hand_settle(&post->hand);
	for (unsigned i = 0; i < TOLD; i++)
		post_sent(post, 300);
	it->segment = post->letters[0].message.segment;
	spool_segment_name(it->segment, ".seg", it->seg);
	spool_segment_name(it->segment, ".jnl", it->jnl);
	it->file = fake_file(&post->fake, it->seg);
	it->journal = fake_file(&post->fake, it->jnl);
	journal_end = it->segment->journal_end;
	it->from = it->segment->written;
	post_send(post, 10);                    /* takes the worker, */
	for (unsigned i = 1; i < BATCH; i++)
		post_send(post, 500 + 100 * i);  /* so these are one batch */
	hand_work(&post->hand);
	hand_tell(&post->hand);
	it->from = it->segment->written;
	it->to = it->segment->end;
	hand_work(&post->hand);
	if (later) {
		hand_settle(&post->hand);
		post_sent(post, 100);
	}
	post_kill(post);
	/* What the journal says of it was not synced, and did not get there. */
	memset(it->journal->now + journal_end, 0, it->journal->now_n - journal_end);
	buf_clear(&post->lines);
}

static void
torn_fini(struct torn *it)
{
	post_free(it->post);
}

static void
on_finding(void *ctx, const struct spool_finding *finding)
{
	assert_false(finding->damage);
}

static struct spool_message *
on_seen(void *ctx, const struct spool_recovered *recovered)
{
	static struct spool_message nobody;

	return recovered ? &nobody : NULL;
}

static void
assert_no_damage_seen(struct post *post)
{
	struct spool_look_options options = { .on_finding = on_finding };
	struct spool_owner owner = { .on_recovered = on_seen };
	struct spool_counts counts;
	struct spool *seen = spool_look(&post->fake.disk, &options, &owner, &counts, NULL);

	assert_non_null(seen);
	spool_look_end(seen);
}

static bool
is_said(const struct torn *it, const char *text)
{
	return span_find_text(buf_span(&it->post->lines), span_text(text)) != SIZE_MAX;
}

/* Of the sectors that the batch touches those are as they were: zeros. */
static void
lose_sectors(struct torn *it, unsigned lost)
{
	uint64_t at = it->from;

	for (unsigned i = 0; at < it->to; i++) {
		uint64_t end = at - at % FAKE_BLOCK + FAKE_BLOCK;

		end = end < it->to ? end : it->to;
		if (lost & 1u << i)
			memset(it->file->now + at, 0, end - at);
		at = end;
	}
}

static void
cuts_off_a_batch_whichever_sectors_of_it_are_missing(void **state)
{
	unsigned cases = 0, cut = 0;

	for (unsigned lost = 1, all = 2; lost < all; lost++) {
		struct torn it;

		torn_init(&it, false);
		all = 1u << ((it.to - 1) / FAKE_BLOCK - it.from / FAKE_BLOCK + 1);
		lose_sectors(&it, lost);
		assert_no_damage_seen(it.post);
		post_open(it.post);
		assert_true(it.post->letters[0].back && it.post->letters[1].back && it.post->letters[TOLD].back);
		post_check_read(it.post, &it.post->letters[1], 50);
		assert_false(is_said(&it, "damaged"));
		cut += is_said(&it, "info spool: ") && is_said(&it, "cut a torn tail");
		/* What it left must hold at the next start, too. */
		post_rest(it.post);
		post_kill(it.post);
		post_open(it.post);
		assert_true(it.post->letters[1].back && it.post->letters[TOLD].back);
		assert_false(is_said(&it, "damaged"));
		torn_fini(&it);
		cases++;
	}
	assert_true(cases >= 15);
	assert_true(cut >= cases - 1);          /* of one nothing is left */
}

/* A later batch says that this one was durable: those who sent it were told. */
static void
calls_it_damage_when_a_later_batch_stands_behind(void **state)
{
	unsigned damaged = 0;

	for (unsigned lost = 1; lost < 32; lost++) {
		struct torn it;
		const struct letter *last;

		torn_init(&it, true);
		last = &it.post->letters[it.post->letters_n - 1];
		lose_sectors(&it, lost);
		post_open(it.post);
		/* A header that is gone hides what is behind it. */
		assert_true(is_said(&it, "is damaged at byte") || !last->back);
		damaged += last->back;
		torn_fini(&it);
	}
	assert_true(damaged > 0);
}

/* It was synced, and one bit of it flipped later: the others are not to go with it. */
static void
keeps_what_stands_behind_a_flipped_bit(void **state)
{
	struct torn it;

	torn_init(&it, false);
	it.file->now[it.from + 200] ^= 1;
	post_open(it.post);
	assert_true(is_said(&it, "is damaged at byte"));
	assert_false(it.post->letters[TOLD + 1].back);
	for (unsigned i = TOLD + 2; i < TOLD + BATCH; i++)
		assert_true(it.post->letters[i].back);
	torn_fini(&it);
}

/* ---- journals ---- */

/* The journal's sector that begins there was not written. */
static void
journal_torn(struct torn *it, bool later, uint64_t *lost_at)
{
	struct post *post = post_new();
	uint64_t synced;

	*it = (struct torn){ .post = post };
	post_open(post);
	hand_settle(&post->hand);
	post_deliver(post, post_sent(post, 10));
	spool_hurry(post->spool);
	hand_settle(&post->hand);
	it->segment = post->spool->core->active;
	spool_segment_name(it->segment, ".jnl", it->jnl);
	it->journal = fake_file(&post->fake, it->jnl);
	synced = it->segment->journal_synced;
	for (unsigned i = 0; i < 30; i++)
		post_sent(post, 10);    /* each says how far the segment is synced, and no sync is made for that */
	assert_int_equal(it->segment->journal_synced, synced);
	if (later) {
		post_settle(post, &post->letters[1], 0, SPOOL_DELIVERED);
		spool_hurry(post->spool);
		hand_settle(&post->hand);
		post_settle(post, &post->letters[2], 0, SPOOL_DELIVERED);
		spool_hurry(post->spool);
		hand_settle(&post->hand);
	}
	it->from = synced;
	*lost_at = synced - synced % FAKE_BLOCK + FAKE_BLOCK;
	assert_true(it->segment->journal_end > *lost_at + FAKE_BLOCK);
	post_kill(post);
	memset(it->journal->now + *lost_at, 0, FAKE_BLOCK);
	buf_clear(&post->lines);
}

static void
cuts_off_the_tail_of_a_journal_whichever_sector_is_missing(void **state)
{
	struct torn it;
	uint64_t at;

	journal_torn(&it, false, &at);
	assert_no_damage_seen(it.post);
	post_open(it.post);
	assert_int_equal(it.post->recovered, 30);
	assert_false(is_said(&it, "damaged"));
	assert_true(is_said(&it, "info spool: "));
	assert_true(it.journal->now_n <= at);
	torn_fini(&it);
}

static void
calls_a_journal_damaged_when_something_of_a_later_sync_stands_behind(void **state)
{
	struct torn it;
	uint64_t at;

	journal_torn(&it, true, &at);
	post_open(it.post);
	assert_int_equal(it.post->recovered, 30);
	assert_true(is_said(&it, "is damaged at byte"));
	assert_int_equal(it.post->letters[2].rcpts[0].outcome, SPOOL_DELIVERED);
	torn_fini(&it);
}

/* Each note waited for a sync of its own; of the last sync nothing is missing. */
static void
calls_a_journal_damaged_when_several_syncs_of_it_are_missing(void **state)
{
	struct torn it = { .post = post_new() };
	struct post *post = it.post;
	uint64_t at = 0;

	post_open(post);
	hand_settle(&post->hand);
	post_sent(post, 10);
	it.segment = post->spool->core->active;
	spool_segment_name(it.segment, ".jnl", it.jnl);
	it.journal = fake_file(&post->fake, it.jnl);
	/* The sector takes along the header of the first record that it touches. */
	while (at == 0 || it.segment->journal_end <= at + FAKE_BLOCK) {
		uint64_t left = FAKE_BLOCK - it.segment->journal_end % FAKE_BLOCK;

		if (at == 0 && left <= 8)
			at = it.segment->journal_end + left;
		post_settle(post, &post->letters[0], 0, SPOOL_WAITING);
		spool_hurry(post->spool);
		hand_settle(&post->hand);
	}
	post_settle(post, &post->letters[0], 0, SPOOL_DELIVERED);
	spool_hurry(post->spool);
	hand_settle(&post->hand);
	post_kill(post);
	memset(it.journal->now + at, 0, FAKE_BLOCK);
	buf_clear(&post->lines);
	post_open(post);
	assert_true(is_said(&it, "is damaged at byte"));
	assert_int_equal(post->letters[0].rcpts[0].outcome, SPOOL_DELIVERED);
	torn_fini(&it);
}

/* What was cut counts no round: the next tear is told from damage as the first was. */
static void
cuts_off_the_tail_of_a_journal_that_was_cut_before(void **state)
{
	struct torn it;
	struct post *post;
	uint64_t at;

	journal_torn(&it, false, &at);
	post = it.post;
	memset(it.journal->now + it.from, 0, at - it.from);
	post_open(post);
	hand_settle(&post->hand);
	assert_true(is_said(&it, "cut a torn tail"));
	assert_int_equal(post->letters[1].message.segment->journal_end, it.from);
	for (unsigned i = 0; i <= SPOOL_NOTES_MAX; i++)         /* two records */
		post_settle(post, &post->letters[1], 0, SPOOL_WAITING);
	spool_hurry(post->spool);
	hand_settle(&post->hand);
	post_kill(post);
	memset(it.journal->now + it.from, 0, at - it.from);
	buf_clear(&post->lines);
	post_open(post);
	assert_false(is_said(&it, "damaged"));
	assert_true(is_said(&it, "cut a torn tail"));
	torn_fini(&it);
}

/* A bit of what was durable flipped; that its record ends with zeros, in a sector that it shares with the next one, is
 * no sign of a tear: else it took with it what stands behind. */
static void
takes_the_end_of_a_record_for_no_lost_sector(void **state)
{
	struct torn it = { .post = post_new() };
	struct post *post = it.post;
	uint64_t at = 0, before = 0;

	post_open(post);
	hand_settle(&post->hand);
	for (unsigned i = 0; i < 120; i++)
		post_sent(post, 10);
	it.segment = post->spool->core->active;
	spool_segment_name(it.segment, ".jnl", it.jnl);
	it.journal = fake_file(&post->fake, it.jnl);
	/* A record that ends a few bytes behind where a sector begins. */
	for (uint64_t record = 36; at == 0; record += 40) {
		assert_true(record + 40 < it.segment->journal_end);
		before = (record + 40) % FAKE_BLOCK;
		at = before > 0 && before <= 5 ? record : 0;
	}
	post_kill(post);
	it.journal->now[at + SPOOL_RECORD_HEADER] ^= 1;
	buf_clear(&post->lines);
	post_open(post);
	assert_true(is_said(&it, "is damaged at byte"));
	torn_fini(&it);
}

/* ---- the format before, which knows no rounds ---- */

static void
make_old(struct fake_inode *inode, uint64_t number)
{
	uint64_t at = 0;

	while (at + SPOOL_RECORD_HEADER <= inode->now_n) {
		char *record = inode->now + at;
		uint32_t n;

		if (!spool_record_peek(record, number, at, &n))
			break;
		if (at == 0)
			record[SPOOL_RECORD_HEADER] = 1;
		spool_record_seal(record, n, (enum spool_record_kind)(unsigned char)record[4], 0, number, at);
		at += SPOOL_RECORD_HEADER + n;
	}
	memset(inode->dirty, 1, inode->cap / FAKE_BLOCK);
}

static void
reads_the_format_before_and_goes_on_in_it(void **state)
{
	for (unsigned hurt = 0; hurt < 2; hurt++) {
		struct torn it;
		uint64_t number;

		torn_init(&it, false);
		assert_int_equal(sscanf(it.seg, "%" SCNx64, &number), 1);
		make_old(it.file, number);
		make_old(it.journal, number);
		if (hurt)
			memset(it.file->now + it.from + 100, 0, FAKE_BLOCK - (it.from + 100) % FAKE_BLOCK);
		post_open(it.post);
		assert_int_equal(it.post->recovered, TOLD + BATCH - hurt);
		assert_int_equal(is_said(&it, "is damaged at byte"), hurt);
		post_deliver(it.post, &it.post->letters[1]);
		spool_hurry(it.post->spool);
		hand_settle(&it.post->hand);
		post_kill(it.post);
		if (!hurt) {
			buf_clear(&it.post->lines);
			make_old(it.journal, number);   /* nothing in it that the version before could not have written: */
			assert_memory_equal(it.journal->now, it.journal->safe, it.journal->safe_n);
		}
		post_open(it.post);
		assert_int_equal(it.post->recovered, TOLD + BATCH - hurt - 1);
		torn_fini(&it);
	}
}

static uint32_t
last_round(const struct fake_inode *journal, uint64_t number, uint64_t end)
{
	uint32_t round = 0, n;

	for (uint64_t at = 0; at < end; at += SPOOL_RECORD_HEADER + n) {
		assert_true(spool_record_peek(journal->now + at, number, at, &n));
		round = spool_record_round(journal->now + at);
	}
	return round;
}

/* One that was written anew is of this format, whatever its segment is of. A restart goes on counting. */
static void
counts_the_rounds_of_a_journal_beside_an_old_segment(void **state)
{
	struct torn it;
	uint64_t number, at;
	struct post *post;

	torn_init(&it, false);
	post = it.post;
	assert_int_equal(sscanf(it.seg, "%" SCNx64, &number), 1);
	make_old(it.file, number);
	post_open(post);
	hand_settle(&post->hand);
	for (unsigned i = 1; i < 3; i++) {
		at = post->letters[1].message.segment->journal_end;
		post_settle(post, &post->letters[1], 0, SPOOL_WAITING);
		spool_hurry(post->spool);
		hand_settle(&post->hand);
		assert_int_equal(spool_record_round(it.journal->now + at), last_round(it.journal, number, at) + 1);
	}
	torn_fini(&it);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cuts_off_a_batch_whichever_sectors_of_it_are_missing),
		cmocka_unit_test(calls_it_damage_when_a_later_batch_stands_behind),
		cmocka_unit_test(keeps_what_stands_behind_a_flipped_bit),
		cmocka_unit_test(cuts_off_the_tail_of_a_journal_whichever_sector_is_missing),
		cmocka_unit_test(calls_a_journal_damaged_when_something_of_a_later_sync_stands_behind),
		cmocka_unit_test(calls_a_journal_damaged_when_several_syncs_of_it_are_missing),
		cmocka_unit_test(cuts_off_the_tail_of_a_journal_that_was_cut_before),
		cmocka_unit_test(takes_the_end_of_a_record_for_no_lost_sector),
		cmocka_unit_test(reads_the_format_before_and_goes_on_in_it),
		cmocka_unit_test(counts_the_rounds_of_a_journal_beside_an_old_segment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
