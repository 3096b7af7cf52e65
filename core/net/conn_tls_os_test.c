/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <sys/stat.h>

#include "net/conn_os.h"
#include "util/crc.h"

#define DEADLINE_US (20 * US_PER_S)

enum moment { NEVER, AT_TLS, AT_DATA, AT_CLOSE };

struct end {
	struct fixture *f;
	struct conn    *conn;
	enum moment     close_at;
	bool            opened, tls_done, closed, closed_in_order;
	bool            echo, pauses;
	struct buf      got;
	size_t          got_bytes, to_send, sent_bytes;
	uint32_t        got_crc, sent_crc;
	unsigned        drained;
	struct timer    unpause;
	char            tls_error[300], close_error[300];
};

struct fixture {
	struct loop         *loop;
	struct net          *net;
	struct listener     *listener;
	struct tls_server   *tls_server;
	struct tls_client   *tls_client;
	struct timer         deadline;
	struct loop_turn_end turn_end;
	bool               (*until)(struct fixture *f);
	struct end           client, server;
	struct tls_peer      peer;
	struct span          early;             /* the client writes it before there are keys */
	bool                 client_in_clear;   /* the client sends what it likes instead of a handshake */
};

/* Made once for all tests: authority -> good (RSA) and ec, and strangers. */
static char dir[64];

static const char *
in_dir(const char *name)
{
	static char paths[4][128];
	static unsigned next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
	return path;
}

static void
close_if(struct end *end, enum moment moment)
{
	if (end->close_at != moment || !end->conn)
		return;
	conn_close(end->conn);
	end->conn = NULL;
}

static void
on_open(void *ctx)
{
	struct end *end = ctx;

	end->opened = true;
	conn_write(end->conn, SPAN("STARTTLS\r\n"));
}

/* What is said in clear; true when the conn turned to TLS. */
static bool
in_clear(struct end *end, struct span data)
{
	struct fixture *f = end->f;

	if (end->tls_done)
		return false;
	if (end == &f->server) {
		assert_true(span_eq(data, SPAN("STARTTLS\r\n")));
		conn_write(end->conn, SPAN("220 go on\r\n"));
		conn_start_tls_server(end->conn, f->tls_server);
	} else if (!f->client_in_clear) {
		assert_true(span_eq(data, SPAN("220 go on\r\n")));
		conn_start_tls_client(end->conn, f->tls_client, &f->peer);
		if (f->early.n)
			conn_write(end->conn, f->early);
	}
	return true;
}

static void
on_unpause(void *ctx, struct now now)
{
	struct end *end = ctx;

	if (end->conn)
		conn_pause(end->conn, false);
}

static void
on_data(void *ctx, struct span data)
{
	struct end *end = ctx;

	assert_false(end->closed);
	if (in_clear(end, data))
		return;
	end->got_bytes += data.n;
	end->got_crc = crc32c(end->got_crc, data);
	if (end->got_bytes < 100000)
		buf_add(&end->got, data);
	if (end->echo)
		conn_write(end->conn, data);
	close_if(end, AT_DATA);
	if (end->conn && end->pauses) {
		conn_pause(end->conn, true);
		timer_start(&end->f->loop->timers, &end->unpause, loop_now(end->f->loop).mono);
	}
}

static void
send_chunk(struct end *end)
{
	char chunk[100000];
	size_t n = end->to_send < sizeof(chunk) ? end->to_send : sizeof(chunk);

	for (size_t i = 0; i < n; i++)
		chunk[i] = (char)((end->sent_bytes + i) * 2654435761u >> 13);
	end->to_send -= n;
	end->sent_bytes += n;
	end->sent_crc = crc32c(end->sent_crc, span_make(chunk, n));
	conn_write(end->conn, span_make(chunk, n));
}

static void
on_drained(void *ctx)
{
	struct end *end = ctx;

	assert_int_equal(conn_pending(end->conn), 0);
	end->drained++;
	if (end->to_send > 0 && end->tls_done)
		send_chunk(end);
}

static void
on_tls(void *ctx, const struct err *err)
{
	struct end *end = ctx;

	assert_false(end->tls_done);
	assert_false(end->tls_error[0]);
	if (err)
		snprintf(end->tls_error, sizeof(end->tls_error), "%s", err->text);
	else
		end->tls_done = true;
	close_if(end, AT_TLS);
	if (end->conn && end->tls_done && end->to_send > 0)
		send_chunk(end);
}

