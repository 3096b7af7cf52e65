/*
 * Lines of fields. source_rewrite() has wrapped each table constructor in a call
 * of loader_l_at(n, {…}), which notes for the table that it came from constructor
 * n, in a table with weak keys. A table that some code may change before it is
 * read (a local one, not an argument) is noted with a copy of its plain values:
 * what differs from it was computed, and has the line of the declaration. A table
 * put together from others names them in `__from` of its metatable: a value that
 * one of them holds as well has the line it has there.
 *
 * Should the rewritten text not compile though the original did (LuaJIT has limits
 * on constants), the original is run: then values have their declarations' lines.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/loader.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "policy/grow.h"
#include "policy/lua_api.h"
#include "policy/module.h"

#define FIELDS_COMPARED_MAX 200           /* a shape has fewer */

static char numbers_key, copies_key, door_key;       /* their addresses are keys in the registry */

static void
weak_table(lua_State *L, void *key)
{
	lua_pushlightuserdata(L, key);
	lua_newtable(L);
	lua_createtable(L, 0, 1);
	lua_pushliteral(L, "k");
	lua_setfield(L, -2, "__mode");
	lua_setmetatable(L, -2);
	lua_rawset(L, LUA_REGISTRYINDEX);
}

void
loader_init(struct loader *loader, struct ruleset *ruleset, struct policy_report *report, lua_State *L, struct bundle *bundle)
{
	*loader = (struct loader){ .ruleset = ruleset, .report = report, .L = L, .bundle = bundle };
	const char *path = bundle->policy;
	const char *slash = strrchr(path, '/');
	loader->dir = arena_strndup(&ruleset->arena, path, slash ? (size_t)(slash - path) + 1 : 0);
	weak_table(L, &numbers_key);
	weak_table(L, &copies_key);
	module_init(L);
	lua_pushlightuserdata(L, &door_key);
	loader->door = lua_newuserdata(L, sizeof(loader));
	*loader->door = loader;
	lua_rawset(L, LUA_REGISTRYINDEX);
}

void
loader_push_function(struct loader *loader, lua_CFunction fn, int extra_n)
{
	lua_State *L = loader->L;
	lua_pushlightuserdata(L, &door_key);
	lua_rawget(L, LUA_REGISTRYINDEX);
	lua_insert(L, -1 - extra_n);
	lua_pushcclosure(L, fn, 1 + extra_n);
}

static struct loader *
behind_door(lua_State *L)
{
	return *(struct loader **)lua_touserdata(L, lua_upvalueindex(1));
}

struct loader *
loader_of(lua_State *L)
{
	struct loader *loader = behind_door(L);
	if (loader && loader->L != L)
		luaL_error(L, "a policy declares, and requires, outside of coroutines only");
	return loader;
}

static void
drop(lua_State *L, void *key)
{
	lua_pushlightuserdata(L, key);
	lua_pushnil(L);
	lua_rawset(L, LUA_REGISTRYINDEX);
}

void
loader_fini(struct loader *loader)
{
	*loader->door = NULL;
	drop(loader->L, &numbers_key);
	drop(loader->L, &copies_key);
	for (unsigned i = 0; i < loader->files_n; i++)
		source_map_fini(&loader->files[i]->map);
}

/* "x.lua:12: '=' expected near 'y'": the position is cut off, the line kept. */
static const char *
cut_line(const char *text, int *line_out)
{
	for (const char *colon = strchr(text, ':'); colon; colon = strchr(colon + 1, ':')) {
		char *end;
		long line = strtol(colon + 1, &end, 10);
		if (end == colon + 1 || end[0] != ':' || end[1] != ' ')
			continue;
		*line_out = (int)line;
		return end + 2;
	}
	return text;
}

static bool
compile_text(struct loader *loader, const char *path, struct span text)
{
	lua_State *L = loader->L;
	if (text.n && text.p[0] == LUA_SIGNATURE[0]) {
		notes_error(loader->report, path, 0, "is bytecode: a policy is text");
		return false;
	}
	const char *chunk = lua_pushfstring(L, "@%s", path);
	if (luaL_loadbufferx(L, text.p, text.n, chunk, "t") == 0) {
		lua_remove(L, -2);
		return true;
	}
	int line = 0;
	const char *what = cut_line(lua_tostring(L, -1), &line);
	notes_error(loader->report, path, line, "%s", what);
	lua_pop(L, 2);
	return false;
}

static uint32_t
tables_so_far(const struct loader *loader)
{
	if (loader->files_n == 0)
		return 0;
	const struct loader_file *last = loader->files[loader->files_n - 1];
	return last->first_table + last->map.tables_n;
}

