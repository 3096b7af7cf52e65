/*
 * A field is a row: its name, what reads it, what writes it. Methods are fields
 * that read as functions.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/handle.h"

#include <inttypes.h>

#include "mail/header.h"
#include "policy/lua_api.h"
#include "policy/setting.h"
#include "smtp/smtp_text.h"

#define NAMES_MAX 500
#define BYTES_PER_INSTRUCTION 32

struct handle {
	uint32_t slot, serial;
};

void
handle_push(lua_State *L, struct hooks *hooks, unsigned slot, const char *type)
{
	struct handle *handle = lua_newuserdata(L, sizeof(*handle));
	*handle = (struct handle){ slot, hooks->slots[slot].serial };
	luaL_getmetatable(L, type);
	lua_setmetatable(L, -2);
}

struct hooks *
handle_hooks(lua_State *L)
{
	return lua_touserdata(L, lua_upvalueindex(1));
}

struct hook_slot *
handle_slot(lua_State *L, int index, const char *type, const char *what)
{
	const struct handle *handle = luaL_checkudata(L, index, type);
	struct hook_slot *slot = &handle_hooks(L)->slots[handle->slot];
	if (!slot->used || slot->serial != handle->serial)
		luaL_error(L, "%s is gone", what);
	return slot;
}

unsigned
handle_slot_number(lua_State *L, int index)
{
	const struct handle *handle = lua_touserdata(L, index);
	return handle->slot;
}

void
handle_push_text(lua_State *L, const char *text)
{
	if (text && *text)
		lua_pushstring(L, text);
	else
		lua_pushnil(L);
}

void
handle_push_span(lua_State *L, struct span s)
{
	lua_pushlstring(L, s.n ? s.p : "", s.n);
}

int
handle_no_such_field(lua_State *L, const char *what, const char *const *words, unsigned n)
{
	const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "?";
	const char *near = setting_nearest(span_text(name), words, n);
	return luaL_error(L, "%s.%s: no such field%s%s%s", what, name, near ? " (" : "", near ? near : "", near ? "?)" : "");
}

static struct policy_message *
message_at(lua_State *L, int index)
{
	return handle_slot(L, index, HANDLE_MESSAGE, "message")->message;
}

/* ---- sessions ---- */

static const struct { const char *name; size_t offset; } session_fields[] = {
	{ "address", offsetof(struct policy_session, address) },
	{ "local_address", offsetof(struct policy_session, local_address) },
	{ "listener", offsetof(struct policy_session, listener) },
	{ "helo", offsetof(struct policy_session, helo) },
	{ "tls", offsetof(struct policy_session, tls) },
	{ "auth", offsetof(struct policy_session, auth) },
};

static int
l_session_get(lua_State *L)
{
	const struct policy_session *session = handle_slot(L, 1, HANDLE_SESSION, "session")->session;
	const char *words[countof(session_fields)];
	const char *name = luaL_checkstring(L, 2);
	for (size_t i = 0; i < countof(session_fields); i++) {
		words[i] = session_fields[i].name;
		if (strcmp(name, words[i]) != 0)
			continue;
		handle_push_text(L, *(const char *const *)((const char *)session + session_fields[i].offset));
		return 1;
	}
	return handle_no_such_field(L, "session", words, countof(words));
}

static int
l_session_set(lua_State *L)
{
	handle_slot(L, 1, HANDLE_SESSION, "session");
	return luaL_error(L, "session.%s: cannot be set", lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "?");
}

/* ---- a message's fields ---- */

