/*
 * twins - one policy for each shard: the same texts, loaded once for each, that
 * say the same.
 *
 * Ownership  Those that were loaded are the caller's.
 * Threads    Any, as policy_load().
 * Errors     A policy that says something else each time it is loaded (a limit drawn
 *            at random, by the clock, in an order that a table has by chance) is
 *            refused where there is more than one: shards that do not agree about a
 *            limit cannot keep it.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "policy/policy.h"

/* all[0] is loaded, with that env, whose bundle holds its texts. Fills all[1] to all[n - 1]; false: none of these, and
 * the report says why. */
bool twins_load(struct policy **all, unsigned n, const char *path, const struct policy_env *env, struct policy_report *report);
