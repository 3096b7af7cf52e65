/*
 * handle - what a hook is given, as a script holds it: a slot and a serial, never a
 * pointer, so one kept beyond its call is an error and no more.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "policy/hooks.h"

#define HANDLE_MESSAGE "sluice.message"
#define HANDLE_SESSION "sluice.session"
#define HANDLE_REPLY   "sluice.reply"
#define HANDLE_QUEUE   "sluice.queue"
#define HANDLE_ATTEMPT "sluice.attempt"

void handle_open(lua_State *L, struct hooks *hooks);                    /* the metatables */
void handle_open_outbound(lua_State *L, struct hooks *hooks);
void handle_push(lua_State *L, struct hooks *hooks, unsigned slot, const char *type);

/* For C functions whose first upvalue is the hooks: may raise. */
struct hooks *handle_hooks(lua_State *L);
struct hook_slot *handle_slot(lua_State *L, int index, const char *type, const char *what);
unsigned handle_slot_number(lua_State *L, int index);                   /* of a handle that was let in */
int handle_no_such_field(lua_State *L, const char *what, const char *const *words, unsigned n);
void handle_push_text(lua_State *L, const char *text);                  /* nil for NULL and "" */
void handle_push_span(lua_State *L, struct span s);
void handle_put_function(lua_State *L, struct hooks *hooks, const char *name, lua_CFunction fn);

/* Names of msg's fields and methods, then of session's; how many. */
unsigned handle_names(const char **names, unsigned max);
