/*
 * A growing run of bytes with a consumed front. Space in front is taken back by
 * moving the rest down, but only when the end is reached, so that a reader who
 * consumes line by line does not move the rest for every line.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "util/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define CAP_MIN 256u

void
buf_init(struct buf *buf, size_t max)
{
	*buf = (struct buf){ .max = max };
}

void
buf_fini(struct buf *buf)
{
	free(buf->p);
	*buf = (struct buf){ .max = buf->max };
}

void
buf_clear(struct buf *buf)
{
	buf->start = buf->end = 0;
	buf->overflowed = false;
}

static bool
may_hold(struct buf *buf, size_t n)
{
	size_t len = buf_len(buf);
	if (n < SIZE_MAX / 4 - len && (!buf->max || (len <= buf->max && n <= buf->max - len)))
		return true;
	buf->overflowed = true;
	return false;
}

/* Room for n bytes behind the end; the limit is the caller's business. */
static void
make_room(struct buf *buf, size_t n)
{
	if (n <= buf->cap - buf->end)
		return;
	size_t len = buf_len(buf);
	if (buf->start) {
		memmove(buf->p, buf->p + buf->start, len);
		buf->start = 0;
		buf->end = len;
	}
	/* Moving alone must free a good part, or the next call moves again. */
	if (n <= buf->cap - len && len <= buf->cap / 2)
		return;
	size_t cap = buf->cap ? buf->cap * 2 : CAP_MIN;
	while (cap - len < n)
		cap *= 2;
	buf->p = mem_grow(buf->p, cap);
	buf->cap = cap;
}

bool
buf_more_room(struct buf *buf, size_t n)
{
	if (!may_hold(buf, n))
		return false;
	make_room(buf, n);
	return true;
}

bool
buf_add_u64(struct buf *buf, uint64_t value)
{
	char digits[20], *p = digits + sizeof(digits);
	do
		*--p = (char)('0' + value % 10);
	while ((value /= 10) > 0);
	return buf_add(buf, span_make(p, (size_t)(digits + sizeof(digits) - p)));
}

bool
buf_printf(struct buf *buf, const char *format, ...)
{
	size_t room = buf->cap - buf->end;
	va_list args;
	va_start(args, format);
	int n = vsnprintf(room ? buf->p + buf->end : NULL, room, format, args);
	va_end(args);
	check(n >= 0);
	if (!may_hold(buf, (size_t)n))
		return false;
	if ((size_t)n < room) {
		buf->end += (size_t)n;
		return true;
	}
	make_room(buf, (size_t)n + 1);
	va_start(args, format);
	vsnprintf(buf->p + buf->end, (size_t)n + 1, format, args);
	va_end(args);
	buf->end += (size_t)n;
	return true;
}

void
buf_truncate(struct buf *buf, size_t len)
{
	check(len <= buf_len(buf));
	buf->end = buf->start + len;
}

bool
buf_splice(struct buf *buf, size_t at, size_t drop, struct span with)
{
	size_t len = buf_len(buf);
	check(at <= len);
	check(drop <= len - at);
	if (with.n > drop) {
		if (!may_hold(buf, with.n - drop))
			return false;
		make_room(buf, with.n - drop);
	}
	if (!buf->p)
		return true;
	char *place = buf->p + buf->start + at;
	memmove(place + with.n, place + drop, len - at - drop);
	if (with.n)
		memcpy(place, with.p, with.n);
	buf->end = buf->start + len - drop + with.n;
	return true;
}

char *
buf_grow(struct buf *buf, size_t n)
{
	if (!may_hold(buf, n))
		return NULL;
	make_room(buf, n ? n : 1);
	return buf->p + buf->end;
}

void
buf_grow_commit(struct buf *buf, size_t n)
{
	check(n <= buf->cap - buf->end);
	buf->end += n;
}

const char *
buf_text(struct buf *buf)
{
	if (buf_len(buf) == 0)
		return "";
	make_room(buf, 1);
	buf->p[buf->end] = '\0';
	return buf->p + buf->start;
}

static inline bool
put_number(struct buf *buf, uint64_t v, size_t width)
{
	if (!buf_has_room(buf, width))
		return false;
	char *p = buf->p + buf->end;
#pragma GCC unroll 8
	for (size_t i = 0; i < width; i++)
		p[i] = (char)(v >> (8 * i));
	buf->end += width;
	return true;
}

bool buf_put_u8(struct buf *buf, uint8_t v) { return put_number(buf, v, 1); }
bool buf_put_u16(struct buf *buf, uint16_t v) { return put_number(buf, v, 2); }
bool buf_put_u32(struct buf *buf, uint32_t v) { return put_number(buf, v, 4); }
bool buf_put_u64(struct buf *buf, uint64_t v) { return put_number(buf, v, 8); }

bool
buf_put_bytes(struct buf *buf, struct span bytes)
{
	check(bytes.n <= UINT32_MAX);
	return buf_has_room(buf, 4 + bytes.n) && buf_put_u32(buf, (uint32_t)bytes.n) && buf_add(buf, bytes);
}

static inline bool
get_number(struct span *in, size_t width, uint64_t *out)
{
	if (in->n < width)
		return false;
	uint64_t v = 0;
#pragma GCC unroll 8
	for (size_t i = 0; i < width; i++)
		v |= (uint64_t)(unsigned char)in->p[i] << (8 * i);
	*in = span_from(*in, width);
	*out = v;
	return true;
}

#define DEFINE_GET(name, type) \
	bool \
	name(struct span *in, type *out) \
	{ \
		uint64_t v; \
		if (!get_number(in, sizeof(type), &v)) \
			return false; \
		*out = (type)v; \
		return true; \
	}

DEFINE_GET(span_get_u8, uint8_t)
DEFINE_GET(span_get_u16, uint16_t)
DEFINE_GET(span_get_u32, uint32_t)
DEFINE_GET(span_get_u64, uint64_t)

bool
span_get_bytes(struct span *in, struct span *out)
{
	struct span rest = *in;
	uint32_t n;
	if (!span_get_u32(&rest, &n) || n > rest.n)
		return false;
	*out = span_first(rest, n);
	*in = span_from(rest, n);
	return true;
}
