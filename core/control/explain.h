/*
 * explain - what a policy says of one queue that need not be running: every setting
 * with its value and its place, what it beat, the wider caps, the ceiling.
 *
 * Ownership  The value belongs to the caller (json_decref); the rest is borrowed.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>

#include "policy/policy.h"

struct explain {
	const struct ruleset          *ruleset;
	const char                    *domain;          /* normal form; "": of a provider, whatever domain */
	const char                    *site;
	const struct ruleset_provider *provider;        /* NULL: the site is none */
	const struct ruleset_vmta     *vmta;
	const struct policy_report    *loaded;          /* its warnings at lines that hold for the queue are shown again */
};

/* {queue, site, vmta, domain, settings{name: {value, declared_at, scope}}, overridden[], wider[], ceiling, warnings[]} */
json_t *explain(const struct explain *question);

/* {day, per_day, overflow, declared_at}: what that day's plan is; what is left of it, only the node knows. null: none. */
json_t *explain_warmup(const struct explain *question, wall_ms_t now);

/* Which without --vmta: `default`, else the first of the pool `default`, else the first declared. NULL: there is none. */
const struct ruleset_vmta *explain_default_vmta(const struct ruleset *ruleset);
