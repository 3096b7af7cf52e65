/*
 * conn_os - what the real connections, listeners and lingering sockets share.
 *
 *   conn_os.c      a connection's life in clear
 *   dial_os.c      its beginning, where it is ours
 *   conn_tls_os.c  what TLS adds to it
 *   linger_os.c    what is left of a connection whose owner closed it
 *   listen_os.c    listeners
 *   descriptors_os.c  who may have the last descriptors
 *   sockaddr_os.c  addresses and errors, the system's and ours
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include "net/conn.h"
#include "net/loop_os.h"
#include "net/tls_os.h"
#include "util/buf.h"

#define SPARES_MAX      32
#define SPARE_BYTES_MAX (256 * 1024)

struct net_os {
	struct net           net;
	struct ev_loop      *ev;
	struct loop_turn_end turn_end;
	struct list          conns;
	struct list          dirty;             /* conns with output to send */
	struct list          deferred;          /* conns with an event that no socket will tell */
	struct list          dead;              /* closed conns, freed at the end of the turn */
	struct list          lingers;
	struct list          warm;              /* conn_tls whose sessions hold memory for records */
	struct timer         rest_timer;        /* runs while there are some */
	struct list          listeners;
	struct list          dead_listeners;
	struct buf           spares[SPARES_MAX];        /* the memory of what was sent, for what comes next */
	unsigned             spares_n;
	char                *read_room;         /* CONN_READ_MAX */
	char                *plain_room;        /* TLS_RECORD_MAX */
	bool                 shook_hands;       /* a handshake went on: the next waits for its turn */
	int                  inbound_end, outbound_end; /* descriptors from here on are for others */
};

enum conn_state {
	CONN_CONNECTING,
	CONN_OPEN,
	CONN_ENDED,             /* on_close was called; output may still leave */
	CONN_CLOSED,            /* by the owner; freed soon */
};

struct conn_tls {
	struct tls_session *session;    /* NULL: it could not begin; `err` says why */
	struct buf          plain;      /* output that is not encrypted yet */
	struct buf          held;       /* input that came while the owner paused, or others shook hands */
	bool                handshaking;
	bool                open;       /* the handshake is done, and nothing failed since */
	bool                used;       /* since rest_timer looked */
	struct list         warm;       /* net's; not linked: nothing was sent or read since the session was put to rest */
	struct err          err;
};

struct conn_os {
	struct conn      conn;
	struct net_os   *net;
	struct list      link;          /* of net's conns, or dead */
	struct list      dirty;
	struct list      deferred;
	ev_io            io;
	struct buf       out;           /* for the socket; no memory when empty */
	struct conn_tls *tls;           /* NULL in clear */
	int              fd;
	int              sys;           /* why the socket takes no more, or cannot connect; 0: it does */
	uint8_t          state;         /* enum conn_state */
	uint8_t          interest;      /* EV_READ | EV_WRITE */
	bool             paused;
	bool             blocked;       /* the socket is full: wait for EV_WRITE */
	bool             owed;          /* the owner wrote: on_drained is due when it is sent */
};

/* conn_os.c */
struct conn_os *conn_os_new(struct net_os *net, int fd, enum conn_state state);
void conn_os_mark_dirty(struct conn_os *c);
void conn_os_defer(struct conn_os *c);
void conn_os_update_interest(struct conn_os *c);
void conn_os_end(struct conn_os *c, const struct err *err);     /* err NULL: in order */

/* conn_tls_os.c; the functions take a conn that has c->tls */
void conn_tls_start_server(struct conn *conn, const struct tls_server *tls);
void conn_tls_start_client(struct conn *conn, struct tls_client *tls, const struct tls_peer *peer);
void conn_tls_free(struct conn_os *c);
void conn_tls_input(struct conn_os *c, struct span bytes);
void conn_tls_resume(struct conn_os *c);        /* goes on with what was held, or tells a late error */
bool conn_tls_in_line(const struct conn_os *c); /* its handshake waits for its turn: it is not read */
void conn_tls_end(struct conn_os *c, const struct err *err);    /* tells on_tls where it is still due */
bool conn_tls_encrypt(struct conn_os *c, size_t out_max, struct err *err);
void conn_tls_rest(void *ctx, struct now now);  /* net's rest_timer */

/* linger_os.c; takes fd and what is in `out`. drain: read until the peer ends. */
void linger_start(struct net_os *net, int fd, struct buf *out, bool drain);
void linger_free_all(struct net_os *net);

/* dial_os.c */
struct conn *dial_os_tcp(struct net *net, const struct ip *source, const struct endpoint *to,
			 const struct conn_events *events, void *ctx, struct err *err);

/* listen_os.c */
struct listener *listen_os_tcp(struct net *net, const struct endpoint *at, enum listen_share share,
			       void (*on_accept)(void *ctx, struct conn *conn), void *ctx, struct err *err);
struct listener *listen_os_unix(struct net *net, const char *path,
				void (*on_accept)(void *ctx, struct conn *conn), void *ctx, struct err *err);
void listen_os_close(struct listener *listener);
void listen_os_free_dead(struct net_os *net);
void listen_os_free_all(struct net_os *net);

/* descriptors_os.c */
void descriptors_share(struct net_os *net);

/* sockaddr_os.c */
socklen_t sockaddr_from_endpoint(const struct endpoint *endpoint, struct sockaddr_storage *out);
void sockaddr_to_endpoint(const struct sockaddr_storage *addr, struct endpoint *out);   /* IP_NONE: another family */
const char *sys_text(int sys, char out[96]);    /* "connection refused" */
