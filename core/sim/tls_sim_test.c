/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/net_sim_fixture.h"

static void
shakes_hands_in_a_round_trip(void **state)
{
	struct fixture f;

	set_up(&f);
	open_pair(&f);
	conn_write(f.client.conn, SPAN("clear"));
	conn_start_tls_client(f.client.conn, NULL, &(struct tls_peer){ .host = "mx", .verify = true });
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
	conn_start_tls_client(f->client.conn, NULL, &(struct tls_peer){ .host = "mx", .verify = verify });
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
	conn_start_tls_client(f.client.conn, NULL, &(struct tls_peer){ .host = "mx", .verify = false });
	conn_close(f.server.conn);
	f.server.conn = NULL;
	loop_run(f.loop);
	assert_true(span_starts(buf_span(&f.client.story),
				SPAN("tls(TLS: the peer closed the connection during the handshake)@80000 close(")));
	tear_down(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shakes_hands_in_a_round_trip),
		cmocka_unit_test(fails_the_handshake_as_the_host_says),
		cmocka_unit_test(ends_a_handshake_with_a_peer_that_goes_or_talks_in_clear),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
