/*
 * strpat - Lua's string patterns (find, match, gmatch, gsub), with each step
 * charged to the caller's budget: LuaJIT's own run to their end, however long.
 *
 * Same patterns and results as Lua 5.1 with LuaJIT's additions (Lua 5.1 manual,
 * 5.4.1; %f; a NUL may stand in a pattern).
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "policy/lua_api.h"
#include "util/base.h"

/* What a step costs. charge may raise; left is asked before a call, and charge at the latest when that is used up. */
struct strpat_meter {
	uint64_t (*left)(lua_State *L);                         /* instructions */
	void     (*charge)(lua_State *L, uint64_t instructions);
};

/* Puts the four functions into the table at the top; the meter must outlive the state. */
void strpat_fill(lua_State *L, const struct strpat_meter *meter);
