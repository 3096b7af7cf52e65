/* Connections that turn to TLS: what goes through them, how they end, and how many shake hands at once. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "net/conn_tls_os_fixture.h"

static void
turns_to_tls_in_the_middle_with_either_kind_of_key(void **state)
{
	static const char *names[][2] = { { "good.pem", "good.key" }, { "ec.pem", "ec.key" } };

	for (size_t i = 0; i < countof(names); i++) {
		struct fixture f;

		set_up_tls(&f, names[i][0], names[i][1]);
		f.peer.verify = true;
		f.server.echo = true;
		dial(&f);
		run_until(&f, both_secure);
		assert_string_equal(f.client.conn->tls_version, "TLSv1.2");
		assert_string_equal(f.client.conn->tls_cipher, f.server.conn->tls_cipher);
		conn_write(f.client.conn, SPAN("hello "));
		conn_write(f.client.conn, SPAN("world!"));
		run_until(&f, client_got_12);
		assert_true(span_eq(buf_span(&f.client.got), SPAN("hello world!")));
		assert_true(f.client.drained >= 1);
		conn_close(f.client.conn);
		f.client.conn = NULL;
		run_until(&f, server_closed);
		assert_true(f.server.closed_in_order);
		tear_down(&f);
	}
}

static void
what_is_written_during_the_handshake_follows_it(void **state)
{
	struct fixture f;

	set_up_tls(&f, "good.pem", "good.key");
	f.server.echo = true;
	dial(&f);
	f.early = SPAN("EHLO myself!");
	run_until(&f, client_got_12);
	assert_true(span_eq(buf_span(&f.client.got), f.early));
	tear_down(&f);
}

static void
moves_much_both_ways_past_a_peer_that_pauses(void **state)
{
	struct fixture f;

	set_up_tls(&f, "ec.pem", "ec.key");
	f.client.to_send = f.server.to_send = 5000000;
	f.client.keep = f.server.keep = false;
	f.client.pause_every = f.server.pause_every = 1;
	dial(&f);
	run_until(&f, all_received);
	assert_int_equal(f.client.got_bytes, 5000000);
	assert_int_equal(f.client.got_crc, f.server.sent_crc);
	assert_int_equal(f.server.got_crc, f.client.sent_crc);
	tear_down(&f);
}

static void
what_was_written_leaves_after_close(void **state)
{
	struct fixture f;

	set_up_tls(&f, "ec.pem", "ec.key");
	dial(&f);
	run_until(&f, both_secure);
	f.client.to_send = 3000000;
	while (f.client.to_send > 0)
		send_chunk(&f.client);
	conn_close(f.client.conn);
	f.client.conn = NULL;
	run_until(&f, server_closed);
	assert_true(f.server.closed_in_order);
	assert_int_equal(f.server.got_bytes, 3000000);
	assert_int_equal(f.server.got_crc, f.client.sent_crc);
	tear_down(&f);
}

static bool
server_closed_and_sent(struct fixture *f)
{
	return f->server.closed && conn_pending(f->server.conn) == 0;
}

static void
an_answer_still_leaves_after_the_peers_end(void **state)
{
	struct fixture f;

	set_up_tls(&f, "ec.pem", "ec.key");
	f.server.echo = true;
	dial(&f);
	run_until(&f, both_secure);
	conn_write(f.client.conn, SPAN("QUIT"));
	conn_close(f.client.conn);
	f.client.conn = NULL;
	run_until(&f, server_closed_and_sent);
	assert_true(f.server.closed_in_order);
	assert_int_equal(f.server.got_bytes, 4);
	tear_down(&f);
}

static void
a_session_that_was_silent_between_two_looks_rests_and_wakes(void **state)
{
	struct fixture f;
	struct net_os *net;
	struct now now;

	set_up_tls(&f, "ec.pem", "ec.key");
	net = container_of(f.net, struct net_os, net);
	assert_false(timer_started(&net->rest_timer));
	f.server.echo = true;
	dial(&f);
	run_until(&f, both_secure);
	conn_write(f.client.conn, SPAN("hello world!"));
	run_until(&f, client_got_12);
	now = loop_now(f.loop);
	conn_tls_rest(net, now);
	assert_false(list_empty(&net->warm));
	assert_true(timer_started(&net->rest_timer));
	timer_stop(&f.loop->timers, &net->rest_timer);
	conn_tls_rest(net, now);
	assert_true(list_empty(&net->warm));
	assert_false(timer_started(&net->rest_timer));

	f.client.got_bytes = 0;
	conn_write(f.client.conn, SPAN("and once more"));
	run_until(&f, client_got_12);
	assert_true(span_eq(buf_span(&f.client.got), SPAN("hello world!and once more")));
	assert_true(timer_started(&net->rest_timer));
	conn_tls_rest(net, now);
	conn_write(f.client.conn, SPAN("a third time"));
	f.client.got_bytes = 0;
	run_until(&f, client_got_12);
	conn_tls_rest(net, now);
	assert_false(list_empty(&net->warm));
	tear_down(&f);
}

static void
a_server_survives_a_client_that_talks_nonsense(void **state)
{
	static const struct span cases[] = {
		{ "EHLO me\r\nMAIL FROM:<>\r\n", 24 },
		{ "\x16\x03\x01\xff\xff", 5 },                              /* a record too long */
		{ "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03", 10 },    /* a hello too short */
		{ "\x80\x2e\x01", 3 },                                        /* SSLv2 */
		{ "\x15\x03\x03\x00\x02\x02\x28", 7 },                    /* an alert */
		{ "\x17\x03\x03\x00\x01x", 6 },                             /* data before keys */
	};

	for (size_t i = 0; i < countof(cases); i++) {
		struct fixture f;

		set_up_tls(&f, "good.pem", "good.key");
		f.client_in_clear = true;
		dial(&f);
		run_until(&f, server_handshakes);
		conn_write(f.client.conn, cases[i]);
		conn_close(f.client.conn);
		f.client.conn = NULL;
		run_until(&f, server_closed);
		assert_true(f.server.tls_error[0] != '\0');
		assert_false(f.server.secure);
		tear_down(&f);
	}
}

