/*
 * envelope - what MAIL and RCPT said and what the policy chose: kept in the
 * spool beside the body.
 *
 * Ownership  Spans are borrowed from whoever filled the struct (an arena, or the
 *            record it was decoded from).
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "util/arena.h"
#include "util/buf.h"
#include "util/err.h"

struct envelope_rcpt {
	struct span address;    /* as given */
	struct span domain;     /* normal form */
	struct span orcpt;
	uint8_t     notify;     /* enum smtp_notify bits */
};

struct envelope {
	uint64_t    id;
	wall_ms_t   received;
	struct span sender;             /* empty: null */
	struct span envid, ret;
	bool        eightbit, smtputf8;
	uint8_t     priority;           /* 0 … 100 */
	struct span vmta;               /* by name */
	struct span pool;               /* through which pool the vmta was chosen; empty: none */
	struct span job;                /* empty: none */
	struct span source_type;        /* accounting's srcType: "smtp", "dsn" */
	struct span source_mta;         /* accounting's srcMta: "helo (address)" */
	struct envelope_rcpt *rcpts;
	unsigned    rcpts_n;
};

void envelope_encode(const struct envelope *envelope, struct buf *out);
/* ERR_PERM: not what envelope_encode() writes. */
bool envelope_decode(struct span in, struct arena *arena, struct envelope *out, struct err *err);

/* "0123456789ABCDEF": how an id is written everywhere. */
void envelope_id_format(uint64_t id, char out[17]);
