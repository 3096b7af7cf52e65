/* Whom a connection with TLS believes: certificates, names, authorities; and whom it knows from before. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "net/conn_tls_os_fixture.h"

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

		set_up_tls(&f, cases[i].certificate, cases[i].key);
		f.peer.verify = true;
		f.peer.host = cases[i].host;
		dial(&f);
		run_until(&f, client_closed);
		assert_string_equal(f.client.tls_error, cases[i].text);
		assert_string_equal(f.client.error, cases[i].text);
		assert_null(f.client.conn->tls_version);
		conn_close(f.client.conn);
		f.client.conn = NULL;
		run_until(&f, server_closed);
		assert_false(f.server.secure);
		assert_true(f.server.tls_error[0] != '\0');
		tear_down(&f);
	}
}

static void
tells_the_peer_why_it_gave_up(void **state)
{
	struct fixture f;

	set_up_tls(&f, "stranger.pem", "stranger.key");
	f.peer.verify = true;
	f.client.close_at = AT_TLS;
	dial(&f);
	run_until(&f, server_closed);
	assert_string_equal(f.server.tls_error,
			    "TLS: the peer gave up with alert 48 (unknown certificate authority)");
	assert_false(f.client.closed);
	tear_down(&f);
}

/* verify, and host: how the client looks at it. */
static void
assert_taken(const char *cert, const char *key, bool verify, const char *host)
{
	struct fixture f;

	set_up_tls(&f, cert, key);
	f.peer.verify = verify;
	f.peer.host = host;
	dial(&f);
	run_until(&f, both_secure);
	tear_down(&f);
}

static void
takes_any_certificate_where_none_is_asked_for(void **state)
{
	static const char *hosts[] = { "mx.example.com", "127.0.0.1", "", "mx.example.com." };

	for (size_t i = 0; i < countof(hosts); i++)
		assert_taken("stranger.pem", "stranger.key", false, hosts[i]);
}

static void
a_final_dot_is_no_part_of_the_name(void **state)
{
	assert_taken("good.pem", "good.key", true, "mx.example.com.");
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

	set_up_tls(&f, "good.pem", "good.key");
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

	set_up_tls(&f, "good.pem", "good.key");
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

	set_up_tls(&f, "stranger.pem", "stranger.key");
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

/* The server as after a restart. Gives the one before. */
static struct tls_server *
begin_anew(struct fixture *f)
{
	struct tls_server *before = f->tls_server;
	struct err err = { 0 };

	f->tls_server = tls_server_new(in_dir("good.pem"), in_dir("good.key"), &err);
	if (!f->tls_server)
		fail_msg("%s", err.text);
	return before;
}

static void
a_server_that_has_forgotten_makes_a_whole_handshake(void **state)
{
	struct tls_peer mx = { .host = "mx.example.com", .verify = true, .whose = "mta-1" };
	struct tls_server *before;
	struct fixture f;

	set_up_tls(&f, "good.pem", "good.key");
	assert_false(resumes(&f, mx));
	before = begin_anew(&f);
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

	set_up_tls(&f, "good.pem", "good.key");
	assert_false(resumes(&f, mx));
	before = begin_anew(&f);
	tls_server_share_tickets(f.tls_server, before);
	assert_true(resumes(&f, mx));
	tls_server_free(before);
	assert_true(resumes(&f, mx));
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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refuses_a_certificate_that_does_not_verify),
		cmocka_unit_test(tells_the_peer_why_it_gave_up),
		cmocka_unit_test(takes_any_certificate_where_none_is_asked_for),
		cmocka_unit_test(a_final_dot_is_no_part_of_the_name),
		cmocka_unit_test(a_host_is_met_again_without_a_second_look_at_its_certificate),
		cmocka_unit_test(only_the_same_with_the_same_demands_resume),
		cmocka_unit_test(who_was_refused_is_never_resumed),
		cmocka_unit_test(a_server_that_has_forgotten_makes_a_whole_handshake),
		cmocka_unit_test(servers_that_share_their_tickets_know_each_others_clients),
		cmocka_unit_test(says_which_file_is_wrong),
		cmocka_unit_test(authorities_come_from_a_file_or_a_folder),
	};
	return cmocka_run_group_tests(tests, make_certificates, remove_certificates);
}
