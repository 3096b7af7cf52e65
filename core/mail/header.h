/*
 * header - a message's header block: found, read, added to, taken from.
 * (RFC 5322, 2.2.)
 *
 * A block is the bytes before the first empty line, each line ended by CRLF,
 * as on the wire (a line that begins with a dot is stuffed: "..").
 *
 * Ownership  Works on a struct buf that is the caller's.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "util/buf.h"
#include "util/err.h"

/* How far the header block reaches in `message`: bytes up to and including the CRLF of
 * its last field; the empty line follows. SIZE_MAX: no end in sight yet. What begins with a blank has no
 * header and no empty line before it: put behind another field, its first line would belong to that one. */
size_t header_block_end(struct span message);

struct header_field {
	struct span name;       /* as written */
	struct span value;      /* raw, folded, without the final CRLF and the first blank */
	size_t      at, len;    /* the field in the block, its CRLF included */
};

/* Walks: *at starts at 0. False at the end. Lines that are no field are passed over. */
bool header_next(struct span block, size_t *at, struct header_field *out);
/* The first field of that name, case ignored. */
bool header_find(struct span block, struct span name, struct header_field *out);
/* Unfolded: CRLF taken out, into out (appended). */
void header_unfold(struct span value, struct buf *out);
/* Changes the block in place. Names and values are checked: no CR, LF or NUL, a name of
 * printable ASCII without ':' and blank, a line of at most 998 bytes: else false, with err. */
bool header_add(struct buf *block, struct span name, struct span value, struct err *err);       /* at the end */
bool header_add_first(struct buf *block, struct span name, struct span value, struct err *err);
unsigned header_remove(struct buf *block, struct span name);    /* how many went */
bool header_replace(struct buf *block, struct span name, struct span value, struct err *err);   /* the first changes, others of that name go; none: added */
/* The domain of the first address in From, normal form; "" where there is none. */
void header_from_domain(struct span block, char out[256]);
