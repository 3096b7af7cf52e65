/*
 * The format: what is written is read, and nothing else is taken for it.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "spool/spool_record.h"

static struct spool_fresh *
a_message(uint64_t number, uint64_t at)
{
	static const struct spool_rcpt_state states[2] = { { SPOOL_DELIVERED, 3, { 77 } }, { SPOOL_WAITING, 1, { -5 } } };
	static const struct spool_piece pieces[1] = { { 44, 1000 } };
	struct spool_message_parts parts = {
		.id = 9, .body_bytes = 1004, .rcpts_n = 2, .pieces_n = 1,
		.meta = SPAN("meta"), .head = SPAN("head\r\n"), .tail = SPAN("tail"),
	};
	struct spool_fresh *fresh = spool_record_message(&parts, states, pieces);

	spool_fresh_seal(fresh, number, at);
	return fresh;
}

static struct span
whole(const struct spool_fresh *fresh)
{
	return span_make(fresh->p, fresh->n);
}

static void
reads_the_message_that_it_wrote(void **state)
{
	struct spool_fresh *fresh = a_message(0x2a, 5000);
	struct spool_message_parts parts;
	struct spool_record record;

	assert_true(spool_record_parse(whole(fresh), 0x2a, 5000, &record));
	assert_int_equal(record.kind, SPOOL_MESSAGE);
	assert_true(spool_record_parts(record.payload, 5000, &parts));
	assert_int_equal(parts.id, 9);
	assert_int_equal(parts.body_bytes, 1004);
	assert_true(span_eq(parts.meta, SPAN("meta")));
	assert_true(span_eq(parts.head, SPAN("head\r\n")));
	assert_true(span_eq(parts.tail, SPAN("tail")));
	assert_int_equal(spool_parts_state(&parts, 0).outcome, SPOOL_DELIVERED);
	assert_int_equal(spool_parts_state(&parts, 0).attempts, 3);
	assert_int_equal(spool_parts_state(&parts, 1).due.ms, -5);
	assert_int_equal(spool_parts_piece(&parts, 0).at, 44);
	assert_int_equal(spool_parts_piece(&parts, 0).bytes, 1000);
	spool_fresh_unref(fresh);
}

/* A message of that tail; gathered NULL: copied from it. */
static struct spool_fresh *
a_tailed(struct span tail, struct spool_fresh *gathered)
{
	struct spool_message_parts parts = {
		.id = 9, .body_bytes = tail.n, .rcpts_n = 2, .meta = SPAN("meta"), .head = SPAN("head\r\n"), .tail = tail,
		.gathered = gathered,
	};

	return spool_record_message(&parts, NULL, NULL);
}

static struct spool_fresh *
gather(struct spool_fresh *fresh, struct span tail, size_t step)
{
	for (size_t at = 0; at < tail.n; at += step)
		fresh = spool_fresh_gather(fresh, span_first(span_from(tail, at), step < tail.n - at ? step : tail.n - at));
	return fresh;
}

static void
a_tail_that_is_gathered_bit_by_bit_becomes_the_same_message(void **state)
{
	static char text[SPOOL_PIECE_MAX];
	static const size_t steps[] = { 1, 7, 1000, 65536, sizeof text };
	struct spool_fresh *copied, *gathered;

	for (size_t i = 0; i < sizeof text; i++)
		text[i] = (char)('a' + i % 23);
	copied = a_tailed(span_make(text, sizeof text), NULL);
	spool_fresh_seal(copied, 1, 2);
	for (unsigned i = 0; i < countof(steps); i++) {
		gathered = a_tailed(span_make(text, sizeof text), gather(NULL, span_make(text, sizeof text), steps[i]));
		spool_fresh_seal(gathered, 1, 2);
		assert_true(span_eq(whole(gathered), whole(copied)));
		assert_true(gathered->cap <= gathered->n + 2048);
		spool_fresh_unref(gathered);
	}
	spool_fresh_unref(copied);
}

static void
a_small_message_does_not_keep_a_large_ones_memory(void **state)
{
	static char text[100000];
	struct spool_fresh *fresh = gather(NULL, span_make(text, sizeof text), 4096), *copied;

	assert_true(fresh->cap > sizeof text);
	spool_fresh_empty(fresh);
	fresh = a_tailed(SPAN("tail"), gather(fresh, SPAN("tail"), 4));
	copied = a_tailed(SPAN("tail"), NULL);
	assert_true(fresh->cap <= 2 * fresh->n + 2048);
	spool_fresh_seal(fresh, 1, 2);
	spool_fresh_seal(copied, 1, 2);
	assert_true(span_eq(whole(fresh), whole(copied)));
	spool_fresh_unref(fresh);
	spool_fresh_unref(copied);
}

