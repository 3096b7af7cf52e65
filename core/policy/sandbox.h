/*
 * sandbox - a Lua state in which a script can neither reach out nor stay:
 * no files, no bytecode, no debug, library tables that cannot be changed,
 * and a budget of instructions, memory and the processor's time for each call.
 *
 * What a script did over its budget is raised again by pcall, xpcall and
 * coroutine.resume; work done in C (patterns, long strings) is charged too.
 * Equal calls give equal answers: time and random numbers come from the caller,
 * and pairs() has an order.
 *
 * Threads    One shard's.
 * Errors     sandbox_call() is the only door: outside of it nothing that raises
 *            may be called on the state.
 */
/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "net/clock.h"
#include "policy/lua_api.h"
#include "util/log.h"

struct sandbox;

struct sandbox_options {
	struct log         *log;        /* print() writes to it; NULL: nowhere */
	const struct clock *clock;      /* NULL: it is always 1970 */
	uint64_t            seed;
};

struct sandbox_budget {
	uint64_t instructions;          /* and a second, and one more for each ten million */
	uint64_t bytes;                 /* that the state may hold, not what a call adds */
};

struct sandbox_failure {
	char text[1000];                /* without the place */
	char source[500];               /* the chunk's name, "" where no chunk is to blame */
	int  line;
	char trace[2000];               /* on one line; "" where memory ran out too fast */
	bool over_budget;
};

struct sandbox *sandbox_new(const struct sandbox_options *options);
void sandbox_free(struct sandbox *sandbox);
lua_State *sandbox_lua(struct sandbox *sandbox);
struct sandbox *sandbox_of(lua_State *L);
/* What math.random() gives from now on. */
void sandbox_seed(struct sandbox *sandbox, uint64_t seed);
size_t sandbox_bytes(const struct sandbox *sandbox);

/* Calls what lies on the stack below its arguments. False: failure is filled, the stack holds neither. */
bool sandbox_call(struct sandbox *sandbox, int args_n, int results_n, const struct sandbox_budget *budget,
		  struct sandbox_failure *failure);
/* Collects what is garbage, so that the next call starts with what it may have. */
void sandbox_tidy(struct sandbox *sandbox);

/* Takes the value at the top as a global that scripts may read. */
void sandbox_export(lua_State *L, const char *name);
/* A table that reads like the one at the top and cannot be changed takes its place. */
void sandbox_protect(lua_State *L);

/* For C functions that work long: may raise. */
void sandbox_charge(lua_State *L, uint64_t instructions);
uint64_t sandbox_left(lua_State *L);
