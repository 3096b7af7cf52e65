/*
 * smtp_server - the receiving side of a session: bytes in, events and bytes
 * out. Owns no socket, reads no clock, decides no policy: the owner answers.
 * (RFC 5321; 1870 SIZE, 2034 ENHANCEDSTATUSCODES, 2920 PIPELINING, 3030
 * CHUNKING, 3207 STARTTLS, 3461 DSN, 6152 8BITMIME, 6531 SMTPUTF8.)
 *
 * The owner feeds bytes with smtp_server_feed() and calls smtp_server_next()
 * until SMTP_SERVER_WAIT. Most events must be answered by smtp_server_reply()
 * before the next call of next(). client->out is written out and emptied
 * by the owner; replies to pipelined commands so leave together.
 *
 * Line endings are strict (SMTP smuggling): a bare CR or LF, in a command or
 * in a body, a NUL in a body, ends the session after a 5xx. A line of a body
 * may have 32 KiB.
 *
 * The body is given in wire form: CRLF, dot-stuffed, without the final dot. From
 * BDAT it is stuffed here, so that the owner sees one form; where its last
 * line lacks CRLF it is added.
 *
 * Ownership  Embedded; init/fini. An event's spans hold until the next call.
 * Limits     Command line 4096 bytes (RFC 5321's 512 and what extensions add);
 *            input is buffered to 64 KiB: feed only after WAIT.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "smtp/smtp_reply.h"
#include "util/buf.h"

#define SMTP_SERVER_LINE_MAX      4096
#define SMTP_SERVER_BODY_LINE_MAX 32768

struct smtp_server_config {
	const char *hostname;
	uint64_t    size_max;           /* SIZE */
	unsigned    errors_max;         /* then 421 and the end */
	bool        starttls;           /* offered */
	bool        require_tls;        /* MAIL before STARTTLS: 530 5.7.0 */
};

enum smtp_server_event {
	SMTP_SERVER_WAIT,
	SMTP_SERVER_HELO,       /* helo, esmtp; answered by smtp_server_reply_helo() or reply(5xx) */
	SMTP_SERVER_START_TLS,  /* the 220 is in `out`: flush it, begin the handshake, then tls_started() */
	SMTP_SERVER_MAIL,       /* sender and its parameters; reply */
	SMTP_SERVER_RCPT,       /* recipient and its parameters; reply */
	SMTP_SERVER_DATA,       /* a transaction with a recipient; reply 354 (or 4xx/5xx). For BDAT: any 2xx/3xx goes on */
	SMTP_SERVER_BODY,       /* body: a piece of it, wire form; no reply */
	SMTP_SERVER_END,        /* the whole body was given; reply. May be later: next() answers WAIT until then */
	SMTP_SERVER_RESET,      /* the transaction is dropped (RSET, EHLO, an error inside DATA); no reply */
	SMTP_SERVER_CLOSE,      /* flush `out` and close: QUIT, too many errors, smuggling */
};

struct smtp_server {
	struct smtp_server_config config;
	struct buf  in, out;
	bool        tls;
	bool        esmtp;
	char        helo[256];          /* as given; "" before */
	unsigned    errors;

	/* of MAIL */
	struct span sender;             /* without angle brackets; empty: null */
	uint64_t    declared_size;      /* 0: not said */
	bool        eightbit;           /* BODY=8BITMIME or BINARYMIME's refusal: see below */
	bool        smtputf8;
	struct span envid, ret;         /* as given, checked; empty: none */
	/* of RCPT */
	struct span recipient;
	struct span orcpt;
	uint8_t     notify;             /* enum smtp_notify bits */
	/* of BODY */
	struct span body;
	uint64_t    body_bytes;         /* of the message so far */
	const char *closing;            /* why CLOSE came, for the log: "quit", "bare LF in the body", … */

	/* the machine's own */
	int         state;
	bool        awaiting;           /* an answer by the owner */
	bool        in_transaction, too_big, bdat, bdat_last;
	unsigned    rcpts;
	uint64_t    bdat_left;
	int         body_state;
	unsigned    body_line;
	char        last;
	struct buf  scratch;            /* stuffed BDAT */
};

void smtp_server_init(struct smtp_server *server, const struct smtp_server_config *config);
void smtp_server_fini(struct smtp_server *server);

/* The first reply: "220 …", or a refusal "421 …"/"554 …" after which CLOSE is the next event. */
void smtp_server_greet(struct smtp_server *server, unsigned code, const char *text);

void smtp_server_feed(struct smtp_server *server, struct span bytes);
enum smtp_server_event smtp_server_next(struct smtp_server *server);

/* text begins with the enhanced code ("2.1.0 OK", "4.3.0 later"). 4xx/5xx counts as an error of the
 * client, unless smtp_server_reply_uncounted() says it. 421 closes. */
void smtp_server_reply(struct smtp_server *server, unsigned code, const char *text);
void smtp_server_reply_uncounted(struct smtp_server *server, unsigned code, const char *text);
/* 250 with the extensions (EHLO) or alone (HELO). */
void smtp_server_reply_helo(struct smtp_server *server);
void smtp_server_tls_started(struct smtp_server *server);
/* Ends the session from the owner's side: "421 4.4.2 timeout"; CLOSE is the next event. */
void smtp_server_end(struct smtp_server *server, unsigned code, const char *text);
