/*
 * world_lua - a world's life and its time, for Lua.
 *
 * Functions of a spec are called back while a world runs, by the state that is
 * in the call; what they raise stops the run and is raised from there. A world
 * that runs is not to be run from within: the loop is not to be entered twice.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/world_lua.h"

#include <errno.h>
#include <stdlib.h>

#include "sim/spec_host.h"
#include "sim/world_lua_own.h"

#define WORLD_META    "sluice.world"
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

/* An assertion that failed has no place in its text: it is noted while it can be seen. */
static int
l_note_place(lua_State *L)
{
	lua_Debug frame;

	if (!lua_istable(L, 1) || !lua_getmetatable(L, 1))
		return 1;
	lua_settop(L, 1);
	for (int level = 1; lua_getstack(L, level, &frame); level++) {
		lua_getinfo(L, "Sl", &frame);
		if (frame.source[0] != '@' || frame.currentline <= 0)
			continue;
		lua_pushstring(L, frame.source);
		lua_setfield(L, 1, "source");
		lua_pushinteger(L, frame.currentline);
		lua_setfield(L, 1, "line");
		break;
	}
	return 1;
}

bool
l_call_back(struct lua_world *lw, int args_n, int results_n, struct err *err)
{
	lua_State *L = lw->L;
	int handler = lua_gettop(L) - args_n;
	int status;

	lua_pushcfunction(L, l_note_place);
	lua_insert(L, handler);
	status = lua_pcall(L, args_n, results_n, handler);
	lua_remove(L, handler);
	if (status == 0)
		return true;
	err_set(err, ERR_PERM, "%s", lua_isstring(L, -1) ? lua_tostring(L, -1) : "a function of the spec failed");
	if (lw->caught == LUA_NOREF)
		lw->caught = luaL_ref(L, LUA_REGISTRYINDEX);
	else
		lua_pop(L, 1);
	return false;
}

/* ---- a call that lets time pass ---- */

struct lua_world *
l_enter(lua_State *L)
{
	struct lua_world *lw = l_world(L);

	if (lw->L != NULL)
		luaL_error(L, "the world is running: a function that it calls can't do that");
	lw->L = L;
	luaL_unref(L, LUA_REGISTRYINDEX, lw->caught);
	lw->caught = LUA_NOREF;
	return lw;
}

