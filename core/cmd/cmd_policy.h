/*
 * cmd_policy - a policy loaded for a look, without a node: `check`, `explain`.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <jansson.h>

#include "policy/policy.h"

struct cmd_policy {
	struct clock  clock;
	struct log    log;              /* what the policy says while it loads: to standard error */
	struct policy_report report;
	struct policy *policy;          /* NULL: the report has the errors, not printed yet */
};

/* Must not move until it is closed. */
void cmd_policy_open(struct cmd_policy *it, const char *path);
void cmd_policy_close(struct cmd_policy *it);

/* To standard error: FILE:LINE: kind text. */
void cmd_policy_print_notes(const struct policy_note *notes, unsigned n, const char *kind);
json_t *cmd_policy_notes(const struct policy_note *notes, unsigned n);
