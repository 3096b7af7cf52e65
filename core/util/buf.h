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
	return buf->p ? span_make(buf->p + buf->start, buf->end - buf->start) : span_make(NULL, 0);
}

/* Makes room for n more at the end; false at the limit. */
bool buf_more_room(struct buf *buf, size_t n);

/* Most additions are a few bytes to a buf that has the room: those cost no call. */
static inline bool
buf_has_room(struct buf *buf, size_t n)
{
	if (n <= buf->cap - buf->end && (!buf->max || n + buf_len(buf) <= buf->max))
		return true;
	return buf_more_room(buf, n);
}

static inline bool
buf_add(struct buf *buf, struct span bytes)
{
	if (!buf_has_room(buf, bytes.n))
		return false;
	if (bytes.n == 0)
		return true;
	memcpy(buf->p + buf->end, bytes.p, bytes.n);
	buf->end += bytes.n;
	return true;
}
static inline bool buf_add_text(struct buf *buf, const char *text) { return buf_add(buf, span_text(text)); }
static inline bool buf_add_char(struct buf *buf, char c) { return buf_add(buf, span_make(&c, 1)); }
bool buf_add_u64(struct buf *buf, uint64_t value);      /* in decimal */
bool buf_printf(struct buf *buf, const char *format, ...) PRINTF_LIKE(2, 3);

/* From the front. */
static inline void
buf_consume(struct buf *buf, size_t n)
{
	check(n <= buf_len(buf));
	buf->start += n;
	if (buf->start == buf->end)
		buf->start = buf->end = 0;
}

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
