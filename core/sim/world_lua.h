/*
 * world_lua - worlds for Lua: the module "sluice.world", on which sluice/sim.lua
 * stands. Not for specs: nothing in it checks who calls.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "policy/lua_api.h"

/* Leaves the module's table. */
int l_open_world(lua_State *L);
