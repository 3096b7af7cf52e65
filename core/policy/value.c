/*
 * A number stands for itself or for seconds; text goes through util/units.h. A
 * table is a list. What PowerMTA takes as "0, so no limit" is an error here: an
 * operator who writes it means one of two opposite things.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/value.h"

#include <math.h>
#include <stdio.h>

#include "policy/grow.h"

#define SECONDS_MAX (10.0 * 365 * 86400)
#define SMTP_HOSTS_MAX 100

const char *
value_shown(lua_State *L, int index, char out[48])
{
	switch (lua_type(L, index)) {
	case LUA_TSTRING: {
		size_t used = 0;
		const char *text = lua_tostring(L, index);
		out[used++] = '"';
		for (; *text && used < 40; text++)
			out[used++] = (unsigned char)*text < ' ' || (unsigned char)*text > 0x7e ? '?' : *text;
		snprintf(out + used, 48 - used, "%s\"", *text ? "..." : "");
		break;
	}
	case LUA_TNUMBER:  snprintf(out, 48, "%.14g", lua_tonumber(L, index)); break;
	case LUA_TBOOLEAN: snprintf(out, 48, "%s", lua_toboolean(L, index) ? "true" : "false"); break;
	default:           snprintf(out, 48, "a %s", lua_typename(L, lua_type(L, index))); break;
	}
	return out;
}

static bool
wrong_kind(lua_State *L, int index, const char *instead, struct err *err)
{
	char shown[48];
	return err_set(err, ERR_PERM, "%s will not do: write %s", value_shown(L, index, shown), instead);
}

static struct span
text_at(lua_State *L, int index)
{
	size_t n;
	const char *p = lua_tolstring(L, index, &n);
	return span_make(p, n);
}

static bool
is_text(lua_State *L, int index)
{
	return lua_type(L, index) == LUA_TSTRING;
}

bool
value_count(lua_State *L, int index, bool unlimited_ok, uint32_t *out, struct err *err)
{
	if (unlimited_ok && is_text(L, index) && span_eq(text_at(L, index), SPAN("unlimited"))) {
		*out = UNLIMITED;
		return true;
	}
	const char *instead = unlimited_ok ? "a whole number, or \"unlimited\"" : "a whole number";
	if (lua_type(L, index) != LUA_TNUMBER)
		return wrong_kind(L, index, instead, err);
	double number = lua_tonumber(L, index);
	if (number == 0)
		return unlimited_ok ? err_set(err, ERR_PERM, "0 could mean none or no limit: write \"unlimited\", or paused = true")
				    : err_set(err, ERR_PERM, "0 will not do: write at least 1");
	if (!(number >= 1 && number < UNLIMITED) || number != floor(number))
		return wrong_kind(L, index, instead, err);
	*out = (uint32_t)number;
	return true;
}

static bool
zero_rate(struct span text)
{
	size_t i = 0;
	while (i < text.n && text.p[i] == '0')
		i++;
	return i > 0 && (i == text.n || text.p[i] == '/');
}

static bool
rate_text(lua_State *L, int index, struct rate_spec *out, struct err *err)
{
	if (is_text(L, index) && !zero_rate(text_at(L, index)))
		return rate_parse(text_at(L, index), out, err);
	if (is_text(L, index) || (lua_type(L, index) == LUA_TNUMBER && lua_tonumber(L, index) == 0))
		return err_set(err, ERR_PERM, "0 could mean none or no limit: write \"unlimited\", or paused = true");
	return wrong_kind(L, index, "a rate such as \"400/h\", or \"unlimited\"", err);
}

/* { "400/h", burst = 50 } */
static bool
rate_table(lua_State *L, int index, struct rate_spec *out, struct err *err)
{
	lua_rawgeti(L, index, 1);
	bool ok = rate_text(L, lua_gettop(L), out, err);
	lua_pop(L, 1);
	for (lua_pushnil(L); ok && lua_next(L, index); lua_pop(L, 1)) {
		bool first = lua_type(L, -2) == LUA_TNUMBER && lua_tonumber(L, -2) == 1;
		bool burst = is_text(L, -2) && span_eq(text_at(L, -2), SPAN("burst"));
		int value = lua_gettop(L);
		if (first)
			continue;
		if (!burst)
			ok = err_set(err, ERR_PERM, "a rate with a burst is { \"400/h\", burst = 50 }");
		else if (rate_unlimited(out))
			ok = err_set(err, ERR_PERM, "\"unlimited\" has no burst");
		else if (!value_count(L, value, false, &out->burst, err))
			ok = err_prefix(err, "burst: ");
		else if (out->burst >= out->count)
			ok = err_set(err, ERR_PERM, "burst: %u is not below the rate's %u: write less", out->burst, out->count);
		if (!ok)
			lua_pop(L, 1);
		if (!ok)
			break;
	}
	return ok;
}

