/*
 * hooks - the functions a policy gives to on.… and to reactions, and the calls of
 * them: what they are given are handles that end with the call.
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
	const struct smtp_reply *reply;
	enum smtp_stage stage;
	bool     has_stage;
	const struct policy_queue *queue;
	const struct policy_attempt *attempt;
};

struct hook_handler {
	int          ref;
	struct where where;
	const char  *name;              /* in logs: "on.message" */
	int64_t      every_us;          /* on.every */
};

struct hooks {
	struct sandbox       *sandbox;
	const struct ruleset *ruleset;
	struct log           *log;
	struct sandbox_budget budget;           /* for a call; bytes over what was held when loaded */
	size_t                held;
	struct hook_handler  *handlers[HOOKS_N];        /* in the order of their declaration */
	unsigned              handlers_n[HOOKS_N];
	struct hook_handler  *every;
	unsigned              every_n;
	const char          **files;            /* those that were loaded */
	unsigned              files_n;
	uint64_t              calls, errors;
	struct where          running;          /* file NULL: nothing is */
	bool                  may_reject;
	unsigned              rejects;          /* made in this call */
	struct hook_slot      slots[HOOK_SLOTS];
	struct buf            scratch;
	struct coverage      *coverage;         /* NULL: nobody asks which were called */
};

extern const char *const hooks_names[HOOKS_N];          /* "on.connect" … */

void hooks_init(struct hooks *hooks, struct sandbox *sandbox, struct log *log);
void hooks_fini(struct hooks *hooks);
void hooks_export(struct hooks *hooks, struct loader *loader);         /* on and reject, for scripts */
void hooks_loaded(struct hooks *hooks, const struct ruleset *ruleset, const struct sandbox_budget *budget);

/* Inbound: asks the handlers in order, until one refuses. */
void hooks_ask(struct hooks *hooks, enum policy_hook hook, const struct policy_session *session, struct policy_message *message,
	       const struct span *address, struct policy_decision *out);

/* Outbound: each handler is told. What the slot holds and the function is given, by HOOK_GIVES_… */
enum { HOOK_GIVES_REPLY = 1, HOOK_GIVES_QUEUE = 2, HOOK_GIVES_ATTEMPT = 4 };
void hooks_tell(struct hooks *hooks, const struct hook_handler *handlers, unsigned n, unsigned gives, const struct hook_slot *about);
