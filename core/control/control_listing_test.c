/* Answers of many rows: in pieces, over what changes meanwhile, and to peers that go. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "control/control_fixture.h"

static void
a_long_listing_comes_in_pieces_most_queued_first(void **state)
{
	struct engine *e = engine_new();
	struct client c;
	json_t *rows;
	json_int_t last = INT64_MAX;

	add_queues(e, "site%u/mta-1", 1009);
	join(e, &c);
	say(&c, "{\"command\":\"queues\"}\n{\"command\":\"status\"}\n");
	assert_true(span_find(buf_span(&c.told), '\n') == SIZE_MAX);
	assert_true(c.paused);
	drain(&c);
	assert_false(c.paused);
	rows = take_result(&c);
	assert_int_equal(json_array_size(rows), 1009);
	for (size_t i = 0; i < json_array_size(rows); i++) {
		json_int_t queued = json_integer_value(json_object_get(json_array_get(rows, i), "queued"));
		assert_true(queued <= last);
		last = queued;
	}
	json_decref(rows);
	json_decref(take_result(&c));
	assert_int_equal(buf_len(&c.told), 0);
	leave(e, &c);
}

static void
queues_that_end_while_they_are_listed_have_no_row(void **state)
{
	struct engine *e = engine_new();
	struct client c;
	json_t *rows;
	unsigned n;

	add_queues(e, "site%u/mta-1", 1000);
	join(e, &c);
	say(&c, "{\"command\":\"queues\",\"arguments\":[\"site*\"]}\n");
	n = e->n;
	e->n = 0;
	drain(&c);
	e->n = n;
	rows = take_result(&c);
	assert_true(json_array_size(rows) > 0 && json_array_size(rows) < 1000);
	json_decref(rows);
	say(&c, "{\"command\":\"queues\",\"arguments\":[\"none\"]}\n");
	rows = take_result(&c);
	assert_int_equal(json_array_size(rows), 0);
	json_decref(rows);
	leave(e, &c);
}

static struct message *
message_that_left(uint64_t id)
{
	struct message *message = mem_alloc(sizeof(*message) + sizeof(message->rcpts[0]));

	message->spool.id = id;
	message->rcpts[0].message = message;
	message->rcpts[0].state = RCPT_OVER;
	return message;
}

static void
a_long_search_that_finds_nothing_ends(void **state)
{
	struct engine *e = engine_new();
	struct client c;
	json_t *rows;

	add_queues(e, "site%u/mta-1", 3);
	e->message = message_that_left(0x1f);
	join(e, &c);
	say(&c, "{\"command\":\"why\",\"arguments\":[\"000000000000001f\"]}\n");
	assert_true(e->message->refs > 500);
	drain(&c);
	rows = take_result(&c);
	assert_int_equal(json_array_size(rows), 0);
	assert_int_equal(e->message->refs, 0);
	json_decref(rows);
	free(e->message);
	leave(e, &c);
}

static void
a_search_ends_with_its_peer_and_holds_nothing(void **state)
{
	struct engine *e = engine_new();
	struct client c;
	struct message *message;

	add_queues(e, "site%u/mta-1", 3);
	message = e->message = message_that_left(0x1f);
	join(e, &c);
	say(&c, "{\"command\":\"why\",\"arguments\":[\"000000000000001f\"]}\n");
	assert_true(message->refs > 500);
	c.conn.events->on_close(c.conn.ctx, NULL);
	assert_true(c.closed);
	assert_int_equal(message->refs, 0);
	engine_free(e);
	free(message);
	buf_fini(&c.told);
}

static void
an_address_or_an_id_is_looked_for_in_every_queue(void **state)
{
	struct engine *e = engine_new();
	struct client c;
	json_t *rows;

	add_queues(e, "site%u/mta-1", 2);
	join(e, &c);
	say(&c, "{\"command\":\"why\",\"arguments\":[\"user@example.com\"]}\n");
	rows = take_result(&c);
	assert_int_equal(json_array_size(rows), 0);
	json_decref(rows);
	assert_string_equal(e->did, "each of site1/mta-1");
	e->did[0] = '\0';
	say(&c, "{\"command\":\"why\",\"arguments\":[\"0123456789abcDEF\"]}\n");
	json_decref(take_result(&c));
	assert_string_equal(e->did, "each of site1/mta-1");
	say(&c, "{\"command\":\"why\",\"arguments\":[\"0123456789abcDEFG\"]}\n");
	assert_error(&c, "no such queue");
	leave(e, &c);
}

static void
a_listing_ends_with_its_peer(void **state)
{
	struct engine *e = engine_new();
	struct client c;

	add_queues(e, "site%u/mta-1", 1000);
	join(e, &c);
	say(&c, "{\"command\":\"queues\"}\n");
	c.conn.events->on_close(c.conn.ctx, NULL);
	assert_true(c.closed);
	leave(e, &c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_long_listing_comes_in_pieces_most_queued_first),
		cmocka_unit_test(queues_that_end_while_they_are_listed_have_no_row),
		cmocka_unit_test(an_address_or_an_id_is_looked_for_in_every_queue),
		cmocka_unit_test(a_long_search_that_finds_nothing_ends),
		cmocka_unit_test(a_search_ends_with_its_peer_and_holds_nothing),
		cmocka_unit_test(a_listing_ends_with_its_peer),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
