/* The sandbox: what is not there, what cannot be changed, and what each way of overrunning comes to. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/lua_api.h"
#include "policy/sandbox.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct sandbox_budget budget = { 1000000, 64u << 20 };

static struct now
fixed_now(void *ctx)
{
	return (struct now){ .mono = 1500000, .wall = { 1700000000000 } };
}

static const struct clock fixed_clock = { fixed_now, NULL };

static struct sandbox *
fresh(void)
{
	return sandbox_new(&(struct sandbox_options){ .clock = &fixed_clock, .seed = 42 });
}

static bool
run(struct sandbox *sandbox, const char *text, int results_n, struct sandbox_failure *failure)
{
	lua_State *L = sandbox_lua(sandbox);
	if (luaL_loadbufferx(L, text, strlen(text), "@test.lua", "t") != 0)
		fail_msg("%s: %s", text, lua_tostring(L, -1));
	return sandbox_call(sandbox, 0, results_n, &budget, failure);
}

static void
expressions_have_these_values(void **state)
{
	static const struct { const char *text, *value; } cases[] = {
		{ "return tostring(io)", "nil" }, { "return tostring(ffi)", "nil" }, { "return tostring(debug)", "nil" },
		{ "return tostring(package)", "nil" }, { "return tostring(dofile)", "nil" }, { "return tostring(loadfile)", "nil" },
		{ "return tostring(jit)", "nil" }, { "return tostring(getfenv)", "nil" }, { "return tostring(setfenv)", "nil" },
		{ "return tostring(newproxy)", "nil" }, { "return tostring(string.dump)", "nil" }, { "return tostring(gcinfo)", "nil" },
		{ "return tostring(os.execute)", "nil" }, { "return tostring(os.getenv)", "nil" }, { "return tostring(os.exit)", "nil" },
		{ "return tostring(os.remove)", "nil" }, { "return tostring(math.random ~= nil)", "true" },
		{ "return tostring(getmetatable(''))", "false" }, { "return tostring(getmetatable(string))", "false" },
		{ "return tostring(getmetatable(_G))", "false" }, { "return tostring((''):rep(2).dump)", "nil" },
		{ "return tostring(os.time())", "1700000000" }, { "return tostring(os.clock())", "1.5" },
		{ "return os.date('!%Y-%m-%d')", "2023-11-14" }, { "return os.date('!%Y', 0)", "1970" },
		{ "return tostring(os.difftime(5, 3))", "2" },
		{ "local a, b = load('\\27LJ') return tostring(a) .. type(b)", "nilstring" },
		{ "return tostring(load('return 1 + 1')())", "2" },
		{ "local n = 0 return tostring(load(function() n = n + 1 return ({'return ', '7'})[n] end)())", "7" },
		{ "return load('return x', 'c', 't', { x = 'own' })()", "own" },
		{ "local ok, e = pcall(load('x = 1')) return tostring(ok) .. e", "false(load):1: x: no such global: write local x" },
		{ "return tostring(pcall(error, 'x'))", "false" }, { "return select(2, pcall(error, 'x'))", "x" },
		{ "return select(2, xpcall(function() error('x', 0) end, function(e) return e .. 'y' end))", "xy" },
		{ "local s = '' for k, v in pairs { b = 1, a = 2, 10, 20, c = 3 } do s = s .. k .. v .. ' ' end return s", "110 220 a2 b1 c3 " },
		{ "local s = '' for k, v in pairs { 5, x = 1, y = 2 } do s = s .. k end return s", "1xy" },
		{ "local t = { a = 1, b = 2 } for k in pairs(t) do t[k] = nil end return tostring(next(t))", "nil" },
		{ "local t = { 1, 2 } table.insert(t, 1, 0) table.insert(t, 3) return table.concat(t, ',')", "0,1,2,3" },
		{ "local t = { 1, 2, 3 } return table.remove(t, 1) .. table.remove(t) .. #t", "131" },
		{ "local t = { 3, 1, 2 } table.sort(t) table.sort(t, function(a, b) return a > b end) return table.concat(t)", "321" },
		{ "local co = coroutine.create(function(a) local b = coroutine.yield(a) return a + b end) "
		  "coroutine.resume(co, 1) return tostring(select(2, coroutine.resume(co, 2)))", "3" },
		{ "local co = coroutine.wrap(function() pcall(coroutine.yield, 'in') end) return co()", "in" },
		{ "return ('%d-%s'):format(3, 'x'):upper()", "3-X" },
	};
	for (size_t i = 0; i < countof(cases); i++) {
		struct sandbox *sandbox = fresh();
		struct sandbox_failure failure;
		if (!run(sandbox, cases[i].text, 1, &failure))
			fail_msg("%s: %s", cases[i].text, failure.text);
		assert_string_equal(lua_tostring(sandbox_lua(sandbox), -1), cases[i].value);
		sandbox_free(sandbox);
	}
}

static void
these_are_errors_with_their_place(void **state)
{
	static const struct { const char *text; int line; const char *error; } cases[] = {
		{ "\nlimit = 5", 2, "limit: no such global: write local limit" },
		{ "prnt = 5", 1, "prnt: no such global (print?): write local prnt" },
		{ "print = 5", 1, "print: belongs to the node and cannot be replaced" },
		{ "\n\nprnt 'x'", 3, "attempt to call global 'prnt' (a nil value) (print?)" },
		{ "function helper() end", 1, "helper: no such global: write local helper" },
		{ "string.rep = 1", 1, "rep: this table cannot be changed" },
		{ "rawset(string, 'rep', 1)", 1, "rawset: this table cannot be changed" },
		{ "rawset(_G, 'x', 1)", 1, "rawset: this table cannot be changed" },
		{ "table.insert(string, 1)", 1, "this table cannot be changed" },
		{ "setmetatable(math, {})", 1, "cannot change a protected metatable" },
		{ "setmetatable(_G, {})", 1, "cannot change a protected metatable" },
		{ "collectgarbage 'stop'", 1, "bad argument #1 to 'collectgarbage' (invalid option 'stop')" },
		{ "\nerror('mine')", 2, "mine" },
		{ "local function f()\nerror('above', 2)\nend\nf()", 4, "above" },
		{ "error { 1 }", 1, "error with a table for a message" },
	};
	for (size_t i = 0; i < countof(cases); i++) {
		struct sandbox *sandbox = fresh();
		struct sandbox_failure failure;
		assert_false(run(sandbox, cases[i].text, 0, &failure));
		if (!strstr(failure.text, cases[i].error))
			fail_msg("%s: %s", cases[i].text, failure.text);
		assert_int_equal(failure.line, cases[i].line);
		assert_string_equal(failure.source, "@test.lua");
		assert_non_null(strstr(failure.trace, "stack traceback"));
		assert_int_equal(lua_gettop(sandbox_lua(sandbox)), 0);
		sandbox_free(sandbox);
	}
}

static void
whatever_runs_on_is_ended(void **state)
{
	static const struct { const char *text, *error; } cases[] = {
		{ "while true do end", "1000000 instructions" },
		{ "while true do pcall(function() while true do end end) end", "1000000 instructions" },
		{ "local function f() pcall(f) f() end f()", "" },
		{ "while true do xpcall(function() while true do end end, function() while true do end end) end", "1000000 instructions" },
		{ "while true do coroutine.resume(coroutine.create(function() while true do end end)) end", "1000000 instructions" },
		{ "coroutine.wrap(function() while true do end end)()", "1000000 instructions" },
		{ "local ok = pcall(function() while true do end end) return ok", "1000000 instructions" },
		{ "local t = {} for i = 1, 1e9 do t[i] = i end", "" },
		{ "local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(100000) .. i end", "" },
		{ "local s = 'x' while true do s = s .. s end", "64 MiB of memory" },
		{ "return ('x'):rep(1e9)", "64 MiB of memory" },
		{ "while true do pcall(string.rep, 'x', 1e9) end", "64 MiB of memory" },
		{ "local s = ('x'):rep(1e6) while true do s:upper() end", "1000000 instructions" },
		{ "local t = {} for i = 1, 1e9 do table.insert(t, 1, i) end", "1000000 instructions" },
		{ "local t = {} for i = 1, 100000 do t[i] = -i end while true do table.sort(t) end", "1000000 instructions" },
		{ "while true do local s = (''):rep(1e15) end", "1000000 instructions" },
		{ "local s = ('a'):rep(300) return s:find('.-.-.-.-.-.-b')", "1000000 instructions" },
		{ "local s = ('a'):rep(3000) return pcall(string.match, s, '.*.*.*.*b')", "1000000 instructions" },
		{ "local s = ('a'):rep(3000) for x in s:gmatch('.-.-.-.-b') do end", "1000000 instructions" },
		{ "return (('a'):rep(3000):gsub('.-.-.-.-b', ''))", "1000000 instructions" },
		{ "local s = ('a'):rep(1e6) while true do s:find('b', 1, true) end", "1000000 instructions" },
		{ "local s = ('('):rep(1e6) while true do s:find('%b()') end", "1000000 instructions" },
		{ "local function f() return 1 + f() end return f()", "stack overflow" },
		{ "local t = setmetatable({}, {}) getmetatable(t).__index = function(t, k) return t[k] end return t.x", "" },
		{ "local s = ('x'):rep(100) s = s:gsub('x', function() return (s:gsub('x', function() while true do end end)) end)",
		  "1000000 instructions" },
	};
	for (size_t i = 0; i < countof(cases); i++) {
		struct sandbox *sandbox = fresh();
		struct sandbox_failure failure;
		if (run(sandbox, cases[i].text, 0, &failure))
			fail_msg("%s: went through", cases[i].text);
		if (!strstr(failure.text, cases[i].error))
			fail_msg("%s: %s", cases[i].text, failure.text);
		/* and the state is as good as new */
		assert_true(run(sandbox, "local n = 0 for i = 1, 1000 do n = n + i end return n", 1, &failure));
		assert_int_equal(lua_tointeger(sandbox_lua(sandbox), -1), 500500);
		sandbox_free(sandbox);
	}
}

