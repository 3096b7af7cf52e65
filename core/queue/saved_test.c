/* An entry comes back from its bytes and from its table as it went in, and ages as a whole. */
/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "queue/saved.h"

static const struct saved entry = {
	.key = { "queue a/m", 9 }, .connects = { 7 * US_PER_S, { 30, 2, 60 * US_PER_S } }, .messages = { INT64_MIN, { 0 } },
	.retry_left_us = 5 * US_PER_S, .retry_step = 3, .last_error = { "421 no", 6 },
};

static void
assert_same(const struct saved *a, const struct saved *b)
{
	assert_true(span_eq(a->key, b->key));
	assert_memory_equal(&a->connects.spec, &b->connects.spec, sizeof a->connects.spec);
	assert_true(a->connects.last == b->connects.last && a->messages.last == b->messages.last);
	assert_true(a->retry_left_us == b->retry_left_us && a->retry_step == b->retry_step);
	assert_true(span_eq(a->last_error, b->last_error));
}

static void
comes_back_from_its_bytes_and_from_no_part_of_them(void **state)
{
	struct buf bytes = { 0 };
	struct saved read;
	struct span in;

	saved_put(&bytes, &entry);
	for (size_t n = 0; n < buf_len(&bytes); n++) {
		in = span_first(buf_span(&bytes), n);
		assert_false(saved_get(&in, &read));
	}
	in = buf_span(&bytes);
	assert_true(saved_get(&in, &read));
	assert_int_equal(in.n, 0);
	assert_same(&read, &entry);
	buf_fini(&bytes);
}

static void
a_window_that_no_rate_has_is_damage(void **state)
{
	static const int64_t windows[] = { 0, -1, INT64_C(1) << 50 };

	for (size_t i = 0; i < countof(windows); i++) {
		struct saved bad = entry, read;
		struct buf bytes = { 0 };
		struct span in;

		bad.connects.spec.window_us = windows[i];
		saved_put(&bytes, &bad);
		in = buf_span(&bytes);
		assert_false(saved_get(&in, &read));
		buf_fini(&bytes);
	}
}

static void
ages_but_for_what_was_never_used_and_what_is_over(void **state)
{
	struct saved later = saved_aged(&entry, 2 * US_PER_S), over = saved_aged(&entry, 9 * US_PER_S);
	struct saved back = saved_aged(&later, -2 * US_PER_S);

	assert_true(later.connects.last == 5 * US_PER_S && later.messages.last == INT64_MIN);
	assert_true(later.retry_left_us == 3 * US_PER_S);
	assert_same(&back, &entry);
	assert_true(over.retry_left_us == 0);
	over = saved_aged(&over, -9 * US_PER_S);
	assert_true(over.retry_left_us == 0);
}

static void
a_table_keeps_the_last_one_of_a_name(void **state)
{
	struct table table;
	struct saved second = entry;
	struct saved *kept;

	table_init(&table, 1);
	saved_keep(&table, &entry);
	second.retry_step = 4;
	second.last_error = SPAN("450 later");
	saved_keep(&table, &second);
	assert_int_equal(table.n, 1);
	kept = table_remove(&table, SPAN("queue a/m"));
	assert_same(kept, &second);
	assert_string_equal(kept->last_error.p, "450 later");
	free(kept);
	table_fini(&table);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(comes_back_from_its_bytes_and_from_no_part_of_them),
		cmocka_unit_test(a_window_that_no_rate_has_is_damage),
		cmocka_unit_test(ages_but_for_what_was_never_used_and_what_is_over),
		cmocka_unit_test(a_table_keeps_the_last_one_of_a_name),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
