/*
 * assemble - what was declared, put together: names looked up, duplicates and
 * contradictions found, the ruleset's tables filled.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "policy/loader.h"

/* Before anything is declared: the built-in node. */
void assemble_begin(struct ruleset *ruleset);
/* After all is. What is wrong is noted; the ruleset can be freed either way. */
void assemble_finish(struct loader *loader);
/* What is legal and has no effect, or not the one that it seems to have. */
void assemble_warn(struct loader *loader, bool chooses);        /* chooses: there is an on.message */
