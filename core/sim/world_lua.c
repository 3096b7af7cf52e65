/*
 * world_lua - a world's life, its time and its mail, for Lua.
 *
 * Functions of a spec are called back while a world runs, by the state that is
 * in the call; what they raise stops the run and is raised from there. A world
 * that runs is not to be run from within: the loop is not to be entered twice.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/world_lua.h"

#include <stdlib.h>

#include "policy/coverage.h"
#include "policy/setting.h"
#include "sim/spec_host.h"
#include "sim/world_lua_own.h"
#include "util/units.h"

#define WORLD_META    "sluice.world"
#define COVERAGE_META "sluice.coverage"
#define HEADERS_MAX  100u
#define US(seconds)  ((int64_t)((seconds) * 1e6 + ((seconds) < 0 ? -0.5 : 0.5)))

struct lua_world *
l_world(lua_State *L)
{
	struct lua_world *lw = luaL_checkudata(L, 1, WORLD_META);

	if (lw->world == NULL)
		luaL_error(L, "the world is over: it lasts as long as its test");
	return lw;
}

int
l_refused(lua_State *L, const struct err *err, bool placed)
{
	lua_pushnil(L);
	lua_pushstring(L, err->text);
	lua_pushboolean(L, placed);
	return 3;
}

int
l_take_function(lua_State *L, int index)
{
	lua_pushvalue(L, index);
	return luaL_ref(L, LUA_REGISTRYINDEX);
}

bool
l_call_back(lua_State *L, int args_n, int results_n, struct err *err)
{
	if (lua_pcall(L, args_n, results_n, 0) == 0)
		return true;
	err_set(err, ERR_PERM, "%s", lua_isstring(L, -1) ? lua_tostring(L, -1) : "an error that is no text");
	lua_pop(L, 1);
	return false;
}

/* ---- a call that lets time pass ---- */

static struct lua_world *
enter(lua_State *L)
{
	struct lua_world *lw = l_world(L);

	if (lw->L != NULL)
		luaL_error(L, "the world is running: a function that it calls can't do that");
	lw->L = L;
	return lw;
}

/* What a function of the spec or the policy said has a place of its own; our own text has none. */
static int
leave(struct lua_world *lw, bool ok, const struct err *err)
{
	lua_State *L = lw->L;

	lw->L = NULL;
	if (!ok)
		return l_refused(L, err, false);
	lua_pushboolean(L, true);
	return 1;
}

static bool
is_expired(void *ctx)
{
	const struct lua_world *lw = ctx;

	return lw->L != NULL && spec_host_expired(lw->L);
}

static void
report_text(const struct policy_report *report, struct buf *out)
{
	for (unsigned i = 0; i < report->errors_n; i++) {
		const struct policy_note *note = &report->errors[i];

		buf_add_text(out, i > 0 ? "\n" : "");
		if (note->line > 0)
			buf_printf(out, "%s:%d: %s", note->file, note->line, note->text);
		else
			buf_printf(out, "%s: %s", note->file, note->text);
	}
}

/* A policy that was refused says where. */
static int
l_refused_policy(lua_State *L, struct policy_report *report, const struct err *err)
{
	struct buf text;
	bool placed = report->errors_n > 0;

	buf_init(&text, 0);
	report_text(report, &text);
	lua_pushnil(L);
	lua_pushstring(L, placed ? buf_text(&text) : err->text);
	lua_pushboolean(L, placed);
	buf_fini(&text);
	policy_report_fini(report);
	return 3;
}

/* ---- a world's life ---- */

/* The state's one coverage; NULL: nobody asks. */
static struct coverage *
l_coverage(lua_State *L)
{
	struct coverage **held;

	lua_getfield(L, LUA_REGISTRYINDEX, COVERAGE_META ".held");
	held = lua_touserdata(L, -1);
	lua_pop(L, 1);
	return held != NULL ? *held : NULL;
}

