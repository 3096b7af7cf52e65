/*
 * A hook is a row here: its name and what it is given. Inbound ones answer with
 * nothing or a reject, and all fail the same way: 451, so that mail waits at its
 * sender until the policy is mended. Outbound ones have nothing to answer, and one
 * that fails had no opinion.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/hooks.h"

#include <stdio.h>

#include "policy/coverage.h"
#include "policy/grow.h"
#include "policy/handle.h"
#include "policy/lua_api.h"
#include "policy/value.h"

#define DECISION_TYPE "sluice.decision"
#define EVERY         "on.every"
#define SCRATCH_MAX   (16u << 20)

const char *const hooks_names[HOOKS_N] = {
	[HOOK_CONNECT] = "on.connect", [HOOK_MAIL] = "on.mail", [HOOK_RCPT] = "on.rcpt", [HOOK_MESSAGE] = "on.message",
	[HOOK_REPLY] = "on.reply", [HOOK_DELIVERED] = "on.delivered", [HOOK_BOUNCED] = "on.bounced",
};

static const char *const arguments[HOOKS_N] = {
	[HOOK_CONNECT] = "session", [HOOK_MAIL] = "session, sender", [HOOK_RCPT] = "session, recipient", [HOOK_MESSAGE] = "msg",
	[HOOK_REPLY] = "reply, queue", [HOOK_DELIVERED] = "attempt", [HOOK_BOUNCED] = "attempt",
};

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
	if (hooks->running.file && !hooks->may_reject)
		return luaL_error(L, "reject: there is nothing to refuse here: only on.connect, on.mail, on.rcpt and on.message may");
	struct decision *kept = lua_newuserdata(L, sizeof(*kept));
	*kept = decision;
	luaL_getmetatable(L, DECISION_TYPE);
	lua_setmetatable(L, -2);
	hooks->rejects++;
	return 1;
}

/* Takes the function at the top. */
static void
add_handler(struct loader *loader, struct hook_handler **handlers, unsigned *n, const struct where *at, int64_t every_us)
{
	struct arena *arena = &loader->ruleset->arena;
	*handlers = grow(arena, *handlers, *n, sizeof(**handlers));
	(*handlers)[(*n)++] = (struct hook_handler){ luaL_ref(loader->L, LUA_REGISTRYINDEX), *at, at->scope, every_us };
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
	if (!lua_isfunction(L, 1))
		loader_error(loader, &at, "write %s(function(%s) … end)", hooks_names[hook], arguments[hook]);
	else
		add_handler(loader, &hooks->handlers[hook], &hooks->handlers_n[hook], &at, 0);
	return 0;
}

