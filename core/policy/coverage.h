/*
 * coverage - which settings, rules and hooks of the policies under test were
 * exercised, which never, and which cannot be.
 *
 * A row is known by kind, name, file and line, so that a policy loaded a hundred
 * times has each of its lines once; a line that stands for several sites cannot be
 * exercised only if that is so for all of them.
 *
 * Ownership  Owns its rows: policies may go before it.
 * Threads    One.
 * Limits     What is not declared is not counted: marks of it are passed over. Of a policy
 *            with more queues than walk.h looks at, nothing is said to be impossible.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "policy/policy.h"

enum coverage_kind { COVERAGE_SETTING, COVERAGE_RULE, COVERAGE_HOOK };
enum coverage_state { COVERAGE_NEVER, COVERAGE_EXERCISED, COVERAGE_CANNOT };

struct coverage_row {
	enum coverage_kind  kind;
	const char         *name;       /* "max_smtp_out"; a rule's name; "on.message" */
	const char         *file;
	int                 line;
	enum coverage_state state;
	const char         *why;        /* COVERAGE_CANNOT; else NULL */
};

struct coverage;

struct coverage *coverage_new(void);
void coverage_free(struct coverage *coverage);

/* Enters what the policy declares: queue settings, caps and rates of virtual MTAs, pools and the node, reactions, hooks. */
void coverage_declare(struct coverage *coverage, const struct policy *policy);

/* Exercised. A `where` without a file is built in, and no row. */
void coverage_setting(struct coverage *coverage, const struct where *where, const char *name);
void coverage_rule(struct coverage *coverage, const struct reaction *reaction);
void coverage_hook(struct coverage *coverage, const struct where *where, const char *name);

/* By file, line, kind, name. */
void coverage_each(const struct coverage *coverage, void (*fn)(void *ctx, const struct coverage_row *row), void *ctx);
const char *coverage_kind_name(enum coverage_kind kind);        /* "setting", "rule", "hook" */
const char *coverage_state_name(enum coverage_state state);     /* "exercised", "never", "cannot" */
