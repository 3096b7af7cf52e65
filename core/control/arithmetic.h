/*
 * arithmetic - what the caps and rates of a policy come to: the limits of a queue
 * that need not be running, and declared ones that can never be reached, because
 * others that hold at the same time are tighter.
 *
 * A limit can never be reached if that is so for every queue that it holds for, in an
 * hour (as in ceiling.h) and in its own window.
 *
 * Ownership  Warnings belong to the report.
 * Limits     A policy with more queues than policy/walk.h looks at is told so, and not looked at.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "control/ceiling.h"
#include "policy/policy.h"

struct arithmetic_limits {
	struct scope_limits of[SCOPES_N];
	const struct scope_limits *by_level[SCOPES_N];  /* into `of`; NULL where there is no such scope: for ceiling_of() */
};

/* Of the queue with these settings (its max_msg_per_connection counts too). */
void arithmetic_limits_of(const struct ruleset *ruleset, const struct queue_settings *settings, const struct ruleset_vmta *vmta,
			  struct arithmetic_limits *out);

/* One warning for each declared line, with the first of its queues as the example. */
void arithmetic_warn(const struct ruleset *ruleset, struct policy_report *report);
/* The same, of this queue alone: what holds it back by itself. */
void arithmetic_warn_queue(const struct ruleset *ruleset, const char *site, const struct queue_settings *settings,
			   const struct ruleset_vmta *vmta, struct policy_report *report);
