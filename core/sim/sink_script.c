/*
 * Rules are plain C structs in the order they were declared; only `fn` and
 * `when` live in Lua, as references. So a rule without them costs no Lua call,
 * which matters where the receiver measures a sender.
 *
 * The chunk is loaded under a name of ours, because Lua cuts a file's name to 60
 * characters; place() puts the path back.
 *
 * The JIT is off: a count hook does not interrupt compiled loops.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/sink_script.h"

#include <lauxlib.h>
#include <lua.h>
#include <luajit.h>
#include <lualib.h>

#include "util/buf.h"

#define CHUNK "(script)"

struct rule {
	enum sink_stage   stage;
	bool              has_reply;
	struct smtp_reply reply;
	int               fn, when;     /* LUA_NOREF: none */
	int64_t           left;         /* -1: no end */
	uint32_t          every, matched;
};

struct sink_script {
	char        *path;
	lua_State   *lua;
	struct rule *rules;
	unsigned     rules_n, cap;
	unsigned     of_stage[SINK_STAGES_N];
};

static const char *const stage_names[SINK_STAGES_N] = { "connect", "EHLO", "MAIL", "RCPT", "DATA", "." };
static const char *const fields[] = { "to", "with", "fn", "when", "times", "every" };

/* Lua's text of an error, with the path where the chunk's name stands. */
static bool
place(const struct sink_script *script, const char *text, struct err *err)
{
	text = text ? text : "an error that is no text";
	if (!strncmp(text, CHUNK, strlen(CHUNK)))
		return err_set(err, ERR_PERM, "%s%s", script->path, text + strlen(CHUNK));
	return err_set(err, ERR_PERM, "%s: %s", script->path, text);
}

static void
l_on_budget(lua_State *lua, lua_Debug *debug)
{
	/* luaL_error() would name the caller's line: in a hook level 0 is who runs. */
	lua_getinfo(lua, "Sl", debug);
	lua_pushfstring(lua, "%s:%d: over the budget of %d instructions", debug->short_src, debug->currentline,
			SINK_SCRIPT_INSTRUCTIONS_MAX);
	lua_error(lua);
}

/* As lua_pcall(), under the budget. */
static int
call(lua_State *lua, int args, int results)
{
	int status;

	lua_sethook(lua, l_on_budget, LUA_MASKCOUNT, SINK_SCRIPT_INSTRUCTIONS_MAX);
	status = lua_pcall(lua, args, results, 0);
	lua_sethook(lua, NULL, 0, 0);
	return status;
}

static void
l_check_fields(lua_State *lua)
{
	for (lua_pushnil(lua); lua_next(lua, 1); lua_pop(lua, 1)) {
		bool known = false;

		if (lua_type(lua, -2) != LUA_TSTRING)
			luaL_error(lua, "answer: fields have names");
		for (size_t i = 0; i < countof(fields); i++)
			known |= !strcmp(lua_tostring(lua, -2), fields[i]);
		if (!known)
			luaL_error(lua, "answer: %s: no such field (to, with, fn, when, times, every)", lua_tostring(lua, -2));
	}
}

static enum sink_stage
l_stage(lua_State *lua)
{
	const char *name;

	lua_getfield(lua, 1, "to");
	name = lua_tostring(lua, -1);
	for (unsigned i = 0; name && i < SINK_STAGES_N; i++)
		if (!strcmp(name, stage_names[i]))
			return lua_pop(lua, 1), (enum sink_stage)i;
	luaL_error(lua, "answer: to: one of connect, EHLO, MAIL, RCPT, DATA and \".\", not %s", name ? name : "nothing");
	return SINK_CONNECT;
}

static bool
l_reply(lua_State *lua, const char *what, struct smtp_reply *out)
{
	size_t n;
	const char *text = lua_tolstring(lua, -1, &n);

	if (!text)
		return false;
	if (!smtp_reply_from_text(out, span_make(text, n)))
		luaL_error(lua, "%s: no reply: \"%s\" (as in \"450 4.2.1 busy\")", what, text);
	return true;
}

