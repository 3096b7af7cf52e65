/*
 * first_policy - the policy that a node starts with, loaded once a shard: the one
 * that was given or, if that does not load and so it was asked, the last good one.
 *
 * Ownership  fini() frees what nobody took; who takes policies or bundle sets them to NULL here.
 * Errors     Told to the log, like its warnings.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "node.h"
#include "policy/policy.h"

struct first_policy {
	struct policy **policies;       /* one for each shard */
	unsigned        n;
	struct bundle  *bundle;
	/*
	 * As this user the node has to run, whatever the policy says, and without being given anything by root; NULL: as the policy
	 * says. Who could write the last good policy is no more than himself for root having read it.
	 */
	char           *writer;
};

bool first_policy_load(struct first_policy *first, const struct node_options *options, struct log *log, const struct clock *clock);
void first_policy_fini(struct first_policy *first);