bool
value_rate(lua_State *L, int index, struct rate_spec *out, struct err *err)
{
	*out = (struct rate_spec){ 0 };
	int top = lua_gettop(L);
	bool ok = lua_istable(L, index) ? rate_table(L, index, out, err) : rate_text(L, index, out, err);
	lua_settop(L, top);
	return ok;
}

bool
value_duration(lua_State *L, int index, int64_t *out, struct err *err)
{
	if (is_text(L, index))
		return duration_parse(text_at(L, index), false, out, err);
	if (lua_type(L, index) != LUA_TNUMBER)
		return wrong_kind(L, index, "a duration such as \"30m\" or \"4d12h\", or a number of seconds", err);
	double seconds = lua_tonumber(L, index);
	if (!(seconds >= 0.001 && seconds <= SECONDS_MAX))
		return wrong_kind(L, index, "a duration such as \"30m\", longer than 0 and at most 10 years", err);
	*out = (int64_t)(seconds * US_PER_S + 0.5);
	return true;
}

bool
value_durations(lua_State *L, int index, struct duration_list *out, struct err *err)
{
	*out = (struct duration_list){ .n = 1 };
	if (is_text(L, index))
		return duration_list_parse(text_at(L, index), out, err);
	if (!lua_istable(L, index))
		return value_duration(L, index, &out->us[0], err);
	size_t n = lua_objlen(L, index), keys = 0;
	for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1))
		keys++;
	if (n == 0 || n != keys)
		return err_set(err, ERR_PERM, "write a list of durations, such as { \"10m\", \"20m\", \"1h\" }");
	if (n > DURATION_LIST_MAX)
		return err_set(err, ERR_PERM, "%zu durations are too many: write at most %d", n, DURATION_LIST_MAX);
	out->n = (uint8_t)n;
	for (size_t i = 0; i < n; i++) {
		lua_rawgeti(L, index, (int)i + 1);
		bool ok = value_duration(L, lua_gettop(L), &out->us[i], err);
		lua_pop(L, 1);
		if (!ok)
			return false;
	}
	return true;
}

bool
value_percent(lua_State *L, int index, double *out, struct err *err)
{
	if (!is_text(L, index))
		return wrong_kind(L, index, "a percent such as \"5%\"", err);
	if (!percent_parse(text_at(L, index), out, err))
		return false;
	return *out <= 100 || wrong_kind(L, index, "at most \"100%\"", err);
}

bool
value_bool(lua_State *L, int index, bool *out, struct err *err)
{
	if (lua_type(L, index) != LUA_TBOOLEAN)
		return wrong_kind(L, index, "true or false", err);
	*out = lua_toboolean(L, index);
	return true;
}

bool
value_port(lua_State *L, int index, uint16_t *out, struct err *err)
{
	double number = lua_type(L, index) == LUA_TNUMBER ? lua_tonumber(L, index) : 0;
	if (!(number >= 1 && number <= 65535) || number != floor(number))
		return wrong_kind(L, index, "a port from 1 to 65535", err);
	*out = (uint16_t)number;
	return true;
}

bool
value_size(lua_State *L, int index, bool zero_ok, uint64_t *out, struct err *err)
{
	double number = lua_tonumber(L, index);
	if (is_text(L, index)) {
		if (!size_parse(text_at(L, index), out, err))
			return false;
	} else if (lua_type(L, index) != LUA_TNUMBER || !(number >= 0 && number < 9e15) || number != floor(number)) {
		return wrong_kind(L, index, "a size such as \"25M\", or a number of bytes", err);
	} else {
		*out = (uint64_t)number;
	}
	return *out > 0 || zero_ok || err_set(err, ERR_PERM, "0 will not do: write a size such as \"25M\"");
}

bool
value_text(lua_State *L, int index, const char *what, const char **out, struct err *err)
{
	if (!is_text(L, index))
		return wrong_kind(L, index, what, err);
	struct span text = text_at(L, index);
	for (size_t i = 0; i < text.n; i++)
		if ((unsigned char)text.p[i] < ' ' || text.p[i] == 0x7f)
			return err_set(err, ERR_PERM, "has a control character in it");
	if (text.n == 0 || text.n > 1000)
		return wrong_kind(L, index, what, err);
	*out = text.p;
	return true;
}

