/* What the log hears of messages that cannot be read. */
/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "delivery/outcome.h"

struct trial {
	struct shard   shard;
	struct log     log;
	struct message message;
	mono_us_t      now;
	struct buf     lines;
};

static wall_ms_t
wall(void *ctx)
{
	return (wall_ms_t){ 0 };
}

static void
add_line(void *ctx, const char *line, size_t n)
{
	buf_add(ctx, span_make(line, n));
}

static int
setup(void **state)
{
	struct trial *t = mem_alloc(sizeof *t);

	buf_init(&t->lines, 0);
	t->log = (struct log){ .wall = wall, .sink = add_line, .sink_ctx = &t->lines };
	t->shard.log = &t->log;
	t->message.spool.id = 255;
	t->now = 1000 * US_PER_S;
	*state = t;
	return 0;
}

static int
teardown(void **state)
{
	struct trial *t = *state;

	buf_fini(&t->lines);
	free(t);
	return 0;
}

/* They follow each other within a second. */
static void
fail_to_read(struct trial *t, unsigned n)
{
	struct err err = { 0 };

	err_set(&err, ERR_TEMP, "Input/output error");
	for (unsigned i = 0; i < n; i++) {
		t->now += US_PER_S / n;
		outcome_unread(&t->shard, &t->message, "stays in its queue", &err, (struct now){ .mono = t->now });
	}
}

static unsigned
said(struct trial *t, const char *text)
{
	struct span left = buf_span(&t->lines);
	unsigned n = 0;

	for (size_t at; (at = span_find_text(left, span_text(text))) != SIZE_MAX; n++)
		left = span_make(left.p + at + 1, left.n - at - 1);
	buf_clear(&t->lines);
	return n;
}

static void
names_a_few_messages_a_minute_and_counts_the_rest(void **state)
{
	struct trial *t = *state;

	for (unsigned minute = 0; minute < 5; minute++) {
		fail_to_read(t, 1000);
		assert_int_equal(said(t, "error message 00000000000000FF stays in its queue: Input/output error\n"), 3);
		t->now += 58 * US_PER_S;
		outcome_unread_review(&t->shard, t->now);
		assert_int_equal(said(t, "\n"), 0);
		t->now += 2 * US_PER_S;
		outcome_unread_review(&t->shard, t->now);
		assert_int_equal(said(t, "error 997 times more within a minute a message could not be read from the spool\n"), 1);
	}
}

static void
counts_what_is_left_before_it_names_more(void **state)
{
	struct trial *t = *state;

	fail_to_read(t, 10);
	t->now += 60 * US_PER_S;
	fail_to_read(t, 1);
	assert_int_equal(said(t, " 7 times more"), 1);
	outcome_unread_review(&t->shard, MONO_NEVER);
	assert_int_equal(said(t, "\n"), 0);
}

static void
says_no_count_where_none_is_left_out(void **state)
{
	struct trial *t = *state;

	fail_to_read(t, 3);
	assert_int_equal(said(t, "\n"), 3);
	outcome_unread_review(&t->shard, MONO_NEVER);
	assert_int_equal(said(t, "\n"), 0);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(names_a_few_messages_a_minute_and_counts_the_rest),
		TEST(counts_what_is_left_before_it_names_more),
		TEST(says_no_count_where_none_is_left_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
