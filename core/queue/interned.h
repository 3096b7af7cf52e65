/*
 * interned - the settings of queues, each kind once: thousands of domains have what
 * every other has.
 *
 * Ownership  init/fini. What it hands out lives until fini, and so must the ruleset.
 * Threads    The loop's.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "policy/ruleset.h"
#include "util/table.h"

struct interned {
	struct table by_source, by_value;
};

void interned_init(struct interned *interned, uint64_t seed);
void interned_fini(struct interned *interned);
const struct queue_settings *interned_get(struct interned *interned, const struct ruleset *ruleset,
					  const struct ruleset_provider *provider, struct span domain,
					  const struct ruleset_vmta *vmta);
/* What the ruleset resolves, with the bytes that no field has as zeros: equal settings are equal in every byte. */
void interned_lay(const struct ruleset *ruleset, const struct ruleset_provider *provider, struct span domain,
		  const struct ruleset_vmta *vmta, struct queue_settings *out);