static int
l_coverage_free(lua_State *L)
{
	struct coverage **held = lua_touserdata(L, 1);

	coverage_free(*held);
	*held = NULL;
	return 0;
}

/* cover(): from now on. Worlds are collected before it, having been made later. */
static int
l_cover(lua_State *L)
{
	struct coverage **held;

	if (l_coverage(L) != NULL)
		return 0;
	held = lua_newuserdata(L, sizeof *held);
	*held = coverage_new();
	luaL_getmetatable(L, COVERAGE_META);
	lua_setmetatable(L, -2);
	lua_setfield(L, LUA_REGISTRYINDEX, COVERAGE_META ".held");
	return 0;
}

static void
add_row(void *ctx, const struct coverage_row *row)
{
	lua_State *L = ctx;

	lua_createtable(L, 0, 6);
	lua_pushstring(L, coverage_kind_name(row->kind));
	lua_setfield(L, -2, "kind");
	lua_pushstring(L, row->name);
	lua_setfield(L, -2, "name");
	lua_pushstring(L, row->file);
	lua_setfield(L, -2, "file");
	lua_pushinteger(L, row->line);
	lua_setfield(L, -2, "line");
	lua_pushstring(L, coverage_state_name(row->state));
	lua_setfield(L, -2, "state");
	lua_pushstring(L, row->why);
	lua_setfield(L, -2, "why");
	lua_rawseti(L, -2, (int)lua_objlen(L, -2) + 1);
}

/* coverage(): its rows */
static int
l_rows(lua_State *L)
{
	const struct coverage *coverage = l_coverage(L);

	lua_newtable(L);
	if (coverage != NULL)
		coverage_each(coverage, add_row, L);
	return 1;
}

/* new(policy, seed, text) */
static int
l_new(lua_State *L)
{
	struct world_options options = {
		.policy = luaL_checkstring(L, 1), .seed = (uint64_t)luaL_checknumber(L, 2), .expired = is_expired,
		.coverage = l_coverage(L), .text = luaL_optstring(L, 3, NULL),
	};
	struct lua_world *lw = lua_newuserdata(L, sizeof *lw);
	struct policy_report report;
	struct err err = { 0 };

	*lw = (struct lua_world){ .L = L };
	luaL_getmetatable(L, WORLD_META);
	lua_setmetatable(L, -2);
	options.ctx = lw;
	policy_report_init(&report);
	lw->world = world_new(&options, &report, &err);
	lw->L = NULL;
	if (lw->world == NULL)
		return l_refused_policy(L, &report, &err);
	policy_report_fini(&report);
	return 1;
}

static int
l_free(lua_State *L)
{
	struct lua_world *lw = luaL_checkudata(L, 1, WORLD_META);

	/* What it called back last may be up the stack, in an error on its way out. */
	lw->L = L;
	world_free(lw->world);
	lw->world = NULL;
	lw->L = NULL;
	return 0;
}

static int
l_crash(lua_State *L)
{
	struct lua_world *lw = enter(L);
	struct err err = { 0 };
	bool ok = world_crash(lw->world, &err);

	return leave(lw, ok, &err);
}

static int
l_restart(lua_State *L)
{
	struct lua_world *lw = enter(L);
	struct policy_report report;
	struct err err = { 0 };
	bool ok;

	policy_report_init(&report);
	ok = world_restart(lw->world, &report, &err);
	lw->L = NULL;
	if (!ok)
		return l_refused_policy(L, &report, &err);
	policy_report_fini(&report);
	lua_pushboolean(L, true);
	return 1;
}

static int
l_swap(lua_State *L)
{
	struct lua_world *lw = enter(L);
	struct policy_report report;
	struct err err = { 0 };
	bool ok;

	policy_report_init(&report);
	ok = world_swap(lw->world, luaL_checkstring(L, 2), &report, &err);
	lw->L = NULL;
	if (!ok)
		return l_refused_policy(L, &report, &err);
	policy_report_fini(&report);
	lua_pushboolean(L, true);
	return 1;
}

