/*
 * tls_sim - a handshake without keys, with the steps that cost time:
 *
 *   client: hello --> server: ready --> client: done, finished --> server: done
 *
 * so that each end hears of it when it would, and bytes that come out of turn
 * break it as they would.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/conn_sim.h"

#define ALERT_HANDSHAKE_FAILURE 40u     /* RFC 5246, 7.2 */
#define ALERT_UNKNOWN_CA        48u

static void
start(struct conn_sim *c, bool server)
{
	check(!c->conn.tls_version && !c->handshaking);
	check(c->state != SIM_CLOSED);
	if (c->state != SIM_OPEN)
		return;
	c->handshaking = true;
	c->tls_server = server;
	c->clear_bytes = buf_len(&c->out);
	conn_sim_dirty(c);
	conn_sim_arm(c);
}

void
tls_sim_start_server(struct conn *conn, const struct tls_server *tls)
{
	start(container_of(conn, struct conn_sim, conn), true);
}

void
tls_sim_start_client(struct conn *conn, struct tls_client *tls, const struct tls_peer *peer)
{
	struct conn_sim *c = container_of(conn, struct conn_sim, conn);

	c->tls_verify = peer->verify;
	start(c, false);
}

static void
tell(struct conn_sim *c, enum mark_what what, uint32_t n)
{
	if (c->peer)
		conn_sim_mark(c->peer, what, n, c->wire->loop->now.mono + c->latency_us);
}

void
tls_sim_step(struct conn_sim *c)
{
	if (c->tls_sent || (c->tls_server && !c->tls_greeted))
		return;
	c->tls_sent = true;
	if (c->tls_server && c->tls_fails) {
		tell(c, MARK_TLS_ALERT, ALERT_HANDSHAKE_FAILURE);
		conn_sim_fail(c, 0, "TLS: The server has no ciphersuites in common with the client");
	} else {
		tell(c, c->tls_server ? MARK_TLS_READY : MARK_TLS_HELLO, 0);
	}
}

static void
done(struct conn_sim *c)
{
	c->handshaking = false;
	c->conn.tls_version = "TLSv1.2";
	c->conn.tls_cipher = "TLS-ECDHE-RSA-WITH-AES-256-GCM-SHA384";
	conn_sim_dirty(c);
	c->conn.events->on_tls(c->conn.ctx, NULL);
}

static void
server_ready(struct conn_sim *c)
{
	if (c->tls_verify && c->tls_untrusted) {
		tell(c, MARK_TLS_ALERT, ALERT_UNKNOWN_CA);
		conn_sim_fail(c, 0, "TLS: certificate refused: The certificate is not correctly signed by the trusted CA");
		return;
	}
	tell(c, MARK_TLS_FINISHED, 0);
	done(c);
}

void
tls_sim_arrived(struct conn_sim *c, const struct mark *mark)
{
	if (mark->what == MARK_TLS_HELLO) {
		c->tls_greeted = true;
		if (c->handshaking)
			conn_sim_dirty(c);
	} else if (!c->handshaking) {
		conn_sim_fail(c, 0, "TLS: An unexpected message was received from our peer");
	} else if (mark->what == MARK_TLS_READY) {
		server_ready(c);
	} else if (mark->what == MARK_TLS_FINISHED) {
		done(c);
	} else if (mark->n == ALERT_UNKNOWN_CA) {
		conn_sim_fail(c, 0, "TLS: the peer gave up with alert 48 (unknown certificate authority)");
	} else {
		conn_sim_fail(c, 0, "TLS: the peer gave up with alert 40 (handshake failure: nothing in common)");
	}
}