static bool
someone_closed(struct fixture *f)
{
	return (!f->client.conn || f->client.closed) && (!f->server.conn || f->server.closed) && f->client.opened;
}

static void
may_be_closed_in_any_event(void **state)
{
	static const enum moment moments[][2] = {
		{ AT_TLS, NEVER }, { NEVER, AT_TLS }, { AT_TLS, AT_TLS }, { AT_DATA, NEVER }, { NEVER, AT_DATA },
		{ AT_TLS, AT_CLOSE }, { AT_CLOSE, AT_TLS }, { AT_DATA, AT_DATA }, { AT_DATA, AT_CLOSE },
	};

	for (size_t i = 0; i < countof(moments); i++) {
		struct fixture f;

		set_up_tls(&f, "ec.pem", "ec.key");
		f.server.echo = true;
		f.client.to_send = 40000;
		f.client.close_at = moments[i][0];
		f.server.close_at = moments[i][1];
		dial(&f);
		run_until(&f, someone_closed);
		tear_down(&f);
	}
}

static void
the_peers_end_in_the_handshake_is_an_error_of_it(void **state)
{
	struct fixture f;

	set_up_tls(&f, "good.pem", "good.key");
	f.client_in_clear = true;
	dial(&f);
	run_until(&f, server_handshakes);
	conn_close(f.client.conn);
	f.client.conn = NULL;
	run_until(&f, server_closed);
	assert_string_equal(f.server.tls_error, "TLS: the peer closed the connection during the handshake");
	assert_string_equal(f.server.error, f.server.tls_error);
	tear_down(&f);
}

#define CROWD 8

