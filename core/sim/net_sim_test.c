/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/net_sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "sim/loop_sim.h"
#include "util/buf.h"
#include "util/prng.h"
#include "util/table.h"

#define LATENCY 20000

/* One end, which writes down what it hears: "open@40000 data(hello)@60000 …". */
struct end {
	struct fixture *f;
	struct conn    *conn;
	struct buf      story;
	size_t          data_bytes;
	struct span     reply;          /* written when data comes */
	bool            quiet;          /* counts data, tells nothing of it */
	bool            close_on_data;
};

struct fixture {
	struct loop *loop;
	struct wire *wire;
	struct net  *node, *world;
	struct end   client, server;
	struct net_sim_host host;
	unsigned     accepted;
};

static const struct ip host_ip = { IP_V4, { 198, 51, 100, 7 } };
static const struct endpoint host_at = { { IP_V4, { 198, 51, 100, 7 } }, 25 };

static void
note(struct end *end, const char *what, struct span text)
{
	buf_printf(&end->story, "%s%s", buf_len(&end->story) ? " " : "", what);
	if (text.n)
		buf_printf(&end->story, "(%.*s)", SPAN_ARG(text));
	buf_printf(&end->story, "@%lld", (long long)loop_now(end->f->loop).mono);
}

static void on_open(void *ctx) { note(ctx, "open", SPAN("")); }
static void on_drained(void *ctx) { note(ctx, "drained", SPAN("")); }

static void
on_data(void *ctx, struct span data)
{
	struct end *end = ctx;

	end->data_bytes += data.n;
	if (!end->quiet)
		note(end, "data", data);
	if (end->reply.n)
		conn_write(end->conn, end->reply);
	if (end->close_on_data) {
		conn_close(end->conn);
		end->conn = NULL;
	}
}

static void on_tls(void *ctx, const struct err *err) { note(ctx, "tls", span_text(err ? err->text : "")); }
static void on_close(void *ctx, const struct err *err) { note(ctx, "close", span_text(err ? err->text : "")); }

static const struct conn_events events = { on_open, on_data, NULL, on_tls, on_close };
static const struct conn_events drained_events = { on_open, on_data, on_drained, on_tls, on_close };

static void
on_accept(void *ctx, struct conn *conn)
{
	struct fixture *f = ctx;

	f->server.conn = conn;
	f->accepted++;
	conn->events = &events;
	conn->ctx = &f->server;
	note(&f->server, "accept", SPAN(""));
}

static void
set_up(struct fixture *f)
{
	memset(f, 0, sizeof(*f));
	f->loop = loop_sim_new(0, (wall_ms_t){ 0 });
	f->wire = wire_new(f->loop);
	f->node = net_sim_new(f->wire);
	f->world = net_sim_new(f->wire);
	f->client.f = f->server.f = f;
	f->host = (struct net_sim_host){ .latency_us = LATENCY, .on_accept = on_accept, .ctx = f };
	net_sim_host(f->world, host_ip, &f->host);
}

static void
tear_down(struct fixture *f)
{
	conn_close(f->client.conn);
	conn_close(f->server.conn);
	loop_run(f->loop);
	net_sim_free(f->node);
	net_sim_free(f->world);
	wire_free(f->wire);
	loop_sim_free(f->loop);
	buf_fini(&f->client.story);
	buf_fini(&f->server.story);
}

static void
dial(struct fixture *f)
{
	f->client.conn = net_dial(f->node, NULL, &host_at, &events, &f->client, NULL);
	assert_non_null(f->client.conn);
	assert_int_equal(buf_len(&f->client.story), 0);
}

/* Both ends are open and their stories empty again. */
static void
open_pair(struct fixture *f)
{
	dial(f);
	loop_run(f->loop);
	assert_non_null(f->server.conn);
	buf_clear(&f->client.story);
	buf_clear(&f->server.story);
}

static void
run_for(struct fixture *f, mono_us_t us)
{
	mono_us_t until = loop_now(f->loop).mono + us;

	while (loop_sim_turn(f->loop, until))
		;
}

