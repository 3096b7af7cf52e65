/*
 * span - bytes that somebody else owns.
 *
 * Ownership  Borrowed; a header says until when. Not NUL-terminated.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <string.h>

#include "util/base.h"

struct span {
	const char *p;
	size_t      n;
};

#define SPAN(literal) ((struct span){ "" literal, sizeof(literal) - 1 })
#define SPAN_ARG(s)   (int)(s).n, (s).p         /* for "%.*s" */

static inline struct span
span_make(const void *p, size_t n)
{
	return (struct span){ p, n };
}

static inline struct span
span_text(const char *text)
{
	return (struct span){ text, text ? strlen(text) : 0 };
}

static inline struct span
span_from(struct span s, size_t start)
{
	check(start <= s.n);
	return (struct span){ s.p + start, s.n - start };
}

static inline struct span
span_first(struct span s, size_t n)
{
	check(n <= s.n);
	return (struct span){ s.p, n };
}

/* SIZE_MAX where there is none. */
static inline size_t
span_find(struct span s, char c)
{
	const char *at = s.n ? (const char *)memchr(s.p, c, s.n) : NULL;

	return at ? (size_t)(at - s.p) : SIZE_MAX;
}
size_t span_find_text(struct span s, struct span what);

bool span_eq(struct span a, struct span b);
bool span_eq_nocase(struct span a, struct span b);
bool span_is_ascii(struct span s);
bool span_starts(struct span s, struct span prefix);
bool span_starts_nocase(struct span s, struct span prefix);
bool span_ends_nocase(struct span s, struct span suffix);

/* Without blanks and tabs at both ends. */
static inline struct span
span_trim(struct span s)
{
	while (s.n && (s.p[0] == ' ' || s.p[0] == '\t'))
		s = span_make(s.p + 1, s.n - 1);
	while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
		s.n--;
	return s;
}

struct span span_clone(struct span s);          /* malloc-ed, NUL behind it */
/* Copies it to out, cut to size - 1 bytes, NUL behind it. Returns how many. */
size_t span_put(struct span s, char *out, size_t size);

/* Takes what stands before the first `c` off *rest; false when *rest is empty.
 * "a,b" gives "a" and then "b". */
bool span_split(struct span *rest, char c, struct span *part_out);

/* Decimal digits only, at least one, no sign, at most `max`. */
bool span_u64(struct span s, uint64_t max, uint64_t *value_out);

/* Levenshtein distance, for "no such setting (max_smtp_out?)"; case ignored. */
unsigned span_distance(struct span a, struct span b);
