/*
 * Looking at borrowed bytes. Case is ASCII's only: what compares without case
 * here (verbs, header names, domains in A-label form) is ASCII by definition,
 * and a locale must not change an answer.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "util/span.h"

#define DISTANCE_MAX_LEN 64u
#define HOP_MAX 8u

static inline unsigned char
lower(char c)
{
	unsigned char u = (unsigned char)c;
	return u >= 'A' && u <= 'Z' ? (unsigned char)(u | 0x20) : u;
}

static bool
same_nocase(const char *a, const char *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (lower(a[i]) != lower(b[i]))
			return false;
	return true;
}

size_t
span_find_text(struct span s, struct span what)
{
	if (what.n == 0)
		return 0;
	if (s.n < what.n)
		return SIZE_MAX;
	/* memmem() prepares for long searches and goes byte by byte; for a few bytes it is quicker to hop. */
	if (what.n > HOP_MAX) {
		const char *found = memmem(s.p, s.n, what.p, what.n);
		return found ? (size_t)(found - s.p) : SIZE_MAX;
	}
	const char *end = s.p + (s.n - what.n) + 1, *at = s.p;
	while (at < end && (at = memchr(at, what.p[0], (size_t)(end - at)))) {
		if (memcmp(at, what.p, what.n) == 0)
			return (size_t)(at - s.p);
		at++;
	}
	return SIZE_MAX;
}

bool
span_eq(struct span a, struct span b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool
span_eq_nocase(struct span a, struct span b)
{
	return a.n == b.n && same_nocase(a.p, b.p, a.n);
}

bool
span_is_ascii(struct span s)
{
	uint64_t eight = 0, high = 0;
	size_t i = 0;
	for (; s.n - i >= sizeof(eight); i += sizeof(eight)) {
		memcpy(&eight, s.p + i, sizeof(eight));
		high |= eight;
	}
	for (; i < s.n; i++)
		high |= (unsigned char)s.p[i];
	return (high & UINT64_C(0x8080808080808080)) == 0;
}

bool
span_starts(struct span s, struct span prefix)
{
	return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}

bool
span_starts_nocase(struct span s, struct span prefix)
{
	return s.n >= prefix.n && same_nocase(s.p, prefix.p, prefix.n);
}

bool
span_ends_nocase(struct span s, struct span suffix)
{
	return s.n >= suffix.n && (suffix.n == 0 || same_nocase(s.p + (s.n - suffix.n), suffix.p, suffix.n));
}

struct span
span_clone(struct span s)
{
	char *copy = mem_grow(NULL, s.n + 1);
	if (s.n)
		memcpy(copy, s.p, s.n);
	copy[s.n] = '\0';
	return span_make(copy, s.n);
}

size_t
span_put(struct span s, char *out, size_t size)
{
	check(size > 0);
	size_t n = s.n < size ? s.n : size - 1;
	if (n)
		memcpy(out, s.p, n);
	out[n] = '\0';
	return n;
}

bool
span_split(struct span *rest, char c, struct span *part_out)
{
	if (rest->n == 0)
		return false;
	size_t at = span_find(*rest, c);
	if (at == SIZE_MAX) {
		*part_out = *rest;
		*rest = span_from(*rest, rest->n);
		return true;
	}
	*part_out = span_first(*rest, at);
	*rest = span_from(*rest, at + 1);
	return true;
}

bool
span_u64(struct span s, uint64_t max, uint64_t *value_out)
{
	if (s.n == 0)
		return false;
	uint64_t value = 0;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
		uint64_t digit = (uint64_t)(s.p[i] - '0');
		if (digit > max || value > (max - digit) / 10)
			return false;
		value = value * 10 + digit;
	}
	*value_out = value;
	return true;
}

/* One row of the matrix is enough; a name longer than the row is nobody's typo
 * and is compared by its beginning. */
unsigned
span_distance(struct span a, struct span b)
{
	unsigned row[DISTANCE_MAX_LEN + 1];
	unsigned extra = 0;
	if (a.n > DISTANCE_MAX_LEN || b.n > DISTANCE_MAX_LEN) {
		extra = DISTANCE_MAX_LEN;
		a.n = a.n > DISTANCE_MAX_LEN ? DISTANCE_MAX_LEN : a.n;
		b.n = b.n > DISTANCE_MAX_LEN ? DISTANCE_MAX_LEN : b.n;
	}
	for (unsigned j = 0; j <= b.n; j++)
		row[j] = j;
	for (unsigned i = 1; i <= a.n; i++) {
		unsigned diagonal = row[0];
		row[0] = i;
		for (unsigned j = 1; j <= b.n; j++) {
			unsigned best = diagonal + (lower(a.p[i - 1]) != lower(b.p[j - 1]));
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			diagonal = row[j];
			row[j] = best;
		}
	}
	return row[b.n] + extra;
}
