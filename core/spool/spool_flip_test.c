/*
 * What was durable changes on the medium: bits flip, sectors are zeros. Wherever it is, nothing that was promised goes
 * without a word, but for what looks like a write that the power cut tore.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/spool_box_fixture.h"

#define ROUNDS 6u
#define IN_ROUND 3u
#define LETTERS_N (ROUNDS * IN_ROUND)
#define OVER 4u                         /* of them: the first two each in a sync of the journal's own, the others in one */

struct flip {
	struct post *post;
	char seg[SPOOL_NAME_MAX], jnl[SPOOL_NAME_MAX];
	struct fake_inode *file, *journal;
	uint64_t file_end, journal_end; /* of what is durable */
	uint64_t journal_last;          /* where the last sync's records begin */
};

static void
settle_now(struct flip *it, unsigned from, unsigned to)
{
	it->journal_last = it->post->spool->core->active->journal_synced;
	for (unsigned i = from; i < to; i++)
		post_deliver(it->post, &it->post->letters[i]);
	spool_hurry(it->post->spool);
	hand_settle(&it->post->hand);
}

static void
flip_init(struct flip *it, bool power)
{
	struct post *post = post_new();
	struct spool_segment *segment;

	*it = (struct flip){ .post = post };
	post_open(post);
	hand_settle(&post->hand);
	segment = post->spool->core->active;
	spool_segment_name(segment, ".seg", it->seg);
	spool_segment_name(segment, ".jnl", it->jnl);
	for (unsigned k = 0; k < ROUNDS; k++) {
		for (unsigned i = 0; i < IN_ROUND; i++)
			post_send(post, 200 + 150 * i);
		it->file = fake_file(&post->fake, it->seg);
		it->journal = fake_file(&post->fake, it->jnl);
		hand_settle(&post->hand);
		if (k < OVER - 2)
			settle_now(it, k, k + 1);
		else if (k == OVER - 2)
			settle_now(it, k, OVER);
	}
	it->file_end = segment->synced;
	it->journal_end = segment->journal_synced;
	post_kill(post);
	/* Of what no sync waited for nothing is there. */
	if (power) {
		memset(it->journal->now + it->journal_end, 0, it->journal->cap - it->journal_end);
		it->journal->now_n = it->journal_end;
	}
	buf_clear(&post->lines);
}

static uint32_t
round_at(const struct flip *it, unsigned letter)
{
	return spool_record_round(it->file->now + it->post->letters[letter].message.at);
}

/* The letter whose record that byte is in, or the start's. */
static unsigned
letter_at(const struct flip *it, uint64_t at)
{
	unsigned found = 0;

	for (unsigned i = 0; i < LETTERS_N; i++)
		if (it->post->letters[i].message.at <= at)
			found = i;
	return found;
}

struct loss {
	unsigned gone, again;           /* in silence */
};

static struct loss
what_is_lost(struct flip *it)
{
	struct loss loss = { 0 };
	struct post *post = it->post;
	bool told;

	post_open(post);
	told = post->spool->core->damages > 0;
	for (unsigned i = 0; i < LETTERS_N; i++) {
		if (post->letters[i].back)
			post_check_read(post, &post->letters[i], 100);
		loss.gone += !told && i >= OVER && !post->letters[i].back;
		loss.again += !told && i < OVER && post->letters[i].back;
	}
	/* And what it made of it holds. */
	post_rest(post);
	post_kill(post);
	post_open(post);
	for (unsigned i = 0; !told && i < LETTERS_N; i++)
		assert_true(post->letters[i].back || i < OVER || loss.gone);
	return loss;
}

static void
hurt(struct fake_inode *inode, uint64_t at, uint64_t zeros, unsigned bit)
{
	if (zeros)
		memset(inode->now + at - at % zeros, 0, zeros);
	else
		inode->now[at] = (char)(inode->now[at] ^ 1 << bit);
}

/* In silence goes only what could be a torn write: of the last two syncs a record's header, or a sector. */
static bool
may_go(const struct flip *it, uint64_t at, uint64_t zeros)
{
	unsigned letter = letter_at(it, zeros ? at - at % zeros : at);

	return round_at(it, letter) + 1 >= round_at(it, LETTERS_N - 1) &&
	       (zeros || at < it->post->letters[letter].message.at + SPOOL_RECORD_HEADER);
}

/* zeros: of a sector so large; 0: a bit. step: not at every byte. */
static void
hurt_segment(bool power, uint64_t zeros, uint64_t step)
{
	uint64_t end = 1;

	for (uint64_t at = 0; at < end; at += step) {
		struct loss loss;
		struct flip it;
		bool may;

		flip_init(&it, power);
		end = it.file_end;
		may = power && may_go(&it, at, zeros);
		hurt(it.file, at, zeros, (unsigned)(at / step % 8));
		loss = what_is_lost(&it);
		if (loss.gone && !may)
			fail_msg("%u letters gone without a word, with byte %llu", loss.gone, (unsigned long long)at);
		if (loss.again)
			fail_msg("%u letters come again, with a segment's byte %llu", loss.again, (unsigned long long)at);
		post_free(it.post);
	}
}

static void
hurt_journal(bool power, uint64_t zeros, uint64_t step)
{
	uint64_t end = 1;

	for (uint64_t at = 0; at < end; at += step) {
		struct loss loss;
		struct flip it;

		flip_init(&it, power);
		end = it.journal_end;
		hurt(it.journal, at, zeros, (unsigned)(at / step % 8));
		loss = what_is_lost(&it);
		if (loss.gone)
			fail_msg("%u letters gone, with a journal's byte %llu", loss.gone, (unsigned long long)at);
		if (loss.again && (zeros ? at - at % zeros + zeros : at) < it.journal_last)
			fail_msg("%u letters come again without a word, with byte %llu", loss.again, (unsigned long long)at);
		post_free(it.post);
	}
}

static void
names_a_bit_that_flipped(void **state)
{
	for (unsigned power = 0; power < 2; power++) {
		hurt_segment(power, 0, 3);
		hurt_journal(power, 0, 3);
	}
}

static void
names_a_sector_of_zeros(void **state)
{
	for (unsigned power = 0; power < 2; power++) {
		hurt_segment(power, FAKE_BLOCK, FAKE_BLOCK);
		hurt_journal(power, FAKE_BLOCK, FAKE_BLOCK);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_a_bit_that_flipped),
		cmocka_unit_test(names_a_sector_of_zeros),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