static void
swap_in_rewritten(struct loader *loader, struct loader_file *file, struct span text)
{
	lua_State *L = loader->L;
	struct buf out;
	buf_init(&out, 4 * (size_t)BUNDLE_FILE_MAX);
	if (source_rewrite(text, file->first_table, LOADER_HIDDEN, &file->map, &out)) {
		const char *chunk = lua_pushfstring(L, "@%s", file->path);
		struct span rewritten = buf_span(&out);
		if (luaL_loadbufferx(L, rewritten.p, rewritten.n, chunk, "t") == 0)
			lua_replace(L, -3);
		else
			lua_pop(L, 1);
		lua_pop(L, 1);
	}
	buf_fini(&out);
}

bool
loader_compile_text(struct loader *loader, const char *path, struct span text)
{
	if (!compile_text(loader, path, text))
		return false;
	struct arena *arena = &loader->ruleset->arena;
	struct loader_file *file = arena_alloc(arena, sizeof(*file));
	file->path = arena_strdup(arena, path);
	file->first_table = tables_so_far(loader);
	source_map_init(&file->map);
	*GROW(arena, loader->files, loader->files_n) = file;
	swap_in_rewritten(loader, file, text);
	if (file->map.sign_line)
		notes_error(loader->report, file->path, (int)file->map.sign_line, "msg:sign is not there yet");
	return true;
}

bool
loader_compile(struct loader *loader, const char *path)
{
	struct err err = { 0 };
	struct span text;
	if (!bundle_read(loader->bundle, path, &text, &err)) {
		notes_error(loader->report, path, 0, "%s", err.text);
		return false;
	}
	return loader_compile_text(loader, path, text);
}

static const struct source_table *
source_table(const struct loader *loader, uint32_t number)
{
	for (unsigned i = loader->files_n; i-- > 0;) {
		const struct loader_file *file = loader->files[i];
		if (number >= file->first_table && number - file->first_table < file->map.tables_n)
			return &file->map.tables[number - file->first_table];
	}
	return NULL;
}

static const char *
source_file(const struct loader *loader, uint32_t number)
{
	unsigned i = loader->files_n - 1;
	while (number < loader->files[i]->first_table)
		i--;
	return loader->files[i]->path;
}

static void
note_copy(lua_State *L)
{
	lua_pushlightuserdata(L, &copies_key);
	lua_rawget(L, LUA_REGISTRYINDEX);
	lua_pushvalue(L, 2);
	lua_newtable(L);
	for (lua_pushnil(L); lua_next(L, 2);) {
		int type = lua_type(L, -1);
		if (type != LUA_TNUMBER && type != LUA_TSTRING && type != LUA_TBOOLEAN) {
			lua_pop(L, 1);
			continue;
		}
		lua_pushvalue(L, -2);
		lua_insert(L, -2);
		lua_rawset(L, -4);
	}
	lua_rawset(L, -3);
	lua_pop(L, 1);
}

/* (n, table): the table. */
int
loader_l_at(lua_State *L)
{
	struct loader *loader = behind_door(L);         /* of which it needs no stack */
	lua_settop(L, 2);
	if (!loader || !lua_istable(L, 2) || !lua_isnumber(L, 1))
		return 1;
	const struct source_table *table = source_table(loader, (uint32_t)lua_tonumber(L, 1));
	if (!table || table->fields_n == 0)
		return 1;
	lua_pushlightuserdata(L, &numbers_key);
	lua_rawget(L, LUA_REGISTRYINDEX);
	lua_pushvalue(L, 2);
	lua_pushvalue(L, 1);
	lua_rawset(L, 3);
	if (!table->argument)
		note_copy(L);
	lua_settop(L, 2);
	return 1;
}

static const char *
file_of_chunk(const struct loader *loader, const char *source)
{
	for (unsigned i = 0; source[0] == '@' && i < loader->files_n; i++)
		if (strcmp(loader->files[i]->path, source + 1) == 0)
			return loader->files[i]->path;
	return NULL;
}

struct where
loader_here(struct loader *loader, const char *scope)
{
	lua_State *L = loader->L;
	lua_Debug frame;
	for (int level = 0; lua_getstack(L, level, &frame); level++) {
		lua_getinfo(L, "Sl", &frame);
		const char *file = frame.currentline > 0 ? file_of_chunk(loader, frame.source) : NULL;
		if (file)
			return (struct where){ file, frame.currentline, scope };
	}
	return (struct where){ loader->ruleset->file, 0, scope };
}

/* What the constructor wrote that made the table at `index`, and its number; NULL: it is not known. */
static const struct source_table *
table_written(struct loader *loader, int index, uint32_t *number_out)
{
	lua_State *L = loader->L;
	lua_pushlightuserdata(L, &numbers_key);
	lua_rawget(L, LUA_REGISTRYINDEX);
	lua_pushvalue(L, index);
	lua_rawget(L, -2);
	bool known = lua_isnumber(L, -1);
	*number_out = known ? (uint32_t)lua_tonumber(L, -1) : 0;
	lua_pop(L, 2);
	return known ? source_table(loader, *number_out) : NULL;
}

