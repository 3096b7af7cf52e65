/*
 * value - a Lua value as what a setting takes. The kinds are POLICY.md's, "Values".
 *
 * Errors     err holds what is wrong and what to write, without place or name.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "policy/loader.h"

bool value_count(lua_State *L, int index, bool unlimited_ok, uint32_t *out, struct err *err);
bool value_rate(lua_State *L, int index, struct rate_spec *out, struct err *err);
bool value_duration(lua_State *L, int index, int64_t *out, struct err *err);
bool value_durations(lua_State *L, int index, struct duration_list *out, struct err *err);
bool value_percent(lua_State *L, int index, double *out, struct err *err);
bool value_bool(lua_State *L, int index, bool *out, struct err *err);
bool value_port(lua_State *L, int index, uint16_t *out, struct err *err);
bool value_size(lua_State *L, int index, bool zero_ok, uint64_t *out, struct err *err);
/* A text that is not empty and has no control characters; borrowed from Lua. */
bool value_text(lua_State *L, int index, const char *what, const char **out, struct err *err);
bool value_readable(struct loader *loader, int index, const char **out, struct err *err);       /* a file, from the policy's folder */
bool value_hosts(struct loader *loader, int index, const struct smtp_hosts **out, struct err *err);
/* By the setting's kind. */
bool value_of_setting(struct loader *loader, int index, enum setting_id id, union setting_value *out, struct err *err);

/* "a number", "\"4x\"", "a table": what was written, for an error. */
const char *value_shown(lua_State *L, int index, char out[48]);
