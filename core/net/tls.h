/*
 * tls - the two ends' long-lived settings; the handshake itself happens in conn.
 *
 * Ownership  new/free; a server must outlive the connections that use it, a client stays as long as they do.
 * Threads    A server's: any (what changes inside is locked). A client's: one, for it
 *            remembers sessions.
 * Limits     A session is resumed for an hour, by TLS_MEMORY_MAX hosts a client.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "util/err.h"

struct tls_server;
struct tls_client;

/* Whom a client means to reach. */
struct tls_peer {
	const char *host;               /* no blank in it */
	bool        verify;             /* the chain must lead to a known authority and name the host */
	const char *whose;              /* sessions are resumed among those who say the same; NULL: never */
};

/* PEM files. The error names the file and what is wrong with it. */
struct tls_server *tls_server_new(const char *certificate_path, const char *key_path, struct err *err);
void tls_server_free(struct tls_server *tls);
/* Before its first session: what either of the two hands out to resume a session by, both take. */
void tls_server_share_tickets(struct tls_server *tls, const struct tls_server *with);

/* ca_path: a PEM file or a folder of such; NULL: the system's
 * (/etc/ssl/certs/ca-certificates.crt). A system without any is fine until a
 * verification is asked for. */
struct tls_client *tls_client_new(const char *ca_path, struct err *err);
void tls_client_free(struct tls_client *tls);
/* False: the authorities were written or replaced since they were read. */
bool tls_client_is_current(const struct tls_client *tls);
