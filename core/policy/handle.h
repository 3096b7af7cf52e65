/*
 * handle - msg and session as a script holds them: a slot and a serial, never a
 * pointer, so one kept beyond its call is an error and no more.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "policy/hooks.h"

void handle_open(lua_State *L, struct hooks *hooks);                    /* the metatables */
void handle_push_message(lua_State *L, struct hooks *hooks, unsigned slot);
void handle_push_session(lua_State *L, struct hooks *hooks, unsigned slot);

/* Names of msg's fields and methods, then of session's; how many. */
unsigned handle_names(const char **names, unsigned max);
