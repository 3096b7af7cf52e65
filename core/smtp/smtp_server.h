/*
 * smtp_server - the receiving side of a session: bytes in, events and bytes
 * out. Owns no socket, reads no clock, decides no policy: the owner answers.
 * (RFC 5321; 1870 SIZE, 2034 ENHANCEDSTATUSCODES, 2920 PIPELINING, 3030
 * CHUNKING, 3207 STARTTLS, 3461 DSN, 6152 8BITMIME, 6531 SMTPUTF8.)
 *
 * The owner feeds bytes with smtp_server_feed() and calls smtp_server_next()
 * until SMTP_SERVER_WAIT. Most events must be answered by smtp_server_reply();
 * until then next() answers WAIT. server->out is written out and emptied
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
 * Limits     Command line 4096 bytes (RFC 5321's 512 and what extensions add).
 *            Input is buffered to 128 KiB, so that 64 KiB can be fed after every
 *            WAIT; while an answer is owed, smtp_server_room() says how much.
 *            What does not fit ends the session.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "smtp/smtp_body.h"
#include "smtp/smtp_notify.h"
#include "smtp/smtp_reply.h"
#include "util/buf.h"

#define SMTP_SERVER_LINE_MAX      4096
#define SMTP_SERVER_BODY_LINE_MAX SMTP_BODY_LINE_MAX
#define SMTP_SERVER_INPUT_MAX     (128 * 1024)
#define SMTP_SERVER_JUNK_MAX      100   /* commands that lead nowhere (NOOP, RSET, EHLO …) a message; then each is an error */

struct smtp_server_config {
	const char *hostname;
	uint64_t    size_max;           /* SIZE */
	unsigned    errors_max;         /* then 421 and the end */
	bool        starttls;           /* offered */
	bool        require_tls;        /* MAIL before STARTTLS: 530 5.7.0 */
	void      (*on_command)(void *ctx, struct span line);   /* each command, before its event; NULL: nobody looks */
	void       *ctx;
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
	struct span sender_domain;      /* its part; empty: there is none */
	uint64_t    declared_size;      /* 0: not said */
	bool        eightbit;           /* BODY=8BITMIME */
	bool        smtputf8;
	struct span envid, ret;         /* as given, checked; empty: none */
	/* of RCPT */
	struct span recipient, recipient_domain;
	struct span orcpt;
	uint8_t     notify;             /* enum smtp_notify bits */
	/* of BODY */
	struct span body;
	uint64_t    body_bytes;         /* of the message so far, as SIZE counts: without the stuffed dots */
	const char *closing;            /* why CLOSE came, for the log: "quit", "bare LF in the body", … */

	/* the machine's own */
	int         state;
	bool        awaiting;           /* an answer by the owner, to the event `asked` */
	enum smtp_server_event asked;
	size_t      pending;            /* bytes of `in` that the last event's spans point to */
	unsigned    rcpts, junk;
	bool        in_transaction, too_big;
	unsigned    body_line;          /* bytes of the body's last line so far */
	/* of BDAT */
	bool        bdat, bdat_last, bdat_failed;
	uint64_t    bdat_size, bdat_left;
	bool        swallow;            /* this chunk is refused: by swallow_text at its end, if not already */
	unsigned    swallow_code;
	const char *swallow_text;
	bool        cr_held;            /* the last chunk ended between CR and LF */
	bool        dot_doubled;        /* the next byte is a dot that was given once */
	bool        data_refused;       /* by the last reply */
};

void smtp_server_init(struct smtp_server *server, const struct smtp_server_config *config);
void smtp_server_fini(struct smtp_server *server);

/* The first reply: "220 …", or a refusal "421 …"/"554 …" after which CLOSE is the next event. */
void smtp_server_greet(struct smtp_server *server, unsigned code, const char *text);

void smtp_server_feed(struct smtp_server *server, struct span bytes);
/* How much feed() takes now. */
size_t smtp_server_room(const struct smtp_server *server);
enum smtp_server_event smtp_server_next(struct smtp_server *server);

/* The command that the last event came from, as it was said, without CRLF; empty where it came from a body. */
static inline struct span
smtp_server_line(const struct smtp_server *server)
{
	bool said = server->awaiting && server->asked != SMTP_SERVER_END && server->pending >= 2;

	return said ? span_first(buf_span(&server->in), server->pending - 2) : SPAN("");
}

/* text begins with the enhanced code ("2.1.0 OK", "4.3.0 later"). 4xx/5xx counts as an error of the
 * client, unless smtp_server_reply_uncounted() says it. 421 closes. Control characters in the
 * text become '?'. A refused DATA leaves the transaction open, as a refused RCPT does; of BDAT the
 * chunk is swallowed, and with its LAST one comes RESET. */
void smtp_server_reply(struct smtp_server *server, unsigned code, const char *text);
void smtp_server_reply_uncounted(struct smtp_server *server, unsigned code, const char *text);
/* 250 with the extensions (EHLO) or alone (HELO). */
void smtp_server_reply_helo(struct smtp_server *server);
void smtp_server_tls_started(struct smtp_server *server);
/* Ends the session from the owner's side: "421 4.4.2 timeout"; CLOSE is the next event. */
void smtp_server_end(struct smtp_server *server, unsigned code, const char *text);
