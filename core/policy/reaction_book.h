/*
 * reaction_book - the reactions of a ruleset: patterns compiled once however
 * often they are written, a part for each list as declared, and a list for each
 * way that parts follow one another (`inherit`).
 *
 * Ownership  Part of its ruleset; reactions lie in the ruleset's arena.
 * Threads    Filled by one while it loads; then any.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "policy/pattern.h"
#include "policy/reaction.h"
#include "policy/reaction_filter.h"

#define REACTION_STAGES (SMTP_STAGE_FINAL + 1)

struct reaction_book;

struct reaction_part;

struct reaction_list {
	const struct reaction_part *const *parts;
	unsigned parts_n;
};

struct reaction_part {                          /* one `backoff = { … }` */
	struct reaction *reactions;
	const struct pattern **patterns;        /* of each */
	unsigned n;
	bool     inherit;
	const struct reaction_filter *filter;
	uint64_t *at_stage[REACTION_STAGES];    /* the rules that look at it */
	struct where where;
	struct reaction_list alone;             /* this part and nothing else */
	const struct reaction_part *itself;
};

struct reaction_book *reaction_book_new(struct arena *arena);
void reaction_book_free(struct reaction_book *book);

/* The text must live as long as the book. NULL: err says why. */
const struct pattern *reaction_book_pattern(struct reaction_book *book, struct span text, struct err *err);
/* Takes the part's reactions, patterns and where; makes the rest. */
const struct reaction_part *reaction_book_add(struct reaction_book *book, const struct reaction_part *part);
/* The list of these parts, the same one each time. */
const struct reaction_list *reaction_book_list(struct reaction_book *book, const struct reaction_part *const *parts, unsigned n);

unsigned reaction_book_parts_n(const struct reaction_book *book);
const struct reaction_part *reaction_book_part(const struct reaction_book *book, unsigned i);
/* A rule of that name somewhere. */
bool reaction_book_has(const struct reaction_book *book, struct span name);
/* The name that was probably meant; NULL. */
const char *reaction_book_nearest(const struct reaction_book *book, struct span name);

/* The stages that a rule looks at, as bits: what 0 stands for. */
uint32_t reaction_stages(const struct reaction *reaction);
