/*
 * An allow list: what is not named here is not there. Tables of functions are
 * handed out as empty proxies that read through and refuse to be written, their
 * metatables hidden; rawset and setmetatable do not get past them.
 *
 * LuaJIT's pattern functions cannot be interrupted, so policy/strpat.c's stand in
 * for them; functions that are linear in a string's length are charged for it.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/sandbox_lib.h"

#include "policy/lua_api.h"
#include "util/prng.h"

#define BYTES_PER_INSTRUCTION 32        /* copied or scanned in C */
#define SORTED_PER_INSTRUCTION 4
#define PRINT_MAX 4000
#define DATE_FORMAT_MAX 256
#define CALENDAR_COST 200

const struct strpat_meter sandbox_meter = { sandbox_left, sandbox_charge };

void
sandbox_lib_open(lua_State *L)
{
	static const luaL_Reg libs[] = {
		{ "", luaopen_base }, { LUA_TABLIBNAME, luaopen_table }, { LUA_OSLIBNAME, luaopen_os },
		{ LUA_STRLIBNAME, luaopen_string }, { LUA_MATHLIBNAME, luaopen_math }, { LUA_BITLIBNAME, luaopen_bit },
	};
	for (size_t i = 0; i < countof(libs); i++) {
		lua_pushcfunction(L, libs[i].func);
		lua_pushstring(L, libs[i].name);
		lua_call(L, 1, 0);
	}
}

static const struct sandbox_options *
options_of(lua_State *L)
{
	return lua_touserdata(L, lua_upvalueindex(1));
}

static struct now
now_of(lua_State *L)
{
	const struct clock *clock = options_of(L)->clock;
	return clock ? clock_now(clock) : (struct now){ .mono = 0 };
}

static int
l_readonly(lua_State *L)
{
	return luaL_error(L, "%s: this table cannot be changed", lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "?");
}

void
sandbox_protect(lua_State *L)
{
	lua_newtable(L);
	lua_createtable(L, 0, 3);
	lua_pushvalue(L, -3);
	lua_setfield(L, -2, "__index");
	lua_pushcfunction(L, l_readonly);
	lua_setfield(L, -2, "__newindex");
	lua_pushboolean(L, 0);
	lua_setfield(L, -2, "__metatable");
	lua_setmetatable(L, -2);
	lua_remove(L, -2);
}

static int
l_write_global(lua_State *L)
{
	const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "?";
	const char *near = sandbox_nearest_global(L, span_text(name));
	if (near && strcmp(near, name) == 0)
		return luaL_error(L, "%s: belongs to the node and cannot be replaced", name);
	return luaL_error(L, "%s: no such global%s%s%s: write local %s", name, near ? " (" : "", near ? near : "",
			  near ? "?)" : "", name);
}

static int
l_rawset(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TTABLE);
	luaL_checkany(L, 3);
	if (luaL_getmetafield(L, 1, "__metatable"))
		return luaL_error(L, "rawset: this table cannot be changed");
	lua_settop(L, 3);
	lua_rawset(L, 1);
	return 1;
}

static int
l_collectgarbage(lua_State *L)
{
	static const char *const words[] = { "count", NULL };
	luaL_checkoption(L, 1, "count", words);
	lua_pushnumber(L, (double)sandbox_bytes(sandbox_of(L)) / 1024);
	return 1;
}

/* Upvalue: the function, which would go on for ever where __tostring is tostring itself: no hook is asked in between. */
static int
l_tostring(lua_State *L)
{
	sandbox_charge(L, 1);
	luaL_checkany(L, 1);
	lua_settop(L, 1);
	if (!luaL_getmetafield(L, 1, "__tostring"))
		lua_pushvalue(L, lua_upvalueindex(1));
	lua_insert(L, 1);
	lua_call(L, 1, 1);
	return 1;
}

static int
l_print(lua_State *L)
{
	struct log *log = options_of(L)->log;
	luaL_Buffer line;
	int n = lua_gettop(L);
	sandbox_charge(L, 1);
	for (int i = 1; i <= n; i++) {
		lua_pushvalue(L, lua_upvalueindex(2));
		lua_pushvalue(L, i);
		lua_call(L, 1, 1);
		if (!lua_isstring(L, -1))
			return luaL_error(L, "print: tostring did not give a string");
		lua_replace(L, i);
	}
	luaL_buffinit(L, &line);
	for (int i = 1; i <= n; i++) {
		if (i > 1)
			luaL_addchar(&line, ' ');
		lua_pushvalue(L, i);
		luaL_addvalue(&line);
	}
	luaL_pushresult(&line);
	if (log)
		log_info(log, "policy: %.*s", PRINT_MAX, lua_tostring(L, -1));
	return 0;
}

