/*
 * lua_api - LuaJIT's interface, with what its headers leave unsaid: who raises
 * does not come back. The one place that includes them.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <lauxlib.h>
#include <lua.h>
#include <luajit.h>
#include <lualib.h>

#include "util/base.h"

NORETURN int lua_error(lua_State *L);
NORETURN int luaL_error(lua_State *L, const char *format, ...);
NORETURN int luaL_argerror(lua_State *L, int arg, const char *message);
NORETURN int luaL_typerror(lua_State *L, int arg, const char *type);

__attribute__((returns_nonnull)) const char *luaL_checklstring(lua_State *L, int arg, size_t *n_out);
__attribute__((returns_nonnull)) void *lua_newuserdata(lua_State *L, size_t size);
