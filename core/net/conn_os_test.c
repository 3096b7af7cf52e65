/* Connections over real sockets: both ends ours, or a peer that resets, ends, does not read, or floods. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "net/conn_os_fixture.h"

static void
echoes_and_knows_its_addresses(void **state)
{
	static const char *at[] = { "127.0.0.1:0", "[::1]:0", "0.0.0.0:0" };

	for (size_t i = 0; i < countof(at); i++) {
		struct fixture f;
		struct endpoint to;

		set_up_at(&f, at[i]);
		to = f.listener->at;
		if (ip_is_unspecified(&to.ip))
			to.ip = endpoint_of("127.0.0.1:1").ip;
		f.server.echo = true;
		f.client.conn = net_dial(f.net, NULL, &to, &events, &f.client, NULL);
		conn_write(f.client.conn, SPAN("hello "));
		run_until(&f, connected);
		conn_write(f.client.conn, SPAN("world!"));
		run_until(&f, client_got_12);
		assert_true(span_eq(buf_span(&f.client.got), SPAN("hello world!")));
		assert_true(ip_eq(&f.client.conn->peer.ip, &f.server.conn->local.ip));
		assert_true(ip_eq(&f.client.conn->local.ip, &f.server.conn->peer.ip));
		assert_int_equal(f.client.conn->peer.port, f.server.conn->local.port);
		assert_int_equal(f.client.conn->local.port, f.server.conn->peer.port);
		assert_int_not_equal(f.client.conn->local.port, 0);
		assert_int_equal(f.server.conn->peer_uid, UINT32_MAX);
		tear_down(&f);
	}
}

static void
gathers_the_writes_of_a_turn(void **state)
{
	struct fixture f;

	set_up_connected(&f);
	conn_write(f.client.conn, SPAN("abc"));
	conn_write(f.client.conn, SPAN("def"));
	assert_int_equal(conn_pending(f.client.conn), 6);
	f.server.data_events = 0;
	f.server.pause_every = 1000;
	run_until(&f, server_got_6);
	assert_int_equal(f.server.data_events, 1);
	assert_int_equal(f.client.drained, 1);
	tear_down(&f);
}

static void
moves_much_both_ways_past_a_peer_that_pauses(void **state)
{
	struct fixture f;

	set_up_connected(&f);
	f.client.keep = f.server.keep = false;
	f.client.to_send = f.server.to_send = 20000000;
	f.client.pause_every = 7;
	f.server.pause_every = 3;
	send_chunk(&f.client);
	send_chunk(&f.server);
	run_until(&f, all_received);
	assert_int_equal(f.client.got_bytes, 20000000);
	assert_int_equal(f.client.got_crc, f.server.sent_crc);
	assert_int_equal(f.server.got_crc, f.client.sent_crc);
	assert_true(f.client.most_pending <= 100000);
	assert_true(f.client.drained >= 200);
	tear_down(&f);
}

static bool
both_ended(struct fixture *f)
{
	return f->accepted > 0 && (!f->client.conn || f->client.closed) && (!f->server.conn || f->server.closed);
}

static void
may_be_closed_in_any_event(void **state)
{
	for (enum moment client = NEVER; client < MOMENTS; client++) {
		for (enum moment server = NEVER; server < MOMENTS; server++) {
			struct fixture f;
			bool ends = client == AT_OPEN || client == AT_DRAINED || client == AT_DATA ||
				    server == AT_DATA || server == AT_DRAINED || server == AT_ACCEPT;

			if (!ends)
				continue;
			set_up(&f);
			f.server.echo = true;
			f.client.close_at = client;
			f.server.close_at = server;
			dial(&f);
			conn_write(f.client.conn, SPAN("hello"));
			run_until(&f, both_ended);
			tear_down(&f);
		}
	}
}

static void
data_comes_before_the_end(void **state)
{
	struct fixture f;

	set_up(&f);
	raw_connect(&f);
	raw_send(&f, "last words");
	shutdown(f.raw, SHUT_WR);
	run_until(&f, server_closed);
	assert_true(f.server.closed_in_order);
	assert_true(span_eq(buf_span(&f.server.got), SPAN("last words")));
	/* The peer only ended its own half: it may still be answered. */
	conn_write(f.server.conn, SPAN("good"));
	conn_write(f.server.conn, SPAN("bye"));
	conn_close(f.server.conn);
	f.server.conn = NULL;
	run_until(&f, raw_ended);
	assert_int_equal(f.raw_errno, 0);
	assert_true(span_eq(buf_span(&f.raw_got), SPAN("goodbye")));
	tear_down(&f);
}

