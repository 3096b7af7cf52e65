/*
 * smtp_client - the sending side of a session: bytes in, events and bytes out.
 * Owns no socket, reads no clock (RFC 5321, 1870 SIZE, 2920 PIPELINING, 3207
 * STARTTLS, 3461 DSN, 6152 8BITMIME, 6531 SMTPUTF8, 2034 ENHANCEDSTATUSCODES).
 *
 * The owner feeds what the peer sent with smtp_client_feed(), then calls
 * smtp_client_next() until it answers SMTP_CLIENT_WAIT, does what each event
 * asks, and writes out and empties client->out whenever it is not empty.
 *
 *   GREETING -> EHLO (HELO if refused with 5xx) [-> STARTTLS -> EHLO] -> READY
 *   READY -> MAIL, RCPT … -> DATA -> body -> final -> READY | QUIT -> CLOSED
 *
 * With PIPELINING the envelope and DATA leave in one piece of output. A 421 at
 * any point, or a reply that is no SMTP, ends the session.
 *
 * A reply in the middle of the body is an answer too: DONE may come between BODY and
 * smtp_client_body_sent(); the owner then stops writing.
 *
 * Ownership  Embedded; init/fini; not moved in between. The transaction's strings are borrowed until
 *            it ends (SMTP_CLIENT_DONE or the session's end).
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "smtp/smtp_notify.h"
#include "smtp/smtp_reply.h"
#include "util/buf.h"

enum smtp_stage {               /* names as in POLICY.md, `at` */
	SMTP_STAGE_CONNECT,
	SMTP_STAGE_GREETING,
	SMTP_STAGE_EHLO,
	SMTP_STAGE_STARTTLS,
	SMTP_STAGE_AUTH,
	SMTP_STAGE_MAIL,
	SMTP_STAGE_RCPT,
	SMTP_STAGE_DATA,
	SMTP_STAGE_FINAL,
};
const char *smtp_stage_name(enum smtp_stage stage);     /* "connect" … "final" */

enum smtp_extension {
	SMTP_EXT_PIPELINING = 1 << 0,
	SMTP_EXT_SIZE       = 1 << 1,
	SMTP_EXT_8BITMIME   = 1 << 2,
	SMTP_EXT_SMTPUTF8   = 1 << 3,
	SMTP_EXT_DSN        = 1 << 4,
	SMTP_EXT_STARTTLS   = 1 << 5,
	SMTP_EXT_ENHANCED   = 1 << 6,
	SMTP_EXT_CHUNKING   = 1 << 7,
};

struct smtp_client_config {
	const char *helo;               /* a domain, or an address literal in brackets */
	bool        use_starttls;       /* if offered */
	bool        require_starttls;   /* not offered, or refused: SMTP_CLIENT_FAILED */
};

struct smtp_client_rcpt {
	struct span       address;      /* no angle brackets */
	struct span       orcpt;        /* "rfc822;…" xtext as received; empty: none */
	uint8_t           notify;       /* enum smtp_notify bits; 0: not said */
	bool              answered;     /* out: reply holds the answer to RCPT or, later, the final one */
	bool              accepted;     /* out: RCPT was answered 2xx */
	enum smtp_stage   stage;        /* out: of the reply */
	struct smtp_reply reply;        /* out */
};

struct smtp_client_message {
	struct span sender;             /* no angle brackets; empty: null */
	struct span envid;              /* xtext; empty: none */
	struct span ret;                /* "FULL", "HDRS" or empty */
	uint64_t    size_bytes;         /* for SIZE= */
	bool        eightbit;           /* was declared BODY=8BITMIME */
	bool        smtputf8;           /* was declared SMTPUTF8 */
	struct smtp_client_rcpt *rcpts;
	unsigned    rcpts_n;
};

enum smtp_client_event {
	SMTP_CLIENT_WAIT,       /* nothing to do until more bytes come */
	SMTP_CLIENT_START_TLS,  /* begin the handshake; then smtp_client_tls_started() */
	SMTP_CLIENT_READY,      /* smtp_client_send() or smtp_client_quit() may be called */
	SMTP_CLIENT_BODY,       /* write the body, wire form, then smtp_client_body_sent() */
	SMTP_CLIENT_DONE,       /* the transaction is over: each rcpt has its answer; READY follows unless the session ends */
	SMTP_CLIENT_FAILED,     /* the session is over before a transaction: client->stage and client->reply say why */
	SMTP_CLIENT_CLOSED,     /* the session is over: after QUIT, or a 421; close the connection */
};

struct smtp_client {
	struct smtp_client_config config;
	struct buf          out;        /* bytes for the peer */
	struct buf          in;
	uint32_t            extensions; /* enum smtp_extension bits, of the last EHLO */
	uint64_t            size_max;   /* SIZE's argument; 0: none given */
	bool                tls;        /* started */
	enum smtp_stage     stage;      /* of `reply` */
	struct smtp_reply   reply;      /* the last one to a command of the session */
	unsigned            replies;    /* whole ones, read so far */
	struct smtp_client_message *message;    /* under way */
	/* the machine's own */
	int         state;
	unsigned    next_rcpt;          /* whose reply comes next */
	unsigned    accepted_n;
	bool        data_sent;          /* with PIPELINING: MAIL, RCPT and DATA have left together */
	bool        refused;            /* MAIL was; replies to what left with it are read and dropped */
	bool        half_open;          /* the peer has a transaction that needs RSET */
	bool        ended;              /* nothing comes after this transaction */
	struct smtp_reply_parser parser;
};

void smtp_client_init(struct smtp_client *client, const struct smtp_client_config *config);
/* For another connection, in the memory of the last one. Zeroed memory will do for a last one. */
void smtp_client_restart(struct smtp_client *client, const struct smtp_client_config *config);
/* Between two connections: what it keeps for the next is a few hundred bytes. */
void smtp_client_rest(struct smtp_client *client);
void smtp_client_fini(struct smtp_client *client);

void smtp_client_feed(struct smtp_client *client, struct span bytes);
enum smtp_client_event smtp_client_next(struct smtp_client *client);

/* After START_TLS and a handshake that went well. Anything the peer sent in clear behind its
 * reply to STARTTLS has already been answered by FAILED. */
void smtp_client_tls_started(struct smtp_client *client);

/* Only while READY. What the peer cannot take (SIZE too small, SMTPUTF8 or 8BITMIME needed
 * and not offered) is answered without a word on the wire: DONE comes at once, with replies
 * 552 5.3.4, 550 5.6.7, 550 5.6.3 made here. */
void smtp_client_send(struct smtp_client *client, struct smtp_client_message *message);
/* After BODY: the owner has written the body (each line ending CRLF, dot-stuffed); this puts
 * the final dot in `out`. */
void smtp_client_body_sent(struct smtp_client *client);
void smtp_client_quit(struct smtp_client *client);

/* What the peer owes us now, for the owner's timeout: the stage whose reply is awaited. */
enum smtp_stage smtp_client_awaits(const struct smtp_client *client);

/* The connection broke or timed out: gives every recipient of the message under way that has no
 * final answer `reply` (stage as awaited). The owner then finishes as after DONE; no event but
 * CLOSED comes any more. */
void smtp_client_broken(struct smtp_client *client, const struct smtp_reply *reply);
