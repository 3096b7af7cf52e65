/* The socket: who is heard, how requests come, when it ends. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "control/control_fixture.h"

static void
status_comes_from_the_shard(void **state)
{
	struct engine *e = engine_new();
	struct client c;
	json_t *status;

	e->shard.spool = (struct spool *)e;
	join(e, &c);
	say(&c, "{\"command\":\"status\"}\n");
	status = take_result(&c);
	assert_int_equal(json_integer_value(json_object_get(status, "queued")), 12);
	assert_int_equal(json_integer_value(json_object_get(status, "uptime")), 60);
	assert_string_equal(json_string_value(json_object_get(status, "refusing")), "the disk is full");
	assert_string_equal(json_string_value(json_object_get(status, "policy")), "policies/x.lua");
	json_decref(status);
	assert_false(c.closed);
	engine_free(e);
	assert_true(c.closed);
	buf_fini(&c.told);
}

static void
requests_may_come_in_pieces_or_many_at_once(void **state)
{
	static const char two[] = "{\"command\":\"status\"}\r\n\n{\"command\":\"frob\"}\n";
	struct engine *e = engine_new();

	for (size_t step = 1; step < sizeof(two); step++) {
		struct client c;
		join(e, &c);
		for (size_t at = 0; at < sizeof(two) - 1; at += step) {
			size_t left = sizeof(two) - 1 - at;
			c.conn.events->on_data(c.conn.ctx, span_make(two + at, left < step ? left : step));
		}
		json_decref(take_result(&c));
		assert_error(&c, "no such command: frob");
		c.conn.events->on_close(c.conn.ctx, NULL);
		assert_true(c.closed);
		assert_int_equal(buf_len(&c.told), 0);
		buf_fini(&c.told);
	}
	engine_free(e);
}

static void
who_does_not_listen_is_not_served(void **state)
{
	struct engine *e = engine_new();
	struct client c;
	unsigned answers = 0;
	struct buf many;

	buf_init(&many, 0);
	for (int i = 0; i < 3000; i++)
		buf_add_text(&many, "{\"command\":\"status\"}\n");
	join(e, &c);
	say(&c, buf_text(&many));
	assert_true(c.paused);
	assert_true(c.pending < 300 * 1024);
	drain(&c);
	assert_false(c.paused);
	for (; buf_len(&c.told); answers++)
		json_decref(take_result(&c));
	assert_int_equal(answers, 3000);
	engine_free(e);
	buf_fini(&many);
	buf_fini(&c.told);
}

static void
who_breaks_the_protocol_hears_why_and_is_closed(void **state)
{
	struct engine *e = engine_new();
	struct client c;
	struct buf megabyte;

	join(e, &c);
	say(&c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
	assert_error(&c, "one line of JSON");
	assert_true(c.closed);
	buf_fini(&c.told);

	join(e, &c);
	say(&c, "{\"command\":\"sta");
	c.conn.events->on_close(c.conn.ctx, NULL);
	assert_error(&c, "ends with a line feed");
	assert_true(c.closed);
	buf_fini(&c.told);

	buf_init(&megabyte, 0);
	buf_printf(&megabyte, "%01000000d", 0);
	for (int whole = 0; whole < 2; whole++) {
		join(e, &c);
		if (whole)
			buf_add_char(&megabyte, '\n');
		say(&c, buf_text(&megabyte));
		assert_error(&c, "65536 bytes");
		assert_true(c.closed);
		buf_fini(&c.told);
	}
	buf_fini(&megabyte);
	engine_free(e);
}

static void
silence_ends_a_connection_and_bytes_keep_it(void **state)
{
	struct engine *e = engine_new();
	struct client c;

	join(e, &c);
	for (int i = 0; i < 5; i++) {
		e->loop.now.mono += 29 * US_PER_S;
		timers_run(&e->loop.timers, e->loop.now);
		assert_false(c.closed);
		say(&c, " ");
	}
	e->loop.now.mono += 30 * US_PER_S;
	timers_run(&e->loop.timers, e->loop.now);
	assert_error(&c, "silence");
	assert_true(c.closed);
	leave(e, &c);
}

static void
only_root_and_our_own_user_are_answered(void **state)
{
	struct engine *e = engine_new();
	struct client c;

	join_as(e, &c, geteuid() + 1);
	assert_error(&c, "only root");
	assert_true(c.closed);
	buf_fini(&c.told);
	join_as(e, &c, 0);
	assert_false(c.closed);
	say(&c, "{\"command\":\"status\"}\n");
	json_decref(take_result(&c));
	leave(e, &c);
}

static void
the_seventeenth_connection_is_turned_away(void **state)
{
	struct engine *e = engine_new();
	struct client c[17];

	for (size_t i = 0; i < countof(c); i++)
		join(e, &c[i]);
	assert_false(c[15].closed);
	assert_error(&c[16], "too many");
	assert_true(c[16].closed);
	buf_fini(&c[16].told);
	c[3].conn.events->on_close(c[3].conn.ctx, NULL);
	join(e, &c[16]);
	assert_false(c[16].closed);
	engine_free(e);
	for (size_t i = 0; i < countof(c); i++)
		buf_fini(&c[i].told);
}

static void
a_socket_that_cannot_be_had_is_an_error(void **state)
{
	struct engine *e = engine_new();
	struct err err = { 0 };

	e->refuses_to_listen = true;
	assert_null(control_open(&e->shards, "/x", &err));
	assert_string_equal(err.text, "cannot listen on /x");
	engine_free(e);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(status_comes_from_the_shard),
		cmocka_unit_test(requests_may_come_in_pieces_or_many_at_once),
		cmocka_unit_test(who_does_not_listen_is_not_served),
		cmocka_unit_test(who_breaks_the_protocol_hears_why_and_is_closed),
		cmocka_unit_test(silence_ends_a_connection_and_bytes_keep_it),
		cmocka_unit_test(only_root_and_our_own_user_are_answered),
		cmocka_unit_test(the_seventeenth_connection_is_turned_away),
		cmocka_unit_test(a_socket_that_cannot_be_had_is_an_error),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