static void
on_close(void *ctx, const struct err *err)
{
	struct end *end = ctx;

	assert_false(end->closed);
	end->closed = true;
	end->closed_in_order = !err;
	if (err)
		snprintf(end->close_error, sizeof(end->close_error), "%s", err->text);
	close_if(end, AT_CLOSE);
}

static const struct conn_events events = {
	.on_open = on_open, .on_data = on_data, .on_drained = on_drained, .on_tls = on_tls, .on_close = on_close,
};

static void
on_accept(void *ctx, struct conn *conn)
{
	struct fixture *f = ctx;

	assert_null(f->server.conn);
	f->server.conn = conn;
	conn->events = &events;
	conn->ctx = &f->server;
}

static void
too_late(void *ctx, struct now now)
{
	fail_msg("the deadline passed");
}

static bool
at_turn_end(void *ctx)
{
	struct fixture *f = ctx;

	if (f->until(f))
		loop_stop(f->loop);
	return false;
}

static void
run_until(struct fixture *f, bool (*until)(struct fixture *f))
{
	f->until = until;
	loop_run(f->loop);
}

static void
end_init(struct fixture *f, struct end *end)
{
	end->f = f;
	buf_init(&end->got, 0);
	timer_init(&end->unpause, on_unpause, end);
}

static void
set_up(struct fixture *f, const char *certificate, const char *key)
{
	struct endpoint at = { .ip = { .family = IP_V4, .bytes = { 127, 0, 0, 1 } } };
	struct err err = { 0 };

	memset(f, 0, sizeof(*f));
	f->loop = loop_os_new(&err);
	f->net = net_os_new(f->loop, &err);
	f->listener = net_listen(f->net, &at, LISTEN_ALONE, on_accept, f, &err);
	f->tls_server = tls_server_new(in_dir(certificate), in_dir(key), &err);
	if (!f->tls_server)
		fail_msg("%s", err.text);
	f->tls_client = tls_client_new(in_dir("ca.pem"), &err);
	if (!f->tls_client)
		fail_msg("%s", err.text);
	f->peer.host = "mx.example.com";
	timer_init(&f->deadline, too_late, f);
	timer_start(&f->loop->timers, &f->deadline, loop_now(f->loop).mono + DEADLINE_US);
	f->turn_end = (struct loop_turn_end){ .fn = at_turn_end, .ctx = f };
	loop_os_add_turn_end(f->loop, &f->turn_end);
	end_init(f, &f->client);
	end_init(f, &f->server);
}

static void
tear_down(struct fixture *f)
{
	conn_close(f->client.conn);
	conn_close(f->server.conn);
	listener_close(f->net, f->listener);
	timer_stop(&f->loop->timers, &f->client.unpause);
	timer_stop(&f->loop->timers, &f->server.unpause);
	timer_stop(&f->loop->timers, &f->deadline);
	loop_os_remove_turn_end(&f->turn_end);
	net_os_free(f->net);
	loop_os_free(f->loop);
	tls_server_free(f->tls_server);
	tls_client_free(f->tls_client);
	buf_fini(&f->client.got);
	buf_fini(&f->server.got);
}

static void
dial(struct fixture *f)
{
	f->client.conn = net_dial(f->net, NULL, &f->listener->at, &events, &f->client, NULL);
	assert_non_null(f->client.conn);
}

static bool both_secure(struct fixture *f) { return f->client.tls_done && f->server.tls_done; }
static bool server_closed(struct fixture *f) { return f->server.closed; }
static bool client_closed(struct fixture *f) { return f->client.closed; }
static bool server_handshakes(struct fixture *f) { return f->server.conn && container_of(f->server.conn, struct conn_os, conn)->tls; }
static bool client_got_12(struct fixture *f) { return f->client.got_bytes >= 12; }

