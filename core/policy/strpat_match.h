/*
 * strpat_match - one match of a pattern against a text; what strpat.c is made of.
 *
 * Limits  Steps are charged to the meter, and that may raise, as a pattern that is
 *         wrong does.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "policy/strpat.h"
#include "util/span.h"

#define CAPTURES_MAX 32
#define CAPTURE_OPEN     (-1)   /* a capture's len: its end is not there yet */
#define CAPTURE_POSITION (-2)   /* "()": only where */

struct strpat_capture {
	const char *at;
	ptrdiff_t   len;
};

struct strpat_match {
	lua_State  *L;
	const struct strpat_meter *meter;
	const char *text, *text_end;
	const char *pattern_end;
	uint64_t    steps, steps_max;
	int         depth;
	int         captures_n;
	struct strpat_capture captures[CAPTURES_MAX];
};

/* The limit is met a step after the budget is gone, so that strpat_match_settle() sees it passed. */
void strpat_match_begin(struct strpat_match *m, lua_State *L, const struct strpat_meter *meter, struct span text,
			struct span pattern);
/* Where the pattern from p ends that begins at s; NULL: it does not match there. */
const char *strpat_match_run(struct strpat_match *m, const char *s, const char *p);
/* Charges what was used so far. */
void strpat_match_settle(struct strpat_match *m);