static void get_sender(lua_State *L, struct policy_message *m)     { handle_push_span(L, m->sender); }
static void get_size(lua_State *L, struct policy_message *m)       { lua_pushnumber(L, (double)m->size_bytes); }
static void get_auth(lua_State *L, struct policy_message *m)       { handle_push_text(L, m->session->auth); }
static void get_source(lua_State *L, struct policy_message *m)     { handle_push_text(L, m->session->address); }
static void get_tls(lua_State *L, struct policy_message *m)        { handle_push_text(L, m->session->tls); }
static void get_helo(lua_State *L, struct policy_message *m)       { handle_push_text(L, m->session->helo); }
static void get_pool(lua_State *L, struct policy_message *m)       { handle_push_text(L, m->pool); }
static void get_vmta(lua_State *L, struct policy_message *m)       { handle_push_text(L, m->vmta); }
static void get_job(lua_State *L, struct policy_message *m)        { handle_push_text(L, m->job); }
static void get_envid(lua_State *L, struct policy_message *m)      { handle_push_text(L, m->envid); }
static void get_priority(lua_State *L, struct policy_message *m)   { lua_pushinteger(L, m->priority); }

static void
get_id(lua_State *L, struct policy_message *m)
{
	char id[24];
	snprintf(id, sizeof(id), "%" PRIu64, m->id);
	lua_pushstring(L, id);
}

static void
get_recipients(lua_State *L, struct policy_message *m)
{
	lua_createtable(L, (int)m->recipients_n, 0);
	for (unsigned i = 0; i < m->recipients_n; i++) {
		handle_push_span(L, m->recipients[i]);
		lua_rawseti(L, -2, (int)i + 1);
	}
}

static void
get_from_domain(lua_State *L, struct policy_message *m)
{
	char domain[256];
	header_from_domain(buf_span(m->headers), domain);
	handle_push_text(L, domain);
}

static void
get_session(lua_State *L, struct policy_message *m)
{
	handle_push(L, handle_hooks(L), handle_slot_number(L, 1), HANDLE_SESSION);
}

static void
set_text(lua_State *L, const char *field, char *to, size_t size)
{
	if (lua_isnil(L, 3)) {
		to[0] = '\0';
		return;
	}
	size_t n = 0;
	const char *text = lua_type(L, 3) == LUA_TSTRING ? lua_tolstring(L, 3, &n) : NULL;
	if (!text)
		luaL_error(L, "msg.%s: a %s will not do: write a text, or nil", field, luaL_typename(L, 3));
	if (n >= size)
		luaL_error(L, "msg.%s: %d bytes are too long: at most %d", field, (int)n, (int)size - 1);
	for (size_t i = 0; i < n; i++)
		if (smtp_text_control(span_make(text + i, n - i)) > 0)
			luaL_error(L, "msg.%s: has a control character in it", field);
	memcpy(to, text, n + 1);
}

static const char *
nearest_pool(const struct ruleset *ruleset, struct span name)
{
	const char *words[NAMES_MAX];
	unsigned n = 0;
	for (unsigned i = 0; i < ruleset->pools_n && n < NAMES_MAX; i++)
		words[n++] = ruleset->pools[i]->name;
	return setting_nearest(name, words, n);
}

static const char *
nearest_vmta(const struct ruleset *ruleset, struct span name)
{
	const char *words[NAMES_MAX];
	unsigned n = 0;
	for (unsigned i = 0; i < ruleset->vmtas_n && n < NAMES_MAX; i++)
		words[n++] = ruleset->vmtas[i]->name;
	return setting_nearest(name, words, n);
}

/* What stood there stays if the name is not declared: the hook errs, and nobody chose. */
static void
choose(lua_State *L, struct policy_message *m, bool pool)
{
	const struct ruleset *ruleset = handle_hooks(L)->ruleset;
	char name[sizeof(m->pool)];
	set_text(L, pool ? "pool" : "vmta", name, sizeof(name));
	struct span key = span_text(name);
	bool is_pool = ruleset_pool(ruleset, key) != NULL, is_vmta = ruleset_vmta(ruleset, key) != NULL;
	if (name[0] && !(pool ? is_pool : is_vmta)) {
		const char *near = pool ? nearest_pool(ruleset, key) : nearest_vmta(ruleset, key);
		if (is_pool || is_vmta)
			luaL_error(L, "msg.%s: \"%s\" is a %s: write msg.%s", pool ? "pool" : "vmta", name, is_pool ? "pool" : "virtual MTA",
				   is_pool ? "pool" : "vmta");
		luaL_error(L, "msg.%s: \"%s\" is not declared%s%s%s", pool ? "pool" : "vmta", name, near ? " (" : "", near ? near : "",
			   near ? "?)" : "");
	}
	memcpy(pool ? m->pool : m->vmta, name, sizeof(name));
	if (name[0])
		(pool ? m->vmta : m->pool)[0] = '\0';
}