/* fault(world, name, value) */
static int
l_fault(lua_State *L)
{
	struct world *world = l_world(L)->world;
	const char *name = luaL_checkstring(L, 2);
	const char *dns = lua_tostring(L, 3);
	bool on = lua_toboolean(L, 3) != 0;

	if (strcmp(name, "torn_write") == 0)
		world_fault_torn_write(world, on);
	else if (strcmp(name, "lying_sync") == 0)
		world_fault_lying_sync(world, on);
	else if (strcmp(name, "disk_full") == 0)
		world_fault_disk_full(world, on);
	else if (strcmp(name, "disk_error") == 0)
		world_fault_disk_error(world, (uint64_t)lua_tonumber(L, 3));
	else if (strcmp(name, "clock_jump") == 0)
		world_fault_clock_jump(world, US(lua_tonumber(L, 3)) / US_PER_MS);
	else if (strcmp(name, "dns") == 0)
		world_fault_dns(world, strcmp(dns, "servfail") == 0 ? WORLD_DNS_SERVFAIL
				     : strcmp(dns, "timeout") == 0 ? WORLD_DNS_TIMEOUT : WORLD_DNS_FINE);
	else
		return luaL_error(L, "fault: %s", name);
	lua_pushboolean(L, true);
	return 1;
}

/* ---- time ---- */

static int
l_now(lua_State *L)
{
	lua_pushnumber(L, (double)world_now(l_world(L)->world) / (double)US_PER_S);
	return 1;
}

static int
l_seed(lua_State *L)
{
	lua_pushnumber(L, (double)world_seed(l_world(L)->world));
	return 1;
}

static int
l_run_until(lua_State *L)
{
	struct lua_world *lw = enter(L);
	struct err err = { 0 };
	bool ok = world_run_until(lw->world, US(luaL_checknumber(L, 2)), &err);

	return leave(lw, ok, &err);
}

static int
l_run_until_idle(lua_State *L)
{
	struct lua_world *lw = enter(L);
	struct err err = { 0 };
	bool ok = world_run_until_idle(lw->world, &err);

	return leave(lw, ok, &err);
}

/* The function lies at index 2 of the state that runs. */
static int
go_on(void *ctx)
{
	struct lua_world *lw = ctx;
	struct err err = { 0 };
	bool more;

	lua_pushvalue(lw->L, 2);
	if (!l_call_back(lw->L, 0, 1, &err)) {
		world_fail(lw->world, err.text);
		return -1;
	}
	more = lua_toboolean(lw->L, -1) != 0;
	lua_pop(lw->L, 1);
	return more;
}

static int
l_run_while(lua_State *L)
{
	struct lua_world *lw = enter(L);
	struct err err = { 0 };
	bool ok = world_run_while(lw->world, go_on, lw, &err);

	return leave(lw, ok, &err);
}

/* ---- mail ---- */

struct rcpt_source {
	struct lua_world *lw;
	int  fn;                        /* a reference */
	char address[400];              /* the last it gave */
};

static const char *
to_of(void *ctx, uint64_t i)
{
	struct rcpt_source *source = ctx;
	lua_State *L = source->lw->L;
	struct err err = { 0 };
	const char *address;

	lua_rawgeti(L, LUA_REGISTRYINDEX, source->fn);
	lua_pushnumber(L, (double)i);
	if (!l_call_back(L, 1, 1, &err)) {
		world_fail(source->lw->world, err.text);
		return NULL;
	}
	address = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
	if (address == NULL || strlen(address) >= sizeof source->address || strpbrk(address, " \t\r\n<>") != NULL) {
		err_set(&err, ERR_PERM, "inject: to: its function gave no address but %s", address ? address : luaL_typename(L, -1));
		world_fail(source->lw->world, err.text);
		lua_pop(L, 1);
		return NULL;
	}
	memcpy(source->address, address, strlen(address) + 1);
	lua_pop(L, 1);
	return source->address;
}

