/*
 * buf - bytes we own, growing at the end and consumed at the front.
 *
 * Ownership  init/fini on memory of the caller's. Pointers into it hold until
 *            the next call that adds.
 * Limits     `max` bytes (0: none). What would pass it is refused whole, the
 *            call returns false and the buf remembers it in `overflowed`.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "util/span.h"

struct buf {
	char  *p;               /* the allocation */
	size_t start;           /* first byte that is not consumed */
	size_t end;             /* one past the last */
	size_t cap;
	size_t max;
	bool   overflowed;
};

void buf_init(struct buf *buf, size_t max);
void buf_fini(struct buf *buf);
void buf_clear(struct buf *buf);                /* empty; keeps the memory */

static inline size_t buf_len(const struct buf *buf) { return buf->end - buf->start; }
static inline struct span buf_span(const struct buf *buf)
{
	return span_make(buf->p ? buf->p + buf->start : NULL, buf->end - buf->start);
}

bool buf_add(struct buf *buf, struct span bytes);
static inline bool buf_add_text(struct buf *buf, const char *text) { return buf_add(buf, span_text(text)); }
bool buf_add_char(struct buf *buf, char c);
bool buf_add_u64(struct buf *buf, uint64_t value);      /* in decimal */
bool buf_printf(struct buf *buf, const char *format, ...) PRINTF_LIKE(2, 3);
void buf_consume(struct buf *buf, size_t n);    /* from the front */
void buf_truncate(struct buf *buf, size_t len); /* keep the first len bytes */
bool buf_splice(struct buf *buf, size_t at, size_t drop, struct span with);

/* Room for n more bytes at the end, for a read() or an encoder; NULL at the
 * limit. buf_grow_commit() says how many were used. */
char *buf_grow(struct buf *buf, size_t n);
void  buf_grow_commit(struct buf *buf, size_t n);

/* NUL-terminated view (the NUL is not counted). "" for an empty buf. */
const char *buf_text(struct buf *buf);

/* Little-endian fixed-width numbers, and length-prefixed bytes, for records. */
bool buf_put_u8(struct buf *buf, uint8_t v);
bool buf_put_u16(struct buf *buf, uint16_t v);
bool buf_put_u32(struct buf *buf, uint32_t v);
bool buf_put_u64(struct buf *buf, uint64_t v);
bool buf_put_bytes(struct buf *buf, struct span bytes);         /* u32 length first */
/* Take from the front of *in; false (and *in untouched) when it is too short. */
bool span_get_u8(struct span *in, uint8_t *out);
bool span_get_u16(struct span *in, uint16_t *out);
bool span_get_u32(struct span *in, uint32_t *out);
bool span_get_u64(struct span *in, uint64_t *out);
bool span_get_bytes(struct span *in, struct span *out);
