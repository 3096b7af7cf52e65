/*
 * The importer is Lua (lua/pmta/): text into text is what Lua is good at. Here is
 * what it cannot do by itself: read files, and ask the policy's own parsers whether
 * they take a value, so that what it writes is what the loader reads.
 *
 * It runs in a sandbox, so hostile input ends at a budget. At last the policy is
 * loaded, as `check` would; should it be refused for mail that would go round, it is
 * made again without its reroutes.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/import.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mail/domain.h"
#include "net/ip.h"
#include "policy/embedded.h"
#include "policy/lua_api.h"
#include "policy/pattern.h"
#include "policy/policy.h"
#include "policy/sandbox.h"
#include "util/units.h"

#define INSTRUCTIONS_MAX UINT64_C(1500000000)
#define MEMORY_MAX       (UINT64_C(1) << 30)
#define FILES_MAX        10000

struct import {
	const char *path;
	const struct import_options *options;
	const struct import_files *files;
	struct import_result *out;
	struct sandbox *sandbox;
	size_t   bytes;
	unsigned files_n;
	bool     no_reroute;
};

static struct import *
import_of(lua_State *L)
{
	return lua_touserdata(L, lua_upvalueindex(1));
}

static const char *
duration_ok(struct span text, char out[DOMAIN_MAX])
{
	int64_t us;
	return duration_parse(text, false, &us, NULL) ? out : NULL;
}

static const char *
rate_ok(struct span text, char out[DOMAIN_MAX])
{
	struct rate_spec rate;
	return rate_parse(text, &rate, NULL) ? out : NULL;
}

static const char *
size_ok(struct span text, char out[DOMAIN_MAX])
{
	uint64_t bytes;
	return size_parse(text, &bytes, NULL) ? out : NULL;
}

static const char *
domain_ok(struct span text, char out[DOMAIN_MAX])
{
	return domain_normalize(text, out, NULL) ? out : NULL;
}

static const char *
pattern_ok(struct span text, char out[DOMAIN_MAX])
{
	static const char *const heads[] = { "", "*.", "[*.]", "*" };
	struct domain_pattern pattern;
	if (!domain_pattern_parse(text, &pattern, NULL) || strlen(pattern.name) + 4 >= DOMAIN_MAX)
		return NULL;
	snprintf(out, DOMAIN_MAX, "%s%s", heads[pattern.kind], pattern.name);
	return out;
}

static const char *
ip_ok(struct span text, char out[DOMAIN_MAX])
{
	struct ip ip;
	if (!ip_parse(text, &ip) || ip_is_unspecified(&ip))
		return NULL;
	ip_format(&ip, out);
	return out;
}

static const char *
endpoint_ok(struct span text, char out[DOMAIN_MAX])
{
	struct endpoint endpoint;
	if (!endpoint_parse(text, 0, &endpoint, NULL))
		return NULL;
	endpoint_format(&endpoint, out);
	return out;
}

static const char *
cidr_ok(struct span text, char out[DOMAIN_MAX])
{
	struct cidr cidr;
	if (!cidr_parse(text, &cidr, NULL))
		return NULL;
	ip_format(&cidr.net, out);
	snprintf(out + strlen(out), DOMAIN_MAX - strlen(out), "/%u", cidr.bits);
	return out;
}

static const char *
regex_ok(struct span text, char out[DOMAIN_MAX])
{
	struct pattern *pattern = pattern_compile(text, NULL);
	pattern_free(pattern);
	return pattern ? out : NULL;
}

/* host.valid(kind, text): nil, or its normal form (the text itself where there is none). */
static int
l_valid(lua_State *L)
{
	static const struct { const char *name; const char *(*ok)(struct span text, char out[DOMAIN_MAX]); } kinds[] = {
		{ "duration", duration_ok }, { "rate", rate_ok }, { "size", size_ok }, { "domain", domain_ok }, { "pattern", pattern_ok },
		{ "ip", ip_ok }, { "endpoint", endpoint_ok }, { "cidr", cidr_ok }, { "regex", regex_ok },
	};
	const char *kind = luaL_checkstring(L, 1);
	size_t n, i = 0;
	const char *text = luaL_checklstring(L, 2, &n);
	char normal[DOMAIN_MAX] = "";
	sandbox_charge(L, 100 + n);
	while (i < countof(kinds) && strcmp(kinds[i].name, kind) != 0)
		i++;
	if (i == countof(kinds))
		return luaL_error(L, "valid: no such kind: %s", kind);
	if (n > 1000 || !kinds[i].ok(span_make(text, n), normal))
		lua_pushnil(L);
	else if (normal[0])
		lua_pushstring(L, normal);
	else
		lua_pushvalue(L, 2);
	return 1;
}

