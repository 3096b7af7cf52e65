/*
 * Lines of fields. source_rewrite() has wrapped each table constructor in a call
 * of loader_l_at(n, {…}), which notes for the table that it came from constructor
 * n, in a table with weak keys. A table that some code may change before it is
 * read (a local one, not an argument) is noted with a copy of its plain values:
 * what differs from it was computed, and has the line of the declaration.
 *
 * Should the rewritten text not compile though the original did (LuaJIT has limits
 * on constants), the original is run: then values have their declarations' lines.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/loader.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdarg.h>
#include <stdio.h>

#include "policy/embedded.h"
#include "policy/grow.h"

#define FILE_MAX (32u << 20)
#define FIELDS_COMPARED_MAX 200           /* a shape has fewer */

static char numbers_key, copies_key, modules_key, door_key;       /* their addresses are keys in the registry */

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
loader_init(struct loader *loader, struct ruleset *ruleset, struct policy_report *report, lua_State *L, const char *path)
{
	*loader = (struct loader){ .ruleset = ruleset, .report = report, .L = L };
	const char *slash = strrchr(path, '/');
	loader->dir = arena_strndup(&ruleset->arena, path, slash ? (size_t)(slash - path) + 1 : 0);
	weak_table(L, &numbers_key);
	weak_table(L, &copies_key);
	lua_pushlightuserdata(L, &modules_key);
	lua_newtable(L);
	lua_rawset(L, LUA_REGISTRYINDEX);
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

struct loader *
loader_of(lua_State *L)
{
	return *(struct loader **)lua_touserdata(L, lua_upvalueindex(1));
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
	for (unsigned i = 0; i < loader->files_n; i++) {
		source_map_fini(&loader->files[i]->map);
		free(loader->files[i]->text);
	}
}

static char *
read_whole(const char *path, size_t *n_out, struct err *err)
{
	FILE *file = fopen(path, "rbe");
	if (!file) {
		err_sys(err, "cannot be read");
		return NULL;
	}
	char *text = NULL;
	size_t n = 0, got;
	do {
		text = mem_grow(text, n + 65536);
		errno = 0;
		got = fread(text + n, 1, 65536, file);
		n += got;
	} while (got && n < FILE_MAX);
	bool failed = ferror(file);
	if (failed)
		err_sys(err, "cannot be read");
	fclose(file);
	if (!failed && n >= FILE_MAX)
		failed = !err_set(err, ERR_PERM, "is larger than a policy may be (32 MiB)");
	if (failed) {
		free(text);
		return NULL;
	}
	*n_out = n;
	return text;
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
	buf_init(&out, 4 * (size_t)FILE_MAX);
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

static bool
compile(struct loader *loader, const char *path, char *owned, struct span text)
{
	if (!compile_text(loader, path, text)) {
		free(owned);
		return false;
	}
	struct arena *arena = &loader->ruleset->arena;
	struct loader_file *file = arena_alloc(arena, sizeof(*file));
	file->path = arena_strdup(arena, path);
	file->first_table = tables_so_far(loader);
	file->text = owned;
	source_map_init(&file->map);
	*GROW(arena, loader->files, loader->files_n) = file;
	swap_in_rewritten(loader, file, text);
	if (file->map.sign_line)
		notes_error(loader->report, file->path, (int)file->map.sign_line, "msg:sign is not there yet");
	return true;
}

bool
loader_compile(struct loader *loader, const char *path, const char *given)
{
	struct err err = { 0 };
	size_t n = given ? strlen(given) : 0;
	char *text = given ? mem_strdup(given) : read_whole(path, &n, &err);
	if (!text) {
		notes_error(loader->report, path, 0, "%s", err.text);
		return false;
	}
	return compile(loader, path, text, span_make(text, n));
}

static bool
module_name_ok(const char *name)
{
	if (name[0] == '\0' || name[0] == '.' || strlen(name) > 200)
		return false;
	for (const char *c = name; *c; c++) {
		bool word = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') || *c == '_' || *c == '-';
		if (!word && (*c != '.' || c[1] == '.' || c[1] == '\0'))
			return false;
	}
	return true;
}

static const char *
module_path(struct loader *loader, const char *name)
{
	char *path = arena_printf(&loader->ruleset->arena, "%s%s.lua", loader->dir, name);
	for (char *c = path + strlen(loader->dir); c < path + strlen(path) - 4; c++)
		if (*c == '.')
			*c = '/';
	return path;
}

/* The chunk onto the stack; raises. */
static void
push_module(struct loader *loader, const char *name)
{
	lua_State *L = loader->L;
	if (span_starts(span_text(name), SPAN("sluice."))) {
		struct span text = embedded_lua(span_text(name));
		if (!text.p)
			luaL_error(L, "require: there is no %s in the standard library", name);
		if (luaL_loadbuffer(L, text.p, text.n, lua_pushfstring(L, "=%s", name)) != 0)
			lua_error(L);
		lua_remove(L, -2);
		return;
	}
	const char *path = module_path(loader, name);
	struct err err = { 0 };
	size_t n = 0;
	char *text = read_whole(path, &n, &err);
	if (!text)
		luaL_error(L, "require \"%s\": %s %s", name, path, err.text);
	if (!compile(loader, path, text, span_make(text, n)))
		luaL_error(L, "require \"%s\": %s does not compile", name, path);
}

int
loader_l_require(lua_State *L)
{
	struct loader *loader = loader_of(L);
	const char *name = luaL_checkstring(L, 1);
	if (!loader)
		return luaL_error(L, "require \"%s\": a policy loads its modules when it is loaded, not later", name);
	if (!module_name_ok(name))
		return luaL_error(L, "require \"%s\": write the name of a module beside the policy, such as \"lib.limits\" for lib/limits.lua",
				  name);
	lua_settop(L, 1);
	lua_pushlightuserdata(L, &modules_key);
	lua_rawget(L, LUA_REGISTRYINDEX);
	lua_getfield(L, 2, name);
	if (lua_islightuserdata(L, -1))
		return luaL_error(L, "require \"%s\": it is being loaded: two modules require each other", name);
	if (!lua_isnil(L, -1))
		return 1;
	lua_pushlightuserdata(L, loader);
	lua_setfield(L, 2, name);
	push_module(loader, name);
	lua_pushvalue(L, 1);
	lua_call(L, 1, 1);
	if (lua_isnil(L, -1)) {
		lua_pop(L, 1);
		lua_pushboolean(L, 1);
	}
	lua_pushvalue(L, -1);
	lua_setfield(L, 2, name);
	return 1;
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
	struct loader *loader = loader_of(L);
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

/* The number of the constructor that made the table at `index`; false: it is not known. */
static bool
table_number(lua_State *L, int index, uint32_t *number_out)
{
	lua_pushlightuserdata(L, &numbers_key);
	lua_rawget(L, LUA_REGISTRYINDEX);
	lua_pushvalue(L, index);
	lua_rawget(L, -2);
	bool known = lua_isnumber(L, -1);
	*number_out = known ? (uint32_t)lua_tonumber(L, -1) : 0;
	lua_pop(L, 2);
	return known;
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

struct where
loader_place(struct loader *loader, int index, const char *name, uint32_t position, const struct where *declared)
{
	lua_State *L = loader->L;
	uint32_t number;
	if (!table_number(L, index, &number))
		return *declared;
	const struct source_table *table = source_table(loader, number);
	const struct source_field *field =
		name ? source_field_named(table, span_text(name)) : source_field_at(table, position);
	if (!field || !field->literal || was_changed(L, index, name, position))
		return *declared;
	return (struct where){ source_file(loader, number), (int)field->line, declared->scope };
}

void
loader_warn_twice(struct loader *loader, int index, const struct where *declared)
{
	uint32_t number;
	if (!table_number(loader->L, index, &number))
		return;
	const struct source_table *table = source_table(loader, number);
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
	if (!table_number(loader->L, index, &number))
		return false;
	const struct source_field *field = source_field_at(source_table(loader, number), position);
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
	return path[0] == '/' ? arena_strdup(&loader->ruleset->arena, path)
			      : arena_printf(&loader->ruleset->arena, "%s%s", loader->dir, path);
}
