/*
 * reply, queue and attempt, as on.reply, on.delivered, on.bounced and the functions
 * in `backoff` see them. A queue's methods are the engine's; what is asked of them
 * has been checked here.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>

#include "policy/handle.h"
#include "policy/lua_api.h"
#include "policy/reaction_book.h"
#include "policy/tightening.h"
#include "policy/value.h"

static const char *
check_name(lua_State *L)
{
	return lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "?";
}

/* ---- reply ---- */

static void get_code(lua_State *L, const struct hook_slot *slot)     { lua_pushinteger(L, slot->reply->code); }
static void get_enhanced(lua_State *L, const struct hook_slot *slot) { lua_pushstring(L, slot->reply->enhanced); }
static void get_line(lua_State *L, const struct hook_slot *slot)     { lua_pushstring(L, slot->reply->line); }

static void
get_text(lua_State *L, const struct hook_slot *slot)
{
	size_t n = strlen(slot->reply->line);
	lua_pushstring(L, slot->reply->line + (slot->reply->text_at < n ? slot->reply->text_at : n));
}

static void
get_stage(lua_State *L, const struct hook_slot *slot)
{
	handle_push_text(L, slot->has_stage ? smtp_stage_name(slot->stage) : NULL);
}

/* ---- queue ---- */

static void get_name(lua_State *L, const struct hook_slot *slot)       { handle_push_text(L, slot->queue->name); }
static void get_queue_site(lua_State *L, const struct hook_slot *slot) { handle_push_text(L, slot->queue->site); }
static void get_queue_vmta(lua_State *L, const struct hook_slot *slot) { handle_push_text(L, slot->queue->vmta); }

/* ---- attempt ---- */

#define ATTEMPT_TEXT(field) \
	static void get_##field(lua_State *L, const struct hook_slot *slot) { handle_push_text(L, slot->attempt->field); }
ATTEMPT_TEXT(queue)
ATTEMPT_TEXT(site)
ATTEMPT_TEXT(vmta)
ATTEMPT_TEXT(pool)
ATTEMPT_TEXT(remote_host)
ATTEMPT_TEXT(remote_address)
ATTEMPT_TEXT(local_address)

static void get_sender(lua_State *L, const struct hook_slot *slot)    { handle_push_span(L, slot->attempt->sender); }
static void get_recipient(lua_State *L, const struct hook_slot *slot) { handle_push_span(L, slot->attempt->recipient); }
static void get_size(lua_State *L, const struct hook_slot *slot)      { lua_pushnumber(L, (double)slot->attempt->size_bytes); }
static void get_attempts(lua_State *L, const struct hook_slot *slot)  { lua_pushinteger(L, slot->attempt->attempts); }

static void
push_span_or_nil(lua_State *L, struct span s)
{
	if (s.n)
		handle_push_span(L, s);
	else
		lua_pushnil(L);
}

static void get_job(lua_State *L, const struct hook_slot *slot)   { push_span_or_nil(L, slot->attempt->job); }
static void get_envid(lua_State *L, const struct hook_slot *slot) { push_span_or_nil(L, slot->attempt->envid); }

static void
get_id(lua_State *L, const struct hook_slot *slot)
{
	char id[24];
	snprintf(id, sizeof(id), "%" PRIu64, slot->attempt->id);
	lua_pushstring(L, id);
}

static void
get_reply(lua_State *L, const struct hook_slot *slot)
{
	if (slot->reply)
		handle_push(L, handle_hooks(L), handle_slot_number(L, 1), HANDLE_REPLY);
	else
		lua_pushnil(L);
}

/* ---- a queue's methods ---- */

/* The line of the script that is being run. */
static struct where
here(lua_State *L)
{
	const struct hooks *hooks = handle_hooks(L);
	lua_Debug frame;
	for (int level = 0; lua_getstack(L, level, &frame); level++) {
		lua_getinfo(L, "Sl", &frame);
		for (unsigned i = 0; frame.currentline > 0 && frame.source[0] == '@' && i < hooks->files_n; i++)
			if (strcmp(hooks->files[i], frame.source + 1) == 0)
				return (struct where){ hooks->files[i], frame.currentline, hooks->running.scope };
	}
	return hooks->running;
}

static const struct policy_queue *
queue_at(lua_State *L)
{
	return handle_slot(L, 1, HANDLE_QUEUE, "queue")->queue;
}

