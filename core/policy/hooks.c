/*
 * A hook is a row here: its name, what it is given, and that it answers with
 * nothing or a reject. All inbound hooks fail the same way: 451, so that mail
 * waits at its sender until the policy is mended.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/hooks.h"

#include <lauxlib.h>
#include <stdio.h>

#include "policy/handle.h"

#define DECISION_TYPE "sluice.decision"
#define SCRATCH_MAX   (16u << 20)

const char *const hooks_names[HOOKS_N] = {
	[HOOK_CONNECT] = "on.connect", [HOOK_MAIL] = "on.mail", [HOOK_RCPT] = "on.rcpt", [HOOK_MESSAGE] = "on.message",
};

static const char *const arguments[HOOKS_N] = {
	[HOOK_CONNECT] = "session", [HOOK_MAIL] = "session, sender", [HOOK_RCPT] = "session, recipient", [HOOK_MESSAGE] = "msg",
};

static const char *const later_names[] = { "on.reply", "on.delivered", "on.bounced", "on.every" };

struct decision {
	unsigned code;
	char     text[sizeof(((struct policy_decision *)0)->text)];
};

void
hooks_init(struct hooks *hooks, struct sandbox *sandbox, struct log *log)
{
	*hooks = (struct hooks){ .sandbox = sandbox, .log = log };
	buf_init(&hooks->scratch, SCRATCH_MAX);
	for (unsigned i = 0; i < HOOK_SLOTS; i++)
		hooks->slots[i].serial = 1;
}

void
hooks_fini(struct hooks *hooks)
{
	buf_fini(&hooks->scratch);
}

/* "552 5.3.4 too big for you" */
static bool
parse_reject(struct span text, struct decision *out)
{
	uint64_t code;
	if (text.n < 5 || !span_u64(span_first(text, 3), 599, &code) || code < 400 || text.p[3] != ' ')
		return false;
	struct span rest = span_trim(span_from(text, 4));
	if (rest.n == 0 || rest.n >= sizeof(out->text))
		return false;
	for (size_t i = 0; i < rest.n; i++)
		if ((unsigned char)rest.p[i] < ' ' || rest.p[i] == 0x7f)
			return false;
	out->code = (unsigned)code;
	memcpy(out->text, rest.p, rest.n);
	out->text[rest.n] = '\0';
	return true;
}

static int
l_reject(lua_State *L)
{
	struct hooks *hooks = lua_touserdata(L, lua_upvalueindex(1));
	struct decision decision = { 0 };
	size_t n;
	const char *text = lua_type(L, 1) == LUA_TSTRING ? lua_tolstring(L, 1, &n) : NULL;
	if (!text || !parse_reject(span_make(text, n), &decision))
		return luaL_error(L, "reject: write a code from 400 to 599 and a line of text, such as reject \"552 5.3.4 too big for you\"");
	struct decision *kept = lua_newuserdata(L, sizeof(*kept));
	*kept = decision;
	luaL_getmetatable(L, DECISION_TYPE);
	lua_setmetatable(L, -2);
	hooks->rejects++;
	return 1;
}

static int
l_on(lua_State *L)
{
	struct loader *loader = loader_of(L);
	enum policy_hook hook = (enum policy_hook)lua_tointeger(L, lua_upvalueindex(2));
	struct hooks *hooks = lua_touserdata(L, lua_upvalueindex(3));
	if (!loader)
		return luaL_error(L, "%s: a policy declares when it is loaded, not later", hooks_names[hook]);
	struct where at = loader_here(loader, hooks_names[hook]);
	lua_settop(L, 1);
	if (!lua_isfunction(L, 1)) {
		loader_error(loader, &at, "write %s(function(%s) … end)", hooks_names[hook], arguments[hook]);
	} else if (hooks->wheres[hook].file) {
		loader_error(loader, &at, "declared twice; first at %s:%d", hooks->wheres[hook].file, hooks->wheres[hook].line);
	} else {
		hooks->wheres[hook] = at;
		hooks->refs[hook] = luaL_ref(L, LUA_REGISTRYINDEX);
	}
	return 0;
}

static int
l_on_later(lua_State *L)
{
	struct loader *loader = loader_of(L);
	const char *name = lua_tostring(L, lua_upvalueindex(2));
	if (!loader)
		return luaL_error(L, "%s is not there yet", name);
	struct where at = loader_here(loader, NULL);
	loader_error(loader, &at, "%s is not there yet", name);
	return 0;
}

static int
l_nothing(lua_State *L)
{
	return 0;
}

static int
l_on_unknown(lua_State *L)
{
	struct loader *loader = loader_of(L);
	const char *words[HOOKS_N + countof(later_names)];
	unsigned n = 0;
	char name[100];
	snprintf(name, sizeof(name), "on.%s", luaL_checkstring(L, 2));
	for (size_t i = 0; i < HOOKS_N; i++)
		words[n++] = hooks_names[i];
	for (size_t i = 0; i < countof(later_names); i++)
		words[n++] = later_names[i];
	const char *near = setting_nearest(span_text(name), words, n);
	if (!loader)
		return luaL_error(L, "%s: no such hook", name);
	struct where at = loader_here(loader, NULL);
	loader_error(loader, &at, "%s: no such hook%s%s%s", name, near ? " (" : "", near ? near : "", near ? "?)" : "");
	lua_pushcfunction(L, l_nothing);
	return 1;
}

