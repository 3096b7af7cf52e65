/*
 * dsn - the report to a sender that a recipient was bounced (RFC 3461, 3464,
 * 6522; for SMTPUTF8 RFC 6533).
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "mail/envelope.h"

struct dsn_rcpt {
	struct span address, orcpt;
	const char *status;             /* "5.1.1" */
	const char *diagnostic;         /* "550 5.1.1 no such user"; NULL: none was received */
	const char *remote_mta;         /* "mx.example.com"; NULL: none */
};

struct dsn {
	const char *reporting_mta;      /* our hostname */
	const struct envelope *envelope;        /* of the message that failed */
	wall_ms_t   now;
	const struct dsn_rcpt *rcpts;
	unsigned    rcpts_n;
	struct span original;           /* wire form: its header block, or all of it where RET=FULL and it is small */
	bool        original_whole;
	uint64_t    id;                 /* of the report: Message-ID and boundary come from it */
};

/* The report in wire form (header and body, dot-stuffed): multipart/report with a part
 * for people, message/delivery-status, and the original or its headers. Bytes over 127
 * are in it only where the original or an address holds one. */
void dsn_format(const struct dsn *dsn, struct buf *out);