#define assert_story(end, text) assert_string_equal(buf_text(&(end).story), text)

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
delivers_what_a_turn_wrote_as_one_after_the_latency(void **state)
{
	struct fixture f;

	set_up(&f);
	open_pair(&f);
	f.server.reply = SPAN("ok");
	conn_write(f.client.conn, SPAN("one "));
	conn_write(f.client.conn, SPAN("two"));
	assert_int_equal(conn_pending(f.client.conn), 7);
	run_for(&f, 5);
	assert_int_equal(conn_pending(f.client.conn), 0);
	conn_write(f.client.conn, SPAN("three"));
	loop_run(f.loop);
	assert_story(f.server, "data(one two)@80000 data(three)@80005");
	assert_story(f.client, "data(ok)@100000 data(ok)@100005");
	tear_down(&f);
}

static void
tells_of_a_close_after_the_output_before_it(void **state)
{
	struct fixture f;

	set_up(&f);
	open_pair(&f);
	conn_write(f.client.conn, SPAN("bye"));
	conn_close(f.client.conn);
	f.client.conn = NULL;
	f.server.reply = SPAN("to nobody");
	loop_run(f.loop);
	assert_story(f.server, "data(bye)@80000 close@80000");
	assert_story(f.client, "");
	tear_down(&f);
}

static void
says_that_the_output_fell_to_nothing(void **state)
{
	struct fixture f;

	set_up(&f);
	open_pair(&f);
	f.client.conn->events = &drained_events;
	conn_write(f.client.conn, SPAN("x"));
	loop_run(f.loop);
	assert_story(f.client, "drained@60000");
	tear_down(&f);
}

static void
lets_a_paused_reader_be_felt(void **state)
{
	struct fixture f;
	size_t n = 600 * 1024;
	char *bytes;

	set_up(&f);
	open_pair(&f);
	bytes = mem_alloc(n);
	f.client.conn->events = &drained_events;
	f.server.quiet = true;
	conn_pause(f.server.conn, true);
	conn_write(f.client.conn, span_make(bytes, n));
	loop_run(f.loop);
	assert_int_equal(conn_pending(f.client.conn), n - 256 * 1024);
	assert_int_equal(f.server.data_bytes, 0);
	assert_story(f.client, "");
	conn_pause(f.server.conn, false);
	assert_int_equal(f.server.data_bytes, 0);
	loop_run(f.loop);
	assert_int_equal(f.server.data_bytes, n);
	assert_int_equal(conn_pending(f.client.conn), 0);
	/* Twice a window had to be given back, a latency later each, and data travels as long. */
	assert_story(f.client, "drained@140000");
	assert_int_equal(loop_now(f.loop).mono, 80000 + 4 * LATENCY);
	free(bytes);
	tear_down(&f);
}