static int64_t
l_count(lua_State *lua, const char *field, int64_t otherwise)
{
	lua_Number value;

	lua_getfield(lua, 1, field);
	if (lua_isnil(lua, -1))
		return lua_pop(lua, 1), otherwise;
	value = lua_tonumber(lua, -1);
	if (lua_type(lua, -1) != LUA_TNUMBER || value < 1 || value > 1e9 || value != (lua_Number)(int64_t)value)
		luaL_error(lua, "answer: %s: a whole number from 1", field);
	lua_pop(lua, 1);
	return (int64_t)value;
}

/* A reference to the field's function; LUA_NOREF: it is not given. */
static int
l_function(lua_State *lua, const char *field)
{
	lua_getfield(lua, 1, field);
	if (lua_isnil(lua, -1))
		return lua_pop(lua, 1), LUA_NOREF;
	if (!lua_isfunction(lua, -1))
		luaL_error(lua, "answer: %s: a function", field);
	return luaL_ref(lua, LUA_REGISTRYINDEX);
}

static int
l_answer(lua_State *lua)
{
	struct sink_script *script = lua_touserdata(lua, lua_upvalueindex(1));
	struct rule rule = { .fn = LUA_NOREF, .when = LUA_NOREF };

	luaL_checktype(lua, 1, LUA_TTABLE);
	if (script->rules_n == SINK_SCRIPT_RULES_MAX)
		luaL_error(lua, "answer: more than %d rules", SINK_SCRIPT_RULES_MAX);
	l_check_fields(lua);
	rule.stage = l_stage(lua);
	lua_getfield(lua, 1, "with");
	rule.has_reply = l_reply(lua, "answer: with", &rule.reply);
	lua_pop(lua, 1);
	rule.left = l_count(lua, "times", -1);
	rule.every = (uint32_t)l_count(lua, "every", 1);
	rule.fn = l_function(lua, "fn");
	rule.when = l_function(lua, "when");
	if (rule.has_reply == (rule.fn != LUA_NOREF))
		luaL_error(lua, "answer: give either with or fn");

	if (script->rules_n == script->cap) {
		script->cap = script->cap ? script->cap * 2 : 8;
		script->rules = mem_grow(script->rules, script->cap * sizeof(*script->rules));
	}
	script->rules[script->rules_n++] = rule;
	script->of_stage[rule.stage]++;
	return 0;
}