static int
no_such_limit(lua_State *L, const char *name)
{
	const char *words[SETTINGS_N + 2];
	unsigned n = tightening_names(words);
	words[n++] = "lasts";
	words[n++] = "floor";
	const char *near = setting_nearest(span_text(name), words, n);
	return luaL_error(L, "queue:limit: %s: no such setting%s%s%s", name, near ? " (" : "", near ? near : "", near ? "?)" : "");
}

struct limits {
	struct tightening tightenings[SETTINGS_N];
	unsigned n;
	int64_t  lasts_us;
	uint32_t floor;
};

/* The field whose key and value lie on top. */
static void
read_limit(lua_State *L, struct limits *limits)
{
	struct err err = { 0 };
	const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : NULL;
	if (!name)
		luaL_error(L, "queue:limit: write names and values: { max_smtp_out = 3, lasts = \"30m\" }");
	enum setting_id id = setting_find(span_text(name));
	int value = lua_gettop(L);
	bool ok = false;
	if (strcmp(name, "lasts") == 0)
		ok = tightening_lasts(L, value, &limits->lasts_us, &err);
	else if (strcmp(name, "floor") == 0)
		ok = value_count(L, value, false, &limits->floor, &err);
	else if (id != SETTINGS_N)
		ok = tightening_read(L, value, id, &limits->tightenings[limits->n++], &err);
	else
		no_such_limit(L, name);
	if (!ok)
		luaL_error(L, "queue:limit: %s: %s", name, err.text);
}

static int
by_setting(const void *a, const void *b)
{
	const struct tightening *x = a, *y = b;
	return (x->setting > y->setting) - (x->setting < y->setting);
}

static int
l_limit(lua_State *L)
{
	const struct policy_queue *queue = queue_at(L);
	struct limits limits = { .n = 0 };
	if (!lua_istable(L, 2))
		return luaL_error(L, "queue:limit: write { max_smtp_out = 3, lasts = \"30m\" }");
	lua_settop(L, 2);
	for (lua_pushnil(L); lua_next(L, 2); lua_pop(L, 1))
		read_limit(L, &limits);
	if (limits.n == 0)
		return luaL_error(L, "queue:limit: limits nothing: write a cap, a rate or a retry setting, such as max_smtp_out = 3");
	if (limits.lasts_us == 0)
		return luaL_error(L, "queue:limit: lasts is missing: write lasts = \"30m\" or \"forever\"");
	for (unsigned i = 0; limits.floor && i < limits.n; i++)
		limits.tightenings[i].floor = limits.floor;
	qsort(limits.tightenings, limits.n, sizeof(limits.tightenings[0]), by_setting);
	struct where where = here(L);
	queue->ops->limit(queue->ctx, limits.tightenings, limits.n, limits.lasts_us, &where);
	return 0;
}

static int
l_suspend(lua_State *L)
{
	const struct policy_queue *queue = queue_at(L);
	struct err err = { 0 };
	int64_t lasts_us;
	lua_settop(L, 2);
	if (lua_isnil(L, 2))
		return luaL_error(L, "queue:suspend: write how long: queue:suspend \"1d\"");
	if (!tightening_lasts(L, 2, &lasts_us, &err))
		return luaL_error(L, "queue:suspend: %s", err.text);
	struct where where = here(L);
	queue->ops->suspend(queue->ctx, lasts_us, &where);
	return 0;
}

static int
l_defer(lua_State *L)
{
	const struct policy_queue *queue = queue_at(L);
	queue->ops->defer(queue->ctx);
	return 0;
}

static int
l_recent(lua_State *L)
{
	const struct policy_queue *queue = queue_at(L);
	const struct reaction_book *book = handle_hooks(L)->ruleset->reactions;
	struct err err = { 0 };
	int64_t window_us;
	lua_settop(L, 3);
	if (lua_type(L, 2) != LUA_TSTRING)
		return luaL_error(L, "queue:recent: write queue:recent(\"name\", \"1h\")");
	const char *name = lua_tostring(L, 2);
	if (!reaction_book_has(book, span_text(name))) {
		const char *near = reaction_book_nearest(book, span_text(name));
		return luaL_error(L, "queue:recent: \"%s\": no reaction has that name or pattern%s%s%s", name, near ? " (" : "", near ? near : "",
				  near ? "?)" : "");
	}
	if (!value_duration(L, 3, &window_us, &err))
		return luaL_error(L, "queue:recent: %s", err.text);
	lua_pushnumber(L, queue->ops->recent(queue->ctx, name, window_us));
	return 1;
}