static void
tells_a_reset(void **state)
{
	struct fixture f;
	struct linger now = { .l_onoff = 1, .l_linger = 0 };

	set_up(&f);
	raw_connect(&f);
	run_until(&f, server_is_there);
	setsockopt(f.raw, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(f.raw);
	f.raw = -1;
	run_until(&f, server_closed);
	assert_string_equal(f.server.error, "connection reset by peer");
	tear_down(&f);
}

/* A busy server says so, closes without reading us, and so resets; we write meanwhile. */
static void
a_reset_is_one_to_the_peer_and_loses_what_was_not_sent(void **state)
{
	struct fixture f;

	set_up_connected(&f);
	conn_write(f.server.conn, SPAN("never read"));
	net_os_reset(f.server.conn);
	conn_close(f.server.conn);
	f.server.conn = NULL;
	run_until(&f, client_closed);
	assert_string_equal(f.client.error, "connection reset by peer");
	assert_int_equal(buf_len(&f.client.got), 0);
	tear_down(&f);
}

static void
reads_what_came_before_a_reset_that_a_write_finds(void **state)
{
	struct fixture f;

	set_up(&f);
	raw_connect(&f);
	run_until(&f, server_is_there);
	conn_write(f.server.conn, SPAN("unread"));
	f.server.drained = 0;
	f.raw_ended = true;             /* it does not read */
	run_turns(&f, 3);
	assert_int_equal(f.server.drained, 1);
	raw_send(&f, "421 too busy");
	close(f.raw);
	f.raw = -1;
	conn_write(f.server.conn, SPAN("EHLO"));
	run_until(&f, server_closed);
	assert_true(span_eq(buf_span(&f.server.got), SPAN("421 too busy")));
	assert_string_equal(f.server.error, "connection reset by peer");
	tear_down(&f);
}

static bool
full(struct fixture *f)
{
	return conn_pending(f->client.conn) > 0 && f->turns > 20;
}

static void
a_paused_writer_still_hears_of_a_reset(void **state)
{
	struct fixture f;
	struct linger now = { .l_onoff = 1, .l_linger = 0 };

	set_up_connected(&f);
	conn_pause(f.server.conn, true);
	conn_pause(f.client.conn, true);
	f.client.to_send = 50000000;
	while (f.client.to_send > 0)
		send_chunk(&f.client);
	f.spin = true;
	run_until(&f, full);
	setsockopt(container_of(f.server.conn, struct conn_os, conn)->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	conn_close(f.server.conn);
	f.server.conn = NULL;
	run_until(&f, client_closed);
	assert_string_equal(f.client.error, "connection reset by peer");
	tear_down(&f);
}

static void
tells_a_refusal_only_after_dial_returned(void **state)
{
	struct fixture f;
	struct endpoint to;

	set_up(&f);
	to = f.listener->at;
	listener_close(f.net, f.listener);
	f.listener = NULL;
	f.client.conn = net_dial(f.net, NULL, &to, &events, &f.client, NULL);
	assert_non_null(f.client.conn);
	assert_false(f.client.closed);
	conn_write(f.client.conn, SPAN("EHLO"));
	run_until(&f, client_closed);
	assert_false(f.client.opened);
	assert_string_equal(f.client.error, "connection refused");
	tear_down(&f);
}

static void
tells_later_what_connect_refuses_at_once(void **state)
{
	struct fixture f;
	struct endpoint to = endpoint_of("255.255.255.255:25");

	set_up(&f);
	f.client.conn = net_dial(f.net, NULL, &to, &events, &f.client, NULL);
	assert_non_null(f.client.conn);
	assert_false(f.client.closed);
	run_until(&f, client_closed);
	assert_false(f.client.opened);
	assert_true(f.client.error[0] != '\0');
	tear_down(&f);
}

static void
sends_from_the_address_it_is_given(void **state)
{
	struct fixture f;
	struct ip source = endpoint_of("127.0.0.77:1").ip, none = endpoint_of("203.0.113.9:1").ip;
	struct ip v6 = endpoint_of("[::1]:1").ip;
	struct err err;

	set_up(&f);
	f.client.conn = net_dial(f.net, &source, &f.listener->at, &events, &f.client, &err);
	assert_non_null(f.client.conn);
	run_until(&f, connected);
	assert_true(ip_eq(&f.server.conn->peer.ip, &source));
	assert_true(ip_eq(&f.client.conn->local.ip, &source));

	assert_null(net_dial(f.net, &none, &f.listener->at, &events, &f.client, &err));
	assert_int_equal(err.kind, ERR_PERM);
	assert_string_equal(err.text, "cannot send from 203.0.113.9: this machine has no such address");
	assert_null(net_dial(f.net, &v6, &f.listener->at, &events, &f.client, &err));
	assert_int_equal(err.kind, ERR_PERM);
	tear_down(&f);
}

static void
no_data_comes_while_paused(void **state)
{
	struct fixture f;

	set_up(&f);
	raw_connect(&f);
	run_until(&f, server_is_there);
	conn_pause(f.server.conn, true);
	raw_send(&f, "hello!");
	run_turns(&f, 20);
	assert_int_equal(f.server.got_bytes, 0);
	conn_pause(f.server.conn, false);
	run_until(&f, server_got_6);
	tear_down(&f);
}

/* More than the sockets hold, so that the rest is our job. */
static void
what_was_written_leaves_after_close(void **state)
{
	struct fixture f;

	set_up_connected(&f);
	f.server.keep = false;
	f.client.to_send = 10000000;
	while (f.client.to_send > 0)
		send_chunk(&f.client);
	conn_close(f.client.conn);
	f.client.conn = NULL;
	run_until(&f, server_closed);
	assert_true(f.server.closed_in_order);
	assert_int_equal(f.server.got_bytes, 10000000);
	assert_int_equal(f.server.got_crc, f.client.sent_crc);
	tear_down(&f);
}

static void
the_last_reply_survives_unread_input(void **state)
{
	struct fixture f;
	char flood[50000];

	memset(flood, 'x', sizeof(flood));
	set_up(&f);
	f.server.close_at = NEVER;
	raw_connect(&f);
	run_until(&f, server_is_there);
	conn_pause(f.server.conn, true);
	assert_int_equal(send(f.raw, flood, sizeof(flood), 0), sizeof(flood));
	conn_write(f.server.conn, SPAN("421 too much"));
	conn_close(f.server.conn);
	f.server.conn = NULL;
	assert_true(send(f.raw, flood, sizeof(flood), MSG_DONTWAIT | MSG_NOSIGNAL) > 0);
	run_until(&f, raw_ended);
	assert_int_equal(f.raw_errno, 0);
	assert_true(span_eq(buf_span(&f.raw_got), SPAN("421 too much")));
	tear_down(&f);
}

static bool
no_linger(struct fixture *f)
{
	return list_empty(&container_of(f->net, struct net_os, net)->lingers);
}

static void
lingers_for_no_longer_than_a_bound_of_bytes(void **state)
{
	struct fixture f;
	char flood[65536];
	size_t total = 0;
	ssize_t sent;

	memset(flood, 'x', sizeof(flood));
	set_up(&f);
	raw_connect(&f);
	run_until(&f, server_is_there);
	conn_write(f.server.conn, SPAN("421"));
	conn_close(f.server.conn);
	f.server.conn = NULL;
	assert_false(no_linger(&f));
	for (unsigned i = 0; i < 1000 && !no_linger(&f); i++) {
		sent = send(f.raw, flood, sizeof(flood), MSG_DONTWAIT | MSG_NOSIGNAL);
		total += sent > 0 ? (size_t)sent : 0;
		run_turns(&f, 2);
	}
	assert_true(no_linger(&f));
	assert_true(total > 256 * 1024);
	tear_down(&f);
}

static void
freeing_the_net_closes_what_is_left(void **state)
{
	struct fixture f;

	set_up_connected(&f);
	conn_write(f.client.conn, SPAN("on my way"));
	f.client.conn = f.server.conn = NULL;
	f.listener = NULL;
	tear_down(&f);
}

static void
tells_drained_once_for_what_was_written(void **state)
{
	struct fixture f;

	set_up_connected(&f);
	conn_write(f.client.conn, SPAN(""));
	conn_write(f.client.conn, SPAN("a"));
	assert_int_equal(f.client.drained, 0);
	run_until(&f, client_drained);
	run_turns(&f, 5);
	assert_int_equal(f.client.drained, 1);
	tear_down(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(echoes_and_knows_its_addresses),
		cmocka_unit_test(gathers_the_writes_of_a_turn),
		cmocka_unit_test(moves_much_both_ways_past_a_peer_that_pauses),
		cmocka_unit_test(may_be_closed_in_any_event),
		cmocka_unit_test(data_comes_before_the_end),
		cmocka_unit_test(tells_a_reset),
		cmocka_unit_test(a_reset_is_one_to_the_peer_and_loses_what_was_not_sent),
		cmocka_unit_test(reads_what_came_before_a_reset_that_a_write_finds),
		cmocka_unit_test(a_paused_writer_still_hears_of_a_reset),
		cmocka_unit_test(tells_a_refusal_only_after_dial_returned),
		cmocka_unit_test(tells_later_what_connect_refuses_at_once),
		cmocka_unit_test(sends_from_the_address_it_is_given),
		cmocka_unit_test(no_data_comes_while_paused),
		cmocka_unit_test(what_was_written_leaves_after_close),
		cmocka_unit_test(the_last_reply_survives_unread_input),
		cmocka_unit_test(lingers_for_no_longer_than_a_bound_of_bytes),
		cmocka_unit_test(freeing_the_net_closes_what_is_left),
		cmocka_unit_test(tells_drained_once_for_what_was_written),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