/* load(string or function, name, mode, env), loadstring(string, name): text only. */
static int
l_load(lua_State *L)
{
	sandbox_charge(L, 1);
	lua_settop(L, 4);
	if (lua_type(L, 1) == LUA_TFUNCTION) {
		luaL_Buffer text;
		luaL_buffinit(L, &text);
		for (;;) {
			lua_pushvalue(L, 1);
			lua_call(L, 0, 1);
			size_t n = 0;
			if (!lua_isnil(L, -1) && lua_type(L, -1) != LUA_TSTRING)
				return luaL_error(L, "reader function must return a string");
			if (lua_isnil(L, -1) || (lua_tolstring(L, -1, &n), n == 0)) {
				lua_pop(L, 1);
				break;
			}
			luaL_addvalue(&text);
		}
		luaL_pushresult(&text);
		lua_replace(L, 1);
	}
	size_t n;
	const char *text = luaL_checklstring(L, 1, &n);
	/* "=" keeps it from passing for a file. */
	lua_pushfstring(L, "=%s", luaL_optstring(L, 2, "(load)"));
	sandbox_charge(L, n);
	if (luaL_loadbufferx(L, text, n, lua_tostring(L, -1), "t") != 0) {
		lua_pushnil(L);
		lua_insert(L, -2);
		return 2;
	}
	if (lua_istable(L, 4)) {
		lua_pushvalue(L, 4);
		lua_setfenv(L, -2);
	}
	return 1;
}

/* Upvalue: the function. Charged by what went in and what came out. */
static int
l_charged(lua_State *L)
{
	int args = lua_gettop(L);
	size_t bytes = 0;
	for (int i = 1; i <= args; i++)
		bytes += lua_type(L, i) == LUA_TSTRING ? lua_objlen(L, i) : 0;
	sandbox_charge(L, 1);
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_insert(L, 1);
	lua_call(L, args, 1);
	bytes += lua_type(L, -1) == LUA_TSTRING ? lua_objlen(L, -1) : 0;
	sandbox_charge(L, bytes / BYTES_PER_INSTRUCTION);
	return 1;
}

/* Upvalue: the function. n log n comparisons in C. */
static int
l_sort(lua_State *L)
{
	luaL_checktype(L, 1, LUA_TTABLE);
	uint64_t n = lua_objlen(L, 1), rounds = 0;
	for (uint64_t left = n; left > 1; left /= 2)
		rounds++;
	sandbox_charge(L, n * rounds / SORTED_PER_INSTRUCTION);
	lua_settop(L, 2);
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_insert(L, 1);
	lua_call(L, 2, 0);
	return 0;
}

static int
l_time(lua_State *L)
{
	if (lua_isnoneornil(L, 1)) {
		lua_pushnumber(L, (double)(now_of(L).wall.ms / MS_PER_S));
		return 1;
	}
	sandbox_charge(L, CALENDAR_COST);
	lua_pushvalue(L, lua_upvalueindex(2));
	lua_pushvalue(L, 1);
	lua_call(L, 1, 1);
	return 1;
}

static int
l_date(lua_State *L)
{
	lua_settop(L, 2);
	size_t n;
	luaL_optlstring(L, 1, "%c", &n);
	if (n > DATE_FORMAT_MAX)
		return luaL_error(L, "os.date: a format of %d bytes: at most %d", (int)n, DATE_FORMAT_MAX);
	sandbox_charge(L, CALENDAR_COST);
	lua_pushvalue(L, lua_upvalueindex(2));
	lua_pushstring(L, luaL_optstring(L, 1, "%c"));
	if (lua_isnoneornil(L, 2))
		lua_pushnumber(L, (double)(now_of(L).wall.ms / MS_PER_S));
	else
		lua_pushvalue(L, 2);
	lua_call(L, 2, 1);
	return 1;
}

static int
l_clock(lua_State *L)
{
	lua_pushnumber(L, (double)now_of(L).mono / US_PER_S);
	return 1;
}

/* lib is at `lib`; copies names of the table at the top into a table that becomes lib[name]. */
static void
copy(lua_State *L, int from, int to, const char *const *names)
{
	for (; *names; names++) {
		lua_getfield(L, from, *names);
		check(!lua_isnil(L, -1));
		lua_setfield(L, to, *names);
	}
}

static void
put_charged(lua_State *L, int to, int from, const char *const *names)
{
	for (; *names; names++) {
		lua_getfield(L, from, *names);
		lua_pushcclosure(L, l_charged, 1);
		lua_setfield(L, to, *names);
	}
}

static void
put_closure(lua_State *L, int to, const char *name, lua_CFunction fn, const struct sandbox_options *options, int original)
{
	lua_pushlightuserdata(L, (void *)options);
	if (original) {
		lua_getfield(L, original, name);
		lua_pushcclosure(L, fn, 2);
	} else {
		lua_pushcclosure(L, fn, 1);
	}
	lua_setfield(L, to, name);
}

