/*
 * pattern - a PCRE2 pattern, as reactions use it: caseless, not anchored, on
 * bytes, compiled to machine code where the machine allows it.
 *
 * Limits     Each match may take so many steps, so much depth and heap (pattern.c);
 *            one that would take more is cut off.
 * Ownership  pattern_compile() gives, pattern_free() ends.
 * Threads    A pattern: any. A scratch: one.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "util/err.h"
#include "util/span.h"

struct pattern;
struct pattern_scratch;

enum pattern_answer { PATTERN_NO, PATTERN_YES, PATTERN_CUT_OFF };

/* NULL: err names the offset. */
struct pattern *pattern_compile(struct span text, struct err *err);
void pattern_free(struct pattern *pattern);
enum pattern_answer pattern_match(const struct pattern *pattern, struct pattern_scratch *scratch, struct span line);

/* NULL: it may match. Else why no reply with a code from 400 to 599 can match it. */
const char *pattern_cannot(const struct pattern *pattern, struct pattern_scratch *scratch);

struct pattern_scratch *pattern_scratch_new(void);
void pattern_scratch_free(struct pattern_scratch *scratch);