static void
source_free(void *ctx)
{
	struct rcpt_source *source = ctx;

	luaL_unref(source->lw->L, LUA_REGISTRYINDEX, source->fn);
	free(source);
}

/* Strings stay where the table of options, at index 2, holds them. */
static const char *
field_text(lua_State *L, const char *name)
{
	const char *text;

	lua_getfield(L, 2, name);
	text = lua_tostring(L, -1);
	lua_pop(L, 1);
	return text;
}

static double
field_number(lua_State *L, const char *name, double otherwise)
{
	double value;

	lua_getfield(L, 2, name);
	value = lua_isnil(L, -1) ? otherwise : lua_tonumber(L, -1);
	lua_pop(L, 1);
	return value;
}

static void
take_recipients(lua_State *L, struct lua_world *lw, struct world_injection *o)
{
	lua_getfield(L, 2, "to");
	if (lua_isfunction(L, -1)) {
		struct rcpt_source *source = mem_alloc(sizeof *source);

		source->lw = lw;
		source->fn = l_take_function(L, -1);
		o->to_of = to_of;
		o->free_ctx = source_free;
		o->ctx = source;
		return;
	}
	const char **to = lua_newuserdata(L, (lua_objlen(L, -1) + 1) * sizeof *to);

	o->to_n = (unsigned)lua_objlen(L, -2);
	for (unsigned i = 0; i < o->to_n; i++) {
		lua_rawgeti(L, -2, (int)i + 1);
		to[i] = lua_tostring(L, -1);
		lua_pop(L, 1);
	}
	o->to = to;
}

static void
take_headers(lua_State *L, struct world_injection *o)
{
	struct world_header *headers = lua_newuserdata(L, HEADERS_MAX * sizeof *headers);

	lua_getfield(L, 2, "headers");
	for (int i = 1; lua_istable(L, -1) && o->headers_n < HEADERS_MAX; i++) {
		lua_rawgeti(L, -1, i);
		if (!lua_istable(L, -1)) {
			lua_pop(L, 1);
			break;
		}
		lua_rawgeti(L, -1, 1);
		lua_rawgeti(L, -2, 2);
		headers[o->headers_n++] = (struct world_header){ lua_tostring(L, -2), lua_tostring(L, -1) };
		lua_pop(L, 3);
	}
	lua_pop(L, 1);
	o->headers = headers;
}

/* inject(world, options): how many were accepted, and the first refusal */
static int
l_inject(lua_State *L)
{
	struct lua_world *lw = enter(L);
	struct world_injection o = {
		.count = (uint64_t)field_number(L, "count", 1), .from = field_text(L, "from"), .vmta = field_text(L, "vmta"),
		.pool = field_text(L, "pool"), .job = field_text(L, "job"),
		.priority = (uint8_t)field_number(L, "priority", 50), .size_bytes = (uint64_t)field_number(L, "size", 0),
		.over_us = US(field_number(L, "over", 0)),
	};
	struct world_injected injected;
	struct err err = { 0 };
	bool ok;

	take_headers(L, &o);
	take_recipients(L, lw, &o);
	ok = world_inject(lw->world, &o, &injected, &err);
	if (!ok)
		return leave(lw, false, &err);
	lw->L = NULL;
	lua_pushnumber(L, (double)injected.accepted);
	if (injected.refusal[0] == '\0')
		return 1;
	lua_pushstring(L, injected.refusal);
	return 2;
}

/* ---- values ---- */