static void
holds_the_end_back_from_a_paused_reader_too(void **state)
{
	struct fixture f;

	set_up(&f);
	open_pair(&f);
	conn_pause(f.server.conn, true);
	conn_write(f.client.conn, SPAN("last"));
	conn_close(f.client.conn);
	f.client.conn = NULL;
	run_for(&f, US_PER_S);
	assert_story(f.server, "");
	conn_pause(f.server.conn, false);
	loop_run(f.loop);
	assert_story(f.server, "data(last)@1060000 close@1060000");
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
resets_both_ends(void **state)
{
	struct fixture f;

	set_up(&f);
	open_pair(&f);
	conn_write(f.client.conn, SPAN("lost"));
	run_for(&f, 10);
	net_sim_reset(f.server.conn);
	assert_story(f.server, "");
	loop_run(f.loop);
	assert_story(f.client, "close(connection reset by peer)@60010");
	assert_story(f.server, "close(connection reset by peer)@60010");
	conn_write(f.client.conn, SPAN("nowhere"));
	loop_run(f.loop);
	tear_down(&f);
}

static void
may_be_closed_from_within_its_own_data(void **state)
{
	struct fixture f;

	set_up(&f);
	open_pair(&f);
	f.server.close_on_data = true;
	conn_write(f.client.conn, SPAN("x"));
	loop_run(f.loop);
	assert_story(f.server, "data(x)@80000");
	assert_story(f.client, "close@100000");
	tear_down(&f);
}

static void
hangs_for_ever(void **state)
{
	struct fixture f;

	set_up(&f);
	open_pair(&f);
	conn_write(f.client.conn, SPAN("before"));
	run_for(&f, 10);
	net_sim_hang(f.client.conn);
	conn_write(f.client.conn, SPAN("after"));
	conn_write(f.server.conn, SPAN("after"));
	loop_run(f.loop);
	conn_close(f.client.conn);
	f.client.conn = NULL;
	run_for(&f, 86400 * US_PER_S);
	assert_story(f.server, "");
	tear_down(&f);
}

static void
cuts_a_net_off_without_a_word_to_it(void **state)
{
	struct fixture f;
	struct endpoint at = { { IP_V4, { 0 } }, 2525 };
	struct listener *listener;

	set_up(&f);
	open_pair(&f);
	listener = net_listen(f.node, &at, on_accept, &f, NULL);
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
	a = net_listen(f.node, &at, on_accept, &f, NULL);
	assert_null(net_listen(f.world, &at, on_accept, &f, &err));
	assert_string_equal(err.text, "cannot listen on 0.0.0.0:25: address already in use");
	at.port = 0;
	b = net_listen(f.node, &at, on_accept, &f, NULL);
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

static void
shakes_hands_in_a_round_trip(void **state)
{
	struct fixture f;

	set_up(&f);
	open_pair(&f);
	conn_write(f.client.conn, SPAN("clear"));
	conn_start_tls_client(f.client.conn, NULL, "mx", true);
	conn_write(f.client.conn, SPAN("secret"));
	run_for(&f, US_PER_S);
	assert_story(f.server, "data(clear)@80000");
	assert_int_equal(conn_pending(f.client.conn), 6);
	assert_story(f.client, "");
	conn_start_tls_server(f.server.conn, NULL);
	loop_run(f.loop);
	assert_story(f.client, "tls@1080000");
	assert_story(f.server, "data(clear)@80000 tls@1100000 data(secret)@1100000");
	assert_string_equal(f.client.conn->tls_version, "TLSv1.2");
	assert_string_equal(f.client.conn->tls_cipher, f.server.conn->tls_cipher);
	tear_down(&f);
}

static void
start_both(struct fixture *f, bool verify)
{
	open_pair(f);
	conn_start_tls_client(f->client.conn, NULL, "mx", verify);
	conn_start_tls_server(f->server.conn, NULL);
	loop_run(f->loop);
}

static void
fails_the_handshake_as_the_host_says(void **state)
{
	struct fixture f;

	set_up(&f);
	f.host.tls_untrusted = true;
	net_sim_host(f.world, host_ip, &f.host);
	start_both(&f, true);
	assert_story(f.client, "tls(TLS: certificate refused: The certificate is not correctly signed by the trusted CA)@100000 "
		     "close(TLS: certificate refused: The certificate is not correctly signed by the trusted CA)@100000");
	assert_true(span_starts(buf_span(&f.server.story),
				SPAN("tls(TLS: the peer gave up with alert 48 (unknown certificate authority))@120000 close(")));
	tear_down(&f);

	set_up(&f);
	f.host.tls_untrusted = true;
	net_sim_host(f.world, host_ip, &f.host);
	start_both(&f, false);
	assert_story(f.client, "tls@100000");
	tear_down(&f);

	set_up(&f);
	f.host.tls_fails = true;
	net_sim_host(f.world, host_ip, &f.host);
	start_both(&f, false);
	assert_true(span_starts(buf_span(&f.client.story),
				SPAN("tls(TLS: the peer gave up with alert 40 (handshake failure: nothing in common))@100000 close(")));
	tear_down(&f);
}

static void
ends_a_handshake_with_a_peer_that_goes_or_talks_in_clear(void **state)
{
	struct fixture f;

	set_up(&f);
	open_pair(&f);
	conn_start_tls_server(f.server.conn, NULL);
	conn_write(f.client.conn, SPAN("EHLO in clear\r\n"));
	loop_run(f.loop);
	assert_story(f.server, "tls(TLS: An invalid SSL record was received)@80000 close(TLS: An invalid SSL record was received)@80000");
	tear_down(&f);

	set_up(&f);
	open_pair(&f);
	conn_start_tls_client(f.client.conn, NULL, "mx", false);
	conn_close(f.server.conn);
	f.server.conn = NULL;
	loop_run(f.loop);
	assert_true(span_starts(buf_span(&f.client.story),
				SPAN("tls(TLS: the peer closed the connection during the handshake)@80000 close(")));
	tear_down(&f);
}

/* Two ends that write, pause and take at random: what was written is what is read. */
static uint64_t
stream(uint64_t seed, size_t *bytes_out)
{
	struct fixture f;
	struct prng prng;
	uint64_t sum = 0;
	size_t wrote = 0;
	char piece[5000];

	set_up(&f);
	open_pair(&f);
	prng_seed(&prng, seed);
	f.server.reply = SPAN("+");
	for (int i = 0; i < 300; i++) {
		size_t n = (size_t)prng_below(&prng, sizeof(piece));

		for (size_t k = 0; k < n; k++)
			piece[k] = (char)('a' + (wrote + k) % 26);
		conn_write(f.client.conn, span_make(piece, n));
		wrote += n;
		conn_pause(f.server.conn, prng_below(&prng, 3) == 0);
		conn_pause(f.client.conn, prng_below(&prng, 3) == 0);
		run_for(&f, (mono_us_t)prng_below(&prng, LATENCY));
	}
	conn_pause(f.server.conn, false);
	conn_pause(f.client.conn, false);
	loop_run(f.loop);
	assert_int_equal(f.server.data_bytes, wrote);
	sum = hash_bytes(buf_span(&f.server.story), hash_bytes(buf_span(&f.client.story), 0));
	*bytes_out = wrote;
	/* Without what the story adds, the bytes count up. */
	for (size_t i = 0, at = 0; i < buf_len(&f.server.story); i++) {
		const char *p = f.server.story.p + i;
		if (*p != '(')
			continue;
		for (p++; *p != ')'; p++, at++)
			assert_int_equal(*p, 'a' + (int)(at % 26));
		i = (size_t)(p - f.server.story.p);
	}
	tear_down(&f);
	return sum;
}

static void
keeps_order_and_tells_the_same_story_again(void **state)
{
	for (uint64_t seed = 1; seed <= 20; seed++) {
		size_t a, b;

		assert_true(stream(seed, &a) == stream(seed, &b));
		assert_int_equal(a, b);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(opens_after_a_round_trip_and_is_accepted_half_a_one_later),
		cmocka_unit_test(delivers_what_a_turn_wrote_as_one_after_the_latency),
		cmocka_unit_test(tells_of_a_close_after_the_output_before_it),
		cmocka_unit_test(says_that_the_output_fell_to_nothing),
		cmocka_unit_test(lets_a_paused_reader_be_felt),
		cmocka_unit_test(holds_the_end_back_from_a_paused_reader_too),
		cmocka_unit_test(refuses_is_silent_or_unknown_as_the_host_says),
		cmocka_unit_test(decides_when_the_dial_arrives),
		cmocka_unit_test(never_accepts_a_dial_that_was_given_up),
		cmocka_unit_test(resets_both_ends),
		cmocka_unit_test(may_be_closed_from_within_its_own_data),
		cmocka_unit_test(hangs_for_ever),
		cmocka_unit_test(cuts_a_net_off_without_a_word_to_it),
		cmocka_unit_test(listens_as_the_door_says),
		cmocka_unit_test(sends_only_from_its_own_addresses),
		cmocka_unit_test(shakes_hands_in_a_round_trip),
		cmocka_unit_test(fails_the_handshake_as_the_host_says),
		cmocka_unit_test(ends_a_handshake_with_a_peer_that_goes_or_talks_in_clear),
		cmocka_unit_test(keeps_order_and_tells_the_same_story_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
