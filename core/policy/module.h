/*
 * module - `require` for policies: each module is run once a load.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "policy/loader.h"

void module_init(lua_State *L);         /* forgets what an earlier load required */
int  module_l_require(lua_State *L);
void module_check(struct loader *loader);       /* when all is declared: what was required and never called */
