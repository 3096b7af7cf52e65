/* Any text: the tokenizer ends, keeps the lines, and what Lua compiled compiles rewritten too. */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/lua_api.h"
#include "policy/source.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static unsigned
lines(struct span text)
{
	unsigned found = 0;
	for (size_t i = 0; i < text.n; i++)
		found += text.p[i] == '\n';
	return found;
}

static bool
compiles(lua_State *L, struct span text)
{
	bool ok = luaL_loadbufferx(L, text.p, text.n, "@x", "t") == 0;
	lua_settop(L, 0);
	return ok;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct span text = span_make(data, n);
	struct source_map map;
	struct buf out;
	source_map_init(&map);
	buf_init(&out, 0);
	bool ok = source_rewrite(text, 0, "H", &map, &out);
	for (uint32_t i = 0; i < map.tables_n; i++) {
		source_field_at(&map.tables[i], 1);
		source_field_named(&map.tables[i], SPAN("a"));
	}
	if (ok && n < 4096) {
		check(lines(text) == lines(buf_span(&out)));
		lua_State *L = luaL_newstate();
		if (compiles(L, text))
			check(compiles(L, buf_span(&out)));
		lua_close(L);
	}
	buf_fini(&out);
	source_map_fini(&map);
	return 0;
}