/* host.distance(a, b): the number of letters in which two names differ. */
static int
l_distance(lua_State *L)
{
	size_t a_n, b_n;
	const char *a = luaL_checklstring(L, 1, &a_n), *b = luaL_checklstring(L, 2, &b_n);
	sandbox_charge(L, 100);
	lua_pushinteger(L, span_distance(span_make(a, a_n), span_make(b, b_n)));
	return 1;
}

/* host.read(path): the text, or nil and why not. */
static int
l_read(lua_State *L)
{
	struct import *import = import_of(L);
	const char *path = luaL_checkstring(L, 1);
	struct err err = { 0 };
	struct buf text;
	buf_init(&text, IMPORT_BYTES_MAX - import->bytes + 1);
	bool ok = import->files_n++ < FILES_MAX ? import->files->read(import->files->ctx, path, &text, &err)
						: err_set(&err, ERR_PERM, "is one file too many (10000)");
	if (text.overflowed || buf_len(&text) > IMPORT_BYTES_MAX - import->bytes)
		ok = err_set(&err, ERR_PERM, "is more than an import may read (8 MiB in all)");
	import->bytes += ok ? buf_len(&text) : 0;
	if (ok) {
		lua_pushlstring(L, buf_text(&text), buf_len(&text));
		sandbox_charge(L, buf_len(&text) / 16);
	} else {
		lua_pushnil(L);
		lua_pushstring(L, err.text);
	}
	buf_fini(&text);
	return ok ? 1 : 2;
}

static void
on_found(void *to, const char *path)
{
	lua_State *L = to;
	lua_pushstring(L, path);
	lua_rawseti(L, -2, (int)lua_objlen(L, -2) + 1);
}

/* host.find(pattern, from): a list of paths. */
static int
l_find(lua_State *L)
{
	struct import *import = import_of(L);
	const char *pattern = luaL_checkstring(L, 1), *from = luaL_checkstring(L, 2);
	sandbox_charge(L, 10000);
	lua_newtable(L);
	import->files->find(import->files->ctx, pattern, from, on_found, L);
	return 1;
}

/* require "pmta.x" */
static int
l_require(lua_State *L)
{
	const char *name = luaL_checkstring(L, 1);
	lua_settop(L, 1);
	lua_pushvalue(L, lua_upvalueindex(2));
	lua_getfield(L, 2, name);
	if (!lua_isnil(L, -1))
		return 1;
	struct span text = embedded_lua(span_text(name));
	if (!text.p || !span_starts(span_text(name), SPAN("pmta.")))
		return luaL_error(L, "require: there is no %s", name);
	if (luaL_loadbuffer(L, text.p, text.n, lua_pushfstring(L, "=%s", name)) != 0)
		return lua_error(L);
	lua_call(L, 0, 1);
	lua_pushvalue(L, -1);
	lua_setfield(L, 2, name);
	return 1;
}

static void
export_host(struct import *import)
{
	static const luaL_Reg doors[] = { { "valid", l_valid }, { "distance", l_distance }, { "read", l_read }, { "find", l_find } };
	lua_State *L = sandbox_lua(import->sandbox);
	lua_newtable(L);
	for (size_t i = 0; i < countof(doors); i++) {
		lua_pushlightuserdata(L, import);
		lua_pushcclosure(L, doors[i].func, 1);
		lua_setfield(L, -2, doors[i].name);
	}
	sandbox_export(L, "host");
	lua_pushlightuserdata(L, import);
	lua_newtable(L);
	lua_pushcclosure(L, l_require, 2);
	sandbox_export(L, "require");
}

static const char *
take_text(struct import *import, lua_State *L, const char *name)
{
	size_t n;
	lua_getfield(L, -1, name);
	const char *text = lua_tolstring(L, -1, &n);
	const char *kept = text ? arena_strndup(&import->out->arena, text, n) : NULL;
	lua_pop(L, 1);
	return kept;
}

static void
take_line(struct import *import, lua_State *L, struct import_line *line)
{
	line->file = take_text(import, L, "file");
	line->directive = take_text(import, L, "directive");
	line->verdict = take_text(import, L, "verdict");
	line->becomes = take_text(import, L, "becomes");
	line->note = take_text(import, L, "note");
	lua_getfield(L, -1, "line");
	line->line = (int)lua_tointeger(L, -1);
	lua_pop(L, 1);
}

