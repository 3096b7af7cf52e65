/*
 * conn - a byte stream to a peer, with TLS that may begin in the middle; and
 * listeners. A door: the real side is conn_os.c (sockets, mbedTLS).
 *
 * The owner of a conn gets events and ends it with exactly one conn_close().
 * A conn that failed or was closed by its peer tells so once by on_close and
 * is silent from then on; the owner still closes it. conn_close() may be
 * called from within any event; no event comes after it. A handshake that
 * fails tells by on_tls(err), then, unless the owner closed there, by on_close.
 *
 * Output is gathered: conn_write() copies to the conn's buffer, and the loop
 * flushes at the end of its turn, so pipelined commands leave in one write.
 *
 * Ownership  conn_close() frees. Spans given to events are borrowed for the call.
 * Threads    The loop's.
 * Limits     conn_write() never refuses; who streams looks at conn_pending()
 *            and waits for on_drained. Timeouts are the owner's business.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "net/ip.h"
#include "net/loop.h"
#include "net/tls.h"

#define CONN_READ_MAX (64 * 1024)       /* bytes of one on_data */

struct conn;

struct conn_events {
	void (*on_open)(void *ctx);                             /* outbound: connected */
	void (*on_data)(void *ctx, struct span data);
	void (*on_drained)(void *ctx);                          /* the output fell to nothing; may be NULL */
	void (*on_tls)(void *ctx, const struct err *err);       /* handshake over; err NULL: done */
	void (*on_close)(void *ctx, const struct err *err);     /* err NULL: the peer closed in order */
};

struct conn_ops {
	void (*write)(struct conn *conn, struct span bytes);
	size_t (*pending)(const struct conn *conn);
	void (*pause)(struct conn *conn, bool paused);
	void (*start_tls_server)(struct conn *conn, const struct tls_server *tls);
	void (*start_tls_client)(struct conn *conn, struct tls_client *tls, const struct tls_peer *peer);
	void (*close)(struct conn *conn);
};

struct conn {
	const struct conn_ops    *ops;
	const struct conn_events *events;
	void                     *ctx;
	struct endpoint           local, peer;          /* unix sockets: IP_NONE */
	const char               *tls_version;          /* "TLSv1.2"; NULL in clear */
	const char               *tls_cipher;
	bool                      tls_resumed;          /* outbound: the session was one of before */
	uint32_t                  peer_uid;             /* unix sockets only; else UINT32_MAX */
	bool                      scarce;               /* accepted, TCP: one of the last descriptors, which are meant for others */
};

static inline void conn_write(struct conn *conn, struct span bytes) { conn->ops->write(conn, bytes); }
/* Bytes that the peer's socket has not taken yet. */
static inline size_t conn_pending(const struct conn *conn) { return conn->ops->pending(conn); }
/* While paused no on_data comes; the peer feels it through TCP. */
static inline void conn_pause(struct conn *conn, bool paused) { conn->ops->pause(conn, paused); }
/* Call when nothing that the peer sent in clear is left unread by the owner
 * (RFC 3207, 4.2); output written before is sent first, in clear. on_tls follows. */
static inline void conn_start_tls_server(struct conn *conn, const struct tls_server *tls) { conn->ops->start_tls_server(conn, tls); }
static inline void
conn_start_tls_client(struct conn *conn, struct tls_client *tls, const struct tls_peer *peer)
{
	conn->ops->start_tls_client(conn, tls, peer);
}
/* What was written is still sent where the peer takes it, within a few seconds. */
static inline void conn_close(struct conn *conn) { if (conn) conn->ops->close(conn); }

struct listener;

/* Several loops of one node may listen at one address; new connections are then spread over them. */
enum listen_share {
	LISTEN_ALONE,
	LISTEN_FIRST,           /* others join; nobody else may be there yet */
	LISTEN_JOINS,           /* where another of us listens first */
};

struct net;
struct net_ops {
	struct conn *(*dial)(struct net *net, const struct ip *source, const struct endpoint *to,
			     const struct conn_events *events, void *ctx, struct err *err);
	struct listener *(*listen)(struct net *net, const struct endpoint *at, enum listen_share share,
				   void (*on_accept)(void *ctx, struct conn *conn), void *ctx, struct err *err);
	struct listener *(*listen_unix)(struct net *net, const char *path,
					void (*on_accept)(void *ctx, struct conn *conn), void *ctx, struct err *err);
	void (*listener_close)(struct listener *listener);
};

struct net {
	const struct net_ops *ops;
	struct loop          *loop;
};

/* source: the local address to bind, or NULL for the system's choice. NULL is
 * returned only for what fails at once: ERR_PERM where it is the call's fault (an address
 * this machine has not), ERR_TEMP where descriptors or memory are short, which a moment may
 * mend. Else on_open or on_close follows, never before dial returned. */
static inline struct conn *
net_dial(struct net *net, const struct ip *source, const struct endpoint *to,
	 const struct conn_events *events, void *ctx, struct err *err)
{
	return net->ops->dial(net, source, to, events, ctx, err);
}

/* on_accept gets a conn whose events and ctx it must set before it returns.
 * Port 0 picks one: listener_at() says which. */
static inline struct listener *
net_listen(struct net *net, const struct endpoint *at, enum listen_share share,
	   void (*on_accept)(void *ctx, struct conn *conn), void *ctx, struct err *err)
{
	return net->ops->listen(net, at, share, on_accept, ctx, err);
}

/* A unix socket, mode 0600. A stale one (nobody answers) is replaced; a live
 * one is an error; so is a path too long for a socket, and a file that is none. */
static inline struct listener *
net_listen_unix(struct net *net, const char *path,
		void (*on_accept)(void *ctx, struct conn *conn), void *ctx, struct err *err)
{
	return net->ops->listen_unix(net, path, on_accept, ctx, err);
}

static inline void listener_close(struct net *net, struct listener *listener) { if (listener) net->ops->listener_close(listener); }

struct listener {
	struct endpoint at;             /* with the port in use */
};

/* The real one. */
struct net *net_os_new(struct loop *loop, struct err *err);
void net_os_free(struct net *net);
/* Makes the conn_close() that follows it a reset; what was not sent yet is lost. */
void net_os_reset(struct conn *conn);
