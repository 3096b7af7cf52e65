/*
 * A record's memory. Bytes gather behind the room for a header, with some to spare for what
 * a message puts before its tail, so that mostly nothing is asked for twice. What turns out far
 * too large for what it holds, or a bit too small, is made to measure: it may be kept for long.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "spool/spool_record.h"

#define FRONT_BYTES 1024u               /* what mostly comes before a tail, and is made room for */
#define CAP_MAX (SPOOL_RECORD_HEADER + SPOOL_PIECE_MAX + FRONT_BYTES)

struct spool_fresh *
spool_fresh_new(uint8_t kind, uint32_t payload_bytes)
{
	struct spool_fresh *fresh = mem_grow(NULL, sizeof(*fresh) + SPOOL_RECORD_HEADER + payload_bytes);

	*fresh = (struct spool_fresh){ .refs = 1, .kind = kind };
	fresh->n = fresh->cap = SPOOL_RECORD_HEADER + payload_bytes;
	list_init(&fresh->link);
	return fresh;
}

static struct spool_fresh *
fresh_resize(struct spool_fresh *fresh, uint32_t cap)
{
	fresh = mem_grow(fresh, sizeof(*fresh) + cap);
	fresh->cap = cap;
	list_init(&fresh->link);
	return fresh;
}

void
spool_fresh_empty(struct spool_fresh *fresh)
{
	uint32_t cap = fresh->cap;

	*fresh = (struct spool_fresh){ .refs = 1, .n = SPOOL_RECORD_HEADER, .cap = cap };
	list_init(&fresh->link);
}

struct spool_fresh *
spool_fresh_gather(struct spool_fresh *fresh, struct span bytes)
{
	uint32_t n = (uint32_t)bytes.n, least, cap;

	check(bytes.n <= SPOOL_PIECE_MAX);
	if (!fresh) {
		fresh = spool_fresh_new(0, n + FRONT_BYTES);
		fresh->n = SPOOL_RECORD_HEADER;
	}
	check(fresh->n <= SPOOL_RECORD_HEADER + SPOOL_PIECE_MAX);
	if (n > fresh->cap - fresh->n) {
		least = fresh->n + n + FRONT_BYTES;
		cap = 2 * fresh->cap < CAP_MAX ? 2 * fresh->cap : CAP_MAX;
		fresh = fresh_resize(fresh, cap > least ? cap : least);
	}
	if (n > 0)
		memcpy(fresh->p + fresh->n, bytes.p, n);
	fresh->n += n;
	return fresh;
}

void
spool_fresh_unref(struct spool_fresh *fresh)
{
	check(fresh->refs > 0);
	if (--fresh->refs == 0) {
		check(!list_linked(&fresh->link));
		free(fresh);
	}
}

struct spool_fresh *
spool_fresh_front(struct spool_fresh *fresh, uint32_t front)
{
	uint32_t tail = fresh->n - SPOOL_RECORD_HEADER, n;

	check(fresh->n < UINT32_MAX / 2 - front);
	n = fresh->n + front;
	if (n > fresh->cap)
		fresh = fresh_resize(fresh, n);
	memmove(fresh->p + SPOOL_RECORD_HEADER + front, fresh->p + SPOOL_RECORD_HEADER, tail);
	fresh->n = n;
	return fresh->cap > 2 * n + 2 * FRONT_BYTES ? fresh_resize(fresh, n) : fresh;
}
