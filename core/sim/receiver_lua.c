/*
 * receiver_lua - the receivers of a world, for Lua: what they answer, and what
 * they saw.
 *
 * A receiver lives as long as its world, and keeps it alive in Lua. A rule's
 * functions are called while the world runs, with a table for the event; what
 * one raises stops the run (world_fail()).
 */
/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "sim/receiver.h"
#include "sim/world_lua_own.h"

#define RECEIVER_META "sluice.receiver"
#define US(seconds)   ((int64_t)((seconds) * 1e6 + 0.5))

struct lua_receiver {
	struct lua_world *lw;
	struct receiver  *receiver;
};

struct lua_rule {
	struct lua_world *lw;
	int fn, when;                   /* references; LUA_NOREF: none */
};

static struct receiver *
l_receiver(lua_State *L)
{
	struct lua_receiver *lr = luaL_checkudata(L, 1, RECEIVER_META);

	if (lr->lw->world == NULL)
		luaL_error(L, "the world is over: it lasts as long as its test");
	return lr->receiver;
}

/* receiver(world, host) */
static int
l_get(lua_State *L)
{
	struct lua_world *lw = l_world(L);
	struct err err = { 0 };
	struct receiver *receiver = world_receiver(lw->world, luaL_checkstring(L, 2), &err);
	struct lua_receiver *lr;

	if (receiver == NULL)
		return l_refused(L, &err, false);
	lr = lua_newuserdata(L, sizeof *lr);
	*lr = (struct lua_receiver){ lw, receiver };
	lua_createtable(L, 1, 0);
	lua_pushvalue(L, 1);
	lua_rawseti(L, -2, 1);
	lua_setfenv(L, -2);
	luaL_getmetatable(L, RECEIVER_META);
	lua_setmetatable(L, -2);
	return 1;
}

/* ---- rules ---- */

static void
push_event(lua_State *L, const struct answer_event *event)
{
	struct span verb = event->line;
	size_t blank = span_find(verb, ' ');

	lua_createtable(L, 0, 5);
	if (event->stage == ANSWER_CONNECT || event->stage == ANSWER_END || blank == SIZE_MAX)
		lua_pushstring(L, answer_stage_name(event->stage));
	else
		lua_pushlstring(L, verb.p, blank);
	lua_setfield(L, -2, "verb");
	lua_pushlstring(L, event->line.n > 0 ? event->line.p : "", event->line.n);
	lua_setfield(L, -2, "line");
	lua_pushnumber(L, event->at_s);
	lua_setfield(L, -2, "at");
	lua_pushstring(L, event->source);
	lua_setfield(L, -2, "source");
	lua_pushnumber(L, (double)event->connection);
	lua_setfield(L, -2, "connection");
}

/* Leaves one result. */
static bool
ask(const struct lua_rule *rule, int fn, const struct answer_event *event, struct err *err)
{
	lua_State *L = rule->lw->L;

	if (L == NULL)
		return err_set(err, ERR_PERM, "a receiver's function was asked while nothing runs");
	lua_rawgeti(L, LUA_REGISTRYINDEX, fn);
	push_event(L, event);
	return l_call_back(rule->lw, 1, 1, err);
}

static enum answer_verdict
rule_fn(void *ctx, const struct answer_event *event, struct answer *out, struct err *err)
{
	const struct lua_rule *rule = ctx;
	lua_State *L = rule->lw->L;
	enum answer_verdict verdict = ANSWER_GIVEN;
	struct span text;

	if (!ask(rule, rule->fn, event, err))
		return ANSWER_FAILED;
	if (lua_isnil(L, -1)) {
		verdict = ANSWER_PASSED_ON;
	} else {
		text.p = lua_tolstring(L, -1, &text.n);
		if (text.p == NULL || !answer_parse(text, out)) {
			err_set(err, ERR_PERM, "answer: fn: no reply: %s (as in \"450 4.2.1 busy\", or nil)",
				text.p != NULL ? text.p : luaL_typename(L, -1));
			verdict = ANSWER_FAILED;
		}
	}
	lua_pop(L, 1);
	return verdict;
}

static enum answer_verdict
rule_when(void *ctx, const struct answer_event *event, struct err *err)
{
	const struct lua_rule *rule = ctx;
	bool yes;

	if (!ask(rule, rule->when, event, err))
		return ANSWER_FAILED;
	yes = lua_toboolean(rule->lw->L, -1) != 0;
	lua_pop(rule->lw->L, 1);
	return yes ? ANSWER_GIVEN : ANSWER_PASSED_ON;
}

/* The state may be closing, and then the references go with it. */
static void
rule_release(void *ctx)
{
	struct lua_rule *rule = ctx;

	if (rule->lw->L != NULL) {
		luaL_unref(rule->lw->L, LUA_REGISTRYINDEX, rule->fn);
		luaL_unref(rule->lw->L, LUA_REGISTRYINDEX, rule->when);
	}
	free(rule);
}

static int
take_field_function(lua_State *L, const char *name)
{
	int ref = LUA_NOREF;

	lua_getfield(L, 2, name);
	if (lua_isfunction(L, -1))
		ref = l_take_function(L, -1);
	lua_pop(L, 1);
	return ref;
}

static uint32_t
take_count(lua_State *L, const char *name)
{
	uint32_t n;

	lua_getfield(L, 2, name);
	n = (uint32_t)lua_tonumber(L, -1);
	lua_pop(L, 1);
	return n;
}

