/* An answer that comes when all is dropped. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "control/control_fixture.h"

static void
the_answer_comes_when_nothing_is_left_to_drop(void **state)
{
	struct engine *e = engine_new();
	struct client c;
	json_t *touched;

	add_queues(e, "site%u/mta-1", 2);
	e->shares = 3;
	join(e, &c);
	say(&c, "{\"command\":\"drop\",\"arguments\":[\"site*\"]}\n");
	assert_string_equal(e->did, "drop site* -");
	assert_string_equal(buf_text(&c.told), " ");
	c.pending = 0;
	c.conn.events->on_drained(c.conn.ctx);
	assert_string_equal(buf_text(&c.told), "  ");
	drain(&c);
	touched = take_result(&c);
	assert_int_equal(json_integer_value(json_object_get(touched, "queues")), 2);
	json_decref(touched);
	leave(e, &c);
}

static void
who_goes_before_it_comes_takes_nothing_along(void **state)
{
	struct engine *e = engine_new();
	struct client c;

	add_queues(e, "site%u/mta-1", 2);
	e->shares = 3;
	join(e, &c);
	say(&c, "{\"command\":\"drop\",\"arguments\":[\"*\"]}\n");
	c.conn.events->on_close(c.conn.ctx, NULL);
	assert_true(c.closed);
	leave(e, &c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_answer_comes_when_nothing_is_left_to_drop),
		cmocka_unit_test(who_goes_before_it_comes_takes_nothing_along),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