static void
push_key(lua_State *L, const char *name, uint32_t position)
{
	if (name)
		lua_pushstring(L, name);
	else
		lua_pushinteger(L, position);
}

/* A plain value that is not what the constructor wrote. */
static bool
was_changed(lua_State *L, int index, const char *name, uint32_t position)
{
	bool changed = false;
	lua_pushlightuserdata(L, &copies_key);
	lua_rawget(L, LUA_REGISTRYINDEX);
	lua_pushvalue(L, index);
	lua_rawget(L, -2);
	if (lua_istable(L, -1)) {
		push_key(L, name, position);
		lua_rawget(L, -2);
		push_key(L, name, position);
		lua_rawget(L, index);
		int type = lua_type(L, -1);
		changed = (type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TBOOLEAN) && !lua_rawequal(L, -1, -2);
		lua_pop(L, 2);
	}
	lua_pop(L, 2);
	return changed;
}

/* Where the constructor of the table at `index` wrote the field. */
static bool
place_in(struct loader *loader, int index, const char *name, uint32_t position, struct where *at)
{
	uint32_t number;
	const struct source_table *table = table_written(loader, index, &number);
	if (!table)
		return false;
	const struct source_field *field =
		name ? source_field_named(table, span_text(name)) : source_field_at(table, position);
	if (!field || !field->literal || was_changed(loader->L, index, name, position))
		return false;
	at->file = source_file(loader, number);
	at->line = (int)field->line;
	return true;
}

/* In one of the tables that the one at `index` was put together from; the last one that has this very value counts. */
static bool
place_in_parts(struct loader *loader, int index, const char *name, uint32_t position, struct where *at)
{
	lua_State *L = loader->L;
	int before = lua_gettop(L);
	bool found = false;
	if (!luaL_getmetafield(L, index, "__from"))
		return false;
	push_key(L, name, position);
	lua_rawget(L, index);
	for (int i = lua_istable(L, -2) ? (int)lua_objlen(L, -2) : 0; i > 0 && !found; i--) {
		lua_rawgeti(L, before + 1, i);
		if (lua_istable(L, -1)) {
			push_key(L, name, position);
			lua_rawget(L, -2);
			found = lua_rawequal(L, -1, before + 2) && place_in(loader, before + 3, name, position, at);
		}
		lua_settop(L, before + 2);
	}
	lua_settop(L, before);
	return found;
}

struct where
loader_place(struct loader *loader, int index, const char *name, uint32_t position, const struct where *declared)
{
	struct where at = *declared;
	if (!place_in(loader, index, name, position, &at))
		place_in_parts(loader, index, name, position, &at);
	return at;
}

void
loader_warn_twice(struct loader *loader, int index, const struct where *declared)
{
	uint32_t number;
	const struct source_table *table = table_written(loader, index, &number);
	if (!table)
		return;
	for (uint32_t i = 0; i < table->fields_n && table->fields_n <= FIELDS_COMPARED_MAX; i++) {
		const struct source_field *field = &table->fields[i];
		const struct source_field *last = field->name.p ? source_field_named(table, field->name) : field;
		if (last == field)
			continue;
		struct where at = { source_file(loader, number), (int)field->line, declared->scope };
		loader_warning(loader, &at, "%.*s: has no effect: it is written again on line %u", (int)min_i64((int64_t)field->name.n, 100),
			       field->name.p, last->line);
	}
}

bool
loader_after_semicolon(struct loader *loader, int index, uint32_t position)
{
	uint32_t number;
	const struct source_table *table = table_written(loader, index, &number);
	const struct source_field *field = table ? source_field_at(table, position) : NULL;
	return field && field->after_semicolon;
}

void
loader_error(struct loader *loader, const struct where *at, const char *format, ...)
{
	char text[900];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	notes_error(loader->report, at->file, at->line, "%s%s%s", at->scope ? at->scope : "", at->scope ? ": " : "", text);
}

void
loader_warning(struct loader *loader, const struct where *at, const char *format, ...)
{
	char text[900];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	notes_warning(loader->report, at->file, at->line, "%s%s%s", at->scope ? at->scope : "", at->scope ? ": " : "", text);
}

const char *
loader_path(struct loader *loader, const char *path)
{
	struct arena *arena = &loader->ruleset->arena;
	char *whole = bundle_path(loader->bundle, path[0] == '/' ? path : arena_printf(arena, "%s%s", loader->dir, path));
	const char *kept = arena_strdup(arena, whole);
	free(whole);
	return kept;
}