static void
garbage_does_not_count_as_held(void **state)
{
	struct sandbox *sandbox = fresh();
	struct sandbox_failure failure;
	lua_State *L = sandbox_lua(sandbox);
	assert_int_equal(luaL_loadstring(L, "local s for i = 1, 200 do s = ('x'):rep(1e5) .. i end"), 0);
	assert_true(sandbox_call(sandbox, 0, 0, &(struct sandbox_budget){ 1000000, 2u << 20 }, &failure));
	sandbox_free(sandbox);
}

static void
equal_seeds_give_equal_numbers(void **state)
{
	static const uint64_t seeds[] = { 7, 7, 8 };
	double drawn[countof(seeds)];
	for (size_t i = 0; i < countof(seeds); i++) {
		struct sandbox *sandbox = fresh();
		struct sandbox_failure failure;
		sandbox_seed(sandbox, seeds[i]);
		assert_true(run(sandbox, "return math.random()", 1, &failure));
		drawn[i] = lua_tonumber(sandbox_lua(sandbox), -1);
		sandbox_free(sandbox);
	}
	assert_true(drawn[0] == drawn[1]);
	assert_true(drawn[0] != drawn[2]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(expressions_have_these_values), cmocka_unit_test(these_are_errors_with_their_place),
		cmocka_unit_test(whatever_runs_on_is_ended), cmocka_unit_test(garbage_does_not_count_as_held),
		cmocka_unit_test(equal_seeds_give_equal_numbers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
