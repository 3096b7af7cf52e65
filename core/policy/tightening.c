/*
 * Left out: what a session was opened with (ports, TLS, timeouts), which an overlay
 * could only change for some; and bounce_after and max_attempts, which would give
 * mail up for something that passes.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/tightening.h"

#include "policy/setting.h"
#include "policy/value.h"

bool
tightening_allows(enum setting_id id)
{
	if (id >= SETTINGS_N || id == SETTING_max_attempts)
		return false;
	switch (setting_table[id].kind) {
	case SETTING_COUNT: case SETTING_RATE:
		return true;
	default:
		return id == SETTING_retry_after || id == SETTING_retry_recipients_after || id == SETTING_retry_after_dns_error;
	}
}

unsigned
tightening_names(const char *words[SETTINGS_N])
{
	unsigned n = 0;
	for (unsigned id = 0; id < SETTINGS_N; id++)
		if (tightening_allows(id))
			words[n++] = setting_table[id].name;
	return n;
}

static bool
is_percent(lua_State *L, int index)
{
	size_t n = 0;
	const char *text = lua_type(L, index) == LUA_TSTRING ? lua_tolstring(L, index, &n) : NULL;
	return n > 0 && text[n - 1] == '%';
}

static bool
is_unlimited(lua_State *L, int index)
{
	return lua_type(L, index) == LUA_TSTRING && strcmp(lua_tostring(L, index), "unlimited") == 0;
}

bool
tightening_read(lua_State *L, int index, enum setting_id id, struct tightening *out, struct err *err)
{
	enum setting_kind kind = setting_table[id].kind;
	*out = (struct tightening){ .setting = id, .floor = 1 };
	if (!tightening_allows(id))
		return err_set(err, ERR_PERM, "is nothing that can be tightened: write a cap, a rate or a retry setting, such as max_smtp_out");
	if (is_unlimited(L, index))
		return err_set(err, ERR_PERM, "\"unlimited\" tightens nothing: write %s", kind == SETTING_RATE ? "a rate" : "a number");
	if ((kind == SETTING_COUNT || kind == SETTING_RATE) && is_percent(L, index)) {
		out->is_percent = true;
		return value_percent(L, index, &out->percent, err);
	}
	if (is_percent(L, index))
		return err_set(err, ERR_PERM, "a percent is for caps and rates: write a duration such as \"30m\"");
	switch (kind) {
	case SETTING_COUNT:
		if (lua_type(L, index) == LUA_TNUMBER && lua_tonumber(L, index) == 0)
			return err_set(err, ERR_PERM, "0 will not do: write at least 1, or suspend");
		if (lua_type(L, index) != LUA_TNUMBER)
			return err_set(err, ERR_PERM, "write a whole number, or a percent such as \"50%%\"");
		return value_count(L, index, false, &out->count, err);
	case SETTING_RATE:
		if (lua_type(L, index) == LUA_TNUMBER && lua_tonumber(L, index) == 0)
			return err_set(err, ERR_PERM, "0 will not do: write a rate such as \"400/h\", or suspend");
		return value_rate(L, index, &out->rate, err);
	case SETTING_DURATION:
		return value_duration(L, index, &out->duration_us, err);
	default:
		return value_durations(L, index, &out->durations, err);
	}
}

bool
tightening_lasts(lua_State *L, int index, int64_t *out, struct err *err)
{
	const char *text = lua_type(L, index) == LUA_TSTRING ? lua_tostring(L, index) : "";
	*out = DURATION_NEVER;
	if (strcmp(text, "forever") == 0)
		return true;
	if (strcmp(text, "never") == 0 || strcmp(text, "unlimited") == 0)
		return err_set(err, ERR_PERM, "\"%s\" will not do: write a duration such as \"1h\", or \"forever\"", text);
	return value_duration(L, index, out, err);
}
