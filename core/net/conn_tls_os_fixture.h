/*
 * conn_tls_os_fixture - for tests: connections that turn to TLS, and the certificates
 * for that, made once for all tests of a program: authority -> good (RSA) and ec, and
 * strangers.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdlib.h>

#include "net/conn_os_fixture.h"

static char dir[64];

static inline const char *
in_dir(const char *name)
{
	static char paths[4][128];
	static unsigned next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
	return path;
}

static const char *const commands =
	"cd '%s' && exec >log 2>&1 && set -e && touch empty\n"
	"openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 30 -subj /CN=authority\n"
	"openssl req -newkey rsa:2048 -nodes -keyout good.key -out good.csr -subj /CN=mx.example.com\n"
	"openssl x509 -req -in good.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -out good.pem\n"
	"openssl ecparam -name prime256v1 -genkey -noout -out ec.key\n"
	"openssl req -new -key ec.key -out ec.csr -subj /CN=mx.example.com\n"
	"openssl x509 -req -in ec.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -out ec.pem\n"
	"openssl req -x509 -newkey rsa:2048 -nodes -keyout stranger.key -out stranger.pem -days 30 -subj /CN=mx.example.com\n";

static inline int
make_certificates(void **state)
{
	char script[4000];

	snprintf(dir, sizeof(dir), "/tmp/conn_tls_os_test.XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(script, sizeof(script), commands, dir);
	return system(script);
}

static inline int
remove_certificates(void **state)
{
	char script[128];

	snprintf(script, sizeof(script), "rm -r '%s'", dir);
	return system(script);
}

static inline void
set_up_tls(struct fixture *f, const char *certificate, const char *key)
{
	struct err err = { 0 };

	set_up(f);
	f->tls_server = tls_server_new(in_dir(certificate), in_dir(key), &err);
	if (!f->tls_server)
		fail_msg("%s", err.text);
	f->tls_client = tls_client_new(in_dir("ca.pem"), &err);
	if (!f->tls_client)
		fail_msg("%s", err.text);
	f->peer.host = "mx.example.com";
}

static inline bool both_secure(struct fixture *f) { return f->client.secure && f->server.secure; }
static inline bool server_handshakes(struct fixture *f) { return f->server.conn && container_of(f->server.conn, struct conn_os, conn)->tls; }
