/*
 * smtp_reply - a server's reply: parsed from bytes (RFC 5321, 4.2), and
 * formatted for our own.
 *
 * Limits     A line of at most SMTP_REPLY_LINE_MAX bytes and at most
 *            SMTP_REPLY_LINES_MAX lines; more is an error. Of the text the first
 *            SMTP_REPLY_TEXT_MAX bytes are kept.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "util/span.h"

#define SMTP_REPLY_LINE_MAX  4096
#define SMTP_REPLY_LINES_MAX 256
#define SMTP_REPLY_TEXT_MAX  1000

struct smtp_reply {
	uint16_t code;                  /* 200 … 599 */
	char     enhanced[12];          /* "4.7.0", or "" */
	uint16_t text_at;               /* where the text begins in `line` */
	bool     local;                 /* made here; a peer may send any code, 400 too */
	/* The reply as one line: "421 4.7.0 text of line one and line two";
	 * code and enhanced code once, lines joined by a blank, control
	 * characters and what is not UTF-8 as '?'. What patterns, logs and
	 * accounting see. Where lines differ in code, the last one's counts. */
	char     line[SMTP_REPLY_TEXT_MAX + 1];
};

/* As by =, but only as much as the line is long: most have 30 bytes. */
static inline void
smtp_reply_copy(struct smtp_reply *to, const struct smtp_reply *from)
{
	memcpy(to, from, offsetof(struct smtp_reply, line) + strlen(from->line) + 1);
}

static inline bool smtp_reply_ok(const struct smtp_reply *r) { return r->code >= 200 && r->code < 400; }
static inline bool smtp_reply_temp(const struct smtp_reply *r) { return r->code >= 400 && r->code < 500; }
static inline bool smtp_reply_perm(const struct smtp_reply *r) { return r->code >= 500; }

/* Makes one, `local`, that reads as if it had been received: smtp_reply_make(&r, 400, "4.4.1", "connect timed out"). */
void smtp_reply_make(struct smtp_reply *reply, unsigned code, const char *enhanced, const char *text);
/* From "421 RP-001 too many" or "552 5.3.4 too big": code, enhanced code if there. False: not a reply. */
bool smtp_reply_from_text(struct smtp_reply *reply, struct span text);

struct smtp_reply_parser {
	uint16_t lines;
	uint16_t code;                  /* of the first line */
	bool     codes_differ;          /* of the reply read last: RFC 5321, 4.2.1, wants them equal */
	struct smtp_reply reply;
	/* EHLO keywords are told line by line: called for each line's text (after
	 * the code and separator) as it is completed; may be NULL. */
	void (*on_line)(void *ctx, struct span text);
	void *ctx;
};

enum smtp_reply_parse { SMTP_REPLY_MORE, SMTP_REPLY_DONE, SMTP_REPLY_BAD };

void smtp_reply_parser_init(struct smtp_reply_parser *parser);
/* Takes whole lines from the front of *in; what is less stays there, for the next call with more of it. DONE:
 * parser->reply holds it, what follows it is still in *in. BAD: the peer does not speak SMTP. A bare LF ends a
 * line here: nothing can be smuggled through a reply that we only read. */
enum smtp_reply_parse smtp_reply_parse(struct smtp_reply_parser *parser, struct span *in);
