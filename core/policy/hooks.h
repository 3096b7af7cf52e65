/*
 * hooks - the functions a policy gives to on.…, and what they see: handles of
 * messages and sessions that end with the call.
 *
 * Ownership  struct hooks is part of its policy, and outlives the Lua state.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "policy/loader.h"

#define HOOK_SLOTS 16

struct hook_slot {
	uint32_t serial;                /* what a handle must hold to be let in */
	bool     used;
	const struct policy_session *session;
	struct policy_message *message; /* NULL: only a session */
};

struct hooks {
	struct sandbox       *sandbox;
	const struct ruleset *ruleset;
	struct log           *log;
	struct sandbox_budget budget;           /* for a call; bytes over what was held when loaded */
	size_t                held;
	struct where          wheres[HOOKS_N];  /* file NULL: no such hook */
	int                   refs[HOOKS_N];
	unsigned              rejects;          /* made in this call */
	struct hook_slot      slots[HOOK_SLOTS];
	struct buf            scratch;
};

extern const char *const hooks_names[HOOKS_N];          /* "on.connect" … */

void hooks_init(struct hooks *hooks, struct sandbox *sandbox, struct log *log);
void hooks_fini(struct hooks *hooks);
void hooks_export(struct hooks *hooks, struct loader *loader);         /* on and reject, for scripts */
void hooks_loaded(struct hooks *hooks, const struct ruleset *ruleset, const struct sandbox_budget *budget);
void hooks_call(struct hooks *hooks, enum policy_hook hook, const struct policy_session *session, struct policy_message *message,
		const struct span *address, struct policy_decision *out);