static bool
take_fixed(lua_State *L, struct answer_rule *rule, struct err *err)
{
	struct span text;
	bool ok = true;

	lua_getfield(L, 2, "with");
	text.p = lua_tolstring(L, -1, &text.n);
	if (text.p != NULL && !answer_parse(text, &rule->fixed))
		ok = err_set(err, ERR_PERM, "answer: with: no reply: \"%.100s\" (as in \"450 4.2.1 busy\")", text.p);
	lua_pop(L, 1);
	return ok;
}

/* answer(receiver, rule) */
static int
l_answer(lua_State *L)
{
	struct receiver *receiver = l_receiver(L);
	struct lua_receiver *lr = lua_touserdata(L, 1);
	struct answer_rule rule = { .times = take_count(L, "times"), .every = take_count(L, "every"), .release = rule_release };
	struct lua_rule *ctx;
	struct err err = { 0 };
	bool ok;

	lua_getfield(L, 2, "to");
	if (!answer_stage_parse(span_text(lua_tostring(L, -1)), &rule.stage))
		return luaL_error(L, "answer: to");
	lua_pop(L, 1);
	if (!take_fixed(L, &rule, &err))
		return l_refused(L, &err, false);
	ctx = mem_alloc(sizeof *ctx);
	*ctx = (struct lua_rule){ lr->lw, take_field_function(L, "fn"), take_field_function(L, "when") };
	rule.ctx = ctx;
	rule.fn = ctx->fn != LUA_NOREF ? rule_fn : NULL;
	rule.when = ctx->when != LUA_NOREF ? rule_when : NULL;
	ok = answers_add(receiver_answers(receiver), &rule, &err);
	if (!ok)
		return l_refused(L, &err, false);
	lua_pushboolean(L, true);
	return 1;
}

/* ---- settings ---- */

/* set(receiver, name, value) */
static int
l_set(lua_State *L)
{
	struct receiver *receiver = l_receiver(L);
	const char *name = luaL_checkstring(L, 2);

	if (strcmp(name, "latency") == 0) {
		/* Some time has to pass, or everything would fall into one instant. */
		receiver_set_latency(receiver, max_i64(US(lua_tonumber(L, 3)), 2));
	} else if (strcmp(name, "max_connections") == 0) {
		receiver_set_max_connections(receiver, (uint32_t)lua_tonumber(L, 3));
	} else if (strcmp(name, "rate") == 0) {
		struct rate_spec rate = { 0 };

		lua_rawgeti(L, 3, 1);
		lua_rawgeti(L, 3, 2);
		rate.count = (uint32_t)lua_tonumber(L, -2);
		rate.window_us = US(lua_tonumber(L, -1));
		receiver_set_rate(receiver, &rate);
	} else if (strcmp(name, "starttls") == 0) {
		receiver_set_starttls(receiver, lua_toboolean(L, 3) != 0);
	} else {
		receiver_set_tls_valid(receiver, lua_toboolean(L, 3) != 0);
	}
	return 0;
}

static int
l_greylist(lua_State *L)
{
	receiver_greylist(l_receiver(L), US(luaL_checknumber(L, 2)));
	return 0;
}

static int
l_down(lua_State *L)
{
	receiver_down(l_receiver(L), lua_toboolean(L, 2) ? RECEIVER_SILENT : RECEIVER_REFUSES);
	return 0;
}

static int
l_up(lua_State *L)
{
	receiver_up(l_receiver(L));
	return 0;
}

/* ---- what it saw ---- */

/* seen(receiver, what, from, to): to < 0 is the end of time */
static int
l_seen(lua_State *L)
{
	const struct sightings *seen = receiver_sightings(l_receiver(L));
	const char *what = luaL_checkstring(L, 2);
	int64_t from = US(luaL_checknumber(L, 3));
	int64_t to = luaL_checknumber(L, 4) < 0 ? INT64_MAX / 4 : US(lua_tonumber(L, 4));

	if (strcmp(what, "connections") == 0)
		lua_pushnumber(L, (double)sightings_connections(seen, from, to));
	else if (strcmp(what, "messages") == 0)
		lua_pushnumber(L, (double)sightings_recipients(seen, from, to));
	else
		lua_pushnumber(L, (double)sightings_peak(seen, from, to));
	return 1;
}

/* open(receiver, source): source nil is everybody */
static int
l_open(lua_State *L)
{
	struct receiver *receiver = l_receiver(L);

	lua_pushnumber(L, receiver_open_from(receiver, luaL_optstring(L, 2, NULL)));
	return 1;
}

static int
l_connected_at(lua_State *L)
{
	const struct instants *opened = &receiver_sightings(l_receiver(L))->opened;

	lua_createtable(L, (int)opened->n, 0);
	for (size_t i = 0; i < opened->n; i++) {
		lua_pushnumber(L, (double)opened->at[i] / (double)US_PER_S);
		lua_rawseti(L, -2, (int)i + 1);
	}
	return 1;
}

static int
l_rate_in_any(lua_State *L)
{
	lua_pushnumber(L, (double)sightings_rate(receiver_sightings(l_receiver(L)), US(luaL_checknumber(L, 2))));
	return 1;
}

static const luaL_Reg functions[] = {
	{ "receiver", l_get }, { "answer", l_answer }, { "set", l_set }, { "greylist", l_greylist }, { "down", l_down },
	{ "up", l_up }, { "open", l_open }, { "seen", l_seen }, { "connected_at", l_connected_at }, { "rate_in_any", l_rate_in_any },
	{ NULL, NULL },
};

void
l_add_receiver(lua_State *L)
{
	luaL_newmetatable(L, RECEIVER_META);
	lua_pop(L, 1);
	luaL_register(L, NULL, functions);
}