static int
l_every(lua_State *L)
{
	struct loader *loader = loader_of(L);
	struct hooks *hooks = lua_touserdata(L, lua_upvalueindex(2));
	struct err err = { 0 };
	int64_t every_us;
	if (!loader)
		return luaL_error(L, EVERY ": a policy declares when it is loaded, not later");
	struct where at = loader_here(loader, EVERY);
	lua_settop(L, 2);
	if (!lua_isfunction(L, 2))
		loader_error(loader, &at, "write on.every(\"5m\", function() … end)");
	else if (!value_duration(L, 1, &every_us, &err))
		loader_error(loader, &at, "%s", err.text);
	else if (every_us < US_PER_S)
		loader_error(loader, &at, "more often than once a second: write at least \"1s\"");
	else
		add_handler(loader, &hooks->every, &hooks->every_n, &at, every_us);
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
	const char *words[HOOKS_N + 1];
	unsigned n = 0;
	char name[100];
	snprintf(name, sizeof(name), "on.%s", luaL_checkstring(L, 2));
	for (size_t i = 0; i < HOOKS_N; i++)
		words[n++] = hooks_names[i];
	words[n++] = EVERY;
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
	lua_pushlightuserdata(L, hooks);
	loader_push_function(loader, l_every, 1);
	lua_setfield(L, -2, &EVERY[strlen("on.")]);
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
take_slot(struct hooks *hooks, const struct hook_slot *about)
{
	unsigned i = 0;
	while (i < HOOK_SLOTS && hooks->slots[i].used)
		i++;
	check(i < HOOK_SLOTS);
	uint32_t serial = hooks->slots[i].serial;
	hooks->slots[i] = *about;
	hooks->slots[i].serial = serial;
	hooks->slots[i].used = true;
	return i;
}

static void
give_slot(struct hooks *hooks, unsigned slot)
{
	hooks->slots[slot] = (struct hook_slot){ .serial = hooks->slots[slot].serial + 1 };
}

static void
log_failure(struct hooks *hooks, const struct where *where, const char *name, const char *text, const char *trace)
{
	hooks->errors++;
	if (hooks->log)
		log_error(hooks->log, "%s:%d: %s: %s%s%s", where->file, where->line, name, text, trace[0] ? "; " : "", trace);
}

/* Calls what lies below its arguments; the answer is left at the top. False: logged, and nothing is left. */
static bool
call(struct hooks *hooks, const struct hook_handler *handler, int args_n, bool may_reject)
{
	struct sandbox_budget budget = { hooks->budget.instructions, hooks->held + hooks->budget.bytes };
	struct sandbox_failure failure;
	if (hooks->coverage)
		coverage_hook(hooks->coverage, &handler->where, handler->name);
	hooks->running = handler->where;
	hooks->may_reject = may_reject;
	hooks->rejects = 0;
	hooks->calls++;
	bool ok = sandbox_call(hooks->sandbox, args_n, 1, &budget, &failure);
	hooks->running = (struct where){ NULL, 0, NULL };
	if (ok)
		return true;
	bool placed = failure.source[0] == '@';
	struct where at = { placed ? failure.source + 1 : handler->where.file, placed ? failure.line : handler->where.line, NULL };
	log_failure(hooks, &at, handler->name, failure.text, failure.trace);
	return false;
}

/* What a call left is not to be held against the next. */
static void
tidy(struct hooks *hooks)
{
	if (sandbox_bytes(hooks->sandbox) > hooks->held + hooks->budget.bytes / 4)
		sandbox_tidy(hooks->sandbox);
}

static void
fail_closed(struct policy_decision *out)
{
	*out = (struct policy_decision){ .refused = true, .code = 451 };
	snprintf(out->text, sizeof(out->text), "4.3.0 policy error, try again later");
}

/* The answer is at the top. */
static void
take_answer(struct hooks *hooks, const struct hook_handler *handler, struct policy_decision *out)
{
	lua_State *L = sandbox_lua(hooks->sandbox);
	const struct decision *decision = NULL;
	if (lua_type(L, -1) == LUA_TUSERDATA && lua_getmetatable(L, -1)) {
		luaL_getmetatable(L, DECISION_TYPE);
		decision = lua_rawequal(L, -1, -2) ? lua_touserdata(L, -3) : NULL;
		lua_pop(L, 2);
	}
	char text[120] = "";
	if (decision) {
		*out = (struct policy_decision){ .refused = true, .code = decision->code };
		memcpy(out->text, decision->text, sizeof(out->text));
	} else if (!lua_isnil(L, -1)) {
		snprintf(text, sizeof(text), "returned a %s: return nothing, or reject \"…\"", luaL_typename(L, -1));
	} else if (hooks->rejects) {
		snprintf(text, sizeof(text), "reject was called and not returned: write return reject \"…\"");
	}
	if (!text[0])
		return;
	fail_closed(out);
	log_failure(hooks, &handler->where, handler->name, text, "");
}

void
hooks_ask(struct hooks *hooks, enum policy_hook hook, const struct policy_session *session, struct policy_message *message,
	  const struct span *address, struct policy_decision *out)
{
	*out = (struct policy_decision){ .refused = false };
	lua_State *L = sandbox_lua(hooks->sandbox);
	const struct hook_slot about = { .session = session, .message = message };
	for (unsigned i = 0; i < hooks->handlers_n[hook] && !out->refused; i++) {
		const struct hook_handler *handler = &hooks->handlers[hook][i];
		unsigned slot = take_slot(hooks, &about);
		lua_rawgeti(L, LUA_REGISTRYINDEX, handler->ref);
		handle_push(L, hooks, slot, message ? HANDLE_MESSAGE : HANDLE_SESSION);
		if (address)
			lua_pushlstring(L, address->n ? address->p : "", address->n);
		if (call(hooks, handler, 1 + (address != NULL), true)) {
			take_answer(hooks, handler, out);
			lua_pop(L, 1);
		} else {
			fail_closed(out);
		}
		give_slot(hooks, slot);
		tidy(hooks);
	}
}

void
hooks_tell(struct hooks *hooks, const struct hook_handler *handlers, unsigned n, unsigned gives, const struct hook_slot *about)
{
	static const char *const types[] = { HANDLE_REPLY, HANDLE_QUEUE, HANDLE_ATTEMPT };      /* in the order of HOOK_GIVES_… */
	lua_State *L = sandbox_lua(hooks->sandbox);
	for (unsigned i = 0; i < n; i++) {
		const struct hook_handler *handler = &handlers[i];
		unsigned slot = take_slot(hooks, about);
		int args_n = 0;
		char text[120];
		lua_rawgeti(L, LUA_REGISTRYINDEX, handler->ref);
		for (size_t type = 0; type < countof(types); type++) {
			if (!(gives >> type & 1))
				continue;
			handle_push(L, hooks, slot, types[type]);
			args_n++;
		}
		if (call(hooks, handler, args_n, false)) {
			snprintf(text, sizeof(text), "returned a %s: return nothing", luaL_typename(L, -1));
			if (!lua_isnil(L, -1))
				log_failure(hooks, &handler->where, handler->name, text, "");
			lua_pop(L, 1);
		}
		give_slot(hooks, slot);
		tidy(hooks);
	}
}