static void
takes_no_record_of_another_place(void **state)
{
	struct spool_fresh *fresh = a_message(0x2a, 5000);
	struct spool_record record;

	assert_false(spool_record_parse(whole(fresh), 0x2b, 5000, &record));
	assert_false(spool_record_parse(whole(fresh), 0x2a, 5001, &record));
	assert_false(spool_record_parse(span_first(whole(fresh), fresh->n - 1), 0x2a, 5000, &record));
	spool_fresh_unref(fresh);
}

static void
notices_every_flipped_bit(void **state)
{
	struct spool_fresh *fresh = a_message(1, 5000);
	struct spool_record record;

	for (uint32_t bit = 0; bit < fresh->n * 8; bit++) {
		fresh->p[bit / 8] ^= (char)(1 << bit % 8);
		assert_false(spool_record_parse(whole(fresh), 1, 5000, &record));
		fresh->p[bit / 8] ^= (char)(1 << bit % 8);
	}
	assert_true(spool_record_parse(whole(fresh), 1, 5000, &record));
	spool_fresh_unref(fresh);
}

static void
refuses_lengths_that_do_not_fit(void **state)
{
	/* offset in the payload, bytes, value */
	static const struct { unsigned at, n; uint64_t value; } cases[] = {
		{ 0, 8, 0 },                    /* id */
		{ 0, 8, UINT64_MAX },
		{ 8, 8, 1003 },                 /* body bytes that pieces and tail do not make */
		{ 16, 2, 0 },                   /* recipients */
		{ 16, 2, 60000 },
		{ 18, 2, 3 },                   /* flags */
		{ 20, 4, UINT32_MAX },          /* pieces */
		{ 24, 4, UINT32_MAX },          /* meta */
		{ 28, 4, 1000 },                /* head */
		{ 32, 1, 17 },                  /* an outcome */
		{ 54, 8, 5000 },                /* a piece behind its message */
		{ 62, 4, 0 },
		{ 62, 4, SPOOL_PIECE_MAX + 1 },
	};

	for (unsigned i = 0; i < countof(cases); i++) {
		struct spool_fresh *fresh = a_message(1, 5000);
		struct span payload = span_from(whole(fresh), SPOOL_RECORD_HEADER);
		struct spool_message_parts parts;

		for (unsigned k = 0; k < cases[i].n; k++)
			fresh->p[SPOOL_RECORD_HEADER + cases[i].at + k] = (char)(cases[i].value >> (8 * k));
		if (spool_record_parts(payload, 5000, &parts))
			fail_msg("case %u was taken", i);
		spool_fresh_unref(fresh);
	}
}

static void
writes_notes_in_records_of_bounded_size(void **state)
{
	uint32_t n = 2 * SPOOL_NOTES_MAX + 5, seen = 0;
	struct spool_note *notes = mem_alloc(n * sizeof(*notes));
	struct spool_record record;
	struct buf buf;

	for (uint32_t i = 0; i < n; i++)
		notes[i] = (struct spool_note){ .id = i + 1, .rcpt = (uint16_t)i, .state = { SPOOL_BOUNCED, (uint16_t)i, { i } } };
	buf_init(&buf, 0);
	spool_record_journal_start(&buf, 3, 0);
	spool_record_synced(&buf, 3, 7, 0, 4096);
	spool_record_notes(&buf, 3, 7, 0, notes, n);
	for (uint64_t at = 0; at < buf_len(&buf);) {
		struct span rest = span_from(buf_span(&buf), (size_t)at);
		struct spool_note note;
		uint32_t payload_bytes;

		assert_true(spool_record_peek(rest.p, 3, at, &payload_bytes));
		assert_true(spool_record_parse(span_first(rest, SPOOL_RECORD_HEADER + payload_bytes), 3, at, &record));
		while (record.kind == SPOOL_NOTES && spool_record_note(&record.payload, &note)) {
			assert_int_equal(note.id, seen + 1);
			assert_int_equal(note.rcpt, (uint16_t)seen);
			assert_int_equal(note.state.due.ms, seen);
			seen++;
		}
		at += SPOOL_RECORD_HEADER + payload_bytes;
	}
	assert_int_equal(seen, n);
	buf_fini(&buf);
	free(notes);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_the_message_that_it_wrote),
		cmocka_unit_test(a_tail_that_is_gathered_bit_by_bit_becomes_the_same_message),
		cmocka_unit_test(a_small_message_does_not_keep_a_large_ones_memory),
		cmocka_unit_test(takes_no_record_of_another_place),
		cmocka_unit_test(notices_every_flipped_bit),
		cmocka_unit_test(refuses_lengths_that_do_not_fit),
		cmocka_unit_test(writes_notes_in_records_of_bounded_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
