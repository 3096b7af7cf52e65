/* The red team: what is reachable, which ways out of other sandboxes are tried, and what would hold or break the node
 * from within it: each must end soon, and leave a state that works. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/lua_api.h"
#include "policy/sandbox.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct sandbox_budget budget = { 1000000, 64u << 20 };

static struct sandbox *
fresh(void)
{
	return sandbox_new(&(struct sandbox_options){ .seed = 42 });
}

static bool
run(struct sandbox *sandbox, const char *text, struct sandbox_failure *failure)
{
	lua_State *L = sandbox_lua(sandbox);
	if (luaL_loadbufferx(L, text, strlen(text), "@test.lua", "t") != 0)
		fail_msg("%s: %s", text, lua_tostring(L, -1));
	return sandbox_call(sandbox, 0, 1, &budget, failure);
}

/* ---- what is reachable ---- */

static const char *const reachable[] = {
	"_G", "_VERSION", "assert", "collectgarbage", "error", "getmetatable", "ipairs", "load", "loadstring", "next", "pairs", "pcall", "print",
	"rawequal", "rawget", "rawset", "select", "setmetatable", "tonumber", "tostring", "type", "unpack", "xpcall",
	"bit", "bit.arshift", "bit.band", "bit.bnot", "bit.bor", "bit.bswap", "bit.bxor", "bit.lshift", "bit.rol", "bit.ror", "bit.rshift",
	"bit.tobit", "bit.tohex",
	"coroutine", "coroutine.create", "coroutine.resume", "coroutine.running", "coroutine.status", "coroutine.wrap", "coroutine.yield",
	"math", "math.abs", "math.acos", "math.asin", "math.atan", "math.atan2", "math.ceil", "math.cos", "math.cosh", "math.deg", "math.exp",
	"math.floor", "math.fmod", "math.frexp", "math.huge", "math.ldexp", "math.log", "math.log10", "math.max", "math.min", "math.modf",
	"math.pi", "math.pow", "math.rad", "math.random", "math.randomseed", "math.sin", "math.sinh", "math.sqrt", "math.tan", "math.tanh",
	"os", "os.clock", "os.date", "os.difftime", "os.time",
	"string", "string.byte", "string.char", "string.find", "string.format", "string.gmatch", "string.gsub", "string.len", "string.lower",
	"string.match", "string.rep", "string.reverse", "string.sub", "string.upper",
	"table", "table.concat", "table.insert", "table.remove", "table.sort",
};

static bool
is_listed(const char *path)
{
	for (size_t i = 0; i < countof(reachable); i++)
		if (strcmp(path, reachable[i]) == 0)
			return true;
	return false;
}

static unsigned walk(lua_State *L, const char *path, int depth);

/* The table at the top as a script reads it: its own keys, and those behind __index. Pops it. */
static unsigned
walk_keys(lua_State *L, const char *path, int depth)
{
	unsigned found = 0;
	int table = lua_gettop(L);
	for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
		char below[200];
		if (lua_type(L, -2) != LUA_TSTRING)
			fail_msg("%s has a key that is no name", path);
		snprintf(below, sizeof(below), "%s%s%s", path, *path ? "." : "", lua_tostring(L, -2));
		if (strcmp(below, "_G") == 0) {
			found++;
			continue;
		}
		if (!is_listed(below))
			fail_msg("%s can be reached", below);
		lua_pushvalue(L, -1);
		found += 1 + walk(L, below, depth + 1);
	}
	if (lua_getmetatable(L, table)) {
		lua_getfield(L, -1, "__metatable");
		assert_true(lua_isboolean(L, -1) && !lua_toboolean(L, -1));
		lua_getfield(L, -2, "__index");
		found += walk_keys(L, path, depth);
		lua_settop(L, table);
	}
	lua_settop(L, table - 1);
	return found;
}

/* The value at the top, which it pops; how many names there are below it. */
static unsigned
walk(lua_State *L, const char *path, int depth)
{
	assert_true(depth < 4);
	switch (lua_type(L, -1)) {
	case LUA_TTABLE:
		return walk_keys(L, path, depth);
	case LUA_TFUNCTION:
		/* What it was made with holds no way to more: a script cannot read it, but a function might hand it out. */
		if (lua_iscfunction(L, -1))
			break;
		lua_getfenv(L, -1);
		lua_pop(L, 1);
		break;
	case LUA_TSTRING: case LUA_TNUMBER: case LUA_TBOOLEAN:
		break;
	default:
		fail_msg("%s is a %s", path, luaL_typename(L, -1));
	}
	lua_pop(L, 1);
	return 0;
}