static void set_pool(lua_State *L, struct policy_message *m)  { choose(L, m, true); }
static void set_vmta(lua_State *L, struct policy_message *m)  { choose(L, m, false); }
static void set_job(lua_State *L, struct policy_message *m)   { set_text(L, "job", m->job, sizeof(m->job)); }
static void set_envid(lua_State *L, struct policy_message *m) { set_text(L, "envid", m->envid, sizeof(m->envid)); }

static void
set_priority(lua_State *L, struct policy_message *m)
{
	double priority = lua_type(L, 3) == LUA_TNUMBER ? lua_tonumber(L, 3) : -1;
	if (!(priority >= 0 && priority <= 100) || priority != (double)(int)priority)
		luaL_error(L, "msg.priority: write a whole number from 0 to 100");
	m->priority = (uint8_t)priority;
}

static const struct message_field {
	const char *name;
	void (*get)(lua_State *L, struct policy_message *message);
	void (*set)(lua_State *L, struct policy_message *message);     /* NULL: cannot be set */
} message_fields[] = {
	{ "sender", get_sender, NULL },
	{ "recipients", get_recipients, NULL },
	{ "size", get_size, NULL },
	{ "auth", get_auth, NULL },
	{ "source", get_source, NULL },
	{ "tls", get_tls, NULL },
	{ "helo", get_helo, NULL },
	{ "from_domain", get_from_domain, NULL },
	{ "id", get_id, NULL },
	{ "pool", get_pool, set_pool },
	{ "vmta", get_vmta, set_vmta },
	{ "job", get_job, set_job },
	{ "priority", get_priority, set_priority },
	{ "envid", get_envid, set_envid },
	{ "session", get_session, NULL },
};

/* ---- a message's methods ---- */

static struct span
check_span(lua_State *L, int index)
{
	size_t n;
	const char *p = luaL_checklstring(L, index, &n);
	return span_make(p, n);
}

static void
charge_block(lua_State *L, const struct policy_message *m)
{
	sandbox_charge(L, 1 + buf_len(m->headers) / BYTES_PER_INSTRUCTION);
}

static void
push_unfolded(lua_State *L, struct span value)
{
	struct buf *scratch = &handle_hooks(L)->scratch;    /* not one of our own: pushing may raise */
	buf_clear(scratch);
	header_unfold(value, scratch);
	handle_push_span(L, buf_span(scratch));
}

static int
l_header(lua_State *L)
{
	const struct policy_message *m = message_at(L, 1);
	struct header_field field;
	struct span name = check_span(L, 2);
	charge_block(L, m);
	if (!header_find(buf_span(m->headers), name, &field))
		return 0;
	push_unfolded(L, field.value);
	return 1;
}

static int
l_headers(lua_State *L)
{
	const struct policy_message *m = message_at(L, 1);
	struct header_field field;
	struct span name = check_span(L, 2);
	int n = 0;
	charge_block(L, m);
	lua_newtable(L);
	for (size_t at = 0; header_next(buf_span(m->headers), &at, &field);) {
		if (!span_eq_nocase(field.name, name))
			continue;
		push_unfolded(L, field.value);
		lua_rawseti(L, -2, ++n);
	}
	return 1;
}

static int
l_add_header(lua_State *L)
{
	struct policy_message *m = message_at(L, 1);
	struct err err = { 0 };
	charge_block(L, m);
	if (!header_add(m->headers, check_span(L, 2), check_span(L, 3), &err))
		return luaL_error(L, "msg:add_header: %s", err.text);
	return 0;
}