static void
fill_base(lua_State *L, int prelude, int lib, const struct sandbox_options *options)
{
	static const char *const base[] = { "assert", "error", "getmetatable", "ipairs", "next", "rawequal", "rawget", "select",
					    "setmetatable", "tonumber", "type", "unpack", "_VERSION", NULL };
	static const char *const safe[] = { "pcall", "xpcall", "pairs", NULL };
	copy(L, LUA_GLOBALSINDEX, lib, base);
	copy(L, prelude, lib, safe);
	static const luaL_Reg own[] = {
		{ "rawset", l_rawset }, { "collectgarbage", l_collectgarbage }, { "load", l_load }, { "loadstring", l_load },
	};
	for (size_t i = 0; i < countof(own); i++) {
		lua_pushcfunction(L, own[i].func);
		lua_setfield(L, lib, own[i].name);
	}
	lua_getglobal(L, "tostring");
	lua_pushcclosure(L, l_tostring, 1);
	lua_setfield(L, lib, "tostring");
	lua_pushlightuserdata(L, (void *)options);
	lua_getfield(L, lib, "tostring");
	lua_pushcclosure(L, l_print, 2);
	lua_setfield(L, lib, "print");
}

/* Each begins with the library's own table and a new one above it, and ends with neither. */
static int
begin_lib(lua_State *L, const char *name)
{
	lua_getglobal(L, name);
	lua_newtable(L);
	return lua_gettop(L);
}

static void
end_lib(lua_State *L, int lib, const char *name)
{
	sandbox_protect(L);
	lua_setfield(L, lib, name);
	lua_pop(L, 1);
}

static void
fill_strings(lua_State *L, int lib)
{
	static const char *const plain[] = { "byte", "char", "len", "sub", NULL };
	static const char *const charged[] = { "format", "lower", "rep", "reverse", "upper", NULL };
	int own = begin_lib(L, "string");
	copy(L, own - 1, own, plain);
	put_charged(L, own, own - 1, charged);
	strpat_fill(L, &sandbox_meter);
	/* ("x"):rep(3) reads from the table itself, without the proxy's detour. */
	lua_pushliteral(L, "");
	lua_createtable(L, 0, 2);
	lua_pushvalue(L, own);
	lua_setfield(L, -2, "__index");
	lua_pushboolean(L, 0);
	lua_setfield(L, -2, "__metatable");
	lua_setmetatable(L, -2);
	lua_pop(L, 1);
	end_lib(L, lib, "string");
}

static void
fill_rest(lua_State *L, int prelude, int lib, const struct sandbox_options *options)
{
	static const char *const concat[] = { "concat", NULL };
	static const char *const edit[] = { "insert", "remove", NULL };
	int own = begin_lib(L, "table");
	lua_getfield(L, own - 1, "sort");
	lua_pushcclosure(L, l_sort, 1);
	lua_setfield(L, own, "sort");
	put_charged(L, own, own - 1, concat);
	copy(L, prelude, own, edit);
	end_lib(L, lib, "table");

	static const char *const coroutines[] = { "create", "running", "status", "wrap", "yield", NULL };
	static const char *const resume[] = { "resume", NULL };
	own = begin_lib(L, "coroutine");
	copy(L, own - 1, own, coroutines);
	copy(L, prelude, own, resume);
	end_lib(L, lib, "coroutine");

	static const char *const difftime[] = { "difftime", NULL };
	own = begin_lib(L, "os");
	put_closure(L, own, "time", l_time, options, own - 1);
	put_closure(L, own, "date", l_date, options, own - 1);
	put_closure(L, own, "clock", l_clock, options, 0);
	copy(L, own - 1, own, difftime);
	end_lib(L, lib, "os");

	static const char *const whole[] = { "math", "bit" };
	for (size_t i = 0; i < countof(whole); i++) {
		lua_getglobal(L, whole[i]);
		sandbox_protect(L);
		lua_setfield(L, lib, whole[i]);
	}
}

void
sandbox_lib_seed(lua_State *L, uint64_t seed)
{
	struct prng prng;

	/* A number of Lua's holds 53 bits; small seeds differ in the low ones, so they are spread first. */
	prng_seed(&prng, seed);
	lua_getglobal(L, "math");
	lua_getfield(L, -1, "randomseed");
	lua_pushnumber(L, (double)(prng_u64(&prng) >> 11));
	lua_call(L, 1, 0);
	lua_pop(L, 1);
}

void
sandbox_lib_fill(lua_State *L, const struct sandbox_options *options)
{
	int lib = lua_gettop(L);
	int prelude = lib - 1;
	fill_base(L, prelude, lib, options);
	fill_strings(L, lib);
	fill_rest(L, prelude, lib, options);
	sandbox_lib_seed(L, options->seed);

	lua_newtable(L);
	lua_createtable(L, 0, 3);
	lua_pushvalue(L, lib);
	lua_setfield(L, -2, "__index");
	lua_pushcfunction(L, l_write_global);
	lua_setfield(L, -2, "__newindex");
	lua_pushboolean(L, 0);
	lua_setfield(L, -2, "__metatable");
	lua_setmetatable(L, -2);
	lua_pushvalue(L, -1);
	lua_setfield(L, lib, "_G");
	lua_replace(L, LUA_GLOBALSINDEX);
}