static void
what_is_listed_is_reachable_and_nothing_else(void **state)
{
	struct sandbox *sandbox = fresh();
	lua_State *L = sandbox_lua(sandbox);
	lua_pushvalue(L, LUA_GLOBALSINDEX);
	assert_int_equal(walk(L, "", 0), countof(reachable));
	lua_pushliteral(L, "");
	assert_true(lua_getmetatable(L, -1));
	lua_getfield(L, -1, "__index");
	walk(L, "string", 0);
	assert_int_equal(lua_gettop(L), 2);
	sandbox_free(sandbox);
}

/* ---- ways out ---- */

static void
ways_out_of_other_sandboxes_are_closed(void **state)
{
	static const char *const cases[] = {
		/* bytecode */
		"return load('\\27LJ\\2\\0')", "return load(function() return '\\27LJ\\2\\0' end)", "return load('\\27LJ', 'x', 'b')", "return load('\\27LJ', 'x', 'bt')",
		"local first = true return load(function() if first then first = false return '\\27' end return nil end)", "return loadstring('\\27LJ\\2')",
		"return string.dump", "return (''):rep(0).dump", "return string['du' .. 'mp']",
		/* environments, upvalues, registries */
		"return getfenv", "return setfenv", "return debug", "return module", "return package", "return require", "return newproxy", "return jit",
		"return ffi", "return io", "return os.execute", "return os.exit", "return os.getenv", "return os.rename", "return os.remove", "return os.tmpname",
		"return os.setlocale", "return dofile", "return loadfile", "return gcinfo", "return table.getn", "return table.foreach", "return table.move",
		"return load('return getfenv')()", "return load('return debug', 'x', 't')()", "return load('return io', 'x', 't', {})()", "return _G._G.io", "return _G.string.dump",
		"return load('return _ENV')()", "return rawget(_G, 'print')", "return rawget(string, 'rep')", "return next(_G)", "return next(string)", "return _G.lib",
		"return select(2, pcall(load, 'return ...'))('x') and nil", "return loadstring('return _G', '=(C)')().io",
		/* metatables */
		"return getmetatable('').__index", "return getmetatable(_G).__index", "return getmetatable(string).__index", "return getmetatable(print)",
		"return getmetatable(coroutine.create(print))", "return getmetatable(nil)", "return getmetatable(1)", "return getmetatable(true)",
		"local t = setmetatable({}, { __metatable = {} }) return rawset(t, 1, 2)", "getmetatable('').__index = 1", "setmetatable('', {})", "return setmetatable(_G, nil)",
		"return setmetatable(string, { __index = 1 })", "string.rep = nil", "_G.print = nil", "_G._G = {}", "rawset(_G, '__index', 1)", "math.random = nil",
		"table.insert(_G, 1)", "table.sort(string)", "table.remove(string, 'rep')", "for k in pairs(string) do string[k] = nil end return nil", "os.time = nil",
		"bit.band = function() end", "local s = string s.format = print", "(''):len().x = 1", "coroutine.wrap(function() _G.x = 1 end)()",
		/* errors as carriers */
		"error(setmetatable({}, { __tostring = function() return io end }))", "error(setmetatable({}, { __index = function() return 1 end }))",
		"error(setmetatable({}, { __tostring = error, __concat = error, __index = error, __len = error, __eq = error }))", "error(coroutine.create(print))", "error(print)", "error(nil)",
		"return select(2, xpcall(error, function() return debug end))", "local ok, e = pcall(error) return e", "assert(false, setmetatable({}, { __tostring = tostring }))",
		/* finalizers */
		"setmetatable({}, { __gc = function() while true do end end }) return nil", "local t = setmetatable({}, { __gc = true }) t = nil collectgarbage() return nil",
		"return collectgarbage('step')", "return collectgarbage('stop')", "return collectgarbage('generational')",
	};
	for (size_t i = 0; i < countof(cases); i++) {
		struct sandbox *sandbox = fresh();
		struct sandbox_failure failure;
		bool went = run(sandbox, cases[i], &failure);
		if (went && lua_toboolean(sandbox_lua(sandbox), -1))
			fail_msg("%s: gives a %s", cases[i], luaL_typename(sandbox_lua(sandbox), -1));
		assert_true(run(sandbox, "return (('x'):rep(3) == 'xxx' and print and math.random and os.time and _G.type(type) == 'function')", &failure));
		assert_true(lua_toboolean(sandbox_lua(sandbox), -1));
		sandbox_free(sandbox);
	}
}

