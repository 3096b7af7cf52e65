/*
 * module - `require` for policies: each module is run once a load.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "policy/loader.h"

void module_init(lua_State *L);         /* forgets what an earlier load required */
int  module_l_require(lua_State *L);
/* Pushes a function, to be called when all is loaded: modules that ship and that nobody called declare what they do
 * by themselves. */
void module_push_waiting(lua_State *L);
