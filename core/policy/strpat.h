/*
 * strpat - Lua's string patterns (find, match, gmatch, gsub), with each step
 * charged to the caller's budget: LuaJIT's own run to their end, however long.
 *
 * Same patterns and results as Lua 5.1 with LuaJIT's additions (Lua 5.1 manual,
 * 5.4.1; %f; a NUL may stand in a pattern).
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <lua.h>

void strpat_fill(lua_State *L);         /* puts the four functions into the table at the top */