static bool
open_state(struct sink_script *script)
{
	static const struct { const char *name; lua_CFunction open; } libs[] = {
		{ "", luaopen_base }, { LUA_TABLIBNAME, luaopen_table },
		{ LUA_STRLIBNAME, luaopen_string }, { LUA_MATHLIBNAME, luaopen_math },
	};
	static const char *const absent[] = { "dofile", "loadfile", "load", "loadstring", "collectgarbage", "require", "module" };

	script->lua = luaL_newstate();
	if (!script->lua)
		return false;
	luaJIT_setmode(script->lua, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
	for (size_t i = 0; i < countof(libs); i++) {
		lua_pushcfunction(script->lua, libs[i].open);
		lua_pushstring(script->lua, libs[i].name);
		lua_call(script->lua, 1, 0);
	}
	for (size_t i = 0; i < countof(absent); i++) {
		lua_pushnil(script->lua);
		lua_setglobal(script->lua, absent[i]);
	}
	lua_pushlightuserdata(script->lua, script);
	lua_pushcclosure(script->lua, l_answer, 1);
	lua_setglobal(script->lua, "answer");
	return true;
}

static bool
read_file(const char *path, struct buf *out, struct err *err)
{
	FILE *file = fopen(path, "re");
	char *room;
	size_t n;

	if (!file)
		return err_sys(err, "%s", path);
	do {
		room = buf_grow(out, 4096);
		n = room ? fread(room, 1, 4096, file) : 0;
		if (room)
			buf_grow_commit(out, n);
	} while (n > 0);
	bool ok = room && !ferror(file);
	fclose(file);
	return ok || err_set(err, ERR_PERM, "%s: cannot be read as a script", path);
}

static bool
run_file(struct sink_script *script, struct err *err)
{
	struct buf text;
	bool ok;

	buf_init(&text, 1 << 20);
	ok = read_file(script->path, &text, err);
	if (ok && buf_len(&text) > 0 && text.p[text.start] == LUA_SIGNATURE[0])
		ok = err_set(err, ERR_PERM, "%s: bytecode is not taken", script->path);
	if (ok && (luaL_loadbuffer(script->lua, buf_text(&text), buf_len(&text), "=" CHUNK) != 0 ||
		   call(script->lua, 0, 0) != 0))
		ok = place(script, lua_tostring(script->lua, -1), err);
	buf_fini(&text);
	return ok;
}

struct sink_script *
sink_script_load(const char *path, struct err *err)
{
	struct sink_script *script = mem_alloc(sizeof(*script));

	script->path = mem_strdup(path);
	if (!open_state(script))
		err_set(err, ERR_TEMP, "%s: no memory for a Lua state", path);
	else if (run_file(script, err))
		return script;
	sink_script_free(script);
	return NULL;
}

void
sink_script_free(struct sink_script *script)
{
	if (!script)
		return;
	if (script->lua)
		lua_close(script->lua);
	free(script->rules);
	free(script->path);
	free(script);
}

bool
sink_script_has(const struct sink_script *script, enum sink_stage stage)
{
	return script && script->of_stage[stage] > 0;
}

struct question {
	struct sink_script      *script;
	const struct sink_event *event;
	struct rule             *rule;
	struct smtp_reply       *reply_out;
	bool                     answered;
};

static void
l_push_event(lua_State *lua, const struct sink_event *event)
{
	lua_createtable(lua, 0, 4);
	lua_pushstring(lua, stage_names[event->stage]);
	lua_setfield(lua, -2, "verb");
	lua_pushlstring(lua, event->line.p ? event->line.p : "", event->line.n);
	lua_setfield(lua, -2, "line");
	lua_pushnumber(lua, event->at_s);
	lua_setfield(lua, -2, "at");
	lua_pushstring(lua, event->source);
	lua_setfield(lua, -2, "source");
}

/* Counts the match. False: it is fn's turn. */
static bool
answer_plainly(struct question *question)
{
	struct rule *rule = question->rule;

	if (++rule->matched % rule->every != 0)
		return true;
	if (!rule->has_reply)
		return false;
	*question->reply_out = rule->reply;
	question->answered = true;
	return true;
}

/* One rule's turn, protected: whatever is raised in here is the script's. */
static int
l_ask(lua_State *lua)
{
	struct question *question = lua_touserdata(lua, 1);
	struct rule *rule = question->rule;

	if (rule->when != LUA_NOREF) {
		lua_rawgeti(lua, LUA_REGISTRYINDEX, rule->when);
		l_push_event(lua, question->event);
		lua_call(lua, 1, 1);
		if (!lua_toboolean(lua, -1) || answer_plainly(question))
			return 0;
	}
	lua_rawgeti(lua, LUA_REGISTRYINDEX, rule->fn);
	l_push_event(lua, question->event);
	lua_call(lua, 1, 1);
	if (!lua_isnil(lua, -1) && lua_type(lua, -1) != LUA_TSTRING)
		luaL_error(lua, "fn: a reply as text, or nil, not a %s", luaL_typename(lua, -1));
	question->answered = l_reply(lua, "fn", question->reply_out);
	return 0;
}

static bool
ask(struct question *question, struct err *err)
{
	lua_State *lua = question->script->lua;

	if (question->rule->when == LUA_NOREF && answer_plainly(question))
		return true;
	lua_pushcfunction(lua, l_ask);
	lua_pushlightuserdata(lua, question);
	if (call(lua, 1, 0) == 0)
		return true;
	place(question->script, lua_tostring(lua, -1), err);
	lua_settop(lua, 0);
	return false;
}

bool
sink_script_answer(struct sink_script *script, const struct sink_event *event,
		   struct smtp_reply *reply_out, struct err *err)
{
	struct question question = { .script = script, .event = event, .reply_out = reply_out };

	for (unsigned i = script->rules_n; i-- > 0 && !question.answered;) {
		question.rule = &script->rules[i];
		if (question.rule->stage != event->stage || question.rule->left == 0)
			continue;
		if (!ask(&question, err)) {
			smtp_reply_make(reply_out, 451, "4.3.0", "the script erred");
			return true;
		}
		if (question.answered && question.rule->left > 0)
			question.rule->left--;
	}
	return question.answered;
}