struct crowd {
	struct fixture      *f;
	struct conn         *conns[2 * CROWD];
	unsigned             conns_n, secure, secure_before, most_in_a_turn;
	struct loop_turn_end turn_end;
};

static void
crowd_opens(void *ctx)
{
	struct crowd *crowd = ctx;

	for (unsigned i = 0; i < CROWD; i++)
		if (crowd->conns[i]->tls_version == NULL && !container_of(crowd->conns[i], struct conn_os, conn)->tls &&
		    container_of(crowd->conns[i], struct conn_os, conn)->state == CONN_OPEN)
			conn_start_tls_client(crowd->conns[i], crowd->f->tls_client, &crowd->f->peer);
}

static void
crowd_is_secure(void *ctx, const struct err *err)
{
	struct crowd *crowd = ctx;

	assert_null(err);
	crowd->secure++;
}

static const struct conn_events crowd_events = { .on_open = crowd_opens, .on_tls = crowd_is_secure };

static void
crowd_is_accepted(void *ctx, struct conn *conn)
{
	struct crowd *crowd = ctx;

	conn->events = &crowd_events;
	conn->ctx = crowd;
	crowd->conns[crowd->conns_n++] = conn;
	conn_start_tls_server(conn, crowd->f->tls_server);
}

static bool
crowd_turn_ends(void *ctx)
{
	struct crowd *crowd = ctx;
	unsigned n = crowd->secure - crowd->secure_before;

	if (n > crowd->most_in_a_turn)
		crowd->most_in_a_turn = n;
	crowd->secure_before = crowd->secure;
	if (crowd->secure == 2 * CROWD)
		loop_stop(crowd->f->loop);
	return false;
}

static bool never(struct fixture *f) { return false; }

static void
handshakes_that_come_at_once_take_turns(void **state)
{
	struct crowd crowd = { .conns_n = CROWD };
	struct endpoint at = { .ip = { .family = IP_V4, .bytes = { 127, 0, 0, 1 } } };
	struct listener *listener;
	struct fixture f;
	struct err err;

	set_up_tls(&f, "good.pem", "good.key");
	f.until = never;
	crowd.f = &f;
	crowd.turn_end = (struct loop_turn_end){ .fn = crowd_turn_ends, .ctx = &crowd };
	loop_os_add_turn_end(f.loop, &crowd.turn_end);
	listener = net_listen(f.net, &at, LISTEN_ALONE, crowd_is_accepted, &crowd, &err);
	assert_non_null(listener);
	for (unsigned i = 0; i < CROWD; i++)
		crowd.conns[i] = net_dial(f.net, NULL, &listener->at, &crowd_events, &crowd, &err);
	loop_run(f.loop);
	assert_int_equal(crowd.secure, 2 * CROWD);
	assert_in_range(crowd.most_in_a_turn, 1, 2);
	for (unsigned i = 0; i < crowd.conns_n; i++)
		conn_close(crowd.conns[i]);
	listener_close(f.net, listener);
	loop_os_remove_turn_end(&crowd.turn_end);
	tear_down(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(turns_to_tls_in_the_middle_with_either_kind_of_key),
		cmocka_unit_test(what_is_written_during_the_handshake_follows_it),
		cmocka_unit_test(moves_much_both_ways_past_a_peer_that_pauses),
		cmocka_unit_test(what_was_written_leaves_after_close),
		cmocka_unit_test(an_answer_still_leaves_after_the_peers_end),
		cmocka_unit_test(a_session_that_was_silent_between_two_looks_rests_and_wakes),
		cmocka_unit_test(a_server_survives_a_client_that_talks_nonsense),
		cmocka_unit_test(may_be_closed_in_any_event),
		cmocka_unit_test(the_peers_end_in_the_handshake_is_an_error_of_it),
		cmocka_unit_test(handshakes_that_come_at_once_take_turns),
	};
	return cmocka_run_group_tests(tests, make_certificates, remove_certificates);
}
