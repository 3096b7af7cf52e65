/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the policy bridge relies on, and LuaJIT does not promise in its manual:
 * a count hook interrupts every loop once the JIT is off, also one inside
 * pcall, a coroutine or a metamethod; a state takes our allocator, 64-bit
 * builds too (GC64), and out of memory comes back as LUA_ERRMEM; a coroutine
 * made before the hook is set obeys it as well.
 */
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <luajit.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct heap {
	size_t used, max;
};

static void *
bounded_alloc(void *ctx, void *p, size_t old, size_t size)
{
	struct heap *heap = ctx;

	if (size == 0) {
		heap->used -= p ? old : 0;
		free(p);
		return NULL;
	}
	if (!p)
		old = 0;
	if (size > old && heap->used + (size - old) > heap->max)
		return NULL;
	void *q = realloc(p, size);
	if (q)
		heap->used += size - old;
	return q;
}

static void
on_count(lua_State *L, lua_Debug *debug)
{
	(void)debug;
	luaL_error(L, "over budget");
}

static lua_State *
state_new(struct heap *heap)
{
	lua_State *L = lua_newstate(bounded_alloc, heap);

	if (!L)
		return NULL;
	luaL_openlibs(L);
	luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
	return L;
}

static int failures;

static void
report(bool ok, const char *what)
{
	printf("%sok - luajit: %s\n", ok ? "" : "not ", what);
	failures += !ok;
}

/* The hook must end the loop with an error; were it not to, alarm(2) ends us. */
static void
loops_are_interrupted(void)
{
	static const struct { const char *what, *code; } cases[] = {
		{ "a plain loop is interrupted", "while true do end" },
		{ "a numeric loop is interrupted", "local s = 0 for i = 1, 1e15 do s = s + i end" },
		{ "a tail call is interrupted", "local function f() return f() end f()" },
		{ "a metamethod is interrupted", "local t = setmetatable({}, { __index = function() while true do end end }) return t.x" },
		{ "a coroutine is interrupted", "assert(coroutine.resume(coroutine.create(function() while true do end end)))" },
		{ "table.sort with a callback is interrupted",
		  "local t = {} for i = 1, 100 do t[i] = i end while true do table.sort(t, function(a, b) return a > b end) end" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct heap heap = { 0, 64 << 20 };
		lua_State *L = state_new(&heap);
		bool loaded = L && luaL_loadstring(L, cases[i].code) == 0;

		if (loaded)
			lua_sethook(L, on_count, LUA_MASKCOUNT, 100000);
		report(loaded && lua_pcall(L, 0, 0, 0) == LUA_ERRRUN && strstr(lua_tostring(L, -1), "over budget"),
		       cases[i].what);
		if (L)
			lua_close(L);
	}
}

/* The hook is of the whole state: one set before covers coroutines made before it. */
static void
older_coroutines_obey_the_hook(void)
{
	struct heap heap = { 0, 64 << 20 };
	lua_State *L = state_new(&heap);
	bool ok = L && luaL_dostring(L, "co = coroutine.create(function() while true do end end)") == 0 &&
		  luaL_loadstring(L, "assert(coroutine.resume(co))") == 0;

	if (ok)
		lua_sethook(L, on_count, LUA_MASKCOUNT, 100000);
	report(ok && lua_pcall(L, 0, 0, 0) == LUA_ERRRUN, "a coroutine made before the hook was set obeys it");
	if (L)
		lua_close(L);
}

static void
memory_is_bounded(void)
{
	struct heap heap = { 0, 8 << 20 };
	lua_State *L = state_new(&heap);

	report(L != NULL, "lua_newstate takes an allocator");
	if (!L)
		return;
	report(luaL_loadstring(L, "local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t end") == 0 &&
	       lua_pcall(L, 0, 0, 0) == LUA_ERRMEM, "out of memory is LUA_ERRMEM");
	report(heap.used <= heap.max, "the allocator's bound holds");
	heap.max = 16 << 20;
	report(luaL_dostring(L, "return 1 + 1") == 0 && lua_tonumber(L, -1) == 2, "a state goes on after LUA_ERRMEM");
	lua_close(L);
	report(heap.used == 0, "lua_close gives everything back");
}

int
main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	loops_are_interrupted();
	older_coroutines_obey_the_hook();
	memory_is_bounded();
	return failures != 0;
}
