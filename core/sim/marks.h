/*
 * marks - what is on its way to one end of a simulated connection, in order: a ring
 * that grows and never shrinks.
 *
 * Ownership  The ring is in the heap; who embeds struct marks frees it.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "util/base.h"

enum mark_what {
	MARK_SYN, MARK_REFUSED, MARK_OPEN, MARK_ACCEPT, MARK_DATA, MARK_FIN, MARK_RESET,
	MARK_TLS_HELLO, MARK_TLS_READY, MARK_TLS_FINISHED, MARK_TLS_ALERT,
};

struct mark {
	mono_us_t at;
	uint32_t  n;                    /* bytes of MARK_DATA; the number of an alert */
	uint8_t   what;                 /* enum mark_what */
};

struct marks {
	struct mark *ring;
	uint32_t     first, n, cap;     /* cap is a power of two, or 0 */
};

static inline struct mark *
marks_at(struct marks *marks, uint32_t i)
{
	return &marks->ring[(marks->first + i) & (marks->cap - 1)];
}

void marks_push(struct marks *marks, struct mark mark);
void marks_pop(struct marks *marks);
/* The first again: what of it is not read yet. */
void marks_unpop(struct marks *marks, struct mark mark);
