/*
 * literal - texts of which at least one stands in every line that a pattern
 * matches, so that a line without any of them need not be tried.
 *
 * Conservative: it knows a part of PCRE2's grammar (pcre2pattern(3)) and, where
 * it meets anything else, has nothing to say. Texts are in lower case (ASCII),
 * for patterns are matched caselessly.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "util/span.h"

#define LITERAL_MIN  3
#define LITERAL_MAX  32
#define LITERALS_MAX 12

struct literal {
	uint8_t n;
	char    text[LITERAL_MAX];
};

struct literals {
	unsigned       n;               /* 0: nothing can be said */
	struct literal literals[LITERALS_MAX];
};

/* The pattern must be one that PCRE2 compiles without PCRE2_EXTENDED and PCRE2_UTF. */
void literal_extract(struct span pattern, struct literals *out);
/* No character of it has a meaning: it matches where it stands in the line. */
bool literal_is_plain(struct span pattern);

static inline unsigned char
literal_fold(unsigned char c)
{
	return c >= 'A' && c <= 'Z' ? (unsigned char)(c | 0x20) : c;
}
