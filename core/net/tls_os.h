/*
 * tls_os - one end of one TLS connection, without a socket: bytes from the
 * peer go in by tls_session_feed(), bytes for the peer are added to a buf.
 *
 * Ownership  new/free; the tls_server and the buf must outlive it.
 *            What is fed is borrowed until the caller takes back what was not
 *            read of it with tls_session_unfed().
 * Limits     About 40 KiB a session: mbedTLS keeps a record each way. 12 KiB where it was put to rest.
 * Errors     ERR_TEMP all: the next try may meet another machine.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "net/tls.h"
#include "util/buf.h"

#define TLS_RECORD_MAX 16384            /* what one read can give */

struct tls_session;

struct tls_session *tls_session_new_server(const struct tls_server *tls, struct buf *wire, struct err *err);
/* Offers to resume what was remembered of that peer. */
struct tls_session *tls_session_new_client(struct tls_client *tls, const struct tls_peer *peer, mono_us_t now,
					   struct buf *wire, struct err *err);
void tls_session_free(struct tls_session *session);

void tls_session_feed(struct tls_session *session, struct span bytes);
struct span tls_session_unfed(struct tls_session *session);

enum tls_progress {
	TLS_WANTS_INPUT,
	TLS_DONE,               /* of the handshake; of a read: there is data */
	TLS_ENDED,              /* the peer said goodbye */
	TLS_FAILED,
};

enum tls_progress tls_session_handshake(struct tls_session *session, struct err *err);
/* Once the handshake is done, of a client: whether it was a short one, and for the next time. */
bool tls_session_resumed(const struct tls_session *session);
void tls_session_remember(struct tls_session *session, mono_us_t now);
/* `room` is TLS_RECORD_MAX bytes. */
enum tls_progress tls_session_read(struct tls_session *session, char *room, struct span *data_out, struct err *err);
bool tls_session_write(struct tls_session *session, struct span bytes, struct err *err);
void tls_session_say_goodbye(struct tls_session *session);
/* Gives the memory of records back to the system until there are some. False: one is only half here. */
bool tls_session_rest(struct tls_session *session);

const char *tls_session_version(const struct tls_session *session);    /* "TLSv1.2" */
const char *tls_session_cipher(const struct tls_session *session);
