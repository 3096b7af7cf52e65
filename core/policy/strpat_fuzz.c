/* A pattern, a NUL, a text: no reach beyond either, and an end within the budget. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/lua_api.h"
#include "policy/sandbox_lib.h"

#include <stddef.h>

#include "policy/sandbox.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static int
l_try(lua_State *L)
{
	for (int i = 1; i <= 4; i++) {
		static const char *const names[] = { "find", "match", "gsub", "gmatch" };
		lua_getfield(L, 3, names[i - 1]);
		lua_pushvalue(L, 2);
		lua_pushvalue(L, 1);
		lua_pushliteral(L, "<%0%1>");
		if (i != 3)
			lua_pop(L, 1);
		lua_call(L, i == 3 ? 3 : 2, 1);
		for (int turn = 0; i == 4 && turn < 50; turn++) {
			lua_pushvalue(L, -1);
			lua_call(L, 0, 1);
			lua_pop(L, 1);
		}
	}
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct sandbox *sandbox = sandbox_new(&(struct sandbox_options){ .seed = 1 });
	lua_State *L = sandbox_lua(sandbox);
	struct sandbox_failure failure;
	const uint8_t *nul = n ? memchr(data, 0, n) : NULL;
	size_t pattern_n = nul ? (size_t)(nul - data) : n;
	lua_pushcfunction(L, l_try);
	lua_pushlstring(L, (const char *)data, pattern_n);
	lua_pushlstring(L, nul ? (const char *)nul + 1 : "", nul ? n - pattern_n - 1 : 0);
	lua_newtable(L);
	strpat_fill(L, &sandbox_meter);
	sandbox_call(sandbox, 3, 0, &(struct sandbox_budget){ 20000, 8u << 20 }, &failure);
	sandbox_free(sandbox);
	return 0;
}
