/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/net_sim_fixture.h"

static void
opens_after_a_round_trip_and_is_accepted_half_a_one_later(void **state)
{
	struct fixture f;
	char text[ENDPOINT_TEXT_MAX];

	set_up(&f);
	dial(&f);
	conn_write(f.client.conn, SPAN("early"));
	loop_run(f.loop);
	assert_story(f.client, "open@40000");
	assert_story(f.server, "accept@60000 data(early)@60000");
	endpoint_format(&f.server.conn->peer, text);
	assert_string_equal(text, "192.0.2.1:1024");
	assert_int_equal(f.client.conn->local.port, 1024);
	assert_int_equal(f.server.conn->local.port, 25);
	tear_down(&f);
}

static void
refuses_is_silent_or_unknown_as_the_host_says(void **state)
{
	struct fixture f;

	set_up(&f);
	f.host.behaviour = NET_SIM_REFUSES;
	net_sim_host(f.world, host_ip, &f.host);
	dial(&f);
	loop_run(f.loop);
	assert_story(f.client, "close(connection refused)@40000");
	conn_close(f.client.conn);

	buf_clear(&f.client.story);
	f.host.behaviour = NET_SIM_SILENT;
	net_sim_host(f.world, host_ip, &f.host);
	dial(&f);
	run_for(&f, 3600 * US_PER_S);
	assert_story(f.client, "");
	conn_close(f.client.conn);

	net_sim_host(f.world, host_ip, NULL);
	dial(&f);
	loop_run(f.loop);
	assert_story(f.client, "close(connection refused)@3600040002");
	conn_close(f.client.conn);

	buf_clear(&f.client.story);
	f.host.behaviour = NET_SIM_UP;
	net_sim_default_host(f.world, &f.host);
	dial(&f);
	loop_run(f.loop);
	assert_int_equal(f.accepted, 1);
	tear_down(&f);
}

static void
decides_when_the_dial_arrives(void **state)
{
	struct fixture f;

	set_up(&f);
	dial(&f);
	run_for(&f, LATENCY - 1);
	f.host.behaviour = NET_SIM_REFUSES;
	net_sim_host(f.world, host_ip, &f.host);
	loop_run(f.loop);
	assert_story(f.client, "close(connection refused)@40000");
	conn_close(f.client.conn);

	/* Gone between the answer and the acceptance. */
	buf_clear(&f.client.story);
	f.host.behaviour = NET_SIM_UP;
	net_sim_host(f.world, host_ip, &f.host);
	dial(&f);
	run_for(&f, 2 * LATENCY);
	net_sim_host(f.world, host_ip, NULL);
	loop_run(f.loop);
	assert_story(f.client, "open@80000 close(connection reset by peer)@120000");
	assert_int_equal(f.accepted, 0);
	tear_down(&f);
}

static void
never_accepts_a_dial_that_was_given_up(void **state)
{
	for (mono_us_t at = 0; at < 2 * LATENCY; at += LATENCY / 2) {
		struct fixture f;

		set_up(&f);
		dial(&f);
		run_for(&f, at);
		conn_close(f.client.conn);
		f.client.conn = NULL;
		loop_run(f.loop);
		assert_int_equal(f.accepted, 0);
		assert_story(f.client, "");
		tear_down(&f);
	}
}

static void
cuts_a_net_off_without_a_word_to_it(void **state)
{
	struct fixture f;
	struct endpoint at = { { IP_V4, { 0 } }, 2525 };
	struct listener *listener;

	set_up(&f);
	open_pair(&f);
	listener = net_listen(f.node, &at, LISTEN_ALONE, on_accept, &f, NULL);
	assert_non_null(listener);
	conn_write(f.client.conn, SPAN("never leaves"));
	net_sim_cut_all(f.node);
	loop_run(f.loop);
	assert_story(f.server, "close(connection reset by peer)@80000");
	conn_write(f.client.conn, SPAN("ghost"));
	conn_close(f.client.conn);
	listener_close(f.node, listener);
	net_sim_free(f.node);
	f.node = net_sim_new(f.wire);
	conn_close(f.server.conn);
	f.server.conn = NULL;
	open_pair(&f);
	assert_int_equal(f.accepted, 2);
	tear_down(&f);
}

static void
listens_as_the_door_says(void **state)
{
	struct fixture f;
	struct endpoint at = { { IP_V4, { 0 } }, 25 }, to = { { IP_V4, { 10, 0, 0, 1 } }, 25 };
	struct listener *a, *b;
	struct err err;

	set_up(&f);
	net_sim_own(f.node, to.ip);
	a = net_listen(f.node, &at, LISTEN_ALONE, on_accept, &f, NULL);
	assert_null(net_listen(f.world, &at, LISTEN_ALONE, on_accept, &f, &err));
	assert_string_equal(err.text, "cannot listen on 0.0.0.0:25: address already in use");
	at.port = 0;
	b = net_listen(f.node, &at, LISTEN_ALONE, on_accept, &f, NULL);
	assert_true(b->at.port != 0 && b->at.port != 25);
	assert_null(net_listen_unix(f.node, "/run/x", on_accept, &f, &err));
	assert_string_equal(err.text, "cannot listen on /run/x: a world has no control socket");
	f.client.conn = net_dial(f.world, NULL, &to, &events, &f.client, NULL);
	loop_run(f.loop);
	assert_story(f.client, "open@2");
	assert_story(f.server, "accept@3");
	conn_close(f.client.conn);
	to.ip.bytes[3] = 2;
	f.client.conn = net_dial(f.world, NULL, &to, &events, &f.client, NULL);
	buf_clear(&f.client.story);
	run_for(&f, 10);
	assert_true(span_starts(buf_span(&f.client.story), SPAN("close(connection refused)")));
	listener_close(f.node, a);
	listener_close(f.node, b);
	tear_down(&f);
}