static void
turns_to_tls_in_the_middle_with_either_kind_of_key(void **state)
{
	static const char *names[][2] = { { "good.pem", "good.key" }, { "ec.pem", "ec.key" } };

	for (size_t i = 0; i < countof(names); i++) {
		struct fixture f;

		set_up(&f, names[i][0], names[i][1]);
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

	set_up(&f, "good.pem", "good.key");
	f.server.echo = true;
	dial(&f);
	f.early = SPAN("EHLO myself!");
	run_until(&f, client_got_12);
	assert_true(span_eq(buf_span(&f.client.got), f.early));
	tear_down(&f);
}

static bool
all_received(struct fixture *f)
{
	return f->client.got_bytes == 5000000 && f->server.got_bytes == 5000000;
}

static void
moves_much_both_ways_past_a_peer_that_pauses(void **state)
{
	struct fixture f;

	set_up(&f, "ec.pem", "ec.key");
	f.client.to_send = f.server.to_send = 5000000;
	f.client.pauses = f.server.pauses = true;
	dial(&f);
	run_until(&f, all_received);
	assert_int_equal(f.client.got_crc, f.server.sent_crc);
	assert_int_equal(f.server.got_crc, f.client.sent_crc);
	tear_down(&f);
}

static void
what_was_written_leaves_after_close(void **state)
{
	struct fixture f;

	set_up(&f, "ec.pem", "ec.key");
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

	set_up(&f, "ec.pem", "ec.key");
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

	set_up(&f, "ec.pem", "ec.key");
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
refuses_a_certificate_that_does_not_verify(void **state)
{
	static const struct { const char *certificate, *key, *host, *text; } cases[] = {
		{ "good.pem", "good.key", "other.example.com",
		  "TLS: certificate refused: The certificate Common Name (CN) does not match with the expected CN" },
		{ "stranger.pem", "stranger.key", "mx.example.com",
		  "TLS: certificate refused: The certificate is not correctly signed by the trusted CA" },
		{ "good.pem", "good.key", "127.0.0.1",
		  "TLS: certificate refused: The certificate Common Name (CN) does not match with the expected CN" },
		{ "good.pem", "good.key", "", "cannot verify a server without a name" },
	};

	for (size_t i = 0; i < countof(cases); i++) {
		struct fixture f;

		set_up(&f, cases[i].certificate, cases[i].key);
		f.peer.verify = true;
		f.peer.host = cases[i].host;
		dial(&f);
		run_until(&f, client_closed);
		assert_string_equal(f.client.tls_error, cases[i].text);
		assert_string_equal(f.client.close_error, cases[i].text);
		assert_null(f.client.conn->tls_version);
		conn_close(f.client.conn);
		f.client.conn = NULL;
		run_until(&f, server_closed);
		assert_false(f.server.tls_done);
		assert_true(f.server.tls_error[0] != '\0');
		tear_down(&f);
	}
}

static void
tells_the_peer_why_it_gave_up(void **state)
{
	struct fixture f;

	set_up(&f, "stranger.pem", "stranger.key");
	f.peer.verify = true;
	f.client.close_at = AT_TLS;
	dial(&f);
	run_until(&f, server_closed);
	assert_string_equal(f.server.tls_error,
			    "TLS: the peer gave up with alert 48 (unknown certificate authority)");
	assert_false(f.client.closed);
	tear_down(&f);
}

static void
takes_any_certificate_where_none_is_asked_for(void **state)
{
	static const char *hosts[] = { "mx.example.com", "127.0.0.1", "", "mx.example.com." };

	for (size_t i = 0; i < countof(hosts); i++) {
		struct fixture f;

		set_up(&f, "stranger.pem", "stranger.key");
		f.peer.host = hosts[i];
		dial(&f);
		run_until(&f, both_secure);
		tear_down(&f);
	}
}

static void
a_final_dot_is_no_part_of_the_name(void **state)
{
	struct fixture f;

	set_up(&f, "good.pem", "good.key");
	f.peer.verify = true;
	f.peer.host = "mx.example.com.";
	dial(&f);
	run_until(&f, both_secure);
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

		set_up(&f, "good.pem", "good.key");
		f.client_in_clear = true;
		dial(&f);
		run_until(&f, server_handshakes);
		conn_write(f.client.conn, cases[i]);
		conn_close(f.client.conn);
		f.client.conn = NULL;
		run_until(&f, server_closed);
		assert_true(f.server.tls_error[0] != '\0');
		assert_false(f.server.tls_done);
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

		set_up(&f, "ec.pem", "ec.key");
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

	set_up(&f, "good.pem", "good.key");
	f.client_in_clear = true;
	dial(&f);
	run_until(&f, server_handshakes);
	conn_close(f.client.conn);
	f.client.conn = NULL;
	run_until(&f, server_closed);
	assert_string_equal(f.server.tls_error, "TLS: the peer closed the connection during the handshake");
	assert_string_equal(f.server.close_error, f.server.tls_error);
	tear_down(&f);
}

/* Another connection to the same listener. */
static void
dial_again(struct fixture *f, struct tls_peer peer)
{
	struct end *ends[] = { &f->client, &f->server };

	for (size_t i = 0; i < countof(ends); i++) {
		conn_close(ends[i]->conn);
		buf_fini(&ends[i]->got);
		memset(ends[i], 0, sizeof(*ends[i]));
		end_init(f, ends[i]);
	}
	f->peer = peer;
	dial(f);
}

/* Whether its handshake was a short one. */
static bool
resumes(struct fixture *f, struct tls_peer peer)
{
	dial_again(f, peer);
	run_until(f, both_secure);
	assert_false(f->server.conn->tls_resumed);
	return f->client.conn->tls_resumed;
}

static void
a_host_is_met_again_without_a_second_look_at_its_certificate(void **state)
{
	struct tls_peer mx = { .host = "mx.example.com", .verify = true, .whose = "mta-1" };
	struct fixture f;

	set_up(&f, "good.pem", "good.key");
	f.server.echo = true;
	assert_false(resumes(&f, mx));
	for (unsigned i = 0; i < 3; i++) {
		assert_true(resumes(&f, mx));
		f.server.echo = true;
		conn_write(f.client.conn, SPAN("hello world!"));
		run_until(&f, client_got_12);
		assert_true(span_eq(buf_span(&f.client.got), SPAN("hello world!")));
	}
	tear_down(&f);
}

static void
only_the_same_with_the_same_demands_resume(void **state)
{
	struct tls_peer mx = { .host = "mx.example.com", .verify = false, .whose = "mta-1" }, other;
	struct fixture f;

	set_up(&f, "good.pem", "good.key");
	assert_false(resumes(&f, mx));
	other = mx;
	other.whose = "mta-2";
	assert_false(resumes(&f, other));
	other = mx;
	other.verify = true;
	assert_false(resumes(&f, other));
	other = mx;
	other.host = "other.example.com";
	assert_false(resumes(&f, other));
	other = mx;
	other.whose = NULL;
	assert_false(resumes(&f, other));
	assert_false(resumes(&f, other));
	assert_true(resumes(&f, mx));
	tear_down(&f);
}

static void
who_was_refused_is_never_resumed(void **state)
{
	struct tls_peer mx = { .host = "mx.example.com", .verify = true, .whose = "mta-1" };
	struct fixture f;

	set_up(&f, "stranger.pem", "stranger.key");
	mx.verify = false;
	assert_false(resumes(&f, mx));
	mx.verify = true;
	for (unsigned i = 0; i < 2; i++) {
		dial_again(&f, mx);
		run_until(&f, client_closed);
		assert_non_null(strstr(f.client.tls_error, "certificate refused"));
	}
	tear_down(&f);
}

static void
a_server_that_has_forgotten_makes_a_whole_handshake(void **state)
{
	struct tls_peer mx = { .host = "mx.example.com", .verify = true, .whose = "mta-1" };
	struct tls_server *before;
	struct fixture f;
	struct err err;

	set_up(&f, "good.pem", "good.key");
	assert_false(resumes(&f, mx));
	before = f.tls_server;
	f.tls_server = tls_server_new(in_dir("good.pem"), in_dir("good.key"), &err);
	assert_non_null(f.tls_server);
	assert_false(resumes(&f, mx));
	assert_true(resumes(&f, mx));
	tear_down(&f);
	tls_server_free(before);
}

static void
servers_that_share_their_tickets_know_each_others_clients(void **state)
{
	struct tls_peer mx = { .host = "mx.example.com", .verify = true, .whose = "mta-1" };
	struct tls_server *before;
	struct fixture f;
	struct err err;

	set_up(&f, "good.pem", "good.key");
	assert_false(resumes(&f, mx));
	before = f.tls_server;
	f.tls_server = tls_server_new(in_dir("good.pem"), in_dir("good.key"), &err);
	assert_non_null(f.tls_server);
	tls_server_share_tickets(f.tls_server, before);
	assert_true(resumes(&f, mx));
	tls_server_free(before);
	assert_true(resumes(&f, mx));
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

	set_up(&f, "good.pem", "good.key");
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

static void
says_which_file_is_wrong(void **state)
{
	static const struct { const char *certificate, *key, *text; } cases[] = {
		{ "none.pem", "good.key", "cannot read certificate %s/none.pem: No such file or directory" },
		{ "good.pem", "none.key", "cannot read key %s/none.key: No such file or directory" },
		{ "good.key", "good.key", "cannot read certificate %s/good.key: " },
		{ "good.pem", "good.pem", "cannot read key %s/good.pem: " },
		{ "good.pem", "ec.key", "key %s/ec.key does not belong to certificate " },
		{ "empty", "good.key", "cannot read certificate %s/empty: " },
	};

	for (size_t i = 0; i < countof(cases); i++) {
		struct err err;
		char text[300];
		const char *percent = strstr(cases[i].text, "%s");

		snprintf(text, sizeof(text), "%.*s%s%s", (int)(percent - cases[i].text), cases[i].text, dir, percent + 2);
		assert_null(tls_server_new(in_dir(cases[i].certificate), in_dir(cases[i].key), &err));
		if (!span_starts(span_text(err.text), span_text(text)))
			fail_msg("%s\n%s", err.text, text);
		assert_int_equal(err.kind, ERR_PERM);
	}
}

static void
authorities_come_from_a_file_or_a_folder(void **state)
{
	static const char *names[] = { "ca.pem", "." };
	struct err err;

	for (size_t i = 0; i < countof(names); i++) {
		struct tls_client *tls = tls_client_new(in_dir(names[i]), &err);

		if (!tls)
			fail_msg("%s", err.text);
		tls_client_free(tls);
	}
	assert_null(tls_client_new(in_dir("none"), &err));
	assert_non_null(strstr(err.text, "cannot read certificate authorities "));
	assert_null(tls_client_new(in_dir("empty"), &err));
	assert_non_null(strstr(err.text, "cannot read certificate authorities "));
}

static const char *commands =
	"cd '%s' && exec >log 2>&1 && set -e && touch empty\n"
	"openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 30 -subj /CN=authority\n"
	"openssl req -newkey rsa:2048 -nodes -keyout good.key -out good.csr -subj /CN=mx.example.com\n"
	"openssl x509 -req -in good.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -out good.pem\n"
	"openssl ecparam -name prime256v1 -genkey -noout -out ec.key\n"
	"openssl req -new -key ec.key -out ec.csr -subj /CN=mx.example.com\n"
	"openssl x509 -req -in ec.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -out ec.pem\n"
	"openssl req -x509 -newkey rsa:2048 -nodes -keyout stranger.key -out stranger.pem -days 30 -subj /CN=mx.example.com\n";

static int
make_certificates(void **state)
{
	char script[4000];

	snprintf(dir, sizeof(dir), "/tmp/conn_tls_os_test.XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(script, sizeof(script), commands, dir);
	return system(script);
}

static int
remove_certificates(void **state)
{
	char script[128];

	snprintf(script, sizeof(script), "rm -r '%s'", dir);
	return system(script);
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
		cmocka_unit_test(refuses_a_certificate_that_does_not_verify),
		cmocka_unit_test(tells_the_peer_why_it_gave_up),
		cmocka_unit_test(takes_any_certificate_where_none_is_asked_for),
		cmocka_unit_test(a_final_dot_is_no_part_of_the_name),
		cmocka_unit_test(a_server_survives_a_client_that_talks_nonsense),
		cmocka_unit_test(may_be_closed_in_any_event),
		cmocka_unit_test(the_peers_end_in_the_handshake_is_an_error_of_it),
		cmocka_unit_test(a_host_is_met_again_without_a_second_look_at_its_certificate),
		cmocka_unit_test(only_the_same_with_the_same_demands_resume),
		cmocka_unit_test(who_was_refused_is_never_resumed),
		cmocka_unit_test(a_server_that_has_forgotten_makes_a_whole_handshake),
		cmocka_unit_test(servers_that_share_their_tickets_know_each_others_clients),
		cmocka_unit_test(handshakes_that_come_at_once_take_turns),
		cmocka_unit_test(says_which_file_is_wrong),
		cmocka_unit_test(authorities_come_from_a_file_or_a_folder),
	};
	return cmocka_run_group_tests(tests, make_certificates, remove_certificates);
}
