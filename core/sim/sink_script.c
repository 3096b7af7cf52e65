/*
 * Of a rule only `fn` and `when` live in Lua, as references. So a rule without
 * them costs no Lua call, which matters where the receiver measures a sender.
 *
 * The chunk is loaded under a name of ours, because Lua cuts a file's name to 60
 * characters; place() puts the path back.
 *
 * The JIT is off: a count hook does not interrupt compiled loops.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/sink_script.h"

#include "policy/lua_api.h"
#include "util/buf.h"

#define CHUNK "(script)"

struct sink_script {
	char           *path;
	lua_State      *lua;
	struct answers *answers;
};

/* What a rule of the book knows of its Lua side. */
struct functions {
	struct sink_script *script;
	int                 fn, when;   /* LUA_NOREF: none */
};

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

static enum answer_stage
l_stage(lua_State *lua)
{
	enum answer_stage stage = ANSWER_CONNECT;
	const char *name;

	lua_getfield(lua, 1, "to");
	name = lua_tostring(lua, -1);
	if (!name || !answer_stage_parse(span_text(name), &stage))
		luaL_error(lua, "answer: to: one of connect, EHLO, MAIL, RCPT, DATA and \".\", not %s", name ? name : "nothing");
	lua_pop(lua, 1);
	return stage;
}

/* False: nothing is there. */
static bool
l_reply(lua_State *lua, const char *what, struct answer *out)
{
	size_t n;
	const char *text = lua_tolstring(lua, -1, &n);

	if (!text)
		return false;
	if (!answer_parse(span_make(text, n), out))
		luaL_error(lua, "%s: no reply: \"%s\" (as in \"450 4.2.1 busy\"; or reset, hang, close)", what, text);
	return true;
}

/* 0: not given. */
static uint32_t
l_count(lua_State *lua, const char *field)
{
	lua_Number value;

	lua_getfield(lua, 1, field);
	if (lua_isnil(lua, -1))
		return lua_pop(lua, 1), 0;
	value = lua_tonumber(lua, -1);
	if (lua_type(lua, -1) != LUA_TNUMBER || value < 1 || value > 1e9 || value != (lua_Number)(uint32_t)value)
		luaL_error(lua, "answer: %s: a whole number from 1", field);
	lua_pop(lua, 1);
	return (uint32_t)value;
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

struct question {
	int                        function;
	const struct answer_event *event;
	struct answer             *out;         /* of fn; NULL: it is a `when` */
	bool                       answered;
};

static void
l_push_event(lua_State *lua, const struct answer_event *event)
{
	lua_createtable(lua, 0, 4);
	lua_pushstring(lua, answer_stage_name(event->stage));
	lua_setfield(lua, -2, "verb");
	lua_pushlstring(lua, event->line.p ? event->line.p : "", event->line.n);
	lua_setfield(lua, -2, "line");
	lua_pushnumber(lua, event->at_s);
	lua_setfield(lua, -2, "at");
	lua_pushstring(lua, event->source);
	lua_setfield(lua, -2, "source");
}

/* Protected: whatever is raised in here is the script's. */
static int
l_ask(lua_State *lua)
{
	struct question *question = lua_touserdata(lua, 1);

	lua_rawgeti(lua, LUA_REGISTRYINDEX, question->function);
	l_push_event(lua, question->event);
	lua_call(lua, 1, 1);
	if (!question->out) {
		question->answered = lua_toboolean(lua, -1);
		return 0;
	}
	if (!lua_isnil(lua, -1) && lua_type(lua, -1) != LUA_TSTRING)
		luaL_error(lua, "fn: a reply as text, or nil, not a %s", luaL_typename(lua, -1));
	question->answered = l_reply(lua, "fn", question->out);
	return 0;
}

static enum answer_verdict
ask(struct sink_script *script, struct question *question, struct err *err)
{
	lua_State *lua = script->lua;

	lua_pushcfunction(lua, l_ask);
	lua_pushlightuserdata(lua, question);
	if (call(lua, 1, 0) == 0)
		return question->answered ? ANSWER_GIVEN : ANSWER_PASSED_ON;
	place(script, lua_tostring(lua, -1), err);
	lua_settop(lua, 0);
	return ANSWER_FAILED;
}

static enum answer_verdict
on_fn(void *ctx, const struct answer_event *event, struct answer *out, struct err *err)
{
	const struct functions *functions = ctx;
	struct question question = { .function = functions->fn, .event = event, .out = out };

	return ask(functions->script, &question, err);
}

static enum answer_verdict
on_when(void *ctx, const struct answer_event *event, struct err *err)
{
	const struct functions *functions = ctx;
	struct question question = { .function = functions->when, .event = event };

	return ask(functions->script, &question, err);
}

static void
on_release(void *ctx)
{
	struct functions *functions = ctx;

	luaL_unref(functions->script->lua, LUA_REGISTRYINDEX, functions->fn);
	luaL_unref(functions->script->lua, LUA_REGISTRYINDEX, functions->when);
	free(functions);
}

static int
l_answer(lua_State *lua)
{
	struct sink_script *script = lua_touserdata(lua, lua_upvalueindex(1));
	struct answer_rule rule = { .release = on_release };
	struct functions functions = { .script = script };
	struct err err;
	bool with;

	luaL_checktype(lua, 1, LUA_TTABLE);
	l_check_fields(lua);
	rule.stage = l_stage(lua);
	lua_getfield(lua, 1, "with");
	with = l_reply(lua, "answer: with", &rule.fixed);
	lua_pop(lua, 1);
	rule.times = l_count(lua, "times");
	rule.every = l_count(lua, "every");
	functions.fn = l_function(lua, "fn");
	functions.when = l_function(lua, "when");
	if (with == (functions.fn != LUA_NOREF))
		luaL_error(lua, "answer: give either with or fn");

	rule.fn = with ? NULL : on_fn;
	rule.when = functions.when != LUA_NOREF ? on_when : NULL;
	rule.ctx = mem_alloc(sizeof(functions));
	*(struct functions *)rule.ctx = functions;
	if (!answers_add(script->answers, &rule, &err))
		luaL_error(lua, "answer: %s", err.text);
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
sink_script_load(const char *path, struct answers *answers, struct err *err)
{
	struct sink_script *script = mem_alloc(sizeof(*script));

	script->path = mem_strdup(path);
	script->answers = answers;
	if (!open_state(script))
		err_set(err, ERR_TEMP, "%s: no memory for a Lua state", path);
	else if (run_file(script, err))
		return script;
	answers_fini(answers);
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
	free(script->path);
	free(script);
}