/* duration(value): seconds; as in a policy, and milliseconds */
static int
l_duration(lua_State *L)
{
	struct span text;
	struct err err = { 0 };
	uint64_t ms;
	int64_t us = 0;

	if (lua_type(L, 1) == LUA_TNUMBER) {
		double seconds = lua_tonumber(L, 1);

		if (!(seconds >= 0 && seconds < 1e9)) {
			err_set(&err, ERR_PERM, "not a number of seconds: %g", seconds);
			return l_refused(L, &err, false);
		}
		lua_pushvalue(L, 1);
		return 1;
	}
	text.p = luaL_checklstring(L, 1, &text.n);
	if (text.n > 2 && span_ends_nocase(text, SPAN("ms"))) {
		if (span_u64(span_first(text, text.n - 2), UINT64_C(1) << 40, &ms))
			us = (int64_t)ms * US_PER_MS;
		else
			err_set(&err, ERR_PERM, "no duration: \"%.40s\" (as in \"80ms\")", text.p);
	} else {
		duration_parse(text, true, &us, &err);
	}
	if (err.kind != ERR_NONE)
		return l_refused(L, &err, false);
	lua_pushnumber(L, (double)us / (double)US_PER_S);
	return 1;
}

/* rate(text): the count (0: unlimited), and seconds */
static int
l_rate(lua_State *L)
{
	struct span text;
	struct rate_spec rate;
	struct err err = { 0 };

	text.p = luaL_checklstring(L, 1, &text.n);
	if (!rate_parse(text, &rate, &err))
		return l_refused(L, &err, false);
	lua_pushnumber(L, rate.count);
	lua_pushnumber(L, (double)rate.window_us / (double)US_PER_S);
	return 2;
}

static int
l_size(lua_State *L)
{
	struct span text;
	struct err err = { 0 };
	uint64_t bytes;

	if (lua_type(L, 1) == LUA_TNUMBER && lua_tonumber(L, 1) >= 0 && lua_tonumber(L, 1) <= 1e9) {
		lua_pushvalue(L, 1);
		return 1;
	}
	text.p = luaL_checklstring(L, 1, &text.n);
	if (!size_parse(text, &bytes, &err) || (bytes > 1000000000 && !err_set(&err, ERR_PERM, "at most 1000000000 bytes")))
		return l_refused(L, &err, false);
	lua_pushnumber(L, (double)bytes);
	return 1;
}

/* nearest(word, words) */
static int
l_nearest(lua_State *L)
{
	const char *words[128];
	unsigned n = 0;
	struct span word;

	word.p = luaL_checklstring(L, 1, &word.n);
	for (; n < countof(words); n++) {
		lua_rawgeti(L, 2, (int)n + 1);
		words[n] = lua_tostring(L, -1);
		lua_pop(L, 1);
		if (words[n] == NULL)
			break;
	}
	lua_pushstring(L, setting_nearest(word, words, n));
	return 1;
}

static const luaL_Reg functions[] = {
	{ "cover", l_cover }, { "coverage", l_rows }, { "new", l_new }, { "free", l_free }, { "crash", l_crash }, { "restart", l_restart }, { "swap", l_swap },
	{ "fault", l_fault }, { "now", l_now }, { "seed", l_seed }, { "run_until", l_run_until },
	{ "run_until_idle", l_run_until_idle }, { "run_while", l_run_while }, { "inject", l_inject },
	{ "duration", l_duration }, { "rate", l_rate }, { "size", l_size }, { "nearest", l_nearest },
	{ NULL, NULL },
};

int
l_open_world(lua_State *L)
{
	luaL_newmetatable(L, WORLD_META);
	lua_pushcfunction(L, l_free);
	lua_setfield(L, -2, "__gc");
	lua_pop(L, 1);
	luaL_newmetatable(L, COVERAGE_META);
	lua_pushcfunction(L, l_coverage_free);
	lua_setfield(L, -2, "__gc");
	lua_pop(L, 1);
	lua_newtable(L);
	luaL_register(L, NULL, functions);
	l_add_receiver(L);
	l_add_view(L);
	return 1;
}