/* "host", "host:port", "192.0.2.1", "[ip]", "[ip]:port" */
static bool
parse_host(struct span text, struct smtp_host *out, struct err *err)
{
	struct span whole = text, port = span_make(NULL, 0);
	size_t close = text.n && text.p[0] == '[' ? span_find(text, ']') : SIZE_MAX;
	size_t colon = close == SIZE_MAX ? span_find(text, ':') : close + 1 < text.n ? close + 1 : SIZE_MAX;
	bool bare_v6 = close == SIZE_MAX && colon != SIZE_MAX && span_find(span_from(text, colon + 1), ':') != SIZE_MAX;
	if (colon != SIZE_MAX && !bare_v6) {
		if (text.p[colon] != ':')
			return err_set(err, ERR_PERM, "\"%.*s\" is no host: write \"host\", \"host:port\" or \"[address]:port\"", SPAN_ARG(whole));
		port = span_from(text, colon + 1);
		text = span_first(text, colon);
	}
	uint64_t number = 0;
	if (port.p && (!span_u64(port, 65535, &number) || number == 0))
		return err_set(err, ERR_PERM, "\"%.*s\": write a port from 1 to 65535", SPAN_ARG(whole));
	out->port = (uint16_t)number;
	if (close != SIZE_MAX)
		text = span_make(text.p + 1, close - 1);
	if (ip_parse(text, &out->ip))
		return true;
	out->ip = (struct ip){ 0 };
	if (close != SIZE_MAX)
		return err_set(err, ERR_PERM, "\"%.*s\" is no address", SPAN_ARG(text));
	return domain_normalize(text, out->name, err);
}

struct host_list {
	struct arena     *arena;
	struct smtp_host *hosts;
	unsigned          n;
	unsigned          group;
};

static bool
add_hosts(struct host_list *list, struct span text, struct err *err)
{
	struct span group, host;
	for (bool first = true; span_split(&text, ';', &group); first = false) {
		list->group += !first;
		while (span_split(&group, ',', &host)) {
			host = span_trim(host);
			if (host.n == 0 || host.n >= DOMAIN_MAX)
				return err_set(err, ERR_PERM, "has a host missing: write \"host\", \"host:port\" or \"[address]:port\"");
			if (list->n == SMTP_HOSTS_MAX)
				return err_set(err, ERR_PERM, "has more than %d hosts", SMTP_HOSTS_MAX);
			struct smtp_host *added = GROW(list->arena, list->hosts, list->n);
			*added = (struct smtp_host){ .group = list->group };
			if (!parse_host(host, added, err))
				return false;
		}
	}
	return true;
}

bool
value_hosts(struct loader *loader, int index, const struct smtp_hosts **out, struct err *err)
{
	lua_State *L = loader->L;
	const char *instead = "\"host\", \"host:port\", \"[address]:port\" or a list of them";
	struct host_list list = { .arena = &loader->ruleset->arena };
	if (is_text(L, index)) {
		if (!add_hosts(&list, text_at(L, index), err))
			return false;
	} else if (lua_istable(L, index)) {
		for (uint32_t i = 1; i <= lua_objlen(L, index); i++) {
			lua_rawgeti(L, index, (int)i);
			list.group += loader_after_semicolon(loader, index, i);
			bool ok = is_text(L, -1) ? add_hosts(&list, text_at(L, -1), err) : wrong_kind(L, lua_gettop(L), instead, err);
			lua_pop(L, 1);
			if (!ok)
				return false;
		}
	}
	if (list.n == 0)
		return wrong_kind(L, index, instead, err);
	struct smtp_hosts *hosts = arena_alloc(list.arena, sizeof(*hosts));
	*hosts = (struct smtp_hosts){ list.n, list.hosts };
	*out = hosts;
	return true;
}

bool
value_readable(struct loader *loader, int index, const char **out, struct err *err)
{
	const char *path = NULL;
	if (!value_text(loader->L, index, "the path of a file", &path, err))
		return false;
	*out = loader_path(loader, path);
	FILE *file = fopen(*out, "re");
	if (!file)
		return err_sys(err, "%s cannot be read", *out);
	fclose(file);
	return true;
}

bool
value_of_setting(struct loader *loader, int index, enum setting_id id, union setting_value *out, struct err *err)
{
	lua_State *L = loader->L;
	switch (setting_table[id].kind) {
	case SETTING_COUNT:    return value_count(L, index, true, &out->COUNT, err);
	case SETTING_RATE:     return value_rate(L, index, &out->RATE, err);
	case SETTING_DURATION: return value_duration(L, index, &out->DURATION, err);
	case SETTING_PERCENT:  return value_percent(L, index, &out->PERCENT, err);
	case SETTING_BOOL:     return value_bool(L, index, &out->BOOL, err);
	case SETTING_PORT:     return value_port(L, index, &out->PORT, err);
	case SETTING_HOSTS:    return value_hosts(loader, index, &out->HOSTS, err);
	case SETTING_PATH:     return value_readable(loader, index, &out->PATH, err);
	case SETTING_DURATIONS: {
		struct duration_list *list = arena_alloc(&loader->ruleset->arena, sizeof(*list));
		out->DURATIONS = list;
		return value_durations(L, index, list, err);
	}
	case SETTING_REACTIONS: break;          /* declare_backoff() reads it: it notes by itself what is wrong */
	}
	return false;
}