static void
on_accept_at(void *ctx, struct conn *conn)
{
	static const struct conn_events nobody = { .on_open = on_open, .on_data = on_data, .on_close = on_close };
	struct end *end = ctx;

	end->data_bytes++;                      /* counts them */
	conn->events = &nobody;
	conn->ctx = end;
	conn_close(conn);
}

static void
spreads_connections_over_those_who_share_an_address_by_its_seed(void **state)
{
	const struct endpoint at = { { IP_V4, { 0 } }, 25 }, to = { { IP_V4, { 10, 0, 0, 1 } }, 25 };
	size_t got[2][3];

	for (unsigned round = 0; round < 2; round++) {
		struct fixture f;
		struct end ends[3] = { 0 };

		set_up(&f);
		wire_seed(f.wire, 3 + round);
		for (unsigned i = 0; i < countof(ends); i++)
			assert_non_null(net_listen(f.node, &at, i > 0 ? LISTEN_JOINS : LISTEN_FIRST, on_accept_at, &ends[i], NULL));
		for (unsigned i = 0; i < 300; i++) {
			f.client.conn = net_dial(f.world, NULL, &to, &events, &f.client, NULL);
			loop_run(f.loop);
			conn_close(f.client.conn);
		}
		for (unsigned i = 0; i < countof(ends); i++) {
			got[round][i] = ends[i].data_bytes;
			assert_in_range(got[round][i], 70, 130);
		}
		assert_int_equal(got[round][0] + got[round][1] + got[round][2], 300);
		f.client.conn = NULL;
		tear_down(&f);
	}
	assert_memory_not_equal(got[0], got[1], sizeof got[0]);
}

static void
sends_only_from_its_own_addresses(void **state)
{
	struct fixture f;
	struct ip mine = { IP_V4, { 203, 0, 113, 5 } }, other = { IP_V4, { 203, 0, 113, 6 } }, six = { IP_V6, { 0x20 } };
	struct err err;

	set_up(&f);
	f.client.conn = net_dial(f.node, &other, &host_at, &events, &f.client, &err);
	assert_non_null(f.client.conn);
	conn_close(f.client.conn);
	f.client.conn = NULL;
	net_sim_own(f.node, mine);
	assert_null(net_dial(f.node, &other, &host_at, &events, &f.client, &err));
	assert_string_equal(err.text, "cannot send from 203.0.113.6: this machine has no such address");
	assert_int_equal(err.kind, ERR_PERM);
	assert_null(net_dial(f.node, &six, &host_at, &events, &f.client, &err));
	dial(&f);
	assert_true(ip_eq(&f.client.conn->local.ip, &mine));
	tear_down(&f);
}

/* More latencies than there are lanes, each with an end that answers. */
static void
keeps_any_number_of_latencies_apart(void **state)
{
	for (mono_us_t latency = 1; latency <= 40; latency++) {
		struct fixture f;
		struct conn *others[100] = { 0 };
		struct end *unheard = mem_alloc(countof(others) * sizeof(*unheard));
		char text[100];

		set_up(&f);
		for (unsigned i = 0; i < countof(others); i++) {
			struct endpoint to = { { IP_V4, { 198, 51, 100, (uint8_t)(100 + i) } }, 25 };
			struct net_sim_host silent = { .latency_us = 1000 + i, .behaviour = NET_SIM_SILENT };

			unheard[i].f = &f;
			net_sim_host(f.world, to.ip, &silent);
			if (latency % 2)
				others[i] = net_dial(f.node, NULL, &to, &events, &unheard[i], NULL);
		}
		f.host.latency_us = latency;
		f.server.reply = SPAN("ok");
		net_sim_host(f.world, host_ip, &f.host);
		dial(&f);
		conn_write(f.client.conn, SPAN("hi"));
		loop_run(f.loop);
		snprintf(text, sizeof(text), "open@%d data(ok)@%d", (int)(2 * latency), (int)(4 * latency));
		assert_story(f.client, text);
		for (unsigned i = 0; i < countof(others); i++)
			conn_close(others[i]);
		free(unheard);
		tear_down(&f);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(opens_after_a_round_trip_and_is_accepted_half_a_one_later),
		cmocka_unit_test(refuses_is_silent_or_unknown_as_the_host_says),
		cmocka_unit_test(decides_when_the_dial_arrives),
		cmocka_unit_test(never_accepts_a_dial_that_was_given_up),
		cmocka_unit_test(cuts_a_net_off_without_a_word_to_it),
		cmocka_unit_test(listens_as_the_door_says),
		cmocka_unit_test(spreads_connections_over_those_who_share_an_address_by_its_seed),
		cmocka_unit_test(sends_only_from_its_own_addresses),
		cmocka_unit_test(keeps_any_number_of_latencies_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
