/*
 * Replies of strangers and echoes of their commands end in logs, accounting
 * files, JSON and terminals. They are made harmless once, where they come in:
 * one line, no escape sequences, valid UTF-8.
 *
 * Nearly all of it is plain ASCII, which is found out eight bytes at a time.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "smtp/smtp_text.h"

/* The table of RFC 3629, 4: the second byte's range shuts out overlong forms,
 * surrogates and what lies beyond U+10FFFF. */
static bool
second_ok(unsigned char first, unsigned char second)
{
	switch (first) {
	case 0xE0: return second >= 0xA0 && second <= 0xBF;
	case 0xED: return second >= 0x80 && second <= 0x9F;
	case 0xF0: return second >= 0x90 && second <= 0xBF;
	case 0xF4: return second >= 0x80 && second <= 0x8F;
	default:   return second >= 0x80 && second <= 0xBF;
	}
}

static size_t
length_of(unsigned char first)
{
	if (first < 0x80)
		return 1;
	if (first < 0xC2 || first > 0xF4)
		return 0;
	return first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
}

size_t
smtp_text_utf8(struct span s)
{
	const unsigned char *p = (const unsigned char *)s.p;
	size_t n = s.n ? length_of(p[0]) : 0;

	if (n == 0 || n > s.n)
		return 0;
	if (n > 1 && !second_ok(p[0], p[1]))
		return 0;
	for (size_t i = 2; i < n; i++)
		if (p[i] < 0x80 || p[i] > 0xBF)
			return 0;
	return n;
}

#define EIGHT(byte) (UINT64_C(0x0101010101010101) * (byte))

/* All between ' ' and '~'. Taking off a blank, or adding one, moves what is outside of that to the sign bits; a
 * borrow falsifies only what stands above a byte that is found. */
static inline bool
eight_plain(const char *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof v);
	return ((v | (v - EIGHT(' ')) | (v + EIGHT(1))) & EIGHT(0x80)) == 0;
}

/* Bytes at the front that are plain. */
static size_t
plain_len(struct span s)
{
	size_t n = 0;

	while (s.n - n >= sizeof(uint64_t) && eight_plain(s.p + n))
		n += sizeof(uint64_t);
	if (n > 0 && n < s.n && s.n - n < sizeof(uint64_t) && eight_plain(s.p + s.n - sizeof(uint64_t)))
		return s.n;
	while (n < s.n && s.p[n] >= ' ' && s.p[n] <= '~')       /* char is signed or not: both miss 128 and up */
		n++;
	return n;
}

bool
smtp_text_printable(struct span s)
{
	return plain_len(s) == s.n;
}

/* C0, DEL, C1; and what turns a line's direction round or ends it: U+2028 to U+202E, U+2066 to U+2069. */
static bool
is_control(const char *text, size_t n)
{
	const unsigned char *p = (const unsigned char *)text;

	if (n == 1)
		return p[0] < ' ' || p[0] == 0x7F;
	if (n == 2)
		return p[0] == 0xC2 && p[1] < 0xA0;
	return p[0] == 0xE2 && ((p[1] == 0x80 && p[2] >= 0xA8 && p[2] <= 0xAE) || (p[1] == 0x81 && p[2] >= 0xA6 && p[2] <= 0xA9));
}

size_t
smtp_text_control(struct span s)
{
	size_t n = smtp_text_utf8(s);

	return n > 0 && is_control(s.p, n) ? n : 0;
}

size_t
smtp_text_shown(struct span s)
{
	size_t n = smtp_text_utf8(s);

	return n > 0 && !is_control(s.p, n) ? n : 0;
}

size_t
smtp_text_clean(struct span s, char *out, size_t out_max)
{
	size_t len = plain_len(span_first(s, s.n < out_max ? s.n : out_max));

	if (len > 0)
		memcpy(out, s.p, len);
	s = span_from(s, len);
	while (s.n > 0) {
		size_t shown = smtp_text_shown(s), gone = smtp_text_control(s);
		size_t room = shown ? shown : 1;

		if (room > out_max - len)
			break;
		if (shown)
			memcpy(out + len, s.p, shown);
		else
			out[len] = '?';
		len += room;
		s = span_from(s, gone ? gone : room);
	}
	return len;
}