void
hooks_export(struct hooks *hooks, struct loader *loader)
{
	lua_State *L = loader->L;
	handle_open(L, hooks);
	luaL_newmetatable(L, DECISION_TYPE);
	lua_pushboolean(L, 0);
	lua_setfield(L, -2, "__metatable");
	lua_pop(L, 1);
	lua_pushlightuserdata(L, hooks);
	lua_pushcclosure(L, l_reject, 1);
	sandbox_export(L, "reject");

	lua_newtable(L);
	for (unsigned i = 0; i < HOOKS_N; i++) {
		lua_pushinteger(L, i);
		lua_pushlightuserdata(L, hooks);
		loader_push_function(loader, l_on, 2);
		lua_setfield(L, -2, hooks_names[i] + strlen("on."));
	}
	for (size_t i = 0; i < countof(later_names); i++) {
		lua_pushstring(L, later_names[i]);
		loader_push_function(loader, l_on_later, 1);
		lua_setfield(L, -2, later_names[i] + strlen("on."));
	}
	lua_createtable(L, 0, 1);
	loader_push_function(loader, l_on_unknown, 0);
	lua_setfield(L, -2, "__index");
	lua_setmetatable(L, -2);
	sandbox_protect(L);
	sandbox_export(L, "on");
}

void
hooks_loaded(struct hooks *hooks, const struct ruleset *ruleset, const struct sandbox_budget *budget)
{
	hooks->ruleset = ruleset;
	hooks->budget = *budget;
	sandbox_tidy(hooks->sandbox);
	hooks->held = sandbox_bytes(hooks->sandbox);
}

static unsigned
take_slot(struct hooks *hooks, const struct policy_session *session, struct policy_message *message)
{
	unsigned i = 0;
	while (i < HOOK_SLOTS && hooks->slots[i].used)
		i++;
	check(i < HOOK_SLOTS);
	hooks->slots[i].used = true;
	hooks->slots[i].session = session;
	hooks->slots[i].message = message;
	return i;
}

static void
give_slot(struct hooks *hooks, unsigned slot)
{
	hooks->slots[slot] = (struct hook_slot){ .serial = hooks->slots[slot].serial + 1 };
}

static void
fail_closed(struct hooks *hooks, enum policy_hook hook, const char *file, int line, const char *text, const char *trace,
	    struct policy_decision *out)
{
	const char *refused = "4.3.0 policy error, try again later";
	*out = (struct policy_decision){ .refused = true, .code = 451 };
	snprintf(out->text, sizeof(out->text), "%s", refused);
	if (hooks->log)
		log_error(hooks->log, "%s:%d: %s: %s%s%s", file, line, hooks_names[hook], text, trace[0] ? "; " : "", trace);
}

/* The answer is at the top. */
static void
take_answer(struct hooks *hooks, enum policy_hook hook, struct policy_decision *out)
{
	lua_State *L = sandbox_lua(hooks->sandbox);
	const struct where *where = &hooks->wheres[hook];
	const struct decision *decision = NULL;
	if (lua_type(L, -1) == LUA_TUSERDATA && lua_getmetatable(L, -1)) {
		luaL_getmetatable(L, DECISION_TYPE);
		decision = lua_rawequal(L, -1, -2) ? lua_touserdata(L, -3) : NULL;
		lua_pop(L, 2);
	}
	char text[120];
	if (decision) {
		*out = (struct policy_decision){ .refused = true, .code = decision->code };
		memcpy(out->text, decision->text, sizeof(out->text));
	} else if (!lua_isnil(L, -1)) {
		snprintf(text, sizeof(text), "returned a %s: return nothing, or reject \"…\"", luaL_typename(L, -1));
		fail_closed(hooks, hook, where->file, where->line, text, "", out);
	} else if (hooks->rejects) {
		fail_closed(hooks, hook, where->file, where->line, "reject was called and not returned: write return reject \"…\"", "", out);
	}
}

void
hooks_call(struct hooks *hooks, enum policy_hook hook, const struct policy_session *session, struct policy_message *message,
	   const struct span *address, struct policy_decision *out)
{
	*out = (struct policy_decision){ .refused = false };
	if (!hooks->wheres[hook].file)
		return;
	lua_State *L = sandbox_lua(hooks->sandbox);
	struct sandbox_budget budget = { hooks->budget.instructions, hooks->held + hooks->budget.bytes };
	struct sandbox_failure failure;
	unsigned slot = take_slot(hooks, session, message);
	lua_rawgeti(L, LUA_REGISTRYINDEX, hooks->refs[hook]);
	if (message)
		handle_push_message(L, hooks, slot);
	else
		handle_push_session(L, hooks, slot);
	if (address)
		lua_pushlstring(L, address->n ? address->p : "", address->n);
	hooks->rejects = 0;
	if (sandbox_call(hooks->sandbox, 1 + (address != NULL), 1, &budget, &failure)) {
		take_answer(hooks, hook, out);
		lua_pop(L, 1);
	} else {
		bool placed = failure.source[0] == '@';
		fail_closed(hooks, hook, placed ? failure.source + 1 : hooks->wheres[hook].file,
			    placed ? failure.line : hooks->wheres[hook].line, failure.text, failure.trace, out);
	}
	give_slot(hooks, slot);
	/* What this call left is not to be held against the next. */
	if (sandbox_bytes(hooks->sandbox) > hooks->held + hooks->budget.bytes / 4)
		sandbox_tidy(hooks->sandbox);
}
