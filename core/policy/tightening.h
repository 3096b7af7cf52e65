/*
 * tightening - what a reaction or queue:limit may set: caps, rates and retry
 * settings, as a value or as a percent of what is in force.
 *
 * Errors     err holds what is wrong and what to write, without place or name.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "policy/lua_api.h"
#include "policy/reaction.h"
#include "util/err.h"

/* Fills the names of those that may; how many. */
unsigned tightening_names(const char *words[SETTINGS_N]);
bool tightening_allows(enum setting_id id);
bool tightening_read(lua_State *L, int index, enum setting_id id, struct tightening *out, struct err *err);

/* "1h", 90, "forever" (DURATION_NEVER) */
bool tightening_lasts(lua_State *L, int index, int64_t *out, struct err *err);