/* A rule of an earlier policy may have laid it: any name will do. */
static int
l_lift(lua_State *L)
{
	const struct policy_queue *queue = queue_at(L);
	lua_settop(L, 2);
	if (!lua_isnil(L, 2) && lua_type(L, 2) != LUA_TSTRING)
		return luaL_error(L, "queue:lift: write queue:lift(\"name\"), or queue:lift() for all");
	lua_pushnumber(L, queue->ops->lift(queue->ctx, lua_tostring(L, 2)));
	return 1;
}

/* ---- the tables ---- */

struct field {
	const char *name;
	void (*get)(lua_State *L, const struct hook_slot *slot);
};

static const struct field reply_fields[] = {
	{ "code", get_code }, { "enhanced", get_enhanced }, { "text", get_text }, { "line", get_line }, { "stage", get_stage },
};

static const struct field queue_fields[] = { { "name", get_name }, { "site", get_queue_site }, { "vmta", get_queue_vmta } };

static const struct field attempt_fields[] = {
	{ "sender", get_sender }, { "recipient", get_recipient }, { "job", get_job }, { "envid", get_envid }, { "id", get_id },
	{ "size", get_size }, { "queue", get_queue }, { "site", get_site }, { "vmta", get_vmta }, { "pool", get_pool },
	{ "remote_host", get_remote_host }, { "remote_address", get_remote_address }, { "local_address", get_local_address },
	{ "attempts", get_attempts }, { "reply", get_reply },
};

static const luaL_Reg queue_methods[] = {
	{ "limit", l_limit }, { "suspend", l_suspend }, { "defer", l_defer }, { "recent", l_recent }, { "lift", l_lift },
};

static const struct kind {
	const char *type, *what;
	const struct field *fields;
	unsigned fields_n;
	const luaL_Reg *methods;
	unsigned methods_n;
} kinds[] = {
	{ HANDLE_REPLY, "reply", reply_fields, countof(reply_fields), NULL, 0 },
	{ HANDLE_QUEUE, "queue", queue_fields, countof(queue_fields), queue_methods, countof(queue_methods) },
	{ HANDLE_ATTEMPT, "attempt", attempt_fields, countof(attempt_fields), NULL, 0 },
};

#define WORDS_MAX 20
_Static_assert(countof(attempt_fields) <= WORDS_MAX && countof(queue_fields) + countof(queue_methods) <= WORDS_MAX, "l_get() has room");

/* Upvalues: the hooks, the kind, its methods. */
static int
l_get(lua_State *L)
{
	const struct kind *kind = &kinds[lua_tointeger(L, lua_upvalueindex(2))];
	const struct hook_slot *slot = handle_slot(L, 1, kind->type, kind->what);
	const char *words[WORDS_MAX], *name = check_name(L);
	unsigned n = 0;
	for (unsigned i = 0; i < kind->fields_n; i++) {
		words[n++] = kind->fields[i].name;
		if (strcmp(name, kind->fields[i].name) != 0)
			continue;
		kind->fields[i].get(L, slot);
		return 1;
	}
	lua_getfield(L, lua_upvalueindex(3), name);
	if (!lua_isnil(L, -1))
		return 1;
	for (unsigned i = 0; i < kind->methods_n; i++)
		words[n++] = kind->methods[i].name;
	return handle_no_such_field(L, kind->what, words, n);
}

static int
l_set(lua_State *L)
{
	const struct kind *kind = &kinds[lua_tointeger(L, lua_upvalueindex(2))];
	handle_slot(L, 1, kind->type, kind->what);
	return luaL_error(L, "%s.%s: cannot be set", kind->what, check_name(L));
}

void
handle_open_outbound(lua_State *L, struct hooks *hooks)
{
	for (size_t i = 0; i < countof(kinds); i++) {
		luaL_newmetatable(L, kinds[i].type);
		lua_pushlightuserdata(L, hooks);
		lua_pushinteger(L, (lua_Integer)i);
		lua_newtable(L);
		for (unsigned m = 0; m < kinds[i].methods_n; m++)
			handle_put_function(L, hooks, kinds[i].methods[m].name, kinds[i].methods[m].func);
		lua_pushcclosure(L, l_get, 3);
		lua_setfield(L, -2, "__index");
		lua_pushlightuserdata(L, hooks);
		lua_pushinteger(L, (lua_Integer)i);
		lua_pushcclosure(L, l_set, 2);
		lua_setfield(L, -2, "__newindex");
		lua_pushboolean(L, 0);
		lua_setfield(L, -2, "__metatable");
		lua_pop(L, 1);
	}
}
