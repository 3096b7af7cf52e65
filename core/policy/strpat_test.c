/* Each pattern gives what LuaJIT's own functions give. Budgets are sandbox_test.c's. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/lua_api.h"
#include "policy/sandbox_lib.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "policy/sandbox.h"

/* Run in both: their results, joined, must be one. */
static const char script[] =
	"local s = ...\n"
	"local subjects = { '', 'a', 'hello world', 'key = value', '  trim me  ', 'a.b.c', '(x(y)z)', 'THE (quick) fox', '%d', 'a\\0b', '\\200\\201',\n"
	"  'aaa', 'abcabc', '2024-01-02', '[x]', 'x]', '^a$', 'one;two;;four', ('ab'):rep(50) }\n"
	"local patterns = { '', '.', 'a', '^a', 'a$', '^$', '.*', '.-', '.+', 'a*', 'a-b', 'a?', '%a+', '%w*', '%d+', '%s*$', '^%s*(.-)%s*$', '(%w+) = (%w+)',\n"
	"  '%b()', '%bxx', '%f[%w]%w+', '%f[A-Z]%u+', '()', '(a)(b)?', '(.)%1', '[abc]', '[^abc]', '[a-c]+', '[%w_]+', '[]]', '[^]]', '[a-]', '[%]]', '%.', '%%',\n"
	"  '((a)(b))', '(a*(.)%w(%s*))', '%z', '[%z]', '[\\128-\\255]', '\\200', '[^;]*', '(%d+)-(%d+)-(%d+)', '^', '$', 'a$b', '-', 'x*$', '%A', '%W+', '%S',\n"
	"  '(', ')', '[a', '%', '%b', '%f', '(()', '%1', '(a', 'a)', '[%a-z]', '[a-%%]', '%x', '%c', '%p+', '%g+' }\n"
	"local out = {}\n"
	"local function add(...) for i = 1, select('#', ...) do out[#out + 1] = tostring((select(i, ...))) end out[#out + 1] = '|' end\n"
	"local function try(f, ...) local r = { pcall(f, ...) } if r[1] then add(unpack(r, 2, table.maxn and 12 or 12)) else add('error') end end\n"
	"for _, p in ipairs(patterns) do for _, t in ipairs(subjects) do add('@', p, t)\n"
	"  try(s.find, t, p) try(s.find, t, p, 2) try(s.find, t, p, -2) try(s.find, t, p, 99) try(s.find, t, p, 1, true) try(s.match, t, p) try(s.match, t, p, 3)\n"
	"  try(s.gsub, t, p, '<%0>') try(s.gsub, t, p, '%1%%') try(s.gsub, t, p, 'x', 2) try(s.gsub, t, p, { a = 'A', hello = 1 })\n"
	"  try(s.gsub, t, p, function(a, b) return b or a end) try(s.gsub, t, p, function() end) try(s.gsub, t, p, 7)\n"
	"  try(function() local n, r = 0, {} for a, b in s.gmatch(t, p) do n = n + 1 r[n] = tostring(a) .. tostring(b) if n > 200 then break end end return table.concat(r, ',') end)\n"
	"end end\n"
	"return table.concat(out, ' ')\n";

static void
patterns_give_what_lua_gives(void **state)
{
	struct sandbox *sandbox = sandbox_new(&(struct sandbox_options){ .seed = 1 });
	lua_State *mine = sandbox_lua(sandbox);
	lua_State *theirs = luaL_newstate();
	lua_pushcfunction(theirs, luaopen_base);
	lua_call(theirs, 0, 0);
	lua_pushcfunction(theirs, luaopen_table);
	lua_call(theirs, 0, 0);
	lua_pushcfunction(theirs, luaopen_string);
	lua_call(theirs, 0, 0);
	assert_int_equal(luaL_loadstring(theirs, script), 0);
	lua_getglobal(theirs, "string");
	assert_int_equal(lua_pcall(theirs, 1, 1, 0), 0);

	assert_int_equal(luaL_loadbuffer(mine, script, sizeof(script) - 1, "@script"), 0);
	lua_newtable(mine);
	strpat_fill(mine, &sandbox_meter);
	struct sandbox_failure failure;
	if (!sandbox_call(sandbox, 1, 1, &(struct sandbox_budget){ 1000000000, 1u << 30 }, &failure))
		fail_msg("%s", failure.text);

	size_t a_n, b_n, i = 0;
	const char *a = lua_tolstring(mine, -1, &a_n), *b = lua_tolstring(theirs, -1, &b_n);
	while (i < a_n && i < b_n && a[i] == b[i])
		i++;
	if (i < a_n || i < b_n)
		fail_msg("at %zu: ours %.360s | lua's %.360s", i, a + (i > 330 ? i - 330 : 0), b + (i > 330 ? i - 330 : 0));
	assert_true(i > 10000);
	lua_close(theirs);
	sandbox_free(sandbox);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(patterns_give_what_lua_gives) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
