/* Marks come out in the order in which they went in, wherever in the ring that was. */
/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "sim/marks.h"

static void
push(struct marks *marks, uint32_t n)
{
	marks_push(marks, (struct mark){ .n = n, .what = MARK_DATA });
}

static uint32_t
pop(struct marks *marks)
{
	uint32_t n = marks_at(marks, 0)->n;

	marks_pop(marks);
	return n;
}

static void
come_in_order_while_the_ring_grows_around_its_end(void **state)
{
	struct marks marks = { 0 };
	uint32_t in = 0, out = 0;

	for (unsigned round = 0; round < 50; round++) {
		for (unsigned i = 0; i < 5; i++)
			push(&marks, in++);
		for (unsigned i = 0; i < 3; i++)
			assert_int_equal(pop(&marks), out++);
		assert_int_equal(marks.n, in - out);
	}
	while (marks.n)
		assert_int_equal(pop(&marks), out++);
	assert_int_equal(out, in);
	free(marks.ring);
}

static void
what_is_put_back_is_the_first_again_also_in_a_full_ring(void **state)
{
	struct marks marks = { 0 };

	for (uint32_t i = 0; i < 4; i++)
		push(&marks, i);
	assert_int_equal(marks.n, marks.cap);
	marks_unpop(&marks, (struct mark){ .n = 9 });
	assert_int_equal(pop(&marks), 9);
	for (uint32_t i = 0; i < 4; i++)
		assert_int_equal(pop(&marks), i);
	assert_int_equal(marks.n, 0);
	free(marks.ring);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(come_in_order_while_the_ring_grows_around_its_end),
		cmocka_unit_test(what_is_put_back_is_the_first_again_also_in_a_full_ring),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
