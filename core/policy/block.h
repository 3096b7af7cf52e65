/*
 * block - settings as declared in one place (`provider "google" { … }`), and
 * the index that finds the blocks of one level which match a site.
 *
 * Ownership  Blocks live in the ruleset's arena; an index owns its tables.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "policy/setting.h"

struct block_value {
	enum setting_id     id;
	int                 line;
	const char         *file;
	union setting_value value;
};

struct ruleset_block {
	const char *provider;                   /* NULL: a domain's block */
	enum domain_pattern_kind kind;
	const char *domain;                     /* normal form, without "*." */
	struct where where;                     /* its scope is that of its values */
	const struct block_value *values;
	unsigned    values_n;
};

struct block_index {
	struct table providers;                 /* by name */
	struct table exact, below, both;        /* by domain: "a.b", "*.a.b", "[*.]a.b" */
	const struct ruleset_block *star;
};

void block_index_init(struct block_index *index);
void block_index_fini(struct block_index *index);
/* NULL: taken in. Else the block of the same site that is there already. */
const struct ruleset_block *block_index_add(struct block_index *index, const struct ruleset_block *block);

const struct block_value *block_value(const struct ruleset_block *block, enum setting_id id);
/* Holds something that concerns the site as a whole, not each recipient's domain. `rollup = true` is no such thing. */
bool block_is_sites(const struct ruleset_block *block);

/* The blocks of domains, "*" apart, that match: exact first, then the longest. Calls fn until it is false. */
void block_index_match(const struct block_index *index, struct span domain,
		       bool (*fn)(void *ctx, const struct ruleset_block *block), void *ctx);