/* A C function run in the sandbox: what it raises ends there. Stack: what the importer answered. */
static int
l_take(lua_State *L)
{
	struct import *import = lua_touserdata(L, 2);
	struct import_result *out = import->out;
	lua_settop(L, 1);
	out->refusal = take_text(import, L, "refusal");
	const char *policy = take_text(import, L, "policy");
	out->policy = policy ? span_text(policy) : span_make(NULL, 0);
	lua_getfield(L, 1, "lines");
	out->lines_n = lua_istable(L, -1) ? (unsigned)lua_objlen(L, -1) : 0;
	out->lines = arena_alloc(&out->arena, (out->lines_n + 1) * sizeof(*out->lines));
	for (unsigned i = 0; i < out->lines_n; i++) {
		lua_rawgeti(L, 2, (int)i + 1);
		take_line(import, L, &out->lines[i]);
		lua_pop(L, 1);
	}
	return 0;
}

static int
l_import(lua_State *L)
{
	struct import *import = import_of(L);
	lua_pushlightuserdata(L, import);
	lua_newtable(L);
	lua_pushcclosure(L, l_require, 2);
	lua_pushliteral(L, "pmta.import");
	lua_call(L, 1, 1);
	lua_pushstring(L, import->path);
	lua_newtable(L);
	lua_pushstring(L, import->options->as);
	lua_setfield(L, -2, "as");
	lua_pushboolean(L, import->options->split);
	lua_setfield(L, -2, "split");
	lua_pushstring(L, import->options->written);
	lua_setfield(L, -2, "written");
	lua_pushboolean(L, import->no_reroute);
	lua_setfield(L, -2, "no_reroute");
	lua_call(L, 2, 1);
	lua_pushcfunction(L, l_take);
	lua_insert(L, -2);
	lua_pushlightuserdata(L, import);
	lua_call(L, 2, 0);
	return 0;
}

static void
run(struct import *import)
{
	static const struct sandbox_budget budget = { INSTRUCTIONS_MAX, MEMORY_MAX };
	struct sandbox_failure failure;
	import->bytes = import->files_n = 0;
	import->sandbox = sandbox_new(&(struct sandbox_options){ .log = NULL });
	lua_State *L = sandbox_lua(import->sandbox);
	export_host(import);
	lua_pushlightuserdata(L, import);
	lua_pushcclosure(L, l_import, 1);
	if (!sandbox_call(import->sandbox, 0, 0, &budget, &failure))
		import->out->refusal = failure.over_budget ? "is more than can be imported at once: give its parts one by one"
							   : arena_printf(&import->out->arena, "cannot be imported: %s (%s:%d)", failure.text,
									  failure.source, failure.line);
	sandbox_free(import->sandbox);
}

static void
drop(void *ctx, const char *line, size_t n)
{
}

/* What `check` would say. NULL: nothing. */
static const char *
load_error(struct import *import)
{
	struct policy_report report;
	struct log log = { .level = LOG_ERROR, .sink = drop };
	const char *why = NULL;
	char path[64];
	int fd = memfd_create("policy", MFD_CLOEXEC);
	check(fd >= 0);
	struct span left = import->out->policy;
	while (left.n) {
		ssize_t n = write(fd, left.p, left.n);
		check(n > 0);
		left = span_from(left, (size_t)n);
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	policy_report_init(&report);
	struct policy *policy = policy_load(path, &(struct policy_env){ .log = &log }, &report);
	if (!policy)
		why = report.errors_n ? arena_printf(&import->out->arena, "line %d: %s", report.errors[0].line, report.errors[0].text) : "";
	policy_free(policy);
	policy_report_fini(&report);
	close(fd);
	return why;
}

void
import_pmta(const char *path, const struct import_options *options, const struct import_files *files, struct import_result *out)
{
	struct import import = { .path = path, .options = options, .files = files, .out = out };
	const char *why = NULL;
	*out = (struct import_result){ .refusal = NULL };
	arena_init(&out->arena);
	for (unsigned try = 0; try < 2; try++) {
		import.no_reroute = try == 1;
		run(&import);
		why = out->refusal ? NULL : load_error(&import);
		if (!why)
			return;
	}
	out->refusal = arena_printf(&out->arena, "cannot be imported: the policy would not load: %s", why);
}

bool
import_is_domain(const char *as)
{
	struct domain_pattern pattern;
	return domain_pattern_parse(span_text(as), &pattern, NULL);
}

void
import_fini(struct import_result *result)
{
	arena_fini(&result->arena);
}