int
l_leave(struct lua_world *lw, bool ok, const struct err *err)
{
	lua_State *L = lw->L;

	lw->L = NULL;
	if (ok) {
		lua_pushboolean(L, true);
		return 1;
	}
	if (lw->caught == LUA_NOREF)
		return l_refused(L, err, false);
	lua_pushnil(L);
	lua_rawgeti(L, LUA_REGISTRYINDEX, lw->caught);
	lua_pushboolean(L, true);
	return 3;
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
l_refused_policy(lua_State *L, const char *path, struct policy_report *report, const struct err *err)
{
	struct buf text;
	bool said = report->errors_n > 0;
	bool placed = said || (*path != '\0' && span_starts(span_text(err->text), span_text(path)));

	buf_init(&text, 0);
	report_text(report, &text);
	lua_pushnil(L);
	lua_pushstring(L, said ? buf_text(&text) : err->text);
	lua_pushboolean(L, placed);
	buf_fini(&text);
	policy_report_fini(report);
	return 3;
}

/* ---- a world's life ---- */

/* new(policy, seed, text, workers) */
static int
l_new(lua_State *L)
{
	struct world_options options = {
		.policy = luaL_checkstring(L, 1), .seed = (uint64_t)luaL_checknumber(L, 2), .expired = is_expired,
		.coverage = l_coverage(L), .text = luaL_optstring(L, 3, NULL), .workers = (unsigned)luaL_optinteger(L, 4, 0),
	};
	struct lua_world *lw = lua_newuserdata(L, sizeof *lw);
	struct policy_report report;
	struct err err = { 0 };

	*lw = (struct lua_world){ .L = L, .caught = LUA_NOREF };
	luaL_getmetatable(L, WORLD_META);
	lua_setmetatable(L, -2);
	options.ctx = lw;
	policy_report_init(&report);
	lw->world = world_new(&options, &report, &err);
	lw->L = NULL;
	if (lw->world == NULL)
		return l_refused_policy(L, options.policy, &report, &err);
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
	struct lua_world *lw = l_enter(L);
	struct err err = { 0 };
	bool ok = world_crash(lw->world, &err);

	return l_leave(lw, ok, &err);
}

/* restart(world, workers) */
static int
l_restart(lua_State *L)
{
	unsigned workers = (unsigned)luaL_optinteger(L, 2, 0);
	struct lua_world *lw = l_enter(L);
	struct policy_report report;
	struct err err = { 0 };
	bool ok;

	policy_report_init(&report);
	ok = world_restart(lw->world, workers, &report, &err);
	lw->L = NULL;
	if (!ok)
		return l_refused_policy(L, "", &report, &err);
	policy_report_fini(&report);
	lua_pushboolean(L, true);
	return 1;
}

static int
l_swap(lua_State *L)
{
	const char *path = luaL_checkstring(L, 2);
	struct lua_world *lw = l_enter(L);
	struct policy_report report;
	struct err err = { 0 };
	bool ok;

	policy_report_init(&report);
	ok = world_swap(lw->world, path, luaL_optstring(L, 3, NULL), &report, &err);
	lw->L = NULL;
	if (!ok)
		return l_refused_policy(L, path, &report, &err);
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
	else if (strcmp(name, "disk_cut") == 0)
		world_fault_disk_cut(world, (uint64_t)lua_tonumber(L, 3));
	else if (strcmp(name, "disk_says") == 0)
		world_fault_disk_says(world, strcmp(lua_tostring(L, 3), "ENOSPC") == 0 ? ENOSPC : EIO);
	else if (strcmp(name, "bit_flip") == 0)
		world_fault_bit_flip(world);
	else if (strcmp(name, "bad_sector") == 0)
		world_fault_bad_sector(world);
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
l_disk_calls(lua_State *L)
{
	lua_pushnumber(L, (double)world_disk_calls(l_world(L)->world));
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
	struct lua_world *lw = l_enter(L);
	struct err err = { 0 };
	bool ok = world_run_until(lw->world, US(luaL_checknumber(L, 2)), &err);

	return l_leave(lw, ok, &err);
}

static int
l_run_until_idle(lua_State *L)
{
	struct lua_world *lw = l_enter(L);
	struct err err = { 0 };
	bool ok = world_run_until_idle(lw->world, &err);

	return l_leave(lw, ok, &err);
}

/* The function lies at index 2 of the state that runs. */
static int
go_on(void *ctx)
{
	struct lua_world *lw = ctx;
	struct err err = { 0 };
	bool more;

	lua_pushvalue(lw->L, 2);
	if (!l_call_back(lw, 0, 1, &err)) {
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
	struct lua_world *lw = l_enter(L);
	struct err err = { 0 };
	bool ok = world_run_while(lw->world, go_on, lw, &err);

	return l_leave(lw, ok, &err);
}

static const luaL_Reg functions[] = {
	{ "new", l_new }, { "free", l_free }, { "crash", l_crash }, { "restart", l_restart }, { "swap", l_swap },
	{ "fault", l_fault }, { "now", l_now }, { "disk_calls", l_disk_calls }, { "seed", l_seed }, { "run_until", l_run_until },
	{ "run_until_idle", l_run_until_idle }, { "run_while", l_run_while },
	{ NULL, NULL },
};

int
l_open_world(lua_State *L)
{
	luaL_newmetatable(L, WORLD_META);
	lua_pushcfunction(L, l_free);
	lua_setfield(L, -2, "__gc");
	lua_pop(L, 1);
	lua_newtable(L);
	luaL_register(L, NULL, functions);
	l_add_receiver(L);
	l_add_mail(L);
	l_add_view(L);
	l_add_coverage(L);
	l_add_values(L);
	return 1;
}
