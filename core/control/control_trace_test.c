/* A trace tells what was asked for, and never more than its peer reads. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "control/control_fixture.h"

static void
a_trace_tells_what_is_wanted_and_drops_what_is_not_read(void **state)
{
	struct engine *e = engine_new();
	struct trace_session of_queue = { .number = 7, .queue = "a/b", .domain = "a", .peer = "mx (192.0.2.1)" };
	struct trace_session of_listener = { .number = 8, .listener = "127.0.0.1:25", .peer = "192.0.2.2" };
	struct client c;
	json_t *line;

	trace_init(&e->shard.trace, 1, 1);
	join(e, &c);
	say(&c, "{\"command\":\"trace\",\"options\":{\"queue\":\"a/b\"}}\n");
	assert_int_equal(buf_len(&c.told), 0);
	trace_tell(&e->shard.trace, &of_listener, TRACE_THEY, SPAN("EHLO x\r\n"));
	assert_int_equal(buf_len(&c.told), 0);
	trace_tell(&e->shard.trace, &of_queue, TRACE_WE, SPAN("EHLO \xff\r\n"));
	line = take_result(&c);
	assert_string_equal(json_string_value(json_object_get(line, "line")), "EHLO \xef\xbf\xbd");
	assert_string_equal(json_string_value(json_object_get(line, "who")), "we");
	json_decref(line);
	for (unsigned i = 0; i < 5000; i++)
		trace_tell(&e->shard.trace, &of_queue, TRACE_THEY, SPAN("250 a reply that takes some room in the buffer of who does not read"));
	assert_true(c.pending < CONTROL_TRACE_BEHIND_MAX + 1024);
	drain(&c);
	buf_clear(&c.told);
	trace_tell(&e->shard.trace, &of_queue, TRACE_EVENT, SPAN("the end"));
	line = take_result(&c);
	assert_true(json_integer_value(json_object_get(line, "dropped")) > 1000);
	json_decref(line);
	json_decref(take_result(&c));
	say(&c, "{\"command\":\"trace\"}\n");
	assert_error(&c, "traces already");
	c.conn.events->on_close(c.conn.ctx, NULL);
	assert_false(trace_on(&e->shard.trace));
	leave(e, &c);
}

static void
a_trace_takes_a_domain_however_it_is_written(void **state)
{
	struct engine *e = engine_new();
	struct trace_session session = { .number = 7, .queue = "a/b", .domain = "b.example", .peer = "mx (192.0.2.1)" };
	struct client c, d;

	trace_init(&e->shard.trace, 1, 1);
	join(e, &c);
	say(&c, "{\"command\":\"trace\",\"options\":{\"to\":\"B.Example.\"}}\n");
	trace_tell(&e->shard.trace, &session, TRACE_WE, SPAN("QUIT"));
	json_decref(take_result(&c));
	session.domain = "c.example";
	trace_tell(&e->shard.trace, &session, TRACE_WE, SPAN("QUIT"));
	assert_int_equal(buf_len(&c.told), 0);
	join(e, &d);
	say(&d, "{\"command\":\"trace\",\"options\":{\"to\":\"u@b.example\"}}\n");
	assert_error(&d, "trace: to: not a domain name");
	engine_free(e);
	buf_fini(&c.told);
	buf_fini(&d.told);
}

static void
a_trace_of_a_listener_that_is_not_declared_is_refused(void **state)
{
	struct engine *e = engine_new();
	struct client c;

	trace_init(&e->shard.trace, 1, 1);
	join(e, &c);
	say(&c, "{\"command\":\"trace\",\"options\":{\"listener\":\"nosuch:25\"}}\n");
	assert_error(&c, "no such listener: nosuch:25");
	assert_true(c.closed);
	leave(e, &c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_trace_tells_what_is_wanted_and_drops_what_is_not_read),
		cmocka_unit_test(a_trace_takes_a_domain_however_it_is_written),
		cmocka_unit_test(a_trace_of_a_listener_that_is_not_declared_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
