/*
 * world_lua_own - what the files of the worlds' Lua face share and nobody else
 * includes.
 *
 * sluice/sim.lua has checked every argument before one of these functions is
 * called, and holds the only way to them; what they get in wrong kind is a
 * mistake of ours. What can go wrong in a world comes back as nil, a text, and
 * whether the text has a place of its own.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "policy/lua_api.h"
#include "sim/world.h"

/* A world as Lua holds it. */
struct lua_world {
	struct world *world;            /* NULL: freed */
	lua_State    *L;                /* of the call under way, for what is called back; NULL: none */
	int           caught;           /* what a function of the spec raised in it, as a reference; LUA_NOREF: nothing */
};

struct lua_world *l_world(lua_State *L);                /* the first argument */
/* Around what lets time pass, in which functions of the spec are called. */
struct lua_world *l_enter(lua_State *L);
/* True, or what went wrong: what a function of the spec raised goes on as it is; our own text has no place. */
int l_leave(struct lua_world *lw, bool ok, const struct err *err);
int l_refused(lua_State *L, const struct err *err, bool placed);
/* A function of the spec, and what makes it work, as a reference; 0 on the stack afterwards. */
int l_take_function(lua_State *L, int index);
/* Calls what lies below its arguments on lw->L. False: it failed, *err says how, the stack is as it was before the function. */
bool l_call_back(struct lua_world *lw, int args_n, int results_n, struct err *err);

/* receiver_lua.c */
void l_add_receiver(lua_State *L);      /* its functions, to the table at the top */

/* world_view_lua.c */
void l_add_view(lua_State *L);

/* coverage_lua.c */
void l_add_coverage(lua_State *L);
struct coverage *l_coverage(lua_State *L);      /* the state's one; NULL: nobody asks */

/* value_lua.c */
void l_add_values(lua_State *L);

/* mail_lua.c */
void l_add_mail(lua_State *L);
