/*
 * sandbox_lib - what a script finds in a sandbox, function by function.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "policy/sandbox.h"
#include "policy/strpat.h"
#include "util/span.h"

void sandbox_lib_open(lua_State *L);            /* Lua's own libraries, of which some is taken over */
/* Stack: the prelude's table, `lib`. Fills it, and makes it the globals of what is loaded from now on. */
void sandbox_lib_fill(lua_State *L, const struct sandbox_options *options);

void sandbox_lib_seed(lua_State *L, uint64_t seed);

/* The exported name that was probably meant; NULL: none is near. */
const char *sandbox_nearest_global(lua_State *L, struct span name);

extern const struct strpat_meter sandbox_meter;         /* steps of a pattern are charged to the sandbox */