/* ---- holding and breaking ---- */

static double
cpu_seconds(void)
{
	struct timespec t;
	assert_int_equal(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t), 0);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SECONDS_MAX 60.0
#else
#define SECONDS_MAX 6.0         /* of the processor's time: a second is allowed, and what one instruction takes beyond it */
#endif

static void
ends_soon_and_leaves_a_state_that_works(const char *text)
{
	struct sandbox *sandbox = fresh();
	struct sandbox_failure failure;
	double began = cpu_seconds();
	bool went = run(sandbox, text, &failure);
	double took = cpu_seconds() - began;

	if (took > SECONDS_MAX)
		fail_msg("%s: takes %.1f s", text, took);
	if (!went)
		assert_true(failure.text[0] != '\0');
	if (!run(sandbox, "local n = 0 for i = 1, 1000 do n = n + i end return n", &failure))
		fail_msg("%s: and then %s", text, failure.text);
	assert_int_equal(lua_tointeger(sandbox_lua(sandbox), -1), 500500);
	sandbox_free(sandbox);
}

static void
nothing_holds_or_breaks_the_node(void **state)
{
	static const char *const cases[] = {
		/* recursion that is C's: not one of them may reach the end of its stack */
		"local function f() return coroutine.wrap(f)() end return f()",
		"local function f() return coroutine.resume(coroutine.create(f)) end return f()",
		"local function f() pcall(coroutine.wrap(f)) end for i = 1, 1e9 do f() end",
		"local function f() return load(f) end return f()",
		"local function f() return (('x'):gsub('x', f)) end return f()",
		"local function f() table.sort({ 1, 2, 3 }, f) end return f()",
		"local t = setmetatable({}, {}) getmetatable(t).__tostring = print return print(t)",
		"local t = setmetatable({}, {}) getmetatable(t).__tostring = function() return string.format('%s', t) end return tostring(t)",
		"local t = setmetatable({}, {}) getmetatable(t).__tostring = tostring return tostring(t)",
		"local t = setmetatable({}, {}) getmetatable(t).__tostring = t getmetatable(t).__call = tostring return tostring(t)",
		"local t = setmetatable({}, {}) getmetatable(t).__call = pcall return t()",
		"local t = setmetatable({}, {}) getmetatable(t).__index = t return t.x",
		"local t = setmetatable({}, {}) getmetatable(t).__newindex = t t.x = 1",
		"local t = setmetatable({}, {}) getmetatable(t).__eq = function(a, b) return a == setmetatable({}, getmetatable(t)) end return t == setmetatable({}, getmetatable(t))",
		"local t = setmetatable({}, {}) getmetatable(t).__concat = function(a, b) return a .. b end return t .. t",
		"local t = setmetatable({}, {}) getmetatable(t).__lt = function(a, b) return a < b end return t < t",
		"local function f(...) return f(1, ...) end return f()", "local function f() return xpcall(f, f) end f() while true do end",
		"local function f() xpcall(error, f) end while true do f() end",
		/* the parser */
		"return load('return ' .. ('('):rep(1e5)) or error 'refused'", "return load('return ' .. ('{'):rep(1e5)) or error 'refused'",
		"return load(('do '):rep(1e5)) or error 'refused'", "return load('return ' .. ('-'):rep(1e5) .. '1') or error 'refused'",
		"return load('return ' .. ('a..'):rep(1e5) .. 'a') or error 'refused'", "return load('return ' .. ('function() return '):rep(1e4)) or error 'refused'",
		"return load(('local a '):rep(300)) or error 'refused'", "return load('return ' .. ('a.'):rep(3e5) .. 'b') or error 'refused'", "return load(('x'):rep(3e6)) or error 'refused'",
		"return load('return \"' .. ('\\\\z '):rep(1e5)) or error 'refused'", "return load('--[' .. ('='):rep(1e6) .. '[') or error 'refused'",
		/* patterns */
		"return pcall(string.find, 'x', ('%'):rep(1e6)) and 1 or error 'refused'", "return pcall(string.find, ('a'):rep(100), ('(a'):rep(40)) or error 'refused'",
		"return (('a'):rep(200000)):find(('a?'):rep(100000) .. 'b')", "return (('a'):rep(30)):find(('a?'):rep(30) .. ('a'):rep(30)) or error 'none'",
		"while true do string.find(('['):rep(100), '[' .. ('a'):rep(100000) .. ']') end", "local s = ('a'):rep(1e5) while true do s:gsub('', '') end",
		"return (('a'):rep(1e5)):gsub('a', ('%0'):rep(1e5))", "return (('x'):rep(1e5)):match(('.-'):rep(200) .. 'y') or error 'none'", "while true do ('()'):rep(50):gsub('%b()', '%%') end",
		/* memory */
		"return ('x'):rep(1e10)", "return ('x'):rep(1e5, ('y'):rep(1e5))", "return string.format(('%99s'):rep(1e6), 1)", "local t = {} for i = 1, 1e9 do t[i] = coroutine.create(print) end",
		"local t = { 1 } for i = 1, 40 do t = { t, t, unpack(t) } end", "local s = 'x' for i = 1, 60 do s = table.concat { s, s, s } end", "local s = 'x' for i = 1, 60 do s = s:gsub('x', '%0%0%0') end",
		"local t = {} t[2 ^ 26] = 1 for i = 1, 2 ^ 26 do t[i] = 1 end", "return table.concat({}, 'x', 1, 1e9)", "return unpack({}, 1, 1e8)", "return select(-1, unpack({}, 1, 1e7))",
		"return string.char(unpack({}, 1, 1e6))", "return (('x'):rep(1e7)):byte(1, -1)", "while true do pcall(string.rep, 'x', 1e9) end", "local f f = function() return pcall(f) and f() end f() while true do end",
		/* one instruction, much work */
		"local t = {} for i = 1, 7000 do t[i] = i end while true do local n = select('#', unpack(t)) end", "local s = ('x'):rep(7000) while true do local n = select('#', s:byte(1, -1)) end",
		"local a = ('x'):rep(1e7) local b = a .. 'b' while true do local n = a < b end", "local s = ('1'):rep(1e6) while true do local n = tonumber(s) end",
		"local s = ('1'):rep(1e6) while true do local n = -s end", "local s = ('1'):rep(2e5) while true do local n = s + s end", "local f = ('%c'):rep(1e5) while true do os.date(f) end",
		"local f = ('%c'):rep(100) while true do os.date(f) end", "while true do os.time { year = 2e9, month = 2e9, day = 2e9 } end", "local t = {} for i = 1, 1e5 do t[i] = '' end while true do table.concat(t) end",
		"local s = ('x'):rep(1e6) while true do local a = s:sub(1, -2) end", "local t = {} for i = 1, 1e5 do t[i] = 1 end for i = 1, 1e5 do t[i] = nil end while true do next(t) end",
		"while true do math.fmod(1e308, 3e-308) end", "while true do string.format('%.99f', 1e308) end", "while true do print(('x'):rep(1e5)) end", "while true do local t = {} t[1], t[2 ^ 20] = 1, 1 end",
		"local t = {} for i = 1, 1e5 do t[i] = -i end while true do table.sort(t) end", "table.sort({ 1, 2, 3, 4 }, function() while true do end end)",
		"local t = {} for i = 1, 5e4 do t['k' .. i] = i end while true do for k in pairs(t) do break end end", "while true do collectgarbage() end",
		/* past the budget */
		"while true do pcall(function() while true do end end) end", "while true do local co = coroutine.wrap(function() while true do end end) pcall(co) end",
		"while true do xpcall(function() while true do end end, function() while true do end end) end", "while true do xpcall(error, function() while true do end end) end",
		"local co = coroutine.create(function() while true do coroutine.yield() end end) while true do coroutine.resume(co) end",
		"error(setmetatable({}, { __tostring = function() while true do end end })) ", "load(function() while true do end end)", "(' '):gsub('.', function() while true do end end)",
	};
	for (size_t i = 0; i < countof(cases); i++)
		ends_soon_and_leaves_a_state_that_works(cases[i]);
}

static void
hooks_are_not_compiled(void **state)
{
	/* A loop that LuaJIT compiled would ask no hook any more; here it would by the 57th turn. */
	struct sandbox *sandbox = fresh();
	struct sandbox_failure failure;
	assert_false(run(sandbox, "local n = 0 for i = 1, 1e12 do n = n + bit.band(i, 1) end return n", &failure));
	assert_true(failure.over_budget);
	sandbox_free(sandbox);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_listed_is_reachable_and_nothing_else),
		cmocka_unit_test(ways_out_of_other_sandboxes_are_closed),
		cmocka_unit_test(nothing_holds_or_breaks_the_node),
		cmocka_unit_test(hooks_are_not_compiled),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
