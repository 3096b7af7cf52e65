/*
 * reaction_filter - one pass over a line that says which rules of a list are
 * worth trying. A rule left out cannot match; one let through may.
 *
 * Ownership  Lives in the arena it was made in.
 * Threads    Read-only: any.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "policy/literal.h"
#include "util/arena.h"

#define REACTION_WORDS(n) (((n) + 63u) / 64u)   /* of a set of n rules, a bit each */

struct reaction_filter;

/* literals[i] are those of rule i; with none of them it is always tried. */
struct reaction_filter *reaction_filter_new(struct arena *arena, const struct literals *literals, unsigned n);
/* Fills marks, REACTION_WORDS(n) of them. */
void reaction_filter_mark(const struct reaction_filter *filter, struct span line, uint64_t *marks);
