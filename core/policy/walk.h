/*
 * walk - the queues that a ruleset can tell apart, one of each sort:
 * what a policy's arithmetic and its coverage look at.
 *
 * A site stands for each provider and each domain block, and "" for any domain
 * that is nowhere named. Every value and every list of reactions that can hold
 * for some queue holds for one of these.
 *
 * Limits     WALK_QUEUES_MAX; beyond, the walk says so and what was seen is not all.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "policy/ruleset.h"

#define WALK_QUEUES_MAX 300000

struct walk_site {
	const struct ruleset_provider *provider;        /* that names the domain, or whose block it is; NULL */
	struct span domain;
	char        below[DOMAIN_MAX + 2];
};

/* The site that the block is the nearest of. False: its provider is not declared. */
bool walk_site_of(const struct ruleset *ruleset, const struct ruleset_block *block, struct walk_site *out);

struct walk_queue {
	const struct walk_site    *site;
	const struct ruleset_vmta *vmta;
	unsigned alike;                 /* virtual MTAs that differ from it by name alone, itself included */
	bool     first, last;           /* of its site, in a turn of all virtual MTAs */
	bool     of_all;                /* the turn has all virtual MTAs, not those of one block's own level */
};

/* False: there are more queues than WALK_QUEUES_MAX. */
bool walk_queues(const struct ruleset *ruleset, void (*fn)(void *ctx, const struct walk_queue *queue), void *ctx);