static int
l_remove_header(lua_State *L)
{
	struct policy_message *m = message_at(L, 1);
	charge_block(L, m);
	lua_pushinteger(L, header_remove(m->headers, check_span(L, 2)));
	return 1;
}

static int
l_set_header(lua_State *L)
{
	struct policy_message *m = message_at(L, 1);
	struct err err = { 0 };
	charge_block(L, m);
	if (!header_replace(m->headers, check_span(L, 2), check_span(L, 3), &err))
		return luaL_error(L, "msg:set_header: %s", err.text);
	return 0;
}

static int
l_sign(lua_State *L)
{
	return luaL_error(L, "msg:sign is not there yet");
}

static const luaL_Reg message_methods[] = {
	{ "header", l_header }, { "headers", l_headers }, { "add_header", l_add_header }, { "remove_header", l_remove_header },
	{ "set_header", l_set_header }, { "replace_header", l_set_header }, { "sign", l_sign },
};

static int
no_such_message_field(lua_State *L)
{
	const char *words[countof(message_fields) + countof(message_methods)];
	unsigned n = 0;
	for (size_t i = 0; i < countof(message_fields); i++)
		words[n++] = message_fields[i].name;
	for (size_t i = 0; i < countof(message_methods); i++)
		words[n++] = message_methods[i].name;
	return handle_no_such_field(L, "msg", words, n);
}

/* Upvalue 2: the methods. */
static int
l_message_get(lua_State *L)
{
	struct policy_message *m = message_at(L, 1);
	const char *name = luaL_checkstring(L, 2);
	for (size_t i = 0; i < countof(message_fields); i++) {
		if (strcmp(name, message_fields[i].name) != 0)
			continue;
		message_fields[i].get(L, m);
		return 1;
	}
	lua_getfield(L, lua_upvalueindex(2), name);
	return lua_isnil(L, -1) ? no_such_message_field(L) : 1;
}

static int
l_message_set(lua_State *L)
{
	struct policy_message *m = message_at(L, 1);
	const char *name = luaL_checkstring(L, 2);
	for (size_t i = 0; i < countof(message_fields); i++) {
		if (strcmp(name, message_fields[i].name) != 0)
			continue;
		if (!message_fields[i].set)
			return luaL_error(L, "msg.%s: cannot be set", name);
		message_fields[i].set(L, m);
		return 0;
	}
	return no_such_message_field(L);
}

void
handle_put_function(lua_State *L, struct hooks *hooks, const char *name, lua_CFunction fn)
{
	lua_pushlightuserdata(L, hooks);
	lua_pushcclosure(L, fn, 1);
	lua_setfield(L, -2, name);
}

void
handle_open(lua_State *L, struct hooks *hooks)
{
	luaL_newmetatable(L, HANDLE_SESSION);
	handle_put_function(L, hooks, "__index", l_session_get);
	handle_put_function(L, hooks, "__newindex", l_session_set);
	lua_pushboolean(L, 0);
	lua_setfield(L, -2, "__metatable");

	luaL_newmetatable(L, HANDLE_MESSAGE);
	handle_put_function(L, hooks, "__newindex", l_message_set);
	lua_pushlightuserdata(L, hooks);
	lua_newtable(L);
	for (size_t i = 0; i < countof(message_methods); i++)
		handle_put_function(L, hooks, message_methods[i].name, message_methods[i].func);
	lua_pushcclosure(L, l_message_get, 2);
	lua_setfield(L, -2, "__index");
	lua_pushboolean(L, 0);
	lua_setfield(L, -2, "__metatable");
	lua_pop(L, 2);
	handle_open_outbound(L, hooks);
}

unsigned
handle_names(const char **names, unsigned max)
{
	unsigned n = 0;
	for (size_t i = 0; i < countof(message_fields) && n < max; i++)
		names[n++] = message_fields[i].name;
	for (size_t i = 0; i < countof(message_methods) && n < max; i++)
		names[n++] = message_methods[i].name;
	for (size_t i = 0; i < countof(session_fields) && n < max; i++)
		names[n++] = session_fields[i].name;
	return n;
}
