/*
 * smtp_body - scans a message's bytes as they come off the wire (RFC 5321,
 * 2.3.8): lines end in CRLF, and CR, LF and NUL stand nowhere else; and once more before they
 * go out, whoever made them.
 *
 * Limits     A line of at most SMTP_BODY_LINE_MAX bytes before its CRLF.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "util/span.h"

#define SMTP_BODY_LINE_MAX 32768

enum smtp_body_stop {
	SMTP_BODY_MORE,         /* nothing wrong so far */
	SMTP_BODY_DOT,          /* here a line begins with a dot */
	SMTP_BODY_BARE_LF,
	SMTP_BODY_BARE_CR,
	SMTP_BODY_NUL,
	SMTP_BODY_LONG,
};

/* `in` begins *line bytes into a line; 0: at its start. *good_out bytes are
 * well-formed, and *line is where they end. With MORE that is all of `in`, or all
 * but a CR at its end: feed that again with what follows. */
enum smtp_body_stop smtp_body_scan(struct span in, unsigned *line, size_t *good_out);

/* A dot-stuffed body on its way out, block by block, of any cut. Begins as zeros. */
struct smtp_body_guard {
	bool in_line, cr, dot;          /* where the last block ended */
};
/* False: no peer may see the block, for it could take what is in it for the end of the message. */
bool smtp_body_may_go(struct smtp_body_guard *guard, struct span block);
/* The same of the body's end: it must be that of a line, or the final dot would not stand alone. */
bool smtp_body_may_end(const struct smtp_body_guard *guard);
